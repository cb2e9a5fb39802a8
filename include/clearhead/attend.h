// Room: ops.
// The fused call, and the cache of keys that grows under it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "clearhead/record.h"
#include "clearhead/spec.h"
#include "clearhead/tensor.h"

namespace clearhead {

struct Attended {
  Tensor out{};              ///< [batch, head, query, d_v], in q's dtype
  AttentionRecord record{};  ///< shares q and the keys
};

/// Attends and keeps what is needed to look at the weights later.
///
/// q: [batch, head, query, d_k]   k: [batch, key_head, key, d_k]   v: [batch, key_head, key, d_v]; any strides, all three f32, all bf16 or
/// all f16. Query heads are a multiple of key heads. Scores and sums are f32 whatever the dtype.
/// Returns out [batch, head, query, d_v] in q's dtype, and a record that shares q and k (no copy).
/// Memory: O(length·(d_k + d_v)). Thread-safe. Results are bit-equal for any thread count, batch size and number of heads on one instruction set.
/// Throws kShape if shapes do not fit, kUnsupported if the description or dtype has no driver, or dtypes differ.
Attended attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec = {});

/// The same over a cache: the queries are the last q.size(2) of keys.length positions.
Attended attend(const Tensor& q, const PagedKV& keys, const AttentionSpec& spec);

/// What a call is to give of every row beside its output.
struct RowSums {
  bool entropy = false;   ///< as Statistic::kEntropy
  bool distance = false;  ///< as Statistic::kDistance
};

struct AttendedRows {
  Tensor out{};
  AttentionRecord record{};
  Tensor entropy{};   ///< f32 [batch, head, query]; undefined unless asked for
  Tensor distance{};  ///< f32 [batch, head, query]; undefined unless asked for
};

/// Both of the above, with sums over the weights of every row: of the weights before the description's `after`, within the bounds of a reduction's. Softmax over
/// tiles of keys takes them on its way, at a few percent of a forward (docs/performance.md); other drivers (lists, a few queries over many keys, other
/// normalisers) go over all pairs once more. Asking changes no bit of out and record.
AttendedRows attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec, const RowSums& wanted);
AttendedRows attend(const Tensor& q, const PagedKV& keys, const AttentionSpec& spec, const RowSums& wanted);

/// Keys chosen by content, resolved to lists before the call: the record keeps the lists and never decides again, gradients take them as given.
/// q and k as in attend(). Set as topology.lists, in place of any that are there (an EdgeBias term counts the entries of the lists that it was made for).
///
/// The `count` best-scoring keys of every query among those that `spec` shows, by the score after all terms (ties: the earlier key); a score of −∞ or NaN is
/// never chosen. Time O(queries·keys·d_k), memory O(keys) a thread and the lists.
Lists select_top_keys(const Tensor& q, const Tensor& k, const AttentionSpec& spec, int64_t count);
/// The same over a cache: the queries are the last q.size(2) of keys.length positions, and a decode step chooses what the prefill's last row does.
Lists select_top_keys(const Tensor& q, const PagedKV& keys, const AttentionSpec& spec, int64_t count);

struct BlockChoice {
  int64_t query_block = 64, key_block = 64;
  int64_t count = 8;  ///< key blocks of a query block, its own among them
  bool own = true;    ///< the blocks that hold the queries' own positions are always listed; where these are `count` or more, they alone
};
/// The `count` key blocks whose mean key has the largest product with the query block's mean query (block gating by means: Lu et al. 2025, §2.2).
///
/// Chosen from are the blocks of which the topology shows one pair at least: band, segments, mask, lists and visibility rule. Score and terms are not asked: a
/// block that only a bias of −∞ hides is chosen from. A mean is of all rows of its block, shown or not; a product of −∞ or NaN is chosen as own only.
/// Set beside the rest of the topology, which goes on hiding pairs inside the blocks.
/// Time O(blocks²·d_k) a head; where there are segments, a mask, lists or a rule also a look at the pairs of blocks that ranges of ids and the rule's bounds
/// leave open, up to the first that is shown: at most O(queries·keys) a head.
/// Throws kUnsupported where blocks do not divide those of spec's own lists.
Lists select_top_blocks(const Tensor& q, const Tensor& k, const AttentionSpec& spec, const BlockChoice& choice);

