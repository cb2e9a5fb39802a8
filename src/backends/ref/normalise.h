// Normalisers: the weights of a row from its scores, and the gradients of the scores from those of the weights, in
// double. Everything that depends on the normaliser is here, except the gradients of sink logits (backward.cc), the
// magnitudes of sink logits and the error bounds of weights (oracle.cc), and the entropy of linear attention (sweep.cc).
//
//   softmax      P_j = e^{s_j − L}              m, ℓ: shift in base 2, and the sum, sink included; L = m·ln 2 + ln ℓ
//   sparsemax    P_j = max(0, s_j − τ)          m, ℓ: the largest score in base 2, and τ − m·ln 2
//   entmax-1.5   P_j = max(0, s_j/2 − τ)²       m, ℓ: the largest score in base 2, and τ − m·ln 2/2
//   sigmoid      P_j = σ(s_j + b)               m, ℓ: 0, 1
//   hard         P_j = 1 at the chosen key      m, ℓ: that key, and ln of its softmax weight
//   linear       P_j = s_j / ℓ                  m, ℓ: 0, Σ_j s_j
//
// with τ such that the weights sum to one. All gradients have the form  dS_j = g_j·(dP_j − D):
//
//   softmax      g = P      D = Σ P dP
//   sparsemax    g = 1 where P > 0      D = Σ g dP / Σ g
//   entmax-1.5   g = √P     D = Σ g dP / Σ g
//   sigmoid      g = P(1 − P)      D = 0
//   hard         g = p, the row's softmax      D = Σ p dP      (kStraightThrough; for kScoreFunction see Hard in spec.h)
//   linear       g = 1/ℓ     D = Σ P dP
//
// Sources: Martins & Astudillo 2016, algorithm 1 and eq. 14; Peters, Niculae & Martins 2019, algorithm 2 and §3.3;
// Ramapuram et al. 2024; Xu et al. 2015; Maddison, Tarlow & Minka 2014 for the Gumbel draw; Katharopoulos et al. 2020.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/ref/score.h"
#include "clearhead/look.h"

namespace clearhead::reference {

struct RowWeights {
  std::vector<double> weights{};  // [key], 0 where hidden
  double m = 0, l = 0;            // the row statistics of a record (record.h); −∞ and 0 if no key is visible
  double threshold = 0;           // τ
  double slope_sum = 0;           // Σ g, for normalisers with a threshold
  double sink_share = 0;          // share of a sink logit
  double lead = 0;                // hard: margin of the chosen key over the next best
  // Linear attention, whose sum may cancel: Σ|s|/|ℓ|, the factor by which relative errors grow, and the largest |P|.
  double cancellation = 1, largest = 0;
  bool sees_any = false;
};

/// Normalises a row from its scores alone. m is rounded to f32, as it is stored.
RowWeights normalise(const RowOfScores& at, const std::vector<double>& scores);

/// ℓ as a record stores it, in f32. A threshold is rounded down, so that the largest weight is never rounded away.
float stored_l(const Normaliser& normaliser, double l);

/// The statistics of a row, read from a record.
struct RecordedRow {
  double m = 0, l = 0;
  bool rounds = false;  // P was rounded to bf16: l is the sum of the rounded weights
};
RecordedRow recorded_row(const AttentionRecord& record, int64_t batch, int64_t head, int64_t row,
                         LookPrecision precision = LookPrecision::kExact);
/// Returns the weight of a visible (query, key) pair from its score.
double weight_of(const Normaliser& normaliser, double score, int64_t key, const RecordedRow& row);
/// Returns all weights of a row, from its scores and the record's row statistics.
RowWeights weights_of(const AttentionRecord& record, int64_t batch, int64_t head, int64_t row, const std::vector<double>& scores);
/// Returns the share of the sink logit in a row that sees at least one key; 0 without sinks.
double sink_share(const AttentionSpec& spec, int64_t head, const RecordedRow& row);

/// Returns true if the normaliser is sparsemax or entmax-1.5.
bool has_threshold(const Normaliser& normaliser);
/// Returns true if a value whose weight is exactly 0 is skipped, even if it is infinite or NaN.
bool leaves_zeros_out(const Normaliser& normaliser);
/// Returns true if the gradient needs dP also where the weight is 0.
bool has_gradients_of_zeros(const Normaliser& normaliser);

/// Returns the size of a weight, which errors of gradients are relative to. It is 1 for every positive weight of
/// sparsemax, because a weight near the threshold is as inaccurate as a large one, and 2√P for entmax-1.5.
double size_of_weight(const Normaliser& normaliser, const RowWeights& row, double weight);

/// Returns dS from dP, both [key]. `mean` is D: on entry 0, or −g if the row's log-sum-exp has the gradient g; this
/// function adds the row's terms of D to it.
std::vector<Sum> reverse_weights(const Normaliser& normaliser, const RowWeights& row, const std::vector<double>& scores,
                                 const std::vector<Sum>& d_weights, Sum& mean);

}  // namespace clearhead::reference
