// Reads tables of tracks, cuts windows from them, and draws them.
#include "models/tracks.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "base/number.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "models/input_series.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

constexpr int64_t kMostSteps = 1000, kMostPeople = 1024;
constexpr int64_t kLargestName = 1 << 24;  // f32 represents these whole numbers exactly
constexpr int64_t kHeadingSteps = 3;       // one step is dominated by the noise of annotated positions
constexpr float kStandsStill = 0.02F;      // metres per step, below which a direction is noise

constexpr int64_t kSide = 480;  // of the picture of the plane, in pixels
constexpr double kMargin = 24, kTrack = 1, kMarker = 8;
constexpr std::array<uint8_t, 3> kGrey = {150, 150, 150};

int64_t name_of(const TableRow& row, size_t column, const char* name, const std::string& path) {
  const std::optional<int64_t> value = whole_number(row.cells[column]);
  if (!value || std::abs(*value) > kLargestName)
    fail(ErrorCode::kFormat, "{}, line {}, column {} ({}): expected a whole number from −{} to {}, found \"{}\"", path, row.line,
         column + 1, name, kLargestName, kLargestName, row.cells[column]);
  return *value;
}

float coordinate(const TableRow& row, size_t column, const char* name, const std::string& path) {
  const std::optional<float> value = finite_number(row.cells[column]);
  if (!value)
    fail(ErrorCode::kFormat, "{}, line {}, column {} ({}): expected a position in metres, found \"{}\"", path, row.line, column + 1, name,
         row.cells[column]);
  return *value;
}

const TrackTable::Point* position_of(const TrackTable& table, int64_t frame, int64_t person) {
  const auto people = table.frames.find(frame);
  if (people == table.frames.end()) return nullptr;
  const auto found = people->second.find(person);
  return found == people->second.end() ? nullptr : &found->second;
}

int64_t numbers_per_person(const TracksFacts& facts) { return 1 + 2 * facts.observed; }

// Returns the number of people. Throws unless the numbers are those of one or more people.
int64_t count_people(const TracksFacts& facts, const Tensor& numbers) {
  if (!numbers.defined()) fail(ErrorCode::kInvalidArgument, "this model reads tracks, but the input has none (ModelInput::series)");
  const int64_t each = numbers_per_person(facts);
  if (numbers.rank() != 1 || numbers.dtype() != DType::kF32 || numbers.numel() == 0 || numbers.numel() % each != 0) {
    const std::string found = numbers.rank() == 1 ? format("{} numbers", numbers.numel()) : "an array " + to_string(numbers.shape());
    fail(ErrorCode::kShape, "found {}; expected {} for each person: the person's number, then x and y of {} steps", found, each,
         facts.observed);
  }
  if (numbers.numel() / each > kMostPeople)
    fail(ErrorCode::kShape, "the window has {} people; expected at most {}", numbers.numel() / each, kMostPeople);
  return numbers.numel() / each;
}

// Blends a colour into the pixels within `radius` of the line from one point to another.
void draw_line(Tensor& pixels, std::array<double, 2> from, std::array<double, 2> to, double radius, const std::array<uint8_t, 3>& colour) {
  const double dx = to[0] - from[0], dy = to[1] - from[1], length = dx * dx + dy * dy;
  const auto range = [&](size_t axis) {
    const auto [least, most] = std::minmax(from[axis], to[axis]);
    return std::pair{std::max<int64_t>(0, static_cast<int64_t>(least - radius - 1)),
                     std::min<int64_t>(pixels.size(axis == 0 ? 1 : 0) - 1, static_cast<int64_t>(most + radius + 1))};
  };
  const auto [first_x, last_x] = range(0);
  const auto [first_y, last_y] = range(1);
  for (int64_t y = first_y; y <= last_y; ++y) {
    for (int64_t x = first_x; x <= last_x; ++x) {
      const double px = static_cast<double>(x) - from[0], py = static_cast<double>(y) - from[1];
      const double along = length > 0 ? std::clamp((px * dx + py * dy) / length, 0.0, 1.0) : 0;
      const double covered = std::clamp(radius + 0.5 - std::hypot(px - along * dx, py - along * dy), 0.0, 1.0);
      uint8_t* pixel = pixels.mutable_data<uint8_t>() + (y * pixels.size(1) + x) * 3;
      for (size_t c = 0; c < 3; ++c) pixel[c] = static_cast<uint8_t>(std::lround(pixel[c] + covered * (colour[c] - pixel[c])));
    }
  }
}

}  // namespace

