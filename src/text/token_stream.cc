// Streaming decoding: the bytes of an incomplete character are held back, everything else is returned at once.
#include <utility>

#include "clearhead/tokenizer.h"
#include "text/unicode.h"

namespace clearhead {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr size_t kHeldTokens = 8;  // a character has at most four byte tokens: a U+FFFD after eight is part of the text, and is returned

}  // namespace

TokenStream::TokenStream(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special)
    : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

std::string TokenStream::push(int32_t id) {
  if (tokenizer_->token(id).empty() || (skip_special_ && tokenizer_->is_special(id))) return {};
  const std::optional<std::string> bytes = tokenizer_->contribution(id, is_first_);
  is_first_ = false;
  if (!bytes) return push_in_context(id);
  held_ += *bytes;
  std::string out;
  for (;;) {
    bool is_incomplete = false;
    const size_t valid = text::valid_prefix(held_, &is_incomplete);
    out.append(held_, 0, valid);
    held_.erase(0, valid);
    if (held_.empty() || is_incomplete) return out;
    std::vector<text::Replaced> replaced;
    text::replace_invalid(held_, &replaced);
    out += kReplacement;
    held_.erase(0, replaced.front().length);
  }
}

// Decodes the tokens that were returned last, without and with the tokens since then; the new text is the difference.
std::string TokenStream::push_in_context(int32_t id) {
  window_.push_back(id);
  const std::string before = tokenizer_->decode({window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(given_)});
  const std::string after = tokenizer_->decode(window_);
  const bool is_held = after.ends_with(kReplacement) && window_.size() - given_ < kHeldTokens;
  if (is_held || after.size() <= before.size() || !after.starts_with(before)) return {};
  window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(given_));
  given_ = window_.size();
  return after.substr(before.size());
}

std::string TokenStream::finish() {
  std::string out;
  if (given_ < window_.size()) {
    const std::string before = tokenizer_->decode({window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(given_)});
    const std::string after = tokenizer_->decode(window_);
    if (after.starts_with(before)) out = after.substr(before.size());
  }
  out += text::replace_invalid(held_);
  held_.clear();
  window_.clear();
  given_ = 0;
  is_first_ = true;
  return out;
}

}  // namespace clearhead
