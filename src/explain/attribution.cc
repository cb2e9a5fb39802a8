// Computes attributions from the records of one run, or from the gradients that a backward pass reports from the last call to the
// first. Vectors are multiplied with whole maps, from the side of each call's queries to the side of its keys (sides.h). Relevance
// multiplies during the backward pass and stores nothing. For an encoder-decoder Transformer it stores the record and dO of each call,
// because the factors of its cross-attention depend on the self-attention of the layers before it.
#include "explain/attribution.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "explain/flow.h"
#include "explain/listener.h"
#include "explain/sides.h"
#include "observe/item_kinds.h"

namespace clearhead::explain {
namespace {

constexpr int64_t kWrittenTokens = 4096;  // limit for relevance, which stores the decoder's self-attention as a matrix
constexpr int64_t kFlowTokens = 128;      // limit for flow, which runs one search per token over all weights
using Vector = std::vector<double>;

Tensor row_tensor(const Vector& values) {
  std::vector<float> row(values.begin(), values.end());
  return Tensor::from(row, {1, static_cast<int64_t>(row.size())});
}

// The mean over heads of a tensor [1, head, length].
Vector mean_of_heads(const Tensor& t) {
  const int64_t heads = t.size(1), length = t.size(2);
  Vector out(static_cast<size_t>(length));
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t at = 0; at < length; ++at)
      out[static_cast<size_t>(at)] += static_cast<double>(t.data<float>()[head * length + at]) / static_cast<double>(heads);
  }
  return out;
}

Vector start(const AttributionTarget& target, int64_t rows) {
  Vector r(static_cast<size_t>(rows));
  for (const int64_t row : target.rows()) r[static_cast<size_t>(row)] = 1 / static_cast<double>(target.rows().size());
  return r;
}

void add(Vector& to, const Vector& more, double factor = 1) {
  for (size_t i = 0; i < to.size(); ++i) to[i] += factor * more[i];
}

// Adds the shares of a side to the ids that it corresponds to.
void place(const AttributionTarget& target, const std::string& side, const Vector& of_side, Vector& of_ids) {
  const Range ids = ids_of_side(target.plan(), side);
  for (size_t at = 0; at < of_side.size() && static_cast<int64_t>(at) < ids.size(); ++at)
    of_ids[static_cast<size_t>(ids.begin) + at] += of_side[at];
}

int64_t layers_of(const AttributionTarget& target, const std::string& name) {
  for (const MapFamily& family : target.plan().families) {
    if (family.name == name) return family.layers;
  }
  return 0;
}

void check_cancelled(const AttributionOptions& options) {
  if (options.cancel && options.cancel->load()) fail(ErrorCode::kCancelled, "why: cancelled");
}

// The rows of a call from which the answer is read. If the call has only one row, it is that one.
std::vector<int64_t> rows_in(const AttributionTarget& target, const AttentionRecord& record) {
  return record.query_length == 1 ? std::vector<int64_t>{0} : target.rows();
}

// Keeps the records of the wanted sites, in the order of the calls.
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

