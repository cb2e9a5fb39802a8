// A family of models as data: everything transformer.cc needs to know, and nothing it does.
//
//   x  = tokens[id] (· scale) + positions[p + offset] (or phases of p) + types[t]        → norm?
//   per layer, pre:   x += attention(norm(x));   x += mlp(norm(x))      → final norm
//              post:  x  = norm(x + attention(x));  x = norm(x + mlp(x))
//   heads read x: pooler, masked LM, classifier, causal LM
//
// An encoder-decoder is the decoder's Architecture, with a cross-attention between the two blocks of a layer, and the encoder's beside it.
//
// A family reads a config.json into one Architecture (src/models/families/*.cc). Names of weights are data too: "{}" is the layer's number, and a
// name is looked up with `prefix` before it, then without. What the facts below cannot say is refused by the family, by name.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "backends/dense.h"
#include "base/json.h"

namespace clearhead {

/// y = x·Wᵀ + b. The file holds W as [out, in], or as [in, out] where `input_first` (GPT-2's Conv1D).
struct LinearNames {
  std::string weight{};  ///< empty: there is no such map
  std::string bias{};    ///< empty: no bias
  bool input_first = false;
  bool bias_is_row = false;  ///< the file holds the bias as [1, out] (Marian's final_logits_bias)
};

/// y = (x − mean)/√(var + ε)·g + b, or x/√(mean x² + ε)·g.
struct NormFacts {
  enum class Kind : uint8_t { kNone, kLayer, kRms };
  Kind kind = Kind::kNone;
  double epsilon = 1e-5;
  std::string weight{};
  std::string bias{};  ///< empty: none
};

struct NoPositions {};
/// A table added to the embeddings; position p is row p + offset (RoBERTa: padding_idx + 1, OPT: 2).
struct LearnedPositions {
  std::string weight{};
  int64_t offset = 0;
};
/// Q and K turned by an angle p·θ^(−2i/dims) (Su et al. 2021). The first `dims` channels of a head turn, the rest stay.
struct RotaryPositions {
  double theta = 10000;
  int64_t dims = 0;  ///< 0: the whole head
  /// Pairs are (i, i + dims/2) (Llama as Hugging Face stores it), or (2i, 2i + 1) where interleaved (GPT-J).
  bool interleaved = false;
  struct Linear {
    double factor = 1;  ///< positions / factor
  };
  /// Llama 3.1: low frequencies / factor, high ones unchanged, between them a blend by wavelength.
  struct Llama3 {
    double factor = 8, low_frequency_factor = 1, high_frequency_factor = 4;
    int64_t original_positions = 8192;
  };
  std::variant<std::monostate, Linear, Llama3> scaling{};
};
/// Positions by formula, without an end: x_p += [cos ω₀p, sin ω₀p, cos ω₁p, …]·W (phases.h makes the row; angles are reduced in double).
struct PhasePositions {
  std::vector<double> frequencies{};
  std::string weight{};  ///< [2·frequencies, width]
};
/// x_p += [sin ω₀p, …, sin ω_{d/2−1}p | cos ω₀p, …], ω_i = 10000^(−2i/d) (Vaswani et al. 2017, §3.5; Marian keeps the sines together).
struct SinusoidalPositions {};
using Positions = std::variant<NoPositions, LearnedPositions, RotaryPositions, PhasePositions, SinusoidalPositions>;

struct EmbeddingFacts {
  std::string tokens{};  ///< [vocabulary, width]
  double scale = 1;      ///< tokens are multiplied by it (Gemma: √width)
  std::string types{};   ///< [type_count, width]; empty: none
  int64_t type_count = 0;
  NormFacts norm{};  ///< after the sum (BERT)
};

/// What becomes the layer's AttentionSpec.
struct AttentionFacts {
  bool causal = false;
  std::optional<double> scale{};  ///< absent: 1/√head_dim
  std::optional<int64_t>
      window{};  ///< causal: keys seen, the query's own among them (Hugging Face's sliding_window); else half on each side
  std::optional<double> soft_cap{};  ///< cap·tanh(s / cap)
  std::string sinks{};               ///< pattern of a weight [heads]: one sink logit a head; empty: none
  bool turns = true;                 ///< by RotaryPositions, where the model has them
  std::string slopes{};              ///< pattern of a weight [heads]: ALiBi; empty: none
};

/// Where Q, K, V and the output projection are. Either three maps, or one whose outputs are q, k, v one after the other.
struct ProjectionNames {
  LinearNames query{}, key{}, value{};
  LinearNames fused{};  ///< [q | k | v] when its weight is not empty: GPT-2's c_attn
  LinearNames output{};
};

struct MlpFacts {
  enum class Kind : uint8_t { kNone, kPlain, kGated };  ///< down(f(up x)) · down(f(gate x) ⊙ up x)
  Kind kind = Kind::kPlain;
  Activation activation = Activation::kGeluErf;
  LinearNames gate{}, up{}, down{};
};

/// A decoder's look at what an encoder read: queries from x, keys and values from the encoder's output.
struct CrossFacts {
  NormFacts norm{};  ///< placed as the layer's others
  ProjectionNames projections{};
};

struct LayerFacts {
  enum class NormPlacement : uint8_t { kPre, kPost };
  NormPlacement placement = NormPlacement::kPost;
  NormFacts attention_norm{}, mlp_norm{};  ///< pre: of the block's input; post: of the sum
  ProjectionNames projections{};
  std::optional<CrossFacts> cross{};
  MlpFacts mlp{};
};

/// tanh(W·x[first] + b): BERT's pooled output.
struct PoolerFacts {
  LinearNames dense{};
  Activation activation = Activation::kTanh;
};
/// logits = norm(f(W·x + b))·Eᵀ + bias.
struct MaskedHeadFacts {
  LinearNames transform{};
  Activation activation = Activation::kGeluErf;
  NormFacts norm{};
  std::string decoder{};  ///< [vocabulary, width]; empty, or absent from the file: the token embedding
  std::string bias{};
};
/// logits = out(f(dense(x[where]))). Without a dense weight: out(x[where]).
struct ClassifierFacts {
  enum class Where : uint8_t { kFirst, kLast, kEvery };  ///< kLast: the last token of each sequence (GPT-2); kEvery: token classification
  Where where = Where::kFirst;
  LinearNames dense{};
  Activation activation = Activation::kTanh;
  LinearNames out{};
};
/// logits = x·Wᵀ + b.
struct CausalHeadFacts {
  LinearNames out{};  ///< weight empty: the token embedding; a bias that is not in the file is left out
};

struct Architecture {
  std::string model_type{};                  ///< as config.json spells it
  std::vector<std::string> architectures{};  ///< config.json's list, e.g. "BertForMaskedLM"

