// Relevance (Chefer, Gur & Wolf 2021b, equations 5 and 6).
//
//   r ← r + mean_h rᵀ(P ⊙ ∂y/∂P)⁺, from the last layer to the first
//
// The shares are r minus its initial value: the contribution of attention, as in their equations 8 and 9. The initial value is subtracted
// because with small gradients it would give the answer's own rows nearly everything. Nothing is stored: the products are computed during
// the backward pass. For an encoder-decoder Transformer the record and dO of each call are stored, because the factors of its
// cross-attention depend on the self-attention of the layers before it.
#include "base/format.h"
#include "clearhead/error.h"
#include "explain/attribution_parts.h"

namespace clearhead::explain {
namespace {

constexpr int64_t kWrittenTokens = 4096;  // limit for the decoder's self-attention, which is stored as a matrix

// Multiplies the vectors with each call's map during the backward pass; stores no maps.
class RelevanceWalk final : public Listener {
 public:
  RelevanceWalk(const AttributionTarget& target, const AttributionOptions& options) : shares(target), options_(options) {
    for (const MapFamily& family : target.plan().families) calls_ += family.layers;
  }
  bool wants_gradient(const Site&) override { return true; }
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override {
    check_cancelled(options_);
    if (record.shape().batch != 1) return;  // attention within each item, not between items
    const Vector& r = shares.of(query_side(site), record.query_length);
    const GradientMap map(record, gradient, GradientLook::kPositive);
    const Vector read = mean_of_heads(map.transposed_times(row_tensor(r), {.cancel = options_.cancel}));
    add(shares.of(key_side(site), key_length(record.keys)), read);
    ++heard_;
    if (options_.progress) options_.progress(static_cast<double>(heard_) / static_cast<double>(std::max(heard_, calls_)));
  }
  Shares shares;

 private:
  const AttributionOptions& options_;
  int64_t calls_ = 0, heard_ = 0;
};

// Returns 0 for a row whose sum is zero; its R̄ is then I.
double divided(double value, double by) { return by == 0 ? 0 : value / by; }

// Relevance of an encoder-decoder. The rows of R are normalised (eq. 8 and 9): R̄ = (R − I)/Σ_j (R − I)_ij + I.
class RelevanceOfPair {
 public:
  RelevanceOfPair(const AttributionTarget& target, const KeptGradients& kept) : target_(target), kept_(kept) {}

  Vector of_ids() {
    const int64_t layers = layers_of(target_, "cross");
    const GradientMap* first = kept_.find("cross", layers - 1);
    if (!first) fail(ErrorCode::kUnsupported, "why: no gradient reached the cross-attention of this model");
    const int64_t written = first->record().query_length, sources = key_length(first->record().keys);
    if (written > kWrittenTokens)
      fail(ErrorCode::kBudget, "why: relevance over {} target tokens; expected at most {}", written, kWrittenTokens);
    // R^ss before each cross-attention, as a matrix [target, target].
    std::vector<Vector> self_after;
    Vector self(static_cast<size_t>(written * written));
    for (int64_t i = 0; i < written; ++i) self[static_cast<size_t>(i * written + i)] = 1;
    std::vector<Vector> layer_maps;
    for (int64_t layer = 0; layer < layers; ++layer) {
      layer_maps.push_back(self_map(layer, written));
      self = plus_product(layer_maps.back(), self, written);
      self_after.push_back(self);
    }
    Vector u = start(target_, written), source(static_cast<size_t>(sources));
    for (int64_t layer = layers - 1; layer >= 0; --layer) {
      if (const GradientMap* cross = kept_.find("cross", layer)) {
        const Vector weights = normalised_times(self_after[static_cast<size_t>(layer)], u, written);
        add(source, mean_of_heads(cross->transposed_times(row_tensor(weights))));
      }
      Vector next = u;
      const Vector& map = layer_maps[static_cast<size_t>(layer)];
      for (int64_t i = 0; i < written; ++i) {
        for (int64_t j = 0; j < written; ++j)
          next[static_cast<size_t>(j)] += u[static_cast<size_t>(i)] * map[static_cast<size_t>(i * written + j)];
      }
      u = next;
    }
    add(u, start(target_, written), -1);
    Vector out(target_.plan().text.ids.size());
    place(target_, "dec", u, out);
    place(target_, "enc", through_encoder(source), out);
    return out;
  }

