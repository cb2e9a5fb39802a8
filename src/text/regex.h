// Regular expressions of a tokenizer.json, which are written for Oniguruma, run by PCRE2 with its JIT in UTF mode.
//
// The two differ in the words \s \w \d \h, which are translated, and in versions of Unicode. Patterns that PCRE2 cannot compile are
// refused by name. A pattern's own text may need exponential time or deep recursion: a match that exceeds the limits is an error, not a
// hang.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace clearhead::text {

class Regex {
 public:
  /// `where` names the field in errors.
  Regex(std::string_view pattern, std::string_view where);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();
  /// All matches in valid UTF-8, leftmost first, none overlapping.
  std::vector<std::pair<size_t, size_t>> find_all(std::string_view text) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

/// The pattern as PCRE2 must see it to mean what Oniguruma means.
std::string translate_pattern(std::string_view pattern);

}  // namespace clearhead::text
