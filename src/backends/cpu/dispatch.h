// Decides which driver computes a call, and with which products. The decisions are pure functions of CallFacts. They do
// not depend on the values of operands or on the number of threads or sequences, and of the numbers of heads only on
// their ratio (CallFacts::group). So the bits of a result depend only on the description, lengths, widths and this ratio.
// cpu.cc calls these functions once per call; no later code does.
//
//   facts_of(call, machine)  →  choose_forward, choose_backward, choose_look, choose_reduction  →  a named driver
//
// dispatch.cc tests a list of conditions in order; the first that holds decides. `clearhead doctor`, the bench and
// `clearhead info` print the choices.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "backends/backend.h"

namespace clearhead::cpu {

// Only calls with at most this many queries may use the decode drivers. With more, kernels with queries in lanes are faster.
inline constexpr int64_t kDecodeQueries = 16;

/// The instructions that multiply queries by keys and, in a bf16 driver, also weights by values.
///   kF32       f32 multiply-adds; 16-bit operands are widened to f32 first
///   kBf16Dot   dot products of two bf16 channels (VDPBF16PS); f32 is rounded by VCVTNE2PS2BF16
///   kAmx       AMX tiles of bf16 (TDPBF16PS)
enum class Products : uint8_t { kF32, kBf16Dot, kAmx };
const char* to_string(Products products);  ///< "f32", "bf16 dot", "AMX"

/// The products that this machine uses for bf16 attention under AVX-512: AMX if available; else bf16 dot products if
/// available, except on Intel processors; else f32. (On Sapphire Rapids, a VDPBF16PS takes the time of 3.5 f32 multiply-adds
/// and does the work of two.) CLEARHEAD_BF16=amx|dot|widen overrides the choice. Throws kUnsupported if this variable has any
/// other value or asks for products that this machine lacks.
Products bf16_products();

/// The properties of the machine that a choice depends on.
struct Machine {
  InstructionSet isa = InstructionSet::kAvx512;  // kAvx2 or kAvx512
  Products bf16 = Products::kF32;                // bf16_products(); always kF32 under AVX2
};
Machine this_machine(InstructionSet isa);

/// The properties of a call that a choice depends on.
struct CallFacts {
  const AttentionSpec& spec;
  Machine machine{};
  int64_t queries = 0, keys = 0, d_k = 0, d_v = 0;
  int64_t query_length = 0;          // of the whole call; a record may keep only `queries` of these rows
  int64_t group = 1;                 // query heads per key head
  DType dtype = DType::kF32;         // of q
  std::optional<DType> pages{};      // dtype of a paged cache; empty if the keys are a tensor of q's dtype
  bool wants_bias_gradient = false;  // backward: the gradient of an AttentionBias is wanted
  // For reductions. `after`: weights are multiplied by dropout, head mask and Gaussian. `rounded`: weights are shown as
  // a bf16 driver rounded them.
  bool after = false, rounded = false;
};
CallFacts facts_of(const ForwardCall& call, Machine machine);
CallFacts facts_of(const BackwardCall& call, Machine machine);
/// From a record alone; d_v stays 0.
CallFacts facts_of(const AttentionRecord& record, Machine machine);
CallFacts facts_of(const SweepCall& call, Machine machine);

enum class ForwardDriver : uint8_t {
  kChunkLinear,  // linear attention by running sums; computes pairs only within chunks (chunk_linear-inl.h)
  kOnePass,      // sigmoid, hard and other linear attention: no running maximum (one_pass-inl.h)
  kSparsemax,    // sparsemax, entmax: all scores of a query block in scratch (sparsemax-inl.h)
  kDecodeBf16,   // 2 to 16 bf16 queries over bf16 pages, P rounded to bf16 (decode_bf16-inl.h)
  kGather,       // block-sparse lists of few queries: key by key, keys in lanes (gather-inl.h)
  kDecode,       // up to 16 queries: chunks of 1,024 keys, merged in order (decode-inl.h)
  kSplitKv,      // few rows, many keys: chunks of whole key tiles, merged in order (split_kv-inl.h)
  kFlashBf16,    // online softmax over key tiles of 256, P rounded to bf16 (flash_bf16-inl.h)
  kFlash,        // online softmax over key tiles of 256 (flash-inl.h)
};
const char* to_string(ForwardDriver driver);  ///< "chunk_linear", "one_pass", …

struct ForwardChoice {
  ForwardDriver driver = ForwardDriver::kFlash;
  Products products = Products::kF32;
  // If set, the keys in this range of a paged cache (all that the band shows) and their values are first copied to rows.
  std::optional<Range> page_rows{};
  int64_t split_keys = 0;  // kSplitKv: keys per chunk
};
ForwardChoice choose_forward(const CallFacts& facts);
/// Returns true if the driver reads bf16 values and rounds its own output. For other drivers, values are widened to f32
/// and the output is rounded afterwards.
bool takes_bf16_values(ForwardDriver driver);
/// Returns true if the driver accumulates the entropy and distance of its rows during its pass.
bool sums_rows(ForwardDriver driver);

enum class BackwardDriver : uint8_t {
  kChunkLinear,   // linear attention by running sums (chunk_linear.cc)
  kGather,        // block-sparse lists of few queries, key by key (gather-inl.h)
  kFlashBf16,     // softmax of bf16 operands, by key tiles
  kFlashGeneral,  // by key tiles: any normaliser, dropout, head mask, Gaussian
  kFlash,         // by key tiles: softmax without dropout, head mask or Gaussian
};
const char* to_string(BackwardDriver driver);

struct BackwardChoice {
  BackwardDriver driver = BackwardDriver::kFlash;
  Products products = Products::kF32;
};
BackwardChoice choose_backward(const CallFacts& facts);

/// The products for recomputing rows, tiles and single weights. Recomputing always uses the score kernel, whichever driver
/// computed the forward pass.
Products choose_look(const CallFacts& facts);

enum class ReductionDriver : uint8_t { kGather, kTiles };
const char* to_string(ReductionDriver driver);

struct ReductionChoice {
  ReductionDriver driver = ReductionDriver::kTiles;
  Products products = Products::kF32;
};
ReductionChoice choose_reduction(const CallFacts& facts);

/// Returns the forward driver that made a record, inferred from its stamp and row statistics. A record does not keep
/// d_v; it is assumed to equal d_k.
ForwardDriver driver_of(const AttentionRecord& record);

/// A choice as text: "flash_bf16 (AMX)", "decode (f32)".
template <class Choice>
std::string describe(const Choice& choice) {
  return std::string(to_string(choice.driver)) + " (" + to_string(choice.products) + ")";
}

}  // namespace clearhead::cpu
