// Robustness: how much answers and attention maps change when the text changes a little.
//
//   none              the unchanged texts: the reference for all others
//   typos, upper, lower, truncation, distractors, token dropout     text/noise.h
//   shift             positions start later, if the model has positions left (position ids; no token is added)
//   padding after     padding at the end of a batch: must not change anything
//   padding before    padding in front, hidden from attention; the tokens keep their positions: must not change anything. Only for
//                     language models: a classifier reads the first row, and cross-attention identifies a source by its length
//
//   answers   classifier        the most probable label; p of the label that was predicted for the unchanged text
//             translator        the output of beam search; p: geometric mean over the tokens of the translation of the unchanged text
//             language model    bits per byte of the tokens that the change left alone, starting with the second
//   maps      Jensen–Shannon divergence (nats) between the rows of a query that is in both texts, over the keys that are in both plus one
//             outcome for all other keys (explain/evaluate/agreement.h); mean over sampled rows, then over texts. No N×N matrix: a row costs O(keys)
//
// A token is in both texts if its bytes lie in a range that the change kept (KeptBytes); special tokens are in both. Intervals: 95 %,
// bootstrap over texts.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/model.h"
#include "metrics/bootstrap.h"
#include "text/bleu.h"

namespace clearhead::explain {

class RobustAnswers;  // explain/evaluate/robust_answers.h

/// Texts and, if known, the expected answers: labels or translations.
struct RobustTexts {
  std::vector<std::string> texts{};
  std::vector<std::string> wanted{};  // empty: unknown
};

struct RobustOptions {
  double typos = 0.1;          // share of words
  double words_kept = 0.5;     // share of words kept by truncation
  double token_dropout = 0.1;  // share of tokens
  int64_t shift = 16, padding = 16;
  std::string distractor = "The weather report came on at nine.";
  int64_t map_texts = 20, map_rows = 16;  // number of texts whose maps are compared, and of rows per head in each
  uint64_t seed = 1;
  BleuWords bleu = BleuWords::kMteval13a;
  std::function<void(double fraction)> progress{};
};

/// A metric over texts with its confidence interval.
struct MetricEstimate {
  std::string name{};
  metrics::Interval value{};
};

struct HeadDivergence {
  std::string family{};
  int layer = 0;
  int64_t head = 0;
  metrics::Interval divergence{};  // nats, over texts
};

struct Outcome {
  std::string name{};         // "typos"
  std::string description{};  // "in 10 % of the words"
  int64_t texts = 0;  // number of texts with an answer; fewer than all if a change left no tokens, or positions leave no room for it
  /// Those of RobustKind::measures that are known. Changes are relative to the same texts unchanged.
  std::vector<MetricEstimate> measures{};
  std::optional<metrics::Interval> divergence{};  // mean over heads; absent if no map was compared
  std::vector<HeadDivergence> heads{};            // by family, layer, head
  const metrics::Interval* find(std::string_view measure) const;
};

struct Robustness {
  std::vector<Outcome> outcomes{};  // "none" first
  std::vector<HeadDivergence>
      most_changed_heads{};  // mean over the outcomes that change the text or its positions; largest divergence first
};

/// How a measure is printed: value · scale, then the unit.
struct MeasureForm {
  std::string_view name{};  // in Outcome::measures
  std::string_view title{};
  double scale = 1;
  std::string_view unit{};
  int digits = 1;
};

/// How the answers of a kind (AnswerKind::robustness) are measured.
struct RobustKind {
  bool (*applies)(const ModelInfo& info) = nullptr;  // null: to all models with answers of this kind
  bool adds_special_tokens = true;                   // texts are encoded with the model's special tokens
  bool has_expected = true;                          // answers can be compared with expected ones; false: the text itself is predicted
  bool ignores_padding_before = false;               // padding in front of a text must not change anything
  std::vector<MeasureForm> measures{};
  std::unique_ptr<RobustAnswers> (*answers)(const Model& model, const RobustTexts& texts, const RobustOptions& options) = nullptr;
};
/// Throws kUnsupported for models whose answers have no measure (several labels, numbers, tags, spans, or not about a text).
const RobustKind& robust_kind(const ModelInfo& info);

/// Throws kInvalidArgument if there are no texts, for options out of range, and for labels that the model does not have (naming the text).
Robustness robustness(const Model& model, const RobustTexts& texts, const RobustOptions& options = {});

}  // namespace clearhead::explain
