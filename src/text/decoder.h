// From tokens back to text: the "decoder" of tokenizer.json, a chain of steps on token strings, which are concatenated
// at the end. Without a decoder, tokens are joined with spaces.
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
  /// The bytes that a token adds to the text, if they depend only on whether it is the first. They may end
  /// inside a character.
  virtual std::optional<std::string> contribution(std::string_view token, bool is_first) const;
  /// The bytes of the token on its own.
  virtual std::string bytes(std::string_view token) const;
};

std::unique_ptr<Decoder> make_wordpiece_decoder(std::string prefix, bool cleans_up);
std::unique_ptr<Decoder> make_byte_level_decoder();

/// Returns null for null.
std::unique_ptr<Decoder> read_decoder(const Json& json, std::string_view where, std::string_view path);

}  // namespace clearhead::text
