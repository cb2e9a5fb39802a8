// Parts (layers): each equals its ops written out, or PyTorch's layer. A model made of parts is trained, run without a tape, observed,
// edited, saved and read.
#include "clearhead/nn.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/trace.h"
#include "clearhead/train.h"
#include "io/safetensors.h"
#include "random_tensor.h"
#include "refused.h"
#include "tolerance.h"
#include "values.h"

namespace clearhead {
namespace {

void expect_equal(const Tensor& found, const Tensor& expected, const char* what) {
  ASSERT_EQ(found.shape(), expected.shape()) << what;
  EXPECT_EQ(values_of(found), values_of(expected)) << what;
}

// A product with fewer rows, or with several weights in one matrix, may sum in another order: with AVX2 it does.
void expect_near(const Tensor& found, const Tensor& expected, const char* what) {
  ASSERT_EQ(found.shape(), expected.shape()) << what;
  const Floats a = values_of(found), b = values_of(expected);
  for (size_t at = 0; at < a.size(); ++at) EXPECT_NEAR(a[at], b[at], 1e-6) << what << ", element " << at;
}

// A file that is removed with the object.
struct Temporary {
  explicit Temporary(const std::string& name) : path(testing::TempDir() + "clearhead_" + std::to_string(::getpid()) + "_" + name) {}
  ~Temporary() { std::remove(path.c_str()); }
  std::string path;
};

// Biases start at 0 and norms at 1, so tests could not detect whether they are applied.
void randomise(Parameters& parameters) {
  uint32_t seed = 100;
  for (const Parameters::Named& one : parameters.named()) {
    Tensor values = one.values;
    const Tensor drawn = random_tensor(values.shape(), ++seed, 0.3);
    for (int64_t i = 0; i < values.numel() && one.is_trained; ++i) values.mutable_data<float>()[i] += drawn.data<float>()[i];
  }
}

// ---- Each layer equals its ops ----

Tensor named(const Parameters& parameters, const std::string& name) {
  for (const Parameters::Named& one : parameters.named()) {
    if (one.name == name) return one.values;
  }
  ADD_FAILURE() << "no parameter " << name;
  return {};
}

TEST(Nn, LayersEqualTheirOps) {
  Parameters parameters;
  const Scope scope(parameters);
  const nn::Linear linear(scope / "linear", 6, 5), unbiased(scope / "unbiased", 6, 5, {.bias = false});
  const nn::Embedding embedding(scope / "embedding", 9, 6);
  const nn::Positions positions(scope / "positions", 4, 6);
  const nn::LayerNorm norm(scope / "norm", 6, 1e-3);
  const nn::RmsNorm rms(scope / "rms", 6, 1e-2);
  const nn::FeedForward plain(scope / "plain", 6, 8, {.activation = "relu"}), gated(scope / "gated", 6, 8, {.gated = true});
  const nn::Conv conv(scope / "conv", 4, 6, {3}, {.how = {.padding = {0, 1}, .groups = 2}});
  randomise(parameters);
  Compute c;
  const Tensor x = random_tensor({6, 6}, 1);
  const std::vector<int32_t> ids = {3, 0, 8, 3};
  expect_equal(linear(c, x), c.linear(x, named(parameters, "linear.weight"), linear.bias), "linear");
  expect_equal(unbiased(c, x), c.linear(x, unbiased.values()), "unbiased");
  expect_equal(embedding(c, ids), c.embed(embedding.weight, ids), "embedding");
  expect_equal(positions(c, x, {.batch = 2, .length = 3}), c.add(x, c.embed(positions.weight, {0, 1, 2, 0, 1, 2})), "positions");
  expect_equal(norm(c, x), c.norm(x, norm.weight, norm.bias, 1e-3), "layer norm");
  expect_equal(rms(c, x), c.norm(x, rms.weight, {}, 1e-2), "RMS norm");
  expect_equal(plain(c, x), plain.down(c, c.activate("relu", plain.up(c, x))), "feed-forward");
  const auto part_of_gated = [&](const std::string& name) {
    return c.linear(x, named(parameters, "gated." + name + ".weight"), named(parameters, "gated." + name + ".bias"));
  };
  expect_near(gated(c, x), gated.down(c, c.multiply(c.activate("gelu", part_of_gated("gate")), part_of_gated("up"))), "gated");
  const Tensor planes = random_tensor({2, 4, 7}, 2);
  expect_equal(conv(c, planes), c.conv(planes, conv.weight, conv.bias, {.padding = {0, 1}, .groups = 2}), "convolution");
  std::vector<std::string> names;
  for (const Parameters::Named& one : parameters.named()) names.push_back(one.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"linear.weight",     "linear.bias",       "unbiased.weight",   "embedding.weight", "positions.weight",
                                      "norm.weight",       "norm.bias",         "rms.weight",        "plain.up.weight",  "plain.up.bias",
                                      "plain.down.weight", "plain.down.bias",   "gated.gate.weight", "gated.up.weight",  "gated.gate.bias",
                                      "gated.up.bias",     "gated.down.weight", "gated.down.bias",   "conv.weight",      "conv.bias"}));
}

