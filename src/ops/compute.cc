// The public interface of the ops: each method allocates its result and calls the op in src/ops, which is recorded if the run
// has a recorder.
//
// Results live as long as a tensor refers to them (Run::result). Temporary memory of an op belongs to the arena until the op
// returns.
#include "clearhead/compute.h"

#include <utility>

#include "base/format.h"
#include "base/random.h"
#include "ops/compute_state.h"
#include "ops/run_compute.h"

namespace clearhead {
namespace {

Tensor reduce(Run& run, ops::Reduction reduction, const Tensor& x, int axis) {
  x.size(axis);  // throws for an axis that does not exist
  Shape shape = x.shape();
  shape.erase(shape.begin() + (axis < 0 ? axis + x.rank() : axis));
  Tensor out = run.result(shape);
  ops::reduce(run, reduction, x, axis, out);
  return out;
}

// Views a sequence as an image of height 1; like() turns the result back into a sequence.
Tensor plane_of(const char* op, const Tensor& x) {
  if (x.rank() == 4) return x;
  if (x.rank() != 3) {
    fail(ErrorCode::kShape, "{}: found {}; expected [batch, channels, height, width] or [batch, channels, length]", op,
         to_string(x.shape()));
  }
  return x.reshape({x.size(0), x.size(1), 1, x.size(2)});
}

Tensor like(const Tensor& x, const Tensor& out) { return x.rank() == 4 ? out : out.reshape({out.size(0), out.size(1), out.size(3)}); }

template <class Pool>
Tensor pooled(Run& run, const Tensor& x, const PoolWindow& window, const Pool& pool) {
  const Tensor planes = plane_of("pooling", x);
  Tensor out = run.result(ops::pooled_shape(planes, window));
  pool(run, planes, window, out);
  return like(x, out);
}

// The shape [batch, time, hidden] of a recurrence's states.
Shape states_shape(const Tensor& x, const Recurrence& layer) {
  if (x.rank() != 3 || layer.hidden_weight.rank() != 2) {
    fail(ErrorCode::kShape, "recurrence: x is {}, the hidden state's weight {}; expected [batch, time, in] and [gates·hidden, hidden]",
         to_string(x.shape()), to_string(layer.hidden_weight.shape()));
  }
  return {x.size(0), x.size(1), layer.hidden_weight.size(1)};
}

// output_factor() of each head. In x·Wᵀ, head h of x is multiplied by the columns [h·d_v, (h + 1)·d_v) of the weight.
Tensor factor_of(Run& run, const Tensor& output_weight, int64_t heads, int64_t d_v) {
  if (!output_weight.defined()) return {};
  if (output_weight.rank() != 2 || output_weight.size(1) != heads * d_v) {
    fail(ErrorCode::kShape, "attend: the output weight is {}; expected [width, {}] for {} heads of {}", to_string(output_weight.shape()),
         heads * d_v, heads, d_v);
  }
  return ops::output_factor(run, LiveWeight(output_weight), heads, d_v);
}

}  // namespace

const ops::RotaryAngles& Compute::State::angles_of(const std::vector<int32_t>& positions, double base, int64_t dims) {
  if (!cached_angles || cached_angles->base != base || cached_angles->angles.dims != dims || cached_angles->positions != positions) {
    const Shape shape = {static_cast<int64_t>(positions.size()), dims / 2};
    cached_angles = CachedAngles{positions, base, {Tensor::empty(shape), Tensor::empty(shape), dims, false}};
    ops::fill_angles(ops::rotary_frequencies(base, dims), positions, cached_angles->angles);
  }
  return cached_angles->angles;
}

std::optional<AttentionSpec> Compute::State::edited(const AttentionSpec& spec, const Site& site, int64_t heads, int64_t queries) const {
  if (interventions.empty()) return std::nullopt;
  InterventionSite at{.layer = site.layer, .heads = heads, .family = site.family};
  const bool is_rectangle = site.family == "cross" || !site.queries.empty() || !site.keys.empty();  // queries count from site.step
  if (is_rectangle) at.cross_queries = Range{site.step, site.step + queries};
  return with_interventions(spec, interventions, at);
}

Compute::Compute(const ComputeOptions& options) : state_(std::make_unique<State>()) {
  if (options.operands != DType::kF32 && options.operands != DType::kBF16)
    fail(ErrorCode::kUnsupported, "compute: operands of {}; expected f32 or bf16", to_string(options.operands));
  state_->run.observer = options.observer;
  state_->run.operands = options.operands;
  state_->interventions = options.interventions;
  state_->run.patched = &state_->interventions.patched;
}
Compute::Compute(std::unique_ptr<State> state) : state_(std::move(state)) {}
Compute::~Compute() = default;

RunCompute::RunCompute(const Run& run, const Interventions& interventions) : Compute(std::make_unique<State>(run)) {
  state_->interventions = interventions;
  state_->run.patched = &state_->interventions.patched;
  if (run.dropout) state_->seed = run.dropout->seed;
}
bool RunCompute::is_training() const { return state_->run.recorder != nullptr && !state_->run.eval_mode; }

bool Compute::observes(const Site& site) const { return state_->run.wants(site); }

Tensor Compute::embed(const Tensor& table, const std::vector<int32_t>& ids) {
  if (table.rank() != 2) fail(ErrorCode::kShape, "embed: the table is {}; expected [entries, width]", to_string(table.shape()));
  Tensor out = state_->run.result({static_cast<int64_t>(ids.size()), table.size(1)});
  ops::gather_rows(state_->run, table, ids, out);
  if (state_->run.recorder) state_->run.recorder->embedded("", out);
  return out;
}

Tensor Compute::linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (x.rank() != 2 || weight.rank() != 2) {
    fail(ErrorCode::kShape, "linear: x is {}, the weight {}; expected [rows, in] and [out, in]", to_string(x.shape()),
         to_string(weight.shape()));
  }
  Tensor out = state_->run.result({x.size(0), weight.size(0)});
  ops::linear(state_->run, x, LiveWeight(weight), bias, out);
  return out;
}

