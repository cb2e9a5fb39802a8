// Tables of labelled files, and batches of their rows.
//
// The order of an epoch: rows are shuffled, then sorted stably by length bucket; the upper limit of each bucket is about a tenth
// above that of the bucket before. Consecutive rows form batches, and the batches are shuffled. So padding adds less than a tenth
// to most rows, and rows are grouped differently in every epoch. Only integers are used, so the order is the same on every machine.
#include "io/labelled.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/file.h"
#include "base/format.h"
#include "base/random.h"
#include "base/table.h"
#include "base/text_file.h"
#include "clearhead/error.h"
#include "io/image.h"
#include "io/sound.h"

namespace clearhead::io {
namespace {

// Joins names for messages: "a", "b", "c". At most 20 are listed.
template <class Names>
std::string quoted(const Names& names) {
  constexpr size_t kMost = 20;
  std::string out;
  size_t count = 0;
  for (const auto& name : names) {
    if (++count > kMost) return out + format(" and {} more", names.size() - kMost);
    out += format("{}\"{}\"", count == 1 ? "" : ", ", name);
  }
  return out;
}

size_t find_column(const std::vector<std::string_view>& names, const std::string& column, const std::string& where) {
  const auto found = std::find(names.begin(), names.end(), column);
  if (found == names.end())
    fail(ErrorCode::kInvalidArgument, "{}, line 1: no column \"{}\"; the columns are {}", where, column, quoted(names));
  if (std::find(found + 1, names.end(), column) != names.end())
    fail(ErrorCode::kFormat, "{}, line 1: two columns are named \"{}\"", where, column);
  return static_cast<size_t>(found - names.begin());
}

struct Columns {
  size_t count = 0, file = 0, label = 0, part = 0;
  bool parted = false;
};

Columns columns_of(const std::vector<std::string_view>& names, const LabelledColumns& wanted, const std::string& where) {
  Columns out{names.size(), find_column(names, wanted.file, where), find_column(names, wanted.label, where), 0,
              !wanted.part_column.empty()};
  if (out.parted) out.part = find_column(names, wanted.part_column, where);
  return out;
}

}  // namespace

std::vector<LabelledFile> labelled_files_from(std::string_view table, const std::string& where, const std::string& folder,
                                              const LabelledColumns& columns, std::vector<std::string>& labels) {
  if (columns.part_column.empty() && !columns.part.empty()) {
    fail(ErrorCode::kInvalidArgument, "{}: part \"{}\" was given without part_column, the name of its column", where, columns.part);
  }
  Columns at;
  std::vector<LabelledFile> out;
  std::map<std::string, int32_t, std::less<>> numbers;
  std::vector<std::map<std::string, int32_t, std::less<>>::iterator> labels_of_rows;
  std::set<std::string, std::less<>> parts;
  for_each_row(table, where, [&](const TableRow& row) {
    const std::vector<std::string_view>& cells = row.cells;
    const int64_t number = row.line;
    if (number == 1) {
      at = columns_of(cells, columns, where);
      return;
    }
    if (cells.size() != at.count) {
      fail(ErrorCode::kFormat, "{}, line {}: expected {} cells separated by {}, as in the first line, found {}", where, number, at.count,
           separators_of(where), cells.size());
    }
    const auto filled = [&](size_t column, const std::string& name) {
      if (cells[column].empty()) fail(ErrorCode::kFormat, "{}, line {}, column \"{}\": the cell is empty", where, number, name);
      return std::string(cells[column]);
    };
    const auto label = numbers.try_emplace(filled(at.label, columns.label), 0).first;
    const std::string file = filled(at.file, columns.file);
    if (at.parted && parts.find(cells[at.part]) == parts.end()) parts.emplace(cells[at.part]);
    if (at.parted && cells[at.part] != columns.part) return;
    out.push_back({(std::filesystem::path(folder) / file).string(), 0, number});
    labels_of_rows.push_back(label);
  });
  if (at.count == 0) fail(ErrorCode::kFormat, "{}: the file is empty; expected a header line with column names", where);
  if (numbers.empty()) fail(ErrorCode::kFormat, "{}: there are no rows after the header line", where);
  if (out.empty()) {
    fail(ErrorCode::kInvalidArgument, "{}, column \"{}\": no row has the value \"{}\"; the values are {}", where, columns.part_column,
         columns.part, quoted(parts));
  }
  labels.clear();
  for (auto& [name, number] : numbers) {
    number = static_cast<int32_t>(labels.size());
    labels.push_back(name);
  }
  for (size_t row = 0; row < out.size(); ++row) out[row].label = labels_of_rows[row]->second;
  return out;
}

}  // namespace clearhead::io

