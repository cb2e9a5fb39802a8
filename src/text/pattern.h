// {"String": …} or {"Regex": …} of a tokenizer.json, and its matches in a text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/regex.h"

namespace clearhead::text {

class Pattern {
 public:
  Pattern(const Json& json, std::string_view where, std::string_view path);
  std::vector<std::pair<size_t, size_t>> find_all(std::string_view text) const;
  /// The regular expression as written; absent for a string.
  const std::optional<std::string>& expression() const { return expression_; }

 private:
  std::string literal_;
  std::optional<std::string> expression_;
  std::optional<Regex> regex_;
};

}  // namespace clearhead::text
