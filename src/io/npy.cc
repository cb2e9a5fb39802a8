// The header of a .npy file is parsed as a Python dict of three fields; other fields and other literals are refused.
// NpyRows does not know the number of rows in advance: it reserves space for the header and overwrites it at the end.
#include "io/npy.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>

#include "base/checked.h"
#include "base/file.h"
#include "base/format.h"
#include "io/pieces.h"

namespace clearhead::io {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kMostAxes = 64;  // numpy's limit

struct Element {
  DType dtype;
  const char* description;
};
constexpr std::array<Element, 6> kElements = {{
    {DType::kF32, "<f4"},
    {DType::kF16, "<f2"},
    {DType::kI32, "<i4"},
    {DType::kI64, "<i8"},
    {DType::kU8, "|u1"},
    {DType::kBool, "|b1"},
}};

// Returns everything before the data: magic, version, header length and dict, at least `least` bytes in all.
std::string header_of(const Shape& shape, DType dtype, size_t least = 0) {
  const auto* element = std::find_if(kElements.begin(), kElements.end(), [&](const Element& known) { return known.dtype == dtype; });
  std::string text = format("{{'descr': '{}', 'fortran_order': False, 'shape': (", element->description);
  for (size_t axis = 0; axis < shape.size(); ++axis) text += (axis ? ", " : "") + std::to_string(shape[axis]);
  text += shape.size() == 1 ? ",), }" : "), }";
  const size_t before = kMagic.size() + 4;
  const size_t total = std::max(least, (before + text.size() + 1 + 63) / 64 * 64);
  if (total - before > std::numeric_limits<uint16_t>::max())
    fail(ErrorCode::kUnsupported, "npy: a shape of {} axes does not fit its header", shape.size());
  text.resize(total - before - 1, ' ');
  text += '\n';
  const char prefix[4] = {1, 0, static_cast<char>(text.size() & 0xFF), static_cast<char>(text.size() >> 8)};
  return std::string(kMagic) + std::string(prefix, sizeof prefix) + text;
}

Tensor as_numpy_has_it(const Tensor& tensor) { return tensor.dtype() == DType::kBF16 ? to_f32(tensor) : tensor; }

template <class Put>
void write_to(const Tensor& tensor, const Put& put) {
  if (!tensor.defined()) fail(ErrorCode::kInvalidArgument, "npy: the tensor is undefined; expected a tensor with values");
  const Tensor values = as_numpy_has_it(tensor);
  const std::string header = header_of(values.shape(), values.dtype());
  put(reinterpret_cast<const std::byte*>(header.data()), header.size());
  for_each_piece(values, put);
}

// Reads the header's dict: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } and nothing more general.
class Dict {
 public:
  Dict(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  std::optional<std::string> descr;
  std::optional<bool> fortran;
  std::optional<Shape> shape;

  void read() {
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !descr) {
        if (peek() != '\'' && peek() != '"') fail(ErrorCode::kUnsupported, "{}: an array of structures; expected plain numbers", where_);
        descr = quoted();
      } else if (key == "fortran_order" && !fortran) {
        fortran = boolean();
      } else if (key == "shape" && !shape) {
        shape = tuple();
      } else {
        wrong("one each of 'descr', 'fortran_order' and 'shape'");
      }
      if (!accept(',') && peek() != '}') wrong("a comma or }");
    }
    peek();
    if (at_ != text_.size()) wrong("nothing after }");
    if (!descr || !fortran || !shape) wrong("'descr', 'fortran_order' and 'shape'");
  }

 private:
  [[noreturn]] void wrong(const char* expected) const {
    fail(ErrorCode::kFormat, "{}: the npy header: at byte {}: expected {}", where_, at_, expected);
  }
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    const char expected[] = {c, '\0'};
    if (!accept(c)) wrong(expected);
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') wrong("a quoted name");
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) wrong("the name's closing quote");
    std::string out(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return out;
  }
  bool boolean() {
    peek();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return value;
      }
    }
    wrong("True or False");
  }
  Shape tuple() {
    Shape out;
    expect('(');
    while (!accept(')')) {
      out.push_back(integer());
      if (out.size() > kMostAxes) wrong("at most 64 axes");
      accept('L');  // Python 2 wrote 3L
      if (!accept(',') && peek() != ')') wrong("a comma or )");
    }
    return out;
  }
  int64_t integer() {
    const char first = peek();
    if (first < '0' || first > '9') wrong("a size");
    int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (value > (std::numeric_limits<int64_t>::max() - 9) / 10) wrong("a size below 2^63");
      value = value * 10 + (text_[at_] - '0');
    }
    return value;
  }

  std::string_view text_;
  const std::string& where_;
  size_t at_ = 0;
};

DType dtype_of_descr(const std::string& descr, const std::string& where) {
  for (const Element& element : kElements) {
    const std::string_view known = element.description;
    // Single bytes have no byte order: numpy writes "|", other writers "<".
    if (descr == known || (known[0] == '|' && descr.size() == known.size() && descr[0] == '<' && descr.substr(1) == known.substr(1)))
      return element.dtype;
  }
  fail(ErrorCode::kUnsupported, "{}: dtype '{}' is not supported; expected one of <f4 <f2 <i4 <i8 |u1 |b1. In numpy: a.astype('<f4')",
       where, descr);
}

