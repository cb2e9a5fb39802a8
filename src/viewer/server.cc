// Routing, admission (host, origin, cookie or bearer token) and the channel between the engine's thread and a connection.
// Secrets are compared in constant time; a closed connection cancels its job.
#include "viewer/server.h"

#include <poll.h>
#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <future>

#include "base/file.h"
#include "base/format.h"
#include "viewer/bundle.h"
#include "viewer/connections.h"
#include "viewer/engine.h"
#include "viewer/open_traces.h"
#include "viewer/questions/info.h"

namespace clearhead::viewer {
namespace {

constexpr size_t kMostBody = size_t{16} << 20;
constexpr size_t kMostDrawingsWaiting = 4;
constexpr size_t kMostQueued = size_t{256} << 20;  // bytes of a stream that the client has not read yet
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string random_token() {
  unsigned char bytes[16];
  if (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes))
    fail(ErrorCode::kIo, "view: could not get random numbers from the system");
  std::string out;
  for (const unsigned char byte : bytes) out += format("{:02x}", static_cast<unsigned>(byte));
  return out;
}

// Compares in constant time: a wrong guess takes as long as a nearly right one.
bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}

bool is_closed(int descriptor) {
  if (descriptor < 0) return false;
  pollfd state{descriptor, POLLIN | POLLRDHUP, 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

// Passes the results of a job to the connection that waits for it.
class Channel {
 public:
  // Called by the engine's thread.
  void push(std::string chunk) {
    const std::lock_guard<std::mutex> lock(mutex_);
    bytes_ += chunk.size();
    if (bytes_ > kMostQueued)
      fail(ErrorCode::kCancelled, "the client does not read the stream: more than {} bytes are queued",
           with_commas(static_cast<int64_t>(kMostQueued)));
    chunks_.push_back(std::move(chunk));
    changed_.notify_all();
  }
  void finish(ApiAnswer failure = {.status = 0}) {
    const std::lock_guard<std::mutex> lock(mutex_);
    finished_ = true;
    failure_ = std::move(failure);
    changed_.notify_all();
  }
  bool began() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return began_ || !chunks_.empty();
  }

  // Called by the connection: waits up to `patience` for a chunk or the end.
  enum class State : uint8_t { kChunk, kEnd, kWaiting };
  State take(std::string& chunk, std::chrono::milliseconds patience) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, patience, [this] { return finished_ || !chunks_.empty(); });
    if (!chunks_.empty()) {
      chunk = std::move(chunks_.front());
      chunks_.pop_front();
      bytes_ -= chunk.size();
      began_ = true;
      return State::kChunk;
    }
    return finished_ ? State::kEnd : State::kWaiting;
  }
  ApiAnswer failure() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return failure_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> chunks_;
  size_t bytes_ = 0;
  bool began_ = false, finished_ = false;
  ApiAnswer failure_{.status = 0};
};

// Sends a body of known length, uncompressed because it stays on this machine.
void send(httplib::Response& response, int status, const std::string& type, std::string body) {
  response.status = status;
  if (body.empty()) return response.set_content("", type.c_str());
  auto kept = std::make_shared<std::string>(std::move(body));
  response.set_content_provider(kept->size(), type.c_str(), [kept](size_t offset, size_t length, httplib::DataSink& sink) {
    return sink.write(kept->data() + offset, length);
  });
}

void send(httplib::Response& response, ApiAnswer answer) {
  if (!answer.filename.empty()) response.set_header("Content-Disposition", "attachment; filename=\"" + answer.filename + "\"");
  send(response, answer.status, answer.type, std::move(answer.body));
}

// The body for errors that httplib reports itself.
ApiAnswer refusal_of(int status) {
  switch (status) {
    case 413: return answer_refusal(status, "kBudget", "The body is longer than 16 MB.");
    case 414: return answer_refusal(status, "kInvalidArgument", "The address is longer than 8,192 bytes.");
    case 404: return answer_refusal(status, "kNotFound", "There is no page at this address.");
    default: return answer_refusal(status, "kInvalidArgument", "The server does not understand this request.");
  }
}

