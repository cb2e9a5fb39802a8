// Models that are built from the layers of clearhead/nn.h because an Architecture cannot describe them: recurrent, hierarchical,
// convolutional and memory networks. Each network is one file in networks/ with its paper, its equations and its layers. load(),
// training and the viewer find it by its model_type; no other code contains its name.
//
// The config.json of a network contains "model_type", the network's sizes and, for a classifier, "id2label". The weights are in
// model.safetensors, under the names of the Parameters.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/data.h"
#include "clearhead/model.h"
#include "clearhead/nn.h"
#include "models/config.h"

namespace clearhead {

/// Treatment of a picture whose size differs from the network's input.
enum class PictureResize : uint8_t {
  kNone,     // it is refused
  kStretch,  // height and width are scaled independently
  kFit,      // the aspect ratio is kept; the rest is black
};

/// The size of the pictures that a network reads, and of the patches in its attention maps.
struct PictureFacts {
  int64_t channels = 0, height = 0, width = 0;
  int64_t patch = 1;  // side of a patch in pixels; divides height and width
  PictureResize resize = PictureResize::kNone;
  Resampling resample = Resampling::kBilinear;

  int64_t rows() const { return height / patch; }
  int64_t columns() const { return width / patch; }
  int64_t patches() const { return rows() * columns(); }
};

/// The features of the sounds that a network reads, and the items in its attention maps.
struct SoundFacts {
  LogMelOptions mel{};
  int64_t frames = 1;  // number of frames of log_mel() in each item of a map
  // Only for the kind of input "spectrogram": the number of frames that the network reads; whether a shorter sound is padded, and
  // whether a longer one is cut.
  int64_t spectrogram = 0;
  bool pads = false, cuts = false;
};

/// How the numbers of each channel of a series are standardised before the network reads them.
enum class Standardise : uint8_t {
  kNone,  // not at all
  kData,  // (x − mean) / standard deviation, those of the training data
  kEach,  // (x − median) / largest distance from the median, those of the series itself
};

/// A forecast of a column of a table, from windows of its rows (models/forecast.h).
struct ForecastFacts {
  std::string target{}, time{};  // columns; time: may be empty
  // inputs: further columns of the window. known, calendar: columns and calendar features of the row that is forecast.
  std::vector<std::string> inputs{}, known{}, calendar{};
  int64_t horizon = 1;     // the row that is forecast is this many rows after the last row of the window
  int64_t difference = 1;  // the network outputs the difference from the value this many rows before that row; 0: see models/forecast.h
  double deviation = 1;    // scale of the outputs: standard deviation of (difference / `unit` of models/forecast.h) in the training data
  std::vector<double> quantiles = {0.05, 0.5, 0.95};  // ascending; one of them is 0.5
};

/// The series that a network reads, and the items in its attention maps: intervals of the series, and features.
struct SeriesFacts {
  struct Scale {
    double mean = 0, deviation = 1;
    float of(float value) const { return static_cast<float>((static_cast<double>(value) - mean) / deviation); }
  };
  struct Feature {
    std::string name{};
    Scale scale{};
  };
  int64_t channels = 1, length = 0;  // length: in samples
  int64_t interval = 1;              // samples in an interval; divides the length
  Standardise standardise = Standardise::kNone;
  std::vector<Scale> scales{};              // [channel] if standardise is kData
  std::vector<Feature> features{};          // single numbers that belong to the series
  std::optional<ForecastFacts> forecast{};  // set if the outputs are quantiles of a forecast

