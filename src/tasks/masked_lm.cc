// Masked language modelling (Devlin et al. 2019, section 3.1). In each text, 15 % of the tokens are selected, at least one, and no
// special tokens. A selected token is replaced by the mask token (80 %) or by a random token (10 %), or kept (10 %). The loss is the
// cross-entropy of the original tokens.
//
// In training, the selection depends on the seed and the batch's number; in validation and tests on the batch's index
// only, so that it is the same each time.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "ops/ops.h"
#include "tasks/data/labelled_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

constexpr double kChosen = 0.15;
constexpr uint64_t kTraining = 0x6D61736B, kMeasuring = 0x6D656173;

int32_t mask_of(const Recipe& recipe, const Tokenizer& tokenizer) {
  if (const std::optional<int32_t> mask = tokenizer.special_tokens().mask) return *mask;
  fail(ErrorCode::kUnsupported, "{}: the tokenizer has no mask token such as [MASK], which the task \"masked-lm\" puts in place of words",
       recipe.where);
}

// The texts of a file, or of a part of the books, whose passages are joined sentences.
std::vector<LabelledLine> texts_of(const std::string& file, const Recipe& recipe, LeftOut* left_out = nullptr) {
  const ChosenExamples& passages = recipe.task->data.examples;
  if (!passages) return read_labelled(file, recipe, left_out);
  std::vector<LabelledLine> out;
  for (const LabelledInput& passage : passages->read(file, recipe, left_out)) {
    LabelledLine& line = out.emplace_back();
    for (const std::string& sentence : passage.input.texts) line.text += (line.text.empty() ? "" : " ") + sentence;
    line.where = passage.where;
  }
  return out;
}

std::vector<std::string> training_texts_of(const Recipe& recipe) {
  std::vector<std::string> out;
  for (const LabelledLine& line : texts_of(recipe.task->train, recipe)) out.push_back(line.text + "\n" + line.pair);
  return out;
}

class MaskedTokens final : public ItemTask {
 public:
  MaskedTokens(const Recipe& recipe, const Tokenizer& tokenizer)
      : ItemTask(recipe, tokenizer, /*per_token=*/true,
                 [&](const std::string& file, DataSummary& summary) { return items_of(file, recipe, tokenizer, summary); }),
        seed_(recipe.seed),
        mask_(mask_of(recipe, tokenizer)),
        vocabulary_(static_cast<size_t>(tokenizer.vocabulary_size())) {}

