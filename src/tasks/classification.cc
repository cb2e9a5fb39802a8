// Classification of texts, pairs of texts, documents, pictures, scenes, sounds and series: single-label, multi-label and regression,
// named as in Hugging Face's "problem_type":
//
//   single_label_classification   loss: cross-entropy, times the label's weight; metrics: accuracy, macro F1, Matthews correlation
//   multi_label_classification    loss: mean of the binary cross-entropies of the labels; metrics: micro F1,
//                                 macro F1, share of texts with all labels right
//   regression                    loss: mean squared error; metrics: Pearson's and Spearman's correlation
//
// The binary cross-entropy of a logit x is computed as the cross-entropy of two classes with the logits 0 and x. A label that does not
// occur in the training file is an error that names the line.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <tuple>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "metrics/classification.h"
#include "models/encoded_input.h"
#include "models/input_kind.h"
#include "models/input_picture.h"
#include "ops/ops.h"
#include "tasks/data/input_data.h"
#include "tasks/data/labelled_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

struct ClassifyRecipe {
  // Single label: factors on the losses of texts with these labels (default 1); or "balanced": number of texts /
  // (number of labels · number of texts with the label), so that all labels have the same total weight.
  std::vector<std::pair<std::string, double>> class_weights{};
  bool balances_classes = false;
  bool shuffles_labels = false;  // permute the labels of the training texts, to test explanations
};

using ReadsOther = std::optional<NetworkFacts>;  // set for a network from the literature; absent for a Transformer
constexpr uint64_t kNoiseSeed = 0x6E6F697365, kLabelSeed = 0x6C6162656C;
// Sets an item's targets from a line.
using Judge = std::function<void(const LabelledLine&, Item&)>;

class Texts : public ItemTask {
 protected:
  Texts(const Recipe& recipe, const Tokenizer& tokenizer, const ReadsOther& network, const Judge& judge)
      : ItemTask(recipe, tokenizer, /*per_token=*/false,
                 [&recipe, &tokenizer, network, judge](const std::string& file, DataSummary& summary) {
                   return items_of(file, {recipe, tokenizer, network, judge}, summary);
                 }),
        counted_(counted_as(recipe)),
        tokenizer_(tokenizer),
        recipe_(recipe) {
    if (network && recipe.noise.any()) {
      fail(ErrorCode::kUnsupported,
           "{}: \"noise\" applies only to texts that an encoder reads, but a model of this type reads a {}; leave it out", recipe.where,
           network->reads);
    }
  }

  ItemBatches::Renew renewal(int64_t number) const final {
    if (!recipe_.noise.any()) return {};
    return [this, seed = random_bits(random_bits(recipe_.seed, kNoiseSeed), static_cast<uint64_t>(number))](Item& item, int64_t place) {
      const Encoding noisy =
          noisy_encoding(tokenizer_, item.text, item.pair, recipe_.noise, random_bits(seed, static_cast<uint64_t>(place)));
      const Encoding encoding = within(noisy, recipe_.length);
      item.ids = encoding.ids;
      item.type_ids = encoding.type_ids;
    };
  }

  Measured measured(const std::vector<Example>& examples) const final {
    Measured out{.of = counted_};
    for (const Example& example : examples) out.count += example.input.groups.batch > 0 ? example.input.groups.batch : example.input.batch;
    return out;
  }

