// Linear attention by running sums, compared with the double oracle and the reference's gradients: lengths of many chunks, and rows that
// see nothing, some keys or all keys. Also the guarantees about bits and hidden keys, where the drivers use sums instead of pairs.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backends/oracle.h"
#include "backends/ref/backward.h"
#include "backends/registry.h"
#include "base/parallel.h"
#include "bounds.h"
#include "cases.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

Tensor features(Random& random, Shape shape) {
  Tensor out = normal(random, std::move(shape));
  float* data = out.mutable_data<float>();
  for (int64_t i = 0; i < out.numel(); ++i) data[i] = std::abs(data[i]);
  return out;
}

struct Sight {
  const char* name;
  Topology topology;
  int64_t queries, keys;
};
const std::vector<Sight>& sights() {
  static const std::vector<Sight> all = {{"full", full(), 500, 700},
                                         {"full, whole chunks", full(), 300, 480},
                                         {"causal", causal(), 700, 700},
                                         {"causal, the last of the keys", causal(), 300, 777},
                                         {"causal, more queries than keys", causal(), 700, 411},
                                         {"causal from the start", causal(std::nullopt, Align::kStart), 650, 400},
                                         {"some ahead", {.band = {.ahead = 77}}, 500, 500},
                                         {"long", causal(), 4700, 4700}};
  return all;
}

struct Inputs {
  Tensor q, k, v;
};
Inputs inputs(const Sight& sight, int64_t d_k = 16, int64_t d_v = 24, int64_t batch = 2) {
  Random random(3);
  return {features(random, {batch, 2 * batch, sight.queries, d_k}), features(random, {batch, batch, sight.keys, d_k}),
          normal(random, {batch, batch, sight.keys, d_v})};
}

AttentionSpec linear(const Topology& topology) { return {.topology = topology, .normaliser = LinearAttention{}}; }

class LinearSums : public testing::TestWithParam<const Backend*> {
 protected:
  const Backend& backend_ = *GetParam();
  void TearDown() override { set_threads(2); }
};

void expect_rows(const Result& result, const AttentionSpec& spec, const Tensor& v) {
  const AttentionRecord& record = result.record;
  const int64_t queries = record.q.size(2), width = result.out.size(3);
  for (int64_t n = 0; n < 40; ++n) {
    const int64_t query = n * (queries - 1) / 39, batch = n % 2, head = n % 4;
    const OracleRow row = oracle_row(spec, record.q, record.keys, v, batch, head, query);
    const RowBounds bounds = bounds_of(spec, row, record.keys, v, batch, head / 2);
    const int64_t place = (batch * 4 + head) * queries + query;
    ASSERT_NEAR(static_cast<double>(record.rows.l.data<float>()[place]), row.l, bounds.l) << "query " << query;
    for (int64_t c = 0; c < width; ++c) {
      const auto channel = static_cast<size_t>(c);
      ASSERT_NEAR(static_cast<double>(result.out.data<float>()[place * width + c]), row.out[channel], bounds.out[channel])
          << "query " << query << " channel " << c;
    }
  }
}

TEST_P(LinearSums, TheForwardAgreesWithTheOracle) {
  for (const Sight& sight : sights()) {
    SCOPED_TRACE(sight.name);
    const Inputs in = inputs(sight);
    AttentionSpec spec = linear(sight.topology);
    expect_rows(run(backend_, spec, in.q, in.k, in.v), spec, in.v);
    spec.after.head_mask = Tensor::from<float>({2, 0, 0.5f, 1}, {4});
    const Result by_pages = run(backend_, spec, in.q, paged(in.k, in.v), Tensor()), by_rows = run(backend_, spec, in.q, in.k, in.v);
    EXPECT_TRUE(same_bits(by_pages.out, by_rows.out)) << "pages";
    EXPECT_TRUE(same_bits(by_pages.record.rows.l, by_rows.record.rows.l)) << "pages";
    const OracleRow masked = oracle_row(spec, in.q, in.k, in.v, 1, 2, sight.queries - 1);
    const float last = by_rows.out.data<float>()[((1 * 4 + 2) * sight.queries + sight.queries - 1) * 24];
    EXPECT_NEAR(static_cast<double>(last), masked.out[0], tolerance::kSum);
  }
}

void expect_near(const char* what, const Tensor& found, const std::vector<reference::Sum>& expected, double tolerance) {
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(found.data<float>()[i]), expected[i].value, tolerance * expected[i].size + 1e-30) << what << " " << i;
  }
}

