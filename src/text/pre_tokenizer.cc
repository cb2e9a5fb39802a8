// The pre-tokenizers of tokenizer.json. A pattern divides a text into matches and the ranges between them, and one of five
// behaviours turns these into words: removed, isolated, merged with the previous, merged with the next, contiguous.
#include "text/pre_tokenizer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/format.h"
#include "text/byte_alphabet.h"
#include "text/parts.h"
#include "text/pattern.h"
#include "text/splitter.h"

namespace clearhead::text {
namespace {

// A match of a pattern, or the range between two matches. A list of stretches is in order and covers its text.
struct Stretch {
  size_t begin, end;
  bool is_match;
};

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

void merge_contiguous(std::vector<Stretch>& list) {
  std::vector<Stretch> out;
  bool previous = false;
  for (const Stretch& item : list) {
    if (item.is_match == previous && !out.empty()) {
      out.back().end = item.end;
    } else {
      out.push_back(item);
    }
    previous = item.is_match;
  }
  list = std::move(out);
}

void merge_with_previous(std::vector<Stretch>& list) {
  std::vector<Stretch> out;
  bool previous = false;
  for (const Stretch& item : list) {
    if (item.is_match && !previous && !out.empty()) {
      out.back().end = item.end;
    } else {
      out.push_back(item);
    }
    previous = item.is_match;
  }
  list = std::move(out);
}

void merge_with_next(std::vector<Stretch>& list) {
  std::vector<Stretch> out;
  bool previous = false;
  for (auto item = list.rbegin(); item != list.rend(); ++item) {
    if (item->is_match && !previous && !out.empty()) {
      out.back().begin = item->begin;
    } else {
      out.push_back(*item);
    }
    previous = item->is_match;
  }
  std::reverse(out.begin(), out.end());
  list = std::move(out);
}

void behave(std::vector<Stretch>& list, Behavior behavior) {
  switch (behavior) {
    case Behavior::kRemoved: std::erase_if(list, [](const Stretch& item) { return item.is_match; }); break;
    case Behavior::kIsolated: break;
    case Behavior::kContiguous: merge_contiguous(list); break;
    case Behavior::kMergedWithPrevious: merge_with_previous(list); break;
    case Behavior::kMergedWithNext: merge_with_next(list); break;
  }
}

// Replaces every cut that is not an added token by the ranges for which split(bytes, put) calls put(begin, end).
template <class Split>
void split_cuts(Cuts& cuts, const Split& split) {
  std::vector<Cut> out;
  out.reserve(cuts.cuts.size());
  for (const Cut& cut : cuts.cuts) {
    if (cut.token >= 0) {
      out.push_back(cut);
      continue;
    }
    split(cuts.bytes(cut), [&](size_t begin, size_t end) {
      if (begin < end) out.push_back({cut.text, cut.begin + static_cast<uint32_t>(begin), cut.begin + static_cast<uint32_t>(end), -1});
    });
  }
  cuts.cuts = std::move(out);
}

// Calls rewrite(text) for every cut that is not an added token and for which wants(cut) is true. The cut becomes a text of
// its own.
template <class Wants, class Rewrite>
void rewrite_cuts(Cuts& cuts, const Wants& wants, const Rewrite& rewrite) {
  for (Cut& cut : cuts.cuts) {
    if (cut.token >= 0 || !wants(cut)) continue;
    Aligned text(cuts.pool[cut.text], cut.begin, cut.end);
    rewrite(text);
    cut = {static_cast<uint32_t>(cuts.pool.size()), 0, static_cast<uint32_t>(text.bytes().size()), -1};
    cuts.pool.push_back(std::move(text));
  }
  std::erase_if(cuts.cuts, [](const Cut& cut) { return cut.token < 0 && cut.begin == cut.end; });
}

// Splits at characters of the class `dropped`, which are removed, and of the class `alone`, which become words of their own.
void split_by_class(Cuts& cuts, uint16_t dropped, uint16_t alone) {
  split_cuts(cuts, [&](std::string_view text, const auto& put) {
    size_t begin = 0;
    for (size_t at = 0; at < text.size();) {
      const Decoded decoded = decode_valid(text, at);
      const uint16_t found = classes(decoded.c);
      if (found & (dropped | alone)) {
        put(begin, at);
        begin = at + decoded.length;
        if ((found & dropped) == 0) put(at, begin);
      }
      at += decoded.length;
    }
    put(begin, text.size());
  });
}

class BertPreTokenizer : public PreTokenizer {
 public:
  void apply(Cuts& cuts) const override { split_by_class(cuts, kSpace, kBertPunctuation); }
};

class WhitespaceSplit : public PreTokenizer {
 public:
  void apply(Cuts& cuts) const override { split_by_class(cuts, kSpace, 0); }
};

// \w+|[^\w\s]+
class Whitespace : public PreTokenizer {
 public:
  void apply(Cuts& cuts) const override {
    split_cuts(cuts, [](std::string_view text, const auto& put) {
      size_t begin = 0;
      int kind = 0;  // 0: space, 1: word, 2: other
      for (size_t at = 0; at < text.size();) {
        const Decoded decoded = decode_valid(text, at);
        const uint16_t found = classes(decoded.c);
        const int now = (found & kWord) ? 1 : (found & kSpace) ? 0 : 2;
        if (now != kind) {
          if (kind != 0) put(begin, at);
          begin = at;
          kind = now;
        }
        at += decoded.length;
      }
      if (kind != 0) put(begin, text.size());
    });
  }
};

// Splits by a class of characters instead of a pattern: each character of the class is a match.
class ByClass : public PreTokenizer {
 public:
  ByClass(uint16_t wanted, Behavior behavior) : wanted_(wanted), behavior_(behavior) {}
  void apply(Cuts& cuts) const override {
    split_cuts(cuts, [&](std::string_view text, const auto& put) {
      std::vector<Stretch> list;
      size_t begin = 0;
      for (size_t at = 0; at < text.size();) {
        const Decoded decoded = decode_valid(text, at);
        if (is(decoded.c, wanted_)) {
          if (begin < at) list.push_back({begin, at, false});
          begin = at + decoded.length;
          list.push_back({at, begin, true});
        }
        at += decoded.length;
      }
      if (begin < text.size()) list.push_back({begin, text.size(), false});
      behave(list, behavior_);
      for (const Stretch& item : list) put(item.begin, item.end);
    });
  }

