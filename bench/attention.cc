#include "bench/attention.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>

#include "backends/cpu/cpu.h"
#include "backends/cpu/limits.h"
#include "base/format.h"
#include "base/json.h"
#include "base/parallel.h"
#include "bench/bandwidth.h"
#include "clearhead/attend.h"

namespace clearhead::bench {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

enum class Kind : uint8_t { kForward, kBackward, kSweep, kAgainstSoftmax, kAgainstTwin };
struct Plan {
  std::string name{};
  Kind kind = Kind::kForward;
  int64_t batch = 1, heads = 8, key_heads = 8, length = 4096, d = 64;
  bool is_causal = false, in_pages = false;
  std::vector<Statistic> statistics{};
  bool by_default = true;
  AttentionSpec spec{};
  float query_size = 1;
  bool has_features = false;  // q and k are 0 or more
  AttentionSpec twin{};       // kAgainstTwin
  DType dtype = DType::kF32;
};

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// --- what is run ---------------------------------------------------------------------------------------------------------------------------

Plan forward_plan(const std::string& shape_name, int64_t heads, int64_t length, int64_t d, bool is_causal, bool by_default) {
  Plan plan;
  plan.name = format("forward/f32/{}/h{}/n{}/d{}", shape_name, heads, length, d);
  plan.heads = plan.key_heads = heads;
  plan.length = length, plan.d = d, plan.is_causal = is_causal, plan.by_default = by_default;
  if (is_causal) plan.spec.topology = causal();
  return plan;
}

// The same in bf16: by the limit of its own instruction where the machine has it.
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

Plan sweep_plan(const std::string& which, std::vector<Statistic> statistics, int64_t length, int64_t d, bool is_causal, bool by_default) {
  Plan plan = forward_plan("", 8, length, d, is_causal, by_default);
  plan.kind = Kind::kSweep;
  plan.statistics = std::move(statistics);
  plan.name = format("sweep/f32/{}/{}/h8/n{}/d{}", which, is_causal ? "causal" : "full", length, d);
  return plan;
}

// A forward whose time is told as a ratio to softmax's on the same data. Small queries give nearly uniform rows: every key survives.
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

// A rule whose time is told as a ratio to the built-in that says the same; a pair, to the scaled dot product.
Plan twin_plan(const std::string& kind, const std::string& which, AttentionSpec spec, AttentionSpec twin, int64_t d) {
  Plan plan = forward_plan("", 8, 4096, d, false, false);
  plan.kind = Kind::kAgainstTwin;
  plan.spec = std::move(spec);
  plan.twin = std::move(twin);
  plan.name = format("{}/f32/{}/h8/n4096/d{}", kind, which, d);
  return plan;
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
  plans.push_back(twin_plan("pair", "additive_tanh", {.pair = additive}, {}, 64));
  additive.activation = Additive::Activation::kLeakyRelu;
  plans.push_back(twin_plan("pair", "additive_leaky_relu", {.pair = additive}, {}, 64));
  const auto table = [](int64_t reach) {
    std::vector<float> rows(static_cast<size_t>((2 * reach + 1) * 64));
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = 0.01F * static_cast<float>(i % 37) - 0.18F;
    return Tensor::from(rows, {1, 2 * reach + 1, 64});
  };
  plans.push_back(
      twin_plan("pair", "relative16_values", {.pair = Relative{.keys = table(16), .values = table(16)}}, {}, 64));  // Shaw et al.
  plans.push_back(twin_plan("pair", "relative4096", {.pair = Relative{.keys = table(4096)}}, {}, 64));              // Transformer-XL
  plans.push_back(twin_plan("pair", "relative256_both", {.pair = Relative{.keys = table(256), .queries = table(256)}}, {}, 64));  // DeBERTa
}

// Cost is linear in the length.
void add_linear_plans(std::vector<Plan>& plans) {
  for (const bool is_causal : {false, true}) {
    for (const int64_t length : {8192, 32768, 131072}) {
      Plan plan = forward_plan(is_causal ? "causal" : "full", 1, length, 64, is_causal, false);
      plan.spec.normaliser = Linear{};
      plan.has_features = true;
      plan.name = "linear/" + plan.name;
      plans.push_back(plan);
      plan.kind = Kind::kBackward;
      plan.name = format("linear/backward/f32/{}/h1/n{}/d64", is_causal ? "causal" : "full", length);
      plans.push_back(plan);
    }
  }
}

std::vector<Plan> all_plans() {
  std::vector<Plan> plans;
  for (const bool is_causal : {false, true}) {
    const char* shape = is_causal ? "causal" : "full";
    for (const int64_t d : {64, 128}) plans.push_back(forward_plan(shape, 8, 4096, d, is_causal, true));
    plans.push_back(forward_plan(shape, 1, 4096, 64, is_causal, true));
    plans.push_back(forward_plan(shape, 12, 512, 64, is_causal, true));
    plans.push_back(forward_plan(shape, 12, 128, 64, is_causal, false));
    for (const int64_t d : {32, 80, 256}) plans.push_back(forward_plan(shape, 8, 4096, d, is_causal, d == 32 && !is_causal));
  }
  Plan paged = forward_plan("pages", 8, 4096, 64, false, false);
  paged.in_pages = true;
  plans.push_back(paged);
  Plan alibi = forward_plan("alibi", 8, 4096, 64, true, false);
  alibi.spec.terms = {Alibi{slopes_of_eight()}};
  plans.push_back(alibi);
  Plan soft_cap = forward_plan("soft_cap", 8, 4096, 64, false, false);
  soft_cap.spec.terms = {SoftCap{30}};
  plans.push_back(soft_cap);
  Plan window_plan = forward_plan("window512", 8, 4096, 64, true, false);
  window_plan.spec.topology = causal(511);
  plans.push_back(window_plan);
  for (const int64_t length : {8192, 32768, 131072}) {  // cost follows the pairs
    Plan window_of = forward_plan("window512", 1, length, 64, true, false);
    window_of.spec.topology = causal(511);
    plans.push_back(window_of);
    Plan big_bird_of = forward_plan("bigbird64", 1, length, 64, false, false);
    big_bird_of.spec.topology.lists = big_bird(length);
    plans.push_back(big_bird_of);
  }
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
  plans.push_back(sweep_plan("all", {entropy, received, distance, offsets}, 4096, 128, false, false));
  return plans;
}

// As a prefill leaves them.
PagedKeys random_pages(const Plan& plan, uint32_t seed) {
  KeyCache cache;
  const Shape shape = {plan.batch, plan.key_heads, plan.length, plan.d};
  cache.append(random_tensor(shape, seed), random_tensor(shape, seed + 1000));
  return cache.snapshot();
}

// One call's operands and results.
struct Operands {
  Tensor q{}, v{}, out{};
  Keys keys{};
  RowStats rows{};
  Operands(const Plan& plan, int64_t queries, uint32_t seed) {
    q = random_tensor({plan.batch, plan.heads, queries, plan.d}, seed);
    if (plan.query_size != 1) {
      float* data = q.mutable_data<float>();
      for (int64_t i = 0; i < q.numel(); ++i) data[i] *= plan.query_size;
    }
    if (plan.in_pages) {
      keys = random_pages(plan, seed + 1);
    } else {
      keys = random_tensor({plan.batch, plan.key_heads, plan.length, plan.d}, seed + 1);
      v = random_tensor({plan.batch, plan.key_heads, plan.length, plan.d}, seed + 2);
    }
    if (plan.has_features) q = elu_plus_one(q), keys = elu_plus_one(std::get<Tensor>(keys));
    q = to_dtype(q, plan.dtype);
    if (Tensor* k = std::get_if<Tensor>(&keys)) *k = to_dtype(*k, plan.dtype), v = to_dtype(v, plan.dtype);
    out = Tensor::zeros({plan.batch, plan.heads, queries, plan.d}, plan.dtype);
    rows = {Tensor::zeros({plan.batch, plan.heads, queries}), Tensor::zeros({plan.batch, plan.heads, queries})};
  }
  void forward(const Backend& backend, const AttentionSpec& spec) { backend.forward({spec, q, keys, v, out, rows}); }
};

// --- compute: bursts before items --------------------------------------------------------------------------------------------------------------

class ItemTimes final : public cpu::ItemObserver {
 public:
  ItemTimes(InstructionSet isa, bool by_pairs) : isa_(isa), by_pairs_(by_pairs), threads_(static_cast<size_t>(threads())) {}
  void before(int64_t, int thread) override {
    Thread& own = threads_[static_cast<size_t>(thread)];
    double flops = 0;
    const double seconds =
        by_pairs_ ? cpu::pair_burst(2'000'000, &flops) : cpu::fma_burst(isa_, 2'000'000, &flops);  // about 15 us of AVX-512
    own.rates.push_back(flops / seconds);
    own.start = Clock::now();
  }
  void after(int64_t item, int thread) override {
    Thread& own = threads_[static_cast<size_t>(thread)];
    own.items.emplace_back(item, seconds_since(own.start));
  }
  /// Folds the run just finished into the best time of each item.
  void end_run() {
    for (Thread& thread : threads_) {
      for (const auto& [item, seconds] : thread.items) {
        if (static_cast<size_t>(item) >= best_.size()) best_.resize(static_cast<size_t>(item) + 1, 1e9);
        best_[static_cast<size_t>(item)] = std::min(best_[static_cast<size_t>(item)], seconds);
      }
      thread.items.clear();
    }
    ++runs_;
  }
  double clean_seconds() const {
    double sum = 0;
    for (const double best : best_) sum += best;
    return sum / static_cast<double>(threads_.size());
  }
  /// The 1/runs quantile of each thread's bursts, summed; a thread that got no item counts as the fastest.
  double peak() {
    double sum = 0, fastest = 0;
    int idle = 0;
    for (Thread& thread : threads_) {
      if (thread.rates.empty()) {
        ++idle;
        continue;
      }
      std::sort(thread.rates.rbegin(), thread.rates.rend());
      const double rate = thread.rates[thread.rates.size() / static_cast<size_t>(std::max(1, runs_))];
      sum += rate, fastest = std::max(fastest, rate);
    }
    return sum + idle * fastest;
  }

