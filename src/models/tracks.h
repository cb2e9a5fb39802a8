// Tracks of people on a plane, at equal steps of time. The input of a model is a window of a scene: the positions of the people who are
// present at every observed step. Its outputs are their positions at the steps after it.
//
//   table: frame, pedestrian, x, y, one row for each person in each frame; x and y in metres
//   window: steps f − (observed − 1)·F … f of the frames                      F: frames per step
//   person's frame of reference: origin at the last observed position, the first axis along the velocity of the last steps
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/model.h"
#include "models/config.h"
#include "models/network.h"

namespace clearhead {

struct TrackTable {
  using Point = std::array<float, 2>;
  std::map<int64_t, std::map<int64_t, Point>> frames{};  // by frame, then by person
  std::string path{};
};

/// Reads "tracks" of a config.json: {"observed_steps": 8, "predicted_steps": 12, "frames_per_step": 10, "seconds_per_step": 0.4}, all of
/// which have these defaults. Throws kFormat with the field's name.
TracksFacts read_tracks_facts(Fields& config);
Json json_of(const TracksFacts& facts);

/// Reads a table of tracks (*.csv: commas, others: tabs). A first row whose first cell is "frame" is a header. Throws kFormat, with path,
/// line and column, for another number of columns, a cell that is not a number, and a person who is twice in a frame.
TrackTable read_tracks(std::string_view text, const std::string& path);
/// The window that ends with a frame, as ModelInput::series. Nothing if nobody is present at each of its steps.
std::optional<Tensor> track_window(const TracksFacts& facts, const TrackTable& table, int64_t last_frame);
/// The positions of a person at the predicted steps after a frame: all x, then all y. Nothing if one of them is missing.
std::optional<std::vector<float>> track_after(const TracksFacts& facts, const TrackTable& table, int64_t last_frame, int64_t person);
/// Reads the input of a model from a table: the window that ends with its last frame. Throws as read_tracks(); kInvalidArgument if
/// nobody is present at each step of the window.
Tensor read_track_window(const TracksFacts& facts, std::string_view text, const std::string& path);

/// The people of a window.   numbers: as ModelInput::series
std::vector<int64_t> people_of(const TracksFacts& facts, const Tensor& numbers);
/// Throws kInvalidArgument if the window is missing or a number is not finite, kShape for a size that is not a whole number of people.
/// → features f32 [person, 2·observed]
Tensor encode_tracks(const TracksFacts& facts, const Tensor& numbers);

/// A person at the end of a window.
struct PersonState {
  float x = 0, y = 0;                              // last observed position
  float velocity_x = 0, velocity_y = 0;            // in metres per step, of the last step: the prediction of constant velocity
  float mean_velocity_x = 0, mean_velocity_y = 0;  // of the last kHeadingSteps steps
  float cosine = 1, sine = 0;                      // of the angle of the mean velocity; a person who stands still has angle 0
};
/// positions: x, y of each observed step
PersonState person_state(const TracksFacts& facts, const float* positions);

/// The plane from above: the tracks of all people in grey, and a square about the last position of each (ItemRange::boxes).
struct DrawnTracks {
  Tensor picture{};  ///< u8 [height, width, 3], the larger side about 480 pixels
  Tensor boxes{};    ///< f32 [person, 4]
};
/// numbers: as ModelInput::series
DrawnTracks draw_tracks(const TracksFacts& facts, const Tensor& numbers);

}  // namespace clearhead
