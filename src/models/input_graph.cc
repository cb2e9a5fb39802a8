// A graph in a safetensors file:
//
//   neighbours.offsets i32 [node + 1]   neighbours.keys i32 [edge]      the nodes that each node attends to, ascending
//   features.offsets   i32 [node + 1]   features.indices i32 [entry]    features.values f32 [entry]
//   metadata: "features": number of features   "names", "classes": JSON lists [node]
#include "models/input_graph.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "base/hash.h"
#include "base/json.h"
#include "clearhead/error.h"
#include "io/safetensors.h"

namespace clearhead {
namespace {

template <class T>
void add_all(Digest& digest, const std::vector<T>& values) {
  digest.add(values.data(), values.size() * sizeof(T));
}

void set_digest(NodeGraph& graph) {
  Digest digest;
  digest.add(graph.neighbours.offsets.raw(), graph.neighbours.offsets.bytes());
  digest.add(graph.neighbours.keys.raw(), graph.neighbours.keys.bytes());
  add_all(digest, graph.offsets);
  add_all(digest, graph.indices);
  add_all(digest, graph.values);
  graph.digest = digest.value();
}

Json list_of(const std::vector<std::string>& texts) { return Json(Json::Array(texts.begin(), texts.end())); }

// Reads the parts of a graph's file, and checks each of them before it is used as an index.
class GraphFile {
 public:
  explicit GraphFile(const std::string& path) : file_(io::SafeTensors::open(path)) {}

  [[noreturn]] void wrong(const std::string& what) const {
    fail(ErrorCode::kFormat, "{}: {}; expected the graph that training saved with the model", file_.where(), what);
  }
  std::string metadata(const char* name) const {
    const auto found = file_.metadata().find(name);
    if (found == file_.metadata().end()) wrong(format("no \"{}\" in its metadata", name));
    return found->second;
  }
  std::vector<std::string> texts(const char* name) const {
    std::vector<std::string> out;
    const Json list = Json::parse(metadata(name), file_.where());
    for (const Json& one : list.items()) out.push_back(one.string());
    return out;
  }
  Tensor vector(const char* name, DType dtype) const {
    Tensor out = file_.get(name);
    if (out.dtype() != dtype || out.rank() != 1) wrong(format("\"{}\" is {} {}", name, to_string(out.dtype()), to_string(out.shape())));
    return out;
  }
  // Reads nodes + 1 offsets, which must ascend from 0 to `end`.
  std::vector<int32_t> offsets(const char* name, int64_t nodes, int64_t end) const {
    const std::vector<int32_t> out = integers(name);
    const bool fits = static_cast<int64_t>(out.size()) == nodes + 1 && out.front() == 0 && out.back() == end;
    if (!fits || !std::is_sorted(out.begin(), out.end()))
      wrong(format("\"{}\" does not contain ascending offsets of {} lists", name, nodes));
    return out;
  }
  // Reads indices, which must be below `count` and ascend within each list.
  std::vector<int32_t> indices(const char* name, const std::vector<int32_t>& starts, int64_t count) const {
    std::vector<int32_t> out = integers(name);
    for (size_t list = 0; list + 1 < starts.size(); ++list) {
      int64_t before = -1;
      for (int32_t at = starts[list]; at < starts[list + 1]; ++at) {
        const int32_t index = out[static_cast<size_t>(at)];
        if (index <= before || index >= count) wrong(format("\"{}\": list {} has {} after {}, of {}", name, list, index, before, count));
        before = index;
      }
    }
    return out;
  }
  std::vector<int32_t> integers(const char* name) const {
    const Tensor values = vector(name, DType::kI32);
    return {values.data<int32_t>(), values.data<int32_t>() + values.numel()};
  }

