#include "bench/bandwidth.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <utility>

#include "backends/cpu/cpu.h"
#include "backends/cpu/dispatch.h"
#include "backends/cpu/limits.h"
#include "backends/cpu/simd/items.h"
#include "base/format.h"
#include "base/parallel.h"
#include "clearhead/attend.h"
#include "clearhead/rule.h"

namespace clearhead::bench {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double quantile(std::vector<double> values, double at) {
  if (values.empty()) return 0;
  const auto place = static_cast<int64_t>(at * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + place, values.end());
  return values[static_cast<size_t>(place)];
}
double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

BandwidthPlan decode_plan(DType dtype, bool in_pages, bool is_grouped, int64_t length, int64_t d, int64_t queries, bool by_default) {
  BandwidthPlan plan;
  plan.heads = is_grouped ? 32 : 8;
  plan.length = length, plan.d = d, plan.queries = queries, plan.in_pages = in_pages, plan.dtype = dtype, plan.by_default = by_default;
  plan.name = format("decode/{}/{}/h{}kv8/n{}/d{}", to_string(dtype), in_pages ? "pages" : "rows", plan.heads, length, d);
  if (queries > 1) plan.name += format("/q{}", queries);
  return plan;
}

// The same case with queries in bf16, as in a bf16 model.
BandwidthPlan with_narrow_queries(BandwidthPlan plan) {
  plan.query_dtype = DType::kBF16;
  plan.name += "/bf16";
  return plan;
}

BandwidthPlan linear_plan(WeightStorage storage, int64_t out, int64_t in) {
  BandwidthPlan plan;
  plan.kind = BandwidthPlan::Kind::kLinear;
  plan.in = in, plan.out = out, plan.storage = storage;
  plan.by_default = storage != WeightStorage::kF32;
  plan.name = format("linear/{}/{}x{}", to_string(storage), out, in);
  return plan;
}

BandwidthPlan graph_plan(bool is_gradient) {
  BandwidthPlan plan;
  plan.kind = BandwidthPlan::Kind::kGraph;
  plan.heads = plan.key_heads = 8;
  plan.length = 100'000, plan.neighbours = 16, plan.d = 64;
  plan.is_gradient = is_gradient, plan.by_default = false;
  plan.name = format("graph/{}/f32/h8/n100000/e16/d64", is_gradient ? "backward" : "forward");
  return plan;
}

// Operands and results of one call; each copy has its own memory.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void run(const Backend& backend) = 0;
  /// The chosen driver; empty for cases without attention.
  virtual std::string driver(cpu::Machine) { return {}; }
};

class Decode final : public Stream {
 public:
  Decode(const BandwidthPlan& plan, uint32_t seed) {
    spec_.topology = causal();
    const Shape shape = {1, plan.key_heads, plan.length, plan.d}, rows = {1, plan.heads, plan.queries};
    q_ = to_dtype(random_tensor({1, plan.heads, plan.queries, plan.d}, seed), plan.query_dtype);
    Tensor k = random_tensor(shape, seed + 1), v = random_tensor(shape, seed + 2);
    if (plan.in_pages) {  // with the page layout after a prefill
      KVCache cache(plan.dtype);
      cache.append(k, v);
      keys_ = cache.snapshot();
    } else {
      keys_ = k;
      v_ = v;
    }
    out_ = Tensor::zeros({1, plan.heads, plan.queries, plan.d}, plan.query_dtype);
    rows_ = {Tensor::zeros(rows), Tensor::zeros(rows)};
  }
  void run(const Backend& backend) override { backend.forward(call()); }
  std::string driver(cpu::Machine machine) override { return describe(choose_forward(cpu::facts_of(call(), machine))); }

 private:
  ForwardCall call() { return {spec_, q_, keys_, v_, out_, rows_}; }
  AttentionSpec spec_{};
  Tensor q_{}, v_{}, out_{};
  Keys keys_{};
  RowStats rows_{};
};

class Linear final : public Stream {
 public:
  Linear(const BandwidthPlan& plan, const Backend& backend, uint32_t seed)
      : x_(random_tensor({1, plan.in}, seed)), out_(Tensor::zeros({1, plan.out})) {
    const WeightPart part{random_tensor({plan.out, plan.in}, seed + 1)};
    weight_ = backend.dense.prepare(&part, 1, plan.storage);
  }
  void run(const Backend& backend) override {
    backend.dense.linear({.weight = *weight_,
                          .x = x_.data<float>(),
                          .rows = 1,
                          .x_stride = weight_->in,
                          .out = out_.mutable_data<float>(),
                          .out_stride = weight_->out});
  }

 private:
  Tensor x_, out_;
  std::shared_ptr<const PreparedWeight> weight_{};
};