Tensor Compute::norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double epsilon) {
  Tensor out = state_->run.result(x.shape());
  ops::norm(state_->run, x, {.rms = !bias.defined(), .epsilon = epsilon, .weight = weight, .bias = bias}, out);
  return out;
}

Tensor Compute::activate(std::string_view name, const Tensor& x) {
  const std::optional<Activation> activation = activation_from(name);
  if (!activation) {
    fail(ErrorCode::kInvalidArgument, "activate: \"{}\" is not known; expected relu, gelu, gelu_new, silu, tanh or sigmoid",
         std::string(name));
  }
  Tensor out = state_->run.result(x.shape());
  ops::activate(state_->run, *activation, x, out);
  return out;
}

Tensor Compute::add(const Tensor& a, const Tensor& b) {
  Tensor out = state_->run.result(a.shape());
  ops::copy(state_->run, a, out);
  ops::add(state_->run, b, out);
  return out;
}

Tensor Compute::multiply(const Tensor& a, const Tensor& b) {
  Tensor out = state_->run.result(a.shape());
  ops::multiply(state_->run, a, b, out);
  return out;
}

Tensor Compute::sum(const Tensor& x, int axis) { return reduce(state_->run, ops::Reduction::kSum, x, axis); }
Tensor Compute::mean(const Tensor& x, int axis) { return reduce(state_->run, ops::Reduction::kMean, x, axis); }
Tensor Compute::max(const Tensor& x, int axis) { return reduce(state_->run, ops::Reduction::kMax, x, axis); }