 private:
  // mean_h (P ⊙ ∂y/∂P)⁺ of the decoder's self-attention; zeros if the layer has none.
  Vector self_map(int64_t layer, int64_t written) const {
    Vector out(static_cast<size_t>(written * written));
    const GradientMap* map = kept_.find("dec", layer);
    if (!map) return out;
    const int64_t heads = map->record().shape().heads;
    for (int64_t head = 0; head < heads; ++head) {
      for (int64_t row = 0; row < written; ++row) {
        const std::vector<float> values = map->row(0, head, row);
        for (int64_t key = 0; key < written; ++key)
          out[static_cast<size_t>(row * written + key)] +=
              static_cast<double>(values[static_cast<size_t>(key)]) / static_cast<double>(heads);
      }
    }
    return out;
  }
  static Vector plus_product(const Vector& a, const Vector& r, int64_t n) {  // r + a·r
    Vector out = r;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t k = 0; k < n; ++k) {
        const double factor = a[static_cast<size_t>(i * n + k)];
        for (int64_t j = 0; j < n && factor != 0; ++j) out[static_cast<size_t>(i * n + j)] += factor * r[static_cast<size_t>(k * n + j)];
      }
    }
    return out;
  }
  static Vector normalised_times(const Vector& r, const Vector& u, int64_t n) {  // R̄·u
    Vector out = u;
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0, product = 0;
      for (int64_t j = 0; j < n; ++j) {
        const double value = r[static_cast<size_t>(i * n + j)] - (i == j ? 1 : 0);
        sum += value;
        product += value * u[static_cast<size_t>(j)];
      }
      out[static_cast<size_t>(i)] += divided(product, sum);
    }
    return out;
  }
  // sᵀ·R̄ of the encoder. R·1 gives the sums of the rows of R.
  Vector through_encoder(const Vector& s) const {
    const int64_t layers = layers_of(target_, "enc");
    Vector ones(s.size(), 1.0), sums = ones;
    for (int64_t layer = 0; layer < layers; ++layer) {
      if (const GradientMap* map = kept_.find("enc", layer)) add(sums, mean_of_heads(map->times(row_tensor(sums))));
    }
    Vector x(s.size());
    for (size_t i = 0; i < s.size(); ++i) x[i] = divided(s[i], sums[i] - 1);
    Vector r = x;
    for (int64_t layer = layers - 1; layer >= 0; --layer) {
      if (const GradientMap* map = kept_.find("enc", layer)) add(r, mean_of_heads(map->transposed_times(row_tensor(r))));
    }
    Vector out = s;
    for (size_t i = 0; i < s.size(); ++i) out[i] += r[i] - x[i];
    return out;
  }

  const AttributionTarget& target_;
  const KeptGradients& kept_;
};

Vector relevance(const AttributionTarget& target, const AttributionOptions& options) {
  InputTape tape;
  if (layers_of(target, "dec") > 0 && layers_of(target, "cross") > 0) {
    KeptGradients kept;
    target.differentiate(tape, &kept);
    return RelevanceOfPair(target, kept).of_ids();
  }
  RelevanceWalk heard(target, options);
  target.differentiate(tape, &heard);
  if (!heard.shares.any()) fail(ErrorCode::kUnsupported, "why: no gradient reached the attention of this model");
  return heard.shares.of_ids_beyond_start();
}

}  // namespace

const Method& relevance_method() {
  static const Method method = {
      .order = 70,
      .name = "relevance",
      .what = "weights times their gradients through all layers (Chefer et al. 2021)",
      .needs_gradients = true,
      .of_ids = relevance,
  };
  return method;
}

}  // namespace clearhead::explain
