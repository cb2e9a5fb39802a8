// Text files: byte order marks, lines, and files that are not text.
#include "base/text_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "refused.h"

namespace clearhead {
namespace {

using namespace std::string_literals;  // NOLINT(google-build-using-namespace): texts with NUL bytes

class TextFile : public ::testing::Test {
 protected:
  std::string path_ = (std::filesystem::temp_directory_path() / ("clearhead_text_" + std::to_string(::getpid()) + ".txt")).string();
  void TearDown() override { std::filesystem::remove(path_); }
  const std::string& write(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
    return path_;
  }
};

TEST_F(TextFile, IsReadWithoutItsByteOrderMark) {
  EXPECT_EQ(read_text_file(write("\xEF\xBB\xBFHello.\n")), "Hello.\n");
  EXPECT_EQ(read_text_file(write("Hello.\n")), "Hello.\n");
  EXPECT_EQ(read_text_file(write("\xEF\xBB\xBF")), "");
  EXPECT_EQ(read_text_file(write("")), "");
  EXPECT_EQ(read_text_file(write("a\xEF\xBB\xBF")), "a\xEF\xBB\xBF") << "U+FEFF inside a text is a character";
}

TEST_F(TextFile, IsReadLineByLineWithoutItsByteOrderMark) {
  TextLines lines(write("\xEF\xBB\xBFone\r\n\n\xEF\xBB\xBFthree"));
  std::vector<std::string> all;
  for (std::string line; lines.next(line);) all.push_back(line);
  EXPECT_EQ(all, (std::vector<std::string>{"one\r", "", "\xEF\xBB\xBFthree"}));
  EXPECT_EQ(lines.number(), 3);
}

TEST_F(TextFile, HasLinesOfAnyLengthAndALastOneThatIsNotEnded) {
  const std::string longer(200'001, 'x');
  TextLines lines(write("a\n" + longer + "\n" + longer + "y"));
  std::vector<size_t> sizes;
  for (std::string line; lines.next(line);) sizes.push_back(line.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{1, 200'001, 200'002}));
  TextLines memory("the text", "a\n\nb\n");
  sizes.clear();
  for (std::string line; memory.next(line);) sizes.push_back(line.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{1, 0, 1}));
}

TEST_F(TextFile, InAnotherEncodingIsRefusedWithItsLine) {
  EXPECT_EQ(error_of([&] { read_text_file(write("ok\nna\xEFve\n")); }),
            "kFormat: " + path_ + ", line 2: byte 0xEF is not UTF-8; expected text in UTF-8. Convert it: iconv -f WINDOWS-1252 -t UTF-8");
  EXPECT_EQ(error_of([&] { read_text_file(write("\xFF\xFEh\0i\0"s)); }),
            "kFormat: " + path_ + ", line 1: the text is in UTF-16; expected text in UTF-8. Convert it: iconv -f UTF-16 -t UTF-8");
  EXPECT_NE(error_of([&] { read_text_file(write("\xFF\xFE\0\0h\0\0\0"s)); }).find("line 1: the text is in UTF-32"), std::string::npos);
  EXPECT_NE(error_of([&] { read_text_file(write("ok\n\nh\0i\0"s)); }).find("line 3: a NUL byte"), std::string::npos);
  EXPECT_NE(error_of([&] {
              TextLines lines(write("ok\n\xE9\n"));
              for (std::string line; lines.next(line);) continue;
            }).find("line 2: byte 0xE9 is not UTF-8"),
            std::string::npos);
}

TEST_F(TextFile, PngIsRefusedByNameButTextThatBeginsLikeAPdfIsRead) {
  EXPECT_EQ(error_of([&] { read_text_file(write("\x89PNG\r\n\x1A\n\0\0"s)); }),
            "kFormat: " + path_ + ": is a PNG picture; expected text in UTF-8");
  EXPECT_EQ(read_text_file(write("%PDF- is how a PDF begins, and this text too")), "%PDF- is how a PDF begins, and this text too");
}

TEST_F(TextFile, ThatCannotBeReadIsNamed) {
  EXPECT_EQ(error_of([] { TextLines("no/such/file.txt"); }), "kNotFound: no/such/file.txt: cannot be read: No such file or directory");
  EXPECT_NE(error_of([] { TextLines("/"); }).find("is a folder; expected a text"), std::string::npos);
}

}  // namespace
}  // namespace clearhead
