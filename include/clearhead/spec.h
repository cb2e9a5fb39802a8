// Room: spec.
// Attention, described once by a value: score → terms → topology → normaliser → after.
//
//   s_ij = score(q_i, k_j)  →  each term in the order written  →  hidden pairs dropped  →  P_i = normaliser(s_i)  →  out_i = Σ_j P_ij a_ij v_j
//
// The same value travels with the fused call, the reference, the record, the trace file and every later look at the weights. An alternative
// of a variant exists only once it works end to end; alternatives are visited without a default, so a new one does not compile until
// every place has answered it. JSON: docs/spec.md. Counting: ranges are [begin, end); `back` and `ahead` count keys besides the query's own.
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

/// Scaled dot product (Vaswani et al. 2017, eq. 1). An absent scale is 1/√d_k.
struct Dot {
  std::optional<float> scale{};
};
/// s_ij = Σ_c w_hc·φ(q_ic + k_jc), unscaled: the score of a layer of d_k hidden units. q and k come projected.
///   Bahdanau, Cho & Bengio 2015, appendix A.1.2: e_ij = v_aᵀ tanh(W_a s_{i−1} + U_a h_j): q = W_a s_{i−1}, k = U_a h_j, weight = v_a, kTanh
///   Brody, Alon & Yahav 2022, eq. 7 (GATv2): e(h_i, h_j) = aᵀ LeakyReLU(W·[h_i ‖ h_j]): q = W_left h_i, k = W_right h_j, weight = a, kLeakyRelu
struct Additive {
  enum class Activation : uint8_t { kTanh, kLeakyRelu };
  Tensor weight{};  ///< f32 [head|1, d_k]
  Activation activation = Activation::kTanh;
  float slope = 0.2f;  ///< of kLeakyRelu: φ(x) = slope·x where x ≤ 0
};
/// Positions through tables of offsets: with δ = clip(j − p_i, −reach, reach) + reach counting the rows of tables of 2·reach + 1 rows,
///   s_ij = scale·(q_i·k_j + (q_i + u)·A[δ] + k_j·B[δ])        out_i = Σ_j P_ij a_ij (v_j + C[δ])        an absent scale is 1/√d_k
///   Shaw, Uszkoreit & Vaswani 2018, eq. 3–5: A = w^K, C = w^V, shared by heads, reach their k
///   Transformer-XL (Dai et al. 2019, §3.3), its four terms: q = W_q E x_i + u, A[δ] = W_kR R_{i−j}, query_bias = v − u
///   DeBERTa (He et al. 2021, eq. 4): A = K^r from content to position, B = Q^r from position to content (B[δ_ij] is their Q^r_{δ(j,i)}),
///   scale = 1/√(3 d_k); buckets of distances are rows that repeat
struct Relative {
  std::optional<float> scale{};
  Tensor keys{};                       ///< A: f32 [head|1, 2·reach + 1, d_k]; met by queries as keys are
  std::optional<Tensor> queries{};     ///< B: f32 [head|1, 2·reach + 1, d_k]; met by keys
  std::optional<Tensor> query_bias{};  ///< u: f32 [head|1, d_k]
  std::optional<Tensor> values{};      ///< C: f32 [head|1, 2·reach + 1, d_v]; part of what is attended to
};
using Score = std::variant<Dot, Additive, Relative>;

/// s − slope_h·|p_i − j|, with p_i the query's position among the keys (Press et al. 2022, §3; symmetric, as its encoder form).
struct Alibi {
  Tensor slopes{};  ///< f32 [head]
};
/// s + bias, broadcast. −inf hides the pair.
struct AttentionBias {
  Tensor bias{};  ///< f32 [batch|1, head|1, query|1, key]
};
/// cap·tanh(s / cap) (Gemma 2, 2024, §2). cap > 0.
struct SoftCap {
  float cap = 0;
};
/// s + the bias of the list entry (Topology::lists) that shows the pair: edge features of a graph, or one number a block.
struct EdgeBias {
  Tensor bias{};  ///< f32 [batch|1, head|1, entry]
};
using Term = std::variant<Alibi, AttentionBias, SoftCap, EdgeBias, Rule>;

/// Where queries stand among the keys: kEnd, the last query at the last key; kStart, query 0 at key 0. Band::offset moves them on from there.
enum class Align : uint8_t { kEnd, kStart };