  int64_t layers = 0, width = 0, heads = 0, key_heads = 0, head_dim = 0, inner = 0, vocabulary = 0;
  int64_t longest = 0;  ///< most tokens of one sequence (positions that exist, after `offset`); 0: no limit

  std::string prefix{};  ///< "bert.": names may stand in the file with it or without
  /// Other spellings of the ends of names: {".LayerNorm.weight", ".LayerNorm.gamma"}. Tried where the first is not in the file.
  std::vector<std::pair<std::string, std::string>> aliases{};

  EmbeddingFacts embedding{};
  Positions positions{};
  std::vector<AttentionFacts> attention{};  ///< one for all layers, or one per layer
  LayerFacts layer{};
  NormFacts final_norm{};
  std::shared_ptr<const Architecture> encoder{};  ///< of an encoder-decoder: the stack that reads the source, of the same width
  int32_t first_token = 0;                        ///< of an encoder-decoder: what the decoder begins with

  /// Heads the family knows. Those whose own weights are not in the file are left out at load.
  std::optional<PoolerFacts> pooler{};
  std::optional<MaskedHeadFacts> masked{};
  std::optional<ClassifierFacts> classifier{};
  std::optional<ClassifierFacts> next_sentence{};  ///< BERT's second pretraining head
  std::optional<CausalHeadFacts> causal{};
  std::vector<std::string> labels{};  ///< config's id2label in order of id; "LABEL_0" … where it is absent

  const AttentionFacts& attention_of(int64_t at) const { return attention[attention.size() == 1 ? 0 : static_cast<size_t>(at)]; }
};

/// One file in families/ defines one. `read` gets the parsed config.json and its path for messages; it throws kFormat for values that are wrong,
/// kUnsupported for what an Architecture cannot say.
struct Family {
  std::vector<const char*> model_types{};
  Architecture (*read)(const Json& config, const std::string& where) = nullptr;
};

/// The list of families is in families.cc: one line each.
const std::vector<Family>& families();

/// Finds the family of config.json's "model_type" and reads it; checks that the facts fit each other (heads divide, sizes are positive and not absurd).
Architecture read_architecture(const Json& config, const std::string& where);

}  // namespace clearhead
