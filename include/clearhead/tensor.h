// Implemented in src/tensor.
// Arrays: strided views over shared storage. No arithmetic is defined here.
//
// A Tensor is a small value; copying it shares the storage. Elements are read through data<T>() and written through
// mutable_data<T>(). Each call of mutable_data increments the version of the storage; that is how a record detects that
// an operand has changed. Strides count elements. They can be zero (broadcast) and in any order, but never negative.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace clearhead {

enum class DType : uint8_t { kF32, kBF16, kF16, kI32, kI64, kU8, kBool };

size_t size_of(DType dtype);
const char* to_string(DType dtype);  ///< "f32", "bf16", "f16", "i32", "i64", "u8", "bool"

/// Storage of the weights of linear layers. Inputs, sums and outputs are f32, except that kInt8Dynamic also rounds
/// the inputs.
enum class WeightStorage : uint8_t {
  kF32,
  kBF16,  ///< rounded to nearest even: |Δw| ≤ 2⁻⁸·|w|
  kInt8,  ///< w ≈ q·s, q an integer in −127 … 127, s = max|w|/127 over the weights of one output: |Δw| ≤ s/2
  /// Weights as in kInt8, and each row of inputs is rounded in the same way when it is read: |Δx| ≤ max|x of the row|/254.
  /// Integers are multiplied and summed exactly; the sum is scaled in f32. A row with a NaN or an infinity becomes NaN.
  kInt8Dynamic,
};
const char* to_string(WeightStorage storage);  ///< "f32", "bf16", "int8", "int8-dynamic"

using Shape = std::vector<int64_t>;
std::string to_string(const Shape& shape);  ///< "[2, 8, 128, 64]"

template <class T>
constexpr DType dtype_of() {
  using U = std::remove_cv_t<T>;
  static_assert(std::is_same_v<U, float> || std::is_same_v<U, int32_t> || std::is_same_v<U, int64_t> || std::is_same_v<U, uint8_t> ||
                std::is_same_v<U, bool>);
  if constexpr (std::is_same_v<U, float>) return DType::kF32;
  if constexpr (std::is_same_v<U, int32_t>) return DType::kI32;
  if constexpr (std::is_same_v<U, int64_t>) return DType::kI64;
  if constexpr (std::is_same_v<U, uint8_t>) return DType::kU8;
  return DType::kBool;
}

class Storage;  // src/tensor/storage.h: the bytes, their owner and their version
class TensorPool;

class Tensor {
 public:
  Tensor() = default;  ///< undefined: defined() is false, numel() is 0

  /// A new contiguous tensor, 64-byte aligned; `empty` does not initialise the elements. Throws kShape for a negative
  /// or overflowing size, kBudget if the system has no memory.
  static Tensor empty(Shape shape, DType dtype = DType::kF32);
  static Tensor zeros(Shape shape, DType dtype = DType::kF32);
  template <class T>
  static Tensor from(const std::vector<T>& values, Shape shape) {
    Tensor out = empty(std::move(shape), dtype_of<T>());
    if constexpr (std::is_same_v<T, bool>) {  // vector<bool> has no bytes to copy
      const std::vector<uint8_t> bytes(values.begin(), values.end());
      out.fill_from(bytes.data(), bytes.size());
    } else {
      out.fill_from(values.data(), values.size());
    }
    return out;
  }
  /// A view of memory that has another owner. `keep_alive` is kept as long as any view exists; without it the caller must
  /// keep the memory valid. Writes that bypass mutable_data cannot be detected, so a record over borrowed memory is
  /// unpinned(), unless the memory is declared `immutable`.
  static Tensor borrow(const void* data, Shape shape, DType dtype, std::shared_ptr<const void> keep_alive = nullptr, bool immutable = false,
                       std::vector<int64_t> strides = {});

  bool defined() const { return storage_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  const std::vector<int64_t>& strides() const { return strides_; }  ///< in elements
  int rank() const { return static_cast<int>(shape_.size()); }
  /// Negative axes count from the end. Throws kShape for an axis out of range.
  int64_t size(int axis) const { return shape_[place_of(axis)]; }
  int64_t stride(int axis) const { return strides_[place_of(axis)]; }
  int64_t numel() const;
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }
  bool is_contiguous() const;

  /// Pointer to element [0, …, 0]. Throws kShape if T does not match the dtype; mutable_data throws kInvalidArgument
  /// for immutable memory.
  template <class T>
  const T* data() const {
    check_dtype(dtype_of<T>());
    return reinterpret_cast<const T*>(raw());
  }
  template <class T>
  T* mutable_data() {
    check_dtype(dtype_of<T>());
    return reinterpret_cast<T*>(mutable_raw());
  }
  const std::byte* raw() const;
  std::byte* mutable_raw();  ///< increments the version; throws kInvalidArgument for immutable memory

  // Views: no element is copied. They throw kShape if axes or sizes do not fit.
  Tensor slice(int axis, int64_t begin, int64_t end) const;
  Tensor select(int axis, int64_t index) const;  ///< removes the axis
  Tensor permute(const std::vector<int>& order) const;
  Tensor reshape(Shape shape) const;  ///< one size may be −1; the tensor must be contiguous
  Tensor expand(Shape shape) const;   ///< broadcasts axes of size 1

  Tensor contiguous() const;  ///< this tensor if it is contiguous, otherwise a copy
  Tensor clone() const;       ///< a contiguous copy that owns its memory

  /// A view with this tensor's offset, shape and strides on the storage of `base`, with the dtype of `base`. `base`
  /// must be contiguous and start at the beginning of its storage. Throws kShape if it is too short. (The tape finds the
  /// gradient of a view in this way.)
  Tensor beside(const Tensor& base) const;
  uint64_t storage_number() const;   ///< the same for all views of a storage, never reused; 0 if undefined
  int64_t storage_elements() const;  ///< elements of this dtype in an owned storage; 0 for borrowed memory

  uint64_t version() const;   ///< number of mutable accesses so far
  bool is_borrowed() const;   ///< true if the memory can change without incrementing version()
  bool is_immutable() const;  ///< true if the memory can never be opened for writing
  bool shares_storage_with(const Tensor& other) const { return storage_ && storage_ == other.storage_; }

 private:
  friend class TensorPool;
  void check_dtype(DType wanted) const;
  [[noreturn]] void fail_axis(int axis) const;
  size_t place_of(int axis) const {
    const int at = axis < 0 ? axis + rank() : axis;
    if (at < 0 || at >= rank()) fail_axis(axis);
    return static_cast<size_t>(at);
  }
  void fill_from(const void* values, size_t count);

  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;  // elements
  Shape shape_;
  std::vector<int64_t> strides_;
  DType dtype_ = DType::kF32;
};

/// Converts values between f32, bf16 and f16, rounding to nearest even. Returns a clone if the dtype is already right.
/// Throws kUnsupported for other dtypes.
Tensor to_dtype(const Tensor& tensor, DType dtype);
Tensor to_f32(const Tensor& tensor);  ///< exact: every bf16 or f16 number is an f32 number
float bf16_to_f32(uint16_t bits);
uint16_t f32_to_bf16(float value);  ///< to nearest even; NaN stays NaN
float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value);  ///< to nearest even; 65,520 and above become infinity, NaN stays NaN

}  // namespace clearhead
