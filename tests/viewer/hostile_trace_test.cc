// Traces with wrong numbers: valid files of each kind, with one number of their metadata at a time set to each extreme value. A trace that
// loads can be used by every request. ASan shows out-of-bounds accesses, UBSan overflows.
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "clearhead/atlas.h"
#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "io/safetensors.h"
#include "item_traces.h"
#include "numbers.h"
#include "random_tensor.h"
#include "viewer/questions/atlas.h"
#include "viewer/questions/info.h"
#include "viewer/questions/lines.h"
#include "viewer/questions/mass.h"
#include "viewer/questions/text.h"
#include "viewer/questions/tiles.h"

namespace clearhead::viewer {
namespace {

constexpr int64_t kHeads = 2, kKeyHeads = 1, kWidth = 4, kTokens = 12;

RunPlan plan_of(int64_t tokens) {
  RunPlan plan;
  plan.model = "test";
  plan.families = {{.name = "dec",
                    .layers = 1,
                    .heads = kHeads,
                    .key_heads = kKeyHeads,
                    .d_k = kWidth,
                    .queries = tokens,
                    .keys = tokens,
                    .causal = true}};
  for (int64_t i = 0; i < tokens; ++i) {
    const int64_t begin = static_cast<int64_t>(plan.text.text.size());
    plan.text.text += "w" + std::to_string(i % 5) + " ";
    plan.text.ids.push_back(static_cast<int32_t>(i % 5));
    plan.text.offsets.push_back({begin, begin + 2});
    plan.text.special.push_back(0);
    plan.text.pieces.push_back("w");
  }
  plan.text.segments = {{"first", "document", 0, tokens / 2}};
  return plan;
}

KeyNorms norms_of(int64_t tokens) { return {random_tensor({1, kKeyHeads, tokens}, 5), random_tensor({1, kHeads, tokens}, 6)}; }

AttentionRecord record_of(int64_t tokens, const AttentionSpec& spec, uint32_t seed = 1) {
  return attend(random_tensor({1, kHeads, tokens, kWidth}, seed), random_tensor({1, kKeyHeads, tokens, kWidth}, seed + 1),
                random_tensor({1, kKeyHeads, tokens, kWidth}, seed + 2), spec)
      .record;
}

Trace trace_of(RunPlan plan, const AttentionSpec& spec, TraceOptions options) {
  Trace trace(std::move(options));
  const int64_t tokens = plan.families[0].queries;
  trace.begin(plan);
  if (trace.wants({"dec", 0, 0})) trace.take({"dec", 0, 0}, record_of(tokens, spec), norms_of(tokens));
  return trace;
}

Trace windowed() {
  const auto window = [](uint32_t seed) {
    Trace trace;
    trace.begin(plan_of(8));
    trace.take({"dec", 0, 0}, record_of(8, {}, seed), norms_of(8));
    return trace;
  };
  const Trace a = window(1), b = window(7);
  std::vector<int64_t> early(8), late(8);
  std::iota(early.begin(), early.end(), 0);
  std::iota(late.begin(), late.end(), 4);
  return Trace::from_windows(plan_of(kTokens), {{&a, early, {0, 6}}, {&b, late, {2, 8}}});
}

Trace of_a_part() {
  RunPlan plan = plan_of(kTokens);
  plan.families[0].is_part = true;
  plan.families[0].queries = plan.families[0].keys = 5;
  plan.families[0].first_query = plan.families[0].first_key = 7;
  return trace_of(std::move(plan), {.topology = causal()}, {});
}

Trace generated() {
  Trace trace;
  RunPlan plan = plan_of(8);
  trace.begin(plan);
  const AttentionSpec spec{.topology = causal()};
  const Tensor q = random_tensor({1, kHeads, 10, kWidth}, 1), k = random_tensor({1, kKeyHeads, 10, kWidth}, 2),
               v = random_tensor({1, kKeyHeads, 10, kWidth}, 3);
  trace.take({"dec", 0, 0}, attend(q.slice(2, 0, 8), k.slice(2, 0, 8), v.slice(2, 0, 8), spec).record, norms_of(8));
  for (int step = 1; step <= 2; ++step) {
    const int64_t n = 8 + step;
    trace.generated({.id = 1, .piece = "w", .bytes = "w1 ", .probability = 0.5f});
    trace.take({"dec", 0, step}, attend(q.slice(2, n - 1, n), k.slice(2, 0, n), v.slice(2, 0, n), spec).record, norms_of(1));
  }
  return trace;
}

std::vector<Trace> valid_traces() {
  std::vector<Trace> out;
  AttentionSpec all{.terms = {Alibi{random_tensor({kHeads}, 9)}, SoftCap{20}}, .topology = causal(6)};
  all.topology.band.offset = 1;
  out.push_back(trace_of(plan_of(kTokens), all, {}));
  TraceOptions few{.budget_bytes = 68000, .tail = 3, .statistics_in_run = true};
  few.rows = {{1, 3}};
  out.push_back(trace_of(plan_of(kTokens), {}, {.statistics_in_run = true}));
  out.push_back(trace_of(plan_of(kTokens), {.topology = causal()}, few));  // watched rows, statistics of all rows
  out.push_back(windowed());
  out.push_back(of_a_part());
  out.push_back(generated());
  out.push_back(item_traces::memory());
  return out;
}

// Makes every request. Errors are valid results. Returns whether the trace loads.
bool look(const std::string& path) {
  std::shared_ptr<const Trace> trace;
  try {
    trace = std::make_shared<const Trace>(Trace::load(path));
  } catch (const Error&) {
    return false;
  }
  const auto allow_errors = [](const auto& action) {
    try {
      action();
    } catch (const Error&) {
    }
  };
  LoadedTrace loaded(trace, {});
  allow_errors([&] { (void)questions::info(loaded).dump(); });
  allow_errors([&] { (void)questions::text(loaded, 0).json(); });
  for (const MapFamily& family : trace->plan().families) {
    allow_errors([&] { head_atlas(*trace, family.name); });
    for (const int layer : trace->layers(family.name)) {
      const LayerMap map = trace->map(family.name, layer);
      allow_errors([&] { map.column(0, map.keys() - 1, {0, map.queries()}); });
      allow_errors([&] { map.tile(1, {.queries = {0, map.queries()}, .keys = {0, map.keys()}, .cells = {3, 2}}); });
      allow_errors([&] { map.mass({0, map.queries()}, {0, map.keys()}); });
      allow_errors([&] { map.reduce(atlas_request(first_tokens(trace->plan().text, map.keys()))); });
      for (int64_t query = 0; query < map.queries(); ++query) allow_errors([&] { map.row(0, query).top_k(3); });
      const HeadLook at{family.name, layer, 0, WeightKind::kOutput, SinkRule::kRenormalise};
      allow_errors([&] { questions::row(loaded, {.at = at, .ranges = {{0, 2}}}); });
      allow_errors([&] { questions::column(loaded, {.at = at, .ranges = {{0, 2}}}); });
      allow_errors([&] { questions::tile(loaded, {.at = at}); });
      allow_errors([&] { questions::overview(loaded, at, std::nullopt, [](ViewFrame) {}); });
      allow_errors([&] { questions::atlas(loaded, family.name, [](ViewFrame) {}); });
      allow_errors([&] { questions::mass(loaded, {.family = family.name, .rows = {{0, 2}}, .keys = {{0, 2}}}); });
    }
  }
  return true;
}

TEST(HostileTraces, TracesThatLoadWithExtremeNumbersServeEveryRequest) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("clearhead_hostile_" + std::to_string(::getpid()) + ".trace")).string();
  int64_t tried = 0, looked_at = 0;
  for (const Trace& valid : valid_traces()) {
    valid.save(path);
    EXPECT_TRUE(look(path));
    const io::SafeTensors file = io::SafeTensors::open(path);
    io::NamedTensors tensors;
    for (const std::string& name : file.names()) tensors.emplace_back(name, file.get(name).clone());
    const std::map<std::string, std::string> metadata = file.metadata();
    for (const char* which : {"plan", "layers"}) {
      const std::string& json = metadata.at(which);
      for (const std::string& edged : with_numbers_at_edges(json)) {
        std::map<std::string, std::string> changed = metadata;
        changed[which] = edged;
        SCOPED_TRACE(edged);
        io::write_safetensors(path, tensors, changed);
        looked_at += look(path);
        ++tried;
      }
    }
  }
  std::filesystem::remove(path);
  EXPECT_GT(tried, 1000);
  EXPECT_GT(looked_at, 100);
}