struct Hashing {
  int64_t buckets = 64;  ///< even
  int64_t rounds = 1;    ///< a pair is listed if it meets in any round
  uint64_t seed = 0;
};
/// Keys in the query's bucket, h(x) = argmax([xR; −xR]) with R random [d_k, buckets / 2] (Kitaev et al. 2020, §2). No description is asked: all of a bucket is
/// listed, and what the band and the rest of a topology hide stays hidden when the lists are set beside them.
/// Time O((queries + keys)·d_k·buckets·rounds), and time and memory of the lists: queries·keys / buckets a head and round where buckets are even.
Lists select_same_bucket(const Tensor& q, const Tensor& k, const Hashing& hashing);

/// Feature maps for LinearAttention: φ(q)·φ(k) ≥ 0 stands in for exp(q·k/√d). x: f32 [batch, head, length, d], any strides; results are contiguous. The features of a row
/// are the same bits whatever rows, heads and threads there are. A row of the second map that is not finite gives NaN in its own features alone.
///
/// elu(x) + 1 = x + 1 for x > 0, e^x otherwise (Katharopoulos et al. 2020, eq. 7); and d_x from the gradient of the features. Off by 4ε of itself, ε = 2⁻²³;
/// what is below 2⁻¹²⁶ may be 0.
Tensor elu_plus_one(const Tensor& x);
Tensor elu_plus_one_gradient(const Tensor& x, const Tensor& d_features);

/// f32 [features, d]: rows of normal random vectors' lengths, orthogonal within each d of them (Choromanski et al. 2021, §2.4).
Tensor orthogonal_projection(int64_t features, int64_t d, uint64_t seed);

/// What is subtracted before the exponential so that it does not overflow; it cancels in LinearAttention. The largest exponent of each row (queries), or of all rows of
/// a head (keys, which must share one shift); kNone for keys that come one by one.
enum class FeatureShift : uint8_t { kNone, kEachRow, kAllRows };
/// φ(x) = exp(w·y − ‖y‖²/2 − shift)/√m over the m rows w of the projection, y = x/d^¼: unbiased for exp(q·k/√d), and positive (Choromanski et al. 2021,
/// lemma 1 and eq. 5). Returns [batch, head, length, m].
/// Off by φ·(1e-6 + 4εE), E = Σ_c|w_c y_c| + ‖y‖²/2 of the element and of the row that the shift was taken of; what is below 2⁻¹²⁶ may be 0. An exponent of
/// 88.7 and more is infinite: kNone only.
Tensor positive_random_features(const Tensor& x, const Tensor& projection, FeatureShift shift);
/// d_x, the shift taken as given. Off by (1e-5 + 4εE)·Σ_r|d_φ_r|φ_r(|w_rc| + |y_c|)/d^¼, with E the row's largest.
Tensor positive_random_features_gradient(const Tensor& x, const Tensor& projection, const Tensor& features, const Tensor& d_features);

/// Attention around a predicted centre (Luong, Pham & Manning 2015, §3.2 and eq. 10: local-p, reach their D): query i sees keys j with |j − c_i| ≤ reach, and its
/// weights, normalised over these, are multiplied by exp(−(j − c_i)²/(2σ²)), σ = reach/2. Nothing renormalises, as there. Their local-m, which has the window
/// around the query's own place and no Gaussian, is window(reach, reach, Align::kStart), and window(reach, 0, Align::kStart) where it is causal.
///
/// centres: f32 [batch or 1, head or 1, query], in keys; position i is query i (Align::kStart), whatever the number of keys. The score function is yours to set. The
/// centres' gradient, "centres", is that of the Gaussian: the window's step has none.
/// Throws kShape for other centres, kInvalidArgument for a reach below 1.
AttentionSpec local_p(Tensor centres, int64_t reach);