 private:
  struct alignas(64) Thread {
    std::vector<double> rates{};
    std::vector<std::pair<int64_t, double>> items{};
    Clock::time_point start{};
  };
  InstructionSet isa_;
  bool by_pairs_;
  std::vector<Thread> threads_;
  std::vector<double> best_{};
  int runs_ = 0;
};

struct ComputeTimes {
  double clean = 0, wall = 0, peak = 0;
};

// Alternates observed runs (bursts and items) with plain ones (wall).
ComputeTimes time_compute(InstructionSet isa, double budget, const std::function<void()>& call, bool by_pairs = false) {
  call();
  ItemTimes times(isa, by_pairs);
  ComputeTimes out{.clean = 0, .wall = 1e9, .peak = 0};
  const auto start = Clock::now();
  for (int run = 0; run < 3 || (seconds_since(start) < budget && run < 1000); ++run) {
    cpu::observe_items(&times);
    call();
    cpu::observe_items(nullptr);
    times.end_run();
    const auto plain = Clock::now();
    call();
    out.wall = std::min(out.wall, seconds_since(plain));
  }
  out.clean = times.clean_seconds();
  out.peak = times.peak();
  return out;
}

bool is_by_pairs(const Backend& backend, DType dtype) {
  double flops = 0;
  return dtype == DType::kBF16 && backend.isa == InstructionSet::kAvx512 && cpu::pair_burst(1, &flops) > 0;
}

double forward_flops(const Plan& plan) {
  double pairs = 0;
  if (std::holds_alternative<Linear>(plan.spec.normaliser)) {  // a key joins d × d sums, a query meets them
    return 4.0 * static_cast<double>(plan.batch * plan.heads * plan.length) * static_cast<double>(plan.d * plan.d);
  }
  if (const auto& lists = plan.spec.topology.lists) {  // whole blocks: the last one is full where they are used here
    pairs = static_cast<double>(lists->keys.size(2) * lists->query_block * lists->key_block);
    return 4.0 * static_cast<double>(plan.batch * plan.heads * plan.d) * pairs;
  }
  for (int64_t i = 0; i < plan.length; ++i) {
    const Band& band = (plan.kind == Kind::kAgainstTwin ? plan.twin : plan.spec).topology.band;
    const int64_t low = band.back ? std::max<int64_t>(0, i - *band.back) : 0,
                  high = band.ahead ? std::min(plan.length, i + *band.ahead + 1) : plan.length;
    pairs += static_cast<double>(high - low);
  }
  return 4.0 * static_cast<double>(plan.batch * plan.heads * plan.d) * pairs;
}

ComputeTimes time_sweep(const Plan& plan, const AttentionRecord& record, const Backend& backend, const AttentionOptions& options) {
  std::vector<int64_t> rows(static_cast<size_t>(plan.length));
  for (int64_t i = 0; i < plan.length; ++i) rows[static_cast<size_t>(i)] = i;
  SweepRequest request;
  request.statistics = plan.statistics;
  return time_compute(backend.isa, options.seconds_per_case, [&] { backend.sweep({record, request, rows}); });
}

ComputeTimes time_backward(const Operands& operands, const AttentionRecord& record, const Backend& backend,
                           const AttentionOptions& options) {
  const DType dtype = operands.q.dtype();
  const Tensor d_out = to_dtype(random_tensor(operands.out.shape(), 11), dtype);
  Tensor d_q = Tensor::empty(operands.q.shape(), dtype), d_k = Tensor::empty(operands.v.shape(), dtype),
         d_v = Tensor::empty(operands.v.shape(), dtype);
  std::vector<Tensor> d_operands;
  const auto call = [&] { backend.backward({record, operands.v, operands.out, d_out, d_q, d_k, d_v, d_operands}); };
  return time_compute(backend.isa, options.seconds_per_case, call, is_by_pairs(backend, dtype));
}

AttentionCase run_compute(const Plan& plan, const Backend& backend, const AttentionOptions& options) {
  Operands operands(plan, plan.length, 7);
  AttentionCase out;
  out.name = plan.name;
  const bool by_pairs = is_by_pairs(backend, plan.dtype);
  out.limit = by_pairs ? "bf16" : "fma";
  out.work = forward_flops(plan);
  const auto forward = [&] { operands.forward(backend, plan.spec); };
  ComputeTimes times = time_compute(backend.isa, options.seconds_per_case, forward, by_pairs);
  if (plan.kind == Kind::kSweep || plan.kind == Kind::kBackward) {
    const double forward_clean = times.clean;
    AttentionRecord record{.spec = plan.spec, .q = operands.q, .keys = operands.keys, .rows = operands.rows};
    record.query_length = plan.length;
    record.stamp = stamp_now(record.spec, record.q, record.keys, backend.isa);
    if (plan.kind == Kind::kSweep) {
      out.work /= 2;  // scores only
      times = time_sweep(plan, record, backend, options);
    } else {
      // Five products of a pair, not two; of linear attention three sums and three uses of them.
      out.work *= std::holds_alternative<Linear>(plan.spec.normaliser) ? 3 : 2.5;
      times = time_backward(operands, record, backend, options);
    }
    out.ratio_to_forward = times.clean / forward_clean;
  }
  if (plan.kind == Kind::kAgainstSoftmax) {
    const ComputeTimes softmax = time_compute(backend.isa, options.seconds_per_case, [&] { operands.forward(backend, {}); });
    out.ratio_to_forward = times.clean / softmax.clean;
  }
  if (plan.kind == Kind::kAgainstTwin) {
    const ComputeTimes twin = time_compute(backend.isa, options.seconds_per_case, [&] { operands.forward(backend, plan.twin); });
    out.ratio_to_twin = times.clean / twin.clean;
  }
  out.seconds = times.clean;
  out.wall_seconds = times.wall;
  out.limit_value = times.peak;
  out.fraction_of_limit = out.work / out.seconds / out.limit_value;
  out.wall_fraction_of_limit = out.work / out.wall_seconds / out.limit_value;
  return out;
}

const Backend& table_of(InstructionSet isa) {
  for (const InstructionSet candidate : {InstructionSet::kAvx512, InstructionSet::kAvx2}) {
    if (isa != InstructionSet::kReference && isa != candidate) continue;
    if (const Backend* table = cpu_backend(candidate)) return *table;
  }
  fail(ErrorCode::kUnsupported, "bench attention: this machine cannot run {}; leave --isa unset for the best it can",
       isa == InstructionSet::kReference ? "AVX2" : to_string(isa));
}

}  // namespace

