// Figures for print: the engine and the page draw the same figure identically
// (web/test/figure.test.ts); and the contents of figures of a trace.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "base/file.h"
#include "looked_at.h"
#include "refused.h"
#include "viewer/api.h"
#include "viewer/export.h"
#include "viewer/figure/figures.h"
#include "viewer/figure/pdf.h"
#include "viewer/figure/posted.h"

namespace clearhead::viewer {
namespace {

using namespace figure;

constexpr float kHidden = std::numeric_limits<float>::quiet_NaN();

std::string golden(const std::string& name) { return read_file(std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/figures/" + name); }

Figure about(const char* caption) {
  return {.name = "known answers L0.H1", .caption = caption, .command = "clearhead show known 'a < b & c' --head L0.H1", .parts = {}};
}

Figure matrices() {
  Figure out = about("Queries down, keys across; grey where nothing was scored. known answers · dec L0.H1 · raw weights, √ scale · exact");
  Matrix first{.rows = {.name = "query", .count = 3, .labels = {"The", "cat", "sat <"}},
               .columns = {.name = "key", .count = 4, .labels = {"[CLS]", "The", "cat", "sat <"}},
               .values = {0.5f, kHidden, kHidden, kHidden, 0.25f, 0.5f, kHidden, -1, 0.1f, 0.2f, 0.3f, 0.4f},
               .most = 0.5f,
               .texts = {".500", "", "", "", ".250", ".500", "", "", ".100", ".200", ".300", ".400"},
               .sinks = {0},
               .chosen_rows = {{1, 2}},
               .chosen_columns = {{2, 3}},
               .legend = {.low = "0", .middle = "12.50 %", .high = "≥ 50.00 %", .scale = "square root scale"}};
  Matrix second{.rows = {.count = 6, .step = 64},
                .columns = {.name = "key − query", .count = 14, .begin = -420, .step = 32},
                .most = 1,
                .scale = Scale::kLog,
                .is_square = false,
                .legend = {.low = "≤ 0.01 %", .middle = "1.00 %", .high = "100.00 %", .scale = "log scale"}};
  for (int i = 0; i < 84; ++i) second.values.push_back(static_cast<float>(i * 37 % 101) / 101);
  out.parts = {std::move(first), std::move(second)};
  return out;
}

Figure two_heads() {
  Figure out = about("Two heads.");
  out.parts = {
      Lines{.query_name = "query",
            .key_name = "key",
            .queries = {"das", "Haus"},
            .keys = {"the", "house", "東京"},
            .lines = {{0, 1, 0.1, 1, false}, {1, 1, 0.75, 0, true}, {1, 2, 1, 1, true}},
            .chosen = {1},
            .strengths = {0, 0.75, 0.3},
            .shares = {"", "56 %", ""},
            .heads = {{.low = "0", .middle = "37.50 %", .high = "75.00 %", .scale = "linear scale", .name = "L0.H1"},
                      {.low = "≤ 0.00162 %", .middle = "0.162 %", .high = "≥ 16.20 %", .scale = "square root scale", .name = "L10.H10"}}}};
  return out;
}

Figure text() {
  Figure out =
      about("A row and its heaviest tokens, in a caption that is long enough to be broken over more than one line of a column of 84 mm.");
  using Gap = Word::Gap;
  Words words{.title = "A title",
              .words = {{.text = "[CLS]", .gap = Gap::kSpace, .strength = 0.9, .is_sink = true, .is_special = true},
                        {.text = "Light", .gap = Gap::kSpace, .strength = 0.2, .bars = {0.2, 0.9}},
                        {.text = "house", .gap = Gap::kNone, .strength = 0.6, .share = "12 %", .bars = {0.6, 0}},
                        {.text = ".", .gap = Gap::kNone, .strength = 0},
                        {.text = "it", .gap = Gap::kLine, .is_chosen = true},
                        {.text = "שלום", .gap = Gap::kLine, .strength = 0.4},
                        {.text = "עולם", .gap = Gap::kSpace, .strength = 0.1, .is_hidden = true}},
              .legend = {.low = "0", .middle = "5.00 %", .high = "20.00 %", .scale = "square root scale"},
              .bars = {"L0.H1: bars to 20.00 %", "L1.H0: bars to 4.30 %"}};
  for (int i = 0; i < 30; ++i) words.words.push_back({.text = "word" + std::to_string(i), .gap = Gap::kSpace, .strength = i / 30.0});
  out.parts = {std::move(words), Table{.head = {"", "token", "context"},
                                       .rows = {{"12 %", "#2 house", "a light house by the sea, seen from very far away on clear nights"},
                                                {"9.0 %", "#0 [CLS]", ""}}}};
  return out;
}

TEST(Figures, AreDrawnAsThePageDrawsThem) {
  for (const auto& [name, figure] : {std::pair{"matrix", matrices()}, {"lines", two_heads()}, {"words", text()}}) {
    const Drawing drawing = draw(figure, kColumnMillimetres);
    EXPECT_EQ(svg(drawing), golden(std::string(name) + ".svg")) << name;
    EXPECT_EQ(tikz(drawing), golden(std::string(name) + ".tex")) << name;
  }
}

TEST(Figures, EscapeSpecialCharactersInSvgAndTikz) {
  const std::string text = std::string("a <b> & \x01 \xff 100 % ") + "東京";
  Drawing drawing{.width = 100, .height = 20, .title = text, .marks = {Text{.text = text}}};
  EXPECT_NE(svg(drawing).find(">a &lt;b&gt; &amp; \xEF\xBF\xBD \xEF\xBF\xBD 100 % 東京</text>"), std::string::npos) << svg(drawing);
  EXPECT_NE(tikz(drawing).find("{a \\textless{}b\\textgreater{} \\&   ? 100 \\% 東京}"), std::string::npos) << tikz(drawing);
}

TEST(Figures, OfATraceContainTheirTokensAndCommand) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 20});
  for (const char* view : {"map", "lines", "read", "atlas"}) {
    const Figure figure = figure_of(loaded, std::string("v=") + view + "&h=1.2&q=9&s=log");
    const std::string made = svg(draw(figure, kPageMillimetres));
    const auto holds = [&](const char* what) { return made.find(what) != std::string::npos; };
    EXPECT_TRUE(holds("clearhead view made-up 'text' --state 'v=")) << view;
    EXPECT_TRUE(holds("made-up")) << view;
    EXPECT_TRUE(holds("exact")) << view;
    if (std::string(view) == "atlas") {
      EXPECT_TRUE(holds(">L1.H3</text>"));
      continue;
    }
    EXPECT_TRUE(holds(">w2</text>") || holds("#9 w2")) << view;
    EXPECT_TRUE(holds("log scale")) << view;
    EXPECT_TRUE(holds("attention sinks marked")) << view;
  }
}

// The number in a legend's label, as a weight: "≤ 0.01 %" is 0.0001.
double number_in(const std::string& text) { return std::stod(text.substr(text.find_first_of("0123456789"))) / 100; }

std::vector<Legend> legends_of(const Figure& figure) {
  std::vector<Legend> out;
  for (const Part& part : figure.parts) {
    if (const auto* matrix = std::get_if<Matrix>(&part)) out.push_back(matrix->legend);
    if (const auto* words = std::get_if<Words>(&part)) out.push_back(words->legend);
    if (const auto* lines = std::get_if<Lines>(&part)) out.insert(out.end(), lines->heads.begin(), lines->heads.end());
    if (const auto* grid = std::get_if<Grid>(&part)) out.insert(out.end(), grid->legends.begin(), grid->legends.end());
  }
  return out;
}

TEST(Figures, HaveColourBarsWhoseNumbersAreTrueForTheirScale) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 20});
  const std::vector<std::tuple<const char*, Scale, const char*>> scales = {
      {"linear", Scale::kLinear, "linear scale"}, {"sqrt", Scale::kSqrt, "square root scale"}, {"log", Scale::kLog, "log scale"}};
  for (const auto& [scale, kind, name] : scales) {
    for (const char* view : {"map", "lines", "read"}) {
      const Figure figure = figure_of(loaded, std::string("v=") + view + "&h=1.2&q=9&s=" + scale);
      const std::vector<Legend> legends = legends_of(figure);
      ASSERT_EQ(legends.size(), 1u) << view;
      const Legend& legend = legends[0];
      const double most = number_in(legend.high);
      EXPECT_NEAR(intensity(number_in(legend.middle), most, kind), 0.5, 0.01) << view << " " << legend.middle;
      EXPECT_EQ(legend.low.find("≤") == 0, kind == Scale::kLog) << view << " " << legend.low;
      EXPECT_LE(intensity(number_in(legend.low), most, kind), 0.001) << view << " " << legend.low;
      const std::string made = svg(draw(figure, kColumnMillimetres));
      for (const std::string& text : {legend.low, legend.middle, legend.high, std::string(name)})
        EXPECT_NE(made.find(">" + text + "</text>"), std::string::npos) << view << " " << text;
    }
  }
}

