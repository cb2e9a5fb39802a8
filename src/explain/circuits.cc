// The factors of QK and OV are products of the vocabulary's tables with the head's weights, a block of rows at a time. The largest entries
// are found in tiles of the product of both factors: each thread keeps the best entries of its rows of a tile, then they are merged.
#include "explain/circuits.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <functional>
#include <limits>
#include <mutex>
#include <utility>

#include "backends/registry.h"
#include "base/format.h"
#include "base/parallel.h"
#include "base/random.h"
#include "explain/eigenvalues.h"

namespace clearhead::explain {
namespace {

constexpr int64_t kBlockRows = 1024;                     // rows of a table that are converted to f32 together
constexpr int64_t kTileRows = 256, kTileColumns = 8192;  // size of a tile of a vocabulary × vocabulary matrix: 8 MB
constexpr int64_t kScannedRows = 8;                      // rows of a tile that one thread searches at a time
constexpr int64_t kScannedAtOnce = 256;                  // values that are compared with the bound together, because most are below it

MatrixView rows_of(const Tensor& t) { return {t.data<float>(), t.stride(0), 1}; }

// a·bᵀ, written to f32 [rows of a, rows of b], contiguous.
void multiply_transposed(const Tensor& a, const Tensor& b, float* out) {
  backend().dense.product({.a = rows_of(a),
                           .b = rows_of(b).transposed(),
                           .rows = a.size(0),
                           .inner = a.size(1),
                           .columns = b.size(0),
                           .out = out,
                           .out_stride = b.size(0)});
}

Tensor times_transposed(const Tensor& a, const Tensor& b) {
  Tensor out = Tensor::empty({a.size(0), b.size(0)});
  multiply_transposed(a, b, out.mutable_data<float>());
  return out;
}

// Calls body(first row, rows) for each block of rows of a table. The rows are a copy in f32.
template <class Body>
void for_each_block(const Tensor& table, const Body& body) {
  for (int64_t begin = 0; begin < table.size(0); begin += kBlockRows) {
    Tensor rows = to_f32(table.slice(0, begin, std::min(begin + kBlockRows, table.size(0))));
    body(begin, rows);
  }
}

// Scales and normalises a block of embeddings in place. bias: the bias of the norm, or undefined.
void normalise(Tensor& rows, double scale, const nn::Norm& norm, const Tensor& gain, const Tensor& bias) {
  float* x = rows.mutable_data<float>();
  if (scale != 1) {
    for (int64_t i = 0; i < rows.numel(); ++i) x[i] *= static_cast<float>(scale);
  }
  if (!norm) return;
  backend().dense.norm({.rms = norm.is_rms,
                        .epsilon = norm.epsilon,
                        .weight = gain.data<float>(),
                        .bias = bias.defined() ? bias.data<float>() : nullptr,
                        .x = x,
                        .out = x,
                        .rows = rows.size(0),
                        .width = rows.size(1)});
}

// prepared(table)·weightᵀ, f32 [vocabulary, head_dim]. prepare(rows) changes a block of rows in place.
template <class Prepare>
Tensor projected(const Tensor& table, const Tensor& weight, const Prepare& prepare) {
  Tensor out = Tensor::empty({table.size(0), weight.size(0)});
  float* to = out.mutable_data<float>();
  for_each_block(table, [&](int64_t begin, Tensor& rows) {
    prepare(rows);
    multiply_transposed(rows, weight, to + begin * weight.size(0));
  });
  return out;
}

// norm(E)·weightᵀ
Tensor embedded(const VocabularyEnds& ends, const nn::Norm& norm, const Tensor& norm_bias, const Tensor& weight) {
  return projected(ends.embedding, weight, [&](Tensor& rows) { normalise(rows, ends.scale, norm, norm.weight, norm_bias); });
}

// Applies the final norm without its scale to the rows of W_O: a layer norm centres each row, and both kinds of norm multiply it by the
// gain.   output: [head_dim, width]
Tensor behind_final_norm(const nn::Norm& norm, const Tensor& output) {
  Tensor out = output.clone();
  if (!norm) return out;
  const int64_t width = out.size(1);
  for (int64_t row = 0; row < out.size(0); ++row) {
    float* x = out.mutable_data<float>() + row * width;
    double mean = 0;
    for (int64_t c = 0; c < width && !norm.is_rms; ++c) mean += static_cast<double>(x[c]) / static_cast<double>(width);
    for (int64_t c = 0; c < width; ++c)
      x[c] = static_cast<float>((static_cast<double>(x[c]) - mean) * static_cast<double>(norm.weight.data<float>()[c]));
  }
  return out;
}

std::vector<double> mean_row(const Tensor& table) {
  std::vector<double> mean(static_cast<size_t>(table.size(1)), 0.0);
  for_each_block(table, [&](int64_t, const Tensor& rows) {
    const float* x = rows.data<float>();
    for (int64_t i = 0; i < rows.numel(); ++i) mean[static_cast<size_t>(i % table.size(1))] += static_cast<double>(x[i]);
  });
  for (double& value : mean) value /= static_cast<double>(table.size(0));
  return mean;
}

void add_to_rows(const std::vector<double>& row, double factor, Tensor& rows) {
  float* x = rows.mutable_data<float>();
  for (int64_t i = 0; i < rows.numel(); ++i)
    x[i] = static_cast<float>(static_cast<double>(x[i]) + factor * row[static_cast<size_t>(i % rows.size(1))]);
}

void scale_by(double factor, Tensor& rows) {
  float* x = rows.mutable_data<float>();
  for (int64_t i = 0; i < rows.numel(); ++i) x[i] = static_cast<float>(static_cast<double>(x[i]) * factor);
}

bool comes_before(const TokenPair& a, const TokenPair& b) {
  if (a.value != b.value) return a.value > b.value;
  return a.row != b.row ? a.row < b.row : a.column < b.column;
}

// The `count` best pairs that were added. They are a heap, whose front is the worst of them.
class BestPairs {
 public:
  explicit BestPairs(size_t count) : count_(count) {}
  void add(const TokenPair& pair) {
    if (heap_.size() == count_) {
      if (!comes_before(pair, heap_.front())) return;
      std::pop_heap(heap_.begin(), heap_.end(), comes_before);
      heap_.pop_back();
    }
    heap_.push_back(pair);
    std::push_heap(heap_.begin(), heap_.end(), comes_before);
  }
  // A pair with a smaller value cannot be among the best.
  float threshold() const { return heap_.size() < count_ ? -std::numeric_limits<float>::infinity() : heap_.front().value; }
  void add_all(const BestPairs& others) {
    for (const TokenPair& pair : others.heap_) add(pair);
  }
  std::vector<TokenPair> sorted() && {
    std::sort(heap_.begin(), heap_.end(), comes_before);
    return std::move(heap_);
  }

