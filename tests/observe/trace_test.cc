// Trace: what it keeps, budgets, the trace file, generated steps, windows, and the heads that an atlas names.
#include "clearhead/trace.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <tuple>

#include "base/file.h"
#include "clearhead/atlas.h"
#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "largest.h"
#include "random_tensor.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr int64_t kHeads = 4, kKeyHeads = 2, kWidth = 16;

RunPlan plan_of(int64_t tokens, int layers = 2) {
  RunPlan plan;
  plan.model = "test";
  plan.families = {{.name = "dec",
                    .layers = layers,
                    .heads = kHeads,
                    .key_heads = kKeyHeads,
                    .d_k = kWidth,
                    .queries = tokens,
                    .keys = tokens,
                    .causal = true}};
  for (int64_t i = 0; i < tokens; ++i) {
    const std::string word = "w" + std::to_string(i % 7) + " ";
    const int64_t begin = static_cast<int64_t>(plan.text.text.size());
    plan.text.text += word;
    plan.text.ids.push_back(static_cast<int32_t>(i % 7));
    plan.text.offsets.push_back({begin, begin + 2});
    plan.text.special.push_back(0);
    plan.text.pieces.push_back(word);
  }
  plan.text.segments = {{"first", "document", 0, tokens / 2}};
  return plan;
}

struct Case {
  Tensor q, k, v;
  AttentionRecord record;
};

Case causal_case(int64_t tokens, uint32_t seed, DType dtype = DType::kF32) {
  Case out{to_dtype(random_tensor({1, kHeads, tokens, kWidth}, seed), dtype),
           to_dtype(random_tensor({1, kKeyHeads, tokens, kWidth}, seed + 1), dtype),
           to_dtype(random_tensor({1, kKeyHeads, tokens, kWidth}, seed + 2), dtype),
           {}};
  const RuleTable slopes = table(random_tensor({kHeads}, seed + 4));
  AttentionSpec spec{.terms = {Alibi{random_tensor({kHeads}, seed + 3)}, SoftCap{20},
                               rule([&](auto s, auto at) { return s - slopes(at.head) * log(1 + at.query - at.key); })},
                     .topology = causal()};
  spec.topology.visible = visible([](auto at) { return at.query - at.key < 100 || at.key < 3; });
  out.record = attend(out.q, out.k, out.v, spec).record;
  return out;
}

Trace trace_of(const Case& data, int64_t tokens, TraceOptions options = {}) {
  Trace trace(std::move(options));
  trace.begin(plan_of(tokens));
  const KeyNorms norms{random_tensor({1, kKeyHeads, tokens}, 5), random_tensor({1, kHeads, tokens}, 6)};
  for (int layer = 0; layer < 2; ++layer) {
    if (trace.wants({"dec", layer, 0})) trace.take({"dec", layer, 0}, data.record, norms);
  }
  return trace;
}

std::string temporary(const std::string& name) {
  return (std::filesystem::temp_directory_path() / ("clearhead_" + std::to_string(::getpid()) + "_" + name)).string();
}

TEST(Trace, RowsEqualTheMapsRowsBeforeAndAfterSaving) {
  const Case data = causal_case(70, 1);
  const Trace trace = trace_of(data, 70);
  const std::string path = temporary("row.trace");
  trace.save(path);
  const Trace loaded = Trace::load(path);
  std::filesystem::remove(path);
  const std::vector<float> expected = AttentionMap(data.record).head(0, 3).row(50).weights();
  EXPECT_EQ(trace.map(1).row(3, 50).weights(), expected);
  EXPECT_EQ(loaded.map(1).row(3, 50).weights(), expected);
  EXPECT_EQ(loaded.id(), trace.id());
  EXPECT_EQ(loaded.plan().text.text, trace.plan().text.text);
  EXPECT_EQ(loaded.plan().text.segments[0].name, "first");
  EXPECT_EQ(loaded.norms("dec", 0).output.data<float>()[69], trace.norms("dec", 0).output.data<float>()[69]);
}

