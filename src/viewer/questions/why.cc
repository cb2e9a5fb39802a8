// Computes the methods one after the other. Then evaluates each ranking by how much removing its highest-ranked items changes the answer,
// compared with random rankings. Answers are cached by removal, so rankings that agree share runs.
#include "viewer/questions/why.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <set>

#include "base/format.h"
#include "explain/attribution.h"
#include "explain/evaluate/agreement.h"
#include "explain/evaluate/faithfulness.h"
#include "explain/items.h"
#include "explain/remembered.h"
#include "explain/sides.h"
#include "models/run_text.h"
#include "models/trace_text.h"
#include "viewer/questions/ranges.h"
#include "viewer/questions/target.h"

namespace clearhead::viewer {

WhyLook why_look_of(const Json& body) {
  Fields fields(body, "api/why");
  WhyLook look;
  look.asked.target = fields.string_or("target", "");
  look.asked.contrast = fields.string_or("contrast", "");
  if (const Json* token = fields.take("token"); token && !token->is_null()) look.token = token->integer();
  look.methods = fields.strings("methods");
  look.units = fields.string_or("units", "auto");
  look.at_most = fields.number_or("at_most", 0);
  fields.refuse_rest();
  const std::set<std::string> known{"auto", "word", "sentence", "token", "segment"};
  if (!known.count(look.units))
    fail(ErrorCode::kInvalidArgument, "api/why: \"units\": expected auto, word, sentence, token or segment, found \"{}\".", look.units);
  if (look.methods.empty()) fail(ErrorCode::kInvalidArgument, "api/why: \"methods\": is empty; expected one or more.");
  for (const std::string& name : look.methods) explain::method_named(name);
  return look;
}

namespace questions {
namespace {

using explain::AttributionTarget;
using explain::Method;
using explain::Removal;

constexpr size_t kMostWords = 400;      // with more words, sentences are used
constexpr size_t kRandomRankings = 10;  // baseline for each method
// Up to this many items, each is removed once to find the most important one. With more, only the kCutsOfMethod items that each method
// ranks highest are removed.
constexpr size_t kAllCuts = 100;
constexpr size_t kCutsOfMethod = 8;
constexpr double kSimilarChange = 0.9;  // items whose removal changes the answer by this share of the largest change are named with it

// The kind of the items, and the name of each if they are segments.
struct Units {
  std::string kind{};
  std::vector<std::string> names{};
};

// Groups the target's tokens into items.
Units choose_items(LoadedTrace& loaded, const WhyLook& look, AttributionTarget& target) {
  const RunText& text = loaded.trace().plan().text;
  if (look.units == "segment") return {"segment", explain::group_by_segments(target, explain::segments_as_units(text))};
  if (!text.items.empty()) return {text.items_of(target.items().front().begin)->kind};
  if (look.units == "token") return {"token"};
  std::vector<Range> items = explain::items_of_words(target, loaded.words());
  const bool by_sentence = look.units == "sentence" || (look.units == "auto" && items.size() > kMostWords);
  if (by_sentence) items = explain::items_of_sentences(target);
  target.set_items(std::move(items));
  return {by_sentence ? "sentence" : "word"};
}

struct TargetSpec {
  Method method{};
  std::vector<double> scores{};  // empty: the method failed
  std::string refused{};
  double comprehensiveness = std::nan("");
  double seconds = 0;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void check_cancelled(const WhyEvents& events) {
  if (events.cancel && events.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "why: cancelled");
}

// Each score divided by the sum of the absolute scores.
Json shares_json(const std::vector<double>& scores) {
  double sum = 0;
  for (const double score : scores) sum += std::abs(score);
  Json out = Json::array();
  for (const double score : scores) out.push(sum > 0 ? score / sum : 0.0);
  return out;
}

class Why {
 public:
  Why(LoadedTrace& loaded, const WhyLook& look, const WhyEvents& events) : loaded_(loaded), look_(look), events_(events) {}

  Json answer() {
    std::vector<TargetSpec> asked;
    for (const std::string& name : look_.methods) asked.push_back({.method = explain::method_named(name)});
    open(asked);
    units_ = choose_items(loaded_, look_, *target_);
    if (target_->items().empty()) fail(ErrorCode::kInvalidArgument, "This text has no token that the answer could be attributed to.");
    Json out = Json::object({{"answer", target_->answer()},
                             {"probability", target_->probability()},
                             {"is_number", target_->is_number()},
                             {"items", ranges_json(target_->items())},
                             {"item_kind", units_.kind},
                             {"read_from", read_from()}});
    if (look_.units == "segment") out["segments"] = segments_json();
    const double seconds = say_cost(asked, out);
    if (look_.at_most > 0 && seconds > look_.at_most) {
      out["methods"] = Json();
      return out;
    }
    for (TargetSpec& one : asked) attribute(one);
    judge_all(asked, out);
    return out;
  }

