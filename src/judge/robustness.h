// How far answers and attention maps move when a text changes a little.
//
//   none              the texts as they are: what the others are held against
//   typos, upper, lower, truncation, distractors, token dropout     text/noise.h
//   shift             positions begin later, where the model has positions left (position ids, no token is added)
//   padding after     padding at the end of a batch: must change nothing
//   padding before    the same in front, hidden from attention, with the tokens' own positions: must change nothing. Of language models: a classifier reads the
//                     first row, and cross-attention knows a source by its length
//
//   answers   classifier        the most probable label; p of the label that the text as it is got
//             translator        what beam search writes; p: geometric mean over the tokens of the translation of the text as it is
//             language model    bits per byte of the tokens that the change left alone, beginning with the second
//   maps      Jensen–Shannon divergence (nats) between the rows of a query that is in both texts, over the keys that are in both and "all others" as one more
//             (judge/agreement.h); a mean over sampled rows, then over texts. No N×N: a row costs O(keys)
//
// A token is in both texts where its bytes stand in a stretch that the change kept (KeptBytes); special tokens are in both. Intervals: 95 %, bootstrap over texts.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "metrics/bootstrap.h"
#include "text/bleu.h"

namespace clearhead::judge {

enum class Answering { kClassifier, kTranslator, kLanguageModel };
/// Throws kUnsupported for models that read no text or answer in another way (several labels, numbers, tags, spans).
Answering answering(const ModelInfo& info);

/// Texts and, if known, what should be answered: a label, or a translation.
struct RobustTexts {
  std::vector<std::string> texts{};
  std::vector<std::string> wanted{};  // empty: not known
};

struct RobustOptions {
  double typos = 0.1;          // of words
  double words_kept = 0.5;     // truncation
  double token_dropout = 0.1;  // of tokens
  int64_t shift = 16, padding = 16;
  std::string distractor = "The weather report came on at nine.";
  int64_t map_texts = 20, map_rows = 16;  // texts whose maps are compared, and rows of each head in each
  uint64_t seed = 1;
  BleuWords bleu = BleuWords::kMteval13a;
  std::function<void(double fraction)> progress{};
};

/// A metric over texts, with its confidence interval.
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
  std::string name{};  // "typos"
  std::string says{};  // "in 10 % of the words"
  int64_t texts = 0;   // asked for their answer; fewer than all where a change left nothing, or positions leave no room for it
  /// classifier: stays, accuracy, accuracy_change, probability_change; translator: stays, bleu, bleu_change, probability_change; language model: bits_per_byte,
  /// bits_per_byte_change. Those that are known. A change is against the same texts as they are.
  std::vector<MetricEstimate> measures{};
  std::optional<metrics::Interval> divergence{};  // mean over heads; absent where no map was compared
  std::vector<HeadDivergence> heads{};            // by family, layer, head
  const metrics::Interval* find(const std::string& measure) const;
};

struct Robustness {
  Answering kind{};
  std::vector<Outcome> outcomes{};       // "none" first
  std::vector<HeadDivergence> movers{};  // mean over the outcomes that change the text or its positions, the one that moves most first
};

/// Throws kInvalidArgument without texts, for options out of range and labels that the model does not have, naming the text.
Robustness robustness(const Model& model, const RobustTexts& texts, const RobustOptions& options = {});

}  // namespace clearhead::judge
