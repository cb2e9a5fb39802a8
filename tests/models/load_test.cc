// Error messages for broken model folders. Each message is the complete line that a user sees.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "golden.h"
#include "largest.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

// A copy of bert/mlm that a test may break.
class LoadErrors : public testing::Test {
 protected:
  void SetUp() override {
    folder = testing::TempDir() + "clearhead-load-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder);
    std::filesystem::copy(golden_directory("bert", "mlm"), folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  // Rewrites the weights after `change` has edited each tensor; a tensor that it leaves undefined is omitted.
  void rewrite(const std::function<void(const std::string& name, Tensor& tensor)>& change) const {
    const io::SafeTensors file = io::SafeTensors::open(golden_directory("bert", "mlm") + "/model.safetensors");
    io::NamedTensors tensors;
    for (const std::string& name : file.names()) {
      Tensor tensor = file.get(name).clone();
      change(name, tensor);
      if (tensor.defined()) tensors.emplace_back(name, tensor);
    }
    io::write_safetensors(folder + "/model.safetensors", tensors);
  }
  std::string weights() const { return folder + "/model.safetensors"; }
  std::string message() const {
    try {
      (void)load(folder, {.tokenizer = false});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  std::string folder;
  const std::string victim = "bert.encoder.layer.1.attention.self.key.weight";
};

TEST_F(LoadErrors, AnUnbrokenCopyLoads) { EXPECT_EQ(message(), ""); }

TEST_F(LoadErrors, NaNInAWeightIsRefusedWithItsPlace) {
  rewrite([&](const std::string& name, Tensor& tensor) {
    if (name == victim) tensor.mutable_data<float>()[17] = std::numeric_limits<float>::quiet_NaN();
  });
  EXPECT_EQ(message(), weights() + ": tensor \"" + victim + "\": element 17 is NaN or infinite; the file is damaged, or training diverged");
}

TEST_F(LoadErrors, InfinityInATableThatStaysInTheFileIsRefusedToo) {
  rewrite([&](const std::string& name, Tensor& tensor) {
    if (name == "bert.embeddings.word_embeddings.weight") tensor.mutable_data<float>()[5] = -std::numeric_limits<float>::infinity();
  });
  EXPECT_EQ(message(), weights() +
                           ": tensor \"bert.embeddings.word_embeddings.weight\": element 5 is NaN or infinite; the file is damaged, or "
                           "training diverged");
}

TEST_F(LoadErrors, AMissingTensorIsNamed) {
  rewrite([&](const std::string& name, Tensor& tensor) {
    if (name == victim) tensor = Tensor();
  });
  EXPECT_EQ(message(), weights() + ": tensor \"" + victim + "\" is missing (also without its prefix); a model of type \"bert\" needs it");
}

TEST_F(LoadErrors, AShapeThatConfigContradictsIsNamedWithBoth) {
  rewrite([&](const std::string& name, Tensor& tensor) {
    if (name == victim) tensor = tensor.slice(0, 0, 23);
  });
  EXPECT_EQ(message(), weights() + ": tensor \"" + victim + "\": config.json asks for [24, 24], found [23, 24]");
}

TEST_F(LoadErrors, WeightsOfIntegersAreRefused) {
  rewrite([&](const std::string& name, Tensor& tensor) {
    if (name == victim) tensor = Tensor::zeros({24, 24}, DType::kI32);
  });
  EXPECT_EQ(message(), weights() + ": tensor \"" + victim + "\" is i32; expected f32, bf16 or f16");
}

TEST_F(LoadErrors, AFolderWithoutConfigIsNoModel) {
  std::filesystem::remove(folder + "/config.json");
  EXPECT_EQ(message(), folder + ": this directory has no config.json; expected a model directory");
}

TEST_F(LoadErrors, AFileInPlaceOfAFolderIsRefused) {
  folder += "/config.json";
  EXPECT_EQ(message(), folder + ": expected a model's directory (config.json, model.safetensors …), found a file");
  folder.resize(folder.size() - std::strlen("/config.json"));
}

TEST_F(LoadErrors, ANameThatIsNowhereListsThePlacesAndTheCommand) {
  const std::string kept = folder;
  folder = "no-such/model";
  const std::string said = message();
  EXPECT_EQ(said.find("model \"no-such/model\" was not found; searched no-such/model, models/no-such/model, "), 0U) << said;
  EXPECT_NE(said.find("run `hf download no-such/model` to get it from the Hub"), std::string::npos) << said;
  folder = kept;
}

TEST_F(LoadErrors, TensorFlowsNamesOfGainsAreUnderstood) {
  const io::SafeTensors file = io::SafeTensors::open(golden_directory("bert", "mlm") + "/model.safetensors");
  io::NamedTensors tensors;
  for (std::string name : file.names()) {
    const Tensor tensor = file.get(name);
    const auto replace = [&](const std::string& end, const std::string& by) {
      if (name.ends_with(end)) name = name.substr(0, name.size() - end.size()) + by;
    };
    replace("LayerNorm.weight", "LayerNorm.gamma");
    replace("LayerNorm.bias", "LayerNorm.beta");
    if (name.starts_with("bert.")) name = name.substr(5);
    tensors.emplace_back(name, tensor);
  }
  io::write_safetensors(folder + "/model.safetensors", tensors);
  const Golden golden("bert", "mlm");
  const auto model = load(folder, {.tokenizer = false});
  const Batch tokens = golden.sequence(0);
  EXPECT_LE(difference(model->run(tokens).hidden, cut(golden.tensor("hidden", 2), 0, tokens.length)), tolerance::kHidden);
}

TEST(ModelInfo, IsKnownBeforeAWeightIsRead) {
  const ModelInfo info = describe_model(golden_directory("llama", "bf16"));
  EXPECT_EQ(info.model_type, "llama");
  EXPECT_EQ(info.file_dtype, "bf16");
  EXPECT_EQ(info.memory_bytes, 2 * info.file_bytes);
  EXPECT_TRUE(info.causal);
}

TEST(Runs, RefuseInvalidBatches) {
  const auto model = load(golden_directory("bert", "mlm"), {.tokenizer = false});
  const auto refusal = [&](const Batch& tokens) -> std::string {
    try {
      (void)model->run(tokens);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal({}), "run: there are no tokens; expected at least one");
  EXPECT_EQ(refusal({.batch = 1, .length = 2, .ids = {1, 61}}),
            "run: token id 61 is outside the model's vocabulary of 61 tokens; does the tokenizer belong to another model?");
  EXPECT_EQ(refusal({.batch = 1, .length = 2, .ids = {1, -1}}),
            "run: token id -1 is outside the model's vocabulary of 61 tokens; does the tokenizer belong to another model?");
  EXPECT_EQ(refusal({.batch = 1, .length = 2, .ids = {1}}), "run: 1 ids for a batch of 1 sequences of 2 tokens");
  EXPECT_EQ(refusal({.batch = 1, .length = 1, .ids = {1}, .type_ids = {2}}), "type id 2 is outside the model's table of 2 entries");
  EXPECT_EQ(refusal({.batch = 1, .length = 1, .ids = {1}, .position_ids = {20}}), "run: position 20; expected 0 to 19");
  EXPECT_EQ(refusal({.batch = 1, .length = 1, .ids = {1}, .lengths = {2}}), "run: a sequence length of 2; expected 0 to 1");
}

TEST(Runs, OneTokenAtATimeIsThePrefill) {
  const Golden golden("llama", "gqa");
  const auto model = load(golden.directory, {.tokenizer = false});
  const std::vector<int32_t> ids = golden.sequence(0).ids;
  ModelCache cache;
  for (size_t i = 0; i < ids.size(); ++i) {
    const Tensor hidden = model->step({ids[i]}, cache, {.logits = false}).hidden;
    EXPECT_LE(difference(hidden, golden.tensor("hidden", 2).slice(0, 0, 1).slice(1, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1)),
              tolerance::kHidden);
  }
  EXPECT_EQ(cache.length, static_cast<int64_t>(ids.size()));
}

// Rounded weights change the hidden states a little: bf16 less than int8, and int8 weights less than int8 weights with rounded inputs.
TEST(Runs, WithNarrowWeightsStayNearTheOnesInF32) {
  const std::vector<int32_t> ids = {3, 1, 4, 1, 5, 9, 2, 6};
  const auto hidden = [&](WeightStorage weights) {
    const auto model = load(golden_directory("gpt2", "plain"), {.tokenizer = false, .weights = weights});
    return model->run(ids).hidden.contiguous();
  };
  const Tensor exact = hidden(WeightStorage::kF32);
  const double largest = largest_magnitude(exact.data<float>(), exact.numel());
  double before = 0;
  for (const WeightStorage weights : {WeightStorage::kBF16, WeightStorage::kInt8, WeightStorage::kInt8Dynamic}) {
    const Tensor found = hidden(weights);
    const double off = largest_difference(found.data<float>(), exact.data<float>(), exact.numel());
    EXPECT_GT(off, before) << to_string(weights);
    EXPECT_LT(off, tolerance::kNarrowWeights * largest) << to_string(weights);
    before = off;
  }
}

// Hiding pairs that no query sees anyway changes nothing. Hiding a key or ablating a head changes
// everything that depends on it, and nothing before it.
TEST(Runs, InterventionsChangeOnlyWhatDependsOnThem) {
  const auto model = load(golden_directory("llama", "gqa"), {.tokenizer = false});
  const std::vector<int32_t> ids = {3, 1, 4, 1, 5, 9, 2, 6};
  const auto hidden = [&](const Interventions& interventions) {
    return model->run(ids, {.interventions = interventions}).hidden.contiguous();
  };
  const auto differs = [&](const Tensor& a, const Tensor& b, int64_t token) {
    return std::memcmp(a.data<float>() + token * a.size(2), b.data<float>() + token * b.size(2), static_cast<size_t>(a.size(2)) * 4) != 0;
  };
  const Tensor whole = hidden({});
  const Tensor future = hidden({.knockouts = {{.queries = {0, 5}, .keys = {6, 8}}}});
  const Tensor cut = hidden({.knockouts = {{.queries = {5, 6}, .keys = {2, 3}}}}), knocked = hidden({.ablated = {{0, 1}}});
  for (int64_t token = 0; token < 8; ++token) {
    EXPECT_FALSE(differs(whole, future, token)) << token;
    EXPECT_EQ(differs(whole, cut, token), token >= 5) << token;
    EXPECT_TRUE(differs(whole, knocked, token)) << token;
  }
  ModelCache cache;  // the same knockout, one token at a time
  for (size_t i = 0; i < ids.size(); ++i) {
    const RunOptions options{.interventions = {.knockouts = {{.queries = {5, 6}, .keys = {2, 3}}}}};
    const Tensor step = model->step({ids[i]}, cache, options).hidden;
    EXPECT_LE(difference(step, cut.slice(1, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1)), tolerance::kTwoWays) << i;
  }
  expect_refused(ErrorCode::kInvalidArgument, "an ablated head names layer 99", [&] { (void)hidden({.ablated = {{99, 0}}}); });
}

TEST(Runs, BidirectionalModelsDoNotStep) {
  const auto model = load(golden_directory("bert", "mlm"), {.tokenizer = false});
  ModelCache cache;
  expect_refused(ErrorCode::kUnsupported, "models of type \"bert\" are not causal", [&] { (void)model->step({1}, cache); });
}

TEST(Runs, DocumentsOfOnePackedSequenceAreAsIfAlone) {
  const Golden golden("bert", "mlm");
  const auto model = load(golden.directory, {.tokenizer = false});
  const Batch one = golden.sequence(0);
  Batch packed = one;
  packed.ids.insert(packed.ids.end(), {5, 6, 7});
  packed.type_ids.insert(packed.type_ids.end(), {0, 0, 0});
  packed.length += 3;
  packed.document_ids.assign(static_cast<size_t>(one.length), 0);
  packed.document_ids.insert(packed.document_ids.end(), {1, 1, 1});
  EXPECT_LE(difference(model->run(packed).hidden.slice(1, 0, one.length), model->run(one).hidden), tolerance::kTwoWays);
}

// The bound of docs/NUMERICS.md for maps that are computed from the golden's own Q and K.
TEST(GoldenMaps, AreWithinAMillionthWhenFedTheGoldensQueriesAndKeys) {
  for (const char* variant : {"mlm", "classify"}) {
    const Golden golden("bert", variant);
    for (int64_t layer = 0; layer < golden.facts.layers; ++layer) {
      for (int64_t index = 0; index < golden.sequences(); ++index) {
        const int64_t length = golden.sequence(index).length;
        const auto part = [&](const char* name) { return golden.tensor(name, layer).slice(0, index, index + 1).slice(2, 0, length); };
        AttentionSpec spec;
        spec.score = Dot{golden.tensor("scale", layer).data<float>()[0]};
        const Attended attended = attend(part("q"), part("k"), part("k"), spec);
        EXPECT_LE(map_difference(attended.record, golden.tensor("attention", layer), index), tolerance::kMapOfGiven);
      }
    }
  }
}

}  // namespace
}  // namespace clearhead
