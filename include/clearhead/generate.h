// Room: generate.
// Text generation with a causal model or an encoder-decoder, token by token over a paged KV cache. An observer sees the
// attention of every step.
//
//   const Encoding prompt = model->tokenizer().encode("Once upon");
//   auto made = clearhead::generate(*model, prompt, {.max_tokens = 40, .observer = &trace});
//   made.text;                                            // the text after the prompt
//
// Maps are exact at every step. Step 0 is the prefill. Step t is one row: it belongs to generated token t − 1, which
// predicts token t, and covers the keys of that moment. The last generated token gets no step of its own.
// Equal arguments give equal tokens on one machine.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/observer.h"

namespace clearhead {

/// How a token is drawn: temperature, top-k, then top-p (the smallest set of tokens that holds it).
struct Sampling {
  double temperature = 1;  ///< > 0
  int64_t top_k = 0;       ///< 0: all
  double top_p = 1;        ///< in (0, 1]
  uint64_t seed = 0;       ///< token t uses random number t of this seed (base/random.h), the same on every machine
};

/// Rules on the next token, for greedy decoding, sampling and beam search alike. Names and meanings are those of
/// transformers' generation settings. They change the scores of the tokens in the order of this list, before temperature,
/// top-k and top-p. Lengths and tokens seen include the prompt; of an encoder-decoder, that is its first token.
struct GenerationRules {
  double encoder_repetition_penalty = 1;  ///< > 0; of the tokens of the source, or of the prompt
  /// > 0. Scores of tokens seen before are divided by it if positive, multiplied otherwise (Keskar et al. 2019, §4.1).
  double repetition_penalty = 1;
  int64_t no_repeat_ngram_size = 0;                   ///< no sequence of so many tokens occurs twice; 0: any may
  int64_t encoder_no_repeat_ngram_size = 0;           ///< nor is one copied from the source, or from the prompt
  std::vector<std::vector<int32_t>> bad_words_ids{};  ///< sequences that are never completed; a lone stop token is left out
  int64_t min_length = 0;                             ///< no stop token before this length
  int64_t min_new_tokens = 0;                         ///< the same without the prompt
  std::optional<int32_t> forced_bos_token_id{};       ///< the token after a prompt of one token
  std::vector<int32_t> forced_eos_token_id{};         ///< one of these is the last token that fits
  std::optional<std::pair<int64_t, double>> exponential_decay_length_penalty{};  ///< first new token, factor > 0
  std::vector<int32_t> suppress_tokens{};                                        ///< never
  std::vector<int32_t> begin_suppress_tokens{};                                  ///< not first; with a forced_bos_token_id: not second
};

/// One generated token, as passed to on_token.
struct GenerationStep {
  GeneratedToken token{};  ///< its probability is the model's own, before rules, temperature, top-k and top-p
  std::string text{};      ///< text completed by this token; empty inside a UTF-8 character and for special tokens
  int64_t index = 0;       ///< counts from 0
};

/// When a beam search ends, once `count` texts have ended ("early_stopping" of transformers).
enum class EarlyStopping : uint8_t {
  kHeuristic,  ///< false: when the best unfinished text, rated at its present length, is no better than the worst of them
  kAlways,     ///< true: at once
  kNever,      ///< "never": when no unfinished text can become better; with length_penalty > 0, rated at the greatest length
};

/// Beam search (Graves 2012; Wu et al. 2016, §7), as transformers searches. Keeps the `count` best texts at every step. A
/// text that has ended is rated Σ ln p / length^length_penalty; the length includes the end token.
struct Beams {
  int64_t count = 1;
  double length_penalty = 1;  ///< larger values favour longer texts
  EarlyStopping early_stopping = EarlyStopping::kHeuristic;
};

struct GenerateOptions {
  int64_t max_tokens = 128;
  /// Causal models: maximum length of the prompt and the new tokens together, as "max_length" of transformers. A prompt that
  /// leaves no room is refused with kTooLong. Absent: max_tokens alone is the limit.
  std::optional<int64_t> max_length{};
  std::optional<Sampling> sampling{};              ///< absent: greedy decoding; ties go to the smaller id
  std::optional<std::vector<int32_t>> stop_ids{};  ///< token ids that end the text; absent: end_tokens(model)
  /// Ends once the new text contains one of these. `text` is cut before it; on_token may already have
  /// received its start.
  std::vector<std::string> stop_texts{};
  /// Called on the calling thread after each token. Return false to stop.
  std::function<bool(const GenerationStep&)> on_token = nullptr;
  /// Called by generate_all and generate_from as texts are finished.
  std::function<void(double fraction)> progress = nullptr;
  const std::atomic<bool>* cancel = nullptr;  ///< checked before every step
  /// Observer, interventions, text (of an encoder-decoder: the source text) and segments of the run.
  RunOptions run{};
  /// count > 1: beam search. sampling, on_token and stop_texts must then be absent.
  Beams beams{};
  std::optional<GenerationRules> rules{};  ///< absent: default_rules(model)
  /// dtype of the KV cache: f32, or bf16 or f16 in half the memory (errors: see KVCache); absent: the
  /// model's precision.
  std::optional<DType> cache{};
};

enum class StopReason : uint8_t {
  kMaxTokens,  ///< max_tokens tokens were generated
  kStopToken,  ///< the last of `ids` is a stop token
  kStopText,   ///< the text contained a stop text
  kPositions,  ///< the model has no position for another token
  kCallback,   ///< on_token returned false
  kCancelled,  ///< `cancel` was set; the tokens generated until then are returned
};
const char* to_string(StopReason reason);  ///< "max_tokens", "stop_token", …

struct Generated {
  std::vector<int32_t> ids{};            ///< the new tokens, including a final stop token
  std::vector<GeneratedToken> tokens{};  ///< the same tokens with piece, bytes and probability
  std::string text{};                    ///< UTF-8 without special tokens; empty if the model has no tokenizer
  int64_t prompt_tokens = 0;             ///< of an encoder-decoder: tokens of the source
  double score = 0;                      ///< beam search only: the rating of the returned text
  StopReason reason = StopReason::kMaxTokens;
};

/// Continues the prompt.
/// Throws kUnsupported for a model without a causal head, kInvalidArgument for an empty prompt or options out of range
/// or in conflict, kBudget if this machine's memory cannot hold the beams, kTooLong for a prompt longer than the
/// model's positions, and whatever the observer throws. A causal model with an observer needs one beam (kUnsupported).
Generated generate(const Model& model, const Encoding& prompt, const GenerateOptions& options = {});
/// The same for token ids; the model needs no tokenizer.
Generated generate(const Model& model, const std::vector<int32_t>& prompt, const GenerateOptions& options = {});

/// Continues many prompts; results are in the order of the prompts. Prompts of equal length run as one batch. Each
/// result equals that of generate() on its prompt alone, except where two tokens are so close in probability that
/// rounding decides. A prompt without tokens gives an empty result.
/// Throws as generate(), and kUnsupported with an observer or on_token.
std::vector<Generated> generate_all(const Model& model, const std::vector<Encoding>& prompts, const GenerateOptions& options = {});

/// Encoder-decoder only: writes a text for each source, in batches, greedily or by beam search.
///
/// An observer needs exactly one source (kInvalidArgument). The finished text is then run once more as a whole, so the
/// maps are those of Model::run_from; their rows are the first token, then the new tokens.
/// Throws as generate(); kUnsupported for other models, and with sampling, on_token or stop_texts.
std::vector<Generated> generate_from(const Model& model, const std::vector<Encoding>& sources, const GenerateOptions& options = {});

/// Models that write from a sound (ModelInfo::reads is "sound"): the text of each sound, in batches, greedily or by beam
/// search. Sounds have the model's rate; several channels are averaged.
///
/// An observer needs exactly one sound; what it sees is a run over the finished text, as generate_from has it.
/// Throws as generate_from(), and as log_mel() for sounds that are empty or of another rate.
std::vector<Generated> transcribe(const Model& model, const std::vector<Sound>& sounds, const GenerateOptions& options = {});

/// Settings of generation are read as transformers reads them: from generation_config.json, or from config.json if there is
/// no such file. The functions below throw kFormat for a setting of a wrong type or out of range.

/// "num_beams", "length_penalty" and "early_stopping"; fields that are absent keep the values of `otherwise`. Throws
/// kBudget if this machine's memory cannot hold the beams.
Beams default_beams(const Model& model, const Beams& otherwise = {});
/// The fields of GenerationRules. Throws kUnsupported, by name, for settings that would change what is written and that
/// this library does not have.
GenerationRules default_rules(const Model& model);
/// "temperature", "top_k" and "top_p"; of fields that are absent, the values of Sampling. Throws kUnsupported, by name, for
/// other ways of sampling.
Sampling default_sampling(const Model& model);
/// "max_new_tokens". Absent: not set.
std::optional<int64_t> default_new_tokens(const Model& model);
/// "max_length", which counts the prompt of a causal model too; transformers ignores it if "max_new_tokens" is set. Absent:
/// not set.
std::optional<int64_t> default_max_length(const Model& model);
/// Encoder-decoder: "max_new_tokens", else "max_length" without the first token, else `otherwise`.
int64_t default_max_tokens(const Model& model, int64_t otherwise);
/// Natural-log probability of every token but the first, given the tokens before it.   ids: [n] → [n − 1]
/// The text is read in pieces over a KV cache, so memory for logits does not grow with its length.
/// Throws kUnsupported for a model without a causal head, kTooLong for more tokens than the model has positions.
std::vector<float> log_probabilities(const Model& model, const std::vector<int32_t>& ids, const Interventions& interventions = {},
                                     const std::function<void(double fraction)>& progress = {});

/// The same for many texts, in the order given. Short texts run in batches.
std::vector<std::vector<float>> log_probabilities_all(const Model& model, const std::vector<Encoding>& texts,
                                                      const BatchOptions& options = {});

/// Encoder-decoder: natural-log probability of every token of target i, its end token included, given source i and the
/// target's tokens before it. Pairs of similar length run in batches. Error messages name the pair.
/// Throws kUnsupported for other models, kInvalidArgument if the numbers of sources and targets differ or a side is
/// empty, kTooLong for more tokens on a side than the model has positions.
std::vector<std::vector<float>> log_probabilities_from(const Model& model, const std::vector<Encoding>& sources,
                                                       const std::vector<Encoding>& targets, const BatchOptions& options = {});

/// How many turns of a dialogue a model was trained to read before it writes the next one: "turns_before" of
/// generation_config.json, else of config.json; they stand oldest first, with a line break between two. Absent: the
/// model was not trained on dialogues. Throws kFormat if the field is not an integer of 0 or more.
std::optional<int64_t> turns_before(const ModelInfo& model);

/// Tokens that end a text: "eos_token_id" of generation_config.json, or of config.json if there is no such file, as in
/// transformers, which does not ask the tokenizer. Empty: only the limits on length end a text. Throws kFormat if the field
/// does not hold token ids.
std::vector<int32_t> end_tokens(const Model& model);

}  // namespace clearhead