 private:
  // A model that does not support gradients is still opened: the methods that need them then report the reason.
  void open(std::vector<TargetSpec>& asked) {
    const bool gradients = std::any_of(asked.begin(), asked.end(), [](const TargetSpec& one) { return one.method.needs_gradients; });
    if (events_.progress) events_.progress(0, gradients ? "reading the weights" : "asking the model");
    if (gradients) {
      try {
        loaded_.model(true);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kUnsupported || dynamic_cast<const NotKept*>(&error)) throw;
        for (TargetSpec& one : asked) one.refused = one.method.needs_gradients ? error.what() : "";
      }
    }
    target_ = attribution_target(loaded_, look_.asked, look_.token, false);
  }

  // The segment behind each item.
  Json segments_json() const {
    const std::vector<double> tokens = target_->by_item(std::vector<double>(target_->plan().text.ids.size(), 1));
    Json out = Json::array();
    for (size_t item = 0; item < tokens.size(); ++item)
      out.push(Json::object({{"name", units_.names[item]}, {"tokens", static_cast<int64_t>(tokens[item])}}));
    return out;
  }

  Json read_from() const {
    Json out = Json::array();
    const Range side = explain::ids_of_side(target_->plan(), target_->side());
    const int64_t tokens = loaded_.trace().plan().text.tokens();
    for (const int64_t row : target_->rows()) {
      if (side.begin + row < tokens) out.push(side.begin + row);  // the open text lacks the tokens of a longer answer
    }
    return out;
  }

  // Estimates the cost: counts the runs and times one of them.
  double say_cost(const std::vector<TargetSpec>& asked, Json& out) {
    const size_t items = target_->items().size();
    int64_t runs = static_cast<int64_t>(2 * kRandomRankings + 1 + (items <= kAllCuts ? items : kCutsOfMethod * asked.size()));
    for (const TargetSpec& one : asked) runs += one.refused.empty() ? explain::runs_of(*target_, one.method) + 2 : 0;
    const auto begin = std::chrono::steady_clock::now();
    remembered_.emplace(*target_, explain::RemovedBy::kUnseen);
    (*remembered_)({Removal(items, 0)});
    const double seconds = seconds_since(begin) * static_cast<double>(runs);
    const Json cost = Json::object({{"runs", runs},
                                    {"tokens", static_cast<int64_t>(target_->plan().text.ids.size())},
                                    {"items", static_cast<int64_t>(items)},
                                    {"item_kind", units_.kind},
                                    {"seconds", seconds}});
    out["cost"] = cost;
    if (events_.cost) events_.cost(cost);
    return seconds;
  }

  void attribute(TargetSpec& one) {
    check_cancelled(events_);
    if (!one.refused.empty()) return;
    explain::AttributionOptions options{.cancel = events_.cancel};
    options.progress = [&](double done) {
      if (events_.progress) events_.progress(done, one.method.name);
    };
    options.progress(0);
    const auto begin = std::chrono::steady_clock::now();
    try {
      one.scores = explain::attribute(*target_, one.method, options);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) throw;
      one.refused = error.what();
    }
    check_cancelled(events_);  // results of a cancelled method are incomplete
    one.seconds = seconds_since(begin);
  }

  double comprehensiveness(const std::vector<double>& scores) {
    const double shares[] = {look_.share};
    check_cancelled(events_);
    return explain::erasure([this](const std::vector<Removal>& removed) { return (*remembered_)(removed); }, scores, shares)
        .comprehensiveness[0];
  }

  void judge_all(std::vector<TargetSpec>& asked, Json& out) {
    const size_t items = target_->items().size();
    if (events_.progress) events_.progress(0, "random rankings");
    std::vector<double> random;
    for (size_t draw = 0; draw < kRandomRankings; ++draw) random.push_back(comprehensiveness(explain::random_ranking(items, draw)));
    const double mean = std::accumulate(random.begin(), random.end(), 0.0) / static_cast<double>(random.size());
    Json methods = Json::array();
    for (TargetSpec& one : asked) methods.push(method_json(one, random));
    out["methods"] = methods;
    out["share"] = look_.share;
    out["removed"] = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(look_.share * static_cast<double>(items) - 1e-9)));
    out["random"] = Json::object({{"rankings", static_cast<int64_t>(random.size())}, {"comprehensiveness", mean}});
    out["agreement"] = agreement_json(asked);
    out["cut"] = cut_json(asked);
  }

