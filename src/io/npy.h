// .npy files: one array, as numpy.save writes it.
//
//   "\x93NUMPY", version 1.0, header length (u16, little-endian), a Python dict as text, spaces and a newline up to a
//   multiple of 64, data.
//
// Written: f32, f16, i32, i64, u8, bool as they are; bf16 as f32, because numpy has no bf16. Read: versions 1 to 3,
// little-endian, C or Fortran order.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "clearhead/tensor.h"

namespace clearhead::io {

/// The complete file in memory, for example as the body of an HTTP response.
std::string npy_bytes(const Tensor& tensor);
/// The same, written in pieces to a file that appears complete or not at all. Throws kIo.
void write_npy(const std::string& path, const Tensor& tensor);

/// Writes an f32 array [rows, width] row by row; the number of rows need not be known before. The complete file appears
/// at commit(). Throws kIo.
class NpyRows {
 public:
  NpyRows(const std::string& path, int64_t width);
  void append(const std::vector<float>& row);
  void commit();

 private:
  AtomicFile file_;
  int64_t width_, rows_ = 0;
};

/// An immutable view of the mapped file, kept alive by the tensor; a copy if the data is not aligned. An array in Fortran
/// order is returned as a strided view. Throws kNotFound, kIo, kFormat, and kUnsupported for element types that this
/// library does not have.
Tensor read_npy(const std::string& path);
/// The same, from bytes that stay valid while `keep_alive` is held; `where` names them in error messages.
Tensor parse_npy(std::string_view bytes, std::shared_ptr<const void> keep_alive, const std::string& where);

}  // namespace clearhead::io
