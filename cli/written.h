// Generation with an encoder-decoder, shared by clearhead run translate, run summarise and run chat.
#pragma once

#include <optional>
#include <string>

#include "clearhead/generate.h"
#include "cli/cli.h"

namespace clearhead::cli {

/// Arguments of these commands: the model, the search, and the trace file for the attention.
struct WriteArguments {
  std::string model{};
  LoadOptions load{};
  InterventionArguments interventions{};
  std::optional<int64_t> beams{};
  std::optional<double> length_penalty{};
  std::optional<int64_t> max_tokens{};
  std::string trace{};
  bool json = false;

  /// Adds the model and the options of search and loading. `of` completes the help of --max-tokens: "per line", "per answer".
  void add(CLI::App& app, const std::string& of);
  GenerateOptions settings(const Model& of) const;
};
/// Throws kInvalidArgument if an intervention names a query or key that neither a source of `source` tokens nor its target can have.
void check_places_of(const GenerateOptions& settings, int64_t source);

/// Encodes a text as a source. If it is longer than the model's positions, it is truncated, with a notice.
Encoding encode_source(const Model& model, const std::string& text);

/// Adds a generated text to an object: "text", "tokens", "probabilities", "score", "stopped".
void add_written(Json& to, const Generated& made);

}  // namespace clearhead::cli
