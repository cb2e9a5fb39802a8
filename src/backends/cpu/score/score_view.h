// One head's scores as addresses and numbers: a description resolved for the kernels, in base 2.
//
//   s_ij = (q_i·scale·log₂e)·k_j, or another pair  →  terms in the order written, each times log₂e  →  hidden pairs dropped
//
// A ScoreProblem holds what all heads of a call share; view(batch, head) is what a kernel reads. Rows are row indices of q; a row's query is
// first_query + row. Nothing here is vectorised: the vector code over it is score_kernel-inl.h.
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

inline constexpr int64_t kKeyTile = 256;  // = one page; counted from key 0, in tensors and pages alike
static_assert(kKeyTile == KVPage::kLength);
inline constexpr float kLog2E = std::numbers::log2e_v<float>;
inline constexpr float kVisible = kLowestScore;  // scores from here on are visible
inline constexpr float kNone = kVisible;         // the shift m of a row that has seen nothing yet
inline constexpr float kHidden = -4e30F;         // the score of a hidden pair: 2^(kHidden − kNone) is 0

/// How a weight is recomputed from its score: weight-inl.h. kRounded is softmax's in looks at weights as used.
enum class WeightKind : uint8_t { kSoftmax, kSparsemax, kEntmax15, kSigmoid, kHard, kLinear, kRounded };
WeightKind kind_of(const Normaliser& normaliser);

/// What q and k give (steps-inl.h).
struct ScoreFunction {
  enum class Kind : uint8_t { kDot, kTanh, kLeakyRelu };
  Kind kind = Kind::kDot;
  const float* weight = nullptr;          // [d_k], times log₂e: of sums of φ(q + k)
  const float* natural_weight = nullptr;  // [d_k]
  float slope = 0;                        // of kLeakyRelu
  bool is_dot() const { return kind == Kind::kDot; }
};

/// Tables of a relative pair (relative-inl.h), natural units, of one head. Null: absent.
struct RelativeView {
  int64_t reach = 0;
  const float *keys = nullptr, *queries = nullptr;  // [2·reach + 1, d_k]
  const float* query_bias = nullptr;                // [d_k]
  const float* values = nullptr;                    // [2·reach + 1, d_v]
  explicit operator bool() const { return keys != nullptr; }
};

struct ScoreTerm {
  enum class Kind : uint8_t { kAlibi, kSoftCap, kDense, kRule, kOffsets };  // kOffsets: of a relative pair, before the description's terms
  Kind kind = Kind::kAlibi;
  bool per_edge = false;           // kDense: the bias is [entry] of the view's lists
  float slope = 0;                 // kAlibi: slope·log₂e
  float cap = 0, inverse_cap = 0;  // kSoftCap: cap·log₂e and 1 / that
  const float* bias = nullptr;     // kDense: natural units, at [query 0, key 0] of this head
  int64_t query_stride = 0, key_stride = 0;
  RuleUse rule{};  // kRule
};

/// Lowest and highest segment id of each key tile.
struct SegmentBounds {
  std::vector<int32_t> low{}, high{};
};

/// Who sees whom by lists, of one head.
struct ListView {
  int64_t query_block = 1, key_block = 1;
  const int32_t* offsets = nullptr;  // [query block + 1]; null: no lists
  const int32_t* blocks = nullptr;   // [entry]: key blocks

  explicit operator bool() const { return offsets != nullptr; }
  int64_t begin_of(int64_t query) const { return offsets[query / query_block]; }
  int64_t end_of(int64_t query) const { return offsets[query / query_block + 1]; }
  /// The first entry of the query's list that reaches key `key` or beyond.
  int64_t first_entry(int64_t query, int64_t key) const {
    return std::lower_bound(blocks + begin_of(query), blocks + end_of(query), key / key_block) - blocks;
  }
};

/// What happens to one head's weights once normalised (after-inl.h).
struct AfterView {
  bool drops = false;
  uint32_t dropped_below = 0;
  uint64_t seed = 0;
  int64_t batch = 0, head = 0;
  const float* centres = nullptr;  // of this head
  int64_t centre_stride = 0;
  float narrowness = 0;  // log₂e / (2σ²)
  float factor = 1;      // of all weights: the head's mask, and 1/(1 − rate)

  /// Pairs differ: by drivers that have queries in lanes.
  bool is_by_pair() const { return drops || centres; }
  bool any() const { return is_by_pair() || factor != 1; }
};

