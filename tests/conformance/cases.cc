#include "cases.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/dispatch.h"
#include "make_case.h"
#include "spec/page_rows.h"

namespace clearhead::conformance {
namespace {

// The values of each factor (make_case.h). A case has one value of each factor.
const std::vector<std::vector<std::string>> kFactors = {
    {"no terms",
     "alibi",
     "soft_cap",
     "dense bhqk",
     "dense 1hqk",
     "dense b11k",
     "dense 11qk",
     "dense 1h1k",
     "dense 11qk transposed",
     "alibi+soft_cap",
     "soft_cap+alibi",
     "soft_cap+dense bhqk",
     "dense 11qk+soft_cap",
     "alibi+dense b1qk",
     "dense 11qk+dense 1h1k",
     "rule line",
     "rule score",
     "rule pair",
     "rule line+soft_cap",
     "dense b1qk+rule score",
     "rule pair+rule line"},
    {"full", "causal end", "causal start", "causal back 40", "causal start offset 9", "causal end back 30 offset -5", "window 3 0",
     "window 2 5", "window 60 1 start"},
    {"no segments", "documents", "documents 1", "key padding", "negative ids"},
    {"no mask", "mask bhqk", "mask 11qk", "mask b11k", "mask 1h1k", "mask 11qk transposed"},
    {"no lists", "edges", "edges bh with bias", "blocks 1x16", "blocks 16x24 h with bias", "blocks 64x64 b", "blocks 50x8"},
    {"no visibility", "visible causal", "visible window", "visible stripes", "visible blocks"},
    {"softmax", "sinks", "sparsemax", "entmax15", "sigmoid", "hard", "hard, drawn", "linear"},
    {"nothing after", "dropout", "head mask", "gaussian", "dropout, head mask, gaussian"},
    {"scale null", "scale 0.05", "scale -0.3", "additive tanh", "additive tanh h", "additive leaky_relu h", "relative reach 3",
     "relative reach 40 h, all", "relative reach 2000, all, scale 0.05"},
    {"heads 1/1", "heads 2/2", "heads 4/2", "heads 6/1", "heads 3/3"},
    {"d 64/64", "d 1/1", "d 32/48", "d 80/16", "d 7/5", "d 128/33", "d 16/96"},
    {"1x1", "1x48", "1x257", "3x300", "48x48", "49x49", "17x256", "50x257", "97x97", "0x5", "5x0", "13x7", "100x300", "1x1500", "131x131",
     "2x1025", "193x40"},
    {"contiguous", "length first", "channels apart", "unaligned", "pages", "pages bf16", "pages f16, length first", "q shared by heads"},
    {"batch 1", "batch 3"},
    {"sizes 1", "sizes 6", "sizes 0.01"},
    {"f32", "bf16", "f16"}};

using Choice = std::vector<size_t>;

// Greedy pairwise covering: each case starts from an uncovered pair and picks, for every other
// factor, the value that covers most new pairs.
class Covering {
 public:
  std::vector<Choice> make() {
    const size_t factors = kFactors.size();
    covered_.assign(factors * factors, {});
    size_t left = 0;
    for (size_t a = 0; a < factors; ++a) {
      for (size_t b = a + 1; b < factors; ++b) {
        covered_[a * factors + b].assign(kFactors[a].size() * kFactors[b].size(), false);
        left += covered_[a * factors + b].size();
      }
    }
    std::vector<Choice> chosen;
    while (left > 0) {
      chosen.push_back(next());
      left -= mark(chosen.back());
    }
    return chosen;
  }

 private:
  std::vector<bool>::reference pair(size_t a, size_t value_a, size_t b, size_t value_b) {
    if (a > b) return pair(b, value_b, a, value_a);
    return covered_[a * kFactors.size() + b][value_a * kFactors[b].size() + value_b];
  }

