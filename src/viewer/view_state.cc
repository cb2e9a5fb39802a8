// Parses a query string; each key has its own format.
#include "viewer/view_state.h"

#include <algorithm>
#include <charconv>

#include "base/format.h"
#include "viewer/parameters.h"

namespace clearhead::viewer {

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
    if (key != "h" && key != "x") continue;
    std::vector<int64_t> numbers;
    std::string digits = value + ",";
    for (size_t at = 0, begin = 0; at < digits.size(); ++at) {
      if (digits[at] != ',' && digits[at] != '.') continue;
      int64_t number = 0;
      const auto [end, error] = std::from_chars(digits.data() + begin, digits.data() + at, number);
      if (error != std::errc() || end != digits.data() + at || number < 0) {
        fail(ErrorCode::kInvalidArgument, "{}: expected {}, found \"{}\".", key, key == "h" ? "layer.head,…" : "k0,q0,k1,q1", value);
      }
      numbers.push_back(number);
      begin = at + 1;
    }
    if (key == "x") out.rectangle = numbers.size() == 4 ? numbers : std::vector<int64_t>{};
    for (size_t i = 0; key == "h" && i + 1 < numbers.size(); i += 2) {
      if (numbers[i] < 100'000) out.heads.emplace_back(static_cast<int>(numbers[i]), numbers[i + 1]);
    }
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