// All rows, and watched rows in several frames, before and after the file: the gradients are
// those of the record that the backward pass used.
TEST(Trace, GradientsAreKeptWithTheRowsAndSurviveSaveAndLoad) {
  constexpr int64_t kTokens = 300;
  const Case data = causal_case(kTokens, 1);
  const OutputGradient gradient{random_tensor({1, kHeads, kTokens, kWidth}, 31), data.v};
  const GradientMap expected(data.record, gradient, GradientLook::kNegative);
  TraceOptions all{.gradients_of = "the answer"}, some = all;
  const TraceSize needed = Trace::size_of(plan_of(kTokens), all);
  EXPECT_GT(needed.keys + needed.queries, Trace::size_of(plan_of(kTokens), {}).keys + Trace::size_of(plan_of(kTokens), {}).queries);
  some.budget_bytes = needed.keys + needed.queries + needed.statistics - 1;
  some.tail = 40;
  some.rows = {{100, 120}};
  for (const TraceOptions& options : {all, some}) {
    Trace trace = trace_of(data, kTokens, options);
    EXPECT_THROW(trace.map(1).with(GradientLook::kProduct), Error);  // before the backward pass
    ASSERT_TRUE(trace.wants_gradient({"dec", 1, 0}));
    for (int layer = 0; layer < 2; ++layer) trace.take_gradient({"dec", layer, 0}, data.record, gradient);
    const std::string path = temporary("gradients.trace");
    trace.save(path);
    const Trace loaded = Trace::load(path);
    std::filesystem::remove(path);
    EXPECT_EQ(loaded.gradients_of(), "the answer");
    EXPECT_EQ(trace.map(1).frames().size(), options.rows.empty() ? 1u : 2u);
    for (const LayerMap& map : {trace.map(1).with(GradientLook::kNegative), loaded.map(1).with(GradientLook::kNegative)}) {
      for (const int64_t query : {110, 299}) {
        const std::vector<float> row = expected.row(0, 3, query);
        EXPECT_EQ(map.row(3, query).weights(), row);
        const auto most = std::max_element(row.begin(), row.end());
        EXPECT_EQ(map.row(3, query).top_k(1)[0].key, most - row.begin());
        EXPECT_EQ(map.column(3, 20, {query, query + 1})[0], row[20]);
        const int64_t first = query - 60;  // all visible
        const Tile tile = map.tile(3, {.queries = {query, query + 1}, .keys = {first, query}, .cell_side = 30});
        EXPECT_EQ(tile.max.data<float>()[0], *std::max_element(row.begin() + first, row.begin() + first + 30));
        EXPECT_EQ(tile.max.data<float>()[1], *std::max_element(row.begin() + first + 30, row.begin() + query));
      }
      EXPECT_THROW(map.mass({0, 1}, {0, 1}), Error);
      EXPECT_THROW(map.reduce({}), Error);
    }
  }
  EXPECT_FALSE(Trace().wants_gradient({"dec", 1, 0}));
}

TEST(Trace, SixteenBitQueriesAndKeysKeepTheirDtypeWhenSaved) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const Case data = causal_case(70, 5, dtype);
    const std::string path = temporary("narrow.trace");
    trace_of(data, 70).save(path);
    const Trace loaded = Trace::load(path);
    std::filesystem::remove(path);
    const AttentionRecord record = loaded.map(1).frames()[0].record;
    EXPECT_EQ(record.stamp.dtype, dtype);
    EXPECT_EQ(std::get<Tensor>(record.keys).dtype(), dtype);
    EXPECT_EQ(loaded.map(1).row(3, 50).weights(), AttentionMap(data.record).head(0, 3).row(50).weights());
  }
}

