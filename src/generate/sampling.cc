// Chooses the next token from logits.
//
//   greedy    the token with the largest logit; of equal ones, the token with the smaller id
//   sampled   l' = l/T; top_k keeps the k largest l'; top_p sorts them in descending order and keeps the shortest prefix whose
//             softmax sums to at least top_p; then a token is drawn by inverse transform sampling, in order of id
//
// top_p sorts only some of the n candidates. A candidate with less than (1 − top_p)/n of the total weight cannot belong to the prefix,
// because all such candidates together have less than 1 − top_p of the total. They are removed before the sort.
#include "generate/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/format.h"
#include "base/random.h"
#include "ops/ops.h"

namespace clearhead {
namespace {

struct Candidate {
  int32_t id = 0;
  double weight = 0;  // e^(l' − max)
};

int64_t index_of_largest(const float* logits, int64_t vocabulary) {
  int64_t best = 0;
  bool is_number = true;
  for (int64_t id = 0; id < vocabulary; ++id) {
    is_number &= !std::isnan(logits[id]);
    if (logits[id] > logits[best]) best = id;
  }
  if (!is_number)
    fail(ErrorCode::kInvalidArgument,
         "the model's logits contain NaN: a weight of the model is not finite, or a computation with the weights overflowed");
  return best;
}

bool larger(const Candidate& a, const Candidate& b) { return a.weight != b.weight ? a.weight > b.weight : a.id < b.id; }

void keep_top_k(std::vector<Candidate>& candidates, int64_t count) {
  if (count <= 0 || count >= static_cast<int64_t>(candidates.size())) return;
  std::nth_element(candidates.begin(), candidates.begin() + count, candidates.end(), larger);
  candidates.resize(static_cast<size_t>(count));
}

double total(const std::vector<Candidate>& candidates) {
  double sum = 0;
  for (const Candidate& candidate : candidates) sum += candidate.weight;
  return sum;
}

void keep_top_p(std::vector<Candidate>& candidates, double top_p) {
  if (top_p >= 1) return;
  const double all = total(candidates);
  const double never_needed = all * (1 - top_p) / static_cast<double>(candidates.size());
  std::erase_if(candidates, [&](const Candidate& candidate) { return candidate.weight < never_needed; });
  std::sort(candidates.begin(), candidates.end(), larger);
  double sum = 0;
  size_t kept = 0;
  while (kept < candidates.size() && sum < top_p * all) sum += candidates[kept++].weight;
  candidates.resize(std::max<size_t>(kept, 1));
}

int32_t sample(const float* scores, int64_t vocabulary, const Sampling& sampling, uint64_t index) {
  const float largest = *std::max_element(scores, scores + vocabulary);
  std::vector<Candidate> candidates(static_cast<size_t>(vocabulary));
  for (size_t id = 0; id < candidates.size(); ++id) {
    candidates[id] = {static_cast<int32_t>(id),
                      static_cast<double>(std::exp(static_cast<float>(static_cast<double>(scores[id] - largest) / sampling.temperature)))};
  }
  keep_top_k(candidates, sampling.top_k);
  keep_top_p(candidates, sampling.top_p);
  if (static_cast<int64_t>(candidates.size()) < vocabulary) {
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  }
  double left = random_unit(sampling.seed, index) * total(candidates);
  int32_t last = candidates.front().id;
  for (const Candidate& candidate : candidates) {
    if (candidate.weight <= 0) continue;
    last = candidate.id;
    left -= candidate.weight;
    if (left < 0) break;
  }
  return last;
}

}  // namespace

void validate(const Sampling& sampling) {
  const auto check = [](bool holds, std::string_view name, std::string_view expected, double found) {
    if (!holds) fail(ErrorCode::kInvalidArgument, "{}: expected {}, found {}", name, expected, found);
  };
  check(sampling.temperature > 0 && std::isfinite(sampling.temperature), "temperature",
        "a positive number (for greedy decoding, turn sampling off)", sampling.temperature);
  check(sampling.top_k >= 0, "top_k", "0 (all) or more", static_cast<double>(sampling.top_k));
  check(sampling.top_p > 0 && sampling.top_p <= 1, "top_p", "a number above 0, at most 1", sampling.top_p);
}

Drawn draw_token(const NextToken& next, const std::optional<Sampling>& sampling, uint64_t index) {
  const auto& [logits, scores, vocabulary] = next;
  const int64_t best = index_of_largest(scores, vocabulary);
  if (scores[best] == -std::numeric_limits<float>::infinity())
    fail(ErrorCode::kInvalidArgument, "the generation rules leave no token; remove one of them, such as suppress_tokens or bad_words_ids");
  const int64_t id = sampling ? sample(scores, vocabulary, *sampling, index) : best;
  return {static_cast<int32_t>(id), static_cast<float>(std::exp(static_cast<double>(logits[id]) - ops::log_sum_exp(logits, vocabulary)))};
}

}  // namespace clearhead
