// A trace as a safetensors file.
//
//   text                 u8  [bytes]      the text as given, including generated text
//   ids                  i32 [token]      offsets  i64 [token, 2] bytes of text      special  u8 [token]
//   pieces               u8  [bytes]      piece_ends  i64 [token]                    tokens as the vocabulary spells them
//   pictureN             u8  [height, width, 3]                                      the picture that the items of range N are cut from
//   FAMILY.LAYER.k       [batch, key_head, key, d_k]   one tensor for all frames of a layer, or frameN.k for each window; f32, bf16 or
//                                                      f16 as the kernel read it; load() widens it to f32 if q has another dtype
//   FAMILY.LAYER.frameN.q             [batch, head, row, d_k]   f32, bf16 or f16
//   FAMILY.LAYER.frameN.m / .l        f32 [batch, head, row]                                .keys  i64 [key]   for windows
//   FAMILY.LAYER.frameN.used          f32 [batch, head, row]   if the kernel rounded P to bf16 (RowStats::used)
//   FAMILY.LAYER.values / FAMILY.LAYER.frameN.d_out            if gradients were kept (OutputGradient)
//   FAMILY.LAYER.value_norm / .output_norm / .entropy / .received / …   f32
//   FAMILY.LAYER.NAME    the description's operands by name
//
// Metadata: `clearhead_trace: 1`; `plan`: model, families, segments, items, generated tokens; `layers`: for each "FAMILY.LAYER" the
// description, the instruction set, the frames and, if known, the module and whether the statistics are exact; `gradients_of` if
// gradients were kept.
// A weight is P_ij = 2^(scale·log₂e·q_i·k_j + … − m_i) / l_i. docs/trace.md computes it in twenty lines of Python.
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <limits>

#include "base/format.h"
#include "base/json.h"
#include "clearhead/atlas.h"
#include "io/safetensors.h"
#include "observe/trace_items.h"
#include "observe/trace_state.h"

