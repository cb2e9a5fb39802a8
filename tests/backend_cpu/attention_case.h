// Attention calls made for tests, and the obvious double loop they are checked against.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "backends/contract.h"
#include "backends/cpu/cpu.h"
#include "clearhead/spec.h"

namespace clearhead::test {

struct Case {
  AttentionShape shape{.batch = 1, .heads = 2, .key_heads = 1, .queries = 5, .keys = 7, .d_k = 8, .d_v = 8};
  AttentionSpec spec{};
  Tensor q{}, k{}, v{};
};

struct Result {
  Tensor out{};
  RowStats rows{};
};

inline Tensor random_tensor(Shape shape, uint32_t seed, float size = 1) {
  Tensor tensor = Tensor::empty(std::move(shape));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, size);
  float* data = tensor.mutable_data<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) data[i] = normal(random);
  return tensor;
}

inline Case make_case(AttentionShape shape, uint32_t seed, float query_size = 1) {
  Case c;
  c.shape = shape;
  c.q = random_tensor({shape.batch, shape.heads, shape.queries, shape.d_k}, seed, query_size);
  c.k = random_tensor({shape.batch, shape.key_heads, shape.keys, shape.d_k}, seed + 1);
  c.v = random_tensor({shape.batch, shape.key_heads, shape.keys, shape.d_v}, seed + 2);
  return c;
}

inline Result empty_result(const AttentionShape& s) {
  return {Tensor::empty({s.batch, s.heads, s.queries, s.d_v}),
          {Tensor::empty({s.batch, s.heads, s.queries}), Tensor::empty({s.batch, s.heads, s.queries})}};
}

inline Result run(const Backend& backend, const Case& c) {
  Result result = empty_result(c.shape);
  const Keys keys = c.k;
  backend.forward({c.spec, c.q, keys, c.v, result.out, result.rows});
  return result;
}

/// The tensors of a case as pages; whatever lies beyond the last key is NaN, so that reading it shows.
inline PagedKeys make_pages(const Tensor& k, const Tensor& v) {
  PagedKeys paged;
  paged.length = k.size(2), paged.key_heads = k.size(1), paged.d_k = k.size(3), paged.d_v = v.size(3);
  const auto at = [](const Tensor& t, int64_t b, int64_t h, int64_t j, int64_t c) {
    return t.data<float>()[b * t.stride(0) + h * t.stride(1) + j * t.stride(2) + c * t.stride(3)];
  };
  for (int64_t b = 0; b < k.size(0); ++b) {
    paged.pages.emplace_back();
    for (int64_t first = 0; first < paged.length; first += KeyPage::kLength) {
      auto page = std::make_shared<KeyPage>();
      page->keys = Tensor::empty({paged.key_heads, KeyPage::kLength / KeyPage::kPanel, paged.d_k, KeyPage::kPanel});
      page->values = Tensor::empty({paged.key_heads, KeyPage::kLength, paged.d_v});
      float *keys = page->keys.mutable_data<float>(), *values = page->values.mutable_data<float>();
      std::fill(keys, keys + page->keys.numel(), std::numeric_limits<float>::quiet_NaN());
      std::fill(values, values + page->values.numel(), std::numeric_limits<float>::quiet_NaN());
      for (int64_t h = 0; h < paged.key_heads; ++h) {
        for (int64_t j = 0; j < std::min(KeyPage::kLength, paged.length - first); ++j) {
          for (int64_t c = 0; c < paged.d_k; ++c) {
            keys[((h * 16 + j / 16) * paged.d_k + c) * 16 + j % 16] = at(k, b, h, first + j, c);
          }
          for (int64_t c = 0; c < paged.d_v; ++c) values[(h * KeyPage::kLength + j) * paged.d_v + c] = at(v, b, h, first + j, c);
        }
      }
      paged.pages.back().push_back(page);
    }
  }
  return paged;
}

inline Result run_paged(const Backend& backend, const Case& c) {
  Result result = empty_result(c.shape);
  const Keys keys = make_pages(c.k, c.v);
  backend.forward({c.spec, c.q, keys, Tensor(), result.out, result.rows});
  return result;
}

/// One row by the definition, in double, reading the operands by index.
struct ReferenceRow {
  std::vector<double> scores{};            // natural units; −∞ where hidden
  std::vector<double> out{};               // [d_v]
  std::vector<double> magnitude{};         // Σ_j P_ij·|v_jc|
  double log_sum_exp = 0, score_size = 0;  // score_size is S_i of the tolerance
};

