// The connections of the viewer's server. Anyone on this machine may connect, and only who knows the token is let in: so nobody costs a thread, or much memory,
// before the head of a request is there.
//
//   gate       one thread polls all connections that wait for a request's head. It looks at what has come and leaves it in the socket (MSG_PEEK). A head has
//              kHeadBytes and kHeadTime. Of more than kMostWaiting the oldest is closed, so that a newcomer always has its turn.
//   handlers   take a connection whose head is whole, answer that one request, and give it back to the gate: kHandlers threads, and kQuickHandlers of their own for
//              the page's files and what they are asked first, which so wait behind no export
//
// httplib parses and answers; this replaces how it waits (Server::process_and_close_socket, TaskQueue, Stream of 0.11).
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
  static constexpr std::chrono::seconds kHeadTime{5};      // to a whole head, from connecting or from its first byte
  static constexpr std::chrono::seconds kIdleTime{30};     // between two requests
  static constexpr std::chrono::seconds kRequestTime{30};  // to a whole request, from its head on; and for each step of a slow reader
  static constexpr size_t kMostWaiting = 256;
  static constexpr size_t kHandlers = 32, kQuickHandlers = 4;

  /// `is_quick` says of a request's target whether the quick handlers take it.
  explicit GatedServer(std::function<bool(std::string_view target)> is_quick);

  /// After binding: so many may connect at once that nobody's first packet is dropped and sent again a second later. httplib's queue has five.
  void lengthen_queue();
  /// The socket of the request that this thread is answering; −1: none.
  static int current_socket();

 private:
  class Gate;
  bool process_and_close_socket(socket_t socket) override;  // by the thread that accepts
  bool answer(socket_t socket, const std::string& head);    // whether it goes on

  std::function<bool(std::string_view)> is_quick_;
  Gate* gate_ = nullptr;  // httplib owns it while it listens
};

}  // namespace clearhead
