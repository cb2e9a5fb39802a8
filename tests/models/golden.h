// Goldens of the model families (tools/goldens/golden_files.py names every tensor), and the comparison with them that all families share.
//
// The bounds are those of tolerance.h, relative to the float64 run of the original library.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "clearhead/model.h"
#include "io/safetensors.h"
#include "largest.h"
#include "models/architecture.h"
#include "tolerance.h"

namespace clearhead {

inline std::string golden_directory(const std::string& family, const std::string& variant) {
  return std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/" + family + "/" + variant;
}

inline std::string variant_name(const testing::TestParamInfo<const char*>& info) { return info.param; }

inline Json golden_config(const std::string& family, const std::string& variant) {
  return Json::parse(read_file(golden_directory(family, variant) + "/config.json"), "config.json");
}

/// The error message of reading the variant's config.json with the fields of `changes` set; empty if it is read.
inline std::string refusal_of(const std::string& family, const std::string& variant, const std::string& changes) {
  Json config = golden_config(family, variant);
  const Json changed = Json::parse(changes, "changes");
  for (const auto& [name, value] : changed.fields()) config[name] = value;
  try {
    read_architecture(config, "config.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// Keeps every record of a run. Records share the run's tensors.
class KeepAll : public Observer {
 public:
  struct Taken {
    Site site{};
    AttentionRecord record{};
    KeyNorms norms{};
  };
  void begin(const RunPlan& plan) override { plans.push_back(plan); }
  bool wants(const Site&) override { return true; }
  void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override { taken.push_back({site, record, norms}); }
  void generated(const GeneratedToken& token) override { tokens.push_back(token); }

  std::vector<RunPlan> plans{};
  std::vector<Taken> taken{};
  std::vector<GeneratedToken> tokens{};
};

class Golden {
 public:
  Golden(const std::string& family, const std::string& variant)
      : directory(golden_directory(family, variant)),
        facts(read_architecture(golden_config(family, variant), directory + "/config.json")),
        tensors_(io::SafeTensors::open(directory + "/golden.safetensors")) {
    EXPECT_GT(sequences() * facts.layers, 0) << directory << ": nothing to compare";
  }

  Tensor tensor(const std::string& name) const { return tensors_.get(name); }
  Tensor tensor(const std::string& name, int64_t layer) const { return tensors_.get(name + "." + std::to_string(layer)); }
  bool has(const std::string& name) const { return tensors_.contains(name); }

  int64_t sequences() const { return tensor("input_ids").size(0); }
  /// One sequence without its padding.
  Batch sequence(int64_t index) const {
    Batch batch;
    batch.batch = 1;
    batch.ids = row("input_ids", index);
    if (has("attention_mask")) {
      const std::vector<int32_t> mask = row("attention_mask", index);
      batch.ids.resize(static_cast<size_t>(std::count(mask.begin(), mask.end(), 1)));
    }
    batch.length = static_cast<int64_t>(batch.ids.size());
    if (has("token_type_ids")) {
      batch.type_ids = row("token_type_ids", index);
      batch.type_ids.resize(batch.ids.size());
    }
    return batch;
  }
  /// All sequences as one padded batch.
  Batch all() const {
    Batch batch;
    batch.batch = sequences();
    batch.length = tensor("input_ids").size(1);
    for (int64_t index = 0; index < batch.batch; ++index) {
      const auto append = [&](std::vector<int32_t>& to, const std::string& name) {
        const std::vector<int32_t> values = row(name, index);
        to.insert(to.end(), values.begin(), values.end());
      };
      append(batch.ids, "input_ids");
      if (has("token_type_ids")) append(batch.type_ids, "token_type_ids");
      batch.lengths.push_back(static_cast<int32_t>(sequence(index).length));
    }
    return batch;
  }
  std::vector<int32_t> row(const std::string& name, int64_t index) const {
    const Tensor values = tensor(name).select(0, index).contiguous();
    return {values.data<int32_t>(), values.data<int32_t>() + values.numel()};
  }

  const std::string directory;
  const Architecture facts;

 private:
  io::SafeTensors tensors_;
};

/// The largest difference between two tensors of the same shape, divided by max(1, largest magnitude of `expected`).
inline double difference(const Tensor& actual, const Tensor& expected) {
  EXPECT_EQ(to_string(actual.shape()), to_string(expected.shape()));
  if (actual.shape() != expected.shape()) return INFINITY;
  const Tensor a = actual.contiguous(), b = expected.contiguous();
  return largest_difference(a.data<float>(), b.data<float>(), a.numel()) / std::max(1.0, largest_magnitude(b.data<float>(), b.numel()));
}

/// The first `length` tokens of sequence `index` of a golden tensor [batch, length, …].
inline Tensor cut(const Tensor& golden, int64_t index, int64_t length) { return golden.slice(0, index, index + 1).slice(1, 0, length); }

/// The largest |P − golden| over all heads of one layer of one sequence.
inline double map_difference(const AttentionRecord& record, const Tensor& golden, int64_t index) {
  const AttentionMap map(record);
  Largest largest;
  const AttentionShape shape = map.shape();
  for (int64_t head = 0; head < shape.heads; ++head) {
    const MapHead of_head = map.head(0, head);
    for (int64_t query = 0; query < shape.queries; ++query) {
      const std::vector<float> row = of_head.row(query).weights();
      const Tensor expected = golden.select(0, index).select(0, head).select(0, query);
      for (int64_t key = 0; key < shape.keys; ++key) {
        const double there = static_cast<double>(expected.data<float>()[key * expected.stride(0)]);
        largest.add(static_cast<double>(row[static_cast<size_t>(key)]) - there);
      }
    }
  }
  return largest.value();
}

/// Expects that the golden's own Q and K give the maps of `output_attentions`.
inline void expect_maps_of_given_queries(const std::string& family, const std::string& variant) {
  const Golden golden(family, variant);
  for (int64_t layer = 0; layer < golden.facts.layers; ++layer) {
    const AttentionFacts& facts = golden.facts.attention_of(layer);
    AttentionSpec spec;
    spec.score = Dot{golden.tensor("scale", layer).data<float>()[0]};
    if (facts.causal) spec.topology = causal(facts.window ? std::optional(*facts.window - 1) : std::nullopt);
    for (int64_t index = 0; index < golden.sequences(); ++index) {
      const int64_t length = golden.sequence(index).length;
      const auto unpadded = [&](const char* name) { return golden.tensor(name, layer).slice(0, index, index + 1).slice(2, 0, length); };
      const Tensor q = unpadded("q"), k = unpadded("k");
      EXPECT_LE(map_difference(attend(q, k, k, spec).record, golden.tensor("attention", layer), index), tolerance::kMapOfGiven)
          << variant << ", layer " << layer;
    }
  }
}

/// Runs every sequence of a golden alone, then all of them as one padded batch, and compares every tensor of the golden.
inline void expect_golden(const std::string& family, const std::string& variant) {
  const Golden golden(family, variant);
  const auto model = load(golden.directory, {.tokenizer = false});
  const auto logits_of = [](const RunResult& result) {
    for (const Tensor& logits : {result.causal_logits, result.masked_logits, result.class_logits}) {
      if (logits.defined()) return logits;
    }
    return Tensor();
  };
  const bool per_token = golden.has("logits") && golden.tensor("logits").rank() == 3;
  const RunResult together = model->run(golden.all(), {.all_hidden = true});
  for (int64_t index = 0; index < golden.sequences(); ++index) {
    const Batch tokens = golden.sequence(index);
    KeepAll kept;
    const RunResult alone = model->run(tokens, {.observer = &kept, .all_hidden = true});
    ASSERT_EQ(static_cast<int64_t>(kept.taken.size()), golden.facts.layers);
    for (int64_t layer = 0; layer <= golden.facts.layers; ++layer) {
      const Tensor expected = cut(golden.tensor("hidden", layer), index, tokens.length);
      EXPECT_LE(difference(alone.all_hidden[static_cast<size_t>(layer)], expected), tolerance::kHidden) << "hidden state " << layer;
      EXPECT_LE(difference(cut(together.all_hidden[static_cast<size_t>(layer)], index, tokens.length), expected), tolerance::kHidden)
          << "batched, " << layer;
      EXPECT_LE(difference(cut(together.all_hidden[static_cast<size_t>(layer)], index, tokens.length),
                           alone.all_hidden[static_cast<size_t>(layer)]),
                tolerance::kTwoWays)
          << "batched and alone, " << layer;
    }
    for (int64_t layer = 0; layer < golden.facts.layers; ++layer) {
      EXPECT_LE(map_difference(kept.taken[static_cast<size_t>(layer)].record, golden.tensor("attention", layer), index), tolerance::kMap)
          << "map " << layer;
    }
    if (golden.has("logits")) {
      const Tensor all = golden.tensor("logits");
      const Tensor expected = per_token ? cut(all, index, tokens.length) : all.slice(0, index, index + 1);
      ASSERT_TRUE(logits_of(alone).defined()) << "the model has no head that gives logits";
      EXPECT_LE(difference(logits_of(alone), expected), tolerance::kHidden) << "logits";
      const Tensor all_batched = logits_of(together);
      const Tensor batched = per_token ? cut(all_batched, index, tokens.length) : all_batched.slice(0, index, index + 1);
      EXPECT_LE(difference(batched, expected), tolerance::kHidden) << "batched logits";
      EXPECT_LE(difference(batched, logits_of(alone)), tolerance::kTwoWays) << "batched and alone";
    }
    if (golden.has("pooled")) {
      EXPECT_LE(difference(alone.pooled, golden.tensor("pooled").slice(0, index, index + 1)), tolerance::kHidden) << "pooled";
    }
    if (golden.has("seq_relationship_logits")) {
      EXPECT_LE(difference(alone.next_sentence_logits, golden.tensor("seq_relationship_logits").slice(0, index, index + 1)),
                tolerance::kHidden)
          << "next sentence";
    }
  }
}

/// Continues every sequence greedily with Model::step. Compares the tokens with the golden's, up to the first step that is decided by less
/// than kGreedyMargin.
inline void expect_greedy(const std::string& family, const std::string& variant) {
  const Golden golden(family, variant);
  const auto model = load(golden.directory, {.tokenizer = false});
  int64_t compared = 0;
  for (int64_t index = 0; index < golden.sequences(); ++index) {
    const std::vector<int32_t> expected = golden.row("greedy", index);
    const Tensor margins = golden.tensor("greedy_margin").select(0, index).contiguous();
    ModelCache cache;
    std::vector<int32_t> next = golden.sequence(index).ids;
    for (size_t step = 0; step < expected.size() && static_cast<double>(margins.data<float>()[step]) > tolerance::kGreedyMargin; ++step) {
      const Tensor logits = model->step(next, cache, {.last_logits_only = true}).causal_logits.contiguous();
      const float* begin = logits.data<float>();
      next = {static_cast<int32_t>(std::max_element(begin, begin + logits.numel()) - begin)};
      ASSERT_EQ(next[0], expected[step]) << "sequence " << index << ", step " << step;
      ++compared;
    }
  }
  EXPECT_GT(compared, 0) << variant << ": no step has the required margin";
}

}  // namespace clearhead
