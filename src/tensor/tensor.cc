// Views change only offset, shape and strides. Only contiguous tensors can be reshaped.
#include "clearhead/tensor.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "base/format.h"
#include "base/parallel.h"
#include "tensor/pool.h"
#include "tensor/storage.h"

namespace clearhead {
namespace {

std::vector<int64_t> contiguous_strides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = step;
    step *= std::max<int64_t>(1, shape[axis]);
  }
  return strides;
}

int64_t count_elements(const Shape& shape, DType dtype) {
  if (std::any_of(shape.begin(), shape.end(), [](int64_t size) { return size < 0; }))
    fail(ErrorCode::kShape, "tensor: shape {} has a negative size", to_string(shape));
  const auto element = static_cast<int64_t>(size_of(dtype));
  const std::optional<int64_t> bytes = checked_product(element, shape);
  if (!bytes) fail(ErrorCode::kShape, "tensor: shape {} overflows memory", to_string(shape));
  return std::count(shape.begin(), shape.end(), 0) > 0 ? 0 : *bytes / element;
}

// Copies a strided block, axis by axis from the outermost one. Source and target have the same shape and element size.
void copy_strided(const std::byte* from, const std::vector<int64_t>& from_strides, std::byte* to, const std::vector<int64_t>& to_strides,
                  const Shape& shape, size_t axis, size_t element) {
  if (axis == shape.size()) {
    std::memcpy(to, from, element);
    return;
  }
  const bool last = axis + 1 == shape.size();
  if (last && from_strides[axis] == 1 && to_strides[axis] == 1) {
    std::memcpy(to, from, static_cast<size_t>(shape[axis]) * element);
    return;
  }
  const int64_t bytes = static_cast<int64_t>(element);
  for (int64_t i = 0; i < shape[axis]; ++i) {
    copy_strided(from + i * from_strides[axis] * bytes, from_strides, to + i * to_strides[axis] * bytes, to_strides, shape, axis + 1,
                 element);
  }
}

// Threads share copies of at least this size, because the first write to new memory costs more than the copy itself.
constexpr size_t kShared = size_t{4} << 20;  // bytes

void copy_shared(const std::byte* from, const std::vector<int64_t>& from_strides, std::byte* to, const std::vector<int64_t>& to_strides,
                 const Shape& shape, size_t element) {
  const auto longest = static_cast<size_t>(std::max_element(shape.begin(), shape.end()) - shape.begin());
  parallel_ranges(shape[longest], 256, [&](int64_t begin, int64_t end, int) {
    Shape part = shape;
    part[longest] = end - begin;
    const int64_t bytes = begin * static_cast<int64_t>(element);
    copy_strided(from + from_strides[longest] * bytes, from_strides, to + to_strides[longest] * bytes, to_strides, part, 0, element);
  });
}

}  // namespace

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32: return 4;
    case DType::kBF16:
    case DType::kF16: return 2;
    case DType::kI64: return 8;
    case DType::kU8:
    case DType::kBool: return 1;
  }
  return 0;
}

const char* to_string(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "f32";
    case DType::kBF16: return "bf16";
    case DType::kF16: return "f16";
    case DType::kI32: return "i32";
    case DType::kI64: return "i64";
    case DType::kU8: return "u8";
    case DType::kBool: return "bool";
  }
  return "f32";
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

Tensor Tensor::empty(Shape shape, DType dtype) {
  const int64_t count = count_elements(shape, dtype);
  Tensor out;
  out.storage_ = Storage::allocate(static_cast<size_t>(count) * size_of(dtype));
  out.strides_ = contiguous_strides(shape);
  out.shape_ = std::move(shape);
  out.dtype_ = dtype;
  return out;
}

TensorPool::TensorPool() : shelf_(Storage::make_shelf()) {}

