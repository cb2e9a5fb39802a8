// Trajectories of people: the positions at the next steps, from the tracks of the people of a scene up to now (models/tracks.h). A recipe
// names several scenes. One of them is the test data (leave one scene out: Pellegrini et al. 2009, Alahi et al. 2016); the others are
// divided by time into training and validation data.
//
//   loss: mean over people and steps of ‖ŷ_t − y_t‖, in metres
//   metrics: skill = 1 − ADE / ADE of constant velocity;  skill_of_curved: the same for the FDE of the most curved third of the tracks
//   figures: ADE and FDE in metres, of the model and of constant velocity (the displacement of the last observed step, repeated)
//
// ADE, FDE: average and final displacement error, the distance between the predicted and the true position, over all predicted steps and at
// the last one. Every person with a complete track of observed and predicted steps counts, in every window of the scene.
// Curvature of a track: the largest distance of its positions from the line through its first and its last position.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "models/tracks.h"
#include "ops/ops.h"
#include "tasks/data/labelled_data.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

constexpr uint64_t kMirrorSeed = 0x6D697272;
constexpr double kLeastDistance = 1e-3;  // metres: the gradient of a distance is bounded below this

struct TrajectoryRecipe : TracksFacts {
  std::vector<std::pair<std::string, std::vector<std::string>>> scenes{};  // name and files
  std::string test_scene{};
  double valid_from = 0.8;
};

void read_scenes(Fields& fields, TrajectoryRecipe& to) {
  const Json& given = fields.require("scenes");
  const auto wrong = [&] { fields.wrong("scenes", "two or more scenes, each with a list of files", given); };
  if (!given.is_object() || given.size() < 2) wrong();
  Fields scenes(given, fields.where(), fields.path_of("scenes"));
  for (const auto& [name, files] : given.fields()) {
    to.scenes.emplace_back(name, scenes.strings(name));
    if (to.scenes.back().second.empty()) wrong();
  }
}

const Schema<TrajectoryRecipe>& settings_schema() {
  using namespace schema;
  using R = TrajectoryRecipe;
  constexpr IntegerRange kSteps = {1, 1000};
  static const Schema<R> schema = {
      {{"scenes", "an object: a name and a list of files for each scene", "required",
        "the tables of each scene: frame, pedestrian, x, y in metres (*.csv: commas, others: tabs)"},
       read_scenes},
      {{"test_scene", "the name of a scene", "required", "the scene that is left out of training, and that --test measures"},
       [](Fields& fields, R& to) {
         to.test_scene = fields.string("test_scene");
         std::vector<std::string> names;
         for (const auto& [name, files] : to.scenes) names.push_back(name);
         if (std::find(names.begin(), names.end(), to.test_scene) == names.end())
           fields.wrong("test_scene", alternatives(names), Json(to.test_scene));
       }},
      number("valid_from", &R::valid_from, {0.01, 0.99},
             "in each file of the other scenes, the frames after this share of them are for validation"),
      integer<R>("observed_steps", &R::observed, {4, 1000}, "number of steps that the model reads"),
      integer<R>("predicted_steps", &R::predicted, kSteps, "number of steps that the model predicts"),
      integer<R>("frames_per_step", &R::frames_per_step, kSteps, "difference of the frame numbers of one step and the next"),
      number<R>("seconds_per_step", &R::seconds_per_step, {0.001, 1000}, "time between steps, for the names of steps"),
  };
  return schema;
}

// One window: its people, and the positions after it of those people who are present at every predicted step.
struct Window {
  Tensor people{};                  // as ModelInput::series
  std::vector<int32_t> complete{};  // indices of people
  std::vector<float> after{};       // [complete person, 2·predicted]
  std::string where{};              // for messages
};

class Scenes final : public Examples {
 public:
  explicit Scenes(TrajectoryRecipe settings) : settings_(std::move(settings)) {}

  std::vector<LabelledInput> read(const std::string& part, const Recipe& recipe, LeftOut*) const override {
    std::vector<LabelledInput> out;
    for (Window& one : windows(part, recipe)) out.push_back({.input = {.series = std::move(one.people)}, .where = std::move(one.where)});
    return out;
  }
  bool has_label_column() const override { return false; }
  std::vector<std::string> files() const override {
    std::vector<std::string> out;
    for (const auto& [name, files] : settings_.scenes) out.insert(out.end(), files.begin(), files.end());
    return out;
  }
  void configure(const Recipe&, Json& model) const override { model["tracks"] = json_of(settings_); }
  std::string training_files() const {
    std::vector<std::string> out;
    for (const auto& [name, files] : settings_.scenes) {
      if (name != settings_.test_scene) out.insert(out.end(), files.begin(), files.end());
    }
    return joined_names(out);
  }

