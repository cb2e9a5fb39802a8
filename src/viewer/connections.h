// The connections of the viewer's server. Anyone on this machine can connect, but only clients that know the token are let in.
// Until the head of a request has arrived, a connection therefore gets no thread and little memory.
//
//   gate       One thread polls all connections that wait for the head of a request. It peeks at the bytes that have arrived
//              (MSG_PEEK) and leaves them in the socket. A head is limited to kHeadBytes and kHeadTime. When more than
//              kMostWaiting connections wait, the oldest is closed, so that a new one is always accepted.
//   handlers   Threads that take a connection with a complete head, answer that one request and return the connection
//              to the gate. There are kHandlers of them, and kQuickHandlers for the page's files and its first requests,
//              which therefore never wait for an export.
//
// httplib parses requests and writes answers. This file replaces how httplib waits for connections
// (Server::process_and_close_socket, TaskQueue and Stream of version 0.11).
#pragma once

#include <httplib.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace clearhead::viewer {

class GatedServer : public httplib::Server {
 public:
  static constexpr size_t kHeadBytes = size_t{16} << 10;
  // Time limit for a complete head, counted from the connection or from the first byte of the head.
  static constexpr std::chrono::seconds kHeadTime{5};
  static constexpr std::chrono::seconds kIdleTime{30};  // maximum time between two requests
  // Time limit for a complete request, counted from the end of its head. It also applies to each write to a slow reader.
  static constexpr std::chrono::seconds kRequestTime{30};
  static constexpr size_t kMostWaiting = 256;
  static constexpr size_t kHandlers = 32, kQuickHandlers = 4;

  /// `is_quick` returns whether the quick handlers take a request with this target.
  explicit GatedServer(std::function<bool(std::string_view target)> is_quick);

  /// Call after binding. Lengthens the queue of pending connections to kMostWaiting, so that no first packet of a client is
  /// dropped and sent again a second later. httplib's own queue holds five.
  void lengthen_queue();
  /// The socket of the request that this thread is answering; −1 if there is none.
  static int current_socket();

 private:
  class Gate;
  bool process_and_close_socket(socket_t socket) override;  // called by the accepting thread
  bool answer(socket_t socket, const std::string& head);    // returns whether the connection stays open

  std::function<bool(std::string_view)> is_quick_;
  Gate* gate_ = nullptr;  // owned by httplib while it listens
};

}  // namespace clearhead::viewer
