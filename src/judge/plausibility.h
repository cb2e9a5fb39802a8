// How far a ranking agrees with what people marked.
//
//   AUPRC    = Σ_n (R_n − R_{n−1})·P_n over the different scores (scikit-learn's average_precision_score)
//   token F1 = of the m highest items against the m that are marked
//   alignment error rate = 1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|)     A links found, S sure, P possible ones; S counts as possible too
//
// A random ranking's AUPRC stands near the prevalence, the share of items that are marked. Marks that people made need not be what the model needed: plausibility and
// faithfulness are two questions (Jacovi & Goldberg 2020). Sources: DeYoung et al. 2020, §4.1; Och & Ney 2003.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

namespace clearhead::judge {

struct Plausibility {
  double auprc = 0, token_f1 = 0;
  double prevalence = 0;
};

/// marked: 0 or 1 per item. Throws kInvalidArgument for sides of different lengths, none, scores that are not finite, and no mark.
Plausibility plausibility(std::span<const double> scores, std::span<const uint8_t> marked);

using Link = std::pair<int64_t, int64_t>;  // source, target

struct Alignment {
  double error_rate = 0, precision = 0, recall = 0;  // |A ∩ P| / |A|, |A ∩ S| / |S|; 0 where the side is empty
};

/// Links may repeat and count once. Throws kInvalidArgument where neither links nor sure ones are there.
Alignment alignment(std::span<const Link> found, std::span<const Link> sure, std::span<const Link> possible);

}  // namespace clearhead::judge
