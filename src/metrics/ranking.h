// Rankings against what is relevant, equal to trec_eval (pytrec_eval), and scores against two classes, equal to scikit-learn.
//
//   reciprocal rank = 1 / rank of the first relevant      precision@k = relevant among the first k / k      recall@k = the same / all relevant
//   average precision = Σ over relevant of precision@its rank / all relevant
//   NDCG@k = DCG@k / DCG@k of the best order      DCG@k = Σ_{i ≤ k} max(relevance_i, 0) / log2(i + 1)   (Järvelin & Kekäläinen 2002)
//   ROC-AUC = the share of pairs (positive, negative) in which the positive scores higher, ties half
//   average precision of two classes = Σ_n (R_n − R_{n−1}) · P_n over the different scores, the highest first
//
// Relevant is what has a relevance of 1 or more. Among equal scores the later document stands first, as trec_eval orders documents whose ids ascend (it compares
// scores as f32, here they are double).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace clearhead::metrics {

struct RankedQuery {
  std::vector<double> scores;      // of each document retrieved, in any order
  std::vector<int32_t> relevance;  // of the same
  std::vector<int32_t> missed;     // relevance of documents that were not retrieved: they count in recall, average precision and NDCG
};

/// All at k, trec_eval's recip_rank, map_cut, P, recall, success and ndcg_cut. Means over queries: MRR, MAP, …
struct Ranking {
  double reciprocal_rank = 0, average_precision = 0;  // 0 … 1
  double precision = 0, recall = 0, hit = 0;          // 0 … 1; hit: whether any of the first k is relevant
  double ndcg = 0;                                    // 0 … 1
};

/// k = 0: the whole ranking (recip_rank, map, set_P, set_recall, ndcg). A query without relevant documents, or with nothing retrieved, has 0 throughout.
/// Throws kInvalidArgument where scores and relevance differ in length, and for scores that are not finite.
Ranking ranking(const RankedQuery& query, size_t k = 0);

/// The mean over queries. Throws kInvalidArgument without any, and as ranking does.
Ranking mean_ranking(std::span<const RankedQuery> queries, size_t k = 0);

/// NDCG@k by scikit-learn's ndcg_score: documents of equal scores share the mean of their gains. k = 0: all. 0 without relevant documents.
/// Throws kInvalidArgument where the sides differ in length, without documents, for scores that are not finite and for a relevance below 0.
double tied_ndcg(std::span<const double> scores, std::span<const int32_t> relevance, size_t k = 0);

/// scores: the higher, the more positive; positive: 0 or 1. NaN where only one class is there.
/// Throws kInvalidArgument where the sides differ in length, without examples, for scores that are not finite and other classes.
double roc_auc(std::span<const double> scores, std::span<const uint8_t> positive);

/// The same arguments. 0 without a positive example.
double average_precision(std::span<const double> scores, std::span<const uint8_t> positive);

}  // namespace clearhead::metrics
