// Named parameters: how they are initialised, saved and read, and the error messages.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "clearhead/error.h"
#include "clearhead/nn.h"
#include "clearhead/train.h"
#include "io/safetensors.h"
#include "random_tensor.h"
#include "refused.h"
#include "values.h"

namespace clearhead {
namespace {

// A file that is removed with the object.
struct Temporary {
  explicit Temporary(const std::string& name) : path(testing::TempDir() + "clearhead_" + std::to_string(::getpid()) + "_" + name) {}
  ~Temporary() { std::remove(path.c_str()); }
  std::string path;
};

TEST(Parameters, AreNamedByTheirPath) {
  Parameters parameters;
  const Scope scope = Scope(parameters) / "encoder" / 0;
  (scope / "attention").parameter("weight", {2, 3}, Init::ones());
  scope.buffer("running_mean", {4}, Init::zeros());
  ASSERT_EQ(parameters.named().size(), 2u);
  EXPECT_EQ(parameters.named()[0].name, "encoder.0.attention.weight");
  EXPECT_TRUE(parameters.named()[0].is_trained);
  EXPECT_EQ(parameters.named()[1].name, "encoder.0.running_mean");
  EXPECT_FALSE(parameters.named()[1].is_trained);
  EXPECT_EQ(parameters.count(), 6);
  EXPECT_EQ((scope / "attention").path(), "encoder.0.attention");
  expect_refused(ErrorCode::kInvalidArgument, "\"encoder.0.running_mean\" exists already",
                 [&] { scope.parameter("running_mean", {4}, Init::zeros()); });
}

TEST(Parameters, AreInitialisedFromSeedAndNameOnly) {
  Parameters one(3), another(3), other_seed(4);
  another.parameter("before", {7}, Init::normal(1));
  const Floats drawn = values_of(one.parameter("weight", {5, 6}, Init::normal(0.5)));
  EXPECT_EQ(values_of(another.parameter("weight", {5, 6}, Init::normal(0.5))), drawn);
  EXPECT_NE(values_of(other_seed.parameter("weight", {5, 6}, Init::normal(0.5))), drawn);
  EXPECT_NE(values_of(one.parameter("weights", {5, 6}, Init::normal(0.5))), drawn);
}

TEST(Parameters, StartAsTheirInitialisationSays) {
  Parameters parameters;
  const auto drawn = [&](const char* name, const Shape& shape, const Init& init) {
    return values_of(parameters.parameter(name, shape, init));
  };
  EXPECT_EQ(drawn("zeros", {3}, Init::zeros()), (Floats{0, 0, 0}));
  EXPECT_EQ(drawn("ones", {2}, Init::ones()), (Floats{1, 1}));
  EXPECT_EQ(drawn("value", {2}, Init::value(-2.5)), (Floats{-2.5, -2.5}));
  double squares = 0;
  for (const float x : drawn("normal", {100, 100}, Init::normal(0.3))) squares += static_cast<double>(x) * static_cast<double>(x);
  EXPECT_NEAR(std::sqrt(squares / 1e4), 0.3, 0.3 * 0.03);  // four standard deviations of 10,000 squares
  const auto expect_uniform = [](const Floats& values, double bound) {
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    EXPECT_GE(static_cast<double>(*least), -bound * 1.0001);
    EXPECT_LT(static_cast<double>(*least), -bound * 0.99);
    EXPECT_LE(static_cast<double>(*most), bound * 1.0001);
    EXPECT_GT(static_cast<double>(*most), bound * 0.99);
  };
  expect_uniform(drawn("uniform", {4000}, Init::uniform(0.2)), 0.2);
  expect_uniform(drawn("xavier", {40, 60}, Init::xavier()), std::sqrt(6.0 / 100));
  expect_uniform(drawn("xavier.conv", {10, 20, 3, 5}, Init::xavier(2)), 2 * std::sqrt(6.0 / (30 * 15)));
  expect_refused(ErrorCode::kInvalidArgument, "\"flat\" is [4]; Xavier initialisation expects [out, in, …]",
                 [&] { drawn("flat", {4}, Init::xavier()); });
}

TEST(Parameters, ComeBackFromTheirFileBitForBit) {
  const Temporary file("parameters.safetensors");
  Parameters drawn(5);
  const Tensor weight = drawn.parameter("a.weight", {4, 3}, Init::normal(1)), mean = drawn.buffer("a.running_mean", {4}, Init::ones());
  drawn.save(file.path);
  Parameters read = Parameters::read(file.path);
  EXPECT_EQ(values_of(read.parameter("a.weight", {4, 3}, Init::zeros())), values_of(weight));
  EXPECT_EQ(values_of(read.buffer("a.running_mean", {4}, Init::zeros())), values_of(mean));
  read.check_all_used();
  Training training;
  training.train(read);  // they own their memory
  EXPECT_EQ(read.count(), 12);
}

TEST(Parameters, In16BitsAreWidened) {
  const Temporary file("narrow.safetensors");
  const Tensor values = random_tensor({3, 2}, 1);
  io::write_safetensors(file.path, {{"weight", to_dtype(values, DType::kBF16)}});
  Parameters read = Parameters::read(file.path);
  EXPECT_EQ(values_of(read.parameter("weight", {3, 2}, Init::zeros())), values_of(to_f32(to_dtype(values, DType::kBF16))));
}

TEST(Parameters, AFileThatDoesNotFitIsRefusedByTensorAndShape) {
  const Temporary file("other.safetensors");
  io::write_safetensors(file.path, {{"a.weight", Tensor::zeros({4, 3})},
                                    {"a.bias", Tensor::zeros({4})},
                                    {"b.ids", Tensor::zeros({2}, DType::kI32)},
                                    {"b.weight", Tensor::zeros({1})}});
  Parameters read = Parameters::read(file.path);
  expect_refused(ErrorCode::kNotFound, "no tensor \"a.weigth\" among 4; nearest: \"a.weight\"", [&] {
    read.parameter("a.weigth", {4, 3}, Init::zeros());
  });
  expect_refused(ErrorCode::kShape, file.path + ": tensor \"a.weight\" has shape [4, 3]; the model expects [3, 4]", [&] {
    read.parameter("a.weight", {3, 4}, Init::zeros());
  });
  expect_refused(ErrorCode::kUnsupported, "tensor \"b.ids\" holds i32; expected f32, bf16 or f16",
                 [&] { read.parameter("b.ids", {2}, Init::zeros()); });
  read.parameter("a.weight", {4, 3}, Init::zeros());
  read.parameter("a.bias", {4}, Init::zeros());
  const std::string left = "the model has no parameter for 2 of 4 tensors: ";
  expect_refused(ErrorCode::kNotFound, left, [&] { read.check_all_used(); });
  expect_refused(ErrorCode::kNotFound, "\"b.weight\"", [&] { read.save(file.path); });
  expect_refused(ErrorCode::kNotFound, "\"b.ids\"", [&] { Training().train(read); });
  Parameters part = Parameters::read(file.path, {.allow_more = true});
  part.parameter("a.bias", {4}, Init::zeros());
  part.check_all_used();
  expect_refused(ErrorCode::kNotFound, "nowhere.safetensors", [] { Parameters::read("nowhere.safetensors"); });
}

TEST(Parameters, GroupsOfTheOptimiserMatchTheirNames) {
  Parameters parameters;
  Tensor frozen = parameters.parameter("encoder.0.weight", {2, 3}, Init::ones()),
         moves = parameters.parameter("head.weight", {2, 2}, Init::xavier()), buffer = parameters.buffer("encoder.mean", {2}, Init::ones());
  Training training(1, {.groups = {{.match = "^encoder\\.", .learning_rate_scale = 0}}});
  training.train(parameters);
  training.train(parameters);  // again: nothing may be added twice
  const Floats before = values_of(frozen), moved = values_of(moves);
  training.step(training.cross_entropy(training.linear(training.linear(random_tensor({4, 3}, 1), frozen), moves), {0, 1, 1, 0}), 0.1);
  EXPECT_EQ(values_of(frozen), before);
  EXPECT_NE(values_of(moves), moved);
  EXPECT_EQ(values_of(buffer), (Floats{1, 1}));
  expect_refused(ErrorCode::kInvalidArgument, "not watched", [&] { training.gradient(frozen); });
}

TEST(Parameters, TransposedBlocksHaveTheShapeOfTheFileAndShareTheStack) {
  Init init = Init::normal(1);
  init.drawn_before = 7;
  Parameters stacked(5), single(5);
  const Tensor all = stacked.stacked({{"first", 2}, {"transposed", 3, true}}, 4, init);
  EXPECT_EQ(values_of(all), values_of(single.parameter("all", {5, 4}, init))) << "one sequence, in the order of memory";
  const Tensor bias = stacked.stacked({{"row", 5, true}}, 0, Init::ones());
  EXPECT_EQ(bias.shape(), (Shape{5}));
  EXPECT_EQ(stacked.named()[1].values.shape(), (Shape{4, 3}));
  EXPECT_EQ(stacked.named()[2].values.shape(), (Shape{1, 5}));
  EXPECT_EQ(values_of(stacked.named()[1].values.permute({1, 0})), values_of(all.slice(0, 2, 5)));
  const Temporary file("transposed.safetensors");
  stacked.save(file.path);
  Parameters as_stored = Parameters::read(file.path), read = Parameters::read(file.path);
  EXPECT_EQ(values_of(as_stored.parameter("transposed", {4, 3}, init)), values_of(stacked.named()[1].values.contiguous()));
  EXPECT_EQ(values_of(read.stacked({{"first", 2}, {"transposed", 3, true}}, 4, init)), values_of(all));
}

TEST(Parameters, StackedParametersShareOneLeafAndKeepTheirOwnValues) {
  Parameters alone(5), together(5);
  const Tensor query = alone.parameter("query.weight", {2, 3}, Init::xavier()), key = alone.parameter("key.weight", {4, 3}, Init::xavier());
  const Tensor all = together.stacked({{"query.weight", 2}, {"key.weight", 4}}, 3, Init::xavier());
  EXPECT_EQ(all.shape(), (Shape{6, 3}));
  EXPECT_EQ(values_of(all.slice(0, 0, 2)), values_of(query));
  EXPECT_EQ(values_of(all.slice(0, 2, 6)), values_of(key));
  ASSERT_EQ(together.named().size(), 2u);
  EXPECT_EQ(together.named()[1].name, "key.weight");
  EXPECT_TRUE(together.named()[1].values.shares_storage_with(all));
  EXPECT_EQ(together.leaves().size(), 1u);
  EXPECT_EQ(together.count(), alone.count());
  const Temporary file("stack.safetensors");
  together.save(file.path);
  Parameters read = Parameters::read(file.path);
  EXPECT_EQ(values_of(read.parameter("key.weight", {4, 3}, Init::zeros())), values_of(key));
  expect_refused(ErrorCode::kInvalidArgument, "\"key.weight\" exists already", [&] {
    together.stacked({{"value.weight", 1}, {"key.weight", 1}}, 3, Init::zeros());
  });
}

}  // namespace
}  // namespace clearhead