TEST(Nn, SinusoidalPositionsAreSinesAndCosines) {
  const nn::Positions positions = nn::Positions::sinusoidal(50, 5);
  for (const int64_t p : {0, 7, 49}) {
    for (int64_t c = 0; c < 5; ++c) {
      const double angle = static_cast<double>(p) / std::pow(10000.0, 2.0 * static_cast<double>(c / 2) / 5);
      EXPECT_NEAR(positions.weight.data<float>()[p * 5 + c], c % 2 == 0 ? std::sin(angle) : std::cos(angle), tolerance::kStored);
    }
  }
}

TEST(Nn, ThePaddingOfAMeanIsLeftOut) {
  Compute compute;
  const Tensor x = Tensor::from<float>({1, 2, 3, 4, 50, 60, 7, 8, 9, 10, 11, 12}, {6, 2});
  EXPECT_EQ(values_of(nn::mean(compute, x, {.batch = 2, .length = 3, .lengths = {2, 0}})), (Floats{2, 3, 0, 0}));
  EXPECT_EQ(values_of(nn::mean(compute, x, {.batch = 3, .length = 2})), (Floats{2, 3, 28.5, 34, 10, 11}));
}

TEST(Nn, BatchNormTrainsByTheBatchAndRunsByItsBuffers) {
  Parameters parameters;
  const nn::BatchNorm norm(Scope(parameters) / "norm", 3, 0.5);
  const Tensor x = random_tensor({5, 3, 4}, 1);
  Training training;
  RunningStatistics expected{.momentum = 0.5};
  expect_equal(norm(training, x), training.batch_norm(x, norm.weight, norm.bias, expected), "in training");
  expect_equal(norm.running.mean, expected.mean, "running mean");
  expect_equal(norm.running.variance, expected.variance, "running variance");
  Compute compute;
  expect_equal(norm(compute, x), compute.batch_norm(x, norm.weight, norm.bias, expected), "without a tape");
  EXPECT_EQ(parameters.named()[2].name, "norm.running_mean");
  expect_equal(parameters.named()[3].values, expected.variance, "what is saved");
}

// ---- PyTorch ----

const io::SafeTensors& goldens() {
  static const io::SafeTensors file = io::SafeTensors::open(std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/ops/ops.safetensors");
  return file;
}

void expect_close(const Tensor& found, const Tensor& golden) {
  ASSERT_EQ(found.shape(), golden.shape());
  const Floats a = values_of(found), b = values_of(golden);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance::kResult * std::max(1.0F, std::abs(b[i]))) << "element " << i;
}

// The parameters from a golden's tensors under other names, read from a model file.
Parameters golden_parameters(const std::string& golden, const std::vector<std::pair<std::string, std::string>>& names) {
  const Temporary file("golden.safetensors");
  io::NamedTensors tensors;
  for (const auto& [from, to] : names) tensors.emplace_back(to, goldens().get(golden + "/" + from));
  io::write_safetensors(file.path, tensors);
  return Parameters::read(file.path);
}

TEST(Nn, PyTorchAgreesOnProductsNormsAndConvolutions) {
  Compute compute;
  const auto input = [](const std::string& name) { return goldens().get(name).clone(); };
  const std::vector<std::pair<std::string, std::string>> both = {{"weight", "weight"}, {"bias", "bias"}};
  Parameters linear = golden_parameters("linear", both), norm = golden_parameters("layer_norm", both),
             rms = golden_parameters("rms_norm", {{"weight", "weight"}}), conv = golden_parameters("conv1d", both),
             planes = golden_parameters("conv2d.everything", both);
  expect_close(nn::Linear(linear, 7, 6)(compute, input("linear/input")), input("linear/out"));
  expect_close(nn::LayerNorm(norm, 21)(compute, input("layer_norm/x")), input("layer_norm/out"));
  expect_close(nn::RmsNorm(rms, 21)(compute, input("rms_norm/x")), input("rms_norm/out"));
  expect_close(nn::Conv(conv, 3, 4, {5}, {.how = {.stride = {1, 2}, .padding = {0, 2}}})(compute, input("conv1d/input")),
               input("conv1d/out"));
  const nn::ConvOptions options{.how = {.stride = {2, 1}, .padding = {2, 3}, .dilation = {1, 2}, .groups = 2}};
  expect_close(nn::Conv(planes, 12, 4, {3, 3}, options)(compute, input("conv2d.everything/input")), input("conv2d.everything/out"));
}

