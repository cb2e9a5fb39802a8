// encode: find added tokens → normalize → find normalized added tokens → split into words → model → post-process → offsets.
// decode: tokens → decoder → text.
// Offsets count bytes of the original text, even if invalid UTF-8 was replaced.
#include "text/assembled.h"

#include <algorithm>
#include <initializer_list>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/format.h"
#include "text/unicode.h"

namespace clearhead::text {
namespace {

constexpr char32_t kSpelledBlank = 0x120;  // Ġ, the space of the byte alphabet

struct Blanks {
  uint32_t before = 0, after = 0;
};

Blanks blanks_of(std::string_view token) {
  const auto is_blank = [](char32_t c) { return c == kSpelledBlank || is(c, kSpace); };
  Blanks blanks;
  for (size_t at = 0; at < token.size() && is_blank(decode_valid(token, at).c); at += decode_valid(token, at).length) ++blanks.before;
  for (size_t at = token.size(); at > 0 && is_blank(decode_valid(token, previous_boundary(token, at)).c);
       at = previous_boundary(token, at)) {
    ++blanks.after;
  }
  return blanks;
}

// Maps an offset in the repaired text (invalid UTF-8 replaced) to one in the original text.
int64_t given_offset(const std::vector<Replaced>& replaced, int64_t at) {
  const auto after = std::upper_bound(replaced.begin(), replaced.end(), at,
                                      [](int64_t value, const Replaced& item) { return value < static_cast<int64_t>(item.read_at); });
  if (after == replaced.begin()) return at;
  const Replaced& last = *(after - 1);
  const int64_t past = at - static_cast<int64_t>(last.read_at);
  if (past == 0) return static_cast<int64_t>(last.given_at);
  return static_cast<int64_t>(last.given_at) + last.length + past - 3;  // U+FFFD has three bytes
}

// A text with its invalid UTF-8 replaced. It must outlive the parts that refer to it.
struct Read {
  std::string_view text;
  std::string repaired;
  std::vector<Replaced> replaced;

  explicit Read(std::string_view given) : text(given) {
    if (given.size() >= (uint64_t{1} << 31))
      fail(ErrorCode::kTooLong, "the text has {} bytes; one call supports less than 2 GiB", given.size());
    if (valid_prefix(given) == given.size()) return;
    repaired = replace_invalid(given, &replaced);
    if (repaired.size() >= (uint64_t{1} << 31))
      fail(ErrorCode::kTooLong, "the text has {} bytes once its invalid UTF-8 is replaced; one call supports less than 2 GiB",
           repaired.size());
    text = repaired;
  }
  Read(const Read&) = delete;
  Read& operator=(const Read&) = delete;
};

class Assembled : public Tokenizer {
 public:
  Assembled(Steps steps, const Json& config) : steps_(std::move(steps)) {
    // Ids as in the `tokenizers` package: the model's id if its vocabulary has the token, else the next free id, whatever
    // the file says.
    int32_t next = static_cast<int32_t>(steps_.model->vocabulary().size());
    for (AddedToken& token : steps_.added) {
      const int32_t known = steps_.model->vocabulary().find(token.content);
      const int32_t again = added_.find(token.content);
      token.id = again >= 0 ? again : known >= 0 ? known : next;
      if (token.id == next) ++next;
      added_.add(token.content, token.id);
      if (token.is_special) special_ids_.insert(token.id);
      std::string spelling = token.content;
      if (token.is_normalized && steps_.normalizer) {
        Aligned text(token.content, 0);
        steps_.normalizer->apply(text);
        spelling = std::string(text.bytes());
        if (spelling != token.content) normalized_[token.id] = spelling;
      }
      (token.is_normalized ? after_ : before_).add(spelling, token);
    }
    if (steps_.post_processor && steps_.post_processor->trims()) {
      const Vocabulary& vocabulary = steps_.model->vocabulary();
      blanks_.resize(static_cast<size_t>(vocabulary.end_id()));
      for (int32_t id = 0; id < vocabulary.end_id(); ++id) blanks_[static_cast<size_t>(id)] = blanks_of(vocabulary.token(id));
    }
    find_special_tokens(config);
  }