 private:
  io::SafeTensors file_;
};

}  // namespace

void fill_graph(NodeGraph& graph, const std::vector<std::pair<int32_t, int32_t>>& edges,
                const std::vector<std::vector<NodeFeature>>& of_nodes) {
  const auto nodes = static_cast<int32_t>(graph.names.size());
  std::vector<int32_t> ends;
  for (const auto& [node, neighbour] : edges) ends.push_back(node);
  for (int32_t node = 0; node < nodes; ++node) ends.push_back(node);
  for (const auto& [node, neighbour] : edges) ends.push_back(neighbour);
  for (int32_t node = 0; node < nodes; ++node) ends.push_back(node);
  graph.neighbours = clearhead::graph(Tensor::from(ends, {2, static_cast<int64_t>(ends.size()) / 2}), nodes).block_sparse;
  graph.offsets = {0};
  for (const std::vector<NodeFeature>& of_node : of_nodes) {
    for (const NodeFeature& one : of_node) {
      graph.indices.push_back(one.index);
      graph.values.push_back(one.value);
    }
    graph.offsets.push_back(static_cast<int64_t>(graph.indices.size()));
  }
  set_digest(graph);
}

void write_graph(const std::string& path, const NodeGraph& graph) {
  const auto vector_of = [](const auto& values) { return Tensor::from(values, {static_cast<int64_t>(values.size())}); };
  const std::vector<int32_t> starts(graph.offsets.begin(), graph.offsets.end());
  const auto flat = [](const Tensor& t) { return t.reshape({t.numel()}); };
  io::write_safetensors(
      path,
      {{"neighbours.offsets", flat(graph.neighbours.offsets)},
       {"neighbours.keys", flat(graph.neighbours.keys)},
       {"features.offsets", vector_of(starts)},
       {"features.indices", vector_of(graph.indices)},
       {"features.values", vector_of(graph.values)}},
      {{"features", std::to_string(graph.features)}, {"names", list_of(graph.names).dump()}, {"classes", list_of(graph.classes).dump()}});
}

std::shared_ptr<const NodeGraph> read_graph(const std::string& path) {
  const GraphFile file(path);
  auto graph = std::make_shared<NodeGraph>();
  graph->names = file.texts("names");
  graph->classes = file.texts("classes");
  const int64_t nodes = graph->nodes();
  if (nodes == 0 || static_cast<int64_t>(graph->classes.size()) != nodes)
    file.wrong(format("there are {} node names, but {} node classes", nodes, graph->classes.size()));
  for (int32_t node = 0; node < nodes; ++node) {
    if (!graph->node_of.emplace(graph->names[static_cast<size_t>(node)], node).second)
      file.wrong(format("two nodes are named \"{}\"", graph->names[static_cast<size_t>(node)]));
  }
  const Json features = Json::parse(file.metadata("features"), path);
  if (!features.is_integer() || features.integer() < 1 || features.integer() > INT32_MAX)
    file.wrong("\"features\": expected a positive integer, the number of features");
  graph->features = features.integer();
  const Tensor values = file.vector("features.values", DType::kF32);
  graph->values.assign(values.data<float>(), values.data<float>() + values.numel());
  if (!std::all_of(graph->values.begin(), graph->values.end(), [](float value) { return std::isfinite(value); }))
    file.wrong("a feature is not finite");
  const auto entries = static_cast<int64_t>(file.integers("features.indices").size());
  if (entries != values.numel()) file.wrong(format("there are {} feature indices, but {} feature values", entries, values.numel()));
  const std::vector<int32_t> starts = file.offsets("features.offsets", nodes, entries);
  graph->indices = file.indices("features.indices", starts, graph->features);
  graph->offsets.assign(starts.begin(), starts.end());
  const auto edges = static_cast<int64_t>(file.integers("neighbours.keys").size());
  const std::vector<int32_t> lists = file.offsets("neighbours.offsets", nodes, edges);
  graph->neighbours.offsets = Tensor::from(lists, {1, 1, nodes + 1});
  graph->neighbours.keys = Tensor::from(file.indices("neighbours.keys", lists, nodes), {1, 1, edges});
  set_digest(*graph);
  return graph;
}

const std::shared_ptr<const NodeGraph>& graph_of(const NetworkFacts& facts, const ModelInput& input) {
  const std::shared_ptr<const NodeGraph>& graph = input.graph ? input.graph : facts.graph;
  if (!graph) fail(ErrorCode::kInvalidArgument, "there is no graph: the model's directory has no {}, and the input has none", kGraphFile);
  return graph;
}

int32_t node_named(const NodeGraph& graph, const std::string& name) {
  const auto found = graph.node_of.find(name);
  if (found != graph.node_of.end()) return found->second;
  fail(ErrorCode::kNotFound, "the graph has no node \"{}\"; it has {} nodes, from \"{}\" to \"{}\"", name, with_commas(graph.nodes()),
       graph.names.front(), graph.names.back());
}

}  // namespace clearhead
