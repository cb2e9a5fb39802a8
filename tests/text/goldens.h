// Reads the files of tools/goldens/tokenizer_goldens.py, which documents their format.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "clearhead/tokenizer.h"

namespace clearhead::text {

inline std::string golden_path(const std::string& name) { return std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/tokenizers/" + name; }

class Packed {
 public:
  explicit Packed(std::string bytes) : bytes_(std::move(bytes)) {}
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const unsigned char byte = static_cast<unsigned char>(bytes_.at(at_++));
      value |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
  }
  std::string text() {
    const size_t length = varint();
    std::string out = bytes_.substr(at_, length);
    at_ += length;
    return out;
  }
  Encoding encoding() {
    Encoding out;
    const size_t count = varint();
    int64_t previous = 0;
    for (size_t i = 0; i < count; ++i) {
      out.ids.push_back(static_cast<int32_t>(varint()));
      const uint64_t kind = varint();
      out.type_ids.push_back(static_cast<int32_t>(kind / 4));
      out.segment.push_back(kind % 4 == 3 ? Encoding::kSpecial : static_cast<uint8_t>(kind % 4));
      const uint64_t zigzag = varint();
      const int64_t begin = previous + (zigzag % 2 ? -static_cast<int64_t>(zigzag / 2) - 1 : static_cast<int64_t>(zigzag / 2));
      previous = begin + static_cast<int64_t>(varint());
      out.offsets.push_back({begin, previous});
    }
    return out;
  }
  bool is_at_end() const { return at_ == bytes_.size(); }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

inline std::string packed(const Encoding& encoding) {
  std::string out;
  const auto put = [&](uint64_t value) {
    for (; value >= 128; value >>= 7) out.push_back(static_cast<char>((value & 127) | 128));
    out.push_back(static_cast<char>(value));
  };
  put(encoding.size());
  int64_t previous = 0;
  for (size_t i = 0; i < encoding.size(); ++i) {
    const auto [begin, end] = encoding.offsets[i];
    put(static_cast<uint64_t>(encoding.ids[i]));
    put(static_cast<uint64_t>(encoding.type_ids[i]) * 4 + (encoding.is_special(i) ? 3 : encoding.segment[i]));
    const int64_t step = begin - previous;
    put(step >= 0 ? 2 * static_cast<uint64_t>(step) : 2 * static_cast<uint64_t>(-step) - 1);
    put(static_cast<uint64_t>(end - begin));
    previous = end;
  }
  return out;
}

inline const std::vector<std::string>& golden_lines() {
  static const std::vector<std::string> lines = [] {
    Packed packed(read_file(golden_path("lines.bin")));
    std::vector<std::string> out(packed.varint());
    for (std::string& line : out) line = packed.text();
    EXPECT_GE(out.size(), 2000U);
    return out;
  }();
  return lines;
}

inline std::string shown(const Encoding& encoding, const Tokenizer& tokenizer) {
  std::string out;
  for (size_t i = 0; i < encoding.size(); ++i) {
    out += std::string(tokenizer.token(encoding.ids[i])) + "/" + std::to_string(encoding.ids[i]) + "[" +
           std::to_string(encoding.offsets[i][0]) + "," + std::to_string(encoding.offsets[i][1]) + ")t" +
           std::to_string(encoding.type_ids[i]) + "s" + std::to_string(encoding.segment[i]) + " ";
  }
  return out;
}

inline bool equal(const Encoding& a, const Encoding& b) {
  return a.ids == b.ids && a.type_ids == b.type_ids && a.offsets == b.offsets && a.segment == b.segment;
}

/// Compares every encoding of NAME.golden and prints the first few that differ.
inline void expect_goldens(const Tokenizer& tokenizer, const std::string& name) {
  const std::vector<std::string>& lines = golden_lines();
  Packed golden(read_file(golden_path(name + ".golden")));
  int wrong = 0;
  const auto compare = [&](size_t i, const Encoding& found) {
    const Encoding expected = golden.encoding();
    if (equal(found, expected)) return;
    if (++wrong <= 5)
      ADD_FAILURE() << "line " << i << " \"" << lines[i] << "\"\nexpected " << shown(expected, tokenizer) << "\nfound    "
                    << shown(found, tokenizer);
  };
  for (size_t i = 0; i < lines.size(); ++i) compare(i, tokenizer.encode(lines[i]));
  for (size_t i = 0; i + 1 < lines.size(); i += 8) compare(i, tokenizer.encode(lines[i], {.pair = lines[i + 1]}));
  for (size_t i = 0; i + 1 < lines.size(); i += 16) compare(i, tokenizer.encode(lines[i], {.add_special_tokens = false}));
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(golden.is_at_end());
}

}  // namespace clearhead::text
