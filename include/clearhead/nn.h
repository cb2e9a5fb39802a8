// Implemented in src/nn.
// The layers of every model, and their named parameters. Transformers loaded from files, the networks from the literature and
// your own models use the same structs. A model of your own is a struct of layers with a function of a Compute. The same code
// trains and runs the model, and its attention can be observed and its parameters saved and read back.
//
//   struct Layer {                                          // a pre-norm Transformer layer
//     Scope scope;
//     int at = 0;
//     nn::LayerNorm norm1{scope / "norm1", 64}, norm2{scope / "norm2", 64};
//     nn::Attention attention{scope / "attention", 64, /*heads=*/4, {.site = {"enc", at}}};
//     nn::FeedForward mlp{scope / "mlp", 64, 256};
//     Tensor operator()(Compute& compute, Tensor x, const Layout& layout) const {
//       x = compute.add(x, attention(compute, norm1(compute, x), layout));
//       return compute.add(x, mlp(compute, norm2(compute, x)));
//     }
//   };
//
//   Parameters parameters(/*seed=*/1);                        // new values
//   Layer layer{Scope(parameters) / "layers" / 0};            // "layers.0.attention.query.weight", …
//   Training training;
//   training.train(parameters);                               // then steps (train.h)
//   parameters.save("layer.safetensors");
//
//   Parameters saved = Parameters::read("layer.safetensors"); // the same constructors, values from the file
//   Layer again{Scope(saved) / "layers" / 0};
//   Maps maps;
//   Compute compute({.observer = &maps});                     // the same bits, without a tape
//   again(compute, x, {.batch = 8, .length = 128});
//
// Activations are [batch·length, width], one sequence after another. Every layer throws kShape for an input that does
// not fit.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clearhead/compute.h"

namespace clearhead {

namespace io {
class SafeTensors;
}
class PreparedWeight;             // backends/dense.h
enum class Activation : uint8_t;  // backends/dense.h

/// Initialisation of a new parameter.
struct Init {
  enum class Kind : uint8_t { kValue, kNormal, kUniform, kXavier };
  Kind kind = Kind::kValue;
  double number = 0;  ///< the value, the standard deviation, the bound or the gain, in the order of Kind
  /// Number of values of the seed's own random sequence to skip. Absent: the sequence depends on the parameter's name too.
  std::optional<uint64_t> drawn_before{};

  static Init zeros() { return value(0); }
  static Init ones() { return value(1); }
  static Init value(double value) { return {Kind::kValue, value}; }
  static Init normal(double std_dev) { return {Kind::kNormal, std_dev}; }
  static Init uniform(double bound) { return {Kind::kUniform, bound}; }  ///< in [−bound, bound)
  /// Uniform with bound gain·√(6/(fan in + fan out)), for [out, in, kernel …] (Glorot & Bengio 2010, eq. 16).
  static Init xavier(double gain = 1) { return {Kind::kXavier, gain}; }
};

struct ReadOptions {
  bool allow_more = false;  ///< the file may contain tensors that the model does not have
};

/// The named tensors of a model, either newly initialised or read from a safetensors file.
class Parameters {
 public:
  /// New parameters. A value depends on the seed, the parameter's name and the value's index, not on other parameters
  /// (unless Init::drawn_before is set).
  explicit Parameters(uint64_t seed = 1) : seed_(seed) {}
  /// Parameters with the values of a file (f32, bf16 or f16; in memory f32). Throws kNotFound or kIo if the file cannot
  /// be read, kFormat if it is invalid. Each parameter is looked up when a layer requests it; check_all_used() finds
  /// tensors that no layer requested.
  static Parameters read(const std::string& path, const ReadOptions& options = {});
  Parameters(Parameters&&) = default;
  Parameters& operator=(Parameters&&) = default;

  struct Named {
    std::string name{};
    Tensor values{};          ///< f32, contiguous (a transposed Block is a view that is not)
    bool is_trained = false;  ///< false: a buffer, such as running statistics
  };
  /// Creates the parameter with this name. Throws kInvalidArgument if the name is already in use. When reading, also
  /// throws kNotFound for a name that the file does not have, kShape for another shape, kUnsupported for elements that
  /// are not floating-point.
  Tensor parameter(const std::string& name, const Shape& shape, const Init& init);
  /// The same for values that are saved but not trained.
  Tensor buffer(const std::string& name, const Shape& shape, const Init& init);

