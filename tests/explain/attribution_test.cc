// Attributions of tokens against those from PyTorch's gradients and whole matrices (tools/goldens/attribution.py), and what is refused.
#include "explain/attribution.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>

#include "clearhead/error.h"
#include "clearhead/generate.h"
#include "explain/golden_cases.h"
#include "explain/items.h"
#include "explain/traced.h"
#include "largest.h"
#include "refused.h"

namespace clearhead::explain {
namespace {

// The share of each item, including the token of the row that the answer is read from.
std::vector<double> expected(const AttributionTarget& subject, const Json& shares) {
  std::vector<double> of_ids;
  for (const Json& share : shares.items()) of_ids.push_back(share.number());
  return subject.by_item(of_ids);
}

TEST(Attribution, SharesMatchThePyTorchGoldens) {
  const Json file = golden_file();
  for (const Json& golden : file.find("cases")->items()) {
    SCOPED_TRACE(golden.find("folder")->string());
    const auto subject = golden_subject(golden);
    InputTape tape;
    EXPECT_NEAR(subject->differentiate(tape, nullptr), golden.find("y")->number(), 1e-5);
    for (const Method& method : attribution_methods()) {
      const Json* shares = golden.find(method.name);
      if (!shares) continue;
      SCOPED_TRACE(method.name);
      const std::vector<double> all = expected(*subject, *shares);
      const std::vector<double> found = attribute(*subject, method, {.steps = file.find("steps")->integer()});
      ASSERT_EQ(found.size(), all.size());
      double largest = 0;
      for (const double share : all) largest = std::max(largest, std::abs(share));
      ASSERT_GT(largest, 0);
      for (size_t i = 0; i < all.size(); ++i) EXPECT_NEAR(found[i], all[i], 1e-5 * std::max(1.0, largest)) << "item " << i;
    }
  }
}

// Attribution sums gradients during the backward pass and a trace shows them afterwards: both must agree, in every model family.
TEST(Attribution, TraceGradientsReproduceTheAttributionShares) {
  for (const Json& golden : golden_cases()) {
    SCOPED_TRACE(golden.find("folder")->string());
    const auto subject = golden_subject(golden);
    const std::vector<double> shares = attribute(*subject, method_named("attention-gradient"));
    const Trace trace = trace_with_gradients(*subject, {});
    EXPECT_EQ(trace.gradients_of(), subject->answer());
    const Site site = looked_at(*subject, std::nullopt);
    const MapFamily& family = trace.family(site.family);
    const LayerMap map = trace.map(site.family, site.layer), positive = map.with(GradientLook::kPositive),
                   negative = map.with(GradientLook::kNegative);
    std::vector<double> of_ids(subject->plan().text.ids.size());
    for (int64_t head = 0; head < map.heads(); ++head) {
      for (const int64_t row : subject->rows()) {
        const MapRow speaks_for = positive.row(head, family.first_query + row), against = negative.row(head, family.first_query + row);
        for (size_t id = 0; id < of_ids.size(); ++id) {
          const double difference = static_cast<double>(speaks_for.weights()[id]) - static_cast<double>(against.weights()[id]);
          if (!std::isnan(difference)) of_ids[id] += difference / static_cast<double>(map.heads());
        }
      }
    }
    const std::vector<double> found = subject->by_item(of_ids);
    double largest = 0;
    for (const double share : shares) largest = std::max(largest, std::abs(share));
    ASSERT_GT(largest, 0);
    for (size_t i = 0; i < shares.size(); ++i) EXPECT_NEAR(found[i], shares[i], 1e-6 * largest) << "item " << i;
  }
}

TEST(Attribution, IntegratedGradientsSumToTheChangeOfTheAnswer) {
  const Json golden = golden_cases()[0];
  const auto subject = golden_subject(golden);
  InputTape at_text, at_zeros;
  at_zeros.scale = 0;
  const double gained = subject->differentiate(at_text, nullptr) - subject->differentiate(at_zeros, nullptr);
  // Every token, including those that are not items.
  double sum = 0;
  constexpr int kSteps = 400;
  for (int step = 0; step < kSteps; ++step) {
    InputTape tape;
    tape.scale = (static_cast<float>(step) + 0.5F) / kSteps;
    subject->differentiate(tape, nullptr);
    const auto& input = tape.inputs[0];
    for (int64_t i = 0; i < input.values.numel(); ++i)
      sum += static_cast<double>(input.values.data<float>()[i]) * static_cast<double>(input.gradient.data<float>()[i]) / kSteps;
  }
  EXPECT_NEAR(sum, gained, 3e-3 * std::abs(gained) + 1e-4);
}

// A causal classifier reads the last token that is not padding. No earlier token sees the padding
// after it, so that padding changes no share.
TEST(Attribution, PaddingAtTheEndOfATextChangesNoShareOfACausalClassifier) {
  const auto model = load(kGoldens + "gpt2/classify_pads", {.tokenizer = false, .gradients = true});
  const Json text = Json::parse("[5, 9, 3, 11, 7]", "text"), padded = Json::parse("[5, 9, 3, 11, 7, 3, 3]", "padded");
  const auto subject = make_target(model, encoding_of(text), {}), with_padding = make_target(model, encoding_of(padded), {});
  EXPECT_EQ(with_padding->rows(), subject->rows());
  EXPECT_NEAR(with_padding->probability(), subject->probability(), 1e-6);
  const Tensor states = subject->states(), found_states = with_padding->states();
  EXPECT_LT(largest_difference(found_states.data<float>(), states.data<float>(), states.numel()), 1e-6);
  for (const Method& method : attribution_methods()) {
    SCOPED_TRACE(method.name);
    const std::vector<double> shares = attribute(*subject, method), found = attribute(*with_padding, method);
    ASSERT_EQ(found.size(), shares.size() + 2);
    for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], i < shares.size() ? shares[i] : 0, 1e-6) << "item " << i;
  }
}

