// Tokenizer files that are missing, corrupt or contradictory, or use unsupported features: the exact message of each.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "clearhead/error.h"
#include "text/goldens.h"

namespace clearhead::text {
namespace {

struct Refusal {
  ErrorCode code{};
  std::string message;
};

template <class Action>
Refusal refusal(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {ErrorCode::kInvalidArgument, "nothing was refused"};
}

void expect_refusal(const std::string& json, ErrorCode code, const std::string& message) {
  const Refusal found = refusal([&] { Tokenizer::from_json(json); });
  EXPECT_EQ(found.message, message);
  EXPECT_EQ(to_string(found.code), std::string(to_string(code))) << message;
}

std::string with(const std::string& fields) {
  return R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})" + (fields.empty() ? "" : "," + fields) + "}";
}

std::string with_model(const std::string& model) { return R"({"model":)" + model + "}"; }

class Folder {
 public:
  Folder() {
    path_ = std::filesystem::temp_directory_path() / ("clearhead-text-" + std::to_string(::getpid()));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }
  void put(const std::string& name, const std::string& bytes) const { write_file((path_ / name).string(), bytes); }

 private:
  std::filesystem::path path_;
};

TEST(HostileTokenizer, StepsThatAreNotUnderstoodAreRefusedByName) {
  expect_refusal(with(R"("pre_tokenizer":{"type":"Morse"})"), ErrorCode::kUnsupported,
                 "tokenizer.json: \"pre_tokenizer.type\" \"Morse\" is not understood");
  expect_refusal(with(R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"Morse"}]})"),
                 ErrorCode::kUnsupported, "tokenizer.json: \"pre_tokenizer.pretokenizers[1].type\" \"Morse\" is not understood");
  expect_refusal(with(R"("normalizer":{"type":"Precompiled"})"), ErrorCode::kUnsupported,
                 "tokenizer.json: \"normalizer.type\" \"Precompiled\" is not understood");
  expect_refusal(with(R"("post_processor":{"type":"X"})"), ErrorCode::kUnsupported,
                 "tokenizer.json: \"post_processor.type\" \"X\" is not understood");
  expect_refusal(with(R"("decoder":{"type":"CTC"})"), ErrorCode::kUnsupported,
                 "tokenizer.json: \"decoder.type\" \"CTC\" is not understood");
  expect_refusal(with_model(R"({"type":"Unigram","vocab":[]})"), ErrorCode::kUnsupported,
                 "tokenizer.json: \"model.type\" \"Unigram\" is not supported; expected WordPiece or BPE");
}

TEST(HostileTokenizer, UnknownFieldsAreRefusedByName) {
  expect_refusal(with(R"("pre_tokenizer":{"type":"Digits","base":16})"), ErrorCode::kUnsupported,
                 "tokenizer.json: field \"pre_tokenizer.base\" is not understood; remove it, or use a version of clearhead that knows it");
  expect_refusal(with(R"("decoding":null)"), ErrorCode::kUnsupported,
                 "tokenizer.json: field \"decoding\" is not understood; remove it, or use a version of clearhead that knows it");
}

TEST(HostileTokenizer, ModelsThatContradictThemselvesAreRefused) {
  expect_refusal("{}", ErrorCode::kFormat, "tokenizer.json: field \"model\" is missing");
  expect_refusal("[]", ErrorCode::kFormat, "tokenizer.json: the document: expected an object, found an array of 0");
  expect_refusal(with_model(R"({"type":"BPE","vocab":{"a":0},"merges":["a b"]})"), ErrorCode::kFormat,
                 "tokenizer.json: merge 0 (\"a\" + \"b\") needs the token \"b\", which is not in the vocabulary");
  expect_refusal(with_model(R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":[["a","b"]]})"), ErrorCode::kFormat,
                 "tokenizer.json: merge 0 (\"a\" + \"b\") needs the token \"ab\", which is not in the vocabulary");
  expect_refusal(with_model(R"({"type":"BPE","vocab":{"a":0},"merges":["a b c"]})"), ErrorCode::kFormat,
                 "tokenizer.json: \"model.merges[0]\": expected \"left right\" or [\"left\", \"right\"], found \"a b c\"");
  expect_refusal(with_model(R"({"type":"BPE","vocab":{"a":0,"b":0},"merges":[]})"), ErrorCode::kFormat,
                 "tokenizer.json: \"model.vocab\": the tokens \"a\" and \"b\" have the same id 0");
  expect_refusal(with_model(R"({"type":"BPE","vocab":{"a":-1},"merges":[]})"), ErrorCode::kFormat,
                 "tokenizer.json: \"model.vocab\": the id of \"a\" must be an integer from 0 to 16777215, found -1");
  expect_refusal(with_model(R"({"type":"BPE","vocab":{"a":4000000000},"merges":[]})"), ErrorCode::kFormat,
                 "tokenizer.json: \"model.vocab\": the id of \"a\" must be an integer from 0 to 16777215, found 4000000000");
  expect_refusal(with_model(R"({"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1})"), ErrorCode::kUnsupported,
                 "tokenizer.json: \"model.dropout\" is 0.1; random encoding (BPE dropout) is not supported; set it to null");
}

