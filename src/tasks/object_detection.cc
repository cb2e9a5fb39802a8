// Object detection by the prediction of a set (models/networks/detection_transformer.cc): the class and the box of each object of a picture.
//
//   loss      the set loss of each picture (tasks/data/set_loss.h), a sum over decoder layers; mean over pictures
//   metrics   map_50: mAP@0.5;   map_75: the same with boxes that overlap by three quarters (metrics/detection.h)
//
// Data: "scenes", composed of labelled pictures of single objects, with new scenes in every epoch; or "boxes", a table with one row for each
// bounding box in the user's own pictures. Example::about of a picture: the number of its objects, then their classes. Example::values: x, y of
// the centre, width and height of each object, as shares of the picture.
#include <algorithm>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "models/detection.h"
#include "models/encoded_input.h"
#include "models/input_kind.h"
#include "ops/ops.h"
#include "tasks/data/detection_data.h"
#include "tasks/data/labelled_data.h"
#include "tasks/data/set_loss.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

constexpr uint64_t kSceneSeed = 0x7363656E;
constexpr int64_t kFound = 6;  // numbers of a prediction: class, probability, box

struct DetectionRecipe {
  std::optional<PlacedRecipe> scenes{};
  std::string label{};  // with scenes of pictures in a table: the column of labels
  BoxColumns boxes{};
  SetLossOptions loss{};
};

const Schema<SetLossOptions>& loss_schema() {
  using namespace schema;
  using L = SetLossOptions;
  constexpr NumberRange kWeights = {0, 1000};
  static const Schema<L> schema = {
      number<L>("no_object", &L::no_object, kWeights, "weight of the cross-entropy of queries without an object"),
      number<L>("box", &L::box, kWeights, "weight of the L1 distance of boxes, in the loss and for matching"),
      number<L>("overlap", &L::overlap, kWeights, "weight of 1 − GIoU of boxes, in the loss and for matching"),
      number<L>("class_cost", &L::class_cost, kWeights, "weight of the probability of the class, for matching"),
  };
  return schema;
}

const Schema<DetectionRecipe>& settings_schema() {
  using namespace schema;
  using R = DetectionRecipe;
  static const Schema<R> schema = {
      object("scenes", &R::scenes, placed_schema(), "scenes that are composed of labelled pictures of single objects"),
      column("label", &R::label, true, "with \"scenes\": the column of labels, if the pictures are in a table").when([](const R& to) {
        return to.scenes && to.scenes->pictures.form->has_columns;
      }),
      object("boxes", &R::boxes, box_columns_schema(),
             "without \"scenes\": the columns of the tables \"train\", \"valid\" and \"test\", one row for each box"),
      object("loss", &R::loss, loss_schema(), "weights of the set loss"),
  };
  return schema;
}

const DetectionRecipe& settings_of(const Recipe& recipe) { return recipe.task->as<DetectionRecipe>(); }

// Sets the item's picture and objects.
void set_picture(const NetworkFacts& network, const PictureWithBoxes& from, Item& to) {
  if (static_cast<int64_t>(from.objects.size()) > network.queries)
    fail(ErrorCode::kInvalidArgument, "{}: the picture has {} objects, but the model has {} queries (\"num_queries\")", from.where,
         from.objects.size(), network.queries);
  to.read = encode_input(network, nullptr, {.picture = from.picture});
  to.about = {static_cast<int32_t>(from.objects.size())};
  to.values.clear();
  for (const metrics::LabelledBox& object : from.objects) {
    to.about.push_back(object.label);
    for (const double number : {object.box.x, object.box.y, object.box.width, object.box.height})
      to.values.push_back(static_cast<float>(number));
  }
}

class ObjectDetection final : public ItemTask {
 public:
  ObjectDetection(const Recipe& recipe, const Tokenizer& tokenizer, const NetworkFacts& network)
      : ItemTask(recipe, tokenizer, /*per_token=*/false,
                 [&recipe, network](const std::string& file, DataSummary& summary) { return items_of(file, recipe, network, summary); }),
        recipe_(recipe),
        network_(network),
        classes_(static_cast<int64_t>(recipe.task->labels.size())) {}

