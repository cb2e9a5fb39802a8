// The linear datamodeling score (Park et al. 2023, TRAK, §2): how well shares of documents predict the change that their removal makes.
//
//   predicted(S) = Σ_{d ∈ S} share_d      measured(S) = y(x) − y(x without S)      for random sets S of documents
//   score        = mean over sentences of the Spearman correlation of predicted and measured over the sets
//
// A sentence whose predictions or measurements are all equal has the correlation 0. The interval is a bootstrap over the sets
// (metrics/bootstrap.h).
//
//   BM25(d, q) = Σ_{w ∈ q} ln(1 + (N − n_w + ½)/(n_w + ½)) · f·(k + 1)/(f + k·(1 − b + b·|d|/mean |d|))      k = 1.5, b = 0.75
//                f: occurrences of w in d; n_w: documents that contain w; N: documents; |d|: words of d
//
// Source of BM25: Robertson & Zaragoza 2009, §3.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metrics/bootstrap.h"

namespace clearhead::explain {

/// One flag per document: 1 if it is in the set.
using DocumentSet = std::vector<uint8_t>;
using Rows = std::vector<std::vector<double>>;

/// `count` sets; each document is in a set with probability ½. No set is empty and none contains every document. Set i depends only on the
/// seed and on i. Throws kInvalidArgument for fewer than two documents.
std::vector<DocumentSet> random_document_sets(size_t documents, size_t count, uint64_t seed);

/// BM25 of each document for the words of a query, in lower case. Each character of a script without spaces, such as Han, is a word.
/// The texts must be valid UTF-8. Throws kInvalidArgument for no documents.
std::vector<double> bm25(const std::string& query, const std::vector<std::string>& documents);

/// The documents of one prompt that were removed, and the drops that were measured: [sentence][set].
struct MeasuredRemovals {
  std::vector<DocumentSet> sets{};
  Rows drops{};
};

/// The score over the sentences of all prompts, with its interval over `resamples` draws. All prompts have the same number of sets.
///   shares: for each prompt, [sentence][document]
/// NaN for fewer than three sets. Throws kInvalidArgument for sizes that do not fit, no sentences, and numbers that are not finite.
metrics::Interval datamodeling_score(const std::vector<Rows>& shares, const std::vector<MeasuredRemovals>& prompts, uint64_t seed,
                                     int64_t resamples = 500);

/// The scores of `draws` random shares: their mean, and the interval that contains 95 % of them. NaN and errors as above.
metrics::Interval random_score(const std::vector<MeasuredRemovals>& prompts, uint64_t seed, int64_t draws = 500);

}  // namespace clearhead::explain
