// Guided alignment and the entropy penalty as recipe fields: they have their intended effect, and
// runs with them resume and reproduce like others.
//
// The task is to copy a line backwards, letter by letter: the token that a row predicts is at the mirrored position in the source.
#include "train/map_losses.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <utility>

#include "base/file.h"
#include "base/format.h"
#include "base/parallel.h"
#include "clearhead/map.h"
#include "clearhead/model.h"
#include "comm/comm.h"
#include "io/safetensors.h"
#include "refused.h"
#include "tolerance.h"
#include "train/run_folder.h"
#include "train/trainer.h"

namespace clearhead::train {
namespace {

constexpr const char* kRecipe = R"({
  "pairs": {"train": "train.tsv", "valid": "valid.tsv"}, "tokenizer": "bytes",
  "model": {"architectures": ["MarianMTModel"], "model_type": "marian", "vocab_size": 256, "d_model": 32, "max_position_embeddings": 64,
            "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_layers": 2, "decoder_attention_heads": 2,
            "decoder_ffn_dim": 32, "activation_function": "relu", "scale_embedding": true, "share_encoder_decoder_embeddings": true,
            "tie_word_embeddings": true, "is_encoder_decoder": true, "eos_token_id": 0, "pad_token_id": 1, "decoder_start_token_id": 1},
  "max_tokens": 128, "length": 40, "steps": 12, "accumulate": 2, "report": 1, "validate": 6, "checkpoint": 5,
  "schedule": {"learning_rate": 0.005, "warmup": 3}
})";

// Words of one letter. The target is the reversed source, and the alignment is reversed accordingly.
std::string reversed_lines(int first, int count, bool aligned) {
  std::string out;
  for (int line = first; line < first + count; ++line) {
    const int words = 3 + line * 7 % 5;
    std::string source, target, links;
    for (int word = 0; word < words; ++word) {
      const char letter = static_cast<char>('a' + (line * 31 + word * word * 5 + word * line) % 20);
      source += std::string(word == 0 ? "" : " ") + letter;
      target = std::string(1, letter) + (word == 0 ? "" : " ") + target;
      links += format("{}{}-{}", word == 0 ? "" : " ", word, words - 1 - word);
    }
    out += source + "\t" + target + (aligned ? "\t" + links : "") + "\n";
  }
  return out;
}

class MapLossRuns : public RunFolder {
 protected:
  MapLossRuns() : RunFolder("map-losses") {}
  void SetUp() override {
    RunFolder::SetUp();
    write_file(folder_ + "/train.tsv", reversed_lines(0, 400, true));
    write_file(folder_ + "/valid.tsv", reversed_lines(400, 20, false));
    write_file(folder_ + "/recipe.json", kRecipe);
  }
  std::vector<TrainingReport> train(const std::string& name, const std::vector<std::string>& settings) const {
    std::vector<TrainingReport> reports;
    Trainer(recipe(settings), folder_ + "/" + name).run([&](const TrainingReport& report) { reports.push_back(report); });
    return reports;
  }
  std::string refusal(const std::vector<std::string>& settings) const {
    std::filesystem::remove_all(folder_ + "/refused");
    return error_of([&] { train("refused", settings); });
  }

  // The fraction of target letters whose source token with the largest weight, by the mean over the
  // heads of the last layer, is not the one that they copy.
  double alignment_error(const std::string& name) const {
    const std::shared_ptr<const Model> model = load(folder_ + "/" + name + "/best");
    int64_t wrong = 0, all = 0;
    for (int line = 400; line < 420; ++line) {
      const std::string text = reversed_lines(line, 1, false), source = text.substr(0, text.find('\t'));
      const std::string target = text.substr(source.size() + 1, source.size());
      const Encoding read = model->tokenizer().encode(source);
      Encoding written = model->tokenizer().encode(target);
      written.ids.insert(written.ids.begin(), model->info().first_token);
      written.ids.pop_back();
      Maps maps;
      const auto batch_of = [](const std::vector<int32_t>& ids) { return Batch{.batch = 1, .length = std::ssize(ids), .ids = ids}; };
      (void)model->run_from(batch_of(read.ids), batch_of(written.ids), {.observer = &maps});
      const AttentionMap& map = maps.at("cross", 1);
      const auto letters = static_cast<int64_t>(source.size());
      for (int64_t row = 0; row < letters; row += 2, ++all) {
        std::vector<double> mean(static_cast<size_t>(letters), 0);
        for (int64_t head = 0; head < 2; ++head) {
          const std::vector<float> weights = map.head(0, head).row(row).weights();
          for (int64_t key = 0; key < letters; ++key)
            mean[static_cast<size_t>(key)] += static_cast<double>(weights[static_cast<size_t>(key)]);
        }
        wrong += std::max_element(mean.begin(), mean.end()) - mean.begin() != letters - 1 - row;
      }
    }
    return static_cast<double>(wrong) / static_cast<double>(all);
  }
};

