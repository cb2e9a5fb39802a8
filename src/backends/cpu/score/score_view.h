// A description (AttentionSpec) resolved for one head: its operands as addresses, strides and numbers, in base 2.
//
//   s_ij = (q_i·scale·log₂e)·k_j, or another score function  →  terms in the order written, each times log₂e
//                                                            →  hidden pairs dropped
//
// A ScoreProblem holds the data that all heads of a call share. Kernels read the ScoreView that view(batch, head)
// returns. A row is a row of q; its query is first_query + row. The vector code is in score_kernel-inl.h.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numbers>
#include <optional>
#include <vector>

#include "backends/cpu/dispatch.h"
#include "backends/cpu/score/offset_bits.h"
#include "backends/cpu/score/rule_program.h"
#include "clearhead/record.h"
#include "clearhead/spec.h"
#include "spec/base2.h"
#include "spec/rule_bounds.h"
#include "spec/score_function.h"
#include "spec/visible.h"

namespace clearhead::cpu {

// Keys per key tile: the length of a KV page. Key tiles begin at multiples of it, for tensors and pages alike.
inline constexpr int64_t kKeyTile = 256;
static_assert(kKeyTile == KVPage::kLength);
inline constexpr float kLog2E = std::numbers::log2e_v<float>;
inline constexpr float kVisible = kLowestScore;  // pairs with lower scores are hidden
inline constexpr float kNone = kVisible;         // the running maximum m of a row that has seen no key
inline constexpr float kHidden = -4e30F;         // the score of a hidden pair; 2^(kHidden − kNone) is 0

/// The formula that recomputes a weight from its score (weight-inl.h). kRounded is softmax with weights shown as a bf16
/// kernel rounded them (LookPrecision::kAsUsed).
enum class WeightKind : uint8_t { kSoftmax, kSparsemax, kEntmax15, kSigmoid, kHard, kLinear, kRounded };
WeightKind kind_of(const Normaliser& normaliser);

/// The score function of q and k (steps-inl.h).
struct ScoreFunction {
  enum class Kind : uint8_t { kDot, kTanh, kLeakyRelu };
  Kind kind = Kind::kDot;
  // Additive scores: the weights of φ(q + k), multiplied by log₂e, [d_k].
  const float* weight = nullptr;
  const float* natural_weight = nullptr;  // the same without the factor log₂e, [d_k]
  float slope = 0;                        // kLeakyRelu
  bool is_dot() const { return kind == Kind::kDot; }
};

/// One head's tables of a relative score (relative-inl.h), in natural units. Null if absent.
struct RelativeView {
  int64_t reach = 0;
  const float *keys = nullptr, *queries = nullptr;  // [2·reach + 1, d_k]
  const float* query_bias = nullptr;                // [d_k]
  const float* values = nullptr;                    // [2·reach + 1, d_v]
  explicit operator bool() const { return keys != nullptr; }
};

struct ScoreTerm {
  // kOffsets: the tables of a relative score, applied before the description's terms.
  enum class Kind : uint8_t { kAlibi, kSoftCap, kDense, kRule, kOffsets };
  Kind kind = Kind::kAlibi;
  bool per_edge = false;           // kDense: the bias is indexed by the entries of the view's lists
  float slope = 0;                 // kAlibi: slope·log₂e
  float cap = 0, inverse_cap = 0;  // kSoftCap: cap·log₂e and its inverse
  const float* bias = nullptr;     // kDense: the element [query 0, key 0] of this head, natural units
  int64_t query_stride = 0, key_stride = 0;
  RuleUse rule{};  // kRule
};

/// The lowest and the highest segment id in each key tile.
struct SegmentBounds {
  std::vector<int32_t> low{}, high{};
};

/// One head's block-sparse lists: the key blocks that each query block sees.
struct ListView {
  int64_t query_block = 1, key_block = 1;
  const int32_t* offsets = nullptr;  // [query block + 1]; null if there are no lists
  const int32_t* blocks = nullptr;   // [entry]: key blocks

