// Labelled pictures from tables and records, scenes composed of them, and augmentation in training.
#include "tasks/examples/pictures.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "base/file.h"
#include "clearhead/data.h"
#include "io/png.h"
#include "random_tensor.h"
#include "refused.h"
#include "tasks/data/input_data.h"
#include "values.h"

namespace clearhead::tasks {
namespace {

// Pictures of 4 x 4 pixels; each test has its own folder.
class Pictures : public testing::Test {
 protected:
  void SetUp() override {
    folder = testing::TempDir() + "pictures-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder);
  }
  Recipe recipe(const std::string& pictures, const std::string& model, const std::string& more = R"(, "label": 1)") const {
    return recipe_of(R"(, "pictures": )" + pictures + more, model);
  }
  // examples: fields of "task" after the names of the files
  Recipe recipe_of(const std::string& examples, const std::string& model) const {
    return Recipe::from(
        Json::parse(R"({"data": ")" + folder + R"(", "task": {"kind": "classification", "train": "a", "valid": "b", "test": "c")" +
                        examples + R"(}, "model": )" + model + "}",
                    "recipe"),
        "recipe");
  }
  void write(const std::string& name, const std::string& text) const { write_file(folder + "/" + name, text); }

  std::string folder;
};

const char* const kGrey = R"({"num_channels": 1, "image_size": 4, "patch_size": 2})";
const char* const kColour = R"({"num_channels": 3, "image_size": [2, 4], "patch_size": 2})";
const char* const kBits = R"({"form": "bits", "column": 2})";
const char* const kRecords = R"({"form": "cifar10", "names": "names.tsv"})";

TEST_F(Pictures, OfBitsHaveTheMostSignificantBitLeftmost) {
  write("a", "seven\t8001\nnine\tF06a\n");
  const std::vector<LabelledInput> read = read_inputs("a", recipe(kBits, kGrey), "picture");
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].label, "seven");
  EXPECT_EQ(read[1].where, folder + "/a, line 2");
  const Tensor picture = read[1].input.picture;
  ASSERT_EQ(picture.shape(), (Shape{1, 4, 4}));
  EXPECT_EQ(std::vector<float>(picture.data<float>(), picture.data<float>() + 16),
            (std::vector<float>{1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 1, 0, 1, 0}));
}

TEST_F(Pictures, OfRecordsAreChannelByChannel) {
  write("names.tsv", "0\tred\n1\tblue\n");
  std::string bytes = {'\1'};
  for (int i = 0; i < 24; ++i) bytes += static_cast<char>(10 * i);
  write("a", bytes);
  const std::vector<LabelledInput> read = read_inputs("a", recipe(kRecords, kColour, ""), "picture");
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].label, "blue");
  ASSERT_EQ(read[0].input.picture.shape(), (Shape{3, 2, 4}));
  for (int i = 0; i < 24; ++i) EXPECT_FLOAT_EQ(read[0].input.picture.data<float>()[i], static_cast<float>(10 * i) / 255);
}

TEST_F(Pictures, FilesAreReadRelativeToTheirTable) {
  io::Image image{.width = 4, .height = 2, .channels = 4, .pixels = std::vector<uint8_t>(32, 255)};
  for (size_t pixel = 0; pixel < 8; ++pixel) image.pixels[pixel * 4 + 1] = static_cast<uint8_t>(pixel);
  io::write_png(folder + "/one.png", image);
  write("a", "cat\tone.png\n");
  const std::vector<LabelledInput> read = read_inputs("a", recipe(R"({"form": "files", "column": 2})", kColour), "picture");
  ASSERT_EQ(read.size(), 1u);
  EXPECT_FLOAT_EQ(read[0].input.picture.data<float>()[8 + 5], 5.0F / 255);  // the green channel of the sixth pixel
  expect_refused(ErrorCode::kShape,
                 "a, line 1: " + folder + "/one.png: the picture has 4 × 2 pixels (channels: 3); expected 4 × 4 pixels, channels: 3", [&] {
                   read_inputs("a", recipe(R"({"form": "files", "column": 2})", R"({"num_channels": 3, "image_size": 4, "patch_size": 2})"),
                               "picture");
                 });
}

TEST_F(Pictures, OfAnotherSizeAreResizedAsTheRecipeSays) {
  io::Image image{.width = 4, .height = 2, .channels = 4, .pixels = {}};
  for (int value = 0; value < 32; ++value) image.pixels.push_back(static_cast<uint8_t>(value * 7));
  io::write_png(folder + "/one.png", image);
  write("a", "cat\tone.png\n");
  const Tensor whole = read_image(folder + "/one.png");
  const auto read = [&](const std::string& how) {
    const Recipe of = recipe(R"({"form": "files", "column": 2, )" + how + "}", R"({"num_channels": 3, "image_size": 6, "patch_size": 2})");
    return values_of(read_inputs("a", of, "picture")[0].input.picture);
  };
  EXPECT_EQ(read(R"("resize": "stretch")"), values_of(resize_image(whole, 6, 6)));
  EXPECT_EQ(read(R"("resize": "fit")"), values_of(fit_image(whole, 6, 6)));
  EXPECT_EQ(read(R"("resize": "fit", "resample": "box")"), values_of(fit_image(whole, 6, 6, Resampling::kBox)));
}