// Each golden is one layer in both directions: for each direction the states [3, 5, 6], zeros
// where padded, the last state and the last cell.
template <class Part>
void expect_pytorchs(const std::string& golden, bool has_cell) {
  SCOPED_TRACE(golden);
  std::vector<std::pair<std::string, std::string>> names;
  const bool biased = goldens().contains(golden + "/input_bias"), padded = golden.ends_with("lengths");
  for (const auto& [way, ending] : {std::pair{"", "_l0"}, {".back", "_l0_reverse"}}) {
    names.emplace_back(std::string("input_weight") + way, std::string("weight_ih") + ending);
    names.emplace_back(std::string("hidden_weight") + way, std::string("weight_hh") + ending);
    if (biased) names.emplace_back(std::string("input_bias") + way, std::string("bias_ih") + ending);
    if (biased) names.emplace_back(std::string("hidden_bias") + way, std::string("bias_hh") + ending);
  }
  Parameters parameters = golden_parameters(golden, names);
  const Tensor x = goldens().get(golden + "/x").clone();
  const Part part(parameters, x.size(2), 6, {.bidirectional = true, .bias = biased});
  parameters.check_all_used();
  Layout layout{.batch = 3, .length = 5};
  if (padded) layout.lengths = {5, 2, 3};
  nn::RecurrentState before;
  for (const char* way : {"", ".back"}) {
    if (goldens().contains(golden + "/state" + way)) before.state.push_back(goldens().get(golden + "/state" + way).clone());
    if (goldens().contains(golden + "/cell" + way)) before.cell.push_back(goldens().get(golden + "/cell" + way).clone());
  }
  Compute compute;
  const nn::RecurrentResult found = part(compute, x.reshape({15, x.size(2)}), layout, before);
  Tensor rows = found.rows.clone();
  for (int64_t i = 0; padded && i < 15; ++i) {
    if (i % 5 >= layout.lengths[static_cast<size_t>(i / 5)]) std::fill_n(rows.mutable_data<float>() + i * 12, 12, 0.0F);
  }
  std::vector<Tensor> all;
  for (size_t way = 0; way < 2; ++way) {
    const auto first = static_cast<int64_t>(6 * way);
    all.push_back(rows.reshape({3, 5, 12}).slice(2, first, first + 6));
    all.push_back(found.last.state[way].reshape({3, 1, 6}));
    if (has_cell) all.push_back(found.last.cell[way].reshape({3, 1, 6}));
  }
  expect_close(compute.concat(all, 1), goldens().get(golden + "/out"));
}

TEST(Nn, PyTorchAgreesOnGruAndLstmInItsLayoutAndNames) {
  for (const char* variant : {"plain", "unbiased", "lengths"}) {
    expect_pytorchs<nn::Gru>(std::string("gru.") + variant, false);
    expect_pytorchs<nn::Lstm>(std::string("lstm.") + variant, true);
  }
}

// ---- Recurrent layers ----

TEST(Nn, RecurrentLayersHandOnTheirStatesAndGoStepByStep) {
  Parameters parameters;
  const nn::Lstm two(Scope(parameters) / "two", 4, 3, {.layers = 2}), lower(Scope(parameters) / "lower", 4, 3),
      upper(Scope(parameters) / "upper", 3, 3);
  for (const Parameters::Named& one : parameters.named()) {  // the two layers separately
    Tensor values = one.values;
    const std::string ending = one.name.substr(one.name.rfind('.') + 1, one.name.rfind("_l") - one.name.rfind('.') - 1);
    if (one.name.starts_with("two.")) continue;
    const std::string from = "two." + ending + (one.name.starts_with("lower.") ? "_l0" : "_l1");
    for (const Parameters::Named& other : parameters.named()) {
      if (other.name == from) std::copy_n(other.values.data<float>(), values.numel(), values.mutable_data<float>());
    }
  }
  Compute compute;
  const Tensor x = random_tensor({2 * 5, 4}, 1);
  const Layout layout{.batch = 2, .length = 5};
  const nn::RecurrentResult whole = two(compute, x, layout), first = lower(compute, x, layout), second = upper(compute, first.rows, layout);
  expect_equal(whole.rows, second.rows, "two layers");
  expect_equal(whole.last.cell[0], first.last.cell[0], "the lower layer's cell");
  expect_equal(whole.last.state[1], second.last.state[0], "the upper layer's state");
  nn::RecurrentState state;
  for (int64_t step = 0; step < 5; ++step) {
    const Tensor now = compute.contiguous(x.reshape({2, 5, 4}).select(1, step));
    const nn::RecurrentResult stepped = two(compute, now, {.batch = 2, .length = 1}, state);
    expect_near(stepped.rows, compute.contiguous(whole.rows.reshape({2, 5, 3}).select(1, step)), "a step");
    state = stepped.last;
  }
}