// Veličković et al. 2018: e_ij = LeakyReLU(a_i + b_j), a product of width two and a rule. The heads of a node are adjacent in memory, as
// after a linear layer.
class GraphAttention final : public Stream {
 public:
  GraphAttention(const BandwidthPlan& plan, const Backend& backend, uint32_t seed)
      : is_gradient_(plan.is_gradient),
        q_(of_nodes(plan, kPair, seed)),
        k_(of_nodes(plan, kPair, seed + 1)),
        v_(of_nodes(plan, plan.d, seed + 2)),
        out_(of_nodes(plan, plan.d, seed + 3)) {
    std::vector<int32_t> edges;
    for (int64_t edge = 0; edge < plan.length * plan.neighbours; ++edge) edges.push_back(static_cast<int32_t>(edge / plan.neighbours));
    uint32_t state = seed;
    for (int64_t edge = 0; edge < plan.length * plan.neighbours; ++edge) {
      state = state * 1664525U + 1013904223U;
      edges.push_back(static_cast<int32_t>((uint64_t{state} * static_cast<uint64_t>(plan.length)) >> 32));
    }
    record_.spec.score = Dot{1};
    record_.spec.terms = {rule([](auto score, auto) { return max(score, 0.2F * score); })};
    record_.spec.topology.block_sparse = graph(Tensor::from(edges, {2, plan.length * plan.neighbours}), plan.length).block_sparse;
    const Shape rows = {1, plan.heads, plan.length};
    record_.q = q_, record_.keys = k_, record_.query_length = plan.length;
    record_.rows = {Tensor::zeros(rows), Tensor::zeros(rows)};
    forward(backend);
    record_.stamp = stamp_now(record_.spec, q_, record_.keys, backend.isa);
    if (!is_gradient_) return;
    d_out_ = of_nodes(plan, plan.d, seed + 4);
    d_q_ = Tensor::zeros(q_.shape()), d_k_ = Tensor::zeros(k_.shape()), d_v_ = Tensor::zeros(v_.shape());
  }
  void run(const Backend& backend) override {
    if (!is_gradient_) return forward(backend);
    const Tensor no_log_sum_exp;
    backend.backward({record_, v_, out_, d_out_, no_log_sum_exp, d_q_, d_k_, d_v_, d_operands_});
  }
  std::string driver(cpu::Machine machine) override {
    const cpu::CallFacts facts = cpu::facts_of(record_, machine);
    return is_gradient_ ? describe(choose_backward(facts)) : describe(choose_forward(facts));
  }

 private:
  static constexpr int64_t kPair = 2;
  static Tensor of_nodes(const BandwidthPlan& plan, int64_t width, uint32_t seed) {
    return random_tensor({1, plan.length, plan.heads, width}, seed).permute({0, 2, 1, 3});
  }
  void forward(const Backend& backend) { backend.forward({record_.spec, q_, record_.keys, v_, out_, record_.rows}); }

  bool is_gradient_;
  Tensor q_, k_, v_, out_, d_out_{}, d_q_{}, d_k_{}, d_v_{};
  AttentionRecord record_{};
  std::vector<Tensor> d_operands_{};
};

std::unique_ptr<Stream> stream_of(const BandwidthPlan& plan, const Backend& backend, uint32_t seed) {
  switch (plan.kind) {
    case BandwidthPlan::Kind::kDecode: return std::make_unique<Decode>(plan, seed);
    case BandwidthPlan::Kind::kLinear: return std::make_unique<Linear>(plan, backend, seed);
    case BandwidthPlan::Kind::kGraph: break;
  }
  return std::make_unique<GraphAttention>(plan, backend, seed);
}

int64_t bytes_of(const BandwidthPlan& plan) {
  if (plan.kind == BandwidthPlan::Kind::kGraph) {  // key and value of each edge; for gradients also their gradients, read and written
    return plan.length * plan.neighbours * plan.heads * (plan.d + 2) * 4 * (plan.is_gradient ? 3 : 1);
  }
  if (plan.kind == BandwidthPlan::Kind::kDecode) {
    const size_t element = plan.in_pages ? size_of(plan.dtype) : sizeof(float);
    return 2 * plan.key_heads * plan.length * plan.d * static_cast<int64_t>(element);
  }
  return plan.in * plan.out * (plan.storage == WeightStorage::kF32 ? 4 : plan.storage == WeightStorage::kBF16 ? 2 : 1);
}

double flops_of(const BandwidthPlan& plan) {
  return plan.kind != BandwidthPlan::Kind::kDecode ? 0 : 4.0 * static_cast<double>(plan.heads * plan.queries * plan.length * plan.d);
}

