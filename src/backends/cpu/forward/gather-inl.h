// Attention over lists: each query sees the keys of its list, such as the edges of a graph or keys selected per query. The
// cost is proportional to the number of listed (query, key) pairs. Included once per target.
//
//   the row's visible keys, 256 at a time → scores (keys in lanes) → terms → maximum → 2^(s − m)
//     → values (channels in lanes) → m, ℓ, O
//
// A key that the band, segments, the mask or the visibility rule hides is dropped before its vectors are read; a key that
// a term hides (a bias of −∞), before its value is read. A score is the chain
// of score_kernel-inl.h, so the same (query, key) pair has the same bits in any other driver. Sums are taken in the order
// of the list and depend on nothing else.
//
// All heads of a row are computed before the next row, so that heads that share keys find them in cache. If the heads'
// rows of a key are adjacent in memory (as they are after a layer over nodes), they are prefetched together. The rows
// that the next query needs are prefetched while the current one is computed (NextRows).
#if defined(CLEARHEAD_CPU_FORWARD_GATHER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_FORWARD_GATHER_INL_H_
#undef CLEARHEAD_CPU_FORWARD_GATHER_INL_H_
#else
#define CLEARHEAD_CPU_FORWARD_GATHER_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cmath>

#include "backends/cpu/forward/decode-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

inline constexpr int64_t kListed = 256;     // keys that are scored before their values are read
inline constexpr int64_t kListedRows = 32;  // rows of a work item
inline constexpr int64_t kNextKeys = 64;    // keys of the next row that are prefetched
// Above this many bytes of keys and values (or of other operands that are read in the same way), they are assumed not to
// be in any cache.
inline constexpr int64_t kFar = 24 << 20;

// Up to kListed visible keys of one row. Elements past `count` are set only up to the end of the last vector.
struct ListedKeys {
  int64_t count = 0;
  alignas(64) int32_t key[kListed + kLanes];
  alignas(64) int32_t entry[kListed + kLanes];
  alignas(64) float score[kListed + kLanes];  // after all terms, base 2; later 2^(s − m)
};

// One row of one head, and the current position in its list.
struct ListedRow {
  const ScoreView* view = nullptr;
  int64_t query = 0;
  Range band{};
  int32_t segment = 0;
  const float* q = nullptr;  // [d_k], times ScoreView::query_factor
  int64_t entry = 0, end = 0;
  int64_t inside = 0;  // number of keys of the entry's block that have been read

  ListedRow(const ScoreView& of, int64_t row, float* to) : view(&of), query(of.query_of(row)), band(of.band_of(of.query_of(row))), q(to) {
    segment = of.query_segments ? std::max(-1, of.query_segments[query * of.query_segment_stride]) : 0;
    entry = of.lists.begin_of(query);
    end = of.lists.end_of(query);
    const float* from = of.queries + row * of.query_stride;
    for (int64_t c = 0; c < of.d_k; ++c) to[c] = of.query_at(from + c * of.query_channel);
  }

  bool sees(int64_t key) const {
    if (key < band.begin || key >= band.end) return false;
    if (view->key_segments && (segment < 0 || view->key_segments[key * view->key_segment_stride] != segment)) return false;
    return !view->mask || view->mask[query * view->mask_query_stride + key * view->mask_key_stride] != 0;
  }

  // Reads the next keys of the list that band, segments and mask show. Returns false if there are none.
  bool next(ListedKeys& to) {
    const int64_t block = view->lists.key_block;
    to.count = 0;
    while (entry < end && to.count < kListed) {
      const int64_t key = view->lists.blocks[entry] * block + inside;
      if (key < view->key_length && sees(key)) {
        to.key[to.count] = static_cast<int32_t>(key);
        to.entry[to.count++] = static_cast<int32_t>(entry);
      }
      if (++inside == block) ++entry, inside = 0;
    }
    return to.count > 0;
  }
};

// Listed keys and their biases, for terms_along_keys.
struct AlongListedKeys {
  const ListedKeys& listed;
  HWY_INLINE Ints keys(int64_t i) const { return hn::Load(I32(), listed.key + i); }
  HWY_INLINE void copy_bias(const ScoreTerm& term, int64_t query, int64_t at, float* to) const {
    for (int64_t i = at; i < at + kLanes; ++i) {
      *to++ = term.bias[term.per_edge ? listed.entry[i] : query * term.query_stride + listed.key[i] * term.key_stride];
    }
  }
};

