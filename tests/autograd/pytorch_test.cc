// Every recorded op against PyTorch in float64, forward and backward: tests/goldens/ops, made by tools/goldens/ops.py. (Dropout draws its
// own random numbers; see tape_test.cc.)
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "autograd/gradient_case.h"
#include "io/safetensors.h"
#include "tolerance.h"

namespace clearhead {
namespace {

using Tensors = std::vector<Tensor>;

const io::SafeTensors& goldens() {
  static const io::SafeTensors file = io::SafeTensors::open(std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/ops/ops.safetensors");
  return file;
}

std::set<std::string>& cases_run() {
  static std::set<std::string> names;
  return names;
}

void expect_close(const Tensor& found, const Tensor& golden, const std::string& what) {
  ASSERT_EQ(found.shape(), golden.shape()) << what;
  const Values a = values_of(found), b = values_of(golden);
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_NEAR(a[i], b[i], tolerance::kResult * std::max(1.0, std::abs(b[i]))) << what << ", element " << i;
}

// Passes the inputs by name, in this order. Inputs with a gradient in the golden are watched, and their gradients compared.
void expect_golden(const std::string& name, const std::vector<std::string>& names, const std::function<Tensor(Run&, Tensors&)>& op) {
  SCOPED_TRACE(name);
  cases_run().insert(name);
  Arena arena;
  Tape tape;
  clearhead::Run run{arena, nullptr, &tape};
  Tensors inputs;
  for (const std::string& input : names) {
    inputs.push_back(goldens().get(name + "/" + input).clone());
    if (goldens().contains(name + "/d." + input)) tape.watch(inputs.back());
  }
  const Tensor out = op(run, inputs);
  expect_close(out, goldens().get(name + "/out"), "out");
  const Tensor d_out = goldens().get(name + "/d_out").contiguous();
  Tensor loss = Tensor::zeros({1});
  tape.record("loss", loss, {}, [&](Gradients& gradients) {
    Gradients::Place to = gradients.place(out);
    ops::add_strided(d_out, to.gradient, to.accumulate);
  });
  tape.backward(loss);
  int compared = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!goldens().contains(name + "/d." + names[i])) continue;
    expect_close(tape.gradient(inputs[i]), goldens().get(name + "/d." + names[i]), "d." + names[i]);
    ++compared;
  }
  const std::vector<std::string> kept = goldens().names();
  EXPECT_EQ(compared, std::count_if(kept.begin(), kept.end(), [&](const std::string& of) { return of.starts_with(name + "/d."); }));
}

TEST_P(TapeOn, PyTorchAgreesOnProductsTablesAndNorms) {
  expect_golden("linear", {"input", "weight", "bias"}, [](clearhead::Run& run, Tensors& in) {
    Tensor out = run.take({5, 6});
    ops::linear(run, in[0], LiveWeight(in[1]), in[2], out);
    return out;
  });
  expect_golden("embedding", {"table"}, [](clearhead::Run& run, Tensors& in) {
    Tensor out = run.take({4, 4});
    ops::gather_rows(run, in[0], {2, 0, 8, 2}, out);
    return out;
  });
  for (const bool rms : {false, true}) {
    const std::vector<std::string> names = rms ? std::vector<std::string>{"x", "weight"} : std::vector<std::string>{"x", "weight", "bias"};
    expect_golden(rms ? "rms_norm" : "layer_norm", names, [&](clearhead::Run& run, Tensors& in) {
      Tensor out = run.take({3, 21});
      ops::norm(run, in[0], {.rms = rms, .weight = in[1], .bias = rms ? Tensor() : in[2]}, out);
      return out;
    });
  }
}

TEST_P(TapeOn, PyTorchAgreesOnActivationsAndGates) {
  for (const char* name : {"relu", "gelu", "gelu_new", "silu", "tanh", "sigmoid"}) {
    const Activation activation = *activation_from(name);
    expect_golden(std::string("activation.") + name, {"x"}, [&](clearhead::Run& run, Tensors& in) {
      Tensor out = run.take({4, 9});
      ops::activate(run, activation, in[0], out);
      return out;
    });
    expect_golden(std::string("gated.") + name, {"x"}, [&](clearhead::Run& run, Tensors& in) {
      Tensor out = run.take({3, 7});
      ops::gated(run, activation, in[0], out);
      return out;
    });
  }
}

TEST_P(TapeOn, PyTorchAgreesOnRotationsLossesAndAttention) {
  for (const bool interleaved : {false, true}) {
    expect_golden(interleaved ? "rotary.interleaved" : "rotary.halves", {"x", "cosine", "sine"}, [&](clearhead::Run& run, Tensors& in) {
      Tensor out = run.take({3, 2, 5});
      ops::copy(run, in[0], out);
      ops::rotary(run, out, {in[1], in[2], 4, interleaved});
      return out;
    });
  }
  for (const bool smooth : {false, true}) {
    expect_golden(smooth ? "cross_entropy.0.1" : "cross_entropy.0", {"logits"}, [&](clearhead::Run& run, Tensors& in) {
      return ops::cross_entropy(run, in[0], {3, -100, 0, 10, 10}, {.smoothing = smooth ? 0.1F : 0});
    });
  }
  for (const char* name : {"dot", "causal", "grouped"}) {
    AttentionSpec spec;
    if (name != std::string("dot")) spec.topology = causal();
    expect_golden(std::string("attention.") + name, {"q", "k", "v"}, [&](clearhead::Run& run, Tensors& in) {
      Tensor out = run.take({2, 4, 5, 6});
      ops::attention(run, {Site{}, in[0], in[1], in[2], spec, Tensor()}, out);
      return out;
    });
  }
}

TEST_P(TapeOn, PyTorchAgreesOnArithmeticReductionsConcatScatterAndSoftmax) {
  expect_golden("add", {"a", "b"}, [](clearhead::Run& run, Tensors& in) {
    Tensor out = run.take({4, 3});
    ops::copy(run, in[0], out);
    ops::add(run, in[1], out);
    return out;
  });
  expect_golden("multiply", {"a", "row", "column"}, [](clearhead::Run& run, Tensors& in) {
    Tensor once = run.take({4, 3, 5}), out = run.take({4, 3, 5});
    ops::multiply(run, in[0], in[1].expand({4, 3, 5}), once);
    ops::multiply(run, once, in[2].expand({4, 3, 5}), out);
    return out;
  });
  const std::pair<const char*, ops::Reduction> reductions[] = {
      {"sum.", ops::Reduction::kSum}, {"mean.", ops::Reduction::kMean}, {"max.", ops::Reduction::kMax}};
  for (const auto& [name, reduction] : reductions) {
    for (const int axis : {0, 1, 2}) {
      expect_golden(name + std::to_string(axis), {"x"}, [&, kind = reduction](clearhead::Run& run, Tensors& in) {
        Shape shape = {3, 5, 4};
        shape.erase(shape.begin() + axis);
        Tensor out = run.take(shape);
        ops::reduce(run, kind, in[0], axis, out);
        return out;
      });
    }
  }
  expect_golden("concat", {"a", "b"}, [](clearhead::Run& run, Tensors& in) {
    Tensor out = run.take({2, 7, 2});
    ops::concat(run, {in[0], in[1], in[0]}, 1, out);
    return out;
  });
  expect_golden("split", {"x"}, [](clearhead::Run& run, Tensors& in) {
    Tensor out = run.take({2, 3});
    ops::multiply(run, in[0].slice(1, 0, 3), in[0].slice(1, 3, 6), out);
    ops::add(run, in[0].slice(1, 6, 9), out);
    return out;
  });
  expect_golden("scatter", {"x"}, [](clearhead::Run& run, Tensors& in) {
    Tensor out = run.take({5, 3});
    ops::index_add(run, in[0], {4, 0, 4, 2}, out);
    return out;
  });
  expect_golden("softmax", {"x"}, [](clearhead::Run& run, Tensors& in) {
    Tensor out = run.take({2, 3, 13});
    ops::softmax(run, in[0], out);
    return out;
  });
}

TEST_P(TapeOn, PyTorchAgreesOnConvolutionsAndPools) {
  const auto convolve = [](clearhead::Run& run, const Tensors& in, const Convolution& how) {
    Tensor out = run.take(ops::convolved_shape(in[0], in[1], how));
    ops::conv(run, in[0], in[1], in.size() > 2 ? in[2] : Tensor(), how, out);
    return out;
  };
  expect_golden("conv2d.plain", {"input", "weight", "bias"}, [&](clearhead::Run& run, Tensors& in) { return convolve(run, in, {}); });
  expect_golden("conv2d.everything", {"input", "weight", "bias"}, [&](clearhead::Run& run, Tensors& in) {
    return convolve(run, in, {.stride = {2, 1}, .padding = {2, 3}, .dilation = {1, 2}, .groups = 2});
  });
  expect_golden("conv2d.depthwise", {"input", "weight"}, [&](clearhead::Run& run, Tensors& in) {
    return convolve(run, in, {.stride = {2, 1}, .padding = {1, 1}, .groups = 3});
  });
  expect_golden("conv1d", {"input", "weight", "bias"}, [&](clearhead::Run& run, Tensors& in) {
    const Tensors planes = {in[0].reshape({2, 3, 1, 11}), in[1].reshape({4, 3, 1, 5}), in[2]};
    const Tensor out = convolve(run, planes, {.stride = {1, 2}, .padding = {0, 2}});
    return out.reshape({out.size(0), out.size(1), out.size(3)});
  });
  for (const bool largest : {true, false}) {
    const std::string kind = largest ? "max_pool" : "mean_pool";
    const auto pool = [&](clearhead::Run& run, const Tensor& x, const PoolWindow& window) {
      Tensor out = run.take(ops::pooled_shape(x, window));
      (largest ? ops::max_pool : ops::avg_pool)(run, x, window, out);
      return out;
    };
    expect_golden(kind + "2d", {"x"}, [&](clearhead::Run& run, Tensors& in) { return pool(run, in[0], {{3, 2}, {2, 1}, {1, 1}}); });
    expect_golden(kind + "1d", {"x"}, [&](clearhead::Run& run, Tensors& in) {
      const Tensor out = pool(run, in[0].reshape({1, 3, 1, 12}), {{1, 4}, {1, 3}, {0, 2}});
      return out.reshape({1, 3, out.size(3)});
    });
  }
}

TEST_P(TapeOn, PyTorchAgreesOnBatchNormAndItsRunningStatistics) {
  for (const char* shape : {"rows", "sequences", "planes"}) {
    for (const bool training : {true, false}) {
      const std::string name = std::string("batch_norm.") + shape + (training ? ".training" : ".evaluation");
      expect_golden(name, {"x", "weight", "bias", "mean.before", "variance.before"}, [&](clearhead::Run& run, Tensors& in) {
        Tensor out = run.take(in[0].shape());
        ops::batch_norm(run, in[0], {in[1], in[2], in[3], in[4], training, 0.3}, out);
        expect_close(in[3], goldens().get(name + "/mean.after"), "running mean");
        expect_close(in[4], goldens().get(name + "/variance.after"), "running variance");
        return out;
      });
    }
  }
}

// Both directions: for each, the states within a sequence's length (PyTorch pads with zeros), then its last state and cell.
Tensor directions(clearhead::Run& run, RecurrentKind kind, const std::vector<std::string>& names, const Tensors& in,
                  const std::vector<int32_t>& lengths) {
  const auto input = [&](const std::string& name) {
    const auto found = std::find(names.begin(), names.end(), name);
    return found == names.end() ? Tensor() : in[static_cast<size_t>(found - names.begin())];
  };
  Tensor mask = Tensor::zeros({3, 5, 1});
  for (int64_t i = 0; i < 15; ++i) mask.mutable_data<float>()[i] = lengths.empty() || i % 5 < lengths[static_cast<size_t>(i / 5)];
  Tensors parts;
  for (const bool backwards : {false, true}) {
    const std::string way = backwards ? ".back" : "";
    const Recurrence given{input("input_weight" + way),
                           input("hidden_weight" + way),
                           input("input_bias" + way),
                           input("hidden_bias" + way),
                           input("state" + way),
                           input("cell" + way),
                           lengths,
                           backwards};
    const bool lstm = kind == RecurrentKind::kLstm;
    Tensor all = run.take(lstm ? Shape{2, 3, 5, 6} : Shape{3, 5, 6}), padded = run.take({3, 5, 6});
    ops::recurrent(run, kind, in[0], given, all);
    const Tensor states = lstm ? all.select(0, 0) : all;
    ops::multiply(run, states, mask.expand({3, 5, 6}), padded);
    const int64_t last = backwards ? 0 : 4;
    parts.push_back(padded);
    parts.push_back(states.slice(1, last, last + 1));
    if (lstm) parts.push_back(all.select(0, 1).slice(1, last, last + 1));
  }
  Tensor out = run.take({3, kind == RecurrentKind::kLstm ? 14 : 12, 6});
  ops::concat(run, parts, 1, out);
  return out;
}

TEST_P(TapeOn, PyTorchAgreesOnRecurrencesInBothDirections) {
  for (const RecurrentKind kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    for (const char* variant : {"plain", "unbiased", "lengths"}) {
      const std::string name = std::string(kind == RecurrentKind::kGru ? "gru." : "lstm.") + variant;
      std::vector<std::string> names = {"x"};
      for (const std::string way : {"", ".back"}) {
        for (const char* of : {"input_weight", "hidden_weight", "input_bias", "hidden_bias", "state", "cell"}) {
          if (goldens().contains(name + "/" + of + way)) names.push_back(of + way);
        }
      }
      expect_golden(name, names, [&](clearhead::Run& run, Tensors& in) {
        return directions(run, kind, names, in, variant == std::string("lengths") ? std::vector<int32_t>{5, 2, 3} : std::vector<int32_t>{});
      });
    }
  }
}

// The tests of a file run in their order.
TEST_P(TapeOn, PyTorchsGoldensAreAllCompared) {
  if (testing::GTEST_FLAG(filter) != "*") GTEST_SKIP() << "only some of the tests run";
  std::set<std::string> kept;
  for (const std::string& name : goldens().names()) kept.insert(name.substr(0, name.find('/')));
  EXPECT_EQ(cases_run(), kept);
}

}  // namespace
}  // namespace clearhead
