// clearhead train RECIPE --test MODEL of dialogues. The end of a turn counts as one word and one byte of it, as a line break would.
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
#include "text/strings.h"
#include "text/turns.h"
#include "train/pair_data.h"

namespace clearhead::cli {
namespace {

constexpr size_t kCandidates = 10;

// The next turns of a test part, and where each stands.
struct NextTurns {
  std::vector<Encoding> sources{}, targets{};
  std::vector<std::string> texts{};
  std::vector<size_t> dialogues{};  // the dialogue of each
};
NextTurns next_turns_of(const Recipe& recipe, const Model& model) {
  NextTurns out;
  const std::vector<std::vector<std::string>> dialogues = read_dialogues(recipe.pairs->test, recipe);
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

double sum_of(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0, [](double sum, float value) { return sum + static_cast<double>(value); });
}

// Which turns stand beside the right one: of other dialogues, no two alike. Fewer where the part has no more.
std::vector<size_t> drawn_beside(const NextTurns& all, size_t right, RandomSequence& random) {
  std::vector<size_t> out;
  std::set<std::string> texts = {all.texts[right]};
  for (size_t tries = 0; tries < 100 * kCandidates && out.size() + 1 < kCandidates; ++tries) {
    const size_t other = random.roll(all.texts.size());
    if (all.dialogues[other] != all.dialogues[right] && texts.insert(all.texts[other]).second) out.push_back(other);
  }
  return out;
}

// The share of turns that are rated above all that stand beside them.
double share_chosen(const NextTurns& all, const std::vector<double>& right, const Model& model, uint64_t seed,
                    const BatchOptions& options) {
  RandomSequence random(seed);
  std::vector<Encoding> sources, turns;
  std::vector<size_t> of;
  for (size_t at = 0; at < all.texts.size(); ++at) {
    for (const size_t other : drawn_beside(all, at, random)) {
      sources.push_back(all.sources[at]);
      turns.push_back(all.targets[other]);
      of.push_back(at);
    }
  }
  std::vector<bool> is_best(all.texts.size(), true);
  const std::vector<double> ratings = ratings_of(model, sources, turns, options);
  for (size_t index = 0; index < ratings.size(); ++index) {
    if (ratings[index] >= right[of[index]]) is_best[of[index]] = false;
  }
  return static_cast<double>(std::count(is_best.begin(), is_best.end(), true)) / static_cast<double>(is_best.size());
}

}  // namespace

ReadTurns encoded_turns(const Model& model, std::string joined) {
  const int64_t longest = model.info().longest;
  for (;;) {
    Encoding encoding = model.tokenizer().encode(joined);
    const auto tokens = static_cast<int64_t>(encoding.size());
    if (longest == 0 || tokens <= longest) return {std::move(joined), std::move(encoding)};
    if (joined.find('\n') == std::string::npos) {
      fail(ErrorCode::kTooLong, "a turn has {} tokens; this model's positions end at {}. Say less at once: \"{}\"", with_commas(tokens),
           with_commas(longest), joined.substr(0, 60));
    }
    joined = without_oldest_turn(joined);
  }
}

std::vector<double> ratings_of(const Model& model, const std::vector<Encoding>& sources, const std::vector<Encoding>& turns,
                               const BatchOptions& options) {
  std::vector<double> out;
  for (const std::vector<float>& turn : log_probabilities_from(model, sources, turns, options))
    out.push_back(sum_of(turn) / static_cast<double>(turn.size()));
  return out;
}

void measure_dialogues(const Recipe& recipe, const Model& model, bool json) {
  const NextTurns all = next_turns_of(recipe, model);
  if (all.texts.empty()) fail(ErrorCode::kInvalidArgument, "{}: the test part has no dialogue of two turns", recipe.where);
  Progress progress("measuring");
  const std::function<void(double)> shown = progress.callback();
  const auto part = [&](double from, double to) -> std::function<void(double)> {
    if (!shown) return nullptr;
    return [=](double fraction) { shown(from + (to - from) * fraction); };
  };
  const double share = 1.0 / static_cast<double>(kCandidates);
  double nats = 0;
  int64_t tokens = 0, words = 0, bytes = 0;
  std::vector<double> right;
  const auto log_probabilities = log_probabilities_from(model, all.sources, all.targets, {.progress = part(0, share)});
  for (size_t at = 0; at < all.texts.size(); ++at) {
    const double sum = sum_of(log_probabilities[at]);
    const auto count = static_cast<int64_t>(log_probabilities[at].size());
    right.push_back(sum / static_cast<double>(count));
    nats -= sum;
    tokens += count;
    words += static_cast<int64_t>(text::split_at_blanks(all.texts[at]).size()) + 1;
    bytes += static_cast<int64_t>(all.texts[at].size()) + 1;
  }
  const double chosen = share_chosen(all, right, model, recipe.seed, {.progress = part(share, 1)});
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
  print(format("perplexity {:.2f} a token, {:.2f} a word, {:.3f} bits a byte; chosen of {}: {:.2f} %  ({} turns, {} before each)",
               per_token, per_word, bits, kCandidates, chosen * 100, with_commas(static_cast<int64_t>(all.texts.size())),
               recipe.pairs->turns_before));
}

}  // namespace clearhead::cli
