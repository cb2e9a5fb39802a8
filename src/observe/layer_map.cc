// One layer's map over a whole text, assembled from frames.
//
// A frame is a record of some rows. One mechanism covers three cases:
//   all rows in one frame    the usual case, passed straight to AttentionMap
//   watched rows only        several frames over the same keys
//   sliding windows          for a text that is too long for the model; each frame has a table of the text's keys
//
// Pairs that no frame scored are NaN in rows and columns, and −1 in cells, where NaN means that the description hides all pairs.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>

#include "base/format.h"
#include "clearhead/trace.h"
#include "observe/map_look.h"

namespace clearhead {
namespace {

constexpr float kUnknown = std::numeric_limits<float>::quiet_NaN();
constexpr float kNeverScored = -1.0f;  // in cells; paint() (picture.h) hatches them
constexpr int64_t kRowsAtOnce = 48;

Range overlap(Range a, Range b) { return {std::max(a.begin, b.begin), std::min(a.end, b.end)}; }

// Pools single weights into cells. Weights may arrive in any order.
class Pooler {
 public:
  explicit Pooler(const TileRequest& request) : request_(request), grid_(grid_of(request, request.queries)) {
    const size_t count = static_cast<size_t>(grid_.cells[0] * grid_.cells[1]);
    largest_.assign(count, kNeverScored);
    sums_.assign(count, 0.0);
    counts_.assign(count, 0);
  }

  void add(int64_t query, int64_t key, float weight) {
    if (key < request_.keys.begin || key >= request_.keys.end) return;
    if (!request_.key_factors.empty()) weight *= request_.key_factors[static_cast<size_t>(key - request_.keys.begin)];
    if (!request_.row_factors.empty()) weight *= request_.row_factors[static_cast<size_t>(query - request_.queries.begin)];
    const size_t at = static_cast<size_t>(grid_.row_of(query) * grid_.cells[1] + grid_.column_of(key));
    if (std::isnan(weight)) {
      if (counts_[at] == 0) largest_[at] = kUnknown;  // scored, but hidden by the description
    } else {
      largest_[at] = counts_[at]++ == 0 || std::abs(weight) > std::abs(largest_[at]) ? weight : largest_[at];
      sums_[at] += static_cast<double>(weight);
    }
  }

  Tile result() const {
    std::vector<float> means = largest_;
    for (size_t at = 0; at < means.size(); ++at) {
      if (counts_[at] > 0) means[at] = static_cast<float>(sums_[at] / static_cast<double>(counts_[at]));
    }
    const Shape shape{grid_.cells[0], grid_.cells[1]};
    return {Tensor::from(largest_, shape), Tensor::from(means, shape), true};
  }

