// Benchmarks attention on this machine. Speeds are fractions of limits that are measured in the same run.
//
// Compute: a burst of fused multiply-adds precedes every work item. Peak is the rate that a fraction 1/repeats of a thread's bursts
// exceeds, summed over threads.
//   clean = Σ over items of the best time of each / threads, the time on an undisturbed machine; wall = the best whole run without bursts.
//   Selecting keys by content (choose/…) has no items: both figures are of the best whole call, against bursts just before it.
// Bandwidth: pairs of (kernel, plain read of as many other bytes right after it). The fraction is the median over the pairs, because the
// memory of shared machines changes speed by a factor of two within seconds. clean: pairs of one item on one thread; wall: pairs of whole
// calls. Causal work counts the needed N(N+1)/2 pairs: waste on the diagonal counts as loss. Only the cpu backend can be measured: ref does
// not report work items.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clearhead/record.h"

namespace clearhead::bench {

struct AttentionOptions {
  std::vector<std::string> filters{};  ///< cases whose name contains any of these; empty: the default list
  bool all = false;                    ///< also the long list
  double seconds_per_case = 2.0;
  InstructionSet isa = InstructionSet::kReference;  ///< kReference: the best this machine runs
  std::function<void(double)> progress{};           ///< share of the cases that are finished
};

/// The pairs that were measured while memory ran at one of its speeds.
struct MemoryMode {
  double read_bytes = 0;  ///< bytes/s, all threads
  double fraction = 0;    ///< of read_bytes, median
  int64_t pairs = 0;
};

struct AttentionCase {
  std::string name{};    ///< forward/f32/full/h8/n4096/d64
  std::string driver{};  ///< "flash (f32)": the chosen driver; empty if several calls are timed together
  double seconds = 0;    ///< clean time of one call
  double wall_seconds = 0;
  double work = 0;               ///< flops or bytes of one call
  std::string limit{};           ///< "fma", "bf16" (its dot product) or "read"
  double limit_value = 0;        ///< flops/s or bytes/s, measured together with this case
  double fraction_of_limit = 0;  ///< clean
  double wall_fraction_of_limit = 0;
  std::vector<MemoryMode> modes{};  ///< slow, then fast, if reads had two speeds; otherwise one. Only for limit "read"
  double roofline = 0;  ///< decode of many rows: share of the time that the slower of reading and multiplying needs; 0 otherwise
  double ratio_to_twin =
      0;  ///< rules: time relative to the equivalent built-in term or band; pairs, terms and row sums: relative to the plain call; 0 otherwise
  double ratio_to_forward = 0;  ///< sweeps and normalisers: time relative to the softmax forward of the same shape; 0 otherwise
};

struct AttentionBench {
  std::string isa{};
  int threads = 0;
  double fma_flops = 0;   ///< largest seen, all threads
  double read_bytes = 0;  ///< median seen, all threads
  std::vector<AttentionCase> cases{};
};

/// Runs the cases. Throws kUnsupported if the instruction set cannot run here, kNotFound if no case has such a name.
AttentionBench run_attention(const AttentionOptions& options = {});

/// {"isa", "threads", "limits": {"fma_flops", "read_bytes"}, "cases": [{"name", "seconds", "work", "limit", "fraction_of_limit", …}]}
std::string to_json(const AttentionBench& bench);
/// Human-readable, one line per case.
std::string to_text(const AttentionBench& bench);

}  // namespace clearhead::bench
