// The class of a node: the items that it can see, and its answer without some of them.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "clearhead/answers.h"
#include "clearhead/nn.h"
#include "explain/attribution.h"
#include "explain/attribution_target.h"
#include "models/input_graph.h"
#include "models/network.h"

namespace clearhead::explain {
namespace {

// A path a – b – c – d – e.
class PathOfNodes : public testing::Test {
 protected:
  void SetUp() override {
    folder = testing::TempDir() + "clearhead-node-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder);
    Json config = Json::object({{"model_type", "graph_attention"},
                                {"num_features", 3},
                                {"hidden_size", 4},
                                {"num_hidden_layers", 2},
                                {"num_attention_heads", 2},
                                {"id2label", Json::object({{"0", "left"}, {"1", "right"}})}});
    Parameters parameters(5);
    (void)network_of(config, "node-test.json", parameters);
    parameters.save(folder + "/model.safetensors");
    config["graph"] = kGraphFile;
    write_file(folder + "/config.json", config.dump(2));
    write_graph(folder + "/" + kGraphFile, *graph({{0, 1}, {1, 2}, {2, 3}, {3, 4}}, {0}));
    model = load(folder, {.gradients = true});
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  // without: nodes without features
  static std::shared_ptr<const NodeGraph> graph(const std::vector<std::pair<int32_t, int32_t>>& pairs,
                                                const std::vector<int32_t>& without) {
    auto out = std::make_shared<NodeGraph>();
    for (const char* name : {"a", "b", "c", "d", "e"}) {
      out->node_of[name] = static_cast<int32_t>(out->names.size());
      out->names.emplace_back(name);
      out->classes.emplace_back();
    }
    out->features = 3;
    std::vector<std::pair<int32_t, int32_t>> edges;
    for (const auto& [one, other] : pairs) edges.insert(edges.end(), {{one, other}, {other, one}});
    std::vector<std::vector<NodeFeature>> features = {{{0, 1}}, {{0, 1}, {1, 1}}, {{1, 2}, {2, 1}}, {{2, 1}}, {{0, 3}}};
    for (const int32_t node : without) features[static_cast<size_t>(node)].clear();
    fill_graph(*out, edges, features);
    return out;
  }
  double probability(const NodeGraph& of, const std::string& label) const {
    const auto found = classify_inputs(*model, {{.text = "b", .graph = std::make_shared<NodeGraph>(of)}});
    for (const ClassScore& one : found[0]) {
      if (one.label == label) return static_cast<double>(one.probability);
    }
    return -1;
  }
  std::string folder{};
  std::shared_ptr<const Model> model{};
};

TEST_F(PathOfNodes, ItemsAreTheNodesWithinAsManyEdgesAsTheModelHasLayers) {
  const auto target = make_target(model, {.text = "b"}, {.target = "left"});
  EXPECT_EQ(target->rows(), (std::vector<int64_t>{1}));
  ASSERT_EQ(target->items().size(), 4U);  // a, b, c, d
  EXPECT_EQ(target->items().back().begin, 3);
  EXPECT_EQ(target->answer(), "class \"left\"");
  EXPECT_NEAR(target->probability(), probability(*graph({{0, 1}, {1, 2}, {2, 3}, {3, 4}}, {0}), "left"), 1e-6);
}

TEST_F(PathOfNodes, AMaskedNodeHasNoFeaturesAndAnUnseenOneNoEdges) {
  const auto target = make_target(model, {.text = "b"}, {.target = "left"});
  const std::vector<std::vector<uint8_t>> removed = {{0, 0, 1, 0}};
  EXPECT_NEAR(target->answers(removed, RemovedBy::kMasked)[0], probability(*graph({{0, 1}, {1, 2}, {2, 3}, {3, 4}}, {0, 2}), "left"), 1e-6);
  EXPECT_NEAR(target->answers(removed, RemovedBy::kUnseen)[0], probability(*graph({{0, 1}, {3, 4}}, {0}), "left"), 1e-6);
}

TEST_F(PathOfNodes, AttentionRolloutGivesNothingToNodesOutOfReach) {
  const auto target = make_target(model, {.text = "b"}, {});
  const std::vector<double> shares = attribute(*target, method_named("rollout"), {});
  ASSERT_EQ(shares.size(), 4U);
  for (const double share : shares) EXPECT_GT(share, 0);
}

}  // namespace
}  // namespace clearhead::explain
