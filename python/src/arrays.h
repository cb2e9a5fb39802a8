// Converts Python arrays to tensors and tensors to Python arrays.
//
// Input: any array with DLPack or the buffer protocol (numpy, torch, jax, …). It is copied only if its strides are negative or its
// memory does not hold its plain values (clearhead/_memory.py: lazy negation and conjugation in torch, foreign byte order).
// Output: an array of the same library as the input, otherwise numpy; it shares the tensor's memory.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "clearhead/tensor.h"

namespace clearhead::python {

/// Returns a tensor over the array. Throws kInvalidArgument for objects that are not arrays; kUnsupported for devices other than the CPU
/// and for dtypes other than f32, bf16, f16, i32, i64, u8 and bool. name: of the argument, for messages.
Tensor tensor_of(nanobind::handle array, const char* name);
/// Like tensor_of(), but converts i64 to i32. Also throws kInvalidArgument for numbers that do not fit into i32.
Tensor indices_of(nanobind::handle array, const char* name);
/// Returns an array of the same library as `like`, or of numpy by default. numpy has no bf16, so bf16 is converted to f32 for it.
nanobind::object array_of(const Tensor& tensor, nanobind::handle like = nanobind::handle());

}  // namespace clearhead::python
