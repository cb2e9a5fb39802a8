// Models whose attention is known in advance: by construction, each head computes one function, at any length.
//
// They are the ground truth for tests and for the head atlas, and the demo shows one on a long text. Their model_type is
// "clearhead-attention" (families/clearhead_attention.cc): attention only, without MLPs and norms; each token is one byte.
//
//   s        sharpness: the score, in nats, of the key that a head is built to find
//   c(b)     code of byte b: 16 values of ±1/4, so that c(a)·c(a) = 1 and c(a)·c(b) ≤ 1/4 for every other byte
//            (the 256 words of the Nordstrom–Robinson code, any two of which differ in at least 6 of 16 places)
//   p(i)     code of position i: (cos ω_f·i, sin ω_f·i) for 16 frequencies ω_f = π(f + frac √(prime f))/16, so that
//            p(i)·p(j)/16 = K(i − j) with K(0) = 1; over all distances up to 200,000 the largest other K is 0.70
//
// The residual stream is divided into segments, each written by one component; the numbers are their widths, and `one` is the constant 1:
// [byte 16 | position 32 | one 1 | before₁ 16 | … | before_h 16 | next 16].
//
// causal, two layers of max(h, 2) heads (h = `context`, default 2), head width 16·max(h, 2):
//   L0.Hm   attends m + 1 tokens back: q_i = (s/16)·p(i − m − 1), k_j = p(j). A row without such a token attends to a sink
//           with logit 0.85·s. The head copies the token's byte code into before_{m+1}. L0.H0 is a previous-token head. A
//           sliding window on this layer does not change these rules.
//   L1.H0   induction: q_i = (s/h)·[c(t_i), before₁(i), …, before_{h−1}(i)], k_j = [before₁(j), …, before_h(j)].
//           Rule: row i attends with equal weights to every j ≤ i with t_{j−1} = t_i, t_{j−2} = t_{i−1}, …,
//           t_{j−h} = t_{i−h+1}. A row without such a j attends to a sink with logit s·(1 − 3/(8h)), halfway between the
//           score s of a full match and the score s·(h − 3/4)/h of the best partial match.
//           The head copies the code of byte j into `next`, which the unembedding reads: the model predicts the byte that
//           followed an earlier occurrence of the last h bytes.
//   L1.H1   attends to the first token: q_i = (s/16)·p(0), k_j = p(j). Writes nothing. In the other heads of layer 1, each
//           token attends to itself.
//
// bidirectional, one layer of two heads:
//   L0.H0   attends `back` tokens back (ahead if negative); rows without such a token attend to the sink.
//   L0.H1   equal tokens: q_i = s·c(t_i), k_j = c(t_j). Rule: row i attends with equal weights to every j with t_j = t_i,
//           including itself.
//
// Why it works: a previous-token head whose output is read by the keys of the next layer makes an induction head
// (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; Olsson et al. 2022, "In-context Learning
// and Induction Heads"). The code: Nordstrom & Robinson 1967, constructed as in Kerdock 1972, from eight quadratic
// forms in four bits whose differences are all non-singular.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/look.h"

namespace clearhead {

struct KnownCausal {
  /// Number of bytes that the induction head matches, 1 … 4; also the number of heads per layer, which is at least two.
  int64_t context = 2;
  double sharpness = 80;  ///< nats, 20 … 200
  uint64_t seed = 1;      ///< determines the code of each byte
  /// Sliding window of layer 0: number of visible keys, including the query's own, at least heads + 1; 0: no window.
  int64_t window = 0;
};

struct KnownBidirectional {
  int64_t back = 3;
  double sharpness = 80;
  uint64_t seed = 1;
};

/// Writes config.json, model.safetensors and tokenizer.json into `directory`, which is created if needed. Throws
/// kInvalidArgument for values outside the ranges above, kIo if a file cannot be written.
void write_known_model(const std::string& directory, const KnownCausal& options);
void write_known_model(const std::string& directory, const KnownBidirectional& options);

/// The 16 frequencies ω_f, and K at a distance of `apart` positions.
std::vector<double> known_frequencies();
double known_position_kernel(double apart);
/// The codes of all bytes: [256 · 16] row-major, each value ±1/4.
std::vector<float> known_byte_codes(uint64_t seed);

/// A text of invented words with two known features: a passage that occurs twice, and a needle with a question.
///   … the code word is <93817604> …  …  the code word is <
///
/// '<', '>' and digits occur nowhere else, and no digit occurs twice. So the pairs of neighbouring bytes from " <" on occur only in the
/// needle (" <" also at the end of the question), and a model that copies the byte that followed the same two bytes continues with
/// 93817604>.
struct KnownText {
  std::string text{};         ///< ASCII, `bytes` long; ends with the question
  Range needle{};             ///< "the code word is <93817604>", where it is stated
  Range answer{};             ///< "93817604>" in the needle
  Range question{};           ///< "the code word is <" at the end
  Range first_passage{};      ///< the passage …
  Range second_passage{};     ///< … and its copy, byte for byte
  std::string answer_text{};  ///< the bytes of `answer`
};

/// Requires `bytes` ≥ 600 (kInvalidArgument). Positions depend on the seed; the needle is in the second tenth of the
/// text. Equal arguments give equal texts on every machine.
KnownText make_known_text(int64_t bytes, uint64_t seed);

}  // namespace clearhead