// Requests that a page makes first. They never wait for long ones.
bool is_quick(std::string_view target) {
  const std::string_view path = target.substr(0, target.find('?'));
  return path == "/" || path == "/app.js" || path == "/app.css" || path == "/api/info";
}

Job::Kind job_kind_of(ApiKind kind) {
  switch (kind) {
    case ApiKind::kOnce: return Job::Kind::kShort;
    case ApiKind::kDeferrable:
    case ApiKind::kBackground: return Job::Kind::kBackground;
    default: return Job::Kind::kLong;
  }
}

// Returns true if a background job was only interrupted for another job and must be resumed.
bool stepped_aside(const Job& job, const Error& error) {
  return error.code() == ErrorCode::kCancelled && !job.cancelled() && job.kind == Job::Kind::kBackground;
}

}  // namespace

struct ViewServer::Parts {
  OpenTraces traces;  // only the thread of `engine` uses them
  Engine engine;
  // Runs of the model and explanations take long. They have their own thread and a copy of the trace, so that other requests are answered
  // meanwhile. This engine posts jobs to `engine`, so it is destroyed first.
  Engine runs;
  // PDFs are drawn one at a time. Only a few may wait, because each waiting request occupies a handler that others need.
  std::function<ApiAnswer(const ApiRequest&, const AloneOptions&)> alone;
  Engine drawings{kMostDrawingsWaiting};
  GatedServer http{is_quick};
  int port = 0;
  std::string token;
  std::mutex guard;  // protects `once`
  std::string once;  // secret of the address for the browser; empty after its first use

  explicit Parts(std::vector<LoadedTrace> looked_at) : traces(std::move(looked_at)) {}

  bool may_ask(const httplib::Request& request) const;
  bool use_once(const std::string& given);
  bool is_known_host(const std::string& host) const;
  httplib::Server::HandlerResponse admit(const httplib::Request& request, httplib::Response& response);
  void handle_api(const httplib::Request& request, httplib::Response& response);
  void answer_once(httplib::Response& response, const ApiRequest& asked);
  void answer_by(Engine& by, httplib::Response& response, const ApiRequest& asked, std::function<ApiAnswer(Job& own)> give);
  void answer_stream(httplib::Response& response, const ApiRequest& asked);
  std::shared_ptr<Job> job_of(const ApiRequest& asked);
  bool wait_for(Channel& channel, Job& job, std::string& chunk);
  bool run_stream(Job& job, Channel& channel, const ApiRequest& asked);
  bool run_beside(Job& job, Channel& channel, const ApiRequest& asked);
  void on_engine(Job::Kind kind, const std::function<void()>& work);
};

bool ViewServer::Parts::is_known_host(const std::string& host) const {
  for (const char* name : {"127.0.0.1", "localhost"}) {
    if (host == format("{}:{}", name, port)) return true;
  }
  return false;
}

bool ViewServer::Parts::may_ask(const httplib::Request& request) const {
  const std::string bearer = request.get_header_value("Authorization");
  if (bearer.rfind("Bearer ", 0) == 0 && same_secret(std::string_view(bearer).substr(7), token)) return true;
  const std::string name = format("clearhead_{}=", port), cookies = request.get_header_value("Cookie");
  for (size_t at = 0; at < cookies.size();) {
    size_t end = std::min(cookies.find(';', at), cookies.size());
    std::string_view cookie = std::string_view(cookies).substr(at, end - at);
    while (!cookie.empty() && cookie.front() == ' ') cookie.remove_prefix(1);
    if (cookie.rfind(name, 0) == 0 && same_secret(cookie.substr(name.size()), token)) return true;
    at = end + 1;
  }
  return false;
}