  int64_t intervals() const { return length / interval; }
  int64_t feature_count() const { return static_cast<int64_t>(features.size()); }
  int64_t items() const { return intervals() + feature_count(); }
  int64_t numbers() const { return channels * length + feature_count(); }
};

/// Tracks of people (models/tracks.h): the steps that a network reads and predicts.
struct TracksFacts {
  int64_t observed = 8, predicted = 12;  // in steps
  int64_t frames_per_step = 10;          // of the tables
  double seconds_per_step = 0.4;
};

/// How an observation is drawn: its first rows·columns words are cells of a board, row by row, filled with the colours of their words.
struct BoardFacts {
  using Colour = std::array<uint8_t, 3>;  // red, green, blue
  int64_t rows = 1, columns = 1;
  std::map<std::string, Colour> colours{};
};

/// The sizes and settings of a network. A comment that begins with a quoted name applies only to that kind of input.
struct NetworkFacts {
  std::string reads{};     // name of the network's kind of input (models/input_kind.h)
  int64_t vocabulary = 0;  // 0: the network reads no tokens
  int64_t layers = 1, heads = 1, width = 0;
  int64_t longest = 0;      // maximum number of tokens in a sequence; 0: no limit
  int64_t slots = 0;        // "story": maximum number of statements, of which the latest are kept; 0: no limit
  int32_t first_token = 0;  // networks that generate text: the first token of a target
  int32_t end_token = -1;   // networks that generate text: the token that ends a target; −1: none
  int32_t pad = 0;          // the padding token
  std::vector<std::string> labels{};
  std::string output{};                             // ModelInfo::output
  ProblemType problem = ProblemType::kSingleLabel;  // of a classifier
  bool tags = false;                                // ModelInfo::tags: a class for each token; logits are [batch, length, label]
  bool answers_from_all = false;                    // the maps are those of the most probable class, read by all queries, not only the last
  PictureFacts picture{};
  int64_t queries = 1;  // "picture": number of queries that attend to the patches
  SoundFacts sound{};
  SeriesFacts series{};
  std::optional<TracksFacts> tracks{};       // "crowd"; absent for other kinds of input
  std::string environment{};                 // "trajectory": the environment in which the policy was trained; empty: unknown
  std::optional<BoardFacts> board{};         // "trajectory": how observations are drawn; absent: they are not
  std::shared_ptr<const NodeGraph> graph{};  // "graph": the graph saved with the model; null in training
};

class Network {
 public:
  virtual ~Network() = default;
  const NetworkFacts& facts() const { return facts_; }

  /// Returns [batch, label] for a classifier, or [batch, length, label] if facts().tags; [document, sentence] if facts().output is
  /// "sentence"; [batch·length, vocabulary] for a network that generates text, whose input is the target so far.
  /// source: the batch that the input attends to, such as a story, a picture or a source text; null if the kind of input has none
  virtual Tensor logits(Compute& compute, const Batch& input, const Batch* source) const = 0;

  /// The output that training reads: logits(), except for networks that have more outputs in training, such as the values of a policy.
  virtual Tensor training_output(Compute& compute, const Batch& input, const Batch* source) const { return logits(compute, input, source); }

  /// Adds the predictions of a run to its items, such as the bounding boxes of objects, before an observer gets the plan. Does nothing if
  /// the input alone describes the items.   outputs: the result of logits()
  virtual void describe_predictions(const Tensor& /*outputs*/, RunText& /*text*/) const {}

  // Generation step by step. Networks that do not generate text throw kUnsupported.
  /// Encodes the sources: sets source, source_lengths and states of the cache, with one row of each state per source.
  virtual void read(Compute& compute, const Batch& source, ModelCache& cache) const;
  /// Reads one more token of each sequence and updates the states. Returns logits [cache.batch, vocabulary].
  virtual Tensor step(Compute& compute, const std::vector<int32_t>& ids, ModelCache& cache) const;

 protected:
  NetworkFacts facts_{};
};

/// Creates the network of a config.json, with its parameters in `parameters`. Returns null if the model_type is not that of a
/// network. Throws kFormat and kUnsupported with the name of the field.
std::unique_ptr<Network> network_of(const Json& config, const std::string& where, Parameters& parameters);
bool is_network(const Json& config);
/// Returns the name of the kind of input (models/input_kind.h) of a network with this config; "text" if it is not a network.
std::string what_is_read(const Json& config);
/// Returns the model types of all networks, separated by commas, for messages.
std::string network_types();

}  // namespace clearhead
