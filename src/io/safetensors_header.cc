// Reads and checks the header: JSON that lies within the file, known element types, sizes that follow from shape and type,
// and entries that follow one another without gaps or overlaps.
#include "io/safetensors_header.h"

#include <algorithm>
#include <array>

#include "base/checked.h"
#include "base/format.h"
#include "base/json.h"
#include "base/utf8.h"

namespace clearhead::io::safetensors {
namespace {

struct Element {
  const char* spelling;
  unsigned bits;
  std::optional<DType> dtype;
};

// All element types of the format, from narrow to wide except that BOOL comes first. Writers sort by this order, reversed.
constexpr std::array<Element, 22> kElements = {{
    {"BOOL", 8, DType::kBool},
    {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
    {"U8", 8, DType::kU8},
    {"I8", 8, {}},
    {"F8_E5M2", 8, {}},
    {"F8_E4M3", 8, {}},
    {"F8_E8M0", 8, {}},
    {"F8_E4M3FNUZ", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},
    {"I16", 16, {}},
    {"U16", 16, {}},
    {"F16", 16, DType::kF16},
    {"BF16", 16, DType::kBF16},
    {"I32", 32, DType::kI32},
    {"U32", 32, {}},
    {"F32", 32, DType::kF32},
    {"C64", 64, {}},
    {"F64", 64, {}},
    {"I64", 64, DType::kI64},
    {"U64", 64, {}},
}};

const Element* element_of(std::string_view spelling) {
  const auto found = std::find_if(kElements.begin(), kElements.end(), [&](const Element& element) { return spelling == element.spelling; });
  return found == kElements.end() ? nullptr : &*found;
}

class Reader {
 public:
  Reader(std::string_view file, std::string_view where) : file_(file), where_(where) {}

  Header read() {
    const std::string_view text = header_text();
    const Json json = Json::parse(text, where_ + ": header");
    Header header;
    header.entries.reserve(json.size());
    for (const auto& [name, value] : json.fields()) {
      if (name == "__metadata__") {
        header.metadata = metadata(value);
      } else {
        header.entries.push_back(entry(name, value));
      }
    }
    std::sort(header.entries.begin(), header.entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
      return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    check_cover(header.entries);
    return header;
  }

 private:
  std::string_view header_text() {
    constexpr std::string_view kPointer = "version https://git-lfs";
    if (file_.substr(0, kPointer.size()) == kPointer) {
      fail(ErrorCode::kFormat, "{}: this is a Git LFS pointer, not the weights. Run `git lfs pull` in its repository.", where_);
    }
    if (file_.size() < 8) {
      fail(ErrorCode::kFormat,
           "{}: a safetensors file begins with the header length in 8 bytes, but this file has only {} bytes. The download is probably "
           "incomplete.",
           where_, file_.size());
    }
    uint64_t length = 0;
    for (size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(file_[i]);
    if (length > kLargestHeader) {
      fail(ErrorCode::kFormat, "{}: the header length is {} bytes, but at most {} are allowed. This is probably not a safetensors file.",
           where_, length, kLargestHeader);
    }
    data_ = 8 + static_cast<size_t>(length);
    if (data_ > file_.size()) {
      fail(ErrorCode::kFormat, "{}: the header ends at byte {}, but the file ends at {}. The download is probably incomplete.", where_,
           data_, file_.size());
    }
    const std::string_view text = file_.substr(8, data_ - 8);
    if (text.empty() || text.front() != '{') {
      fail(ErrorCode::kFormat, "{}: expected the header to begin with {{ at byte 8. This is probably not a safetensors file.", where_);
    }
    const size_t valid = valid_utf8_prefix(text);
    if (valid < text.size()) fail(ErrorCode::kFormat, "{}: the header is not UTF-8 at byte {} of the file", where_, 8 + valid);
    return text;
  }

  std::map<std::string, std::string> metadata(const Json& json) const {
    std::map<std::string, std::string> out;
    if (json.is_null()) return out;
    if (!json.is_object())
      fail(ErrorCode::kFormat, "{}: \"__metadata__\": expected an object of strings, found {}", where_, json.describe());
    for (const auto& [key, value] : json.fields()) {
      if (!value.is_string())
        fail(ErrorCode::kFormat, "{}: \"__metadata__.{}\": expected a string, found {}", where_, key, value.describe());
      out.emplace(key, value.string());
    }
    return out;
  }

  template <class... Args>
  [[noreturn]] void refuse(std::string_view name, std::string_view pattern, const Args&... args) const {
    fail(ErrorCode::kFormat, "{}: tensor \"{}\": {}", where_, name, format(pattern, args...));
  }

  const Json& field(const std::string& name, const Json& json, std::string_view key) const {
    const Json* found = json.find(key);
    if (!found) refuse(name, "\"{}\" is missing", key);
    return *found;
  }

  // Reads a size or an offset. The JSON parser reads numbers of 2^63 and above as reals, which are refused here.
  uint64_t whole(const std::string& name, std::string_view key, const Json& json) const {
    if (!json.is_integer() || json.integer() < 0)
      refuse(name, "\"{}\": expected integers from 0 to 2^63 - 1, found {}", key, json.describe());
    return static_cast<uint64_t>(json.integer());
  }

  TensorEntry entry(const std::string& name, const Json& json) const {
    if (!json.is_object()) refuse(name, "expected an object with dtype, shape and data_offsets, found {}", json.describe());
    TensorEntry out;
    out.name = name;
    const Json& dtype = field(name, json, "dtype");
    const Element* element = dtype.is_string() ? element_of(dtype.string()) : nullptr;
    if (!element) refuse(name, "\"dtype\": {} is not a dtype of the safetensors format", dtype.describe());
    out.file_dtype = element->spelling;
    out.dtype = element->dtype;

    const Json& shape = field(name, json, "shape");
    if (!shape.is_array()) refuse(name, "\"shape\": expected an array of integers, found {}", shape.describe());
    if (shape.size() > kMostAxes) {
      fail(ErrorCode::kUnsupported, "{}: tensor \"{}\": {} axes; expected at most {}", where_, name, shape.size(), kMostAxes);
    }
    for (const Json& size : shape.items()) out.shape.push_back(static_cast<int64_t>(whole(name, "shape", size)));

    const Json& offsets = field(name, json, "data_offsets");
    if (!offsets.is_array() || offsets.size() != 2) refuse(name, "\"data_offsets\": expected [begin, end], found {}", offsets.describe());
    const uint64_t begin = whole(name, "data_offsets", offsets.items()[0]), end = whole(name, "data_offsets", offsets.items()[1]);
    if (end < begin) refuse(name, "\"data_offsets\": [{}, {}] ends before it begins", begin, end);
    const uint64_t bytes = bytes_of(out, *element);
    // data_ <= 100 MB, so neither sum can wrap.
    out.begin = data_ + begin;
    out.end = data_ + end;
    if (end - begin != bytes) {
      refuse(name, "{} {} takes {} bytes, \"data_offsets\" [{}, {}] give {}", element->spelling, to_string(out.shape), bytes, begin, end,
             end - begin);
    }
    return out;
  }

  uint64_t bytes_of(const TensorEntry& entry, const Element& element) const {
    const std::optional<int64_t> bits = checked_product(element.bits, entry.shape);
    if (!bits)
      refuse(entry.name, "shape {} of {} is too large; its size in bits exceeds 2^63 - 1", to_string(entry.shape), element.spelling);
    if (std::count(entry.shape.begin(), entry.shape.end(), 0) > 0) return 0;
    if (*bits % 8 != 0) refuse(entry.name, "{} {} does not fill a whole number of bytes", element.spelling, to_string(entry.shape));
    return static_cast<uint64_t>(*bits) / 8;
  }

  // Checks that the sorted entries cover the file from the end of its header to its end, without gaps or overlaps.
  void check_cover(const std::vector<TensorEntry>& entries) const {
    size_t at = data_;
    for (size_t i = 0; i < entries.size(); ++i) {
      const TensorEntry& entry = entries[i];
      if (entry.end > file_.size()) {
        refuse(entry.name, "the header gives bytes {}..{}, but the file ends at {}. The download is probably incomplete.", entry.begin,
               entry.end, file_.size());
      }
      if (entry.begin > at) refuse(entry.name, "begins at byte {}, leaving a gap of {} bytes", entry.begin, entry.begin - at);
      if (entry.begin < at) {
        refuse(entry.name, "begins at byte {}, inside tensor \"{}\" ({}..{})", entry.begin, entries[i - 1].name, entries[i - 1].begin,
               entries[i - 1].end);
      }
      at = entry.end;
    }
    if (at != file_.size()) {
      fail(ErrorCode::kFormat,
           "{}: the last tensor ends at byte {}, but the file ends at {}. The header does not describe the bytes in between.", where_, at,
           file_.size());
    }
  }

  std::string_view file_;
  std::string where_;
  size_t data_ = 0;  // offset of the first byte after the header
};

}  // namespace

Header read_header(std::string_view file, std::string_view where) { return Reader(file, where).read(); }

const char* spelling(DType dtype) { return kElements[static_cast<size_t>(write_rank(dtype))].spelling; }

int write_rank(DType dtype) {
  const auto found = std::find_if(kElements.begin(), kElements.end(), [&](const Element& element) { return element.dtype == dtype; });
  return static_cast<int>(found - kElements.begin());
}

}  // namespace clearhead::io::safetensors
