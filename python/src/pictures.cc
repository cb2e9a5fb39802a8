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

}  // namespace

void add_pictures(nb::module_& module) { module.def("_png", &png, "cells"_a, "scale"_a, "cell_pixels"_a); }

}  // namespace clearhead::python
