// Implemented in src/models.
// Models loaded from files, and their runs: hidden states and logits. Every attention call of a run can be observed.
// answers.h has sentence embeddings, masked words and classes; generate.h has generation.
//
//   auto model = clearhead::load("all-MiniLM-L6-v2");
//   auto result = model->run(model->tokenizer().encode("The cat sat on the mat."), {.observer = &trace});
//   result.hidden;                                       // f32 [1, 9, 384]
//
// Weights are read once and kept in memory in the layout that is fastest on this machine, as f32 or as set by
// LoadOptions::weights; the mapped pages of the file are released. A loaded model is immutable and can be shared between
// threads. Only one run at a time computes in a process, and it uses all cores. Functions that take many texts, such as
// embed_all() and generate_from(), run several batches at the same time instead, one on each core.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/attend.h"
#include "clearhead/data.h"
#include "clearhead/map.h"
#include "clearhead/nn.h"
#include "clearhead/observer.h"
#include "clearhead/tensor.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

class Recorder;
struct ClassScore;  // answers.h

/// The interpretation of a classifier's logits ("problem_type" of config.json).
enum class ProblemType : uint8_t {
  kSingleLabel,  ///< one of the labels: softmax
  kMultiLabel,   ///< each label independently: sigmoid
  kRegression,   ///< the logits are the predicted numbers
};

/// Settings of extractive question answering; the field "answers" of config.json, which training writes.
struct AnswerSettings {
  int64_t window = 384;   ///< maximum number of tokens of question and text that are read together
  int64_t overlap = 128;  ///< tokens of the text that neighbouring windows share
  int64_t longest = 30;   ///< maximum number of tokens in an answer
  double threshold = 0;   ///< there is no answer if the null score exceeds the score of the best span by more than this
};

/// Properties of a model that are known from config.json and the headers of its files, before any weight is read.
struct ModelInfo {
  std::string name{};       ///< the name given by the caller
  std::string directory{};  ///< directory of its files
  std::string model_type{};
  std::vector<std::string> architectures{};
  int64_t layers = 0, width = 0, heads = 0, key_heads = 0, head_dim = 0, mlp_width = 0, vocabulary = 0;
  int64_t longest = 0;     ///< maximum number of tokens in a sequence; 0: no limit
  int64_t type_count = 0;  ///< number of token types (segments); 0: the model has none
  /// true for Transformers: runs use Batch::position_ids and document_ids. Other networks refuse them.
  bool takes_positions = true;
  bool causal = false;  ///< true if every layer (of an encoder-decoder: every decoder layer) is causal
  /// Layers of the encoder; 0: the model has no encoder. The other sizes of an encoder-decoder are those of its decoder.
  int64_t encoder_layers = 0;
  int32_t first_token = 0;  ///< encoder-decoder: the token that the decoder starts with
  /// The model's input: "text"; "pair" for an encoder-decoder, which reads a source and writes a target; or one of
  /// "document", "story", "picture", "scene", "sound", "spectrogram", "series", "crowd", "graph" and "trajectory", see
  /// ModelInput.
  std::string reads = "text";
  int64_t parameters = 0;     ///< elements of all weight tensors in the file
  uint64_t file_bytes = 0;    ///< bytes of these tensors in the file
  uint64_t memory_bytes = 0;  ///< bytes of these tensors in memory as f32
  std::string file_dtype{};   ///< "f32", "bf16", "f16", or "mixed"
  bool has_pooler = false, has_masked = false, has_classifier = false, has_causal = false, has_embedding = false;
  bool tags = false;                 ///< the classifier classifies tokens: tag()
  bool tags_words = true;            ///< with tags: a word gets its first token's tag; false: each token has its own tag
  bool reads_last = false;           ///< the classifier of texts reads the last token instead of the first
  std::optional<int64_t> padding{};  ///< with reads_last: id that is skipped at the end of a text, as in transformers
  /// The kind of outputs of a network. Empty: logits of labels or tokens. "sentence": a weight for each sentence (see
  /// summarise()). "forecast": quantiles of a value. "positions": people's future positions. "boxes": objects in a picture.
  std::string output{};
  std::string environment{};          ///< a policy: the environment in which it was trained; empty for other models
  std::vector<std::string> labels{};  ///< labels of the classifier
  ProblemType problem = ProblemType::kSingleLabel;
  std::optional<AnswerSettings> answers{};  ///< settings of an extractive question-answering model
  DType precision = DType::kF32;            ///< LoadOptions::precision of a loaded model
};

