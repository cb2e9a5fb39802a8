// Implemented in src/ops.
// The fused attention call, its gradients, and the KV cache.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/record.h"
#include "clearhead/spec.h"
#include "clearhead/tensor.h"

namespace clearhead {

struct Attended {
  Tensor out{};              ///< [batch, head, query, d_v], in q's dtype
  AttentionRecord record{};  ///< shares q, k and the operands of the description; nothing is copied
};

/// Computes attention and keeps what is needed to recompute the weights later.
///
/// q: [batch, head, query, d_k], k: [batch, key_head, key, d_k], v: [batch, key_head, key, d_v]; any strides; all f32,
/// all bf16 or all f16. `head` is a multiple of `key_head`. Scores and sums are f32 for every dtype.
/// Returns out [batch, head, query, d_v] in q's dtype, and a record that shares q and k (no copy).
///
/// Memory: O(length·(d_k + d_v)). Thread-safe. On one instruction set, results have the same bits for any number of
/// threads, batch size and number of heads.
/// Throws kShape if shapes do not fit, kUnsupported if dtypes differ or no backend supports this spec and dtype.
Attended attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec = {});

/// The same over a KV cache. With Align::kEnd the queries are the last q.size(2) of its keys.length positions.
/// Throws kInvalidArgument if `spec` makes a key visible that keep_last() released.
Attended attend(const Tensor& q, const PagedKV& keys, const AttentionSpec& spec);

/// Sums over the weights of each row that a call returns in addition to its output.
struct RowSums {
  bool entropy = false;   ///< defined as Statistic::kEntropy
  bool distance = false;  ///< defined as Statistic::kDistance
};

struct AttendedRows {
  Tensor out{};
  AttentionRecord record{};
  Tensor entropy{};   ///< f32 [batch, head, query]; undefined unless requested
  Tensor distance{};  ///< f32 [batch, head, query]; undefined unless requested
};

/// The two functions above, plus sums over the weights of each row. The weights are those before the description's
/// `after`; the error bounds are those of AttentionMap::reduce.
///
/// Softmax over tiles of keys adds up these sums during the forward pass, at the cost of a few percent
/// (docs/performance.md). Other kernels (block-sparse lists, few queries over many keys, other normalisers) visit all
/// pairs a second time. Requesting sums does not change a single bit of out and record.
AttendedRows attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec, const RowSums& wanted);
AttendedRows attend(const Tensor& q, const PagedKV& keys, const AttentionSpec& spec, const RowSums& wanted);

/// Selects the `count` keys with the highest scores for each query, as lists for topology.block_sparse.
///
/// Call it before attend(). The record then contains the lists: weights are recomputed with them, and gradients treat
/// them as constants. The lists replace any lists in `spec`; an EdgeBias term stays indexed by the entries of the lists
/// that it was made for.
///
/// q and k: as in attend(). A key can be selected if it is visible to the query under `spec` and its score, after all
/// terms, is neither −∞ nor NaN. Ties go to the earlier key.
/// Time O(queries·keys·d_k). Memory: O(keys) per thread, plus the lists. Throws kInvalidArgument for count < 1.
BlockSparse select_top_keys(const Tensor& q, const Tensor& k, const AttentionSpec& spec, int64_t count);
/// The same over a KV cache. With Align::kEnd the queries are the last q.size(2) of its keys.length positions, and a
/// decode step selects the same keys as the last row of a prefill.
BlockSparse select_top_keys(const Tensor& q, const PagedKV& keys, const AttentionSpec& spec, int64_t count);

struct BlockChoice {
  int64_t query_block = 64, key_block = 64;
  int64_t count = 8;  ///< key blocks per query block, including the blocks of its own positions
  /// Always select the blocks that contain the query block's own positions, even if there are more than `count` of them.
  bool own = true;
};
/// Selects, for each query block, the `count` key blocks whose mean key has the largest dot product with the mean query
/// (block gating by means: Lu et al. 2025, §2.2).
///
/// A key block can be selected if the topology (band, segments, mask, lists, visibility rule) makes at least one of its
/// pairs visible. Score and terms are not evaluated, so a block that is hidden only by a bias of −∞ can be selected. A
/// mean is taken over all rows of the block, including hidden ones. A block whose product is −∞ or NaN is selected only
/// if it contains the query block's own positions.
///
/// Combine the lists with the rest of the topology, which still hides pairs inside the selected blocks.
/// Time: O(blocks²·d_k) per head. With segments, a mask, lists or a rule, block pairs that neither ranges of segment
/// ids nor rule bounds can decide are searched for a visible pair: at most O(queries·keys) per head.
/// Throws kUnsupported if the blocks of `choice` do not divide those of the lists in `spec`, kInvalidArgument for sizes
/// or a count below 1.
BlockSparse select_top_blocks(const Tensor& q, const Tensor& k, const AttentionSpec& spec, const BlockChoice& choice);

