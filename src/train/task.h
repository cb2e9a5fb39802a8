// What a run learns, as the trainer sees it: batches by number, the loss of one, and metrics of the validation batches.
//
//   texts      windows of one row of tokens (text_data.h)          models with a causal head
//   pairs      sources and targets (pair_data.h)                   encoder-decoders
//   classify   one class, several labels or a number per text      encoders, fine-tuned (tasks/classify.cc)
//   transcribe the text of a sound                                 networks that write from sounds (tasks/transcribe.cc)
//   tag        one tag per word                                    encoders, fine-tuned (tasks/tag.cc)
//   answer     a span of a text, or none, for a question           encoders, fine-tuned (tasks/answer.cc)
//   mask       hidden tokens of a text                             encoders (tasks/mask.cc)
//   match      which texts belong together                         encoders, fine-tuned (tasks/match.cc)
//   summarise  the sentence of a document that says it best       networks that choose one (tasks/summarise.h)
//   stories    an answer per question about a story                memories (tasks/stories.cc)
//
// A task is one file: it reads its data, makes batches, and says what the loss and the metrics are.
#pragma once

#include <cstdint>
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
#include "models/rows.h"
#include "models/transformer.h"
#include "ops/run.h"
#include "train/data_summary.h"

namespace clearhead {

struct Recipe;

/// What a task must know of the model that learns it.
struct TaskFacts {
  std::string model_type{};
  std::string reads = "text";  // as ModelInfo::reads
  int64_t vocabulary = 0, longest = 0;
  int32_t first_token = 0;
  std::optional<NetworkFacts> network{};  // of a network of parts
};

/// Which source tokens the token that a target row writes is aligned with.
struct GoldAlignment {
  std::vector<AttentionPair> pairs{};  // query: the row of the target, key: the token of the source
  std::vector<float> shares{};         // [pair]; those of a row sum to one
  int64_t rows = 0;                    // rows that have some
};

struct Example {
  std::optional<Rows> source{};    // what an encoder reads
  Rows input{};                    // what the stack with the head reads
  std::vector<int32_t> targets{};  // [batch·length] per token, or equally many per sequence; −100 does not count
  // Of which places, row·length + place, masked tokens are foretold: targets are theirs; absent: not a task of masked tokens.
  std::optional<std::vector<int32_t>> masked_rows{};
  std::vector<float> values{};               // numbers to be said, equally many per sequence
  std::vector<int64_t> numbers{};            // [batch], by which a task knows its sequences again; empty where it need not
  int64_t counted = 0;                       // the sum of losses is divided by this
  std::optional<GoldAlignment> alignment{};  // of training pairs, where the recipe has "alignment"
  // Per sequence: what the metrics of its task know of it beside the target; empty if nothing.
  std::vector<std::vector<int32_t>> about{};
};

/// What was measured: 500 "texts".
struct Measured {
  int64_t count = 0;
  const char* of = "texts";
};

/// Sequences as a model takes them.
ForwardInput input_of(const Rows& rows);

class Task {
 public:
  virtual ~Task() = default;
  /// Part `number` of the endless sequence. It depends on the recipe and the number only.
  virtual Example part(int64_t number) const = 0;
  /// Validation batches; empty if nothing validates.
  virtual std::vector<Example> held() const = 0;
  /// The batches of the recipe's test file. Throws kInvalidArgument if the recipe names none, kUnsupported for texts and pairs, which are measured by generating.
  virtual std::vector<Example> test() const;
  /// What the training and the validation data hold, in counts.
  virtual std::vector<DataSummary> summary() const = 0;
  /// Number of training tokens.
  virtual int64_t tokens() const = 0;
  /// Digest of all training and validation tokens, and of the split.
  virtual std::string digest() const = 0;
  /// Bytes of validation text per token if the tokens cover a whole text, else 0.
  virtual double held_bytes_per_token() const = 0;

  /// Σ of the example's losses / divisor, as one number; recorded if the run records.
  virtual Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const;
  /// What the metrics are computed from, as numbers that processes can exchange; empty if there are no metrics.
  virtual std::vector<double> predictions(const RunResult&, const Example&) const { return {}; }
  /// Returns true if the metrics need the attention maps of a run.
  virtual bool reads_maps() const { return false; }
  /// maps: of the run, where reads_maps(); else there are none.
  virtual std::vector<double> predictions(const RunResult& result, const Maps&, const Example& example) const {
    return predictions(result, example);
  }
  /// Tokens that a model writes for each source of an example, greedily, from which the metrics are computed in place of predictions(); 0: they
  /// need none.
  virtual int64_t writes() const { return 0; }
  /// Higher is better. The first decides which model is best, unless the recipe names another.
  virtual std::vector<std::string> metric_names() const { return {}; }
  /// predictions: of each example. The values of metric_names(), in that order.
  virtual std::vector<double> metrics(const std::vector<Example>&, const std::vector<std::vector<double>>&) const { return {}; }
  /// Other figures of the same, for people: "perplexity".
  virtual std::vector<std::pair<std::string, double>> figures(const std::vector<Example>&, const std::vector<std::vector<double>>&) const {
    return {};
  }
  virtual Measured measured(const std::vector<Example>& examples) const;
  /// Adds to the config of a model that is saved what the last metrics() found and running the model needs.
  virtual void describe(Json&) const {}
  /// What a trained model looks at in the test file: names and shares, from 0 to 1.
  virtual std::vector<std::pair<std::string, double>> looks(const Model&) const { return {}; }
  /// Shares of the test part that stand below its metrics, by name: those of each file, for example.
  virtual std::vector<std::pair<std::string, double>> test_details(const std::vector<Example>&,
                                                                   const std::vector<std::vector<double>>&) const {
    return {};
  }
};

/// The recipe of a task with its labels, and with the model that Hugging Face has for it: "BertForSequenceClassification",
/// "id2label". Reads the training file unless the recipe says the labels. Other recipes are returned as they are.
/// Throws kUnsupported for a family that has no such model, and what reading the file throws.
Recipe fitted_to_task(Recipe recipe);
/// The heads that the recipe's task trains. Throws kUnsupported if the model has no such head.
HeadsInFile heads_of(const Recipe& recipe, const Architecture& facts);
/// Throws what reading the recipe's files throws, and kInvalidArgument if the model and the data are not of one kind or
/// sizes do not fit.
std::unique_ptr<Task> task_of(const Recipe& recipe, const Tokenizer& tokenizer, const TaskFacts& facts);
/// The texts that a vocabulary is learned from.
std::vector<std::string> vocabulary_texts(const Recipe& recipe);
/// The recipe's tokenizer.json, read or learned now. Throws what either throws.
std::string tokenizer_json_of(const Recipe& recipe);

}  // namespace clearhead