  /// Rows of a parameter that have a name of their own.
  struct Block {
    std::string name{};
    int64_t rows = 0;
    bool is_transposed = false;  ///< files store the rows as [columns, rows]; those of a vector as [1, rows]
  };
  /// Creates one tensor that consists of named blocks of rows, such as the projections of q, k and v, so that one product
  /// computes all of them: [Σ rows, columns], or [Σ rows] with columns = 0. Each name is a view of it, and has the values that
  /// parameter() would give it. Throws as parameter().
  Tensor stacked(const std::vector<Block>& blocks, int64_t columns, const Init& init);

  const std::vector<Named>& named() const { return named_; }  ///< in order of creation
  const Tensor* find(const std::string& name) const;          ///< null if there is no parameter with this name
  /// The trained tensors that own their memory, in order of creation: single parameters, and stacks of them.
  const std::vector<Tensor>& leaves() const { return leaves_; }
  int64_t count() const;  ///< number of elements of all trained parameters
  /// Throws kNotFound if the file contains tensors that no layer requested, unless ReadOptions allow it; the message names
  /// them. save() and Training::train() call this function. A program that only runs a model calls it once the model has
  /// been constructed.
  void check_all_used() const;
  /// Writes all values to a safetensors file as f32. The file is then complete; on an error it is unchanged. Throws kIo.
  void save(const std::string& path) const;

 private:
  Tensor make(const std::string& name, const Shape& shape, const Init& init, bool is_trained);
  void set(const std::string& name, const Init& init, Tensor& values);

  uint64_t seed_ = 0;
  std::shared_ptr<const io::SafeTensors> file_{};  // null: values are drawn
  ReadOptions options_{};
  std::vector<Named> named_{};
  std::vector<Tensor> leaves_{};
};

/// A name prefix: parameters that are created in this scope have its path in front of their names.
class Scope {
 public:
  /// The root scope, which has an empty path. The parameters must outlive the scope and stay at the same address.
  Scope(Parameters& parameters, std::string path = {}) : parameters_(&parameters), path_(std::move(path)) {}
  /// "encoder" / 0 is "encoder.0".
  Scope operator/(std::string_view name) const { return {*parameters_, name_of(name)}; }
  Scope operator/(int64_t index) const { return *this / std::to_string(index); }
  Tensor parameter(std::string_view name, const Shape& shape, const Init& init) const {
    return parameters_->parameter(name_of(name), shape, init);
  }
  Tensor buffer(std::string_view name, const Shape& shape, const Init& init) const {
    return parameters_->buffer(name_of(name), shape, init);
  }
  Tensor stacked(std::vector<Parameters::Block> blocks, int64_t columns, const Init& init) const {
    for (Parameters::Block& block : blocks) block.name = name_of(block.name);
    return parameters_->stacked(blocks, columns, init);
  }
  const std::string& path() const { return path_; }

 private:
  std::string name_of(std::string_view name) const { return path_.empty() ? std::string(name) : path_ + "." + std::string(name); }
  Parameters* parameters_;
  std::string path_;
};

/// The layout of a batch of sequences in rows [batch·length, width]: one after another, padded at the end.
struct Layout {
  int64_t batch = 1, length = 0;
  std::vector<int32_t> lengths{};  ///< [batch] steps that are not padding, 0 … length; empty: all steps
  /// [rows] for sequences that contain several texts one after another (packing): the index of each row's text, −1 for
  /// padding. Attention stays within a text. Empty: one text.
  std::vector<int32_t> texts{};

