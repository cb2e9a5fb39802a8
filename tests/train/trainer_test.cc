// Runs from recipes: stopped and resumed, with any number of threads, optimiser and precision,
// and with or without recomputation in the backward pass.
#include "train/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/format.h"
#include "base/parallel.h"
#include "io/safetensors.h"
#include "tolerance.h"
#include "train/run_folder.h"

namespace clearhead::train {
namespace {

constexpr const char* kRecipe = R"({
  "files": ["text.txt"], "held_out": 0.1, "batch": 3, "length": 24, "steps": 14, "accumulate": 2, "report": 1, "validate": 6, "checkpoint": 5,
  "schedule": {"learning_rate": 0.01, "warmup": 3},
  "model": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 256, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true}
})";

class Runs : public RunFolder {
 protected:
  Runs() : RunFolder("runs") {}
  void SetUp() override {
    RunFolder::SetUp();
    std::string text;
    for (int i = 0; i < 200; ++i) text += format("line {}: {} {}\n", i, i * i, i % 3 ? "abc" : "abcabc");
    write_file(folder_ + "/text.txt", text);
    write_file(folder_ + "/recipe.json", kRecipe);
  }
  // Runs the whole training and returns the losses by step.
  std::vector<double> train(const std::string& name, const std::vector<std::string>& settings) const {
    std::vector<double> losses;
    Trainer(recipe(settings), folder_ + "/" + name).run([&](const TrainingReport& report) { losses.push_back(report.loss); });
    return losses;
  }
  std::map<std::string, std::string> whole(const std::string& name, const std::vector<std::string>& settings) const {
    train(name, settings);
    return files(name);
  }
  std::map<std::string, std::string> stopped(const std::string& name, const std::vector<std::string>& settings) const {
    const std::string run = folder_ + "/" + name;
    std::atomic<bool> cancel{false};
    EXPECT_FALSE(Trainer(recipe(settings), run).run([&](const TrainingReport& report) { cancel = report.step == 8; }, &cancel));
    EXPECT_TRUE(Trainer::resume(run)->run([](const TrainingReport&) {}));
    return files(name);
  }
};

const std::vector<std::vector<std::string>> kKinds = {
    {"optimiser.kind=sgd"},
    {"optimiser.kind=sgd", "optimiser.momentum=0.9", "optimiser.nesterov=true", "attention_dropout=0.2"},
    {"precision=bf16", "attention_dropout=0.1"},
    {"gradient_checkpointing=true", "dropout=0.1", "attention_dropout=0.1"},
    {"gradient_checkpointing=true", "dropout=0.1", "precision=bf16"},
    {"optimiser.kind=adam", "optimiser.weight_decay=0.1",
     R"(optimiser.groups=[{"match":"k_proj|norm","learning_rate_scale":0.5,"weight_decay":0}])"},
    {"ema_decay=0.9", R"(optimiser.groups=[{"match":"embed|layers.0","learning_rate_scale":0}])"},
    {"gradient_checkpointing=true", R"(optimiser.groups=[{"match":"embed|layers.0|layers.1.self_attn.v","learning_rate_scale":0}])"},
};

TEST_F(Runs, EndWithTheSameBitsWhenResumedAndForAnyThreads) {
  const int before = threads();
  for (size_t at = 0; at < kKinds.size(); ++at) {
    SCOPED_TRACE(kKinds[at].back());
    set_threads(1);
    const auto expected = whole(format("whole{}", at), kKinds[at]);
    set_threads(3);
    EXPECT_TRUE(stopped(format("stopped{}", at), kKinds[at]) == expected);
  }
  set_threads(before);
}

TEST_F(Runs, AreIdenticalWithGradientCheckpointing) {
  for (const char* scale : {"1", "0"}) {  // 0: the first layer's input has no gradient
    const std::string groups = format(R"(optimiser.groups=[{{"match":"embed|layers.0","learning_rate_scale":{}}}])", scale);
    std::vector<std::string> settings = {"dropout=0.1", "attention_dropout=0.2", groups};
    const auto kept = whole(format("kept{}", scale), settings);
    settings.emplace_back("gradient_checkpointing=true");
    const auto again = whole(format("again{}", scale), settings);
    EXPECT_TRUE(again.at("best/model.safetensors") == kept.at("best/model.safetensors")) << groups;
    EXPECT_EQ(again.at("log.csv"), kept.at("log.csv")) << groups;
  }
}

// For logits with a relative error of about 2⁻⁹ in their operands, a loss near 3 is off by less than 0.01, and at this learning rate the weights
// do not diverge further. Another seed makes a difference of 0.4.
TEST_F(Runs, InBf16LearnAsInF32) {
  const std::vector<std::string> settings = {"steps=40", "schedule.learning_rate=0.003", "validate=1000", "checkpoint=1000"};
  std::vector<std::string> in_bf16 = settings;
  in_bf16.emplace_back("precision=bf16");
  const std::vector<double> exact = train("f32", settings), narrow = train("bf16", in_bf16);
  ASSERT_EQ(narrow.size(), exact.size());
  EXPECT_NE(narrow, exact);
  EXPECT_LT(exact.back(), exact.front() - 2);
  for (size_t step = 0; step < exact.size(); ++step) EXPECT_NEAR(narrow[step], exact[step], tolerance::kLossBF16) << "step " << step;
}

