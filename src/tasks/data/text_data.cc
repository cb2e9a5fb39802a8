// Joins the texts of a data split to one sequence of tokens, selects windows by (seed, number), and repeats passages inside windows.
#include "tasks/data/text_data.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <numeric>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/format.h"
#include "base/random.h"
#include "base/table.h"
#include "base/text_file.h"
#include "clearhead/error.h"
#include "tasks/data/json_lines.h"
#include "text/encode_parts.h"

namespace clearhead::tasks {

namespace {

// Returns true if a setting on the command line named this file. "qa{1..3}.txt" names several (tasks/babi.h).
bool is_given(const TextSource& source, const std::string& name) {
  return std::any_of(source.given_files.begin(), source.given_files.end(), [&](const std::string& given) {
    const size_t brace = given.find('{');
    return given == name || (brace != std::string::npos && name.starts_with(given.substr(0, brace)));
  });
}

}  // namespace

std::string existing_path(const TextSource& source, const std::string& name) {
  std::string path = source.folder + "/" + name;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    fail(ErrorCode::kNotFound, "{}: there is no such file; give the folder that holds it with data=DIR{}", path,
         source.origin.empty() || is_given(source, name) ? "" : ". " + source.origin);
  }
  return path;
}

std::shared_ptr<MappedFile> open_source(const TextSource& source, const std::string& name) {
  return MappedFile::open(existing_path(source, name));
}

SourceText open_text(const TextSource& source, const std::string& name) {
  std::shared_ptr<MappedFile> file = open_source(source, name);
  const std::string_view text = utf8_text(file->bytes(), file->path());
  return {std::move(file), text};
}

namespace {

// Byte range [begin, end) of this split in every file.
std::map<std::string, std::pair<size_t, size_t>> read_splits(const TextSource& source, Part part) {
  const std::string where = source.folder + "/" + source.splits;
  std::map<std::string, std::pair<size_t, size_t>> out;
  const SourceText table = open_text(source, source.splits);
  for_each_line(table.text, [&](std::string_view line, int64_t number) {
    if (number == 1) return;  // headings
    const std::vector<std::string_view> cells = cells_of(line);
    const auto wrong = [&] {
      fail(ErrorCode::kFormat, "{}, line {}: expected a file name and six byte positions, separated by tabs, found \"{}\"", where, number,
           line);
    };
    if (cells.size() != 7) wrong();
    const auto position = [&](size_t at) {
      size_t value = 0;
      const std::string_view cell = cells[at];
      const auto [end, problem] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
      if (problem != std::errc() || end != cell.data() + cell.size()) wrong();
      return value;
    };
    const size_t first = 1 + 2 * static_cast<size_t>(part);
    out[std::string(cells[0])] = {position(first), position(first + 1)};
  });
  return out;
}

// The byte at which the last `share` of a text begins, moved to the start of a line.
size_t begin_of_last(std::string_view text, double share) {
  const size_t at = static_cast<size_t>((1 - share) * static_cast<double>(text.size()));
  if (at == 0 || at >= text.size()) return std::min(at, text.size());
  const size_t line = text.find('\n', at);
  return line == std::string_view::npos ? text.size() : line + 1;
}

}  // namespace

std::vector<std::string> read_part(const TextSource& source, Part part) {
  const auto splits = source.splits.empty() ? std::map<std::string, std::pair<size_t, size_t>>() : read_splits(source, part);
  std::vector<std::string> parts;
  for (const std::string& name : source.files) {
    const SourceText file = open_text(source, name);
    const std::string_view text = file.text;
    const size_t mark = file.file->size() - text.size();  // splits count the bytes of the file
    size_t begin = 0, end = text.size();
    if (!source.splits.empty()) {
      const auto found = splits.find(name);
      if (found == splits.end() || found->second.first > found->second.second || found->second.second > file.file->size()) {
        fail(ErrorCode::kFormat, "{}/{}: \"{}\" ({} bytes) {}", source.folder, source.splits, name, file.file->size(),
             found == splits.end() ? "has no line" : "has positions outside the file");
      }
      std::tie(begin, end) = std::pair(std::max(mark, found->second.first) - mark, std::max(mark, found->second.second) - mark);
    } else {
      const size_t held = begin_of_last(text, source.held_out);
      if (part == Part::kTrain) end = held;
      if (part == Part::kValid) begin = held;
      if (part == Part::kTest) begin = end;
    }
    if (is_json_lines(name)) {
      std::string& lines = parts.emplace_back();
      for_each_json_line(text, file.path(), source.fields, {begin, end},
                         [&](const std::vector<std::string>& texts) { lines += texts[0] + "\n"; });
    } else {
      parts.emplace_back(text.substr(begin, end - begin));
    }
  }
  return parts;
}