TEST(Nn, ABlockWithoutDropoutDrawsNoSeed) {
  Parameters parameters;
  const nn::FeedForward without(Scope(parameters) / "a", 6, 8), with(Scope(parameters) / "b", 6, 8, {.dropout = 0.5});
  Training first(3), second(3), third(3);
  (void)without(second, random_tensor({4, 6}, 1));
  (void)with(third, random_tensor({4, 6}, 1));
  const uint64_t next = first.dropout_seed();
  EXPECT_EQ(second.dropout_seed(), next);
  EXPECT_NE(third.dropout_seed(), next);
}

// ---- Attention ----

Tensor heads_of(const Tensor& rows, int64_t batch, int64_t heads) {
  return rows.reshape({batch, rows.size(0) / batch, heads, rows.size(1) / heads}).permute({0, 2, 1, 3});
}

TEST(Nn, AttentionEqualsItsOps) {
  Parameters parameters;
  const Rotary turn{.base = 100, .interleaved = true};
  const nn::Attention attention(Scope(parameters) / "attention", 12, 4,
                                {.spec = {.topology = causal()}, .key_heads = 2, .head_dim = 6, .bias = false, .rotary = turn});
  Compute c;
  const Tensor x = random_tensor({2 * 5, 12}, 1);
  const Layout layout{.batch = 2, .length = 5, .lengths = {5, 3}};
  const auto projected = [&](const char* name) { return c.linear(x, named(parameters, format("attention.{}.weight", name))); };
  const auto rotated = [&](const char* name, int64_t heads) {
    return c.rotate(projected(name).reshape({10, heads, 6}), layout.positions(), turn).reshape({10, heads * 6});
  };
  const Tensor ids = Tensor::from<int32_t>({0, 0, 0, 0, 0, 0, 0, 0, -1, -1}, {2, 5});
  AttentionSpec spec{.topology = causal()};
  spec.topology.segments = Segments{ids, ids};
  const Tensor seen =
      c.attend(heads_of(rotated("query", 4), 2, 4), heads_of(rotated("key", 2), 2, 2), heads_of(projected("value"), 2, 2), spec);
  expect_near(attention(c, x, layout), attention.output(c, seen.permute({0, 2, 1, 3}).reshape({10, 24})), "self-attention");
  EXPECT_EQ(named(parameters, "attention.key.weight").shape(), (Shape{12, 12}));
  EXPECT_EQ(parameters.named()[0].name, "attention.query.weight");
}

TEST(Nn, CrossAttentionReadsAMemoryOfItsOwnWidthAndLayout) {
  Parameters parameters;
  const nn::Attention attention(Scope(parameters), 8, 2, {.memory_width = 10, .site = {"cross", 1}});
  Compute c;
  const Tensor x = random_tensor({2 * 3, 8}, 1), memory = random_tensor({2 * 5, 10}, 2);
  const Layout own{.batch = 2, .length = 3}, other{.batch = 2, .length = 5, .lengths = {4, 5}};
  AttentionSpec spec;
  spec.topology.segments = Segments{Tensor::zeros({2, 3}, DType::kI32), Tensor::from<int32_t>({0, 0, 0, 0, -1, 0, 0, 0, 0, 0}, {2, 5})};
  const auto of_memory = [&](const std::string& name) {
    return heads_of(c.linear(memory, named(parameters, name + ".weight"), named(parameters, name + ".bias")), 2, 2);
  };
  const Tensor seen = c.attend(heads_of(c.linear(x, named(parameters, "query.weight"), named(parameters, "query.bias")), 2, 2),
                               of_memory("key"), of_memory("value"), spec);
  expect_near(attention(c, x, own, memory, other), attention.output(c, seen.permute({0, 2, 1, 3}).reshape({6, 8})), "cross-attention");
}

