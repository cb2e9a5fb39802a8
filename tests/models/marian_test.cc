// Encoder-decoders: both stacks and the cross-attention against the library, with sources and targets padded separately; and steps with the
// cache against the whole run.
#include <gtest/gtest.h>

#include "golden.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

// Sources and targets of a golden: one pair without padding, or all pairs as padded batches.
struct Pairs {
  explicit Pairs(const Golden& of) : golden(of) {}
  Batch all(const std::string& prefix) const {
    const Tensor ids = golden.tensor(prefix == "source" ? "source_ids" : "input_ids");
    Batch out{.batch = ids.size(0), .length = ids.size(1)};
    for (int64_t index = 0; index < out.batch; ++index) {
      const std::vector<int32_t> row = golden.row(prefix == "source" ? "source_ids" : "input_ids", index);
      const std::vector<int32_t> mask = golden.row(prefix == "source" ? "source_mask" : "attention_mask", index);
      out.ids.insert(out.ids.end(), row.begin(), row.end());
      out.lengths.push_back(static_cast<int32_t>(std::count(mask.begin(), mask.end(), 1)));
    }
    return out;
  }
  Batch one(const std::string& prefix, int64_t index) const {
    const Batch whole = all(prefix);
    const auto begin = whole.ids.begin() + index * whole.length;
    const int64_t length = whole.lengths[static_cast<size_t>(index)];
    return {.batch = 1, .length = length, .ids = {begin, begin + length}};
  }
  const Golden& golden;
};

class MarianGolden : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Variants, MarianGolden, testing::Values("shared", "apart", "untied", "searched"), variant_name);

TEST_P(MarianGolden, HiddenStatesMapsAndLogitsMatchTransformers) {
  const Golden golden("marian", GetParam());
  const Pairs pairs(golden);
  const auto model = load(golden.directory, {.tokenizer = false});
  const RunResult together = model->run_from(pairs.all("source"), pairs.all("target"), {.all_hidden = true});
  for (int64_t index = 0; index < golden.sequences(); ++index) {
    SCOPED_TRACE("pair " + std::to_string(index));
    const Batch source = pairs.one("source", index), target = pairs.one("target", index);
    KeepAll kept;
    const RunResult alone = model->run_from(source, target, {.observer = &kept, .all_hidden = true});
    const auto expect_hidden = [&](const char* family, int64_t layers, const std::vector<Tensor>& one, const std::vector<Tensor>& all,
                                   int64_t length) {
      ASSERT_EQ(std::ssize(one), layers + 1) << family;
      for (size_t layer = 0; layer < one.size(); ++layer) {
        const Tensor expected = cut(golden.tensor(std::string(family) + ".hidden", static_cast<int64_t>(layer)), index, length);
        EXPECT_LE(difference(one[layer], expected), tolerance::kHidden) << family << " " << layer;
        EXPECT_LE(difference(cut(all[layer], index, length), expected), tolerance::kHidden) << "batched " << family << " " << layer;
      }
    };
    expect_hidden("enc", golden.facts.encoder->layers, alone.all_source_hidden, together.all_source_hidden, source.length);
    expect_hidden("dec", golden.facts.layers, alone.all_hidden, together.all_hidden, target.length);
    const Tensor expected = cut(golden.tensor("logits"), index, target.length);
    EXPECT_LE(difference(alone.causal_logits, expected), tolerance::kHidden);
    EXPECT_LE(difference(cut(together.causal_logits, index, target.length), expected), tolerance::kHidden) << "batched";
    ASSERT_EQ(static_cast<int64_t>(kept.taken.size()), golden.facts.encoder->layers + 2 * golden.facts.layers);
    for (const KeepAll::Taken& taken : kept.taken) {
      const Tensor map = golden.tensor(taken.site.family + ".attention", taken.site.layer);
      EXPECT_LE(map_difference(taken.record, map, index), tolerance::kMap) << taken.site.family << " " << taken.site.layer;
      EXPECT_EQ(taken.norms.output.size(2), taken.site.family == "dec" ? target.length : source.length);
    }
  }
}

TEST_P(MarianGolden, MapsFromGoldenQueriesAndKeysMatchTransformers) {
  const Golden golden("marian", GetParam());
  const Pairs pairs(golden);
  for (const std::string family : {"enc", "dec", "cross"}) {
    for (int64_t layer = 0; layer < (family == "enc" ? golden.facts.encoder->layers : golden.facts.layers); ++layer) {
      for (int64_t index = 0; index < golden.sequences(); ++index) {
        const int64_t sources = pairs.one("source", index).length, targets = pairs.one("target", index).length;
        const auto unpadded = [&](const char* name, int64_t length) {
          return golden.tensor(family + name, layer).slice(0, index, index + 1).slice(2, 0, length);
        };
        const Tensor q = unpadded(".q", family == "enc" ? sources : targets), k = unpadded(".k", family == "dec" ? targets : sources);
        AttentionSpec spec{.score = Dot{golden.tensor(family + ".scale", layer).data<float>()[0]}};
        if (family == "dec") spec.topology = causal();
        EXPECT_LE(map_difference(attend(q, k, k, spec).record, golden.tensor(family + ".attention", layer), index), tolerance::kMapOfGiven)
            << family << " " << layer;
      }
    }
  }
}

