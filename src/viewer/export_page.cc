// The data of an offline page: as many of the traces' maps as the budget allows. Several traces share the budget: the shortest text comes
// first, and each trace gets at most an equal share of what is left. page_files.cc writes the page and the folder of a site.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <span>

#include "backends/oracle.h"
#include "base/format.h"
#include "base/parallel.h"
#include "observe/trace_state.h"
#include "spec/visible.h"
#include "viewer/export.h"
#include "viewer/head_statistics.h"
#include "viewer/page_contents.h"
#include "viewer/questions/atlas.h"
#include "viewer/questions/info.h"
#include "viewer/questions/mass.h"
#include "viewer/questions/text.h"
#include "viewer/questions/tiles.h"
#include "viewer/view_state.h"

namespace clearhead::viewer {
namespace {

constexpr int64_t kOverviewSide = 256;
constexpr int64_t kStatisticBins = 256, kFewStatisticBins = 64;
constexpr int64_t kWatchedRows = 1024;
constexpr int64_t kTop = 32, kTopOfAll = 8;
constexpr uint64_t kMostWeights = 200'000'000;  // limit for tier A, whatever the budget: a browser must still open the page
constexpr double kDeflatesTo = 0.25;            // best compression ratio to hope for with codes of weights
constexpr double kFloatsDeflateTo = 0.7;        // and with visible weights as f32

constexpr double kHopeless = 1.25;  // give up tier A if the extrapolated size exceeds the room by this factor

std::string head_path(const char* what, const HeadLook& at) { return format("{}/{}/{}/{}", what, at.family, at.layer, at.head); }

}  // namespace

// Collects the contents of a page for one trace.
class TraceWriter {
 public:
  TraceWriter(LoadedTrace& loaded, const ExportOptions& options, std::string state, BlobPlace place, size_t first_blob)
      : loaded_(loaded), options_(options), opens_with_(std::move(state)), state_(parse_state(opens_with_)), blobs_(place, first_blob) {}
  /// Returns 0 and stays within `most` bytes. If not even the text and the statistics fit, returns the number of missing bytes.
  uint64_t write(uint64_t most);
  Json manifest();
  PageBlobs& blobs() { return blobs_; }
  char tier() const { return tier_; }
  const std::vector<std::string>& holds() const { return holds_; }

 private:
  void add_statistics(const FamilyFacts& known);
  void add_segment_masses(const FamilyFacts& known);
  bool add_all_weights();
  bool add_weights(bool exact, const std::vector<WeightKind>& kinds);
  bool holds(const char* what) const { return std::find(holds_.begin(), holds_.end(), what) != holds_.end(); }
  ViewFrame weights_frame(const LayerMap& map, const HeadLook& at, const FamilyFacts& known, bool exact);
  void add_heads(const FamilyFacts& known);
  ViewFrame top_frame(const HeadLook& at, const FamilyFacts& known, const std::vector<Range>& rows, int64_t top);
  ViewFrame top_frame_of_all(const HeadLook& at, const FamilyFacts& known, int64_t top);
  ViewFrame qk_frame(const HeadLook& at, const FamilyFacts& known, const std::vector<Range>& rows);
  bool add_qk(const HeadLook& at, const FamilyFacts& known, const std::vector<Range>& watched);
  std::vector<HeadLook> heads_in_order(const FamilyFacts& known);
  std::vector<Range> watched_rows(const FamilyFacts& known) const;
  bool has_all_statistics(const FamilyFacts& known, int layer);
  void hold(const std::string& what) {
    if (std::find(holds_.begin(), holds_.end(), what) == holds_.end()) holds_.push_back(what);
  }
  bool affordable(const FamilyFacts& known) {
    const double work = static_cast<double>(known.queries) * static_cast<double>(known.keys) * static_cast<double>(known.shape.d_k + 24);
    if (work_ + work > options_.most_work) return false;
    work_ += work;
    return true;
  }
  // Options for long computations. They report progress while they run, so that an export yields to other requests.
  LookOptions looks() const {
    return {.cancel = options_.look.cancel, .progress = [this](double) {
              if (options_.look.progress) options_.look.progress(done_);
            }};
  }
  void tell(double done) {
    done_ = done;
    if (options_.look.cancel && options_.look.cancel->load(std::memory_order_relaxed))
      fail(ErrorCode::kCancelled, "the export was cancelled");
    if (options_.look.progress) options_.look.progress(done);
  }