  Choice next() {
    constexpr size_t kUnset = ~size_t{0};
    Choice choice(kFactors.size(), kUnset);
    for (size_t at = 0; choice[0] == kUnset && at < covered_.size(); ++at) {  // any uncovered pair sets the first two factors
      const auto open = std::find(covered_[at].begin(), covered_[at].end(), false);
      if (open == covered_[at].end()) continue;
      const size_t a = at / kFactors.size(), b = at % kFactors.size(), index = static_cast<size_t>(open - covered_[at].begin());
      choice[a] = index / kFactors[b].size();
      choice[b] = index % kFactors[b].size();
      break;
    }
    std::vector<size_t> order(kFactors.size());
    for (size_t f = 0; f < order.size(); ++f) order[f] = f;
    std::shuffle(order.begin(), order.end(), random_);
    for (const size_t f : order) {
      if (choice[f] != kUnset) continue;
      size_t best = 0, best_gain = 0;
      const size_t start = random_() % kFactors[f].size();
      for (size_t n = 0; n < kFactors[f].size(); ++n) {
        const size_t value = (start + n) % kFactors[f].size();
        size_t gain = 1;
        for (size_t g = 0; g < choice.size(); ++g) gain += g != f && choice[g] != kUnset && !pair(f, value, g, choice[g]);
        if (gain > best_gain) best = value, best_gain = gain;
      }
      choice[f] = best;
    }
    return choice;
  }

  size_t mark(const Choice& choice) {
    size_t fresh = 0;
    for (size_t a = 0; a < choice.size(); ++a) {
      for (size_t b = a + 1; b < choice.size(); ++b) {
        auto seen = pair(a, choice[a], b, choice[b]);
        fresh += !seen;
        seen = true;
      }
    }
    return fresh;
  }

  std::vector<std::vector<bool>> covered_;  // [factor a, factor b][value of a, value of b]
  Random random_{20240229};
};

// Plain calls, longer than a block of queries and a tile of keys, with one factor changed at a time. Kernels have fast paths for calls with
// only one term, one layout or one normaliser; a case that differs in every factor never reaches them.
std::vector<Values> steps_from_plain_calls() {
  std::vector<Values> all;
  for (const std::string type : {"f32", "bf16"}) {
    for (const std::string band : {"full", "causal end"}) {
      const Values plain = plain_but(
          {{kBand, band}, {kHeads, "heads 1/1"}, {kWidths, "d 64/64"}, {kLengths, "100x300"}, {kBatch, "batch 1"}, {kDType, type}});
      all.push_back(plain);
      for (const size_t factor : {kTerms, kSegments, kMask, kLists, kVisibility, kNormaliser, kAfter, kPair, kHeads, kWidths, kLengths,
                                  kLayout, kBatch, kSizes}) {
        for (const std::string& value : kFactors[factor]) {
          if (value == plain[factor]) continue;
          all.push_back(plain);
          all.back()[factor] = value;
        }
      }
      // Several blocks and tiles; keys split into chunks; decoding from every layout.
      const auto add_long = [&](const std::string& lengths, const std::string& heads, const std::string& layout) {
        all.push_back(plain);
        all.back()[kLengths] = lengths, all.back()[kHeads] = heads, all.back()[kLayout] = layout;
      };
      for (const std::string lengths : {"300x700", "60x4500"}) add_long(lengths, "heads 1/1", "contiguous");
      for (const std::string lengths : {"1x5000", "12x5000"}) {
        for (const std::string& layout : kFactors[kLayout]) add_long(lengths, "heads 2/1", layout);
      }
    }
  }
  return all;
}

// All bits set: NaN in every floating dtype, so that elements that are never written are detected.
Tensor unwritten(Shape shape, DType dtype) {
  Tensor tensor = Tensor::empty(std::move(shape), dtype);
  if (tensor.numel() > 0) std::memset(tensor.mutable_raw(), 0xFF, tensor.bytes());
  return tensor;
}

Tensor part(const Tensor& operand, int axis, Range range) {
  return operand.size(axis) == 1 ? operand : operand.slice(axis, range.begin, range.end);
}

}  // namespace

const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> built;
    for (const Choice& choice : Covering().make()) {
      Values values;
      for (size_t f = 0; f < choice.size(); ++f) values.push_back(kFactors[f][choice[f]]);
      built.push_back(make_case(values, static_cast<uint32_t>(built.size() + 1)));
    }
    for (const Values& values : steps_from_plain_calls()) built.push_back(make_case(values, static_cast<uint32_t>(built.size() + 1)));
    return built;
  }();
  return all;
}

