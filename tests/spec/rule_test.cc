// Rules as data: what is recorded, its meaning, how it is written and read, and what is refused.
#include "clearhead/rule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "clearhead/spec.h"
#include "refused.h"
#include "spec/rule_math.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr AttentionShape kShape = {.batch = 1, .heads = 2, .key_heads = 1, .queries = 5, .keys = 7, .d_k = 8, .d_v = 6};

std::string json_of(const Rule& term) {
  const std::string text = to_json({.terms = {term}});
  const size_t begin = text.find("{\"rule\":") + 8;
  return text.substr(begin, text.find("}],\"topology\"") - begin);
}

std::string reading_error(const std::string& rule) {
  return error_of([&] {
    spec_from_json("{\"terms\":[{\"rule\":" + rule + "}]}", "spec.json", [](const std::string&) { return Tensor::zeros({2, 3}); });
  });
}

double value(const Rule& of, const RulePoint& at) { return RuleReader(of).value(at); }

Rule everything() {
  const RuleTable numbers = table(Tensor::from<float>({0.5f, -1, 2, 3, 0.25f, 7}, {2, 3})),
                  steps = table(Tensor::from<int32_t>({2, 0, 1}, {3}));
  return rule([&](auto s, auto at) {
    auto offset = at.query - at.key;
    auto soft = 2 * tanh(s / 2) + log(1 + exp(-abs(offset))) - sqrt(max(s, 0) + 1) * min(s, 1.5);
    auto chosen = where((at.key < 3 && !(at.key == 1)) || at.batch >= 1, soft, -s);
    return chosen + numbers(at.head, steps(floor(offset / 2))) + where(offset != 0, 1, 0.125);
  });
}

double everything_by_hand(double s, int64_t batch, int64_t head, int64_t query, int64_t key) {
  const double numbers[2][3] = {{0.5, -1, 2}, {3, 0.25, 7}};
  const int steps[3] = {2, 0, 1};
  const double offset = static_cast<double>(query - key);
  const double soft = 2 * std::tanh(s / 2) + std::log(1 + std::exp(-std::abs(offset))) - std::sqrt(std::max(s, 0.0) + 1) * std::min(s, 1.5);
  const double chosen = (key < 3 && key != 1) || batch >= 1 ? soft : -s;
  const int step = steps[static_cast<int>(std::clamp(std::floor(offset / 2), 0.0, 2.0))];
  return chosen + numbers[std::min<int64_t>(head, 1)][step] + (query != key ? 1 : 0.125);
}

TEST(Rule, EvaluatesToTheValueOfTheLambda) {
  const Rule all = everything();
  for (const double s : {-3.0, 0.25, 1.75}) {
    for (int64_t batch = 0; batch < 2; ++batch) {
      for (int64_t query = -2; query < 8; ++query) {
        for (int64_t key = 0; key < 5; ++key) {
          const RulePoint at{s, batch, query & 1, query, key};
          EXPECT_NEAR(value(all, at), everything_by_hand(s, batch, query & 1, query, key), tolerance::kDouble)
              << s << " " << batch << " " << query << " " << key;
        }
      }
    }
  }
}

