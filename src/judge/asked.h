// What kinds of subjects share: words of a question as numbers, what an encoder-decoder writes, and items that no query sees.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/model.h"
#include "judge/subject.h"
#include "models/loaded_network.h"
#include "models/reading.h"

namespace clearhead::judge {

std::string quoted(std::string_view text);
/// The number in "token 3"; nothing in other words.
std::optional<int64_t> place_in(const std::string& of);
/// The ways to spell a word in tokens after a text, with a leading space and without, without repeats.
struct Spellings {
  std::vector<std::vector<int32_t>> ids{};  ///< never empty
  /// Added to the log-probability of the first: what follows a word is most likely meant as another word, not as its end.
  double prior = 0;
};
/// before: the text; absent: not known. Throws kNotFound for a word that the vocabulary cannot spell.
Spellings spellings_of(const Model& model, const std::string& word, const std::optional<std::string>& before);
/// The token of a word that has a spelling of one token; of several the more probable one. Throws kUnsupported, with the
/// tokens, for a word of several and for `why` only one is possible.
int32_t single_token(const Model& model, const std::string& word, const Spellings& spellings, const float* logits, const char* why);
/// The text of tokens in quotes; "#7 #9" without a vocabulary.
std::string spelled(const Model& model, const std::vector<int32_t>& ids);
inline std::string spelled(const Model& model, int32_t id) { return spelled(model, std::vector<int32_t>{id}); }
/// The index of the largest.
int32_t largest(const float* logits, int64_t count);
/// Keeps the first `count` tokens.
void keep_first(Encoding& encoding, size_t count);
/// Which of the tokens that were written are asked for, the model's first one not counted: "token 3", all that a word or several
/// of the text lie in, or by default the first. Throws kNotFound.
Range written_tokens(const Model& model, const std::string& of, const WrittenText& target);

/// The plan, and the site of the last call: the answer is read from its queries.
struct HeardSites final : Observer {
  RunPlan plan{};
  Site last{};
  void begin(const RunPlan& of) override { plan = of; }
  bool wants(const Site&) override { return true; }
  void take(const Site& site, const AttentionRecord&, const KeyNorms&) override { last = site; }
};

/// Of a network of parts: no query of any attention sees these ids.   away: [id]
Interventions hidden_keys(const RunPlan& plan, const std::vector<Range>& items, const std::vector<uint8_t>& away);

/// ask_about() of a network that writes what it hears (sound_subject.cc).
std::unique_ptr<Subject> ask_about_sound(std::shared_ptr<const Model> model, const LoadedNetwork& network, const ModelInput& input,
                                         const Asked& asked);

}  // namespace clearhead::judge
