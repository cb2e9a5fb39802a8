// Reads the questions of clearhead judge from a file, puts them to a model, and formats numbers.
#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "clearhead/error.h"
#include "cli/cli.h"
#include "cli/items.h"
#include "cli/judge.h"
#include "explain/items.h"
#include "models/input_kind.h"

namespace clearhead::cli {

using namespace explain;  // NOLINT(google-build-using-namespace)

namespace {

std::array<int64_t, 2> mark_of(const Json& mark, const std::string& where) {
  const auto is_place = [](const Json& number) { return number.is_integer() && number.integer() >= 0; };
  if (!mark.is_array() || mark.size() != 2 || !is_place(mark.items()[0]) || !is_place(mark.items()[1]))
    fail(ErrorCode::kFormat, "{}: \"marks\": expected pairs [begin, end] of whole numbers, 0 or more, found {}", where, mark.dump());
  return {mark.items()[0].integer(), mark.items()[1].integer()};
}

JudgeQuestion question_of(const Json& line, const std::string& where) {
  JudgeQuestion out{.where = where};
  Fields fields(line, where);
  for (const auto& [name, value] : line.fields()) {
    if (name == "text") {
      out.text = fields.string(name);
    } else if (name == "question" || name == "pair") {
      out.pair = fields.string(name);
    } else if (name == "target") {
      out.asked.target = fields.string(name);
    } else if (name == "contrast") {
      out.asked.contrast = fields.string(name);
    } else if (name == "marks") {
      for (const Json& mark : fields.items(name)) out.marks.push_back(mark_of(mark, where));
    } else {
      fail(ErrorCode::kUnsupported, "{}: unknown field \"{}\"; expected text, question, pair, target, contrast or marks", where, name);
    }
  }
  if (out.text.empty()) fail(ErrorCode::kFormat, "{}: \"text\" is missing or empty", where);
  return out;
}

std::string column_of(const std::string& line, int64_t column, const std::string& where) {
  size_t begin = 0;
  for (int64_t at = 1; at < column; ++at) {
    begin = line.find('\t', begin);
    if (begin == std::string::npos) fail(ErrorCode::kFormat, "{}: there is no column {}; the line has {}", where, column, at);
    ++begin;
  }
  return line.substr(begin, line.find('\t', begin) - begin);
}

std::unique_ptr<AttributionTarget> attribution_target(const std::shared_ptr<const Model>& model, const JudgeQuestion& question) {
  return make_target(model, input_of(model->info(), question.text, question.pair), question.asked);
}

}  // namespace

std::vector<JudgeQuestion> judge_questions(const JudgeOptions& options) {
  const std::string name = options.text.file.empty() ? "text" : options.text.file;
  std::vector<JudgeQuestion> out;
  int64_t number = 0;
  for (const std::string& line : lines_of(options.text.read())) {
    ++number;
    if (line.empty() || (options.limit > 0 && static_cast<int64_t>(out.size()) == options.limit)) continue;
    const std::string where = format("{}:{}", name, number);
    out.push_back(line[0] == '{'       ? question_of(Json::parse(line, where), where)
                  : options.column > 0 ? JudgeQuestion{.text = column_of(line, options.column, where), .where = where}
                                       : JudgeQuestion{.text = line, .where = where});
  }
  if (out.empty()) fail(ErrorCode::kInvalidArgument, "{}: contains no text", name);
  return out;
}

std::unique_ptr<AttributionTarget> judge_target_or_none(const std::shared_ptr<const Model>& model, const JudgeQuestion& question,
                                                        const std::string& items) {
  try {
    std::unique_ptr<AttributionTarget> target = attribution_target(model, question);
    choose_items(*target, items);
    return target;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound || question.asked.target.empty())
      throw Error(error.code(), format("{}: {}", question.where, error.what()));
  }
  return nullptr;
}

std::vector<uint8_t> judge_marks(const Model& model, const AttributionTarget& target, const JudgeQuestion& question) {
  const InputKind& kind = input_kind(model.info());
  if (question.marks.empty()) return {};
  if (kind.has_words()) return items_in_bytes(target, question.marks);
  std::vector<uint8_t> out(target.items().size());
  for (const auto& [begin, end] : question.marks) {
    if (begin < 0 || begin >= end || end > static_cast<int64_t>(out.size()))
      fail(ErrorCode::kInvalidArgument, "{}: mark [{}, {}]: expected a range within the {} items of the {}, counted from 0", question.where,
           begin, end, out.size(), kind.is_file() ? kind.file() : kind.name);
    std::fill(out.begin() + begin, out.begin() + end, uint8_t{1});
  }
  return out;
}

std::string judge_number(double value, bool with_sign) {
  return !std::isfinite(value) ? "–" : with_sign ? format("{:+.3f}", value) : format("{:.3f}", value);
}

Json judge_interval(const metrics::Interval& interval) {
  const auto value = [](double number) { return std::isfinite(number) ? Json(number) : Json(); };
  return Json::object({{"mean", value(interval.mean)}, {"low", value(interval.low)}, {"high", value(interval.high)}});
}

}  // namespace clearhead::cli
