// clearhead run play: a policy plays an episode of the environment in which it was trained. For each step: the board, the action, and the
// past step that the policy attended to most.
#include <algorithm>
#include <array>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "cli/run_command.h"
#include "models/loaded_network.h"
#include "tasks/data/episodes.h"

namespace clearhead::cli {
namespace {

struct Options {
  std::string model{};
  int64_t seed = 1;
  bool observations = false, json = false;
  InterventionArguments interventions{};
};

// The past step that the current step attends to most, by the mean over the heads of the last layer. The first step has no past.
struct Attended {
  size_t step = 0;
  double weight = 0;
};

Attended most_attended(const Maps& maps) {
  const AttentionMap& map = maps.all().back().map;
  const AttentionShape shape = map.shape();
  std::vector<double> mean(static_cast<size_t>(shape.keys), 0);
  for (int64_t head = 0; head < shape.heads; ++head) {
    const std::vector<float> weights = map.head(0, head).row(shape.queries - 1).weights();
    for (size_t key = 0; key < mean.size(); ++key) mean[key] += weights[key] > 0 ? static_cast<double>(weights[key]) : 0;  // hidden: 0
  }
  if (mean.size() > 1) mean.pop_back();  // the current step
  const auto largest = std::max_element(mean.begin(), mean.end());
  return {static_cast<size_t>(largest - mean.begin()), *largest / static_cast<double>(shape.heads)};
}

struct Played {
  tasks::Episode episode{};
  std::vector<Attended> attended{};
};

Played played(const Model& model, const tasks::Environment& environment, uint64_t seed, const Interventions& interventions) {
  const LoadedNetwork& network = network_model(model, "does not play episodes");
  Played out;
  const auto policy = [&](const Batch& episode) {
    Maps maps;
    Tensor logits = network.run_batch(episode, nullptr, {.observer = &maps, .interventions = interventions}).class_logits;
    out.attended.push_back(most_attended(maps));
    return logits;
  };
  out.episode = tasks::play(environment, network.facts(), model.tokenizer(), {seed}, policy, /*draws_board=*/true)[0];
  return out;
}

const char* outcome_of(const tasks::Episode& episode) { return episode.succeeded ? "success" : "failure"; }

Json json_of(const Played& of, const tasks::Environment& environment) {
  Json steps = Json::array();
  for (size_t at = 0; at < of.episode.steps.size(); ++at) {
    const tasks::PlayedStep& step = of.episode.steps[at];
    Json line = Json::object({{"observation", step.observation},
                              {"action", environment.actions[step.action]},
                              {"probability", step.probability},
                              {"reward", step.reward}});
    if (at > 0) {
      line["attends_to"] = static_cast<int64_t>(of.attended[at].step + 1);
      line["weight"] = of.attended[at].weight;
    }
    steps.push(std::move(line));
  }
  return Json::object({{"environment", std::string(environment.name)}, {"success", of.episode.succeeded}, {"steps", steps}});
}

void print_steps(const Played& of, const tasks::Environment& environment) {
  for (size_t at = 0; at < of.episode.steps.size(); ++at) {
    const tasks::PlayedStep& step = of.episode.steps[at];
    const Attended& most = of.attended[at];
    print(format("step {}: {}", at + 1, step.observation));
    for (const std::string& line : step.board) print("    " + line);
    std::string line = format("  → {} ({:.1f} %)", environment.actions[step.action], 100 * step.probability);
    if (at > 0)
      line += format(", attends most to step {} ({:.1f} %: {})", most.step + 1, 100 * most.weight, of.episode.steps[most.step].observation);
    print(line);
  }
  print(format("{} after {} steps", outcome_of(of.episode), of.episode.steps.size()));
}

void run(const Options& options) {
  const auto model = load_model(options.model);
  const std::string& name = model->info().environment;
  if (name.empty())
    fail(ErrorCode::kUnsupported,
         "{}: this model of type \"{}\" does not play episodes; expected a policy with an \"environment\" in its config.json",
         options.model, model->info().model_type);
  const tasks::Environment& environment = tasks::environment_named(name, model->info().directory + "/config.json");
  if (model->info().labels != environment.actions)
    fail(ErrorCode::kInvalidArgument,
         "{}: the model's labels are not the actions of the environment \"{}\"; expected a model that was trained in it", options.model,
         name);
  const Played of = played(*model, environment, tasks::seed_of_test(options.seed), options.interventions.interventions());
  if (options.json) return print_json(json_of(of, environment));
  if (!options.observations) return print_steps(of, environment);
  for (const tasks::PlayedStep& step : of.episode.steps) print(step.observation);
}

void add(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.footer(
      "Example: clearhead run play MODEL --seed 3 --observations > episode.txt, then clearhead view MODEL --file episode.txt, which shows\n"
      "what each step attended to, or clearhead why MODEL --file episode.txt");
  app.add_option("model", options->model, "A policy: a directory, or the name of a model in the local Hugging Face cache")->required();
  app.add_option("--seed", options->seed, "The number of the episode, counted from 0: one of those that train --test measures (default: 1)")
      ->check(whole_from(0));
  CLI::Option* observations = app.add_flag("--observations", options->observations,
                                           "Print only the observations, one line per step: the input that view and why read");
  app.add_flag("--json", options->json, "Print the episode as JSON")->excludes(observations);
  options->interventions.add(app);
  app.callback([options] { run(*options); });
}

}  // namespace

const RunCommand& play_command() {
  static const RunCommand command = {.name = "play",
                                     .description = "Play an episode with a policy, and show what it attended to",
                                     .is_task_of = [](const ModelInfo& info) { return !info.environment.empty(); },
                                     .specificity = 3,
                                     .add = add};
  return command;
}

}  // namespace clearhead::cli
