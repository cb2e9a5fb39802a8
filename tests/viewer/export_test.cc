// The offline page: what it contains within its budget, and exported numbers.
#include "viewer/export.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "generate/trace_of.h"
#include "io/npy.h"
#include "looked_at.h"
#include "refused.h"
#include "tolerance.h"
#include "viewer/bundle.h"
#include "viewer/questions/mass.h"
#include "viewer/side_by_side.h"

namespace clearhead::viewer {
namespace {

using looked_at::array_of;

// SHA-256 (FIPS 180-4) in base64, the form in which a content security policy lists allowed code.
std::string sha256_base64(std::string_view text) {
  static constexpr uint32_t kRound[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
      0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
      0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
      0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
      0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
      0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
  std::array<uint32_t, 8> h{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::string bytes(text);
  bytes += '\x80';
  while (bytes.size() % 64 != 56) bytes += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>((text.size() * 8) >> shift & 255);
  const auto byte = [&](size_t at) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[at])); };
  for (size_t block = 0; block < bytes.size(); block += 64) {
    std::array<uint32_t, 64> w{};
    for (size_t i = 0; i < 16; ++i)
      w[i] = byte(block + 4 * i) << 24 | byte(block + 4 * i + 1) << 16 | byte(block + 4 * i + 2) << 8 | byte(block + 4 * i + 3);
    for (size_t i = 16; i < 64; ++i) {
      const uint32_t a = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
      const uint32_t b = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
      w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    std::array<uint32_t, 8> v = h;
    for (size_t i = 0; i < 64; ++i) {
      const uint32_t s1 = std::rotr(v[4], 6) ^ std::rotr(v[4], 11) ^ std::rotr(v[4], 25), choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
      const uint32_t one = v[7] + s1 + choice + kRound[i] + w[i];
      const uint32_t s0 = std::rotr(v[0], 2) ^ std::rotr(v[0], 13) ^ std::rotr(v[0], 22),
                     most = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
      v = {one + s0 + most, v[0], v[1], v[2], v[3] + one, v[4], v[5], v[6]};
    }
    for (size_t i = 0; i < 8; ++i) h[i] += v[i];
  }
  static const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < 33; at += 3) {
    uint32_t three = 0;
    for (size_t i = at; i < at + 3; ++i) three = three << 8 | (i < 32 ? h[i / 4] >> (24 - 8 * (i % 4)) & 255 : 0);
    for (size_t i = 0; i < 4; ++i) out += at + i > 32 ? '=' : letters[three >> (18 - 6 * i) & 63];
  }
  return out;
}

// The contents of a page as a browser would read them.
struct ReadPage {
  Json manifest{};
  std::string html{};

  explicit ReadPage(std::string text, size_t at = 0) : html(std::move(text)) {
    manifest = Json::parse(element("clearhead-manifest"), "manifest").items()[at];
  }
  std::string element(const std::string& id) const {
    const size_t at = html.find("id=\"" + id + "\"");
    if (at == std::string::npos) return "";
    const size_t begin = html.find('>', at) + 1;
    return html.substr(begin, html.find("</script", begin) - begin);
  }
  bool has(const std::string& name) const { return manifest.find("blobs")->find(name) != nullptr; }
  Json header(const std::string& name) const {
    const std::string bytes = frame(name);
    uint32_t length = 0;
    std::memcpy(&length, bytes.data() + 4, 4);
    return Json::parse(bytes.substr(8, length), name);
  }
  template <class T>
  std::vector<T> array(const std::string& name, const std::string& array_name) const {
    const std::string bytes = frame(name);
    uint32_t length = 0;
    std::memcpy(&length, bytes.data() + 4, 4);
    const Json found = *header(name).find("arrays")->find(array_name);
    int64_t count = 1;
    for (const Json& size : found.find("shape")->items()) count *= size.integer();
    std::vector<T> out(static_cast<size_t>(count));
    std::memcpy(out.data(), bytes.data() + 8 + length + static_cast<size_t>(found.find("offset")->integer()), out.size() * sizeof(T));
    return out;
  }

