// load() refuses, with an error that names the tensor or the field: tensors that the model would ignore although they may change its
// result, stored tables that differ from their formula, and unsupported strategies for the labels of words.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/format.h"
#include "golden.h"

namespace clearhead {
namespace {

class Unread : public testing::Test {
 protected:
  ~Unread() override { std::filesystem::remove_all(folder_); }

  // The error of loading a golden's model with additional or replaced tensors; empty if it loads.
  std::string error_of(const std::string& family, const std::string& variant, const io::NamedTensors& more,
                       const std::string& changes = "{}") {
    const std::string from = golden_directory(family, variant);
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    Json config = golden_config(family, variant);
    const Json changed = Json::parse(changes, "changes");
    for (const auto& [name, value] : changed.fields()) config[name] = value;
    write_file(folder_ + "/config.json", config.dump());
    const io::SafeTensors file = io::SafeTensors::open(from + "/model.safetensors");
    io::NamedTensors tensors = more;
    for (const std::string& name : file.names()) {
      if (std::none_of(more.begin(), more.end(), [&](const auto& tensor) { return tensor.first == name; }))
        tensors.emplace_back(name, file.get(name));
    }
    io::write_safetensors(folder_ + "/model.safetensors", tensors);
    try {
      load(folder_, {.tokenizer = false});
    } catch (const Error& error) {
      const std::string text = error.what();
      return text.substr(folder_.size() + 1);
    }
    return "";
  }

  const std::string folder_ = testing::TempDir() + "clearhead-unread-" + std::to_string(::getpid());
};

TEST_F(Unread, ABiasThatTheConfigDoesNotNameIsRefused) {
  EXPECT_EQ(error_of("llama", "gqa", {{"model.layers.0.self_attn.q_proj.bias", Tensor::zeros({24})}}),
            "model.safetensors: a model of type \"llama\" with this config.json does not read 1 of 22 tensors: "
            "\"model.layers.0.self_attn.q_proj.bias\". They may change the result: correct config.json, merge adapters into the "
            "weights, or remove the tensors");
}

TEST_F(Unread, QueryNormsAdaptersAndExtraLayersAreRefused) {
  for (const char* name : {"model.layers.1.self_attn.q_norm.weight", "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"})
    EXPECT_NE(error_of("llama", "qwen2", {{name, Tensor::zeros({6})}}).find(name), std::string::npos) << name;
  EXPECT_NE(error_of("bert", "mlm", {{"bert.encoder.layer.0.crossattention.self.query.weight", Tensor::zeros({24, 24})}}), "");
  EXPECT_NE(error_of("bert", "mlm", {{"bert.encoder.layer.0.attention.self.distance_embedding.weight", Tensor::zeros({39, 8})}}), "");
  EXPECT_NE(error_of("gpt2", "plain", {}, R"({"n_layer": 1})"), "");
  EXPECT_NE(error_of("marian", "shared", {}, R"({"decoder_layers": 2})"), "");
}

TEST_F(Unread, BuffersAndHeadsOfOtherTasksPass) {
  EXPECT_EQ(error_of("bert", "mlm", {{"bert.embeddings.position_ids", Tensor::zeros({1, 20}, DType::kI32)}}), "");
  EXPECT_EQ(error_of("bert", "mlm",
                     {{"embeddings.position_ids", Tensor::zeros({1, 20}, DType::kI32)}, {"qa_outputs.weight", Tensor::zeros({2, 24})}}),
            "");
  EXPECT_EQ(error_of("gpt2", "plain",
                     {{"transformer.h.0.attn.bias", Tensor::zeros({1, 1, 40, 40})}, {"h.1.attn.masked_bias", Tensor::zeros({1})}}),
            "");
  EXPECT_EQ(error_of("llama", "gqa", {{"model.layers.0.self_attn.rotary_emb.inv_freq", Tensor::zeros({3})}}), "");
}

TEST_F(Unread, ASecondCopyOfATiedWeightMustHaveItsValues) {
  const Tensor shared = io::SafeTensors::open(golden_directory("marian", "shared") + "/model.safetensors").get("model.shared.weight");
  EXPECT_EQ(error_of("marian", "shared", {{"model.encoder.embed_tokens.weight", shared}, {"model.decoder.embed_tokens.weight", shared}}),
            "");
  EXPECT_NE(error_of("marian", "shared", {{"model.decoder.embed_tokens.weight", Tensor::zeros(shared.shape())}}), "");
}

TEST_F(Unread, AStoredSinusoidalTableMustHaveTheComputedValues) {
  const std::string name = "model.encoder.embed_positions.weight";
  EXPECT_EQ(
      error_of("marian", "shared", {{name, Tensor::zeros({40, 24})}}),
      "model.safetensors: tensor \"" + name + "\" has 0 at element 12, but models of type \"marian\" compute this tensor and expect 1");
  const std::string rotary = "roformer.encoder.embed_positions.weight";
  EXPECT_EQ(error_of("roformer", "mlm", {}), "");
  EXPECT_EQ(
      error_of("roformer", "mlm", {{rotary, Tensor::zeros({20, 8})}}),
      "model.safetensors: tensor \"" + rotary + "\" has 0 at element 4, but models of type \"roformer\" compute this tensor and expect 1");
}

TEST_F(Unread, StrategiesForTheLabelsOfWordsAreRefusedByName) {
  const auto with = [&](const char* strategy) {
    return error_of("bert", "tokens", {},
                    format(R"({{"task_specific_params": {{"token-classification": {{"aggregation_strategy": {}}}}}}})", strategy));
  };
  for (const char* known : {"\"first\"", "\"simple\"", "null"}) EXPECT_EQ(with(known), "");
  EXPECT_EQ(with("\"max\""),
            "config.json: \"task_specific_params\": \"aggregation_strategy\": \"max\" is not supported; expected \"first\" or \"simple\"");
  EXPECT_NE(with("3"), "");
}

}  // namespace
}  // namespace clearhead
