// Attention flow: the maximum flow from the position where the answer is read to each token, with the weights of every layer as the
// capacities of edges (Abnar & Zuidema 2020, section 3.2).
#pragma once

#include <cstdint>
#include <vector>

namespace clearhead::explain {

/// The maximum flow from `row` of the last layer to every token at the input of the first layer: one number per token, at most 1.
///   layers: [layer][row·tokens + key] capacities between the tokens of a layer and those of the layer before, the last layer last
/// Dinic's algorithm (1970), one search per token: for short texts.
std::vector<double> attention_flow(const std::vector<std::vector<double>>& layers, int64_t tokens, int64_t row);

}  // namespace clearhead::explain
