// Spoken digits from a table (columns file, digit, split; docs/training.md): a spectrogram, a convolution, and
// attention that does not see the padding.
#include <clearhead/clearhead.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace ch = clearhead;
using ch::Tensor;
constexpr int kBands = 64, kWindow = 256, kHop = 128, kWidth = 64, kHeads = 4, kEpochs = 30;

struct Digits {
  ch::Training training{/*seed=*/1, {.weight_decay = 0.05}};
  Tensor filters = Tensor::zeros({2 * kBands, 1, kWindow}), mix, bias, norm, project, output, read;

  explicit Digits(int64_t digits) {
    for (int i = 0; i < 2 * kBands * kWindow; ++i) {  // a cosine of each frequency, then a sine, under Hann's window
      const double at = 2 * M_PI / kWindow * (i % kWindow), angle = at * (1 + 2 * (i / kWindow % kBands));
      const double wave = i < kBands * kWindow ? std::cos(angle) : std::sin(angle);
      filters.mutable_data<float>()[i] = static_cast<float>((1 - std::cos(at)) / kWindow * wave);
    }
    mix = training.parameter({kWidth, kBands, 5}, 0.08), read = training.parameter({digits, kWidth}, 0.12);
    project = training.parameter({3 * kWidth, kWidth}, 0.12), output = training.parameter({kWidth, kWidth}, 0.12);
    bias = training.parameter({kWidth}, 0), norm = training.parameter(Tensor::from(std::vector<float>(kWidth, 1), {kWidth}));
  }

  Tensor logits(const ch::SoundBatch& batch) {
    const Tensor waves = training.conv(batch.samples, filters, {}, {.stride = {1, kHop}, .padding = {0, kWindow / 2}});
    const int64_t rows = waves.size(0), time = waves.size(2);
    Tensor power = Tensor::zeros({rows, kBands, time}), share = Tensor::zeros({rows, time, 1});
    Tensor segments = Tensor::from(std::vector<int32_t>(rows * time, -1), {rows, time});  // −1 sees nothing and is seen by nothing
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t real = 1 + batch.lengths[row] / kHop;  // steps of this sound; what is past them stays zero
      std::fill_n(segments.mutable_data<int32_t>() + row * time, real, 0);
      std::fill_n(share.mutable_data<float>() + row * time, real, 1 / static_cast<float>(real));
      for (int64_t i = 0; i < kBands * real; ++i) {
        const int64_t at = i / real * time + i % real;  // band, step
        const float *cosine = waves.data<float>() + 2 * row * kBands * time + at, *sine = cosine + kBands * time;
        power.mutable_data<float>()[row * kBands * time + at] = 0.3F * std::log(1e-8F + *cosine * *cosine + *sine * *sine) + 3;
      }
    }
    Tensor x = training.activate("relu", training.conv(power, mix, bias, {.padding = {0, 2}}));
    x = training.contiguous(x.permute({0, 2, 1})).reshape({rows * time, kWidth});
    const Tensor qkv = training.linear(training.norm(x, norm), project).reshape({rows, time, 3, kHeads, kWidth / kHeads});
    const auto heads = [&](int64_t which) { return qkv.select(2, which).permute({0, 2, 1, 3}); };  // [batch, head, time, d]
    const Tensor seen = training.attend(heads(0), heads(1), heads(2), {.topology = {.segments = ch::Segments{segments, segments}}});
    x = training.add(x, training.linear(seen.permute({0, 2, 1, 3}).reshape({rows * time, kWidth}), output));
    x = training.multiply(x.reshape({rows, time, kWidth}), share.expand({rows, time, kWidth}));
    return training.linear(training.sum(x, 1), read);  // of the mean over real steps
  }
};

int main(int count, char** arguments) try {
  if (count != 2) {
    std::fputs("usage: train_digits TABLE.tsv; data: https://github.com/Jakobovski/free-spoken-digit-dataset (CC BY-SA 4.0)\n", stderr);
    return 2;
  }
  const ch::LabelledFiles train(arguments[1], {.label = "digit", .part_column = "split", .part = "train"});
  const ch::LabelledFiles test(arguments[1], {.label = "digit", .part_column = "split", .part = "test"});
  const std::vector<int64_t> frames = train.frames();
  Digits digits(static_cast<int64_t>(train.labels().size()));
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    for (const std::vector<int64_t>& rows : ch::batches_by_length(frames, {.rows = 8}, epoch)) {
      const ch::SoundBatch batch = train.sounds(rows);
      const Tensor loss = digits.training.cross_entropy(digits.logits(batch), batch.labels, /*smoothing=*/0.1);
      digits.training.step(loss, 3e-3 * (kEpochs - epoch) / kEpochs);
    }
    if (epoch % 5 != 4) continue;
    int right = 0;
    for (int64_t row = 0; row < test.size(); ++row) {
      const Tensor logits = digits.logits(test.sounds({row}));
      const float* first = logits.data<float>();
      right += std::max_element(first, first + logits.numel()) - first == test.rows()[row].label;
      digits.training.clear();
    }
    const double seconds = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;  // of all cores
    std::printf("epoch %d: %d of %d right, %.1f s\n", epoch + 1, right, static_cast<int>(test.size()), seconds);
  }
} catch (const ch::Error& error) {
  std::fprintf(stderr, "train_digits: %s\n", error.what());
  return 1;
}
