// Emits heads layer by layer: first from sampled rows if exact statistics would take long, then exact, several heads per pass.
#include "viewer/questions/atlas.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/format.h"
#include "observe/picture.h"
#include "viewer/questions/ranges.h"
#include "viewer/questions/tiles.h"

namespace clearhead::viewer::questions {
namespace {

constexpr int64_t kSampledRows = 1024;
// Multiply-adds of one exact pass of the atlas: about a second, so that heads arrive one after another.
constexpr double kSweepWork = 2e11;

Json score_json(const HeadScores& head) {
  Json out = Json::object();
  for (size_t s = 0; s < kHeadScores; ++s) {
    float score = head.scores[s];
    if (s != static_cast<size_t>(HeadScore::kDistance) && !std::isnan(score))
      score = std::clamp(score, 0.0f, 1.0f);  // sums of f32 may exceed 1 by 1e-6
    out[head_score_definitions()[s].id] = std::isnan(score) ? Json() : Json(score);
  }
  return out;
}

double mean_of(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// Means over bins of values at positions in [0, length). A bin without values repeats the one before.
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

const HeadStatistics& head_statistics(LoadedTrace& loaded, const std::string& family, int layer, int64_t head, const LookOptions& options) {
  if (!loaded.find_statistics(family, layer, head)) loaded.compute_statistics(family, layer, {head, head + 1}, options);
  return *loaded.find_statistics(family, layer, head);
}

namespace {

HeadStatistics statistics_of_head(LoadedTrace& loaded, const HeadLook& at, const LookOptions& options) {
  const FamilyFacts& known = loaded.facts(at.family);
  if (!known.all_rows && !loaded.trace().has_statistics(known.shape.name, at.layer)) check_all_rows(loaded, at.family, "Statistics");
  return head_statistics(loaded, at.family, at.layer, at.head, options);
}

void add_to(std::vector<float>& sums, const std::vector<float>& values) {
  for (size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
}

// The means of the statistics of several heads. A mean has no scores, which describe one head.
HeadStatistics statistics_of(LoadedTrace& loaded, const HeadLook& at, const LookOptions& options) {
  const std::vector<HeadLook> heads = heads_of(loaded, at);
  HeadStatistics out = statistics_of_head(loaded, heads.front(), options);
  if (!is_mean(at)) return out;
  for (size_t h = 1; h < heads.size(); ++h) {
    const HeadStatistics other = statistics_of_head(loaded, heads[h], options);
    add_to(out.entropy, other.entropy);
    add_to(out.distance, other.distance);
    add_to(out.received, other.received);
    out.exact = out.exact && other.exact;
  }
  for (std::vector<float>* values : {&out.entropy, &out.distance, &out.received}) {
    for (float& value : *values) value /= static_cast<float>(heads.size());
  }
  out.scores.scores.fill(std::numeric_limits<float>::quiet_NaN());
  return out;
}

}  // namespace

ViewFrame stats(LoadedTrace& loaded, const HeadLook& at, int64_t bins, const LookOptions& options) {
  if (bins < 1 || bins > 65'536) fail(ErrorCode::kInvalidArgument, "bins: {}; expected 1 to 65536.", bins);
  const FamilyFacts& known = loaded.facts(at.family);
  const HeadStatistics head = statistics_of(loaded, at, options);
  const int64_t keys = static_cast<int64_t>(head.received.size());
  const int64_t queries = head.queries.empty() ? 0 : head.queries.back() + 1;
  double sinks = 0;
  for (const int64_t key : known.sinks) sinks += key < keys ? static_cast<double>(head.received[static_cast<size_t>(key)]) : 0.0;
  ViewFrame frame;
  frame.header = Json::object({{"family", known.shape.name},
                               {"layer", index_json(at.layer)},
                               {"head", index_json(at.head)},
                               {"badge", head.exact ? "exact" : "sampled"},
                               {"scores", score_json(head.scores)},
                               {"entropy_mean", mean_of(head.entropy)},
                               {"sink_mean", queries > 0 ? sinks / static_cast<double>(queries) : 0.0}});
  frame.add("entropy", binned(head.entropy, head.queries, std::max<int64_t>(1, queries), std::min(bins, queries)));
  frame.add("received", binned(head.received, {}, std::max<int64_t>(1, keys), std::min(bins, keys)));
  frame.add("distance", binned(head.distance, head.queries, std::max<int64_t>(1, queries), std::min(bins, queries)));
  return frame;
}

ViewFrame heads_frame(const std::string& family, int layer, const std::vector<HeadStatistics>& heads) {
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
    if (head.thumbnail_offsets.size() > 0) list.items().back()["offsets"] = range_json(head.thumbnail_offsets);
  }
  const HeadStatistics& first = heads.front();
  frame.header = Json::object({{"event", "heads"},
                               {"family", family},
                               {"badge", first.exact ? "exact" : "sampled"},
                               {"sampled_rows", first.exact ? Json() : Json(first.rows)},
                               {"size", std::max(first.thumbnail_rows, first.thumbnail_columns)},
                               {"queries", range_json(first.thumbnail_queries)},
                               {"keys", range_json(first.thumbnail_keys)},
                               {"heads", list}});
  if (layer >= 0) frame.header["layer"] = layer;
  frame.add("thumbnails", thumbnails, {static_cast<int64_t>(heads.size()), first.thumbnail_rows, first.thumbnail_columns});
  return frame;
}

namespace {

// Emits the cached statistics of a layer's heads [begin, end) as one frame. Returns false if some are not cached.
bool take_ready(LoadedTrace& loaded, const FamilyFacts& known, int layer, Range heads, const TakeFrame& take) {
  std::vector<HeadStatistics> ready;
  for (int64_t head = heads.begin; head < heads.end; ++head) {
    const HeadStatistics* found = loaded.find_statistics(known.shape.name, layer, head);
    if (!found) return false;
    ready.push_back(*found);
  }
  take(heads_frame(known.shape.name, layer, ready));
  return true;
}

// Multiply-adds to compute the map of one head.
double work_of_head(const FamilyFacts& known) {
  return static_cast<double>(known.queries) * static_cast<double>(known.keys) * static_cast<double>(known.shape.d_k);
}

void sampled_atlas(LoadedTrace& loaded, const FamilyFacts& known, const std::vector<int>& layers, const TakeFrame& take,
                   const LookOptions& options) {
  LookOptions own = options;
  own.progress = nullptr;
  for (const int layer : layers) {
    if (options.progress) options.progress(0);  // yields to other jobs
    take(heads_frame(known.shape.name, layer, sampled_statistics(loaded.trace(), known, layer, kSampledRows, own)));
  }
}

void exact_atlas(LoadedTrace& loaded, const FamilyFacts& known, const std::vector<int>& layers, const TakeFrame& take,
                 const LookOptions& options) {
  const MapFamily& shape = known.shape;
  const int64_t at_once = std::clamp<int64_t>(static_cast<int64_t>(kSweepWork / std::max(1.0, work_of_head(known))), 1, shape.heads);
  const double steps = static_cast<double>(layers.size()) * static_cast<double>(shape.heads);
  double done = 0;
  for (const int layer : layers) {
    for (int64_t begin = 0; begin < shape.heads; begin += at_once) {
      const Range heads{begin, std::min(shape.heads, begin + at_once)};
      LookOptions own = options;
      if (options.progress)
        own.progress = [&](double part) { options.progress((done + part * static_cast<double>(heads.size())) / steps); };
      loaded.compute_statistics(shape.name, layer, heads, own);
      done += static_cast<double>(heads.size());
      take_ready(loaded, known, layer, heads, take);
    }
  }
}

}  // namespace

void atlas(LoadedTrace& loaded, const std::string& family, const TakeFrame& take, const LookOptions& options) {
  const FamilyFacts& known = loaded.facts(family);
  const MapFamily& shape = known.shape;
  if (known.layers.empty()) throw NotKept("No layer of this family was kept.", keep_command(loaded.trace(), ""));
  std::vector<int> to_do;
  for (const int layer : known.layers) {
    if (loaded.trace().has_statistics(shape.name, layer)) loaded.compute_statistics(shape.name, layer, {0, shape.heads}, options);
    if (!take_ready(loaded, known, layer, {0, shape.heads}, take)) to_do.push_back(layer);
  }
  if (to_do.empty()) return;
  check_all_rows(loaded, family, "An atlas");
  const double all = static_cast<double>(known.layers.size()) * static_cast<double>(shape.heads) * work_of_head(known);
  if (all > kSweepWork && known.queries > kSampledRows && known.windows.empty()) sampled_atlas(loaded, known, to_do, take, options);
  exact_atlas(loaded, known, to_do, take, options);
}

}  // namespace clearhead::viewer::questions
