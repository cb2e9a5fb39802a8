// Each step of the ring attends to one block of keys and values while the next block arrives, and merges (out, rows). The band is
// shifted by the distance between the block of queries and the block of keys.
#include "train/ring_attention.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "backends/registry.h"
#include "base/format.h"
#include "base/parallel.h"
#include "clearhead/error.h"
#include "ops/ops.h"

namespace clearhead {
namespace {

void add(const Tensor& values, Tensor to) { ops::add_strided(values, to, true); }

// Several tensors in one contiguous buffer, sent as one message.
class Parcel {
 public:
  explicit Parcel(const std::vector<Shape>& shapes) {
    int64_t total = 0;
    for (const Shape& shape : shapes) total += elements(shape);
    whole_ = Tensor::zeros({total});
    for (int64_t begin = 0; const Shape& shape : shapes) {
      parts_.push_back(whole_.slice(0, begin, begin + elements(shape)).reshape(shape));
      begin += elements(shape);
    }
  }
  const Tensor& whole() const { return whole_; }
  const Tensor& operator[](size_t at) const { return parts_[at]; }

 private:
  static int64_t elements(const Shape& shape) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    return count;
  }
  Tensor whole_;
  std::vector<Tensor> parts_;
};

void check(Comm& comm, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  const auto* softmax = std::get_if<Softmax>(&spec.normaliser);
  const Topology& topology = spec.topology;
  const bool known =
      softmax && !softmax->sinks && std::holds_alternative<Dot>(spec.score) &&
      std::all_of(spec.terms.begin(), spec.terms.end(), [](const Term& term) { return std::holds_alternative<SoftCap>(term); }) &&
      topology.band.offset == 0 && !topology.segments && !topology.mask && !topology.lists && !topology.visible && !spec.after.dropout &&
      !spec.after.head_mask && !spec.after.gaussian;
  if (!known)
    fail(ErrorCode::kUnsupported, "ring_attend: expected a softmax over dot products, with soft-caps and a band without an offset at most");
  if (q.dtype() != DType::kF32) fail(ErrorCode::kUnsupported, "ring_attend: q is {}; expected f32", to_string(q.dtype()));
  std::vector<double> sizes;
  for (const Tensor* t : {&q, &k, &v}) {
    if (t->rank() != 4) fail(ErrorCode::kShape, "ring_attend: expected [batch, head, length, d], found {}", to_string(t->shape()));
    for (int axis = 0; axis < 4; ++axis) sizes.push_back(static_cast<double>(t->size(axis)));
  }
  if (q.size(2) != k.size(2))
    fail(ErrorCode::kShape, "ring_attend: a stretch has {} queries and {} keys; expected as many", q.size(2), k.size(2));
  const std::vector<std::vector<double>> everywhere = comm.gather(sizes);
  for (size_t rank = 0; rank < everywhere.size(); ++rank) {
    if (everywhere[rank] != sizes)
      fail(ErrorCode::kShape, "ring_attend: process {} holds tensors of other shapes than process {}", rank, comm.rank());
  }
}

// The visible rectangle between this process's queries and one block of keys: `count` queries from `query` on and `count` keys from
// `key` on, with the description for this rectangle.
struct Sight {
  AttentionSpec spec;
  int64_t query = 0, key = 0, count = 0;
  Tensor queries(const Tensor& t) const { return t.slice(2, query, query + count); }
  Tensor keys(const Tensor& t) const { return t.slice(2, key, key + count); }
  RowStats rows(const RowStats& of) const { return {queries(of.m).clone(), queries(of.l).clone()}; }
};

// The rectangle for queries that are `ahead` positions after the keys of the same index. Both limits of the band are shifted by
// `ahead`. A limit that becomes negative is set to 0, and the queries or keys that it hides completely are left out. Returns
// std::nullopt if no query sees any key.
std::optional<Sight> seen_from(const AttentionSpec& spec, int64_t ahead, int64_t length) {
  Sight out{.spec = spec, .count = length};
  Band& band = out.spec.topology.band;
  band.align = Align::kStart;
  if (band.back) *band.back -= ahead;
  if (band.ahead) *band.ahead += ahead;
  const auto leave_out = [&](std::optional<int64_t>& passed, std::optional<int64_t>& other, int64_t& begin) {
    if (!passed || *passed >= 0) return;
    begin = -*passed;
    out.count = length - begin;
    if (other) *other -= begin;
    passed = 0;
  };
  leave_out(band.back, band.ahead, out.key);
  leave_out(band.ahead, band.back, out.query);
  if (out.count <= 0) return std::nullopt;
  return out;
}

// Merges the (out, rows) of one set of keys into that of another.
void merge(const Attended& more, const Sight& seen, RingAttended& all) {
  const int64_t width = all.out.size(3), length = all.out.size(2);
  const float *m = more.record.rows.m.data<float>(), *l = more.record.rows.l.data<float>(), *out = more.out.data<float>();
  float *all_m = all.rows.m.mutable_data<float>(), *all_l = all.rows.l.mutable_data<float>(), *all_out = all.out.mutable_data<float>();
  parallel_ranges(more.record.rows.m.numel(), 256, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      if (l[row] == 0) continue;
      const int64_t at = row / seen.count * length + seen.query + row % seen.count;
      const float shift = std::max(m[row], all_m[at]);
      const float theirs = l[row] * std::exp2(m[row] - shift), ours = all_l[at] == 0 ? 0 : all_l[at] * std::exp2(all_m[at] - shift);
      const float sum = theirs + ours;
      for (int64_t c = 0; c < width; ++c) {
        float& to = all_out[at * width + c];
        to = (to * ours + out[row * width + c] * theirs) / sum;
      }
      all_m[at] = shift;
      all_l[at] = sum;
    }
  });
}

