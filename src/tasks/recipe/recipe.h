// A training recipe: data, task, model, optimiser and reports, as a JSON file. `key=value` settings replace fields.
//
//   { "data": "DIR", "files": ["book.txt"], "tokenizer": "bytes", "model": { … a config.json in Hugging Face's format … },
//     "steps": 1000, "schedule": {"kind": "cosine", "learning_rate": 3e-3, "warmup": 100} }
//
// Every field is declared in a table (schema.h), those of a task in the task's file. `clearhead train --fields` prints them. A field
// that is not declared is refused by name. Rules that involve several fields are in recipe.cc or in the task's file.
#pragma once

#include <algorithm>
#include <any>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/train.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/labelled_recipe.h"
#include "text/bleu.h"
#include "text/noise.h"
#include "text/train_vocabulary.h"

namespace clearhead::tasks {

struct WatchRecipe {
  std::vector<std::string> texts{};  // empty: nothing is watched
  int64_t checkpoints = 40;          // at most this many traces
};

/// A task on labelled examples. Fields that only one task has are in `settings`.
struct TaskRecipe {
  std::string kind{};                    // the name of a TaskDefinition
  std::string train{}, valid{}, test{};  // files; test may be empty. Data without a file per split: the names in kParts
  double held_out = 0;  // above 0: no validation file; this share of the training examples is used for validation (held_out.h)
  static constexpr std::array<const char*, 3> kParts = {"train", "valid", "test"};
  /// The index of a part in kParts.
  static size_t part_index(const std::string& part) {
    return static_cast<size_t>(std::find(kParts.begin(), kParts.end(), part) - kParts.begin());
  }
  LabelledDataRecipe data{};
  std::vector<std::string> labels{};  // in order of id; default: the labels of the training file
  std::string best{};                 // the metric that selects the best model; empty: the task's first
  int64_t patience = 0;               // early stopping after this many validations without a better model; 0: never
  std::any settings{};                // a struct that the task's source file defines

  /// The task's own settings; default ones if the recipe was not read from JSON.
  template <class Settings>
  const Settings& as() const {
    static const Settings defaults{};
    const auto* found = std::any_cast<Settings>(&settings);
    return found ? *found : defaults;
  }
  /// The id of a label. Throws kInvalidArgument, starting with `where`, for a label that is not in `labels`.
  int32_t id_of(const std::string& name, const std::string& where) const;
};

struct PairFiles {
  std::vector<std::string> train{}, valid{}, test{};  // test: may be empty
  double held_out = 0;                                // as TaskRecipe::held_out
  std::string turns{};                                // dialogues: the field of JSON lines with the list of turns; empty: pairs
  int64_t turns_before = 4;                           // dialogues: the largest number of turns in a source
  BleuWords bleu = BleuWords::kMteval13a;             // tokenization for the BLEU of --test
  bool cut = false;                                   // true: sources longer than `length` are truncated; false: the pair is left out
  bool rouge = false;                                 // measure ROUGE instead of BLEU, also on texts generated for the validation pairs
  std::string best{};                                 // rouge: the metric that selects the best model; empty: the first
};

/// Initial values of one parameter, such as word vectors, or of a whole encoder, from another model's file.
struct VectorsRecipe {
  std::string from{};       // the other model: a folder or a name
  std::string tensor{};     // the tensor in the other model; empty: all weights of a nn::Encoder
  std::string parameter{};  // the parameter in this model, or the path of an encoder
  double deviation = 0;     // scale each column to mean 0 and this standard deviation; 0: do not scale
};

/// Guided alignment (train/map_losses.h): attention is trained on gold alignments of words.
struct AlignmentRecipe {
  std::string column{};  // the training pairs' column: its number, counted from 1, or the name of a column or of a field of JSON lines
  double weight = 0.05;
  std::string family = "cross";
  int64_t layer = -1;  // negative: counted from the end
};

/// A penalty on the entropy of attention; a reward if the weight is negative (train/map_losses.h).
struct EntropyRecipe {
  double weight = 0.01;
  std::string family = "cross";
  std::vector<int64_t> layers{};  // as AlignmentRecipe::layer; empty: all
};

/// Dropout rates in training.
struct DropoutRates {
  double residual = 0;   // for embeddings and for the output that each block adds to the residual stream
  double attention = 0;  // for attention weights
};

struct Recipe {
  std::string where{};  // path of the file, for messages
  TextSource source{};
  std::optional<PairFiles> pairs{};  // used instead of the source's files
  std::optional<TaskRecipe> task{};  // used instead of source.files and pairs; "sentence-similarity" also uses pairs
  std::string initial{};             // a model with the initial weights; empty: new weights
  std::optional<VectorsRecipe> vectors{};
  std::string tokenizer = "bytes";
  std::optional<VocabularyOptions> vocabulary{};  // used instead of `tokenizer`: a vocabulary to be trained
  Json model{};
  // Sequences in a micro-batch, and tokens in a sequence (for pairs: the maximum on either side).
  int64_t batch = 8, length = 256;
  int64_t max_tokens = 4096;  // size of a micro-batch of pairs in tokens: sequences times their length, padding included
  int64_t accumulate = 1;     // gradient accumulation: micro-batches per step
  int64_t steps = 1000;
  uint64_t seed = 1;
  std::optional<double> dropout{}, attention_dropout{};  // absent: as in the model's config
  DType precision = DType::kF32;                         // operands of linear layers and attention in training: f32 or bf16
  bool gradient_checkpointing = false;                   // keep only each layer's input for the backward pass
  double smoothing = 0;                                  // label smoothing in training
  Noise noise{};                                         // in training: on sources of pairs and on texts to classify
  std::optional<AlignmentRecipe> alignment{};            // for pairs
  std::optional<EntropyRecipe> entropy{};
  std::vector<Repeats> repeats{};  // stages, ordered by first step; empty: no repeated passages
  // Decay of the exponential moving average of the weights; the average is validated and saved. 0: the weights themselves are.
  double ema_decay = 0;
  DType save = DType::kF32;  // dtype of best/
  Json generation{};         // best/generation_config.json; null: none
  OptimiserOptions optimiser{};
  Schedule schedule{};
  int64_t report = 10, validate = 100, checkpoint = 100;  // in steps
  WatchRecipe watch{};
  Json text{};  // the recipe with all overrides applied, as stored in checkpoints

  /// Reads a file, and completes the recipe as with_initial_model() does.
  /// overrides: "schedule.learning_rate=1e-3", "data=DIR". A value is parsed as JSON if possible, else taken as a
  /// string. Throws kFormat, kUnsupported or kInvalidArgument, naming the field.
  static Recipe read(const std::string& path, const std::vector<std::string>& overrides);
  /// The same for parsed JSON. Reads no file, so `model` is null if the recipe leaves it to the model in "from".
  static Recipe from(const Json& json, const std::string& where);
  /// Dropout rates from the recipe, or else from the Hugging Face fields of the model's config. Throws kInvalidArgument
  /// if both give different rates, kUnsupported for a kind of dropout that is not implemented.
  DropoutRates dropout_rates() const;
};

/// Takes the tokenizer and the config that the recipe leaves out from the model in "from", or the tokenizer from the one in "vectors".
/// They become part of `text`, so that a checkpoint does not need that folder. Throws kNotFound if there is no such model.
Recipe with_initial_model(Recipe recipe);

}  // namespace clearhead::tasks
