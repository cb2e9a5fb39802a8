// Compares a forward's results with the oracle, and two results bit for bit.
#pragma once

#include <gtest/gtest.h>

#include <cstring>

#include "attention_case.h"
#include "backends/oracle.h"
#include "tolerance.h"

namespace clearhead::test {

// Expects about `rows` rows of the result, including the first and the last, to be within the tolerance of the double oracle.
inline void expect_close(const Case& c, const Result& result, int64_t rows, const char* what) {
  const AttentionShape& s = c.shape;
  const int64_t step = std::max<int64_t>(1, s.queries / rows);
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t h = 0; h < s.heads; ++h) {
      for (int64_t n = 0; n < s.queries; n += step) {
        const int64_t i = n + step >= s.queries ? s.queries - 1 : n;
        const OracleRow expected = oracle_row(c.spec, c.q, c.k, c.v, b, h, i);
        const double log_sum_exp = expected.m * std::log(2.0) + std::log(expected.l);  // −∞ if nothing is visible
        const float m = element<float>(result.rows.m, {b, h, i}), l = element<float>(result.rows.l, {b, h, i});
        for (int64_t d = 0; d < s.d_v; ++d) {
          const double found = element<float>(result.out, {b, h, i, d}), wanted = expected.out[static_cast<size_t>(d)];
          const double bound = tolerance::forward(expected.largest) * expected.absolute[static_cast<size_t>(d)] + 1e-37;
          if (std::isnan(wanted)) {
            ASSERT_TRUE(std::isnan(found)) << what << " b" << b << " h" << h << " i" << i << " d" << d;
          } else if (std::isinf(wanted)) {
            ASSERT_EQ(found, wanted) << what << " b" << b << " h" << h << " i" << i << " d" << d;
          } else {
            ASSERT_LE(std::abs(found - wanted), bound)
                << what << " b" << b << " h" << h << " i" << i << " d" << d << " found " << found << " wanted " << wanted;
          }
        }
        if (std::isinf(log_sum_exp)) {
          ASSERT_EQ(m, -std::numeric_limits<float>::infinity()) << what << " i" << i;
          ASSERT_EQ(l, 0) << what << " i" << i;
        } else if (!std::isnan(log_sum_exp)) {
          ASSERT_NEAR(double{m} * std::log(2.0) + std::log(double{l}), log_sum_exp, tolerance::forward(expected.largest))
              << what << " i" << i;
        } else {
          ASSERT_TRUE(std::isnan(l)) << what << " i" << i;
        }
      }
    }
  }
}

inline void expect_same_bits(const Tensor& a, const Tensor& b, const char* what) {
  const Tensor left = a.contiguous(), right = b.contiguous();
  ASSERT_EQ(left.shape(), right.shape());
  EXPECT_EQ(std::memcmp(left.raw(), right.raw(), left.bytes()), 0) << what;
}

/// Skips on machines that support none of the CPU backends.
class CpuForward : public testing::Test {
 protected:
  void SetUp() override {
    if (tables().empty()) GTEST_SKIP() << "this machine supports no CPU backend";
  }
};

inline void expect_right(const Case& c, int64_t rows = 16) {
  for (const Backend* backend : tables()) {
    SCOPED_TRACE(to_string(backend->isa));
    const Result result = run(*backend, c), paged = run_paged(*backend, c);
    expect_close(c, result, rows, "tensors");
    expect_same_bits(result.out, paged.out, "pages give other outputs than tensors");
    expect_same_bits(result.rows.m, paged.rows.m, "pages give another m");
    expect_same_bits(result.rows.l, paged.rows.l, "pages give another l");
  }
}

}  // namespace clearhead::test
