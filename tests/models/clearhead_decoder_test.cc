// Models of type clearhead-decoder: each position encoding, normaliser and restriction of the keys against the formulas of its paper,
// computed here in double for one pair at a time; and generation with a cache against the whole text.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <numeric>

#include "base/format.h"
#include "clearhead/residual_stream.h"
#include "golden.h"
#include "models/transformer.h"
#include "random_tensor.h"
#include "refused.h"
#include "values.h"

namespace clearhead {
namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

constexpr int64_t kWidth = 8, kHeads = 2, kHeadDim = 4, kVocabulary = 11, kReach = 3, kBuckets = 4;
const std::vector<int32_t> kIds = {3, 1, 4, 1, 5, 9, 2, 6, 10, 0};

Json config_of(const std::string& changes) {
  Json config = Json::parse(R"({"model_type": "clearhead-decoder", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2,
                                "num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 16, "hidden_act": "relu",
                                "position_reach": 3, "position_buckets": 4, "position_distance": 6})",
                            "config.json");
  const Json changed = Json::parse(changes, "changes");
  for (const auto& [name, value] : changed.fields()) config[name] = value;
  if (config["positions"].string() != "shaw")
    std::erase_if(config.fields(), [](const auto& field) { return field.first == "position_reach"; });
  if (config["positions"].string() != "t5")
    std::erase_if(config.fields(),
                  [](const auto& field) { return field.first == "position_buckets" || field.first == "position_distance"; });
  return config;
}

// A model with random weights, all of them: new ones would be zeros and ones where a fault does not show.
struct TestModel {
  explicit TestModel(const Json& config) : directory(std::filesystem::path(testing::TempDir()) / "clearhead_decoder") {
    const Architecture facts = read_architecture(config, "config.json");
    Parameters parameters;
    const Transformer transformer(facts, parameters, {.causal = true});
    uint32_t seed = 1;
    for (const Parameters::Named& one : parameters.named()) {
      const Tensor values = random_tensor(one.values.shape(), seed++, 0.5);
      Tensor to = one.values;
      const bool is_divisor = one.name.ends_with("temperature");
      for (int64_t i = 0; i < to.numel(); ++i)
        to.mutable_data<float>()[i] = is_divisor ? 1.5F + 0.5F * std::tanh(values.data<float>()[i]) : values.data<float>()[i];
      const Floats numbers = values_of(to);
      weights[one.name] = Row(numbers.begin(), numbers.end());
    }
    std::filesystem::create_directories(directory);
    parameters.save(directory / "model.safetensors");
    write_file(directory / "config.json", config.dump());
    model = load(directory, {.tokenizer = false});
  }
  ~TestModel() { std::filesystem::remove_all(directory); }

  std::filesystem::path directory;
  std::map<std::string, Row> weights{};
  std::shared_ptr<const Model> model{};
};

// The forward pass, in double, with a function for each way in which a position can enter.
class Oracle {
 public:
  Oracle(const std::map<std::string, Row>& weights, const Json& config)
      : weights_(weights), positions_(config.find("positions")->string()), config_(config) {}

  Rows logits() const {
    Rows x;
    for (size_t i = 0; i < kIds.size(); ++i) {
      Row row = slice("tokens.weight", kIds[i], kWidth);
      for (double& value : row) value *= std::sqrt(static_cast<double>(kWidth));
      add_position(row, static_cast<int64_t>(i));
      x.push_back(row);
    }
    for (int layer = 0; layer < 2; ++layer) {
      path_ = "layers." + std::to_string(layer) + ".";
      add(x, attention(each(x, [&](const Row& row) { return norm(row, path_ + "attention_norm"); })));
      add(x, each(x, [&](const Row& row) {
            Row inner = linear(norm(row, path_ + "mlp_norm"), path_ + "mlp.up");
            for (double& value : inner) value = std::max(0.0, value);
            return linear(inner, path_ + "mlp.down");
          }));
    }
    return each(x, [&](const Row& row) { return product(norm(row, "norm"), "tokens.weight"); });
  }

