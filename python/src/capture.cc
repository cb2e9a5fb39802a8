// Builds traces of attention that other libraries computed. The row statistics are computed here from their q, k and masks.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "clearhead/trace.h"
#include "module.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

// One sequence and one head of a mask, accessed by rows.
struct MaskRows {
  const Tensor& mask;
  int64_t keys = mask.size(3);
  const uint8_t* row(int64_t query) const {
    return reinterpret_cast<const uint8_t*>(mask.raw()) + query * mask.stride(2);  // stride of keys is 1
  }
};

// First and last visible key of a row; {keys, -1} if none is visible.
Range span_of(const uint8_t* row, int64_t keys) {
  const auto* first = static_cast<const uint8_t*>(std::memchr(row, 1, static_cast<size_t>(keys)));
  if (!first) return {keys, -1};
  int64_t last = keys - 1;
  while (row[last] == 0) --last;
  return {first - row, last};
}

// Limits of a band around position i + shift of query i.
struct Limits {
  std::optional<int64_t> back, ahead;
  Range keys_of(int64_t place, int64_t keys) const {
    return {back ? std::clamp<int64_t>(place - *back, 0, keys) : 0, ahead ? std::clamp<int64_t>(place + *ahead + 1, 0, keys) : keys};
  }
};

// Returns the narrowest limits that include all visible keys of the rows.
Limits narrowest(const std::vector<Range>& spans, int64_t shift) {
  Limits out;
  for (size_t i = 0; i < spans.size(); ++i) {
    if (spans[i].end < 0) continue;
    const int64_t place = static_cast<int64_t>(i) + shift;
    out.back = std::max(out.back.value_or(place - spans[i].begin), place - spans[i].begin);
    out.ahead = std::max(out.ahead.value_or(spans[i].end - place), spans[i].end - place);
  }
  return out;
}

// Returns whether a row shows exactly the keys inside `shown` that any query sees.
bool shows(const uint8_t* row, const uint8_t* any, int64_t keys, Range shown) {
  if (shown.size() <= 0) return std::memchr(row, 1, static_cast<size_t>(keys)) == nullptr;
  return std::memcmp(row + shown.begin, any + shown.begin, static_cast<size_t>(shown.size())) == 0 &&
         std::memchr(row, 1, static_cast<size_t>(shown.begin)) == nullptr &&
         std::memchr(row + shown.end, 1, static_cast<size_t>(keys - shown.end)) == nullptr;
}

// Converts limits to a band. A negative limit (all visible keys are on one side of the query) becomes an offset.
Band band_of(const Limits& limits, Align align) {
  Band out{.back = limits.back, .ahead = limits.ahead, .align = align};
  if (out.ahead && *out.ahead < 0) out.offset = *out.ahead;
  if (out.back && *out.back < 0) out.offset = -*out.back;
  if (out.back) *out.back += out.offset;
  if (out.ahead) *out.ahead -= out.offset;
  return out;
}

// Converts a mask to an equivalent topology: a band, a mask of keys that no query sees (padding), or both; otherwise the mask itself.
// Masks with several sequences or heads are not simplified.
Topology topology_of_mask(const Tensor& given) {
  if (given.dtype() != DType::kBool || given.rank() != 4)
    fail(ErrorCode::kShape, "mask: expected bool [batch|1, head|1, query|1, key], found {} {}", to_string(given.dtype()),
         to_string(given.shape()));
  const Topology dense{.mask = Mask{given}};
  if (given.size(0) != 1 || given.size(1) != 1 || given.numel() == 0) return dense;
  const Tensor mask = given.stride(3) == 1 ? given : given.contiguous();
  const MaskRows rows{mask};
  const int64_t queries = mask.size(2), keys = rows.keys;
  std::vector<Range> spans;
  Tensor seen = Tensor::zeros({1, 1, 1, keys}, DType::kBool);  // keys that any query sees
  auto* any = reinterpret_cast<uint8_t*>(seen.mutable_raw());
  for (int64_t i = 0; i < queries; ++i) {
    const uint8_t* row = rows.row(i);
    spans.push_back(span_of(row, keys));
    for (int64_t j = 0; j < keys; ++j) any[j] |= row[j];
  }
  if (std::memchr(any, 1, static_cast<size_t>(keys)) == nullptr) return dense;
  for (const Align align : {Align::kEnd, Align::kStart}) {
    const int64_t shift = align == Align::kEnd ? keys - queries : 0;
    const Limits limits = narrowest(spans, shift);
    for (const Limits& tried : {Limits{}, Limits{{}, limits.ahead}, Limits{limits.back, {}}, limits}) {
      bool is_exact = true;
      Range reached{keys, 0};
      for (int64_t i = 0; i < queries && is_exact; ++i) {
        const Range shown = tried.keys_of(i + shift, keys);
        is_exact = shows(rows.row(i), any, keys, shown);
        if (shown.size() > 0) reached = {std::min(reached.begin, shown.begin), std::max(reached.end, shown.end)};
      }
      if (!is_exact) continue;
      Topology out{.band = band_of(tried, align)};
      if ((out.band.back && *out.band.back < 0) || (out.band.ahead && *out.band.ahead < 0)) continue;
      if (std::memchr(any + reached.begin, 0, static_cast<size_t>(reached.size())) != nullptr) out.mask = Mask{seen};
      return out;
    }
  }
  return dense;
}

