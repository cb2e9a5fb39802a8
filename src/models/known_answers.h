// Models whose attention is known before they run: every head does one thing, by construction, at any length.
//
// They are ground truth for tests and for the head atlas, and what a demo shows on a long text. Their model_type is "clearhead-attention"
// (families/clearhead_attention.cc): attention only, no MLP, no norm; one token is one byte.
//
//   s        sharpness: the score, in nats, of what a head is built to find
//   c(b)     code of byte b: 16 signs of ±1/4, so that c(a)·c(a) = 1 and c(a)·c(b) ≤ 1/4 for every other byte
//            (the 256 words of the Nordstrom–Robinson code, any two of which differ in at least 6 of 16 places)
//   p(i)     code of position i: (cos ω_f·i, sin ω_f·i) for 16 frequencies ω_f = π(f + frac √(prime f))/16, so that
//            p(i)·p(j)/16 = K(i − j) with K(0) = 1; over all distances up to 200,000 the largest other K is 0.70
//
// The residual stream is cut into parts that no two writers share: [byte 16 | position 32 | one 1 | before₁ 16 | … | before_h 16 | next 16].
//
// causal, two layers of h heads (h = `context`, 2 unless asked otherwise), head width 16·max(h, 2):
//   L0.Hm   looks m + 1 tokens back: q_i = (s/16)·p(i − m − 1), k_j = p(j). A sink logit at 0.85·s takes the row where there is no such token.
//           It copies that token's byte code into before_{m+1}. L0.H0 is the previous-token head. The layer may slide a window: no law changes.
//   L1.H0   induction: q_i = (s/h)·[c(t_i), before₁(i), …, before_{h−1}(i)], k_j = [before₁(j), …, before_h(j)].
//           Law: row i attends, in equal parts, to every j ≤ i with t_{j−1} = t_i, t_{j−2} = t_{i−1}, …, t_{j−h} = t_{i−h+1}; where there is none, to
//           the sink logit, at s·(1 − 3/(8h)), halfway between a full match and the best partial one (h − 3/4 of h).
//           It copies byte j's code into `next`, and the unembedding reads it: the model predicts what followed the same h bytes before.
//   L1.H1   the first token: q_i = (s/16)·p(0), k_j = p(j). It writes nothing. Further heads of layer 1 look at themselves.
//
// bidirectional, one layer of two heads:
//   L0.H0   looks `back` tokens back (ahead where negative); the sink logit takes rows where there is none.
//   L0.H1   equal tokens: q_i = s·c(t_i), k_j = c(t_j). Law: row i attends, in equal parts, to every j with t_j = t_i, itself among them.
//
// Why it works: a previous-token head whose output the next layer's keys read is an induction head (Elhage et al. 2021, "A Mathematical
// Framework for Transformer Circuits"; Olsson et al. 2022, "In-context Learning and Induction Heads"). The code: Nordstrom & Robinson 1967, built
// as Kerdock (1972) does, from eight quadratic forms in four bits whose differences are all non-singular.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/look.h"

namespace clearhead {

struct KnownCausal {
  int64_t context = 2;    ///< bytes that the induction head matches, 1 … 4; also the heads of a layer (at least two)
  double sharpness = 80;  ///< nats, 20 … 200
  uint64_t seed = 1;      ///< which byte has which code
  int64_t window = 0;     ///< of layer 0: keys that a query sees, its own among them, at least heads + 1; 0: all before it
};

struct KnownBidirectional {
  int64_t back = 3;
  double sharpness = 80;
  uint64_t seed = 1;
};

/// Writes config.json, model.safetensors and tokenizer.json into `directory`, which is made. Throws kInvalidArgument for values outside the
/// ranges above, kIo as files do.
void write_known_model(const std::string& directory, const KnownCausal& options);
void write_known_model(const std::string& directory, const KnownBidirectional& options);

/// The 16 frequencies, and K(positions apart).
std::vector<double> known_frequencies();
double known_position_kernel(double apart);
/// [256 · 16] row-major, each ±1/4.
std::vector<float> known_byte_codes(uint64_t seed);

/// A text of made-up words in which two things are known: a passage that comes twice, and a needle.
///   … the code word is <93817604> …  …  the code word is <
/// '<', '>' and digits stand nowhere else and no digit comes twice, so every two neighbouring bytes from " <" on stand in one place only, and a model
/// that copies what followed the same two bytes goes on with 93817604>.
struct KnownText {
  std::string text{};         ///< ASCII, `bytes` long; ends with the question
  Range needle{};             ///< "the code word is <93817604>", where it is stated
  Range answer{};             ///< "93817604>" inside it
  Range question{};           ///< "the code word is <" at the end
  Range first_passage{};      ///< words that come again …
  Range second_passage{};     ///< … here, byte for byte
  std::string answer_text{};  ///< the bytes of `answer`
};

/// `bytes` ≥ 600. Positions are drawn by seed; the needle stands in the second tenth of the text. Equal arguments give equal texts everywhere.
KnownText make_known_text(int64_t bytes, uint64_t seed);

}  // namespace clearhead
