// A cache has a source for several sequences (beams); rows of a memory are those of one sequence each.
#include "models/networks/attending.h"

namespace clearhead {

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

}  // namespace clearhead
