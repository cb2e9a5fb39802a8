// Conversion between floating dtypes into existing memory.
#pragma once

#include <bit>
#include <cstdint>

#include "clearhead/tensor.h"

namespace clearhead {

/// Converts element by element. `from` and `to` are f32, bf16 or f16, with any strides and equal shapes. Increments the
/// version of `to` once. Throws kShape for different shapes, kUnsupported for other dtypes.
void convert(const Tensor& from, Tensor& to);

/// bf16_to_f32 and f32_to_bf16, inline and without branches, so that the compiler can vectorise loops.
inline float widened_bf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

inline uint16_t rounded_to_bf16(float value) {
  const uint32_t word = std::bit_cast<uint32_t>(value);
  const uint32_t quiet = word >> 16 | 0x40u, rounded = (word + 0x7FFFu + (word >> 16 & 1u)) >> 16;
  return static_cast<uint16_t>((word & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);  // NaN: quiet
}

}  // namespace clearhead
