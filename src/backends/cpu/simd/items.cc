// Loops over work items. Each item releases the AMX tiles when it ends, because oneDNN configures them itself.
#include "backends/cpu/simd/items.h"

#include "backends/cpu/simd/amx.h"
#include "base/parallel.h"

namespace clearhead::cpu {
namespace {

ItemObserver* item_observer = nullptr;

}  // namespace

void observe_items(ItemObserver* observer) { item_observer = observer; }

void observe_item(int64_t item, int thread, const std::function<void()>& body) {
  ItemObserver* observer = item_observer;
  if (observer) observer->before(item, thread);
  body();
  if (observer) observer->after(item, thread);
}

void for_items(int64_t items, const std::function<void(int64_t item, int thread)>& body) {
  ItemObserver* observer = item_observer;
  parallel_for(items, [&](int64_t item, int thread) {
    if (observer) observer->before(item, thread);
    {
      const AmxOfAnItem matrices;
      body(item, thread);
    }
    if (observer) observer->after(item, thread);
  });
}

}  // namespace clearhead::cpu
