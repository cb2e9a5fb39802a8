// A model family as data: all that transformer.cc needs to build its Transformer.
//
//   x  = tokens[id] (· scale) + positions[p + offset] (or phases of p) + types[t]        → norm?
//   per layer, pre:   x += attention(norm(x));   x += mlp(norm(x))      → final norm
//              post:  x  = norm(x + attention(x));  x = norm(x + mlp(x))
//   output heads on x: pooler, masked LM, classifier, causal LM
//
// An encoder-decoder is described by the Architecture of its decoder, which has a cross-attention between the two blocks of
// each layer; `encoder` holds the Architecture of its encoder.
//
// A family converts config.json to an Architecture (src/models/families/*.cc). The names of weights are data, too: "{}"
// stands for the layer number, and a name is looked up with `prefix` first, then without it. A family refuses every setting
// that an Architecture cannot express, with an error that names it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "backends/dense.h"
#include "base/json.h"
#include "clearhead/model.h"
#include "clearhead/spec.h"

namespace clearhead {

/// y = x·Wᵀ + b. The file stores W as [out, in], or as [in, out] if `input_first` (GPT-2's Conv1D).
struct LinearNames {
  std::string weight{};  ///< empty: no such layer
  std::string bias{};    ///< empty: no bias
  bool input_first = false;
  bool bias_is_row = false;  ///< the file stores the bias as [1, out] (Marian's final_logits_bias)
  bool in_body = false;      ///< a layer of an output head whose name still has the family's prefix (BERT's pooler)
};

/// y = (x − mean)/√(var + ε)·g + b, or x/√(mean x² + ε)·g.
struct NormFacts {
  enum class Kind : uint8_t { kNone, kLayer, kRms };
  Kind kind = Kind::kNone;
  double epsilon = 1e-5;
  std::string weight{};
  std::string bias{};  ///< empty: no bias
};

struct NoPositions {};
/// A learned table that is added to the embeddings. Position p is row p + offset (RoBERTa: padding_idx + 1, OPT: 2).
struct LearnedPositions {
  std::string weight{};
  int64_t offset = 0;
};
/// Rotary embeddings (RoPE): Q and K are rotated by the angles p·θ^(−2i/dims) (Su et al. 2021). Only the first `dims` channels
/// of a head are rotated.
struct RotaryPositions {
  double theta = 10000;
  int64_t dims = 0;  ///< 0: the whole head
  /// Rotated pairs are (i, i + dims/2), as Hugging Face stores Llama, or (2i, 2i + 1) if interleaved (GPT-J).
  bool interleaved = false;
  struct Linear {
    double factor = 1;  ///< positions are divided by it
  };
  /// Llama 3.1: low frequencies are divided by `factor`, high frequencies are unchanged, and those in between are
  /// interpolated by wavelength (rotary.cc).
  struct Llama3 {
    double factor = 8, low_frequency_factor = 1, high_frequency_factor = 4;
    int64_t original_positions = 8192;
  };
  std::variant<std::monostate, Linear, Llama3> scaling{};
  /// A file may contain the sines and cosines as a table of SinusoidalPositions with head_dim columns; its values must equal
  /// the formula's.
  std::string table{};
};
/// Positions computed by a formula, of any length: x_p += [cos ω₀p, sin ω₀p, cos ω₁p, …]·W. phase_rows() in phases.h computes
/// the row, with the angles in double.
struct PhasePositions {
  std::vector<double> frequencies{};
  std::string weight{};  ///< [2·frequencies, width]
};
/// x_p += [sin ω₀p, …, sin ω_{d/2−1}p | cos ω₀p, …], ω_i = 10000^(−2i/d) (Vaswani et al. 2017, §3.5). All sines come first,
/// as in Marian.
struct SinusoidalPositions {
  std::string weight{};  ///< a file may contain the table; its values must equal the formula's
  std::string gain{};    ///< [1], a learned factor on the whole table (Li et al. 2019, eq. 4); empty: 1
};
/// Each layer has a linear map W [width of Q or K, width] of sinusoids, without a bias.
///   kKeys     k_j += W·sinusoid(j): the position is given to the keys only
///   kOffsets  s_ij += (q_i + u)·W·sinusoid(i − j) / √d_k: Transformer-XL (Dai et al. 2019, §3.3). The bias of q is their first
///             global bias, and u [heads, head_dim] is the difference between the second and the first.
struct LayerSinusoids {
  enum class Of : uint8_t { kKeys, kOffsets };
  Of of = Of::kKeys;
  std::string weight{};      ///< name pattern
  std::string query_bias{};  ///< name pattern of u; only for kOffsets
};
using Positions = std::variant<NoPositions, LearnedPositions, RotaryPositions, PhasePositions, SinusoidalPositions, LayerSinusoids>;

struct EmbeddingFacts {
  std::string tokens{};  ///< [vocabulary, width]
  double scale = 1;      ///< token embeddings are multiplied by it (Gemma: √width)
  std::string types{};   ///< [type_count, width]; empty: none
  int64_t type_count = 0;
  NormFacts norm{};  ///< applied to the sum (BERT)
};

/// A learned operand of a layer's attention: sink logits, temperatures, a table of relative positions.
struct OperandFacts {
  std::string weight{};  ///< name pattern
  Shape shape{};
  double mean = 0, deviation = 0;  ///< of new values; with a deviation the mean must be 0
  std::function<void(AttentionSpec& spec, const Tensor& values)> add{};
};

/// The facts that become a layer's AttentionSpec.
struct AttentionFacts {
  bool causal = false;
  std::optional<double> scale{};  ///< absent: 1/√head_dim
  /// Causal: number of visible keys, including the query's own (Hugging Face's sliding_window). Bidirectional: half of it on
  /// each side.
  std::optional<int64_t> window{};
  std::optional<Rule> visible{};     ///< hides further pairs
  int64_t segment_length = 0;        ///< MapFamily::segment_length; `visible` hides the pairs
  int64_t top_keys = 0;              ///< > 0: each query attends to so many keys, those with the highest scores
  std::optional<double> soft_cap{};  ///< cap·tanh(s / cap)
  bool turns = true;                 ///< apply RotaryPositions, if the model has them
  Normaliser normaliser{};
  std::vector<Term> terms{};             ///< applied before soft_cap
  std::vector<OperandFacts> operands{};  ///< in the order in which they are added
};

/// Names of the output projection and of the projections to Q, K and V, which are three layers or one fused layer.
struct ProjectionNames {
  LinearNames query{}, key{}, value{};
  LinearNames fused{};  ///< [q | k | v] if its weight is not empty: GPT-2's c_attn
  LinearNames output{};
};

struct MlpFacts {
  enum class Kind : uint8_t { kNone, kPlain, kGated };  ///< plain: down(f(up x)); gated: down(f(gate x) ⊙ up x)
  Kind kind = Kind::kPlain;
  Activation activation = Activation::kGeluErf;
  LinearNames gate{}, up{}, down{};
};

/// Cross-attention of a decoder: queries from x, keys and values from the encoder's output.
struct CrossFacts {
  NormFacts norm{};  ///< placed like the layer's other norms
  ProjectionNames projections{};
};

struct LayerFacts {
  enum class NormPlacement : uint8_t { kPre, kPost };
  NormPlacement placement = NormPlacement::kPost;
  NormFacts attention_norm{}, mlp_norm{};  ///< pre: on the input of the block; post: on the sum
  ProjectionNames projections{};
  std::optional<CrossFacts> cross{};
  MlpFacts mlp{};
};

/// tanh(W·x[first] + b): BERT's pooled output.
struct PoolerFacts {
  LinearNames dense{};
  Activation activation = Activation::kTanh;
};
/// Masked LM: logits = norm(f(W·x + b))·Eᵀ + bias.
struct MaskedHeadFacts {
  LinearNames transform{};
  Activation activation = Activation::kGeluErf;
  NormFacts norm{};
  std::string decoder{};              ///< [vocabulary, width]
  std::vector<std::string> biases{};  ///< possible names of the bias; the first one in the file is used
  bool is_tied = true;                ///< if the file has no decoder, the token embedding is used
};
/// logits = out(f(dense(x[where]))). Without a dense weight: out(x[where]).
struct ClassifierFacts {
  /// kFirst, kLast: classifies a sequence by its first or (GPT-2) last token. kEvery: token classification. kSpan: question
  /// answering; every token has two logits, for the start and for the end of the answer.
  enum class Where : uint8_t { kFirst, kLast, kEvery, kSpan };
  Where where = Where::kFirst;
  LinearNames dense{};
  Activation activation = Activation::kTanh;
  LinearNames out{};
  /// kLast: read the last token that is not this one. As in transformers, the attention mask is not considered.
  std::optional<int64_t> pad_token{};
};
/// Returns true if every token has its own logits, false if the whole sequence has one set.
inline bool is_by_token(const ClassifierFacts& facts) { return facts.where >= ClassifierFacts::Where::kEvery; }
/// Causal LM: logits = x·Wᵀ + b.
struct CausalHeadFacts {
  LinearNames out{};     ///< a bias that is missing in the file is left out
  bool is_tied = false;  ///< if the file has no weight, the token embedding is used
};

struct Architecture {
  std::string model_type{};                  ///< as config.json spells it
  std::vector<std::string> architectures{};  ///< the list in config.json, e.g. "BertForMaskedLM"

