// Dense matrix products by oneDNN. Only dnnl.cc uses the library; it supports both of its interfaces (2.x and 3.x).
#pragma once

#include <cstdint>
#include <optional>

#include "backends/dense.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

/// The memory layout of a product's weights. With panels: [out / panel][padded_in][panel] in f32,
/// [out / panel][padded_in / 2][panel][2] in bf16, zeros where padded. oneDNN's AVX-512 kernels read panels directly, and
/// a matrix-vector product streams them. Without panels (panel = 0): element [i, o] is at i·in_step + o·out_step, and one
/// of the steps is 1.
struct WeightLayout {
  int64_t in = 0, out = 0;
  int64_t panel = 0, padded_in = 0, padded_out = 0;
  int64_t in_step = 0, out_step = 0;  // without panels
  int64_t elements() const { return padded_in * padded_out; }
};

/// Plain rows [out][in].
inline WeightLayout rows_layout(int64_t in, int64_t out) { return {in, out, 0, in, out, 1, in}; }

/// Panels of `panel` outputs. Inputs are padded to multiples of 16 in f32, of 32 in bf16.
inline WeightLayout panels_layout(int64_t in, int64_t out, int64_t panel, bool is_bf16) {
  const auto padded = [](int64_t n, int64_t to) { return (n + to - 1) / to * to; };
  return {in, out, panel, padded(in, is_bf16 ? 32 : 16), padded(out, panel)};
}

/// Returns the layout that oneDNN prefers on this machine, for any number of rows; plain rows if it has no kernel that
/// reads panels. The first call in a process permanently limits oneDNN to `isa`.
WeightLayout wanted_layout(int64_t in, int64_t out, InstructionSet isa, bool is_bf16 = false);

struct Product {
  WeightLayout layout{};
  const float* weights = nullptr;
  const float* x = nullptr;  // [rows, in]
  int64_t rows = 0, x_stride = 0;
  const float* bias = nullptr;
  Activation activation = Activation::kNone;
  bool accumulate = false;
  float* out = nullptr;  // [rows, out]
  int64_t out_stride = 0;
  int64_t x_step = 1;        // elements between the inputs of a row; if it is not 1, x_stride is 1
  bool in_training = false;  // set for ProductCall and LowPrecisionProductCall: bf16 weights are never reordered for a call
  bool is_bf16 = false;      // weights and x point to bf16 elements
  bool rounds_out = false;   // out points to bf16 elements
};

/// Computes out = f(x·Wᵀ + bias) (+ out), in parallel by tiles. Bits do not depend on the number of threads.
void multiply(const Product& product);

/// The same for bf16 operands, summed in f32. Returns false if the machine or the library has no kernel for it.
bool multiply_bf16(const Product& product);

/// sums = x·Wᵀ, with x in unsigned and W in signed bytes. Exact if 255·127·in < 2³¹ (kMostExactInputs).
struct ByteProduct {
  WeightLayout layout{};  // panels [out / panel][padded_in / 4][panel][4]
  const int8_t* weights = nullptr;
  const uint8_t* x = nullptr;  // [rows, in], contiguous
  int64_t rows = 0;
  int32_t* sums = nullptr;  // [rows, out], contiguous
};
inline constexpr int64_t kMostExactInputs = 66'000;

/// Returns the panel layout for bytes that oneDNN prefers on this machine. Empty if the machine (or the library, as
/// limited) has no dot products of bytes that accumulate in 32 bits (VNNI): older instructions saturate at 16 bits.
std::optional<WeightLayout> byte_layout(int64_t in, int64_t out);

/// Computes a product on the calling thread. The layout must be one that byte_layout returned, or some of its panels.
void multiply_bytes(const ByteProduct& product);

/// The library's version, for `clearhead doctor`: "2.6.3".
const char* onednn_version();

}  // namespace clearhead::cpu
