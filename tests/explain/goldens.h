// Reads the files of tools/goldens/explain.py: lists of cases, with null for an undefined number. Also a model given by a table.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "explain/evaluate/faithfulness.h"
#include "tolerance.h"

namespace clearhead::explain {

/// Calls body(case) for each case of tests/goldens/explain/NAME.json.
inline void for_each_case(const std::string& name, const std::function<void(const Json&)>& body) {
  const std::string path = std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/explain/" + name + ".json";
  const Json cases = Json::parse(read_file(path), path);
  ASSERT_GT(cases.size(), 2U);
  for (const Json& one : cases.items()) {
    SCOPED_TRACE(one.dump().substr(0, 400));
    body(one);
    if (::testing::Test::HasFailure()) return;
  }
}

inline const Json& field(const Json& object, const std::string& name) { return *object.find(name); }
inline double number(const Json& object, const std::string& name) { return field(object, name).number(); }

inline std::vector<double> numbers(const Json& list) {
  std::vector<double> out;
  for (const Json& item : list.items()) out.push_back(item.number());
  return out;
}

inline void expect_number(double found, const Json& expected) {
  if (expected.is_null()) {
    EXPECT_TRUE(std::isnan(found)) << found;
  } else {
    EXPECT_NEAR(found, expected.number(), tolerance::kDoubleSum);
  }
}

inline void expect_numbers(const std::vector<double>& found, const Json& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    SCOPED_TRACE(i);
    expect_number(found[i], expected.items()[i]);
  }
}

/// One flag per item: 1 for the removed items of the list.
inline Removal removal_of(const Json& removed, size_t items) {
  Removal out(items, 0);
  for (const Json& item : removed.items()) out[static_cast<size_t>(item.integer())] = 1;
  return out;
}

/// A model whose answers to all subsets of items are known: y = table[Σ removed_i · 2^i].
inline Answers answers_of(std::vector<double> table) {
  return [table = std::move(table)](const std::vector<Removal>& removed) {
    std::vector<double> y;
    for (const Removal& set : removed) {
      size_t index = 0;
      for (size_t i = 0; i < set.size(); ++i) index += static_cast<size_t>(set[i]) << i;
      y.push_back(table.at(index));
    }
    return y;
  };
}

}  // namespace clearhead::explain
