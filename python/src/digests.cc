// Digest of a plane: 64 chains of rotations and multiplications by odd numbers, each over every 64th 32-bit word. Each step is a bijection
// of the chain's state, so a change of one word always changes the digest; changes of several words of one chain cancel with probability
// 2⁻³².
#include "digests.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>

#include "base/format.h"
#include "base/parallel.h"
#include "clearhead/error.h"

namespace clearhead::python {
namespace {

constexpr size_t kLanes = 64;
constexpr size_t kStripe = 4 * kLanes;  // bytes
using Lanes = std::array<uint32_t, kLanes>;

using Vector = uint32_t __attribute__((vector_size(kStripe / 4)));  // 16 lanes; the compiler splits it for shorter registers

// Processes four independent vectors to hide the latency of the multiplications. Compiled for each instruction set.
__attribute__((target_clones("avx512f", "avx2", "default"))) void add_stripes(uint32_t* state, const std::byte* data, size_t count) {
  Vector a, b, c, d;
  const auto load = [](Vector & to, const void* from) __attribute__((always_inline)) { std::memcpy(&to, from, sizeof to); };
  const auto step = [](Vector & lanes, const std::byte* from) __attribute__((always_inline)) {
    Vector words;
    std::memcpy(&words, from, sizeof words);
    words ^= lanes;
    lanes = ((words << 13) | (words >> 19)) * 0x9E3779B1u;
  };
  load(a, state), load(b, state + 16), load(c, state + 32), load(d, state + 48);
  for (size_t stripe = 0; stripe < count; ++stripe, data += kStripe) {
    step(a, data), step(b, data + 64), step(c, data + 128), step(d, data + 192);
  }
  std::memcpy(state, &a, sizeof a), std::memcpy(state + 16, &b, sizeof b);
  std::memcpy(state + 32, &c, sizeof c), std::memcpy(state + 48, &d, sizeof d);
}

class Hasher {
 public:
  Hasher() { std::iota(lanes_.begin(), lanes_.end(), 1u); }

  void add(const std::byte* data, size_t bytes) {
    total_ += bytes;
    if (filled_ > 0) {
      const size_t taken = std::min(bytes, kStripe - filled_);
      std::memcpy(rest_.data() + filled_, data, taken);
      filled_ += taken, data += taken, bytes -= taken;
      if (filled_ < kStripe) return;
      add_stripes(lanes_.data(), rest_.data(), 1);
    }
    if (bytes >= kStripe) add_stripes(lanes_.data(), data, bytes / kStripe);
    filled_ = bytes % kStripe;
    if (filled_ > 0) std::memcpy(rest_.data(), data + bytes - filled_, filled_);
  }

  uint64_t value() {
    std::fill(rest_.begin() + static_cast<std::ptrdiff_t>(filled_), rest_.end(), std::byte{0});
    add_stripes(lanes_.data(), rest_.data(), 1);
    uint64_t out = total_;
    for (const uint32_t lane : lanes_) {
      out = std::rotl(out ^ lane, 29) * 0x9E3779B185EBCA87u;
      out ^= out >> 32;
    }
    return out;
  }

 private:
  Lanes lanes_{};
  std::array<std::byte, kStripe> rest_{};
  size_t filled_ = 0;
  uint64_t total_ = 0;
};

struct Axis {
  int64_t size, stride;  // in elements
};

void add_axes(Hasher& hasher, const std::byte* data, const Axis* axis, const Axis* end, size_t element) {
  if (axis == end) return hasher.add(data, element);
  if (axis + 1 == end && axis->stride == 1) return hasher.add(data, static_cast<size_t>(axis->size) * element);
  for (int64_t i = 0; i < axis->size; ++i) {
    add_axes(hasher, data + i * axis->stride * static_cast<int64_t>(element), axis + 1, end, element);
  }
}

// Hashes the bytes of a view in memory order. Broadcast axes are read once; adjacent axes are merged.
uint64_t digest_of(const Tensor& view) {
  Hasher hasher;
  if (view.numel() == 0) return hasher.value();
  std::vector<Axis> axes, joined;
  for (int axis = 0; axis < view.rank(); ++axis) {
    if (view.size(axis) > 1 && view.stride(axis) != 0) axes.push_back({view.size(axis), view.stride(axis)});
  }
  std::stable_sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.stride > b.stride; });
  for (const Axis& axis : axes) {
    if (!joined.empty() && joined.back().stride == axis.size * axis.stride) {
      joined.back() = {joined.back().size * axis.size, axis.stride};
    } else {
      joined.push_back(axis);
    }
  }
  add_axes(hasher, view.raw(), joined.data(), joined.data() + joined.size(), size_of(view.dtype()));
  return hasher.value();
}