  explicit operator bool() const { return offsets != nullptr; }
  int64_t begin_of(int64_t query) const { return offsets[query / query_block]; }
  int64_t end_of(int64_t query) const { return offsets[query / query_block + 1]; }
  /// Returns the first entry of the query's list whose block is the one of key `key`, or a later one.
  int64_t first_entry(int64_t query, int64_t key) const {
    return std::lower_bound(blocks + begin_of(query), blocks + end_of(query), key / key_block) - blocks;
  }
};

/// One head's factors on normalised weights: dropout, Gaussian, head mask (after-inl.h).
struct AfterView {
  bool drops = false;
  uint32_t dropped_below = 0;
  uint64_t seed = 0;
  int64_t batch = 0, head = 0;
  const float* centres = nullptr;  // of this head
  int64_t centre_stride = 0;
  float narrowness = 0;  // log₂e / (2σ²)
  // The factor that is common to all weights of the head: the head mask times dropout's 1/(1 − rate).
  float factor = 1;

  /// Returns true if factors differ between pairs. Only drivers with queries in lanes can apply such factors.
  bool is_by_pair() const { return drops || centres; }
  bool any() const { return is_by_pair() || factor != 1; }
};

/// Everything that kernels need to compute the scores of one (batch, head). Pointers are borrowed from the call's tensors
/// and from the ScoreProblem.
struct ScoreView {
  int64_t d_k = 0, key_length = 0, query_length = 0, first_query = 0, rows = 0;
  // Row r of the queries begins at queries + r·query_stride; channels are query_channel apart.
  const float* queries = nullptr;
  int64_t query_stride = 0, query_channel = 0;
  float query_factor = 0;  // scale·log₂e; 1 for additive scores
  ScoreFunction function{};
  // Set if operands are bf16 and not widened: a channel is then a 32-bit word of two bf16, d_k and the strides count
  // words, scores are multiplied by product_factor after the chain of multiply-adds, and query_factor is 1.
  bool is_bf16 = false;
  float product_factor = 1;
  // Number of words that one TDPBF16PS reads from each row (amx-inl.h): 16 or 8; 0 if scores are not computed by AMX.
  int64_t amx_step = 0;
  RelativeView relative{};
  // Keys of a tensor, row-major with adjacent channels; used if `pages` is null.
  const float* keys = nullptr;
  int64_t key_stride = 0;
  const std::byte* const* pages = nullptr;  // [page]: panels of all key heads
  // [page]: values of all key heads; an entry is null if the page's values are not kept
  const std::byte* const* value_pages = nullptr;
  DType page_dtype = DType::kF32;
  int64_t page_keys = kKeyTile;  // capacity of a page in keys, which is the distance between its heads
  int64_t key_head = 0;
  const std::vector<ScoreTerm>* terms = nullptr;  // null if there are none
  int64_t rule_floats = 0;                        // floats that all rules need for one key tile
  const Band* band = nullptr;
  int64_t position_offset = 0;  // position of query 0 among the keys
  const int32_t* query_segments = nullptr;
  const int32_t* key_segments = nullptr;
  int64_t query_segment_stride = 0, key_segment_stride = 0;
  const SegmentBounds* segment_bounds = nullptr;
  const uint8_t* mask = nullptr;
  int64_t mask_query_stride = 0, mask_key_stride = 0;
  ListView lists{};
  WeightKind kind = WeightKind::kSoftmax;
  bool by_score_function = false;  // kHard: the gradient is Hard::Gradient::kScoreFunction
  AfterView after{};
  int64_t batch = 0, head = 0;
  const RuleUse* visible = nullptr;  // the visibility rule; null if there is none
  const RuleBounds* visible_bounds = nullptr;
  const OffsetBits* visible_offsets = nullptr;  // a visibility rule that depends on offsets alone, set by read_offsets
  const float* sink = nullptr;                  // this head's sink logit, natural units; null if there is none

  int64_t query_of(int64_t row) const { return first_query + row; }
  int64_t position_of(int64_t query) const { return query + position_offset; }
  /// The keys that the band shows to a query.
  Range band_of(int64_t query) const { return visible_band(*band, position_of(query), key_length); }
  /// A channel of a query as kernels use it: an f32 times query_factor, or a word of two bf16 unchanged.
  float query_at(const float* at) const { return is_bf16 ? *at : *at * query_factor; }
  /// Returns kAll, kNone or kMixed: how many pairs of positions × keys the visibility rule shows. Without visible_offsets,
  /// kMixed may also mean that the bounds do not tell. Neither range may be empty.
  Shown shown(Range positions, Range of_keys) const {
    if (!visible) return Shown::kAll;
    return visible_offsets ? visible_offsets->shown(positions, of_keys) : visible_bounds->shown(batch, head, positions, of_keys);
  }
  /// A page's panels of 16 keys: [page_keys / 16, d_k, 16]. T is the element type of page_dtype.
  template <class T>
  const T* panels(int64_t page) const {
    return reinterpret_cast<const T*>(pages[page]) + key_head * page_keys * d_k;
  }
};

/// The data that all heads of one call or record share.
class ScoreProblem {
 public:
  /// q: [batch, head, row, d_k]; row 0 is query `first_query` of `query_length`. q and keys are f32, or both bf16 if
  /// `products` are bf16 products. f32 keys in a tensor are copied only if their channels are not adjacent; bf16 operands
  /// only if their rows are not whole words (bf16_words).
  ScoreProblem(const AttentionSpec& spec, const Tensor& q, const Keys& keys, int64_t first_query, int64_t query_length, Products products);
  ScoreProblem(const ScoreProblem&) = delete;
  ScoreProblem& operator=(const ScoreProblem&) = delete;

