// What the parts of clearhead judge share: its options, the questions of a file, a question as it is put to a model.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/input.h"
#include "judge/sanity.h"
#include "judge/verdict.h"

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
  judge::Asked asked{};
  std::vector<std::array<int64_t, 2>> marks{};
};

/// A text a line, or JSON lines. Throws kFormat with file and line.
std::vector<JudgeQuestion> judge_questions(const JudgeOptions& options);
/// The subject with its items chosen; none of a question that asks for what the model does not write.
std::unique_ptr<judge::Subject> judge_subject_or_none(const std::shared_ptr<const Model>& model, const JudgeQuestion& question,
                                                      const std::string& items);
/// The items that people marked, a flag each; empty without marks.
std::vector<uint8_t> judge_marks(const Model& model, const judge::Subject& subject, const JudgeQuestion& question);

/// "–" for what is not defined.
std::string judge_number(double value, bool with_sign = false);
Json judge_interval(const metrics::Interval& interval);

/// --sanity, --with and --moved: what a method or a map depends on (judge_checks.cc).
void judge_sanity(const JudgeOptions& options, const judge::VerdictOptions& settings, const std::vector<JudgeQuestion>& questions);
void judge_others(const JudgeOptions& options, const judge::VerdictOptions& settings, const std::vector<JudgeQuestion>& questions);
void judge_moved_maps(const JudgeOptions& options, const std::vector<JudgeQuestion>& questions);

}  // namespace clearhead::cli