 private:
  uint16_t wanted_;
  Behavior behavior_;
};

class Split : public PreTokenizer {
 public:
  Split(Pattern pattern, Behavior behavior, bool is_inverted)
      : pattern_(std::move(pattern)), behavior_(behavior), is_inverted_(is_inverted) {
    // The well-known rules match every character, so isolated matches are simply the words.
    if (pattern_.expression() && (behavior == Behavior::kIsolated || (behavior == Behavior::kRemoved && is_inverted))) {
      rule_ = known_rule(*pattern_.expression());
    }
  }
  void apply(Cuts& cuts) const override {
    split_cuts(cuts, [&](std::string_view text, const auto& put) {
      if (rule_) {
        for (size_t at = 0; at < text.size();) {
          const size_t end = word_end(*rule_, text, at);
          put(at, end);
          at = end;
        }
        return;
      }
      std::vector<Stretch> list;
      size_t begin = 0;
      for (const auto& [from, to] : pattern_.find_all(text)) {
        if (begin < from) list.push_back({begin, from, is_inverted_});
        list.push_back({from, to, !is_inverted_});
        begin = to;
      }
      if (begin < text.size()) list.push_back({begin, text.size(), is_inverted_});
      behave(list, behavior_);
      for (const Stretch& item : list) put(item.begin, item.end);
    });
  }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool is_inverted_;
  std::optional<WordRule> rule_;
};

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex, bool spells) : adds_space_(add_prefix_space), splits_(use_regex), spells_(spells) {}
  void apply(Cuts& cuts) const override {
    if (adds_space_) {
      rewrite_cuts(
          cuts, [&](const Cut& cut) { return cuts.bytes(cut)[0] != ' '; }, [](Aligned& text) { text.prepend(" "); });
    }
    if (splits_) {
      split_cuts(cuts, [](std::string_view text, const auto& put) {
        for (size_t at = 0; at < text.size();) {
          const size_t end = word_end(WordRule{}, text, at);
          put(at, end);
          at = end;
        }
      });
    }
    if (spells_)
      rewrite_cuts(
          cuts, [](const Cut&) { return true; }, [](Aligned& text) { spell_bytes(text); });
  }

 private:
  bool adds_space_, splits_, spells_;
};

class Metaspace : public PreTokenizer {
 public:
  Metaspace(std::string replacement, std::string scheme, bool splits)
      : replacement_(std::move(replacement)), scheme_(std::move(scheme)), splits_(splits) {}
  void apply(Cuts& cuts) const override {
    rewrite_cuts(
        cuts, [](const Cut&) { return true; }, [&](Aligned& text) { mark(text); });
    if (!splits_) return;
    split_cuts(cuts, [&](std::string_view text, const auto& put) {
      std::vector<Stretch> list;
      size_t begin = 0;
      for (size_t at = text.find(replacement_); at != std::string_view::npos; at = text.find(replacement_, at + replacement_.size())) {
        if (begin < at) list.push_back({begin, at, false});
        begin = at + replacement_.size();
        list.push_back({at, begin, true});
      }
      if (begin < text.size()) list.push_back({begin, text.size(), false});
      behave(list, Behavior::kMergedWithNext);
      for (const Stretch& item : list) put(item.begin, item.end);
    });
  }

