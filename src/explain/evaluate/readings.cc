// Tokenizes changed texts, and maps their tokens to those of the unchanged text through the bytes that a change kept.
#include "explain/evaluate/readings.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/format.h"
#include "base/random.h"
#include "tasks/data/labelled_data.h"

namespace clearhead::explain {
namespace {

// The bytes of the unchanged text that correspond to bytes [begin, end) of the changed text; nullopt if the change did not keep them.
std::optional<std::array<int64_t, 2>> bytes_before(const std::vector<KeptBytes>& kept, int64_t begin, int64_t end) {
  for (const KeptBytes& one : kept) {
    if (one.at <= begin && end <= one.at + one.end - one.begin) return std::array{begin - one.at + one.begin, end - one.at + one.begin};
  }
  return std::nullopt;
}

// Fills `origin` and `same`. Special tokens, and tokens with the same bytes (parts of a character), are matched in order.
void find_origins(const Encoding& clean, const std::vector<KeptBytes>& kept, Reading& in) {
  std::map<std::array<int64_t, 2>, std::vector<int64_t>> tokens;  // by bytes; in each list, the last token comes first
  for (auto token = static_cast<int64_t>(clean.size()) - 1; token >= 0; --token) {
    const auto at = static_cast<size_t>(token);
    tokens[clean.is_special(at) ? std::array<int64_t, 2>{-1, -1} : clean.offsets[at]].push_back(token);
  }
  for (size_t token = 0; token < in.encoding.size(); ++token) {
    const auto& bytes = in.encoding.offsets[token];
    const auto before =
        in.encoding.is_special(token) ? std::optional(std::array<int64_t, 2>{-1, -1}) : bytes_before(kept, bytes[0], bytes[1]);
    const auto found = before ? tokens.find(*before) : tokens.end();
    const bool is_known = found != tokens.end() && !found->second.empty();
    in.origin.push_back(is_known ? found->second.back() : -1);
    in.same.push_back(is_known && clean.ids[static_cast<size_t>(found->second.back())] == in.encoding.ids[token]);
    if (is_known) found->second.pop_back();
  }
}

ChangedText changed_text(const std::string& text, Change change, const RobustOptions& options, uint64_t seed) {
  switch (change) {
    case Change::kTypos: return with_typos(text, options.typos, seed);
    case Change::kUpper: return in_upper_case(text);
    case Change::kLower: return in_lower_case(text);
    case Change::kTruncation: return first_words(text, options.words_kept);
    case Change::kBefore: return with_distractor(text, options.distractor, true);
    case Change::kAfter: return with_distractor(text, options.distractor, false);
    default: return {text, {{0, static_cast<int64_t>(text.size()), 0}}};
  }
}

Encoding encoded(const Model& model, const RobustKind& kind, const std::string& text) {
  Encoding out = model.tokenizer().encode(text, {.add_special_tokens = kind.adds_special_tokens});
  const int64_t longest = model.info().longest;
  return longest > 0 && static_cast<int64_t>(out.size()) > longest ? tasks::within(std::move(out), longest) : out;
}

}  // namespace

std::vector<NamedChange> changes_for(const RobustKind& kind, const RobustOptions& options) {
  const auto percent = [](double share) { return format("{:.3g} %", share * 100); };
  std::vector<NamedChange> out{
      {Change::kNone, "none", "", false},
      {Change::kTypos, "typos", format("in {} of the words", percent(options.typos))},
      {Change::kUpper, "upper case", ""},
      {Change::kLower, "lower case", ""},
      {Change::kTruncation, "truncation", format("the first {} of the words", percent(options.words_kept))},
      {Change::kBefore, "distractor before", format("\"{}\"", options.distractor)},
      {Change::kAfter, "distractor after", format("\"{}\"", options.distractor)},
      {Change::kDropout, "token dropout", format("{} of the tokens", percent(options.token_dropout))},
      {Change::kShift, "position shift", format("by {}", options.shift)},
      {Change::kPaddingAfter, "padding after", format("{} tokens; must not change anything", options.padding), false}};
  if (kind.ignores_padding_before)
    out.push_back({Change::kPaddingBefore, "padding before", format("{} tokens; must not change anything", options.padding), false});
  return out;
}

Reading reading_of(const Model& model, const RobustKind& kind, const std::string& text, Change change, const RobustOptions& options,
                   uint64_t seed) {
  const ChangedText changed = changed_text(text, change, options, seed);
  const Encoding clean = encoded(model, kind, text);
  Reading out{.encoding = encoded(model, kind, changed.text)};
  if (change == Change::kDropout) out.encoding = selected(out.encoding, tokens_kept(out.encoding, options.token_dropout, seed));
  find_origins(clean, changed.kept, out);
  const int64_t longest = model.info().longest, tokens = static_cast<int64_t>(out.encoding.size());
  const int64_t room = longest > 0 ? longest - tokens : std::max(options.shift, options.padding);
  const bool needs_room = change == Change::kShift || change == Change::kPaddingAfter || change == Change::kPaddingBefore;
  if (change == Change::kShift) out.shift = options.shift;
  if (change == Change::kPaddingAfter) out.after = options.padding;
  if (change == Change::kPaddingBefore) out.before = options.padding;
  const bool has_words =
      std::any_of(out.encoding.segment.begin(), out.encoding.segment.end(), [](uint8_t segment) { return segment != Encoding::kSpecial; });
  if ((needs_room && room < out.shift + out.after + out.before) || !has_words) return {};
  return out;
}

std::vector<std::vector<size_t>> batches_of(const std::vector<Reading>& readings, int64_t most_tokens) {
  std::vector<size_t> order;
  for (size_t at = 0; at < readings.size(); ++at) {
    if (readings[at].encoding.size() > 0) order.push_back(at);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return readings[a].size() > readings[b].size(); });
  std::vector<std::vector<size_t>> out;
  for (const size_t at : order) {
    const bool fits = !out.empty() && static_cast<int64_t>(out.back().size() + 1) * readings[out.back().front()].size() <= most_tokens;
    if (!fits) out.emplace_back();
    out.back().push_back(at);
  }
  return out;
}

Batch batch_of(const Model& model, const std::vector<Reading>& readings, const std::vector<size_t>& which) {
  Batch out{.batch = static_cast<int64_t>(which.size())};
  bool has_before = false;
  for (const size_t at : which) {
    out.length = std::max(out.length, readings[at].size());
    has_before |= readings[at].before > 0;
  }
  const int32_t pad = model.tokenizer().special_tokens().pad.value_or(0);
  for (const size_t at : which) {
    const Reading& one = readings[at];
    const auto begin = static_cast<size_t>(one.before), end = begin + one.encoding.size();
    for (size_t place = 0; place < static_cast<size_t>(out.length); ++place) {
      const bool is_token = place >= begin && place < end;
      out.ids.push_back(is_token ? one.encoding.ids[place - begin] : pad);
      if (model.info().type_count > 0) out.type_ids.push_back(is_token ? one.encoding.type_ids[place - begin] : 0);
      out.position_ids.push_back(is_token ? static_cast<int32_t>(place - begin) + static_cast<int32_t>(one.shift) : 0);
      if (has_before) out.document_ids.push_back(is_token ? 0 : -1);
    }
    out.lengths.push_back(static_cast<int32_t>(end));
  }
  return out;
}

}  // namespace clearhead::explain
