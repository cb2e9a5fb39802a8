// The decoders of tokenizer.json: ByteLevel, WordPiece, Metaspace, BPEDecoder, Replace, ByteFallback, Fuse, Strip, Sequence.
// contribution() returns the bytes of a token if they do not depend on its neighbours.
#include "text/decoder.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "text/byte_alphabet.h"
#include "text/parts.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace clearhead::text {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  std::string out;
  size_t at = 0;
  for (size_t found = text.find(from); found != std::string::npos; found = text.find(from, at)) {
    out.append(text, at, found - at).append(to);
    at = found + from.size();
  }
  if (at == 0) return;
  text = out.append(text, at, std::string::npos);
}

class ByteLevel : public Decoder {
 public:
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    std::string all;
    for (const std::string& token : tokens) all += bytes(token);
    return {replace_invalid(all)};
  }
  std::optional<std::string> contribution(std::string_view token, bool) const override { return bytes(token); }
  std::string bytes(std::string_view token) const override {
    auto spelled = bytes_of(token);
    return spelled ? std::move(*spelled) : std::string(token);
  }
};

class WordPiece : public Decoder {
 public:
  WordPiece(std::string prefix, bool cleans_up) : prefix_(std::move(prefix)), cleans_up_(cleans_up) {}
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = *contribution(tokens[i], i == 0);
    return tokens;
  }
  std::optional<std::string> contribution(std::string_view token, bool is_first) const override {
    std::string text = is_first                     ? std::string(token)
                       : token.starts_with(prefix_) ? std::string(token.substr(prefix_.size()))
                                                    : " " + std::string(token);
    if (cleans_up_) clean_up(text);
    return text;
  }
  std::string bytes(std::string_view token) const override {
    const bool continues = token.size() > prefix_.size() && token.starts_with(prefix_);
    return std::string(continues ? token.substr(prefix_.size()) : token);
  }

 private:
  static void clean_up(std::string& text) {
    static constexpr std::pair<std::string_view, std::string_view> kRules[] = {
        {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (const auto& [from, to] : kRules) replace_all(text, from, to);
  }
  std::string prefix_;
  bool cleans_up_;
};

class Metaspace : public Decoder {
 public:
  Metaspace(std::string replacement, bool prepends) : replacement_(std::move(replacement)), prepends_(prepends) {}
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = *contribution(tokens[i], i == 0);
    return tokens;
  }
  std::optional<std::string> contribution(std::string_view token, bool is_first) const override {
    std::string text(token);
    replace_all(text, replacement_, is_first && prepends_ ? "" : " ");
    return text;
  }
  std::string bytes(std::string_view token) const override { return *contribution(token, false); }

 private:
  std::string replacement_;
  bool prepends_;
};

class BpeSuffix : public Decoder {
 public:
  explicit BpeSuffix(std::string suffix) : suffix_(std::move(suffix)) {}
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
    return tokens;
  }
  std::string bytes(std::string_view token) const override {
    std::string text(token);
    replace_all(text, suffix_, "");
    return text;
  }

 private:
  std::string suffix_;
};

class ReplaceStep : public Decoder {
 public:
  ReplaceStep(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (std::string& token : tokens) token = bytes(token);
    return tokens;
  }
  std::string bytes(std::string_view token) const override {
    std::string out;
    size_t at = 0;
    for (const auto& [begin, end] : pattern_.find_all(token)) {
      out.append(token.substr(at, begin - at)).append(content_);
      at = end;
    }
    return out.append(token.substr(at));
  }

 private:
  Pattern pattern_;
  std::string content_;
};

