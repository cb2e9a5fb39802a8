// Lists of usual column names.
#include "tasks/data/table_header.h"

#include <algorithm>
#include <iterator>

#include "base/format.h"
#include "base/json.h"
#include "clearhead/error.h"
#include "text/strings.h"

namespace clearhead::tasks {
namespace {

constexpr std::string_view kTexts[] = {
    "text",    "texts",       "sentence", "sentences", "sentence1",  "sentence2", "sentence_1", "sentence_2", "review",    "document",
    "content", "title",       "question", "premise",   "hypothesis", "tweet",     "comment",    "message",    "utterance", "query",
    "body",    "description", "passage",  "headline",  "summary",    "abstract",  "article",    "word",       "token"};
constexpr std::string_view kLabels[] = {"label", "labels",     "class",     "classes",  "category",    "categories", "target",
                                        "tag",   "tags",       "sentiment", "polarity", "score",       "rating",     "gold",
                                        "y",     "gold_label", "intent",    "topic",    "is_duplicate"};
constexpr std::string_view kPairs[][2] = {{"source", "target"},    {"src", "tgt"},         {"src", "trg"},
                                          {"input", "output"},     {"input", "target"},    {"text", "summary"},
                                          {"document", "summary"}, {"article", "summary"}, {"article", "highlights"},
                                          {"question", "answer"},  {"prompt", "response"}, {"context", "response"}};
constexpr std::string_view kLanguages[] = {"en",      "fr",         "de",    "es",      "it",      "pt",       "nl",     "ru",
                                           "zh",      "ja",         "ko",    "ar",      "english", "french",   "german", "spanish",
                                           "italian", "portuguese", "dutch", "russian", "chinese", "japanese", "korean", "arabic"};

// The cell in lower case, without surrounding spaces and quotation marks and without a leading "#".
std::string bare(std::string_view cell) {
  while (!cell.empty() && (cell.front() == '"' || cell.front() == ' ' || cell.front() == '#')) cell.remove_prefix(1);
  while (!cell.empty() && (cell.back() == '"' || cell.back() == ' ')) cell.remove_suffix(1);
  return text::lower(cell);
}

template <size_t N>
bool is_among(const std::string_view (&names)[N], std::string_view cell) {
  return std::find(std::begin(names), std::end(names), bare(cell)) != std::end(names);
}

}  // namespace

bool names_text_column(std::string_view cell) { return is_among(kTexts, cell); }
bool names_label_column(std::string_view cell) { return is_among(kLabels, cell); }

bool names_pair_columns(std::string_view source, std::string_view target) {
  const std::string first = bare(source), second = bare(target);
  const auto is_pair = [&](const auto& pair) { return (first == pair[0] && second == pair[1]) || (first == pair[1] && second == pair[0]); };
  if (std::any_of(std::begin(kPairs), std::end(kPairs), is_pair)) return true;
  return first != second && is_among(kLanguages, source) && is_among(kLanguages, target);
}

bool is_column_number(std::string_view column) { return column.find_first_not_of("0123456789") == std::string_view::npos; }

size_t column_of(const std::string& column, const std::string& field, const std::string& where,
                 const std::vector<std::string_view>& first_row, const std::string& path) {
  if (is_column_number(column)) {
    if (column.size() < 7 && std::stoul(column) > 0) return std::stoul(column);
    fail(ErrorCode::kFormat, "{}: \"{}\" is {}; expected a column of the table, counted from 1, or its name in the first line", where,
         field, column);
  }
  const auto found = std::find(first_row.begin(), first_row.end(), column);
  if (found != first_row.end()) return static_cast<size_t>(found - first_row.begin()) + 1;
  std::string names;
  for (const std::string_view one : first_row) names += (names.empty() ? "" : ", ") + Json(std::string(one)).dump();
  fail(ErrorCode::kFormat, "{}, line 1: no column \"{}\" (\"{}\"); the first line names {}", path, column, field, names);
}

}  // namespace clearhead::tasks
