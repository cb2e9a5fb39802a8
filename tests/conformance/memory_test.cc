// Memory stays O(N·d): 16,384 × 16,384 pairs with every kind of description, and 131,072 ×
// 131,072 pairs with plain softmax, need at most 256 MiB beyond inputs, outputs and record (eager
// weights would take 1 GiB and 64 GiB per head). Sampled rows are compared with the oracle.
//
// Peak memory is a property of a process, so each backend is measured in a child process: this program, with one test and the backend's
// name in the environment. Slower backends compute fewer queries; their memory does not depend on the number of queries.
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "backends/oracle.h"
#include "backends/registry.h"
#include "bounds.h"
#include "cases.h"
#include "clearhead/map.h"
#include "tolerance.h"

extern char** environ;

namespace clearhead::conformance {
namespace {

constexpr int64_t kAllowed = 256 << 20;
constexpr const char* kTable = "CLEARHEAD_MEMORY_TEST_TABLE";

// VmHWM (the peak) or VmRSS of this process, in bytes.
int64_t memory(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stoll(line.substr(field.size() + 1)) * 1024;
  }
  ADD_FAILURE() << "/proc/self/status has no field " << field;
  return 0;
}

const Backend& table_of_child() {
  const char* name = std::getenv(kTable);
  for (const Backend* table : runnable_backends()) {
    if (name && table_name(*table) == name) return *table;
  }
  throw std::runtime_error("no table in the environment");
}

const Backend& choose_table_of_child() {
  const Backend& table = table_of_child();
  choose_backend(table.isa == InstructionSet::kReference ? "ref" : to_string(table.isa));
  return table;
}

bool is_slow(const Backend& backend) { return backend.isa == InstructionSet::kReference; }

// The number of queries with every description. With a quarter of the queries eager weights would still take
// 512 MiB. The reference is too slow for as many.
int64_t queries_of(const Backend& backend, int64_t keys) {
  return is_slow(backend) ? 32 : &backend == runnable_backends().back() ? keys : keys / 4;
}

// The number of queries in the longest case: all of them on the fastest backend.
int64_t longest_queries(const Backend& backend, int64_t keys) {
  return is_slow(backend) ? 64 : &backend == runnable_backends().back() ? keys : keys / 8;
}

// Compares about 64 evenly spaced rows of the last head.
void expect_rows(const Backend& backend, const Result& result, const AttentionSpec& spec, const Tensor& v) {
  const AttentionRecord& record = result.record;
  const int64_t queries = record.q.size(2), heads = record.q.size(1), width = result.out.size(3);
  const Tensor out = to_f32(result.out);
  const bool in_bf16 = keeps_weights_in_bf16(backend, spec, record.q, record.keys);
  const int64_t rows = std::min<int64_t>(64, queries);
  for (int64_t n = 0; n < rows; ++n) {
    const int64_t query = n * (queries - 1) / std::max<int64_t>(1, rows - 1);
    const OracleRow row = oracle_row(spec, record.q, record.keys, v, 0, heads - 1, query);
    const RowBounds bounds = bounds_of(spec, row, record.keys, v, 0, 0);
    for (int64_t c = 0; c < width; ++c) {
      const size_t channel = static_cast<size_t>(c);
      const double found = static_cast<double>(out.data<float>()[((heads - 1) * queries + query) * width + c]);
      double rounding = tolerance::rounding(result.out.dtype(), found);
      if (in_bf16) rounding += tolerance::kForwardBF16 * (row.absolute[channel] + std::abs(row.out[channel]));
      ASSERT_NEAR(found, row.out[channel], bounds.out[channel] + rounding) << "query " << query;
    }
  }
}

// The gradients of the values sum to those of the rows: Σ_j dV_j = Σ_i dO_i if the weights of each row sum to one. In 16 bits each dV_j is
// rounded, and perhaps each weight.
void expect_mass(const Tensor& d_v, const Tensor& d_out) {
  const Tensor from = to_f32(d_out), to = to_f32(d_v);
  double sent = 0, arrived = 0, size = 0;
  for (int64_t i = 0; i < from.numel(); ++i)
    sent += static_cast<double>(from.data<float>()[i]), size += std::abs(static_cast<double>(from.data<float>()[i]));
  for (int64_t i = 0; i < to.numel(); ++i) arrived += static_cast<double>(to.data<float>()[i]);
  EXPECT_NEAR(arrived, sent, tolerance::gradient(0, d_v.dtype()) * size);
}

// Also the gradients, for descriptions over tensors. The gradient of a bias would itself be N×N.
void expect_bounded_backward(const Backend& backend, const Result& forward, const Tensor& v) {
  Random random(7);
  const Tensor d_out = to_dtype(normal(random, forward.out.shape()), forward.out.dtype());
  const int64_t before = memory("VmRSS");
  const AttendGradients found = run_backward(backend, forward, v, d_out, [](const std::string& name) { return name != "bias"; });
  size_t returned = found.q.bytes() + found.k.bytes() + found.v.bytes();
  for (const Tensor& operand : found.operands) returned += operand.defined() ? operand.bytes() : 0;
  EXPECT_LT(memory("VmHWM") - before - static_cast<int64_t>(returned), kAllowed) << "backward";
  const AttentionSpec& spec = forward.record.spec;
  if (rows_sum_to_one(spec) && !spec.after.dropout && !spec.after.head_mask && !spec.after.gaussian) expect_mass(found.v, d_out);
}

// Runs the forward, compares a few rows, and computes gradients of up to 16,384 keys. Expects the forward's peak to stay within kAllowed
// beyond the memory in use before it and the returned tensors.
void expect_bounded(const Backend& backend, const std::string& name, const AttentionSpec& spec, const Tensor& q, const Keys& keys,
                    const Tensor& v) {
  SCOPED_TRACE(name);
  const int64_t before = memory("VmRSS");
  const Result result = run(backend, spec, q, keys, v);
  const int64_t returned = static_cast<int64_t>(result.out.bytes() + result.record.rows.m.bytes() + result.record.rows.l.bytes());
  EXPECT_LT(memory("VmHWM") - before - returned, kAllowed) << "forward";
  expect_rows(backend, result, spec, v);
  if (v.defined() && key_length(keys) <= 16384) expect_bounded_backward(backend, result, v);
}

void expect_bounded_sweep(const Backend& backend, const Tensor& q, const Keys& keys, const Tensor& v) {
  const int64_t before = memory("VmRSS");
  const AttentionRecord record = run(backend, {.topology = causal()}, q, keys, v).record;
  ReductionRequest request{entropy, received, distance, offsets};
  request.cells = {64, 64};
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < q.size(2); ++i) rows.push_back(i);
  const ReductionResult result =
      backend.sweep({.record = record, .request = request, .rows = rows, .grid = grid_over(record, request.cells)});
  double mass = 0;
  for (int64_t j = 0; j < result.received.numel(); ++j) mass += static_cast<double>(result.received.data<float>()[j]);
  EXPECT_NEAR(mass, static_cast<double>(q.size(1) * q.size(2)), 1e-3 * static_cast<double>(q.size(2)));
  EXPECT_LT(memory("VmHWM") - before, kAllowed) << "sweep";
}