double time_read(InstructionSet isa, const float* data, int64_t bytes) {
  constexpr int64_t kPiece = 256 * 1024;  // as large as a decode item's keys
  const auto start = Clock::now();
  parallel_for(bytes / kPiece, [&](int64_t piece, int) { cpu::read_bytes(isa, data + piece * (kPiece / 4), kPiece); });
  return seconds_since(start) * static_cast<double>(bytes) / static_cast<double>(bytes / kPiece * kPiece);
}

// A measurement of some work, and of a plain read of the same number of bytes right after it.
struct MeasuredPair {
  double fraction = 0;    // speed of the work / speed of the read
  double read_bytes = 0;  // bytes/s of the plain read
};

// After every work item, reads the same number of other bytes on the same thread.
class ItemPairs final : public cpu::ItemObserver {
 public:
  ItemPairs(InstructionSet isa, const Tensor& other, int64_t bytes_per_item)
      : isa_(isa), other_(other), bytes_(bytes_per_item / 4096 * 4096), threads_(static_cast<size_t>(threads())) {}
  void before(int64_t, int thread) override { threads_[static_cast<size_t>(thread)].start = Clock::now(); }
  void after(int64_t, int thread) override {
    Thread& own = threads_[static_cast<size_t>(thread)];
    const double item = seconds_since(own.start);
    const int64_t room = std::max<int64_t>(1, static_cast<int64_t>(other_.bytes()) - bytes_);
    own.offset = (own.offset + bytes_ * threads()) % room;
    const auto start = Clock::now();
    cpu::read_bytes(isa_, other_.data<float>() + (own.offset + thread * bytes_) % room / 4096 * 1024, bytes_);
    const double read = seconds_since(start);
    own.pairs.push_back({read / item, static_cast<double>(bytes_ * threads()) / read});
  }
  std::vector<MeasuredPair> pairs() const {
    std::vector<MeasuredPair> all;
    for (const Thread& thread : threads_) all.insert(all.end(), thread.pairs.begin(), thread.pairs.end());
    return all;
  }

 private:
  struct alignas(64) Thread {
    Clock::time_point start{};
    int64_t offset = 0;
    std::vector<MeasuredPair> pairs{};
  };
  InstructionSet isa_;
  const Tensor& other_;
  int64_t bytes_;
  std::vector<Thread> threads_;
};

MemoryMode mode_of(const std::vector<MeasuredPair>& pairs) {
  std::vector<double> fractions, rates;
  for (const MeasuredPair& pair : pairs) fractions.push_back(pair.fraction), rates.push_back(pair.read_bytes);
  return {median(rates), median(fractions), static_cast<int64_t>(pairs.size())};
}

// One mode, or two if the speeds of reads differ widely.
std::vector<MemoryMode> modes_of(const std::vector<MeasuredPair>& pairs) {
  std::vector<double> rates;
  for (const MeasuredPair& pair : pairs) rates.push_back(pair.read_bytes);
  const double low = quantile(rates, 0.1), high = quantile(rates, 0.9), middle = std::sqrt(low * high);
  if (high < 1.35 * low) return {mode_of(pairs)};
  std::vector<MeasuredPair> slow, fast;
  for (const MeasuredPair& pair : pairs) (pair.read_bytes < middle ? slow : fast).push_back(pair);
  return {mode_of(slow), mode_of(fast)};
}

// Share of the time that the slower of reading and multiplying needs.
double roofline_of(const BandwidthPlan& plan, const Backend& backend, bool by_pairs, const AttentionCase& done) {
  double fma = 0;
  for (int burst = 0; burst < 20; ++burst) {
    double flops = 0;
    const double seconds = by_pairs ? cpu::bf16_burst(&flops) : cpu::fma_burst(backend.isa, 2'000'000, &flops);
    fma = std::max(fma, flops / seconds * threads());
  }
  return std::max(flops_of(plan) / fma, done.work / done.limit_value) / done.wall_seconds;
}

}  // namespace

Tensor random_tensor(Shape shape, uint32_t seed) {
  Tensor tensor = Tensor::empty(std::move(shape));
  float* data = tensor.mutable_data<float>();
  parallel_ranges(tensor.numel(), 1 << 16, [&](int64_t begin, int64_t end, int) {
    uint32_t state = (seed + static_cast<uint32_t>(begin)) * 2654435761U + 1;
    for (int64_t i = begin; i < end; ++i) {
      float sum = 0;  // of three uniform numbers in [-1, 1): variance 1
      for (int n = 0; n < 3; ++n) {
        state = state * 1664525U + 1013904223U;
        sum += static_cast<float>(static_cast<int32_t>(state)) * (1.0F / 2147483648.0F);
      }
      data[i] = sum;
    }
  });
  return tensor;
}

