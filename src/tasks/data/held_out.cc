// Chooses the groups with the smallest mixed hashes.
#include "tasks/data/held_out.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace clearhead::tasks {

std::vector<bool> held_out(const std::vector<uint64_t>& groups, double share) {
  constexpr uint64_t kSeed = 0x68656C646F7574;
  // The hashes are mixed, because the upper bits of the hash of a short text depend little on its last letters.
  std::vector<uint64_t> mixed;
  for (const uint64_t group : groups) mixed.push_back(random_bits(kSeed, group));
  std::vector<uint64_t> order = mixed;
  std::sort(order.begin(), order.end());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  const auto count = std::max<int64_t>(1, std::llround(share * static_cast<double>(order.size())));
  std::vector<bool> out;
  for (const uint64_t one : mixed) out.push_back(one <= order[static_cast<size_t>(count - 1)]);
  return out;
}

}  // namespace clearhead::tasks