bool keeps_weights_in_bf16(const Backend& backend, const AttentionSpec& spec, const Tensor& q, const Keys& keys) {
  if (backend.isa != InstructionSet::kAvx512 || !std::holds_alternative<Softmax>(spec.normaliser)) return false;
  const AttentionRecord record{.spec = spec, .q = q, .keys = keys, .rows = {}, .query_length = q.size(2)};
  return cpu::choose_forward(cpu::facts_of(record, cpu::this_machine(backend.isa))).products != cpu::Products::kF32;
}

bool keeps_gradients_in_bf16(const Backend& backend, const Case& c) {
  if (backend.isa != InstructionSet::kAvx512) return false;
  const AttentionRecord record{.spec = c.spec, .q = c.q, .keys = c.keys, .rows = {}, .query_length = c.q.size(2)};
  cpu::CallFacts facts = cpu::facts_of(record, cpu::this_machine(backend.isa));
  facts.d_v = c.v.size(3);
  return cpu::choose_backward(facts).products != cpu::Products::kF32;
}

Tensor normal(Random& random, Shape shape, float deviation) {
  Tensor tensor = Tensor::empty(std::move(shape));
  if (tensor.numel() == 0) return tensor;
  float* values = tensor.mutable_data<float>();
  // Sums of four uniforms: close enough to normal, and identical with every standard library.
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    double sum = -2;
    for (int n = 0; n < 4; ++n) sum += static_cast<double>(random()) * 0x1p-32;
    values[i] = deviation * static_cast<float>(sum * std::sqrt(3.0));
  }
  return tensor;
}

Result run(const Backend& backend, const AttentionSpec& spec, const Tensor& q, const Keys& keys, const Tensor& v, bool asks) {
  const int64_t width = v.defined() ? v.size(3) : std::get<PagedKV>(keys).d_v;
  Result result;
  result.out = unwritten({q.size(0), q.size(1), q.size(2), width}, q.dtype());
  AttentionRecord& record = result.record;
  record.spec = spec;
  record.q = q;
  record.keys = keys;
  record.query_length = q.size(2);
  record.rows = {.m = Tensor::zeros({q.size(0), q.size(1), q.size(2)}), .l = Tensor::zeros({q.size(0), q.size(1), q.size(2)})};
  record.stamp = stamp_now(spec, q, keys, backend.isa);
  if (asks) result.entropy = unwritten(record.rows.m.shape(), DType::kF32), result.distance = unwritten(record.rows.m.shape(), DType::kF32);
  backend.forward({.spec = spec,
                   .q = q,
                   .keys = record.keys,
                   .v = v,
                   .out = result.out,
                   .rows = record.rows,
                   .entropy = asks ? &result.entropy : nullptr,
                   .distance = asks ? &result.distance : nullptr});
  return result;
}

AttendGradients run_backward(const Backend& backend, const Result& forward, const Tensor& v, const GivenGradients& given,
                             const std::function<bool(const std::string& name)>& wants) {
  const AttentionRecord& record = forward.record;
  const auto like = [](const Tensor& tensor) { return unwritten(tensor.shape(), tensor.dtype()); };
  AttendGradients found{.q = like(record.q), .k = like(std::get<Tensor>(record.keys)), .v = like(v)};
  for_each_operand(record.spec, [&](const std::string& name, const Tensor& operand) {
    found.operands.push_back(operand.dtype() == DType::kF32 && (!wants || wants(name)) ? like(operand) : Tensor());
  });
  backend.backward({.record = record,
                    .v = v,
                    .out = forward.out,
                    .d_out = given.out,
                    .d_log_sum_exp = given.log_sum_exp,
                    .d_q = found.q,
                    .d_k = found.k,
                    .d_v = found.v,
                    .d_operands = found.operands});
  return found;
}

