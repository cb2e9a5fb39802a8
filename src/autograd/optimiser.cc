// A step computes the norm of all gradients, clips, and updates each stretch with its group's rate and decay. A gradient that is
// not finite is refused before anything is updated. Schedule: linear warmup, then linear or cosine decay, or constant or
// 1/√step with a cooldown.
#include "autograd/optimiser.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "backends/registry.h"
#include "base/format.h"
#include "base/utf8.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

using Kind = OptimiserOptions::Kind;

void check(bool holds, const char* name, double value, const char* expected) {
  if (!holds) fail(ErrorCode::kInvalidArgument, "optimiser: {} is {}; expected {}", name, value, expected);
}

void check(const OptimiserOptions& options) {
  const bool is_sgd = options.kind == Kind::kSgd;
  check(options.beta1 >= 0 && options.beta1 < 1, "beta1", options.beta1, "0 or more, and less than 1");
  check(options.beta2 >= 0 && options.beta2 < 1, "beta2", options.beta2, "0 or more, and less than 1");
  check(options.epsilon > 0, "epsilon", options.epsilon, "more than 0");
  check(options.momentum >= 0 && options.momentum < 1, "momentum", options.momentum, "0 or more, and less than 1");
  check(is_sgd || options.momentum == 0, "momentum", options.momentum, "0: momentum is for SGD; Adam has beta1");
  check(!options.nesterov || options.momentum > 0, "momentum", options.momentum, "more than 0 with nesterov, which is for SGD");
  check(options.weight_decay >= 0, "weight_decay", options.weight_decay, "0 or more");
  check(options.clip >= 0, "clip", options.clip, "0 or more");
  for (const ParameterGroup& group : options.groups) {
    check(group.learning_rate_scale >= 0, "a group's learning_rate_scale", group.learning_rate_scale, "0 or more");
    check(group.weight_decay.value_or(0) >= 0, "a group's weight_decay", group.weight_decay.value_or(0), "0 or more");
  }
}

// "layers.12.bias" → "layers.*.bias"
std::string without_numbers(const std::string& name) {
  std::string out;
  for (const char c : name) {
    const bool is_digit = std::isdigit(static_cast<unsigned char>(c)) != 0;
    if (!is_digit) out += c;
    if (is_digit && (out.empty() || out.back() != '*')) out += '*';
  }
  return out;
}

}  // namespace

Optimiser::Optimiser(const OptimiserOptions& options) : options_(options) {
  check(options);
  for (const ParameterGroup& group : options.groups)
    groups_.push_back({group, text::Regex(group.match, "optimiser: the \"match\" of a group"), false});
}

Optimiser::Stretch Optimiser::stretch_of(const Named& named, bool decays) {
  Stretch out{named.begin, named.end, 1, decays ? options_.weight_decay : 0};
  if (named.name.empty()) return out;
  if (valid_utf8_prefix(named.name) != named.name.size())
    fail(ErrorCode::kInvalidArgument, "optimiser: a parameter's name is not valid UTF-8");
  const std::string shown = without_numbers(named.name);
  if (std::find(names_.begin(), names_.end(), shown) == names_.end()) names_.push_back(shown);
  const auto group =
      std::find_if(groups_.begin(), groups_.end(), [&](const Group& one) { return !one.pattern.find_all(named.name).empty(); });
  if (group == groups_.end()) return out;
  group->matched = true;
  out.rate = group->options.learning_rate_scale;
  out.decay = group->options.weight_decay.value_or(out.decay);
  return out;
}

bool Optimiser::add(const Tensor& values, bool decays, const std::vector<Named>& names) {
  Leaf leaf{.values = values, .names = names};
  const auto append = [&](const Named& named) {
    const Stretch next = stretch_of(named, decays);
    if (next.begin == next.end || !next.moves()) return;
    Stretch* last = leaf.stretches.empty() ? nullptr : &leaf.stretches.back();
    if (last && last->end == next.begin && last->rate == next.rate && last->decay == next.decay) {
      last->end = next.end;
    } else {
      leaf.stretches.push_back(next);
    }
  };
  int64_t end = 0;
  for (const Named& named : names) {
    append({{}, end, named.begin});
    append(named);
    end = named.end;
  }
  append({{}, end, values.numel()});
  const bool moves = !leaf.stretches.empty(), is_adam = options_.kind != Kind::kSgd;
  if (moves && (is_adam || options_.momentum > 0)) leaf.first = Tensor::zeros(values.shape());
  if (moves && is_adam) leaf.second = Tensor::zeros(values.shape());
  leaves_.push_back(std::move(leaf));
  return moves;
}

void Optimiser::check_groups() const {
  for (const Group& group : groups_) {
    if (group.matched) continue;
    std::string names;
    for (const std::string& name : names_) names += (names.empty() ? "" : ", ") + name;
    fail(ErrorCode::kInvalidArgument, "optimiser: no parameter has \"{}\" as its first matching group; the names are {}",
         group.options.match, names.empty() ? "not given" : names);
  }
}

