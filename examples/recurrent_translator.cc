// The first attention: a recurrent encoder and decoder with an additive score between them, trained from scratch
// (Bahdanau, Cho & Bengio 2015, A.1 and A.2).
//
// The task is to reverse a sequence of digits. The encoder reads the sequence in both directions. Before each output
// digit, the decoder's state attends to the input digits, e_ij = vᵀ tanh(W s_i + U h_j). The map of the trained model
// shows that it learned to read from the end.
#include <clearhead/clearhead.h>

#include <cstdio>
#include <random>

namespace ch = clearhead;
namespace nn = ch::nn;
constexpr int64_t kLength = 8, kDigits = 10, kStart = 10, kEmbedding = 16, kHidden = 32, kScore = 32, kSteps = 300;

struct Translator {
  ch::Scope scope;
  nn::Embedding source{scope / "source", kDigits, kEmbedding, ch::Init::normal(0.5)};
  nn::Embedding target{scope / "target", kDigits + 1, kEmbedding, ch::Init::normal(0.5)};
  nn::Gru encoder{scope / "encoder", kEmbedding, kHidden, {.bidirectional = true}};
  nn::Gru decoder{scope / "decoder", kEmbedding + 2 * kHidden, kHidden};
  nn::Linear begin{scope / "begin", kHidden, kHidden}, read{scope / "read", kHidden, kDigits};
  nn::Linear w{scope / "w", kHidden, kScore, {.bias = false}}, u{scope / "u", 2 * kHidden, kScore, {.bias = false}};
  ch::AttentionSpec score{.score = ch::Additive{.weight = scope.parameter("v", {1, kScore}, ch::Init::normal(0.2))}};

  // Logits of every output digit, given the input digits and the previous output digits.
  ch::Tensor operator()(ch::Compute& compute, const std::vector<int32_t>& digits, const std::vector<int32_t>& said,
                        const ch::Layout& layout) const {
    const int64_t batch = layout.batch;
    const auto [rows, ends] = encoder(compute, source(compute, digits), layout);
    const ch::Tensor h = rows.reshape({batch, 1, kLength, 2 * kHidden}), keys = u(compute, rows).reshape({batch, 1, kLength, kScore});
    nn::RecurrentState s{.state = {compute.activate("tanh", begin(compute, ends.state[1]))}};  // the state of the backward direction
    std::vector<ch::Tensor> states;
    for (int64_t step = 0; step < kLength; ++step) {
      std::vector<int32_t> before;
      for (int64_t b = 0; b < batch; ++b) before.push_back(step == 0 ? kStart : said[static_cast<size_t>(b * kLength + step - 1)]);
      const ch::Tensor asked = w(compute, s.state[0]).reshape({batch, 1, 1, kScore});
      const ch::Tensor context = compute.attend(asked, keys, h, score, ch::Site{"cross", 0, step}).reshape({batch, 2 * kHidden});
      s = decoder(compute, compute.concat({target(compute, before), context}, 1), {.batch = batch, .length = 1}, s).last;
      states.push_back(s.state[0].reshape({batch, 1, kHidden}));
    }
    return read(compute, compute.concat(states, 1).reshape({batch * kLength, kHidden}));
  }
};

int main() {
  std::mt19937 random(7);
  const ch::Layout layout{.batch = 48, .length = kLength};
  std::vector<int32_t> digits(layout.rows()), reversed(digits);
  const auto draw = [&] {
    for (size_t i = 0; i < digits.size(); ++i) {
      reversed[i + kLength - 1 - i % kLength * 2] = digits[i] = static_cast<int32_t>(random() % kDigits);
    }
  };
  ch::Parameters parameters(/*seed=*/3);
  const Translator translator{parameters};
  ch::Training training;
  training.train(parameters);
  const ch::Schedule schedule{.kind = ch::Schedule::Kind::kCosine, .learning_rate = 1e-2, .warmup = 20, .steps = kSteps};
  for (int64_t step = 0; step < kSteps; ++step) {
    draw();
    const ch::Tensor loss = training.cross_entropy(translator(training, digits, reversed, layout), reversed);
    if (step % 50 == 0) std::printf("step %3d  loss %.3f\n", static_cast<int>(step), static_cast<double>(*loss.data<float>()));
    training.step(loss, schedule.at(step));
  }
  draw();
  ch::Maps maps;
  ch::Compute compute({.observer = &maps});
  const double loss = *compute.cross_entropy(translator(compute, digits, reversed, layout), reversed).data<float>();
  std::printf("loss %.4f; where each digit was looked up:", loss);
  int64_t from_the_end = 0;
  for (int64_t i = 0; i < kLength; ++i) {
    const int64_t seen = maps.at("cross", 0, i).head(0, 0).row(0).top_k(1).front().key;
    from_the_end += seen == kLength - 1 - i;
    std::printf(" %d", static_cast<int>(seen));
  }
  std::printf("\n");
  return loss < 0.1 && from_the_end >= kLength - 2 ? 0 : 1;
}
