// Plausibility: how well a ranking agrees with human annotations.
//
//   AUPRC    = Σ_n (R_n − R_{n−1})·P_n over the distinct scores (scikit-learn's average_precision_score)
//   token F1 = F1 of the m highest items against the m marked items
//   alignment error rate = 1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|)     A: links found, S: sure links, P: possible links, which include S
//
// The AUPRC of a random ranking is close to the prevalence, the share of items that are marked. What people mark need not be what the
// model needs: plausibility and faithfulness are two different questions (Jacovi & Goldberg 2020). Sources: DeYoung et al. 2020, §4.1;
// Och & Ney 2003.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

namespace clearhead::explain {

struct Plausibility {
  double auprc = 0, token_f1 = 0;
  double prevalence = 0;
};

/// marked: 0 or 1 per item. Throws kInvalidArgument for spans of different lengths, no items, scores that are not finite, and no marked
/// item.
Plausibility plausibility(std::span<const double> scores, std::span<const uint8_t> marked);

using Link = std::pair<int64_t, int64_t>;  // source, target

struct Alignment {
  double error_rate = 0, precision = 0, recall = 0;  // |A ∩ P| / |A|, |A ∩ S| / |S|; 0 if the denominator is zero
};

/// Repeated links count once. Throws kInvalidArgument if there are neither found nor sure links.
Alignment alignment(std::span<const Link> found, std::span<const Link> sure, std::span<const Link> possible);

}  // namespace clearhead::explain
