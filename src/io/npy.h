// .npy: one array as numpy.save writes it.
//
//   "\x93NUMPY", version 1.0, header length (u16, little-endian), a Python dict as text, spaces and a newline up to a multiple of 64, data.
//
// Written: f32, f16, i32, i64, u8, bool as they are; bf16, which numpy has not, as f32. Read: versions 1 to 3, little-endian, either order.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "clearhead/tensor.h"

namespace clearhead {

/// The whole file in memory, e.g. as the body of an answer.
std::string npy_bytes(const Tensor& tensor);
/// The same, piece by piece to a file that appears whole or not at all. Throws kIo.
void write_npy(const std::string& path, const Tensor& tensor);

/// An f32 array [rows, width] written row by row; how many there are is known at the end. The file appears, whole, at commit(). Throws kIo.
class NpyRows {
 public:
  NpyRows(const std::string& path, int64_t width);
  void append(const std::vector<float>& row);
  void commit();

 private:
  AtomicFile file_;
  int64_t width_, rows_ = 0;
};

/// A view of the mapped file, immutable and kept alive by the tensor; Fortran order comes back as strides. Throws kNotFound, kIo, kFormat,
/// and kUnsupported for elements this library has not.
Tensor read_npy(const std::string& path);
Tensor parse_npy(std::string_view bytes, std::shared_ptr<const void> keep_alive, const std::string& where);

}  // namespace clearhead