std::vector<BandwidthPlan> bandwidth_plans() {
  std::vector<BandwidthPlan> plans;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const bool is_f16 = dtype == DType::kF16;
    for (const int64_t length : {4096, 32768, 131072}) {
      plans.push_back(decode_plan(dtype, true, true, length, 64, 1, length == 32768 || (length == 4096 && !is_f16)));
      if (!is_f16) plans.push_back(decode_plan(dtype, true, true, length, 64, 4, false));
      if (!is_f16) plans.push_back(decode_plan(dtype, true, true, length, 64, 16, false));
      if (dtype != DType::kBF16) continue;
      for (const int64_t queries : {1, 4, 16})
        plans.push_back(with_narrow_queries(decode_plan(dtype, true, true, length, 64, queries, false)));
    }
    plans.push_back(decode_plan(dtype, true, true, 32768, 128, 1, false));
    plans.push_back(decode_plan(dtype, true, false, 32768, 64, 1, !is_f16));
    if (!is_f16) plans.push_back(decode_plan(dtype, true, false, 32768, 64, 4, false));
  }
  for (const int64_t length : {4096, 32768}) plans.push_back(decode_plan(DType::kF32, false, true, length, 64, 1, length == 32768));
  plans.push_back(decode_plan(DType::kF32, false, true, 32768, 64, 4, false));
  plans.push_back(decode_plan(DType::kF32, false, true, 32768, 128, 1, false));
  plans.push_back(decode_plan(DType::kF32, false, false, 32768, 64, 1, false));
  for (const WeightStorage storage : {WeightStorage::kF32, WeightStorage::kBF16, WeightStorage::kInt8}) {
    plans.push_back(linear_plan(storage, 4096, 4096));
    plans.push_back(linear_plan(storage, 1024, 2816));
  }
  for (const bool is_gradient : {false, true}) plans.push_back(graph_plan(is_gradient));
  return plans;
}

AttentionCase run_bandwidth(const BandwidthPlan& plan, const Backend& backend, const AttentionOptions& options) {
  AttentionCase out;
  out.name = plan.name;
  out.limit = "read";
  const bool is_decode = plan.kind == BandwidthPlan::Kind::kDecode;
  const int64_t bytes = bytes_of(plan);
  const int64_t copies = std::max<int64_t>(2, (int64_t{200} << 20) / bytes);  // together larger than the last-level cache
  out.work = static_cast<double>(bytes);
  std::vector<std::unique_ptr<Stream>> streams;
  for (int64_t copy = 0; copy < copies; ++copy) {
    streams.push_back(stream_of(plan, backend, static_cast<uint32_t>(copy * 10'000)));
  }
  out.driver = streams[0]->driver(cpu::this_machine(backend.isa));
  const int64_t stretch = std::min(bytes, int64_t{256} << 20);  // bytes of a plain read
  const Tensor other = random_tensor({copies * stretch / 4}, 3);
  ItemPairs items(backend.isa, other, bytes / plan.key_heads * std::min<int64_t>(1024, plan.length) / plan.length);  // 1,024 keys of a head
  std::vector<MeasuredPair> calls;
  std::vector<double> seconds, rates;
  const auto start = Clock::now();
  for (int64_t run = 0; run < 6 || (seconds_since(start) < options.seconds_per_case && run < 10'000); ++run) {
    Stream& now = *streams[static_cast<size_t>(run % copies)];
    if (is_decode && run % 2 == 1) {
      cpu::observe_items(&items);
      now.run(backend);
      cpu::observe_items(nullptr);
      continue;
    }
    const auto begin = Clock::now();
    now.run(backend);
    const double kernel = seconds_since(begin), plain = time_read(backend.isa, other.data<float>() + run % copies * (stretch / 4), stretch);
    const double read = plain * out.work / static_cast<double>(stretch);
    if (run < 2) continue;
    calls.push_back({read / kernel, out.work / read});
    seconds.push_back(kernel), rates.push_back(out.work / read);
  }
  const std::vector<MeasuredPair> pairs = is_decode && !items.pairs().empty() ? items.pairs() : calls;
  out.modes = modes_of(pairs);
  out.wall_seconds = median(seconds);
  out.limit_value = median(rates);
  out.wall_fraction_of_limit = mode_of(calls).fraction;
  out.fraction_of_limit = mode_of(pairs).fraction;
  out.seconds = out.work / (out.fraction_of_limit * out.limit_value);
  const bool in_bf16 = plan.query_dtype == DType::kBF16 && backend.isa == InstructionSet::kAvx512;
  const cpu::Products products = in_bf16 ? cpu::bf16_products() : cpu::Products::kF32;  // the peak of matrix instructions is out of reach
  if (flops_of(plan) > 4 * out.work && products != cpu::Products::kAmx)
    out.roofline = roofline_of(plan, backend, products == cpu::Products::kBf16Dot, out);
  return out;
}

}  // namespace clearhead::bench
