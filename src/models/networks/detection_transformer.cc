// DETR: object detection as the prediction of a set (Carion et al. 2020). Each of N queries finds at most one object of a picture.
//
//   P = convolutions that halve the sides, down to patches     P ← P + E (fixed sines of row and column)     P ← encoder layers ("enc")
//   b_0 = learned anchor boxes     x_0 = learned query vectors     for each decoder layer l, queries n:
//   x ← x + MLP_b(b_(l−1))         x ← x + self-attention among the queries ("objects")
//   x ← x + Σ_p α_np v_p           α_n = softmax_p (q_n·k_p/√d + g_h·r_np)                            ("cross": queries × patches)
//   x ← x + MLP(x)                 b_l = σ(σ⁻¹(b_(l−1)) + W_b x)       class logits = W_c x, of all classes and "no object"
//
// Attention of the original model takes long to learn where to look. As in SMCA (Gao et al. 2021, §3.2), the score therefore contains the
// logarithm of a Gaussian around the box of the layer before: r_np = −2 ‖((p − c_n)/s_n) − o_hn‖², where c and s are the centre and the
// sides of b_(l−1), o_hn = tanh(W_o x) an offset for each head, in sides of the box, and g_h a learned factor. Up to a constant of the
// query, r is a dot product of (4 o' , −2/s², …) with the patch's (p, p²), so it consists of four more channels of q and k, and the maps
// need no other kind of score. Boxes are refined from layer to layer, and every layer predicts in training (auxiliary losses).
//
// Outputs: [picture·query, classes + 1 + 4]: class logits, the logit of "no object", and x, y of the centre, width and height as shares of
// the picture. In training, the outputs of all decoder layers, one layer after another; the last one is the prediction.
#include <algorithm>
#include <bit>
#include <cmath>

#include "base/format.h"
#include "models/detection.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

constexpr int64_t kBoxNumbers = 4;
constexpr int64_t kPlaceChannels = 4;   // x, x², y, y²
constexpr float kSmallestSide = 0.08F;  // of the Gaussian, as a share of the picture
constexpr double kFirstSide = 0.2;      // of anchor boxes before training

float logit_of(double share) { return static_cast<float>(std::log(share / (1 - share))); }

struct DecoderLayer {
  nn::Linear box_hidden{}, box_output{}, query{}, memory{}, output{}, offsets{};
  nn::LayerNorm norm_self{}, norm_cross{}, norm_mlp{};
  nn::Attention self{};
  nn::FeedForward mlp{};
  Tensor gain{};  // [heads]
  Site site{};
};

class DetectionTransformer final : public Network {
 public:
  DetectionTransformer(Fields& config, NetworkFacts facts, const Scope& scope) : dropout_(rate_of(config, "dropout")) {
    if (facts.labels.empty()) config.wrong("id2label", "the labels", Json());
    facts_ = std::move(facts);
    facts_.output = "boxes";
    const int64_t width = facts_.width = size_of(config, "hidden_size", 1 << 16);
    heads_ = facts_.heads = size_of(config, "num_attention_heads", width);
    if (width % heads_ != 0 || width % 4 != 0)
      config.wrong("hidden_size", format("a multiple of 4 and of {}, the number of heads", heads_), Json(width));
    const int64_t inner = size_of(config, "intermediate_size", 1 << 16);
    facts_.queries = size_of(config, "num_queries", 1000);
    make_stem(config, scope);
    const int64_t encoder_layers = size_of(config, "encoder_layers", 100);
    for (int64_t at = 0; at < encoder_layers; ++at) {
      const Site site{.family = "enc", .layer = static_cast<int>(at), .queries = "patch", .keys = "patch"};
      encoder_.emplace_back(scope / "encoder" / at, width, heads_,
                            nn::TransformerLayerOptions{.attention = {.site = site}, .mlp_width = inner, .dropout = dropout_});
    }
    patch_norm_ = {scope / "patch_norm", width};
    queries_ = scope.parameter("queries", {facts_.queries, width}, Init::normal(0.5));
    anchors_ = scope.parameter("anchors", {facts_.queries, kBoxNumbers}, Init::zeros());
    spread(anchors_);
    facts_.layers = size_of(config, "num_hidden_layers", 100);
    for (int64_t at = 0; at < facts_.layers; ++at) decoder_.push_back(decoder_layer(scope / "decoder" / at, static_cast<int>(at), inner));
    norm_ = {scope / "norm", width};
    classes_ = {scope / "classes", width, static_cast<int64_t>(facts_.labels.size()) + 1};
    box_hidden_ = {scope / "box" / "hidden", width, width};
    box_output_ = {scope / "box" / "output", width, kBoxNumbers, {.init = Init::zeros()}};
    set_places();
  }

