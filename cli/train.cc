// clearhead train RECIPE [key=value …]: trains a model that the other commands accept.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/format.h"
#include "cli/cli.h"
#include "cli/measure.h"
#include "cli/run_command.h"
#include "cli/show_batches.h"
#include "cli/train_list.h"
#include "comm/comm.h"
#include "tasks/recipe/task_definition.h"
#include "train/trainer.h"

namespace clearhead::cli {
namespace {

std::atomic<bool> asked_to_stop{false};

// The first Ctrl-C ends the run after the current micro-batch, or after the current step if there are several processes; a second
// one ends the process.
void stop(int signal) {
  if (!asked_to_stop.exchange(true)) return;
  remove_unfinished_files();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

struct Options {
  std::string recipe, out, test;
  std::vector<std::string> settings, watch;
  int64_t batches = 0;
  bool resume = false, data_changed = false, list = false, json = false, fields = false;
};

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole >= 3600) return format("{} h {:02} min", whole / 3600, whole / 60 % 60);
  return whole >= 60 ? format("{} min {:02} s", whole / 60, whole % 60) : format("{} s", whole);
}

void print_report(const train::TrainingReport& report, bool json) {
  const double left = static_cast<double>(report.steps - report.step);
  if (json) {
    Json line = Json::object({{"step", report.step},
                              {"loss", report.loss},
                              {"rate", report.rate},
                              {"gradient_norm", report.gradient_norm},
                              {"tokens_per_second", report.tokens_per_second > 0 ? Json(report.tokens_per_second) : Json()}});
    for (const auto& [name, value] : report.maps) line[name] = value;
    if (report.validation) {
      line["validation_loss"] = *report.validation;
      if (report.bytes_per_token > 0) line["bits_per_byte"] = bits_per_byte(*report.validation, report.bytes_per_token);
      for (const auto& [name, value] : report.metrics) line[name] = value;
    }
    return print_json(line);
  }
  const double step_seconds = report.seconds_per_step;
  const std::string speed = report.tokens_per_second > 0 ? format("{:.0f} tokens/s", report.tokens_per_second)
                                                         : format("{:.2f} steps/s", 1 / std::max(step_seconds, 1e-9));
  std::string line = format("step {:>{}} of {}  loss {:.4f}  rate {:.2e}  {}  {} left", report.step, std::to_string(report.steps).size(),
                            report.steps, report.loss, report.rate, speed, duration(left * step_seconds));
  for (const auto& [name, value] : report.maps) line += format("  {} {:.4f}", name, value);
  if (report.validation) {
    line += format("  validation {:.4f}", *report.validation);
    if (report.bytes_per_token > 0) line += format(" ({:.3f} bits/byte)", bits_per_byte(*report.validation, report.bytes_per_token));
    for (const auto& [name, value] : report.metrics) line += format("  {} {:.2f} %", name, value * 100);
  }
  print(line);
}

std::unique_ptr<train::Trainer> trainer_of(const Options& options, const std::shared_ptr<Comm>& comm) {
  if (options.resume) {
    constexpr std::string_view kData = "data=";
    const bool moves_data = options.settings.size() == 1 && options.settings[0].starts_with(kData) && options.settings[0] != kData;
    if ((!options.settings.empty() && !moves_data) || !options.watch.empty()) {
      usage_error(
          "--resume uses the run's own recipe; settings and --watch are for a new run, except data=DIR for a data folder that was moved");
    }
    const std::string data = moves_data ? options.settings[0].substr(kData.size()) : "";
    return train::Trainer::resume(options.recipe, comm, {.data = data, .data_changed = options.data_changed});
  }
  std::vector<std::string> settings = options.settings;
  if (!options.watch.empty()) settings.push_back("watch.texts=" + Json(Json::Array(options.watch.begin(), options.watch.end())).dump());
  const std::string name = std::filesystem::path(options.recipe).stem().string();
  return std::make_unique<train::Trainer>(tasks::Recipe::read(options.recipe, settings), options.out.empty() ? "runs/" + name : options.out,
                                          comm);
}

Json json_of(const tasks::FieldDescription& field, const Json& task) {
  return Json::object(
      {{"task", task}, {"name", field.name}, {"accepts", field.accepts}, {"default", field.fallback}, {"meaning", field.meaning}});
}

// Prints the fields of recipes, or of one task: accepted values, default, meaning. JSON without a task also lists the fields of
// all tasks.
void print_fields(const std::string& task, bool json) {
  const std::vector<tasks::FieldDescription> fields = task.empty() ? tasks::recipe_fields() : tasks::task_fields(task);
  if (json) {
    for (const tasks::FieldDescription& field : fields) print_json(json_of(field, task.empty() ? Json() : Json(task)));
    for (const std::string& name : task.empty() ? tasks::task_names() : std::vector<std::string>()) {
      for (const tasks::FieldDescription& field : tasks::task_fields(name)) print_json(json_of(field, Json(name)));
    }
    return;
  }
  for (const tasks::FieldDescription& field : fields) {
    const bool is_required = field.fallback.starts_with("required");
    print(format("{}: {} ({}{})", field.name, field.accepts, is_required ? "" : "default: ", field.fallback));
    print("    " + field.meaning);
  }
  if (task.empty())
    print(format("\nThe other fields of \"task\" depend on its kind; to print them: clearhead train --fields TASK, where TASK is {}",
                 tasks::schema::alternatives(tasks::task_names())));
}

// Runs the training. Returns false if it was stopped before its last step.
bool run_training(const Options& options, const std::shared_ptr<Comm>& comm) {
  const std::unique_ptr<train::Trainer> trainer = trainer_of(options, comm);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, stop);
  const bool speaks = comm->rank() == 0;
  const auto say = [&](const std::string& what) {
    if (speaks) notice(what);
  };
  const std::string together = comm->size() > 1 ? format(", with {} processes", comm->size()) : "";
  say(format("{} parameters, {} tokens to train on, steps {} to {}, in {}{}", with_commas(trainer->parameter_count()),
             with_commas(trainer->training_tokens()), trainer->step(), trainer->steps(), trainer->directory(), together));
  for (const tasks::DataSummary& part : trainer->data()) {
    for (const std::string& line : part.lines()) say(line);
  }
  if (trainer->data_has_changed()) say("the data has changed since the checkpoint was written: from here on, this is a different run");
  const int64_t first = trainer->step();
  const auto report = [&](const train::TrainingReport& now) {
    print_report(now, options.json);
    std::fflush(stdout);  // so that a log can be followed during the run
    if (!now.warning.empty()) notice(now.warning);
  };
  const bool finished = trainer->run(report, &asked_to_stop);
  if (comm->size() > 1 && trainer->step() > first) {
    const double sent = static_cast<double>(comm->bytes_sent()) / static_cast<double>(trainer->step() - first);
    say(format("each process sent {:.2f} MB per step", sent / 1e6));
  }
  const std::string folder = quoted(trainer->directory());
  if (!finished) {
    say(format("stopped after step {}; to continue: clearhead train --resume {}", trainer->step(), folder));
  } else {
    const tasks::CommandExample command = tasks::command_of(trainer->recipe());
    const std::string model = quoted(trainer->directory() + "/best"), separator = command.arguments.empty() ? "" : " ";
    say(format("done: clearhead run {} {}{}{}", command.name, model, separator, command.arguments));
  }
  return finished;
}