TEST(Nn, AnyDescriptionMayHaveParametersOfItsOwn) {
  Parameters parameters;
  const Scope scope = Scope(parameters) / "attention";
  const nn::Attention attention(scope, 8, 2, {.spec = {.score = Additive{.weight = scope.parameter("score", {2, 4}, Init::normal(1))}}});
  Training training;
  training.train(parameters);
  const Tensor out = attention(training, random_tensor({6, 8}, 1), {.batch = 1, .length = 6});
  training.backward(training.cross_entropy(out, {0, 1, 2, 3, 4, 5}));
  double size = 0;
  for (const float g : values_of(training.gradient(parameters.named()[0].values))) size += std::abs(static_cast<double>(g));
  EXPECT_EQ(parameters.named()[0].name, "attention.score");
  EXPECT_GT(size, 1e-4);
}

TEST(Nn, PoolingWeighsStepsByALearnedQuery) {
  Parameters parameters(7);
  const nn::Pooling pooling(Scope(parameters), 6, 4);
  randomise(parameters);
  Compute c;
  const Tensor x = random_tensor({3 * 4, 6}, 1), u = c.activate("tanh", pooling.hidden(c, x));
  const std::vector<int32_t> lengths = {4, 2, 0};
  const Tensor out = pooling(c, x, {.batch = 3, .length = 4, .lengths = lengths});
  for (int64_t b = 0; b < 3; ++b) {
    std::vector<double> sums(6, 0);
    double total = 0;
    for (int64_t t = b * 4; t < b * 4 + lengths[static_cast<size_t>(b)]; ++t) {
      double score = 0;
      for (int64_t i = 0; i < 4; ++i)
        score += static_cast<double>(u.data<float>()[t * 4 + i]) * static_cast<double>(pooling.query.data<float>()[i]);
      total += std::exp(score);
      for (int64_t i = 0; i < 6; ++i) sums[static_cast<size_t>(i)] += std::exp(score) * static_cast<double>(x.data<float>()[t * 6 + i]);
    }
    for (int64_t i = 0; i < 6; ++i)
      EXPECT_NEAR(out.data<float>()[b * 6 + i], total == 0 ? 0 : sums[static_cast<size_t>(i)] / total, tolerance::kFormula) << b;
  }
}

TEST(Nn, PoolingWeightsReproduceItsMeansAndAreZeroOnPadding) {
  Parameters parameters(7);
  const nn::Pooling pooling(Scope(parameters), 6, 4);
  randomise(parameters);
  Compute c;
  const Tensor x = random_tensor({2 * 4, 6}, 1);
  const Layout layout{.batch = 2, .length = 4, .lengths = {4, 2}};
  const Tensor weights = pooling.weights(c, x, layout), pooled = pooling(c, x, layout);
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t i = 0; i < 6; ++i) {
      double sum = 0;
      for (int64_t t = 0; t < 4; ++t)
        sum += static_cast<double>(weights.data<float>()[b * 4 + t]) * static_cast<double>(x.data<float>()[(b * 4 + t) * 6 + i]);
      EXPECT_NEAR(pooled.data<float>()[b * 6 + i], sum, tolerance::kFormula) << b;
    }
  }
  EXPECT_EQ(weights.data<float>()[6], 0);
  EXPECT_EQ(weights.data<float>()[7], 0);
}

// ---- A model made of parts ----

struct Layer {
  Scope scope;
  int at = 0;
  double dropout = 0;
  nn::LayerNorm norm1{scope / "norm1", 8}, norm2{scope / "norm2", 8};
  nn::Attention attention{scope / "attention", 8, 2, {.dropout = dropout, .site = {"enc", at}}};
  nn::FeedForward mlp{scope / "mlp", 8, 12, {.gated = true, .dropout = dropout}};

  Tensor operator()(Compute& compute, Tensor x, const Layout& layout) const {
    x = compute.add(x, attention(compute, norm1(compute, x), layout));
    return compute.add(x, mlp(compute, norm2(compute, x)));
  }
};

// Two layers, a bidirectional GRU, attention pooling, two classes.
struct Reader {
  Scope scope;
  double dropout = 0;
  nn::Embedding tokens{scope / "tokens", 11, 8, Init::normal(1)};
  nn::Positions positions{scope / "positions", 6, 8, Init::normal(1)};
  Layer layers[2] = {{scope / "layers" / 0, 0, dropout}, {scope / "layers" / 1, 1, dropout}};
  nn::Gru gru{scope / "gru", 8, 4, {.bidirectional = true}};
  nn::Pooling pooling{scope / "pooling", 8, 5};
  nn::BatchNorm norm{scope / "norm", 8};
  nn::Linear read{scope / "read", 8, 2};

