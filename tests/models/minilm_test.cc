// MiniLM's real weights against a float64 run of transformers, from the text to maps and sentence embeddings.
// CLEARHEAD_MINILM is the model's folder (tools/demo-model prints it); without it these tests skip.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "clearhead/answers.h"
#include "golden.h"
#include "tolerance.h"

namespace clearhead {
namespace {

class MiniLm : public testing::Test {
 protected:
  void SetUp() override {
    const char* directory = std::getenv("CLEARHEAD_MINILM");
    if (!directory || !*directory) GTEST_SKIP() << "set CLEARHEAD_MINILM to the folder that tools/demo-model prints";
    static const std::shared_ptr<const Model> loaded = load(directory);
    model = loaded;
  }
  std::string sentence(int index) const { return goldens.metadata().at("sentence." + std::to_string(index)); }
  Tensor golden(const std::string& name, int index) const { return goldens.get(name + "." + std::to_string(index)); }

  const io::SafeTensors goldens = io::SafeTensors::open(std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/minilm/golden.safetensors");
  std::shared_ptr<const Model> model;
};

TEST_F(MiniLm, ReadsTheSameTokensAsTheLibrary) {
  for (int index = 0; index < 3; ++index) {
    const Tensor ids = golden("input_ids", index);
    const std::vector<int32_t> expected(ids.data<int32_t>(), ids.data<int32_t>() + ids.numel());
    EXPECT_EQ(model->tokenizer().encode(sentence(index)).ids, expected) << sentence(index);
  }
}

TEST_F(MiniLm, HiddenStatesMatchTransformers) {
  for (int index = 0; index < 3; ++index) {
    const Encoding encoding = model->tokenizer().encode(sentence(index));
    const Tensor hidden = model->run(encoding).hidden.select(0, 0);
    EXPECT_LE(difference(hidden, golden("hidden", index)), tolerance::kHidden) << sentence(index);
  }
}

TEST_F(MiniLm, SentenceVectorsMatchSentenceTransformers) {
  for (int index = 0; index < 3; ++index) {
    const Embedding embedding = embed(*model, sentence(index));
    EXPECT_EQ(embedding.used, embedding.tokens);
    EXPECT_LE(difference(Tensor::from(embedding.values, {384}), golden("embedding", index)), tolerance::kEmbedding) << sentence(index);
  }
}

TEST_F(MiniLm, EveryMapMatchesTransformers) {
  for (int index = 0; index < 3; ++index) {
    KeepAll kept;
    (void)model->run(model->tokenizer().encode(sentence(index)), {.observer = &kept});
    ASSERT_EQ(kept.taken.size(), 6U);
    for (int layer = 0; layer < 6; ++layer) {
      const Tensor expected = golden("attention." + std::to_string(index), layer);
      const Shape batched = {1, expected.size(0), expected.size(1), expected.size(2)};
      EXPECT_LE(map_difference(kept.taken[static_cast<size_t>(layer)].record, expected.reshape(batched), 0), tolerance::kMap)
          << "layer " << layer;
    }
  }
}

TEST_F(MiniLm, PlansNameTheTextAndWhereItsTokensStand) {
  KeepAll kept;
  (void)model->run(model->tokenizer().encode(sentence(0)), {.observer = &kept, .text = sentence(0)});
  ASSERT_EQ(kept.plans.size(), 1U);
  const RunText& text = kept.plans[0].text;
  EXPECT_EQ(text.text, sentence(0));
  EXPECT_EQ(text.pieces[2], "cat");
  EXPECT_EQ(text.text.substr(static_cast<size_t>(text.offsets[2][0]), 3), "cat");
  EXPECT_EQ(text.special.front(), 1);
  EXPECT_EQ(kept.plans[0].families[0].heads, 12);
  EXPECT_EQ(kept.plans[0].families[0].name, "enc");
}

TEST_F(MiniLm, TextIsRebuiltForThePlanWhereTheCallerKeptOnlyTheEncoding) {
  KeepAll kept;
  (void)model->run(model->tokenizer().encode("the cat sat on the mat."), {.observer = &kept});
  EXPECT_EQ(kept.plans[0].text.text, "the cat sat on the mat.");
}

TEST_F(MiniLm, LongTextsAreCutAtMaxSeqLengthAndSaySo) {
  std::string text;
  for (int word = 0; word < 400; ++word) text += "cat ";
  const Embedding embedding = embed(*model, text);
  EXPECT_EQ(embedding.tokens, 402);
  EXPECT_EQ(embedding.used, 256);
}

TEST_F(MiniLm, TextBeyondThePositionsIsRefusedWithTheWaysOut) {
  try {
    (void)model->run(std::vector<int32_t>(9214, 1000));
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kTooLong);
    EXPECT_STREQ(error.what(),
                 "the text has 9,214 tokens, but the model supports 512 positions; shorten the text, or use a model with more positions");
  }
}

TEST_F(MiniLm, BatchesGiveTheSameVectorsAsSentencesAlone) {
  const std::vector<int32_t> one = model->tokenizer().encode(sentence(0)).ids, two = model->tokenizer().encode(sentence(1)).ids;
  Batch batch;
  batch.batch = 2;
  batch.length = static_cast<int64_t>(two.size());
  batch.ids = one;
  batch.ids.resize(two.size(), 0);
  batch.ids.insert(batch.ids.end(), two.begin(), two.end());
  batch.lengths = {static_cast<int32_t>(one.size()), static_cast<int32_t>(two.size())};
  const Tensor hidden = model->run(batch).hidden;
  EXPECT_LE(difference(hidden.select(0, 0).slice(0, 0, static_cast<int64_t>(one.size())), golden("hidden", 0)), tolerance::kHidden);
  EXPECT_LE(difference(hidden.select(0, 1), golden("hidden", 1)), tolerance::kHidden);
}

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * 4096;
}

TEST_F(MiniLm, ResidentMemoryStaysWithinTheModelAndAHundredMegabytes) {
  const int64_t before = resident_bytes();
  const auto again = load(model->info().directory);
  (void)embed(*again, sentence(0));
  EXPECT_LE(resident_bytes() - before, static_cast<int64_t>(again->info().file_bytes) + (int64_t{100} << 20));
}

}  // namespace
}  // namespace clearhead
