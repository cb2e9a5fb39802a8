// Implemented in src/base.
// The library's only exception, and the complete list of error codes.
//
// A message is one line. It says what is wrong, where (file, tensor, field), what was expected, and what to do about
// it. The library never prints, exits or aborts. Commands print an Error as one line on stderr and exit with code 1.
#pragma once

#include <stdexcept>
#include <string>

namespace clearhead {

enum class ErrorCode {
  kInvalidArgument,  ///< a value outside its documented range
  kShape,            ///< tensor shapes or dtypes that do not fit together
  kUnsupported,      ///< a valid request that this build or backend cannot run; it is never approximated silently
  kFormat,           ///< malformed bytes in a file or message
  kNotFound,         ///< a model, file, tensor or name that does not exist
  kIo,               ///< the operating system refused a read or a write
  kStale,            ///< an operand changed after a record of it was made
  kBudget,           ///< more memory or computation needed than the caller, this library or this machine allows
  kTooLong,          ///< a text with more tokens than the model has positions
  kCancelled,        ///< the caller's cancel token was set
};

/// Name of the code, as in documentation and JSON, e.g. "kShape".
const char* to_string(ErrorCode code);

/// The library's only exception. Thread-safe to copy. what() is one line of UTF-8.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace clearhead
