// Computes attention and reads a row of its weights; trains a small model, saves it, and runs it from its file. Exits with 0 if the weights
// of the row sum to one and the loaded model computes the same bits as the trained one.
#include <clearhead/clearhead.h>

#include <cmath>
#include <cstring>
#include <numeric>

namespace ch = clearhead;

struct Reader {
  ch::Scope scope;
  ch::nn::Embedding tokens{scope / "tokens", 5, 8};
  ch::nn::Attention attention{scope / "attention", 8, 2, {.spec = {.topology = ch::causal()}}};
  ch::nn::Linear read{scope / "read", 8, 5};

  ch::Tensor operator()(ch::Compute& compute, const std::vector<int32_t>& ids) const {
    const ch::Tensor x = tokens(compute, ids);
    return read(compute, compute.add(x, attention(compute, x, {.batch = 1, .length = x.size(0)})));
  }
};

bool comes_back_from_its_file() {
  const std::vector<int32_t> ids = {0, 3, 1, 4, 2, 2}, next = {3, 1, 4, 2, 2, 0};
  ch::Parameters parameters(/*seed=*/1);
  const Reader model{parameters};
  ch::Training training;
  training.train(parameters);
  for (int step = 0; step < 3; ++step) training.step(training.cross_entropy(model(training, ids), next), 0.01);
  parameters.save("stranger.safetensors");
  ch::Parameters saved = ch::Parameters::read("stranger.safetensors");
  const Reader again{saved};
  saved.check_all_used();
  ch::Compute compute;
  const ch::Tensor trained = model(compute, ids), read = again(compute, ids);
  return std::memcmp(trained.raw(), read.raw(), trained.bytes()) == 0;
}

int main() {
  std::vector<float> values(2 * 100 * 16);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const ch::Tensor x = ch::Tensor::from(values, {1, 2, 100, 16});
  const auto [out, record] = ch::attend(x, x, x, {.topology = ch::causal()});
  const std::vector<float> row = ch::AttentionMap(record).head(0, 1).row(99).weights();
  const bool sums_to_one = std::abs(std::accumulate(row.begin(), row.end(), 0.0) - 1.0) < 1e-5;
  return sums_to_one && comes_back_from_its_file() ? 0 : 1;
}