TEST(Figures, LegendsGiveTheMaximumWithoutSinksAndMarkLargerSinks) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 20});
  const MapRow row = loaded.trace().map("dec", 1).row(2, 9);
  const auto [sinks, others] = [&] {
    float sink = 0, other = 0;
    const std::vector<int64_t> known = loaded.facts("dec").sinks;
    for (size_t j = 0; j < 10; ++j) {
      float& most = std::binary_search(known.begin(), known.end(), static_cast<int64_t>(j)) ? sink : other;
      most = std::max(most, row.weights()[j]);
    }
    return std::pair{sink, other};
  }();
  const Legend legend = legends_of(figure_of(loaded, "v=read&h=1.2&q=9")).at(0);
  EXPECT_NEAR(number_in(legend.high), static_cast<double>(others), 0.00005);
  EXPECT_EQ(legend.high.find("≥") == 0, sinks > others) << legend.high;
}

TEST(Figures, OfSeveralHeadsHaveABarForEach) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 20});
  const std::vector<Legend> lines = legends_of(figure_of(loaded, "v=lines&h=1.2,0.1&q=9"));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].name, "L1.H2");
  EXPECT_EQ(lines[1].name, "L0.H1");
  const Figure read = figure_of(loaded, "v=read&h=1.2,0.1&q=9");
  EXPECT_EQ(std::get<Words>(read.parts.at(0)).bars.size(), 2u);
  EXPECT_EQ(legends_of(figure_of(loaded, "v=atlas&q=9&k=3")).size(), 2u) << "one for the maps and one for the mass that shades the names";
  EXPECT_EQ(legends_of(figure_of(loaded, "v=atlas")).size(), 1u);
}