  Tensor operator()(Compute& compute, const std::vector<int32_t>& ids, const Layout& layout) const {
    Tensor x = positions(compute, tokens(compute, ids), layout);
    for (const Layer& layer : layers) x = layer(compute, x, layout);
    return read(compute, norm(compute, pooling(compute, gru(compute, x, layout).rows, layout)));
  }
};

const std::vector<int32_t> kIds = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3}, kTargets = {1, 0, 1};
const Layout kLayout{.batch = 3, .length = 6, .lengths = {6, 4, 5}};

TEST(NnModel, GradientsAreTheSlopesOfTheLoss) {
  Parameters parameters(3);
  const Reader model{parameters};
  randomise(parameters);
  Training training;
  training.train(parameters);
  const auto loss = [&] { return training.cross_entropy(model(training, kIds, kLayout), kTargets); };
  const auto value = [&] {
    const double of = static_cast<double>(*loss().data<float>());
    training.clear();
    return of;
  };
  training.backward(loss());
  std::vector<Floats> gradients;
  double length = 0;
  for (const Parameters::Named& one : parameters.named()) {
    gradients.push_back(one.is_trained ? values_of(training.gradient(one.values)) : Floats());
    for (const float g : gradients.back()) length += static_cast<double>(g) * static_cast<double>(g);
  }
  length = std::sqrt(length);
  for (size_t at = 0; at < gradients.size(); ++at) {  // along a random direction of each parameter
    if (gradients[at].empty()) continue;
    Tensor values = parameters.named()[at].values;
    const Floats before = values_of(values), direction = values_of(random_tensor(values.shape(), static_cast<uint32_t>(at)));
    double norm = 0, expected = 0;
    for (const float d : direction) norm += static_cast<double>(d) * static_cast<double>(d);
    norm = std::sqrt(norm);
    for (size_t i = 0; i < before.size(); ++i) expected += static_cast<double>(gradients[at][i]) * static_cast<double>(direction[i]) / norm;
    const auto moved = [&](double step) {
      for (size_t i = 0; i < before.size(); ++i)
        values.mutable_data<float>()[i] =
            static_cast<float>(static_cast<double>(before[i]) + step * static_cast<double>(direction[i]) / norm);
      return value();
    };
    const auto slope = [&](double step) { return (moved(step) - moved(-step)) / (2 * step); };
    const double found = (4 * slope(5e-3) - slope(1e-2)) / 3;
    std::copy(before.begin(), before.end(), values.mutable_data<float>());
    EXPECT_NEAR(expected, found, tolerance::kSlopeOfLoss * length) << parameters.named()[at].name;
  }
}

TEST(NnModel, IsTrainedSavedReadAndRunWithTheSameBits) {
  const Temporary file("reader.safetensors");
  Parameters parameters(3);
  const Reader model{parameters, /*dropout=*/0.2};
  const Floats at_first = values_of(model.read.values());
  Training training(5);
  training.train(parameters);
  float first = 0, last = 0;
  for (int step = 0; step < 30; ++step) {
    const Tensor loss = training.cross_entropy(model(training, kIds, kLayout), kTargets);
    (step == 0 ? first : last) = *loss.data<float>();
    training.step(loss, 0.02);
  }
  EXPECT_LT(last, first / 2);
  EXPECT_NE(values_of(model.read.values()), at_first);
  parameters.save(file.path);
  Parameters read = Parameters::read(file.path);
  const Reader again{read, /*dropout=*/0.2};
  read.check_all_used();
  Compute compute;
  expect_equal(again(compute, kIds, kLayout), model(compute, kIds, kLayout), "saved and read");
}

// Training changes only layers that act in training only, so the results are equal.
TEST(NnModel, RunsAsItTrains) {
  Parameters parameters(3);
  const Layer layer{parameters};
  const nn::Lstm lstm(Scope(parameters) / "lstm", 8, 4, {.layers = 2, .bidirectional = true});
  const nn::Pooling pooling(Scope(parameters) / "pooling", 8, 5);
  for (const DType operands : {DType::kF32, DType::kBF16}) {
    Training training(1, {}, operands);
    training.train(parameters);
    Compute compute({.operands = operands});
    const Tensor x = random_tensor({18, 8}, 1);
    const auto run = [&](Compute& by) { return pooling(by, lstm(by, layer(by, x, kLayout), kLayout).rows, kLayout); };
    expect_equal(run(compute), run(training), to_string(operands));
  }
}

