// Besides: models/input_graph.cc
// The bytes of a graph.safetensors: every index of a graph that loads is in range, and nodes are found by their names.
#include "clearhead/error.h"
#include "fuzz.h"
#include "memory_file.h"
#include "models/input_graph.h"

using namespace clearhead;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  allow_errors([&] {
    const auto graph = read_graph(file.path());
    const auto nodes = static_cast<size_t>(graph->nodes());
    must(nodes > 0 && graph->classes.size() == nodes && graph->node_of.size() == nodes && graph->offsets.size() == nodes + 1);
    must(node_named(*graph, graph->names.back()) == static_cast<int32_t>(nodes) - 1);
    must(graph->offsets.back() == static_cast<int64_t>(graph->indices.size()) && graph->indices.size() == graph->values.size());
    for (const int32_t index : graph->indices) must(index >= 0 && index < graph->features);
    const Tensor &starts = graph->neighbours.offsets, &keys = graph->neighbours.keys;
    must(starts.numel() == graph->nodes() + 1 && starts.data<int32_t>()[nodes] == keys.numel());
    for (int64_t at = 0; at < keys.numel(); ++at) must(keys.data<int32_t>()[at] >= 0 && keys.data<int32_t>()[at] < graph->nodes());
  });
  return 0;
}
