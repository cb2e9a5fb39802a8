// Code shared by all fuzz targets: input in a separate allocation, and the only exception that a parser may throw.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/utf8.h"
#include "clearhead/error.h"

namespace clearhead {

/// Traps if the condition is false, so that libFuzzer keeps the input.
inline void must(bool holds) {
  if (!holds) __builtin_trap();
}

/// Runs `parse`. It may throw an Error whose message is one line of valid UTF-8. Any other exception ends the run as a finding.
template <class Parse>
void allow_errors(const Parse& parse) {
  try {
    parse();
  } catch (const Error& error) {
    const std::string_view line = error.what();
    must(!line.empty() && line.find('\n') == std::string_view::npos && valid_utf8_prefix(line) == line.size());
  }
}

/// Copies the input to an address that is a multiple of 64. The allocation ends with the data, so that reading past it is detected.
inline std::shared_ptr<const char> own(const uint8_t* data, size_t size) {
  void* memory = nullptr;
  must(::posix_memalign(&memory, 64, size) == 0);
  if (size > 0) std::memcpy(memory, data, size);
  return {static_cast<const char*>(memory), [](const char* held) { std::free(const_cast<char*>(held)); }};
}

}  // namespace clearhead