TEST(Trace, WeightsAsUsedSurviveSaveAndLoad) {
  Case data = causal_case(70, 5, DType::kBF16);
  data.record.rows.used = data.record.rows.l.clone();  // the sum that a kernel with P in bf16 would record
  const std::string path = temporary("used.trace");
  trace_of(data, 70).save(path);
  const Trace loaded = Trace::load(path);
  std::filesystem::remove(path);
  const std::vector<float> expected = AttentionMap(data.record).with(LookPrecision::kAsUsed).head(0, 3).row(50).weights();
  EXPECT_NE(expected, AttentionMap(data.record).head(0, 3).row(50).weights());
  EXPECT_EQ(AttentionMap(loaded.map(1).frames()[0].record).with(LookPrecision::kAsUsed).head(0, 3).row(50).weights(), expected);
}

TEST(Trace, NormalisersDropoutMasksAndGaussiansSurviveSaveAndLoad) {
  for (const Normaliser& normaliser : {Normaliser(Sparsemax{}), Normaliser(Entmax15{}), Normaliser(Sigmoid{-1}),
                                       Normaliser(Hard{.choice = Hard::Choice::kSampled, .seed = 4}), Normaliser(LinearAttention{})}) {
    Case data = causal_case(40, 21);
    AttentionSpec spec = data.record.spec;
    spec.normaliser = normaliser;
    spec.after.dropout = Dropout{.rate = 0.5f, .seed = 8};
    spec.after.head_mask = Tensor::from<float>({1, 2, 0, 1}, {4});
    spec.after.gaussian = LocalGaussian{.centres = random_tensor({1, 1, 40}, 3), .sigma = 30};
    data.record = attend(data.q, data.k, data.v, spec).record;
    const std::string path = temporary("normaliser.trace");
    trace_of(data, 40).save(path);
    const Trace loaded = Trace::load(path);
    std::filesystem::remove(path);
    const AttentionMap expected(data.record), found(loaded.map(1).frames()[0].record);
    int64_t differ = 0;
    for (int64_t query = 0; query < 40; ++query) {
      const std::vector<float> before = expected.head(0, 3).row(query).weights(), after = expected.after().head(0, 3).row(query).weights();
      EXPECT_EQ(found.head(0, 3).row(query).weights(), before);
      EXPECT_EQ(found.after().head(0, 3).row(query).weights(), after);
      EXPECT_EQ(loaded.map(1).row(3, query).weights(), before);
      differ += before != after;
      EXPECT_EQ(expected.after().head(0, 2).row(query).weights(), std::vector<float>(40, 0)) << "a knocked-out head";
    }
    EXPECT_GT(differ, 20);
    EXPECT_NE(expected.after().reduce({received}).received.data<float>()[3], expected.reduce({received}).received.data<float>()[3]);
    EXPECT_EQ(expected.after().mass({30, 40}, {0, 40}).data<float>()[2], 0);
  }
}

TEST(Trace, ChangingTheModelsTensorsAfterwardsChangesNothingInIt) {
  Case data = causal_case(20, 2);
  const Trace trace = trace_of(data, 20);
  const std::vector<float> before = trace.map(0).row(0, 19).weights();
  data.k.mutable_data<float>()[0] += 1;
  EXPECT_EQ(trace.map(0).row(0, 19).weights(), before);
}