TEST(HostileTokenizer, ExpressionsAndTemplatesAreCheckedWhenTheyAreRead) {
  expect_refusal(with(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated","invert":false})"),
                 ErrorCode::kUnsupported,
                 "tokenizer.json: \"pre_tokenizer.pattern\": the regular expression \"(a\" is not understood: missing closing parenthesis");
  expect_refusal(
      with(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"a"},"behavior":"Sideways"})"), ErrorCode::kFormat,
      "tokenizer.json: \"pre_tokenizer.behavior\": expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous, found "
      "\"Sideways\"");
  expect_refusal(
      with(
          R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]","type_id":0}}],"pair":[],"special_tokens":{}})"),
      ErrorCode::kFormat,
      "tokenizer.json: \"post_processor.single[0].SpecialToken.id\": expected a name from special_tokens, found \"[CLS]\"");
  expect_refusal(
      with(
          R"("post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"B","type_id":0}}],"pair":[],"special_tokens":{}})"),
      ErrorCode::kFormat, "tokenizer.json: \"post_processor.single[0].Sequence.id\": expected A, the only text, found \"B\"");
  expect_refusal(with(R"("added_tokens":[{"id":-3,"content":"x"}])"), ErrorCode::kFormat,
                 "tokenizer.json: \"added_tokens[0].id\": expected an integer from 0 to 16777215, found -3");
}

TEST(HostileTokenizer, AnExpressionThatExplodesIsAnErrorNotAHang) {
  const auto tokenizer =
      Tokenizer::from_json(with(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a+)+$"},"behavior":"Isolated","invert":false})"));
  const Refusal found = refusal([&] { tokenizer->encode(std::string(40, 'a') + "b"); });
  EXPECT_EQ(found.code, ErrorCode::kUnsupported);
  EXPECT_NE(found.message.find("needs too many steps"), std::string::npos) << found.message;
}

TEST(HostileTokenizer, TextThatNeedsAMissingUnknownTokenIsAnError) {
  const auto tokenizer = Tokenizer::from_json(with_model(
      R"({"type":"WordPiece","vocab":{"a":0},"unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100})"));
  EXPECT_EQ(tokenizer->encode("a").ids, std::vector<int32_t>{0});
  EXPECT_EQ(refusal([&] { tokenizer->encode("b"); }).message, "the vocabulary has no \"[UNK]\" token, and this text needs it");
}

TEST(HostileTokenizer, FoldersWithoutATokenizerReportWhatIsMissing) {
  const Folder folder;
  const Refusal none = refusal([&] { Tokenizer::load(folder.path()); });
  EXPECT_EQ(none.code, ErrorCode::kNotFound);
  EXPECT_EQ(none.message, folder.path() + ": no tokenizer here; expected tokenizer.json, or vocab.txt, or vocab.json with merges.txt");
  folder.put("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n");
  EXPECT_EQ(refusal([&] { Tokenizer::load(folder.path()); }).message,
            folder.path() + "/vocab.txt: the special token \"[SEP]\" is not in the vocabulary of 3 tokens");
  folder.put("vocab.txt", "[UNK]\n\xFF\n");
  EXPECT_EQ(refusal([&] { Tokenizer::load(folder.path()); }).message, folder.path() + "/vocab.txt: byte 6 is not valid UTF-8");
  folder.put("tokenizer.json", "{\"model\":");
  EXPECT_EQ(refusal([&] { Tokenizer::load(folder.path()); }).code, ErrorCode::kFormat);
}

TEST(HostileTokenizer, VocabTxtObeysItsConfiguration) {
  const Folder folder;
  folder.put("vocab.txt", "[UNK]\r\n[CLS]\r\n[SEP]\r\nÉté\r\nete\r\n##s\r\n猫坐\r\n");
  EXPECT_EQ(Tokenizer::load(folder.path())->encode("Étés 猫坐").ids, (std::vector<int32_t>{1, 4, 5, 0, 0, 2}));
  folder.put("tokenizer_config.json", R"({"do_lower_case":false,"strip_accents":null,"tokenize_chinese_chars":false})");
  EXPECT_EQ(Tokenizer::load(folder.path())->encode("Étés 猫坐").ids, (std::vector<int32_t>{1, 3, 5, 6, 2}));
  folder.put("tokenizer_config.json", R"({"do_lower_case":"no"})");
  EXPECT_EQ(refusal([&] { Tokenizer::load(folder.path()); }).message,
            folder.path() + "/tokenizer_config.json: \"do_lower_case\": expected true or false, found \"no\"");
}

TEST(HostileTokenizer, MergesTxtIsReadLineByLineInTheFormOfItsFamily) {
  const Folder folder;
  folder.put("vocab.json", R"({"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"a":4,"b":5,"ab":6,"Ġ":7,"<mask>":8})");
  folder.put("merges.txt", "#version: 0.2\na b\n");
  const auto roberta = Tokenizer::load(folder.path());
  EXPECT_EQ(roberta->encode("ab <mask>", {.pair = "a"}).ids, (std::vector<int32_t>{0, 6, 8, 2, 2, 4, 2}));
  EXPECT_EQ(roberta->special_tokens().mask, 8);
  folder.put("merges.txt", "#version: 0.2\na b\nab\n");
  EXPECT_EQ(refusal([&] { Tokenizer::load(folder.path()); }).message,
            folder.path() + "/merges.txt: line 3: expected two tokens separated by a space, found \"ab\"");
  folder.put("tokenizer_config.json", R"({"tokenizer_class":"MorseTokenizer"})");
  const Refusal family = refusal([&] { Tokenizer::load(folder.path()); });
  EXPECT_EQ(family.code, ErrorCode::kUnsupported);
  EXPECT_NE(family.message.find("\"MorseTokenizer\""), std::string::npos);
}

TEST(HostileTokenizer, EveryTruncationOfAFileIsRefused) {
  const std::string json = read_file(golden_path("wordpiece.json")).substr(0, 4000);
  for (size_t size = 0; size < json.size(); size += 7)
    EXPECT_EQ(refusal([&] { Tokenizer::from_json(json.substr(0, size)); }).code, ErrorCode::kFormat) << size;
}

}  // namespace
}  // namespace clearhead::text
