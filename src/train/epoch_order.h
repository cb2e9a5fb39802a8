// The order of one epoch over items in batches: items shuffled, then sorted as the data wants them (similar lengths share a
// batch), then the batches shuffled. It depends on the seed and the epoch's number only.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "base/random.h"

namespace clearhead {

struct EpochOrder {
  std::vector<int64_t> items{}, batches{};
  int64_t epoch = -1;  // which one this is

  /// Makes the order of an epoch unless it is this one.   sort(items): stable, so that items it does not tell apart stay shuffled
  template <class Sort>
  void open(uint64_t seed, int64_t wanted, int64_t item_count, int64_t batch_count, Sort&& sort) {
    if (wanted == epoch) return;
    RandomSequence random(random_bits(seed, static_cast<uint64_t>(wanted)));
    items.resize(static_cast<size_t>(item_count));
    std::iota(items.begin(), items.end(), int64_t{0});
    random.shuffle(items);
    sort(items);
    batches.resize(static_cast<size_t>(batch_count));
    std::iota(batches.begin(), batches.end(), int64_t{0});
    random.shuffle(batches);
    epoch = wanted;
  }
};

}  // namespace clearhead
