// Beam search over a batch. The beams of all sentences that are not done form one step of the model.
//
//   candidates   the count·(1 + number of stop tokens) best of score + ln p over all beams of a sentence, but at least
//                2·count, so that `count` are left to continue (with one beam, 1); ties go to the earlier beam, then to the
//                smaller id
//   ended        those among the first `count` candidates that end; rated score / length^penalty; the `count` best are kept
//   running      the `count` best that do not end
//   done         `count` have ended and no running one is better, as EarlyStopping rates it; or none is left to continue
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/busy.h"
#include "base/format.h"
#include "base/parallel.h"
#include "generate/parts.h"
#include "generate/rules.h"
#include "ops/ops.h"

namespace clearhead {
namespace {

struct Text {
  std::vector<int32_t> ids{};
  std::vector<float> probabilities{};
  double score = 0;    // Σ ln p; once it has ended, its rating
  int64_t parent = 0;  // row of the batch that it continues
};

struct Sentence {
  size_t index = 0;
  std::vector<Text> running{}, ended{};  // best first
};

struct Candidate {
  double score = 0;
  int64_t beam = 0;
  int32_t id = 0;
  float probability = 0;
};

// Returns the index of the first element from `at` on that is not below `bound`; the size if there is none. `bound` is
// rounded down to f32, so the element may be slightly below it. Most of a vocabulary is skipped 64 elements at a time.
int64_t first_above(const std::vector<float>& row, int64_t at, double bound) {
  constexpr int64_t kTogether = 64;
  const float rounded = std::nextafter(static_cast<float>(bound), -std::numeric_limits<float>::infinity());
  const auto size = static_cast<int64_t>(row.size());
  for (; at + kTogether <= size; at += kTogether) {
    int above = 0;
    for (int64_t i = 0; i < kTogether; ++i) above |= static_cast<int>(row[static_cast<size_t>(at + i)] >= rounded);
    if (above != 0) break;
  }
  while (at < size && !(row[static_cast<size_t>(at)] >= rounded)) ++at;
  return at;
}

class Search {
 public:
  Search(const Model& model, ModelCache cache, const SearchTexts& texts, const GenerateOptions& options)
      : model_(model),
        cache_(std::move(cache)),
        options_(options),
        prompt_(texts.prompt),
        stop_ids_(options.stop_ids ? *options.stop_ids : end_tokens(model)) {
    limit_ = options.max_tokens;
    const auto prompt = static_cast<int64_t>(prompt_.size());
    const int64_t longest = model.info().longest, places = longest - cache_.length - prompt + 1;
    if (longest > 0 && places < limit_) {
      limit_ = std::max<int64_t>(1, places);
      at_limit_ = StopReason::kPositions;
    }
    const GenerationRules rules = options.rules ? *options.rules : default_rules(model);
    for (const std::vector<int32_t>& source : texts.sources)
      rules_.emplace_back(rules, LogitRules::Text{stop_ids_, source, prompt, limit_});
    done_.resize(static_cast<size_t>(cache_.batch));
    for (size_t index = 0; index < done_.size(); ++index) open_.push_back({index, {Text{.parent = static_cast<int64_t>(index)}}, {}});
  }

  std::vector<Generated> run() {
    std::vector<int32_t> next;
    for (size_t row = 0; row < done_.size(); ++row) next.insert(next.end(), prompt_.begin(), prompt_.end());
    for (made_ = 1; !open_.empty(); ++made_) {
      CheckWhileBusy::ask();  // when batches run in parallel, no other code calls it
      if (options_.cancel && options_.cancel->load()) {
        for (Sentence& sentence : open_) finish(sentence, StopReason::kCancelled);
        break;
      }
      RunOptions run = options_.run;
      run.observer = nullptr;
      run.logits = run.last_logits_only = true;
      run.all_hidden = false;
      const Tensor logits = model_.step(next, cache_, run).causal_logits.contiguous();
      next = advance(logits.reshape({logits.size(0), logits.size(2)}));
    }
    return std::move(done_);
  }

 private:
  // Extends every sentence by the logits of all rows. Returns the ids of the next step, in the order of the cache's rows
  // after this call.
  std::vector<int32_t> advance(const Tensor& logits) {
    parallel_for(static_cast<int64_t>(open_.size()), [&](int64_t at, int) { extend(open_[static_cast<size_t>(at)], logits); });
    std::vector<Sentence> open;
    std::vector<int64_t> rows;
    std::vector<int32_t> next;
    for (Sentence& sentence : open_) {
      if (is_done(sentence)) {
        finish(sentence, made_ == limit_ ? at_limit_ : StopReason::kStopToken);
        continue;
      }
      for (Text& text : sentence.running) {
        rows.push_back(text.parent);
        next.push_back(text.ids.back());
        text.parent = static_cast<int64_t>(rows.size()) - 1;
      }
      open.push_back(std::move(sentence));
    }
    open_ = std::move(open);
    if (!open_.empty()) cache_.select(rows);
    return next;
  }

