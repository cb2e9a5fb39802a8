// A Transformer layer, which adds the outputs of its attention and then of its feed-forward block to its input; the packing
// of sequences; and an encoder of such layers.
#include <array>

#include "base/format.h"
#include "clearhead/nn.h"

namespace clearhead::nn {

TransformerLayer::TransformerLayer(const Scope& scope, int64_t width, int64_t heads, const TransformerLayerOptions& options)
    : norm1(scope / "norm1", width, options.epsilon),
      norm2(scope / "norm2", width, options.epsilon),
      attention(scope / "attention", width, heads, options.attention),
      mlp(scope / "mlp", width, options.mlp_width == 0 ? 4 * width : options.mlp_width, {.activation = options.activation}),
      dropout(options.dropout),
      norm_first(options.norm_first) {}

Tensor TransformerLayer::operator()(Compute& compute, const Tensor& x, const Layout& layout) const {
  return after(compute, x, attention(compute, before(compute, x), layout));
}

Tensor TransformerLayer::operator()(Compute& compute, const Tensor& x, const Layout& layout, const Tensor& memory,
                                    const Layout& memory_layout) const {
  return after(compute, x, attention(compute, before(compute, x), layout, memory, memory_layout));
}

Tensor TransformerLayer::after(Compute& compute, const Tensor& x, const Tensor& seen) const {
  const Tensor sum = compute.add(x, compute.dropout(seen, dropout));
  if (norm_first) return compute.add(sum, compute.dropout(mlp(compute, norm2(compute, sum)), dropout));
  const Tensor read = norm1(compute, sum);
  return norm2(compute, compute.add(read, compute.dropout(mlp(compute, read), dropout)));
}

Packing Packing::of(const Layout& sequences, const Layout& groups) {
  if (groups.rows() != sequences.batch)
    fail(ErrorCode::kShape, "packing: {} groups of {} sequences do not match a batch of {}", groups.batch, groups.length, sequences.batch);
  // The rows of each group that are not padding, and the sequence that each belongs to.
  std::vector<std::vector<int32_t>> rows(static_cast<size_t>(groups.batch)), texts(rows);
  size_t longest = 1;
  for (int64_t sequence = 0; sequence < sequences.batch; ++sequence) {
    const auto group = static_cast<size_t>(sequence / groups.length);
    const int64_t length = sequences.lengths.empty() ? sequences.length : sequences.lengths[static_cast<size_t>(sequence)];
    for (int64_t t = 0; t < length; ++t) {
      rows[group].push_back(static_cast<int32_t>(sequence * sequences.length + t));
      texts[group].push_back(static_cast<int32_t>(sequence % groups.length));
    }
    longest = std::max(longest, rows[group].size());
  }
  Packing out{.layout = {groups.batch, static_cast<int64_t>(longest)}, .back = std::vector<int32_t>(static_cast<size_t>(sequences.rows()))};
  for (size_t group = 0; group < rows.size(); ++group) {
    for (const int32_t row : rows[group]) {
      out.back[static_cast<size_t>(row)] = static_cast<int32_t>(out.from.size());
      out.from.push_back(row);
    }
    out.from.resize((group + 1) * longest);
    texts[group].resize(longest, -1);
    out.layout.texts.insert(out.layout.texts.end(), texts[group].begin(), texts[group].end());
  }
  return out;
}

Encoder::Encoder(const Scope& scope, const EncoderOptions& options)
    : tokens(scope / "tokens", options.vocabulary, options.width),
      types(scope / "types", options.types, options.width),
      positions(scope / "positions", options.longest, options.width),
      norm(scope / "norm", options.width, options.epsilon) {
  for (int64_t at = 0; at < options.layers; ++at) {
    layers.emplace_back(scope / "layers" / at, options.width, options.heads,
                        TransformerLayerOptions{.attention = {.site = {.family = options.family, .layer = static_cast<int>(at)}},
                                                .mlp_width = options.mlp_width,
                                                .activation = options.activation,
                                                .dropout = options.dropout,
                                                .norm_first = false,
                                                .epsilon = options.epsilon});
  }
}

Tensor Encoder::embedded(Compute& compute, const std::vector<int32_t>& ids, const Layout& layout) const {
  const Tensor sum = compute.add(tokens(compute, ids), types(compute, std::vector<int32_t>(ids.size(), 0)));
  return norm(compute, positions(compute, sum, layout));
}

Tensor Encoder::operator()(Compute& compute, const std::vector<int32_t>& ids, const Layout& layout) const {
  Tensor x = embedded(compute, ids, layout);
  for (const TransformerLayer& layer : layers) x = layer(compute, x, layout);
  return x;
}

Tensor Encoder::operator()(Compute& compute, const std::vector<int32_t>& ids, const Layout& layout, const Layout& groups) const {
  const Packing packing = Packing::of(layout, groups);
  Tensor x = compute.embed(embedded(compute, ids, layout), packing.from);
  for (const TransformerLayer& layer : layers) x = layer(compute, x, packing.layout);
  return compute.embed(x, packing.back);
}

std::string Encoder::name_in_bert(std::string_view name) {
  using Renamed = std::array<std::string_view, 2>;
  static constexpr Renamed kOfModel[] = {{"tokens.", "embeddings.word_embeddings."},
                                         {"types.", "embeddings.token_type_embeddings."},
                                         {"positions.", "embeddings.position_embeddings."},
                                         {"norm.", "embeddings.LayerNorm."}};
  static constexpr Renamed kOfLayer[] = {{"attention.output.", "attention.output.dense."},
                                         {"attention.", "attention.self."},
                                         {"norm1.", "attention.output.LayerNorm."},
                                         {"mlp.up.", "intermediate.dense."},
                                         {"mlp.down.", "output.dense."},
                                         {"norm2.", "output.LayerNorm."}};
  const auto renamed = [&](const auto& table, std::string_view rest) -> std::string {
    for (const auto& [ours, theirs] : table) {
      if (rest.starts_with(ours)) return std::string(theirs) + std::string(rest.substr(ours.size()));
    }
    return "";
  };
  constexpr std::string_view kLayers = "layers.";
  if (!name.starts_with(kLayers)) return renamed(kOfModel, name);
  const size_t dot = name.find('.', kLayers.size());
  if (dot == std::string_view::npos) return "";
  const std::string rest = renamed(kOfLayer, name.substr(dot + 1));
  return rest.empty() ? "" : format("encoder.layer.{}.{}", name.substr(kLayers.size(), dot - kLayers.size()), rest);
}

}  // namespace clearhead::nn