TEST_F(Pictures, InvalidPicturesAreRefusedByLineOrRecord) {
  const auto expect = [&](const std::string& bytes, const char* form, const char* model, ErrorCode code, const std::string& says) {
    write("a", bytes);
    expect_refused(code, folder + "/a" + says,
                   [&] { read_inputs("a", recipe(form, model, form == kBits ? R"(, "label": 1)" : ""), "picture"); });
  };
  write("names.tsv", "0\tred\n");
  expect("x\t8001\nx\t80g1\n", kBits, kGrey, ErrorCode::kFormat,
         ", line 2: hex digit 3 of the picture is \"g\"; expected 0 to 9 or a to f");
  expect("x\t800\n", kBits, kGrey, ErrorCode::kShape, ", line 1: 3 hex digits; expected 4, for 4 x 4 pixels");
  expect("x\n", kBits, kGrey, ErrorCode::kFormat, ", line 1: expected 2 columns separated by tabs, found 1");
  expect(std::string(24, 0), kRecords, kColour, ErrorCode::kFormat, ": found 24 bytes; expected a multiple of the record size 25");
  expect(std::string(25, 0) + std::string(25, 1), kRecords, kColour, ErrorCode::kFormat,
         ", record 2: label 1 has no name; \"names.tsv\" names only 1 labels");
  write("names.tsv", "1\tred\n");
  expect_refused(ErrorCode::kFormat, "names.tsv, line 1: expected 0, a tab and the name of that label",
                 [&] { read_inputs("a", recipe(kRecords, kColour, ""), "picture"); });
  expect_refused(ErrorCode::kFormat, "\"task.pictures.form\": expected bits, cifar10, files or folder",
                 [&] { recipe(R"({"form": "gif"})", kGrey); });
  expect_refused(ErrorCode::kFormat, "\"model.patch_size\"",
                 [&] { pictures_of(recipe(kBits, R"({"num_channels": 1, "image_size": 4, "patch_size": 3})"), {}); });
}

TEST_F(Pictures, DistortionsDependOnlyOnSeedAndNumber) {
  const Tensor kept = random_tensor({2, 3, 6, 8}, 1);
  const auto moved = [&](const Distortion& how, uint64_t seed, uint64_t number) {
    Tensor out = kept.clone();
    distort(out, how, seed, number);
    return std::vector<float>(out.data<float>(), out.data<float>() + out.numel());
  };
  const std::vector<float> still(kept.data<float>(), kept.data<float>() + kept.numel());
  EXPECT_EQ(moved({}, 1, 1), still);
  const Distortion all{.shift = 2, .rotate = 20, .zoom = 0.2, .flip = true};
  EXPECT_EQ(moved(all, 1, 1), moved(all, 1, 1));
  EXPECT_NE(moved(all, 1, 1), moved(all, 1, 2));
  EXPECT_NE(moved(all, 1, 1), moved(all, 2, 1));
  // A flip gives one of four pictures and keeps every value.
  std::set<std::vector<float>> flips;
  for (uint64_t number = 0; number < 40; ++number) {
    std::vector<float> one = moved({.flip = true}, 1, number);
    one.resize(3 * 6 * 8);
    flips.insert(one);
    EXPECT_EQ(std::multiset<float>(one.begin(), one.end()), std::multiset<float>(still.begin(), still.begin() + 3 * 6 * 8));
  }
  EXPECT_EQ(flips.size(), 4u);
}

// The figure in a cell: its first row of four pixels.
int figure_in(const Tensor& scene, int cell) {
  int out = 0;
  for (int x = 0; x < 4; ++x) out = 2 * out + (scene.data<float>()[(cell / 3 * 4) * 12 + cell % 3 * 4 + x] > 0 ? 1 : 0);
  return out;
}