template <class T>
std::vector<T> list_of(const nb::dict& from, const char* name) {
  return from.contains(name) ? nb::cast<std::vector<T>>(from[name]) : std::vector<T>{};
}

// text: a dict with "text", "ids", "offsets", "special", "pieces", "segments" [(name, role, begin, end)] and
// "items" [(kind, begin, end, rows, picture)].
RunText text_of(const nb::dict& from) {
  RunText out;
  out.text = nb::cast<std::string>(from["text"]);
  out.ids = list_of<int32_t>(from, "ids");
  for (const nb::handle pair : nb::cast<nb::list>(from["offsets"])) out.offsets.push_back(nb::cast<std::array<int64_t, 2>>(pair));
  for (const int one : list_of<int>(from, "special")) out.special.push_back(one != 0);
  out.pieces = list_of<std::string>(from, "pieces");
  if (from.contains("segments")) {
    for (const nb::handle one : nb::cast<nb::list>(from["segments"])) {
      out.segments.push_back(
          {nb::cast<std::string>(one[0]), nb::cast<std::string>(one[1]), nb::cast<int64_t>(one[2]), nb::cast<int64_t>(one[3])});
    }
  }
  if (from.contains("items")) {
    for (const nb::handle one : nb::cast<nb::list>(from["items"])) {
      ItemRange range{nb::cast<std::string>(one[0]), nb::cast<int64_t>(one[1]), nb::cast<int64_t>(one[2]), nb::cast<int64_t>(one[3])};
      const nb::object picture = nb::borrow(one[4]);
      if (!picture.is_none()) range.picture = tensor_of(picture, "picture").clone();
      out.items.push_back(std::move(range));
    }
  }
  const size_t count = out.ids.size();
  if (out.offsets.size() != count || out.special.size() != count || out.pieces.size() != count)
    fail(ErrorCode::kShape, "text: {} ids have {} offsets, {} special flags and {} pieces; expected one of each for every id", count,
         out.offsets.size(), out.special.size(), out.pieces.size());
  return out;
}

MapFamily family_of(const nb::handle& from) {
  const nb::dict of = nb::cast<nb::dict>(from);
  const auto number = [&](const char* name) { return nb::cast<int64_t>(of[name]); };
  MapFamily out;
  out.name = nb::cast<std::string>(of["name"]);
  out.layers = static_cast<int>(number("layers"));
  out.heads = number("heads");
  out.key_heads = number("key_heads");
  out.d_k = number("d_k");
  out.queries = number("queries");
  out.keys = number("keys");
  out.causal = nb::cast<bool>(of["causal"]);
  out.is_part = nb::cast<bool>(of["is_part"]);
  out.first_query = number("first_query");
  out.first_key = number("first_key");
  return out;
}

// Runs attention for its row statistics only; a slice of k stands in for the values.
AttentionRecord record_of(const Tensor& q, const Tensor& k, const AttentionSpec& spec) {
  return attend(q, k, k.slice(3, 0, std::min<int64_t>(16, k.size(3))), spec).record;
}

// Paths of modules by family and layer, from the plan's "modules": {layer: path}.
using Modules = std::map<std::pair<std::string, int>, std::string>;

void add_modules(const nb::dict& family, Modules& modules) {
  if (!family.contains("modules")) return;
  const auto name = nb::cast<std::string>(family["name"]);
  for (const auto& [layer, path] : nb::cast<nb::dict>(family["modules"]))
    modules[{name, nb::cast<int>(layer)}] = nb::cast<std::string>(path);
}

std::vector<GeneratedToken> generated_of(const nb::list& generated) {
  std::vector<GeneratedToken> out;
  for (const nb::handle one : generated) {
    const nb::bytes bytes = nb::cast<nb::bytes>(one[2]);
    out.push_back({.id = nb::cast<int32_t>(one[0]),
                   .piece = nb::cast<std::string>(one[1]),
                   .bytes = std::string(bytes.c_str(), bytes.size()),
                   .probability = nb::cast<float>(one[3])});
  }
  return out;
}

