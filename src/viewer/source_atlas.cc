// Statistics of heads: the atlas' scores and thumbnails, the margins of a map, and mass from span to span.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/format.h"
#include "viewer/source.h"

namespace clearhead {
namespace {

constexpr int64_t kThumbnail = 64;
constexpr int64_t kSampledRows = 1024;
// Multiply-adds of one exact sweep of the atlas: about a second, so that heads arrive one after another.
constexpr double kSweepWork = 2e11;

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

Json score_json(const HeadScores& head) {
  Json out = Json::object();
  for (size_t s = 0; s < kHeadScores; ++s) {
    float score = head.scores[s];
    if (s != static_cast<size_t>(HeadScore::kDistance) && !std::isnan(score))
      score = std::clamp(score, 0.0f, 1.0f);  // sums of f32 may pass 1 by 1e-6
    out[head_score_definitions()[s].id] = std::isnan(score) ? Json() : Json(score);
  }
  return out;
}

double mean_of(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// Means over bins of items that stand at places of [0, length). Bins without an item take the one before.
std::vector<float> binned(const std::vector<float>& values, const std::vector<int64_t>& places, int64_t length, int64_t bins) {
  std::vector<double> sums(static_cast<size_t>(bins), 0.0);
  std::vector<int64_t> counts(static_cast<size_t>(bins), 0);
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t place = places.empty() ? static_cast<int64_t>(i) : places[i];
    const size_t bin = static_cast<size_t>(((place + 1) * bins - 1) / length);
    sums[bin] += static_cast<double>(values[i]);
    ++counts[bin];
  }
  std::vector<float> out(static_cast<size_t>(bins), 0.0f);
  for (size_t b = 0; b < out.size(); ++b) {
    out[b] = counts[b] > 0 ? static_cast<float>(sums[b] / static_cast<double>(counts[b])) : b > 0 ? out[b - 1] : 0.0f;
  }
  return out;
}

}  // namespace

Json strongest_json(const HeadScores& head) {
  Json names = Json::array();
  for (const NamedScore& score : strongest(head, kNamedScores)) names.push(score.id);
  return names;
}

std::vector<HeadStatistics> LiveSource::sweep_heads(const std::string& family, int layer, Range heads, int64_t sampled_rows,
                                                    const LookOptions& options) {
  const FamilyFacts& known = facts(family);
  const LayerMap map = trace_->map(known.shape.name, layer);
  const RunText text = first_tokens(trace_->plan().text, known.keys);  // without the one generated last, which was never read
  ReductionRequest request = atlas_request(text);
  request.heads = heads;
  const bool small = known.queries < kThumbnail || known.keys < kThumbnail;
  if (small || !known.all_rows) request.cells = {0, 0};
  LookOptions own = options;
  own.sampled_rows = sampled_rows;
  ReductionResult sweep = map.reduce(request, own);
  const std::vector<HeadScores> scores = head_scores(sweep, text, known.shape, layer);
  std::vector<HeadStatistics> out;
  for (int64_t at = 0; at < heads.size(); ++at) {
    HeadScores own_scores = scores[static_cast<size_t>(at)];
    own_scores.head = heads.begin + at;
    HeadStatistics head = head_of(sweep, at, own_scores);
    if (head.thumbnail.empty() && known.all_rows) {
      head.thumbnail_rows = std::min(kThumbnail, known.queries);
      head.thumbnail_columns = std::min(kThumbnail, known.keys);
      TileRequest tile{.queries = {0, known.queries}, .keys = {0, known.keys}, .cells = {head.thumbnail_rows, head.thumbnail_columns}};
      const Tile picture = map.tile(heads.begin + at, tile, {.cancel = options.cancel});
      head.thumbnail.assign(picture.max.data<float>(), picture.max.data<float>() + picture.max.numel());
    }
    out.push_back(std::move(head));
  }
  return out;
}

HeadStatistics LiveSource::from_run(const std::string& family, int layer, int64_t head) const {
  const ReductionResult& sweep = trace_->statistics(family, layer);
  const RunText text = first_tokens(trace_->plan().text, sweep.received.size(2));
  for (const MapFamily& shape : trace_->plan().families) {
    if (shape.name == family) return head_of(sweep, head, head_scores(sweep, text, shape, layer)[static_cast<size_t>(head)]);
  }
  fail(ErrorCode::kNotFound, "f={}: no such family of maps", family);
}

void LiveSource::compute_statistics(const std::string& family, int layer, Range heads, const LookOptions& options) {
  const FamilyFacts& known = facts(family);
  const bool small = known.queries < kThumbnail || known.keys < kThumbnail;
  if (trace_->has_statistics(known.shape.name, layer) && !small) {
    for (int64_t head = heads.begin; head < heads.end; ++head)
      statistics_[{known.shape.name, layer, head}] = from_run(known.shape.name, layer, head);
    return;
  }
  for (HeadStatistics& head : sweep_heads(family, layer, heads, 0, options)) {
    const int64_t index = head.scores.head;
    statistics_[{known.shape.name, layer, index}] = std::move(head);
  }
}

bool LiveSource::has_all_statistics(const std::string& family, int layer) {
  const MapFamily& shape = facts(family).shape;
  for (int64_t head = 0; head < shape.heads; ++head) {
    if (statistics_.count({shape.name, layer, head}) == 0) return false;
  }
  return true;
}

const HeadStatistics& LiveSource::statistics(const std::string& family, int layer, int64_t head, const LookOptions& options) {
  const HeadKey key{facts(family).shape.name, layer, head};
  const auto found = statistics_.find(key);
  if (found != statistics_.end()) return found->second;
  compute_statistics(family, layer, {head, head + 1}, options);
  return statistics_.at(key);
}

ViewFrame LiveSource::stats(const HeadLook& at, int64_t bins, const LookOptions& options) {
  check_head(at);
  if (bins < 1 || bins > 65'536) fail(ErrorCode::kInvalidArgument, "bins: {}; expected 1 to 65536.", bins);
  const FamilyFacts& known = facts(at.family);
  if (!known.all_rows && !trace_->has_statistics(known.shape.name, at.layer)) check_all_rows(at, "Statistics");
  const HeadStatistics& head = statistics(at.family, at.layer, at.head, options);
  const int64_t keys = static_cast<int64_t>(head.received.size());
  const int64_t queries = head.queries.empty() ? 0 : head.queries.back() + 1;
  double sinks = 0;
  for (const int64_t key : known.sinks) sinks += key < keys ? static_cast<double>(head.received[static_cast<size_t>(key)]) : 0.0;
  ViewFrame frame;
  frame.header = Json::object({{"family", known.shape.name},
                               {"layer", at.layer},
                               {"head", at.head},
                               {"badge", head.exact ? "exact" : "sampled"},
                               {"scores", score_json(head.scores)},
                               {"entropy_mean", mean_of(head.entropy)},
                               {"sink_mean", queries > 0 ? sinks / static_cast<double>(queries) : 0.0}});
  frame.add("entropy", binned(head.entropy, head.queries, std::max<int64_t>(1, queries), std::min(bins, queries)));
  frame.add("received", binned(head.received, {}, std::max<int64_t>(1, keys), std::min(bins, keys)));
  frame.add("distance", binned(head.distance, head.queries, std::max<int64_t>(1, queries), std::min(bins, queries)));
  return frame;
}

ViewFrame LiveSource::heads_frame(const std::string& family, int layer, const std::vector<HeadStatistics>& heads) const {
  ViewFrame frame;
  Json list = Json::array();
  std::vector<uint8_t> thumbnails;
  for (const HeadStatistics& head : heads) {
    const Codes codes = quantise(head.thumbnail, Scale::kSqrt);
    thumbnails.insert(thumbnails.end(), codes.values.begin(), codes.values.end());
    list.push(Json::object({{"layer", head.scores.layer},
                            {"head", head.scores.head},
                            {"scores", score_json(head.scores)},
                            {"kind", head.scores.kind},
                            {"strongest", strongest_json(head.scores)},
                            {"entropy", mean_of(head.entropy)},
                            {"codes", codes_json(codes)}}));
  }
  const HeadStatistics& first = heads.front();
  frame.header = Json::object({{"event", "heads"},
                               {"family", family},
                               {"badge", first.exact ? "exact" : "sampled"},
                               {"sampled_rows", first.exact ? Json() : Json(first.rows)},
                               {"size", std::max(first.thumbnail_rows, first.thumbnail_columns)},
                               {"heads", list}});
  if (layer >= 0) frame.header["layer"] = layer;
  frame.add("thumbnails", thumbnails, {static_cast<int64_t>(heads.size()), first.thumbnail_rows, first.thumbnail_columns});
  return frame;
}

void LiveSource::atlas(const std::string& family, const TakeFrame& take, const LookOptions& options) {
  const FamilyFacts& known = facts(family);
  const MapFamily& shape = known.shape;
  if (known.layers.empty()) throw NotKept("No layer of this family was kept.", keep_command(""));
  const double a_head = static_cast<double>(known.queries) * static_cast<double>(known.keys) * static_cast<double>(shape.d_k);
  const double all = static_cast<double>(known.layers.size()) * static_cast<double>(shape.heads) * a_head;
  std::vector<int> to_do;
  for (const int layer : known.layers) {
    std::vector<HeadStatistics> ready;
    if (trace_->has_statistics(shape.name, layer)) compute_statistics(family, layer, {0, shape.heads}, options);
    for (int64_t head = 0; head < shape.heads; ++head) {
      const auto found = statistics_.find({shape.name, layer, head});
      if (found != statistics_.end()) ready.push_back(found->second);
    }
    if (static_cast<int64_t>(ready.size()) == shape.heads) {
      take(heads_frame(shape.name, layer, ready));
    } else {
      to_do.push_back(layer);
    }
  }
  if (to_do.empty()) return;
  if (!known.all_rows) check_all_rows({.family = family}, "An atlas");
  if (all > kSweepWork && known.queries > kSampledRows && known.windows.empty()) {
    LookOptions own = options;
    own.progress = nullptr;
    for (const int layer : to_do) {
      if (options.progress) options.progress(0);  // lets others in
      take(heads_frame(shape.name, layer, sweep_heads(family, layer, {0, shape.heads}, kSampledRows, own)));
    }
  }
  const int64_t at_once = std::clamp<int64_t>(static_cast<int64_t>(kSweepWork / std::max(1.0, a_head)), 1, shape.heads);
  const double steps = static_cast<double>(to_do.size()) * static_cast<double>(shape.heads);
  double done = 0;
  for (const int layer : to_do) {
    for (int64_t begin = 0; begin < shape.heads; begin += at_once) {
      const Range heads{begin, std::min(shape.heads, begin + at_once)};
      LookOptions own = options;
      if (options.progress)
        own.progress = [&](double part) { options.progress((done + part * static_cast<double>(heads.size())) / steps); };
      compute_statistics(family, layer, heads, own);
      done += static_cast<double>(heads.size());
      std::vector<HeadStatistics> ready;
      for (int64_t head = heads.begin; head < heads.end; ++head) ready.push_back(statistics_.at({shape.name, layer, head}));
      take(heads_frame(shape.name, layer, ready));
    }
  }
}

}  // namespace clearhead
