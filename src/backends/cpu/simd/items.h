// The backend's parallel loops over work items on the thread pool. A benchmark may observe them.
#pragma once

#include <cstdint>
#include <functional>

namespace clearhead::cpu {

/// Is called before and after every work item of the backend's parallel loops, on the thread that runs the item. A
/// benchmark measures a machine limit before each item, then the item itself.
class ItemObserver {
 public:
  virtual ~ItemObserver() = default;
  virtual void before(int64_t item, int thread) = 0;
  virtual void after(int64_t item, int thread) = 0;
};
/// Sets the observer. Null (the default) observes nothing and costs one load per loop. Must not be called while another
/// thread computes.
void observe_items(ItemObserver* observer);

/// Runs one item, observed if an observer is set. For loops that distribute several items at once.
void observe_item(int64_t item, int thread, const std::function<void()>& body);

/// Runs a parallel_for whose items are observed if an observer is set.
void for_items(int64_t items, const std::function<void(int64_t item, int thread)>& body);

}  // namespace clearhead::cpu
