// Attention flow: how much can flow from where the answer is read to each token, if the weights of every layer are the
// capacities of pipes (Abnar & Zuidema 2020, section 3.2).
#pragma once

#include <cstdint>
#include <vector>

namespace clearhead::judge {

/// The maximum flow from `row` of the last layer to every token before the first: one number a token, at most 1.
///   layers: [layer][row·tokens + key] capacities between the tokens of a layer and those before it, the last layer last
/// Dinic's algorithm (1970), a search per token: for small texts.
std::vector<double> attention_flow(const std::vector<std::vector<double>>& layers, int64_t tokens, int64_t row);

}  // namespace clearhead::judge
