// Generation: greedy tokens against the library, records and maps of the steps, stops, and log-probabilities.
#include "clearhead/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "clearhead/tokenizer.h"
#include "clearhead/trace.h"
#include "io/safetensors.h"
#include "largest.h"
#include "models/golden.h"
#include "models/known_answers.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

std::shared_ptr<const Model> tiny(const std::string& family, const std::string& variant) {
  return load(golden_directory(family, variant), {.tokenizer = false});
}

std::shared_ptr<const Model> known_model(int64_t context = 2) {
  const auto directory = std::filesystem::temp_directory_path() / ("clearhead-generate-" + std::to_string(context));
  write_known_model(directory.string(), KnownCausal{.context = context});
  return load(directory.string());
}

class GenerateGolden : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(GenerateGolden, GreedyTokensMatchTransformers) {
  const auto [family, variant] = GetParam();
  const Golden golden(family, variant);
  const auto model = load(golden.directory, {.tokenizer = false});
  for (int64_t index = 0; index < golden.sequences(); ++index) {
    std::vector<int32_t> expected = golden.row("greedy", index);
    const Tensor margins = golden.tensor("greedy_margin").select(0, index).contiguous();
    size_t decided = 0;
    while (decided < expected.size() && static_cast<double>(margins.data<float>()[decided]) > tolerance::kGreedyMargin) ++decided;
    ASSERT_GT(decided, 0U);
    expected.resize(decided);
    const Generated made =
        generate(*model, golden.sequence(index).ids, {.max_tokens = static_cast<int64_t>(decided), .stop_ids = std::vector<int32_t>{}});
    EXPECT_EQ(made.ids, expected);
    EXPECT_EQ(made.reason, StopReason::kMaxTokens);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GenerateGolden,
                         testing::Values(std::pair("gpt2", "plain"), std::pair("gpt2", "flags"), std::pair("gpt2", "unscaled"),
                                         std::pair("gpt2", "sharded"), std::pair("gpt2", "f16"), std::pair("llama", "gqa"),
                                         std::pair("llama", "biases"), std::pair("llama", "linear"), std::pair("llama", "llama3"),
                                         std::pair("llama", "llama3_older"), std::pair("llama", "bf16"), std::pair("llama", "mistral"),
                                         std::pair("llama", "qwen2")),
                         [](const auto& of) { return std::string(of.param.first) + "_" + of.param.second; });

TEST(Generate, AModelOfKnownAnswersCopiesTheNeedle) {
  const auto model = known_model();
  const KnownText known = make_known_text(2000, 8);
  const Generated made = generate(*model, model->tokenizer().encode(known.text), {.max_tokens = 32, .stop_texts = {">"}});
  EXPECT_EQ(made.text + ">", known.answer_text);
  EXPECT_EQ(made.reason, StopReason::kStopText);
  ASSERT_EQ(made.tokens.size(), known.answer_text.size());
  for (const GeneratedToken& token : made.tokens) EXPECT_GT(token.probability, 0.999F);
}

TEST(Generate, AWiderContextCopiesWordsThatShareTheirLastTwoBytes) {
  const std::string text = "red hat. bad mat, old cat; red h";  // "at" has three continuations, every four bytes have one
  const auto continued = [&](int64_t context) {
    const auto model = known_model(context);
    return generate(*model, model->tokenizer().encode(text), {.max_tokens = 22}).text;
  };
  EXPECT_EQ(continued(4), "at. bad mat, old cat; ");
  EXPECT_NE(continued(2), "at. bad mat, old cat; ");
}

/// The keys of a one-page cache as one tensor [1, key_head, key, d_k].
Tensor unpaged(const PagedKV& paged) {
  const Tensor& panels = paged.pages.at(0).at(0)->keys;
  Tensor keys = Tensor::empty({1, paged.key_heads, paged.length, paged.d_k});
  float* to = keys.mutable_data<float>();
  for (int64_t head = 0; head < paged.key_heads; ++head) {
    for (int64_t key = 0; key < paged.length; ++key) {
      for (int64_t c = 0; c < paged.d_k; ++c) {
        const Tensor panel = panels.select(0, head).select(0, key / KVPage::kPanel).select(0, c);
        *to++ = panel.data<float>()[key % KVPage::kPanel];
      }
    }
  }
  return keys;
}

/// The records of one layer, step by step.
std::vector<AttentionRecord> of_layer(const KeepAll& kept, int layer) {
  std::vector<AttentionRecord> records;
  for (const KeepAll::Taken& taken : kept.taken) {
    if (taken.site.layer != layer) continue;
    EXPECT_EQ(taken.site.step, static_cast<int64_t>(records.size()));
    records.push_back(taken.record);
  }
  return records;
}

/// The queries of all steps, concatenated: [1, head, position, d_k].
Tensor queries_of(const std::vector<AttentionRecord>& records) {
  const AttentionRecord& last = records.back();
  const int64_t heads = last.q.size(1), d = last.q.size(3);
  Tensor out = Tensor::empty({1, heads, key_length(last.keys), d});
  float* to = out.mutable_data<float>();
  for (int64_t head = 0; head < heads; ++head) {
    for (const AttentionRecord& record : records) {
      const Tensor rows = record.q.select(0, 0).select(0, head).contiguous();
      std::memcpy(to, rows.data<float>(), rows.bytes());
      to += rows.numel();
    }
  }
  return out;
}

TEST(Generate, TheRecordOfEveryStepIsTheRowOfOnePrefill) {
  for (const auto& [family, variant] : {std::pair("gpt2", "flags"), std::pair("llama", "llama3"), std::pair("llama", "mistral")}) {
    const Golden golden(family, variant);
    const auto model = load(golden.directory, {.tokenizer = false});
    KeepAll kept;
    GenerateOptions options{.max_tokens = 9, .stop_ids = std::vector<int32_t>{}};
    options.run.observer = &kept;
    const std::vector<int32_t> prompt = golden.sequence(0).ids;
    generate(*model, prompt, options);
    ASSERT_EQ(kept.plans.size(), 1U);
    ASSERT_EQ(kept.tokens.size(), 9U);
    for (int layer = 0; layer < golden.facts.layers; ++layer) {
      const std::vector<AttentionRecord> records = of_layer(kept, layer);
      ASSERT_EQ(records.size(), 9U);
      ASSERT_EQ(key_length(records.back().keys), static_cast<int64_t>(prompt.size()) + 8);
      const Tensor keys = unpaged(std::get<PagedKV>(records.back().keys));
      const AttentionMap whole(attend(queries_of(records), keys, keys, records.back().spec).record);
      for (const AttentionRecord& record : records) {
        const AttentionMap map(record);
        const int64_t row = record.query_length - 1;
        for (int64_t head = 0; head < map.shape().heads; ++head) {
          const MapRow of_step = map.head(0, head).row(row), of_whole = whole.head(0, head).row(record.position_of(row));
          ASSERT_EQ(std::ssize(of_step.scores()), key_length(record.keys));
          for (size_t key = 0; key < of_step.scores().size(); ++key) {
            EXPECT_EQ(of_step.scores()[key], of_whole.scores()[key]) << variant << " layer " << layer << " key " << key;
            EXPECT_NEAR(of_step.weights()[key], of_whole.weights()[key], tolerance::kDecodeWeight);
          }
        }
      }
    }
  }
}

TEST(Generate, MapsOfTheStepsAreThoseOfARunOverTheWholeText) {
  const Golden golden("llama", "gqa");
  const auto model = load(golden.directory, {.tokenizer = false});
  KeepAll steps, whole;
  GenerateOptions options{.max_tokens = 7, .stop_ids = std::vector<int32_t>{}};
  options.run.observer = &steps;
  std::vector<int32_t> ids = golden.sequence(1).ids;
  const Generated made = generate(*model, ids, options);
  ids.insert(ids.end(), made.ids.begin(), made.ids.end() - 1);
  model->run(ids, {.observer = &whole});
  ASSERT_EQ(std::ssize(steps.taken), 7 * golden.facts.layers);
  for (const KeepAll::Taken& taken : steps.taken) {
    const AttentionMap of_step(taken.record), of_whole(whole.taken[static_cast<size_t>(taken.site.layer)].record);
    const int64_t row = taken.record.query_length - 1;
    for (int64_t head = 0; head < of_step.shape().heads; ++head) {
      const std::vector<float> found = of_step.head(0, head).row(row).weights(),
                               expected = of_whole.head(0, head).row(taken.record.position_of(row)).weights();
      for (size_t key = 0; key < found.size(); ++key) EXPECT_NEAR(found[key], expected[key], tolerance::kTwoWays);
    }
  }
}

/// llama/mistral, whose window is 5 tokens, with enough positions for long texts.
std::shared_ptr<const Model> long_mistral() {
  const auto folder = std::filesystem::temp_directory_path() / "clearhead-generate-mistral";
  std::filesystem::remove_all(folder);
  std::filesystem::copy(golden_directory("llama", "mistral"), folder);
  Json config = golden_config("llama", "mistral");
  config["max_position_embeddings"] = int64_t{4096};
  write_file((folder / "config.json").string(), config.dump());
  return load(folder.string(), {.tokenizer = false});
}

int64_t pages_held(const ModelCache& cache) {
  int64_t count = 0;
  for (const KVCache& layer : cache.layers) {
    for (const auto& page : layer.snapshot().pages[0]) count += page != nullptr;
  }
  return count;
}

TEST(Generate, ASlidingWindowKeepsAFixedNumberOfPages) {
  const auto model = long_mistral();
  KeepAll watched;  // keeps all keys of its layers
  GenerateOptions options{.max_tokens = 700, .stop_ids = std::vector<int32_t>{}};
  const std::vector<int32_t> sliding = generate(*model, {7, 8, 9}, options).ids;
  options.run.observer = &watched;
  ASSERT_EQ(sliding.size(), 700U);
  EXPECT_EQ(generate(*model, {7, 8, 9}, options).ids, sliding);
  EXPECT_EQ(std::get<PagedKV>(watched.taken.back().record.keys).first, 0);
  ModelCache cache;
  std::vector<int32_t> next = {7, 8, 9};
  for (const int32_t expected : sliding) {
    const Tensor logits = model->step(next, cache, {.last_logits_only = true}).causal_logits;
    next = {static_cast<int32_t>(std::max_element(logits.data<float>(), logits.data<float>() + logits.numel()) - logits.data<float>())};
    ASSERT_EQ(next[0], expected);
    ASSERT_LE(pages_held(cache), 2 * model->info().layers);
  }
  ModelCache beam = cache;  // a shared prefix: each copy continues on its own
  const Tensor of_beam = model->step({1}, beam, {}).causal_logits, of_other = model->step({2}, cache, {}).causal_logits;
  ModelCache alone;
  std::vector<int32_t> text = {7, 8, 9};
  text.insert(text.end(), sliding.begin(), sliding.end() - 1);
  text.push_back(1);
  const Tensor of_text = model->step(text, alone, {.last_logits_only = true}).causal_logits;
  for (int64_t i = 0; i < of_text.numel(); ++i) EXPECT_NEAR(of_beam.data<float>()[i], of_text.data<float>()[i], tolerance::kBeamLogits);
  EXPECT_FALSE(std::equal(of_beam.data<float>(), of_beam.data<float>() + of_beam.numel(), of_other.data<float>()));
}

// Rounded keys and values change the logits a little but measurably, bf16 more than f16. A trace keeps the values that the kernels read.
TEST(Generate, A16BitCacheStaysNearF32AndIsTracedExactly) {
  const auto model = tiny("llama", "gqa");
  const auto logits = [&](DType dtype) {
    ModelCache cache{.dtype = dtype};
    (void)model->step({3, 1, 4, 1, 5, 9, 2, 6}, cache, {});
    EXPECT_EQ(cache.layers[0].dtype(), dtype);
    return model->step({5}, cache, {}).causal_logits;
  };
  const Tensor exact = logits(DType::kF32);
  const double largest = largest_magnitude(exact.data<float>(), exact.numel());
  double before = 0;
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const Tensor found = logits(dtype);
    const double off = largest_difference(found.data<float>(), exact.data<float>(), exact.numel());
    EXPECT_GT(off, before) << to_string(dtype);
    EXPECT_LT(off, 0.02 * largest) << to_string(dtype);
    before = off;
  }
  Trace trace;
  GenerateOptions options{.max_tokens = 5, .stop_ids = std::vector<int32_t>{}, .cache = DType::kBF16};
  options.run.observer = &trace;
  generate(*model, {3, 1, 4, 1, 5}, options);
  const auto path = std::filesystem::temp_directory_path() / "clearhead-generate-bf16.trace";
  trace.save(path.string());
  const Trace loaded = Trace::load(path.string());
  EXPECT_EQ(io::SafeTensors::open(path.string()).get("dec.0.k").dtype(), DType::kBF16);
  for (const int64_t row : {0, 4, 8}) EXPECT_EQ(loaded.map(0).row(1, row).weights(), trace.map(0).row(1, row).weights());
}

