// clearhead judge MODEL --file DATA: how far each method of attribution says what the answers needed, on these texts.
//
//   DATA   a text a line; or JSON lines {"text", "question" or "pair", "of", "against", "marks": [[begin, end], …]}, marks in bytes of the text
#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/items.h"
#include "cli/terminal.h"
#include "judge/sanity.h"
#include "judge/verdict.h"
#include "viewer/questions/subject.h"

namespace clearhead::cli {

using namespace judge;  // NOLINT(google-build-using-namespace)

namespace {

struct Options {
  std::string model, items = "word", removal = "both";
  TextArguments text;
  std::vector<std::string> by;
  int64_t steps = 16, sets = 40, limit = 0, column = 0;
  uint64_t seed = 1;
  bool json = false, sanity = false;
};

struct Question {
  std::string text{}, pair{}, where{};
  Asked asked{};
  std::vector<std::array<int64_t, 2>> marks{};
};

Question question_of(const Json& line, const std::string& where) {
  Question out{.where = where};
  for (const auto& [name, value] : line.fields()) {
    if (name == "text") {
      out.text = value.string();
    } else if (name == "question" || name == "pair") {
      out.pair = value.string();
    } else if (name == "of") {
      out.asked.of = value.string();
    } else if (name == "against") {
      out.asked.against = value.string();
    } else if (name == "marks") {
      for (const Json& mark : value.items()) {
        if (mark.size() != 2) fail(ErrorCode::kFormat, "{}: \"marks\": expected pairs [begin, end] of bytes", where);
        out.marks.push_back({mark.items()[0].integer(), mark.items()[1].integer()});
      }
    } else {
      fail(ErrorCode::kUnsupported, "{}: \"{}\": expected text, question, pair, of, against or marks", where, name);
    }
  }
  if (out.text.empty()) fail(ErrorCode::kFormat, "{}: there is no \"text\"", where);
  return out;
}

std::string column_of(const std::string& line, int64_t column, const std::string& where) {
  size_t begin = 0;
  for (int64_t at = 1; at < column; ++at) {
    begin = line.find('\t', begin);
    if (begin == std::string::npos) fail(ErrorCode::kFormat, "{}: column {} of {}", where, column, at);
    ++begin;
  }
  return line.substr(begin, line.find('\t', begin) - begin);
}

std::vector<Question> questions_of(const Options& options) {
  const std::string name = options.text.file.empty() ? "text" : options.text.file;
  std::vector<Question> out;
  int64_t number = 0;
  for (const std::string& line : lines_of(options.text.read())) {
    ++number;
    if (line.empty() || (options.limit > 0 && static_cast<int64_t>(out.size()) == options.limit)) continue;
    const std::string where = format("{}:{}", name, number);
    out.push_back(line[0] == '{'       ? question_of(Json::parse(line, where), where)
                  : options.column > 0 ? Question{.text = column_of(line, options.column, where), .where = where}
                                       : Question{.text = line, .where = where});
  }
  if (out.empty()) fail(ErrorCode::kInvalidArgument, "{}: there is no text to judge by", name);
  return out;
}

std::unique_ptr<Subject> subject_of(const std::shared_ptr<const Model>& model, const Question& question) {
  if (reads_inputs(model->info())) return ask_about(model, input_of(model->info(), question.text, question.pair), question.asked);
  return ask_about(model, question.text, question.asked, question.pair.empty() ? std::nullopt : std::optional(question.pair));
}

// "both" leaves masking out where no token could stand in another's place.
std::vector<RemovedBy> ways_to_remove(const Options& options, const Model& model) {
  std::vector<RemovedBy> out;
  if (options.removal != "masked") out.push_back(RemovedBy::kUnseen);
  if (options.removal == "unseen") return out;
  const bool reads_tokens = model.info().vocabulary > 0;
  if (options.removal == "both" && reads_tokens && !masking_token(model.tokenizer())) {
    notice(format("{}: its tokenizer has no mask, unknown or padding token; items are taken away unseen only", model.info().name));
    return out;
  }
  out.push_back(RemovedBy::kMasked);
  return out;
}

std::string number(double value, bool with_sign = false) {
  return !std::isfinite(value) ? "–" : with_sign ? format("{:+.3f}", value) : format("{:.3f}", value);
}

void print_verdict(const Verdict& verdict, RemovedBy how) {
  print(format("{} texts · removed items are {} · means over texts", verdict.texts(), to_string(how)));
  const auto heading = [](std::initializer_list<const char*> names) {
    std::string line = fit("", 30);
    for (const char* name : names) line += fit(name, 10, true);
    print(line);
  };
  heading({"compr.", "suff.", "deletion", "insertion", "loo tau"});
  const auto row = [&](size_t method, std::initializer_list<Measure> asked) {
    std::string line = fit(verdict.names()[method], 30);
    for (const Measure measure : asked) line += fit(number(verdict.mean(method, measure).mean), 10, true);
    print(line);
  };
  for (size_t method = 0; method < verdict.names().size(); ++method) {
    row(method, {Measure::kComprehensiveness, Measure::kSufficiency, Measure::kDeletion, Measure::kInsertion, Measure::kLeaveOneOut});
  }
  heading({"infidel.", "sens.-n", "auprc", "token f1", "effective"});
  for (size_t method = 0; method < verdict.names().size(); ++method) {
    row(method, {Measure::kInfidelity, Measure::kSensitivity, Measure::kAuprc, Measure::kTokenF1, Measure::kEffective});
  }
  print("against random rankings, with 95 % intervals:");
  for (size_t method = 0; method + 2 < verdict.names().size(); ++method) {
    const metrics::Interval compr = verdict.against_random(method, Measure::kComprehensiveness),
                            suff = verdict.against_random(method, Measure::kSufficiency);
    print(format("{}compr. {} [{}, {}]   suff. {} [{}, {}]", fit(verdict.names()[method], 24), number(compr.mean, true),
                 number(compr.low, true), number(compr.high, true), number(suff.mean, true), number(suff.low, true),
                 number(suff.high, true)));
  }
}

Json interval_json(const metrics::Interval& interval) {
  const auto value = [](double number) { return std::isfinite(number) ? Json(number) : Json(); };
  return Json::object({{"mean", value(interval.mean)}, {"low", value(interval.low)}, {"high", value(interval.high)}});
}

Json verdict_json(const Verdict& verdict, RemovedBy how) {
  Json methods = Json::object({});
  for (size_t method = 0; method < verdict.names().size(); ++method) {
    Json one = Json::object({});
    for (const MeasureInfo& info : measures()) {
      one[info.name] = interval_json(verdict.mean(method, info.measure));
      if (info.measure == Measure::kComprehensiveness || info.measure == Measure::kSufficiency)
        one[std::string(info.name) + "_against_random"] = interval_json(verdict.against_random(method, info.measure));
    }
    methods[verdict.names()[method]] = one;
  }
  return Json::object({{"removal", to_string(how)}, {"texts", verdict.texts()}, {"methods", methods}});
}

// The same question, with the answer that this model gave, to any other model: what a translator wrote is not written anew.
AskModel asks_again(const Subject& subject, const Question& question) {
  Asked asked{.of = question.asked.of.starts_with("token ") ? question.asked.of : "", .of_id = subject.of()};
  if (subject.against() >= 0) asked.against_id = subject.against();
  const RunPlan plan = subject.plan();
  return [question, asked, plan, items = subject.items()](const std::shared_ptr<const Model>& model) {
    const ModelInfo& info = model->info();
    std::unique_ptr<Subject> out;
    if (reads_inputs(info)) {
      out = ask_about(model, input_of(info, question.text, question.pair), asked);
    } else if (writes_from_text(info)) {
      const questions::SourceAndTarget read = questions::parts_of(plan);
      out = ask_about(model, read.source, asked, read.target);
    } else {
      out = ask_about(model, question.text, asked, question.pair.empty() ? std::nullopt : std::optional(question.pair));
    }
    out->set_items(items);
    return out;
  };
}

void run_sanity(const Options& options, const VerdictOptions& settings, const std::vector<Question>& questions,
                const std::shared_ptr<const Model>& model) {
  std::vector<AskModel> asks;
  for (const Question& question : questions) {
    const std::unique_ptr<Subject> subject = subject_of(model, question);
    choose_items(*subject, options.items);
    if (subject->items().size() >= 3) asks.push_back(asks_again(*subject, question));
  }
  if (asks.empty()) fail(ErrorCode::kInvalidArgument, "judge: no text has 3 items or more");
  const Cancellable cancellable;  // Ctrl-C removes the folder of random weights
  AttributionOptions attribution = settings.attribution;
  attribution.cancel = &cancel_flag();
  std::vector<SanityStep> steps;
  {
    Progress progress("randomising weights");
    steps = sanity(options.model, asks,
                   {.methods = settings.methods, .attribution = attribution, .seed = options.seed, .progress = progress.callback()});
  }
  if (options.json) {
    Json out = Json::array();
    for (const SanityStep& step : steps) {
      Json agreement = Json::object({});
      for (size_t at = 0; at < step.agreement.size(); ++at)
        agreement[settings.methods[at].name] = std::isfinite(step.agreement[at]) ? Json(step.agreement[at]) : Json();
      out.push(Json::object({{"random", step.what}, {"agreement", agreement}}));
    }
    return print_json(Json::object({{"model", model->info().name}, {"texts", static_cast<int64_t>(asks.size())}, {"sanity", out}}));
  }
  print(format("{} texts · Kendall's tau with the trained model's scores, weights random from the answer back", asks.size()));
  std::string names = fit("", 26);
  for (const MethodInfo& method : settings.methods) names += fit(method.name, 21, true);
  print(names);
  for (const SanityStep& step : steps) {
    std::string line = fit(step.what, 26);
    for (const double tau : step.agreement) line += fit(number(tau, true), 21, true);
    print(line);
  }
  print("a method whose tau stays near 1 shows the text, not the model");
}

void run(Options& options) {
  if (!options.text.given()) usage_error("judge asks about texts: --file, a text, or - for standard input");
  VerdictOptions settings{.random_rankings = 5, .sets = options.sets, .seed = options.seed};
  settings.attribution.steps = options.steps;
  if (options.by.empty()) options.by = {"attention", "rollout", "relevance", "gradient-input", "occlusion"};
  for (const std::string& name : options.by) {
    if (name == "all") {
      settings.methods = attribution_methods();
    } else {
      settings.methods.push_back(method_named(name));
    }
  }
  const std::vector<Question> questions = questions_of(options);
  if (options.sanity) return run_sanity(options, settings, questions, load_model(options.model));
  const bool gradients =
      std::any_of(settings.methods.begin(), settings.methods.end(), [](const auto& method) { return method.needs_gradients; });
  const std::shared_ptr<const Model> model = load_model(options.model, {.gradients = gradients});
  const std::vector<RemovedBy> ways = ways_to_remove(options, *model);
  std::vector<Verdict> verdicts;
  for (const RemovedBy way : ways) {
    settings.removal = way;
    verdicts.emplace_back(settings);
  }
  const Cancellable cancellable;
  int64_t done = 0, short_ones = 0, not_given = 0;
  {
    Progress progress("judging");
    const auto report = progress.callback();
    for (const Question& question : questions) {
      if (cancel_flag()) break;
      std::unique_ptr<Subject> subject;
      try {
        subject = subject_of(model, question);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kNotFound || question.asked.of.empty()) throw;
        ++done;
        ++not_given;  // a word that is not in what the model writes
        continue;
      }
      choose_items(*subject, options.items);
      const std::vector<uint8_t> marks = question.marks.empty() ? std::vector<uint8_t>{} : items_in_bytes(*subject, question.marks);
      bool says_something = true;
      for (Verdict& verdict : verdicts) says_something = verdict.add(*subject, marks) && says_something;
      short_ones += !says_something;
      ++done;
      if (report) report(static_cast<double>(done) / static_cast<double>(questions.size()));
    }
  }
  if (done < static_cast<int64_t>(questions.size())) notice(format("ended after {} of {} texts", done, questions.size()));
  if (short_ones > 0) notice(format("{} texts have fewer than 3 items and say nothing", short_ones));
  if (not_given > 0) notice(format("{} questions ask for what the model does not write", not_given));
  if (verdicts[0].texts() == 0) fail(ErrorCode::kInvalidArgument, "judge: no text has 3 items or more");
  Json out = Json::array();
  for (size_t way = 0; way < ways.size(); ++way) {
    if (options.json) {
      out.push(verdict_json(verdicts[way], ways[way]));
    } else {
      print_verdict(verdicts[way], ways[way]);
    }
  }
  if (options.json) print_json(Json::object({{"model", model->info().name}, {"verdicts", out}}));
}

}  // namespace

