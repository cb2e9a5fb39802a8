// Base64 contains no '<', so no blob can end its script element.
#include "viewer/page_blobs.h"

#include <zlib.h>

#include <utility>

#include "base/base64.h"
#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead::viewer {
namespace {

constexpr int kDeflateLevel = 4;   // codes of weights get as small as at level 6, in two thirds of the time
constexpr size_t kOverhead = 160;  // bytes for one element and its name in the manifest

std::string deflated(const std::string& bytes) {
  uLongf size = ::compressBound(static_cast<uLong>(bytes.size()));
  std::string out(size, '\0');
  const auto* from = reinterpret_cast<const Bytef*>(bytes.data());
  if (::compress2(reinterpret_cast<Bytef*>(out.data()), &size, from, static_cast<uLong>(bytes.size()), kDeflateLevel) != Z_OK) {
    fail(ErrorCode::kBudget, "export: {} bytes could not be compressed: not enough memory", bytes.size());
  }
  out.resize(size);
  return out;
}

}  // namespace

std::string PageBlobs::body_of(const ViewFrame& frame) {
  const std::string bytes = frame.binary(), smaller = deflated(bytes);
  const bool is_smaller = smaller.size() < bytes.size();
  return format("data-codec=\"{}\">", is_smaller ? "deflate" : "raw") + base64(is_smaller ? smaller : bytes);
}

void PageBlobs::add(const std::string& name, const std::string& body) {
  names_[name] = static_cast<int64_t>(count_);
  html_ += format("<script type=\"application/octet-stream\" id=\"clearhead-blob-{}\" ", count_++);
  html_ += body;
  html_ += "</script>\n";
}

bool PageBlobs::add_within(const std::string& name, const std::string& body, uint64_t most) {
  if (html_.size() + body.size() + kOverhead > most) return false;
  add(name, body);
  return true;
}

void PageBlobs::back_to(Mark mark) {
  html_.resize(mark.bytes);
  count_ = mark.count;
  names_ = std::move(mark.names);
}

}  // namespace clearhead::viewer