 private:
  size_t count_;
  std::vector<TokenPair> heap_{};
};

struct Tile {
  int64_t row = 0, column = 0, rows = 0, columns = 0;
  const float* values = nullptr;  // [rows, columns]
};

// Calls body(tile) for each tile of rows·columnsᵀ.
template <class Body>
void for_each_tile(const Tensor& rows, const Tensor& columns, const Body& body) {
  std::vector<float> memory(static_cast<size_t>(kTileRows * kTileColumns));
  for (int64_t row = 0; row < rows.size(0); row += kTileRows) {
    const Tensor some = rows.slice(0, row, std::min(row + kTileRows, rows.size(0)));
    for (int64_t column = 0; column < columns.size(0); column += kTileColumns) {
      const Tensor others = columns.slice(0, column, std::min(column + kTileColumns, columns.size(0)));
      multiply_transposed(some, others, memory.data());
      body(Tile{row, column, some.size(0), others.size(0), memory.data()});
    }
  }
}

// Returns true if at least one value is greater than or equal to the bound. There is no early exit, so that the compiler can vectorise it.
bool any_reaches(const float* values, int64_t count, float bound) {
  uint32_t found = 0;
  for (int64_t i = 0; i < count; ++i) found |= static_cast<uint32_t>(values[i] >= bound);
  return found != 0;
}

void check_count(int64_t count) {
  if (count < 1) fail(ErrorCode::kInvalidArgument, "circuits: a count of {}; expected a positive number of tokens or pairs", count);
}

// The first `count` entries of a row in an order of values, such as std::greater.
template <class Order>
std::vector<TokenValue> first_of_row(const VocabularyMatrix& matrix, int64_t row, int64_t count, const Order& is_before) {
  check_count(count);
  if (row < 0 || row >= matrix.rows.size(0))
    fail(ErrorCode::kInvalidArgument, "circuits: token {} is out of range; the vocabulary has tokens 0 to {}", row,
         matrix.rows.size(0) - 1);
  const Tensor values = times_transposed(matrix.rows.slice(0, row, row + 1), matrix.columns);
  std::vector<TokenValue> out;
  for (int64_t token = 0; token < values.numel(); ++token) out.push_back({static_cast<int32_t>(token), values.data<float>()[token]});
  const auto kept = out.begin() + std::min<int64_t>(count, static_cast<int64_t>(out.size()));
  std::partial_sort(out.begin(), kept, out.end(), [&](const TokenValue& a, const TokenValue& b) {
    return a.value == b.value ? a.token < b.token : is_before(a.value, b.value);
  });
  out.erase(kept, out.end());
  return out;
}

// Σλ/Σ|λ| of a matrix [size, size].
double copying_of(const std::vector<double>& matrix, int64_t size) {
  double sum = 0, magnitudes = 0;
  for (const std::complex<double>& one : eigenvalues(matrix, size)) {
    sum += one.real();
    magnitudes += std::abs(one);
  }
  return magnitudes > 0 ? sum / magnitudes : std::nan("");
}

void check_shape(const char* what, const Tensor& tensor, const Shape& expected) {
  if (tensor.shape() != expected)
    fail(ErrorCode::kShape, "circuits: {} is {}; expected {}", what, to_string(tensor.shape()), to_string(expected));
}

void check_norm(const char* what, const nn::Norm& norm, int64_t width) {
  if (!norm) return;
  check_shape(what, norm.weight, {width});
  if (norm.bias.defined()) check_shape(what, norm.bias, {width});
}

void check_head(const AttentionWeights& weights, int64_t head) {
  if (head < 0 || head >= weights.heads)
    fail(ErrorCode::kInvalidArgument, "circuits: head {} is out of range; the layer has heads 0 to {}", head, weights.heads - 1);
}

}  // namespace

void VocabularyEnds::check() const {
  if (embedding.rank() != 2)
    fail(ErrorCode::kShape, "circuits: the embedding is {}; expected [vocabulary, width]", to_string(embedding.shape()));
  check_shape("the unembedding", unembedding, embedding.shape());
  check_norm("the final norm", final_norm, width());
}

void AttentionWeights::check(int64_t width) const {
  if (heads < 1 || key_heads < 1 || head_dim < 1 || heads % key_heads != 0)
    fail(ErrorCode::kShape,
         "circuits: {} heads and {} key heads of width {}; expected positive numbers, and heads that are a multiple of "
         "the key heads",
         heads, key_heads, head_dim);
  check_shape("W_Q", query, {heads * head_dim, width});
  check_shape("W_K", key, {key_heads * head_dim, width});
  check_shape("W_V", value, {key_heads * head_dim, width});
  check_shape("W_O, transposed,", output, {heads * head_dim, width});
  if (query_bias.defined()) check_shape("the bias of queries", query_bias, {heads * head_dim});
  check_norm("the norm before attention", norm, width);
}

std::vector<TokenPair> VocabularyMatrix::largest(int64_t count) const {
  check_count(count);
  BestPairs best(static_cast<size_t>(count));
  std::mutex merging;
  for_each_tile(rows, columns, [&](const Tile& tile) {
    const float bound = best.threshold();
    parallel_ranges(tile.rows, kScannedRows, [&](int64_t begin, int64_t end, int) {
      BestPairs own(static_cast<size_t>(count));
      for (int64_t at = begin * tile.columns; at < end * tile.columns; at += kScannedAtOnce) {
        const int64_t stop = std::min(at + kScannedAtOnce, end * tile.columns);
        if (!any_reaches(tile.values + at, stop - at, bound)) continue;
        for (int64_t i = at; i < stop; ++i) {
          const int64_t row = tile.row + i / tile.columns, column = tile.column + i % tile.columns;
          if (tile.values[i] >= bound) own.add({static_cast<int32_t>(row), static_cast<int32_t>(column), tile.values[i]});
        }
      }
      const std::lock_guard lock(merging);
      best.add_all(own);
    });
  });
  return std::move(best).sorted();
}

std::vector<TokenValue> VocabularyMatrix::largest_of_row(int64_t row, int64_t count) const {
  return first_of_row(*this, row, count, std::greater<>());
}
std::vector<TokenValue> VocabularyMatrix::smallest_of_row(int64_t row, int64_t count) const {
  return first_of_row(*this, row, count, std::less<>());
}

double VocabularyMatrix::rank_of_own_column(int64_t most_rows) const {
  check_count(most_rows);
  const int64_t vocabulary = rows.size(0), rank = rows.size(1), step = (vocabulary + most_rows - 1) / most_rows;
  const int64_t count = (vocabulary + step - 1) / step;
  Tensor chosen = Tensor::empty({count, rank});
  std::vector<float> own;
  for (int64_t at = 0; at < count; ++at) {
    std::copy_n(rows.data<float>() + at * step * rank, rank, chosen.mutable_data<float>() + at * rank);
    own.push_back(times_transposed(chosen.slice(0, at, at + 1), columns.slice(0, at * step, at * step + 1)).data<float>()[0]);
  }
  std::vector<int64_t> below(static_cast<size_t>(count), 0);
  for_each_tile(chosen, columns, [&](const Tile& tile) {
    parallel_ranges(tile.rows, kScannedRows, [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const size_t of = static_cast<size_t>(tile.row + row);
        const float* values = tile.values + row * tile.columns;
        for (int64_t column = 0; column < tile.columns; ++column)
          below[of] += values[column] < own[of] && tile.column + column != static_cast<int64_t>(of) * step;
      }
    });
  });
  double sum = 0;
  for (const int64_t one : below) sum += static_cast<double>(one) / static_cast<double>(std::max<int64_t>(1, vocabulary - 1));
  return sum / static_cast<double>(count);
}

