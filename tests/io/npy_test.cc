// Reading and writing npy files, against numpy.
#include "io/npy.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "io/scratch.h"
#include "refused.h"

namespace clearhead::io {
namespace {

const std::string kGoldens = std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/safetensors/";

std::string file_of(const std::string& dict, size_t data_bytes, char version = 1) {
  std::string file = "\x93NUMPY";
  file += version;
  file += '\0';
  file += static_cast<char>(dict.size() & 0xFF);
  file += static_cast<char>(dict.size() >> 8);
  if (version > 1) file.append(2, '\0');
  return file + dict + std::string(data_bytes, '\0');
}

std::string refusal(const std::string& bytes) {
  return error_of([&] { parse_npy(bytes, nullptr, "a.npy"); });
}

std::string dict_refusal(const std::string& dict, size_t data_bytes = 0) { return refusal(file_of(dict, data_bytes)); }

TEST(Npy, WritesTheSameBytesAsNumpy) {
  const ScratchFolder folder;
  const Tensor values = Tensor::from<float>({0, 1, 2, 3, 4, 5}, {2, 3});
  write_npy(folder / "a.npy", values);
  EXPECT_EQ(read_file(folder / "a.npy"), read_file(kGoldens + "tiny.npy"));
  EXPECT_EQ(npy_bytes(values), read_file(kGoldens + "tiny.npy"));
}

TEST(Npy, WritesAShapeOfOneAxisAsATuple) {
  const std::string bytes = npy_bytes(Tensor::zeros({3}));
  EXPECT_EQ(bytes.substr(10, 60), "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }   ");
  EXPECT_EQ(bytes.size(), 128u + 12u);
}

TEST(Npy, ReadsWhatItWroteForEveryElementType) {
  const ScratchFolder folder;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kI32, DType::kI64, DType::kU8, DType::kBool}) {
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{2, 0}, Shape{1, 2, 3}}) {
      Tensor tensor = Tensor::zeros(shape, dtype);
      if (tensor.numel() > 0) tensor.mutable_raw()[0] = std::byte{1};
      write_npy(folder / "a.npy", tensor);
      const Tensor read = read_npy(folder / "a.npy");
      EXPECT_EQ(read.shape(), shape);
      EXPECT_EQ(read.dtype(), dtype);
      EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(read.raw()), read.bytes()),
                std::string_view(reinterpret_cast<const char*>(tensor.raw()), tensor.bytes()));
    }
  }
}

TEST(Npy, WritesBf16AsTheF32ItIs) {
  const uint16_t bits[2] = {0x3F80, 0xC020};  // 1, -2.5
  const std::string bytes = npy_bytes(Tensor::borrow(bits, {2}, DType::kBF16));
  const Tensor read = parse_npy(bytes, nullptr, "a.npy");
  EXPECT_EQ(read.data<float>()[0], 1.0f);
  EXPECT_EQ(read.data<float>()[1], -2.5f);
}

TEST(Npy, ReadsFortranOrderAsStrides) {
  const Tensor read = read_npy(kGoldens + "fortran.npy");
  EXPECT_EQ(read.shape(), (Shape{2, 3}));
  const Tensor rows = read.contiguous();
  for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(rows.data<int64_t>()[i], i);
}

TEST(Npy, ReadsVersionsTwoAndThree) {
  for (const char version : {char{2}, char{3}}) {
    EXPECT_EQ(parse_npy(file_of("{'descr':'|u1','fortran_order':False,'shape':(2,)}\n", 2, version), nullptr, "a.npy").shape(), Shape{2});
  }
}

TEST(Npy, RefusesWhatIsNoNpyFile) {
  EXPECT_EQ(refusal(""), "kFormat: a.npy: not a .npy file; its first bytes differ");
  EXPECT_EQ(refusal("\x93NUMPY\x01"), "kFormat: a.npy: the file ends at byte 7, within the npy header");
  EXPECT_EQ(refusal(file_of("{}", 0, 9)), "kUnsupported: a.npy: version 9 of the npy format is not supported; expected 1, 2 or 3");
  EXPECT_EQ(refusal(file_of("{}   ", 0).substr(0, 12)),
            "kFormat: a.npy: the npy header ends at byte 15, but the file ends at 12; it is probably incomplete");
}

TEST(Npy, RefusesHeadersThatAreNotTheDict) {
  const std::string wrong = "kFormat: a.npy: the npy header: at byte ";
  EXPECT_EQ(dict_refusal("[]"), wrong + "0: expected {");
  EXPECT_EQ(dict_refusal("{}"), wrong + "2: expected 'descr', 'fortran_order' and 'shape'");
  EXPECT_EQ(dict_refusal("{'descr' '<f4'}"), wrong + "9: expected :");
  EXPECT_EQ(dict_refusal("{'descr': '<f4'"), wrong + "15: expected a comma or }");
  EXPECT_EQ(dict_refusal("{'other': 1}"), wrong + "9: expected one each of 'descr', 'fortran_order' and 'shape'");
  EXPECT_EQ(dict_refusal("{'descr"), wrong + "1: expected the name's closing quote");
  EXPECT_EQ(dict_refusal("{'fortran_order': 1}"), wrong + "18: expected True or False");
  EXPECT_EQ(dict_refusal("{'shape': (-1,)}"), wrong + "11: expected a size");
  EXPECT_EQ(dict_refusal("{'shape': (99999999999999999999,)}"), wrong + "29: expected a size below 2^63");
  EXPECT_EQ(dict_refusal("{'descr': '|u1', 'fortran_order': False, 'shape': ()} x", 1), wrong + "54: expected nothing after }");
}

TEST(Npy, RefusesUnsupportedElementTypes) {
  EXPECT_EQ(dict_refusal("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", 8),
            "kUnsupported: a.npy: dtype '<f8' is not supported; expected one of <f4 <f2 <i4 <i8 |u1 |b1. In numpy: a.astype('<f4')");
  EXPECT_EQ(dict_refusal("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4),
            "kUnsupported: a.npy: an array of structures; expected plain numbers");
}

TEST(Npy, RefusesDataThatDisagreesWithTheShape) {
  EXPECT_EQ(dict_refusal("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 23),
            "kFormat: a.npy: f32 of shape [2, 3] takes 24 bytes, but 23 bytes follow the header");
  EXPECT_EQ(dict_refusal("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 25),
            "kFormat: a.npy: f32 of shape [2, 3] takes 24 bytes, but 25 bytes follow the header");
  EXPECT_EQ(dict_refusal("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", 0),
            "kFormat: a.npy: shape [4294967296, 4294967296] is too large; its size in bytes exceeds 2^63 - 1");
  std::string mask = file_of("{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}", 2);
  mask.back() = 2;
  EXPECT_EQ(refusal(mask), "kFormat: a.npy: element 1 is 2; expected 0 or 1, because the dtype is bool");
}

TEST(Npy, AMisalignedArrayIsCopied) {
  const std::string bytes = " " + file_of("{'descr': '<i8', 'fortran_order': False, 'shape': (1,)} ", 8);
  for (size_t skip : {0, 1, 2, 3}) {
    const std::string shifted = std::string(skip, ' ') + bytes;
    const Tensor read = parse_npy(std::string_view(shifted).substr(skip + 1), nullptr, "a.npy");
    EXPECT_EQ(reinterpret_cast<uintptr_t>(read.raw()) % 8, 0u);
    EXPECT_EQ(read.data<int64_t>()[0], 0);
  }
}

}  // namespace
}  // namespace clearhead::io
