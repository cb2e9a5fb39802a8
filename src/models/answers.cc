// From texts to answers: each function encodes the text, runs the model, and reads the logits or the hidden states. The functions for
// many texts do the same with batches of similar length (batches.h).
#include "clearhead/answers.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/format.h"
#include "base/parallel.h"
#include "models/batches.h"
#include "models/input_kind.h"
#include "models/labelled_tokens.h"
#include "models/loaded_model.h"
#include "models/spans.h"
#include "ops/ops.h"

namespace clearhead {
namespace {

// Tokens of a batch: enough that products run at full speed, few enough that their activations stay in the cores' caches.
constexpr int64_t kBatchTokens = 2048;

// The k largest logits as probabilities of the whole softmax, best first; ties: the earlier id.
std::vector<std::pair<int64_t, float>> best_of(const float* logits, int64_t count, int64_t k) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const size_t kept = static_cast<size_t>(std::min(k, count));
  const auto above = [&](int64_t a, int64_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(kept), order.end(), above);
  const double whole = ops::log_sum_exp(logits, count);
  std::vector<std::pair<int64_t, float>> best;
  for (size_t i = 0; i < kept; ++i)
    best.emplace_back(order[i], static_cast<float>(std::exp(static_cast<double>(logits[order[i]]) - whole)));
  return best;
}

// Throws kUnsupported for a model that has no sentence embeddings.
const LoadedModel& model_that_embeds(const Model& any_model) {
  const LoadedModel& model = transformer_model(any_model, "has no sentence embeddings");
  const std::string& refusal = model.sentence().refusal;
  if (!refusal.empty()) fail(ErrorCode::kUnsupported, "{}", refusal);
  const ModelInfo& info = model.info();
  if (input_kind(info).has_target)
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" generates text and has no sentence embeddings", info.name, info.model_type);
  return model;
}

// Encodes the text with the default prompt before it, truncated as sentence-transformers truncates it. Fills result.tokens and used.
Encoding encode_sentence(const LoadedModel& model, std::string_view text, Embedding& result) {
  const ModelInfo& info = model.info();
  Encoding encoding = model.sentence_tokenizer().encode(model.sentence().prompt + std::string(text));
  result.tokens = static_cast<int64_t>(encoding.size());
  int64_t longest = model.sentence().longest > 0 ? model.sentence().longest : info.longest;
  if (info.longest > 0) longest = std::min(longest, info.longest);
  if (longest > 0 && result.tokens > longest) {
    // The special tokens at the end stay: [CLS] text [SEP] loses the end of the text.
    size_t closing = 0;
    while (closing < encoding.size() && encoding.is_special(encoding.size() - 1 - closing)) ++closing;
    const int64_t begin = std::max<int64_t>(0, longest - static_cast<int64_t>(closing));
    const int64_t end = result.tokens - static_cast<int64_t>(closing);
    encoding.ids.erase(encoding.ids.begin() + begin, encoding.ids.begin() + end);
    encoding.type_ids.erase(encoding.type_ids.begin() + begin, encoding.type_ids.begin() + end);
    encoding.offsets.erase(encoding.offsets.begin() + begin, encoding.offsets.begin() + end);
    encoding.segment.erase(encoding.segment.begin() + begin, encoding.segment.begin() + end);
  }
  result.used = static_cast<int64_t>(encoding.size());
  if (result.used == 0) fail(ErrorCode::kInvalidArgument, "embed: the text has no tokens");
  return encoding;
}

// The id of the mask token. Throws kUnsupported for a model that fills no masks.
int32_t mask_token(const Model& model, int64_t count) {
  const ModelInfo& info = transformer_model(model, "cannot fill masks").info();
  if (!info.has_masked) fail(ErrorCode::kUnsupported, "{}: the model has no masked language modelling head to fill masks with", info.name);
  const std::optional<int32_t> mask = model.tokenizer().special_tokens().mask;
  if (!mask) fail(ErrorCode::kUnsupported, "{}: the tokenizer has no mask token", info.name);
  if (count < 1) fail(ErrorCode::kInvalidArgument, "fill: expected at least one candidate, not {}", count);
  return *mask;
}