Tensor Compute::concat(const std::vector<Tensor>& parts, int axis) {
  if (parts.empty()) fail(ErrorCode::kShape, "concat: no parts; expected at least one");
  parts.front().size(axis);  // throws for an axis that does not exist
  Shape shape = parts.front().shape();
  for (size_t part = 1; part < parts.size(); ++part) {
    shape[static_cast<size_t>(axis < 0 ? axis + parts.front().rank() : axis)] += parts[part].size(axis);
  }
  Tensor out = state_->run.result(shape);
  ops::concat(state_->run, parts, axis, out);
  return out;
}

Tensor Compute::index_add(const Tensor& x, const std::vector<int32_t>& rows, int64_t entries) {
  if (x.rank() != 2) fail(ErrorCode::kShape, "index_add: x is {}; expected [rows, width]", to_string(x.shape()));
  Tensor out = state_->run.result({entries, x.size(1)});
  ops::index_add(state_->run, x, rows, out);
  return out;
}

Tensor Compute::softmax(const Tensor& x) {
  Tensor out = state_->run.result(x.shape());
  ops::softmax(state_->run, x, out);
  return out;
}

uint64_t Compute::dropout_seed() { return random_bits(state_->seed, ~state_->dropped++); }

Tensor Compute::dropout(const Tensor& x, double rate) {
  if (!is_training()) return x;
  Tensor out = state_->run.result(x.shape());
  ops::dropout(state_->run, x, {.rate = static_cast<float>(rate), .seed = dropout_seed()}, out);
  return out;
}

Tensor Compute::conv(const Tensor& x, const Tensor& weight, const Tensor& bias, const Convolution& how) {
  const Tensor planes = plane_of("convolution", x), weights = plane_of("convolution's weight", weight);
  Tensor out = state_->run.result(ops::convolved_shape(planes, weights, how));
  ops::conv(state_->run, planes, weights, bias, how, out);
  return like(x, out);
}

Tensor Compute::max_pool(const Tensor& x, const PoolWindow& window) { return pooled(state_->run, x, window, ops::max_pool); }
Tensor Compute::avg_pool(const Tensor& x, const PoolWindow& window) { return pooled(state_->run, x, window, ops::avg_pool); }

Tensor Compute::batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, RunningStatistics& running, bool training) {
  if (!running.mean.defined() && x.rank() > 1) {
    running.mean = Tensor::zeros({x.size(1)});
    running.variance = Tensor::from(std::vector<float>(static_cast<size_t>(x.size(1)), 1.0F), {x.size(1)});
  }
  Tensor out = state_->run.result(x.shape());
  ops::batch_norm(state_->run, x, {weight, bias, running.mean, running.variance, training && is_training(), running.momentum}, out);
  return out;
}

Tensor Compute::gru(const Tensor& x, const Recurrence& layer) {
  Tensor out = state_->run.result(states_shape(x, layer));
  ops::recurrent(state_->run, RecurrentKind::kGru, x, layer, out);
  return out;
}

Compute::LstmStates Compute::lstm(const Tensor& x, const Recurrence& layer) {
  Shape shape = states_shape(x, layer);
  shape.insert(shape.begin(), 2);
  Tensor out = state_->run.result(shape);
  ops::recurrent(state_->run, RecurrentKind::kLstm, x, layer, out);
  return {out.select(0, 0), out.select(0, 1)};
}

Tensor Compute::attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec, const std::optional<Site>& site,
                       const Tensor& output_weight) {
  if (q.rank() != 4 || v.rank() != 4) {
    fail(ErrorCode::kShape, "attend: q is {}, v {}; expected [batch, head, length, d]", to_string(q.shape()), to_string(v.shape()));
  }
  Run& run = state_->run;
  const Arena::Scope scope(run.arena);
  const std::optional<AttentionSpec> edited = site ? state_->edited(spec, *site, q.size(1), q.size(2)) : std::nullopt;
  const bool is_low_precision = run.operands != DType::kF32, wanted = site && site->reported && run.wants(*site);
  const Shape shape = {q.size(0), q.size(2), q.size(1), v.size(3)};
  const Tensor out = is_low_precision ? run.take(shape, run.operands) : run.result(shape);
  Tensor by_head = out.permute({0, 2, 1, 3});
  const Keys keys = ops::rounded(run, k);
  const Tensor factor = wanted ? factor_of(run, output_weight, q.size(1), v.size(3)) : Tensor();
  ops::attention(run, {site.value_or(Site{}), ops::rounded(run, q), keys, ops::rounded(run, v), edited ? *edited : spec, factor, wanted},
                 by_head);
  if (!is_low_precision) return by_head;
  return (run.recorder ? ops::widened(run, out) : to_f32(out)).permute({0, 2, 1, 3});
}

