// The text side: tokens with their bytes, words, segments, and a description said in words.
#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "viewer/source.h"

namespace clearhead {
namespace {

enum class Letter : uint8_t { kSpace, kWord, kAlone, kApostrophe };

// One character of UTF-8; ill-formed bytes are letters of one byte.
uint32_t decode_at(std::string_view text, size_t at, size_t& length) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
  const uint32_t lead = byte(at);
  length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
  if (length == 1) return lead < 0x80 ? lead : 0xFFFD;
  if (at + length > text.size()) {
    length = 1;
    return 0xFFFD;
  }
  uint32_t code = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0u) != 0x80u) {
      length = 1;
      return 0xFFFD;
    }
    code = code << 6 | (byte(at + i) & 0x3Fu);
  }
  return code;
}

bool within(uint32_t code, uint32_t first, uint32_t last) { return code >= first && code <= last; }

Letter letter_of(uint32_t code) {
  if (code == ' ' || within(code, 0x09, 0x0D) || code == 0xA0 || code == 0x3000 || within(code, 0x2000, 0x200A) || code == 0x2028 ||
      code == 0x2029) {
    return Letter::kSpace;
  }
  if (code == '\'' || code == 0x2019) return Letter::kApostrophe;
  if (code < 0x80) {
    const bool word = within(code, '0', '9') || within(code, 'a', 'z') || within(code, 'A', 'Z') || code == '_';
    return word ? Letter::kWord : Letter::kAlone;
  }
  if (within(code, 0xA1, 0xBF) && code != 0xAA && code != 0xB5 && code != 0xBA) return Letter::kAlone;
  if (within(code, 0x2010, 0x206F) && code != 0x200D) return Letter::kAlone;  // joiners stay inside their word
  if (within(code, 0x3001, 0x30FF) || within(code, 0x3400, 0x4DBF) || within(code, 0x4E00, 0x9FFF) || within(code, 0xF900, 0xFAFF) ||
      within(code, 0xFF01, 0xFF0F) || within(code, 0xFF1A, 0xFF20) || within(code, 0x20000, 0x3FFFF)) {
    return Letter::kAlone;  // kana, ideographs, CJK and full-width marks
  }
  return Letter::kWord;
}

// For every byte the word it belongs to, −1 for white space.
std::vector<int32_t> words_of_bytes(std::string_view text) {
  std::vector<int32_t> out(text.size(), -1);
  int32_t word = -1;
  Letter before = Letter::kSpace;
  for (size_t at = 0; at < text.size();) {
    size_t length = 1, next_length = 1;
    Letter letter = letter_of(decode_at(text, at, length));
    if (letter == Letter::kApostrophe) {
      const bool joins =
          before == Letter::kWord && at + length < text.size() && letter_of(decode_at(text, at + length, next_length)) == Letter::kWord;
      letter = joins ? Letter::kWord : Letter::kAlone;
    }
    if (letter != Letter::kSpace) {
      if (letter == Letter::kAlone || before != Letter::kWord) ++word;
      std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(at), length, word);
    }
    before = letter;
    at += length;
  }
  return out;
}

std::string number(double value) { return format("{:.4g}", value); }

}  // namespace

std::vector<int32_t> words_of(const RunText& text) {
  const std::vector<int32_t> bytes = words_of_bytes(text.text);
  std::vector<int32_t> out(text.ids.size(), -1);
  int32_t word = -1, last = -2;
  for (size_t i = 0; i < out.size(); ++i) {
    if (text.special[i]) {
      last = -2;
      continue;
    }
    int32_t own = -1;
    for (int64_t b = text.offsets[i][0]; b < text.offsets[i][1] && own < 0; ++b) own = bytes[static_cast<size_t>(b)];
    if (own < 0 || own != last) ++word;  // white space of its own is a word of its own
    last = own;
    out[i] = word;
  }
  return out;
}

struct NameOf {
  std::string operator()(const Softmax&) const { return "softmax"; }
  std::string operator()(const Sparsemax&) const { return "sparsemax"; }
  std::string operator()(const Entmax15&) const { return "entmax-1.5"; }
  std::string operator()(const Sigmoid&) const { return "sigmoid"; }
  std::string operator()(const Hard&) const { return "hard choice"; }
  std::string operator()(const LinearAttention&) const { return "linear"; }
};

struct ScoreOfPair {
  int64_t d_k;
  std::string operator()(const Dot& dot) const {
    const double usual = 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(1, d_k)));
    if (!dot.scale || std::abs(static_cast<double>(*dot.scale) - usual) <= 1e-6 * usual) return format("q·k/√{}", d_k);
    return number(static_cast<double>(*dot.scale)) + "·q·k";
  }
  std::string operator()(const Additive& additive) const {
    return additive.activation == Additive::Activation::kTanh ? "w·tanh(q + k)" : "w·LeakyReLU(q + k)";
  }
  std::string operator()(const Relative& relative) const {
    std::string score = relative.query_bias ? "q·k + (q + u)·A[j − i]" : "q·k + q·A[j − i]";
    if (relative.queries) score += " + k·B[j − i]";
    return relative.scale ? number(static_cast<double>(*relative.scale)) + "·(" + score + ")" : format("({})/√{}", score, d_k);
  }
};

