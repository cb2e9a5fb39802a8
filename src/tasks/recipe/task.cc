// Creates a recipe's task: checks that model and data match, and completes the config of a new model.
#include "tasks/recipe/task.h"

#include <algorithm>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "ops/ops.h"
#include "tasks/recipe/recipe.h"
#include "tasks/recipe/task_definition.h"
#include "text/tokenizer_json.h"
#include "text/train_vocabulary.h"
#include "text/word_vocabulary.h"

namespace clearhead::tasks {
namespace {

// The recipe field that selects a task, for messages: "\"files\"" or "\"task.kind\" \"classification\"".
std::string choice_of(const TaskDefinition& task) {
  if (task.data == DataFields::kFiles) return "\"files\"";
  if (task.data == DataFields::kPairs) return "\"pairs\"";
  return format("\"task.kind\" \"{}\"", task.name);
}

bool reads(const TaskDefinition& task, std::string_view what) {
  return std::find(task.reads.begin(), task.reads.end(), what) != task.reads.end();
}

void check_model(const Recipe& recipe, const TaskDefinition& task, const TaskFacts& facts) {
  if (!reads(task, facts.reads)) {
    std::vector<std::string> fitting;
    for (const TaskDefinition* one : task_definitions()) {
      if (reads(*one, facts.reads)) fitting.push_back(choice_of(*one));
    }
    fail(ErrorCode::kInvalidArgument, "{}: a model of type \"{}\" reads a {}; {} is for models that read a {}. Expected {}", recipe.where,
         facts.model_type, facts.reads, choice_of(task), schema::alternatives({task.reads.begin(), task.reads.end()}),
         schema::alternatives(fitting));
  }
  const std::string output = facts.network ? facts.network->output : "";
  if (task.output != output) {
    const auto kind = [](std::string_view name) {
      return name.empty() ? "logits of labels or tokens" : format("of the kind \"{}\"", name);
    };
    fail(ErrorCode::kInvalidArgument,
         "{}: {} trains models whose outputs are {}, but those of this \"{}\" are {}; change \"task.kind\" or \"model\"", recipe.where,
         choice_of(task), kind(task.output), facts.model_type, kind(output));
  }
}

// The Hugging Face class of a model type for a task: "bert" → "BertForSequenceClassification".
std::string architecture_of(const Recipe& recipe, const TaskDefinition& task, const std::string& model_type) {
  std::string known;
  for (const Family* family : families()) {
    for (size_t at = 0; at < family->class_names.size(); ++at) {
      if (model_type == family->model_types[at]) return std::string(family->class_names[at]) + std::string(task.class_suffix);
      known += (known.empty() ? "" : ", ") + std::string(family->model_types[at]);
    }
  }
  fail(ErrorCode::kUnsupported, "{}: the task \"{}\" fine-tunes a model of type {}, not \"{}\"", recipe.where, task.name, known,
       model_type);
}

}  // namespace

std::unique_ptr<Task> task_of(const Recipe& recipe, const Tokenizer& tokenizer, const TaskFacts& facts) {
  if (facts.vocabulary > 0 && tokenizer.vocabulary_size() > facts.vocabulary) {
    fail(ErrorCode::kInvalidArgument,
         "{}: the tokenizer has {} tokens, but the model's \"vocab_size\" is {}; use a larger \"vocab_size\", or the tokenizer of this "
         "model",
         recipe.where, tokenizer.vocabulary_size(), facts.vocabulary);
  }
  if (facts.longest > 0 && recipe.length > facts.longest) {
    fail(ErrorCode::kInvalidArgument, "{}: \"length\" is {}, but the model supports {} positions; reduce \"length\"", recipe.where,
         recipe.length, facts.longest);
  }
  const TaskDefinition& task = definition_of(recipe);
  check_model(recipe, task, facts);
  return task.make(recipe, tokenizer, facts);
}

Recipe fitted_to_task(Recipe recipe) {
  const TaskDefinition& definition = definition_of(recipe);
  if (definition.class_suffix.empty()) {
    if (definition.configure) {
      definition.configure(recipe, recipe.model);
      recipe.text["model"] = recipe.model;
    }
    return recipe;
  }
  TaskRecipe& task = *recipe.task;
  if (definition.labels) {
    if (task.labels.empty()) task.labels = definition.labels(recipe);
    recipe.text["task"]["labels"] = Json(Json::Array(task.labels.begin(), task.labels.end()));
  }
  const Json* type = recipe.model.find("model_type");
  if (!is_network(recipe.model)) {
    recipe.model["architectures"] = Json::Array{architecture_of(recipe, definition, type && type->is_string() ? type->string() : "")};
  }
  if (definition.configure) definition.configure(recipe, recipe.model);
  Json names = Json::object(), ids = Json::object();
  for (size_t id = 0; id < task.labels.size(); ++id) {
    names[std::to_string(id)] = task.labels[id];
    ids[task.labels[id]] = static_cast<int64_t>(id);
  }
  if (!task.labels.empty()) {
    recipe.model["id2label"] = names;
    recipe.model["label2id"] = ids;
  }
  recipe.text["model"] = recipe.model;
  return recipe;
}

ForwardInput input_of(const Batch& rows) {
  ForwardInput input = plain_input(rows.batch, rows.length, rows.ids, rows.lengths);
  if (!rows.type_ids.empty()) input.type_ids = rows.type_ids;
  return input;
}

Measured Task::measured(const std::vector<Example>& examples) const {
  Measured out;
  for (const Example& example : examples) out.count += example.counted;
  return out;
}

std::vector<Example> Task::test() const { fail(ErrorCode::kUnsupported, "this task is not tested by batches (TaskDefinition::test)"); }

Tensor Task::loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const {
  const Tensor& logits = result.causal_logits;
  return ops::cross_entropy(run, logits.reshape({logits.size(0) * logits.size(1), logits.size(2)}), example.targets,
                            {.smoothing = static_cast<float>(smoothing), .divisor = divisor});
}

HeadsInFile heads_of(const Recipe& recipe, const Architecture& facts) {
  const TrainedHead head = definition_of(recipe).head;
  HeadsInFile heads;
  heads.masked = head == TrainedHead::kMasked;
  heads.classifier = head == TrainedHead::kClassifier;
  heads.causal = head == TrainedHead::kCausal;
  const char* missing = heads.masked && !facts.masked           ? "masked language modelling head"
                        : heads.classifier && !facts.classifier ? "classifier"
                        : heads.causal && !facts.causal         ? "causal head"
                                                                : nullptr;
  if (missing) fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" has no {} to train", recipe.where, facts.model_type, missing);
  return heads;
}

std::vector<std::string> vocabulary_texts(const Recipe& recipe) {
  const TaskDefinition& task = definition_of(recipe);
  if (task.vocabulary_texts) return task.vocabulary_texts(recipe);
  fail(ErrorCode::kUnsupported,
       "{}: \"tokenizer\": the task \"{}\" does not train a vocabulary; expected an existing tokenizer, or \"from\"", recipe.where,
       task.name);
}

std::string tokenizer_json_of(const Recipe& recipe) {
  if (recipe.vocabulary) {
    const std::vector<std::string> texts = vocabulary_texts(recipe);
    return train_vocabulary({texts.begin(), texts.end()}, *recipe.vocabulary).tokenizer_json;
  }
  if (recipe.tokenizer == "words") return word_tokenizer_json(vocabulary_texts(recipe));
  return recipe.tokenizer == "bytes" ? byte_tokenizer_json() : read_config(recipe.tokenizer + "/tokenizer.json");
}

}  // namespace clearhead::tasks