VocabularyMatrix qk_circuit(const VocabularyEnds& ends, const AttentionWeights& weights, int64_t head) {
  ends.check();
  weights.check(ends.width());
  check_head(weights, head);
  VocabularyMatrix out{embedded(ends, weights.norm, weights.norm.bias, weights.query_of(head)),
                       embedded(ends, weights.norm, {}, weights.key_of(head))};
  if (weights.query_bias.defined()) {
    const float* bias = weights.query_bias.data<float>() + head * weights.head_dim;
    add_to_rows({bias, bias + weights.head_dim}, 1, out.rows);
  }
  scale_by(weights.scale, out.rows);
  add_to_rows(mean_row(out.columns), -1, out.columns);
  return out;
}

VocabularyMatrix ov_circuit(const VocabularyEnds& ends, const AttentionWeights& weights, int64_t head) {
  ends.check();
  weights.check(ends.width());
  check_head(weights, head);
  const Tensor rows = embedded(ends, weights.norm, {}, weights.value_of(head));
  VocabularyMatrix out{rows, projected(ends.unembedding, behind_final_norm(ends.final_norm, weights.output_of(head)), [](Tensor&) {})};
  add_to_rows(mean_row(out.columns), -1, out.columns);
  return out;
}

CopyingScores::CopyingScores(const VocabularyEnds& ends, const nn::Norm& norm) : norm_(norm), final_norm_(ends.final_norm) {
  ends.check();
  check_norm("the norm before attention", norm, ends.width());
  const int64_t width = ends.width();
  const std::vector<double> mean = mean_row(ends.unembedding);
  const Tensor ones = Tensor::from(std::vector<float>(static_cast<size_t>(width), 1.0F), {width});
  kernel_ = Tensor::zeros({width, width});
  for_each_block(ends.embedding, [&](int64_t begin, Tensor& rows) {
    normalise(rows, ends.scale, norm, ones, {});
    Tensor out = to_f32(ends.unembedding.slice(0, begin, begin + rows.size(0)));
    add_to_rows(mean, -1, out);
    backend().dense.product({.a = rows_of(out).transposed(),
                             .b = rows_of(rows),
                             .rows = width,
                             .inner = rows.size(0),
                             .columns = width,
                             .accumulate = true,
                             .out = kernel_.mutable_data<float>(),
                             .out_stride = width});
  });
}