/// What one (batch, head) needs to compute scores. Pointers are borrowed from the call's tensors and from the ScoreProblem.
struct ScoreView {
  int64_t d_k = 0, key_length = 0, query_length = 0, first_query = 0, rows = 0;
  // Queries: row r at queries + r·query_stride, channel c at + c·query_channel.
  const float* queries = nullptr;
  int64_t query_stride = 0, query_channel = 0;
  float query_factor = 0;  // scale·log₂e; 1 where the pair is no product
  ScoreFunction function{};
  // bf16 as it is: queries and keys are 32-bit pairs of channels, d_k and the strides count those, and scores are multiplied by product_factor after the
  // chain, query_factor being 1.
  bool is_bf16 = false;
  float product_factor = 1;
  int64_t amx_step = 0;  // pairs of channels that one multiplication of matrices takes (amx-inl.h); 0: scores are no such products
  RelativeView relative{};
  // Keys: row-major (channels adjacent) when pages is null.
  const float* keys = nullptr;
  int64_t key_stride = 0;
  const std::byte* const* pages = nullptr;        // [page]: its panels, of all key heads
  const std::byte* const* value_pages = nullptr;  // [page]: its values, of all key heads; null where they are not kept
  DType page_dtype = DType::kF32;
  int64_t page_keys = kKeyTile;  // that a page has room for: what lies between two of its heads
  int64_t key_head = 0;
  const std::vector<ScoreTerm>* terms = nullptr;  // null: none
  int64_t rule_floats = 0;                        // room of all rules, for a key tile
  const Band* band = nullptr;
  int64_t position_offset = 0;  // of query 0 among the keys
  const int32_t* query_segments = nullptr;
  const int32_t* key_segments = nullptr;
  int64_t query_segment_stride = 0, key_segment_stride = 0;
  const SegmentBounds* segment_bounds = nullptr;
  const uint8_t* mask = nullptr;
  int64_t mask_query_stride = 0, mask_key_stride = 0;
  ListView lists{};
  WeightKind kind = WeightKind::kSoftmax;
  bool by_score_function = false;  // kHard: how its gradient is had
  AfterView after{};
  int64_t batch = 0, head = 0;
  const RuleUse* visible = nullptr;  // the visibility rule; null: none
  const RuleBounds* visible_bounds = nullptr;
  const OffsetBits* visible_offsets = nullptr;  // of a rule of offsets, once read_offsets has asked it
  const float* sink = nullptr;                  // this head's sink logit, natural units; null: none

  int64_t query_of(int64_t row) const { return first_query + row; }
  int64_t position_of(int64_t query) const { return query + position_offset; }
  /// Keys that the band lets a query see.
  Range band_of(int64_t query) const { return visible_band(*band, position_of(query), key_length); }
  /// What a kernel has of a channel (or a pair of them) of a query.
  float query_at(const float* at) const { return is_bf16 ? *at : *at * query_factor; }
  /// What the visibility rule shows of positions × keys, neither empty.
  Shown shown(Range positions, Range of_keys) const {
    if (!visible) return Shown::kAll;
    return visible_offsets ? visible_offsets->shown(positions, of_keys) : visible_bounds->shown(batch, head, positions, of_keys);
  }
  /// Panels of 16 keys of a page: [page_keys / 16, d_k, 16]; T holds an element of page_dtype.
  template <class T>
  const T* panels(int64_t page) const {
    return reinterpret_cast<const T*>(pages[page]) + key_head * page_keys * d_k;
  }
};

/// All heads of one call or record.
class ScoreProblem {
 public:
  /// q: [batch, head, row, d_k], row 0 being query `first_query` of `query_length`. Copies row-major keys only if their channels are not adjacent.
  /// q and keys are f32, or both bf16 where products are of those; bf16 is copied if its channels are not adjacent pairs.
  ScoreProblem(const AttentionSpec& spec, const Tensor& q, const Keys& keys, int64_t first_query, int64_t query_length, Products products);
  ScoreProblem(const ScoreProblem&) = delete;
  ScoreProblem& operator=(const ScoreProblem&) = delete;

  int64_t batch() const { return batch_; }
  int64_t heads() const { return heads_; }
  WeightKind kind() const { return common_.kind; }
  bool is_bf16() const { return common_.is_bf16; }
  bool uses_amx() const { return common_.amx_step > 0; }
  int64_t group() const { return heads_ / key_heads_; }  // query heads of one key head
  ScoreView view(int64_t batch, int64_t head) const;
  /// Whether the visibility rule is one of offsets, and each of them pays: decoding asks about few pairs.
  bool hides_by_offset() const;
  /// What ask(view) says of every head's offsets; heads that the rule does not tell apart share it.
  template <class F>
  void set_visible_offsets(F&& ask) {
    std::vector<std::shared_ptr<const OffsetBits>> asked;  // kept once complete: views read them
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
  Tensor offset_keys_, offset_queries_, offset_bias_, offset_values_;  // of a relative pair, contiguous
  std::vector<float> additive_weights_;                                // of an additive pair: [head|1][2][d_k], times log₂e and natural
  std::vector<std::unique_ptr<RuleProgram>> rules_;                    // of the terms that are rules, in order; then that of visibility
  std::vector<int64_t> rule_scratch_;                                  // [rule]
  std::vector<std::vector<float>> rule_scalars_;                       // [rule]: [batch · head][slot][kScalarFloats]
  std::vector<std::vector<ScoreTerm>> terms_;                          // [batch · head]
  std::vector<RuleUse> visible_;                                       // [batch · head]
  std::optional<RuleBounds> visible_bounds_;
  std::vector<std::shared_ptr<const OffsetBits>> visible_offsets_;  // [batch · head]; empty: not asked for
  std::vector<SegmentBounds> segment_bounds_;                       // [batch|1]
  Tensor list_offsets_, list_keys_;                                 // contiguous
  std::vector<Tensor> edge_biases_;                                 // [term with entries], contiguous
};

/// bf16 [batch, head, length, d] so that its rows are 32-bit pairs of channels: itself where channels are adjacent, d, strides and address even; else a copy,
/// zeros where d is odd.
Tensor bf16_words(const Tensor& tensor);

}  // namespace clearhead::cpu
