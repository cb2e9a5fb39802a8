// Validates a description against the sizes of a call; errors name the operand. Also defines the list of operands that
// every traversal uses.
#include "clearhead/spec.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "spec/rule_math.h"
#include "spec/visible.h"

namespace clearhead {
namespace {

// The only list of operands. Spec: AttentionSpec or const AttentionSpec.
template <class Spec, class Visit>
void visit_operands(Spec& spec, const Visit& visit) {
  int slopes = 0, biases = 0, edges = 0, rules = 0;
  const auto numbered = [](const std::string& name, int& count) {
    ++count;
    return count == 1 ? name : name + std::to_string(count);
  };
  const auto visit_tables = [&](const std::string& rule, auto& tables) {
    int count = 0;
    for (auto& table : tables) visit(numbered(rule + ".table", count), table);
  };
  if (auto* additive = std::get_if<Additive>(&spec.score)) visit("additive.weight", additive->weight);
  if (auto* relative = std::get_if<Relative>(&spec.score)) {
    visit("relative.keys", relative->keys);
    if (relative->queries) visit("relative.queries", *relative->queries);
    if (relative->query_bias) visit("relative.query_bias", *relative->query_bias);
    if (relative->values) visit("relative.values", *relative->values);
  }
  for (auto& term : spec.terms) {
    if (auto* alibi = std::get_if<Alibi>(&term)) visit(numbered("slopes", slopes), alibi->slopes);
    if (auto* dense = std::get_if<AttentionBias>(&term)) visit(numbered("bias", biases), dense->bias);
    if (auto* rule = std::get_if<Rule>(&term)) visit_tables(numbered("rule", rules), rule->tables);
    if (auto* edge = std::get_if<EdgeBias>(&term)) visit(numbered("edges", edges), edge->bias);
  }
  if (spec.topology.segments) {
    visit("segments.queries", spec.topology.segments->queries);
    visit("segments.keys", spec.topology.segments->keys);
  }
  if (spec.topology.mask) visit("mask", spec.topology.mask->visible);
  if (spec.topology.block_sparse) {
    visit("block_sparse.offsets", spec.topology.block_sparse->offsets);
    visit("block_sparse.keys", spec.topology.block_sparse->keys);
  }
  if (spec.topology.visible) visit_tables("visible", spec.topology.visible->tables);
  auto* softmax = std::get_if<Softmax>(&spec.normaliser);
  if (softmax && softmax->sinks) visit("sinks", *softmax->sinks);
  if (spec.after.head_mask) visit("head_mask", *spec.after.head_mask);
  if (spec.after.gaussian) visit("centres", spec.after.gaussian->centres);
}

// The sizes that each axis may have, as text: "[2|1, 8|1, 100]".
std::string expected_axes(const Shape& sizes, size_t broadcastable) {
  std::string text = "[";
  for (size_t axis = 0; axis < sizes.size(); ++axis) {
    if (axis) text += ", ";
    text += std::to_string(sizes[axis]);
    if (axis < broadcastable && sizes[axis] != 1) text += "|1";
  }
  return text + "]";
}

// Checks the dtype and the shape of an operand. The first `broadcastable` axes may also have size 1.
void check_operand(const std::string& name, const char* axes, const Tensor& operand, DType dtype, const Shape& sizes,
                   size_t broadcastable) {
  if (!operand.defined())
    fail(ErrorCode::kInvalidArgument, "attention: operand \"{}\" was given no tensor; expected {} {}", name, to_string(dtype), axes);
  bool fits = operand.dtype() == dtype && operand.shape().size() == sizes.size();
  for (size_t axis = 0; fits && axis < sizes.size(); ++axis) {
    const int64_t size = operand.shape()[axis];
    fits = size == sizes[axis] || (axis < broadcastable && size == 1);
  }
  if (fits) return;
  fail(ErrorCode::kShape, "attention: operand \"{}\": expected {} {} = {}, found {} {}", name, to_string(dtype), axes,
       expected_axes(sizes, broadcastable), to_string(operand.dtype()), to_string(operand.shape()));
}

void check_sizes(const AttentionShape& shape) {
  const auto at_least = [](const char* name, int64_t value, int64_t least) {
    if (value < least) fail(ErrorCode::kShape, "attention: {} is {}; expected {} or more", name, value, least);
  };
  at_least("batch", shape.batch, 0);
  at_least("the number of query heads", shape.heads, 0);
  at_least("the number of key heads", shape.key_heads, 0);
  at_least("the number of queries", shape.queries, 0);
  at_least("the number of keys", shape.keys, 0);
  at_least("d_k", shape.d_k, 1);
  at_least("d_v", shape.d_v, 0);
  const bool divides = shape.key_heads > 0 ? shape.heads % shape.key_heads == 0 : shape.heads == 0;
  if (!divides) {
    fail(ErrorCode::kShape, "attention: {} query heads cannot share {} key heads evenly; query heads must be a multiple of key heads",
         shape.heads, shape.key_heads);
  }
}

// Checks what kernels rely on: lists lie within the entries, and each holds key blocks of the call in ascending order.
void check_lists(const BlockSparse& lists, const AttentionShape& shape) {
  if (lists.query_block < 1 || lists.key_block < 1) {
    fail(ErrorCode::kInvalidArgument, "attention: topology.block_sparse has blocks of {} queries x {} keys; expected 1 or more of each",
         lists.query_block, lists.key_block);
  }
  const int64_t query_blocks = blocks_of(shape.queries, lists.query_block);
  const int64_t key_blocks = blocks_of(shape.keys, lists.key_block);
  const Shape leading = {shape.batch, shape.heads};
  check_operand("block_sparse.offsets", "[batch|1, head|1, query block + 1]", lists.offsets, DType::kI32,
                {leading[0], leading[1], query_blocks + 1}, 2);
  const int64_t entries = lists.keys.defined() && lists.keys.rank() == 3 ? lists.keys.size(2) : 0;
  check_operand("block_sparse.keys", "[batch|1, head|1, entry]", lists.keys, DType::kI32, {leading[0], leading[1], entries}, 2);
  const Tensor offsets = lists.offsets.contiguous(), keys = lists.keys.contiguous();
  const int64_t batches = std::max(offsets.size(0), keys.size(0)), heads = std::max(offsets.size(1), keys.size(1));
  for (int64_t map = 0; map < batches * heads; ++map) {
    const auto of = [&](const Tensor& t) {
      const int64_t batch = t.size(0) == 1 ? 0 : map / heads, head = t.size(1) == 1 ? 0 : map % heads;
      return t.data<int32_t>() + (batch * t.size(1) + head) * t.size(2);
    };
    const int32_t *begin = of(offsets), *block = of(keys);
    for (int64_t b = 0; b <= query_blocks; ++b) {
      const int64_t from = b == 0 ? 0 : begin[b - 1];
      if (begin[b] < from || begin[b] > entries) {
        fail(ErrorCode::kInvalidArgument,
             "attention: block_sparse.offsets: entry {} is {}; expected {} to {}: offsets never decrease and end within the {} entries", b,
             begin[b], from, entries, entries);
      }
      for (int64_t e = from; b > 0 && e < begin[b]; ++e) {
        const int64_t least = e == from ? 0 : int64_t{block[e - 1]} + 1;
        if (block[e] < least || block[e] >= key_blocks) {
          fail(ErrorCode::kInvalidArgument,
               "attention: block_sparse.keys: entry {}, of query block {}, is {}; expected {} to {}: ascending within a list, without "
               "repeats, "
               "within the {} key blocks",
               e, b - 1, block[e], least, key_blocks - 1, key_blocks);
        }
      }
    }
  }
}

void check_normaliser(const Normaliser& normaliser, int64_t keys) {
  const Sigmoid* sigmoid = std::get_if<Sigmoid>(&normaliser);
  if (sigmoid && !std::isfinite(sigmoid->bias)) {
    fail(ErrorCode::kInvalidArgument, "attention: normaliser.sigmoid.bias is {}; expected a finite number", sigmoid->bias);
  }
  constexpr int64_t kMost = int64_t{1} << 24;
  if (std::holds_alternative<Hard>(normaliser) && keys > kMost) {
    fail(ErrorCode::kUnsupported, "attention: normaliser.hard: {} keys; a record can distinguish at most {}", keys, kMost);
  }
}

void check_after(const AfterNormaliser& after) {
  if (after.dropout && !(after.dropout->rate >= 0 && after.dropout->rate < 1)) {
    fail(ErrorCode::kInvalidArgument, "attention: after.dropout.rate is {}; expected 0 or more, and less than 1", after.dropout->rate);
  }
  if (after.gaussian && !(after.gaussian->sigma > 0 && std::isfinite(after.gaussian->sigma))) {
    fail(ErrorCode::kInvalidArgument, "attention: after.gaussian.sigma is {}; expected a positive finite number of keys",
         after.gaussian->sigma);
  }
  if (!after.head_mask || !after.head_mask->defined() || after.head_mask->dtype() != DType::kF32) return;
  const Tensor mask = after.head_mask->contiguous();
  for (int64_t head = 0; head < mask.numel(); ++head) {
    const float factor = mask.data<float>()[head];
    if (!(factor >= 0 && std::isfinite(factor)))
      fail(ErrorCode::kInvalidArgument, "attention: after.head_mask of head {} is {}; expected a finite number, 0 or more", head, factor);
  }
}

void check_limit(const char* name, const std::optional<int64_t>& limit) {
  if (limit && *limit < 0) {
    fail(ErrorCode::kInvalidArgument,
         "attention: topology.band.{} is {}; expected 0 or more keys besides the query's own, or nothing for no limit", name, *limit);
  }
}

// Limits the offset to integers that f32 represents exactly. Sums with lengths cannot overflow then.
void check_offset(int64_t offset) {
  constexpr int64_t kMost = int64_t{1} << 24;
  if (offset < -kMost || offset > kMost)
    fail(ErrorCode::kInvalidArgument, "attention: topology.band.offset is {}; expected −16,777,216 to 16,777,216 keys", offset);
}

struct CheckPair {
  const AttentionShape& shape;