// <0x0A> is the byte 10. If a run of such tokens is not valid UTF-8, each of them becomes one U+FFFD.
class ByteFallback : public Decoder {
 public:
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    std::vector<std::string> out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (valid_prefix(run) == run.size()) {
        out.push_back(run);
      } else {
        for (size_t i = 0; i < run.size(); ++i) out.emplace_back("\xEF\xBF\xBD");
      }
      run.clear();
    };
    for (std::string& token : tokens) {
      const int byte = named_byte(token);
      if (byte >= 0) {
        run.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    return out;
  }
  std::string bytes(std::string_view token) const override {
    const int byte = named_byte(token);
    return byte < 0 ? std::string(token) : std::string(1, static_cast<char>(static_cast<unsigned char>(byte)));
  }

 private:
  static int named_byte(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
    const auto digit = [](char c) {
      return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    };
    const int high = digit(token[3]), low = digit(token[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
  }
};

class Fuse : public Decoder {
 public:
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    std::string all;
    for (const std::string& token : tokens) all += token;
    return {std::move(all)};
  }
};

class Strip : public Decoder {
 public:
  Strip(std::string content, int64_t start, int64_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (std::string& token : tokens) {
      std::string_view text = token;
      for (int64_t k = 0; k < start_ && text.starts_with(content_); ++k) text.remove_prefix(content_.size());
      for (int64_t k = 0; k < stop_ && text.ends_with(content_); ++k) text.remove_suffix(content_.size());
      token = std::string(text);
    }
    return tokens;
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

class Sequence : public Decoder {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Decoder>> steps) : steps_(std::move(steps)) {}
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (const auto& step : steps_) tokens = step->apply(std::move(tokens));
    return tokens;
  }
  std::optional<std::string> contribution(std::string_view token, bool is_first) const override {
    return steps_.size() == 1 ? steps_[0]->contribution(token, is_first) : std::nullopt;
  }
  std::string bytes(std::string_view token) const override {
    std::string text(token);
    for (const auto& step : steps_) {
      if (valid_prefix(text) == text.size()) text = step->bytes(text);
    }
    return text;
  }

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

std::unique_ptr<Decoder> read_sequence(Fields& fields, std::string_view where) {
  return std::make_unique<Sequence>(
      read_parts<Decoder>(fields, "decoders", [&](const Json& item, const std::string& path) { return read_decoder(item, where, path); }));
}

std::unique_ptr<Decoder> read_metaspace(Fields& fields) {
  const bool adds_space = fields.boolean_or("add_prefix_space", true);
  fields.take("split");
  fields.take("str_rep");
  const std::string scheme = fields.string_or("prepend_scheme", adds_space ? "always" : "never");
  return std::make_unique<Metaspace>(fields.string("replacement"), scheme != "never");
}

std::unique_ptr<Decoder> read_strip(Fields& fields) {
  const std::string content = fields.string("content");
  if (content.empty()) fields.wrong("content", "one character", Json(content));
  const int64_t start = fields.integer_or("start", 0);
  return std::make_unique<Strip>(content, start, fields.integer_or("stop", 0));
}

}  // namespace

std::optional<std::string> Decoder::contribution(std::string_view, bool) const { return std::nullopt; }

std::string Decoder::bytes(std::string_view token) const { return std::string(token); }

std::unique_ptr<Decoder> make_wordpiece_decoder(std::string prefix, bool cleans_up) {
  return std::make_unique<WordPiece>(std::move(prefix), cleans_up);
}

std::unique_ptr<Decoder> make_byte_level_decoder() { return std::make_unique<ByteLevel>(); }

std::unique_ptr<Decoder> read_decoder(const Json& json, std::string_view where, std::string_view path) {
  if (json.is_null()) return nullptr;
  Fields fields(json, where, path);
  const std::string type = fields.string("type");
  std::unique_ptr<Decoder> made;
  if (type == "ByteLevel") {
    for (const char* name : {"add_prefix_space", "trim_offsets", "use_regex"}) fields.take(name);  // for the other ByteLevel steps
    made = make_byte_level_decoder();
  } else if (type == "WordPiece") {
    const std::string prefix = fields.string_or("prefix", "##");
    made = make_wordpiece_decoder(prefix, fields.boolean_or("cleanup", true));
  } else if (type == "Metaspace") {
    made = read_metaspace(fields);
  } else if (type == "BPEDecoder") {
    made = std::make_unique<BpeSuffix>(fields.string_or("suffix", "</w>"));
  } else if (type == "Replace") {
    Pattern pattern(fields.require("pattern"), where, fields.path_of("pattern"));
    made = std::make_unique<ReplaceStep>(std::move(pattern), fields.string("content"));
  } else if (type == "ByteFallback") {
    made = std::make_unique<ByteFallback>();
  } else if (type == "Fuse") {
    made = std::make_unique<Fuse>();
  } else if (type == "Strip") {
    made = read_strip(fields);
  } else if (type == "Sequence") {
    made = read_sequence(fields, where);
  } else {
    fail(ErrorCode::kUnsupported, "{}: \"{}\" \"{}\" is not understood", where, fields.path_of("type"), type);
  }
  fields.refuse_rest();
  return made;
}

}  // namespace clearhead::text
