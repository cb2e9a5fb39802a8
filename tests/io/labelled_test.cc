// Tables of files and labels: what is read, padded and refused; and the order of batches in an epoch.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "clearhead/data.h"
#include "io/png.h"
#include "io/scratch.h"
#include "io/write_samples.h"
#include "refused.h"

namespace clearhead::io {
namespace {

using Batches = std::vector<std::vector<int64_t>>;

// Sample t of a channel is first + t, with a negative sign in the second channel.
void write_sound(const std::string& path, int frames, int first, int channels = 1, int rate = 8000,
                 int format = SF_FORMAT_WAV | SF_FORMAT_PCM_16) {
  std::vector<int16_t> samples;
  for (int t = 0; t < frames; ++t) {
    for (int c = 0; c < channels; ++c) samples.push_back(static_cast<int16_t>(c == 0 ? first + t : -first - t));
  }
  write_samples(path, samples, channels, rate, format);
}

void write_picture(const std::string& path, int64_t width, int64_t height, uint8_t first) {
  Image image{width, height, 3, {}};
  for (int64_t i = 0; i < width * height * 3; ++i) image.pixels.push_back(static_cast<uint8_t>(first + i));
  write_png(path, image);
}

LabelledColumns columns_of(const char* part) { return {.label = "word", .part_column = "split", .part = part}; }

const char* const kTable =
    "file\tspeaker\tword\tsplit\n"
    "a.wav\tanna\tno\ttrain\n"
    "b.wav\tben\tyes\ttrain\n"
    "c.wav\tanna\tmaybe\ttest\n"
    "d.wav\tben\tno\ttrain\n";

// --- the table ---

TEST(LabelledFiles, ContainTheRowsOfOneSplitWithTheLabelsOfAllSplits) {
  const ScratchFolder folder;
  const std::string table = folder.put("table.tsv", kTable);
  const LabelledFiles train(table, columns_of("train")), test(table, columns_of("test"));
  ASSERT_EQ(train.size(), 3);
  ASSERT_EQ(test.size(), 1);
  EXPECT_EQ(train.labels(), (std::vector<std::string>{"maybe", "no", "yes"}));
  EXPECT_EQ(test.labels(), train.labels());
  EXPECT_EQ(train.rows()[1].path, folder / "b.wav");
  EXPECT_EQ(train.rows()[1].label, 2);
  EXPECT_EQ(train.rows()[2].label, 1);
  EXPECT_EQ(train.rows()[2].line, 5);
  EXPECT_EQ(test.rows()[0].label, 0);
}

TEST(LabelledFiles, ContainAllRowsWithoutASplitAndAcceptAnyLabelColumn) {
  const ScratchFolder folder;
  std::string lines_of_windows;
  for (const char* at = kTable; *at != '\0'; ++at) lines_of_windows += *at == '\n' ? "\r\n" : std::string(1, *at);
  const LabelledFiles all(folder.put("table.tsv", lines_of_windows), {.label = "split"});
  EXPECT_EQ(all.size(), 4);
  EXPECT_EQ(all.labels(), (std::vector<std::string>{"test", "train"}));
}

TEST(LabelledFiles, RefuseATableThatIsWrongAndSayWhere) {
  const ScratchFolder folder;
  const auto open = [&](const std::string& text, const LabelledColumns& columns) {
    return [&folder, text, columns] { LabelledFiles(folder.put("table.tsv", text), columns); };
  };
  const LabelledColumns train = columns_of("train");
  expect_refused(ErrorCode::kNotFound, "none.tsv", [&] { LabelledFiles(folder / "none.tsv", train); });
  expect_refused(ErrorCode::kFormat, "the file is empty; expected a header line with column names", open("", train));
  expect_refused(ErrorCode::kFormat, "there are no rows after the header line", open("file\tword\tsplit\n", train));
  expect_refused(ErrorCode::kInvalidArgument, R"(table.tsv, line 1: no column "label"; the columns are "file", "speaker", "word", "split")",
                 open(kTable, {}));
  expect_refused(ErrorCode::kInvalidArgument, R"(no column "part")",
                 open(kTable, {.label = "word", .part_column = "part", .part = "train"}));
  expect_refused(ErrorCode::kInvalidArgument, R"(part "train" was given without part_column)",
                 open(kTable, {.label = "word", .part = "train"}));
  expect_refused(ErrorCode::kFormat, R"(line 1: two columns are named "word")", open("file\tword\tword\n", train));
  expect_refused(ErrorCode::kFormat, "table.tsv, line 6: expected 4 cells separated by tabs, as in the first line, found 2",
                 open(std::string(kTable) + "e.wav\tanna\n", train));
  expect_refused(ErrorCode::kFormat, "line 6: expected 4 cells separated by tabs, as in the first line, found 5",
                 open(std::string(kTable) + "e.wav\tanna\tno\ttrain\tloud\n", train));
  expect_refused(ErrorCode::kFormat, "line 6: expected 4 cells", open(std::string(kTable) + "\n", train));
  expect_refused(ErrorCode::kFormat, R"(line 6, column "word": the cell is empty)",
                 open(std::string(kTable) + "e.wav\tanna\t\ttest\n", train));
  expect_refused(ErrorCode::kFormat, R"(line 6, column "file": the cell is empty)",
                 open(std::string(kTable) + "\tanna\tno\ttest\n", train));
  expect_refused(ErrorCode::kInvalidArgument, R"(table.tsv, column "split": no row has the value "trian"; the values are "test", "train")",
                 open(kTable, columns_of("trian")));
}

// --- batches ---

TEST(LabelledSounds, ArePaddedWithZerosInABatch) {
  const ScratchFolder folder;
  write_sound(folder / "a.wav", 30, 100, 2);
  write_sound(folder / "b.wav", 50, 1000, 2);
  write_sound(folder / "d.wav", 10, 2000, 2);
  const LabelledFiles train(folder.put("table.tsv", kTable), columns_of("train"));
  const SoundBatch batch = train.sounds({2, 1, 0});
  EXPECT_EQ(batch.rate, 8000);
  EXPECT_EQ(batch.lengths, (std::vector<int64_t>{10, 50, 30}));
  EXPECT_EQ(batch.labels, (std::vector<int32_t>{1, 2, 1}));
  ASSERT_EQ(batch.samples.shape(), (Shape{3, 2, 50}));
  const int first[] = {2000, 1000, 100};
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t t = 0; t < 50; ++t) {
      const float sample = t < batch.lengths[static_cast<size_t>(row)] ? static_cast<float>(first[row] + t) / 32768 : 0;
      EXPECT_EQ(batch.samples.data<float>()[(2 * row) * 50 + t], sample) << row << " " << t;
      EXPECT_EQ(batch.samples.data<float>()[(2 * row + 1) * 50 + t], -sample) << row << " " << t;
    }
  }
  EXPECT_EQ(train.sounds({2, 2}).samples.shape(), (Shape{2, 2, 10}));
}

