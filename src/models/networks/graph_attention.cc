// Graph attention (Veličković et al. 2018; GATv2: Brody, Alon & Yahav 2022): each node attends to its neighbours and to itself.
//
//   α_ij = softmax_j e_ij over j ∈ N_i      h'_i = ELU(Σ_j α_ij W h_j + b), heads concatenated; last layer: their mean, no ELU   (eq. 2–6)
//   "gat"     e_ij = LeakyReLU(l_i + r_j) with l_i = a_leftᵀ W h_i and r_j = a_rightᵀ W h_j                                   (eq. 3)
//             computed as a dot product of two channels, (l_i, 1)·(1, r_j), and a rule that applies LeakyReLU
//   "gatv2"   e_ij = aᵀ LeakyReLU(W_left h_i + W_right h_j), the values are W_right h_j                          (GATv2, eq. 7)
//
// The first product W h reads only the features that are not zero, and attention only the edges: N_i is a list of keys (BlockSparse).
// Dropout is applied to the input of each layer and to α. The kernels' own dropout would visit all pairs of nodes instead of the lists, so
// α with dropout is computed from two lists, the kept and the dropped neighbours K and D of node i in one draw, and divided by 1 − rate:
//   Σ_{j∈K} α_ij v_j = Σ_{j∈K} softmax_K(e_i)_j v_j · Z_K / (Z_K + Z_D),   Z = Σ exp e_ij
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

constexpr float kSlope = 0.2F;  // of LeakyReLU

// The neighbours that one draw of dropout keeps, and the others: lists for each head.
struct DrawnLists {
  BlockSparse kept{}, dropped{};

  DrawnLists(const BlockSparse& all, int64_t heads, double rate, uint64_t seed) {
    const int64_t nodes = all.offsets.numel() - 1, edges = all.keys.numel();
    const int32_t *starts = all.offsets.data<int32_t>(), *keys = all.keys.data<int32_t>();
    std::array<int32_t*, 2> offsets{}, to{};
    for (size_t part = 0; part < 2; ++part) {
      BlockSparse& lists = part == 0 ? kept : dropped;
      lists.offsets = Tensor::zeros({1, heads, nodes + 1}, DType::kI32);
      lists.keys = Tensor::zeros({1, heads, edges}, DType::kI32);
      offsets[part] = lists.offsets.mutable_data<int32_t>();
      to[part] = lists.keys.mutable_data<int32_t>();
    }
    for (int64_t head = 0; head < heads; ++head) {
      std::array<int32_t, 2> count{};
      for (int64_t node = 0; node < nodes; ++node) {
        for (int32_t edge = starts[node]; edge < starts[node + 1]; ++edge) {
          const size_t part = random_unit(seed, static_cast<uint64_t>(head * edges + edge)) < rate ? 1 : 0;
          to[part][head * edges + count[part]++] = keys[edge];
        }
        for (size_t part = 0; part < 2; ++part) offsets[part][head * (nodes + 1) + node + 1] = count[part];
      }
    }
  }
};

class GraphLayer {
 public:
  struct Sizes {
    int64_t in = 0, heads = 1, head_dim = 0;
    bool is_v2 = false, is_last = false;
  };

  // The first layer's weight is a table of features, [in, out].
  GraphLayer(const Scope& scope, const Sizes& sizes, bool is_first, Site site) : sizes_(sizes), site_(std::move(site)) {
    const int64_t width = sizes.heads * sizes.head_dim, out = sizes.is_v2 ? 2 * width : width;
    if (is_first) {
      table_ = {scope / "projection", sizes.in, out, Init::xavier()};
    } else {
      projection_ = {scope / "projection", sizes.in, out, {.bias = false}};
    }
    const Shape of_heads = {sizes.heads, sizes.head_dim};
    if (sizes.is_v2) {
      score_ = Additive{scope.parameter("score", of_heads, Init::xavier()), Additive::Activation::kLeakyRelu, kSlope};
    } else {
      left_ = scope.parameter("left", of_heads, Init::xavier());
      right_ = scope.parameter("right", of_heads, Init::xavier());
    }
    bias_ = scope.parameter("bias", {sizes.is_last ? sizes.head_dim : width}, Init::zeros());
  }

  const nn::Embedding& table() const { return table_; }
  Tensor projected(Compute& compute, const Tensor& x) const { return projection_(compute, x); }