 private:
  static Rows each(const Rows& rows, const std::function<Row(const Row&)>& f) {
    Rows out;
    for (const Row& row : rows) out.push_back(f(row));
    return out;
  }
  static void add(Rows& to, const Rows& rows) {
    for (size_t i = 0; i < to.size(); ++i)
      for (size_t c = 0; c < to[i].size(); ++c) to[i][c] += rows[i][c];
  }
  static double dot(const Row& a, const Row& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }
  const Row& values(const std::string& name) const { return weights_.at(name); }
  Row slice(const std::string& name, int64_t row, int64_t width) const {
    const auto begin = values(name).begin() + row * width;
    return {begin, begin + width};
  }
  Row product(const Row& x, const std::string& name) const {
    const auto in = static_cast<int64_t>(x.size()), out = static_cast<int64_t>(values(name).size()) / in;
    Row y;
    for (int64_t row = 0; row < out; ++row) y.push_back(dot(slice(name, row, in), x));
    return y;
  }
  Row linear(const Row& x, const std::string& name) const {
    Row y = product(x, name + ".weight");
    for (size_t c = 0; c < y.size(); ++c) y[c] += values(name + ".bias")[c];
    return y;
  }
  Row norm(const Row& x, const std::string& name) const {
    const double count = static_cast<double>(x.size()), mean = std::accumulate(x.begin(), x.end(), 0.0) / count;
    double variance = 0;
    for (const double value : x) variance += (value - mean) * (value - mean) / count;
    Row y;
    for (size_t c = 0; c < x.size(); ++c)
      y.push_back((x[c] - mean) / std::sqrt(variance + 1e-5) * values(name + ".weight")[c] + values(name + ".bias")[c]);
    return y;
  }
  static double frequency(int64_t pair, int64_t width) {
    return std::pow(10000.0, -2.0 * static_cast<double>(pair) / static_cast<double>(width));
  }

  void add_position(Row& row, int64_t at) const {
    if (positions_ == "learned") row = added(row, slice("positions.weight", at, kWidth));
    if (positions_ != "sinusoidal" && positions_ != "scaled_sinusoidal") return;
    const double gain = positions_ == "sinusoidal" ? 1 : values("positions.gain")[0];
    for (int64_t pair = 0; pair < kWidth / 2; ++pair) {
      const double angle = static_cast<double>(at) * frequency(pair, kWidth);
      row[static_cast<size_t>(pair)] += gain * std::sin(angle);
      row[static_cast<size_t>(pair + kWidth / 2)] += gain * std::cos(angle);
    }
  }
  static Row added(Row a, const Row& b) {
    for (size_t c = 0; c < a.size(); ++c) a[c] += b[c];
    return a;
  }
  static Row of_head(const Row& row, int64_t head) { return {row.begin() + head * kHeadDim, row.begin() + (head + 1) * kHeadDim}; }
  // W·[cos ω₀n, sin ω₀n, cos ω₁n, …]
  Row projected_sinusoid(int64_t n) const {
    Row sinusoid;
    for (int64_t pair = 0; pair < kWidth / 2; ++pair) {
      sinusoid.push_back(std::cos(static_cast<double>(n) * frequency(pair, kWidth)));
      sinusoid.push_back(std::sin(static_cast<double>(n) * frequency(pair, kWidth)));
    }
    return product(sinusoid, path_ + "attention.positions.weight");
  }
  static Row rotated(const Row& row, int64_t at) {
    Row out = row;
    for (int64_t pair = 0; pair < kHeadDim / 2; ++pair) {
      const double angle = static_cast<double>(at) * frequency(pair, kHeadDim);
      const auto first = static_cast<size_t>(pair), second = static_cast<size_t>(pair + kHeadDim / 2);
      out[first] = row[first] * std::cos(angle) - row[second] * std::sin(angle);
      out[second] = row[second] * std::cos(angle) + row[first] * std::sin(angle);
    }
    return out;
  }

