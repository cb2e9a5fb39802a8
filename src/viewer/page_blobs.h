// The contents of an offline page for one trace: named frames, compressed with zlib. A page holds them as script elements in base64, a site as
// files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "viewer/frame.h"

namespace clearhead::viewer {

enum class BlobPlace { kInPage, kInFiles };

/// The blobs of a trace by name. They are numbered across the whole page, starting at `first`.
class PageBlobs {
 public:
  PageBlobs(BlobPlace place, size_t first) : place_(place), first_(first) {}
  /// Returns the deflated bytes of a frame. May be called on any thread.
  static std::string body_of(const ViewFrame& frame);
  void add(const std::string& name, std::string body);
  void add(const std::string& name, const ViewFrame& frame) { add(name, body_of(frame)); }
  /// Adds the blob if the size then stays within `most` bytes; returns whether it did.
  bool add_within(const std::string& name, const ViewFrame& frame, uint64_t most) { return add_within(name, body_of(frame), most); }
  bool add_within(const std::string& name, std::string body, uint64_t most);
  /// The bytes that the blobs take in their place, base64 and tags included.
  size_t size() const { return bytes_; }
  /// Returns the blobs in the order of their numbers, and leaves none here.
  std::vector<std::string> take() { return std::exchange(bodies_, {}); }
  const Json& names() const { return names_; }
  struct Mark {
    size_t bytes = 0, count = 0;
    Json names{};
  };
  Mark mark() const { return {bytes_, bodies_.size(), names_}; }
  void back_to(Mark mark);

 private:
  BlobPlace place_;
  size_t first_, bytes_ = 0;
  std::vector<std::string> bodies_{};
  Json names_ = Json::object();
};

/// Compresses with zlib.
std::string deflated(std::string_view bytes);

/// The bytes that a blob takes in its place, base64 and tags included.
size_t bytes_in(BlobPlace place, const std::string& body);

/// The script element of a blob. Base64 contains no '<', so no blob can end it.
std::string blob_element(size_t number, const std::string& body);

}  // namespace clearhead::viewer
