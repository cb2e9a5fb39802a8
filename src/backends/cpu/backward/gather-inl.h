// Gradients of attention over lists: each query sees the keys of its list, such as the edges of a graph or keys selected
// per query. Cost and memory are proportional to the number of listed (query, key) pairs. Included once per target.
//
//   rows    P = 2^(s − m)/ℓ → x = dO·V → dS = P·(a·x − D), D = dO·O → terms in reverse → dQ += dS·K
//           P·a and dS of every pair are stored
//   keys    over the transposed lists: dV += P·a·dO,  dK += dS·Q over the queries that list a key, ascending
//
// Up to eight heads with the same lists are computed together. Work items are strips of rows, then ranges of keys. All of
// these heads are computed for one row (or key) before the next one, because the rows that all heads have for one token (a
// node of the graph) are often adjacent in memory.
//
// Every sum belongs to one row or one key and is taken in the order of the lists; bits depend on nothing else.
//
// Pairs hidden by the band, segments, the mask, a rule or a bias of −∞ are dropped before their operands are read; they
// keep the mark kUnseen. Scores are those of the forward pass (forward/gather-inl.h).
#if defined(CLEARHEAD_CPU_BACKWARD_GATHER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_BACKWARD_GATHER_INL_H_
#undef CLEARHEAD_CPU_BACKWARD_GATHER_INL_H_
#else
#define CLEARHEAD_CPU_BACKWARD_GATHER_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "backends/cpu/backward/plan-inl.h"
#include "backends/cpu/forward/gather-inl.h"
#include "backends/cpu/score/row_shift.h"
#include "backends/cpu/simd/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

inline constexpr float kUnseen = -1;        // marks a hidden pair, instead of a weight
inline constexpr int64_t kTurnedKeys = 64;  // keys per work item

// The transposed lists: the rows that list each key. Pairs are numbered by row, then by their position in the row's list.
struct TurnedLists {
  ListView of{};
  std::vector<int64_t> first_pair{};  // [row + 1]: number of the row's first pair
  std::vector<int64_t> first{};       // [key + 1]: the key's first element in `row` and `pair`
  std::vector<int32_t> row{};         // ascending within a key
  std::vector<int64_t> pair{};

  bool is_of(const ListView& lists) const { return of.offsets == lists.offsets && of.blocks == lists.blocks; }
  int64_t pairs() const { return first_pair.back(); }

  void turn(const ScoreView& view) {
    of = view.lists;
    first_pair.assign(1, 0);
    first.assign(static_cast<size_t>(view.key_length) + 1, 0);
    for (int64_t i = 0; i < view.rows; ++i) {
      first_pair.push_back(first_pair.back() + (of.end_of(view.query_of(i)) - of.begin_of(view.query_of(i))) * of.key_block);
      for_each_pair(view, i, [&](int64_t key, int64_t) { ++first[static_cast<size_t>(key) + 1]; });
    }
    for (size_t key = 1; key < first.size(); ++key) first[key] += first[key - 1];
    row.resize(static_cast<size_t>(first.back()));
    pair.resize(row.size());
    std::vector<int64_t> next(first.begin(), first.end() - 1);
    for (int64_t i = 0; i < view.rows; ++i) {
      for_each_pair(view, i, [&](int64_t key, int64_t number) {
        const auto at = static_cast<size_t>(next[static_cast<size_t>(key)]++);
        row[at] = static_cast<int32_t>(i);
        pair[at] = number;
      });
    }
  }

 private:
  template <class F>
  void for_each_pair(const ScoreView& view, int64_t i, F&& f) const {
    int64_t number = first_pair[static_cast<size_t>(i)];
    for (int64_t entry = of.begin_of(view.query_of(i)); entry < of.end_of(view.query_of(i)); ++entry) {
      for (int64_t inside = 0; inside < of.key_block; ++inside, ++number) {
        const int64_t key = of.blocks[entry] * of.key_block + inside;
        if (key < view.key_length) f(key, number);
      }
    }
  }
};