std::string summary_of(const AttentionSpec& spec, int64_t d_k) {
  std::string score = std::visit(ScoreOfPair{d_k}, spec.score);
  for (const Term& term : spec.terms) {
    if (std::holds_alternative<Alibi>(term)) score += " − slope·distance";
    if (std::holds_alternative<AttentionBias>(term)) score += " + bias";
    if (std::holds_alternative<Rule>(term)) score = "rule(" + score + ")";
    if (std::holds_alternative<EdgeBias>(term)) score += " + edge bias";
    if (const SoftCap* cap = std::get_if<SoftCap>(&term))
      score = format("{}·tanh(({})/{})", number(static_cast<double>(cap->cap)), score, number(static_cast<double>(cap->cap)));
  }
  const Band& band = spec.topology.band;
  std::string sees = "every token sees every token";
  if (band.ahead && *band.ahead == 0) {
    sees = band.back ? format("a token sees itself and {} before it", with_commas(*band.back)) : "a token sees itself and all before it";
  } else if (band.back || band.ahead) {
    sees = format("a token sees {} before and {} after it", band.back ? with_commas(*band.back) : "all",
                  band.ahead ? with_commas(*band.ahead) : "all");
  }
  if (band.offset != 0) sees += format(", from {} keys {}", with_commas(std::abs(band.offset)), band.offset > 0 ? "later" : "earlier");
  std::string out = std::visit(NameOf{}, spec.normaliser) + ("(" + score) + "), " + sees;
  if (spec.topology.segments) out += ", of its own segment";
  if (spec.topology.mask) out += ", where the mask allows";
  if (spec.topology.visible) out += ", where the rule allows";
  if (spec.topology.lists) out += ", of its own list";
  const Softmax* softmax = std::get_if<Softmax>(&spec.normaliser);
  if (softmax && softmax->sinks) out += "; a sink logit takes part of every row";
  return out;
}

ViewFrame LiveSource::text(int side, std::optional<Range> wanted) const {
  if (side != 0) fail(ErrorCode::kNotFound, "side {}: this source has one side, 0.", side);
  const RunText& text = trace_->plan().text;
  const int64_t tokens = static_cast<int64_t>(text.ids.size());
  const Range range = wanted.value_or(Range{0, tokens});
  if (range.begin < 0 || range.begin > range.end || range.end > tokens) {
    fail(ErrorCode::kInvalidArgument, "from={}, to={}: not a range of the {} tokens.", range.begin, range.end, tokens);
  }
  std::vector<uint32_t> begin, end;
  std::vector<int32_t> id, word;
  std::vector<uint8_t> flags;
  int64_t first = -1, last = 0, reached = 0;
  for (int64_t i = range.begin - 1; i >= 0 && reached == 0; --i) reached = text.offsets[static_cast<size_t>(i)][1];
  for (int64_t i = range.begin; i < range.end; ++i) {
    const size_t at = static_cast<size_t>(i);
    auto [from, to] = text.offsets[at];
    if (from == to) from = to = reached;  // a token without text stands where the text has come to
    reached = std::max(reached, to);
    begin.push_back(static_cast<uint32_t>(from));
    end.push_back(static_cast<uint32_t>(to));
    id.push_back(text.ids[at]);
    word.push_back(words_[at]);
    flags.push_back(text.special[at] ? 1 : 0);
    if (to > from) {
      first = first < 0 ? from : std::min(first, from);
      last = std::max(last, to);
    }
  }
  if (first < 0) first = last = 0;
  if (range.begin == 0) first = 0;
  if (range.end == tokens) last = static_cast<int64_t>(text.text.size());
  ViewFrame frame;
  frame.header = Json::object(
      {{"side", side}, {"from", range.begin}, {"to", range.end}, {"tokens", tokens}, {"byte_begin", first}, {"byte_end", last}});
  frame.add_text("text", std::string_view(text.text).substr(static_cast<size_t>(first), static_cast<size_t>(last - first)));
  frame.add("begin", begin);
  frame.add("end", end);
  frame.add("id", id);
  frame.add("word", word);
  frame.add("flags", flags);
  return frame;
}

Json LiveSource::segments(int side) const {
  if (side != 0) fail(ErrorCode::kNotFound, "side {}: this source has one side, 0.", side);
  std::vector<TextSegment> segments = trace_->plan().text.segments;
  std::stable_sort(segments.begin(), segments.end(), [](const TextSegment& a, const TextSegment& b) { return a.begin < b.begin; });
  Json list = Json::array();
  int64_t reached = 0;
  for (const TextSegment& segment : segments) {
    const int64_t begin = std::max(segment.begin, reached);  // they may not overlap: the earlier one keeps the tokens
    if (begin >= segment.end) continue;
    reached = segment.end;
    list.push(Json::object({{"name", segment.name},
                            {"role", segment.role.empty() ? Json() : Json(segment.role)},
                            {"begin", begin},
                            {"end", segment.end},
                            {"lang", nullptr}}));
  }
  return Json::object({{"segments", list}});
}

}  // namespace clearhead
