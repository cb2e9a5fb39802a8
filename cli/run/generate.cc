// clearhead run generate: how a causal model continues a text.
#include <unistd.h>

#include <cstdio>
#include <optional>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "cli/places.h"
#include "cli/run_command.h"
#include "cli/terminal.h"
#include "cli/written.h"
#include "models/input_kind.h"
#include "text/turns.h"

namespace clearhead::cli {
namespace {

constexpr int64_t kNewTokens = 64;  // default for new tokens, if neither an option nor the model's files set a limit

// Refuses a prompt that leaves no position for a new token, naming its line, before any prompt is run.
void check_lengths(const Model& model, const std::vector<Encoding>& texts, const GenerateOptions& settings, const BatchOptions& options) {
  const int64_t longest = model.info().longest;
  for (size_t index = 0; index < texts.size(); ++index) {
    const auto tokens = static_cast<int64_t>(texts[index].size());
    if (settings.max_length && tokens >= *settings.max_length)
      fail(ErrorCode::kTooLong, "{} has {} tokens, but \"max_length\" allows {} including new tokens. Use --max-tokens",
           options.name(index), with_commas(tokens), with_commas(*settings.max_length));
    if (longest > 0 && tokens > longest)
      fail(ErrorCode::kTooLong, "{} has {} tokens, but this model supports {} positions. Shorten the line", options.name(index),
           with_commas(tokens), with_commas(longest));
  }
}

struct Generate final : TextCommand<Generated> {
  Generate() : TextCommand("generating") {}

  std::string trace{}, budget{};
  std::optional<DType> cache{};
  bool greedy = false;
  std::optional<double> temperature{}, top_p{}, repetition_penalty{};
  std::optional<int64_t> top_k{}, max_tokens{};
  uint64_t seed = 0;

  void add_options(CLI::App& app) override {
    app.add_option("--max-tokens", max_tokens,
                   "Stop after this many new tokens (default: \"max_new_tokens\" or \"max_length\" of the model's files,\nelse 64)")
        ->check(whole_from(1));
    app.add_flag("--greedy", greedy, "Take the most probable token every time, instead of sampling");
    app.add_option("--temperature", temperature,
                   "Softmax temperature for sampling: divides the logits (default: from the model's files, else 1)")
        ->check(above_zero());
    app.add_option("--top-k", top_k, "Sample from the K most probable tokens (default: from the model's files, else 0: all tokens)")
        ->check(whole_from(0));
    app.add_option("--top-p", top_p,
                   "Sample from the smallest set of tokens with this total probability (default: from the model's files,\nelse 1)")
        ->check(above_zero(1));
    app.add_option("--repetition-penalty", repetition_penalty,
                   "Above 1, tokens that occurred before become less probable (default: from the model's files, else 1)")
        ->check(above_zero());
    app.add_option("--seed", seed, "Random seed for sampling (default: 0)")->check(whole_from(0));
    app.add_option_function<std::string>(
           "--cache", [this](const std::string& name) { cache = dtype_named(name); },
           "Dtype of the keys and values in the KV cache (default: as --precision). bf16 and f16\n"
           "round them, and halve memory and memory traffic")
        ->check(CLI::IsMember({"f32", "bf16", "f16"}));
    app.add_option("--trace", trace, "Write the run's attention to this trace file")->type_name("FILE");
    app.add_option("--budget", budget, "Memory that the trace may take: 512M, 4G (default: 2G)")->type_name("SIZE");
  }
  void check_options() const override {
    if (lines && !trace.empty()) usage_error("--trace stores the run of one text; leave out --lines");
  }

  GenerateOptions settings(const Model& of) const {
    GenerateOptions out;
    out.rules = default_rules(of);
    if (repetition_penalty) out.rules->repetition_penalty = *repetition_penalty;
    if (const std::optional<int64_t> limit = max_tokens ? max_tokens : default_new_tokens(of)) {
      out.max_tokens = *limit;
    } else {
      out.max_length = default_max_length(of);
      out.max_tokens = out.max_length.value_or(kNewTokens);
    }
    if (!greedy) {
      Sampling& sampling = out.sampling.emplace(default_sampling(of));
      sampling.temperature = temperature.value_or(sampling.temperature);
      sampling.top_k = top_k.value_or(sampling.top_k);
      sampling.top_p = top_p.value_or(sampling.top_p);
      sampling.seed = seed;
    }
    out.cache = cache;
    out.run.interventions = interventions.interventions();
    return out;
  }

  // Without --json, prints the tokens as they are generated.
  Generated answer_text(const Model& of, const std::string& given) override {
    if (!trace.empty()) check_writable(trace);
    GenerateOptions how = settings(of);
    check_places_in(how.run.interventions, of, given, "", how.max_tokens);
    how.run.text = given;
    TraceOptions keep;
    if (!budget.empty()) keep.budget_bytes = parse_bytes(budget, "--budget");
    Trace kept(keep);
    if (!trace.empty()) how.run.observer = &kept;
    Progress progress("generating");
    how.on_token = [&, report = json ? progress.callback() : nullptr](const GenerationStep& step) {
      if (report) report(static_cast<double>(step.index + 1) / static_cast<double>(how.max_tokens));
      if (json) return true;
      check_mappings();
      const std::string written = ::isatty(STDOUT_FILENO) ? escaped(step.text) : step.text;
      std::fwrite(written.data(), 1, written.size(), stdout);
      std::fflush(stdout);
      return true;
    };
    Generated made = generate(of, of.tokenizer().encode(given), how);
    if (!trace.empty()) kept.save(trace);
    return made;
  }
  std::vector<Generated> answer_window(const Model& of, const Window& window) override {
    GenerateOptions how = settings(of);
    check_places_in(window, of, "", how.max_tokens);
    return answers_of_nonblank<Generated>(window, [&](const std::vector<std::string>& texts, const BatchOptions& options) {
      const std::vector<Encoding> prompts = encoded_lines(of, texts, {});
      check_lengths(of, prompts, how, options);
      how.progress = options.progress;
      return generate_all(of, prompts, how);
    });
  }

  Json json_of(const Generated& made) const override {
    Json out = Json::object();
    add_generated(out, made);
    return out;
  }
  std::string line_of(const Generated& made) const override { return as_line(made.text); }
  void print_answer(const Generated&) const override {
    print("");
    if (!trace.empty()) notice_trace(trace);
  }
};

}  // namespace

const RunCommand& generate_command() {
  static const RunCommand command = {.name = "generate",
                                     .description = "Print how a causal model continues a text",
                                     .is_task_of = [](const ModelInfo& info) { return info.has_causal && !input_kind(info).has_target; },
                                     .add = add_text_command<Generate>};
  return command;
}

}  // namespace clearhead::cli
