// Weights come from the backend, gradients from one product dO·Vᵀ; they are multiplied in place and then summed over rows or keys.
// Blocks depend on the request alone, so results have the same bits for any number of threads.
#include "observe/map_values.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <vector>

#include "backends/registry.h"
#include "backends/widen.h"
#include "base/format.h"
#include "base/parallel.h"
#include "observe/map_look.h"

namespace clearhead {
namespace {

constexpr int64_t kGrain = 512;  // keys or values per task

// One head's rows in f32 with contiguous channels.
Tensor near_rows(const Tensor& of_head) {
  const Tensor wide = widened(of_head);
  return wide.stride(1) == 1 || wide.size(1) == 1 ? wide : wide.contiguous();
}

// g_ij = dO_i·v_j.   out: [row_count, keys.size()]
void fill_gradients(const MapValues& at, const int64_t* rows, int64_t row_count, Range keys, float* out) {
  const int64_t group = at.record.q.size(1) / key_heads(at.record.keys);
  const Tensor d_out = near_rows(at.gradient->d_out.select(0, at.batch).select(0, at.head));
  const Tensor values = near_rows(at.gradient->values.select(0, at.batch).select(0, at.head / group).slice(0, keys.begin, keys.end));
  const int64_t width = values.size(1);
  const auto product = [&](int64_t first, int64_t count, float* to) {
    backend().dense.product({.a = {d_out.data<float>() + first * d_out.stride(0), d_out.stride(0), 1},
                             .b = {values.data<float>(), 1, values.stride(0)},
                             .rows = count,
                             .inner = width,
                             .columns = keys.size(),
                             .out = to,
                             .out_stride = keys.size()});
  };
  for (int64_t begin = 0; begin < row_count;) {  // runs of consecutive rows
    int64_t end = begin + 1;
    while (end < row_count && rows[end] == rows[end - 1] + 1) ++end;
    product(rows[begin], end - begin, out + begin * keys.size());
    begin = end;
  }
}

}  // namespace

void MapValues::fill(const int64_t* rows, int64_t row_count, Range keys, float* out, bool marks_hidden) const {
  if (row_count == 0 || keys.size() == 0) return;
  backend().weights({.record = record,
                     .batch = batch,
                     .head = head,
                     .rows = rows,
                     .row_count = row_count,
                     .keys = keys,
                     .quantity = marks_hidden || gradient ? WeightsCall::Quantity::kWeightOrNaN : WeightsCall::Quantity::kWeight,
                     .after = is_after,
                     .precision = precision,
                     .out = out,
                     .out_stride = keys.size()});
  if (!gradient) return;
  std::vector<float> gradients(static_cast<size_t>(row_count * keys.size()));
  fill_gradients(*this, rows, row_count, keys, gradients.data());
  const auto shown = [](GradientLook kind, float g, float product) {
    switch (kind) {
      case GradientLook::kGradient: return g;
      case GradientLook::kProduct: return product;
      case GradientLook::kPositive: return std::max(0.0F, product);
      case GradientLook::kNegative: return std::max(0.0F, -product);
      case GradientLook::kRaises: return std::max(0.0F, g);
      case GradientLook::kLowers: return std::max(0.0F, -g);
    }
    return product;
  };
  const float hidden = marks_hidden ? std::numeric_limits<float>::quiet_NaN() : 0;
  parallel_ranges(row_count * keys.size(), kGrain * 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; ++at) {
      const float weight = out[at], g = gradients[static_cast<size_t>(at)], product = weight * g;
      out[at] = weight != weight ? hidden : shown(look, g, product);
    }
  });
}

namespace {

// The range of keys that the description's band shows to at least one of these rows of the record.
Range keys_of_rows(const AttentionRecord& record, Range rows) {
  const Band& band = record.spec.topology.band;
  const int64_t keys = key_length(record.keys);
  if (rows.size() <= 0) return {0, 0};
  const int64_t first = record.position_of(record.first_query + rows.begin), last = record.position_of(record.first_query + rows.end - 1);
  const int64_t begin = band.back ? std::clamp<int64_t>(first - *band.back, 0, keys) : 0;
  const int64_t end = band.ahead ? std::clamp<int64_t>(last + *band.ahead + 1, begin, keys) : keys;
  return {begin, end};
}

// Calls body(rows, keys, values) for all values of a head, in blocks that fit a cache, ordered by rows, then keys. Keys that the
// band hides from all rows of a block are skipped.   values: [rows.size(), keys.size()] of the block
void for_each_block(const MapValues& values, Range rows, Range keys, const LookOptions& options,
                    const std::function<void(Range, Range, const float*)>& body) {
  const int64_t blocks = (rows.size() + kBlockRows - 1) / kBlockRows;
  LookProgress progress(options, blocks);
  std::vector<float> memory(
      static_cast<size_t>(std::min(kBlockRows, std::max<int64_t>(0, rows.size())) * std::min(kBlockKeys, keys.size())));
  for (int64_t block = 0; block < blocks; ++block) {
    progress.before_task();
    const Range of_block{rows.begin + block * kBlockRows, std::min(rows.end, rows.begin + (block + 1) * kBlockRows)};
    const Range seen = keys_of_rows(values.record, of_block);
    const std::vector<int64_t> all = every(of_block);
    // Blocks of keys begin at multiples of kBlockKeys, whatever the band is.
    const Range looked{std::max(keys.begin, seen.begin), std::min(keys.end, seen.end)};
    for (int64_t tile = looked.begin / kBlockKeys * kBlockKeys; tile < looked.end; tile += kBlockKeys) {
      const Range part{std::max(tile, looked.begin), std::min(tile + kBlockKeys, looked.end)};
      values.fill(all.data(), of_block.size(), part, memory.data());
      body(of_block, part, memory.data());
    }
    progress.after_task(0);
  }
}

}  // namespace

