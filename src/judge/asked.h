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
/// The first token of a word, as it stands after a space where the vocabulary has that. Throws kNotFound.
int32_t token_named(const Model& model, const std::string& word, bool after_text);
/// A token's text in quotes; "#7" without a vocabulary.
std::string spelled(const Model& model, int32_t id);
/// Keeps the first `count` tokens.
void keep_first(Encoding& encoding, size_t count);
/// Which of the tokens that were written is asked for, its first one aside: "token 3", a word of it, or by default the first. Throws kNotFound.
int64_t written_token(const Model& model, const std::string& of, const WrittenText& target);

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
