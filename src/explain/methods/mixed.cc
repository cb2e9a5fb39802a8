// The norm of the vector that each token contributes to a row of one layer (TokenMixing; Kobayashi et al. 2021).
#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/residual_stream.h"
#include "explain/attribution_parts.h"

namespace clearhead::explain {
namespace {

Vector mixed(const AttributionTarget& target, const AttributionOptions& options) {
  if (options.head) fail(ErrorCode::kInvalidArgument, "mixed: this method combines all heads of a layer; expected no --head");
  const int layer = looked_at(target, options.layer).layer;
  Vector of_side;
  for (const int64_t row : target.rows()) {
    const Vector norms = norms_of_rows(target.mixed_vectors(layer, row));
    of_side.resize(norms.size());
    add(of_side, norms, 1 / static_cast<double>(target.rows().size()));
  }
  return by_id(target, target.side(), of_side);
}

}  // namespace

const Method& mixed_method() {
  static const Method method = {
      .order = 50,
      .name = "mixed",
      .what = "all heads together, with residual and norm, last layer (Kobayashi et al. 2021)",
      .of_a_layer = true,
      .of_ids = mixed,
  };
  return method;
}

}  // namespace clearhead::explain
