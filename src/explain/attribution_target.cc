// The base class of attribution targets: computes the explained number y and its backward pass, and manages the items.
#include "explain/attribution_target.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/format.h"
#include "base/nearest.h"
#include "clearhead/error.h"
#include "explain/sides.h"
#include "explain/target_words.h"
#include "ops/run_compute.h"
#include "text/strings.h"

namespace clearhead::explain {
namespace {

// Returns the family whose keys are explained: cross-attention if there is one, else the first family whose keys include an item.
const MapFamily& explained_family(const AttributionTarget& target) {
  const auto& families = target.plan().families;
  const auto has_item = [&](const MapFamily& family) {
    const int64_t first = family.is_part ? family.first_key : 0, item = target.items().empty() ? 0 : target.items().front().begin;
    return item >= first && item < first + family.keys;
  };
  const auto cross = std::find_if(families.begin(), families.end(), [](const MapFamily& family) { return family.name == "cross"; });
  const auto found = cross != families.end() ? cross : std::find_if(families.begin(), families.end(), has_item);
  if (found == families.end()) fail(ErrorCode::kUnsupported, "no attention of this model has the explained items as its keys");
  return *found;
}

}  // namespace

Site looked_at(const AttributionTarget& target, std::optional<int> wanted) {
  const MapFamily& family = explained_family(target);
  const std::vector<Site> sites = target.sites();
  const auto own = std::find_if(sites.begin(), sites.end(), [&](const Site& site) { return site.family == family.name; });
  const auto found = std::find_if(sites.rbegin(), sites.rend(), [&](const Site& site) {
    return own != sites.end() && query_side(site) == query_side(*own) && key_side(site) == key_side(*own) &&
           (!wanted || site.layer == *wanted);
  });
  if (found != sites.rend()) return {.family = found->family, .layer = found->layer};
  const int64_t layer = wanted.value_or(family.layers - 1);
  if (layer < 0 || layer >= family.layers)
    fail(ErrorCode::kInvalidArgument, "layer {}; this model's layers are 0 to {}", layer, family.layers - 1);
  return {.family = family.name, .layer = static_cast<int>(layer)};
}

int32_t label_named(const ModelInfo& info, const std::string& name) {
  const auto matches = [&](const std::string& label) { return text::lower(label) == text::lower(name); };
  const auto found = std::find_if(info.labels.begin(), info.labels.end(), matches);
  if (found != info.labels.end()) return static_cast<int32_t>(found - info.labels.begin());
  const std::vector<std::string_view> labels(info.labels.begin(), info.labels.end());
  std::string first;
  for (size_t i = 0; i < std::min<size_t>(labels.size(), 8); ++i) first += (i ? ", " : "") + in_quotes(labels[i]);
  fail(ErrorCode::kNotFound, "{}: there is no class {}{}; its {} classes {} {}", info.name, in_quotes(name), nearest_hint(name, labels, 1),
       labels.size(), labels.size() > 8 ? "begin with" : "are", first);
}

Tensor states_of(const RunResult& result, int64_t row) {
  std::vector<Tensor> all = result.all_hidden;
  all.back() = result.residual;
  const int64_t width = all.front().size(2);
  Tensor out = Tensor::empty({static_cast<int64_t>(all.size()), width});
  for (size_t at = 0; at < all.size(); ++at)
    std::copy_n(all[at].data<float>() + row * width, width, out.mutable_data<float>() + static_cast<int64_t>(at) * width);
  return out;
}

const Model& AttributionTarget::model() const {
  if (model_) return *model_;
  fail(ErrorCode::kUnsupported, "{}: the run was recorded from another library; this explanation needs a model that clearhead loads",
       name());
}

const std::string& AttributionTarget::name() const { return model_ ? model_->info().name : plan_.model; }

const char* to_string(RemovedBy how) { return how == RemovedBy::kUnseen ? "unseen" : "masked"; }

void AttributionTarget::answer_with_label(const TargetSpec& asked, const std::string& label, const char* what, const Tensor& logits) {
  const ModelInfo& info = model_->info();
  answer_ids_ = asked.target_ids;
  if (answer_ids_.empty()) answer_ids_ = {label.empty() ? largest(logits.data<float>(), logits.size(1)) : label_named(info, label)};
  (void)answer_id("an explanation of a classifier");
  contrast_ = asked.contrast.empty() ? asked.contrast_id.value_or(-1) : label_named(info, asked.contrast);
  check_answer(logits.size(1));
  const auto label_of = [&](int32_t id) { return in_quotes(info.labels[static_cast<size_t>(id)]); };
  answer_ = format("{} {}", what, label_of(answer_ids_.front())) + (contrast_ >= 0 ? " against " + label_of(contrast_) : "");
  probability_ = probability_of(logits.data<float>(), logits.size(1));
}

void AttributionTarget::answer_with_number(const TargetSpec& asked, int32_t output, std::string description, const Tensor& outputs,
                                           double offset, double factor) {
  if (!asked.contrast.empty() || asked.contrast_id)
    fail(ErrorCode::kUnsupported, "{}: a contrast compares two classes or words, but the answer of this model is a number", name());
  is_number_ = true;
  offset_ = offset;
  factor_ = factor;
  answer_ids_ = asked.target_ids.empty() ? std::vector<int32_t>{output} : asked.target_ids;
  (void)answer_id("an explanation of a number");
  check_answer(outputs.size(1));
  answer_ = std::move(description);
  probability_ = probability_of(outputs.data<float>(), outputs.size(1));
}

AttributionTarget::Outcome AttributionTarget::outcome_of(const float* logits, int64_t count) const {
  if (is_number_) {
    const double number = offset_ + factor_ * static_cast<double>(logits[answer_ids_[0]]);
    return {number, number};
  }
  const double y = static_cast<double>(logits[answer_ids_[0]]) - (contrast_ >= 0 ? static_cast<double>(logits[contrast_]) : 0);
  if (contrast_ >= 0 || stands_alone_) return {y, 1 / (1 + std::exp(-y))};
  const std::vector<double> of_tokens = log_probabilities_of(logits, count);
  const double log_probability = std::accumulate(of_tokens.begin(), of_tokens.end(), 0.0), probability = std::exp(log_probability);
  if (!sums_logits_) return {answer_ids_.size() > 1 ? log_probability : y, probability};
  double sum = 0;
  for (size_t row = 0; row < answer_ids_.size(); ++row)
    sum += static_cast<double>(logits[static_cast<int64_t>(row) * count + answer_ids_[row]]);
  return {sum, probability};
}

std::vector<double> AttributionTarget::log_probabilities_of(const float* logits, int64_t count) const {
  std::vector<double> out;
  for (size_t row = 0; row < answer_ids_.size(); ++row) {
    const float* of_row = logits + static_cast<int64_t>(row) * count;
    const auto most = static_cast<double>(of_row[largest(of_row, count)]);
    double sum = 0;
    for (int64_t id = 0; id < count; ++id) sum += std::exp(static_cast<double>(of_row[id]) - most);
    out.push_back(static_cast<double>(of_row[answer_ids_[row]]) - most - std::log(sum));
  }
  return out;
}

void AttributionTarget::check_answer(int64_t count) const {
  std::vector<int32_t> ids = answer_ids_;
  if (contrast_ != -1) ids.push_back(contrast_);
  for (const int32_t id : ids) {
    if (id < 0 || id >= count)
      fail(ErrorCode::kNotFound, "{}: answer id {} is out of range: there are {}, counted from 0", name(), id, count);
  }
  if (answer_ids_.size() > 1 && contrast_ >= 0)
    fail(ErrorCode::kUnsupported, "{}: a contrast was given for an answer of {} tokens; {}: expected an answer of one token", name(),
         answer_ids_.size(), kContrastNeedsOne);
  if (answer_ids_[0] == contrast_)
    fail(ErrorCode::kInvalidArgument, "{}: the target and the contrast are the same answer; give two different ones", name());
}

int32_t AttributionTarget::answer_id(const char* what) const {
  if (answer_ids_.size() == 1) return answer_ids_.front();
  fail(ErrorCode::kUnsupported, "{}: {} needs an answer of one token, but {} has {}", name(), what,
       answer_.empty() ? "target_ids" : answer_, answer_ids_.size());
}

double AttributionTarget::backward(InputTape& tape, const Tensor& logits, Number number) const {
  Arena arena;
  Run run{.arena = arena, .recorder = &tape, .eval_mode = true};
  RunCompute compute(run);
  const auto at = [&](int32_t id) { return logits.slice(1, id, id + 1); };
  const auto times = [&](const Tensor& x, double factor) {
    return compute.multiply(x, Tensor::from<float>({static_cast<float>(factor)}, {1, 1}));
  };
  if (is_number_) {
    if (number == Number::kLogProbability)
      fail(ErrorCode::kUnsupported, "{}: the answer of this model is a number, which has no probability", name());
    const Tensor y = times(at(answer_ids_.front()), factor_);
    tape.backward(y);
    return offset_ + static_cast<double>(*y.data<float>());
  }
  if (sums_logits_ && number == Number::kY) {
    Tensor y;
    for (size_t row = 0; row < answer_ids_.size(); ++row) {
      const auto begin = static_cast<int64_t>(row);
      const Tensor one = logits.slice(0, begin, begin + 1).slice(1, answer_ids_[row], answer_ids_[row] + 1);
      y = y.defined() ? compute.add(y, one) : one;
    }
    const double value = static_cast<double>(*y.data<float>());
    tape.backward(y);
    return value;
  }
  const bool is_softmax = contrast_ < 0 && !stands_alone_, is_span = answer_ids_.size() > 1;
  if (is_span || (number == Number::kLogProbability && is_softmax)) {  // cross_entropy() is the mean over rows
    const Tensor loss = times(compute.cross_entropy(logits, answer_ids_).reshape({1, 1}), -static_cast<double>(answer_ids_.size()));
    const double value = static_cast<double>(*loss.data<float>());
    tape.backward(loss);
    return value;
  }
  const int32_t of = answer_ids_.front();
  Tensor y = contrast_ >= 0 ? compute.add(at(of), times(at(contrast_), -1)) : at(of);
  const double value = static_cast<double>(*y.data<float>());
  if (number == Number::kY) {
    tape.backward(y);
    return value;
  }
  const double probability = 1 / (1 + std::exp(-value));
  tape.backward(times(y, 1 - probability));  // d ln σ(y)/dy
  return std::log(probability);
}

void AttributionTarget::begin_with(std::vector<Range> items) {
  items_ = std::move(items);
  may_go_.assign(plan_.text.ids.size(), 0);
  for (const Range& item : items_) std::fill(may_go_.begin() + item.begin, may_go_.begin() + item.end, uint8_t{1});
}

void AttributionTarget::begin_with_tokens(int64_t end) {
  const RunText& text = plan_.text;
  std::vector<Range> items;
  for (int64_t id = 0; id < std::min(end, text.tokens()); ++id) {
    if (!text.special[static_cast<size_t>(id)]) items.push_back({id, id + 1});
  }
  begin_with(std::move(items));
}

void AttributionTarget::set_items(std::vector<Range> items) {
  std::vector<uint8_t> taken(may_go_.size());
  for (const Range& item : items) {
    bool any = false;
    for (int64_t id = item.begin; id < item.end; ++id) {
      if (id < 0 || id >= static_cast<int64_t>(taken.size()) || taken[static_cast<size_t>(id)])
        fail(ErrorCode::kInvalidArgument, "item [{}, {}) is outside the text, or overlaps another", item.begin, item.end);
      taken[static_cast<size_t>(id)] = 1;
      any = any || may_go_[static_cast<size_t>(id)];
    }
    if (!any) fail(ErrorCode::kInvalidArgument, "item [{}, {}) contains no token that can be removed", item.begin, item.end);
  }
  items_ = std::move(items);
}

std::vector<double> AttributionTarget::by_item(const std::vector<double>& of_ids) const {
  std::vector<double> out;
  for (const Range& item : items_) {
    double sum = 0;
    for (auto id = static_cast<size_t>(item.begin); id < static_cast<size_t>(item.end); ++id) sum += may_go_[id] ? of_ids[id] : 0;
    out.push_back(sum);
  }
  return out;
}

Range ids_of_side(const RunPlan& plan, const std::string& side) {
  for (const ItemRange& items : plan.text.items) {
    if (items.kind == side) return {items.begin, items.end};
  }
  for (const TextSegment& segment : plan.text.segments) {
    if (segment.name == side) return {segment.begin, segment.end};
  }
  for (const MapFamily& family : plan.families) {
    if (family.name == side) return family.is_part ? Range{family.first_key, family.first_key + family.keys} : Range{0, family.keys};
  }
  return {};
}

std::optional<int32_t> masking_token(const Tokenizer& tokenizer) {
  const SpecialTokens& special = tokenizer.special_tokens();
  for (const std::optional<int32_t>& id : {special.mask, special.unk, special.pad, special.eos}) {
    if (id) return id;
  }
  return std::nullopt;
}

int32_t AttributionTarget::hiding_token() const {
  if (const std::optional<int32_t> id = masking_token(model().tokenizer())) return *id;
  fail(ErrorCode::kUnsupported, "{}: its tokenizer has no mask, unknown or padding token to replace others with; use removal \"unseen\"",
       name());
}

Tensor AttributionTarget::mixed_vectors(int, int64_t) const {
  fail(ErrorCode::kUnsupported, "{}: the residual stream can be decomposed only for models that read a single text", name());
}

Tensor AttributionTarget::states_without_value(int, int64_t) const {
  fail(ErrorCode::kUnsupported, "{}: the effect of a value on a layer is known only for models that read a single text", name());
}

std::vector<std::vector<double>> AttributionTarget::log_probabilities(const std::vector<std::vector<uint8_t>>&, RemovedBy) const {
  fail(ErrorCode::kUnsupported, "{}: log-probabilities of tokens need a causal model that clearhead loads and that reads a single text",
       name());
}

Tensor AttributionTarget::states() const {
  fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" has no residual stream", name(), model().info().model_type);
}

std::vector<uint8_t> AttributionTarget::removed_ids(const std::vector<uint8_t>& removed) const {
  if (removed.size() != items_.size())
    fail(ErrorCode::kShape, "judge: {} flags for {} items; expected one for each", removed.size(), items_.size());
  std::vector<uint8_t> ids(may_go_.size());
  for (size_t item = 0; item < items_.size(); ++item) {
    for (auto id = static_cast<size_t>(items_[item].begin); removed[item] && id < static_cast<size_t>(items_[item].end); ++id)
      ids[id] = may_go_[id];
  }
  return ids;
}

}  // namespace clearhead::explain
