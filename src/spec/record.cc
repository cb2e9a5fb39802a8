// Attention records: stamps of operand versions, immutable copies, and the log-sum-exp L = m·ln 2 + ln ℓ and threshold τ
// of each row. A record is stale once the version of an operand has changed.
#include "clearhead/record.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <utility>

#include "base/format.h"
#include "spec/visible.h"

namespace clearhead {
namespace {

// Visits the operands in the order of Stamp::versions: q, then k if it is a tensor, then those of the description. Pages
// are append-only and have no version.
template <class Visit>
void for_each_stamped(const AttentionSpec& spec, const Tensor& q, const Keys& keys, const Visit& visit) {
  visit("q", q);
  if (const Tensor* k = std::get_if<Tensor>(&keys)) visit("k", *k);
  for_each_operand(spec, visit);
}

// Returns a copy that cannot be opened for writing; the tensor itself if it is already immutable.
Tensor frozen(const Tensor& tensor) {
  if (!tensor.defined() || tensor.is_immutable()) return tensor;
  const auto copy = std::make_shared<const Tensor>(tensor.clone());
  return Tensor::borrow(copy->raw(), copy->shape(), copy->dtype(), copy, /*immutable=*/true);
}

template <class F>
RowStats each_of(const RowStats& rows, const F& f) {
  return {.m = f(rows.m), .l = f(rows.l), .used = rows.used.defined() ? f(rows.used) : Tensor()};
}

}  // namespace

const char* to_string(InstructionSet isa) {
  switch (isa) {
    case InstructionSet::kReference: return "ref";
    case InstructionSet::kAvx2: return "avx2";
    case InstructionSet::kAvx512: return "avx512";
  }
  return "ref";
}

int64_t key_length(const Keys& keys) {
  const Tensor* k = std::get_if<Tensor>(&keys);
  return k ? k->size(2) : std::get<PagedKV>(keys).length;
}

int64_t key_heads(const Keys& keys) {
  const Tensor* k = std::get_if<Tensor>(&keys);
  return k ? k->size(1) : std::get<PagedKV>(keys).key_heads;
}

int64_t key_width(const Keys& keys) {
  const Tensor* k = std::get_if<Tensor>(&keys);
  return k ? k->size(3) : std::get<PagedKV>(keys).d_k;
}

DType key_dtype(const Keys& keys) {
  const Tensor* k = std::get_if<Tensor>(&keys);
  return k ? k->dtype() : std::get<PagedKV>(keys).dtype;
}

RowStats RowStats::slice(int64_t begin, int64_t end) const {
  return each_of(*this, [&](const Tensor& numbers) { return numbers.slice(2, begin, end); });
}

RowStats RowStats::clone() const {
  return each_of(*this, [](const Tensor& numbers) { return numbers.clone(); });
}

AttentionShape AttentionRecord::shape() const {
  AttentionShape shape;
  shape.batch = q.size(0);
  shape.heads = q.size(1);
  shape.key_heads = key_heads(keys);
  shape.queries = query_length;
  shape.keys = key_length(keys);
  shape.d_k = q.size(3);
  if (const PagedKV* pages = std::get_if<PagedKV>(&keys)) shape.d_v = pages->d_v;
  return shape;
}

int64_t AttentionRecord::position_of(int64_t query) const {
  return query + first_position(spec.topology.band, query_length, key_length(keys));
}

void AttentionRecord::check_fresh() const {
  size_t index = 0;
  for_each_stamped(spec, q, keys, [&](const std::string& name, const Tensor& operand) {
    if (index >= stamp.versions.size()) {
      fail(ErrorCode::kStale, "record: operand \"{}\" did not exist when the record was made; attend again to get a new record", name);
    }
    if (operand.version() != stamp.versions[index]) {
      fail(ErrorCode::kStale,
           "record: operand \"{}\" was opened for writing after the record was made; attend again, or keep record.pin() before changing "
           "operands",
           name);
    }
    ++index;
  });
  if (index != stamp.versions.size()) {
    fail(ErrorCode::kStale, "record: made with {} operands, but it has {} now; attend again to get a new record", stamp.versions.size(),
         index);
  }
}

bool AttentionRecord::unpinned() const {
  bool found = false;
  for_each_stamped(spec, q, keys, [&](const std::string&, const Tensor& operand) { found = found || operand.is_borrowed(); });
  return found;
}

AttentionRecord AttentionRecord::pin() const {
  check_fresh();
  AttentionRecord pinned = *this;
  pinned.q = frozen(q);
  if (const Tensor* k = std::get_if<Tensor>(&keys)) pinned.keys = frozen(*k);
  for_each_operand(pinned.spec, [](const std::string&, Tensor& operand) { operand = frozen(operand); });
  pinned.rows = each_of(rows, frozen);
  pinned.stamp.versions = stamp_now(pinned.spec, pinned.q, pinned.keys, stamp.isa).versions;
  return pinned;
}

Stamp stamp_now(const AttentionSpec& spec, const Tensor& q, const Keys& keys, InstructionSet isa) {
  Stamp stamp;
  stamp.isa = isa;
  stamp.dtype = q.dtype();
  for_each_stamped(spec, q, keys, [&](const std::string&, const Tensor& operand) { stamp.versions.push_back(operand.version()); });
  return stamp;
}

namespace {

// Computes f(m, ℓ) of each row, in double.
template <class F>
Tensor of_rows(const char* what, const RowStats& rows, F&& f) {
  const Tensor m = rows.m.contiguous(), l = rows.l.contiguous();
  if (m.shape() != l.shape())
    fail(ErrorCode::kShape, "{}: m is {}, l is {}; expected equal shapes", what, to_string(m.shape()), to_string(l.shape()));
  Tensor out = Tensor::empty(m.shape());
  float* to = out.mutable_data<float>();
  for (int64_t row = 0; row < out.numel(); ++row) {
    to[row] = static_cast<float>(f(static_cast<double>(m.data<float>()[row]), static_cast<double>(l.data<float>()[row])));
  }
  return out;
}

constexpr double kHidden = -std::numeric_limits<double>::infinity();

}  // namespace

Tensor log_sum_exp(const RowStats& rows) {
  return of_rows("log_sum_exp", rows, [](double m, double l) { return l == 0 ? kHidden : m * std::numbers::ln2 + std::log(l); });
}

Tensor thresholds(const RowStats& rows, const Normaliser& normaliser) {
  const double unit = std::holds_alternative<Entmax15>(normaliser) ? std::numbers::ln2 / 2 : std::numbers::ln2;
  return of_rows("thresholds", rows, [&](double m, double l) { return m == kHidden ? m : m * unit + l; });
}

}  // namespace clearhead
