// Vision Transformer (Dosovitskiy et al. 2021, §3.1): a picture is processed as a sequence of patches.
//
//   z_0 = [x_1 E; …; x_N E] + E_pos        x_p: the pixels of patch p; E is a convolution whose stride is its kernel   (eq. 1)
//   z'_l = z_{l−1} + MSA(LN(z_{l−1}))      z_l = z'_l + MLP(LN(z'_l))                                                  (eq. 2, 3)
//   y = Σ_p α_p LN(z_L,p)                  α: attention of a learned query to the patches, instead of a class token    (eq. 4)
//
// The keys of every map are therefore patches, and the maps of the family "pool" show from which patches the answer is read.
#include "models/networks/vision_transformer.h"

#include "base/format.h"

namespace clearhead {

ItemClassifier::ItemClassifier(Fields& config, NetworkFacts& facts, const Scope& scope, int64_t items, const char* item)
    : items_(items), dropout_(rate_of(config, "dropout")) {
  if (facts.labels.empty()) config.wrong("id2label", "the labels", Json());
  const int64_t width = facts.width, layers = facts.layers = size_of(config, "num_hidden_layers", 1000);
  const int64_t heads = facts.heads = size_of(config, "num_attention_heads", width), inner = size_of(config, "intermediate_size");
  if (width % heads != 0) config.wrong("num_attention_heads", format("a divisor of {}, the hidden size", width), Json(heads));
  positions_ = {scope / "positions", items, width};
  for (int64_t at = 0; at < layers; ++at) {
    const Site site{.family = "enc", .layer = static_cast<int>(at), .queries = item, .keys = item};
    layers_.emplace_back(scope / "layers" / at, width, heads,
                         nn::TransformerLayerOptions{.attention = {.site = site}, .mlp_width = inner, .dropout = dropout_});
  }
  norm_ = {scope / "norm", width};
  pool_ = {scope / "pool", width, width, {.family = "pool", .queries = "query", .keys = item}};
  classifier_ = {scope / "classifier", width, static_cast<int64_t>(facts.labels.size())};
}

Tensor ItemClassifier::operator()(Compute& compute, const Tensor& embedded) const {
  const Layout layout{embedded.size(0) / items_, items_};
  Tensor z = compute.dropout(positions_(compute, embedded, layout), dropout_);
  for (const nn::TransformerLayer& layer : layers_) z = layer(compute, z, layout);
  return classifier_(compute, compute.dropout(pool_(compute, norm_(compute, z), layout), dropout_));
}

namespace {

class VisionTransformer final : public Network {
 public:
  VisionTransformer(Fields& config, NetworkFacts facts, const Scope& scope) {
    facts_ = std::move(facts);
    const int64_t width = facts_.width = size_of(config, "hidden_size");
    const PictureFacts& picture = facts_.picture;
    embedding_ = {
        scope / "embedding", picture.channels, width, {picture.patch, picture.patch}, {.how = {.stride = {picture.patch, picture.patch}}}};
    classifier_ = {config, facts_, scope, picture.patches(), "patch"};
  }

  Tensor logits(Compute& compute, const Batch& input, const Batch*) const override {
    const Tensor embedded = compute.contiguous(embedding_(compute, input.features).permute({0, 2, 3, 1}));
    return classifier_(compute, embedded.reshape({input.batch * facts_.picture.patches(), facts_.width}));
  }

 private:
  nn::Conv embedding_{};
  ItemClassifier classifier_{};
};

}  // namespace

std::unique_ptr<Network> make_vision_transformer(Fields& config, NetworkFacts facts, const Scope& scope) {
  return make_network<VisionTransformer>(config, std::move(facts), scope);
}

const NetworkKind& vision_transformer_network() {
  static const NetworkKind kind{"vision_transformer", "picture", &make_vision_transformer};
  return kind;
}

}  // namespace clearhead
