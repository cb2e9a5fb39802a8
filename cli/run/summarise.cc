// clearhead run summarise MODEL TEXT: prints the summary that an encoder-decoder generates, with its alignment to the source, or
// the sentence that a document network selects by its attention.
#include "base/file.h"
#include "base/format.h"
#include "clearhead/answers.h"
#include "cli/input.h"
#include "cli/places.h"
#include "cli/run_command.h"
#include "cli/written.h"
#include "text/strings.h"
#include "text/turns.h"

namespace clearhead::cli {
namespace {

void select(const AlignedArguments& options, const Model& model, const std::string& text) {
  if (options.needs_traces())
    usage_error(format("{} selects a sentence; to see its attention, use clearhead show or clearhead trace", model.info().name));
  const ModelInput input = input_of(model.info(), text, "");
  const Interventions interventions = options.interventions.interventions();
  check_places_in(interventions, model, input);
  const std::vector<ClassScore> sentences = summarise(model, input, interventions);
  if (!options.json) return print(sentences.front().label);
  Json out = Json::array();
  for (const ClassScore& one : sentences) out.push(Json::object({{"sentence", one.label}, {"weight", one.probability}}));
  print_json(Json::object({{"sentences", out}}));
}

void run(const AlignedArguments& options) {
  if (!options.text.given()) usage_error("give a text, --file, or - for standard input");
  if (!options.trace.empty()) check_writable(options.trace);
  const auto model = load_model(options.model, options.load);
  if (reads_inputs(model->info())) return select(options, *model, options.text.read());
  const std::string text = as_line(options.text.read());
  const Encoding source = encode_source(*model, text);
  const GenerateOptions settings = options.settings(*model);
  check_places_of(settings, static_cast<int64_t>(source.size()));
  Written written = options.write(*model, text, source, settings);
  written.generated.text = text::strip(as_line(written.generated.text));
  options.json ? print_json(options.json_of(text, written)) : options.print_answer(written);
  options.save_trace(written);
}

void add(CLI::App& app) {
  const auto options = std::make_shared<AlignedArguments>();
  app.footer(
      "A text that is longer than the model supports is truncated at its end.\n"
      "Example: clearhead run summarise MODEL --file abstract.txt --align");
  options->add(app, "per text");
  app.add_option("--trace", options->trace, "Write the attention to this trace file")->type_name("FILE");
  app.add_flag("--json", options->json, "Print JSON, with tokens and scores");
  app.callback([options] { run(*options); });
}

// True for a network that selects a sentence, and for an encoder-decoder whose config has settings for summarization.
bool summarises(const ModelInfo& info) {
  if (info.output == "sentence") return true;
  return writes_from_text(info) && has_task_parameters(info, "summarization");
}

}  // namespace

const RunCommand& summarise_command() {
  static const RunCommand command = {.name = "summarise",
                                     .description = "Print a model's summary of a text, or the sentence that it selects",
                                     .is_task_of = summarises,
                                     .specificity = 3,
                                     .add = add};
  return command;
}

}  // namespace clearhead::cli
