// The example of the README: fused attention, then exact weights on demand.
#include <clearhead/clearhead.h>

#include <cstdio>
#include <vector>

namespace ch = clearhead;

int main() {
  std::vector<float> numbers(8 * 2048 * 64);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>((i * 2654435761u) % 1000) / 500.0f - 1.0f;
  const ch::Tensor q = ch::Tensor::from(numbers, {1, 8, 2048, 64}), k = q.clone(), v = q.clone();
  // [readme]
  auto [out, record] = ch::attend(q, k, v, {.topology = ch::causal()});  // fused: nothing N×N exists
  ch::AttentionMap map(record);                                          // exact, lazy
  for (const auto& key : map.head(0, 5).row(2000).top_k(3)) {            // the keys that query saw most
    std::printf("key %lld: %.4f\n", static_cast<long long>(key.key), static_cast<double>(key.weight));
  }
  // [/readme]
  return out.size(2) == 2048 ? 0 : 1;
}