TextData::TextData(const std::vector<std::string>& texts, const Tokenizer& tokenizer) {
  constexpr size_t kWindow = size_t{1} << 18, kOverlap = size_t{1} << 14;  // bytes that are encoded in one call
  for (const std::string& text : texts) bytes_ += static_cast<int64_t>(text.size());
  ids_.reserve(static_cast<size_t>(bytes_));  // nearly every token has at least one byte, and pages that are never written use no memory
  for (const std::string& text : texts) {
    text::encode_parts(
        tokenizer, text, false, [&](const Encoding& part) { ids_.insert(ids_.end(), part.ids.begin(), part.ids.end()); }, kWindow,
        kOverlap);
  }
}

void TextData::append(Batch& to, int64_t begin, int64_t length) const {
  to.ids.insert(to.ids.end(), ids_.begin() + begin, ids_.begin() + begin + length);
  to.targets.insert(to.targets.end(), ids_.begin() + begin + 1, ids_.begin() + begin + 1 + length);
}

// Repeats a passage inside the window that was appended last (length + 1 tokens): tokens [at, at + count) are copied to `again`.
void TextData::repeat(Batch& in, const Order& order, int64_t window) const {
  RandomSequence random(random_bits(random_bits(order.seed, 0x726570656174ULL), static_cast<uint64_t>(window)));
  const Repeats& repeats = order.repeats;
  const int64_t all = order.length + 1, longest = std::min(repeats.longest, order.length / 2);
  const auto happens = [&](double share) { return static_cast<double>(random.roll(1 << 20)) < share * (1 << 20); };
  if (longest < repeats.shortest || !happens(repeats.probability)) return;
  const auto between = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random.roll(static_cast<size_t>(high - low + 1)));
  };
  const int64_t count = between(repeats.shortest, longest), at = between(0, all - 2 * count), last = all - count;
  const int64_t furthest = repeats.max_distance > 0 ? std::min(last, at + std::max(count, repeats.max_distance)) : last;
  const int64_t again = repeats.repeat_to_end ? at + count : between(at + count, furthest);
  const bool is_random = !happens(1 - repeats.random);
  std::vector<int32_t> tokens(in.ids.end() - order.length, in.ids.end());
  tokens.push_back(in.targets.back());
  for (int64_t i = 0; i < count && is_random; ++i) tokens[static_cast<size_t>(at + i)] = ids_[random.roll(ids_.size())];
  for (int64_t i = again; i < (repeats.repeat_to_end ? all : again + count); ++i)
    tokens[static_cast<size_t>(i)] = tokens[static_cast<size_t>(at + (i - again) % count)];
  std::copy(tokens.begin(), tokens.end() - 1, in.ids.end() - order.length);
  std::copy(tokens.begin() + 1, tokens.end(), in.targets.end() - order.length);
  const auto hide = [&](int64_t token) {
    if (token > 0) in.targets[in.targets.size() - static_cast<size_t>(order.length - token + 1)] = -100;
  };
  for (int64_t i = 0; i < count && is_random; ++i) hide(at + i);
  hide(again);  // the start of the copy cannot be predicted
}

TextData::Batch TextData::shuffled(const Order& order, int64_t first, int64_t rows) const {
  const int64_t length = order.length, windows = (tokens() - 1) / length;
  if (windows < 1)
    fail(ErrorCode::kInvalidArgument,
         "the training text has {} tokens, but one window needs {} (\"length\", and the target of its last token); give a longer text or a "
         "smaller \"length\"",
         tokens(), length + 1);
  Batch out;
  for (int64_t at = first; at < first + rows; ++at) {
    const int64_t epoch = at / windows, spare = tokens() - 1 - windows * length;
    if (epoch != epoch_ || order.seed != ordered_seed_ || length != ordered_length_) {
      order_.resize(static_cast<size_t>(windows));
      std::iota(order_.begin(), order_.end(), int64_t{0});
      RandomSequence(random_bits(order.seed, static_cast<uint64_t>(epoch))).shuffle(order_);
      epoch_ = epoch;
      ordered_seed_ = order.seed;
      ordered_length_ = length;
    }
    // All windows of an epoch are shifted by the same random offset, less than one window; the last one is moved back into the text.
    const int64_t shift = static_cast<int64_t>(random_bits(~order.seed, static_cast<uint64_t>(epoch)) % static_cast<uint64_t>(length));
    const int64_t begin = order_[static_cast<size_t>(at % windows)] * length + shift;
    append(out, std::min(begin, windows * length + spare - length), length);
    if (order.repeats.probability > 0) repeat(out, order, at);
  }
  return out;
}

std::vector<TextData::Batch> TextData::in_order(int64_t length, int64_t most) const {
  std::vector<Batch> out;
  for (int64_t begin = 0; begin + length < tokens() && static_cast<int64_t>(out.size()) < most; begin += length) {
    out.emplace_back();
    append(out.back(), begin, length);
  }
  return out;
}

}  // namespace clearhead::tasks
