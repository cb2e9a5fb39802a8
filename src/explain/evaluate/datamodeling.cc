// Draws sets of documents, and correlates predicted with measured changes.
#include "explain/evaluate/datamodeling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <span>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "explain/evaluate/agreement.h"
#include "metrics/checks.h"
#include "text/scripts.h"
#include "text/strings.h"
#include "text/unicode.h"

namespace clearhead::explain {
namespace {

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> out;
  bool continues = false;  // the next letter belongs to the last word
  const std::string lower = text::lower(text);
  for (size_t at = 0; at < lower.size();) {
    const text::Decoded letter = text::decode_valid(lower, at);
    if (text::is(letter.c, text::kWord)) {
      const bool is_alone = text::is_written_without_spaces(letter.c);
      if (!continues || is_alone) out.emplace_back();
      text::append_utf8(out.back(), letter.c);
      continues = !is_alone;
    } else {
      continues = false;
    }
    at += letter.length;
  }
  return out;
}

double mean_correlation(const Rows& predicted, const Rows& drops, std::span<const size_t> drawn) {
  double sum = 0;
  std::vector<double> x(drawn.size()), y(drawn.size());
  for (size_t sentence = 0; sentence < drops.size(); ++sentence) {
    for (size_t at = 0; at < drawn.size(); ++at) {
      x[at] = predicted[sentence][drawn[at]];
      y[at] = drops[sentence][drawn[at]];
    }
    const double found = spearman(x, y);
    sum += std::isnan(found) ? 0 : found;
  }
  return sum / static_cast<double>(drops.size());
}

// The sums of the shares of each set, for the sentences of all prompts: [sentence][set].
Rows predictions(const std::vector<Rows>& shares, const std::vector<MeasuredRemovals>& prompts) {
  Rows out;
  for (size_t at = 0; at < prompts.size(); ++at) {
    for (const std::vector<double>& of_sentence : shares[at]) {
      out.emplace_back();
      for (const DocumentSet& set : prompts[at].sets) {
        double sum = 0;
        for (size_t document = 0; document < set.size(); ++document) sum += set[document] ? of_sentence[document] : 0;
        out.back().push_back(sum);
      }
    }
  }
  return out;
}

Rows drops_of_all(const std::vector<MeasuredRemovals>& prompts) {
  Rows out;
  for (const MeasuredRemovals& prompt : prompts) out.insert(out.end(), prompt.drops.begin(), prompt.drops.end());
  return out;
}

void check(const std::vector<Rows>& shares, const std::vector<MeasuredRemovals>& prompts) {
  constexpr const char* kName = "datamodeling score";
  metrics::check_sides(kName, "prompts", shares.size(), prompts.size());
  for (size_t at = 0; at < prompts.size(); ++at) {
    const auto& [sets, drops] = prompts[at];
    metrics::check_sides(kName, "sets", sets.size(), prompts.front().sets.size());
    metrics::check_sides(kName, "sentences", shares[at].size(), drops.size());
    for (size_t sentence = 0; sentence < drops.size(); ++sentence) {
      metrics::check_finite(kName, "shares", shares[at][sentence]);
      metrics::check_finite(kName, "drops", drops[sentence]);
      metrics::check_sides(kName, "sets", drops[sentence].size(), sets.size());
      for (const DocumentSet& set : sets) metrics::check_sides(kName, "documents", set.size(), shares[at][sentence].size());
    }
  }
}

constexpr size_t kFewest = 3;  // sets
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

bool has_few_sets(const std::vector<MeasuredRemovals>& prompts) { return !prompts.empty() && prompts.front().sets.size() < kFewest; }

}  // namespace

std::vector<DocumentSet> random_document_sets(size_t documents, size_t count, uint64_t seed) {
  if (documents < 2) fail(ErrorCode::kInvalidArgument, "random sets of documents: {} documents; expected two or more", documents);
  std::vector<DocumentSet> out;
  for (size_t set = 0; set < count; ++set) {
    RandomSequence random(random_bits(seed, set));
    DocumentSet removed(documents);
    size_t size = 0;
    while (size == 0 || size == documents) {
      for (uint8_t& one : removed) one = static_cast<uint8_t>(random.roll(2));
      size = static_cast<size_t>(std::count(removed.begin(), removed.end(), uint8_t{1}));
    }
    out.push_back(std::move(removed));
  }
  return out;
}

std::vector<double> bm25(const std::string& query, const std::vector<std::string>& documents) {
  constexpr double k = 1.5, b = 0.75;
  metrics::check_sides("BM25", "documents", documents.size(), documents.size());
  std::vector<std::map<std::string, double>> counts;
  std::vector<double> lengths;
  double mean = 0;
  for (const std::string& document : documents) {
    const std::vector<std::string> words = words_of(document);
    counts.emplace_back();
    for (const std::string& word : words) ++counts.back()[word];
    lengths.push_back(static_cast<double>(words.size()));
    mean += lengths.back() / static_cast<double>(documents.size());
  }
  const std::vector<std::string> asked = words_of(query);
  std::vector<double> out(documents.size());
  for (const std::string& word : std::set<std::string>(asked.begin(), asked.end())) {
    const auto having = static_cast<double>(
        std::count_if(counts.begin(), counts.end(), [&](const std::map<std::string, double>& of) { return of.contains(word); }));
    const double weight = std::log(1 + (static_cast<double>(documents.size()) - having + 0.5) / (having + 0.5));
    for (size_t at = 0; at < documents.size(); ++at) {
      const auto found = counts[at].find(word);
      if (found == counts[at].end()) continue;
      out[at] += weight * found->second * (k + 1) / (found->second + k * (1 - b + b * lengths[at] / mean));
    }
  }
  return out;
}

metrics::Interval datamodeling_score(const std::vector<Rows>& shares, const std::vector<MeasuredRemovals>& prompts, uint64_t seed,
                                     int64_t resamples) {
  if (has_few_sets(prompts)) return {kNaN, kNaN, kNaN};
  check(shares, prompts);
  const Rows predicted = predictions(shares, prompts), drops = drops_of_all(prompts);
  const auto score = [&](std::span<const size_t> drawn) { return mean_correlation(predicted, drops, drawn); };
  return metrics::bootstrap_statistic(prompts.front().sets.size(), score, {.resamples = resamples, .seed = seed});
}

metrics::Interval random_score(const std::vector<MeasuredRemovals>& prompts, uint64_t seed, int64_t draws) {
  if (has_few_sets(prompts)) return {kNaN, kNaN, kNaN};
  std::vector<Rows> shares;
  for (const auto& [sets, drops] : prompts) shares.emplace_back(drops.size(), std::vector<double>(sets.front().size()));
  check(shares, prompts);
  const Rows drops = drops_of_all(prompts);
  std::vector<size_t> all(prompts.front().sets.size());
  std::iota(all.begin(), all.end(), size_t{0});
  std::vector<double> scores;
  uint64_t counter = 0;
  for (int64_t draw = 0; draw < draws; ++draw) {
    for (Rows& of_prompt : shares) {
      for (std::vector<double>& of_sentence : of_prompt) {
        for (double& share : of_sentence) share = random_unit(seed, counter++);
      }
    }
    scores.push_back(mean_correlation(predictions(shares, prompts), drops, all));
  }
  return metrics::percentiles_of(scores);
}

}  // namespace clearhead::explain