  Example batch(int64_t number) const override {
    return masked(ItemTask::batch(number), random_bits(random_bits(seed_, kTraining), static_cast<uint64_t>(number)));
  }
  std::vector<Example> validation_batches() const override { return all_masked(ItemTask::validation_batches()); }
  std::vector<Example> test() const override { return all_masked(ItemTask::test()); }

  Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const override {
    return ops::cross_entropy(run, result.masked_logits, example.targets, {.smoothing = static_cast<float>(smoothing), .divisor = divisor});
  }
  std::vector<std::string> metric_names() const override { return {"accuracy"}; }
  // For each selected token: whether the most probable token is the original one, and the loss.
  std::vector<double> predictions(const RunResult& result, const Example& example) const override {
    const std::vector<double> best = largest_of_rows(result.masked_logits);
    const Tensor losses = ops::losses(result.masked_logits, example.targets);
    std::vector<double> out;
    for (size_t at = 0; at < best.size(); ++at) {
      out.push_back(static_cast<int32_t>(best[at]) == example.targets[at] ? 1 : 0);
      out.push_back(static_cast<double>(losses.data<float>()[at]));
    }
    return out;
  }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    return {mean(examples, predictions, 0)};
  }
  std::vector<std::pair<std::string, double>> figures(const std::vector<Example>& examples,
                                                      const std::vector<std::vector<double>>& predictions) const override {
    return {{"perplexity", std::exp(mean(examples, predictions, 1))}};
  }
  Measured measured(const std::vector<Example>& examples) const override { return {ItemTask::measured(examples).count, "masked tokens"}; }

 private:
  double mean(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions, size_t which) const {
    double sum = 0;
    for (const std::vector<double>& of_example : predictions) {
      for (size_t at = which; at < of_example.size(); at += 2) sum += of_example[at];
    }
    return sum / static_cast<double>(std::max<int64_t>(1, ItemTask::measured(examples).count));
  }

  std::vector<Example> all_masked(std::vector<Example> examples) const {
    for (size_t at = 0; at < examples.size(); ++at) examples[at] = masked(std::move(examples[at]), random_bits(kMeasuring, at));
    return examples;
  }

  // Input: an example whose targets are the tokens at all positions (−100 for special tokens). Output: the masked example, with the
  // targets of the selected positions.
  Example masked(Example example, uint64_t seed) const {
    RandomSequence random(seed);
    Batch& rows = example.input;
    std::vector<int32_t> targets;
    example.masked_rows.emplace();
    for (int64_t row = 0; row < rows.batch; ++row) {
      std::vector<int32_t> places;
      for (int64_t place = row * rows.length; place < (row + 1) * rows.length; ++place) {
        if (example.targets[static_cast<size_t>(place)] != -100) places.push_back(static_cast<int32_t>(place));
      }
      const int64_t most = std::llround(kChosen * static_cast<double>(places.size()));
      random.shuffle(places);
      places.resize(std::min(places.size(), static_cast<size_t>(std::max<int64_t>(1, most))));
      std::sort(places.begin(), places.end());
      for (const int32_t place : places) {
        targets.push_back(example.targets[static_cast<size_t>(place)]);
        example.masked_rows->push_back(place);
        int32_t& id = rows.ids[static_cast<size_t>(place)];
        const size_t die = random.roll(10);
        if (die < 8) id = mask_;
        if (die == 8) id = static_cast<int32_t>(random.roll(vocabulary_));
      }
    }
    example.targets = std::move(targets);
    example.counted = static_cast<int64_t>(example.targets.size());
    return example;
  }

  // Texts with only special tokens are left out: there is nothing to predict.
  static std::vector<Item> items_of(const std::string& file, const Recipe& recipe, const Tokenizer& tokenizer, DataSummary& summary) {
    std::vector<Item> out;
    LeftOut left_out;
    int64_t cut = 0, empty = 0;
    for (const LabelledLine& line : texts_of(file, recipe, &left_out)) {
      bool is_cut = false;
      const Encoding encoding = encoded_within(tokenizer, line.text, line.pair, recipe.length, &is_cut);
      cut += is_cut ? 1 : 0;
      Item item{encoding.ids, encoding.type_ids, encoding.ids};
      for (size_t token = 0; token < encoding.size(); ++token) {
        if (encoding.is_special(token)) item.targets[token] = -100;
      }
      const bool has_words = std::any_of(item.targets.begin(), item.targets.end(), [](int32_t target) { return target != -100; });
      if (has_words) out.push_back(std::move(item));
      empty += has_words ? 0 : 1;
    }
    note_left_out(left_out, summary);
    summary.note("texts left out because they have no words", empty);
    summary.note(format("texts truncated to {} tokens (\"length\")", with_commas(recipe.length)), cut);
    return out;
  }

  uint64_t seed_;
  int32_t mask_;
  size_t vocabulary_;
};

const Schema<LabelledDataRecipe>& text_schema() {
  static const Schema<LabelledDataRecipe> schema = {
      schema::column("text", &LabelledDataRecipe::text, true, "the column of texts").when([](const LabelledDataRecipe& data) {
        return !data.examples;
      }),
  };
  return schema;
}

constexpr std::string_view kPassages = "passages";

void read(Fields& fields, Recipe& to) {
  LabelledDataRecipe& data = to.task->data;
  data.examples = read_examples(fields);
  if (data.examples && data.examples.kind->name != kPassages) {
    fail(ErrorCode::kFormat, "{}: \"task.{}\": masked language modelling needs texts; expected \"task.{}\" or \"task.text\"",
         fields.where(), data.examples.kind->name, kPassages);
  }
  text_schema().read(fields, data);
}

}  // namespace

const TaskDefinition& masked_lm_task() {
  static const TaskDefinition definition = {
      .name = "masked-lm",
      .description = "masked tokens of a text, by an encoder with a masked language modelling head",
      .head = TrainedHead::kMasked,
      .class_suffix = "ForMaskedLM",
      .fields =
          [] {
            std::vector<FieldDescription> rows = text_schema().describe();
            for (FieldDescription& row : example_fields()) {
              if (row.name.starts_with(kPassages)) rows.push_back(std::move(row));
            }
            return rows;
          },
      .read = read,
      .commands = {{"fill"}},
      .vocabulary_texts = training_texts_of,
      .make = make_task<MaskedTokens>,
  };
  return definition;
}

}  // namespace clearhead::tasks