namespace clearhead {
namespace {

Tensor bytes_tensor(const std::string& bytes) {
  return Tensor::from(std::vector<uint8_t>(bytes.begin(), bytes.end()), {static_cast<int64_t>(bytes.size())});
}

std::string layer_name(const LayerKey& key) { return key.first + "." + std::to_string(key.second); }

struct NamedStatistic {
  const char* name;
  Tensor ReductionResult::*tensor;
};
constexpr NamedStatistic kStatistics[] = {{"entropy", &ReductionResult::entropy},        {"distance", &ReductionResult::distance},
                                          {"received", &ReductionResult::received},      {"offset_mass", &ReductionResult::offsets},
                                          {"matches", &ReductionResult::matches},        {"pooled_max", &ReductionResult::pooled_max},
                                          {"pooled_mean", &ReductionResult::pooled_mean}};

Json plan_to_json(const RunPlan& plan, const std::vector<GeneratedToken>& generated) {
  Json json = Json::object({{"model", plan.model}, {"families", Json::array()}, {"segments", Json::array()}, {"generated", Json::array()}});
  for (const MapFamily& family : plan.families) {
    Json item = Json::object({{"name", family.name},
                              {"layers", family.layers},
                              {"heads", family.heads},
                              {"key_heads", family.key_heads},
                              {"d_k", family.d_k},
                              {"queries", family.queries},
                              {"keys", family.keys},
                              {"causal", family.causal}});
    if (family.is_part) {
      item["first_query"] = family.first_query;
      item["first_key"] = family.first_key;
    }
    if (family.segment_length > 0) item["segment_length"] = family.segment_length;
    json["families"].push(std::move(item));
  }
  for (const TextSegment& segment : plan.text.segments) {
    json["segments"].push(Json::object({{"name", segment.name}, {"role", segment.role}, {"begin", segment.begin}, {"end", segment.end}}));
  }
  if (!plan.text.items.empty()) json["items"] = items_to_json(plan.text);
  for (const GeneratedToken& token : generated) {
    json["generated"].push(Json::object({{"id", static_cast<int64_t>(token.id)}, {"probability", token.probability}}));
  }
  return json;
}

void add_text(const RunText& text, io::NamedTensors& tensors) {
  const int64_t count = static_cast<int64_t>(text.ids.size());
  std::vector<int64_t> offsets, ends;
  std::string pieces;
  for (const auto& range : text.offsets) offsets.insert(offsets.end(), range.begin(), range.end());
  for (const std::string& piece : text.pieces) {
    pieces += piece;
    ends.push_back(static_cast<int64_t>(pieces.size()));
  }
  tensors.emplace_back("text", bytes_tensor(text.text));
  tensors.emplace_back("ids", Tensor::from(text.ids, {count}));
  tensors.emplace_back("offsets", Tensor::from(offsets, {count, 2}));
  tensors.emplace_back("special", Tensor::from(text.special, {count}));
  tensors.emplace_back("pieces", bytes_tensor(pieces));
  tensors.emplace_back("piece_ends", Tensor::from(ends, {count}));
  for (size_t i = 0; i < text.items.size(); ++i) {
    if (text.items[i].picture.defined()) tensors.emplace_back(picture_name(i), text.items[i].picture);
    if (text.items[i].boxes.defined()) tensors.emplace_back(boxes_name(i), text.items[i].boxes);
  }
}

Json add_frames(const std::string& name, const LayerTrace& layer, io::NamedTensors& tensors) {
  Json frames = Json::array();
  bool shared = true;
  for (const Frame& frame : layer.frames) shared = shared && frame.keys.empty();
  if (shared && !layer.frames.empty()) tensors.emplace_back(name + ".k", gather_keys(layer.frames.back().record.keys));
  for (size_t i = 0; i < layer.frames.size(); ++i) {
    const Frame& frame = layer.frames[i];
    const std::string own = name + ".frame" + std::to_string(i);
    tensors.emplace_back(own + ".q", frame.record.q);
    tensors.emplace_back(own + ".m", frame.record.rows.m);
    tensors.emplace_back(own + ".l", frame.record.rows.l);
    if (frame.record.rows.used.defined()) tensors.emplace_back(own + ".used", frame.record.rows.used);
    if (frame.gradient.d_out.defined()) tensors.emplace_back(own + ".d_out", frame.gradient.d_out);
    if (!shared) {
      tensors.emplace_back(own + ".k", gather_keys(frame.record.keys));
      std::vector<int64_t> keys = frame.keys;
      if (keys.empty()) {
        for (int64_t j = 0; j < key_length(frame.record.keys); ++j) keys.push_back(j);
      }
      tensors.emplace_back(own + ".keys", Tensor::from(keys, {static_cast<int64_t>(keys.size())}));
    }
    frames.push(Json::object({{"queries", Json(Json::Array{frame.queries.begin, frame.queries.end})},
                              {"first_query", frame.record.first_query},
                              {"query_length", frame.record.query_length},
                              {"k", shared ? name + ".k" : own + ".k"}}));
  }
  if (!layer.frames.empty() && layer.frames[0].gradient.values.defined())
    tensors.emplace_back(name + ".values", layer.frames[0].gradient.values);
  return frames;
}

Json add_statistics(const std::string& name, const ReductionResult& statistics, io::NamedTensors& tensors) {
  for (const auto& [label, member] : kStatistics) {
    if ((statistics.*member).defined()) tensors.emplace_back(name + "." + label, statistics.*member);
  }
  tensors.emplace_back(name + ".statistics_rows", Tensor::from(statistics.queries, {static_cast<int64_t>(statistics.queries.size())}));
  return Json::object({{"exact", statistics.exact}, {"rows_looked_at", statistics.rows_looked_at}});
}

// Reads tensors and metadata of an untrusted file: every count is checked before it is used.
class Reader {
 public:
  explicit Reader(io::SafeTensors file) : file_(std::move(file)) {}
  const std::string& where() const { return file_.where(); }

