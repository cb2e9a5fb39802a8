// Bounds of rules over blocks: valid for every pair of any rule, and sharp where it matters.
#include "spec/rule_bounds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "spec/rule_math.h"

namespace clearhead {
namespace {

// Evaluates the rule in f32, one operation at a time, as kernels do.
float value_in_f32(const Rule& rule, int64_t head, int64_t query, int64_t key) {
  std::vector<float> values;
  for (const RuleNode& node : rule.nodes) {
    double x[4] = {};
    for (size_t i = 0; i < 4 && node.arguments[i] >= 0; ++i) x[i] = static_cast<double>(values[static_cast<size_t>(node.arguments[i])]);
    double out = 0;
    switch (node.op) {
      case RuleOp::kConstant: out = static_cast<double>(node.value); break;
      case RuleOp::kHead: out = static_cast<double>(head); break;
      case RuleOp::kQuery: out = static_cast<double>(query); break;
      case RuleOp::kKey: out = static_cast<double>(key); break;
      case RuleOp::kTable: out = table_value(rule.tables[static_cast<size_t>(node.table)], x); break;
      default: out = apply(node.op, x);
    }
    values.push_back(static_cast<float>(out));
  }
  return values.back();
}

// Random expressions over positions, the head, constants and tables, with every operation, infinities and NaN.
class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {
    tables_ = {Tensor::from<float>({0.5f, -3, 7.25f, 2, 0, -1}, {2, 3}), Tensor::from<int32_t>({3, 0, -5, 9, 1, 1, 2}, {7})};
  }
  Rule rule(bool truth) {
    Rule out;
    out.tables = tables_;
    const int32_t last = truth ? make_truth(out, 4) : make_number(out, 5);
    out.nodes.resize(static_cast<size_t>(last) + 1);
    return canonical(out);
  }

 private:
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  static int32_t add(Rule& rule, RuleNode node) {
    rule.nodes.push_back(node);
    return static_cast<int32_t>(rule.nodes.size()) - 1;
  }
  int32_t make_leaf(Rule& rule) {
    constexpr float kConstants[] = {0, 1, -1, 2, 3.5f, -0.125f, 7, 0.1f, 16, 1e-3f, 100, INFINITY};
    constexpr RuleOp kLeaves[] = {RuleOp::kQuery, RuleOp::kKey, RuleOp::kHead, RuleOp::kConstant, RuleOp::kConstant};
    RuleNode node;
    node.op = kLeaves[below(5)];
    if (node.op == RuleOp::kConstant) node.value = kConstants[below(12)];
    return add(rule, node);
  }
  int32_t make_number(Rule& rule, int depth) {
    if (depth <= 0 || below(6) == 0) return make_leaf(rule);
    RuleNode node;
    constexpr RuleOp kOps[] = {RuleOp::kNegate, RuleOp::kAbs,   RuleOp::kExp,      RuleOp::kLog,      RuleOp::kTanh,   RuleOp::kSqrt,
                               RuleOp::kFloor,  RuleOp::kAdd,   RuleOp::kSubtract, RuleOp::kMultiply, RuleOp::kDivide, RuleOp::kMin,
                               RuleOp::kMax,    RuleOp::kWhere, RuleOp::kSubtract, RuleOp::kTable,    RuleOp::kTable};
    node.op = kOps[below(17)];
    if (node.op == RuleOp::kTable) {
      node.table = static_cast<int32_t>(below(2));
      for (size_t i = 0; i < (node.table == 0 ? 2U : 1U); ++i) node.arguments[i] = make_number(rule, depth - 1);
      return add(rule, node);
    }
    for (size_t i = 0; i < static_cast<size_t>(facts_of(node.op).arguments); ++i) {
      node.arguments[i] = node.op == RuleOp::kWhere && i == 0 ? make_truth(rule, depth - 1) : make_number(rule, depth - 1);
    }
    return add(rule, node);
  }
  int32_t make_truth(Rule& rule, int depth) {
    RuleNode node;
    constexpr RuleOp kOps[] = {RuleOp::kLess, RuleOp::kLessEqual, RuleOp::kEqual, RuleOp::kNotEqual,
                               RuleOp::kNot,  RuleOp::kAnd,       RuleOp::kOr};
    node.op = kOps[below(depth > 1 ? 7 : 4)];
    for (size_t i = 0; i < static_cast<size_t>(facts_of(node.op).arguments); ++i) {
      node.arguments[i] = facts_of(node.op).takes_truth ? make_truth(rule, depth - 1) : make_number(rule, depth - 1);
    }
    return add(rule, node);
  }
  std::mt19937 random_;
  std::vector<Tensor> tables_;
};

struct Block {
  Range positions, keys;
};
Block block_of(std::mt19937& random) {
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint32_t>(n)); };
  const int64_t query = below(40) - 10, key = below(30);
  return {{query, query + 1 + below(6)}, {key, key + 1 + below(8)}};
}