// Beyond 4,096 tokens a pass keeps only the inputs of layers and recomputes the layers. Tokens out of reach have no share.
TEST(Attribution, CheckpointedLongTextsGiveTheSharesOfAShortText) {
  const auto model = load(std::string(CLEARHEAD_SOURCE_DIR) + "/models/book", {.gradients = true});  // a window of 256 in 6 layers
  Encoding whole;
  for (int64_t at = 0; at < 4200; ++at) {
    whole.ids.push_back(static_cast<int32_t>(at * at * 31 % 1999));
    whole.type_ids.push_back(0);
    whole.offsets.push_back({0, 0});
    whole.segment.push_back(0);
  }
  Encoding last = whole;
  for (auto* part : {&last.ids, &last.type_ids}) part->erase(part->begin(), part->begin() + 2100);
  last.offsets.resize(last.ids.size());
  last.segment.resize(last.ids.size());
  const auto of_whole = make_target(model, whole, {.target_ids = {7}}), of_last = make_target(model, last, {.target_ids = {7}});
  const std::vector<double> shares = attribute(*of_whole, method_named("relevance")),
                            expected_ones = attribute(*of_last, method_named("relevance"));
  const size_t before = shares.size() - expected_ones.size();
  double largest = 0, least = 0;
  for (size_t i = 0; i < expected_ones.size(); ++i) largest = std::max(largest, expected_ones[i]);
  ASSERT_GT(largest, 0);
  for (size_t i = 0; i < expected_ones.size(); ++i) EXPECT_NEAR(shares[before + i], expected_ones[i], 1e-3 * largest) << i;
  for (size_t i = 0; i < before; ++i) least = std::max(least, std::abs(shares[i]));
  EXPECT_LT(least, 1e-6 * largest);
}

// A removed item is not read: making an item invisible changes the answer as attribution by occlusion reports it.
TEST(Attribution, OcclusionEqualsTheLossFromHidingAnItem) {
  for (const Json& golden : golden_cases()) {
    SCOPED_TRACE(golden.find("folder")->string());
    const auto subject = golden_subject(golden);
    const size_t items = subject->items().size(), away = items / 2;
    std::vector<uint8_t> none(items), one(items);
    one[away] = 1;
    const std::vector<double> answers = subject->answers({none, one}, RemovedBy::kUnseen);
    EXPECT_NEAR(answers[0], subject->probability(), 1e-6);
    EXPECT_NE(answers[1], answers[0]);
    const std::vector<double> lost = attribute(*subject, method_named("occlusion"), {});
    EXPECT_NEAR(lost[away], subject->probability() - answers[1], 1e-6);
  }
}

std::shared_ptr<const Model> book() { return load(std::string(CLEARHEAD_SOURCE_DIR) + "/models/book", {.gradients = true}); }

