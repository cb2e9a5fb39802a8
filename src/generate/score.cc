// Log-probabilities of texts. A causal model reads a text piece by piece over a KV cache, so memory is that of one piece's
// logits, and layers with a sliding window release the keys that have left it.
#include <algorithm>
#include <functional>
#include <iterator>

#include "base/format.h"
#include "clearhead/generate.h"
#include "models/batches.h"
#include "models/input_kind.h"
#include "models/loaded_model.h"
#include "ops/ops.h"

namespace clearhead {
namespace {

constexpr int64_t kPieceLogits = int64_t{1} << 22;  // 16 MiB
constexpr int64_t kBatchLogits = int64_t{1} << 24;  // 64 MiB

void check_predicts(const Model& model) {
  if (model.info().has_causal) return;
  fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" without a causal head cannot predict next tokens", model.info().name,
       model.info().model_type);
}

}  // namespace

std::vector<float> log_probabilities(const Model& model, const std::vector<int32_t>& ids, const Interventions& interventions,
                                     const std::function<void(double)>& progress) {
  check_predicts(model);
  const int64_t count = static_cast<int64_t>(ids.size()) - 1, classes = model.info().vocabulary;
  if (count > model.info().longest) check_length(count + 1, model.info().longest);  // the last token is not an input
  std::vector<float> out(static_cast<size_t>(std::max<int64_t>(0, count)));
  const int64_t piece = std::max<int64_t>(64, kPieceLogits / classes);
  ModelCache cache{.dtype = model.info().precision};
  for (int64_t begin = 0; begin < count; begin += piece) {
    const int64_t end = std::min(count, begin + piece);
    const Tensor logits =
        model.step({ids.begin() + begin, ids.begin() + end}, cache, {.interventions = interventions}).causal_logits.contiguous();
    const Tensor losses = ops::losses(logits.reshape({end - begin, classes}), {ids.begin() + begin + 1, ids.begin() + end + 1});
    std::transform(losses.data<float>(), losses.data<float>() + (end - begin), out.begin() + begin, std::negate<>());
    if (progress) progress(static_cast<double>(end) / static_cast<double>(count));
  }
  return out;
}

std::vector<std::vector<float>> log_probabilities_all(const Model& model, const std::vector<Encoding>& texts, const BatchOptions& options) {
  check_predicts(model);
  const int64_t classes = model.info().vocabulary;
  const int64_t most = std::max<int64_t>(64, kBatchLogits / classes);
  std::vector<std::vector<float>> out(texts.size());
  size_t done = 0;
  for (const std::vector<size_t>& which : batches_of(texts, most)) {
    const auto longest = static_cast<int64_t>(texts[which[0]].size());
    if (longest > most) {
      of_text(options, which[0], [&] { out[which[0]] = log_probabilities(model, texts[which[0]].ids, options.interventions); });
    } else if (longest > 1) {
      of_text(options, which[0], [&] { check_length(longest, model.info().longest); });
      const Batch batch = padded(texts, which);
      const Tensor logits = model.run(batch, {.interventions = options.interventions}).causal_logits;
      std::vector<int32_t> targets(batch.ids.begin() + 1, batch.ids.end());
      targets.push_back(0);  // the losses after the last token of a text are not used
      const Tensor losses = ops::losses(logits.reshape({batch.batch * batch.length, classes}), targets);
      for (size_t row = 0; row < which.size(); ++row) {
        const float* from = losses.data<float>() + static_cast<int64_t>(row) * batch.length;
        const auto count = std::max<int64_t>(0, batch.lengths[row] - 1);
        std::transform(from, from + count, std::back_inserter(out[which[row]]), std::negate<>());
      }
    }
    done += which.size();
    if (options.progress) options.progress(static_cast<double>(done) / static_cast<double>(texts.size()));
  }
  return out;
}

namespace {

// The decoder input that predicts a target: the first token, then the target without its last token.
Encoding shifted(const Encoding& target, int32_t first) {
  Encoding out{.ids = {first}};
  out.ids.insert(out.ids.end(), target.ids.begin(), target.ids.end() - 1);
  return out;
}

}  // namespace

std::vector<std::vector<float>> log_probabilities_from(const Model& model, const std::vector<Encoding>& sources,
                                                       const std::vector<Encoding>& targets, const BatchOptions& options) {
  const ModelInfo& info = model.info();
  if (!input_kind(info).has_target)
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" reads no source; expected an encoder-decoder", info.name, info.model_type);
  if (sources.size() != targets.size())
    fail(ErrorCode::kInvalidArgument, "{} sources and {} targets; expected a target for each source", sources.size(), targets.size());
  std::vector<Encoding> read, longer;  // longer: the longer text of each pair, by whose length pairs are batched
  for (size_t index = 0; index < targets.size(); ++index) {
    const Encoding &source = sources[index], &target = targets[index];
    of_text(options, index, [&] {
      if (source.ids.empty() || target.ids.empty())
        fail(ErrorCode::kInvalidArgument, "the {} has no tokens", source.ids.empty() ? "source" : "target");
      for (const Encoding* side : {&source, &target}) check_length(static_cast<int64_t>(side->size()), info.longest);
    });
    read.push_back(shifted(target, info.first_token));
    longer.push_back(source.size() > target.size() ? source : target);
  }
  std::vector<std::vector<float>> out(targets.size());
  size_t done = 0;
  for (const std::vector<size_t>& which : batches_of(longer, std::max<int64_t>(64, kBatchLogits / info.vocabulary))) {
    const Batch target = padded(read, which);
    const Tensor logits = model.run_from(padded(sources, which), target, {.interventions = options.interventions}).causal_logits;
    std::vector<int32_t> ids(target.ids.size());  // 0 for padding, whose losses are not used
    for (size_t row = 0; row < which.size(); ++row) {
      const std::vector<int32_t>& said = targets[which[row]].ids;
      std::copy(said.begin(), said.end(), ids.begin() + static_cast<int64_t>(row) * target.length);
    }
    const Tensor losses = ops::losses(logits.reshape({target.batch * target.length, info.vocabulary}), ids);
    for (size_t row = 0; row < which.size(); ++row) {
      const float* from = losses.data<float>() + static_cast<int64_t>(row) * target.length;
      std::transform(from, from + targets[which[row]].size(), std::back_inserter(out[which[row]]), std::negate<>());
    }
    done += which.size();
    if (options.progress) options.progress(static_cast<double>(done) / static_cast<double>(targets.size()));
  }
  return out;
}

}  // namespace clearhead
