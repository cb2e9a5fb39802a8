// The plan that an observer receives before a run: the text, its tokens, and the families of its maps.
#include <algorithm>

#include "base/format.h"
#include "base/utf8.h"
#include "models/loaded_model.h"
#include "models/run_text.h"
#include "text/unicode.h"

namespace clearhead {
namespace {

// Reconstructs a text from its tokens as far as possible, for callers that have only the encoding.
std::string rebuilt(const Encoding& encoding, const Tokenizer& tokenizer, uint8_t segment) {
  std::string text;
  for (size_t token = 0; token < encoding.size(); ++token) {
    if (encoding.segment[token] != segment) continue;
    const auto [begin, end] = encoding.offsets[token];
    if (static_cast<int64_t>(text.size()) < end) text.resize(static_cast<size_t>(end), ' ');
    const std::string bytes = tokenizer.token_bytes(encoding.ids[token]);
    const size_t room = std::min(bytes.size(), static_cast<size_t>(end - begin));
    if (valid_utf8_prefix(std::string_view(bytes).substr(0, room)) == room) std::copy_n(bytes.begin(), room, text.begin() + begin);
  }
  return text;
}

// Returns true if the token is only a mark that the tokenizer inserted before a word: the "▁" of "▁中" represents a space that the
// text does not have. Its offsets in the encoding are those of the character after it.
bool is_inserted_space(const Tokenizer& tokenizer, int32_t id, std::string_view under) {
  constexpr char32_t kMark = 0x2581;  // ▁, which remains if no decoder replaces it
  const auto is_mark = [&](char32_t c) { return c == ' ' || c == kMark; };
  const std::string bytes = tokenizer.token_bytes(id);
  if (bytes.empty() || valid_utf8_prefix(bytes) != bytes.size()) return false;
  for (size_t at = 0; at < bytes.size();) {
    const text::Decoded one = text::decode_valid(bytes, at);
    if (!is_mark(one.c)) return false;
    at += one.length;
  }
  if (valid_utf8_prefix(under) == 0) return true;  // not valid UTF-8, so not a space
  const char32_t first = text::decode_valid(under, 0).c;
  return !is_mark(first) && !text::is(first, text::kSpace);
}

}  // namespace

MapFamily family_of(const Transformer& stack, int64_t tokens) {
  const Architecture& facts = stack.facts();
  MapFamily family;
  family.name = stack.map_family();
  family.layers = static_cast<int>(facts.layers);
  family.heads = facts.heads;
  family.key_heads = facts.key_heads;
  family.d_k = facts.head_dim;
  family.queries = family.keys = tokens;
  family.causal = facts.attention_of(0).causal;
  family.segment_length = facts.attention_of(0).segment_length;
  return family;
}

namespace {

int64_t tokens_of(const RunText& text) { return static_cast<int64_t>(text.ids.size()); }

}  // namespace

RunPlan LoadedModel::plan(RunText text, const std::vector<TextSegment>& segments) const {
  if (!segments.empty()) text.segments = segments;
  MapFamily family = family_of(transformer_, tokens_of(text));
  family.causal = info_.causal;
  return {.model = info_.name, .families = {family}, .text = std::move(text)};
}

RunText run_text(const Encoding& encoding, const Tokenizer* tokenizer, const std::optional<std::string>& given,
                 const std::optional<std::string>& pair) {
  RunText text;
  const bool has_pair = std::find(encoding.segment.begin(), encoding.segment.end(), uint8_t{1}) != encoding.segment.end();
  text.text = given ? *given : tokenizer ? rebuilt(encoding, *tokenizer, 0) : "";
  const int64_t second = static_cast<int64_t>(text.text.size()) + 1;
  if (has_pair) text.text += "\n" + (pair ? *pair : tokenizer ? rebuilt(encoding, *tokenizer, 1) : "");
  text.ids = encoding.ids;
  std::array<TextSegment, 2> of_pair{TextSegment{"first", "text", -1, 0}, TextSegment{"second", "text", -1, 0}};
  for (size_t i = 0; i < encoding.size(); ++i) {
    const bool special = encoding.is_special(i);
    const int64_t shift = encoding.segment[i] == 1 ? second : 0;
    const auto begin = encoding.offsets[i][0] + shift, end = encoding.offsets[i][1] + shift;
    const bool has_bytes = tokenizer && !special && begin < end && end <= static_cast<int64_t>(text.text.size());
    const auto under = has_bytes ? std::string_view(text.text).substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)) : "";
    text.offsets.push_back({begin, has_bytes && is_inserted_space(*tokenizer, encoding.ids[i], under) ? begin : end});
    text.special.push_back(special);
    text.pieces.push_back(tokenizer ? std::string(tokenizer->token(encoding.ids[i])) : std::to_string(encoding.ids[i]));
    if (special || encoding.segment[i] > 1) continue;
    TextSegment& segment = of_pair[encoding.segment[i]];
    if (segment.begin < 0) segment.begin = static_cast<int64_t>(i);
    segment.end = static_cast<int64_t>(i) + 1;
  }
  if (has_pair && of_pair[0].begin >= 0) text.segments.assign(of_pair.begin(), of_pair.end());
  return text;
}

