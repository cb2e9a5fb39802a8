// Generation with an encoder-decoder, shared by clearhead run translate, run summarise and run chat; generated tokens as JSON.
#pragma once

#include <optional>
#include <string>

#include "clearhead/generate.h"
#include "clearhead/trace.h"
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

/// A text that a model generated from a source.
struct Written {
  Generated generated{};
  std::optional<Trace> trace{};  ///< the run over both texts, if it was asked for and at least one token was generated
};

/// Arguments of the commands that generate one text from one source, and print its alignment to the source.
struct AlignedArguments : WriteArguments {
  TextArguments text{};
  std::string head{};
  bool align = false;

  /// Adds the options of WriteArguments, the text, --align and --head.
  void add(CLI::App& app, const std::string& of);
  /// True if runs are traced, for --align or --trace.
  bool needs_traces() const { return align || !trace.empty(); }
  /// Generates a text. `source` is the text that `encoding` encodes.
  Written write(const Model& from, const std::string& source, const Encoding& encoding, const GenerateOptions& how) const;
  Json json_of(const std::string& source, const Written& written) const;
  void print_answer(const Written& written) const;
  /// With --trace: saves the run, and reports on stderr whether there was one.
  void save_trace(const Written& written) const;
};

/// Throws kInvalidArgument if an intervention names a query or key that neither a source of `source` tokens nor its target can have.
void check_places_of(const GenerateOptions& settings, int64_t source);

/// Encodes a text as a source. If it is longer than the model's positions, it is truncated, with a notice.
Encoding encode_source(const Model& model, const std::string& text);

/// Adds generated tokens to an object: "text", "tokens", "probabilities", "stopped".
void add_generated(Json& to, const Generated& made);
/// The same with the "score" of beam search.
void add_written(Json& to, const Generated& made);
Json probabilities_json(const Generated& made);

}  // namespace clearhead::cli
