// A call that is to be refused: by which error, in which words.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "clearhead/error.h"

namespace clearhead {

/// The error a call ends in, as "kFormat: message".
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
