// Attends, looks, and exits 0 if the weights of a row sum to one.
#include <clearhead/clearhead.h>

#include <cmath>
#include <numeric>

int main() {
  namespace ch = clearhead;
  std::vector<float> values(2 * 100 * 16);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const ch::Tensor x = ch::Tensor::from(values, {1, 2, 100, 16});
  const auto [out, record] = ch::attend(x, x, x, {.topology = ch::causal()});
  const std::vector<float> row = ch::AttentionMap(record).head(0, 1).row(99).weights();
  return std::abs(std::accumulate(row.begin(), row.end(), 0.0) - 1.0) < 1e-5 ? 0 : 1;
}
