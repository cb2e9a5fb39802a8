// The header of a safetensors file, checked. Internal to the room.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"

namespace clearhead::safetensors {

inline constexpr uint64_t kLargestHeader = 100'000'000;  // the format's own bound
inline constexpr size_t kMostAxes = 64;                  // as numpy; a shape of a million ones is not data

struct Header {
  std::map<std::string, std::string> metadata;
  std::vector<TensorEntry> entries;  // in the order of their bytes; begin and end count from the file's first byte
};

/// Reads and checks the header of `file`. Throws kFormat (kUnsupported for more axes than kMostAxes); `where` names the file.
Header read_header(std::string_view file, std::string_view where);

/// The format's name for a dtype, and its rank in the order tensors are written in (wider is higher).
const char* spelling(DType dtype);
int write_rank(DType dtype);

}  // namespace clearhead::safetensors
