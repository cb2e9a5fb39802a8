// Runs an object detector and converts its outputs to labelled boxes in pixels.
#include "models/detection.h"

#include <algorithm>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "models/encoded_input.h"
#include "models/input_kind.h"
#include "models/input_picture.h"
#include "models/loaded_network.h"
#include "ops/ops.h"

namespace clearhead {
namespace {

// Returns the cross-attention of a query to each patch in the last decoder layer, averaged over the heads.
std::vector<double> attention_to_patches(const Maps& maps, int64_t query) {
  std::vector<double> out;
  for (const Maps::Kept& layer : maps.all()) {
    if (layer.site.family != "cross") continue;
    const int64_t heads = layer.map.shape().heads;
    out.clear();
    for (int64_t head = 0; head < heads; ++head) {
      const MapRow row = layer.map.head(0, head).row(query);
      out.resize(row.weights().size(), 0);
      for (size_t patch = 0; patch < out.size(); ++patch)
        out[patch] += static_cast<double>(row.weights()[patch]) / static_cast<double>(heads);
    }
  }
  return out;
}

}  // namespace

QueryPrediction prediction_of(const Tensor& outputs, int64_t query) {
  const int64_t classes = outputs.size(1) - 5;
  const float* row = outputs.data<float>() + query * outputs.size(1);
  const std::vector<double> probabilities = ops::softmax_of(row, classes + 1);
  const auto best = std::max_element(probabilities.begin(), probabilities.end() - 1);
  QueryPrediction out{static_cast<int32_t>(best - probabilities.begin()), *best};
  std::copy_n(row + classes + 1, 4, out.box.begin());
  return out;
}

std::vector<DetectedObject> detect(const Model& model, const ModelInput& input, const DetectOptions& options) {
  if (model.info().output != "boxes")
    fail(ErrorCode::kUnsupported,
         "{}: the model finds no objects in pictures; expected one that was trained with the task \"object-detection\"", model.info().name);
  const LoadedNetwork& network = network_model(model, "finds no objects in pictures");
  const NetworkFacts& facts = network.facts();
  const EncodedInput read = encode_input(facts, nullptr, input);
  const EncodedBatch batch = collate({&read}, 0);
  Maps maps;
  const Tensor outputs = network.run_batch(batch.input, nullptr, {.observer = &maps, .interventions = options.interventions}).class_logits;
  const int64_t height = options.height > 0 ? options.height : facts.picture.height,
                width = options.width > 0 ? options.width : facts.picture.width;
  const PictureScale scale = picture_scale(facts.picture, height, width);
  std::vector<DetectedObject> out;
  for (int64_t query = 0; query < outputs.size(0); ++query) {
    const auto [label, probability, box] = prediction_of(outputs, query);
    if (probability < options.threshold) continue;
    const auto pixels = [](float share, int64_t side) { return static_cast<double>(share) * static_cast<double>(side); };
    const double wide = pixels(box[2], facts.picture.width) / scale.x, high = pixels(box[3], facts.picture.height) / scale.y;
    out.push_back({.query = query,
                   .label = facts.labels[static_cast<size_t>(label)],
                   .probability = probability,
                   .x = (pixels(box[0], facts.picture.width) - scale.left) / scale.x - wide / 2,
                   .y = (pixels(box[1], facts.picture.height) - scale.top) / scale.y - high / 2,
                   .width = wide,
                   .height = high,
                   .attention = attention_to_patches(maps, query)});
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.probability > b.probability; });
  return out;
}

void describe_objects(const NetworkFacts& facts, const Tensor& outputs, RunText& text) {
  const auto items_of = [&](std::string_view kind) {
    return std::find_if(text.items.begin(), text.items.end(), [&](const ItemRange& range) { return range.kind == kind; });
  };
  const auto objects = items_of("object"), patches = items_of("patch");
  if (objects == text.items.end() || patches == text.items.end() || !patches->picture.defined()) return;
  objects->picture = patches->picture;
  objects->boxes = Tensor::empty({outputs.size(0), 4});
  const auto height = static_cast<float>(patches->picture.size(0)), width = static_cast<float>(patches->picture.size(1));
  for (int64_t query = 0; query < outputs.size(0); ++query) {
    const QueryPrediction one = prediction_of(outputs, query);
    const bool is_found = one.probability >= DetectOptions{}.threshold;
    float* box = objects->boxes.mutable_data<float>() + 4 * query;
    box[2] = is_found ? one.box[2] * width : 0;
    box[3] = is_found ? one.box[3] * height : 0;
    box[0] = one.box[0] * width - box[2] / 2;
    box[1] = one.box[1] * height - box[3] / 2;
    if (is_found)
      text.pieces[static_cast<size_t>(objects->begin + query)] =
          format("query {}: {}", query + 1, facts.labels[static_cast<size_t>(one.label)]);
  }
}

}  // namespace clearhead