WrittenText written_text(int32_t first, const std::vector<int32_t>& ids, const Tokenizer* tokenizer) {
  WrittenText out{.encoding = {.ids = {first}, .type_ids = {0}, .offsets = {{0, 0}}, .segment = {Encoding::kSpecial}}};
  for (const int32_t id : ids) {
    const bool is_special = tokenizer && tokenizer->is_special(id);
    const auto begin = static_cast<int64_t>(out.text.size());
    if (tokenizer && !is_special) out.text += tokenizer->token_bytes(id);
    out.encoding.ids.push_back(id);
    out.encoding.type_ids.push_back(0);
    out.encoding.offsets.push_back({begin, static_cast<int64_t>(out.text.size())});
    out.encoding.segment.push_back(is_special ? Encoding::kSpecial : 0);
  }
  return out;
}

RunText joined(RunText source, const RunText& target) {
  RunText text = std::move(source);
  const auto moved = static_cast<int64_t>(text.text.size()) + 1;
  const int64_t first = tokens_of(text);
  text.text += "\n" + target.text;
  text.ids.insert(text.ids.end(), target.ids.begin(), target.ids.end());
  text.special.insert(text.special.end(), target.special.begin(), target.special.end());
  text.pieces.insert(text.pieces.end(), target.pieces.begin(), target.pieces.end());
  for (size_t i = 0; i < target.offsets.size(); ++i) {
    const auto& [begin, end] = target.offsets[i];
    text.offsets.push_back(target.special[i] ? std::array<int64_t, 2>{} : std::array{begin + moved, end + moved});
  }
  text.segments = {{"source", "text", 0, first}, {"target", "text", first, tokens_of(text)}};
  return text;
}

std::vector<TextSegment> disjoint_segments(std::vector<TextSegment> segments) {
  std::stable_sort(segments.begin(), segments.end(), [](const TextSegment& a, const TextSegment& b) { return a.begin < b.begin; });
  int64_t reached = 0;
  for (TextSegment& segment : segments) {
    segment.begin = std::max(segment.begin, reached);
    reached = std::max(reached, segment.end);
  }
  std::erase_if(segments, [](const TextSegment& segment) { return segment.begin >= segment.end; });
  return segments;
}

// Cross-attention comes first: it is the map that a translation is inspected for.
RunPlan plan_of_pair(const Transformer& stack, const std::string& model, RunText text) {
  const int64_t source_tokens = text.segments.at(0).end;
  MapFamily decoder = family_of(stack, tokens_of(text) - source_tokens), encoder = family_of(*stack.encoder(), source_tokens);
  decoder.is_part = encoder.is_part = true;
  decoder.first_query = decoder.first_key = encoder.keys;
  MapFamily cross = decoder;
  cross.name = "cross";
  cross.keys = encoder.keys;
  cross.first_key = 0;
  cross.causal = false;
  return {.model = model, .families = {cross, decoder, encoder}, .text = std::move(text)};
}

RunPlan LoadedModel::plan_of(const Encoding& encoding, const RunOptions& options) const {
  return plan(run_text(encoding, tokenizer_.get(), options.text, options.pair), options.segments);
}

}  // namespace clearhead
