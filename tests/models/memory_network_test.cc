// End-to-end memory network: against the paper's equations in plain loops, in batches, saved and loaded, and traced.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>

#include "base/file.h"
#include "clearhead/answers.h"
#include "clearhead/map.h"
#include "clearhead/trace.h"
#include "clearhead/train.h"
#include "models/input_kind.h"
#include "models/loaded_network.h"
#include "models/network.h"
#include "refused.h"
#include "text/train_vocabulary.h"

namespace clearhead {
namespace {

const std::vector<std::string> kStatements = {"anna took the red lamp", "ben went home", "anna went to the pond", "the lamp is there now",
                                              "ben sleeps"};
const std::string kQuestion = "where is the lamp", kPath = "memory-test.json";

Json config(const std::string& tying, int64_t memory, double noise = 0) {
  return Json::object({{"model_type", "memory_network"},
                       {"vocab_size", 80},
                       {"hidden_size", 6},
                       {"hops", 2},
                       {"memory_size", memory},
                       {"noise", noise},
                       {"tying", tying},
                       {"id2label", Json::object({{"0", "home"}, {"1", "pond"}, {"2", "red,blue"}})}});
}

std::string tokenizer_json() {
  std::string text = kQuestion;
  for (const std::string& statement : kStatements) text += "\n" + statement + "\n" + statement;
  return train_vocabulary({text, text}, {.kind = VocabularyKind::kWordPiece, .size = 80, .special = {"[UNK]"}}).tokenizer_json;
}

std::vector<double> logits_of(const Network& network, Compute& compute, const ModelInput& input) {
  const auto tokenizer = Tokenizer::from_json(tokenizer_json());
  const EncodedInput read = encode_input(network.facts(), tokenizer.get(), input);
  const Batch rows = collate_side({&read.input}, 0), source = collate_side({&*read.source}, 0);
  const Tensor logits = network.logits(compute, rows, &source);
  return {logits.data<float>(), logits.data<float>() + logits.numel()};
}

ModelInput story(size_t begin, size_t end) {
  return {.texts = {kStatements.begin() + static_cast<int64_t>(begin), kStatements.begin() + static_cast<int64_t>(end)},
          .question = kQuestion};
}

using Vector = std::vector<double>;

// The paper's equations, over the parameters by name.
class Reference {
 public:
  explicit Reference(const Parameters& parameters) {
    for (const Parameters::Named& one : parameters.named()) named_[one.name] = one.values;
  }
  Vector row(const std::string& name, int64_t at) const {
    const Tensor& of = named_.at(name);
    return {of.data<float>() + at * of.size(1), of.data<float>() + (at + 1) * of.size(1)};
  }
  Vector sentence(const std::string& table, const std::string& text) const {
    const std::vector<int32_t> ids = Tokenizer::from_json(tokenizer_json())->encode(text).ids;
    Vector out(kWidth, 0);
    const auto words = static_cast<double>(ids.size());
    for (size_t j = 1; j <= ids.size(); ++j) {
      const Vector word = row(table, ids[j - 1]);
      const double place = static_cast<double>(j) / words;
      for (size_t k = 1; k <= kWidth; ++k)
        out[k - 1] += ((1 - place) - static_cast<double>(k) / static_cast<double>(kWidth) * (1 - 2 * place)) * word[k - 1];
    }
    return out;
  }
  std::vector<Vector> slots(int at, const ModelInput& input) const {
    std::vector<Vector> out;
    for (size_t i = 0; i < input.texts.size(); ++i) {
      out.push_back(sentence("words." + std::to_string(at) + ".weight", input.texts[i]));
      const Vector age = row("ages." + std::to_string(at) + ".weight", static_cast<int64_t>(input.texts.size() - 1 - i));
      for (size_t k = 0; k < kWidth; ++k) out.back()[k] += age[k];
    }
    return out;
  }
  Vector product(const std::string& weight, const Vector& x) const {
    Vector out;
    for (int64_t r = 0; r < named_.at(weight).size(0); ++r) out.push_back(dot(row(weight, r), x));
    return out;
  }
  static double dot(const Vector& a, const Vector& b) {
    double sum = 0;
    for (size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
    return sum;
  }
  // Returns the logits and appends the weights of each hop to `hops`.
  Vector answer(const ModelInput& input, bool is_adjacent, std::vector<Vector>& hops, double empty_slots = 0) const {
    Vector u = sentence(is_adjacent ? "words.0.weight" : "question.weight", input.question);
    for (int hop = 0; hop < 2; ++hop) {
      const std::vector<Vector> m = slots(is_adjacent ? hop : 0, input), c = slots(is_adjacent ? hop + 1 : 1, input);
      Vector p;
      double sum = empty_slots;  // exp(u·0) for each empty slot, which adds nothing to o
      for (const Vector& slot : m) sum += p.emplace_back(std::exp(dot(u, slot)));
      if (!is_adjacent) u = product("next.weight", u);
      for (size_t i = 0; i < m.size(); ++i) {
        p[i] /= sum;
        for (size_t k = 0; k < kWidth; ++k) u[k] += p[i] * c[i][k];
      }
      hops.push_back(p);
    }
    return product("answer.weight", u);
  }

 private:
  static constexpr size_t kWidth = 6;
  std::map<std::string, Tensor> named_;
};

// f32 rounding is relative to the summands: the bound is 1e-6 times the largest entry, or 1e-6 if that is greater.
void expect_near(const Vector& found, const Vector& expected) {
  ASSERT_EQ(found.size(), expected.size());
  double largest = 1;
  for (const double one : expected) largest = std::max(largest, std::abs(one));
  for (size_t at = 0; at < found.size(); ++at) EXPECT_NEAR(found[at], expected[at], 1e-6 * largest) << at;
}

class MemoryNetworks : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder = testing::TempDir() + "clearhead-memory-" + GetParam();
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  // Larger values than the initial ones, so that the weights differ between slots.
  static void scale(const Parameters& parameters) {
    for (const Parameters::Named& one : parameters.named()) {
      Tensor values = one.values;
      float* to = values.mutable_data<float>();
      for (int64_t i = 0; i < values.numel(); ++i) to[i] *= 8;
    }
  }
  std::shared_ptr<const Model> saved(const Parameters& parameters, const Json& json) const {
    parameters.save(folder + "/model.safetensors");
    write_file(folder + "/config.json", json.dump(2));
    write_file(folder + "/tokenizer.json", tokenizer_json());
    return load(folder);
  }
  std::string folder;
};

TEST_P(MemoryNetworks, AnswersAndWeightsAreThePapersEquations) {
  Parameters parameters(5);
  const auto network = network_of(config(GetParam(), 8), kPath, parameters);
  scale(parameters);
  std::vector<Vector> hops;
  const Vector expected = Reference(parameters).answer(story(0, 5), GetParam() == "adjacent", hops);
  Maps maps;
  Compute compute({.observer = &maps});
  expect_near(logits_of(*network, compute, story(0, 5)), expected);
  for (int hop = 0; hop < 2; ++hop) {
    const std::vector<float> weights = maps.at("hop", hop).head(0, 0).row(0).weights();
    expect_near({weights.begin(), weights.end()}, hops[static_cast<size_t>(hop)]);
  }
}

TEST_P(MemoryNetworks, EmptySlotsTakeWeightAndGiveNothing) {
  Parameters parameters(5);
  Json json = config(GetParam(), 8);
  json["empty_slots"] = 7;
  const auto network = network_of(json, kPath, parameters);
  std::vector<Vector> hops;
  const Vector expected = Reference(parameters).answer(story(0, 5), GetParam() == "adjacent", hops, 7);
  Maps maps;
  Compute compute({.observer = &maps});
  expect_near(logits_of(*network, compute, story(0, 5)), expected);
  const std::vector<float> weights = maps.at("hop", 1).head(0, 0).row(0).weights();
  expect_near({weights.begin(), weights.end()}, hops[1]);
  double seen = 0;
  for (const float weight : weights) seen += weight;
  EXPECT_LT(seen, 0.5);  // five statements and seven slots of zeros, with the initial parameters
}

TEST_P(MemoryNetworks, SavingKeepsTheSameBitsAndBatchesMatchSingleRuns) {
  Parameters parameters(6);
  const Json json = config(GetParam(), 8);
  const auto network = network_of(json, kPath, parameters);
  scale(parameters);
  const auto model = saved(parameters, json);
  const std::vector<ModelInput> inputs = {story(0, 5), story(4, 5), story(1, 3)};
  std::vector<EncodedSide> questions, stories;
  std::vector<const EncodedSide*> input, source;
  for (const ModelInput& one : inputs) {
    const EncodedInput read = encode_input(network->facts(), &model->tokenizer(), one);
    questions.push_back(read.input);
    stories.push_back(*read.source);
  }
  for (size_t at = 0; at < inputs.size(); ++at) {
    input.push_back(&questions[at]);
    source.push_back(&stories[at]);
  }
  const Batch rows = collate_side(input, 0), sources = collate_side(source, 0);
  const Tensor together = model->run_batch(rows, &sources).class_logits;
  for (size_t at = 0; at < inputs.size(); ++at) {
    Compute compute;
    const Vector made = logits_of(*network, compute, inputs[at]);
    const Batch row = collate_side({input[at]}, 0), own = collate_side({source[at]}, 0);
    const Tensor alone = model->run_batch(row, &own).class_logits;
    EXPECT_EQ(made, Vector(alone.data<float>(), alone.data<float>() + 3));
    const float* of = together.data<float>() + static_cast<int64_t>(at) * 3;
    expect_near(Vector(of, of + 3), made);
  }
}

TEST_P(MemoryNetworks, OnlyTheLatestStatementsAreReadAndTraced) {
  Parameters parameters(7);
  const Json json = config(GetParam(), 3);
  const auto network = network_of(json, kPath, parameters);
  scale(parameters);
  Compute compute;
  expect_near(logits_of(*network, compute, story(0, 5)), logits_of(*network, compute, story(2, 5)));
  Trace trace;
  observe(*saved(parameters, json), story(0, 5), trace);
  const RunPlan& plan = trace.plan();
  ASSERT_EQ(plan.families.size(), 1U);
  EXPECT_EQ(plan.families[0].name, "hop");
  EXPECT_EQ(plan.families[0].layers, 2);
  EXPECT_EQ(plan.families[0].keys, 3);
  EXPECT_EQ(plan.families[0].queries, 1);
  const auto [begin, end] = plan.text.offsets[static_cast<size_t>(plan.families[0].first_key)];
  EXPECT_EQ(plan.text.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)), kStatements[2]);
}