  /// The windows of a part in which at least one track is complete, in order of time.
  std::vector<Window> windows(const std::string& part, const Recipe& recipe) const {
    std::vector<Window> out;
    for (const auto& [name, files] : settings_.scenes) {
      if ((name == settings_.test_scene) != is_test(part)) continue;
      for (const std::string& file : files) {
        const SourceText opened = open_text(recipe.source, file);
        add_windows(part_of(read_tracks(opened.text, opened.path()), part), file, out);
      }
    }
    if (out.empty())
      fail(ErrorCode::kInvalidArgument,
           "{}: the {} part has no person who is present at {} steps of {} frames in a row; check \"task.frames_per_step\"", recipe.where,
           part, settings_.observed + settings_.predicted, settings_.frames_per_step);
    return out;
  }
  const TrajectoryRecipe& settings() const { return settings_; }

 private:
  static bool is_test(const std::string& part) { return part == TaskRecipe::kParts[2]; }
  // Returns the rows of the frames that belong to a part. No window has frames of two parts.
  TrackTable part_of(TrackTable table, const std::string& part) const {
    if (is_test(part)) return table;
    const auto count = static_cast<double>(table.frames.size());
    auto first = table.frames.begin();
    std::advance(first, static_cast<int64_t>(settings_.valid_from * count));
    part == TaskRecipe::kParts[0] ? table.frames.erase(first, table.frames.end()) : table.frames.erase(table.frames.begin(), first);
    return table;
  }
  void add_windows(const TrackTable& table, const std::string& file, std::vector<Window>& to) const {
    for (const auto& [frame, people] : table.frames) {
      const std::optional<Tensor> window = track_window(settings_, table, frame);
      if (!window) continue;
      Window one{.people = *window, .where = format("{}, frame {}", file, frame)};
      const std::vector<int64_t> present = people_of(settings_, *window);
      for (size_t at = 0; at < present.size(); ++at) {
        const std::optional<std::vector<float>> after = track_after(settings_, table, frame, present[at]);
        if (!after) continue;
        one.complete.push_back(static_cast<int32_t>(at));
        one.after.insert(one.after.end(), after->begin(), after->end());
      }
      if (!one.complete.empty()) to.push_back(std::move(one));
    }
  }

  TrajectoryRecipe settings_;
};

const Scenes& scenes_of(const Recipe& recipe) { return static_cast<const Scenes&>(*recipe.task->data.examples.examples); }

// Example::about of a window: the indices of the people whose tracks are complete. Example::values: their positions after the window,
// 2·predicted numbers each.
class Trajectories final : public ItemTask {
 public:
  Trajectories(const Recipe& recipe, const Tokenizer& tokenizer, const NetworkFacts& network)
      : ItemTask(recipe, tokenizer, /*per_token=*/false,
                 [&recipe, network](const std::string& part, DataSummary& summary) { return items_of(part, recipe, network, summary); }),
        recipe_(recipe),
        facts_(*network.tracks) {}

  // ‖e‖ is computed as e²/(2c) + c/2 with c = ‖e‖ as a constant, which has the same value and gradient.
  Tensor loss(Run& run, const RunResult& result, const Example& example, double /*smoothing*/, double divisor) const override {
    const Tensor& output = result.class_logits;  // [scene·person, 2·predicted]
    const int64_t steps = facts_.predicted, rows = output.size(0);
    Tensor error = run.result({rows, 2 * steps}), weights = Tensor::zeros({rows, 2 * steps}), halves = Tensor::zeros({1, 1});
    float* to = error.mutable_data<float>();
    std::fill_n(to, error.numel(), 0.0F);
    for_each_track(example, [&](const Track& track) {
      for (int64_t step = 0; step < steps; ++step) {
        to[track.row * 2 * steps + step] = track.last[0] - track.after[step];
        to[track.row * 2 * steps + steps + step] = track.last[1] - track.after[steps + step];
      }
    });
    ops::add(run, output, error);
    // The divisor counts numbers; there are two for each distance.
    const float unit = static_cast<float>(2 / divisor);
    for_each_track(example, [&](const Track& track) {
      for (int64_t step = 0; step < steps; ++step) {
        const float* x = error.data<float>() + track.row * 2 * steps + step;
        const float distance = std::max(static_cast<float>(kLeastDistance), std::hypot(x[0], x[steps]));
        float* weight = weights.mutable_data<float>() + track.row * 2 * steps + step;
        weight[0] = weight[steps] = unit / (2 * distance);
        halves.mutable_data<float>()[0] += unit * distance / 2;
      }
    });
    Tensor weighted = run.result({rows, 2 * steps}), squares = run.result({rows, 2 * steps}), all = run.result({1, rows * 2 * steps + 1}),
           sum = run.result({1});
    ops::multiply(run, error, weights, weighted);
    ops::multiply(run, weighted, error, squares);
    ops::concat(run, {squares.reshape({1, rows * 2 * steps}), halves}, 1, all);
    ops::reduce(run, ops::Reduction::kSum, all, 1, sum);
    return sum;
  }

