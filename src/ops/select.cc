// Selects keys by content and returns them as lists: by score, by the means of blocks, or by hash.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>

#include "backends/registry.h"
#include "backends/widen.h"
#include "base/format.h"
#include "base/parallel.h"
#include "base/random.h"
#include "clearhead/attend.h"
#include "ops/attend_into.h"
#include "ops/row_products.h"
#include "spec/block_sparse.h"
#include "spec/pair_visible.h"
#include "spec/rule_bounds.h"
#include "spec/rule_math.h"
#include "spec/visible.h"

namespace clearhead {
namespace {

void check_tensor(const char* what, const Tensor& tensor) {
  if (!tensor.defined() || tensor.rank() != 4) {
    fail(ErrorCode::kShape, "{}: expected q [batch, head, query, d_k] and k [batch, key_head, key, d_k], found {}", what,
         tensor.defined() ? to_string(tensor.shape()) : "no tensor");
  }
  if (tensor.dtype() != DType::kF32 && tensor.dtype() != DType::kBF16 && tensor.dtype() != DType::kF16) {
    fail(ErrorCode::kUnsupported, "{}: q or k is {}; expected f32, bf16 or f16", what, to_string(tensor.dtype()));
  }
}

AttentionShape shape_of(const char* what, const Tensor& q, const Tensor& k) {
  check_tensor(what, q);
  check_tensor(what, k);
  if (q.dtype() != k.dtype()) {
    fail(ErrorCode::kUnsupported, "{}: q is {}, k is {}; expected the same dtype (to_dtype() converts)", what, to_string(q.dtype()),
         to_string(k.dtype()));
  }
  if (q.size(0) != k.size(0) || q.size(3) != k.size(3)) {
    fail(ErrorCode::kShape, "{}: q is {}, k is {}; batch and d_k must be equal", what, to_string(q.shape()), to_string(k.shape()));
  }
  return {q.size(0), q.size(1), k.size(1), q.size(2), k.size(2), q.size(3), 0};
}

AttentionShape shape_of(const char* what, const Tensor& q, const PagedKV& keys) {
  check_tensor(what, q);
  const int64_t batch = static_cast<int64_t>(keys.pages.size());
  if (q.size(0) != batch || q.size(3) != keys.d_k) {
    fail(ErrorCode::kShape, "{}: q is {}, the cache holds {} sequences of keys of {} channels; batch and d_k must be equal", what,
         to_string(q.shape()), batch, keys.d_k);
  }
  return {q.size(0), q.size(1), keys.key_heads, q.size(2), keys.length, q.size(3), keys.d_v};
}

// The indices of the `count` largest scores, ascending. Of equal scores the earlier is chosen; −∞ and NaN are never chosen.
std::vector<int32_t> largest(const float* scores, int64_t length, int64_t count) {
  using Entry = std::pair<float, int32_t>;
  const auto better = [](const Entry& a, const Entry& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; };
  std::vector<Entry> heap;  // the smallest on top
  float least = -std::numeric_limits<float>::infinity();
  for (int64_t j = 0; j < length && count > 0; ++j) {
    if (!(scores[j] > least)) continue;
    if (static_cast<int64_t>(heap.size()) == count) {
      std::pop_heap(heap.begin(), heap.end(), better);
      heap.pop_back();
    }
    heap.emplace_back(scores[j], static_cast<int32_t>(j));
    std::push_heap(heap.begin(), heap.end(), better);
    if (static_cast<int64_t>(heap.size()) == count) least = heap.front().first;
  }
  std::vector<int32_t> out;
  for (const Entry& entry : heap) out.push_back(entry.second);
  std::sort(out.begin(), out.end());
  return out;
}

// Means over blocks of the length axis.   [batch, head, length, d] → [batch, head, blocks, d]
Tensor block_means(const Tensor& x, int64_t block) {
  const int64_t blocks = (x.size(2) + block - 1) / block;
  Tensor out = Tensor::zeros({x.size(0), x.size(1), blocks, x.size(3)});
  if (out.numel() == 0) return out;
  float* to = out.mutable_data<float>();
  parallel_for(x.size(0) * x.size(1) * blocks, [&](int64_t item, int) {
    const int64_t map = item / blocks, begin = item % blocks * block, end = std::min(begin + block, x.size(2));
    const float* from = x.data<float>() + map / x.size(1) * x.stride(0) + map % x.size(1) * x.stride(1);
    for (int64_t c = 0; c < x.size(3); ++c) {
      double sum = 0;
      for (int64_t i = begin; i < end; ++i) sum += static_cast<double>(from[i * x.stride(2) + c * x.stride(3)]);
      to[item * x.size(3) + c] = static_cast<float>(sum / static_cast<double>(end - begin));
    }
  });
  return out;
}

// The smallest and largest id of a block's rows, negative ids excluded.
struct IdBounds {
  int32_t low = std::numeric_limits<int32_t>::max(), high = -1;
};

// Per batch and block.   ids: [batch|1, length] → [batch|1][blocks]
std::vector<IdBounds> id_bounds(const Tensor& ids, int64_t block) {
  const int64_t length = ids.size(1), blocks = (length + block - 1) / block;
  std::vector<IdBounds> out(static_cast<size_t>(ids.size(0) * blocks));
  for (int64_t row = 0; row < ids.size(0) * length; ++row) {
    const int32_t id = ids.data<int32_t>()[row / length * ids.stride(0) + row % length * ids.stride(1)];
    IdBounds& bounds = out[static_cast<size_t>(row / length * blocks + row % length / block)];
    if (id < 0) continue;
    bounds.low = std::min(bounds.low, id);
    bounds.high = std::max(bounds.high, id);
  }
  return out;
}

// The key blocks for which the topology shows at least one pair with a query block. The band, ranges of segment ids and the bounds of a
// visibility rule exclude whole blocks. If the topology has only a band, all remaining blocks are shown; otherwise they are searched pair
// by pair, up to the first visible pair.
class ShownBlocks {
 public:
  ShownBlocks(const Topology& topology, const AttentionShape& shape, const BlockChoice& choice)
      : topology_(topology), shape_(shape), choice_(choice), first_(first_position(topology.band, shape.queries, shape.keys)) {
    if (topology.segments) {
      query_ids_ = id_bounds(topology.segments->queries, choice.query_block);
      key_ids_ = id_bounds(topology.segments->keys, choice.key_block);
    }
    if (topology.visible) rule_.emplace(*topology.visible);
  }

