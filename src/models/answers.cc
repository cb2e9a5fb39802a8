// From text to answers: sentence vectors, masked words, classes; of one text, and of many that run together.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <numeric>

#include "base/format.h"
#include "base/parallel.h"
#include "models/batches.h"
#include "models/input_kind.h"
#include "models/loaded_model.h"
#include "models/spans.h"
#include "ops/ops.h"

namespace clearhead {
namespace {

// Tokens of a batch: enough that products run at full speed, few enough that their activations stay near the cores.
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

}  // namespace

Encoding LoadedModel::encoded_sentence(std::string_view text, Embedding& result) const {
  (void)tokenizer();  // throws without one
  Encoding encoding = sentence_tokenizer_->encode(sentence_.prompt + std::string(text));
  result.tokens = static_cast<int64_t>(encoding.size());
  int64_t longest = sentence_.longest > 0 ? sentence_.longest : info_.longest;
  if (info_.longest > 0) longest = std::min(longest, info_.longest);
  if (longest > 0 && result.tokens > longest) {
    // The closing special tokens stay: [CLS] text [SEP] is cut inside.
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

void LoadedModel::check_embeds() const {
  if (!sentence_.refusal.empty()) fail(ErrorCode::kUnsupported, "{}", sentence_.refusal);
  if (input_kind(info_).has_target)
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" writes texts and gives no sentence embeddings", info_.name, info_.model_type);
}

Embedding LoadedModel::embed(std::string_view text, const RunOptions& options) const {
  check_embeds();
  Embedding result;
  const Encoding encoding = encoded_sentence(text, result);
  RunOptions run_options = options;
  run_options.logits = false;
  if (!run_options.text) run_options.text = sentence_.prompt + std::string(text);
  const RunResult run_result = run(encoding, run_options);
  result.values = pool_sentence(sentence_, run_result.hidden.reshape({result.used, info_.width}));
  return result;
}

int32_t LoadedModel::checked_mask(int64_t count) const {
  if (!info_.has_masked) fail(ErrorCode::kUnsupported, "{}: the model has no masked-language head to fill masks with", info_.name);
  const std::optional<int32_t> mask = tokenizer().special_tokens().mask;
  if (!mask) fail(ErrorCode::kUnsupported, "{}: the tokenizer has no mask token", info_.name);
  if (count < 1) fail(ErrorCode::kInvalidArgument, "fill: expected at least one candidate, not {}", count);
  return *mask;
}

Encoding LoadedModel::encoded_masks(std::string_view text, int32_t mask) const {
  Encoding encoding = tokenizer().encode(text);
  if (std::find(encoding.ids.begin(), encoding.ids.end(), mask) == encoding.ids.end()) {
    fail(ErrorCode::kInvalidArgument, "fill: the text has no {}; write it where a word is missing", tokenizer().token(mask));
  }
  return encoding;
}

std::vector<Candidate> LoadedModel::candidates(const float* logits, int64_t count) const {
  std::vector<Candidate> out;
  for (const auto& [id, probability] : best_of(logits, info_.vocabulary, count))
    out.push_back({static_cast<int32_t>(id), std::string(tokenizer().token(static_cast<int32_t>(id))), probability});
  return out;
}

std::vector<std::vector<Candidate>> LoadedModel::fill_mask(std::string_view text, int64_t count, const Interventions& interventions) const {
  const int32_t mask = checked_mask(count);
  const Encoding encoding = encoded_masks(text, mask);
  std::vector<int32_t> rows;
  for (size_t token = 0; token < encoding.size(); ++token) {
    if (encoding.ids[token] == mask) rows.push_back(static_cast<int32_t>(token));
  }
  const Tensor logits = run(encoding, {.masked_rows = rows, .interventions = interventions}).masked_logits;
  std::vector<std::vector<Candidate>> masks;
  for (int64_t row = 0; row < logits.size(0); ++row) masks.push_back(candidates(logits.data<float>() + row * info_.vocabulary, count));
  return masks;
}

void LoadedModel::check_classifies() const {
  if (!transformer_.classifies_texts()) fail(ErrorCode::kUnsupported, "{}: the model has no head that classifies whole texts", info_.name);
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

std::vector<ClassScore> LoadedModel::classify(std::string_view text, std::optional<std::string_view> pair,
                                              const Interventions& interventions) const {
  check_classifies();
  const Tensor logits = run(tokenizer().encode(text, {.pair = pair}), {.interventions = interventions}).class_logits;
  return class_scores(logits.data<float>(), info_.labels, info_.problem);
}

namespace {

// Returns true if a token continues the word of the previous token: the vocabulary marks it so, or letters and digits
// follow each other without a gap.
bool continues_word(const Tokenizer& tokenizer, std::string_view text, const Encoding& encoding, size_t token) {
  if (token == 0 || encoding.is_special(token - 1)) return false;
  const auto [begin, end] = encoding.offsets[token];
  if (begin != encoding.offsets[token - 1][1] || begin >= end) return false;
  if (tokenizer.token(encoding.ids[token]).starts_with("##")) return true;
  const auto is_word = [&](int64_t at) {
    const auto byte = static_cast<unsigned char>(text[static_cast<size_t>(at)]);
    return byte >= 0x80 || std::isalnum(byte);
  };
  return is_word(begin - 1) && is_word(begin);
}

// A token of spaces alone is no word; a vocabulary of bytes has such tokens.
bool is_space(std::string_view text, std::array<int64_t, 2> span) {
  const std::string_view bytes = text.substr(static_cast<size_t>(span[0]), static_cast<size_t>(span[1] - span[0]));
  return bytes.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// "B-person" → 'B', "person"; a tag without a prefix starts an entity of its name.
std::pair<char, std::string> parts_of_tag(const std::string& tag) {
  if (tag == "O") return {'O', ""};
  if (tag.size() > 2 && tag[1] == '-') return {tag[0], tag.substr(2)};
  return {'I', tag};
}

}  // namespace

std::vector<TaggedSpan> LoadedModel::tag(std::string_view text, const Interventions& interventions) const {
  if (!transformer_.classifies_tokens()) fail(ErrorCode::kUnsupported, "{}: the model has no head that classifies tokens", info_.name);
  const Encoding encoding = tokenizer().encode(text);
  const Tensor logits = run(encoding, {.interventions = interventions}).class_logits;
  const auto labels = static_cast<int64_t>(info_.labels.size());
  std::vector<TaggedSpan> out;
  std::vector<int> words;  // of each span
  bool is_open = false;
  for (size_t token = 0; token < encoding.size(); ++token) {
    if (encoding.is_special(token) || is_space(text, encoding.offsets[token])) continue;
    const auto [begin, end] = encoding.offsets[token];
    if (continues_word(tokenizer(), text, encoding, token)) {
      if (is_open) out.back().end = end;
      continue;
    }
    const auto [id, probability] = best_of(logits.data<float>() + static_cast<int64_t>(token) * labels, labels, 1).front();
    const auto [prefix, type] = parts_of_tag(info_.labels[static_cast<size_t>(id)]);
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

TextAnswer LoadedModel::answer(std::string_view question, std::string_view text, const std::optional<AnswerSettings>& settings,
                               const Interventions& interventions) const {
  if (!transformer_.finds_answers()) fail(ErrorCode::kUnsupported, "{}: the model has no head that finds answers", info_.name);
  AnswerSettings how = settings ? *settings : *info_.answers;
  if (info_.longest > 0) how.window = std::min(how.window, info_.longest);
  const std::vector<Encoding> windows = answer_windows(tokenizer(), question, text, how);
  std::vector<WindowAnswer> answers(windows.size());
  run_all(windows, {.interventions = interventions}, {}, nullptr,
          [&](const std::vector<size_t>& which, const TokenBatch& batch, const RunResult& made) {
            const float* logits = made.class_logits.data<float>();
            for (size_t row = 0; row < which.size(); ++row)
              answers[which[row]] = best_span(windows[which[row]], logits + static_cast<int64_t>(row) * batch.length * 2, how.longest);
          });
  return together(answers, how.threshold);
}

// Many texts.

std::vector<Encoding> LoadedModel::encoded(const std::vector<std::string>& texts, const BatchOptions& options,
                                           const std::function<Encoding(size_t)>& encode) const {
  std::vector<Encoding> out(texts.size());
  parallel_ranges(static_cast<int64_t>(texts.size()), 16, [&](int64_t begin, int64_t end, int) {
    for (auto index = static_cast<size_t>(begin); index < static_cast<size_t>(end); ++index) {
      of_text(options, index, [&] {
        out[index] = encode(index);
        if (out[index].size() == 0) fail(ErrorCode::kInvalidArgument, "the text has no tokens");
        check_length(static_cast<int64_t>(out[index].size()), info_.longest);
      });
    }
  });
  return out;
}

void LoadedModel::run_all(const std::vector<Encoding>& texts, const BatchOptions& options, RunOptions run,
                          const std::function<void(const std::vector<size_t>&, const TokenBatch&, RunOptions&)>& prepare,
                          const std::function<void(const std::vector<size_t>&, const TokenBatch&, const RunResult&)>& answer) const {
  run.interventions = options.interventions;
  for_batches(batches_of(texts, kBatchTokens), options.progress, [&](const std::vector<size_t>& which) {
    const TokenBatch batch = padded(texts, which, info_.type_count > 0);
    RunOptions own = run;
    if (prepare) prepare(which, batch, own);
    answer(which, batch, compute(checked(batch), own));
  });
}

std::vector<Embedding> LoadedModel::embed_all(const std::vector<std::string>& texts, const BatchOptions& options) const {
  check_embeds();
  std::vector<Embedding> results(texts.size());
  const std::vector<Encoding> encodings =
      encoded(texts, options, [&](size_t index) { return encoded_sentence(texts[index], results[index]); });
  run_all(encodings, options, {.logits = false}, nullptr,
          [&](const std::vector<size_t>& which, const TokenBatch& batch, const RunResult& made) {
            parallel_for(batch.batch, [&](int64_t row, int) {
              const Tensor own = made.hidden.select(0, row).slice(0, 0, batch.lengths[static_cast<size_t>(row)]);
              results[which[static_cast<size_t>(row)]].values = pool_sentence(sentence_, own);
            });
          });
  return results;
}

std::vector<std::vector<std::vector<Candidate>>> LoadedModel::fill_all(const std::vector<std::string>& texts, int64_t count,
                                                                       const BatchOptions& options) const {
  const int32_t mask = checked_mask(count);
  const std::vector<Encoding> encodings = encoded(texts, options, [&](size_t index) { return encoded_masks(texts[index], mask); });
  std::vector<std::vector<std::vector<Candidate>>> results(texts.size());
  const auto prepare = [&](const std::vector<size_t>& which, const TokenBatch& batch, RunOptions& run) {
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
  run_all(encodings, options, {}, prepare, [&](const std::vector<size_t>& which, const TokenBatch&, const RunResult& made) {
    std::vector<std::vector<Candidate>*> masks;  // of each row of the logits
    for (const size_t text : which) {
      for (std::vector<Candidate>& mask_of_text : results[text]) masks.push_back(&mask_of_text);
    }
    parallel_for(static_cast<int64_t>(masks.size()), [&](int64_t row, int) {
      *masks[static_cast<size_t>(row)] = candidates(made.masked_logits.data<float>() + row * info_.vocabulary, count);
    });
  });
  return results;
}

std::vector<std::vector<ClassScore>> LoadedModel::classify_all(const std::vector<std::string>& texts, std::optional<std::string_view> pair,
                                                               const BatchOptions& options) const {
  check_classifies();
  const std::vector<Encoding> encodings =
      encoded(texts, options, [&](size_t index) { return tokenizer().encode(texts[index], {.pair = pair}); });
  std::vector<std::vector<ClassScore>> results(texts.size());
  run_all(encodings, options, {}, nullptr, [&](const std::vector<size_t>& which, const TokenBatch&, const RunResult& made) {
    const int64_t labels = made.class_logits.size(1);
    for (size_t row = 0; row < which.size(); ++row)
      results[which[row]] = class_scores(made.class_logits.data<float>() + static_cast<int64_t>(row) * labels, info_.labels, info_.problem);
  });
  return results;
}

}  // namespace clearhead
