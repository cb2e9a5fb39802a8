// Implemented in src/observe.
// Recomputes the exact weights of an attention call, at a cost proportional to what is requested.
//
//   P_ij from its score and the two numbers kept per row (record.h)
//
// No N×N buffer is ever allocated. Repeated looks at one record give the same bits, for any number of threads.
// Every function throws kStale if an operand was opened for writing since the record was made, kInvalidArgument for
// ranges outside the map, kNotFound for rows whose Q was not kept, kBudget for a result of more than a quarter of this
// machine's memory, and kCancelled when the cancel token is set.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/look.h"
#include "clearhead/observer.h"
#include "clearhead/record.h"

namespace clearhead {

struct TileRequest {
  Range queries{}, keys{};
  /// Rows and columns of the result. Cell r of R over n items covers [⌊rn/R⌋, ⌊(r+1)n/R⌋). {0, 0}: one cell per weight.
  std::array<int64_t, 2> cells{0, 0};
  /// > 0, only with cells {0, 0}: a cell covers cell_side × cell_side weights, fewer at the end of the range.
  int64_t cell_side = 0;
  /// Each weight is multiplied by the factor of its key and by the factor of its row, for example to show value norms or
  /// to renormalise. Empty: no factors. Factors must not be negative (kInvalidArgument); a NaN factor excludes its key
  /// or row.
  std::vector<float> key_factors{};  ///< [keys.size()]
  std::vector<float> row_factors{};  ///< [queries.size()]
};

/// Pooled weights: maximum and mean over the visible pairs of each cell, NaN if there are none.
struct Tile {
  Tensor max{}, mean{};  ///< f32 [rows, columns]; the same tensor twice if each cell is one weight
  bool exact = true;     ///< false if rows were sampled
};

struct Weighted {
  int64_t key = 0;
  float score = 0;  ///< in natural units, after all terms
  float weight = 0;
};

/// The weights of one query over all keys.
class MapRow {
 public:
  MapRow() = default;
  MapRow(std::vector<float> weights, std::vector<float> scores) : weights_(std::move(weights)), scores_(std::move(scores)) {}
  /// The `count` keys with the highest scores, in descending order. Ties go to the earlier key; hidden keys are left out.
  std::vector<Weighted> top_k(int64_t count) const;
  const std::vector<float>& weights() const { return weights_; }  ///< [key]
  const std::vector<float>& scores() const { return scores_; }    ///< [key], natural units; −∞ for hidden keys

 private:
  friend class MapHead;
  std::vector<float> weights_, scores_;
};

class AttentionMap;

/// One head of one sequence of a map.
class MapHead {
 public:
  MapRow row(int64_t query) const;
  /// The weights of one key over the queries [begin, end). Their Q must have been kept.
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
  /// Shares the record. Never throws; a stale record is reported by the first look.
  explicit AttentionMap(AttentionRecord record);

  AttentionShape shape() const { return record_->shape(); }
  Range rows_kept() const { return {record_->first_query, record_->first_query + record_->rows_kept()}; }
  bool unpinned() const { return record_->unpinned(); }
  const AttentionRecord& record() const { return *record_; }

  /// The same map, showing the weights that multiply the values: P times the description's `after` (dropout, head mask,
  /// Gaussian). Without after() a map shows P. Statistics of an after map are those of the weights it shows; its rows
  /// need not sum to one. Scores are the same.
  AttentionMap after() const;
  bool is_after() const { return is_after_; }

  /// The same map in another precision; can be combined with after(). Scores are the same.
  ///
  /// kAsUsed rounds the exponentials as the call did and divides by their rounded sum, so rows still sum to one (minus
  /// the weight of a sink logit). On the instruction set that made the record it gives the call's own bits. On another
  /// one scores differ by a few ε, and a weight between two bf16 numbers may be rounded to the other one.
  AttentionMap with(LookPrecision precision) const;
  LookPrecision precision() const { return precision_; }

