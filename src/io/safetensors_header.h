// Reads and checks the header of a safetensors file. Internal to src/io.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"

namespace clearhead::io::safetensors {

inline constexpr uint64_t kLargestHeader = 100'000'000;  // the format's own limit
inline constexpr size_t kMostAxes = 64;                  // numpy's limit

struct Header {
  std::map<std::string, std::string> metadata;
  std::vector<TensorEntry> entries;  // in the order of their bytes; begin and end count from the start of the file
};

/// Reads and checks the header of `file`; `where` names it in error messages. Throws kFormat, or kUnsupported for more
/// than kMostAxes axes.
Header read_header(std::string_view file, std::string_view where);

/// The format's name of a dtype, and its rank in the writing order (wider is higher).
const char* spelling(DType dtype);
int write_rank(DType dtype);

}  // namespace clearhead::io::safetensors