TEST(Figures, ShowTheWeightsOfTheMap) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 12});
  const Figure figure = figure_of(loaded, "v=map&h=1.2");
  const Matrix& matrix = std::get<Matrix>(figure.parts[0]);
  const MapRow row = loaded.trace().map("dec", 1).row(2, 9);
  ASSERT_EQ(matrix.values.size(), 144u);
  for (size_t j = 0; j <= 9; ++j) EXPECT_EQ(matrix.values[9 * 12 + j], row.weights()[j]);
  EXPECT_TRUE(std::isnan(matrix.values[9 * 12 + 10]));
  EXPECT_EQ(matrix.texts.size(), 144u);
}

TEST(Figures, OfALongMapArePooledToOnePicture) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 900});
  const Drawing drawing = draw(figure_of(loaded, "v=map&h=0.1&q=400"), kPageMillimetres);
  int64_t pictures = 0;
  for (const Mark& mark : drawing.marks) pictures += std::holds_alternative<Pixels>(mark);
  EXPECT_EQ(pictures, 1);
  EXPECT_THROW(tikz(drawing), Error);
}

TEST(Figures, OfOffsetAxesHaveTheBandAsColumns) {
  AttentionSpec spec;
  spec.topology.band = {.back = 19, .ahead = 0};
  LoadedTrace loaded = looked_at::loaded_of({.causal = false, .spec = spec});
  const Figure figure = figure_of(loaded, "v=map&h=1.2&axes=offset", {});
  const auto& matrix = std::get<Matrix>(figure.parts.at(0));
  EXPECT_EQ(matrix.columns.name, "key − query");
  EXPECT_EQ(matrix.columns.begin, -19);
  EXPECT_FALSE(matrix.is_square);
  const LayerMap map = loaded.trace().map("enc", 1);
  const int64_t columns = matrix.columns.count;
  for (const int64_t query : {40, 250}) {
    for (const int64_t back : {0, 7, 19}) {
      EXPECT_EQ(matrix.values[static_cast<size_t>(query * columns + 19 - back)],
                map.row(2, query).weights()[static_cast<size_t>(query - back)]);
    }
  }
  EXPECT_NE(figure.caption.find("key − query across"), std::string::npos) << figure.caption;
}

