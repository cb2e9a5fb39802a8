// Parses a query string; each key has its own format.
#include "viewer/view_state.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/format.h"
#include "viewer/parameters.h"

namespace clearhead::viewer {
namespace {

// The parts of a text between the characters of `separators`.
std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find_first_of(separators, begin), text.size());
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

std::optional<int64_t> number_of(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

// "5.3,8.mean": layers and heads; "mean" stands for the mean over all layers or heads.
std::vector<std::pair<int, int64_t>> parse_heads(const std::string& value) {
  const auto index = [](std::string_view text) -> std::optional<int64_t> {
    if (text == "mean") return kMean;
    const std::optional<int64_t> number = number_of(text);
    return number && *number < 100'000 ? number : std::nullopt;
  };
  std::vector<std::pair<int, int64_t>> out;
  for (const std::string_view part : value.empty() ? std::vector<std::string_view>{} : split(value, ",")) {
    const std::vector<std::string_view> both = split(part, ".");
    if (both.size() != 2) continue;  // ignored, as on the page
    const std::optional<int64_t> layer = index(both[0]), head = index(both[1]);
    if (!layer || !head) {
      fail(ErrorCode::kInvalidArgument, "h: expected layer.head,… with numbers or \"mean\", found \"{}\".", value);
    }
    out.emplace_back(static_cast<int>(*layer), *head);
  }
  return out;
}

std::vector<int64_t> parse_rectangle(const std::string& value) {
  std::vector<int64_t> out;
  for (const std::string_view part : split(value, ",.")) {
    const std::optional<int64_t> number = number_of(part);
    if (!number) fail(ErrorCode::kInvalidArgument, "x: expected k0,q0,k1,q1, found \"{}\".", value);
    out.push_back(*number);
  }
  return out.size() == 4 ? out : std::vector<int64_t>{};
}

}  // namespace

ViewState parse_state(const std::string& state) {
  ViewState out;
  for (const auto& [key, value] : parse_query(state.rfind('#', 0) == 0 ? std::string_view(state).substr(1) : std::string_view(state))) {
    constexpr const char* kViews[] = {"read", "lines", "map", "atlas", "model", "neuron", "why", "what-if", "compare"};
    if (key == "v" && std::find(std::begin(kViews), std::end(kViews), value) != std::end(kViews)) out.view = value;
    if (key == "f") out.family = value;
    if (key == "q" && !value.empty()) out.queries = parse_ranges(value, "q");
    if (key == "k" && !value.empty()) out.keys = parse_ranges(value, "k");
    if (key == "d" && (value == "in" || value == "out")) out.direction = value;
    if (key == "axes") out.offsets = value == "offset";
    if (key == "w") out.weight = to_string(weight_kind_of(value));
    if (key == "s" && (value == "linear" || value == "sqrt" || value == "log")) out.scale = value;
    if (key == "sink") out.sink = to_string(sink_rule_of(value));
    if (key == "h") out.heads = parse_heads(value);
    if (key == "x") out.rectangle = parse_rectangle(value);
  }
  return out;
}

HeadLook head_of(LoadedTrace& loaded, const ViewState& state, size_t index) {
  HeadLook at;
  at.family = state.family.empty() ? loaded.trace().main_family() : state.family;
  if (index < state.heads.size()) {
    at.layer = state.heads[index].first;
    at.head = state.heads[index].second;
  } else if (const FamilyFacts& known = loaded.facts(at.family); !known.layers.empty()) {
    at.layer = known.layers[0];
  }
  at.weight = weight_kind_of(state.weight);
  at.sink = sink_rule_of(state.sink);
  return at;
}

ShownPart part_of(LoadedTrace& loaded, const ViewState& state, const std::string& family) {
  const FamilyFacts& known = loaded.facts(family);
  ShownPart out{{0, known.queries}, {0, known.keys}};
  if (state.rectangle.size() == 4) {
    out.keys = {std::clamp<int64_t>(state.rectangle[0], 0, known.keys), std::clamp<int64_t>(state.rectangle[2], 0, known.keys)};
    out.queries = {std::clamp<int64_t>(state.rectangle[1], 0, known.queries), std::clamp<int64_t>(state.rectangle[3], 0, known.queries)};
  } else if (const MapFamily& shape = known.shape; shape.is_part) {
    out = {{shape.first_query, shape.first_query + shape.queries}, {shape.first_key, shape.first_key + shape.keys}};
  }
  if (out.keys.size() <= 0 || out.queries.size() <= 0) fail(ErrorCode::kInvalidArgument, "x: the rectangle does not overlap the map.");
  return out;
}

int level_of(const ShownPart& part, int64_t side) {
  int z = 0;
  while (((std::max(part.keys.size(), part.queries.size()) + (int64_t{1} << z) - 1) >> z) > side) ++z;
  return z;
}

}  // namespace clearhead::viewer
