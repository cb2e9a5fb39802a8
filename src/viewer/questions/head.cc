// The names of weight kinds and the checks. Errors say what was not kept and which command keeps it.
#include "viewer/questions/head.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"

namespace clearhead::viewer {

const char* to_string(WeightKind kind) {
  switch (kind) {
    case WeightKind::kRaw: return "raw";
    case WeightKind::kValue: return "value";
    case WeightKind::kOutput: return "output";
    case WeightKind::kFor: return "for";
    case WeightKind::kAgainst: return "against";
    case WeightKind::kRaises: return "raises";
    case WeightKind::kLowers: return "lowers";
    case WeightKind::kForValue: return "for-value";
    case WeightKind::kAgainstValue: return "against-value";
    case WeightKind::kRaisesValue: return "raises-value";
    case WeightKind::kLowersValue: return "lowers-value";
  }
  return "raw";
}

std::optional<GradientLook> gradient_look(WeightKind kind) {
  switch (kind) {
    case WeightKind::kFor:
    case WeightKind::kForValue: return GradientLook::kPositive;
    case WeightKind::kAgainst:
    case WeightKind::kAgainstValue: return GradientLook::kNegative;
    case WeightKind::kRaises:
    case WeightKind::kRaisesValue: return GradientLook::kRaises;
    case WeightKind::kLowers:
    case WeightKind::kLowersValue: return GradientLook::kLowers;
    default: return std::nullopt;
  }
}

LengthOf length_of(WeightKind kind) {
  switch (kind) {
    case WeightKind::kValue:
    case WeightKind::kForValue:
    case WeightKind::kAgainstValue:
    case WeightKind::kRaisesValue:
    case WeightKind::kLowersValue: return LengthOf::kValue;
    case WeightKind::kOutput: return LengthOf::kOutput;
    default: return LengthOf::kNothing;
  }
}

const char* to_string(SinkRule rule) {
  switch (rule) {
    case SinkRule::kMark: return "mark";
    case SinkRule::kHide: return "hide";
    case SinkRule::kRenormalise: return "renorm";
  }
  return "mark";
}

std::string head_name(int layer, int64_t head) {
  if (layer == kMean && head == kMean) return "mean";
  return (layer == kMean ? std::string("mean") : format("L{}", layer)) + (head == kMean ? std::string(".mean") : format(".H{}", head));
}

std::string head_title(const MapFamily& shape, int layer, int64_t head) {
  if (layer == kMean && head == kMean) return format("mean of all {} heads", shape.layers * shape.heads);
  if (layer == kMean) return format("mean of head {} over {} layers", head, shape.layers);
  return head == kMean ? format("layer {}, mean of {} heads", layer, shape.heads) : head_name(layer, head);
}

Json index_json(int64_t index) { return index == kMean ? Json("mean") : Json(index); }

namespace questions {
namespace {

constexpr double kSmallestRest = 1e-12;

}  // namespace

std::string keep_command(const Trace& trace, const std::string& with) {
  return format("clearhead trace {} --file TEXT -o FILE {}", trace.plan().model.empty() ? "MODEL" : trace.plan().model, with);
}

std::string layers_text(const std::vector<int>& layers) {
  std::string out;
  for (const int layer : layers) out += (out.empty() ? "" : ", ") + std::to_string(layer);
  return out;
}

void check_head(LoadedTrace& loaded, const HeadLook& at) {
  const FamilyFacts& known = loaded.facts(at.family);
  if (is_mean(at)) {
    fail(ErrorCode::kInvalidArgument, "{}: this question is about one head; expected the numbers of a layer and of a head.",
         head_name(at.layer, at.head));
  }
  if (at.layer < 0 || at.layer >= known.shape.layers) {
    fail(ErrorCode::kNotFound, "layer {}: this model has {} layers, 0 to {}.", at.layer, known.shape.layers, known.shape.layers - 1);
  }
  if (at.head < 0 || at.head >= known.shape.heads) {
    fail(ErrorCode::kNotFound, "head {}: a layer of this model has {} heads, 0 to {}.", at.head, known.shape.heads, known.shape.heads - 1);
  }
  if (std::find(known.layers.begin(), known.layers.end(), at.layer) == known.layers.end()) {
    throw NotKept(format("layer {} was not kept; the trace has the layers {}.", at.layer, layers_text(known.layers)),
                  keep_command(loaded.trace(), format("--layers {}", at.layer)));
  }
}

std::vector<HeadLook> heads_of(LoadedTrace& loaded, const HeadLook& at) {
  const MapFamily& shape = loaded.facts(at.family).shape;
  const auto range = [](int64_t index, int64_t count) { return index == kMean ? Range{0, count} : Range{index, index + 1}; };
  const Range layers = range(at.layer, shape.layers), heads = range(at.head, shape.heads);
  std::vector<HeadLook> out;
  for (int64_t layer = layers.begin; layer < layers.end; ++layer) {
    for (int64_t head = heads.begin; head < heads.end; ++head) {
      out.push_back({at.family, static_cast<int>(layer), head, at.weight, at.sink});
      check_head(loaded, out.back());
    }
  }
  return out;
}

void check_rows(LoadedTrace& loaded, const std::string& family, const std::vector<Range>& ranges) {
  const FamilyFacts& known = loaded.facts(family);
  for (const Range& range : ranges) {
    if (range.begin < 0 || range.end > known.queries || range.size() <= 0) {
      fail(ErrorCode::kInvalidArgument, "q: {}-{} is not a range of the {} queries.", range.begin, range.end, known.queries);
    }
    const bool kept =
        std::any_of(known.rows.begin(), known.rows.end(), [&](const Range& r) { return r.begin <= range.begin && range.end <= r.end; });
    if (!kept) {
      throw NotKept(format("The query vectors of tokens {} to {} were not all kept.", range.begin, range.end - 1),
                    keep_command(loaded.trace(), format("--rows {}:{}", range.begin, range.end)));
    }
  }
}

void check_all_rows(LoadedTrace& loaded, const std::string& family, const char* what) {
  if (loaded.facts(family).all_rows) return;
  throw NotKept(format("{} needs the query vectors of all tokens; this trace kept only some of them.", what),
                keep_command(loaded.trace(), "--budget 64G"));
}

LayerMap map_of(LoadedTrace& loaded, const HeadLook& at) {
  const FamilyFacts& known = loaded.facts(at.family);
  LayerMap map = loaded.trace().map(known.shape.name, at.layer);
  if (!is_gradient(at.weight)) return map;
  if (!known.gradients) {
    throw NotKept(format("w={}: this trace kept no gradients of an answer.", to_string(at.weight)),
                  keep_command(loaded.trace(), "--gradients"));
  }
  if (at.sink == SinkRule::kRenormalise) {
    fail(ErrorCode::kInvalidArgument,
         "sink=renorm: w={} shows gradients, whose rows do not sum to one and cannot be renormalised; expected mark or hide.",
         to_string(at.weight));
  }
  return map.with(*gradient_look(at.weight));
}

std::vector<float> norms(LoadedTrace& loaded, const HeadLook& at) {
  const LengthOf of = length_of(at.weight);
  if (of == LengthOf::kNothing) return {};
  const FamilyFacts& known = loaded.facts(at.family);
  const KeyNorms& norms = loaded.trace().norms(known.shape.name, at.layer);
  const bool value = of == LengthOf::kValue;
  const Tensor& tensor = value ? norms.value : norms.output;
  if (!tensor.defined()) {
    throw NotKept(format("w={}: the norms of the values were not kept in this trace.", to_string(at.weight)),
                  keep_command(loaded.trace(), ""));
  }
  const int64_t row = value ? at.head * known.shape.key_heads / known.shape.heads : at.head;
  const Tensor line = tensor.select(0, 0).select(0, row).contiguous();
  std::vector<float> out(line.data<float>(), line.data<float>() + line.numel());
  out.resize(static_cast<size_t>(known.keys), 0.0f);
  return out;
}

const Frame* frame_of(const LayerMap& map, int64_t query) {
  for (const Frame& frame : map.frames()) {
    if (query >= frame.queries.begin && query < frame.queries.end) return &frame;
  }
  return nullptr;
}

double mass_at_sinks(const float* weights, const FamilyFacts& known) {
  double at_sinks = 0;
  for (const int64_t key : known.sinks) at_sinks += weights[key] > 0 ? static_cast<double>(weights[key]) : 0.0;
  return at_sinks;
}

double left_by_sinks(double at_sinks) { return std::max(kSmallestRest, 1 - at_sinks); }

double left_by_sinks(const float* weights, const FamilyFacts& known) {
  if (!known.sums_to_one) return left_by_sinks(mass_at_sinks(weights, known));
  double rest = 0;
  size_t next = 0;
  for (int64_t j = 0; j < known.keys; ++j) {
    const bool is_sink = next < known.sinks.size() && known.sinks[next] == j;
    if (is_sink) ++next;
    if (!is_sink && weights[j] > 0) rest += static_cast<double>(weights[j]);
  }
  return std::max(kSmallestRest, rest);
}

}  // namespace questions
}  // namespace clearhead::viewer
