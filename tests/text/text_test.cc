// Offsets, invalid UTF-8, splits, streams, special tokens and very long words: cases that the goldens do not cover explicitly.
#include <gtest/gtest.h>

#include <random>

#include "text/goldens.h"
#include "text/regex.h"
#include "text/splitter.h"
#include "text/unicode.h"

namespace clearhead::text {
namespace {

// 256 byte tokens and no merges: the tokenizer of the models with known answers.
std::string bytes_json(const std::string& extra_model = "", const std::string& added = "[]") {
  Json vocab = Json::object();
  Json::Object fields;
  for (int b = 0; b < 256; ++b) {
    const bool is_printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    static int next;
    if (b == 0) next = 256;
    std::string token;
    append_utf8(token, static_cast<char32_t>(is_printable ? b : next++));
    fields.emplace_back(token, Json(b));
  }
  vocab = Json(std::move(fields));
  return R"({"added_tokens":)" + added +
         R"(,"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":true},)"
         R"("decoder":{"type":"ByteLevel"},"model":{"type":"BPE",)" +
         extra_model + R"("merges":[],"vocab":)" + vocab.dump() + "}}";
}

TEST(Tokenizer, ByteTokensWithoutMergesSpellAnyBytes) {
  const auto tokenizer = Tokenizer::from_json(bytes_json());
  const std::string text = "a é\n字";
  const Encoding encoding = tokenizer->encode(text);
  ASSERT_EQ(encoding.size(), text.size());
  for (size_t i = 0; i < text.size(); ++i) EXPECT_EQ(encoding.ids[i], static_cast<unsigned char>(text[i]));
  EXPECT_EQ(encoding.offsets[2], (std::array<int64_t, 2>{2, 4}));  // each byte of é has the range of the whole character
  EXPECT_EQ(encoding.offsets[3], (std::array<int64_t, 2>{2, 4}));
  EXPECT_EQ(tokenizer->decode(encoding.ids), text);
  EXPECT_EQ(tokenizer->vocabulary_size(), 256);
}

TEST(Tokenizer, OffsetsCutTheTextIntoItsTokensExactly) {
  const auto tokenizer = Tokenizer::from_json(read_file(golden_path("llama3.json")), "llama3.json");
  int compared = 0;
  for (const std::string& line : golden_lines()) {
    if (valid_prefix(line) != line.size() || line.find("<|") != std::string::npos) continue;
    ++compared;
    const Encoding encoding = tokenizer->encode(line, {.add_special_tokens = false});
    std::string joined;
    int64_t end = 0;
    for (size_t i = 0; i < encoding.size(); ++i) {
      joined += tokenizer->token_bytes(encoding.ids[i]);
      const auto [from, to] = encoding.offsets[i];
      // No byte is skipped, and only tokens that contain parts of a character share it.
      EXPECT_LE(from, end) << line;
      EXPECT_EQ(valid_prefix(std::string_view(line).substr(from, to - from)), static_cast<size_t>(to - from));
      end = to;
    }
    EXPECT_EQ(end, static_cast<int64_t>(line.size()));
    EXPECT_EQ(joined, line);
  }
  EXPECT_GT(compared, 1000);
}

TEST(Tokenizer, WordPieceOffsetsShowTheTextAsItWasGiven) {
  const auto tokenizer = Tokenizer::from_json(read_file(golden_path("wordpiece.json")), "wordpiece.json");
  const std::string text = "Nobody ÀSKED 天坐\u00a0it";
  const Encoding encoding = tokenizer->encode(text);
  std::vector<std::string> covered;
  for (size_t i = 0; i < encoding.size(); ++i) {
    if (!encoding.is_special(i)) covered.push_back(text.substr(encoding.offsets[i][0], encoding.offsets[i][1] - encoding.offsets[i][0]));
  }
  EXPECT_EQ(covered, (std::vector<std::string>{"Nobody", "ÀSKED", "天", "坐", "it"}));
  EXPECT_EQ(tokenizer->decode(encoding.ids, true), "nobody asked 天 坐 it");
}

TEST(Tokenizer, EachMaximalInvalidSubpartIsOneReplacementAndKeepsItsOwnBytes) {
  EXPECT_EQ(replace_invalid("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(replace_invalid("\xE2\x82z"), "\uFFFDz");                     // a truncated character becomes one
  EXPECT_EQ(replace_invalid("\xE0\x80\xAF"), "\uFFFD\uFFFD\uFFFD");       // an overlong form becomes three
  EXPECT_EQ(replace_invalid("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");       // so is a surrogate
  EXPECT_EQ(replace_invalid("\xF0\x9F\x98\xF0\x9F\x98\x80"), "\uFFFD😀");  // the next character is unchanged
  const auto tokenizer = Tokenizer::from_json(bytes_json());
  const Encoding encoding = tokenizer->encode("a\xF0\x9F\x98z");
  EXPECT_EQ(encoding.ids, (std::vector<int32_t>{'a', 0xEF, 0xBF, 0xBD, 'z'}));
  EXPECT_EQ(encoding.offsets[2], (std::array<int64_t, 2>{1, 4}));
  EXPECT_EQ(encoding.offsets[4], (std::array<int64_t, 2>{4, 5}));
}

TEST(Tokenizer, EmptyTextIsOnlyItsSpecialTokens) {
  const auto tokenizer = Tokenizer::from_json(read_file(golden_path("wordpiece.json")), "wordpiece.json");
  const Encoding encoding = tokenizer->encode("");
  EXPECT_EQ(encoding.ids, (std::vector<int32_t>{2, 3}));
  EXPECT_TRUE(encoding.is_special(0) && encoding.is_special(1));
  EXPECT_EQ(tokenizer->encode("", {.add_special_tokens = false}).size(), 0u);
}

TEST(Tokenizer, RolesComeFromTheConfigurationOrTheUsualNames) {
  const auto bert = Tokenizer::from_json(read_file(golden_path("wordpiece.json")), "wordpiece.json");
  EXPECT_EQ(bert->special_tokens().cls, 2);
  EXPECT_EQ(bert->special_tokens().mask, 4);
  EXPECT_FALSE(bert->special_tokens().bos);
  const std::string config = R"({"eos_token":{"content":"<|eot_id|>"},"bos_token":"<|begin_of_text|>","pad_token":null})";
  const auto llama = Tokenizer::from_json(read_file(golden_path("llama3.json")), "llama3.json", config);
  EXPECT_EQ(llama->special_tokens().eos, llama->id("<|eot_id|>"));
  EXPECT_EQ(llama->special_tokens().bos, llama->id("<|begin_of_text|>"));
  EXPECT_FALSE(llama->special_tokens().pad);
  EXPECT_TRUE(llama->is_special(*llama->special_tokens().eos));
}

TEST(Tokenizer, TheLongestAddedTokenMatchesAndIncludesStrippedSpaces) {
  const auto tokenizer = Tokenizer::from_json(bytes_json("", R"([
    {"id":256,"content":"<a>","special":true,"lstrip":false,"rstrip":true},
    {"id":257,"content":"<a>b","special":true},
    {"id":258,"content":"  ","special":true}])"));
  EXPECT_EQ(tokenizer->encode("<a>bc<a>c").ids, (std::vector<int32_t>{257, 'c', 256, 'c'}));
  const Encoding stripped = tokenizer->encode("x<a>   y");
  EXPECT_EQ(stripped.ids, (std::vector<int32_t>{'x', 256, 'y'}));  // the spaces belong to the added token and are not tokens
  EXPECT_EQ(stripped.offsets[1], (std::array<int64_t, 2>{1, 7}));
}

TEST(Tokenizer, TokenBytesAreTheTextATokenStandsFor) {
  const auto gpt2 = Tokenizer::from_json(read_file(golden_path("gpt2.json")), "gpt2.json");
  EXPECT_EQ(gpt2->token_bytes(*gpt2->id("Ġthe")), " the");
  EXPECT_EQ(gpt2->token_bytes(*gpt2->id("Ċ")), "\n");
  EXPECT_EQ(gpt2->token_bytes(*gpt2->id("<|endoftext|>")), "<|endoftext|>");
  const auto bert = Tokenizer::from_json(read_file(golden_path("wordpiece.json")), "wordpiece.json");
  EXPECT_EQ(bert->token_bytes(*bert->id("##ing")), "ing");
  EXPECT_EQ(bert->token(*bert->id("##ing")), "##ing");
  EXPECT_EQ(bert->token(-1), "");
  EXPECT_EQ(bert->token(1 << 30), "");
  EXPECT_FALSE(bert->id("no such token"));
}

TEST(TokenStream, HoldsBackBytesUntilTheirCharacterIsWhole) {
  TokenStream stream(Tokenizer::from_json(bytes_json()));
  EXPECT_EQ(stream.push('a'), "a");
  EXPECT_EQ(stream.push(0xE5), "");
  EXPECT_EQ(stream.push(0xAD), "");
  EXPECT_EQ(stream.push(0x97), "字");
  EXPECT_EQ(stream.push(0xE5), "");
  EXPECT_EQ(stream.push('b'), "\uFFFDb");
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
}

TEST(TokenStream, ContextDependentDecodersStreamTheSameText) {
  std::string json = bytes_json();
  const std::string decoder = R"({"type":"ByteLevel"})";
  json.replace(json.find(R"("decoder":)") + 10, decoder.size(), R"({"type":"Sequence","decoders":[{"type":"ByteLevel"},{"type":"Fuse"}]})");
  const auto tokenizer = Tokenizer::from_json(json);
  const std::string text = "né 字 end";
  TokenStream stream(tokenizer);
  std::string streamed;
  for (const char c : text) streamed += stream.push(static_cast<unsigned char>(c));
  EXPECT_EQ(streamed + stream.finish(), text);
}

// The hand-written rules against PCRE2, on every golden line and on random texts of the characters that the rules distinguish. Lines with
// characters newer than PCRE2's Unicode version are covered by the goldens only.
TEST(Splitter, WellKnownRulesEqualTheirRegularExpressions) {
  std::vector<std::string> texts;
  for (const std::string& line : golden_lines()) texts.push_back(replace_invalid(line));
  std::mt19937 random(20240607);
  const std::vector<std::string> parts = {"a",      "Z", "é",  "字",  "1",   "٣", " ", " ", "\n", "\r",    "\t",
                                          "\u00a0", "'", "'s", "'LL", "'re", "ſ", ".", "!", "😀",  "\u0301"};
  for (int i = 0; i < 4000; ++i) {
    std::string text;
    for (size_t k = random() % 14; k > 0; --k) text += parts[random() % parts.size()];
    texts.push_back(text);
  }
  const Regex letter("\\p{L}", "test"), number("\\p{N}", "test");
  size_t compared = 0;
  for (const std::string_view pattern : {kGpt2Pattern, kLlama3Pattern, kQwenPattern}) {
    const Regex regex(pattern, "test");
    for (const std::string& text : texts) {
      size_t letters = 0, numbers = 0;
      for (size_t at = 0; at < text.size(); at += decode_valid(text, at).length) {
        letters += is(decode_valid(text, at).c, kLetter);
        numbers += is(decode_valid(text, at).c, kNumber);
      }
      if (letter.find_all(text).size() != letters || number.find_all(text).size() != numbers) continue;
      ++compared;
      std::vector<std::pair<size_t, size_t>> found;
      for (size_t at = 0; at < text.size();) {
        const size_t end = word_end(*known_rule(pattern), text, at);
        found.emplace_back(at, end);
        at = end;
      }
      ASSERT_EQ(found, regex.find_all(text)) << pattern << " on \"" << text << "\"";
    }
  }
  EXPECT_GT(compared, 18000u);
}

TEST(Regex, OnigurumaCharacterClassesKeepTheirMeaning) {
  EXPECT_EQ(translate_pattern(R"(\s+[\s\w]\\s)"), R"(\p{White_Space}+[\p{White_Space}\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]\\s)");
  EXPECT_TRUE(Regex(R"(\s)", "test").find_all("\u180e").empty());  // white space in PCRE2, but not in Unicode
  EXPECT_EQ(Regex(R"(\h+)", "test").find_all("x1aF").size(), 1u);
}

// Quadratic work would take minutes on these texts.
TEST(Tokenizer, GiantWordsAreNearLinear) {
  for (const char* name : {"wordpiece", "gpt2", "llama3"}) {
    const auto tokenizer = Tokenizer::from_json(read_file(golden_path(std::string(name) + ".json")), name);
    for (const std::string unit : {"a", "the", "é", "字", "'", " ", "\n", "\xFF", "\u0301", "<|", "A\u0323\u0301"}) {
      std::string text;
      while (text.size() < 100'000) text += unit;
      const Encoding encoding = tokenizer->encode(text, {.add_special_tokens = false});
      const int64_t end = encoding.offsets.empty() ? 0 : encoding.offsets.back()[1];
      EXPECT_LE(end, static_cast<int64_t>(text.size()));
      const bool is_kept = std::string(name) != "wordpiece" && unit != "\xFF";
      EXPECT_EQ(tokenizer->decode(encoding.ids) == text, is_kept) << name << " with " << unit;
    }
  }
}

TEST(Tokenizer, AMegabyteWithoutSpacesRoundTrips) {
  std::mt19937 random(7);
  std::string text;
  while (text.size() < 1'000'000) text.push_back(static_cast<char>('a' + random() % 26));
  const auto tokenizer = Tokenizer::from_json(read_file(golden_path("gpt2.json")), "gpt2.json");
  const Encoding encoding = tokenizer->encode(text);
  EXPECT_GT(encoding.size(), 300'000u);
  EXPECT_EQ(tokenizer->decode(encoding.ids), text);
}

}  // namespace
}  // namespace clearhead::text
