// Ranks heads for show, ask and atlas: by their weight on a range of keys, or by the strength of their best statistic. Refuses
// layers, heads and ranges that the trace does not contain.
#include "cli/look.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "cli/cli.h"
#include "cli/terminal.h"
#include "observe/shown.h"
#include "observe/written_rows.h"
#include "viewer/family_facts.h"

namespace clearhead::cli {

std::string heading_name(const Trace& trace) {
  const std::string& name = trace.plan().model;
  const size_t end = name.find_last_not_of('/');
  const std::string whole = name.substr(0, end == std::string::npos ? 0 : end + 1);
  return whole.substr(whole.rfind('/') + 1);
}

std::string family_of(const Trace& trace, const std::string& named) {
  if (named.empty()) return trace.main_family();
  std::string known;
  for (const MapFamily& family : trace.plan().families) {
    if (family.name == named) return named;
    known += (known.empty() ? "" : ", ") + family.name;
  }
  usage_error(format("--family {}: this model's maps are {}", named, known));
}

void check_layer(const Trace& trace, const std::string& family, int layer) {
  for (const MapFamily& known : trace.plan().families) {
    if (known.name == family && layer >= known.layers)
      usage_error(format("layer {}: this model's layers are 0 to {}", layer, known.layers - 1));
  }
}

void check_head(const Trace& trace, const std::string& family, int layer, int64_t head) {
  check_layer(trace, family, layer);
  const int64_t heads = trace.map(family, layer).heads();
  if (head < 0 || head >= heads) usage_error(format("{}: layer {} has heads 0 to {}", head_name(layer, head), layer, heads - 1));
}

void check_scored(const LayerMap& map, Range rows, Range keys) {
  if (map.whole()) return;
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    if (map.has_row(i)) continue;
    fail(ErrorCode::kNotFound,
         "the query vectors of tokens #{}:{} were not all kept; trace again with --rows {}:{}, or with a larger --budget", rows.begin,
         rows.end, rows.begin, rows.end);
  }
  const float largest = *map.tile(0, {.queries = rows, .keys = keys, .cells = {1, 1}}).max.data<float>();
  if (largest < 0) {
    fail(ErrorCode::kNotFound, "no window contains both #{}:{} and #{}:{}, so these pairs were never scored; use a longer --window",
         rows.begin, rows.end, keys.begin, keys.end);
  }
}

bool has_sink_logit(const LayerMap& map) {
  if (map.frames().empty()) return false;
  const auto* softmax = std::get_if<Softmax>(&map.frames()[0].record.spec.normaliser);
  return softmax && softmax->sinks;
}

Range rows_of(const Trace& trace, const std::string& family, Range tokens) {
  return written_rows(trace, trace.family(family)).rows_of(tokens);
}

std::string row_text(const Trace& trace, const std::string& family, int64_t row, const std::function<std::string(int64_t id)>& name) {
  const WrittenRows written = written_rows(trace, trace.family(family));
  const std::optional<int64_t> named = written.named_by(row);
  if (!named) return std::string(name_of_unwritten(trace.plan().text, written, row));
  const bool is_token = !trace.plan().text.items_of(*named);  // patches are drawn, not written
  return (written.writes(row) && is_token ? "writing " : "") + format("#{} {}", *named, name(*named));
}

std::vector<int64_t> sinks_of(const Trace& trace, const std::string& family) { return viewer::find_facts(trace, family).sinks; }

std::string sink_names(const RunText& text, const std::vector<int64_t>& sinks) {
  constexpr size_t kNamed = 4;
  std::string out;
  for (size_t at = 0; at < std::min(kNamed, sinks.size()); ++at)
    out += (at > 0 ? ", " : "") + format("#{} {}", sinks[at], visible(text.pieces[static_cast<size_t>(sinks[at])]));
  return sinks.size() > kNamed ? out + format(" and {} more", sinks.size() - kNamed) : out;
}

std::vector<HeadMass> heads_by_mass(const Trace& trace, const std::string& family, const std::vector<int>& layers, Range rows, Range keys) {
  std::vector<HeadMass> out;
  const std::vector<int64_t> sinks = sinks_of(trace, family);
  Progress progress("heads");
  const auto report = progress.callback();
  for (size_t at = 0; at < layers.size(); ++at) {
    const LayerMap map = trace.map(family, layers[at]);
    check_scored(map, rows, keys);
    const std::vector<float> mass = map.mass(rows, keys), chance = chance_mass(map, rows, keys);
    std::vector<float> sink(mass.size(), 0.0f);
    for (const int64_t key : sinks) {
      const std::vector<float> part = map.mass(rows, {key, key + 1});
      for (size_t h = 0; h < sink.size(); ++h) sink[h] += std::isnan(part[h]) ? 0.0f : part[h];
    }
    for (size_t h = 0; h < mass.size(); ++h) out.push_back({layers[at], static_cast<int64_t>(h), mass[h], chance[h], sink[h]});
    if (report) report(static_cast<double>(at + 1) / static_cast<double>(layers.size()));
  }
  std::stable_sort(out.begin(), out.end(), [](const HeadMass& a, const HeadMass& b) { return a.mass > b.mass; });
  return out;
}

