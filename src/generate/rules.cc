// Makes one step for each setting of GenerationRules that is used, in the order in which transformers' generate applies
// them.
#include "generate/rules.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();

// Maps every sequence of size − 1 tokens to the tokens that followed it.
std::map<std::vector<int32_t>, std::vector<int32_t>> continuations(const std::vector<int32_t>& ids, size_t size) {
  std::map<std::vector<int32_t>, std::vector<int32_t>> out;
  for (size_t end = size; end <= ids.size(); ++end) {
    const auto last = ids.begin() + static_cast<std::ptrdiff_t>(end) - 1;
    out[{last - static_cast<std::ptrdiff_t>(size) + 1, last}].push_back(*last);
  }
  return out;
}

bool ends_with(const std::vector<int32_t>& ids, const std::vector<int32_t>& end, size_t count) {
  return ids.size() >= count &&
         std::equal(end.begin(), end.begin() + static_cast<std::ptrdiff_t>(count), ids.end() - static_cast<std::ptrdiff_t>(count));
}

}  // namespace

void validate(const GenerationRules& rules) {
  const auto check = [](bool holds, std::string_view name, std::string_view expected, double found) {
    if (!holds) fail(ErrorCode::kInvalidArgument, "{}: expected {}, found {}", name, expected, found);
  };
  const auto positive = [&](std::string_view name, double value) {
    check(value > 0 && std::isfinite(value), name, "a positive number", value);
  };
  const auto count = [&](std::string_view name, int64_t value) { check(value >= 0, name, "0 or more", static_cast<double>(value)); };
  positive("repetition_penalty", rules.repetition_penalty);
  positive("encoder_repetition_penalty", rules.encoder_repetition_penalty);
  count("no_repeat_ngram_size", rules.no_repeat_ngram_size);
  count("encoder_no_repeat_ngram_size", rules.encoder_no_repeat_ngram_size);
  count("min_length", rules.min_length);
  count("min_new_tokens", rules.min_new_tokens);
  if (rules.exponential_decay_length_penalty) positive("exponential_decay_length_penalty", rules.exponential_decay_length_penalty->second);
  for (const std::vector<int32_t>& word : rules.bad_words_ids) {
    if (word.empty()) fail(ErrorCode::kInvalidArgument, "bad_words_ids: expected sequences of token ids, found an empty one");
  }
}

void LogitRules::Scores::ban(int32_t id) const {
  if (id >= 0 && id < vocabulary) values[id] = kBanned;
}

void LogitRules::Scores::force(const std::vector<int32_t>& ids) const {
  std::fill_n(values, vocabulary, kBanned);
  for (const int32_t id : ids) {
    if (id >= 0 && id < vocabulary) values[id] = certain;
  }
}

// Penalises each token once, however often it occurs in `ids`.
void LogitRules::Scores::penalise(const std::vector<int32_t>& ids, float penalty) const {
  std::vector<int32_t> once = ids;
  std::sort(once.begin(), once.end());
  once.erase(std::unique(once.begin(), once.end()), once.end());
  for (const int32_t id : once) {
    if (id < 0 || id >= vocabulary) continue;
    values[id] = values[id] < 0 ? values[id] * penalty : values[id] / penalty;
  }
}

LogitRules::LogitRules(const GenerationRules& rules, const Text& text) {
  add_penalties(rules, text);
  add_repeats(rules, text);
  add_lengths(rules, text);
  add_suppressed(rules, text);
}

void LogitRules::add_penalties(const GenerationRules& rules, const Text& text) {
  scales_ = rules.encoder_repetition_penalty != 1 || rules.repetition_penalty != 1 || rules.exponential_decay_length_penalty;
  if (rules.encoder_repetition_penalty != 1) {
    const auto penalty = static_cast<float>(1 / rules.encoder_repetition_penalty);
    steps_.emplace_back([penalty, source = text.source](const Scores& scores) { scores.penalise(source, penalty); });
  }
  if (rules.repetition_penalty != 1) {
    const auto penalty = static_cast<float>(rules.repetition_penalty);
    steps_.emplace_back([penalty](const Scores& scores) { scores.penalise(scores.seen, penalty); });
  }
}

