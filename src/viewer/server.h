// HTTP transport of the live viewer: on the loopback interface, for one person.
//
// A request is answered if Host is 127.0.0.1:PORT or localhost:PORT, Origin (if any) is one of these, and it carries
// the cookie that the printed address sets, or the token as a bearer token. All other requests get 403 as soon as their head has
// arrived (viewer/connections.h). Only the three files of the page and /api/ are served.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "viewer/api.h"

namespace clearhead::viewer {

struct ServerOptions {
  int port = 0;         ///< 0: any free port
  std::string token{};  ///< empty: 128 random bits
  /// Answers requests that need no trace. Tests replace it.
  std::function<ApiAnswer(const ApiRequest&, const AloneOptions&)> alone = answer_alone;
};

class ViewServer {
 public:
  /// Binds 127.0.0.1. Throws kIo if the port is in use.
  explicit ViewServer(LoadedTrace loaded, const ServerOptions& options = {});
  /// Several traces that are opened together (viewer/side_by_side.h). The parameter `t` of a request selects one of them.
  explicit ViewServer(std::vector<LoadedTrace> traces, const ServerOptions& options = {});
  ~ViewServer();
  ViewServer(const ViewServer&) = delete;
  ViewServer& operator=(const ViewServer&) = delete;

  int port() const;
  const std::string& token() const;
  std::string url() const;  ///< http://127.0.0.1:PORT/?token=HEX
  /// An address that can be passed on the command line of another program, which every user of the machine can read. It
  /// opens the page once, for the first client that requests it.
  std::string url_for_once() const;
  void serve();  ///< returns after stop()
  void stop();   ///< can be called from any thread

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace clearhead::viewer
