// Transposes panels [d_k, 16 keys] to rows, pages in parallel.
#include "spec/page_rows.h"

#include <algorithm>
#include <cstring>

#include "base/format.h"
#include "base/parallel.h"

namespace clearhead {
namespace {

constexpr int64_t kPanel = KVPage::kPanel, kLength = KVPage::kLength;

// Copies keys [from, from + count) of one key head of a page. T: an unsigned integer of the size of an element.
template <class T>
void copy_keys(const KVPage& page, int64_t key_head, int64_t from, int64_t count, int64_t d_k, std::byte* out) {
  T* to = reinterpret_cast<T*>(out);
  const T* panels = reinterpret_cast<const T*>(page.keys.raw()) + key_head * page.length() * d_k;
  for (int64_t j = from; j < from + count; ++j) {
    const T* key = panels + j / kPanel * kPanel * d_k + j % kPanel;
    for (int64_t c = 0; c < d_k; ++c) *to++ = key[c * kPanel];
  }
}

// Calls copy(page, key_head, first key within the page, number of keys, destination) for the part of every page that
// lies in `range`, on all threads. Keys of released pages are zeros. Returns [batch, heads, key, width].
template <class Copy>
Tensor gathered(const PagedKV& paged, Range range, Range key_heads, int64_t width, const Copy& copy) {
  const auto batch = static_cast<int64_t>(paged.pages.size());
  Tensor out = Tensor::empty({batch, key_heads.size(), range.size(), width}, paged.dtype);
  if (out.numel() == 0) return out;
  std::byte* memory = out.mutable_raw();
  const int64_t first = range.begin / kLength, pages = (range.end + kLength - 1) / kLength - first;
  const int64_t bytes = width * static_cast<int64_t>(size_of(paged.dtype));
  parallel_for(batch * key_heads.size() * pages, [&](int64_t item, int) {
    const int64_t at = first + item % pages, line = item / pages, head = key_heads.begin + line % key_heads.size();
    const KVPage* page = paged.pages[static_cast<size_t>(line / key_heads.size())][static_cast<size_t>(at)].get();
    const int64_t begin = std::max(range.begin, at * kLength), end = std::min(range.end, (at + 1) * kLength);
    std::byte* to = memory + (line * range.size() + begin - range.begin) * bytes;
    if (page) return copy(*page, head, begin - at * kLength, end - begin, to);
    std::memset(to, 0, static_cast<size_t>((end - begin) * bytes));
  });
  return out;
}

}  // namespace

Tensor key_rows(const PagedKV& paged, Range range, std::optional<int64_t> key_head) {
  const Range heads = key_head ? Range{*key_head, *key_head + 1} : Range{0, paged.key_heads};
  const auto copy = size_of(paged.dtype) == sizeof(uint32_t) ? copy_keys<uint32_t> : copy_keys<uint16_t>;
  return gathered(paged, range, heads, paged.d_k, [&](const KVPage& page, int64_t head, int64_t from, int64_t count, std::byte* to) {
    copy(page, head, from, count, paged.d_k, to);
  });
}

Tensor value_rows(const PagedKV& paged, Range range) {
  const int64_t bytes = paged.d_v * static_cast<int64_t>(size_of(paged.dtype));
  return gathered(paged, range, {0, paged.key_heads}, paged.d_v,
                  [&](const KVPage& page, int64_t head, int64_t from, int64_t count, std::byte* to) {
                    if (!page.values.defined())
                      fail(ErrorCode::kInvalidArgument, "cache: its pages contain keys only, but values were requested");
                    std::memcpy(to, page.values.raw() + (head * page.length() + from) * bytes, static_cast<size_t>(count * bytes));
                  });
}

}  // namespace clearhead