struct Hashing {
  int64_t buckets = 64;  ///< even
  int64_t rounds = 1;    ///< a pair is listed if query and key share a bucket in any round
  uint64_t seed = 0;
};
/// Selects, for each query, the keys in the same hash bucket: h(x) = argmax([xR; −xR]) with a random matrix R
/// [d_k, buckets / 2] (Kitaev et al. 2020, §2).
///
/// No AttentionSpec is needed: the lists contain whole buckets. If they are used in a topology, its band, segments,
/// mask and rules still hide pairs.
/// Time: O((queries + keys)·d_k·buckets·rounds), plus time and memory of the lists, which is queries·keys / buckets per
/// head and round for buckets of equal size.
BlockSparse select_same_bucket(const Tensor& q, const Tensor& k, const Hashing& hashing);

/// Feature maps for LinearAttention: φ(q)·φ(k) ≥ 0 replaces exp(q·k/√d).
///
/// x: f32 [batch, head, length, d], any strides. Results are contiguous. The bits of a row's features do not depend on
/// the number of threads or on other heads, and on other rows of the head only through the shift of kAllRows. With
/// positive_random_features, a row that is not finite gives NaN in its own features only.
///
/// elu_plus_one: elu(x) + 1 = x + 1 for x > 0, e^x otherwise (Katharopoulos et al. 2020, eq. 7).
/// elu_plus_one_gradient: the gradient d_x from the gradient of the features.
/// Relative error at most 4ε, ε = 2⁻²³; results below 2⁻¹²⁶ may be 0.
Tensor elu_plus_one(const Tensor& x);
Tensor elu_plus_one_gradient(const Tensor& x, const Tensor& d_features);

/// A random projection, f32 [features, d]. Within each block of d rows the rows are orthogonal; each row has the length
/// of a vector of d normal random numbers (Choromanski et al. 2021, §2.4).
Tensor orthogonal_projection(int64_t features, int64_t d, uint64_t seed);

/// The shift that positive_random_features subtracts from the exponent to prevent overflow. It cancels in
/// LinearAttention.
///   kEachRow  the largest exponent of each row: for queries
///   kAllRows  the largest exponent of all rows of a head: for keys, which must share one shift
///   kNone     no shift: for keys that arrive one by one
enum class FeatureShift : uint8_t { kNone, kEachRow, kAllRows };
/// φ(x) = exp(w·y − ‖y‖²/2 − shift)/√m over the m rows w of the projection, with y = x/d^¼. An unbiased and positive
/// estimate of exp(q·k/√d) (Choromanski et al. 2021, lemma 1 and eq. 5). Returns [batch, head, length, m].
///
/// Error at most φ·(1e-6 + 4εE), where E is the sum of Σ_c|w_c y_c| + ‖y‖²/2 of this element and, if there is a shift,
/// the largest Σ_c|w_c y_c| + ‖y‖²/2 of the elements that share it. Results below 2⁻¹²⁶ may be 0. With kNone an
/// exponent of 88.7 or more gives infinity.
Tensor positive_random_features(const Tensor& x, const Tensor& projection, FeatureShift shift);
/// The gradient d_x, with the shift treated as a constant. Error at most (1e-5 + 4εE)·Σ_r|d_φ_r|φ_r(|w_rc| + |y_c|)/d^¼
/// with the largest E of the row's features.
Tensor positive_random_features_gradient(const Tensor& x, const Tensor& projection, const Tensor& features, const Tensor& d_features);

/// Local attention around a predicted centre (local-p of Luong, Pham & Manning 2015, §3.2 and eq. 10; `reach` is their D).
///
/// Query i sees the keys j with |j − c_i| ≤ reach. Weights are normalised over these keys and then multiplied by
/// exp(−(j − c_i)²/(2σ²)), σ = reach/2. As in the paper, they are not normalised again. The paper's local-m, a window
/// around the query's own position without a Gaussian, is window(reach, reach, Align::kStart); its causal form is
/// window(reach, 0, Align::kStart).
///
/// centres: the c_i, f32 [batch or 1, head or 1, query], in keys. Query i has position i (Align::kStart) for any number
/// of keys.
/// The caller sets the score function. The gradient of "centres" is that of the Gaussian; the edge of the window
/// contributes none. Throws kShape for centres of another shape, kInvalidArgument for a reach below 1.
AttentionSpec local_p(Tensor centres, int64_t reach);

struct AttendGradients {
  Tensor q{}, k{}, v{};  ///< shapes and dtype of q, k and v; summed in f32, rounded once
  /// Gradients of the description's operands, in the order of for_each_operand; always f32. Undefined for operands whose
  /// gradient is not wanted and for operands that are not f32.
  std::vector<Tensor> operands{};
};

