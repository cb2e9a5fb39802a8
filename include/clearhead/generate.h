// Room: generate.
// Text from a causal model or an encoder-decoder, one token at a time, over the paged cache of keys; every attention of every step observable.
//
//   auto made = clearhead::generate(*model, model->tokenizer().encode("Once upon"), {.max_tokens = 40, .observer = &trace});
//   made.text;                                            // what came after the prompt
//
// The maps are true at every step: step 0 is the prefill, step t the one row by which generated token t − 1 chose token t, over the keys as they
// were then. The last token generated is given out without a step of its own. Equal arguments give equal tokens on one machine.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/observer.h"

namespace clearhead {

/// How a token is drawn, in this order: penalty, temperature, the k most likely, the smallest set that holds top_p.
struct Sampling {
  double temperature = 1;  ///< > 0
  int64_t top_k = 0;       ///< 0: all
  double top_p = 1;        ///< in (0, 1]
  double repetition_penalty =
      1;              ///< > 0; logits of tokens seen before are divided by it where positive, else multiplied (Keskar et al. 2019, §4.1)
  uint64_t seed = 0;  ///< token t uses number t of this seed (base/random.h): the same on every machine
};

/// One token as it is given out.
struct GenerationStep {
  GeneratedToken token{};  ///< probability: the model's own, before sampling changed anything
  std::string text{};      ///< what became certain of the text with it: empty inside a character, and for special tokens
  int64_t index = 0;       ///< from 0
};

/// Beam search (Graves 2012; Wu et al. 2016, §7): of all texts that go on from the `count` best, the `count` best are kept; a text that has ended is rated
/// Σ ln p / length^penalty, its end counted. As transformers does it with early_stopping = False: the search ends when `count` texts have ended and the best
/// that goes on, rated at its present length, is no better than the worst of them.
struct Beams {
  int64_t count = 1;
  double length_penalty = 1;  ///< above 0 favours longer texts
};

struct GenerateOptions {
  int64_t max_tokens = 128;
  std::optional<Sampling> sampling{};              ///< absent: greedy, ties to the smaller id
  std::optional<std::vector<int32_t>> stop_ids{};  ///< absent: end_tokens(model)
  std::vector<std::string>
      stop_texts{};  ///< ends once the new text holds one; `text` is cut before it (steps may have given out its beginning)
  std::function<bool(const GenerationStep&)> on_token = nullptr;  ///< on the calling thread; false ends the generation
  std::function<void(double fraction)> progress = nullptr;        ///< of generate_all and generate_from: called as texts are done
  const std::atomic<bool>* cancel = nullptr;                      ///< looked at before every step
  RunOptions run{};  ///< observer, text (an encoder-decoder's: of the source) and segments of the run
  Beams beams{};     ///< more than one: beam search, in place of sampling; nothing is given out before the end
  std::optional<std::vector<int32_t>> banned_ids{};  ///< are never made; absent: banned_tokens(model)
  std::optional<DType>
      cache{};  ///< of the keys and values kept: f32, or bf16 or f16 in half the memory (KVCache says the error); absent: the model's precision
};

enum class StopReason : uint8_t {
  kMaxTokens,  ///< max_tokens were made
  kStopToken,  ///< the last of `ids` is a stop token
  kStopText,   ///< a stop text was completed
  kPositions,  ///< the model has no position for another token
  kCallback,   ///< on_token returned false
  kCancelled,  ///< `cancel` was set; what was made until then is returned
};
const char* to_string(StopReason reason);  ///< "max_tokens", "stop_token", …

struct Generated {
  std::vector<int32_t> ids{};            ///< the new tokens, a stop token among them
  std::vector<GeneratedToken> tokens{};  ///< the same with piece, bytes and probability
  std::string text{};                    ///< UTF-8, special tokens left out; empty for a model without tokenizer
  int64_t prompt_tokens = 0;             ///< of an encoder-decoder: the source's
  double score = 0;                      ///< of a beam search
  StopReason reason = StopReason::kMaxTokens;
};

/// Continues the prompt. Throws kUnsupported for a model without a causal head, kInvalidArgument for an empty prompt or options outside
/// their ranges, kBudget for beams that the memory of this machine cannot hold, kTooLong for a prompt longer than the model's positions, and whatever the observer throws.
Generated generate(const Model& model, const Encoding& prompt, const GenerateOptions& options = {});
/// The same for ids; the model needs no tokenizer.
Generated generate(const Model& model, const std::vector<int32_t>& prompt, const GenerateOptions& options = {});

/// Many prompts at once, in the order given; each text is the one that generate() makes of its prompt alone, but where two tokens are as probable as makes
/// no difference. Prompts of one length go on together. One without tokens stays empty. Throws as generate(), kUnsupported with an observer or on_token.
std::vector<Generated> generate_all(const Model& model, const std::vector<Encoding>& prompts, const GenerateOptions& options = {});

/// Of an encoder-decoder: a text written from each source, many at once. With an observer there must be one source: what was written is then run over once
/// more, whole, so the maps are those of Model::run_from (rows: the first token, then the new ones). Throws as generate(), kUnsupported for other models.
std::vector<Generated> generate_from(const Model& model, const std::vector<Encoding>& sources, const GenerateOptions& options = {});

/// "num_beams" and "length_penalty" of generation_config.json, else of config.json, as far as they are there. Throws kFormat for what is no number of beams
/// (1 to 1000), kBudget for more than the memory of this machine can hold.
Beams default_beams(const Model& model, const Beams& otherwise = {});
/// Tokens never made: the single ones of "bad_words_ids" in generation_config.json, else in config.json. May be empty.
std::vector<int32_t> banned_tokens(const Model& model);
/// ln p of every token but the first, given those before it, in one pass at any length.   ids: [n] → [n − 1]
/// Throws kUnsupported for a model without a causal head, kTooLong for more tokens than it has positions.
std::vector<float> log_probabilities(const Model& model, const std::vector<int32_t>& ids, const Interventions& interventions = {},
                                     const std::function<void(double fraction)>& progress = {});

/// The same of many texts, in the order given: short ones run together.
std::vector<std::vector<float>> log_probabilities_all(const Model& model, const std::vector<Encoding>& texts,
                                                      const BatchOptions& options = {});

/// The tokens that end a text: "eos_token_id" of generation_config.json, else of config.json, else the tokenizer's. May be empty.
std::vector<int32_t> end_tokens(const Model& model);

}  // namespace clearhead
