// Question answering on bAbI's stories. Loss: cross-entropy over the answers. Metrics: accuracy by file, and how often a hop of
// the memory network attends most to a supporting statement.
//
//   mean_accuracy      the mean of the files' accuracies
//   solved             share of files with at most 5 % wrong answers (Weston et al. 2015)
//   supporting_facts   share of the solved files' questions for which at least one hop attends most to a supporting statement;
//                      questions without supporting statements are not counted
//
// A question whose answer does not occur in the training data counts as wrong, and `--test` names the answer.
#include "tasks/babi.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/format.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "models/input_kind.h"
#include "ops/ops.h"
#include "tasks/data/input_data.h"
#include "tasks/data/labelled_data.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

constexpr double kSolved = 0.95;

// Removes a number from the front of `text` and returns it; −1 if there is none.
int32_t number_of(std::string_view& text) {
  int32_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return -1;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(' ');
  return begin == std::string_view::npos ? "" : text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
}

// The statements read so far of the current story, and their line numbers.
struct Story {
  std::vector<std::string> statements{};
  std::map<int32_t, int32_t> places{};  // line number → index in `statements`
  int32_t last = 0;
};

class Reader {
 public:
  Reader(std::string path, int32_t file, std::vector<StoryQuestion>& to) : path_(std::move(path)), file_(file), to_(to) {}

  void take(std::string_view line, int64_t at) {
    if (trimmed(line).empty()) return;
    begin_ = line;
    std::string_view rest = line;
    const int32_t number = number_of(rest);
    if (number < 1 || !rest.starts_with(' ')) wrong(at, rest, "a line number and a space, as in \"1 Mary moved to the bathroom.\"");
    if (number == 1) story_ = {};
    if (number != story_.last + 1)
      wrong(at, line, format("the line number {} (or 1 to start a new story) after {}, found {}", story_.last + 1, story_.last, number));
    story_.last = number;
    if (const std::vector<std::string_view> cells = cells_of(rest); cells.size() > 1) return add_question(cells, at);
    if (trimmed(rest).empty()) wrong(at, rest, "a statement after the number");
    story_.places[number] = static_cast<int32_t>(story_.statements.size());
    story_.statements.emplace_back(trimmed(rest));
  }

 private:
  void add_question(const std::vector<std::string_view>& cells, int64_t at) {
    StoryQuestion out{.file = file_};
    out.asked.where = format("{}, line {}", path_, at);
    out.asked.label = trimmed(cells[1]);
    out.asked.input = {.texts = story_.statements, .question = std::string(trimmed(cells[0]))};
    if (out.asked.label.empty()) wrong(at, cells[1], "the answer after the question");
    if (out.asked.input.question.empty()) wrong(at, cells[0], "a question before the answer");
    if (story_.statements.empty()) wrong(at, cells[0], "a statement before the story's first question");
    for (std::string_view rest = cells.size() > 2 ? trimmed(cells[2]) : ""; !rest.empty(); rest = trimmed(rest)) {
      const std::string_view from = rest;
      const auto found = story_.places.find(number_of(rest));
      if (found == story_.places.end()) wrong(at, from, "the numbers of statements above that support the answer");
      out.supports.push_back(found->second);
    }
    to_.push_back(std::move(out));
  }

  [[noreturn]] void wrong(int64_t line, std::string_view at, const std::string& expected) const {
    fail(ErrorCode::kFormat, "{}, line {}, column {}: expected {}", path_, line, at.data() - begin_.data() + 1, expected);
  }

  std::string path_;
  int32_t file_;
  std::vector<StoryQuestion>& to_;
  Story story_{};
  std::string_view begin_{};  // the beginning of the current line
};

// The name of a test file in results: "qa3" for qa3_test.txt.
std::string short_name(const std::string& file) { return file.substr(0, file.find_first_of("_.")); }

class Stories final : public ItemTask {
 public:
  Stories(const Recipe& recipe, const Tokenizer& tokenizer, const NetworkFacts& network)
      : ItemTask(recipe, tokenizer, /*per_token=*/false,
                 [&, network](const std::string& files, DataSummary& summary) {
                   std::vector<Item> items = items_of(files, recipe, tokenizer, network);
                   summary.of = "questions";
                   note_unread(items, network, summary);
                   summary.note("questions whose answer does not occur in the training data, counted as wrong",
                                std::count_if(items.begin(), items.end(), [](const Item& item) { return item.targets[0] == -100; }));
                   return items;
                 }),
        recipe_(recipe) {}

  Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const override {
    return ops::cross_entropy(run, result.class_logits, example.targets, {.smoothing = static_cast<float>(smoothing), .divisor = divisor});
  }
  std::vector<std::string> metric_names() const override { return {"mean_accuracy", "solved", "supporting_facts"}; }

