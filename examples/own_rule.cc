// User-defined attention: a score term and a topology, each a lambda that is recorded once as data.
#include <clearhead/clearhead.h>

#include <cmath>
#include <cstdio>
#include <vector>

namespace ch = clearhead;

int main() {
  std::vector<float> numbers(4 * 1500 * 32);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>((i * 2654435761u) % 1000) / 500.0f - 1.0f;
  const ch::Tensor q = ch::Tensor::from(numbers, {1, 4, 1500, 32}), k = q.clone(), v = q.clone();
  // [readme]
  auto decay = ch::table(ch::Tensor::from<float>({0.5f, 0.1f, 0.02f, 0}, {4}));  // one number per head, with a gradient
  auto soft = ch::rule([&](auto s, auto at) { return 20 * tanh(s / 20) - decay(at.head) * log(1 + abs(at.query - at.key)); });
  auto near_or_first = ch::visible([](auto at) { return at.key <= at.query && (at.query - at.key < 256 || at.key < 4); });
  auto [out, record] =
      ch::attend(q, k, v, {.terms = {soft}, .topology = {.visible = near_or_first}});  // blocks that see nothing are skipped
  // [/readme]
  std::printf("%s\n", ch::to_json(record.spec).c_str());
  double sum = 0;
  const ch::AttentionMap map(record);
  const auto row = map.head(0, 2).row(1400);
  for (const float weight : row.weights()) sum += static_cast<double>(weight);
  std::printf("the weights of query 1400 sum to %.6f\n", sum);
  return std::abs(sum - 1) < 1e-5 ? 0 : 1;
}
