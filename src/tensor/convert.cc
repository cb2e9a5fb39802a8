// Conversion between f32, bf16 and f16. Widening to f32 is exact; narrowing rounds to nearest even. bf16 and f16 are
// converted to each other through f32.
#include "tensor/convert.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/format.h"
#include "base/parallel.h"

namespace clearhead {

float bf16_to_f32(uint16_t bits) { return widened_bf16(bits); }
uint16_t f32_to_bf16(float value) { return rounded_to_bf16(value); }

const char* to_string(WeightStorage storage) {
  switch (storage) {
    case WeightStorage::kF32: return "f32";
    case WeightStorage::kBF16: return "bf16";
    case WeightStorage::kInt8: return "int8";
    case WeightStorage::kInt8Dynamic: return "int8-dynamic";
  }
  return "f32";
}

float f16_to_f32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t magnitude = bits & 0x7FFFu;
  if (magnitude >= 0x7C00u) return std::bit_cast<float>(sign | 0x7F800000u | ((magnitude & 0x3FFu) << 13));  // infinity, NaN
  if (magnitude >= 0x0400u) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));           // normal
  const float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
  return sign ? -subnormal : subnormal;
}

uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);   // NaN
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // 65,520 and more round to infinity
  if (magnitude < 0x38800000u) {                                               // subnormal: a multiple of 2⁻²⁴
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(scaled)));
  }
  const uint32_t rounded = magnitude + 0xFFFu + (magnitude >> 13 & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

namespace {

struct Float {
  using Stored = float;
  static float read(float value) { return value; }
  static float write(float value) { return value; }
};
struct Brain {
  using Stored = uint16_t;
  static float read(uint16_t bits) { return widened_bf16(bits); }
  static uint16_t write(float value) { return rounded_to_bf16(value); }
};
struct Half {
  using Stored = uint16_t;
  static float read(uint16_t bits) { return f16_to_f32(bits); }
  static uint16_t write(float value) { return f32_to_f16(value); }
};

template <class F>
void with_format(DType dtype, const F& f) {
  switch (dtype) {
    case DType::kF32: return f(Float{});
    case DType::kBF16: return f(Brain{});
    case DType::kF16: return f(Half{});
    default: fail(ErrorCode::kUnsupported, "tensor: {} cannot be converted; expected f32, bf16 or f16", to_string(dtype));
  }
}

// Converts contiguous elements. The compiler vectorises these loops; with AVX2 they are limited by memory.
template <class From, class To>
[[gnu::always_inline]] inline void convert_neighbours(const typename From::Stored* from, typename To::Stored* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = To::write(From::read(from[i]));
}
#ifdef __x86_64__
template <class From, class To>
[[gnu::target("avx2")]] void convert_neighbours_avx2(const typename From::Stored* from, typename To::Stored* to, int64_t count) {
  convert_neighbours<From, To>(from, to, count);
}
bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2") != 0;
  return has;
}
#else
template <class From, class To>
void convert_neighbours_avx2(const typename From::Stored* from, typename To::Stored* to, int64_t count) {
  convert_neighbours<From, To>(from, to, count);
}
constexpr bool has_avx2() { return false; }
#endif

// Converts `count` elements with the given strides.
template <class From, class To>
void convert_row(const typename From::Stored* from, int64_t from_step, typename To::Stored* to, int64_t to_step, int64_t count) {
  if (from_step == 1 && to_step == 1) {
    has_avx2() ? convert_neighbours_avx2<From, To>(from, to, count) : convert_neighbours<From, To>(from, to, count);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i * to_step] = To::write(From::read(from[i * from_step]));
  }
}

// Element index of the start of a row; rows are counted over all axes except the last.
int64_t place_of(const Tensor& tensor, int64_t row) {
  int64_t place = 0;
  for (int axis = tensor.rank() - 2; axis >= 0; --axis) {
    place += row % tensor.size(axis) * tensor.stride(axis);
    row /= tensor.size(axis);
  }
  return place;
}

}  // namespace

void convert(const Tensor& from, Tensor& to) {
  if (from.shape() != to.shape()) {
    fail(ErrorCode::kShape, "tensor: cannot convert shape {} to {}; expected equal shapes", to_string(from.shape()), to_string(to.shape()));
  }
  if (from.numel() == 0) return;
  const int last = from.rank() - 1;
  const int64_t width = last < 0 ? 1 : from.size(last), rows = from.numel() / width;
  const int64_t from_step = last < 0 ? 1 : from.stride(last), to_step = last < 0 ? 1 : to.stride(last);
  const std::byte* read = from.raw();
  std::byte* written = to.mutable_raw();
  with_format(from.dtype(), [&](auto source) {
    with_format(to.dtype(), [&](auto target) {
      using From = decltype(source);
      using To = decltype(target);
      const auto* of_from = reinterpret_cast<const typename From::Stored*>(read);
      auto* of_to = reinterpret_cast<typename To::Stored*>(written);
      if (from.is_contiguous() && to.is_contiguous()) {
        return parallel_ranges(from.numel(), int64_t{1} << 16, [&](int64_t begin, int64_t end, int) {
          convert_row<From, To>(of_from + begin, 1, of_to + begin, 1, end - begin);
        });
      }
      const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 16) / width);
      parallel_ranges(rows, grain, [&](int64_t begin, int64_t end, int) {
        for (int64_t row = begin; row < end; ++row) {
          convert_row<From, To>(of_from + place_of(from, row), from_step, of_to + place_of(to, row), to_step, width);
        }
      });
    });
  });
}

Tensor to_dtype(const Tensor& tensor, DType dtype) {
  if (tensor.dtype() == dtype) return tensor.clone();
  Tensor out = Tensor::empty(tensor.shape(), dtype);
  convert(tensor, out);
  return out;
}

Tensor to_f32(const Tensor& tensor) { return to_dtype(tensor, DType::kF32); }

}  // namespace clearhead