  int64_t rows() const { return batch * length; }
  std::vector<int32_t> positions() const;  ///< [rows] 0, 1, … length − 1 in each sequence
  Tensor segments() const;                 ///< i32 [batch, length]: 0, or `texts`; −1 for padding (Segments, spec.h)
  /// Throws kShape if the number of rows of x or the size of `lengths` or `texts` does not match, kInvalidArgument for a
  /// length out of range. The message names `part`.
  void check(const char* part, const Tensor& x) const;
};

namespace nn {

struct LinearOptions {
  bool bias = true;  ///< initialised to 0
  Init init = Init::xavier();
};
/// One of the linear layers that stacked() joins: the prefix of its parameters' names, and its outputs.
struct LinearBlock {
  std::string name{};
  int64_t out = 0;
};
/// x·Wᵀ + b.   x: [rows, in] → [rows, out]. Parameters: weight [out, in], bias [out].
///
/// The weight is live (the parameter's own f32 values, which training changes), or prepared when a model is loaded:
/// packed for this machine, in f32, bf16 or int8. A prepared weight has no gradient.
struct Linear {
  std::shared_ptr<const PreparedWeight> weight{};
  Tensor bias{};  ///< undefined: none
  Linear() = default;
  Linear(const Scope& scope, int64_t in, int64_t out, const LinearOptions& options = {});
  Linear(std::shared_ptr<const PreparedWeight> with_weight, Tensor with_bias)
      : weight(std::move(with_weight)), bias(std::move(with_bias)) {}
  /// Several layers with the same input as one product, whose outputs lie one after another. Each has its own parameters.
  static Linear stacked(const Scope& scope, int64_t in, const std::vector<LinearBlock>& blocks, const LinearOptions& options = {});
  explicit operator bool() const { return weight != nullptr; }
  int64_t in() const;
  int64_t out() const;
  /// The live values [out, in]. Throws kUnsupported if the weight is prepared.
  const Tensor& values() const;
  Tensor operator()(Compute& compute, const Tensor& x) const;
};

/// Looks up rows of a table.   ids → [ids, width]. Parameter: weight [entries, width].
/// To use the same table as output projection (tied weights): compute.linear(x, embedding.weight).
struct Embedding {
  Tensor weight{};
  Embedding() = default;
  Embedding(const Scope& scope, int64_t entries, int64_t width, const Init& init = Init::normal(0.02))
      : weight(scope.parameter("weight", {entries, width}, init)) {}
  Tensor operator()(Compute& compute, const std::vector<int32_t>& ids) const { return compute.embed(weight, ids); }
};

/// Position embeddings: adds a vector to each row according to its position in its sequence. (For rotary embeddings, see
/// AttentionOptions::rotary.)
struct Positions {
  Tensor weight{};  ///< [longest, width]
  Positions() = default;
  /// Learned position embeddings.   Parameter: weight [longest, width].
  Positions(const Scope& scope, int64_t longest, int64_t width, const Init& init = Init::normal(0.02))
      : weight(scope.parameter("weight", {longest, width}, init)) {}
  /// Constant position embeddings: sin(p·10000^(−2i/width)) in channel 2i, the cosine in channel 2i + 1 (Vaswani et al.
  /// 2017, §3.5).
  static Positions sinusoidal(int64_t longest, int64_t width);
  /// [rows, width] → [rows, width]. Throws kTooLong for sequences longer than the table.
  Tensor operator()(Compute& compute, const Tensor& x, const Layout& layout) const;
};

/// A norm of each row.   x: [rows, width] → [rows, width]. LayerNorm and RmsNorm create its parameters.
struct Norm {
  Tensor weight{}, bias{};  ///< [width]; bias: undefined for none
  double epsilon = 1e-5;
  bool is_rms = false;
  explicit operator bool() const { return weight.defined(); }
  Tensor operator()(Compute& compute, const Tensor& x) const;
};
/// Layer norm: (x − mean)/√(var + ε)·weight + bias (Ba, Kiros & Hinton 2016). Parameters: weight [width], initialised to 1,
/// and bias [width], initialised to 0.
struct LayerNorm : Norm {
  LayerNorm() = default;
  LayerNorm(const Scope& scope, int64_t width, double epsilon = 1e-5);
};
/// RMS norm: x/√(mean x² + ε)·weight (Zhang & Sennrich 2019). Parameter: weight [width], initialised to 1.
struct RmsNorm : Norm {
  RmsNorm() { is_rms = true; }
  RmsNorm(const Scope& scope, int64_t width, double epsilon = 1e-5);
};

/// Batch norm (Compute::batch_norm). Training updates the running statistics, and Compute uses them.
/// x: [batch, channels, …], contiguous. Parameters: weight, initialised to 1, and bias, initialised to 0. Buffers:
/// running_mean and running_var. Each is [channels].
struct BatchNorm {
  Tensor weight{}, bias{};
  RunningStatistics running{};
  BatchNorm() = default;
  BatchNorm(const Scope& scope, int64_t channels, double momentum = 0.1);
  Tensor operator()(Compute& compute, const Tensor& x) const;
};

struct ConvOptions {
  Convolution how{};
  bool bias = true;  ///< initialised to 0
  Init init = Init::xavier();
};
/// Convolution over images (kernel {height, width}) or sequences (kernel {length}).
/// x: [batch, in, …], contiguous → [batch, out, …]. Parameters: weight [out, in / groups, kernel …], bias [out].
struct Conv {
  Tensor weight{}, bias{};
  Convolution how{};
  Conv() = default;
  Conv(const Scope& scope, int64_t in, int64_t out, const Shape& kernel, const ConvOptions& options = {});
  Tensor operator()(Compute& compute, const Tensor& x) const { return compute.conv(x, weight, bias, how); }
};

struct RecurrentOptions {
  int64_t layers = 1;
  bool bidirectional = false;  ///< each layer also runs backwards; a row has the states of both (Schuster & Paliwal 1997)
  bool bias = true;
  double dropout = 0;  ///< on the states between layers, in training
};
/// States between steps: one tensor [batch, hidden] for each layer and direction, in the order l0, l0 reverse, l1, …
struct RecurrentState {
  std::vector<Tensor> state{}, cell{};  ///< cell: LSTM only
};
struct RecurrentResult {
  /// States of the last layer, [batch·length, directions·hidden]. Rows of padding have the sequence's last state; in
  /// the backward direction, the state before its first step.
  Tensor rows{};
  RecurrentState last{};  ///< at the end of each sequence (backwards: at its beginning)
};
/// A GRU or LSTM over whole sequences, or over one step at a time (a layout of length 1, with the previous state).
/// Parameters, as in PyTorch: weight_ih_l0 [gates·hidden, in], weight_hh_l0 [gates·hidden, hidden], bias_ih_l0,
/// bias_hh_l0 [gates·hidden]; then l1, …; with the suffix `_reverse` for the backward direction. All are drawn from
/// U(±1/√hidden).
class Recurrent {
 public:
  /// x: [batch·length, in]. `before` is the state before the first step; empty: zeros.
  RecurrentResult operator()(Compute& compute, const Tensor& x, const Layout& layout, const RecurrentState& before = {}) const;