// With several processes, an error in one ends all of them, because the others may be waiting for it and would never return.
bool train_or_end_all(const Options& options, const std::shared_ptr<Comm>& comm) {
  if (comm->size() == 1) return run_training(options, comm);
  try {
    return run_training(options, comm);
  } catch (const std::exception& problem) {
    notice(format("process {} of {}: {}", comm->rank(), comm->size(), problem.what()));
  }
  std::_Exit(1);
}

void run(const Options& options) {
  check_commands_of_tasks();  // the last message of a run names such a command
  if (options.fields) return print_fields(options.recipe, options.json);
  if (options.list) return list_recipes(options.recipe.empty() ? "recipes" : options.recipe, options.json);
  if (options.recipe.empty())
    usage_error("give a recipe (clearhead train --list shows the available ones), or with --resume the folder of a run");
  if (!options.test.empty()) {
    if (options.resume) usage_error("--test takes a recipe (and data=DIR if the data is elsewhere), not --resume");
    return measure(tasks::Recipe::read(options.recipe, options.settings), options.test, options.json);
  }
  if (options.batches > 0) {
    if (options.resume) usage_error("--batches takes a recipe (and data=DIR if the data is elsewhere), not --resume");
    return show_batches(tasks::Recipe::read(options.recipe, options.settings), options.batches, options.json);
  }
  if (options.data_changed && !options.resume) usage_error("--data-changed applies to --resume: add --resume");
  if (options.resume && !options.out.empty())
    usage_error("--resume takes the run's folder instead of a recipe and continues there; -o is for a new run");
  if (!train_or_end_all(options, join_processes())) throw CLI::RuntimeError(130);
}

}  // namespace

void add_train(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train", "Train a model from a recipe");
  command->footer("Example: clearhead train recipes/tiny-shakespeare.json data=DIR steps=2000 -o runs/first");
  command->add_option("recipe", options->recipe, "A recipe (JSON file, docs/training.md); with --resume the folder of a run");
  command->add_option("settings", options->settings,
                      "Fields of the recipe to replace: data=DIR, steps=2000, schedule.learning_rate=1e-3 …; with --resume only data=DIR");
  command->add_option("-o,--out", options->out, "Folder of the run (default: runs/RECIPE)")->type_name("DIR");
  command->add_option("--watch", options->watch,
                      "Store traces of this text during training, in RUN/watch, to see how heads develop\n"
                      "(repeatable). For an encoder-decoder: source, tab, target");
  command->add_flag("--resume", options->resume, "Continue from the folder's last checkpoint, bit for bit as if the run had never stopped");
  command->add_flag("--data-changed", options->data_changed, "With --resume: continue although the data has changed");
  command->add_option("--test", options->test, "Do not train: evaluate this model on the recipe's test data, which training never uses")
      ->type_name("MODEL");
  command->add_option("--batches", options->batches, "Do not train: print the first N batches")->check(CLI::PositiveNumber);
  command->add_flag("--list", options->list, "Do not train: print the recipes of a folder (default: recipes) with their results");
  command->add_flag("--fields", options->fields,
                    "Do not train: print the fields of recipes, or of one task (train --fields classification)");
  command->add_flag("--json", options->json, "Print reports as JSON, one per line");
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
