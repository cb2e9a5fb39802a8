// The class of a node of a graph. Items are the nodes that its class can depend on: those at most as many edges away as the model
// has attention layers. As "masked", a node loses its features.
#include <set>

#include "base/format.h"
#include "clearhead/answers.h"
#include "explain/answer_kind.h"
#include "explain/network_target.h"
#include "models/input_graph.h"
#include "models/input_kind.h"

namespace clearhead::explain {
namespace {

class NodeTarget final : public NetworkTarget {
 public:
  NodeTarget(std::shared_ptr<const Model> model, const ModelInput& input, const TargetSpec& asked)
      : NetworkTarget(std::move(model), input, "does not read graphs") {
    rows_ = {read_.input.sequences[0][0]};
    std::vector<Range> items;
    for (const int32_t node : seen_from(static_cast<int32_t>(rows_[0]))) items.push_back({node, node + 1});
    begin_with(std::move(items));
    answer_with_label(asked, asked.target, "class", logits_of(read_, {}));
  }

 private:
  // The nodes within as many edges as there are layers, ascending.
  std::set<int32_t> seen_from(int32_t node) const {
    const BlockSparse& lists = read_.input.graph->neighbours;
    const int32_t *starts = lists.offsets.data<int32_t>(), *keys = lists.keys.data<int32_t>();
    std::set<int32_t> seen = {node};
    for (int64_t layer = 0; layer < network_.facts().layers; ++layer) {
      const std::set<int32_t> before = seen;
      for (const int32_t one : before) seen.insert(keys + starts[one], keys + starts[one + 1]);
    }
    return seen;
  }

  EncodedInput masked(const std::vector<uint8_t>& away) const override {
    const NodeGraph& from = *read_.input.graph;
    auto graph = std::make_shared<NodeGraph>(from);
    graph->offsets = {0};
    graph->indices.clear();
    graph->values.clear();
    for (size_t node = 0; node < from.names.size(); ++node) {
      const int64_t begin = from.offsets[node], end = away[node] ? begin : from.offsets[node + 1];
      graph->indices.insert(graph->indices.end(), from.indices.begin() + begin, from.indices.begin() + end);
      graph->values.insert(graph->values.end(), from.values.begin() + begin, from.values.begin() + end);
      graph->offsets.push_back(static_cast<int64_t>(graph->indices.size()));
    }
    EncodedInput out = read_;
    out.input.graph = std::move(graph);
    return out;
  }
};

}  // namespace

const AnswerKind& node_class_answer() {
  static const AnswerKind kind{
      .name = "class",
      .applies = [](const ModelInfo& info) { return input_kind(info).form == InputKind::Form::kNode && !info.labels.empty(); },
      .of_input = target_of_input<NodeTarget>,
      .shown = [](const Model& model, const RunResult& result, const auto&) { return class_answers(model, result.class_logits); },
  };
  return kind;
}

}  // namespace clearhead::explain
