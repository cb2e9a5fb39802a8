// Reading and writing safetensors files, against the Python package.
#include "io/safetensors.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"
#include "io/scratch.h"
#include "refused.h"

namespace clearhead::io {
namespace {

const std::string kGoldens = std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/safetensors/";

std::string file_of(const std::string& header, size_t data_bytes = 0) {
  std::string file(8, '\0');
  for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i));
  return file + header + std::string(data_bytes, '\0');
}

SafeTensors parse(const std::string& bytes) {
  const auto held = std::make_shared<std::string>(bytes);
  return SafeTensors::from_bytes(*held, held, "m.safetensors");
}

std::string refusal(const std::string& bytes) {
  return error_of([&] { parse(bytes); });
}

template <class T>
std::vector<T> values(const Tensor& tensor) {
  return std::vector<T>(tensor.data<T>(), tensor.data<T>() + tensor.numel());
}

TEST(SafeTensors, ReadsEveryElementTypeThatThePythonPackageWrote) {
  const SafeTensors file = SafeTensors::open(kGoldens + "tiny.safetensors");
  EXPECT_EQ(file.names(), (std::vector<std::string>{"i64", "f32", "odd \"name\"\\ 中\n", "i32", "bf16", "f16", "u8", "bool"}));
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"note", "made by Python: é\t😀"}}));
  EXPECT_EQ(values<float>(file.get("f32")), (std::vector<float>{-0.5f, -0.25f, 0, 0.25f, 0.5f, 0.75f}));
  EXPECT_EQ(file.get("f32").shape(), (Shape{2, 3}));
  EXPECT_EQ(values<int64_t>(file.get("i64")), (std::vector<int64_t>{1ll << 40, -1}));
  EXPECT_EQ(values<int32_t>(file.get("i32")), std::vector<int32_t>{-7});
  EXPECT_EQ(file.get("i32").rank(), 0);
  EXPECT_EQ(values<uint8_t>(file.get("u8")), (std::vector<uint8_t>{0, 255, 7}));
  EXPECT_EQ(values<bool>(file.get("bool")), (std::vector<bool>{true, false, false, true}));
  EXPECT_EQ(values<float>(to_f32(file.get("bf16"))), (std::vector<float>{1.0f, -2.5f, 3.140625f}));
  EXPECT_EQ(values<float>(to_f32(file.get("f16"))), (std::vector<float>{0.5f, -0.25f}));
  EXPECT_EQ(file.get("odd \"name\"\\ 中\n").shape(), (Shape{0, 4}));
}

TEST(SafeTensors, WritesTheSameBytesAsThePythonPackage) {
  const ScratchFolder folder;
  const SafeTensors golden = SafeTensors::open(kGoldens + "tiny.safetensors");
  NamedTensors tensors;
  for (const char* name : {"u8", "i32", "f32", "bool", "i64", "f16", "odd \"name\"\\ 中\n", "bf16"})
    tensors.emplace_back(name, golden.get(name));
  write_safetensors(folder / "again.safetensors", tensors, golden.metadata());
  EXPECT_EQ(read_file(folder / "again.safetensors"), read_file(kGoldens + "tiny.safetensors"));
}

TEST(SafeTensors, TensorsBorrowTheMappingAndOutliveTheReader) {
  Tensor tensor;
  {
    const SafeTensors file = SafeTensors::open(kGoldens + "tiny.safetensors");
    tensor = file.get("f32");
    EXPECT_EQ(tensor.raw(), file.get("f32").raw());
  }
  EXPECT_FALSE(tensor.is_borrowed());  // immutable: records that refer to it need no copy
  EXPECT_EQ(tensor.data<float>()[5], 0.75f);
  EXPECT_EQ(error_of([&] { tensor.mutable_raw(); }), "kInvalidArgument: tensor: borrowed as immutable memory; clone() it before writing");
}