// Eight keys for every query.
BlockSparse random_edges(Random& random, int64_t queries, int64_t keys) {
  constexpr int64_t kNeighbours = 8;
  const Tensor draws = normal(random, {queries * kNeighbours});
  Tensor edges = Tensor::zeros({2, queries * kNeighbours}, DType::kI32);
  for (int64_t n = 0; n < queries * kNeighbours; ++n) {
    const double unit = 0.5 * std::erfc(-static_cast<double>(draws.data<float>()[n]) / std::sqrt(2.0));
    edges.mutable_data<int32_t>()[n] = static_cast<int32_t>(n / kNeighbours);
    edges.mutable_data<int32_t>()[queries * kNeighbours + n] =
        static_cast<int32_t>(std::min(static_cast<double>(keys) - 1, unit * static_cast<double>(keys)));
  }
  return graph(edges, queries).block_sparse;
}

// Runs in the child: every kind of description with 16,384 keys.
TEST(MemoryChild, DISABLED_EveryDescription) {
  const Backend& backend = table_of_child();
  constexpr int64_t kKeys = 16384;
  const int64_t queries = queries_of(backend, kKeys);
  Random random(1);
  const Tensor q = normal(random, {1, 2, queries, 16}), k = normal(random, {1, 1, kKeys, 16}), v = normal(random, {1, 1, kKeys, 16});
  // Operands that have a query axis but no N×N memory, because their query stride is zero.
  const Tensor bias = normal(random, {1, 1, 1, kKeys}).expand({1, 1, queries, kKeys});
  Tensor one = Tensor::zeros({1, 1, 1, kKeys}, DType::kBool), ids = Tensor::zeros({1, kKeys}, DType::kI32);
  for (int64_t j = 0; j < kKeys; ++j) one.mutable_data<bool>()[j] = j % 3 != 0;
  for (int64_t j = 0; j < kKeys; ++j) ids.mutable_data<int32_t>()[j] = static_cast<int32_t>(j / 5000);
  AttentionSpec mask, segments;
  mask.topology.mask = Mask{one.expand({1, 1, queries, kKeys})};
  segments.topology.segments = Segments{ids.slice(1, kKeys - queries, kKeys), ids};
  const PagedKV pages = paged(k, v);
  expect_bounded(backend, "full", {}, q, k, v);
  expect_bounded(backend, "causal over pages", {.topology = causal()}, q, pages, Tensor());
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const Tensor narrow_q = to_dtype(q, dtype), narrow_k = to_dtype(k, dtype), narrow_v = to_dtype(v, dtype);
    expect_bounded(backend, to_string(dtype), {.topology = causal()}, narrow_q, narrow_k, narrow_v);
    expect_bounded_sweep(backend, narrow_q, narrow_k, narrow_v);
  }
  expect_bounded(backend, "window", {.topology = window(3000, 100)}, q, k, v);
  expect_bounded(backend, "additive", {.score = Additive{.weight = normal(random, {2, 16})}, .topology = causal()}, q, k, v);
  expect_bounded(backend, "relative", {.score = Relative{.keys = normal(random, {1, 2 * kKeys + 1, 16})}, .topology = causal()}, q, k, v);
  expect_bounded(backend, "alibi", {.terms = {Alibi{normal(random, {2}, 0.01f)}}}, q, k, v);
  expect_bounded(backend, "soft-cap", {.terms = {SoftCap{3}}, .topology = causal()}, q, k, v);
  expect_bounded(backend, "bias", {.terms = {AttentionBias{bias}}, .topology = causal()}, q, k, v);
  expect_bounded(backend, "t5", {.terms = {t5_bias(normal(random, {32, 2}), true)}}, q, k, v);
  AttentionSpec ruled{.terms = {rule([](auto s, auto at) { return tanh(s) - 0.01 * abs(floor(at.query / 64) - floor(at.key / 100)); })}};
  ruled.topology.visible = strided(128);
  expect_bounded(backend, "rules", ruled, q, k, v);
  expect_bounded(backend, "mask", mask, q, k, v);
  expect_bounded(backend, "segments", segments, q, k, v);
  AttentionSpec listed;
  listed.topology.block_sparse = random_edges(random, queries, kKeys);
  expect_bounded(backend, "edges", listed, q, k, v);
  expect_bounded(backend, "sinks", {.topology = causal(), .normaliser = Softmax{normal(random, {2})}}, q, k, v);
  expect_bounded(backend, "sparsemax", {.normaliser = Sparsemax{}}, q, k, v);
  expect_bounded(backend, "entmax-1.5", {.topology = causal(), .normaliser = Entmax15{}}, q, k, v);
  expect_bounded(backend, "sigmoid", {.topology = causal(), .normaliser = Sigmoid{-9}}, q, k, v);
  const Tensor features_of_q = elu_plus_one(q), features_of_k = elu_plus_one(k);
  expect_bounded(backend, "linear", {.normaliser = LinearAttention{}}, features_of_q, features_of_k, v);
  expect_bounded(backend, "linear, window", {.topology = causal(500), .normaliser = LinearAttention{}}, features_of_q, features_of_k, v);
  expect_bounded(backend, "hard", {.topology = causal(), .normaliser = Hard{}}, q, k, v);
  AttentionSpec after{.topology = causal()};
  after.after = {.dropout = Dropout{.rate = 0.2f, .seed = 1},
                 .gaussian = LocalGaussian{.centres = Tensor::zeros({1, 1, queries}), .sigma = 5000}};
  expect_bounded(backend, "dropout, gaussian", after, q, k, v);
  expect_bounded_sweep(backend, q, k, v);
}