// The maximum number of heads that are computed together. Each needs eight bytes of memory per pair.
inline constexpr int64_t kHeadsTogether = 8;

// P·a and dS of all pairs of the heads that are computed together: [pair][head][2].
class PairSums {
 public:
  struct Sum {
    float weight, d_score;
  };
  void resize(int64_t pairs, int64_t heads) {  // leaves them uninitialised
    heads_ = heads;
    if (memory_.defined() && memory_.size(0) >= pairs * heads) return;
    memory_ = Tensor::empty({pairs * heads, 2});
    sums_ = reinterpret_cast<Sum*>(memory_.mutable_raw());
  }
  Sum& at(int64_t pair, int64_t head) { return sums_[pair * heads_ + head]; }
  const Sum& at(int64_t pair, int64_t head) const { return sums_[pair * heads_ + head]; }

 private:
  int64_t heads_ = 0;
  Tensor memory_{};
  Sum* sums_ = nullptr;
};

// The computation of one strip of rows, for the heads that are computed together.
class ListedStrip {
 public:
  ListedStrip(const BackwardPlan& plan, const std::vector<std::unique_ptr<StripTerms>>& jobs, const TurnedLists& turned, PairSums& pairs)
      : plan_(plan), jobs_(jobs), turned_(turned), pairs_(pairs) {
    take_head(0);
    terms_ = view_->terms ? view_->terms->size() : 0;
    int64_t rule_floats = 0;
    for (const auto& rule : plan.rules) rule_floats = std::max(rule_floats, rule ? rule->reverse.group_floats() : 0);
    const int64_t wide_k = round_up(plan.d_k, 16), wide_v = round_up(std::max<int64_t>(1, plan.d_v), 16);
    const int64_t copies = rule_line_floats(*view_, kLine) + kLanes * wide_k, before = static_cast<int64_t>(terms_) * kLine;
    room_.reset({wide_k, wide_k, wide_v, wide_v, kLine, kLine, before, copies, rule_floats});
    q_ = room_.take(wide_k), d_q_ = room_.take(wide_k), d_out_ = room_.take(wide_v), out_ = room_.take(wide_v);
    x_ = room_.take(kLine), d_scores_ = room_.take(kLine), before_ = room_.take(before);
    copies_ = room_.take(copies), rule_ = room_.take(rule_floats);
  }

  void run() {
    const Range of = plan_.rows_of(job_->strip);
    const auto heads = static_cast<int64_t>(jobs_.size());
    const auto job_of = [&](int64_t head) -> const StripTerms& { return *jobs_[static_cast<size_t>(head)]; };
    const TwoOperands rows_of_heads(heads, true, plan_.keys, {plan_.d_k, plan_.d_v}, [&](int64_t head, size_t operand) {
      return operand == 0 ? job_of(head).view.keys : job_of(head).keys.values;
    });
    for (int64_t row = of.begin; row < of.end; ++row) {
      for (size_t head = 0; head < jobs_.size(); ++head) {
        take_head(head);
        if (head == 0 || !rows_of_heads.joint) {
          begin_neighbours(*view_, values_, row + 1, rows_of_heads, next_);
          next_.start(rows_of_heads.joint ? heads : 1, plan_.d_k);
        }
        work(row, job_->sums + terms_, job_->sums + terms_ + 1);
      }
    }
  }

 private:
  static constexpr int64_t kLine = kListed + kLanes;
  // A thread's scratch memory, allocated in multiples of 16 floats.
  struct Room {
    float* next = nullptr;
    std::vector<float> memory{};
    void reset(std::initializer_list<int64_t> pieces) {
      int64_t floats = 16;
      for (const int64_t piece : pieces) floats += round_up(piece, 16);
      memory.resize(static_cast<size_t>(floats));
      next = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64 / sizeof(float);
    }
    float* take(int64_t floats) { return std::exchange(next, next + round_up(floats, 16)); }
  };

