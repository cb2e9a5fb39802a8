// The connections of the viewer's server. Anyone on this machine can connect, but only who knows the token is let in.
// So before the head of a request has arrived, a connection gets no thread and little memory.
//
//   gate       One thread polls all connections that wait for a request's head. It looks at what has arrived (MSG_PEEK)
//              and leaves it in the socket. A head may take kHeadBytes and kHeadTime. Beyond kMostWaiting connections
//              the oldest is closed, so that a new one always gets its turn.
//   handlers   Threads that take a connection with a complete head, answer that one request, and return the connection
//              to the gate: kHandlers of them, and kQuickHandlers for the page's files and its first requests, which
//              therefore never wait for an export.
//
// httplib parses and answers. This file replaces its way of waiting
// (Server::process_and_close_socket, TaskQueue, Stream of 0.11).
#pragma once

#include <httplib.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace clearhead {

class GatedServer : public httplib::Server {
 public:
  static constexpr size_t kHeadBytes = size_t{16} << 10;
  // Until the head is complete, from connecting or from its first byte.
  static constexpr std::chrono::seconds kHeadTime{5};
  static constexpr std::chrono::seconds kIdleTime{30};  // between two requests
  // Until the request is complete, from its head on; also for each step of a slow reader.
  static constexpr std::chrono::seconds kRequestTime{30};
  static constexpr size_t kMostWaiting = 256;
  static constexpr size_t kHandlers = 32, kQuickHandlers = 4;

  /// `is_quick` says whether the quick handlers take a request with this target.
  explicit GatedServer(std::function<bool(std::string_view target)> is_quick);

  /// Call after binding. Lets so many clients connect at once that no first packet is dropped and sent again a
  /// second later. httplib's queue holds five.
  void lengthen_queue();
  /// The socket of the request that this thread is answering; −1 if none.
  static int current_socket();

 private:
  class Gate;
  bool process_and_close_socket(socket_t socket) override;  // called by the accepting thread
  bool answer(socket_t socket, const std::string& head);    // returns whether the connection goes on

  std::function<bool(std::string_view)> is_quick_;
  Gate* gate_ = nullptr;  // owned by httplib while it listens
};

}  // namespace clearhead
