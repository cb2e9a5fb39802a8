// Nodes are the tokens of each layer, numbered layer by layer. Each edge is stored next to its reverse edge.
#include "explain/flow.h"

#include <algorithm>
#include <limits>

namespace clearhead::explain {
namespace {

constexpr double kNothing = 1e-12;  // tolerance, for a total flow of 1

class Network {
 public:
  explicit Network(size_t nodes) : edges_of_(nodes), level_(nodes), next_(nodes) {}
  void connect(size_t from, size_t to, double capacity) {
    edges_of_[from].push_back(edges_.size());
    edges_.push_back({to, capacity, capacity});
    edges_of_[to].push_back(edges_.size());
    edges_.push_back({from, 0, 0});
  }

  double largest_flow(size_t source, size_t sink) {
    for (Edge& edge : edges_) edge.left = edge.capacity;
    double sum = 0;
    while (reaches(source, sink)) {
      std::fill(next_.begin(), next_.end(), size_t{0});
      for (double sent = 1; sent > 0; sum += sent) sent = send(source, sink, std::numeric_limits<double>::infinity());
    }
    return sum;
  }

 private:
  struct Edge {
    size_t to;
    double capacity, left;
  };
  // Assigns levels by breadth-first search over the residual capacities. Returns whether the sink can be reached.
  bool reaches(size_t source, size_t sink) {
    std::fill(level_.begin(), level_.end(), -1);
    std::vector<size_t> queue = {source};
    level_[source] = 0;
    for (size_t at = 0; at < queue.size(); ++at) {
      for (const size_t index : edges_of_[queue[at]]) {
        const Edge& edge = edges_[index];
        if (edge.left <= kNothing || level_[edge.to] >= 0) continue;
        level_[edge.to] = level_[queue[at]] + 1;
        queue.push_back(edge.to);
      }
    }
    return level_[sink] >= 0;
  }
  // Sends flow along one path of ascending levels.
  double send(size_t node, size_t sink, double most) {
    if (node == sink) return most;
    for (size_t& at = next_[node]; at < edges_of_[node].size(); ++at) {
      Edge& edge = edges_[edges_of_[node][at]];
      if (edge.left <= kNothing || level_[edge.to] != level_[node] + 1) continue;
      const double sent = send(edge.to, sink, std::min(most, edge.left));
      if (sent <= 0) continue;
      edge.left -= sent;
      edges_[edges_of_[node][at] ^ 1].left += sent;
      return sent;
    }
    return 0;
  }

  std::vector<Edge> edges_{};
  std::vector<std::vector<size_t>> edges_of_;
  std::vector<int> level_;
  std::vector<size_t> next_;
};

}  // namespace

std::vector<double> attention_flow(const std::vector<std::vector<double>>& layers, int64_t tokens, int64_t row) {
  const auto count = static_cast<size_t>(tokens);
  Network network((layers.size() + 1) * count);
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    for (size_t from = 0; from < count; ++from) {
      for (size_t to = 0; to < count; ++to) {
        const double capacity = layers[layer][from * count + to];
        if (capacity > kNothing) network.connect((layer + 1) * count + from, layer * count + to, capacity);
      }
    }
  }
  std::vector<double> out;
  for (size_t token = 0; token < count; ++token)
    out.push_back(network.largest_flow(layers.size() * count + static_cast<size_t>(row), token));
  return out;
}

}  // namespace clearhead::explain
