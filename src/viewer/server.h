// The live viewer's transport: HTTP on loopback, for one person.
//
// Whoever may ask: Host is 127.0.0.1:PORT or localhost:PORT, Origin (if any) one of these, and the cookie that the printed address set, or the
// token itself as a bearer. Everything else is 403 as soon as its head is there (viewer/connections.h). Nothing is served but the page's three files and /api/.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "viewer/loaded_trace.h"

namespace clearhead {

struct ServerOptions {
  int port = 0;         ///< 0: any free one
  std::string token{};  ///< empty: 128 random bits
};

class ViewServer {
 public:
  /// Binds 127.0.0.1. Throws kIo when the port is in use.
  explicit ViewServer(LoadedTrace loaded, const ServerOptions& options = {});
  /// Several traces that are looked at together (viewer/together.h): a question says by `t` which one it is about.
  explicit ViewServer(std::vector<LoadedTrace> traces, const ServerOptions& options = {});
  ~ViewServer();
  ViewServer(const ViewServer&) = delete;
  ViewServer& operator=(const ViewServer&) = delete;

  int port() const;
  const std::string& token() const;
  std::string url() const;  ///< http://127.0.0.1:PORT/?token=HEX
  /// For another program's command line, which every user of the machine can read: opens the page once, for whoever asks first.
  std::string url_for_once() const;
  void serve();  ///< until stop()
  void stop();   ///< from any thread

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace clearhead
