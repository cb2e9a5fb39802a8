// Cross-entropy over the classifier's logits; accuracy and F1 over the classes. A label that the training file does not have is named with its line.
#include "train/tasks/classify.h"

#include <algorithm>
#include <set>

#include "base/format.h"
#include "clearhead/error.h"
#include "metrics/classification.h"
#include "ops/ops.h"
#include "train/recipe.h"
#include "train/tasks/input_data.h"
#include "train/tasks/labelled_data.h"
#include "train/tasks/scene_data.h"

namespace clearhead {
namespace {

class Classify final : public ItemTask {
 public:
  Classify(const Recipe& recipe, const Tokenizer& tokenizer, const std::optional<NetworkFacts>& network)
      : ItemTask(recipe, tokenizer, /*per_token=*/false,
                 [&, network](const std::string& file) {
                   return network ? items_of(file, recipe, tokenizer, *network) : items_of(file, recipe, tokenizer);
                 }),
        recipe_(recipe),
        classes_(static_cast<int32_t>(recipe.task->labels.size())) {}

  Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const override {
    return ops::cross_entropy(run, result.class_logits, example.targets, {.smoothing = static_cast<float>(smoothing), .divisor = divisor});
  }
  std::vector<std::string> metric_names() const override { return {"accuracy", "macro_f1", "matthews"}; }
  std::vector<double> predictions(const RunResult& result, const Example&) const override { return largest_of_rows(result.class_logits); }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    std::vector<int32_t> predicted, expected;
    for (size_t at = 0; at < examples.size(); ++at) {
      for (const double index : predictions[at]) predicted.push_back(static_cast<int32_t>(index));
      expected.insert(expected.end(), examples[at].targets.begin(), examples[at].targets.end());
    }
    const metrics::Classification scores = metrics::classification(predicted, expected, classes_);
    return {scores.accuracy, scores.average.macro.f1, scores.matthews};
  }

  std::vector<std::pair<std::string, double>> looks(const Model& model) const override {
    if (!recipe_.task->scenes) return {};
    return {{"asked_holds_most", share_of_asked(model, recipe_)}};
  }

 private:
  static std::vector<Item> items_of(const std::string& file, const Recipe& recipe, const Tokenizer& tokenizer) {
    std::vector<Item> out;
    for (const LabelledLine& line : read_labelled(file, recipe)) {
      const Encoding encoding = encoded_within(tokenizer, line.text, line.pair, recipe.length);
      out.push_back({encoding.ids, encoding.type_ids, {recipe.task->id_of(line.label, line.where)}});
    }
    return out;
  }
  static std::vector<Item> items_of(const std::string& file, const Recipe& recipe, const Tokenizer& tokenizer,
                                    const NetworkFacts& network) {
    std::vector<Item> out;
    for (const LabelledInput& one : read_inputs(file, recipe, network.reads)) {
      const int32_t label = recipe.task->id_of(one.label, one.where);
      try {
        out.push_back({.targets = {label}, .read = read_input(network, &tokenizer, one.input)});
      } catch (const Error& error) {
        fail(error.code(), "{}: {}", one.where, error.what());
      }
    }
    return out;
  }
  const Recipe& recipe_;
  int32_t classes_;
};

}  // namespace

std::unique_ptr<Task> classify_task(const Recipe& recipe, const Tokenizer& tokenizer, const std::optional<NetworkFacts>& network) {
  return std::make_unique<Classify>(recipe, tokenizer, network);
}

std::vector<std::string> classes_of(const Recipe& recipe) {
  std::set<std::string> classes;
  if (const std::string reads = what_is_read(recipe.model); reads == "text") {
    for (const LabelledLine& line : read_labelled(recipe.task->train, recipe)) classes.insert(line.label);
  } else {
    for (const LabelledInput& one : read_inputs(recipe.task->train, recipe, reads)) classes.insert(one.label);
  }
  if (classes.size() < 2) {
    fail(ErrorCode::kInvalidArgument, "{}/{}: has {} class{}; expected two or more (\"task.label\" is {})", recipe.source.folder,
         recipe.task->train, classes.size(), classes.size() == 1 ? ", \"" + *classes.begin() + "\"" : "es", recipe.task->label);
  }
  return {classes.begin(), classes.end()};
}

}  // namespace clearhead
