// Code that all subcommands share: reads texts, loads models and traces, parses ranges and spans, shows progress.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/format.h"
#include "base/text_file.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/terminal.h"
#include "explain/traced.h"
#include "generate/trace_of.h"
#include "io/safetensors.h"
#include "models/find_model.h"
#include "models/places.h"
#include "text/strings.h"
#include "text/turns.h"

namespace clearhead::cli {

std::optional<int64_t> whole_number(std::string_view text) {
  if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  return std::atoll(std::string(text).c_str());
}

CLI::Validator whole_from(int64_t least, int64_t most) {
  const auto check = [least, most](std::string& text) {
    const std::optional<int64_t> number = whole_number(text);
    if (number && *number >= least && *number <= most) return std::string();
    return format("expected a whole number, {} to {}, found \"{}\"", least, with_commas(most), text);
  };
  return {check, format("{} or more", least)};
}

CLI::Validator above_zero(double most) {
  const auto check = [most](std::string& text) {
    char* rest = nullptr;
    const double number = std::strtod(text.c_str(), &rest);
    const bool good = rest != text.c_str() && *rest == 0 && number > 0 && number <= most;
    return good ? std::string()
                : format("expected a number above 0{}, found \"{}\"", most < 1e9 ? format(" and up to {}", most) : "", text);
  };
  return {check, "above 0"};
}

void usage_error(const std::string& message) { throw UsageError(message); }

// 1 while a progress line is on the screen. The next output replaces it.
static volatile std::sig_atomic_t progress_is_shown = 0;

static void clear_progress() {
  if (progress_is_shown) std::fprintf(stderr, "\r\033[K");
  progress_is_shown = 0;
}

void leave_progress() {  // called by the Ctrl-C handler
  if (progress_is_shown && ::write(STDERR_FILENO, "\n", 1) < 0) return;
}

void print(const std::string& text) {
  check_mappings();
  clear_progress();
  const std::string safe = escaped(text, terminal().colours != Colours::kNone);
  std::fwrite(safe.data(), 1, safe.size(), stdout);
  std::fputc('\n', stdout);
}

static volatile std::sig_atomic_t writes_lines = 0, kept_interrupt = 0;

bool keep_interrupt(int signal) {
  if (!writes_lines || kept_interrupt) return false;
  kept_interrupt = signal;
  return true;
}

void print_whole(const std::string& lines) {
  check_mappings();
  clear_progress();
  const std::string safe = ::isatty(STDOUT_FILENO) ? escaped(lines) : lines;
  writes_lines = 1;
  std::fwrite(safe.data(), 1, safe.size(), stdout);
  std::fflush(stdout);
  writes_lines = 0;
  if (kept_interrupt) std::raise(static_cast<int>(kept_interrupt));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    if (!lines.back().empty() && lines.back().back() == '\r') lines.back().pop_back();
    begin = end + 1;
  }
  return lines;
}

void print_json(const Json& json) { print(json.dump()); }

void notice(const std::string& text) {
  clear_progress();
  std::fprintf(stderr, "%s\n", escaped(text).c_str());
}

// Headings of the option groups in --help; a command's own options come first.
static constexpr const char* kText = "The text";
static constexpr const char* kKept = "Contents of the trace";
static constexpr const char* kInterventions = "Interventions";
static constexpr const char* kPrecision = "Precision";

void TextArguments::add(CLI::App& app) {
  const auto take = [this](const std::string& value) {
    text = value;
    has_text = true;
  };
  app.add_option_function<std::string>("text", take, "The text; - reads it from standard input");
  app.add_option("--file,-f", file, "Read the text from this file; - is standard input")->type_name("FILE")->group(kText);
}

// Notes that the text is also the name of a file: the user probably meant --file.
static void notice_file_name(const TextArguments& given) {
  std::error_code ignored;
  if (given.has_text && !given.is_standard_input() && std::filesystem::is_regular_file(given.text, ignored))
    notice(format("the text is \"{}\", which is also the name of a file; to read the file: --file {}", given.text, quoted(given.text)));
}

