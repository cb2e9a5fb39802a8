// clearhead cite MODEL --file PROMPT --documents DOCS: the documents that each sentence of an answer depends on.
//
//   PROMPT  the question, which the model reads after the documents
//   DOCS    JSON lines: each is a string, or an object {"text", "title" (optional)}
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"
#include "cli/items.h"
#include "cli/terminal.h"
#include "explain/evidence.h"
#include "explain/target_words.h"
#include "text/strings.h"

namespace clearhead::cli {

using namespace explain;  // NOLINT(google-build-using-namespace)

namespace {

struct Options {
  std::string model, documents, method = "information-flow", html;
  TextArguments text;
  std::optional<std::string> answer;
  int64_t removals = 32, max_tokens = 128, top = 3;
  uint64_t seed = 1;
  bool json = false;
};

Document document_of(const Json& line, size_t number, const std::string& where) {
  const std::string name = format("document {}", number);
  if (line.is_string()) return {name, line.string()};
  if (!line.is_object())
    fail(ErrorCode::kFormat, "{}: expected a string, or an object with \"text\" and optionally \"title\", found {}", where,
         line.describe());
  Fields fields(line, where);
  Document out{fields.string_or("title", ""), fields.string("text")};
  fields.refuse_rest();
  if (out.name.empty()) out.name = name;
  return out;
}

std::vector<Document> documents_in(const std::string& path) {
  const std::string content(MappedFile::open(path)->bytes());
  std::vector<Document> out;
  int64_t number = 0;
  for (const std::string& line : lines_of(content)) {
    const std::string where = format("{}:{}", path, ++number);
    if (text::strip(line).empty())
      fail(ErrorCode::kFormat, "{}: the line is empty; expected a document as JSON, a string or {{\"text\": …}}", where);
    out.push_back(document_of(Json::parse(line, where), out.size(), where));
    if (text::strip(out.back().text).empty()) fail(ErrorCode::kFormat, "{}: the document has no text", where);
  }
  if (out.size() < 2) fail(ErrorCode::kInvalidArgument, "{}: {} documents; expected two or more, one on each line", path, out.size());
  return out;
}

// The tokens of the given answer as it is written, or those that the model generates greedily, without the token that ends them.
std::vector<int32_t> answer_ids(const Model& model, const Options& options, const std::string& prompt) {
  if (options.answer) return spellings_of(model, *options.answer, prompt).ids.back();
  Progress progress("answering");
  const auto report = progress.callback();
  GenerateOptions how{.max_tokens = options.max_tokens, .cancel = &cancel_flag()};
  how.on_token = [&](const GenerationStep& step) {
    if (report) report(static_cast<double>(step.index + 1) / static_cast<double>(options.max_tokens));
    return true;
  };
  std::vector<int32_t> ids = generate(model, model.tokenizer().encode(prompt), how).ids;
  if (cancel_flag()) fail(ErrorCode::kCancelled, "cite: cancelled");
  while (!ids.empty() && model.tokenizer().is_special(ids.back())) ids.pop_back();
  if (ids.empty())
    fail(ErrorCode::kNotFound, "{}: the model generates no token after this prompt; give an answer with --answer", model.info().name);
  return ids;
}

std::string interval_text(const metrics::Interval& of) { return format("{:.2f} [{:.2f}, {:.2f}]", of.mean, of.low, of.high); }

void print_sentence(const Terminal& screen, const Evidence& found, size_t at, int64_t top, int width) {
  const EvidenceSentence& sentence = found.sentences[at];
  print("");
  print(cut(format("{}  (log-probability {:.3g})", visible(text::strip(sentence.text)), sentence.log_probability), screen.width));
  std::vector<size_t> order(found.documents.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const std::vector<double>& shares = found.shares[at];
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return shares[a] > shares[b]; });
  order.resize(std::min(order.size(), static_cast<size_t>(top)));
  for (const size_t document : order) {
    const std::string name = fit(visible(found.documents[document]), width);
    print(
        format("{} {}{}{}", screen.colours == Colours::kNone ? name + bar(shares[document]) : shaded(screen, name, shares[document]) + " ",
               fit(format("{:.1f} %", shares[document] * 100), 9, true), fit(format("{:.1f} %", found.expected[document] * 100), 11, true),
               fit(format("{:.3g}", found.drops[at][document]), 10, true)));
  }
}

void print_evidence(const Evidence& found, const std::string& model, int64_t top) {
  const Terminal screen = terminal();
  int width = 8;
  for (const std::string& name : found.documents) width = std::max(width, display_width(visible(name)));
  width = std::min(width, std::max(8, screen.width - 33));
  print(cut(format("{} · {} sentences · {} documents · {}", model, found.sentences.size(), found.documents.size(), found.method),
            screen.width));
  print(format("{}  {}{}{}", fit("document", width), fit("share", 9, true), fit("by length", 11, true), fit("drop", 10, true)));
  for (size_t at = 0; at < found.sentences.size(); ++at) print_sentence(screen, found, at, top, width);
  print("");
  if (std::isnan(found.shares_trust.mean)) return;
  print("rank correlation of predicted and measured drops, mean and 95 % interval:");
  print(format("  shares ({}): {}", found.method, interval_text(found.shares_trust)));
  print("  similarity of words (BM25): " + interval_text(found.bm25_trust));
  print("  random shares: " + interval_text(found.random_trust));
}

void run(const Options& options) {
  if (!options.text.given()) usage_error("cite needs the question that follows the documents: --file, a text, or - for standard input");
  if (!options.html.empty()) check_writable(options.html);
  const std::vector<Document> documents = documents_in(options.documents);
  const Method& method = method_named(options.method);
  const std::string question = options.text.read();
  const std::shared_ptr<const Model> model = load_model(options.model, {.gradients = method.needs_gradients});
  check_evidence(*model);
  const Cancellable cancellable;
  const std::vector<int32_t> answer = answer_ids(*model, options, document_prompt(documents, question).text);
  EvidenceOptions how{.removals = options.removals, .seed = options.seed, .cancel = &cancel_flag()};
  Evidence found;
  {
    Progress progress("citing");
    how.progress = progress.callback();
    found = evidence_of(model, documents, question, answer, method, how);
  }
  Json json = evidence_json(found);
  if (!options.html.empty()) {
    std::vector<std::string> texts;
    for (const Document& document : documents) texts.push_back(document.text);
    write_file(options.html, evidence_page(format("Evidence for an answer of {}", model->info().name), json, texts));
  }
  if (!options.json) return print_evidence(found, model->info().name, options.top);
  json["model"] = model->info().name;
  print_json(json);
}

}  // namespace