 protected:
  Recurrent() = default;
  Recurrent(const Scope& scope, bool has_cell, int64_t in, int64_t hidden, const RecurrentOptions& options);

 private:
  Tensor run(Compute& compute, const Tensor& x, size_t at, Recurrence layer, RecurrentResult& result) const;

  std::vector<Recurrence> layers_{};  // l0, l0 reverse, l1, …
  bool has_cell_ = false, bidirectional_ = false;
  double dropout_ = 0;
};
struct Gru : Recurrent {
  Gru() = default;
  Gru(const Scope& scope, int64_t in, int64_t hidden, const RecurrentOptions& options = {})
      : Recurrent(scope, false, in, hidden, options) {}
};
struct Lstm : Recurrent {
  Lstm() = default;
  Lstm(const Scope& scope, int64_t in, int64_t hidden, const RecurrentOptions& options = {})
      : Recurrent(scope, true, in, hidden, options) {}
};

struct AttentionOptions {
  /// Any description (spec.h). Its operands may be parameters. Padding is added to it as segments.
  AttentionSpec spec{};
  int64_t key_heads = 0;     ///< heads of k and v, a divisor of the query heads (Ainslie et al. 2023); 0: as many as query heads
  int64_t head_dim = 0;      ///< 0: width / heads
  int64_t memory_width = 0;  ///< cross-attention: width of the memory that it reads; 0: self-attention
  bool bias = true;
  std::optional<Rotary> rotary{};  ///< self-attention only
  double dropout = 0;              ///< on attention weights, in training
  Site site{.family = "enc"};      ///< family and layer of its map
  Init init = Init::xavier();
};
/// Multi-head attention (Vaswani et al. 2017, §3.2.2): the heads of query(x) attend to the keys and values of x, or of a
/// memory; output() projects the concatenated heads. Parameters: query, key, value and output, each a Linear.
///
/// The projections of x are one product, [q | k | v]. In cross-attention, x is projected to q and the memory to [k | v].
class Attention {
 public:
  int64_t heads = 0, key_heads = 0, head_dim = 0;
  Linear projection{};  ///< [q | k | v]; in cross-attention q only
  Linear memory{};      ///< [k | v] of cross-attention
  Linear output{};
  AttentionSpec spec{};
  std::optional<Rotary> rotary{};
  double dropout = 0;
  Site site{};

