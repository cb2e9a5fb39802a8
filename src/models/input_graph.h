// Graphs whose nodes have features: their construction from edges, and the file that is saved beside the weights of a model.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/model.h"
#include "models/network.h"

namespace clearhead {

/// The file in a model's directory, and the value of "graph" in its config.json.
constexpr const char* kGraphFile = "graph.safetensors";

/// A nonzero feature of a node.
struct NodeFeature {
  int32_t index = 0;
  float value = 1;
};
/// Sets the neighbours of a graph's nodes, their features and the digest.
/// edges: pairs of a node and a node that it attends to; each node also attends to itself, which needs no edge. of_nodes: the features
/// of each node, ascending by index
void fill_graph(NodeGraph& graph, const std::vector<std::pair<int32_t, int32_t>>& edges,
                const std::vector<std::vector<NodeFeature>>& of_nodes);

/// Writes a graph. Throws kIo.
void write_graph(const std::string& path, const NodeGraph& graph);
/// Reads it. Throws kNotFound and kIo, and kFormat for a file that is not such a graph.
std::shared_ptr<const NodeGraph> read_graph(const std::string& path);

/// The graph of an input, or else of the model. Throws kInvalidArgument if there is none.
const std::shared_ptr<const NodeGraph>& graph_of(const NetworkFacts& facts, const ModelInput& input);
/// The index of a node. Throws kNotFound, with names that exist.
int32_t node_named(const NodeGraph& graph, const std::string& name);

}  // namespace clearhead