  std::vector<std::string> metric_names() const override { return {"skill", "skill_of_curved"}; }
  // Returns ADE and FDE of the model, then ADE and FDE of constant velocity, for each track.
  std::vector<double> predictions(const RunResult& result, const Example& example) const override {
    const int64_t steps = facts_.predicted;
    std::vector<double> out;
    for_each_track(example, [&](const Track& track) {
      const float* predicted = result.class_logits.data<float>() + track.row * 2 * steps;
      std::array<double, 4> errors{};
      for (int64_t step = 0; step < steps; ++step) {
        const auto distance = [&](float x, float y) {
          return static_cast<double>(std::hypot(track.last[0] + x - track.after[step], track.last[1] + y - track.after[steps + step]));
        };
        const auto time = static_cast<float>(step + 1);
        const double own = distance(predicted[step], predicted[steps + step]),
                     constant = distance(time * (track.last[0] - track.last[-2]), time * (track.last[1] - track.last[-1]));
        errors[kAde] += own / static_cast<double>(steps);
        errors[kFde] = own;
        errors[kConstantAde] += constant / static_cast<double>(steps);
        errors[kConstantFde] = constant;
      }
      out.insert(out.end(), errors.begin(), errors.end());
    });
    return out;
  }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    const auto [all, curved] = errors_of(examples, predictions);
    const auto skill = [](double error, double constant) { return constant > 0 ? 1 - error / constant : 0; };
    return {skill(all[kAde], all[kConstantAde]), skill(curved[kFde], curved[kConstantFde])};
  }
  std::vector<std::pair<std::string, double>> figures(const std::vector<Example>& examples,
                                                      const std::vector<std::vector<double>>& predictions) const override {
    const auto [all, curved] = errors_of(examples, predictions);
    return {{"ade", all[kAde]},
            {"fde", all[kFde]},
            {"ade_of_constant_velocity", all[kConstantAde]},
            {"fde_of_constant_velocity", all[kConstantFde]},
            {"fde_of_curved", curved[kFde]},
            {"fde_of_curved_of_constant_velocity", curved[kConstantFde]}};
  }
  // The files of a part are those of its scenes, not all files of the recipe.
  std::vector<DataSummary> summary() const override {
    std::vector<DataSummary> out = ItemTask::summary();
    for (DataSummary& part : out) part.files = scenes_of(recipe_).training_files();
    return out;
  }
  Measured measured(const std::vector<Example>& examples) const override {
    return {ItemTask::measured(examples).count / (2 * facts_.predicted), "tracks"};
  }

 protected:
  // Mirrors half of the windows. Rotations are not needed: the network reads every track in the person's own frame of reference.
  ItemBatches::Renew renewal(int64_t number) const override {
    const uint64_t seed = random_bits(random_bits(recipe_.seed, kMirrorSeed), static_cast<uint64_t>(number));
    return [this, seed](Item& item, int64_t place) {
      if (random_unit(seed, static_cast<uint64_t>(place)) < 0.5) return;
      Tensor mirrored = item.read->input.features.clone();
      float* features = mirrored.mutable_data<float>();
      for (int64_t index = 1; index < mirrored.numel(); index += 2) features[index] = -features[index];
      item.read->input.features = mirrored;
      for (size_t index = 0; index < item.values.size(); ++index) {
        if (static_cast<int64_t>(index) / facts_.predicted % 2 == 1) item.values[index] = -item.values[index];
      }
    };
  }

 private:
  enum : size_t { kAde, kFde, kConstantAde, kConstantFde, kErrors };
  using ErrorMeans = std::array<double, kErrors>;

  struct Track {
    int64_t row = 0;                  // of the outputs
    const float* observed = nullptr;  // x, y of each step
    const float* last = nullptr;      // the last of them
    const float* after = nullptr;     // all x, then all y
  };
  template <class Visit>
  void for_each_track(const Example& example, const Visit& visit) const {
    const float* after = example.values.data();
    for (size_t scene = 0; scene < example.about.size(); ++scene) {
      for (const int32_t person : example.about[scene]) {
        Track track{.row = static_cast<int64_t>(scene) * example.input.length + person, .after = after};
        track.observed = example.input.features.data<float>() + track.row * 2 * facts_.observed;
        track.last = track.observed + 2 * (facts_.observed - 1);
        visit(track);
        after += 2 * facts_.predicted;
      }
    }
  }

  static std::vector<Item> items_of(const std::string& part, const Recipe& recipe, const NetworkFacts& network, DataSummary& summary) {
    std::vector<Item> out;
    int64_t tracks = 0;
    for (Window& window : scenes_of(recipe).windows(part, recipe)) {
      Item item{.values = std::move(window.after), .about = std::move(window.complete)};
      item.read = encode_input(network, nullptr, {.series = window.people});
      tracks += static_cast<int64_t>(item.about.size());
      out.push_back(std::move(item));
    }
    summary.of = "windows";
    summary.notes.push_back(format("{} complete tracks", tracks));
    return out;
  }

  // The largest distance of a position from the line through the first and the last one.
  double curvature(const Track& track) const {
    const int64_t steps = facts_.predicted;
    const double x = static_cast<double>(track.observed[0]), y = static_cast<double>(track.observed[1]);
    const double dx = static_cast<double>(track.after[steps - 1]) - x, dy = static_cast<double>(track.after[2 * steps - 1]) - y;
    const double length = std::max(1e-6, std::hypot(dx, dy));
    double most = 0;
    const auto add = [&](float at_x, float at_y) {
      most = std::max(most, std::abs((static_cast<double>(at_x) - x) * dy - (static_cast<double>(at_y) - y) * dx) / length);
    };
    for (int64_t step = 0; step < facts_.observed; ++step) add(track.observed[2 * step], track.observed[2 * step + 1]);
    for (int64_t step = 0; step < steps; ++step) add(track.after[step], track.after[steps + step]);
    return most;
  }

  // The mean errors of all tracks, and of the third with the largest curvature.
  std::array<ErrorMeans, 2> errors_of(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const {
    struct Measured {
      double curvature = 0;
      const double* errors = nullptr;
    };
    std::vector<Measured> tracks;
    for (size_t at = 0; at < examples.size(); ++at) {
      const double* errors = predictions[at].data();
      for_each_track(examples[at], [&](const Track& track) {
        tracks.push_back({curvature(track), errors});
        errors += kErrors;
      });
    }
    std::stable_sort(tracks.begin(), tracks.end(), [](const Measured& a, const Measured& b) { return a.curvature > b.curvature; });
    std::array<ErrorMeans, 2> out{};
    const std::array<size_t, 2> counts = {tracks.size(), std::max<size_t>(1, tracks.size() / 3)};
    for (size_t set = 0; set < 2; ++set) {
      for (size_t at = 0; at < counts[set]; ++at) {
        for (size_t error = 0; error < kErrors; ++error) out[set][error] += tracks[at].errors[error] / static_cast<double>(counts[set]);
      }
    }
    return out;
  }

  const Recipe& recipe_;
  TracksFacts facts_;
};

