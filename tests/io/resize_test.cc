// Resized pictures equal PIL's (tools/goldens/pictures.py).
#include <gtest/gtest.h>

#include "clearhead/data.h"
#include "io/safetensors.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead::io {
namespace {

void expect_equal(const Tensor& found, const Tensor& expected, const std::string& what) {
  ASSERT_EQ(found.shape(), expected.shape()) << what;
  for (int64_t at = 0; at < found.numel(); ++at)
    ASSERT_NEAR(found.data<float>()[at], expected.data<float>()[at], tolerance::kFew) << what << " " << at;
}

TEST(ResizeImage, EqualsPil) {
  const SafeTensors file = SafeTensors::open(std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/pictures/resized.safetensors");
  for (const std::string name : {"wide", "tall", "square", "pixel"}) {
    const Tensor picture = file.get(name);
    for (const auto& [height, width] : {std::pair{8, 8}, {5, 11}, {3, 2}, {16, 17}, {1, 1}}) {
      for (const auto& [filter, how] : {std::pair{"bilinear", Resampling::kBilinear}, {"box", Resampling::kBox}}) {
        const std::string of = name + "/" + std::to_string(height) + "x" + std::to_string(width) + "/" + filter;
        expect_equal(resize_image(picture, height, width, how), file.get(of), of);
        if (width > 1) expect_equal(fit_image(picture, height, width, how), file.get(of + "/pad"), of + "/pad");
      }
    }
  }
}

TEST(ResizeImage, KeepsAPictureOfTheSameSizeBitForBit) {
  const Tensor picture = Tensor::from(std::vector<float>{0.1F, 0.7F, 0.3F, 0.9F, 0.2F, 1}, {1, 2, 3});
  for (const Tensor& same : {resize_image(picture, 2, 3), fit_image(picture, 2, 3, Resampling::kBox)})
    EXPECT_TRUE(std::equal(same.data<float>(), same.data<float>() + 6, picture.data<float>()));
}

TEST(ResizeImage, RefusesEmptyPicturesAndSizes) {
  const auto refused = [](const Tensor& picture, int64_t height) {
    expect_refused(ErrorCode::kInvalidArgument, "expected a non-empty f32 picture [channels, height, width]",
                   [&] { resize_image(picture, height, 4); });
    expect_refused(ErrorCode::kInvalidArgument, "expected a non-empty f32 picture [channels, height, width]",
                   [&] { fit_image(picture, height, 4); });
  };
  refused(Tensor::zeros({1, 0, 4}), 4);
  refused(Tensor::zeros({4, 4}), 4);
  refused(Tensor::zeros({1, 4, 4}), 0);
}

}  // namespace
}  // namespace clearhead::io