  Example batch(int64_t number) const override { return by_picture(ItemTask::batch(number)); }
  std::vector<Example> validation_batches() const override { return by_picture(ItemTask::validation_batches()); }
  std::vector<Example> test() const override { return by_picture(ItemTask::test()); }

  // set_loss() computes the gradient itself. To pass it to the tape, the loss is recorded as Σ outputs ⊙ gradient + constant: the gradient
  // is a constant factor, and the constant makes the value of the sum equal to the loss.
  Tensor loss(Run& run, const RunResult& result, const Example& example, double /*smoothing*/, double divisor) const override {
    const Tensor& outputs = result.class_logits;  // [layer·picture·query, classes + 1 + 4]
    const std::vector<std::vector<metrics::LabelledBox>> objects = objects_of(example);
    const int64_t of_picture = network_.queries * outputs.size(1), pictures = outputs.numel() / of_picture;
    Tensor gradient = Tensor::empty(outputs.shape()), constant = Tensor::zeros({1, 1});
    double rest = 0;
    for (int64_t at = 0; at < pictures; ++at) {
      const float* from = outputs.data<float>() + at * of_picture;
      const SetLoss loss =
          set_loss(from, network_.queries, classes_, objects[static_cast<size_t>(at) % objects.size()], settings_of(recipe_).loss);
      rest += loss.value / divisor;
      float* to = gradient.mutable_data<float>() + at * of_picture;
      for (int64_t number = 0; number < of_picture; ++number) {
        to[number] = static_cast<float>(static_cast<double>(loss.gradient[static_cast<size_t>(number)]) / divisor);
        rest -= static_cast<double>(to[number]) * static_cast<double>(from[number]);
      }
    }
    constant.mutable_data<float>()[0] = static_cast<float>(rest);
    Tensor products = run.result(outputs.shape()), all = run.result({1, outputs.numel() + 1}), sum = run.result({1});
    ops::multiply(run, outputs, gradient, products);
    ops::concat(run, {products.reshape({1, outputs.numel()}), constant}, 1, all);
    ops::reduce(run, ops::Reduction::kSum, all, 1, sum);
    return sum;
  }

