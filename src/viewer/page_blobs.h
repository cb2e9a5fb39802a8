// The contents of an offline page for one trace: named frames, deflated and base64-encoded, as script elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/json.h"
#include "viewer/frame.h"

namespace clearhead::viewer {

/// The blobs of a trace by name. They are numbered across the whole page, starting at `first`.
class PageBlobs {
 public:
  explicit PageBlobs(size_t first) : count_(first) {}
  /// The part of a blob's script element that does not depend on its number. May be called on any thread.
  static std::string body_of(const ViewFrame& frame);
  void add(const std::string& name, const std::string& body);
  void add(const std::string& name, const ViewFrame& frame) { add(name, body_of(frame)); }
  /// Adds the blob if the size then stays within `most` bytes; returns whether it did.
  bool add_within(const std::string& name, const ViewFrame& frame, uint64_t most) { return add_within(name, body_of(frame), most); }
  bool add_within(const std::string& name, const std::string& body, uint64_t most);
  size_t size() const { return html_.size(); }
  size_t end() const { return count_; }
  const std::string& html() const { return html_; }
  const Json& names() const { return names_; }
  struct Mark {
    size_t bytes = 0, count = 0;
    Json names{};
  };
  Mark mark() const { return {html_.size(), count_, names_}; }
  void back_to(Mark mark);

 private:
  std::string html_{};
  Json names_ = Json::object();
  size_t count_;
};

}  // namespace clearhead::viewer
