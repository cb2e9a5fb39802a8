// Translates Oniguruma's \s \w \d \h to PCRE2's classes. Patterns are compiled once and run by the JIT under limits on time
// and depth.
#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/format.h"
#include "text/unicode.h"

namespace clearhead::text {

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  std::string where;
  ~Compiled() { pcre2_code_free(code); }
};

std::string translate_pattern(std::string_view pattern) {
  std::string out;
  bool is_in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '[') is_in_class = true;
    if (c == ']') is_in_class = false;
    if (c != '\\' || i + 1 == pattern.size()) {
      out.push_back(c);
      continue;
    }
    const char next = pattern[++i];
    const auto put = [&](std::string_view inside, bool is_negated) {
      if (is_in_class) return out.append(inside);
      return out.append(is_negated ? "[^" : "[").append(inside).append("]");
    };
    static constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
    if (next == 's') {
      out += "\\p{White_Space}";
    } else if (next == 'S') {
      out += "\\P{White_Space}";
    } else if (next == 'w') {
      put(kWord, false);
    } else if (next == 'W' && !is_in_class) {
      put(kWord, true);
    } else if (next == 'h') {
      put("0-9a-fA-F", false);
    } else if (next == 'd') {
      out += "\\p{Nd}";
    } else if (next == 'D') {
      out += "\\P{Nd}";
    } else {
      out.push_back('\\');
      out.push_back(next);
    }
  }
  return out;
}

Regex::Regex(std::string_view pattern, std::string_view where) : compiled_(std::make_unique<Compiled>()) {
  compiled_->where = std::string(where);
  if (pattern.size() > 65536) fail(ErrorCode::kUnsupported, "{}: the pattern has {} bytes; the limit is 65,536", where, pattern.size());
  const std::string translated = translate_pattern(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(pcre2_compile_context_create(nullptr),
                                                                                        &pcre2_compile_context_free);
  pcre2_set_parens_nest_limit(context.get(), 100);
  compiled_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), PCRE2_UTF | PCRE2_UCP, &error,
                                  &offset, context.get());
  if (!compiled_->code) {
    PCRE2_UCHAR message[200] = {};
    pcre2_get_error_message(error, message, sizeof message);
    fail(ErrorCode::kUnsupported, "{}: the regular expression \"{}\" is not understood: {}", where,
         std::string(pattern.substr(0, valid_prefix(pattern.substr(0, 200)))), std::string_view(reinterpret_cast<const char*>(message)));
  }
  pcre2_jit_compile(compiled_->code, PCRE2_JIT_COMPLETE);  // without JIT the interpreter does the same, slower
}

Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

std::vector<std::pair<size_t, size_t>> Regex::find_all(std::string_view text) const {
  std::vector<std::pair<size_t, size_t>> found;
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(compiled_->code, nullptr), &pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(pcre2_match_context_create(nullptr),
                                                                                          &pcre2_match_context_free);
  pcre2_set_match_limit(context.get(), 10'000'000);
  size_t at = 0, previous_end = SIZE_MAX;
  while (at <= text.size()) {
    const int count = pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at, PCRE2_NO_UTF_CHECK,
                                  data.get(), context.get());
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0) {
      fail(ErrorCode::kUnsupported, "{}: the regular expression gave up on this text (PCRE2 error {}); it needs too many steps",
           compiled_->where, count);
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    const size_t begin = bounds[0], end = bounds[1];
    if (begin > end)
      fail(ErrorCode::kUnsupported,
           "{}: the regular expression has \\K in a lookahead, so a match begins after its end; such expressions are not supported",
           compiled_->where);
    if (begin == end && begin == previous_end) {  // an empty match directly after a match does not count; skip one character
      if (at >= text.size()) break;
      at += decode_valid(text, at).length;
      previous_end = SIZE_MAX;
      continue;
    }
    found.emplace_back(begin, end);
    previous_end = end;
    if (end > begin) {
      at = end;
    } else {
      if (end >= text.size()) break;
      at = end + decode_valid(text, end).length;
    }
  }
  return found;
}

}  // namespace clearhead::text