TEST(Trace, BeyondTheBudgetItKeepsWatchedRowsAndTheStatisticsOfAll) {
  const int64_t tokens = 3000;
  const Case data = causal_case(tokens, 3);
  TraceOptions options;
  options.rows = {{100, 110}};
  const TraceSize all = Trace::size_of(plan_of(tokens), options);
  options.budget_bytes = all.keys + all.queries + all.statistics - 1;
  const Trace trace = trace_of(data, tokens, options);
  const LayerMap map = trace.map(0);
  ASSERT_EQ(map.rows_kept().size(), 2u);
  EXPECT_EQ(map.rows_kept()[0].begin, 100);
  EXPECT_EQ(map.rows_kept()[1].begin, tokens - 1024);
  const AttentionMap whole(data.record);
  EXPECT_EQ(map.row(1, 105).weights(), whole.head(0, 1).row(105).weights());
  EXPECT_EQ(map.row(1, tokens - 1).weights(), whole.head(0, 1).row(tokens - 1).weights());
  EXPECT_TRUE(trace.has_statistics("dec", 0));
  EXPECT_EQ(trace.statistics("dec", 0).entropy.size(2), tokens);
  try {
    map.row(0, 50);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_STREQ(error.what(), "map: the query vector of token 50 was not kept; trace again with --rows 50:51, or with a larger --budget");
  }
  const std::string path = temporary("watched.trace");
  trace.save(path);
  const Trace loaded = Trace::load(path);
  std::filesystem::remove(path);
  EXPECT_EQ(loaded.map(0).row(1, 105).weights(), map.row(1, 105).weights());
  EXPECT_EQ(loaded.statistics("dec", 0).entropy.data<float>()[7], trace.statistics("dec", 0).entropy.data<float>()[7]);
}

