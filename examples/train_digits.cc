// Classifies spoken digits from a table (columns file, digit, split; docs/training.md), with a spectrogram, a convolution,
// and attention that does not see padding.
#include <clearhead/clearhead.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace ch = clearhead;
namespace nn = ch::nn;
constexpr int kBands = 64, kWindow = 256, kHop = 128, kWidth = 64, kHeads = 4, kEpochs = 30;

// A cosine of each frequency, then a sine, under Hann's window.
ch::Tensor fourier() {
  ch::Tensor filters = ch::Tensor::empty({2 * kBands, 1, kWindow});
  for (int i = 0; i < 2 * kBands * kWindow; ++i) {
    const double at = 2 * M_PI / kWindow * (i % kWindow), angle = at * (1 + 2 * (i / kWindow % kBands));
    const double wave = i < kBands * kWindow ? std::cos(angle) : std::sin(angle);
    filters.mutable_data<float>()[i] = static_cast<float>((1 - std::cos(at)) / kWindow * wave);
  }
  return filters;
}

struct Digits {
  ch::Scope scope;
  int64_t count = 10;
  ch::Tensor filters = fourier();
  nn::Conv mix{scope / "mix", kBands, kWidth, {5}, {.how = {.padding = {0, 2}}}};
  nn::RmsNorm norm{scope / "norm", kWidth};
  nn::Attention attention{scope / "attention", kWidth, kHeads};
  nn::Linear read{scope / "read", kWidth, count};

  ch::Tensor operator()(ch::Compute& compute, const ch::SoundBatch& batch) const {
    const ch::Tensor waves = compute.conv(batch.samples, filters, {}, {.stride = {1, kHop}, .padding = {0, kWindow / 2}});
    ch::Layout layout{.batch = waves.size(0), .length = waves.size(2)};
    ch::Tensor power = ch::Tensor::zeros({layout.batch, kBands, layout.length});  // frames after the end of a sound stay zero
    for (int64_t row = 0; row < layout.batch; ++row) {
      const int64_t real = 1 + batch.lengths[row] / kHop, first = row * kBands * layout.length;
      layout.lengths.push_back(static_cast<int32_t>(real));
      for (int64_t i = 0; i < kBands * real; ++i) {
        const int64_t at = i / real * layout.length + i % real;  // band, step
        const float *cosine = waves.data<float>() + 2 * first + at, *sine = cosine + kBands * layout.length;
        power.mutable_data<float>()[first + at] = 0.3F * std::log(1e-8F + *cosine * *cosine + *sine * *sine) + 3;
      }
    }
    const ch::Tensor bands = compute.activate("relu", mix(compute, power));
    const ch::Tensor x = compute.contiguous(bands.permute({0, 2, 1})).reshape({layout.rows(), kWidth});
    return read(compute, nn::mean(compute, compute.add(x, attention(compute, norm(compute, x), layout)), layout));
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
  ch::Parameters parameters(/*seed=*/1);
  const Digits digits{parameters, static_cast<int64_t>(train.labels().size())};
  ch::Training training(/*seed=*/1, {.weight_decay = 0.05});
  training.train(parameters);
  ch::Compute compute;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    for (const std::vector<int64_t>& rows : ch::batches_by_length(frames, {.rows = 8}, epoch)) {
      const ch::SoundBatch batch = train.sounds(rows);
      const ch::Tensor loss = training.cross_entropy(digits(training, batch), batch.labels, /*smoothing=*/0.1);
      training.step(loss, 3e-3 * (kEpochs - epoch) / kEpochs);
    }
    if (epoch % 5 != 4) continue;
    int right = 0;
    for (int64_t row = 0; row < test.size(); ++row) {
      const ch::Tensor logits = digits(compute, test.sounds({row}));
      const float* first = logits.data<float>();
      right += std::max_element(first, first + logits.numel()) - first == test.rows()[row].label;
    }
    const double seconds = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;  // summed over all cores
    std::printf("epoch %d: %d of %d right, %.1f s\n", epoch + 1, right, static_cast<int>(test.size()), seconds);
  }
} catch (const ch::Error& error) {
  std::fprintf(stderr, "train_digits: %s\n", error.what());
  return 1;
}
