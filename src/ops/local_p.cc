// Local attention around predicted centres, as a description: a visibility rule, and a Gaussian that multiplies the normalised
// weights.
//
// A rule identifies a query by its position among the keys, the Gaussian by its index in the call. With Align::kStart both are the same
// number.
// Source: Luong, Pham & Manning 2015, §3.2, eq. 9 and 10.
#include <utility>

#include "base/format.h"
#include "clearhead/attend.h"

namespace clearhead {

AttentionSpec local_p(Tensor centres, int64_t reach) {
  if (reach < 1) fail(ErrorCode::kInvalidArgument, "local_p: a reach of {} keys; expected 1 or more: σ is half of it", reach);
  if (!centres.defined() || centres.dtype() != DType::kF32 || centres.rank() != 3 || centres.numel() == 0) {
    fail(ErrorCode::kShape, "local_p: the centres are {} {}; expected f32 [batch or 1, head or 1, query], one for each query",
         centres.defined() ? to_string(centres.dtype()) : "missing", centres.defined() ? to_string(centres.shape()) : "");
  }
  const auto side = static_cast<float>(reach);
  const RuleTable centre = table(centres);
  AttentionSpec spec;
  spec.topology.band.align = Align::kStart;
  spec.topology.visible = visible([&](auto at) {
    const RuleValue batch = centres.size(0) == 1 ? RuleValue(0) : at.batch, head = centres.size(1) == 1 ? RuleValue(0) : at.head;
    return abs(at.key - centre(batch, head, at.query)) <= side;
  });
  spec.after.gaussian = LocalGaussian{std::move(centres), side / 2};
  return spec;
}

}  // namespace clearhead
