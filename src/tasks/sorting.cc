// Sorting of digits: the tag of each digit in "5 2 9" is the digit at its position in the sorted sequence, "2 5 9".
//
// Sequences are generated from the recipe's seed; there are no files. An encoder solves the task by attention alone, so its heads can
// be interpreted.
#include <algorithm>

#include "base/format.h"
#include "tasks/data/generated_part.h"
#include "tasks/data/labelled_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

constexpr uint64_t kSequenceSeed = 0x736F7274;

struct SortRecipe {
  int64_t shortest = 2, longest = 8;
  int64_t examples = 20000;
};

const Schema<SortRecipe>& settings_schema() {
  static const Schema<SortRecipe> schema = {
      schema::integer("shortest", &SortRecipe::shortest, {1, 100}, "smallest number of digits in a sequence"),
      {{"longest", "an integer from \"shortest\" to 100", "8", "largest number of digits in a sequence"},
       [](Fields& fields, SortRecipe& to) {
         to.longest = schema::read_integer(fields, "longest", to.longest, {to.shortest, 100});
       }},
      schema::integer("examples", &SortRecipe::examples, {1, 1 << 24},
                      "number of training sequences; a tenth of this number is generated for validation, and as many for testing"),
  };
  return schema;
}

// part: one of TaskRecipe::kParts
std::vector<Item> items_of(const std::string& part, const Recipe& recipe, const Tokenizer& tokenizer, DataSummary& summary) {
  const auto& settings = recipe.task->as<SortRecipe>();
  auto [count, random] = generated_part(recipe, part, kSequenceSeed, settings.examples);
  summary.of = "sequences";
  summary.notes.push_back(format("generated; {} to {} digits", settings.shortest, settings.longest));
  std::vector<Item> out;
  for (int64_t at = 0; at < count; ++at) {
    const int64_t length =
        settings.shortest + static_cast<int64_t>(random.roll(static_cast<uint64_t>(settings.longest - settings.shortest + 1)));
    std::string digits, text;
    for (int64_t i = 0; i < length; ++i) digits += static_cast<char>('0' + random.roll(10));
    for (const char digit : digits) text += (text.empty() ? "" : " ") + std::string(1, digit);
    std::sort(digits.begin(), digits.end());
    const Encoding encoding = encoded_within(tokenizer, text, "", recipe.length);
    Item item{encoding.ids, encoding.type_ids, std::vector<int32_t>(encoding.size(), -100)};
    for (size_t token = 0; token < encoding.size(); ++token) {
      const auto last = static_cast<size_t>(encoding.offsets[token][1] - 1);  // the last byte: a digit for "5" and " 5", a space for " "
      if (!encoding.is_special(token) && last % 2 == 0) item.targets[token] = digits[last / 2] - '0';
    }
    out.push_back(std::move(item));
  }
  return out;
}

class Sort final : public TokenTask {
 public:
  Sort(const Recipe& recipe, const Tokenizer& tokenizer)
      : TokenTask(recipe, tokenizer,
                  [&](const std::string& part, DataSummary& summary) { return items_of(part, recipe, tokenizer, summary); }) {}

  std::vector<std::string> metric_names() const override { return {"sorted", "digits"}; }
  Measured measured(const std::vector<Example>& examples) const override { return {TokenTask::measured(examples).count, "digits"}; }
  // The shares of sequences and of digits that are right.
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    int64_t sequences = 0, sorted = 0, digits = 0, right = 0;
    for (size_t at = 0; at < examples.size(); ++at) {
      const Example& example = examples[at];
      for (int64_t row = 0; row < example.input.batch; ++row) {
        int64_t wrong = 0;
        for (int64_t place = row * example.input.length; place < (row + 1) * example.input.length; ++place) {
          const int32_t target = example.targets[static_cast<size_t>(place)];
          if (target < 0) continue;
          ++digits;
          wrong += predictions[at][static_cast<size_t>(place)] != target;
          right += predictions[at][static_cast<size_t>(place)] == target;
        }
        ++sequences;
        sorted += wrong == 0;
      }
    }
    return {static_cast<double>(sorted) / static_cast<double>(sequences), static_cast<double>(right) / static_cast<double>(digits)};
  }
};

}  // namespace

const TaskDefinition& sorting_task() {
  static const TaskDefinition definition = {
      .name = "sorting",
      .description = "digits in ascending order: one tag per digit, by an encoder with a token classifier; the data is generated",
      .data = DataFields::kGenerated,
      .class_suffix = "ForTokenClassification",
      .fields = [] { return settings_schema().describe(); },
      .read = [](Fields& fields, Recipe& to) { read_settings(settings_schema(), fields, to); },
      .commands = {{"tag", "\"5 2 9\""}},
      .labels = [](const Recipe&) { return std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}; },
      .make = make_task<Sort>,
  };
  return definition;
}

}  // namespace clearhead::tasks