// The log-probability of the last tokens of a text, each given the tokens before it.
double log_probability_of_last(const Model& model, const std::string& text, size_t count) {
  const Encoding encoding = model.tokenizer().encode(text);
  const std::vector<float> each = log_probabilities(model, encoding.ids);
  return std::accumulate(each.end() - static_cast<std::ptrdiff_t>(count), each.end(), 0.0);
}

TEST(Attribution, AnAnswerOfSeveralTokensIsExplainedAsAWhole) {
  const auto model = book();
  const std::string text = "It was a dark and stormy";
  const auto subject = make_target(model, {.text = text}, {.target = "night, and"});
  const size_t tokens = subject->answer_ids().size();
  ASSERT_GT(tokens, 1u);
  EXPECT_EQ(subject->answer(), "next tokens \" night, and\"");
  const double expected_y = log_probability_of_last(*model, text + " night, and", tokens);
  EXPECT_NEAR(subject->run(nullptr).y, expected_y, 1e-4);
  EXPECT_NEAR(subject->probability(), std::exp(expected_y), 1e-4 * std::exp(expected_y));
  // Gradients belong to the same number: Σ x·∂y/∂x is the rate at which y changes when all embeddings are scaled.
  const auto y_at = [&](float scale, InputTape& tape) {
    tape.scale = scale;
    return subject->differentiate(tape, nullptr);
  };
  constexpr float kScale = 0.25F, kStep = 0.0125F;
  InputTape at_text, below, above, middle;
  EXPECT_NEAR(y_at(1, at_text), expected_y, 1e-4);
  const double slope = (y_at(kScale + kStep, above) - y_at(kScale - kStep, below)) / (2 * static_cast<double>(kStep));
  (void)y_at(kScale, middle);
  double sum = 0;
  const auto& input = middle.inputs[0];
  for (int64_t i = 0; i < input.values.numel(); ++i)
    sum += static_cast<double>(input.values.data<float>()[i]) * static_cast<double>(input.gradient.data<float>()[i]);
  EXPECT_NEAR(sum, slope, 0.02 * std::abs(slope));
  for (const Method& method : attribution_methods())
    EXPECT_EQ(attribute(*subject, method, {.steps = 4}).size(), subject->items().size()) << method.name;
  EXPECT_NEAR(subject->answers({std::vector<uint8_t>(subject->items().size())}, RemovedBy::kUnseen)[0], subject->probability(), 1e-6);
}

TEST(Attribution, TargetsAreTokenisedAsContinuationsOfTheText) {
  const auto model = book();
  for (const auto& [text, of, answer] : {std::array<std::string, 3>{"It was a dark and stormy night", ".", "\".\""},
                                         {"It was a dark and stormy night", ",", "\",\""},
                                         {"It was a dark and stormy", "night", "\" night\""},
                                         {"It was a dark and stormy ", "night", "\"night\""},
                                         {"It was a dark and storm", "y", "\"y\""},
                                         {"It was a dark and stormy", "zebra", "\" zebra\""},
                                         {"It was a dark and stormy", " night", "\" night\""}}) {
    EXPECT_NE(make_target(model, {.text = text}, {.target = of})->answer().find(answer), std::string::npos)
        << make_target(model, {.text = text}, {.target = of})->answer();
  }
  const auto zebra = make_target(model, {.text = "He saw a"}, {.target = "zebra"});
  EXPECT_EQ(zebra->answer(), "next tokens \" zebra\"");
  EXPECT_NEAR(std::log(zebra->probability()), log_probability_of_last(*model, "He saw a zebra", zebra->answer_ids().size()), 1e-3);
  expect_refused(ErrorCode::kUnsupported, "answers are compared one token against one",
                 [&] { (void)make_target(model, {.text = "He saw a"}, {.target = "man", .contrast = "zebra"}); });
}