AttentionBench run_attention(const AttentionOptions& options) {
  const Backend& backend = table_of(options.isa);
  AttentionBench bench;
  bench.isa = to_string(backend.isa);
  bench.threads = threads();
  std::vector<double> reads;
  std::vector<Plan> plans = all_plans();
  const auto is_wanted = [&](const auto& plan) {
    const auto matches = [&](const std::string& filter) { return plan.name.find(filter) != std::string::npos; };
    return options.filters.empty() ? plan.by_default || options.all : std::any_of(options.filters.begin(), options.filters.end(), matches);
  };
  std::erase_if(plans, [&](const Plan& plan) { return !is_wanted(plan) || (plan.kind == Kind::kSweep && !backend.sweep); });
  std::vector<BandwidthPlan> streams = bandwidth_plans();
  std::erase_if(streams, [&](const BandwidthPlan& plan) { return !is_wanted(plan); });
  const auto add = [&](const AttentionCase& done) {
    bench.cases.push_back(done);
    if (done.limit == "fma") bench.fma_flops = std::max(bench.fma_flops, done.limit_value);
    if (done.limit == "read") reads.push_back(done.limit_value);
    if (options.progress) options.progress(static_cast<double>(bench.cases.size()) / static_cast<double>(plans.size() + streams.size()));
  };
  for (const Plan& plan : plans) add(run_compute(plan, backend, options));
  for (const BandwidthPlan& plan : streams) add(run_bandwidth(plan, backend, options));
  if (bench.cases.empty())
    fail(ErrorCode::kNotFound, "bench attention: no case has such a name; names look like forward/f32/full/h8/n4096/d64");
  bench.read_bytes = median(reads);
  return bench;
}

