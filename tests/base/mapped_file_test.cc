// Files that are mapped for reading: what happens if other programs change them, and what is refused instead of a file.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "clearhead/error.h"
#include "refused.h"

namespace clearhead {
namespace {

class Files : public testing::Test {
 protected:
  void SetUp() override { make_folder(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string path(const std::string& name) const { return folder + "/" + name; }

  const std::string folder = testing::TempDir() + "clearhead_files_" + std::to_string(::getpid());
};

TEST_F(Files, AFileTruncatedWhileMappedIsReportedByName) {
  guard_mappings();
  write_file(path("whole"), std::string(20000, 'x'));
  write_file(path("cut"), std::string(20000, 'x'));
  const auto whole = MappedFile::open(path("whole"));
  auto cut = MappedFile::open(path("cut"));
  EXPECT_NO_THROW(check_mappings());
  ASSERT_EQ(::truncate(path("cut").c_str(), 4096), 0);
  EXPECT_EQ(cut->bytes()[100], 'x');
  EXPECT_NO_THROW(check_mappings()) << "nothing was read beyond the end of the file";
  EXPECT_EQ(cut->bytes()[12000], 0);
  EXPECT_EQ(error_of([] { check_mappings(); }).find("kIo: " + path("cut") + ": was truncated by another program"), 0U);
  EXPECT_EQ(whole->bytes()[12000], 'x');
  expect_refused(ErrorCode::kIo, "was truncated by another program", [&] { write_file(path("result"), "made of zeros"); });
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 2) << "neither a result nor a temporary file";
  cut.reset();
  EXPECT_NO_THROW(check_mappings());
}

TEST_F(Files, ConfigurationsAreRegularAndSmall) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  expect_refused(ErrorCode::kIo, "expected a regular file, found a pipe", [&] { read_config(path("pipe")); });
  expect_refused(ErrorCode::kIo, "expected a regular file, found a pipe", [&] { MappedFile::open(path("pipe")); });
  expect_refused(ErrorCode::kIo, "/dev/zero: expected a regular file, found a device", [] { read_config("/dev/zero"); });
  expect_refused(ErrorCode::kIo, "Is a directory", [&] { read_config(folder); });
  expect_refused(ErrorCode::kNotFound, "No such file", [&] { read_config(path("none")); });
  write_file(path("large"), "{}");
  ASSERT_EQ(::truncate(path("large").c_str(), kLargestConfig + 1), 0);
  expect_refused(ErrorCode::kFormat, "at most 64.0 MiB", [&] { read_config(path("large")); });
  write_file(path("small"), "{}");
  EXPECT_EQ(read_config(path("small")), "{}");
}

TEST_F(Files, TemporariesOfProcessesThatAreGoneAreRemovedByALaterWrite) {
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile file(path("result"));
    file.write("half");
    ::_exit(0);  // as if it had been killed: nothing is cleaned up
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const std::string left = path("result.tmp" + std::to_string(child) + "-0"), mine = path("other.tmp" + std::to_string(::getpid()) + "-77"),
                    alien = path("notes.tmp12-draft");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) EXPECT_NE(entry.path().string().find(".tmp"), std::string::npos);
  ASSERT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  for (const std::string& name : {mine, alien}) ::close(::open(name.c_str(), O_CREAT | O_WRONLY, 0600));
  write_file(path("another"), "whole");
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(mine)) << "its process is alive";
  EXPECT_TRUE(std::filesystem::exists(alien)) << "not a name that clearhead gives to temporaries";
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 3);
}

TEST_F(Files, WritingThroughASymlinkWritesItsTarget) {
  std::filesystem::create_symlink("target", path("link"));
  std::filesystem::create_symlink(path("link"), path("second"));
  write_file(path("second"), "first");
  EXPECT_EQ(read_file(path("target")), "first");
  write_file(path("link"), "again");
  EXPECT_EQ(read_file(path("target")), "again");
  EXPECT_TRUE(std::filesystem::is_symlink(path("link")) && std::filesystem::is_symlink(path("second")));
  std::filesystem::create_symlink("round", path("round"));
  expect_refused(ErrorCode::kIo, "too many levels", [&] { write_file(path("round"), "x"); });
}

}  // namespace
}  // namespace clearhead