const char* const kAlignment = R"(alignment={"column": 3, "weight": 0.5})";
const char* const kEntropy = R"(entropy={"weight": 0.1, "family": "cross"})";

TEST_F(MapLossRuns, GuidedAlignmentImprovesTheAlignmentOfTheMap) {
  const std::vector<std::string> common = {"steps=200", "accumulate=1", "report=20", "validate=200", "checkpoint=200"};
  std::vector<std::string> with = common, without = common;
  with.emplace_back(R"(alignment={"column": 3, "weight": 1})");
  without.emplace_back(R"(alignment={"column": 3, "weight": 0})");  // measured but not trained
  const std::vector<TrainingReport> guided = train("guided", with), alone = train("alone", without);
  ASSERT_EQ(guided.back().maps.size(), 1U);
  EXPECT_EQ(guided.back().maps.front().first, "alignment");
  EXPECT_LT(guided.back().maps.front().second, 0.3 * guided.front().maps.front().second);
  EXPECT_LT(guided.back().maps.front().second, 0.3 * alone.back().maps.front().second);
  EXPECT_LT(guided.back().loss, guided.front().loss);
  const double error = alignment_error("guided"), otherwise = alignment_error("alone");
  EXPECT_LT(error, 0.1);
  EXPECT_GT(otherwise, 0.4) << "guided " << error;
}

TEST_F(MapLossRuns, AWeightOfZeroMeasuresAndChangesNothing) {
  const std::vector<TrainingReport> plain = train("plain", {});
  const std::vector<TrainingReport> measured = train("measured", {R"(alignment={"column": 3, "weight": 0})", R"(entropy={"weight": 0})"});
  ASSERT_EQ(measured.size(), plain.size());
  for (size_t at = 0; at < plain.size(); ++at) EXPECT_EQ(measured[at].loss, plain[at].loss) << at;
  EXPECT_EQ(files("measured").at("best/model.safetensors"), files("plain").at("best/model.safetensors"));
}

TEST_F(MapLossRuns, APenaltyMakesRowsSharperAndARewardMakesThemFlatter) {
  const std::vector<std::string> common = {"steps=40", "report=40"};
  const auto entropy_with = [&](const std::string& name, double weight) {
    std::vector<std::string> settings = common;
    settings.push_back(format(R"(entropy={{"weight": {}, "layers": [-1]}})", weight));
    return train(name, settings).back().maps.front().second;
  };
  const double penalised = entropy_with("penalised", 0.5), none = entropy_with("none", 0), rewarded = entropy_with("rewarded", -0.5);
  EXPECT_LT(penalised, none - 0.05);
  EXPECT_GT(rewarded, none + 0.01);
}

TEST_F(MapLossRuns, EndWithTheSameBitsWhenResumedAndForAnyThreads) {
  const int before = threads();
  for (const char* precision : {"precision=f32", "precision=bf16"}) {
    SCOPED_TRACE(precision);
    const std::vector<std::string> settings = {kAlignment, kEntropy, precision, "attention_dropout=0.2", "dropout=0.1", "report=3"};
    set_threads(1);
    train(format("whole-{}", precision), settings);
    set_threads(3);
    const std::string run = folder_ + format("/stopped-{}", precision);
    std::atomic<bool> cancel{false};
    {
      Trainer trainer(recipe(settings), run);
      EXPECT_FALSE(trainer.run([&](const TrainingReport& report) { cancel = report.step == 6; }, &cancel));
    }
    EXPECT_TRUE(Trainer::resume(run)->run([](const TrainingReport&) {}));
    EXPECT_TRUE(files(format("stopped-{}", precision)) == files(format("whole-{}", precision)));
    EXPECT_NE(files(format("whole-{}", precision)).at("log.csv").find("validation_loss,alignment,entropy\n"), std::string::npos);
  }
  set_threads(before);
}

// Stops the run at its n-th exchange of more than one number. A step makes two: its counts at the beginning, its losses at the end.
class StopsAt final : public Comm {
 public:
  StopsAt(int64_t exchange, std::atomic<bool>& stop) : left_(exchange), stop_(stop) {}
  int rank() const override { return one_->rank(); }
  int size() const override { return one_->size(); }
  void sum(std::vector<Tensor> values) override { one_->sum(std::move(values)); }
  void wait() override { one_->wait(); }
  std::vector<std::vector<double>> gather(const std::vector<double>& mine) override {
    if (mine.size() > 1 && --left_ == 0) stop_ = true;
    return one_->gather(mine);
  }
  void shift(const Tensor& out, Tensor in) override { one_->shift(out, std::move(in)); }
  int64_t bytes_sent() const override { return one_->bytes_sent(); }

 private:
  std::shared_ptr<Comm> one_ = alone();
  int64_t left_;
  std::atomic<bool>& stop_;
};

