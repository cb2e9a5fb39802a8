// Files: memory-mapped for reading, written completely or not at all.
//
// A file appears under its name only after its bytes are on disk: it is written to a temporary file in the same folder,
// synchronised with fsync, and renamed. If anything fails, Ctrl-C included (remove_unfinished_files), the temporary file
// is removed and an existing file is unchanged. Links are followed, not replaced. A device or a pipe (/dev/stdout) is
// written to directly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace clearhead {

/// A read-only mapping of a whole regular file. Throws kNotFound or kIo with the path and the system's reason. Tensors
/// that borrow from it share its ownership. If another process truncates the file while it is mapped, this process is
/// killed by SIGBUS, unless guard_mappings() was called.
class MappedFile {
 public:
  static std::shared_ptr<MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::string_view bytes() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::string& path() const { return path_; }
  /// Tells the system that these bytes are not needed soon. They are read from the file again when accessed.
  void release(size_t begin, size_t end) const;

 private:
  MappedFile() = default;
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t slot_ = 0;  // index among the mappings that guard_mappings() protects; 0: unprotected, because no index was free
};

/// Installs a SIGBUS handler; call it once per program. If a mapped file is truncated, reads then return zeros and
/// check_mappings() throws. Call check_mappings() before results are shown or written. Other faults go to the previously
/// installed handler.
void guard_mappings();
/// Throws kIo, naming the file, if a mapped file was truncated after it was opened. Costs one load.
void check_mappings();

/// Removes the temporary files of all files being written. Async-signal-safe: the Ctrl-C handler calls it before it ends
/// the process.
void remove_unfinished_files();

/// Creates a folder and its parents. An existing folder is left as it is. Throws kIo.
void make_folder(const std::string& path);
/// Opens a regular file for reading, without blocking. Returns a descriptor, which the caller closes, and sets `size` in bytes.
/// Throws kNotFound, or kIo for pipes, devices and folders.
int open_regular(const std::string& path, int64_t& size);
/// Reads a small file completely: a configuration, a recipe, a tokenizer. Throws as open_regular, and kFormat for more
/// than kLargestConfig bytes.
std::string read_config(const std::string& path);
inline constexpr int64_t kLargestConfig = int64_t{64} << 20;
/// Reads a file, a pipe or a device to its end.
std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view bytes);

/// A lock that admits one process at a time to a folder. The file FOLDER/NAME names the process and is locked while this
/// object exists; the system releases the lock of a process that is killed.
class FolderLock {
 public:
  /// Throws kInvalidArgument, naming the process that holds the lock, or kIo if the file cannot be created.
  FolderLock(const std::string& folder, const std::string& name);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  std::string path_;
  int descriptor_ = -1;
};

/// Throws the error that writing to `path` would throw. Call it before a computation whose result will be written there.
void check_writable(const std::string& path);

/// A file that is written in pieces. Nothing appears under `path` before commit().
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t size);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  /// Overwrites the first bytes, for a header that is known only at the end. Throws kIo for a pipe.
  void overwrite_beginning(std::string_view bytes);
  void commit();

 private:
  [[noreturn]] void fail_with(const char* what);
  void close_and_forget();
  // The path as given, the file behind links, and the file being written (empty for a device).
  std::string path_, target_, temporary_;
  int descriptor_ = -1;
  int slot_ = -1;  // in the list of remove_unfinished_files()
};

}  // namespace clearhead