TEST(Trace, RefusesATraceOverBudgetBeforeTheRun) {
  Trace trace({.budget_bytes = 100'000});
  try {
    trace.begin(plan_of(3000));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBudget);
    EXPECT_NE(std::string(error.what()).find("--budget"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("--layers"), std::string::npos);
  }
}

TEST(Trace, UnselectedLayersAreRefusedWithTheOptionThatKeepsThem) {
  const Trace trace = trace_of(causal_case(20, 4), 20, {.layers = {1}});
  EXPECT_EQ(trace.layers("dec"), std::vector<int>{1});
  expect_refused(ErrorCode::kNotFound, "layer 0 was not kept; trace again and include it in --layers", [&] { trace.map(0); });
}

TEST(Trace, GeneratedStepsJoinThePrefillIntoOneMap) {
  const int64_t prefill = 300, steps = 5;
  const Case all = causal_case(prefill + steps, 7);
  const AttentionSpec& spec = all.record.spec;
  KVCache cache;
  Trace trace;
  trace.begin(plan_of(prefill, 1));
  for (int64_t step = 0; step <= steps; ++step) {
    const int64_t begin = step == 0 ? 0 : prefill + step - 1, end = prefill + step;
    cache.append(all.k.slice(2, begin, end), all.v.slice(2, begin, end));
    const Attended done = attend(all.q.slice(2, begin, end), cache.snapshot(), spec);
    trace.take({"dec", 0, step}, done.record, {random_tensor({1, kKeyHeads, end - begin}, 8), {}});
    if (step > 0) trace.generated({1, "t", "t", 0.5f});
  }
  const LayerMap map = trace.map(0);
  ASSERT_EQ(map.queries(), prefill + steps);
  EXPECT_TRUE(map.whole());
  const AttentionMap whole(all.record);
  for (const int64_t query : {int64_t{0}, prefill - 1, prefill, prefill + steps - 1}) {
    const MapRow got = map.row(2, query), expected = whole.head(0, 2).row(query);
    for (int64_t j = 0; j < map.keys(); ++j) {
      EXPECT_EQ(got.scores()[j], expected.scores()[j]) << query << " " << j;
      EXPECT_NEAR(got.weights()[j], expected.weights()[j], tolerance::kDecodeWeight * static_cast<double>(expected.weights()[j]));
    }
  }
  EXPECT_EQ(trace.norms("dec", 0).value.size(2), prefill + steps);
  EXPECT_EQ(trace.plan().text.ids.size(), static_cast<size_t>(prefill + steps));
}

// In bf16, whether a call rounds the weights that multiply values depends on its number of queries.
TEST(Trace, FramesSeparateRowsWithRoundedWeightsFromOthers) {
  const std::vector<int64_t> ends = {300, 305, 306, 307, 310, 311};
  const Case all = causal_case(ends.back(), 7);
  const auto narrow = [](const Tensor& t) { return to_dtype(t, DType::kBF16); };
  KVCache cache(DType::kBF16);
  Trace trace;
  trace.begin(plan_of(ends[0], 1));
  std::vector<AttentionRecord> pieces;
  for (size_t piece = 0; piece < ends.size(); ++piece) {
    const int64_t begin = piece == 0 ? 0 : ends[piece - 1], end = ends[piece];
    cache.append(all.k.slice(2, begin, end), all.v.slice(2, begin, end));
    pieces.push_back(attend(narrow(all.q.slice(2, begin, end)), cache.snapshot(), all.record.spec).record);
    trace.take({"dec", 0, static_cast<int64_t>(piece)}, pieces.back(), {random_tensor({1, kKeyHeads, end - begin}, 8), {}});
    for (int64_t i = begin; piece > 0 && i < end; ++i) trace.generated({1, "t", "t", 0.5f});
  }
  const LayerMap map = trace.map(0);
  int64_t next = 0;
  for (const Frame& frame : map.frames()) {
    ASSERT_EQ(frame.queries.begin, next);
    next = frame.queries.end;
    for (int64_t query = frame.queries.begin; query < frame.queries.end; ++query) {
      size_t piece = 0;
      while (ends[piece] <= query) ++piece;
      const RowStats &kept = frame.record.rows, &given = pieces[piece].rows;
      ASSERT_EQ(kept.used.defined(), given.used.defined()) << query;
      const int64_t first = piece == 0 ? 0 : ends[piece - 1];
      const auto same = [&](const Tensor& a, const Tensor& b) {
        return a.slice(2, query - frame.queries.begin, query - frame.queries.begin + 1).clone().data<float>()[2] ==
               b.slice(2, query - first, query - first + 1).clone().data<float>()[2];
      };
      ASSERT_TRUE(same(kept.m, given.m) && same(kept.l, given.l)) << query;
      ASSERT_TRUE(!kept.used.defined() || same(kept.used, given.used)) << query;
      if (query % 50 != 0 && query < 300) continue;
      const MapRow got = map.row(2, query), expected = AttentionMap(pieces[piece]).head(0, 2).row(query - first);
      for (int64_t j = 0; j <= query; ++j) ASSERT_EQ(got.weights()[j], expected.weights()[j]) << query << " " << j;
    }
  }
  EXPECT_EQ(next, ends.back());
}

TEST(LayerMap, TilesMassesAndSweepsOfFramesAgreeWithTheWholeMap) {
  const int64_t tokens = 130;
  const Case data = causal_case(tokens, 9);
  const Trace trace = trace_of(data, tokens);
  Frame upper = trace.map(0).frames()[0], lower = upper;
  const auto cut = [&](Frame& frame, int64_t begin, int64_t end) {
    frame.queries = {begin, end};
    frame.record.q = frame.record.q.slice(2, begin, end);
    frame.record.rows = {frame.record.rows.m.slice(2, begin, end).clone(), frame.record.rows.l.slice(2, begin, end).clone()};
    frame.record.first_query = begin;
    frame.record.stamp = stamp_now(frame.record.spec, frame.record.q, frame.record.keys, frame.record.stamp.isa);
  };
  cut(upper, 0, 61);
  cut(lower, 61, tokens);
  const LayerMap frames({lower, upper}, tokens, tokens), whole = trace.map(0);
  const TileRequest request{.queries = {3, 127}, .keys = {0, 101}, .cells = {13, 17}};
  const Tensor got = frames.tile(1, request).mean, expected = whole.tile(1, request).mean;
  ASSERT_EQ(got.shape(), (Shape{13, 17}));
  for (int64_t i = 0; i < got.numel(); ++i) {
    if (std::isnan(expected.data<float>()[i])) {
      EXPECT_TRUE(std::isnan(got.data<float>()[i]));
    } else {
      EXPECT_NEAR(got.data<float>()[i], expected.data<float>()[i], tolerance::kDecodeWeight);
    }
  }
  EXPECT_NEAR(frames.mass({50, 70}, {10, 40})[2], whole.mass({50, 70}, {10, 40})[2], tolerance::kDecodeWeight);
  ReductionRequest statistics = atlas_request(trace.plan().text);
  statistics.top_k = 3;
  const ReductionResult a = frames.reduce(statistics), b = whole.reduce(statistics);
  const auto apart = [](const Tensor& one, const Tensor& other) {
    return largest_difference(one.data<float>(), other.data<float>(), other.numel());
  };
  EXPECT_LE(apart(a.received, b.received), tolerance::kTraceReceived);
  EXPECT_LE(apart(a.matches, b.matches), tolerance::kTraceMatches);
  EXPECT_LE(apart(a.offsets, b.offsets), tolerance::kTraceOffsets);
  ASSERT_EQ(a.top_keys.shape(), (Shape{1, kHeads, tokens, 3}));
  for (int64_t i = 0; i < a.top_keys.numel(); ++i) {
    EXPECT_EQ(a.top_keys.data<int32_t>()[i], b.top_keys.data<int32_t>()[i]) << i;
    EXPECT_EQ(a.top_weights.data<float>()[i], b.top_weights.data<float>()[i]) << i;
  }
}

TEST(Trace, WindowsFormBlocksAndUnscoredPairsAreMarked) {
  const Case first = causal_case(10, 11), second = causal_case(10, 12);
  const auto window = [](const Case& data) {
    Trace trace;
    trace.begin(plan_of(10, 1));
    trace.take({"dec", 0, 0}, data.record, {random_tensor({1, kKeyHeads, 10}, 1), {}});
    return trace;
  };
  const Trace a = window(first), b = window(second);
  std::vector<int64_t> early(10), late(10);
  for (int64_t i = 0; i < 10; ++i) {
    early[static_cast<size_t>(i)] = i;
    late[static_cast<size_t>(i)] = i + 6;
  }
  const Trace whole = Trace::from_windows(plan_of(16, 1), {{&a, early, {0, 8}}, {&b, late, {2, 10}}});
  const LayerMap map = whole.map(0);
  EXPECT_EQ(map.row(0, 7).weights()[3], AttentionMap(first.record).head(0, 0).row(7).weights()[3]);
  EXPECT_EQ(map.row(0, 8).weights()[7], AttentionMap(second.record).head(0, 0).row(2).weights()[1]);
  EXPECT_TRUE(std::isnan(map.row(0, 8).weights()[5]));
  const Tensor cells = map.tile(0, {.queries = {0, 16}, .keys = {0, 16}}).max;
  EXPECT_EQ(cells.data<float>()[8 * 16 + 5], -1.0f);
  EXPECT_TRUE(std::isnan(cells.data<float>()[7 * 16 + 8]));
}

// plan_of(12) ends with the tokens 1, 2, 3, 4.
TEST(Trace, DeclaredGeneratedTokensEndTheTextAndSurviveSaveAndLoad) {
  const Case data = causal_case(12, 3);
  Trace trace = trace_of(data, 12);
  const std::string text = trace.plan().text.text;
  trace.set_generated({{3, "w3 ", "w3", 0.25f}, {4, "w4 ", "w4", 0.5f}});
  const std::string path = temporary("generated.trace");
  trace.save(path);
  const Trace loaded = Trace::load(path);
  std::filesystem::remove(path);
  for (const Trace* one : {static_cast<const Trace*>(&trace), &loaded}) {
    EXPECT_EQ(one->plan().text.text, text);  // nothing is appended, unlike with generated()
    EXPECT_EQ(one->plan().text.ids.size(), 12U);
    ASSERT_EQ(one->generated_tokens().size(), 2U);
    const GeneratedToken &before = one->generated_tokens()[0], &last = one->generated_tokens()[1];
    EXPECT_EQ(std::tie(before.id, before.piece, before.bytes, before.probability), std::tuple(3, "w3 ", "w3", 0.25f));
    EXPECT_EQ(std::tie(last.id, last.piece, last.bytes, last.probability), std::tuple(4, "w4 ", "w4", 0.5f));
    EXPECT_EQ(one->map(0).row(1, 11).weights(), AttentionMap(data.record).head(0, 1).row(11).weights());
  }
}

TEST(Trace, GeneratedTokensThatTheTextDoesNotEndInAreRefused) {
  Trace trace = trace_of(causal_case(12, 3), 12);
  trace.set_generated({{4, "w4 ", "w4", 0.5f}});
  expect_refused(ErrorCode::kInvalidArgument, "trace: generated token 1 has id 3; token 11 of the text has id 4", [&] {
    trace.set_generated({{.id = 3}, {.id = 3}});
  });
  expect_refused(ErrorCode::kInvalidArgument, "trace: there are 13 generated tokens, but the text has 12",
                 [&] { trace.set_generated(std::vector<GeneratedToken>(13)); });
  ASSERT_EQ(trace.generated_tokens().size(), 1U);  // a refused call changes nothing
  EXPECT_EQ(trace.generated_tokens()[0].id, 4);
  trace.begin(plan_of(12));
  EXPECT_TRUE(trace.generated_tokens().empty());  // they belonged to another run
}

TEST(Trace, AFileWithMismatchedGeneratedTokensIsRefused) {
  Trace trace = trace_of(causal_case(12, 3), 12);
  trace.set_generated({{4, "w4 ", "w4", 0.5f}});
  const std::string path = temporary("not-generated.trace");
  trace.save(path);
  std::string bytes = read_file(path);
  const std::string field = "\\\"generated\\\":[{\\\"id\\\":";
  const size_t at = bytes.find(field);
  ASSERT_NE(at, std::string::npos);
  ASSERT_EQ(bytes[at + field.size()], '4');
  bytes[at + field.size()] = '5';
  write_file(path, bytes);
  expect_refused(ErrorCode::kFormat, "plan.generated: token 0 has id 5; token 11 of the text has id 4", [&] { Trace::load(path); });
  std::filesystem::remove(path);
}

TEST(Trace, ModuleNamesSurviveSaveLoadAndMergingOfWindows) {
  const Case data = causal_case(12, 3);
  Trace trace = trace_of(data, 12);
  trace.set_module("dec", 1, "model.layers.1.self_attn");
  const std::string path = temporary("modules.trace");
  trace.save(path);
  const Trace loaded = Trace::load(path);
  std::filesystem::remove(path);
  const std::vector<int64_t> tokens{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const Trace windows = Trace::from_windows(plan_of(12), {{&trace, tokens, {0, 8}}, {&loaded, tokens, {8, 12}}});
  for (const Trace* one : {static_cast<const Trace*>(&trace), &loaded, &windows}) {
    EXPECT_EQ(one->module_of("dec", 0), "");
    EXPECT_EQ(one->module_of("dec", 1), "model.layers.1.self_attn");
    EXPECT_EQ(one->map(1).row(1, 11).weights(), AttentionMap(data.record).head(0, 1).row(11).weights());
  }
  Trace some = trace_of(data, 12, {.layers = {1}});
  expect_refused(ErrorCode::kNotFound, "trace: layer 0 was not kept", [&] { some.set_module("dec", 0, "model.layers.0.self_attn"); });
  expect_refused(ErrorCode::kNotFound, "trace: layer 0 was not kept", [&] { (void)some.module_of("dec", 0); });
}

TEST(Trace, GarbledFilesAreRefusedWithTheFieldThatIsWrong) {
  const std::string path = temporary("garbled.trace");
  trace_of(causal_case(12, 13), 12).save(path);
  std::string bytes = read_file(path);
  const size_t at = bytes.find("\\\"queries\\\":[0,12]");
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, 18, "\\\"queries\\\":[0,13]");
  write_file(path, bytes);
  try {
    Trace::load(path);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              path + ": dec.0.frame0: queries [0, 13) do not match its 12 rows, or are not inside the text of 12 tokens");
  }
  std::filesystem::remove(path);
}

TEST(Trace, ARowOfASparseNormaliserWhoseThresholdIsAboveItsScoresIsRefused) {
  Case data = causal_case(12, 13);
  AttentionSpec spec = data.record.spec;
  spec.normaliser = Sparsemax{};
  data.record = attend(data.q, data.k, data.v, spec).record;
  data.record.rows.l = data.record.rows.l.clone();
  data.record.rows.l.mutable_data<float>()[5] = 0.25F;
  const std::string path = temporary("sparse.trace");
  trace_of(data, 12).save(path);
  expect_refused(ErrorCode::kFormat, path + ": dec.0.frame0.l: a row of a sparse normaliser has its threshold above its largest score",
                 [&] { Trace::load(path); });
  std::filesystem::remove(path);
}

TEST(Trace, StatisticsOfRowsOutsideTheTextAreRefused) {
  const std::string path = temporary("rows.trace");
  TraceOptions options;
  options.statistics_in_run = true;
  trace_of(causal_case(12, 13), 12, options).save(path);
  ASSERT_TRUE(Trace::load(path).has_statistics("dec", 0));
  std::string bytes = read_file(path);
  const std::vector<int64_t> rows{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const size_t at = bytes.find(std::string(reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(int64_t)));
  ASSERT_NE(at, std::string::npos);
  bytes[at + 11 * sizeof(int64_t) + 3] = 1;  // changes the last row to 2^24 + 11
  write_file(path, bytes);
  try {
    Trace::load(path);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), path + ": dec.0.statistics_rows: expected ascending rows of the map");
  }
  std::filesystem::remove(path);
}

