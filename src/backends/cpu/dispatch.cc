// The choice of drivers. Each condition states when a driver can compute a call, or when it is the fastest that can.
#include "backends/cpu/dispatch.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "backends/cpu/simd/amx.h"
#include "base/format.h"
#include "spec/visible.h"

namespace clearhead::cpu {
namespace {

template <class T>
bool is(const Normaliser& normaliser) {
  return std::holds_alternative<T>(normaliser);
}

// --- facts about descriptions ---------------------------------------------------------------------------------------

bool drops(const AttentionSpec& spec) { return spec.after.dropout && spec.after.dropout->rate > 0; }

// Dropout and the Gaussian give every (query, key) pair its own factor. Only drivers with queries in lanes apply such
// factors.
bool is_after_by_pair(const AttentionSpec& spec) { return drops(spec) || spec.after.gaussian; }

bool is_relative(const CallFacts& facts) { return std::holds_alternative<Relative>(facts.spec.score) && facts.d_k > 0; }

// Returns true if block-sparse lists are computed key by key, not by key tiles: if a query block has fewer queries than a vector
// has lanes, or the call has at most kDecodeQueries queries. Only for softmax without a relative score or factors per pair.
bool gathers(const CallFacts& facts) {
  const auto& lists = facts.spec.topology.block_sparse;
  const int64_t lanes = facts.machine.isa == InstructionSet::kAvx512 ? 16 : 8;
  return lists && is<Softmax>(facts.spec.normaliser) && !is_relative(facts) && !is_after_by_pair(facts.spec) &&
         (std::min(lists->query_block, std::max<int64_t>(1, facts.query_length)) < lanes || facts.queries <= kDecodeQueries);
}

// Returns true if running sums can compute the description with fewer operations than visiting its (query, key) pairs.
bool has_running_sums(const CallFacts& facts) {
  const auto& [band, segments, mask, lists, visible] = facts.spec.topology;
  if (!is<LinearAttention>(facts.spec.normaliser) || !std::holds_alternative<Dot>(facts.spec.score) || !facts.spec.terms.empty())
    return false;
  if (band.back || segments || mask || lists || visible || is_after_by_pair(facts.spec)) return false;
  return facts.queries * facts.keys * (facts.d_k + facts.d_v) > 2 * (2 * facts.keys + facts.queries) * facts.d_k * facts.d_v;
}

// Keys per chunk if there are too few rows to keep the threads busy; 0 if keys are not split. Chunks are long enough that
// packing and merging take less than 2 % of the time, and few enough to bound the memory of partial results.
int64_t split_of(const CallFacts& facts) {
  constexpr int64_t kRows = 192, kLeastKeys = 2048, kMostChunks = 8;
  if (facts.queries * facts.group > kRows || facts.keys < 2 * kLeastKeys) return 0;
  const int64_t even = (facts.keys + kMostChunks - 1) / kMostChunks;
  return std::max(kLeastKeys, (even + KVPage::kLength - 1) / KVPage::kLength * KVPage::kLength);
}

// Returns true if the leading keys that the band hides can be dropped without changing the result.
bool counts_from_the_end(const AttentionSpec& spec) {
  const auto& [band, segments, mask, lists, visible] = spec.topology;
  const auto counts = [](const Term& term) { return std::holds_alternative<Alibi>(term) || std::holds_alternative<SoftCap>(term); };
  return band.align == Align::kEnd && !segments && !mask && !lists && !visible &&
         std::all_of(spec.terms.begin(), spec.terms.end(), counts) && !spec.after.dropout && !spec.after.gaussian;
}

Range seen_keys(const CallFacts& facts) {
  if (!counts_from_the_end(facts.spec)) return {0, facts.keys};
  const Band& band = facts.spec.topology.band;
  const int64_t begin = visible_band(band, first_position(band, facts.queries, facts.keys), facts.keys).begin;
  return {begin / KVPage::kLength * KVPage::kLength, facts.keys};
}

// --- products -------------------------------------------------------------------------------------------------------

// Number of bf16 channels that one TDPBF16PS multiplies: 32 or 16; 0 if d is not a multiple of 16.
int64_t amx_channels(int64_t d) { return d % 32 == 0 ? 32 : d % 16 == 0 ? 16 : 0; }

// Returns true if the scores are dot products of bf16 operands and this machine has bf16 products.
bool may_multiply_bf16(const CallFacts& facts) {
  return facts.machine.isa == InstructionSet::kAvx512 && facts.machine.bf16 != Products::kF32 && facts.dtype == DType::kBF16 &&
         std::holds_alternative<Dot>(facts.spec.score) && facts.d_k > 0;
}

bool suits_amx(const CallFacts& facts) {
  return is<Softmax>(facts.spec.normaliser) && !facts.spec.topology.block_sparse && amx_channels(facts.d_k) > 0;
}

// The products for row-major keys. Linear attention stays in f32: its weights are its scores, so recomputed weights
// would show the rounding of the scores.
Products products_over_rows(const CallFacts& facts) {
  if (!may_multiply_bf16(facts)) return Products::kF32;
  const bool fits = facts.machine.bf16 == Products::kAmx ? suits_amx(facts) : !is<LinearAttention>(facts.spec.normaliser);
  return fits ? facts.machine.bf16 : Products::kF32;
}

// The products for few queries over KV pages. d_k must be a multiple of 16 for bf16 dot products too, not only for AMX.
Products products_over_pages(const CallFacts& facts) {
  const bool fits = may_multiply_bf16(facts) && facts.pages == DType::kBF16 && suits_amx(facts) && 1 < facts.queries &&
                    facts.queries <= kDecodeQueries && !is_after_by_pair(facts.spec);
  return fits ? facts.machine.bf16 : Products::kF32;
}

// --- forward --------------------------------------------------------------------------------------------------------

ForwardDriver forward_driver(const CallFacts& facts, Products products) {
  const Normaliser& normaliser = facts.spec.normaliser;
  const bool by_pair = is_after_by_pair(facts.spec), is_bf16 = products != Products::kF32;
  if (has_running_sums(facts)) return ForwardDriver::kChunkLinear;
  if (is<Sigmoid>(normaliser) || is<Hard>(normaliser) || is<LinearAttention>(normaliser)) return ForwardDriver::kOnePass;
  if (is<Sparsemax>(normaliser) || is<Entmax15>(normaliser)) return ForwardDriver::kSparsemax;
  if (is_bf16 && facts.pages) return ForwardDriver::kDecodeBf16;
  if (gathers(facts)) return ForwardDriver::kGather;
  if (facts.queries <= kDecodeQueries && !is_relative(facts) && !by_pair) return ForwardDriver::kDecode;
  if (split_of(facts) > 0) return ForwardDriver::kSplitKv;
  if (is_bf16 && !by_pair) return ForwardDriver::kFlashBf16;
  return ForwardDriver::kFlash;
}

// For many bf16 queries over bf16 pages (a prompt or a part of one), the visible keys are copied to rows, which bf16
// products read directly. Returns the facts of the call over those rows.
std::optional<CallFacts> over_rows(const CallFacts& facts) {
  if (facts.pages != DType::kBF16 || facts.queries <= kDecodeQueries || facts.queries > facts.keys) return std::nullopt;
  if (products_over_rows(facts) == Products::kF32) return std::nullopt;
  CallFacts out = facts;
  out.pages.reset();
  out.keys = seen_keys(facts).size();
  return out;
}

}  // namespace

ForwardChoice choose_forward(const CallFacts& facts) {
  if (const std::optional<CallFacts> rows = over_rows(facts)) {
    ForwardChoice choice = choose_forward(*rows);
    choice.page_rows = seen_keys(facts);
    return choice;
  }
  ForwardChoice choice;
  choice.products = facts.pages ? products_over_pages(facts) : products_over_rows(facts);
  choice.driver = forward_driver(facts, choice.products);
  if (choice.driver == ForwardDriver::kSplitKv) choice.split_keys = split_of(facts);
  return choice;
}

bool takes_bf16_values(ForwardDriver driver) { return driver == ForwardDriver::kFlashBf16; }
bool sums_rows(ForwardDriver driver) { return driver == ForwardDriver::kFlashBf16 || driver == ForwardDriver::kFlash; }

// --- backward -------------------------------------------------------------------------------------------------------

BackwardChoice choose_backward(const CallFacts& facts) {
  const AfterNormaliser& after = facts.spec.after;
  const bool is_plain = is<Softmax>(facts.spec.normaliser) && !drops(facts.spec) && !after.head_mask && !after.gaussian;
  if (has_running_sums(facts) && !after.head_mask) return {BackwardDriver::kChunkLinear, Products::kF32};
  // kGather cannot compute the gradient of a dense bias, because two strips may add to the same entry.
  if (gathers(facts) && !std::holds_alternative<Additive>(facts.spec.score) && !facts.wants_bias_gradient)
    return {BackwardDriver::kGather, Products::kF32};
  if (!is_plain) return {BackwardDriver::kFlashGeneral, Products::kF32};
  const Products products = facts.spec.topology.block_sparse ? Products::kF32 : products_over_rows(facts);
  // AMX multiplies dO by V in steps of the same number of channels as Q by K.
  const bool fits = products != Products::kAmx || (facts.d_v > 0 && amx_channels(facts.d_v) >= amx_channels(facts.d_k));
  if (products == Products::kF32 || !fits) return {BackwardDriver::kFlash, Products::kF32};
  return {BackwardDriver::kFlashBf16, products};
}

// --- looks ----------------------------------------------------------------------------------------------------------

Products choose_look(const CallFacts& facts) { return facts.pages ? Products::kF32 : products_over_rows(facts); }

ReductionChoice choose_reduction(const CallFacts& facts) {
  const bool is_after = facts.after && (is_after_by_pair(facts.spec) || facts.spec.after.head_mask);
  const bool by_list = gathers(facts) && !facts.rounded && !is_after;
  return {by_list ? ReductionDriver::kGather : ReductionDriver::kTiles, choose_look(facts)};
}

// --- facts of a call ------------------------------------------------------------------------------------------------

namespace {

CallFacts facts_of(const AttentionSpec& spec, const Tensor& q, const Keys& keys, Machine machine) {
  CallFacts facts{.spec = spec, .machine = machine};
  facts.queries = facts.query_length = q.size(2);
  facts.keys = key_length(keys);
  facts.d_k = q.size(3);
  facts.group = q.size(1) / std::max<int64_t>(1, key_heads(keys));
  facts.dtype = q.dtype();
  if (const auto* paged = std::get_if<PagedKV>(&keys)) facts.pages = paged->dtype;
  return facts;
}

}  // namespace

CallFacts facts_of(const ForwardCall& call, Machine machine) {
  CallFacts facts = facts_of(call.spec, call.q, call.keys, machine);
  facts.d_v = call.out.size(3);
  return facts;
}

CallFacts facts_of(const AttentionRecord& record, Machine machine) {
  CallFacts facts = facts_of(record.spec, record.q, record.keys, machine);
  facts.query_length = record.query_length;
  return facts;
}

CallFacts facts_of(const BackwardCall& call, Machine machine) {
  CallFacts facts = facts_of(call.record, machine);
  facts.d_v = call.v.size(3);
  for (const Term& term : call.record.spec.terms) {
    const auto* bias = std::get_if<AttentionBias>(&term);
    facts.wants_bias_gradient = facts.wants_bias_gradient || (bias && gradient_of(call, bias->bias));
  }
  return facts;
}

CallFacts facts_of(const SweepCall& call, Machine machine) {
  CallFacts facts = facts_of(call.record, machine);
  facts.after = call.after;
  facts.rounded = call.record.rows.used.defined() && call.precision == LookPrecision::kAsUsed;
  return facts;
}

ForwardDriver driver_of(const AttentionRecord& record) {
  // `used` is defined only if the driver rounded P to bf16; that driver is the same for dot products and AMX. The choice among the
  // other drivers does not depend on the products.
  const Products products = record.rows.used.defined() ? Products::kBf16Dot : Products::kF32;
  CallFacts facts = facts_of(record, {record.stamp.isa, record.stamp.isa == InstructionSet::kAvx512 ? products : Products::kF32});
  facts.queries = record.query_length;
  facts.d_v = facts.d_k;
  return choose_forward(facts).driver;
}

// --- machines and names ---------------------------------------------------------------------------------------------

Products bf16_products() {
  static const Products products = [] {
    const bool dot = __builtin_cpu_supports("avx512bf16") != 0, amx = dot && has_amx_bf16();
    const char* asked = std::getenv("CLEARHEAD_BF16");
    const std::string_view wanted = asked ? asked : "";
    if (wanted.empty()) return amx ? Products::kAmx : dot && !__builtin_cpu_is("intel") ? Products::kBf16Dot : Products::kF32;
    if (wanted == "widen") return Products::kF32;
    if (wanted != "dot" && wanted != "amx") fail(ErrorCode::kUnsupported, "CLEARHEAD_BF16 is \"{}\"; expected amx, dot or widen", wanted);
    if (!(wanted == "dot" ? dot : amx))
      fail(ErrorCode::kUnsupported, "CLEARHEAD_BF16={}: this machine has no {}; leave the variable unset", wanted,
           wanted == "dot" ? "VDPBF16PS" : "TDPBF16PS");
    return wanted == "dot" ? Products::kBf16Dot : Products::kAmx;
  }();
  return products;
}

Machine this_machine(InstructionSet isa) {
  // Called under AVX2 too, so that a value of CLEARHEAD_BF16 that this machine cannot satisfy is always refused.
  const Products products = bf16_products();
  return {isa, isa == InstructionSet::kAvx512 ? products : Products::kF32};
}

const char* to_string(Products products) {
  switch (products) {
    case Products::kF32: return "f32";
    case Products::kBf16Dot: return "bf16 dot";
    case Products::kAmx: return "AMX";
  }
  return "";
}

const char* to_string(ForwardDriver driver) {
  switch (driver) {
    case ForwardDriver::kChunkLinear: return "chunk_linear";
    case ForwardDriver::kOnePass: return "one_pass";
    case ForwardDriver::kSparsemax: return "sparsemax";
    case ForwardDriver::kDecodeBf16: return "decode_bf16";
    case ForwardDriver::kGather: return "gather";
    case ForwardDriver::kDecode: return "decode";
    case ForwardDriver::kSplitKv: return "split_kv";
    case ForwardDriver::kFlashBf16: return "flash_bf16";
    case ForwardDriver::kFlash: return "flash";
  }
  return "";
}

const char* to_string(BackwardDriver driver) {
  switch (driver) {
    case BackwardDriver::kChunkLinear: return "chunk_linear";
    case BackwardDriver::kGather: return "gather";
    case BackwardDriver::kFlashBf16: return "flash_bf16";
    case BackwardDriver::kFlashGeneral: return "flash_general";
    case BackwardDriver::kFlash: return "flash";
  }
  return "";
}

const char* to_string(ReductionDriver driver) { return driver == ReductionDriver::kGather ? "gather" : "tiles"; }

}  // namespace clearhead::cpu
