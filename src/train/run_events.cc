// Writes reports as TensorBoard tags, and the heads of each layer as one image of √P on a fixed scale from 0 to 1.
#include "train/run_events.h"

#include <algorithm>

#include "base/format.h"
#include "io/png.h"
#include "observe/picture.h"
#include "train/trainer.h"

namespace clearhead::train {
namespace {

constexpr int64_t kMostCells = 128, kGap = 2;

// All heads of a layer in one row. Weights are drawn as √P on the scale 0 to 1, so that steps can be compared.
io::Image heads_of(const LayerMap& map, Range queries, Range keys) {
  const int64_t rows = std::min(queries.size(), kMostCells), columns = std::min(keys.size(), kMostCells), heads = map.heads();
  const int64_t pixels = std::max<int64_t>(1, kMostCells / std::max(rows, columns)), stride = columns * pixels + kGap;
  io::Image out{.width = heads * stride - kGap, .height = rows * pixels, .channels = 3, .pixels = {}};
  out.pixels.resize(static_cast<size_t>(out.width * out.height * 3), 255);
  for (int64_t head = 0; head < heads; ++head) {
    const Tile tile = map.tile(head, {.queries = queries, .keys = keys, .cells = {rows, columns}});
    const Picture picture = paint(tile.max, {.high = 1, .cell_pixels = pixels});
    for (int64_t row = 0; row < picture.height; ++row) {
      std::copy_n(picture.rgb.begin() + row * picture.width * 3, picture.width * 3,
                  out.pixels.begin() + (row * out.width + head * stride) * 3);
    }
  }
  return out;
}

}  // namespace

void RunEvents::add(const TrainingReport& report) {
  writer_.add_number("loss/training", report.loss);
  for (const auto& [name, value] : report.maps) writer_.add_number("loss/" + name, value);
  if (report.validation) writer_.add_number("loss/validation", *report.validation);
  for (const auto& [name, value] : report.metrics) writer_.add_number("validation/" + name, value);
  writer_.add_number("rate", report.rate);
  writer_.add_number("gradient_norm", report.gradient_norm);
  writer_.add_number("tokens_per_second", report.tokens_per_second);
}

void RunEvents::add_gradients(const io::NamedTensors& parameters, Tape& tape) {
  for (const auto& [name, values] : parameters) {
    if (tape.wants(values))
      writer_.add_histogram("gradients/" + name, io::Histogram::of(tape.gradient(values)));  // frozen parameters have no gradient
  }
}

void RunEvents::add_weights(const io::NamedTensors& parameters) {
  for (const auto& [name, values] : parameters) writer_.add_histogram("weights/" + name, io::Histogram::of(values));
}

void RunEvents::add_maps(const Trace& trace) {
  for (const MapFamily& family : trace.plan().families) {
    const Range queries{family.first_query, family.first_query + family.queries}, keys{family.first_key, family.first_key + family.keys};
    for (const int layer : trace.layers(family.name)) {
      const io::Image image = heads_of(trace.map(family.name, layer), queries, keys);
      writer_.add_image(format("attention/{}/{}", family.name, layer), image.width, image.height, io::png_bytes(image));
    }
  }
}

}  // namespace clearhead::train