  LoadedTrace& loaded_;
  const ExportOptions& options_;
  std::string opens_with_;
  ViewState state_;
  PageBlobs blobs_;
  std::vector<std::string> holds_;
  char tier_ = 'A';
  double all_weights_ = 0;  // number of weights of all heads that were kept
  uint64_t room_ = 0;       // available bytes for blobs
  double work_ = 0;
  double done_ = 0;  // last reported progress
  int64_t heads_held_ = 0;
};

bool TraceWriter::has_all_statistics(const FamilyFacts& known, int layer) {
  for (int64_t head = 0; head < known.shape.heads; ++head) {
    if (!loaded_.find_statistics(known.shape.name, layer, head)) return false;
  }
  return true;
}

void TraceWriter::add_statistics(const FamilyFacts& known) {
  const MapFamily& shape = known.shape;
  const int64_t heads = shape.layers * shape.heads;
  const int64_t most = heads > 64 ? kFewStatisticBins : kStatisticBins;
  std::vector<HeadStatistics> all;
  std::array<std::vector<float>, 3> lines;
  std::array<int64_t, 3> bins{std::min(most, known.queries), std::min(most, known.keys), std::min(most, known.queries)};
  constexpr const char* kNames[] = {"entropy", "received", "distance"};
  for (int layer = 0; layer < shape.layers; ++layer) {
    const bool kept = std::find(known.layers.begin(), known.layers.end(), layer) != known.layers.end();
    if (kept && !has_all_statistics(known, layer)) loaded_.compute_statistics(shape.name, layer, {0, shape.heads}, looks());
    for (int64_t head = 0; head < shape.heads; ++head) {
      if (!kept) {
        for (size_t i = 0; i < 3; ++i) lines[i].insert(lines[i].end(), static_cast<size_t>(bins[i]), 0.0f);
        continue;
      }
      all.push_back(questions::head_statistics(loaded_, shape.name, layer, head, looks()));
      const ViewFrame frame = questions::stats(loaded_, {shape.name, layer, head}, most, looks());
      for (size_t i = 0; i < 3; ++i) {
        const std::string& bytes = frame.arrays[i].bytes;
        std::vector<float> line(static_cast<size_t>(bins[i]), 0.0f);
        std::copy_n(reinterpret_cast<const float*>(bytes.data()), std::min(line.size(), bytes.size() / 4), line.begin());
        lines[i].insert(lines[i].end(), line.begin(), line.end());
      }
    }
    tell(0.5 * static_cast<double>(layer + 1) / static_cast<double>(shape.layers));
  }
  if (all.empty()) return;
  blobs_.add("atlas/" + shape.name, questions::heads_frame(shape.name, -1, all));
  ViewFrame stats;
  stats.header = Json::object({{"family", shape.name}, {"badge", "exact"}});
  for (size_t i = 0; i < 3; ++i) stats.add(kNames[i], lines[i], {shape.layers, shape.heads, bins[i]});
  blobs_.add("stats/" + shape.name, stats);
  hold("atlas");
  hold("stats");
}

void TraceWriter::add_segment_masses(const FamilyFacts& known) {
  const Json named = questions::segments(loaded_, 0);
  std::vector<Range> segments;
  for (const Json& item : named.find("segments")->items()) segments.push_back({item.find("begin")->integer(), item.find("end")->integer()});
  const int64_t count = static_cast<int64_t>(segments.size()), heads = known.shape.layers * known.shape.heads;
  if (known.shape.is_part) return;  // its maps cover one range of queries and one of keys, not all segments of the text
  if (count == 0 || !known.all_rows || count * count * heads > 4'000'000) return;
  const double pairs = static_cast<double>(known.queries) * static_cast<double>(known.keys) * static_cast<double>(heads * known.shape.d_k);
  if (pairs > options_.most_work) return;
  std::vector<float> mass(static_cast<size_t>(heads * count * count), 0.0f);
  for (int64_t from = 0; from < count; ++from) {
    for (int64_t to = 0; to < count; ++to) {
      const ViewFrame frame =
          questions::mass(loaded_, {known.shape.name, {segments[static_cast<size_t>(from)]}, {segments[static_cast<size_t>(to)]}}, looks());
      const float* values = reinterpret_cast<const float*>(frame.arrays[0].bytes.data());
      for (int64_t h = 0; h < heads; ++h) mass[static_cast<size_t>((h * count + from) * count + to)] = values[h];
    }
    tell(0.5);
  }
  ViewFrame frame;
  frame.header = Json::object({{"family", known.shape.name}, {"badge", "exact"}});
  frame.add("mass", mass, {known.shape.layers, known.shape.heads, count, count});
  blobs_.add("segmass/" + known.shape.name, frame);
  hold("segmass");
}

ViewFrame TraceWriter::weights_frame(const LayerMap& map, const HeadLook& at, const FamilyFacts& known, bool exact) {
  const Tile tile = map.tile(at.head, {.queries = {0, known.queries}, .keys = {0, known.keys}}, {.cancel = options_.look.cancel});
  const std::span<const float> weights(tile.max.data<float>(), static_cast<size_t>(tile.max.numel()));
  ViewFrame frame;
  frame.header = Json::object({{"family", at.family}, {"layer", at.layer}, {"head", at.head}, {"badge", exact ? "exact" : "quantised"}});
  if (exact) {
    frame.add("weights", weights, {known.queries, known.keys});
  } else {
    const Codes codes = quantise(weights, Scale::kLog);
    frame.header["codes"] = questions::codes_json(codes);
    frame.add("weights", codes.values, {known.queries, known.keys});
  }
  return frame;
}

namespace {

// The number of pairs of a head that its attention spec makes visible.
double visible_pairs(const LayerMap& map) {
  double pairs = 0;
  for (const Frame& frame : map.frames()) {
    for (const int64_t seen : rows_that_see(frame.record, 0)) pairs += static_cast<double>(seen);
  }
  return pairs;
}

}  // namespace

// Tier A: all weights of all heads, as f32 or else as codes; adds nothing if they do not fit.
bool TraceWriter::add_all_weights() {
  double weights = 0, visible = 0;
  for (const MapFamily& family : loaded_.trace().plan().families) {
    const FamilyFacts& known = loaded_.facts(family.name);
    all_weights_ = std::numeric_limits<double>::infinity();  // stays infinite if Q was not kept for all rows of this family
    if (!known.all_rows) return false;
    const double heads = static_cast<double>(known.layers.size()) * static_cast<double>(family.heads);
    weights += heads * static_cast<double>(known.queries) * static_cast<double>(known.keys);
    if (!known.layers.empty()) visible += heads * visible_pairs(loaded_.trace().map(family.name, known.layers[0]));
  }
  all_weights_ = weights;
  if (weights > static_cast<double>(kMostWeights)) return false;
  const double room = static_cast<double>(room_) * 3 / 4;  // base64
  const auto add = [&](const std::vector<WeightKind>& kinds) {
    const auto times = static_cast<double>(kinds.size());
    if (times * weights > static_cast<double>(kMostWeights)) return false;
    if (times * visible * 4 * kFloatsDeflateTo <= room && add_weights(true, kinds)) return true;
    return times * weights * kDeflatesTo <= room && add_weights(false, kinds);
  };
  if (!loaded_.trace().gradients_of().empty() && add({WeightKind::kRaw, WeightKind::kFor, WeightKind::kAgainst})) {
    hold("gradients");
    return true;
  }
  return add({WeightKind::kRaw});
}

bool TraceWriter::add_weights(bool exact, const std::vector<WeightKind>& kinds) {
  const char* name = exact ? "exact" : "weights";
  const PageBlobs::Mark before = blobs_.mark();
  const double all = all_weights_ * static_cast<double>(kinds.size());
  double done = 0;
  for (const MapFamily& family : loaded_.trace().plan().families) {
    const FamilyFacts& known = loaded_.facts(family.name);
    for (const int layer : known.layers) {
      for (const WeightKind kind : kinds) {
        if (is_gradient(kind) && !known.gradients) continue;
        const LayerMap map = questions::map_of(loaded_, {family.name, layer, 0, kind});
        const std::string end = is_gradient(kind) ? std::string("/") + to_string(kind) : "";
        std::vector<std::string> bodies(static_cast<size_t>(family.heads));
        const auto make = [&](int64_t head, int) {
          bodies[static_cast<size_t>(head)] = PageBlobs::body_of(weights_frame(map, {family.name, layer, head}, known, exact));
        };
        for (int64_t head = 0; head < family.heads && map.look(); ++head) make(head, 0);  // a gradient map is itself computed in parallel
        if (!map.look()) parallel_for(family.heads, make);
        for (int64_t head = 0; head < family.heads; ++head) {
          if (!blobs_.add_within(head_path(name, {family.name, layer, head}) + end, std::move(bodies[static_cast<size_t>(head)]), room_)) {
            blobs_.back_to(before);
            return false;
          }
        }
        done += static_cast<double>(family.heads) * static_cast<double>(known.queries) * static_cast<double>(known.keys);
        if (static_cast<double>(blobs_.size() - before.bytes) * all / done > kHopeless * static_cast<double>(room_)) {
          blobs_.back_to(before);
          return false;
        }
        tell(0.75);
      }
    }
  }
  hold(name);
  return true;
}

std::vector<Range> TraceWriter::watched_rows(const FamilyFacts& known) const {
  std::vector<Range> wanted = state_.queries;
  wanted.push_back({std::max<int64_t>(0, known.queries - kWatchedRows), known.queries});
  std::sort(wanted.begin(), wanted.end(), [](Range a, Range b) { return a.begin < b.begin; });
  std::vector<Range> out;
  for (const Range& range : wanted) {
    for (const Range& kept : known.rows) {
      Range both{std::max({range.begin, kept.begin, out.empty() ? 0 : out.back().end}), std::min(range.end, kept.end)};
      if (both.size() > 0) out.push_back(both);
    }
  }
  return out;
}

namespace {

// The heaviest keys of rows, the same number for each row.
struct TopKeys {
  std::vector<uint32_t> rows{}, keys{};
  std::vector<float> weights{}, sink_mass{};

