// The tasks of clearhead run on many lines (--lines). A blank line gets an empty answer; for a line that cannot be answered, an
// error is reported (lines.h).
#include "cli/run_lines.h"
#include "clearhead/answers.h"

#include "cli/input.h"

#include <cmath>

#include "base/format.h"
#include "base/parallel.h"
#include "cli/lines.h"
#include "cli/measure.h"
#include "cli/places.h"
#include "cli/terminal.h"
#include "io/npy.h"
#include "text/turns.h"

namespace clearhead::cli {
namespace {

constexpr int64_t kNewTokens = 64;  // default for new tokens, if neither an option nor the model's files set a limit

// Formats one line of output per answer, in parallel: formatting numbers takes as long as running a small model.
template <class Answer, class Spell>
std::vector<std::string> spelled(const std::vector<Answer>& answers, const Spell& spell) {
  std::vector<std::string> out(answers.size());
  parallel_ranges(static_cast<int64_t>(answers.size()), 16, [&](int64_t begin, int64_t end, int) {
    for (auto index = static_cast<size_t>(begin); index < static_cast<size_t>(end); ++index) out[index] = spell(answers[index]);
  });
  return out;
}

LineTask task_of(const RunArguments& options, const char* what) {
  LineTask out{.what = what, .json = options.json};
  out.interventions = options.interventions.interventions();
  return out;
}

bool is_blank(const std::string& line) { return line.find_first_not_of(" \t") == std::string::npos; }

// Answers the lines that are not blank; blank lines get an empty answer. `ask` receives these lines, and options whose names use
// the line numbers of the whole text.
template <class Answer, class Ask>
std::vector<Answer> of_lines_that_hold(const Window& window, const Ask& ask) {
  std::vector<std::string> lines;
  std::vector<size_t> places;
  for (size_t line = 0; line < window.lines.size(); ++line) {
    if (is_blank(window.lines[line])) continue;
    lines.push_back(window.lines[line]);
    places.push_back(line);
  }
  BatchOptions options = window.options;
  options.name = [&](size_t index) { return window.options.name(places[index]); };
  std::vector<Answer> found = ask(lines, options), out(window.lines.size());
  for (size_t index = 0; index < places.size(); ++index) out[places[index]] = std::move(found[index]);
  return out;
}

std::vector<Encoding> encoded(const Model& model, const std::vector<std::string>& lines, const EncodeOptions& how) {
  std::vector<Encoding> out(lines.size());
  parallel_ranges(static_cast<int64_t>(lines.size()), 16, [&](int64_t begin, int64_t end, int) {
    for (auto index = static_cast<size_t>(begin); index < static_cast<size_t>(end); ++index)
      out[index] = model.tokenizer().encode(lines[index], how);
  });
  return out;
}

// Refuses a prompt that leaves no position for a new token, naming its line, before any prompt is run.
void check_lengths(const Model& model, const std::vector<Encoding>& texts, const GenerateOptions& settings, const BatchOptions& options) {
  const int64_t longest = model.info().longest;
  for (size_t index = 0; index < texts.size(); ++index) {
    if (settings.max_length && static_cast<int64_t>(texts[index].size()) >= *settings.max_length)
      fail(ErrorCode::kTooLong, "{} has {} tokens, but \"max_length\" allows {} including new tokens. Use --max-tokens",
           options.name(index), with_commas(texts[index].size()), with_commas(*settings.max_length));
    const auto tokens = static_cast<int64_t>(texts[index].size());
    if (longest > 0 && tokens > longest)
      fail(ErrorCode::kTooLong, "{} has {} tokens; this model's positions end at {}. Shorten the line", options.name(index),
           with_commas(tokens), with_commas(longest));
  }
}

struct LineScore {
  int64_t tokens = 0, bytes = 0;
  Scored all{};
  std::vector<float> log_probabilities{};
};

std::string in_words(const LineScore& score) {
  const std::string size = format("{} tokens, {} bytes", with_commas(score.tokens), with_commas(score.bytes));
  if (score.tokens < 2) return size + ": nothing to predict";
  return size + format(": {:.4f} nats per token (perplexity {:.2f}), {:.4f} bits per byte", score.all.per_token(),
                       std::exp(score.all.per_token()), score.all.bits_per_byte());
}

Json score_json(const LineScore& score) {
  Json out = Json::object({{"tokens", score.tokens}, {"bytes", score.bytes}});
  const bool has = score.tokens > 1;
  out["nats_per_token"] = has ? Json(score.all.per_token()) : Json();
  out["perplexity"] = has ? Json(std::exp(score.all.per_token())) : Json();
  out["bits_per_byte"] = has ? Json(score.all.bits_per_byte()) : Json();
  Json each = Json::array();
  for (const float value : score.log_probabilities) each.push(value);
  out["log_probabilities"] = each;
  return out;
}

}  // namespace

Json embedding_json(const Embedding& embedding) {
  Json values = Json::array();
  for (const float value : embedding.values) values.push(value);
  return Json::object({{"embedding", values}});
}

std::string in_numbers(const Embedding& embedding) {
  std::string line;
  for (const float value : embedding.values) line += format("{}{:.6g}", line.empty() ? "" : " ", value);
  return line;
}

std::string words_of(const std::string& text, const TaggedSpan& span) {
  return text.substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin));
}