/// Query at position p sees keys [p − back, p + ahead]; an absent limit is none (causal: Vaswani et al. 2017, §3.2.3; windows: Beltagy et al. 2020, §3.1).
struct Band {
  std::optional<int64_t> back{};
  std::optional<int64_t> ahead{};
  Align align = Align::kEnd;
  /// Keys that every query stands after its aligned place; negative: before it. Part of the position: what reads positions (ALiBi, rules, relative
  /// pairs) reads it, too. At most 2²⁴ either way. ONNX's causal mask after a past of n keys is kStart and n, however many keys are new.
  int64_t offset = 0;
};
/// A query sees only keys of its own segment: packed documents (Krell et al. 2021), and key padding by a segment that no query has. Negative ids see and are seen by nothing.
struct Segments {
  Tensor queries{};  ///< i32 [batch|1, query]
  Tensor keys{};     ///< i32 [batch|1, key]
};
/// true = visible.
struct Mask {
  Tensor visible{};  ///< bool [batch|1, head|1, query|1, key]
};
/// Who sees whom, written out: query block b, queries [b·query_block, (b + 1)·query_block), sees the key blocks keys[offsets[b]] … keys[offsets[b + 1] − 1].
/// Blocks of 1 × 1 are a graph's edges in compressed sparse rows (Veličković et al. 2018, §2.1: j ∈ N_i); larger ones are block-sparse attention (Child et
/// al. 2019, §5.5; Zaheer et al. 2020, §2). Cost and memory follow the pairs listed.
struct Lists {
  int64_t query_block = 1, key_block = 1;
  Tensor
      offsets{};  ///< i32 [batch|1, head|1, ⌈queries / query_block⌉ + 1]: where each query block's list begins; the last is where all end
  Tensor keys{};  ///< i32 [batch|1, head|1, entry]: key blocks, ascending within a list, none twice
};
struct Topology {
  Band band{};
  std::optional<Segments> segments{};
  std::optional<Mask> mask{};
  std::optional<Lists> lists{};
  std::optional<Rule> visible{};  ///< of ch::visible; hides what band, segments, mask and lists would show
};

/// P_ij = exp(s_ij) / (Σ_j exp(s_ij) + exp(sink_h)); without sinks the plain softmax. A sink logit takes mass and has no value, so rows sum to less than one (a sink of 0: Xiao et al. 2024, §3.3).
struct Softmax {
  std::optional<Tensor> sinks{};  ///< f32 [head]
};
/// P_i = the point of the simplex nearest to s_i: P_ij = max(0, s_ij − τ_i), τ_i such that the row sums to one (Martins & Astudillo 2016, eq. 2 and
/// proposition 1). Weights below the threshold are exactly zero, and what their values hold is not read.
struct Sparsemax {};
/// α-entmax at α = 1.5, half way from softmax to sparsemax: P_ij = max(0, s_ij / 2 − τ_i)², τ_i such that the row sums to one (Peters, Niculae & Martins
/// 2019, eq. 10 and §3.2). Sparse as sparsemax is, and smooth.
struct Entmax15 {};
/// P_ij = σ(s_ij + bias): every pair by itself, rows do not sum to one (Ramapuram et al. 2024, eq. 3; they set the bias to −ln of the number of keys).
struct Sigmoid {
  float bias = 0;
};
/// One key gets the whole weight (Xu et al. 2015, §4.1): the best one, the earlier of two that are equal; or one drawn from the row's softmax, exactly, by
/// Gumbel noise from (seed, batch, head, query, key) alone, so that forward, gradients and maps agree for any number of threads.
///
/// Gradients, with p the row's softmax, c its chosen key, and r_i = d_out_i·out_i what the choice cost to first order:
///   kStraightThrough   dS_ij = p_ij·(dP_ij − Σ_j p_ij dP_ij): as if the softmax had been used (Bengio, Léonard & Courville 2013, §4)
///   kScoreFunction     dS_ij = r_i·(1[j = c] − p_ij), unbiased over draws (Xu et al. 2015, eq. 11, without its baseline and entropy)
/// Records tell keys apart as f32: at most 2²⁴ of them.
struct Hard {
  enum class Choice : uint8_t { kArgmax, kSampled };
  enum class Gradient : uint8_t { kStraightThrough, kScoreFunction };
  Choice choice = Choice::kArgmax;
  Gradient gradient = Gradient::kStraightThrough;
  uint64_t seed = 0;  ///< of kSampled
};
/// P_ij = s_ij / Σ_j s_ij: no exponential. Over features of q and k, s_ij = φ(q_i)·φ(k_j) (elu_plus_one, positive_random_features in attend.h), it is linear
/// attention (Katharopoulos et al. 2020, eq. 4; Choromanski et al. 2021, eq. 4). Where every query sees all keys up to one of its own (full, causal; no terms)
/// cost is O(length·d_k·d_v), by running sums (eq. 5, 8–9); elsewhere it follows the pairs. A score's scale cancels unless terms follow.
/// Scores are meant to be 0 or more. Negative ones are taken as the formula has them: weights may then be negative and beyond one. A row whose scores sum
/// to 0 (in f32: to less than 2⁻¹²⁶) gives zeros. Features are finite: an infinite one makes the rows that see it NaN.
struct LinearAttention {};
using Normaliser = std::variant<Softmax, Sparsemax, Entmax15, Sigmoid, Hard, LinearAttention>;

