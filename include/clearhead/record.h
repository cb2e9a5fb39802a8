// Implemented in src/spec.
// The record of an attention call: Q, K, two numbers per row and the description. Any weight can be recomputed from it.
// In the table, s is a pair's score in natural units.
//
//   normaliser    m                            ℓ                           a weight
//   softmax       shift in base 2              the sum, sink included      2^(s·log₂e − m) / ℓ,  LSE = m·ln 2 + ln ℓ
//   sparsemax     largest score, in base 2     τ − m·ln 2                  max(0, s − τ) = max(0, (s·log₂e − m)·ln 2 − ℓ)
//   entmax-1.5    largest score, in base 2     τ − m·ln 2/2                max(0, s/2 − τ)²
//   sigmoid       0                            1                           σ(s + bias)
//   hard          the chosen key               ln of its softmax weight    1 at the key, 0 elsewhere
//   linear        0                            Σ_j s_ij                    s / ℓ; 0 where ℓ is 0
//
// Two f32 numbers give a softmax weight to 1e-6; a single log-sum-exp is less exact (4e-6 at scores near 100). They also
// give the threshold τ of a sparse normaliser with enough precision for scores of any size, because τ lies at most 1
// below the largest score (entmax: at most 1 below half of that score). A row that sees no key has m = −∞ and ℓ = 0,
// and its weights are zeros.
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

/// One page of a KV cache: 256 keys and values of every key head of one sequence. The page may be smaller if it is the
/// only page of its sequence. Keys are stored in panels of 16, so that one channel of 16 neighbouring keys is one vector
/// load. Pages are shared and append-only, so a record stays valid while the cache grows. All pages of a cache have the
/// same dtype: f32, bf16 or f16.
struct KVPage {
  static constexpr int64_t kLength = 256;
  static constexpr int64_t kPanel = 16;
  Tensor keys{};                                            ///< [key_head, length() / kPanel, d_k, kPanel]
  Tensor values{};                                          ///< [key_head, length(), d_v]
  int64_t length() const { return keys.size(1) * kPanel; }  ///< capacity in keys
};

/// The keys and values of a KV cache at one moment (KVCache::snapshot).
struct PagedKV {
  std::vector<std::vector<std::shared_ptr<const KVPage>>> pages{};  ///< [batch][page]
  int64_t length = 0;                                               ///< number of keys, the same for every sequence
  /// Keys before this one were released (KVCache::keep_last). Their pages are null; a description must hide them.
  int64_t first = 0;
  int64_t key_heads = 0, d_k = 0, d_v = 0;
  DType dtype = DType::kF32;  ///< dtype of the pages; scores and sums are always f32
};

/// Keys as a tensor [batch, key_head, key, d_k] in any strides, or as pages.
using Keys = std::variant<Tensor, PagedKV>;
int64_t key_length(const Keys& keys);
int64_t key_heads(const Keys& keys);
int64_t key_width(const Keys& keys);  ///< d_k
DType key_dtype(const Keys& keys);

struct RowStats {
  Tensor m{};  ///< f32 [batch, head, query]
  Tensor l{};  ///< f32 [batch, head, query]
  /// f32 [batch, head, query]. Only for a softmax whose kernel rounded P to bf16: Σ_j bf16(2^(s·log₂e − m)), sink
  /// included, the sum by which `out` was divided. Undefined if P stayed in f32.
  Tensor used{};

  RowStats slice(int64_t begin, int64_t end) const;  ///< rows of queries [begin, end), sharing memory
  RowStats clone() const;
};

/// The instruction set, dtype and operand versions that a record was made with. Order of versions: q, then k if it is a
/// tensor, then the operands of for_each_operand. Pages are append-only and have no entry.
struct Stamp {
  InstructionSet isa = InstructionSet::kReference;
  DType dtype = DType::kF32;
  std::vector<uint64_t> versions{};
};

/// Everything needed to recompute any weight of one attention call exactly. Shares Q and the keys with the call and is
/// cheap to copy.
struct AttentionRecord {
  AttentionSpec spec{};
  /// [batch, head, row, d_k], in the dtype given to attend(). Row r is query first_query + r of the call's query_length
  /// queries.
  Tensor q{};
  Keys keys{};
  RowStats rows{};  ///< statistics of the same rows as q
  /// Query of row 0. Operands with a query axis are indexed by query, not by row.
  int64_t first_query = 0;
  int64_t query_length = 0;  ///< number of queries of the call
  Stamp stamp{};

  AttentionShape shape() const;  ///< queries = query_length; d_v is 0 if the values are not known
  int64_t rows_kept() const { return q.size(2); }
  /// Position of query i among the keys: i + (key_length − query_length) for Align::kEnd, i for Align::kStart; plus
  /// the band's offset.
  int64_t position_of(int64_t query) const;
  /// Throws kStale, naming the operand, if an operand was opened for writing since the record was made.
  void check_fresh() const;
  /// True if an operand is borrowed memory, whose changes cannot be detected.
  bool unpinned() const;
  /// A record with copies of all operands whose memory could still change. Throws kStale as check_fresh() does.
  AttentionRecord pin() const;
};

/// The gradient of a scalar y with respect to the output of an attention call. Together with the call's record it gives
/// the gradient with respect to any weight, recomputed like the weight itself: ∂y/∂P_ij = dO_i·v_j. Here P_ij is the
/// weight that multiplies v_j, after `after`; the contribution of Relative::values is not included.
struct OutputGradient {
  Tensor d_out{};   ///< f32 [batch, head, row, d_v], for the rows of the record, any strides
  Tensor values{};  ///< f32, bf16 or f16 [batch, key_head, key, d_v], any strides
};

/// A stamp with the operands' current versions.
Stamp stamp_now(const AttentionSpec& spec, const Tensor& q, const Keys& keys, InstructionSet isa);

/// Natural log-sum-exp of every row of a softmax: m·ln 2 + ln ℓ; −∞ for a row that sees no key. → f32, shape of rows.m
Tensor log_sum_exp(const RowStats& rows);

/// Threshold τ of every row of a sparsemax or entmax; −∞ for a row that sees no key. → f32, shape of rows.m
Tensor thresholds(const RowStats& rows, const Normaliser& normaliser);

}  // namespace clearhead