// Sets `rows` to the row-major keys of kLanes lanes. Keys in pages are copied from their panels to `copies` [kLanes][d_k].
inline void point_at_keys(const ScoreView& view, const int32_t* key, float* copies, const float** rows) {
  for (int64_t i = 0; i < kLanes; ++i) {
    if (!view.pages) {
      rows[i] = view.keys + key[i] * view.key_stride;
      continue;
    }
    float* to = copies + i * view.d_k;
    with_element(view.page_dtype, [&](auto element) {
      const auto* from = view.panels<decltype(element)>(key[i] / kKeyTile) +
                         key[i] % kKeyTile / KVPage::kPanel * KVPage::kPanel * view.d_k + key[i] % KVPage::kPanel;
      for (int64_t c = 0; c < view.d_k; ++c) to[c] = widened(from[c * KVPage::kPanel]);
    });
    rows[i] = to;
  }
}

// Pads the last vector with copies of the last key.
inline void fill_vector(ListedKeys& listed) {
  for (int64_t i = listed.count; i < round_up(listed.count, kLanes); ++i) {
    listed.key[i] = listed.key[listed.count - 1];
    listed.entry[i] = listed.entry[listed.count - 1];
  }
}

// Drops keys that the visibility rule hides.
inline HWY_NOINLINE void keep_ruled(const ListedRow& row, float* room, ListedKeys& listed) {
  const F32 d;
  const RuleUse& use = *row.view->visible;
  const int64_t count = round_up(listed.count, kLanes);
  float* keys = rule_keys(use, room);
  for (int64_t i = 0; i < count; i += kLanes) hn::StoreU(hn::ConvertTo(d, hn::Load(I32(), listed.key + i)), d, keys + i);
  std::fill_n(listed.score, count, 0.0F);
  hide_along_keys(use, static_cast<float>(row.view->position_of(row.query)), count, listed.score, room);
  int64_t kept = 0;
  for (int64_t i = 0; i < listed.count; ++i) {
    if (listed.score[i] == kHidden) continue;
    listed.key[kept] = listed.key[i], listed.entry[kept++] = listed.entry[i];
  }
  listed.count = kept;
  fill_vector(listed);
}

// Computes the scores of the listed keys and drops keys that the visibility rule or a term hides. `copies`: [kLanes][d_k],
// then scratch for a rule. before(term, scores) receives the input scores of each term; moved(from, to) reports the new
// index of each key that is kept.
template <class Before, class Moved>
HWY_NOINLINE void score_listed(const ListedRow& row, float* copies, ListedKeys& listed, Before&& before, Moved&& moved) {
  const F32 d;
  const ScoreView& view = *row.view;
  float* rule_room = copies + kLanes * round_up(view.d_k, 16);
  fill_vector(listed);
  if (view.visible) keep_ruled(row, rule_room, listed);
  for (int64_t at = 0; at < listed.count; at += kLanes) {
    const float* rows[kLanes];
    point_at_keys(view, listed.key + at, copies, rows);
    if (kHasBf16Dot && view.is_bf16) {
      score_rows<1, false>(Bf16DotStep(), rows, KeyLines(), row.q, view.d_k, listed.score + at, 0);
      hn::Store(hn::Load(d, listed.score + at) * hn::Set(d, view.product_factor), d, listed.score + at);
      continue;
    }
    with_step(view.function, [&](auto step) CLEARHEAD_INLINE_LAMBDA {
      score_rows<1, false>(step, rows, KeyLines(), row.q, view.d_k, listed.score + at, 0);
    });
  }
  if (view.terms) {
    const int64_t count = round_up(listed.count, kLanes);
    terms_along_keys(view, row.query, AlongListedKeys{listed}, count, listed.score, rule_room, before);
    for (int64_t at = 0; at < count; at += kLanes) hn::Store(term_floor(hn::Load(d, listed.score + at)), d, listed.score + at);
  }
  int64_t kept = 0;
  for (int64_t i = 0; i < listed.count; ++i) {
    if (listed.score[i] < kVisible) continue;  // keeps NaN
    moved(i, kept);
    listed.key[kept] = listed.key[i], listed.entry[kept] = listed.entry[i], listed.score[kept++] = listed.score[i];
  }
  listed.count = kept;
  for (int64_t i = kept; i < round_up(kept, kLanes); ++i) listed.score[i] = kHidden;
}

