// clearhead run predict: the next positions of the people of a scene, and whom each of them attends to.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "cli/input.h"
#include "cli/run_command.h"
#include "models/encoded_input.h"
#include "models/input_kind.h"
#include "models/loaded_network.h"
#include "models/tracks.h"

namespace clearhead::cli {
namespace {

struct Person {
  int64_t number = 0;
  std::vector<std::array<double, 2>> observed{};      // [step]
  std::vector<std::array<double, 2>> path{};          // [step]
  std::vector<std::pair<int64_t, double>> watches{};  // another person's number and share of the attention, largest first
};

using Predicted = std::vector<Person>;

// Returns the other people and the attention that a person gives to each, a mean over heads. Attention to oneself is left out, so the
// shares sum to less than one.
std::vector<std::pair<int64_t, double>> watched_by(const AttentionMap& map, int64_t person, const std::vector<int64_t>& numbers) {
  std::vector<double> shares(numbers.size(), 0);
  const int64_t heads = map.shape().heads;
  for (int64_t head = 0; head < heads; ++head) {
    const MapRow row = map.head(0, head).row(person);
    for (size_t other = 0; other < numbers.size(); ++other)
      shares[other] += static_cast<double>(row.weights()[other]) / static_cast<double>(heads);
  }
  std::vector<std::pair<int64_t, double>> out;
  for (size_t other = 0; other < numbers.size(); ++other) {
    if (static_cast<int64_t>(other) != person) out.emplace_back(numbers[other], shares[other]);
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return out;
}

Predicted predict(const Model& model, const ModelInput& input, const Interventions& interventions) {
  const LoadedNetwork& network = network_model(model, "does not predict tracks");
  const TracksFacts& facts = *network.facts().tracks;
  const EncodedInput read = encode_input(network.facts(), nullptr, input);
  const EncodedBatch batch = collate({&read}, 0);
  Maps maps;
  const Tensor outputs = network.run_batch(batch.input, nullptr, {.observer = &maps, .interventions = interventions}).class_logits;
  const std::vector<int64_t> numbers = people_of(facts, input.series);
  Predicted out;
  for (size_t at = 0; at < numbers.size(); ++at) {
    const float* positions = batch.input.features.data<float>() + static_cast<int64_t>(at) * 2 * facts.observed;
    const float* own = outputs.data<float>() + static_cast<int64_t>(at) * 2 * facts.predicted;
    Person person{.number = numbers[at]};
    for (int64_t step = 0; step < facts.observed; ++step)
      person.observed.push_back({static_cast<double>(positions[2 * step]), static_cast<double>(positions[2 * step + 1])});
    const auto [x, y] = person.observed.back();
    for (int64_t step = 0; step < facts.predicted; ++step)
      person.path.push_back({x + static_cast<double>(own[step]), y + static_cast<double>(own[facts.predicted + step])});
    for (const Maps::Kept& layer : maps.all()) {
      if (layer.site.family == "people") person.watches = watched_by(layer.map, static_cast<int64_t>(at), numbers);
    }
    out.push_back(std::move(person));
  }
  return out;
}

// The plane, seen from above: observed tracks, predicted paths (dashed), and a line from each person to everyone they attend to. The width
// of such a line is proportional to the attention; the line is drawn to the right of its direction. 1 m is 40 pixels.
class Plane {
 public:
  explicit Plane(const Predicted& found) : found_(found) {
    for (const Person& person : found) {
      for (const auto* path : {&person.observed, &person.path}) {
        for (const auto& [x, y] : *path) {
          left_ = std::min(left_, x);
          right_ = std::max(right_, x);
          bottom_ = std::min(bottom_, y);
          top_ = std::max(top_, y);
        }
      }
    }
  }

  std::string svg() const {
    std::string out = format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0f} {:.0f}\" font-family=\"sans-serif\" "
        "font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        (right_ - left_ + 2 * kMargin) * kPixels, (top_ - bottom_ + 2 * kMargin) * kPixels);
    for (const Person& person : found_) {
      for (const auto& watched : person.watches) {
        const auto is_watched = [&](const Person& one) { return one.number == watched.first; };
        const auto other = std::find_if(found_.begin(), found_.end(), is_watched);
        if (watched.second >= kLeastShare)
          out +=
              line(beside(person.observed.back(), other->observed.back()), "#d55e00", kWidest * watched.second, " stroke-opacity=\"0.6\"");
      }
    }
    for (const Person& person : found_) {
      std::vector<std::array<double, 2>> path = {person.observed.back()};
      path.insert(path.end(), person.path.begin(), person.path.end());
      out += line(person.observed, "#0072b2", 2, "") + line(path, "#0072b2", 2, " stroke-dasharray=\"3 4\"");
      const auto [x, y] = at(person.observed.back());
      out += format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"#0072b2\"/><text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x, y,
                    x + 6, y - 6, person.number);
    }
    return out + "</svg>\n";
  }

