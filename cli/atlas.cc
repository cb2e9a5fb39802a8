// clearhead atlas MODEL TEXT: scores each head on a text, for example as an induction head or a previous-token head.
#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "cli/cli.h"
#include "cli/look.h"
#include "cli/terminal.h"

namespace clearhead::cli {
namespace {

struct Options {
  TraceArguments look;
  std::string sort, family;
  bool json = false, definitions = false;
};

void print_definitions(bool json) {
  Json list = Json::array();
  for (const HeadScoreDefinition& entry : head_score_definitions()) {
    if (!json) print(format("{:<10} {}\n{:<10} {}", entry.id, entry.definition, "", entry.source));
    list.push(Json::object({{"id", entry.id}, {"definition", entry.definition}, {"source", entry.source}}));
  }
  if (json) print_json(Json::object({{"definitions", list}}));
}

std::vector<HeadScores> sorted(std::vector<HeadScores> heads, const std::string& by) {
  if (by.empty()) return heads;
  if (by == "strength") return by_strength(std::move(heads));
  for (size_t s = 0; s < kHeadScores; ++s) {
    if (by != head_score_definitions()[s].id) continue;
    std::stable_sort(heads.begin(), heads.end(), [s](const HeadScores& a, const HeadScores& b) { return a.scores[s] > b.scores[s]; });
    return heads;
  }
  usage_error(format("--sort {}: expected strength or the name of a score (clearhead atlas --definitions lists them)", by));
}

// One row per head: its strongest scores by name, then one column per score. In a narrow terminal, names are shortened and
// percentages are rounded to whole numbers.
void print_table(const std::vector<HeadScores>& heads) {
  constexpr int kNames = 8, kStrongest = 36, kStrongestShort = 20, kScores = static_cast<int>(kHeadScores);
  const Terminal screen = terminal();
  const bool is_short = screen.is_window && screen.width < kNames + kStrongest + 7 * kScores;
  const int strongest_width = is_short ? kStrongestShort : kStrongest;
  const int width = screen.is_window ? std::clamp((screen.width - kNames - strongest_width) / kScores, 5, 11) : 11;
  std::string header = fit("head", kNames) + fit(is_short ? "strongest, %" : "strongest", strongest_width);
  for (const HeadScoreDefinition& entry : head_score_definitions()) header += " " + fit(entry.id, width - 1, true);
  print(header);
  for (const HeadScores& head : heads) {
    std::string line = fit(head_name(head.layer, head.head), kNames) + fit(strongest_text(head, is_short), strongest_width);
    for (size_t s = 0; s < kHeadScores; ++s) {
      const float score = head.scores[s];
      const bool is_share = s != static_cast<size_t>(HeadScore::kDistance);
      const char* pattern = is_short || width < 8 ? "{:.0f}{}" : "{:.1f}{}";
      const char* unit = is_share && !is_short ? " %" : "";
      const std::string number = std::isnan(score) ? "–" : format(pattern, is_share ? score * 100 : score, unit);
      const std::string cell = fit(number, width - 1, true);
      line += " " + (is_share && !std::isnan(score) ? shaded(screen, cell, score) : cell);
    }
    print(line);
  }
}

void run(Options& options) {
  if (options.definitions) return print_definitions(options.json);
  if (options.look.model.empty()) usage_error("give a model with a text, or a trace");
  options.look.statistics_in_run = true;
  const Trace trace = options.look.trace();
  const std::string family = family_of(trace, options.family);
  Progress progress("atlas");
  const std::vector<HeadScores> heads = sorted(head_atlas(trace, family, {.progress = progress.callback()}), options.sort);
  if (options.json) {
    Json list = Json::array();
    for (const HeadScores& head : heads) list.push(head_json(head));
    return print_json(
        Json::object({{"model", trace.plan().model}, {"family", family}, {"tokens", trace.plan().text.ids.size()}, {"heads", list}}));
  }
  print_table(heads);
}

}  // namespace

void add_atlas(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("atlas", "Classify each head by its scores on a text");
  command->footer("Example: clearhead atlas MODEL --file corpus.txt --sort induction");
  options->look.add(*command);
  command->get_option("model")->required(false);
  command->add_option("--sort", options->sort, "Order by strength, or by one score: induction, previous … (default: by layer and head)");
  command->add_option("--family", options->family,
                      "Which attention maps, for a model that has several kinds: enc, dec or cross (default: the first)");
  command->add_flag("--definitions", options->definitions, "Print what the scores mean and which papers they come from; needs no model");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
