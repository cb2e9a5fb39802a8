// Gradients of weights, and products of whole maps with a vector, on every backend, compared with naive double weights.
#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "clearhead/error.h"
#include "observe/map_cases.h"

namespace clearhead {
namespace {

using map_cases::all_cases;
using map_cases::Case;
using map_cases::eager;
using map_cases::Made;
using map_cases::make;
using map_cases::same_bits;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double at(const Tensor& t, int64_t a, int64_t b, int64_t c, int64_t d) {
  return static_cast<double>(t.data<float>()[a * t.stride(0) + b * t.stride(1) + c * t.stride(2) + d * t.stride(3)]);
}

// A value of a map in double, and the sum of the magnitudes of its summands.
struct Value {
  double value = 0, size = 0;
};
using Rows = std::vector<std::vector<Value>>;

// [query][key], NaN where hidden.
Rows naive(const Case& c, const Made& made, const Tensor& d_out, GradientLook look, int64_t batch, int64_t head) {
  const auto weights = eager(c, made, batch, head);
  Rows rows(weights.size());
  const int64_t group = c.sizes.heads / c.sizes.key_heads;
  for (int64_t i = 0; i < c.sizes.queries; ++i) {
    for (int64_t j = 0; j < c.sizes.keys; ++j) {
      const double p = weights[static_cast<size_t>(i)][static_cast<size_t>(j)];
      Value g;
      for (int64_t x = 0; x < c.sizes.d_v; ++x) {
        const double term = at(d_out, batch, head, i, x) * at(made.v, batch, head / group, j, x);
        g.value += term;
        g.size += std::abs(term);
      }
      const bool is_product = look == GradientLook::kProduct || look == GradientLook::kPositive || look == GradientLook::kNegative;
      if (is_product) g = {g.value * p, g.size * p};
      if (look == GradientLook::kPositive || look == GradientLook::kRaises) g.value = std::max(0.0, g.value);
      if (look == GradientLook::kNegative || look == GradientLook::kLowers) g.value = std::max(0.0, -g.value);
      if (std::isnan(p)) g = {kNaN, 0};
      rows[static_cast<size_t>(i)].push_back(g);
    }
  }
  return rows;
}

// The error of a dot product in f32 and, for products, of a weight (docs/NUMERICS.md), for scores below 100.
double bound(double size) { return 1e-5 * size + 1e-30; }

Tensor random_gradient(const Case& c) { return random_tensor({c.sizes.batch, c.sizes.heads, c.sizes.queries, c.sizes.d_v}, 9); }

void check_looks() {
  for (const Case& c : all_cases()) {
    SCOPED_TRACE(c.name);
    const Made made = make(c);
    const Tensor d_out = random_gradient(c);
    const GradientMap map(made.attended.record, {d_out, made.v});
    const int64_t batch = c.sizes.batch - 1, head = c.sizes.heads - 1, queries = c.sizes.queries, keys = c.sizes.keys;
    for (const GradientLook look : {GradientLook::kGradient, GradientLook::kProduct, GradientLook::kPositive, GradientLook::kNegative,
                                    GradientLook::kRaises, GradientLook::kLowers}) {
      const Rows expected = naive(c, made, d_out, look, batch, head);
      const std::vector<float> column = map.with(look).column(batch, head, keys / 2, {0, queries});
      for (int64_t i = 0; i < queries; i += 7) {
        const std::vector<float> row = map.with(look).row(batch, head, i);
        for (int64_t j = 0; j < keys; ++j) {
          const Value& e = expected[static_cast<size_t>(i)][static_cast<size_t>(j)];
          EXPECT_NEAR(static_cast<double>(row[static_cast<size_t>(j)]), std::isnan(e.value) ? 0 : e.value, bound(e.size));
        }
        EXPECT_NEAR(static_cast<double>(column[static_cast<size_t>(i)]), static_cast<double>(row[static_cast<size_t>(keys / 2)]),
                    bound(expected[static_cast<size_t>(i)][static_cast<size_t>(keys / 2)].size));
      }
      const int64_t cell_rows = std::min<int64_t>(3, queries), cell_keys = std::min<int64_t>(4, keys);
      const Tile tile = map.with(look).tile(batch, head, {.queries = {0, queries}, .keys = {0, keys}, .cells = {cell_rows, cell_keys}});
      for (int64_t r = 0; r < cell_rows; ++r) {
        for (int64_t column_cell = 0; column_cell < cell_keys; ++column_cell) {
          double sum = 0, size = 0, count = 0, largest = 0;
          for (int64_t i = r * queries / cell_rows; i < (r + 1) * queries / cell_rows; ++i) {
            for (int64_t j = column_cell * keys / cell_keys; j < (column_cell + 1) * keys / cell_keys; ++j) {
              const Value& e = expected[static_cast<size_t>(i)][static_cast<size_t>(j)];
              if (std::isnan(e.value)) continue;
              sum += e.value;
              size += e.size;
              count += 1;
              largest = std::max(largest, std::abs(e.value));
            }
          }
          const float mean = tile.mean.data<float>()[r * cell_keys + column_cell],
                      most = tile.max.data<float>()[r * cell_keys + column_cell];
          if (count == 0) {
            EXPECT_TRUE(std::isnan(mean) && std::isnan(most));
          } else {
            EXPECT_NEAR(static_cast<double>(mean), sum / count, bound(size));
            EXPECT_NEAR(static_cast<double>(std::abs(most)), largest, bound(size));
          }
        }
      }
    }
  }
}

TEST(GradientMap, RowsColumnsAndTilesMatchTheFormula) { on_every_backend(check_looks); }

// For weights and for their gradients, against sums in double; any number of threads gives the same bits.
void check_products() {
  for (const Case& c : all_cases()) {
    SCOPED_TRACE(c.name);
    const Made made = make(c);
    const Tensor d_out = random_gradient(c), r = random_tensor({c.sizes.batch, c.sizes.queries}, 21),
                 s = random_tensor({c.sizes.batch, c.sizes.keys}, 22);
    const AttentionMap weights(made.attended.record);
    const GradientMap gradients(made.attended.record, {d_out, made.v}, GradientLook::kPositive);
    const auto by_row = [&](bool is_gradient) { return is_gradient ? gradients.transposed_times(r) : weights.transposed_times(r); };
    const auto by_key = [&](bool is_gradient) { return is_gradient ? gradients.times(s) : weights.times(s); };
    for (const bool is_gradient : {false, true}) {
      const Tensor over_rows = by_row(is_gradient), over_keys = by_key(is_gradient);
      ASSERT_EQ(over_rows.shape(), (Shape{c.sizes.batch, c.sizes.heads, c.sizes.keys}));
      ASSERT_EQ(over_keys.shape(), (Shape{c.sizes.batch, c.sizes.heads, c.sizes.queries}));
      for (int64_t map = 0; map < c.sizes.batch * c.sizes.heads; ++map) {
        const int64_t batch = map / c.sizes.heads, head = map % c.sizes.heads;
        Rows values = naive(c, made, d_out, GradientLook::kPositive, batch, head);
        if (!is_gradient) {
          const auto p = eager(c, made, batch, head);
          for (size_t i = 0; i < p.size(); ++i) {
            for (size_t j = 0; j < p[i].size(); ++j) values[i][j] = {p[i][j], std::abs(p[i][j])};
          }
        }
        std::vector<Value> of_key(static_cast<size_t>(c.sizes.keys));
        for (size_t i = 0; i < values.size(); ++i) {
          Value of_row;
          const double factor = static_cast<double>(r.data<float>()[batch * c.sizes.queries + static_cast<int64_t>(i)]);
          for (size_t j = 0; j < of_key.size(); ++j) {
            const Value& e = values[i][j];
            if (std::isnan(e.value)) continue;
            const double other = static_cast<double>(s.data<float>()[batch * c.sizes.keys + static_cast<int64_t>(j)]);
            of_row.value += e.value * other;
            of_row.size += e.size * std::abs(other);
            of_key[j].value += e.value * factor;
            of_key[j].size += e.size * std::abs(factor);
          }
          EXPECT_NEAR(static_cast<double>(over_keys.data<float>()[map * c.sizes.queries + static_cast<int64_t>(i)]), of_row.value,
                      bound(of_row.size));
        }
        for (size_t j = 0; j < of_key.size(); ++j)
          EXPECT_NEAR(static_cast<double>(over_rows.data<float>()[map * c.sizes.keys + static_cast<int64_t>(j)]), of_key[j].value,
                      bound(of_key[j].size));
      }
      const int had = threads();
      set_threads(had == 1 ? 2 : 1);
      EXPECT_TRUE(same_bits(over_rows, by_row(is_gradient)));
      EXPECT_TRUE(same_bits(over_keys, by_key(is_gradient)));
      set_threads(had);
    }
  }
}

TEST(GradientMap, VectorProductsMatchSumsOverTheFullMap) { on_every_backend(check_products); }

TEST(GradientMap, MismatchedShapesAndIndicesAreRefused) {
  const Case c = all_cases()[0];
  const Made made = make(c);
  EXPECT_THROW(GradientMap(made.attended.record, {random_tensor({1, 2, 3, 8}, 1), made.v}), Error);
  const GradientMap map(made.attended.record, {random_gradient(c), made.v});
  EXPECT_THROW((void)map.row(0, 2, 0), Error);
  EXPECT_THROW((void)map.transposed_times(random_tensor({1, 3}, 1)), Error);
  EXPECT_THROW((void)AttentionMap(made.attended.record).times(random_tensor({1, 3}, 1)), Error);
}

}  // namespace
}  // namespace clearhead