  Json method_json(TargetSpec& one, const std::vector<double>& random) {
    Json out = Json::object({{"name", one.method.name}, {"what", one.method.what}});
    if (one.scores.empty()) {
      out["refused"] = one.refused;
      return out;
    }
    const bool is_signed = std::any_of(one.scores.begin(), one.scores.end(), [](double score) { return score < 0; });
    one.comprehensiveness = comprehensiveness(one.scores);
    const auto beaten = std::count_if(random.begin(), random.end(), [&](double other) { return one.comprehensiveness > other; });
    out["shares"] = shares_json(one.scores);
    out["signed"] = is_signed;
    if (one.method.removes_items) {
      out["drops"] = Json::array();
      for (const double drop : one.scores) out["drops"].push(drop);
    }
    out["comprehensiveness"] = one.comprehensiveness;
    out["beats"] = static_cast<int64_t>(beaten);
    out["seconds"] = one.seconds;
    return out;
  }

  static Json agreement_json(const std::vector<TargetSpec>& asked) {
    Json out = Json::array();
    for (const TargetSpec& one : asked) {
      Json row = Json::array();
      for (const TargetSpec& other : asked) {
        const bool both = !one.scores.empty() && !other.scores.empty() && one.scores.size() > 1;
        row.push(both ? Json(explain::kendall(one.scores, other.scores)) : Json());
      }
      out.push(std::move(row));
    }
    return out;
  }

  // The item whose removal changes the answer most, among all items or among those that some method ranks highest, and the items that
  // change it almost as much in the same direction.
  Json cut_json(const std::vector<TargetSpec>& asked) {
    const size_t items = target_->items().size();
    if (events_.progress) events_.progress(0, "cuts");
    std::set<size_t> candidates;
    for (size_t item = 0; items <= kAllCuts && item < items; ++item) candidates.insert(item);
    for (const TargetSpec& one : asked) {
      if (one.scores.empty() || items <= kAllCuts) continue;
      const std::vector<size_t> order = explain::ranked(one.scores);
      candidates.insert(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(std::min(kCutsOfMethod, items)));
    }
    if (candidates.empty()) return Json();
    std::vector<Removal> sets;
    for (const size_t item : candidates) {
      sets.emplace_back(items, 0);
      sets.back()[item] = 1;
    }
    check_cancelled(events_);
    const std::vector<double> without = (*remembered_)(sets);
    const auto drop = [&](size_t at) { return target_->probability() - without[at]; };
    size_t best = 0;
    for (size_t at = 1; at < without.size(); ++at) best = std::abs(drop(at)) > std::abs(drop(best)) ? at : best;
    const auto along = [&](size_t at) { return drop(best) < 0 ? -drop(at) : drop(at); };  // negative: a change in the other direction
    const std::vector<size_t> numbers(candidates.begin(), candidates.end());
    std::vector<size_t> similar;
    for (size_t at = 0; at < without.size(); ++at) {
      if (at != best && along(at) > 0 && along(at) >= kSimilarChange * along(best)) similar.push_back(at);
    }
    std::stable_sort(similar.begin(), similar.end(), [&](size_t a, size_t b) { return along(a) > along(b); });
    Json also = Json::array();
    for (const size_t at : similar) also.push(static_cast<int64_t>(numbers[at]));
    return Json::object({{"item", static_cast<int64_t>(numbers[best])},
                         {"also", std::move(also)},
                         {"of", static_cast<int64_t>(candidates.size())},
                         {"unseen", without[best]},
                         {"masked", masked(sets[best])}});
  }

  Json masked(const Removal& removed) const {
    try {
      return target_->answers({removed}, explain::RemovedBy::kMasked)[0];
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) throw;
      return Json();  // the tokenizer has no token that could replace the item
    }
  }

  LoadedTrace& loaded_;
  const WhyLook& look_;
  const WhyEvents& events_;
  std::unique_ptr<AttributionTarget> target_{};
  Units units_{};
  std::optional<explain::Remembered> remembered_{};
};

}  // namespace

Json why(LoadedTrace& loaded, const WhyLook& look, const WhyEvents& events) { return Why(loaded, look, events).answer(); }

}  // namespace questions
}  // namespace clearhead::viewer