// calls: an iterator of (family, layer, q, k, description, (norms of values, norms of projected values or None) or None,
// (dy/dout, values) or None). Each call is released before
// the next one is requested.
// generated: (id, piece, bytes, probability). If the families cover parts of the text (encoder-decoders, items), these are its last tokens.
// Otherwise they follow the text and are appended to it.
Trace trace_of_calls(const std::string& model, const nb::dict& text, const nb::list& families, const nb::object& calls,
                     const nb::list& generated, uint64_t budget, int64_t tail, const std::vector<std::array<int64_t, 2>>& rows,
                     const std::vector<int>& layers, const std::string& gradients_of) {
  RunPlan plan{.model = model, .families = {}, .text = text_of(text)};
  Modules modules;
  for (const nb::handle one : families) {
    plan.families.push_back(family_of(one));
    add_modules(nb::cast<nb::dict>(one), modules);
  }
  TraceOptions options{.budget_bytes = budget, .tail = tail, .layers = layers, .gradients_of = gradients_of};
  for (const auto& [begin, end] : rows) options.rows.push_back({begin, end});
  Trace trace(options);
  trace.begin(plan);
  for (const nb::handle one : nb::iter(calls)) {
    const Site site{.family = nb::cast<std::string>(one[0]), .layer = nb::cast<int>(one[1])};
    if (!trace.wants(site)) continue;
    const nb::object q_array = nb::borrow(one[2]), k_array = nb::borrow(one[3]);
    const Tensor q = tensor_of(q_array, "q"), k = tensor_of(k_array, "k");
    const AttentionSpec spec = nb::cast<AttentionSpec>(one[4]);
    KeyNorms norms;
    for (const auto& [at, to] : {std::pair{0, &norms.value}, {1, &norms.output}}) {
      if (one[5].is_none()) continue;
      if (const nb::object given = nb::borrow(one[5][at]); !given.is_none()) *to = tensor_of(given, "norms").clone();
    }
    OutputGradient gradient;
    if (const nb::handle given = one[6]; !given.is_none() && trace.wants_gradient(site)) {
      const nb::object d_out = nb::borrow(given[0]), values = nb::borrow(given[1]);
      gradient = {tensor_of(d_out, "d_out").clone(), tensor_of(values, "values").clone()};
    }
    without_gil([&] {
      const AttentionRecord record = record_of(q, k, spec);
      trace.take(site, record, norms);
      if (gradient.d_out.defined()) trace.take_gradient(site, record, gradient);
    });
    if (const auto path = modules.find({site.family, site.layer}); path != modules.end())
      trace.set_module(site.family, site.layer, path->second);
  }
  std::vector<GeneratedToken> tokens = generated_of(generated);
  if (std::any_of(plan.families.begin(), plan.families.end(), [](const MapFamily& family) { return family.is_part; })) {
    trace.set_generated(std::move(tokens));
  } else {
    for (const GeneratedToken& token : tokens) trace.generated(token);
  }
  return trace;
}

// heads: (layer, head, family); cuts and keep_only: (query begin, query end, key begin, key end, layer or None, head or None, family).
Interventions interventions_of(const nb::list& heads, const nb::list& cuts, const nb::list& keep_only) {
  Interventions out;
  for (const nb::handle one : heads) {
    out.ablated.push_back({nb::cast<int>(one[0]), nb::cast<int64_t>(one[1]), nb::cast<std::string>(one[2])});
  }
  const auto pairs_of = [](const nb::handle& one) {
    Interventions::Pairs pairs{.queries = {nb::cast<int64_t>(one[0]), nb::cast<int64_t>(one[1])},
                               .keys = {nb::cast<int64_t>(one[2]), nb::cast<int64_t>(one[3])}};
    pairs.layer = nb::cast<std::optional<int>>(one[4]);
    pairs.head = nb::cast<std::optional<int64_t>>(one[5]);
    pairs.family = nb::cast<std::string>(one[6]);
    return pairs;
  };
  for (const nb::handle one : cuts) out.knockouts.push_back(pairs_of(one));
  for (const nb::handle one : keep_only) out.keep_only.push_back(pairs_of(one));
  return out;
}

}  // namespace

void add_capture(nb::module_& module) {
  module.def(
      "_topology_of_mask",
      [](const nb::object& mask) {
        const Tensor visible = tensor_of(mask, "mask");
        return without_gil([&] { return topology_of_mask(visible); });
      },
      "mask"_a);
  module.def("_trace_of_calls", &trace_of_calls, "model"_a, "text"_a, "families"_a, "calls"_a, "generated"_a, "budget"_a, "tail"_a,
             "rows"_a, "layers"_a, "gradients_of"_a);
  module.def(
      "_edited",
      [](const AttentionSpec& spec, const nb::list& heads, const nb::list& cuts, const nb::list& keep_only, int layer, int64_t count,
         const std::string& family, std::optional<int64_t> queries) {
        InterventionSite site{.layer = layer, .heads = count, .family = family};
        if (queries) site.cross_queries = Range{0, *queries};  // query positions start at 0, independent of the number of keys
        return with_interventions(spec, interventions_of(heads, cuts, keep_only), site);
      },
      "description"_a, "heads"_a, "cuts"_a, "keep_only"_a, "layer"_a, "count"_a, "family"_a, "queries"_a = nb::none());
}

}  // namespace clearhead::python
