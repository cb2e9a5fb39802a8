// Black and white pictures, drawn patch by patch: a causal Transformer over the patches of a picture, conditioned on its class (Parmar et al.
// 2018, "Image Transformer", §3; Chen et al. 2020, iGPT, §2.2).
//
//   p(s | c) = Π_t p(s_t | s_1 … s_{t−1}, c)      s_t: the pixels of patch t in raster order, one of 2^(patch_size²) symbols
//   x_t = E[s_t] + R_c[row of t] + C_c[column of t] + Σ_o N_o[s_{t+1+o}]      each class has its own position embeddings
//   z = causal Transformer layers over x_1 … x_N      p(s_{t+1} | …) = softmax(W norm(z_t))      p(s_1 | c) = softmax(W norm(b_c))
//
//   "neighbours"   number of offsets o in the sum: patches around t + 1, the one that is predicted, nearest first; 0 if absent. This is the
//                  local context of a masked convolution (van den Oord et al. 2016, PixelCNN), which no attention map shows.
//
// Patches partition the picture, so −log2 p(s | c) is the exact number of bits of its pixels. What logits() returns depends on the batch:
//   without Batch::ids                log p(s | c) of every class c, [batch, label]; by Bayes' rule with equal priors, the softmax of a
//                                     row is p(c | s)
//   ids: the class of each picture    the logits of every patch, [batch·patch, symbol]
//   ids, and lengths, all equal to n  the logits of patch n + 1 given the first n patches, [batch, symbol], for drawing
// In the maps, the row of a patch shows where the model looked after reading that patch, to predict the next one. Without ids, the maps are
// those of the most probable class.
#include "models/networks/image_transformer.h"

#include <algorithm>
#include <array>

#include "base/format.h"
#include "clearhead/error.h"
#include "ops/compute_state.h"
#include "ops/run_compute.h"

namespace clearhead {
namespace {

// Row and column of a neighbour, relative to the patch that is predicted. The patch to its left is missing here: it is s_t, which x_t
// contains anyway.
struct Offset {
  int64_t row, column;
};
constexpr std::array<Offset, 11> kNeighbours = {
    {{-1, 0}, {-1, -1}, {-1, 1}, {0, -2}, {-2, 0}, {-1, 2}, {-1, -2}, {-2, -1}, {-2, 1}, {0, -3}, {-3, 0}}};

class ImageTransformer final : public Network {
 public:
  ImageTransformer(Fields& config, NetworkFacts facts, const Scope& scope) : dropout_(rate_of(config, "dropout")) {
    const PictureFacts& picture = facts.picture;
    if (facts.labels.empty()) config.wrong("id2label", "the classes", Json());
    if (picture.channels != 1) config.wrong("num_channels", "1, for black and white pictures", Json(picture.channels));
    if (picture.patch > 3) config.wrong("patch_size", "1, 2 or 3: a patch is one of 2^(patch_size²) symbols", Json(picture.patch));
    facts_ = std::move(facts);
    const int64_t width = facts_.width = size_of(config, "hidden_size"), symbols = symbol_count(facts_.picture);
    const int64_t heads = facts_.heads = size_of(config, "num_attention_heads", width), inner = size_of(config, "intermediate_size");
    if (width % heads != 0) config.wrong("num_attention_heads", format("a divisor of {}, the hidden size", width), Json(heads));
    facts_.layers = size_of(config, "num_hidden_layers", 1000);
    facts_.answers_from_all = true;
    const int64_t neighbours = config.integer_or("neighbours", 0), most = kNeighbours.size();
    if (neighbours < 0 || neighbours > most) config.wrong("neighbours", format("a whole number from 0 to {}", most), Json(neighbours));
    symbols_ = {scope / "symbols", symbols, width, kEmbedding};
    const auto classes = static_cast<int64_t>(facts_.labels.size());
    rows_ = {scope / "rows", classes * facts_.picture.rows(), width, kEmbedding};
    columns_ = {scope / "columns", classes * facts_.picture.columns(), width, kEmbedding};
    begin_ = {scope / "begin", classes, width, kEmbedding};
    for (int64_t at = 0; at < neighbours; ++at) neighbours_.emplace_back(scope / "neighbours" / at, symbols + 1, width, kEmbedding);
    for (int64_t at = 0; at < facts_.layers; ++at) {
      nn::TransformerLayerOptions options{.mlp_width = inner, .dropout = dropout_};
      options.attention.spec.topology = causal(std::nullopt, Align::kStart);
      options.attention.site = {.family = "drawn", .layer = static_cast<int>(at), .queries = "patch", .keys = "patch"};
      layers_.emplace_back(scope / "layers" / at, width, heads, options);
    }
    norm_ = {scope / "norm", width};
    output_ = {scope / "output", width, symbols};
  }

