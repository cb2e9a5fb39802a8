// Implements the gate's poll loop, the queues of the handlers, and a request stream with one deadline for all of its bytes.
#include "viewer/connections.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace clearhead::viewer {
namespace {

using Clock = std::chrono::steady_clock;

thread_local socket_t current = -1;

bool is_ready(socket_t socket, short events, Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  pollfd state{socket, events, 0};
  return left > 0 && ::poll(&state, 1, static_cast<int>(left)) > 0;
}

// Reads some of what the peer is still sending before closing; otherwise the peer would see a broken connection instead of the answer.
void close_politely(socket_t socket) {
  ::shutdown(socket, SHUT_WR);
  char unread[4096];
  for (int times = 0; times < 256 && ::recv(socket, unread, sizeof unread, MSG_DONTWAIT) > 0; ++times) {
  }
  ::close(socket);
}

struct Head {
  std::string text{};
  int64_t body = 0;     // number of bytes that follow; the maximum for a body of unknown length
  bool closes = false;  // whether the connection closes after the answer
};

bool begins(std::string_view line, std::string_view small_letters) {
  return line.size() >= small_letters.size() && std::equal(small_letters.begin(), small_letters.end(), line.begin(), [](char a, char b) {
           return a == static_cast<char>(std::tolower(static_cast<unsigned char>(b)));
         });
}

// Drops Range headers: the server always sends whole answers, as RFC 9110 (14.2) allows.
Head head_of(std::string_view given) {
  Head out;
  for (size_t at = 0; at < given.size();) {
    const size_t end = std::min(given.find("\r\n", at), given.size() - 2) + 2;
    const std::string_view line = given.substr(at, end - at);
    at = end;
    if (begins(line, "range:")) continue;
    if (begins(line, "content-length:")) out.body = std::strtoll(std::string(line.substr(15)).c_str(), nullptr, 10);
    if (begins(line, "transfer-encoding:")) out.body = std::numeric_limits<int64_t>::max();
    if (begins(line, "connection:")) out.closes = line.find("close") != std::string_view::npos;
    out.text += line;
  }
  return out;
}

// A stream over a request whose head, and nothing more, has been read. The whole request has one deadline; each write of the answer has
// its own. A body over the limit is not read at all.
class RequestStream : public httplib::Stream {
 public:
  RequestStream(socket_t socket, Head head, size_t most_body)
      : socket_(socket),
        head_(std::move(head.text)),
        unread_(head.body),
        is_too_long_(head.body > static_cast<int64_t>(most_body)),
        closes_(head.closes) {}
  /// Returns true if another request can follow on this connection.
  bool goes_on() const { return !closes_ && unread_ <= 0; }

  bool is_readable() const override { return at_ < head_.size() || is_ready(socket_, POLLIN, deadline_); }
  bool is_writable() const override { return is_ready(socket_, POLLOUT, Clock::now() + GatedServer::kRequestTime); }
  ssize_t read(char* to, size_t size) override {
    if (at_ < head_.size()) {
      const size_t count = head_.copy(to, size, at_);
      at_ += count;
      return static_cast<ssize_t>(count);
    }
    const ssize_t count = !is_too_long_ && is_readable() ? ::recv(socket_, to, size, 0) : -1;
    if (count > 0) unread_ -= count;
    return count;
  }
  ssize_t write(const char* from, size_t size) override { return is_writable() ? ::send(socket_, from, size, MSG_NOSIGNAL) : -1; }
  void get_remote_ip_and_port(std::string& ip, int& port) const override { name(::getpeername, ip, port); }
  void get_local_ip_and_port(std::string& ip, int& port) const override { name(::getsockname, ip, port); }
  socket_t socket() const override { return socket_; }

 private:
  void name(int (*of)(int, sockaddr*, socklen_t*), std::string& ip, int& port) const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    if (of(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0 || address.sin_family != AF_INET) return;
    ip = "127.0.0.1";  // nothing else is bound
    port = ntohs(address.sin_port);
  }

  socket_t socket_;
  std::string head_;
  size_t at_ = 0;
  int64_t unread_ = 0;
  bool is_too_long_ = false, closes_ = false;
  Clock::time_point deadline_ = Clock::now() + GatedServer::kRequestTime;
};

}  // namespace

// httplib's accepting thread passes connections to the gate (process_and_close_socket). The gate is registered as httplib's TaskQueue for
// this.
class GatedServer::Gate : public httplib::TaskQueue {
 public:
  explicit Gate(GatedServer& server) : server_(server), handlers_(kHandlers), quick_(kQuickHandlers), thread_([this] { watch(); }) {}
  ~Gate() override { ::close(wake_); }

  void enqueue(std::function<void()> accepted) override { accepted(); }

