// Declarations that the files of clearhead judge share: options, and questions read from a file and put to a model.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/input.h"
#include "explain/evaluate/sanity.h"
#include "explain/evaluate/verdict.h"

namespace clearhead::cli {

struct JudgeOptions {
  std::string model, items = "word", removal = "both", svg, html;
  TextArguments text;
  std::vector<std::string> by, others;
  int64_t steps = 16, sets = 40, limit = 0, column = 0, layer = -1;
  double tolerance = 0.01;
  uint64_t seed = 1;
  bool json = false, sanity = false, moved = false;
};

struct JudgeQuestion {
  std::string text{}, pair{}, where{};
  explain::TargetSpec asked{};
  std::vector<std::array<int64_t, 2>> marks{};
};

/// Reads one text per line, or JSON lines. Throws kFormat that names file and line.
std::vector<JudgeQuestion> judge_questions(const JudgeOptions& options);
/// The target of a question, with its items set; null if the question asks about a word that the model does not generate.
std::unique_ptr<explain::AttributionTarget> judge_target_or_none(const std::shared_ptr<const Model>& model, const JudgeQuestion& question,
                                                                 const std::string& items);
/// One flag per item: 1 if it is marked (a human annotation). Empty if the question has no marks.
std::vector<uint8_t> judge_marks(const Model& model, const explain::AttributionTarget& target, const JudgeQuestion& question);

/// A number with three decimals; "–" if it is not finite.
std::string judge_number(double value, bool with_sign = false);
Json judge_interval(const metrics::Interval& interval);

/// --sanity, --with and --moved: whether rankings and maps depend on the model (judge_checks.cc).
void judge_sanity(const JudgeOptions& options, const explain::VerdictOptions& settings, const std::vector<JudgeQuestion>& questions);
void judge_others(const JudgeOptions& options, const explain::VerdictOptions& settings, const std::vector<JudgeQuestion>& questions);
void judge_moved_maps(const JudgeOptions& options, const std::vector<JudgeQuestion>& questions);

}  // namespace clearhead::cli