// Compares the answers to questions about scenes, whose cells contain the figures 1 to 9 or nothing, with an independent reading of the
// pixels. Returns how often each kind of question occurred.
std::map<std::string, int> expect_answers_in(const std::vector<LabelledInput>& questions) {
  const std::vector<std::string> numbers = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"};
  const std::map<std::string, int> places = {
      {"top left corner", 0}, {"top right corner", 2}, {"middle", 4}, {"bottom left corner", 6}, {"bottom right corner", 8}};
  const std::map<std::string, int> steps = {{"left of", -1}, {"right of", 1}, {"above", -3}, {"below", 3}},
                                   rows = {{"first", 0}, {"second", 1}, {"third", 2}};
  std::map<std::string, int> kinds;
  for (const LabelledInput& one : questions) {
    const std::string& text = one.input.question;
    std::vector<int> cells;
    for (int cell = 0; cell < 9; ++cell) cells.push_back(figure_in(one.input.picture, cell));
    const auto count = [&](size_t figure) { return static_cast<size_t>(std::count(cells.begin(), cells.end(), static_cast<int>(figure))); };
    const auto place_of = [&](size_t figure) { return std::find(cells.begin(), cells.end(), static_cast<int>(figure)) - cells.begin(); };
    const auto word_in = [&](auto cell) {
      const int figure = cells.at(static_cast<size_t>(cell));
      return figure == 0 ? "nothing" : numbers[static_cast<size_t>(figure)];
    };
    std::string expected;
    for (const auto& [place, cell] : places) {
      if (text == "what is in the " + place + "?") expected = word_in(cell), ++kinds["place"];
    }
    for (const auto& [row, down] : rows) {
      for (const auto& [column, right] : rows) {
        const std::string at = row + " row and " + column + " column";
        if (text == "what is in the " + at + "?") expected = word_in(3 * down + right), ++kinds["row"];
        for (size_t figure = 1; figure < 10; ++figure) {
          if (text != "where is the " + numbers[figure] + "?" || place_of(figure) != 3 * down + right) continue;
          EXPECT_EQ(count(figure), 1u) << text;
          expected = at, ++kinds["where"];
        }
      }
    }
    for (size_t figure = 1; figure < 10; ++figure) {
      if (text == "how many " + numbers[figure] + (figure == 6 ? "es" : "s") + " are there?")
        expected = numbers[count(figure)], ++kinds["count"];
      for (const auto& [words, by] : steps) {
        if (text != "what is " + words + " the " + numbers[figure] + "?") continue;
        EXPECT_EQ(count(figure), 1u) << text;
        expected = word_in(place_of(figure) + by), ++kinds["beside"];
      }
    }
    EXPECT_EQ(one.label, expected) << text;
    kinds[format("of {}", 9 - count(0))]++;
  }
  return kinds;
}

TEST_F(Pictures, AnswersAboutScenesMatchTheirPixels) {
  write("a", "1\t1000\n2\t2000\n3\t3000\n4\t4000\n5\t5000\n");
  write("c", "6\t6000\n7\t7000\n");
  const auto of = [&](const std::string& scenes) {
    return recipe_of(R"(, "label": 1, "scenes": {"pictures": )" + std::string(kBits) + ", " + scenes.substr(1),
                     R"({"num_channels": 1, "image_size": 12, "patch_size": 2})");
  };
  const Recipe made = of(R"({"side": 3, "train": 60, "valid": 1, "test": 4, "questions": 5})");
  const std::vector<LabelledInput> questions = read_inputs("a", made, "scene");
  ASSERT_EQ(questions.size(), 300u);
  std::map<std::string, int> kinds = expect_answers_in(questions);
  EXPECT_EQ(kinds["of 9"], 300);
  EXPECT_EQ(kinds.size(), 6u);
  // The same call gives the same questions; the test part has other scenes, made of its own pictures.
  EXPECT_EQ(read_inputs("a", made, "scene")[17].input.question, questions[17].input.question);
  const std::vector<LabelledInput> tested = read_inputs("c", made, "scene");
  ASSERT_EQ(tested.size(), 20u);
  EXPECT_GE(figure_in(tested[0].input.picture, 0), 6);
  // Training scenes with empty cells: half of them are full, and small numbers of figures are as frequent as large ones.
  const Recipe sparse = of(R"({"side": 3, "train": 400, "valid": 1, "test": 4, "questions": 5, "fewest": 2})");
  kinds = expect_answers_in(read_inputs("a", sparse, "scene"));
  EXPECT_EQ(kinds.count("of 1"), 0u);
  EXPECT_NEAR(kinds["of 2"] + kinds["of 3"] + kinds["of 4"], 500, 150);
  EXPECT_NEAR(kinds["of 9"], 1050, 150);
  EXPECT_EQ(expect_answers_in(read_inputs("c", sparse, "scene"))["of 9"], 20);
  expect_refused(ErrorCode::kFormat, R"("task.scenes.fewest": expected at most 9, the number of cells of a scene)",
                 [&] { of(R"({"side": 3, "train": 1, "valid": 1, "test": 1, "questions": 1, "fewest": 10})"); });
  expect_refused(ErrorCode::kInvalidArgument, "expected cell sides that are multiples of the patch size (2 pixels)", [&] {
    read_inputs(
        "a",
        recipe_of(R"(, "label": 1, "scenes": {"train": 1, "valid": 1, "test": 1, "questions": 1, "pictures": )" + std::string(kBits) + "}",
                  R"({"num_channels": 1, "image_size": 10, "patch_size": 2})"),
        "scene");
  });
}

}  // namespace
}  // namespace clearhead::tasks
