// clearhead bench: measures the speed of attention and models, as fractions of this machine's measured limits.
#include "bench/attention.h"
#include "bench/model.h"
#include "cli/cli.h"

namespace clearhead::cli {
namespace {

struct Options {
  bench::AttentionOptions attention;
  bench::ModelOptions model;
  std::string isa;
  bool json = false;
};

void run_attention(const Options& options) {
  bench::AttentionOptions wanted = options.attention;
  if (options.isa == "avx2") wanted.isa = InstructionSet::kAvx2;
  if (options.isa == "avx512") wanted.isa = InstructionSet::kAvx512;
  Progress progress("bench");
  wanted.progress = progress.callback();
  const bench::AttentionBench done = bench::run_attention(wanted);
  print(options.json ? bench::to_json(done) : bench::to_text(done));
}

void run_model(const Options& options) {
  Progress progress("bench");
  bench::ModelOptions wanted = options.model;
  wanted.progress = progress.callback();
  const bench::ModelBench done = bench::run_model(wanted);
  print(options.json ? bench::to_json(done) : bench::to_text(done));
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("bench", "Measure speed, as fractions of this machine's own limits");
  command->footer("Examples:\n  clearhead bench attention --json\n  clearhead bench attention --filter forward/f32/causal");
  command->require_subcommand(1);
  CLI::App* attention =
      command->add_subcommand("attention", "Measure attention (forward, decode, sweeps) relative to FMA peak and read bandwidth");
  attention->add_option("--filter", options->attention.filters, "Run only cases whose name contains this (repeatable)");
  attention->add_flag("--all", options->attention.all, "Run all cases, including those that are skipped by default");
  attention->add_option("--isa", options->isa, "Use this instruction set (default: the best of this machine)")
      ->check(CLI::IsMember({"avx2", "avx512"}));
  attention->add_option("--seconds", options->attention.seconds_per_case, "Seconds for each case (default: 2)")->check(above_zero());
  attention->add_flag("--json", options->json, "Print JSON");
  attention->callback([options] { run_attention(*options); });
  CLI::App* decode = command->add_subcommand("decode", "Run the decode cases of `bench attention`");
  decode->add_flag("--json", options->json, "Print JSON");
  decode->callback([options] {
    options->attention.filters = {"decode/"};
    run_attention(*options);
  });
  CLI::App* model =
      command->add_subcommand("model", "Measure encoders and a causal model: tokens per second, relative to FMA peak and read bandwidth");
  model->add_option("--filter", options->model.filters, "Run only cases whose name contains this (repeatable)");
  model->add_option("--minilm", options->model.minilm, "Folder of the real MiniLM (default: random weights of its shape)")
      ->type_name("DIR");
  model->add_option("--models", options->model.models, "Folder to keep the random models in, 1 GB (default: a temporary one)")
      ->type_name("DIR");
  model->add_option("--seconds", options->model.seconds_per_case, "Seconds for each case (default: 2)")->check(above_zero());
  model->add_flag("--json", options->json, "Print JSON");
  model->callback([options] { run_model(*options); });
}

}  // namespace clearhead::cli