TracksFacts read_tracks_facts(Fields& config) {
  TracksFacts out;
  const Json* given = config.take("tracks");
  if (!given) return out;
  Fields fields(*given, config.where(), "tracks");
  const auto steps = [&](const char* name, int64_t least, int64_t otherwise) {
    const int64_t value = fields.integer_or(name, otherwise);
    if (value < least || value > kMostSteps) fields.wrong(name, format("a whole number from {} to {}", least, kMostSteps), Json(value));
    return value;
  };
  out.observed = steps("observed_steps", kHeadingSteps + 1, out.observed);
  out.predicted = steps("predicted_steps", 1, out.predicted);
  out.frames_per_step = steps("frames_per_step", 1, out.frames_per_step);
  out.seconds_per_step = fields.number_or("seconds_per_step", out.seconds_per_step);
  if (!(out.seconds_per_step > 0)) fields.wrong("seconds_per_step", "a number above 0", Json(out.seconds_per_step));
  fields.refuse_rest();
  return out;
}

Json json_of(const TracksFacts& facts) {
  return Json::object({{"observed_steps", facts.observed},
                       {"predicted_steps", facts.predicted},
                       {"frames_per_step", facts.frames_per_step},
                       {"seconds_per_step", facts.seconds_per_step}});
}

TrackTable read_tracks(std::string_view text, const std::string& path) {
  TrackTable out{.path = path};
  for_each_row(text, path, [&](const TableRow& row) {
    if (row.line == 1 && row.cells.front() == "frame") return;
    if (row.cells.size() != 4)
      fail(ErrorCode::kFormat, "{}, line {}: expected 4 columns separated by {} (frame, pedestrian, x, y), found {}", path, row.line,
           separators_of(path), row.cells.size());
    const int64_t frame = name_of(row, 0, "frame", path), person = name_of(row, 1, "pedestrian", path);
    const TrackTable::Point point = {coordinate(row, 2, "x", path), coordinate(row, 3, "y", path)};
    if (!out.frames[frame].emplace(person, point).second)
      fail(ErrorCode::kFormat, "{}, line {}, column 2 (pedestrian): pedestrian {} is already in frame {}", path, row.line, person, frame);
  });
  if (out.frames.empty()) fail(ErrorCode::kFormat, "{}: the table has no rows; expected frame, pedestrian, x and y", path);
  return out;
}

std::optional<Tensor> track_window(const TracksFacts& facts, const TrackTable& table, int64_t last_frame) {
  const auto last = table.frames.find(last_frame);
  if (last == table.frames.end()) return std::nullopt;
  std::vector<float> numbers;
  for (const auto& [person, point] : last->second) {
    std::vector<float> own = {static_cast<float>(person)};
    for (int64_t step = 0; step < facts.observed; ++step) {
      const TrackTable::Point* at = position_of(table, last_frame - (facts.observed - 1 - step) * facts.frames_per_step, person);
      if (!at) break;
      own.insert(own.end(), at->begin(), at->end());
    }
    if (static_cast<int64_t>(own.size()) == numbers_per_person(facts)) numbers.insert(numbers.end(), own.begin(), own.end());
  }
  if (numbers.empty()) return std::nullopt;
  return Tensor::from(numbers, {static_cast<int64_t>(numbers.size())});
}

std::optional<std::vector<float>> track_after(const TracksFacts& facts, const TrackTable& table, int64_t last_frame, int64_t person) {
  std::vector<float> out(static_cast<size_t>(2 * facts.predicted));
  for (int64_t step = 0; step < facts.predicted; ++step) {
    const TrackTable::Point* at = position_of(table, last_frame + (step + 1) * facts.frames_per_step, person);
    if (!at) return std::nullopt;
    out[static_cast<size_t>(step)] = at->front();
    out[static_cast<size_t>(facts.predicted + step)] = at->back();
  }
  return out;
}

