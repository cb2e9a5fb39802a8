// Room: spec.
// What a fused call keeps so that its weights can be looked at later: Q, K, two numbers per row, and the description.
//
//   normaliser    m                        ℓ                           a weight
//   softmax       shift in base 2          the sum, sink included      2^(s·log₂e − m) / ℓ          L = m·ln 2 + ln ℓ
//   sparsemax     the largest, in base 2   τ − m·ln 2                  max(0, s − τ)           = max(0, (s·log₂e − m)·ln 2 − ℓ)
//   entmax-1.5    the largest, in base 2   τ − m·ln 2/2                max(0, s/2 − τ)²
//   sigmoid       0                        1                           σ(s + bias)
//   hard          the chosen key           ln of its softmax weight    1 at the key, 0 elsewhere
//   linear        0                        Σ_j s_ij                    s / ℓ; 0 where ℓ is 0
//
// Two f32 per row hold a softmax weight to 1e-6 where a lone log-sum-exp loses it (4e-6 at scores near 100), and a threshold that lies less than 1 below a
// score of any size. A row that saw nothing has m = −∞, ℓ = 0: its weights are zeros. A sparse row of an earlier version has m = τ, and ℓ > 0.
#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "clearhead/spec.h"
#include "clearhead/tensor.h"

namespace clearhead {

enum class InstructionSet : uint8_t { kReference, kAvx2, kAvx512 };
const char* to_string(InstructionSet isa);  ///< "ref", "avx2", "avx512"

/// 256 keys and values of every key head of one sequence, or room for fewer where a short sequence has no other page. Keys stand in panels of 16, so that 16
/// neighbours of one channel are one load.
/// Pages are append-only and shared: what a record saw stays true while the cache grows. All pages of a cache have one dtype: f32, bf16 or f16.
struct KVPage {
  static constexpr int64_t kLength = 256;
  static constexpr int64_t kPanel = 16;
  Tensor keys{};                                            ///< [key_head, length() / kPanel, d_k, kPanel]
  Tensor values{};                                          ///< [key_head, length(), d_v]
  int64_t length() const { return keys.size(1) * kPanel; }  ///< keys there is room for
};

/// The keys (and values) of a cache as they were at one moment.
struct PagedKV {
  std::vector<std::vector<std::shared_ptr<const KVPage>>> pages{};  ///< [batch][page]
  int64_t length = 0;                                               ///< keys visible, the same for every sequence
  int64_t first = 0;  ///< earlier keys were let go (KVCache::keep_last): their pages are null, and a description must hide them
  int64_t key_heads = 0, d_k = 0, d_v = 0;
  DType dtype = DType::kF32;  ///< what the pages hold; scores and sums are f32 in all of them
};

/// Keys as one tensor [batch, key_head, key, d_k] in any strides, or as pages.
using Keys = std::variant<Tensor, PagedKV>;
int64_t key_length(const Keys& keys);
int64_t key_heads(const Keys& keys);
int64_t key_width(const Keys& keys);  ///< d_k
DType key_dtype(const Keys& keys);

struct RowStats {
  Tensor m{};  ///< f32 [batch, head, query]
  Tensor l{};  ///< f32 [batch, head, query]
  /// Of a softmax whose kernel kept P in bf16: Σ_j bf16(2^(s·log₂e − m)), sink included, by which out was divided. f32 [batch, head, query]; undefined where
  /// values met P in f32.
  Tensor used{};

  RowStats slice(int64_t begin, int64_t end) const;  ///< of queries [begin, end), sharing memory
  RowStats clone() const;
};

/// On which machine and over which versions of the operands (q, then k, then for_each_operand's order) a record was made.
struct Stamp {
  InstructionSet isa = InstructionSet::kReference;
  DType dtype = DType::kF32;
  std::vector<uint64_t> versions{};
};

/// Everything needed to recompute any weight of one call exactly. Shares Q and the keys; copies nothing. Cheap to copy.
struct AttentionRecord {
  AttentionSpec spec{};
  Tensor q{};  ///< [batch, head, row, d_k] in the dtype it was given; rows first_query … of the call's query_length queries
  Keys keys{};
  RowStats rows{};           ///< of the same rows as q
  int64_t first_query = 0;   ///< which query row 0 of q is; operands with a query axis are indexed by query, not by row
  int64_t query_length = 0;  ///< queries of the call
  Stamp stamp{};

  AttentionShape shape() const;  ///< queries = query_length; d_v is 0 where values are not known
  int64_t rows_kept() const { return q.size(2); }
  /// Position of query i among the keys: i + (key_length − query_length) for Align::kEnd, i for kStart; both + the band's offset.
  int64_t position_of(int64_t query) const;
  /// Throws kStale naming the operand if one was opened for writing since the record was made.
  void check_fresh() const;
  /// True when some operand is borrowed memory whose changes cannot be seen.
  bool unpinned() const;
  /// A record over copies of whatever is not certain to stay unchanged.
  AttentionRecord pin() const;
};

/// The stamp of operands as they are now.
Stamp stamp_now(const AttentionSpec& spec, const Tensor& q, const Keys& keys, InstructionSet isa);

/// Natural-log log-sum-exp of every row of a softmax: m·ln 2 + ln ℓ; −∞ where a row saw nothing. f32, shape of rows.m.
Tensor log_sum_exp(const RowStats& rows);

/// τ of every row of a sparsemax or entmax; −∞ where a row saw nothing. f32, shape of rows.m.
Tensor thresholds(const RowStats& rows, const Normaliser& normaliser);

}  // namespace clearhead
