// Graph attention (Veličković et al. 2018) without a special kernel. Edges become lists of keys; e_ij = LeakyReLU(a_i + b_j)
// is a dot product of width two followed by a rule.
//
//   a_i + b_j = (a_i, 1)·(1, b_j)
//
// The cost is proportional to the number of edges. The record shows what a node attended to.
#include <clearhead/clearhead.h>

#include <cstdio>

namespace ch = clearhead;

int main() {
  // A ring of ten people, each of whom also knows the first.
  constexpr int32_t kNodes = 10, kHeads = 2, kFeatures = 4;
  std::vector<int32_t> from, to;
  for (int32_t node = 0; node < kNodes; ++node) {
    for (const int32_t other : {node, (node + 1) % kNodes, (node + kNodes - 1) % kNodes, 0}) {
      from.push_back(node);
      to.push_back(other);
    }
  }
  from.insert(from.end(), to.begin(), to.end());  // i32 [2, edge]
  const ch::Graph edges = ch::graph(ch::Tensor::from(from, {2, static_cast<int64_t>(to.size())}), kNodes);

  // In a network a_i = aᵀ_left·W·h_i and b_j = aᵀ_right·W·h_j; here they are arbitrary.
  std::vector<float> queries, keys, values;
  for (int32_t head = 0; head < kHeads; ++head) {
    for (int32_t node = 0; node < kNodes; ++node) {
      const float a = 0.1F * static_cast<float>(node), b = 0.5F * static_cast<float>((node * 7 + head * 3) % 5) - 1;
      queries.insert(queries.end(), {a, 1});
      keys.insert(keys.end(), {1, b});
      for (int32_t c = 0; c < kFeatures; ++c) values.push_back(static_cast<float>(node == c));
    }
  }
  ch::AttentionSpec spec{.score = ch::Dot{1}};
  spec.terms = {ch::rule([](auto score, auto) { return max(score, 0.2F * score); })};  // LeakyReLU
  spec.topology.block_sparse = edges.block_sparse;
  auto [out, record] = ch::attend(ch::Tensor::from(queries, {1, kHeads, kNodes, 2}), ch::Tensor::from(keys, {1, kHeads, kNodes, 2}),
                                  ch::Tensor::from(values, {1, kHeads, kNodes, kFeatures}), spec);
  const ch::AttentionMap map(record);
  for (const auto& neighbour : map.head(0, 1).row(5).top_k(4)) {
    std::printf("node 5 looks at node %d: %.3f\n", static_cast<int>(neighbour.key), static_cast<double>(neighbour.weight));
  }
  return out.size(3) == kFeatures ? 0 : 1;
}