TEST(LabelledSounds, AreMeasuredByTheirHeadersAlone) {
  const ScratchFolder folder;
  const std::string path = folder / "cut.flac";
  write_sound(path, 30000, 0, 1, 8000, SF_FORMAT_FLAC | SF_FORMAT_PCM_16);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  const LabelledFiles cut(folder.put("table.tsv", "file\tlabel\ncut.flac\tramp\n"));
  EXPECT_EQ(cut.frames(), (std::vector<int64_t>{30000}));
  expect_refused(ErrorCode::kFormat, R"(table.tsv, line 2, column "file": )" + path + ": ends after", [&] { cut.sounds({0}); });
}

TEST(LabelledSounds, AreReadWhenTheyAreAskedFor) {
  const ScratchFolder folder;
  const LabelledFiles train(folder.put("table.tsv", kTable), columns_of("train"));
  write_sound(folder / "a.wav", 30, 100);
  EXPECT_EQ(train.sounds({0}).lengths, (std::vector<int64_t>{30}));
  const std::string missing = R"(table.tsv, line 3, column "file": )" + (folder / "b.wav: no such file");
  expect_refused(ErrorCode::kNotFound, missing, [&] { train.sounds({0, 1}); });
  expect_refused(ErrorCode::kNotFound, missing, [&] { train.frames(); });
}

