// Decomposes the residual stream at one row into the contributions of the embeddings, heads, MLPs and biases below a layer, and a score
// of that layer into the contributions of these components.
//
//   x_layer = Σ components   each block adds components; a norm after it scales all of them (scale_as), and its bias joins the biases
//   q = W_q·norm(x) + b      linear in the components, like the rotation at the row's position
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/format.h"
#include "models/transformer.h"

namespace clearhead {

void scale_as(const ops::Normalisation& norm, const float* whole, Tensor& parts) {
  const int64_t width = parts.size(1);
  const float* weight = norm.weight.data<float>();
  const auto mean_of = [&](const float* row) {
    return norm.rms ? 0.0 : std::accumulate(row, row + width, 0.0) / static_cast<double>(width);
  };
  const double mean = mean_of(whole);
  double square = 0;
  for (int64_t c = 0; c < width; ++c) square += (static_cast<double>(whole[c]) - mean) * (static_cast<double>(whole[c]) - mean);
  const double scale = 1 / std::sqrt(square / static_cast<double>(width) + norm.epsilon);
  for (int64_t row = 0; row < parts.size(0); ++row) {
    float* part = parts.mutable_data<float>() + row * width;
    const double own = mean_of(part);
    for (int64_t c = 0; c < width; ++c)
      part[c] = static_cast<float>((static_cast<double>(part[c]) - own) * scale * static_cast<double>(weight[c]));
  }
}

void Streams::take(const Tensor& x) {
  Tensor kept = Tensor::empty({static_cast<int64_t>(rows.size()), x.size(1)});
  for (size_t at = 0; at < rows.size(); ++at)
    std::copy_n(x.data<float>() + rows[at] * x.size(1), x.size(1), kept.mutable_data<float>() + static_cast<int64_t>(at) * x.size(1));
  seen.push_back(std::move(kept));
}

// The additive components. Row 0 is the sum of the biases so far.
struct Transformer::Parts {
  std::vector<ScorePart> names{{}};
  std::vector<float> values{};  // [part, width]

