// Which task a recipe means; windows of texts and pairs of texts behind its interface. The digest of their tokens tells a resumed run whether its data changed.
#include "train/task.h"

#include <algorithm>

#include "base/file.h"
#include "base/format.h"
#include "base/hash.h"
#include "clearhead/error.h"
#include "metrics/rouge.h"
#include "ops/ops.h"
#include "text/tokenizer_json.h"
#include "text/train_vocabulary.h"
#include "train/pair_data.h"
#include "train/recipe.h"
#include "train/tasks/answer.h"
#include "train/tasks/classify.h"
#include "train/tasks/input_data.h"
#include "train/tasks/labelled_data.h"
#include "train/tasks/mask.h"
#include "train/tasks/match.h"
#include "train/tasks/stories.h"
#include "train/tasks/summarise.h"
#include "train/tasks/tag.h"
#include "train/tasks/transcribe.h"
#include "train/text_data.h"

namespace clearhead {
namespace {

constexpr int64_t kValidationWindows = 64;

template <class Data>
std::string digest_of(const Data& training, const Data& held) {
  Digest digest;
  training.add_to(digest);
  held.add_to(digest);
  return digest.hex();
}

class Windows : public Task {
 public:
  Windows(const Recipe& recipe, const Tokenizer& tokenizer)
      : recipe_(recipe),
        training_(read_part(recipe.source, Part::kTrain), tokenizer),
        held_(read_part(recipe.source, Part::kValid), tokenizer) {}

  Example part(int64_t number) const override {
    Repeats repeats;
    for (const Repeats& stage : recipe_.repeats) {
      if (number / recipe_.accumulate >= stage.from) repeats = stage;
    }
    const TextData::Order order{.seed = recipe_.seed, .length = recipe_.length, .repeats = repeats};
    return example_of(training_.shuffled(order, number * recipe_.batch, recipe_.batch), recipe_.batch);
  }
  std::vector<Example> held() const override {
    std::vector<Example> out;
    for (const TextData::Batch& window : held_.in_order(recipe_.length, kValidationWindows)) out.push_back(example_of(window, 1));
    return out;
  }
  int64_t tokens() const override { return training_.tokens(); }
  std::vector<DataSummary> summary() const override {
    const auto of = [&](const char* part, const TextData& data) {
      DataSummary out{.part = part, .files = joined_names(recipe_.source.files), .count = data.tokens(), .of = "tokens"};
      const int64_t windows = std::max<int64_t>(0, data.tokens() - 1) / recipe_.length;
      out.notes.push_back(
          format("{} bytes; {} windows of {} tokens", with_commas(data.bytes()), with_commas(windows), with_commas(recipe_.length)));
      return out;
    };
    DataSummary held = of("validation", held_);
    const int64_t windows = std::max<int64_t>(0, held_.tokens() - 1) / recipe_.length;
    if (windows == 0) held.notes.push_back("without a whole window nothing is validated, and best/ is the model after the last step");
    if (windows > kValidationWindows) held.notes.push_back(format("the first {} windows are validated", kValidationWindows));
    return {of("training", training_), held};
  }
  std::string digest() const override { return digest_of(training_, held_); }
  double held_bytes_per_token() const override {
    return held_.tokens() > 0 ? static_cast<double>(held_.bytes()) / static_cast<double>(held_.tokens()) : 0;
  }

 private:
  Example example_of(const TextData::Batch& batch, int64_t rows) const {
    return {
        .input = {.batch = rows, .length = recipe_.length, .ids = batch.ids}, .targets = batch.targets, .counted = rows * recipe_.length};
  }
  const Recipe& recipe_;
  TextData training_, held_;
};

class Pairs : public Task {
 public:
  Pairs(const Recipe& recipe, const Tokenizer& tokenizer, int32_t first)
      : recipe_(recipe),
        tokenizer_(tokenizer),
        training_(recipe.pairs->train, recipe, tokenizer, first, /*trains=*/true),
        held_(recipe.pairs->valid, recipe, tokenizer, first) {}
  Example part(int64_t number) const override { return training_.shuffled(recipe_.seed, number); }
  std::vector<Example> held() const override { return held_.in_order(); }
  int64_t tokens() const override { return training_.tokens(); }
  std::vector<DataSummary> summary() const override {
    return {training_.summary("training", recipe_.pairs->train), held_.summary("validation", recipe_.pairs->valid)};
  }
  std::string digest() const override { return digest_of(training_, held_); }
  double held_bytes_per_token() const override { return 0; }

