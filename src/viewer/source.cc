// What is known of a trace before anybody looks at a weight: its families, which rows were kept, where attention sinks are, what is missing.
#include "viewer/source.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "clearhead/tokenizer.h"

namespace clearhead {
namespace {

// Multiply-adds that finding the sinks may take before it is done from sampled rows: about a fifth of a second.
constexpr double kSinkWork = 2e10;

const char* kind_of(const MapFamily& family) {
  if (family.name == "enc") return "encoder";
  if (family.name == "cross") return "cross";
  return "decoder";
}

Json range_json(Range range) { return Json(Json::Array{range.begin, range.end}); }

Json ranges_json(const std::vector<Range>& ranges) {
  Json out = Json::array();
  for (const Range& range : ranges) out.push(range_json(range));
  return out;
}

// How many rows see each key of the text, whichever rows were kept. [key]
std::vector<int64_t> seen_by(const LayerMap& map, bool all_rows) {
  std::vector<int64_t> out(static_cast<size_t>(map.keys()), 0);
  for (const Frame& frame : map.frames()) {
    AttentionRecord record = frame.record;
    if (!all_rows && frame.keys.empty()) {  // statistics were taken of every row in the run: count them all
      record.q = record.q.slice(2, 0, 1).expand({record.q.size(0), record.q.size(1), record.query_length, record.q.size(3)});
      record.first_query = 0;
    }
    const std::vector<int64_t> seen = rows_that_see(record, 0);
    for (size_t j = 0; j < seen.size(); ++j) out[frame.keys.empty() ? j : static_cast<size_t>(frame.keys[j])] += seen[j];
    if (!all_rows && frame.keys.empty()) break;
  }
  return out;
}

// The stretch of the text that a window's keys are: without the special tokens that frame it, unless they stand beside it.
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

std::string layers_text(const std::vector<int>& layers) {
  std::string out;
  for (const int layer : layers) out += (out.empty() ? "" : ", ") + std::to_string(layer);
  return out;
}

}  // namespace

const char* to_string(WeightKind kind) {
  switch (kind) {
    case WeightKind::kRaw: return "raw";
    case WeightKind::kValue: return "value";
    case WeightKind::kOutput: return "output";
  }
  return "raw";
}

const char* to_string(SinkRule rule) {
  switch (rule) {
    case SinkRule::kMark: return "mark";
    case SinkRule::kHide: return "hide";
    case SinkRule::kRenormalise: return "renorm";
  }
  return "mark";
}

LiveSource::LiveSource(Trace trace, Options options) : LiveSource(std::make_shared<const Trace>(std::move(trace)), std::move(options)) {}

LiveSource::LiveSource(std::shared_ptr<const Trace> trace, Options options)
    : trace_(std::move(trace)), options_(std::move(options)), id_(trace_->id()), words_(words_of(trace_->plan().text)) {}

std::string model_name(const RunPlan& plan) {
  std::string name = plan.model;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  const size_t slash = name.rfind('/');
  if (slash != std::string::npos && (name[0] == '/' || name[0] == '.' || name.find('/') != slash)) name = name.substr(slash + 1);
  return name;
}

std::string LiveSource::name() const { return model_name(trace_->plan()); }

std::string LiveSource::keep_command(const std::string& with) const {
  return format("clearhead trace {} --file TEXT -o FILE {}", trace_->plan().model.empty() ? "MODEL" : trace_->plan().model, with);
}

const FamilyFacts& LiveSource::facts(const std::string& name) {
  const std::string wanted = name.empty() ? main_family() : name;
  const auto found = facts_.find(wanted);
  if (found != facts_.end()) return found->second;
  std::string known;
  for (const MapFamily& family : trace_->plan().families) {
    if (family.name == wanted) return facts_[wanted] = find_facts(family);
    known += (known.empty() ? "" : ", ") + family.name;
  }
  fail(ErrorCode::kNotFound, "f={}: no such family of maps; there is {}", wanted, known);
}

FamilyFacts LiveSource::find_facts(const MapFamily& family) {
  FamilyFacts facts;
  facts.shape = family;
  facts.layers = trace_->layers(family.name);
  facts.queries = family.queries;
  facts.keys = family.keys;
  if (facts.layers.empty()) return facts;
  const LayerMap map = trace_->map(family.name, facts.layers[0]);
  facts.queries = map.queries();
  facts.keys = map.keys();
  facts.rows = map.rows_kept();
  const int64_t rows = family.is_part ? family.queries : facts.queries;
  facts.all_rows = facts.rows.size() == 1 && facts.rows[0].begin == family.first_query && facts.rows[0].size() == rows;
  if (facts.queries == 0) facts.all_rows = true;
  facts.value = facts.output = true;
  for (const int layer : facts.layers) {
    facts.value = facts.value && trace_->norms(family.name, layer).value.defined();
    facts.output = facts.output && trace_->norms(family.name, layer).output.defined();
  }
  for (const Frame& frame : map.frames()) {
    if (!frame.keys.empty() && !family.is_part) facts.windows.push_back(window_of(frame.keys));
  }
  if (!map.frames().empty()) {
    const AttentionSpec& spec = map.frames()[0].record.spec;
    facts.sums_to_one = rows_sum_to_one(spec);
    facts.summary = summary_of(spec, family.d_k);
  }
  facts.bands.resize(static_cast<size_t>(std::max(family.layers, 0)));
  for (const int layer : facts.layers) {
    const LayerMap own = trace_->map(family.name, layer);
    if (own.frames().empty() || family.first_query != family.first_key) continue;
    const Band& band = own.frames()[0].record.spec.topology.band;
    if (band.back && band.ahead && band.offset == 0) facts.bands[static_cast<size_t>(layer)] = {*band.back, *band.ahead};
  }
  facts.sinks = find_family_sinks(facts);
  return facts;
}

std::vector<int64_t> LiveSource::find_family_sinks(FamilyFacts& facts) {
  if (facts.queries == 0 || facts.keys == 0) return {};
  const MapFamily& shape = facts.shape;
  const double a_row =
      static_cast<double>(facts.layers.size()) * static_cast<double>(shape.heads * shape.d_k) * static_cast<double>(facts.keys);
  int64_t sample = static_cast<int64_t>(kSinkWork / a_row);
  sample = std::max<int64_t>(sample, 16);
  std::vector<Tensor> layers;
  bool from_run = true;
  for (const int layer : facts.layers) {
    if (trace_->has_statistics(shape.name, layer)) {
      layers.push_back(trace_->statistics(shape.name, layer).received);
      if (layers.back().size(2) == facts.keys) continue;
      layers.pop_back();
    }
    from_run = false;
    LookOptions options;
    if (sample < facts.queries) options.sampled_rows = sample;
    const ReductionResult sweep = trace_->map(shape.name, layer).reduce(ReductionRequest{received}, options);
    if (!sweep.exact) facts.sink_rows = sweep.rows_looked_at;
    layers.push_back(sweep.received);
  }
  const std::vector<int64_t> seen = seen_by(trace_->map(shape.name, facts.layers[0]), facts.all_rows || !from_run);
  std::vector<uint8_t> delimiters = delimiters_of(trace_->plan().text);
  delimiters.resize(static_cast<size_t>(facts.keys), 0);
  return find_sinks(layers, 0, seen, delimiters);
}

Json LiveSource::family_json(const FamilyFacts& known) const {
  const MapFamily& family = known.shape;
  Json weights = Json(Json::Array{"raw"}), sinks = Json::array();
  if (known.value) weights.push("value");
  if (known.output) weights.push("output");
  for (const int64_t key : known.sinks) sinks.push(key);
  Json bands = Json::array();
  for (const auto& band : known.bands) bands.push(band ? Json(Json::Array{band->first, band->second}) : Json());
  return Json::object(
      {{"id", family.name},
       {"kind", kind_of(family)},
       {"layers", family.layers},
       {"heads", family.heads},
       {"key_heads", family.key_heads},
       {"d_k", family.d_k},
       {"queries", known.queries},
       {"keys", known.keys},
       {"query_range",
        range_json(family.is_part ? Range{family.first_query, family.first_query + family.queries} : Range{0, known.queries})},
       {"key_range", range_json(family.is_part ? Range{family.first_key, family.first_key + family.keys} : Range{0, known.keys})},
       {"query_side", 0},
       {"key_side", 0},
       {"causal", family.causal},
       {"sums_to_one", known.sums_to_one},
       {"sinks", sinks},
       {"weights", weights},
       {"rows", ranges_json(known.rows)},
       {"all_rows", known.all_rows},
       {"windows", known.windows.empty() ? Json() : ranges_json(known.windows)},
       {"bands", std::move(bands)},
       {"summary", known.summary}});
}

// What this source cannot do of one family, and what a reader of its numbers should know.
void LiveSource::add_limits(const FamilyFacts& known, Json& missing, Json& notes) const {
  const auto lacks = [&](const char* feature, const char* code, Json command, std::string detail) {
    missing.push(Json::object({{"feature", feature}, {"code", code}, {"command", std::move(command)}, {"detail", std::move(detail)}}));
  };
  if (known.layers.empty()) return;
  if (known.sink_rows > 0) {
    notes.push(format("Attention sinks were found from {} of {} rows.", with_commas(known.sink_rows), with_commas(known.queries)));
  }
  if (known.layers.size() < static_cast<size_t>(known.shape.layers)) {
    notes.push(format("Of {} layers, these were kept: {}. Trace again with --layers naming others.", known.shape.layers,
                      layers_text(known.layers)));
  }
  if (!known.all_rows) {
    int64_t rows = 0;
    for (const Range& range : known.rows) rows += range.size();
    const std::string detail = format("The query vectors of {} of {} tokens were kept.", with_commas(rows), with_commas(known.queries));
    const std::string command = keep_command("--budget 64G");
    for (const char* feature : {"column", "tile", "overview"}) lacks(feature, "q-not-kept", command, detail);
    if (!trace_->has_statistics(known.shape.name, known.layers[0])) lacks("atlas", "q-not-kept", command, detail);
  }
  if (!known.value) lacks("value", "v-not-kept", nullptr, "This run did not measure its values.");
  if (!known.output) lacks("output", "v-not-kept", nullptr, "This run did not measure its values.");
}

Json LiveSource::info() {
  const RunPlan& plan = trace_->plan();
  Json families = Json::array(), missing = Json::array(), notes = Json::array(), special = Json::object();
  std::string isa = "ref", dtype = "f32";
  bool pair = false;
  for (const TextSegment& segment : plan.text.segments) pair = pair || (segment.name == "second" && segment.role == "text");
  for (const MapFamily& family : plan.families) {
    const FamilyFacts& known = facts(family.name);
    families.push(family_json(known));
    add_limits(known, missing, notes);
    if (known.layers.empty()) continue;
    const LayerMap first = trace_->map(family.name, known.layers[0]);
    if (first.frames().empty()) continue;
    isa = to_string(first.frames()[0].record.stamp.isa);
    dtype = to_string(first.frames()[0].record.stamp.dtype);
  }
  notes.push(format("Weights are exact for the stored Q and K ({}, {}).", dtype, isa));
  if (!options_.model) {
    Json command;  // the model of a step of a run is nowhere else
    if (!options_.is_run) command = format("clearhead view {} \"your text\"", plan.model.empty() ? "MODEL" : plan.model);
    missing.push(Json::object({{"feature", "run"}, {"code", "no-model"}, {"command", command}, {"detail", "A trace holds no model."}}));
  }
  for (size_t i = 0; i < plan.text.ids.size(); ++i) {
    if (plan.text.special[i]) special[std::to_string(plan.text.ids[i])] = plan.text.pieces[i];
  }
  Json checkpoints = Json::array(), traces = Json::array(), chances = Json::array();
  for (const Options::Member& one : options_.together) {
    if (options_.is_run) checkpoints.push(Json::object({{"step", one.number}, {"id", one.id}}));
    if (!options_.is_run) traces.push(Json::object({{"number", one.number}, {"id", one.id}, {"name", one.name}, {"state", one.state}}));
  }
  for (const GeneratedToken& token : trace_->generated_tokens()) chances.push(token.probability);
  const int64_t longest = options_.model ? options_.model->info().longest : 0;
  Json side = Json::object({{"kind", "text"},
                            {"tokens", static_cast<int64_t>(plan.text.ids.size())},
                            {"bytes", static_cast<int64_t>(plan.text.text.size())},
                            {"lang", nullptr}});
  return Json::object({{"protocol", kViewerProtocol},
                       {"clearhead", options_.version},
                       {"source", options_.model ? "live" : "trace"},
                       {"id", id_},
                       {"name", name()},
                       {"command", options_.command},
                       {"sides", Json(Json::Array{side})},
                       {"families", families},
                       {"special", special},
                       {"notes", notes},
                       {"missing", missing},
                       {"can_run", options_.model != nullptr},
                       {"pair", pair},
                       {"max_tokens", longest > 0 ? Json(longest) : Json()},
                       {"generated", chances},
                       {"checkpoints", checkpoints},
                       {"traces", traces},
                       {"step", options_.together.empty() ? Json() : Json(options_.together[options_.at].number)},
                       {"versions", Json::object({{"isa", isa}, {"dtype", dtype}})}});
}

void LiveSource::check_head(const HeadLook& at) {
  const FamilyFacts& known = facts(at.family);
  if (at.layer < 0 || at.layer >= known.shape.layers) {
    fail(ErrorCode::kNotFound, "layer {}: this model has {} layers, 0 to {}.", at.layer, known.shape.layers, known.shape.layers - 1);
  }
  if (at.head < 0 || at.head >= known.shape.heads) {
    fail(ErrorCode::kNotFound, "head {}: a layer of this model has {} heads, 0 to {}.", at.head, known.shape.heads, known.shape.heads - 1);
  }
  if (std::find(known.layers.begin(), known.layers.end(), at.layer) == known.layers.end()) {
    throw NotKept(format("layer {} was not kept; kept are {}.", at.layer, layers_text(known.layers)),
                  keep_command(format("--layers {}", at.layer)));
  }
}

void LiveSource::check_rows(const HeadLook& at, const std::vector<Range>& ranges) {
  const FamilyFacts& known = facts(at.family);
  for (const Range& range : ranges) {
    if (range.begin < 0 || range.end > known.queries || range.size() <= 0) {
      fail(ErrorCode::kInvalidArgument, "q: {}-{} is not a range of the {} queries.", range.begin, range.end, known.queries);
    }
    const bool kept =
        std::any_of(known.rows.begin(), known.rows.end(), [&](const Range& r) { return r.begin <= range.begin && range.end <= r.end; });
    if (!kept) {
      throw NotKept(format("The query vectors of tokens {} to {} were not all kept.", range.begin, range.end - 1),
                    keep_command(format("--rows {}:{}", range.begin, range.end)));
    }
  }
}

void LiveSource::check_all_rows(const HeadLook& at, const char* what) {
  if (facts(at.family).all_rows) return;
  throw NotKept(format("{} needs the query vectors of all tokens; this trace kept those of some.", what), keep_command("--budget 64G"));
}

std::vector<float> LiveSource::norms(const HeadLook& at) {
  if (at.weight == WeightKind::kRaw) return {};
  const KeyNorms& norms = trace_->norms(facts(at.family).shape.name, at.layer);
  const bool value = at.weight == WeightKind::kValue;
  const Tensor& tensor = value ? norms.value : norms.output;
  if (!tensor.defined()) {
    throw NotKept(format("w={}: the lengths of the values were not kept in this trace.", to_string(at.weight)), keep_command(""));
  }
  const MapFamily& shape = facts(at.family).shape;
  const int64_t row = value ? at.head * shape.key_heads / shape.heads : at.head;
  const Tensor line = tensor.select(0, 0).select(0, row).contiguous();
  std::vector<float> out(line.data<float>(), line.data<float>() + line.numel());
  out.resize(static_cast<size_t>(facts(at.family).keys), 0.0f);
  return out;
}

namespace {

// Hands everything on to a trace, reports each layer and stops where the token is set.
class WatchedRun final : public Observer {
 public:
  WatchedRun(Trace& trace, const std::function<void(double, const std::string&)>& progress, const std::atomic<bool>* cancel)
      : trace_(trace), progress_(progress), cancel_(cancel) {}
  void begin(const RunPlan& plan) override {
    layers_ = 0;
    for (const MapFamily& family : plan.families) layers_ += family.layers;
    trace_.begin(plan);
  }
  bool wants(const Site& site) override {
    if (cancel_ && cancel_->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "the run was cancelled");
    ++done_;
    if (progress_) {
      progress_(static_cast<double>(done_ - 1) / static_cast<double>(std::max<int64_t>(1, layers_)),
                format("layer {} of {}", done_, layers_));
    }
    return trace_.wants(site);
  }
  void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override { trace_.take(site, record, norms); }

