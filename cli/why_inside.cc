// Prints the answer that each layer would give, a table of heads (one column per measure, strongest head first), and the grid of
// heads with the effects of patching.
#include "cli/why_inside.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/residual_stream.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/terminal.h"
#include "explain/inside.h"
#include "models/run_text.h"

namespace clearhead::cli {

using namespace explain;  // NOLINT(google-build-using-namespace)

namespace {

using Place = std::tuple<std::string, int, int64_t>;
Place place_of(const HeadEffect& head) { return {head.family, head.layer, head.head}; }

struct Row {
  HeadEffect head{};
  double lost = 0, gradient = 0, adds = std::nan("");
};

Json heads_json(const std::vector<HeadEffect>& heads) {
  Json out = Json::array();
  for (const HeadEffect& head : heads)
    out.push(Json::object({{"family", head.family}, {"layer", head.layer}, {"head", head.head}, {"value", head.value}}));
  return out;
}

// The result of `ask`, or an empty one if the model does not support the question.
template <class F>
auto if_there(const F& ask) -> decltype(ask()) {
  try {
    return ask();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported && error.code() != ErrorCode::kNotFound) throw;
    return {};
  }
}

std::string name_of(const HeadEffect& head, bool with_family) {
  return head_name(head.layer, head.head) + (with_family ? " " + head.family : "");
}

}  // namespace

std::string printed_answer(const AttributionTarget& target, double answer) {
  return target.is_number() ? format("{:.6g}", answer) : percent(answer);
}

void print_inside(const AttributionTarget& target, const InsideView& view) {
  const std::vector<LayerAnswer> layers = if_there([&] { return logit_lens(target); });
  const std::vector<HeadEffect> adds = if_there([&] { return heads_by_what_they_add(target); }), by_gradient = heads_by_gradient(target);
  std::vector<HeadEffect> lost;
  {
    Progress progress("knocking out heads");
    lost = heads_by_knock_out(target, {.progress = progress.callback(), .cancel = view.cancel});
  }
  if (view.json) {
    Json lens = Json::array();
    for (const LayerAnswer& layer : layers)
      lens.push(Json::object({{"layer", layer.layer},
                              {"probability", layer.probability},
                              {"best", layer.best},
                              {"best_probability", layer.best_probability}}));
    return print_json(Json::object({{"model", target.plan().model},
                                    {"answer", target.answer()},
                                    {"probability", target.probability()},
                                    {"layers", lens},
                                    {"knocked_out", heads_json(lost)},
                                    {"gradient", heads_json(by_gradient)},
                                    {"adds", heads_json(adds)}}));
  }
  print(format("{} · {} · {}", target.plan().model, visible(target.answer()), printed_answer(target, target.probability())));
  if (target.answer_ids().size() > 1)
    notice("the answer has several tokens; the logit lens and the column \"adds\" are available only for answers of one token");
  if (!layers.empty()) print("the answer if the model ended after a layer (logit lens):");
  for (const LayerAnswer& layer : layers) {
    print(format("  {:<11} {:>6.2f} %   best \"{}\" {:.2f} %", layer.layer == 0 ? "embeddings" : format("layer {}", layer.layer - 1),
                 layer.probability * 100, visible(layer.best), layer.best_probability * 100));
  }
  std::map<Place, Row> rows;
  for (const HeadEffect& head : lost) rows[place_of(head)] = {.head = head, .lost = head.value};
  for (const HeadEffect& head : by_gradient) {
    if (const auto at = rows.find(place_of(head)); at != rows.end()) at->second.gradient = head.value;
  }
  for (const HeadEffect& head : adds) {
    if (const auto at = rows.find(place_of(head)); at != rows.end()) at->second.adds = head.value;
  }
  std::vector<Row> order;
  for (const auto& [place, row] : rows) order.push_back(row);
  std::stable_sort(order.begin(), order.end(), [](const Row& a, const Row& b) { return std::abs(a.lost) > std::abs(b.lost); });
  const bool families = target.plan().families.size() > 1;
  print(format("heads, by what the answer loses without them:\n  {:<16} {:>9} {:>10} {:>10}", "", "lost", "gradient", "adds"));
  for (size_t i = 0; i < std::min(order.size(), static_cast<size_t>(view.top)); ++i) {
    const Row& row = order[i];
    const std::string lost_by = target.is_number() ? format("{:.4g}", row.lost) : format("{:.2f} %", row.lost * 100);
    print(format("  {:<16} {:>9} {:>10.3f} {:>10}", name_of(row.head, families), lost_by, row.gradient,
                 std::isnan(row.adds) ? "–" : format("{:+.3f}", row.adds)));
  }
  print(
      "  lost: what the answer loses if the head's output is zero · gradient: with respect to a factor on the head's output · adds: direct "
      "contribution to the logit");
}

