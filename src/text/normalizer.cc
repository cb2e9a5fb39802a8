// The normalizers of tokenizer.json: normal forms, Lowercase, StripAccents, BertNormalizer, Replace, Prepend, Strip, ByteLevel, Sequence.
// ASCII text takes a faster path if the result is the same.
#include "text/normalizer.h"

#include <vector>

#include "base/format.h"
#include "text/byte_alphabet.h"
#include "text/parts.h"
#include "text/pattern.h"

namespace clearhead::text {
namespace {

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

void lowercase(Aligned& text) {
  if (is_ascii(text.bytes())) return text.lower_ascii();
  const std::string_view bytes = text.bytes();
  std::vector<Change> changes;
  changes.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const Decoded decoded = decode_valid(bytes, at);
    at += decoded.length;
    const Lower lower = to_lower(decoded.c);
    changes.push_back({lower.first, 0});
    if (lower.second != 0) changes.push_back({lower.second, 1});
  }
  text.transform(changes);
}

// False if no character of the text can change in this normal form.
bool needs_form(std::string_view bytes, NormalForm form) {
  const bool is_composed = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  for (size_t at = 0; at < bytes.size();) {
    const unsigned char lead = static_cast<unsigned char>(bytes[at]);
    if (lead < 0x80) {
      ++at;
      continue;
    }
    const Decoded decoded = decode_valid(bytes, at);
    at += decoded.length;
    if (form == NormalForm::kNfc && decoded.c < 0x300) continue;
    if (is(decoded.c, kApart)) return true;
    if (is_composed && decoded.c >= 0x1100 && decoded.c < 0x1200) return true;  // Hangul jamo compose
  }
  return false;
}

void apply_form(Aligned& text, NormalForm form) {
  if (needs_form(text.bytes(), form)) text.transform(normal_form(text.bytes(), form));
}

class Form : public Normalizer {
 public:
  explicit Form(NormalForm form) : form_(form) {}
  void apply(Aligned& text) const override { apply_form(text, form_); }

 private:
  NormalForm form_;
};

class Lowercase : public Normalizer {
 public:
  void apply(Aligned& text) const override { lowercase(text); }
};

class StripAccents : public Normalizer {
 public:
  void apply(Aligned& text) const override {
    if (is_ascii(text.bytes())) return;
    text.filter([](char32_t c) { return !is(c, kCombiningMark); });
  }
};

// Cleans the text, puts spaces around Chinese characters, decomposes and strips marks, and lower-cases. One pass does all of
// it, character by character, unless a mark remains that canonical ordering might move; then each step is a separate pass.
class Bert : public Normalizer {
 public:
  explicit Bert(const BertNormalizerOptions& options) : options_(options) {}

  void apply(Aligned& text) const override {
    if (is_plain(text.bytes())) {
      if (options_.lowercase) text.lower_ascii();
      return;
    }
    if (text.map([&](char32_t c, std::string& out) { return write(c, out); })) return;
    if (options_.clean_text) clean(text);
    if (options_.handle_chinese_chars) set_chinese_apart(text);
    if (options_.strip_accents) {
      apply_form(text, NormalForm::kNfd);
      text.filter([](char32_t c) { return !is(c, kNonspacingMark); });
    }
    if (options_.lowercase) lowercase(text);
  }

 private:
  bool write(char32_t c, std::string& out) const {
    const uint16_t found = classes(c);
    if (options_.clean_text) {
      if (found & kBertRemoved) return true;
      if (found & kSpace) c = ' ';
    }
    const bool is_apart = options_.handle_chinese_chars && (found & kChinese);
    if (is_apart) out += ' ';
    if (c < 0x80 || !options_.strip_accents || (found & kApart) == 0) {
      lower(c, out);
    } else {
      char32_t parts[8];
      const size_t count = decompose(c, parts);
      for (size_t i = 0; i < count; ++i) {
        if (is(parts[i], kNonspacingMark)) continue;
        if (combining_class(parts[i]) != 0) return false;
        lower(parts[i], out);
      }
    }
    if (is_apart) out += ' ';
    return true;
  }
  void lower(char32_t c, std::string& out) const {
    if (!options_.lowercase) return append_utf8(out, c);
    const Lower lower = to_lower(c);
    append_utf8(out, lower.first);
    if (lower.second != 0) append_utf8(out, lower.second);
  }
  // ASCII without control characters: only the case can change.
  static bool is_plain(std::string_view text) {
    for (const char c : text) {
      const unsigned char byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || byte >= 0x7F) return false;
    }
    return true;
  }
  static void clean(Aligned& text) {
    text.filter([](char32_t c) { return !is(c, kBertRemoved); });
    const std::string_view bytes = text.bytes();
    std::vector<Change> changes;
    bool any = false;
    changes.reserve(bytes.size());
    for (size_t at = 0; at < bytes.size();) {
      const Decoded decoded = decode_valid(bytes, at);
      at += decoded.length;
      const bool is_blank = decoded.c != ' ' && is(decoded.c, kSpace);
      any |= is_blank;
      changes.push_back({is_blank ? U' ' : decoded.c, 0});
    }
    if (any) text.transform(changes);
  }
  static void set_chinese_apart(Aligned& text) {
    const std::string_view bytes = text.bytes();
    std::vector<Change> changes;
    bool any = false;
    changes.reserve(bytes.size());
    for (size_t at = 0; at < bytes.size();) {
      const Decoded decoded = decode_valid(bytes, at);
      at += decoded.length;
      if (is(decoded.c, kChinese)) {
        any = true;
        changes.push_back({U' ', 0});
        changes.push_back({decoded.c, 1});
        changes.push_back({U' ', 1});
      } else {
        changes.push_back({decoded.c, 0});
      }
    }
    if (any) text.transform(changes);
  }
  BertNormalizerOptions options_;
};

