#include "bench/attention_plans.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>

#include "base/format.h"
#include "bench/bandwidth.h"
#include "spec/visible.h"

namespace clearhead::bench {

Plan forward_plan(const std::string& shape_name, int64_t heads, int64_t length, int64_t d, bool is_causal, bool by_default) {
  Plan plan;
  plan.name = format("forward/f32/{}/h{}/n{}/d{}", shape_name, heads, length, d);
  plan.heads = plan.key_heads = heads;
  plan.length = length, plan.d = d, plan.is_causal = is_causal, plan.by_default = by_default;
  if (is_causal) plan.spec.topology = causal();
  return plan;
}

namespace {

// The same in bf16, against the limit of the bf16 instruction if the machine has it.
Plan in_bf16(Plan plan) {
  plan.dtype = DType::kBF16;
  plan.by_default = false;
  plan.name.replace(plan.name.find("/f32/"), 5, "/bf16/");
  return plan;
}

Plan backward_plan(int64_t heads, int64_t length, int64_t d, bool is_causal, bool by_default) {
  Plan plan = forward_plan("", heads, length, d, is_causal, by_default);
  plan.kind = Kind::kBackward;
  plan.name = format("backward/f32/{}/h{}/n{}/d{}", is_causal ? "causal" : "full", heads, length, d);
  return plan;
}

Plan sweep_plan(const std::string& which, ReductionRequest request, int64_t length, int64_t d, bool is_causal, bool by_default) {
  Plan plan = forward_plan("", 8, length, d, is_causal, by_default);
  plan.kind = Kind::kSweep;
  plan.request = std::move(request);
  plan.name = format("sweep/f32/{}/{}/h8/n{}/d{}", which, is_causal ? "causal" : "full", length, d);
  return plan;
}

// A forward whose time is reported relative to softmax on the same data. Small queries give nearly uniform rows, so every key survives.
Plan normaliser_plan(const std::string& which, const Normaliser& normaliser, float query_size, int64_t d) {
  Plan plan = forward_plan("", 8, 4096, d, false, false);
  plan.kind = Kind::kAgainstSoftmax;
  plan.spec.normaliser = normaliser;
  plan.query_size = query_size;
  plan.name = format("normaliser/f32/{}/q{:.1f}/h8/n4096/d{}", which, query_size, d);
  return plan;
}

Tensor slopes_of_eight() {
  std::vector<float> slopes;
  for (int head = 1; head <= 8; ++head) slopes.push_back(std::exp2(-static_cast<float>(head)));
  return Tensor::from(slopes, {8});
}

// A rule whose time is reported relative to the equivalent built-in; a pair or a term, relative to the scaled dot product.
Plan twin_plan(const std::string& kind, const std::string& which, AttentionSpec spec, AttentionSpec twin, int64_t d) {
  Plan plan = forward_plan("", 8, 4096, d, false, false);
  plan.kind = Kind::kAgainstTwin;
  plan.spec = std::move(spec);
  plan.twin = std::move(twin);
  plan.name = format("{}/f32/{}/h8/n4096/d{}", kind, which, d);
  return plan;
}

void add_term_plans(std::vector<Plan>& plans) {
  plans.push_back(twin_plan("forward", "alibi", {.terms = {Alibi{slopes_of_eight()}}, .topology = causal()}, {.topology = causal()}, 64));
  plans.push_back(twin_plan("forward", "soft_cap", {.terms = {SoftCap{30}}}, {}, 64));
  Plan dense = twin_plan("forward", "dense", {}, {}, 64);
  dense.prepare = [](Plan& plan) { plan.spec.terms = {AttentionBias{random_tensor({1, plan.heads, plan.length, plan.length}, 5)}}; };
  plans.push_back(dense);
}

// Cases that compute entropy and distance in the same pass; their time is reported relative to the same call without them.
void add_sum_plans(std::vector<Plan>& plans) {
  const AttentionSpec before{.topology = causal()};
  for (const auto& [which, spec, d] :
       {std::tuple{"sums_full", AttentionSpec{}, 64}, {"sums_causal", before, 64}, {"sums_full", AttentionSpec{}, 128}}) {
    Plan plan = twin_plan("forward", which, spec, spec, d);
    plan.is_causal = spec.topology.band.ahead.has_value();
    plan.gives_sums = true;
    plans.push_back(plan);
    plans.push_back(in_bf16(plan));
  }
}

void add_rule_plans(std::vector<Plan>& plans) {
  const Tensor slopes = slopes_of_eight();
  const RuleTable slope_of = table(slopes);
  const Rule alibi = rule([&](auto s, auto at) { return s - slope_of(at.head) * abs(at.query - at.key); });
  const Rule soft_cap = rule([](auto s, auto) { return 30 * tanh(s / 30); });
  AttentionSpec causal_rule, window_rule;
  causal_rule.topology.visible = visible([](auto at) { return at.key <= at.query; });
  window_rule.topology.visible = visible([](auto at) { return at.key <= at.query && at.query - at.key < 512; });
  for (const int64_t d : {64, 128}) {
    plans.push_back(
        twin_plan("rule", "alibi", {.terms = {alibi}, .topology = causal()}, {.terms = {Alibi{slopes}}, .topology = causal()}, d));
    plans.push_back(twin_plan("rule", "soft_cap", {.terms = {soft_cap}}, {.terms = {SoftCap{30}}}, d));
    plans.push_back(twin_plan("rule", "causal", causal_rule, {.topology = causal()}, d));
    plans.push_back(twin_plan("rule", "window512", window_rule, {.topology = causal(511)}, d));
  }
}

void add_pair_plans(std::vector<Plan>& plans) {
  std::vector<float> weight(64);
  for (int c = 0; c < 64; ++c) weight[static_cast<size_t>(c)] = 0.125F * static_cast<float>(c % 5 - 2);
  Additive additive{.weight = Tensor::from(weight, {1, 64})};
  plans.push_back(twin_plan("pair", "additive_tanh", {.score = additive}, {}, 64));
  additive.activation = Additive::Activation::kLeakyRelu;
  plans.push_back(twin_plan("pair", "additive_leaky_relu", {.score = additive}, {}, 64));
  const auto table = [](int64_t reach) {
    std::vector<float> rows(static_cast<size_t>((2 * reach + 1) * 64));
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = 0.01F * static_cast<float>(i % 37) - 0.18F;
    return Tensor::from(rows, {1, 2 * reach + 1, 64});
  };
  plans.push_back(
      twin_plan("pair", "relative16_values", {.score = Relative{.keys = table(16), .values = table(16)}}, {}, 64));  // Shaw et al.
  plans.push_back(twin_plan("pair", "relative4096", {.score = Relative{.keys = table(4096)}}, {}, 64));              // Transformer-XL
  plans.push_back(
      twin_plan("pair", "relative256_both", {.score = Relative{.keys = table(256), .queries = table(256)}}, {}, 64));  // DeBERTa
}

// Linear attention at three lengths; its cost is linear in the length.
void add_linear_plans(std::vector<Plan>& plans) {
  for (const bool is_causal : {false, true}) {
    for (const int64_t length : {8192, 32768, 131072}) {
      Plan plan = forward_plan(is_causal ? "causal" : "full", 1, length, 64, is_causal, false);
      plan.spec.normaliser = LinearAttention{};
      plan.has_features = true;
      plan.name = "linear_attention/" + plan.name;
      plans.push_back(plan);
      plan.kind = Kind::kBackward;
      plan.name = format("linear_attention/backward/f32/{}/h1/n{}/d64", is_causal ? "causal" : "full", length);
      plans.push_back(plan);
    }
  }
}

}  // namespace

std::vector<Plan> attention_plans() {
  std::vector<Plan> plans;
  for (const bool is_causal : {false, true}) {
    const char* shape = is_causal ? "causal" : "full";
    for (const int64_t d : {64, 128}) plans.push_back(forward_plan(shape, 8, 4096, d, is_causal, true));
    plans.push_back(forward_plan(shape, 1, 4096, 64, is_causal, true));
    plans.push_back(forward_plan(shape, 12, 512, 64, is_causal, true));
    plans.push_back(forward_plan(shape, 12, 128, 64, is_causal, false));
    for (const int64_t d : {32, 80, 96, 256}) plans.push_back(forward_plan(shape, 8, 4096, d, is_causal, d == 32 && !is_causal));
    for (const int64_t length : {2048, 8192}) plans.push_back(forward_plan(shape, 8, length, 64, is_causal, false));
  }
  Plan paged = forward_plan("pages", 8, 4096, 64, false, false);
  paged.in_pages = true;
  plans.push_back(paged);
  Plan inside = forward_plan("heads_inside", 8, 4096, 64, false, false);
  inside.heads_inside = true;
  plans.push_back(inside);
  add_term_plans(plans);
  add_sum_plans(plans);
  add_pattern_plans(plans);
  add_choice_plans(plans);
  for (const bool is_causal : {false, true}) {
    for (const int64_t d : {64, 128, 80})
      plans.push_back(in_bf16(forward_plan(is_causal ? "causal" : "full", 8, 4096, d, is_causal, false)));
    for (const int64_t d : {64, 128}) plans.push_back(in_bf16(backward_plan(8, 4096, d, is_causal, false)));
  }
  add_linear_plans(plans);
  add_rule_plans(plans);
  add_pair_plans(plans);
  for (const float query_size : {0.1F, 1.0F, 5.0F}) {
    plans.push_back(normaliser_plan("sparsemax", Sparsemax{}, query_size, 64));
    plans.push_back(normaliser_plan("entmax15", Entmax15{}, query_size, 64));
  }
  for (const bool is_causal : {false, true}) {
    for (const int64_t d : {64, 128}) plans.push_back(backward_plan(8, 4096, d, is_causal, true));
    for (const int64_t d : {64, 128}) plans.push_back(backward_plan(1, 4096, d, is_causal, false));
    plans.push_back(backward_plan(12, 512, 64, is_causal, false));
  }
  for (const bool is_causal : {false, true}) {
    plans.push_back(sweep_plan("all", {entropy, received, distance, offsets}, 4096, 64, is_causal, true));
  }
  plans.push_back(sweep_plan("entropy", {entropy}, 4096, 64, false, false));
  for (const bool is_causal : {false, true})
    plans.push_back(sweep_plan("received", {received}, 4096, 64, is_causal, false));  // rᵀP costs the same
  plans.push_back(sweep_plan("all", {entropy, received, distance, offsets}, 4096, 128, false, false));
  ReductionRequest top8, pooled;
  top8.top_k = 8;
  pooled.cells = {512, 512};
  for (const bool is_causal : {false, true}) {
    plans.push_back(sweep_plan("top8", top8, 4096, 64, is_causal, false));
    plans.push_back(sweep_plan("pooled512", pooled, 4096, 64, is_causal, false));
  }
  Plan tile = forward_plan("", 8, 4096, 64, false, false);
  tile.kind = Kind::kTile;
  tile.name = format("look/f32/tile{}/h8/n4096/d64", kTileSide);
  plans.push_back(tile);
  return plans;
}

namespace {

// The keys inside the band, as one list for all heads.
double listed_pairs(const Plan& plan, const BlockSparse& lists) {
  const int32_t *offsets = lists.offsets.data<int32_t>(), *keys = lists.keys.data<int32_t>();
  int64_t pairs = 0;
  for (int64_t i = 0; i < plan.length; ++i) {
    const Range seen = visible_band(plan.spec.topology.band, i, plan.length);
    for (int32_t entry = offsets[i / lists.query_block]; entry < offsets[i / lists.query_block + 1]; ++entry) {
      const int64_t begin = keys[entry] * lists.key_block, end = std::min(begin + lists.key_block, plan.length);
      pairs += std::max<int64_t>(0, std::min(end, seen.end) - std::max(begin, seen.begin));
    }
  }
  return static_cast<double>(pairs);
}

}  // namespace

double forward_flops(const Plan& plan) {
  double pairs = 0;
  if (std::holds_alternative<LinearAttention>(plan.spec.normaliser)) {  // each key is added to d × d sums, each query is multiplied by them
    return 4.0 * static_cast<double>(plan.batch * plan.heads * plan.length) * static_cast<double>(plan.d * plan.d);
  }
  if (const auto& lists = plan.spec.topology.block_sparse) {
    return 4.0 * static_cast<double>(plan.batch * plan.heads * plan.d) * listed_pairs(plan, *lists);
  }
  for (int64_t i = 0; i < plan.length; ++i) {
    if (plan.seen) {
      pairs += static_cast<double>(plan.seen(i));
      continue;
    }
    const Band& band = (plan.kind == Kind::kAgainstTwin ? plan.twin : plan.spec).topology.band;
    const int64_t low = band.back ? std::max<int64_t>(0, i - *band.back) : 0,
                  high = band.ahead ? std::min(plan.length, i + *band.ahead + 1) : plan.length;
    pairs += static_cast<double>(high - low);
  }
  return 4.0 * static_cast<double>(plan.batch * plan.heads * plan.d) * pairs;
}

}  // namespace clearhead::bench