 private:
  struct Reader {
    const Recipe& recipe;
    const Tokenizer& tokenizer;
    const ReadsOther& network;
    const Judge& judge;
  };
  static std::vector<Item> items_of(const std::string& file, const Reader& reader, DataSummary& summary) {
    const auto& [recipe, tokenizer, network, judge] = reader;
    std::vector<Item> out;
    LeftOut left_out;
    std::vector<LabelledLine> lines = read_lines(file, recipe, &left_out);
    note_left_out(left_out, summary);
    summary.of = counted_as(recipe);
    int64_t cut = 0;
    if (recipe.task->as<ClassifyRecipe>().shuffles_labels && file == recipe.task->train) shuffle_labels(lines, recipe.seed);
    for (const LabelledLine& line : lines) {
      if (network) {
        out.push_back({.read = read_line(*network, tokenizer, line)});
      } else {
        bool is_cut = false;
        const Encoding encoding = encoded_within(tokenizer, line.text, line.pair, recipe.length, &is_cut);
        cut += is_cut ? 1 : 0;
        out.push_back({encoding.ids, encoding.type_ids});
        if (recipe.noise.any()) std::tie(out.back().text, out.back().pair) = std::tie(line.text, line.pair);
      }
      judge(line, out.back());
      if (recipe.task->data.problem != ProblemType::kRegression) out.back().labels = line.labels;
    }
    summary.note(format("texts truncated to {} tokens (\"length\")", with_commas(recipe.length)), cut);
    if (network) note_unread(out, *network, summary);
    return out;
  }
  static const char* counted_as(const Recipe& recipe) {
    const ChosenExamples& examples = recipe.task->data.examples;
    return examples ? examples.kind->counted : "texts";
  }
  // Permutes labels among the texts, so that the model can only memorise them (Adebayo et al. 2018, section 4: "data
  // randomization"). The number of texts with each label does not change.
  static void shuffle_labels(std::vector<LabelledLine>& lines, uint64_t seed) {
    std::vector<std::vector<std::string>> labels;
    for (const LabelledLine& line : lines) labels.push_back(line.labels);
    RandomSequence(random_bits(seed, kLabelSeed)).shuffle(labels);
    for (size_t at = 0; at < lines.size(); ++at) lines[at].labels = labels[at];
  }
  static EncodedInput read_line(const NetworkFacts& network, const Tokenizer& tokenizer, const LabelledLine& line) {
    try {
      return encode_input(network, &tokenizer, *line.input);
    } catch (const Error& error) {
      fail(error.code(), "{}: {}", line.where, error.what());
    }
  }
  const char* counted_;
  const Tokenizer& tokenizer_;

 protected:
  const Recipe& recipe_;
};

class OneLabel final : public Texts {
 public:
  OneLabel(const Recipe& recipe, const Tokenizer& tokenizer, const ReadsOther& network)
      : Texts(recipe, tokenizer, network,
              [&recipe](const LabelledLine& line, Item& item) { item.targets = {recipe.task->id_of(line.labels.front(), line.where)}; }),
        classes_(static_cast<int32_t>(recipe.task->labels.size())) {
    const TaskRecipe& task = *recipe.task;
    if (!task.as<ClassifyRecipe>().class_weights.empty()) weights_.assign(task.labels.size(), 1);
    for (const auto& [label, weight] : task.as<ClassifyRecipe>().class_weights)
      weights_[static_cast<size_t>(task.id_of(label, recipe.where + ": \"task.class_weights\""))] = static_cast<float>(weight);
  }

  Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const override {
    ops::CrossEntropyOptions options{.smoothing = static_cast<float>(smoothing), .divisor = divisor};
    if (const std::vector<float>& weights = class_weights(); !weights.empty()) {
      for (const int32_t target : example.targets) options.row_weights.push_back(weights[static_cast<size_t>(target)]);
    }
    return ops::cross_entropy(run, result.class_logits, example.targets, options);
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

  std::vector<std::pair<std::string, double>> attention_metrics(const Model& model) const override {
    const ChosenExamples& examples = recipe_.task->data.examples;
    if (!examples) return {};
    return examples->attention_metrics(model, recipe_);
  }

 private:
  // The factors of the classes. For "balanced", they are computed from the training file when a loss is first needed.
  const std::vector<float>& class_weights() const {
    const TaskRecipe& task = *recipe_.task;
    if (!weights_.empty() || !task.as<ClassifyRecipe>().balances_classes) return weights_;
    weights_.assign(task.labels.size(), 1);
    const std::vector<LabelledLine> lines = read_lines(task.train, recipe_);
    std::vector<int64_t> counts(task.labels.size(), 0);
    for (const LabelledLine& line : lines) ++counts[static_cast<size_t>(task.id_of(line.labels.front(), line.where))];
    for (size_t label = 0; label < counts.size(); ++label) {
      if (counts[label] > 0) weights_[label] = static_cast<float>(lines.size()) / static_cast<float>(counts[label] * classes_);
    }
    return weights_;
  }
  int32_t classes_;
  mutable std::vector<float> weights_{};  // [class]; empty: ones
};

class ManyLabels final : public Texts {
 public:
  ManyLabels(const Recipe& recipe, const Tokenizer& tokenizer, const ReadsOther& network)
      : Texts(recipe, tokenizer, network,
              [&recipe](const LabelledLine& line, Item& item) {
                item.targets.assign(recipe.task->labels.size(), 0);
                for (const std::string& label : line.labels) item.targets[static_cast<size_t>(recipe.task->id_of(label, line.where))] = 1;
              }),
        labels_(recipe.task->labels.size()) {}

  Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const override {
    const int64_t count = result.class_logits.numel();
    Tensor pairs = run.result({count, 2});
    ops::concat(run, {Tensor::zeros({count, 1}), result.class_logits.reshape({count, 1})}, 1, pairs);
    return ops::cross_entropy(run, pairs, example.targets, {.smoothing = static_cast<float>(smoothing), .divisor = divisor});
  }
  std::vector<std::string> metric_names() const override { return {"micro_f1", "macro_f1", "accuracy"}; }
  std::vector<double> predictions(const RunResult& result, const Example&) const override {
    const float* logits = result.class_logits.data<float>();
    std::vector<double> out;
    for (int64_t at = 0; at < result.class_logits.numel(); ++at) out.push_back(logits[at] > 0 ? 1 : 0);
    return out;
  }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    std::vector<uint8_t> predicted, expected;
    for (size_t at = 0; at < examples.size(); ++at) {
      for (const double one : predictions[at]) predicted.push_back(one > 0);
      for (const int32_t one : examples[at].targets) expected.push_back(one > 0);
    }
    const metrics::MultiLabel scores = metrics::multi_label(predicted, expected, labels_);
    return {scores.average.micro.f1, scores.average.macro.f1, scores.accuracy};
  }

