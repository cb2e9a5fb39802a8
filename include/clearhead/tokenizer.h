// Implemented in src/text.
// Converts text to token ids and back, using a model's own tokenizer files. Ids, types and offsets equal those of
// the Hugging Face `tokenizers` package (0.23), bit for bit, for every supported configuration. An unsupported field
// is refused with an error that names it.
//
//   auto tokenizer = clearhead::Tokenizer::load("models/minilm");
//   clearhead::Encoding encoding = tokenizer->encode("The cat sat.", {.pair = "On the mat."});
//   encoding.offsets[1];                       // {0, 3}: bytes of "The" in the first text
//
// Supported: tokenizer.json with WordPiece and BPE models; else vocab.txt (WordPiece, options from
// tokenizer_config.json); else vocab.json + merges.txt (GPT-2, RoBERTa). The "truncation" and "padding" settings of a
// file are not applied: the caller decides where to truncate.
//
// Offsets are byte ranges of the original text, on character boundaries. A token that contains a part of a character
// covers the whole character. In invalid UTF-8 each maximal invalid subpart (Unicode 15, table 3-8; Python's
// errors="replace") is read as one U+FFFD; offsets still count the original bytes. A byte order mark is ordinary text.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead {

/// Token ids of one text or a pair. All vectors have one entry per token.
struct Encoding {
  static constexpr uint8_t kSpecial = 255;

  std::vector<int32_t> ids{};
  std::vector<int32_t> type_ids{};  ///< segment ids for the model (0 or 1)
  /// [begin, end) in bytes of the text given by `segment`; {0, 0} for added special tokens
  std::vector<std::array<int64_t, 2>> offsets{};
  /// 0: the text; 1: the pair; kSpecial: added by the model's template, in neither text
  std::vector<uint8_t> segment{};

  size_t size() const { return ids.size(); }
  bool is_special(size_t token) const { return segment[token] == kSpecial; }
};

struct EncodeOptions {
  std::optional<std::string_view> pair{};  ///< the second text
  bool add_special_tokens = true;          ///< add the template's special tokens: [CLS] … [SEP], <s> … </s>
};

/// Ids of tokens with a special role; absent if the model has none.
struct SpecialTokens {
  std::optional<int32_t> bos{}, eos{}, cls{}, sep{}, mask{}, pad{}, unk{};
};

/// Immutable after loading. All members are thread-safe.
class Tokenizer {
 public:
  /// Loads a tokenizer from a folder: tokenizer.json, else vocab.txt, else vocab.json + merges.txt; with
  /// tokenizer_config.json and special_tokens_map.json if present. Throws kNotFound if there are no tokenizer files,
  /// kFormat for malformed files, kUnsupported, naming it, for an unsupported field.
  static std::shared_ptr<const Tokenizer> load(const std::string& folder);

  /// The same from bytes. `where` names the source in error messages. tokenizer_config (optional: the bytes of
  /// tokenizer_config.json) names the special tokens.
  static std::shared_ptr<const Tokenizer> from_json(std::string_view tokenizer_json, std::string_view where = "tokenizer.json",
                                                    std::string_view tokenizer_config = {});
  static std::shared_ptr<const Tokenizer> from_wordpiece(std::string_view vocab_txt, std::string_view tokenizer_config = {});
  static std::shared_ptr<const Tokenizer> from_bpe(std::string_view vocab_json, std::string_view merges_txt,
                                                   std::string_view tokenizer_config = {});

  virtual ~Tokenizer() = default;

  /// Splits a text, or a pair of texts, into tokens. Time and memory are linear in the length of the text, up to a
  /// logarithmic factor for a single huge word. Throws kTooLong for a text of 2 GiB or more.
  virtual Encoding encode(std::string_view text, const EncodeOptions& options = {}) const = 0;

  /// Converts ids back to text. Returns valid UTF-8. Ids without a token are skipped, as in the `tokenizers` package.
  virtual std::string decode(const std::vector<int32_t>& ids, bool skip_special = false) const = 0;

  /// The token as spelled in the vocabulary ("##ing", "Ġcat", "<|endoftext|>"); empty for an unknown id.
  virtual std::string_view token(int32_t id) const = 0;
  /// The bytes that the token represents: byte alphabet decoded, "##" removed, "▁" as a space. They may end inside a
  /// UTF-8 character.
  virtual std::string token_bytes(int32_t id) const = 0;
  virtual std::optional<int32_t> id(std::string_view token) const = 0;
  /// Largest id plus one.
  virtual int64_t vocabulary_size() const = 0;
  /// True for tokens that the file declares special; decode(…, true) leaves them out.
  virtual bool is_special(int32_t id) const = 0;
  virtual const SpecialTokens& special_tokens() const = 0;

 protected:
  friend class TokenStream;
  Tokenizer() = default;
  /// The text that the token adds, if it depends only on whether it is the first token; absent if it depends on the
  /// token's neighbours.
  virtual std::optional<std::string> contribution(int32_t id, bool is_first) const = 0;
};

/// Decodes a growing sequence of tokens. The returned texts, concatenated, equal decode() of all ids. Use one stream
/// per generation. Not thread-safe.
///   TokenStream stream(tokenizer);  for (…) print(stream.push(id));  print(stream.finish());
class TokenStream {
 public:
  explicit TokenStream(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special = false);
  /// Adds a token. Returns the text that it completes; empty while a character is incomplete.
  std::string push(int32_t id);
  /// Returns the text held back so far. An incomplete character becomes U+FFFD. The stream can then be used again.
  std::string finish();

 private:
  std::string push_in_context(int32_t id);
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_ = false;
  bool is_first_ = true;
  std::string held_{};  // bytes of an incomplete character
  // For tokens that depend on their neighbours: the last ids already returned as text, then the ids held back.
  std::vector<int32_t> window_{};
  size_t given_ = 0;  // number of leading ids in window_ that were returned
};

}  // namespace clearhead