// Runs in the child: the features that the descriptions above do not use. A quarter of the
// queries: eager weights would still take 256 MiB per head.
TEST(MemoryChild, DISABLED_EveryOtherPart) {
  const Backend& backend = table_of_child();
  constexpr int64_t kKeys = 16384;
  const int64_t queries = is_slow(backend) ? 12 : kKeys / 4;
  Random random(3);
  const Tensor q = normal(random, {1, 2, queries, 16}), k = normal(random, {1, 1, kKeys, 16}), v = normal(random, {1, 1, kKeys, 16});
  const auto with_lists = [&](const BlockSparse& lists, bool bias) {
    AttentionSpec spec;
    spec.topology.block_sparse = lists;
    if (bias) spec.terms.emplace_back(EdgeBias{normal(random, {1, 1, lists.keys.size(2)})});
    return spec;
  };
  expect_bounded(backend, "edges with a bias", with_lists(random_edges(random, queries, kKeys), true), q, k, v);
  const Tensor square = is_slow(backend) ? q : normal(random, {1, 2, kKeys, 16}), first_k = k.slice(2, 0, square.size(2)),
               first_v = v.slice(2, 0, square.size(2));
  expect_bounded(backend, "blocks", with_lists(big_bird(square.size(2), {.block = 64, .window = 2}), true), square, first_k, first_v);
  const auto offsets_of = [&](int64_t heads) { return normal(random, {heads, 2 * 1000 + 1, 16}); };
  const Relative relative{.keys = offsets_of(1), .queries = offsets_of(2), .query_bias = normal(random, {2, 16}), .values = offsets_of(1)};
  expect_bounded(backend, "relative, all tables", {.score = relative, .topology = causal()}, q, k, v);
  const Additive leaky{.weight = normal(random, {1, 16}), .activation = Additive::Activation::kLeakyRelu};
  expect_bounded(backend, "additive, leaky ReLU", {.score = leaky}, q, k, v);
  const Hard drawn{.choice = Hard::Choice::kSampled, .gradient = Hard::Gradient::kScoreFunction, .seed = 5};
  expect_bounded(backend, "hard, drawn", {.topology = causal(), .normaliser = drawn}, q, k, v);
  AttentionSpec masked{.topology = causal()};
  masked.after.head_mask = Tensor::from(std::vector<float>{0.5F, 1.5F}, {2});
  expect_bounded(backend, "head mask", masked, q, k, v);
  expect_bounded(backend, "alibi of an image", {.terms = {alibi_2d(normal(random, {2}, 0.1f), 128)}}, q, k, v);
  expect_bounded(backend, "table of an image", {.terms = {relative_2d(normal(random, {2, 255, 255}), 128, 128)}}, q, k, v);
  expect_bounded(backend, "temperature", {.terms = {temperature(Tensor::from(std::vector<float>{0.5F, 2}, {2}))}}, q, k, v);
  Tensor global = Tensor::zeros({kKeys}, DType::kI32);
  for (int64_t j = 0; j < kKeys; j += 4000) global.mutable_data<int32_t>()[j] = 1;
  const std::vector<std::pair<std::string, Rule>> visibilities = {{"prefix", prefix_lm(9000)},
                                                                  {"prefixes", prefix_lm(Tensor::from(std::vector<int32_t>{700}, {1}))},
                                                                  {"dilated", dilated(7, 4000)},
                                                                  {"fixed", fixed(128, 8)},
                                                                  {"longformer", longformer(256, global)}};
  for (const auto& [name, visible] : visibilities) {
    AttentionSpec spec;
    spec.topology.visible = visible;
    expect_bounded(backend, name, spec, q, k, v);
  }
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const std::string name = std::string("pages of ") + to_string(dtype);
    expect_bounded(backend, name, {.topology = causal()}, q, paged(k, v, dtype), Tensor());
    expect_bounded(backend, name + ", a step", {.topology = causal()}, q.slice(2, 0, 1), paged(k, v, dtype), Tensor());
  }
}

