// Implemented in src/models.
// The residual stream of a transformer: what each layer would predict from it, what each head and each token adds to
// it, and how much each of its components contributes to an attention score.
//
//   const auto result = model->run(text, {.all_hidden = true});
//   logit_lens(*model, result.all_hidden[4].select(0, 0));             // f32 [token, vocabulary]
//   split_score(*model, text, {.layer = 5, .head = 1, .query = 7, .key = 2}).parts;
//
// The transformer families have these functions: BERT, GPT-2, Llama, Marian and their relatives. Other models, such as image
// classifiers and recurrent translators, have none of them; they throw kUnsupported.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/tensor.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

/// Logit lens: the logits of intermediate hidden states, by the final norm and then the causal or masked LM head, as if
/// no layer followed (nostalgebraist 2020).   hidden: f32 [rows, width] → f32 [rows, vocabulary]
///
/// at: f32 [1, width], a hidden state whose additive components are the rows of `hidden`. The result is then the
/// contribution of each component to the logits of `at`, with the norm's scale fixed to that of `at` and without biases
/// (direct logit attribution: Elhage et al. 2021).
/// Throws kShape for other shapes; kUnsupported for a model without an LM head and, with `at`, for a masked LM head.
Tensor logit_lens(const Model& model, const Tensor& hidden, const Tensor& at = {});

/// The contribution of each head of an attention layer to the residual stream, o_h·W_O^h, without the bias.
///   family: "enc", "dec" or "cross", as in Site
///   outputs: f32 [head, d_v], the outputs of the heads for one query → f32 [head, width]
/// Throws kInvalidArgument for an attention layer that does not exist, kShape for other shapes.
Tensor head_contributions(const Model& model, const std::string& family, int layer, const Tensor& outputs);

/// The contribution of one component of the residual stream to an attention score. `query` is scale·q_part·k: the
/// component's part of the query times the full key. `key` is scale·q·k_part: the full query times its part of the key.
struct ScorePart {
  enum class Kind : uint8_t { kEmbeddings, kHead, kMlp, kBiases };
  Kind kind = Kind::kBiases;  ///< kBiases: biases of attention outputs, of norms and of the query or key projection
  /// Encoder-decoders: "enc", "dec" or, for heads of cross-attention, "cross". Empty for kBiases and for other models.
  std::string family{};
  int layer = -1;     ///< for kHead and kMlp
  int64_t head = -1;  ///< for kHead
  double query = 0, key = 0;
};
struct ScoreSplit {
  double score = 0;  ///< scale·q·k, before AttentionSpec::terms
  /// Embeddings, then the heads and the MLP of each layer, then biases. For cross-attention: the components of the query,
  /// then those of the key, then biases.
  std::vector<ScorePart> parts{};
};
/// Identifies an attention score. In an encoder-decoder, `query` and `key` are tokens of the family's own texts: for
/// "cross", the query is a token of the target and the key is a token of the source.
struct ScoreAt {
  std::string family{};  ///< encoder-decoders: "enc", "dec" or "cross"; others: empty
  int layer = 0;
  int64_t head = 0;
  int64_t query = 0, key = 0;
};

/// Decomposes one attention score by the components of the residual stream at its query and at its key: embeddings,
/// the heads and MLPs of all earlier layers, biases. Norms keep the scale that they have in this run, so the parts of
/// the query add up to the score, and so do the parts of the key (Elhage et al. 2021, "QK circuits").
///   target: the text that an encoder-decoder generated, including its first token
/// Throws kInvalidArgument for a score that does not exist or is not visible, and for an encoder-decoder without `target`;
/// kUnsupported for scores that are not dot products, and for layers that add a position encoding of their own to the keys: it is
/// part of no component.
ScoreSplit split_score(const Model& model, const Encoding& text, const ScoreAt& at, const std::optional<Encoding>& target = {});

/// Decomposes the rows of one layer, after attention has been added to the residual stream, into one vector for each token
/// (Kobayashi et al. 2021, eq. 8 to 10). The vector of token j in row i is the sum over heads of P_ij·v_j·W_O; the row's own
/// token also gets the residual stream. If a layer norm follows (post-norm models), it is applied to each vector with the
/// scale that it has for the whole row. Biases of the output projection and of the norm belong to no token.
class TokenMixing {
 public:
  /// Runs the model once. The model must outlive this object. Throws kInvalidArgument for a layer that does not exist; kUnsupported for
  /// encoder-decoders, and for values that depend on the distance (Relative::values).
  TokenMixing(const Model& model, const Encoding& text, int layer);
  ~TokenMixing();
  TokenMixing(TokenMixing&&) noexcept;
  TokenMixing& operator=(TokenMixing&&) noexcept;
  /// The vectors of all tokens in one row: f32 [key, width]; zeros for keys that are hidden from the query. Throws
  /// kInvalidArgument for a query that does not exist.
  Tensor vectors(int64_t query) const;
  /// The states after the whole layer if the value vector of one token is zero in it and the weights stay as they are (value zeroing:
  /// Mohebbi et al. 2023): f32 [row, width]. token: −1 for the states as they are. The first call computes all weights of the layer. Throws
  /// kInvalidArgument for a token that does not exist.
  Tensor states_without_value(int64_t token) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The L2 norm of each row of f32 [row, width].
std::vector<double> norms_of_rows(const Tensor& vectors);

/// The L2 norms of TokenMixing::vectors(): [key]. Throws as TokenMixing does.
std::vector<double> mixed_norms(const Model& model, const Encoding& text, int layer, int64_t query);

}  // namespace clearhead
