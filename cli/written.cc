// Options of generation with beam search; its result as text and JSON.
#include "cli/written.h"

#include "base/format.h"
#include "clearhead/tokenizer.h"
#include "cli/alignment.h"
#include "cli/run_command.h"
#include "generate/trace_of.h"
#include "models/places.h"
#include "text/turns.h"

namespace clearhead::cli {

void WriteArguments::add(CLI::App& app, const std::string& of) {
  app.add_option("model", model, "An encoder-decoder (its directory, or its name in the local Hugging Face cache)")->required();
  interventions.add(app);
  app.add_option("--beams", beams,
                 "Number of beams (default: from the model's files, else 4). With 1, the most probable\ntoken is taken every time")
      ->check(whole_from(1, 1000));
  app.add_option("--length-penalty", length_penalty,
                 "The score of a beam is log-probability / length^penalty (default: from the model's\nfiles, else 1)");
  app.add_option("--max-tokens", max_tokens, format("Stop after this many tokens {} (default: from the model's files, else 256)", of))
      ->check(whole_from(1));
  add_load_options(app, load);
}

GenerateOptions WriteArguments::settings(const Model& of) const {
  GenerateOptions out = default_writing(of);
  if (max_tokens) out.max_tokens = *max_tokens;
  if (beams) out.beams.count = *beams;
  if (length_penalty) out.beams.length_penalty = *length_penalty;
  out.run.interventions = interventions.interventions();
  return out;
}

void AlignedArguments::add(CLI::App& app, const std::string& of) {
  WriteArguments::add(app, of);
  text.add(app);
  CLI::Option* option = app.add_flag("--align", align, "Print which source words each word attends to");
  app.add_option("--head", head,
                 "With --align: use this head of cross-attention, like L2.H0 (default: the mean of the last\nlayer's heads)")
      ->needs(option);
}

Written AlignedArguments::write(const Model& from, const std::string& source, const Encoding& encoding, const GenerateOptions& how) const {
  if (!needs_traces()) return {generate_from(from, {encoding}, how)[0]};
  TracedInput traced = trace_writing(from, {.input = {.text = source}}, encoding, how);
  Written out{std::move(*traced.written)};
  if (!out.generated.ids.empty()) out.trace = std::move(traced.trace);
  return out;
}

Json AlignedArguments::json_of(const std::string& source, const Written& written) const {
  Json out = Json::object({{"source", source}});
  add_written(out, written.generated);
  if (align) out["alignment"] = written.trace ? alignment_json(alignment_of(*written.trace, head)) : Json::array();
  return out;
}

void AlignedArguments::print_answer(const Written& written) const {
  print_whole(as_line(written.generated.text) + "\n");
  if (align && written.trace) print_alignment(alignment_of(*written.trace, head));
}

void AlignedArguments::save_trace(const Written& written) const {
  if (trace.empty()) return;
  if (written.trace) written.trace->save(trace);
  if (!json || !written.trace) notice_trace(trace, written.trace.has_value());
}

void check_places_of(const GenerateOptions& settings, int64_t source) {
  const int64_t target = settings.max_tokens;
  const std::vector<MapFamily> families = {{.name = "enc", .queries = source, .keys = source},
                                           {.name = "dec", .queries = target, .keys = target},
                                           {.name = "cross", .queries = target, .keys = source}};
  check_ranges(settings.run.interventions, families);
}

Encoding encode_source(const Model& model, const std::string& text) {
  const Encoding whole = model.tokenizer().encode(text);
  Encoding source = truncated_to(whole, model.info().longest);
  if (source.size() < whole.size())
    notice(format("truncated: {} of {} tokens were read; the model has no more positions", with_commas(static_cast<int64_t>(source.size())),
                  with_commas(static_cast<int64_t>(whole.size()))));
  return source;
}

Json probabilities_json(const Generated& made) {
  Json out = Json::array();
  for (const GeneratedToken& token : made.tokens) out.push(token.probability);
  return out;
}

void add_generated(Json& to, const Generated& made) {
  to["text"] = made.text;
  to["tokens"] = Json::array();
  for (const GeneratedToken& token : made.tokens) to["tokens"].push(static_cast<int64_t>(token.id));
  to["probabilities"] = probabilities_json(made);
  to["stopped"] = to_string(made.reason);
}

void add_written(Json& to, const Generated& made) {
  add_generated(to, made);
  to["score"] = made.score;
}

}  // namespace clearhead::cli
