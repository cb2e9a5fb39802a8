// Extractive summaries of one sentence, selected by a network whose answer is its attention over the document's sentences.
//
//   JSON lines: "text" names the field with the document's sentences, "label" the field with its summaries, one or more
//   R_i      the mean of the ROUGE-1 F1 and the ROUGE-L F1 of sentence i, each against the best-matching summary (as SciTLDR is
//            measured: Cachola et al. 2020, §4)
//   loss     Σ_i α_i (1 − R_i): the expected loss of a sentence that is drawn with the attention weights α
//   metrics  ROUGE-1 and ROUGE-L of the sentence with the largest weight
//
// The ROUGE scores of all sentences are computed when the file is read, and looked up by the document's number.
#include <algorithm>

#include "base/format.h"
#include "clearhead/error.h"
#include "metrics/rouge.h"
#include "models/input_kind.h"
#include "models/input_text.h"
#include "ops/ops.h"
#include "tasks/data/json_lines.h"
#include "tasks/data/labelled_data.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

struct Summarised {
  ModelInput document{};
  std::vector<std::string> summaries{};
  std::string where{};  // "train.jsonl, line 3"
};

std::vector<Summarised> read_summaries(const std::string& file, const Recipe& recipe) {
  if (!is_json_lines(file))
    fail(ErrorCode::kFormat, "{}: \"task\": expected files of JSON lines (*.jsonl), found \"{}\"", recipe.where, file);
  std::vector<Summarised> out;
  const SourceText opened = open_text(recipe.source, file);
  for_each_json_object(opened.text, opened.path(), {}, [&](const Json& object, const std::string& where) {
    Fields fields(object, where);
    out.push_back({{.texts = fields.strings(recipe.task->data.text)}, fields.strings(recipe.task->data.label), where});
    if (out.back().summaries.empty()) fields.wrong(recipe.task->data.label.c_str(), "one summary or more", Json::array());
  });
  return out;
}

// The F1 of ROUGE-1 and of ROUGE-L.
struct Worth {
  double rouge1 = 0, rouge_l = 0;
  double mean() const { return (rouge1 + rouge_l) / 2; }
};
using Worths = std::vector<Worth>;  // [sentence]

class Summaries final : public ItemTask {
 public:
  Summaries(const Recipe& recipe, const Tokenizer& tokenizer, const NetworkFacts& network)
      : ItemTask(recipe, tokenizer, /*per_token=*/false,
                 [this, &recipe, &tokenizer, network](const std::string& file, DataSummary& summary) {
                   summary.of = "documents";
                   std::vector<Item> items = items_of(file, recipe, tokenizer, network);
                   note_unread(items, network, summary);
                   return items;
                 }) {}

  Tensor loss(Run& run, const RunResult& result, const Example& example, double /*smoothing*/, double divisor) const override {
    const int64_t documents = result.class_logits.size(0), sentences = result.class_logits.size(1);
    Tensor lost = Tensor::zeros({documents, sentences});
    float* to = lost.mutable_data<float>();
    for (const int64_t number : example.numbers) {
      const Worths& worths = worths_[static_cast<size_t>(number)];
      std::transform(worths.begin(), worths.end(), to, [&](const Worth& one) { return static_cast<float>((1 - one.mean()) / divisor); });
      to += sentences;
    }
    Tensor each = run.result(lost.shape()), sum = run.result({1});
    ops::multiply(run, result.class_logits, lost, each);
    ops::reduce(run, ops::Reduction::kSum, each.reshape({1, lost.numel()}), 1, sum);
    return sum;
  }
  std::vector<std::string> metric_names() const override { return {"rouge1", "rougeL"}; }
  std::vector<double> predictions(const RunResult& result, const Example&) const override { return largest_of_rows(result.class_logits); }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    Worth sum;
    double count = 0;
    for (size_t at = 0; at < examples.size(); ++at) {
      for (size_t item = 0; item < predictions[at].size(); ++item, ++count) {
        const Worths& worths = worths_[static_cast<size_t>(examples[at].numbers[item])];
        const Worth& chosen = worths[static_cast<size_t>(predictions[at][item])];
        sum.rouge1 += chosen.rouge1;
        sum.rouge_l += chosen.rouge_l;
      }
    }
    return {sum.rouge1 / count, sum.rouge_l / count};
  }
  Measured measured(const std::vector<Example>& examples) const override {
    return {.count = Task::measured(examples).count, .of = "documents"};
  }

 private:
  // Item::targets: the sentence with the best score.
  std::vector<Item> items_of(const std::string& file, const Recipe& recipe, const Tokenizer& tokenizer, const NetworkFacts& network) const {
    std::vector<Item> out;
    for (Summarised& one : read_summaries(file, recipe)) {
      std::erase_if(one.document.texts, [&](const std::string& sentence) { return tokenizer.encode(sentence).ids.empty(); });
      if (one.document.texts.empty()) fail(ErrorCode::kFormat, "{}: the document has no sentence", one.where);
      Worths& worths = worths_.emplace_back();
      for (const std::string& sentence : one.document.texts) {
        const metrics::Rouge found = metrics::best_rouge(sentence, one.summaries);
        worths.push_back({found.rouge1.f, found.rouge_l.f});
      }
      const auto best = std::max_element(worths.begin(), worths.end(), [](const Worth& a, const Worth& b) { return a.mean() < b.mean(); });
      out.push_back({.targets = {static_cast<int32_t>(best - worths.begin())},
                     .number = static_cast<int64_t>(worths_.size()) - 1,
                     .read = encode_input(network, &tokenizer, one.document)});
    }
    return out;
  }

  mutable std::vector<Worths> worths_{};  // [Item::number]
};

std::vector<std::string> summarised_texts(const Recipe& recipe) {
  std::vector<std::string> out;
  for (const Summarised& one : read_summaries(recipe.task->train, recipe))
    out.insert(out.end(), one.document.texts.begin(), one.document.texts.end());
  return out;
}

const Schema<LabelledDataRecipe>& column_schema() {
  static const Schema<LabelledDataRecipe> schema = {
      schema::required_string("text", &LabelledDataRecipe::text, "the field of JSON lines with the document's sentences"),
      schema::required_string("label", &LabelledDataRecipe::label, "the field with its summaries, one or more"),
  };
  return schema;
}

}  // namespace

const TaskDefinition& summarisation_task() {
  static const TaskDefinition definition = {
      .name = "summarisation",
      .description = "the sentence of a document that summarises it best, chosen by the attention weights of a network",
      .reads = {"document"},
      .output = "sentence",
      .fields = [] { return column_schema().describe(); },
      .read = [](Fields& fields, Recipe& to) { column_schema().read(fields, to.task->data); },
      .commands = {{"summarise"}},
      .vocabulary_texts = summarised_texts,
      .make = make_task<Summaries>,
  };
  return definition;
}

}  // namespace clearhead::tasks