/// Describes a model without loading it: reads only config.json and file headers. Throws as load() does.
ModelInfo describe_model(const std::string& path_or_name);

struct LoadOptions {
  bool tokenizer = true;  ///< false: the model accepts token ids only, and the directory needs no tokenizer files
  /// Storage of the weights of linear layers. bf16 and int8 speed up decoding in proportion to their size; for
  /// their errors see WeightStorage.
  WeightStorage weights = WeightStorage::kF32;
  /// The dtype of the operands of linear layers and attention: f32 or bf16. Throws kUnsupported for another dtype.
  ///
  /// With bf16, q, k, v and the inputs and weights of linear layers are rounded to nearest even (|Δx| ≤ 2⁻⁸·|x|). The
  /// weights are then stored as bf16. If `weights` is kInt8, linear layers keep int8 weights and f32 inputs. Sums,
  /// norms, activations, softmax and the residual stream stay f32 (docs/NUMERICS.md). On machines that multiply bf16 in
  /// hardware, long texts run several times faster.
  DType precision = DType::kF32;
  /// Keep f32 weights through which gradients can flow. Throws kUnsupported with other weights or precision.
  bool gradients = false;
};

/// A graph whose nodes have features, for models that classify nodes. Only features that are not zero are stored.
struct NodeGraph {
  std::vector<std::string> names{};          ///< [node], all different
  std::map<std::string, int32_t> node_of{};  ///< the index of each name
  std::vector<std::string> classes{};        ///< [node] class of the node, if it is known, else ""
  BlockSparse neighbours{};                  ///< the nodes that each node attends to, itself included: 1 × 1 blocks, for all heads
  int64_t features = 0;                      ///< number of features of a node
  std::vector<int64_t> offsets{};            ///< [node + 1] node n has the entries offsets[n] … offsets[n + 1] − 1 of the vectors below
  std::vector<int32_t> indices{};            ///< [entry] index of the feature, ascending within a node
  std::vector<float> values{};               ///< [entry]
  uint64_t digest = 0;                       ///< hash of edges and features

  int64_t nodes() const { return static_cast<int64_t>(names.size()); }
};

/// The input of a run: a batch of sequences, padded at the end. Vectors are [batch, length], row-major, unless noted.
struct Batch {
  int64_t batch = 0, length = 0;
  std::vector<int32_t> ids{};
  std::vector<int32_t> type_ids{};      ///< empty: zeros
  std::vector<int32_t> lengths{};       ///< [batch] number of tokens that are not padding; empty: no padding
  std::vector<int32_t> position_ids{};  ///< empty: 0, 1, … in every sequence
  /// Tokens see only tokens with their own document id; −1: padding. Empty: one document per sequence.
  std::vector<int32_t> document_ids{};
  /// Used instead of ids by models that read no text. Pictures: [batch, channels, height, width], with length 1.
  /// Series: [batch, channels, 1, samples + features], with length 1. Frames of sounds: [batch·length, width].
  Tensor features{};
  /// For models that classify nodes: the graph; `ids` are indices of its nodes. A batch has one graph for all its
  /// sequences.
  std::shared_ptr<const NodeGraph> graph{};
  /// Groups of consecutive sequences, such as the sentences of documents: groups.batch documents of groups.length sentences
  /// each, of which groups.lengths are not padding; batch is then groups.rows(). groups.length 0: no groups.
  Layout groups{.batch = 0};

  Layout layout() const { return {batch, length, lengths}; }
};

