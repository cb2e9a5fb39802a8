// Both runs use the same code, one without interventions. Heads are compared as in questions/compare.h.
#include "viewer/questions/what_if.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/format.h"
#include "clearhead/answers.h"
#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "explain/listener.h"
#include "generate/trace_of.h"
#include "models/progress_observer.h"
#include "models/run_text.h"
#include "viewer/questions/compare.h"
#include "viewer/questions/target.h"

namespace clearhead {
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

// A model's answer: a distribution, or the probability of each generated token.
struct Answer {
  std::vector<std::string> names{};
  std::vector<double> probabilities{};
};

std::vector<double> softmax(const float* logits, int64_t count) {
  const double most = static_cast<double>(*std::max_element(logits, logits + count));
  std::vector<double> out;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += out.emplace_back(std::exp(static_cast<double>(logits[i]) - most));
  for (double& p : out) p /= sum;
  return out;
}

std::string spelled(const Tokenizer& tokenizer, int32_t id) {
  const std::string bytes = tokenizer.token_bytes(id);
  return bytes.empty() ? std::string(tokenizer.token(id)) : bytes;
}

// Converts edits to interventions: ids of the text become positions in the sequences of each family that has them.
Interventions interventions_of(const RunPlan& plan, const WhatIfLook& look) {
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
        const Range rows = span.rows.value_or(Range{0, ids});
        const Range queries{std::max<int64_t>(0, rows.begin - family.first_query), std::min(family.queries, rows.end - family.first_query)};
        if (keys.end <= keys.begin || queries.end <= queries.begin) continue;
        to.push_back({queries, keys, {}, {}, family.name});
        any = true;
      }
      if (!any)
        fail(ErrorCode::kInvalidArgument, "tokens {} to {}: no attention has them as keys of these rows.", span.ids.begin,
             span.ids.end - 1);
    }
  };
  add(look.cut, out.knockouts);
  add(look.keep_only, out.keep_only);
  return out;
}

class Rerun {
 public:
  Rerun(LoadedTrace& loaded, const Tell& tell, const std::atomic<bool>* cancel)
      : loaded_(loaded), model_(loaded.model()), kind_(answer_kind_of(model_->info())), tell_(tell), cancel_(cancel) {}

  // Runs the open text; with `look`, the text that it names, with its edits.
  Answer run(const WhatIfLook* look, Trace* trace) {
    ProgressObserver observer(trace, tell_, cancel_);
    if (loaded_.options().input) return of_input(look, observer);
    return kind_ == AnswerKind::kWritten ? of_written(look, observer) : of_text(look, observer);
  }

 private:
  Answer of_input(const WhatIfLook* look, Observer& observer) {
    if (look && look->text)
      fail(ErrorCode::kUnsupported, "{}: this model reads a {}; its input cannot be replaced by a text.", model_->info().name,
           model_->info().reads);
    const ModelInput& input = *loaded_.options().input;
    const Interventions edits = look ? interventions_of(loaded_.trace().plan(), *look) : Interventions{};
    if (kind_ == AnswerKind::kWritten) return of_sound(input, edits, observer);
    observe(*model_, input, observer, edits);
    Answer out;
    if (model_->info().labels.empty()) return out;
    std::vector<ClassScore> scores = classify_inputs(*model_, {input}, edits)[0];
    std::sort(scores.begin(), scores.end(), [](const ClassScore& a, const ClassScore& b) { return a.label < b.label; });
    for (const ClassScore& one : scores) {
      out.names.push_back(one.label);
      out.probabilities.push_back(static_cast<double>(one.probability));
    }
    return out;
  }

  // The generated text stays the same, so that each of its tokens has a probability before and after.
  Answer of_sound(const ModelInput& input, const Interventions& edits, Observer& observer) {
    const WrittenText written = written_again(target_of(loaded_.trace().plan()));
    return answer_of(written.encoding, run_from_input(*model_, input, written.encoding,
                                                      {.observer = &observer, .text = written.text, .interventions = edits}));
  }