/// Gradients of a loss with respect to the results of an attention call. A tensor converts to the gradient of `out` alone.
struct GivenGradients {
  // Implicit, so that callers can pass the gradient of the output as it is.
  GivenGradients(Tensor of_out) : out(std::move(of_out)) {}  // NOLINT(google-explicit-constructor)
  GivenGradients(Tensor of_out, Tensor of_log_sum_exp) : out(std::move(of_out)), log_sum_exp(std::move(of_log_sum_exp)) {}
  Tensor out{};  ///< shape and dtype of the output, any strides
  /// f32 [batch, head, query], any strides: gradient of the natural log-sum-exp L_i of each row (log_sum_exp() of the
  /// record's rows, sink logit included). Undefined: zeros. Softmax only. Entries of rows that see no key are not read.
  Tensor log_sum_exp{};
};

/// Gradients of a loss with respect to the inputs of an attention call, from the gradient of its output (Dao 2023,
/// algorithm 2). For losses on the weights themselves, the gradient of the rows' log-sum-exp can be given too:
/// ∂L_i/∂s_ij = P_ij, so it only changes the algorithm's D_i to D_i − ∂loss/∂L_i. Weights are recomputed tile by tile
/// from the record; none is stored.
///
/// record: from attend() over tensors, not over pages, with no operand changed since.
/// v and out: the values given to attend() and the output it returned.
/// given: the gradient of out, and of L if there is one.
/// wants: returns true if the operand with this name (for_each_operand) needs a gradient; null: all operands do. The
/// gradient of a dense bias is as large as the bias.
///
/// memory: number of leading keys and values that are constants, such as those of a KV cache: k = [memory | segment].
/// The returned k and v gradients then cover the segment only, [batch, key_head, key − memory, …], so projection
/// weights learn nothing through memory rows.
///
/// Transformer-XL stops the gradient at the hidden states instead (Dai et al. 2019, §3.2: h̃ = [SG(h_old) ∘ h],
/// k = h̃·W_kᵀ, v = h̃·W_vᵀ), so W_k and W_v do learn through the memory. For that, leave `memory` at 0, project h̃,
/// use all rows in dW_k = dKᵀ·h̃ and dW_v = dVᵀ·h̃ (dK, dV: the returned gradients of k and v), and pass on only the
/// last rows of dh̃, which belong to h (examples/segment_memory.cc).
///
/// Memory: O(length·d) beyond the results. Thread-safe. Same bits for any number of threads.
/// Throws kShape if shapes do not fit, kStale if an operand changed, kUnsupported for a record over pages or with only
/// some of the rows and for the gradient of L of a normaliser other than softmax, kInvalidArgument if `memory` is
/// negative or larger than the number of keys.
AttendGradients attend_gradients(const AttentionRecord& record, const Tensor& v, const Tensor& out, const GivenGradients& given,
                                 const std::function<bool(const std::string& name)>& wants = nullptr, int64_t memory = 0);

/// A KV cache: keys and values in pages of 256, grown by append(). Snapshots stay valid while it grows.
/// Copies share the full pages and grow independently (beam search). Only one thread at a time may append;
/// others may read snapshots.
///
/// It also stores the memory of cross-attention: the encoder's keys and values are appended once, and every decoder step
/// attends over the same pages.
///
/// Pages of bf16 or f16 round keys and values to nearest even and take half the memory. Error: |Δk| ≤ 2⁻⁸·|k| for bf16,
/// |Δk| ≤ 2⁻¹¹·|k| for f16 (up to 65,504; below 2⁻¹⁴ it is at most 2⁻²⁵). Attention over such pages has the same bits
/// as f32 attention over the rounded keys, and maps are exact for what is stored.
class KVCache {
 public:
  KVCache() = default;
  explicit KVCache(DType dtype);  ///< f32, bf16 or f16; throws kUnsupported for others
  KVCache(const KVCache& other);
  KVCache& operator=(const KVCache& other);
  KVCache(KVCache&&) noexcept = default;
  KVCache& operator=(KVCache&&) noexcept = default;
  ~KVCache() = default;
  /// Appends keys k [batch, key_head, new, d_k] and values v [batch, key_head, new, d_v]; f32, bf16 or f16, any
  /// strides. The first call fixes batch, heads and widths. Throws kShape if a later call differs.
  void append(const Tensor& k, const Tensor& v);
  /// Releases all whole pages before the last `count` keys. Positions stay absolute; earlier snapshots and copies keep
  /// their pages. attend() refuses a description under which a released key is visible.
  /// With causal(back), calling keep_last(back) before each append bounds the memory: the next query sees itself and
  /// the `back` keys before it.
  void keep_last(int64_t count);
  /// Replaces sequence i by the former sequence rows[i], for beam search. A sequence that is named more than once gets
  /// its own copy of the last, partly filled page each time. Throws kInvalidArgument for rows that do not exist.
  void select(const std::vector<int64_t>& rows);
  const PagedKV& snapshot() const { return keys_; }
  int64_t length() const { return keys_.length; }
  DType dtype() const { return keys_.dtype; }

 private:
  void make_room(size_t sequence, int64_t room, int64_t count);

  PagedKV keys_;
  std::vector<std::vector<std::shared_ptr<KVPage>>> writable_;  // [batch][page], the same pages as keys_.pages
};

}  // namespace clearhead
