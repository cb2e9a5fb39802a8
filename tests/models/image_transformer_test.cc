// The Image Transformer: no patch sees a later one, the symbols of patches partition a picture, the scores of classes are the sums of the
// patches' log-probabilities, and the maps are those of the most probable class.
#include "models/networks/image_transformer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/format.h"
#include "clearhead/compute.h"
#include "clearhead/map.h"
#include "ops/ops.h"
#include "random_tensor.h"
#include "refused.h"

namespace clearhead {
namespace {

constexpr int64_t kPatches = 12;  // 3 rows of 4

std::string config(const std::string& changed = "") {
  return R"({"model_type": "image_transformer", "num_channels": 1, "image_size": [6, 8], "patch_size": 2, "hidden_size": 8,
             "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12, "neighbours": 11)" +
         changed + R"(, "id2label": {"0": "cat", "1": "dog", "2": "hen"}})";
}
std::unique_ptr<Network> network(Parameters& parameters) { return network_of(Json::parse(config(), "config"), "config", parameters); }

Tensor pictures(int64_t count) {
  Tensor out = random_tensor({count, 1, 6, 8}, 5);
  for (int64_t at = 0; at < out.numel(); ++at) out.mutable_data<float>()[at] = out.data<float>()[at] > 0 ? 1.0F : 0.0F;
  return out;
}

// [picture·patch, symbol]
Tensor patch_logits(const Network& of, const Tensor& pictures, const std::vector<int32_t>& classes) {
  Compute compute;
  return of.logits(compute, {.batch = pictures.size(0), .length = 1, .ids = classes, .features = pictures}, nullptr);
}

double log_likelihood(const Network& of, const Tensor& picture, int32_t label) {
  const Tensor losses = ops::losses(patch_logits(of, picture, {label}), patch_symbols(of.facts().picture, picture));
  double sum = 0;
  for (int64_t at = 0; at < losses.numel(); ++at) sum -= static_cast<double>(losses.data<float>()[at]);
  return sum;
}

TEST(ImageTransformer, SymbolsPartitionAPicture) {
  const PictureFacts facts{.channels = 1, .height = 6, .width = 8, .patch = 2};
  const Tensor picture = pictures(1);
  const std::vector<int32_t> symbols = patch_symbols(facts, picture);
  ASSERT_EQ(symbols.size(), static_cast<size_t>(kPatches));
  Tensor again = Tensor::zeros({1, 6, 8});
  for (int64_t patch = 0; patch < kPatches; ++patch)
    paint_symbol(facts, symbols[static_cast<size_t>(patch)], patch, again.mutable_data<float>());
  for (int64_t at = 0; at < picture.numel(); ++at) EXPECT_EQ(again.data<float>()[at], picture.data<float>()[at]) << at;
}

TEST(ImageTransformer, ASymbolCountsFromTheTopLeftPixel) {
  const PictureFacts facts{.channels = 1, .height = 2, .width = 4, .patch = 2};
  const Tensor picture = Tensor::from<float>({0.5F, 0.49F, 0, 0, 0, 0, 1, 0}, {1, 1, 2, 4});
  EXPECT_EQ(patch_symbols(facts, picture), (std::vector<int32_t>{1, 4}));
}

TEST(ImageTransformer, APatchDependsOnEarlierPatchesOnly) {
  Parameters parameters(3);
  const auto of = network(parameters);
  const Tensor before = pictures(1);
  const Tensor logits = patch_logits(*of, before, {1});
  for (int64_t changed = 0; changed < kPatches; ++changed) {
    Tensor picture = before.clone();
    const int32_t symbol = patch_symbols(of->facts().picture, before)[static_cast<size_t>(changed)];
    paint_symbol(of->facts().picture, symbol ^ 15, changed, picture.mutable_data<float>());
    const Tensor other = patch_logits(*of, picture, {1});
    for (int64_t patch = 0; patch < kPatches; ++patch) {
      bool is_equal = true;
      for (int64_t at = patch * 16; at < (patch + 1) * 16; ++at) is_equal = is_equal && logits.data<float>()[at] == other.data<float>()[at];
      EXPECT_EQ(is_equal, patch <= changed) << "patch " << patch << " after a change of " << changed;
    }
  }
}

TEST(ImageTransformer, TheNextPatchHasTheSameLogitsAsInTheWholePicture) {
  Parameters parameters(3);
  const auto of = network(parameters);
  const Tensor both = pictures(2);
  const Tensor all = patch_logits(*of, both, {2, 0});
  Compute compute;
  for (const int32_t drawn : {0, 1, 4, 11}) {
    const Tensor next = of->logits(compute, {.batch = 2, .length = 1, .ids = {2, 0}, .lengths = {drawn, drawn}, .features = both}, nullptr);
    ASSERT_EQ(next.shape(), (Shape{2, 16}));
    for (int64_t at = 0; at < 32; ++at)
      EXPECT_NEAR(next.data<float>()[at], all.data<float>()[(at / 16 * kPatches + drawn) * 16 + at % 16], 1e-5) << drawn;
  }
}

TEST(ImageTransformer, ClassScoresAreLogLikelihoods) {
  Parameters parameters(3);
  const auto of = network(parameters);
  const Tensor both = pictures(2);
  Compute compute;
  const Tensor scores = of->logits(compute, {.batch = 2, .length = 1, .features = both}, nullptr);
  ASSERT_EQ(scores.shape(), (Shape{2, 3}));
  for (int64_t picture = 0; picture < 2; ++picture) {
    for (int32_t label = 0; label < 3; ++label)
      EXPECT_NEAR(scores.data<float>()[picture * 3 + label], log_likelihood(*of, both.slice(0, picture, picture + 1).contiguous(), label),
                  1e-3);
  }
}

TEST(ImageTransformer, MapsAreThoseOfTheMostProbableClass) {
  Parameters parameters(3);
  const auto of = network(parameters);
  const Tensor picture = pictures(1);
  Maps maps, of_class;
  Compute observed({.observer = &maps}), plain;
  const Tensor scores = of->logits(observed, {.batch = 1, .length = 1, .features = picture}, nullptr);
  const Tensor same = of->logits(plain, {.batch = 1, .length = 1, .features = picture}, nullptr);
  int32_t best = 0;
  for (int32_t label = 0; label < 3; ++label) {
    EXPECT_NEAR(scores.data<float>()[label], same.data<float>()[label], 1e-4);
    if (same.data<float>()[label] > same.data<float>()[best]) best = label;
  }
  Compute drawing({.observer = &of_class});
  of->logits(drawing, {.batch = 1, .length = 1, .ids = {best}, .features = picture}, nullptr);
  ASSERT_EQ(maps.all().size(), 2U);
  for (size_t layer = 0; layer < 2; ++layer) {
    EXPECT_EQ(maps.all()[layer].map.shape().queries, kPatches);
    EXPECT_EQ(maps.all()[layer].map.head(0, 1).row(7).weights(), of_class.all()[layer].map.head(0, 1).row(7).weights());
  }
}

TEST(ImageTransformer, RefusesWhatItDoesNotDraw) {
  Parameters parameters(3);
  const auto of = [&](const std::string& text) { return [&, text] { network_of(Json::parse(text, "config"), "config", parameters); }; };
  const auto changed = [](const std::string& field, const std::string& value) {
    std::string text = config();
    const size_t at = text.find("\"" + field + "\":") + field.size() + 4;
    return text.replace(at, text.find_first_of(",}", at) - at, value);
  };
  expect_refused(ErrorCode::kFormat, "\"num_channels\": expected 1, for black and white pictures, found 3",
                 of(changed("num_channels", "3")));
  expect_refused(ErrorCode::kFormat, "\"neighbours\": expected a whole number from 0 to 11, found 12", of(changed("neighbours", "12")));
  expect_refused(ErrorCode::kFormat, "\"num_attention_heads\": expected a divisor of 8, the hidden size, found 3",
                 of(changed("num_attention_heads", "3")));
  std::string large = changed("patch_size", "4");
  large.replace(large.find("[6, 8]"), 6, "[8, 8]");
  expect_refused(ErrorCode::kFormat, "\"patch_size\": expected 1, 2 or 3: a patch is one of 2^(patch_size²) symbols, found 4", of(large));
  std::string unnamed = config();
  unnamed.replace(unnamed.find(", \"id2label\""), std::string::npos, "}");
  expect_refused(ErrorCode::kFormat, "\"id2label\": expected the classes", of(unnamed));
}

TEST(ImageTransformer, RefusesBatchesWithoutAClassForEachPicture) {
  Parameters parameters(3);
  const auto of = network(parameters);
  const Tensor both = pictures(2);
  expect_refused(ErrorCode::kInvalidArgument, "ids: expected the class of each of the 2 pictures, from 0 to 2", [&] {
    patch_logits(*of, both, {0, 3});
  });
  Compute compute;
  expect_refused(ErrorCode::kInvalidArgument, "lengths: expected the same number of patches, from 0 to 11, for every picture", [&] {
    of->logits(compute, {.batch = 2, .length = 1, .ids = {0, 1}, .lengths = {3, 4}, .features = both}, nullptr);
  });
}

}  // namespace
}  // namespace clearhead
