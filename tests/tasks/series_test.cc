// Labelled series from tables: columns by name and number, errors with line and column, scales of the training data, distortion.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "models/input_series.h"
#include "random_tensor.h"
#include "refused.h"
#include "tasks/data/input_data.h"
#include "tasks/recipe/task_definition.h"
#include "values.h"

namespace clearhead::tasks {
namespace {

// Series of two samples with two channels; each test has its own folder.
class SeriesTable : public testing::Test {
 protected:
  void SetUp() override {
    folder = testing::TempDir() + "series-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder);
  }
  Recipe recipe(const std::string& series, const std::string& label = "1") const {
    return Recipe::from(
        Json::parse(R"({"data": ")" + folder + R"(", "task": {"kind": "classification", "train": "a", "valid": "a", "label": )" + label +
                        R"(, "series": )" + series +
                        R"(}, "model": {"model_type": "series_transformer", "series": {"length": 2, "channels": 2},
                                        "patch_size": 1}})",
                    "recipe"),
        "recipe");
  }
  void write(const std::string& text) const { write_file(folder + "/a", text); }
  std::vector<LabelledInput> read(const Recipe& of) const { return read_inputs("a", of, "series"); }

  std::string folder;
};

const char* const kPlain = R"({"column": 2, "features": {"pulse": 3}})";

TEST_F(SeriesTable, HasFeaturesAfterTheSamples) {
  write("up\t1 2,3 4\t70\ndown\t-1 0 0 .5\t80.5\n");
  const std::vector<LabelledInput> found = read(recipe(kPlain));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].label, "up");
  EXPECT_EQ(values_of(found[0].input.series), (Floats{1, 2, 3, 4, 70}));
  EXPECT_EQ(values_of(found[1].input.series), (Floats{-1, 0, 0, .5F, 80.5F}));
  EXPECT_EQ(found[1].where, folder + "/a, line 2");
}

TEST_F(SeriesTable, MayNameItsColumns) {
  write("bpm\tclass\tsignal\n70\tup\t1 2 3 4\n");
  const std::vector<LabelledInput> found = read(recipe(R"({"column": "signal", "features": {"pulse": "bpm"}})", R"("class")"));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(values_of(found[0].input.series), (Floats{1, 2, 3, 4, 70}));
  expect_refused(ErrorCode::kFormat, R"(a, line 1: no column "beats" ("task.series.features.pulse"); the first line names "bpm", "class")",
                 [&] { read(recipe(R"({"column": "signal", "features": {"pulse": "beats"}})", R"("class")")); });
}

TEST_F(SeriesTable, InvalidNumbersAreRefusedByLineAndColumn) {
  const auto expect = [&](const std::string& text, ErrorCode code, const std::string& says) {
    write(text);
    expect_refused(code, folder + "/a, line " + says, [&] { read(recipe(kPlain)); });
  };
  expect("up\t1 2 3 4\t70\nup\t1 2 x 4\t70\n", ErrorCode::kFormat, "2, column 2: number 3 is \"x\"; expected a finite number");
  expect("up\t1 2 3\t70\n", ErrorCode::kShape,
         "1, column 2: 3 numbers; expected 4 (\"model.series\" gives the length and the number of channels)");
  expect("up\t1 2 3 4\t\n", ErrorCode::kFormat, "1, column 3: number 1 is missing");
  expect("up\t1 2 3 4\t7 0\n", ErrorCode::kShape, "1, column 3: 2 numbers; expected 1 (a feature is one number)");
  expect("up\t1 2 3 4\tinf\n", ErrorCode::kFormat, "1, column 3: number 1 is \"inf\"");
  expect("up\t1 2 3 4\n", ErrorCode::kFormat, "1: expected 3 columns separated by tabs, found 2");
}

TEST_F(SeriesTable, AFeatureMayBeTheLogarithmOfAQuotient) {
  const Recipe of = recipe(R"({"column": 2, "features": {"early": [3, 4], "pulse": 3}})");
  write("up\t1 2 3 4\t70\t35\n");
  const Floats found = values_of(read(of)[0].input.series);
  EXPECT_FLOAT_EQ(found.at(4), std::log(2.0F));
  EXPECT_EQ(found.at(5), 70);
  write("up\t1 2 3 4\t70\t0\n");
  expect_refused(ErrorCode::kFormat, "a, line 1, column 4: the logarithm of 70 / 0 is not finite; expected two numbers above 0",
                 [&] { read(of); });
}