void add_cite(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("cite", "Find the documents that each sentence of an answer depends on");
  command->footer(
      "Example: clearhead cite models/book --file prompt.txt --documents docs.jsonl --html evidence.html\n"
      "The model reads the documents, separated by empty lines, then the prompt. share: the document's part of the\n"
      "attribution · by length: the part that it would have by its length alone · drop: decrease of the sentence's\n"
      "log-probability when no token attends to the document. The last lines correlate shares with the measured drops of\n"
      "random sets of documents: shares that score no higher than the baselines do not predict the drops.");
  command->add_option("model", options->model, "A decoder-only model (its directory, or its name in the local Hugging Face cache)")
      ->required();
  options->text.add(*command);
  command->add_option("--documents", options->documents, "JSON lines: each a string, or an object with \"text\" and optionally \"title\"")
      ->type_name("FILE")
      ->required();
  command->add_option("--answer", options->answer, "The answer to explain (default: the model generates it, greedily)")->type_name("TEXT");
  command->add_option("--method", options->method, "A method of clearhead why (default: information-flow)");
  command->add_option("--removals", options->removals, "Random sets of documents to remove; 0 leaves out the correlations (default: 32)")
      ->check(whole_from(0, 100000));
  command->add_option("--seed", options->seed, "Seed of the random sets (default: 1)");
  command->add_option("--max-tokens", options->max_tokens, "Stop after this many new tokens (default: 128)")->check(whole_from(1));
  command->add_option("--top", options->top, "How many documents to print for each sentence (default: 3)")->check(whole_from(1));
  command->add_option("--html", options->html, "Write the evidence to this HTML file")->type_name("FILE");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