  std::string frame(const std::string& name) const {
    const std::string id = "clearhead-blob-" + std::to_string(manifest.find("blobs")->find(name)->integer());
    const std::string text = element(id);
    std::string bytes;
    uint32_t bits = 0;
    int have = 0;
    static const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (const char c : text) {
      const size_t value = letters.find(c);
      if (value == std::string::npos) continue;
      bits = bits << 6 | static_cast<uint32_t>(value);
      have += 6;
      if (have < 8) continue;
      have -= 8;
      bytes += static_cast<char>(bits >> have & 255);
    }
    return inflated(bytes);
  }
  static std::string inflated(const std::string& bytes) {
    std::string out(64 << 20, '\0');
    uLongf size = out.size();
    EXPECT_EQ(::uncompress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()), Z_OK);
    out.resize(size);
    return out;
  }
};

ReadPage page_of(LoadedTrace& loaded, ExportOptions options, ExportedPage* told = nullptr) {
  options.command = "clearhead view made-up";
  ExportedPage page;
  ReadPage read(offline_page({&loaded, 1}, options, page));
  EXPECT_EQ(page.bytes, read.html.size());
  EXPECT_LE(read.html.size(), options.budget_bytes);
  if (told) *told = page;
  return read;
}

uint64_t bundle_bytes() { return viewer_bundle().offline.size() + viewer_bundle().script.size() + viewer_bundle().style.size(); }

TEST(OfflinePage, ContainsExactWeightsOfAllHeadsIfTheyFit) {
  LoadedTrace loaded = looked_at::loaded_of();
  ExportedPage told;
  const ReadPage page = page_of(loaded, {}, &told);
  EXPECT_EQ(told.tier, 'A');
  EXPECT_NE(std::find(told.holds.begin(), told.holds.end(), "exact"), told.holds.end());
  for (int layer = 0; layer < 2; ++layer) {
    for (int head = 0; head < 4; ++head) {
      const std::string where = "dec/" + std::to_string(layer) + "/" + std::to_string(head);
      EXPECT_FALSE(page.has("weights/" + where));
      const std::vector<float> weights = page.array<float>("exact/" + where, "weights");
      for (int64_t i = 0; i < 300; i += 37) {
        const std::vector<float> row = loaded.trace().map("dec", layer).row(head, i).weights();
        for (int64_t j = 0; j < 300; ++j) {
          const float held = weights[static_cast<size_t>(i * 300 + j)];
          ASSERT_TRUE(j > i ? std::isnan(held) : held == row[static_cast<size_t>(j)]) << i << ", " << j;
        }
      }
    }
  }
}

