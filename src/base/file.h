// Files: mapped for reading, written whole or not at all.
//
// A written file appears under its name only after its bytes are on disk: temporary name beside it, fsync, rename. If anything fails,
// Ctrl-C included (remove_unfinished_files), the temporary is removed and what stood under the name before is untouched. A link is followed, not replaced;
// a device or a pipe (/dev/stdout) is written to as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace clearhead {

/// A read-only view of a whole regular file. Throws kNotFound or kIo with the path and the system's reason. Shared by tensors that borrow from it.
/// A file that others cut while it is mapped ends the process (SIGBUS), unless guard_mappings() was called.
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
  /// Tells the system that these bytes will not be needed soon; they are read again from the file if touched.
  void release(size_t begin, size_t end) const;

 private:
  MappedFile() = default;
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t slot_ = 0;  // among those that guard_mappings() looks after; 0: none was free
};

/// For a program, once: where a mapped file has been cut, zeros are read from then on in place of a SIGBUS, and check_mappings() throws. So whoever shows or
/// writes results checks first. Faults elsewhere go to the handler that was there before.
void guard_mappings();
/// Throws kIo naming a file that is mapped and was found to be shorter than when it was opened. Costs a load.
void check_mappings();

/// Removes the temporaries of all files being written. Async-signal-safe: for the handler of Ctrl-C, just before it ends the process.
void remove_unfinished_files();

/// Makes a folder and those above it; one that is there is left alone. Throws kIo.
void make_folder(const std::string& path);
/// Opens a regular file for reading, without waiting for anybody. Throws kNotFound, kIo for pipes, devices and folders.
int open_regular(const std::string& path, int64_t& size);
/// All of a file that is read whole and small: a configuration, a recipe, a tokenizer. Throws as open_regular, kFormat beyond kLargestConfig.
std::string read_config(const std::string& path);
inline constexpr int64_t kLargestConfig = int64_t{64} << 20;
/// All of a text: a file, a pipe, a device, until its end.
std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view bytes);

/// One process at a time in a folder: FOLDER/NAME says which, and is locked while it lives, however it ends.
class FolderLock {
 public:
  /// Throws kInvalidArgument naming the process that holds it, kIo where the file cannot be made.
  FolderLock(const std::string& folder, const std::string& name);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  std::string path_;
  int descriptor_ = -1;
};

/// Throws what writing there would throw for its name: before work whose result would have no place.
void check_writable(const std::string& path);

/// A file being written piece by piece. Nothing stands under `path` until commit().
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t size);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  /// Writes over the first bytes: a header that is known at the end. Throws kIo for a pipe, which has no beginning to go back to.
  void overwrite_beginning(std::string_view bytes);
  void commit();

 private:
  [[noreturn]] void fail_with(const char* what);
  void close_and_forget();
  std::string path_, target_, temporary_;  // as named; behind links; what is written, empty for a device
  int descriptor_ = -1;
  int slot_ = -1;  // in the list that remove_unfinished_files() walks
};

}  // namespace clearhead