  Attention();
  /// Throws kInvalidArgument if `heads` does not divide the width (with head_dim = 0), if key_heads does not divide `heads`,
  /// or for rotary embeddings in cross-attention.
  Attention(const Scope& scope, int64_t width, int64_t heads, const AttentionOptions& options = {});
  /// Self-attention.   x: [rows, width] → [rows, width]
  Tensor operator()(Compute& compute, const Tensor& x, const Layout& layout) const;
  /// Cross-attention.   memory: [memory_layout.rows(), memory_width], with as many sequences as x
  Tensor operator()(Compute& compute, const Tensor& x, const Layout& layout, const Tensor& memory, const Layout& memory_layout) const;

  struct OutputFactor;  ///< cache for the norms ‖v·W_O^h‖ that observers receive (nn/run.cc)
  const std::shared_ptr<OutputFactor>& output_factor() const { return output_factor_; }

 private:
  Tensor run(Compute& compute, const Tensor& x, const Layout& layout, const Tensor* memory, const Layout& memory_layout) const;

  std::shared_ptr<OutputFactor> output_factor_;
};

struct FeedForwardOptions {
  std::string activation = "gelu";
  bool gated = false;  ///< down(f(gate x) ⊙ up x) (Shazeer 2020)
  bool bias = true;
  double dropout = 0;  ///< on the inner activations, in training
  Init init = Init::xavier();
};
/// A feed-forward block, down(f(up x)), or down(f(gate x) ⊙ up x).   x: [rows, width] → [rows, width]. Parameters: up, down,
/// and gate if gated; each is a Linear. The projections of x are one product, [gate | up].
struct FeedForward {
  Linear up{}, down{};
  Activation activation{};
  bool is_gated = false;
  double dropout = 0;
  FeedForward() = default;
  explicit operator bool() const { return static_cast<bool>(up); }
  FeedForward(const Scope& scope, int64_t width, int64_t inner_width, const FeedForwardOptions& options = {});
  Tensor operator()(Compute& compute, const Tensor& x) const;
};

struct TransformerLayerOptions {
  AttentionOptions attention{};
  int64_t mlp_width = 0;  ///< width of the feed-forward block; 0: 4·width
  std::string activation = "gelu";
  double dropout = 0;      ///< on the output of each block, in training
  bool norm_first = true;  ///< pre-norm; false: post-norm
  double epsilon = 1e-5;   ///< of the norms
};
/// A Transformer layer, pre-norm (Xiong et al. 2020, figure 1b) or post-norm (Vaswani et al. 2017, §3.1):
///   x' = x + attention(norm1(x))      x'' = x' + mlp(norm2(x'))
///   x' = norm1(x + attention(x))      x'' = norm2(x' + mlp(x'))        norm_first = false
/// Parameters: norm1, norm2, attention, mlp.
struct TransformerLayer {
  LayerNorm norm1{}, norm2{};
  Attention attention{};
  FeedForward mlp{};
  double dropout = 0;
  bool norm_first = true;
  TransformerLayer() = default;
  TransformerLayer(const Scope& scope, int64_t width, int64_t heads, const TransformerLayerOptions& options = {});
  /// x: [rows, width] → [rows, width]
  Tensor operator()(Compute& compute, const Tensor& x, const Layout& layout) const;
  /// The same with cross-attention to a memory instead of self-attention.   memory: as in Attention
  Tensor operator()(Compute& compute, const Tensor& x, const Layout& layout, const Tensor& memory, const Layout& memory_layout) const;