  // h: the projection of all nodes → [nodes, heads·head_dim]; of the last layer [nodes, head_dim]
  Tensor operator()(Compute& compute, const Tensor& h, const BlockSparse& neighbours, double dropout) const {
    const int64_t nodes = h.size(0), heads = sizes_.heads, d = sizes_.head_dim;
    const auto by_head = [&](const Tensor& x, int64_t width) { return x.reshape({1, nodes, heads, width}).permute({0, 2, 1, 3}); };
    AttentionSpec spec{.score = score_};
    Tensor q, k, v;
    if (sizes_.is_v2) {
      q = by_head(compute.contiguous(h.slice(1, 0, heads * d)), d);
      k = v = by_head(compute.contiguous(h.slice(1, heads * d, 2 * heads * d)), d);
    } else {
      const Tensor ones = Tensor::from(std::vector<float>{1}, {1, 1, 1}).expand({nodes, heads, 1});
      q = by_head(compute.concat({along(compute, h, left_), ones}, 2), 2);
      k = by_head(compute.concat({ones, along(compute, h, right_)}, 2), 2);
      v = by_head(h, d);
      spec.score = Dot{1};
      spec.terms = {rule([](auto score, auto) { return max(score, kSlope * score); })};
    }
    spec.topology.block_sparse = neighbours;
    const bool drops = dropout > 0 && compute.is_training();
    const Tensor out = drops ? with_dropout(compute, {q, k, v}, spec, dropout) : compute.attend(q, k, v, spec, site_);
    const Tensor rows = out.permute({0, 2, 1, 3});
    const Tensor joined = sizes_.is_last ? compute.mean(out, 1).reshape({nodes, d}) : rows.reshape({nodes, heads * d});
    return compute.add(joined, bias_.reshape({1, bias_.numel()}).expand(joined.shape()));
  }

 private:
  // The product aᵀ·h over the channels of each head.   → [nodes, heads, 1]
  Tensor along(Compute& compute, const Tensor& h, const Tensor& a) const {
    const Shape shape = {h.size(0), sizes_.heads, sizes_.head_dim};
    const Tensor products = compute.multiply(h.reshape(shape), a.reshape({1, sizes_.heads, sizes_.head_dim}).expand(shape));
    return compute.sum(products, 2).reshape({h.size(0), sizes_.heads, 1});
  }

  Tensor with_dropout(Compute& compute, const std::array<Tensor, 3>& qkv, AttentionSpec spec, double rate) const {
    const auto& [q, k, v] = qkv;
    const DrawnLists drawn(*spec.topology.block_sparse, sizes_.heads, rate, compute.dropout_seed());
    const int64_t rows = sizes_.heads * q.size(2);
    spec.topology.block_sparse = drawn.dropped;
    const Tensor of_dropped = compute.attention_log_sum_exp(q, k, spec).reshape({rows, 1});
    spec.topology.block_sparse = drawn.kept;
    const Tensor of_kept = compute.attention_log_sum_exp(q, k, spec).reshape({rows, 1});
    const Tensor shares = compute.contiguous(compute.softmax(compute.concat({of_kept, of_dropped}, 1)).slice(1, 0, 1));
    const Tensor scale = Tensor::from(std::vector<float>{static_cast<float>(1 / (1 - rate))}, {1, 1}).expand({rows, 1});
    const Tensor out = compute.attend(q, k, v, spec, site_);
    const Tensor factors = compute.multiply(shares, scale).reshape({1, sizes_.heads, q.size(2), 1});
    return compute.contiguous(compute.multiply(out, factors.expand(out.shape())).permute({0, 2, 1, 3})).permute({0, 2, 1, 3});
  }

  Sizes sizes_;
  Site site_;
  nn::Embedding table_{};
  nn::Linear projection_{};
  Tensor left_{}, right_{}, bias_{};
  Score score_{};
};