inline void score_listed(const ListedRow& row, float* copies, ListedKeys& listed) {
  score_listed(row, copies, listed, Unwatched{}, Unwatched{});
}

// Prefetches the keys and values that the next query's list names, a few with each part of the current query's work. They
// are scattered in memory, so prefetches must be issued early and evenly: in a burst they would wait for one another. (The
// prefetch must not be a separate function: the compiler removes calls of a function that does nothing else.)
class NextRows {
 public:
  // The work of a head before the values is divided into kParts parts, and so is the addition of every kAtOnce channels of
  // the values.
  static constexpr int64_t kParts = 4;
  static constexpr int64_t kAtOnce = 8 * kLanes;

  // Begins prefetching rows `named` [count] of the operands passed to add(). At most kNextKeys rows are prefetched.
  void begin(const int32_t* named, int64_t count) {
    named_ = named;
    count_ = std::min(count, kNextKeys);
    operands_ = pieces_ = 0;
  }
  void add(const float* rows, int64_t stride, int64_t floats) {
    const int64_t lines = count_ > 0 ? (floats + 15) / 16 : 0;
    if (lines == 0) return;
    operand_[operands_++] = {reinterpret_cast<const std::byte*>(rows), stride * static_cast<int64_t>(sizeof(float)), lines};
    pieces_ += count_ * ((lines + kPieceLines - 1) / kPieceLines);
  }
  // Distributes the prefetches over the work of `heads` heads of the current query, each of which sums `width` channels.
  void start(int64_t heads, int64_t width) {
    pace_ = (pieces_ << kFraction) / (heads * kParts * (1 + (width + kAtOnce - 1) / kAtOnce)) + 1;
    due_ = done_ = at_ = row_ = line_ = 0;
  }
  HWY_INLINE void fetch_part() {
    due_ += pace_;
    for (const int64_t end = std::min(pieces_, due_ >> kFraction); done_ < end; ++done_) {
      const auto [rows, stride, lines] = operand_[at_];
      const std::byte* from = rows + named_[row_] * stride + line_ * 64;
      if (HWY_LIKELY(line_ + kPieceLines <= lines)) {
        unroll<kPieceLines>([&](auto i) CLEARHEAD_INLINE_LAMBDA { hwy::Prefetch(from + i * 64); });
      } else {
        for (int64_t line = line_; line < lines; ++line, from += 64) hwy::Prefetch(from);
      }
      line_ += kPieceLines;
      if (line_ < lines) continue;
      line_ = 0;
      if (++row_ == count_) row_ = 0, ++at_;
    }
  }

 private:
  static constexpr int64_t kPieceLines = 4;
  static constexpr int kFraction = 16;
  struct Operand {
    const std::byte* rows;
    int64_t stride, lines;  // stride in bytes; cache lines of a row
  };
  Operand operand_[2];
  const int32_t* named_ = nullptr;
  int64_t count_ = 0, operands_ = 0, pieces_ = 0;
  int64_t done_ = 0, at_ = 0, row_ = 0, line_ = 0;  // pieces done, and the position of the next one
  int64_t pace_ = 0, due_ = 0;                      // fixed point: pieces per part of the work; pieces due by now
};

// o[V vectors] += Σ weights·values over the listed keys.
template <int V, bool kPartial>
HWY_INLINE void add_listed(const float* weights, const float* const* values, int64_t keys, int64_t c, Lanes lanes, float* o,
                           NextRows& next) {
  const F32 d;
  Floats sum[V];
  unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { sum[v] = hn::Load(d, o + c + v * kLanes); });
  const int64_t part = (keys + NextRows::kParts - 1) / NextRows::kParts;
  for (int64_t begin = 0; begin < keys; begin += part) {
    next.fetch_part();
    for (int64_t j = begin; j < std::min(keys, begin + part); ++j) {
      const Floats weight = hn::Set(d, weights[j]);
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
        const float* from = values[j] + c + v * kLanes;
        sum[v] = hn::MulAdd(kPartial ? hn::MaskedLoad(lanes, d, from) : hn::LoadU(d, from), weight, sum[v]);
      });
    }
  }
  unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { hn::Store(sum[v], d, o + c + v * kLanes); });
}