  double score(const Row& q, const Row& k, int64_t query, int64_t key, int64_t head) const {
    const double root = std::sqrt(static_cast<double>(kHeadDim));
    const int64_t back = query - key;
    if (positions_ == "rotary") return dot(rotated(q, query), rotated(k, key)) / root;
    if (positions_ == "key_sinusoidal") return dot(q, added(k, of_head(projected_sinusoid(key), head))) / root;
    if (positions_ == "shaw")
      return dot(q, added(k, slice(path_ + "attention.relative_keys", kReach - std::min(back, kReach), kHeadDim))) / root;
    if (positions_ == "transformer_xl") {
      const Row second = added(q, slice(path_ + "attention.query_bias", head, kHeadDim));
      return (dot(q, k) + dot(second, of_head(projected_sinusoid(back), head))) / root;
    }
    double s = dot(q, k) / root;
    if (positions_ == "alibi")
      s -= std::pow(2.0, -8.0 * static_cast<double>(head + 1) / static_cast<double>(kHeads)) * static_cast<double>(back);
    // Four buckets: distances 0, 1, 2 to 3, and 4 or more (2 + ⌊log(n/2) / log(6/2) · 2⌋).
    constexpr int64_t kBucketOf[] = {0, 1, 2, 2};
    if (positions_ == "t5")
      s += slice(path_ + "attention.relative_bias", back < 4 ? kBucketOf[back] : 3, kHeads)[static_cast<size_t>(head)];
    return s;
  }

  // The weights of softmax; or of sparsemax and 1.5-entmax, whose threshold is found by bisection.
  Row normalised(const Row& scores) const {
    const Json* name = config_.find("normaliser");
    const double largest = *std::max_element(scores.begin(), scores.end());
    const double power = !name || name->string() == "softmax" ? 0 : name->string() == "sparsemax" ? 1 : 2;
    const auto weight = [&](double s, double threshold) { return std::pow(std::max(0.0, s / power - threshold), power); };
    double low = largest / std::max(power, 1.0) - 1, high = largest / std::max(power, 1.0);
    for (int i = 0; power > 0 && i < 200; ++i) {
      const double middle = (low + high) / 2;
      double sum = 0;
      for (const double s : scores) sum += weight(s, middle);
      (sum > 1 ? low : high) = middle;
    }
    Row weights;
    for (const double s : scores) weights.push_back(power == 0 ? std::exp(s - largest) : weight(s, low));
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (double& one : weights) one /= sum;
    return weights;
  }

  bool sees(int64_t query, int64_t key) const {
    const Json* pattern = config_.find("pattern");
    const int64_t stride = 3;
    if (!pattern) return true;
    if (pattern->string() == "segments") return key >= query / 4 * 4 - config_.find("memory_length")->integer();
    if (pattern->string() == "strided") return query - key <= stride || (query - key) % stride == 0;
    return query / stride == key / stride || key % stride == stride - 1;
  }
  // ln m(x) of an adaptive span.
  double log_span(int64_t back, int64_t head) const {
    const Json* unit = config_.find("adaptive_span");
    if (!unit || back == 0) return 0;
    const double ramp = 3, span = values(path_ + "attention.span")[static_cast<size_t>(head)] * unit->number();
    return std::log(std::clamp((ramp + span - static_cast<double>(back)) / ramp, 0.0, 1.0));
  }
  // Sets all but the `top_keys` largest scores to −∞.
  void keep_top(Row& scores) const {
    const Json* count = config_.find("top_keys");
    if (!count || static_cast<int64_t>(scores.size()) <= count->integer()) return;
    Row sorted = scores;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    for (double& one : scores)
      if (one < sorted[static_cast<size_t>(count->integer() - 1)]) one = -std::numeric_limits<double>::infinity();
  }

