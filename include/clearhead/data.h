// Room: io.
// Sound and pictures from files, as tensors that models and Training read: one, or batches of a table of files and labels.
//
//   Sound sound = read_sound("seven.wav");                       // [channels, frames] at sound.rate frames a second
//   Tensor photo = read_image("cat.jpg");                        // [3, height, width]
//
//   LabelledFiles train("digits.tsv", {.label = "digit", .part_column = "split", .part = "train"});
//   const std::vector<int64_t> frames = train.frames();
//   for (int64_t epoch = 0; epoch < epochs; ++epoch) {
//     for (const std::vector<int64_t>& rows : batches_by_length(frames, {.rows = 32, .seed = 1}, epoch)) {
//       const SoundBatch batch = train.sounds(rows);             // batch.samples: [32, channels, longest]
//
// Functions may be called from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

struct Sound {
  Tensor samples{};  ///< f32 [channels, frames], from −1 to 1
  int64_t rate = 0;  ///< frames a second
};

/// Frames [begin, begin + count) of a file in any format libsndfile reads (WAV, AIFF, FLAC, Ogg …), to its end where count is negative; nothing else of the
/// file is decoded. Whole numbers become numbers from −1 to 1. A WAV file that was cut off is read as far as it goes, as libsndfile does.
/// Throws kNotFound, kFormat for what is no sound, kInvalidArgument for frames the file has not, kBudget for more than 2³¹ samples.
Sound read_sound(const std::string& path, int64_t begin = 0, int64_t count = -1);

/// f32 [channels, height, width], from 0 to 1, of a PNG or JPEG file, told by its first bytes: 1 channel where it is grey, else 3 (sRGB). Opacity is dropped,
/// 16 bits become 8. Throws kNotFound or kIo, kFormat for other files and damaged ones, kBudget for more than 2²⁸ pixels.
Tensor read_image(const std::string& path);

/// Which columns of a table are read, by their names in its first line.
struct LabelledColumns {
  std::string file = "file";    ///< a path, from the table's folder on
  std::string label = "label";  ///< any text
  std::string part_column{};    ///< says which part of the data a row belongs to; empty: all rows are read
  std::string part{};           ///< the part that is read
};

/// A row of a table.
struct LabelledFile {
  std::string path{};
  int32_t label = 0;  ///< of LabelledFiles::labels()
  int64_t line = 0;   ///< of the table, the first is 1
};

struct SoundBatch {
  Tensor samples{};                ///< f32 [rows, channels, longest]; zeros past a row's end
  std::vector<int64_t> lengths{};  ///< [rows], frames
  std::vector<int32_t> labels{};   ///< [rows]
  int64_t rate = 0;                ///< frames a second
};
struct PictureBatch {
  Tensor pixels{};                ///< f32 [rows, channels, height, width], from 0 to 1
  std::vector<int32_t> labels{};  ///< [rows]
};

/// Files and their labels, listed by a table: a row a line, a tab between cells, no quotes; the first line names the columns.
///
///   file            digit   split
///   zero/anna.wav   0       train
///
/// Labels are numbered in the order of their names' bytes, over all parts. Files are read when a batch asks for them and not kept. Errors name the table, the
/// line and the column.
class LabelledFiles {
 public:
  /// Reads the table alone. Throws kNotFound, kInvalidArgument for a column or a part the table has not, naming those it has, kFormat for a line with more or
  /// fewer cells than the first, a column that is there twice, an empty path or label.
  explicit LabelledFiles(const std::string& table, const LabelledColumns& columns = {});

  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  const std::vector<LabelledFile>& rows() const { return rows_; }     ///< of the part, in the table's order
  const std::vector<std::string>& labels() const { return labels_; }  ///< of all parts

  /// The length of each row's sound in frames, from the files' headers: nothing is decoded. Throws as sounds().
  std::vector<int64_t> frames() const;
  /// These rows as one batch; a row may come again. Throws as read_sound for a file that cannot be read, kShape for sounds of several rates or numbers of
  /// channels, kBudget for more than 2³¹ samples with padding, kInvalidArgument for rows that are not there and for none.
  SoundBatch sounds(const std::vector<int64_t>& rows) const;
  /// The same of pictures. Throws as read_image, kShape for pictures of several sizes or numbers of channels, and as sounds().
  PictureBatch pictures(const std::vector<int64_t>& rows) const;

 private:
  std::string where(int64_t row) const;
  void check(const std::vector<int64_t>& rows) const;
  std::string table_, column_;
  std::vector<LabelledFile> rows_{};
  std::vector<std::string> labels_{};
};

/// What bounds a batch, and what its order follows from.
struct BatchOrder {
  int64_t rows = 32;   ///< at most
  int64_t frames = 0;  ///< at most, padding counted: rows times the longest; 0: any number
  uint64_t seed = 1;
};
/// The batches of an epoch: each of the rows 0 … lengths.size() − 1 once, those of about one length together, in an order that follows from the seed and the
/// epoch alone. Lengths that differ by a tenth or so count as equal: such rows are shuffled, and so are the batches.
/// Throws kInvalidArgument for bounds below 1 row or 0 frames, negative lengths, and a row longer than `frames`.
std::vector<std::vector<int64_t>> batches_by_length(const std::vector<int64_t>& lengths, const BatchOrder& order, int64_t epoch);
/// The same of rows 0 … count − 1 that have one length, such as pictures. `frames` stays 0.
std::vector<std::vector<int64_t>> shuffled_batches(int64_t count, const BatchOrder& order, int64_t epoch);

}  // namespace clearhead
