// tokenizer.json of trained vocabularies: byte-level BPE, WordPiece with BERT's template, and the tokenizer whose tokens are
// the 256 bytes.
#include "text/tokenizer_json.h"

#include <algorithm>
#include <optional>

#include "base/format.h"
#include "base/json.h"
#include "clearhead/error.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace clearhead {
namespace {

Json vocabulary_of(const VocabularyTables& tables) {
  Json::Object fields;
  fields.reserve(tables.tokens.size());
  for (size_t id = 0; id < tables.tokens.size(); ++id) fields.emplace_back(tables.tokens[id], Json(static_cast<int64_t>(id)));
  return Json(std::move(fields));
}

Json added_tokens_of(const VocabularyTables& tables) {
  Json list = Json::array();
  for (int64_t id = 0; id < tables.special; ++id) {
    list.push(Json::object({{"id", id},
                            {"content", tables.tokens[static_cast<size_t>(id)]},
                            {"single_word", false},
                            {"lstrip", false},
                            {"rstrip", false},
                            {"normalized", false},
                            {"special", true}}));
  }
  return list;
}

Json byte_level(bool adds_space, bool splits_words) {
  return Json::object({{"type", "ByteLevel"}, {"add_prefix_space", adds_space}, {"trim_offsets", true}, {"use_regex", splits_words}});
}

// [CLS] text [SEP], and pair [SEP] after it; null unless [CLS] and [SEP] are special tokens.
Json bert_template(const VocabularyTables& tables) {
  const auto special = [&](const char* name) -> Json {
    const auto end = tables.tokens.begin() + tables.special, found = std::find(tables.tokens.begin(), end, name);
    return found == end ? Json() : Json(Json::Array{Json(name), Json(static_cast<int64_t>(found - tables.tokens.begin()))});
  };
  const Json sep = special("[SEP]"), cls = special("[CLS]");
  if (sep.is_null() || cls.is_null()) return Json();
  return Json::object({{"type", "BertProcessing"}, {"sep", sep}, {"cls", cls}});
}

// A template that appends the special token `end` to every text.
Json end_template(const VocabularyTables& tables, const std::string& end) {
  const auto last = tables.tokens.begin() + tables.special, found = std::find(tables.tokens.begin(), last, end);
  if (found == last) fail(ErrorCode::kInvalidArgument, "\"{}\" is to be appended to every text, but it is not a special token", end);
  const auto text = [](const char* id, int64_t type) {
    return Json::object({{"Sequence", Json::object({{"id", id}, {"type_id", type}})}});
  };
  const auto token = [&](int64_t type) { return Json::object({{"SpecialToken", Json::object({{"id", end}, {"type_id", type}})}}); };
  const Json ids(Json::Array{Json(static_cast<int64_t>(found - tables.tokens.begin()))});
  return Json::object(
      {{"type", "TemplateProcessing"},
       {"single", Json(Json::Array{text("A", 0), token(0)})},
       {"pair", Json(Json::Array{text("A", 0), token(0), text("B", 1), token(1)})},
       {"special_tokens", Json::object({{end, Json::object({{"id", end}, {"ids", ids}, {"tokens", Json(Json::Array{Json(end)})}})}})}});
}

struct Steps {
  Json normalizer{}, pre_tokenizer{}, post_processor{}, decoder{}, model{};
};

std::string written(const VocabularyTables& tables, const Steps& steps) {
  return Json::object({{"version", "1.0"},
                       {"truncation", nullptr},
                       {"padding", nullptr},
                       {"added_tokens", added_tokens_of(tables)},
                       {"normalizer", steps.normalizer},
                       {"pre_tokenizer", steps.pre_tokenizer},
                       {"post_processor", steps.post_processor},
                       {"decoder", steps.decoder},
                       {"model", steps.model}})
      .dump();
}

}  // namespace

Json lowercase_normalizer() { return Json::object({{"type", "Lowercase"}}); }

std::string bpe_tokenizer_json(const VocabularyTables& tables, const BpeSteps& steps) {
  Json merges = Json::array();
  for (const auto& [left, right] : tables.merges)
    merges.push(Json(Json::Array{Json(tables.tokens[static_cast<size_t>(left)]), Json(tables.tokens[static_cast<size_t>(right)])}));
  const Json model = Json::object({{"type", "BPE"},
                                   {"dropout", nullptr},
                                   {"unk_token", nullptr},
                                   {"continuing_subword_prefix", nullptr},
                                   {"end_of_word_suffix", nullptr},
                                   {"fuse_unk", false},
                                   {"byte_fallback", false},
                                   {"ignore_merges", false},
                                   {"vocab", vocabulary_of(tables)},
                                   {"merges", merges}});
  return written(tables, {.normalizer = steps.lowercase ? lowercase_normalizer() : Json(),
                          .pre_tokenizer = byte_level(steps.lowercase, steps.splits_words),
                          .post_processor = steps.end.empty() ? Json() : end_template(tables, steps.end),
                          .decoder = byte_level(true, true),
                          .model = model});
}

std::string wordpiece_tokenizer_json(const VocabularyTables& tables) {
  const Json normalizer = Json::object(
      {{"type", "BertNormalizer"}, {"clean_text", true}, {"handle_chinese_chars", true}, {"strip_accents", nullptr}, {"lowercase", true}});
  const Json model = Json::object({{"type", "WordPiece"},
                                   {"unk_token", "[UNK]"},
                                   {"continuing_subword_prefix", "##"},
                                   {"max_input_chars_per_word", 100},
                                   {"vocab", vocabulary_of(tables)}});
  return written(tables, {.normalizer = normalizer,
                          .pre_tokenizer = Json::object({{"type", "BertPreTokenizer"}}),
                          .post_processor = bert_template(tables),
                          .decoder = Json::object({{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}),
                          .model = model});
}

std::string byte_tokenizer_json() {
  VocabularyTables tables;
  for (int byte = 0; byte < 256; ++byte) text::append_utf8(tables.tokens.emplace_back(), text::spelled(static_cast<unsigned char>(byte)));
  return bpe_tokenizer_json(tables, {});
}

}  // namespace clearhead