// Returns the byte range [begin, end) of the dict in the file.
std::pair<size_t, size_t> header_range(std::string_view bytes, const std::string& where) {
  if (bytes.substr(0, kMagic.size()) != kMagic) fail(ErrorCode::kFormat, "{}: not a .npy file; its first bytes differ", where);
  const auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<unsigned char>(bytes[at])); };
  const size_t version = bytes.size() > 6 ? byte(6) : 0;
  if (bytes.size() > 6 && (version < 1 || version > 3))
    fail(ErrorCode::kUnsupported, "{}: version {} of the npy format is not supported; expected 1, 2 or 3", where, version);
  const size_t begin = version == 1 ? 10 : 12;
  if (bytes.size() < begin) fail(ErrorCode::kFormat, "{}: the file ends at byte {}, within the npy header", where, bytes.size());
  size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > bytes.size() - begin) {
    fail(ErrorCode::kFormat, "{}: the npy header ends at byte {}, but the file ends at {}; it is probably incomplete", where,
         begin + length, bytes.size());
  }
  return {begin, begin + length};
}

size_t bytes_of(const Shape& shape, DType dtype, const std::string& where) {
  const std::optional<int64_t> bytes = checked_product(static_cast<int64_t>(size_of(dtype)), shape);
  if (!bytes) fail(ErrorCode::kFormat, "{}: shape {} is too large; its size in bytes exceeds 2^63 - 1", where, to_string(shape));
  return std::count(shape.begin(), shape.end(), 0) > 0 ? 0 : static_cast<size_t>(*bytes);
}

}  // namespace

std::string npy_bytes(const Tensor& tensor) {
  std::string out;
  write_to(tensor, [&](const std::byte* bytes, size_t size) { out.append(reinterpret_cast<const char*>(bytes), size); });
  return out;
}

void write_npy(const std::string& path, const Tensor& tensor) {
  AtomicFile file(path);
  write_to(tensor, [&](const std::byte* bytes, size_t size) { file.write(bytes, size); });
  file.commit();
}

NpyRows::NpyRows(const std::string& path, int64_t width) : file_(path), width_(width) {
  file_.write(header_of({std::numeric_limits<int64_t>::max(), width_}, DType::kF32));  // reserves space for the final header
}

void NpyRows::append(const std::vector<float>& row) {
  if (static_cast<int64_t>(row.size()) != width_) fail(ErrorCode::kShape, "npy: the row has {} values; expected {}", row.size(), width_);
  file_.write(row.data(), row.size() * sizeof(float));
  ++rows_;
}

void NpyRows::commit() {
  const size_t place = header_of({std::numeric_limits<int64_t>::max(), width_}, DType::kF32).size();
  file_.overwrite_beginning(header_of({rows_, width_}, DType::kF32, place));
  file_.commit();
}

Tensor read_npy(const std::string& path) {
  const std::shared_ptr<MappedFile> file = MappedFile::open(path);
  return parse_npy(file->bytes(), file, path);
}

Tensor parse_npy(std::string_view bytes, std::shared_ptr<const void> keep_alive, const std::string& where) {
  const auto [begin, end] = header_range(bytes, where);
  Dict dict(bytes.substr(begin, end - begin), where);
  dict.read();
  const DType dtype = dtype_of_descr(*dict.descr, where);
  Shape stored = *dict.shape;
  if (*dict.fortran) std::reverse(stored.begin(), stored.end());
  const size_t size = bytes_of(stored, dtype, where);
  if (size != bytes.size() - end) {
    fail(ErrorCode::kFormat, "{}: {} of shape {} takes {} bytes, but {} bytes follow the header", where, to_string(dtype),
         to_string(*dict.shape), size, bytes.size() - end);
  }
  const char* data = bytes.data() + end;
  Tensor out;
  if (reinterpret_cast<uintptr_t>(data) % size_of(dtype) == 0) {
    out = Tensor::borrow(data, stored, dtype, std::move(keep_alive), /*immutable=*/true);
  } else {
    out = Tensor::empty(stored, dtype);
    if (size > 0) std::memcpy(out.mutable_raw(), data, size);
  }
  if (dtype == DType::kBool) {
    const auto* first = reinterpret_cast<const unsigned char*>(out.raw());
    const auto* wrong = std::find_if(first, first + size, [](unsigned char byte) { return byte > 1; });
    if (wrong != first + size)
      fail(ErrorCode::kFormat, "{}: element {} is {}; expected 0 or 1, because the dtype is bool", where, wrong - first,
           static_cast<int>(*wrong));
  }
  if (!*dict.fortran) return out;
  std::vector<int> order(stored.size());
  std::iota(order.rbegin(), order.rend(), 0);
  return out.permute(order);
}

}  // namespace clearhead::io