 private:
  Trace& trace_;
  const std::function<void(double, const std::string&)>& progress_;
  const std::atomic<bool>* cancel_;
  int64_t layers_ = 0, done_ = 0;
};

}  // namespace

void LiveSource::run(const std::string& text, const std::optional<std::string>& pair,
                     const std::function<void(double, const std::string&)>& progress, const std::atomic<bool>* cancel) {
  if (!options_.model)
    throw NotKept("This is a trace: no model is loaded.", format("clearhead view {} \"your text\"", trace_->plan().model));
  if (text.empty()) fail(ErrorCode::kInvalidArgument, "text: is empty; expected some text.");
  EncodeOptions encode;
  if (pair) encode.pair = *pair;
  const Encoding encoding = options_.model->tokenizer().encode(text, encode);
  Trace trace(options_.trace);
  WatchedRun watched(trace, progress, cancel);
  RunOptions run;
  run.observer = &watched;
  run.logits = false;
  run.text = text;
  run.pair = pair;
  options_.model->run(encoding, run);
  Options options = options_;
  const std::string quoted = text.size() <= 80 && text.find_first_of("'\n") == std::string::npos ? format("'{}'", text) : "--file TEXT";
  options.command = format("clearhead view {} {}{}", trace.plan().model, quoted, pair ? " --pair TEXT" : "");
  *this = LiveSource(std::move(trace), std::move(options));
}

}  // namespace clearhead