TEST(SafeTensors, AMisalignedTensorIsCopiedAndSaysSo) {
  std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string bytes = file_of(header, 5);
  const float value = 2.5f;
  std::memcpy(bytes.data() + bytes.size() - 4, &value, 4);
  const auto held = std::make_shared<std::vector<uint64_t>>(bytes.size() / 8 + 1);  // begins at a multiple of 8
  std::memcpy(held->data(), bytes.data(), bytes.size());
  const SafeTensors file = SafeTensors::from_bytes({reinterpret_cast<const char*>(held->data()), bytes.size()}, held, "m.safetensors");
  EXPECT_TRUE(file.find("a")->aligned);
  EXPECT_FALSE(file.find("b")->aligned);
  const Tensor copy = file.get("b");
  EXPECT_EQ(copy.data<float>()[0], 2.5f);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(copy.raw()) % 4, 0u);
}

TEST(SafeTensors, UnsupportedElementTypesAreListedButRefusedByName) {
  const SafeTensors file = SafeTensors::open(kGoldens + "double.safetensors");
  EXPECT_EQ(file.find("f64")->file_dtype, "F64");
  EXPECT_EQ(file.find("f64")->shape, Shape{1});
  EXPECT_FALSE(file.find("f64")->dtype);
  EXPECT_EQ(error_of([&] { file.get("f64"); }), "kUnsupported: " + kGoldens +
                                                    "double.safetensors: tensor \"f64\": dtype F64 is not supported; expected F32, "
                                                    "BF16, F16, I32, I64, U8 or BOOL");
  EXPECT_EQ(file.get("u8").numel(), 3);
}

TEST(SafeTensors, AMissingTensorIsAnsweredWithTheNearestNames) {
  const SafeTensors file = SafeTensors::open(kGoldens + "tiny.safetensors");
  EXPECT_EQ(file.find("f33"), nullptr);
  EXPECT_EQ(error_of([&] { file.get("f33"); }),
            "kNotFound: " + kGoldens + "tiny.safetensors: no tensor \"f33\" among 8; nearest: \"f32\", \"i32\", \"f16\"");
}

TEST(SafeTensors, ABoolThatIsNeitherZeroNorOneIsRefused) {
  std::string file = file_of(R"({"mask":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})", 3);
  file.back() = 7;
  const SafeTensors tensors = parse(file);
  EXPECT_EQ(error_of([&] { tensors.get("mask"); }),
            "kFormat: m.safetensors: tensor \"mask\": element 2 is 7; expected 0 or 1, because the dtype is BOOL");
}

TEST(SafeTensors, ReleasedPagesLeaveMemoryAndComeBackWhenTouched) {
  const ScratchFolder folder;
  const int64_t count = 1 << 20;
  Tensor ramp = Tensor::empty({count});
  float* out = ramp.mutable_data<float>();
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(i);
  write_safetensors(folder / "big.safetensors", {{"ramp", ramp}});
  const SafeTensors file = SafeTensors::open(folder / "big.safetensors");
  const Tensor tensor = file.get("ramp");
  const auto resident = [] {
    size_t total = 0, pages = 0;
    std::ifstream("/proc/self/statm") >> total >> pages;
    return pages * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  };
  float sum = 0;
  for (int64_t i = 0; i < count; i += 256) sum += tensor.data<float>()[i];
  ASSERT_GT(sum, 0);
  const size_t before = resident();
  file.release("ramp");
  EXPECT_LT(resident() + (3u << 20), before);
  EXPECT_EQ(tensor.data<float>()[count - 1], static_cast<float>(count - 1));
}

// Hostile and broken headers, each with its message.

TEST(SafeTensorsHeader, TooShortForItsLength) {
  EXPECT_EQ(refusal("abc"),
            "kFormat: m.safetensors: a safetensors file begins with the header length in 8 bytes, but this file has only 3 bytes. The "
            "download is probably "
            "incomplete.");
}

