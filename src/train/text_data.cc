#include "train/text_data.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "base/file.h"
#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"

namespace clearhead {

std::vector<std::string> read_parts(const std::string& folder, const std::vector<std::string>& files, const std::string& origin,
                                    double from, double to) {
  std::vector<std::string> parts;
  for (const std::string& name : files) {
    const std::string path = folder + "/" + name;
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
      fail(ErrorCode::kNotFound, "{}: there is no such file; give the folder that holds it with data=DIR{}", path,
           origin.empty() ? "" : ". " + origin);
    }
    std::string text = read_file(path);
    const auto cut = [&](double share) {
      const size_t at = static_cast<size_t>(share * static_cast<double>(text.size()));
      if (at == 0 || at >= text.size()) return std::min(at, text.size());
      const size_t line = text.find('\n', at);
      return line == std::string::npos ? text.size() : line + 1;
    };
    const size_t begin = cut(from), end = std::max(begin, cut(to));
    text.erase(end);
    text.erase(0, begin);
    parts.push_back(std::move(text));
  }
  return parts;
}

TextData::TextData(const std::vector<std::string>& texts, const Tokenizer& tokenizer) {
  for (const std::string& text : texts) {
    const Encoding encoded = tokenizer.encode(text, {.add_special_tokens = false});
    ids_.insert(ids_.end(), encoded.ids.begin(), encoded.ids.end());
    bytes_ += static_cast<int64_t>(text.size());
  }
}

void TextData::append(Batch& to, int64_t begin, int64_t length) const {
  to.ids.insert(to.ids.end(), ids_.begin() + begin, ids_.begin() + begin + length);
  to.targets.insert(to.targets.end(), ids_.begin() + begin + 1, ids_.begin() + begin + 1 + length);
}

TextData::Batch TextData::shuffled(uint64_t seed, int64_t first, int64_t rows, int64_t length) const {
  const int64_t windows = (tokens() - 1) / length;
  if (windows < 1) fail(ErrorCode::kInvalidArgument, "the text has {} tokens; a window takes {}", tokens(), length + 1);
  Batch out;
  for (int64_t at = first; at < first + rows; ++at) {
    const int64_t epoch = at / windows, spare = tokens() - 1 - windows * length;
    if (epoch != epoch_ || seed != ordered_seed_ || length != ordered_length_) {
      order_.resize(static_cast<size_t>(windows));
      std::iota(order_.begin(), order_.end(), int64_t{0});
      RandomSequence(random_bits(seed, static_cast<uint64_t>(epoch))).shuffle(order_);
      epoch_ = epoch;
      ordered_seed_ = seed;
      ordered_length_ = length;
    }
    // All windows of an epoch move together by up to a window, the last one back into the text.
    const int64_t shift = static_cast<int64_t>(random_bits(~seed, static_cast<uint64_t>(epoch)) % static_cast<uint64_t>(length));
    const int64_t begin = order_[static_cast<size_t>(at % windows)] * length + shift;
    append(out, std::min(begin, windows * length + spare - length), length);
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

}  // namespace clearhead
