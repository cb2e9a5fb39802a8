// Graph attention: against the paper's equations in plain loops, with dropout of the weights, saved and loaded, and traced.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/file.h"
#include "clearhead/answers.h"
#include "clearhead/map.h"
#include "clearhead/trace.h"
#include "clearhead/train.h"
#include "io/safetensors.h"
#include "models/input_graph.h"
#include "models/input_kind.h"
#include "models/loaded_network.h"
#include "models/network.h"
#include "refused.h"

namespace clearhead {
namespace {

constexpr int32_t kNodes = 7;
using Edges = std::vector<std::pair<int32_t, int32_t>>;

// Nodes n0 … n6; n6 has no edge and no feature.
std::shared_ptr<const NodeGraph> small_graph() {
  auto graph = std::make_shared<NodeGraph>();
  for (int32_t node = 0; node < kNodes; ++node) {
    graph->names.push_back("n" + std::to_string(node));
    graph->node_of[graph->names.back()] = node;
    graph->classes.emplace_back(node % 2 == 0 ? "even" : "odd");
  }
  graph->classes[3].clear();
  graph->features = 5;
  Edges edges;
  for (const auto& [a, b] : Edges{{0, 1}, {0, 2}, {1, 2}, {2, 3}, {4, 3}, {4, 5}, {0, 5}}) edges.insert(edges.end(), {{a, b}, {b, a}});
  fill_graph(*graph, edges, {{{0, 1}, {3, 1}}, {{1, 2}}, {{0, 1}, {1, 1}, {4, 3}}, {{2, 1}}, {{2, -1}, {3, 2}}, {{4, 1}}, {}});
  return graph;
}

Json config(const std::string& kind, int64_t layers, double attention_dropout = 0) {
  return Json::object({{"model_type", "graph_attention"},
                       {"attention", kind},
                       {"num_features", 5},
                       {"hidden_size", 6},
                       {"num_hidden_layers", layers},
                       {"num_attention_heads", 2},
                       {"num_output_heads", 3},
                       {"attention_dropout", attention_dropout},
                       {"id2label", Json::object({{"0", "even"}, {"1", "odd"}, {"2", "none"}})}});
}

Batch all_nodes(const std::shared_ptr<const NodeGraph>& graph) {
  Batch rows{.batch = graph->nodes(), .length = 1, .graph = graph};
  for (int32_t node = 0; node < kNodes; ++node) rows.ids.push_back(node);
  return rows;
}

using Rows = std::vector<std::vector<double>>;

// The equations of one layer over the parameters by name. x: [node][in] → [node][out]
class Reference {
 public:
  Reference(const Parameters& parameters, bool is_v2) : is_v2_(is_v2) {
    for (const Parameters::Named& one : parameters.named()) named_[one.name] = one.values;
  }

  Rows layer(const Rows& x, int at, size_t heads, bool is_last, std::vector<Rows>& weights) const {
    const std::string prefix = "layers." + std::to_string(at) + ".";
    const Rows h = projected(x, named_.at(prefix + "projection.weight"), at == 0);
    const Tensor& bias = named_.at(prefix + "bias");
    const size_t d = h[0].size() / (is_v2_ ? 2 : 1) / heads, width = is_last ? d : heads * d;
    Rows out(kNodes, std::vector<double>(width, 0));
    for (size_t head = 0; head < heads; ++head) {
      weights.emplace_back(kNodes, std::vector<double>(kNodes, 0));
      for (size_t i = 0; i < kNodes; ++i) {
        double sum = 0;
        for (size_t j = 0; j < kNodes; ++j) {
          if (!neighbours_.contains({i, j})) continue;
          sum += weights.back()[i][j] = std::exp(score(prefix, h[i], h[j], head, d));
        }
        for (size_t j = 0; j < kNodes; ++j) {
          weights.back()[i][j] /= sum;
          for (size_t c = 0; c < d; ++c) {
            const double value = h[j][(is_v2_ ? heads * d : 0) + head * d + c];
            out[i][is_last ? c : head * d + c] += weights.back()[i][j] * value / (is_last ? static_cast<double>(heads) : 1);
          }
        }
      }
    }
    for (std::vector<double>& row : out) {
      for (size_t c = 0; c < width; ++c) {
        row[c] += static_cast<double>(bias.data<float>()[c]);
        if (!is_last && row[c] < 0) row[c] = std::expm1(row[c]);
      }
    }
    return out;
  }

