// Renders cells of maps as PNG files, with the renderer that the command line and the viewer use.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "io/png.h"
#include "module.h"
#include "observe/picture.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

Scale scale_of(const std::string& name) {
  if (name == "linear") return Scale::kLinear;
  if (name == "sqrt") return Scale::kSqrt;
  if (name == "log") return Scale::kLog;
  fail(ErrorCode::kInvalidArgument, "scale: \"{}\"; expected \"sqrt\", \"linear\" or \"log\"", name);
}

nb::bytes png(const nb::object& cells, const std::string& scale, int64_t cell_pixels) {
  const Tensor of = tensor_of(cells, "cells");
  const PictureOptions options{.scale = scale_of(scale), .cell_pixels = cell_pixels};
  const std::string made = without_gil([&] {
    Picture picture = paint(of, options);
    return io::png_bytes({.width = picture.width, .height = picture.height, .channels = 3, .pixels = std::move(picture.rgb)});
  });
  return nb::bytes(made.data(), made.size());
}

// pixels: u8 [height, width, 3]
nb::bytes png_of_pixels(const nb::object& pixels) {
  const Tensor of = tensor_of(pixels, "pixels").contiguous();
  if (of.dtype() != DType::kU8 || of.rank() != 3 || of.size(2) != 3)
    fail(ErrorCode::kShape, "pixels: {} {}; expected u8 [height, width, 3]", to_string(of.dtype()), to_string(of.shape()));
  const auto* begin = of.data<uint8_t>();
  const std::string made = without_gil([&] {
    return io::png_bytes({.width = of.size(1), .height = of.size(0), .channels = 3, .pixels = {begin, begin + of.numel()}});
  });
  return nb::bytes(made.data(), made.size());
}

}  // namespace

void add_pictures(nb::module_& module) {
  module.def("_png", &png, "cells"_a, "scale"_a, "cell_pixels"_a);
  module.def("_png_of_pixels", &png_of_pixels, "pixels"_a);
}

}  // namespace clearhead::python