 private:
  const TileRequest& request_;
  CellGrid grid_;
  std::vector<float> largest_;
  std::vector<double> sums_;
  std::vector<int64_t> counts_;
};

// Computes tiles of one head of a frame. The map copies the record, so it is made once for many tiles.
using Tiles = std::function<Tile(const TileRequest&, const LookOptions&)>;
Tiles tiles_of(const Frame& frame, int64_t head, const std::optional<GradientLook>& look) {
  if (!look)
    return
        [map = AttentionMap(frame.record).head(0, head)](const auto& request, const auto& options) { return map.tile(request, options); };
  return [map = GradientMap(frame.record, frame.gradient, *look), head](const auto& request, const auto& options) {
    return map.tile(0, head, request, options);
  };
}

// A row of gradient values, with their magnitudes as scores. Hidden pairs have value 0 and score −∞.
MapRow row_of_gradients(const GradientMap& map, int64_t head, int64_t query, int64_t keys) {
  const Tile tile = map.tile(0, head, {.queries = {query, query + 1}, .keys = {0, keys}});
  std::vector<float> values(tile.max.data<float>(), tile.max.data<float>() + keys), sizes(values.size());
  for (size_t key = 0; key < values.size(); ++key) {
    sizes[key] = std::isnan(values[key]) ? -std::numeric_limits<float>::infinity() : std::abs(values[key]);
    if (std::isnan(values[key])) values[key] = 0;
  }
  return MapRow(std::move(values), std::move(sizes));
}

void refuse_gradients(const std::optional<GradientLook>& look) {
  if (look)
    fail(ErrorCode::kUnsupported,
         "map: statistics and attention between tokens need a map of weights, but this map shows gradients of weights");
}

void check_range(Range range, int64_t length, const char* what) {
  if (range.begin < 0 || range.begin > range.end || range.end > length) {
    fail(ErrorCode::kInvalidArgument, "map: {} [{}, {}) of {}; expected a range inside [0, {})", what, range.begin, range.end, length,
         length);
  }
}

// Converts the tags of the text's tokens to tags of the queries and keys of one frame's record.
Match match_of_frame(const Match& match, const Frame& frame) {
  Match out;
  out.query_tags.assign(static_cast<size_t>(frame.record.query_length), -1);
  const int64_t first = frame.record.first_query;
  for (int64_t i = 0; i < frame.queries.size(); ++i) {
    out.query_tags[static_cast<size_t>(first + i)] = match.query_tags.at(static_cast<size_t>(frame.queries.begin + i));
  }
  const int64_t keys = key_length(frame.record.keys);
  out.key_tags.resize(static_cast<size_t>(keys));
  for (int64_t j = 0; j < keys; ++j) {
    const int64_t text_key = frame.keys.empty() ? j : frame.keys[static_cast<size_t>(j)];
    out.key_tags[static_cast<size_t>(j)] = match.key_tags.at(static_cast<size_t>(text_key));
  }
  return out;
}

// Copies one frame's statistic, whose rows lie along `axis`, into the rows [at, at + rows) of `whole`.
void place_rows(const Tensor& part, Tensor& whole, int axis, int64_t at) {
  if (!part.defined() || part.numel() == 0) return;
  int64_t lines = 1, row = static_cast<int64_t>(size_of(part.dtype()));
  for (int before = 0; before < axis; ++before) lines *= part.size(before);
  for (int behind = axis + 1; behind < part.rank(); ++behind) row *= part.size(behind);
  std::byte* to = whole.mutable_raw() + at * row;
  for (int64_t line = 0; line < lines; ++line) {
    std::memcpy(to + line * whole.size(axis) * row, part.raw() + line * part.size(axis) * row, static_cast<size_t>(part.size(axis) * row));
  }
}

// Converts key indices of a frame to key indices of the text.
Tensor named_keys(const Tensor& part, const Frame& frame) {
  if (!part.defined() || part.numel() == 0 || frame.keys.empty()) return part;
  Tensor keys = part.clone();
  int32_t* key = keys.mutable_data<int32_t>();
  for (int64_t i = 0; i < keys.numel(); ++i) key[i] = key[i] < 0 ? -1 : static_cast<int32_t>(frame.keys[static_cast<size_t>(key[i])]);
  return keys;
}

void add_to(const Tensor& part, Tensor& whole) {
  if (!part.defined()) return;
  float* to = whole.mutable_data<float>();
  for (int64_t i = 0; i < part.numel(); ++i) to[i] += part.data<float>()[i];
}

}  // namespace

LayerMap::LayerMap(std::vector<Frame> frames, int64_t queries, int64_t keys) : frames_(std::move(frames)), queries_(queries), keys_(keys) {
  std::sort(frames_.begin(), frames_.end(), [](const Frame& a, const Frame& b) { return a.queries.begin < b.queries.begin; });
}

int64_t LayerMap::heads() const { return frames_.empty() ? 0 : frames_.front().record.q.size(1); }

bool LayerMap::whole() const {
  return frames_.size() == 1 && frames_[0].keys.empty() && frames_[0].queries.begin == 0 && frames_[0].queries.end == queries_ &&
         key_length(frames_[0].record.keys) == keys_;
}

LayerMap LayerMap::with(GradientLook look) const {
  for (const Frame& frame : frames_) {
    if (frame.gradient.d_out.defined()) continue;
    fail(ErrorCode::kNotFound, "map: the gradients of rows {} to {} were not kept; trace again with --gradients", frame.queries.begin,
         frame.queries.end - 1);
  }
  LayerMap map = *this;
  map.look_ = look;
  return map;
}

bool LayerMap::has_row(int64_t query) const {
  return std::any_of(frames_.begin(), frames_.end(), [&](const Frame& f) { return query >= f.queries.begin && query < f.queries.end; });
}

std::vector<Range> LayerMap::rows_kept() const {
  std::vector<Range> out;
  for (const Frame& frame : frames_) {
    if (!out.empty() && out.back().end == frame.queries.begin) {
      out.back().end = frame.queries.end;
    } else {
      out.push_back(frame.queries);
    }
  }
  return out;
}

const Frame& LayerMap::frame_of(int64_t query) const {
  if (query < 0 || query >= queries_) {
    fail(ErrorCode::kInvalidArgument,
         "map: there is no query {}; the queries are [0, {}) (the last generated token has no query: the model never read it)", query,
         queries_);
  }
  for (const Frame& frame : frames_) {
    if (query >= frame.queries.begin && query < frame.queries.end) return frame;
  }
  fail(ErrorCode::kNotFound, "map: the query vector of token {} was not kept; trace again with --rows {}:{}, or with a larger --budget",
       query, query, query + 1);
}

MapRow LayerMap::row(int64_t head, int64_t query) const {
  const Frame& frame = frame_of(query);
  const int64_t own = query - frame.queries.begin + frame.record.first_query, known = key_length(frame.record.keys);
  MapRow row = look_ ? row_of_gradients(GradientMap(frame.record, frame.gradient, *look_), head, own, known)
                     : AttentionMap(frame.record).head(0, head).row(own);
  if (frame.keys.empty() && known == keys_) return row;
  std::vector<float> weights(static_cast<size_t>(keys_), kUnknown), scores(static_cast<size_t>(keys_), kUnknown);
  for (int64_t j = 0; j < known; ++j) {
    const size_t at = static_cast<size_t>(frame.keys.empty() ? j : frame.keys[static_cast<size_t>(j)]);
    weights[at] = row.weights()[static_cast<size_t>(j)];
    scores[at] = row.scores()[static_cast<size_t>(j)];
  }
  return MapRow(std::move(weights), std::move(scores));
}

std::vector<float> LayerMap::column(int64_t head, int64_t key, Range queries) const {
  check_range(queries, queries_, "queries");
  if (key < 0 || key >= keys_)
    fail(ErrorCode::kInvalidArgument, "map: key {} is out of range: the map has {} keys, counted from 0", key, keys_);
  std::vector<float> out(static_cast<size_t>(queries.size()), kUnknown);
  for (const Frame& frame : frames_) {
    const Range rows = overlap(queries, frame.queries);
    int64_t own = key;
    if (!frame.keys.empty()) own = std::find(frame.keys.begin(), frame.keys.end(), key) - frame.keys.begin();
    if (rows.size() <= 0 || own >= key_length(frame.record.keys)) continue;
    const int64_t shift = frame.record.first_query - frame.queries.begin;
    const Range of_record{rows.begin + shift, rows.end + shift};
    const std::vector<float> part = look_ ? GradientMap(frame.record, frame.gradient, *look_).column(0, head, own, of_record)
                                          : AttentionMap(frame.record).head(0, head).column(own, of_record);
    std::copy(part.begin(), part.end(), out.begin() + (rows.begin - queries.begin));
  }
  return out;
}

Tile LayerMap::tile(int64_t head, const TileRequest& request, const LookOptions& options) const {
  if (whole()) return tiles_of(frames_[0], head, look_)(request, options);
  check_range(request.queries, queries_, "queries");
  check_range(request.keys, keys_, "keys");
  Pooler pooler(request);
  for (const Frame& frame : frames_) {
    const Range wanted = overlap(request.queries, frame.queries);
    const Tiles tiles = tiles_of(frame, head, look_);
    const int64_t shift = frame.record.first_query - frame.queries.begin;
    Range keys{0, key_length(frame.record.keys)};
    if (frame.keys.empty()) keys = overlap(keys, request.keys);
    if (keys.size() <= 0) continue;
    for (int64_t begin = wanted.begin; begin < wanted.end; begin += kRowsAtOnce) {
      const int64_t end = std::min(wanted.end, begin + kRowsAtOnce);
      const Tile part = tiles({.queries = {begin + shift, end + shift}, .keys = keys}, {.cancel = options.cancel});
      const float* weight = part.max.data<float>();
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t j = keys.begin; j < keys.end; ++j) {
          pooler.add(i, frame.keys.empty() ? j : frame.keys[static_cast<size_t>(j)], *weight++);
        }
      }
    }
  }
  return pooler.result();
}

