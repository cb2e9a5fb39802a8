// Converts target words to token ids; generates the target text of an encoder-decoder.
#include "explain/target_words.h"

#include <algorithm>

#include "base/format.h"
#include "base/utf8.h"
#include "clearhead/error.h"
#include "clearhead/generate.h"
#include "generate/parts.h"
#include "text/strings.h"
#include "text/unicode.h"

namespace clearhead::explain {

std::optional<int64_t> place_in(const std::string& of) {
  if (!of.starts_with("token ")) return std::nullopt;
  int64_t at = 0;
  for (const char digit : of.substr(6)) {
    if (digit < '0' || digit > '9' || at > 1'000'000'000) return std::nullopt;
    at = 10 * at + (digit - '0');
  }
  return of.size() > 6 ? std::optional(at) : std::nullopt;
}

std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }

namespace {

// The ids without the special tokens that the tokenizer appends.
std::vector<int32_t> without_end(const Encoding& encoding) {
  size_t count = encoding.size();
  while (count > 0 && encoding.is_special(count - 1)) --count;
  return {encoding.ids.begin(), encoding.ids.begin() + static_cast<std::ptrdiff_t>(count)};
}

// The tokens that `word` adds to a text if the tokens of the text stay the same; otherwise the tokens of the word alone. A word alone is
// tokenized as at the beginning of a text, where some tokenizers insert a space before it.
std::vector<int32_t> continuation(const Tokenizer& tokenizer, const std::string& word, const std::optional<std::string>& before) {
  if (before) {
    const std::vector<int32_t> text = without_end(tokenizer.encode(*before)), both = without_end(tokenizer.encode(*before + word));
    if (text.size() < both.size() && std::equal(text.begin(), text.end(), both.begin()))
      return {both.begin() + static_cast<std::ptrdiff_t>(text.size()), both.end()};
  }
  return tokenizer.encode(word, {.add_special_tokens = false}).ids;
}

// Returns true if a character is a letter or number of a script that separates words by spaces.
bool is_of_a_spaced_word(char32_t c) {
  const bool is_unspaced = (c >= 0x0E00 && c < 0x0F00) || (c >= 0x1000 && c < 0x10A0) || (c >= 0x1780 && c < 0x1800) ||
                           (c >= 0x3040 && c < 0x3100) || text::is(c, text::kChinese);  // Thai and Lao, Burmese, Khmer, kana, Han
  return !is_unspaced && text::is(c, text::kLetter | text::kNumber);
}

// The separator between a text and the word after it: a space between two words, none, or (next to punctuation and in scripts without
// spaces) either.
enum class Joint { kNone, kSpace, kEither };
Joint joint_of(const std::string& word, const std::optional<std::string>& before) {
  const std::string next = text::replace_invalid(word), text = text::replace_invalid(before.value_or(""));
  if (next.empty() || text::is(text::decode_valid(next, 0).c, text::kSpace)) return Joint::kNone;
  if (text.empty()) return Joint::kEither;
  const char32_t last = text::decode_valid(text, text::previous_boundary(text, text.size())).c;
  if (text::is(last, text::kSpace)) return Joint::kNone;
  return is_of_a_spaced_word(last) && is_of_a_spaced_word(text::decode_valid(next, 0).c) ? Joint::kSpace : Joint::kEither;
}

}  // namespace

Spellings spellings_of(const Model& model, const std::string& word, const std::optional<std::string>& before) {
  constexpr double kWordPrior = 4.605;  // ln 100
  const Tokenizer& tokenizer = model.tokenizer();
  const std::optional<int32_t> unknown = tokenizer.special_tokens().unk;
  Spellings out;
  const auto add = [&](const std::string& spelling) {
    std::vector<int32_t> ids = continuation(tokenizer, spelling, before);
    const bool has_unknown = unknown && word != tokenizer.token(*unknown) && std::find(ids.begin(), ids.end(), *unknown) != ids.end();
    const bool is_new = std::find(out.ids.begin(), out.ids.end(), ids) == out.ids.end();
    if (!ids.empty() && !has_unknown && is_new) out.ids.push_back(std::move(ids));
  };
  const Joint joint = joint_of(word, before);
  if (joint != Joint::kNone) add(" " + word);
  if (joint == Joint::kSpace && !out.ids.empty()) out.prior = kWordPrior;
  add(word);
  if (out.ids.empty())
    fail(ErrorCode::kNotFound, "{}: {} cannot be spelled with the tokens of its vocabulary", model.info().name, in_quotes(word));
  return out;
}

int32_t single_token(const Model& model, const std::string& word, const Spellings& spellings, const float* logits, const char* why) {
  std::optional<int32_t> best;
  double highest = 0;
  for (const std::vector<int32_t>& ids : spellings.ids) {
    const double rating = static_cast<double>(logits[ids[0]]) + (&ids == spellings.ids.data() ? spellings.prior : 0);
    if (ids.size() > 1 || (best && rating <= highest)) continue;
    best = ids[0];
    highest = rating;
  }
  if (best) return *best;
  const std::vector<int32_t>& first = spellings.ids.front();
  std::string tokens;
  for (const int32_t id : first) tokens += (tokens.empty() ? "" : ", ") + spelled(model, id);
  fail(ErrorCode::kUnsupported, "{}: {} is {} tokens ({}); {}: expected a word of one token", model.info().name, in_quotes(word),
       first.size(), tokens, why);
}

std::string spelled(const Model& model, const std::vector<int32_t>& ids) {
  const std::shared_ptr<const Tokenizer> known = model.info().vocabulary > 0 ? tokenizer_of(model) : nullptr;
  std::string bytes, tokens;
  for (const int32_t id : ids) {
    bytes += known ? known->token_bytes(id) : "";
    tokens += known ? std::string(known->token(id)) : format("{}#{}", tokens.empty() ? "" : " ", id);
  }
  if (!known) return tokens;
  return in_quotes(bytes.empty() || valid_utf8_prefix(bytes) < bytes.size() ? tokens : bytes);
}

int32_t largest(const float* logits, int64_t count) { return static_cast<int32_t>(std::max_element(logits, logits + count) - logits); }

void keep_first(Encoding& encoding, size_t count) {
  encoding.ids.resize(count);
  encoding.type_ids.resize(count);
  encoding.offsets.resize(count);
  encoding.segment.resize(count);
}

Range written_tokens(const Model& model, const std::string& of, const WrittenText& target) {
  const auto count = static_cast<int64_t>(target.encoding.ids.size()) - 1;
  if (count < 1) fail(ErrorCode::kInvalidArgument, "{}: no token is generated from this text", model.info().name);
  const std::optional<int64_t> at = of.empty() ? std::optional<int64_t>(0) : place_in(of);
  if (at && *at < count) return {*at, *at + 1};
  if (at)
    fail(ErrorCode::kNotFound, "{}: token {} is out of range: {} tokens were generated, counted from 0: {}", model.info().name, *at, count,
         in_quotes(target.text));
  const size_t found = target.text.find(of);
  if (found == std::string::npos)
    fail(ErrorCode::kNotFound, "{}: {} is not in the generated text: {}", model.info().name, in_quotes(of), in_quotes(target.text));
  const auto begin = static_cast<int64_t>(found), end = begin + static_cast<int64_t>(of.size());
  const auto byte_range = [&](int64_t token) { return target.encoding.offsets[static_cast<size_t>(token + 1)]; };
  Range out{0, count};
  while (out.begin + 1 < count && byte_range(out.begin)[1] <= begin) ++out.begin;
  out.end = out.begin + 1;
  while (out.end < count && byte_range(out.end)[0] < end && byte_range(out.end)[1] > begin) ++out.end;
  return out;
}

ReadAndWritten read_and_write(const Model& model, const std::string& source, const std::optional<std::string>& given) {
  const Tokenizer& tokenizer = model.tokenizer();
  ReadAndWritten out{.source = tokenizer.encode(source)};
  if (out.source.ids.empty()) fail(ErrorCode::kInvalidArgument, "{}: the text has no token", model.info().name);
  const std::vector<int32_t> written =
      given ? tokenizer.encode(*given).ids
            : generate_from(model, {out.source},
                            {.max_tokens = default_max_tokens(model, 128), .beams = default_beams(model, {.count = 4})})[0]
                  .ids;
  out.target = written_text(model.info().first_token, written, &tokenizer);
  return out;
}

Interventions hidden_keys(const RunPlan& plan, const std::vector<Range>& items, const std::vector<uint8_t>& away) {
  Interventions out;
  for (const MapFamily& family : plan.families) {
    const int64_t first = family.is_part ? family.first_key : 0;
    for (const Range& item : items) {
      for (int64_t id = item.begin; id < item.end; ++id) {
        if (away[static_cast<size_t>(id)] && id >= first && id < first + family.keys)
          out.knockouts.push_back({{0, family.queries}, {id - first, id - first + 1}, {}, {}, family.name});
      }
    }
  }
  return out;
}

}  // namespace clearhead::explain
