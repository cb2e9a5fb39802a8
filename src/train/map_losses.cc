// Keeps q, k and the log-sum-exp of the families that the losses use during the forward pass. The losses are computed from these tensors,
// so their gradients are added to those of q and k, and each layer still has a single backward pass.
#include "train/map_losses.h"

#include <algorithm>
#include <numeric>

#include "base/format.h"
#include "clearhead/error.h"
#include "ops/ops.h"

namespace clearhead::train {
namespace {

// factor·x, recorded.
Tensor scaled(Run& run, const Tensor& x, double factor) {
  Tensor out = run.result({1});
  ops::multiply(run, x, Tensor::from(std::vector<float>{static_cast<float>(factor)}, {1}), out);
  return out;
}

// Σ factors ⊙ x, as one number.   x: contiguous
Tensor weighted_sum(Run& run, const Tensor& x, const Tensor& factors) {
  Tensor product = run.take(x.shape()), out = run.result({1});
  ops::multiply(run, x, factors, product);
  ops::reduce(run, ops::Reduction::kSum, product.reshape({1, x.numel()}), 1, out);
  return out;
}

// 1 for each row that is not padding.   [batch, 1, query]
Tensor real_rows(const Batch& of) {
  Tensor out = Tensor::zeros({of.batch, 1, of.length});
  for (int64_t row = 0; row < of.batch * of.length; ++row) {
    if (!of.lengths.empty() && row % of.length >= of.lengths[static_cast<size_t>(row / of.length)]) continue;
    out.mutable_data<float>()[row] = 1;
  }
  return out;
}

}  // namespace

MapLosses::MapLosses(const tasks::Recipe& recipe) : recipe_(recipe) {
  if (any() && recipe.gradient_checkpointing) {
    fail(ErrorCode::kUnsupported,
         "{}: \"{}\" reads queries and keys of the forward pass, which \"gradient_checkpointing\" does not keep; leave out one of them",
         recipe.where, names().front());
  }
}

std::vector<std::string> MapLosses::names() const {
  std::vector<std::string> out;
  if (recipe_.alignment) out.emplace_back("alignment");
  if (recipe_.entropy) out.emplace_back("entropy");
  return out;
}

MapLosses::Captured::Captured(const tasks::Recipe& recipe) {
  capture_.wants = [this, &recipe](const Site& site) {
    if (!site.reported) return false;
    sites_.emplace(site.family, site.layer);
    return (recipe.alignment && site.family == recipe.alignment->family) || (recipe.entropy && site.family == recipe.entropy->family);
  };
}

// The captured calls of a family in these layers; of all its layers if `layers` is empty.
std::vector<const CapturedAttention*> MapLosses::calls(const Captured& captured, const char* field, const std::string& family,
                                                       const std::vector<int64_t>& layers) const {
  int64_t count = 0;
  std::string there;
  for (const auto& [of, layer] : captured.sites_) {
    there += format("{}{} {}", there.empty() ? "" : ", ", of, layer);
    if (of == family) count = std::max<int64_t>(count, layer + 1);
  }
  const auto refuse = [&](const std::string& what) {
    fail(ErrorCode::kInvalidArgument, "{}: \"{}\": the model has no attention {}; its families and layers are {}", recipe_.where, field,
         what, there.empty() ? "none" : there);
  };
  if (count == 0) refuse(format("of family \"{}\"", family));
  std::vector<const CapturedAttention*> out;
  for (int64_t at = 0; at < (layers.empty() ? count : static_cast<int64_t>(layers.size())); ++at) {
    const int64_t named = layers.empty() ? at : layers[static_cast<size_t>(at)], layer = named < 0 ? count + named : named;
    const size_t before = out.size();
    for (const CapturedAttention& call : captured.capture_.calls) {
      if (call.site.family == family && call.site.layer == layer) out.push_back(&call);
    }
    if (out.size() == before) refuse(format("of family \"{}\" in layer {}", family, named));
  }
  return out;
}

template <class F>
Tensor MapLosses::of_field(const char* field, F&& compute) const {
  try {
    return compute();
  } catch (const Error& error) {
    const std::string place = format("{}: \"{}\"", recipe_.where, field);
    if (std::string(error.what()).find(place) != std::string::npos) throw;
    fail(error.code(), "{}: {}", place, error.what());
  }
}

// The sequences over whose attention the entropy is averaged.
const Batch& MapLosses::entropy_rows(const tasks::Example& example) const {
  return example.source && recipe_.entropy->family == "enc" ? *example.source : example.input;
}

std::vector<double> MapLosses::rows_of(const tasks::Example& example) const {
  std::vector<double> out;
  if (recipe_.alignment) out.push_back(static_cast<double>(example.alignment->rows));
  if (recipe_.entropy) {
    const Batch& rows = entropy_rows(example);
    const int64_t count =
        rows.lengths.empty() ? rows.batch * rows.length : std::accumulate(rows.lengths.begin(), rows.lengths.end(), int64_t{0});
    out.push_back(static_cast<double>(count));
  }
  return out;
}

Tensor MapLosses::alignment(Run& run, const Captured& captured, const tasks::Example& example, double rows) const {
  const auto found = calls(captured, "alignment", recipe_.alignment->family, {recipe_.alignment->layer});
  const CapturedAttention& call = *found.front();
  const Shape expected = {example.input.batch, example.input.length, example.source ? example.source->length : 0};
  if (const Shape is = {call.q.size(0), call.q.size(2), call.k.size(2)}; found.size() > 1 || is != expected)
    fail(ErrorCode::kUnsupported,
         "family \"{}\" has {} call(s) in a layer, of {} sequences, queries and keys; expected one whose queries are the target's tokens "
         "and "
         "whose keys are the source's, {}",
         call.site.family, found.size(), to_string(is), to_string(expected));
  const tasks::GoldAlignment& gold = *example.alignment;
  std::vector<float> factors;
  for (const float share : gold.shares) factors.push_back(share / static_cast<float>(std::max(1.0, rows)));
  const Tensor logs = ops::attention_log_weights(run, call.q, call.k, call.spec, call.log_sum_exp, gold.pairs);
  return ops::mean_head_cross_entropy(run, logs, factors);
}

Tensor MapLosses::entropy(Run& run, const Captured& captured, const tasks::Example& example, double rows) const {
  const auto found = calls(captured, "entropy", recipe_.entropy->family, recipe_.entropy->layers);
  const Batch& read = entropy_rows(example);
  const Tensor real = real_rows(read);
  Tensor sum;
  for (const CapturedAttention* call : found) {
    const Tensor of_rows = ops::attention_entropy(run, call->q, call->k, call->spec);
    if (of_rows.size(0) != read.batch || of_rows.size(2) != read.length)
      fail(ErrorCode::kUnsupported, "family \"{}\" has {} queries in {} sequences; expected {} in {}, one for each token",
           call->site.family, of_rows.size(2), of_rows.size(0), read.length, read.batch);
    const Tensor one = weighted_sum(run, of_rows, real.expand(of_rows.shape()));
    const double count = rows * static_cast<double>(of_rows.size(1) * static_cast<int64_t>(found.size()));
    const Tensor part = scaled(run, one, 1 / std::max(1.0, count));
    if (!sum.defined()) {
      sum = part;
    } else {
      ops::add(run, part, sum);
    }
  }
  return sum;
}

Tensor MapLosses::add_to(Run& run, const Tensor& loss, const Captured& captured, const tasks::Example& example,
                         std::span<const double> rows, std::vector<double>& values) const {
  if (!any()) return loss;
  Tensor total = run.result({1});
  ops::copy(run, loss, total);
  const auto add = [&](const char* field, double weight, const auto& compute) {
    const Tensor value = of_field(field, compute);
    values.push_back(static_cast<double>(*value.data<float>()));
    ops::add(run, scaled(run, value, weight), total);
  };
  if (recipe_.alignment) add("alignment", recipe_.alignment->weight, [&] { return alignment(run, captured, example, rows.front()); });
  if (recipe_.entropy) add("entropy", recipe_.entropy->weight, [&] { return entropy(run, captured, example, rows.back()); });
  return total;
}

}  // namespace clearhead::train
