// clearhead judge MODEL --file DATA: measures how faithful each attribution method is to the model, on these texts.
//
//   DATA   one text per line; or JSON lines {"text", "question" or "pair", "target", "contrast", "marks": [[begin, end], …]}, where
//          marks are in bytes of the text, or in items of a picture or sound
#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "cli/cli.h"
#include "cli/items.h"
#include "cli/judge.h"
#include "cli/terminal.h"
#include "explain/evaluate/plot.h"

namespace clearhead::cli {

using namespace explain;  // NOLINT(google-build-using-namespace)

namespace {

// The ways of removal to measure. "both" leaves out masking if the tokenizer has no token to replace others with.
std::vector<RemovedBy> ways_to_remove(const JudgeOptions& options, const Model& model) {
  std::vector<RemovedBy> out;
  if (options.removal != "masked") out.push_back(RemovedBy::kUnseen);
  if (options.removal == "unseen") return out;
  const bool reads_tokens = model.info().vocabulary > 0;
  if (options.removal == "both" && reads_tokens && !masking_token(model.tokenizer())) {
    notice(format("{}: its tokenizer has no mask, unknown or padding token; --removal masked is skipped", model.info().name));
    return out;
  }
  out.push_back(RemovedBy::kMasked);
  return out;
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
    for (const Measure measure : asked) line += fit(judge_number(verdict.mean(method, measure).mean), 10, true);
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
    print(format("{}compr. {} [{}, {}]   suff. {} [{}, {}]", fit(verdict.names()[method], 24), judge_number(compr.mean, true),
                 judge_number(compr.low, true), judge_number(compr.high, true), judge_number(suff.mean, true), judge_number(suff.low, true),
                 judge_number(suff.high, true)));
  }
}

Json verdict_json(const Verdict& verdict, RemovedBy how) {
  Json methods = Json::object({});
  for (size_t method = 0; method < verdict.names().size(); ++method) {
    Json one = Json::object({});
    for (const MeasureInfo& info : measures()) {
      one[info.name] = judge_interval(verdict.mean(method, info.measure));
      if (info.measure == Measure::kComprehensiveness || info.measure == Measure::kSufficiency)
        one[std::string(info.name) + "_against_random"] = judge_interval(verdict.against_random(method, info.measure));
    }
    methods[verdict.names()[method]] = one;
  }
  return Json::object({{"removal", to_string(how)}, {"texts", verdict.texts()}, {"methods", methods}});
}

// One panel for each measure that is defined for these texts; the dashed line is the random ranking.
DotPlot plot_of(const Verdict& verdict, RemovedBy how, const JudgeOptions& options) {
  DotPlot out{.title = format("{}: attribution methods, removed items are {}", options.model, to_string(how)),
              .caption = format("Dots: means over {} texts; lines: 95 % bootstrap intervals. Dashed: a random ranking.", verdict.texts()),
              .rows = verdict.names()};
  const size_t random = verdict.names().size() - 2;
  for (const auto& [measure, title] :
       {std::pair{Measure::kComprehensiveness, "comprehensiveness (higher is better)"},
        std::pair{Measure::kSufficiency, "sufficiency (lower is better)"},
        std::pair{Measure::kLeaveOneOut, "Kendall's τ with leave-one-out"}, std::pair{Measure::kAuprc, "AUPRC"}}) {
    Panel panel{.title = title};
    bool is_measured = false;
    for (size_t method = 0; method < out.rows.size(); ++method) {
      const metrics::Interval mean = verdict.mean(method, measure);
      const bool is_defined = std::isfinite(mean.mean);
      panel.values.push_back(is_defined ? std::optional(mean) : std::nullopt);
      is_measured = is_measured || is_defined;
      if (method == random && is_defined) panel.reference = mean.mean;
    }
    if (is_measured) out.panels.push_back(std::move(panel));
  }
  return out;
}

PageTable table_of(const Verdict& verdict, RemovedBy how) {
  PageTable out{.title = format("Removed items are {}: means over {} texts", to_string(how), verdict.texts()), .head = {"method"}};
  for (const MeasureInfo& info : measures()) out.head.emplace_back(info.name);
  for (size_t method = 0; method < verdict.names().size(); ++method) {
    std::vector<std::string> row = {verdict.names()[method]};
    for (const MeasureInfo& info : measures()) row.push_back(judge_number(verdict.mean(method, info.measure).mean));
    out.rows.push_back(std::move(row));
  }
  return out;
}

void write_plots(const JudgeOptions& options, const std::vector<Verdict>& verdicts, const std::vector<RemovedBy>& ways) {
  if (!options.svg.empty()) write_file(options.svg, dot_plot_svg(plot_of(verdicts[0], ways[0], options)));
  if (options.html.empty()) return;
  std::vector<std::string> svgs;
  std::vector<PageTable> tables;
  for (size_t way = 0; way < ways.size(); ++way) {
    svgs.push_back(dot_plot_svg(plot_of(verdicts[way], ways[way], options)));
    tables.push_back(table_of(verdicts[way], ways[way]));
  }
  write_file(
      options.html,
      page_html(
          format("How far explanations of {} can be trusted", options.model),
          "Each method ranks the items of a text; the items that it ranks first are removed, and the model is run again. A method that "
          "does not beat a random ranking explains nothing. The numbers depend on how items are removed, so each way is shown.",
          svgs, tables));
}

bool asks_for_all(const JudgeOptions& options) { return std::find(options.by.begin(), options.by.end(), "all") != options.by.end(); }

std::vector<Method> methods_of(const JudgeOptions& options) {
  static const std::vector<std::string> usual = {"attention", "rollout", "relevance", "gradient-input", "occlusion"};
  std::vector<Method> out;
  for (const Method& info : attribution_methods()) {
    if (asks_for_all(options) && !info.is_for_short_texts) out.push_back(info);
  }
  for (const std::string& name : options.by.empty() ? usual : options.by) {
    const bool is_there = std::any_of(out.begin(), out.end(), [&](const Method& info) { return info.name == name; });
    if (name != "all" && !is_there) out.push_back(method_named(name));
  }
  return out;
}

bool needs_gradients(const std::vector<Method>& methods) {
  return std::any_of(methods.begin(), methods.end(), [](const Method& method) { return method.needs_gradients; });
}

// Leaves out methods that the model does not support, found by trying each on the first question. Methods that were asked for by name
// all stay, and are refused when they are used.
void leave_out_unsupported(const JudgeOptions& options, const std::shared_ptr<const Model>& model,
                           const std::vector<JudgeQuestion>& questions, VerdictOptions& settings) {
  if (!options.by.empty() && !asks_for_all(options)) return;
  std::unique_ptr<AttributionTarget> target;
  for (size_t at = 0; !target && at < questions.size(); ++at) target = judge_target_or_none(model, questions[at], options.items);
  if (!target) return;
  std::erase_if(settings.methods, [&](const Method& method) {
    if (method.removes_items) return false;  // many runs, which every model supports
    try {
      (void)attribute(*target, method, settings.attribution);
      return false;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) throw;
      notice(format("left out: {}: {}", method.name, error.what()));
      return true;
    }
  });
}

