// Runs trace_of() twice: on the open input, and with the interventions or the other text. Heads are compared as in questions/compare.h.
#include "viewer/questions/what_if.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/format.h"
#include "clearhead/answers.h"
#include "explain/answer_kind.h"
#include "explain/listener.h"
#include "explain/main_answers.h"
#include "generate/trace_of.h"
#include "models/input_kind.h"
#include "models/labelled_tokens.h"
#include "models/run_text.h"
#include "viewer/questions/compare.h"
#include "viewer/questions/target.h"

namespace clearhead::viewer {
namespace {

Range range_of(const Json& json, const char* what) {
  const Json::Array& pair = json.items();
  if (pair.size() != 2 || pair[0].integer() < 0 || pair[1].integer() <= pair[0].integer())
    fail(ErrorCode::kInvalidArgument, "api/what-if: \"{}\": expected ranges [begin, end], found {}.", what, json.dump());
  return {pair[0].integer(), pair[1].integer()};
}

std::vector<WhatIfLook::Span> spans_of(Fields& fields, const char* name) {
  std::vector<WhatIfLook::Span> out;
  const Json* all = fields.take(name);
  if (!all || all->is_null()) return out;
  for (const Json& one : all->items()) {
    Fields span(one, "api/what-if", name);
    out.push_back({.ids = range_of(span.require("ids"), name)});
    if (const Json* rows = span.take("rows"); rows && !rows->is_null()) out.back().rows = range_of(*rows, name);
    span.refuse_rest();
  }
  return out;
}

}  // namespace

WhatIfLook what_if_look_of(const Json& body) {
  Fields fields(body, "api/what-if");
  WhatIfLook look;
  if (const Json* text = fields.take("text"); text && !text->is_null()) look.text = text->string();
  if (const Json* heads = fields.take("knock_out"); heads && !heads->is_null()) {
    for (const Json& one : heads->items()) {
      Fields head(one, "api/what-if", "knock_out");
      const int64_t layer = head.integer("layer");
      if (layer < 0 || layer > 100'000) fail(ErrorCode::kInvalidArgument, "api/what-if: \"knock_out\": there is no layer {}.", layer);
      look.knock_out.push_back({static_cast<int>(layer), head.integer("head"), head.string_or("f", "")});
      head.refuse_rest();
    }
  }
  look.cut = spans_of(fields, "cut");
  look.keep_only = spans_of(fields, "keep_only");
  fields.refuse_rest();
  return look;
}

namespace questions {
namespace {

constexpr int64_t kRowsCompared = 64;  // of each head
constexpr size_t kAnswersShown = 8;

using Tell = std::function<void(double, const std::string&)>;

// Converts edits to interventions: ids of the text become positions in the sequences of each family that has them. more: the number of rows
// that may follow the text, which edits of all rows include.
Interventions interventions_of(const RunPlan& plan, const WhatIfLook& look, int64_t more = 0) {
  Interventions out{.ablated = look.knock_out};
  for (Interventions::Head& head : out.ablated) {
    if (head.family.empty()) head.family = plan.families.front().name;
  }
  const auto ids = static_cast<int64_t>(plan.text.ids.size());
  const auto add = [&](const std::vector<WhatIfLook::Span>& spans, std::vector<Interventions::Pairs>& to) {
    for (const WhatIfLook::Span& span : spans) {
      if (span.ids.end > ids)
        fail(ErrorCode::kInvalidArgument, "token {} is out of range: the text has {} tokens, counted from 0.", span.ids.end - 1, ids);
      bool any = false;
      for (const MapFamily& family : plan.families) {
        const Range keys{std::max<int64_t>(0, span.ids.begin - family.first_key), std::min(family.keys, span.ids.end - family.first_key)};
        const Range rows = span.rows.value_or(Range{0, ids + more});
        const Range queries{std::max<int64_t>(0, rows.begin - family.first_query),
                            std::min(family.queries + more, rows.end - family.first_query)};
        if (keys.end <= keys.begin || queries.end <= queries.begin) continue;
        to.push_back({queries, keys, {}, {}, family.name});
        any = true;
      }
      if (!any)
        fail(ErrorCode::kInvalidArgument, "tokens {} to {} are not keys of these rows in any attention family.", span.ids.begin,
             span.ids.end - 1);
    }
  };
  add(look.cut, out.knockouts);
  add(look.keep_only, out.keep_only);
  return out;
}

// Returns the request that runs the model on the open trace's input again. Generated text stays the same, so that each of its tokens has
// a probability in both runs.
TraceRequest request_of(const LoadedTrace& loaded, const explain::AnswerKind* kind, const Tell& progress, const std::atomic<bool>* cancel) {
  TraceRequest out{.input = loaded.given(), .options = loaded.options().trace, .logits = true, .progress = progress, .cancel = cancel};
  if (kind && kind->is_sequence) {
    const Encoding target = target_of(loaded.trace().plan());
    out.written.emplace(target.ids.begin() + 1, target.ids.end());
    out.input.pair.reset();
  }
  return out;
}

// Replaces the text, and returns the plan of a run on it. A model that generates text writes a new target.
RunPlan read_other_text(TraceRequest& request, const Model& model, const std::string& text) {
  if (!input_kind(model.info()).is_text())
    fail(ErrorCode::kUnsupported, "{}: this model reads a {}; its input cannot be replaced by a text.", model.info().name,
         model.info().reads);
  request.input.text = text;
  if (!request.written) return plan_text(model, request);
  const TracedInput first = trace_of(model, {.input = request.input, .options = {.layers = {0}}, .cancel = request.cancel});
  request.written = first.written->ids;
  return first.trace.plan();
}

std::string text_of(const Model& model, const std::vector<int32_t>& written) {
  return written_text(model.info().first_token, written, model.shared_tokenizer().get()).text;
}

// The text that the model generates with these edits. The answers compare the probabilities of the tokens that were generated before; this
// is what the model would generate instead.
std::string rewritten(const Model& model, TraceRequest request, const RunPlan& plan, const WhatIfLook& look) {
  request.written.reset();
  request.keep = request.logits = false;
  request.interventions = interventions_of(plan, look, default_writing(model).max_tokens);
  if (!input_kind(model.info()).is_text()) {
    explain::PlanListener heard;
    observe(model, request.input, heard, request.interventions);
    const Encoding target = target_of(heard.plan);
    return text_of(model, {target.ids.begin() + 1, target.ids.end()});
  }
  try {
    return trace_of(model, request).written->text;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    return {};  // it generates nothing
  }
}

Json answer_json(const std::string& name, Json before, Json after) {
  return Json::object({{"name", name}, {"before", std::move(before)}, {"after", std::move(after)}});
}

// The most probable answers before and after, paired by name. For generated text: every token, paired if the tokens are the same.
Json answers_json(const explain::Answers& before, const explain::Answers& after, bool is_sequence) {
  Json out = Json::array();
  if (is_sequence) {
    const bool is_same = before.names == after.names;
    for (size_t at = 0; at < before.names.size(); ++at)
      out.push(answer_json(before.names[at], before.probabilities[at], is_same ? Json(after.probabilities[at]) : Json()));
    for (size_t at = 0; !is_same && at < after.names.size(); ++at) out.push(answer_json(after.names[at], Json(), after.probabilities[at]));
    return out;
  }
  const size_t count = before.names.size(), shown = std::min(count, kAnswersShown);
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  const auto larger = [&](size_t at) { return std::max(before.probabilities[at], after.probabilities[at]); };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                    [&](size_t a, size_t b) { return larger(a) > larger(b) || (larger(a) == larger(b) && a < b); });
  for (size_t at = 0; at < shown; ++at)
    out.push(answer_json(before.names[order[at]], before.probabilities[order[at]], after.probabilities[order[at]]));
  return out;
}

// For a model that labels tokens: the most probable label of each labelled token of the edited text, before and after.
Json labels_json(const std::function<explain::Answers(int64_t)>& before, const std::function<explain::Answers(int64_t)>& after,
                 const Model& model, const RunText& edited, const std::vector<Aligned>& pieces) {
  std::vector<int64_t> before_of(edited.ids.size(), -1);
  for (const Aligned& piece : pieces) {
    for (int64_t i = 0; i < piece.count; ++i) before_of[static_cast<size_t>(piece.after + i)] = piece.before + i;
  }
  Json out = Json::array();
  for (const int64_t token : labelled_tokens(model, edited)) {
    const auto add = [&](const std::string& name, Json was, Json is) {
      Json one = answer_json(name, std::move(was), std::move(is));
      one["token"] = token;
      out.push(std::move(one));
    };
    const explain::Answers is = after(token);
    if (is.names.empty()) return out;
    const size_t now = explain::most_probable(is);
    const int64_t old = before_of[static_cast<size_t>(token)];
    if (old < 0) {
      add(is.names[now], Json(), is.probabilities[now]);
      continue;
    }
    const explain::Answers was = before(old);
    const size_t first = explain::most_probable(was);
    add(was.names[first], was.probabilities[first], is.probabilities[first]);
    if (now != first) add(is.names[now], was.probabilities[now], is.probabilities[now]);
  }
  return out;
}

// {"id", "rows", "divergence"} of a family; null if a layer was not kept or no row is in both runs.
Json family_json(const std::string& name, const HeadDivergences& found) {
  Json layers = Json::array();
  for (const std::vector<double>& layer : found.divergence) {
    Json heads = Json::array();
    for (const double mean : layer) heads.push(std::isnan(mean) ? Json() : Json(mean));
    layers.push(std::move(heads));
  }
  return Json::object({{"id", name}, {"rows", found.rows}, {"divergence", layers}});
}

}  // namespace

Json what_if(LoadedTrace& loaded, const WhatIfLook& look, const Tell& progress, const std::atomic<bool>* cancel) {
  const Tell of_first = [&](double done, const std::string& what) { progress(done * 0.45, what); };
  const Tell of_second = [&](double done, const std::string& what) { progress(0.45 + done * 0.45, what); };
  const std::shared_ptr<const Model> model = loaded.model();
  const explain::AnswerKind* kind = explain::answer_kind(model->info());
  const auto answers = [&](const TraceRequest& request, const RunResult& result) {
    return kind && kind->shown ? kind->shown(*model, result, request.written.value_or(std::vector<int32_t>{})) : explain::Answers{};
  };
  TraceRequest request = request_of(loaded, kind, of_first, cancel);
  request.keep = false;
  RunResult first = trace_of(*model, request).result;
  const explain::Answers before = answers(request, first);
  first = {.class_logits = first.class_logits};  // for labels of tokens
  const std::string text_before = request.written ? text_of(*model, *request.written) : "";
  const auto reading = [&](const auto& run) { return look.text ? reading_typed(*model, *look.text, run) : run(); };
  const RunPlan plan = look.text ? reading([&] { return read_other_text(request, *model, *look.text); }) : loaded.trace().plan();
  request.interventions = interventions_of(plan, look);
  Json written;
  if (request.written) {
    const std::string text_after =
        request.interventions.empty() ? text_of(*model, *request.written) : rewritten(*model, request, plan, look);
    written = Json::object({{"before", text_before}, {"after", text_after}});
  }
  request.keep = true;
  request.progress = of_second;
  TracedInput second = reading([&] { return trace_of(*model, request); });
  const explain::Answers after = answers(request, second.result);
  LoadedTrace::Options options = loaded.options();
  options.together.clear();
  options.answers = explain::main_answers(*model, second.result, second.trace.plan().text);
  auto edited = std::make_shared<LoadedTrace>(std::make_shared<const Trace>(std::move(second.trace)), std::move(options));
  const std::vector<Aligned> pieces = align(loaded.trace().plan().text, edited->trace().plan().text).pieces;
  progress(0.9, "comparing heads");
  Json runs = Json::array(), families = Json::array();
  for (const Aligned& piece : pieces) runs.push(Json(Json::Array{piece.before, piece.after, piece.count}));
  for (const MapFamily& family : edited->trace().plan().families)
    families.push(family_json(family.name, head_divergences(loaded, *edited, family.name, pieces, kRowsCompared, {.cancel = cancel})));
  const std::optional<double> kl = explain::divergence(model->info(), before, after);
  loaded.keep_edited(edited);
  const auto label_of = [&](const RunResult& of) { return [&](int64_t token) { return kind->shown_at(*model, of, token); }; };
  Json shown = kind && kind->shown_at ? labels_json(label_of(first), label_of(second.result), *model, edited->trace().plan().text, pieces)
                                      : answers_json(before, after, kind && kind->is_sequence);
  return Json::object({{"id", edited->id()},
                       {"kind", std::string(kind ? kind->name : "none")},
                       {"answers", std::move(shown)},
                       {"written", std::move(written)},
                       {"kl", kl ? Json(*kl) : Json()},
                       {"aligned", runs},
                       {"families", families}});
}

}  // namespace questions
}  // namespace clearhead::viewer