TEST(LabelledSounds, RefuseInvalidBatches) {
  const ScratchFolder folder;
  const LabelledFiles train(folder.put("table.tsv", kTable), columns_of("train"));
  write_sound(folder / "a.wav", 1 << 20, 0);
  write_sound(folder / "b.wav", 30, 0, 1, 16000);
  write_sound(folder / "d.wav", 30, 0, 2);
  expect_refused(ErrorCode::kShape,
                 R"(line 3, column "file": )" + (folder / "b.wav") + " has 16,000 frames a second (channels: 1), but line 2 has 8,000",
                 [&] {
                   train.sounds({0, 1});
                 });
  expect_refused(ErrorCode::kShape, "d.wav has 8,000 frames a second (channels: 2), but line 2 has 8,000 (channels: 1)", [&] {
    train.sounds({0, 2});
  });
  expect_refused(ErrorCode::kShape, "b.wav has 16,000", [&] { train.frames(); });
  expect_refused(ErrorCode::kInvalidArgument, "the batch is empty; expected at least one row", [&] { train.sounds({}); });
  expect_refused(ErrorCode::kInvalidArgument, "row 3 is out of range; this data set has 3 rows", [&] { train.sounds({0, 3}); });
  expect_refused(ErrorCode::kInvalidArgument, "row -1 is out of range; this data set has 3 rows", [&] { train.sounds({-1}); });
  expect_refused(ErrorCode::kBudget, "2,049 rows of 1,048,576 samples", [&] { train.sounds(std::vector<int64_t>(2049, 0)); });
}

TEST(LabelledPictures, AreStackedInABatch) {
  const ScratchFolder folder;
  const LabelledFiles pictures(folder.put("table.tsv", "file\tlabel\nof/a.png\tcat\nof/b.png\tape\nof/c.png\tcat\n"));
  std::filesystem::create_directories(folder / "of");
  write_picture(folder / "of/a.png", 5, 4, 10);
  write_picture(folder / "of/b.png", 5, 4, 90);
  write_picture(folder / "of/c.png", 4, 5, 0);
  const PictureBatch batch = pictures.pictures({1, 0});
  EXPECT_EQ(batch.labels, (std::vector<int32_t>{0, 1}));
  ASSERT_EQ(batch.pixels.shape(), (Shape{2, 3, 4, 5}));
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t i = 0; i < 20; ++i) {
        EXPECT_EQ(batch.pixels.data<float>()[(row * 3 + c) * 20 + i], static_cast<float>((row == 0 ? 90 : 10) + 3 * i + c) / 255);
      }
    }
  }
  expect_refused(ErrorCode::kShape,
                 R"(table.tsv, line 4, column "file": )" + (folder / "of/c.png") +
                     " has shape [3, 5, 4] [channels, height, width], but line 2 has [3, 4, 5]",
                 [&] {
                   pictures.pictures({0, 2});
                 });
  folder.put("of/b.png", "these are words");
  expect_refused(
      ErrorCode::kFormat,
      R"(table.tsv, line 3, column "file": )" + (folder / "of/b.png") + ": the first bytes are neither those of a PNG nor of a JPEG file",
      [&] { pictures.pictures({1}); });
  expect_refused(ErrorCode::kInvalidArgument, "row 3 is out of range; this data set has 3 rows", [&] { pictures.pictures({3}); });
}

// --- the order of an epoch ---

// Lengths like those of spoken words: most near the middle, from 1,000 frames to 18,000.
std::vector<int64_t> lengths_of(size_t count) {
  std::vector<int64_t> out;
  for (size_t row = 0; row < count; ++row) {
    out.push_back(static_cast<int64_t>(std::clamp(3300 * std::exp(0.4 * random_normal(3, row)), 1000.0, 18000.0)));
  }
  return out;
}

std::vector<int64_t> rows_of(const Batches& batches) {
  std::vector<int64_t> out;
  for (const std::vector<int64_t>& batch : batches) out.insert(out.end(), batch.begin(), batch.end());
  return out;
}

int64_t padded(const std::vector<int64_t>& batch, const std::vector<int64_t>& lengths) {
  int64_t longest = 0;
  for (const int64_t row : batch) longest = std::max(longest, lengths[static_cast<size_t>(row)]);
  return longest * static_cast<int64_t>(batch.size());
}

int64_t padded(const Batches& batches, const std::vector<int64_t>& lengths) {
  int64_t sum = 0;
  for (const std::vector<int64_t>& batch : batches) sum += padded(batch, lengths);
  return sum;
}

void expect_each_once(const Batches& batches, size_t count) {
  std::vector<int64_t> rows = rows_of(batches), all(count);
  std::iota(all.begin(), all.end(), int64_t{0});
  std::sort(rows.begin(), rows.end());
  EXPECT_EQ(rows, all);
}

TEST(BatchesByLength, HoldEachRowOnceWithinBothBounds) {
  const std::vector<int64_t> lengths = lengths_of(720);
  for (const BatchOrder& order :
       {BatchOrder{.rows = 32}, BatchOrder{.rows = 1000, .frames = 100000}, BatchOrder{.rows = 20, .frames = 60000}}) {
    const Batches batches = batches_by_length(lengths, order, 0);
    expect_each_once(batches, 720);
    for (const std::vector<int64_t>& batch : batches) {
      EXPECT_LE(static_cast<int64_t>(batch.size()), order.rows);
      if (order.frames > 0) {
        EXPECT_LE(padded(batch, lengths), order.frames);
      }
    }
  }
  EXPECT_EQ(batches_by_length(lengths, {.rows = 32}, 0).size(), 23U);  // ⌈720 / 32⌉
}

