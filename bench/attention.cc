#include "bench/attention.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <utility>

#include "backends/cpu/cpu.h"
#include "backends/cpu/dispatch.h"
#include "backends/cpu/limits.h"
#include "backends/cpu/simd/items.h"
#include "backends/registry.h"
#include "base/format.h"
#include "base/json.h"
#include "base/parallel.h"
#include "bench/attention_plans.h"
#include "bench/bandwidth.h"
#include "clearhead/attend.h"

namespace clearhead::bench {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Random pages with the memory layout that a cache has after a prefill.
PagedKV random_pages(const Plan& plan, uint32_t seed) {
  KVCache cache;
  const Shape shape = {plan.batch, plan.key_heads, plan.length, plan.d};
  cache.append(random_tensor(shape, seed), random_tensor(shape, seed + 1000));
  return cache.snapshot();
}

// Operands and results of one call.
struct Operands {
  Tensor q{}, v{}, out{};
  Keys keys{};
  RowStats rows{};
  Tensor entropy{}, distance{};
  Operands(const Plan& plan, int64_t queries, uint32_t seed) {
    const auto made = [&](Tensor (*make)(Shape, uint32_t), int64_t heads, int64_t length, uint32_t from) {
      if (!plan.heads_inside) return make({plan.batch, heads, length, plan.d}, from);
      return make({plan.batch, length, heads, plan.d}, from).permute({0, 2, 1, 3});
    };
    q = made(random_tensor, plan.heads, queries, seed);
    if (plan.query_size != 1) {
      float* data = q.mutable_data<float>();
      for (int64_t i = 0; i < q.numel(); ++i) data[i] *= plan.query_size;
    }
    if (plan.in_pages) {
      keys = random_pages(plan, seed + 1);
    } else {
      keys = made(random_tensor, plan.key_heads, plan.length, seed + 1);
      v = made(random_tensor, plan.key_heads, plan.length, seed + 2);
    }
    if (plan.has_features) q = elu_plus_one(q), keys = elu_plus_one(std::get<Tensor>(keys));
    q = to_dtype(q, plan.dtype);
    if (Tensor* k = std::get_if<Tensor>(&keys)) *k = to_dtype(*k, plan.dtype), v = to_dtype(v, plan.dtype);
    out = to_dtype(made([](Shape shape, uint32_t) { return Tensor::zeros(std::move(shape)); }, plan.heads, queries, 0), plan.dtype);
    rows = {.m = Tensor::zeros({plan.batch, plan.heads, queries}), .l = Tensor::zeros({plan.batch, plan.heads, queries})};
    entropy = rows.m.clone(), distance = rows.m.clone();
  }
  ForwardCall call(const AttentionSpec& spec) { return {spec, q, keys, v, out, rows}; }
  void forward(const Backend& backend, const AttentionSpec& spec) { backend.forward(call(spec)); }
  void forward_with_sums(const Backend& backend, const AttentionSpec& spec) {
    backend.forward({spec, q, keys, v, out, rows, &entropy, &distance});
  }
};

// --- compute: bursts before items --------------------------------------------------------------------------------------------------------------

class ItemTimes final : public cpu::ItemObserver {
 public:
  ItemTimes(InstructionSet isa, bool of_bf16) : isa_(isa), of_bf16_(of_bf16), threads_(static_cast<size_t>(threads())) {}
  void before(int64_t, int thread) override {
    Thread& own = threads_[static_cast<size_t>(thread)];
    double flops = 0;
    const double seconds = of_bf16_ ? cpu::bf16_burst(&flops) : cpu::fma_burst(isa_, 2'000'000, &flops);  // about 15 us of AVX-512
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
  /// The rate that a fraction 1/runs of a thread's bursts exceeds, summed over threads; a thread that got no item counts as the fastest.
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
  bool of_bf16_;
  std::vector<Thread> threads_;
  std::vector<double> best_{};
  int runs_ = 0;
};

struct ComputeTimes {
  double clean = 0, wall = 0, peak = 0;
};

// A call that is repeated: an observed run (bursts and items), then a plain run (wall).
class Timing {
 public:
  Timing(InstructionSet isa, bool of_bf16, const std::function<void()>& call) : call_(call), times_(isa, of_bf16) { call_(); }
  void run() {
    cpu::observe_items(&times_);
    call_();
    cpu::observe_items(nullptr);
    times_.end_run();
    const auto plain = Clock::now();
    call_();
    wall_ = std::min(wall_, seconds_since(plain));
  }
  ComputeTimes result() { return {.clean = times_.clean_seconds(), .wall = wall_, .peak = times_.peak()}; }

