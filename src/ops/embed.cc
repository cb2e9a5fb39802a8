// Embeddings: each output row is a sum of rows of tables. The gradient of a table row is the sum over its uses.
#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {
namespace {

const int32_t* checked(const char* what, const Tensor& table, const std::vector<int32_t>& ids, const Tensor& out) {
  if (!table.defined()) return nullptr;
  if (table.rank() != 2 || table.size(1) != out.size(1) || static_cast<int64_t>(ids.size()) != out.size(0)) {
    fail(ErrorCode::kShape, "embedding: {} {} ids and a table {} do not fit out {}", ids.size(), what, to_string(table.shape()),
         to_string(out.shape()));
  }
  for (const int32_t id : ids) {
    if (id < 0 || id >= table.size(0)) {
      fail(ErrorCode::kInvalidArgument, "{} id {} is outside the model's table of {} entries", what, id, table.size(0));
    }
  }
  return ids.data();
}

}  // namespace

void embed(Run& run, const EmbeddingTables& tables, const EmbeddingIds& ids, Tensor& out) {
  if (out.rank() != 2 || !out.is_contiguous())
    fail(ErrorCode::kShape, "embedding: out is {}; expected contiguous [rows, width]", to_string(out.shape()));
  const int32_t* tokens = checked("token", tables.tokens, ids.tokens, out);
  const int32_t* positions = checked("position", tables.positions, ids.positions, out);
  const int32_t* types = checked("type", tables.types, ids.types, out);
  backend().dense.embed({tables.tokens, tables.positions, tables.types, tables.scale, tokens, positions, types, out.mutable_data<float>(),
                         out.size(0), out.size(1)});
  struct Kept {
    std::vector<int32_t> tokens, positions, types;
  };
  const Kept kept = run.recorder ? Kept{ids.tokens, ids.positions, ids.types} : Kept{};
  if (!run.records({&tables.tokens, &tables.positions, &tables.types})) return;
  run.recorder->record("embedding", out, {}, [=, out = shadow_of(out)](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    const auto reverse = [&](const Tensor& table, const std::vector<int32_t>& rows, float scale) {
      if (!table.defined() || !gradients.wants(table)) return;
      Tensor d_table = gradients.of(table);
      backend().gradients.embedding({rows.data(), d_out.data<float>(), scale, d_table.mutable_data<float>(), d_out.size(0), d_out.size(1)});
    };
    reverse(tables.tokens, kept.tokens, tables.scale);
    reverse(tables.positions, kept.positions, 1);
    reverse(tables.types, kept.types, 1);
  });
}

void gather_rows(Run& run, const Tensor& x, const std::vector<int32_t>& rows, Tensor& out) {
  if (!x.is_contiguous()) fail(ErrorCode::kShape, "gather: x is strided {}; expected a contiguous tensor", to_string(x.shape()));
  embed(run, {.tokens = x}, {rows, {}, {}}, out);
}

}  // namespace clearhead::ops