  Encoding encode(std::string_view text, const EncodeOptions& options) const override {
    const Read first(text);
    const Read second(options.pair.value_or(std::string_view()));
    Scratch scratch(first.text.size() + second.text.size());
    std::vector<Part> parts;
    parts.push_back(tokenize(first, 0, scratch));
    if (options.pair) parts.push_back(tokenize(second, 1, scratch));
    if (steps_.post_processor) steps_.post_processor->apply(parts, options.add_special_tokens);
    return join(parts, first, second);
  }

  std::string decode(const std::vector<int32_t>& ids, bool skip_special) const override {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (const int32_t id : ids) {
      if (!has(id) || (skip_special && is_special(id))) continue;
      tokens.emplace_back(decoded_form(id));
    }
    std::string out;
    if (!steps_.decoder) {
      for (const std::string& token : tokens) {
        if (&token != tokens.data()) out += ' ';
        out += token;
      }
      return out;
    }
    for (const std::string& token : steps_.decoder->apply(std::move(tokens))) out += token;
    return out;
  }

  std::string_view token(int32_t id) const override {
    return added_.contains(id) ? added_.token(id) : steps_.model->vocabulary().token(id);
  }

  std::string token_bytes(int32_t id) const override {
    if (added_.contains(id)) return std::string(added_.token(id));
    const std::string_view spelled = token(id);
    return steps_.decoder ? steps_.decoder->bytes(spelled) : std::string(spelled);
  }

  std::optional<int32_t> id(std::string_view token) const override {
    int32_t found = added_.find(token);
    if (found < 0) found = steps_.model->vocabulary().find(token);
    if (found < 0) return std::nullopt;
    return found;
  }

  int64_t vocabulary_size() const override { return std::max(added_.end_id(), steps_.model->vocabulary().end_id()); }
  bool is_special(int32_t id) const override { return special_ids_.contains(id); }
  const SpecialTokens& special_tokens() const override { return special_; }

 protected:
  std::optional<std::string> contribution(int32_t id, bool is_first) const override {
    if (!has(id)) return std::string();
    const std::string_view form = decoded_form(id);
    if (!steps_.decoder) return is_first ? std::string(form) : " " + std::string(form);
    return steps_.decoder->contribution(form, is_first);
  }

 private:
  bool has(int32_t id) const { return added_.contains(id) || steps_.model->vocabulary().contains(id); }

  // Tokens that are matched in their normalized spelling are decoded from it, too.
  std::string_view decoded_form(int32_t id) const {
    const auto normalized = normalized_.find(id);
    return normalized == normalized_.end() ? token(id) : std::string_view(normalized->second);
  }

  Part tokenize(const Read& read, uint8_t segment, Scratch& scratch) const {
    Cuts cuts;
    for (const Found& found : before_.find(read.text)) {
      Aligned text(read.text.substr(found.begin, found.end - found.begin), static_cast<uint32_t>(found.begin));
      if (found.id < 0 && steps_.normalizer) steps_.normalizer->apply(text);
      add_cuts(std::move(text), found.id, cuts);
    }
    if (steps_.pre_tokenizer) steps_.pre_tokenizer->apply(cuts);
    Part part{read.text, {}, segment, segment};
    part.tokens.reserve(cuts.cuts.size() + cuts.cuts.size() / 4);
    for (const Cut& cut : cuts.cuts) take(cuts, cut, part, scratch);
    // Cached words point into the pool of this text, which is destroyed here.
    std::fill(scratch.known.begin(), scratch.known.end(), Scratch::Known{});
    scratch.memory.clear();
    return part;
  }

  void add_cuts(Aligned text, int32_t id, Cuts& cuts) const {
    if (text.empty()) return;
    const uint32_t index = static_cast<uint32_t>(cuts.pool.size());
    cuts.pool.push_back(std::move(text));
    const std::string_view bytes = cuts.pool.back().bytes();
    if (bytes.size() >= UINT32_MAX)
      fail(ErrorCode::kTooLong, "the text has {} bytes once it is normalized; one call supports less than 4 GiB", bytes.size());
    if (id >= 0 || after_.empty()) {
      cuts.cuts.push_back({index, 0, static_cast<uint32_t>(bytes.size()), id});
      return;
    }
    for (const Found& found : after_.find(bytes)) {
      cuts.cuts.push_back({index, static_cast<uint32_t>(found.begin), static_cast<uint32_t>(found.end), found.id});
    }
  }

