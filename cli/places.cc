// Checks the tokens that interventions name. The plan of an input without tokens exists only during a run, so an observer checks
// such inputs.
#include "cli/places.h"
#include "clearhead/answers.h"

#include <algorithm>

#include "base/format.h"
#include "cli/input.h"
#include "models/places.h"

namespace clearhead::cli {
namespace {

bool names_places(const Interventions& interventions) { return !interventions.knockouts.empty() || !interventions.keep_only.empty(); }

class PlacesOfRun final : public Observer {
 public:
  PlacesOfRun(const Interventions& interventions, int64_t written) : interventions_(interventions), written_(written) {}
  void begin(const RunPlan& plan) override {
    std::vector<MapFamily> families = plan.families;
    for (MapFamily& family : families) family.queries = std::max(family.queries, written_);
    check_ranges(interventions_, families);
  }
  bool wants(const Site&) override { return false; }
  void take(const Site&, const AttentionRecord&, const KeyNorms&) override {}

 private:
  const Interventions& interventions_;
  int64_t written_ = 0;
};

}  // namespace

void check_places_in(const Interventions& interventions, const Model& model, const Encoding& encoding, int64_t more) {
  if (names_places(interventions)) check_ranges(interventions, plan_of(model, encoding).families, more);
}

void check_places_in(const Interventions& interventions, const Model& model, const ModelInput& input, int64_t written) {
  if (!names_places(interventions)) return;
  PlacesOfRun places(interventions, written);
  observe(model, input, places);
}

void check_places_in(const Interventions& interventions, const Model& model, const std::string& given, const std::string& pair,
                     int64_t more) {
  if (!names_places(interventions)) return;
  if (reads_inputs(model.info())) return check_places_in(interventions, model, input_of(model.info(), given, pair));
  EncodeOptions both;
  if (!pair.empty()) both.pair = pair;
  check_places_in(interventions, model, model.tokenizer().encode(given, both), more);
}

void check_places_in(const Window& window, const Model& model, const std::string& pair, int64_t more) {
  if (!names_places(window.options.interventions)) return;
  for (size_t line = 0; line < window.lines.size(); ++line) {
    if (is_blank(window.lines[line])) continue;  // blank lines are answered without a run
    try {
      check_places_in(window.options.interventions, model, window.lines[line], pair, more);
    } catch (const Error& error) {
      throw Error(error.code(), format("{}: {}", window.options.name(line), error.what()));
    }
  }
}

void check_places_in(const Interventions& interventions, const Model& model, const Embedding& embedding) {
  if (!names_places(interventions)) return;
  Encoding read;
  read.ids.resize(static_cast<size_t>(embedding.used));
  read.type_ids.resize(read.ids.size());
  read.offsets.resize(read.ids.size());
  read.segment.resize(read.ids.size());
  check_places_in(interventions, model, read);
}

}  // namespace clearhead::cli