struct AttendGradients {
  Tensor q{}, k{}, v{};  ///< in the shapes and the dtype of q, k and v: summed in f32, rounded once
  std::vector<Tensor>
      operands{};  ///< f32, as the operands themselves are whatever q's dtype; in for_each_operand's order; undefined where not wanted, and for operands that are not f32
};

/// Gradients of a loss with respect to what a fused call was given, from the gradient of its output (Dao 2023, algorithm 2): weights are
/// recomputed tile by tile from the record, none is stored.
///
/// record: of attend() over tensors (not pages), unchanged since. v and out: what attend() was given and gave. d_out: shape and dtype of out, any strides.
/// `wants` says by name (for_each_operand) which operands' gradients to compute; all when absent. A dense bias's gradient is as large as the bias.
/// `memory`: so many of the first keys and values are constants, k = [memory | segment], as those of a cache are: the results' k and v are of the segment
/// alone, [batch, key_head, key − memory, …]. A projection learns nothing through such rows. Transformer-XL stops at hidden states instead (Dai et al. 2019,
/// §3.2: h̃ = [SG(h_old) ∘ h], k = h̃·W_kᵀ, v = h̃·W_vᵀ), so that W_k and W_v do: leave memory 0, project h̃, let every row of d_k take part in dW_k = d_kᵀ·h̃,
/// d_v in dW_v alike, and pass on only the last rows of d_h̃, those of h (examples/segment_memory.cc).
/// Memory: O(length·d) beyond the results. Thread-safe. Bit-equal for any thread count.
/// Throws kShape if shapes do not fit, kStale if an operand changed, kUnsupported for pages and for a record of some rows.
AttendGradients attend_gradients(const AttentionRecord& record, const Tensor& v, const Tensor& out, const Tensor& d_out,
                                 const std::function<bool(const std::string& name)>& wants = nullptr, int64_t memory = 0);

/// Keys and values that grow by append, in pages of 256. Snapshots stay true while it grows, and may be looked at meanwhile. Copies share the
/// full pages and grow apart (beams). One thread at a time may append.
///
/// Memory for cross-attention is a cache too: the encoder's keys and values are appended once, and every step of a decoder attends over the same pages.
///
/// Pages of bf16 or f16 hold keys and values rounded to nearest even in half the bytes: |Δk| ≤ 2⁻⁸·|k| or 2⁻¹¹·|k| (f16: up to 65,504, and to 2⁻²⁵ below
/// 2⁻¹⁴). Attention over them is f32 attention over the rounded keys, bit for bit; maps are exact for what is stored.
class KVCache {
 public:
  KVCache() = default;
  explicit KVCache(DType dtype);  ///< f32, bf16 or f16, else kUnsupported
  KVCache(const KVCache& other);
  KVCache& operator=(const KVCache& other);
  KVCache(KVCache&&) noexcept = default;
  KVCache& operator=(KVCache&&) noexcept = default;
  ~KVCache() = default;
  /// k: [batch, key_head, new, d_k], v: [batch, key_head, new, d_v]; f32, bf16 or f16, any strides. The first call fixes batch, heads and widths.
  void append(const Tensor& k, const Tensor& v);
  /// Lets go of whole pages before the last `count` keys. Positions stay absolute, snapshots taken before keep theirs, copies of the cache too; attend()
  /// refuses descriptions that show a key that was let go. With causal(back), keep_last(back) before each append bounds memory: the next query sees itself
  /// and `back` keys before it.
  void keep_last(int64_t count);
  /// Sequence i goes on as sequence rows[i] was: beams. One that is named again gets pages of its own from where it is not full. Throws kInvalidArgument for
  /// rows that are not there.
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