void print_patching(const AttributionTarget& clean, const AttributionTarget& corrupted, const InsideView& view) {
  std::vector<HeadEffect> parts;
  {
    Progress progress("patching heads");
    parts = heads_by_patching(clean, corrupted, {.progress = progress.callback(), .cancel = view.cancel});
  }
  if (parts.empty()) fail(ErrorCode::kCancelled, "why: cancelled before any head was patched");
  std::vector<HeadEffect> order = parts;
  std::stable_sort(order.begin(), order.end(),
                   [](const HeadEffect& a, const HeadEffect& b) { return std::abs(a.value) > std::abs(b.value); });
  const std::vector<double> places = places_by_patching(clean, corrupted, order[0]);
  if (view.json) {
    Json of_places = Json::array();
    for (const double place : places) of_places.push(place);
    return print_json(Json::object({{"model", clean.plan().model},
                                    {"answer", clean.answer()},
                                    {"clean", clean.probability()},
                                    {"corrupted", corrupted.probability()},
                                    {"heads", heads_json(parts)},
                                    {"strongest", heads_json({order[0]}).items()[0]},
                                    {"places", of_places}}));
  }
  const Terminal screen = terminal();
  print(format("{} · {} · clean {}, corrupted {}", clean.plan().model, visible(clean.answer()), printed_answer(clean, clean.probability()),
               printed_answer(corrupted, corrupted.probability())));
  print("how much of the answer is restored by the clean text's output of one head, one row per layer:");
  for (const MapFamily& family : clean.plan().families) {
    for (int layer = 0; layer < family.layers; ++layer) {
      std::string line =
          format("  {:<10}", clean.plan().families.size() > 1 ? format("{} {}", family.name, layer) : format("layer {}", layer));
      for (const HeadEffect& part : parts) {
        if (part.family == family.name && part.layer == layer) line += format("{:>7.0f} %", part.value * 100);
      }
      print(line);
    }
  }
  print(format("{}, token by token:", name_of(order[0], clean.plan().families.size() > 1)));
  std::vector<size_t> by_place(places.size());
  for (size_t i = 0; i < places.size(); ++i) by_place[i] = i;
  std::stable_sort(by_place.begin(), by_place.end(), [&](size_t a, size_t b) { return std::abs(places[a]) > std::abs(places[b]); });
  for (size_t i = 0; i < std::min<size_t>(by_place.size(), static_cast<size_t>(std::min<int64_t>(view.top, 5))); ++i) {
    const size_t place = by_place[i];
    const std::string piece = place < clean.plan().text.pieces.size() ? clean.plan().text.pieces[place] : "";
    print(cut(format("  {:>6.0f} %  #{:<5} {}", places[place] * 100, place, visible(piece)), screen.width));
  }
}

namespace {

// Indices of the components, sorted by absolute value, largest first.
std::vector<size_t> order_of(const std::vector<ScorePart>& parts, double ScorePart::*side) {
  std::vector<size_t> order(parts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return std::abs(parts[a].*side) > std::abs(parts[b].*side); });
  return order;
}

}  // namespace