TEST(SafeTensorsHeader, LongerThanTheFormatAllows) {
  EXPECT_EQ(
      refusal("<!DOCTYPE html>"),
      "kFormat: m.safetensors: the header length is 5789751444030890300 bytes, but at most 100000000 are allowed. This is probably not a "
      "safetensors file.");
}

TEST(SafeTensorsHeader, LongerThanTheFile) {
  EXPECT_EQ(refusal(file_of("{}          ").substr(0, 12)),
            "kFormat: m.safetensors: the header ends at byte 20, but the file ends at 12. The download is probably incomplete.");
}

TEST(SafeTensorsHeader, NotBeginningWithABrace) {
  const std::string message =
      "kFormat: m.safetensors: expected the header to begin with { at byte 8. This is probably not a safetensors file.";
  EXPECT_EQ(refusal(file_of("[]")), message);
  EXPECT_EQ(refusal(file_of("")), message);
  EXPECT_EQ(refusal(file_of(" {}")), message);
}

TEST(SafeTensorsHeader, NotUtf8) {
  EXPECT_EQ(refusal(file_of("{\"a\xFF\":0}")), "kFormat: m.safetensors: the header is not UTF-8 at byte 11 of the file");
}

TEST(SafeTensorsHeader, NotJson) {
  EXPECT_EQ(refusal(file_of("{\"a\":}")),
            "kFormat: m.safetensors: header: not valid JSON at byte 6: unexpected '}'; expected '[', '{', or a literal");
  EXPECT_EQ(refusal(file_of(std::string("{}\0x", 4), 0)), "kFormat: m.safetensors: header: not valid JSON at byte 2: a NUL byte");
}

TEST(SafeTensorsHeader, AGitLfsPointerNamesTheCommand) {
  EXPECT_EQ(refusal("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
            "kFormat: m.safetensors: this is a Git LFS pointer, not the weights. Run `git lfs pull` in its repository.");
}

TEST(SafeTensorsHeader, ANameGivenTwice) {
  EXPECT_EQ(
      refusal(file_of(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})")),
      "kFormat: m.safetensors: header: field \"a\" is given twice");
}

TEST(SafeTensorsHeader, MetadataThatIsNotText) {
  EXPECT_EQ(refusal(file_of(R"({"__metadata__":[]})")),
            "kFormat: m.safetensors: \"__metadata__\": expected an object of strings, found an array of 0");
  EXPECT_EQ(refusal(file_of(R"({"__metadata__":{"step":3}})")),
            "kFormat: m.safetensors: \"__metadata__.step\": expected a string, found 3");
  EXPECT_EQ(refusal(file_of(R"({"__metadata__":null})")), "no error");
}

// The error for a file with one tensor "a" that has these fields.
std::string tensor_refusal(const std::string& fields, size_t data_bytes) { return refusal(file_of("{\"a\":" + fields + "}", data_bytes)); }

TEST(SafeTensorsHeader, ATensorWithoutAField) {
  EXPECT_EQ(tensor_refusal("3", 0), "kFormat: m.safetensors: tensor \"a\": expected an object with dtype, shape and data_offsets, found 3");
  EXPECT_EQ(tensor_refusal(R"({"shape":[1],"data_offsets":[0,4]})", 4), "kFormat: m.safetensors: tensor \"a\": \"dtype\" is missing");
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F32","data_offsets":[0,4]})", 4), "kFormat: m.safetensors: tensor \"a\": \"shape\" is missing");
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F32","shape":[1]})", 4), "kFormat: m.safetensors: tensor \"a\": \"data_offsets\" is missing");
}

