// Parses numbers, reads "series" of a config.json, and standardises series.
#include "models/input_series.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/format.h"
#include "base/json.h"
#include "base/number.h"
#include "clearhead/error.h"
#include "models/forecast.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

constexpr int64_t kLongestSeries = 1 << 16, kMostChannels = 1024;
constexpr int64_t kPixelsHigh = 96, kPixelsOfItem = 32, kMostPixels = 4096;  // of the picture of a series
constexpr double kMargin = 4, kHalfThick = 0.9;                              // in pixels
// Colours of the channels (Okabe and Ito 2008).
constexpr std::array<std::array<uint8_t, 3>, 4> kColours = {{{0, 114, 178}, {213, 94, 0}, {0, 135, 95}, {180, 80, 138}}};
constexpr std::string_view kBlanks = " \t\r\n";

float number_of(std::string_view word, size_t position) {
  std::string_view digits = word;
  if (digits.size() > 1 && digits.front() == '+') digits.remove_prefix(1);
  const std::optional<float> number = finite_number(digits);
  if (!number) fail(ErrorCode::kFormat, "number {} is \"{}\"; expected a finite number", position, word);
  return *number;
}

SeriesFacts::Scale read_scale(Fields& fields) {
  SeriesFacts::Scale scale{fields.number("mean"), fields.number("deviation")};
  if (!(scale.deviation > 0)) fields.wrong("deviation", "a number above 0", Json(scale.deviation));
  return scale;
}

Json json_of(const SeriesFacts::Scale& scale) { return Json::object({{"mean", scale.mean}, {"deviation", scale.deviation}}); }

// Draws one column of a curve that goes from one height to another; heights are from 0 to 1.
void draw_line(Tensor& picture, int64_t x, double from, double to, const std::array<uint8_t, 3>& colour) {
  const double high = static_cast<double>(kPixelsHigh - 1) - 2 * kMargin;
  const double lowest = kMargin + (1 - std::max(from, to)) * high - kHalfThick,
               highest = kMargin + (1 - std::min(from, to)) * high + kHalfThick;
  for (int64_t y = 0; y < kPixelsHigh; ++y) {
    const double top = static_cast<double>(y) - 0.5;
    const double covered = std::clamp(std::min(top + 1, highest) - std::max(top, lowest), 0.0, 1.0);
    uint8_t* pixel = picture.mutable_data<uint8_t>() + (y * picture.size(1) + x) * 3;
    for (size_t c = 0; c < 3; ++c) pixel[c] = static_cast<uint8_t>(std::lround(pixel[c] + covered * (colour[c] - pixel[c])));
  }
}

}  // namespace

const std::vector<std::pair<std::string, Standardise>>& standardise_names() {
  static const std::vector<std::pair<std::string, Standardise>> names = {
      {"none", Standardise::kNone}, {"data", Standardise::kData}, {"each", Standardise::kEach}};
  return names;
}

