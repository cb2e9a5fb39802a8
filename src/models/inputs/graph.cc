// A node of a graph, by its name. The graph is the one that was saved with the model, or it comes with the input. The items of its maps
// are all nodes of the graph.
#include <filesystem>

#include "base/format.h"
#include "clearhead/error.h"
#include "models/input_graph.h"
#include "models/input_kind.h"
#include "models/input_text.h"

namespace clearhead {
namespace {

// Reads "graph": the file beside config.json that training wrote.
void read_config(Fields& config, NetworkFacts& to) {
  const Json* given = config.take("graph");
  if (!given) return;
  if (!given->is_string() || given->string() != kGraphFile) config.wrong("graph", format("\"{}\", or none", kGraphFile), *given);
  to.graph = read_graph((std::filesystem::path(config.where()).parent_path() / kGraphFile).string());
}

EncodedInput encode(const NetworkFacts& facts, const Tokenizer*, const ModelInput& input) {
  if (input.text.empty()) fail(ErrorCode::kInvalidArgument, "the input is empty; expected the name of a node");
  const std::shared_ptr<const NodeGraph>& graph = graph_of(facts, input);
  return {.input = {.sequences = {{node_named(*graph, input.text)}}, .graph = graph}};
}

// The name of an item is the node's name and its class: "17 (Theory)".
RunText describe(const NetworkFacts& facts, const Tokenizer*, const ModelInput& input) {
  const NodeGraph& graph = *graph_of(facts, input);
  RunText text;
  for (size_t node = 0; node < graph.names.size(); ++node)
    add_item(text, graph.classes[node].empty() ? graph.names[node] : format("{} ({})", graph.names[node], graph.classes[node]));
  text.items = {{.kind = "node", .begin = 0, .end = graph.nodes()}};
  return text;
}

int64_t selected(const NetworkFacts& facts, const ModelInput& input) { return node_named(*graph_of(facts, input), input.text); }

}  // namespace

const InputKind& graph_input() {
  static const InputKind kind = {.name = "graph",
                                 .form = InputKind::Form::kNode,
                                 .item = "node",
                                 .texts = "nodes",
                                 .read_config = read_config,
                                 .encode = encode,
                                 .describe = describe,
                                 .selected = selected};
  return kind;
}

}  // namespace clearhead