std::vector<float> LayerMap::mass(Range rows, Range keys, const LookOptions& options) const {
  refuse_gradients(look_);
  check_range(rows, queries_, "rows");
  check_range(keys, keys_, "keys");
  std::vector<double> sums(static_cast<size_t>(heads()), 0.0);
  int64_t looked_at = 0;
  for (const Frame& frame : frames_) {
    const Range wanted = overlap(rows, frame.queries);
    if (wanted.size() <= 0) continue;
    looked_at += wanted.size();
    const AttentionMap map(frame.record);
    const int64_t shift = frame.record.first_query - frame.queries.begin;
    const Range own{wanted.begin + shift, wanted.end + shift};
    // The frame's keys inside `keys` form runs of consecutive indices; each run needs one call to mass().
    const int64_t known = key_length(frame.record.keys);
    const auto inside = [&](int64_t j) {
      const int64_t at = frame.keys.empty() ? j : frame.keys[static_cast<size_t>(j)];
      return at >= keys.begin && at < keys.end;
    };
    for (int64_t j = 0; j < known; ++j) {
      if (!inside(j)) continue;
      int64_t end = j + 1;
      while (end < known && inside(end)) ++end;
      const Tensor part = map.mass(own, {j, end}, options);  // [batch, head]
      for (size_t h = 0; h < sums.size(); ++h) sums[h] += static_cast<double>(part.data<float>()[h]) * static_cast<double>(own.size());
      j = end;
    }
  }
  std::vector<float> out(sums.size(), kUnknown);
  for (size_t h = 0; looked_at > 0 && h < sums.size(); ++h) out[h] = static_cast<float>(sums[h] / static_cast<double>(looked_at));
  return out;
}