// The token before the answer often matters most.
TEST(Attribution, EveryTokenOfTheTextHasAShare) {
  const auto model = book();
  const std::string text = "It was a dark and stormy";
  const auto subject = make_target(model, {.text = text}, {.target = "night"});
  std::string all;
  for (const Range& item : subject->items()) {
    const auto [begin, end] = bytes_of_item(*subject, item);
    all += text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  }
  EXPECT_EQ(all, text);
  EXPECT_GT(make_target(model, {.text = "cat"}, {})->items().size(), 0u);
  const size_t items = subject->items().size();
  std::vector<std::vector<uint8_t>> sets(3, std::vector<uint8_t>(items));
  sets[0][0] = 1;
  sets[1][items - 1] = 1;
  sets[2][0] = sets[2][items - 1] = 1;
  const std::vector<double> together = subject->answers(sets, RemovedBy::kUnseen);
  for (size_t set = 0; set < sets.size(); ++set)
    EXPECT_NEAR(together[set], subject->answers({sets[set]}, RemovedBy::kUnseen)[0], 1e-6) << set;
  EXPECT_NE(together[1], subject->probability());
  EXPECT_NE(together[1], together[2]);
  // Unseen means that no query sees the last token, which itself sees the others.
  const int64_t last = subject->rows()[0], length = last + 1;
  const double hidden = subject->run(nullptr, {.knockouts = {{{0, length}, {last, length}}}}).probability;
  EXPECT_NEAR(together[1], hidden, 1e-6);
}

// Every kind of answer reads the logits of a batch, in which several sets of items are removed.
TEST(Attribution, RemovingItemsInABatchEqualsRemovingThemAlone) {
  std::vector<std::unique_ptr<AttributionTarget>> subjects;
  for (const Json& golden : golden_cases()) subjects.push_back(golden_subject(golden));
  subjects.push_back(make_target(load(kGoldens + "bert/tokens", {.tokenizer = false}),
                                 encoding_of(Json::parse("[1, 5, 3, 7, 9, 2]", "ids")), {.target = "token 2"}));
  for (const auto& subject : subjects) {
    SCOPED_TRACE(subject->name() + ": " + subject->answer());
    const size_t items = subject->items().size();
    std::vector<std::vector<uint8_t>> sets(items, std::vector<uint8_t>(items));
    for (size_t item = 0; item < items; ++item) sets[item][item] = 1;
    const std::vector<double> together = subject->answers(sets, RemovedBy::kUnseen);
    for (size_t set = 0; set < items; ++set) EXPECT_NEAR(together[set], subject->answers({sets[set]}, RemovedBy::kUnseen)[0], 1e-6) << set;
  }
}

TEST(Attribution, ALayerOrHeadThatNoMethodUsesIsRefused) {
  const auto model = book();
  const auto subject = make_target(model, {.text = "It was a dark"}, {});
  const auto check = [&](const AttributionOptions& options, const char* method) { check_used(options, {method_named(method)}, *subject); };
  expect_refused(ErrorCode::kInvalidArgument, "a layer can be set only for the methods attention",
                 [&] { check({.layer = 0}, "relevance"); });
  expect_refused(ErrorCode::kInvalidArgument, "a head can be set only for the methods attention", [&] { check({.head = 0}, "mixed"); });
  expect_refused(ErrorCode::kInvalidArgument, "layer 99; this model's layers are 0 to 5", [&] { check({.layer = 99}, "mixed"); });
  check({.layer = 5, .head = 0}, "attention");
}

TEST(Attribution, InvalidTargetsAndMethodsAreRefused) {
  const Json golden = golden_cases()[0];
  const auto model = load(kGoldens + "bert/classify", {.tokenizer = false});
  const Encoding ids = encoding_of(*golden.find("ids"));
  try {
    (void)make_target(model, ids, {.target = "mayby"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_NE(std::string(error.what()).find("nearest: \"maybe\""), std::string::npos) << error.what();
  }
  EXPECT_THROW((void)make_target(model, ids, {.target_ids = {3}}), Error);
  expect_refused(ErrorCode::kUnsupported, "an explanation of a classifier needs an answer of one token, but target_ids has 2", [&] {
    (void)make_target(model, ids, {.target_ids = {0, 1}});
  });
  EXPECT_THROW((void)make_target(model, ids, {.target_ids = {1}, .contrast_id = 1}), Error);
  const auto subject = make_target(model, ids, {});
  EXPECT_THROW((void)attribute(*subject, method_named("relevance"), {}), Error);  // loaded without gradients
  EXPECT_THROW((void)attribute(*subject, method_named("attention"), {.layer = 2}), Error);
  EXPECT_THROW((void)attribute(*subject, method_named("attention"), {.head = 3}), Error);
  EXPECT_THROW((void)subject->answers({std::vector<uint8_t>(3)}, RemovedBy::kUnseen), Error);
  EXPECT_THROW((void)method_named("relevence"), Error);
}

}  // namespace
}  // namespace clearhead::explain
