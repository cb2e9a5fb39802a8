// Collects the facts from the frames of the kept layers and their attention specs, and finds attention sinks from the attention that keys
// receive.
#include "viewer/family_facts.h"

#include <algorithm>

#include "base/format.h"
#include "clearhead/atlas.h"
#include "clearhead/error.h"
#include "observe/picture.h"
#include "viewer/summary.h"

namespace clearhead::viewer {
namespace {

// Limit in multiply-adds for finding the sinks from all rows: about a fifth of a second. Beyond it they are found from sampled rows.
constexpr double kSinkWork = 2e10;

// Returns the number of rows that see each key of the text, whether or not those rows were kept. [key]
std::vector<int64_t> seen_by(const LayerMap& map, bool all_rows) {
  std::vector<int64_t> out(static_cast<size_t>(map.keys()), 0);
  for (const Frame& frame : map.frames()) {
    AttentionRecord record = frame.record;
    if (!all_rows && frame.keys.empty()) {  // the statistics were taken of every row during the run, so count all rows
      record.q = record.q.slice(2, 0, 1).expand({record.q.size(0), record.q.size(1), record.query_length, record.q.size(3)});
      record.first_query = 0;
    }
    const std::vector<int64_t> seen = rows_that_see(record, 0);
    for (size_t j = 0; j < seen.size(); ++j) out[frame.keys.empty() ? j : static_cast<size_t>(frame.keys[j])] += seen[j];
    if (!all_rows && frame.keys.empty()) break;
  }
  return out;
}

// The range of the text that a window covers: its longest run of consecutive keys, which excludes special tokens around it unless they
// are adjacent.
Range window_of(const std::vector<int64_t>& keys) {
  Range best{0, 0};
  for (size_t begin = 0; begin < keys.size();) {
    size_t end = begin + 1;
    while (end < keys.size() && keys[end] == keys[end - 1] + 1) ++end;
    if (static_cast<int64_t>(end - begin) > best.size()) best = {keys[begin], keys[end - 1] + 1};
    begin = end;
  }
  return best;
}

std::vector<std::optional<std::pair<int64_t, int64_t>>> bands_of(const Trace& trace, const MapFamily& family,
                                                                 const std::vector<int>& layers) {
  std::vector<std::optional<std::pair<int64_t, int64_t>>> bands(static_cast<size_t>(std::max(family.layers, 0)));
  for (const int layer : layers) {
    const LayerMap own = trace.map(family.name, layer);
    if (own.frames().empty() || family.first_query != family.first_key) continue;
    const Band& band = own.frames()[0].record.spec.topology.band;
    if (band.back && band.ahead && band.offset == 0) bands[static_cast<size_t>(layer)] = {*band.back, *band.ahead};
  }
  return bands;
}

std::string remainder_of(const AttentionSpec& spec) {
  if (std::holds_alternative<Sigmoid>(spec.normaliser)) return "independent";
  if (spec.after.dropout || spec.after.head_mask || spec.after.gaussian) return "after";
  return rows_sum_to_one(spec) ? "" : "sink-logit";
}

// Finds sinks from the attention that the keys receive in every kept layer; if that would take long, from sampled rows.
std::vector<int64_t> find_family_sinks(const Trace& trace, FamilyFacts& facts) {
  const MapFamily& shape = facts.shape;
  if (facts.queries == 0 || facts.keys == 0 || !is_of_tokens(trace.plan().text, shape)) return {};  // sinks are tokens
  const double a_row =
      static_cast<double>(facts.layers.size()) * static_cast<double>(shape.heads * shape.d_k) * static_cast<double>(facts.keys);
  int64_t sample = static_cast<int64_t>(kSinkWork / a_row);
  sample = std::max<int64_t>(sample, 16);
  std::vector<Tensor> layers;
  bool from_run = true;
  for (const int layer : facts.layers) {
    if (trace.has_statistics(shape.name, layer)) {
      layers.push_back(trace.statistics(shape.name, layer).received);
      if (layers.back().size(2) == facts.keys) continue;
      layers.pop_back();
    }
    from_run = false;
    LookOptions options;
    if (sample < facts.queries) options.sampled_rows = sample;
    const ReductionResult sweep = trace.map(shape.name, layer).reduce(ReductionRequest{received}, options);
    if (!sweep.exact) facts.sink_rows = sweep.rows_looked_at;
    layers.push_back(sweep.received);
  }
  const std::vector<int64_t> seen = seen_by(trace.map(shape.name, facts.layers[0]), facts.all_rows || !from_run);
  std::vector<uint8_t> delimiters = delimiters_of(trace.plan().text);
  delimiters.resize(static_cast<size_t>(facts.keys), 0);
  return find_sinks(layers, 0, seen, delimiters);
}

FamilyFacts facts_of(const Trace& trace, const MapFamily& family) {
  FamilyFacts facts;
  facts.shape = family;
  facts.layers = trace.layers(family.name);
  facts.queries = family.queries;
  facts.keys = family.keys;
  facts.written = written_rows(trace, family);
  if (facts.layers.empty()) return facts;
  const LayerMap map = trace.map(family.name, facts.layers[0]);
  facts.queries = map.queries();
  facts.keys = map.keys();
  facts.rows = map.rows_kept();
  const int64_t rows = family.is_part ? family.queries : facts.queries;
  facts.all_rows = facts.rows.size() == 1 && facts.rows[0].begin == family.first_query && facts.rows[0].size() == rows;
  if (facts.queries == 0) facts.all_rows = true;
  facts.value = facts.output = facts.gradients = true;
  for (const int layer : facts.layers) {
    facts.value = facts.value && trace.norms(family.name, layer).value.defined();
    facts.output = facts.output && trace.norms(family.name, layer).output.defined();
    const auto has_none = [](const Frame& frame) { return !frame.gradient.d_out.defined(); };
    const LayerMap of_layer = trace.map(family.name, layer);
    facts.gradients = facts.gradients && std::none_of(of_layer.frames().begin(), of_layer.frames().end(), has_none);
  }
  for (const Frame& frame : map.frames()) {
    if (!frame.keys.empty() && !family.is_part) facts.windows.push_back(window_of(frame.keys));
  }
  if (!map.frames().empty()) {
    const AttentionSpec& spec = map.frames()[0].record.spec;
    facts.sums_to_one = rows_sum_to_one(spec);
  }
  facts.summaries.resize(static_cast<size_t>(family.layers));
  facts.remainders.resize(static_cast<size_t>(family.layers));
  for (const int layer : facts.layers) {
    const LayerMap of_layer = trace.map(family.name, layer);
    if (of_layer.frames().empty()) continue;
    facts.remainders[static_cast<size_t>(layer)] = remainder_of(of_layer.frames()[0].record.spec);
    facts.summaries[static_cast<size_t>(layer)] =
        summary_of(of_layer.frames()[0].record.spec, family.d_k, is_of_tokens(trace.plan().text, family));
  }
  facts.bands = bands_of(trace, family, facts.layers);
  facts.sinks = find_family_sinks(trace, facts);
  return facts;
}

}  // namespace

bool is_of_tokens(const RunText& text, const MapFamily& family) {
  return !family.is_part || std::max(family.first_query + family.queries, family.first_key + family.keys) <= text.tokens();
}

FamilyFacts find_facts(const Trace& trace, const std::string& name) {
  std::string known;
  for (const MapFamily& family : trace.plan().families) {
    if (family.name == name) return facts_of(trace, family);
    known += (known.empty() ? "" : ", ") + family.name;
  }
  fail(ErrorCode::kNotFound, "f={}: no such family of maps; expected one of: {}", name, known);
}

}  // namespace clearhead::viewer
