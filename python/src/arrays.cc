// Conversion between tensors and Python arrays. An owner keeps the memory alive while a tensor or an array refers to it.
#include "arrays.h"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>

#include "base/format.h"
#include "clearhead/error.h"

namespace nb = nanobind;

namespace clearhead::python {
namespace {

using Code = nb::dlpack::dtype_code;

struct Kind {
  DType dtype;
  Code code;
  uint8_t bits;
};
constexpr Kind kKinds[] = {{DType::kF32, Code::Float, 32}, {DType::kBF16, Code::Bfloat, 16}, {DType::kF16, Code::Float, 16},
                           {DType::kI32, Code::Int, 32},   {DType::kI64, Code::Int, 64},     {DType::kU8, Code::UInt, 8},
                           {DType::kBool, Code::Bool, 8}};

std::string name_of(nb::dlpack::dtype dtype) {
  const char* names[] = {"int", "uint", "float", "handle", "bfloat", "complex", "bool"};
  return dtype.code < std::size(names) ? format("{}{}", names[dtype.code], dtype.bits) : format("dtype {}", dtype.code);
}

DType dtype_of_array(nb::dlpack::dtype dtype, const char* name) {
  for (const Kind& kind : kKinds) {
    if (dtype.code == static_cast<uint8_t>(kind.code) && dtype.bits == kind.bits && dtype.lanes == 1) return kind.dtype;
  }
  const bool is_double = dtype.code == static_cast<uint8_t>(Code::Float) && dtype.bits == 64;
  fail(ErrorCode::kUnsupported, "{}: dtype {}; expected float32, bfloat16, float16, int32, int64, uint8 or bool{}", name, name_of(dtype),
       is_double ? ", as in x.astype(\"float32\")" : "");
}

// Returns a function of clearhead/_memory.py. Imported at every call, because a cached object would outlive the interpreter.
nb::object of_memory(const char* function) { return nb::module_::import_("clearhead._memory").attr(function); }

bool is_jax(nb::handle array) {
  const nb::object module = nb::getattr(array.type(), "__module__", nb::none());
  return nb::isinstance<nb::str>(module) && nb::cast<std::string>(module).starts_with("jax");
}

template <class Framework>
nb::object exported(const Tensor& tensor, nb::dlpack::dtype dtype) {
  auto* owner = new Tensor(tensor);
  const nb::capsule keep(owner, [](void* held) noexcept { delete static_cast<Tensor*>(held); });
  const std::vector<size_t> shape(tensor.shape().begin(), tensor.shape().end());
  return nb::cast(
      nb::ndarray<Framework>(const_cast<std::byte*>(tensor.raw()), shape.size(), shape.data(), keep, tensor.strides().data(), dtype),
      nb::rv_policy::reference);
}

}  // namespace

Tensor tensor_of(nb::handle given, const char* name) {
  const nb::object array = of_memory("readable")(given, name);
  nb::ndarray<nb::ro> view;
  if (!nb::try_cast(array, view, false)) {
    fail(ErrorCode::kInvalidArgument,
         "{}: expected a NumPy, PyTorch or JAX array, or one of another library that supports DLPack, found {}", name,
         nb::cast<std::string>(nb::getattr(array.type(), "__name__")));
  }
  if (view.device_type() != nb::device::cpu::value)
    fail(ErrorCode::kUnsupported, "{}: is not on the CPU; move it there first, as in x.cpu()", name);
  const DType dtype = dtype_of_array(view.dtype(), name);
  Shape shape;
  std::vector<int64_t> strides;
  bool is_backwards = false;
  for (size_t axis = 0; axis < view.ndim(); ++axis) {
    shape.push_back(static_cast<int64_t>(view.shape(axis)));
    strides.push_back(view.stride(axis));
    is_backwards = is_backwards || (strides.back() < 0 && shape.back() > 1);
  }
  if (view.size() > 0 && view.data() == nullptr) fail(ErrorCode::kInvalidArgument, "{}: its memory was freed", name);
  if (is_backwards) return tensor_of(nb::module_::import_("numpy").attr("ascontiguousarray")(array), name);
  for (int64_t& stride : strides) stride = std::max<int64_t>(stride, 0);  // an axis of size 1 may have any stride
  const std::shared_ptr<const void> keep(new nb::ndarray<nb::ro>(view), [](const void* held) {
    const nb::gil_scoped_acquire gil;
    delete static_cast<const nb::ndarray<nb::ro>*>(held);
  });
  return Tensor::borrow(view.data(), std::move(shape), dtype, keep, false, std::move(strides));
}

Tensor indices_of(nb::handle array, const char* name) {
  const Tensor given = tensor_of(array, name);
  if (given.dtype() != DType::kI64) return given;
  const Tensor wide = given.contiguous();
  Tensor out = Tensor::empty(wide.shape(), DType::kI32);
  int32_t* to = out.mutable_data<int32_t>();
  for (int64_t at = 0; at < wide.numel(); ++at) {
    const int64_t value = wide.data<int64_t>()[at];
    if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max())
      fail(ErrorCode::kInvalidArgument, "{}: {} does not fit into 32 bits", name, value);
    to[at] = static_cast<int32_t>(value);
  }
  return out;
}

nb::object array_of(const Tensor& tensor, nb::handle like) {
  if (!tensor.defined()) return nb::none();
  const bool has_kind = like.is_valid() && !like.is_none();
  nb::dlpack::dtype dtype{};
  for (const Kind& kind : kKinds) {
    if (kind.dtype == tensor.dtype()) dtype = {static_cast<uint8_t>(kind.code), kind.bits, 1};
  }
  if (has_kind && nb::cast<bool>(of_memory("is_torch")(like))) return exported<nb::pytorch>(tensor, dtype);
  if (has_kind && is_jax(like)) return exported<nb::jax>(tensor.contiguous(), dtype);
  if (tensor.dtype() == DType::kBF16) return array_of(to_f32(tensor));
  return exported<nb::numpy>(tensor, dtype);
}

}  // namespace clearhead::python
