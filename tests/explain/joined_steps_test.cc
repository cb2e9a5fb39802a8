// A network that attends to its source step by step: the gradients of its maps include their effect through later steps.
#include "explain/joined_steps.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "clearhead/map.h"
#include "clearhead/nn.h"
#include "explain/attribution.h"
#include "explain/listener.h"
#include "explain/traced.h"
#include "models/network.h"

namespace clearhead::explain {
namespace {

Encoding ids(std::vector<int32_t> of) {
  Encoding out{.ids = std::move(of)};
  out.type_ids.resize(out.ids.size());
  out.offsets.resize(out.ids.size());
  out.segment.resize(out.ids.size());
  return out;
}

// Bahdanau's network with random weights that are large enough for uneven maps.
std::unique_ptr<AttributionTarget> bahdanau() {
  static const std::shared_ptr<const Model> model = [] {
    const std::filesystem::path folder = std::filesystem::temp_directory_path() / "clearhead-joined-steps";
    std::filesystem::create_directories(folder);
    const std::string config =
        R"({"model_type": "recurrent_translator", "vocab_size": 12, "embedding_size": 6, "hidden_size": 8, "score": "additive",
            "eos_token_id": 0, "pad_token_id": 1, "decoder_start_token_id": 1})";
    std::ofstream(folder / "config.json") << config;
    Parameters parameters{7};
    const auto network = network_of(Json::parse(config, "config.json"), "config.json", parameters);
    for (const Parameters::Named& one : parameters.named()) {
      Tensor values = one.values;  // shares the memory
      for (int64_t at = 0; at < values.numel(); ++at) values.mutable_data<float>()[at] *= 3;
    }
    parameters.save((folder / "model.safetensors").string());
    auto loaded = load(folder.string(), {.tokenizer = false, .gradients = true});
    std::filesystem::remove_all(folder);
    return loaded;
  }();
  return make_target(model, ids({4, 9, 2, 7, 5, 0}), {.target_ids = {3}}, ids({1, 6, 8, 10}));
}

// ∂y/∂P of all rows.
struct Heard final : Listener {
  bool wants_gradient(const Site& site) override { return site.reported; }
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override {
    ++calls;
    EXPECT_EQ(site.family, "cross");
    const GradientMap map(record, gradient, GradientLook::kGradient);
    for (int64_t row = 0; row < record.query_length; ++row) {
      gradients.push_back(map.row(0, 0, row));
      weights.push_back(AttentionMap(record).head(0, 0).row(row).weights());
    }
  }
  int calls = 0;
  std::vector<std::vector<float>> gradients{}, weights{};
};

TEST(JoinedSteps, HaveGradientsThatIncludeLaterSteps) {
  const auto subject = bahdanau();
  Heard heard;
  InputTape tape;
  subject->differentiate(tape, &heard);
  ASSERT_EQ(heard.calls, 1);
  ASSERT_EQ(heard.gradients.size(), 4u);
  const auto changed = [&](int64_t query, int64_t key, float by) {
    Tensor added = Tensor::zeros({1, 6});
    added.mutable_data<float>()[key] = by;
    return subject->run(nullptr, {.scores = {{.layer = 0, .family = "cross", .query = query, .added = added}}}).y;
  };
  double largest = 0;
  for (int64_t query = 0; query < 4; ++query) {
    const auto &g = heard.gradients[static_cast<size_t>(query)], &p = heard.weights[static_cast<size_t>(query)];
    double mean = 0;
    for (size_t key = 0; key < 6; ++key) mean += static_cast<double>(p[key]) * static_cast<double>(g[key]);
    for (int64_t key = 0; key < 6; ++key) {
      const auto at = static_cast<size_t>(key);
      const double analytic = static_cast<double>(p[at]) * (static_cast<double>(g[at]) - mean);  // with respect to a score
      EXPECT_NEAR((changed(query, key, 0.05F) - changed(query, key, -0.05F)) / 0.1, analytic, 2e-4 + 0.01 * std::abs(analytic))
          << "row " << query << " key " << key;
      largest = std::max(largest, query < 3 ? std::abs(analytic) : 0.0);
    }
  }
  EXPECT_GT(largest, 2e-3) << "for rows that act through later states";
}

TEST(JoinedSteps, AllowEveryApplicableAttributionMethod) {
  const auto subject = bahdanau();
  for (const char* name : {"attention", "attention-gradient", "relevance", "gradient-input", "occlusion"}) {
    const Method& method = method_named(name);
    const std::vector<double> shares = attribute(*subject, method);
    EXPECT_EQ(shares.size(), subject->items().size());
    EXPECT_TRUE(std::any_of(shares.begin(), shares.end(), [](double share) { return share != 0; })) << name;
  }
  const Trace trace = trace_with_gradients(*subject, {});
  Heard heard;
  InputTape tape;
  subject->differentiate(tape, &heard);
  EXPECT_EQ(trace.map("cross", 0).with(GradientLook::kGradient).row(0, 6 + 2).weights()[3], heard.gradients[2][3]);
}

}  // namespace
}  // namespace clearhead::explain