TEST(NnModel, DropoutActsInTrainingOnly) {
  Parameters parameters(3);
  const Layer layer{.scope = parameters, .dropout = 0.5};
  const Tensor x = random_tensor({18, 8}, 1);
  Training training(1), same_seed(1);
  Compute compute;
  const Tensor dropped = layer(training, x, kLayout), once_more = layer(training, x, kLayout);
  EXPECT_NE(values_of(dropped), values_of(once_more)) << "each call draws its own";
  const nn::Attention attention(Scope(parameters) / "alone", 8, 2, {.dropout = 0.5});
  const Tensor weights_dropped = attention(training, x, kLayout), others_dropped = attention(training, x, kLayout);
  EXPECT_NE(values_of(weights_dropped), values_of(others_dropped)) << "so do weights";
  expect_equal(layer(same_seed, x, kLayout), dropped, "one seed");
  Parameters without(3);
  expect_equal(layer(compute, x, kLayout), Layer{without}(compute, x, kLayout), "outside training");
}

TEST(NnModel, EveryAttentionIsASiteOfTheObserver) {
  Parameters parameters(3);
  const Reader model{parameters};
  Maps maps, in_training;
  Compute compute({.observer = &maps});
  model(compute, kIds, kLayout);
  std::vector<std::string> sites;
  for (const Maps::Kept& kept : maps.all()) sites.push_back(kept.site.family + std::to_string(kept.site.layer));
  EXPECT_EQ(sites, (std::vector<std::string>{"enc0", "enc1", "pool0"}));
  EXPECT_TRUE(maps.all()[0].norms.output.defined());
  const AttentionMap& map = maps.at("enc", 1);
  const Tensor q = map.record().q, k = std::get<Tensor>(map.record().keys);
  for (int64_t head = 0; head < 2; ++head) {
    for (int64_t i = 0; i < 4; ++i) {  // rows of sequence 1, whose last two tokens are padding
      std::vector<double> row;
      double sum = 0;
      for (int64_t j = 0; j < 4; ++j) {
        double dot = 0;
        for (int64_t c = 0; c < 4; ++c) {
          dot += static_cast<double>(q.select(0, 1).select(0, head).select(0, i).data<float>()[c * q.stride(3)]) *
                 static_cast<double>(k.select(0, 1).select(0, head).select(0, j).data<float>()[c * k.stride(3)]);
        }
        row.push_back(std::exp(dot / 2));
        sum += row.back();
      }
      const Floats found = map.head(1, head).row(i).weights();
      for (size_t j = 0; j < 6; ++j) EXPECT_NEAR(static_cast<double>(found[j]), j < 4 ? row[j] / sum : 0, tolerance::kFormula);
    }
  }
  Training training(1, {}, DType::kF32, &in_training);
  training.train(parameters);
  model(training, kIds, kLayout);
  EXPECT_EQ(in_training.all().size(), 3u);
}

TEST(NnModel, ATraceKeepsItsMaps) {
  Parameters parameters(3);
  const Reader model{parameters};
  Trace trace({.layers = {}});
  RunPlan plan{.model = "reader",
               .families = {{.name = "enc", .layers = 2, .heads = 2, .key_heads = 2, .d_k = 4, .queries = 6, .keys = 6}}};
  plan.text.ids = {kIds.begin(), kIds.begin() + 6};
  for (int64_t i = 0; i < 6; ++i) {
    plan.text.text += std::to_string(kIds[static_cast<size_t>(i)]);
    plan.text.offsets.push_back({i, i + 1});
    plan.text.special.push_back(0);
    plan.text.pieces.push_back(std::to_string(kIds[static_cast<size_t>(i)]));
  }
  trace.begin(plan);
  Compute compute({.observer = &trace});
  const Layer& layer = model.layers[1];
  const Tensor x = random_tensor({6, 8}, 1);
  layer(compute, x, {.batch = 1, .length = 6});
  const Floats row = trace.map("enc", 1).row(1, 5).weights();
  double sum = 0;
  for (const float weight : row) sum += static_cast<double>(weight);
  EXPECT_EQ(row.size(), 6u);
  EXPECT_NEAR(sum, 1, tolerance::kRowSum);
}