std::string refusal(const Trace& trace, const std::string& from, const std::string& to) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("clearhead_refused_" + std::to_string(::getpid()) + ".trace")).string();
  trace.save(path);
  const io::SafeTensors file = io::SafeTensors::open(path);
  io::NamedTensors tensors;
  for (const std::string& name : file.names()) tensors.emplace_back(name, file.get(name).clone());
  std::map<std::string, std::string> metadata = file.metadata();
  for (auto& [key, json] : metadata) {
    if (const size_t at = json.find(from); at != std::string::npos) json.replace(at, from.size(), to);
  }
  io::write_safetensors(path, tensors, metadata);
  std::string what = "loads";
  try {
    Trace::load(path);
  } catch (const Error& error) {
    what = error.what();
    what = what.substr(path.size() + 2);
  }
  std::filesystem::remove(path);
  return what;
}

TEST(HostileTraces, SumsThatOverflowAndPlansSmallerThanTheirFramesAreRefused) {
  EXPECT_EQ(refusal(valid_traces()[0], "\"first_query\":0", "\"first_query\":9223372036854775803"),
            "dec.0.frame0: first_query 9223372036854775803 and query_length 12 leave no room for its 12 rows, or are not inside the text "
            "of 12 tokens");
  EXPECT_EQ(refusal(windowed(), "\"keys\":12", "\"keys\":9"), "dec.0.frame1: lists key 9, but the map has 9 keys");
  EXPECT_EQ(refusal(windowed(), "\"queries\":12", "\"queries\":9"), "dec.0.frame1: its queries end at 12, but the map has 9");
}

}  // namespace
}  // namespace clearhead::viewer
