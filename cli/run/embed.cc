// clearhead run embed: the vector of a sentence.
#include <cmath>
#include <optional>

#include "base/format.h"
#include "clearhead/answers.h"
#include "cli/places.h"
#include "cli/run_command.h"
#include "io/npy.h"

namespace clearhead::cli {
namespace {

struct Embed final : TextCommand<Embedding> {
  Embed() : TextCommand("embedding") {}

  std::string out{};                  // the .npy file
  std::optional<io::NpyRows> rows{};  // writes the vectors to `out`; unset without -o
  int64_t width = 0, truncated = 0;

  void add_options(CLI::App& app) override {
    app.add_option("-o", out, "With --lines: write the vectors to this .npy file, f32 [lines, width]")->type_name("FILE");
  }
  void check_options() const override {
    if (!out.empty() && !lines) usage_error("-o writes the embeddings of --lines: add --lines");
  }
  void begin(const Model& of) override {
    width = of.info().width;
    if (!out.empty()) rows.emplace(out, width);
  }

  Embedding answer_text(const Model& of, const std::string& given) override {
    const Interventions changes = interventions.interventions();
    Embedding embedding = embed(of, given, {.interventions = changes});
    check_places_in(changes, of, embedding);
    if (embedding.used < embedding.tokens) {
      notice(format("truncated: {} of {} tokens were used ({})", with_commas(embedding.used), with_commas(embedding.tokens),
                    embedding.used == of.info().longest ? "the model has no more positions" : "the model's max_seq_length"));
    }
    return embedding;
  }
  std::vector<Embedding> answer_window(const Model& of, const Window& window) override {
    std::vector<Embedding> embeddings = embed_all(of, window.lines, window.options);
    for (const Embedding& embedding : embeddings) check_places_in(window.options.interventions, of, embedding);
    for (const Embedding& embedding : embeddings) {
      truncated += embedding.used < embedding.tokens;
      if (rows) rows->append(embedding.values);
    }
    return embeddings;
  }
  bool prints_lines() const override { return !rows || json; }
  void skip_line() override {
    if (rows) rows->append(std::vector<float>(static_cast<size_t>(width), std::nanf("")));
  }
  void finish_lines() override {
    if (rows) rows->commit();
    if (truncated > 0) notice(format("truncated: {} lines have more tokens than the model reads", with_commas(truncated)));
  }

  Json json_of(const Embedding& embedding) const override {
    return Json::object({{"embedding", Json::Array(embedding.values.begin(), embedding.values.end())}});
  }
  std::string line_of(const Embedding& embedding) const override {
    std::string line;
    for (const float value : embedding.values) line += format("{}{:.6g}", line.empty() ? "" : " ", value);
    return line;
  }
  void print_answer(const Embedding& embedding) const override { print(line_of(embedding)); }
};

}  // namespace

const RunCommand& embed_command() {
  static const RunCommand command = {.name = "embed",
                                     .description = "Print a sentence's vector, as sentence-transformers computes it",
                                     .is_task_of = [](const ModelInfo& info) { return info.has_embedding; },
                                     .specificity = 0,
                                     .add = add_text_command<Embed>};
  return command;
}

}  // namespace clearhead::cli
