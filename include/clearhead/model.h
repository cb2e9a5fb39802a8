// Room: models.
// A model from its files to its answers: hidden states, sentence embeddings, masked words, classes, next tokens; every attention of it observable.
//
//   auto model = clearhead::load("all-MiniLM-L6-v2");
//   auto result = model->run(model->tokenizer().encode("The cat sat on the mat."), {.observer = &trace});
//   result.hidden;                                       // f32 [1, 9, 384]
//
// Weights are read once, kept in f32 (or LoadOptions::weights) as this machine likes them; the file's pages are given back. A model is immutable after loading and may be
// shared; runs of one model take turns (one engine computes at a time in a process: the cores are its own).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/attend.h"
#include "clearhead/map.h"
#include "clearhead/observer.h"
#include "clearhead/tensor.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

/// What is known of a model from its configuration and the headers of its files, before a weight is read.
struct ModelInfo {
  std::string name{};       ///< as the user named it
  std::string directory{};  ///< where its files are
  std::string model_type{};
  std::vector<std::string> architectures{};
  int64_t layers = 0, width = 0, heads = 0, key_heads = 0, head_dim = 0, inner = 0, vocabulary = 0;
  int64_t longest = 0;         ///< most tokens of one sequence; 0: no limit
  int64_t type_count = 0;      ///< token types (segments); 0: the model has none
  bool causal = false;         ///< every layer is: of an encoder-decoder, the decoder's
  int64_t encoder_layers = 0;  ///< of an encoder-decoder, of which the other sizes are the decoder's; 0: there is no encoder
  int32_t first_token = 0;     ///< of an encoder-decoder: what its decoder begins with
  int64_t parameters = 0;      ///< elements of all tensors in the file
  uint64_t file_bytes = 0;     ///< of those tensors
  uint64_t memory_bytes = 0;   ///< of the weights once loaded, in f32
  std::string file_dtype{};    ///< "f32", "bf16", "f16", or "mixed"
  bool has_pooler = false, has_masked = false, has_classifier = false, has_causal = false, has_embedding = false;
  std::vector<std::string> labels{};  ///< of the classifier
  DType precision = DType::kF32;      ///< of a loaded model: LoadOptions::precision
};

/// Reads config.json and headers only. Throws as load() does.
ModelInfo describe_model(const std::string& path_or_name);

struct LoadOptions {
  bool tokenizer = true;  ///< false: ids only; a directory without tokenizer files is then enough
  /// Of the linear layers. bf16 and int8 make decoding as much faster as they are smaller, at the error stated there.
  WeightStorage weights = WeightStorage::kF32;
  /// What linear layers and attention multiply: f32, or bf16. In bf16 inputs and weights of linear layers (which are kept so, unless `weights` says int8, whose
  /// layers go on reading f32) and q, k and v are rounded to nearest even, 2⁻⁹ each; sums, norms, activations, softmax and the residual stream stay f32
  /// (docs/NUMERICS.md). Long texts are read several times faster where the machine multiplies bf16. Throws kUnsupported for another dtype.
  DType precision = DType::kF32;
};

/// Sequences of one length, padded at their ends. [batch, length] each, row-major.
struct TokenBatch {
  int64_t batch = 0, length = 0;
  std::vector<int32_t> ids{};
  std::vector<int32_t> type_ids{};      ///< empty: zeros
  std::vector<int32_t> lengths{};       ///< [batch] tokens that are not padding; empty: all
  std::vector<int32_t> position_ids{};  ///< empty: 0, 1, …
  std::vector<int32_t> document_ids{};  ///< empty: one document; else tokens see only their own (−1: padding)
};

/// What a run is asked to compute besides the last hidden state.
struct RunOptions {
  Observer* observer = nullptr;   ///< told about every attention; with one, batch must be 1 for its plan to name the text
  bool logits = true;             ///< of the heads the model has
  bool last_logits_only = false;  ///< causal LM: of the last token of each sequence
  std::optional<std::vector<int32_t>>
      masked_rows{};                    ///< of masked_logits: only these tokens (row of the batch · length + token); absent: all of them
  bool all_hidden = false;              ///< also the embeddings and every layer's output
  std::optional<std::string> text{};    ///< what the ids came from, for the observer's plan
  std::optional<std::string> source{};  ///< the same of an encoder-decoder's source; `text` is its target's
  std::optional<std::string> pair{};    ///< the second text
  std::vector<TextSegment> segments{};  ///< named stretches of tokens, for the observer's plan
  Interventions interventions{};        ///< heads ablated, attention knocked out: of every sequence of the batch
};

/// Undefined tensors are what the model does not have or was not asked for. Rows of padding hold unspecified finite numbers.
struct RunResult {
  Tensor hidden{};  ///< f32 [batch, token, width], after the final norm
  std::vector<Tensor>
      all_hidden{};  ///< layers + 1 of them: the embeddings, then each layer's output (the last after the final norm), as transformers has it
  Tensor pooled{};                ///< f32 [batch, width]
  Tensor masked_logits{};         ///< f32 [batch, token, vocabulary], or [masked row, vocabulary]
  Tensor class_logits{};          ///< f32 [batch, label], or [batch, token, label] for token classifiers
  Tensor next_sentence_logits{};  ///< f32 [batch, 2]
  Tensor causal_logits{};         ///< f32 [batch, token, vocabulary], or [batch, 1, vocabulary] with last_logits_only
  Tensor source_hidden{};         ///< of an encoder-decoder: f32 [batch, source token, width], what its encoder made of the source
  std::vector<Tensor> all_source_hidden{};  ///< encoder layers + 1 of them, as all_hidden
};