  void operator()(const Dot& dot) const { check_scale("dot", dot.scale); }
  void operator()(const Additive& additive) const {
    if (!std::isfinite(additive.slope))
      fail(ErrorCode::kInvalidArgument, "attention: score.additive.slope is {}; expected a finite number", additive.slope);
    check_operand("additive.weight", "[head|1, d_k]", additive.weight, DType::kF32, {shape.heads, shape.d_k}, 1);
  }
  void operator()(const Relative& relative) const {
    check_scale("relative", relative.scale);
    const int64_t rows = relative.keys.defined() && relative.keys.rank() == 3 ? relative.keys.size(1) : 1;
    const char* axes = "[head|1, 2*reach + 1, d_k]";
    check_operand("relative.keys", axes, relative.keys, DType::kF32, {shape.heads, rows, shape.d_k}, 1);
    if (rows % 2 == 0) {
      fail(ErrorCode::kShape, "attention: operand \"relative.keys\" has {} rows; expected 2*reach + 1: offsets from -reach to reach", rows);
    }
    if (relative.queries) check_operand("relative.queries", axes, *relative.queries, DType::kF32, {shape.heads, rows, shape.d_k}, 1);
    if (relative.query_bias) {
      check_operand("relative.query_bias", "[head|1, d_k]", *relative.query_bias, DType::kF32, {shape.heads, shape.d_k}, 1);
    }
    if (!relative.values) return;
    const int64_t d_v = shape.d_v > 0 || !relative.values->defined() || relative.values->rank() != 3 ? shape.d_v : relative.values->size(2);
    check_operand("relative.values", "[head|1, 2*reach + 1, d_v]", *relative.values, DType::kF32, {shape.heads, rows, d_v}, 1);
  }

