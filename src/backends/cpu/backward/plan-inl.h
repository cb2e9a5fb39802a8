// The plan of a backward call, resolved before its parallel loop, and the operands and destinations of one strip of one
// head. Included once per target.
//
// A strip is a range of rows of one head; its length depends on the widths and the products alone. A chain is a sequence of strips whose
// order must be kept (backward.cc). A sum to which several strips or chains contribute has a separate accumulator for
// each; the accumulators are added in order at the end.
#if defined(CLEARHEAD_CPU_BACKWARD_PLAN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_BACKWARD_PLAN_INL_H_
#undef CLEARHEAD_CPU_BACKWARD_PLAN_INL_H_
#else
#define CLEARHEAD_CPU_BACKWARD_PLAN_INL_H_
#endif

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "backends/cpu/backward/chunk-inl.h"
#include "spec/score_function.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// Bytes for a strip's rows and their gradients: half of L2, which also holds a chunk's keys and P. Processors with AMX
// have twice the L2. dK and dV, which rarely fit in it, are read and written once per strip: long strips save traffic.
inline constexpr int64_t kStripBytes = 480 * 1024, kAmxStripBytes = 2 * kStripBytes;
// The maximum number of blocks of a strip.
inline constexpr int64_t kMostBlocks = 24, kMostBlocksWithoutAmx = 12;

// Number of blocks of a strip: a multiple of the number that is processed together. Depends on the widths and the products.
inline int64_t strip_blocks(int64_t d_k, int64_t d_v, bool is_bf16, bool by_amx) {
  const int64_t floats = is_bf16 ? 2 * d_k + d_v : 3 * d_k + 2 * d_v, bytes = floats * kBlock * static_cast<int64_t>(sizeof(float));
  const int64_t together = is_bf16 ? kParts<Bf16DotStep> : kParts<DotStep>;
  const int64_t room = by_amx ? kAmxStripBytes : kStripBytes, most = by_amx ? kMostBlocks : kMostBlocksWithoutAmx;
  return std::clamp<int64_t>(room / bytes / together * together, together, most);
}

// A rule that does not pass dS through unchanged, or that has tables whose gradients are wanted. With such tables, a chain
// runs on one thread and has its own sums, because any (query, key) pair may look up any entry.
struct RulePlan {
  RuleReverse reverse;
  std::vector<Tensor*> d_tables;     // [table]: null if not wanted
  std::vector<int64_t> first_entry;  // [table]: index of its first sum among a chain's sums
};

// The data that a call resolves before its parallel loop.
struct BackwardPlan {
  const BackwardCall& call;
  ScoreProblem problem;
  Tensor values, d_out;  // row-major with adjacent channels; d_out for bf16 only
  int64_t rows, keys, d_k, d_v, strip_rows, strips, chunks;
  bool is_bf16;  // Way::kBf16Dot or Way::kAmx
  float scale;
  float *d_q = nullptr, *d_k_data = nullptr, *d_v_data = nullptr;
  std::vector<Tensor*> d_terms;  // [term]: gradient of its operand; null if not wanted
  std::vector<float*> d_terms_data;
  std::vector<std::unique_ptr<RulePlan>> rules;  // [term]
  int64_t entries = 0;                           // number of entries of all tables whose gradients are wanted
  std::vector<double> entry_sums;                // [chain][entry]
  bool is_additive = false, has_weight = false;
  Tensor* d_weight = nullptr;       // gradient of additive weights, or of a relative score's query bias
  std::vector<double> weight_sums;  // [batch·head][strip][d_k]
  // The tables of a relative score: keys, queries, values. If their gradients are wanted, a chain runs on one thread, and
  // each head has its own sums.
  struct OffsetTable {
    Tensor* gradient = nullptr;
    int64_t floats = 0;
    std::vector<float> sums{};  // [batch·head][floats]
    float* of(int64_t index) { return gradient ? sums.data() + index * floats : nullptr; }
  };
  std::array<OffsetTable, 3> offset_tables{};
  Tensor *d_sinks = nullptr, *d_mask = nullptr, *d_centres = nullptr;
  std::vector<double> centre_sums;  // [batch·head][row], if wanted
  std::vector<Range> seen;          // [strip]: the chunks that its band shows
  // True if several threads may run a chain. False if two of them might add to the same entry.
  bool abreast = true;
  // Number of heads of a chain, over all sequences, and number of chains. Chain c has the heads whose index batch·heads + head is in
  // [c·chain_heads, (c + 1)·chain_heads).
  int64_t chain_heads, chains;
  std::vector<double> sums;     // [batch·head][strip][term, then sink and head mask]
  std::vector<uint8_t> finite;  // [batch·head][strip]: whether its dQ is finite

