// clearhead judge --sanity, --with and --moved: tests whether a ranking or an attention map depends on the model.
#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "clearhead/error.h"
#include "cli/cli.h"
#include "cli/items.h"
#include "cli/judge.h"
#include "cli/terminal.h"
#include "explain/moved_map.h"
#include "explain/target_words.h"
#include "metrics/bootstrap.h"
#include "viewer/questions/target.h"

namespace clearhead::cli {

using namespace explain;  // NOLINT(google-build-using-namespace)

namespace {

// Returns a function that puts the question to another model, but explains the answer that this model gave (`target`). An
// encoder-decoder gets the text that this model generated and does not generate its own.
AskModel asks_again(const AttributionTarget& target, const JudgeQuestion& question) {
  TargetSpec asked{.target = question.asked.target.starts_with("token ") ? question.asked.target : "", .target_ids = target.answer_ids()};
  if (target.contrast() >= 0) asked.contrast_id = target.contrast();
  const auto before = static_cast<size_t>(target.rows().front()) + 1;  // target tokens up to the explained row
  return [question, asked, before, plan = target.plan(), items = target.items()](const std::shared_ptr<const Model>& model) {
    const ModelInfo& info = model->info();
    std::unique_ptr<AttributionTarget> out;
    if (writes_from_text(info)) {
      viewer::questions::SourceAndTarget read = viewer::questions::parts_of(plan);
      keep_first(read.target, before);
      out = make_target(model, read.source, asked, read.target);
    } else {
      out = make_target(model, input_of(info, question.text, question.pair), asked);
    }
    out->set_items(items);
    return out;
  };
}

// One entry per question with at least 3 items. Throws kInvalidArgument if there is none.
std::vector<AskModel> asks_of(const JudgeOptions& options, const std::vector<JudgeQuestion>& questions,
                              const std::shared_ptr<const Model>& model) {
  std::vector<AskModel> out;
  for (const JudgeQuestion& question : questions) {
    const std::unique_ptr<AttributionTarget> target = judge_target_or_none(model, question, options.items);
    if (target && target->items().size() >= 3) out.push_back(asks_again(*target, question));
  }
  if (out.empty()) fail(ErrorCode::kInvalidArgument, "judge: no text has 3 items or more; use longer texts, or --units token");
  return out;
}

// Prints Kendall's tau between each method's scores on this model and on another one, one line per other model.
void print_agreement(const JudgeOptions& options, const VerdictOptions& settings, size_t texts, const std::vector<SanityStep>& steps,
                     const char* name) {
  if (options.json) {
    Json out = Json::array();
    for (const SanityStep& step : steps) {
      Json agreement = Json::object({});
      for (size_t at = 0; at < step.agreement.size(); ++at)
        agreement[settings.methods[at].name] = std::isfinite(step.agreement[at]) ? Json(step.agreement[at]) : Json();
      out.push(Json::object({{name, step.what}, {"agreement", agreement}}));
    }
    return print_json(
        Json::object({{"model", options.model}, {"texts", static_cast<int64_t>(texts)}, {options.sanity ? "sanity" : "others", out}}));
  }
  std::string names = fit("", 26);
  for (const Method& method : settings.methods) names += fit(method.name, 21, true);
  print(names);
  for (const SanityStep& step : steps) {
    std::string line = fit(step.what, 26);
    for (const double tau : step.agreement) line += fit(judge_number(tau, true), 21, true);
    print(line);
  }
}

SanityOptions sanity_options(const JudgeOptions& options, const VerdictOptions& settings, Progress& progress) {
  SanityOptions out{
      .methods = settings.methods, .attribution = settings.attribution, .seed = options.seed, .progress = progress.callback()};
  out.attribution.cancel = &cancel_flag();
  return out;
}

}  // namespace

void judge_sanity(const JudgeOptions& options, const VerdictOptions& settings, const std::vector<JudgeQuestion>& questions) {
  const std::vector<AskModel> asks = asks_of(options, questions, load_model(options.model));
  const Cancellable cancellable;  // Ctrl-C removes the folder of random weights
  std::vector<SanityStep> steps;
  {
    Progress progress("randomising weights");
    steps = sanity(options.model, asks, sanity_options(options, settings, progress));
  }
  if (!options.json)
    print(format(
        "{} texts · Kendall's tau with the trained model's scores, as weights are randomised layer by layer, from the output to the input",
        asks.size()));
  print_agreement(options, settings, asks.size(), steps, "random");
  if (!options.json) print("a method whose tau stays near 1 reflects the text, not the model");
}

void judge_others(const JudgeOptions& options, const VerdictOptions& settings, const std::vector<JudgeQuestion>& questions) {
  const std::vector<AskModel> asks = asks_of(options, questions, load_model(options.model));
  const Cancellable cancellable;
  std::vector<SanityStep> steps;
  {
    Progress progress("other models");
    steps = agreement_with(options.model, options.others, asks, sanity_options(options, settings, progress));
  }
  if (!options.json) print(format("{} texts · Kendall's tau with the scores of {} for the same answers", asks.size(), options.model));
  print_agreement(options, settings, asks.size(), steps, "model");
  if (!options.json)
    print(
        "with another seed, tau should be high; a method that keeps a high tau with a model trained on shuffled labels reflects the text");
}

void judge_moved_maps(const JudgeOptions& options, const std::vector<JudgeQuestion>& questions) {
  const std::shared_ptr<const Model> model = load_model(options.model, {.gradients = true});
  const Cancellable cancellable;
  MovedMapOptions asked{.tolerance = options.tolerance, .seed = options.seed, .cancel = &cancel_flag()};
  if (options.layer >= 0) asked.layer = static_cast<int>(options.layer);
  std::vector<MovedMap> found;
  {
    Progress progress("moving maps");
    const auto report = progress.callback();
    for (size_t at = 0; at < questions.size() && !cancel_flag(); ++at) {
      const std::unique_ptr<AttributionTarget> target = judge_target_or_none(model, questions[at], options.items);
      try {
        if (target) found.push_back(furthest_map(*target, asked));
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kCancelled) throw;  // maps found before the cancellation are still printed
      }
      if (report) report(static_cast<double>(at + 1) / static_cast<double>(questions.size()));
    }
  }
  if (cancel_flag()) notice(format("interrupted after {} answers; the results cover only these", found.size()));
  if (found.empty())
    fail(ErrorCode::kInvalidArgument, "judge: --moved examined no answer; expected a question whose target the model generates");
  const auto mean_of = [&](const auto& value_of) {
    std::vector<double> values;
    for (const MovedMap& one : found) values.push_back(value_of(one));
    return metrics::bootstrap_mean(values, {.seed = options.seed});
  };
  const metrics::Interval moved = mean_of([](const MovedMap&one) { return one.moved; }),
                          uniform = mean_of([](const MovedMap&one) { return one.uniform - one.probability; });
  const std::string where = format("{}, layer {}", found.front().site.family, found.front().site.layer);
  if (options.json) {
    Json texts = Json::array();
    for (const MovedMap& one : found)
      texts.push(Json::object({{"probability", one.probability}, {"uniform", one.uniform}, {"moved", one.moved}, {"kept", one.kept}}));
    return print_json(Json::object({{"model", options.model},
                                    {"attention", where},
                                    {"tolerance", options.tolerance},
                                    {"moved", judge_interval(moved)},
                                    {"uniform", judge_interval(uniform)},
                                    {"texts", texts}}));
  }
  const auto interval = [](const metrics::Interval& value, bool with_sign) {
    return format("{} [{}, {}]", judge_number(value.mean, with_sign), judge_number(value.low, with_sign),
                  judge_number(value.high, with_sign));
  };
  print(format("{} answers · the attention row that each is read from, {} · means over answers, 95 % intervals", found.size(), where));
  print(format("{}{} nats (Jensen–Shannon divergence, at most 0.693)", fit("the map moves by", 38), interval(moved, false)));
  print(format("  {}{}", fit("while the probability stays within", 36), options.tolerance));
  print(format("{}{}", fit("equal weights change it by", 38), interval(uniform, true)));
  print("if the map can change a lot while the answer stays the same, it explains little");
}

}  // namespace clearhead::cli