 private:
  std::function<void()> call_;
  ItemTimes times_;
  double wall_ = 1e9;
};

void in_turn(double budget, const std::vector<Timing*>& timings) {
  const auto start = Clock::now();
  for (int run = 0; run < 3 || (seconds_since(start) < budget * static_cast<double>(timings.size()) && run < 1000); ++run) {
    for (Timing* timing : timings) timing->run();
  }
}

ComputeTimes time_compute(InstructionSet isa, double budget, const std::function<void()>& call, bool of_bf16 = false) {
  Timing timing(isa, of_bf16, call);
  in_turn(budget, {&timing});
  return timing.result();
}

// Returns whether the limit is the peak of the bf16 instruction.
bool is_narrow(const Backend& backend, DType dtype) {
  return dtype == DType::kBF16 && backend.isa == InstructionSet::kAvx512 && cpu::bf16_products() != cpu::Products::kF32;
}

ComputeTimes time_sweep(const Plan& plan, const AttentionRecord& record, const Backend& backend, const AttentionOptions& options) {
  std::vector<int64_t> rows(static_cast<size_t>(plan.length));
  for (int64_t i = 0; i < plan.length; ++i) rows[static_cast<size_t>(i)] = i;
  const SweepCall call{.record = record, .request = plan.request, .rows = rows, .grid = grid_over(record, plan.request.cells)};
  return time_compute(backend.isa, options.seconds_per_case, [&] { backend.sweep(call); });
}

ComputeTimes time_backward(const Operands& operands, const AttentionRecord& record, const Backend& backend,
                           const AttentionOptions& options) {
  const DType dtype = operands.q.dtype();
  const Tensor d_out = to_dtype(random_tensor(operands.out.shape(), 11), dtype);
  Tensor d_q = Tensor::empty(operands.q.shape(), dtype), d_k = Tensor::empty(operands.v.shape(), dtype),
         d_v = Tensor::empty(operands.v.shape(), dtype);
  std::vector<Tensor> d_operands;
  const Tensor no_log_sum_exp;
  const auto call = [&] { backend.backward({record, operands.v, operands.out, d_out, no_log_sum_exp, d_q, d_k, d_v, d_operands}); };
  return time_compute(backend.isa, options.seconds_per_case, call, is_narrow(backend, dtype));
}

// The weights of a square in the middle of one head's map, as a viewer asks for them.
ComputeTimes time_tile(const AttentionRecord& record, const Backend& backend, const AttentionOptions& options) {
  const Range keys{record.query_length / 2 - 100, record.query_length / 2 - 100 + kTileSide};
  std::vector<int64_t> rows(kTileSide);
  std::iota(rows.begin(), rows.end(), record.query_length / 2);
  std::vector<float> out(kTileSide * kTileSide);
  const WeightsCall call{.record = record,
                         .rows = rows.data(),
                         .row_count = kTileSide,
                         .keys = keys,
                         .quantity = WeightsCall::Quantity::kWeightOrNaN,
                         .out = out.data(),
                         .out_stride = kTileSide};
  return time_compute(backend.isa, options.seconds_per_case, [&] { backend.weights(call); });
}

// Selection has no items that could be timed separately: both figures are of the best whole call, and bursts precede each call.
AttentionCase run_choice(const Plan& plan, const Operands& operands, const Backend& backend, const AttentionOptions& options) {
  ItemTimes bursts(backend.isa, false);
  double best = 1e9;
  const auto start = Clock::now();
  for (int run = 0; run < 2 || (seconds_since(start) < options.seconds_per_case && run < 1000); ++run) {
    parallel_for(16 * threads(), [&](int64_t item, int thread) { bursts.before(item, thread); });
    bursts.end_run();
    const auto begin = Clock::now();
    plan.choose(operands.q, std::get<Tensor>(operands.keys));
    best = std::min(best, seconds_since(begin));
  }
  AttentionCase out{.name = plan.name, .seconds = best, .wall_seconds = best, .work = plan.choice_flops, .limit = "fma"};
  out.limit_value = bursts.peak();
  out.fraction_of_limit = out.wall_fraction_of_limit = out.work / out.seconds / out.limit_value;
  return out;
}

AttentionCase run_compute(Plan plan, const Backend& backend, const AttentionOptions& options) {
  if (plan.prepare) plan.prepare(plan);
  Operands operands(plan, plan.length, 7);
  if (plan.kind == Kind::kChoose) return run_choice(plan, operands, backend, options);
  if (plan.choose) plan.spec.topology.block_sparse = plan.choose(operands.q, std::get<Tensor>(operands.keys));
  AttentionCase out;
  out.name = plan.name;
  const cpu::Machine machine = cpu::this_machine(backend.isa);
  out.driver = describe(choose_forward(cpu::facts_of(operands.call(plan.spec), machine)));
  const bool of_bf16 = is_narrow(backend, plan.dtype);
  out.limit = of_bf16 ? "bf16" : "fma";
  out.work = forward_flops(plan);
  const auto forward = [&] { plan.gives_sums ? operands.forward_with_sums(backend, plan.spec) : operands.forward(backend, plan.spec); };
  const bool has_twin = plan.kind == Kind::kAgainstTwin;
  Timing own(backend.isa, of_bf16, forward), twin(backend.isa, of_bf16, [&] {
    if (has_twin) operands.forward(backend, plan.twin);
  });
  in_turn(options.seconds_per_case, has_twin ? std::vector{&own, &twin} : std::vector{&own});
  ComputeTimes times = own.result();
  if (has_twin) out.ratio_to_twin = times.clean / twin.result().clean;
  if (plan.kind == Kind::kSweep || plan.kind == Kind::kBackward || plan.kind == Kind::kTile) {
    const double forward_clean = times.clean;
    AttentionRecord record{.spec = plan.spec, .q = operands.q, .keys = operands.keys, .rows = operands.rows};
    record.query_length = plan.length;
    record.stamp = stamp_now(record.spec, record.q, record.keys, backend.isa);
    cpu::CallFacts facts = cpu::facts_of(record, machine);
    facts.d_v = operands.v.size(3);
    if (plan.kind == Kind::kSweep) {
      out.driver = describe(choose_reduction(facts));
      out.work /= 2;  // scores only
      times = time_sweep(plan, record, backend, options);
    } else if (plan.kind == Kind::kTile) {
      out.driver = format("weights ({})", to_string(choose_look(facts)));
      out.work = 2.0 * static_cast<double>(kTileSide * kTileSide * plan.d);
      times = time_tile(record, backend, options);
    } else {
      out.driver = describe(choose_backward(facts));
      // Five products per pair instead of two; for linear attention, three sums and three uses of them.
      out.work *= std::holds_alternative<LinearAttention>(plan.spec.normaliser) ? 3 : 2.5;
      times = time_backward(operands, record, backend, options);
    }
    out.ratio_to_forward = times.clean / forward_clean;
  }
  if (plan.kind == Kind::kAgainstSoftmax) {
    const ComputeTimes softmax = time_compute(backend.isa, options.seconds_per_case, [&] { operands.forward(backend, {}); });
    out.ratio_to_forward = times.clean / softmax.clean;
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
  choose_backend(to_string(backend.isa));  // the backend that selection by content uses
  AttentionBench bench;
  bench.isa = to_string(backend.isa);
  bench.threads = threads();
  std::vector<double> reads;
  std::vector<Plan> plans = attention_plans();
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
                              {"driver", c.driver},
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
    if (c.ratio_to_twin > 0) text += format("  {:.3f} of its twin", c.ratio_to_twin);
    if (!c.driver.empty()) text += "  " + c.driver;
    text += '\n';
  }
  return text;
}

}  // namespace clearhead::bench
