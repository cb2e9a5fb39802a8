// A normaliser other than softmax, and what happens to weights after it.
//
// Sparsemax gives most keys a weight of exactly zero. Dropout is applied to the weights that multiply the values: the map
// shows the weights before dropout, map.after() the weights after it.
#include <clearhead/clearhead.h>

#include <cstdio>
#include <vector>

namespace ch = clearhead;

int main() {
  std::vector<float> numbers(512 * 32);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>((i * 2654435761u) % 1000) / 500.0f - 1.0f;
  const ch::Tensor q = ch::Tensor::from(numbers, {1, 1, 512, 32}), k = q.clone(), v = q.clone();

  ch::AttentionSpec spec{.topology = ch::causal(), .normaliser = ch::Sparsemax{}};
  spec.after.dropout = ch::Dropout{.rate = 0.1f, .seed = 7};
  const ch::Attended done = ch::attend(q, k, v, spec);  // fused for any normaliser

  const ch::AttentionMap map(done.record);
  const std::vector<float> weights = map.head(0, 0).row(511).weights(), met = map.after().head(0, 0).row(511).weights();
  int kept = 0, dropped = 0;
  double sum = 0;
  for (size_t j = 0; j < weights.size(); ++j) {
    sum += static_cast<double>(weights[j]);
    kept += weights[j] > 0;
    dropped += weights[j] > 0 && met[j] == 0;
  }
  std::printf("the last query sees 512 keys and weighs %d of them, which sum to %.6f; dropout left %d out\n", kept, sum, dropped);
  return kept > 0 && kept < 100 && sum > 0.99999 && sum < 1.00001 ? 0 : 1;
}