// o[width] += Σ weights·rows over `count` rows.
inline HWY_NOINLINE void add_weighted_rows(const float* weights, const float* const* rows, int64_t count, int64_t width, float* o,
                                           NextRows& next) {
  const F32 d;
  const Lanes all = hn::FirstN(d, kLanes);
  int64_t c = 0;
  for (; c + NextRows::kAtOnce <= width; c += NextRows::kAtOnce) add_listed<8, false>(weights, rows, count, c, all, o, next);
  for (; c + 4 * kLanes <= width; c += 4 * kLanes) add_listed<4, false>(weights, rows, count, c, all, o, next);
  for (; c + kLanes <= width; c += kLanes) add_listed<1, false>(weights, rows, count, c, all, o, next);
  if (c < width) add_listed<1, true>(weights, rows, count, c, hn::FirstN(d, static_cast<size_t>(width - c)), o, next);
}

inline HWY_NOINLINE void add_listed_values(const ListedKeys& listed, const ValueView& values, float* o, NextRows& next) {
  const float* rows[kListed];
  float* room = values.is_narrow() ? ThreadScratch::widened_values(kListed * values.d_v) : nullptr;
  for (int64_t i = 0; i < listed.count; ++i) {
    rows[i] = room ? room + i * values.d_v : values.rows(listed.key[i], 1);
    if (room) values.widen_rows(listed.key[i], 1, room + i * values.d_v);
  }
  add_weighted_rows(listed.score, rows, listed.count, values.d_v, o, next);
}

// Number of floats that the heads' rows of one key span together; 0 if they are not adjacent.
template <class RowsOf>
int64_t joint_width(int64_t heads, int64_t width, RowsOf&& rows_of) {
  int64_t joint = width;
  for (int64_t head = 1; head < heads; ++head) {
    const int64_t offset = rows_of(head) - rows_of(0);
    if (offset < 0 || offset > joint) return 0;
    joint = std::max(joint, offset + width);
  }
  return joint;
}

// Prefetches the heads' rows of two operands: separately for each head or, if all heads have the same lists and
// their rows are adjacent, together.
struct TwoOperands {
  // True if the operands are larger than the caches, so that prefetching saves more than its instructions cost.
  bool far = false;
  bool joint = false;  // the heads' rows are adjacent
  std::array<int64_t, 2> widths{};

  template <class RowsOf>  // rows_of(head, operand)
  TwoOperands(int64_t heads, bool is_alike, int64_t rows, std::array<int64_t, 2> of_head, RowsOf&& rows_of)
      : far(heads * rows * (of_head[0] + of_head[1]) * static_cast<int64_t>(sizeof(float)) > kFar) {
    for (size_t i = 0; i < 2; ++i) widths[i] = joint_width(heads, of_head[i], [&](int64_t head) { return rows_of(head, i); });
    joint = is_alike && widths[0] > 0 && widths[1] > 0;
    if (!joint) widths = of_head;
  }
};

// Begins prefetching the keys and values that the list of `row` names, unless `row` is past the last row.
inline void begin_neighbours(const ScoreView& view, const ValueView& values, int64_t row, const TwoOperands& of, NextRows& next) {
  next.begin(nullptr, 0);
  if (!of.far || row >= view.rows || view.lists.key_block != 1 || view.pages) return;
  const int64_t query = view.query_of(row), begin = view.lists.begin_of(query);
  next.begin(view.lists.blocks + begin, view.lists.end_of(query) - begin);
  next.add(view.keys, view.key_stride, of.widths[0]);
  next.add(values.values, values.stride, of.widths[1]);
}

// Returns true if a query has the same listed keys in two heads.
inline bool lists_alike(const ScoreView& one, const ScoreView& other) {
  return one.lists.offsets == other.lists.offsets && one.lists.blocks == other.lists.blocks && one.mask == other.mask;
}

// A thread's scratch memory.
struct ListedMemory {
  float *q, *copies, *o;
  ListedKeys listed;
  ListedKeys found;        // the keys of a short list, for other heads with the same list
  int64_t found_row = -1;  // the row of `found`; −1 if there is none
  ListedMemory(const ScoreView& view, int64_t d_v) {
    const int64_t q_floats = round_up(view.d_k, 16), copy_floats = kLanes * q_floats + rule_line_floats(view, kListed + kLanes);
    q = ThreadScratch::floats(q_floats + copy_floats + round_up(std::max<int64_t>(1, d_v), 16));
    copies = q + q_floats;
    o = copies + copy_floats;
  }
};