Json entities_json(const std::string& text, const std::vector<TaggedSpan>& spans) {
  Json out = Json::array();
  for (const TaggedSpan& span : spans) {
    out.push(Json::object({{"type", span.type},
                           {"text", words_of(text, span)},
                           {"begin", span.begin},
                           {"end", span.end},
                           {"probability", span.probability}}));
  }
  return out;
}

Json answer_json(const std::string& span, const TextAnswer& found) {
  const bool has_span = found.begin < found.end;
  return Json::object({{"answer", found.found ? Json(span) : Json()},
                       {"span", has_span ? Json(span) : Json()},
                       {"begin", found.begin},
                       {"end", found.end},
                       {"score", has_span ? Json(found.score) : Json()},
                       {"probability", found.probability},
                       {"null_score", found.null_score},
                       {"null_probability", found.null_probability}});
}

Json masks_json(const std::vector<std::vector<Candidate>>& masks) {
  Json out = Json::array();
  for (const auto& candidates : masks) {
    Json list = Json::array();
    for (const Candidate& candidate : candidates) {
      list.push(
          Json::object({{"id", static_cast<int64_t>(candidate.id)}, {"token", candidate.token}, {"probability", candidate.probability}}));
    }
    out.push(list);
  }
  return Json::object({{"masks", out}});
}

std::string in_words(const ClassScore& score, ProblemType problem) {
  return problem == ProblemType::kRegression ? format("{:.4f}", score.probability) : format("{:.2f} %", score.probability * 100);
}

Json classes_json(const std::vector<ClassScore>& classes, ProblemType problem) {
  const char* said = problem == ProblemType::kRegression ? "value" : "probability";
  Json list = Json::array();
  for (const ClassScore& score : classes) list.push(Json::object({{"label", score.label}, {said, score.probability}}));
  return Json::object({{"classes", list}});
}

Json generated_json(const Generated& made) {
  Json ids = Json::array(), probabilities = Json::array();
  for (const GeneratedToken& token : made.tokens) {
    ids.push(static_cast<int64_t>(token.id));
    probabilities.push(token.probability);
  }
  return Json::object({{"tokens", ids}, {"text", made.text}, {"probabilities", probabilities}, {"stopped", to_string(made.reason)}});
}