std::string TextArguments::read() const {
  if (has_text && !file.empty()) usage_error("give the text or --file, not both");
  if (is_standard_input()) return read_text_file("-");
  notice_file_name(*this);
  return has_text ? text : read_text_file(file);
}

void TraceArguments::add(CLI::App& app) {
  app.add_option("model", model,
                 "A model (its directory, or its name in the local Hugging Face cache), or a trace file,\n"
                 "which already contains its text")
      ->required();
  text.add(app);
  app.add_option("--pair,--question", pair, "The second text, for models that read pairs; the question, for question-answering models")
      ->group(kText);
  app.add_option("--segments", segments, "JSON file that names sections of the text, in bytes:\n[{\"name\", \"role\", \"begin\", \"end\"}]")
      ->type_name("FILE")
      ->group(kText);
  app.add_flag("--truncate", truncate, "Truncate a text that is longer than the model supports")->group(kText);
  app.add_option("--window", window, "Read a text that is longer than the model supports in sliding windows of this many tokens")
      ->check(whole_from(1))
      ->group(kText);
  app.add_option("--overlap", overlap, "Tokens that neighbouring windows share (default: a quarter of --window)")
      ->check(whole_from(0))
      ->group(kText);
  app.add_option("--layers", layers, "Keep only these layers: 0,3,5:8 is 0, 3, 5, 6 and 7 (default: all)")->group(kKept);
  app.add_option("--rows", rows, "Keep the query vectors of these tokens even if they exceed the budget: 1200:1300 (repeatable)")
      ->group(kKept);
  app.add_option("--budget", budget, "Memory that the trace may take: 512M, 4G (default: 2G)")->type_name("SIZE")->group(kKept);
  app.add_flag("--gradients", gradients,
               "Also keep the gradient of the answer with respect to every attention weight (∂y/∂P), so that maps\ncan show which weights "
               "support or "
               "oppose it")
      ->group(kKept);
  app.add_option("--target", asked.target,
                 "With --gradients: the answer, as in clearhead why: a class, the next word, or \"token N\"\n(default: the model's answer)")
      ->group(kKept);
  app.add_option("--contrast", asked.contrast, "With --gradients: the class or word to subtract, as in clearhead why")->group(kKept);
  interventions.add(app);
  add_load_options(app, load);
}

// Refuses a file that is not in safetensors format: a file given instead of a model is most often a text. Byte 8 of every
// safetensors file is a brace.
static void refuse_text_file(const std::string& path) {
  const std::shared_ptr<MappedFile> file = MappedFile::open(path);
  if (file->size() > 8 && file->bytes()[8] != '{')
    fail(ErrorCode::kFormat, "{}: is not a trace; to read it as a text, give a model and --file {}", path, path);
}

bool is_trace_file(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;
  refuse_text_file(path);
  return io::SafeTensors::open(path).metadata().count("clearhead_trace") > 0;
}

std::shared_ptr<const Model> load_model(const std::string& name, const LoadOptions& options) {
  const ModelInfo info = describe_model(name);
  if (info.file_dtype != "f32" && info.file_bytes > 0 && options.weights == WeightStorage::kF32 && options.precision == DType::kF32) {
    notice(format("{}: {} weights are converted to f32: {} in the file, {} in memory", info.name, info.file_dtype,
                  human_bytes(info.file_bytes), human_bytes(info.memory_bytes)));
  }
  return load(name, options);
}

DType dtype_named(const std::string& name) { return name == "bf16" ? DType::kBF16 : name == "f16" ? DType::kF16 : DType::kF32; }

void add_load_options(CLI::App& app, LoadOptions& load) {
  app.add_option_function<std::string>(
         "--precision", [&load](const std::string& name) { load.precision = dtype_named(name); },
         "Dtype in which linear layers and attention multiply (default: f32). bf16 rounds their inputs\n"
         "and is several times faster on long texts")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->group(kPrecision);
  app.add_option_function<std::string>(
         "--weights",
         [&load](const std::string& name) {
           for (const WeightStorage storage : {WeightStorage::kBF16, WeightStorage::kInt8, WeightStorage::kInt8Dynamic}) {
             if (name == to_string(storage)) load.weights = storage;
           }
         },
         "How linear layers store their weights (default: f32). bf16 and int8 round them, use less\n"
         "memory and decode faster. int8-dynamic also rounds the inputs of each layer to 8 bits and\n"
         "multiplies integers: fast for many texts, and the least exact")
      ->check(CLI::IsMember({"f32", "bf16", "int8", "int8-dynamic"}))
      ->group(kPrecision);
}

