// Expects a call to throw a given error with a given message.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "clearhead/error.h"

namespace clearhead {

/// The error that a call throws, as "kFormat: message".
template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + ": " + error.what();
  }
  return "no error";
}

template <class Call>
void expect_refused(ErrorCode code, const std::string& says, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "not refused: " << says;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
  }
}

}  // namespace clearhead