template <class T>
T element(const Tensor& t, std::initializer_list<int64_t> index) {
  int64_t offset = 0;
  int axis = 0;
  for (const int64_t i : index) {
    offset += (t.size(axis) == 1 ? 0 : i) * t.stride(axis);
    ++axis;
  }
  return reinterpret_cast<const T*>(t.raw())[offset];
}

inline bool is_visible(const Case& c, int64_t b, int64_t h, int64_t i, int64_t j) {
  const Topology& t = c.spec.topology;
  const int64_t position = t.band.align == Align::kEnd ? i + c.shape.keys - c.shape.queries : i;
  if (t.band.back && j < position - *t.band.back) return false;
  if (t.band.ahead && j > position + *t.band.ahead) return false;
  if (t.segments) {
    const int32_t own = element<int32_t>(t.segments->queries, {b, i}), other = element<int32_t>(t.segments->keys, {b, j});
    if (own < 0 || own != other) return false;
  }
  return !t.mask || element<bool>(t.mask->visible, {b, h, i, j});
}

inline ReferenceRow reference_row(const Case& c, int64_t b, int64_t h, int64_t i) {
  const AttentionShape& s = c.shape;
  const int64_t key_head = h / (s.heads / s.key_heads);
  const auto given = std::get<Dot>(c.spec.pair).scale;
  const double scale = given ? *given : 1 / std::sqrt(static_cast<double>(s.d_k));
  const double position = static_cast<double>(c.spec.topology.band.align == Align::kEnd ? i + s.keys - s.queries : i);
  ReferenceRow row;
  row.out.assign(static_cast<size_t>(s.d_v), 0);
  row.magnitude = row.out;
  double largest = -std::numeric_limits<double>::infinity();
  const auto* query = c.q.data<float>() + b * c.q.stride(0) + h * c.q.stride(1) + i * c.q.stride(2);
  const auto* keys = c.k.data<float>() + b * c.k.stride(0) + key_head * c.k.stride(1);
  const auto* values = c.v.data<float>() + b * c.v.stride(0) + key_head * c.v.stride(1);
  for (int64_t j = 0; j < s.keys; ++j) {
    double score = 0, size = 0;
    for (int64_t d = 0; d < s.d_k; ++d) {
      const double product = double{query[d * c.q.stride(3)]} * double{keys[j * c.k.stride(2) + d * c.k.stride(3)]};
      score += product, size += std::abs(product);
    }
    score *= scale, size *= std::abs(scale);
    for (const Term& term : c.spec.terms) {
      if (std::isinf(score) && score < 0) break;  // hidden by a bias: stays so
      double change = 0;
      if (const auto* alibi = std::get_if<Alibi>(&term))
        change = -element<float>(alibi->slopes, {h}) * std::abs(position - static_cast<double>(j));
      if (const auto* dense = std::get_if<Dense>(&term)) change = element<float>(dense->bias, {b, h, i, j});
      if (const auto* soft_cap = std::get_if<SoftCap>(&term)) change = soft_cap->cap * std::tanh(score / soft_cap->cap) - score;
      score += change;
      if (std::isfinite(change)) size += std::abs(change);
    }
    if (!is_visible(c, b, h, i, j)) score = -std::numeric_limits<double>::infinity(), size = 0;
    row.scores.push_back(score);
    if (score > largest || std::isnan(score)) largest = score;
    row.score_size = std::max(row.score_size, size);
  }
  double sum = 0;
  const auto& sinks = std::get<Softmax>(c.spec.normaliser).sinks;
  if (std::isinf(largest) && largest < 0) {
    row.log_sum_exp = largest;
    return row;
  }
  if (sinks) largest = std::max(largest, double{element<float>(*sinks, {h})});
  for (const double score : row.scores) sum += std::isinf(score) && score < 0 ? 0 : std::exp(score - largest);
  if (sinks) sum += std::exp(element<float>(*sinks, {h}) - largest);
  row.log_sum_exp = largest + std::log(sum);
  for (int64_t j = 0; j < s.keys; ++j) {
    const double score = row.scores[static_cast<size_t>(j)];
    if (std::isinf(score) && score < 0) continue;
    const double weight = std::exp(score - largest) / sum;
    for (int64_t d = 0; d < s.d_v; ++d) {
      const double value = values[j * c.v.stride(2) + d * c.v.stride(3)];
      row.out[static_cast<size_t>(d)] += weight * value;
      row.magnitude[static_cast<size_t>(d)] += weight * std::abs(value);
    }
  }
  return row;
}

/// Every instruction set this machine runs.
inline std::vector<const Backend*> tables() {
  std::vector<const Backend*> out;
  for (const InstructionSet isa : {InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (const Backend* backend = cpu_backend(isa)) out.push_back(backend);
  }
  return out;
}

}  // namespace clearhead::test