/// Optional results of a run, and its observer.
struct RunOptions {
  /// Receives every attention call. Its plan describes only the first sequence of a batch.
  Observer* observer = nullptr;
  bool logits = true;             ///< compute the logits of all output heads of the model
  bool last_logits_only = false;  ///< causal LM: only the logits of each sequence's last token
  /// Compute masked_logits and causal_logits for these tokens only, given as sequence · length + position. Absent: for
  /// all tokens.
  std::optional<std::vector<int32_t>> masked_rows{};
  bool all_hidden = false;              ///< also return the embeddings and every layer's output
  std::optional<std::string> text{};    ///< the text of the ids, for the observer's plan
  std::optional<std::string> source{};  ///< encoder-decoder: the text of the source; `text` is the text of the target
  std::optional<std::string> pair{};    ///< the second text of a pair
  std::vector<TextSegment> segments{};  ///< named ranges of tokens, for the observer's plan
  Interventions interventions{};        ///< ablated heads and attention knockouts, applied to every sequence
  /// Internal to the library: the text and tokens for the observer's plan. Absent: made from the ids and the texts above.
  std::optional<RunText> plan_text{};
  /// Internal to the library: records the run for a backward pass. Needs a model loaded with LoadOptions::gradients.
  Recorder* recorder = nullptr;
};

/// Results of a run. Tensors that the model does not have or that were not requested are undefined. Rows of padding
/// contain unspecified finite numbers.
struct RunResult {
  Tensor hidden{};  ///< f32 [batch, token, width], after the final norm
  /// layers + 1 tensors: the embeddings, then each layer's output, the last after the final norm (as in transformers).
  std::vector<Tensor> all_hidden{};
  Tensor residual{};              ///< with all_hidden: f32 [batch, token, width], the input of the final norm
  Tensor pooled{};                ///< f32 [batch, width]
  Tensor masked_logits{};         ///< f32 [batch, token, vocabulary], or [masked row, vocabulary]
  Tensor class_logits{};          ///< f32 [batch, label]; for a token classifier [batch, token, label]
  Tensor next_sentence_logits{};  ///< f32 [batch, 2]
  /// f32 [batch, token, vocabulary]; [batch, 1, vocabulary] with last_logits_only; or [masked row, vocabulary]
  Tensor causal_logits{};
  Tensor source_hidden{};                   ///< encoder-decoder: f32 [batch, source token, width], the encoder's output
  std::vector<Tensor> all_source_hidden{};  ///< encoder layers + 1 tensors, as all_hidden
};

/// The state of a causal model between steps: the KV caches of its layers. Copies continue independently: use them for
/// beams and shared prefixes.
///
/// Layers with a sliding window release the keys that no later token can see, so their memory stays within the window.
/// Layers that an observer wants keep all keys.
struct ModelCache {
  DType dtype = DType::kF32;  ///< dtype of the pages: f32, bf16 or f16 (errors: see KVCache); set it before the first step
  std::vector<KVCache> layers{};
  int64_t length = 0;  ///< number of tokens so far
  int64_t step = 0;    ///< number of calls so far
  int64_t batch = 1;   ///< number of sequences, all of the same length
  // Encoder-decoder only (Model::read): the encoder's output, and its keys and values in every layer. All sequences
  // generated from one source share them. Sequences of one source are adjacent, and every source has the same number of
  // sequences.
  Tensor source{};  ///< f32 [source, token, width]
  std::vector<int32_t> source_lengths{};
  std::vector<KVCache> memory{};
  std::vector<Tensor> states{};  ///< recurrent networks: f32 [sequence, width] of each layer

  /// Replaces sequence i by the former sequence rows[i] (beam search). Sources without a sequence are dropped. Throws
  /// kInvalidArgument for rows that do not exist, or if the remaining sources do not have the same number of sequences.
  void select(const std::vector<int64_t>& rows);
};

