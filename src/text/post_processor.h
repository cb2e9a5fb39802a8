// The last step of encoding: removes the white space around words from offsets if configured, and inserts the template's
// special tokens. "post_processor" of tokenizer.json, as a list of steps: Trim, ZeroTypes, Template.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace clearhead::text {

/// The tokens of one text, before and during post-processing.
struct Part {
  static constexpr uint8_t kInserted = 255;
  struct Token {
    int32_t id = 0;
    int64_t begin = 0, end = 0;                    // in bytes of the text
    uint32_t blanks_before = 0, blanks_after = 0;  // white space characters at the ends of the token's spelling
  };
  std::string_view text{};
  std::vector<Token> tokens{};
  uint8_t segment = 0;  // 0, 1, or kInserted
  int32_t type_id = 0;
};

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  /// Turns one or two parts into the parts of the result, in order.
  virtual void apply(std::vector<Part>& parts, bool adds_special) const = 0;
  /// True if offsets depend on the white space in the spelling of tokens.
  virtual bool trims() const { return false; }
};

struct TemplatePiece {
  int sequence = -1;  // 0: the text, 1: the pair, −1: `tokens`
  std::vector<int32_t> tokens{};
  int32_t type_id = 0;
};
std::unique_ptr<PostProcessor> make_template(std::vector<TemplatePiece> single, std::vector<TemplatePiece> pair);
/// RoBERTa's template: <s> A </s></s> B </s>, all types 0; offsets are trimmed if trim_offsets.
std::unique_ptr<PostProcessor> make_roberta(int32_t cls, int32_t sep, bool trim_offsets, bool add_prefix_space);
std::unique_ptr<PostProcessor> make_bert(int32_t cls, int32_t sep);

/// Returns null for null.
std::unique_ptr<PostProcessor> read_post_processor(const Json& json, std::string_view where, std::string_view path);

}  // namespace clearhead::text