TEST(NnModel, AnAblatedHeadIsOneWhoseColumnsOfTheOutputAreZero) {
  Parameters parameters(3), silent(3);
  const Reader model{parameters}, without{silent};
  Tensor columns = without.layers[1].attention.output.values();  // [8, 2 heads of 4]
  for (int64_t i = 0; i < columns.numel(); ++i) columns.mutable_data<float>()[i] *= i % 8 >= 4 ? 0.0F : 1.0F;
  Compute plain, edited({.interventions = {.ablated = {{.layer = 1, .head = 1, .family = "enc"}}}});
  const Floats ablated = values_of(model(edited, kIds, kLayout)), zeroed = values_of(without(plain, kIds, kLayout)),
               whole = values_of(model(plain, kIds, kLayout));
  for (size_t i = 0; i < ablated.size(); ++i) EXPECT_NEAR(ablated[i], zeroed[i], tolerance::kFew);
  EXPECT_NE(ablated, whole);
}

TEST(Nn, MismatchedShapesAndInvalidOptionsAreRefused) {
  Parameters parameters;
  const Scope scope(parameters);
  const nn::Attention attention(scope / "a", 8, 2, {.spec = {}}), cross(scope / "b", 8, 2, {.memory_width = 8});
  const nn::Positions positions(scope / "c", 4, 8);
  const nn::Gru gru(scope / "d", 8, 3);
  Compute c;
  const Tensor x = Tensor::zeros({6, 8});
  const auto refused = [](ErrorCode code, const char* says, const auto& call) { expect_refused(code, says, call); };
  refused(ErrorCode::kShape, "attention: x is [6, 8]; expected [8, width], the rows of 2 sequences of 4",
          [&] { attention(c, x, {.batch = 2, .length = 4}); });
  refused(ErrorCode::kShape, "attention: 1 lengths for 2 sequences", [&] { attention(c, x, {.batch = 2, .length = 3, .lengths = {3}}); });
  refused(ErrorCode::kInvalidArgument, "attention: a sequence of length 4; expected 0 to 3", [&] {
    attention(c, x, {.batch = 2, .length = 3, .lengths = {3, 4}});
  });
  refused(ErrorCode::kShape, "2 sequences attend to 1 memories",
          [&] { cross(c, x, {.batch = 2, .length = 3}, x, {.batch = 1, .length = 6}); });
  refused(ErrorCode::kInvalidArgument, "a layer made for self-attention is called with a memory",
          [&] { attention(c, x, {.batch = 2, .length = 3}, x, {.batch = 2, .length = 3}); });
  refused(ErrorCode::kInvalidArgument, "a layer made for cross-attention (memory_width) is called without a memory",
          [&] { cross(c, x, {.batch = 2, .length = 3}); });
  refused(ErrorCode::kUnsupported, "rotary embeddings in cross-attention",
          [&] { nn::Attention(scope / "k", 8, 2, {.memory_width = 8, .rotary = Rotary{}}); });
  refused(ErrorCode::kTooLong, "positions: the sequence length is 6; expected at most 4",
          [&] { positions(c, x, {.batch = 1, .length = 6}); });
  refused(ErrorCode::kShape, "2 states before the first step; expected 1", [&] {
    gru(c, x, {.batch = 2, .length = 3}, {.state = {x, x}});
  });
  refused(ErrorCode::kShape, "linear: x is [6, 8]", [&] { nn::Linear(scope / "e", 7, 2)(c, x); });
  refused(ErrorCode::kInvalidArgument, "attention \"f\": the width is 8, with 3 heads and 3 key heads",
          [&] { nn::Attention(scope / "f", 8, 3); });
  refused(ErrorCode::kInvalidArgument, "the width is 8, with 4 heads and 3 key heads",
          [&] { nn::Attention(scope / "g", 8, 4, {.key_heads = 3}); });
  refused(ErrorCode::kInvalidArgument, "convolution \"h\": the kernel is [3, 3, 3]", [&] { nn::Conv(scope / "h", 2, 2, {3, 3, 3}); });
  refused(ErrorCode::kInvalidArgument, "recurrent layer \"i\": 0 layers", [&] { nn::Gru(scope / "i", 2, 2, {.layers = 0}); });
  const Tensor ids = Tensor::zeros({1, 6}, DType::kI32);
  AttentionSpec packed;
  packed.topology.segments = Segments{ids, ids};
  refused(ErrorCode::kInvalidArgument, "padded or packed sequences and the description has segments",
          [&] { nn::Attention(scope / "j", 8, 2, {.spec = packed})(c, x, {.batch = 1, .length = 6, .lengths = {4}}); });
}

}  // namespace
}  // namespace clearhead
