// Convolutions with channel attention and spatial attention: CBAM (Woo et al. 2018) in the blocks of a residual network (He et al. 2016).
//
//   M_c(F) = σ(W_1 relu(W_0 F_avg) + W_1 relu(W_0 F_max))     means and maxima over positions; a weight for each channel  (eq. 2)
//   M_s(F) = σ(f^{7×7}([F_avg; F_max]))                       means and maxima over channels; a weight for each position  (eq. 3)
//   F' = M_c(F) ⊗ F      F'' = M_s(F') ⊗ F'                                                                               (eq. 1)
//
// The spatial gate is computed as an attention call with one query, keys whose scores are f^{7×7}, and the sigmoid as normaliser. Its
// weights are M_s, and a knockout closes the gate at a position. Its keys are the patches of the first stage, which has the finest grid.
// In later stages, a cell of the coarser grid covers several patches with the same score, and the values average them to the cell.
#include "base/format.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

constexpr int64_t kSqueeze = 4;  // reduction ratio: the hidden layer of the channel gate has channels / kSqueeze units

nn::ConvOptions plain_conv(int64_t stride, int64_t padding) {
  return {.how = {.stride = {stride, stride}, .padding = {padding, padding}}, .bias = false};
}

struct ChannelGate {
  nn::Linear down, up;
  ChannelGate(const Scope& scope, int64_t channels)
      : down(scope / "down", channels, std::max<int64_t>(1, channels / kSqueeze), {.bias = false}),
        up(scope / "up", std::max<int64_t>(1, channels / kSqueeze), channels, {.bias = false}) {}
  Tensor operator()(Compute& compute, const Tensor& x) const {
    const Tensor places = x.reshape({x.size(0), x.size(1), x.size(2) * x.size(3)});
    const auto scored = [&](const Tensor& of) { return up(compute, compute.activate("relu", down(compute, of))); };
    const Tensor gate = compute.activate("sigmoid", compute.add(scored(compute.mean(places, 2)), scored(compute.max(places, 2))));
    return compute.multiply(x, gate.reshape({x.size(0), x.size(1), 1, 1}).expand(x.shape()));
  }
};

struct SpatialGate {
  nn::Conv score;
  int64_t rows, columns, repeat;  // size of the grid of patches; side of a cell in patches
  Site site;
  Tensor values;  // [1, 1, patch, cell]
  SpatialGate(const Scope& scope, const PictureFacts& picture, int64_t patches_a_cell, int layer)
      : score(scope, 2, 1, {7, 7}, plain_conv(1, 3)),
        rows(picture.rows()),
        columns(picture.columns()),
        repeat(patches_a_cell),
        site{.family = "spatial", .layer = layer, .queries = "query", .keys = "patch"},
        values(Tensor::zeros({1, 1, rows * columns, (rows / repeat) * (columns / repeat)})) {
    for (int64_t p = 0; p < rows * columns; ++p) {
      const int64_t cell = p / columns / repeat * (columns / repeat) + p % columns / repeat;
      values.mutable_data<float>()[p * values.size(3) + cell] = 1 / static_cast<float>(repeat * repeat);
    }
  }
  Tensor operator()(Compute& compute, const Tensor& x) const {
    const int64_t batch = x.size(0), height = x.size(2), width = x.size(3), patches = rows * columns;
    const Shape plane = {batch, 1, height, width};
    const Tensor scores = score(compute, compute.concat({compute.mean(x, 1).reshape(plane), compute.max(x, 1).reshape(plane)}, 1));
    const Tensor repeated = scores.reshape({batch, height, 1, width, 1}).expand({batch, height, repeat, width, repeat});
    const Tensor k = compute.contiguous(repeated).reshape({batch, 1, patches, 1});
    const Tensor q = Tensor::from(std::vector<float>{1}, {1, 1, 1, 1}).expand({batch, 1, 1, 1});
    const AttentionSpec spec{.score = Dot{1}, .normaliser = Sigmoid{}};
    const Tensor gate = compute.attend(q, k, values.expand({batch, 1, patches, height * width}), spec, site);
    return compute.multiply(x, gate.reshape(plane).expand(x.shape()));
  }
};

