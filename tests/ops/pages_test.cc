// A KV cache is equivalent to its tensors. Its pages may slide, be shared by beams, be copied and diverge, or hold a memory that is made
// once: every backend gives the same bits as over tensors with the same keys and values (rounded ones for 16-bit pages), for every kind of
// description that supports pages.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "backends/registry.h"
#include "clearhead/attend.h"
#include "on_every_backend.h"
#include "waves.h"

namespace clearhead {
namespace {

constexpr int64_t kHeads = 4, kKeyHeads = 2, kWidth = 8, kValues = 12, kBack = 99;

Tensor document_ids(int64_t begin, int64_t end) {
  Tensor ids = Tensor::zeros({1, end - begin}, DType::kI32);
  for (int64_t i = begin; i < end; ++i) ids.mutable_data<int32_t>()[i - begin] = static_cast<int32_t>(i / 130);
  return ids;
}

// A description for the last `queries` of `keys` positions.
struct Described {
  std::string name{};
  std::function<AttentionSpec(int64_t queries, int64_t keys)> spec{};
};

std::vector<Described> described() {
  const Tensor slopes = waves({kHeads}, 0.9F), sinks = waves({kHeads}, 1.7F), offsets = waves({1, 2 * 40 + 1, kWidth}, 0.31F);
  const auto always = [](const AttentionSpec& spec) { return [spec](int64_t, int64_t) { return spec; }; };
  const auto documents = [](int64_t queries, int64_t keys) {
    AttentionSpec spec{.topology = causal(kBack)};
    spec.topology.segments = Segments{document_ids(keys - queries, keys), document_ids(0, keys)};
    return spec;
  };
  AttentionSpec ruled{.terms = {rule([](auto s, auto at) { return s - 0.01 * abs(at.query - at.key) * s; })}, .topology = causal(kBack)};
  ruled.topology.visible = dilated(3, 30);
  return {{"window", always({.topology = causal(kBack)})},
          {"soft-cap", always({.terms = {SoftCap{2}}, .topology = causal(kBack)})},
          {"alibi, soft-cap", always({.terms = {Alibi{slopes}, SoftCap{4}}, .topology = causal(70)})},
          {"sinks", always({.topology = causal(kBack), .normaliser = Softmax{sinks}})},
          {"documents", documents},
          {"sigmoid", always({.topology = causal(kBack), .normaliser = Sigmoid{-1}})},
          {"sparsemax", always({.topology = causal(kBack), .normaliser = Sparsemax{}})},
          {"hard", always({.topology = causal(kBack), .normaliser = Hard{}})},
          {"rules", always(ruled)},
          {"relative", always({.score = Relative{.keys = offsets}, .topology = causal(kBack)})}};
}

// The same without its band, for a cache that dropped no keys.
AttentionSpec of_all_keys(AttentionSpec spec) {
  spec.topology.band = {};
  return spec;
}

// The weights of every row of every head.
std::vector<float> weights_of(const AttentionRecord& record) {
  record.check_fresh();
  const int64_t keys = key_length(record.keys), count = record.rows_kept(), maps = record.q.size(0) * kHeads;
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<float> out(static_cast<size_t>(maps * count * keys));
  for (int64_t map = 0; map < maps; ++map) {
    backend().weights({.record = record,
                       .batch = map / kHeads,
                       .head = map % kHeads,
                       .rows = rows.data(),
                       .row_count = count,
                       .keys = {0, keys},
                       .out = out.data() + map * count * keys,
                       .out_stride = keys});
  }
  return out;
}

bool same(const Tensor& a, const Tensor& b) {
  const Tensor left = a.contiguous(), right = b.contiguous();
  return left.shape() == right.shape() && std::equal(left.data<float>(), left.data<float>() + left.numel(), right.data<float>());
}

// Expects the same result over the cache as over the tensors that it must contain.
AttentionRecord expect_as_tensors(const KVCache& cache, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  const auto held = [&](const Tensor& t) { return to_f32(to_dtype(t, cache.dtype())); };
  const Attended found = attend(q, cache.snapshot(), spec), wanted = attend(q, held(k), held(v), spec);
  EXPECT_TRUE(same(found.out, wanted.out)) << "out";
  EXPECT_EQ(weights_of(found.record), weights_of(wanted.record));
  return found.record;
}

void for_each_description(const std::function<void(const Described& is, DType dtype)>& body) {
  on_every_backend([&] {
    for (const Described& is : described()) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        SCOPED_TRACE(is.name + " over pages of " + to_string(dtype));
        body(is, dtype);
      }
    }
  });
}

int64_t pages_held(const PagedKV& keys) {
  return std::count_if(keys.pages[0].begin(), keys.pages[0].end(), [](const auto& page) { return page != nullptr; });
}

TEST(Pages, SlidingCachesEqualPlainTensors) {
  const Tensor k = waves({1, kKeyHeads, 700, kWidth}, 0.37F), v = waves({1, kKeyHeads, 700, kValues}, 0.11F),
               q = waves({1, kHeads, 700, kWidth}, 0.53F);
  for_each_description([&](const Described& is, DType dtype) {
    KVCache cache(dtype);
    std::vector<std::pair<AttentionRecord, std::vector<float>>> earlier;
    int64_t at = 0;
    for (const int64_t piece : {200, 1, 55, 1, 3, 17, 235, 1, 180, 2, 4, 1}) {
      SCOPED_TRACE("from position " + std::to_string(at));
      const int64_t end = at + piece;
      cache.keep_last(kBack);
      cache.append(k.slice(2, at, end), v.slice(2, at, end));
      ASSERT_LE(pages_held(cache.snapshot()), (piece + kBack) / KVPage::kLength + 2);
      const AttentionRecord record =
          expect_as_tensors(cache, q.slice(2, at, end), k.slice(2, 0, end), v.slice(2, 0, end), is.spec(piece, end));
      if (piece < 20) earlier.emplace_back(record, weights_of(record));
      at = end;
    }
    EXPECT_GT(cache.snapshot().first, 0) << "keys must be dropped";
    for (const auto& [record, before] : earlier) EXPECT_EQ(weights_of(record), before) << "a record made before keys were dropped";
  });
}