httplib::Server::HandlerResponse ViewServer::Parts::admit(const httplib::Request& request, httplib::Response& response) {
  const auto refuse_as = [&](int status, const char* kind, const char* why) {
    const bool has_body = request.has_header("Content-Length") || request.has_header("Transfer-Encoding");
    if (has_body) response.set_header("Connection", "close");  // the body is not read
    send(response, answer_refusal(status, kind, why));
    return httplib::Server::HandlerResponse::Handled;
  };
  const auto refuse = [&](const char* why) { return refuse_as(403, "forbidden", why); };
  if (request.get_header_value_count("Host") != 1 || !is_known_host(request.get_header_value("Host"))) {
    return refuse("This server accepts only requests to 127.0.0.1 and localhost.");
  }
  if (request.has_header("Origin")) {
    const std::string origin = request.get_header_value("Origin");
    if (origin.rfind("http://", 0) != 0 || !is_known_host(origin.substr(7))) return refuse("Requests from other sites are not allowed.");
  }
  const bool by_token = request.has_param("token"), by_once = request.has_param("once");
  if (request.method == "GET" && request.path == "/" && (by_token || by_once)) {
    if (by_token && !same_secret(request.get_param_value("token"), token))
      return refuse("The token is wrong: open the address that `clearhead view` printed.");
    if (!by_token && !use_once(request.get_param_value("once")))
      return refuse("This address works only once and was used before: open the one that `clearhead view` printed.");
    response.set_header("Set-Cookie", format("clearhead_{}={}; Path=/; HttpOnly; SameSite=Strict", port, token));
    response.set_header("Location", "/");
    send(response, 303, "text/plain", "");
    return httplib::Server::HandlerResponse::Handled;
  }
  if (!may_ask(request)) return refuse("Open the address that `clearhead view` printed: it contains the token.");
  // Bodies must have a known length and no encoding, so that the size limit applies to what is read.
  if (request.has_header("Transfer-Encoding"))
    return refuse_as(411, "kInvalidArgument", "Transfer-Encoding is not supported: send the body with a Content-Length.");
  if (request.has_header("Content-Encoding"))
    return refuse_as(415, "kInvalidArgument", "Content-Encoding is not supported: send the body uncompressed.");
  return httplib::Server::HandlerResponse::Unhandled;
}

bool ViewServer::Parts::use_once(const std::string& given) {
  const std::lock_guard<std::mutex> lock(guard);
  if (once.empty() || !same_secret(given, once)) return false;
  once.clear();
  return true;
}

std::shared_ptr<Job> ViewServer::Parts::job_of(const ApiRequest& asked) {
  auto job = std::make_shared<Job>();
  const QueryParameters query(asked.query);
  job->kind = job_kind_of(kind_of(asked));
  job->slot = query.text("slot");
  job->number = query.integer("seq", 0, 0, int64_t{1} << 52);
  return job;
}

// Waits for the next chunk; returns false at the end. If the connection closes, the job is cancelled.
bool ViewServer::Parts::wait_for(Channel& channel, Job& job, std::string& chunk) {
  for (;;) {
    const Channel::State state = channel.take(chunk, std::chrono::milliseconds(50));
    if (state != Channel::State::kWaiting) return state == Channel::State::kChunk;
    if (is_closed(GatedServer::current_socket())) job.cancel();
  }
}

// Runs `give` as a job of an engine and sends its result, or the error that it throws.
void ViewServer::Parts::answer_by(Engine& by, httplib::Response& response, const ApiRequest& asked,
                                  std::function<ApiAnswer(Job& own)> give) {
  auto channel = std::make_shared<Channel>();
  auto job = job_of(asked);
  auto given = std::make_shared<ApiAnswer>();
  job->work = [channel, given, give = std::move(give)](Job& own) {
    try {
      if (own.cancelled()) fail(ErrorCode::kCancelled, "a newer request replaced this one.");
      *given = give(own);
    } catch (const Error& error) {
      if (stepped_aside(own, error)) return false;
      *given = answer_error(error);
    } catch (const std::exception& error) {
      *given = answer_error(error);
    }
    channel->finish();
    return true;
  };
  by.post(job);
  std::string none;
  wait_for(*channel, *job, none);
  send(response, std::move(*given));
}

void ViewServer::Parts::answer_once(httplib::Response& response, const ApiRequest& asked) {
  answer_by(engine, response, asked, [this, asked](Job& own) {
    LookOptions options{.cancel = own.token()};
    if (own.kind != Job::Kind::kShort) options.progress = [this](double) { engine.yield(); };
    ApiAnswer found = answer(traces.of(asked), asked, options, traces.other_of(asked));
    check_mappings();
    return found;
  });
}