  Range queries(int64_t block) const { return {block * choice_.query_block, std::min((block + 1) * choice_.query_block, shape_.queries)}; }
  Range keys(int64_t block) const { return {block * choice_.key_block, std::min((block + 1) * choice_.key_block, shape_.keys)}; }
  // Positions of the block's queries on the key axis; some may lie outside [0, keys).
  Range positions(int64_t block) const { return {first_ + queries(block).begin, first_ + queries(block).end}; }

  // Returns [key block], 1 for the blocks that are shown.
  std::vector<uint8_t> of(int64_t batch, int64_t head, int64_t query_block) const {
    const int64_t count = blocks_of(shape_.keys, choice_.key_block);
    std::vector<uint8_t> shown(static_cast<size_t>(count), 0), open(static_cast<size_t>(count), 0);
    const bool asks = topology_.segments || topology_.mask || topology_.block_sparse || topology_.visible;
    const Range at = positions(query_block);
    const Range seen{visible_band(topology_.band, at.begin, shape_.keys).begin, visible_band(topology_.band, at.end - 1, shape_.keys).end};
    int64_t left = 0;
    for (int64_t j = 0; j < count; ++j) {
      if (keys(j).end <= seen.begin || keys(j).begin >= seen.end) continue;
      if (asks && hides_all(batch, head, query_block, j)) continue;
      (asks ? open : shown)[static_cast<size_t>(j)] = 1;
      left += asks;
    }
    std::optional<RuleReader> rule;
    if (topology_.visible) rule.emplace(*topology_.visible);
    const auto shows_one = [&](int64_t query, Range range) {
      for (int64_t key = range.begin; key < range.end; ++key) {
        if (shows({.batch = batch, .head = head, .query = query, .key = key}, rule)) return true;
      }
      return false;
    };
    const auto ask = [&](int64_t query, Range range) {  // searches the undecided blocks of a range of keys for a visible pair
      for (int64_t key = range.begin; key < range.end; key = keys(key / choice_.key_block).end) {
        const size_t j = static_cast<size_t>(key / choice_.key_block);
        if (!open[j] || !shows_one(query, {key, std::min(keys(key / choice_.key_block).end, range.end)})) continue;
        open[j] = 0, shown[j] = 1, --left;
      }
    };
    for (int64_t query = queries(query_block).begin; query < queries(query_block).end && left > 0; ++query) {
      for_each_range(batch, head, query, [&](Range range) { ask(query, range); });
    }
    return shown;
  }

