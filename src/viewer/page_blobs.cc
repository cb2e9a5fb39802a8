// Compresses the frames of an offline page, and counts the bytes that they will take.
#include "viewer/page_blobs.h"

#include <zlib.h>

#include <utility>

#include "base/base64.h"
#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead::viewer {
namespace {

constexpr int kDeflateLevel = 4;  // codes of weights get as small as at level 6, in two thirds of the time
constexpr size_t kElement = 90;   // bytes of an element without its blob, at most
constexpr size_t kNameInManifest = 70;

}  // namespace

std::string deflated(std::string_view bytes) {
  uLongf size = ::compressBound(static_cast<uLong>(bytes.size()));
  std::string out(size, '\0');
  const auto* from = reinterpret_cast<const Bytef*>(bytes.data());
  if (::compress2(reinterpret_cast<Bytef*>(out.data()), &size, from, static_cast<uLong>(bytes.size()), kDeflateLevel) != Z_OK) {
    fail(ErrorCode::kBudget, "export: {} bytes could not be compressed: not enough memory", bytes.size());
  }
  out.resize(size);
  return out;
}

std::string PageBlobs::body_of(const ViewFrame& frame) { return deflated(frame.binary()); }

size_t bytes_in(BlobPlace place, const std::string& body) {
  return place == BlobPlace::kInFiles ? body.size() : (body.size() + 2) / 3 * 4 + kElement;
}

void PageBlobs::add(const std::string& name, std::string body) {
  names_[name] = static_cast<int64_t>(first_ + bodies_.size());
  bytes_ += bytes_in(place_, body);
  bodies_.push_back(std::move(body));
}

bool PageBlobs::add_within(const std::string& name, std::string body, uint64_t most) {
  if (bytes_ + bytes_in(place_, body) + kNameInManifest > most) return false;
  add(name, std::move(body));
  return true;
}

void PageBlobs::back_to(Mark mark) {
  bytes_ = mark.bytes;
  bodies_.resize(mark.count);
  names_ = std::move(mark.names);
}

std::string blob_element(size_t number, const std::string& body) {
  return format("<script type=\"application/octet-stream\" id=\"clearhead-blob-{}\">", number) + base64(body) + "</script>\n";
}

}  // namespace clearhead::viewer
