// clearhead run transcribe MODEL FILE…: transcribes each sound file; --trace stores the attention to the frames.
#include "base/file.h"
#include "base/format.h"
#include "clearhead/data.h"
#include "clearhead/generate.h"
#include "cli/input.h"
#include "cli/places.h"
#include "cli/run_command.h"
#include "cli/written.h"
#include "models/input_kind.h"
#include "text/turns.h"

namespace clearhead::cli {
namespace {

struct Options {
  std::string model;
  std::vector<std::string> files;
  LoadOptions load;
  InterventionArguments interventions;
  std::optional<int64_t> beams{};
  std::optional<int64_t> max_tokens{};
  std::string trace;
  bool json = false;
};

Json json_of(const std::string& file, const Sound& sound, const Generated& made) {
  return Json::object({{"file", file},
                       {"seconds", static_cast<double>(sound.samples.size(1)) / static_cast<double>(sound.rate)},
                       {"text", made.text},
                       {"probabilities", probabilities_json(made)},
                       {"stopped", to_string(made.reason)}});
}

void run(const Options& options) {
  if (!options.trace.empty()) {
    if (options.files.size() != 1) usage_error(format("--trace stores the run of one sound, but {} were given", options.files.size()));
    check_writable(options.trace);
  }
  const auto model = load_model(options.model, options.load);
  std::vector<Sound> sounds;
  for (const std::string& file : options.files) sounds.push_back(read_sound(file));
  Trace trace;
  Progress progress("transcribing");
  GenerateOptions settings{.max_tokens = options.max_tokens ? *options.max_tokens : default_max_tokens(*model, 256),
                           .progress = progress.callback(),
                           .beams = default_beams(*model)};
  if (options.beams) settings.beams.count = *options.beams;
  settings.run.interventions = options.interventions.interventions();
  for (size_t at = 0; at < sounds.size(); ++at) {
    try {
      check_places_in(settings.run.interventions, *model, ModelInput{.sound = sounds[at]}, settings.max_tokens);
    } catch (const Error& error) {
      throw Error(error.code(), format("{}: {}", options.files[at], error.what()));
    }
  }
  if (!options.trace.empty()) settings.run.observer = &trace;
  const std::vector<Generated> made = transcribe(*model, sounds, settings);
  if (!options.trace.empty()) trace.save(options.trace);
  Json texts = Json::array();
  for (size_t at = 0; at < made.size(); ++at) {
    const std::string& file = options.files[at];
    if (options.json) {
      texts.push(json_of(file, sounds[at], made[at]));
    } else {
      print((options.files.size() > 1 ? file + "\t" : "") + as_line(made[at].text));
    }
  }
  if (options.json) return print_json(Json::object({{"transcripts", texts}}));
  if (!options.trace.empty()) notice_trace(options.trace);
}

void add(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.add_option("model", options->model, "A speech model (its directory)")->required();
  app.add_option("files", options->files, "Sound files that libsndfile reads (WAV, FLAC, Ogg …), at the model's sampling rate")->required();
  options->interventions.add(app);
  app.add_option("--beams", options->beams, "Number of beams (default: from the model's files, else 1: greedy search)")
      ->check(whole_from(1, 1000));
  app.add_option("--max-tokens", options->max_tokens, "Stop after this many tokens per sound (default: from the model's files, else 256)")
      ->check(whole_from(1));
  add_load_options(app, options->load);
  app.add_option("--trace", options->trace, "Write the attention to this trace file (for one sound)")->type_name("FILE");
  app.add_flag("--json", options->json, "Print the transcripts as JSON, with the probability of each token");
  app.callback([options] { run(*options); });
}

std::string answer_example(const Model&, const ModelInput&, const TracedInput& traced) { return as_line(traced.trace.plan().text.text); }

}  // namespace

const RunCommand& transcribe_command() {
  static const RunCommand command = {.name = "transcribe",
                                     .description = "Print the transcript of each sound file",
                                     .is_task_of = [](const ModelInfo& info) { return input_kind(info).has_target && reads_inputs(info); },
                                     .add = add,
                                     .answer_example = answer_example};
  return command;
}

}  // namespace clearhead::cli