  BackwardPlan(const BackwardCall& backward, const BackwardChoice& choice);
  int64_t heads() const { return problem.heads(); }
  int64_t strips_of_chain() const { return chain_heads * strips; }
  Range rows_of(int64_t strip) const { return {strip * strip_rows, std::min(rows, (strip + 1) * strip_rows)}; }
  int64_t sums_of(int64_t index, int64_t strip) const { return (index * strips + strip) * static_cast<int64_t>(d_terms.size() + 2); }
  Tensor* gradient_of(const Tensor& operand) const { return clearhead::gradient_of(call, operand); }

 private:
  void find_operands();
  void find_rule(const Rule& rule);
  void find_offset_tables(const Relative& pair);
  void find_seen();
};

inline BackwardPlan::BackwardPlan(const BackwardCall& backward, const BackwardChoice& choice)
    : call(backward),
      problem(backward.record.spec, backward.record.q, backward.record.keys, 0, backward.record.query_length, choice.products),
      rows(backward.record.query_length),
      keys(key_length(backward.record.keys)),
      d_k(backward.record.q.size(3)),
      d_v(backward.v.size(3)),
      strip_rows(strip_blocks(d_k, d_v, problem.is_bf16(), problem.uses_amx()) * kBlock),
      strips((rows + strip_rows - 1) / strip_rows),
      chunks((keys + kChunkKeys - 1) / kChunkKeys),
      is_bf16(problem.is_bf16()) {
  scale = static_cast<float>(scale_of(call.record.spec.score, d_k));
  values = is_bf16 ? bf16_words(call.v) : d_v <= 1 || call.v.stride(3) == 1 ? call.v : call.v.contiguous();
  if (is_bf16) d_out = bf16_words(call.d_out);
  d_q = call.d_q.mutable_data<float>();
  d_k_data = call.d_k.mutable_data<float>();
  d_v_data = call.d_v.mutable_data<float>();
  chain_heads = problem.group();
  find_operands();
  chains = problem.batch() * heads() / std::max<int64_t>(1, chain_heads);
  const size_t items = static_cast<size_t>(problem.batch() * heads() * strips);
  sums.assign(items * (d_terms.size() + 2), 0);
  entry_sums.assign(static_cast<size_t>(chains * entries), 0);
  if (has_weight) weight_sums.assign(items * static_cast<size_t>(d_k), 0);
  if (d_centres) centre_sums.assign(static_cast<size_t>(problem.batch() * heads() * rows), 0);
  finite.assign(items, 1);
  read_offsets(problem);
  find_seen();
}

