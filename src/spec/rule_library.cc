// Rules from the literature, each a few lines. Because they are rules, they run in every backend, have gradients, can be
// saved, and hidden blocks are skipped.
#include <cmath>

#include "base/format.h"
#include "clearhead/rule.h"

namespace clearhead {
namespace {

void at_least(const char* rule, const char* name, int64_t value, int64_t least) {
  if (value < least) fail(ErrorCode::kInvalidArgument, "{}: {} is {}; expected {} or more", rule, name, value, least);
}

// Checks the dtype and the shape of a table; a size of −1 accepts any size. Indices are clamped, so a table with other
// axes would otherwise be read without an error.
void check_table(const char* rule, const char* name, const char* axes, const Tensor& tensor, DType dtype,
                 const std::vector<int64_t>& sizes) {
  bool fits = tensor.defined() && tensor.dtype() == dtype && tensor.rank() == static_cast<int>(sizes.size());
  for (size_t axis = 0; fits && axis < sizes.size(); ++axis) fits = sizes[axis] < 0 || tensor.shape()[axis] == sizes[axis];
  if (fits) return;
  fail(ErrorCode::kShape, "{}: {}: expected {} {}, found {}", rule, name, to_string(dtype), axes,
       tensor.defined() ? std::string(to_string(tensor.dtype())) + " " + to_string(tensor.shape()) : std::string("no tensor"));
}

RuleValue remainder(RuleValue value, int64_t divisor) { return value - divisor * floor(value / divisor); }

// The bucket of key − query, computed in f32 as in the reference code.
int32_t t5_bucket(int64_t after, bool bidirectional, int64_t buckets, int64_t max_distance) {
  int64_t first = 0, distance = std::max<int64_t>(0, -after);
  if (bidirectional) {
    buckets /= 2;
    if (after > 0) first = buckets;
    distance = std::abs(after);
  }
  const int64_t exact = buckets / 2;
  if (distance < exact) return static_cast<int32_t>(first + distance);
  const float share = std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
                      static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
  const int64_t coarse = exact + static_cast<int64_t>(share * static_cast<float>(buckets - exact));
  return static_cast<int32_t>(first + std::min(coarse, buckets - 1));
}

}  // namespace

Rule t5_bias(Tensor weights, bool bidirectional, int64_t max_distance) {
  check_table("t5_bias", "weights", "[bucket, head]", weights, DType::kF32, {-1, -1});
  const int64_t buckets = weights.size(0), of_a_side = bidirectional ? buckets / 2 : buckets;
  if (of_a_side < 2 || max_distance <= of_a_side / 2) {
    fail(ErrorCode::kInvalidArgument, "t5_bias: {} buckets up to distance {}; expected {} buckets or more, and a distance beyond {}",
         buckets, max_distance, bidirectional ? 4 : 2, of_a_side / 2);
  }
  std::vector<int32_t> bucket_of;  // [key − query + max_distance]
  for (int64_t after = -max_distance; after <= max_distance; ++after) {
    bucket_of.push_back(t5_bucket(after, bidirectional, buckets, max_distance));
  }
  const RuleTable bucket = table(Tensor::from(bucket_of, {2 * max_distance + 1})), bias = table(std::move(weights));
  return rule([&](RuleValue s, RulePair at) { return s + bias(bucket(at.key - at.query + max_distance), at.head); });
}

Rule temperature(float t) {
  if (!(t > 0 && std::isfinite(t))) fail(ErrorCode::kInvalidArgument, "temperature: {}; expected a positive finite number", t);
  return rule([&](RuleValue s, RulePair) { return s / t; });
}

Rule temperature(Tensor temperatures) {
  check_table("temperature", "temperatures", "[head]", temperatures, DType::kF32, {-1});
  const RuleTable of = table(std::move(temperatures));
  return rule([&](RuleValue s, RulePair at) { return s / of(at.head); });
}

Rule alibi_2d(Tensor slopes, int64_t width) {
  check_table("alibi_2d", "slopes", "[head]", slopes, DType::kF32, {-1});
  at_least("alibi_2d", "width", width, 1);
  const RuleTable slope = table(std::move(slopes));
  return rule([&](RuleValue s, RulePair at) {
    const RuleValue rows = floor(at.query / width) - floor(at.key / width), columns = remainder(at.query, width) - remainder(at.key, width);
    return s - slope(at.head) * sqrt(rows * rows + columns * columns);
  });
}

Rule relative_2d(Tensor biases, int64_t height, int64_t width) {
  at_least("relative_2d", "height", height, 1);
  at_least("relative_2d", "width", width, 1);
  check_table("relative_2d", "table", "[head, 2 height - 1, 2 width - 1]", biases, DType::kF32, {-1, 2 * height - 1, 2 * width - 1});
  const RuleTable bias = table(std::move(biases));
  return rule([&](RuleValue s, RulePair at) {
    const RuleValue rows = floor(at.query / width) - floor(at.key / width), columns = remainder(at.query, width) - remainder(at.key, width);
    return s + bias(at.head, rows + (height - 1), columns + (width - 1));
  });
}

Rule dilated(int64_t step, int64_t back) {
  at_least("dilated", "step", step, 1);
  at_least("dilated", "back", back, 0);
  return visible([&](RulePair at) {
    const RuleValue before = at.query - at.key;
    return before >= 0 && before <= back * step && remainder(before, step) == 0;
  });
}

Rule prefix_lm(int64_t prefix) {
  at_least("prefix_lm", "prefix", prefix, 0);
  return visible([&](RulePair at) { return at.key < prefix || at.key <= at.query; });
}

Rule prefix_lm(Tensor prefixes) {
  check_table("prefix_lm", "prefixes", "[batch]", prefixes, DType::kI32, {-1});
  const RuleTable prefix = table(std::move(prefixes));
  return visible([&](RulePair at) { return at.key < prefix(at.batch) || at.key <= at.query; });
}

Rule strided(int64_t stride) {
  at_least("strided", "stride", stride, 1);
  return visible([&](RulePair at) {
    const RuleValue before = at.query - at.key;
    return before >= 0 && (before <= stride || remainder(before, stride) == 0);
  });
}

Rule fixed(int64_t stride, int64_t summary) {
  at_least("fixed", "stride", stride, 1);
  at_least("fixed", "summary", summary, 0);
  return visible([&](RulePair at) {
    return at.key <= at.query && (floor(at.key / stride) == floor(at.query / stride) || remainder(at.key, stride) >= stride - summary);
  });
}

Rule longformer(int64_t side, Tensor global) {
  at_least("longformer", "side", side, 0);
  check_table("longformer", "global", "[key]", global, DType::kI32, {-1});
  const RuleTable is_global = table(std::move(global));
  return visible([&](RulePair at) { return abs(at.query - at.key) <= side || is_global(at.key) != 0 || is_global(at.query) != 0; });
}

}  // namespace clearhead