  // For another source, a target is generated first; otherwise the target stays, so that each of its tokens has a probability before and
  // after.
  Answer of_written(const WhatIfLook* look, Observer& observer) {
    SourceAndTarget parts = parts_of(loaded_.trace().plan());
    auto [source, target] = loaded_.given();
    if (look && look->text) {
      source = *look->text;
      parts.source = model_->tokenizer().encode(source);
      GenerateOptions writing = default_writing(*model_);
      writing.cancel = cancel_;
      const Generated made = generate_from(*model_, {parts.source}, writing)[0];
      WrittenText written = written_text(model_->info().first_token, made.ids, &model_->tokenizer());
      parts.target = written.encoding;
      target = written.text;
    } else {
      parts.source = model_->tokenizer().encode(source);
      const WrittenText written = written_again(parts.target);
      parts.target = written.encoding;
      target = written.text;
    }
    RunOptions options{.observer = &observer, .text = target, .source = source};
    if (look) options.interventions = interventions_of(planned(parts, options), *look);
    return answer_of(parts.target, model_->run_from(parts.source, parts.target, options));
  }

  // The target of the open trace, with its text.
  WrittenText written_again(const Encoding& target) const {
    return written_text(model_->info().first_token, {target.ids.begin() + 1, target.ids.end()}, &model_->tokenizer());
  }

  // The probability of every generated token, from the row before it.
  Answer answer_of(const Encoding& target, const RunResult& result) const {
    Answer out;
    const int64_t vocabulary = result.causal_logits.size(2);
    const float* logits = result.causal_logits.data<float>();
    for (size_t at = 0; at + 1 < target.size(); ++at) {
      const int32_t id = target.ids[at + 1];
      out.names.push_back(spelled(model_->tokenizer(), id));
      out.probabilities.push_back(softmax(logits + static_cast<int64_t>(at) * vocabulary, vocabulary)[static_cast<size_t>(id)]);
    }
    return out;
  }

  // The plan of a run, which is stopped before it computes anything.
  RunPlan planned(const SourceAndTarget& parts, RunOptions options) {
    struct Heard final : explain::Listener {
      RunPlan plan{};
      void begin(const RunPlan& of) override {
        plan = of;
        fail(ErrorCode::kCancelled, "what-if: only the plan was wanted");
      }
    } heard;
    options.observer = &heard;
    try {
      model_->run_from(parts.source, parts.target, options);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kCancelled) throw;
    }
    return heard.plan;
  }

  Answer of_text(const WhatIfLook* look, Observer& observer) {
    auto [text, pair] = loaded_.given();
    if (look && look->text) {
      text = *look->text;
      if (text.empty()) fail(ErrorCode::kInvalidArgument, "text: expected a text that is not empty.");
    }
    EncodeOptions encode;
    if (pair) encode.pair = *pair;
    const Encoding encoding = model_->tokenizer().encode(text, encode);
    RunOptions options{.observer = &observer, .last_logits_only = true, .text = text, .pair = pair};
    if (look) options.interventions = interventions_of(plan_of(*model_, encoding, options), *look);
    options.logits = kind_ == AnswerKind::kClass || kind_ == AnswerKind::kNext || kind_ == AnswerKind::kMasked;
    const std::optional<int32_t> mask = kind_ == AnswerKind::kMasked ? model_->tokenizer().special_tokens().mask : std::nullopt;
    if (kind_ == AnswerKind::kMasked) {
      const auto found = mask ? std::find(encoding.ids.begin(), encoding.ids.end(), *mask) : encoding.ids.end();
      options.logits = found != encoding.ids.end();
      if (options.logits) options.masked_rows = std::vector<int32_t>{static_cast<int32_t>(found - encoding.ids.begin())};
    }
    const RunResult result = model_->run(encoding, options);
    if (!options.logits) return {};
    return kind_ == AnswerKind::kClass  ? classes(result.class_logits)
           : kind_ == AnswerKind::kNext ? tokens(result.causal_logits.select(1, 0))
                                        : tokens(result.masked_logits);
  }

  Answer classes(const Tensor& logits) const {
    const ModelInfo& info = model_->info();
    Answer out{.names = info.labels, .probabilities = softmax(logits.data<float>(), logits.size(1))};
    for (size_t at = 0; info.problem == ProblemType::kMultiLabel && at < out.names.size(); ++at)
      out.probabilities[at] = 1 / (1 + std::exp(-static_cast<double>(logits.data<float>()[at])));
    return out;
  }

  Answer tokens(const Tensor& logits) const {
    Answer out{.probabilities = softmax(logits.data<float>(), logits.size(1))};
    for (int32_t id = 0; id < static_cast<int32_t>(out.probabilities.size()); ++id) out.names.push_back(spelled(model_->tokenizer(), id));
    return out;
  }

  LoadedTrace& loaded_;
  std::shared_ptr<const Model> model_;
  AnswerKind kind_;
  const Tell& tell_;
  const std::atomic<bool>* cancel_;
};