void print_score(const Model& model, const std::string& text, const std::optional<std::string>& pair, const std::string& place,
                 const InsideView& view) {
  const Interventions::Pairs pairs = parse_pairs(place, "--score");
  if (pairs.queries.size() != 1 || pairs.keys.size() != 1 || !pairs.head)
    usage_error(format("--score: expected one query, one key and a head, such as 12/3@L4.H0, found \"{}\"", place));
  const ScoreAt at{pairs.family, *pairs.layer, *pairs.head, pairs.queries.begin, pairs.keys.begin};
  const bool writes = writes_from_text(model.info());
  ReadAndWritten read;
  if (writes) {
    if (at.family.empty())
      usage_error(format("--score: {} has three kinds of attention; expected 12/3@cross.L0.H0, @dec.… or @enc.…", model.info().name));
    read = read_and_write(model, text, pair);
  } else {
    EncodeOptions both;
    if (pair) both.pair = *pair;
    read.source = model.tokenizer().encode(text, both);
  }
  const ScoreSplit split = split_score(model, read.source, at, writes ? std::optional(read.target.encoding) : std::nullopt);
  if (view.json) {
    Json parts = Json::array();
    for (const ScorePart& part : split.parts)
      parts.push(Json::object({{"part", part_name(part)}, {"query", part.query}, {"key", part.key}}));
    return print_json(Json::object({{"model", model.info().name},
                                    {"family", at.family.empty() ? Json() : Json(at.family)},
                                    {"layer", at.layer},
                                    {"head", at.head},
                                    {"query", at.query},
                                    {"key", at.key},
                                    {"score", split.score},
                                    {"parts", parts}}));
  }
  const RunText source = run_text(read.source, &model.tokenizer(), text, writes ? std::nullopt : pair);
  const RunText target = writes ? run_text(read.target.encoding, &model.tokenizer(), read.target.text) : RunText{};
  const auto token = [&](int64_t at_token, bool in_target) {
    const RunText& of = in_target ? target : source;
    const auto [begin, end] = of.offsets[static_cast<size_t>(at_token)];
    const std::string own = of.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    return format("#{} \"{}\"", at_token, visible(own.empty() ? of.pieces[static_cast<size_t>(at_token)] : own));
  };
  print(format("{} · {}{} · the score of {} with {}: {:+.3f}", model.info().name, at.family.empty() ? "" : at.family + " ",
               head_name(at.layer, at.head), token(at.query, writes && at.family != "enc"), token(at.key, at.family == "dec" && writes),
               split.score));
  print(format("  {:<24}  {}", "parts of the query", "parts of the key"));
  const std::vector<size_t> of_query = order_of(split.parts, &ScorePart::query), of_key = order_of(split.parts, &ScorePart::key);
  const size_t rows = std::min(of_query.size(), static_cast<size_t>(view.top));
  double rest_of_query = split.score, rest_of_key = split.score;
  for (size_t i = 0; i < rows; ++i) {
    const ScorePart &a = split.parts[of_query[i]], &b = split.parts[of_key[i]];
    rest_of_query -= a.query;
    rest_of_key -= b.key;
    const auto side = [](double value, const ScorePart& part) { return value == 0 ? "" : format("{:>+8.3f}  {}", value, part_name(part)); };
    print(format("  {:<24}  {}", side(a.query, a), side(b.key, b)));
  }
  if (rows < of_query.size())
    print(format("  {:>+8.3f}  {:<14}  {:>+8.3f}  the other {}", rest_of_query, format("the other {}", of_query.size() - rows), rest_of_key,
                 of_query.size() - rows));
  print("  each column adds up to the score, scale · q·k before biases and soft caps; norms keep the scale that they had in the run");
}

}  // namespace clearhead::cli