  // Selects the head that the functions below work on.
  void take_head(size_t head) {
    head_ = static_cast<int64_t>(head);
    job_ = jobs_[head].get();
    view_ = &job_->view;
    values_.values = job_->keys.values;
    values_.stride = job_->keys.value_stride;
    values_.d_v = plan_.d_v;
  }

  void work(int64_t row, double* sink_sum, double* mask_sum) {
    const int64_t d_k = plan_.d_k;
    next_.fetch_part();
    const RowShift shift = row_shift(plan_.call.record, job_->batch, job_->head, row);
    first_pair_ = turned_.first_pair[static_cast<size_t>(row)];
    for (int64_t pair = first_pair_; pair < turned_.first_pair[static_cast<size_t>(row) + 1]; ++pair)
      pairs_.at(pair, head_).weight = kUnseen;
    std::fill_n(d_q_, round_up(d_k, 16), 0.0F);
    if (!shift.saw_nothing) {
      copy_row(plan_.call.d_out, row, d_out_);
      copy_row(plan_.call.out, row, out_);
      const double mean = dot(d_out_, out_, plan_.d_v) - d_log_sum_exp(row);
      if (view_->sink) *sink_sum -= std::exp2(sink_of(*view_) - static_cast<double>(shift.m)) * static_cast<double>(shift.inverse) * mean;
      ListedRow keys(*view_, row, q_);
      const int64_t begin = keys.entry;
      while (keys.next(listed_)) {
        next_.fetch_part();
        if (score(keys)) weigh(keys, shift, static_cast<float>(mean), begin, mask_sum);
      }
    }
    float* to = plan_.d_q + (job_->index * plan_.rows + row) * d_k;
    for (int64_t c = 0; c < d_k; ++c) to[c] = d_q_[c] * plan_.scale;
  }

  double d_log_sum_exp(int64_t row) const {
    const Tensor& given = plan_.call.d_log_sum_exp;
    if (!given.defined()) return 0;
    return static_cast<double>(given.data<float>()[job_->batch * given.stride(0) + job_->head * given.stride(1) + row * given.stride(2)]);
  }

  void copy_row(const Tensor& from, int64_t row, float* to) const {
    const float* at = from.data<float>() + job_->batch * from.stride(0) + job_->head * from.stride(1) + row * from.stride(2);
    const int64_t width = plan_.d_v, step = from.stride(3);
    if (step == 1) {
      std::copy_n(at, width, to);
    } else {
      for (int64_t c = 0; c < width; ++c) to[c] = at[c * step];
    }
  }

  // The dot product in double, summed in eight chains.
  static double dot(const float* a, const float* b, int64_t width) {
    std::array<double, 8> sums{};
    int64_t c = 0;
    for (; c + 8 <= width; c += 8) {
      for (int i = 0; i < 8; ++i) sums[static_cast<size_t>(i)] += static_cast<double>(a[c + i]) * static_cast<double>(b[c + i]);
    }
    for (; c < width; ++c) sums[0] += static_cast<double>(a[c]) * static_cast<double>(b[c]);
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  }

  float* before_of(size_t term) const { return before_ + static_cast<int64_t>(term) * kLine; }

  // Computes the scores of the forward pass and stores the input scores of soft caps and rules. Returns false if all pairs
  // are hidden.
  bool score(const ListedRow& row) {
    score_listed(
        row, copies_, listed_,
        [&](const ScoreTerm& term, const float* scores) {
          const auto t = static_cast<size_t>(&term - view_->terms->data());
          if (term.kind == ScoreTerm::Kind::kSoftCap || job_->wanted[t].rule)
            std::copy(scores, scores + round_up(listed_.count, kLanes), before_of(t));
        },
        [&](int64_t from, int64_t to) {
          for (size_t t = 0; t < terms_; ++t) before_of(t)[to] = before_of(t)[from];
        });
    if (listed_.count == 0) return false;
    fill_vector(listed_);
    for (size_t t = 0; t < terms_; ++t) std::fill(before_of(t) + listed_.count, before_of(t) + kLine, 0.0F);
    return true;
  }