void TraceArguments::refuse_run_options() const {
  if (text.given()) usage_error("a trace already has its text; give a model to read another one");
  for (const auto& [given, name] : {std::pair{!pair.empty(), "--pair"},
                                    {window > 0, "--window"},
                                    {overlap.has_value(), "--overlap"},
                                    {truncate, "--truncate"},
                                    {!layers.empty(), "--layers"},
                                    {!rows.empty(), "--rows"},
                                    {gradients, "--gradients"},
                                    {interventions.given(), "an intervention (--knock-out, --cut, --keep-only)"},
                                    {load.precision != DType::kF32, "--precision"},
                                    {load.weights != WeightStorage::kF32, "--weights"},
                                    {!budget.empty(), "--budget"}}) {
    if (given) usage_error(format("{} affects a run, but a trace is not run again: give a model and a text", name));
  }
}

std::string quoted(const std::string& text) {
  if (!text.empty() &&
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,%@") == std::string::npos) {
    return text;
  }
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string TraceArguments::as_typed(const char* command) const {
  std::string out = format("clearhead {} {}", command, quoted(model));
  if (!text.file.empty()) {
    out += " --file " + quoted(text.file);
  } else if (text.has_text) {
    out += text.text.size() <= 200 ? " " + quoted(text.text) : " --file TEXT";
  }
  if (!pair.empty()) out += " --pair " + quoted(pair);
  if (window > 0) out += format(" --window {}", window);
  if (overlap) out += format(" --overlap {}", *overlap);
  if (truncate) out += " --truncate";
  if (!segments.empty()) out += " --segments " + quoted(segments);
  if (!layers.empty()) out += " --layers " + quoted(layers);
  if (gradients) out += " --gradients";
  if (!asked.target.empty()) out += " --target " + quoted(asked.target);
  if (!asked.contrast.empty()) out += " --contrast " + quoted(asked.contrast);
  if (load.precision != DType::kF32) out += format(" --precision {}", to_string(load.precision));
  if (load.weights != WeightStorage::kF32) out += format(" --weights {}", to_string(load.weights));
  return out + interventions.as_typed();
}

void InterventionArguments::add(CLI::App& app) {
  app.add_option("--knock-out,--ablate", knock_out,
                 "Ablate heads (their output is zero): L3.H5, or L3.H5,L4.H0 (repeatable).\n"
                 "For an encoder-decoder: cross.L2.H1, enc.L0.H3, dec.L1.H0")
      ->delimiter(',')
      ->type_name("HEAD")
      ->group(kInterventions);
  app.add_option("--cut", cut,
                 "Attention knockout: 10:20/3:5 hides tokens 3 and 4 from tokens 10 to 19 (repeatable).\n"
                 "In one layer or head: 10:20/3:5@L3, 10:20/3:5@L3.H5. For an encoder-decoder: @cross,\n"
                 "@cross.L2, @cross.L2.H1, and the same with enc and dec")
      ->type_name("QUERIES/KEYS")
      ->group(kInterventions);
  app.add_option("--keep-only", keep_only, "Let these queries attend only to these keys; same format as --cut (repeatable)")
      ->type_name("QUERIES/KEYS")
      ->group(kInterventions);
}

// Removes and returns the family at the beginning of "cross.L2.H1"; "" for "L2.H1".
static std::string take_family(std::string& place) {
  const std::string first = place.substr(0, place.find('.'));
  if (first.size() < 2 || !std::all_of(first.begin(), first.end(), [](char c) { return c >= 'a' && c <= 'z'; })) return "";
  place.erase(0, first.size() + 1);
  return first;
}

Interventions::Pairs parse_pairs(const std::string& text, const std::string& option) {
  const size_t at = text.find('@'), slash = text.find('/');
  if (slash == std::string::npos || slash > at)
    usage_error(format("{}: expected QUERIES/KEYS, such as 10:20/3:5, optionally with @L3 or @L3.H5 for one layer or head, found \"{}\"",
                       option, text));
  Interventions::Pairs out{parse_range(text.substr(0, slash), option),
                           parse_range(text.substr(slash + 1, at == std::string::npos ? at : at - slash - 1), option)};
  if (at == std::string::npos) return out;
  std::string place = text.substr(at + 1);
  out.family = take_family(place);
  if (place.empty() && !out.family.empty()) return out;
  if (place.find('.') != std::string::npos) {
    const HeadName head = parse_head(place, option);
    out.layer = head.layer, out.head = head.head;
    return out;
  }
  const auto layer = whole_number(std::string_view(place).substr(place.starts_with('L') || place.starts_with('l')));
  if (!layer) usage_error(format("{}: expected @L3, @L3.H5 or @cross.L3.H5, found \"{}\"", option, text.substr(at)));
  out.layer = static_cast<int>(*layer);
  return out;
}

Interventions InterventionArguments::interventions() const {
  Interventions out;
  for (std::string name : knock_out) {
    const std::string family = take_family(name);
    const HeadName head = parse_head(name, "--knock-out");
    out.ablated.push_back({head.layer, head.head, family});
  }
  for (const std::string& pairs : cut) out.knockouts.push_back(parse_pairs(pairs, "--cut"));
  for (const std::string& pairs : keep_only) out.keep_only.push_back(parse_pairs(pairs, "--keep-only"));
  return out;
}

std::string InterventionArguments::as_typed() const {
  std::string out;
  for (const std::string& name : knock_out) out += " --knock-out " + quoted(name);
  for (const std::string& pairs : cut) out += " --cut " + quoted(pairs);
  for (const std::string& pairs : keep_only) out += " --keep-only " + quoted(pairs);
  return out;
}

void TraceArguments::name_segments(Trace& trace) const {
  if (segments.empty()) return;
  std::vector<TextSegment> named;
  for (const NamedBytes& segment : segments_from_json(read_config(segments), segments)) {
    check_bytes(segment, trace.plan().text.text.size());
    const Range tokens = tokens_of_bytes(trace.plan().text, segment.begin, segment.end);
    named.push_back({segment.name, segment.role, tokens.begin, tokens.end});
  }
  trace.set_segments(std::move(named));
}

Trace TraceArguments::trace() {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(model, ignored)) {
    refuse_text_file(model);
    refuse_run_options();
    Trace trace = Trace::load(model);
    name_segments(trace);
    return trace;
  }
  if (!gradients && !(asked.target.empty() && asked.contrast.empty()))
    usage_error("--target and --contrast set the target of --gradients: add --gradients");
  if (overlap && window == 0) usage_error("--overlap is the number of tokens that neighbouring windows share: add --window");
  if (truncate && window > 0) usage_error("--window reads the whole text and --truncate shortens it: give only one of them");
  if (!text.given()) {
    model_directory(model);  // an unknown model is reported before the missing text
    usage_error("a model needs a text: give one, or --file, or - for standard input");
  }
  TraceRequest request;
  const std::string given = given_to(describe_model(model), text);
  request.truncate = truncate;
  request.window = window;
  request.overlap = overlap;
  request.interventions = interventions.interventions();
  if (!segments.empty()) request.segments = segments_from_json(read_config(segments), segments);
  if (!budget.empty()) request.options.budget_bytes = parse_bytes(budget, "--budget");
  if (!layers.empty()) request.options.layers = parse_layers(layers);
  for (const std::string& range : rows) request.options.rows.push_back(parse_range(range, "--rows"));
  request.options.statistics_in_run = statistics_in_run;
  load.gradients = gradients;
  loaded = load_model(model, load);
  request.input = input_of(loaded->info(), given, pair);
  if (reads_inputs(loaded->info())) input = request.input;
  if (gradients) return trace_of_answer(request);
  const bool is_one_text = !reads_inputs(loaded->info()) && !writes_from_text(loaded->info());
  for (const int layer : request.options.layers) {
    if (is_one_text && layer >= loaded->info().layers)
      usage_error(format("--layers names layer {}; this model's layers are 0 to {}", layer, loaded->info().layers - 1));
  }
  if (request.input.text.size() > 200'000 && request.window == 0 && is_one_text) {
    const RunPlan plan = plan_text(*loaded, request);
    const TraceSize size = Trace::size_of(plan, request.options);
    const bool fits = loaded->info().longest == 0 || static_cast<int64_t>(plan.text.ids.size()) <= loaded->info().longest;
    if (fits)
      notice(format("keeping {} of keys, {} of {} and {} of statistics", human_bytes(size.keys), human_bytes(size.queries),
                    size.all_rows ? "all query vectors" : "the last query vectors", human_bytes(size.statistics)));
  }
  std::optional<Progress> progress("running the model");
  if (const auto report = progress->callback()) request.progress = [report](double done, const std::string&) { report(done); };
  request.logits = with_answers && window == 0;
  TracedInput traced = trace_of(*loaded, request);
  progress.reset();
  if (request.logits) answers = explain::main_answers(*loaded, traced.result, traced.trace.plan().text);
  if (traced.cut > 0)
    notice(format("truncated: {} of {} tokens were removed (--truncate)", with_commas(traced.cut), with_commas(traced.tokens)));
  if (traced.windows > 1)
    notice(format("{} windows of {} tokens; pairs of tokens that no window contains were never scored", traced.windows, window));
  if (traced.written) notice(format("written: {}", text::strip(as_line(traced.written->text))));
  return std::move(traced.trace);
}