TEST(Atlas, NamesPlantedHeads) {
  // q and k are built so that head 0 attends to the previous token, head 1 to the successors of
  // equal tokens, head 2 to itself, head 3 to all tokens.
  const int64_t tokens = 56;
  const RunPlan plan = plan_of(tokens, 1);
  Tensor q = Tensor::zeros({1, kHeads, tokens, 64}), k = Tensor::zeros({1, kHeads, tokens, 64});
  const auto one_hot = [&](Tensor& tensor, int64_t head, int64_t token, int64_t at) {
    if (at >= 0) tensor.mutable_data<float>()[(head * tokens + token) * 64 + at] = 30;
  };
  for (int64_t i = 0; i < tokens; ++i) {
    one_hot(q, 0, i, i - 1);
    one_hot(k, 0, i, i);
    one_hot(q, 1, i, plan.text.ids[static_cast<size_t>(i)]);
    one_hot(k, 1, i, i > 0 ? plan.text.ids[static_cast<size_t>(i - 1)] : -1);
    one_hot(q, 2, i, i);
    one_hot(k, 2, i, i);
  }
  const AttentionRecord record = attend(q, k, k, {.topology = causal()}).record;
  const std::vector<HeadScores> heads =
      head_scores(AttentionMap(record).reduce(atlas_request(plan.text)), plan.text, {.name = "dec", .heads = kHeads, .causal = true}, 0);
  EXPECT_EQ(heads[0].kind, "previous");
  EXPECT_GT(heads[0][HeadScore::kPrevious], 0.99f);
  EXPECT_EQ(heads[1].kind, "induction");
  EXPECT_GT(heads[1][HeadScore::kInduction], 0.99f);
  EXPECT_EQ(heads[2].kind, "self");
  EXPECT_EQ(heads[3].kind, "broad");
  EXPECT_NEAR(heads[3][HeadScore::kBroad], 1.0f, tolerance::kMass);
}

}  // namespace
}  // namespace clearhead
