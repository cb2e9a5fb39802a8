// Implemented in src/io.
// Reads sounds and pictures from files, as tensors for models and Training: single files, or batches from a table of
// files and labels.
//
//   Sound sound = read_sound("seven.wav");                       // [channels, frames] at sound.rate frames per second
//   Tensor photo = read_image("cat.jpg");                        // [3, height, width]
//
//   LabelledFiles train("digits.tsv", {.label = "digit", .part_column = "split", .part = "train"});
//   const std::vector<int64_t> frames = train.frames();
//   for (int64_t epoch = 0; epoch < epochs; ++epoch) {
//     for (const std::vector<int64_t>& rows : batches_by_length(frames, {.rows = 32, .seed = 1}, epoch)) {
//       const SoundBatch batch = train.sounds(rows);             // batch.samples: [32, channels, longest]
//
// All functions are thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

struct Sound {
  Tensor samples{};  ///< f32 [channels, frames], from −1 to 1
  int64_t rate = 0;  ///< frames per second
};

/// Reads frames [begin, begin + count) of a sound file, or all frames from `begin` if count is negative. Only these
/// frames are decoded. Supports every format of libsndfile (WAV, AIFF, FLAC, Ogg …). Integer samples are scaled to
/// −1 … 1. A truncated WAV file is read as far as possible, as in libsndfile.
/// Throws kNotFound, kFormat if the file is not a sound, is damaged, or has a sample that is NaN or infinite,
/// kInvalidArgument for frames outside the file, kBudget for more than 2³¹ samples.
Sound read_sound(const std::string& path, int64_t begin = 0, int64_t count = -1);

/// Frames and filters of log_mel(). The defaults are Whisper's (Radford et al. 2023, §2.2).
struct LogMelOptions {
  int64_t rate = 16000;  ///< samples per second of the sound
  int64_t window = 400;  ///< samples of a frame, under a Hann window; also the length of its Fourier transform
  int64_t hop = 160;     ///< samples from one frame to the next
  int64_t mels = 80;     ///< number of filters
  double lowest = 0;     ///< start of the first filter in Hz
  double highest = 0;    ///< end of the last filter in Hz; 0: half the rate
  double floor = 1e-10;  ///< lower bound of an energy before the logarithm
};
/// Triangular filters over the bins of a Fourier transform: evenly spaced in mel, each with area 1 over Hz (Slaney
/// 1998, Auditory Toolbox: linear below 1 kHz, then logarithmic). Equal to librosa.filters.mel().
/// → f32 [mels, window / 2 + 1]. Throws kInvalidArgument for options out of range.
Tensor mel_filters(const LogMelOptions& options = {});
/// The log-mel spectrogram of a sound: log10 of its energies in mel filters.
///   x_tn = Hann(n)·sound(t·hop + n − window/2)      X_tk = Σ_n x_tn e^(−2πi·kn/window)      log10 max(floor, Σ_k filter_mk |X_tk|²)
/// Frame t is centred at sample t·hop; the sound is reflected at its ends. Channels are averaged.
/// → f32 [max(1, samples / hop), mels]
/// Throws kInvalidArgument for an empty sound, a sound with another rate (sounds are not resampled), samples that are not
/// finite, and options out of range.
Tensor log_mel(const Sound& sound, const LogMelOptions& options = {});

/// Reads a PNG or JPEG file (recognised by its first bytes) as f32 [channels, height, width] in 0 … 1. Grey pictures
/// have 1 channel, all others 3 (sRGB). The alpha channel is dropped; 16-bit samples are reduced to 8 bits.
/// Throws kNotFound or kIo, kFormat for other formats and damaged files, kBudget for more than 2²⁶ pixels. The number of
/// pixels is read from the file's header, before anything is decoded.
Tensor read_image(const std::string& path);
/// The same for a picture that must have this size, [channels, height, width]. A grey picture is repeated in all
/// channels. The size is checked in the file's header before anything is decoded. Throws as read_image, and kShape for
/// another size.
Tensor read_image(const std::string& path, const Shape& size);

