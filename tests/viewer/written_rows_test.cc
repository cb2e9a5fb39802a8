// Rows of a translator are named by the word that they write, in api/info, figures and exported numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "item_traces.h"
#include "viewer/export.h"
#include "viewer/figure/figures.h"
#include "viewer/opening.h"
#include "viewer/questions/info.h"
#include "viewer/questions/neurons.h"

namespace clearhead::viewer {
namespace {

using namespace figure;

// "red car" and its translation: 0 red, 1 car, 2 </s>, 3 <s>, 4 voiture, 5 rouge, 6 </s>. The row that writes "voiture" attends to "car",
// the row that writes "rouge" to "red", the others to </s>.
LoadedTrace translation() {
  const std::vector<std::string> pieces = {"red", " car", "</s>", "<s>", "\nvoiture", " rouge", "</s>"};
  RunPlan plan{.model = "translator"};
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool special = pieces[i].front() == '<';
    const auto begin = static_cast<int64_t>(plan.text.text.size());
    if (!special) plan.text.text += pieces[i];
    plan.text.ids.push_back(static_cast<int32_t>(i));
    plan.text.offsets.push_back({begin, static_cast<int64_t>(plan.text.text.size())});
    plan.text.special.push_back(special ? 1 : 0);
    plan.text.pieces.push_back(pieces[i]);
  }
  plan.text.segments = {{"source", "text", 0, 3}, {"target", "text", 3, 7}};
  plan.families = {item_traces::part("cross", 1, 1, {3, 7}, {0, 3})};
  const auto weight = [](int64_t row, int64_t key) { return key == (row == 0 ? 1 : row == 1 ? 0 : 2) ? 0.9 : 0.05; };
  auto trace = std::make_shared<Trace>();
  trace->begin(plan);
  trace->take({"cross", 0, 0}, item_traces::record_of(4, 3, {weight}), {});
  LoadedTrace::Options options;
  options.command = "clearhead view translator 'red car'";
  return LoadedTrace(trace, options);
}

const std::vector<std::string> kNames = {"voiture", "rouge", "</s>", "(after the end)"};

template <class T>
T part_of_figure(LoadedTrace& loaded, const std::string& state) {
  for (const Part& part : figure_of(loaded, state).parts) {
    if (const auto* found = std::get_if<T>(&part)) return *found;
  }
  ADD_FAILURE() << state;
  return {};
}

TEST(NamedRows, OfAMapAndOfLinesAreTheWordsBeingWritten) {
  LoadedTrace loaded = translation();
  EXPECT_EQ(part_of_figure<Matrix>(loaded, "v=map&f=cross&h=0.0").rows.labels, kNames);
  EXPECT_EQ(part_of_figure<Lines>(loaded, "v=lines&f=cross&h=0.0").queries, kNames);
}

TEST(NamedRows, OfATextSayWhatIsWritten) {
  LoadedTrace loaded = translation();
  const Figure figure = figure_of(loaded, "v=read&f=cross&h=0.0&q=4");
  EXPECT_NE(figure.name.find("what writing #5 rouge attends to"), std::string::npos) << figure.name;
  const auto table = part_of_figure<Table>(loaded, "v=read&f=cross&h=0.0&q=4");
  EXPECT_EQ(table.rows.at(0).at(1), "#0 red");
}

TEST(NamedRows, OfAColumnArePaintedOnTheWordsBeingWritten) {
  LoadedTrace loaded = translation();
  const auto table = part_of_figure<Table>(loaded, "v=read&f=cross&h=0.0&d=in&k=0");
  EXPECT_EQ(table.rows.at(0).at(1), "#5 rouge");
  const auto words = part_of_figure<Words>(loaded, "v=read&f=cross&h=0.0&d=in&k=0");
  const auto darkest = std::ranges::max_element(words.words, [](const Word& a, const Word& b) { return a.strength < b.strength; });
  EXPECT_EQ(darkest->text, "rouge");
}

TEST(NamedRows, OfNeuronsCountInTheWholeText) {
  LoadedTrace loaded = translation();
  const ViewFrame frame = questions::neurons(loaded, {.at = {.family = "cross"}, .query = 4});  // writes "rouge"
  const auto* keys = reinterpret_cast<const uint32_t*>(frame.arrays[0].bytes.data());
  EXPECT_EQ(frame.arrays[0].shape[0], 3);
  EXPECT_EQ(keys[0], 0U) << "red";
}

TEST(NamedRows, BeginWhereApiInfoSays) {
  LoadedTrace loaded = translation();
  const Json info = questions::info(loaded);
  EXPECT_EQ(info.find("families")->items()[0].find("writes_from")->integer(), 3);
}

TEST(NamedRows, OfExportedNumbersKeepTheirIds) {
  LoadedTrace loaded = translation();
  const Json json = Json::parse(export_file(loaded, "json", "v=read&f=cross&h=0.0&q=4", "").bytes, "export");
  ASSERT_NE(json.find("writes_from"), nullptr);
  EXPECT_EQ(json.find("writes_from")->integer(), 3);
  EXPECT_EQ(json.find("heads")->items()[0].find("rows")->find("of")->dump(), "[[4,5]]");
}

}  // namespace
}  // namespace clearhead::viewer
