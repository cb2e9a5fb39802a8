// The objects that a detector finds in a picture (networks/detection_transformer.cc).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "models/network.h"

namespace clearhead {

/// An object, found by one query of the model. Its box is in pixels of a picture; x and y are those of the upper left corner.
struct DetectedObject {
  int64_t query = 0;
  std::string label{};
  double probability = 0;
  double x = 0, y = 0, width = 0, height = 0;
  std::vector<double> seen{};  // [patch] attention of the query in the last layer, mean over heads
};

struct DetectOptions {
  double threshold = 0.5;         ///< objects that are less probable are left out
  int64_t height = 0, width = 0;  ///< size of the picture before it was resized for the model; 0: that of the model
  Interventions interventions{};
};

/// Finds the objects of a picture, the most probable ones first. Throws kUnsupported for a model that finds no objects, otherwise as
/// encode_input().
std::vector<DetectedObject> detect(const Model& model, const ModelInput& input, const DetectOptions& options = {});

/// Names the items "object" by what the queries found, "query 3: cat", and gives them boxes in the picture of the patches. A query that found
/// no object, or one with a probability below 0.5, keeps its name and has a box without width and height. Does nothing if the text has no
/// such items, or no picture.   outputs: [query, classes + 1 + 4]
void describe_objects(const NetworkFacts& facts, const Tensor& outputs, RunText& text);

}  // namespace clearhead