Encoding encode_with_masks(const Tokenizer& tokenizer, std::string_view text, int32_t mask) {
  Encoding encoding = tokenizer.encode(text);
  if (std::find(encoding.ids.begin(), encoding.ids.end(), mask) == encoding.ids.end())
    fail(ErrorCode::kInvalidArgument, "fill: the text has no {}; write it where a word is missing", tokenizer.token(mask));
  return encoding;
}

// logits: [vocabulary]
std::vector<Candidate> candidates_of(const Model& model, const float* logits, int64_t count) {
  std::vector<Candidate> out;
  for (const auto& [id, probability] : best_of(logits, model.info().vocabulary, count))
    out.push_back({static_cast<int32_t>(id), std::string(model.tokenizer().token(static_cast<int32_t>(id))), probability});
  return out;
}

void check_classifies(const Model& model) {
  const ModelInfo& info = transformer_model(model, "cannot classify texts").info();
  if (!info.has_classifier || info.tags || info.answers)
    fail(ErrorCode::kUnsupported, "{}: the model has no sequence classification head", info.name);
}

// Returns encode(i) for each text i, computed in parallel. Throws for a text without tokens or with too many, and names it.
std::vector<Encoding> encode_all(const Model& model, size_t texts, const BatchOptions& options,
                                 const std::function<Encoding(size_t)>& encode) {
  std::vector<Encoding> out(texts);
  parallel_ranges(static_cast<int64_t>(texts), 16, [&](int64_t begin, int64_t end, int) {
    for (auto index = static_cast<size_t>(begin); index < static_cast<size_t>(end); ++index) {
      of_text(options, index, [&] {
        out[index] = encode(index);
        if (out[index].size() == 0) fail(ErrorCode::kInvalidArgument, "the text has no tokens");
        check_length(static_cast<int64_t>(out[index].size()), model.info().longest);
      });
    }
  });
  return out;
}

using Prepare = std::function<void(const std::vector<size_t>& which, const Batch&, RunOptions&)>;
using TakeResult = std::function<void(const std::vector<size_t>& which, const Batch&, const RunResult&)>;

// Runs the model over batches of the texts. `prepare`, if given, completes the options of a batch; `take` gets its result.
void run_all(const Model& model, const std::vector<Encoding>& texts, const BatchOptions& options, RunOptions run, const Prepare& prepare,
             const TakeResult& take) {
  run.interventions = options.interventions;
  for_batches(batches_of(texts, kBatchTokens), options.progress, [&](const std::vector<size_t>& which) {
    const Batch batch = padded(texts, which, model.info().type_count > 0);
    RunOptions own = run;
    if (prepare) prepare(which, batch, own);
    take(which, batch, model.run(batch, own));
  });
}

// "B-person" → 'B', "person". A tag without a prefix counts as I-: it continues an entity of the same type, or starts one.
std::pair<char, std::string> parts_of_tag(const std::string& tag) {
  if (tag == "O") return {'O', ""};
  if (tag.size() > 2 && tag[1] == '-') return {tag[0], tag.substr(2)};
  return {'I', tag};
}

// The logits of a token classifier for a text.
struct TokenLogits {
  const std::vector<std::string>& labels;
  Encoding text;
  Tensor logits;  // [tokens, labels]

  // The most probable label of a token, with its probability.
  std::pair<const std::string*, float> best(size_t token) const {
    const auto count = static_cast<int64_t>(labels.size());
    const auto [id, probability] = best_of(logits.data<float>() + static_cast<int64_t>(token) * count, count, 1).front();
    return {&labels[static_cast<size_t>(id)], probability};
  }
};

TokenLogits token_logits(const Model& model, std::string_view text, const Interventions& interventions) {
  const ModelInfo& info = model.info();
  if (!info.tags) {
    (void)transformer_model(model, "cannot classify tokens");
    fail(ErrorCode::kUnsupported, "{}: the model has no token classification head", info.name);
  }
  Encoding encoding = model.tokenizer().encode(text);
  Tensor logits = model.run(encoding, {.interventions = interventions}).class_logits;
  return {info.labels, std::move(encoding), std::move(logits)};
}

}  // namespace