// Runs the work of a stream and closes its channel. Returns false if a background job was interrupted and must be resumed.
bool run_to_the_end(Job& job, Channel& channel, const ApiRequest& asked, const std::function<void(const LookOptions& options)>& work) {
  try {
    if (job.cancelled()) fail(ErrorCode::kCancelled, "a newer request replaced this one.");
    work({.cancel = job.token()});
    channel.finish();
  } catch (const Error& error) {
    if (stepped_aside(job, error)) return false;
    const bool began = channel.began();
    if (began && error.code() != ErrorCode::kCancelled) channel.push(error_chunk(asked, error));
    channel.finish(began ? ApiAnswer{.status = 0} : answer_error(error));
  } catch (const std::exception& error) {
    channel.finish(answer_error(error));
  }
  return true;
}

// Runs on the engine's thread.
bool ViewServer::Parts::run_stream(Job& job, Channel& channel, const ApiRequest& asked) {
  return run_to_the_end(job, channel, asked, [&](LookOptions options) {
    options.progress = [this](double) { engine.yield(); };
    const auto emit = [&](std::string chunk) {
      check_mappings();
      channel.push(std::move(chunk));
    };
    stream(traces.of(asked), asked, emit, options, traces.other_of(asked));
  });
}

// Runs on the thread of `runs`, on a copy of the trace. The results are moved to the trace before `done` is sent.
bool ViewServer::Parts::run_beside(Job& job, Channel& channel, const ApiRequest& asked) {
  return run_to_the_end(job, channel, asked, [&](const LookOptions& options) {
    std::optional<LoadedTrace> copy;
    on_engine(Job::Kind::kShort, [&] { copy.emplace(traces.of(asked)); });
    const std::string id = copy->id();
    std::string done;
    const auto emit = [&](std::string chunk) {
      check_mappings();
      if (chunk.starts_with("event: done")) {
        done = std::move(chunk);
      } else {
        channel.push(std::move(chunk));
      }
    };
    stream(*copy, asked, emit, options);
    on_engine(Job::Kind::kLong, [&] { traces.of(asked).adopt(std::move(*copy), id); });  // kLong: yield() cannot run it inside another job
    channel.push(std::move(done));
  });
}

// Runs work on the engine's thread and waits for it.
void ViewServer::Parts::on_engine(Job::Kind kind, const std::function<void()>& work) {
  auto done = std::make_shared<std::promise<void>>();
  auto job = std::make_shared<Job>();
  job->kind = kind;
  job->work = [done, &work](Job&) {
    try {
      work();
      done->set_value();
    } catch (...) {
      done->set_exception(std::current_exception());
    }
    return true;
  };
  engine.post(job);
  done->get_future().get();
}

void ViewServer::Parts::answer_stream(httplib::Response& response, const ApiRequest& asked) {
  auto channel = std::make_shared<Channel>();
  auto job = job_of(asked);
  const bool is_beside = kind_of(asked) == ApiKind::kEvents;
  job->work = [this, channel, asked, is_beside](Job& own) {
    return is_beside ? run_beside(own, *channel, asked) : run_stream(own, *channel, asked);
  };
  (is_beside ? runs : engine).post(job);
  auto first = std::make_shared<std::string>();
  const bool has_first = wait_for(*channel, *job, *first);
  if (const ApiAnswer failure = channel->failure(); !has_first && failure.status != 0) return send(response, failure);
  response.status = 200;
  response.set_chunked_content_provider(
      stream_type(asked),
      [this, channel, job, first](size_t, httplib::DataSink& sink) {
        std::string chunk = std::move(*first);
        first->clear();
        if (chunk.empty() && !wait_for(*channel, *job, chunk)) {
          sink.done();
          return true;
        }
        return sink.write(chunk.data(), chunk.size());
      },
      [job](bool) { job->cancel(); });
}