TEST(Figures, AreExportedByTheirKind) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 12});
  const ExportedFile made = export_file(loaded, "svg", "v=lines&h=1.2", "");
  EXPECT_EQ(made.name, "made-up-lines.svg");
  EXPECT_EQ(made.type, "image/svg+xml");
  EXPECT_EQ(export_file(loaded, "tikz", "v=map&h=1.2", "").name, "made-up-map.tex");
  expect_refused(ErrorCode::kNotFound, "layer 7", [&] { figure_of(loaded, "v=map&h=7.0"); });
}

// A drawing as the page posts it, with one mark of each kind and a second box.
Json posted_json() {
  return Json::parse(R"({"width": 200, "height": 80.5, "title": "a < b", "description": "made so", "marks": [
    {"kind": "box", "area": {"left": 1, "top": 2, "width": 3, "height": 4}, "fill": [255, 0, 16], "stroke": null},
    {"kind": "box", "area": {"left": 1, "top": 2, "width": 3, "height": 4}, "fill": null, "stroke": [1, 2, 3], "line": 2},
    {"kind": "curve", "x0": 0, "y0": 1, "x1": 20, "y1": 30, "stroke": [0, 114, 178], "line": 1.5, "opacity": 0.25, "bent": true},
    {"kind": "text", "x": 5, "y": 6, "text": "<filter id='f'>", "size": 9, "anchor": "end", "colour": [90, 90, 96], "bold": true, "turn": 90},
    {"kind": "pixels", "area": {"left": 0, "top": 0, "width": 10, "height": 5}, "width": 2, "height": 1, "rgb": "/wAAAP8A"},
    {"kind": "pointer", "x": 7, "y": 8}]})",
                     "posted");
}

TEST(PostedDrawings, AreParsedIntoMarks) {
  const Drawing made = drawing_from_json(posted_json());
  Drawing expected{.width = 200, .height = 80.5, .title = "a < b", .description = "made so"};
  expected.marks = {
      Box{.area = {1, 2, 3, 4}, .fill = Rgb{255, 0, 16}},
      Box{.area = {1, 2, 3, 4}, .stroke = Rgb{1, 2, 3}, .line = 2},
      Curve{.x0 = 0, .y0 = 1, .x1 = 20, .y1 = 30, .stroke = Rgb{0, 114, 178}, .line = 1.5, .opacity = 0.25, .bent = true},
      Text{.x = 5, .y = 6, .text = "<filter id='f'>", .size = 9, .anchor = Anchor::kEnd, .colour = kSoft, .bold = true, .turn = 90},
      Pixels{.area = {0, 0, 10, 5}, .width = 2, .height = 1, .rgb = {255, 0, 0, 0, 255, 0}},
      Pointer{7, 8}};
  EXPECT_EQ(svg(made), svg(expected));
  EXPECT_EQ(svg(made).find("<filter"), std::string::npos);
}