void add_judge(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("judge", "Say how far each way to explain answers can be trusted, on texts of yours");
  command->footer(
      "Example: clearhead judge models/en-fr --file sentences.txt --limit 20\n"
      "compr.: what the answer loses without a method's first items (higher is better) · suff.: what it loses with them\n"
      "alone (lower) · deletion (lower), insertion (higher): areas · loo tau: with what each item alone takes away ·\n"
      "infidel. (lower) · sens.-n: correlation with what sets of items take away · auprc, token f1: against marks ·\n"
      "effective: how many items share the weight. Texts of JSON lines may have \"marks\": [[begin, end], …] in bytes.");
  command->add_option("model", options->model, "A model (its directory, or its name in the local Hugging Face cache)")->required();
  options->text.add(*command);
  command->add_option("--by", options->by,
                      "Methods, as clearhead why has them, or all\n(default: attention rollout relevance gradient-input occlusion)");
  command->add_option("--items", options->items, "What is ranked and taken away: word, token or sentence (default: word)")
      ->check(CLI::IsMember({"word", "token", "sentence"}));
  command->add_option("--removal", options->removal, "How: unseen, masked, or both, since they disagree (default: both)")
      ->check(CLI::IsMember({"unseen", "masked", "both"}));
  command->add_option("--column", options->column, "The text's column in lines with tabs, from 1 (default: the whole line)")
      ->check(whole_from(1));
  command->add_option("--limit", options->limit, "Judge by the first so many texts only")->check(whole_from(1));
  command->add_option("--steps", options->steps, "Steps of integrated gradients (default: 16)")->check(whole_from(1, 10000));
  command->add_option("--sets", options->sets, "Random sets of items for infidelity and sensitivity-n (default: 40)")
      ->check(whole_from(2, 100000));
  command->add_option("--seed", options->seed, "Seed of random rankings and sets (default: 1)");
  command->add_flag("--sanity", options->sanity, "Does a method depend on the model? Its ranking as weights become random, layer by layer");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
