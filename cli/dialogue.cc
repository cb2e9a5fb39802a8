// clearhead train RECIPE --test MODEL for dialogues. Perplexity per word and bits per byte count the end of a turn as one word
// and one byte, like a line break.
#include "cli/dialogue.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"
#include "cli/measure.h"
#include "metrics/words.h"
#include "tasks/data/pair_data.h"
#include "text/strings.h"
#include "text/turns.h"

namespace clearhead::cli {
namespace {

constexpr size_t kCandidates = 10;

// All turns of the test set that follow at least one other turn, with the text that precedes each.
struct NextTurns {
  std::vector<Encoding> sources{}, targets{};
  std::vector<std::string> texts{};
  std::vector<size_t> dialogues{};  // the dialogue of each
};
NextTurns next_turns_of(const tasks::Recipe& recipe, const Model& model) {
  NextTurns out;
  const std::vector<std::vector<std::string>> dialogues = tasks::read_dialogues(recipe.pairs->test, recipe);
  for (size_t dialogue = 0; dialogue < dialogues.size(); ++dialogue) {
    const std::vector<std::string>& turns = dialogues[dialogue];
    for (size_t at = 1; at < turns.size(); ++at) {
      out.sources.push_back(encoded_turns(model, joined_turns(turns, at, recipe.pairs->turns_before)).encoding);
      out.targets.push_back(model.tokenizer().encode(turns[at]));
      out.texts.push_back(turns[at]);
      out.dialogues.push_back(dialogue);
    }
  }
  return out;
}

double total_of(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0, [](double sum, float value) { return sum + static_cast<double>(value); });
}

// Draws the distractors for a turn: different texts from other dialogues. Returns fewer if the test set has no more.
std::vector<size_t> drawn_beside(const NextTurns& all, size_t right, RandomSequence& random) {
  std::vector<size_t> out;
  std::set<std::string> texts = {all.texts[right]};
  for (size_t tries = 0; tries < 100 * kCandidates && out.size() + 1 < kCandidates; ++tries) {
    const size_t other = random.roll(all.texts.size());
    if (all.dialogues[other] != all.dialogues[right] && texts.insert(all.texts[other]).second) out.push_back(other);
  }
  return out;
}

// The fraction of turns that are rated above all their distractors.
double share_chosen(const NextTurns& all, const Model& model, uint64_t seed, const BatchOptions& options) {
  RandomSequence random(seed);
  const std::vector<double> prior_of = priors_of(model, all.targets);
  std::vector<Encoding> sources, turns;
  std::vector<double> priors;
  std::vector<size_t> begins = {0};  // where each turn's candidates begin (the right one first), then the end
  for (size_t at = 0; at < all.texts.size(); ++at) {
    std::vector<size_t> candidates = drawn_beside(all, at, random);
    candidates.insert(candidates.begin(), at);
    for (const size_t candidate : candidates) {
      sources.push_back(all.sources[at]);
      turns.push_back(all.targets[candidate]);
      priors.push_back(prior_of[candidate]);
    }
    begins.push_back(turns.size());
  }
  const std::vector<double> ratings = ratings_of(model, sources, turns, priors, options);
  int64_t chosen = 0;
  for (size_t at = 0; at < all.texts.size(); ++at) {
    const double right = ratings[begins[at]];
    chosen += std::all_of(ratings.begin() + static_cast<int64_t>(begins[at]) + 1, ratings.begin() + static_cast<int64_t>(begins[at + 1]),
                          [&](double other) { return other < right; });
  }
  return static_cast<double>(chosen) / static_cast<double>(all.texts.size());
}

}  // namespace

ReadTurns encoded_turns(const Model& model, std::string joined) {
  const int64_t longest = model.info().longest;
  for (;;) {
    Encoding encoding = model.tokenizer().encode(joined);
    const auto tokens = static_cast<int64_t>(encoding.size());
    if (longest == 0 || tokens <= longest) return {std::move(joined), std::move(encoding)};
    if (joined.find('\n') == std::string::npos) {
      fail(ErrorCode::kTooLong, "a turn has {} tokens, but this model supports {} positions. Use a shorter turn: \"{}\"",
           with_commas(tokens), with_commas(longest), joined.substr(0, 60));
    }
    joined = without_oldest_turn(joined);
  }
}

std::vector<double> priors_of(const Model& model, const std::vector<Encoding>& turns, const BatchOptions& options) {
  const Encoding none = model.tokenizer().encode("");
  std::vector<double> out(turns.size());
  if (none.ids.empty()) return out;
  const auto found = log_probabilities_from(model, std::vector<Encoding>(turns.size(), none), turns, options);
  std::transform(found.begin(), found.end(), out.begin(), total_of);
  return out;
}

std::vector<double> ratings_of(const Model& model, const std::vector<Encoding>& sources, const std::vector<Encoding>& turns,
                               const std::vector<double>& priors, const BatchOptions& options) {
  std::vector<double> out;
  for (const std::vector<float>& turn : log_probabilities_from(model, sources, turns, options))
    out.push_back((total_of(turn) - priors[out.size()]) / static_cast<double>(turn.size()));
  return out;
}

void measure_dialogues(const tasks::Recipe& recipe, const Model& model, bool json) {
  const NextTurns all = next_turns_of(recipe, model);
  if (all.texts.empty()) fail(ErrorCode::kInvalidArgument, "{}: the test set has no dialogue with at least two turns", recipe.where);
  Progress progress("measuring");
  const std::function<void(double)> shown = progress.callback();
  const auto part = [&](double from, double to) -> std::function<void(double)> {
    if (!shown) return nullptr;
    return [=](double fraction) { shown(from + (to - from) * fraction); };
  };
  const double share = 1.0 / static_cast<double>(kCandidates);
  double nats = 0;
  int64_t tokens = 0, words = 0, bytes = 0;
  const auto log_probabilities = log_probabilities_from(model, all.sources, all.targets, {.progress = part(0, share)});
  for (size_t at = 0; at < all.texts.size(); ++at) {
    nats -= total_of(log_probabilities[at]);
    tokens += static_cast<int64_t>(log_probabilities[at].size());
    words += static_cast<int64_t>(text::split_at_blanks(all.texts[at]).size()) + 1;
    bytes += static_cast<int64_t>(all.texts[at].size()) + 1;
  }
  const double chosen = share_chosen(all, model, recipe.seed, {.progress = part(share, 1)});
  const double per_token = metrics::perplexity(nats, tokens), per_word = metrics::perplexity(nats, words);
  const double bits = bits_per_byte(nats, static_cast<double>(bytes));
  if (json) {
    return print_json(Json::object({{"perplexity", per_token},
                                    {"perplexity_per_word", per_word},
                                    {"bits_per_byte", bits},
                                    {"chosen", chosen},
                                    {"candidates", static_cast<int64_t>(kCandidates)},
                                    {"turns_before", recipe.pairs->turns_before},
                                    {"turns", static_cast<int64_t>(all.texts.size())},
                                    {"tokens", tokens}}));
  }
  print(
      format("perplexity {:.2f} per token, {:.2f} per word, {:.3f} bits per byte; correct answer ranked first of {}: {:.2f} %  ({} turns; "
             "the model reads {} before each)",
             per_token, per_word, bits, kCandidates, chosen * 100, with_commas(static_cast<int64_t>(all.texts.size())),
             recipe.pairs->turns_before));
}

}  // namespace clearhead::cli