GenerateOptions generate_options(const RunArguments& options, const Model& model) {
  GenerateOptions settings;
  settings.rules = default_rules(model);
  if (options.repetition_penalty) settings.rules->repetition_penalty = *options.repetition_penalty;
  if (const std::optional<int64_t> limit = options.max_tokens ? options.max_tokens : default_new_tokens(model)) {
    settings.max_tokens = *limit;
  } else {
    settings.max_length = default_max_length(model);
    settings.max_tokens = settings.max_length.value_or(kNewTokens);
  }
  if (!options.greedy) {
    Sampling& sampling = settings.sampling.emplace(default_sampling(model));
    sampling.temperature = options.temperature.value_or(sampling.temperature);
    sampling.top_k = options.top_k.value_or(sampling.top_k);
    sampling.top_p = options.top_p.value_or(sampling.top_p);
    sampling.seed = options.seed;
  }
  settings.cache = options.cache;
  settings.run.interventions = options.interventions.interventions();
  return settings;
}

void embed_lines(const RunArguments& options) {
  const auto model = load_model(options.model, options.load);
  std::optional<NpyRows> file;
  if (!options.out.empty()) file.emplace(options.out, model->info().width);
  int64_t cut = 0;
  LineTask task = task_of(options, "embedding");
  task.prints = !file || options.json;
  task.empty = options.json ? embedding_json({}).dump() : "";
  if (file) task.unanswered = [&] { file->append(std::vector<float>(static_cast<size_t>(model->info().width), std::nanf(""))); };
  task.answer = [&](const Window& window) {
    const std::vector<Embedding> embeddings = embed_all(*model, window.lines, window.options);
    for (const Embedding& embedding : embeddings) check_places_in(window.options.interventions, *model, embedding);
    for (const Embedding& embedding : embeddings) {
      cut += embedding.used < embedding.tokens;
      if (file) file->append(embedding.values);
    }
    if (!task.prints) return std::vector<std::string>();
    return spelled(embeddings, [&](const Embedding& one) { return options.json ? embedding_json(one).dump() : in_numbers(one); });
  };
  task.finish = [&] {
    if (file) file->commit();
    if (cut > 0) notice(format("truncated: {} lines have more tokens than the model reads", with_commas(cut)));
  };
  answer_lines(options.text, task);
}

void fill_lines(const RunArguments& options) {
  const auto model = load_model(options.model, options.load);
  using Masks = std::vector<std::vector<Candidate>>;
  const auto in_words = [](const Masks& masks) {
    std::string line;
    for (const auto& candidates : masks) {
      if (&candidates != masks.data()) line += " | ";
      for (const Candidate& one : candidates)
        line += format("{}{:.2f} % {}", &one == candidates.data() ? "" : "\t", one.probability * 100, visible(one.token));
    }
    return line;
  };
  LineTask task = task_of(options, "filling");
  task.answer = [&](const Window& window) {
    check_places_in(window, *model);
    const auto masks = of_lines_that_hold<Masks>(
        window, [&](const auto& lines, const BatchOptions& many) { return fill_all(*model, lines, options.top, many); });
    return spelled(masks, [&](const Masks& one) { return options.json ? masks_json(one).dump() : in_words(one); });
  };
  answer_lines(options.text, task);
}

namespace {

std::vector<std::vector<ClassScore>> classes_of_lines(const Model& model, const Window& window, std::optional<std::string_view> pair) {
  if (!reads_inputs(model.info())) return classify_all(model, window.lines, pair, window.options);
  std::vector<ModelInput> inputs;
  for (const std::string& line : window.lines) inputs.push_back(input_of(model.info(), line, std::string(pair.value_or(""))));
  return classify_inputs(model, inputs, window.options.interventions);
}

}  // namespace

void classify_lines(const RunArguments& options) {
  const auto model = load_model(options.model, options.load);
  std::optional<std::string_view> pair;
  if (!options.pair.empty()) pair = options.pair;
  const ProblemType problem = model->info().problem;
  const auto line_of = [&](const std::vector<ClassScore>& classes) {
    std::string line;
    for (const ClassScore& one : classes) line += format("{}{} {}", &one == classes.data() ? "" : "\t", in_words(one, problem), one.label);
    return line;
  };
  LineTask task = task_of(options, "classifying");
  task.empty = options.json ? classes_json({}, problem).dump() : "";
  task.answer = [&](const Window& window) {
    check_places_in(window, *model, options.pair);
    return spelled(classes_of_lines(*model, window, pair),
                   [&](const std::vector<ClassScore>& one) { return options.json ? classes_json(one, problem).dump() : line_of(one); });
  };
  answer_lines(options.text, task);
}