  void add(float weight, int64_t key) {
    keys.push_back(weight > 0 ? static_cast<uint32_t>(key) : 0);
    weights.push_back(weight);
  }
  ViewFrame frame(const HeadLook& at, int64_t top) const {
    const auto count = static_cast<int64_t>(rows.size());
    ViewFrame out;
    out.header = Json::object({{"family", at.family}, {"layer", at.layer}, {"head", at.head}, {"badge", "top-k"}, {"top", top}});
    out.add("rows", rows);
    out.add("keys", keys, {count, top});
    out.add("weights", weights, {count, top});
    out.add("sink_mass", sink_mass);
    return out;
  }
};

}  // namespace

// Uses one reduction over the head. It selects keys by their scores and computes only the weights of the selected keys.
ViewFrame TraceWriter::top_frame_of_all(const HeadLook& at, const FamilyFacts& known, int64_t top) {
  const LayerMap map = loaded_.trace().map(at.family, at.layer);
  ReductionRequest request;
  request.top_k = top;
  request.heads = {at.head, at.head + 1};
  const ReductionResult found = map.reduce(request, looks());
  tell(0.75);
  TopKeys out;
  const int32_t* keys = found.top_keys.data<int32_t>();
  const float* weights = found.top_weights.data<float>();
  for (const int64_t row : found.queries) {
    out.rows.push_back(static_cast<uint32_t>(row));
    for (int64_t place = 0; place < top; ++place) out.add(*weights++, *keys++);
  }
  std::vector<double> at_sinks(found.queries.size(), 0.0);
  for (const int64_t sink : known.sinks) {
    const std::vector<float> column = map.column(at.head, sink, {0, known.queries});
    for (size_t i = 0; i < found.queries.size(); ++i) {
      const float weight = column[static_cast<size_t>(found.queries[i])];
      at_sinks[i] += weight > 0 ? static_cast<double>(weight) : 0.0;
    }
  }
  out.sink_mass.assign(at_sinks.begin(), at_sinks.end());
  return out.frame(at, top);
}

namespace {

using WeightOfKey = std::pair<float, int64_t>;

// The `top` heaviest keys of a row, ties in order of position; padded with keys of weight 0.
std::vector<WeightOfKey> heaviest(const float* row, int64_t keys, int64_t top) {
  const auto heavier = [](const WeightOfKey& a, const WeightOfKey& b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
  };
  std::vector<WeightOfKey> best;  // a heap with the lightest key in front
  float least = 0;
  for (int64_t j = 0; j < keys; ++j) {
    if (!(row[j] > least)) continue;
    best.emplace_back(row[j], j);
    std::push_heap(best.begin(), best.end(), heavier);
    if (static_cast<int64_t>(best.size()) > top) {
      std::pop_heap(best.begin(), best.end(), heavier);
      best.pop_back();
    }
    if (static_cast<int64_t>(best.size()) == top) least = best.front().first;
  }
  std::sort(best.begin(), best.end(), heavier);
  best.resize(static_cast<size_t>(top));
  return best;
}

}  // namespace

// Computes blocks of rows, large enough for all threads but at most 64 MiB of weights.
ViewFrame TraceWriter::top_frame(const HeadLook& at, const FamilyFacts& known, const std::vector<Range>& rows, int64_t top) {
  constexpr int64_t kBlock = 48, kMostWeightsAtOnce = int64_t{16} << 20;
  const int64_t blocks = std::clamp<int64_t>(kMostWeightsAtOnce / std::max<int64_t>(1, kBlock * known.keys), 1, 4 * threads());
  const LayerMap map = loaded_.trace().map(at.family, at.layer);
  TopKeys out;
  for (const Range& range : rows) {
    for (int64_t begin = range.begin; begin < range.end; begin += blocks * kBlock) {
      const Range some{begin, std::min(range.end, begin + blocks * kBlock)};
      const Tile tile = map.tile(at.head, {.queries = some, .keys = {0, known.keys}}, looks());
      tell(0.75);
      const auto row_of = [&](int64_t r) { return tile.max.data<float>() + r * known.keys; };
      std::vector<std::vector<WeightOfKey>> best(static_cast<size_t>(some.size()));
      parallel_for(some.size(), [&](int64_t r, int) { best[static_cast<size_t>(r)] = heaviest(row_of(r), known.keys, top); });
      for (int64_t r = 0; r < some.size(); ++r) {
        out.rows.push_back(static_cast<uint32_t>(some.begin + r));
        for (const auto& [weight, key] : best[static_cast<size_t>(r)]) out.add(weight, key);
        out.sink_mass.push_back(static_cast<float>(questions::mass_at_sinks(row_of(r), known)));
      }
    }
  }
  return out.frame(at, top);
}

std::vector<HeadLook> TraceWriter::heads_in_order(const FamilyFacts& known) {
  std::vector<HeadLook> out;
  const auto add = [&](int layer, int64_t head) {
    const bool there =
        std::find(known.layers.begin(), known.layers.end(), layer) != known.layers.end() && head >= 0 && head < known.shape.heads;
    const bool is_new = std::none_of(out.begin(), out.end(), [&](const HeadLook& at) { return at.layer == layer && at.head == head; });
    if (there && is_new) out.push_back({known.shape.name, layer, head});
  };
  for (const auto& [layer, head] : state_.heads) add(layer, head);
  std::vector<HeadScores> scores;
  for (const int layer : known.layers) {
    for (int64_t head = 0; head < known.shape.heads; ++head)
      scores.push_back(questions::head_statistics(loaded_, known.shape.name, layer, head, looks()).scores);
  }
  std::stable_sort(scores.begin(), scores.end(), [](const HeadScores& a, const HeadScores& b) { return a.strength > b.strength; });
  for (const HeadScores& head : scores) add(head.layer, head.head);
  return out;
}

// Tiers B and C: head after head, the pinned heads first, then by descending strength of their scores.
void TraceWriter::add_heads(const FamilyFacts& known) {
  const std::vector<Range> watched = watched_rows(known);
  const std::vector<HeadLook> heads = heads_in_order(known);
  const size_t pinned = std::max<size_t>(1, state_.heads.size());
  for (size_t i = 0; i < heads.size(); ++i) {
    const HeadLook& at = heads[i];
    if (!blobs_.add_within(head_path("top", at), top_frame(at, known, watched, kTop), room_)) break;
    hold("top");
    ++heads_held_;
    if (known.all_rows && affordable(known)) {
      const CellsLook whole{
          .at = at, .z = questions::overview_level(known, kOverviewSide), .queries = {0, known.queries}, .keys = {0, known.keys}};
      ViewFrame frame = questions::picture_frame(loaded_, at, questions::cells(loaded_, whole, looks()));
      frame.header["event"] = "picture";
      if (blobs_.add_within(head_path("overview", at), frame, room_)) hold("overview");
    }
    if (const auto band = short_band(known, at.layer)) {  // computes no pair outside the band, so it is available for texts of any length
      const OffsetLook near = questions::whole_by_offset(loaded_, at, {band->first, band->second});
      ViewFrame frame = questions::picture_frame(loaded_, at, questions::near_cells(loaded_, near, looks()));
      frame.header["event"] = "picture";
      if (blobs_.add_within(head_path("near", at), frame, room_)) hold("near");
    }
    bool all_rows = false;
    const double smallest = static_cast<double>(known.queries) * static_cast<double>(kTopOfAll) * 8 * 0.5;
    if (known.all_rows && smallest < static_cast<double>(room_ - blobs_.size()) && affordable(known)) {
      all_rows = blobs_.add_within(head_path("top8", at), top_frame_of_all(at, known, kTopOfAll), room_);
      if (all_rows) hold("top8");
    }
    if (!all_rows && i < pinned && add_qk(at, known, watched)) tier_ = 'C';
    tell(0.5 + 0.5 * static_cast<double>(i + 1) / static_cast<double>(heads.size()));
  }
}

// Returns true if the page can recompute this attention: scaled dot product, ALiBi, soft cap, band, softmax.
bool qk_can_say(const AttentionSpec& spec) {
  bool plain = std::holds_alternative<Dot>(spec.score) && !spec.topology.segments && !spec.topology.mask && !spec.topology.block_sparse &&
               !spec.topology.visible && std::holds_alternative<Softmax>(spec.normaliser);
  for (const Term& term : spec.terms) plain = plain && (std::holds_alternative<Alibi>(term) || std::holds_alternative<SoftCap>(term));
  // The page applies the soft cap first and adds ALiBi afterwards; its ALiBi supports only keys before the query.
  if (spec.terms.size() == 2)
    plain = plain && std::holds_alternative<SoftCap>(spec.terms[0]) && std::holds_alternative<Alibi>(spec.terms[1]);
  const bool has_alibi =
      std::any_of(spec.terms.begin(), spec.terms.end(), [](const Term& term) { return std::holds_alternative<Alibi>(term); });
  return plain && spec.terms.size() <= 2 && (!has_alibi || spec.topology.band.ahead == int64_t{0});
}

bool TraceWriter::add_qk(const HeadLook& at, const FamilyFacts& known, const std::vector<Range>& watched) {
  const LayerMap map = loaded_.trace().map(at.family, at.layer);
  for (const Frame& frame : map.frames()) {
    if (!frame.keys.empty() || !qk_can_say(frame.record.spec)) return false;
  }
  const std::string name = head_path("qk", at);
  const auto add = [&](const std::vector<Range>& rows) {
    const ViewFrame frame = qk_frame(at, known, rows);
    return !frame.header.find("error")->is_null() && blobs_.add_within(name, frame, room_);
  };
  const bool added = (known.all_rows && add(known.rows)) || add(watched);
  if (added) hold("qk");
  return added;
}

namespace {

// The stored values of a head, rounded as in the page, from which the page recomputes weights. Used to measure the error of these weights.
struct StoredHead {
  std::vector<uint16_t> q{}, k{};
  std::vector<float> shift{}, scale{};
  std::vector<uint32_t> rows{};
  int64_t d = 0;
};

void store_keys(const AttentionRecord& record, int64_t head, StoredHead& out) {
  const AttentionShape shape = record.shape();
  const int64_t key_head = head * shape.key_heads / shape.heads;
  out.d = shape.d_k;
  out.k.resize(static_cast<size_t>(shape.keys * shape.d_k));
  const Tensor dense = to_f32(gather_keys(record.keys, key_head).slice(0, 0, 1));
  for (int64_t i = 0; i < dense.numel(); ++i) out.k[static_cast<size_t>(i)] = f32_to_f16(dense.data<float>()[i]);
}

void store_row(const AttentionRecord& record, int64_t head, int64_t row, int64_t query, StoredHead& out) {
  const Tensor q = to_f32(record.q.select(0, 0).select(0, head).select(0, row));
  for (int64_t c = 0; c < out.d; ++c) out.q.push_back(f32_to_f16(q.data<float>()[c]));
  const auto stat = [&](const Tensor& rows) { return rows.data<float>()[head * rows.stride(1) + row * rows.stride(2)]; };
  out.shift.push_back(stat(record.rows.m));
  out.scale.push_back(stat(record.rows.l));
  out.rows.push_back(static_cast<uint32_t>(query));
}

// f32 [1, heads, rows, d]: the stored values of one head, repeated for every head.
Tensor widened_for(std::span<const uint16_t> halves, int64_t heads, int64_t rows) {
  const int64_t d = static_cast<int64_t>(halves.size()) / rows;
  return to_f32(Tensor::borrow(halves.data(), {1, 1, rows, d}, DType::kF16)).expand({1, heads, rows, d});
}

}  // namespace

ViewFrame TraceWriter::qk_frame(const HeadLook& at, const FamilyFacts& known, const std::vector<Range>& rows) {
  const LayerMap map = loaded_.trace().map(at.family, at.layer);
  StoredHead stored;
  const AttentionRecord& any = map.frames().back().record;
  store_keys(any, at.head, stored);
  const AttentionSpec& spec = any.spec;
  for (const Range& range : rows) {
    for (const Frame& frame : map.frames()) {
      for (int64_t i = std::max(range.begin, frame.queries.begin); i < std::min(range.end, frame.queries.end); ++i) {
        store_row(frame.record, at.head, i - frame.queries.begin, i, stored);
      }
    }
  }
  Json cap = nullptr, slope = nullptr;
  for (const Term& term : spec.terms) {
    if (const SoftCap* soft = std::get_if<SoftCap>(&term)) cap = static_cast<double>(soft->cap);
    if (const Alibi* alibi = std::get_if<Alibi>(&term))
      slope = static_cast<double>(alibi->slopes.data<float>()[at.head * alibi->slopes.stride(0)]);
  }
  const Dot& dot = std::get<Dot>(spec.score);
  const double scale = dot.scale ? static_cast<double>(*dot.scale) : 1.0 / std::sqrt(static_cast<double>(stored.d));
  const Band& band = spec.topology.band;
  const int64_t offset = first_position(band, known.queries, known.keys);
  // The largest difference to the f32 weights over evenly spread rows; NaN if f16 cannot represent a value.
  double error = 0;
  const AttentionShape shape = any.shape();
  AttentionRecord rounded{.spec = spec, .keys = widened_for(stored.k, shape.key_heads, known.keys), .query_length = known.queries};
  const size_t count = stored.rows.size(), step = std::max<size_t>(1, count / 64);
  for (size_t n = 0; n < count; n += step) {
    const std::vector<float> exact = map.row(at.head, stored.rows[n]).weights();
    rounded.q = widened_for({stored.q.data() + n * static_cast<size_t>(stored.d), static_cast<size_t>(stored.d)}, shape.heads, 1);
    rounded.first_query = stored.rows[n];
    const std::vector<double> scores = oracle_row(rounded, Tensor(), 0, at.head, 0).scores;
    for (size_t j = 0; j < scores.size(); ++j) {
      if (!(exact[j] > 0)) continue;
      const double weight =
          std::exp2(scores[j] * std::numbers::log2e - static_cast<double>(stored.shift[n])) / static_cast<double>(stored.scale[n]);
      const double difference = std::abs(weight - static_cast<double>(exact[j]));
      if (!std::isnan(error) && !(difference <= error)) error = difference;
    }
    tell(0.9);
  }
  const auto limit = [](const std::optional<int64_t>& value) { return value ? Json(*value) : Json(); };
  ViewFrame frame;
  frame.header = Json::object(
      {{"family", at.family},
       {"layer", at.layer},
       {"head", at.head},
       {"badge", "quantised"},
       {"error", std::isfinite(error) ? Json(error) : Json()},
       {"spec", Json::object({{"scale", scale},
                              {"soft_cap", cap},
                              {"alibi_slope", slope},
                              {"band", Json::object({{"back", limit(band.back)}, {"ahead", limit(band.ahead)}, {"offset", offset}})},
                              {"segments", nullptr}})}});
  frame.add("rows", stored.rows);
  frame.add_f16("q", stored.q, {static_cast<int64_t>(count), stored.d});
  frame.add_f16("k", stored.k, {known.keys, stored.d});
  frame.add("shift", stored.shift);
  frame.add("scale", stored.scale);
  return frame;
}

Json TraceWriter::manifest() {
  Json info = questions::info(loaded_);
  info["source"] = "offline";
  info["can_run"] = false;
  info["command"] = loaded_.options().command.empty() ? options_.command : loaded_.options().command;  // shows this trace alone
  Json missing = Json::array();
  const bool takes_size = options_.command.starts_with("clearhead view ");  // a page of examples has a fixed size
  const char* size = options_.budget_bytes < 200'000'000 ? "200MB" : "2GB";
  const std::string larger = takes_size ? format("{} --page-size {}", options_.command, size) : "";
  const auto lacks = [&](const char* feature, const char* code, const std::string& command, const std::string& detail) {
    missing.push(questions::missing_json(feature, code, command.empty() ? Json() : Json(command), detail));
  };
  const std::string live = loaded_.options().command;
  if (tier_ != 'A') {
    const bool could = all_weights_ <= static_cast<double>(kMostWeights);  // whether a larger budget would help
    const std::string detail = could ? format("The weights of all heads do not fit into {}.", human_bytes(options_.budget_bytes))
                                     : "The weights of all heads are too large for an offline page; use the live view.";
    for (const char* feature : {"weights", "column", "tile", "mass", "compare"})
      lacks(feature, "over-budget", could ? larger : live, detail);
    const bool all = holds("top8") || holds("qk");
    lacks("row", "over-budget", larger, format("The page has rows of {} heads{}.", heads_held_, all ? "" : ", for the last tokens"));
    if (!holds("overview")) lacks("overview", "over-budget", larger, detail);
  }
  lacks("verify", "not-in-page", live, "An offline page cannot recompute weights from Q and K in f32.");
  lacks("neurons", "not-in-page", live, "An offline page does not contain q and k of every token.");
  lacks("mean", "not-in-page", live, "An offline page contains the maps of single heads.");
  for (const char* feature : {"run", "why", "what-if"}) lacks(feature, "no-model", live, "An offline page contains no model.");
  lacks("export", "not-in-page", live, "An offline page cannot export files; its state can be copied as text.");
  std::vector<const char*> kinds{"value", "output"};
  const bool has_gradients = !loaded_.trace().gradients_of().empty();
  if (has_gradients) kinds.insert(kinds.end(), {"raises", "lowers"});
  if (has_gradients && !holds("gradients")) kinds.insert(kinds.end(), {"for", "against"});
  for (const char* kind : kinds)
    lacks(kind, "not-in-page", live, "An offline page contains no norms of values, and gradients only together with all weights.");
  info["missing"] = missing;
  for (Json& family : info["families"].items()) {
    Json held(Json::Array{"raw"});
    for (const Json& kind : family["weights"].items()) {
      if ((kind.string() == "for" || kind.string() == "against") && holds("gradients")) held.push(kind);
    }
    family["weights"] = held;
  }
  Json holds = Json::array();
  for (const std::string& what : holds_) holds.push(what);
  return Json::object({{"protocol", kViewerProtocol},
                       {"info", info},
                       {"segments", Json(Json::Array{*questions::segments(loaded_, 0).find("segments")})},
                       {"blobs", blobs_.names()},
                       {"tier", std::string(1, tier_)},
                       {"budget", options_.budget_bytes},
                       {"state", opens_with_},
                       {"command", options_.command},
                       {"holds", holds}});
}

uint64_t TraceWriter::write(uint64_t most) {
  blobs_.add("text/0", questions::text(loaded_, 0));
  const std::vector<ItemRange>& items = loaded_.trace().plan().text.items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].picture.defined()) blobs_.add(format("picture/{}", i), questions::picture(loaded_, static_cast<int64_t>(i)));
  }
  hold("text");
  uint64_t heads = 0;
  for (const MapFamily& family : loaded_.trace().plan().families) {
    const FamilyFacts& known = loaded_.facts(family.name);
    heads += static_cast<uint64_t>(family.layers * family.heads);
    if (!known.layers.empty() && known.queries > 0) {
      add_statistics(known);
      add_segment_masses(known);
    }
  }
  const uint64_t beside = manifest().dump().size() + heads * 4 * 40;  // including the names of blobs that are added later
  if (beside + blobs_.size() > most) return beside + blobs_.size() - most;
  room_ = most - beside;
  if (!add_all_weights()) {
    tier_ = 'B';
    for (const MapFamily& family : loaded_.trace().plan().families) {
      const FamilyFacts& known = loaded_.facts(family.name);
      if (!known.layers.empty() && known.queries > 0) add_heads(known);
    }
  }
  return 0;
}

