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
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "metrics/bootstrap.h"
#include "text/bleu.h"

namespace clearhead::explain {

enum class Answering { kClassifier, kTranslator, kLanguageModel };
/// Throws kUnsupported for models that do not read a text, or whose answer is of another kind (several labels, numbers, tags, spans).
Answering answering(const ModelInfo& info);

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
  /// classifier: stays, accuracy, accuracy_change, probability_change; translator: stays, bleu, bleu_change, probability_change; language
  /// model: bits_per_byte, bits_per_byte_change. Measures that are not known are absent. Changes are relative to the same texts unchanged.
  std::vector<MetricEstimate> measures{};
  std::optional<metrics::Interval> divergence{};  // mean over heads; absent if no map was compared
  std::vector<HeadDivergence> heads{};            // by family, layer, head
  const metrics::Interval* find(const std::string& measure) const;
};

struct Robustness {
  Answering kind{};
  std::vector<Outcome> outcomes{};  // "none" first
  std::vector<HeadDivergence>
      most_changed_heads{};  // mean over the outcomes that change the text or its positions; largest divergence first
};

/// Throws kInvalidArgument if there are no texts, for options out of range, and for labels that the model does not have (naming the text).
Robustness robustness(const Model& model, const RobustTexts& texts, const RobustOptions& options = {});

}  // namespace clearhead::explain
