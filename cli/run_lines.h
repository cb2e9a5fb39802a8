// Arguments and output formats that the tasks of clearhead run share, and the tasks on many lines (--lines).
#pragma once

#include <optional>
#include <string>

#include "clearhead/answers.h"
#include "clearhead/generate.h"
#include "cli/cli.h"

namespace clearhead::cli {

struct RunArguments {
  std::string model{}, pair{}, question{}, trace{}, budget{};
  std::optional<DType> cache{};
  LoadOptions load{};
  TextArguments text{};
  InterventionArguments interventions{};
  bool json = false, greedy = false, lines = false;
  std::string out{};  ///< the .npy file for embeddings
  int64_t top = 5, labels = 10;
  std::optional<double> temperature{}, top_p{}, repetition_penalty{};
  std::optional<int64_t> top_k{}, max_tokens{};
  uint64_t seed = 0;
};

/// Print one answer for each line of the text; with --json one object per line. A blank line is embedded or classified as an empty
/// text if the model accepts one; otherwise its answer is empty.
void embed_lines(const RunArguments& options);
void fill_lines(const RunArguments& options);
void classify_lines(const RunArguments& options);
void generate_lines(const RunArguments& options);
void score_lines(const RunArguments& options);
void tag_lines(const RunArguments& options);
void answer_text_lines(const RunArguments& options);

/// The answers for one text or line as JSON.
Json embedding_json(const Embedding& embedding);
Json masks_json(const std::vector<std::vector<Candidate>>& masks);
Json classes_json(const std::vector<ClassScore>& classes, ProblemType problem);
/// "97.20 %", or the value of a regression.
std::string in_words(const ClassScore& score, ProblemType problem);
Json generated_json(const Generated& made);
Json entities_json(const std::string& text, const std::vector<TaggedSpan>& spans);
Json answer_json(const std::string& span, const TextAnswer& found);
/// The text of an entity.
std::string words_of(const std::string& text, const TaggedSpan& span);
std::string in_numbers(const Embedding& embedding);
GenerateOptions generate_options(const RunArguments& options, const Model& model);

}  // namespace clearhead::cli