void CopyingScores::check(const AttentionWeights& weights) const {
  weights.check(kernel_.size(0));
  const nn::Norm& norm = weights.norm;
  if (static_cast<bool>(norm) != static_cast<bool>(norm_) || norm.is_rms != norm_.is_rms || norm.epsilon != norm_.epsilon)
    fail(ErrorCode::kInvalidArgument,
         "circuits: the norms before attention differ between layers in kind or epsilon; expected one for all");
}

// Returns W_O·(Uᵀ·norm(E))·W_Vᵀ, [head_dim, head_dim]. Its eigenvalues are those of norm(E)·W_Vᵀ·W_O·Uᵀ that are not 0.
std::vector<double> CopyingScores::over_channels(const Tensor& value, const Tensor& output, const nn::Norm& norm) const {
  Tensor read = value.clone();
  if (norm) {
    float* x = read.mutable_data<float>();
    for (int64_t i = 0; i < read.numel(); ++i) x[i] *= norm.weight.data<float>()[i % read.size(1)];
  }
  const Tensor kept = times_transposed(kernel_, read);  // [width, head_dim]
  const Tensor written = behind_final_norm(final_norm_, output);
  Tensor product = Tensor::empty({written.size(0), read.size(0)});
  backend().dense.product({.a = rows_of(written),
                           .b = rows_of(kept),
                           .rows = written.size(0),
                           .inner = written.size(1),
                           .columns = read.size(0),
                           .out = product.mutable_data<float>(),
                           .out_stride = read.size(0)});
  return {product.data<float>(), product.data<float>() + product.numel()};
}

