// Room: text.
// Text to token ids and back, by the files that travel with a model; ids, types and offsets equal those of the Hugging Face `tokenizers`
// package (0.23), bit for bit, on every configuration that is understood. What is not understood is refused by name.
//
//   auto tokenizer = clearhead::Tokenizer::load("models/minilm");
//   clearhead::Encoding encoding = tokenizer->encode("The cat sat.", {.pair = "On the mat."});
//   encoding.offsets[1];                       // {0, 3}: bytes of "The" in the first text
//
// Understood: tokenizer.json with WordPiece and BPE models; else vocab.txt (WordPiece, options from tokenizer_config.json);
// else vocab.json + merges.txt (GPT-2, RoBERTa). A file's "truncation" and "padding" are not applied: cutting is the caller's decision.
//
// Offsets are byte ranges in the text as given, on character boundaries (a token that holds part of a character covers all of it).
// Invalid UTF-8: each maximal invalid subpart (Unicode 15, table 3-8; Python's errors="replace") is read as one U+FFFD, and offsets still
// count the bytes given. A byte order mark is text.
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
  std::vector<int32_t> type_ids{};                ///< segment ids as the model wants them (0 or 1)
  std::vector<std::array<int64_t, 2>> offsets{};  ///< [begin, end) in bytes of the text named by `segment`; {0, 0} for added special tokens
  std::vector<uint8_t> segment{};                 ///< 0: the text, 1: the pair, kSpecial: added by the model's template, in neither

  size_t size() const { return ids.size(); }
  bool is_special(size_t token) const { return segment[token] == kSpecial; }
};

struct EncodeOptions {
  std::optional<std::string_view> pair{};  ///< a second text
  bool add_special_tokens = true;          ///< [CLS] … [SEP], <s> … </s>, as the model's template says
};

/// Ids of the tokens with a role; absent where the model has none.
struct SpecialTokens {
  std::optional<int32_t> bos{}, eos{}, cls{}, sep{}, mask{}, pad{}, unk{};
};

/// Immutable after loading; every member is thread-safe.
class Tokenizer {
 public:
  /// Reads tokenizer.json, else vocab.txt, else vocab.json + merges.txt of a folder, with tokenizer_config.json and
  /// special_tokens_map.json where they stand beside it. Throws kNotFound (nothing to read), kFormat, kUnsupported (the field by name).
  static std::shared_ptr<const Tokenizer> load(const std::string& folder);

  /// From bytes. `where` names the source in errors. The optional bytes of tokenizer_config.json name the special tokens.
  static std::shared_ptr<const Tokenizer> from_json(std::string_view tokenizer_json, std::string_view where = "tokenizer.json",
                                                    std::string_view tokenizer_config = {});
  static std::shared_ptr<const Tokenizer> from_wordpiece(std::string_view vocab_txt, std::string_view tokenizer_config = {});
  static std::shared_ptr<const Tokenizer> from_bpe(std::string_view vocab_json, std::string_view merges_txt,
                                                   std::string_view tokenizer_config = {});

  virtual ~Tokenizer() = default;

  /// Time and memory are linear in the text (up to a logarithm for one giant word). Texts are below 2 GiB (kTooLong).
  virtual Encoding encode(std::string_view text, const EncodeOptions& options = {}) const = 0;

  /// Valid UTF-8; ids without a token are skipped, as the `tokenizers` package does.
  virtual std::string decode(const std::vector<int32_t>& ids, bool skip_special = false) const = 0;

  /// The token as its vocabulary file spells it ("##ing", "Ġcat", "<|endoftext|>"); empty if there is none of that id.
  virtual std::string_view token(int32_t id) const = 0;
  /// The bytes the token stands for in a text: the byte alphabet undone, "##" taken off, "▁" a space. May end inside a UTF-8 character.
  virtual std::string token_bytes(int32_t id) const = 0;
  virtual std::optional<int32_t> id(std::string_view token) const = 0;
  /// One past the largest id.
  virtual int64_t vocabulary_size() const = 0;
  /// True for tokens the file declares special: what decode(…, true) leaves out.
  virtual bool is_special(int32_t id) const = 0;
  virtual const SpecialTokens& special_tokens() const = 0;

 protected:
  friend class TokenStream;
  Tokenizer() = default;
  /// What the token adds to a text where that depends on nothing but whether it is the first; absent where it depends on its neighbours.
  virtual std::optional<std::string> contribution(int32_t id, bool is_first) const = 0;
};

/// Decodes tokens as they are generated. The texts returned, joined, are decode() of all ids. One per generation; not thread-safe.
///   TokenStream stream(tokenizer);  for (…) print(stream.push(id));  print(stream.finish());
class TokenStream {
 public:
  explicit TokenStream(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special = false);
  /// The text that became certain with this token: empty while a character is incomplete.
  std::string push(int32_t id);
  /// What was held back: an incomplete character becomes U+FFFD.
  std::string finish();

 private:
  std::string push_in_context(int32_t id);
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_ = false;
  bool is_first_ = true;
  std::string held_{};             // bytes of an incomplete character
  std::vector<int32_t> window_{};  // where tokens depend on neighbours: the last ids given out, then those held back
  size_t given_ = 0;               // how many of the window were given out
};

}  // namespace clearhead
