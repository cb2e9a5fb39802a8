// The people of a scene, with their tracks up to the last observed step. The items of its maps are the observed steps of every person, and
// the people.
#include <utility>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "models/input_kind.h"
#include "models/input_text.h"
#include "models/tracks.h"

namespace clearhead {
namespace {

void read_facts(Fields& config, NetworkFacts& to) {
  to.tracks = read_tracks_facts(config);
  to.output = "positions";
  to.problem = ProblemType::kRegression;
}

Tensor read_numbers(const ModelInfo& info, std::string_view text) {
  const std::string path = info.directory + "/config.json";
  const Json config = Json::parse(read_config(path), path);
  Fields fields(config, path);
  return read_track_window(read_tracks_facts(fields), text, "table.tsv");
}

EncodedInput encode(const NetworkFacts& facts, const Tokenizer*, const ModelInput& input) {
  return {.input = {.features = encode_tracks(*facts.tracks, input.series)}};
}

// Names an item "person 12, −0.8 s", counted from the last observed step.
RunText describe(const NetworkFacts& network, const Tokenizer*, const ModelInput& input) {
  const TracksFacts& facts = *network.tracks;
  const std::vector<int64_t> people = people_of(facts, input.series);
  const int64_t steps = facts.observed * static_cast<int64_t>(people.size());
  RunText text;
  for (const int64_t person : people) {
    for (int64_t step = 0; step < facts.observed; ++step) {
      const double before = static_cast<double>(facts.observed - 1 - step) * facts.seconds_per_step;
      add_item(text, step + 1 == facts.observed ? format("person {}, now", person) : format("person {}, −{:.4g} s", person, before));
    }
  }
  text.items.push_back({.kind = "step", .begin = 0, .end = steps});
  for (const int64_t person : people) add_item(text, format("person {}", person));
  DrawnTracks drawn = draw_tracks(facts, input.series);
  text.items.push_back({.kind = "person",
                        .begin = steps,
                        .end = steps + static_cast<int64_t>(people.size()),
                        .picture = std::move(drawn.picture),
                        .boxes = std::move(drawn.boxes)});
  return text;
}

}  // namespace

const InputKind& crowd_input() {
  static const InputKind kind = {.name = "crowd",
                                 .form = InputKind::Form::kNumbers,
                                 .texts = "tables of tracks",
                                 .read_config = read_facts,
                                 .read_numbers = read_numbers,
                                 .encode = encode,
                                 .describe = describe};
  return kind;
}

}  // namespace clearhead