  int64_t batch() const { return batch_; }
  int64_t heads() const { return heads_; }
  WeightKind kind() const { return common_.kind; }
  bool is_bf16() const { return common_.is_bf16; }
  bool uses_amx() const { return common_.amx_step > 0; }
  int64_t group() const { return heads_ / key_heads_; }  // query heads per key head
  ScoreView view(int64_t batch, int64_t head) const;
  /// Returns true if the visibility rule depends on position − key alone and the call has so many rows that
  /// evaluating every offset once pays off. It does not in decoding, which visits few pairs.
  bool hides_by_offset() const;
  /// Sets visible_offsets of every head to the result of ask(view), which is called once per run of neighbouring heads
  /// for which the rule has the same scalars.
  template <class F>
  void set_visible_offsets(F&& ask) {
    // The member is assigned only when the vector is complete, because `view` reads the member.
    std::vector<std::shared_ptr<const OffsetBits>> asked;
    for (int64_t map = 0; map < batch_ * heads_; ++map) {
      const bool is_same = map > 0 && has_scalars_of(map, map - 1);
      asked.push_back(is_same ? asked.back() : std::make_shared<OffsetBits>(ask(view(map / heads_, map % heads_))));
    }
    visible_offsets_ = std::move(asked);
  }

 private:
  void add_score_function();
  void add_rules();
  void add_rule(const Rule& rule, bool is_visibility);
  RuleUse rule_use(size_t rule, int64_t map, bool may_hide) const;
  bool has_scalars_of(int64_t map, int64_t other) const;
  void add_terms();
  void add_segments();
  void add_pages();
  AfterView after_view(int64_t batch, int64_t head) const;
  void add_lists();

  const AttentionSpec& spec_;
  const Tensor q_;
  const Keys& keys_;
  Tensor rows_;  // row-major keys with adjacent channels; undefined for pages
  int64_t batch_ = 0, heads_ = 0, key_heads_ = 1;
  ScoreView common_;
  int64_t page_count_ = 0;
  std::vector<const std::byte*> key_pages_, value_pages_;              // [batch · page]
  Tensor offset_keys_, offset_queries_, offset_bias_, offset_values_;  // tables of a relative score, contiguous
  std::vector<float> additive_weights_;                                // [head|1][2][d_k]: times log₂e, then natural
  std::vector<std::unique_ptr<RuleProgram>> rules_;                    // of the terms in order, then of visibility
  std::vector<int64_t> rule_scratch_;                                  // [rule]
  std::vector<std::vector<float>> rule_scalars_;                       // [rule]: [batch · head][slot][kScalarFloats]
  std::vector<std::vector<ScoreTerm>> terms_;                          // [batch · head]
  std::vector<RuleUse> visible_;                                       // [batch · head]
  std::optional<RuleBounds> visible_bounds_;
  std::vector<std::shared_ptr<const OffsetBits>> visible_offsets_;  // [batch · head]; empty if not evaluated
  std::vector<SegmentBounds> segment_bounds_;                       // [batch|1]
  Tensor list_offsets_, list_keys_;                                 // contiguous
  std::vector<Tensor> edge_biases_;                                 // [EdgeBias term], contiguous
};

/// Returns bf16 [batch, head, length, d] whose rows consist of whole 32-bit words of two channels: the tensor itself if
/// its channels are adjacent, d and the strides are even and the address is a multiple of 4; else a copy, with a zero
/// channel added if d is odd.
Tensor bf16_words(const Tensor& tensor);

}  // namespace clearhead::cpu
