// Reads "model" of tokenizer.json, and the text files that preceded it, into vocabularies and merges. All input is
// validated here.
#include "base/format.h"
#include "text/model.h"
#include "text/unicode.h"

namespace clearhead::text {
namespace {

std::string optional_text(Fields& fields, std::string_view name, bool* is_given = nullptr) {
  const Json* value = fields.take(name);
  if (is_given) *is_given = value && !value->is_null();
  if (!value || value->is_null()) return {};
  if (!value->is_string()) fields.wrong(name, "a string or null", *value);
  return value->string();
}

std::vector<Merge> merges_of(const Json& json, std::string_view where) {
  if (!json.is_array()) fail(ErrorCode::kFormat, "{}: \"model.merges\": expected an array, found {}", where, json.describe());
  std::vector<Merge> merges;
  merges.reserve(json.size());
  for (const Json& item : json.items()) {
    if (item.is_array() && item.size() == 2 && item.items()[0].is_string() && item.items()[1].is_string()) {
      merges.push_back({item.items()[0].string(), item.items()[1].string()});
      continue;
    }
    if (item.is_string()) {
      const std::string_view text = item.string();
      const size_t blank = text.find(' ');
      if (blank != std::string_view::npos && text.find(' ', blank + 1) == std::string_view::npos) {
        merges.push_back({text.substr(0, blank), text.substr(blank + 1)});
        continue;
      }
    }
    fail(ErrorCode::kFormat, "{}: \"model.merges[{}]\": expected \"left right\" or [\"left\", \"right\"], found {}", where, merges.size(),
         item.describe());
  }
  return merges;
}

std::unique_ptr<Model> read_wordpiece(Fields& fields, const Json& vocab, std::string_view where) {
  WordPieceOptions options;
  options.unknown = fields.string_or("unk_token", "[UNK]");
  options.prefix = fields.string_or("continuing_subword_prefix", "##");
  options.maximum_characters = fields.integer_or("max_input_chars_per_word", 100);
  fields.refuse_rest();
  Vocabulary vocabulary;
  read_vocabulary(vocab, where, "model.vocab", vocabulary);
  return make_wordpiece(std::move(vocabulary), std::move(options));
}

std::unique_ptr<Model> read_bpe(Fields& fields, const Json& vocab, std::string_view where, bool may_be_raw, bool* is_raw) {
  BpeOptions options;
  const Json* dropout = fields.take("dropout");
  if (dropout && !dropout->is_null() && !dropout->is_number()) fields.wrong("dropout", "a number or null", *dropout);
  if (dropout && !dropout->is_null() && dropout->number() != 0.0) {
    fail(ErrorCode::kUnsupported, "{}: \"model.dropout\" is {}; random encoding (BPE dropout) is not supported; set it to null", where,
         dropout->describe());
  }
  options.unknown = optional_text(fields, "unk_token", &options.has_unknown);
  options.prefix = optional_text(fields, "continuing_subword_prefix");
  options.suffix = optional_text(fields, "end_of_word_suffix");
  options.fuses_unknown = fields.boolean_or("fuse_unk", false);
  options.falls_back_to_bytes = fields.boolean_or("byte_fallback", false);
  options.ignores_merges = fields.boolean_or("ignore_merges", false);
  options.is_raw = may_be_raw && options.prefix.empty() && options.suffix.empty() && !options.falls_back_to_bytes;
  *is_raw = options.is_raw;
  const std::vector<Merge> merges = merges_of(fields.require("merges"), where);
  fields.refuse_rest();
  Vocabulary vocabulary;
  read_vocabulary(vocab, where, "model.vocab", vocabulary);
  return make_bpe(std::move(vocabulary), merges, std::move(options), where);
}

}  // namespace

void read_vocabulary(const Json& json, std::string_view where, std::string_view path, Vocabulary& vocabulary) {
  if (!json.is_object())
    fail(ErrorCode::kFormat, "{}: \"{}\": expected an object that maps tokens to ids, found {}", where, path, json.describe());
  vocabulary.reserve(json.size());
  for (const auto& [token, id] : json.fields()) {
    if (!id.is_integer() || id.integer() < 0 || id.integer() > Vocabulary::kMaximumId) {
      fail(ErrorCode::kFormat, "{}: \"{}\": the id of \"{}\" must be an integer from 0 to {}, found {}", where, path, token,
           Vocabulary::kMaximumId, id.describe());
    }
    const int32_t number = static_cast<int32_t>(id.integer());
    if (vocabulary.contains(number)) {
      fail(ErrorCode::kFormat, "{}: \"{}\": the tokens \"{}\" and \"{}\" have the same id {}", where, path, vocabulary.token(number), token,
           number);
    }
    vocabulary.add(token, number);
  }
}

std::unique_ptr<Model> read_model(const Json& json, std::string_view where, bool may_be_raw, bool* is_raw) {
  *is_raw = false;
  Fields fields(json, where, "model");
  const Json* type = fields.take("type");
  const Json& vocab = fields.require("vocab");
  std::string name = type && type->is_string() ? type->string() : "";
  if (!type) name = json.find("merges") ? "BPE" : json.find("continuing_subword_prefix") ? "WordPiece" : "";  // older files
  if (name == "WordPiece") return read_wordpiece(fields, vocab, where);
  if (name == "BPE") return read_bpe(fields, vocab, where, may_be_raw, is_raw);
  fail(ErrorCode::kUnsupported, "{}: \"model.type\" {} is not supported; expected WordPiece or BPE", where,
       type ? type->describe() : "(absent)");
}

std::vector<Merge> read_merges(std::string_view merges_txt, std::string_view where) {
  if (valid_prefix(merges_txt) != merges_txt.size()) {
    fail(ErrorCode::kFormat, "{}: byte {} is not valid UTF-8", where, valid_prefix(merges_txt));
  }
  std::vector<Merge> merges;
  size_t line_number = 0;
  for (size_t at = 0; at < merges_txt.size();) {
    const size_t end = std::min(merges_txt.find('\n', at), merges_txt.size());
    std::string_view line = merges_txt.substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("#version") || line.empty()) continue;
    const size_t blank = line.find(' ');
    if (blank == std::string_view::npos || line.find(' ', blank + 1) != std::string_view::npos) {
      fail(ErrorCode::kFormat, "{}: line {}: expected two tokens separated by a space, found \"{}\"", where, line_number,
           line.substr(0, valid_prefix(line.substr(0, 80))));
    }
    merges.push_back({line.substr(0, blank), line.substr(blank + 1)});
  }
  return merges;
}

}  // namespace clearhead::text