  Tensor get(const std::string& name, DType dtype, int rank) const {
    const Tensor tensor = file_.get(name);
    if (tensor.dtype() != dtype || tensor.rank() != rank) {
      fail(ErrorCode::kFormat, "{}: tensor \"{}\": expected {} of rank {}, found {} {}", where(), name, to_string(dtype), rank,
           to_string(tensor.dtype()), to_string(tensor.shape()));
    }
    return tensor;
  }
  // Queries or keys: [batch, head, length, d_k] in any dtype that attention accepts.
  Tensor operand(const std::string& name) const {
    const DType dtype = file_.get(name).dtype();
    return get(name, dtype == DType::kBF16 || dtype == DType::kF16 ? dtype : DType::kF32, 4);
  }
  Tensor optional(const std::string& name, int rank) const { return file_.contains(name) ? get(name, DType::kF32, rank) : Tensor(); }
  bool contains(const std::string& name) const { return file_.contains(name); }
  Tensor any(const std::string& name) const { return file_.get(name); }
  Json metadata(const std::string& name) const {
    const auto found = file_.metadata().find(name);
    if (found == file_.metadata().end()) fail(ErrorCode::kFormat, "{}: metadata \"{}\" is missing", where(), name);
    return Json::parse(found->second, where() + ": " + name);
  }
  const std::map<std::string, std::string>& all_metadata() const { return file_.metadata(); }
  std::string text(const std::string& name) const {
    const Tensor tensor = get(name, DType::kU8, 1);
    return {reinterpret_cast<const char*>(tensor.raw()), static_cast<size_t>(tensor.size(0))};
  }
  void expect(bool holds, const std::string& what) const {
    if (!holds) fail(ErrorCode::kFormat, "{}: {}", where(), what);
  }

