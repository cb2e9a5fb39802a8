// One sweep of a layer's heads, cut into heads. Maps that are smaller than a thumbnail are their own thumbnail.
#include "viewer/head_statistics.h"

#include <algorithm>
#include <utility>

namespace clearhead {
namespace {

constexpr int64_t kThumbnail = 64;

bool is_smaller_than_thumbnail(const FamilyFacts& known) { return known.queries < kThumbnail || known.keys < kThumbnail; }

template <class T>
std::vector<T> line_of(const Tensor& tensor, int64_t line) {
  const int64_t width = tensor.size(-1);
  const Tensor dense = tensor.contiguous();
  return {dense.data<T>() + line * width, dense.data<T>() + (line + 1) * width};
}

// One head out of a sweep of several.
HeadStatistics head_of(const ReductionResult& sweep, int64_t at, HeadScores scores) {
  HeadStatistics out;
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

void add_small_thumbnail(const LayerMap& map, const FamilyFacts& known, const LookOptions& options, HeadStatistics& head) {
  head.thumbnail_rows = std::min(kThumbnail, known.queries);
  head.thumbnail_columns = std::min(kThumbnail, known.keys);
  TileRequest tile{.queries = {0, known.queries}, .keys = {0, known.keys}, .cells = {head.thumbnail_rows, head.thumbnail_columns}};
  const Tile picture = map.tile(head.scores.head, tile, {.cancel = options.cancel});
  head.thumbnail.assign(picture.max.data<float>(), picture.max.data<float>() + picture.max.numel());
}

std::vector<HeadStatistics> sweep_heads(const Trace& trace, const FamilyFacts& known, int layer, Range heads, const LookOptions& options) {
  const LayerMap map = trace.map(known.shape.name, layer);
  const RunText text = first_tokens(trace.plan().text, known.keys);  // without the one generated last, which was never read
  ReductionRequest request = atlas_request(text);
  request.heads = heads;
  if (is_smaller_than_thumbnail(known) || !known.all_rows) request.cells = {0, 0};
  const ReductionResult sweep = map.reduce(request, options);
  const std::vector<HeadScores> scores = head_scores(sweep, text, known.shape, layer);
  std::vector<HeadStatistics> out;
  for (int64_t at = 0; at < heads.size(); ++at) {
    HeadScores own_scores = scores[static_cast<size_t>(at)];
    own_scores.head = heads.begin + at;
    HeadStatistics head = head_of(sweep, at, std::move(own_scores));
    if (head.thumbnail.empty() && known.all_rows) add_small_thumbnail(map, known, options, head);
    out.push_back(std::move(head));
  }
  return out;
}

HeadStatistics from_run(const Trace& trace, const FamilyFacts& known, int layer, int64_t head) {
  const ReductionResult& sweep = trace.statistics(known.shape.name, layer);
  const RunText text = first_tokens(trace.plan().text, sweep.received.size(2));
  return head_of(sweep, head, head_scores(sweep, text, known.shape, layer)[static_cast<size_t>(head)]);
}

}  // namespace

std::vector<HeadStatistics> exact_statistics(const Trace& trace, const FamilyFacts& known, int layer, Range heads,
                                             const LookOptions& options) {
  if (!trace.has_statistics(known.shape.name, layer) || is_smaller_than_thumbnail(known)) {
    LookOptions all_rows = options;
    all_rows.sampled_rows = 0;
    return sweep_heads(trace, known, layer, heads, all_rows);
  }
  std::vector<HeadStatistics> out;
  for (int64_t head = heads.begin; head < heads.end; ++head) out.push_back(from_run(trace, known, layer, head));
  return out;
}

std::vector<HeadStatistics> sampled_statistics(const Trace& trace, const FamilyFacts& known, int layer, int64_t rows,
                                               const LookOptions& options) {
  LookOptions own = options;
  own.sampled_rows = rows;
  return sweep_heads(trace, known, layer, {0, known.shape.heads}, own);
}

}  // namespace clearhead