Embedding embed(const Model& any_model, std::string_view text, const RunOptions& options) {
  const LoadedModel& model = model_that_embeds(any_model);
  Embedding result;
  const Encoding encoding = encode_sentence(model, text, result);
  RunOptions run_options = options;
  run_options.logits = false;
  if (!run_options.text) run_options.text = model.sentence().prompt + std::string(text);
  const RunResult run_result = model.run(encoding, run_options);
  result.values = pool_sentence(model.sentence(), run_result.hidden.reshape({result.used, model.info().width}));
  return result;
}

std::vector<std::vector<Candidate>> fill_mask(const Model& model, std::string_view text, int64_t count,
                                              const Interventions& interventions) {
  const int32_t mask = mask_token(model, count);
  const Encoding encoding = encode_with_masks(model.tokenizer(), text, mask);
  std::vector<int32_t> rows;
  for (size_t token = 0; token < encoding.size(); ++token) {
    if (encoding.ids[token] == mask) rows.push_back(static_cast<int32_t>(token));
  }
  const Tensor logits = model.run(encoding, {.masked_rows = rows, .interventions = interventions}).masked_logits;
  std::vector<std::vector<Candidate>> masks;
  for (int64_t row = 0; row < logits.size(0); ++row)
    masks.push_back(candidates_of(model, logits.data<float>() + row * model.info().vocabulary, count));
  return masks;
}

std::vector<ClassScore> class_scores(const float* logits, const std::vector<std::string>& labels, ProblemType problem) {
  const auto count = static_cast<int64_t>(labels.size());
  std::vector<ClassScore> scores;
  for (const auto& [id, probability] : best_of(logits, count, count)) {
    const double logit = static_cast<double>(logits[id]);
    scores.push_back({labels[static_cast<size_t>(id)], problem == ProblemType::kSingleLabel ? probability
                                                       : problem == ProblemType::kRegression
                                                           ? logits[id]
                                                           : static_cast<float>(1 / (1 + std::exp(-logit)))});
  }
  return scores;
}

std::vector<ClassScore> classify(const Model& model, std::string_view text, std::optional<std::string_view> pair,
                                 const Interventions& interventions) {
  check_classifies(model);
  const Tensor logits = model.run(model.tokenizer().encode(text, {.pair = pair}), {.interventions = interventions}).class_logits;
  return class_scores(logits.data<float>(), model.info().labels, model.info().problem);
}

std::vector<TaggedSpan> label_tokens(const Model& model, std::string_view text, const Interventions& interventions) {
  const TokenLogits of = token_logits(model, text, interventions);
  std::vector<TaggedSpan> out;
  for (size_t token = 0; token < of.text.size(); ++token) {
    if (of.text.is_special(token)) continue;
    const auto [label, probability] = of.best(token);
    out.push_back({*label, of.text.offsets[token][0], of.text.offsets[token][1], probability});
  }
  return out;
}

std::vector<TaggedSpan> tag(const Model& model, std::string_view text, const Interventions& interventions) {
  const TokenLogits of = token_logits(model, text, interventions);
  std::vector<TaggedSpan> out;
  std::vector<int> words;  // number of words in each span
  bool is_open = false;
  for (size_t token = 0; token < of.text.size(); ++token) {
    if (of.text.is_special(token) || is_space(text, of.text.offsets[token])) continue;
    auto [begin, end] = of.text.offsets[token];
    while (is_space(text, {begin, begin + 1})) ++begin;  // a token of a byte-level tokenizer begins with the space before its word
    if (model.info().tags_words && continues_word(model.tokenizer(), text, of.text, token)) {
      if (is_open) out.back().end = end;
      continue;
    }
    const auto [label, probability] = of.best(token);
    const auto [prefix, type] = parts_of_tag(*label);
    const bool goes_on = is_open && prefix != 'B' && type == out.back().type;
    is_open = prefix != 'O';
    if (!is_open) continue;
    if (!goes_on) out.push_back({type, begin, end, 0}), words.push_back(0);
    out.back().end = end;
    out.back().probability += probability;
    ++words.back();
  }
  for (size_t at = 0; at < out.size(); ++at) out[at].probability /= static_cast<float>(words[at]);
  return out;
}

