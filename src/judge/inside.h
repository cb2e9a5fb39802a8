// What goes on inside a model between an input and one answer: which heads it needs, what each adds to it directly, what every layer
// would answer, and where one text's state brings another text's answer back.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "judge/subject.h"

namespace clearhead::judge {

struct HeadEffect {
  std::string family{};
  int layer = 0;
  int64_t head = 0;
  double value = 0;
};

struct InsideOptions {
  std::function<void(double fraction)> progress{};
  const std::atomic<bool>* cancel = nullptr;  ///< ends with what there is
};

/// What the answer's probability loses when a head's output is zero (Michel, Levy & Neubig 2019, eq. 2). A run a head.
std::vector<HeadEffect> heads_by_knock_out(const Subject& subject, const InsideOptions& options = {});
/// |∂y/∂ξ| for a factor ξ = 1 on a head's output, Σ_i dO_i·O_i (ibid., eq. 3 for one text). One pass forward and back.
std::vector<HeadEffect> heads_by_gradient(const Subject& subject);
/// What each head adds to y by itself, at the row that the answer is read from, through the final norm (its scale as it is) and the
/// unembedding (direct logit attribution: Elhage et al. 2021, "A mathematical framework"). Throws kUnsupported for models that do
/// not give next tokens.
std::vector<HeadEffect> heads_by_what_they_add(const Subject& subject);

/// What every layer would answer if it were the last (logit lens). Layer 0: the embeddings.
struct LayerAnswer {
  int layer = 0;
  double probability = 0;  ///< of the subject's answer
  std::string best{};      ///< the most probable token
  double best_probability = 0;
};
std::vector<LayerAnswer> logit_lens(const Subject& subject);

/// "embeddings", "L0.H3", "L0 MLP", "biases": a part of Model::split_score(); of an encoder-decoder "cross L0.H3".
std::string part_name(const ScorePart& part);

/// Activation patching (Vig et al. 2020; Meng et al. 2022): the corrupted text is run with one head's outputs taken from the clean one,
/// at all places. A value is the part of the answer that comes back: (y − y_corrupted)/(y_clean − y_corrupted). A run a head.
/// Both subjects ask for the same answer of one model, over texts of as many tokens; else throws kInvalidArgument.
std::vector<HeadEffect> heads_by_patching(const Subject& clean, const Subject& corrupted, const InsideOptions& options = {});
/// The same for one head, place by place.
std::vector<double> places_by_patching(const Subject& clean, const Subject& corrupted, const HeadEffect& head);

}  // namespace clearhead::judge