// relu(shortcut(x) + gated convolutions of x)
struct Block {
  nn::Conv first, second, shortcut;
  nn::BatchNorm norm1, norm2, shortcut_norm;
  ChannelGate channels;
  SpatialGate places;
  Block(const Scope& scope, int64_t in, int64_t out, int64_t stride, const PictureFacts& picture, int64_t patches_a_cell, int layer)
      : first(scope / "conv1", in, out, {3, 3}, plain_conv(stride, 1)),
        second(scope / "conv2", out, out, {3, 3}, plain_conv(1, 1)),
        norm1(scope / "norm1", out),
        norm2(scope / "norm2", out),
        channels(scope / "channels", out),
        places(scope / "places", picture, patches_a_cell, layer) {
    if (in == out && stride == 1) return;
    shortcut = {scope / "shortcut", in, out, {1, 1}, plain_conv(stride, 0)};
    shortcut_norm = {scope / "shortcut_norm", out};
  }
  Tensor operator()(Compute& compute, const Tensor& x) const {
    const Tensor inner = compute.activate("relu", norm1(compute, first(compute, x)));
    const Tensor gated = places(compute, channels(compute, norm2(compute, second(compute, inner))));
    return compute.activate("relu", compute.add(gated, shortcut.weight.defined() ? shortcut_norm(compute, shortcut(compute, x)) : x));
  }
};

class ConvolutionalAttention final : public Network {
 public:
  ConvolutionalAttention(Fields& config, NetworkFacts facts, const Scope& scope) : dropout_(rate_of(config, "dropout")) {
    if (facts.labels.empty()) config.wrong("id2label", "the labels", Json());
    facts_ = std::move(facts);
    const PictureFacts& picture = facts_.picture;
    const int64_t stages = size_of(config, "num_stages", 8), blocks = size_of(config, "blocks_per_stage", 100);
    int64_t width = size_of(config, "hidden_size"), repeat = 1;
    stem_ = {scope / "stem", picture.channels, width, {3, 3}, plain_conv(picture.patch, 1)};
    stem_norm_ = {scope / "stem_norm", width};
    for (int64_t stage = 0; stage < stages; ++stage) {
      if (picture.rows() % repeat != 0 || picture.columns() % repeat != 0)
        config.wrong("num_stages",
                     format("a number of stages for which {} × {} patches can be halved once per stage after the first", picture.rows(),
                            picture.columns()),
                     Json(stages));
      for (int64_t at = 0; at < blocks; ++at) {
        const bool halves = stage > 0 && at == 0;
        const auto layer = static_cast<int64_t>(blocks_.size());
        blocks_.emplace_back(scope / "blocks" / layer, halves ? width / 2 : width, width, halves ? 2 : 1, picture, repeat,
                             static_cast<int>(layer));
      }
      facts_.width = width;
      width *= 2;
      repeat *= 2;
    }
    facts_.layers = static_cast<int64_t>(blocks_.size());
    classifier_ = {scope / "classifier", facts_.width, static_cast<int64_t>(facts_.labels.size())};
  }

  Tensor logits(Compute& compute, const Batch& input, const Batch*) const override {
    Tensor x = compute.activate("relu", stem_norm_(compute, stem_(compute, input.features)));
    for (const Block& block : blocks_) x = block(compute, x);
    const Tensor means = compute.mean(x.reshape({input.batch, facts_.width, x.size(2) * x.size(3)}), 2);
    return classifier_(compute, compute.dropout(means, dropout_));
  }

 private:
  double dropout_;
  nn::Conv stem_{};
  nn::BatchNorm stem_norm_{};
  std::vector<Block> blocks_{};
  nn::Linear classifier_{};
};

}  // namespace

const NetworkKind& convolutional_attention_network() {
  static const NetworkKind kind{"convolutional_attention", "picture", &make_network<ConvolutionalAttention>};
  return kind;
}

}  // namespace clearhead
