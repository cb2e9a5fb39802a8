// Object detection with a trained model (networks/detection_transformer.cc): its predictions, as labelled boxes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "models/network.h"

namespace clearhead {

/// The prediction of one query: the most probable class other than "no object", the probability of this class, and the bounding box.
struct QueryPrediction {
  int32_t label = 0;
  double probability = 0;
  std::array<float, 4> box{};  // x and y of the centre, width and height, as fractions of the picture's sides
};
/// outputs: the model's outputs, [query, classes + 1 + 4]
QueryPrediction prediction_of(const Tensor& outputs, int64_t query);

/// A detected object. Its bounding box is in pixels of a picture; x and y are the coordinates of the upper left corner.
struct DetectedObject {
  int64_t query = 0;
  std::string label{};
  double probability = 0;
  double x = 0, y = 0, width = 0, height = 0;
  std::vector<double> attention{};  // [patch] cross-attention of the query in the last decoder layer, averaged over the heads
};

struct DetectOptions {
  double threshold = 0.5;         ///< minimum probability of an object
  int64_t height = 0, width = 0;  ///< size of the picture before it was resized for the model; 0: the model's own size
  Interventions interventions{};
};

/// Returns the objects in a picture, sorted by descending probability. Throws kUnsupported for a model that was not trained for object
/// detection, otherwise as encode_input().
std::vector<DetectedObject> detect(const Model& model, const ModelInput& input, const DetectOptions& options = {});

/// Adds the predictions to the items "object" of a text, one item for each query: the predicted class to its name, "query 3: cat", and the
/// bounding box in the picture of the patches. If the highest probability is below 0.5, the name stays "query 3" and the box has width and
/// height 0. Does nothing if the text has no such items, or no picture.   outputs: [query, classes + 1 + 4]
void describe_objects(const NetworkFacts& facts, const Tensor& outputs, RunText& text);

}  // namespace clearhead