TEST(Generate, SampledTokensAreEqualForEqualSeeds) {
  const auto model = tiny("gpt2", "plain");
  const auto made = [&](uint64_t seed) {
    return generate(*model, {7, 8, 9}, {.max_tokens = 20, .sampling = Sampling{.seed = seed}, .stop_ids = std::vector<int32_t>{}}).ids;
  };
  EXPECT_EQ(made(3), made(3));
  EXPECT_NE(made(3), made(4));
}

TEST(Generate, StopsAtTheModelsEndToken) {
  const auto model = tiny("gpt2", "plain");
  EXPECT_EQ(end_tokens(*model), std::vector<int32_t>{0});
  const std::vector<int32_t> free = generate(*model, {7, 8, 9}, {.max_tokens = 6, .stop_ids = std::vector<int32_t>{}}).ids;
  const Generated made = generate(*model, {7, 8, 9}, {.max_tokens = 6, .stop_ids = {{free[2]}}});
  EXPECT_EQ(made.reason, StopReason::kStopToken);
  EXPECT_EQ(made.ids.back(), free[2]);
}

TEST(Generate, CutsTheTextBeforeAStopTextThatSpansTokens) {
  const auto model = known_model();
  const Generated made = generate(*model, model->tokenizer().encode("abcdefghij abc"), {.max_tokens = 9, .stop_texts = {"zz", "fgh"}});
  EXPECT_EQ(made.reason, StopReason::kStopText);
  EXPECT_EQ(made.text, "de");
  EXPECT_EQ(made.ids, (std::vector<int32_t>{'d', 'e', 'f', 'g', 'h'}));
}