// A stop between two reports: the checkpoint stores the running sums of the map losses, like that of the task's loss.
TEST_F(MapLossRuns, ResumeTheSumsOfAnUnfinishedReport) {
  const std::vector<std::string> settings = {kAlignment, kEntropy, "report=4", "checkpoint=12", "validate=12"};
  train("whole", settings);
  const std::string run = folder_ + "/parts";
  std::atomic<bool> stop{false};
  {
    Trainer trainer(recipe(settings), run, std::make_shared<StopsAt>(2 * 6, stop));
    EXPECT_FALSE(trainer.run([](const TrainingReport&) {}, &stop));
    EXPECT_EQ(trainer.step(), 6);
  }
  EXPECT_TRUE(Trainer::resume(run)->run([](const TrainingReport&) {}));
  EXPECT_EQ(files("parts").at("log.csv"), files("whole").at("log.csv"));
}

// One step of plain gradient descent with learning rate 1 subtracts the gradient from the weights.
TEST_F(MapLossRuns, GradientsMatchPyTorchOverWholeMaps) {
  const std::string golden = std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/guided/marian";
  const std::string text =
      format(R"({{"data": "{0}", "pairs": {{"train": "train.tsv", "valid": "train.tsv"}}, "from": "{0}", "tokenizer": "bytes",
    "max_tokens": 1000, "length": 32, "steps": 1, "dropout": 0, "attention_dropout": 0, "optimiser": {{"kind": "sgd", "clip": 0, "weight_decay": 0}},
    "schedule": {{"learning_rate": 1}}, "alignment": {{"column": 3, "weight": 0.7}}, "entropy": {{"weight": 0.2}}}})",
             golden);
  std::vector<TrainingReport> reports;
  Trainer(tasks::with_initial_model(tasks::Recipe::from(Json::parse(text, "recipe"), "recipe")), folder_ + "/golden")
      .run([&](const TrainingReport& report) { reports.push_back(report); });
  const io::SafeTensors expected = io::SafeTensors::open(golden + "/golden.safetensors"),
                        before = io::SafeTensors::open(golden + "/model.safetensors"),
                        after = io::SafeTensors::open(folder_ + "/golden/best/model.safetensors");
  const auto number = [&](const char* name) { return static_cast<double>(*expected.get(name).data<float>()); };
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_NEAR(reports[0].loss, number("loss"), tolerance::kLoss);
  ASSERT_EQ(reports[0].maps.size(), 2U);
  EXPECT_NEAR(reports[0].maps[0].second, number("alignment"), tolerance::kResult);
  EXPECT_NEAR(reports[0].maps[1].second, number("entropy"), tolerance::kResult);
  int compared = 0;
  for (const std::string& name : expected.names()) {
    if (!name.starts_with("d.")) continue;
    const Tensor gradient = expected.get(name), from = before.get(name.substr(2)), to = after.get(name.substr(2));
    for (int64_t i = 0; i < gradient.numel(); ++i, ++compared)
      ASSERT_NEAR(from.data<float>()[i] - to.data<float>()[i], gradient.data<float>()[i],
                  tolerance::kSlopeOfResult * std::max(1.0F, std::abs(gradient.data<float>()[i])))
          << name << ", element " << i;
  }
  EXPECT_GT(compared, 10'000);
}

TEST_F(MapLossRuns, RefuseInvalidAndUnsupportedOptionsByName) {
  const std::string where = folder_ + "/recipe.json: ";
  EXPECT_EQ(refusal({R"(alignment={"column": 3, "layer": 7})"}),
            "kInvalidArgument: " + where +
                "\"alignment\": the model has no attention of family \"cross\" in layer 7; its families and layers are "
                "cross 0, cross 1, dec 0, dec 1, enc 0");
  EXPECT_EQ(refusal({R"(entropy={"family": "crosses"})"}),
            "kInvalidArgument: " + where +
                "\"entropy\": the model has no attention of family \"crosses\"; its families and layers are "
                "cross 0, cross 1, dec 0, dec 1, enc 0");
  EXPECT_NE(refusal({R"(alignment={"column": 3, "family": "dec"})"})
                .find("expected cross, in which the target attends to the source, found \"dec\""),
            std::string::npos);
  EXPECT_EQ(refusal({kEntropy, "gradient_checkpointing=true"}),
            "kUnsupported: " + where +
                "\"entropy\" reads queries and keys of the forward pass, which \"gradient_checkpointing\" does not keep; leave "
                "out one of them");
  EXPECT_NE(refusal({R"(alignment={"column": 2})"}).find("a column other than those of the two texts"), std::string::npos);
  EXPECT_NE(refusal({R"(alignment={"column": 3, "weigth": 1})"}).find("field \"alignment.weigth\" is not understood"), std::string::npos);
  EXPECT_NE(refusal({R"(entropy={"layers": []})"}).find("a list of layers, as in [0, -1]"), std::string::npos);
  EXPECT_NE(refusal({R"(alignment={"column": 3, "weight": -1})"}).find("expected a number from 0 to 1000, found -1"), std::string::npos);
  EXPECT_NE(refusal({kAlignment, R"(noise={"typos": 0.1})"}).find("\"alignment\" cannot be combined with \"noise\""), std::string::npos);
}

}  // namespace
}  // namespace clearhead::train