std::optional<float> finite_number(std::string_view text) {
  const std::optional<LeadingNumber> read = leading_number(text);
  if (!read || read->length != text.size()) return std::nullopt;
  const auto number = static_cast<float>(read->value);
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

SeriesFacts::Scale own_scale(const float* numbers, int64_t count, int64_t stride) {
  std::vector<float> sorted(static_cast<size_t>(count));
  for (int64_t at = 0; at < count; ++at) sorted[static_cast<size_t>(at)] = numbers[at * stride];
  std::sort(sorted.begin(), sorted.end());
  const auto middle = static_cast<size_t>(count / 2);
  const float median = count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  const float largest = std::max(sorted.back() - median, median - sorted.front());
  return {static_cast<double>(median), largest > 0 ? static_cast<double>(largest) : 1};
}

Tensor read_numbers(std::string_view text) {
  std::vector<float> numbers;
  for (bool is_last = false; !is_last;) {
    const size_t comma = text.find(',');
    std::string_view words = text.substr(0, comma);
    const size_t before = numbers.size();
    for (size_t begin; (begin = words.find_first_not_of(kBlanks)) != std::string_view::npos;) {
      words.remove_prefix(begin);
      const std::string_view word = words.substr(0, words.find_first_of(kBlanks));
      numbers.push_back(number_of(word, numbers.size() + 1));
      words.remove_prefix(word.size());
    }
    if (numbers.size() == before)
      fail(ErrorCode::kFormat, "number {} is missing; expected numbers, separated by spaces or commas", before + 1);
    is_last = comma == std::string_view::npos;
    if (!is_last) text.remove_prefix(comma + 1);
  }
  return Tensor::from(numbers, {static_cast<int64_t>(numbers.size())});
}

SeriesFacts read_series_facts(Fields& config) {
  SeriesFacts out;
  Fields series(config.require("series"), config.where(), "series");
  out.length = size_of(series, "length", kLongestSeries);
  if (const Json* channels = series.take("channels")) {
    const bool is_count = channels->is_integer() && channels->integer() >= 1 && channels->integer() <= kMostChannels;
    if (!is_count) series.wrong("channels", format("a whole number from 1 to {}", kMostChannels), *channels);
    out.channels = channels->integer();
  }
  std::vector<std::string> names;
  for (const auto& [name, value] : standardise_names()) names.push_back(name);
  const std::string chosen = choice_of(series, "standardise", names);
  for (const auto& [name, value] : standardise_names()) {
    if (name == chosen) out.standardise = value;
  }
  if (out.standardise == Standardise::kData) {
    const Json& scales = series.require("scales");
    if (!scales.is_array() || static_cast<int64_t>(scales.size()) != out.channels)
      series.wrong("scales", format("a mean and a deviation for each of {} channels", out.channels), scales);
    for (const Json& scale : scales.items()) {
      Fields fields(scale, config.where(), format("series.scales[{}]", out.scales.size()));
      out.scales.push_back(read_scale(fields));
      fields.refuse_rest();
    }
  }
  if (series.take("features")) {
    for (const Json& feature : series.items("features")) {
      Fields fields(feature, config.where(), format("series.features[{}]", out.features.size()));
      std::string name = fields.string("name");
      if (name.empty()) fields.wrong("name", "some text", Json(name));
      out.features.push_back({std::move(name), read_scale(fields)});
      fields.refuse_rest();
    }
  }
  if (const Json* forecast = series.take("forecast")) out.forecast = read_forecast_facts(*forecast, out, config.where());
  series.refuse_rest();
  out.interval = size_of(config, "patch_size", kLongestSeries);
  if (out.length % out.interval != 0)
    config.wrong("patch_size", format("a divisor of {}, the length of the series", out.length), Json(out.interval));
  return out;
}

void write_scales(const SeriesFacts& facts, Json& config) {
  Json scales = Json::array(), features = Json::array();
  for (const SeriesFacts::Scale& scale : facts.scales) scales.push(json_of(scale));
  for (const SeriesFacts::Feature& feature : facts.features) {
    Json one = Json::object({{"name", feature.name}});
    one["mean"] = feature.scale.mean;
    one["deviation"] = feature.scale.deviation;
    features.push(std::move(one));
  }
  Json& series = config["series"];
  for (const auto& [name, value] : standardise_names()) {
    if (value == facts.standardise) series["standardise"] = name;
  }
  if (facts.standardise == Standardise::kData) series["scales"] = std::move(scales);
  if (!facts.features.empty()) series["features"] = std::move(features);
}

std::string describe_numbers(const SeriesFacts& facts) {
  std::string out = format("{} samples", facts.length);
  if (facts.channels > 1) out += format(" of {} channels", facts.channels);
  for (const SeriesFacts::Feature& feature : facts.features) out += format(", {}", Json(feature.name).dump());
  return out;
}

EncodedSide encode_series(const SeriesFacts& facts, const Tensor& numbers) {
  if (!numbers.defined()) fail(ErrorCode::kInvalidArgument, "this model reads a series, but the input has none (ModelInput::series)");
  if (numbers.rank() != 1 || numbers.dtype() != DType::kF32 || numbers.numel() != facts.numbers()) {
    const std::string found = numbers.rank() == 1 ? format("{} numbers", numbers.numel()) : "an array " + to_string(numbers.shape());
    fail(ErrorCode::kShape, "found {}; the model reads {}: {}", found, facts.numbers(), describe_numbers(facts));
  }
  const Tensor dense = numbers.contiguous();
  const float* from = dense.data<float>();
  for (int64_t at = 0; at < dense.numel(); ++at) {
    if (!std::isfinite(from[at])) fail(ErrorCode::kInvalidArgument, "number {} is {}; expected a finite number", at + 1, from[at]);
  }
  const int64_t columns = facts.length + facts.feature_count();
  Tensor out = Tensor::zeros({facts.channels, 1, columns});
  float* to = out.mutable_data<float>();
  for (int64_t channel = 0; channel < facts.channels; ++channel) {
    SeriesFacts::Scale scale{};
    if (facts.standardise == Standardise::kData) scale = facts.scales[static_cast<size_t>(channel)];
    if (facts.standardise == Standardise::kEach) scale = own_scale(from + channel, facts.length, facts.channels);
    for (int64_t sample = 0; sample < facts.length; ++sample)
      to[channel * columns + sample] = scale.of(from[sample * facts.channels + channel]);
  }
  for (int64_t at = 0; at < facts.feature_count(); ++at)
    to[facts.length + at] = facts.features[static_cast<size_t>(at)].scale.of(from[facts.channels * facts.length + at]);
  return {.features = std::move(out)};
}

Tensor draw_series(const SeriesFacts& facts, const Tensor& numbers) {
  const Tensor features = encode_series(facts, numbers).features;
  const int64_t columns = facts.length + facts.feature_count();
  const int64_t width = std::min<int64_t>(kMostPixels, kPixelsOfItem * facts.items());
  Tensor picture = Tensor::zeros({kPixelsHigh, width, 3}, DType::kU8);
  std::fill_n(picture.mutable_data<uint8_t>(), picture.numel(), uint8_t{255});
  for (int64_t channel = 0; channel < facts.channels; ++channel) {
    const float* samples = features.data<float>() + channel * columns;
    const auto ends = std::minmax_element(samples, samples + facts.length);
    const double least = static_cast<double>(*ends.first), most = static_cast<double>(*ends.second);
    const double range = most > least ? most - least : 1;
    // The height of the curve at the left edge of a column of pixels, from 0 to 1.
    const auto height_at = [&](int64_t x) {
      const double items = static_cast<double>(x) * static_cast<double>(facts.items()) / static_cast<double>(width);
      const double at = std::clamp(items * static_cast<double>(facts.interval) - 0.5, 0.0, static_cast<double>(facts.length - 1));
      const auto before = static_cast<int64_t>(at), after = std::min(before + 1, facts.length - 1);
      const double part = at - static_cast<double>(before);
      const double value = static_cast<double>(samples[before]) * (1 - part) + static_cast<double>(samples[after]) * part;
      return (value - least) / range;
    };
    const int64_t drawn = width * facts.intervals() / facts.items();
    for (int64_t x = 0; x < drawn; ++x)
      draw_line(picture, x, height_at(x), height_at(x + 1), kColours[static_cast<size_t>(channel) % kColours.size()]);
  }
  return picture;
}

}  // namespace clearhead
