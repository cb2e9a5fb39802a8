// An answer of a network from the literature about an input that consists of items: the sentences of a document, the statements of a
// story, the patches of a picture, the intervals of a series. As "masked", the tokens of a sentence, statement or observation are replaced
// by masking_token(), and other items by InputKind::mask.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/format.h"
#include "clearhead/error.h"
#include "explain/network_target.h"

namespace clearhead::explain {

class ItemTarget : public NetworkTarget {
 protected:
  ItemTarget(std::shared_ptr<const Model> model, const ModelInput& input)
      : NetworkTarget(std::move(model), input, "accepts only texts as input") {}

  /// Begins with the items of the input. Throws kUnsupported if it has none that can be removed.
  void find_items() {
    const InputKind& kind = input_kind(model_->info());
    std::vector<Range> items;
    for (const ItemRange& range : plan_.text.items) {
      if (!kind.item || range.kind != kind.item) continue;
      first_ = range.begin;
      for (int64_t id = range.begin; id < range.end; ++id) items.push_back({id, id + 1});
    }
    if (items.empty())
      fail(ErrorCode::kUnsupported, "{}: a model that reads a {} has no items that can be removed", model_->info().name,
           model_->info().reads);
    begin_with(std::move(items));
  }

 private:
  EncodedInput masked(const std::vector<uint8_t>& away) const override {
    EncodedInput out = read_;
    EncodedSide& changed = out.source ? *out.source : out.input;
    if (changed.features.defined()) {
      const Tensor read = changed.features;
      changed.features = read.clone();
      for (size_t id = static_cast<size_t>(first_); id < away.size(); ++id) {
        if (away[id]) input_kind(model_->info()).mask(network_.facts(), static_cast<int64_t>(id) - first_, read, changed.features);
      }
      return out;
    }
    for (size_t item = 0; item < changed.sequences.size(); ++item) {
      std::vector<int32_t>& ids = changed.sequences[item];
      if (away[static_cast<size_t>(first_) + item]) std::fill(ids.begin(), ids.end(), hiding_token());
    }
    return out;
  }

  int64_t first_ = 0;  // id of the first item
};

}  // namespace clearhead::explain
