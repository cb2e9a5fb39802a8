// The spans of tokens that are shown, searched and marked are those that a person would mark, in five scripts. The tokenizer's own offsets
// stay those of the library (tests/text).
#include <gtest/gtest.h>

#include "clearhead/tokenizer.h"
#include "models/run_text.h"
#include "models/trace_text.h"

namespace clearhead {
namespace {

// BPE with "▁" before each word, as in SentencePiece. "▁" and "h" merge into one token; in other scripts "▁" stays a separate token.
std::shared_ptr<const Tokenizer> metaspace() {
  return Tokenizer::from_json(R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
    "normalizer": null, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
    "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "dropout": null, "unk_token": "?", "continuing_subword_prefix": null, "end_of_word_suffix": null,
      "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
      "vocab": {"?": 0, "▁": 1, "h": 2, "i": 3, "▁h": 4, "中": 5, "国": 6, "м": 7, "и": 8, "ر": 9, "س": 10, "न": 11, "म": 12, "▁م": 13},
      "merges": ["▁ h"]}})");
}

struct Marked {
  std::string text, marked;
  std::vector<std::string> pieces;  // the tokens that contain the marked text
};

TEST(RunText, MarkedTextSelectsTheTokensOfItsCharactersInFiveScripts) {
  const auto tokenizer = metaspace();
  const std::vector<Marked> cases = {{"hi hi", "hi", {"▁h", "i"}},         // Latin
                                     {"中国", "中", {"中"}},               // Chinese
                                     {"中国 中国", "中国", {"中", "国"}},  // with a separate token for the space
                                     {"мир", "ми", {"м", "и"}},            // Cyrillic
                                     {"رس", "ر", {"ر"}},                   // Arabic
                                     {"नम", "न", {"न"}}};                  // Devanagari
  for (const auto& [text, marked, pieces] : cases) {
    SCOPED_TRACE(text);
    const Encoding encoding = tokenizer->encode(text);
    const RunText run = run_text(encoding, tokenizer.get(), text);
    const Range found = tokens_of_bytes(run, 0, static_cast<int64_t>(marked.size()));
    EXPECT_EQ(std::vector<std::string>(run.pieces.begin() + found.begin, run.pieces.begin() + found.end), pieces);
    for (size_t id = 0; id < run.ids.size(); ++id) {
      const auto [begin, end] = run.offsets[id];
      const bool is_space = begin < end && text[static_cast<size_t>(begin)] == ' ';
      if (run.pieces[id] == "▁") {
        EXPECT_EQ(end - begin, is_space ? 1 : 0) << id;
      }
    }
  }
}

TEST(RunText, TheTokenizerStillReturnsTheOffsetsOfTheLibrary) {
  const Encoding encoding = metaspace()->encode("中国");
  EXPECT_EQ(encoding.ids, (std::vector<int32_t>{1, 5, 6}));
  EXPECT_EQ(encoding.offsets, (std::vector<std::array<int64_t, 2>>{{0, 3}, {0, 3}, {3, 6}}));
}

TEST(RunText, AnInsertedMetaspaceOfASecondTextIsPlacedAtItsStart) {
  const auto tokenizer = metaspace();
  const RunText source = run_text(tokenizer->encode("hi"), tokenizer.get(), "hi");
  const RunText both = joined(source, run_text(tokenizer->encode("中"), tokenizer.get(), "中"));
  EXPECT_EQ(both.offsets, (std::vector<std::array<int64_t, 2>>{{0, 1}, {1, 2}, {3, 3}, {3, 6}}));
}

}  // namespace
}  // namespace clearhead