  void extend(Sentence& sentence, const Tensor& logits) const {
    const std::vector<Candidate> candidates = best_of(sentence, logits);
    const auto count = static_cast<size_t>(options_.beams.count);
    std::vector<Text> going;
    for (size_t rank = 0; rank < candidates.size(); ++rank) {
      const Candidate& candidate = candidates[rank];
      const bool ends = made_ == limit_ || std::find(stop_ids_.begin(), stop_ids_.end(), candidate.id) != stop_ids_.end();
      if (ends ? rank >= count : going.size() == count) continue;
      Text text = sentence.running[static_cast<size_t>(candidate.beam)];
      text.ids.push_back(candidate.id);
      text.probabilities.push_back(candidate.probability);
      text.score = ends ? rated(candidate.score, made_) : candidate.score;
      (ends ? sentence.ended : going).push_back(std::move(text));
    }
    sentence.running = std::move(going);
    std::stable_sort(sentence.ended.begin(), sentence.ended.end(), [](const Text& a, const Text& b) { return a.score > b.score; });
    if (sentence.ended.size() > count) sentence.ended.resize(count);
  }

  std::vector<Candidate> best_of(const Sentence& sentence, const Tensor& logits) const {
    const int64_t vocabulary = logits.size(1);
    // Greedy search ends when its only text ends, so it needs no other candidate.
    const size_t wanted =
        options_.beams.count == 1 ? 1 : static_cast<size_t>(options_.beams.count) * (1 + std::max<size_t>(1, stop_ids_.size()));
    const auto better = [](const Candidate& a, const Candidate& b) { return a.score > b.score; };
    std::vector<Candidate> best;  // sorted; equal ones stay in the order in which they came
    std::vector<float> row(static_cast<size_t>(vocabulary));
    for (size_t beam = 0; beam < sentence.running.size(); ++beam) {
      const Text& text = sentence.running[beam];
      const float* own = logits.data<float>() + text.parent * vocabulary;
      const double total = ops::log_sum_exp(own, vocabulary);
      if (!std::isfinite(text.score - total))
        fail(ErrorCode::kInvalidArgument,
             "the model's logits are not finite: a weight of the model is not finite, or a computation with the weights overflowed");
      std::copy_n(own, vocabulary, row.begin());
      const double shift = text.score - under_rules(sentence, text, total, row);
      for (int64_t id = 0; id < vocabulary; ++id) {
        if (best.size() == wanted) id = first_above(row, id, best.back().score - shift);
        if (id == vocabulary) break;
        const double score = static_cast<double>(row[static_cast<size_t>(id)]) + shift;
        if (best.size() == wanted && !(score > best.back().score)) continue;
        if (score == -std::numeric_limits<double>::infinity()) continue;
        // The reported probability is the model's own, before the rules; `score` includes them.
        const double own_score = static_cast<double>(own[id]) - total;
        const Candidate candidate{score, static_cast<int64_t>(beam), static_cast<int32_t>(id), static_cast<float>(std::exp(own_score))};
        if (best.size() == wanted) best.pop_back();
        best.insert(std::upper_bound(best.begin(), best.end(), candidate, better), candidate);
      }
    }
    return best;
  }

  // Applies the rules to the logits of a row, or to its log-probabilities if a rule scales scores and several beams are
  // compared. Returns the number to subtract from the row to get log-probabilities.
  double under_rules(const Sentence& sentence, const Text& text, double total, std::vector<float>& row) const {
    const LogitRules& rules = rules_[sentence.index];
    if (rules.empty()) return total;
    if (rules.scales() && options_.beams.count > 1) {
      for (float& score : row) score = static_cast<float>(static_cast<double>(score) - total);
      total = 0;
    }
    std::vector<int32_t> seen = prompt_;
    seen.insert(seen.end(), text.ids.begin(), text.ids.end());
    rules.apply(seen, row.data(), static_cast<int64_t>(row.size()), static_cast<float>(total));
    return total;
  }

  double rated(double score, int64_t length) const { return score / std::pow(static_cast<double>(length), options_.beams.length_penalty); }

  bool is_done(const Sentence& sentence) const {
    if (sentence.running.empty() || made_ == limit_) return true;
    const auto& [count, penalty, early_stopping] = options_.beams;
    if (static_cast<int64_t>(sentence.ended.size()) < count) return false;
    if (early_stopping == EarlyStopping::kAlways) return true;
    const int64_t length = early_stopping == EarlyStopping::kNever && penalty > 0 ? limit_ : made_;
    return rated(sentence.running[0].score, length) <= sentence.ended.back().score;
  }

  void finish(Sentence& sentence, StopReason reason) {
    Generated& out = done_[sentence.index];
    out.reason = reason;
    const std::vector<Text>& texts = sentence.ended.empty() ? sentence.running : sentence.ended;
    if (texts.empty()) return;
    const Text& best = texts[0];
    out.ids = best.ids;
    out.score = best.score;
    for (size_t i = 0; i < best.ids.size(); ++i) out.tokens.push_back({.id = best.ids[i], .probability = best.probabilities[i]});
    const bool has_stopped = !best.ids.empty() && std::find(stop_ids_.begin(), stop_ids_.end(), best.ids.back()) != stop_ids_.end();
    if (has_stopped && reason != StopReason::kCancelled) out.reason = StopReason::kStopToken;
  }

  const Model& model_;
  ModelCache cache_;
  const GenerateOptions& options_;
  std::vector<int32_t> prompt_, stop_ids_;
  std::vector<LogitRules> rules_{};  // by sentence
  int64_t limit_ = 0, made_ = 0;     // tokens of a text: the limit, and the number including this step
  StopReason at_limit_ = StopReason::kMaxTokens;
  std::vector<Sentence> open_{};
  std::vector<Generated> done_{};
};

}  // namespace

std::vector<Generated> search_beams(const Model& model, ModelCache cache, const SearchTexts& texts, const GenerateOptions& options) {
  return Search(model, std::move(cache), texts, options).run();
}

}  // namespace clearhead
