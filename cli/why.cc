// clearhead why MODEL TEXT: attributes an answer to the items of the text, by one or several methods side by side.
//
//   The share of an item is its score divided by the sum of the method's absolute scores. Items that oppose the answer have negative
//   shares. The last line gives the answer's probability without the strongest item, removed in both ways (RemovedBy).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/format.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/items.h"
#include "cli/terminal.h"
#include "cli/why_inside.h"
#include "explain/attribution.h"

namespace clearhead::cli {

using namespace explain;  // NOLINT(google-build-using-namespace)

namespace {

struct Options {
  std::string model, pair, segments, items = "word", removal = "unseen", head, clean, score;
  TextArguments text;
  TargetSpec asked;
  std::vector<std::string> by;
  int64_t top = 12, steps = 32;
  std::optional<int> layer;
  bool json = false, inside = false, gives_removal = false, gives_steps = false;
};

// The items as they are printed: the name of a segment, else the item's text.
struct PrintedItems {
  const AttributionTarget& target;
  std::vector<std::string> names{};  // of segments; empty for other units

  std::string operator()(size_t item) const { return visible(names.empty() ? text_of_item(target, target.items()[item]) : names[item]); }
};

struct Shares {
  Method method{};
  std::vector<double> of_items{};
};

std::vector<double> divided(std::vector<double> shares) {
  double sum = 0;
  for (const double share : shares) sum += std::isnan(share) ? 0 : std::abs(share);
  for (double& share : shares) share = sum > 0 ? share / sum : share;
  return shares;
}

std::vector<size_t> order_of(const std::vector<double>& shares) {
  std::vector<size_t> order(shares.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto size = [&](size_t at) { return std::isnan(shares[at]) ? -1.0 : std::abs(shares[at]); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return size(a) > size(b); });
  return order;
}

std::vector<Shares> all_shares(const Options& options, const AttributionTarget& target, const std::vector<Method>& methods) {
  AttributionOptions how{
      .layer = options.layer, .steps = options.steps, .removal = options.removal == "masked" ? RemovedBy::kMasked : RemovedBy::kUnseen};
  if (!options.head.empty()) {
    const HeadName head = parse_head(options.head);
    if (options.layer && *options.layer != head.layer) usage_error("--head and --layer name different layers");
    how.layer = head.layer;
    how.head = head.head;
  }
  check_used(how, methods, target);
  for (const Method& method : methods) {
    const bool is_unused = (how.layer && !method.of_a_layer) || (how.head && !method.of_heads);
    if (is_unused && options.by != std::vector<std::string>{"all"})
      notice(format("{}: {} is not used by this method", method.name, how.layer && !method.of_a_layer ? "the layer" : "the head"));
  }
  how.cancel = &cancel_flag();
  const Cancellable cancellable;
  std::vector<Shares> out;
  for (const Method& method : methods) {
    const int64_t runs = runs_of(target, method, how);
    if (runs > 200)
      notice(format("{}: {} runs over {} tokens; Ctrl-C stops it and keeps the results so far", method.name, with_commas(runs),
                    with_commas(static_cast<int64_t>(target.plan().text.ids.size()))));
    Progress progress(method.name);
    how.progress = progress.callback();
    try {
      out.push_back({method, divided(attribute(target, method, how))});
    } catch (const Error& error) {
      const bool cannot = error.code() == ErrorCode::kUnsupported || error.code() == ErrorCode::kBudget;
      const bool is_one_of_all = cannot && methods.size() == attribution_methods().size();
      if (is_one_of_all) notice(format("left out: {}: {}", method.name, error.what()));
      if (error.code() != ErrorCode::kCancelled && !is_one_of_all) throw;
    }
    if (!cancel_flag()) continue;
    notice(format("{} was stopped; items that it did not reach have no share", method.name));
    break;
  }
  if (out.empty()) fail(ErrorCode::kCancelled, "why: cancelled before any method was done");
  return out;
}

// Prints the items in text order, shaded by their shares; items with negative shares are not shaded.
void print_text(const Terminal& screen, const AttributionTarget& target, const std::vector<double>& shares) {
  double most = 0;
  for (const double share : shares) most = std::max(most, std::isnan(share) ? 0 : share);
  std::string line;
  int used = 0;
  for (size_t at = 0; at < shares.size(); ++at) {
    const std::string word = visible(text_of_item(target, target.items()[at]));
    const double level = most > 0 && shares[at] > 0 ? std::sqrt(shares[at] / most) : 0;
    const int width = display_width(word) + 1 + (screen.colours == Colours::kNone ? 1 : 0);
    if (used > 0 && used + width > screen.width) {
      print(line);
      line.clear();
      used = 0;
    }
    line += (screen.colours == Colours::kNone ? word + bar(level) : shaded(screen, word, level)) + " ";
    used += width;
  }
  print(line);
}

// Prints one column per method. With more than three methods, their names are listed above the table.
void print_table(const Options& options, const Terminal& screen, const PrintedItems& items, const std::vector<Shares>& found) {
  const bool few = found.size() <= 3;
  const int width = found.size() == 1 ? 9 : few ? 21 : 9;
  std::string heads;
  for (size_t at = 0; at < found.size(); ++at) {
    heads += fit(few ? found[at].method.name : format("({})", at + 1), width, true);
    if (!few) print(cut(format("({}) {}: {}", at + 1, found[at].method.name, found[at].method.what), screen.width));
  }
  if (found.size() > 1) print(heads);
  const std::vector<size_t> order = order_of(found[0].of_items);
  for (size_t place = 0; place < std::min(order.size(), static_cast<size_t>(options.top)); ++place) {
    std::string line;
    for (const Shares& one : found) {
      const double share = one.of_items[order[place]];
      line += fit(std::isnan(share) ? "–" : format("{:.1f} %", share * 100), width, true);
    }
    print(cut(format("{}  #{:<5} {}", line, items.target.items()[order[place]].begin, items(order[place])),
              std::max(screen.width, width * static_cast<int>(found.size()) + 24)));
  }
}

// The answer without an item: its probability, or the number that is the answer.
struct Cut {
  size_t item = 0;
  double unseen = 0, masked = 0;  // masked is NaN if there is no token to replace the item
};

Cut strongest_cut(const AttributionTarget& target, const std::vector<double>& shares) {
  Cut cut{.item = order_of(shares)[0]};
  std::vector<uint8_t> set(shares.size());
  set[cut.item] = 1;
  cut.unseen = target.answers({set}, RemovedBy::kUnseen)[0];
  try {
    cut.masked = target.answers({set}, RemovedBy::kMasked)[0];
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    cut.masked = std::nan("");
  }
  return cut;
}

void print_json_of(const PrintedItems& printed, const std::vector<Shares>& found, const Cut& cut) {
  const AttributionTarget& target = printed.target;
  Json items = Json::array();
  for (size_t at = 0; at < target.items().size(); ++at) {
    Json shares = Json::object({});
    for (const Shares& one : found) shares[one.method.name] = std::isnan(one.of_items[at]) ? Json() : Json(one.of_items[at]);
    items.push(Json::object({{"tokens", Json(Json::Array{target.items()[at].begin, target.items()[at].end})},
                             {"text", text_of_item(target, target.items()[at])},
                             {"shares", shares}}));
    if (!printed.names.empty()) items.items().back()["name"] = printed.names[at];
  }
  print_json(Json::object({{"model", target.plan().model},
                           {"answer", target.answer()},
                           {target.is_number() ? "number" : "probability", target.probability()},
                           {"items", items},
                           {"without", Json::object({{"item", static_cast<int64_t>(cut.item)},
                                                     {"unseen", cut.unseen},
                                                     {"masked", std::isnan(cut.masked) ? Json() : Json(cut.masked)}})}}));
}

ModelInput input_given(const Model& model, const Options& options) {
  return input_of(model.info(), given_to(model.info(), options.text), options.pair);
}

void look_inside(const Options& options) {
  const std::shared_ptr<const Model> model = load_model(options.model, {.gradients = options.clean.empty()});
  const Cancellable cancellable;
  const InsideView view{.top = options.top, .json = options.json, .cancel = &cancel_flag()};
  const ModelInput input = input_given(*model, options);
  if (options.clean.empty()) return print_inside(*make_target(model, input, options.asked), view);
  const std::unique_ptr<AttributionTarget> clean = make_target(model, {.text = options.clean, .pair = input.pair}, options.asked);
  TargetSpec same{.target_ids = clean->answer_ids()};
  if (clean->contrast() >= 0) same.contrast_id = clean->contrast();
  print_patching(*clean, *make_target(model, input, same), view);
}

void run(Options& options) {
  if (!options.text.given()) usage_error("why explains an answer about a text: give a text, --file, or - for standard input");
  if (!options.clean.empty() && !options.inside)
    usage_error("--clean names the text whose heads' outputs are patched in; it needs --inside");
  if (options.inside) return look_inside(options);
  if (!options.score.empty()) {
    const std::shared_ptr<const Model> model = load_model(options.model);
    return print_score(*model, options.text.read(), options.pair.empty() ? std::nullopt : std::optional(options.pair), options.score,
                       {.top = options.top, .json = options.json});
  }
  std::vector<Method> methods;
  if (options.by.empty()) options.by = {"relevance"};
  for (const std::string& name : options.by) {
    if (name == "all") {
      methods = attribution_methods();
    } else {
      methods.push_back(method_named(name));
    }
  }
  const auto check = [&](bool is_given, const char* option, bool Method::*uses) {
    if (!is_given || std::any_of(methods.begin(), methods.end(), [&](const Method& method) { return method.*uses; })) return;
    const auto& all = attribution_methods();
    const char* able = std::find_if(all.begin(), all.end(), [&](const Method& method) { return method.*uses; })->name;
    usage_error(format("{} applies to {}: add {} to --method", option, able, able));
  };
  check(options.gives_removal, "--removal", &Method::removes_items);
  check(options.gives_steps, "--steps", &Method::takes_steps);
  const bool gradients = std::any_of(methods.begin(), methods.end(), [](const Method& method) { return method.needs_gradients; });
  const std::shared_ptr<const Model> model = load_model(options.model, {.gradients = gradients});
  const std::unique_ptr<AttributionTarget> target = make_target(model, input_given(*model, options), options.asked);
  const PrintedItems items{*target, choose_items(*target, options.items, options.segments)};
  if (target->items().empty()) fail(ErrorCode::kInvalidArgument, "why: this text has no token to attribute the answer to");
  const std::vector<Shares> found = all_shares(options, *target, methods);
  const Cut cut_of = strongest_cut(*target, found[0].of_items);
  if (options.json) return print_json_of(items, found, cut_of);
  const Terminal screen = terminal();
  const std::string answer = printed_answer(*target, target->probability());
  print(cut(format("{} · {} · {}", target->plan().model, visible(target->answer()), answer), screen.width));
  if (target->items().size() <= 400) print_text(screen, *target, found[0].of_items);
  print_table(options, screen, items, found);
  const std::string masked = std::isnan(cut_of.masked) ? "" : format(", {} if it is masked", printed_answer(*target, cut_of.masked));
  print(format("without \"{}\": {} if it is unseen{}", items(cut_of.item), printed_answer(*target, cut_of.unseen), masked));
}

}  // namespace

void add_why(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("why", "Attribute an answer to the words of the text, or to heads and layers");
  std::string names = "all";
  for (const Method& method : attribution_methods()) names += ", " + std::string(method.name);
  command->footer(
      "Example: clearhead why models/book \"It was a dark and stormy\" --target night --method relevance,occlusion\n"
      "The absolute shares of a method add up to 100 %. No method is exact: clearhead judge measures how faithful each is.");
  command->add_option("model", options->model, "A model (its directory, or its name in the local Hugging Face cache)")->required();
  options->text.add(*command);
  command->add_option("--pair,--question", options->pair,
                      "The second text, for models that read pairs; the question, for question-answering models;\nthe target text, for an "
                      "encoder-decoder");
  CLI::Option* of =
      command->add_option("--target", options->asked.target,
                          "The answer to explain: a class, the next word or words, or \"token N\" (for a model that labels tokens, also\n"
                          "\"token N LABEL\"; default: the model's answer; for an encoder-decoder, the first token that it generates)");
  CLI::Option* against =
      command->add_option("--contrast", options->asked.contrast, "Explain why the model prefers the target to this class or word");
  CLI::Option* by =
      command->add_option("--method", options->by, format("Methods to compare, separated by commas (default: relevance): {}", names))
          ->delimiter(',');
  CLI::Option* items =
      command->add_option("--units", options->items, "Items that get shares: word, token, sentence or segment (default: word)")
          ->check(CLI::IsMember({"word", "token", "sentence", "segment"}));
  CLI::Option* segments =
      command->add_option("--segments", options->segments, "JSON file that names sections of the text, which are then the items")
          ->type_name("FILE");
  CLI::Option* layer =
      command->add_option("--layer", options->layer, "The layer of attention and of the methods derived from it (default: the last)")
          ->check(whole_from(0));
  CLI::Option* head = command->add_option("--head", options->head, "One head, like L3.H5 (default: the mean of all heads)");
  CLI::Option* removal =
      command->add_option("--removal", options->removal, "How occlusion removes items: unseen or masked (default: unseen)")
          ->check(CLI::IsMember({"unseen", "masked"}));
  CLI::Option* steps =
      command->add_option("--steps", options->steps, "Steps of integrated gradients (default: 32)")->check(whole_from(1, 10000));
  command->add_option("--top", options->top, "How many items to print (default: 12)")->check(whole_from(1));
  CLI::Option* inside = command->add_flag("--inside", options->inside, "Attribute the answer to heads and layers instead of words");
  command
      ->add_option(
          "--clean", options->clean,
          "With --inside: another text of the same number of tokens. Its head outputs are patched in one by\none, to see which restore its "
          "answer")
      ->type_name("TEXT");
  CLI::Option* score =
      command
          ->add_option("--score", options->score,
                       "Decompose one attention score: 12/3@L4.H0 is that of query 12 and key 3, in head 0 of layer 4, as a sum\nover the "
                       "embeddings, heads and MLPs below that made its query and its key")
          ->type_name("QUERY/KEY@HEAD");
  command->add_flag("--json", options->json, "Print JSON");
  items->excludes(segments);
  for (CLI::Option* of_shares : {by, items, segments, layer, head, removal, steps}) {
    inside->excludes(of_shares);
    score->excludes(of_shares);
  }
  score->excludes(inside)->excludes(of)->excludes(against);
  command->callback([options, removal, steps] {
    options->gives_removal = removal->count() > 0;
    options->gives_steps = steps->count() > 0;
    run(*options);
  });
}

}  // namespace clearhead::cli