  Tensor logits(Compute& compute, const Batch& input, const Batch*) const override { return run(compute, input).back(); }
  Tensor training_output(Compute& compute, const Batch& input, const Batch*) const override {
    return compute.concat(run(compute, input), 0);
  }
  void describe_predictions(const Tensor& outputs, RunText& text) const override { describe_objects(facts_, outputs, text); }

 private:
  void make_stem(Fields& config, const Scope& scope) {
    const PictureFacts& picture = facts_.picture;
    if (picture.patch < 4 || !std::has_single_bit(static_cast<uint64_t>(picture.patch)))
      config.wrong("patch_size", "a power of two, 4 or more", Json(picture.patch));
    const int64_t narrow = picture.patch / 2;  // the first convolution has width / narrow channels, the last `width`
    if (facts_.width % narrow != 0)
      config.wrong("hidden_size", format("a multiple of {}, half the patch size", narrow), Json(facts_.width));
    int64_t in = picture.channels;
    for (int64_t out = facts_.width / narrow; out <= facts_.width; out *= 2) {
      const auto at = static_cast<int64_t>(convolutions_.size());
      convolutions_.emplace_back(scope / "convolutions" / at, in, out, Shape{3, 3},
                                 nn::ConvOptions{.how = {.stride = {2, 2}, .padding = {1, 1}}, .bias = false});
      conv_norms_.emplace_back(scope / "convolution_norms" / at, out);
      in = out;
    }
  }

  DecoderLayer decoder_layer(const Scope& scope, int at, int64_t inner) const {
    const int64_t width = facts_.width;
    DecoderLayer out;
    out.box_hidden = {scope / "box" / "hidden", kBoxNumbers, width};
    out.box_output = {scope / "box" / "output", width, width};
    out.norm_self = {scope / "norm_self", width};
    out.norm_cross = {scope / "norm_cross", width};
    out.norm_mlp = {scope / "norm_mlp", width};
    const Site among{.family = "objects", .layer = at, .queries = "object", .keys = "object"};
    out.self = {scope / "self", width, heads_, {.site = among}};
    out.query = {scope / "cross" / "query", width, width};
    out.memory = nn::Linear::stacked(scope / "cross", width, {{"key", width}, {"value", width}});
    out.output = {scope / "cross" / "output", width, width};
    out.offsets = {scope / "cross" / "offsets", width, 2 * heads_, {.init = Init::xavier(0.5)}};
    out.gain = scope.parameter("cross.gain", {heads_}, Init::ones());
    out.mlp = {scope / "mlp", width, inner};
    out.site = {.family = "cross", .layer = at, .queries = "object", .keys = "patch"};
    return out;
  }

