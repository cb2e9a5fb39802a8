// The server over real sockets: authorisation, answers, cancellation.
#include "viewer/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "looked_at.h"
#include "refused.h"
#include "viewer/bundle.h"
#include "viewer/engine.h"
#include "viewer/questions/lines.h"
#include "viewer/questions/mass.h"

namespace clearhead::viewer {
namespace {

using namespace std::chrono_literals;

// A connection that sends given bytes unchanged.
class Connection {
 public:
  explicit Connection(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Connection() { close(); }
  bool connected() const { return connected_; }
  void say(const std::string& text) { EXPECT_TRUE(try_to_say(text)); }
  // Returns false if the server has closed the connection.
  bool try_to_say(const std::string& text) {
    return ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  std::string hear_all() {
    std::string out;
    char buffer[65536];
    for (ssize_t got = 0; (got = ::recv(socket_, buffer, sizeof buffer, 0)) > 0;) out.append(buffer, static_cast<size_t>(got));
    return out;
  }
  std::string hear_some() {
    char buffer[65536];
    const ssize_t got = ::recv(socket_, buffer, sizeof buffer, 0);
    return got > 0 ? std::string(buffer, static_cast<size_t>(got)) : "";
  }
  bool is_answered_within(std::chrono::milliseconds time) {
    pollfd state{socket_, POLLIN, 0};
    return ::poll(&state, 1, static_cast<int>(time.count())) == 1;
  }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }

 private:
  int socket_ = -1;
  bool connected_ = false;
};

/// Waits up to 30 s, because the machine may be busy.
void wait_until(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + 30s;
  while (!holds() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(holds());
}

struct Answer {
  int status = 0;
  std::string head{}, body{};
};

Answer split(const std::string& text) {
  const size_t end = text.find("\r\n\r\n");
  if (text.size() < 12 || end == std::string::npos) return {};
  return {std::stoi(text.substr(9, 3)), text.substr(0, end + 2), text.substr(end + 4)};
}

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() : ServerTest({looked_at::loaded_of({.tokens = 120})}) {}
  explicit ServerTest(std::vector<LoadedTrace> traces, ServerOptions options = {})
      : server_(std::move(traces), with_token(std::move(options))), thread_([this] { server_.serve(); }) {
    for (int i = 0; i < 100 && !Connection(server_.port()).connected(); ++i) std::this_thread::sleep_for(10ms);
    std::this_thread::sleep_for(20ms);
  }
  ~ServerTest() override {
    server_.stop();
    thread_.join();
  }
  std::string host() const { return "127.0.0.1:" + std::to_string(server_.port()); }
  std::string cookie() const { return "Cookie: clearhead_" + std::to_string(server_.port()) + "=" + server_.token() + "\r\n"; }
  Answer raw(const std::string& request) const {
    Connection connection(server_.port());
    connection.say(request);
    return split(connection.hear_all());
  }
  /// Expects an answer within ten seconds, so that a server that waits for other connections is detected even on a busy machine.
  void expect_answer(const std::string& target) const {
    Connection connection(server_.port());
    connection.say("GET " + target + " HTTP/1.1\r\nConnection: close\r\nHost: " + host() + "\r\n" + cookie() + "\r\n");
    ASSERT_TRUE(connection.is_answered_within(10s)) << target;
    EXPECT_EQ(split(connection.hear_all()).status, 200) << target;
  }
  /// Sends all credentials by default.
  Answer get(const std::string& target, const std::string& headers) const {
    return raw("GET " + target + " HTTP/1.1\r\nConnection: close\r\n" + headers + "\r\n");
  }
  Answer get(const std::string& target) const { return get(target, "Host: " + host() + "\r\n" + cookie()); }
  Answer post(const std::string& target, const std::string& body, const std::string& type = "application/json") const {
    return raw(request_of(target, body, type));
  }
  std::string request_of(const std::string& target, const std::string& body, const std::string& type = "application/json") const {
    return "POST " + target + " HTTP/1.1\r\nConnection: close\r\nHost: " + host() + "\r\n" + cookie() + "Content-Type: " + type +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  static ServerOptions with_token(ServerOptions options) {
    options.token = "0123456789abcdef0123456789abcdef";
    return options;
  }
  static std::string message_of(const Answer& answer) {
    return Json::parse(answer.body, "answer").find("error")->find("message")->string();
  }
  static std::string code_of(const Answer& answer) { return Json::parse(answer.body, "answer").find("error")->find("code")->string(); }

  ViewServer server_;
  std::thread thread_;
};

// Three checkpoints of a run, distinguished by their scale.
class SteppedServerTest : public ServerTest {
 protected:
  SteppedServerTest() : ServerTest(steps()) {}
  static std::vector<LoadedTrace> steps() {
    LoadedTrace::Options options;
    std::vector<LoadedTrace> out;
    std::vector<std::shared_ptr<const Trace>> traces;
    for (const float scale : {0.1F, 0.2F, 0.3F}) {
      looked_at::Options of{.tokens = 60};
      of.spec.score = Dot{scale};
      traces.push_back(std::make_shared<const Trace>(looked_at::trace_of(of)));
      options.together.push_back({.number = 10 * static_cast<int64_t>(traces.size()), .id = traces.back()->id()});
    }
    options.is_run = true;
    for (options.at = 0; options.at < traces.size(); ++options.at) out.emplace_back(traces[options.at], options);
    return out;
  }
  Json of(const std::string& target) const { return Json::parse(get(target).body, "answer"); }
};

// Drawings that begin and then wait until the gate is opened.
struct Gate {
  std::atomic<int> begun{0};
  std::atomic<bool> is_open{false};
};

class DrawingServerTest : public ServerTest {
 protected:
  DrawingServerTest() : DrawingServerTest(std::make_shared<Gate>()) {}
  explicit DrawingServerTest(const std::shared_ptr<Gate>& gate) : ServerTest(one_trace(), {.alone = behind(gate)}), gate_(gate) {}
  ~DrawingServerTest() override { gate_->is_open = true; }
  static std::vector<LoadedTrace> one_trace() {
    std::vector<LoadedTrace> out;
    out.push_back(looked_at::loaded_of({.tokens = 120}));
    return out;
  }
  static std::function<ApiAnswer(const ApiRequest&, const AloneOptions&)> behind(std::shared_ptr<Gate> gate) {
    return [gate = std::move(gate)](const ApiRequest&, const AloneOptions& options) {
      ++gate->begun;
      while (!gate->is_open && !options.cancel->load()) std::this_thread::sleep_for(1ms);
      return ApiAnswer{.body = "drawn"};
    };
  }

  std::shared_ptr<Gate> gate_;
};

// A trace in a file that other programs may truncate.
class FileServerTest : public ServerTest {
 protected:
  FileServerTest() : ServerTest(saved()) {}
  ~FileServerTest() override { std::filesystem::remove(path()); }
  static std::string path() { return testing::TempDir() + "clearhead_served_" + std::to_string(::getpid()) + ".trace"; }
  static std::vector<LoadedTrace> saved() {
    guard_mappings();
    looked_at::trace_of({.tokens = 1500}).save(path());
    std::vector<LoadedTrace> out;
    out.emplace_back(std::make_shared<const Trace>(Trace::load(path())), LoadedTrace::Options{});
    return out;
  }
};

TEST_F(FileServerTest, ATruncatedTraceIsReportedAndTheServerContinues) {
  ASSERT_EQ(get("/api/row?q=50&l=1&h=2&top=1&format=json").status, 200);
  ASSERT_EQ(::truncate(path().c_str(), 8192), 0);
  for (const char* question : {"/api/row?q=1400&l=1&h=2&top=1&format=json", "/api/overview?l=1&h=1"}) {
    const Answer cut = get(question);
    EXPECT_NE(cut.status, 200) << question;
    EXPECT_NE(cut.body.find(path() + ": was truncated by another program"), std::string::npos) << cut.body;
  }
  EXPECT_EQ(get("/").status, 200);
}

TEST_F(SteppedServerTest, RequestsSelectTheCheckpointByItsStep) {
  std::vector<LoadedTrace> expected = steps();
  for (size_t at = 0; at < 3; ++at) {
    const std::string t = "t=" + std::to_string(10 * (at + 1));
    EXPECT_EQ(of("/api/info?" + t).find("step")->integer(), static_cast<int64_t>(10 * (at + 1)));
    LineLook look;
    look.ranges = {{50, 51}};
    look.top = 1;
    EXPECT_EQ(of("/api/row?q=50&top=1&format=json&id=" + expected[at].id() + "&" + t).find("top")->dump(),
              questions::row(expected[at], look).header.find("top")->dump());
    const Answer massed = post("/api/mass?format=json&" + t, R"({"f": "dec", "rows": [[50, 51]], "keys": [[0, 20]]})");
    EXPECT_EQ(massed.body, questions::mass(expected[at], {"dec", {{50, 51}}, {{0, 20}}}).json());
  }
  EXPECT_EQ(of("/api/info").find("step")->integer(), 30);
  EXPECT_EQ(get("/api/info?t=11").status, 404);
  EXPECT_EQ(get("/api/row?q=5&t=10&id=" + expected[1].id()).status, 409);
}

TEST_F(ServerTest, TheTokenIsTradedForACookie) {
  const Answer answer = get("/?token=" + server_.token(), "Host: " + host() + "\r\n");
  EXPECT_EQ(answer.status, 303);
  EXPECT_NE(answer.head.find("Location: /\r\n"), std::string::npos) << answer.head;
  EXPECT_NE(answer.head.find("Set-Cookie: clearhead_" + std::to_string(server_.port()) + "=" + server_.token() +
                             "; Path=/; HttpOnly; SameSite=Strict"),
            std::string::npos)
      << answer.head;
}

TEST_F(ServerTest, WithoutTheTokenNothingIsShown) {
  for (const char* target : {"/", "/app.js", "/app.css", "/api/info", "/api/nothing", "/../etc/passwd"}) {
    const Answer answer = get(target, "Host: " + host() + "\r\n");
    EXPECT_EQ(answer.status, 403) << target;
    EXPECT_EQ(code_of(answer), "forbidden");
  }
  EXPECT_EQ(get("/?token=0123456789abcdef0123456789abcdee", "Host: " + host() + "\r\n").status, 403);
  EXPECT_EQ(get("/?token=", "Host: " + host() + "\r\n").status, 403);
  EXPECT_EQ(get("/api/info", "Host: " + host() + "\r\nCookie: clearhead_" + std::to_string(server_.port()) + "=no\r\n").status, 403);
  EXPECT_EQ(get("/api/info", "Host: " + host() + "\r\nAuthorization: Bearer no\r\n").status, 403);
}

TEST_F(ServerTest, ABearerTokenIsAccepted) {
  EXPECT_EQ(get("/api/info", "Host: " + host() + "\r\nAuthorization: Bearer " + server_.token() + "\r\n").status, 200);
}

TEST_F(ServerTest, AnotherHostOrOriginIsRefusedEvenWithTheCookie) {
  EXPECT_EQ(get("/api/info").status, 200);
  for (const std::string& other : {std::string("evil.example"), "evil.example:" + std::to_string(server_.port()), std::string("127.0.0.1"),
                                   std::string("127.0.0.1:1"), host() + ".evil.example"}) {
    EXPECT_EQ(get("/api/info", "Host: " + other + "\r\n" + cookie()).status, 403) << other;
  }
  for (const std::string& origin :
       {std::string("http://evil.example"), std::string("null"), "https://" + host(), std::string("http://127.0.0.1:1")}) {
    EXPECT_EQ(get("/api/info", "Host: " + host() + "\r\nOrigin: " + origin + "\r\n" + cookie()).status, 403) << origin;
  }
  EXPECT_EQ(
      get("/api/info", "Host: localhost:" + std::to_string(server_.port()) + "\r\nOrigin: http://" + host() + "\r\n" + cookie()).status,
      200);
}

TEST_F(ServerTest, ThePageHasSecurityHeadersAndIsNotCached) {
  const Answer page = get("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.body, viewer_bundle().index);
  for (const char* header : {"Content-Security-Policy: default-src 'none'; script-src 'self'", "frame-ancestors 'none'",
                             "Cache-Control: no-store", "X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer",
                             "Cross-Origin-Resource-Policy: same-origin", "Content-Type: text/html"}) {
    EXPECT_NE(page.head.find(header), std::string::npos) << header;
  }
  EXPECT_EQ(page.head.find("Access-Control"), std::string::npos);
  EXPECT_EQ(get("/app.js").body, viewer_bundle().script);
  EXPECT_EQ(get("/app.css").body, viewer_bundle().style);
}

TEST_F(ServerTest, NothingElseIsServed) {
  for (const char* target : {"/index.html", "/offline.html", "/../../etc/passwd", "/api", "/api/nothing", "/favicon.ico"}) {
    const Answer answer = get(target);
    EXPECT_EQ(answer.status, 404) << target;
    EXPECT_EQ(code_of(answer), "kNotFound") << target;
  }
}

TEST_F(ServerTest, AnswersEveryQuestionAsJson) {
  const Json info = Json::parse(get("/api/info").body, "info");
  EXPECT_EQ(info.find("protocol")->integer(), 1);
  EXPECT_EQ(info.find("source")->string(), "trace");
  EXPECT_EQ(info.find("families")->items()[0].find("queries")->integer(), 120);
  for (const char* target : {"text?side=0", "row?q=5", "col?k=5", "stats", "tile?z=0", "tile?z=0&dtype=f32&pool=max"}) {
    const Answer answer = get(std::string("/api/") + target + (std::strchr(target, '?') ? "&" : "?") + "format=json");
    EXPECT_EQ(answer.status, 200) << target << answer.body;
    EXPECT_NE(answer.head.find("Content-Type: application/json"), std::string::npos);
    EXPECT_TRUE(Json::parse(answer.body, target).find("arrays")->is_object()) << target;
  }
  EXPECT_EQ(Json::parse(get("/api/segments?side=0").body, "segments").find("segments")->size(), 2u);
  const Answer frame = get("/api/row?q=5&values=all");
  EXPECT_NE(frame.head.find("Content-Type: application/vnd.clearhead.frame"), std::string::npos);
  EXPECT_EQ(frame.body.substr(0, 4), "CHF1");
}

TEST_F(ServerTest, AnswersPostsOfJsonOnly) {
  const std::string mass = R"({"f":"dec","rows":[[10,20]],"keys":[[0,5]],"w":"raw","sink":"mark"})";
  EXPECT_EQ(post("/api/mass?format=json", mass).status, 200);
  EXPECT_EQ(post("/api/mass", mass, "text/plain").status, 400);
  EXPECT_EQ(post("/api/mass", "{").status, 400);
  EXPECT_EQ(post("/api/mass", R"({"f":"dec","rows":[[10]],"keys":[[0,5]]})").status, 400);
  EXPECT_EQ(post("/api/row?q=1", "{}").status, 400);
  EXPECT_EQ(get("/api/mass").status, 400);
  const Json verified =
      Json::parse(post("/api/verify", R"({"f":"dec","heads":[[1,3]],"rows":[[3,4]],"keys":[[0,120]],"w":"raw"})").body, "verify");
  EXPECT_TRUE(verified.find("within")->boolean());
  EXPECT_EQ(verified.find("checked")->integer(), 120);
}

TEST_F(ServerTest, MalformedParametersAreRefused) {
  for (const auto& [target, status, code] :
       std::vector<std::tuple<const char*, int, const char*>>{{"row", 400, "kInvalidArgument"},
                                                              {"row?q=", 400, "kInvalidArgument"},
                                                              {"row?q=120", 400, "kInvalidArgument"},
                                                              {"row?q=5&top=5000", 400, "kInvalidArgument"},
                                                              {"row?q=5&sink=maybe", 400, "kInvalidArgument"},
                                                              {"row?q=5&w=heavy", 400, "kInvalidArgument"},
                                                              {"row?q=5&values=3-500", 400, "kInvalidArgument"},
                                                              {"row?q=5&l=9", 404, "kNotFound"},
                                                              {"row?q=5&h=9", 404, "kNotFound"},
                                                              {"row?q=5&f=enc", 404, "kNotFound"},
                                                              {"tile?z=-1", 400, "kInvalidArgument"},
                                                              {"tile?z=0&x=7", 404, "kNotFound"},
                                                              {"tile?z=40&x=1", 404, "kNotFound"},
                                                              {"text?side=1", 404, "kNotFound"},
                                                              {"text?from=9&to=3", 400, "kInvalidArgument"},
                                                              {"overview?l=9", 404, "kNotFound"},
                                                              {"export?kind=gif", 400, "kInvalidArgument"},
                                                              {"export?kind=html&budget=1kB", 409, "kBudget"},
                                                              {"row?q=5&format=xml", 400, "kInvalidArgument"},
                                                              {"row?q=5&seq=-1", 400, "kInvalidArgument"}}) {
    const Answer answer = get(std::string("/api/") + target);
    EXPECT_EQ(answer.status, status) << target << ": " << answer.body;
    EXPECT_EQ(code_of(answer), code) << target;
  }
}

TEST_F(ServerTest, ABodyOverTheLimitIsRefused) {
  const Answer answer = raw("POST /api/mass HTTP/1.1\r\nConnection: close\r\nHost: " + host() + "\r\n" + cookie() +
                            "Content-Type: application/json\r\nContent-Length: 17000000\r\n\r\n");
  EXPECT_EQ(answer.status, 413);
}

// Clients without a token: connections that send little or nothing, slowly.
TEST_F(ServerTest, SlowAndSilentClientsDoNotBlockTheOwner) {
  std::vector<std::unique_ptr<Connection>> others;
  for (int i = 0; i < 600; ++i) {
    others.push_back(std::make_unique<Connection>(server_.port()));
    if (i % 3 == 1) others.back()->try_to_say("GET / HTTP/1.1\r\n");
    if (i % 3 == 2) others.back()->try_to_say("POST /api/mass HTTP/1.1\r\nHost: " + host() + "\r\nContent-Length: 100\r\nX: ");
  }
  for (int again = 0; again < 5; ++again) {
    expect_answer("/api/info");  // 600 connections of 5 s each would block all threads for minutes
    for (size_t i = 1; i < others.size(); i += 3) others[i]->try_to_say("X-More: 1\r\n");
  }
}

// The header is complete, but the announced body does not come: the server answers without it.
TEST_F(ServerTest, ClientsThatWithholdTheirBodyDoNotBlockTheOwner) {
  std::vector<std::unique_ptr<Connection>> others;
  for (int i = 0; i < 120; ++i) {
    others.push_back(std::make_unique<Connection>(server_.port()));
    others.back()->say(std::string("POST ") + (i % 2 == 0 ? "/api/mass" : "/api/info") + " HTTP/1.1\r\nHost: " + host() +
                       "\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n");
  }
  for (const char* look : {"/api/info", "/api/row?q=5"}) expect_answer(look);  // the server waits 30 s for the bodies
  const Answer refused = split(others.back()->hear_all());
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(refused.head.find("Connection: close"), std::string::npos);
}

TEST_F(ServerTest, InitialRequestsDoNotWaitForExports) {
  std::vector<std::unique_ptr<Connection>> exports;
  for (int i = 0; i < 16; ++i) {
    exports.push_back(std::make_unique<Connection>(server_.port()));
    exports.back()->say("GET /api/export?kind=html HTTP/1.1\r\nHost: " + host() + "\r\n" + cookie() + "\r\n");
  }
  const auto is_answered = [](const auto& one) { return one->is_answered_within(0ms); };
  while (std::none_of(exports.begin(), exports.end(), is_answered)) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(get("/api/info").status, 200);
  EXPECT_LE(std::count_if(exports.begin(), exports.end(), is_answered), 12);
}

TEST_F(DrawingServerTest, OtherRequestsAreAnsweredWhilePdfsAreQueued) {
  std::vector<std::unique_ptr<Connection>> posts;
  const auto post_one = [&] {
    posts.push_back(std::make_unique<Connection>(server_.port()));
    posts.back()->say(request_of("/api/pdf", "{}"));
  };
  post_one();
  wait_until([&] { return gate_->begun == 1; });
  for (int i = 0; i < 40; ++i) post_one();

  for (const char* look : {"/api/info", "/api/row?l=1&h=2&q=7&format=json", "/api/text"}) expect_answer(look);
  EXPECT_EQ(gate_->begun, 1) << "drawn at once";
  // Only refusals are answered while the gate is closed. The server accepts connections in its own time: if the gate opened before it has
  // read all of them, requests that should be refused would find a free place.
  wait_until(
      [&] { return std::count_if(posts.begin(), posts.end(), [](const auto& post) { return post->is_answered_within(0ms); }) == 36; });

  gate_->is_open = true;
  int drawn = 0, refused = 0;
  for (const auto& post : posts) {
    const Answer answer = split(post->hear_all());
    if (answer.status == 200) {
      ++drawn;
    } else {
      ++refused;
      EXPECT_EQ(answer.status, 503);
      EXPECT_EQ(message_of(answer), "the server is busy: 4 requests of this kind are waiting; try again when one is answered");
    }
  }
  EXPECT_EQ(drawn, 5);
  EXPECT_EQ(refused, 36);
}

TEST_F(DrawingServerTest, APdfIsCancelledWhenItsClientDisconnects) {
  Connection gone(server_.port());
  gone.say(request_of("/api/pdf", "{}"));
  wait_until([&] { return gate_->begun == 1; });
  gone.close();
  Connection next(server_.port());
  next.say(request_of("/api/pdf", "{}"));
  wait_until([&] { return gate_->begun == 2; });  // while the gate is closed
  gate_->is_open = true;
  EXPECT_EQ(split(next.hear_all()).status, 200);
}

TEST_F(ServerTest, PostsThatAreNoDrawingAreRefusedByName) {
  const std::string svg = R"(<svg xmlns="http://www.w3.org/2000/svg"><filter id="f"><feTurbulence/></filter></svg>)";
  const auto message = [&](const std::string& body, int status) {
    const Answer answer = post("/api/pdf", body);
    EXPECT_EQ(answer.status, status) << answer.body;
    return message_of(answer);
  };
  const auto drawing = [](const std::string& marks) {
    return R"({"width": 10, "height": 10, "title": "", "description": "", "marks": [)" + marks + "]}";
  };
  EXPECT_EQ(message_of(post("/api/pdf", svg, "image/svg+xml")), "api/pdf: expected Content-Type: application/json.");
  EXPECT_EQ(message(svg, 400).rfind("api/pdf: ", 0), 0u) << message(svg, 400);
  EXPECT_EQ(message(R"({"width": 10, "height": 10, "marks": [], "svg": "<svg/>"})", 409),
            "api/pdf: field \"svg\" is not understood; remove it, or use a version of clearhead that knows it");
  EXPECT_EQ(message(drawing(R"({"kind": "image", "href": "file:///etc/passwd"})"), 409),
            "api/pdf: \"marks[0].kind\": \"image\" is not understood; expected box, curve, text, pixels or pointer");
  EXPECT_EQ(message(drawing(R"({"kind": "text", "x": 1})"), 400), "api/pdf: field \"marks[0].y\" is missing");
  EXPECT_EQ(message(drawing(R"({"kind": "text", "x": 1, "y": 1, "text": ")" + std::string(2'001, 'a') + "\"}"), 400),
            "api/pdf: \"marks[0].text\": found 2001 bytes; expected at most 2000 in one text");
  EXPECT_EQ(message(R"({"width": 10, "height": 10, "marks": [)", 400).substr(0, 59),
            "api/pdf: not valid JSON at byte 39: unexpected end of input");
  EXPECT_EQ(get("/api/pdf").status, 400);
}

TEST_F(ServerTest, EndlessRequestHeadersAreRefused) {
  Connection connection(server_.port());
  connection.say("GET / HTTP/1.1\r\nHost: " + host() + "\r\n");
  for (int line = 0; line < 300; ++line) connection.try_to_say("X-" + std::to_string(line) + ": " + std::string(80, 'x') + "\r\n");
  EXPECT_EQ(split(connection.hear_all()).status, 431);
}

TEST_F(ServerTest, AnIncompleteRequestTimesOut) {
  constexpr int kLines = 100;  // over 20 s; the server waits 5 s
  Connection connection(server_.port());
  connection.say("GET / HTTP/1.1\r\n");
  std::atomic<bool> done{false};
  std::atomic<int> line{0};
  std::thread dribble([&] {
    for (; line < kLines && !done; ++line, std::this_thread::sleep_for(200ms)) connection.try_to_say("X: 1\r\n");
  });
  EXPECT_EQ(connection.hear_all(), "");
  done = true;
  dribble.join();
  EXPECT_LT(line, kLines);
}

TEST_F(ServerTest, PipelinedRequestsOnOneConnectionAreAnswered) {
  Connection connection(server_.port());
  const std::string ask = "GET /api/segments?side=0 HTTP/1.1\r\nHost: " + host() + "\r\n" + cookie() + "\r\n";
  for (int again = 0; again < 200; ++again) connection.say(ask);  // without waiting for answers
  connection.say("GET /api/segments?side=0 HTTP/1.1\r\nConnection: close\r\nHost: " + host() + "\r\n" + cookie() + "\r\n");
  const std::string all = connection.hear_all();
  int answers = 0;
  for (size_t at = all.find("HTTP/1.1 200"); at != std::string::npos; at = all.find("HTTP/1.1 200", at + 1)) ++answers;
  EXPECT_EQ(answers, 201);
}

// The body of a refused request is not read as the next request.
TEST_F(ServerTest, AnUnreadBodyIsNotParsedAsARequest) {
  const std::string inner = "GET /app.js HTTP/1.1\r\nConnection: close\r\nHost: " + host() + "\r\n" + cookie() + "\r\n";
  Connection connection(server_.port());
  connection.say("POST /api/mass HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\nContent-Length: " + std::to_string(inner.size()) +
                 "\r\n\r\n" + inner);
  const std::string all = connection.hear_all();
  EXPECT_EQ(split(all).status, 403);
  EXPECT_EQ(all.find("HTTP/1.1 200"), std::string::npos);
}

TEST_F(ServerTest, ChunkedAndCompressedBodiesAreRefused) {
  const std::string begin =
      "POST /api/mass HTTP/1.1\r\nConnection: close\r\nHost: " + host() + "\r\n" + cookie() + "Content-Type: application/json\r\n";
  EXPECT_EQ(raw(begin + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n").status, 411);
  EXPECT_EQ(raw(begin + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}").status, 415);
}

TEST_F(ServerTest, RangeRequestsAreAnsweredWithTheWholeFile) {
  for (const char* range : {"bytes=0-3", "bytes=999999999-", "bytes=5-2", "lines=1-2", "bytes=0-0,2-3"}) {
    const Answer answer = get("/app.css", "Host: " + host() + "\r\n" + cookie() + "RANGE: " + range + "\r\n");
    EXPECT_EQ(answer.status, 200) << range;
    EXPECT_EQ(answer.body, viewer_bundle().style) << range;
  }
}

TEST_F(ServerTest, AnAddressThatIsTooLongIsRefused) {
  const Answer answer = get("/api/" + std::string(9000, 'x'));
  EXPECT_EQ(answer.status, 414);
  EXPECT_NE(answer.body.find("The address is longer"), std::string::npos) << answer.body;
}

TEST_F(ServerTest, AOneTimeAddressOpensOnce) {
  const std::string url = server_.url_for_once(), target = url.substr(url.find("/?"));
  EXPECT_EQ(url.find(server_.token()), std::string::npos);
  EXPECT_EQ(get("/?once=00000000000000000000000000000000", "Host: " + host() + "\r\n").status, 403);
  const Answer first = get(target, "Host: " + host() + "\r\n");
  EXPECT_EQ(first.status, 303);
  EXPECT_NE(first.head.find("Set-Cookie: clearhead_"), std::string::npos);
  EXPECT_EQ(get(target, "Host: " + host() + "\r\n").status, 403);
  EXPECT_EQ(get("/?once=", "Host: " + host() + "\r\n").status, 403);
}

TEST_F(ServerTest, StreamsEndWithDone) {
  for (const char* target : {"/api/overview?format=json", "/api/atlas?format=json"}) {
    const Answer answer = get(target);
    EXPECT_NE(answer.head.find("application/x-ndjson"), std::string::npos);
    EXPECT_NE(answer.body.find(R"("event":"done")"), std::string::npos) << answer.body.substr(0, 200);
  }
  const Answer binary = get("/api/overview");
  EXPECT_NE(binary.head.find("application/vnd.clearhead.frames"), std::string::npos);
  EXPECT_NE(binary.body.find("CHF1"), std::string::npos);
}

TEST_F(ServerTest, AQuestionAboutAnotherTextIsRefused) {
  const std::string info = get("/api/info").body;
  const size_t at = info.find("\"id\":\"");
  ASSERT_NE(at, std::string::npos) << info;
  const std::string id = info.substr(at + 6, info.find('"', at + 6) - at - 6);
  EXPECT_EQ(get("/api/row?q=3&id=" + id).status, 200);
  for (const char* question : {"/api/row?q=3&id=", "/api/atlas?id=", "/api/text?id="}) {
    const Answer answer = get(question + std::string("0123"));
    EXPECT_EQ(answer.status, 409) << question;
    EXPECT_EQ(code_of(answer), "kStale") << question;
  }
}

TEST_F(ServerTest, RunningATextNeedsAModel) {
  const Answer answer = post("/api/run", R"({"text":"Hello.","pair":null})");
  EXPECT_EQ(answer.status, 409);
  EXPECT_EQ(code_of(answer), "kUnsupported");
}

TEST_F(ServerTest, ExportsHaveAFileNameAndTheRequestedState) {
  const Answer answer = get("/api/export?kind=json&state=v%3Dread%26h%3D1.2%26q%3D7");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.head.find("Content-Disposition: attachment; filename=\"made-up-read.json\""), std::string::npos) << answer.head;
  EXPECT_NE(answer.body.find(R"("of":[[7,8]])"), std::string::npos);
}

TEST_F(ServerTest, APortInUseIsRefusedWithTheOptionToChangeIt) {
  try {
    ViewServer second(looked_at::loaded_of({.tokens = 5}), {.port = server_.port()});
    FAIL() << "two servers share a port";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(std::string(error.what()).find("--port"), std::string::npos) << error.what();
  }
}

TEST_F(ServerTest, GarbageDoesNotEndTheServer) {
  for (const std::string& request :
       {std::string("\r\n\r\n"), std::string("GET\r\n\r\n"), std::string(100'000, 'x') + "\r\n\r\n",
        std::string("GET / HTTP/1.1\r\nHost: \0\r\n\r\n", 28), std::string("POST /api/mass HTTP/1.1\r\nContent-Length: -5\r\n\r\n")}) {
    Connection connection(server_.port());
    connection.say(request);
    connection.close();
  }
  EXPECT_EQ(get("/api/info").status, 200);
}

// --- the engine -------------------------------------------------------------------------------------------------------------------------

std::shared_ptr<Job> job_that(Job::Kind kind, std::function<bool(Job&)> work) {
  auto job = std::make_shared<Job>();
  job->kind = kind;
  job->work = std::move(work);
  return job;
}

TEST(Engine, ANewerQuestionOfASlotCancelsTheOlderOne) {
  Engine engine;
  std::atomic<bool> began{false}, stopped{false}, newer{false};
  auto old = job_that(Job::Kind::kShort, [&](Job& job) {
    began = true;
    while (!job.token()->load()) std::this_thread::sleep_for(1ms);
    stopped = job.cancelled();
    return true;
  });
  old->slot = "row";
  old->number = 4;
  engine.post(old);
  wait_until([&] { return began.load(); });
  auto other = job_that(Job::Kind::kShort, [](Job&) { return true; });
  other->slot = "tile";
  other->number = 9;
  engine.post(other);
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(stopped) << "a job of another slot must not be cancelled";
  auto next = job_that(Job::Kind::kShort, [&](Job& job) {
    newer = !job.cancelled();
    return true;
  });
  next->slot = "row";
  next->number = 5;
  engine.post(next);
  wait_until([&] { return newer.load(); });
  EXPECT_TRUE(stopped);
}

TEST(Engine, ShortQuestionsAreAnsweredBetweenTheTasksOfALongOne) {
  Engine engine;
  std::atomic<bool> answered{false}, finished{false}, stop{false};
  engine.post(job_that(Job::Kind::kLong, [&](Job&) {
    while (!stop) {
      engine.yield();
      std::this_thread::sleep_for(1ms);
    }
    finished = true;
    return true;
  }));
  engine.post(job_that(Job::Kind::kShort, [&](Job&) {
    answered = true;
    return true;
  }));
  wait_until([&] { return answered.load(); });
  EXPECT_FALSE(finished);
  stop = true;
}

TEST(Engine, BackgroundJobsYieldToOthersAndResume) {
  Engine engine;
  std::atomic<int> turns{0};
  std::atomic<bool> other{false}, done{false};
  engine.post(job_that(Job::Kind::kBackground, [&](Job& job) {
    if (++turns > 1) return done = true;
    while (!job.token()->load()) std::this_thread::sleep_for(1ms);
    EXPECT_FALSE(job.cancelled());
    return false;
  }));
  wait_until([&] { return turns.load() == 1; });
  engine.post(job_that(Job::Kind::kLong, [&](Job&) {
    EXPECT_EQ(turns.load(), 1);
    return other = true;
  }));
  wait_until([&] { return done.load(); });
  EXPECT_TRUE(other);
}

TEST(Engine, RefusesMoreThanItCanHold) {
  Engine engine;
  std::atomic<bool> stop{false};
  engine.post(job_that(Job::Kind::kShort, [&](Job& job) {
    while (!stop && !job.token()->load()) std::this_thread::sleep_for(1ms);
    return true;
  }));
  wait_until([&] { return engine.waiting() == 0; });
  for (size_t i = 0; i < Engine::kMostWaiting; ++i) engine.post(job_that(Job::Kind::kShort, [](Job&) { return true; }));
  expect_refused(ErrorCode::kCancelled, "256 requests of this kind are waiting",
                 [&] { engine.post(job_that(Job::Kind::kShort, [](Job&) { return true; })); });
  stop = true;
}

}  // namespace
}  // namespace clearhead::viewer
