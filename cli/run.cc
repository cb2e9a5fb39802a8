// clearhead run TASK MODEL TEXT: prints a model's answer. This file has the tasks embed, fill, classify, tag, answer, generate and
// score; summarise, transcribe, translate and chat have their own files.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <span>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/answers.h"
#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/measure.h"
#include "cli/places.h"
#include "cli/run_lines.h"
#include "cli/terminal.h"

namespace clearhead::cli {
namespace {

using Options = RunArguments;

CLI::App* add_task(CLI::App* run, const std::string& name, const std::string& what, const std::shared_ptr<Options>& options) {
  CLI::App* task = run->add_subcommand(name, what);
  task->add_option("model", options->model, "A model (its directory, or its name in the local Hugging Face cache)")->required();
  options->text.add(*task);
  task->add_flag("--json", options->json, "Print JSON");
  task->add_flag("--lines", options->lines,
                 "Print one answer for each line of the text, in order (with --json one object per line);\n"
                 "lines of similar length run in one batch");
  options->interventions.add(*task);
  add_load_options(*task, options->load);
  return task;
}

std::string text_of(const Options& options, const Model& model) {
  if (!options.text.given()) usage_error("give a text, --file, or - for standard input");
  return given_to(model.info(), options.text);
}

// The interventions, after a check that their queries and keys exist in this text or input. more: the number of tokens that are
// generated after it.
Interventions interventions_in(const Options& options, const Model& model, const std::string& text, const std::string& pair = "",
                               int64_t more = 0) {
  Interventions out = options.interventions.interventions();
  check_places_in(out, model, text, pair, more);
  return out;
}

void embed(const Options& options) {
  if (!options.out.empty() && !options.lines) usage_error("-o writes the embeddings of --lines: add --lines");
  if (options.lines) return embed_lines(options);
  const auto model = load_model(options.model, options.load);
  const std::string text = text_of(options, *model);
  const Interventions interventions = options.interventions.interventions();
  const Embedding embedding = embed(*model, text, {.interventions = interventions});
  check_places_in(interventions, *model, embedding);
  if (embedding.used < embedding.tokens) {
    notice(format("truncated: {} of {} tokens were used ({})", with_commas(embedding.used), with_commas(embedding.tokens),
                  embedding.used == model->info().longest ? "the model's positions end there" : "the model's max_seq_length"));
  }
  if (options.json) return print_json(embedding_json(embedding));
  print(in_numbers(embedding));
}

void fill(const Options& options) {
  if (options.lines) return fill_lines(options);
  const auto model = load_model(options.model, options.load);
  const std::string text = text_of(options, *model);
  const auto masks = fill_mask(*model, text, options.top, interventions_in(options, *model, text));
  if (options.json) return print_json(masks_json(masks));
  for (const auto& candidates : masks) {
    for (const Candidate& candidate : candidates) print(format("{:>7.2f} %  {}", candidate.probability * 100, visible(candidate.token)));
  }
}

void classify(const Options& options) {
  if (options.lines) return classify_lines(options);
  const auto model = load_model(options.model, options.load);
  const std::string text = text_of(options, *model);
  const Interventions interventions = interventions_in(options, *model, text, options.pair);
  std::vector<ClassScore> classes;
  if (reads_inputs(model->info())) {
    classes = classify_inputs(*model, {input_of(model->info(), text, options.pair)}, interventions)[0];
  } else {
    std::optional<std::string_view> pair;
    if (!options.pair.empty()) pair = options.pair;
    classes = classify(*model, text, pair, interventions);
  }
  const ProblemType problem = model->info().problem;
  if (options.json) return print_json(classes_json(classes, problem));
  const size_t shown = std::min(classes.size(), static_cast<size_t>(options.labels));
  for (const ClassScore& score : std::span(classes).first(shown)) print(format("{:>9}  {}", in_words(score, problem), score.label));
  if (const size_t more = classes.size() - shown; more > 0)
    notice(format("{} more {}; for all: --top {}", more, more == 1 ? "label" : "labels", classes.size()));
}

void tag(const Options& options) {
  if (options.lines) return tag_lines(options);
  const auto model = load_model(options.model, options.load);
  const std::string text = text_of(options, *model);
  const std::vector<TaggedSpan> spans = tag(*model, text, interventions_in(options, *model, text));
  if (options.json) return print_json(entities_json(text, spans));
  for (const TaggedSpan& span : spans)
    print(format("{:>7.2f} %  {:<16} {}", span.probability * 100, span.type, visible(words_of(text, span))));
  if (spans.empty()) notice("no entity was found in this text");
}

void answer(const Options& options) {
  if (options.lines) return answer_text_lines(options);
  const auto model = load_model(options.model, options.load);
  const std::string text = text_of(options, *model);
  const TextAnswer found = answer(*model, options.question, text, std::nullopt, interventions_in(options, *model, options.question, text));
  const std::string span = text.substr(static_cast<size_t>(found.begin), static_cast<size_t>(found.end - found.begin));
  if (options.json) return print_json(answer_json(span, found));
  if (found.found) return print(format("{:>7.2f} %  {}", found.probability * 100, visible(span)));
  notice(format("the text does not contain the answer ({:.2f} %)", found.null_probability * 100));
}

void generate_text(const Options& options) {
  if (options.lines && !options.trace.empty()) usage_error("--trace stores the run of one text; leave out --lines");
  if (options.lines) return generate_lines(options);
  const auto model = load_model(options.model, options.load);
  const std::string text = text_of(options, *model);
  if (!options.trace.empty()) check_writable(options.trace);
  GenerateOptions settings = generate_options(options, *model);
  settings.run.interventions = interventions_in(options, *model, text, "", settings.max_tokens);
  settings.run.text = text;
  TraceOptions keep;
  if (!options.budget.empty()) keep.budget_bytes = parse_bytes(options.budget, "--budget");
  Trace trace(keep);
  if (!options.trace.empty()) settings.run.observer = &trace;
  Progress progress("generating");
  if (options.json) {
    settings.on_token = [&, report = progress.callback()](const GenerationStep& step) {
      if (report) report(static_cast<double>(step.index + 1) / static_cast<double>(settings.max_tokens));
      return true;
    };
  } else {
    settings.on_token = [](const GenerationStep& step) {
      check_mappings();
      const std::string written = ::isatty(STDOUT_FILENO) ? escaped(step.text) : step.text;
      std::fwrite(written.data(), 1, written.size(), stdout);
      std::fflush(stdout);
      return true;
    };
  }
  const Generated done = generate(*model, model->tokenizer().encode(text), settings);
  if (!options.trace.empty()) trace.save(options.trace);
  if (!options.json) {
    print("");
    if (!options.trace.empty()) notice(format("trace: {}; look: clearhead view {}", options.trace, options.trace));
    return;
  }
  print_json(generated_json(done));
}

// Scores of a long text in ranges whose ends grow by a factor of four. They show whether predictions get worse with distance from
// the beginning.
std::vector<Scored> ranges_of(const Encoding& encoding, const std::vector<float>& log_probabilities) {
  const int64_t count = static_cast<int64_t>(encoding.size());
  std::vector<Scored> out;
  for (int64_t begin = 1, end = 256; begin < count; begin = end, end *= 4)
    out.push_back(sum_of(encoding, log_probabilities, begin, std::min(end, count)));
  return out;
}

void score(const Options& options) {
  if (options.lines) return score_lines(options);
  const auto model = load_model(options.model, options.load);
  const std::string text = text_of(options, *model);
  const Encoding encoding = model->tokenizer().encode(text, {.add_special_tokens = false});
  const int64_t count = static_cast<int64_t>(encoding.size());
  if (count < 2)
    usage_error(format("the text has {} token{}, and a score needs at least 2; give a longer text", count, count == 1 ? "" : "s"));
  const Interventions interventions = options.interventions.interventions();
  check_places_in(interventions, *model, encoding);
  std::optional<Progress> progress("reading");
  const std::vector<float> log_probabilities = clearhead::log_probabilities(*model, encoding.ids, interventions, progress->callback());
  progress.reset();
  const Scored all = sum_of(encoding, log_probabilities, 1, count);
  Json ranges = Json::array();
  if (!options.json) {
    print(format("{} tokens, {} bytes: {:.4f} nats per token (perplexity {:.2f}), {:.4f} bits per byte", with_commas(count),
                 with_commas(static_cast<int64_t>(text.size())), all.per_token(), std::exp(all.per_token()), all.bits_per_byte()));
  }
  for (const Scored& range : ranges_of(encoding, log_probabilities)) {
    ranges.push(Json::object(
        {{"begin", range.begin}, {"end", range.end}, {"nats_per_token", range.per_token()}, {"bits_per_byte", range.bits_per_byte()}}));
    if (!options.json)
      print(format("  tokens {:>9} to {:>9}  {:.4f} bits per byte", with_commas(range.begin), with_commas(range.end - 1),
                   range.bits_per_byte()));
  }
  if (!options.json) return;
  Json each = Json::array();
  for (const float value : log_probabilities) each.push(value);
  print_json(Json::object({{"tokens", count},
                           {"bytes", static_cast<int64_t>(text.size())},
                           {"nats_per_token", all.per_token()},
                           {"perplexity", std::exp(all.per_token())},
                           {"bits_per_byte", all.bits_per_byte()},
                           {"ranges", ranges},
                           {"log_probabilities", each}}));
}

}  // namespace

void add_run(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* run = app.add_subcommand(
      "run", "Run a model for its answer: embed, fill, classify, tag, answer, generate, summarise, transcribe, translate, chat, score");
  run->require_subcommand(1);
  run->footer(
      "Without a task, the model runs its own: clearhead run MODEL INPUT.\nExamples:\n  clearhead run embed MODEL \"text\" "
      "--json\n  clearhead run embed MODEL --file lines.txt --lines -o vectors.npy\n  "
      "clearhead run generate MODEL \"Once upon\" --max-tokens 40 --greedy");
  CLI::App* embed_task = add_task(run, "embed", "Print a sentence's vector, as sentence-transformers computes it", options);
  embed_task->add_option("-o", options->out, "With --lines: write the vectors to this .npy file, f32 [lines, width]")->type_name("FILE");
  embed_task->callback([options] { embed(*options); });
  CLI::App* fill_task = add_task(run, "fill", "Print candidates for every mask token of the text", options);
  fill_task->add_option("--top", options->top, "How many candidates to print for each (default: 5)")->check(whole_from(1));
  fill_task->callback([options] { fill(*options); });
  CLI::App* classify_task =
      add_task(run, "classify", "Print the probabilities of a classifier's labels, or the value of a regression", options);
  classify_task->add_option("--pair,--question", options->pair,
                            "A second text, for classifiers of pairs; the question, for models that answer one");
  classify_task->add_option("--top", options->labels, "How many labels to print (default: 10; JSON has all)")->check(whole_from(1));
  classify_task->callback([options] { classify(*options); });
  add_task(run, "tag", "Print the entities of a text, found by a token classifier", options)->callback([options] { tag(*options); });
  CLI::App* answer_task = add_task(run, "answer", "Print the words of a text that answer a question, or that there are none", options);
  answer_task->add_option("--question", options->question, "The question")->required();
  answer_task->callback([options] { answer(*options); });
  add_task(run, "score", "Print how well a causal model predicts a text, in bits per byte, overall and by position", options)
      ->callback([options] { score(*options); });
  CLI::App* generate_task = add_task(run, "generate", "Print how a causal model continues a text", options);
  generate_task
      ->add_option("--max-tokens", options->max_tokens,
                   "Stop after this many new tokens (default: \"max_new_tokens\" or \"max_length\" of the model's files,\nelse 64)")
      ->check(whole_from(1));
  generate_task->add_flag("--greedy", options->greedy, "Take the most probable token every time, instead of sampling");
  generate_task
      ->add_option("--temperature", options->temperature,
                   "Softmax temperature for sampling: divides the logits (default: from the model's files, else 1)")
      ->check(above_zero());
  generate_task
      ->add_option("--top-k", options->top_k,
                   "Sample from the K most probable tokens (default: from the model's files, else 0: all tokens)")
      ->check(whole_from(0));
  generate_task
      ->add_option("--top-p", options->top_p,
                   "Sample from the smallest set of tokens with this total probability (default: from the model's files,\nelse 1)")
      ->check(above_zero(1));
  generate_task
      ->add_option("--repetition-penalty", options->repetition_penalty,
                   "Above 1, tokens that occurred before become less probable (default: from the model's files, else 1)")
      ->check(above_zero());
  generate_task->add_option("--seed", options->seed, "Random seed for sampling (default: 0)")->check(whole_from(0));
  generate_task
      ->add_option_function<std::string>(
          "--cache", [options](const std::string& name) { options->cache = dtype_named(name); },
          "Dtype of the keys and values in the KV cache (default: as --precision). bf16 and f16\n"
          "round them, and halve memory and memory traffic")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  generate_task->add_option("--trace", options->trace, "Write the run's attention to this trace file")->type_name("FILE");
  generate_task->add_option("--budget", options->budget, "Memory that the trace may take: 512M, 4G (default: 2G)")->type_name("SIZE");
  generate_task->callback([options] { generate_text(*options); });
  add_run_summarise(*run);
  add_run_transcribe(*run);
  add_run_translate(*run);
  add_run_chat(*run);
}

}  // namespace clearhead::cli
