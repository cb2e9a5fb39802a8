// clearhead run summarise MODEL TEXT: prints the summary that an encoder-decoder generates, with its alignment to the source, or
// the sentence that a document network selects by its attention.
#include "base/file.h"
#include "base/format.h"
#include "clearhead/answers.h"
#include "clearhead/tokenizer.h"
#include "cli/alignment.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/places.h"
#include "cli/written.h"
#include "generate/trace_of.h"
#include "text/strings.h"
#include "text/turns.h"

namespace clearhead::cli {
namespace {

struct Options : WriteArguments {
  TextArguments text;
  std::string head;
  bool align = false;
};

void choose(const Options& options, const Model& model, const std::string& text) {
  if (options.align || !options.trace.empty())
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

void summarise(const Options& options) {
  if (!options.text.given()) usage_error("give a text, --file, or - for standard input");
  if (!options.trace.empty()) check_writable(options.trace);
  const auto model = load_model(options.model, options.load);
  if (reads_inputs(model->info())) return choose(options, *model, options.text.read());
  const std::string text = as_line(options.text.read());
  const Encoding source = encode_source(*model, text);
  const GenerateOptions settings = options.settings(*model);
  check_places_of(settings, static_cast<int64_t>(source.size()));
  const TracedInput traced = trace_writing(*model, {.input = {.text = text}}, source, settings);
  Generated written = *traced.written;
  written.text = text::strip(as_line(written.text));
  const bool has_words = !written.ids.empty();
  if (options.json) {
    Json out = Json::object({{"source", text}});
    add_written(out, written);
    if (options.align) out["alignment"] = has_words ? alignment_json(alignment_of(traced.trace, options.head)) : Json::array();
    print_json(out);
  } else {
    print(written.text);
    if (options.align && has_words) print_alignment(alignment_of(traced.trace, options.head));
  }
  if (options.trace.empty() || !has_words) return;
  traced.trace.save(options.trace);
  if (!options.json) notice(format("trace: {}; look: clearhead view {}", options.trace, options.trace));
}

}  // namespace

void add_run_summarise(CLI::App& run) {
  auto options = std::make_shared<Options>();
  CLI::App* task = run.add_subcommand("summarise", "Print a model's summary of a text, or the sentence that it selects");
  task->footer(
      "A text that is longer than the model's positions is truncated at its end.\n"
      "Example: clearhead run summarise MODEL --file abstract.txt --align");
  options->add(*task, "per text");
  options->text.add(*task);
  CLI::Option* align = task->add_flag("--align", options->align, "Print which source word each word attends to");
  task->add_option("--head", options->head,
                   "With --align: use this head of cross-attention, like L2.H0 (default: the mean of the last\nlayer's heads)")
      ->needs(align);
  task->add_option("--trace", options->trace, "Write the attention to this trace file")->type_name("FILE");
  task->add_flag("--json", options->json, "Print JSON, with tokens and scores");
  task->callback([options] { summarise(*options); });
}

}  // namespace clearhead::cli