/// The input of a model. ModelInfo::reads determines which fields are used.
struct ModelInput {
  std::string text{};  ///< "text": the text; "pair": the source; "graph": the name of a node
  /// "text": the second text of a model that reads two together. "pair": the target; absent: the model generates it.
  std::optional<std::string> pair{};
  /// "document": its sentences; "story": its statements; "trajectory": the observations so far; otherwise empty.
  std::vector<std::string> texts{};
  std::string question{};  ///< "story", "scene"
  Tensor picture{};        ///< "picture", "scene": f32 [channels, height, width], from 0 to 1 (data.h)
  Sound sound{};           ///< "sound", "spectrogram"
  /// "series": f32 [samples·channels + features]. For each sample, in order of time, all channels; then the features.
  /// "crowd": f32 [people·(1 + 2·steps)]. For each person, a number that names them, then x and y of each step.
  Tensor series{};
  std::shared_ptr<const NodeGraph> graph{};  ///< "graph": the node's graph; absent: the one that was saved with the model
};

class Model {
 public:
  virtual ~Model() = default;
  const ModelInfo& info() const { return info_; }
  /// Throws kNotFound if the model was loaded without a tokenizer, kUnsupported if it reads no text.
  const Tokenizer& tokenizer() const { return *shared_tokenizer(); }
  std::shared_ptr<const Tokenizer> shared_tokenizer() const;

  /// Runs the model. Throws kTooLong, with suggestions, for more tokens than the model has positions; kInvalidArgument for
  /// ids outside the vocabulary or an empty batch; kShape if the vectors' sizes do not fit; kUnsupported for a batch
  /// of another input than ModelInfo::reads.
  RunResult run(const Batch& input, const RunOptions& options = {}) const;
  /// The same for one text or one list of ids. With an Encoding, the observer's plan knows the text of each token.
  RunResult run(const Encoding& encoding, const RunOptions& options = {}) const;
  RunResult run(const std::vector<int32_t>& ids, const RunOptions& options = {}) const;
  /// Encoder-decoder: runs the encoder over each sequence of `source` and the decoder over the sequence of `target`
  /// with the same index.
  /// Throws kUnsupported for other models, otherwise as run().
  RunResult run_from(const Batch& source, const Batch& target, const RunOptions& options = {}) const;
  RunResult run_from(const Encoding& source, const Encoding& target, const RunOptions& options = {}) const;
  /// Implements the functions above.   source: null for a model that reads one input. The observer's begin() is called
  /// only if options.plan_text is set.
  virtual RunResult run_batch(const Batch& input, const Batch* source, const RunOptions& options = {}) const = 0;

  // Models that generate text; others throw kUnsupported.
  /// Encoder-decoder: runs the encoder, with the interventions on it. Steps on the returned cache then generate a target
  /// for each source; the first step starts with info().first_token.
  virtual ModelCache read(const Batch& source, DType dtype = DType::kF32, const Interventions& interventions = {}) const = 0;
  /// Runs `ids` [cache.batch · new] after the tokens in the cache: first the prefill, then one or more tokens at a
  /// time. The observer's sites carry cache.step. The caller that drives the steps calls the observer's begin() with
  /// plan_of(). Throws kTooLong beyond the model's positions.
  virtual RunResult step(const std::vector<int32_t>& ids, ModelCache& cache, const RunOptions& options = {}) const = 0;

 protected:
  Model(ModelInfo info, std::shared_ptr<const Tokenizer> tokenizer) : info_(std::move(info)), tokenizer_(std::move(tokenizer)) {}
  const ModelInfo info_;
  const std::shared_ptr<const Tokenizer> tokenizer_;  // null if the model was loaded without one
};

/// The plan that an observer receives before a run of a Transformer. Throws kUnsupported for other models.
RunPlan plan_of(const Model& model, const Encoding& encoding, const RunOptions& options = {});

/// Loads a model from a directory, or by its name from the local Hugging Face cache. Nothing is downloaded.
/// Throws kNotFound with the places searched, kFormat for broken files, and kUnsupported, naming the feature, for models
/// that need a feature this library does not have.
std::shared_ptr<const Model> load(const std::string& path_or_name, const LoadOptions& options = {});

}  // namespace clearhead
