// Sorts the documents once, then sums down the ranking or over groups of equal scores.
#include "metrics/ranking.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "metrics/checks.h"

namespace clearhead::metrics {
namespace {

// Indices in descending order of score; among equal scores the later index comes first.
std::vector<size_t> order_of(std::span<const double> scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a > b; });
  return order;
}

// Calls body(begin, end) for each group of equal scores in `order`, from the highest.
void for_each_tie(std::span<const double> scores, const std::vector<size_t>& order,
                  const std::function<void(size_t begin, size_t end)>& body) {
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && scores[order[end]] == scores[order[begin]]) ++end;
    body(begin, end);
    begin = end;
  }
}

double discount(size_t at) { return 1 / std::log2(static_cast<double>(at) + 2); }

double best_gain(std::vector<int32_t> relevance, size_t k) {
  std::sort(relevance.begin(), relevance.end(), std::greater<>());
  double gain = 0;
  for (size_t at = 0; at < std::min(k, relevance.size()) && relevance[at] > 0; ++at) gain += relevance[at] * discount(at);
  return gain;
}

void check_binary(std::string_view metric, std::span<const double> scores, std::span<const uint8_t> positive) {
  check_sides(metric, "examples", scores.size(), positive.size());
  check_finite(metric, "scores", scores);
  for (size_t i = 0; i < positive.size(); ++i) {
    if (positive[i] > 1) fail(ErrorCode::kInvalidArgument, "{}: positive[{}] is {}; expected 0 or 1", metric, i, positive[i]);
  }
}

constexpr double Ranking::*kNumbers[] = {
    &Ranking::reciprocal_rank, &Ranking::average_precision, &Ranking::precision, &Ranking::recall, &Ranking::hit, &Ranking::ndcg};

}  // namespace

Ranking ranking(const RankedQuery& query, size_t k) {
  if (query.scores.size() != query.relevance.size()) {
    fail(ErrorCode::kInvalidArgument, "ranking: {} scores, but {} relevance values; expected one relevance value per score",
         query.scores.size(), query.relevance.size());
  }
  check_finite("ranking", "scores", query.scores);
  std::vector<int32_t> judged = query.relevance;
  judged.insert(judged.end(), query.missed.begin(), query.missed.end());
  const auto relevant = static_cast<double>(std::count_if(judged.begin(), judged.end(), [](int32_t relevance) { return relevance > 0; }));
  const std::vector<size_t> order = order_of(query.scores);
  const size_t depth = k == 0 ? order.size() : k;
  Ranking out;
  if (relevant == 0 || order.empty()) return out;
  double found = 0;
  for (size_t at = 0; at < std::min(depth, order.size()); ++at) {
    const int32_t relevance = query.relevance[order[at]];
    if (relevance <= 0) continue;
    const double rank = static_cast<double>(at) + 1;
    if (found == 0) out.reciprocal_rank = 1 / rank;
    out.average_precision += ++found / rank;
    out.ndcg += relevance * discount(at);
  }
  out.average_precision /= relevant;
  out.precision = found / static_cast<double>(depth);
  out.recall = found / relevant;
  out.hit = found > 0 ? 1 : 0;
  out.ndcg /= best_gain(std::move(judged), k == 0 ? std::numeric_limits<size_t>::max() : k);
  return out;
}

Ranking mean_ranking(std::span<const RankedQuery> queries, size_t k) {
  check_sides("ranking", "queries", queries.size(), queries.size());
  Ranking sum;
  for (const RankedQuery& query : queries) {
    const Ranking found = ranking(query, k);
    for (const auto number : kNumbers) sum.*number += found.*number;
  }
  for (const auto number : kNumbers) sum.*number /= static_cast<double>(queries.size());
  return sum;
}

double roc_auc(std::span<const double> scores, std::span<const uint8_t> positive) {
  check_binary("ROC-AUC", scores, positive);
  const std::vector<size_t> order = order_of(scores);
  double positives = 0, negatives = 0, twice_won = 0;
  for_each_tie(scores, order, [&](size_t begin, size_t end) {
    double positives_here = 0;
    for (size_t at = begin; at < end; ++at) positives_here += positive[order[at]];
    const double negatives_here = static_cast<double>(end - begin) - positives_here;
    twice_won += negatives_here * (2 * positives + positives_here);
    positives += positives_here;
    negatives += negatives_here;
  });
  if (positives == 0 || negatives == 0) return std::numeric_limits<double>::quiet_NaN();
  return twice_won / 2 / positives / negatives;
}

double average_precision(std::span<const double> scores, std::span<const uint8_t> positive) {
  check_binary("average precision", scores, positive);
  const std::vector<size_t> order = order_of(scores);
  double positives = 0, sum = 0;
  for_each_tie(scores, order, [&](size_t begin, size_t end) {
    double positives_here = 0;
    for (size_t at = begin; at < end; ++at) positives_here += positive[order[at]];
    positives += positives_here;
    sum += positives_here * positives / static_cast<double>(end);
  });
  return positives == 0 ? 0 : sum / positives;
}

}  // namespace clearhead::metrics