TEST_F(SeriesTable, InvalidFieldsAreRefusedByName) {
  const auto expect = [&](const std::string& series, const std::string& says) {
    expect_refused(ErrorCode::kFormat, says, [&] { recipe(series); });
  };
  expect(
      R"({"column": 2, "features": [3]})",
      R"("task.series.features": expected an object that maps each name to one column or to a list of two, as in {"pulse": 5, "early": [6, 7]}, found an array of 1)");
  expect(R"({"column": 2, "features": {"early": [3, 4, 5]}})", R"("task.series.features": expected an object that maps each name to)");
  expect(R"({"column": 2, "features": {"": 3}})", R"("task.series.features": expected a name for each feature)");
  expect(R"({"column": 2, "features": {"pulse": true}})", R"("task.series.features.pulse": expected )");
  expect(R"({"column": 2, "standardise": "both"})", R"("task.series.standardise": expected none, data or each, found "both")");
  expect(R"({"column": 2, "distort": {"stretch": 1}})", R"("task.series.distort.stretch": expected a number from 0 to 0.5, found 1)");
}

TEST_F(SeriesTable, ScalesOfTheTrainingDataAreSavedWithTheModel) {
  write("up\t1 5 3 5\t70\ndown\t5 5 7 5\t90\n");
  const auto facts_of = [&](const std::string& series) {
    const Recipe fitted = fitted_to_task(recipe(series));
    Fields model(fitted.model, "config.json");
    return read_series_facts(model);
  };
  const SeriesFacts facts = facts_of(kPlain);
  EXPECT_EQ(facts.standardise, Standardise::kData);
  EXPECT_DOUBLE_EQ(facts.scales.at(0).mean, 4);
  EXPECT_DOUBLE_EQ(facts.scales.at(0).deviation, std::sqrt(5));
  EXPECT_DOUBLE_EQ(facts.scales.at(1).deviation, 1);  // a constant channel
  EXPECT_EQ(facts.features.at(0).name, "pulse");
  EXPECT_DOUBLE_EQ(facts.features.at(0).scale.mean, 80);
  EXPECT_DOUBLE_EQ(facts.features.at(0).scale.deviation, 10);
  const SeriesFacts each = facts_of(R"({"column": 2, "standardise": "each"})");
  EXPECT_EQ(each.standardise, Standardise::kEach);
  EXPECT_TRUE(each.scales.empty());
}

// Eight series of 16 samples and two features, distorted as batch `number`.
Floats distorted(const std::string& how, uint64_t number, const Tensor& batch) {
  const Json recipe = Json::parse(R"({"column": 2, "features": {"a": 3, "b": 4}, "distort": )" + how + "}", "recipe");
  for (const ExampleKind* kind : example_kinds()) {
    if (kind->name != "series") continue;
    Tensor out = batch.clone();
    kind->make(&recipe, "recipe", "task.series")->augment(out, 5, number);
    return values_of(out);
  }
  return {};
}

TEST(SeriesDistortion, DependsOnTheNumberOfTheBatchAndLeavesFeatures) {
  const Tensor batch = random_tensor({8, 2, 1, 18}, 3);
  const std::string how = R"({"shift": 2, "stretch": 0.1, "scale": 0.2, "wander": 0.5, "noise": 0.1})";
  const Floats still = values_of(batch), one = distorted(how, 1, batch);
  EXPECT_EQ(distorted("{}", 1, batch), still);
  EXPECT_EQ(distorted(how, 1, batch), one);
  EXPECT_NE(distorted(how, 2, batch), one);
  for (size_t row = 0; row < still.size(); row += 18) {
    for (size_t at = row + 16; at < row + 18; ++at) EXPECT_EQ(one[at], still[at]) << at;
  }
  const Floats noisy = distorted(R"({"feature_noise": 0.1})", 1, batch);
  for (size_t at = 0; at < still.size(); ++at) EXPECT_EQ(noisy[at] != still[at], at % 36 == 16 || at % 36 == 17) << at;
}

TEST(SeriesDistortion, AShiftMovesBothChannelsAndAScaleMultiplies) {
  Tensor batch = Tensor::zeros({1, 2, 1, 18});
  for (int at = 0; at < 16; ++at) batch.mutable_data<float>()[at] = batch.mutable_data<float>()[18 + at] = static_cast<float>(at);
  const Floats moved = distorted(R"({"shift": 3})", 4, batch), scaled = distorted(R"({"scale": 0.5})", 4, batch);
  const float by = 8 - moved[8], times = scaled[8] / 8;
  EXPECT_NE(by, 0);
  EXPECT_LE(std::abs(by), 3);
  EXPECT_LE(std::abs(times - 1), 0.5F);
  for (size_t at = 4; at < 12; ++at) {
    EXPECT_NEAR(moved[at], static_cast<float>(at) - by, 1e-5) << at;
    EXPECT_EQ(moved[18 + at], moved[at]);
    EXPECT_NEAR(scaled[at], static_cast<float>(at) * times, 1e-5) << at;
  }
}

}  // namespace
}  // namespace clearhead::tasks