  MapHead head(int64_t batch, int64_t head) const;
  /// Mean weight that these rows give to these keys, per head: Σ_{i∈rows} Σ_{j∈keys} P_ij / |rows|.  → f32 [batch, head]
  Tensor mass(Range rows, Range keys, const LookOptions& options = {}) const;
  /// The products rᵀP and P·r with whole maps, in O(length) memory, for attention rollout and relevance propagation. Sums
  /// within a key tile and within a block of rows are f32; all other sums are double.
  ///   transposed_times   r: f32 [batch, row], the rows kept, any sign → f32 [batch, head, key]; takes about as long as
  ///                      reduce()
  ///   times              r: f32 [batch, key]                          → f32 [batch, head, row]
  Tensor transposed_times(const Tensor& r, const LookOptions& options = {}) const;
  Tensor times(const Tensor& r, const LookOptions& options = {}) const;
  /// Computes several statistics of every row and key in one pass.
  ReductionResult reduce(const ReductionRequest& request, const LookOptions& options = {}) const;

 private:
  std::shared_ptr<const AttentionRecord> record_;
  bool is_after_ = false;
  LookPrecision precision_ = LookPrecision::kExact;
};

/// The quantity that a GradientMap shows, computed from a weight P_ij and its gradient g_ij = ∂y/∂P_ij = dO_i·v_j
/// (without the contribution of Relative::values).
enum class GradientLook : uint8_t {
  kGradient,  ///< g
  kProduct,   ///< P·g: attention × gradient
  kPositive,  ///< max(0, P·g): evidence for y (Chefer, Gur & Wolf 2021, eq. 5)
  kNegative,  ///< max(0, −P·g): evidence against y
  kRaises,    ///< max(0, g): where more weight would increase y
  kLowers,    ///< max(0, −g): where more weight would decrease y
};

/// Maps of the gradient of a scalar y with respect to the weights of a call. Like the weights they are recomputed on
/// request, exactly and without an N×N buffer. P are the weights that multiply the values (AttentionMap::after). A pair
/// that the description hides has no gradient.
///
/// g is one dot product in f32, with an error of at most d_v·ε·Σ_c|dO_ic·v_jc|. Results have the same bits for any number
/// of threads. Throws as AttentionMap does, and kShape for a gradient that does not fit the record.
class GradientMap {
 public:
  GradientMap(AttentionRecord record, OutputGradient gradient, GradientLook look = GradientLook::kProduct);
  /// The same map, showing another quantity.
  GradientMap with(GradientLook look) const;
  GradientLook look() const { return look_; }
  const AttentionRecord& record() const { return *record_; }

  /// The values of one query over all keys; 0 for hidden keys.
  std::vector<float> row(int64_t batch, int64_t head, int64_t query) const;
  /// The values of one key over the queries.
  std::vector<float> column(int64_t batch, int64_t head, int64_t key, Range queries) const;
  /// Like MapHead::tile, but `max` of a cell is its value of largest magnitude, with its sign.
  Tile tile(int64_t batch, int64_t head, const TileRequest& request, const LookOptions& options = {}) const;
  /// The products rᵀM and M·r with the values M that this map shows, as in AttentionMap.
  Tensor transposed_times(const Tensor& r, const LookOptions& options = {}) const;
  Tensor times(const Tensor& r, const LookOptions& options = {}) const;

 private:
  std::shared_ptr<const AttentionRecord> record_;
  OutputGradient gradient_;
  GradientLook look_;
};

/// An observer that keeps the record of every attention call of a run, to inspect any model. (A Trace also keeps the text,
/// stays within a budget and can be saved.)
///   Maps maps;
///   Compute compute({.observer = &maps});
///   model(compute, ids);
///   maps.at("enc", 3).head(0, 5).row(20)
class Maps final : public Observer {
 public:
  void begin(const RunPlan&) override {}
  bool wants(const Site&) override { return true; }
  /// Keeps a pinned copy of the record. It replaces an earlier record of the same site.
  void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override;

  struct Kept {
    Site site{};
    AttentionMap map;
    KeyNorms norms{};
  };
  const std::vector<Kept>& all() const { return kept_; }  ///< in the order of the calls
  /// Throws kNotFound for a site without a call; the message lists the sites that exist.
  const AttentionMap& at(const std::string& family, int layer, int64_t step = 0) const;

 private:
  std::vector<Kept> kept_{};
};

}  // namespace clearhead
