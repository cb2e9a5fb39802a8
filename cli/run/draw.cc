// clearhead run draw: samples pictures of a class from a model that draws, prints them, and writes PNG files.
#include "generate/draw.h"

#include <algorithm>
#include <memory>

#include "base/format.h"
#include "clearhead/error.h"
#include "cli/run_command.h"
#include "io/png.h"
#include "models/networks/image_transformer.h"

namespace clearhead::cli {
namespace {

struct Options {
  std::string model{}, label{}, out{};
  int64_t count = 1;
  uint64_t seed = 0;
  double temperature = 1, guidance = 0;
  bool json = false;
  InterventionArguments interventions{};
};

bool is_ink(const Tensor& picture, int64_t row, int64_t column) {
  return row < picture.size(1) && picture.data<float>()[row * picture.size(2) + column] >= 0.5F;
}

// Prints two rows of pixels in each line of text, with half-block characters.
void print_picture(const Tensor& picture) {
  constexpr const char* kBlocks[] = {" ", "▀", "▄", "█"};
  for (int64_t row = 0; row < picture.size(1); row += 2) {
    std::string line;
    for (int64_t column = 0; column < picture.size(2); ++column)
      line += kBlocks[(is_ink(picture, row, column) ? 1 : 0) + (is_ink(picture, row + 1, column) ? 2 : 0)];
    print(line.substr(0, line.find_last_not_of(' ') + 1));
  }
}

Json rows_of(const Tensor& picture) {
  Json rows = Json::array();
  for (int64_t row = 0; row < picture.size(1); ++row) {
    std::string line;
    for (int64_t column = 0; column < picture.size(2); ++column) line += is_ink(picture, row, column) ? '#' : '.';
    rows.push(line);
  }
  return rows;
}

// Ink becomes white, as in the training data, so that the model itself and other models can read the file.
void write_picture(const std::string& path, const Tensor& picture, const Options& options) {
  io::Image image{.width = picture.size(2), .height = picture.size(1), .channels = 1, .pixels = {}};
  for (int64_t pixel = 0; pixel < picture.numel(); ++pixel) image.pixels.push_back(picture.data<float>()[pixel] >= 0.5F ? 255 : 0);
  io::write_png(path, image,
                {{"Title", options.label},
                 {"Description", format("drawn by {}, seed {}, temperature {}, guidance {}", options.model, options.seed,
                                        options.temperature, options.guidance)}});
}

// Returns the file of a picture: with --count, "digit-1.png", "digit-2.png" … for "digit.png".
std::string path_of(const Options& options, size_t at) {
  if (options.out.empty() || options.count == 1) return options.out;
  const size_t dot = options.out.find_last_of("./");
  const bool has_ending = dot != std::string::npos && options.out[dot] == '.';
  const size_t end = has_ending ? dot : options.out.size();
  return format("{}-{}{}", options.out.substr(0, end), at + 1, options.out.substr(end));
}

void run(const Options& options) {
  const auto model = load_model(options.model);
  Progress progress("drawing");
  const std::vector<DrawnPicture> drawn = draw(*model, {.label = options.label,
                                                        .count = options.count,
                                                        .temperature = options.temperature,
                                                        .guidance = options.guidance,
                                                        .seed = options.seed,
                                                        .interventions = options.interventions.interventions(),
                                                        .progress = progress.callback()});
  Json pictures = Json::array();
  for (size_t at = 0; at < drawn.size(); ++at) {
    const Tensor& picture = drawn[at].picture;
    const double per_pixel = drawn[at].bits / static_cast<double>(picture.numel());
    const std::string path = path_of(options, at);
    if (!path.empty()) write_picture(path, picture, options);
    Json one = Json::object({{"bits", drawn[at].bits}, {"bits_per_pixel", per_pixel}, {"rows", rows_of(picture)}});
    if (!path.empty()) one["file"] = path;
    pictures.push(std::move(one));
    if (options.json) continue;
    print_picture(picture);
    print(format("{}: {:.1f} bits, {:.3f} per pixel{}", options.label, drawn[at].bits, per_pixel,
                 path.empty() ? "" : "; written to " + path));
  }
  if (options.json) {
    print_json(Json::object({{"class", options.label},
                             {"seed", static_cast<int64_t>(options.seed)},
                             {"temperature", options.temperature},
                             {"guidance", options.guidance},
                             {"pictures", pictures}}));
  }
}

void add(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.footer(
      "Example: clearhead run draw models/draw-digits 3 -o digit.png, then clearhead view models/draw-digits digit.png, which shows where "
      "the\n"
      "model looked for each patch");
  app.add_option("model", options->model, "A model that draws: a directory, or the name of a model in the local Hugging Face cache")
      ->required();
  app.add_option("class", options->label, "The class of the picture")->required();
  app.add_option("-o,--out", options->out, "PNG file to write; ink is white")->type_name("FILE");
  app.add_option("--count", options->count, "Number of pictures; with -o, each gets a file: digit-1.png, digit-2.png, … (default: 1)")
      ->check(whole_from(1, 10'000));
  app.add_option("--seed", options->seed, "Random seed for sampling (default: 0)")->check(whole_from(0));
  app.add_option("--temperature", options->temperature,
                 "Softmax temperature for sampling: divides the logits; 0: the most probable patch every time (default: 1)")
      ->check(CLI::Range(0.0, 1e9));
  app.add_option(
         "--guidance", options->guidance,
         "Above 0, patches that make the class more probable are drawn more often: adds this number times the log-probability of the\n"
         "class, by the model itself, to the logits; takes as many times longer as there are classes (default: 0)")
      ->check(CLI::Range(0.0, 1e9));
  app.add_flag("--json", options->json, "Print JSON");
  options->interventions.add(app);
  app.callback([options] { run(*options); });
}

}  // namespace

const RunCommand& draw_command() {
  static const RunCommand command = {.name = "draw",
                                     .description = "Draw a picture of a class, and write it as a PNG file",
                                     .is_task_of = [](const ModelInfo& info) { return draws(info.model_type); },
                                     .specificity = 3,
                                     .add = add};
  return command;
}

}  // namespace clearhead::cli