void run_verdict(const JudgeOptions& options, VerdictOptions settings, const std::vector<JudgeQuestion>& questions) {
  const std::shared_ptr<const Model> model = load_model(options.model, {.gradients = needs_gradients(settings.methods)});
  leave_out_unsupported(options, model, questions, settings);
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
    for (const JudgeQuestion& question : questions) {
      if (cancel_flag()) break;
      ++done;
      const std::unique_ptr<AttributionTarget> target = judge_target_or_none(model, question, options.items);
      if (!target) {
        ++not_given;
        continue;
      }
      const std::vector<uint8_t> marks = judge_marks(*model, *target, question);
      bool says_something = true;
      for (Verdict& verdict : verdicts) says_something = verdict.add(*target, marks) && says_something;
      short_ones += !says_something;
      if (report) report(static_cast<double>(done) / static_cast<double>(questions.size()));
    }
  }
  if (done < static_cast<int64_t>(questions.size()))
    notice(format("interrupted after {} of {} texts; the results cover only these", done, questions.size()));
  if (short_ones > 0) notice(format("{} texts were skipped: they have fewer than 3 items", short_ones));
  if (not_given > 0) notice(format("{} questions were skipped: the model does not generate their target", not_given));
  if (verdicts[0].texts() == 0) fail(ErrorCode::kInvalidArgument, "judge: no text has 3 items or more; use longer texts, or --units token");
  write_plots(options, verdicts, ways);
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

