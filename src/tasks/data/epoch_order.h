// The order of items and batches in one epoch. Items are shuffled and then sorted by the caller's function (so that similar
// lengths share a batch); batches are shuffled. The order depends on the seed and the epoch's number only.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "base/random.h"

namespace clearhead::tasks {

struct EpochOrder {
  std::vector<int64_t> items{}, batches{};
  int64_t epoch = -1;  // the epoch whose order this is; -1: none yet

  /// Computes the order of epoch `wanted`, unless it is the current one.   sort(items): a stable sort, so that items of equal rank
  /// stay shuffled
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

}  // namespace clearhead::tasks
