// Draws pictures with a model that predicts them patch by patch (models/networks/image_transformer.cc).
//
//   s_t ~ softmax((log p(s_t | s_<t, c) + g log p(c | s_≤t)) / T)      p(c | s) by Bayes' rule, with equal priors
//
// g > 0 is classifier guidance (Dhariwal & Nichol 2021, §4), with the model's own probability of the class in place of another classifier.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clearhead/model.h"

namespace clearhead {

struct DrawOptions {
  std::string label{};     ///< the class of the pictures
  int64_t count = 1;       ///< number of pictures
  double temperature = 1;  ///< divides the logits; 0: the most probable symbol of each patch
  double guidance = 0;     ///< g; above 0, each step also runs the other classes
  uint64_t seed = 0;       ///< picture k of a seed does not depend on `count`
  Interventions interventions{};
  std::function<void(double fraction)> progress{};
};

struct DrawnPicture {
  Tensor picture{};  ///< f32 [1, height, width]: 1 is ink, 0 is not
  double bits = 0;   ///< −log2 p(picture | class) of the model, at temperature 1
};

/// Throws kUnsupported for a model that does not draw; kInvalidArgument, with the known classes, for an unknown one, and for a temperature
/// or a guidance that is negative or not finite.
std::vector<DrawnPicture> draw(const Model& model, const DrawOptions& options);

}  // namespace clearhead
