// clearhead ask TRACE --from SPAN --to SPAN: the heads with the most weight from the queries of one span to the keys of another. The
// queries of a span that the model wrote are those that wrote it.
#include <algorithm>

#include "base/format.h"
#include "cli/cli.h"
#include "cli/look.h"
#include "cli/terminal.h"
#include "observe/written_rows.h"

namespace clearhead::cli {
namespace {

struct Options {
  TraceArguments look;
  std::string from, to, family, sort = "mass";
  int64_t top = 10;
  bool json = false;
};

std::string quote(const RunText& text, Range span) {
  if (span.size() <= 0) return "";
  const size_t begin = static_cast<size_t>(text.offsets[static_cast<size_t>(span.begin)][0]);
  const size_t end = static_cast<size_t>(text.offsets[static_cast<size_t>(span.end - 1)][1]);
  return cut(visible(text.text.substr(begin, end > begin ? end - begin : 0)), 40);
}

// Refuses spans outside the family's queries and keys. A family may cover only a section of the text: patches, frames, or the
// tokens of one segment.
void check_side(const MapFamily& family, Range asked, Range rows, Range keys) {
  if (!family.is_part) return;
  const auto check = [&](const char* option, Range given, Range ids, const char* what, int64_t first, int64_t count) {
    if (ids.begin >= first && ids.end <= first + count) return;
    usage_error(format("{}: tokens #{}:{} are not all {} of the family \"{}\"; its {} are tokens #{}:{}", option, given.begin, given.end,
                       what, family.name, what, first, first + count));
  };
  check("--from", asked, rows, "queries", family.first_query, family.queries);
  check("--to", keys, keys, "keys", family.first_key, family.keys);
}

void run(Options& options) {
  const Trace trace = options.look.trace();
  const std::string family = family_of(trace, options.family);
  const RunText& text = trace.plan().text;
  const Range asked = find_span(text, options.from), keys = find_span(text, options.to);
  const Range rows = rows_of(trace, family, asked);  // the rows that wrote the span, if the model writes its text
  check_side(trace.family(family), asked, rows, keys);
  std::vector<HeadMass> heads = heads_by_mass(trace, family, trace.layers(family), rows, keys);
  if (options.sort == "ratio")
    std::stable_sort(heads.begin(), heads.end(), [](const HeadMass& a, const HeadMass& b) { return a.ratio() > b.ratio(); });
  const size_t count = std::min(heads.size(), static_cast<size_t>(options.top));
  if (options.json) {
    Json list = Json::array();
    for (size_t i = 0; i < count; ++i)
      list.push(Json::object({{"layer", heads[i].layer},
                              {"head", heads[i].head},
                              {"mass", heads[i].mass},
                              {"chance", heads[i].chance},
                              {"ratio", heads[i].ratio()},
                              {"sink", heads[i].sink}}));
    return print_json(Json::object({{"family", family},
                                    {"from", Json(Json::Array{asked.begin, asked.end})},
                                    {"rows", Json(Json::Array{rows.begin, rows.end})},
                                    {"to", Json(Json::Array{keys.begin, keys.end})},
                                    {"heads", list}}));
  }
  const bool writes = written_rows(trace, trace.family(family)).writes(rows.begin);
  print(format("from {}#{}:{} \"{}\" to #{}:{} \"{}\": weight per query, by head", writes ? "writing " : "", asked.begin, asked.end,
               quote(text, asked), keys.begin, keys.end, quote(text, keys)));
  for (size_t i = 0; i < count; ++i) {
    print(format("  {:<8} {:>6.2f} %  {:>6.1f} × chance ({:.2f} %)   sinks {:>3.0f} %  {}", head_name(heads[i].layer, heads[i].head),
                 heads[i].mass * 100, heads[i].ratio(), heads[i].chance * 100, heads[i].sink * 100, bar(heads[i].mass)));
  }
  print("  chance: uniform attention over all keys that these queries see");
  const std::vector<int64_t> sinks = sinks_of(trace, family);
  if (!sinks.empty()) print(format("  sinks: {}", sink_names(text, sinks)));
}

}  // namespace

void add_ask(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("ask", "Find the heads that link two spans of the text, with their weights");
  command->footer(
      "Example: clearhead ask prompt.trace --from \"the answer\" --to \"seg:doc 3\" --segments parts.json\n"
      "A span is a piece of the text, a range of tokens (#12:20 is tokens 12 to 19), or a segment (seg:NAME).\n"
      "Rows are named by the token that they write, if the model writes its text, else by the token that they read.");
  options->look.add(*command);
  command->add_option("--from", options->from, "The span whose queries attend. For a span that the model wrote: the queries that wrote it")
      ->required()
      ->type_name("SPAN");
  command->add_option("--to", options->to, "The span whose keys are attended to")->required()->type_name("SPAN");
  command->add_option("--top", options->top, "How many heads to print (default: 10)")->check(whole_from(1));
  command
      ->add_option(
          "--sort", options->sort,
          "Order by the weight between the spans (mass), or by its ratio to the weight under uniform\nattention over all keys that "
          "the queries see (default: mass)")
      ->check(CLI::IsMember({"mass", "ratio"}));
  command->add_option("--family", options->family,
                      "Which attention maps, for a model that has several kinds: enc, dec or cross (default: the first)");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