  void take(const Cuts& cuts, const Cut& cut, Part& part, Scratch& scratch) const {
    const Aligned& text = cuts.pool[cut.text];
    if (cut.token >= 0) {
      const Origin origin = text.origin(cut.begin, cut.end);
      const Blanks blanks = blanks_.empty() ? Blanks{} : blanks_of(cuts.bytes(cut));
      part.tokens.push_back({cut.token, origin.begin, origin.end, blanks.before, blanks.after});
      return;
    }
    steps_.model->tokenize(cuts.bytes(cut), scratch);
    for (const Piece& piece : scratch.pieces) {
      Origin origin{};
      if (piece.begin < piece.end) {
        origin = text.origin(cut.begin + piece.begin, cut.begin + piece.end);
      } else {  // a prefix or suffix that was spelled in bytes covers none of the text
        origin.begin = origin.end = text.origin(cut.begin, cut.end).end;
      }
      const Blanks blanks = blanks_.empty() ? Blanks{} : blanks_[static_cast<size_t>(piece.id)];
      part.tokens.push_back({piece.id, origin.begin, std::max(origin.begin, origin.end), blanks.before, blanks.after});
    }
  }

  static Encoding join(const std::vector<Part>& parts, const Read& first, const Read& second) {
    Encoding encoding;
    size_t count = 0;
    for (const Part& part : parts) count += part.tokens.size();
    encoding.ids.reserve(count);
    encoding.type_ids.reserve(count);
    encoding.offsets.reserve(count);
    encoding.segment.reserve(count);
    for (const Part& part : parts) {
      const std::vector<Replaced>& replaced = (part.segment == 1 ? second : first).replaced;
      for (const Part::Token& token : part.tokens) {
        encoding.ids.push_back(token.id);
        encoding.type_ids.push_back(part.type_id);
        encoding.segment.push_back(part.segment);
        if (replaced.empty() || part.segment == Part::kInserted) {
          encoding.offsets.push_back({token.begin, token.end});
        } else {
          encoding.offsets.push_back({given_offset(replaced, token.begin), given_offset(replaced, token.end)});
        }
      }
    }
    return encoding;
  }

  void find_special_tokens(const Json& config) {
    const auto named = [&](const char* role, std::initializer_list<std::string_view> usual) -> std::optional<int32_t> {
      if (const Json* value = config.find(role)) {
        const Json* content = value->is_object() ? value->find("content") : value;
        return content && content->is_string() ? id(content->string()) : std::nullopt;
      }
      for (const std::string_view name : usual) {
        if (const auto found = id(name)) return found;
      }
      return std::nullopt;
    };
    special_.bos = named("bos_token", {"<s>", "<|begin_of_text|>", "<|endoftext|>"});
    special_.eos = named("eos_token", {"</s>", "<|end_of_text|>", "<|endoftext|>"});
    special_.cls = named("cls_token", {"[CLS]"});
    special_.sep = named("sep_token", {"[SEP]"});
    special_.mask = named("mask_token", {"[MASK]", "<mask>"});
    special_.pad = named("pad_token", {"[PAD]", "<pad>"});
    special_.unk = named("unk_token", {steps_.model->unknown, "[UNK]", "<unk>"});
  }

  Steps steps_;
  Vocabulary added_;
  AddedTokenMatcher before_, after_;  // before and after normalization
  std::unordered_map<int32_t, std::string> normalized_;
  std::unordered_set<int32_t> special_ids_;
  std::vector<Blanks> blanks_;  // by id; empty if offsets are not trimmed
  SpecialTokens special_;
};

}  // namespace

std::shared_ptr<const Tokenizer> assemble(Steps steps, const Json& config) { return std::make_shared<Assembled>(std::move(steps), config); }

}  // namespace clearhead::text
