// f16 and bf16 to f32: exact, since both are subsets of f32.
#include <bit>

#include "base/format.h"
#include "base/parallel.h"
#include "clearhead/tensor.h"

namespace clearhead {

float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t f32_to_bf16(float value) {
  const uint32_t word = std::bit_cast<uint32_t>(value);
  if ((word & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(word >> 16 | 0x40u);  // NaN, kept quiet
  return static_cast<uint16_t>((word + 0x7FFFu + (word >> 16 & 1u)) >> 16);
}

const char* to_string(WeightStorage storage) {
  switch (storage) {
    case WeightStorage::kF32: return "f32";
    case WeightStorage::kBF16: return "bf16";
    case WeightStorage::kInt8: return "int8";
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

Tensor to_f32(const Tensor& tensor) {
  if (tensor.dtype() == DType::kF32) return tensor.clone();
  if (tensor.dtype() != DType::kBF16 && tensor.dtype() != DType::kF16) {
    fail(ErrorCode::kUnsupported, "tensor: {} cannot become f32; expected f32, bf16 or f16", to_string(tensor.dtype()));
  }
  const Tensor source = tensor.contiguous();
  Tensor out = Tensor::empty(tensor.shape());
  const auto* from = reinterpret_cast<const uint16_t*>(source.raw());
  float* to = out.mutable_data<float>();
  const bool brain = tensor.dtype() == DType::kBF16;
  parallel_ranges(out.numel(), 1 << 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) to[i] = brain ? bf16_to_f32(from[i]) : f16_to_f32(from[i]);
  });
  return out;
}

}  // namespace clearhead
