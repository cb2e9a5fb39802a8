// Declarations that the files of clearhead demo share: checked claims, and the models' examples.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "base/format.h"
#include "cli/cli.h"
#include "viewer/side_by_side.h"

namespace clearhead::cli {

class Clock {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// Prints each claim with the result of its check, and counts failures.
struct Checks {
  int failed = 0;
  void line(bool holds, const std::string& what) {
    print(format("  {} {}", holds ? "checked:" : "DOES NOT HOLD:", what));
    if (!holds) ++failed;
  }
};

/// The largest difference between numbers and their expected values, and the largest allowed difference.
struct Difference {
  double largest = 0, allowed = 0;
  bool holds = true;
  void join(const Difference& other) {
    largest = std::max(largest, other.largest);
    allowed = std::max(allowed, other.allowed);
    holds = holds && other.holds;
  }
};

/// Runs every model of the folder that has an example.json (models/example.h) on that example, in alphabetical order, and prints
/// the results. Throws what reading an example throws, and kFormat if its "state" names a layer or head that the trace lacks.
std::vector<viewer::ShownTrace> show_examples(const std::string& folder, Checks& checks);

}  // namespace clearhead::cli
