// Batches of pairs: every tensor has the layout that the model expects, every pair occurs once per epoch, and there is little padding.
#include "tasks/data/pair_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <numeric>
#include <set>

#include "base/file.h"
#include "clearhead/error.h"
#include "refused.h"
#include "tasks/recipe/recipe.h"
#include "text/train_vocabulary.h"

namespace clearhead::tasks {
namespace {

struct Made {
  Made() {
    recipe.source.folder = testing::TempDir() + "pair_data";
    std::filesystem::create_directories(recipe.source.folder);
    std::string text, all;
    for (int i = 0; i < 300; ++i) {
      std::string source, target;
      for (int w = 0; w <= i * 7 % 13; ++w)
        source += std::to_string((i + w) % 50) + " ", target += std::to_string((i + w) % 50 + 100) + " ";
      text += source + "\t" + target + (i % 3 == 0 ? "\tnever read\n" : "\n");
      all += source + target;
    }
    write_file(recipe.source.folder + "/train.tsv", text);
    recipe.pairs = PairFiles{.train = {"train.tsv"}};
    recipe.max_tokens = 400;
    recipe.length = 60;
    VocabularyOptions options{.size = 300, .special = {"</s>", "<pad>"}, .end = "</s>"};
    tokenizer = Tokenizer::from_json(train_vocabulary({all}, options).tokenizer_json);
  }
  Recipe recipe;
  std::shared_ptr<const Tokenizer> tokenizer;
};

// [source | target] of every row without padding, and how often it occurs.
std::map<std::vector<int32_t>, int> rows_of(const std::vector<Example>& examples) {
  std::map<std::vector<int32_t>, int> out;
  for (const Example& example : examples) {
    for (int64_t row = 0; row < example.input.batch; ++row) {
      const auto source = example.source->ids.begin() + row * example.source->length;
      std::vector<int32_t> both(source, source + example.source->lengths[row]);
      const auto target = example.targets.begin() + row * example.input.length;
      both.insert(both.end(), target, target + example.input.lengths[row]);
      ++out[both];
    }
  }
  return out;
}

std::vector<Example> epoch_of(const PairData& data, uint64_t seed, int64_t epoch) {
  const int64_t batches = static_cast<int64_t>(data.in_order().size());
  std::vector<Example> out;
  for (int64_t at = 0; at < batches; ++at) out.push_back(data.shuffled(seed, epoch * batches + at));
  return out;
}

TEST(PairData, BatchesContainSourcesTargetsAndShiftedDecoderInputs) {
  const Made made;
  const PairData data(Part::kTrain, made.recipe, *made.tokenizer, 1);
  int64_t places = 0, tokens = 0;
  for (const Example& example : data.in_order()) {
    const Batch &source = *example.source, &input = example.input;
    ASSERT_EQ(source.batch, input.batch);
    ASSERT_LE(source.batch * std::max(source.length, input.length), 400);
    int64_t counted = 0;
    for (int64_t row = 0; row < input.batch; ++row) {
      const auto end_of_source = source.ids.begin() + row * source.length + source.lengths[row];
      EXPECT_EQ(end_of_source[-1], 0);  // </s>
      const int32_t* read = input.ids.data() + row * input.length;
      const int32_t* said = example.targets.data() + row * input.length;
      for (int64_t i = 0; i < input.length; ++i) {
        const bool is_token = i < input.lengths[row];
        EXPECT_EQ(said[i] == -100, !is_token);
        EXPECT_EQ(read[i], i == 0 || !is_token ? 1 : said[i - 1]);
        counted += is_token;
      }
      EXPECT_EQ(said[input.lengths[row] - 1], 0);
      EXPECT_EQ(made.tokenizer->decode({said, said + input.lengths[row] - 1}).find("never"), std::string::npos);
    }
    EXPECT_EQ(example.counted, counted);
    places += input.batch * (source.length + input.length);
    tokens += counted + std::accumulate(source.lengths.begin(), source.lengths.end(), int64_t{0});
  }
  EXPECT_EQ(tokens, data.tokens());
  EXPECT_LT(static_cast<double>(places), 1.4 * static_cast<double>(tokens));
}

TEST(PairData, EveryPairComesOnceInEveryEpochInAnotherOrder) {
  const Made made;
  const PairData data(Part::kTrain, made.recipe, *made.tokenizer, 1);
  const auto all = rows_of(data.in_order());
  EXPECT_EQ(std::accumulate(all.begin(), all.end(), 0, [](int sum, const auto& row) { return sum + row.second; }), 300);
  const std::vector<Example> first = epoch_of(data, 7, 0), second = epoch_of(data, 7, 1), again = epoch_of(data, 7, 0);
  EXPECT_EQ(rows_of(first), all);
  EXPECT_EQ(rows_of(second), all);
  int64_t same = 0;
  for (size_t at = 0; at < first.size(); ++at) {
    EXPECT_EQ(first[at].targets, again[at].targets);
    same += first[at].targets == second[at].targets;
  }
  EXPECT_LT(same, static_cast<int64_t>(first.size()) / 4);
}

TEST(PairData, LongPairsAreLeftOutAndALineWithoutATabIsNamed) {
  Made made;
  made.recipe.length = 6;
  const PairData few(Part::kTrain, made.recipe, *made.tokenizer, 1);
  for (const Example& example : few.in_order()) EXPECT_LE(std::max(example.source->length, example.input.length), 6);
  EXPECT_GT(few.tokens(), 0);
  write_file(made.recipe.source.folder + "/broken.tsv", "a\tb\nno tab\n");
  try {
    made.recipe.pairs->train = {"broken.tsv"};
    read_pairs(Part::kTrain, made.recipe);
    FAIL() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_NE(
        std::string(error.what()).find("broken.tsv, line 2: expected 2 columns separated by tabs (source 1, target 2), found \"no tab\""),
        std::string::npos);
  }
}

TEST(PairData, LongSourcesAreTruncatedIfTheRecipeAllowsIt) {
  Made made;
  write_file(made.recipe.source.folder + "/long.jsonl", R"({"abstract": ["1 2 3 4", "5 6 7 8"], "title": "9 10"})"
                                                        "\n");
  made.recipe.source.fields = {"abstract", "title"};
  made.recipe.length = 5;
  made.recipe.pairs = PairFiles{.train = {"long.jsonl"}};
  EXPECT_TRUE(PairData(Part::kTrain, made.recipe, *made.tokenizer, 1).in_order().empty());
  made.recipe.pairs->cut = true;
  const std::vector<Example> cut = PairData(Part::kTrain, made.recipe, *made.tokenizer, 1).in_order();
  ASSERT_EQ(cut.size(), 1u);
  std::vector<int32_t> expected = made.tokenizer->encode("1 2 3 4 5 6 7 8").ids;
  expected[4] = expected.back();  // </s>
  expected.resize(5);
  EXPECT_EQ(cut[0].source->ids, expected);
  made.recipe.length = 2;
  EXPECT_TRUE(PairData(Part::kTrain, made.recipe, *made.tokenizer, 1).in_order().empty());  // targets are never truncated
}

TEST(PairData, DialogueTurnsAreTargetsWithEarlierTurnsAsSource) {
  Made made;
  write_file(made.recipe.source.folder + "/a.jsonl", R"({"turns": ["one", "two\r\nlines", "three", "four"]})"
                                                     "\n"
                                                     R"({"turns": ["alone"]})"
                                                     "\n");
  write_file(made.recipe.source.folder + "/b.jsonl", R"({"turns": ["five", "six"]})"
                                                     "\n");
  made.recipe.pairs = PairFiles{.train = {"a.jsonl", "b.jsonl"}, .turns = "turns", .turns_before = 2};
  const auto pairs_of = [&] {
    std::vector<std::string> out;
    for (const TextPair& pair : read_pairs(Part::kTrain, made.recipe)) out.push_back(pair.source + " | " + pair.target);
    return out;
  };
  EXPECT_EQ(pairs_of(),
            (std::vector<std::string>{"one | two  lines", "one\ntwo  lines | three", "two  lines\nthree | four", "five | six"}));
  const std::vector<std::string> vocabulary = vocabulary_texts_of_pairs(made.recipe);
  made.recipe.pairs->turns_before = 0;
  EXPECT_EQ(pairs_of(), (std::vector<std::string>{" | two  lines", " | three", " | four", " | six"}));
  EXPECT_EQ(vocabulary_texts_of_pairs(made.recipe), vocabulary);
  EXPECT_EQ(vocabulary[0], "one\ntwo  lines\nthree\nfour\nalone\nfive\nsix\n");
}

// With "noise", sources depend on seed and number and change in every epoch; targets, lengths and validation data stay the same.
TEST(PairData, NoiseChangesOnlySourcesAndDiffersByEpoch) {
  Made made;
  const PairData clean(Part::kTrain, made.recipe, *made.tokenizer, 1);
  made.recipe.noise = {.share = 0.5, .token_dropout = 0.3};
  const PairData noisy(Part::kTrain, made.recipe, *made.tokenizer, 1), again(Part::kTrain, made.recipe, *made.tokenizer, 1);

  EXPECT_EQ(rows_of(noisy.in_order()), rows_of(clean.in_order()));
  int64_t rows = 0, changed = 0;
  for (int64_t number = 0; number < 40; ++number) {
    const Example as_read = clean.shuffled(7, number), one = noisy.shuffled(7, number);
    EXPECT_EQ(one.targets, as_read.targets);
    EXPECT_EQ(one.input.ids, as_read.input.ids);
    EXPECT_EQ(one.source->ids, again.shuffled(7, number).source->ids);  // independent of earlier calls
    for (size_t row = 0; row < one.source->lengths.size(); ++row, ++rows) {
      changed += one.source->lengths[row] != as_read.source->lengths[row];
      EXPECT_LE(one.source->lengths[row], as_read.source->lengths[row]);
      EXPECT_GT(one.source->lengths[row], 0);
    }
  }
  EXPECT_GT(changed, rows / 4);
  EXPECT_LT(changed, rows * 3 / 5);
  EXPECT_NE(rows_of(epoch_of(noisy, 7, 0)), rows_of(epoch_of(noisy, 7, 1)));
  EXPECT_EQ(rows_of(epoch_of(clean, 7, 0)), rows_of(epoch_of(clean, 7, 1)));
}

struct Aligned : Made {
  explicit Aligned(const std::string& lines) {
    write_file(recipe.source.folder + "/aligned.tsv", lines);
    recipe.pairs = PairFiles{.train = {"aligned.tsv"}};
    recipe.alignment = AlignmentRecipe{.column = "3"};
  }
  PairData read() const { return {Part::kTrain, recipe, *tokenizer, 1}; }
};

// "12 7" and "112 107 9": a word of several tokens passes its links to all of them; the shares of a row sum to one.
TEST(PairData, WordAlignmentsAreConvertedToTokenAlignments) {
  const Aligned made("12 7\t112 107 9\t0-0 1-1 0-1 1-1\n40\t140\t\n");
  const std::vector<Example> batches = made.read().in_order();
  const auto tokens_of = [&](const std::string& word, const std::string& text) {
    const Encoding encoding = made.tokenizer->encode(text);
    const auto begin = static_cast<int64_t>(text.find(word)), end = begin + static_cast<int64_t>(word.size());
    std::vector<int32_t> out;
    for (size_t at = 0; at < encoding.size(); ++at) {
      if (encoding.offsets[at][0] < end && encoding.offsets[at][1] > begin && encoding.offsets[at][0] < encoding.offsets[at][1])
        out.push_back(static_cast<int32_t>(at));
    }
    return out;
  };
  std::map<std::pair<int32_t, int32_t>, float> expected, found;  // target row, source token → share
  const auto source_12 = tokens_of("12", "12 7"), source_7 = tokens_of("7", "12 7");
  for (const int32_t row : tokens_of("112", "112 107 9")) {
    for (const int32_t key : source_12) expected[{row, key}] = 1 / static_cast<float>(source_12.size());
  }
  for (const int32_t row : tokens_of("107", "112 107 9")) {
    for (const auto& keys : {source_12, source_7}) {
      for (const int32_t key : keys) expected[{row, key}] = 1 / static_cast<float>(source_12.size() + source_7.size());
    }
  }
  int64_t rows = 0;
  for (const Example& batch : batches) {
    ASSERT_TRUE(batch.alignment);
    rows += batch.alignment->rows;
    for (size_t at = 0; at < batch.alignment->pairs.size(); ++at) {
      const AttentionPair& pair = batch.alignment->pairs[at];
      EXPECT_EQ(batch.source->lengths[static_cast<size_t>(pair.batch)], std::ssize(made.tokenizer->encode("12 7").ids));
      found[{pair.query, pair.key}] += batch.alignment->shares[at];
    }
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(rows, std::ssize(tokens_of("112", "112 107 9")) + std::ssize(tokens_of("107", "112 107 9")));
}

TEST(PairData, InvalidAlignmentsAreRefusedWithTheirLine) {
  const auto refused = [](const std::string& cell) { return error_of([&] { (void)Aligned("1 2\t3\n4 5\t6" + cell).read(); }); };
  const std::string place = testing::TempDir() + "pair_data/aligned.tsv, line ";
  EXPECT_EQ(refused("\n"), "kFormat: " + place +
                               "1: expected 3 columns separated by tabs (source 1, target 2, \"alignment.column\" 3), found \"1 2\\t3\"");
  const auto of_line_2 = [](const std::string& cell) {
    return error_of([&] { (void)Aligned("1 2\t3\t0-0\n4 5\t6\t" + cell + "\n").read(); });
  };
  EXPECT_EQ(of_line_2("0-0 2-0"),
            "kFormat: " + place + "2: the alignment \"2-0\" names a word that does not exist; the source has 2 words and the target 1");
  for (const char* bad : {"0:0", "0-", "-0", "0-0x", "0--1", "0"})
    EXPECT_NE(
        of_line_2(bad).find("2: expected links such as \"0-0 1-2\" (source word-target word, counted from 0), found \"" + std::string(bad)),
        std::string::npos)
        << bad << ": " << of_line_2(bad);
  EXPECT_EQ(of_line_2("0-0 1-0"), "no error");
}

TEST(PairData, TheDigestIncludesAlignments) {
  const auto digest = [](const std::string& lines) {
    Digest of;
    Aligned(lines).read().add_to(of);
    return of.hex();
  };
  EXPECT_EQ(digest("1 2\t3\t0-0\n"), digest("1 2\t3\t0-0 0-0\n"));
  EXPECT_NE(digest("1 2\t3\t0-0\n"), digest("1 2\t3\t1-0\n"));
}

std::string joined(const std::vector<TextPair>& pairs) {
  std::string out;
  for (const TextPair& pair : pairs) out += pair.source + "|" + pair.target + "\n";
  return out;
}

TEST(PairData, ColumnsAreChosenByNameOrNumber) {
  Made made;
  made.recipe.source.fields = {"fr", "en"};
  write_file(made.recipe.source.folder + "/named.csv", "id,en,fr\n1,\"a cat, here\",un chat\n2,a dog,un chien\n");
  made.recipe.pairs = PairFiles{.train = {"named.csv"}};
  std::vector<std::string> headers;
  EXPECT_EQ(joined(read_pairs(Part::kTrain, made.recipe, false, &headers)), "un chat|a cat, here\nun chien|a dog\n");
  EXPECT_EQ(headers, std::vector<std::string>{"id,en,fr"});
  made.recipe.source.fields = {"3", "2"};
  EXPECT_EQ(joined(read_pairs(Part::kTrain, made.recipe)), "un chat|a cat, here\nun chien|a dog\n");  // two languages are a header
  made.recipe.source.fields = {"fr", "de"};
  EXPECT_EQ(
      error_of([&] { read_pairs(Part::kTrain, made.recipe); }),
      "kFormat: " + made.recipe.source.folder + R"(/named.csv, line 1: no column "de" ("fields"); the first line names "id", "en", "fr")");
}

TEST(PairData, AShareOfThePairsIsHeldOutWithoutSeparatingEqualSources) {
  Made made;
  std::string lines;
  for (int pair = 0; pair < 200; ++pair) lines += format("{}\t{}\n", pair / 2, pair);
  write_file(made.recipe.source.folder + "/all.tsv", lines);
  made.recipe.pairs = PairFiles{.train = {"all.tsv"}, .held_out = 0.2};
  const std::vector<TextPair> train = read_pairs(Part::kTrain, made.recipe), valid = read_pairs(Part::kValid, made.recipe);
  EXPECT_EQ(train.size(), 160u);
  EXPECT_EQ(valid.size(), 40u);
  std::set<std::string> sources;
  for (const TextPair& pair : train) sources.insert(pair.source);
  for (const TextPair& pair : valid) EXPECT_FALSE(sources.contains(pair.source)) << pair.source;
  // They are spread over the file.
  EXPECT_LT(std::stoi(valid.front().source), 50);
  EXPECT_GT(std::stoi(valid.back().source), 50);
  EXPECT_EQ(vocabulary_texts_of_pairs(made.recipe)[0].substr(0, 8), "0\n0\n1\n1\n");  // of all pairs
  const PairData data(Part::kValid, made.recipe, *made.tokenizer, 1);
  EXPECT_EQ(data.summary("validation").count, 40);
}

TEST(PairData, ADialogueIsHeldOutAsAWhole) {
  Made made;
  std::string lines;
  for (int dialogue = 0; dialogue < 20; ++dialogue) lines += format(R"({{"turns": ["{0}", "{0} b", "{0} c"]}})", dialogue) + "\n";
  write_file(made.recipe.source.folder + "/talk.jsonl", lines);
  made.recipe.pairs = PairFiles{.train = {"talk.jsonl"}, .held_out = 0.25, .turns = "turns", .turns_before = 1};
  std::set<int64_t> train;
  for (const TextPair& pair : read_pairs(Part::kTrain, made.recipe)) train.insert(pair.dialogue);
  const std::vector<TextPair> valid = read_pairs(Part::kValid, made.recipe);
  EXPECT_EQ(train.size(), 15u);
  EXPECT_EQ(valid.size(), 10u);
  for (const TextPair& pair : valid) EXPECT_FALSE(train.contains(pair.dialogue));
}

}  // namespace
}  // namespace clearhead::tasks