TextAnswer answer(const Model& model, std::string_view question, std::string_view text, const std::optional<AnswerSettings>& settings,
                  const Interventions& interventions) {
  const ModelInfo& info = transformer_model(model, "cannot answer questions about a text").info();
  if (!info.answers) fail(ErrorCode::kUnsupported, "{}: the model has no question answering head", info.name);
  AnswerSettings how = settings.value_or(*info.answers);
  if (info.longest > 0) how.window = std::min(how.window, info.longest);
  const std::vector<Encoding> windows = answer_windows(model.tokenizer(), question, text, how);
  std::vector<WindowAnswer> answers(windows.size());
  run_all(model, windows, {.interventions = interventions}, {}, nullptr,
          [&](const std::vector<size_t>& which, const Batch& batch, const RunResult& made) {
            const float* logits = made.class_logits.data<float>();
            for (size_t row = 0; row < which.size(); ++row)
              answers[which[row]] = best_span(windows[which[row]], logits + static_cast<int64_t>(row) * batch.length * 2, how.longest);
          });
  return together(answers, how.threshold);
}

std::vector<Embedding> embed_all(const Model& any_model, const std::vector<std::string>& texts, const BatchOptions& options) {
  const LoadedModel& model = model_that_embeds(any_model);
  std::vector<Embedding> results(texts.size());
  const std::vector<Encoding> encodings =
      encode_all(model, texts.size(), options, [&](size_t index) { return encode_sentence(model, texts[index], results[index]); });
  run_all(model, encodings, options, {.logits = false}, nullptr,
          [&](const std::vector<size_t>& which, const Batch& batch, const RunResult& made) {
            parallel_for(batch.batch, [&](int64_t row, int) {
              const Tensor own = made.hidden.select(0, row).slice(0, 0, batch.lengths[static_cast<size_t>(row)]);
              results[which[static_cast<size_t>(row)]].values = pool_sentence(model.sentence(), own);
            });
          });
  return results;
}

std::vector<std::vector<std::vector<Candidate>>> fill_all(const Model& model, const std::vector<std::string>& texts, int64_t count,
                                                          const BatchOptions& options) {
  const int32_t mask = mask_token(model, count);
  const std::vector<Encoding> encodings =
      encode_all(model, texts.size(), options, [&](size_t index) { return encode_with_masks(model.tokenizer(), texts[index], mask); });
  std::vector<std::vector<std::vector<Candidate>>> results(texts.size());
  const auto prepare = [&](const std::vector<size_t>& which, const Batch& batch, RunOptions& run) {
    run.masked_rows.emplace();
    for (size_t row = 0; row < which.size(); ++row) {
      for (int64_t token = 0; token < batch.lengths[row]; ++token) {
        const int64_t at = static_cast<int64_t>(row) * batch.length + token;
        if (batch.ids[static_cast<size_t>(at)] != mask) continue;
        run.masked_rows->push_back(static_cast<int32_t>(at));
        results[which[row]].emplace_back();
      }
    }
  };
  run_all(model, encodings, options, {}, prepare, [&](const std::vector<size_t>& which, const Batch&, const RunResult& made) {
    std::vector<std::vector<Candidate>*> masks;  // for each row of the logits, where its candidates are stored
    for (const size_t text : which) {
      for (std::vector<Candidate>& mask_of_text : results[text]) masks.push_back(&mask_of_text);
    }
    parallel_for(static_cast<int64_t>(masks.size()), [&](int64_t row, int) {
      *masks[static_cast<size_t>(row)] = candidates_of(model, made.masked_logits.data<float>() + row * model.info().vocabulary, count);
    });
  });
  return results;
}

std::vector<std::vector<ClassScore>> classify_all(const Model& model, const std::vector<std::string>& texts,
                                                  std::optional<std::string_view> pair, const BatchOptions& options) {
  check_classifies(model);
  const std::vector<Encoding> encodings =
      encode_all(model, texts.size(), options, [&](size_t index) { return model.tokenizer().encode(texts[index], {.pair = pair}); });
  std::vector<std::vector<ClassScore>> results(texts.size());
  run_all(model, encodings, options, {}, nullptr, [&](const std::vector<size_t>& which, const Batch&, const RunResult& made) {
    const int64_t labels = made.class_logits.size(1);
    for (size_t row = 0; row < which.size(); ++row)
      results[which[row]] =
          class_scores(made.class_logits.data<float>() + static_cast<int64_t>(row) * labels, model.info().labels, model.info().problem);
  });
  return results;
}

}  // namespace clearhead