  void add(const ScorePart& name, const float* row, int64_t width) {
    names.push_back(name);
    values.insert(values.end(), row, row + width);
  }
  Tensor tensor() const {
    const auto count = static_cast<int64_t>(names.size());
    return Tensor::from(values, {count, static_cast<int64_t>(values.size()) / count});
  }
  // Returns `whole` minus the sum of the components.
  std::vector<float> rest(const float* whole, int64_t width) const {
    std::vector<double> sums(static_cast<size_t>(width));
    for (size_t at = 0; at < values.size(); ++at) sums[at % static_cast<size_t>(width)] += static_cast<double>(values[at]);
    std::vector<float> out(static_cast<size_t>(width));
    for (size_t c = 0; c < out.size(); ++c) out[c] = static_cast<float>(static_cast<double>(whole[c]) - sums[c]);
    return out;
  }
  void add_biases(const float* biases, int64_t width) {
    for (int64_t c = 0; c < width; ++c) values[static_cast<size_t>(c)] += biases[c];
  }
  void pass(const nn::Norm& norm, const float* whole, int64_t width) {
    if (!norm) return;
    Tensor scaled = tensor();
    scale_as(nn::normalisation_of(norm), whole, scaled);
    values.assign(scaled.data<float>(), scaled.data<float>() + scaled.numel());
    if (norm.bias.defined()) add_biases(norm.bias.data<float>(), width);
  }
};

// Returns the components of a block's input, after the norm if the norm precedes the block. If `layer` is the number of layers, returns
// those of the stack's output.
Transformer::Parts Transformer::parts_below(Run& run, int layer, Block block, const ScoreRow& at, const HeadOutputs& outputs,
                                            bool with_family) const {
  const int64_t width = facts_.width;
  const bool is_post = facts_.layer.placement == LayerFacts::NormPlacement::kPost;
  const std::string own = with_family ? map_family() : "";
  size_t next = 0;
  const auto stream = [&] { return at.streams->seen[next].data<float>() + at.row * width; };
  Parts parts;
  parts.values.assign(static_cast<size_t>(width), 0.0F);
  parts.add({.kind = ScorePart::Kind::kEmbeddings, .family = own}, stream(), width);
  for (int below = 0; below < static_cast<int>(facts_.layers); ++below) {
    const Layer& of = layers_[static_cast<size_t>(below)];
    for (const Block kind : {Block::kAttention, Block::kCross, Block::kMlp}) {
      const bool is_cross = kind == Block::kCross;
      const nn::Norm& norm = is_cross ? of.cross_norm : kind == Block::kMlp ? of.mlp_norm : of.attention_norm;
      if (below == layer && kind == block) {
        if (!is_post) parts.pass(norm, stream(), width);
        return parts;
      }
      if (is_cross ? !of.cross.projection : kind == Block::kMlp && !of.mlp) continue;
      ++next;
      if (kind == Block::kMlp) {
        parts.add({.kind = ScorePart::Kind::kMlp, .family = own, .layer = below}, parts.rest(stream(), width).data(), width);
      } else {
        const std::string family = is_cross ? "cross" : map_family();
        const Tensor heads = outputs.at({family, below}).slice(1, at.row, at.row + 1).contiguous().reshape({facts_.heads, facts_.head_dim});
        const Tensor added = head_contributions(run, family, below, heads);
        for (int64_t head = 0; head < facts_.heads; ++head)
          parts.add({.kind = ScorePart::Kind::kHead, .family = with_family ? family : "", .layer = below, .head = head},
                    added.data<float>() + head * width, width);
        parts.add_biases(parts.rest(stream(), width).data(), width);
      }
      if (is_post) parts.pass(norm, stream(), width);
    }
  }
  parts.pass(final_norm_, stream(), width);
  return parts;
}

namespace {

// Components of a query or a key of one head: [component][channel].
using Vectors = std::vector<std::vector<double>>;

std::vector<double> sum_of(const Vectors& parts) {
  std::vector<double> sum(parts[0].size());
  for (const auto& part : parts) {
    for (size_t c = 0; c < sum.size(); ++c) sum[c] += part[c];
  }
  return sum;
}

// The biases are the first component of a row, and the last component of a score. In cross-attention, they are the only component that
// the query and the key have in common.
ScoreSplit split_of(const std::vector<ScorePart>& query_names, const Vectors& queries, const std::vector<ScorePart>& key_names,
                    const Vectors& keys, bool is_cross, double scale) {
  const std::vector<double> query = sum_of(queries), key = sum_of(keys);
  const auto times = [&](const std::vector<double>& a, const std::vector<double>& b) {
    return scale * std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  };
  ScoreSplit out{.score = times(query, key)};
  for (size_t part = 1; part < query_names.size(); ++part) {
    out.parts.push_back(query_names[part]);
    out.parts.back().query = times(queries[part], key);
    if (!is_cross) out.parts.back().key = times(query, keys[part]);
  }
  for (size_t part = 1; is_cross && part < key_names.size(); ++part) {
    out.parts.push_back(key_names[part]);
    out.parts.back().key = times(query, keys[part]);
  }
  out.parts.push_back({.query = times(queries[0], key), .key = times(query, keys[0])});
  return out;
}

}  // namespace

ScoreSplit Transformer::split_score(Run& run, const ScoreAt& at, const ScoreRow& query, const ScoreRow& key,
                                    const HeadOutputs& outputs) const {
  const bool is_source = encoder_ && at.family == encoder_->map_family(), is_cross = at.family == "cross";
  const Transformer& stack = is_source ? *encoder_ : *this;
  const Layer& layer = stack.layers_[static_cast<size_t>(at.layer)];
  const nn::Attention& attention = is_cross ? layer.cross : layer.attention;
  const Dot* dot = std::get_if<Dot>(&attention.spec.score);
  if (!dot)
    fail(ErrorCode::kUnsupported,
         "score: the scores of a model of type \"{}\" are not dot products, so they cannot be split into contributions", facts_.model_type);
  if (layer.sinusoids && !is_cross)
    fail(ErrorCode::kUnsupported,
         "score: the keys of this model of type \"{}\" also contain positions of their own, so its scores cannot be split into "
         "contributions",
         facts_.model_type);
  const Arena::Scope scope(run.arena);
  const int64_t width = attention.head_dim, heads = attention.heads, key_heads = attention.key_heads;
  // `head` is the index among all heads that the projection computes side by side.
  const auto projected = [&](const Parts& parts, const nn::Linear& projection, int64_t head, int32_t position) {
    const Tensor read = parts.tensor();
    const int64_t count = read.size(0), out = projection.out();
    Tensor all = Tensor::empty({count, out});
    ops::linear(run, read, *projection.weight, Tensor(), all);
    if (projection.bias.defined()) {
      for (int64_t c = 0; c < out; ++c) all.mutable_data<float>()[c] += projection.bias.data<float>()[c];
    }
    if (!stack.rotary_frequencies_.empty() && !is_cross && stack.facts_.attention_of(at.layer).turns) {
      const std::vector<int32_t> positions(static_cast<size_t>(count), position);
      Tensor turning = all.reshape({count, heads + 2 * key_heads, width}).slice(1, 0, heads + key_heads);
      ops::rotary(run, turning, ops::rotary_angles(run, stack.rotary_frequencies_, stack.rotary_is_interleaved_, positions));
    }
    Vectors of_parts;
    for (int64_t part = 0; part < count; ++part) {
      const float* from = all.data<float>() + part * out + head * width;
      of_parts.emplace_back(from, from + width);
    }
    return of_parts;
  };
  const bool with_family = encoder_ != nullptr;
  const Block block = is_cross ? Block::kCross : Block::kAttention;
  const int64_t key_head = at.head / (heads / key_heads);
  const Parts of_query = stack.parts_below(run, at.layer, block, query, outputs, with_family);
  const Parts of_key = is_cross ? encoder_->parts_below(run, static_cast<int>(encoder_->facts_.layers), block, key, outputs, with_family)
                                : stack.parts_below(run, at.layer, block, key, outputs, with_family);
  const Vectors queries = projected(of_query, attention.projection, at.head, query.position);
  const Vectors keys = is_cross ? projected(of_key, attention.memory, key_head, key.position)
                                : projected(of_key, attention.projection, heads + key_head, key.position);
  const double scale = dot->scale ? static_cast<double>(*dot->scale) : 1 / std::sqrt(static_cast<double>(width));
  return split_of(of_query.names, queries, of_key.names, keys, is_cross, scale);
}

Transformer::Mixing Transformer::mixing(Run& run, int layer, const Streams& streams) const {
  const Layer& of = layers_[static_cast<size_t>(layer)];
  const nn::Attention& attention = of.attention;
  if (const auto* relative = std::get_if<Relative>(&attention.spec.score); relative && relative->values)
    fail(ErrorCode::kUnsupported,
         "mixed_norms: the values of this model of type \"{}\" also depend on the distance; expected values that are projections of tokens",
         facts_.model_type);
  const bool is_post = facts_.layer.placement == LayerFacts::NormPlacement::kPost;
  size_t before = 0;  // index in streams.seen of the input of this layer's attention
  const nn::Norm* behind = nullptr;
  for (int at = 0; at < layer; ++at) {
    const Layer& below = layers_[static_cast<size_t>(at)];
    before += below.mlp ? 2 : 1;
    behind = below.mlp ? &below.mlp_norm : &below.attention_norm;
  }
  Mixing out{.layer = layer, .stream = streams.seen[before].clone(), .projected = {}, .summed = streams.seen[before + 1]};
  const Arena::Scope scope(run.arena);
  if (is_post && behind) nn::normalise(run, *behind, streams.seen[before], out.stream);
  Tensor read = out.stream.clone();
  if (!is_post) nn::normalise(run, of.attention_norm, out.stream, read);
  out.projected = Tensor::empty({static_cast<int64_t>(streams.rows.size()), attention.projection.out()});
  nn::linear(run, attention.projection, read, out.projected);
  return out;
}

// The vector of token j in row i is F_j = Σ_h P^h_ij v^h_j W_O^h, computed for all j as one product. The row's own token also gets the
// residual stream, to which attention is added.
Tensor Transformer::mixed_vectors(Run& run, const Mixing& mixing, int64_t row, const std::vector<std::vector<float>>& weights) const {
  const Layer& of = layers_[static_cast<size_t>(mixing.layer)];
  const nn::Attention& attention = of.attention;
  const int64_t keys = mixing.stream.size(0), width = attention.head_dim, group = attention.heads / attention.key_heads;
  Tensor mixed = Tensor::empty({keys, attention.heads * width}), added = Tensor::empty({keys, facts_.width});
  for (int64_t key = 0; key < keys; ++key) {
    for (int64_t head = 0; head < attention.heads; ++head) {
      const float weight = weights[static_cast<size_t>(head)][static_cast<size_t>(key)];
      const float* value = mixing.projected.data<float>() + key * attention.projection.out() +
                           (attention.heads + attention.key_heads + head / group) * width;
      float* to = mixed.mutable_data<float>() + (key * attention.heads + head) * width;
      for (int64_t c = 0; c < width; ++c) to[c] = weight * value[c];
    }
  }
  ops::linear(run, mixed, *attention.output.weight, Tensor(), added);
  for (int64_t c = 0; c < facts_.width; ++c)
    added.mutable_data<float>()[row * facts_.width + c] += mixing.stream.data<float>()[row * facts_.width + c];
  if (facts_.layer.placement == LayerFacts::NormPlacement::kPost && of.attention_norm)
    scale_as(nn::normalisation_of(of.attention_norm), mixing.summed.data<float>() + row * facts_.width, added);
  return added;
}

// In each row, head h loses P^h_ij v^h_j W_O^h.
Tensor Transformer::states_without_value(Run& run, const Mixing& mixing, int64_t token, const Tensor& weights) const {
  const nn::Attention& attention = layers_[static_cast<size_t>(mixing.layer)].attention;
  const int64_t rows = mixing.stream.size(0), width = attention.head_dim, group = attention.heads / attention.key_heads;
  Tensor out = mixing.summed.clone();
  if (token >= 0) {
    Tensor alone = Tensor::zeros({attention.heads, attention.heads * width}), lost = Tensor::empty({attention.heads, facts_.width});
    for (int64_t head = 0; head < attention.heads; ++head) {
      const float* value = mixing.projected.data<float>() + token * attention.projection.out() +
                           (attention.heads + attention.key_heads + head / group) * width;
      std::copy_n(value, width, alone.mutable_data<float>() + head * (attention.heads + 1) * width);
    }
    ops::linear(run, alone, *attention.output.weight, Tensor(), lost);
    for (int64_t row = 0; row < rows; ++row) {
      float* state = out.mutable_data<float>() + row * facts_.width;
      for (int64_t head = 0; head < attention.heads; ++head) {
        const float weight = weights.data<float>()[row * attention.heads + head];
        const float* of_head = lost.data<float>() + head * facts_.width;
        for (int64_t c = 0; c < facts_.width; ++c) state[c] -= weight * of_head[c];
      }
    }
  }
  run_after_attention(run, mixing.layer, out);
  return out;
}

}  // namespace clearhead
