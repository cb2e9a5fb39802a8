// Converts Python objects to model inputs: the library reads files; float arrays are used unchanged; u8 arrays are divided by 255.
#include "inputs.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/data.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "models/input_picture.h"
#include "models/input_text.h"
#include "viewer/loaded_trace.h"

namespace nb = nanobind;

namespace clearhead::python {
namespace {

[[noreturn]] void refuse(const ModelInfo& info, const char* expected, nb::handle given) {
  fail(ErrorCode::kInvalidArgument, "{} reads a {}: expected {}, found {}", info.name, info.reads, expected,
       nb::cast<std::string>(nb::str(given.type())));
}

// Returns the path if the object is a str or path-like, else nullopt.
std::optional<std::string> path_of(nb::handle given) {
  if (nb::isinstance<nb::str>(given)) return nb::cast<std::string>(given);
  if (nb::hasattr(given, "__fspath__")) return nb::cast<std::string>(nb::module_::import_("os").attr("fspath")(given));
  return std::nullopt;
}

// u8 [height, width] or [height, width, 3] → f32 [channels, height, width]
Tensor picture_of_bytes(const ModelInfo& info, const Tensor& pixels, nb::handle given) {
  const int64_t channels = pixels.rank() == 2 ? 1 : pixels.rank() == 3 ? pixels.size(2) : 0;
  if (channels != 1 && channels != 3) refuse(info, "u8 [height, width] or [height, width, 3]", given);
  const Tensor dense = pixels.contiguous();
  const auto* from = reinterpret_cast<const uint8_t*>(dense.raw());
  const int64_t places = dense.size(0) * dense.size(1);
  Tensor out = Tensor::empty({channels, dense.size(0), dense.size(1)});
  for (int64_t at = 0; at < places; ++at) {
    for (int64_t c = 0; c < channels; ++c) out.mutable_data<float>()[c * places + at] = static_cast<float>(from[at * channels + c]) / 255;
  }
  return out;
}

Tensor picture_of(const ModelInfo& info, nb::handle given) {
  if (const auto path = path_of(given)) return read_picture(info, *path);
  const Tensor pixels = tensor_of(given, "picture");
  if (pixels.dtype() == DType::kU8) return picture_of_bytes(info, pixels, given);
  if (pixels.dtype() != DType::kF32 || pixels.rank() != 3)
    refuse(info, "a path, u8 [height, width(, 3)] or f32 [channels, height, width]", given);
  return pixels.contiguous();
}

Sound sound_of(const ModelInfo& info, nb::handle given) {
  if (const auto path = path_of(given)) return read_sound(*path);
  if (!nb::isinstance<nb::tuple>(given) || nb::len(given) != 2) refuse(info, "a path, or (samples, sampling rate)", given);
  const Tensor samples = tensor_of(given[0], "samples");
  if (samples.dtype() != DType::kF32 || samples.rank() < 1 || samples.rank() > 2)
    refuse(info, "samples f32 [frame] or [channel, frame]", given[0]);
  const Tensor dense = samples.contiguous();
  return {dense.rank() == 1 ? dense.reshape({1, dense.numel()}) : dense, nb::cast<int64_t>(given[1])};
}

// A str that the kind of input reads, or an array or a list of numbers.
Tensor series_of(const ModelInfo& info, nb::handle given) {
  if (nb::isinstance<nb::str>(given)) return input_kind(info).read_numbers(info, nb::cast<std::string>(given));
  std::vector<float> numbers;
  if (!nb::try_cast(given, numbers)) refuse(info, "a list or an array [number], or a str of numbers", given);
  return Tensor::from(numbers, {static_cast<int64_t>(numbers.size())});
}

std::vector<std::string> texts_of(const ModelInfo& info, nb::handle given) {
  if (nb::isinstance<nb::str>(given)) return sentences_of(nb::cast<std::string>(given));
  std::vector<std::string> texts;
  if (!nb::try_cast(given, texts)) refuse(info, "a str, or a list of them", given);
  return texts;
}

}  // namespace

ModelInput input_of(const ModelInfo& info, nb::handle given, const std::optional<std::string>& pair,
                    const std::optional<std::string>& question) {
  const InputKind& kind = input_kind(info);
  if (kind.has_question != question.has_value())
    fail(ErrorCode::kInvalidArgument, "{} reads a {}{}", info.name, info.reads,
         kind.has_question ? " and a question: question=\"…\"" : "; it takes no question");
  if (pair && !kind.is_text())
    fail(ErrorCode::kInvalidArgument, "{} reads a {}; it takes no second text (pair=\"…\")", info.name, info.reads);
  ModelInput input;
  switch (kind.form) {
    case InputKind::Form::kPicture: input.picture = picture_of(info, given); break;
    case InputKind::Form::kSound: input.sound = sound_of(info, given); break;
    case InputKind::Form::kNumbers: input.series = series_of(info, given); break;
    case InputKind::Form::kNode:
    case InputKind::Form::kText:
      if (!nb::isinstance<nb::str>(given)) refuse(info, "a str", given);
      input.text = nb::cast<std::string>(given);
      input.pair = pair;
      break;
    case InputKind::Form::kTexts: input.texts = texts_of(info, given); break;
  }
  input.question = question.value_or("");
  return input;
}

}  // namespace clearhead::python
