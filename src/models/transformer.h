// One Transformer for every family: assembled from an Architecture, run over a batch or over a cache.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "clearhead/model.h"
#include "models/architecture.h"
#include "models/weights.h"
#include "nn/layers.h"

namespace clearhead {

class Transformer;

/// What a forward pass is given, after checks: rows = batch·length.
struct ForwardInput {
  int64_t batch = 0, length = 0;
  std::vector<int32_t> ids{}, type_ids{}, positions{};  // [rows]; positions counted from 0
  std::vector<int32_t> lengths{};                       // [batch]
  std::optional<Segments> segments{};
  std::optional<Segments> of_source{};  // which keys of the source each token sees; absent: all of its sequence's source
  ModelCache* cache = nullptr;
  int64_t step = 0;
  const ForwardInput* source = nullptr;  // of an encoder-decoder: what its encoder reads; absent: `cache` remembers it
};

/// Sequences of one length, padded at their ends, positions from 0.   ids: [batch·length], lengths: [batch] or empty: all are whole
ForwardInput plain_input(int64_t batch, int64_t length, const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths = {});

/// Documents and padding as segments; absent where every token sees every other.   documents: [batch·length] or empty
std::optional<Segments> segments_of(int64_t batch, int64_t length, const std::vector<int32_t>& lengths,
                                    std::vector<int32_t> documents = {});

/// The maps of one stack over so many tokens.
MapFamily family_of(const Transformer& stack, int64_t tokens);
/// What a run over a source and its target tells its observer: one text, of which each family is a part.
RunPlan plan_of_pair(const Transformer& stack, const std::string& model, RunText source, RunText target);

/// Which of a family's heads a file holds weights of.
struct HeadsInFile {
  bool pooler = false, masked = false, classifier = false, next_sentence = false, causal = false;
};
/// Reads headers only.
HeadsInFile heads_in_file(const Architecture& facts, const SafeTensors& file);

class Transformer {
 public:
  Transformer(const Architecture& facts, const SafeTensors& file, WeightStorage storage);
  /// To be trained: weights are made by, and read in place from, `parameters`.
  Transformer(const Architecture& facts, ModelParameters& parameters, const HeadsInFile& heads);

  const Architecture& facts() const { return facts_; }
  /// Of an encoder-decoder; else null.
  const Transformer* encoder() const { return encoder_.get(); }
  /// What the observer's sites are called: "enc" for bidirectional models, "dec" for causal ones.
  const char* map_family() const;
  /// A classifier of whole texts is there, not one of tokens.
  bool classifies_texts() const { return classifier_ && facts_.classifier->where != ClassifierFacts::Where::kEvery; }
  /// Those that its encoder reads under. Throws kInvalidArgument for interventions of attention that this model has not.
  Interventions source_interventions(Interventions interventions) const;
  RunResult forward(Run& run, const ForwardInput& input, const RunOptions& options) const;

 private:
  struct Layer {
    nn::Norm attention_norm{}, cross_norm{}, mlp_norm{};
    nn::Attention attention{};
    nn::Attention cross{};  // without a projection where there is none
    nn::Mlp mlp{};
  };
  struct Pass;  // what the layers of one forward pass share
  void load(Weights& weights, const HeadsInFile& heads);
  void load_positions(const Weights& weights, const NoPositions& none);
  void load_positions(const Weights& weights, const LearnedPositions& learned);
  void load_positions(const Weights& weights, const RotaryPositions& rotary);
  void load_positions(const Weights& weights, const PhasePositions& phases);
  void load_positions(const Weights& weights, const SinusoidalPositions& sinusoidal);
  void load_layer(Weights& weights, int64_t at);
  void load_heads(Weights& weights, const HeadsInFile& present);
  double last_narrower() const { return std::sqrt(2.0 * static_cast<double>(facts_.layers)); }  // of the maps that end blocks
  void check_interventions(const Interventions& interventions) const;
  nn::Attention load_attention(Weights& weights, const ProjectionNames& names, const AttentionFacts& facts, bool is_cross) const;
  void embed(Run& run, const ForwardInput& input, Tensor& x) const;
  void read_source(Run& run, const ForwardInput& input, const RunOptions& options, Pass& pass, RunResult& result) const;
  void run_layer(Run& run, int64_t at, const Pass& pass, Tensor& x) const;
  void run_layer_twice(Run& run, int64_t at, const std::shared_ptr<const Pass>& pass, Tensor& x) const;
  void run_heads(Run& run, const ForwardInput& input, const RunOptions& options, RunResult& result) const;
  Tensor classify(Run& run, const ClassifierFacts& facts, const nn::Linear& dense, const nn::Linear& out, const ForwardInput& input,
                  const Tensor& hidden) const;

  Architecture facts_;
  std::shared_ptr<const Transformer> encoder_{};
  ops::EmbeddingTables tables_{};
  int64_t position_offset_ = 0;
  nn::Norm embedding_norm_{}, final_norm_{};
  std::vector<Layer> layers_{};
  nn::Rotary rotary_{};
  nn::Linear phases_{};  // of PhasePositions: W of architecture.h
  std::vector<double> phase_frequencies_{};

  nn::Linear pooler_{}, classifier_dense_{}, classifier_{}, next_dense_{}, next_{}, causal_{};
  nn::Linear masked_transform_{}, masked_decoder_{};
  nn::Norm masked_norm_{};
};

/// Radians a position for every pair of channels.
std::vector<double> rotary_frequencies(const RotaryPositions& facts, int64_t head_dim);

}  // namespace clearhead
