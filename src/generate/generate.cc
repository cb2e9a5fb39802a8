// The generation loop: prefill, then repeatedly draw a token, report it, and run the next step. Logits are computed for the last
// position only. Generation from sources runs in batches of similar length.
#include "clearhead/generate.h"
#include "clearhead/answers.h"

#include <algorithm>
#include <numeric>

#include "base/busy.h"
#include "base/format.h"
#include "clearhead/tokenizer.h"
#include "generate/parts.h"
#include "generate/rules.h"
#include "generate/sampling.h"
#include "models/batches.h"
#include "models/input_kind.h"
#include "models/run_text.h"

namespace clearhead {

std::shared_ptr<const Tokenizer> tokenizer_of(const Model& model) {
  try {
    return model.shared_tokenizer();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    return nullptr;
  }
}

GeneratedToken generated_token(const Tokenizer* tokenizer, int32_t id, float probability) {
  GeneratedToken token{.id = id, .probability = probability};
  if (!tokenizer) return token;
  token.piece = std::string(tokenizer->token(id));
  token.bytes = tokenizer->token_bytes(id);
  return token;
}

namespace {

// The state of one text: the tokens that were drawn, the text that is final so far, and why it ended.
class Writing {
 public:
  Writing(const Model& model, const Encoding& prompt, const GenerateOptions& options, const std::vector<int32_t>& stop_ids,
          const GenerationRules& rules, const std::shared_ptr<const Tokenizer>& tokenizer)
      : longest_(model.info().longest),
        options_(options),
        stop_ids_(stop_ids),
        seen_(prompt.ids),
        rules_(rules, {stop_ids, prompt.ids, static_cast<int64_t>(prompt.ids.size()), options.max_tokens}),
        tokenizer_(tokenizer) {
    if (tokenizer_) stream_.emplace(tokenizer_, /*skip_special=*/true);
    made_.prompt_tokens = static_cast<int64_t>(prompt.ids.size());
    made_.reason = StopReason::kMaxTokens;
  }

  /// Draws the next token and passes it to the observer and to on_token. Returns false if the text ends with it.
  bool go_on(const float* logits, int64_t vocabulary) {
    std::vector<float> scores(logits, logits + vocabulary);
    rules_.apply(seen_, scores.data(), vocabulary);
    const Drawn drawn = draw_token({logits, scores.data(), vocabulary}, options_.sampling, made_.ids.size());
    GenerationStep step;
    step.index = static_cast<int64_t>(made_.ids.size());
    step.token = generated_token(tokenizer_.get(), drawn.id, drawn.probability);
    if (stream_) step.text = stream_->push(drawn.id);
    seen_.push_back(drawn.id);
    made_.ids.push_back(drawn.id);
    made_.tokens.push_back(step.token);
    const bool stops_in_text = ends_in_stop_text(step.text);
    if (options_.run.observer != nullptr) options_.run.observer->generated(step.token);
    const bool goes_on = !options_.on_token || options_.on_token(step);
    return !ends(drawn.id, stops_in_text, goes_on);
  }
  int32_t last() const { return seen_.back(); }
  void cancel() { made_.reason = StopReason::kCancelled; }
  Generated finish() {
    if (stream_ && made_.reason != StopReason::kStopText) made_.text += stream_->finish();
    return std::move(made_);
  }

 private:
  bool ends(int32_t id, bool stops_in_text, bool goes_on) {
    const auto because = [&](StopReason reason) {
      made_.reason = reason;
      return true;
    };
    if (std::find(stop_ids_.begin(), stop_ids_.end(), id) != stop_ids_.end()) return because(StopReason::kStopToken);
    if (stops_in_text) return because(StopReason::kStopText);
    if (!goes_on) return because(StopReason::kCallback);
    if (static_cast<int64_t>(made_.ids.size()) >= options_.max_tokens) return because(StopReason::kMaxTokens);
    if (longest_ > 0 && static_cast<int64_t>(seen_.size()) > longest_) return because(StopReason::kPositions);
    return false;
  }

  /// Appends `added` to the text. If the text then contains a stop text, truncates both before the first one and returns
  /// true.
  bool ends_in_stop_text(std::string& added) {
    const size_t before = made_.text.size();
    made_.text += added;
    size_t cut = std::string::npos;
    for (const std::string& stop : options_.stop_texts) {
      const size_t from = before >= stop.size() ? before - stop.size() + 1 : 0;
      cut = std::min(cut, made_.text.find(stop, from));
    }
    if (cut == std::string::npos) return false;
    made_.text.resize(cut);
    added = cut > before ? made_.text.substr(before) : std::string();
    return true;
  }

