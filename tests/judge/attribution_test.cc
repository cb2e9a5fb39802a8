// Shares of tokens against those that PyTorch's gradients and whole matrices give (tools/goldens/attribution.py), and what is refused.
#include "judge/attribution.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/error.h"
#include "judge/golden_cases.h"
#include "judge/traced.h"

namespace clearhead::judge {
namespace {

// All of its tokens as items: the one that the answer is read from has a share too, which by_item leaves out.
std::vector<double> expected(const Subject& subject, const Json& shares) {
  std::vector<double> of_ids;
  for (const Json& share : shares.items()) of_ids.push_back(share.number());
  return subject.by_item(of_ids);
}

TEST(Attribution, shares_are_those_of_whole_matrices) {
  const Json file = golden_file();
  for (const Json& golden : file.find("cases")->items()) {
    SCOPED_TRACE(golden.find("folder")->string());
    const auto subject = golden_subject(golden);
    InputTape tape;
    EXPECT_NEAR(subject->differentiate(tape, nullptr), golden.find("y")->number(), 1e-5);
    for (const MethodInfo& method : attribution_methods()) {
      const Json* shares = golden.find(method.name);
      if (!shares) continue;
      SCOPED_TRACE(method.name);
      const std::vector<double> all = expected(*subject, *shares);
      const std::vector<double> found = attribute(*subject, method.method, {.steps = file.find("steps")->integer()});
      ASSERT_EQ(found.size(), all.size());
      double largest = 0;
      for (const double share : all) largest = std::max(largest, std::abs(share));
      ASSERT_GT(largest, 0);
      for (size_t i = 0; i < all.size(); ++i) EXPECT_NEAR(found[i], all[i], 1e-5 * std::max(1.0, largest)) << "item " << i;
    }
  }
}

// What attribution sums while the backward pass is there, and what a trace shows afterwards, in every family of models.
TEST(Attribution, a_trace_keeps_the_gradients_that_shares_are_made_of) {
  for (const Json& golden : golden_cases()) {
    SCOPED_TRACE(golden.find("folder")->string());
    const auto subject = golden_subject(golden);
    const std::vector<double> shares = attribute(*subject, Method::kAttentionGradient);
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

TEST(Attribution, integrated_gradients_add_up_to_what_the_answer_gains) {
  const Json golden = golden_cases()[0];
  const auto subject = golden_subject(golden);
  InputTape at_text, at_zeros;
  at_zeros.scale = 0;
  const double gained = subject->differentiate(at_text, nullptr) - subject->differentiate(at_zeros, nullptr);
  // Every token, those that are no items too.
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

// Beyond 4,096 tokens a pass keeps the inputs of layers only and runs them again; what is out of reach has no share.
TEST(Attribution, a_long_text_gives_the_shares_of_a_short_one) {
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
  const auto of_whole = ask_about(model, whole, {.of_id = 7}), of_last = ask_about(model, last, {.of_id = 7});
  const std::vector<double> shares = attribute(*of_whole, Method::kRelevance), expected_ones = attribute(*of_last, Method::kRelevance);
  const size_t before = shares.size() - expected_ones.size();
  double largest = 0, least = 0;
  for (size_t i = 0; i < expected_ones.size(); ++i) largest = std::max(largest, expected_ones[i]);
  ASSERT_GT(largest, 0);
  for (size_t i = 0; i < expected_ones.size(); ++i) EXPECT_NEAR(shares[before + i], expected_ones[i], 1e-3 * largest) << i;
  for (size_t i = 0; i < before; ++i) least = std::max(least, std::abs(shares[i]));
  EXPECT_LT(least, 1e-6 * largest);
}

// What is removed is not read: an item that is not seen changes the answer as if its token were another one.
TEST(Attribution, what_is_unseen_has_no_part_in_the_answer) {
  for (const Json& golden : golden_cases()) {
    SCOPED_TRACE(golden.find("folder")->string());
    const auto subject = golden_subject(golden);
    const size_t items = subject->items().size(), away = items / 2;
    std::vector<uint8_t> none(items), one(items);
    one[away] = 1;
    const std::vector<double> answers = subject->answers({none, one}, RemovedBy::kUnseen);
    EXPECT_NEAR(answers[0], subject->probability(), 1e-6);
    EXPECT_NE(answers[1], answers[0]);
    const std::vector<double> lost = attribute(*subject, Method::kOcclusion, {});
    EXPECT_NEAR(lost[away], subject->probability() - answers[1], 1e-6);
  }
}

TEST(Attribution, what_cannot_be_asked_is_named) {
  const Json golden = golden_cases()[0];
  const auto model = load(kGoldens + "bert/classify", {.tokenizer = false});
  const Encoding ids = encoding_of(*golden.find("ids"));
  try {
    (void)ask_about(model, ids, {.of = "mayby"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_NE(std::string(error.what()).find("nearest: \"maybe\""), std::string::npos) << error.what();
  }
  EXPECT_THROW((void)ask_about(model, ids, {.of_id = 3}), Error);
  EXPECT_THROW((void)ask_about(model, ids, {.of_id = 1, .against_id = 1}), Error);
  const auto subject = ask_about(model, ids, {});
  EXPECT_THROW((void)attribute(*subject, Method::kRelevance, {}), Error);  // loaded without gradients
  EXPECT_THROW((void)attribute(*subject, Method::kAttention, {.layer = 2}), Error);
  EXPECT_THROW((void)attribute(*subject, Method::kAttention, {.head = 3}), Error);
  EXPECT_THROW((void)subject->answers({std::vector<uint8_t>(3)}, RemovedBy::kUnseen), Error);
  EXPECT_THROW((void)method_named("relevence"), Error);
}

}  // namespace
}  // namespace clearhead::judge
