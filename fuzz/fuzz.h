// What every target shares: bytes at an address of their own, and the one exception a parser may leave by.
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

/// Stops the run, so that libFuzzer keeps the input, where something that must hold does not.
inline void must(bool holds) {
  if (!holds) __builtin_trap();
}

/// Runs `parse`; an Error is an answer as long as it keeps its promises. Anything else that is thrown ends the run as a find.
template <class Parse>
void allow_errors(const Parse& parse) {
  try {
    parse();
  } catch (const Error& error) {
    const std::string_view line = error.what();
    must(!line.empty() && line.find('\n') == std::string_view::npos && valid_utf8_prefix(line) == line.size());
  }
}

/// A copy that begins at a multiple of 64 and ends where its allocation does, so that reading past it is seen.
inline std::shared_ptr<const char> own(const uint8_t* data, size_t size) {
  void* memory = nullptr;
  must(::posix_memalign(&memory, 64, size) == 0);
  if (size > 0) std::memcpy(memory, data, size);
  return {static_cast<const char*>(memory), [](const char* held) { std::free(const_cast<char*>(held)); }};
}

}  // namespace clearhead