TEST(RuleBounds, HoldForEveryPairOfRandomRules) {
  int sharp = 0;
  for (uint32_t seed = 0; seed < 6000; ++seed) {
    const Rule random_rule = Generator(seed).rule(false);
    const RuleBounds bounds(random_rule);
    RuleReader reader(random_rule);
    std::mt19937 random(seed + 1);
    for (int n = 0; n < 4; ++n) {
      const Block block = block_of(random);
      const RuleBound bound = bounds.bound(0, 1, block.positions, block.keys);
      sharp += std::isfinite(bound.low) && std::isfinite(bound.high);
      for (int64_t query = block.positions.begin; query < block.positions.end; ++query) {
        for (int64_t key = block.keys.begin; key < block.keys.end; ++key) {
          const double values[] = {reader.value({0, 0, 1, query, key}), static_cast<double>(value_in_f32(random_rule, 1, query, key))};
          for (const double value : values) {
            const bool inside = std::isnan(value) ? bound.may_be_nan : bound.low <= value && value <= bound.high;
            ASSERT_TRUE(inside) << "seed " << seed << ": " << value << " at (" << query << ", " << key << ") is outside [" << bound.low
                                << ", " << bound.high << "]";
            if (bound.integral && !std::isnan(value)) {
              ASSERT_EQ(value, std::floor(value)) << "seed " << seed;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(sharp, 6000) << "infinitely wide bounds would also be valid";
}

TEST(RuleBounds, AllAndNoneAreTrueOfEveryPairOfRandomVisibilityRules) {
  int decided = 0;
  for (uint32_t seed = 0; seed < 6000; ++seed) {
    const Rule random_rule = Generator(seed).rule(true);
    const RuleBounds bounds(random_rule);
    RuleReader reader(random_rule);
    std::mt19937 random(seed + 1);
    for (int n = 0; n < 4; ++n) {
      const Block block = block_of(random);
      const Shown shown = bounds.shown(0, 1, block.positions, block.keys);
      if (shown == Shown::kMixed) continue;
      ++decided;
      for (int64_t query = block.positions.begin; query < block.positions.end; ++query) {
        for (int64_t key = block.keys.begin; key < block.keys.end; ++key) {
          ASSERT_EQ(reader.value({0, 0, 1, query, key}) != 0, shown == Shown::kAll)
              << "seed " << seed << " at (" << query << ", " << key << ")";
          ASSERT_EQ(value_in_f32(random_rule, 1, query, key) != 0, shown == Shown::kAll) << "seed " << seed << " in f32";
        }
      }
    }
  }
  EXPECT_GT(decided, 6000);
}

TEST(RuleBounds, OfAnyTableRangeAreItsMinimumAndMaximum) {
  constexpr int64_t kLines = 3, kEntries = 700;  // runs of 16 and 256, and remainders
  std::vector<float> values;
  for (int64_t i = 0; i < kLines * kEntries; ++i) values.push_back(static_cast<float>(i * 7919 % 4001) / 8 - 100);
  values[2 * kEntries + 300] = std::numeric_limits<float>::quiet_NaN();
  const Tensor stored = Tensor::from(values, {kEntries, kLines}).permute({1, 0});  // strided along its last axis
  const RuleTable entry = table(stored);
  const Rule of_key = rule([&](RuleValue, RulePair at) { return entry(at.query, at.key); });
  const RuleBounds bounds(of_key);
  const auto value = [&](int64_t line, int64_t i) { return static_cast<double>(stored.data<float>()[line + i * kLines]); };
  for (int64_t begin = 0; begin < kEntries; begin += 37) {
    for (const int64_t count : {1, 15, 16, 48, 255, 256, 300, 513}) {
      const Range keys{begin, std::min(kEntries, begin + count)};
      for (const Range lines : {Range{0, 1}, Range{1, 3}}) {
        double low = std::numeric_limits<double>::infinity(), high = -low;
        bool nan = false;
        for (int64_t line = lines.begin; line < lines.end; ++line) {
          for (int64_t i = keys.begin; i < keys.end; ++i) {
            nan = nan || std::isnan(value(line, i));
            if (!std::isnan(value(line, i))) low = std::min(low, value(line, i)), high = std::max(high, value(line, i));
          }
        }
        const RuleBound found = bounds.bound(0, 0, lines, keys);
        ASSERT_EQ(found.low, low) << begin << " + " << count;
        ASSERT_EQ(found.high, high) << begin << " + " << count;
        ASSERT_EQ(found.may_be_nan, nan) << begin << " + " << count;
      }
    }
  }
}

Shown shown(const Rule& rule, Range positions, Range keys) { return RuleBounds(rule).shown(0, 0, positions, keys); }

TEST(RuleBounds, CommonVisibilityPatternsAreClassifiedExactly) {
  const Rule causal = visible([](auto at) { return at.key <= at.query; });
  EXPECT_EQ(shown(causal, {96, 144}, {0, 97}), Shown::kAll);
  EXPECT_EQ(shown(causal, {96, 144}, {144, 256}), Shown::kNone);
  EXPECT_EQ(shown(causal, {96, 144}, {0, 98}), Shown::kMixed);
  const Rule window = visible([](auto at) { return abs(at.query - at.key) <= 10; });
  EXPECT_EQ(shown(window, {96, 144}, {0, 86}), Shown::kNone);
  EXPECT_EQ(shown(window, {100, 104}, {97, 108}), Shown::kAll);
  const Rule blocks = visible([](auto at) { return floor(at.query / 128) == floor(at.key / 128); });
  EXPECT_EQ(shown(blocks, {128, 176}, {128, 256}), Shown::kAll);
  EXPECT_EQ(shown(blocks, {128, 176}, {256, 512}), Shown::kNone);
  EXPECT_EQ(shown(blocks, {128, 176}, {0, 128}), Shown::kNone);
  const RuleTable global = table(Tensor::from<int32_t>({1, 1, 0, 0, 0, 0, 0, 0}, {8}));
  const Rule listed = visible([&](auto at) { return global(at.key) != 0; });
  EXPECT_EQ(shown(listed, {0, 4}, {0, 2}), Shown::kAll);
  EXPECT_EQ(shown(listed, {0, 4}, {2, 8}), Shown::kNone);
  EXPECT_EQ(shown(listed, {0, 4}, {1, 3}), Shown::kMixed);
}

}  // namespace
}  // namespace clearhead
