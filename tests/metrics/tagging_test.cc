// Entities against seqeval, in its default mode and in strict IOB2; invalid tags.
#include "metrics/tagging.h"

#include "metrics/goldens.h"
#include "refused.h"

namespace clearhead::metrics {
namespace {

std::vector<Tags> sentences(const Json& list) {
  std::vector<Tags> out;
  for (const Json& item : list.items()) out.push_back(strings(item));
  return out;
}

void expect_spans(const Tags& tags, TagScheme scheme, const Json& expected) {
  const std::vector<TagSpan> found = spans_of(tags, scheme);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    const Json::Array& span = expected.items()[i].items();
    EXPECT_EQ(found[i], (TagSpan{span[0].string(), static_cast<size_t>(span[1].integer()), static_cast<size_t>(span[2].integer())}));
  }
}

void expect_tagging(const Json& one, const std::string& mode, TagScheme scheme) {
  if (one.find(mode) == nullptr) return;
  SCOPED_TRACE(mode);
  const Json& expected = field(one, mode);
  const std::vector<Tags> theirs = sentences(field(one, "expected"));
  for (size_t i = 0; i < theirs.size(); ++i) expect_spans(theirs[i], scheme, field(expected, "spans").items()[i]);
  const Tagging found = tagging(sentences(field(one, "predicted")), theirs, scheme);
  ASSERT_EQ(found.types.size(), field(expected, "types").size());
  for (size_t i = 0; i < found.types.size(); ++i) {
    EXPECT_EQ(found.types[i].type, field(expected, "types").items()[i].string());
    expect_score(found.types[i].score, field(expected, "scores").items()[i]);
  }
  if (!found.types.empty()) expect_averages(found.average, expected);  // seqeval's macro average of no entities is NaN
}

TEST(Tagging, SpansAndScoresMatchSeqevalsDefaultMode) {
  for_each_case("tagging", [](const Json& one) { expect_tagging(one, "lenient", TagScheme::kLenient); });
}

TEST(Tagging, SpansAndScoresMatchSeqevalsStrictIob2) {
  int strict = 0;
  for_each_case("tagging", [&](const Json& one) {
    strict += one.find("strict") != nullptr;
    expect_tagging(one, "strict", TagScheme::kIob2);
  });
  EXPECT_GT(strict, 10);
}

TEST(Tagging, SingleAndEndTagsCloseTheirSpan) {
  EXPECT_EQ(spans_of({"S-X", "I-X", "E-X", "I-X"}), (std::vector<TagSpan>{{"X", 0, 1}, {"X", 1, 3}, {"X", 3, 4}}));
}

TEST(Tagging, NoEntityAnywhereScoresZero) {
  const Tagging found = tagging({{"O", "O"}}, {{"O", "O"}});
  EXPECT_TRUE(found.types.empty());
  EXPECT_EQ(found.average.micro.f1, 0);
  EXPECT_EQ(found.average.macro.f1, 0);
}

TEST(Tagging, RefusesTagsOfNoScheme) {
  for (const char* tag : {"", "PER", "BPER", "OTHER", "L-PER", "b-PER"}) {
    expect_refused(ErrorCode::kInvalidArgument,
                   std::string("tagging: tag [1] is \"") + tag + "\"; expected O, or one of BIES followed by -TYPE", [&] {
                     spans_of({"O", tag});
                   });
  }
  expect_refused(ErrorCode::kInvalidArgument, "tag [0] is \"S-PER\"; expected O, or one of BI",
                 [] { spans_of({"S-PER"}, TagScheme::kIob2); });
}

TEST(Tagging, RefusesMismatchedOrMissingSentences) {
  expect_refused(ErrorCode::kInvalidArgument, "tagging: sentence 1 has 2 tags against 1", [] { tagging({{}, {"O", "O"}}, {{}, {"O"}}); });
  expect_refused(ErrorCode::kInvalidArgument, "tagging: 1 sentences against 2", [] { tagging({{}}, {{}, {}}); });
  expect_refused(ErrorCode::kInvalidArgument, "tagging: no sentences", [] { tagging({}, {}); });
}

}  // namespace
}  // namespace clearhead::metrics