/// Filters that compute the pixels of a resized picture, named as in PIL and torchvision. Both average the pixels that a smaller
/// picture merges (antialiasing); in a larger picture, bilinear interpolates and box repeats pixels.
enum class Resampling : uint8_t { kBilinear, kBox };
/// Resizes a picture, f32 [channels, height, width], to height × width pixels. The values are those of PIL's Image.resize in
/// mode "F" and of torchvision's resize(…, antialias=True). Throws kInvalidArgument for an empty picture or size.
Tensor resize_image(const Tensor& image, int64_t height, int64_t width, Resampling how = Resampling::kBilinear);
/// The same without distortion: the largest picture of the same aspect ratio that fits, in the middle of a black one. Equal to
/// PIL's ImageOps.pad in mode "F".
Tensor fit_image(const Tensor& image, int64_t height, int64_t width, Resampling how = Resampling::kBilinear);

/// The columns of a table to read, by their names in its first line.
struct LabelledColumns {
  std::string file = "file";    ///< path of the file, relative to the table's folder
  std::string label = "label";  ///< the label; any text
  std::string part_column{};    ///< column with the split of a row; empty: all rows are read
  std::string part{};           ///< the split to read; kInvalidArgument without part_column
};

/// One row of the table.
struct LabelledFile {
  std::string path{};
  int32_t label = 0;  ///< index into LabelledFiles::labels()
  int64_t line = 0;   ///< line of the table, counted from 1
};

struct SoundBatch {
  Tensor samples{};                ///< f32 [rows, channels, longest]; zeros after the end of a row
  std::vector<int64_t> lengths{};  ///< [rows], in frames
  std::vector<int32_t> labels{};   ///< [rows]
  int64_t rate = 0;                ///< frames per second
};
struct PictureBatch {
  Tensor pixels{};                ///< f32 [rows, channels, height, width], from 0 to 1
  std::vector<int32_t> labels{};  ///< [rows]
};

/// A table of files and labels. One row per line, cells separated by tabs, no quotes. The first line names the columns.
///
///   file            digit   split
///   zero/anna.wav   0       train
///
/// Labels are numbered in byte order of their names, over all splits of the table. A file is read when a batch needs it,
/// and is not kept in memory. Error messages name the table, the line and the column.
class LabelledFiles {
 public:
  /// Reads the table only. Throws kNotFound; kInvalidArgument for a column or a split that the table does not have (the
  /// message lists the existing ones); kFormat for a table without rows, a line with more or fewer cells than the first,
  /// a repeated column name, or an empty path or label.
  explicit LabelledFiles(const std::string& table, const LabelledColumns& columns = {});

  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  const std::vector<LabelledFile>& rows() const { return rows_; }     ///< rows of the chosen split, in the table's order
  const std::vector<std::string>& labels() const { return labels_; }  ///< label names of all splits

  /// Number of frames of each row's sound, read from the file headers; nothing is decoded. Throws as sounds().
  std::vector<int64_t> frames() const;
  /// Reads these rows as one batch; a row may be repeated.
  /// Throws as read_sound for a file that cannot be read, kShape if sample rates or numbers of channels differ, kBudget
  /// for more than 2³¹ samples with padding, kInvalidArgument for rows out of range or an empty list.
  SoundBatch sounds(const std::vector<int64_t>& rows) const;
  /// The same for pictures. Throws as read_image, kShape if sizes or numbers of channels differ; otherwise as sounds().
  PictureBatch pictures(const std::vector<int64_t>& rows) const;

 private:
  std::string where(int64_t row) const;
  void check(const std::vector<int64_t>& rows) const;
  std::string table_, column_;
  std::vector<LabelledFile> rows_{};
  std::vector<std::string> labels_{};
};

/// Limits of a batch, and the seed of the order.
struct BatchOrder {
  int64_t rows = 32;   ///< maximum number of rows
  int64_t frames = 0;  ///< maximum number of frames with padding, that is rows times the longest; 0: no limit
  uint64_t seed = 1;
};
/// The batches of one epoch. Each row 0 … lengths.size() − 1 appears once. Rows of similar length share a batch, which
/// saves padding: lengths within about a tenth count as equal, rows of equal length are shuffled, and so are the
/// batches. The order depends only on the seed and the epoch.
/// Throws kInvalidArgument for limits below 1 row or 0 frames, negative lengths, or a row longer than `frames`.
std::vector<std::vector<int64_t>> batches_by_length(const std::vector<int64_t>& lengths, const BatchOrder& order, int64_t epoch);
/// The same for rows 0 … count − 1 of equal length, such as pictures. `frames` must be 0 (kInvalidArgument).
std::vector<std::vector<int64_t>> shuffled_batches(int64_t count, const BatchOrder& order, int64_t epoch);

}  // namespace clearhead