Trace TraceArguments::trace_of_answer(const TraceRequest& request) {
  if (window > 0 || truncate) usage_error("--gradients needs one run over the whole text: give it without --window and --truncate");
  const std::unique_ptr<explain::AttributionTarget> target = explain::make_target(loaded, request.input, asked);
  check_ranges(request.options, target->plan());
  check_ranges(request.interventions, target->plan().families);
  notice(format("gradients of {}, whose probability is {}", visible(target->answer()), percent(target->probability())));
  Trace trace = explain::trace_with_gradients(*target, request.options, request.interventions);
  name_segments(trace);
  return trace;
}

static Range parse_range_of(const char* what, const std::string& text, const std::string& option) {
  const size_t colon = text.find_first_of(":-");
  const std::optional<int64_t> begin = whole_number(std::string_view(text).substr(0, colon));
  std::optional<int64_t> end = begin ? std::optional<int64_t>(*begin + 1) : std::nullopt;
  if (colon != std::string::npos) end = whole_number(std::string_view(text).substr(colon + 1));
  if (!begin || !end || *end <= *begin)
    usage_error(format("{}: expected a {} number or a range BEGIN:END, found \"{}\"", option, what, text));
  return {*begin, *end};
}

Range parse_range(const std::string& text, const std::string& option) { return parse_range_of("token", text, option); }

