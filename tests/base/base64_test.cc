// Base64 in both directions, with the examples of RFC 4648, section 10.
#include "base/base64.h"

#include <gtest/gtest.h>

#include "clearhead/error.h"
#include "refused.h"

namespace clearhead {
namespace {

TEST(Base64, MatchesTheExamplesOfRfc4648) {
  const std::pair<const char*, const char*> known[] = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, letters] : known) {
    EXPECT_EQ(base64(bytes), letters);
    EXPECT_EQ(from_base64(letters, "here"), bytes);
  }
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(from_base64(base64(all), "here"), all);
}

TEST(Base64, RefusesInvalidLengthsAndLetters) {
  expect_refused(ErrorCode::kFormat, "here: 3 characters of base64; expected a multiple of 4", [] { from_base64("Zm9", "here"); });
  expect_refused(ErrorCode::kFormat, "here: the character at index 1 is not valid base64", [] { from_base64("Z*9v", "here"); });
  expect_refused(ErrorCode::kFormat, "here: the character at index 2 is not valid base64", [] { from_base64("Zg==Zm9v", "here"); });
}

}  // namespace
}  // namespace clearhead