// The most probable answers before and after, paired by name. For generated text: every token, paired if the tokens are the same.
Json answers_json(const Answer& before, const Answer& after, AnswerKind kind) {
  const auto one_json = [](const std::string& name, Json was, Json is) {
    return Json::object({{"name", name}, {"before", std::move(was)}, {"after", std::move(is)}});
  };
  Json out = Json::array();
  if (kind == AnswerKind::kWritten) {
    const bool is_same = before.names == after.names;
    for (size_t at = 0; at < before.names.size(); ++at)
      out.push(one_json(before.names[at], before.probabilities[at], is_same ? Json(after.probabilities[at]) : Json()));
    for (size_t at = 0; !is_same && at < after.names.size(); ++at) out.push(one_json(after.names[at], Json(), after.probabilities[at]));
    return out;
  }
  const size_t count = before.names.size(), shown = std::min(count, kAnswersShown);
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  const auto larger = [&](size_t at) { return std::max(before.probabilities[at], after.probabilities[at]); };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                    [&](size_t a, size_t b) { return larger(a) > larger(b) || (larger(a) == larger(b) && a < b); });
  for (size_t at = 0; at < shown; ++at)
    out.push(one_json(before.names[order[at]], before.probabilities[order[at]], after.probabilities[order[at]]));
  return out;
}

// Σ p ln(p / q) in nats; null if the answers are not a distribution: generated tokens, independent labels.
Json divergence_json(const Answer& before, const Answer& after, const ModelInfo& info) {
  const bool stands_alone = answer_kind_of(info) == AnswerKind::kClass && info.problem == ProblemType::kMultiLabel;
  if (answer_kind_of(info) == AnswerKind::kWritten || stands_alone || before.names.empty()) return Json();
  double sum = 0;
  for (size_t at = 0; at < before.probabilities.size(); ++at) {
    const double p = before.probabilities[at], q = std::max(after.probabilities[at], 1e-300);
    if (p > 0) sum += p * std::log(p / q);
  }
  return Json(std::max(0.0, sum));
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
  Trace second(loaded.options().trace);
  const Answer before = Rerun(loaded, of_first, cancel).run(nullptr, nullptr);
  const Answer after = Rerun(loaded, of_second, cancel).run(&look, &second);
  LoadedTrace::Options options = loaded.options();
  options.together.clear();
  auto edited = std::make_shared<LoadedTrace>(std::make_shared<const Trace>(std::move(second)), std::move(options));
  const std::vector<Aligned> pieces = align(loaded.trace().plan().text, edited->trace().plan().text).pieces;
  progress(0.9, "comparing heads");
  Json runs = Json::array(), families = Json::array();
  for (const Aligned& piece : pieces) runs.push(Json(Json::Array{piece.before, piece.after, piece.count}));
  for (const MapFamily& family : edited->trace().plan().families)
    families.push(family_json(family.name, head_divergences(loaded, *edited, family.name, pieces, kRowsCompared, {.cancel = cancel})));
  const AnswerKind kind = answer_kind_of(loaded.model()->info());
  loaded.keep_edited(edited);
  return Json::object({{"id", edited->id()},
                       {"kind", to_string(kind)},
                       {"answers", answers_json(before, after, kind)},
                       {"kl", divergence_json(before, after, loaded.model()->info())},
                       {"aligned", runs},
                       {"families", families}});
}

}  // namespace questions
}  // namespace clearhead
