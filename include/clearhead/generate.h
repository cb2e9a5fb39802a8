// Implemented in src/generate.
// Text generation with a causal model or an encoder-decoder, token by token over a paged KV cache. An observer sees the
// attention of every step.
//
//   const Encoding prompt = model->tokenizer().encode("Once upon");
//   auto made = clearhead::generate(*model, prompt, {.max_tokens = 40, .run = {.observer = &trace}});
//   made.text;                                            // the text after the prompt
//
// Maps are exact at every step. Step 0 is the prefill. Step t has one row: generated token t − 1, which predicts token t,
// over the keys that exist at that moment. The last generated token has no step. Equal arguments give equal tokens on one
// machine.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/answers.h"
#include "clearhead/model.h"
#include "clearhead/observer.h"

namespace clearhead {

/// Random sampling of tokens: temperature, then top-k, then top-p (the smallest set of tokens with at least this
/// probability).
struct Sampling {
  double temperature = 1;  ///< > 0
  int64_t top_k = 0;       ///< 0: all
  double top_p = 1;        ///< in (0, 1]
  uint64_t seed = 0;       ///< token t uses random number t of this seed (base/random.h), the same on every machine
};

/// Rules that restrict the next token, for greedy decoding, sampling and beam search alike. Names and meanings are those
/// of transformers' generation settings. They change the scores of the tokens in the order of this list, before
/// temperature, top-k and top-p. Lengths and previous tokens include the prompt; for an encoder-decoder the prompt is its
/// first token.
struct GenerationRules {
  double encoder_repetition_penalty = 1;  ///< > 0; above 1, tokens of the source, or of the prompt, become more likely
  /// > 0. Scores of previous tokens are divided by it if they are positive, multiplied otherwise (Keskar et al. 2019, §4.1).
  double repetition_penalty = 1;
  int64_t no_repeat_ngram_size = 0;                   ///< no n-gram of this size occurs twice; 0: no restriction
  int64_t encoder_no_repeat_ngram_size = 0;           ///< no n-gram of this size is copied from the source, or from the prompt
  std::vector<std::vector<int32_t>> bad_words_ids{};  ///< sequences that are never completed; single stop tokens are ignored
  int64_t min_length = 0;                             ///< no stop token before this length
  int64_t min_new_tokens = 0;                         ///< the same without the prompt
  std::optional<int32_t> forced_bos_token_id{};       ///< the token after a prompt of one token
  std::vector<int32_t> forced_eos_token_id{};         ///< at the maximum length, the last token is one of these
  /// {start, factor > 0}: with n new tokens beyond the first `start` ones, |score|·(factor^n − 1) is added to the score
  /// of every stop token.
  std::optional<std::pair<int64_t, double>> exponential_decay_length_penalty{};
  std::vector<int32_t> suppress_tokens{};        ///< tokens that are never generated
  std::vector<int32_t> begin_suppress_tokens{};  ///< tokens that are never first; never second if there is a forced_bos_token_id
};

/// One generated token, as passed to on_token.
struct GenerationStep {
  GeneratedToken token{};  ///< its probability is the model's own, before rules, temperature, top-k and top-p
  std::string text{};      ///< text completed by this token; empty inside a UTF-8 character and for special tokens
  int64_t index = 0;       ///< counts from 0
};

/// Stopping condition of a beam search, after `count` texts are finished ("early_stopping" of transformers).
enum class EarlyStopping : uint8_t {
  kHeuristic,  ///< false: when the best unfinished text, scored at its current length, is no better than the worst finished one
  kAlways,     ///< true: immediately
  /// "never": when no unfinished text can become better; with length_penalty > 0 it is scored at the maximum length.
  kNever,
};

/// Beam search (Graves 2012; Wu et al. 2016, §7), as in transformers. Keeps the `count` best texts at every step. The score
/// of a finished text is Σ ln p / length^length_penalty; the length includes the end token.
struct Beams {
  int64_t count = 1;
  double length_penalty = 1;  ///< larger values favour longer texts
  EarlyStopping early_stopping = EarlyStopping::kHeuristic;
};

struct GenerateOptions {
  int64_t max_tokens = 128;
  /// Causal models: maximum length of the prompt and the new tokens together, like "max_length" of transformers. A prompt
  /// that leaves no room is refused with kTooLong. Absent: only max_tokens limits the length.
  std::optional<int64_t> max_length{};
  std::optional<Sampling> sampling{};              ///< absent: greedy decoding; ties go to the smaller id
  std::optional<std::vector<int32_t>> stop_ids{};  ///< token ids that end the text; absent: end_tokens(model)
  /// Generation ends once the new text contains one of these. `text` ends before it; on_token may already have received
  /// its beginning.
  std::vector<std::string> stop_texts{};
  /// Called on the calling thread after each token. Return false to stop.
  std::function<bool(const GenerationStep&)> on_token = nullptr;
  /// generate_all, generate_from, transcribe: called on the calling thread after a batch, with the fraction of finished texts.
  std::function<void(double fraction)> progress = nullptr;
  const std::atomic<bool>* cancel = nullptr;  ///< checked before every step
  /// Observer, interventions, text (for an encoder-decoder: the source text) and segments of the run.
  RunOptions run{};
  /// count > 1: beam search. sampling, on_token and stop_texts must then be absent.
  Beams beams{};
  std::optional<GenerationRules> rules{};  ///< absent: default_rules(model)
  /// dtype of the KV cache: f32, or bf16 or f16, which need half the memory (errors: see KVCache). Absent: the model's
  /// precision.
  std::optional<DType> cache{};
};

enum class StopReason : uint8_t {
  kMaxTokens,  ///< max_tokens tokens were generated
  kStopToken,  ///< the last of `ids` is a stop token
  kStopText,   ///< the text contained a stop text
  kPositions,  ///< the model has no position for another token
  kCallback,   ///< on_token returned false
  kCancelled,  ///< `cancel` was set; the tokens generated so far are returned
};
const char* to_string(StopReason reason);  ///< "max_tokens", "stop_token", …

struct Generated {
  std::vector<int32_t> ids{};            ///< the new tokens, including a final stop token
  std::vector<GeneratedToken> tokens{};  ///< the same tokens with piece, bytes and probability
  std::string text{};                    ///< UTF-8 without special tokens; empty if the model has no tokenizer
  int64_t prompt_tokens = 0;             ///< for an encoder-decoder: tokens of the source
  double score = 0;                      ///< beam search only: the score of the returned text
  StopReason reason = StopReason::kMaxTokens;
};

/// Continues the prompt.
/// Throws kUnsupported for a model without a causal head, kInvalidArgument for an empty prompt or options that are out of
/// range or in conflict, kBudget if the beams do not fit in this machine's memory, kTooLong for a prompt longer than the
/// model's positions, and any error that the observer throws. With an observer, a causal model supports one beam only
/// (kUnsupported).
Generated generate(const Model& model, const Encoding& prompt, const GenerateOptions& options = {});
/// The same for token ids; the model needs no tokenizer.
Generated generate(const Model& model, const std::vector<int32_t>& prompt, const GenerateOptions& options = {});

/// Continues many prompts; results are in the order of the prompts. Prompts of equal length run as one batch. Each
/// result equals that of generate() on its prompt alone, except where two tokens are so close in probability that
/// rounding decides. A prompt without tokens gives an empty result.
/// Throws as generate(), and kUnsupported with an observer or on_token.
std::vector<Generated> generate_all(const Model& model, const std::vector<Encoding>& prompts, const GenerateOptions& options = {});

/// Encoder-decoder only: generates a text for each source, in batches, greedily or by beam search.
///
/// With an observer there must be exactly one source (kInvalidArgument). The finished text is then run once more as a
/// whole, so the maps are those of Model::run_from; their rows are the first token, then the new tokens.
/// Throws as generate(); kUnsupported for other models, and with sampling, on_token or stop_texts.
std::vector<Generated> generate_from(const Model& model, const std::vector<Encoding>& sources, const GenerateOptions& options = {});

/// Speech recognition (models whose ModelInfo::reads is "sound"): generates the text of each sound, in batches, greedily
/// or by beam search. Sounds must have the model's sampling rate; channels are averaged.
///
/// With an observer there must be exactly one sound; the observer sees a run over the finished text, as in
/// generate_from(). Throws as generate_from(), and as log_mel() for sounds that are empty or have another rate.
std::vector<Generated> transcribe(const Model& model, const std::vector<Sound>& sounds, const GenerateOptions& options = {});

/// The default_…() functions below read generation settings as transformers does: from generation_config.json, or from
/// config.json if there is no such file. They throw kFormat for a setting of a wrong type or out of range.

/// "num_beams", "length_penalty" and "early_stopping"; absent fields keep the values of `otherwise`. Throws kBudget if the
/// beams do not fit in this machine's memory.
Beams default_beams(const Model& model, const Beams& otherwise = {});
/// The fields of GenerationRules. Throws kUnsupported, naming the setting, for settings that would change the generated
/// text and that this library does not have.
GenerationRules default_rules(const Model& model);
/// "temperature", "top_k" and "top_p"; absent fields keep the defaults of Sampling. Throws kUnsupported for the setting
/// of another sampling method, such as "min_p"; the message names it.
Sampling default_sampling(const Model& model);
/// "max_new_tokens". Absent: not set.
std::optional<int64_t> default_new_tokens(const Model& model);
/// "max_length", which counts the prompt of a causal model too; transformers ignores it if "max_new_tokens" is set. Absent:
/// not set.
std::optional<int64_t> default_max_length(const Model& model);
/// Encoder-decoder: "max_new_tokens", else "max_length" without the first token, else `otherwise`.
int64_t default_max_tokens(const Model& model, int64_t otherwise);
/// Natural-log probability of every token except the first, given the tokens before it.   ids: [n] → [n − 1]
/// The text is processed in chunks over a KV cache, so the memory for logits does not grow with its length.
/// Throws kUnsupported for a model without a causal head, kTooLong for more tokens than the model has positions.
std::vector<float> log_probabilities(const Model& model, const std::vector<int32_t>& ids, const Interventions& interventions = {},
                                     const std::function<void(double fraction)>& progress = {});

/// The same for many texts, in the order given. Short texts run in batches.
std::vector<std::vector<float>> log_probabilities_all(const Model& model, const std::vector<Encoding>& texts,
                                                      const BatchOptions& options = {});

/// Encoder-decoder: natural-log probability of every token of target i, its end token included, given source i and the
/// target's tokens before it. Pairs of similar length run in batches. Error messages name the pair.
/// Throws kUnsupported for other models, kInvalidArgument if the numbers of sources and targets differ or a source or
/// target is empty, kTooLong for a source or target with more tokens than the model has positions.
std::vector<std::vector<float>> log_probabilities_from(const Model& model, const std::vector<Encoding>& sources,
                                                       const std::vector<Encoding>& targets, const BatchOptions& options = {});

/// Number of previous dialogue turns that a model was trained to read before it generates the next one: "turns_before" of
/// generation_config.json, else of config.json. Turns are ordered from oldest to newest and separated by line breaks.
/// Absent: the model was not trained on dialogues. Throws kFormat if the field is not an integer of 0 or more.
std::optional<int64_t> turns_before(const ModelInfo& model);

/// Tokens that end a text: "eos_token_id" of generation_config.json, or of config.json if there is no such file. As in
/// transformers, the tokenizer is not consulted. Empty: only the length limits end a text. Throws kFormat if the field
/// does not contain token ids.
std::vector<int32_t> end_tokens(const Model& model);

}  // namespace clearhead
