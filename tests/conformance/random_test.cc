// Randomly drawn calls, shrunk on failure: every backend is compared with the double oracle within the bounds of docs/NUMERICS.md.
//
// A call is a case in words (make_case.h) and a seed. Every value shrinks towards its factor's plainest one, lengths and widths towards 1.
// A failure prints the first wrong value, the shrunk case and its JSON.
//
//   RC_PARAMS="max_success=10000 seed=7"                     the number of calls, and a seed other than that of the test run
//   CLEARHEAD_CASE="seed 12 | alibi | causal end | … | f32"  only that call, from the words of a failure
//   CLEARHEAD_CASE=print                                     prints each call before it is made, to find one that crashes
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <optional>

#include "backends/registry.h"
#include "base/format.h"
#include "base/parallel.h"
#include "compare.h"
#include "make_case.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

using Text = rc::Gen<std::string>;

constexpr int64_t kRows = 24;  // rows per case that are compared with the oracle

// The number of calls in a test run, unless the environment sets it. RapidCheck reads the variable when the first property begins.
const int kUnlessAskedFor = ::setenv("RC_PARAMS", "max_success=600 seed=20240229", /*overwrite=*/0);

struct Drawn {
  Values values{};
  uint32_t seed = 0;
  std::string text() const { return format("seed {} | {}", seed, joined(values)); }
};

// Integers in [0, n), whatever RapidCheck's current size; shrinks to 0.
rc::Gen<int64_t> below(int64_t n) { return rc::gen::resize(rc::kNominalSize, rc::gen::inRange<int64_t>(0, n)); }

Text one_of(std::vector<std::string> values) {
  const int64_t count = static_cast<int64_t>(values.size());
  return rc::gen::map(below(count), [values](int64_t at) { return values[static_cast<size_t>(at)]; });
}

// The first value in two of three draws.
Text mostly(std::vector<std::string> values) {
  const std::vector<std::string> plain(2 * values.size() - 2, values[0]);
  values.insert(values.begin(), plain.begin(), plain.end());
  return one_of(std::move(values));
}

Text joined_by(const std::string& between, rc::Gen<std::vector<std::string>> parts) {
  return rc::gen::map(std::move(parts), [between](const std::vector<std::string>& all) {
    std::string text;
    for (const std::string& part : all) text += (text.empty() || part.empty() ? "" : between) + part;
    return text;
  });
}

// "a b": independent parts, some of which may be empty.
template <class... Parts>
Text words(Parts... parts) {
  return joined_by(" ", rc::gen::map(rc::gen::tuple(std::move(parts)...), [](const auto& all) {
                     return std::apply([](const auto&... part) { return std::vector<std::string>{part...}; }, all);
                   }));
}

Text only(const std::string& word) { return rc::gen::just(word); }
Text maybe(const std::string& word) { return one_of({"", word}); }

// One past a tile, a prime, the ends of lane blocks and pages. 1 comes first and 0 last.
Text lengths() {
  return one_of({"1",   "2",   "3",   "5",   "7",   "8",   "9",   "13",  "16",  "17",  "31",   "32",   "33",  "47",  "48",
                 "49",  "50",  "63",  "64",  "65",  "97",  "127", "128", "129", "144", "145",  "191",  "192", "193", "211",
                 "255", "256", "257", "300", "385", "511", "512", "513", "769", "997", "1025", "1500", "0"});
}
Text widths() {
  return one_of({"1", "2", "3", "4", "5", "7", "8", "15", "16", "17", "24", "31", "32", "33", "48", "64", "65", "80", "96", "128", "129"});
}

Text term() {
  const Text form = one_of({"11qk", "1h1k", "b11k", "111k", "bh1k", "b1qk", "1hqk", "bhqk"});
  return rc::gen::oneOf(one_of({"alibi", "soft_cap", "soft_cap 30", "rule line", "rule score", "rule pair", "rule t5", "rule t5 before",
                                "rule temperature", "rule alibi_2d", "rule relative_2d"}),
                        words(only("dense"), form, one_of({"", "", "transposed"})));
}

Text terms() {
  return rc::gen::map(joined_by("+", rc::gen::resize(4, rc::gen::container<std::vector<std::string>>(term()))),
                      [](const std::string& text) { return text.empty() ? "no terms" : text; });
}

Text limit() { return one_of({"-", "0", "1", "2", "3", "7", "16", "40", "48", "64", "100", "255", "256"}); }

Text offset() { return mostly({"", "offset -300", "offset -17", "offset -1", "offset 1", "offset 9", "offset 64", "offset 700"}); }