std::string to_json(const AttentionBench& bench) {
  Json cases = Json::array();
  for (const AttentionCase& c : bench.cases) {
    Json line = Json::object({{"name", c.name},
                              {"seconds", c.seconds},
                              {"wall_seconds", c.wall_seconds},
                              {"work", c.work},
                              {"limit", c.limit},
                              {"limit_value", c.limit_value},
                              {"fraction_of_limit", c.fraction_of_limit},
                              {"wall_fraction_of_limit", c.wall_fraction_of_limit}});
    Json modes = Json::array();
    for (const MemoryMode& mode : c.modes) {
      modes.push(Json::object({{"read_bytes", mode.read_bytes}, {"fraction", mode.fraction}, {"pairs", mode.pairs}}));
    }
    if (!c.modes.empty()) line["modes"] = std::move(modes);
    if (c.roofline > 0) line["roofline"] = c.roofline;
    if (c.ratio_to_forward > 0) line["ratio_to_forward"] = c.ratio_to_forward;
    if (c.ratio_to_twin > 0) line["ratio_to_twin"] = c.ratio_to_twin;
    cases.push(line);
  }
  const Json limits = Json::object({{"fma_flops", bench.fma_flops}, {"read_bytes", bench.read_bytes}});
  return Json::object({{"isa", bench.isa}, {"threads", bench.threads}, {"limits", limits}, {"cases", cases}}).dump();
}

std::string to_text(const AttentionBench& bench) {
  std::string text = format("{}, {} threads; fractions of the limit measured beside each case: clean / wall\n", bench.isa, bench.threads);
  for (const AttentionCase& c : bench.cases) {
    const bool is_compute = c.limit != "read";
    text += format("{:<38} {:>9.3f} ms  {:>5.1f} / {:>5.1f} % of {:.0f} {}", c.name, c.seconds * 1e3, c.fraction_of_limit * 100,
                   c.wall_fraction_of_limit * 100, c.limit_value / 1e9, is_compute ? "GFLOP/s" : "GB/s");
    if (c.modes.size() > 1) {
      for (const MemoryMode& mode : c.modes) text += format("  {:.1f} % at {:.0f}", mode.fraction * 100, mode.read_bytes / 1e9);
    }
    if (c.roofline > 0) text += format("  {:.1f} % of the roofline", c.roofline * 100);
    if (c.ratio_to_forward > 0) text += format("  {:.2f} of a forward", c.ratio_to_forward);
    if (c.ratio_to_twin > 0) text += format("  {:.2f} of the built-in", c.ratio_to_twin);
    text += '\n';
  }
  return text;
}

}  // namespace clearhead::bench
