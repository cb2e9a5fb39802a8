// Implemented in src/spec.
// Describes one attention call by a value with five parts: score → terms → topology → normaliser → after.
//
//   s_ij = score(q_i, k_j)  →  each term in the order written  →  hidden pairs dropped
//     →  P_i = normaliser(s_i)  →  out_i = Σ_j P_ij a_ij v_j        a_ij: factors of `after`; 1 without
//
// The fused call, the reference, the record, the trace file and every later look at the weights use the same value. An
// alternative of a variant is added only once it works in all of them: variants are visited without a default, so the
// code does not compile until every place handles it. JSON form: docs/spec.md.
// Conventions: ranges are [begin, end); `back` and `ahead` do not count the query's own key.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "clearhead/rule.h"
#include "clearhead/tensor.h"

namespace clearhead {

/// Scaled dot product (Vaswani et al. 2017, eq. 1). The default scale is 1/√d_k.
struct Dot {
  std::optional<float> scale{};
};
/// Additive score, s_ij = Σ_c w_hc·φ(q_ic + k_jc), without a scale: a feed-forward layer with d_k hidden units. q and k
/// are already projected.
///   Bahdanau, Cho & Bengio 2015, appendix A.1.2: e_ij = v_aᵀ tanh(W_a s_{i−1} + U_a h_j):
///     q = W_a s_{i−1}, k = U_a h_j, weight = v_a, kTanh
///   Brody, Alon & Yahav 2022, eq. 7 (GATv2): e(h_i, h_j) = aᵀ LeakyReLU(W·[h_i ‖ h_j]):
///     q = W_left h_i, k = W_right h_j, weight = a, kLeakyRelu
struct Additive {
  enum class Activation : uint8_t { kTanh, kLeakyRelu };
  Tensor weight{};  ///< f32 [head|1, d_k]
  Activation activation = Activation::kTanh;
  float slope = 0.2f;  ///< for kLeakyRelu: φ(x) = slope·x where x ≤ 0
};
/// Relative position embeddings, in tables with one row per offset: 2·reach + 1 rows. Pair (i, j) uses row
/// δ = clip(j − p_i, −reach, reach) + reach, where p_i is the position of query i among the keys. The default scale is
/// 1/√d_k. a_ij: see AfterNormaliser.
///   s_ij = scale·(q_i·k_j + (q_i + u)·A[δ] + k_j·B[δ])        out_i = Σ_j P_ij a_ij (v_j + C[δ])
///
///   Shaw, Uszkoreit & Vaswani 2018, eq. 3–5: A = w^K, C = w^V, shared by heads, reach = their k
///   Transformer-XL (Dai et al. 2019, §3.3), all four terms, with the paper's two global biases written û and v̂:
///     q = W_q E x_i + û, A[δ] = W_kR R_{i−j}, query_bias = v̂ − û
///   DeBERTa (He et al. 2021, eq. 4): A = K^r (content to position), B = Q^r (position to content; B[δ_ij] is their
///     Q^r_{δ(j,i)}), scale = 1/√(3 d_k); distances that share a bucket repeat its row
struct Relative {
  std::optional<float> scale{};
  Tensor keys{};                       ///< A: f32 [head|1, 2·reach + 1, d_k]; multiplied by queries
  std::optional<Tensor> queries{};     ///< B: f32 [head|1, 2·reach + 1, d_k]; multiplied by keys
  std::optional<Tensor> query_bias{};  ///< u: f32 [head|1, d_k]
  std::optional<Tensor> values{};      ///< C: f32 [head|1, 2·reach + 1, d_v]; added to the values
};
using Score = std::variant<Dot, Additive, Relative>;

/// ALiBi: s − slope_h·|p_i − j|, where p_i is the query's position among the keys (Press et al. 2022, §3). It is
/// symmetric, as in its encoder form.
struct Alibi {
  Tensor slopes{};  ///< f32 [head]
};
/// s + bias, broadcast. A bias of −inf hides the pair.
struct AttentionBias {
  Tensor bias{};  ///< f32 [batch|1, head|1, query|1, key]
};
/// cap·tanh(s / cap) (Gemma 2, 2024, §2). cap > 0.
struct SoftCap {
  float cap = 0;
};
/// s + the bias of the list entry (Topology::block_sparse) that makes the pair visible: edge features of a graph, or one number
/// per block.
struct EdgeBias {
  Tensor bias{};  ///< f32 [batch|1, head|1, entry]
};
using Term = std::variant<Alibi, AttentionBias, SoftCap, EdgeBias, Rule>;

/// Alignment of the queries with the keys. kEnd: the last query with the last key; kStart: query 0 with key 0.
/// Band::offset is added to the position that results.
enum class Align : uint8_t { kEnd, kStart };

/// The query at position p sees keys [p − back, p + ahead]. An absent limit shows all keys on that side (causal mask:
/// Vaswani et al. 2017, §3.2.3; windows: Beltagy et al. 2020, §3.1).
struct Band {
  std::optional<int64_t> back{};
  std::optional<int64_t> ahead{};
  Align align = Align::kEnd;
  /// Number of keys by which all queries are shifted, after alignment; negative shifts to earlier keys. It is part of
  /// the position, so ALiBi, rules and relative scores see it too. At most 2²⁴ in either direction.
  /// ONNX's causal mask after a past of n keys is kStart with offset n, for any number of new keys.
  int64_t offset = 0;
};
/// A query sees only keys with its own segment id: packed documents (Krell et al. 2021), or padding (keys with an id
/// that no query has). A query with a negative id sees no key; a key with a negative id is hidden from every query.
struct Segments {
  Tensor queries{};  ///< i32 [batch|1, query]
  Tensor keys{};     ///< i32 [batch|1, key]
};
/// A dense mask; true makes the pair visible.
struct Mask {
  Tensor visible{};  ///< bool [batch|1, head|1, query|1, key]
};
/// Lists of visible key blocks. Query block b is the queries [b·query_block, (b + 1)·query_block). It sees the key
/// blocks keys[offsets[b]] … keys[offsets[b + 1] − 1].
///
/// Blocks of 1 × 1 are the edges of a graph in compressed sparse rows (Veličković et al. 2018, §2.1: j ∈ N_i). Larger
/// blocks are block-sparse attention (Child et al. 2019, §5.5; Zaheer et al. 2020, §2). Cost and memory grow with the
/// number of listed pairs.
struct BlockSparse {
  int64_t query_block = 1, key_block = 1;
  /// i32 [batch|1, head|1, ⌈queries / query_block⌉ + 1]: start of each query block's list, then the end of the last
  /// list.
  Tensor offsets{};
  Tensor keys{};  ///< i32 [batch|1, head|1, entry]: key blocks, ascending within a list, without repeats
};
struct Topology {
  Band band{};
  std::optional<Segments> segments{};
  std::optional<Mask> mask{};
  std::optional<BlockSparse> block_sparse{};
  std::optional<Rule> visible{};  ///< from visible() (rule.h); band, segments, mask and lists must show the pair too
};

/// P_ij = exp(s_ij) / (Σ_j exp(s_ij) + exp(sink_h)); without sinks, the plain softmax. A sink is a logit that receives
/// weight but has no value, so rows sum to less than one (a sink of 0: Xiao et al. 2024, §3.3).
struct Softmax {
  std::optional<Tensor> sinks{};  ///< f32 [head]
};
/// P_i is the point of the simplex nearest to s_i: P_ij = max(0, s_ij − τ_i), with τ_i such that the row sums to one
/// (Martins & Astudillo 2016, eq. 2 and proposition 1). A score below the threshold has a weight of exactly zero, and
/// its value vector is not read.
struct Sparsemax {};
/// α-entmax at α = 1.5, between softmax and sparsemax: P_ij = max(0, s_ij / 2 − τ_i)², with τ_i such that the row sums
/// to one (Peters, Niculae & Martins 2019, eq. 10 and §3.2). Sparse like sparsemax, but smooth.
struct Entmax15 {};
/// P_ij = σ(s_ij + bias). Pairs are independent and rows do not sum to one (Ramapuram et al. 2024, eq. 3; the authors
/// set the bias to −ln of the number of keys).
struct Sigmoid {
  float bias = 0;
};
/// Hard attention: one key gets all the weight (Xu et al. 2015, §4.1). kArgmax: the key with the highest score; ties go
/// to the earlier key. kSampled: an exact draw from the row's softmax, by Gumbel noise. The noise depends only on (seed,
/// batch, head, query, key), so the forward pass, gradients and maps agree for any number of threads.
///
/// Gradients, where p is the row's softmax, c is its chosen key, and r_i = d_out_i·out_i is the first-order cost of the
/// choice:
///   kStraightThrough   dS_ij = p_ij·(dP_ij − Σ_j p_ij dP_ij), as if softmax had been used
///                      (Bengio, Léonard & Courville 2013, §4)
///   kScoreFunction     dS_ij = r_i·(1[j = c] − p_ij), unbiased over draws
///                      (Xu et al. 2015, eq. 11, without baseline and entropy)
/// A record stores the chosen key as f32, so more than 2²⁴ keys are refused with kUnsupported.
struct Hard {
  enum class Choice : uint8_t { kArgmax, kSampled };
  enum class Gradient : uint8_t { kStraightThrough, kScoreFunction };
  Choice choice = Choice::kArgmax;
  Gradient gradient = Gradient::kStraightThrough;
  uint64_t seed = 0;  ///< for kSampled
};
/// P_ij = s_ij / Σ_j s_ij, without an exponential. With features of q and k (elu_plus_one, positive_random_features in
/// attend.h), s_ij = φ(q_i)·φ(k_j), this is linear attention (Katharopoulos et al. 2020, eq. 4; Choromanski et al.
/// 2021, eq. 4). The scale of a score cancels unless terms follow.
///
/// If every query sees all keys up to some position (full, causal) and there are no terms, running sums (Katharopoulos
/// et al., eq. 5, 8–9) cost O(length·d_k·d_v). Otherwise the cost grows with the number of pairs.
///
/// Scores should be 0 or more. Negative scores are used in the formula as they are, so weights can be negative or above
/// one. A row whose scores sum to 0 (in f32: to less than 2⁻¹²⁶) gives zeros. Features must be finite: an infinite one
/// gives NaN in the rows that see it.
struct LinearAttention {};
using Normaliser = std::variant<Softmax, Sparsemax, Entmax15, Sigmoid, Hard, LinearAttention>;

/// Each weight becomes 0 with probability `rate`; the others are divided by 1 − rate (Srivastava et al. 2014, §10). The
/// choice depends only on (seed, batch, head, query, key), so the forward pass, gradients and maps agree for any number
/// of threads. 0 ≤ rate < 1.
struct Dropout {
  float rate = 0;
  uint64_t seed = 0;
};
/// Multiplies weights by exp(−(j − c_i)² / (2σ²)) around a predicted centre c_i, in keys (local-p of Luong, Pham &
/// Manning 2015, eq. 10; there σ is half the window).
struct LocalGaussian {
  Tensor centres{};  ///< f32 [batch|1, head|1, query]
  float sigma = 1;
};
/// Factors a_ij that are applied to the weights after normalisation: out_i = Σ_j P_ij·a_ij·v_j. Nothing is
/// renormalised. An AttentionMap shows P_ij; AttentionMap::after shows P_ij·a_ij.
struct AfterNormaliser {
  std::optional<Dropout> dropout{};
  /// f32 [head], 0 or more: a factor for all weights of a head; 0 ablates it (Michel, Levy & Neubig 2019, eq. 2).
  std::optional<Tensor> head_mask{};
  std::optional<LocalGaussian> gaussian{};
};

struct AttentionSpec {
  Score score{};
  std::vector<Term> terms{};
  Topology topology{};
  Normaliser normaliser{};
  AfterNormaliser after{};
};

/// True if the weights of every row that sees a key sum to one, before `after`. False with sink logits and with
/// sigmoid. LinearAttention counts as true; its rows whose scores sum to 0 are the exception.
bool rows_sum_to_one(const AttentionSpec& spec);

/// All pairs are visible.
Topology full();
/// Each query sees its own key and the `back` keys before it (absent: all). sliding_window = W of Hugging Face
/// corresponds to back = W − 1.
Topology causal(std::optional<int64_t> back = std::nullopt, Align align = Align::kEnd);
/// Each query sees its own key, `back` keys before and `ahead` keys after it.
Topology window(int64_t back, int64_t ahead, Align align = Align::kEnd);

/// The edges of a graph as lists. order[entry] is the edge that a list entry represents:
/// bias[entry] = feature[order[entry]] turns edge features into an EdgeBias.
struct Graph {
  BlockSparse block_sparse{};
  std::vector<int32_t> order{};  ///< [entry]
};
/// Converts edges to lists.
///
/// edges: i32 [2, edge], in any order; row 0 holds the queries, row 1 the keys they attend to (Veličković et al. 2018,
/// §2.1). If an edge is repeated, its first occurrence counts.
/// Throws kShape for another shape or dtype, kInvalidArgument for a negative index or a query index ≥ `queries`.
Graph graph(const Tensor& edges, int64_t queries);

/// Block-sparse self-attention of one sequence (Zaheer et al. 2020, §2). Each block sees itself, `window` blocks on
/// either side, the first `global` blocks and `random` more blocks; the global blocks see all blocks. With random = 0
/// it is Longformer's pattern in blocks (Beltagy et al. 2020, §3.1). big_bird() throws kInvalidArgument for a block
/// below 1 or negative numbers.
struct BigBird {
  int64_t block = 64, window = 1, global = 1, random = 3;
  uint64_t seed = 0;
};
BlockSparse big_bird(int64_t length, const BigBird& pattern = {});

/// Visits the tensors of a description in a fixed order, with the names that JSON and traces use: "additive.weight",
/// "relative.keys", "relative.queries", "relative.query_bias", "relative.values", "slopes", "bias", "edges" (of
/// EdgeBias), "segments.queries", "segments.keys", "mask", "block_sparse.offsets", "block_sparse.keys", "visible.table", "sinks",
/// "head_mask", "centres".
///
/// The operand of a second term of the same type is "slopes2", "bias2", …. The tables of a rule are "rule.table",
/// "rule.table2", …; those of a second rule are "rule2.table", …; those of the visibility rule are "visible.table",
/// "visible.table2", ….
void for_each_operand(AttentionSpec& spec, const std::function<void(const std::string& name, Tensor& operand)>& visit);
void for_each_operand(const AttentionSpec& spec, const std::function<void(const std::string& name, const Tensor& operand)>& visit);

/// Sizes of one attention call.
struct AttentionShape {
  int64_t batch = 0, heads = 0, key_heads = 0, queries = 0, keys = 0, d_k = 0, d_v = 0;
};

/// Throws kShape, kInvalidArgument or kUnsupported, naming the operand, if the description does not fit the shape.
void validate(const AttentionSpec& spec, const AttentionShape& shape);

/// The description as JSON text (docs/spec.md), in which an operand appears as its name. Equal descriptions give equal
/// text.
std::string to_json(const AttentionSpec& spec);
/// The inverse of to_json. `operand` returns the tensor with a given name; `where` names the source in error messages.
/// Throws kFormat for malformed text, kUnsupported for unknown fields.
AttentionSpec spec_from_json(const std::string& text, const std::string& where,
                             const std::function<Tensor(const std::string& name)>& operand);

}  // namespace clearhead