 private:
  Tensor before(Compute& compute, const Tensor& x) const { return norm_first ? norm1(compute, x) : x; }
  Tensor after(Compute& compute, const Tensor& x, const Tensor& seen) const;
};

/// Packs the sequences of each group, for example the sentences of a document, into one sequence without the padding
/// between them.
struct Packing {
  Layout layout{};              ///< one sequence for each group; `texts` is the index of each sequence within its group
  std::vector<int32_t> from{};  ///< [layout.rows()] the unpacked row of each packed row; 0 for padding
  std::vector<int32_t> back{};  ///< [sequences.rows()] the packed row of each unpacked row; 0 for padding
  /// groups: its rows are the sequences. Throws kShape if groups.rows() is not the number of sequences.
  static Packing of(const Layout& sequences, const Layout& groups);
};

struct EncoderOptions {
  int64_t vocabulary = 0, longest = 512, types = 2;
  int64_t width = 768, layers = 12, heads = 12, mlp_width = 0;
  std::string activation = "gelu";
  double epsilon = 1e-12;
  double dropout = 0;
  std::string family = "enc";  ///< family of its sites
};
/// A BERT encoder (Devlin et al. 2019, §3): norm(token + position + token type 0), then post-norm layers. Parameters:
/// tokens, positions, types, norm, layers; name_in_bert() returns their names in BERT's files.
struct Encoder {
  Embedding tokens{}, types{};
  Positions positions{};
  LayerNorm norm{};
  std::vector<TransformerLayer> layers{};
  Encoder() = default;
  Encoder(const Scope& scope, const EncoderOptions& options);
  /// ids: [layout.rows()] → [layout.rows(), width]
  Tensor operator()(Compute& compute, const std::vector<int32_t>& ids, const Layout& layout) const;
  /// The same for sequences in groups. Each sequence still sees only itself, but the sequences of a group are packed and
  /// share one map.
  Tensor operator()(Compute& compute, const std::vector<int32_t>& ids, const Layout& layout, const Layout& groups) const;
  /// "layers.0.norm1.bias" → "encoder.layer.0.attention.output.LayerNorm.bias", without "bert."; empty for other names.
  static std::string name_in_bert(std::string_view name);

 private:
  Tensor embedded(Compute& compute, const std::vector<int32_t>& ids, const Layout& layout) const;
};

/// Attention pooling: one vector for each sequence, by the attention of a learned query c (Yang et al. 2016, eq. 5–7):
///   u_t = tanh(W·x_t + b)      α = softmax(u·c)      Σ_t α_t·x_t
/// Padding is ignored; a sequence of length 0 gives zeros.
/// x: [rows, width] → [batch, width]. Parameters: hidden (a Linear), query [1, hidden].
struct Pooling {
  Linear hidden{};
  Tensor query{};
  Site site{};
  Pooling() = default;
  Pooling(const Scope& scope, int64_t width, int64_t hidden, const Site& site = {.family = "pool"});
  Tensor operator()(Compute& compute, const Tensor& x, const Layout& layout) const;
  /// The same for sequences in groups, such as the sentences of documents. Each group is one sequence of the attention
  /// call: its map has the group's sequences as queries and all their rows, without padding, as keys.
  /// groups: its rows are the sequences; → [groups.rows(), width]
  Tensor operator()(Compute& compute, const Tensor& x, const Layout& layout, const Layout& groups) const;
  /// The weights α, for networks that return them as their output: attention whose values are the rows of the identity
  /// matrix. Padding has weight 0.   → [batch, length]
  Tensor weights(Compute& compute, const Tensor& x, const Layout& layout) const;

 private:
  Tensor attend(Compute& compute, const Tensor& x, const Layout& layout, const Tensor& values) const;
};

/// Mean of each sequence's rows without padding; zeros for length 0.   x: [rows, width] → [batch, width]
Tensor mean(Compute& compute, const Tensor& x, const Layout& layout);

}  // namespace nn
}  // namespace clearhead
