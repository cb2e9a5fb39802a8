// Labelling of the characters of sequences, such as the secondary structure of proteins. A table's columns have a sequence and its labels:
// two texts of the same number of characters, "MKVLA" and "__HHH". Every token must lie within one
// character, as all tokens do with "tokenizer": "bytes".
#include <algorithm>
#include <set>

#include "base/format.h"
#include "base/utf8.h"
#include "clearhead/error.h"
#include "metrics/classification.h"
#include "tasks/data/labelled_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

const Schema<LabelledDataRecipe>& data_schema() {
  static const Schema<LabelledDataRecipe> schema = {
      schema::column("text", &LabelledDataRecipe::text, true,
                     "the column of sequences, in a table (*.csv with commas, others with tabs) or in JSON lines (*.jsonl)"),
      schema::column("label", &LabelledDataRecipe::label, true, "the column of labels: a text with one character for each of the sequence"),
  };
  return schema;
}

// The first byte of each character, and the end of the text.
std::vector<int64_t> boundaries_of(const std::string& text) {
  std::vector<int64_t> out;
  for (size_t at = 0; at < text.size(); ++at) {
    if (!continues_character(text[at])) out.push_back(static_cast<int64_t>(at));
  }
  out.push_back(static_cast<int64_t>(text.size()));
  return out;
}

std::vector<std::string> characters_of(const std::string& text) {
  const std::vector<int64_t> bounds = boundaries_of(text);
  std::vector<std::string> out;
  for (size_t at = 0; at + 1 < bounds.size(); ++at)
    out.push_back(text.substr(static_cast<size_t>(bounds[at]), static_cast<size_t>(bounds[at + 1] - bounds[at])));
  return out;
}

// The labels of a line's characters. Throws kFormat with the line if there are more or fewer labels than characters.
std::vector<std::string> labels_of(const LabelledLine& line) {
  std::vector<std::string> labels = characters_of(line.labels.front());
  const size_t characters = boundaries_of(line.text).size() - 1;
  if (characters == 0) fail(ErrorCode::kFormat, "{}: the sequence is empty", line.where);
  if (labels.size() != characters)
    fail(ErrorCode::kFormat, "{}: a sequence of {} characters has {} labels; expected one label for each", line.where,
         with_commas(static_cast<int64_t>(characters)), with_commas(static_cast<int64_t>(labels.size())));
  return labels;
}

class SequenceLabelling final : public TokenTask {
 public:
  SequenceLabelling(const Recipe& recipe, const Tokenizer& tokenizer)
      : TokenTask(recipe, tokenizer,
                  [&](const std::string& file, DataSummary& summary) { return items_of(file, recipe, tokenizer, summary); }),
        labels_(recipe.task->labels) {}

  std::vector<std::string> metric_names() const override { return {"accuracy", "macro_f1"}; }
  Measured measured(const std::vector<Example>& examples) const override { return {TokenTask::measured(examples).count, "characters"}; }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    const metrics::Classification scores = scores_of(examples, predictions);
    return {scores.accuracy, scores.average.macro.f1};
  }
  std::vector<std::pair<std::string, double>> test_details(const std::vector<Example>& examples,
                                                           const std::vector<std::vector<double>>& predictions) const override {
    const metrics::Classification scores = scores_of(examples, predictions);
    std::vector<std::pair<std::string, double>> out;
    for (size_t label = 0; label < labels_.size(); ++label)
      out.emplace_back(format("f1 of \"{}\"", labels_[label]), scores.classes[label].f1);
    return out;
  }

 private:
  metrics::Classification scores_of(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const {
    std::vector<int32_t> predicted, expected;
    for (size_t at = 0; at < examples.size(); ++at) {
      for (size_t place = 0; place < examples[at].targets.size(); ++place) {
        if (examples[at].targets[place] < 0) continue;
        expected.push_back(examples[at].targets[place]);
        predicted.push_back(static_cast<int32_t>(predictions[at][place]));
      }
    }
    return metrics::classification(predicted, expected, static_cast<int32_t>(labels_.size()));
  }

  static std::vector<Item> items_of(const std::string& file, const Recipe& recipe, const Tokenizer& tokenizer, DataSummary& summary) {
    std::vector<Item> out;
    LeftOut left_out;
    const std::vector<LabelledLine> lines = read_labelled(file, recipe, &left_out);
    note_left_out(left_out, summary);
    summary.of = "sequences";
    int64_t cut = 0;
    for (const LabelledLine& line : lines) {
      bool is_cut = false;
      const Encoding encoding = encoded_within(tokenizer, line.text, "", recipe.length, &is_cut);
      cut += is_cut ? 1 : 0;
      std::vector<std::string> labels = labels_of(line);
      Item item{encoding.ids, encoding.type_ids, targets_of(encoding, line, labels, *recipe.task)};
      item.labels = std::move(labels);
      out.push_back(std::move(item));
    }
    summary.note(format("sequences truncated to {} tokens (\"length\")", with_commas(recipe.length)), cut);
    return out;
  }

  // A character of several bytes may be several tokens: the first one has its label.
  static std::vector<int32_t> targets_of(const Encoding& encoding, const LabelledLine& line, const std::vector<std::string>& labels,
                                         const TaskRecipe& task) {
    const std::vector<int64_t> bounds = boundaries_of(line.text);
    std::vector<int32_t> targets(encoding.size(), -100);
    size_t next = 0;  // character
    for (size_t token = 0; token < encoding.size(); ++token) {
      if (encoding.is_special(token)) continue;
      const auto [begin, end] = encoding.offsets[token];
      const auto character = static_cast<size_t>(std::upper_bound(bounds.begin(), bounds.end(), begin) - bounds.begin()) - 1;
      if (character >= labels.size() || end > bounds[character + 1]) {
        fail(ErrorCode::kInvalidArgument,
             "{}: the tokenizer makes one token of {}; expected a token for each character, as with "
             "\"tokenizer\": \"bytes\"",
             line.where, Json(line.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin))).dump());
      }
      if (character < next) continue;
      targets[token] = task.id_of(labels[character], line.where);
      next = character + 1;
    }
    return targets;
  }

  std::vector<std::string> labels_;
};

std::vector<std::string> all_labels(const Recipe& recipe) {
  std::set<std::string> out;
  for (const LabelledLine& line : read_labelled(recipe.task->train, recipe)) {
    for (std::string& label : labels_of(line)) out.insert(std::move(label));
  }
  return {out.begin(), out.end()};
}

// Makes the trained model predict a label for every token, not one for each word from its first token (ModelInfo::tags_words).
void configure(const Recipe&, Json& model) {
  if (!model.find("task_specific_params")) model["task_specific_params"] = Json::object();
  model["task_specific_params"]["token-classification"] = Json::object({{"aggregation_strategy", "simple"}});
}

}  // namespace

const TaskDefinition& sequence_labelling_task() {
  static const TaskDefinition definition = {
      .name = "sequence-labelling",
      .description = "one label for each character of a sequence, such as a protein, by an encoder with a token classifier",
      .class_suffix = "ForTokenClassification",
      .fields = [] { return data_schema().describe(); },
      .read = [](Fields& fields, Recipe& to) { data_schema().read(fields, to.task->data); },
      .commands = {{"label"}},
      .labels = all_labels,
      .configure = configure,
      .make = make_task<SequenceLabelling>,
  };
  return definition;
}

}  // namespace clearhead::tasks