 private:
  void mark(Aligned& text) const {
    const bool is_first = text.origin(0, 1).begin == 0;
    std::vector<std::pair<size_t, size_t>> blanks;
    const std::string_view bytes = text.bytes();
    for (size_t at = bytes.find(' '); at != std::string_view::npos; at = bytes.find(' ', at + 1)) blanks.emplace_back(at, at + 1);
    text.replace(blanks, replacement_);
    if (scheme_ == "never" || text.bytes().starts_with(replacement_)) return;
    if (scheme_ == "always" || is_first) text.prepend(replacement_);
  }
  std::string replacement_, scheme_;
  bool splits_;
};

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void apply(Cuts& cuts) const override {
    for (const auto& part : parts_) part->apply(cuts);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

Behavior read_behavior(Fields& fields, std::string_view otherwise) {
  const std::string name = fields.string_or("behavior", otherwise);
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  fields.wrong("behavior", "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous", Json(name));
}

std::unique_ptr<PreTokenizer> read_sequence(Fields& fields, std::string_view where, bool spells) {
  const Json::Array& list = fields.items("pretokenizers");
  return std::make_unique<Sequence>(read_parts<PreTokenizer>(fields, "pretokenizers", [&](const Json& item, const std::string& path) {
    return read_pre_tokenizer(item, where, path, spells || &item != &list.back());
  }));
}

std::unique_ptr<PreTokenizer> read_metaspace(Fields& fields) {
  const std::string replacement = fields.string_or("replacement", "\xE2\x96\x81");
  if (replacement.empty()) fields.wrong("replacement", "one character", Json(replacement));
  const bool adds_space = fields.boolean_or("add_prefix_space", true);
  std::string scheme = fields.string_or("prepend_scheme", adds_space ? "always" : "never");
  if (scheme != "always" && scheme != "never" && scheme != "first") fields.wrong("prepend_scheme", "always, never or first", Json(scheme));
  fields.take("str_rep");
  return std::make_unique<Metaspace>(replacement, std::move(scheme), fields.boolean_or("split", true));
}

}  // namespace

std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer() { return std::make_unique<BertPreTokenizer>(); }

std::unique_ptr<PreTokenizer> make_byte_level(bool add_prefix_space, bool use_regex, bool spells) {
  return std::make_unique<ByteLevel>(add_prefix_space, use_regex, spells);
}

bool ends_in_bytes(const Json& json) {
  const Json* type = json.find("type");
  if (!type || !type->is_string()) return false;
  if (type->string() == "ByteLevel") return true;
  const Json* list = type->string() == "Sequence" ? json.find("pretokenizers") : nullptr;
  return list && list->is_array() && list->size() > 0 && ends_in_bytes(list->items().back());
}

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& json, std::string_view where, std::string_view path, bool spells) {
  if (json.is_null()) return nullptr;
  Fields fields(json, where, path);
  const std::string type = fields.string("type");
  std::unique_ptr<PreTokenizer> made;
  if (type == "BertPreTokenizer") {
    made = make_bert_pre_tokenizer();
  } else if (type == "ByteLevel") {
    fields.boolean_or("trim_offsets", true);  // only for the post-processor of the same name
    const bool adds_space = fields.boolean_or("add_prefix_space", true);
    made = make_byte_level(adds_space, fields.boolean_or("use_regex", true), spells);
  } else if (type == "Split") {
    Pattern pattern(fields.require("pattern"), where, fields.path_of("pattern"));
    const Behavior behavior = read_behavior(fields, "");
    made = std::make_unique<Split>(std::move(pattern), behavior, fields.boolean_or("invert", false));
  } else if (type == "Whitespace") {
    made = std::make_unique<Whitespace>();
  } else if (type == "WhitespaceSplit") {
    made = std::make_unique<WhitespaceSplit>();
  } else if (type == "Digits") {
    made = std::make_unique<ByClass>(kNumber, fields.boolean_or("individual_digits", false) ? Behavior::kIsolated : Behavior::kContiguous);
  } else if (type == "Punctuation") {
    made = std::make_unique<ByClass>(kBertPunctuation, read_behavior(fields, "Isolated"));
  } else if (type == "Metaspace") {
    made = read_metaspace(fields);
  } else if (type == "Sequence") {
    made = read_sequence(fields, where, spells);
  } else {
    fail(ErrorCode::kUnsupported, "{}: \"{}\" \"{}\" is not understood", where, fields.path_of("type"), type);
  }
  fields.refuse_rest();
  return made;
}

}  // namespace clearhead::text