 private:
  size_t labels_;
};

class Regression final : public Texts {
 public:
  Regression(const Recipe& recipe, const Tokenizer& tokenizer, const ReadsOther& network)
      : Texts(recipe, tokenizer, network, [](const LabelledLine& line, Item& item) { item.values = {value_of(line)}; }) {}

  Tensor loss(Run& run, const RunResult& result, const Example& example, double /*smoothing*/, double divisor) const override {
    const auto count = static_cast<int64_t>(example.values.size());
    Tensor difference = run.result({count}), squares = run.result({count}), sum = run.result({1}), loss = run.result({1});
    std::transform(example.values.begin(), example.values.end(), difference.mutable_data<float>(), [](float value) { return -value; });
    ops::add(run, result.class_logits.reshape({count}), difference);
    ops::multiply(run, difference, difference, squares);
    ops::reduce(run, ops::Reduction::kSum, squares.reshape({1, count}), 1, sum);
    ops::multiply(run, sum, Tensor::from(std::vector<float>{static_cast<float>(1 / divisor)}, {1}), loss);
    return loss;
  }
  std::vector<std::string> metric_names() const override { return {"pearson", "spearman"}; }
  std::vector<double> predictions(const RunResult& result, const Example&) const override {
    const float* values = result.class_logits.data<float>();
    return {values, values + result.class_logits.numel()};
  }
  // A correlation that is undefined, because all numbers are equal, counts as 0.
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    std::vector<double> predicted, expected;
    for (size_t at = 0; at < examples.size(); ++at) {
      predicted.insert(predicted.end(), predictions[at].begin(), predictions[at].end());
      expected.insert(expected.end(), examples[at].values.begin(), examples[at].values.end());
    }
    const metrics::Regression scores = metrics::regression(predicted, expected);
    const auto or_none = [](double correlation) { return std::isnan(correlation) ? 0 : correlation; };
    return {or_none(scores.pearson), or_none(scores.spearman)};
  }

 private:
  static float value_of(const LabelledLine& line) {
    const std::string& text = line.labels.front();
    char* end = nullptr;
    const float value = std::strtof(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !std::isfinite(value))
      fail(ErrorCode::kFormat, "{}: \"{}\" is not a number; \"task.problem_type\" is regression", line.where, text);
    return value;
  }
};

std::unique_ptr<Task> make(const Recipe& recipe, const Tokenizer& tokenizer, const TaskFacts& facts) {
  if (recipe.task->as<ClassifyRecipe>().shuffles_labels && recipe.task->held_out > 0) {
    fail(ErrorCode::kUnsupported,
         "{}: \"task.shuffle_labels\" with \"task.held_out\" would also shuffle the validation labels; use \"valid\" instead of "
         "\"held_out\"",
         recipe.where);
  }
  switch (recipe.task->data.problem) {
    case ProblemType::kMultiLabel: return std::make_unique<ManyLabels>(recipe, tokenizer, facts.network);
    case ProblemType::kRegression: return std::make_unique<Regression>(recipe, tokenizer, facts.network);
    case ProblemType::kSingleLabel: break;
  }
  return std::make_unique<OneLabel>(recipe, tokenizer, facts.network);
}

const std::vector<std::pair<std::string, ProblemType>>& problems() {
  static const std::vector<std::pair<std::string, ProblemType>> all = {{"single_label_classification", ProblemType::kSingleLabel},
                                                                       {"multi_label_classification", ProblemType::kMultiLabel},
                                                                       {"regression", ProblemType::kRegression}};
  return all;
}

