// The data of a training step: parts of files, windows, repeated passages. Also the average of weights.
#include "tasks/data/text_data.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "clearhead/error.h"
#include "text/tokenizer_json.h"
#include "tolerance.h"
#include "train/average.h"

namespace clearhead::tasks {
namespace {

std::string scratch(const std::string& name) {
  const std::string folder = testing::TempDir() + "text_data_" + name;
  std::filesystem::create_directories(folder);
  return folder;
}

TextData numbers() {
  std::string text;
  for (int i = 0; i < 700; ++i) text += std::to_string(i) + " ";
  return {{text}, *Tokenizer::from_json(byte_tokenizer_json())};
}

TEST(TextParts, FollowTheTableOrTheShareThatIsHeldOut) {
  const std::string folder = scratch("parts");
  write_file(folder + "/a.txt", "one\ntwo\nthree\n");
  write_file(folder + "/splits.tsv", "file\ttrain\tto\tvalid\tto\ttest\tto\na.txt\t0\t4\t4\t8\t8\t14\n");
  TextSource source{.folder = folder, .files = {"a.txt"}, .splits = "splits.tsv"};
  EXPECT_EQ(read_part(source, Part::kTrain), std::vector<std::string>{"one\n"});
  EXPECT_EQ(read_part(source, Part::kValid), std::vector<std::string>{"two\n"});
  EXPECT_EQ(read_part(source, Part::kTest), std::vector<std::string>{"three\n"});
  source.splits = "";
  source.held_out = 0.5;
  EXPECT_EQ(read_part(source, Part::kTrain), std::vector<std::string>{"one\ntwo\n"});
  EXPECT_EQ(read_part(source, Part::kValid), std::vector<std::string>{"three\n"});
  EXPECT_EQ(read_part(source, Part::kTest), std::vector<std::string>{""});
}

TEST(TextParts, InvalidSplitTablesAreRefused) {
  const std::string folder = scratch("wrong");
  write_file(folder + "/a.txt", "one\ntwo\n");
  const TextSource source{.folder = folder, .files = {"a.txt"}, .splits = "splits.tsv"};
  const auto message = [&](const std::string& table) {
    write_file(folder + "/splits.tsv", table);
    try {
      read_part(source, Part::kTrain);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing was refused");
  };
  EXPECT_NE(message("file\na.txt\t0\t4\n").find("splits.tsv, line 2: expected a file name and six byte positions"), std::string::npos);
  EXPECT_NE(message("file\na.txt\t0\tx\t4\t4\t4\t8\n").find("line 2"), std::string::npos);
  EXPECT_NE(message("file\nb.txt\t0\t4\t4\t4\t4\t8\n").find("\"a.txt\" (8 bytes) has no line"), std::string::npos);
  EXPECT_NE(message("file\na.txt\t0\t9\t4\t4\t4\t8\n").find("has positions outside the file"), std::string::npos);
}

TEST(TextData, AnEpochShowsEveryWindowOnceAndTargetsAreTheNextTokens) {
  const TextData data = numbers();
  const int64_t length = 32, windows = (data.tokens() - 1) / length;
  const TextData::Order order{.seed = 3, .length = length};
  const TextData::Batch batch = data.shuffled(order, 2 * windows, windows);
  ASSERT_EQ(static_cast<int64_t>(batch.ids.size()), windows * length);
  std::vector<std::vector<int32_t>> seen;
  for (int64_t w = 0; w < windows; ++w) {
    seen.emplace_back(batch.ids.begin() + w * length, batch.ids.begin() + (w + 1) * length);
    for (int64_t i = 0; i + 1 < length; ++i) ASSERT_EQ(batch.targets[w * length + i], batch.ids[w * length + i + 1]);
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_LE(seen.end() - std::unique(seen.begin(), seen.end()), 1);  // the last window is moved back into the text
  EXPECT_EQ(data.shuffled(order, 2 * windows + 5, 3).ids,
            std::vector<int32_t>(batch.ids.begin() + 5 * length, batch.ids.begin() + 8 * length));
}

TEST(TextData, PassagesRepeatAndRandomOnesHaveTargetsOnlyInTheRepeat) {
  const TextData data = numbers();
  const int64_t length = 64, windows = 400;
  const TextData::Order plain{.seed = 3, .length = length},
      repeating{.seed = 3, .length = length, .repeats = {.probability = 0.5, .shortest = 8, .longest = 20}};
  const TextData::Batch before = data.shuffled(plain, 0, windows), after = data.shuffled(repeating, 0, windows);
  int64_t changed = 0, hidden = 0;
  for (int64_t w = 0; w < windows; ++w) {
    std::vector<int32_t> tokens(after.ids.begin() + w * length, after.ids.begin() + (w + 1) * length);
    const std::vector<int32_t> targets(after.targets.begin() + w * length, after.targets.begin() + (w + 1) * length);
    if (std::equal(tokens.begin(), tokens.end(), before.ids.begin() + w * length)) continue;
    ++changed;
    const int64_t ignored = std::count(targets.begin(), targets.end(), -100);
    EXPECT_LE(ignored, 21);
    hidden += ignored > 1;
    for (int64_t i = 0; i + 1 < length; ++i) ASSERT_TRUE(targets[i] == -100 || targets[i] == tokens[i + 1]);
    // Some passage of eight tokens occurs twice.
    int64_t longest = 0;
    for (int64_t i = 0; i < length; ++i) {
      for (int64_t j = i + 8; j < length; ++j) {
        int64_t run = 0;
        while (j + run < length && i + run < j && tokens[i + run] == tokens[j + run]) ++run;
        longest = std::max(longest, run);
      }
    }
    EXPECT_GE(longest, 7) << w;
  }
  EXPECT_NEAR(static_cast<double>(changed), windows / 2.0, 40);
  EXPECT_NEAR(static_cast<double>(hidden), static_cast<double>(changed) / 2, 35);
}

TEST(TextData, RepetitionsAreWithinTheMaximumDistance) {
  const TextData data = numbers();
  const TextData::Order plain{.seed = 3, .length = 128},
      near{.seed = 3, .length = 128, .repeats = {.probability = 1, .shortest = 16, .longest = 16, .max_distance = 24}};
  const TextData::Batch before = data.shuffled(plain, 0, 100), after = data.shuffled(near, 0, 100);
  for (int64_t w = 0; w < 100; ++w) {
    int64_t first = 128, last = 0;
    for (int64_t i = w * 128; i < (w + 1) * 128; ++i) {
      if (before.ids[i] == after.ids[i]) continue;
      first = std::min(first, i - w * 128);
      last = i - w * 128;
    }
    EXPECT_GT(last, first) << w;
    EXPECT_LT(last - first, 40) << w;  // from the start of the passage to the end of its copy, if all of it changed
  }
}

TEST(TextData, RepeatToEndRepeatsThePassageToTheEndOfTheWindow) {
  const TextData data = numbers();
  const TextData::Order order{.seed = 5, .length = 64, .repeats = {.probability = 1, .shortest = 7, .longest = 7, .repeat_to_end = true}};
  const TextData::Batch batch = data.shuffled(order, 0, 50);
  for (int64_t w = 0; w < 50; ++w) {
    int64_t begin = 64;  // start of the final tokens that equal those 7 positions before
    while (begin > 7 && batch.ids[w * 64 + begin - 1] == batch.ids[w * 64 + begin - 8]) --begin;
    EXPECT_LE(begin, 64 - 6) << w;
    const auto targets = batch.targets.begin() + w * 64;
    const int64_t hidden = std::count(targets, targets + 64, -100);  // at the start of the copy; if random, the first passage too
    EXPECT_TRUE(hidden == 1 || hidden == 7 || hidden == 8) << hidden;
  }
}

TEST(WeightAverage, FollowsItsFormulaAndSwapsWithTheWeights) {
  Tensor w = Tensor::from<float>({1, -2}, {2});
  train::WeightAverage average(0.9);
  average.add(w);
  double mean = 1;
  for (int64_t step = 0; step < 40; ++step) {
    w.mutable_data<float>()[0] = static_cast<float>(step);
    average.follow(step);
    const double keep = std::min(0.9, (1 + static_cast<double>(step)) / (10 + static_cast<double>(step)));
    mean = keep * mean + (1 - keep) * static_cast<double>(step);
  }
  {
    const train::WeightAverage::Shown shown(average);
    EXPECT_NEAR(static_cast<double>(w.data<float>()[0]), mean, tolerance::kAverage);
    EXPECT_FLOAT_EQ(average.mean(0).data<float>()[0], 39);
  }
  EXPECT_FLOAT_EQ(w.data<float>()[0], 39);
}

}  // namespace
}  // namespace clearhead::tasks