  int64_t writes() const override { return recipe_.pairs->rouge && recipe_.pairs->best != "loss" ? held_.longest_target() : 0; }
  std::vector<std::string> metric_names() const override {
    return writes() > 0 ? std::vector<std::string>{"rouge_1", "rouge_l"} : std::vector<std::string>{};
  }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& written) const override {
    std::vector<std::string> summaries, references;
    const auto text = [&](auto begin, auto end) { return tokenizer_.decode({begin, std::find_if(begin, end, is_no_token)}, true); };
    for (size_t at = 0; at < examples.size() && !written[at].empty(); ++at) {
      const Example& example = examples[at];
      const auto most = static_cast<std::ptrdiff_t>(writes()), length = static_cast<std::ptrdiff_t>(example.input.length);
      for (std::ptrdiff_t row = 0; row < example.input.batch; ++row) {
        const auto made = written[at].begin() + row * most;
        const auto target = example.targets.begin() + row * length;
        summaries.push_back(text(made, made + most));
        references.push_back(text(target, target + length));
      }
    }
    if (summaries.empty()) return {};
    const metrics::Rouge mean = metrics::mean_rouge(summaries, references);
    return {mean.rouge1.f, mean.rouge_l.f};
  }

 private:
  static bool is_no_token(double id) { return id < 0; }

  const Recipe& recipe_;
  const Tokenizer& tokenizer_;
  PairData training_, held_;
};

}  // namespace

std::unique_ptr<Task> task_of(const Recipe& recipe, const Tokenizer& tokenizer, const TaskFacts& facts) {
  if (facts.vocabulary > 0 && tokenizer.vocabulary_size() > facts.vocabulary) {
    fail(ErrorCode::kInvalidArgument, "{}: the tokenizer has {} tokens, the model's vocabulary {}", recipe.where,
         tokenizer.vocabulary_size(), facts.vocabulary);
  }
  if (facts.longest > 0 && recipe.length > facts.longest) {
    fail(ErrorCode::kInvalidArgument, "{}: \"length\" is {}, the model's positions end at {}", recipe.where, recipe.length, facts.longest);
  }
  const bool tells = recipe.task && recipe.task->kind == "stories", transcribes = recipe.task && recipe.task->kind == "transcribe";
  if (tells != (facts.reads == "story") || transcribes != (facts.reads == "sound")) {
    fail(ErrorCode::kInvalidArgument,
         "{}: {} and a model of type \"{}\" reads a {}; \"stories\" belongs to those that read a story, \"transcribe\" to those that read "
         "a sound",
         recipe.where, recipe.task ? format("\"task.kind\" is \"{}\",", recipe.task->kind) : "there is no \"task\",", facts.model_type,
         facts.reads);
  }
  const bool chooses = facts.network && facts.network->chooses;
  if (chooses != (recipe.task && recipe.task->kind == "summarise")) {
    fail(ErrorCode::kInvalidArgument,
         "{}: \"task.kind\" \"summarise\" belongs to a network that chooses a sentence (\"output\": \"sentence\" of a "
         "hierarchical_attention), and no other kind does",
         recipe.where);
  }
  if (recipe.task) {
    const std::string& kind = recipe.task->kind;
    if (kind == "summarise") return summarise_task(recipe, tokenizer, *facts.network);
    if (kind == "mask") return mask_task(recipe, tokenizer);
    if (kind == "match") return match_task(recipe, tokenizer);
    if (kind == "answer") return answer_task(recipe, tokenizer);
    if (kind == "stories") return stories_task(recipe, tokenizer, *facts.network);
    if (kind == "transcribe") return transcribe_task(recipe, tokenizer, *facts.network);
    return kind == "tag" ? tag_task(recipe, tokenizer) : classify_task(recipe, tokenizer, facts.network);
  }
  const bool reads_pairs = facts.reads == "pair";
  if (recipe.pairs.has_value() != reads_pairs) {
    fail(ErrorCode::kInvalidArgument, "{}: a model of type \"{}\" {}", recipe.where, facts.model_type,
         reads_pairs ? "reads a source: expected \"pairs\" in place of \"files\""
                     : "reads no source: expected \"files\" in place of \"pairs\"");
  }
  if (recipe.pairs) return std::make_unique<Pairs>(recipe, tokenizer, facts.first_token);
  return std::make_unique<Windows>(recipe, tokenizer);
}

