// Parts shared by the attribution methods: vectors over tokens, and the records of one run.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/map.h"
#include "explain/attribution.h"
#include "explain/listener.h"
#include "explain/sides.h"

namespace clearhead::explain {

using Vector = std::vector<double>;

Tensor row_tensor(const Vector& values);  // f32 [1, value]
/// The mean over heads of a tensor [1, head, length].
Vector mean_of_heads(const Tensor& t);
/// 1/n at the n rows from which the answer is read.
Vector start(const AttributionTarget& target, int64_t rows);
void add(Vector& to, const Vector& more, double factor = 1);
/// Adds the shares of a side to the ids that it corresponds to.
void place(const AttributionTarget& target, const std::string& side, const Vector& of_side, Vector& of_ids);
/// The shares of a side by id; zeros elsewhere.
Vector by_id(const AttributionTarget& target, const std::string& side, const Vector& of_side);
int64_t layers_of(const AttributionTarget& target, const std::string& family);
/// The layers of the stack from which the answer is read, in their order.
std::vector<int> layers_of_answer(const AttributionTarget& target);
void check_cancelled(const AttributionOptions& options);
/// The rows of a call from which the answer is read. If the call has only one row, it is that one.
std::vector<int64_t> rows_in(const AttributionTarget& target, const AttentionRecord& record);

/// Keeps the records of all sites, or of one, in the order of the calls.
class Records final : public Observer {
 public:
  explicit Records(std::optional<Site> only = {}) : only_(std::move(only)) {}
  void begin(const RunPlan&) override {}
  bool wants(const Site& site) override { return !only_ || (only_->family == site.family && only_->layer == site.layer); }
  void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override {
    kept.push_back({site, AttentionMap(record.pin()), norms});
  }
  struct Kept {
    Site site{};
    AttentionMap map;
    KeyNorms norms{};
  };
  std::vector<Kept> kept{};

 private:
  std::optional<Site> only_;
};

/// Keeps (P ⊙ ∂y/∂P)⁺ of all calls of a backward pass, the last call first. Attention within each item, not between items, is left out.
class KeptGradients final : public Listener {
 public:
  bool wants_gradient(const Site&) override { return true; }
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override {
    if (record.shape().batch == 1)
      kept.push_back({site, {record.pin(), {gradient.d_out.contiguous(), gradient.values.contiguous()}, GradientLook::kPositive}});
  }
  /// Null for a layer that no gradient reached.
  const GradientMap* find(const std::string& family, int64_t layer) const {
    for (const Kept& one : kept) {
      if (one.site.family == family && one.site.layer == layer) return &one.map;
    }
    return nullptr;
  }
  struct Kept {
    Site site{};
    GradientMap map;
  };
  std::vector<Kept> kept{};
};

/// Vectors on the sides of maps. On the side from which the answer is read, the initial vector has the sum 1.
class Shares {
 public:
  explicit Shares(const AttributionTarget& target) : target_(target) {}
  /// The vector of a side of this length; zeros if nothing has been added to it yet, except on the answer's side.
  Vector& of(const std::string& side, int64_t length) {
    Vector& r = by_side_[side];
    if (r.empty() && side == target_.side()) r = start(target_, length);
    r.resize(static_cast<size_t>(length));
    return r;
  }
  bool any() const { return !by_side_.empty(); }
  Vector of_ids() const {
    Vector out(target_.plan().text.ids.size());
    for (const auto& [side, r] : by_side_) place(target_, side, r, out);
    return out;
  }
  /// The shares minus the initial vector of the answer's rows.
  Vector of_ids_beyond_start() const {
    Vector out = of_ids();
    const auto own = by_side_.find(target_.side());
    if (own != by_side_.end()) {
      Vector begun = start(target_, static_cast<int64_t>(own->second.size()));
      for (double& value : begun) value = -value;
      place(target_, target_.side(), begun, out);
    }
    return out;
  }

 private:
  const AttributionTarget& target_;
  std::map<std::string, Vector> by_side_{};
};

/// A vector over keys: the mean over heads, or a single head.
Vector of_heads(const AttentionShape& shape, const std::optional<int64_t>& head,
                const std::function<void(int64_t head, double factor, Vector& to)>& add_head);

/// The factor of a key's weight in one layer, for of_one_layer().
enum class KeyFactor : uint8_t { kOne, kValueNorm, kOutputNorm };
/// The weights of one layer, summed over the rows of the answer, times a factor of each key: [id].
Vector of_one_layer(const AttributionTarget& target, KeyFactor factor, const AttributionOptions& options);

/// Σ over the rows x of each input of x·∂y/∂x, averaged over runs that start from (k + ½)/steps of the input; a single run starts from the
/// input itself if `at_the_input` is true: [id].
Vector gradients_times_inputs(const AttributionTarget& target, const AttributionOptions& options, int64_t steps, bool at_the_input);

/// The methods of the files in methods/; the build generates this list.
const std::vector<const Method*>& registered_methods();
}  // namespace clearhead::explain