std::vector<int> parse_layers(const std::string& text) {
  std::vector<int> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const Range range = parse_range_of("layer", text.substr(begin, end - begin), "--layers");
    constexpr int64_t kMostLayers = 10000;
    if (range.end > kMostLayers) usage_error(format("--layers: expected layers below {}, found \"{}\"", kMostLayers, text));
    for (int64_t layer = range.begin; layer < range.end; ++layer) out.push_back(static_cast<int>(layer));
    begin = end + 1;
  }
  return out;
}

uint64_t parse_bytes(const std::string& text, const std::string& option) {
  char* rest = nullptr;
  const double value = std::strtod(text.c_str(), &rest);
  const std::string unit = rest;
  const std::string units = "KMGT";
  const size_t power = unit.empty() ? 0 : units.find(static_cast<char>(std::toupper(unit[0]))) + 1;
  const std::string tail = unit.empty() ? "" : unit.substr(1);
  const bool known = unit.empty() || (units.find(static_cast<char>(std::toupper(unit[0]))) != std::string::npos &&
                                      (tail.empty() || tail == "B" || tail == "iB"));
  if (rest == text.c_str() || !known || !(value > 0) || value > 1e6)
    usage_error(format("{}: expected a size like 512M or 4G, found \"{}\"", option, text));
  return static_cast<uint64_t>(value * std::pow(1024.0, static_cast<double>(power)));
}

