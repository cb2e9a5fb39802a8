// Visibility (band, segments, mask, lists, rule), the terms in order, each with its magnitude, and the gradients of the
// terms.
#include "backends/ref/score.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backends/ref/backward.h"
#include "backends/ref/score_function.h"
#include "spec/base2.h"
#include "spec/pair_visible.h"
#include "spec/rule_math.h"
#include "spec/visible.h"

namespace clearhead::reference {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

PairAt pair_of(const RowOfScores& at, int64_t key) { return {.batch = at.batch, .head = at.head, .query = at.query, .key = key}; }

// The rules of a description, ready to be evaluated for pairs.
struct Rules {
  std::vector<RuleReader> terms{};  // one for each term that is a rule, in order
  std::optional<RuleReader> visible{};
  explicit Rules(const AttentionSpec& spec) {
    for (const Term& term : spec.terms) {
      if (const auto* rule = std::get_if<Rule>(&term)) terms.emplace_back(*rule);
    }
    if (spec.topology.visible) visible.emplace(*spec.topology.visible);
  }
};

// The list entry that shows a (query, key) pair, or −1.
int64_t entry_of(const RowOfScores& at, int64_t key) {
  const BlockSparse& lists = *at.spec.topology.block_sparse;
  const int32_t* begin = lists.offsets.data<int32_t>() + at.batch * broadcast_stride(lists.offsets, 0) +
                         at.head * broadcast_stride(lists.offsets, 1) + at.query / lists.query_block * lists.offsets.stride(2);
  const int32_t* blocks =
      lists.keys.data<int32_t>() + at.batch * broadcast_stride(lists.keys, 0) + at.head * broadcast_stride(lists.keys, 1);
  for (int64_t entry = begin[0]; entry < begin[lists.offsets.stride(2)]; ++entry) {
    if (blocks[entry * lists.keys.stride(2)] == key / lists.key_block) return entry;
  }
  return -1;
}

bool visible(const RowOfScores& at, Range band, int64_t position, int64_t key, Rules& rules) {
  const Topology& topology = at.spec.topology;
  if (key < band.begin || key >= band.end) return false;
  if (!segments_and_mask_show(topology, pair_of(at, key))) return false;
  if (topology.block_sparse && entry_of(at, key) < 0) return false;
  return !rules.visible || rules.visible->value({.batch = at.batch, .head = at.head, .query = position, .key = key}) != 0;
}

// A score on its way through the terms, and the sum of its absolute addends.
struct Score {
  double value = 0, magnitude = 0;
};

struct ApplyTerm {
  const RowOfScores& at;
  int64_t key, position;
  Score& score;
  RuleReader*& next_rule;

  void operator()(const Alibi& term) const {
    const double slope = static_cast<double>(term.slopes.data<float>()[at.head * term.slopes.stride(0)]);
    add(-slope * static_cast<double>(std::abs(position - key)));
  }
  void operator()(const AttentionBias& term) const {
    const double bias = static_cast<double>(pair_element<float>(term.bias, pair_of(at, key)));
    add(bias);
    // Even if the score is NaN: a hidden key must not affect a result.
    if (bias == kHidden) score.value = kHidden;
  }
  void operator()(const EdgeBias& term) const {
    const double bias =
        static_cast<double>(term.bias.data<float>()[at.batch * broadcast_stride(term.bias, 0) + at.head * broadcast_stride(term.bias, 1) +
                                                    entry_of(at, key) * term.bias.stride(2)]);
    add(bias);
    if (bias == kHidden) score.value = kHidden;
  }
  void operator()(const SoftCap& term) const {
    const double cap = static_cast<double>(term.cap);
    score.value = cap * std::tanh(score.value / cap);
    score.magnitude += std::abs(score.value);
  }
  void operator()(const Rule&) const {
    RuleReader& rule = *next_rule++;
    score.value = rule.value({score.value, at.batch, at.head, position, key});
    score.magnitude = rule.magnitude(score.magnitude) + std::abs(score.value);
  }
  void add(double bias) const {
    score.value += bias;
    score.magnitude += std::abs(bias);
  }
};

// Row-major index of a (query, key) pair in an operand [batch|1, head|1, query|1, key].
int64_t pair_index(const Tensor& operand, const RowOfScores& at, int64_t key) {
  const auto along = [&](int axis, int64_t index) { return operand.size(axis) == 1 ? 0 : index; };
  return ((along(0, at.batch) * operand.size(1) + along(1, at.head)) * operand.size(2) + along(2, at.query)) * operand.size(3) + key;
}

// The reverse of ApplyTerm. `before` is the score that went into the term.
struct ReverseTerm {
  const RowOfScores& at;
  int64_t key, position;
  double before;
  OperandSums& operands;
  Sum& d_score;

