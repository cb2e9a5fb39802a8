// The trace as an observer: what it keeps, and when it refuses.
//
//   always      K, m, ℓ, norms            layers · (key_heads·(d_k + 1) + 3·heads) · tokens · 4 bytes
//   if it fits  Q of all rows             layers · heads · d_k · tokens · 4 bytes
//   otherwise   Q of watched rows, and statistics of every row, computed while the layer's Q is available
#include "clearhead/trace.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/format.h"
#include "base/hash.h"
#include "clearhead/atlas.h"
#include "observe/trace_items.h"
#include "observe/trace_state.h"
#include "spec/page_rows.h"

namespace clearhead {
namespace {

constexpr int64_t kThumbnail = 64;

bool layer_wanted(const TraceOptions& options, int layer) {
  return options.layers.empty() || std::find(options.layers.begin(), options.layers.end(), layer) != options.layers.end();
}

// Watched rows as disjoint ascending ranges inside [0, queries).
std::vector<Range> watched_rows(const TraceOptions& options, int64_t queries) {
  std::vector<Range> wanted = options.rows;
  wanted.push_back({std::max<int64_t>(0, queries - options.tail), queries});
  std::sort(wanted.begin(), wanted.end(), [](Range a, Range b) { return a.begin < b.begin; });
  std::vector<Range> out;
  for (Range range : wanted) {
    range = {std::max<int64_t>(0, range.begin), std::min(queries, range.end)};
    if (range.size() <= 0) continue;
    if (!out.empty() && range.begin <= out.back().end) {
      out.back().end = std::max(out.back().end, range.end);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

Frame frame_of_rows(const AttentionRecord& record, const Keys& keys, const AttentionSpec& spec, Range rows) {
  Frame frame;
  frame.queries = rows;
  frame.record = record;
  frame.record.spec = spec;
  frame.record.keys = keys;
  frame.record.q = record.q.slice(2, rows.begin - record.first_query, rows.end - record.first_query).clone();
  frame.record.rows = record.rows.slice(rows.begin - record.first_query, rows.end - record.first_query).clone();
  frame.record.first_query = rows.begin;
  frame.record.stamp = stamp_now(frame.record.spec, frame.record.q, frame.record.keys, record.stamp.isa);
  return frame;
}

AttentionSpec pinned_spec(AttentionSpec spec) {
  for_each_operand(spec, [](const std::string&, Tensor& operand) { operand = operand.clone(); });
  return spec;
}

// True if the rows of generated steps can be joined into one record. In a causal layer they can: the row of step i saw exactly
// the keys that the joined record's band shows it. Rules read positions, which are the same in both.
bool can_join(const AttentionSpec& spec) {
  const Band& band = spec.topology.band;
  bool plain = band.ahead == int64_t{0} && band.align == Align::kEnd && band.offset == 0 && !spec.topology.segments &&
               !spec.topology.mask && !spec.topology.block_sparse;
  const auto of_positions = [](const Term& term) {
    return std::holds_alternative<Alibi>(term) || std::holds_alternative<SoftCap>(term) || std::holds_alternative<Rule>(term);
  };
  plain = plain && std::all_of(spec.terms.begin(), spec.terms.end(), of_positions);
  plain = plain && !spec.after.dropout && !spec.after.gaussian;  // these index the queries of one call
  return plain;
}

}  // namespace

Tensor concatenate(const std::vector<Tensor>& parts, int axis) {
  if (parts.empty() || !parts[0].defined()) return {};
  if (parts.size() == 1) return parts[0];
  Shape shape = parts[0].shape();
  shape[static_cast<size_t>(axis)] = 0;
  for (const Tensor& part : parts) shape[static_cast<size_t>(axis)] += part.size(axis);
  Tensor out = Tensor::empty(shape, parts[0].dtype());
  int64_t outer = 1, inner = static_cast<int64_t>(size_of(out.dtype()));
  for (int i = 0; i < axis; ++i) outer *= out.size(i);
  for (int i = axis + 1; i < out.rank(); ++i) inner *= out.size(i);
  std::byte* to = out.mutable_raw();
  int64_t at = 0;
  for (const Tensor& part : parts) {
    const Tensor dense = part.contiguous();
    const int64_t bytes = dense.size(axis) * inner;
    for (int64_t line = 0; line < outer; ++line) {
      std::memcpy(to + line * out.size(axis) * inner + at, dense.raw() + line * bytes, static_cast<size_t>(bytes));
    }
    at += bytes;
  }
  return out;
}

Tensor gather_keys(const Keys& keys, std::optional<int64_t> key_head) {
  const PagedKV* paged = std::get_if<PagedKV>(&keys);
  if (!paged) {
    const Tensor& tensor = std::get<Tensor>(keys);
    return key_head ? tensor.slice(1, *key_head, *key_head + 1) : tensor;
  }
  return key_rows(*paged, {0, paged->length}, key_head);
}

namespace {

// Joins steps into one frame. Either all steps rounded P (RowStats::used) or none did. If the same holds for the layer's last frame, the
// steps extend it; otherwise they become a new frame.
void join(LayerTrace& layer, const std::vector<AttentionRecord>& steps) {
  const bool rounds = steps.back().rows.used.defined();
  std::vector<AttentionRecord> parts;
  if (!layer.frames.empty() && layer.frames.back().record.rows.used.defined() == rounds) {
    parts.push_back(layer.frames.back().record);
    layer.frames.pop_back();
  }
  parts.insert(parts.end(), steps.begin(), steps.end());
  std::vector<Tensor> q, m, l, used;
  for (const AttentionRecord& part : parts) {
    q.push_back(part.q);
    m.push_back(part.rows.m);
    l.push_back(part.rows.l);
    if (rounds) used.push_back(part.rows.used);
  }
  Frame joined;
  joined.record = steps.back();
  joined.record.q = concatenate(q, 2);
  joined.record.rows = {.m = concatenate(m, 2), .l = concatenate(l, 2), .used = concatenate(used, 2)};
  joined.record.query_length = key_length(joined.record.keys);
  joined.record.first_query = joined.record.query_length - joined.record.q.size(2);
  joined.queries = {joined.record.first_query, joined.record.query_length};
  layer.frames.push_back(std::move(joined));
}

}  // namespace

void join_steps(LayerTrace& layer) {
  if (layer.steps.empty()) return;
  const Keys keys = layer.steps.back().keys;
  // Rows whose P was rounded and rows whose P was not go to separate frames.
  const auto rounds = [](const AttentionRecord& step) { return step.rows.used.defined(); };
  for (auto first = layer.steps.begin(); first != layer.steps.end();) {
    const auto last = std::find_if(first, layer.steps.end(), [&](const AttentionRecord& step) { return rounds(step) != rounds(*first); });
    join(layer, {first, last});
    first = last;
  }
  // Now all frames share the final keys, and their rows are indices among all queries.
  for (Frame& frame : layer.frames) {
    frame.record.query_length = key_length(keys);
    frame.record.keys = keys;
    frame.record.stamp = stamp_now(frame.record.spec, frame.record.q, keys, frame.record.stamp.isa);
  }
  layer.steps.clear();
  std::vector<Tensor> value{layer.norms.value}, output{layer.norms.output};
  for (const KeyNorms& norms : layer.step_norms) {
    value.push_back(norms.value);
    output.push_back(norms.output);
  }
  layer.norms = {concatenate(value, 2), concatenate(output, 2)};
  layer.step_norms.clear();
  int64_t kept = 0;
  for (const Frame& frame : layer.frames) kept += frame.queries.size();
  if (kept == layer.frames.back().queries.end) layer.statistics.reset();  // every row is kept: statistics() computes them again
}

const MapFamily& Trace::State::family(const std::string& name) const {
  for (const MapFamily& family : plan.families) {
    if (family.name == name) return family;
  }
  std::string known;
  for (const MapFamily& family : plan.families) known += (known.empty() ? "" : ", ") + family.name;
  fail(ErrorCode::kNotFound, "trace: no attention family \"{}\"; this model has {}", name, known.empty() ? "none" : known);
}

LayerTrace& Trace::State::layer(const std::string& name, int layer) const {
  const MapFamily& known = family(name);
  const auto found = layers.find({name, layer});
  if (found != layers.end()) {
    join_steps(found->second);
    return found->second;
  }
  if (layer < 0 || layer >= known.layers)
    fail(ErrorCode::kInvalidArgument, "trace: layer {} is out of range; this model's layers are 0 to {}", layer, known.layers - 1);
  fail(ErrorCode::kNotFound, "trace: layer {} was not kept; trace again and include it in --layers", layer);
}

Trace::Trace(TraceOptions options) : state_(std::make_unique<State>()) { state_->options = std::move(options); }
Trace::~Trace() = default;
Trace::Trace(Trace&&) noexcept = default;
Trace& Trace::operator=(Trace&&) noexcept = default;

TraceSize Trace::size_of(const RunPlan& plan, const TraceOptions& options) {
  TraceSize size;
  uint64_t watched = 0;
  for (const MapFamily& family : plan.families) {
    uint64_t layers = 0;
    for (int layer = 0; layer < family.layers; ++layer) layers += layer_wanted(options, layer);
    const auto u = [](int64_t value) { return static_cast<uint64_t>(value); };
    size.keys += layers * u(family.keys) * u(family.key_heads * (family.d_k + 1) + family.heads) * 4;  // K, ‖v‖, ‖v·W_O‖
    // per row: m, ℓ, entropy, distance and four matches; per key: received; per head: thumbnails and offsets
    size.statistics += layers * u(family.heads) * (u(family.queries) * 8 + u(family.keys) + 2 * u(kThumbnail * kThumbnail) + 129) * 4;
    const uint64_t doubled = options.gradients_of.empty() ? 1 : 2;  // assumes d_v = d_k, for the values and the gradients of the outputs
    if (doubled > 1) size.keys += layers * u(family.keys) * u(family.key_heads * family.d_k) * 4;
    size.queries += layers * doubled * u(family.heads * family.d_k) * u(family.queries) * 4;
    uint64_t rows = 0;
    for (const Range& range : watched_rows(options, family.queries)) rows += u(range.size());
    watched += layers * doubled * u(family.heads * family.d_k) * rows * 4;
  }
  size.all_rows = size.keys + size.statistics + size.queries <= options.budget_bytes;
  if (!size.all_rows) size.queries = watched;
  return size;
}

void Trace::begin(const RunPlan& plan) {
  const std::string problem = problem_with_items(plan.text);
  if (!problem.empty()) fail(ErrorCode::kInvalidArgument, "trace: the items of the text: {}", problem);
  const bool is_part = std::any_of(plan.families.begin(), plan.families.end(), [](const MapFamily& family) { return family.is_part; });
  const TraceSize size = size_of(plan, state_->options);
  TraceOptions unlimited = state_->options;
  unlimited.budget_bytes = std::numeric_limits<uint64_t>::max();
  const uint64_t rows = is_part ? size_of(plan, unlimited).queries : size.queries;  // families with is_part keep every row or nothing
  const uint64_t needed = size.keys + size.statistics + (size.all_rows && !is_part ? 0 : rows);
  if (needed > state_->options.budget_bytes) {
    const std::string what = is_part ? format("all rows of {} attention families", plan.families.size())
                                     : format("selected rows of {} tokens", with_commas(plan.families.empty() ? 0 : plan.families[0].keys));
    fail(ErrorCode::kBudget,
         "trace: keys, statistics and {} need {}, but the budget is {}; use --budget to allow more, or --layers to keep fewer layers", what,
         human_bytes(needed), human_bytes(state_->options.budget_bytes));
  }
  TraceOptions options = std::move(state_->options);
  *state_ = State{};
  state_->options = std::move(options);
  state_->plan = plan;
  state_->all_rows = size.all_rows;
}

bool Trace::wants(const Site& site) { return layer_wanted(state_->options, site.layer); }

namespace {

// Copies values per key, [a, b, keys], to [a, b, tokens], starting at token `first`; the rest is zeros.
Tensor placed(const Tensor& part, int64_t first, int64_t tokens) {
  if (!part.defined()) return part;
  Tensor whole = Tensor::zeros({part.size(0), part.size(1), tokens});
  const Tensor dense = part.contiguous();
  float* to = whole.mutable_data<float>() + first;
  for (int64_t row = 0; row < part.size(0) * part.size(1); ++row) {
    std::copy_n(dense.data<float>() + row * part.size(2), part.size(2), to + row * tokens);
  }
  return whole;
}

// For a family over a range of the text: converts the queries and keys of its frames to indices of the whole text.
void place(LayerTrace& layer, const MapFamily& family, int64_t tokens) {
  for (Frame& frame : layer.frames) {
    frame.queries = {frame.queries.begin + family.first_query, frame.queries.end + family.first_query};
    frame.keys.resize(static_cast<size_t>(key_length(frame.record.keys)));
    std::iota(frame.keys.begin(), frame.keys.end(), family.first_key);
  }
  layer.norms = {placed(layer.norms.value, family.first_key, tokens), placed(layer.norms.output, family.first_key, tokens)};
}

}  // namespace

void Trace::take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) {
  LayerTrace& layer = state_->layers[{site.family, site.layer}];
  if (site.step > 0) {
    if (!can_join(record.spec))
      fail(ErrorCode::kUnsupported,
           "trace: steps of a layer with segments, masks, biases or dropout cannot be joined into one map; run the whole text at once to "
           "keep its map");
    AttentionRecord step = record;
    step.q = record.q.clone();
    step.rows = record.rows.clone();
    layer.steps.push_back(std::move(step));
    layer.step_norms.push_back(norms);
    return;
  }
  layer = LayerTrace{};
  layer.norms = norms;
  Keys keys = record.keys;  // pages are append-only: they need no copy
  if (const Tensor* tensor = std::get_if<Tensor>(&keys)) keys = tensor->clone();
  const AttentionSpec spec = pinned_spec(record.spec);
  const Range all{record.first_query, record.first_query + record.rows_kept()};
  if (state_->all_rows) {
    layer.frames.push_back(frame_of_rows(record, keys, spec, all));
  } else {
    for (const Range& rows : watched_rows(state_->options, all.end)) layer.frames.push_back(frame_of_rows(record, keys, spec, rows));
  }
  const MapFamily& family = state_->family(site.family);
  if (family.is_part) return place(layer, family, static_cast<int64_t>(state_->plan.text.ids.size()));
  if (!state_->all_rows || state_->options.statistics_in_run) {
    layer.statistics = AttentionMap(record).reduce(atlas_request(first_tokens(state_->plan.text, key_length(record.keys))));
  }
}

bool Trace::wants_gradient(const Site& site) {
  return !state_->options.gradients_of.empty() && wants(site) && site.step == 0 && site.reported;
}

// Called after take() for the same site. Each frame that take() made gets the gradients of its rows; all frames share the values.
void Trace::take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) {
  LayerTrace& layer = state_->layer(site.family, site.layer);
  const Tensor values = gradient.values.clone();
  for (Frame& frame : layer.frames) {
    const int64_t first = frame.record.first_query - record.first_query;
    frame.gradient = {gradient.d_out.slice(2, first, first + frame.queries.size()).clone(), values};
  }
}

void Trace::generated(const GeneratedToken& token) {
  State& state = *state_;
  RunText& text = state.plan.text;
  if (!text.items.empty()) {
    fail(ErrorCode::kUnsupported,
         "trace: tokens cannot be appended to a text that has items (such as patches) after its tokens; observe one run over the whole "
         "text");
  }
  const int64_t begin = static_cast<int64_t>(text.text.size());
  text.text += token.bytes;
  text.ids.push_back(token.id);
  text.offsets.push_back({begin, static_cast<int64_t>(text.text.size())});
  text.special.push_back(token.bytes.empty() ? 1 : 0);
  text.pieces.push_back(token.piece);
  state.generated.push_back(token);
}

void Trace::set_generated(std::vector<GeneratedToken> tokens) {
  const RunText& text = state_->plan.text;
  const auto count = static_cast<int64_t>(tokens.size());
  const int64_t first = text.tokens() - count;
  if (first < 0)
    fail(ErrorCode::kInvalidArgument, "trace: there are {} generated tokens, but the text has {} tokens", count, text.tokens());
  for (int64_t at = 0; at < count; ++at) {
    const int32_t id = text.ids[static_cast<size_t>(first + at)];
    if (tokens[static_cast<size_t>(at)].id != id)
      fail(ErrorCode::kInvalidArgument, "trace: generated token {} has id {}; token {} of the text has id {}", at,
           tokens[static_cast<size_t>(at)].id, first + at, id);
  }
  state_->generated = std::move(tokens);
}

void Trace::set_module(const std::string& family, int layer, std::string path) { state_->layer(family, layer).module = std::move(path); }
const std::string& Trace::module_of(const std::string& family, int layer) const { return state_->layer(family, layer).module; }

const MapFamily& Trace::family(const std::string& name) const { return state_->family(name); }
const RunPlan& Trace::plan() const { return state_->plan; }
const std::string& Trace::gradients_of() const { return state_->options.gradients_of; }
const std::vector<GeneratedToken>& Trace::generated_tokens() const { return state_->generated; }
void Trace::set_segments(std::vector<TextSegment> segments) { state_->plan.text.segments = std::move(segments); }

std::vector<int> Trace::layers(const std::string& family) const {
  std::vector<int> out;
  for (const auto& [key, layer] : state_->layers) {
    if (key.first == family) out.push_back(key.second);
  }
  return out;
}

std::string Trace::main_family() const {
  if (state_->plan.families.empty()) fail(ErrorCode::kInvalidArgument, "trace: no run has been traced yet");
  return state_->plan.families[0].name;
}

LayerMap Trace::map(const std::string& family, int layer) const {
  const LayerTrace& kept = state_->layer(family, layer);
  const MapFamily& shape = state_->family(family);
  int64_t queries = shape.queries, keys = shape.keys;
  if (shape.is_part) queries = keys = static_cast<int64_t>(state_->plan.text.ids.size());
  if (!kept.frames.empty() && kept.frames.back().keys.empty()) {
    queries = std::max(queries, kept.frames.back().record.query_length);
    keys = std::max(keys, key_length(kept.frames.back().record.keys));
  }
  return LayerMap(kept.frames, queries, keys);
}

const KeyNorms& Trace::norms(const std::string& family, int layer) const { return state_->layer(family, layer).norms; }

bool Trace::has_statistics(const std::string& family, int layer) const { return state_->layer(family, layer).statistics.has_value(); }

const ReductionResult& Trace::statistics(const std::string& family, int layer, const LookOptions& options) const {
  LayerTrace& kept = state_->layer(family, layer);
  if (!kept.statistics) {
    const LayerMap whole = map(family, layer);
    kept.statistics = whole.reduce(atlas_request(first_tokens(state_->plan.text, whole.keys())), options);
  }
  return *kept.statistics;
}

std::string Trace::id() const {
  Digest hash;
  hash.add(state_->plan.model.data(), state_->plan.model.size());
  hash.add(state_->plan.text.text.data(), state_->plan.text.text.size());
  hash.add(state_->plan.text.ids.data(), state_->plan.text.ids.size() * sizeof(int32_t));
  for (const ItemRange& range : state_->plan.text.items) {
    hash.add(range.kind.data(), range.kind.size());
    for (const int64_t number : {range.begin, range.end, range.rows}) hash.add(&number, sizeof number);
    for (int64_t id = range.begin; id < range.end; ++id) {
      const size_t at = static_cast<size_t>(id);
      hash.add(state_->plan.text.pieces[at].data(), state_->plan.text.pieces[at].size());
      hash.add(state_->plan.text.offsets[at].data(), sizeof state_->plan.text.offsets[at]);
    }
    if (range.picture.defined()) hash.add(range.picture.contiguous().raw(), range.picture.bytes());
    if (range.boxes.defined()) hash.add(range.boxes.contiguous().raw(), range.boxes.bytes());
  }
  for (auto& [key, layer] : state_->layers) {
    join_steps(layer);
    hash.add(key.first.data(), key.first.size());
    hash.add(&key.second, sizeof key.second);
    for (const Frame& frame : layer.frames) hash.add(frame.record.rows.m.raw(), frame.record.rows.m.bytes());
  }
  return hash.hex();
}

}  // namespace clearhead
