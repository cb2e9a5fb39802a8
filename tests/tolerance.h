// The bounds of docs/NUMERICS.md, by name. ε = 2⁻²³; S_i = the largest size a visible score of row i was made of
// (scale·Σ|q||k| + Σ_terms|value|, and |sink logit|): an f32 chain cannot know its score better than a few ε·S_i.
#pragma once

#include <cmath>
#include <cstdint>

#include "clearhead/tensor.h"

namespace clearhead::tolerance {

inline constexpr double kEpsilon = 0x1p-23;
inline constexpr double kForwardF32 = 2e-6;     // |err| ≤ (this + 4εS)·Σ_j P_ij|V_jc|
inline constexpr double kWeightF32 = 1e-6;      // |ΔP| ≤ P·(this + 4εS)
inline constexpr double kGradientF32 = 1e-5;    // |err| ≤ (this + 4εS)·the sum of the sizes of a gradient's parts
inline constexpr double kRowSum = 1e-5;         // row sums: what the oracle says ± this
inline constexpr double kDecodeWeight = 1e-6;   // weights of one row in prefill and in decode, relative
inline constexpr double kSweep = 1e-5;          // a statistic of n weights, relative to the sum of the sizes of its parts
inline constexpr double kUnderflow = 0x1p-120;  // weights below may be zero: 2^(s − m) has left f32's normal range
/// What a pair's part of a gradient may lose where a product is no normal number and counts as zero: 2⁻¹²⁶, while P is held times up to 2¹⁶.
inline constexpr double kSubnormal = 0x1p-110;

/// Where the kernel keeps P in bf16, beside the bounds of f32: |err| ≤ this·(Σ_j P_ij|V_jc| + |out_ic|). Each P_ij and thereby their sum is off by up to 2⁻⁸ of
/// itself: Σ_j P_ij·e_j·(V_jc − out_ic) to first order, e_j of either sign.
inline constexpr double kForwardBF16 = 0x1p-8;

/// Where the kernel of the gradients meets rows with P and dS in bf16: |err| ≤ this·(the sum of the sizes of a gradient's parts), beside the others.
inline constexpr double kGradientBF16 = 0x1p-8;

/// Half the spacing of numbers of a dtype, relative: what rounding to it once may cost. Nothing where results are f32 as they are.
inline double rounding(DType dtype) { return dtype == DType::kBF16 ? 0x1p-8 : dtype == DType::kF16 ? 0x1p-11 : 0; }
/// The same of one value: below f16's smallest normal number the spacing stays.
inline double rounding(DType dtype, double value) { return rounding(dtype) * std::abs(value) + (dtype == DType::kF16 ? 0x1p-25 : 0); }

inline double of_scores(double largest) { return 4 * kEpsilon * largest; }
// Features are of one sign, so that a chain's roundings grow with its partial sums: by √d, not with what is left of them.
inline double of_features(double largest, int64_t d_k) { return (4 + std::sqrt(static_cast<double>(d_k))) * kEpsilon * largest; }
inline double forward(double largest) { return kForwardF32 + of_scores(largest); }
inline double weight(double largest) { return kWeightF32 + of_scores(largest); }
inline double gradient(double largest) { return kGradientF32 + of_scores(largest); }
/// Where out and the gradients are rounded: each of them once, and D_i = dO_i·out_i is made of a rounded out.
inline double gradient(double largest, DType dtype) { return gradient(largest) + 2 * rounding(dtype); }
inline double sweep(double largest) { return kSweep + of_scores(largest); }
/// Of what multiplies a weight once normalised, relative: the exponent of a Gaussian is known to a few ε of itself.
inline double after(double factor) { return factor == 0 ? 0 : kWeightF32 + 4 * kEpsilon * std::abs(std::log(std::abs(factor))); }
/// A log-sum-exp is stored as f32 itself.
inline double log_sum_exp(double largest, double value) { return weight(largest) + kEpsilon * std::abs(value); }

// Beside what docs/NUMERICS.md promises, by what a number is compared with. Of numbers near one where nothing else is said.

inline constexpr double kDouble = 1e-12;    // the same few doubles, computed another way
inline constexpr double kDoubleSum = 1e-9;  // sums, powers and differences of many doubles
inline constexpr double kStored = 1e-7;     // what f32 keeps of a double: half of ε, twice
inline constexpr double kFew = 1e-6;        // some f32 operations: a few ε
inline constexpr double kSum = 1e-5;        // an f32 sum, or a chain of operations, of some hundred numbers
inline constexpr double kMass = 1e-4;       // a sum of f32 sums

// A formula of double, written out in a test, over operands below 2 and with it scores of a few units: kForwardF32 + 4εS.
inline constexpr double kFormula = 4e-6;
inline constexpr double kEdited = 1e-5;        // weights renormalised by a test over sums of thousands, relative; rows of values twice that
inline constexpr double kNaive = 5e-6;         // statistics of naive weights, relative: kWeightF32 + 4εS of the cases
inline constexpr double kNaiveEntropy = 3e-5;  // nats, of the same
inline constexpr double kNaiveTotal = 25e-6;   // all that rows of such a sweep give, relative
inline constexpr double kUnrounded = 1e-5;     // f32's own error beside that of keys and values in 16 bits ("pages of 16 bits")
inline constexpr double kFunction = 3e-7;      // functions of rules, relative: 2.5 ε
inline constexpr double kTraceMatches = 1e-5;  // sums over a row, of a trace's frames and of the whole
inline constexpr double kTraceReceived = 1e-4;  // over a column
inline constexpr double kTraceOffsets = 1e-3;   // over all rows
inline constexpr double kShownEntropy = 1e-4;   // nats, as the viewer sends them, of printed weights
inline constexpr double kShownReceived = 1e-3;  // sums over the columns of printed weights
inline constexpr double kShownMass = 2e-5;      // means of rows' sums

// Slopes against differences: what these lose by their step and their f32.
inline constexpr double kSlope = 1e-7;              // of double, step 1e-5
inline constexpr double kSlopeOfOracle = 2e-6;      // of the oracle (Richardson), of the sizes of a gradient's parts
inline constexpr double kSlopeF32 = 5e-3;           // of f32, step 2⁻⁷
inline constexpr double kSlopeOfLoss = 2e-3;        // of a model's loss in f32, relative to the gradient's length
inline constexpr double kGradientOfFormula = 2e-5;  // kGradientF32 of two parts, of max(1, |gradient|)

// The tape and dense kernels, f32 against double: results and gradients of layers, of max(1, |value|).
inline constexpr double kResult = 2e-5;
inline constexpr double kSlopeOfResult = 3e-5;
inline constexpr double kSlopeOfWeight = 5e-5;  // a sum over rows
inline constexpr double kLongSum = 2e-4;        // a sum over 4,000 positions
inline constexpr double kDense = 4e-6;          // of √inputs: sums of products of normal numbers
inline constexpr double kNorm = 5e-6;           // norms, gates: one backend and the reference
inline constexpr double kProduct = 2e-5;        // matrix products, the same
inline constexpr double kWideLayer = 2e-3;      // sums of 8,200 products of numbers near one, in pieces and alone
inline constexpr double kLoss = 1e-4;           // of logits of hundreds
inline constexpr double kOptimiser = 2e-6;      // a step rounds a few numbers of the weight's size
inline constexpr double kStep = 1e-5;           // several of them
inline constexpr double kAverage = 1e-4;        // of weights near 40
inline constexpr double kRing = 2e-5;           // attention round a ring and by one process

// Models against the float64 runs of the libraries they come from (tests/goldens): of max(1, the largest magnitude).
inline constexpr double kHidden = 1e-4;        // hidden states, logits, scores of beams
inline constexpr double kEmbedding = 1e-5;     // of length one
inline constexpr double kMap = 1e-5;           // weights, in the whole run
inline constexpr double kMapOfGiven = 1e-6;    // weights, fed the golden's own Q and K
inline constexpr double kGreedyMargin = 1e-3;  // tokens are equal where the two largest logits part by more
// One model two ways, of the same size: in steps and at once, packed and alone.
inline constexpr double kTwoWays = 1e-5;
inline constexpr double kUnmoved = 1e-6;         // below: what a change did not touch
inline constexpr double kTrainedAsRun = 2e-5;    // the forward of training and of inference
inline constexpr double kBeamLogits = 1e-4;      // a beam over a shared prefix and its text alone
inline constexpr double kLogProbability = 1e-4;  // nats, of logits within kTwoWays
// Known models: of a law's weights what the other keys may take ("sharpness" in known_answers_test), and over 100,000 of them.
inline constexpr double kLaw = 1e-3;
inline constexpr double kLawOfLong = 5e-3;

// Models in 16 bits (docs/NUMERICS.md, "Models in bf16", "Training in bf16").
inline constexpr double kModelGradientBF16 = 0.05;  // of its length; 0.032 was seen
inline constexpr double kLossBF16 = 0.01;           // nats of f32's, at every step
inline constexpr double kNarrowWeights = 0.05;      // hidden states of bf16 models, of bf16 and int8 weights, of the largest
inline constexpr double kAskedAgain = 1e-4;         // rows asked of a trace, and of the run that kept bf16's own

}  // namespace clearhead::tolerance