Tensor Compute::attention_log_sum_exp(const Tensor& q, const Tensor& k, const AttentionSpec& spec) {
  return ops::attention_log_sum_exp(state_->run, q, k, spec);
}
Tensor Compute::attention_mean(const Tensor& q, const Tensor& k, const AttentionSpec& spec, const Tensor& of_keys) {
  return ops::attention_mean(state_->run, q, k, spec, of_keys);
}
Tensor Compute::attention_distance(const Tensor& q, const Tensor& k, const AttentionSpec& spec) {
  return ops::attention_distance(state_->run, q, k, spec);
}
Tensor Compute::attention_entropy(const Tensor& q, const Tensor& k, const AttentionSpec& spec) {
  return ops::attention_entropy(state_->run, q, k, spec);
}
Tensor Compute::attention_log_weights(const Tensor& q, const Tensor& k, const AttentionSpec& spec,
                                      const std::vector<AttentionPair>& pairs) {
  return ops::attention_log_weights(state_->run, q, k, spec, ops::attention_log_sum_exp(state_->run, q, k, spec), pairs);
}

Tensor Compute::rotate(const Tensor& x, const std::vector<int32_t>& positions, const Rotary& how) {
  if (x.rank() != 3 || x.size(0) != static_cast<int64_t>(positions.size())) {
    fail(ErrorCode::kShape, "rotate: x is {} for {} positions; expected [rows, head, d] with a position for each row", to_string(x.shape()),
         positions.size());
  }
  const int64_t dims = how.dims == 0 ? x.size(2) : how.dims;
  if (dims < 0 || dims % 2 != 0 || dims > x.size(2))
    fail(ErrorCode::kInvalidArgument, "rotate: cannot rotate {} of {} channels; expected an even number of channels, at most all", dims,
         x.size(2));
  const ops::RotaryAngles& angles = state_->angles_of(positions, how.base, dims);
  Tensor out = state_->run.result(x.shape());
  ops::copy(state_->run, x, out);
  ops::rotary(state_->run, out, {angles.cosine, angles.sine, dims, how.interleaved});
  return out;
}

Tensor Compute::elu_plus_one(const Tensor& x) {
  Tensor out = state_->run.result(x.shape());
  ops::elu_plus_one(state_->run, x, out);
  return out;
}

Tensor Compute::positive_random_features(const Tensor& x, const Tensor& projection, FeatureShift shift) {
  if (x.rank() != 4 || projection.rank() != 2) {
    fail(ErrorCode::kShape, "positive_random_features: x is {}, the projection {}; expected [batch, head, length, d] and [features, d]",
         to_string(x.shape()), to_string(projection.shape()));
  }
  Tensor out = state_->run.result({x.size(0), x.size(1), x.size(2), projection.size(0)});
  ops::positive_random_features(state_->run, x, projection, shift, out);
  return out;
}

Tensor Compute::pointer_mixture(const Tensor& logits, const Tensor& gate, const Tensor& copied, const std::vector<int32_t>& tokens) {
  Tensor out = state_->run.result(logits.shape());
  ops::pointer_mixture(state_->run, logits, gate, copied, tokens, out);
  return out;
}

Tensor Compute::cross_entropy(const Tensor& logits, const std::vector<int32_t>& targets, double smoothing) {
  return ops::cross_entropy(state_->run, logits, targets, {.smoothing = static_cast<float>(smoothing)});
}

}  // namespace clearhead
