// Dense products by oneDNN. dnnl.cc is the one file that knows the library, in both of its interfaces (2.x and 3.x).
#pragma once

#include <cstdint>

#include "backends/dense.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

/// How the weights of a product are stored: panels [out / panel][padded_in][panel] of f32, [out / panel][padded_in / 2][panel][2] of bf16, zeros where
/// padded, which oneDNN's AVX-512 kernels read as they are and a matrix-vector product streams; or, where panel is 0, element [i, o] at
/// i·in_step + o·out_step, one of which is 1.
struct WeightLayout {
  int64_t in = 0, out = 0;
  int64_t panel = 0, padded_in = 0, padded_out = 0;
  int64_t in_step = 0, out_step = 0;  // without panels
  int64_t elements() const { return padded_in * padded_out; }
};

/// Rows [out][in].
inline WeightLayout rows_layout(int64_t in, int64_t out) { return {in, out, 0, in, out, 1, in}; }

/// Panels so many outputs wide: the inputs of f32 are padded to 16, those of bf16 to twice as many.
inline WeightLayout panels_layout(int64_t in, int64_t out, int64_t panel, bool is_bf16) {
  const auto padded = [](int64_t n, int64_t to) { return (n + to - 1) / to * to; };
  return {in, out, panel, padded(in, is_bf16 ? 32 : 16), padded(out, panel)};
}

/// The layout oneDNN chooses here, whatever the number of rows will be: rows where it has no kernel that reads panels. The first call in a process
/// limits oneDNN to `isa` for good.
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
  int64_t x_step = 1;        // between inputs; where it is not 1, x_stride is
  bool in_training = false;  // its bits must not depend on the number of threads
  bool is_bf16 = false;      // weights and x: their pointers are to 16-bit elements
  bool rounds_out = false;   // the same of out
};

/// out = f(x·Wᵀ + bias) (+ out), by tiles in parallel. Bits do not depend on the number of threads.
void multiply(const Product& product);

/// The same of bf16 operands, whose products are added in f32; false where the machine or the library has no kernel for it.
bool multiply_bf16(const Product& product);

/// "2.6.3": for `doctor`.
const char* onednn_version();

}  // namespace clearhead::cpu
