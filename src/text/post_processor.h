// The last step of encoding: offsets lose the blanks around a word where the file says so, and the template's special tokens are put in.
// "post_processor" of tokenizer.json as a list of steps: Trim, ZeroTypes, Template.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace clearhead::text {

/// Tokens of one text before and while they are processed.
struct Part {
  static constexpr uint8_t kInserted = 255;
  struct Token {
    int32_t id = 0;
    int64_t begin = 0, end = 0;                    // bytes of the text
    uint32_t blanks_before = 0, blanks_after = 0;  // characters of white space the token's own spelling begins and ends with
  };
  std::string_view text{};
  std::vector<Token> tokens{};
  uint8_t segment = 0;  // 0, 1, or kInserted
  int32_t type_id = 0;
};

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  /// One or two parts become the parts of the result, in order.
  virtual void apply(std::vector<Part>& parts, bool adds_special) const = 0;
  /// Whether offsets depend on the blanks of tokens.
  virtual bool trims() const { return false; }
};

struct TemplatePiece {
  int sequence = -1;  // 0: the text, 1: the pair, −1: tokens
  std::vector<int32_t> tokens{};
  int32_t type_id = 0;
};
std::unique_ptr<PostProcessor> make_template(std::vector<TemplatePiece> single, std::vector<TemplatePiece> pair);
/// RoBERTa: <s> A </s></s> B </s>, every type 0, offsets trimmed if asked.
std::unique_ptr<PostProcessor> make_roberta(int32_t cls, int32_t sep, bool trim_offsets, bool add_prefix_space);
std::unique_ptr<PostProcessor> make_bert(int32_t cls, int32_t sep);

/// Null for null.
std::unique_ptr<PostProcessor> read_post_processor(const Json& json, std::string_view where, std::string_view path);

}  // namespace clearhead::text