namespace clearhead {
namespace {

void read_checked(const std::string& where, const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", where, error.what());
  }
}

void check_budget(int64_t rows, int64_t samples, const std::string& table) {
  if (samples > io::kMostSamples / rows) {
    fail(ErrorCode::kBudget,
         "{}: a batch of {} rows of {} samples (with padding) is too large; expected at most {} samples in total; use fewer rows", table,
         with_commas(rows), with_commas(samples), with_commas(io::kMostSamples));
  }
}

// Reads the headers of sounds for one batch. Throws kShape unless their rates and numbers of channels are equal.
std::vector<io::SoundHeader> sound_headers(const std::vector<LabelledFile>& files, const std::vector<int64_t>& rows,
                                           const std::function<std::string(int64_t)>& where) {
  std::vector<io::SoundHeader> out;
  for (const int64_t row : rows) {
    const LabelledFile& file = files[static_cast<size_t>(row)];
    read_checked(where(row), [&] { out.push_back(io::sound_header(file.path)); });
    const io::SoundHeader &first = out.front(), &header = out.back();
    if (header.rate != first.rate || header.channels != first.channels) {
      fail(ErrorCode::kShape, "{}: {} has {} frames a second (channels: {}), but line {} has {} (channels: {}); convert one of them",
           where(row), file.path, with_commas(header.rate), header.channels, files[static_cast<size_t>(rows.front())].line,
           with_commas(first.rate), first.channels);
    }
  }
  return out;
}

// Returns the bucket of a length. Within a bucket, padding adds less than a tenth.
int64_t step_of(int64_t length) {
  int64_t step = 0;
  for (uint64_t bound = 0; static_cast<uint64_t>(length) > bound; bound += bound / 10 + 1) ++step;
  return step;
}

}  // namespace

LabelledFiles::LabelledFiles(const std::string& table, const LabelledColumns& columns) : table_(table), column_(columns.file) {
  const std::shared_ptr<MappedFile> file = MappedFile::open(table);
  rows_ = io::labelled_files_from(utf8_text(file->bytes(), table), table, std::filesystem::path(table).parent_path().string(), columns,
                                  labels_);
}

std::string LabelledFiles::where(int64_t row) const {
  return format("{}, line {}, column \"{}\"", table_, rows_[static_cast<size_t>(row)].line, column_);
}

void LabelledFiles::check(const std::vector<int64_t>& rows) const {
  if (rows.empty()) fail(ErrorCode::kInvalidArgument, "{}: the batch is empty; expected at least one row", table_);
  for (const int64_t row : rows) {
    if (row < 0 || row >= size())
      fail(ErrorCode::kInvalidArgument, "{}: row {} is out of range; this data set has {} rows", table_, row, size());
  }
}

std::vector<int64_t> LabelledFiles::frames() const {
  std::vector<int64_t> rows(rows_.size()), out;
  std::iota(rows.begin(), rows.end(), int64_t{0});
  for (const io::SoundHeader& header : sound_headers(rows_, rows, [&](int64_t row) { return where(row); })) out.push_back(header.frames);
  return out;
}

SoundBatch LabelledFiles::sounds(const std::vector<int64_t>& rows) const {
  check(rows);
  const std::vector<io::SoundHeader> headers = sound_headers(rows_, rows, [&](int64_t row) { return where(row); });
  const auto by_frames = [](const io::SoundHeader& a, const io::SoundHeader& b) { return a.frames < b.frames; };
  const int64_t count = static_cast<int64_t>(rows.size()), channels = headers.front().channels;
  const int64_t longest = std::max_element(headers.begin(), headers.end(), by_frames)->frames;
  check_budget(count, longest > io::kMostSamples ? longest : longest * channels, table_);
  SoundBatch out{Tensor::zeros({count, channels, longest}), {}, {}, headers.front().rate};
  float* to = out.samples.mutable_data<float>();
  for (size_t at = 0; at < rows.size(); ++at) {
    const LabelledFile& file = rows_[static_cast<size_t>(rows[at])];
    const int64_t frames = headers[at].frames;
    Sound sound;
    read_checked(where(rows[at]), [&] { sound = read_sound(file.path, 0, frames); });
    const float* from = sound.samples.data<float>();
    for (int64_t c = 0; c < channels; ++c, to += longest) std::copy_n(from + c * frames, frames, to);
    out.lengths.push_back(frames);
    out.labels.push_back(file.label);
  }
  return out;
}