  static Rows features() {
    const auto graph = small_graph();
    Rows out(kNodes, std::vector<double>(5, 0));
    for (size_t node = 0; node < kNodes; ++node) {
      double total = 0;
      for (int64_t entry = graph->offsets[node]; entry < graph->offsets[node + 1]; ++entry) {
        const auto at = static_cast<size_t>(entry);
        out[node][static_cast<size_t>(graph->indices[at])] = static_cast<double>(graph->values[at]);
        total += std::abs(static_cast<double>(graph->values[at]));
      }
      for (double& value : out[node]) value /= std::max(total, 1e-9);
    }
    return out;
  }

 private:
  // The weight of the first layer is [in, out], that of others [out, in].
  static Rows projected(const Rows& x, const Tensor& weight, bool is_table) {
    const auto in = static_cast<int64_t>(x[0].size()), out = weight.numel() / in;
    Rows rows(x.size(), std::vector<double>(static_cast<size_t>(out), 0));
    for (size_t r = 0; r < x.size(); ++r) {
      for (int64_t o = 0; o < out; ++o) {
        for (int64_t i = 0; i < in; ++i)
          rows[r][static_cast<size_t>(o)] +=
              x[r][static_cast<size_t>(i)] * static_cast<double>(weight.data<float>()[is_table ? i * out + o : o * in + i]);
      }
    }
    return rows;
  }
  static double leaky(double x) { return x > 0 ? x : 0.2 * x; }
  double score(const std::string& prefix, const std::vector<double>& i, const std::vector<double>& j, size_t head, size_t d) const {
    double left = 0, right = 0;
    const auto at = [&](const char* name, size_t c) { return static_cast<double>(named_.at(prefix + name).data<float>()[head * d + c]); };
    for (size_t c = 0; c < d; ++c) {
      const size_t channel = head * d + c;
      if (is_v2_) {
        left += at("score", c) * leaky(i[channel] + j[j.size() / 2 + channel]);
      } else {
        left += at("left", c) * i[channel];
        right += at("right", c) * j[channel];
      }
    }
    return is_v2_ ? left : leaky(left + right);
  }