  Tensor logits(Compute& compute, const Batch& input, const Batch*) const override {
    const std::vector<int32_t> symbols = patch_symbols(facts_.picture, input.features);
    if (input.ids.empty()) return class_scores(compute, symbols, input.batch);
    check(input);
    if (input.lengths.empty()) return patch_logits(compute, symbols, input.ids);
    return next_logits(compute, symbols, input.ids, input.lengths.front());
  }

 private:
  static constexpr Init kEmbedding{Init::Kind::kNormal, 0.1};

  void check(const Batch& input) const {
    const bool has_class = std::all_of(input.ids.begin(), input.ids.end(),
                                       [&](int32_t id) { return id >= 0 && id < static_cast<int32_t>(facts_.labels.size()); });
    if (static_cast<int64_t>(input.ids.size()) != input.batch || !has_class)
      fail(ErrorCode::kInvalidArgument, "ids: expected the class of each of the {} pictures, from 0 to {}", input.batch,
           facts_.labels.size() - 1);
    const bool are_equal = std::all_of(input.lengths.begin(), input.lengths.end(), [&](int32_t length) {
      return length == input.lengths.front() && length >= 0 && length < facts_.picture.patches();
    });
    if (!are_equal)
      fail(ErrorCode::kInvalidArgument, "lengths: expected the same number of patches, from 0 to {}, for every picture",
           facts_.picture.patches() - 1);
  }

  // The states after the first `length` patches of each picture, before the final norm.   symbols: [batch·patch], classes: [batch]
  // → [batch·length, width]
  Tensor states(Compute& compute, const std::vector<int32_t>& symbols, const std::vector<int32_t>& classes, int64_t length) const {
    const int64_t patches = facts_.picture.patches(), columns = facts_.picture.columns(), rows = facts_.picture.rows();
    std::vector<int32_t> of_symbol, of_row, of_column;
    std::vector<std::vector<int32_t>> of_neighbour(neighbours_.size());
    for (size_t picture = 0; picture < classes.size(); ++picture) {
      const int32_t* own = symbols.data() + static_cast<int64_t>(picture) * patches;
      for (int64_t at = 0; at < length; ++at) {
        of_symbol.push_back(own[at]);
        of_row.push_back(static_cast<int32_t>(classes[picture] * rows + at / columns));
        of_column.push_back(static_cast<int32_t>(classes[picture] * columns + at % columns));
        for (size_t n = 0; n < neighbours_.size(); ++n) {
          const int64_t row = (at + 1) / columns + kNeighbours[n].row, column = (at + 1) % columns + kNeighbours[n].column;
          const bool is_inside = at + 1 < patches && row >= 0 && row < rows && column >= 0 && column < columns;
          of_neighbour[n].push_back(is_inside ? own[row * columns + column] : static_cast<int32_t>(symbol_count(facts_.picture)));
        }
      }
    }
    Tensor x = compute.add(symbols_(compute, of_symbol), compute.add(rows_(compute, of_row), columns_(compute, of_column)));
    for (size_t n = 0; n < neighbours_.size(); ++n) x = compute.add(x, neighbours_[n](compute, of_neighbour[n]));
    x = compute.dropout(x, dropout_);
    const Layout layout{static_cast<int64_t>(classes.size()), length};
    for (const nn::TransformerLayer& layer : layers_) x = layer(compute, x, layout);
    return x;
  }

  Tensor predicted(Compute& compute, const Tensor& states) const { return output_(compute, norm_(compute, states)); }

  // The last patch is read too, so that each patch has a row in the maps.   → [batch·patch, symbol]
  Tensor patch_logits(Compute& compute, const std::vector<int32_t>& symbols, const std::vector<int32_t>& classes) const {
    const int64_t batch = static_cast<int64_t>(classes.size()), patches = facts_.picture.patches(), width = facts_.width;
    const Tensor after = states(compute, symbols, classes, patches).reshape({batch, patches, width});
    const Tensor before = compute.concat({begin_(compute, classes).reshape({batch, 1, width}), after.slice(1, 0, patches - 1)}, 1);
    return predicted(compute, before.reshape({batch * patches, width}));
  }

  // → [batch, symbol]
  Tensor next_logits(Compute& compute, const std::vector<int32_t>& symbols, const std::vector<int32_t>& classes, int64_t length) const {
    if (length == 0) return predicted(compute, begin_(compute, classes));
    const Tensor all = states(compute, symbols, classes, length);
    std::vector<int32_t> last;
    for (size_t picture = 1; picture <= classes.size(); ++picture)
      last.push_back(static_cast<int32_t>(static_cast<int64_t>(picture) * length - 1));
    return predicted(compute, compute.embed(all, last));
  }