Tensor read_track_window(const TracksFacts& facts, std::string_view text, const std::string& path) {
  const TrackTable table = read_tracks(text, path);
  const int64_t last = table.frames.rbegin()->first;
  std::optional<Tensor> window = track_window(facts, table, last);
  if (!window)
    fail(ErrorCode::kInvalidArgument,
         "{}: nobody is present at each of the {} steps of {} frames that end with the table's last frame, {}; expected a table that ends "
         "with the last observed step",
         path, facts.observed, facts.frames_per_step, last);
  return *window;
}

std::vector<int64_t> people_of(const TracksFacts& facts, const Tensor& numbers) {
  std::vector<int64_t> out;
  for (int64_t person = 0; person < count_people(facts, numbers); ++person)
    out.push_back(std::lround(numbers.data<float>()[person * numbers_per_person(facts)]));
  return out;
}

Tensor encode_tracks(const TracksFacts& facts, const Tensor& numbers) {
  const int64_t people = count_people(facts, numbers), each = numbers_per_person(facts);
  const Tensor dense = numbers.contiguous();
  const float* from = dense.data<float>();
  for (int64_t at = 0; at < dense.numel(); ++at) {
    if (!std::isfinite(from[at])) fail(ErrorCode::kInvalidArgument, "number {} is {}; expected a finite number", at + 1, from[at]);
  }
  Tensor out = Tensor::empty({people, each - 1});
  for (int64_t person = 0; person < people; ++person)
    std::copy_n(from + person * each + 1, each - 1, out.mutable_data<float>() + person * (each - 1));
  return out;
}

PersonState person_state(const TracksFacts& facts, const float* positions) {
  const float* last = positions + 2 * (facts.observed - 1);
  const float* before = last - 2 * kHeadingSteps;
  PersonState out{.x = last[0], .y = last[1], .velocity_x = last[0] - last[-2], .velocity_y = last[1] - last[-1]};
  out.mean_velocity_x = (last[0] - before[0]) / kHeadingSteps;
  out.mean_velocity_y = (last[1] - before[1]) / kHeadingSteps;
  const float speed = std::hypot(out.mean_velocity_x, out.mean_velocity_y);
  if (speed > kStandsStill) {
    out.cosine = out.mean_velocity_x / speed;
    out.sine = out.mean_velocity_y / speed;
  }
  return out;
}

DrawnTracks draw_tracks(const TracksFacts& facts, const Tensor& numbers) {
  const Tensor positions = encode_tracks(facts, numbers);
  const int64_t people = positions.size(0), steps = facts.observed;
  const float* from = positions.data<float>();
  std::array<double, 2> least = {from[0], from[1]}, most = least;
  for (int64_t at = 0; at < people * steps; ++at) {
    for (size_t axis = 0; axis < 2; ++axis) {
      const auto value = static_cast<double>(from[2 * at + static_cast<int64_t>(axis)]);
      least[axis] = std::min(least[axis], value);
      most[axis] = std::max(most[axis], value);
    }
  }
  const double pixels = (static_cast<double>(kSide) - 1 - 2 * kMargin) / std::max({most[0] - least[0], most[1] - least[1], 1.0});
  const auto extent = [&](size_t axis) { return static_cast<int64_t>(std::ceil((most[axis] - least[axis]) * pixels + 2 * kMargin)) + 1; };
  const int64_t width = extent(0), height = extent(1);
  DrawnTracks out{Tensor::zeros({height, width, 3}, DType::kU8), Tensor::empty({people, 4})};
  std::fill_n(out.picture.mutable_data<uint8_t>(), out.picture.numel(), uint8_t{255});
  // Rows of pixels count downward; y points up.
  const auto point = [&](int64_t person, int64_t step) {
    const float* at = from + (person * steps + step) * 2;
    return std::array{kMargin + (static_cast<double>(at[0]) - least[0]) * pixels,
                      static_cast<double>(height - 1) - kMargin - (static_cast<double>(at[1]) - least[1]) * pixels};
  };
  for (int64_t person = 0; person < people; ++person) {
    for (int64_t step = 1; step < steps; ++step) draw_line(out.picture, point(person, step - 1), point(person, step), kTrack, kGrey);
    const std::array<double, 2> last = point(person, steps - 1);
    const std::array<double, 4> box = {last[0] - kMarker, last[1] - kMarker, 2 * kMarker, 2 * kMarker};
    std::transform(box.begin(), box.end(), out.boxes.mutable_data<float>() + 4 * person,
                   [](double side) { return static_cast<float>(side); });
  }
  return out;
}

}  // namespace clearhead