TEST(Rule, EqualNodesAreKeptOnceAndUnusedOnesNotAtAll) {
  const Rule twice = rule([](auto s, auto at) {
    auto unused = exp(s) * at.key;
    (void)unused;
    return (s + at.key) * (s + at.key);
  });
  EXPECT_EQ(twice.nodes.size(), 4U);
  EXPECT_EQ(json_of(twice), R"([["add","score","key"],["multiply","#0","#0"]])");
}

TEST(Rule, ConstantsAreFolded) {
  EXPECT_EQ(json_of(rule([](auto s, auto) { return s * (RuleValue(3) + 1.5) + exp(RuleValue(0)); })),
            R"([["multiply","score",4.5],["add","#0",1.0]])");
}

TEST(Rule, JsonHasTheDocumentedForm) {
  const RuleTable slopes = table(Tensor::from<float>({1, 2}, {2}));
  EXPECT_EQ(json_of(rule([&](auto s, auto at) { return s - slopes(at.head) * abs(at.query - at.key); })),
            R"([["table","rule.table","head"],["subtract","query","key"],["abs","#1"],["multiply","#0","#2"],["subtract","score","#3"]])");
  EXPECT_EQ(json_of(rule([](auto s, auto at) { return where(at.key > at.query, -kInfinity, 0.1f * s); })),
            R"([["less","query","key"],["multiply",0.1,"score"],["where","#0","-inf","#1"]])");
  EXPECT_EQ(json_of(rule([](auto s, auto) { return s; })), R"(["score"])");
  AttentionSpec spec;
  spec.topology.visible = visible([&](auto at) { return at.key <= at.query || slopes(at.key) > 0; });
  EXPECT_NE(
      to_json(spec).find(R"("visible":[["less_equal","key","query"],["table","visible.table","key"],["less",0.0,"#1"],["or","#0","#2"]])"),
      std::string::npos)
      << to_json(spec);
}

TEST(Rule, JsonReadsBackToTheSameRule) {
  AttentionSpec spec{.terms = {everything(), Alibi{}, rule([](auto s, auto at) { return s + table(Tensor::zeros({9}))(at.key); })}};
  spec.topology.visible = visible([](auto at) { return table(Tensor::zeros({4, 4}, DType::kI32))(at.query, at.key) != 0 || at.head == 0; });
  std::string asked;
  const AttentionSpec back = spec_from_json(to_json(spec), "spec.json", [&](const std::string& name) {
    Tensor found;
    for_each_operand(spec, [&](const std::string& operand, const Tensor& tensor) { found = operand == name ? tensor : found; });
    asked += name + " ";
    return found;
  });
  EXPECT_EQ(asked, "rule.table rule.table2 slopes rule2.table visible.table ");
  EXPECT_EQ(to_json(back), to_json(spec));
  const Rule again = std::get<Rule>(back.terms[0]);
  for (int64_t key = 0; key < 6; ++key) EXPECT_EQ(value(again, {0.5, 0, 1, 3, key}), value(everything(), {0.5, 0, 1, 3, key}));
}

TEST(Rule, TablesAreOperandsByName) {
  AttentionSpec spec{.terms = {everything(), SoftCap{2}, rule([](auto s, auto at) { return s * table(Tensor::zeros({2}))(at.head); })}};
  spec.topology.visible = visible([](auto at) { return table(Tensor::zeros({2}))(at.batch) < at.key; });
  spec.normaliser = Softmax{Tensor::zeros({2})};
  std::string names;
  for_each_operand(spec, [&](const std::string& name, const Tensor&) { names += name + " "; });
  EXPECT_EQ(names, "rule.table rule.table2 rule2.table visible.table sinks ");
  EXPECT_EQ(error_of([&] { validate(spec, kShape); }), "no error");
}

TEST(Rule, IndicesAreFlooredAndClampedIntoTheTable) {
  const Rule look = rule([](auto s, auto) { return table(Tensor::from<float>({10, 20, 30}, {3}))(s); });
  EXPECT_EQ(value(look, {.score = -1e30}), 10);
  EXPECT_EQ(value(look, {.score = 0.999}), 10);
  EXPECT_EQ(value(look, {.score = 1.5}), 20);
  EXPECT_EQ(value(look, {.score = 2}), 30);
  EXPECT_EQ(value(look, {.score = 1e30}), 30);
  EXPECT_EQ(value(look, {.score = NAN}), 10);
}

TEST(Rule, TheGradientMatchesFiniteDifferences) {
  Tensor numbers = Tensor::from<float>({0.5f, -1, 2, 3, 0.25f, 7}, {2, 3});
  const RuleTable entries = table(numbers);
  const Rule smooth = rule([&](auto s, auto at) {
    auto x = entries(at.head, at.key);
    auto y = tanh(s * x) + exp(-x / 4) * log(2 + s * s) - sqrt(1 + abs(s)) / (2 + x * x);
    return where(at.query > 1, y * max(s, x), min(s * 2, y) - x);
  });
  for (const double s : {-1.3, 0.4, 2.2}) {
    for (int64_t query = 0; query < 4; ++query) {
      const RulePoint at{s, 0, query % 2, query, query % 3};
      const int64_t used = (query % 2) * 3 + query % 3;
      RuleReader reader(smooth);
      reader.value(at);
      double by_entry = 0;
      const double by_score = reader
                                  .reverse({0.7, 0.7},
                                           [&](int32_t index, int64_t offset, RuleGradient gradient) {
                                             EXPECT_EQ(index, 0);
                                             EXPECT_EQ(offset, used);
                                             by_entry += gradient.value;
                                           })
                                  .value;
      constexpr double kStep = 1e-5;
      EXPECT_NEAR(
          by_score,
          0.7 * (value(smooth, {s + kStep, 0, query % 2, query, query % 3}) - value(smooth, {s - kStep, 0, query % 2, query, query % 3})) /
              (2 * kStep),
          tolerance::kSlope);
      const auto with = [&](float change) {
        Rule moved = smooth;
        moved.tables[0] = moved.tables[0].clone();
        moved.tables[0].mutable_data<float>()[used] += change;
        return value(moved, at);
      };
      EXPECT_NEAR(by_entry, 0.7 * (with(0x1p-10f) - with(-0x1p-10f)) / 0x1p-9, tolerance::kSum);
    }
  }
}

TEST(Rule, InvalidRulesAreRefusedWithAnExplanation) {
  EXPECT_EQ(error_of([] { rule([](auto s, auto) { return s + std::numeric_limits<float>::quiet_NaN(); }); }),
            "kInvalidArgument: attention: rule: node 1 (constant): a constant is NaN; every result would be NaN");
  EXPECT_EQ(error_of([] {
              table(Tensor::zeros({2, 0}));
            }),
            "kShape: rule: expected a table of f32 or i32 with 1 to 4 axes and at least one entry, found f32 [2, 0]");
  EXPECT_EQ(error_of([] { rule([](auto s, auto at) {
                            return s + table(Tensor::zeros({2, 3}))(at.head);
                          }); }),
            "kShape: rule: a table [2, 3] is looked up with 1 indices; expected 2");
  EXPECT_EQ(
      error_of([] {
        RuleValue kept = 0;
        rule([&](auto s, auto at) {
          kept = s;
          return at.key;
        });
        rule([&](auto, auto) { return kept + 1; });
      }),
      "kInvalidArgument: rule: a value of another recording was used; a score, a pair and values computed from them are valid inside one "
      "lambda only");
  EXPECT_EQ(error_of([] {
              RuleValue kept = 0;
              rule([&](auto s, auto) { return kept = s; });
              kept = kept + 1;
            }),
            "kInvalidArgument: rule: a value was used outside of the lambda it was given to; use it inside ch::rule or ch::visible only");
}

TEST(Rule, ARuleOfTheWrongKindIsRefused) {
  AttentionSpec spec{.terms = {visible([](auto at) { return at.key < 3; })}};
  EXPECT_EQ(error_of([&] { validate(spec, kShape); }),
            "kInvalidArgument: attention: rule: its result is a boolean (less); expected a number: where(condition, a, b) makes one");
  spec.terms.clear();
  spec.topology.visible = rule([](auto s, auto) { return s; });
  EXPECT_EQ(
      error_of([&] { validate(spec, kShape); }),
      "kInvalidArgument: attention: visible: a visibility rule cannot read the score; a rule of the score hides a pair by returning -inf");
  spec.topology.visible = Rule{};
  EXPECT_EQ(error_of([&] { validate(spec, kShape); }), "kInvalidArgument: attention: visible has 0 nodes; expected 1 to 1024");
}

TEST(Rule, PositionsBeyondF32PrecisionAreRefused) {
  AttentionShape shape = kShape;
  shape.keys = (int64_t{1} << 24) + 1;
  EXPECT_EQ(error_of([&] { validate({.terms = {rule([](auto s, auto at) { return s + at.key; })}}, shape); }),
            "kUnsupported: attention: rule: 5 queries and 16777217 keys; rules count positions in f32, which is exact up to 16777216");
}

TEST(Rule, InvalidJsonRulesAreRefusedByPath) {
  EXPECT_EQ(reading_error(R"([["softplus","score"]])"),
            "kUnsupported: spec.json: \"terms[0].rule[0]\": the operation \"softplus\" is not understood by this version");
  EXPECT_EQ(reading_error(R"([["add","score","#0"]])"),
            "kFormat: spec.json: \"terms[0].rule[0]\": expected \"score\", \"batch\", \"head\", \"query\", \"key\", a number, \"inf\", "
            "\"-inf\" or \"#n\" of an "
            "earlier operation, found \"#0\"");
  EXPECT_EQ(reading_error(R"([["add","score"]])"), "kFormat: spec.json: \"terms[0].rule[0]\": \"add\" takes 2 arguments, found 1");
  EXPECT_EQ(reading_error(R"([["table","t","head"]])"), "kFormat: spec.json: \"terms[0].rule[0]\": \"table\" takes 2 arguments, found 1");
  EXPECT_EQ(
      reading_error(R"([["less","score",1]])"),
      "kFormat: spec.json: attention: terms[0].rule: its result is a boolean (less); expected a number: where(condition, a, b) makes one");
  EXPECT_EQ(reading_error(R"([])"),
            "kFormat: spec.json: \"terms[0].rule\": expected an array of operations, the last of which is the result, found an array of 0");
  EXPECT_EQ(reading_error(R"([["add","score",1e300]])"),
            "kFormat: spec.json: \"terms[0].rule[0]\": expected a number that f32 can hold, found 1e+300");
}

}  // namespace
}  // namespace clearhead