std::vector<float> look(const Backend& backend, const AttentionRecord& record, int64_t batch, int64_t head,
                        const std::vector<int64_t>& rows, Range keys, WeightsCall::Quantity quantity, bool after, LookPrecision precision) {
  std::vector<float> out(rows.size() * static_cast<size_t>(keys.size()), -1);
  if (out.empty()) return out;
  backend.weights({.record = record,
                   .batch = batch,
                   .head = head,
                   .rows = rows.data(),
                   .row_count = static_cast<int64_t>(rows.size()),
                   .keys = keys,
                   .quantity = quantity,
                   .after = after,
                   .precision = precision,
                   .out = out.data(),
                   .out_stride = keys.size()});
  return out;
}

AttentionSpec restricted(const AttentionSpec& spec, int64_t batch, Range heads, Range queries, int64_t keys) {
  AttentionSpec small = spec;
  for_each_operand(small, [&](const std::string& name, Tensor& operand) {
    if (name.starts_with("additive") || name.starts_with("relative")) {
      operand = part(operand, 0, heads);
    } else if (name.starts_with("slopes") || name == "sinks" || name == "head_mask") {
      operand = operand.slice(0, heads.begin, heads.end);
    } else if (name.starts_with("block_sparse") || name.starts_with("edges")) {  // only used with all queries
      operand = part(part(operand, 0, {batch, batch + 1}), 1, heads);
    } else if (name.starts_with("rule") || name.starts_with("visible")) {
      if (operand.dtype() == DType::kF32) operand = operand.slice(0, heads.begin, heads.end);  // here the head axis is always the first
    } else if (name == "centres") {
      operand = part(part(operand, 0, {batch, batch + 1}), 1, heads).slice(2, queries.begin, queries.end);
    } else if (name.starts_with("segments")) {
      operand = part(operand, 0, {batch, batch + 1});
      operand = name == "segments.queries" ? operand.slice(1, queries.begin, queries.end) : operand.slice(1, 0, keys);
    } else {
      operand = part(part(part(operand, 0, {batch, batch + 1}), 1, heads), 2, queries).slice(3, 0, keys);
    }
  });
  return small;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor left = a.contiguous(), right = b.contiguous();
  return left.shape() == right.shape() && (left.numel() == 0 || std::memcmp(left.raw(), right.raw(), left.bytes()) == 0);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

Tensor with(const Tensor& tensor, int64_t position, float value) {
  Tensor copy = tensor.clone();
  float* first = copy.mutable_data<float>();
  for (int64_t h = 0; h < copy.size(1); ++h) std::fill_n(first + (h * copy.size(2) + position) * copy.size(3), copy.size(3), value);
  return copy;
}

std::vector<float> row_of(const Tensor& tensor, int64_t head, int64_t row) {
  const float* first = tensor.data<float>() + (head * tensor.size(2) + row) * tensor.size(3);
  return {first, first + tensor.size(3)};
}

PagedKV paged(const Tensor& k, const Tensor& v, DType dtype) {
  KVCache cache(dtype);
  int64_t at = 0;
  for (int64_t piece = 1; at < k.size(2); piece = piece * 3 + 1) {
    const int64_t end = std::min(k.size(2), at + piece);
    cache.append(k.slice(2, at, end), v.slice(2, at, end));
    at = end;
  }
  if (k.size(2) == 0) cache.append(k, v);
  return cache.snapshot();
}

std::string table_name(const Backend& backend) {
  const std::string name = backend.name;
  return name == to_string(backend.isa) ? name : name + "_" + to_string(backend.isa);
}

}  // namespace clearhead::conformance
