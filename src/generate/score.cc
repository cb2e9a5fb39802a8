// How probable a text is to a causal model, piece by piece over a cache: memory is that of a piece's logits, windows let go of what they passed.
#include <algorithm>
#include <functional>

#include "base/format.h"
#include "clearhead/generate.h"
#include "models/loaded_model.h"
#include "ops/ops.h"

namespace clearhead {
namespace {

constexpr int64_t kPieceLogits = int64_t{1} << 22;  // 16 MiB

}  // namespace

std::vector<float> log_probabilities(const Model& model, const std::vector<int32_t>& ids, const Edits& edits,
                                     const std::function<void(double)>& progress) {
  if (!model.info().has_causal) {
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" without a causal head says nothing of next tokens", model.info().name,
         model.info().model_type);
  }
  const int64_t count = static_cast<int64_t>(ids.size()) - 1, classes = model.info().vocabulary;
  if (count > model.info().longest) check_length(count + 1, model.info().longest);  // before any piece is read; the last token never is
  std::vector<float> out(static_cast<size_t>(std::max<int64_t>(0, count)));
  const int64_t piece = std::max<int64_t>(64, kPieceLogits / classes);
  ModelCache cache{.dtype = model.info().precision};
  for (int64_t begin = 0; begin < count; begin += piece) {
    const int64_t end = std::min(count, begin + piece);
    const Tensor logits = model.step({ids.begin() + begin, ids.begin() + end}, cache, {.edits = edits}).causal_logits.contiguous();
    const Tensor losses = ops::losses(logits.reshape({end - begin, classes}), {ids.begin() + begin + 1, ids.begin() + end + 1});
    std::transform(losses.data<float>(), losses.data<float>() + (end - begin), out.begin() + begin, std::negate<>());
    if (progress) progress(static_cast<double>(end) / static_cast<double>(count));
  }
  return out;
}

}  // namespace clearhead