Tensor TensorPool::take(const Shape& shape, DType dtype) const {
  Tensor out;
  out.storage_ = Storage::allocate(static_cast<size_t>(count_elements(shape, dtype)) * size_of(dtype), shelf_);
  out.strides_ = contiguous_strides(shape);
  out.shape_ = shape;
  out.dtype_ = dtype;
  return out;
}

size_t TensorPool::most_bytes() const { return Storage::most_bytes(*shelf_); }

Tensor TensorPool::shadow(const Tensor& of) {
  Tensor out = of;
  if (of.storage_) out.storage_ = Storage::shadow(*of.storage_);
  return out;
}

Tensor Tensor::zeros(Shape shape, DType dtype) {
  Tensor out = empty(std::move(shape), dtype);
  std::memset(out.storage_->data, 0, out.bytes());
  return out;
}

Tensor Tensor::borrow(const void* data, Shape shape, DType dtype, std::shared_ptr<const void> keep_alive, bool immutable,
                      std::vector<int64_t> strides) {
  count_elements(shape, dtype);
  if (!strides.empty() && strides.size() != shape.size())
    fail(ErrorCode::kShape, "tensor: {} strides for shape {}; expected one for each axis", strides.size(), to_string(shape));
  Tensor out;
  out.storage_ = Storage::borrow(data, std::move(keep_alive), immutable);
  out.strides_ = strides.empty() ? contiguous_strides(shape) : std::move(strides);
  out.shape_ = std::move(shape);
  out.dtype_ = dtype;
  return out;
}

void Tensor::fail_axis(int axis) const { fail(ErrorCode::kShape, "tensor: axis {} is out of range for shape {}", axis, to_string(shape_)); }

int64_t Tensor::numel() const {
  if (!storage_) return 0;
  int64_t count = 1;
  for (const int64_t size : shape_) count *= size;
  return count;
}

bool Tensor::is_contiguous() const {
  int64_t step = 1;
  for (size_t axis = shape_.size(); axis-- > 0;) {
    if (shape_[axis] == 0) return true;
    if (shape_[axis] != 1 && strides_[axis] != step) return false;
    step *= shape_[axis];
  }
  return true;
}

const std::byte* Tensor::raw() const {
  if (!storage_) fail(ErrorCode::kInvalidArgument, "tensor: used before it was given a value");
  return storage_->data + offset_ * static_cast<int64_t>(size_of(dtype_));
}

std::byte* Tensor::mutable_raw() {
  raw();
  if (storage_->immutable) fail(ErrorCode::kInvalidArgument, "tensor: borrowed as immutable memory; clone() it before writing");
  storage_->version.fetch_add(1, std::memory_order_relaxed);
  return storage_->data + offset_ * static_cast<int64_t>(size_of(dtype_));
}

Tensor Tensor::slice(int axis, int64_t begin, int64_t end) const {
  const int64_t length = size(axis);
  if (begin < 0 || begin > end || end > length) {
    fail(ErrorCode::kShape, "tensor: slice [{}, {}) is out of range for axis {} of shape {}", begin, end, axis, to_string(shape_));
  }
  const size_t at = static_cast<size_t>(axis < 0 ? axis + rank() : axis);
  Tensor out = *this;
  out.offset_ += begin * strides_[at];
  out.shape_[at] = end - begin;
  return out;
}

Tensor Tensor::select(int axis, int64_t index) const {
  Tensor out = slice(axis, index, index + 1);
  const auto at = static_cast<std::ptrdiff_t>(axis < 0 ? axis + rank() : axis);
  out.shape_.erase(out.shape_.begin() + at);
  out.strides_.erase(out.strides_.begin() + at);
  return out;
}

Tensor Tensor::permute(const std::vector<int>& order) const {
  std::vector<bool> seen(shape_.size(), false);
  Tensor out = *this;
  bool valid = order.size() == shape_.size();
  for (size_t i = 0; valid && i < order.size(); ++i) {
    valid = order[i] >= 0 && order[i] < rank() && !seen[static_cast<size_t>(order[i])];
    if (!valid) break;
    const size_t from = static_cast<size_t>(order[i]);
    seen[from] = true;
    out.shape_[i] = shape_[from];
    out.strides_[i] = strides_[from];
  }
  if (!valid) fail(ErrorCode::kShape, "tensor: permute of shape {} expects each axis once", to_string(shape_));
  return out;
}

