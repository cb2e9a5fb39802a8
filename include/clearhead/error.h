// Room: base.
// The one exception of the library, and the closed list of reasons it is thrown for.
//
// A message says what was wrong, where (file, tensor, field), what was expected, and what to do about it, in one line.
// The library never prints, exits or aborts; commands turn an Error into one line on stderr and exit code 1.
#pragma once

#include <stdexcept>
#include <string>

namespace clearhead {

enum class ErrorCode {
  kInvalidArgument,  ///< a value outside its documented range
  kShape,            ///< tensors whose shapes or dtypes do not fit each other
  kUnsupported,      ///< a well-formed request this build or backend cannot honour; never silently approximated
  kFormat,           ///< a file or message whose bytes are malformed
  kNotFound,         ///< a model, file, tensor or name that is not there
  kIo,               ///< the operating system refused a read or a write
  kStale,            ///< an operand changed after a record of it was made
  kBudget,           ///< more memory would be needed than the caller allows; nothing was started
  kTooLong,          ///< text longer than the model's positions
  kCancelled,        ///< the caller's cancel token was set
};

/// The identifier of a code as documentation and JSON spell it, e.g. "kShape".
const char* to_string(ErrorCode code);

/// The library's only exception. Thread-safe to copy. what() is a single line of UTF-8.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace clearhead
