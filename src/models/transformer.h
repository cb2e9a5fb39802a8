// The Transformer of all families: built from an Architecture, and run on a batch or on a KV cache.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/residual_stream.h"
#include "models/architecture.h"
#include "models/weights.h"
#include "nn/run.h"

namespace clearhead {

class Transformer;

/// Records the residual stream at selected rows: after the embeddings, then after each block has been added to it, before any norm
/// that follows the block.
struct Streams {
  std::vector<int64_t> rows{};
  std::vector<Tensor> seen{};  // f32 [row, width] each
  void take(const Tensor& x);
};

/// Outputs of the attention heads at selected rows, f32 [head, row, d_v], by family and layer.
using HeadOutputs = std::map<std::pair<std::string, int>, Tensor>;

/// The checked input of a forward pass; rows = batch·length.
struct ForwardInput {
  int64_t batch = 0, length = 0;
  std::vector<int32_t> ids{}, type_ids{}, positions{};  // [rows]; positions count from 0
  std::vector<int32_t> lengths{};                       // [batch]
  std::optional<Segments> segments{};
  // Cross-attention: which keys of the source each token sees; absent: all keys of its sequence's source.
  std::optional<Segments> of_source{};
  ModelCache* cache = nullptr;
  int64_t step = 0;
  // Encoder-decoder: the input of the encoder; null: `cache` has the encoder's output.
  const ForwardInput* source = nullptr;
  Streams* streams = nullptr;  // if not null, records the residual stream
};

/// An input of sequences that are padded at the end, with positions from 0.   ids: [batch·length]; lengths: [batch], or empty
/// if no sequence is padded
ForwardInput plain_input(int64_t batch, int64_t length, const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths = {});

/// Represents documents and padding as segments; absent if all tokens of a sequence see each other.   documents: [batch·length]
/// or empty
std::optional<Segments> segments_of(int64_t batch, int64_t length, const std::vector<int32_t>& lengths,
                                    std::vector<int32_t> documents = {});

/// The map family of one stack for this number of tokens.
MapFamily family_of(const Transformer& stack, int64_t tokens);
/// The plan of a run over a source and a target for the observer: one text, made by joined(), of which each family covers a part.
RunPlan plan_of_pair(const Transformer& stack, const std::string& model, RunText text);

/// Applies a norm to the additive components of a row, with the scale of the whole row: each component becomes
/// (component − its mean)/σ·w, where w is the norm's weight and σ is that of `whole`, so the operation is linear. RMS norms do not
/// subtract the mean. The norm's bias is not added.
/// parts: f32 [component, width], contiguous, in place; whole: [width], the row that they are components of
void scale_as(const ops::Normalisation& norm, const float* whole, Tensor& parts);

/// The output heads of a family that have weights in a file.
struct HeadsInFile {
  bool pooler = false, masked = false, classifier = false, next_sentence = false, causal = false;
};
/// Determines the output heads from the file's header.
HeadsInFile heads_in_file(const Architecture& facts, const io::SafeTensors& file);

class Transformer {
 public:
  /// Throws kUnsupported, with the names, for tensors of the file that are not read and may change the result. If `read` is not
  /// null, the names of the tensors that were read are added to it instead, and the caller checks the rest.
  Transformer(const Architecture& facts, const io::SafeTensors& file, StoredWeights stored, std::set<std::string>* read = nullptr);
  /// For training: weights are new parameters, which layers read in place.
  Transformer(const Architecture& facts, Parameters& parameters, const HeadsInFile& heads);

  const Architecture& facts() const { return facts_; }
  /// The encoder of an encoder-decoder; otherwise null.
  const Transformer* encoder() const { return encoder_.get(); }
  /// Family name of the observer's sites: "enc" for bidirectional stacks, "dec" for causal ones.
  const char* map_family() const;
  /// True if `values` shares its storage with an embedding table of this model or of its encoder.
  bool is_embedding(const Tensor& values) const;
  /// True if the model has a classifier of whole texts, not of tokens.
  bool classifies_texts() const { return classifier_ && !is_by_token(*facts_.classifier); }
  bool classifies_tokens() const { return classifier_ && facts_.classifier->where == ClassifierFacts::Where::kEvery; }
  bool finds_answers() const { return classifier_ && facts_.classifier->where == ClassifierFacts::Where::kSpan; }
  /// Returns the interventions on the encoder. Throws kInvalidArgument for interventions on attention that this model does not
  /// have.
  Interventions source_interventions(Interventions interventions) const;
  RunResult forward(Run& run, const ForwardInput& input, const RunOptions& options) const;
  /// The implementations of residual_stream.h. logit_contributions() is logit_lens() with `at`.
  Tensor logit_lens(Run& run, const Tensor& hidden) const;
  Tensor logit_contributions(Run& run, const Tensor& parts, const Tensor& at) const;
  Tensor head_contributions(Run& run, const std::string& family, int layer, const Tensor& outputs) const;
  /// The query or the key of a score.
  struct ScoreRow {
    const Streams* streams = nullptr;
    int64_t row = 0;  // index in streams->rows
    int32_t position = 0;
  };
  /// outputs: the outputs of the heads at the rows that the streams of each text record
  ScoreSplit split_score(Run& run, const ScoreAt& at, const ScoreRow& query, const ScoreRow& key, const HeadOutputs& outputs) const;
  /// The states of one layer of a run that TokenMixing decomposes.
  struct Mixing {
    int layer = 0;
    Tensor stream{};     // f32 [key, width]: the residual stream before attention
    Tensor projected{};  // f32 [key, …]: queries, keys and values
    Tensor summed{};     // f32 [key, width]: the stream after attention has been added, before a norm
  };
  /// streams: recorded at all rows
  Mixing mixing(Run& run, int layer, const Streams& streams) const;
  /// The vectors of all tokens in one row (TokenMixing::vectors).   weights: of the row, [head][key] → f32 [key, width]
  Tensor mixed_vectors(Run& run, const Mixing& mixing, int64_t row, const std::vector<std::vector<float>>& weights) const;
  /// TokenMixing::states_without_value().   weights: to the token, f32 [row, head] → f32 [row, width]
  Tensor states_without_value(Run& run, const Mixing& mixing, int64_t token, const Tensor& weights) const;

