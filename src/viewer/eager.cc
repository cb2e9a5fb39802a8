#include "viewer/eager.h"

#include <cmath>
#include <limits>

#include "spec/visible.h"

namespace clearhead {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

// One key: channel c is first[c·step], from a tensor in any strides or from the panels of pages.
struct KeyVector {
  const float* first = nullptr;
  int64_t step = 0;
};
KeyVector key_vector(const Keys& keys, int64_t key_head, int64_t key) {
  if (const Tensor* tensor = std::get_if<Tensor>(&keys)) {
    return {tensor->data<float>() + key_head * tensor->stride(1) + key * tensor->stride(2), tensor->stride(3)};
  }
  const PagedKeys& paged = std::get<PagedKeys>(keys);
  const Tensor& page = paged.pages[0][static_cast<size_t>(key / KeyPage::kLength)]->keys;
  const int64_t inside = key % KeyPage::kLength, panels = KeyPage::kLength / KeyPage::kPanel;
  const int64_t panel = key_head * panels + inside / KeyPage::kPanel;
  return {page.data<float>() + panel * paged.d_k * KeyPage::kPanel + inside % KeyPage::kPanel, KeyPage::kPanel};
}

// Element [0, head, query, key] of an operand that may broadcast.
int64_t element(const Tensor& operand, int64_t head, int64_t query, int64_t key) {
  return head * broadcast_stride(operand, 1) + query * broadcast_stride(operand, 2) + key * operand.stride(3);
}

struct Place {
  int64_t head = 0, query = 0, position = 0;
};

bool sees(const AttentionSpec& spec, const Place& at, int64_t key, Range band) {
  if (key < band.begin || key >= band.end) return false;
  if (spec.topology.segments) {
    const Tensor &queries = spec.topology.segments->queries, &keys = spec.topology.segments->keys;
    const int32_t own = queries.data<int32_t>()[at.query * queries.stride(1)];
    if (own < 0 || own != keys.data<int32_t>()[key * keys.stride(1)]) return false;
  }
  if (!spec.topology.mask) return true;
  const Tensor& mask = spec.topology.mask->visible;
  return mask.data<bool>()[element(mask, at.head, at.query, key)];
}

// Applies the terms to a score; adds their sizes to `magnitude`.
double with_terms(const AttentionSpec& spec, const Place& at, int64_t key, double score, double& magnitude) {
  for (const Term& term : spec.terms) {
    if (const Alibi* alibi = std::get_if<Alibi>(&term)) {
      const double slope = static_cast<double>(alibi->slopes.data<float>()[at.head * alibi->slopes.stride(0)]);
      const double value = slope * static_cast<double>(std::abs(at.position - key));
      score -= value;
      magnitude += std::abs(value);
    } else if (const Dense* dense = std::get_if<Dense>(&term)) {
      const double value = static_cast<double>(dense->bias.data<float>()[element(dense->bias, at.head, at.query, key)]);
      if (value == kHidden) return kHidden;
      score += value;
      magnitude += std::abs(value);
    } else if (const SoftCap* cap = std::get_if<SoftCap>(&term)) {
      score = static_cast<double>(cap->cap) * std::tanh(score / static_cast<double>(cap->cap));
    }
  }
  return score;
}

}  // namespace

EagerRow eager_row(const AttentionRecord& record, int64_t head, int64_t row) {
  const AttentionShape shape = record.shape();
  const AttentionSpec& spec = record.spec;
  const Place at{head, record.first_query + row, record.position_of(record.first_query + row)};
  const Dot& dot = std::get<Dot>(spec.pair);
  const double scale = dot.scale ? static_cast<double>(*dot.scale) : 1.0 / std::sqrt(static_cast<double>(shape.d_k));
  const Range band = visible_band(spec.topology.band, at.position, shape.keys);
  const int64_t key_head = head * shape.key_heads / shape.heads;
  const float* q = record.q.data<float>() + head * record.q.stride(1) + row * record.q.stride(2);
  EagerRow out;
  out.weights.assign(static_cast<size_t>(shape.keys), kHidden);
  double most = kHidden;
  for (int64_t key = 0; key < shape.keys; ++key) {
    if (!sees(spec, at, key, band)) continue;
    const KeyVector k = key_vector(record.keys, key_head, key);
    double sum = 0, sizes = 0;
    for (int64_t c = 0; c < shape.d_k; ++c) {
      const double product = static_cast<double>(q[c * record.q.stride(3)]) * static_cast<double>(k.first[c * k.step]);
      sum += product;
      sizes += std::abs(product);
    }
    double magnitude = std::abs(scale) * sizes;
    const double score = with_terms(spec, at, key, scale * sum, magnitude);
    out.weights[static_cast<size_t>(key)] = score;
    if (score > kHidden) out.largest = std::max(out.largest, magnitude);
    most = std::max(most, score);
  }
  double total = 0;
  const auto& sinks = std::get<Softmax>(spec.normaliser).sinks;
  const double logit = sinks ? static_cast<double>(sinks->data<float>()[head * sinks->stride(0)]) : kHidden;
  if (sinks) {
    most = std::max(most, logit);
    out.largest = std::max(out.largest, std::abs(logit));
  }
  if (most > kHidden && sinks) total += std::exp(logit - most);
  for (double& weight : out.weights) {
    weight = weight > kHidden ? std::exp(weight - most) : weight == kHidden ? 0.0 : weight;
    total += weight;
  }
  for (double& weight : out.weights) weight = total > 0 ? weight / total : weight;
  return out;
}

}  // namespace clearhead
