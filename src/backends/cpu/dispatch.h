// Which driver computes a call, and with which products: pure functions of what the call is. Operands' values, threads, and how many heads or sequences there
// are do not count, so a call's bits follow from its description, lengths and widths. cpu.cc asks once a call; nothing behind it asks again.
//
//   facts_of(call, machine)  →  choose_forward, choose_backward, choose_look, choose_reduction  →  a named driver
//
// The tables stand in dispatch.cc, one rule after the other: the first that fits is taken. `clearhead doctor`, the bench and `clearhead info` print them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "backends/contract.h"

namespace clearhead::cpu {

inline constexpr int64_t kDecodeQueries = 16;  // up to here a call is decoded; beyond, lanes full of queries are faster

/// What multiplies queries by keys (and, in a bf16 driver, weights by values): f32 multiply-adds, over operands that are widened where they have 16 bits; bf16
/// dot products of two channels (VDPBF16PS, VCVTNE2PS2BF16); bf16 tiles of AMX (TDPBF16PS).
enum class Products : uint8_t { kF32, kBf16Dot, kAmx };
const char* to_string(Products products);  ///< "f32", "bf16 dot", "AMX"

/// What attention over bf16 multiplies with under AVX-512 on this machine: AMX where there is one, else bf16 dot products where they are faster than f32
/// multiply-adds, else those. On a Sapphire Rapids VDPBF16PS takes the time of 3.5 of them and does the work of two.
/// CLEARHEAD_BF16=amx|dot|widen decides otherwise; throws kUnsupported for other values, or for what the machine has not.
Products bf16_products();

/// What a machine is to a choice.
struct Machine {
  InstructionSet isa = InstructionSet::kAvx512;  // kAvx2 or kAvx512
  Products bf16 = Products::kF32;                // bf16_products(); AVX2 has f32 alone
};
Machine this_machine(InstructionSet isa);

/// What a choice follows from.
struct CallFacts {
  const AttentionSpec& spec;
  Machine machine{};
  int64_t queries = 0, keys = 0, d_k = 0, d_v = 0;
  int64_t query_length = 0;          // of the call, of which `queries` rows are here
  int64_t group = 1;                 // query heads of one key head
  DType dtype = DType::kF32;         // of q
  std::optional<DType> pages{};      // of a paged cache; empty: keys are a tensor of q's dtype
  bool wants_bias_gradient = false;  // backward: of an AttentionBias
  bool after = false,
       rounded = false;  // reduction: of weights after dropout, head mask and Gaussian; of weights as a bf16 driver rounded them
};
CallFacts facts_of(const ForwardCall& call, Machine machine);
CallFacts facts_of(const BackwardCall& call, Machine machine);
/// Of looks at a record; `d_v` is not known.
CallFacts facts_of(const AttentionRecord& record, Machine machine);
CallFacts facts_of(const SweepCall& call, Machine machine);

enum class ForwardDriver : uint8_t {
  kChunkLinear,  // linear attention by running sums over keys, pairs only within chunks (chunk_linear-inl.h)
  kOnePass,      // sigmoid, hard, other linear attention: tile by tile, no running maximum (one_pass-inl.h)
  kSparsemax,    // sparsemax, entmax: all scores of a block of queries, thresholds in lanes (sparsemax-inl.h)
  kDecodeBf16,   // 2 to 16 bf16 queries over bf16 pages, P rounded to bf16 (decode_bf16-inl.h)
  kGather,       // lists of single queries: key by key, keys in lanes (gather-inl.h)
  kDecode,       // up to 16 queries: chunks of 1,024 keys, merged in chunk order (decode-inl.h)
  kSplitKv,      // few rows over many keys: chunks of keys in tiles, merged in chunk order (split_kv-inl.h)
  kFlashBf16,    // online softmax over tiles of 256 keys, P rounded to bf16 (flash_bf16-inl.h)
  kFlash,        // online softmax over tiles of 256 keys (flash-inl.h)
};
const char* to_string(ForwardDriver driver);  ///< "chunk_linear", "one_pass", …

struct ForwardChoice {
  ForwardDriver driver = ForwardDriver::kFlash;
  Products products = Products::kF32;
  std::optional<Range> page_rows{};  // keys of these pages are copied to rows first: all that the band shows
  int64_t split_keys = 0;            // kSplitKv: keys of a chunk
};
ForwardChoice choose_forward(const CallFacts& facts);
/// Whether the driver multiplies bf16 values as they are and rounds out itself; others meet them in f32.
bool takes_bf16_values(ForwardDriver driver);
/// Whether the driver sums entropy and distance of its rows on the way.
bool sums_rows(ForwardDriver driver);

enum class BackwardDriver : uint8_t {
  kChunkLinear,   // linear attention by running sums (chunk_linear.cc)
  kGather,        // lists of single queries, key by key (gather-inl.h)
  kFlashBf16,     // softmax of bf16, over tiles
  kFlashGeneral,  // any normaliser, dropout, head mask, Gaussian, over tiles
  kFlash,         // softmax alone, over tiles
};
const char* to_string(BackwardDriver driver);

struct BackwardChoice {
  BackwardDriver driver = BackwardDriver::kFlash;
  Products products = Products::kF32;
};
BackwardChoice choose_backward(const CallFacts& facts);

/// Of rows, tiles and single weights: the score kernel, whatever the driver was.
Products choose_look(const CallFacts& facts);

enum class ReductionDriver : uint8_t { kGather, kTiles };
const char* to_string(ReductionDriver driver);

struct ReductionChoice {
  ReductionDriver driver = ReductionDriver::kTiles;
  Products products = Products::kF32;
};
ReductionChoice choose_reduction(const CallFacts& facts);

/// The forward driver that made a record, by its stamp and rows; d_v, which no record keeps, is taken to be d_k.
ForwardDriver driver_of(const AttentionRecord& record);

/// "flash_bf16 (AMX)", "decode (f32)": as people read a choice.
template <class Choice>
std::string describe(const Choice& choice) {
  return std::string(to_string(choice.driver)) + " (" + to_string(choice.products) + ")";
}

}  // namespace clearhead::cpu
