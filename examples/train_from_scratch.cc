// A Transformer layer trained from scratch: named layers, cross-entropy, AdamW, and the map of what its heads learned.
//
// The task is to reverse a sequence of digits. The position embeddings learn where to attend, and the map of the trained
// head shows the anti-diagonal. Vaswani et al. 2017, §3, with norms before the blocks (pre-norm).
#include <clearhead/clearhead.h>

#include <cstdio>
#include <random>

namespace ch = clearhead;
namespace nn = ch::nn;
constexpr int64_t kLength = 12, kWidth = 32, kHeads = 2, kSteps = 400;

// [readme]
struct Reverser {
  ch::Scope scope;
  nn::Embedding digits{scope / "digits", 10, kWidth, ch::Init::normal(0.5)};
  nn::Positions places{scope / "places", kLength, kWidth, ch::Init::normal(0.5)};
  nn::LayerNorm norm1{scope / "norm1", kWidth}, norm2{scope / "norm2", kWidth};
  nn::Attention attention{scope / "attention", kWidth, kHeads};
  nn::FeedForward mlp{scope / "mlp", kWidth, 4 * kWidth};
  nn::Linear read{scope / "read", kWidth, 10};

  ch::Tensor operator()(ch::Compute& compute, const std::vector<int32_t>& ids, const ch::Layout& layout) const {
    ch::Tensor x = places(compute, digits(compute, ids), layout);
    x = compute.add(x, attention(compute, norm1(compute, x), layout));
    return read(compute, compute.add(x, mlp(compute, norm2(compute, x))));
  }
};
// [/readme]

int main() {
  std::mt19937 random(7);
  const ch::Layout layout{.batch = 64, .length = kLength};
  std::vector<int32_t> row(layout.rows()), backwards(row);
  const auto draw = [&] {
    for (size_t i = 0; i < row.size(); ++i) backwards[i + kLength - 1 - i % kLength * 2] = row[i] = static_cast<int32_t>(random() % 10);
  };
  ch::Parameters parameters(/*seed=*/1);
  const Reverser model{parameters};
  ch::Training training(/*seed=*/1, {.weight_decay = 0.01});
  training.train(parameters);
  const ch::Schedule schedule{.kind = ch::Schedule::Kind::kCosine, .learning_rate = 3e-3, .warmup = 20, .steps = kSteps};
  for (int64_t step = 0; step < kSteps; ++step) {
    draw();
    training.step(training.cross_entropy(model(training, row, layout), backwards), schedule.at(step));
  }
  draw();
  ch::Maps maps;
  ch::Compute compute({.observer = &maps});  // runs the same model without a tape
  const double loss = *compute.cross_entropy(model(compute, row, layout), backwards).data<float>();
  std::printf("loss %.4f; what each query of the two heads sees most:", loss);
  for (int64_t i = 0; i < kHeads * kLength; ++i) {
    const ch::Weighted most = maps.at("enc", 0).head(0, i / kLength).row(i % kLength).top_k(1).front();
    std::printf("%s %2d", i % kLength == 0 ? "\n" : "", static_cast<int>(most.key));
  }
  std::printf("\n");
  return loss < 0.05 ? 0 : 1;
}