PictureBatch LabelledFiles::pictures(const std::vector<int64_t>& rows) const {
  check(rows);
  Shape shape;  // from the headers: nothing is decoded until all sizes are known to be equal
  for (const int64_t row : rows) {
    const std::string& path = rows_[static_cast<size_t>(row)].path;
    Shape is;
    read_checked(where(row), [&] { is = io::image_shape(MappedFile::open(path)->bytes(), path); });
    if (shape.empty()) shape = is;
    if (is != shape) {
      fail(ErrorCode::kShape, "{}: {} has shape {} [channels, height, width], but line {} has {}; convert one of them", where(row), path,
           to_string(is), rows_[static_cast<size_t>(rows.front())].line, to_string(shape));
    }
  }
  const auto count = static_cast<int64_t>(rows.size());
  check_budget(count, shape[0] * shape[1] * shape[2], table_);
  PictureBatch out{.pixels = Tensor::empty({count, shape[0], shape[1], shape[2]})};
  float* to = out.pixels.mutable_data<float>();
  for (const int64_t row : rows) {
    const LabelledFile& file = rows_[static_cast<size_t>(row)];
    Tensor picture;
    read_checked(where(row), [&] { picture = read_image(file.path); });
    to = std::copy_n(picture.data<float>(), picture.numel(), to);
    out.labels.push_back(file.label);
  }
  return out;
}

std::vector<std::vector<int64_t>> batches_by_length(const std::vector<int64_t>& lengths, const BatchOrder& order, int64_t epoch) {
  if (order.rows < 1 || order.frames < 0)
    fail(ErrorCode::kInvalidArgument, "batch order: rows is {} and frames is {}; expected 1 or more rows, and 0 or more frames", order.rows,
         order.frames);
  const int64_t most = order.frames > 0 ? order.frames : std::numeric_limits<int64_t>::max();
  std::vector<int64_t> rows(lengths.size()), steps;
  for (size_t row = 0; row < lengths.size(); ++row) {
    if (lengths[row] < 0 || lengths[row] > most)
      fail(ErrorCode::kInvalidArgument, "row {} has {} frames; expected 0 to {}, the limit of a batch", row, lengths[row], most);
    steps.push_back(step_of(lengths[row]));
  }
  RandomSequence random(random_bits(order.seed, static_cast<uint64_t>(epoch)));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  random.shuffle(rows);
  std::stable_sort(rows.begin(), rows.end(),
                   [&](int64_t a, int64_t b) { return steps[static_cast<size_t>(a)] < steps[static_cast<size_t>(b)]; });
  std::vector<std::vector<int64_t>> out;
  int64_t longest = 0;
  for (const int64_t row : rows) {
    const int64_t length = lengths[static_cast<size_t>(row)], count = out.empty() ? 0 : static_cast<int64_t>(out.back().size());
    longest = std::max(longest, length);
    if (out.empty() || count == order.rows || longest > most / (count + 1)) {
      out.emplace_back();
      longest = length;
    }
    out.back().push_back(row);
  }
  random.shuffle(out);
  return out;
}

std::vector<std::vector<int64_t>> shuffled_batches(int64_t count, const BatchOrder& order, int64_t epoch) {
  if (count < 0 || order.frames != 0) {
    fail(ErrorCode::kInvalidArgument, "shuffled_batches: count is {} and frames is {}; expected a count of 0 or more, and frames = 0",
         count, order.frames);
  }
  return batches_by_length(std::vector<int64_t>(static_cast<size_t>(count), 0), order, epoch);
}

}  // namespace clearhead
