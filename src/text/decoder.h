// Tokens back to text. "decoder" of tokenizer.json: a chain of steps over token strings, which are joined at the end; null joins with
// blanks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace clearhead::text {

class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::vector<std::string> apply(std::vector<std::string> tokens) const = 0;
  /// The bytes one token adds to the text, if they depend only on whether it is the first. They may end inside a character.
  virtual std::optional<std::string> contribution(std::string_view token, bool is_first) const;
  /// The bytes the token stands for by itself.
  virtual std::string bytes(std::string_view token) const;
};

std::unique_ptr<Decoder> make_wordpiece_decoder(std::string prefix, bool cleans_up);
std::unique_ptr<Decoder> make_byte_level_decoder();

/// Null for null.
std::unique_ptr<Decoder> read_decoder(const Json& json, std::string_view where, std::string_view path);

}  // namespace clearhead::text