Tensor Tensor::reshape(Shape shape) const {
  int64_t known = 1;
  int64_t* unknown = nullptr;
  for (int64_t& size : shape) {
    if (size == -1 && !unknown) {
      unknown = &size;
    } else {
      known *= size;
    }
  }
  if (unknown) *unknown = known > 0 ? numel() / known : 0;
  if (!is_contiguous() || count_elements(shape, dtype_) != numel()) {
    fail(ErrorCode::kShape, "tensor: {}shape {} cannot be viewed as {}", is_contiguous() ? "" : "non-contiguous ", to_string(shape_),
         to_string(shape));
  }
  Tensor out = *this;
  out.strides_ = contiguous_strides(shape);
  out.shape_ = std::move(shape);
  return out;
}

Tensor Tensor::expand(Shape shape) const {
  bool fits = shape.size() == shape_.size();
  Tensor out = *this;
  for (size_t axis = 0; fits && axis < shape.size(); ++axis) {
    fits = shape[axis] == shape_[axis] || shape_[axis] == 1;
    if (shape_[axis] == 1 && shape[axis] != 1) out.strides_[axis] = 0;
  }
  if (!fits) fail(ErrorCode::kShape, "tensor: shape {} does not broadcast to {}", to_string(shape_), to_string(shape));
  out.shape_ = std::move(shape);
  return out;
}

Tensor Tensor::contiguous() const { return is_contiguous() ? *this : clone(); }

Tensor Tensor::clone() const {
  Tensor out = empty(shape_, dtype_);
  if (numel() == 0) return out;
  if (bytes() >= kShared) {
    copy_shared(raw(), strides_, out.storage_->data, out.strides_, shape_, size_of(dtype_));
  } else {
    copy_strided(raw(), strides_, out.storage_->data, out.strides_, shape_, 0, size_of(dtype_));
  }
  return out;
}

Tensor Tensor::beside(const Tensor& base) const {
  int64_t last = offset_;
  for (size_t axis = 0; axis < shape_.size(); ++axis) last += (shape_[axis] - 1) * strides_[axis];
  if (numel() > 0 && (!base.is_contiguous() || base.offset_ != 0 || base.numel() <= last)) {
    fail(ErrorCode::kShape, "tensor: a view of shape {} reaches element {}, but the base tensor has {} elements", to_string(shape_), last,
         base.numel());
  }
  Tensor out = base;
  out.offset_ = offset_;
  out.shape_ = shape_;
  out.strides_ = strides_;
  return out;
}

uint64_t Tensor::storage_number() const { return storage_ ? storage_->number : 0; }

int64_t Tensor::storage_elements() const { return storage_ ? static_cast<int64_t>(storage_->bytes / size_of(dtype_)) : 0; }

uint64_t Tensor::version() const { return storage_ ? storage_->version.load(std::memory_order_relaxed) : 0; }

bool Tensor::is_borrowed() const { return storage_ && !storage_->owned && !storage_->immutable; }

bool Tensor::is_immutable() const { return storage_ && storage_->immutable; }

void Tensor::check_dtype(DType wanted) const {
  if (wanted != dtype_)
    fail(ErrorCode::kShape, "tensor: expected {}, found {} of shape {}", to_string(wanted), to_string(dtype_), to_string(shape_));
}

void Tensor::fill_from(const void* values, size_t count) {
  if (static_cast<int64_t>(count) != numel()) fail(ErrorCode::kShape, "tensor: {} values do not fill shape {}", count, to_string(shape_));
  if (count > 0) std::memcpy(storage_->data, values, bytes());
}

}  // namespace clearhead
