// Arrays of Python as tensors, and tensors as arrays of Python.
//
// Input: any array with DLPack or the buffer protocol (numpy, torch, jax, …). It is not copied, unless its strides are negative or its
// memory does not hold its values as they are (clearhead/_memory.py: lazy negation and conjugation of torch, foreign byte order).
// Output: an array of the same library as the input, otherwise numpy; it shares the tensor's memory.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "clearhead/tensor.h"

namespace clearhead::python {

/// Throws kInvalidArgument for what is no array, kUnsupported for another device than the CPU and for other dtypes than f32, bf16, f16,
/// i32, i64, u8 and bool. `name` is the argument's, for messages.
Tensor tensor_of(nanobind::handle array, const char* name);
/// The same; a tensor of i64 is converted to i32. Throws kInvalidArgument for numbers beyond it.
Tensor indices_of(nanobind::handle array, const char* name);
/// like: the array that decides the kind; none: numpy. numpy has no bf16: there the values come as f32.
nanobind::object array_of(const Tensor& tensor, nanobind::handle like = nanobind::handle());

}  // namespace clearhead::python