void check_vector(const Tensor& r, int64_t batch, int64_t length, const char* what) {
  if (r.dtype() != DType::kF32) fail(ErrorCode::kUnsupported, "map: the dtype of the vector is {}; expected f32", to_string(r.dtype()));
  if (r.rank() != 2 || r.size(0) != batch || r.size(1) != length)
    fail(ErrorCode::kShape, "map: the shape of the vector is {}; expected [{}, {}], one number per {}", to_string(r.shape()), batch, length,
         what);
}

Tensor times(const MapValues& values, const Tensor& r, const LookOptions& options) {
  check_look(values.record);
  const AttentionShape shape = values.record.shape();
  const int64_t rows = values.record.rows_kept();
  check_vector(r, shape.batch, shape.keys, "key");
  const Tensor factors = r.contiguous();
  Tensor out = Tensor::zeros({shape.batch, shape.heads, rows});
  for (int64_t map = 0; map < shape.batch * shape.heads; ++map) {
    MapValues of_head = values;
    of_head.batch = map / shape.heads;
    of_head.head = map % shape.heads;
    const float* by = factors.data<float>() + of_head.batch * shape.keys;
    std::vector<double> sums(static_cast<size_t>(rows));
    for_each_block(of_head, {0, rows}, {0, shape.keys}, options, [&](Range of, Range keys, const float* block) {
      parallel_ranges(of.size(), 8, [&](int64_t begin, int64_t end, int) {
        for (int64_t row = begin; row < end; ++row) {
          const float* at = block + row * keys.size();
          double chains[4] = {};
          for (int64_t key = 0; key < keys.size(); ++key)
            chains[key % 4] += static_cast<double>(at[key]) * static_cast<double>(by[keys.begin + key]);
          sums[static_cast<size_t>(of.begin + row)] += (chains[0] + chains[1]) + (chains[2] + chains[3]);
        }
      });
    });
    float* to = out.mutable_data<float>() + map * rows;
    for (int64_t row = 0; row < rows; ++row) to[row] = static_cast<float>(sums[static_cast<size_t>(row)]);
  }
  return out;
}

Tensor transposed_times(const MapValues& values, const Tensor& r, const LookOptions& options) {
  check_look(values.record);
  const AttentionShape shape = values.record.shape();
  const int64_t rows = values.record.rows_kept();
  check_vector(r, shape.batch, rows, "row");
  const Tensor factors = r.contiguous();
  Tensor out = Tensor::zeros({shape.batch, shape.heads, shape.keys});
  for (int64_t map = 0; map < shape.batch * shape.heads; ++map) {
    MapValues of_head = values;
    of_head.batch = map / shape.heads;
    of_head.head = map % shape.heads;
    const float* by = factors.data<float>() + of_head.batch * rows;
    std::vector<double> sums(static_cast<size_t>(shape.keys));
    for_each_block(of_head, {0, rows}, {0, shape.keys}, options, [&](Range of, Range keys, const float* block) {
      parallel_ranges(keys.size(), kGrain, [&](int64_t begin, int64_t end, int) {
        float added[kGrain];
        for (int64_t piece = begin; piece < end; piece += kGrain) {
          const int64_t count = std::min(kGrain, end - piece);
          std::fill(added, added + count, 0.0F);
          for (int64_t row = 0; row < of.size(); ++row) {
            const float factor = by[of.begin + row];
            if (factor == 0) continue;
            const float* at = block + row * keys.size() + piece;
            for (int64_t key = 0; key < count; ++key) added[key] += factor * at[key];
          }
          for (int64_t key = 0; key < count; ++key) sums[static_cast<size_t>(keys.begin + piece + key)] += static_cast<double>(added[key]);
        }
      });
    });
    float* to = out.mutable_data<float>() + map * shape.keys;
    for (int64_t key = 0; key < shape.keys; ++key) to[key] = static_cast<float>(sums[static_cast<size_t>(key)]);
  }
  return out;
}

}  // namespace clearhead