TEST(OfflinePage, ContainsEightBitWeightsIfExactOnesDoNotFit) {
  LoadedTrace loaded = looked_at::loaded_of();
  const ReadPage page = page_of(loaded, {.budget_bytes = bundle_bytes() + 900'000});
  EXPECT_EQ(page.manifest.find("tier")->string(), "A");
  EXPECT_FALSE(page.has("exact/dec/1/2"));
  const Json header = page.header("weights/dec/1/2");
  const Json& codes = *header.find("codes");
  const double lo = codes.find("lo")->number(), hi = codes.find("hi")->number(), error = codes.find("error")->number();
  const std::vector<uint8_t> weights = page.array<uint8_t>("weights/dec/1/2", "weights");
  for (int64_t i = 0; i < 300; i += 37) {
    const std::vector<float> row = loaded.trace().map("dec", 1).row(2, i).weights();
    for (int64_t j = 0; j < 300; ++j) {
      const uint8_t code = weights[static_cast<size_t>(i * 300 + j)];
      ASSERT_EQ(code == 0, j > i);
      const double decoded = code <= 2 ? 0 : lo * std::pow(hi / lo, (code - 3) / 252.0);
      ASSERT_NEAR(decoded, static_cast<double>(row[static_cast<size_t>(j)]), error * 1.001);
    }
  }
}

TEST(OfflinePage, AlwaysHoldsTextSegmentsStatisticsAndThumbnails) {
  LoadedTrace loaded = looked_at::loaded_of();
  const ReadPage page = page_of(loaded, {.state = "v=map&h=1.2"});
  for (const char* name : {"text/0", "atlas/dec", "stats/dec", "segmass/dec"}) EXPECT_TRUE(page.has(name)) << name;
  EXPECT_EQ(page.array<uint8_t>("atlas/dec", "thumbnails").size(), 8u * 64 * 64);
  EXPECT_EQ(page.manifest.find("state")->string(), "v=map&h=1.2");
  EXPECT_EQ(page.manifest.find("segments")->items()[0].size(), 2u);
  EXPECT_EQ(page.manifest.find("info")->find("source")->string(), "offline");
  const std::vector<float> mass = page.array<float>("segmass/dec", "mass");
  const std::vector<float> asked = array_of<float>(questions::mass(loaded, {"dec", {{150, 300}}, {{0, 150}}}), "mass");
  EXPECT_FLOAT_EQ(mass[(1 * 4 + 3) * 4 + 2], asked[7]);
}

TEST(OfflinePage, FallsBackToTheHeaviestKeysOfTheHeadsThatMatterMost) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 1200});
  ExportedPage told;
  const ReadPage page = page_of(loaded, {.state = "h=1.3", .budget_bytes = bundle_bytes() + 900'000}, &told);
  EXPECT_EQ(told.tier, 'B');
  EXPECT_TRUE(page.has("top/dec/1/3")) << "the pinned head comes first";
  EXPECT_TRUE(page.has("top8/dec/1/3"));
  EXPECT_TRUE(page.has("overview/dec/1/3"));
  EXPECT_FALSE(page.has("weights/dec/1/3"));
  const std::vector<uint32_t> rows = page.array<uint32_t>("top/dec/1/3", "rows"), keys = page.array<uint32_t>("top/dec/1/3", "keys");
  const std::vector<float> weights = page.array<float>("top/dec/1/3", "weights");
  ASSERT_EQ(rows.size(), 1024u);
  ASSERT_EQ(rows.back(), 1199u);
  const std::vector<Weighted> best = loaded.trace().map("dec", 1).row(3, 1199).top_k(32);
  for (size_t n = 0; n < 32; ++n) {
    ASSERT_EQ(keys[1023 * 32 + n], static_cast<uint32_t>(best[n].key));
    ASSERT_EQ(weights[1023 * 32 + n], best[n].weight);
  }
  std::string missing;
  for (const Json& item : page.manifest.find("info")->find("missing")->items()) missing += item.find("feature")->string() + " ";
  EXPECT_NE(missing.find("weights"), std::string::npos) << missing;
}

TEST(OfflinePage, ContainsOffsetMapsOfLayersWithAShortBand) {
  AttentionSpec spec;
  spec.topology.band = {.back = 40, .ahead = 0};
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 1200, .causal = false, .spec = spec});
  ExportedPage told;
  const ReadPage page = page_of(loaded, {.state = "h=1.3", .budget_bytes = bundle_bytes() + 600'000}, &told);
  EXPECT_EQ(told.tier, 'B');
  ASSERT_TRUE(page.has("near/enc/1/3"));
  const Json header = page.header("near/enc/1/3");
  EXPECT_EQ(header.find("event")->string(), "picture");
  EXPECT_EQ(header.find("keys")->dump(), "[-40,1]");
  const std::vector<uint8_t> cells = page.array<uint8_t>("near/enc/1/3", "max");
  const auto rows = static_cast<size_t>((1200 + 3) / 4);  // four queries per cell
  ASSERT_EQ(cells.size(), rows * 41);
  const LayerMap map = loaded.trace().map("enc", 1);
  const double low = header.find("codes")->find("max")->find("lo")->number(),
               high = header.find("codes")->find("max")->find("hi")->number();
  for (const int64_t offset : {int64_t{-40}, int64_t{-7}, int64_t{0}}) {
    float most = 0;
    for (int64_t query = 1000; query < 1004; ++query)
      most = std::max(most, map.row(3, query).weights()[static_cast<size_t>(query + offset)]);
    const double code = cells[250 * 41 + static_cast<size_t>(offset + 40)];
    const double shown = low * std::pow(high / low, (code - 3) / 252);  // docs/viewer-api.md, logarithmic codes
    EXPECT_NEAR(shown, most, 0.05 * static_cast<double>(most)) << "offset " << offset;
  }
  LoadedTrace without = looked_at::loaded_of({.tokens = 1200, .causal = false});
  EXPECT_FALSE(page_of(without, {.state = "h=1.3", .budget_bytes = bundle_bytes() + 600'000}).has("near/enc/1/3"));
}

TEST(OfflinePage, NamesTheCommandThatGivesTheRest) {
  for (const int64_t tokens : {int64_t{1200}, int64_t{5200}}) {  // for the longer text, all weights exceed any budget
    LoadedTrace loaded = looked_at::loaded_of({.tokens = tokens});
    const std::string live = loaded.options().command;
    const ReadPage page = page_of(loaded, {.budget_bytes = bundle_bytes() + 900'000, .most_work = 1});
    std::map<std::string, int> named;
    for (const Json& item : page.manifest.find("info")->find("missing")->items()) {
      const std::string feature = item.find("feature")->string(), command = item.find("command")->string();
      ++named[feature];
      if (feature == "weights") {
        EXPECT_EQ(command, tokens == 1200 ? page.manifest.find("command")->string() + " --page-size 200MB" : live);
      } else if (feature == "verify" || feature == "value") {
        EXPECT_EQ(command, live) << feature;
      }
    }
    for (const char* feature : {"weights", "verify", "value"}) EXPECT_EQ(named[feature], 1) << feature;
  }
}

TEST(OfflinePage, ContainsQueriesAndKeysOfThePinnedHeadIfOnlyTheyFit) {
  // Few rows are watched; the heaviest keys of all rows would not fit, but Q and K in 16 bits do.
  TraceOptions kept;
  kept.budget_bytes = 2'400'000;
  kept.tail = 40;
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 4000, .trace = kept});
  ASSERT_FALSE(loaded.facts("dec").all_rows);
  ExportedPage told;
  const ReadPage page = page_of(loaded, {.state = "h=1.1", .budget_bytes = bundle_bytes() + 600'000}, &told);
  EXPECT_EQ(told.tier, 'C');
  ASSERT_TRUE(page.has("qk/dec/1/1"));
  const Json header = page.header("qk/dec/1/1");
  const double scale = header.find("spec")->find("scale")->number(), error = header.find("error")->number();
  const std::vector<uint32_t> rows = page.array<uint32_t>("qk/dec/1/1", "rows");
  const std::vector<uint16_t> q = page.array<uint16_t>("qk/dec/1/1", "q"), k = page.array<uint16_t>("qk/dec/1/1", "k");
  const std::vector<float> shift = page.array<float>("qk/dec/1/1", "shift"), norm = page.array<float>("qk/dec/1/1", "scale");
  ASSERT_EQ(rows.size(), 40u);
  const std::vector<float> exact = loaded.trace().map("dec", 1).row(1, rows[39]).weights();
  for (size_t j = 0; j < 4000; ++j) {
    double dot = 0;
    for (size_t c = 0; c < 8; ++c) dot += static_cast<double>(f16_to_f32(q[39 * 8 + c])) * static_cast<double>(f16_to_f32(k[j * 8 + c]));
    const double weight = std::exp2(scale * dot * 1.4426950408889634 - static_cast<double>(shift[39])) / static_cast<double>(norm[39]);
    ASSERT_NEAR(weight, static_cast<double>(exact[j]), error * 1.01 + tolerance::kDoubleSum);
  }
}

// Values beyond the range of f16, and visibility by segments, which the page cannot evaluate.
TEST(OfflinePage, OmitsQueriesAndKeysThatWouldNotReproduceTheWeights) {
  constexpr int64_t kTokens = 4000;
  const Tensor one = Tensor::zeros({1, kTokens}, DType::kI32);
  Tensor two = one.clone();
  std::fill_n(two.mutable_data<int32_t>(), kTokens / 2, 1);
  TraceOptions kept;
  kept.budget_bytes = 2'400'000;
  kept.tail = 40;
  for (const auto& [keys_times, segments, holds] : {std::tuple{1.0F, std::optional<Segments>{}, true},
                                                    {1e5F, std::optional<Segments>{}, false},
                                                    {1.0F, std::optional<Segments>{Segments{one, two}}, false}}) {
    LoadedTrace loaded =
        looked_at::loaded_of({.tokens = kTokens, .trace = kept, .spec = {.topology = {.segments = segments}}, .keys_times = keys_times});
    const ReadPage page = page_of(loaded, {.state = "h=1.1", .budget_bytes = bundle_bytes() + 600'000});
    EXPECT_EQ(page.has("qk/dec/1/1"), holds) << keys_times << (segments ? ", segments" : "");
  }
}

std::vector<LoadedTrace> side_by_side_of(const std::vector<int64_t>& lengths) {
  std::vector<ShownTrace> traces;
  for (const int64_t tokens : lengths) {
    traces.push_back({std::make_shared<const Trace>(looked_at::trace_of({.tokens = tokens})), "q=" + std::to_string(tokens - 1)});
  }
  return side_by_side(traces, {});
}

TEST(OfflinePage, OfSeveralTracesContainsAManifestForEach) {
  std::vector<LoadedTrace> traces = side_by_side_of({900, 20});
  ExportedPage told;
  const uint64_t budget = bundle_bytes() + 3'000'000;
  const std::string html = offline_page(traces, {.command = "both", .budget_bytes = budget}, told);
  EXPECT_EQ(told.bytes, html.size());
  EXPECT_LE(html.size(), budget);
  const ReadPage long_one(html, 0), short_one(html, 1);
  EXPECT_EQ(long_one.manifest.find("info")->find("step")->integer(), 0);
  EXPECT_EQ(short_one.manifest.find("info")->find("step")->integer(), 1);
  EXPECT_EQ(long_one.manifest.find("state")->string(), "q=899");
  EXPECT_EQ(short_one.manifest.find("state")->string(), "q=19");
  EXPECT_EQ(short_one.manifest.find("info")->find("traces")->size(), 2u);
  EXPECT_EQ(short_one.array<uint32_t>("text/0", "end").size(), 20u);
  EXPECT_EQ(long_one.array<uint32_t>("text/0", "end").size(), 900u);
}

TEST(OfflinePage, WithModelsContainsTheFilesOfEachModelOnceAndLeavesOutATraceWithoutOne) {
  const std::shared_ptr<const Model> model = load(std::string(CLEARHEAD_SOURCE_DIR) + "/models/pronouns");
  std::vector<ShownTrace> shown;
  for (const char* text : {"The dog saw it.", "The cat saw it."})
    shown.push_back({.trace = std::make_shared<const Trace>(std::move(trace_of(*model, {.input = {.text = text}}).trace)), .model = model});
  shown.push_back({.trace = std::make_shared<const Trace>(looked_at::trace_of({.tokens = 20}))});
  std::vector<LoadedTrace> traces = side_by_side(shown, {});
  ExportedPage told;
  const std::string html = offline_page(traces, {.with_models = true}, told);
  EXPECT_EQ(told.holds.back(), "models");
  EXPECT_EQ(told.bytes, html.size());
  std::vector<std::map<std::string, int64_t>> blob_of(2);
  for (size_t at = 0; at < 2; ++at) {
    const ReadPage page(html, at);
    const Json& computes = *page.manifest.find("computes");
    EXPECT_EQ(computes.find("open")->find("model")->string(), model->info().name);
    for (const Json& file : computes.find("files")->items()) blob_of[at][file.find("path")->string()] = file.find("blob")->integer();
  }
  EXPECT_EQ(blob_of[0].size(), 4u);  // the trace, the weights, the configuration and the tokenizer
  for (const auto& [path, blob] : blob_of[0]) {
    EXPECT_EQ(blob_of[1].at(path) == blob, path != "/opened.trace") << path;
  }
  EXPECT_TRUE(ReadPage(html, 2).manifest.find("computes")->is_null());
  EXPECT_NE(html.find("'wasm-unsafe-eval'"), std::string::npos);
  EXPECT_EQ(offline_page(traces, {}, told).find("wasm-unsafe-eval"), std::string::npos);
}

TEST(OfflinePage, BudgetUnusedByAShortTraceGoesToTheLongOne) {
  // Half of the budget would be too small for the weights of 600 tokens.
  const uint64_t budget = bundle_bytes() + 2'600'000;
  std::vector<LoadedTrace> traces = side_by_side_of({600, 12});
  ExportedPage told;
  const ReadPage page(offline_page(traces, {.budget_bytes = budget}, told));
  EXPECT_EQ(page.manifest.find("tier")->string(), "A");
  LoadedTrace alone = looked_at::loaded_of({.tokens = 600});
  offline_page({&alone, 1}, {.budget_bytes = bundle_bytes() + 1'300'000}, told);
  EXPECT_NE(told.tier, 'A');
}

TEST(OfflinePage, OfOneTraceAmongSeveralContainsOnlyThatTrace) {
  std::vector<LoadedTrace> traces = side_by_side_of({20, 30});
  ExportedPage told;
  const ReadPage page(offline_page({&traces[1], 1}, {.state = "v=map"}, told));
  const Json& info = *page.manifest.find("info");
  EXPECT_EQ(info.find("traces")->size(), 0u);
  EXPECT_TRUE(info.find("step")->is_null());
  EXPECT_EQ(page.manifest.find("state")->string(), "v=map");
}

TEST(OfflinePage, RefusesABudgetThatNotEvenTheTextFits) {
  LoadedTrace loaded = looked_at::loaded_of();
  ExportedPage page;
  try {
    offline_page({&loaded, 1}, {.budget_bytes = 1000}, page);
    FAIL() << "a page of 1,000 bytes was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBudget);
  }
}

TEST(OfflinePage, HostileTextEndsNoScript) {
  for (const std::string& word : {std::string("</script><script>alert(1)</script>"), std::string("<!--"), std::string("\xE2\x80\xA8"),
                                  std::string("<!--clearhead:data-->"), std::string("\xFF\xFE")}) {
    looked_at::Options options{.tokens = 12, .layers = 1, .word = word};
    Trace trace = looked_at::trace_of(options);
    trace.set_segments({{word, word, 0, 12}});
    LoadedTrace::Options own;
    own.command = word;
    LoadedTrace loaded(std::make_shared<const Trace>(std::move(trace)), own);
    ExportedPage told;
    const ReadPage page(offline_page({&loaded, 1}, {.command = word, .state = word}, told));
    const std::string frame_of_page = std::string(viewer_bundle().offline);
    size_t ends = 0;
    for (size_t at = page.html.find("</script"); at != std::string::npos; at = page.html.find("</script", at + 1)) ++ends;
    size_t in_template = 0;
    for (size_t at = frame_of_page.find("</script"); at != std::string::npos; at = frame_of_page.find("</script", at + 1)) ++in_template;
    EXPECT_EQ(ends, in_template + 1 + page.manifest.find("blobs")->size()) << word;
    EXPECT_EQ(page.html.find("alert(1)</script>"), std::string::npos);
  }
}

TEST(OfflinePage, ATokenOfAMegabyteIsOneToken) {
  looked_at::Options options{.tokens = 4, .layers = 1, .word = std::string(1 << 20, '<')};
  LoadedTrace loaded = looked_at::loaded_of(options);
  const ReadPage page = page_of(loaded, {});
  EXPECT_EQ(page.array<uint32_t>("text/0", "end")[3], 3u << 20);
}

TEST(OfflinePage, InsertsTheBundleUnchangedSoThatItsHashesHold) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 12});
  const ReadPage page = page_of(loaded, {});
  for (const std::string_view part : {viewer_bundle().script, viewer_bundle().style}) {
    const size_t at = page.html.find(part);
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(page.html.find(part, at + 1), std::string::npos);
    EXPECT_EQ(part.find("</script"), std::string::npos);
    EXPECT_NE(page.html.find("'sha256-" + sha256_base64(part) + "'"), std::string::npos) << "the policy would block the page's own code";
  }
  for (const char* marker :
       {"<!--clearhead:title-->", "clearhead:connect", "/*clearhead:style*/", "<!--clearhead:data-->", "/*clearhead:script*/"}) {
    const size_t in_bundle = viewer_bundle().script.find(marker) != std::string_view::npos;
    EXPECT_EQ(page.html.find(marker) != std::string::npos, in_bundle != 0) << marker;
  }
}

TEST(OfflinePage, NamesOnlyCommandsThatExist) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 1200});
  ExportedPage told;
  const ReadPage page(offline_page({&loaded, 1}, {.command = "make demo", .budget_bytes = 520'000}, told));
  EXPECT_NE(told.tier, 'A') << "so that the page has commands for the rest";
  EXPECT_EQ(page.manifest.find("info")->find("command")->string(), loaded.options().command);
  EXPECT_EQ(page.manifest.dump().find("make demo --"), std::string::npos) << "make has no --page-size and no --state";
}

TEST(OfflinePage, IsWrittenWholeOrNotAtAll) {
  const std::filesystem::path folder = std::filesystem::path(CLEARHEAD_BUILD_DIR) / "export_test";
  std::filesystem::create_directories(folder);
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 30});
  const std::string path = (folder / "page.html").string();
  const ExportedPage page = export_html({&loaded, 1}, path, {.command = "make demo"});
  EXPECT_EQ(std::filesystem::file_size(path), page.bytes);
  EXPECT_NE(read_file(path).find("make demo"), std::string::npos);
  expect_refused(ErrorCode::kIo, "cannot be written: No such file or directory", [&] {
    export_html({&loaded, 1}, (folder / "none" / "page.html").string(), {});
  });
  EXPECT_FALSE(std::filesystem::exists(folder / "none"));
  std::filesystem::remove_all(folder);
}

TEST(Site, IsThePageWithItsDataInFiles) {
  const std::filesystem::path folder = std::filesystem::path(CLEARHEAD_BUILD_DIR) / "site_test", site = folder / "site";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  LoadedTrace loaded = looked_at::loaded_of();
  const ExportOptions options{.command = "clearhead view made-up", .budget_bytes = 200'000'000};
  const ExportedPage told = export_site({&loaded, 1}, site.string() + "/", options);
  EXPECT_EQ(told.tier, 'A');

  const std::string html = read_file((site / "index.html").string());
  const Json manifest = ReadPage(html).manifest;
  EXPECT_EQ(manifest.find("folder")->string(), "data");
  EXPECT_NE(html.find("connect-src 'self'"), std::string::npos);
  ExportedPage in_page;
  const std::string one_file = offline_page({&loaded, 1}, options, in_page);
  EXPECT_NE(one_file.find("connect-src 'none'"), std::string::npos);
  const ReadPage page(one_file);
  uint64_t bytes = html.size(), files = 0;
  for (const auto& [name, number] : manifest.find("blobs")->fields()) {
    const std::string file = read_file((site / "data" / (std::to_string(number.integer()) + ".deflate")).string());
    EXPECT_EQ(ReadPage::inflated(file), page.frame(name)) << name;
    bytes += file.size(), ++files;
  }
  EXPECT_EQ(bytes, told.bytes);
  const auto in_folder = std::distance(std::filesystem::directory_iterator(site / "data"), std::filesystem::directory_iterator());
  EXPECT_EQ(static_cast<uint64_t>(in_folder), files);

  expect_refused(ErrorCode::kInvalidArgument, "exists already; expected the name of a new folder, or an empty folder", [&] {
    export_site({&loaded, 1}, site.string(), options);
  });
  std::filesystem::create_directories(folder / "other.unfinished" / "mine");
  expect_refused(ErrorCode::kInvalidArgument, "exists already; expected the name of a new folder, or an empty folder", [&] {
    export_site({&loaded, 1}, (folder / "other").string(), options);
  });
  EXPECT_TRUE(std::filesystem::exists(folder / "other.unfinished" / "mine")) << "a folder that was there before";
  std::filesystem::remove_all(folder / "other.unfinished");
  expect_refused(ErrorCode::kBudget, "the budget is", [&] {
    export_site({&loaded, 1}, (folder / "small").string(), {.budget_bytes = 1000});
  });
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()), 1) << "nothing else is left";
  std::filesystem::remove_all(folder);
}

TEST(ExportedNumbers, AsJsonAreTheRowsThatAreShown) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 20});
  const ExportedFile file = export_file(loaded, "json", "v=read&f=dec&h=1.3,0.0&q=7&sink=hide", "");
  const Json json = Json::parse(file.bytes, "export");
  EXPECT_EQ(json.find("command")->string(), "clearhead view made-up 'text'");
  ASSERT_EQ(json.find("heads")->size(), 2u);
  const Json& rows = *json.find("heads")->items()[0].find("rows");
  EXPECT_EQ(rows.find("of")->dump(), "[[7,8]]");
  const std::vector<float> exact = loaded.trace().map("dec", 1).row(3, 7).weights();
  for (size_t j = 0; j < 20; ++j) {
    EXPECT_EQ(static_cast<float>(rows.find("values")->items()[j].number()),
              loaded.facts("dec").sinks == std::vector<int64_t>{int64_t(j)} ? 0 : exact[j]);
  }
  EXPECT_EQ(json.find("tokens")->size(), 20u);
}