TEST_P(MemoryNetworks, EmptySlotsComeInTrainingOnly) {
  Parameters parameters(8), plain(8);
  const auto network = network_of(config(GetParam(), 8, 0.5), kPath, parameters), without = network_of(config(GetParam(), 8), kPath, plain);
  Compute compute;
  EXPECT_EQ(logits_of(*network, compute, story(0, 5)), logits_of(*without, compute, story(0, 5)));
  Maps maps;
  Training training(3, {}, DType::kF32, &maps);
  training.train(parameters);
  int64_t most = 0, least = 100;
  for (int time = 0; time < 20; ++time) {
    logits_of(*network, training, story(0, 5));
    training.clear();
    const int64_t keys = maps.all().back().map.shape().keys;
    most = std::max(most, keys);
    least = std::min(least, keys);
  }
  EXPECT_GE(least, 5);
  EXPECT_GT(most, 6);
  EXPECT_LE(most, 8);  // the memory's size
}

INSTANTIATE_TEST_SUITE_P(Tying, MemoryNetworks, testing::Values("adjacent", "layer-wise"));

TEST(MemoryNetwork, InvalidConfigFieldsAreRefusedByName) {
  const auto made = [](const char* field, const Json& value) {
    Json json = config("adjacent", 8);
    json[field] = value;
    Parameters parameters;
    (void)network_of(json, kPath, parameters);
  };
  expect_refused(ErrorCode::kFormat, "\"hops\": expected a whole number from 1 to 100", [&] { made("hops", 0); });
  expect_refused(ErrorCode::kFormat, "\"tying\": expected one of: adjacent, layer-wise", [&] { made("tying", "none"); });
  expect_refused(ErrorCode::kFormat, "\"noise\": expected a number from 0 to 0.9", [&] { made("noise", 1); });
  expect_refused(ErrorCode::kFormat, "\"memory_size\": expected a whole number", [&] { made("memory_size", 0); });
  expect_refused(ErrorCode::kFormat, "\"empty_slots\": expected a whole number from 0 to 65536, found -1",
                 [&] { made("empty_slots", -1); });
}

TEST(MemoryNetwork, AStoryWithoutAStatementOrAQuestionIsRefused) {
  Parameters parameters;
  const auto network = network_of(config("adjacent", 8), kPath, parameters);
  Compute compute;
  expect_refused(ErrorCode::kInvalidArgument, "no statement contains a token",
                 [&] { logits_of(*network, compute, {.question = kQuestion}); });
  expect_refused(ErrorCode::kInvalidArgument, "the question contains no token",
                 [&] { logits_of(*network, compute, {.texts = kStatements}); });
}

}  // namespace
}  // namespace clearhead