// Vectors on the sides of maps. On the side from which the answer is read, the initial vector has the sum 1.
class Shares {
 public:
  explicit Shares(const AttributionTarget& target) : target_(target) {}
  // The vector of a side of this length; zeros if nothing has been added to it yet, except on the answer's side.
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
  // The shares minus the initial vector of the answer's rows.
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

// A vector over keys: the mean over heads, or a single head.
Vector of_heads(const AttentionShape& shape, const std::optional<int64_t>& head,
                const std::function<void(int64_t head, double factor, Vector& to)>& add_head) {
  if (head && (*head < 0 || *head >= shape.heads))
    fail(ErrorCode::kInvalidArgument, "why: head {} is out of range: the layer has {} heads, counted from 0", *head, shape.heads);
  Vector out(static_cast<size_t>(shape.keys));
  for (int64_t at = head.value_or(0); at < (head ? *head + 1 : shape.heads); ++at)
    add_head(at, head ? 1.0 : 1 / static_cast<double>(shape.heads), out);
  return out;
}

Vector last_layer(const AttributionTarget& target, Method method, const AttributionOptions& options) {
  const Site site = looked_at(target, options.layer);
  Records records(site);
  target.run(&records);
  if (records.kept.empty())
    fail(ErrorCode::kUnsupported, "why: this model reports no attention of the family \"{}\" in layer {}", site.family, site.layer);
  const Records::Kept& found = records.kept.back();
  const AttentionMap map = found.map.after();
  const AttentionShape shape = map.shape();
  const KeyNorms& norms = found.norms;
  if (method == Method::kOutputWeighted && !norms.output.defined())
    fail(ErrorCode::kUnsupported, "why: this method needs the norms of projected values, which this model does not report");
  const int64_t group = norms.value.defined() ? shape.heads / norms.value.size(1) : 1;
  const Vector keys = of_heads(shape, options.head, [&](int64_t head, double factor, Vector& to) {
    for (const int64_t row : rows_in(target, map.record())) {
      const MapRow weights = map.head(0, head).row(row);
      const float* norm = method == Method::kValueWeighted    ? norms.value.data<float>() + head / group * shape.keys
                          : method == Method::kOutputWeighted ? norms.output.data<float>() + head * shape.keys
                                                              : nullptr;
      for (size_t key = 0; key < to.size(); ++key)
        to[key] += factor * static_cast<double>(weights.weights()[key]) * (norm ? static_cast<double>(norm[key]) : 1.0);
    }
  });
  Vector of_ids(target.plan().text.ids.size());
  place(target, key_side(found.site), keys, of_ids);
  return of_ids;
}

// Method::kMixed. It is only for models that read a single text, so the keys are the text's ids.
Vector mixed(const AttributionTarget& target, const AttributionOptions& options) {
  if (options.head) fail(ErrorCode::kInvalidArgument, "mixed: this method combines all heads of a layer; expected no --head");
  return target.mixed_norms(looked_at(target, options.layer).layer);
}

Vector rollout(const AttributionTarget& target, const AttributionOptions& options) {
  Records records;
  target.run(&records);
  Shares shares(target);
  for (size_t left = records.kept.size(); left > 0; --left) {
    check_cancelled(options);
    const auto& [site, map, norms] = records.kept[left - 1];
    if (map.shape().batch != 1) continue;  // attention within each item, not between items
    Vector& r = shares.of(query_side(site), map.shape().queries);
    const Vector read = mean_of_heads(map.after().transposed_times(row_tensor(r), {.cancel = options.cancel}));
    for (double& share : r) share *= 0.5;
    add(shares.of(key_side(site), map.shape().keys), read, 0.5);
    if (options.progress) options.progress(static_cast<double>(records.kept.size() - left + 1) / static_cast<double>(records.kept.size()));
  }
  return shares.of_ids();
}

// For a single stack of tokens. The capacities of each layer are ½P + ½I, as in rollout.
Vector flow(const AttributionTarget& target, const AttributionOptions& options) {
  Records records;
  target.run(&records);
  const MapFamily& family = target.plan().families.front();
  if (target.plan().families.size() != 1 || family.queries != family.keys || family.is_part)
    fail(ErrorCode::kUnsupported, "why: attention flow needs a model with self-attention over a single sequence, which {} does not have",
         target.name());
  const int64_t tokens = family.keys;
  if (tokens > kFlowTokens)
    fail(ErrorCode::kBudget, "why: attention flow searches all weights once per token; expected a text of at most {} tokens, found {}",
         kFlowTokens, tokens);
  std::vector<Vector> layers;
  for (const Records::Kept& kept : records.kept) {
    const AttentionMap map = kept.map.after();
    Vector capacities(static_cast<size_t>(tokens * tokens));
    const int64_t heads = map.shape().heads;
    for (int64_t head = 0; head < heads; ++head) {
      const Tensor weights = map.head(0, head).tile({.queries = {0, tokens}, .keys = {0, tokens}}).max;
      for (size_t i = 0; i < capacities.size(); ++i) {
        const float weight = weights.data<float>()[i];
        if (weight > 0) capacities[i] += static_cast<double>(weight) / (2 * static_cast<double>(heads));
      }
    }
    for (int64_t i = 0; i < tokens; ++i) capacities[static_cast<size_t>(i * tokens + i)] += 0.5;
    layers.push_back(std::move(capacities));
  }
  check_cancelled(options);
  Vector out(static_cast<size_t>(tokens));
  for (const int64_t row : target.rows()) add(out, attention_flow(layers, tokens, row), 1 / static_cast<double>(target.rows().size()));
  return out;
}

// Takes P ⊙ ∂y/∂P of one layer when the backward pass reaches it.
class OneGradient final : public Listener {
 public:
  OneGradient(const AttributionTarget& target, const AttributionOptions& options, Site site)
      : target_(target), options_(options), site_(std::move(site)) {}
  bool wants_gradient(const Site& site) override { return site.family == site_.family && site.layer == site_.layer; }
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override {
    const GradientMap map(record, gradient);
    side = key_side(site);
    keys = of_heads(record.shape(), options_.head, [&](int64_t head, double factor, Vector& to) {
      for (const int64_t row : rows_in(target_, record)) {
        const std::vector<float> of_row = map.row(0, head, row);
        for (size_t key = 0; key < to.size(); ++key) to[key] += factor * static_cast<double>(of_row[key]);
      }
    });
  }
  Vector keys{};
  std::string side{};