const ExampleKind& scenes_examples() {
  static const ExampleKind kind = {.name = "crowd", .reads = "crowd", .counted = "windows", .arguments = "--file TABLE"};
  return kind;
}

void read(Fields& fields, Recipe& to) {
  TrajectoryRecipe settings;
  settings_schema().read(fields, settings);
  to.task->data.problem = ProblemType::kRegression;
  to.task->data.examples = {&scenes_examples(), std::make_shared<Scenes>(std::move(settings))};
}

std::vector<std::string> labels_of(const Recipe& recipe) {
  const TrajectoryRecipe& settings = scenes_of(recipe).settings();
  std::vector<std::string> out;
  for (const char* axis : {"x", "y"}) {
    for (int64_t step = 1; step <= settings.predicted; ++step)
      out.push_back(format("{} after {:.4g} s", axis, static_cast<double>(step) * settings.seconds_per_step));
  }
  return out;
}

}  // namespace

const TaskDefinition& trajectories_task() {
  static const TaskDefinition definition = {
      .name = "trajectories",
      .description = "the next positions of the people of a scene, from their tracks; one of several scenes is left out for the test",
      .data = DataFields::kSplit,
      .reads = {"crowd"},
      .output = "positions",
      .class_suffix = "ForTrajectories",
      .can_hold_out = false,
      .has_sequence_targets = true,
      .fields = [] { return settings_schema().describe(); },
      .read = read,
      .commands = {{"predict"}},
      .labels = labels_of,
      .configure = [](const Recipe& recipe, Json& model) { recipe.task->data.examples->configure(recipe, model); },
      .make = make_task<Trajectories>,
  };
  return definition;
}

}  // namespace clearhead::tasks