  int64_t longest_;
  const GenerateOptions& options_;
  const std::vector<int32_t>& stop_ids_;
  std::vector<int32_t> seen_;  // prompt and new tokens
  LogitRules rules_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::optional<TokenStream> stream_;
  Generated made_;
};

// Converts max_length, if it is given, to a limit on new tokens.
GenerateOptions limited(const GenerateOptions& options, int64_t prompt_tokens) {
  GenerateOptions out = options;
  if (!options.max_length) return out;
  if (prompt_tokens >= *options.max_length)
    fail(ErrorCode::kTooLong,
         "the prompt has {} tokens, but \"max_length\" allows {} including new tokens; shorten the prompt, or give a limit "
         "on new tokens",
         with_commas(prompt_tokens), with_commas(*options.max_length));
  out.max_tokens = std::min(options.max_tokens, *options.max_length - prompt_tokens);
  return out;
}

// Continues prompts of equal length as one batch. Texts that end leave the batch.
std::vector<Generated> write_together(const Model& model, const std::vector<const Encoding*>& prompts, const GenerateOptions& given) {
  const GenerateOptions options = limited(given, static_cast<int64_t>(prompts[0]->ids.size()));
  const std::vector<int32_t> stop_ids = options.stop_ids ? *options.stop_ids : end_tokens(model);
  const GenerationRules rules = options.rules ? *options.rules : default_rules(model);
  const std::shared_ptr<const Tokenizer> tokenizer = tokenizer_of(model);
  std::vector<Writing> texts;
  std::vector<int32_t> next;
  for (const Encoding* prompt : prompts) {
    texts.emplace_back(model, *prompt, options, stop_ids, rules, tokenizer);
    next.insert(next.end(), prompt->ids.begin(), prompt->ids.end());
  }
  std::vector<size_t> open(options.max_tokens == 0 ? 0 : prompts.size());
  std::iota(open.begin(), open.end(), size_t{0});
  ModelCache cache{.dtype = cache_dtype(model, options), .batch = static_cast<int64_t>(prompts.size())};
  RunOptions run = options.run;
  run.logits = run.last_logits_only = true;
  run.all_hidden = false;
  if (run.observer != nullptr && !open.empty()) run.observer->begin(plan_of(model, *prompts[0], run));
  while (!open.empty()) {
    CheckWhileBusy::ask();  // when batches run in parallel, no other code calls it
    if (options.cancel != nullptr && options.cancel->load()) {
      for (const size_t text : open) texts[text].cancel();
      break;
    }
    const Tensor logits = model.step(next, cache, run).causal_logits.contiguous();
    const int64_t vocabulary = logits.size(2);
    std::vector<size_t> still;
    std::vector<int64_t> rows;
    next.clear();
    for (size_t row = 0; row < open.size(); ++row) {
      const float* values = logits.data<float>() + static_cast<int64_t>(row) * vocabulary;
      if (!texts[open[row]].go_on(values, vocabulary)) continue;
      still.push_back(open[row]);
      rows.push_back(static_cast<int64_t>(row));
      next.push_back(texts[open[row]].last());
    }
    if (still.size() < open.size() && !still.empty()) cache.select(rows);
    open = std::move(still);
  }
  std::vector<Generated> made;
  for (Writing& text : texts) made.push_back(text.finish());
  return made;
}

// Adds pieces, bytes and the text to the result of a search.
void spell(const Model& model, Generated& made) {
  const std::shared_ptr<const Tokenizer> tokenizer = tokenizer_of(model);
  if (!tokenizer) return;
  TokenStream stream(tokenizer, /*skip_special=*/true);
  for (GeneratedToken& token : made.tokens) {
    token = generated_token(tokenizer.get(), token.id, token.probability);
    made.text += stream.push(token.id);
  }
  made.text += stream.finish();
}

void check_generates(const Model& model) {
  if (model.info().has_causal) return;
  fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" without a causal head cannot generate text", model.info().name,
       model.info().model_type);
}

void check(const Model& model, const GenerateOptions& options) {
  if (options.max_tokens < 0) fail(ErrorCode::kInvalidArgument, "max_tokens: expected 0 or more, found {}", options.max_tokens);
  for (const std::string& stop : options.stop_texts) {
    if (stop.empty()) fail(ErrorCode::kInvalidArgument, "stop_texts: an empty text would end every generation at once");
  }
  if (options.sampling) validate(*options.sampling);
  if (options.rules) validate(*options.rules);
  if (options.beams.count < 1) fail(ErrorCode::kInvalidArgument, "beams: expected 1 or more, found {}", options.beams.count);
  if (options.beams.count == 1) return;
  check_beams(model, options.beams.count, cache_dtype(model, options));
  if (options.sampling) fail(ErrorCode::kInvalidArgument, "beams: beam search does not sample; use one beam, or turn sampling off");
  if (options.on_token || !options.stop_texts.empty())
    fail(ErrorCode::kInvalidArgument, "beams: the text is known only at the end of the search; on_token and stop_texts need one beam");
}

// Runs the model once more over the whole generated text, for the observer. `run` gets the text's encoding and the options.
void read_again(const Model& model, const Generated& made, RunOptions options,
                const std::function<void(const Encoding& target, const RunOptions&)>& run) {
  std::vector<int32_t> ids;
  for (const GeneratedToken& token : made.tokens) ids.push_back(token.id);
  const int64_t longest = model.info().longest;
  if (longest > 0 && static_cast<int64_t>(ids.size()) >= longest) ids.pop_back();  // the last token was never read
  const WrittenText written = written_text(model.info().first_token, ids, tokenizer_of(model).get());
  options.source = options.text;
  options.text = written.text;
  options.logits = false;
  run(written.encoding, options);
}

}  // namespace