HeadName parse_head(const std::string& text, const std::string& option) {
  std::string digits = text;
  digits.erase(std::remove_if(digits.begin(), digits.end(), [](char c) { return c == 'L' || c == 'H' || c == 'l' || c == 'h'; }),
               digits.end());
  const size_t dot = digits.find('.');
  const std::optional<int64_t> layer = whole_number(std::string_view(digits).substr(0, dot));
  const std::optional<int64_t> head = dot == std::string::npos ? std::nullopt : whole_number(std::string_view(digits).substr(dot + 1));
  if (!layer || !head) usage_error(format("{}: expected a head like L3.H5, found \"{}\"", option, text));
  return {static_cast<int>(*layer), *head};
}

std::string head_name(int layer, int64_t head) { return format("L{}.H{}", layer, head); }

Range find_span(const RunText& text, const std::string& span) {
  const int64_t count = static_cast<int64_t>(text.ids.size());
  if (span.rfind("#", 0) == 0) {
    const Range range = parse_range(span.substr(1), "span");
    if (range.end > count) usage_error(format("span \"{}\" is out of range: the text has {} tokens, counted from 0", span, count));
    return range;
  }
  if (span.rfind("seg:", 0) == 0) {
    std::string names;
    for (const TextSegment& segment : text.segments) {
      if (segment.name == span.substr(4)) return {segment.begin, segment.end};
      names += (names.empty() ? "" : ", ") + segment.name;
    }
    usage_error(format("span \"{}\": there is no segment of that name; {}", span,
                       names.empty() ? "name segments with --segments FILE" : "the segments are " + names));
  }
  const size_t at = text.text.find(span);
  for (const TextSegment& segment : text.segments) {
    if (at == std::string::npos && segment.name == span) return {segment.begin, segment.end};
  }
  if (span.empty() || at == std::string::npos) {
    for (int64_t id = text.tokens(); id < count; ++id) {
      if (text.pieces[static_cast<size_t>(id)] == span) return {id, id + 1};
    }
    usage_error(format(
        "span \"{}\" does not occur in the text; expected a piece of the text, a token range such as #12:20, or seg:NAME for a segment",
        span));
  }
  const size_t again = text.text.find(span, at + 1);
  const Range first = tokens_of_bytes(text, static_cast<int64_t>(at), static_cast<int64_t>(at + span.size()));
  if (again != std::string::npos) {
    notice(format("span \"{}\" occurs more than once; the first occurrence, tokens #{}:{}, is used", span, first.begin, first.end));
  }
  return first;
}

std::string score_text(const ClassScore& score, ProblemType problem) {
  return problem == ProblemType::kRegression ? format("{:.4f}", score.probability) : format("{:.2f} %", score.probability * 100);
}

struct Progress::State {
  std::string what;
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now(), shown{};
};

Progress::Progress(std::string what) : state_(std::make_shared<State>()) { state_->what = std::move(what); }

Progress::~Progress() { clear_progress(); }

std::function<void(double)> Progress::callback() {
  if (!::isatty(STDERR_FILENO)) return nullptr;
  return [state = state_](double fraction) {
    const auto now = std::chrono::steady_clock::now();
    const double spent = std::chrono::duration<double>(now - state->begin).count();
    if (spent < 1.0 || now - state->shown < std::chrono::milliseconds(200) || fraction <= 0) return;
    state->shown = now;
    progress_is_shown = 1;
    std::fprintf(stderr, "\r\033[K%s %3.0f %%, %.0f s left", state->what.c_str(), fraction * 100, spent / fraction - spent);
  };
}

}  // namespace clearhead::cli
