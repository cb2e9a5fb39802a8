// Keys chosen by content, resolved to lists: by score, by blocks' means, by hash.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "backends/registry.h"
#include "backends/widen.h"
#include "base/format.h"
#include "base/parallel.h"
#include "base/random.h"
#include "clearhead/attend.h"
#include "spec/lists.h"
#include "spec/visible.h"

namespace clearhead {
namespace {

AttentionShape shape_of(const char* what, const Tensor& q, const Tensor& k) {
  for (const Tensor* tensor : {&q, &k}) {
    if (!tensor->defined() || tensor->rank() != 4) {
      fail(ErrorCode::kShape, "{}: expected q [batch, head, query, d_k] and k [batch, key_head, key, d_k]", what);
    }
    if (tensor->dtype() != DType::kF32 && tensor->dtype() != DType::kBF16 && tensor->dtype() != DType::kF16) {
      fail(ErrorCode::kUnsupported, "{}: q or k is {}; expected f32, bf16 or f16", what, to_string(tensor->dtype()));
    }
  }
  if (q.dtype() != k.dtype()) {
    fail(ErrorCode::kUnsupported, "{}: q is {}, k is {}; expected one dtype (to_dtype() converts)", what, to_string(q.dtype()),
         to_string(k.dtype()));
  }
  if (q.size(0) != k.size(0) || q.size(3) != k.size(3)) {
    fail(ErrorCode::kShape, "{}: q is {}, k is {}; batch and d_k must be equal", what, to_string(q.shape()), to_string(k.shape()));
  }
  return {q.size(0), q.size(1), k.size(1), q.size(2), k.size(2), q.size(3), 0};
}

// The indices of the `count` largest of `scores`, ascending; the earlier of equals; −∞ and NaN are never among them.
std::vector<int32_t> largest(const float* scores, int64_t length, int64_t count) {
  using Entry = std::pair<float, int32_t>;
  const auto better = [](const Entry& a, const Entry& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; };
  std::vector<Entry> heap;  // the worst on top
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

// Means over blocks of the length.   [batch, head, length, d] → [batch, head, blocks, d]
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

// Bucket of every row of x in one round.   [batch, head, length, d] → [batch·head·length]
std::vector<int32_t> buckets_of(const Tensor& x, const Hashing& hashing, int64_t round) {
  const int64_t width = x.size(3), half = hashing.buckets / 2, rows = x.size(0) * x.size(1) * x.size(2);
  std::vector<float> rotation(static_cast<size_t>(width * half));  // [d, buckets / 2], normal
  for (size_t i = 0; i < rotation.size(); ++i) {
    rotation[i] = static_cast<float>(random_normal(hashing.seed, static_cast<uint64_t>(round) * rotation.size() + i));
  }
  std::vector<int32_t> out(static_cast<size_t>(rows));
  parallel_for(rows, [&](int64_t row, int) {
    const int64_t map = row / x.size(2);
    const float* from = x.data<float>() + map / x.size(1) * x.stride(0) + map % x.size(1) * x.stride(1) + row % x.size(2) * x.stride(2);
    std::vector<float> turned(static_cast<size_t>(half), 0);
    for (int64_t c = 0; c < width; ++c) {
      for (int64_t b = 0; b < half; ++b)
        turned[static_cast<size_t>(b)] += from[c * x.stride(3)] * rotation[static_cast<size_t>(c * half + b)];
    }
    const auto [low, high] = std::minmax_element(turned.begin(), turned.end());
    out[static_cast<size_t>(row)] = static_cast<int32_t>(-*low > *high ? half + (low - turned.begin()) : high - turned.begin());
  });
  return out;
}

}  // namespace

Lists select_top_keys(const Tensor& q, const Tensor& k, const AttentionSpec& spec, int64_t count) {
  const AttentionShape shape = shape_of("select_top_keys", q, k);
  if (count < 1) fail(ErrorCode::kInvalidArgument, "select_top_keys: count is {}; expected 1 or more keys of each query", count);
  validate(spec, shape);
  AttentionRecord record{.spec = spec, .q = q, .keys = k, .query_length = shape.queries};
  record.rows = {Tensor::zeros({shape.batch, shape.heads, shape.queries}), Tensor::zeros({shape.batch, shape.heads, shape.queries})};
  constexpr int64_t kRows = 48;  // a block of queries in lanes
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

Lists select_top_blocks(const Tensor& q, const Tensor& k, const AttentionSpec& spec, const BlockChoice& choice) {
  const AttentionShape shape = shape_of("select_top_blocks", q, k);
  validate(spec, shape);
  if (choice.query_block < 1 || choice.key_block < 1 || choice.count < 1) {
    fail(ErrorCode::kInvalidArgument, "select_top_blocks: blocks of {} queries x {} keys, count {}; expected 1 or more of each",
         choice.query_block, choice.key_block, choice.count);
  }
  const Tensor query_means = block_means(widened(q), choice.query_block), key_means = block_means(widened(k), choice.key_block);
  const int64_t query_blocks = query_means.size(2), key_blocks = key_means.size(2), maps = shape.batch * shape.heads;
  const int64_t first = first_position(spec.topology.band, shape.queries, shape.keys);
  std::vector<std::vector<int32_t>> lists(static_cast<size_t>(maps * query_blocks));
  parallel_for(maps * query_blocks, [&](int64_t item, int) {
    const int64_t map = item / query_blocks, head = map % shape.heads, b = item % query_blocks;
    const int64_t low = first + b * choice.query_block, high = std::min(low + choice.query_block, first + shape.queries) - 1;
    const Range seen{visible_band(spec.topology.band, low, shape.keys).begin, visible_band(spec.topology.band, high, shape.keys).end};
    const float* query = query_means.data<float>() + item * shape.d_k;
    const int64_t key_head = map / shape.heads * shape.key_heads + head / (shape.heads / shape.key_heads);
    std::vector<float> scores(static_cast<size_t>(key_blocks), -std::numeric_limits<float>::infinity());
    for (int64_t j = 0; j < key_blocks; ++j) {
      const int64_t begin = j * choice.key_block, end = std::min(begin + choice.key_block, shape.keys);
      if (end <= seen.begin || begin >= seen.end) continue;
      const float* key = key_means.data<float>() + (key_head * key_blocks + j) * shape.d_k;
      float score = 0;
      for (int64_t c = 0; c < shape.d_k; ++c) score += query[c] * key[c];
      const bool own = choice.own && begin <= high && low < end;
      scores[static_cast<size_t>(j)] = own ? std::numeric_limits<float>::infinity() : score;
    }
    lists[static_cast<size_t>(item)] = largest(scores.data(), key_blocks, choice.count);
  });
  return gathered(lists, shape.batch, shape.heads, choice.query_block, choice.key_block);
}

Lists select_same_bucket(const Tensor& q, const Tensor& k, const Hashing& hashing) {
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