 private:
  bool hides_all(int64_t batch, int64_t head, int64_t query_block, int64_t key_block) const {
    if (const auto& segments = topology_.segments) {
      const auto of = [&](const std::vector<IdBounds>& bounds, const Tensor& ids, int64_t block) {
        const int64_t blocks = static_cast<int64_t>(bounds.size()) / ids.size(0);
        return bounds[static_cast<size_t>((ids.size(0) == 1 ? 0 : batch) * blocks + block)];
      };
      const IdBounds query = of(query_ids_, segments->queries, query_block), key = of(key_ids_, segments->keys, key_block);
      if (query.high < key.low || key.high < query.low) return true;
    }
    return rule_ && rule_->shown(batch, head, positions(query_block), keys(key_block)) == Shown::kNone;
  }

  // Visits the ranges of keys that band and lists show to a query.
  template <class Visit>
  void for_each_range(int64_t batch, int64_t head, int64_t query, const Visit& visit) const {
    const Range band = visible_band(topology_.band, first_ + query, shape_.keys);
    if (!topology_.block_sparse) return visit(band);
    const BlockSparse& lists = *topology_.block_sparse;
    const int32_t* offsets = lists.offsets.data<int32_t>() + batch * broadcast_stride(lists.offsets, 0) +
                             head * broadcast_stride(lists.offsets, 1) + query / lists.query_block * lists.offsets.stride(2);
    const int32_t* blocks = lists.keys.data<int32_t>() + batch * broadcast_stride(lists.keys, 0) + head * broadcast_stride(lists.keys, 1);
    for (int64_t entry = offsets[0]; entry < offsets[lists.offsets.stride(2)]; ++entry) {
      const int64_t begin = blocks[entry * lists.keys.stride(2)] * lists.key_block;
      visit(Range{std::max(band.begin, begin), std::min(band.end, begin + lists.key_block)});
    }
  }

  // True if segments, mask and rule show the pair.
  bool shows(const PairAt& at, std::optional<RuleReader>& rule) const {
    if (!segments_and_mask_show(topology_, at)) return false;
    return !rule || rule->value({.batch = at.batch, .head = at.head, .query = first_ + at.query, .key = at.key}) != 0;
  }