TEST_F(Runs, CheckpointsContainTheOptimiserState) {
  const auto sums = [&](const std::string& name, const std::vector<std::string>& settings) {
    train(name, settings);
    const io::SafeTensors file = io::SafeTensors::open(folder_ + "/" + name + "/checkpoint.safetensors");
    return std::string(file.contains("m.0") ? "m " : "") + (file.contains("v.0") ? "v " : "") +
           (file.contains("momentum.0") ? "momentum" : "");
  };
  EXPECT_EQ(sums("adamw", {"steps=1"}), "m v ");
  EXPECT_EQ(sums("momentum", {"steps=1", "optimiser.kind=sgd", "optimiser.momentum=0.5"}), "momentum");
  EXPECT_EQ(sums("plain", {"steps=1", "optimiser.kind=sgd"}), "");
}

// A model whose loss is finite but whose gradient is not. Its layers add nothing, so that all rows of the text "aaaa…" are the same x,
// normalised to x̂ = (−1.8, 0.95, …). The final gain is 1e-38 and the output row of "a" is −3e38 everywhere: the logit is about −80, and
// d loss / d gain₀ = 3e38 · x̂₀ is beyond the range of f32.
TEST_F(Runs, NameTheParameterAndTheOpOfAGradientThatIsNotFinite) {
  train("from", {"steps=1", "model.tie_word_embeddings=false"});
  const io::SafeTensors made = io::SafeTensors::open_model(folder_ + "/from/best");
  io::NamedTensors weights;
  for (const std::string& name : made.names()) {
    Tensor values = made.get(name).clone();
    float* to = values.mutable_data<float>();
    const bool is_output = name == "lm_head.weight", is_gain = name == "model.norm.weight", is_table = name == "model.embed_tokens.weight";
    const bool adds = name.find("o_proj") != std::string::npos || name.find("down_proj") != std::string::npos;
    if (is_output || adds) std::fill(to, to + values.numel(), 0.0F);
    if (is_output) std::fill(to + 'a' * 32, to + ('a' + 1) * 32, -3e38F);
    if (is_gain) std::fill(to, to + 32, 1e-38F);
    if (is_table) {
      std::fill(to + 'a' * 32, to + ('a' + 1) * 32, 1.0F);
      to['a' * 32] = -2;
    }
    weights.emplace_back(name, values);
  }
  io::write_safetensors(folder_ + "/from/best/model.safetensors", weights);
  write_file(folder_ + "/text.txt", std::string(400, 'a'));
  std::string message;
  try {
    train("run", {"from=" + folder_ + "/from/best", "model.tie_word_embeddings=false", "held_out=0", "accumulate=1"});
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("step 0: the gradient of \"model.norm.weight\" is not finite (infinite at element 0); nothing was changed; the "
                         "backward pass of op "),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("(norm) gave a gradient that is not finite. The last checkpoint is not affected"), std::string::npos) << message;
}

TEST_F(Runs, FromAModelWithTensorsThatTheRecipeDoesNotReadAreRefused) {
  train("from", {"steps=1"});
  const io::SafeTensors made = io::SafeTensors::open_model(folder_ + "/from/best");
  io::NamedTensors weights = {{"model.layers.0.self_attn.q_norm.weight", Tensor::zeros({16})}, {"lm_head.bias", Tensor::zeros({256})}};
  for (const std::string& name : made.names()) weights.emplace_back(name, made.get(name).clone());
  io::write_safetensors(folder_ + "/from/best/model.safetensors", weights);
  std::string message;
  try {
    train("run", {"from=" + folder_ + "/from/best", "steps=1"});
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("does not read 1 of"), std::string::npos) << message;
  EXPECT_NE(message.find("\"model.layers.0.self_attn.q_norm.weight\""), std::string::npos) << message;
}

// q, k and v are stored in one tensor: a group for one of them updates or freezes only its rows.
TEST_F(Runs, AFrozenGroupFreezesOnlyItsOwnParameters) {
  train("none", {"steps=1", "schedule.learning_rate=0"});
  train("one", {"steps=1", R"(optimiser.groups=[{"match":"layers.0.self_attn.k_proj","learning_rate_scale":0}])"});
  const io::SafeTensors before = io::SafeTensors::open_model(folder_ + "/none/best"),
                        after = io::SafeTensors::open_model(folder_ + "/one/best");
  const auto changed = [&](const char* part) {
    const std::string name = format("model.layers.0.self_attn.{}_proj.weight", part);
    const Tensor a = before.get(name), b = after.get(name);
    return !std::equal(a.data<float>(), a.data<float>() + a.numel(), b.data<float>());
  };
  EXPECT_TRUE(changed("q"));
  EXPECT_FALSE(changed("k"));
  EXPECT_TRUE(changed("v"));
}

}  // namespace
}  // namespace clearhead::train