std::string problem_name(ProblemType problem) {
  return std::find_if(problems().begin(), problems().end(), [&](const auto& known) { return known.second == problem; })->first;
}

void configure(const Recipe& recipe, Json& model) {
  if (!is_network(model)) model["problem_type"] = problem_name(recipe.task->data.problem);
  if (const ChosenExamples& examples = recipe.task->data.examples) examples->configure(recipe, model);
}

std::vector<std::string> labels_of(const Recipe& recipe) {
  const ProblemType problem = recipe.task->data.problem;
  if (problem == ProblemType::kRegression) return {"value"};
  return class_names(recipe, problem == ProblemType::kMultiLabel ? 1 : 2);
}

const Schema<LabelledDataRecipe>& data_schema() {
  using Data = LabelledDataRecipe;
  const auto has_texts = [](const Data& to) { return !to.examples; };
  const auto has_labels = [](const Data& to) { return !to.examples || to.examples->has_label_column(); };
  static const Schema<Data> schema = {
      schema::object("folds", &Data::folds, fold_schema(), "instead of \"train\", \"valid\" and \"test\": files that are split into folds"),
      schema::column("text", &Data::text, true,
                     "the column of texts, in a table (*.csv with commas, others with tabs) or in JSON lines (*.jsonl)")
          .when(has_texts),
      schema::column("pair", &Data::pair, false, "for pairs of texts: the column of the second text").when(has_texts),
      schema::column("label", &Data::label, true, "the column of labels").when(has_labels),
      schema::strings("skip", &Data::skip, "none", "examples with these labels are left out"),
      schema::choice("problem_type", &Data::problem, problems(),
                     "each text has one label, any number of labels (separated by commas in a table, or a list), or a number"),
  };
  return schema;
}

void read_class_weights(Fields& fields, ClassifyRecipe& to) {
  const Json* weights = fields.take("class_weights");
  if (!weights) return;
  const std::string expected = "\"balanced\", or an object that maps labels to positive weights (default 1), as in {\"rare\": 5}";
  to.balances_classes = weights->is_string() && weights->string() == "balanced";
  if (to.balances_classes) return;
  if (!weights->is_object()) fields.wrong("class_weights", expected, *weights);
  for (const auto& [label, weight] : weights->fields()) {
    if (!weight.is_number() || !(weight.number() > 0 && weight.number() <= 1e6)) fields.wrong("class_weights", expected, weight);
    to.class_weights.emplace_back(label, weight.number());
  }
}

const Schema<ClassifyRecipe>& settings_schema() {
  static const Schema<ClassifyRecipe> schema = {
      schema::boolean("shuffle_labels", &ClassifyRecipe::shuffles_labels,
                      "permute the labels of the training examples, as a control for explanations"),
      {{"class_weights", "\"balanced\", or an object that maps labels to weights", "1",
        "single label: weight of each label in the loss; balanced: number of examples / (number of labels · examples with the label)"},
       read_class_weights},
  };
  return schema;
}

void read(Fields& fields, Recipe& to) {
  LabelledDataRecipe& data = to.task->data;
  ClassifyRecipe settings;
  data.examples = read_examples(fields);
  data_schema().read(fields, data);
  settings_schema().read(fields, settings);
  if (data.folds && data.examples) {
    const char* const instead =
        data.examples->files().empty() ? "\"held_out\" splits off validation examples" : "they have their own splits";
    fields.wrong("folds", format("no folds with \"{}\"; {}", data.examples.kind->name, instead), Json("folds"));
  }
  if (const Json* weights = fields.take("class_weights"); weights && data.problem != ProblemType::kSingleLabel)
    fields.wrong("class_weights", format("none: \"problem_type\" is {}", problem_name(data.problem)), *weights);
  to.task->settings = settings;
}

}  // namespace

const TaskDefinition& classification_task() {
  static const TaskDefinition definition = {
      .name = "classification",
      .description = "one label, several labels or a number for each text, pair of texts, document, picture, scene, sound or series",
      .reads = {"text", "document", "picture", "scene", "spectrogram", "series"},
      .class_suffix = "ForSequenceClassification",
      .has_sequence_targets = true,
      .takes_noise = [](const Recipe& recipe) { return !recipe.task->data.examples; },
      .fields =
          [] {
            std::vector<FieldDescription> rows = described_by(data_schema(), settings_schema());
            for (FieldDescription& row : example_fields()) rows.push_back(std::move(row));
            return rows;
          },
      .read = read,
      .commands = {{"classify"}},
      .labels = labels_of,
      .configure = configure,
      .vocabulary_texts = training_texts,
      .make = make,
  };
  return definition;
}

}  // namespace clearhead::tasks