TEST(SafeTensorsHeader, ATensorWithAFieldOfTheWrongKind) {
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F31","shape":[1],"data_offsets":[0,4]})", 4),
            "kFormat: m.safetensors: tensor \"a\": \"dtype\": \"F31\" is not a dtype of the safetensors format");
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4),
            "kFormat: m.safetensors: tensor \"a\": \"shape\": expected integers from 0 to 2^63 - 1, found -1");
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})", 4),
            "kFormat: m.safetensors: tensor \"a\": \"shape\": expected integers from 0 to 2^63 - 1, found 1.0");
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})", 4),
            "kFormat: m.safetensors: tensor \"a\": \"shape\": expected an array of integers, found 1");
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F32","shape":[1],"data_offsets":[0,2,4]})", 4),
            "kFormat: m.safetensors: tensor \"a\": \"data_offsets\": expected [begin, end], found an array of 3");
}

TEST(SafeTensorsHeader, OffsetsThatRunBackwards) {
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", 4),
            "kFormat: m.safetensors: tensor \"a\": \"data_offsets\": [4, 0] ends before it begins");
}

TEST(SafeTensorsHeader, OffsetsThatDisagreeWithTheShape) {
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F32","shape":[2,3],"data_offsets":[0,20]})", 20),
            "kFormat: m.safetensors: tensor \"a\": F32 [2, 3] takes 24 bytes, \"data_offsets\" [0, 20] give 20");
}

TEST(SafeTensorsHeader, ShapesThatOverflow) {
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})", 0),
            "kFormat: m.safetensors: tensor \"a\": shape [4294967296, 4294967296] of F32 is too large; its size in bits exceeds 2^63 - 1");
  EXPECT_EQ(
      tensor_refusal(R"({"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]})", 0),
      "kFormat: m.safetensors: tensor \"a\": shape [0, 4294967296, 4294967296] of F32 is too large; its size in bits exceeds 2^63 - 1");
  std::string ones = "1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  EXPECT_EQ(tensor_refusal("{\"dtype\":\"U8\",\"shape\":[" + ones + "],\"data_offsets\":[0,1]}", 1),
            "kUnsupported: m.safetensors: tensor \"a\": 65 axes; expected at most 64");
}

TEST(SafeTensorsHeader, FourBitElementsThatEndInsideAByte) {
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F4","shape":[3],"data_offsets":[0,2]})", 2),
            "kFormat: m.safetensors: tensor \"a\": F4 [3] does not fill a whole number of bytes");
  EXPECT_EQ(tensor_refusal(R"({"dtype":"F4","shape":[4],"data_offsets":[0,2]})", 2), "no error");
}

TEST(SafeTensorsHeader, TensorsBehindTheEndOfTheFile) {
  EXPECT_EQ(
      tensor_refusal(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})", 7),
      "kFormat: m.safetensors: tensor \"a\": the header gives bytes 63..79, but the file ends at 70. The download is probably incomplete.");
  EXPECT_EQ(
      tensor_refusal(R"({"dtype":"U8","shape":[1],"data_offsets":[9223372036854775806,9223372036854775807]})", 0),
      "kFormat: m.safetensors: tensor \"a\": the header gives bytes 9223372036854775903..9223372036854775904, but the file ends at 97. The "
      "download is "
      "probably incomplete.");
}

TEST(SafeTensorsHeader, TensorsThatOverlapOrLeaveHoles) {
  const std::string a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  EXPECT_EQ(refusal(file_of("{" + a + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})", 7)),
            "kFormat: m.safetensors: tensor \"b\": begins at byte 116, inside tensor \"a\" (113..117)");
  EXPECT_EQ(refusal(file_of("{" + a + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}})", 10)),
            "kFormat: m.safetensors: tensor \"b\": begins at byte 120, leaving a gap of 2 bytes");
}

TEST(SafeTensorsHeader, BytesThatNoTensorOwns) {
  EXPECT_EQ(refusal(file_of("{}      ", 5)),
            "kFormat: m.safetensors: the last tensor ends at byte 16, but the file ends at 21. The header does not describe the bytes in "
            "between.");
}

// Writing.