// A knockout in one family changes everything that depends on it and nothing before it. Steps over two targets at once give the same result
// as the whole run.
TEST(Marian, InterventionsApplyToTheNamedAttentionFamily) {
  const Golden golden("marian", "shared");
  const Pairs pairs(golden);
  const auto model = load(golden.directory, {.tokenizer = false});
  const Batch source = pairs.one("source", 0), target = pairs.one("target", 0);
  ASSERT_GE(target.length, 4);
  const Range places{2, 3}, keys{1, 2};
  const auto differs = [](const Tensor& a, const Tensor& b, int64_t token) {
    return difference(a.slice(1, token, token + 1), b.slice(1, token, token + 1)) > tolerance::kUnmoved;
  };
  const RunResult whole = model->run_from(source, target);
  const auto under = [&](const Interventions& interventions) { return model->run_from(source, target, {.interventions = interventions}); };
  const Interventions cross{.knockouts = {{.queries = places, .keys = keys, .family = "cross"}}};
  for (const Interventions& interventions : {cross, Interventions{.knockouts = {{.queries = places, .keys = keys, .family = "dec"}}}}) {
    const RunResult cut = under(interventions);
    EXPECT_EQ(difference(cut.source_hidden, whole.source_hidden), 0);
    for (int64_t token = 0; token < target.length; ++token)
      EXPECT_EQ(differs(cut.hidden, whole.hidden, token), token >= 2) << interventions.knockouts[0].family << " " << token;
  }
  const Interventions enc{.ablated = {{.layer = 1, .head = 0, .family = "enc"}}};
  EXPECT_GT(difference(under(enc).source_hidden, whole.source_hidden), tolerance::kUnmoved);
  const Interventions both{.ablated = enc.ablated, .knockouts = cross.knockouts};
  const Tensor logits = under(both).causal_logits;
  ModelCache cache = model->read(source, DType::kF32, both);
  cache.select({0, 0});
  for (int64_t begin = 0; begin < 4; begin += 2) {  // two tokens per step
    std::vector<int32_t> ids(target.ids.begin() + begin, target.ids.begin() + begin + 2);
    ids.insert(ids.end(), target.ids.begin() + begin, target.ids.begin() + begin + 2);
    const Tensor step = model->step(ids, cache, {.interventions = both}).causal_logits;
    for (const int64_t row : {0, 1})
      EXPECT_LE(difference(step.slice(0, row, row + 1), logits.slice(1, begin, begin + 2)), tolerance::kTwoWays) << begin;
  }
  const auto message = [&](const Interventions& interventions) { return error_of([&] { (void)under(interventions); }); };
  EXPECT_EQ(message({.ablated = {{0, 0}}}),
            "kInvalidArgument: an ablated head names no family; a model of type \"marian\" has the attention families enc, dec and cross");
  EXPECT_EQ(message({.knockouts = {{.queries = places, .keys = keys, .family = "deck"}}}),
            "kInvalidArgument: an attention knockout names family \"deck\"; a model of type \"marian\" has the attention families enc, "
            "dec and cross");
  EXPECT_EQ(message({.keep_only = {{.queries = places, .keys = keys, .layer = 9, .family = "cross"}}}),
            "kInvalidArgument: a keep-only names layer 9; this model's layers are 0 to 2");
}

// Two targets for each source, one token per step: rows of the batch share the keys of their source.
TEST_P(MarianGolden, StepsOverOneMemoryGiveTheLogitsOfTheWholeRun) {
  const Golden golden("marian", GetParam());
  const Pairs pairs(golden);
  const auto model = load(golden.directory, {.tokenizer = false});
  const Batch sources = pairs.all("source"), targets = pairs.all("target");
  ModelCache cache = model->read(sources);
  cache.select({0, 0, 1, 1, 2, 2});
  for (int64_t step = 0; step < 4; ++step) {
    std::vector<int32_t> ids;
    for (int64_t row = 0; row < 2 * sources.batch; ++row)
      ids.push_back(targets.ids[static_cast<size_t>(row / 2 * targets.length + step + row % 2)]);
    const Tensor logits = model->step(ids, cache).causal_logits;
    for (int64_t row = 0; row < 2 * sources.batch; ++row) {
      const auto begin = targets.ids.begin() + row / 2 * targets.length + row % 2;
      const Tensor whole =
          model->run_from(pairs.one("source", row / 2), {.batch = 1, .length = step + 1, .ids = {begin, begin + step + 1}}).causal_logits;
      EXPECT_LE(difference(logits.slice(0, row, row + 1), whole.slice(1, step, step + 1)), tolerance::kTwoWays)
          << "row " << row << ", step " << step;
    }
  }
}

TEST(Marian, UnsupportedConfigsAndMissingSourcesAreRefusedByName) {
  EXPECT_EQ(refusal_of("marian", "shared", R"({"normalize_before": true})"),
            "config.json: \"normalize_before\": true is not supported; expected false (model: marian)");
  EXPECT_EQ(refusal_of("marian", "shared", R"({"is_encoder_decoder": false})"),
            "config.json: \"is_encoder_decoder\": false is not supported; expected true (model: marian)");
  EXPECT_NE(refusal_of("marian", "shared", R"({"decoder_vocab_size": 60})")
                .find("it must equal vocab_size, because share_encoder_decoder_embeddings is true"),
            std::string::npos);
  EXPECT_NE(refusal_of("marian", "shared", R"({"decoder_attention_heads": 5})").find("it does not divide d_model 24"), std::string::npos);
  EXPECT_NE(refusal_of("marian", "shared", R"({"decoder_start_token_id": 61})").find("outside the vocabulary"), std::string::npos);
  const auto model = load(golden_directory("marian", "shared"), {.tokenizer = false});
  expect_refused(ErrorCode::kInvalidArgument, "needs a source to read", [&] {
    (void)model->run(std::vector<int32_t>{5, 6});
  });  // no source
  expect_refused(ErrorCode::kShape, "1 targets for 2 sources", [&] {
    (void)model->run_from({.batch = 2, .length = 1, .ids = {5, 6}}, {.batch = 1, .length = 1, .ids = {5}});
  });
}

}  // namespace
}  // namespace clearhead
