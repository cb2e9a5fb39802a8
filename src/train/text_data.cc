#include "train/text_data.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace clearhead {

std::string byte_tokenizer_json() {
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string spelled;
    text::append_utf8(spelled, text::spelled(static_cast<unsigned char>(byte)));
    vocabulary[spelled] = byte;
  }
  const Json bytes = Json::object({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}});
  return Json::object({{"version", "1.0"},
                       {"truncation", nullptr},
                       {"padding", nullptr},
                       {"added_tokens", Json::array()},
                       {"normalizer", nullptr},
                       {"pre_tokenizer", bytes},
                       {"post_processor", nullptr},
                       {"decoder", bytes},
                       {"model", Json::object({{"type", "BPE"},
                                               {"dropout", nullptr},
                                               {"unk_token", nullptr},
                                               {"continuing_subword_prefix", nullptr},
                                               {"end_of_word_suffix", nullptr},
                                               {"fuse_unk", false},
                                               {"byte_fallback", false},
                                               {"vocab", vocabulary},
                                               {"merges", Json::array()}})}})
      .dump();
}

TextData::TextData(const std::string& folder, const std::vector<std::string>& files, const std::string& origin, const Tokenizer& tokenizer,
                   double from, double to) {
  for (const std::string& name : files) {
    const std::string path = folder + "/" + name;
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
      fail(ErrorCode::kNotFound, "{}: there is no such file; give the folder that holds it with data=DIR{}", path,
           origin.empty() ? "" : ". " + origin);
    }
    const std::string text = read_file(path);
    const auto cut = [&](double share) {
      const size_t at = static_cast<size_t>(share * static_cast<double>(text.size()));
      if (at == 0 || at >= text.size()) return std::min(at, text.size());
      const size_t line = text.find('\n', at);
      return line == std::string::npos ? text.size() : line + 1;
    };
    const size_t begin = cut(from), end = std::max(begin, cut(to));
    const Encoding encoded = tokenizer.encode(std::string_view(text).substr(begin, end - begin), {.add_special_tokens = false});
    ids_.insert(ids_.end(), encoded.ids.begin(), encoded.ids.end());
    bytes_ += static_cast<int64_t>(end - begin);
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