void ViewServer::Parts::handle_api(const httplib::Request& request, httplib::Response& response) {
  ApiRequest asked;
  asked.path = request.path.substr(5);
  asked.post = request.method == "POST";
  for (const auto& [name, value] : request.params) asked.query.emplace(name, value);
  asked.body = request.body;
  try {
    const ApiKind kind = checked_kind_of(asked);
    if (asked.post && request.get_header_value("Content-Type").rfind("application/json", 0) != 0) {
      fail(ErrorCode::kInvalidArgument, "api/{}: expected Content-Type: application/json.", asked.path);
    }
    if (kind == ApiKind::kAlone)
      return answer_by(drawings, response, asked, [this, asked](Job& own) { return alone(asked, {.cancel = own.token()}); });
    if (kind == ApiKind::kOnce || kind == ApiKind::kLong || kind == ApiKind::kDeferrable) return answer_once(response, asked);
    answer_stream(response, asked);
  } catch (const std::exception& error) {
    send(response, answer_error(error));
  }
}

ViewServer::ViewServer(LoadedTrace loaded, const ServerOptions& options)
    : ViewServer(std::vector<LoadedTrace>{std::move(loaded)}, options) {}

ViewServer::ViewServer(std::vector<LoadedTrace> traces, const ServerOptions& options) : parts_(std::make_unique<Parts>(std::move(traces))) {
  Parts& parts = *parts_;
  GatedServer& http = parts.http;
  parts.token = options.token.empty() ? random_token() : options.token;
  parts.alone = options.alone;
  http.set_payload_max_length(kMostBody);
  http.set_socket_options([](socket_t socket) {  // httplib's default options would let a second server share the port
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  http.set_tcp_nodelay(true);
  http.set_default_headers({{"Cache-Control", "no-store"},
                            {"X-Content-Type-Options", "nosniff"},
                            {"Referrer-Policy", "no-referrer"},
                            {"Cross-Origin-Resource-Policy", "same-origin"},
                            {"Accept-Ranges", "none"}});
  http.set_pre_routing_handler(
      [&parts](const httplib::Request& request, httplib::Response& response) { return parts.admit(request, response); });
  http.set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (response.has_header("Content-Type")) return;  // the answer already has an error message
    const ApiAnswer answer = refusal_of(response.status);
    response.set_content(answer.body, "application/json");
  });
  const auto page = [&http](const char* path, std::string_view bytes, const char* type) {
    http.Get(path, [bytes, type](const httplib::Request&, httplib::Response& response) {
      response.set_header("Content-Security-Policy", kPolicy);
      send(response, 200, type, std::string(bytes));
    });
  };
  page("/", viewer_bundle().index, "text/html; charset=utf-8");
  page("/app.js", viewer_bundle().script, "text/javascript; charset=utf-8");
  page("/app.css", viewer_bundle().style, "text/css; charset=utf-8");
  const auto api = [&parts](const httplib::Request& request, httplib::Response& response) { parts.handle_api(request, response); };
  http.Get("/api/.*", api);
  http.Post("/api/.*", api);
  if (options.port == 0) {
    parts.port = http.bind_to_any_port("127.0.0.1");
    if (parts.port <= 0) fail(ErrorCode::kIo, "view: no port of 127.0.0.1 could be opened");
  } else {
    if (!http.bind_to_port("127.0.0.1", options.port)) {
      fail(ErrorCode::kIo,
           "view: port {} of 127.0.0.1 is in use or not allowed; choose another with --port, or leave it out for any free one",
           options.port);
    }
    parts.port = options.port;
  }
  http.lengthen_queue();
  auto first = std::make_shared<Job>();  // computes the answer to every page's first request while the browser starts
  first->work = [&parts](Job&) {
    try {
      (void)questions::info(parts.traces.first_shown());
    } catch (const std::exception&) {  // the page's own request gets the error
    }
    return true;
  };
  parts.engine.post(first);
}

ViewServer::~ViewServer() { stop(); }
int ViewServer::port() const { return parts_->port; }
const std::string& ViewServer::token() const { return parts_->token; }
std::string ViewServer::url_for_once() const {
  const std::lock_guard<std::mutex> lock(parts_->guard);
  parts_->once = random_token();
  return format("http://127.0.0.1:{}/?once={}", parts_->port, parts_->once);
}
std::string ViewServer::url() const { return format("http://127.0.0.1:{}/?token={}", parts_->port, parts_->token); }
void ViewServer::serve() { parts_->http.listen_after_bind(); }
void ViewServer::stop() { parts_->http.stop(); }

}  // namespace clearhead::viewer
