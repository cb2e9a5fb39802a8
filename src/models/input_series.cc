// Parses numbers, reads "series" of a config.json, and standardises series.
#include "models/input_series.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/format.h"
#include "base/json.h"
#include "clearhead/error.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

constexpr int64_t kLongestSeries = 1 << 16, kMostChannels = 1024;
constexpr std::string_view kBlanks = " \t\r\n";

float number_of(std::string_view word, size_t position) {
  std::string_view digits = word;
  if (digits.size() > 1 && digits.front() == '+') digits.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const auto number = static_cast<float>(value);
  if (error != std::errc() || end != digits.data() + digits.size() || !std::isfinite(number))
    fail(ErrorCode::kFormat, "number {} is \"{}\"; expected a finite number", position, word);
  return number;
}

SeriesFacts::Scale read_scale(Fields& fields) {
  SeriesFacts::Scale scale{fields.number("mean"), fields.number("deviation")};
  if (!(scale.deviation > 0)) fields.wrong("deviation", "a number above 0", Json(scale.deviation));
  return scale;
}

Json json_of(const SeriesFacts::Scale& scale) { return Json::object({{"mean", scale.mean}, {"deviation", scale.deviation}}); }

// Median of one channel, and the largest distance from it; 1 for a constant channel. A mean would move with the height of the peaks.
SeriesFacts::Scale scale_of(const float* numbers, int64_t count, int64_t stride) {
  std::vector<float> sorted(static_cast<size_t>(count));
  for (int64_t at = 0; at < count; ++at) sorted[static_cast<size_t>(at)] = numbers[at * stride];
  std::sort(sorted.begin(), sorted.end());
  const auto middle = static_cast<size_t>(count / 2);
  const float median = count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  const float largest = std::max(sorted.back() - median, median - sorted.front());
  return {static_cast<double>(median), largest > 0 ? static_cast<double>(largest) : 1};
}

}  // namespace

const std::vector<std::pair<std::string, Standardise>>& standardise_names() {
  static const std::vector<std::pair<std::string, Standardise>> names = {
      {"none", Standardise::kNone}, {"data", Standardise::kData}, {"each", Standardise::kEach}};
  return names;
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
  if (!numbers.defined()) fail(ErrorCode::kInvalidArgument, "there is no series");
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
    if (facts.standardise == Standardise::kEach) scale = scale_of(from + channel, facts.length, facts.channels);
    for (int64_t sample = 0; sample < facts.length; ++sample)
      to[channel * columns + sample] = scale.of(from[sample * facts.channels + channel]);
  }
  for (int64_t at = 0; at < facts.feature_count(); ++at)
    to[facts.length + at] = facts.features[static_cast<size_t>(at)].scale.of(from[facts.channels * facts.length + at]);
  return {.features = std::move(out)};
}

}  // namespace clearhead
