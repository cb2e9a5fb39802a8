// clearhead info MODEL|TRACE: describes a model or a trace without running the model.
#include <algorithm>

#include "backends/cpu/dispatch.h"
#include "base/format.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/run_command.h"

namespace clearhead::cli {
namespace {

// The distinct forward drivers of a layer's frames, in the order in which they first ran: the prompt's, then a decode step's.
Json drivers_of(const LayerMap& map) {
  std::vector<std::string> seen;
  Json out = Json::array();
  for (const Frame& frame : map.frames()) {
    const AttentionRecord& record = frame.record;
    const bool is_fast = record.stamp.isa != InstructionSet::kReference;
    const std::string driver = format("{} on {}", is_fast ? to_string(cpu::driver_of(record)) : "definition", to_string(record.stamp.isa));
    if (std::find(seen.begin(), seen.end(), driver) != seen.end()) continue;
    seen.push_back(driver);
    out.push(driver);
  }
  return out;
}

void print_trace(const std::string& path, bool json) {
  const Trace trace = Trace::load(path);
  const RunPlan& plan = trace.plan();
  Json out = Json::object(
      {{"trace", path}, {"id", trace.id()}, {"model", plan.model}, {"tokens", plan.text.ids.size()}, {"families", Json::array()}});
  for (const MapFamily& family : plan.families) {
    Json rows = Json::array(), layers = Json::array();
    int64_t queries = family.queries, keys = family.keys;
    Json drivers = Json::array();
    for (const int layer : trace.layers(family.name)) layers.push(layer);
    if (layers.size() > 0) {
      const LayerMap map = trace.map(family.name, trace.layers(family.name)[0]);
      for (const Range& range : map.rows_kept()) rows.push(Json::Array{range.begin, range.end});
      drivers = drivers_of(map);
      queries = map.queries();  // the plan does not count generated tokens
      keys = map.keys();
    }
    out["families"].push(Json::object({{"name", family.name},
                                       {"layers", family.layers},
                                       {"heads", family.heads},
                                       {"key_heads", family.key_heads},
                                       {"d_k", family.d_k},
                                       {"queries", queries},
                                       {"keys", keys},
                                       {"layers_kept", layers},
                                       {"rows_kept", rows},
                                       {"drivers", drivers}}));
  }
  if (json) return print_json(out);
  print(format("trace of {} on {} tokens", plan.model, with_commas(static_cast<int64_t>(plan.text.ids.size()))));
  for (const Json& family : out.find("families")->items()) {
    print(format("  {}: {} of {} layers kept, {} heads on {} key heads, d_k {}, query vectors kept for rows {}",
                 family.find("name")->string(), family.find("layers_kept")->size(), family.find("layers")->integer(),
                 family.find("heads")->integer(), family.find("key_heads")->integer(), family.find("d_k")->integer(),
                 family.find("rows_kept")->dump()));
    for (const Json& driver : family.find("drivers")->items()) print("    computed by " + driver.string());
  }
  for (const TextSegment& segment : plan.text.segments)
    print(format("  segment {} ({}): tokens {}:{}", segment.name, segment.role, segment.begin, segment.end));
}

void print_model(const std::string& name, bool json) {
  const ModelInfo info = describe_model(name);
  Json heads = Json::array();
  for (const std::string& task : tasks_of(info)) heads.push(task);
  if (json) {
    print_json(Json::object({{"name", info.name},
                             {"directory", info.directory},
                             {"model_type", info.model_type},
                             {"layers", info.layers},
                             {"encoder_layers", info.encoder_layers},
                             {"width", info.width},
                             {"heads", info.heads},
                             {"key_heads", info.key_heads},
                             {"head_dim", info.head_dim},
                             {"vocabulary", info.vocabulary},
                             {"longest", info.longest},
                             {"causal", info.causal},
                             {"parameters", info.parameters},
                             {"file_bytes", info.file_bytes},
                             {"memory_bytes", info.memory_bytes},
                             {"dtype", info.file_dtype},
                             {"tasks", heads}}));
    return;
  }
  print(format("{} ({})", info.name, info.model_type));
  if (info.directory != info.name) print(format("  {}", info.directory));
  print(format("  {}{} {} × {} heads{}, width {}, head width {}, vocabulary {}",
               info.encoder_layers > 0 ? format("{} encoder layers, ", info.encoder_layers) : "", info.layers,
               info.layers == 1 ? "layer" : "layers", info.heads,
               info.key_heads != info.heads ? format(" on {} key heads", info.key_heads) : "", info.width, info.head_dim,
               with_commas(info.vocabulary)));
  print(format("  {} parameters, {} {} in the file, {} in memory", with_commas(info.parameters), human_bytes(info.file_bytes),
               info.file_dtype, human_bytes(info.memory_bytes)));
  if (reads_inputs(info)) {
    print(
        format("  reads a {}{}", info.reads, info.longest > 0 ? format(", sentences of up to {} tokens", with_commas(info.longest)) : ""));
  } else {
    print(format("  reads {}{}",
                 info.longest > 0 ? format("up to {} tokens", with_commas(info.longest)) : std::string("texts of any length"),
                 info.encoder_layers > 0 ? info.longest > 0 ? ", generates at most as many" : ", generates text"
                 : info.causal           ? ", causal"
                                         : ", bidirectional"));
  }
  std::string tasks;
  for (const Json& head : heads.items()) tasks += (tasks.empty() ? "" : ", ") + head.string();
  if (!tasks.empty()) print("  tasks  clearhead run " + tasks);
}

}  // namespace

void add_info(CLI::App& app) {
  struct Options {
    std::string model;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("info", "Describe a model or a trace");
  command->footer("Example: clearhead info MODEL --json");
  command->add_option("model", options->model, "A model or a trace")->required();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] {
    if (is_trace_file(options->model)) {
      print_trace(options->model, options->json);
    } else {
      print_model(options->model, options->json);
    }
  });
}

}  // namespace clearhead::cli