/// The keys and values of a causal model's layers, for running on where the last call ended. A copy goes on by itself: beams and shared prefixes.
///
/// Layers with a window let go of what no later token sees, but where an observer watches them: memory then stays within the window.
struct ModelCache {
  DType dtype = DType::kF32;  ///< of the pages: f32, bf16 or f16 (KVCache says the error); read by the first step
  std::vector<KVCache> layers{};
  int64_t length = 0;  ///< tokens seen
  int64_t step = 0;    ///< calls so far
  int64_t batch = 1;   ///< sequences, all of one length
  // Of an encoder-decoder (Model::read): the encoder's output, and its keys in every layer, shared by the sequences that are written from one source. Those
  // stand one after another, as many for each.
  Tensor source{};  ///< f32 [source, token, width]
  std::vector<int32_t> source_lengths{};
  std::vector<KVCache> memory{};

  /// Sequence i goes on as sequence rows[i] was (beams); sources that nobody writes from are forgotten. Throws kInvalidArgument for rows that are not there,
  /// or not the same number for each source that stays.
  void select(const std::vector<int64_t>& rows);
};

struct Embedding {
  std::vector<float> values{};  ///< [width]
  int64_t tokens = 0;           ///< of the text, special ones included
  int64_t used = 0;             ///< fewer than tokens: the text was cut at the model's max_seq_length
};

struct Candidate {
  int32_t id = 0;
  std::string token{};
  float probability = 0;
};

struct ClassScore {
  std::string label{};
  float probability = 0;
};

/// Of what is asked of many texts at once.
struct BatchOptions {
  Interventions interventions{};                    ///< of every text
  std::function<std::string(size_t index)> name{};  ///< of a text in an error's message; absent: "text 3", counted from 0
  std::function<void(double fraction)> progress{};
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;
  /// Throws kNotFound if the model was loaded without one.
  virtual const Tokenizer& tokenizer() const = 0;
  virtual std::shared_ptr<const Tokenizer> shared_tokenizer() const = 0;

  /// Throws kTooLong for more tokens than the model has positions, naming the ways out; kInvalidArgument for ids outside the vocabulary.
  virtual RunResult run(const TokenBatch& tokens, const RunOptions& options = {}) const = 0;
  virtual RunResult run(const Encoding& encoding, const RunOptions& options = {}) const = 0;
  RunResult run(const std::vector<int32_t>& ids, const RunOptions& options = {}) const;
  /// An encoder-decoder: reads each sequence of `source`, runs the decoder over that of `target`. Throws kUnsupported for other models.
  virtual RunResult run_from(const TokenBatch& source, const TokenBatch& target, const RunOptions& options = {}) const = 0;
  virtual RunResult run_from(const Encoding& source, const Encoding& target, const RunOptions& options = {}) const = 0;

  /// An encoder-decoder reads its source, under the interventions of its encoder; steps of the cache then write a target for each sequence of it, beginning with info().first_token.
  virtual ModelCache read(const TokenBatch& source, DType dtype = DType::kF32, const Interventions& interventions = {}) const = 0;
  /// Runs `ids` [cache.batch · new] after what the cache has seen: the prefill, then one or more tokens at a time. The observer's sites carry
  /// cache.step; its begin() is called by whoever drives the steps (plan_of()). Throws kUnsupported for models that are not causal.
  virtual RunResult step(const std::vector<int32_t>& ids, ModelCache& cache, const RunOptions& options = {}) const = 0;
  /// What an observer is told before a run.
  virtual RunPlan plan_of(const Encoding& encoding, const RunOptions& options = {}) const = 0;

  /// The sentence's vector as sentence-transformers computes it (modules.json: pooling, normalising, max_seq_length).
  /// Models without modules.json: the mean over all tokens, not normalised.
  virtual Embedding embed(std::string_view text, const RunOptions& options = {}) const = 0;
  /// Candidates for every mask token of the text, best first. Throws kUnsupported without a masked-LM head, kInvalidArgument without a mask.
  virtual std::vector<std::vector<Candidate>> fill_mask(std::string_view text, int64_t count = 5,
                                                        const Interventions& interventions = {}) const = 0;
  /// Probabilities of every label, best first. Throws kUnsupported without a sequence classifier.
  virtual std::vector<ClassScore> classify(std::string_view text, std::optional<std::string_view> pair = std::nullopt,
                                           const Interventions& interventions = {}) const = 0;

  /// The same of many texts, in the order given: texts of like length run together, with next to no padding. Equal to one text at a time but for the order of
  /// sums in matrix products (1e-5 of a vector of length 1). What is thrown names the text; memory grows with the answers.
  virtual std::vector<Embedding> embed_all(const std::vector<std::string>& texts, const BatchOptions& options = {}) const = 0;
  virtual std::vector<std::vector<std::vector<Candidate>>> fill_all(const std::vector<std::string>& texts, int64_t count = 5,
                                                                    const BatchOptions& options = {}) const = 0;
  virtual std::vector<std::vector<ClassScore>> classify_all(const std::vector<std::string>& texts,
                                                            std::optional<std::string_view> pair = std::nullopt,
                                                            const BatchOptions& options = {}) const = 0;
};

/// Loads a model from a directory, or by the name of one in the local Hugging Face cache. Throws kNotFound listing the places searched,
/// kFormat for broken files, kUnsupported for what this library cannot do, naming it. Nothing is downloaded.
std::shared_ptr<const Model> load(const std::string& path_or_name, const LoadOptions& options = {});

}  // namespace clearhead