TEST(Generate, StopsWhereThePositionsEnd) {
  const auto model = tiny("gpt2", "plain");  // 40 positions
  const Generated made = generate(*model, std::vector<int32_t>(38, 5), {.max_tokens = 50, .stop_ids = std::vector<int32_t>{}});
  EXPECT_EQ(made.reason, StopReason::kPositions);
  EXPECT_EQ(made.ids.size(), 3U);  // from rows 37, 38 and 39
  expect_refused(ErrorCode::kTooLong, "the text has 41 tokens, but the model supports 40 positions",
                 [&] { generate(*model, std::vector<int32_t>(41, 5), {}); });
}

TEST(Generate, StreamsTokensAndEndsWhenToldTo) {
  const auto model = known_model();
  std::string streamed;
  std::vector<int64_t> indices;
  GenerateOptions options{.max_tokens = 10};
  options.on_token = [&](const GenerationStep& step) {
    streamed += step.text;
    indices.push_back(step.index);
    return step.index < 4;
  };
  const Generated made = generate(*model, model->tokenizer().encode("abcdefghij abc"), options);
  EXPECT_EQ(made.reason, StopReason::kCallback);
  EXPECT_EQ(streamed, "defgh");
  EXPECT_EQ(made.text, "defgh");
  EXPECT_EQ(indices, (std::vector<int64_t>{0, 1, 2, 3, 4}));
}

