// Writes safetensors. The header is computed from names and shapes alone; the bytes of the tensors follow without a second
// copy of the file in memory.
#include <algorithm>
#include <tuple>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "base/utf8.h"
#include "io/pieces.h"
#include "io/safetensors.h"
#include "io/safetensors_header.h"

namespace clearhead::io {
namespace {

using Order = std::vector<const std::pair<std::string, Tensor>*>;

std::string quoted(const std::string& text) { return Json(text).dump(); }

void check_text(const std::string& path, const char* what, const std::string& text) {
  const size_t valid = valid_utf8_prefix(text);
  if (valid == text.size()) return;
  fail(ErrorCode::kInvalidArgument, "{}: {} {} is not valid UTF-8 at byte {}", path, what, quoted(text), valid);
}

Order in_order(const std::string& path, const NamedTensors& tensors) {
  Order order;
  order.reserve(tensors.size());
  for (const auto& tensor : tensors) {
    check_text(path, "tensor name", tensor.first);
    if (tensor.first == "__metadata__") fail(ErrorCode::kInvalidArgument, "{}: a tensor cannot be called \"__metadata__\"", path);
    if (!tensor.second.defined()) fail(ErrorCode::kInvalidArgument, "{}: tensor \"{}\" was never given a value", path, tensor.first);
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::make_tuple(-safetensors::write_rank(a->second.dtype()), std::string_view(a->first)) <
           std::make_tuple(-safetensors::write_rank(b->second.dtype()), std::string_view(b->first));
  });
  std::vector<std::string_view> names;
  for (const auto* tensor : order) names.push_back(tensor->first);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) fail(ErrorCode::kInvalidArgument, "{}: tensor \"{}\" is given twice", path, *twice);
  return order;
}

std::string header_of(const std::string& path, const Order& order, const std::map<std::string, std::string>& metadata) {
  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      check_text(path, "metadata key", key);
      check_text(path, "metadata value", value);
      header += (header.back() == '{' ? "" : ",") + quoted(key) + ":" + quoted(value);
    }
    header += "}";
  }
  size_t begin = 0;
  for (const auto* tensor : order) {
    const size_t end = begin + tensor->second.bytes();
    header += (header.size() == 1 ? "" : ",") + quoted(tensor->first) + ":{\"dtype\":\"" + safetensors::spelling(tensor->second.dtype()) +
              "\",\"shape\":[";
    const Shape& shape = tensor->second.shape();
    for (size_t axis = 0; axis < shape.size(); ++axis) header += (axis ? "," : "") + std::to_string(shape[axis]);
    header += "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
    begin = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > safetensors::kLargestHeader) {
    fail(ErrorCode::kUnsupported, "{}: names and metadata take {} bytes, but the format allows {}. Use fewer tensors or less metadata.",
         path, header.size(), safetensors::kLargestHeader);
  }
  return header;
}

}  // namespace

void write_safetensors(const std::string& path, const NamedTensors& tensors, const std::map<std::string, std::string>& metadata) {
  const Order order = in_order(path, tensors);
  const std::string header = header_of(path, order, metadata);
  AtomicFile file(path);
  unsigned char length[8];
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(header.size() >> (8 * i));
  file.write(length, sizeof length);
  file.write(header);
  for (const auto* tensor : order) {
    for_each_piece(tensor->second, [&](const std::byte* bytes, size_t size) { file.write(bytes, size); });
  }
  file.commit();
}

}  // namespace clearhead::io
