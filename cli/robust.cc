// clearhead robust MODEL --file DATA: measures how much answers and attention maps change under small changes of the texts.
#include <algorithm>
#include <filesystem>
#include <numeric>

#include "base/file.h"
#include "base/format.h"
#include "base/random.h"
#include "base/text_file.h"
#include "cli/cli.h"
#include "cli/terminal.h"
#include "explain/evaluate/plot.h"
#include "explain/evaluate/robustness.h"
#include "tasks/data/json_lines.h"
#include "tasks/data/labelled_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::cli {
namespace {

using explain::MeasureForm;
using explain::Outcome;
using explain::Robustness;
using metrics::Interval;

constexpr size_t kMovers = 5;         // heads listed in the terminal
constexpr size_t kPlottedHeads = 20;  // heads in the plot

struct Options {
  std::string model, file, against, text = "1", label, bleu = "13a", svg, html;
  int64_t texts = 200, piece = 1000;
  explain::RobustOptions robust;
  LoadOptions load;
  bool json = false;
};

struct Report {
  std::string file;
  size_t texts = 0;
  Robustness found;
  std::vector<MeasureForm> measures;  // those that at least one outcome has
};

bool is_table(const std::string& file) { return tasks::is_json_lines(file) || file.ends_with(".tsv"); }

// Splits a text at line ends into pieces of at most `most` bytes (a longer line is a piece of its own). A language model predicts
// each piece independently.
std::vector<std::string> pieces_of(const std::string& text, size_t most) {
  std::vector<std::string> out;
  for (const std::string& line : lines_of(text)) {
    if (out.empty() || out.back().size() + line.size() + 1 > most) out.emplace_back();
    out.back() += out.back().empty() ? line : "\n" + line;
  }
  std::erase_if(out, [](const std::string& piece) { return piece.find_first_not_of(" \n\t") == std::string::npos; });
  return out;
}

explain::RobustTexts read_table(const std::string& path, const Options& options) {
  const auto check_column = [&](const char* option, const std::string& name) {
    if (tasks::is_json_lines(path) || whole_number(name).value_or(0) > 0) return;
    usage_error(format("{} {}: expected a column number, counted from 1 (only fields of .jsonl files have names)", option, name));
  };
  check_column("--text", options.text);
  if (!options.label.empty()) check_column("--label", options.label);
  tasks::Recipe recipe;
  recipe.where = path;
  const std::filesystem::path file(path);
  recipe.source.folder = file.has_parent_path() ? file.parent_path().string() : ".";
  recipe.task = tasks::TaskRecipe{.kind = "classification", .data = {.text = options.text, .label = options.label}};
  explain::RobustTexts out;
  for (tasks::LabelledLine& line : tasks::read_labelled(file.filename().string(), recipe)) {
    out.texts.push_back(std::move(line.text));
    if (!options.label.empty()) out.wanted.push_back(std::move(line.labels.front()));
  }
  return out;
}

explain::RobustTexts read_texts(const std::string& path, const explain::RobustKind& kind, const Options& options) {
  (void)MappedFile::open(path);  // throws if the file does not exist
  explain::RobustTexts all;
  if (is_table(path)) {
    all = read_table(path, options);
  } else if (!kind.has_expected) {
    all.texts = pieces_of(read_text_file(path), static_cast<size_t>(options.piece));
  } else {
    all.texts = lines_of(read_text_file(path));
  }
  if (all.texts.empty()) fail(ErrorCode::kInvalidArgument, "{}: contains no texts; expected at least one", path);
  std::vector<size_t> chosen(all.texts.size());
  std::iota(chosen.begin(), chosen.end(), size_t{0});
  RandomSequence(options.robust.seed).shuffle(chosen);
  chosen.resize(std::min(chosen.size(), static_cast<size_t>(options.texts)));
  std::sort(chosen.begin(), chosen.end());
  explain::RobustTexts out;
  for (const size_t at : chosen) {
    out.texts.push_back(std::move(all.texts[at]));
    if (!all.wanted.empty()) out.wanted.push_back(std::move(all.wanted[at]));
  }
  return out;
}

std::string in_words(const Interval& value, const MeasureForm& how) {
  const auto number = [&](double one) {
    const std::string out = format(how.digits == 1 ? "{:.1f}" : "{:.3f}", one * how.scale);
    return out.find_first_not_of("-0.") == std::string::npos && out[0] == '-' ? out.substr(1) : out;  // no −0.000
  };
  return format("{}{} ({} … {})", number(value.mean), how.unit, number(value.low), number(value.high));
}

constexpr MeasureForm kDivergence{"divergence", "map change, JS in nats", 1, "", 3};

std::string head_words(const explain::HeadDivergence& head) {
  return (head.family.empty() ? "" : head.family + ".") + head_name(head.layer, head.head);
}

std::vector<MeasureForm> measures_of(const explain::RobustKind& kind, const Robustness& found) {
  std::vector<MeasureForm> out;
  std::copy_if(kind.measures.begin(), kind.measures.end(), std::back_inserter(out), [&](const MeasureForm& form) {
    return std::any_of(found.outcomes.begin(), found.outcomes.end(), [&](const Outcome& one) { return one.find(form.name) != nullptr; });
  });
  return out;
}

explain::PageTable table_of(const Report& report) {
  explain::PageTable out{.title = format("{}: {} texts", report.file, with_commas(static_cast<int64_t>(report.texts)))};
  out.head = {"change", "texts"};
  for (const MeasureForm& shown : report.measures) out.head.emplace_back(shown.title);
  out.head.emplace_back(kDivergence.title);
  for (const Outcome& outcome : report.found.outcomes) {
    std::vector<std::string> row{outcome.name, with_commas(outcome.texts)};
    for (const MeasureForm& shown : report.measures) {
      const Interval* value = outcome.find(shown.name);
      row.push_back(value ? in_words(*value, shown) : "–");
    }
    row.push_back(outcome.divergence ? in_words(*outcome.divergence, kDivergence) : "–");
    out.rows.push_back(std::move(row));
  }
  return out;
}

explain::PageTable heads_table(const Report& report) {
  explain::PageTable out{.title = "Heads that change most", .head = {"head", "JS in nats, mean over the changes"}};
  for (size_t at = 0; at < std::min(report.found.most_changed_heads.size(), kPlottedHeads); ++at)
    out.rows.push_back(
        {head_words(report.found.most_changed_heads[at]), in_words(report.found.most_changed_heads[at].divergence, kDivergence)});
  return out;
}

void print_table(const explain::PageTable& table) {
  print(table.title);
  std::vector<int> widths(table.head.size(), 0);
  const auto widen = [&](const std::vector<std::string>& row) {
    for (size_t at = 0; at < row.size(); ++at) widths[at] = std::max(widths[at], display_width(row[at]));
  };
  widen(table.head);
  for (const auto& row : table.rows) widen(row);
  const auto line = [&](const std::vector<std::string>& row) {
    std::string out;
    for (size_t at = 0; at < row.size(); ++at) out += (at == 0 ? "" : "  ") + fit(row[at], widths[at], at > 0);
    print(out);
  };
  line(table.head);
  for (const auto& row : table.rows) line(row);
}

void print_report(const Report& report) {
  print_table(table_of(report));
  if (report.found.most_changed_heads.empty()) return;
  std::string heads;
  for (size_t at = 0; at < std::min(report.found.most_changed_heads.size(), kMovers); ++at)
    heads += format("{}{} {:.3f}", at == 0 ? "" : ", ", head_words(report.found.most_changed_heads[at]),
                    report.found.most_changed_heads[at].divergence.mean);
  print(format("heads that change most (mean over the changes): {}", heads));
}

Json interval_json(const Interval& value) { return Json::object({{"mean", value.mean}, {"low", value.low}, {"high", value.high}}); }

Json heads_json(const std::vector<explain::HeadDivergence>& heads) {
  Json out = Json::array();
  for (const explain::HeadDivergence& head : heads)
    out.push(Json::object(
        {{"family", head.family}, {"head", head_name(head.layer, head.head)}, {"divergence", interval_json(head.divergence)}}));
  return out;
}

Json report_json(const Report& report) {
  Json changes = Json::array();
  for (const Outcome& outcome : report.found.outcomes) {
    Json one = Json::object({{"change", outcome.name}, {"detail", outcome.description}, {"texts", outcome.texts}});
    for (const explain::MetricEstimate& measure : outcome.measures) one[measure.name] = interval_json(measure.value);
    one["divergence"] = outcome.divergence ? interval_json(*outcome.divergence) : Json();
    one["heads"] = heads_json(outcome.heads);
    changes.push(std::move(one));
  }
  return Json::object({{"file", report.file},
                       {"texts", static_cast<int64_t>(report.texts)},
                       {"changes", changes},
                       {"heads_that_move_first", heads_json(report.found.most_changed_heads)}});
}

explain::DotPlot plot_of(const Report& report, const std::string& model) {
  explain::DotPlot out{.title = format("{} on {}", model, std::filesystem::path(report.file).filename().string()),
                       .caption = "Dots: means over texts; lines: 95 % bootstrap intervals. Dashed: the unchanged texts, or no change."};
  for (const Outcome& outcome : report.found.outcomes) out.rows.push_back(outcome.name);
  const auto add = [&](const MeasureForm& shown, const auto& value_of) {
    explain::Panel panel{.title = format("{}{}", shown.title, shown.scale == 100 ? ", %" : ""), .scale = shown.scale};
    for (const Outcome& outcome : report.found.outcomes) panel.values.push_back(value_of(outcome));
    const bool is_change = shown.name.ends_with("change");
    if (is_change) panel.reference = 0;
    if (!is_change && panel.values.front()) panel.reference = panel.values.front()->mean;
    out.panels.push_back(std::move(panel));
  };
  for (const MeasureForm& shown : report.measures) {
    add(shown, [&](const Outcome& outcome) {
      const Interval* value = outcome.find(shown.name);
      return value ? std::optional(*value) : std::nullopt;
    });
  }
  add(kDivergence, [](const Outcome& outcome) { return outcome.divergence; });
  return out;
}

explain::DotPlot heads_plot(const Report& report) {
  explain::DotPlot out{.title = "Heads that change most",
                       .caption = "Dots: means over the changes; lines: the means of their 95 % intervals."};
  explain::Panel panel{.title = std::string(kDivergence.title)};
  for (size_t at = 0; at < std::min(report.found.most_changed_heads.size(), kPlottedHeads); ++at) {
    out.rows.push_back(head_words(report.found.most_changed_heads[at]));
    panel.values.emplace_back(report.found.most_changed_heads[at].divergence);
  }
  out.panels.push_back(std::move(panel));
  return out;
}

void write_page(const Options& options, const std::vector<Report>& reports) {
  std::vector<std::string> svgs;
  std::vector<explain::PageTable> tables;
  for (const Report& report : reports) {
    svgs.push_back(explain::dot_plot_svg(plot_of(report, options.model)));
    if (!report.found.most_changed_heads.empty()) svgs.push_back(explain::dot_plot_svg(heads_plot(report)));
    tables.push_back(table_of(report));
    if (!report.found.most_changed_heads.empty()) tables.push_back(heads_table(report));
  }
  write_file(
      options.html,
      explain::page_html(format("Robustness of {}", options.model),
                         "How much answers and attention maps change when texts change a little. Intervals: 95 %, bootstrap over texts. "
                         "Divergence: Jensen–Shannon divergence between the rows of a token that occurs in both texts.",
                         svgs, tables));
}

void run(Options& options) {
  const auto model = load_model(options.model, options.load);
  const explain::RobustKind& kind = explain::robust_kind(model->info());
  for (const std::string* out : {&options.svg, &options.html}) {
    if (!out->empty()) check_writable(*out);
  }
  options.robust.bleu = *bleu_words_named(options.bleu);
  std::vector<Report> reports;
  for (const std::string& file : {options.file, options.against}) {
    if (file.empty()) continue;
    const explain::RobustTexts texts = read_texts(file, kind, options);
    Progress progress(format("robust: {}", file));
    options.robust.progress = progress.callback();
    Robustness found = explain::robustness(*model, texts, options.robust);
    std::vector<MeasureForm> measures = measures_of(kind, found);
    reports.push_back({file, texts.texts.size(), std::move(found), std::move(measures)});
  }
  if (kind.has_expected && options.label.empty())
    notice("accuracy and BLEU are not measured; to measure them, give the column of the labels or references with --label");
  if (!options.svg.empty()) write_file(options.svg, explain::dot_plot_svg(plot_of(reports[0], options.model)));
  if (!options.html.empty()) write_page(options, reports);
  if (options.json) {
    Json list = Json::array();
    for (const Report& report : reports) list.push(report_json(report));
    return print_json(Json::object({{"model", options.model}, {"seed", static_cast<int64_t>(options.robust.seed)}, {"files", list}}));
  }
  for (const Report& report : reports) print_report(report);
  for (const std::string* out : {&options.svg, &options.html}) {
    if (!out->empty()) print(*out);
  }
}

void add_changes(CLI::App& command, explain::RobustOptions& to) {
  command.add_option("--typos", to.typos, "Fraction of words that get a typo (default: 0.1)")->check(above_zero(1));
  command.add_option("--words-kept", to.words_kept, "Fraction of words that truncation keeps (default: 0.5)")->check(above_zero(1));
  command.add_option("--token-dropout", to.token_dropout, "Fraction of tokens that are dropped (default: 0.1)")->check(above_zero(1));
  command.add_option("--shift", to.shift, "Number of positions by which a text is shifted (default: 16)")->check(whole_from(1));
  command.add_option("--padding", to.padding, "Number of padding tokens (default: 16)")->check(whole_from(1));
  command.add_option("--distractor", to.distractor, "The sentence that is added before and after a text")->type_name("TEXT");
  command.add_option("--map-texts", to.map_texts, "Number of texts whose attention maps are compared (default: 20)")->check(whole_from(0));
  command.add_option("--map-rows", to.map_rows, "Number of rows of each head that are compared in a text (default: 16)")
      ->check(whole_from(1));
  command.add_option("--seed", to.seed, "Random seed (default: 1)")->check(whole_from(0));
}

}  // namespace