TEST(Generate, CancelKeepsWhatWasMade) {
  const auto model = tiny("gpt2", "plain");
  std::atomic<bool> cancel = false;
  GenerateOptions options{.max_tokens = 20, .stop_ids = std::vector<int32_t>{}};
  options.cancel = &cancel;
  options.on_token = [&](const GenerationStep& step) {
    cancel = step.index == 2;
    return true;
  };
  const Generated made = generate(*model, {7, 8, 9}, options);
  EXPECT_EQ(made.reason, StopReason::kCancelled);
  EXPECT_EQ(made.ids.size(), 3U);
}

TEST(Generate, RefusesInvalidPromptsOptionsAndModels) {
  const auto message = [](const std::function<void()>& body) -> std::string {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const auto model = tiny("gpt2", "plain");
  EXPECT_EQ(message([&] { generate(*model, std::vector<int32_t>{}); }), "the prompt has no tokens: there is nothing to continue");
  EXPECT_EQ(message([&] { generate(*model, {5}, {.max_tokens = -1}); }), "max_tokens: expected 0 or more, found -1");
  EXPECT_EQ(message([&] { generate(*model, {5}, {.stop_texts = {""}}); }), "stop_texts: an empty text would end every generation at once");
  const auto encoder = tiny("bert", "mlm");
  EXPECT_NE(message([&] { generate(*encoder, {5}); }).find("a model of type \"bert\" without a causal head cannot generate text"),
            std::string::npos);
}

// Longer than one chunk of the pass: chunk boundaries must not change the result.
TEST(LogProbabilities, AreTheLogSoftmaxOfAWholeRunAtEveryToken) {
  const auto model = known_model();
  const std::vector<int32_t> ids = model->tokenizer().encode(make_known_text(20000, 3).text).ids;
  const std::vector<float> found = log_probabilities(*model, ids);
  ASSERT_EQ(found.size() + 1, ids.size());
  const Tensor logits = model->run(ids).causal_logits;
  for (size_t at = 0; at < found.size(); ++at) {
    const float* row = logits.data<float>() + at * 256;
    double sum = 0;
    Largest magnitude;
    for (int c = 0; c < 256; ++c) {
      sum += std::exp(static_cast<double>(row[c]));
      magnitude.add(static_cast<double>(row[c]));
    }
    // A logit and the logarithm of the sum, each within kTwoWays times the row's magnitude.
    const double allowed = 2 * tolerance::kTwoWays * std::max(1.0, magnitude.value());
    ASSERT_NEAR(static_cast<double>(found[at]), static_cast<double>(row[ids[at + 1]]) - std::log(sum), allowed)
        << at << " of " << magnitude.value();
  }
}

TEST(LogProbabilities, MatchAWholeRunForAWindowedModelWithAnAblatedHead) {
  const auto model = tiny("llama", "mistral");
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 40; ++i) ids.push_back(static_cast<int32_t>(i * 7 % model->info().vocabulary));
  const Interventions interventions{.ablated = {{.layer = 1, .head = 0}}};
  const std::vector<float> whole = log_probabilities(*model, ids), cut = log_probabilities(*model, ids, interventions);
  const Tensor logits = model->run(ids, {.interventions = interventions}).causal_logits;
  const int64_t classes = logits.size(2);
  Largest difference;
  for (size_t at = 0; at + 1 < ids.size(); ++at) {
    const float* row = logits.data<float>() + static_cast<int64_t>(at) * classes;
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += std::exp(static_cast<double>(row[c]));
    ASSERT_NEAR(static_cast<double>(cut[at]), static_cast<double>(row[ids[at + 1]]) - std::log(sum), tolerance::kLogProbability) << at;
    difference.add(static_cast<double>(cut[at] - whole[at]));
  }
  EXPECT_GT(difference.value(), tolerance::kLogProbability);
}

TEST(LogProbabilities, OfAModelWithoutACausalHeadAreRefused) {
  expect_refused(ErrorCode::kUnsupported, "cannot predict next tokens", [&] { log_probabilities(*tiny("bert", "mlm"), {1, 2, 3}); });
  EXPECT_TRUE(log_probabilities(*tiny("llama", "gqa"), {1}).empty());
}

}  // namespace
}  // namespace clearhead