const char* to_string(StopReason reason) {
  switch (reason) {
    case StopReason::kMaxTokens: return "max_tokens";
    case StopReason::kStopToken: return "stop_token";
    case StopReason::kStopText: return "stop_text";
    case StopReason::kPositions: return "positions";
    case StopReason::kCallback: return "callback";
    case StopReason::kCancelled: return "cancelled";
  }
  return "";
}

Generated generate(const Model& model, const Encoding& prompt, const GenerateOptions& options) {
  check_generates(model);
  if (prompt.ids.empty()) fail(ErrorCode::kInvalidArgument, "the prompt has no tokens: there is nothing to continue");
  check(model, options);
  if (input_kind(model.info()).has_target) return std::move(generate_from(model, {prompt}, options)[0]);
  if (options.beams.count == 1) return std::move(write_together(model, {&prompt}, options)[0]);
  if (options.run.observer)
    fail(ErrorCode::kUnsupported,
         "beams: a causal model is observed step by step, which needs one beam; to see its maps, run the model on the generated text");
  Generated made{.prompt_tokens = static_cast<int64_t>(prompt.ids.size())};
  if (options.max_tokens == 0) return made;
  const GenerateOptions search = limited(options, static_cast<int64_t>(prompt.ids.size()));
  made = std::move(search_beams(model, {.dtype = cache_dtype(model, options)}, {prompt.ids, {prompt.ids}}, search)[0]);
  made.prompt_tokens = static_cast<int64_t>(prompt.ids.size());
  spell(model, made);
  return made;
}

namespace {

// Rows of one step: enough that a product reads its weights for many rows, few enough that sentences that end early do not
// wait long.
constexpr size_t kRowsAtOnce = 128;

// A cache that has read the sources, and the tokens of each source (none for a sound).
struct Sources {
  ModelCache cache{};
  std::vector<std::vector<int32_t>> tokens{};
};

// Generates a text from each of `count` sources, in batches of similar size. size(i): size of source i; read(indices): reads
// these sources.
std::vector<Generated> write_from(const Model& model, size_t count, const GenerateOptions& options,
                                  const std::function<int64_t(size_t)>& size,
                                  const std::function<Sources(const std::vector<size_t>&)>& read) {
  check(model, options);
  if (options.sampling || options.on_token || !options.stop_texts.empty())
    fail(ErrorCode::kUnsupported, "generation from a source does not support sampling, on_token or stop_texts; they are for causal models");
  if (options.run.observer && count != 1) fail(ErrorCode::kInvalidArgument, "an observer needs exactly one source, found {}", count);
  std::vector<Generated> made(count);
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return size(a) > size(b); });
  const size_t at_once = std::max<size_t>(1, kRowsAtOnce / static_cast<size_t>(options.beams.count));
  std::vector<std::vector<size_t>> batches;
  for (size_t begin = 0; begin < order.size() && options.max_tokens > 0; begin += at_once) {
    const size_t end = std::min(order.size(), begin + at_once);
    batches.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(begin), order.begin() + static_cast<std::ptrdiff_t>(end));
  }
  for_batches(batches, options.progress, [&](const std::vector<size_t>& which) {
    Sources sources = read(which);
    std::vector<Generated> part =
        search_beams(model, std::move(sources.cache), {{model.info().first_token}, std::move(sources.tokens)}, options);
    for (size_t at = 0; at < which.size(); ++at) made[which[at]] = std::move(part[at]);
  });
  for (Generated& one : made) spell(model, one);
  return made;
}

}  // namespace

