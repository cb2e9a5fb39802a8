// Networks made of parts: step by step equals all at once, a batch equals single inputs, and the maps contain the weights that were used.
#include "models/network.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "clearhead/model.h"
#include "clearhead/trace.h"
#include "largest.h"
#include "models/input_kind.h"
#include "models/run_text.h"
#include "refused.h"
#include "text/tokenizer_json.h"

namespace clearhead {
namespace {

Json translator(const std::string& more) {
  return Json::parse(R"({"model_type": "recurrent_translator", "vocab_size": 20, "embedding_size": 12, "hidden_size": 16)" + more + "}",
                     "config");
}

struct Made {
  Parameters parameters{7};
  std::unique_ptr<Network> network;
  explicit Made(const Json& config) : network(network_of(config, "config.json", parameters)) {}
};

const Batch kSource{.batch = 2, .length = 5, .ids = {3, 4, 5, 6, 7, 8, 9, 10, 0, 0}, .lengths = {5, 3}};
const Batch kTarget{.batch = 2, .length = 4, .ids = {0, 11, 12, 13, 0, 14, 15, 16}};

class EveryTranslator : public testing::TestWithParam<const char*> {};

TEST_P(EveryTranslator, StepwiseDecodingMatchesOneRun) {
  const Made made(translator(GetParam()));
  Compute compute;
  const Tensor whole = made.network->logits(compute, kTarget, &kSource);
  ASSERT_EQ(whole.shape(), (Shape{8, 20}));
  ModelCache cache{.batch = 2};
  made.network->read(compute, kSource, cache);
  for (int64_t t = 0; t < 4; ++t) {
    const Tensor logits =
        made.network->step(compute, {kTarget.ids[static_cast<size_t>(t)], kTarget.ids[static_cast<size_t>(4 + t)]}, cache);
    for (int64_t row = 0; row < 2; ++row) {
      for (int64_t id = 0; id < 20; ++id)
        EXPECT_NEAR(logits.data<float>()[row * 20 + id], whole.data<float>()[(row * 4 + t) * 20 + id], 2e-6)
            << "step " << t << ", row " << row;
    }
    ++cache.length;
  }
}

TEST_P(EveryTranslator, LogitsAreTheSameAloneAndInABatch) {
  const Made made(translator(GetParam()));
  Compute compute;
  const Tensor both = made.network->logits(compute, kTarget, &kSource);
  const Batch source{.batch = 1, .length = 3, .ids = {8, 9, 10}}, target{.batch = 1, .length = 4, .ids = {0, 14, 15, 16}};
  const Tensor alone = made.network->logits(compute, target, &source);
  for (int64_t i = 0; i < 80; ++i) EXPECT_NEAR(alone.data<float>()[i], both.data<float>()[80 + i], 2e-6);
}

TEST_P(EveryTranslator, BeamsOfOneSourceGoOnFromTheirOwnStates) {
  const Made made(translator(GetParam()));
  Compute compute;
  ModelCache beams{.batch = 2}, one{.batch = 2};
  made.network->read(compute, kSource, beams);
  made.network->read(compute, kSource, one);
  beams.select({0, 0, 1, 1});
  const Tensor four = made.network->step(compute, {11, 12, 13, 14}, beams), two = made.network->step(compute, {12, 14}, one);
  for (int64_t id = 0; id < 20; ++id) {
    EXPECT_NEAR(four.data<float>()[20 + id], two.data<float>()[id], 2e-6);
    EXPECT_NEAR(four.data<float>()[60 + id], two.data<float>()[20 + id], 2e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, EveryTranslator,
                         testing::Values("", R"(, "score": "dot")", R"(, "score": "general")", R"(, "score": "concat")",
                                         R"(, "score": "none")", R"(, "score": "general", "where": "local-m", "reach": 1)",
                                         R"(, "score": "general", "where": "local-p", "reach": 1)", R"(, "choice": "hard")",
                                         R"(, "normaliser": "chain")", R"(, "score": "dot", "normaliser": "chain")",
                                         R"(, "normaliser": "sparsemax")", R"(, "score": "general", "normaliser": "entmax15")"));

TEST(Networks, ATranslatorsMapHasARowForEachWordThatItWrites) {
  const Made made(translator(""));
  const Batch source{.batch = 1, .length = 5, .ids = {3, 4, 5, 6, 7}}, target{.batch = 1, .length = 4, .ids = {0, 11, 12, 13}};
  RunText text = joined({.ids = source.ids, .offsets = {5, {0, 0}}, .special = {0, 0, 0, 0, 0}, .pieces = {"a", "b", "c", "d", "e"}},
                        {.ids = target.ids, .offsets = {4, {0, 0}}, .special = {0, 0, 0, 0}, .pieces = {"f", "g", "h", "i"}});
  const auto run = [&](Observer& observer) {
    Compute compute({.observer = &observer});
    made.network->logits(compute, target, &source);
  };
  Trace trace;
  trace.begin(plan_of_run("small", text, run));
  run(trace);
  ASSERT_EQ(trace.plan().families.size(), 1u);
  const MapFamily& cross = trace.family("cross");
  EXPECT_EQ(cross.queries, 4);
  EXPECT_EQ(cross.keys, 5);
  EXPECT_EQ(cross.first_query, 5);
  for (int64_t row = 5; row < 9; ++row) {
    double sum = 0;
    const MapRow weights = trace.map("cross", 0).row(0, row);
    for (const float weight : weights.weights()) sum += std::isnan(weight) ? 0 : static_cast<double>(weight);
    EXPECT_NEAR(sum, 1, 1e-5);
  }
  // A word that is knocked out is not visible: its column of the map is zero, and the output words differ.
  Compute edited({.interventions = {.knockouts = {{.queries = {0, 4}, .keys = {2, 3}, .family = "cross"}}}}), plain;
  const Tensor with = made.network->logits(edited, target, &source), without = made.network->logits(plain, target, &source);
  Largest difference;
  for (int64_t i = 0; i < with.numel(); ++i) difference.add(static_cast<double>(with.data<float>()[i] - without.data<float>()[i]));
  EXPECT_GT(difference.value(), 1e-5);
}

const char* const kDocuments =
    R"({"model_type": "hierarchical_attention", "vocab_size": 300, "embedding_size": 8, "hidden_size": 12, "id2label": {"0": "no", "1": "yes"}})";

TEST(Networks, DocumentsMatchInABatchAndWordWeightsArePerSentence) {
  const Made made(Json::parse(kDocuments, "config"));
  const EncodedSide one{.sequences = {{1, 2, 3}, {4}}, .is_group = true},
      other{.sequences = {{5, 6}, {7, 8, 9, 10}, {11}}, .is_group = true};
  Compute compute;
  const Tensor both = made.network->logits(compute, collate_side({&one, &other}, 0), nullptr);
  const Tensor alone = made.network->logits(compute, collate_side({&one}, 0), nullptr);
  EXPECT_NEAR(both.data<float>()[0], alone.data<float>()[0], 1e-6);
  EXPECT_NEAR(both.data<float>()[1], alone.data<float>()[1], 1e-6);

  const auto tokenizer = Tokenizer::from_json(byte_tokenizer_json());
  const ModelInput input{.texts = {"ab", "c", "def"}};
  const EncodedInput read = encode_input(made.network->facts(), tokenizer.get(), input);
  const auto run = [&](Observer& observer) {
    Compute observed({.observer = &observer});
    made.network->logits(observed, collate_side({&read.input}, 0), nullptr);
  };
  Trace trace;
  trace.begin(plan_of_run("small", describe_input(made.network->facts(), tokenizer.get(), input), run));
  run(trace);
  const MapFamily &words = trace.family("words"), &sentences = trace.family("sentences");
  EXPECT_EQ(words.queries, 3);
  EXPECT_EQ(words.keys, 6);
  EXPECT_EQ(words.first_query, 6);  // sentences come after the words
  EXPECT_EQ(sentences.queries, 1);
  EXPECT_EQ(sentences.keys, 3);
  const MapRow row = trace.map("words", 0).row(0, 8);
  const std::vector<float> third(row.weights().begin(), row.weights().end());
  EXPECT_NEAR(static_cast<double>(third[3] + third[4] + third[5]), 1, 1e-5);  // "def" is the last three words
  EXPECT_EQ(trace.plan().text.pieces[8], "sentence 3");
}

TEST(Networks, InvalidConfigFieldsAreRefusedByName) {
  Parameters parameters;
  const auto expect = [&](const std::string& more, const std::string& says, ErrorCode code) {
    expect_refused(code, says, [&] { network_of(translator(more), "config.json", parameters); });
    parameters = Parameters();
  };
  expect(R"(, "scroe": "dot")", "scroe", ErrorCode::kUnsupported);
  expect(R"(, "score": "cosine")", "one of: additive, dot", ErrorCode::kFormat);
  expect(R"(, "where": "local-p")", "global", ErrorCode::kFormat);
}

}  // namespace
}  // namespace clearhead