  void operator()(const Alibi& term) const {
    const double distance = static_cast<double>(std::abs(position - key));
    operands.at(term.slopes, at.head).add(-distance * d_score.value, distance * d_score.size);
  }
  void operator()(const AttentionBias& term) const {
    operands.at(term.bias, pair_index(term.bias, at, key)).add(d_score.value, d_score.size);
  }
  void operator()(const EdgeBias& term) const {
    const int64_t batch = term.bias.size(0) == 1 ? 0 : at.batch, head = term.bias.size(1) == 1 ? 0 : at.head;
    operands.at(term.bias, (batch * term.bias.size(1) + head) * term.bias.size(2) + entry_of(at, key)).add(d_score.value, d_score.size);
  }
  void operator()(const SoftCap& term) const {
    // Computed this way because 1 − tanh² would cancel.
    const double secant = 1 / std::cosh(before / static_cast<double>(term.cap)), slope = secant * secant;
    d_score = {d_score.value * slope, d_score.size * slope};
  }
  void operator()(const Rule& term) const {
    RuleReader rule(term);
    rule.value({before, at.batch, at.head, position, key});
    const RuleGradient d_before = rule.reverse({d_score.value, d_score.size}, [&](int32_t table, int64_t index, RuleGradient d_entry) {
      operands.at(term.tables[static_cast<size_t>(table)], index).add(d_entry.value, d_entry.size);
    });
    d_score = {d_before.value, d_before.size};
  }
};

}  // namespace

int64_t key_head_of(const RowOfScores& at) { return at.head / (at.q.size(1) / key_heads(at.keys)); }

int64_t position_of(const RowOfScores& at) {
  return at.query + first_position(at.spec.topology.band, at.query_length, key_length(at.keys));
}

namespace {

// vector_of: row [batch, key_head, key] of a tensor. part_of: elements at, at + step, … of a page's keys or values.
Vector vector_of(const Tensor& t, int64_t batch, int64_t key_head, int64_t key) {
  const int64_t at = batch * t.stride(0) + key_head * t.stride(1) + key * t.stride(2);
  return {t.raw() + at * static_cast<int64_t>(size_of(t.dtype())), t.stride(3), t.dtype()};
}
Vector part_of(const Tensor& t, int64_t at, int64_t step) {
  return {t.raw() + at * static_cast<int64_t>(size_of(t.dtype())), step, t.dtype()};
}
const KVPage& page_of(const PagedKV& paged, int64_t batch, int64_t key) {
  return *paged.pages[static_cast<size_t>(batch)][static_cast<size_t>(key / KVPage::kLength)];
}

}  // namespace

Vector key_vector(const Keys& keys, int64_t batch, int64_t key_head, int64_t key) {
  if (const Tensor* k = std::get_if<Tensor>(&keys)) return vector_of(*k, batch, key_head, key);
  const PagedKV& paged = std::get<PagedKV>(keys);
  const KVPage& page = page_of(paged, batch, key);
  const int64_t inside = key % KVPage::kLength;
  const int64_t panel = key_head * (page.length() / KVPage::kPanel) + inside / KVPage::kPanel;
  return part_of(page.keys, panel * paged.d_k * KVPage::kPanel + inside % KVPage::kPanel, KVPage::kPanel);
}

Vector value_vector(const Keys& keys, const Tensor& v, int64_t batch, int64_t key_head, int64_t key) {
  if (std::holds_alternative<Tensor>(keys)) return vector_of(v, batch, key_head, key);
  const PagedKV& paged = std::get<PagedKV>(keys);
  const KVPage& page = page_of(paged, batch, key);
  return part_of(page.values, (key_head * page.length() + key % KVPage::kLength) * paged.d_v, 1);
}

void score_row(const RowOfScores& at, Range range, double* scores, double* magnitudes) {
  const int64_t position = position_of(at);
  const Range shown = visible_band(at.spec.topology.band, position, key_length(at.keys));
  Rules rules(at.spec);
  for (int64_t j = range.begin; j < range.end; ++j) {
    Score score{kHidden, 0};
    if (visible(at, shown, position, j, rules)) {
      const Sum of_pair = score_function(at, j);
      score = {of_pair.value, of_pair.size};
      RuleReader* next_rule = rules.terms.data();
      for (const Term& term : at.spec.terms) {
        if (score.value != kHidden) std::visit(ApplyTerm{at, j, position, score, next_rule}, term);
      }
      if (in_base_2(score.value) < static_cast<double>(kLowestScore)) score.value = kHidden;
    }
    scores[j - range.begin] = score.value;
    if (magnitudes) magnitudes[j - range.begin] = score.value == kHidden ? 0 : score.magnitude;
  }
}

Sum reverse_terms(const RowOfScores& at, int64_t key, Sum d_score, OperandSums& operands) {
  if (at.spec.terms.empty()) return d_score;
  const int64_t position = position_of(at);
  Score score{score_function(at, key).value, 0};
  Rules rules(at.spec);
  RuleReader* next_rule = rules.terms.data();
  std::vector<double> before;  // [term]: the score that goes into it
  for (const Term& term : at.spec.terms) {
    before.push_back(score.value);
    std::visit(ApplyTerm{at, key, position, score, next_rule}, term);
  }
  for (size_t t = at.spec.terms.size(); t-- > 0;) {
    std::visit(ReverseTerm{at, key, position, before[t], operands, d_score}, at.spec.terms[t]);
  }
  return d_score;
}

}  // namespace clearhead::reference