namespace {

const char* head_of(const TaskRecipe& task) {
  if (task.kind == "mask") return "ForMaskedLM";
  if (task.kind == "match") return "Model";
  if (task.kind == "answer") return "ForQuestionAnswering";
  return task.kind == "tag" ? "ForTokenClassification" : "ForSequenceClassification";
}

std::vector<std::string> labels_of(const Recipe& recipe) {
  if (recipe.task->kind == "mask" || recipe.task->kind == "match") return {};
  if (recipe.task->kind == "answer") return {"start", "end"};
  return recipe.task->kind == "tag" ? tags_of(recipe) : classes_of(recipe);
}

// "bert" → "BertForSequenceClassification".
std::string architecture_of(const Recipe& recipe, const std::string& model_type) {
  std::string known;
  for (const Family& family : families()) {
    for (size_t at = 0; at < family.class_names.size(); ++at) {
      if (model_type == family.model_types[at]) return std::string(family.class_names[at]) + head_of(*recipe.task);
      known += (known.empty() ? "" : ", ") + std::string(family.model_types[at]);
    }
  }
  fail(ErrorCode::kUnsupported, "{}: \"task.{}\" fine-tunes a model of type {}, not \"{}\"", recipe.where, recipe.task->kind, known,
       model_type);
}

}  // namespace

Recipe fitted_to_task(Recipe recipe) {
  if (!recipe.task || recipe.task->kind == "transcribe" || recipe.task->kind == "summarise") return recipe;
  TaskRecipe& task = *recipe.task;
  if (task.labels.empty()) task.labels = labels_of(recipe);
  recipe.text["task"]["labels"] = Json(Json::Array(task.labels.begin(), task.labels.end()));
  const Json* type = recipe.model.find("model_type");
  if (!is_network(recipe.model)) {
    recipe.model["architectures"] = Json::Array{architecture_of(recipe, type && type->is_string() ? type->string() : "")};
    if (task.kind == "classify") recipe.model["problem_type"] = task.problem_type;
  }
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

ForwardInput input_of(const Rows& rows) {
  ForwardInput input = plain_input(rows.batch, rows.length, rows.ids, rows.lengths);
  if (!rows.type_ids.empty()) input.type_ids = rows.type_ids;
  return input;
}

Measured Task::measured(const std::vector<Example>& examples) const {
  Measured out;
  for (const Example& example : examples) out.count += example.counted;
  return out;
}

std::vector<Example> Task::test() const {
  fail(ErrorCode::kUnsupported, "texts and pairs are measured by a model that writes, not by batches");
}

Tensor Task::loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const {
  const Tensor& logits = result.causal_logits;
  return ops::cross_entropy(run, logits.reshape({logits.size(0) * logits.size(1), logits.size(2)}), example.targets,
                            {.smoothing = static_cast<float>(smoothing), .divisor = divisor});
}

HeadsInFile heads_of(const Recipe& recipe, const Architecture& facts) {
  HeadsInFile heads;
  heads.masked = recipe.task && recipe.task->kind == "mask";
  heads.classifier = recipe.task && !heads.masked && recipe.task->kind != "match";
  heads.causal = !recipe.task;
  if (heads.masked && !facts.masked)
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" has no masked-language head to train", recipe.where, facts.model_type);
  if (heads.classifier && !facts.classifier)
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" has no classifier to train", recipe.where, facts.model_type);
  if (!recipe.task && !facts.causal)
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" has no causal head to train", recipe.where, facts.model_type);
  return heads;
}

namespace {

// What the training file of a task says.
std::vector<std::string> task_texts(const Recipe& recipe) {
  std::vector<std::string> out;
  if (recipe.task->kind == "transcribe") return transcribed_texts(recipe);
  if (recipe.task->kind == "summarise") return summarised_texts(recipe);
  if (recipe.task->kind == "classify" || recipe.task->kind == "stories") {
    for (const LabelledLine& line : read_lines(recipe.task->train, recipe)) {
      if (!line.input) {
        out.push_back(line.text + "\n" + line.pair);
        continue;
      }
      out.insert(out.end(), line.input->texts.begin(), line.input->texts.end());
      if (!line.input->question.empty()) out.push_back(line.input->question);
    }
  } else {
    fail(ErrorCode::kUnsupported,
         "{}: \"tokenizer\": a vocabulary is not learned for \"task.{}\"; expected a tokenizer that is there, or \"from\"", recipe.where,
         recipe.task->kind);
  }
  return out;
}

}  // namespace

std::vector<std::string> vocabulary_texts(const Recipe& recipe) {
  if (recipe.task) return task_texts(recipe);
  if (!recipe.pairs) return read_part(recipe.source, Part::kTrain);
  return vocabulary_texts_of_pairs(recipe);
}

std::string tokenizer_json_of(const Recipe& recipe) {
  if (recipe.vocabulary) {
    const std::vector<std::string> texts = vocabulary_texts(recipe);
    return train_vocabulary({texts.begin(), texts.end()}, *recipe.vocabulary).tokenizer_json;
  }
  return recipe.tokenizer == "bytes" ? byte_tokenizer_json() : read_config(recipe.tokenizer + "/tokenizer.json");
}

}  // namespace clearhead