// Sends keys and values once around the ring. At each step it calls visit(the visible rectangle, its keys, its values) while the next
// block is transferred, then turned() after the transfer.
void go_round(
    Comm& comm, const Tensor& k, const Tensor& v, const AttentionSpec& spec,
    const std::function<void(const Sight& seen, const Tensor& keys, const Tensor& values)>& visit,
    const std::function<void()>& turned = [] {}) {
  const int64_t length = k.size(2);
  Parcel here({k.shape(), v.shape()}), next({k.shape(), v.shape()});
  add(k, here[0]);
  add(v, here[1]);
  for (int turn = 0; turn < comm.size(); ++turn) {
    const bool goes_on = turn + 1 < comm.size();
    if (goes_on) comm.shift(here.whole(), next.whole());
    const int owner = (comm.rank() - turn + comm.size()) % comm.size();
    if (const auto seen = seen_from(spec, (comm.rank() - owner) * length, length)) visit(*seen, seen->keys(here[0]), seen->keys(here[1]));
    comm.wait();
    if (goes_on) std::swap(here, next);
    turned();
  }
}

}  // namespace

RingAttended ring_attend(Comm& comm, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  check(comm, q, k, v, spec);
  const Shape rows = {q.size(0), q.size(1), q.size(2)};
  RingAttended all{Tensor::zeros({rows[0], rows[1], rows[2], v.size(3)}), {Tensor::empty(rows), Tensor::zeros(rows)}};
  std::fill_n(all.rows.m.mutable_data<float>(), all.rows.m.numel(), -std::numeric_limits<float>::infinity());
  go_round(comm, k, v, spec, [&](const Sight& seen, const Tensor& keys, const Tensor& values) {
    merge(attend(seen.queries(q), keys, values, seen.spec), seen, all);
  });
  return all;
}

AttendGradients ring_attend_gradients(Comm& comm, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec,
                                      const RingAttended& attended, const Tensor& d_out) {
  check(comm, q, k, v, spec);
  AttendGradients result{.q = Tensor::zeros(q.shape())};
  Parcel gradient({k.shape(), v.shape()}), next({k.shape(), v.shape()});
  const auto visit = [&](const Sight& seen, const Tensor& keys, const Tensor& values) {
    AttentionRecord record{.spec = seen.spec, .q = seen.queries(q), .keys = keys, .rows = seen.rows(attended.rows)};
    record.query_length = seen.count;
    record.stamp = stamp_now(record.spec, record.q, record.keys, backend().isa);
    const AttendGradients found = attend_gradients(record, values, seen.queries(attended.out), seen.queries(d_out));
    add(found.q, seen.queries(result.q));
    add(found.k, seen.keys(gradient[0]));
    add(found.v, seen.keys(gradient[1]));
  };
  go_round(comm, k, v, spec, visit, [&] {  // gradients follow their keys, and finally return to the owner
    comm.shift(gradient.whole(), next.whole());
    comm.wait();
    std::swap(gradient, next);
  });
  result.k = gradient[0];
  result.v = gradient[1];
  return result;
}

}  // namespace clearhead