double CopyingScores::of(const AttentionWeights& weights, int64_t head) const {
  check(weights);
  check_head(weights, head);
  return copying_of(over_channels(weights.value_of(head), weights.output_of(head), weights.norm), weights.head_dim);
}

NullDistribution CopyingScores::null(const AttentionWeights& weights, int64_t samples, uint64_t seed) const {
  check(weights);
  if (samples < 2) fail(ErrorCode::kInvalidArgument, "circuits: {} random heads; expected at least 2", samples);
  const int64_t width = kernel_.size(0), size = weights.head_dim * width;
  std::vector<std::vector<double>> matrices;
  for (int64_t sample = 0; sample < samples; ++sample) {
    Tensor value = Tensor::empty({weights.head_dim, width}), output = Tensor::empty({weights.head_dim, width});
    float *of_value = value.mutable_data<float>(), *of_output = output.mutable_data<float>();
    parallel_ranges(size, 1 << 12, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        of_value[i] = static_cast<float>(random_normal(seed, static_cast<uint64_t>(2 * sample * size + i)));
        of_output[i] = static_cast<float>(random_normal(seed, static_cast<uint64_t>((2 * sample + 1) * size + i)));
      }
    });
    matrices.push_back(over_channels(value, output, weights.norm));
  }
  std::vector<double> scores(matrices.size());
  parallel_for(samples,
               [&](int64_t at, int) { scores[static_cast<size_t>(at)] = copying_of(matrices[static_cast<size_t>(at)], weights.head_dim); });
  NullDistribution out;
  for (const double one : scores) out.mean += one / static_cast<double>(samples);
  for (const double one : scores) out.deviation += (one - out.mean) * (one - out.mean) / static_cast<double>(samples - 1);
  out.deviation = std::sqrt(out.deviation);
  return out;
}

}  // namespace clearhead::explain