  void weigh(const ListedRow& row, const RowShift& shift, float mean, int64_t first_entry, double* mask_sum) {
    const F32 d;
    const int64_t count = round_up(listed_.count, kLanes);
    const float* rows[kLine];
    next_.fetch_part();
    for (int64_t i = 0; i < count; ++i) rows[i] = values_.values + listed_.key[i] * values_.stride;
    for (int64_t at = 0; at < count; at += kLanes) score_rows<1, false>(DotStep(), rows + at, KeyLines(), d_out_, plan_.d_v, x_ + at, 0);
    next_.fetch_part();
    const Floats m = hn::Set(d, shift.m), inverse = hn::Set(d, shift.inverse), factor = hn::Set(d, view_->after.factor);
    for (int64_t at = 0; at < count; at += kLanes) {
      const Floats weight = exp2_shifted(hn::Load(d, listed_.score + at), m) * inverse, x = hn::Load(d, x_ + at);
      hn::Store(weight, d, listed_.score + at);
      hn::Store(weight * hn::MulSub(factor, x, hn::Set(d, mean)), d, d_scores_ + at);
    }
    for (int64_t i = 0; i < listed_.count; ++i) *mask_sum += static_cast<double>(listed_.score[i]) * static_cast<double>(x_[i]);
    std::fill(d_scores_ + listed_.count, d_scores_ + count, 0.0F);
    if (view_->terms) reverse_terms(row, count);
    for (int64_t i = 0; i < listed_.count; ++i) {
      const int64_t block = turned_.of.key_block, pair = first_pair_ + (listed_.entry[i] - first_entry) * block + listed_.key[i] % block;
      pairs_.at(pair, head_) = {listed_.score[i] * view_->after.factor, d_scores_[i]};
      rows[i] = view_->keys + listed_.key[i] * view_->key_stride;
    }
    add_weighted_rows(d_scores_, rows, listed_.count, plan_.d_k, d_q_, next_);
  }

  void reverse_terms(const ListedRow& row, int64_t count) {
    const F32 d;
    for (size_t t = terms_; t-- > 0;) {
      const ScoreTerm& term = (*view_->terms)[t];
      const TermGradient& to = job_->wanted[t];
      if (term.kind == ScoreTerm::Kind::kSoftCap) {
        for (int64_t i = 0; i < count; i += kLanes) {
          const Floats slope = tanh_slope(hn::Load(d, before_of(t) + i) * hn::Set(d, term.inverse_cap));
          hn::Store(hn::Load(d, d_scores_ + i) * slope, d, d_scores_ + i);
        }
      } else if (to.rule) {
        reverse_rule_along_keys(row, t, count);
      } else if (to.slope) {
        const auto position = static_cast<double>(view_->position_of(row.query));
        for (int64_t i = 0; i < listed_.count; ++i) {
          *to.slope -= std::abs(position - static_cast<double>(listed_.key[i])) * static_cast<double>(d_scores_[i]);
        }
      } else if (to.bias) {
        for (int64_t i = 0; i < listed_.count; ++i) to.bias[listed_.entry[i]] += d_scores_[i];
      }
    }
  }

  void reverse_rule_along_keys(const ListedRow& row, size_t term, int64_t count) {
    const F32 d;
    alignas(64) float position[kLanes];
    std::fill(position, position + kLanes, static_cast<float>(view_->position_of(row.query)));
    RuleGroup group(*job_->wanted[term].rule, rule_, count / kLanes, 1);
    for (int64_t i = 0; i < count; i += kLanes) {
      hn::StoreU(hn::Load(d, before_of(term) + i) * hn::Set(d, kLn2), d, group.scores + i);
      hn::StoreU(hn::ConvertTo(d, hn::Load(I32(), listed_.key + i)), d, x_ + i);
    }
    group.bank(RuleBank::kLane) = {position, 0, 0, 0};
    group.bank(RuleBank::kKey) = {x_, 0, kLanes, 0};
    group.reverse((*view_->terms)[term], job_->wanted[term], [&](int64_t r, int64_t) { return d_scores_ + r * kLanes; });
  }