  bool reads_maps() const override { return true; }
  // For each question: the id of the predicted answer, and 1 if at least one hop attends most to a supporting statement, else 0.
  std::vector<double> predictions(const RunResult& result, const Maps& maps, const Example& example) const override {
    std::vector<double> out;
    const std::vector<double> answers = largest_of_rows(result.class_logits);
    for (size_t at = 0; at < answers.size(); ++at) {
      out.push_back(answers[at]);
      out.push_back(std::any_of(maps.all().begin(), maps.all().end(), [&](const Maps::Kept& hop) {
        const std::vector<Weighted> strongest = hop.map.head(static_cast<int64_t>(at), 0).row(0).top_k(1);
        const std::vector<int32_t>& about = example.about[at];
        return !strongest.empty() && std::find(about.begin() + 1, about.end(), strongest[0].key) != about.end();
      }));
    }
    return out;
  }

  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    double accuracy = 0, solved = 0, asked = 0, seen = 0;
    const std::map<int32_t, Count> counts = counts_of(examples, predictions);
    for (const auto& [file, count] : counts) {
      accuracy += count.accuracy();
      if (count.accuracy() < kSolved) continue;
      solved += 1;
      asked += count.supported;
      seen += count.seen;
    }
    const auto files = static_cast<double>(std::max<size_t>(1, counts.size()));
    return {accuracy / files, solved / files, asked > 0 ? seen / asked : 0};
  }

  // The accuracy by file; then the answers that do not occur in the training data.
  std::vector<std::pair<std::string, double>> test_details(const std::vector<Example>& examples,
                                                           const std::vector<std::vector<double>>& predictions) const override {
    std::vector<std::pair<std::string, double>> out;
    const std::vector<std::string> files = expanded(recipe_.task->test, recipe_.where);
    for (const auto& [file, count] : counts_of(examples, predictions))
      out.emplace_back(short_name(files[static_cast<size_t>(file)]), count.accuracy());
    for (const StoryQuestion& one : read_stories(recipe_.task->test, recipe_)) {
      if (!knows(recipe_, one.asked.label))
        out.emplace_back(format("{}: the training data does not contain the answer \"{}\"", one.asked.where, one.asked.label), 0);
    }
    return out;
  }

 private:
  struct Count {
    double asked = 0, right = 0;
    double supported = 0, seen = 0;  // questions with supporting statements; those where a hop attends most to one of them
    double accuracy() const { return right / asked; }
  };

  static std::map<int32_t, Count> counts_of(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) {
    std::map<int32_t, Count> counts;
    for (size_t at = 0; at < examples.size(); ++at) {
      for (size_t item = 0; item < examples[at].targets.size(); ++item) {
        const std::vector<int32_t>& about = examples[at].about[item];
        Count& count = counts[about[0]];
        count.asked += 1;
        count.right += static_cast<int32_t>(predictions[at][2 * item]) == examples[at].targets[item] ? 1 : 0;
        if (about.size() == 1) continue;
        count.supported += 1;
        count.seen += predictions[at][2 * item + 1];
      }
    }
    return counts;
  }

  static bool knows(const Recipe& recipe, const std::string& label) {
    const std::vector<std::string>& labels = recipe.task->labels;
    return std::find(labels.begin(), labels.end(), label) != labels.end();
  }

  // Item::about: the file, then the slots of the supporting statements; negative for statements that the memory has dropped.
  static std::vector<Item> items_of(const std::string& files, const Recipe& recipe, const Tokenizer& tokenizer,
                                    const NetworkFacts& network) {
    std::vector<Item> out;
    const bool trains = files == recipe.task->train;
    for (const StoryQuestion& one : read_stories(files, recipe)) {
      Item item{.read = encode_input(network, &tokenizer, one.asked.input), .labels = {one.asked.label}};
      item.targets = {trains || knows(recipe, one.asked.label) ? recipe.task->id_of(one.asked.label, one.asked.where) : -100};
      item.about = {one.file};
      const auto dropped = static_cast<int32_t>(one.asked.input.texts.size() - item.read->source->sequences.size());
      for (const int32_t support : one.supports) item.about.push_back(support - dropped);
      out.push_back(std::move(item));
    }
    return out;
  }

  const Recipe& recipe_;
};

}  // namespace

std::vector<std::string> expanded(const std::string& files, const std::string& where) {
  const size_t open = files.find('{'), close = files.find('}');
  if (open == std::string::npos && close == std::string::npos) return {files};
  std::string_view range = std::string_view(files).substr(open == std::string::npos ? files.size() : open + 1);
  const int32_t first = number_of(range);
  const bool has_dots = range.starts_with("..");
  if (has_dots) range.remove_prefix(2);
  const int32_t last = number_of(range);
  if (first < 0 || !has_dots || last < first || last - first >= 10000 || !range.starts_with('}'))
    fail(ErrorCode::kFormat, "{}: \"{}\": expected one range of numbers in braces, as in \"qa{{1..20}}_train.txt\"", where, files);
  std::vector<std::string> out;
  for (int32_t number = first; number <= last; ++number)
    out.push_back(files.substr(0, open) + std::to_string(number) + files.substr(close + 1));
  return out;
}

std::vector<StoryQuestion> read_stories(const std::string& files, const Recipe& recipe) {
  std::vector<StoryQuestion> out;
  int32_t number = 0;
  for (const std::string& file : expanded(files, recipe.where)) {
    const SourceText opened = open_text(recipe.source, file);
    Reader reader(opened.path(), number++, out);
    for_each_line(opened.text, [&](std::string_view line, int64_t at) { reader.take(line, at); });
  }
  return out;
}

const TaskDefinition& babi_task() {
  static const TaskDefinition definition = {
      .name = "babi",
      .description = "an answer for each question about a story, by a memory network",
      .reads = {"story"},
      .class_suffix = "ForSequenceClassification",
      .can_hold_out = false,  // a random split would put questions about one story in both parts
      .commands = {{"classify"}},
      .labels = [](const Recipe& recipe) { return class_names(recipe, 2); },
      .vocabulary_texts = training_texts,
      .make = make_task<Stories>,
  };
  return definition;
}

}  // namespace clearhead::tasks
