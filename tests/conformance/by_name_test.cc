// Descriptions that the pairwise covering does not contain, each with a name and a fixed seed: rules from the literature, and both
// gradients of both hard choices. Every backend is compared with the oracle (forward and weights) and with the reference's gradients of
// every input, operand and table.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "backends/registry.h"
#include "compare.h"
#include "make_case.h"

namespace clearhead::conformance {
namespace {

using Choices = std::vector<std::pair<Factor, std::string>>;

// Values of the other factors; every description of a group is tested in each of its frames.
struct Frame {
  std::string name{};
  Choices choices{};
};

struct Group {
  std::string name{};
  std::vector<Choices> descriptions{};
  std::vector<Frame> frames{};
};

const std::vector<Group>& groups() {
  static const std::vector<Frame> kOfRules = {
      {"square", {{kLengths, "97x97"}, {kHeads, "heads 2/2"}, {kWidths, "d 16/16"}}},
      {"causal, grouped", {{kBand, "causal end"}, {kLengths, "70x257"}, {kHeads, "heads 4/2"}, {kWidths, "d 7/5"}, {kSizes, "sizes 3"}}},
      {"entmax-1.5", {{kNormaliser, "entmax15"}, {kLengths, "97x131"}, {kHeads, "heads 2/1"}, {kWidths, "d 32/48"}}},
      {"edges", {{kLists, "edges h with bias"}, {kLengths, "50x97"}, {kHeads, "heads 2/1"}, {kWidths, "d 8/24"}}},
      {"bf16", {{kLengths, "131x131"}, {kHeads, "heads 2/1"}, {kWidths, "d 32/32"}, {kDType, "bf16"}}},
  };
  static const std::vector<Group> all = {
      {"Terms",
       {{{kTerms, "rule t5"}},
        {{kTerms, "rule t5 before"}},
        {{kTerms, "rule temperature"}},
        {{kTerms, "rule alibi_2d"}},
        {{kTerms, "rule relative_2d"}},
        {{kTerms, "soft_cap+rule t5"}}},
       kOfRules},
      {"Visibility",
       {{{kVisibility, "visible dilated"}},
        {{kVisibility, "visible prefix"}},
        {{kVisibility, "visible prefixes"}},
        {{kVisibility, "visible strided"}},
        {{kVisibility, "visible fixed"}},
        {{kVisibility, "visible longformer"}}},
       kOfRules},
      {"Choices",
       {{{kNormaliser, "hard"}}, {{kNormaliser, "hard, scored"}}, {{kNormaliser, "hard, drawn"}}, {{kNormaliser, "hard, drawn, through"}}},
       {{"plain", {{kLengths, "97x97"}, {kWidths, "d 16/16"}}},
        {"causal, alibi, grouped", {{kBand, "causal end"}, {kTerms, "alibi+soft_cap"}, {kLengths, "70x257"}, {kHeads, "heads 4/2"}}},
        {"rule with a table", {{kTerms, "rule line"}, {kLengths, "131x131"}, {kWidths, "d 7/5"}}},
        {"edges with bias", {{kLists, "edges h with bias"}, {kLengths, "50x97"}, {kHeads, "heads 2/1"}}},
        {"blocks", {{kLists, "blocks 16x24 with bias"}, {kLengths, "97x131"}}},
        {"additive", {{kPair, "additive tanh h"}, {kLengths, "49x130"}}},
        {"relative", {{kPair, "relative reach 40 h, all"}, {kLengths, "97x97"}}},
        {"after", {{kAfter, "dropout, head mask, gaussian"}, {kLengths, "50x131"}}},
        {"a bias and a mask", {{kTerms, "dense 11qk"}, {kMask, "mask bhqk"}, {kLengths, "97x60"}}},
        {"bf16", {{kLengths, "131x131"}, {kWidths, "d 32/32"}, {kDType, "bf16"}}}}}};
  return all;
}

struct Param {
  const Backend* backend;
  const Group* group;
};

std::vector<Param> params() {
  std::vector<Param> all;
  for (const Backend* backend : runnable_backends()) {
    for (const Group& group : groups()) all.push_back({backend, &group});
  }
  return all;
}

// The expected results for all backends, computed once.
struct Wanted {
  Case c;
  std::vector<Expected> rows;
  Tensor d_out;
  reference::Gradients gradients;
};
const Wanted& wanted(const Values& values) {
  static std::map<Values, Wanted> cache;
  const auto found = cache.find(values);
  if (found != cache.end()) return found->second;
  Case c = make_case(values, 29);
  std::vector<Expected> rows = expected_rows(c, 48);
  Tensor d_out = upstream_of(c, 31);
  reference::Gradients gradients = expected_gradients(c, d_out);
  return cache.emplace(values, Wanted{std::move(c), std::move(rows), std::move(d_out), std::move(gradients)}).first->second;
}

class NamedDescriptions : public testing::TestWithParam<Param> {};

TEST_P(NamedDescriptions, ForwardWeightsAndGradientsAgree) {
  const Backend& backend = *GetParam().backend;
  for (const Choices& description : GetParam().group->descriptions) {
    for (const Frame& frame : GetParam().group->frames) {
      Choices choices = frame.choices;
      choices.insert(choices.end(), description.begin(), description.end());
      const Wanted& is = wanted(plain_but(choices));
      SCOPED_TRACE(frame.name + ": " + is.c.name);
      Check forward, weights, gradients;
      const Result result = run(backend, is.c);
      check_forward(backend, is.c, result, is.rows, forward);
      check_weights(backend, result.record, is.rows, weights);
      check_gradients(backend, is.c, is.d_out, is.gradients, gradients);
      for (const Check* check : {&forward, &weights, &gradients}) {
        EXPECT_FALSE(check->failed()) << check->what();
        EXPECT_GE(check->compared(), std::ssize(is.rows));
      }
    }
  }
}

// A test whose gradients are all zero would pass with any backend.
TEST(NamedDescriptionCases, HaveNonZeroGradientsForEveryOperand) {
  for (const Group& group : groups()) {
    for (const Choices& description : group.descriptions) {
      Choices choices = group.frames[0].choices;
      choices.insert(choices.end(), description.begin(), description.end());
      const Wanted& is = wanted(plain_but(choices));
      SCOPED_TRACE(is.c.name);
      const auto moves = [](const std::vector<reference::Sum>& of) {
        return std::any_of(of.begin(), of.end(), [](const reference::Sum& sum) { return sum.value != 0; });
      };
      EXPECT_TRUE(moves(is.gradients.q) && moves(is.gradients.k) && moves(is.gradients.v));
      size_t next = 0;
      for_each_operand(is.c.spec, [&](const std::string& name, const Tensor& operand) {
        const std::vector<reference::Sum>& of = is.gradients.operands.all()[next++];
        EXPECT_TRUE(operand.dtype() != DType::kF32 || moves(of)) << name;
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, NamedDescriptions, testing::ValuesIn(params()),
                         [](const auto& of) { return of.param.group->name + "_" + table_name(*of.param.backend); });

}  // namespace
}  // namespace clearhead::conformance
