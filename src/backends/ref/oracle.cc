#include "backends/oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/ref/score.h"

namespace clearhead {

using reference::RowOfScores;
using reference::Vector;

namespace {

// 0 where values are not known: a trace may keep none.
int64_t value_width(const Keys& keys, const Tensor& v) {
  const PagedKeys* pages = std::get_if<PagedKeys>(&keys);
  if (!pages) return v.defined() ? v.size(3) : 0;
  for (const auto& sequence : pages->pages) {
    for (const auto& page : sequence) {
      if (!page->values.defined()) return 0;
    }
  }
  return pages->d_v;
}

}  // namespace

OracleRow oracle_row(const AttentionSpec& spec, const Tensor& q, const Keys& keys, const Tensor& v, int64_t batch, int64_t head,
                     int64_t query) {
  return oracle_row({.spec = spec, .q = q, .keys = keys, .query_length = q.size(2)}, v, batch, head, query);
}

OracleRow oracle_row(const AttentionRecord& record, const Tensor& v, int64_t batch, int64_t head, int64_t kept) {
  const AttentionSpec& spec = record.spec;
  const Tensor& q = record.q;
  const Keys& keys = record.keys;
  constexpr double kHidden = -std::numeric_limits<double>::infinity();
  const int64_t length = key_length(keys);
  const size_t count = static_cast<size_t>(length);
  OracleRow row;
  row.scores.resize(count);
  row.weights.assign(count, 0);
  std::vector<double> sizes(count);
  const RowOfScores at{spec, q, keys, batch, head, kept, record.first_query + kept, record.query_length};
  score_row(at, {0, length}, row.scores.data(), sizes.data());

  double largest = kHidden;
  for (size_t j = 0; j < count; ++j) {
    if (row.scores[j] == kHidden) continue;
    row.sees_any = true;
    largest = std::max(largest, row.scores[j]);  // a NaN reaches the row through the sum
    row.largest = std::max(row.largest, sizes[j]);
  }
  const auto sink = reference::sink_of(spec, head);
  if (sink) {
    largest = std::max(largest, *sink);
    row.largest = std::max(row.largest, std::abs(*sink));
  }
  double sum = sink && row.sees_any ? std::exp(*sink - largest) : 0;
  for (size_t j = 0; j < count; ++j) {
    if (row.scores[j] != kHidden) sum += std::exp(row.scores[j] - largest);
  }
  row.log_sum_exp = row.sees_any ? largest + std::log(sum) : kHidden;

  const int64_t width = value_width(keys, v);
  row.out.assign(static_cast<size_t>(width), 0);
  row.absolute.assign(static_cast<size_t>(width), 0);
  const int64_t key_head = key_heads(keys) > 0 ? head / (q.size(1) / key_heads(keys)) : 0;
  for (size_t j = 0; j < count; ++j) {
    if (row.scores[j] == kHidden) continue;
    row.weights[j] = std::exp(row.scores[j] - largest) / sum;
    row.row_sum += row.weights[j];
    if (width == 0) continue;
    const Vector value = reference::value_vector(keys, v, batch, key_head, static_cast<int64_t>(j));
    for (int64_t c = 0; c < width; ++c) {
      const double element = static_cast<double>(value.first[c * value.step]);
      row.out[static_cast<size_t>(c)] += row.weights[j] * element;
      row.absolute[static_cast<size_t>(c)] += row.weights[j] * std::abs(element);
    }
  }
  return row;
}

}  // namespace clearhead
