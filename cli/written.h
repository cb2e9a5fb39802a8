// What an encoder-decoder writes from a source: shared by clearhead run translate and clearhead run chat.
#pragma once

#include <optional>
#include <string>

#include "clearhead/generate.h"
#include "clearhead/trace.h"
#include "cli/cli.h"

namespace clearhead::cli {

/// The model, how it searches, and where the attention of what it wrote is kept.
struct WriteArguments {
  std::string model{};
  LoadOptions load{};
  InterventionArguments interventions{};
  std::optional<int64_t> beams{};
  std::optional<double> length_penalty{};
  std::optional<int64_t> max_tokens{};
  std::string trace{};
  bool json = false;

  /// A model, the options of the search and of loading. `of`: "a line", "an answer".
  void add(CLI::App& app, const std::string& of);
  GenerateOptions settings(const Model& of) const;
};
/// The settings of the model's files: of what they leave open, four beams and at most 256 tokens.
GenerateOptions write_settings(const Model& model);
/// Throws kInvalidArgument for interventions on places that neither a source of `source` tokens nor what is written from it has.
void check_places_of(const GenerateOptions& settings, int64_t source);

struct Watched {
  Generated made{};
  Trace trace{};
};
/// Writes from one source, and watches it. text: of the source.
Watched write_watched(const Model& model, const std::string& text, const Encoding& source, GenerateOptions settings,
                      const TraceOptions& keep = {});
/// A text as a source. One beyond the model's positions loses its end, with a notice; unless it `cuts`, it throws kTooLong.
Encoding encoded_source(const Model& model, const std::string& text, bool cuts);

/// Adds what was written to an object: "text", "tokens", "probabilities", "score", "stopped".
void add_written(Json& to, const Generated& made);

}  // namespace clearhead::cli