std::vector<Generated> generate_from(const Model& model, const std::vector<Encoding>& sources, const GenerateOptions& options) {
  if (!input_kind(model.info()).has_target) {
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" reads no source; expected an encoder-decoder", model.info().name,
         model.info().model_type);
  }
  for (const Encoding& source : sources) {
    if (source.ids.empty()) fail(ErrorCode::kInvalidArgument, "a source has no tokens: there is nothing to read");
  }
  std::vector<Generated> made = write_from(
      model, sources.size(), options, [&](size_t index) { return static_cast<int64_t>(sources[index].ids.size()); },
      [&](const std::vector<size_t>& which) {
        Sources read{model.read(padded(sources, which), cache_dtype(model, options), options.run.interventions)};
        for (const size_t index : which) read.tokens.push_back(sources[index].ids);
        return read;
      });
  for (size_t index = 0; index < made.size(); ++index) made[index].prompt_tokens = static_cast<int64_t>(sources[index].ids.size());
  if (options.run.observer) {
    read_again(model, made[0], options.run,
               [&](const Encoding& target, const RunOptions& run) { (void)model.run_from(sources[0], target, run); });
  }
  return made;
}

std::vector<Generated> transcribe(const Model& model, const std::vector<Sound>& sounds, const GenerateOptions& options) {
  if (const InputKind& kind = input_kind(model.info()); !kind.has_target || kind.is_text())
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" does not read sounds", model.info().name, model.info().model_type);
  std::vector<Generated> made = write_from(
      model, sounds.size(), options, [&](size_t index) { return sounds[index].samples.defined() ? sounds[index].samples.size(1) : 0; },
      [&](const std::vector<size_t>& which) {
        std::vector<ModelInput> inputs;
        for (const size_t index : which) inputs.push_back({.sound = sounds[index]});
        return Sources{read_inputs(model, inputs, cache_dtype(model, options), options.run.interventions),
                       std::vector<std::vector<int32_t>>(which.size())};
      });
  if (options.run.observer) {
    read_again(model, made[0], options.run,
               [&](const Encoding& target, const RunOptions& run) { (void)run_from_input(model, {.sound = sounds[0]}, target, run); });
  }
  return made;
}

std::vector<Generated> generate_all(const Model& model, const std::vector<Encoding>& prompts, const GenerateOptions& options) {
  check_generates(model);
  if (input_kind(model.info()).has_target) return generate_from(model, prompts, options);
  check(model, options);
  if (options.run.observer || options.on_token)
    fail(ErrorCode::kUnsupported, "generate_all: an observer and on_token support only one text; pass them to generate()");
  std::vector<size_t> order(prompts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return prompts[a].size() > prompts[b].size(); });
  std::vector<std::vector<size_t>> batches;  // of prompts of equal length
  for (const size_t index : order) {
    const bool fits = !batches.empty() && batches.back().size() < kRowsAtOnce && prompts[batches.back()[0]].size() == prompts[index].size();
    if (!fits) batches.emplace_back();
    batches.back().push_back(index);
  }
  std::vector<Generated> made(prompts.size());
  for_batches(batches, options.progress, [&](const std::vector<size_t>& which) {
    std::vector<const Encoding*> together;
    for (const size_t index : which) together.push_back(&prompts[index]);
    if (together[0]->size() == 0) return;
    std::vector<Generated> part;
    if (options.beams.count == 1) {
      part = write_together(model, together, options);
    } else {
      for (const Encoding* prompt : together) part.push_back(generate(model, *prompt, options));
    }
    for (size_t at = 0; at < which.size(); ++at) made[which[at]] = std::move(part[at]);
  });
  return made;
}

Generated generate(const Model& model, const std::vector<int32_t>& prompt, const GenerateOptions& options) {
  Encoding encoding;
  encoding.ids = prompt;
  encoding.type_ids.assign(prompt.size(), 0);
  encoding.offsets.assign(prompt.size(), {0, 0});
  encoding.segment.assign(prompt.size(), 0);
  return generate(model, encoding, options);
}

}  // namespace clearhead
