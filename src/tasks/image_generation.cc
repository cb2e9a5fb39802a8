// Image generation: a network learns to draw black and white pictures of classes, patch by patch (models/networks/image_transformer.cc).
//
//   loss   −log p(picture | class) / number of pixels, in nats
//
// A pixel is ink if its value is at least ½. Figures of --test:
//   bits_per_pixel     −log2 p(picture | class) / number of pixels, over all test pictures
//   bits_per_picture   the same for a picture
//   accuracy           share of test pictures whose class has the largest p(picture | class) of all classes
#include <cmath>

#include "base/random.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "models/encoded_input.h"
#include "models/input_kind.h"
#include "models/networks/image_transformer.h"
#include "ops/ops.h"
#include "tasks/data/input_data.h"
#include "tasks/data/labelled_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

constexpr uint64_t kShiftSeed = 0x73686966;

struct DrawRecipe {
  int64_t shift = 0;
};

const Schema<DrawRecipe>& settings_schema() {
  static const Schema<DrawRecipe> schema = {
      schema::integer(
          "shift", &DrawRecipe::shift, {0, 4096},
          "data augmentation: largest shift of a training picture in whole pixels, in each direction; beyond its edge there is no "
          "ink. Unlike \"pictures.distort\", it interpolates nothing"),
  };
  return schema;
}

const Schema<LabelledDataRecipe>& data_schema() {
  using Data = LabelledDataRecipe;
  static const Schema<Data> schema = {
      schema::column("label", &Data::label, true, "the column of classes").when([](const Data& to) {
        return !to.examples || to.examples->has_label_column();
      }),
      schema::strings("skip", &Data::skip, "none", "pictures of these classes are left out"),
  };
  return schema;
}

class ImageGeneration final : public ItemTask {
 public:
  ImageGeneration(const Recipe& recipe, const Tokenizer& tokenizer, const NetworkFacts& network)
      : ItemTask(recipe, tokenizer, /*per_token=*/false,
                 [&recipe, network](const std::string& file, DataSummary& summary) { return items_of(file, recipe, network, summary); }),
        recipe_(recipe),
        picture_(network.picture) {}

  Example batch(int64_t number) const override {
    Example out = ItemTask::batch(number);
    RandomSequence random(random_bits(random_bits(recipe_.seed, kShiftSeed), static_cast<uint64_t>(number)));
    if (const int64_t most = recipe_.task->as<DrawRecipe>().shift; most > 0) shift(out.input.features, most, random);
    return with_symbols(std::move(out));
  }
  std::vector<Example> validation_batches() const override { return with_symbols(ItemTask::validation_batches()); }
  std::vector<Example> test() const override { return with_symbols(ItemTask::test()); }

  Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const override {
    return ops::cross_entropy(run, result.class_logits, example.targets, {.smoothing = static_cast<float>(smoothing), .divisor = divisor});
  }
  // The bits of each picture.
  std::vector<double> predictions(const RunResult& result, const Example& example) const override {
    const Tensor losses = ops::losses(result.class_logits, example.targets);
    std::vector<double> out(static_cast<size_t>(example.input.batch), 0);
    for (int64_t at = 0; at < losses.numel(); ++at)
      out[static_cast<size_t>(at / picture_.patches())] += static_cast<double>(losses.data<float>()[at]) / std::log(2.0);
    return out;
  }
  std::vector<std::pair<std::string, double>> figures(const std::vector<Example>& examples,
                                                      const std::vector<std::vector<double>>& predictions) const override {
    double bits = 0, pixels = 0;
    for (size_t at = 0; at < examples.size(); ++at) {
      for (const double one : predictions[at]) bits += one;
      pixels += static_cast<double>(examples[at].counted);
    }
    const double per_pixel = bits / pixels;
    return {{"bits_per_pixel", per_pixel}, {"bits_per_picture", per_pixel * static_cast<double>(picture_.height * picture_.width)}};
  }
  std::vector<std::pair<std::string, double>> attention_metrics(const Model& model) const override {
    const std::vector<LabelledLine> lines = read_lines(recipe_.task->test, recipe_);
    std::vector<ModelInput> inputs;
    for (const LabelledLine& line : lines) inputs.push_back(*line.input);
    const std::vector<std::vector<ClassScore>> scores = classify_inputs(model, inputs);
    double right = 0;
    for (size_t at = 0; at < lines.size(); ++at) right += scores[at].front().label == lines[at].labels.front();
    return {{"accuracy", right / static_cast<double>(lines.size())}};
  }
  Measured measured(const std::vector<Example>& examples) const override {
    Measured out{.of = "pictures"};
    for (const Example& example : examples) out.count += example.input.batch;
    return out;
  }