  // Returns kFound numbers for each query: prediction_of().
  std::vector<double> predictions(const RunResult& result, const Example& example) const override {
    const Tensor& outputs = result.class_logits;
    const int64_t rows = example.input.batch * network_.queries, first = outputs.size(0) - rows;
    std::vector<double> out;
    for (int64_t row = first; row < outputs.size(0); ++row) {
      const QueryPrediction one = prediction_of(outputs, row);
      out.insert(out.end(), {static_cast<double>(one.label), one.probability});
      out.insert(out.end(), one.box.begin(), one.box.end());
    }
    return out;
  }
  std::vector<std::string> metric_names() const override { return {"map_50", "map_75"}; }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    std::vector<std::vector<metrics::LabelledBox>> found, expected;
    for (size_t at = 0; at < examples.size(); ++at) {
      for (auto& objects : objects_of(examples[at])) expected.push_back(std::move(objects));
      const double* from = predictions[at].data();
      for (int64_t picture = 0; picture < examples[at].input.batch; ++picture) {
        std::vector<metrics::LabelledBox>& to = found.emplace_back();
        for (int64_t query = 0; query < network_.queries; ++query, from += kFound)
          to.push_back({static_cast<int32_t>(from[0]), {from[2], from[3], from[4], from[5]}, from[1]});
      }
    }
    return {metrics::mean_average_precision(found, expected, 0.5), metrics::mean_average_precision(found, expected, 0.75)};
  }
  Measured measured(const std::vector<Example>& examples) const override {
    Measured out{.of = "pictures"};
    for (const Example& example : examples) out.count += example.input.batch;
    return out;
  }

 protected:
  ItemBatches::Renew renewal(int64_t number) const override {
    const DetectionRecipe& settings = settings_of(recipe_);
    if (!settings.scenes) return {};
    if (!scenes_) scenes_.emplace(recipe_.task->train, recipe_, *settings.scenes, /*is_training=*/true);
    const uint64_t seed = random_bits(random_bits(recipe_.seed, kSceneSeed), static_cast<uint64_t>(number));
    return [this, seed](Item& item, int64_t place) { set_picture(network_, scenes_->scene(seed, static_cast<uint64_t>(place)), item); };
  }

 private:
  static std::vector<Item> items_of(const std::string& file, const Recipe& recipe, const NetworkFacts& network, DataSummary& summary) {
    std::vector<Item> out;
    int64_t objects = 0;
    const auto add = [&](const PictureWithBoxes& picture) {
      Item& item = out.emplace_back();
      set_picture(network, picture, item);
      for (const metrics::LabelledBox& object : picture.objects)
        item.labels.push_back(recipe.task->labels[static_cast<size_t>(object.label)]);
      objects += static_cast<int64_t>(picture.objects.size());
    };
    const TaskRecipe& task = *recipe.task;
    if (const auto& scenes = settings_of(recipe).scenes) {
      const bool is_training = file == task.train;
      const PlacedScenes made(file, recipe, *scenes, is_training);
      const int64_t count = is_training ? scenes->train : file == task.valid ? scenes->valid : scenes->test;
      for (int64_t number = 0; number < count; ++number)
        add(made.scene(is_training ? 0 : file == task.valid ? 1 : 2, static_cast<uint64_t>(number)));
    } else {
      for (const PictureWithBoxes& picture : read_boxes(file, recipe, settings_of(recipe).boxes)) add(picture);
    }
    summary.of = "pictures";
    summary.notes.push_back(format("{} objects", objects));
    return out;
  }

  // The objects of each picture.
  static std::vector<std::vector<metrics::LabelledBox>> objects_of(const Example& example) {
    std::vector<std::vector<metrics::LabelledBox>> out;
    const float* box = example.values.data();
    for (const std::vector<int32_t>& about : example.about) {
      std::vector<metrics::LabelledBox>& to = out.emplace_back();
      for (size_t at = 1; at < about.size(); ++at, box += 4)
        to.push_back(
            {about[at],
             {static_cast<double>(box[0]), static_cast<double>(box[1]), static_cast<double>(box[2]), static_cast<double>(box[3])}});
    }
    return out;
  }

  // The loss is a mean over pictures.
  static Example by_picture(Example example) {
    example.counted = example.input.batch;
    return example;
  }
  static std::vector<Example> by_picture(std::vector<Example> examples) {
    for (Example& example : examples) example = by_picture(std::move(example));
    return examples;
  }

  const Recipe& recipe_;
  NetworkFacts network_;
  int64_t classes_;
  mutable std::optional<PlacedScenes> scenes_{};  // of the training file, when a batch is first needed
};

std::unique_ptr<Task> make(const Recipe& recipe, const Tokenizer& tokenizer, const TaskFacts& facts) {
  if (settings_of(recipe).scenes && recipe.task->held_out > 0)
    fail(ErrorCode::kUnsupported,
         "{}: \"task.scenes\" with \"task.held_out\": training scenes would contain the pictures of validation scenes; use \"valid\"",
         recipe.where);
  return std::make_unique<ObjectDetection>(recipe, tokenizer, *facts.network);
}

}  // namespace

const TaskDefinition& object_detection_task() {
  static const TaskDefinition definition = {
      .name = "object-detection",
      .description = "the class and the bounding box of each object in a picture",
      .reads = {"picture"},
      .output = "boxes",
      .class_suffix = "ForObjectDetection",
      .has_sequence_targets = true,
      .fields = [] { return settings_schema().describe(); },
      .read =
          [](Fields& fields, Recipe& to) {
            read_settings(settings_schema(), fields, to);
            to.task->data.label = settings_of(to).label;
          },
      .commands = {{"detect", "FILE.png"}},
      .labels =
          [](const Recipe& recipe) {
            const DetectionRecipe& settings = settings_of(recipe);
            return settings.scenes ? labels_of_scenes(recipe, *settings.scenes) : labels_of_boxes(recipe, settings.boxes);
          },
      .make = make,
  };
  return definition;
}

}  // namespace clearhead::tasks
