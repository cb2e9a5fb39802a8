// Token classification, such as named-entity recognition. Reads CoNLL's format: a word, a tab (or spaces), its tag; an empty line ends
// a sentence. The first token of a word has its tag, the others are ignored (Devlin et al. 2019, section 5.3). The words of a sentence
// are joined with spaces before tokenization, so any tokenizer can be used. Scores are those of entities (metrics/tagging.h).
#include <algorithm>
#include <set>

#include "base/file.h"
#include "base/format.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "metrics/tagging.h"
#include "tasks/data/labelled_data.h"
#include "tasks/data/table_header.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

struct Sentence {
  std::vector<std::string> words{}, tags{};
  std::vector<std::string> where{};  // [word]

  std::string text() const {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
    return out;
  }
};

// A word and its tag: the first and the last of a line's columns.
void add_word(std::string_view line, const std::string& where, Sentence& to) {
  const size_t first = line.find_first_of("\t "), last = line.find_last_of("\t ");
  if (first == std::string_view::npos || first == 0 || last + 1 == line.size())
    fail(ErrorCode::kFormat, "{}: expected a word and its tag, separated by a tab or a space, found \"{}\"", where, line);
  to.words.emplace_back(line.substr(0, first));
  to.tags.emplace_back(line.substr(last + 1));
  to.where.push_back(where);
}

bool names_columns(std::string_view line) {
  const size_t first = line.find_first_of("\t "), last = line.find_last_of("\t ");
  if (first == std::string_view::npos) return false;
  const std::string_view tag = line.substr(last + 1);
  return names_text_column(line.substr(0, first)) && (names_label_column(tag) || tag == "ner" || tag == "ner_tags" || tag == "pos");
}

// A first line that names the columns is left out, and noted in the summary.
std::vector<Sentence> read_sentences(const std::string& file, const Recipe& recipe, DataSummary* summary = nullptr) {
  const SourceText opened = open_text(recipe.source, file);
  std::vector<Sentence> out(1);
  for_each_line(opened.text, [&](std::string_view line, int64_t number) {
    if (number == 1 && names_columns(line)) {
      if (summary) summary->notes.push_back(format("line 1 names the columns and was left out: {}", Json(std::string(line)).dump()));
      return;
    }
    if (line.find_first_not_of("\t ") != std::string_view::npos)
      return add_word(line, format("{}, line {}", opened.path(), number), out.back());
    if (!out.back().words.empty()) out.emplace_back();
  });
  if (out.back().words.empty()) out.pop_back();
  return out;
}

class TagTask final : public TokenTask {
 public:
  TagTask(const Recipe& recipe, const Tokenizer& tokenizer)
      : TokenTask(recipe, tokenizer,
                  [&](const std::string& file, DataSummary& summary) { return items_of(file, recipe, tokenizer, summary); }),
        tags_(recipe.task->labels) {}

  std::vector<std::string> metric_names() const override { return {"f1", "precision", "recall"}; }
  Measured measured(const std::vector<Example>& examples) const override { return {TokenTask::measured(examples).count, "words"}; }
  // Words that were removed when their sentence was truncated are not counted; the data summary states how many sentences were truncated.
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    std::vector<metrics::Tags> predicted, expected;
    for (size_t at = 0; at < examples.size(); ++at) {
      const auto length = static_cast<size_t>(examples[at].input.length);
      for (size_t place = 0; place < examples[at].targets.size(); ++place) {
        if (place % length == 0) predicted.emplace_back(), expected.emplace_back();
        const int32_t target = examples[at].targets[place];
        if (target == -100) continue;
        expected.back().push_back(tags_[static_cast<size_t>(target)]);
        predicted.back().push_back(tags_[static_cast<size_t>(predictions[at][place])]);
      }
    }
    const metrics::Tagging scores = metrics::tagging(predicted, expected);
    return {scores.average.micro.f1, scores.average.micro.precision, scores.average.micro.recall};
  }

 private:
  static std::vector<Item> items_of(const std::string& file, const Recipe& recipe, const Tokenizer& tokenizer, DataSummary& summary) {
    std::vector<Item> out;
    summary.of = "sentences";
    int64_t cut = 0;
    for (const Sentence& sentence : read_sentences(file, recipe, &summary)) {
      std::vector<int64_t> begins;
      int64_t begin = 0;
      for (const std::string& word : sentence.words) {
        begins.push_back(begin);
        begin += static_cast<int64_t>(word.size()) + 1;
      }
      bool is_cut = false;
      const Encoding encoding = encoded_within(tokenizer, sentence.text(), "", recipe.length, &is_cut);
      cut += is_cut ? 1 : 0;
      Item item{encoding.ids, encoding.type_ids, std::vector<int32_t>(encoding.size(), -100)};
      size_t next = 0;  // word
      for (size_t token = 0; token < encoding.size() && next < begins.size(); ++token) {
        if (encoding.is_special(token) || encoding.offsets[token][1] <= begins[next]) continue;
        item.targets[token] = recipe.task->id_of(sentence.tags[next], sentence.where[next]);
        while (next < begins.size() && begins[next] < encoding.offsets[token][1]) ++next;
      }
      item.labels = sentence.tags;
      out.push_back(std::move(item));
    }
    summary.note(format("sentences truncated to {} tokens (\"length\")", with_commas(recipe.length)), cut);
    return out;
  }
  std::vector<std::string> tags_;
};

std::vector<std::string> tags_of(const Recipe& recipe) {
  std::set<std::string> tags;
  for (const Sentence& sentence : read_sentences(recipe.task->train, recipe)) tags.insert(sentence.tags.begin(), sentence.tags.end());
  std::vector<std::string> out(tags.begin(), tags.end());
  std::stable_partition(out.begin(), out.end(), [](const std::string& tag) { return tag == "O"; });
  return out;
}

std::vector<std::string> training_texts(const Recipe& recipe) {
  std::vector<std::string> out;
  for (const Sentence& sentence : read_sentences(recipe.task->train, recipe)) out.push_back(sentence.text());
  return out;
}

}  // namespace

const TaskDefinition& token_classification_task() {
  static const TaskDefinition definition = {
      .name = "token-classification",
      .description = "one tag per word, by an encoder with a token classifier or a recurrent network",
      .class_suffix = "ForTokenClassification",
      .commands = {{"tag"}},
      .labels = tags_of,
      .vocabulary_texts = training_texts,
      .make = make_task<TagTask>,
  };
  return definition;
}

}  // namespace clearhead::tasks