void print_top_heads(const Trace& trace, const std::string& family, const std::vector<int>& layers, int64_t row, int64_t top, bool json,
                     const std::string& command) {
  struct Found {
    int layer;
    int64_t head;
    Weighted key;
    double sink;
  };
  const std::vector<int64_t> sinks = sinks_of(trace, family);
  const auto is_sink = [&](const Weighted& key) { return std::binary_search(sinks.begin(), sinks.end(), key.key); };
  std::vector<Found> found;
  const RunText& text = trace.plan().text;
  for (const int layer : layers) {
    const LayerMap map = trace.map(family, layer);
    for (int64_t h = 0; h < map.heads(); ++h) {
      const MapRow weights = map.row(h, row);
      const std::vector<Weighted> best = weights.top_k(static_cast<int64_t>(sinks.size()) + 1);
      double sink = 0;
      for (const int64_t key : sinks) {
        const float weight = weights.weights()[static_cast<size_t>(key)];
        sink += std::isnan(weight) ? 0.0 : static_cast<double>(weight);
      }
      const auto other = std::find_if_not(best.begin(), best.end(), is_sink);
      if (other != best.end()) found.push_back({layer, h, *other, sink});
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.key.weight > b.key.weight; });
  if (static_cast<int64_t>(found.size()) > top) found.resize(static_cast<size_t>(top));
  Json list = Json::array();
  for (const Found& item : found) {
    list.push(Json::object({{"layer", item.layer},
                            {"head", item.head},
                            {"key", item.key.key},
                            {"token", text.pieces[static_cast<size_t>(item.key.key)]},
                            {"weight", item.key.weight},
                            {"sink", item.sink}}));
  }
  Json left_out = Json::array();
  for (const int64_t key : sinks) left_out.push(key);
  if (json) return print_json(Json::object({{"family", family}, {"query", row}, {"sinks", left_out}, {"heads", list}}));
  const auto piece = [&](int64_t id) { return visible(text.pieces[static_cast<size_t>(id)]); };
  print(format("{}: the heads with the largest weight on one key{}", row_text(trace, family, row, piece),
               sinks.empty() ? "" : ", excluding attention sinks: " + sink_names(text, sinks)));
  for (const Json& item : list.items()) {
    const std::string took = sinks.empty() ? "" : format("   (sinks: {:.0f} %)", item.find("sink")->number() * 100);
    print(format("  {:<8} {:>6.2f} %  #{:<7} {}{}",
                 head_name(static_cast<int>(item.find("layer")->integer()), item.find("head")->integer()),
                 item.find("weight")->number() * 100, item.find("key")->integer(), visible(item.find("token")->string()), took));
  }
  if (!found.empty()) {
    const int64_t token = written_rows(trace, trace.family(family)).named_by(row).value_or(row);
    print(format("next: {} --head {} --query {}", command, head_name(found[0].layer, found[0].head), token));
  }
}

std::vector<HeadScores> by_strength(std::vector<HeadScores> heads) {
  std::stable_sort(heads.begin(), heads.end(), [](const HeadScores& a, const HeadScores& b) { return a.strength > b.strength; });
  return heads;
}

std::string strongest_text(const HeadScores& head, bool is_short) {
  std::string text;
  for (const NamedScore& score : strongest(head, kNamedScores)) {
    const double percent = static_cast<double>(score.value) * 100;
    text += text.empty() ? "" : ", ";
    text += is_short ? format("{} {:.0f}", std::string_view(score.id).substr(0, 5), percent) : format("{} {:.1f} %", score.id, percent);
  }
  return text;
}

Json head_json(const HeadScores& head) {
  Json names = Json::array();
  for (const NamedScore& score : strongest(head, kNamedScores)) names.push(score.id);
  Json json = Json::object({{"layer", head.layer},
                            {"head", head.head},
                            {"name", head_name(head.layer, head.head)},
                            {"kind", head.kind},
                            {"strongest", std::move(names)}});
  for (size_t s = 0; s < kHeadScores; ++s)
    json[head_score_definitions()[s].id] = std::isnan(head.scores[s]) ? Json() : Json(head.scores[s]);
  return json;
}

void print_telling_heads(const Trace& trace, const std::string& family, int64_t count, bool json, const std::string& command) {
  Progress progress("atlas");
  std::vector<HeadScores> heads = by_strength(head_atlas(trace, family, {.progress = progress.callback()}));
  if (static_cast<int64_t>(heads.size()) > count) heads.resize(static_cast<size_t>(count));
  if (json) {
    Json list = Json::array();
    for (const HeadScores& head : heads) list.push(head_json(head));
    return print_json(Json::object({{"family", family}, {"heads", list}}));
  }
  print(cut(format("{} · {} · the heads with the strongest scores on this text", heading_name(trace), family), terminal().width));
  for (const HeadScores& head : heads) {
    print(cut(format("  {:<8} {}", head_name(head.layer, head.head), strongest_text(head)), terminal().width));
  }
  if (!heads.empty()) print(format("next: {} --head {}", command, head_name(heads[0].layer, heads[0].head)));
}

}  // namespace clearhead::cli
