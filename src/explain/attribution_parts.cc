// Vectors are multiplied with whole maps, from the side of each call's queries to the side of its keys (sides.h).
#include "explain/attribution_parts.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/format.h"
#include "clearhead/error.h"
#include "explain/input_tape.h"
#include "observe/item_kinds.h"

namespace clearhead::explain {

Tensor row_tensor(const Vector& values) {
  std::vector<float> row(values.begin(), values.end());
  return Tensor::from(row, {1, static_cast<int64_t>(row.size())});
}

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

void add(Vector& to, const Vector& more, double factor) {
  for (size_t i = 0; i < to.size(); ++i) to[i] += factor * more[i];
}

void place(const AttributionTarget& target, const std::string& side, const Vector& of_side, Vector& of_ids) {
  const Range ids = ids_of_side(target.plan(), side);
  for (size_t at = 0; at < of_side.size() && static_cast<int64_t>(at) < ids.size(); ++at)
    of_ids[static_cast<size_t>(ids.begin) + at] += of_side[at];
}

Vector by_id(const AttributionTarget& target, const std::string& side, const Vector& of_side) {
  Vector out(target.plan().text.ids.size());
  place(target, side, of_side, out);
  return out;
}

int64_t layers_of(const AttributionTarget& target, const std::string& name) {
  for (const MapFamily& family : target.plan().families) {
    if (family.name == name) return family.layers;
  }
  return 0;
}

std::vector<int> layers_of_answer(const AttributionTarget& target) {
  std::vector<int> out;
  for (const Site& site : target.sites()) {
    if (query_side(site) == target.side() && key_side(site) == target.side()) out.push_back(site.layer);
  }
  if (!out.empty()) return out;
  out.resize(static_cast<size_t>(layers_of(target, target.side())));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

void check_cancelled(const AttributionOptions& options) {
  if (options.cancel && options.cancel->load()) fail(ErrorCode::kCancelled, "why: cancelled");
}

std::vector<int64_t> rows_in(const AttributionTarget& target, const AttentionRecord& record) {
  return record.query_length == 1 ? std::vector<int64_t>{0} : target.rows();
}

Vector of_heads(const AttentionShape& shape, const std::optional<int64_t>& head,
                const std::function<void(int64_t head, double factor, Vector& to)>& add_head) {
  if (head && (*head < 0 || *head >= shape.heads))
    fail(ErrorCode::kInvalidArgument, "why: head {} is out of range: the layer has {} heads, counted from 0", *head, shape.heads);
  Vector out(static_cast<size_t>(shape.keys));
  for (int64_t at = head.value_or(0); at < (head ? *head + 1 : shape.heads); ++at)
    add_head(at, head ? 1.0 : 1 / static_cast<double>(shape.heads), out);
  return out;
}

Vector of_one_layer(const AttributionTarget& target, KeyFactor factor, const AttributionOptions& options) {
  const Site site = looked_at(target, options.layer);
  Records records(site);
  target.run(&records);
  if (records.kept.empty())
    fail(ErrorCode::kUnsupported, "why: this model reports no attention of the family \"{}\" in layer {}", site.family, site.layer);
  const Records::Kept& found = records.kept.back();
  const AttentionMap map = found.map.after();
  const AttentionShape shape = map.shape();
  const KeyNorms& norms = found.norms;
  if (factor == KeyFactor::kOutputNorm && !norms.output.defined())
    fail(ErrorCode::kUnsupported, "why: this method needs the norms of projected values, which this model does not report");
  const int64_t group = norms.value.defined() ? shape.heads / norms.value.size(1) : 1;
  const Vector keys = of_heads(shape, options.head, [&](int64_t head, double share, Vector& to) {
    for (const int64_t row : rows_in(target, map.record())) {
      const MapRow weights = map.head(0, head).row(row);
      const float* norm = factor == KeyFactor::kValueNorm    ? norms.value.data<float>() + head / group * shape.keys
                          : factor == KeyFactor::kOutputNorm ? norms.output.data<float>() + head * shape.keys
                                                             : nullptr;
      for (size_t key = 0; key < to.size(); ++key)
        to[key] += share * static_cast<double>(weights.weights()[key]) * (norm ? static_cast<double>(norm[key]) : 1.0);
    }
  });
  return by_id(target, key_side(found.site), keys);
}

namespace {

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

}  // namespace

Vector gradients_times_inputs(const AttributionTarget& target, const AttributionOptions& options, int64_t steps, bool at_the_input) {
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

}  // namespace clearhead::explain
