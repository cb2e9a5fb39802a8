// Options of beam search, and its result as JSON.
#include "cli/written.h"

#include "base/format.h"
#include "clearhead/tokenizer.h"
#include "generate/trace_of.h"
#include "models/places.h"

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

void add_written(Json& to, const Generated& made) {
  Json ids = Json::array(), probabilities = Json::array();
  for (const GeneratedToken& token : made.tokens) {
    ids.push(static_cast<int64_t>(token.id));
    probabilities.push(token.probability);
  }
  to["text"] = made.text;
  to["tokens"] = ids;
  to["probabilities"] = probabilities;
  to["score"] = made.score;
  to["stopped"] = to_string(made.reason);
}

}  // namespace clearhead::cli