TEST(Pages, SelectedBeamsContinueIndependently) {
  const Tensor k = waves({3, kKeyHeads, 300, kWidth}, 0.37F), v = waves({3, kKeyHeads, 300, kValues}, 0.11F);
  const Tensor more_k = waves({4, kKeyHeads, 30, kWidth}, 0.9F), more_v = waves({4, kKeyHeads, 30, kValues}, 0.7F);
  const std::vector<int64_t> rows = {1, 1, 0, 1};
  const auto followed_by = [&](const Tensor& first, const Tensor& more) {  // `first` followed by `more`, for each selected row
    Tensor all = Tensor::empty({4, kKeyHeads, 330, first.size(3)});
    for (int64_t map = 0; map < 4 * kKeyHeads; ++map) {
      const int64_t width = first.size(3), from = rows[static_cast<size_t>(map / kKeyHeads)] * kKeyHeads + map % kKeyHeads;
      float* to = all.mutable_data<float>() + map * 330 * width;
      std::copy_n(first.data<float>() + from * 300 * width, 300 * width, to);
      std::copy_n(more.data<float>() + map * 30 * width, 30 * width, to + 300 * width);
    }
    return all;
  };
  const Tensor all_k = followed_by(k, more_k), all_v = followed_by(v, more_v);
  for_each_description([&](const Described& is, DType dtype) {
    KVCache cache(dtype);
    cache.append(k, v);
    const AttentionRecord record = attend(waves({3, kHeads, 2, kWidth}, 0.2F), cache.snapshot(), is.spec(2, 300)).record;
    const std::vector<float> before = weights_of(record);
    cache.select(rows);
    cache.append(more_k, more_v);
    for (const int64_t queries : {1, 5, 20}) {
      const Tensor q = waves({4, kHeads, queries, kWidth}, 0.53F);
      expect_as_tensors(cache, q, all_k, all_v, is.spec(queries, 330));
      expect_as_tensors(cache, q, all_k, all_v, of_all_keys(is.spec(queries, 330)));
    }
    EXPECT_EQ(weights_of(record), before) << "a record made before the selection";
  });
}

TEST(Pages, CopiedCachesDivergeIndependently) {
  const Tensor k = waves({2, kKeyHeads, 300, kWidth}, 0.37F), v = waves({2, kKeyHeads, 300, kValues}, 0.11F);
  const Tensor other_k = waves({2, kKeyHeads, 300, kWidth}, 0.9F), other_v = waves({2, kKeyHeads, 300, kValues}, 0.7F);
  const auto first_then = [](const Tensor& first, const Tensor& then) {  // the first 280 keys, followed by the keys of `then` from 280 on
    Tensor all = first.clone();
    for (int64_t map = 0; map < 2 * kKeyHeads; ++map) {
      const int64_t begin = (map * 300 + 280) * first.size(3);
      std::copy_n(then.data<float>() + begin, 20 * first.size(3), all.mutable_data<float>() + begin);
    }
    return all;
  };
  const Tensor branch_k = first_then(k, other_k), branch_v = first_then(v, other_v);
  for_each_description([&](const Described& is, DType dtype) {
    KVCache cache(dtype);
    cache.append(k.slice(2, 0, 280), v.slice(2, 0, 280));
    KVCache copy = cache;
    for (int64_t at = 280; at < 300; at += 5) {  // alternating between the two caches
      cache.append(k.slice(2, at, at + 5), v.slice(2, at, at + 5));
      copy.append(other_k.slice(2, at, at + 5), other_v.slice(2, at, at + 5));
    }
    for (const int64_t queries : {1, 20}) {
      const Tensor q = waves({2, kHeads, queries, kWidth}, 0.53F);
      const AttentionSpec spec = is.spec(queries, 300);
      const AttentionRecord ours = expect_as_tensors(cache, q, k, v, spec), theirs = expect_as_tensors(copy, q, branch_k, branch_v, spec);
      EXPECT_NE(weights_of(ours), weights_of(theirs));
      copy.keep_last(kBack);
      expect_as_tensors(cache, q, k, v, of_all_keys(spec));
    }
  });
}

// Decoder queries, step by step, over the keys of another text; positions count from the beginning of both.
TEST(Pages, CrossAttentionMemoryServesEveryDecodingStep) {
  const Tensor k = waves({2, kKeyHeads, 300, kWidth}, 0.37F), v = waves({2, kKeyHeads, 300, kValues}, 0.11F);
  for_each_description([&](const Described& is, DType dtype) {
    KVCache memory(dtype);
    memory.append(k, v);
    const uint64_t written = memory.snapshot().pages[0][1]->keys.version();
    for (const int64_t queries : {1, 4, 40}) {
      AttentionSpec spec = of_all_keys(is.spec(queries, 300));
      spec.topology.band.align = Align::kStart;
      expect_as_tensors(memory, waves({2, kHeads, queries, kWidth}, 0.3F + 0.1F * static_cast<float>(queries)), k, v, spec);
    }
    EXPECT_EQ(memory.snapshot().pages[0][1]->keys.version(), written) << "no step may write to it";
  });
}

}  // namespace
}  // namespace clearhead