PageContents page_contents(std::span<LoadedTrace> traces, const ExportOptions& options, BlobPlace place, uint64_t beside) {
  const bool alone = traces.size() == 1;
  std::vector<size_t> order(traces.size());  // shortest first: what a short text does not use is left for longer ones
  std::iota(order.begin(), order.end(), size_t{0});
  const auto tokens = [&](size_t at) { return traces[at].trace().plan().text.ids.size(); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return tokens(a) < tokens(b); });
  uint64_t used = beside;
  PageContents out;
  out.manifests.resize(traces.size());
  for (size_t n = 0; n < order.size(); ++n) {
    LoadedTrace& loaded = traces[order[n]];
    TraceWriter writer(loaded, options, alone ? options.state : loaded.options().together[order[n]].state, place, out.blobs.size());
    const uint64_t left = options.budget_bytes > used ? options.budget_bytes - used : 0;
    if (const uint64_t more = writer.write(left / (order.size() - n)); more > 0) {
      const uint64_t needed = std::max(used, options.budget_bytes) + more * (order.size() - n);
      fail(ErrorCode::kBudget,
           "export: the page itself, the text and the statistics need {}; the budget is {}. Allow more with --page-size {}MB.",
           human_bytes(needed), human_bytes(options.budget_bytes), needed / 1'000'000 + 1);
    }
    Json manifest = writer.manifest();
    if (alone) {  // the traces that were opened together with it are not in the page
      for (const char* others : {"checkpoints", "traces"}) manifest["info"][others] = Json::array();
      manifest["info"]["step"] = Json();
    }
    used += writer.blobs().size() + manifest.dump().size();
    for (std::string& blob : writer.blobs().take()) out.blobs.push_back(std::move(blob));
    out.manifests[order[n]] = std::move(manifest);
    out.told.tier = std::max(out.told.tier, writer.tier());
    for (const std::string& what : writer.holds()) {
      if (std::find(out.told.holds.begin(), out.told.holds.end(), what) == out.told.holds.end()) out.told.holds.push_back(what);
    }
  }
  return out;
}

}  // namespace clearhead::viewer
