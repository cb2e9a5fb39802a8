// Benchmarks models on this machine. Speeds are fractions of limits that are measured in the same run.
//
//   run/MODEL/B×L        the encoder over B sequences of L tokens: flops of its products and attention, against FMA peak
//   watched/MODEL/B×L    the same with an observer that wants nothing: the cost of observation when it is unused
//   kept/MODEL/B×L       the same with an observer that keeps every layer's record
//   prefill/MODEL/L      a causal model over L tokens, logits of the last
//   decode/MODEL/L       one token after L others: bytes of its weights and keys, against read bandwidth
//   load/MODEL           from files in the page cache to a model that can run
//   …/bf16               the same for a model in bf16, against the peak of the bf16 instruction, or its bytes
//
// A burst of FMAs (or a plain read of other memory) precedes every repetition. Compute: best time against the best burst. Bandwidth: the
// median over pairs, because the memory of shared machines changes speed by a factor of two within seconds.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace clearhead::bench {

struct ModelOptions {
  std::vector<std::string> filters{};  ///< cases whose name contains any of these; empty: all
  std::string minilm{};                ///< folder of the real MiniLM; empty: random weights of its shape
  std::string models{};                ///< where random models are written and reused; empty: a temporary folder, removed at the end
  double seconds_per_case = 2.0;
  std::function<void(double)> progress{};  ///< share of the cases that are finished
};

struct ModelCase {
  std::string name{};
  double seconds = 0;   ///< best time of one call (decode: median)
  double work = 0;      ///< flops or bytes of one call
  std::string limit{};  ///< "fma", "read", or empty
  double fraction_of_limit = 0;
  double tokens_per_second = 0;
};

struct ModelBench {
  std::string isa{};
  int threads = 0;
  double fma_flops = 0, read_bytes = 0;
  std::vector<ModelCase> cases{};
};

/// Throws kNotFound if no case has such a name, and whatever loading throws.
ModelBench run_model(const ModelOptions& options = {});

/// {"isa", "threads", "limits": {"fma_flops", "read_bytes"}, "cases": [{"name", "seconds", "work", "limit", "fraction_of_limit",
/// "tokens_per_second"}]}
std::string to_json(const ModelBench& bench);
/// Human-readable, one line per case.
std::string to_text(const ModelBench& bench);

}  // namespace clearhead::bench
