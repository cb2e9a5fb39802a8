// Error codes as text, spelled like their identifiers.
#include "clearhead/error.h"

namespace clearhead {

const char* to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "kInvalidArgument";
    case ErrorCode::kShape: return "kShape";
    case ErrorCode::kUnsupported: return "kUnsupported";
    case ErrorCode::kFormat: return "kFormat";
    case ErrorCode::kNotFound: return "kNotFound";
    case ErrorCode::kIo: return "kIo";
    case ErrorCode::kStale: return "kStale";
    case ErrorCode::kBudget: return "kBudget";
    case ErrorCode::kTooLong: return "kTooLong";
    case ErrorCode::kCancelled: return "kCancelled";
  }
  return "kInvalidArgument";
}

}  // namespace clearhead
