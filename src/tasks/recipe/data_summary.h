// A summary of the data that a run reads, printed before training begins.
//
//   training: 1,000 texts of train.tsv; tokens: 3 to 128, median 21
//     classes: neg 480, pos 520
//     texts truncated to 128 tokens ("length"): 12
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace clearhead::tasks {

struct DataSummary {
  std::string part{};   // "training" or "validation"
  std::string files{};  // "a.tsv, b.tsv"
  int64_t count = 0;    // number of examples
  const char* of = "texts";
  std::map<std::string, int64_t> classes{};  // number of examples by label; empty if examples have no labels
  struct Lengths {
    std::string of{};  // "tokens"
    int64_t shortest = 0, median = 0, longest = 0;
  };
  std::vector<Lengths> lengths{};
  std::vector<std::string> notes{};  // skipped and truncated examples, and suspicious data

  void add_lengths(const std::string& of_what, std::vector<int64_t> values);
  /// Adds "{what}: {count}" unless count is 0.
  void note(const std::string& what, int64_t count);
  /// Adds notes of class names that look like two spellings of one class.
  void note_suspicious_classes();
  /// The lines shown above.
  std::vector<std::string> lines() const;
};

std::string joined_names(const std::vector<std::string>& names);

}  // namespace clearhead::tasks