Text topology(Factor factor) {
  switch (factor) {
    case kBand:
      return rc::gen::oneOf(one_of({"full", "causal end", "causal start"}), words(one_of({"causal end", "causal start"}), offset()),
                            words(only("window"), limit(), limit(), maybe("start"), offset()));
    case kSegments: return mostly({"no segments", "documents", "documents 1", "key padding", "negative ids"});
    case kMask:
      return rc::gen::oneOf(
          only("no mask"), only("no mask"),
          words(only("mask"), one_of({"11qk", "1h1k", "b11k", "111k", "bh1k", "b1qk", "1hqk", "bhqk"}), one_of({"", "", "transposed"})));
    case kLists: {
      const Text block = one_of({"1", "2", "8", "16", "24", "48", "50", "64"});
      const Text blocks = rc::gen::map(rc::gen::tuple(block, block),
                                       [](const auto& both) { return "blocks " + std::get<0>(both) + "x" + std::get<1>(both); });
      return rc::gen::oneOf(
          only("no lists"), only("no lists"),
          words(rc::gen::oneOf(only("edges"), blocks), one_of({"", "b", "h", "bh"}), one_of({"", "with bias", "with bias first"})));
    }
    default:
      return mostly({"no visibility", "visible causal", "visible window", "visible stripes", "visible blocks", "visible dilated",
                     "visible prefix", "visible strided", "visible fixed", "visible longformer", "visible expression 0",
                     "visible expression 1", "visible expression 2", "visible expression 3"});
  }
}

Text pair() {
  const Text relative = words(only("relative reach"), one_of({"1", "3", "16", "40", "300", "2000"}), maybe("h"), maybe("queries"),
                              maybe("query_bias"), maybe("values"), one_of({"", "scale 0.05", "scale 1"}));
  return rc::gen::oneOf(one_of({"scale null", "scale null", "scale 0.05", "scale -0.3", "scale 1"}),
                        words(one_of({"additive tanh", "additive leaky_relu"}), maybe("h")), relative);
}

// Reduces batch, heads and lengths until a case takes milliseconds; the longer of the two lengths shrinks.
AttentionShape within_reason(AttentionShape shape) {
  const auto work = [&] { return shape.batch * shape.heads * shape.queries * shape.keys * (shape.d_k + shape.d_v + 16); };
  constexpr int64_t kMost = 4'000'000;
  while (work() > kMost) {
    if (shape.batch > 1) {
      shape.batch = 1;
    } else if (shape.heads > 4) {
      shape.heads = shape.key_heads = 1;
    } else if (shape.queries >= shape.keys) {
      shape.queries -= (shape.queries + 4) / 5;
    } else {
      shape.keys -= (shape.keys + 4) / 5;
    }
  }
  return shape;
}

rc::Gen<Drawn> calls() {
  const Text heads = one_of({"1/1", "2/2", "2/1", "4/2", "3/3", "6/1", "5/1", "6/2", "8/1"});
  const auto numbers = rc::gen::tuple(heads, widths(), widths(), lengths(), lengths(), one_of({"1", "2", "3"}));
  const auto described =
      rc::gen::tuple(terms(), topology(kBand), topology(kSegments), topology(kMask), topology(kLists), topology(kVisibility), pair());
  const auto treated = rc::gen::tuple(
      one_of({"softmax", "softmax", "softmax", "sinks", "sparsemax", "entmax15", "sigmoid", "hard", "hard, drawn", "linear"}),
      mostly({"nothing after", "dropout", "head mask", "gaussian", "dropout gaussian", "dropout, head mask, gaussian"}),
      one_of({"contiguous", "length first", "channels apart", "unaligned", "q shared by heads", "pages", "pages, length first",
              "pages bf16", "pages f16, length first"}),
      one_of({"sizes 1", "sizes 0.01", "sizes 3", "sizes 6"}), one_of({"f32", "f32", "bf16", "f16"}), below(1 << 20));
  const auto kept = rc::gen::tuple(below(3), below(1 << kFactorCount), below(1 << kFactorCount));
  return rc::gen::map(rc::gen::tuple(numbers, described, treated, kept), [](const auto& parts) {
    const auto& [of_numbers, of_description, of_treatment, of_kept] = parts;
    const auto& [head_counts, d_k, d_v, queries, keys, batch] = of_numbers;
    const auto& [term_list, band, segments, mask, lists, visibility, pair_value] = of_description;
    const auto& [normaliser, after, layout, deviation, dtype, seed] = of_treatment;
    Drawn drawn{.values = {term_list, band, segments, mask, lists, visibility, normaliser, after, pair_value, "heads " + head_counts,
                           "d " + d_k + "/" + d_v, queries + "x" + keys, layout, "batch " + batch, deviation, dtype},
                .seed = static_cast<uint32_t>(seed)};
    // Two of three draws keep only a quarter of the factors that have their own kernel paths and reset the others, because such paths are
    // only taken by otherwise plain calls.
    const auto& [keeps_all, some, others] = of_kept;
    static const Values kPlain = plain_but({});
    for (const Factor factor : {kTerms, kBand, kSegments, kMask, kLists, kVisibility, kNormaliser, kAfter, kPair, kLayout})
      if (keeps_all != 2 && (some & others & (int64_t{1} << factor)) == 0) drawn.values[factor] = kPlain[factor];
    const AttentionShape shape = within_reason(shape_of(drawn.values));
    drawn.values[kHeads] = format("heads {}/{}", shape.heads, shape.key_heads);
    drawn.values[kLengths] = format("{}x{}", shape.queries, shape.keys);
    drawn.values[kBatch] = format("batch {}", shape.batch);
    return drawn;
  });
}