class Replace : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(Aligned& text) const override { text.replace(pattern_.find_all(text.bytes()), content_); }

 private:
  Pattern pattern_;
  std::string content_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string content) : content_(std::move(content)) {}
  void apply(Aligned& text) const override { text.prepend(content_); }

 private:
  std::string content_;
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(Aligned& text) const override {
    const std::string_view bytes = text.bytes();
    size_t begin = 0, end = bytes.size();
    while (left_ && begin < end && is(decode_valid(bytes, begin).c, kSpace)) begin += decode_valid(bytes, begin).length;
    while (right_ && end > begin && is(decode_valid(bytes, previous_boundary(bytes, end)).c, kSpace)) end = previous_boundary(bytes, end);
    if (begin > 0 || end < bytes.size()) text = Aligned(text, begin, end);
  }

 private:
  bool left_, right_;
};

class ByteLevel : public Normalizer {
 public:
  void apply(Aligned& text) const override { spell_bytes(text); }
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  void apply(Aligned& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

std::unique_ptr<Normalizer> read_bert(Fields& fields) {
  BertNormalizerOptions options;
  options.clean_text = fields.boolean_or("clean_text", true);
  options.handle_chinese_chars = fields.boolean_or("handle_chinese_chars", true);
  options.lowercase = fields.boolean_or("lowercase", true);
  options.strip_accents = fields.boolean_or("strip_accents", options.lowercase);
  return make_bert_normalizer(options);
}

std::unique_ptr<Normalizer> read_sequence(Fields& fields, std::string_view where) {
  return std::make_unique<Sequence>(read_parts<Normalizer>(
      fields, "normalizers", [&](const Json& item, const std::string& path) { return read_normalizer(item, where, path); }));
}

}  // namespace

std::unique_ptr<Normalizer> make_bert_normalizer(const BertNormalizerOptions& options) { return std::make_unique<Bert>(options); }

std::unique_ptr<Normalizer> read_normalizer(const Json& json, std::string_view where, std::string_view path) {
  if (json.is_null()) return nullptr;
  Fields fields(json, where, path);
  const std::string type = fields.string("type");
  std::unique_ptr<Normalizer> made;
  if (type == "BertNormalizer") {
    made = read_bert(fields);
  } else if (type == "Lowercase") {
    made = std::make_unique<Lowercase>();
  } else if (type == "NFC") {
    made = std::make_unique<Form>(NormalForm::kNfc);
  } else if (type == "NFD") {
    made = std::make_unique<Form>(NormalForm::kNfd);
  } else if (type == "NFKC") {
    made = std::make_unique<Form>(NormalForm::kNfkc);
  } else if (type == "NFKD") {
    made = std::make_unique<Form>(NormalForm::kNfkd);
  } else if (type == "StripAccents") {
    made = std::make_unique<StripAccents>();
  } else if (type == "Strip") {
    const bool left = fields.boolean_or("strip_left", true);
    made = std::make_unique<Strip>(left, fields.boolean_or("strip_right", true));
  } else if (type == "Prepend") {
    made = std::make_unique<Prepend>(fields.string("prepend"));
  } else if (type == "Replace") {
    Pattern pattern(fields.require("pattern"), where, fields.path_of("pattern"));
    made = std::make_unique<Replace>(std::move(pattern), fields.string("content"));
  } else if (type == "ByteLevel") {
    made = std::make_unique<ByteLevel>();
  } else if (type == "Sequence") {
    made = read_sequence(fields, where);
  } else {
    fail(ErrorCode::kUnsupported, "{}: \"{}\" \"{}\" is not understood", where, fields.path_of("type"), type);
  }
  fields.refuse_rest();
  return made;
}

}  // namespace clearhead::text
