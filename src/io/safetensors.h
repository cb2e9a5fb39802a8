// safetensors: named tensors in one file, mapped into memory when read and written whole or not at all.
//
//   8 bytes   n, the header's length, little-endian
//   n bytes   JSON: {"__metadata__": {text: text}, NAME: {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, …}, spaces at the
//   end the rest  the tensors' bytes, row-major, little-endian; offsets count from here, leave no gap and never overlap
//
// A header is believed only after every number in it has been checked against the file: sizes against shapes, offsets against each other,
// the last byte against the end. What passes can be looked at without further checks. Source of the rules:
// github.com/huggingface/safetensors.
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

namespace clearhead {

/// What the header says of one tensor.
struct TensorEntry {
  std::string name;
  std::string file_dtype;      ///< as the file spells it: "F32", "BF16", "F8_E4M3"
  std::optional<DType> dtype;  ///< empty where this library has no such elements: get() refuses it
  Shape shape;
  size_t begin = 0, end = 0;  ///< bytes of its file
  size_t shard = 0;           ///< which file of a sharded model
  bool aligned = true;        ///< false where the file puts it at an address its elements cannot be read at: get() copies it
};

/// The tensors of one file, or of all shards of a model. A cheap value: copies share the mapping. Thread-safe.
/// A file must not be truncated by others while it is mapped (replacing it by rename is safe).
class SafeTensors {
 public:
  /// Throws kNotFound or kIo as MappedFile does, kFormat for a header that is not believed.
  static SafeTensors open(const std::string& path);
  /// model.safetensors of a directory, or the shards named by model.safetensors.index.json. Throws kNotFound naming the missing shard,
  /// kUnsupported for a directory of pytorch_model.bin with the command that converts it.
  static SafeTensors open_model(const std::string& directory);
  /// From bytes that stay valid as long as `keep_alive` is held; `where` names them in errors.
  static SafeTensors from_bytes(std::string_view bytes, std::shared_ptr<const void> keep_alive, const std::string& where);

  const std::vector<TensorEntry>& entries() const;  ///< in the order of their bytes, shard after shard
  std::vector<std::string> names() const;           ///< in the same order
  const TensorEntry* find(std::string_view name) const;
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  /// A view of the file's bytes, immutable and kept alive by the tensor itself; a copy where `aligned` is false.
  /// Throws kNotFound with the nearest names, kUnsupported for elements this library has not, kFormat for a bool that is neither 0 nor 1.
  Tensor get(std::string_view name) const;
  /// The __metadata__ of all shards.
  const std::map<std::string, std::string>& metadata() const;
  /// Tells the system that a tensor's pages are not needed for now: resident memory falls, bytes are read again if touched.
  void release(std::string_view name) const;
  /// The path opened, for messages.
  const std::string& where() const;

 private:
  struct Contents;
  explicit SafeTensors(std::shared_ptr<const Contents> contents) : contents_(std::move(contents)) {}
  const TensorEntry& require(std::string_view name) const;
  std::shared_ptr<const Contents> contents_;
};

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Writes the tensors as the format's own library does: widest elements first, then by name, so that everything is aligned. Strided tensors
/// are written piece by piece; nothing larger than 16 MiB is copied. Either the whole file stands under `path` afterwards or what stood
/// before. Throws kInvalidArgument for a name given twice, not valid UTF-8, or "__metadata__"; kIo as AtomicFile does.
void write_safetensors(const std::string& path, const NamedTensors& tensors, const std::map<std::string, std::string>& metadata = {});

}  // namespace clearhead
