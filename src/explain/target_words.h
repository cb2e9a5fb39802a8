// Helpers shared by the kinds of attribution targets: target words as token ids, the text that an encoder-decoder generates, and hidden items.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/model.h"
#include "explain/attribution_target.h"
#include "models/run_text.h"

namespace clearhead::explain {

std::string in_quotes(std::string_view text);
/// The number in "token 3"; nullopt for other texts.
std::optional<int64_t> place_in(const std::string& of);
/// The ways to tokenize a word after a text, with and without a leading space, without duplicates.
struct Spellings {
  std::vector<std::vector<int32_t>> ids{};  ///< never empty
  /// Added to the log-probability of the first spelling: after a word, the asked word is most likely a new word, not the end of the
  /// previous one.
  double prior = 0;
};
/// before: the text; absent: unknown. Throws kNotFound for a word that the vocabulary cannot spell.
Spellings spellings_of(const Model& model, const std::string& word, const std::optional<std::string>& before);
/// The token of a word that has a spelling of one token; if there are several such spellings, the most probable one. Throws kUnsupported,
/// with the tokens and the reason `why` only one token is possible, for a word that needs several.
int32_t single_token(const Model& model, const std::string& word, const Spellings& spellings, const float* logits, const char* why);
/// The text of tokens in quotes; "#7 #9" without a vocabulary.
std::string spelled(const Model& model, const std::vector<int32_t>& ids);
inline std::string spelled(const Model& model, int32_t id) { return spelled(model, std::vector<int32_t>{id}); }
/// The index of the largest logit.
int32_t largest(const float* logits, int64_t count);
/// Keeps the first `count` tokens.
void keep_first(Encoding& encoding, size_t count);
/// The range of generated tokens that is asked for, not counting the model's first token: "token 3", all tokens that overlap one or more
/// given words, or by default the first token. Throws kNotFound.
Range written_tokens(const Model& model, const std::string& of, const WrittenText& target);

/// Records the plan and the site of the last call, from whose queries the answer is read.
struct HeardSites final : Observer {
  RunPlan plan{};
  Site last{};
  void begin(const RunPlan& of) override { plan = of; }
  bool wants(const Site&) override { return true; }
  void take(const Site& site, const AttentionRecord&, const KeyNorms&) override { last = site; }
};

/// For a network from the literature: hides those tokens of `items` that `away` flags from all queries of every attention.
/// away: [position in plan.text.ids]
Interventions hidden_keys(const RunPlan& plan, const std::vector<Range>& items, const std::vector<uint8_t>& away);

/// One row of every hidden state, f32 [state, width]; the last one is taken before the final norm.
Tensor states_of(const RunResult& result, int64_t row);
/// The reason, in messages, for expecting an answer of one token.
constexpr const char* kContrastNeedsOne = "answers are compared one token against one";

}  // namespace clearhead::explain
