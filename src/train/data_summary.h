// What a run reads, in counts: shown before training begins.
//
//   training: 1,000 texts of train.tsv; tokens: 3 to 128, median 21
//     classes: neg 480, pos 520
//     texts cut to 128 tokens ("length"): 12
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace clearhead {

struct DataSummary {
  std::string part{};   // "training" or "validation"
  std::string files{};  // "a.tsv, b.tsv"
  int64_t count = 0;    // examples that are read
  const char* of = "texts";
  std::map<std::string, int64_t> classes{};  // examples by label; empty: they have none
  struct Lengths {
    std::string of{};  // "tokens"
    int64_t shortest = 0, median = 0, longest = 0;
  };
  std::vector<Lengths> lengths{};
  std::vector<std::string> notes{};  // what was left out or cut, and what looks wrong

  void add_lengths(const std::string& of_what, std::vector<int64_t> values);
  /// Adds "{what}: {count}" unless count is 0.
  void note(const std::string& what, int64_t count);
  /// Notes of classes that look like one class written in two ways.
  void note_suspicious_classes();
  /// The lines shown above.
  std::vector<std::string> lines() const;
};

std::string joined_names(const std::vector<std::string>& names);

}  // namespace clearhead