ReductionResult LayerMap::reduce(const ReductionRequest& request, const LookOptions& options) const {
  refuse_gradients(look_);
  if (whole()) return AttentionMap(frames_[0].record).reduce(request, options);
  ReductionResult out;
  int64_t rows = 0;
  for (const Frame& frame : frames_) rows += frame.queries.size();
  const int64_t first_head = request.heads.begin, last_head = request.heads.end < 0 ? heads() : request.heads.end,
                count = last_head - first_head;
  const auto wants = [&](Statistic s) {
    return std::find(request.statistics.begin(), request.statistics.end(), s) != request.statistics.end();
  };
  if (wants(Statistic::kEntropy)) out.entropy = Tensor::zeros({1, count, rows});
  if (wants(Statistic::kDistance)) out.distance = Tensor::zeros({1, count, rows});
  if (wants(Statistic::kReceived)) out.received = Tensor::zeros({1, count, keys_});
  if (wants(Statistic::kOffsets)) out.offsets = Tensor::zeros({1, count, 2 * request.offset_reach + 1});
  if (!request.matches.empty()) out.matches = Tensor::zeros({static_cast<int64_t>(request.matches.size()), 1, count, rows});
  if (request.top_k > 0) {
    out.top_weights = Tensor::zeros({1, count, rows, request.top_k});
    out.top_keys = Tensor::empty(out.top_weights.shape(), DType::kI32);
  }
  int64_t at = 0;
  for (const Frame& frame : frames_) {
    ReductionRequest own = request;
    own.cells = {0, 0};
    for (Match& match : own.matches) match = match_of_frame(match, frame);
    const ReductionResult part = AttentionMap(frame.record).reduce(own, {.cancel = options.cancel});
    place_rows(part.entropy, out.entropy, 2, at);
    place_rows(part.distance, out.distance, 2, at);
    place_rows(part.matches, out.matches, 3, at);
    place_rows(named_keys(part.top_keys, frame), out.top_keys, 2, at);
    place_rows(part.top_weights, out.top_weights, 2, at);
    add_to(part.offsets, out.offsets);
    if (part.received.defined()) {
      const int64_t known = part.received.size(2);
      float* to = out.received.mutable_data<float>();
      for (int64_t h = 0; h < count; ++h) {
        for (int64_t j = 0; j < known; ++j) {
          const int64_t text_key = frame.keys.empty() ? j : frame.keys[static_cast<size_t>(j)];
          to[h * keys_ + text_key] += part.received.data<float>()[h * known + j];
        }
      }
    }
    for (int64_t i = frame.queries.begin; i < frame.queries.end; ++i) out.queries.push_back(i);
    at += frame.queries.size();
    if (options.progress && rows > 0) options.progress(static_cast<double>(at) / static_cast<double>(rows));
  }
  out.rows_looked_at = rows;
  if (request.cells[0] > 0 && request.cells[1] > 0) {
    out.pooled_max = Tensor::empty({1, count, request.cells[0], request.cells[1]});
    out.pooled_mean = Tensor::empty({1, count, request.cells[0], request.cells[1]});
    const int64_t cells = request.cells[0] * request.cells[1];
    for (int64_t h = 0; h < count; ++h) {
      const Tile cells_of_head = tile(first_head + h, {.queries = {0, queries_}, .keys = {0, keys_}, .cells = request.cells}, options);
      std::copy_n(cells_of_head.max.data<float>(), cells, out.pooled_max.mutable_data<float>() + h * cells);
      std::copy_n(cells_of_head.mean.data<float>(), cells, out.pooled_mean.mutable_data<float>() + h * cells);
    }
  }
  return out;
}

}  // namespace clearhead
