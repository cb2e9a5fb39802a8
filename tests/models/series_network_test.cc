// Series of numbers: read from text, standardised, run, and described by the intervals and features that are the items of their maps.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "base/file.h"
#include "clearhead/answers.h"
#include "clearhead/model.h"
#include "clearhead/trace.h"
#include "models/input_kind.h"
#include "models/input_series.h"
#include "models/network.h"
#include "random_tensor.h"
#include "refused.h"
#include "text/tokenizer_json.h"
#include "tolerance.h"
#include "values.h"

namespace clearhead {
namespace {

const std::string kLabels = R"(, "id2label": {"0": "no", "1": "yes", "2": "never"}})";
const std::string kFeatures = R"("features": [{"name": "pulse", "mean": 70, "deviation": 10}, {"name": "age", "mean": 0, "deviation": 2}])";
const std::string kSeries = R"({"model_type": "series_transformer", "series": {"length": 12, "channels": 2, )" + kFeatures +
                            R"(}, "patch_size": 4, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
                               "intermediate_size": 12)";
const std::string kConvolutions = kSeries + R"(, "convolution_layers": 2, "kernel_size": 3)";

std::unique_ptr<Network> network_from(const std::string& config, Parameters& parameters) {
  return network_of(Json::parse(config + kLabels, "config"), "config.json", parameters);
}

struct Saved {
  Parameters parameters{7};
  std::unique_ptr<Network> network;
  std::shared_ptr<const Model> model;
  explicit Saved(const std::string& config) : network(network_from(config, parameters)) {
    std::string folder = testing::TempDir() + "series-network-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(folder.begin() + static_cast<int64_t>(testing::TempDir().size()), folder.end(), '/', '-');
    std::filesystem::create_directories(folder);
    parameters.save(folder + "/model.safetensors");
    write_file(folder + "/config.json", config + kLabels);
    write_file(folder + "/tokenizer.json", byte_tokenizer_json());
    model = load(folder);
  }
};

ModelInput input(uint32_t seed) { return {.series = random_tensor({26}, seed, 5)}; }

TEST(Numbers, AreSeparatedBySpacesCommasOrLines) {
  EXPECT_EQ(values_of(read_numbers("-66 +64.5,1e-3 ,\t7\r\n8")), (Floats{-66, 64.5, 1e-3F, 7, 8}));
}

TEST(Numbers, ThatAreMissingOrNotFiniteAreRefusedByPosition) {
  const auto expect = [](const char* text, const char* says) { expect_refused(ErrorCode::kFormat, says, [&] { read_numbers(text); }); };
  expect("1 2 NA 4", "number 3 is \"NA\"; expected a finite number");
  expect("1 nan", "number 2 is \"nan\"; expected a finite number");
  expect("1e99", "number 1 is \"1e99\"; expected a finite number");
  expect("1 2x", "number 2 is \"2x\"; expected a finite number");
  expect("1,,3", "number 2 is missing; expected numbers, separated by spaces or commas");
  expect("1, 2,", "number 3 is missing");
  expect("  ", "number 1 is missing");
}

TEST(Series, IsStandardisedByTheTrainingDataOrByItself) {
  SeriesFacts facts{.channels = 2, .length = 2, .features = {{"pulse", {70, 10}}}};
  const Tensor numbers = Tensor::from(Floats{1, 10, 3, 10, 90}, {5});
  EXPECT_EQ(encode_series(facts, numbers).features.shape(), (Shape{2, 1, 3}));
  EXPECT_EQ(values_of(encode_series(facts, numbers).features), (Floats{1, 3, 2, 10, 10, 0}));
  facts.standardise = Standardise::kData;
  facts.scales = {{1, 2}, {8, 4}};
  EXPECT_EQ(values_of(encode_series(facts, numbers).features), (Floats{0, 1, 2, 0.5, 0.5, 0}));
  facts.standardise = Standardise::kEach;  // the second channel is constant
  EXPECT_EQ(values_of(encode_series(facts, numbers).features), (Floats{-1, 1, 2, 0, 0, 0}));
}

TEST(Series, WithOtherNumbersThanTheModelReadsIsRefused) {
  const SeriesFacts facts{.channels = 2, .length = 2, .features = {{"pulse", {}}}};
  expect_refused(ErrorCode::kShape, "found 4 numbers; the model reads 5: 2 samples of 2 channels, \"pulse\"",
                 [&] { encode_series(facts, Tensor::zeros({4})); });
  expect_refused(ErrorCode::kShape, "found an array [2, 2]; the model reads 5", [&] { encode_series(facts, Tensor::zeros({2, 2})); });
  expect_refused(ErrorCode::kInvalidArgument, "this model reads a series, but the input has none", [&] { encode_series(facts, {}); });
  Tensor numbers = Tensor::zeros({5});
  numbers.mutable_data<float>()[3] = std::numeric_limits<float>::infinity();
  expect_refused(ErrorCode::kInvalidArgument, "number 4 is inf; expected a finite number", [&] { encode_series(facts, numbers); });
}

TEST(Series, ScalesAreReadBackAsTheyWereWritten) {
  const SeriesFacts facts{.channels = 1,
                          .length = 4,
                          .interval = 2,
                          .standardise = Standardise::kData,
                          .scales = {{1.5, 2.25}},
                          .features = {{"pulse", {70, 10}}}};
  Json config = Json::parse(R"({"series": {"length": 4}, "patch_size": 2})", "config");
  write_scales(facts, config);
  Fields fields(config, "config.json");
  const SeriesFacts read = read_series_facts(fields);
  EXPECT_EQ(read.standardise, Standardise::kData);
  EXPECT_EQ(read.scales.at(0).mean, 1.5);
  EXPECT_EQ(read.scales.at(0).deviation, 2.25);
  EXPECT_EQ(read.features.at(0).name, "pulse");
  EXPECT_EQ(read.features.at(0).scale.deviation, 10);
  EXPECT_EQ(read.intervals(), 2);
}

TEST(Series, InvalidFieldsAreRefusedByName) {
  const auto expect = [](const std::string& series, const std::string& patch, const std::string& says) {
    const Json config = Json::parse(R"({"series": )" + series + R"(, "patch_size": )" + patch + "}", "config");
    Fields fields(config, "config.json");
    expect_refused(ErrorCode::kFormat, says, [&] { read_series_facts(fields); });
  };
  expect(R"({"length": 0})", "2", "\"series.length\": expected a whole number from 1 to 65536, found 0");
  expect(R"({"length": 4, "channels": 0})", "2", "\"series.channels\": expected a whole number from 1 to 1024, found 0");
  expect(R"({"length": 4})", "3", "\"patch_size\": expected a divisor of 4, the length of the series, found 3");
  expect(R"({"length": 4, "standardise": "all"})", "2", "\"series.standardise\": expected one of: none, data, each, found \"all\"");
  expect(R"({"length": 4, "standardise": "data", "scales": []})", "2",
         "\"series.scales\": expected a mean and a deviation for each of 1 channels");
  expect(R"({"length": 4, "standardise": "data", "scales": [{"mean": 1, "deviation": 0}]})", "2",
         "\"series.scales[0].deviation\": expected a number above 0, found 0");
  expect(R"({"length": 4, "features": [{"name": "", "mean": 1, "deviation": 1}]})", "2",
         "\"series.features[0].name\": expected some text, found \"\"");
}

TEST(Series, AMaskedIntervalIsTheMeanOfItsChannelAndAMaskedFeatureThatOfTheTrainingData) {
  const NetworkFacts facts{.series = {.channels = 2, .length = 4, .interval = 2, .features = {{"pulse", {}}, {"age", {}}}}};
  const Tensor read = Tensor::from(Floats{1, 2, 3, 6, 8, 9, 4, 4, 0, 8, 0, 0}, {2, 1, 6});
  Tensor features = read.clone();
  input_kind("series").mask(facts, 0, read, features);
  input_kind("series").mask(facts, 3, read, features);
  EXPECT_EQ(values_of(features), (Floats{3, 3, 3, 6, 8, 0, 4, 4, 0, 8, 0, 0}));
}

class EverySeriesNetwork : public testing::TestWithParam<std::string> {};

TEST_P(EverySeriesNetwork, AnswersMatchInABatchAndAfterLoading) {
  const Saved saved(GetParam());
  const auto both = classify_inputs(*saved.model, {input(1), input(2)}, {}), alone = classify_inputs(*saved.model, {input(2)}, {});
  for (size_t label = 0; label < 3; ++label) {
    EXPECT_EQ(both[1][label].label, alone[0][label].label);
    EXPECT_NEAR(both[1][label].probability, alone[0][label].probability, 1e-6);
  }
  const EncodedInput read = encode_input(saved.network->facts(), nullptr, input(1));
  const Batch rows = collate_side({&read.input}, 0);
  Compute compute;
  EXPECT_EQ(values_of(saved.network->logits(compute, rows, nullptr)), values_of(saved.model->run_batch(rows, nullptr).class_logits));
}

TEST_P(EverySeriesNetwork, TheAnswerDependsOnEveryNumber) {
  const Saved saved(GetParam());
  const auto logits_of = [&](const Tensor& series) {
    const EncodedInput read = encode_input(saved.network->facts(), nullptr, {.series = series});
    return values_of(saved.model->run_batch(collate_side({&read.input}, 0), nullptr).class_logits);
  };
  const Tensor series = input(1).series;
  for (int64_t at = 0; at < series.numel(); ++at) {
    Tensor changed = series.clone();
    changed.mutable_data<float>()[at] += 3;
    EXPECT_NE(logits_of(changed), logits_of(series)) << at;
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, EverySeriesNetwork, testing::Values(kSeries, kConvolutions));

TEST(SeriesNetworks, KeysAreTheIntervalsAndTheFeatures) {
  const Saved saved(kSeries);
  Trace trace;
  observe(*saved.model, input(1), trace, {});
  const MapFamily &enc = trace.family("enc"), &pool = trace.family("pool");
  EXPECT_EQ(std::vector<int64_t>({enc.queries, enc.keys, enc.layers, pool.queries, pool.keys}), std::vector<int64_t>({5, 5, 2, 1, 5}));
  EXPECT_EQ(trace.plan().text.pieces, (std::vector<std::string>{"samples 0–3", "samples 4–7", "samples 8–11", "pulse", "age", "query"}));
  EXPECT_EQ(trace.plan().text.items.front().kind, "interval");
  EXPECT_EQ(trace.plan().text.items.front().picture.shape(), (Shape{96, 5 * 32, 3}));
  Interventions unseen;
  unseen.knockouts.push_back({.queries = {0, 1}, .keys = {3, 4}, .family = "pool"});
  EXPECT_NE(classify_inputs(*saved.model, {input(1)}, unseen)[0][0].probability,
            classify_inputs(*saved.model, {input(1)}, {})[0][0].probability);
}

// Where a curve is darkest in a column of its picture, in pixels from the top.
int64_t darkest(const Tensor& picture, int64_t x) {
  int64_t at = 0;
  const auto red = [&](int64_t y) { return picture.data<uint8_t>()[(y * picture.size(1) + x) * 3]; };
  for (int64_t y = 1; y < picture.size(0); ++y) at = red(y) < red(at) ? y : at;
  return at;
}

TEST(SeriesNetworks, TheCurveOfASeriesStandsAboveItsIntervals) {
  const SeriesFacts facts{.length = 8, .interval = 2, .features = {{.name = "pulse"}}};
  const Tensor picture = draw_series(facts, Tensor::from(std::vector<float>{0, 0, 0, 0, 0, 10, 0, 0, 1}, {9}));
  EXPECT_EQ(picture.shape(), (Shape{96, 5 * 32, 3}));
  EXPECT_LT(darkest(picture, 88), 8);  // sample 5 is in the middle of the second half of the third interval
  EXPECT_GT(darkest(picture, 8), 88);
  EXPECT_GT(darkest(picture, 120), 88);
  const uint8_t* pixels = picture.data<uint8_t>();
  for (int64_t y = 0; y < 96; ++y) EXPECT_EQ(pixels[(y * 160 + 144) * 3], 255);  // a feature has no curve
  const Tensor flat = draw_series(facts, Tensor::from(std::vector<float>(9, 3), {9}));
  EXPECT_EQ(darkest(flat, 5), darkest(flat, 100));
}

TEST(SeriesNetworks, InvalidConfigFieldsAreRefusedByName) {
  const auto expect = [](const std::string& more, const std::string& says) {
    Parameters parameters;
    expect_refused(ErrorCode::kFormat, says, [&] { network_from(kSeries + more, parameters); });
  };
  expect(R"(, "convolution_layers": -1)", "\"convolution_layers\": expected a whole number from 0 to 100, found -1");
  expect(R"(, "convolution_layers": 1, "kernel_size": 4)", "\"kernel_size\": expected an odd number, found 4");
  Parameters parameters;
  expect_refused(ErrorCode::kUnsupported, "\"kernel_size\"", [&] { network_from(kSeries + R"(, "kernel_size": 3)", parameters); });
}

TEST(SeriesNetwork, SubtractingTheLastSampleMakesAForecastIndependentOfTheLevel) {
  const std::string config = R"({"model_type": "series_transformer", "series": {"length": 6}, "patch_size": 2, "subtract_last": true,
      "autoregression": true, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12)";
  const Saved saved(config);
  const auto first = [&](float level) {
    const ModelInput input{.series = Tensor::from<float>({level + 1, level + 3, level, level - 2, level + 1, level + 2}, {6})};
    return classify_inputs(*saved.model, {input})[0][0].probability;
  };
  EXPECT_NEAR(first(0), first(64), 1e-5);
}

}  // namespace
}  // namespace clearhead
