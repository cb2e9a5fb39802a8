// Node classification: the class of a node of a graph, from its features and those of its neighbours (Yang, Cohen & Salakhutdinov 2016:
// transductive). A run reads the whole graph; the examples are its nodes with a class and a split, and the loss is that of classification.
// The graph is saved beside the weights, so a trained model answers for any of its nodes.
#include <memory>

#include "base/format.h"
#include "clearhead/error.h"
#include "models/input_graph.h"
#include "tasks/data/graph_tables.h"
#include "tasks/data/input_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

// The nodes of one graph, which is read when the first of its splits is needed.
class Nodes final : public Examples {
 public:
  explicit Nodes(GraphTables tables) : tables_(std::move(tables)) {}

  std::vector<LabelledInput> read(const std::string& split, const Recipe& recipe, LeftOut*) const override {
    const SplitGraph& all = graph(recipe);
    const std::shared_ptr<const NodeGraph> shared(graph_, &graph_->graph);
    std::vector<LabelledInput> out;
    for (size_t node = 0; node < all.splits.size(); ++node) {
      if (all.splits[node] == split)
        out.push_back(
            {.input = {.text = all.graph.names[node], .graph = shared}, .label = all.graph.classes[node], .where = all.where[node]});
    }
    return out;
  }
  bool has_label_column() const override { return false; }
  std::vector<std::string> files() const override { return {tables_.edges.file, tables_.features.file, tables_.nodes.file}; }
  void configure(const Recipe& recipe, Json& model) const override {
    model["num_features"] = graph(recipe).graph.features;
    std::erase_if(model.fields(), [](const auto& field) { return field.first == "graph"; });  // that of the model in "from"
  }
  void save(const std::string& directory, Json& config) const override {
    write_graph(directory + "/" + kGraphFile, graph_->graph);
    config["graph"] = kGraphFile;
  }

 private:
  const SplitGraph& graph(const Recipe& recipe) const {
    if (!graph_) graph_ = std::make_shared<SplitGraph>(read_graph_tables(tables_, recipe.source, recipe.where));
    return *graph_;
  }
  GraphTables tables_;
  mutable std::shared_ptr<const SplitGraph> graph_{};
};

const ExampleKind& nodes_examples() {
  static const ExampleKind kind = {.name = "nodes", .reads = "graph", .counted = "nodes", .arguments = "NODE"};
  return kind;
}

void read(Fields& fields, Recipe& to) {
  GraphTables tables;
  graph_schema().read(fields, tables);
  to.task->data.examples = {&nodes_examples(), std::make_shared<Nodes>(std::move(tables))};
}

}  // namespace

const TaskDefinition& node_classification_task() {
  static const TaskDefinition definition = {
      .name = "node-classification",
      .description = "one class for each node of a graph, from its features and its neighbours",
      .data = DataFields::kSplit,
      .reads = {"graph"},
      .class_suffix = "ForNodeClassification",
      .can_hold_out = false,
      .has_sequence_targets = true,
      .fields = [] { return graph_schema().describe(); },
      .read = read,
      .commands = {{"classify"}},
      .labels = [](const Recipe& recipe) { return class_names(recipe, 2); },
      .configure = [](const Recipe& recipe, Json& model) { recipe.task->data.examples->configure(recipe, model); },
      // A node is classified like any other input.
      .make = [](const Recipe& recipe, const Tokenizer& tokenizer,
                 const TaskFacts& facts) { return find_task("classification")->make(recipe, tokenizer, facts); },
  };
  return definition;
}

}  // namespace clearhead::tasks