// Runs in the child: a text longer than the cache keeps. It appends 400 MiB of keys and values in total.
TEST(MemoryChild, DISABLED_CacheThatLetsGo) {
  choose_table_of_child();
  constexpr int64_t kPiece = 512, kBack = 999;
  Random random(4);
  const Tensor k = normal(random, {1, 1, kPiece, 256}), v = normal(random, {1, 1, kPiece, 256}), q = normal(random, {1, 1, 2, 256});
  const int64_t before = memory("VmRSS");
  KVCache cache;
  for (int64_t piece = 0; piece < 400; ++piece) {
    cache.keep_last(kBack);
    cache.append(k, v);
    (void)attend(q, cache.snapshot(), {.topology = causal(kBack)});
  }
  EXPECT_EQ(cache.length(), 400 * kPiece);
  EXPECT_LT(memory("VmHWM") - before, kAllowed / 8);
}

// Runs in the child: selecting keys by content takes three times the size of its lists while they are made, plus 32 MiB. Scores of all
// pairs would be 256 MiB per head.
TEST(MemoryChild, DISABLED_KeysChosenByContent) {
  const Backend& backend = choose_table_of_child();
  constexpr int64_t kKeys = 16384, kBeside = 32 << 20;
  const int64_t queries = is_slow(backend) ? 12 : kKeys / 4;
  Random random(5);
  const Tensor q = normal(random, {1, 2, queries, 16}), k = normal(random, {1, 1, kKeys, 16}), v = normal(random, {1, 1, kKeys, 16});
  const AttentionSpec spec{.topology = causal()};
  const auto expect_lists = [&](const std::string& name, const std::function<BlockSparse()>& choose) {
    SCOPED_TRACE(name);
    const int64_t before = memory("VmRSS");
    AttentionSpec listed = spec;
    listed.topology.block_sparse = choose();
    const int64_t size = static_cast<int64_t>(listed.topology.block_sparse->offsets.bytes() + listed.topology.block_sparse->keys.bytes());
    EXPECT_LT(memory("VmHWM") - before, 3 * size + kBeside);
    expect_bounded(backend, name, listed, q, k, v);
  };
  expect_lists("top keys", [&] { return select_top_keys(q, k, spec, 32); });
  expect_lists("top blocks", [&] { return select_top_blocks(q, k, spec, {.count = 8}); });
  expect_lists("same bucket", [&] { return select_same_bucket(q, k, {.buckets = 64, .rounds = 2, .seed = 3}); });
}

