// clearhead run detect: the objects in a picture, with their bounding boxes. The drawing also shows the patches that each query attends to.
#include <algorithm>
#include <cmath>

#include "base/base64.h"
#include "base/file.h"
#include "base/format.h"
#include "base/markup.h"
#include "clearhead/data.h"
#include "cli/input.h"
#include "cli/run_command.h"
#include "io/png.h"
#include "models/detection.h"
#include "models/input_picture.h"
#include "models/loaded_network.h"

namespace clearhead::cli {
namespace {

constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};  // Okabe & Ito 2008

struct Found {
  std::vector<DetectedObject> objects{};
  Tensor picture{};  // f32 [channels, height, width]
};

std::string svg_of(const Found& found, const PictureFacts& facts, double least_attention) {
  const int64_t channels = found.picture.size(0), height = found.picture.size(1), width = found.picture.size(2);
  io::Image image{.width = width, .height = height, .channels = static_cast<int>(channels == 1 ? 1 : 3), .pixels = {}};
  for (int64_t pixel = 0; pixel < height * width; ++pixel) {
    for (int64_t channel = 0; channel < image.channels; ++channel) {
      const float value = found.picture.data<float>()[channel * height * width + pixel];
      image.pixels.push_back(static_cast<uint8_t>(std::lround(std::clamp(value, 0.0F, 1.0F) * 255.0F)));
    }
  }
  const double scale = 512.0 / static_cast<double>(std::max(height, width));
  std::string out = format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0f} {:.0f}\" font-family=\"sans-serif\" font-size=\"16\">\n"
      "<image width=\"100%\" height=\"100%\" style=\"image-rendering: pixelated\" href=\"data:image/png;base64,{}\"/>\n",
      static_cast<double>(width) * scale, static_cast<double>(height) * scale, base64(io::png_bytes(image)));
  const PictureScale resized = picture_scale(facts, height, width);
  for (size_t at = 0; at < found.objects.size(); ++at) {
    const DetectedObject& object = found.objects[at];
    const char* colour = kColours[at % std::size(kColours)];
    for (int64_t patch = 0; patch < static_cast<int64_t>(object.attention.size()); ++patch) {
      const double share = object.attention[static_cast<size_t>(patch)];
      if (share < least_attention) continue;
      const auto side = static_cast<double>(facts.patch);
      const int64_t row = patch / facts.columns(), column = patch % facts.columns();
      const double x = (static_cast<double>(column) * side - resized.left) / resized.x,
                   y = (static_cast<double>(row) * side - resized.top) / resized.y;
      out += format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\" fill-opacity=\"{:.2f}\"/>\n", x * scale,
                    y * scale, side / resized.x * scale, side / resized.y * scale, colour, std::min(0.8, 2 * share));
    }
  }
  for (size_t at = 0; at < found.objects.size(); ++at) {
    const DetectedObject& object = found.objects[at];
    const char* colour = kColours[at % std::size(kColours)];
    const double x = object.x * scale, y = object.y * scale;
    out += format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"none\" stroke=\"{}\" stroke-width=\"3\"/>\n"
        "<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"{}\">{} {:.2f}</text>\n",
        x, y, object.width * scale, object.height * scale, colour, x, y > 20 ? y - 5 : y + object.height * scale + 16, colour,
        markup_escaped(object.label), object.probability);
  }
  return out + "</svg>\n";
}

struct Detect final : TextCommand<Found> {
  Detect() : TextCommand("detecting") {}

  double threshold = 0.5;
  std::string drawing{};
  PictureFacts facts{};

  void add_options(CLI::App& app) override {
    app.add_option("--threshold", threshold, "Minimum probability of an object (default: 0.5)")->check(CLI::Range(0.0, 1.0));
    app.add_option("--svg", drawing, "Draw the boxes, and the patches that each query attends to, to this file")->type_name("FILE");
  }
  void begin(const Model& of) override {
    facts = of.info().output == "boxes" ? network_model(of, "finds no objects in pictures").facts().picture : PictureFacts{};
  }
  Found answer_text(const Model& of, const std::string& given) override {
    Found out;
    if (of.info().output == "boxes") out.picture = read_image(given);
    DetectOptions options{.threshold = threshold, .interventions = interventions_in(of, given)};
    if (out.picture.defined()) {
      options.height = out.picture.size(1);
      options.width = out.picture.size(2);
    }
    out.objects = detect(of, input_of(of.info(), given, ""), options);
    if (!drawing.empty()) write_file(drawing, svg_of(out, facts, 0.02));
    return out;
  }

  Json json_of(const Found& found) const override {
    Json list = Json::array();
    for (const DetectedObject& one : found.objects)
      list.push(Json::object({{"label", one.label},
                              {"probability", one.probability},
                              {"x", one.x},
                              {"y", one.y},
                              {"width", one.width},
                              {"height", one.height},
                              {"query", one.query + 1}}));
    return Json::object({{"objects", std::move(list)}});
  }
  std::string line_of(const Found& found) const override {
    std::string out;
    for (const DetectedObject& one : found.objects)
      out += format("{}{} {:.3f} {:.1f} {:.1f} {:.1f} {:.1f}", out.empty() ? "" : "\t", one.label, one.probability, one.x, one.y, one.width,
                    one.height);
    return out;
  }
  void print_answer(const Found& found) const override {
    size_t widest = 5;
    for (const DetectedObject& one : found.objects) widest = std::max(widest, one.label.size());
    const auto padded = [&](const std::string& label) { return label + std::string(widest - label.size(), ' '); };
    print(format("{}  {:>11}  {:>7}  {:>7}  {:>7}  {:>7}  query", padded("label"), "probability", "x", "y", "width", "height"));
    for (const DetectedObject& one : found.objects)
      print(format("{}  {:>11.3f}  {:>7.1f}  {:>7.1f}  {:>7.1f}  {:>7.1f}  {:>5}", padded(one.label), one.probability, one.x, one.y,
                   one.width, one.height, one.query + 1));
    if (found.objects.empty()) notice(format("no object with a probability of {} or more; --threshold lowers it", threshold));
  }
};

std::string answer_example(const Model& model, const ModelInput& input, const TracedInput&) {
  std::string found;
  for (const DetectedObject& one : detect(model, input))
    found += format("{}{} at ({:.0f}, {:.0f})", found.empty() ? "" : ", ", one.label, one.x, one.y);
  return found.empty() ? "no objects" : found;
}

}  // namespace

const RunCommand& detect_command() {
  static const RunCommand command = {.name = "detect",
                                     .description = "Detect the objects in a picture: their classes and bounding boxes",
                                     .is_task_of = [](const ModelInfo& info) { return info.output == "boxes"; },
                                     .specificity = 3,
                                     .add = add_text_command<Detect>,
                                     .answer_example = answer_example};
  return command;
}

}  // namespace clearhead::cli