  Rows attention(const Rows& x) const {
    Rows out(x.size(), Row(kWidth));
    const auto project = [&](const char* name) {
      return each(x, [&](const Row& row) { return linear(row, path_ + "attention." + name); });
    };
    const Rows q = project("query"), k = project("key"), v = project("value");
    const Json* window = config_.find("sliding_window");
    for (int64_t head = 0; head < kHeads; ++head) {
      for (int64_t query = 0; query < static_cast<int64_t>(x.size()); ++query) {
        const int64_t first = window ? std::max<int64_t>(0, query - window->integer() + 1) : 0;
        Row scores;
        for (int64_t key = first; key <= query; ++key) {
          const auto i = static_cast<size_t>(query), j = static_cast<size_t>(key);
          scores.push_back(score(of_head(q[i], head), of_head(k[j], head), query, key, head));
          if (config_.find("learned_temperature")) scores.back() /= values(path_ + "attention.temperature")[static_cast<size_t>(head)];
          scores.back() += log_span(query - key, head);
          if (!sees(query, key)) scores.back() = -std::numeric_limits<double>::infinity();
        }
        keep_top(scores);
        const Row weights = normalised(scores);
        for (int64_t key = first; key <= query; ++key) {
          Row value = of_head(v[static_cast<size_t>(key)], head);
          if (positions_ == "shaw")
            value = added(value, slice(path_ + "attention.relative_values", kReach - std::min(query - key, kReach), kHeadDim));
          for (int64_t c = 0; c < kHeadDim; ++c)
            out[static_cast<size_t>(query)][static_cast<size_t>(head * kHeadDim + c)] +=
                weights[static_cast<size_t>(key - first)] * value[static_cast<size_t>(c)];
        }
      }
    }
    return each(out, [&](const Row& row) { return linear(row, path_ + "attention.output"); });
  }

  const std::map<std::string, Row>& weights_;
  std::string positions_;
  const Json& config_;
  mutable std::string path_{};  // of the layer
};

class ClearheadDecoder : public testing::TestWithParam<const char*> {};

TEST_P(ClearheadDecoder, LogitsAreThoseOfTheFormulas) {
  const Json config = config_of(GetParam());
  const TestModel test(config);
  const Rows expected = Oracle(test.weights, config).logits();
  const Floats logits = values_of(test.model->run(kIds).causal_logits);
  double largest = 0;
  for (const Row& row : expected)
    for (const double value : row) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < kIds.size(); ++i)
    for (size_t c = 0; c < kVocabulary; ++c)
      EXPECT_NEAR(static_cast<double>(logits[i * kVocabulary + c]), expected[i][c], tolerance::kSum * largest) << i << ", " << c;
}

TEST_P(ClearheadDecoder, StepsWithACacheGiveTheLogitsOfTheWholeText) {
  const TestModel test(config_of(GetParam()));
  const Floats whole = values_of(test.model->run(kIds).causal_logits);
  const double largest = largest_magnitude(whole.data(), static_cast<int64_t>(whole.size()));
  ModelCache cache;
  const Floats first = values_of(test.model->step({kIds.begin(), kIds.begin() + 4}, cache).causal_logits);
  Floats steps(first.begin(), first.end());
  for (size_t i = 4; i < kIds.size(); ++i) {
    const Floats next = values_of(test.model->step({kIds[i]}, cache).causal_logits);
    steps.insert(steps.end(), next.begin(), next.end());
  }
  ASSERT_EQ(steps.size(), whole.size());
  EXPECT_LE(largest_difference(steps.data(), whole.data(), static_cast<int64_t>(whole.size())), tolerance::kSum * largest);
}

INSTANTIATE_TEST_SUITE_P(
    Encodings, ClearheadDecoder,
    testing::Values(R"({"positions": "none"})", R"({"positions": "learned"})", R"({"positions": "sinusoidal"})",
                    R"({"positions": "scaled_sinusoidal"})", R"({"positions": "key_sinusoidal"})", R"({"positions": "shaw"})",
                    R"({"positions": "transformer_xl"})", R"({"positions": "t5"})", R"({"positions": "alibi"})",
                    R"({"positions": "rotary"})", R"({"positions": "transformer_xl", "sliding_window": 4})",
                    R"({"positions": "alibi", "normaliser": "sparsemax"})",
                    R"({"positions": "shaw", "normaliser": "entmax15", "learned_temperature": true})",
                    R"({"positions": "alibi", "pattern": "strided", "pattern_stride": 3})",
                    R"({"positions": "rotary", "pattern": "fixed", "pattern_stride": 3})",
                    R"({"positions": "transformer_xl", "pattern": "segments", "segment_length": 4, "memory_length": 0})",
                    R"({"positions": "transformer_xl", "pattern": "segments", "segment_length": 4, "memory_length": 3})",
                    R"({"positions": "alibi", "top_keys": 3})", R"({"positions": "shaw", "top_keys": 4})",
                    R"({"positions": "alibi", "adaptive_span": 6, "adaptive_ramp": 3})",
                    R"({"positions": "transformer_xl", "adaptive_span": 4, "adaptive_ramp": 3})"));

