// Gradient accumulation: batches with different numbers of targets give the gradient, and the
// losses, of one batch that contains all of them.
//
// Uses one step of SGD with learning rate 1 from the same weights, so the gradient is the difference of the weights.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/format.h"
#include "io/safetensors.h"
#include "tolerance.h"
#include "train/run_folder.h"
#include "train/trainer.h"

namespace clearhead::train {
namespace {

constexpr const char* kPairs = R"({
  "pairs": {"train": "train.tsv", "valid": "train.tsv"}, "tokenizer": "bytes", "length": 64, "steps": 1,
  "model": {"architectures": ["MarianMTModel"], "model_type": "marian", "vocab_size": 256, "d_model": 32, "max_position_embeddings": 64,
            "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_layers": 2, "decoder_attention_heads": 2,
            "decoder_ffn_dim": 32, "activation_function": "relu", "scale_embedding": true, "share_encoder_decoder_embeddings": true,
            "tie_word_embeddings": true, "is_encoder_decoder": true, "eos_token_id": 0, "pad_token_id": 1, "decoder_start_token_id": 1},
  "optimiser": {"kind": "sgd", "clip": 0}, "schedule": {"learning_rate": 1}
})";

constexpr const char* kClassify = R"({
  "task": {"kind": "classification", "train": "train.tsv", "valid": "train.tsv", "text": 1, "label": 2, "class_weights": {"odd": 3}},
  "tokenizer": "bytes", "length": 32, "steps": 1,
  "model": {"model_type": "bert", "vocab_size": 256, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 64, "type_vocab_size": 2},
  "optimiser": {"kind": "sgd", "clip": 0}, "schedule": {"learning_rate": 1}
})";

class Accumulation : public RunFolder {
 protected:
  Accumulation() : RunFolder("accumulation") {}
  struct Step {
    io::NamedTensors weights{};
    TrainingReport report{};
  };
  Step step(const std::string& name, const std::vector<std::string>& settings) const {
    Step out;
    Trainer(recipe(settings), folder_ + "/" + name).run([&](const TrainingReport& report) { out.report = report; });
    const io::SafeTensors file = io::SafeTensors::open_model(folder_ + "/" + name + "/best");
    for (const std::string& tensor : file.names()) out.weights.emplace_back(tensor, file.get(tensor));
    return out;
  }
  // Relative to the largest element of the step's gradient.
  void expect_same_gradient(const Step& before, const Step& a, const Step& b) const {
    double largest = 0, off = 0;
    for (size_t at = 0; at < before.weights.size(); ++at) {
      const float *from = before.weights[at].second.data<float>(), *one = a.weights[at].second.data<float>(),
                  *other = b.weights[at].second.data<float>();
      for (int64_t i = 0; i < before.weights[at].second.numel(); ++i) {
        largest = std::max(largest, static_cast<double>(std::abs(from[i] - one[i])));
        off = std::max(off, static_cast<double>(std::abs(one[i] - other[i])));
      }
    }
    EXPECT_GT(largest, 0.01);
    EXPECT_LT(off / largest, tolerance::kSlopeOfWeight);
  }
};

// A pair with 2 target tokens and one with 38: the first must have a weight of 0.05, by tokens, and not of 0.5, by batches.
TEST_F(Accumulation, OfPairsOfUnequalLengthIsTheGradientOfOneBatch) {
  write_file(folder_ + "/train.tsv",
             "ab\tyz\t0-0\nthe long one of the two, by far\ttwo far the by long of one long and longer!\t0-0 1-2 3-4 5-1 2-6 4-7 6-3\n");
  write_file(folder_ + "/recipe.json", kPairs);
  for (const std::vector<std::string>& losses :
       {std::vector<std::string>{}, {R"(alignment={"column": 3, "weight": 0.7})", R"(entropy={"weight": 0.4, "family": "enc"})"}}) {
    const auto with = [&](std::vector<std::string> settings) {
      settings.insert(settings.end(), losses.begin(), losses.end());
      return settings;
    };
    const std::string name = format("{}", losses.size());
    const Step before = step("before" + name, with({"schedule.learning_rate=0"}));
    const Step one = step("one" + name, with({"max_tokens=1000", "accumulate=1"}));
    const Step two = step("two" + name, with({"max_tokens=50", "accumulate=2"}));
    expect_same_gradient(before, one, two);
    EXPECT_NEAR(two.report.loss, one.report.loss, tolerance::kLoss);
    ASSERT_EQ(two.report.maps.size(), losses.size());
    for (size_t at = 0; at < losses.size(); ++at) EXPECT_NEAR(two.report.maps[at].second, one.report.maps[at].second, tolerance::kSum);
  }
}

// Five texts in batches of two: the last batch contains one text.
TEST_F(Accumulation, OfALastBatchThatIsNotFullIsTheGradientOfOneBatch) {
  write_file(folder_ + "/train.tsv", "one\todd\ntwo apples\teven\nthree\todd\nfour trees\teven\nfive and more\todd\n");
  write_file(folder_ + "/recipe.json", kClassify);
  const Step before = step("before", {"schedule.learning_rate=0"});
  expect_same_gradient(before, step("one", {"batch=5", "accumulate=1"}), step("three", {"batch=2", "accumulate=3"}));
}

}  // namespace
}  // namespace clearhead::train
