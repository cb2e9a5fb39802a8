// Computes a layer's heads in one pass and splits the result by head. If the map is smaller than a thumbnail
// or its family covers only a part of the text, the thumbnail is computed separately.
#include "viewer/head_statistics.h"

#include <algorithm>
#include <utility>

#include "observe/offset_columns.h"

namespace clearhead::viewer {
namespace {

constexpr int64_t kLong = 4;  // a text is long compared to a band if it is longer than this many times the band

// Returns true if the thumbnail of the sweep, 64² cells over the whole text, cannot be used.
bool has_own_thumbnail(const FamilyFacts& known) { return known.queries < kThumbnail || known.keys < kThumbnail || known.shape.is_part; }

template <class T>
std::vector<T> line_of(const Tensor& tensor, int64_t line) {
  const int64_t width = tensor.size(-1);
  const Tensor dense = tensor.contiguous();
  return {dense.data<T>() + line * width, dense.data<T>() + (line + 1) * width};
}

// Extracts one head from a sweep over several.
HeadStatistics head_of(const ReductionResult& sweep, int64_t at, HeadScores scores, const FamilyFacts& known) {
  HeadStatistics out;
  out.thumbnail_queries = known.query_range();
  out.thumbnail_keys = known.key_range();
  out.scores = std::move(scores);
  out.entropy = line_of<float>(sweep.entropy, at);
  out.distance = line_of<float>(sweep.distance, at);
  out.received = line_of<float>(sweep.received, at);
  out.queries = sweep.queries;
  out.exact = sweep.exact;
  out.rows = static_cast<int64_t>(sweep.queries.size());
  if (sweep.pooled_max.defined()) {
    out.thumbnail_rows = sweep.pooled_max.size(2);
    out.thumbnail_columns = sweep.pooled_max.size(3);
    const int64_t cells = out.thumbnail_rows * out.thumbnail_columns;
    const Tensor dense = sweep.pooled_max.contiguous();
    out.thumbnail.assign(dense.data<float>() + at * cells, dense.data<float>() + (at + 1) * cells);
  }
  return out;
}

void add_own_thumbnail(const LayerMap& map, const FamilyFacts& known, const LookOptions& options, HeadStatistics& head) {
  const TileRequest tile{.queries = known.query_range(),
                         .keys = known.key_range(),
                         .cells = {std::min(kThumbnail, known.query_range().size()), std::min(kThumbnail, known.key_range().size())}};
  head.thumbnail_rows = tile.cells[0];
  head.thumbnail_columns = tile.cells[1];
  const Tile picture = map.tile(head.scores.head, tile, {.cancel = options.cancel});
  head.thumbnail.assign(picture.max.data<float>(), picture.max.data<float>() + picture.max.numel());
}

std::vector<HeadStatistics> sweep_heads(const Trace& trace, const FamilyFacts& known, int layer, Range heads, const LookOptions& options) {
  const LayerMap map = trace.map(known.shape.name, layer);
  const RunText text = first_tokens(trace.plan().text, known.keys);  // without the last generated token, which was never read
  ReductionRequest request = atlas_request(text);
  request.heads = heads;
  if (has_own_thumbnail(known) || !known.all_rows) request.cells = {0, 0};
  const ReductionResult sweep = map.reduce(request, options);
  const std::vector<HeadScores> scores = head_scores(sweep, text, known.shape, layer);
  std::vector<HeadStatistics> out;
  for (int64_t at = 0; at < heads.size(); ++at) {
    HeadScores own_scores = scores[static_cast<size_t>(at)];
    own_scores.head = heads.begin + at;
    HeadStatistics head = head_of(sweep, at, std::move(own_scores), known);
    if (head.thumbnail.empty() && known.all_rows) add_own_thumbnail(map, known, options, head);
    out.push_back(std::move(head));
  }
  return out;
}

HeadStatistics from_run(const Trace& trace, const FamilyFacts& known, int layer, int64_t head) {
  const ReductionResult& sweep = trace.statistics(known.shape.name, layer);
  const RunText text = first_tokens(trace.plan().text, sweep.received.size(2));
  return head_of(sweep, head, head_scores(sweep, text, known.shape, layer)[static_cast<size_t>(head)], known);
}

// For a layer whose band is short compared to the text, replaces the thumbnails: rows are queries, columns are key − query.
void show_near(const Trace& trace, const FamilyFacts& known, int layer, const LookOptions& options, std::vector<HeadStatistics>& heads) {
  const auto band = short_band(known, layer);
  if (!band) return;
  const Range offsets{-band->first, band->second + 1};
  NearRequest request{.queries = {0, known.queries}, .offsets = offsets};
  request.row_side = (known.queries + kThumbnail - 1) / kThumbnail;
  request.column_side = (offsets.size() + kThumbnail - 1) / kThumbnail;
  const LayerMap map = trace.map(known.shape.name, layer);
  for (HeadStatistics& head : heads) {
    const NearCells cells = near_cells(map, head.scores.head, request, {.cancel = options.cancel, .sampled_rows = options.sampled_rows});
    head.thumbnail_offsets = offsets;
    head.thumbnail_rows = head.thumbnail_columns = kThumbnail;  // the size of the other layers' thumbnails, which share an array with these
    head.thumbnail.resize(static_cast<size_t>(kThumbnail * kThumbnail));
    for (int64_t r = 0; r < kThumbnail; ++r) {
      for (int64_t c = 0; c < kThumbnail; ++c)
        head.thumbnail[static_cast<size_t>(r * kThumbnail + c)] =
            cells.max[static_cast<size_t>(r * cells.rows / kThumbnail * cells.columns + c * cells.columns / kThumbnail)];
    }
  }
}

}  // namespace

std::optional<std::pair<int64_t, int64_t>> short_band(const FamilyFacts& known, int layer) {
  const auto band = known.band_of(layer);
  const bool is_short = band && known.all_rows && known.queries == known.keys && kLong * (band->first + band->second + 1) < known.queries;
  return is_short ? band : std::nullopt;
}

std::vector<HeadStatistics> exact_statistics(const Trace& trace, const FamilyFacts& known, int layer, Range heads,
                                             const LookOptions& options) {
  if (!trace.has_statistics(known.shape.name, layer) || has_own_thumbnail(known)) {
    LookOptions all_rows = options;
    all_rows.sampled_rows = 0;
    std::vector<HeadStatistics> out = sweep_heads(trace, known, layer, heads, all_rows);
    show_near(trace, known, layer, all_rows, out);
    return out;
  }
  std::vector<HeadStatistics> out;
  for (int64_t head = heads.begin; head < heads.end; ++head) out.push_back(from_run(trace, known, layer, head));
  show_near(trace, known, layer, {.cancel = options.cancel}, out);
  return out;
}

std::vector<HeadStatistics> sampled_statistics(const Trace& trace, const FamilyFacts& known, int layer, int64_t rows,
                                               const LookOptions& options) {
  LookOptions own = options;
  own.sampled_rows = rows;
  std::vector<HeadStatistics> out = sweep_heads(trace, known, layer, {0, known.shape.heads}, own);
  show_near(trace, known, layer, own, out);
  return out;
}

}  // namespace clearhead::viewer
