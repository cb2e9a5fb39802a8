// Resolves a description's operands to pointers and strides of one head. Block sizes of lists are limited to the number
// of queries and keys.
#include "backends/cpu/score/score_view.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/format.h"
#include "spec/keep.h"
#include "tensor/convert.h"

namespace clearhead::cpu {

namespace {

struct KindOf {
  WeightKind operator()(const Softmax&) const { return WeightKind::kSoftmax; }
  WeightKind operator()(const Sparsemax&) const { return WeightKind::kSparsemax; }
  WeightKind operator()(const Entmax15&) const { return WeightKind::kEntmax15; }
  WeightKind operator()(const Sigmoid&) const { return WeightKind::kSigmoid; }
  WeightKind operator()(const Hard&) const { return WeightKind::kHard; }
  WeightKind operator()(const LinearAttention&) const { return WeightKind::kLinear; }
};

}  // namespace

namespace {

// Returns f32 queries unchanged, bf16 queries as words of two channels.
Tensor queries_of(const Tensor& q) { return q.dtype() == DType::kBF16 ? bf16_words(q) : q; }

// Number of words of two channels that one TDPBF16PS reads from a row of d channels; 0 if d is not a multiple of 16.
int64_t amx_step_of(int64_t d) { return d % 32 == 0 ? 16 : d % 16 == 0 ? 8 : 0; }

}  // namespace

Tensor bf16_words(const Tensor& tensor) {
  bool as_it_is = tensor.size(3) % 2 == 0 && tensor.stride(3) == 1 && reinterpret_cast<uintptr_t>(tensor.raw()) % 4 == 0;
  for (int axis = 0; axis < 3; ++axis) as_it_is = as_it_is && tensor.stride(axis) % 2 == 0;
  if (as_it_is) return tensor;
  Tensor out = Tensor::zeros({tensor.size(0), tensor.size(1), tensor.size(2), (tensor.size(3) + 1) / 2 * 2}, DType::kBF16);
  Tensor part = out.slice(3, 0, tensor.size(3));
  convert(tensor, part);
  return out;
}

WeightKind kind_of(const Normaliser& normaliser) { return std::visit(KindOf{}, normaliser); }

ScoreProblem::ScoreProblem(const AttentionSpec& spec, const Tensor& q, const Keys& keys, int64_t first_query, int64_t query_length,
                           Products products)
    : spec_(spec), q_(queries_of(q)), keys_(keys), batch_(q.size(0)), heads_(q.size(1)), key_heads_(std::max<int64_t>(1, key_heads(keys))) {
  common_.d_k = q.size(3);
  common_.key_length = key_length(keys);
  common_.query_length = query_length;
  common_.first_query = first_query;
  common_.rows = q.size(2);
  common_.query_stride = q.stride(2);
  common_.query_channel = q.stride(3);
  if (products != Products::kF32) {
    common_.is_bf16 = true;
    if (products == Products::kAmx) common_.amx_step = amx_step_of(q_.size(3));
    common_.d_k = q_.size(3) / 2;
    common_.query_stride = q_.stride(2) / 2;
    common_.query_channel = 1;
    if (const auto* tensor = std::get_if<Tensor>(&keys)) {
      rows_ = bf16_words(*tensor);
      common_.key_stride = rows_.stride(2) / 2;
    }
  } else if (const auto* tensor = std::get_if<Tensor>(&keys)) {
    rows_ = tensor->size(3) <= 1 || tensor->stride(3) == 1 ? *tensor : tensor->contiguous();
    common_.key_stride = rows_.stride(2);
  }
  common_.kind = kind_of(spec.normaliser);
  const Hard* hard = std::get_if<Hard>(&spec.normaliser);
  common_.by_score_function = hard && hard->gradient == Hard::Gradient::kScoreFunction;
  common_.band = &spec.topology.band;
  common_.position_offset = first_position(spec.topology.band, query_length, common_.key_length);
  add_score_function();
  add_lists();
  add_rules();
  add_terms();
  add_segments();
  add_pages();
}

// Pointers are taken once, because Tensor::data is a function call and decoding moves to a new page every few
// microseconds.
void ScoreProblem::add_pages() {
  const auto* paged = std::get_if<PagedKV>(&keys_);
  if (!paged) return;
  common_.page_dtype = paged->dtype;
  page_count_ = (paged->length + KVPage::kLength - 1) / KVPage::kLength;
  for (const auto& sequence : paged->pages) {
    for (int64_t page = 0; page < page_count_; ++page) {
      // A page is null if it was released; its keys are then hidden.
      const KVPage* from = sequence[static_cast<size_t>(page)].get();
      key_pages_.push_back(from ? from->keys.raw() : nullptr);
      value_pages_.push_back(from && from->values.defined() ? from->values.raw() : nullptr);
      if (page_count_ == 1 && from) common_.page_keys = from->length();  // pages of a longer sequence have full length
    }
  }
}

void ScoreProblem::add_score_function() {
  const Additive* additive = std::get_if<Additive>(&spec_.score);
  common_.query_factor = additive ? 1 : static_cast<float>(scale_of(spec_.score, key_width(keys_)) * std::numbers::log2e);
  if (common_.is_bf16) std::swap(common_.query_factor, common_.product_factor);
  if (const auto* relative = std::get_if<Relative>(&spec_.score)) {
    common_.relative.reach = reach_of(*relative);
    offset_keys_ = relative->keys.contiguous();
    if (relative->queries) offset_queries_ = relative->queries->contiguous();
    if (relative->query_bias) offset_bias_ = relative->query_bias->contiguous();
    if (relative->values) offset_values_ = relative->values->contiguous();
  }
  if (!additive) return;
  common_.function.kind =
      additive->activation == Additive::Activation::kTanh ? ScoreFunction::Kind::kTanh : ScoreFunction::Kind::kLeakyRelu;
  common_.function.slope = additive->slope;
  const Tensor weight = additive->weight.contiguous();
  const float* from = weight.numel() > 0 ? weight.data<float>() : nullptr;
  for (int64_t head = 0; from && head < weight.size(0); ++head, from += common_.d_k) {
    for (const float unit : {kLog2E, 1.0F}) {
      for (int64_t c = 0; c < common_.d_k; ++c) additive_weights_.push_back(from[c] * unit);
    }
  }
}

void ScoreProblem::add_lists() {
  if (!spec_.topology.block_sparse) return;
  list_offsets_ = spec_.topology.block_sparse->offsets.contiguous();
  list_keys_ = spec_.topology.block_sparse->keys.contiguous();
  // No kernel visits the part of a block beyond the last query or key.
  common_.lists.query_block = std::min(spec_.topology.block_sparse->query_block, std::max<int64_t>(1, common_.query_length));
  common_.lists.key_block = std::min(spec_.topology.block_sparse->key_block, std::max<int64_t>(1, common_.key_length));
}

void ScoreProblem::add_rules() {
  for (const Term& term : spec_.terms) {
    const auto* rule = std::get_if<Rule>(&term);
    if (rule) add_rule(*rule, false);
  }
  if (!spec_.topology.visible) return;
  add_rule(*spec_.topology.visible, true);
  visible_bounds_.emplace(*spec_.topology.visible);
  for (int64_t map = 0; map < batch_ * heads_; ++map) visible_.push_back(rule_use(rules_.size() - 1, map, true));
}

void ScoreProblem::add_rule(const Rule& rule, bool is_visibility) {
  const RuleProgram& program = *rules_.emplace_back(std::make_unique<RuleProgram>(rule, is_visibility));
  rule_scratch_.push_back(common_.rule_floats);
  common_.rule_floats += program.tile_floats();
  const int64_t floats = program.scalar_count() * RuleProgram::kScalarFloats;
  std::vector<float>& scalars = rule_scalars_.emplace_back(static_cast<size_t>(batch_ * heads_ * floats));
  for (int64_t map = 0; map < batch_ * heads_; ++map) program.write_scalars(map / heads_, map % heads_, scalars.data() + map * floats);
}

// The rule as applied to one head. `guards` says whether it must keep hidden pairs hidden. It need not if it is the first
// term that may hide pairs (no bias or rule precedes it) and only adds to the score or subtracts from it.
RuleUse ScoreProblem::rule_use(size_t rule, int64_t map, bool may_hide) const {
  const RuleProgram& program = *rules_[rule];
  const float* scalars = rule_scalars_[rule].data() + map * program.scalar_count() * RuleProgram::kScalarFloats;
  return {&program, may_hide || !(program.adds || program.subtracts), scalars, rule_scratch_[rule]};
}

// Returns true if the visibility rule has the same scalars for two heads.
bool ScoreProblem::has_scalars_of(int64_t map, int64_t other) const {
  const RuleUse &one = visible_[static_cast<size_t>(map)], &two = visible_[static_cast<size_t>(other)];
  return std::equal(one.scalars, one.scalars + one.program->scalar_count() * RuleProgram::kScalarFloats, two.scalars);
}

bool ScoreProblem::hides_by_offset() const {
  constexpr int64_t kFewRows = 48;
  return !visible_.empty() && visible_[0].program->result.bank == RuleBank::kOffset && common_.rows >= kFewRows && common_.key_length > 0;
}

void ScoreProblem::add_terms() {
  if (spec_.terms.empty() && !offset_keys_.defined()) return;
  for (const Term& term : spec_.terms) {
    if (const auto* edges = std::get_if<EdgeBias>(&term)) edge_biases_.push_back(edges->bias.contiguous());
  }
  terms_.resize(static_cast<size_t>(batch_ * heads_));
  for (int64_t index = 0; index < batch_ * heads_; ++index) {
    const int64_t batch = index / heads_, head = index % heads_;
    size_t edge_terms = 0, rules = 0;
    bool may_hide = false;
    if (offset_keys_.defined()) terms_[static_cast<size_t>(index)].push_back({.kind = ScoreTerm::Kind::kOffsets});
    for (const Term& term : spec_.terms) {
      ScoreTerm out;
      if (const auto* alibi = std::get_if<Alibi>(&term)) {
        out.kind = ScoreTerm::Kind::kAlibi;
        out.slope = alibi->slopes.data<float>()[head * alibi->slopes.stride(0)] * kLog2E;
      } else if (const auto* soft_cap = std::get_if<SoftCap>(&term)) {
        out.kind = ScoreTerm::Kind::kSoftCap;
        out.cap = soft_cap->cap * kLog2E;
        out.inverse_cap = 1.0F / out.cap;
      } else if (const auto* dense = std::get_if<AttentionBias>(&term)) {
        out.kind = ScoreTerm::Kind::kDense;
        out.bias = dense->bias.data<float>() + batch * broadcast_stride(dense->bias, 0) + head * broadcast_stride(dense->bias, 1);
        out.query_stride = broadcast_stride(dense->bias, 2);
        out.key_stride = dense->bias.stride(3);
      } else if (std::holds_alternative<EdgeBias>(term)) {
        const Tensor& bias = edge_biases_[edge_terms++];
        out.kind = ScoreTerm::Kind::kDense;
        out.per_edge = true;
        out.bias = bias.data<float>() + batch * broadcast_stride(bias, 0) + head * broadcast_stride(bias, 1);
      } else {
        out.kind = ScoreTerm::Kind::kRule;
        out.rule = rule_use(rules++, index, may_hide);
      }
      may_hide = may_hide || out.kind == ScoreTerm::Kind::kDense || out.kind == ScoreTerm::Kind::kRule;
      terms_[static_cast<size_t>(index)].push_back(out);
    }
  }
}

void ScoreProblem::add_segments() {
  if (!spec_.topology.segments) return;
  const Tensor& keys = spec_.topology.segments->keys;
  for (int64_t batch = 0; batch < keys.size(0); ++batch) {
    SegmentBounds bounds;
    const int32_t* ids = keys.data<int32_t>() + batch * keys.stride(0);
    for (int64_t begin = 0; begin < common_.key_length; begin += kKeyTile) {
      int32_t low = INT32_MAX, high = INT32_MIN;
      for (int64_t j = begin; j < std::min(begin + kKeyTile, common_.key_length); ++j) {
        low = std::min(low, ids[j * keys.stride(1)]);
        high = std::max(high, ids[j * keys.stride(1)]);
      }
      bounds.low.push_back(low);
      bounds.high.push_back(high);
    }
    segment_bounds_.push_back(std::move(bounds));
  }
}

AfterView ScoreProblem::after_view(int64_t batch, int64_t head) const {
  const AfterNormaliser& after = spec_.after;
  AfterView out;
  out.batch = batch, out.head = head;
  double factor = 1;
  if (after.dropout && after.dropout->rate > 0) {
    out.drops = true;
    out.dropped_below = dropped_below(*after.dropout);
    out.seed = after.dropout->seed;
    factor = 1 / (1 - static_cast<double>(after.dropout->rate));
  }
  if (after.head_mask) factor *= static_cast<double>(after.head_mask->data<float>()[head * after.head_mask->stride(0)]);
  out.factor = static_cast<float>(factor);
  if (after.gaussian) {
    const Tensor& centres = after.gaussian->centres;
    const double sigma = static_cast<double>(after.gaussian->sigma);
    out.centres = centres.data<float>() + batch * broadcast_stride(centres, 0) + head * broadcast_stride(centres, 1);
    out.centre_stride = centres.stride(2);
    out.narrowness = static_cast<float>(std::numbers::log2e / (2 * sigma * sigma));
  }
  return out;
}

ScoreView ScoreProblem::view(int64_t batch, int64_t head) const {
  ScoreView out = common_;
  const auto from = [&](const Tensor& tensor, int64_t of_head) {  // for bf16, offsets count words of 32 bits
    const int64_t place = batch * tensor.stride(0) + of_head * tensor.stride(1);
    return common_.is_bf16 ? reinterpret_cast<const float*>(tensor.raw()) + place / 2 : tensor.data<float>() + place;
  };
  out.queries = from(q_, head);
  out.key_head = head / group();
  if (std::holds_alternative<PagedKV>(keys_)) {
    out.pages = key_pages_.data() + batch * page_count_;
    out.value_pages = value_pages_.data() + batch * page_count_;
  } else {
    out.keys = from(rows_, out.key_head);
  }
  out.batch = batch;
  out.head = head;
  const auto table = [&](const Tensor& t) {
    return t.defined() && t.numel() > 0 ? t.data<float>() + head * broadcast_stride(t, 0) : nullptr;
  };
  out.relative.keys = table(offset_keys_);
  out.relative.queries = table(offset_queries_);
  out.relative.query_bias = table(offset_bias_);
  out.relative.values = table(offset_values_);
  if (!additive_weights_.empty()) {
    const Tensor& weight = std::get<Additive>(spec_.score).weight;
    out.function.weight = additive_weights_.data() + (weight.size(0) == 1 ? 0 : head) * 2 * out.d_k;
    out.function.natural_weight = out.function.weight + out.d_k;
  }
  if (visible_bounds_) {
    out.visible = &visible_[static_cast<size_t>(batch * heads_ + head)];
    out.visible_bounds = &*visible_bounds_;
    if (!visible_offsets_.empty()) out.visible_offsets = visible_offsets_[static_cast<size_t>(batch * heads_ + head)].get();
  }
  if (!terms_.empty()) out.terms = &terms_[static_cast<size_t>(batch * heads_ + head)];
  if (const auto& segments = spec_.topology.segments) {
    const Tensor &queries = segments->queries, &keys = segments->keys;
    out.query_segments = queries.data<int32_t>() + batch * broadcast_stride(queries, 0);
    out.key_segments = keys.data<int32_t>() + batch * broadcast_stride(keys, 0);
    out.query_segment_stride = queries.stride(1);
    out.key_segment_stride = keys.stride(1);
    out.segment_bounds = &segment_bounds_[segment_bounds_.size() == 1 ? 0 : static_cast<size_t>(batch)];
  }
  if (const auto& mask = spec_.topology.mask) {
    const Tensor& visible = mask->visible;
    out.mask = reinterpret_cast<const uint8_t*>(visible.raw()) + batch * broadcast_stride(visible, 0) + head * broadcast_stride(visible, 1);
    out.mask_query_stride = broadcast_stride(visible, 2);
    out.mask_key_stride = visible.stride(3);
  }
  if (list_offsets_.defined()) {
    const auto of = [&](const Tensor& t) { return t.data<int32_t>() + batch * broadcast_stride(t, 0) + head * broadcast_stride(t, 1); };
    out.lists.offsets = of(list_offsets_);
    out.lists.blocks = of(list_keys_);
  }
  out.after = after_view(batch, head);
  const Softmax* softmax = std::get_if<Softmax>(&spec_.normaliser);
  if (softmax && softmax->sinks) out.sink = softmax->sinks->data<float>() + head * softmax->sinks->stride(0);
  return out;
}

}  // namespace clearhead::cpu