  const BackwardPlan& plan_;
  const std::vector<std::unique_ptr<StripTerms>>& jobs_;
  const TurnedLists& turned_;
  PairSums& pairs_;
  size_t terms_ = 0;
  // State of the selected head.
  int64_t head_ = 0;
  StripTerms* job_ = nullptr;
  const ScoreView* view_ = nullptr;
  ValueView values_{};
  Room room_{};
  ListedKeys listed_;
  NextRows next_;
  int64_t first_pair_ = 0;
  float *q_ = nullptr, *d_q_ = nullptr, *d_out_ = nullptr, *out_ = nullptr;
  float *x_ = nullptr, *d_scores_ = nullptr, *before_ = nullptr, *copies_ = nullptr, *rule_ = nullptr;
};

// The rows of q or dO of one head, with adjacent channels, and the gradient of keys or values that they contribute to.
struct TurnedRows {
  const float* rows = nullptr;
  int64_t stride = 0, width = 0;
  float* sums = nullptr;  // [key][width]
  float factor = 1;
  float PairSums::Sum::*weight = nullptr;
};

// sums[key] += factor·Σ weights·rows over the rows that list `key`.
inline void add_turned(const TurnedLists& turned, const PairSums& pairs, int64_t head, int64_t key, const TurnedRows& of, float* room,
                       NextRows& next) {
  float weight[kListed];
  const float* from[kListed];
  std::fill_n(room, round_up(of.width, 16), 0.0F);
  next.fetch_part();
  int64_t count = 0;
  for (int64_t at = turned.first[static_cast<size_t>(key)]; at < turned.first[static_cast<size_t>(key) + 1]; ++at) {
    const PairSums::Sum& sum = pairs.at(turned.pair[static_cast<size_t>(at)], head);
    if (sum.weight == kUnseen) continue;
    weight[count] = sum.*of.weight;
    from[count] = of.rows + turned.row[static_cast<size_t>(at)] * of.stride;
    if (++count < kListed) continue;
    add_weighted_rows(weight, from, count, of.width, room, next);
    count = 0;
  }
  next.fetch_part();
  add_weighted_rows(weight, from, count, of.width, room, next);
  float* to = of.sums + key * of.width;
  for (int64_t c = 0; c < of.width; ++c) to[c] += of.factor * room[c];
}

// Computes dV and dK of one item's keys, for the heads that are computed together. Prefetches the operands of the next key.
inline void add_turned_keys(const TurnedLists& turned, const PairSums& pairs, const std::vector<std::array<TurnedRows, 2>>& heads,
                            Range keys, float* room) {
  const auto count = static_cast<int64_t>(heads.size()), rows = static_cast<int64_t>(turned.first_pair.size()) - 1;
  const TwoOperands of(count, true, rows, {heads[0][0].width, heads[0][1].width},
                       [&](int64_t head, size_t operand) { return heads[static_cast<size_t>(head)][operand].rows; });
  NextRows next;
  for (int64_t key = keys.begin; key < keys.end; ++key) {
    for (size_t head = 0; head < heads.size(); ++head) {
      if (head == 0 || !of.joint) {
        const auto after = static_cast<size_t>(of.far ? std::min(key + 1, keys.end - 1) : key);
        const int64_t begin = turned.first[after], end = turned.first[after + 1];
        next.begin(turned.row.data() + begin, after > static_cast<size_t>(key) ? end - begin : 0);
        for (size_t i = 0; i < 2; ++i) next.add(heads[head][i].rows, heads[head][i].stride, of.widths[i]);
        next.start(of.joint ? count : 1, heads[head][0].width);
        if (head == 0) {
          for (int64_t at = begin; at < std::min(end, begin + kNextKeys); ++at)
            hwy::Prefetch(&pairs.at(turned.pair[static_cast<size_t>(at)], 0));
        }
      }
      for (const TurnedRows& rows_of_head : heads[head])
        add_turned(turned, pairs, static_cast<int64_t>(head), key, rows_of_head, room, next);
    }
  }
}

