// Reads the files of tools/goldens/metrics.py: lists of cases, with null for an undefined number.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "metrics/score.h"
#include "tolerance.h"

namespace clearhead::metrics {

/// Calls body(case) for each case of tests/goldens/metrics/NAME.json.
inline void for_each_case(const std::string& name, const std::function<void(const Json&)>& body) {
  const std::string path = std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/metrics/" + name + ".json";
  const Json cases = Json::parse(read_file(path), path);
  ASSERT_GT(cases.size(), 2U);
  for (const Json& one : cases.items()) {
    SCOPED_TRACE(one.dump());
    body(one);
    if (::testing::Test::HasFailure()) return;
  }
}

inline const Json& field(const Json& object, const std::string& name) { return *object.find(name); }

template <class T>
std::vector<T> numbers(const Json& list) {
  std::vector<T> out;
  for (const Json& item : list.items()) out.push_back(static_cast<T>(item.number()));
  return out;
}

inline std::vector<std::string> strings(const Json& list) {
  std::vector<std::string> out;
  for (const Json& item : list.items()) out.push_back(item.string());
  return out;
}

inline void expect_number(double found, const Json& expected, double tolerance = tolerance::kDoubleSum) {
  if (expected.is_null()) {
    EXPECT_TRUE(std::isnan(found)) << found;
  } else {
    EXPECT_NEAR(found, expected.number(), tolerance * std::max(1.0, std::abs(expected.number())));
  }
}

inline void expect_numbers(const std::vector<double>& found, const Json& expected, double tolerance = tolerance::kDoubleSum) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    SCOPED_TRACE(i);
    expect_number(found[i], expected.items()[i], tolerance);
  }
}

/// [precision, recall, F1] or [precision, recall, F1, support].
inline void expect_score(const Score& found, const Json& expected) {
  std::vector<double> values{found.precision, found.recall, found.f1};
  if (expected.size() == 4) values.push_back(static_cast<double>(found.support));
  expect_numbers(values, expected);
}

inline void expect_averages(const Averages& found, const Json& expected) {
  expect_score(found.micro, field(expected, "micro"));
  expect_score(found.macro, field(expected, "macro"));
  expect_score(found.weighted, field(expected, "weighted"));
}

}  // namespace clearhead::metrics
