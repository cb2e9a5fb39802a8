// Pads encoded inputs and joins them to batches.
#include "models/encoded_input.h"

#include <algorithm>
#include <cstring>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

void copy_padded(const std::vector<int32_t>& ids, int64_t length, int32_t pad, Batch& rows) {
  rows.ids.insert(rows.ids.end(), ids.begin(), ids.end());
  rows.ids.insert(rows.ids.end(), static_cast<size_t>(length) - ids.size(), pad);
  rows.lengths.push_back(static_cast<int32_t>(ids.size()));
}

// Batches sequences of frames, padded with zeros at their ends.
Batch frames_of(const std::vector<const EncodedSide*>& sides) {
  Batch rows{.batch = static_cast<int64_t>(sides.size())};
  const int64_t width = sides.front()->features.size(1);
  for (const EncodedSide* side : sides) {
    rows.lengths.push_back(static_cast<int32_t>(side->features.size(0)));
    rows.length = std::max(rows.length, side->features.size(0));
  }
  rows.features = Tensor::zeros({rows.batch * rows.length, width});
  float* to = rows.features.mutable_data<float>();
  for (const EncodedSide* side : sides) {
    std::memcpy(to, side->features.raw(), side->features.bytes());
    to += rows.length * width;
  }
  return rows;
}

}  // namespace

int64_t EncodedSide::positions() const {
  int64_t tokens = !features.defined() ? 0 : features.rank() == 2 ? features.size(0) : 1;
  for (const std::vector<int32_t>& ids : sequences) tokens += static_cast<int64_t>(ids.size());
  return tokens;
}

Batch collate_side(const std::vector<const EncodedSide*>& sides, int32_t pad) {
  Batch rows{.batch = static_cast<int64_t>(sides.size()), .length = 1};
  if (sides.empty()) return rows;
  const EncodedSide& first = *sides.front();
  if (first.features.defined() && first.features.rank() == 2) return frames_of(sides);
  if (first.features.defined()) {
    Shape shape = first.features.shape();
    shape.insert(shape.begin(), rows.batch);
    rows.features = Tensor::empty(shape);
    for (size_t at = 0; at < sides.size(); ++at) {
      const Tensor& from = sides[at]->features;
      std::memcpy(rows.features.mutable_raw() + at * from.bytes(), from.raw(), from.bytes());
    }
    return rows;
  }
  int64_t most = 1;
  rows.graph = first.graph;
  for (const EncodedSide* side : sides) {
    if (side->graph != first.graph) fail(ErrorCode::kUnsupported, "the batch has nodes of different graphs; expected nodes of one graph");
    most = std::max(most, static_cast<int64_t>(side->sequences.size()));
    for (const std::vector<int32_t>& ids : side->sequences) rows.length = std::max(rows.length, static_cast<int64_t>(ids.size()));
  }
  if (first.is_group) rows.groups = {.batch = rows.batch, .length = most};
  rows.batch *= most;
  for (const EncodedSide* side : sides) {
    for (const std::vector<int32_t>& ids : side->sequences) copy_padded(ids, rows.length, pad, rows);
    for (auto at = static_cast<int64_t>(side->sequences.size()); at < most; ++at) copy_padded({}, rows.length, pad, rows);
    if (first.is_group) rows.groups.lengths.push_back(static_cast<int32_t>(side->sequences.size()));
  }
  return rows;
}

EncodedBatch collate(const std::vector<const EncodedInput*>& inputs, int32_t pad) {
  std::vector<const EncodedSide*> sides, sources;
  for (const EncodedInput* one : inputs) {
    sides.push_back(&one->input);
    if (one->source) sources.push_back(&*one->source);
  }
  return {.input = collate_side(sides, pad), .source = sources.empty() ? std::nullopt : std::optional(collate_side(sources, pad))};
}

}  // namespace clearhead
