// Where attention began: a recurrent encoder and decoder with an additive score between them, trained from nothing
// (Bahdanau, Cho & Bengio 2015, A.1 and A.2).
//
// The task: say a row of digits backwards. The encoder reads the row in both directions. Before each digit that it
// says, the decoder's state asks which of the digits read to look at, e_ij = vᵀ tanh(W s_i + U h_j). The map of the
// trained model shows that it learned to look from the end.
#include <clearhead/clearhead.h>

#include <cstdio>
#include <random>

namespace ch = clearhead;

constexpr int64_t kLength = 8, kDigits = 10, kStart = 10, kEmbedding = 16, kHidden = 32, kScore = 32, kBatch = 48, kSteps = 300;

struct Translator {
  ch::Training& training;
  ch::Tensor source = training.parameter({kDigits, kEmbedding}, 0.5), target = training.parameter({kDigits + 1, kEmbedding}, 0.5);
  ch::Recurrence forwards = layer(kEmbedding), backwards = layer(kEmbedding), decoder = layer(kEmbedding + 2 * kHidden);
  ch::Tensor begin = training.parameter({kHidden, kHidden}, 0.2), read = training.parameter({kDigits, kHidden}, 0.2);
  ch::Tensor w = training.parameter({kScore, kHidden}, 0.2), u = training.parameter({kScore, 2 * kHidden}, 0.2);
  ch::Tensor v = training.parameter({1, kScore}, 0.2);

  ch::Recurrence layer(int64_t in) {
    return {.input_weight = training.parameter({3 * kHidden, in}, 0.2),
            .hidden_weight = training.parameter({3 * kHidden, kHidden}, 0.2),
            .input_bias = training.parameter({3 * kHidden}, 0),
            .hidden_bias = training.parameter({3 * kHidden}, 0)};
  }
  ch::AttentionSpec score() const { return {.score = ch::Additive{.weight = v}}; }

  // What has been read, [batch, 1, length, 2·hidden], and its keys U h_j, [batch, 1, length, score].
  struct Source {
    ch::Tensor states, keys, last;
  };
  Source encode(const std::vector<int32_t>& digits) {
    const int64_t batch = static_cast<int64_t>(digits.size()) / kLength;
    const ch::Tensor x = training.embed(source, digits).reshape({batch, kLength, kEmbedding});
    backwards.backwards = true;
    const ch::Tensor back = training.gru(x, backwards), states = training.concat({training.gru(x, forwards), back}, 2);
    const ch::Tensor keys = training.linear(states.reshape({batch * kLength, 2 * kHidden}), u);
    return {states.reshape({batch, 1, kLength, 2 * kHidden}), keys.reshape({batch, 1, kLength, kScore}), back.slice(1, 0, 1)};
  }

  // Logits of every digit given those said before it; `asked` gets what the decoder asked, [batch, 1, length, score].
  ch::Tensor decode(const Source& from, const std::vector<int32_t>& said, ch::Tensor* asked = nullptr) {
    const int64_t batch = from.keys.size(0);
    ch::Tensor state = training.activate("tanh", training.linear(training.contiguous(from.last).reshape({batch, kHidden}), begin));
    std::vector<ch::Tensor> states, questions;
    for (int64_t step = 0; step < kLength; ++step) {
      std::vector<int32_t> before;
      for (int64_t b = 0; b < batch; ++b) before.push_back(step == 0 ? kStart : said[static_cast<size_t>(b * kLength + step - 1)]);
      questions.push_back(training.linear(state, w).reshape({batch, 1, 1, kScore}));
      const ch::Tensor context = training.attend(questions.back(), from.keys, from.states, score()).reshape({batch, 2 * kHidden});
      decoder.state = state;
      states.push_back(training.gru(training.concat({training.embed(target, before), context}, 1).reshape({batch, 1, -1}), decoder));
      state = states.back().reshape({batch, kHidden});
    }
    if (asked) *asked = training.concat(questions, 2);
    return training.linear(training.concat(states, 1).reshape({batch * kLength, kHidden}), read);
  }
};

int main() {
  std::mt19937 random(7);
  const auto draw = [&](int64_t rows, std::vector<int32_t>& digits, std::vector<int32_t>& reversed) {
    digits.resize(static_cast<size_t>(rows * kLength)), reversed.resize(digits.size());
    for (int32_t& digit : digits) digit = static_cast<int32_t>(random() % kDigits);
    for (size_t i = 0; i < digits.size(); ++i) reversed[i] = digits[i / kLength * kLength + kLength - 1 - i % kLength];
  };
  ch::Training training(/*seed=*/3);
  Translator translator{training};
  const ch::Schedule schedule{.kind = ch::Schedule::Kind::kCosine, .learning_rate = 1e-2, .warmup = 20, .steps = kSteps};
  std::vector<int32_t> digits, reversed;
  float loss = 0;
  for (int64_t step = 0; step < kSteps; ++step) {
    draw(kBatch, digits, reversed);
    const ch::Tensor mean = training.cross_entropy(translator.decode(translator.encode(digits), reversed), reversed);
    loss = *mean.data<float>();
    training.step(mean, schedule.at(step));
    if (step % 50 == 0) std::printf("step %3lld  loss %.3f\n", static_cast<long long>(step), static_cast<double>(loss));
  }

  draw(1, digits, reversed);
  ch::Tensor asked;
  const Translator::Source read = translator.encode(digits);
  translator.decode(read, reversed, &asked);
  const ch::AttentionMap map(ch::attend(asked, read.keys, read.states, translator.score()).record);
  std::printf("loss %.4f; where each digit was looked up:", static_cast<double>(loss));
  int64_t from_the_end = 0;
  for (int64_t i = 0; i < kLength; ++i) {
    const int64_t seen = map.head(0, 0).row(i).top_k(1).front().key;
    from_the_end += seen == kLength - 1 - i;
    std::printf(" %lld", static_cast<long long>(seen));
  }
  std::printf("\n");
  return loss < 0.1F && from_the_end >= kLength - 2 ? 0 : 1;
}