TEST(BatchesByLength, AreHardlyPadded) {
  const std::vector<int64_t> lengths = lengths_of(720);
  const int64_t real = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  for (const BatchOrder& order : {BatchOrder{.rows = 32}, BatchOrder{.rows = 1000, .frames = 100000}}) {
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      const Batches batches = batches_by_length(lengths, order, epoch);
      expect_each_once(batches, 720);
      EXPECT_LT(padded(batches, lengths), real * 11 / 10);
    }
  }
  EXPECT_GT(padded(shuffled_batches(720, {.rows = 32}, 0), lengths), real * 17 / 10);  // the padding of random batches
}

TEST(BatchesByLength, FollowFromSeedAndEpochAlone) {
  const std::vector<int64_t> lengths = lengths_of(720);
  const Batches first = batches_by_length(lengths, {.rows = 32, .seed = 5}, 0),
                next = batches_by_length(lengths, {.rows = 32, .seed = 5}, 1);
  EXPECT_EQ(first, batches_by_length(lengths, {.rows = 32, .seed = 5}, 0));
  EXPECT_NE(first, batches_by_length(lengths, {.rows = 32, .seed = 6}, 0));
  // Not only the order of the batches changes: rows are also combined differently.
  const auto sorted = [](Batches batches) {
    for (std::vector<int64_t>& batch : batches) std::sort(batch.begin(), batch.end());
    std::sort(batches.begin(), batches.end());
    return batches;
  };
  size_t kept = 0;
  const Batches before = sorted(first), after = sorted(next);
  for (const std::vector<int64_t>& batch : before) kept += static_cast<size_t>(std::count(after.begin(), after.end(), batch));
  EXPECT_LE(kept, 2U);
  // Not sorted by length: the first half contains a long row, the second half a short one.
  std::vector<int64_t> widths;
  for (const std::vector<int64_t>& batch : first) widths.push_back(lengths[static_cast<size_t>(batch.front())]);
  const auto half = widths.begin() + 11;
  EXPECT_GT(*std::max_element(widths.begin(), half), 2 * *std::min_element(half, widths.end()));
}

TEST(ShuffledBatches, AreTheSameOnEveryMachine) {
  EXPECT_EQ(shuffled_batches(7, {.rows = 3, .seed = 7}, 2), (Batches{{4, 3, 2}, {6}, {5, 0, 1}}));
  EXPECT_EQ(batches_by_length({100, 900, 101, 905, 102, 907, 5000}, {.rows = 2, .seed = 7}, 2), (Batches{{5, 1}, {6}, {0, 3}, {4, 2}}));
}

TEST(ShuffledBatches, OfOneLengthAreShuffledThroughout) {
  const Batches first = shuffled_batches(100, {.rows = 30}, 0), next = shuffled_batches(100, {.rows = 30}, 1);
  expect_each_once(first, 100);
  expect_each_once(next, 100);
  EXPECT_NE(rows_of(first), rows_of(next));
  EXPECT_EQ(first.size(), 4U);
  EXPECT_TRUE(shuffled_batches(0, {}, 0).empty());
}

TEST(ShuffledBatches, RefuseBoundsThatNoBatchMeets) {
  expect_refused(ErrorCode::kInvalidArgument, "batch order: rows is 0", [] { batches_by_length({1, 2}, {.rows = 0}, 0); });
  expect_refused(ErrorCode::kInvalidArgument, "frames is -1", [] { batches_by_length({1, 2}, {.frames = -1}, 0); });
  expect_refused(ErrorCode::kInvalidArgument, "row 1 has 9 frames; expected 0 to 8", [] { batches_by_length({8, 9}, {.frames = 8}, 0); });
  expect_refused(ErrorCode::kInvalidArgument, "row 0 has -1 frames", [] { batches_by_length({-1}, {}, 0); });
  expect_refused(ErrorCode::kInvalidArgument, "shuffled_batches: count is 3 and frames is 8",
                 [] { shuffled_batches(3, {.frames = 8}, 0); });
  expect_refused(ErrorCode::kInvalidArgument, "count is -1 and frames is 0", [] { shuffled_batches(-1, {}, 0); });
}

}  // namespace
}  // namespace clearhead::io
