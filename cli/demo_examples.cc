// Runs the models of a folder on their examples with each model's own task, prints the answers and checks the traces.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/format.h"
#include "clearhead/map.h"
#include "cli/alignment.h"
#include "cli/demo.h"
#include "cli/input.h"
#include "cli/look.h"
#include "cli/run_command.h"
#include "generate/trace_of.h"
#include "models/example.h"
#include "text/turns.h"
#include "viewer/export.h"
#include "viewer/view_state.h"

namespace clearhead::cli {
namespace {

std::vector<std::string> models_with_example(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    if (std::filesystem::exists(entry.path() / "example.json")) out.push_back(entry.path().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

struct Seen {
  Trace trace{};
  std::shared_ptr<const Model> model{};
  std::string command{};  // shows the same trace
  std::string answer{};
  std::vector<explain::ShownAnswer> answers{};
};

// Traces the example, and prints the model's answer.
Seen read_by(const ModelInfo& info, const ModelExample& example) {
  const auto model = load_model(info.name);
  const ModelInput input = input_of(info, example.input, example.question);
  TracedInput traced = trace_of(*model, {.input = input, .logits = true});
  print("  " + as_line(example.input));
  if (!example.question.empty()) print("  " + example.question);
  const std::vector<const RunCommand*> commands = commands_of(info);
  const auto answering =
      std::find_if(commands.rbegin(), commands.rend(), [](const RunCommand* command) { return command->answer_example != nullptr; });
  const std::string answer = answering == commands.rend() ? "" : (*answering)->answer_example(*model, input, traced);
  if (!answer.empty()) print("  → " + answer);
  if (writes_from_text(info)) print_alignment(alignment_of(traced.trace, ""));
  TraceArguments typed;
  typed.model = info.name;
  typed.text = {.text = example.input, .has_text = true};
  typed.pair = example.question;
  std::vector<explain::ShownAnswer> answers = explain::main_answers(*model, traced.result, traced.trace.plan().text);
  return {
      .trace = std::move(traced.trace), .model = model, .command = typed.as_typed("view"), .answer = answer, .answers = std::move(answers)};
}

// The largest difference from 1 of the sums of rows, over all layers whose rows sum to one. Adds the number of rows to `rows`.
Difference sums_to_one(const Trace& trace, int64_t& rows) {
  Difference out{.allowed = 1e-6};
  for (const MapFamily& family : trace.plan().families) {
    for (const int layer : trace.layers(family.name)) {
      const LayerMap map = trace.map(family.name, layer);
      if (map.frames().empty() || !rows_sum_to_one(map.frames()[0].record.spec)) continue;
      for (const Range& kept : map.rows_kept()) {
        for (int64_t query = kept.begin; query < kept.end; ++query) {
          for (int64_t head = 0; head < family.heads; ++head, ++rows) {
            double sum = 0;
            const MapRow row = map.row(head, query);
            for (const float weight : row.weights()) sum += weight > 0 ? static_cast<double>(weight) : 0;  // NaN: in no frame
            out.largest = std::max(out.largest, std::abs(sum - 1));
          }
        }
      }
    }
  }
  out.holds = out.largest <= out.allowed;
  return out;
}

// Checks the layers and heads of an example's state: with a missing one, the page would silently show something else.
void check_state(const Trace& trace, const std::string& state) {
  const viewer::ViewState shown = viewer::parse_state(state);
  const std::string family = family_of(trace, shown.family);
  for (const auto& [layer, head] : shown.heads) {
    check_layer(trace, family, layer);
    check_head(trace, family, layer, head);
  }
}

}  // namespace

std::vector<viewer::ShownTrace> show_examples(const std::string& folder, Checks& checks) {
  std::vector<viewer::ShownTrace> out;
  Difference worst;
  int64_t rows = 0;
  struct Described {
    std::string directory{};
    ModelInfo info{};
    ModelExample example{};
  };
  std::vector<Described> all;
  for (const std::string& directory : models_with_example(folder)) {
    ModelInfo info = describe_model(directory);
    ModelExample example = read_example(info);
    all.push_back({directory, std::move(info), std::move(example)});
  }
  std::stable_sort(all.begin(), all.end(), [](const Described& a, const Described& b) { return a.example.order < b.example.order; });
  for (const Described& described : all) {
    const ModelExample& example = described.example;
    print(format("\n  {}", std::filesystem::path(described.directory).filename().string()));
    const auto add = [&](const ModelExample& one, viewer::GalleryCard card) {
      Seen seen = read_by(described.info, one);
      try {
        check_state(seen.trace, one.state);
      } catch (const std::exception& error) {
        fail(ErrorCode::kFormat, "{}/example.json: \"state\": {}", described.directory, error.what());
      }
      worst.join(sums_to_one(seen.trace, rows));
      card.answer = seen.answer;
      out.push_back({.trace = std::make_shared<const Trace>(std::move(seen.trace)),
                     .state = one.state,
                     .command = seen.command,
                     .card = std::move(card),
                     .model = seen.model,
                     .answers = std::move(seen.answers)});
    };
    add(example, {.title = example.title, .look_for = example.look_for, .change = example.change});
    if (!example.change) continue;
    ModelExample changed = example;
    changed.input = changed_input(example);
    add(changed, {});
  }
  if (rows > 0)
    checks.line(worst.holds,
                format("each of their {} rows of softmax sums to one, off by at most {:.1e}", with_commas(rows), worst.largest));
  return out;
}

}  // namespace clearhead::cli