// Runs in the child: plain softmax with 131,072 keys.
TEST(MemoryChild, DISABLED_PlainSoftmaxAtItsLongest) {
  const Backend& backend = table_of_child();
  constexpr int64_t kKeys = 131072;
  Random random(2);
  const Tensor q = normal(random, {1, 1, longest_queries(backend, kKeys), 8}), k = normal(random, {1, 1, kKeys, 8}),
               v = normal(random, {1, 1, kKeys, 8});
  expect_bounded(backend, "full", {}, q, k, v);
}

class BoundedMemory : public testing::TestWithParam<const Backend*> {
 protected:
  void expect_child_passes(const std::string& test) const {
    ASSERT_EQ(::setenv(kTable, table_name(*GetParam()).c_str(), 1), 0);
    for (const char* sharding : {"GTEST_TOTAL_SHARDS", "GTEST_SHARD_INDEX"})
      ::unsetenv(sharding);  // the child runs its one test whatever the parent's shard
    std::string self = "/proc/self/exe", filter = "--gtest_filter=MemoryChild.DISABLED_" + test;
    const std::string report = testing::TempDir() + "clearhead_memory_" + std::to_string(::getpid()) + ".json";
    std::string disabled = "--gtest_also_run_disabled_tests", brief = "--gtest_brief=1", output = "--gtest_output=json:" + report;
    char* arguments[] = {self.data(), filter.data(), disabled.data(), brief.data(), output.data(), nullptr};
    pid_t child = 0;
    ASSERT_EQ(::posix_spawn(&child, self.c_str(), nullptr, nullptr, arguments, environ), 0);
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "see the child's own report above";
    std::ifstream file(report);
    const std::string told((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    EXPECT_EQ(told.find("\"tests\": 1,") != std::string::npos && told.find("\"result\": \"COMPLETED\"") != std::string::npos, true)
        << "the child ran no test of this name: " << told;
    std::remove(report.c_str());
  }
};

TEST_P(BoundedMemory, SixteenThousandQueriesAndKeysOfEveryDescription) { expect_child_passes("EveryDescription"); }

TEST_P(BoundedMemory, SixteenThousandKeysWithTheRemainingFeatures) { expect_child_passes("EveryOtherPart"); }

TEST_P(BoundedMemory, TwoHundredThousandKeysThroughASlidingCache) { expect_child_passes("CacheThatLetsGo"); }

TEST_P(BoundedMemory, SixteenThousandKeysChosenByContent) { expect_child_passes("KeysChosenByContent"); }

TEST_P(BoundedMemory, AHundredAndThirtyThousandQueriesAndKeysOfPlainSoftmax) { expect_child_passes("PlainSoftmaxAtItsLongest"); }

INSTANTIATE_TEST_SUITE_P(Backends, BoundedMemory, testing::ValuesIn(runnable_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
