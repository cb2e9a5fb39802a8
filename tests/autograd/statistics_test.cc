// Attention statistics as results with gradients: against differences of the N×N formulas in double, for every topology, on every backend.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "autograd/gradient_case.h"
#include "backends/oracle.h"
#include "refused.h"
#include "tensor/convert.h"

namespace clearhead {
namespace {

constexpr int64_t kBatch = 2, kHeads = 4, kKeyHeads = 2, kQueries = 5, kKeys = 7, kWidth = 3;
constexpr double kHidden = -std::numeric_limits<double>::infinity();

Tensor bools(const std::vector<bool>& values, const Shape& shape) {
  Tensor out = Tensor::zeros(shape, DType::kBool);
  for (size_t i = 0; i < values.size(); ++i) out.mutable_data<bool>()[i] = values[i];
  return out;
}

struct Described {
  std::string name;
  AttentionSpec spec{};
  int64_t queries = kQueries;  // later rows see nothing
};
std::vector<Described> descriptions() {
  std::vector<Described> out = {{"cross", {}}, {"causal", {.topology = causal()}}, {"window", {.topology = window(2, 1)}}};
  out.push_back({"scaled", {.score = Dot{.scale = 1.5F}, .topology = causal(1)}});
  AttentionSpec padded;
  padded.topology.segments = Segments{Tensor::from(std::vector<int32_t>{0, 0, 0, 0, -1, 0, 0, 0, 0, -1}, {kBatch, kQueries}),
                                      Tensor::from(std::vector<int32_t>{0, 0, 0, 0, 0, 0, -1, 0, 0, 0, -1, -1, -1, -1}, {kBatch, kKeys})};
  out.push_back({"padded", padded, kQueries - 1});
  AttentionSpec masked;
  masked.topology.mask = Mask{bools({true, false, true, true, false, true, true}, {1, 1, 1, kKeys})};
  out.push_back({"masked", masked});
  AttentionSpec ruled;
  ruled.topology.visible = visible([](auto at) { return at.key != at.query; });
  out.push_back({"ruled", ruled});
  AttentionSpec dropped;
  dropped.after.dropout = Dropout{.rate = 0.5F, .seed = 3};  // statistics use the weights before dropout
  out.push_back({"dropout", dropped});
  return out;
}

Tensor queries_of(uint32_t seed) { return random_tensor({kBatch, kHeads, kQueries, kWidth}, seed); }
Tensor keys_of(uint32_t seed) { return random_tensor({kBatch, kKeyHeads, kKeys, kWidth}, seed); }

// Scores of every pair in double, −∞ where the oracle hides the pair, and from them the weights and L of each row.
struct Rows {
  explicit Rows(AttentionSpec given, double sink_of_all = kHidden) : spec(std::move(given)), sink(sink_of_all) {
    const Tensor q = queries_of(1), k = keys_of(2);
    for (int64_t row = 0; row < kBatch * kHeads * kQueries; ++row)
      oracle.push_back(oracle_row(spec, q, k, k, row / kQueries / kHeads, row / kQueries % kHeads, row % kQueries));
  }
  struct Row {
    Values scores, weights;
    double log_sum_exp = kHidden;
    int64_t query = 0;
  };
  Row row(const std::vector<Values>& in, int64_t at) const {
    const int64_t head = at / kQueries % kHeads, batch = at / kQueries / kHeads, key_head = head / (kHeads / kKeyHeads);
    const Dot dot = std::holds_alternative<Dot>(spec.score) ? std::get<Dot>(spec.score) : Dot{};
    const double scale = dot.scale ? static_cast<double>(*dot.scale) : 1 / std::sqrt(static_cast<double>(kWidth));
    Row out{.scores = Values(kKeys, kHidden), .weights = Values(kKeys, 0), .query = at % kQueries};
    double sum = std::exp(sink);
    for (size_t j = 0; j < kKeys; ++j) {
      if (oracle[static_cast<size_t>(at)].scores[j] == kHidden) continue;
      double score = 0;
      for (size_t c = 0; c < kWidth; ++c)
        score += in[0][static_cast<size_t>(at) * kWidth + c] *
                 in[1][(static_cast<size_t>(batch * kKeyHeads + key_head) * kKeys + j) * kWidth + c];
      out.scores[j] = scale * score;
      sum += std::exp(out.scores[j]);
    }
    out.log_sum_exp = std::log(sum);
    for (size_t j = 0; j < kKeys; ++j) out.weights[j] = out.scores[j] == kHidden ? 0 : std::exp(out.scores[j] - out.log_sum_exp);
    return out;
  }
  // f(row) for the first `queries` rows of each head.
  template <class F>
  Formula formula(int64_t queries, F&& f) const {
    return [*this, queries, f](const std::vector<Values>& in) {
      Values out;
      for (int64_t at = 0; at < kBatch * kHeads * kQueries; ++at) {
        if (at % kQueries < queries) out.push_back(f(row(in, at)));
      }
      return out;
    };
  }
  AttentionSpec spec;
  double sink;
  std::vector<OracleRow> oracle;
};

TEST_P(TapeOn, TheLogSumExpOfRowsHasItsGradient) {
  for (const Described& of : descriptions()) {
    SCOPED_TRACE(of.name);
    expect_gradients(
        {queries_of(1), keys_of(2)},
        [&](clearhead::Run& run, std::vector<Tensor>& in) {
          return ops::attention_log_sum_exp(run, in[0], in[1], of.spec).slice(2, 0, of.queries);
        },
        Rows(of.spec).formula(of.queries, [](const Rows::Row& row) { return row.log_sum_exp; }));
  }
}

TEST_P(TapeOn, MassOnASpanAndTheMeanKeyHaveTheirGradients) {
  Values position(kKeys);
  std::iota(position.begin(), position.end(), 0.0);
  for (const Values& of_keys : {Values{0, 1, 1, 1, 0, 0, 0}, position}) {
    const Tensor numbers = Tensor::from(std::vector<float>(of_keys.begin(), of_keys.end()), {1, kKeys});
    for (const Described& of : descriptions()) {
      SCOPED_TRACE(of.name);
      expect_gradients(
          {queries_of(1), keys_of(2)},
          [&](clearhead::Run& run, std::vector<Tensor>& in) { return ops::attention_mean(run, in[0], in[1], of.spec, numbers); },
          Rows(of.spec).formula(kQueries, [&](const Rows::Row& row) {
            return std::inner_product(of_keys.begin(), of_keys.end(), row.weights.begin(), 0.0);
          }));
    }
  }
}

TEST_P(TapeOn, DistanceHasItsGradient) {
  for (const Described& of : descriptions()) {
    SCOPED_TRACE(of.name);
    const int64_t first = of.spec.topology.band.align == Align::kEnd ? kKeys - kQueries : 0;
    expect_gradients(
        {queries_of(1), keys_of(2)},
        [&](clearhead::Run& run, std::vector<Tensor>& in) { return ops::attention_distance(run, in[0], in[1], of.spec); },
        Rows(of.spec).formula(kQueries, [&](const Rows::Row& row) {
          double sum = 0;
          for (size_t j = 0; j < kKeys; ++j)
            sum += row.weights[j] * std::abs(static_cast<double>(row.query + first) - static_cast<double>(j));
          return sum;
        }));
  }
}

TEST_P(TapeOn, EntropyHasItsGradientAndIsZeroWhereNothingIsSeen) {
  for (const Described& of : descriptions()) {
    SCOPED_TRACE(of.name);
    expect_gradients(
        {queries_of(1), keys_of(2)},
        [&](clearhead::Run& run, std::vector<Tensor>& in) { return ops::attention_entropy(run, in[0], in[1], of.spec); },
        Rows(of.spec).formula(kQueries, [](const Rows::Row& row) {
          double sum = 0;
          for (const double weight : row.weights) sum -= weight > 0 ? weight * std::log(weight) : 0;
          return sum;
        }));
  }
}

// Visible pairs, except under "ruled", where a query does not see its own position. One pair occurs twice.
const std::vector<AttentionPair> kPairs = {{0, 0, 0}, {1, 3, 0}, {0, 2, 3}, {1, 3, 0}, {0, 3, 5}, {1, 1, 2}};

TEST_P(TapeOn, LogWeightsOfPairsHaveTheirGradients) {
  for (const Described& of : descriptions()) {
    SCOPED_TRACE(of.name);
    const Rows rows(of.spec);
    std::vector<AttentionPair> shown;
    for (const AttentionPair& pair : kPairs) {
      if (rows.oracle[static_cast<size_t>(pair.batch * kHeads * kQueries + pair.query)].scores[static_cast<size_t>(pair.key)] != kHidden)
        shown.push_back(pair);
    }
    ASSERT_GE(shown.size(), size_t{2});
    expect_gradients(
        {queries_of(1), keys_of(2)},
        [&](clearhead::Run& run, std::vector<Tensor>& in) {
          const Tensor logs = ops::attention_log_sum_exp(run, in[0], in[1], of.spec);
          return ops::attention_log_weights(run, in[0], in[1], of.spec, logs, shown);
        },
        [&](const std::vector<Values>& in) {
          Values out;
          for (const AttentionPair& pair : shown) {
            for (int64_t head = 0; head < kHeads; ++head) {
              const Rows::Row row = rows.row(in, (pair.batch * kHeads + head) * kQueries + pair.query);
              out.push_back(row.scores[static_cast<size_t>(pair.key)] - row.log_sum_exp);
            }
          }
          return out;
        });
  }
}

TEST_P(TapeOn, ASinkLogitIsPartOfTheLogSumExpAndHasAGradient) {
  constexpr float kSink = 0.7F;
  const Tensor sinks = Tensor::from(std::vector<float>(kHeads, kSink), {kHeads});
  expect_gradients(
      {queries_of(1), keys_of(2), sinks},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        return ops::attention_log_sum_exp(run, in[0], in[1], {.topology = causal(), .normaliser = Softmax{in[2]}});
      },
      [rows = Rows({.topology = causal()})](const std::vector<Values>& in) {
        Values out;
        for (int64_t at = 0; at < kBatch * kHeads * kQueries; ++at) {
          Rows of = rows;
          of.sink = in[2][static_cast<size_t>(at / kQueries % kHeads)];
          out.push_back(of.row(in, at).log_sum_exp);
        }
        return out;
      });
}

// −Σ_p f_p ln(mean_h P): first the mean over heads, then the logarithm.
TEST_P(TapeOn, TheCrossEntropyOfTheMeanOfHeadsHasItsGradient) {
  const std::vector<float> factors = {0.5F, 0.25F, 1, 0, 2, 0.125F};
  const Rows rows({});
  expect_gradients(
      {queries_of(1), keys_of(2)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        const Tensor logs = ops::attention_log_sum_exp(run, in[0], in[1], {});
        return ops::mean_head_cross_entropy(run, ops::attention_log_weights(run, in[0], in[1], {}, logs, kPairs), factors);
      },
      [&](const std::vector<Values>& in) {
        double sum = 0;
        for (size_t p = 0; p < kPairs.size(); ++p) {
          double mean = 0;
          for (int64_t head = 0; head < kHeads; ++head)
            mean +=
                rows.row(in, (kPairs[p].batch * kHeads + head) * kQueries + kPairs[p].query).weights[static_cast<size_t>(kPairs[p].key)] /
                static_cast<double>(kHeads);
          sum -= static_cast<double>(factors[p]) * std::log(mean);
        }
        return Values{sum};
      });
}

// A row that sees nothing, or a hidden pair, contributes nothing to any gradient, however large the upstream gradient is.
TEST_P(TapeOn, RowsThatSeeNothingAndHiddenPairsHaveNoGradient) {
  AttentionSpec spec;
  spec.topology.segments = Segments{Tensor::from(std::vector<int32_t>{-1, 0, 0, 0, 0}, {1, kQueries}),
                                    Tensor::from(std::vector<int32_t>{0, 0, 0, 0, 0, 0, -1}, {1, kKeys})};
  Arena arena;
  Tape tape;
  clearhead::Run run{arena, nullptr, &tape};
  const Tensor q = queries_of(1), k = keys_of(2);
  tape.watch(q);
  tape.watch(k);
  const Tensor logs = ops::attention_log_sum_exp(run, q, k, spec);
  const Tensor pairs = ops::attention_log_weights(run, q, k, spec, logs, {{0, 0, 2}, {1, 3, 6}});
  for (const double log : values_of(logs.slice(2, 0, 1))) EXPECT_EQ(log, kHidden);
  for (const double log : values_of(pairs)) EXPECT_EQ(log, kHidden);
  Tensor loss = Tensor::zeros({1});
  tape.record("loss", loss, {}, [&](Gradients& gradients) {
    for (const Tensor& of : {logs.slice(2, 0, 1), pairs}) {
      Gradients::Place to = gradients.place(of);
      ops::add_strided(
          Tensor::from(std::vector<float>{1e6F}, {1}).reshape({1, 1, 1}).expand({kBatch, kHeads, 1}).contiguous().reshape(of.shape()),
          to.gradient, to.accumulate);
    }
  });
  tape.backward(loss);
  for (const Tensor& of : {q, k}) {
    for (const double gradient : values_of(tape.gradient(of))) EXPECT_EQ(gradient, 0);
  }
}

// 16-bit operands are widened, and gradients pass through the rounding.
TEST_P(TapeOn, StatisticsOfBf16OperandsEqualThoseOfTheRoundedValues) {
  const auto gradients_of = [](const Tensor& q, const Tensor& k, bool rounds) {
    Arena arena;
    Tape tape;
    clearhead::Run run{.arena = arena, .recorder = &tape, .operands = rounds ? DType::kBF16 : DType::kF32};
    tape.watch(q);
    tape.watch(k);
    const Tensor out = ops::attention_entropy(run, ops::rounded(run, q), ops::rounded(run, k), {.topology = causal()});
    Values found = values_of(out);
    tape.backward(weighted_sum(run, out));
    for (const Tensor& of : {q, k}) {
      for (const double gradient : values_of(tape.gradient(of))) found.push_back(gradient);
    }
    return found;
  };
  const Tensor q = queries_of(1), k = keys_of(2);
  const auto as_rounded = [](const Tensor& t) { return to_f32(to_dtype(t, DType::kBF16)); };
  EXPECT_EQ(gradients_of(q, k, true), gradients_of(as_rounded(q), as_rounded(k), false));
}

TEST_P(TapeOn, StatisticsHaveTheSameBitsForAnyThreads) {
  const auto q = random_tensor({2, 4, 150, 16}, 5), k = random_tensor({2, 2, 300, 16}, 6);
  expect_the_same_bits_for_any_threads({q, k}, [](clearhead::Run& run, std::vector<Tensor>& in) {
    return ops::attention_entropy(run, in[0], in[1], {.topology = causal()});
  });
  expect_the_same_bits_for_any_threads({q, k}, [](clearhead::Run& run, std::vector<Tensor>& in) {
    std::vector<AttentionPair> pairs;
    for (int32_t at = 0; at < 200; ++at) pairs.push_back({at % 2, at * 7 % 150, at * 11 % 150});
    return ops::attention_log_weights(run, in[0], in[1], {}, ops::attention_log_sum_exp(run, in[0], in[1], {}), pairs);
  });
}

TEST(Statistics, RefuseUnsupportedDescriptionsByName) {
  Compute compute;
  const Tensor q = queries_of(1), k = keys_of(2);
  const auto refusal = [&](const AttentionSpec& spec, const auto& statistic) { return error_of([&] { (void)statistic(spec); }); };
  const auto entropy = [&](const AttentionSpec& spec) { return compute.attention_entropy(q, k, spec); };
  const auto logs = [&](const AttentionSpec& spec) { return compute.attention_log_weights(q, k, spec, {{0, 0, 0}}); };
  const AttentionSpec alibi{.terms = {Alibi{Tensor::zeros({kHeads})}}};
  EXPECT_EQ(refusal({.normaliser = Sparsemax{}}, entropy),
            "kUnsupported: attention_entropy: the description has the normaliser sparsemax; expected softmax");
  EXPECT_EQ(
      refusal(alibi, entropy),
      "kUnsupported: attention_entropy: the description has score terms (biases, soft-caps or rules); expected none: the formula holds for "
      "scale·q·k alone");
  EXPECT_NE(refusal(alibi, logs).find("attention_log_weights: the description has score terms"), std::string::npos);
  EXPECT_NE(refusal({.score = Additive{.weight = Tensor::zeros({1, kWidth})}}, entropy).find("a score that is additive"),
            std::string::npos);
  EXPECT_NE(refusal({.normaliser = Softmax{Tensor::zeros({kHeads})}}, entropy).find("sink logits"), std::string::npos);
  EXPECT_EQ(refusal({.normaliser = Softmax{Tensor::zeros({kHeads})}}, logs), "no error");
  EXPECT_EQ(refusal({.normaliser = Sigmoid{}}, [&](const AttentionSpec& spec) { return compute.attention_log_sum_exp(q, k, spec); }),
            "kUnsupported: attention: rows of sigmoid have no log-sum-exp; expected softmax");
  EXPECT_NE(
      refusal({},
              [&](const AttentionSpec& spec) {
                return compute.attention_log_weights(q, k, spec, {{0, 5, 0}});
              })
          .find("kInvalidArgument: attention_log_weights: the pair of sequence 0, query 5 and key 0 is out of range; there are 2, 5 and 7"),
      std::string::npos);
}

}  // namespace
}  // namespace clearhead
