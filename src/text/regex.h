// Regular expressions of tokenizer.json. They are written for Oniguruma and run by PCRE2 with JIT in UTF mode.
//
// The two libraries differ in \s \w \d \h, which are translated, and in Unicode versions. Patterns that PCRE2 cannot
// compile are refused by name. Some patterns need exponential time or deep recursion: a match that exceeds the limits
// is an error instead of a hang.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace clearhead::text {

class Regex {
 public:
  /// `where` names the field in error messages.
  Regex(std::string_view pattern, std::string_view where);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();
  /// All matches in valid UTF-8, leftmost first, without overlap.
  std::vector<std::pair<size_t, size_t>> find_all(std::string_view text) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

/// Translates an Oniguruma pattern to a PCRE2 pattern of the same meaning.
std::string translate_pattern(std::string_view pattern);

}  // namespace clearhead::text
