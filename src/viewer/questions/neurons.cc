// Multiplies the kept Q and K in double, for one row and its heaviest keys.
#include "viewer/questions/neurons.h"

#include <algorithm>
#include <span>
#include <variant>
#include <vector>

#include "base/format.h"
#include "observe/trace_state.h"
#include "spec/score_function.h"

namespace clearhead::viewer::questions {
namespace {

// The keys with the largest weights, heaviest first, ties in order of position. Hidden and never-scored keys are left out.
std::vector<int64_t> heaviest(std::span<const float> weights, int64_t most) {
  std::vector<int64_t> keys;
  for (size_t j = 0; j < weights.size(); ++j) {
    if (weights[j] >= 0) keys.push_back(static_cast<int64_t>(j));
  }
  const auto kept = static_cast<std::ptrdiff_t>(std::min<int64_t>(most, static_cast<int64_t>(keys.size())));
  const auto weight = [&](int64_t key) { return weights[static_cast<size_t>(key)]; };
  std::partial_sort(keys.begin(), keys.begin() + kept, keys.end(),
                    [&](int64_t a, int64_t b) { return weight(a) > weight(b) || (weight(a) == weight(b) && a < b); });
  keys.resize(static_cast<size_t>(kept));
  return keys;
}

// The place of a text's key among the keys of a frame's record.
int64_t place_in(const Frame& frame, int64_t key) {
  if (frame.keys.empty()) return key;
  return std::find(frame.keys.begin(), frame.keys.end(), key) - frame.keys.begin();
}

}  // namespace

ViewFrame neurons(LoadedTrace& loaded, const NeuronLook& look) {
  HeadLook at = look.at;
  at.weight = WeightKind::kRaw;
  check_head(loaded, at);
  check_rows(loaded, at.family, {{look.query, look.query + 1}});
  const FamilyFacts& known = loaded.facts(at.family);
  const LayerMap map = map_of(loaded, at);
  const Frame& frame = *frame_of(map, look.query);
  const AttentionRecord& record = frame.record;
  if (!std::holds_alternative<Dot>(record.spec.score))
    fail(ErrorCode::kUnsupported, "layer {}: its score is not a dot product of query and key, so it has no products by channel.", at.layer);
  const AttentionShape shape = record.shape();
  const double scale = scale_of(record.spec.score, shape.d_k);
  const Tensor q = to_f32(record.q.select(0, 0).select(0, at.head).select(0, look.query - frame.queries.begin)).contiguous();
  const Tensor k =
      to_f32(gather_keys(record.keys, at.head * shape.key_heads / shape.heads).slice(0, 0, 1)).contiguous();  // [1, 1, key, channel]

  const Tile tile = map.tile(at.head, {.queries = {look.query, look.query + 1}, .keys = {0, known.keys}});
  const std::span<const float> row(tile.max.data<float>(), static_cast<size_t>(known.keys));  // NaN: hidden, −1: never scored
  const std::vector<int64_t> keys = heaviest(row, look.keys);
  std::vector<uint32_t> ids;
  std::vector<float> chosen, products, scores, weights;
  for (const int64_t key : keys) {
    const float* channels = k.data<float>() + place_in(frame, key) * shape.d_k;
    double score = 0;
    for (int64_t c = 0; c < shape.d_k; ++c) {
      const double product = scale * static_cast<double>(q.data<float>()[c]) * static_cast<double>(channels[c]);
      score += product;
      chosen.push_back(channels[c]);
      products.push_back(static_cast<float>(product));
    }
    ids.push_back(static_cast<uint32_t>(key));
    scores.push_back(static_cast<float>(score));
    weights.push_back(row[static_cast<size_t>(key)]);
  }
  const auto count = static_cast<int64_t>(ids.size());
  ViewFrame out;
  out.header = Json::object({{"family", known.shape.name},
                             {"layer", at.layer},
                             {"head", at.head},
                             {"query", look.query},
                             {"badge", "exact"},
                             {"scale", scale},
                             {"has_terms", !record.spec.terms.empty()}});
  out.add("keys", ids);
  out.add("q", std::span<const float>(q.data<float>(), static_cast<size_t>(shape.d_k)), {shape.d_k});
  out.add("k", chosen, {count, shape.d_k});
  out.add("products", products, {count, shape.d_k});
  out.add("scores", scores);
  out.add("weights", weights);
  return out;
}

}  // namespace clearhead::viewer::questions