inline void BackwardPlan::find_operands() {
  const Additive* additive = std::get_if<Additive>(&call.record.spec.score);
  is_additive = additive != nullptr;
  if (additive) d_weight = gradient_of(additive->weight);
  has_weight = is_additive;
  if (const auto* relative = std::get_if<Relative>(&call.record.spec.score)) find_offset_tables(*relative);
  for (const Term& term : call.record.spec.terms) {
    Tensor* gradient = nullptr;
    if (const auto* alibi = std::get_if<Alibi>(&term)) gradient = gradient_of(alibi->slopes);
    if (const auto* dense = std::get_if<AttentionBias>(&term)) {
      gradient = gradient_of(dense->bias);
    }
    if (const auto* edges = std::get_if<EdgeBias>(&term)) gradient = gradient_of(edges->bias);
    if (gradient && gradient->rank() > 1) {
      if (gradient->size(1) == 1) chain_heads = std::max(chain_heads, heads());
      if (gradient->size(0) == 1) chain_heads = heads() * problem.batch();
    }
    if (gradient && gradient->rank() == 3) {
      // An EdgeBias. Threads may share a chain if the keys of each list entry lie in one chunk, which strips and heads visit
      // one after another, or if its queries lie in one strip. The latter is not enough if several heads share the bias:
      // they would write to an element at the same time.
      const BlockSparse& lists = *call.record.spec.topology.block_sparse;
      const bool is_shared = gradient->size(0) < problem.batch() || gradient->size(1) < heads();
      abreast = abreast && (kChunkKeys % lists.key_block == 0 || (strip_rows % lists.query_block == 0 && !is_shared));
    }
    rules.emplace_back();
    if (const auto* rule = std::get_if<Rule>(&term)) find_rule(*rule);
    d_terms.push_back(gradient);
    d_terms_data.push_back(gradient && gradient->numel() > 0 ? gradient->mutable_data<float>() : nullptr);
  }
  const Softmax* softmax = std::get_if<Softmax>(&call.record.spec.normaliser);
  if (softmax && softmax->sinks) d_sinks = gradient_of(*softmax->sinks);
  const AfterNormaliser& after = call.record.spec.after;
  if (after.head_mask) d_mask = gradient_of(*after.head_mask);
  if (after.gaussian) d_centres = gradient_of(after.gaussian->centres);
}

// Adds an entry to d_terms, because the tables of a relative score are the first of a view's terms.
inline void BackwardPlan::find_offset_tables(const Relative& pair) {
  d_terms.push_back(nullptr);
  d_terms_data.push_back(nullptr);
  rules.emplace_back();
  has_weight = pair.query_bias.has_value();
  if (pair.query_bias) d_weight = gradient_of(*pair.query_bias);
  const std::array<const Tensor*, 3> tables = {&pair.keys, pair.queries ? &*pair.queries : nullptr, pair.values ? &*pair.values : nullptr};
  for (size_t i = 0; i < tables.size(); ++i) {
    OffsetTable& to = offset_tables[i];
    to.gradient = tables[i] ? gradient_of(*tables[i]) : nullptr;
    if (!to.gradient) continue;
    to.floats = to.gradient->size(1) * to.gradient->size(2);
    to.sums.assign(static_cast<size_t>(problem.batch() * heads() * to.floats), 0);
    abreast = false;
  }
}

inline void BackwardPlan::find_rule(const Rule& rule) {
  constexpr int64_t kMostSums = int64_t{1} << 24;  // doubles; with more, all heads are one chain
  std::vector<Tensor*> d_tables;
  std::vector<int64_t> first_entry;
  std::vector<bool> wanted;
  for (const Tensor& table : rule.tables) {
    d_tables.push_back(table.dtype() == DType::kF32 ? gradient_of(table) : nullptr);
    first_entry.push_back(entries);
    wanted.push_back(d_tables.back() != nullptr);
    if (wanted.back()) entries += table.numel();
  }
  const bool any = std::find(wanted.begin(), wanted.end(), true) != wanted.end();
  if (any) abreast = false;
  if (entries * problem.batch() * heads() / problem.group() > kMostSums) chain_heads = heads() * problem.batch();
  const RuleProgram program(rule, /*is_visibility=*/false);
  if (!any && (program.adds || program.subtracts)) return;
  rules.back() = std::make_unique<RulePlan>(RulePlan{RuleReverse(rule, std::move(wanted)), std::move(d_tables), std::move(first_entry)});
}

inline void BackwardPlan::find_seen() {
  if (problem.batch() * heads() == 0) return;
  const ScoreView view = problem.view(0, 0);
  for (int64_t strip = 0; strip < strips; ++strip) {
    const Range of = rows_of(strip);
    // A band moves with its query, so the first row's band begins first and the last row's band ends last.
    const int64_t begin = view.band_of(of.begin).begin, end = view.band_of(of.end - 1).end;
    seen.push_back({begin / kChunkKeys, std::max(begin / kChunkKeys, (end + kChunkKeys - 1) / kChunkKeys)});
  }
}

// --- a strip --------------------------------------------------------------------------------------------------------