 private:
  static constexpr double kPixels = 40, kMargin = 1, kLeastShare = 0.05, kWidest = 12;  // pixels per metre, metres, share, pixels

  std::array<double, 2> at(const std::array<double, 2>& point) const {
    return {(point[0] - left_ + kMargin) * kPixels, (top_ - point[1] + kMargin) * kPixels};
  }
  // Returns the line from one point to another, moved to its right, so that the lines between two people do not cover each other.
  static std::vector<std::array<double, 2>> beside(std::array<double, 2> from, std::array<double, 2> to) {
    const double dx = to[0] - from[0], dy = to[1] - from[1], scale = kWidest / 3 / kPixels / std::max(1e-6, std::hypot(dx, dy));
    for (auto* end : {&from, &to}) *end = {(*end)[0] + dy * scale, (*end)[1] - dx * scale};
    return {from, to};
  }
  std::string line(const std::vector<std::array<double, 2>>& path, const char* colour, double wide, const char* more) const {
    std::string points;
    for (const auto& point : path) points += format("{}{:.1f},{:.1f}", points.empty() ? "" : " ", at(point)[0], at(point)[1]);
    return format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{:.1f}\"{}/>\n", points, colour, wide, more);
  }

  const Predicted& found_;
  double left_ = 1e9, right_ = -1e9, bottom_ = 1e9, top_ = -1e9;
};

struct Predict final : TextCommand<Predicted> {
  Predict() : TextCommand("predicting") {}

  TracksFacts facts{};
  std::string picture{};

  void add_options(CLI::App& app) override {
    app.add_option("--svg", picture, "Draw the tracks, the predicted paths and who watches whom to this file")->type_name("FILE");
  }

  void begin(const Model& of) override {
    if (of.info().output != "positions")
      fail(ErrorCode::kUnsupported,
           "{}: the model does not predict positions; expected one that was trained with the task \"trajectories\"", of.info().name);
    facts = *network_model(of, "does not predict tracks").facts().tracks;
  }
  Predicted answer_text(const Model& of, const std::string& given) override {
    const std::string path = text.file.empty() || text.file == "-" ? "table.tsv" : text.file;
    Predicted found = predict(of, {.series = read_track_window(facts, given, path)}, interventions_in(of, given));
    if (!picture.empty()) write_file(picture, Plane(found).svg());
    return found;
  }

  Json json_of(const Predicted& found) const override {
    Json people = Json::array();
    for (const Person& person : found) {
      Json path = Json::array(), watches = Json::array();
      for (const auto& [x, y] : person.path) path.push(Json(Json::Array{Json(x), Json(y)}));
      for (const auto& [number, share] : person.watches) watches.push(Json::object({{"person", number}, {"attention", share}}));
      people.push(Json::object({{"person", person.number}, {"path", std::move(path)}, {"watches", std::move(watches)}}));
    }
    return Json::object({{"seconds_per_step", facts.seconds_per_step}, {"people", std::move(people)}});
  }
  std::string line_of(const Predicted& found) const override {
    std::string line;
    for (const Person& person : found)
      line += format("{}{}\t{:.2f}\t{:.2f}", line.empty() ? "" : "\t", person.number, person.path.back()[0], person.path.back()[1]);
    return line;
  }
  void print_answer(const Predicted& found) const override {
    const double seconds = static_cast<double>(facts.predicted) * facts.seconds_per_step;
    for (const Person& person : found) {
      std::string line =
          format("person {}: at {:.2f}, {:.2f} after {:.4g} s", person.number, person.path.back()[0], person.path.back()[1], seconds);
      if (!person.watches.empty())
        line += format("; watches person {} most ({:.0f} %)", person.watches.front().first, 100 * person.watches.front().second);
      print(line);
    }
  }
};

std::string answer_example(const Model& model, const ModelInput& input, const TracedInput&) {
  std::string out;
  for (const Person& person : predict(model, input, {}))
    out += format("{}person {} at {:.2f}, {:.2f}", out.empty() ? "" : "; ", person.number, person.path.back()[0], person.path.back()[1]);
  return out;
}

}  // namespace

const RunCommand& predict_command() {
  static const RunCommand command = {.name = "predict",
                                     .description = "Print the next positions of the people of a scene, and whom each of them watches",
                                     .is_task_of = [](const ModelInfo& info) { return info.output == "positions"; },
                                     .specificity = 3,
                                     .add = add_text_command<Predict>,
                                     .answer_example = answer_example};
  return command;
}

}  // namespace clearhead::cli
