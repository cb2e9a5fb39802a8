// Metrics of rankings, equal to trec_eval (pytrec_eval), and of scores for binary classification, equal to scikit-learn.
//
//   reciprocal rank = 1 / rank of the first relevant document
//   precision@k = relevant documents among the first k / k      recall@k = relevant documents among the first k / all relevant
//   average precision = Σ over relevant documents of precision at their rank / all relevant
//   NDCG@k = DCG@k / DCG@k of the best order      DCG@k = Σ_{i ≤ k} max(relevance_i, 0) / log2(i + 1)   (Järvelin & Kekäläinen 2002)
//   ROC-AUC = share of pairs (positive, negative) in which the positive scores higher; a tie counts half
//   average precision of a binary classifier = Σ_n (R_n − R_{n−1}) · P_n over the distinct scores s_n in descending order,
//     with recall R_n and precision P_n of predicting positive for scores ≥ s_n
//
// A document is relevant if its relevance is 1 or more. Among equal scores the later document ranks first, as in trec_eval
// for documents whose ids ascend (it compares scores as f32; here they are double).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace clearhead::metrics {

struct RankedQuery {
  std::vector<double> scores;      // of the retrieved documents, in any order
  std::vector<int32_t> relevance;  // of the same documents
  // Relevance of documents that were not retrieved. They count in recall, average precision and NDCG.
  std::vector<int32_t> missed;
};

/// Metrics at a cutoff of k: trec_eval's map_cut, P, recall, success and ndcg_cut, and its recip_rank over the first k documents
/// only. Their means over queries are MRR, MAP, …
struct Ranking {
  double reciprocal_rank = 0, average_precision = 0;  // 0 … 1
  double precision = 0, recall = 0, hit = 0;          // 0 … 1; hit: 1 if any of the first k is relevant
  double ndcg = 0;                                    // 0 … 1
};

/// k = 0: the whole ranking (recip_rank, map, set_P, set_recall, ndcg). All metrics are 0 for a query without relevant or
/// without retrieved documents. Throws kInvalidArgument if scores and relevance differ in length, and for scores that are
/// not finite.
Ranking ranking(const RankedQuery& query, size_t k = 0);

/// The mean over queries. Throws kInvalidArgument without queries, and as ranking().
Ranking mean_ranking(std::span<const RankedQuery> queries, size_t k = 0);

/// scores: a higher score means more likely positive. positive: 0 or 1. NaN if all examples have one class.
/// Throws kInvalidArgument for different lengths, without examples, for scores that are not finite, and for other values of `positive`.
double roc_auc(std::span<const double> scores, std::span<const uint8_t> positive);

/// Arguments and errors as for roc_auc. 0 without a positive example.
double average_precision(std::span<const double> scores, std::span<const uint8_t> positive);

}  // namespace clearhead::metrics