void Optimiser::move(Leaf& leaf, const Stretch& stretch, const float* gradients, double rate, double scale) {
  const DenseGradients& kernels = backend().gradients;
  const auto place = [&](Tensor& of) { return of.defined() ? of.mutable_data<float>() + stretch.begin : nullptr; };
  const auto narrow = [](double value) { return static_cast<float>(value); };
  if (options_.kind == Kind::kSgd) {
    return kernels.sgd({.weights = place(leaf.values),
                        .momentum_sum = place(leaf.first),
                        .gradients = gradients + stretch.begin,
                        .count = stretch.end - stretch.begin,
                        .rate = narrow(rate * stretch.rate),
                        .momentum = narrow(options_.momentum),
                        .nesterov = options_.nesterov,
                        .l2 = narrow(stretch.decay),
                        .gradient_scale = narrow(scale)});
  }
  const bool is_coupled = options_.kind == Kind::kAdam;
  const auto correction = [&](double beta) {  // from β rounded to f32, as in the kernel; else 1 − β₂ has a relative error of 1e-5
    return narrow(1 - std::pow(static_cast<double>(narrow(beta)), static_cast<double>(steps_)));
  };
  kernels.adam({.weights = place(leaf.values),
                .m = place(leaf.first),
                .v = place(leaf.second),
                .gradients = gradients + stretch.begin,
                .count = stretch.end - stretch.begin,
                .rate = narrow(rate * stretch.rate),
                .beta1 = narrow(options_.beta1),
                .beta2 = narrow(options_.beta2),
                .epsilon = narrow(options_.epsilon),
                .decay = is_coupled ? 0 : narrow(stretch.decay),
                .l2 = is_coupled ? narrow(stretch.decay) : 0,
                .gradient_scale = narrow(scale),
                .correction1 = correction(options_.beta1),
                .correction2 = correction(options_.beta2)});
}

// Names the first parameter whose gradient is not finite.
void Optimiser::fail_at_gradient(Tape& tape) const {
  for (const Leaf& leaf : leaves_) {
    for (const Stretch& stretch : leaf.stretches) {
      const float* gradient = tape.gradient(leaf.values).data<float>();
      const float* broken =
          std::find_if(gradient + stretch.begin, gradient + stretch.end, [](float value) { return !std::isfinite(value); });
      if (broken == gradient + stretch.end) continue;
      const int64_t at = broken - gradient;
      const auto named =
          std::find_if(leaf.names.begin(), leaf.names.end(), [&](const Named& one) { return one.begin <= at && at < one.end; });
      const bool has_name = named != leaf.names.end() && !named->name.empty();
      fail(ErrorCode::kInvalidArgument, "step {}: the gradient of {} is not finite ({} at element {}); nothing was changed", steps_,
           has_name ? format("\"{}\"", named->name) : "a parameter of shape " + to_string(leaf.values.shape()),
           std::isnan(*broken) ? "NaN" : "infinite", with_commas(has_name ? at - named->begin : at));
    }
  }
  fail(ErrorCode::kInvalidArgument, "step {}: the norm of the gradient is not finite; nothing was changed", steps_);
}

double Optimiser::step(Tape& tape, double rate) {
  if (steps_ == 0) check_groups();
  double squares = 0;
  for (const Leaf& leaf : leaves_) {
    for (const Stretch& stretch : leaf.stretches)
      squares += backend().gradients.sum_of_squares(tape.gradient(leaf.values).data<float>() + stretch.begin, stretch.end - stretch.begin);
  }
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) fail_at_gradient(tape);
  const double scale = options_.clip > 0 && norm > options_.clip ? options_.clip / norm : 1;
  ++steps_;
  for (Leaf& leaf : leaves_) {
    for (const Stretch& stretch : leaf.stretches) move(leaf, stretch, tape.gradient(leaf.values).data<float>(), rate, scale);
  }
  tape.clear_gradients();
  return norm;
}

std::vector<std::pair<const char*, Tensor>> Optimiser::sums(size_t at) const {
  const Leaf& leaf = leaves_[at];
  if (!leaf.first.defined()) return {};
  if (options_.kind != Kind::kSgd) return {{"m", leaf.first}, {"v", leaf.second}};
  return {{"momentum", leaf.first}};
}

double Schedule::at(int64_t step) const {
  const double now = static_cast<double>(step), rise = static_cast<double>(warmup);
  if (now < rise) return learning_rate * (now + 1) / rise;
  const double share = steps > warmup ? std::min(1.0, (now - rise) / (static_cast<double>(steps) - rise)) : 0;
  if (kind == Kind::kLinear) return learning_rate * (1 - (1 - min_ratio) * share);
  if (kind == Kind::kCosine) return learning_rate * (min_ratio + (1 - min_ratio) * 0.5 * (1 + std::cos(M_PI * share)));
  const double left = cooldown > 0 ? std::clamp((static_cast<double>(steps) - now) / static_cast<double>(cooldown), 0.0, 1.0) : 1;
  const double fallen = kind == Kind::kNoam ? std::sqrt(std::max(rise, 1.0) / (now + 1)) : 1;
  return learning_rate * fallen * (min_ratio + (1 - min_ratio) * left);
}

std::vector<Optimiser::Named> names_in(const io::NamedTensors& named, const Tensor& leaf) {
  std::vector<Optimiser::Named> out;
  for (const auto& [name, values] : named) {
    if (!values.shares_storage_with(leaf)) continue;
    const int64_t begin = reinterpret_cast<const float*>(values.raw()) - leaf.data<float>();
    out.push_back({name, begin, begin + values.numel()});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  return out;
}

}  // namespace clearhead
