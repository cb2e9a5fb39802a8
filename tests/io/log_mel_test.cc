// The log-mel front end equals numpy and torch.stft with the formulas of Whisper and librosa (tools/goldens/sound.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "clearhead/data.h"
#include "io/safetensors.h"
#include "refused.h"

namespace clearhead::io {
namespace {

constexpr float kLogMel = 1e-4F;  // the documented error of the front end, in log10 of energies

void expect_near(const Tensor& found, const Tensor& expected, const std::string& what) {
  ASSERT_EQ(found.shape(), expected.shape()) << what;
  for (int64_t at = 0; at < found.numel(); ++at)
    ASSERT_NEAR(found.data<float>()[at], expected.data<float>()[at], kLogMel) << what << " " << at;
}

TEST(LogMel, EqualsNumpyAndTorch) {
  const SafeTensors file = SafeTensors::open(std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/sound/sound.safetensors");
  for (const std::string name : {"whisper", "narrow", "odd"}) {
    const Tensor given = file.get(name + "/options");
    const int32_t* of = given.data<int32_t>();
    const LogMelOptions options{.rate = of[0],
                                .window = of[1],
                                .hop = of[2],
                                .mels = of[3],
                                .lowest = static_cast<double>(of[4]),
                                .highest = static_cast<double>(of[5])};
    expect_near(mel_filters(options), file.get(name + "/filters"), name + " filters");
    expect_near(log_mel({file.get("samples"), 16000}, options), file.get(name + "/frames"), name + " frames");
  }
}

TEST(LogMel, AToneIsLoudestInTheFilterOfItsFrequency) {
  Tensor samples = Tensor::empty({1, 4000});
  for (int64_t t = 0; t < 4000; ++t)
    samples.mutable_data<float>()[t] = static_cast<float>(std::sin(2 * M_PI * 1000 / 8000 * static_cast<double>(t)));
  const LogMelOptions options{.rate = 8000, .window = 256, .hop = 80, .mels = 40};
  const Tensor frames = log_mel({samples, 8000}, options), filters = mel_filters(options);
  ASSERT_EQ(frames.shape(), (Shape{50, 40}));
  const float* middle = frames.data<float>() + 25 * 40;
  const int64_t loudest = std::max_element(middle, middle + 40) - middle;
  EXPECT_GT(filters.data<float>()[loudest * 129 + 32], 0);  // bin 32 is 1000 Hz
}

TEST(LogMel, AveragesChannelsAndReadsSoundsShorterThanAFrame) {
  const Tensor both = Tensor::from(std::vector<float>{0.5F, -0.25F, 0.125F, 0.5F, -0.25F, 0.125F}, {2, 3});
  const Tensor one = Tensor::from(std::vector<float>{0.5F, -0.25F, 0.125F}, {1, 3});
  expect_near(log_mel({both, 16000}), log_mel({one, 16000}), "channels");
  EXPECT_EQ(log_mel({one, 16000}).shape(), (Shape{1, 80}));
}

TEST(LogMel, RefusesOtherRatesAndEmptySounds) {
  expect_refused(ErrorCode::kInvalidArgument, "the sample rate of the sound is 8,000 Hz; expected 16,000 Hz", [] {
    log_mel({Tensor::zeros({1, 100}), 8000});
  });
  expect_refused(ErrorCode::kInvalidArgument, "the sound is empty", [] { log_mel({Tensor::zeros({1, 0}), 16000}); });
  expect_refused(ErrorCode::kInvalidArgument, "half the sample rate, 8000", [] { mel_filters({.highest = 9000}); });
}

}  // namespace
}  // namespace clearhead::io