  bool is_v2_;
  std::map<std::string, Tensor> named_{};
  std::set<std::pair<size_t, size_t>> neighbours_ = [] {
    std::set<std::pair<size_t, size_t>> out;
    for (const auto& [a, b] : Edges{{0, 1}, {0, 2}, {1, 2}, {2, 3}, {4, 3}, {4, 5}, {0, 5}})
      out.insert({{static_cast<size_t>(a), static_cast<size_t>(b)}, {static_cast<size_t>(b), static_cast<size_t>(a)}});
    for (size_t node = 0; node < kNodes; ++node) out.insert({node, node});
    return out;
  }();
};

class GraphNetworks : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder = testing::TempDir() + "clearhead-graph-" + GetParam();
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string folder;
};

TEST_P(GraphNetworks, AnswersAndWeightsAreThePapersEquations) {
  Parameters parameters(5);
  const auto network = network_of(config(GetParam(), 2), "graph-test.json", parameters);
  Maps maps;
  Compute compute({.observer = &maps});
  const Tensor logits = network->logits(compute, all_nodes(small_graph()), nullptr);
  const Reference reference(parameters, GetParam() == "gatv2");
  std::vector<Rows> hidden, output;
  const Rows expected = reference.layer(reference.layer(Reference::features(), 0, 2, false, hidden), 1, 3, true, output);
  for (size_t node = 0; node < kNodes; ++node) {
    for (size_t label = 0; label < 3; ++label) EXPECT_NEAR(logits.data<float>()[node * 3 + label], expected[node][label], 2e-6);
    for (size_t head = 0; head < 3; ++head) {
      const std::vector<float> weights = maps.at("output", 0).head(0, static_cast<int64_t>(head)).row(static_cast<int64_t>(node)).weights();
      for (size_t key = 0; key < kNodes; ++key) EXPECT_NEAR(weights[key], output[head][node][key], 2e-6);
    }
  }
  EXPECT_EQ(maps.at("hidden", 0).head(0, 1).row(6).weights(), (std::vector<float>{0, 0, 0, 0, 0, 0, 1}));
}

// A network of one layer is linear in the weights, so the mean over draws is the result without dropout.
TEST_P(GraphNetworks, TheMeanOverDropoutOfWeightsIsTheResultWithoutIt) {
  Parameters parameters(5);
  const auto network = network_of(config(GetParam(), 1, 0.5), "graph-test.json", parameters);
  const Batch rows = all_nodes(small_graph());
  Compute compute;
  const Tensor expected = network->logits(compute, rows, nullptr);
  Training training(3);
  constexpr int kDraws = 2000;
  std::vector<double> sums(static_cast<size_t>(expected.numel()), 0), squares = sums;
  for (int draw = 0; draw < kDraws; ++draw) {
    const Tensor logits = network->logits(training, rows, nullptr);
    for (size_t at = 0; at < sums.size(); ++at) {
      const auto value = static_cast<double>(logits.data<float>()[at]);
      sums[at] += value;
      squares[at] += value * value;
    }
    training.clear();
  }
  bool differs = false;
  for (size_t at = 0; at < sums.size(); ++at) {
    const double mean = sums[at] / kDraws, deviation = std::sqrt(std::max(0.0, squares[at] / kDraws - mean * mean));
    differs = differs || deviation > 1e-3;
    EXPECT_NEAR(mean, expected.data<float>()[at], 5 * deviation / std::sqrt(kDraws) + 1e-6) << at;
  }
  EXPECT_TRUE(differs);
}

// A Training with the same seed draws the same dropout.
TEST_P(GraphNetworks, GradientsWithDropoutAreThoseOfFiniteDifferences) {
  Parameters parameters(5);
  Json settings = config(GetParam(), 2, 0.3);
  settings["dropout"] = 0.2;
  const auto network = network_of(settings, "graph-test.json", parameters);
  const Batch rows = all_nodes(small_graph());
  const auto loss = [&](Training& training) {
    return training.cross_entropy(network->logits(training, rows, nullptr), {0, 1, 0, -100, 0, 1, 2});
  };
  Training training(3);
  training.train(parameters);
  training.backward(loss(training));
  const auto loss_at = [&](float& value, float shift) {
    const float before = value;
    value += shift;
    Training again(3);
    again.train(parameters);
    const auto out = static_cast<double>(*loss(again).data<float>());
    value = before;
    return out;
  };
  constexpr float kShift = 1e-2F;
  for (const Parameters::Named& one : parameters.named()) {
    Tensor values = one.values;
    const Tensor gradient = training.gradient(values);
    bool any = false;
    for (int64_t at = 0; at < values.numel(); ++at) {
      float& value = values.mutable_data<float>()[at];
      const double found = static_cast<double>(gradient.data<float>()[at]);
      any = any || std::abs(found) > 1e-4;
      EXPECT_NEAR(found, (loss_at(value, kShift) - loss_at(value, -kShift)) / (2 * static_cast<double>(kShift)), 2e-3)
          << one.name << " " << at;
    }
    EXPECT_TRUE(any) << one.name;
  }
}

TEST_P(GraphNetworks, ALoadedModelAnswersForANodeOfTheGraphBesideItsWeights) {
  Parameters parameters(5);
  Json settings = config(GetParam(), 2);
  const auto network = network_of(settings, "graph-test.json", parameters);
  const auto graph = small_graph();
  parameters.save(folder + "/model.safetensors");
  settings["graph"] = kGraphFile;
  write_file(folder + "/config.json", settings.dump(2));
  write_graph(folder + "/" + kGraphFile, *graph);
  const auto model = load(folder);
  const auto found = classify_inputs(*model, {{.text = "n2"}, {.text = "n6"}}),
             given = classify_inputs(*model, {{.text = "n6", .graph = graph}});
  ASSERT_EQ(found.size(), 2U);
  for (size_t label = 0; label < 3; ++label) EXPECT_EQ(found[1][label].probability, given[0][label].probability);
  Trace trace;
  observe(*model, {.text = "n2"}, trace, {});
  EXPECT_EQ(trace.plan().text.pieces[2], "n2 (even)");
  EXPECT_EQ(trace.plan().text.pieces[3], "n3");
  const std::vector<float> row = trace.map("hidden", 0).row(0, 2).weights();
  EXPECT_EQ(row[4], 0);  // two edges away
  EXPECT_GT(row[3], 0);
  expect_refused(ErrorCode::kNotFound, "the graph has no node \"n9\"; it has 7 nodes, from \"n0\" to \"n6\"",
                 [&] { (void)classify_inputs(*model, {{.text = "n9"}}); });
  expect_refused(ErrorCode::kInvalidArgument, "the input is empty", [&] { (void)classify_inputs(*model, {ModelInput{}}); });
  expect_refused(ErrorCode::kUnsupported, "the batch has nodes of different graphs", [&] {
    (void)classify_inputs(*model, {{.text = "n1"}, {.text = "n6", .graph = graph}});
  });
}

INSTANTIATE_TEST_SUITE_P(Kinds, GraphNetworks, testing::Values("gat", "gatv2"));

TEST(GraphNetwork, RefusesSettingsAndGraphsThatDoNotFit) {
  const auto refused = [](const char* field, Json value, const std::string& says) {
    Json settings = config("gat", 2);
    settings[field] = std::move(value);
    Parameters parameters;
    expect_refused(ErrorCode::kFormat, says, [&] { (void)network_of(settings, "graph-test.json", parameters); });
  };
  refused("attention", "dot", "\"attention\": expected one of: gat, gatv2");
  refused("num_attention_heads", 4, "\"num_attention_heads\": expected a divisor of 6, the hidden size");
  refused("num_output_heads", 0, "\"num_output_heads\": expected a whole number from 1 to 1024");
  refused("graph", "../other.safetensors", "\"graph\": expected \"graph.safetensors\", or none");
  refused("id2label", Json::object(), "\"id2label\": expected the labels");
  Json settings = config("gat", 1);
  settings["num_features"] = 4;
  Parameters parameters;
  const auto network = network_of(settings, "graph-test.json", parameters);
  Compute compute;
  expect_refused(ErrorCode::kShape, "the nodes of the graph have 5 features; the model reads 4",
                 [&] { (void)network->logits(compute, all_nodes(small_graph()), nullptr); });
  const auto facts = network->facts();
  expect_refused(ErrorCode::kInvalidArgument, "there is no graph: the model's directory has no graph.safetensors",
                 [&] { (void)encode_input(facts, nullptr, {.text = "n1"}); });
}

// The file with one tensor or one entry of its metadata replaced.
class GraphFiles : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path); }
  void expect_wrong(const std::string& name, const std::vector<int32_t>& values, const std::string& says) const {
    write_graph(path, *small_graph());
    io::NamedTensors tensors;
    std::map<std::string, std::string> metadata;
    {
      const io::SafeTensors file = io::SafeTensors::open(path);
      for (const std::string& one : file.names())
        tensors.emplace_back(one, one == name ? Tensor::from(values, {static_cast<int64_t>(values.size())}) : file.get(one).clone());
      metadata = file.metadata();
    }
    io::write_safetensors(path, tensors, metadata);
    expect_refused(ErrorCode::kFormat, says, [&] { (void)read_graph(path); });
  }
  std::string path = testing::TempDir() + "clearhead-graph.safetensors";
};

