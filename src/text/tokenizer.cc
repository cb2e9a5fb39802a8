// Loads a tokenizer from tokenizer.json, else from vocab.txt, else from vocab.json and merges.txt. tokenizer_config.json
// provides what these files do not specify.
#include "clearhead/tokenizer.h"

#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "base/format.h"
#include "base/number.h"
#include "text/assembled.h"
#include "text/splitter.h"
#include "text/unicode.h"

namespace clearhead {
namespace {

using namespace text;

// The contents of a file, and its name in error messages.
struct NamedText {
  std::string_view bytes{}, where{};
};

// tokenizer_config.json, or special_tokens_map.json, as JSON; null if there is neither.
struct TokenizerConfig {
  Json json{};
  std::string where{};

  explicit TokenizerConfig(NamedText file) : where(file.where) {
    if (!file.bytes.empty()) json = Json::parse(file.bytes, where);
    if (!json.is_null() && !json.is_object()) fail(ErrorCode::kFormat, "{}: expected an object, found {}", where, json.describe());
  }
  const Json* find(std::string_view name) const { return json.find(name); }
};

// The config of a tokenizer that is given as bytes, not as a folder.
TokenizerConfig given_config(std::string_view bytes) { return TokenizerConfig({bytes, "tokenizer_config.json"}); }

bool flag(const TokenizerConfig& config, std::string_view name, bool otherwise) {
  const Json* value = config.find(name);
  if (!value || value->is_null()) return otherwise;
  if (!value->is_bool()) fail(ErrorCode::kFormat, "{}: \"{}\": expected true or false, found {}", config.where, name, value->describe());
  return value->boolean();
}

std::string name_of(const TokenizerConfig& config, std::string_view role, std::string_view otherwise) {
  const Json* value = config.find(role);
  if (value && value->is_object()) value = value->find("content");
  return value && value->is_string() ? value->string() : std::string(otherwise);
}

int32_t required(const Vocabulary& vocabulary, std::string_view token, std::string_view where) {
  const int32_t id = vocabulary.find(token);
  if (id < 0)
    fail(ErrorCode::kFormat, "{}: the special token \"{}\" is not in the vocabulary of {} tokens", where, token, vocabulary.size());
  return id;
}

// The special tokens of files that do not list them: those of tokenizer_config.json, otherwise `usual`.
std::vector<AddedToken> added_tokens(const TokenizerConfig& config, const Vocabulary& vocabulary, const std::vector<std::string>& usual) {
  std::vector<AddedToken> tokens;
  if (const Json* listed = config.find("added_tokens_decoder"); listed && listed->is_object()) {
    Json::Array array;
    for (const auto& [key, value] : listed->fields()) {
      const std::optional<int64_t> id = whole_number(key);
      if (!id || !value.is_object()) {
        fail(ErrorCode::kFormat, "{}: \"added_tokens_decoder\": expected an object that maps ids to tokens, found the key \"{}\"",
             config.where, key);
      }
      Json item = value;
      item["id"] = Json(*id);
      array.push_back(std::move(item));
    }
    return read_added_tokens(Json(std::move(array)), config.where);
  }
  for (const std::string& name : usual) {
    const int32_t id = vocabulary.find(name);
    if (id < 0) continue;
    AddedToken token;
    token.id = id;
    token.content = name;
    token.is_special = true;
    token.strips_left = name == "<mask>";  // RoBERTa's mask includes the space before it
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::string_view trimmed_end(std::string_view line) {
  while (!line.empty()) {
    const size_t last = previous_boundary(line, line.size());
    if (!is(decode_valid(line, last).c, kSpace)) break;
    line = line.substr(0, last);
  }
  return line;
}

// Two families use merges.txt. They differ in the special tokens around a text, not in its words.
enum class BpeFamily { kGpt2, kRoberta };

BpeFamily bpe_family(const TokenizerConfig& config, const Vocabulary& vocabulary) {
  std::string name = name_of(config, "tokenizer_class", "");
  if (name.empty()) {
    const bool has_roberta_tokens = vocabulary.find("<s>") >= 0 && vocabulary.find("</s>") >= 0 && vocabulary.find("<mask>") >= 0;
    return has_roberta_tokens ? BpeFamily::kRoberta : BpeFamily::kGpt2;
  }
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  if (name == "GPT2Tokenizer") return BpeFamily::kGpt2;
  if (name == "RobertaTokenizer" || name == "BartTokenizer" || name == "LongformerTokenizer" || name == "LEDTokenizer")
    return BpeFamily::kRoberta;
  fail(ErrorCode::kUnsupported,
       "{}: \"tokenizer_class\" \"{}\" with vocab.json and merges.txt is not understood; GPT2Tokenizer and RobertaTokenizer are. Save the "
       "tokenizer as tokenizer.json with the transformers library",
       config.where, name);
}

bool exists(const std::string& path) {
  try {
    int64_t size = 0;
    ::close(open_regular(path, size));
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    return false;
  }
}

std::shared_ptr<const Tokenizer> read_tokenizer_json(NamedText tokenizer_json, const TokenizerConfig& config) {
  const auto& [bytes, where] = tokenizer_json;
  const Json json = Json::parse(bytes, where);
  Fields fields(json, where);
  for (const char* name : {"version", "truncation", "padding"}) fields.take(name);
  const auto part = [&](const char* name) -> const Json& {
    static const Json null;
    const Json* found = fields.take(name);
    return found ? *found : null;
  };
  Steps steps;
  const Json& pre_tokenizer = part("pre_tokenizer");
  bool is_raw = false;
  steps.model = read_model(fields.require("model"), where, ends_in_bytes(pre_tokenizer), &is_raw);
  steps.pre_tokenizer = read_pre_tokenizer(pre_tokenizer, where, "pre_tokenizer", !is_raw);
  steps.normalizer = read_normalizer(part("normalizer"), where, "normalizer");
  steps.post_processor = read_post_processor(part("post_processor"), where, "post_processor");
  steps.decoder = read_decoder(part("decoder"), where, "decoder");
  steps.added = read_added_tokens(part("added_tokens"), where);
  fields.refuse_rest();
  return assemble(std::move(steps), config.json);
}

std::shared_ptr<const Tokenizer> read_vocab_txt(NamedText vocab_txt, const TokenizerConfig& config) {
  const auto& [bytes, where] = vocab_txt;
  if (const size_t valid = valid_prefix(bytes); valid != bytes.size()) {
    fail(ErrorCode::kFormat, "{}: byte {} is not valid UTF-8", where, valid);
  }
  Vocabulary vocabulary;
  int32_t id = 0;
  for (size_t at = 0; at < bytes.size(); ++id) {
    const size_t end = std::min(bytes.find('\n', at), bytes.size());
    if (id > Vocabulary::kMaximumId) fail(ErrorCode::kFormat, "{}: more than {} lines", where, Vocabulary::kMaximumId + 1);
    vocabulary.add(trimmed_end(bytes.substr(at, end - at)), id);
    at = end + 1;
  }
  WordPieceOptions options;
  options.unknown = name_of(config, "unk_token", options.unknown);
  const std::string cls = name_of(config, "cls_token", "[CLS]"), sep = name_of(config, "sep_token", "[SEP]");
  required(vocabulary, options.unknown, where);
  BertNormalizerOptions normalizer;
  normalizer.lowercase = flag(config, "do_lower_case", true);
  normalizer.handle_chinese_chars = flag(config, "tokenize_chinese_chars", true);
  normalizer.strip_accents = flag(config, "strip_accents", normalizer.lowercase);
  Steps steps;
  steps.normalizer = make_bert_normalizer(normalizer);
  steps.pre_tokenizer = make_bert_pre_tokenizer();
  steps.post_processor = make_bert(required(vocabulary, cls, where), required(vocabulary, sep, where));
  steps.decoder = make_wordpiece_decoder(options.prefix, true);
  steps.added = added_tokens(config, vocabulary,
                             {name_of(config, "pad_token", "[PAD]"), options.unknown, cls, sep, name_of(config, "mask_token", "[MASK]")});
  steps.model = make_wordpiece(std::move(vocabulary), std::move(options));
  return assemble(std::move(steps), config.json);
}

std::shared_ptr<const Tokenizer> read_vocab_and_merges(NamedText vocab_json, NamedText merges_txt, const TokenizerConfig& config) {
  Vocabulary vocabulary;
  read_vocabulary(Json::parse(vocab_json.bytes, vocab_json.where), vocab_json.where, "the whole", vocabulary);
  const BpeFamily family = bpe_family(config, vocabulary);
  const bool adds_space = flag(config, "add_prefix_space", false);
  Steps steps;
  steps.pre_tokenizer = make_byte_level(adds_space, true, false);
  steps.decoder = make_byte_level_decoder();
  const std::string bos = name_of(config, "bos_token", "<|endoftext|>");
  if (family == BpeFamily::kRoberta) {
    const std::string cls = name_of(config, "cls_token", "<s>"), sep = name_of(config, "sep_token", "</s>");
    steps.post_processor =
        make_roberta(required(vocabulary, cls, vocab_json.where), required(vocabulary, sep, vocab_json.where), true, adds_space);
    steps.added = added_tokens(config, vocabulary, {cls, "<pad>", sep, "<unk>", "<mask>"});
  } else {
    if (flag(config, "add_bos_token", false)) {
      const TemplatePiece start{-1, {required(vocabulary, bos, vocab_json.where)}, 0}, first{0, {}, 0}, pair_start{-1, start.tokens, 1},
          pair{1, {}, 1};
      steps.post_processor = make_template({start, first}, {start, first, pair_start, pair});
    }
    std::vector<std::string> special{bos};
    for (const char* role : {"eos_token", "unk_token", "pad_token"}) {
      const std::string name = name_of(config, role, bos);
      if (std::find(special.begin(), special.end(), name) == special.end()) special.push_back(name);
    }
    steps.added = added_tokens(config, vocabulary, special);
  }
  BpeOptions options;
  options.is_raw = true;
  steps.model = make_bpe(std::move(vocabulary), read_merges(merges_txt.bytes, merges_txt.where), std::move(options), merges_txt.where);
  return assemble(std::move(steps), config.json);
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json, std::string_view where,
                                                      std::string_view tokenizer_config) {
  return read_tokenizer_json({tokenizer_json, where}, given_config(tokenizer_config));
}

std::shared_ptr<const Tokenizer> Tokenizer::from_wordpiece(std::string_view vocab_txt, std::string_view tokenizer_config) {
  return read_vocab_txt({vocab_txt, "vocab.txt"}, given_config(tokenizer_config));
}

std::shared_ptr<const Tokenizer> Tokenizer::from_bpe(std::string_view vocab_json, std::string_view merges_txt,
                                                     std::string_view tokenizer_config) {
  return read_vocab_and_merges({vocab_json, "vocab.json"}, {merges_txt, "merges.txt"}, given_config(tokenizer_config));
}

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::string& folder) {
  const auto path = [&](const char* name) { return folder + "/" + name; };
  const auto has = [&](const char* name) { return exists(path(name)); };
  std::string beside = path("tokenizer_config.json");
  if (!exists(beside)) beside = path("special_tokens_map.json");
  const std::string config_bytes = exists(beside) ? read_config(beside) : std::string();
  const TokenizerConfig config({config_bytes, beside});
  if (has("tokenizer.json")) return read_tokenizer_json({read_config(path("tokenizer.json")), path("tokenizer.json")}, config);
  const bool has_vocab_txt = has("vocab.txt");
  if (has_vocab_txt || (has("vocab.json") && has("merges.txt"))) {
    if (has("added_tokens.json")) {
      fail(ErrorCode::kUnsupported,
           "{}/added_tokens.json is not understood without a tokenizer.json; save one with the transformers library", folder);
    }
    if (has_vocab_txt) return read_vocab_txt({read_config(path("vocab.txt")), path("vocab.txt")}, config);
    return read_vocab_and_merges({read_config(path("vocab.json")), path("vocab.json")},
                                 {read_config(path("merges.txt")), path("merges.txt")}, config);
  }
  fail(ErrorCode::kNotFound, "{}: no tokenizer here; expected tokenizer.json, or vocab.txt, or vocab.json with merges.txt", folder);
}

}  // namespace clearhead