 private:
  static void check_scale(const char* score, const std::optional<float>& scale) {
    if (!scale || std::isfinite(*scale)) return;
    fail(ErrorCode::kInvalidArgument, "attention: score.{}.scale is {}; expected a finite number, or nothing for 1/sqrt(d_k)", score,
         *scale);
  }
};

// Validates all rules, and limits the lengths of calls that have one: kernels compute its positions in f32.
void check_rules(const AttentionSpec& spec, const AttentionShape& shape) {
  int rules = 0;
  const auto check = [&](const Rule& rule, bool is_visibility, const std::string& where) {
    validate_rule(rule, is_visibility, where);
    constexpr int64_t kMost = int64_t{1} << 24;
    if (shape.keys > kMost || shape.queries > kMost) {
      fail(ErrorCode::kUnsupported, "attention: {}: {} queries and {} keys; rules count positions in f32, which is exact up to {}", where,
           shape.queries, shape.keys, kMost);
    }
  };
  for (const Term& term : spec.terms) {
    if (const auto* rule = std::get_if<Rule>(&term)) {
      ++rules;
      check(*rule, false, rules == 1 ? "rule" : "rule" + std::to_string(rules));
    }
  }
  if (spec.topology.visible) check(*spec.topology.visible, true, "visible");
}

}  // namespace

bool rows_sum_to_one(const AttentionSpec& spec) {
  const Softmax* softmax = std::get_if<Softmax>(&spec.normaliser);
  return softmax ? !softmax->sinks : !std::holds_alternative<Sigmoid>(spec.normaliser);
}

Topology full() { return {}; }

Topology causal(std::optional<int64_t> back, Align align) { return {.band = {.back = back, .ahead = 0, .align = align}}; }

Topology window(int64_t back, int64_t ahead, Align align) { return {.band = {.back = back, .ahead = ahead, .align = align}}; }

void for_each_operand(AttentionSpec& spec, const std::function<void(const std::string& name, Tensor& operand)>& visit) {
  visit_operands(spec, visit);
}

void for_each_operand(const AttentionSpec& spec, const std::function<void(const std::string& name, const Tensor& operand)>& visit) {
  visit_operands(spec, visit);
}

void validate(const AttentionSpec& spec, const AttentionShape& shape) {
  check_sizes(shape);
  std::visit(CheckPair{shape}, spec.score);
  for (const Term& term : spec.terms) {
    const auto* soft_cap = std::get_if<SoftCap>(&term);
    if (soft_cap && !(soft_cap->cap > 0 && std::isfinite(soft_cap->cap))) {
      fail(ErrorCode::kInvalidArgument, "attention: soft_cap.cap is {}; expected a positive finite number", soft_cap->cap);
    }
  }
  check_normaliser(spec.normaliser, shape.keys);
  check_after(spec.after);
  check_limit("back", spec.topology.band.back);
  check_limit("ahead", spec.topology.band.ahead);
  check_offset(spec.topology.band.offset);
  check_rules(spec, shape);
  if (spec.topology.block_sparse) check_lists(*spec.topology.block_sparse, shape);
  const Shape every_pair = {shape.batch, shape.heads, shape.queries, shape.keys};
  for_each_operand(spec, [&](const std::string& name, const Tensor& operand) {
    if (name.starts_with("slopes") || name == "sinks" || name == "head_mask") {
      check_operand(name, "[head]", operand, DType::kF32, {shape.heads}, 0);
    } else if (name.starts_with("bias")) {
      check_operand(name, "[batch|1, head|1, query|1, key]", operand, DType::kF32, every_pair, 3);
    } else if (name.starts_with("rule") || name.starts_with("visible")) {
      return;  // any size: indices are clamped to the table
    } else if (name.starts_with("edges")) {
      if (!spec.topology.block_sparse) {
        fail(ErrorCode::kInvalidArgument,
             "attention: operand \"{}\" biases the entries of topology.block_sparse, which is absent; set it, or use an attention bias",
             name);
      }
      check_operand(name, "[batch|1, head|1, entry]", operand, DType::kF32,
                    {shape.batch, shape.heads, spec.topology.block_sparse->keys.size(2)}, 2);
    } else if (name.starts_with("block_sparse.") || name.starts_with("additive.") ||
               name.starts_with("relative.")) {  // checked by check_lists and CheckPair
    } else if (name == "centres") {
      check_operand(name, "[batch|1, head|1, query]", operand, DType::kF32, {shape.batch, shape.heads, shape.queries}, 2);
    } else if (name == "mask") {
      check_operand(name, "[batch|1, head|1, query|1, key]", operand, DType::kBool, every_pair, 3);
    } else {
      const bool queries = name == "segments.queries";
      check_operand(name, queries ? "[batch|1, query]" : "[batch|1, key]", operand, DType::kI32,
                    {shape.batch, queries ? shape.queries : shape.keys}, 1);
    }
  });
}

}  // namespace clearhead
