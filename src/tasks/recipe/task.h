// The interface of a training task: batches by number, the loss of a batch, and metrics of the validation batches.
//
// A task is one file, src/tasks/NAME.cc: it reads its data, makes batches, and defines the loss and the metrics. `clearhead train
// --fields` prints the tasks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/compute.h"
#include "clearhead/map.h"
#include "clearhead/model.h"
#include "clearhead/tokenizer.h"
#include "models/architecture.h"
#include "models/network.h"
#include "models/transformer.h"
#include "ops/run.h"
#include "tasks/recipe/data_summary.h"

namespace clearhead::tasks {

struct Recipe;

/// The facts about the model that a task needs.
struct TaskFacts {
  std::string model_type{};
  std::string reads = "text";  // as ModelInfo::reads
  int64_t vocabulary = 0, longest = 0;
  int32_t first_token = 0;
  std::optional<NetworkFacts> network{};  // only for a network from the literature
};

/// For each row of the target: the source tokens that are aligned with the token that the row predicts.
struct GoldAlignment {
  std::vector<AttentionPair> pairs{};  // query: the row of the target, key: the token of the source
  std::vector<float> shares{};         // [pair]; the shares of a row sum to one
  int64_t rows = 0;                    // number of rows with a pair
};

struct Example {
  std::optional<Batch> source{};   // input of the encoder of an encoder-decoder
  Batch input{};                   // input of the model, or of the decoder of an encoder-decoder
  std::vector<int32_t> targets{};  // [batch·length] per token, or the same number for each sequence; −100 is ignored
  // Masked language modelling: the positions (row·length + position) that are predicted, one target each. Absent for other tasks.
  std::optional<std::vector<int32_t>> masked_rows{};
  std::vector<float> values{};               // regression targets, the same number for each sequence
  std::vector<int64_t> numbers{};            // [batch] example ids; empty if the task does not need them
  int64_t counted = 0;                       // number of targets (or of episodes); the sum of losses is divided by this
  std::optional<GoldAlignment> alignment{};  // for training pairs, if the recipe has "alignment"
  // [batch] metadata for the task's metrics beyond the targets; empty if there is none.
  std::vector<std::vector<int32_t>> about{};
};

/// The number of measured objects and their name: 500 "texts".
struct Measured {
  int64_t count = 0;
  const char* of = "texts";
};

/// Converts sequences to a model's input.
ForwardInput input_of(const Batch& rows);

class Task {
 public:
  virtual ~Task() = default;
  /// Training batch `number` of the endless sequence. It depends on the recipe and the number only.
  virtual Example batch(int64_t number) const = 0;
  /// Validation batches; empty if there is no validation data.
  virtual std::vector<Example> validation_batches() const = 0;
  /// The batches of the recipe's test file. Throws kInvalidArgument if the recipe names none, and kUnsupported for tasks that are not
  /// measured by batches (TaskDefinition::test).
  virtual std::vector<Example> test() const;
  /// Runs the model as it is now, without gradients and dropout.
  using Forward = std::function<RunResult(const Example&)>;
  /// Completes an example of batch(), validation_batches() or test() by running the model, for tasks whose data is produced by the
  /// model, such as the episodes that a policy plays. Called before each use of an example; must not change `counted`.
  virtual Example complete(Example example, const Forward&) const { return example; }

  /// Summaries of the training data and the validation data.
  virtual std::vector<DataSummary> summary() const = 0;
  /// Number of training tokens.
  virtual int64_t tokens() const = 0;
  /// Digest of all training and validation tokens, and of the split.
  virtual std::string digest() const = 0;
  /// Bytes of validation text per token if the tokens cover a whole text, else 0.
  virtual double held_bytes_per_token() const = 0;

  /// The sum of the example's losses / divisor, a tensor of one element. The run's recorder, if any, records it for the backward pass.
  virtual Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const;
  /// The predictions from which the metrics are computed, as numbers that processes can exchange; empty if there are no metrics.
  virtual std::vector<double> predictions(const RunResult&, const Example&) const { return {}; }
  /// Returns true if the metrics need the attention maps of a run.
  virtual bool reads_maps() const { return false; }
  /// maps: the attention maps of the run; empty unless reads_maps().
  virtual std::vector<double> predictions(const RunResult& result, const Maps&, const Example& example) const {
    return predictions(result, example);
  }
  /// Maximum number of tokens to generate greedily for each source of an example, if the metrics are computed from generated text
  /// instead of predictions(); otherwise 0.
  virtual int64_t writes() const { return 0; }
  /// Higher is better. The first one selects the best model, unless the recipe names another.
  virtual std::vector<std::string> metric_names() const { return {}; }
  /// The values of metric_names(), in that order.   predictions: those of each example
  virtual std::vector<double> metrics(const std::vector<Example>&, const std::vector<std::vector<double>>&) const { return {}; }
  /// Further results from the same predictions, such as "perplexity", that are printed but not used to select a model.
  virtual std::vector<std::pair<std::string, double>> figures(const std::vector<Example>&, const std::vector<std::vector<double>>&) const {
    return {};
  }
  virtual Measured measured(const std::vector<Example>& examples) const;
  /// Adds values to a saved model's config that the last metrics() determined and that running the model needs, such as a threshold.
  virtual void describe(Json&) const {}
  /// Attention metrics of a trained model on the test file: names and values from 0 to 1.
  virtual std::vector<std::pair<std::string, double>> attention_metrics(const Model&) const { return {}; }
  /// Detailed results on the test data, printed below the metrics: for example the accuracy on each file.
  virtual std::vector<std::pair<std::string, double>> test_details(const std::vector<Example>&,
                                                                   const std::vector<std::vector<double>>&) const {
    return {};
  }
};

/// Completes the recipe of a task with its labels, and with Hugging Face's settings for it in the model config: architecture
/// ("BertForSequenceClassification") and "id2label". Reads the training file unless the recipe lists the labels. The
/// recipe of a task without TaskDefinition::class_suffix is returned unchanged. Throws kUnsupported for a family that has no such model,
/// and whatever reading the file throws.
Recipe fitted_to_task(Recipe recipe);
/// The heads that the recipe's task trains. Throws kUnsupported if the model has no such head.
HeadsInFile heads_of(const Recipe& recipe, const Architecture& facts);
/// Throws whatever reading the recipe's files throws, and kInvalidArgument if the model does not read this kind of data or sizes do
/// not match.
std::unique_ptr<Task> task_of(const Recipe& recipe, const Tokenizer& tokenizer, const TaskFacts& facts);
/// The texts on which a vocabulary is trained.
std::vector<std::string> vocabulary_texts(const Recipe& recipe);
/// The content of the recipe's tokenizer.json, which is read from a file or trained now. Throws whatever reading or training throws.
std::string tokenizer_json_of(const Recipe& recipe);

}  // namespace clearhead::tasks
