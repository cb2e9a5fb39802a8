// Several open traces as one page without HTTP asks them: each request goes to the trace that it names, and a stream arrives in chunks.
#include "viewer/open_traces.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "looked_at.h"
#include "viewer/side_by_side.h"

namespace clearhead::viewer {
namespace {

OpenTraces two_texts() {
  std::vector<ShownTrace> traces;
  for (const int64_t tokens : {20, 30}) traces.push_back({std::make_shared<const Trace>(looked_at::trace_of({.tokens = tokens}))});
  return OpenTraces(side_by_side(traces, {}));
}

struct Answered {
  ApiAnswer answer{};
  std::vector<std::string> chunks{};
};

Answered ask(OpenTraces& traces, const ApiRequest& request) {
  Answered out;
  out.answer = traces.respond(request, [&](std::string chunk) { out.chunks.push_back(std::move(chunk)); });
  return out;
}

TEST(OpenTraces, GiveEachRequestToTheTraceThatItNames) {
  OpenTraces traces = two_texts();
  for (const auto& [number, tokens] : {std::pair{"0", 20}, {"1", 30}, {"", 20}}) {
    const ApiRequest info{.path = "info", .query = {{"t", number}}};
    const Json found = Json::parse(ask(traces, info).answer.body, "info");
    EXPECT_EQ(found.find("families")->items()[0].find("queries")->integer(), tokens) << "t=" << number;
  }
  EXPECT_EQ(traces.other_of({.path = "compare", .query = {{"with", "1"}}}), &traces.of({.path = "info", .query = {{"t", "1"}}}));
  EXPECT_EQ(traces.other_of({.path = "compare"}), nullptr);
}

TEST(OpenTraces, AnswerAStreamInChunksThatEndWithDone) {
  OpenTraces traces = two_texts();
  const Answered found = ask(traces, {.path = "atlas", .query = {{"format", "json"}}});
  EXPECT_EQ(found.answer.status, 200);
  EXPECT_TRUE(found.answer.body.empty());
  ASSERT_GT(found.chunks.size(), 1U);
  EXPECT_NE(found.chunks.back().find("\"done\""), std::string::npos);
}

TEST(OpenTraces, AnswerRefusedRequestsWithTheirStatus) {
  OpenTraces traces = two_texts();
  const struct {
    ApiRequest request;
    int status;
    const char* says;
  } cases[] = {
      {{.path = "nothing"}, 404, "no such endpoint"},
      {{.path = "mass"}, 400, "expected a POST"},
      {{.path = "info", .post = true}, 400, "expected a GET"},
      {{.path = "row", .query = {{"l", "9"}, {"q", "1"}}}, 404, "layer"},
      {{.path = "info", .query = {{"t", "7"}}}, 404, "no such trace"},
      {{.path = "overview", .query = {{"edited", "none"}}}, 409, "edit"},
  };
  for (const auto& [request, status, says] : cases) {
    const Answered found = ask(traces, request);
    EXPECT_EQ(found.answer.status, status) << request.path;
    EXPECT_NE(found.answer.body.find(says), std::string::npos) << found.answer.body;
    EXPECT_TRUE(found.chunks.empty());
  }
}

TEST(OpenTraces, EndAStreamThatFailsWithAnError) {
  OpenTraces traces = two_texts();
  std::vector<std::string> chunks;
  std::atomic<bool> cancel{false};
  const auto emit = [&](std::string chunk) {
    chunks.push_back(std::move(chunk));
    cancel = true;
  };
  const ApiAnswer answer = traces.respond({.path = "atlas", .query = {{"format", "json"}}}, emit, {.cancel = &cancel});
  EXPECT_EQ(answer.status, 200) << "the answer had begun";
  EXPECT_NE(chunks.back().find("kCancelled"), std::string::npos) << chunks.back();
}

}  // namespace
}  // namespace clearhead::viewer