// One strip of one head: its operands, and the destinations of its gradients.
struct StripTerms {
  const BackwardPlan& plan;
  int64_t batch, head, index, strip;  // index: batch·heads + head
  ScoreView view;
  KeySide keys;
  std::vector<TermGradient> wanted;
  struct RuleRoom {
    std::vector<float> scalars{};
    std::vector<double> d_scalars{};
    std::vector<double*> d_tables{};
  };
  std::vector<RuleRoom> rules;  // [term]
  double* sums;                 // [term, then sink and head mask]

  StripTerms(BackwardPlan& backward, int64_t head_index, int64_t which)
      : plan(backward),
        batch(head_index / backward.heads()),
        head(head_index % backward.heads()),
        index(head_index),
        strip(which),
        view(backward.problem.view(batch, head)),
        sums(backward.sums.data() + backward.sums_of(index, strip)) {
    const int64_t key_head = (batch * (plan.heads() / plan.problem.group()) + view.key_head) * plan.keys;
    const int64_t of_word = plan.is_bf16 ? 2 : 1, first_value = batch * plan.values.stride(0) + view.key_head * plan.values.stride(1);
    keys.values = reinterpret_cast<const float*>(plan.values.raw()) + first_value / of_word;
    keys.value_stride = plan.values.stride(2) / of_word;
    keys.value_words = plan.values.size(3) / of_word;
    keys.d_k = plan.d_k;
    keys.d_v = plan.d_v;
    keys.d_keys = plan.d_k_data + key_head * plan.d_k;
    keys.d_values = plan.d_v_data + key_head * plan.d_v;
    keys.scale = plan.scale;
    keys.d_offset_keys = backward.offset_tables[0].of(index);
    keys.d_offset_queries = backward.offset_tables[1].of(index);
    keys.d_offset_values = backward.offset_tables[2].of(index);
    if (plan.has_weight) {
      keys.d_weight = backward.weight_sums.data() + (index * plan.strips + strip) * plan.d_k;
      std::fill_n(keys.d_weight, plan.d_k, 0.0);
    }
    std::fill(sums, sums + plan.d_terms.size() + 2, 0.0);
    rules.resize(plan.d_terms.size());
    for (size_t t = 0; t < plan.d_terms.size(); ++t) {
      wanted.push_back(plan.rules[t] ? gradient_of_rule(t, backward) : gradient_of_term(t));
    }
  }

  TermGradient gradient_of_rule(size_t term, BackwardPlan& backward) {
    const RulePlan& of = *plan.rules[term];
    RuleRoom& room = rules[term];
    const auto count = static_cast<size_t>(of.reverse.scalar_count());
    room.scalars.resize(count * RuleProgram::kScalarFloats);
    room.d_scalars.assign(count, 0);
    of.reverse.write_scalars(batch, head, room.scalars.data());
    double* sums = backward.entry_sums.data() + index / plan.chain_heads * plan.entries;
    for (const int64_t first : of.first_entry) room.d_tables.push_back(sums + first);
    TermGradient out;
    out.rule = &of.reverse;
    out.rule_scalars = room.scalars.data();
    out.d_scalars = room.d_scalars.data();
    out.d_tables = room.d_tables.data();
    return out;
  }
  // Must be called after the strip's last chunk. Propagates the gradients of a rule's scalars to the table entries that
  // they were computed from.
  void finish_rules() const {
    for (size_t t = 0; t < rules.size(); ++t) {
      if (plan.rules[t]) plan.rules[t]->reverse.add_scalar_gradients(batch, head, rules[t].d_scalars.data(), rules[t].d_tables.data());
    }
  }

  TermGradient gradient_of_term(size_t term) const {
    TermGradient out;
    const Tensor* gradient = plan.d_terms[term];
    if (!gradient || !plan.d_terms_data[term]) return out;
    if ((*view.terms)[term].kind == ScoreTerm::Kind::kDense) {
      out.bias = plan.d_terms_data[term] + batch * broadcast_stride(*gradient, 0) + head * broadcast_stride(*gradient, 1);
      out.per_edge = (*view.terms)[term].per_edge;
      out.bias_query_stride = broadcast_stride(*gradient, 2);
    } else {
      out.slope = sums + term;
    }
    return out;
  }
};

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
