// Cases with sparse topologies. Only visible pairs count as work, so a constant fraction from 8,192 to 131,072 tokens means that the cost
// is proportional to them.
#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "bench/attention_plans.h"
#include "clearhead/attend.h"
#include "clearhead/rule.h"

namespace clearhead::bench {
namespace {

constexpr int64_t kSide = 256;   // keys per side, for two-sided windows
constexpr int64_t kGlobal = 16;  // for Longformer: number of global tokens, the first ones
constexpr int64_t kSummary = 8;  // for the fixed pattern of Child et al.
constexpr int64_t kDilation = 4, kDilated = 127;

int64_t window_size(int64_t i, int64_t length) { return std::min(length, i + kSide + 1) - std::max<int64_t>(0, i - kSide); }

// About √length, as in Child et al.
int64_t stride_of(int64_t length) { return length <= 8192 ? 128 : length <= 32768 ? 256 : 512; }

// Packed documents of 256 to 1,791 tokens, causal within each.
void add_segments(Plan& plan) {
  std::vector<int32_t> ids, places;
  uint32_t state = 1;
  for (int32_t id = 0; static_cast<int64_t>(ids.size()) < plan.length; ++id) {
    state = state * 1664525U + 1013904223U;
    const auto count = static_cast<int32_t>(256 + (state >> 8) % 1536);
    for (int32_t at = 0; at < count && static_cast<int64_t>(ids.size()) < plan.length; ++at) ids.push_back(id), places.push_back(at);
  }
  const Tensor of_all = Tensor::from(ids, {1, plan.length});
  plan.spec.topology = causal();
  plan.spec.topology.segments = Segments{of_all, of_all};
  plan.seen = [places](int64_t i) { return int64_t{places[static_cast<size_t>(i)]} + 1; };
}

// Luong et al.'s local-p: a window around a predicted centre, with a Gaussian inside. Centres vary around the query's own position.
void add_local_p(Plan& plan) {
  std::vector<float> centres;
  for (int64_t i = 0; i < plan.length; ++i) {
    const double wander = 40 * std::sin(0.37 * static_cast<double>(i));
    centres.push_back(std::clamp(static_cast<float>(static_cast<double>(i) + wander), 0.0F, static_cast<float>(plan.length - 1)));
  }
  plan.spec = local_p(Tensor::from(centres, {1, 1, plan.length}), kSide);
  plan.seen = [centres, length = plan.length](int64_t i) {
    const double at = static_cast<double>(centres[static_cast<size_t>(i)]);
    return std::min(length - 1, static_cast<int64_t>(std::floor(at + kSide))) -
           std::max<int64_t>(0, static_cast<int64_t>(std::ceil(at - kSide))) + 1;
  };
}

void add_of_length(int64_t length, std::vector<Plan>& plans) {
  const auto add = [&](const std::string& name, bool is_causal, const std::function<void(Plan&)>& describe) {
    Plan plan = forward_plan(name, 1, length, 64, is_causal, false);
    describe(plan);
    plans.push_back(std::move(plan));
  };
  const int64_t stride = stride_of(length);
  add("window512", true, [](Plan& plan) { plan.spec.topology = causal(511); });
  add("bigbird64", false, [](Plan& plan) { plan.spec.topology.block_sparse = big_bird(plan.length); });
  add("segments", true, add_segments);
  add("prefix_lm", false, [](Plan& plan) {
    const int64_t prefix = plan.length / 4;
    plan.spec.topology.visible = prefix_lm(prefix);
    plan.seen = [prefix](int64_t i) { return std::max(prefix, i + 1); };
  });
  add("dilated4", false, [](Plan& plan) {
    plan.spec.topology.visible = dilated(kDilation, kDilated);
    plan.seen = [](int64_t i) { return std::min(kDilated, i / kDilation) + 1; };
  });
  add("strided", false, [stride](Plan& plan) {
    plan.spec.topology.visible = strided(stride);
    plan.seen = [stride](int64_t i) { return std::min(i, stride) + 1 + std::max<int64_t>(0, i / stride - 1); };
  });
  add("fixed", false, [stride](Plan& plan) {
    plan.spec.topology.visible = fixed(stride, kSummary);
    plan.seen = [stride](int64_t i) { return i % stride + 1 + i / stride * kSummary; };
  });
  add("longformer", false, [](Plan& plan) {
    std::vector<int32_t> global(static_cast<size_t>(plan.length), 0);
    std::fill_n(global.begin(), kGlobal, 1);
    plan.spec.topology.visible = longformer(kSide, Tensor::from(global, {plan.length}));
    plan.seen = [length = plan.length](int64_t i) {
      return i < kGlobal ? length : window_size(i, length) + std::min(kGlobal, std::max<int64_t>(0, i - kSide));
    };
  });
  add("local_m", false, [](Plan& plan) {
    plan.spec.topology = window(kSide, kSide);
    plan.seen = [length = plan.length](int64_t i) { return window_size(i, length); };
  });
  add("local_p", false, add_local_p);
}

}  // namespace

void add_pattern_plans(std::vector<Plan>& plans) {
  for (const auto& [window, length] : {std::pair<int64_t, int64_t>{512, 4096}, {1024, 8192}}) {
    Plan plan = forward_plan(format("window{}", window), 8, length, 64, true, false);
    plan.spec.topology = causal(window - 1);
    plans.push_back(plan);
  }
  for (const int64_t length : {8192, 32768, 131072}) add_of_length(length, plans);
}

}  // namespace clearhead::bench
