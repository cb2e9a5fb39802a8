// clearhead demo: runs the main tasks on real input and checks every claim that it prints. `make demo` calls it.
//
//   1. describes the machine
//   2. runs a real model (if one was downloaded) on two sentences and draws heat maps with words
//   3. runs a text of 100,000 tokens through a model with known heads; checks memory, the atlas and the keys of a distant token
//   4. runs 100,000 tokens of unseen novels through models/book, checks that its predictions do not get worse with distance from
//      the beginning, and lets it continue the text
//   5. runs every other shipped model on its example
//   6. writes all these traces into one page, which opens with a picture of each
//   7. prints three commands to try
// A line that says "checked" was compared with the double-precision reference, a known answer or an invariant. If a check fails,
// the exit code is 1.
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "backends/registry.h"
#include "base/parallel.h"
#include "base/text_file.h"
#include "clearhead/generate.h"
#include "cli/demo.h"
#include "cli/look.h"
#include "cli/measure.h"
#include "cli/terminal.h"
#include "cli/word_map.h"
#include "generate/trace_of.h"
#include "models/known_answers.h"
#include "viewer/export.h"

namespace clearhead::cli {
namespace {

constexpr int64_t kLongText = 100'000;

uint64_t peak_memory() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

const Backend& reference() {
  for (const Backend* table : runnable_backends()) {
    if (table->isa == InstructionSet::kReference) return *table;
  }
  fail(ErrorCode::kUnsupported, "demo: the reference backend is not in this build");
}

std::string in_words(const Difference& difference) {
  return format("differs from the double-precision reference by at most {:.1e} (allowed: {:.1e})", difference.largest, difference.allowed);
}

// Difference between a row's weights and the double-precision reference, and the bound for f32 scores of this size:
// |ΔP| ≤ P·(1e-6 + 4εS), where S is the largest Σ_c |q_c·k_c|·scale of the row (docs/NUMERICS.md).
Difference difference_to_reference(const LayerMap& map, int64_t head, int64_t query) {
  const AttentionRecord& record = map.frames()[0].record;
  const Tensor k = to_f32(std::get<Tensor>(record.keys));  // a trace of a prefill stores the keys as one tensor
  const MapRow row = map.row(head, query);
  std::vector<float> exact(row.weights().size());
  const int64_t at = query - record.first_query, d = record.q.size(3), key_head = head * k.size(1) / record.q.size(1);
  reference().weights({.record = record,
                       .batch = 0,
                       .head = head,
                       .rows = &at,
                       .row_count = 1,
                       .keys = {0, static_cast<int64_t>(exact.size())},
                       .out = exact.data(),
                       .out_stride = static_cast<int64_t>(exact.size())});
  const Tensor row_of_q = to_f32(record.q.select(0, 0).select(0, head).select(0, at));
  const float* q = row_of_q.data<float>();
  const double scale = std::get<Dot>(record.spec.score).scale.value_or(1.0f / std::sqrt(static_cast<float>(d)));
  Difference out;
  for (size_t j = 0; j < exact.size(); ++j) {
    const float* key = k.data<float>() + key_head * k.stride(1) + static_cast<int64_t>(j) * k.stride(2);
    double size = 0;
    for (int64_t c = 0; c < d; ++c) size += std::abs(static_cast<double>(q[c]) * static_cast<double>(key[c]));
    const double difference = std::abs(static_cast<double>(exact[j]) - static_cast<double>(row.weights()[j]));
    const double allowed = static_cast<double>(exact[j]) * (1e-6 + 4 * 0x1p-23 * size * scale);
    out.largest = std::max(out.largest, difference);
    out.allowed = std::max(out.allowed, allowed);
    out.holds = out.holds && difference <= allowed + 1e-30;
  }
  return out;
}

void read_sentences(const std::string& directory, Checks& checks) {
  const Clock clock;
  const auto model = load_model(directory);
  print(format("\n2. {} ({} layers × {} heads) reads two sentences", std::filesystem::path(directory).filename().string(),
               model->info().layers, model->info().heads));
  for (const std::string text : {"The cat sat on the mat.", "猫在山上看月。"}) {
    TraceRequest request;
    request.input.text = text;
    const Trace trace = std::move(trace_of(*model, request).trace);
    const HeadScores head = by_strength(head_atlas(trace, trace.main_family()))[0];
    print(format("\n  {}   {} ({})", text, head_name(head.layer, head.head), head.kind));
    const LayerMap map = trace.map(head.layer);
    print_words(terminal(), map_words(trace, trace.main_family()), map, {head.head});
    Difference worst;
    for (int64_t i = 0; i < map.queries(); ++i) worst.join(difference_to_reference(map, head.head, i));
    checks.line(worst.holds, "every weight shown " + in_words(worst));
  }
  print(format("  {:.1f} s", clock.seconds()));
}

// The text around a token of a byte-level tokenizer, on one line.
std::string around(const RunText& text, int64_t token) {
  const int64_t begin = std::max<int64_t>(0, token - 24), end = std::min<int64_t>(static_cast<int64_t>(text.ids.size()), token + 16);
  const auto part = [&](int64_t a, int64_t b) {
    return visible(std::string_view(text.text).substr(static_cast<size_t>(a), static_cast<size_t>(b - a)));
  };
  return "…" + part(begin, token) + "⟨" + part(token, token + 1) + "⟩" + part(token + 1, end) + "…";
}

viewer::ShownTrace read_long_text(const std::string& out, Checks& checks) {
  const Clock clock;
  const std::string directory = out + "/known-causal";
  std::filesystem::create_directories(directory);
  const KnownCausal options{.window = 4096};
  write_known_model(directory, options);
  const KnownText known = make_known_text(kLongText, 7);
  const auto model = load(directory, {.precision = DType::kBF16});
  print(format(
      "\n3. {} tokens through a model with known answers ({} layers × {} heads, weights set by code), in {}, layer 0 with a sliding window "
      "of {} tokens",
      with_commas(kLongText), model->info().layers, model->info().heads, to_string(model->info().precision), with_commas(options.window)));
  const uint64_t before = peak_memory();
  TraceRequest request;
  request.input.text = known.text;
  request.options.statistics_in_run = true;
  Clock run;
  const auto shared = std::make_shared<const Trace>(std::move(trace_of(*model, request).trace));
  const Trace& trace = *shared;
  const double seconds = run.seconds();
  const uint64_t heads = static_cast<uint64_t>(model->info().layers * model->info().heads);
  const uint64_t square = heads * kLongText * kLongText * 4;
  const uint64_t used = peak_memory() - before;
  print(format("  model run, with statistics of every row: {:.1f} s on {} threads", seconds, threads()));
  checks.line(used < (1ull << 30),
              format("{} of memory; the N×N weights of its {} heads would have needed {}", human_bytes(used), heads, human_bytes(square)));

  const std::vector<HeadScores> atlas = head_atlas(trace, trace.main_family());
  const auto kind = [&](int layer, int64_t head) {
    for (const HeadScores& entry : atlas) {
      if (entry.layer == layer && entry.head == head) return entry;
    }
    return HeadScores{};
  };
  for (const HeadScores& head : by_strength(atlas))
    print(format("    {:<8} {:<10} {:>6.2f} %", head_name(head.layer, head.head), head.kind, head.strength * 100));
  checks.line(kind(0, 0).kind == "previous" && kind(1, 0).kind == "induction",
              "the atlas names the previous-token head (L0.H0) and the induction head (L1.H0), as they were built");

  const int64_t query = known.question.end - 1;
  const LayerMap map = trace.map(1);
  print(format("  far token #{}  {}", with_commas(query), around(trace.plan().text, query)));
  const std::vector<Weighted> keys = map.row(0, query).top_k(1);
  for (const Weighted& key : keys)
    print(format("    {:>6.2f} %  #{:<8} {}", key.weight * 100, with_commas(key.key), around(trace.plan().text, key.key)));
  checks.line(!keys.empty() && keys[0].key == known.answer.begin && keys[0].weight > 0.9f,
              format("L1.H0 attends to the answer, {} tokens back", with_commas(query - known.answer.begin)));
  const Difference difference = difference_to_reference(map, 0, query);
  checks.line(difference.holds, format("each of its {} weights ", with_commas(map.keys())) + in_words(difference));

  print(format("  {:.1f} s", clock.seconds()));
  const std::string back = with_commas(query - known.answer.begin);
  return {shared,
          format("v=read&h=1.0&q={}&k={}", query, known.answer.begin),
          format("clearhead view {} --file TEXT --precision bf16", directory),
          {.title = {.en = format("Where among {} tokens did it see these words before?", with_commas(kLongText)),
                     .zh = format("它在 {} 个词元中的哪里见过同样的话？", with_commas(kLongText))},
           .look_for =
               {.en = format(
                    "The last of {} tokens attends to a single other token, {} tokens back: the one that followed the same words there, "
                    "where the red lines meet.",
                    with_commas(kLongText), back),
                .zh = format("{} 个词元中，最后一个只看向 {} 个词元之前的一个：同样的话在那里出现时随后的词元，即红线相交之处。",
                             with_commas(kLongText), back)},
           .answer = format("#{}", with_commas(known.answer.begin))}};
}

viewer::ShownTrace read_book(const std::string& directory, Checks& checks) {
  constexpr int64_t kAnew = 1024, kPieces = 12;  // the end of the text is also read as 12 independent texts of 1,024 tokens
  constexpr int64_t kPassage = 300, kWritten = 60;
  const Clock clock;
  const auto model = load(directory, {.precision = DType::kBF16});
  const std::string text = read_text_file(directory + "/held-out.txt");
  const Encoding encoding = model->tokenizer().encode(text);
  const std::vector<int32_t> ids(encoding.ids.begin(), encoding.ids.begin() + kLongText);
  print(format("\n4. {} tokens of unseen novels through {} ({} parameters, {} layers × {} heads, trained here), in {}",
               with_commas(kLongText), directory, with_commas(model->info().parameters), model->info().layers, model->info().heads,
               to_string(model->info().precision)));
  const std::vector<float> at_once = log_probabilities(*model, ids);
  print(format("  read in {:.1f} s: {:.3f} bits per byte", clock.seconds(), sum_of(encoding, at_once, 1, kLongText).bits_per_byte()));
  double far = 0, anew = 0;
  for (int64_t begin = kLongText - kPieces * kAnew; begin < kLongText; begin += kAnew) {
    const std::vector<float> piece = log_probabilities(*model, {ids.begin() + begin, ids.begin() + begin + kAnew});
    far += sum_of(encoding, at_once, begin + 1, begin + kAnew).bits_per_byte() / kPieces;
    anew += sum_of(encoding, piece, begin + 1, begin + kAnew, begin).bits_per_byte() / kPieces;
  }
  checks.line(far <= anew,
              format("after {} tokens it predicts as well as near the beginning: the last {} tokens cost {:.3f} bits per byte, and "
                     "{:.3f} if they are read as separate texts of {} tokens",
                     with_commas(kLongText - kPieces * kAnew), with_commas(kPieces * kAnew), far, anew, with_commas(kAnew)));
  const size_t from = text.find('\n', static_cast<size_t>(encoding.offsets[kLongText - kPassage][0])) + 1,
               to = static_cast<size_t>(encoding.offsets[kLongText][0]);
  const std::string passage = text.substr(from, to - from);
  const Encoding prompt = model->tokenizer().encode(passage);
  auto trace = std::make_shared<Trace>();
  GenerateOptions settings{.max_tokens = kWritten, .sampling = Sampling{.temperature = 0.7, .seed = 3}};
  settings.run.text = passage;
  settings.run.observer = trace.get();
  const Generated made = generate(*model, prompt, settings);
  print(format("  and continues: …{} ⟨{}⟩", visible(passage.substr(passage.rfind('\n', passage.size() - 60) + 1)), visible(made.text)));
  print(format("  {:.1f} s", clock.seconds()));
  return {
      trace,
      format("v=map&h=4.1&q={}", prompt.size()),
      format("clearhead run generate {} TEXT --trace FILE --precision bf16", directory),
      {.title = {.en = "Where does it break its lines?", .zh = "它在哪里换行？"},
       .look_for = {.en =
                        "Every token attends to the last line break, so the map is a staircase with one step per line. The model starts to "
                        "generate at the red row, and breaks its lines as the book does.",
                    .zh = "每个词元都看向最近的换行，所以矩阵图像一道楼梯，每行文字一级。模型从红线处开始续写，并像原书一样换行。"},
       .answer = cut(visible(made.text), 60)}};
}

void write_page(const std::vector<viewer::ShownTrace>& traces, const std::string& path) {
  const Clock clock;
  print("\n6. all of these in one page, which opens with a picture of each");
  std::vector<viewer::LoadedTrace> loaded = viewer::side_by_side(traces, {});
  // most_work limits the long text to one overview; exporting all of it takes a minute.
  const viewer::ExportedPage page =
      viewer::export_html(loaded, path, {.command = "make demo", .budget_bytes = 40'000'000, .most_work = 6e11, .with_models = true});
  print(format("  {:.1f} s; {} ({}) works offline", clock.seconds(), path, human_bytes(page.bytes)));
}

struct Options {
  std::string model, models = "models", out = "build/demo";
  bool examples_only = false;
};

// Steps 2 to 4: the sentences, the long text and the novels, which take most of the time.
std::vector<viewer::ShownTrace> show_long_texts(const Options& options, Checks& checks) {
  if (!options.model.empty()) {
    read_sentences(options.model, checks);
  } else {
    print("\n2. no real model (no package index could be reached): the models with known answers are used instead");
  }
  std::vector<viewer::ShownTrace> traces{read_long_text(options.out, checks)};
  if (std::filesystem::exists(options.models + "/book/held-out.txt")) traces.push_back(read_book(options.models + "/book", checks));
  std::reverse(traces.begin(), traces.end());  // the shorter one first
  return traces;
}

int run(const Options& options) {
  const Clock clock;
  Checks checks;
  std::filesystem::create_directories(options.out);
  print(format("1. this machine: {} threads, computing with {} ({})", threads(), backend().name, to_string(backend().isa)));
  std::vector<viewer::ShownTrace> longer;
  if (!options.examples_only) longer = show_long_texts(options, checks);
  const Clock examples;
  print("\n5. every other model that was trained here, on its example");
  std::vector<viewer::ShownTrace> traces = show_examples(options.models, checks);
  print(format("  {:.1f} s", examples.seconds()));
  std::move(longer.begin(), longer.end(), std::back_inserter(traces));
  if (traces.empty()) usage_error(format("{}: none of its folders has an example.json, so there is nothing to show", options.models));
  write_page(traces, options.out + "/index.html");
  if (!options.examples_only) {
    const std::string shown = options.model.empty() ? options.out + "/known-causal" : options.model;
    print("\n7. try next:");
    print(format("  build/release/clearhead show {} \"The animal didn't cross the street because it was tired.\"", shown));
    print(format("  build/release/clearhead view {} \"The animal didn't cross the street because it was tired.\"", shown));
    print(format("  build/release/clearhead run generate {}/known-causal \"one two three one two\" --max-tokens 8 --greedy", options.out));
  }
  print(checks.failed == 0 ? format("\nall checks hold, {:.1f} s", clock.seconds()) : format("\n{} checks do not hold", checks.failed));
  return checks.failed == 0 ? 0 : 1;
}

}  // namespace

void add_demo(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("demo", "Run the main tasks on real input and check every claim (called by `make demo`)");
  command->footer("Example: clearhead demo --model ~/.cache/clearhead/models/all-MiniLM-L6-v2 --out build/demo");
  command->add_option("--model", options->model, "Directory of a real model (default: the models with known answers only)")
      ->type_name("DIR");
  command->add_option("--out", options->out, "Folder for the page and the models with known answers (default: build/demo)")
      ->type_name("DIR");
  command->add_option("--models", options->models, "Folder of models with an example.json each (default: models)")->type_name("DIR");
  command->add_flag("--examples-only", options->examples_only, "Run only the models' examples and write their page; skip the long texts");
  command->callback([options] {
    const int code = run(*options);
    if (code != 0) throw CLI::RuntimeError(code);
  });
}

}  // namespace clearhead::cli