  void shutdown() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake();
    thread_.join();
    handlers_.shutdown();
    quick_.shutdown();
    for (const Waiting& one : added_) ::close(one.socket);
  }

  void add(socket_t socket, std::chrono::seconds patience) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      added_.push_back({socket, Clock::now() + patience, patience == kIdleTime});
    }
    wake();
  }

 private:
  struct Waiting {
    socket_t socket;
    Clock::time_point deadline;
    bool is_idle;       // a request was answered, and no byte has arrived since
    bool ends = false;  // handed to a handler, or closed
  };

  void wake() {
    const uint64_t one = 1;
    (void)!::write(wake_, &one, sizeof one);
  }

  void watch() {
    for (std::vector<Waiting> waiting;;) {
      std::vector<pollfd> states = {{wake_, POLLIN, 0}};
      auto soonest = Clock::now() + kIdleTime;
      for (const Waiting& one : waiting) {
        states.push_back({one.socket, POLLIN, 0});
        soonest = std::min(soonest, one.deadline);
      }
      const auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(soonest - Clock::now()).count() + 1;
      ::poll(states.data(), states.size(), static_cast<int>(std::max<int64_t>(0, patience)));
      for (size_t at = 0; at < waiting.size(); ++at) {
        if (states[at + 1].revents != 0) look(waiting[at]);
        if (!waiting[at].ends && waiting[at].deadline <= Clock::now()) end(waiting[at]);
      }
      std::erase_if(waiting, [](const Waiting& one) { return one.ends; });
      if (states[0].revents != 0 && !take_added(waiting)) {
        for (Waiting& one : waiting) end(one);
        return;
      }
    }
  }

  // Returns false if the gate is shutting down.
  bool take_added(std::vector<Waiting>& waiting) {
    uint64_t count = 0;
    (void)!::read(wake_, &count, sizeof count);
    std::unique_lock<std::mutex> lock(mutex_);
    std::vector<Waiting> added = std::exchange(added_, {});
    const bool goes_on = !stopping_;
    lock.unlock();
    for (Waiting& one : added) {
      look(one);
      if (one.ends) continue;
      waiting.push_back(one);
      if (waiting.size() <= kMostWaiting) continue;
      end(waiting.front());
      waiting.erase(waiting.begin());
    }
    return goes_on;
  }

  static void end(Waiting& one) {
    if (!std::exchange(one.ends, true)) close_politely(one.socket);
  }

  void look(Waiting& one) {
    std::string seen(kHeadBytes, '\0');
    const ssize_t count = ::recv(one.socket, seen.data(), seen.size(), MSG_PEEK | MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
    if (count <= 0) return end(one);
    seen.resize(static_cast<size_t>(count));
    const size_t head = seen.find("\r\n\r\n");
    if (head != std::string::npos) return hand_on(one, seen.substr(0, head + 4));
    if (seen.size() == kHeadBytes) {
      constexpr std::string_view kAnswer = "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
      (void)!::send(one.socket, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      return end(one);
    }
    if (std::exchange(one.is_idle, false)) one.deadline = Clock::now() + kHeadTime;
    set_least(one.socket, static_cast<int>(count) + 1);  // poll() does not report the known bytes again
  }

  static void set_least(socket_t socket, int bytes) { (void)::setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes); }

  void hand_on(Waiting& one, std::string head) {
    one.ends = true;
    set_least(one.socket, 1);
    (void)::recv(one.socket, head.data(), head.size(), MSG_DONTWAIT);  // the bytes are already in the socket
    const size_t target = head.find(' ') + 1;
    const bool is_quick = server_.is_quick_(std::string_view(head).substr(target, head.find(' ', target) - target));
    (is_quick ? quick_ : handlers_).enqueue([this, socket = one.socket, head = std::move(head)] {
      if (server_.answer(socket, head))
        add(socket, kIdleTime);
      else
        close_politely(socket);
    });
  }

  GatedServer& server_;
  int wake_ = ::eventfd(0, EFD_CLOEXEC);
  std::mutex mutex_;
  std::vector<Waiting> added_;  // since the gate's thread last looked
  bool stopping_ = false;
  httplib::ThreadPool handlers_, quick_;
  std::thread thread_;
};

GatedServer::GatedServer(std::function<bool(std::string_view target)> is_quick) : is_quick_(std::move(is_quick)) {
  new_task_queue = [this] { return gate_ = new Gate(*this); };
}

void GatedServer::lengthen_queue() { (void)::listen(svr_sock_, static_cast<int>(kMostWaiting)); }
int GatedServer::current_socket() { return current; }

bool GatedServer::process_and_close_socket(socket_t socket) {
  gate_->add(socket, kHeadTime);
  return true;
}

bool GatedServer::answer(socket_t socket, const std::string& head) {
  current = socket;
  RequestStream stream(socket, head_of(head), payload_max_length_);
  bool closed = false;
  const bool answered = process_request(stream, false, closed, nullptr);
  current = -1;
  return answered && !closed && stream.goes_on();
}

}  // namespace clearhead::viewer