// Returns whether f32 can determine the row's gradient: its support or its choice is not at a boundary, and its sum is not near zero.
bool is_steady(const Case& c, const Expected& e) {
  const double delta = e.bounds.score;
  for (size_t j = 0; j < e.row.scores.size(); ++j) {
    if (std::isinf(e.row.scores[j])) continue;
    const double size = std::abs(e.row.weights[j]) * tolerance::weight(e.row.largest);
    if (std::holds_alternative<Sparsemax>(c.spec.normaliser) &&
        std::abs(e.row.scores[j] - e.row.threshold) <= 2 * delta + 4 * tolerance::kEpsilon)
      return false;
    if (std::holds_alternative<Hard>(c.spec.normaliser) && e.bounds.weights[j] >= 1) return false;
    if (std::holds_alternative<LinearAttention>(c.spec.normaliser) && !(e.bounds.weights[j] <= 2 * size)) return false;
  }
  return true;
}

// d_out, with zeros in the rows that are not steady.
Tensor steady_upstream(const Case& c, uint32_t seed) {
  Tensor d_out = upstream_of(c, seed);
  if (std::holds_alternative<Softmax>(c.spec.normaliser) || std::holds_alternative<Sigmoid>(c.spec.normaliser)) return d_out;
  for (const Expected& e : expected_rows(c, std::numeric_limits<int64_t>::max())) {
    if (is_steady(c, e)) continue;
    const Tensor row = d_out.slice(0, e.batch, e.batch + 1).slice(1, e.head, e.head + 1).slice(2, e.query, e.query + 1);
    std::memset(Tensor(row).mutable_raw(), 0, row.bytes());  // the row's channels are contiguous
  }
  return d_out;
}

// The first wrong value of this call on any backend; empty if there is none.
std::string off_in(const Drawn& drawn) {
  const Case c = make_case(drawn.values, drawn.seed);
  const std::vector<Expected> expected = expected_rows(c, kRows);
  const std::vector<Expected> last_head = c.shape.queries > 0 ? expected_of_last_head(c, kRows) : std::vector<Expected>();
  Looked looked{.c = c, .after = drawn.seed % 2 == 1};
  for (const Expected& e : last_head) looked.rows.push_back(&e);
  const bool has_gradients = c.v.defined();
  const Tensor d_out = has_gradients ? steady_upstream(c, drawn.seed) : Tensor();
  std::optional<reference::Gradients> gradients;
  if (has_gradients) gradients = expected_gradients(c, d_out);
  for (const Backend* backend : runnable_backends()) {
    Check check;
    const bool asks = drawn.seed % 3 == 0;
    const Result result = run(*backend, c, asks);
    check_forward(*backend, c, result, expected, check);
    check_weights(*backend, result.record, expected, check);
    check_after(*backend, result.record, expected, check);
    if (!last_head.empty()) {
      const ReductionRequest request = every_statistic(c);
      const std::vector<int64_t> rows = looked.queries();
      const ReductionResult swept = backend->sweep({.record = result.record,
                                                    .request = request,
                                                    .rows = rows,
                                                    .grid = grid_over(result.record, request.cells),
                                                    .after = looked.after});
      check_sweep(looked, request, swept, check);
      if (asks && !looked.after) check_row_sums(looked, result, check);
    }
    if (gradients) check_gradients(*backend, c, d_out, *gradients, check);
    if (check.failed()) return table_name(*backend) + ": " + check.what();
    if (check.compared() < std::ssize(expected)) return table_name(*backend) + ": some rows were not compared";
  }
  return "";
}

std::string asked_for() {
  const char* asked = std::getenv("CLEARHEAD_CASE");
  return asked ? asked : "";
}

void showValue(const Drawn& drawn, std::ostream& to) { to << drawn.text() << "\n" << to_json(make_case(drawn.values, drawn.seed).spec); }

}  // namespace
}  // namespace clearhead::conformance

template <>
struct rc::Arbitrary<clearhead::conformance::Drawn> {
  static rc::Gen<clearhead::conformance::Drawn> arbitrary() { return clearhead::conformance::calls(); }
};

namespace clearhead::conformance {
namespace {

RC_GTEST_PROP(RandomDescriptions, AgreeWithTheOracleOnEveryBackend, (const Drawn& drawn)) {
  if (asked_for() == "print") std::cerr << drawn.text() << std::endl;
  const std::string off = off_in(drawn);
  if (!off.empty()) RC_FAIL(off);
}

TEST(RandomDescriptions, TheCaseFromTheEnvironmentAgrees) {
  const std::string text = asked_for();
  const size_t bar = text.find(" | ");
  if (bar == std::string::npos) GTEST_SKIP() << "CLEARHEAD_CASE names no call";
  const Drawn drawn{.values = split(text.substr(bar + 3)), .seed = static_cast<uint32_t>(std::stoul(text.substr(5, bar - 5)))};
  EXPECT_EQ(off_in(drawn), "") << to_json(make_case(drawn.values, drawn.seed).spec);
}

}  // namespace
}  // namespace clearhead::conformance
