// In a cache, several sequences (beams) can share a source; in a memory, each sequence has its own copy.
#include "models/attending.h"

#include <cmath>

namespace clearhead {

SharedWords::SharedWords(const Scope& scope, int64_t vocabulary, int64_t width, double dropout)
    : dropout_(dropout),
      table_(scope / "embedding", vocabulary, width, Init::normal(1 / std::sqrt(static_cast<double>(width)))),
      bias_(scope.parameter("bias", {vocabulary}, Init::zeros())) {}

// Scales the embeddings to variance 1 (Vaswani et al. 2017, §3.4), because the table is also the output projection and its
// entries are small.
Tensor SharedWords::operator()(Compute& compute, const std::vector<int32_t>& ids) const {
  const Tensor words = table_(compute, ids), scale = Tensor::from(std::vector<float>{std::sqrt(static_cast<float>(words.size(1)))}, {1, 1});
  return compute.dropout(compute.multiply(words, scale.expand(words.shape())), dropout_);
}

Tensor SharedWords::logits(Compute& compute, const Tensor& rows) const {
  return compute.linear(compute.dropout(rows, dropout_), table_.weight, bias_);
}

Tensor Steps::rows(Compute& compute) const {
  const Tensor joined = compute.concat(steps_, 1);
  return joined.reshape({joined.size(0) * joined.size(1), joined.size(2)});
}

Memory memory_of(Compute& compute, const ModelCache& cache) {
  const int64_t sources = cache.source.size(0), length = cache.source.size(1), width = cache.source.size(2);
  Memory memory{.layout = {cache.batch, length}};
  std::vector<int32_t> of;
  for (int64_t row = 0; row < cache.batch; ++row) {
    of.push_back(static_cast<int32_t>(row * sources / cache.batch));
    if (!cache.source_lengths.empty()) memory.layout.lengths.push_back(cache.source_lengths[static_cast<size_t>(of.back())]);
  }
  memory.rows = compute.embed(cache.source.reshape({sources, length * width}), of).reshape({cache.batch * length, width});
  return memory;
}

Tensor look(Compute& compute, const Memory& memory, const Tensor& queries, AttentionSpec spec, const Site& site) {
  const Layout& layout = memory.layout;
  const int64_t n = queries.size(0) / layout.batch;
  if (!layout.lengths.empty()) spec.topology.segments = Segments{Tensor::zeros({layout.batch, n}, DType::kI32), layout.segments()};
  const auto as_head = [&](const Tensor& rows, int64_t length) { return rows.reshape({layout.batch, 1, length, rows.size(1)}); };
  const Tensor seen =
      compute.attend(as_head(queries, n), as_head(memory.keys, layout.length), as_head(memory.rows, layout.length), spec, site);
  return seen.reshape({queries.size(0), memory.rows.size(1)});
}

PredictedCentre::PredictedCentre(const Scope& scope, int64_t width)
    : state(scope / "centre", width, width, {.bias = false}), place(scope / "place", width, 1, {.bias = false}) {}

Tensor PredictedCentre::operator()(Compute& compute, const Layout& read, const Tensor& states) const {
  const int64_t n = states.size(0) / read.batch;
  const Tensor share = compute.activate("sigmoid", place(compute, compute.activate("tanh", state(compute, states))));
  std::vector<float> lengths;
  for (int64_t b = 0; b < read.batch; ++b)
    lengths.insert(lengths.end(), static_cast<size_t>(n),
                   static_cast<float>(read.lengths.empty() ? read.length : read.lengths[static_cast<size_t>(b)]));
  return compute.multiply(share, Tensor::from(lengths, {read.batch * n, 1})).reshape({read.batch, 1, n});
}

}  // namespace clearhead
