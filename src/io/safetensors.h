// safetensors: named tensors in one file. Files are memory-mapped for reading, and written completely or not at all.
//
//   8 bytes   n, the length of the header, little-endian
//   n bytes   JSON, padded with spaces: {"__metadata__": {text: text},
//             NAME: {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, …}
//   the rest  the bytes of the tensors, row-major, little-endian; offsets count from here, without gaps or overlaps
//
// Every number of a header is checked against the file before it is used: sizes against shapes, offsets against each
// other, the last byte against the end. After that, every tensor lies within the file; only the values of bools are still checked.
// Source of the rules: github.com/huggingface/safetensors.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead::io {

/// The header entry of one tensor.
struct TensorEntry {
  std::string name;
  std::string file_dtype;      ///< as in the file: "F32", "BF16", "F8_E4M3"
  std::optional<DType> dtype;  ///< empty: an element type that this library does not have; get() refuses it
  Shape shape;
  size_t begin = 0, end = 0;  ///< [begin, end) in bytes of its file
  size_t shard = 0;           ///< index of the file in a sharded model
  bool aligned = true;        ///< false: the file stores it at an unaligned address; get() copies it
};

/// The tensors of one file, or of all shards of a model. Cheap to copy: copies share the mapping. Thread-safe. Other
/// processes must not truncate a mapped file; replacing it by rename is safe.
class SafeTensors {
 public:
  /// Throws kNotFound or kIo as MappedFile does, kFormat for an invalid header.
  static SafeTensors open(const std::string& path);
  /// Opens model.safetensors of a directory, or the shards in model.safetensors.index.json. Throws kNotFound with
  /// the name of a missing shard, kUnsupported, with the conversion command, for a directory that has
  /// pytorch_model.bin only.
  static SafeTensors open_model(const std::string& directory);
  /// From bytes that stay valid while `keep_alive` is held; `where` names them in error messages.
  static SafeTensors from_bytes(std::string_view bytes, std::shared_ptr<const void> keep_alive, const std::string& where);

  const std::vector<TensorEntry>& entries() const;  ///< in the order of their bytes, shard by shard
  std::vector<std::string> names() const;           ///< in the same order
  const TensorEntry* find(std::string_view name) const;
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  /// An immutable view of the file's bytes, kept alive by the tensor; a copy if `aligned` is false. Throws kNotFound
  /// with the nearest names, kUnsupported for element types that this library does not have, kFormat for a bool
  /// other than 0 and 1.
  Tensor get(std::string_view name) const;
  /// The __metadata__ of all shards.
  const std::map<std::string, std::string>& metadata() const;
  /// Tells the system that a tensor's pages are not needed for now. Resident memory falls; bytes are read
  /// again when touched.
  void release(std::string_view name) const;
  /// The path that was opened, for messages.
  const std::string& where() const;

 private:
  struct Contents;
  explicit SafeTensors(std::shared_ptr<const Contents> contents) : contents_(std::move(contents)) {}
  const TensorEntry& require(std::string_view name) const;
  std::shared_ptr<const Contents> contents_;
};

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Writes tensors in the order of the reference library: by dtype, the widest first, then by name, so that all are aligned.
/// Strided tensors are written in pieces of at most 16 MiB. Afterwards `path` is the complete new file, or unchanged.
/// Throws kInvalidArgument for a name that is repeated, invalid UTF-8 or "__metadata__"; kIo as AtomicFile.
void write_safetensors(const std::string& path, const NamedTensors& tensors, const std::map<std::string, std::string>& metadata = {});

}  // namespace clearhead::io