 private:
  const AttributionTarget& target_;
  const AttributionOptions& options_;
  Site site_;
};

Vector attention_gradient(const AttributionTarget& target, const AttributionOptions& options) {
  const Site site = looked_at(target, options.layer);
  OneGradient heard(target, options, site);
  InputTape tape;
  target.differentiate(tape, &heard);
  if (heard.keys.empty())
    fail(ErrorCode::kUnsupported, "why: no gradient reached the attention of the family \"{}\" in layer {}", site.family, site.layer);
  Vector of_ids(target.plan().text.ids.size());
  place(target, heard.side, heard.keys, of_ids);
  return of_ids;
}

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

// Keeps the gradient maps of all calls, for an encoder-decoder.
class KeptGradients final : public Listener {
 public:
  bool wants_gradient(const Site&) override { return true; }
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override {
    maps.insert_or_assign(std::pair(site.family, site.layer),
                          GradientMap(record.pin(), {gradient.d_out.contiguous(), gradient.values.contiguous()}, GradientLook::kPositive));
  }
  const GradientMap* find(const std::string& family, int64_t layer) const {
    const auto found = maps.find({family, static_cast<int>(layer)});
    return found == maps.end() ? nullptr : &found->second;
  }
  std::map<std::pair<std::string, int>, GradientMap> maps{};
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

bool covers_steps(const ItemRange& range) {
  const PictureItem* kind = picture_item(range.kind);
  return kind && kind->of_steps;
}

// Adds the shares of the rows of features to the items that cover them: the steps of a spectrogram to the frames of a sound.
bool place_steps(const AttributionTarget& target, const Vector& of_steps, Vector& of_ids) {
  const auto& ranges = target.plan().text.items;
  const auto items = std::find_if(ranges.begin(), ranges.end(), covers_steps);
  if (items == ranges.end()) return false;
  const int64_t each = items->picture.size(1) / (items->end - items->begin);
  for (size_t step = 0; step < of_steps.size(); ++step)
    of_ids[static_cast<size_t>(std::min(items->end - 1, items->begin + static_cast<int64_t>(step) / each))] += of_steps[step];
  return true;
}

// The side that an input of the tape belongs to; networks from the literature read their source first.
std::string side_of(const AttributionTarget& target, const InputTape& tape, size_t input) {
  if (!tape.inputs[input].family.empty()) return tape.inputs[input].family;
  return tape.inputs.size() == 1 ? target.side() : input == 0 ? "source" : "target";
}

// Adds x·∂y/∂x of each row x of each input.
void add_gradient_times_input(const AttributionTarget& target, const InputTape& tape, double factor, Vector& of_ids) {
  for (size_t input = 0; input < tape.inputs.size(); ++input) {
    const auto& [_, values, gradient] = tape.inputs[input];
    if (!gradient.defined()) continue;
    const int64_t rows = values.size(0), width = values.size(1);
    Vector shares(static_cast<size_t>(rows));
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t c = 0; c < width; ++c)
        shares[static_cast<size_t>(row)] += factor * static_cast<double>(values.data<float>()[row * width + c]) *
                                            static_cast<double>(gradient.data<float>()[row * width + c]);
    }
    if (tape.inputs[input].family == "features" && place_steps(target, shares, of_ids)) continue;
    place(target, side_of(target, tape, input), shares, of_ids);
  }
}

Vector integrated(const AttributionTarget& target, const AttributionOptions& options, int64_t steps, bool at_the_input) {
  const auto& ranges = target.plan().text.items;
  // The embeddings of a replayed run are named after the side that they belong to.
  if (target.has_model() && !std::all_of(ranges.begin(), ranges.end(), covers_steps))
    fail(ErrorCode::kUnsupported,
         "why: this method needs an embedding of each explained item, but the items of this model are sentences, statements, patches or "
         "intervals");
  Vector of_ids(target.plan().text.ids.size());
  for (int64_t step = 0; step < steps; ++step) {
    check_cancelled(options);
    InputTape tape;
    tape.scale = at_the_input ? 1.0F : static_cast<float>((static_cast<double>(step) + 0.5) / static_cast<double>(steps));
    target.differentiate(tape, nullptr);
    add_gradient_times_input(target, tape, 1 / static_cast<double>(steps), of_ids);
    if (options.progress) options.progress(static_cast<double>(step + 1) / static_cast<double>(steps));
  }
  return of_ids;
}

