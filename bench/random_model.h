// Creates a model of any family with random weights, for benchmarks. A config.json determines the name and shape of every tensor.
#pragma once

#include <cstdint>
#include <string>

namespace clearhead::bench {

/// Writes config.json and model.safetensors (f32, normal-like with standard deviation 0.02, norms 1) into `directory`, which is created.
/// Throws kFormat or kUnsupported for a configuration that no family reads, kIo as files do.
void write_random_model(const std::string& directory, const std::string& config_json, uint64_t seed);

}  // namespace clearhead::bench