  // Places anchor boxes on a grid. Parameters that are read from a file are not changed: their values are not all zero.
  static void spread(Tensor& anchors) {
    float* to = anchors.mutable_data<float>();
    if (std::any_of(to, to + anchors.numel(), [](float value) { return value != 0; })) return;
    const int64_t count = anchors.size(0), columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(count)))),
                  rows = (count + columns - 1) / columns;
    for (int64_t at = 0; at < count; ++at, to += kBoxNumbers) {
      const int64_t row = at / columns, column = at % columns;
      to[0] = logit_of((static_cast<double>(column) + 0.5) / static_cast<double>(columns));
      to[1] = logit_of((static_cast<double>(row) + 0.5) / static_cast<double>(rows));
      to[2] = to[3] = logit_of(kFirstSide);
    }
  }

  // The position embeddings of patches (half of the channels for the row, half for the column), and the channels of keys for places.
  void set_places() {
    const int64_t rows = facts_.picture.rows(), columns = facts_.picture.columns(), patches = rows * columns, width = facts_.width;
    const Tensor along = nn::Positions::sinusoidal(std::max(rows, columns), width / 2).weight;
    positions_ = Tensor::empty({patches, width});
    places_ = Tensor::empty({patches, kPlaceChannels});
    float *position = positions_.mutable_data<float>(), *place = places_.mutable_data<float>();
    for (int64_t patch = 0; patch < patches; ++patch) {
      const int64_t row = patch / columns, column = patch % columns;
      position = std::copy_n(along.data<float>() + row * (width / 2), width / 2, position);
      position = std::copy_n(along.data<float>() + column * (width / 2), width / 2, position);
      const float x = (static_cast<float>(column) + 0.5F) / static_cast<float>(columns) - 0.5F,
                  y = (static_cast<float>(row) + 0.5F) / static_cast<float>(rows) - 0.5F;
      for (const float one : {x, x * x, y, y * y}) *place++ = one;
    }
  }

  // [picture·patch, width]
  Tensor patches(Compute& compute, const Batch& input, const Layout& layout) const {
    Tensor x = input.features;
    for (size_t at = 0; at < convolutions_.size(); ++at)
      x = compute.activate("relu", conv_norms_[at](compute, convolutions_[at](compute, x)));
    x = compute.contiguous(x.permute({0, 2, 3, 1})).reshape({layout.batch, layout.length, facts_.width});
    x = compute.add(x, positions_.reshape({1, layout.length, facts_.width}).expand(x.shape())).reshape({layout.rows(), facts_.width});
    for (const nn::TransformerLayer& layer : encoder_) x = layer(compute, x, layout);
    return patch_norm_(compute, x);
  }

  // The outputs of each decoder layer.
  std::vector<Tensor> run(Compute& compute, const Batch& input) const {
    const int64_t batch = input.features.size(0);
    const Layout patch_layout{batch, facts_.picture.patches()}, layout{batch, facts_.queries};
    const Tensor memory = patches(compute, input, patch_layout);
    const auto for_each_picture = [&](const Tensor& rows) {
      const Shape shape{1, rows.size(0), rows.size(1)}, all{batch, rows.size(0), rows.size(1)};
      return compute.contiguous(rows.reshape(shape).expand(all)).reshape({layout.rows(), rows.size(1)});
    };
    Tensor x = for_each_picture(queries_), box_logits = for_each_picture(anchors_);
    std::vector<Tensor> out;
    for (const DecoderLayer& layer : decoder_) {
      const Tensor box = compute.activate("sigmoid", box_logits);
      const Tensor at_box = layer.box_output(compute, compute.activate("gelu", layer.box_hidden(compute, box)));
      x = compute.add(x, at_box);
      x = compute.add(x, compute.dropout(layer.self(compute, layer.norm_self(compute, x), layout), dropout_));
      x = compute.add(x, compute.dropout(look(compute, layer, layer.norm_cross(compute, x), box.clone(), memory, batch), dropout_));
      x = compute.add(x, compute.dropout(layer.mlp(compute, layer.norm_mlp(compute, x)), dropout_));
      const Tensor found = norm_(compute, x);
      const Tensor change = box_output_(compute, compute.activate("relu", box_hidden_(compute, found)));
      // The gradient of a layer's boxes does not flow into earlier layers (Zhu et al. 2021, appendix A.4), except to the anchors.
      box_logits = compute.add(&layer == &decoder_.front() ? box_logits : box_logits.clone(), change);
      out.push_back(compute.concat({classes_(compute, found), compute.activate("sigmoid", box_logits)}, 1));
    }
    return out;
  }

  // Cross-attention to the patches.   x: [picture·query, width], box: [picture·query, 4], a constant → [picture·query, width]
  Tensor look(Compute& compute, const DecoderLayer& layer, const Tensor& x, const Tensor& box, const Tensor& memory, int64_t batch) const {
    const int64_t queries = facts_.queries, keys = facts_.picture.patches(), channels = facts_.width / heads_;
    const auto heads_of = [&](const Tensor& rows, int64_t length, int64_t count) {
      return rows.reshape({batch, length, count, rows.size(1) / count}).permute({0, 2, 1, 3});
    };
    const Tensor q = heads_of(layer.query(compute, x), queries, heads_), kv = heads_of(layer.memory(compute, memory), keys, 2 * heads_);
    const Tensor around = heads_of(place_query(compute, layer, x, box), queries, heads_);
    const Tensor places = places_.reshape({1, 1, keys, kPlaceChannels}).expand({batch, heads_, keys, kPlaceChannels});
    const AttentionSpec spec{.score = Dot{1 / std::sqrt(static_cast<float>(channels))}};
    const Tensor seen = compute.attend(compute.concat({q, around}, 3), compute.concat({kv.slice(1, 0, heads_), places}, 3),
                                       kv.slice(1, heads_, 2 * heads_), spec, layer.site, layer.output.values());
    return layer.output(compute, compute.contiguous(seen.permute({0, 2, 1, 3})).reshape({batch * queries, facts_.width}));
  }

  // The channels of queries for places: √d·g·(4 (c/s + o)/s, −2/s²) for x, then for y.   → [picture·query, heads·4]
  Tensor place_query(Compute& compute, const DecoderLayer& layer, const Tensor& x, const Tensor& box) const {
    const int64_t rows = x.size(0), channels = facts_.width / heads_;
    const float root = std::sqrt(static_cast<float>(channels));
    Tensor factors = Tensor::zeros({rows, 1, kPlaceChannels}), constants = Tensor::empty({rows, 1, kPlaceChannels});
    const float* from = box.data<float>();
    for (int64_t row = 0; row < rows; ++row, from += kBoxNumbers) {
      for (int64_t axis = 0; axis < 2; ++axis) {
        const float side = std::max(kSmallestSide, from[2 + axis]), centre = from[axis] - 0.5F;
        factors.mutable_data<float>()[row * kPlaceChannels + 2 * axis] = 4 * root / side;
        constants.mutable_data<float>()[row * kPlaceChannels + 2 * axis] = 4 * root * centre / (side * side);
        constants.mutable_data<float>()[row * kPlaceChannels + 2 * axis + 1] = -2 * root / (side * side);
      }
    }
    const Shape all{rows, heads_, kPlaceChannels};
    const Tensor offsets = compute.activate("tanh", layer.offsets(compute, x)).reshape({rows, heads_, 2, 1});
    const Tensor by_channel = compute.concat({offsets, Tensor::zeros(offsets.shape())}, 3).reshape(all);
    const Tensor sum = compute.add(compute.multiply(by_channel, factors.expand(all)), constants.expand(all));
    return compute.multiply(sum, layer.gain.reshape({1, heads_, 1}).expand(all)).reshape({rows, heads_ * kPlaceChannels});
  }

  double dropout_;
  int64_t heads_ = 1;
  std::vector<nn::Conv> convolutions_{};
  std::vector<nn::BatchNorm> conv_norms_{};
  Tensor positions_{}, places_{};  // constants: [patch, width], [patch, 4]
  Tensor queries_{}, anchors_{};   // [query, width]; [query, 4], logits of boxes
  std::vector<nn::TransformerLayer> encoder_{};
  std::vector<DecoderLayer> decoder_{};
  nn::LayerNorm patch_norm_{}, norm_{};
  nn::Linear classes_{}, box_hidden_{}, box_output_{};
};

}  // namespace

const NetworkKind& detection_transformer_network() {
  static const NetworkKind kind{"detection_transformer", "picture", &make_network<DetectionTransformer>};
  return kind;
}

}  // namespace clearhead