/// Each weight becomes 0 with probability `rate`; the others are divided by 1 − rate (Srivastava et al. 2014, §10). Which ones follows from (seed, batch, head,
/// query, key) alone: forward, gradients and maps agree for any number of threads. 0 ≤ rate < 1.
struct Dropout {
  float rate = 0;
  uint64_t seed = 0;
};
/// Weights times exp(−(j − c_i)² / (2σ²)) around a predicted centre c_i, in keys (Luong, Pham & Manning 2015, eq. 10: local-p; σ is half the window there).
struct LocalGaussian {
  Tensor centres{};  ///< f32 [batch|1, head|1, query]
  float sigma = 1;
};
/// What happens to a weight once it is normalised: out_i = Σ_j P_ij·a_ij·v_j. Nothing renormalises. Looks show P_ij; AttentionMap::after shows P_ij·a_ij.
struct After {
  std::optional<Dropout> dropout{};
  std::optional<Tensor>
      head_mask{};  ///< f32 [head], 0 or more: all weights of a head times this; 0 knocks it out (Michel, Levy & Neubig 2019, eq. 2)
  std::optional<LocalGaussian> gaussian{};
};

struct AttentionSpec {
  Score score{};
  std::vector<Term> terms{};
  Topology topology{};
  Normaliser normaliser{};
  After after{};
};

/// Whether every row that sees something sums to one: not under a sink logit, nor with sigmoid; with LinearAttention, unless its scores sum to 0. Before `after`.
bool rows_sum_to_one(const AttentionSpec& spec);

/// Everything sees everything.
Topology full();
/// Each query sees itself and the `back` keys before it (all, when absent). Hugging Face's sliding_window = W is back = W − 1.
Topology causal(std::optional<int64_t> back = std::nullopt, Align align = Align::kEnd);
/// Each query sees `back` keys before and `ahead` keys after its own.
Topology window(int64_t back, int64_t ahead, Align align = Align::kEnd);

/// A graph's edges as lists, and which edge each entry was: bias[entry] = feature[order[entry]] carries features of edges to EdgeBias.
struct Graph {
  Lists lists{};
  std::vector<int32_t> order{};  ///< [entry]
};
/// edges: i32 [2, edge]: who attends, and to whom (Veličković et al. 2018, §2.1). Any order; an edge that repeats counts once, its first.
/// Throws kShape, or kInvalidArgument for negative numbers and queries beyond `queries`.
Graph graph(const Tensor& edges, int64_t queries);

/// Blocks of one sequence that attends to itself: each sees its neighbours (window blocks on either side), the first `global` blocks, which see all, and
/// `random` more blocks (Zaheer et al. 2020, §2). With random = 0 it is Longformer's pattern in blocks (Beltagy et al. 2020, §3.1).
struct BigBird {
  int64_t block = 64, window = 1, global = 1, random = 3;
  uint64_t seed = 0;
};
Lists big_bird(int64_t length, const BigBird& pattern = {});

/// The one list of a description's tensors, in a fixed order, with the names JSON and traces use: "additive.weight", "relative.keys",
/// "relative.queries", "relative.query_bias", "relative.values", "slopes", "bias", "segments.queries",
/// "segments.keys", "mask", "lists.offsets", "lists.keys", "visible.table", "edges" (of EdgeBias), "sinks", "head_mask", "centres". A second term of one kind is "slopes2",
/// "bias2", …. The tables of a rule are "rule.table", "rule.table2", …; those of a second rule "rule2.table", …; those of the visibility rule "visible.table", ….
void for_each_operand(AttentionSpec& spec, const std::function<void(const std::string& name, Tensor& operand)>& visit);
void for_each_operand(const AttentionSpec& spec, const std::function<void(const std::string& name, const Tensor& operand)>& visit);

/// Lengths of one attention call.
struct AttentionShape {
  int64_t batch = 0, heads = 0, key_heads = 0, queries = 0, keys = 0, d_k = 0, d_v = 0;
};

/// Throws kShape, kInvalidArgument or kUnsupported with the operand's name unless the description fits the shape.
void validate(const AttentionSpec& spec, const AttentionShape& shape);

/// The description as JSON text (docs/spec.md); operands become names. Equal descriptions give equal text.
std::string to_json(const AttentionSpec& spec);
/// The inverse; `operand` gives the tensor of a name. `where` names the source in errors. Throws kFormat, or kUnsupported for fields not understood.
AttentionSpec spec_from_json(const std::string& text, const std::string& where,
                             const std::function<Tensor(const std::string& name)>& operand);

}  // namespace clearhead