 private:
  io::SafeTensors file_;
};

template <class T>
std::vector<T> values_of(const Tensor& tensor) {
  const Tensor dense = tensor.contiguous();
  return {dense.data<T>(), dense.data<T>() + dense.numel()};
}

RunText read_text(const Reader& file) {
  RunText text;
  text.text = file.text("text");
  text.ids = values_of<int32_t>(file.get("ids", DType::kI32, 1));
  const size_t count = text.ids.size();
  const std::vector<int64_t> offsets = values_of<int64_t>(file.get("offsets", DType::kI64, 2));
  text.special = values_of<uint8_t>(file.get("special", DType::kU8, 1));
  const std::string pieces = file.text("pieces");
  const std::vector<int64_t> ends = values_of<int64_t>(file.get("piece_ends", DType::kI64, 1));
  file.expect(offsets.size() == 2 * count && text.special.size() == count && ends.size() == count,
              "ids, offsets, special and piece_ends have different lengths");
  int64_t begin = 0;
  for (size_t i = 0; i < count; ++i) {
    const std::array<int64_t, 2> range{offsets[2 * i], offsets[2 * i + 1]};
    file.expect(range[0] >= 0 && range[0] <= range[1] && range[1] <= static_cast<int64_t>(text.text.size()),
                format("offsets of token {} are [{}, {}), but the text has {} bytes", i, range[0], range[1], text.text.size()));
    file.expect(ends[i] >= begin && ends[i] <= static_cast<int64_t>(pieces.size()),
                format("piece_ends of token {} is {}; expected ascending offsets within pieces", i, ends[i]));
    text.offsets.push_back(range);
    text.pieces.push_back(pieces.substr(static_cast<size_t>(begin), static_cast<size_t>(ends[i] - begin)));
    begin = ends[i];
  }
  return text;
}

RunPlan read_plan(const Reader& file, std::vector<GeneratedToken>& generated) {
  const Json json = file.metadata("plan");
  Fields fields(json, file.where(), "plan");
  RunPlan plan;
  plan.model = fields.string_or("model", "");
  plan.text = read_text(file);
  const int64_t tokens = static_cast<int64_t>(plan.text.ids.size());
  for (const Json& item : fields.items("families")) {
    Fields family(item, file.where(), "plan.families");
    MapFamily out;
    out.name = family.string_or("name", "");
    const int64_t layers = family.integer("layers");
    out.heads = family.integer("heads");
    out.key_heads = family.integer("key_heads");
    out.d_k = family.integer("d_k");
    out.queries = family.integer("queries");
    out.keys = family.integer("keys");
    out.causal = family.boolean_or("causal", false);
    out.is_part = item.find("first_query") || item.find("first_key");
    out.first_query = family.integer_or("first_query", 0);
    out.first_key = family.integer_or("first_key", 0);
    out.segment_length = family.integer_or("segment_length", 0);
    family.refuse_rest();
    constexpr int64_t kMost = 100000;  // layers, heads or channels: keeps their sums and products from overflowing
    out.layers = static_cast<int>(std::clamp<int64_t>(layers, 0, kMost));
    file.expect(layers == out.layers && layers > 0 && out.heads > 0 && out.heads <= kMost && out.key_heads > 0 &&
                    out.heads % out.key_heads == 0 && layers * out.heads <= 100 * kMost && out.d_k > 0 && out.d_k <= kMost &&
                    out.queries >= 0 && out.first_query >= 0 && out.first_query <= tokens && out.queries <= tokens - out.first_query &&
                    out.keys >= 0 && out.first_key >= 0 && out.first_key <= tokens && out.keys <= tokens - out.first_key &&
                    out.segment_length >= 0,
                format("plan.families: \"{}\" has sizes that do not fit its {} tokens", out.name, tokens));
    plan.families.push_back(out);
  }
  file.expect(!plan.families.empty(), "plan.families is empty");
  for (const Json& item : fields.items("segments")) {
    Fields segment(item, file.where(), "plan.segments");
    TextSegment out{segment.string_or("name", ""), segment.string_or("role", ""), segment.integer("begin"), segment.integer("end")};
    segment.refuse_rest();
    file.expect(out.begin >= 0 && out.begin <= out.end && out.end <= tokens,
                format("plan.segments: \"{}\" lies outside the text", out.name));
    plan.text.segments.push_back(out);
  }
  if (const Json* items = fields.take("items")) {
    plan.text.items = items_from_json(*items, file.where(), [&](const std::string& name) { return file.any(name); });
    const std::string problem = problem_with_items(plan.text);
    file.expect(problem.empty(), "plan.items: " + problem);
  }
  const Json::Array& made = fields.items("generated");
  file.expect(static_cast<int64_t>(made.size()) <= plan.text.tokens(), "plan.generated has more tokens than the text");
  for (size_t i = 0; i < made.size(); ++i) {
    Fields token(made[i], file.where(), "plan.generated");
    const size_t at = static_cast<size_t>(plan.text.tokens()) - made.size() + i;
    const auto [begin, end] = plan.text.offsets[at];
    const int64_t id = token.integer("id");
    file.expect(id == plan.text.ids[at],
                format("plan.generated: token {} has id {}; token {} of the text has id {}", i, id, at, plan.text.ids[at]));
    generated.push_back({plan.text.ids[at], plan.text.pieces[at],
                         plan.text.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
                         static_cast<float>(token.number_or("probability", std::numeric_limits<double>::quiet_NaN()))});
    token.refuse_rest();
  }
  fields.refuse_rest();
  return plan;
}

InstructionSet isa_from(const std::string& name, const Reader& file) {
  for (const InstructionSet isa : {InstructionSet::kReference, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (name == to_string(isa)) return isa;
  }
  fail(ErrorCode::kUnsupported, "{}: instruction set \"{}\" is not known to this version", file.where(), name);
}

Frame read_frame(const Reader& file, const std::string& own, const Json& item, const AttentionSpec& spec, InstructionSet isa,
                 int64_t tokens) {
  Fields fields(item, file.where(), own);
  Frame frame;
  const Json::Array& queries = fields.items("queries");
  file.expect(queries.size() == 2 && queries[0].is_integer() && queries[1].is_integer(), own + ".queries: expected [begin, end]");
  frame.queries = {queries[0].integer(), queries[1].integer()};
  AttentionRecord& record = frame.record;
  record.spec = spec;
  record.q = file.operand(own + ".q");
  record.rows = {.m = file.get(own + ".m", DType::kF32, 3), .l = file.get(own + ".l", DType::kF32, 3)};
  if (file.contains(own + ".used")) record.rows.used = file.get(own + ".used", DType::kF32, 3);
  Tensor k = file.operand(fields.string_or("k", ""));
  if (k.dtype() != record.q.dtype()) k = to_f32(k);  // from 16-bit pages
  record.keys = k;
  record.first_query = fields.integer("first_query");
  record.query_length = fields.integer("query_length");
  fields.refuse_rest();
  file.expect(record.q.size(0) == 1, own + ": q has more than one sequence; a trace contains one text");
  const Shape rows{record.q.size(0), record.q.size(1), record.q.size(2)};
  const bool used_fits = !record.rows.used.defined() || record.rows.used.shape() == rows;
  file.expect(record.rows.m.shape() == rows && record.rows.l.shape() == rows && used_fits && record.q.size(0) == k.size(0) &&
                  k.size(1) > 0 && record.q.size(1) % k.size(1) == 0 && record.q.size(3) == k.size(3) && record.q.size(0) > 0,
              own + ": q, k, m and l have shapes that do not fit each other");
  if (std::holds_alternative<Sparsemax>(spec.normaliser) || std::holds_alternative<Entmax15>(spec.normaliser)) {
    const float* distance = record.rows.l.data<float>();
    file.expect(std::none_of(distance, distance + record.rows.l.numel(), [](float l) { return l > 0; }),
                own + ".l: a row of a sparse normaliser has its threshold above its largest score; expected numbers of at most 0");
  }
  const auto lies_in = [](Range range, int64_t length) { return range.begin >= 0 && range.begin <= range.end && range.end <= length; };
  file.expect(lies_in(frame.queries, tokens) && frame.queries.size() == record.q.size(2),
              format("{}: queries [{}, {}) do not match its {} rows, or are not inside the text of {} tokens", own, frame.queries.begin,
                     frame.queries.end, record.q.size(2), tokens));
  file.expect(lies_in({record.first_query, record.query_length}, tokens) && record.q.size(2) <= record.query_length - record.first_query,
              format("{}: first_query {} and query_length {} leave no room for its {} rows, or are not inside the text of {} tokens", own,
                     record.first_query, record.query_length, record.q.size(2), tokens));
  if (file.contains(own + ".keys")) frame.keys = values_of<int64_t>(file.get(own + ".keys", DType::kI64, 1));
  file.expect(frame.keys.empty() ? k.size(2) <= tokens : static_cast<int64_t>(frame.keys.size()) == k.size(2),
              own + ": the number of keys does not match k");
  for (const int64_t key : frame.keys) file.expect(key >= 0 && key < tokens, own + ": a key lies outside the text");
  validate(record.spec, record.shape());
  record.stamp = stamp_now(record.spec, record.q, record.keys, isa);
  return frame;
}

// Either all frames of a layer have gradients, over the same values, or none has.
void read_gradients(const Reader& file, const std::string& name, LayerTrace& layer) {
  if (!file.contains(name + ".values")) return;
  file.expect(file.all_metadata().count("gradients_of") > 0,
              name + ".values: metadata \"gradients_of\", which names the number that was differentiated, is missing");
  const Tensor values = file.operand(name + ".values");
  for (size_t i = 0; i < layer.frames.size(); ++i) {
    const std::string own = name + ".frame" + std::to_string(i);
    const AttentionRecord& record = layer.frames[i].record;
    const Tensor d_out = file.get(own + ".d_out", DType::kF32, 4);
    file.expect(d_out.size(0) == 1 && d_out.size(1) == record.q.size(1) && d_out.size(2) == record.q.size(2) && values.size(0) == 1 &&
                    values.size(1) == key_heads(record.keys) && values.size(2) == key_length(record.keys) && d_out.size(3) > 0 &&
                    values.size(3) == d_out.size(3),
                format("{}.d_out is {} and {}.values {}; they do not fit its q and k", own, to_string(d_out.shape()), name,
                       to_string(values.shape())));
    layer.frames[i].gradient = {d_out, values};
  }
}

// Reads what head_scores() needs: every statistic of atlas_request(), for the family's heads. The pooled maps may be missing.
ReductionResult read_statistics(const Reader& file, const std::string& name, const Json& json, const MapFamily& family, int64_t tokens) {
  Fields fields(json, file.where(), name + ".statistics");
  ReductionResult out;
  out.exact = fields.boolean_or("exact", true);
  out.rows_looked_at = fields.integer_or("rows_looked_at", 0);
  fields.refuse_rest();
  out.queries = values_of<int64_t>(file.get(name + ".statistics_rows", DType::kI64, 1));
  const ReductionRequest request = atlas_request({});
  const int64_t heads = family.heads, rows = static_cast<int64_t>(out.queries.size()),
                matches = static_cast<int64_t>(request.matches.size());
  const auto [row_cells, key_cells] = request.cells;
  const Shape shapes[] = {{1, heads, rows},
                          {1, heads, rows},
                          {1, heads, -1},
                          {1, heads, 2 * request.offset_reach + 1},
                          {matches, 1, heads, rows},
                          {1, heads, row_cells, key_cells},
                          {1, heads, row_cells, key_cells}};  // in the order of kStatistics; −1: any size
  static_assert(std::size(shapes) == std::size(kStatistics));
  for (size_t i = 0; i < std::size(kStatistics); ++i) {
    const std::string label = name + "." + kStatistics[i].name;
    const bool is_cells = kStatistics[i].tensor == &ReductionResult::pooled_max || kStatistics[i].tensor == &ReductionResult::pooled_mean;
    if (is_cells && !file.contains(label)) continue;
    const Tensor tensor = file.get(label, DType::kF32, static_cast<int>(shapes[i].size()));
    for (size_t d = 0; d < shapes[i].size(); ++d) {
      file.expect(shapes[i][d] < 0 || tensor.size(static_cast<int>(d)) == shapes[i][d],
                  label + " has a shape that does not match the rows, heads and keys of its layer");
    }
    out.*kStatistics[i].tensor = tensor;
  }
  const int64_t keys = out.received.size(2);
  file.expect(keys <= tokens, name + ".received has more keys than the text has tokens");
  for (size_t r = 0; r < out.queries.size(); ++r) {
    file.expect(out.queries[r] >= (r == 0 ? 0 : out.queries[r - 1] + 1) && out.queries[r] < keys,
                name + ".statistics_rows: expected ascending rows of the map");
  }
  return out;
}

// Checks the frames against each other and against the plan. Later code (LayerMap, statistics, views) relies on the map's numbers
// of queries and keys and does not check again.
void check_frames(const Reader& file, const std::string& name, const LayerTrace& layer, const MapFamily& family, int64_t tokens) {
  file.expect(!layer.frames.empty(), name + ": has no frames");
  const Frame& last = layer.frames.back();
  const bool named = !last.keys.empty();
  int64_t queries = family.is_part ? tokens : family.queries, keys = family.is_part ? tokens : family.keys;
  if (!named) {  // generated tokens add rows and keys to those of the plan
    queries = std::max(queries, last.record.query_length);
    keys = std::max(keys, key_length(last.record.keys));
  }
  for (size_t i = 0; i < layer.frames.size(); ++i) {
    const Frame& frame = layer.frames[i];
    const std::string own = name + ".frame" + std::to_string(i);
    const AttentionRecord& record = frame.record;
    file.expect(record.q.size(1) == family.heads && key_heads(record.keys) == family.key_heads && record.q.size(3) == family.d_k,
                own + ": its heads or channels differ from the plan's");
    file.expect(i == 0 || layer.frames[i - 1].queries.end <= frame.queries.begin, own + ": overlaps the previous frame or precedes it");
    file.expect(frame.queries.end <= queries, format("{}: its queries end at {}, but the map has {}", own, frame.queries.end, queries));
    file.expect(frame.keys.empty() != named || key_length(record.keys) == 0, own + ": some frames list their keys, and others do not");
    file.expect(named || key_length(record.keys) <= keys,
                format("{}: has {} keys, but the map has {}", own, key_length(record.keys), keys));
    for (const int64_t key : frame.keys) file.expect(key < keys, format("{}: lists key {}, but the map has {} keys", own, key, keys));
  }
  for (const auto& [norm, heads] : {std::pair{layer.norms.value, family.key_heads}, std::pair{layer.norms.output, family.heads}}) {
    file.expect(
        !norm.defined() || norm.shape() == Shape{1, heads, keys},
        format("{}: norms are {}, but the map has {} heads and {} keys", name, norm.defined() ? to_string(norm.shape()) : "", heads, keys));
  }
  if (!layer.statistics) return;
  const int64_t known = layer.statistics->received.size(2);
  file.expect(family.is_part ? known == keys : known <= keys,
              format("{}: the statistics have {} keys, but the map has {}", name, known, keys));
}

LayerTrace read_layer(const Reader& file, const std::string& name, const Json& json, const MapFamily& family, int64_t tokens) {
  Fields fields(json, file.where(), name);
  LayerTrace layer;
  const InstructionSet isa = isa_from(fields.string_or("isa", ""), file);
  const std::string spec_text = fields.require("spec").dump();
  const AttentionSpec spec =
      spec_from_json(spec_text, file.where() + ": " + name, [&](const std::string& operand) { return file.any(name + "." + operand); });
  const Json::Array& frames = fields.items("frames");
  for (size_t i = 0; i < frames.size(); ++i) {
    layer.frames.push_back(read_frame(file, name + ".frame" + std::to_string(i), frames[i], spec, isa, tokens));
  }
  layer.module = fields.string_or("module", "");
  if (const Json* statistics = fields.take("statistics")) layer.statistics = read_statistics(file, name, *statistics, family, tokens);
  fields.refuse_rest();
  layer.norms = {file.optional(name + ".value_norm", 3), file.optional(name + ".output_norm", 3)};
  check_frames(file, name, layer, family, tokens);
  read_gradients(file, name, layer);
  return layer;
}

}  // namespace

void Trace::save(const std::string& path) const {
  io::NamedTensors tensors;
  Json layers = Json::object();
  add_text(state_->plan.text, tensors);
  for (auto& [key, layer] : state_->layers) {
    join_steps(layer);
    if (layer.frames.empty()) continue;
    const std::string name = layer_name(key);
    const AttentionRecord& record = layer.frames[0].record;
    Json entry = Json::object({{"spec", Json::parse(to_json(record.spec), "spec")},
                               {"isa", to_string(record.stamp.isa)},
                               {"frames", add_frames(name, layer, tensors)}});
    for_each_operand(record.spec,
                     [&](const std::string& operand, const Tensor& tensor) { tensors.emplace_back(name + "." + operand, tensor); });
    if (layer.norms.value.defined()) tensors.emplace_back(name + ".value_norm", layer.norms.value);
    if (layer.norms.output.defined()) tensors.emplace_back(name + ".output_norm", layer.norms.output);
    if (!layer.module.empty()) entry["module"] = layer.module;
    if (layer.statistics) entry["statistics"] = add_statistics(name, *layer.statistics, tensors);
    layers[name] = std::move(entry);
  }
  std::map<std::string, std::string> metadata{
      {"clearhead_trace", "1"}, {"plan", plan_to_json(state_->plan, state_->generated).dump()}, {"layers", layers.dump()}};
  if (!gradients_of().empty()) metadata["gradients_of"] = gradients_of();
  io::write_safetensors(path, tensors, metadata);
}

Trace Trace::load(const std::string& path) {
  const Reader file(io::SafeTensors::open(path));
  const auto version = file.all_metadata().find("clearhead_trace");
  if (version == file.all_metadata().end()) {
    fail(ErrorCode::kFormat, "{}: is a safetensors file but not a trace: its metadata has no \"clearhead_trace\"", path);
  }
  if (version->second != "1") {
    fail(ErrorCode::kUnsupported, "{}: trace version \"{}\"; this version of clearhead reads version 1", path, version->second);
  }
  Trace trace;
  State& state = *trace.state_;
  state.plan = read_plan(file, state.generated);
  const auto answer = file.all_metadata().find("gradients_of");
  if (answer != file.all_metadata().end()) state.options.gradients_of = answer->second;
  const int64_t tokens = static_cast<int64_t>(state.plan.text.ids.size());
  const Json layers = file.metadata("layers");
  for (const MapFamily& family : state.plan.families) {
    for (int layer = 0; layer < family.layers; ++layer) {
      const std::string name = layer_name({family.name, layer});
      if (const Json* entry = layers.find(name)) state.layers[{family.name, layer}] = read_layer(file, name, *entry, family, tokens);
    }
  }
  for (const auto& [name, entry] : layers.fields()) {
    const size_t dot = name.rfind('.');
    const bool known = dot != std::string::npos && state.layers.count({name.substr(0, dot), std::atoi(name.c_str() + dot + 1)}) > 0;
    if (!known) fail(ErrorCode::kFormat, "{}: layers: \"{}\" is not a layer of the plan", path, name);
  }
  return trace;
}

}  // namespace clearhead