// Calls keys.next(memory.listed). Heads with the same list reuse the keys that the first of them found.
inline bool next_of_row(ListedRow& keys, int64_t row, bool is_alike, ListedMemory& memory) {
  const auto copy = [](const ListedKeys& from, ListedKeys& to) {
    to.count = from.count;
    std::copy_n(from.key, from.count, to.key);
    std::copy_n(from.entry, from.count, to.entry);
  };
  if (is_alike && memory.found_row == row) {
    if (keys.entry == keys.end) return false;
    keys.entry = keys.end;
    copy(memory.found, memory.listed);
    return memory.listed.count > 0;
  }
  const bool is_first = keys.entry == keys.view->lists.begin_of(keys.query);
  const bool found = keys.next(memory.listed);
  if (is_first && is_alike && keys.entry == keys.end) {
    copy(memory.listed, memory.found);
    memory.found_row = row;
  }
  return found;
}

inline void forward_listed_row(const ForwardPlan& plan, const ScoreView& view, const ValueView& values, int64_t at, bool is_alike,
                               float* out, ListedMemory& memory, NextRows& next) {
  const int64_t row = at % plan.rows;
  std::fill(memory.o, memory.o + round_up(std::max<int64_t>(1, plan.d_v), 16), 0.0F);
  next.fetch_part();
  ListedRow keys(view, row, memory.q);
  float m = kNone, l = 0;
  while (next_of_row(keys, row, is_alike, memory)) {
    next.fetch_part();
    score_listed(keys, memory.copies, memory.listed);
    next.fetch_part();
    if (memory.listed.count == 0) continue;
    softmax_along_keys(memory.listed.score, round_up(memory.listed.count, kLanes), m, l, memory.o, round_up(plan.d_v, kLanes));
    next.fetch_part();
    add_listed_values(memory.listed, values, memory.o, next);
  }
  const bool is_empty = l == 0;
  float factor = 1;
  if (!is_empty && view.sink) {
    const float top = static_cast<float>(std::ceil(sink_of(view)));
    if (top > m + kHard) factor = exp2_scalar(m, top), l *= factor, m = top;
    l += sink_share(sink_of(view), m);
  }
  const int64_t step = plan.out_channel();
  const float inverse = is_empty ? 0 : view.after.factor * factor / l;
  if (step == 1) {
    for (int64_t c = 0; c < plan.d_v; ++c) out[c] = memory.o[c] * inverse;
  } else {
    for (int64_t c = 0; c < plan.d_v; ++c) out[c * step] = memory.o[c] * inverse;
  }
  plan.m[at] = is_empty ? -std::numeric_limits<float>::infinity() : m;
  plan.l[at] = is_empty ? 0 : l;
}

inline void forward_gather(const ForwardPlan& plan) {
  const int64_t per_batch = (plan.rows + kListedRows - 1) / kListedRows;
  for_items(plan.problem.batch() * per_batch, [&](int64_t item, int) {
    const int64_t batch = item / per_batch, begin = item % per_batch * kListedRows, end = std::min(plan.rows, begin + kListedRows);
    std::vector<ScoreView> views;
    std::vector<ValueView> values;
    std::vector<float*> outs;
    bool is_alike = true;
    for (int64_t head = 0; head < plan.problem.heads(); ++head) {
      views.push_back(plan.problem.view(batch, head));
      values.push_back(plan.value_view(batch, views.back()));
      outs.push_back(plan.out_row(batch, head, 0));
      is_alike = is_alike && lists_alike(views[0], views.back());
    }
    ListedMemory memory(views[0], plan.d_v);
    const auto heads = static_cast<int64_t>(views.size());
    const TwoOperands rows_of_heads(heads, is_alike, views[0].key_length, {views[0].d_k, plan.d_v}, [&](int64_t head, size_t operand) {
      return operand == 0 ? views[static_cast<size_t>(head)].keys : values[static_cast<size_t>(head)].values;
    });
    NextRows next;
    const int64_t out_stride = plan.wide.stride(2);
    for (int64_t row = begin; row < end; ++row) {
      for (size_t head = 0; head < views.size(); ++head) {
        const auto of = static_cast<int64_t>(head);
        if (head == 0 || !rows_of_heads.joint) {
          begin_neighbours(views[head], values[head], row + 1, rows_of_heads, next);
          next.start(rows_of_heads.joint ? heads : 1, plan.d_v);
        }
        forward_listed_row(plan, views[head], values[head], plan.stats_row(batch, of, row), is_alike, outs[head] + row * out_stride, memory,
                           next);
      }
    }
  });
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