TEST(WriteSafeTensors, StridedTensorsAreWrittenInRowMajorOrder) {
  const ScratchFolder folder;
  const Tensor matrix = Tensor::from<float>({0, 1, 2, 3, 4, 5}, {2, 3});
  write_safetensors(folder / "t.safetensors", {{"t", matrix.permute({1, 0})}, {"row", matrix.slice(0, 1, 2).expand({1, 3})}});
  const SafeTensors file = SafeTensors::open(folder / "t.safetensors");
  EXPECT_EQ(values<float>(file.get("t")), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(values<float>(file.get("row")), (std::vector<float>{3, 4, 5}));
}

TEST(WriteSafeTensors, AStridedTensorLargerThanAPieceArrivesWhole) {
  const ScratchFolder folder;
  const int64_t rows = 3, columns = (5 << 20) + 1;  // 3 rows of 20 MiB, gathered one after another
  Tensor by_column = Tensor::empty({columns, rows}, DType::kI32);
  int32_t* out = by_column.mutable_data<int32_t>();
  for (int64_t i = 0; i < rows * columns; ++i) out[i] = static_cast<int32_t>(i);
  write_safetensors(folder / "t.safetensors", {{"t", by_column.permute({1, 0})}});
  const Tensor read = SafeTensors::open(folder / "t.safetensors").get("t");
  ASSERT_EQ(read.shape(), (Shape{rows, columns}));
  int64_t wrong = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) wrong += read.data<int32_t>()[r * columns + c] != static_cast<int32_t>(c * rows + r);
  }
  EXPECT_EQ(wrong, 0);
}

TEST(WriteSafeTensors, DataBeginsAtAMultipleOfEightBytes) {
  const ScratchFolder folder;
  for (const char* name : {"a", "ab", "abc", "abcd"}) {
    write_safetensors(folder / "x.safetensors", {{name, Tensor::zeros({3}, DType::kI64)}});
    const SafeTensors file = SafeTensors::open(folder / "x.safetensors");
    EXPECT_EQ(file.entries()[0].begin % 8, 0u);
    EXPECT_TRUE(file.entries()[0].aligned);
  }
}

TEST(WriteSafeTensors, RefusesNamesThatCouldNotBeReadBack) {
  const ScratchFolder folder;
  const std::string path = folder / "x.safetensors";
  const Tensor one = Tensor::zeros({1});
  EXPECT_EQ(error_of([&] {
              write_safetensors(path, {{"a", one}, {"a", Tensor::zeros({1}, DType::kI32)}});
            }),
            "kInvalidArgument: " + path + ": tensor \"a\" is given twice");
  EXPECT_EQ(error_of([&] {
              write_safetensors(path, {{"__metadata__", one}});
            }),
            "kInvalidArgument: " + path + ": a tensor cannot be called \"__metadata__\"");
  EXPECT_EQ(error_of([&] {
              write_safetensors(path, {{"a\xFF", one}});
            }),
            "kInvalidArgument: " + path + ": tensor name \"a\xEF\xBF\xBD\" is not valid UTF-8 at byte 1");
  EXPECT_EQ(error_of([&] {
              write_safetensors(path, {{"a", Tensor()}});
            }),
            "kInvalidArgument: " + path + ": tensor \"a\" was never given a value");
  EXPECT_EQ(folder.files(), 0u);
}

TEST(WriteSafeTensors, AFileThatCannotBeWrittenLeavesNothingBehind) {
  const ScratchFolder folder;
  EXPECT_EQ(error_of([&] {
              write_safetensors(folder / "no/x.safetensors", {{"a", Tensor::zeros({1})}});
            }),
            "kIo: " + (folder / "no/x.safetensors") + ": cannot be written: No such file or directory; nothing was changed");
  std::filesystem::create_directory(folder / "taken");
  EXPECT_EQ(error_of([&] {
              write_safetensors(folder / "taken", {{"a", Tensor::zeros({1})}});
            }),
            "kIo: " + (folder / "taken") + ": cannot be written: Is a directory; nothing was changed");
  EXPECT_EQ(folder.files(), 1u);
}

}  // namespace
}  // namespace clearhead::io
