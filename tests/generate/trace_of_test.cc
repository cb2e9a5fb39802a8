// Traces with logits, without a trace, and over a text that was generated before.
#include "generate/trace_of.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "clearhead/tokenizer.h"
#include "refused.h"

namespace clearhead {
namespace {

const std::string kModels = std::string(CLEARHEAD_SOURCE_DIR) + "/models/";

TEST(TraceOf, ReturnsTheLogitsOfTheLastTokenAndKeepsNothingOnRequest) {
  const auto model = load(kModels + "book");
  const std::string text = "It was a dark";
  const TracedInput found = trace_of(*model, {.input = {.text = text}, .keep = false, .logits = true});
  const Tensor expected = model->run(model->tokenizer().encode(text), {.last_logits_only = true}).causal_logits;
  ASSERT_EQ(found.result.causal_logits.shape(), expected.shape());
  EXPECT_TRUE(std::equal(expected.data<float>(), expected.data<float>() + expected.numel(), found.result.causal_logits.data<float>()));
  EXPECT_TRUE(found.trace.plan().families.empty());
  EXPECT_FALSE(trace_of(*model, {.input = {.text = text}}).result.causal_logits.defined());
}

TEST(TraceOf, ReadsATargetThatWasGeneratedBefore) {
  const auto model = load(kModels + "en-fr");
  const ModelInput input{.text = "The cat sleeps."};
  const TracedInput first = trace_of(*model, {.input = input});
  TraceRequest again{.input = input, .logits = true, .written = first.written->ids};
  const TracedInput second = trace_of(*model, again);
  EXPECT_EQ(second.trace.plan().text.ids, first.trace.plan().text.ids);
  EXPECT_FALSE(second.written);
  ASSERT_GE(second.result.causal_logits.size(1), 3);
  again.written = std::vector<int32_t>(first.written->ids.begin(), first.written->ids.begin() + 2);
  EXPECT_EQ(trace_of(*model, again).result.causal_logits.size(1), 3) << "the first token, and two more";
}

TEST(TraceOf, RefusesOptionsThatDoNotApply) {
  const auto model = load(kModels + "book");
  const ModelInput input{.text = "It was a dark and stormy night"};
  expect_refused(ErrorCode::kInvalidArgument, "this model does not generate text from its input",
                 [&] { (void)trace_of(*model, {.input = input, .written = std::vector<int32_t>{1}}); });
  expect_refused(ErrorCode::kUnsupported, "each window over a text has its own logits",
                 [&] { (void)trace_of(*model, {.input = input, .window = 4, .logits = true}); });
}

}  // namespace
}  // namespace clearhead