Vector occlusion(const AttributionTarget& target, const AttributionOptions& options) {
  constexpr size_t kTogether = 64;
  const size_t items = target.items().size();
  Vector out(items, std::numeric_limits<double>::quiet_NaN());
  for (size_t begin = 0; begin < items; begin += kTogether) {
    if (options.cancel && options.cancel->load()) return out;
    std::vector<std::vector<uint8_t>> sets;
    for (size_t item = begin; item < std::min(items, begin + kTogether); ++item) {
      sets.emplace_back(items);
      sets.back()[item] = 1;
    }
    const std::vector<double> without = target.answers(sets, options.removal);
    for (size_t at = 0; at < without.size(); ++at) out[begin + at] = target.probability() - without[at];
    if (options.progress) options.progress(static_cast<double>(std::min(items, begin + kTogether)) / static_cast<double>(items));
  }
  return out;
}

}  // namespace

const std::vector<MethodInfo>& attribution_methods() {
  static const std::vector<MethodInfo> methods = {
      {Method::kAttention, "attention", "weights of the last layer, mean over heads", false, true, true},
      {Method::kRollout, "rollout", "weights of all layers multiplied (Abnar & Zuidema 2020)", false},
      {Method::kFlow, "flow", "maximum flow through the weights of all layers (Abnar & Zuidema 2020)", false},
      {Method::kValueWeighted, "value-weighted", "weight times the value's norm, last layer (Kobayashi et al. 2020)", false, true, true},
      {Method::kOutputWeighted, "output-weighted", "weight times the norm of the projected value, last layer (Kobayashi et al. 2020)",
       false, true, true},
      {Method::kMixed, "mixed", "all heads together, with residual and norm, last layer (Kobayashi et al. 2021)", false, true},
      {Method::kAttentionGradient, "attention-gradient", "weight times its gradient, last layer", true, true, true},
      {Method::kRelevance, "relevance", "weights times their gradients through all layers (Chefer et al. 2021)", true},
      {Method::kGradientInput, "gradient-input", "embedding times its gradient", true},
      {Method::kIntegrated, "integrated-gradients",
       "embedding times its gradient, averaged along the path from zeros (Sundararajan et al. 2017)", true},
      {Method::kOcclusion, "occlusion", "decrease in the answer's probability when the item is removed", false},
  };
  return methods;
}

const MethodInfo& method_named(const std::string& name) {
  std::string names;
  for (const MethodInfo& info : attribution_methods()) {
    if (name == info.name) return info;
    names += (names.empty() ? "" : ", ") + std::string(info.name);
  }
  fail(ErrorCode::kNotFound, "there is no method \"{}\"; the methods are {}", name, names);
}

void check_used(const AttributionOptions& options, const std::vector<MethodInfo>& methods, const AttributionTarget& target) {
  const auto check = [&](const char* what, bool MethodInfo::*uses) {
    if (std::any_of(methods.begin(), methods.end(), [&](const MethodInfo& info) { return info.*uses; })) return;
    std::string names;
    for (const MethodInfo& info : attribution_methods()) {
      if (info.*uses) names += (names.empty() ? "" : ", ") + std::string(info.name);
    }
    fail(ErrorCode::kInvalidArgument, "why: a {0} can be set only for the methods {1}; {2} uses every {0}", what, names,
         methods.size() == 1 ? methods[0].name : "each requested method");
  };
  if (options.layer) check("layer", &MethodInfo::of_a_layer);
  if (options.head) check("head", &MethodInfo::of_heads);
  if (options.layer) (void)looked_at(target, options.layer);
}

std::vector<double> attribute(const AttributionTarget& target, Method method, const AttributionOptions& options) {
  switch (method) {
    case Method::kAttention:
    case Method::kValueWeighted:
    case Method::kOutputWeighted: return target.by_item(last_layer(target, method, options));
    case Method::kMixed: return target.by_item(mixed(target, options));
    case Method::kRollout: return target.by_item(rollout(target, options));
    case Method::kFlow: return target.by_item(flow(target, options));
    case Method::kAttentionGradient: return target.by_item(attention_gradient(target, options));
    case Method::kRelevance: return target.by_item(relevance(target, options));
    case Method::kGradientInput: return target.by_item(integrated(target, options, 1, /*at_the_input=*/true));
    case Method::kIntegrated: return target.by_item(integrated(target, options, options.steps, /*at_the_input=*/false));
    case Method::kOcclusion: break;
  }
  return occlusion(target, options);
}

int64_t runs_of(const AttributionTarget& target, Method method, const AttributionOptions& options) {
  constexpr int64_t kForwardAndBack = 3;
  switch (method) {
    case Method::kAttention:
    case Method::kValueWeighted:
    case Method::kOutputWeighted:
    case Method::kMixed:
    case Method::kRollout:
    case Method::kFlow: return 1;
    case Method::kAttentionGradient:
    case Method::kRelevance:
    case Method::kGradientInput: return kForwardAndBack;
    case Method::kIntegrated: return kForwardAndBack * options.steps;
    case Method::kOcclusion: break;
  }
  return static_cast<int64_t>(target.items().size());
}

}  // namespace clearhead::explain