// --- the call -------------------------------------------------------------------------------------------------------

// Returns true if strips must run one after another because two of them may add to the same element of the gradient of
// a rule's table or of an EdgeBias.
inline bool strips_share_entries(const BackwardPlan& plan) {
  const int64_t query_block = plan.call.record.spec.topology.block_sparse->query_block;
  for (size_t t = 0; t < plan.d_terms.size(); ++t) {
    if (plan.d_terms[t] && plan.d_terms[t]->rank() == 3 && plan.strip_rows % query_block != 0) return true;
  }
  return plan.entries > 0;
}

inline void backward_gather(BackwardPlan& plan) {
  const Tensor d_out = plan.d_v <= 1 || plan.call.d_out.stride(3) == 1 ? plan.call.d_out : plan.call.d_out.contiguous();
  const Tensor& given = plan.call.record.q;
  const Tensor q = plan.d_k <= 1 || given.stride(3) == 1 ? given : given.contiguous();
  const bool serial = strips_share_entries(plan);
  TurnedLists turned;
  PairSums pairs;
  const int64_t maps = plan.problem.batch() * plan.heads();
  for (int64_t first = 0, end = 0; first < maps; first = end) {
    const int64_t batch = first / plan.heads();
    const auto view_of = [&](int64_t index) { return plan.problem.view(index / plan.heads(), index % plan.heads()); };
    const ScoreView view = view_of(first);
    const int64_t most = std::min((batch + 1) * plan.heads(), first + (serial ? 1 : kHeadsTogether));
    for (end = first + 1; end < most && lists_alike(view, view_of(end));) ++end;
    if (!turned.is_of(view.lists)) turned.turn(view);
    pairs.resize(turned.pairs(), end - first);
    const auto run_strip = [&](int64_t strip) {
      std::vector<std::unique_ptr<StripTerms>> jobs;
      for (int64_t index = first; index < end; ++index) jobs.push_back(std::make_unique<StripTerms>(plan, index, strip));
      ListedStrip(plan, jobs, turned, pairs).run();
      for (const auto& job : jobs) job->finish_rules();
    };
    for_items(serial ? 1 : plan.strips, [&](int64_t item, int) {
      for (int64_t strip = item; strip < (serial ? plan.strips : item + 1); ++strip) run_strip(strip);
    });
    std::vector<std::array<TurnedRows, 2>> heads;
    for (int64_t index = first; index < end; ++index) {
      const int64_t head = index % plan.heads(),
                    first_key = (batch * (plan.heads() / plan.problem.group()) + view_of(index).key_head) * plan.keys;
      const auto from = [&](const Tensor& t) { return t.data<float>() + batch * t.stride(0) + head * t.stride(1); };
      heads.push_back(
          {TurnedRows{from(d_out), d_out.stride(2), plan.d_v, plan.d_v_data + first_key * plan.d_v, 1, &PairSums::Sum::weight},
           TurnedRows{from(q), q.stride(2), plan.d_k, plan.d_k_data + first_key * plan.d_k, plan.scale, &PairSums::Sum::d_score}});
    }
    for_items((plan.keys + kTurnedKeys - 1) / kTurnedKeys, [&](int64_t item, int) {
      const Range keys{item * kTurnedKeys, std::min(plan.keys, (item + 1) * kTurnedKeys)};
      add_turned_keys(turned, pairs, heads, keys, ThreadScratch::floats(round_up(std::max(plan.d_k, plan.d_v), 16)));
    });
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