  const Topology& topology_;
  const AttentionShape& shape_;
  const BlockChoice& choice_;
  const int64_t first_;
  std::vector<IdBounds> query_ids_, key_ids_;  // [batch|1][blocks]
  std::optional<RuleBounds> rule_;
};

// The bucket of every row of x in one round.   [batch, head, length, d] → [batch·head·length]
std::vector<int32_t> buckets_of(const Tensor& x, const Hashing& hashing, int64_t round) {
  const int64_t width = x.size(3), half = hashing.buckets / 2;
  Tensor rotation = Tensor::empty({width, half});
  float* normal = rotation.mutable_data<float>();
  for (int64_t i = 0; i < rotation.numel(); ++i) {
    normal[i] = static_cast<float>(random_normal(hashing.seed, static_cast<uint64_t>(round * rotation.numel() + i)));
  }
  const RowProducts turned(x.contiguous(), rotation.permute({1, 0}), 1);
  std::vector<int32_t> out(static_cast<size_t>(turned.rows()));
  constexpr int64_t kTogether = 192;
  parallel_for((turned.rows() + kTogether - 1) / kTogether, [&](int64_t item, int) {
    const int64_t first = item * kTogether, some = std::min(kTogether, turned.rows() - first);
    std::vector<float> products(static_cast<size_t>(some * half));
    turned.take(first, some, products.data());
    for (int64_t row = 0; row < some; ++row) {
      const float* of_row = products.data() + row * half;
      const auto [low, high] = std::minmax_element(of_row, of_row + half);
      out[static_cast<size_t>(first + row)] = static_cast<int32_t>(-*low > *high ? half + (low - of_row) : high - of_row);
    }
  });
  return out;
}

}  // namespace

namespace {

BlockSparse top_keys(const Tensor& q, const Keys& keys, const AttentionSpec& spec, int64_t count, const AttentionShape& shape) {
  if (count < 1) fail(ErrorCode::kInvalidArgument, "select_top_keys: count is {}; expected 1 or more keys for each query", count);
  AttentionRecord record{.spec = spec, .q = q, .keys = keys, .query_length = shape.queries};
  record.rows = {Tensor::zeros({shape.batch, shape.heads, shape.queries}), Tensor::zeros({shape.batch, shape.heads, shape.queries})};
  constexpr int64_t kRows = 48;  // a block of queries of the CPU backend with AVX-512, one per lane (cpu.h)
  const int64_t blocks = (shape.queries + kRows - 1) / kRows, maps = shape.batch * shape.heads;
  std::vector<std::vector<int32_t>> lists(static_cast<size_t>(maps * shape.queries));
  parallel_for(maps * blocks, [&](int64_t item, int) {
    const int64_t map = item / blocks, begin = item % blocks * kRows, end = std::min(begin + kRows, shape.queries);
    std::vector<float> scores(static_cast<size_t>((end - begin) * shape.keys));
    std::vector<int64_t> rows;
    for (int64_t row = begin; row < end; ++row) rows.push_back(row);
    backend().weights({.record = record,
                       .batch = map / shape.heads,
                       .head = map % shape.heads,
                       .rows = rows.data(),
                       .row_count = end - begin,
                       .keys = {0, shape.keys},
                       .quantity = WeightsCall::Quantity::kScore2,
                       .out = scores.data(),
                       .out_stride = shape.keys});
    for (int64_t row = begin; row < end; ++row) {
      lists[static_cast<size_t>(map * shape.queries + row)] = largest(scores.data() + (row - begin) * shape.keys, shape.keys, count);
    }
  });
  return gathered(lists, shape.batch, shape.heads, 1, 1);
}

}  // namespace

BlockSparse select_top_keys(const Tensor& q, const Tensor& k, const AttentionSpec& spec, int64_t count) {
  const AttentionShape shape = shape_of("select_top_keys", q, k);
  validate(spec, shape);
  return top_keys(q, k, spec, count, shape);
}

BlockSparse select_top_keys(const Tensor& q, const PagedKV& keys, const AttentionSpec& spec, int64_t count) {
  const AttentionShape shape = shape_of("select_top_keys", q, keys);
  validate(spec, shape);
  check_kept("select_top_keys", keys, spec, shape);
  return top_keys(q, keys, spec, count, shape);
}

namespace {

void check_choice(const AttentionSpec& spec, const BlockChoice& choice) {
  if (choice.query_block < 1 || choice.key_block < 1 || choice.count < 1) {
    fail(ErrorCode::kInvalidArgument, "select_top_blocks: blocks of {} queries x {} keys, count {}; expected 1 or more of each",
         choice.query_block, choice.key_block, choice.count);
  }
  const auto& lists = spec.topology.block_sparse;
  if (!lists || (lists->query_block % choice.query_block == 0 && lists->key_block % choice.key_block == 0)) return;
  fail(ErrorCode::kUnsupported,
       "select_top_blocks: topology.block_sparse has blocks of {} queries x {} keys, which blocks of {} x {} do not divide: used instead "
       "of the "
       "lists, the selected blocks would show pairs that the lists hide. Use blocks that divide them, or a description without lists.",
       lists->query_block, lists->key_block, choice.query_block, choice.key_block);
}

}  // namespace

BlockSparse select_top_blocks(const Tensor& q, const Tensor& k, const AttentionSpec& spec, const BlockChoice& choice) {
  const AttentionShape shape = shape_of("select_top_blocks", q, k);
  validate(spec, shape);
  check_choice(spec, choice);
  const Tensor query_means = block_means(widened(q), choice.query_block), key_means = block_means(widened(k), choice.key_block);
  const int64_t query_blocks = query_means.size(2), key_blocks = key_means.size(2), maps = shape.batch * shape.heads;
  const ShownBlocks shown_blocks(spec.topology, shape, choice);
  std::vector<std::vector<int32_t>> lists(static_cast<size_t>(maps * query_blocks));
  parallel_for(maps * query_blocks, [&](int64_t item, int) {
    const int64_t map = item / query_blocks, batch = map / shape.heads, head = map % shape.heads, b = item % query_blocks;
    const Range positions = shown_blocks.positions(b);
    const std::vector<uint8_t> shown = shown_blocks.of(batch, head, b);
    const float* query = query_means.data<float>() + item * shape.d_k;
    const int64_t key_head = batch * shape.key_heads + head / (shape.heads / shape.key_heads);
    std::vector<float> scores(static_cast<size_t>(key_blocks), -std::numeric_limits<float>::infinity());
    std::vector<int32_t> own;
    for (int64_t j = 0; j < key_blocks; ++j) {
      if (!shown[static_cast<size_t>(j)]) continue;
      const Range keys = shown_blocks.keys(j);
      if (choice.own && keys.begin < positions.end && positions.begin < keys.end) {
        own.push_back(static_cast<int32_t>(j));
        continue;
      }
      const float* key = key_means.data<float>() + (key_head * key_blocks + j) * shape.d_k;
      float score = 0;
      for (int64_t c = 0; c < shape.d_k; ++c) score += query[c] * key[c];
      scores[static_cast<size_t>(j)] = score;
    }
    const std::vector<int32_t> best = largest(scores.data(), key_blocks, choice.count - static_cast<int64_t>(own.size()));
    std::merge(own.begin(), own.end(), best.begin(), best.end(), std::back_inserter(lists[static_cast<size_t>(item)]));
  });
  return gathered(lists, shape.batch, shape.heads, choice.query_block, choice.key_block);
}

BlockSparse select_same_bucket(const Tensor& q, const Tensor& k, const Hashing& hashing) {
  const AttentionShape shape = shape_of("select_same_bucket", q, k);
  validate({}, shape);
  if (hashing.buckets < 2 || hashing.buckets % 2 != 0 || hashing.rounds < 1) {
    fail(ErrorCode::kInvalidArgument, "select_same_bucket: {} buckets, {} rounds; expected an even number of buckets and 1 round or more",
         hashing.buckets, hashing.rounds);
  }
  std::vector<std::vector<int32_t>> lists(static_cast<size_t>(shape.batch * shape.heads * shape.queries));
  const int64_t group = shape.key_heads > 0 ? shape.heads / shape.key_heads : 1;
  const Tensor wide_q = widened(q), wide_k = widened(k);
  for (int64_t round = 0; round < hashing.rounds; ++round) {
    const std::vector<int32_t> of_queries = buckets_of(wide_q, hashing, round), of_keys = buckets_of(wide_k, hashing, round);
    parallel_for(shape.batch * shape.heads, [&](int64_t map, int) {
      const int64_t key_map = map / shape.heads * shape.key_heads + map % shape.heads / group;
      std::vector<std::vector<int32_t>> members(static_cast<size_t>(hashing.buckets));
      for (int64_t j = 0; j < shape.keys; ++j) {
        members[static_cast<size_t>(of_keys[static_cast<size_t>(key_map * shape.keys + j)])].push_back(static_cast<int32_t>(j));
      }
      for (int64_t i = 0; i < shape.queries; ++i) {
        const size_t row = static_cast<size_t>(map * shape.queries + i);
        const auto& met = members[static_cast<size_t>(of_queries[row])];
        std::vector<int32_t> both;
        std::set_union(lists[row].begin(), lists[row].end(), met.begin(), met.end(), std::back_inserter(both));
        lists[row] = std::move(both);
      }
    });
  }
  return gathered(lists, shape.batch, shape.heads, 1, 1);
}

}  // namespace clearhead