void LogitRules::add_repeats(const GenerationRules& rules, const Text& text) {
  if (rules.no_repeat_ngram_size > 0) {
    const auto size = static_cast<size_t>(rules.no_repeat_ngram_size);
    steps_.emplace_back([size](const Scores& scores) {
      const std::vector<int32_t>& seen = scores.seen;
      if (seen.size() < size) return;
      const std::vector<int32_t> end(seen.end() - static_cast<std::ptrdiff_t>(size) + 1, seen.end());
      for (size_t at = 0; at + size <= seen.size(); ++at) {
        const auto from = seen.begin() + static_cast<std::ptrdiff_t>(at);
        if (std::equal(end.begin(), end.end(), from)) scores.ban(from[static_cast<std::ptrdiff_t>(size) - 1]);
      }
    });
  }
  if (rules.encoder_no_repeat_ngram_size > 0) {
    const auto size = static_cast<size_t>(rules.encoder_no_repeat_ngram_size);
    steps_.emplace_back([size, copied = continuations(text.source, size)](const Scores& scores) {
      if (scores.seen.size() + 1 < size) return;
      const auto found = copied.find({scores.seen.end() - static_cast<std::ptrdiff_t>(size) + 1, scores.seen.end()});
      if (found == copied.end()) return;
      for (const int32_t id : found->second) scores.ban(id);
    });
  }
  std::vector<std::vector<int32_t>> words = rules.bad_words_ids;
  std::erase_if(words, [&](const std::vector<int32_t>& word) {
    return word.size() == 1 && std::find(text.stop_ids.begin(), text.stop_ids.end(), word[0]) != text.stop_ids.end();
  });
  if (words.empty()) return;
  steps_.emplace_back([words = std::move(words)](const Scores& scores) {
    for (const std::vector<int32_t>& word : words) {
      if (ends_with(scores.seen, word, word.size() - 1)) scores.ban(word.back());
    }
  });
}

void LogitRules::add_lengths(const GenerationRules& rules, const Text& text) {
  const auto prompt = static_cast<size_t>(text.prompt_tokens), longest = static_cast<size_t>(text.prompt_tokens + text.max_tokens);
  const size_t least =
      static_cast<size_t>(std::max(rules.min_length, rules.min_new_tokens > 0 ? text.prompt_tokens + rules.min_new_tokens : 0));
  if (least > 0 && !text.stop_ids.empty()) {
    steps_.emplace_back([least, stop_ids = text.stop_ids](const Scores& scores) {
      if (scores.seen.size() >= least) return;
      for (const int32_t id : stop_ids) scores.ban(id);
    });
  }
  if (rules.forced_bos_token_id) {
    steps_.emplace_back([id = *rules.forced_bos_token_id](const Scores& scores) {
      if (scores.seen.size() == 1) scores.force({id});
    });
  }
  if (!rules.forced_eos_token_id.empty()) {
    steps_.emplace_back([longest, ids = rules.forced_eos_token_id](const Scores& scores) {
      if (scores.seen.size() + 1 == longest) scores.force(ids);
    });
  }
  if (rules.exponential_decay_length_penalty) {
    const auto [first, factor] = *rules.exponential_decay_length_penalty;
    const size_t start = prompt + static_cast<size_t>(first);
    steps_.emplace_back([start, factor = factor, stop_ids = text.stop_ids](const Scores& scores) {
      if (scores.seen.size() <= start) return;
      const auto grown = static_cast<float>(std::pow(factor, static_cast<double>(scores.seen.size() - start)) - 1);
      for (const int32_t id : stop_ids) {
        if (id >= 0 && id < scores.vocabulary && std::isfinite(scores.values[id])) scores.values[id] += std::abs(scores.values[id]) * grown;
      }
    });
  }
}

void LogitRules::add_suppressed(const GenerationRules& rules, const Text& text) {
  if (!rules.suppress_tokens.empty()) {
    steps_.emplace_back([ids = rules.suppress_tokens](const Scores& scores) {
      for (const int32_t id : ids) scores.ban(id);
    });
  }
  if (!rules.begin_suppress_tokens.empty()) {
    const bool is_forced = rules.forced_bos_token_id && text.prompt_tokens <= 1;
    const auto begin = static_cast<size_t>(text.prompt_tokens + (is_forced ? 1 : 0));
    steps_.emplace_back([begin, ids = rules.begin_suppress_tokens](const Scores& scores) {
      if (scores.seen.size() != begin) return;
      for (const int32_t id : ids) scores.ban(id);
    });
  }
}

void LogitRules::apply(const std::vector<int32_t>& seen, float* scores, int64_t vocabulary, float certain) const {
  for (const auto& step : steps_) step({seen, scores, vocabulary, certain});
}

}  // namespace clearhead