int64_t planes_of(const Tensor& tensor) { return tensor.rank() == 4 ? tensor.size(0) * tensor.size(1) : 1; }

uint64_t digest_of_plane(const Tensor& tensor, int64_t plane) {
  if (tensor.rank() != 4) return digest_of(tensor);
  return digest_of(tensor.select(0, plane / tensor.size(1)).select(0, plane % tensor.size(1)));
}

[[noreturn]] void fail_stale(const std::string& name) {
  fail(ErrorCode::kStale,
       "record: \"{}\" was changed after the record was made; call attend() again, or call "
       "record.pin(), which copies the arrays, before changing it",
       name);
}

}  // namespace

// Calls body for each plane of the first `count` operands, in parallel.
template <class Body>
void Digests::for_each_plane(size_t count, const Body& body) const {
  std::vector<std::pair<size_t, int64_t>> all;
  for (size_t at = 0; at < count; ++at) {
    for (int64_t plane = 0; plane < planes_of(operands_[at].tensor); ++plane) all.emplace_back(at, plane);
  }
  parallel_ranges(static_cast<int64_t>(all.size()), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) body(all[static_cast<size_t>(i)].first, all[static_cast<size_t>(i)].second);
  });
}

Digests::Digests(const AttentionRecord& record, std::vector<std::pair<std::string, Tensor>> only_of_gradients) : heads_(record.q.size(1)) {
  const auto add_writable = [&](const std::string& name, const Tensor& tensor) {
    if (tensor.is_borrowed()) add(name, tensor);
  };
  add_writable("q", record.q);
  if (const Tensor* keys = std::get_if<Tensor>(&record.keys)) add_writable("k", *keys);
  for_each_operand(record.spec, add_writable);
  of_map_ = operands_.size();
  for (const auto& [name, tensor] : only_of_gradients) {
    if (tensor.defined()) add(name, tensor);
  }
  for_each_plane(operands_.size(), [&](size_t at, int64_t plane) {
    operands_[at].planes[static_cast<size_t>(plane)] = digest_of_plane(operands_[at].tensor, plane);
  });
}

void Digests::add(const std::string& name, const Tensor& tensor) {
  operands_.push_back({name, tensor, std::vector<uint64_t>(static_cast<size_t>(planes_of(tensor)))});
}

void Digests::check_first(size_t count) const {
  for_each_plane(count, [&](size_t at, int64_t plane) {
    if (digest_of_plane(operands_[at].tensor, plane) != operands_[at].planes[static_cast<size_t>(plane)]) fail_stale(operands_[at].name);
  });
}

void Digests::check_all() const { check_first(operands_.size()); }
void Digests::check_map() const { check_first(of_map_); }

void Digests::check_head(int64_t batch, int64_t head) const {
  for (size_t at = 0; at < of_map_; ++at) {
    const auto& [name, tensor, planes] = operands_[at];
    int64_t plane = 0;
    if (tensor.rank() == 4) {
      const int64_t own = tensor.size(1) == 0 ? 0 : heads_ / std::max<int64_t>(1, tensor.size(1));  // query heads per head of this tensor
      plane = (tensor.size(0) == 1 ? 0 : batch) * tensor.size(1) + (own == 0 ? 0 : head / own);
      if (batch < 0 || head < 0 || head >= heads_ || plane >= planes_of(tensor)) continue;  // out of range; the map reports this itself
    }
    if (digest_of_plane(tensor, plane) != planes[static_cast<size_t>(plane)]) fail_stale(name);
  }
}

}  // namespace clearhead::python