TEST(ExportedNumbers, AsNpyHaveTheShapeOfTheirView) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 20});
  const auto shape_of = [&](const char* state) {
    const ExportedFile file = export_file(loaded, "npy", state, "");
    EXPECT_NE(file.bytes.find("\n# clearhead view made-up"), std::string::npos);
    const size_t end = file.bytes.rfind("\n# ");
    return io::parse_npy(std::string_view(file.bytes).substr(0, end), nullptr, "export").shape();
  };
  EXPECT_EQ(shape_of("v=read&h=1.3,0.0&q=7"), (Shape{2, 20}));
  EXPECT_EQ(shape_of("v=map&h=1.3&x=2,3,10,20"), (Shape{2, 17, 8}));
  EXPECT_EQ(shape_of("v=atlas"), (Shape{2, 4, 10}));
}

TEST(ExportedNumbers, OfViewsThatOnlyThePageExportsAreRefused) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 20});
  for (const char* kind : {"json", "npy", "svg", "png"}) {
    expect_refused(ErrorCode::kUnsupported, "only the page itself exports the view \"why\"; its numbers come from api/why.",
                   [&] { export_file(loaded, kind, "v=why&methods=attention", ""); });
    expect_refused(ErrorCode::kUnsupported, "its numbers come from api/compare.",
                   [&] { export_file(loaded, kind, "v=compare&with=head", ""); });
  }
}

TEST(ExportedNumbers, APictureHoldsItsCommand) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 20});
  const ExportedFile file = export_file(loaded, "png", "v=map&h=0.1", "");
  EXPECT_EQ(file.bytes.substr(1, 3), "PNG");
  EXPECT_NE(file.bytes.find("clearhead view made-up 'text'"), std::string::npos);
  expect_refused(ErrorCode::kInvalidArgument, "found \"gif\"", [&] { export_file(loaded, "gif", "", ""); });
}

}  // namespace
}  // namespace clearhead::viewer
