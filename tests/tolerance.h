// The bounds of docs/NUMERICS.md, by name. ε = 2⁻²³. S_i is the largest magnitude that a visible score of row i was computed from
// (scale·Σ|q||k| + Σ_terms|value|, and |sink logit|): an f32 chain cannot compute its score more accurately than a few ε·S_i.
#pragma once

#include <cmath>
#include <cstdint>

#include "clearhead/tensor.h"

namespace clearhead::tolerance {

inline constexpr double kEpsilon = 0x1p-23;
inline constexpr double kForwardF32 = 2e-6;     // |err| ≤ (this + 4εS)·Σ_j P_ij|V_jc|
inline constexpr double kWeightF32 = 1e-6;      // |ΔP| ≤ P·(this + 4εS)
inline constexpr double kGradientF32 = 1e-5;    // |err| ≤ (this + 4εS)·Σ|summand| of a gradient element
inline constexpr double kRowSum = 1e-5;         // |sum of a row − the oracle's| ≤ this
inline constexpr double kDecodeWeight = 1e-6;   // weights of one row in prefill and in decode, relative
inline constexpr double kSweep = 1e-5;          // a statistic of n weights, relative to the sum of the magnitudes of its summands
inline constexpr double kUnderflow = 0x1p-120;  // smaller weights may be zero: 2^(s − m) is below f32's normal range
/// The loss of one pair's contribution to a gradient if a product is subnormal and counts as zero: 2⁻¹²⁶, while P is stored times up to
/// 2¹⁶.
inline constexpr double kSubnormal = 0x1p-110;

/// Added to the f32 bounds where the kernel keeps P in bf16: |err| ≤ this·(Σ_j P_ij|V_jc| + |out_ic|). Each P_ij, and therefore their sum,
/// is off by up to 2⁻⁸ of itself. To first order the error is Σ_j P_ij·e_j·(V_jc − out_ic), with e_j of either sign.
inline constexpr double kForwardBF16 = 0x1p-8;

/// Added to the other bounds where the gradient kernel multiplies P and dS in bf16: |err| ≤ this·Σ|summand| of a gradient element.
inline constexpr double kGradientBF16 = 0x1p-8;

/// Half the spacing of a dtype's numbers, relative: the largest error of rounding to it once. 0 for f32, because results are f32.
inline double rounding(DType dtype) { return dtype == DType::kBF16 ? 0x1p-8 : dtype == DType::kF16 ? 0x1p-11 : 0; }
/// The same for one value, absolute: below f16's smallest normal number the spacing is constant.
inline double rounding(DType dtype, double value) { return rounding(dtype) * std::abs(value) + (dtype == DType::kF16 ? 0x1p-25 : 0); }

inline double of_scores(double largest) { return 4 * kEpsilon * largest; }
// Features have one sign, so the rounding errors of a chain grow with its partial sums: by √d,
// and not with what remains after cancellation.
inline double of_features(double largest, int64_t d_k) { return (4 + std::sqrt(static_cast<double>(d_k))) * kEpsilon * largest; }
inline double forward(double largest) { return kForwardF32 + of_scores(largest); }
inline double weight(double largest) { return kWeightF32 + of_scores(largest); }
inline double gradient(double largest) { return kGradientF32 + of_scores(largest); }
/// Where out and the gradients are rounded: each of them once, and D_i = dO_i·out_i uses a rounded out.
inline double gradient(double largest, DType dtype) { return gradient(largest) + 2 * rounding(dtype); }
inline double sweep(double largest) { return kSweep + of_scores(largest); }
/// A factor that multiplies a weight after normalisation, relative: the exponent of a Gaussian is known to a few ε of itself.
inline double after(double factor) { return factor == 0 ? 0 : kWeightF32 + 4 * kEpsilon * std::abs(std::log(std::abs(factor))); }
/// A log-sum-exp is itself stored as f32.
inline double log_sum_exp(double largest, double value) { return weight(largest) + kEpsilon * std::abs(value); }

// Bounds beyond those of docs/NUMERICS.md, named after what is compared. They are for numbers near one unless stated otherwise.

inline constexpr double kDouble = 1e-12;    // the same few operations in double, in another order
inline constexpr double kDoubleSum = 1e-9;  // sums, powers and differences of many doubles
inline constexpr double kStored = 1e-7;     // a double stored as f32: twice half of ε
inline constexpr double kFew = 1e-6;        // a few f32 operations: a few ε
inline constexpr double kSum = 1e-5;        // an f32 sum, or a chain of operations, of some hundred numbers
inline constexpr double kMass = 1e-4;       // a sum of f32 sums

// A formula that a test writes out in double, over operands below 2 and therefore scores of a few units: kForwardF32 + 4εS.
inline constexpr double kFormula = 4e-6;
inline constexpr double kEdited = 1e-5;  // weights that a test renormalises by sums of thousands, relative; twice this for rows of values
inline constexpr double kNaive = 5e-6;   // statistics compared with those of naive weights, relative: kWeightF32 + 4εS of the cases
inline constexpr double kNaiveEntropy = 3e-5;   // entropy of the same, in nats
inline constexpr double kNaiveTotal = 25e-6;    // the total over all rows of such a sweep, relative
inline constexpr double kUnrounded = 1e-5;      // the f32 error added to that of 16-bit keys and values ("pages of 16 bits")
inline constexpr double kFunction = 3e-7;       // functions in rules, relative: 2.5 ε
inline constexpr double kTraceMatches = 1e-5;   // sums over a row: frames of a trace against one whole map
inline constexpr double kTraceReceived = 1e-4;  // the same, sums over a column
inline constexpr double kTraceOffsets = 1e-3;   // the same, sums over all rows
inline constexpr double kShownEntropy = 1e-4;   // nats; the viewer's value against printed weights
inline constexpr double kShownReceived = 1e-3;  // the same, sums over the columns
inline constexpr double kShownMass = 2e-5;      // the same, means of the rows' sums

// Slopes against finite differences, whose error comes from their step and from f32.
inline constexpr double kSlope = 1e-7;              // differences in double, step 1e-5
inline constexpr double kSlopeOfOracle = 2e-6;      // Richardson differences of the oracle, relative to Σ|summand| of a gradient element
inline constexpr double kSlopeF32 = 5e-3;           // differences in f32, step 2⁻⁷
inline constexpr double kSlopeOfLoss = 2e-3;        // the loss of a model in f32, relative to the norm of the gradient
inline constexpr double kGradientOfFormula = 2e-5;  // kGradientF32 of two parts, times max(1, |gradient|)

// The tape and dense kernels, f32 against double: results and gradients of layers, times max(1, |value|).
inline constexpr double kResult = 2e-5;
inline constexpr double kSlopeOfResult = 3e-5;
inline constexpr double kSlopeOfWeight = 5e-5;  // a sum over rows
inline constexpr double kLongSum = 2e-4;        // a sum over 4,000 positions
inline constexpr double kDense = 4e-6;          // times √inputs: sums of products of normal numbers
inline constexpr double kNorm = 5e-6;           // norms, gates: one backend against the reference
inline constexpr double kProduct = 2e-5;        // matrix products, the same
inline constexpr double kWideLayer = 2e-3;      // sums of 8,200 products of numbers near one, in pieces and whole
inline constexpr double kLoss = 1e-4;           // for logits of hundreds
inline constexpr double kOptimiser = 2e-6;      // a step rounds a few numbers of the weight's magnitude
inline constexpr double kStep = 1e-5;           // several steps
inline constexpr double kAverage = 1e-4;        // weights near 40

// Models against the float64 runs of their original libraries (tests/goldens), times max(1, the largest magnitude).
inline constexpr double kHidden = 1e-4;        // hidden states, logits, scores of beams
inline constexpr double kEmbedding = 1e-5;     // embeddings of norm one
inline constexpr double kMap = 1e-5;           // weights, in a run of the whole model
inline constexpr double kMapOfGiven = 1e-6;    // weights, computed from the golden's own Q and K
inline constexpr double kGreedyMargin = 1e-3;  // tokens must be equal where the two largest logits differ by more than this
// One model computed in two ways, times the same magnitude: in steps and at once, packed and alone.
inline constexpr double kTwoWays = 1e-5;
inline constexpr double kUnmoved = 1e-6;         // a difference up to this means that a change had no effect
inline constexpr double kTrainedAsRun = 2e-5;    // the forward in training and in inference
inline constexpr double kBeamLogits = 1e-4;      // a beam over a shared prefix and its text run alone
inline constexpr double kLogProbability = 1e-4;  // nats, for logits within kTwoWays
// Known models: the weight of a row that may go to keys outside its law ("sharpness" in known_answers_test), and the same for 100,000 keys.
inline constexpr double kLaw = 1e-3;
inline constexpr double kLawOfLong = 5e-3;

// Models in 16 bits (docs/NUMERICS.md, "Models in bf16", "Training in bf16").
inline constexpr double kModelGradientBF16 = 0.05;  // relative to the norm of the gradient; 0.032 was measured
inline constexpr double kLossBF16 = 0.01;           // nats, against f32's loss, at every step
inline constexpr double kNarrowWeights = 0.05;  // hidden states of models in bf16, or with bf16 or int8 weights; relative to the largest
inline constexpr double kAskedAgain = 1e-4;     // rows recomputed from a trace against those of the bf16 run that kept them

}  // namespace clearhead::tolerance