  int64_t layers = 0, width = 0, heads = 0, key_heads = 0, head_dim = 0, mlp_width = 0, vocabulary = 0;
  /// Maximum number of tokens in a sequence, not counting the `offset` of learned positions; 0: no limit.
  int64_t longest = 0;

  std::string prefix{};  ///< such as "bert."; names in the file may have it or not
  /// Alternative name endings such as {"LayerNorm.weight", "LayerNorm.gamma"}: the second is tried if the first is not in
  /// the file.
  std::vector<std::pair<std::string, std::string>> aliases{};
  /// Tensors that may be in a file although nothing reads them, because they do not change the result: patterns of fnmatch(3)
  /// for names with or without `prefix`. Any other tensor that nothing reads is refused.
  std::vector<std::string> unread{};

  EmbeddingFacts embedding{};
  Positions positions{};
  std::vector<AttentionFacts> attention{};  ///< one for all layers, or one per layer
  LayerFacts layer{};
  NormFacts final_norm{};
  /// Encoder-decoder: the encoder, which has the same width.
  std::shared_ptr<const Architecture> encoder{};
  int32_t first_token = 0;  ///< encoder-decoder: the token that the decoder starts with

  /// Output heads that the family supports. Loading leaves out heads whose own weights are not in the file.
  std::optional<PoolerFacts> pooler{};
  std::optional<MaskedHeadFacts> masked{};
  std::optional<ClassifierFacts> classifier{};
  std::optional<ClassifierFacts> next_sentence{};  ///< BERT's next-sentence head
  std::optional<CausalHeadFacts> causal{};
  std::vector<std::string> labels{};  ///< id2label of config.json, in order of id; "LABEL_0", … if absent
  ProblemType problem = ProblemType::kSingleLabel;
  std::optional<AnswerSettings> answers{};  ///< settings of a classifier with Where::kSpan

  const AttentionFacts& attention_of(int64_t at) const { return attention[attention.size() == 1 ? 0 : static_cast<size_t>(at)]; }
};

/// A family and its model types; each file in families/ defines one or more. `read` receives the parsed config.json and its
/// path for error messages. It throws kFormat for wrong values and kUnsupported for settings that an Architecture cannot
/// express.
struct Family {
  std::vector<const char*> model_types{};
  Architecture (*read)(const Json& config, const std::string& where) = nullptr;
  /// For each model type, the class name that Hugging Face puts before "ForSequenceClassification". Empty: the family cannot
  /// be fine-tuned.
  std::vector<const char*> class_names{};
};

/// All families; the build generates this list from the files in families/, each of which defines NAME_family().
const std::vector<const Family*>& families();

/// Reads config.json with the family of its "model_type". Checks that the result is consistent: key heads divide query heads,
/// and sizes are positive and within limits. Throws kFormat, and kUnsupported for an unknown "model_type".
Architecture read_architecture(const Json& config, const std::string& where);

}  // namespace clearhead