 private:
  struct Layer {
    nn::Norm attention_norm{}, cross_norm{}, mlp_norm{};
    nn::Attention attention{};
    nn::Linear sinusoids{};        // W of LayerSinusoids
    Tensor sinusoid_query_bias{};  // u of LayerSinusoids
    nn::Attention cross{};         // without a projection: no cross-attention
    nn::FeedForward mlp{};
  };
  struct Pass;  // shared by the layers of one forward pass
  template <class AddTo>
  void run_block(Run& run, const nn::Norm& norm, Streams* streams, Tensor& x, const AddTo& add_to) const;
  void run_after_attention(Run& run, int layer, Tensor& x) const;
  struct Parts;  // additive components of the residual stream at one row
  enum class Block : uint8_t { kAttention, kCross, kMlp };
  Parts parts_below(Run& run, int layer, Block block, const ScoreRow& at, const HeadOutputs& outputs, bool with_family) const;
  void load(Weights& weights, const HeadsInFile& heads);
  void load_positions(const Weights& weights, const NoPositions& none);
  void load_positions(const Weights& weights, const LearnedPositions& learned);
  void load_positions(const Weights& weights, const RotaryPositions& rotary);
  void load_positions(const Weights& weights, const PhasePositions& phases);
  void load_positions(const Weights& weights, const SinusoidalPositions& sinusoidal);
  void load_positions(const Weights& weights, const LayerSinusoids& sinusoids);
  void load_layer(Weights& weights, int64_t at);
  void load_heads(Weights& weights, const HeadsInFile& present);
  // Divisor of the initial standard deviation of the last linear layer of each block (weights.h).
  double last_narrower() const { return std::sqrt(2.0 * static_cast<double>(facts_.layers)); }
  void check_interventions(const Interventions& interventions) const;
  nn::Attention load_attention(Weights& weights, const ProjectionNames& names, const AttentionFacts& facts, bool is_cross) const;
  void embed(Run& run, const ForwardInput& input, Tensor& x) const;
  void read_source(Run& run, const ForwardInput& input, const RunOptions& options, Pass& pass, RunResult& result) const;
  void run_layer(Run& run, int64_t at, const Pass& pass, Tensor& x) const;
  Tensor offset_table(Run& run, const Layer& layer, int64_t reach) const;
  void run_layer_twice(Run& run, int64_t at, const std::shared_ptr<const Pass>& pass, Tensor& x) const;
  void run_heads(Run& run, const ForwardInput& input, const RunOptions& options, RunResult& result) const;
  Tensor classify(Run& run, const ClassifierFacts& facts, const nn::Linear& dense, const nn::Linear& out, const ForwardInput& input,
                  const Tensor& hidden) const;

  Architecture facts_;
  std::shared_ptr<const Transformer> encoder_{};
  nn::Embeddings embeddings_{};
  int64_t position_offset_ = 0;
  nn::Norm embedding_norm_{}, final_norm_{};
  std::vector<Layer> layers_{};
  std::vector<double> rotary_frequencies_{};  // radians per position of each pair of channels; empty: no rotary embeddings
  bool rotary_is_interleaved_ = false;
  nn::Linear phases_{};                      // for PhasePositions: W of architecture.h
  std::vector<double> phase_frequencies_{};  // of PhasePositions and LayerSinusoids
  Tensor gained_positions_{};                // [longest, width]: multiplied by position_gain_; undefined: there is no gain
  Tensor position_gain_{};                   // [1]

  nn::Linear pooler_{}, classifier_dense_{}, classifier_{}, next_dense_{}, next_{}, causal_{};
  nn::Linear masked_transform_{}, masked_decoder_{};
  nn::Norm masked_norm_{};
};

/// The frequency of each pair of channels, in radians per position, with the scaling applied.
std::vector<double> rotary_frequencies(const RotaryPositions& facts, int64_t head_dim);

}  // namespace clearhead