TEST(PostedDrawings, WithInvalidContentAreRefusedByName) {
  const auto message = [](const std::function<void(Json&)>& change, const PostedLimits& limits = {}) {
    Json json = posted_json();
    change(json);
    try {
      (void)drawing_from_json(json, limits);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const auto mark = [](Json& json, size_t at) -> Json& { return json["marks"].items()[at]; };
  const auto none = [](Json&) {};
  EXPECT_EQ(message(none), "no error");
  EXPECT_EQ(message([](Json& json) { json["svg"] = "<svg><filter/></svg>"; }).substr(0, 30), "api/pdf: field \"svg\" is not un");
  EXPECT_EQ(message([&](Json& json) { mark(json, 0)["kind"] = "filter"; }),
            "api/pdf: \"marks[0].kind\": \"filter\" is not understood; expected box, curve, text, pixels or pointer");
  EXPECT_EQ(message([&](Json& json) { mark(json, 0)["style"] = "x"; }).substr(0, 40), "api/pdf: field \"marks[0].style\" is not u");
  EXPECT_EQ(message([&](Json& json) { mark(json, 2)["x0"] = 1e9; }), "api/pdf: \"marks[2].x0\": 1000000000; expected -100000 to 100000");
  EXPECT_EQ(message([&](Json& json) { mark(json, 4)["width"] = 3; }),
            "api/pdf: \"marks[4].rgb\": 6 bytes; a picture of 3 x 1 pixels has 9");
  EXPECT_EQ(message([&](Json& json) { mark(json, 4)["rgb"] = "/wAAAP8"; }),
            "api/pdf: marks[4].rgb: 7 characters of base64; expected a multiple of 4");
  EXPECT_EQ(message([](Json& json) { json["height"] = 1e6; }), "api/pdf: \"height\": 1000000; expected 1 to 5000");
  EXPECT_EQ(message(none, {.marks = 5}), "api/pdf: 6 marks; at most 5");
  EXPECT_EQ(message(none, {.texts = 0}), "api/pdf: 1 texts; at most 0");
  EXPECT_EQ(message(none, {.letters = 26}), "api/pdf: 27 bytes of text; at most 26");
  EXPECT_EQ(message(none, {.pixels = 1}), "api/pdf: \"marks[4].width\": a picture of 2 x 1 pixels; expected 1 to 1 in all");
}

// Skips if librsvg is not installed.
class Pdf : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      pdf({.width = 1, .height = 1});
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::kUnsupported);
      GTEST_SKIP() << error.what();
    }
  }
};

TEST_F(Pdf, HasOnePageOfTheFiguresSizeAndItsText) {
  const std::string bytes = pdf(draw(matrices(), kColumnMillimetres));
  EXPECT_EQ(bytes.substr(0, 5), "%PDF-");
  EXPECT_NE(bytes.find("/MediaBox [ 0 0 238"), std::string::npos);
  EXPECT_NE(bytes.find("(known answers"), std::string::npos);
  EXPECT_NE(bytes.find("/Font"), std::string::npos) << "text must not be converted to paths";
  EXPECT_NE(bytes.find("/Count 1"), std::string::npos);
}

TEST_F(Pdf, IsStoppedBetweenGroupsOfMarks) {
  const Drawing drawing{.width = 100, .height = 100, .marks = std::vector<Mark>(1000, Text{.x = 1, .y = 9, .text = "a"})};
  std::vector<size_t> drawn;
  (void)pdf(drawing, [&](size_t count) { drawn.push_back(count); });
  ASSERT_GE(drawn.size(), 5u);
  EXPECT_EQ(drawn[0], 0u);
  EXPECT_TRUE(std::is_sorted(drawn.begin(), drawn.end()));
  size_t last = 0;
  const auto stop_after_300 = [&](size_t count) {
    last = count;
    if (count > 300) throw Error(ErrorCode::kCancelled, "enough");
  };
  EXPECT_THROW((void)pdf(drawing, stop_after_300), Error);
  EXPECT_LT(last, 1000u);
}

TEST_F(Pdf, TimeoutAndCancellationAreReported) {
  const ApiRequest request{.path = "pdf", .post = true, .body = posted_json().dump()};
  EXPECT_EQ(answer_alone(request).body.substr(0, 5), "%PDF-");
  expect_refused(ErrorCode::kCancelled, "api/pdf: stopped after 0 s with 0 of 6 marks drawn; show fewer words or cells, or write SVG",
                 [&] { answer_alone(request, {.time = std::chrono::seconds(0)}); });
  const std::atomic<bool> cancel{true};
  expect_refused(ErrorCode::kCancelled, "cancelled", [&] { answer_alone(request, {.cancel = &cancel}); });
}

TEST_F(Pdf, SupportsAPictureOfTheMaximumSize) {
  const PostedLimits limits;
  Pixels noise{.area = {0, 0, 100, 100}, .width = 2000, .height = limits.pixels / 2000};
  uint32_t state = 1;  // noise does not compress in a PNG
  for (int64_t i = 0; i < 3 * limits.pixels; ++i) noise.rgb.push_back(static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24));
  EXPECT_GT(pdf({.width = 100, .height = 100, .marks = {noise}}).size(), static_cast<size_t>(2 * limits.pixels));
}

}  // namespace
}  // namespace clearhead::viewer
