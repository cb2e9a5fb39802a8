// A Transformer layer from nothing: parameters, attention, cross-entropy, AdamW, and a look at what its heads learned.
//
// The task: write a row of digits backwards. Nothing says where to look; the position embeddings learn it, and the map
// of the trained head shows the anti-diagonal. Vaswani et al. 2017, §3, with norms before the blocks.
#include <clearhead/clearhead.h>

#include <cstdio>
#include <random>

namespace ch = clearhead;

constexpr int64_t kLength = 12, kDigits = 10, kWidth = 32, kHeads = 2, kBatch = 64, kSteps = 400;

struct Layer {
  ch::Tensor tokens, positions, norm1, shift1, project, output, norm2, shift2, up, down, read;

  explicit Layer(ch::Training& training) {
    tokens = training.parameter({kDigits, kWidth}, 0.5);
    positions = training.parameter({kLength, kWidth}, 0.5);
    norm1 = training.parameter(ones()), norm2 = training.parameter(ones());
    shift1 = training.parameter({kWidth}, 0), shift2 = training.parameter({kWidth}, 0);
    project = training.parameter({3 * kWidth, kWidth}, 0.18);  // [q | k | v]
    output = training.parameter({kWidth, kWidth}, 0.18);
    up = training.parameter({4 * kWidth, kWidth}, 0.18);
    down = training.parameter({kWidth, 4 * kWidth}, 0.09);
    read = training.parameter({kDigits, kWidth}, 0.18);
  }
  static ch::Tensor ones() { return ch::Tensor::from(std::vector<float>(kWidth, 1.0F), {kWidth}); }

  // Heads are views of one projection: [batch·length, q | k | v] as [batch, head, length, d].
  static ch::Tensor heads(const ch::Tensor& qkv, int64_t which) {
    const int64_t batch = qkv.size(0) / kLength;
    return qkv.reshape({batch, kLength, 3 * kHeads, kWidth / kHeads}).slice(2, which * kHeads, (which + 1) * kHeads).permute({0, 2, 1, 3});
  }

  ch::Tensor logits(ch::Training& training, const std::vector<int32_t>& digits, ch::Tensor* qkv_seen = nullptr) const {
    std::vector<int32_t> places;
    for (size_t i = 0; i < digits.size(); ++i) places.push_back(static_cast<int32_t>(i % kLength));
    ch::Tensor x = training.add(training.embed(tokens, digits), training.embed(positions, places));
    const ch::Tensor qkv = training.linear(training.norm(x, norm1, shift1), project);
    const ch::Tensor seen = training.attend(heads(qkv, 0), heads(qkv, 1), heads(qkv, 2));
    x = training.add(x, training.linear(seen.permute({0, 2, 1, 3}).reshape({x.size(0), kWidth}), output));
    const ch::Tensor inner = training.activate("gelu", training.linear(training.norm(x, norm2, shift2), up));
    if (qkv_seen) *qkv_seen = qkv;
    return training.linear(training.add(x, training.linear(inner, down)), read);
  }
};

int main() {
  std::mt19937 random(7);
  const auto draw = [&](int64_t rows, std::vector<int32_t>& digits, std::vector<int32_t>& backwards) {
    digits.resize(static_cast<size_t>(rows * kLength)), backwards.resize(digits.size());
    for (int32_t& digit : digits) digit = static_cast<int32_t>(random() % kDigits);
    for (size_t i = 0; i < digits.size(); ++i) backwards[i] = digits[i / kLength * kLength + kLength - 1 - i % kLength];
  };

  ch::Training training(/*seed=*/1, {.weight_decay = 0.01});
  const Layer layer(training);
  const ch::Schedule schedule{.kind = ch::Schedule::Kind::kCosine, .learning_rate = 3e-3, .warmup = 20, .steps = kSteps};
  std::vector<int32_t> digits, backwards;
  float loss = 0;
  for (int64_t step = 0; step < kSteps; ++step) {
    draw(kBatch, digits, backwards);
    const ch::Tensor mean = training.cross_entropy(layer.logits(training, digits), backwards);
    loss = *mean.data<float>();
    training.step(mean, schedule.at(step));
    if (step % 50 == 0) std::printf("step %3lld  loss %.3f\n", static_cast<long long>(step), static_cast<double>(loss));
  }

  draw(1, digits, backwards);
  ch::Tensor qkv;
  layer.logits(training, digits, &qkv);
  const ch::AttentionMap map(ch::attend(Layer::heads(qkv, 0), Layer::heads(qkv, 1), Layer::heads(qkv, 2)).record);
  std::printf("loss %.4f; what each query of the two heads sees most:\n", static_cast<double>(loss));
  for (int64_t head = 0; head < kHeads; ++head) {
    for (int64_t i = 0; i < kLength; ++i) std::printf(" %2lld", static_cast<long long>(map.head(0, head).row(i).top_k(1).front().key));
    std::printf("\n");
  }
  return loss < 0.05F ? 0 : 1;
}