TEST_F(GraphFiles, AGraphIsReadAsItWasWritten) {
  const auto graph = small_graph();
  write_graph(path, *graph);
  const auto read = read_graph(path);
  EXPECT_EQ(read->names, graph->names);
  EXPECT_EQ(read->classes, graph->classes);
  EXPECT_EQ(read->node_of, graph->node_of);
  EXPECT_EQ(read->features, 5);
  EXPECT_EQ(read->offsets, graph->offsets);
  EXPECT_EQ(read->values, graph->values);
  EXPECT_EQ(read->digest, graph->digest);
}

TEST_F(GraphFiles, AFileThatIsNoGraphIsRefused) {
  expect_wrong("neighbours.offsets", {0, 1}, "\"neighbours.offsets\" does not contain ascending offsets of 7 lists");
  expect_wrong("features.offsets", {0, 2, 1, 6, 7, 9, 10, 10}, "\"features.offsets\" does not contain ascending offsets of 7 lists");
  expect_wrong("features.indices", {0, 3, 1, 0, 1, 5, 2, 2, 3, 4}, "\"features.indices\": list 2 has 5 after 1, of 5");
  expect_wrong("features.indices", {0, 3}, "there are 2 feature indices, but 10 feature values");
  expect_wrong("features.values", {1, 2}, "\"features.values\" is i32 [2]");
}

}  // namespace
}  // namespace clearhead