class GraphAttention final : public Network {
 public:
  GraphAttention(Fields& config, NetworkFacts facts, const Scope& scope)
      : features_(size_of(config, "num_features", INT32_MAX)),
        normalises_(config.boolean_or("normalise_features", true)),
        dropout_(rate_of(config, "dropout")),
        attention_dropout_(rate_of(config, "attention_dropout")) {
    if (facts.labels.empty()) config.wrong("id2label", "the labels", Json());
    facts_ = std::move(facts);
    const int64_t width = facts_.width = size_of(config, "hidden_size"), layers = facts_.layers = size_of(config, "num_hidden_layers", 100);
    const int64_t heads = facts_.heads = size_of(config, "num_attention_heads", width);
    if (width % heads != 0) config.wrong("num_attention_heads", format("a divisor of {}, the hidden size", width), Json(heads));
    const bool is_v2 = choice_of(config, "attention", {"gat", "gatv2"}) == "gatv2";
    const int64_t last_heads = config.integer_or("num_output_heads", 1);
    if (last_heads < 1 || last_heads > 1024) config.wrong("num_output_heads", "a whole number from 1 to 1024", Json(last_heads));
    for (int64_t at = 0; at < layers; ++at) {
      const bool is_last = at + 1 == layers;
      const GraphLayer::Sizes sizes{.in = at == 0 ? features_ : width,
                                    .heads = is_last ? last_heads : heads,
                                    .head_dim = is_last ? static_cast<int64_t>(facts_.labels.size()) : width / heads,
                                    .is_v2 = is_v2,
                                    .is_last = is_last};
      // The last layer has other heads, so its maps are a family of their own.
      const Site site{
          .family = is_last ? "output" : "hidden", .layer = is_last ? 0 : static_cast<int>(at), .queries = "node", .keys = "node"};
      layers_.emplace_back(scope / "layers" / at, sizes, at == 0, site);
    }
  }

  // The ids of the input are nodes.   → [ids, label]
  Tensor logits(Compute& compute, const Batch& input, const Batch*) const override {
    const NodeGraph& graph = *input.graph;
    if (graph.features != features_)
      fail(ErrorCode::kShape, "the nodes of the graph have {} features; the model reads {}", graph.features, features_);
    Tensor x;
    for (size_t at = 0; at < layers_.size(); ++at) {
      const GraphLayer& layer = layers_[at];
      const Tensor h = at == 0 ? sums(compute, layer.table(), graph) : layer.projected(compute, compute.dropout(x, dropout_));
      x = layer(compute, h, graph.neighbours, attention_dropout_);
      if (at + 1 < layers_.size()) x = elu(compute, x);
    }
    return compute.embed(x, input.ids);
  }

 private:
  static Tensor elu(Compute& compute, const Tensor& x) {
    const Tensor above = compute.elu_plus_one(x.reshape({1, 1, x.size(0), x.size(1)})).reshape(x.shape());
    return compute.add(above, Tensor::from(std::vector<float>{-1}, {1, 1}).expand(x.shape()));
  }

  // Σ_f x_nf·W_f for each node; in training, with dropout of the features x_nf. A dropped feature costs nothing.
  Tensor sums(Compute& compute, const nn::Embedding& table, const NodeGraph& graph) const {
    const double rate = compute.is_training() ? dropout_ : 0;
    const uint64_t seed = rate > 0 ? compute.dropout_seed() : 0;
    std::vector<int32_t> features, nodes;
    std::vector<float> values;
    for (int32_t node = 0; node < static_cast<int32_t>(graph.nodes()); ++node) {
      const auto begin = static_cast<size_t>(graph.offsets[static_cast<size_t>(node)]),
                 end = static_cast<size_t>(graph.offsets[static_cast<size_t>(node) + 1]);
      double total = 0;
      for (size_t entry = begin; entry < end; ++entry) total += std::abs(static_cast<double>(graph.values[entry]));
      const double scale = (normalises_ && total > 0 ? 1 / total : 1) / (1 - rate);
      for (size_t entry = begin; entry < end; ++entry) {
        if (rate > 0 && random_unit(seed, entry) < rate) continue;
        features.push_back(graph.indices[entry]);
        nodes.push_back(node);
        values.push_back(static_cast<float>(scale * static_cast<double>(graph.values[entry])));
      }
    }
    const auto entries = static_cast<int64_t>(values.size());
    const Tensor rows = table(compute, features);
    const Tensor weighted = compute.multiply(rows, Tensor::from(values, {entries, 1}).expand(rows.shape()));
    return compute.index_add(weighted, nodes, graph.nodes());
  }

  int64_t features_;
  bool normalises_;
  double dropout_, attention_dropout_;
  std::vector<GraphLayer> layers_{};
};

}  // namespace

const NetworkKind& graph_attention_network() {
  static const NetworkKind kind{"graph_attention", "graph", &make_network<GraphAttention>};
  return kind;
}

}  // namespace clearhead