Encoding encoding_of_ids() {
  Encoding out{.ids = kIds};
  out.type_ids.assign(kIds.size(), 0);
  out.offsets.assign(kIds.size(), {0, 0});
  out.segment.assign(kIds.size(), 0);
  return out;
}

// The scores of two keys differ by the logarithm of the quotient of their weights, which the attention kernel computed.
TEST(ClearheadDecoderParts, AddUpToTheScoresOfTheAttentionMap) {
  for (const char* positions : {"none", "learned", "scaled_sinusoidal", "rotary"}) {
    const TestModel test(config_of(format(R"({{"positions": "{}"}})", positions)));
    Maps maps;
    test.model->run(kIds, {.observer = &maps});
    const std::vector<float> weights = maps.all()[1].map.head(0, 1).row(6).weights();
    double of_query = 0, of_key = 0;
    const auto add = [&](int64_t key, double sign) {
      for (const ScorePart& part : split_score(*test.model, encoding_of_ids(), {.layer = 1, .head = 1, .query = 6, .key = key}).parts) {
        of_query += sign * part.query;
        of_key += sign * part.key;
      }
    };
    add(2, 1);
    add(4, -1);
    const double expected = std::log(static_cast<double>(weights[2]) / static_cast<double>(weights[4]));
    EXPECT_NEAR(of_query, expected, tolerance::kSum * std::abs(expected)) << positions;
    EXPECT_NEAR(of_key, expected, tolerance::kSum * std::abs(expected)) << positions;
  }
}

TEST(ClearheadDecoderParts, AreRefusedWherePositionsBelongToNoComponent) {
  const TestModel keys(config_of(R"({"positions": "key_sinusoidal"})"));
  expect_refused(ErrorCode::kUnsupported, "the keys of this model of type \"clearhead-decoder\" also contain positions of their own",
                 [&] { (void)split_score(*keys.model, encoding_of_ids(), {.layer = 1, .head = 1, .query = 6, .key = 2}); });
  const TestModel values(config_of(R"({"positions": "shaw"})"));
  expect_refused(ErrorCode::kUnsupported, "the values of this model of type \"clearhead-decoder\" also depend on the distance",
                 [&] { (void)mixed_norms(*values.model, encoding_of_ids(), 1, 6); });
}

TEST(ClearheadDecoderConfig, RefusesUnsupportedFieldsByName) {
  const auto refused = [](const char* changes, const char* message) {
    expect_refused(ErrorCode::kUnsupported, message, [&] { read_architecture(config_of(changes), "config.json"); });
  };
  refused(R"({"positions": "relative"})", "found \"relative\"; expected one of none, learned, sinusoidal");
  refused(R"({"positions": "learned", "max_position_embeddings": 0})", "positions \"learned\" need a maximum number of tokens");
  refused(R"({"positions": "none", "position_reach": 3, "normaliser": "max"})", "expected softmax, sparsemax or entmax15");
  refused(R"({"positions": "none", "pattern": "random"})", "expected full, strided, fixed or segments");
  refused(R"({"positions": "none", "pattern": "segments", "memory_length": -1})", "expected 0 or more");
  refused(R"({"positions": "t5", "position_distance": 2})", "expected a distance beyond 2");
  refused(R"({"positions": "alibi", "position_reach": 3, "rope_theta": 100})", "field \"rope_theta\" (100) is not known");
  expect_refused(ErrorCode::kFormat, "the hidden size is 9; expected an even number", [] {
    read_architecture(config_of(R"({"positions": "transformer_xl", "hidden_size": 9, "num_attention_heads": 3})"), "config.json");
  });
}

}  // namespace
}  // namespace clearhead