void run(const JudgeOptions& options) {
  if (!options.text.given()) usage_error("judge needs texts: --file, a text, or - for standard input");
  const bool checks = options.sanity || options.moved || !options.others.empty();
  if (checks && !(options.svg.empty() && options.html.empty()))
    usage_error("--svg and --html draw the comparison of methods; leave them out with --sanity, --with or --moved");
  for (const std::string* out : {&options.svg, &options.html}) {
    if (!out->empty()) check_writable(*out);
  }
  VerdictOptions settings{.methods = methods_of(options), .random_rankings = 5, .sets = options.sets, .seed = options.seed};
  settings.attribution.steps = options.steps;
  const std::vector<JudgeQuestion> questions = judge_questions(options);
  if (options.moved) return judge_moved_maps(options, questions);
  if (options.sanity || !options.others.empty()) {
    leave_out_unsupported(options, load_model(options.model, {.gradients = needs_gradients(settings.methods)}), questions, settings);
    return options.sanity ? judge_sanity(options, settings, questions) : judge_others(options, settings, questions);
  }
  run_verdict(options, settings, questions);
}

}  // namespace

void add_judge(CLI::App& app) {
  auto options = std::make_shared<JudgeOptions>();
  CLI::App* command = app.add_subcommand("judge", "Measure how faithful each method of explanation is, on your own texts");
  command->footer(
      "Example: clearhead judge models/en-fr --file sentences.txt --limit 20\n"
      "compr.: what the answer loses without the items that a method ranks first (higher is better) · suff.: what it loses\n"
      "with these items only (lower) · deletion (lower), insertion (higher): areas under the curves · loo tau: Kendall's tau\n"
      "with leave-one-out scores · infidel.: infidelity (lower) · sens.-n: correlation with the effect of removing sets of\n"
      "items · auprc, token f1: agreement with marks · effective: effective number of items.\n"
      "A line of JSON may have \"marks\": [[begin, end], …]: bytes of the text, patches of a picture row by row, or frames\n"
      "of a sound.");
  command->add_option("model", options->model, "A model (its directory, or its name in the local Hugging Face cache)")->required();
  options->text.add(*command);
  command
      ->add_option("--method", options->by,
                   "Methods of clearhead why, separated by commas, or all: every method except flow\n"
                   "(default: attention,rollout,relevance,gradient-input,occlusion, without those that the\n"
                   "model does not support)")
      ->delimiter(',');
  command->add_option("--units", options->items, "Items that are ranked and removed: word, token or sentence (default: word)")
      ->check(CLI::IsMember({"word", "token", "sentence"}));
  command
      ->add_option("--removal", options->removal,
                   "How items are removed: unseen (no token attends to them), masked (replaced by a\nmask token), or both (default: both)")
      ->check(CLI::IsMember({"unseen", "masked", "both"}));
  command->add_option("--column", options->column, "Column of the text in tab-separated lines, counted from 1 (default: the whole line)")
      ->check(whole_from(1));
  command->add_option("--limit", options->limit, "Use only the first N texts")->check(whole_from(1));
  command->add_option("--steps", options->steps, "Steps of integrated gradients (default: 16)")->check(whole_from(1, 10000));
  command->add_option("--sets", options->sets, "Random sets of items for infidelity and sensitivity-n (default: 40)")
      ->check(whole_from(2, 100000));
  command->add_option("--seed", options->seed, "Seed of random rankings and sets (default: 1)");
  CLI::Option* sanity = command->add_flag(
      "--sanity", options->sanity, "Does a method depend on the model? Compare its rankings while weights are randomised\nlayer by layer");
  CLI::Option* others = command->add_option("--with", options->others,
                                            "Compare with another model of the same task, such as another seed or shuffled labels\n"
                                            "(repeatable): how well do the rankings of each method agree between the models?");
  CLI::Option* moved = command->add_flag(
      "--moved", options->moved,
      "How different can the attention map be while the answer stays the same? Searched by\ngradient, over one row and all heads");
  sanity->excludes(others)->excludes(moved);
  others->excludes(moved);
  command->add_option("--layer", options->layer, "With --moved: the layer (default: the last)")->needs(moved)->check(whole_from(0));
  command->add_option("--tolerance", options->tolerance, "With --moved: largest change of the probability (default: 0.01)")
      ->needs(moved)
      ->check(above_zero(1));
  command->add_option("--svg", options->svg, "Write the plot to this file (for the first way of removal)")->type_name("FILE");
  command->add_option("--html", options->html, "Write plots and tables to this HTML file")->type_name("FILE");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