void add_robust(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("robust", "Measure how much answers and attention maps change when texts change a little");
  command->footer(
      "Typos, case, truncation, distractors, token dropout, position shift, padding: each is compared with the unchanged texts,\n"
      "with 95 % intervals.\n"
      "Examples:\n  clearhead robust MODEL --file reviews.tsv --text 3 --label 2 --html report.html\n"
      "  clearhead robust models/en-fr --file test.tsv --label 2\n  clearhead robust models/book --file models/book/held-out.txt");
  command->add_option("model", options->model, "A text classifier, a translator, or a language model")->required();
  command
      ->add_option("--file", options->file,
                   "Texts: a table (.tsv), JSON lines (.jsonl), or a text file with one text per line;\nfor a language model, a text file "
                   "is split into pieces")
      ->required()
      ->type_name("DATA");
  command->add_option("--against", options->against, "A second data set for the same task, measured in the same way")->type_name("DATA");
  command->add_option("--text", options->text, "Column (counted from 1) or field of the texts (default: 1)");
  command->add_option("--label", options->label, "Column or field of the labels or reference translations");
  command->add_option("--texts", options->texts, "Number of texts, drawn at random if the file has more (default: 200)")
      ->check(whole_from(1));
  command->add_option("--piece", options->piece, "For language models: size of a piece in bytes (default: 1000)")->check(whole_from(1));
  command->add_option("--bleu", options->bleu, "Tokenization of BLEU: 13a, zh or char (default: 13a)")
      ->check(CLI::IsMember({"13a", "zh", "char"}));
  add_changes(*command, options->robust);
  add_load_options(*command, options->load);
  command->add_flag("--json", options->json, "Print JSON");
  command->add_option("--svg", options->svg, "Write the plot to this file")->type_name("FILE");
  command->add_option("--html", options->html, "Write plots and tables to this HTML file")->type_name("FILE");
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
