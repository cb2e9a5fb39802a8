// Room: observe.
// The exact weights of a fused call, recomputed on demand in O(what is asked for).
//
//   P_ij from its score and the two numbers kept of its row (record.h)
//
// Nothing here ever holds an N×N buffer. Two looks at one record give the same bits, for any thread count. All functions throw kStale when an
// operand has been opened for writing since the record was made, kInvalidArgument for ranges outside the map, kNotFound for rows whose Q was not kept,
// kCancelled when the token is set.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clearhead/look.h"
#include "clearhead/record.h"

namespace clearhead {

struct TileRequest {
  Range queries{}, keys{};
  /// Rows and columns of the result; cell r of R over n items covers [⌊rn/R⌋, ⌊(r+1)n/R⌋). {0, 0}: one cell a weight.
  std::array<int64_t, 2> cells{0, 0};
  /// > 0, with cells {0, 0}: a cell covers cell_side × cell_side weights, fewer at the rectangle's end.
  int64_t cell_side = 0;
  /// Each weight is multiplied by its key's and its row's factor (none when empty): value norms, renormalising. Not negative; NaN leaves a key out.
  std::vector<float> key_factors{};  ///< [keys.size()]
  std::vector<float> row_factors{};  ///< [queries.size()]
};

/// Cells of weights: the largest and the mean of those visible, NaN where none is.
struct Tile {
  Tensor max{}, mean{};  ///< f32 [rows, columns]; one and the same tensor where a cell is one weight
  bool exact = true;     ///< false: from sampled rows
};

struct Weighted {
  int64_t key = 0;
  float score = 0;  ///< natural units, after all terms
  float weight = 0;
};

/// One row: the weights of one query over all keys.
class MapRow {
 public:
  MapRow() = default;
  MapRow(std::vector<float> weights, std::vector<float> scores) : weights_(std::move(weights)), scores_(std::move(scores)) {}
  std::vector<Weighted> top_k(int64_t count) const;               ///< by score, ties: the earlier key; hidden keys never
  const std::vector<float>& weights() const { return weights_; }  ///< [key]
  const std::vector<float>& scores() const { return scores_; }    ///< [key], natural units, −∞ where hidden

 private:
  friend class MapHead;
  std::vector<float> weights_, scores_;
};

class AttentionMap;

/// One head of one sequence.
class MapHead {
 public:
  MapRow row(int64_t query) const;
  /// Weights of one key over the queries [begin, end) whose Q is kept.
  std::vector<float> column(int64_t key, Range queries) const;
  Tile tile(const TileRequest& request, const LookOptions& options = {}) const;

 private:
  friend class AttentionMap;
  MapHead(std::shared_ptr<const AttentionRecord> record, int64_t batch, int64_t head, bool is_after, LookPrecision precision);
  std::shared_ptr<const AttentionRecord> record_;
  int64_t batch_ = 0, head_ = 0;
  bool is_after_ = false;
  LookPrecision precision_ = LookPrecision::kExact;
};

class AttentionMap {
 public:
  /// Shares the record. Throws nothing; a stale record is refused at the first look.
  explicit AttentionMap(AttentionRecord record);

  AttentionShape shape() const { return record_->shape(); }
  Range rows_kept() const { return {record_->first_query, record_->first_query + record_->rows_kept()}; }
  bool unpinned() const { return record_->unpinned(); }
  const AttentionRecord& record() const { return *record_; }

  /// The same map with weights as values meet them: times the description's `after` (dropout, head mask, Gaussian). A map shows P before it; statistics of
  /// an after map are of what it shows, which need not sum to one. Scores are the same.
  AttentionMap after() const;
  bool is_after() const { return is_after_; }

  /// The same map in another precision; goes with after(). As used, a row sums to one (less the share of a sink logit) as an exact one does: what is rounded is
  /// divided by the sum of what is rounded. The same bits as the call's own on the instruction set that made the record; on another, scores differ by a few ε
  /// and a weight that lies between two bf16 numbers may round to the other one. Scores are the same.
  AttentionMap with(LookPrecision precision) const;
  LookPrecision precision() const { return precision_; }

  MapHead head(int64_t batch, int64_t head) const;
  /// How much of these queries went to those keys: Σ_{i∈rows} Σ_{j∈keys} P_ij / |rows|, per head.  f32 [batch, head]
  Tensor mass(Range rows, Range keys, const LookOptions& options = {}) const;
  /// Several statistics of every row and key in one pass.
  ReductionResult reduce(const ReductionRequest& request, const LookOptions& options = {}) const;

 private:
  std::shared_ptr<const AttentionRecord> record_;
  bool is_after_ = false;
  LookPrecision precision_ = LookPrecision::kExact;
};

/// Changes of a run's attention, to see what depends on what. They are changes of descriptions, so they work at any length and every look shows them.
struct Interventions {
  struct Head {
    int layer = 0;
    int64_t head = 0;
    std::string family{};  ///< "enc", "dec" or "cross": to be named of an encoder-decoder, else its only one
  };
  /// Queries and keys by their places in their sequences, which are two in cross-attention; of all layers and heads unless named.
  struct Pairs {
    Range queries{}, keys{};
    std::optional<int> layer{};
    std::optional<int64_t> head{};
    std::string family{};  ///< as of a head
  };
  std::vector<Head> ablated{};  ///< the head's output is zero; nothing renormalises (Michel, Levy & Neubig 2019, eq. 2)
  std::vector<Pairs>
      knockouts{};  ///< those queries no longer see those keys; the rest of each row is normalised anew (Geva et al. 2023, §4)
  std::vector<Pairs> keep_only{};  ///< those queries see only those keys
  bool empty() const { return ablated.empty() && knockouts.empty() && keep_only.empty(); }
};
/// Which attention of a model a description is of.
struct InterventionSite {
  int layer = 0;
  int64_t heads = 0;
  std::string_view family{};             ///< interventions that name another one do not touch it
  std::optional<Range> cross_queries{};  ///< of cross-attention: the places of a sequence's queries, which are one sequence after another
};
/// The description under the interventions. Throws kInvalidArgument, naming the intervention, for heads the layer does not have and ranges that run backwards.
AttentionSpec with_interventions(const AttentionSpec& spec, const Interventions& interventions, const InterventionSite& site);

}  // namespace clearhead