void generate_lines(const RunArguments& options) {
  const auto model = load_model(options.model, options.load);
  GenerateOptions settings = generate_options(options, *model);
  LineTask task = task_of(options, "generating");
  task.answer = [&](const Window& window) {
    check_places_in(window, *model, "", settings.max_tokens);
    const auto made = of_lines_that_hold<Generated>(window, [&](const auto& lines, const BatchOptions& many) {
      const std::vector<Encoding> prompts = encoded(*model, lines, {});
      check_lengths(*model, prompts, settings, many);
      settings.progress = many.progress;
      return generate_all(*model, prompts, settings);
    });
    return spelled(made, [&](const Generated& one) { return options.json ? generated_json(one).dump() : as_line(one.text); });
  };
  answer_lines(options.text, task);
}

void score_lines(const RunArguments& options) {
  const auto model = load_model(options.model, options.load);
  LineTask task = task_of(options, "reading");
  task.answer = [&](const Window& window) {
    const std::vector<Encoding> encodings = encoded(*model, window.lines, {.add_special_tokens = false});
    for (size_t line = 0; line < encodings.size(); ++line) {
      if (encodings[line].size() > 0) check_places_in(window.options.interventions, *model, encodings[line]);
    }
    std::vector<std::vector<float>> each = log_probabilities_all(*model, encodings, window.options);
    std::vector<LineScore> scores(encodings.size());
    for (size_t line = 0; line < scores.size(); ++line) {
      LineScore& score = scores[line];
      score.tokens = static_cast<int64_t>(encodings[line].size());
      score.bytes = static_cast<int64_t>(window.lines[line].size());
      score.log_probabilities = std::move(each[line]);
      if (score.tokens > 1) score.all = sum_of(encodings[line], score.log_probabilities, 1, score.tokens);
    }
    return spelled(scores, [&](const LineScore& one) { return options.json ? score_json(one).dump() : in_words(one); });
  };
  answer_lines(options.text, task);
}

void tag_lines(const RunArguments& options) {
  const auto model = load_model(options.model, options.load);
  LineTask task = task_of(options, "tagging");
  task.empty = options.json ? Json::array().dump() : "";
  task.answer = [&](const Window& window) {
    check_places_in(window, *model);
    std::vector<std::string> out;
    for (const std::string& text : window.lines) {
      const std::vector<TaggedSpan> spans = tag(*model, text, window.options.interventions);
      if (options.json) {
        out.push_back(entities_json(text, spans).dump());
        continue;
      }
      std::string line;
      for (const TaggedSpan& span : spans)
        line += format("{}{} {} {}", line.empty() ? "" : "\t", percent(span.probability), span.type, as_line(words_of(text, span)));
      out.push_back(std::move(line));
      if (window.options.progress) window.options.progress(static_cast<double>(out.size()) / static_cast<double>(window.lines.size()));
    }
    return out;
  };
  answer_lines(options.text, task);
}

void answer_text_lines(const RunArguments& options) {
  const auto model = load_model(options.model, options.load);
  LineTask task = task_of(options, "answering");
  task.empty = options.json ? answer_json("", {}).dump() : "";
  task.answer = [&](const Window& window) {
    std::vector<std::string> out;
    for (const std::string& text : window.lines) {
      if (!is_blank(text)) check_places_in(window.options.interventions, *model, options.question, text);
      const TextAnswer found = answer(*model, options.question, text, std::nullopt, window.options.interventions);
      const std::string span = text.substr(static_cast<size_t>(found.begin), static_cast<size_t>(found.end - found.begin));
      out.push_back(options.json ? answer_json(span, found).dump() : found.found ? as_line(span) : "");
      if (window.options.progress) window.options.progress(static_cast<double>(out.size()) / static_cast<double>(window.lines.size()));
    }
    return out;
  };
  answer_lines(options.text, task);
}

}  // namespace clearhead::cli