TEST_P(LinearSums, GradientsAgreeWithTheReference) {
  for (const Sight& sight : sights()) {
    if (sight.keys > 1000) continue;
    SCOPED_TRACE(sight.name);
    const Inputs in = inputs(sight, 9, 12, 1);
    const AttentionSpec spec = linear(sight.topology);
    Random random(4);
    const Tensor d_out = normal(random, {1, 2, sight.queries, 12});
    const AttentionRecord record{.spec = spec, .q = in.q, .keys = in.k, .query_length = sight.queries};
    const reference::Gradients expected = reference::gradients(record, in.v, d_out, /*exact=*/true);
    const AttendGradients found = run_backward(backend_, run(backend_, spec, in.q, in.k, in.v), in.v, d_out);
    const double tolerance = tolerance::gradient(expected.largest);
    expect_near("d_q", found.q, expected.q, tolerance);
    expect_near("d_k", found.k, expected.k, tolerance);
    expect_near("d_v", found.v, expected.v, tolerance);
  }
}

TEST_P(LinearSums, ThreadsHeadsAndStridesChangeNoBits) {
  for (const Sight& sight : sights()) {
    SCOPED_TRACE(sight.name);
    const Inputs in = inputs(sight);
    const AttentionSpec spec = linear(sight.topology);
    Random random(4);
    const Tensor d_out = normal(random, {2, 4, sight.queries, 24});
    set_threads(1);
    const Result one = run(backend_, spec, in.q, in.k, in.v);
    const AttendGradients d_one = run_backward(backend_, one, in.v, d_out);
    set_threads(3);
    const auto turned = [](const Tensor& t) { return t.permute({0, 2, 3, 1}).clone().permute({0, 3, 1, 2}); };
    const Result many = run(backend_, spec, turned(in.q), turned(in.k), turned(in.v));
    const AttendGradients d_many = run_backward(backend_, many, turned(in.v), turned(d_out));
    EXPECT_TRUE(same_bits(one.out, many.out) && same_bits(one.record.rows.l, many.record.rows.l));
    EXPECT_TRUE(same_bits(d_one.q, d_many.q) && same_bits(d_one.k, d_many.k) && same_bits(d_one.v, d_many.v));
    const auto part = [](const Tensor& t, int64_t begin, int64_t end) { return t.slice(0, 1, 2).slice(1, begin, end); };
    const Result alone = run(backend_, spec, part(in.q, 2, 4), part(in.k, 1, 2), part(in.v, 1, 2));
    EXPECT_TRUE(same_bits(alone.out, part(one.out, 2, 4)));
  }
}

TEST_P(LinearSums, ANaNReachesOnlyRowsThatSeeIt) {
  const Sight sight{"causal", causal(), 333, 333};
  const Inputs in = inputs(sight);
  const AttentionSpec spec = linear(sight.topology);
  Random random(4);
  const Tensor d_out = normal(random, {2, 4, 333, 24});
  const Result clean = run(backend_, spec, in.q, in.k, in.v);
  const AttendGradients d_clean = run_backward(backend_, clean, in.v, d_out);
  for (const int64_t key : {0, 50, 144, 250, 332}) {
    for (const bool is_value : {true, false}) {
      SCOPED_TRACE(std::string(is_value ? "value " : "key ") + std::to_string(key));
      const Tensor k = is_value ? in.k : with(in.k, key, kNaN), v = is_value ? with(in.v, key, kNaN) : in.v;
      const Result found = run(backend_, spec, in.q, k, v);
      const AttendGradients d_found = run_backward(backend_, found, v, d_out);
      for (int64_t query = 0; query < 333; ++query) {
        if (query < key) {
          ASSERT_TRUE(same_bits(row_of(found.out, 1, query), row_of(clean.out, 1, query))) << "query " << query;
          ASSERT_TRUE(same_bits(row_of(d_found.q, 1, query), row_of(d_clean.q, 1, query))) << "d_q " << query;
        } else {
          ASSERT_TRUE(std::isnan(row_of(found.out, 1, query)[3])) << "query " << query;
          ASSERT_TRUE(std::isnan(row_of(d_found.q, 1, query)[3])) << "d_q " << query;
        }
      }
    }
  }
}

// Without the reference, which computes pairs; the other tests cover it.
std::vector<const Backend*> fast_backends() {
  std::vector<const Backend*> fast;
  for (const Backend* table : runnable_backends()) {
    if (table->isa != InstructionSet::kReference) fast.push_back(table);
  }
  return fast;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LinearSums);
INSTANTIATE_TEST_SUITE_P(Backends, LinearSums, testing::ValuesIn(fast_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
