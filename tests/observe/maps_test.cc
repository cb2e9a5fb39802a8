// Maps: an observer that keeps the map of every attention call of any model.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "clearhead/compute.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "random_tensor.h"
#include "refused.h"

namespace clearhead {
namespace {

TEST(Maps, KeepTheWeightsOfACallAfterItsOperandsChange) {
  Maps maps;
  Compute compute({.observer = &maps});
  Tensor q = random_tensor({1, 2, 5, 4}, 1);
  const Tensor k = random_tensor({1, 2, 5, 4}, 2);
  compute.attend(q, k, k, {.topology = causal()}, Site{"enc", 1});
  const std::vector<float> row = AttentionMap(attend(q, k, k, {.topology = causal()}).record).head(0, 1).row(3).weights();
  q.mutable_data<float>()[0] = 9;
  EXPECT_EQ(maps.at("enc", 1).head(0, 1).row(3).weights(), row);
}

TEST(Maps, KeepTheLastCallOfEachSite) {
  Maps maps;
  Compute compute({.observer = &maps});
  const Tensor x = random_tensor({1, 1, 3, 4}, 1), longer = random_tensor({1, 1, 5, 4}, 2);
  compute.attend(x, x, x, {}, Site{"dec", 0, 7});
  compute.attend(x, x, x, {}, Site{"enc", 0});
  compute.attend(longer, longer, longer, {}, Site{"dec", 0, 7});
  ASSERT_EQ(maps.all().size(), 2u);
  EXPECT_EQ(maps.all()[0].site.family, "dec");
  EXPECT_EQ(maps.all()[0].norms.value.shape(), (Shape{1, 1, 5}));
  EXPECT_EQ(maps.at("dec", 0, 7).shape().queries, 5);
  expect_refused(ErrorCode::kNotFound, "no attention of family \"dec\", layer 0, step 0; available: dec 0 at step 7, enc 0 at step 0",
                 [&] { maps.at("dec", 0); });
  expect_refused(ErrorCode::kNotFound, "available: none", [] { Maps().at("enc", 0); });
}

}  // namespace
}  // namespace clearhead
