// Visual question answering: the words of a question attend to the patches of a picture, as in guided attention of co-attention networks
// (Yu et al. 2019, §3.2).
//
//   P = convolutions that halve the sides, down to patches   P ← relu(P + convolution of P), "convolution_layers" times (default 0)
//   P ← P + positions                                        P ← layers of self-attention ("enc")
//   W = bidirectional GRU over the question's words          W ← layers of cross-attention to P ("cross": words × patches)
//   logits = W_c Σ_t α_t W_t                                 α: attention of a learned query to the words
#include <bit>

#include "base/format.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

class SceneQuestion final : public Network {
 public:
  SceneQuestion(Fields& config, NetworkFacts facts, const Scope& scope) : dropout_(rate_of(config, "dropout")) {
    if (facts.labels.empty()) config.wrong("id2label", "the labels", Json());
    if (facts.vocabulary < 1) config.wrong("vocab_size", "1 or more tokens", Json(facts.vocabulary));
    facts_ = std::move(facts);
    const int64_t width = facts_.width = size_of(config, "hidden_size"),
                  heads = facts_.heads = size_of(config, "num_attention_heads", width);
    const PictureFacts& picture = facts_.picture;
    if (picture.patch < 4 || !std::has_single_bit(static_cast<uint64_t>(picture.patch)))
      config.wrong("patch_size", "a power of two, 4 or more", Json(picture.patch));
    const int64_t narrow = picture.patch / 2;  // the first convolution has width / narrow channels, the last `width`
    if (width % heads != 0 || width % narrow != 0)
      config.wrong("hidden_size", format("a multiple of {} (half the patch size) and of {} (the number of heads)", narrow, heads),
                   Json(width));
    const int64_t more = config.integer_or("convolution_layers", 0);
    if (more < 0 || more > 100) config.wrong("convolution_layers", "0 to 100", Json(more));
    const auto convolve = [&](int64_t in, int64_t out, int64_t stride) {
      const auto at = static_cast<int64_t>(convolutions_.size());
      convolutions_.emplace_back(scope / "convolutions" / at, in, out, Shape{3, 3},
                                 nn::ConvOptions{.how = {.stride = {stride, stride}, .padding = {1, 1}}, .bias = false});
      conv_norms_.emplace_back(scope / "convolution_norms" / at, out);
    };
    convolve(picture.channels, width / narrow, 2);
    for (int64_t out = 2 * width / narrow; out <= width; out *= 2) convolve(out / 2, out, 2);
    halvings_ = convolutions_.size();
    for (int64_t at = 0; at < more; ++at) convolve(width, width, 1);
    positions_ = {scope / "positions", picture.patches(), width, Init::normal(0.1)};
    embedding_ = {scope / "embedding", facts_.vocabulary, width, Init::normal(1)};
    words_ = {scope / "words", width, width / 2, {.bidirectional = true}};
    const auto layers = [&](const char* field, const Site& site, std::vector<nn::TransformerLayer>& to) {
      const int64_t count = size_of(config, field, 1000);
      for (int64_t at = 0; at < count; ++at) {
        nn::TransformerLayerOptions options{.attention = {.site = site}, .mlp_width = 2 * width, .dropout = dropout_};
        options.attention.site.layer = static_cast<int>(at);
        if (site.family == "cross") options.attention.memory_width = width;
        to.emplace_back(scope / site.family / at, width, heads, options);
      }
    };
    layers("encoder_layers", {.family = "enc", .queries = "patch", .keys = "patch"}, encoder_);
    layers("num_hidden_layers", {.family = "cross", .queries = "question", .keys = "patch"}, cross_);
    facts_.layers = static_cast<int64_t>(cross_.size());
    patch_norm_ = {scope / "patch_norm", width};
    word_norm_ = {scope / "word_norm", width};
    pool_ = {scope / "pool", width, width, {.family = "pool", .queries = "query", .keys = "question"}};
    classifier_ = {scope / "classifier", width, static_cast<int64_t>(facts_.labels.size())};
  }

  Tensor logits(Compute& compute, const Batch& input, const Batch* source) const override {
    const Layout patches{source->batch, facts_.picture.patches()}, words = input.layout();
    const Tensor seen = picture(compute, *source, patches);
    Tensor asked = words_(compute, compute.dropout(embedding_(compute, input.ids), dropout_), words).rows;
    for (const nn::TransformerLayer& layer : cross_) asked = layer(compute, asked, words, seen, patches);
    return classifier_(compute, compute.dropout(pool_(compute, word_norm_(compute, asked), words), dropout_));
  }

 private:
  // [batch·patches, width]
  Tensor picture(Compute& compute, const Batch& source, const Layout& patches) const {
    Tensor x = source.features;
    for (size_t at = 0; at < convolutions_.size(); ++at) {
      const Tensor read = conv_norms_[at](compute, convolutions_[at](compute, x));
      x = compute.activate("relu", at < halvings_ ? read : compute.add(x, read));
    }
    x = compute.contiguous(x.permute({0, 2, 3, 1})).reshape({patches.rows(), facts_.width});
    x = positions_(compute, x, patches);
    for (const nn::TransformerLayer& layer : encoder_) x = layer(compute, x, patches);
    return patch_norm_(compute, x);
  }

  double dropout_;
  size_t halvings_ = 0;
  std::vector<nn::Conv> convolutions_{};
  std::vector<nn::BatchNorm> conv_norms_{};
  nn::Positions positions_{};
  nn::Embedding embedding_{};
  nn::Gru words_{};
  std::vector<nn::TransformerLayer> encoder_{}, cross_{};
  nn::LayerNorm patch_norm_{}, word_norm_{};
  nn::Pooling pool_{};
  nn::Linear classifier_{};
};

}  // namespace

const NetworkKind& scene_question_network() {
  static const NetworkKind kind{"scene_question", "scene", &make_network<SceneQuestion>};
  return kind;
}

}  // namespace clearhead
