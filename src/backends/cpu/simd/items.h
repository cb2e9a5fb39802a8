// The backend's parallel loops: items of work on the pool's threads, under an observer where a bench asks for one.
#pragma once

#include <cstdint>
#include <functional>

namespace clearhead::cpu {

/// Told about every work item of the backend's parallel loops, on the thread that runs it: benches measure a limit before each and the item itself.
class ItemObserver {
 public:
  virtual ~ItemObserver() = default;
  virtual void before(int64_t item, int thread) = 0;
  virtual void after(int64_t item, int thread) = 0;
};
/// Null (the default) observes nothing and costs one load per loop. Not for use while another thread computes.
void observe_items(ItemObserver* observer);

/// One item of a loop that hands out several at once, under the observer, if there is one.
void observe_item(int64_t item, int thread, const std::function<void()>& body);

/// parallel_for under the observer, if there is one.
void for_items(int64_t items, const std::function<void(int64_t item, int thread)>& body);

}  // namespace clearhead::cpu