  // log p(s | c) of each sequence, [1].   symbols: [batch·patch], classes: [batch]
  std::vector<Tensor> likelihoods(Compute& compute, const std::vector<int32_t>& symbols, const std::vector<int32_t>& classes) const {
    const int64_t patches = facts_.picture.patches();
    const Tensor logits = patch_logits(compute, symbols, classes);
    std::vector<Tensor> out;
    for (int64_t at = 0; at < static_cast<int64_t>(classes.size()); ++at) {
      const std::vector<int32_t> own(symbols.begin() + at * patches, symbols.begin() + (at + 1) * patches);
      const Tensor nats = ops::cross_entropy(compute.state().run, logits.slice(0, at * patches, (at + 1) * patches), own, {.divisor = 1});
      out.push_back(compute.multiply(nats, Tensor::from<float>({-1}, {1})));
    }
    return out;
  }

  // → [batch, label]
  Tensor class_scores(Compute& compute, const std::vector<int32_t>& symbols, int64_t batch) const {
    const int64_t patches = facts_.picture.patches(), labels = static_cast<int64_t>(facts_.labels.size());
    std::vector<int32_t> repeated, classes;
    for (int64_t picture = 0; picture < batch; ++picture) {
      for (int32_t label = 0; label < labels; ++label) {
        repeated.insert(repeated.end(), symbols.begin() + picture * patches, symbols.begin() + (picture + 1) * patches);
        classes.push_back(label);
      }
    }
    Run run = compute.state().run;
    run.observer = nullptr;
    RunCompute unobserved(run, compute.state().interventions);
    std::vector<Tensor> scores = likelihoods(unobserved, repeated, classes);
    if (compute.state().run.observer) {
      for (int64_t picture = 0; picture < batch; ++picture) {
        const auto value = [](const Tensor& score) { return score.data<float>()[0]; };
        const auto own = scores.begin() + picture * labels;
        const auto best = std::max_element(own, own + labels, [&](const Tensor& a, const Tensor& b) { return value(a) < value(b); });
        const std::vector<int32_t> picture_symbols(symbols.begin() + picture * patches, symbols.begin() + (picture + 1) * patches);
        *best = likelihoods(compute, picture_symbols, {static_cast<int32_t>(best - own)}).front();
      }
    }
    return compute.concat(scores, 0).reshape({batch, labels});
  }

  double dropout_;
  nn::Embedding symbols_{}, rows_{}, columns_{}, begin_{};
  std::vector<nn::Embedding> neighbours_{};
  std::vector<nn::TransformerLayer> layers_{};
  nn::LayerNorm norm_{};
  nn::Linear output_{};
};

}  // namespace

const NetworkKind& image_transformer_network();

std::vector<int32_t> patch_symbols(const PictureFacts& facts, const Tensor& pictures) {
  const Tensor dense = pictures.contiguous();
  const int64_t batch = dense.size(0), pixels = facts.height * facts.width;
  std::vector<int32_t> out;
  out.reserve(static_cast<size_t>(batch * facts.patches()));
  for (int64_t at = 0; at < batch * facts.patches(); ++at) {
    const int64_t patch = at % facts.patches();
    const float* corner = dense.data<float>() + at / facts.patches() * pixels + patch / facts.columns() * facts.patch * facts.width +
                          patch % facts.columns() * facts.patch;
    int32_t symbol = 0;
    for (int64_t pixel = 0; pixel < facts.patch * facts.patch; ++pixel)
      symbol |= (corner[pixel / facts.patch * facts.width + pixel % facts.patch] >= 0.5F ? 1 : 0) << pixel;
    out.push_back(symbol);
  }
  return out;
}

void paint_symbol(const PictureFacts& facts, int32_t symbol, int64_t patch, float* picture) {
  float* corner = picture + patch / facts.columns() * facts.patch * facts.width + patch % facts.columns() * facts.patch;
  for (int64_t pixel = 0; pixel < facts.patch * facts.patch; ++pixel)
    corner[pixel / facts.patch * facts.width + pixel % facts.patch] = static_cast<float>(symbol >> pixel & 1);
}

bool draws(std::string_view model_type) { return model_type == image_transformer_network().model_type; }

const NetworkKind& image_transformer_network() {
  static const NetworkKind kind{"image_transformer", "picture", &make_network<ImageTransformer>};
  return kind;
}

}  // namespace clearhead