 private:
  // Shifts each picture by up to `most` pixels down or up, and right or left.   pictures: [batch, 1, height, width]
  static void shift(Tensor& pictures, int64_t most, RandomSequence& random) {
    const int64_t height = pictures.size(2), width = pictures.size(3);
    const Tensor from = pictures.clone();
    const auto offset = [&] { return static_cast<int64_t>(random.roll(static_cast<size_t>(2 * most + 1))) - most; };
    for (int64_t at = 0; at < pictures.size(0); ++at) {
      const int64_t down = offset(), right = offset();
      for (int64_t pixel = 0; pixel < height * width; ++pixel) {
        const int64_t row = pixel / width - down, column = pixel % width - right;
        const bool is_inside = row >= 0 && row < height && column >= 0 && column < width;
        pictures.mutable_data<float>()[at * height * width + pixel] =
            is_inside ? from.data<float>()[at * height * width + row * width + column] : 0;
      }
    }
  }

  static std::vector<Item> items_of(const std::string& file, const Recipe& recipe, const NetworkFacts& network, DataSummary& summary) {
    LeftOut left_out;
    std::vector<Item> out;
    for (const LabelledLine& line : read_lines(file, recipe, &left_out)) {
      Item item{.targets = {recipe.task->id_of(line.labels.front(), line.where)}, .labels = line.labels};
      item.read = encode_input(network, nullptr, *line.input);
      out.push_back(std::move(item));
    }
    note_left_out(left_out, summary);
    summary.of = "pictures";
    return out;
  }

  // The network reads the class of each picture, and predicts the symbol of each patch.
  Example with_symbols(Example example) const {
    example.input.ids = std::move(example.targets);
    example.targets = patch_symbols(picture_, example.input.features);
    example.counted = example.input.batch * picture_.height * picture_.width;
    return example;
  }
  std::vector<Example> with_symbols(std::vector<Example> examples) const {
    for (Example& example : examples) example = with_symbols(std::move(example));
    return examples;
  }

  const Recipe& recipe_;
  PictureFacts picture_;
};

std::unique_ptr<Task> make(const Recipe& recipe, const Tokenizer& tokenizer, const TaskFacts& facts) {
  if (!draws(facts.model_type))
    fail(ErrorCode::kInvalidArgument,
         "{}: \"task.kind\" \"image-generation\" trains a model that draws; expected \"image_transformer\", found \"{}\"", recipe.where,
         facts.model_type);
  return std::make_unique<ImageGeneration>(recipe, tokenizer, *facts.network);
}

void read(Fields& fields, Recipe& to) {
  LabelledDataRecipe& data = to.task->data;
  data.examples = read_examples(fields);
  data_schema().read(fields, data);
  read_settings(settings_schema(), fields, to);
}

}  // namespace

const TaskDefinition& image_generation_task() {
  static const TaskDefinition definition = {
      .name = "image-generation",
      .description = "black and white pictures of classes, drawn patch by patch; a pixel is ink if its value is at least 0.5",
      .reads = {"picture"},
      .class_suffix = "ForImageGeneration",
      .has_sequence_targets = true,
      .fields =
          [] {
            std::vector<FieldDescription> rows = described_by(data_schema(), settings_schema());
            for (FieldDescription& row : example_fields()) {
              if (row.name.starts_with("pictures")) rows.push_back(std::move(row));
            }
            return rows;
          },
      .read = read,
      .commands = {{"draw", "CLASS -o FILE.png"}},
      .labels = [](const Recipe& recipe) { return class_names(recipe, 1); },
      .configure =
          [](const Recipe& recipe, Json& model) {
            if (const ChosenExamples& examples = recipe.task->data.examples) examples->configure(recipe, model);
          },
      .make = make,
  };
  return definition;
}

}  // namespace clearhead::tasks
