// The KV cache: pages of keys and values that grow by append.
//
//   page of key n       n / 256
//   keys of a page      [key_head, 16 panels, d_k, 16 keys]
//   values of a page    [key_head, 256, d_v]                   both f32, or rounded to 16 bits
//
// A sequence of at most 64 keys has one short page of 4 panels. It is copied into a full page when the sequence outgrows it.
// Sentences of twenty tokens then take a quarter of the memory, all of which must be zeroed, and their heads are a quarter as far
// apart. Translating 1,625 lines with 4 beams: 7.0-7.8 s and 680 MB became 6.4-6.5 s and 217 MB.
//
// Only elements of keys at or beyond the length are ever written, so a snapshot (shared pages and its own length) stays valid.
// Pages start as zeros, because vector code may load a whole panel. A copy of the cache clones the last, partly filled page and
// shares the full ones.
#include <algorithm>
#include <cstring>

#include "base/format.h"
#include "base/parallel.h"
#include "clearhead/attend.h"
#include "clearhead/look.h"

namespace clearhead {
namespace {

bool is_real(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16; }

void check_appended(const char* name, const char* axes, const Tensor& tensor) {
  if (tensor.defined() && tensor.rank() == 4 && is_real(tensor.dtype())) return;
  fail(ErrorCode::kShape, "cache: {}: expected f32, bf16 or f16 {}, found {} {}", name, axes, to_string(tensor.dtype()),
       to_string(tensor.shape()));
}

// The tensor in the given dtype: itself if it has that dtype, else a copy.
Tensor in_dtype(const Tensor& tensor, DType dtype) { return tensor.dtype() == dtype ? tensor : to_dtype(tensor, dtype); }

// Pages are allocated in groups with about this many bytes of keys. The pages of a group are adjacent, so that long reads over
// them stay within huge pages of the operating system. Groups are not larger, because a group's memory is freed only when its last
// page is released.
constexpr int64_t kGroupBytes = int64_t{8} << 20;
constexpr int64_t kShort = 64;  // keys: kernels process this many at once

std::vector<std::shared_ptr<KVPage>> empty_pages(const PagedKV& keys, int64_t count, int64_t length) {
  const Tensor all_keys = Tensor::zeros({count, keys.key_heads, length / KVPage::kPanel, keys.d_k, KVPage::kPanel}, keys.dtype);
  const Tensor all_values = Tensor::zeros({count, keys.key_heads, length, keys.d_v}, keys.dtype);
  std::vector<std::shared_ptr<KVPage>> pages;
  for (int64_t page = 0; page < count; ++page) {
    pages.push_back(std::make_shared<KVPage>());
    pages.back()->keys = all_keys.select(0, page);
    pages.back()->values = all_values.select(0, page);
  }
  return pages;
}

// Writes the keys [begin, end) of an append() into the page that holds all of them. Key 0 is the first appended key, at position
// `length` of the cache. T: an unsigned integer as wide as an element.
template <class T>
void write_page(KVPage& page, const Tensor& k, const Tensor& v, int64_t batch, int64_t length, Range new_keys) {
  const int64_t heads = k.size(1), d_k = k.size(3), d_v = v.size(3), k_row = k.stride(2), v_row = v.stride(2), k_step = k.stride(3),
                v_step = v.stride(3);
  T* keys = reinterpret_cast<T*>(page.keys.mutable_raw());
  T* values = reinterpret_cast<T*>(page.values.mutable_raw());
  for (int64_t head = 0; head < heads; ++head) {
    const T* from_k = reinterpret_cast<const T*>(k.raw()) + batch * k.stride(0) + head * k.stride(1);
    const T* from_v = reinterpret_cast<const T*>(v.raw()) + batch * v.stride(0) + head * v.stride(1);
    for (int64_t n = new_keys.begin; n < new_keys.end; ++n) {
      const int64_t inside = (length + n) % KVPage::kLength;
      const int64_t panel = head * (page.length() / KVPage::kPanel) + inside / KVPage::kPanel;
      const T *key = from_k + n * k_row, *value = from_v + n * v_row;
      T* column = keys + panel * d_k * KVPage::kPanel + inside % KVPage::kPanel;
      for (int64_t c = 0; c < d_k; ++c) column[c * KVPage::kPanel] = key[c * k_step];
      T* row = values + (head * page.length() + inside) * d_v;
      for (int64_t c = 0; c < d_v; ++c) row[c] = value[c * v_step];
    }
  }
}

// Copies the first `inside` keys and values of a page; keys are copied in whole panels. `to` must have room for them.
void copy_beginning(const KVPage& from, KVPage& to, int64_t inside) {
  const int64_t panels = (inside + KVPage::kPanel - 1) / KVPage::kPanel;
  const auto copy = [](const Tensor& source, Tensor& target, int64_t rows) {  // the first rows of every head
    if (source.numel() == 0) return;
    const size_t row = source.bytes() / static_cast<size_t>(source.size(0) * source.size(1));
    std::byte* bytes = target.mutable_raw();
    for (int64_t h = 0; h < source.size(0); ++h) {
      std::memcpy(bytes + static_cast<size_t>(h * target.size(1)) * row, source.raw() + static_cast<size_t>(h * source.size(1)) * row,
                  static_cast<size_t>(rows) * row);
    }
  };
  copy(from.keys, to.keys, panels);
  copy(from.values, to.values, inside);
}

}  // namespace

KVCache::KVCache(DType dtype) {
  if (!is_real(dtype)) fail(ErrorCode::kUnsupported, "cache: pages of {}; expected f32, bf16 or f16", to_string(dtype));
  keys_.dtype = dtype;
}

KVCache::KVCache(const KVCache& other) : keys_(other.keys_), writable_(other.writable_) {
  if (keys_.length % KVPage::kLength == 0) return;
  const size_t last = static_cast<size_t>(keys_.length / KVPage::kLength);
  for (size_t batch = 0; batch < writable_.size(); ++batch) {
    const KVPage& shared = *writable_[batch][last];
    auto own = std::make_shared<KVPage>();
    own->keys = shared.keys.clone();
    own->values = shared.values.clone();
    writable_[batch][last] = own;
    keys_.pages[batch][last] = own;
  }
}

KVCache& KVCache::operator=(const KVCache& other) {
  if (this != &other) *this = KVCache(other);
  return *this;
}

// Grows a sequence to `count` pages, the first of which has room for at least `room` keys.
void KVCache::make_room(size_t sequence, int64_t room, int64_t count) {
  std::vector<std::shared_ptr<KVPage>>& pages = writable_[sequence];
  if (!pages.empty() && pages[0] && pages[0]->length() < room) {
    const std::shared_ptr<KVPage> whole = empty_pages(keys_, 1, room)[0];
    copy_beginning(*pages[0], *whole, keys_.length);
    pages[0] = whole;
    keys_.pages[sequence][0] = whole;
  }
  const int64_t missing = count - static_cast<int64_t>(pages.size());
  const int64_t page_bytes = keys_.key_heads * room * std::max<int64_t>(1, keys_.d_k) * static_cast<int64_t>(size_of(keys_.dtype));
  const int64_t group = std::max<int64_t>(1, (kGroupBytes + page_bytes - 1) / std::max<int64_t>(1, page_bytes));
  for (int64_t made = 0; made < missing; made += group) {
    for (const auto& page : empty_pages(keys_, std::min(group, missing - made), room)) {
      pages.push_back(page);
      keys_.pages[sequence].push_back(page);
    }
  }
}

void KVCache::append(const Tensor& new_k, const Tensor& new_v) {
  check_appended("k", "[batch, key_head, new, d_k]", new_k);
  check_appended("v", "[batch, key_head, new, d_v]", new_v);
  const Tensor k = in_dtype(new_k, keys_.dtype), v = in_dtype(new_v, keys_.dtype);
  const bool pairs = k.size(0) == v.size(0) && k.size(1) == v.size(1) && k.size(2) == v.size(2);
  if (!pairs)
    fail(ErrorCode::kShape, "cache: k is {}, v is {}; batch, key heads and new keys must be equal", to_string(k.shape()),
         to_string(v.shape()));
  if (writable_.empty() && keys_.length == 0) {
    keys_.key_heads = k.size(1);
    keys_.d_k = k.size(3);
    keys_.d_v = v.size(3);
    keys_.pages.resize(static_cast<size_t>(k.size(0)));
    writable_.resize(static_cast<size_t>(k.size(0)));
  }
  const int64_t batch = static_cast<int64_t>(writable_.size());
  if (k.size(0) != batch || k.size(1) != keys_.key_heads || k.size(3) != keys_.d_k || v.size(3) != keys_.d_v) {
    fail(ErrorCode::kShape, "cache: holds [{}, {}, {}, d_k {}, d_v {}]; k is {}, v is {}", batch, keys_.key_heads, keys_.length, keys_.d_k,
         keys_.d_v, to_string(k.shape()), to_string(v.shape()));
  }
  const int64_t added = k.size(2), length = keys_.length, first = length / KVPage::kLength;
  const int64_t last = (length + added + KVPage::kLength - 1) / KVPage::kLength;  // number of pages after growing
  const int64_t room = length + added <= kShort ? kShort : KVPage::kLength;       // keys that the first page has room for
  parallel_for(batch, [&](int64_t b, int) { make_room(static_cast<size_t>(b), room, last); });
  const int64_t touched = std::max<int64_t>(0, last - first);
  parallel_for(batch * touched, [&](int64_t item, int) {
    const int64_t b = item / touched, page = first + item % touched;
    const Range new_keys{std::max<int64_t>(0, page * KVPage::kLength - length), std::min(added, (page + 1) * KVPage::kLength - length)};
    const auto write = keys_.dtype == DType::kF32 ? write_page<uint32_t> : write_page<uint16_t>;
    write(*writable_[static_cast<size_t>(b)][static_cast<size_t>(page)], k, v, b, length, new_keys);
  });
  keys_.length += added;
}

void KVCache::select(const std::vector<int64_t>& rows) {
  const auto count = static_cast<int64_t>(writable_.size());
  std::vector<int64_t> uses(writable_.size(), 0);
  for (const int64_t row : rows) {
    if (row < 0 || row >= count)
      fail(ErrorCode::kInvalidArgument, "cache: row {} is out of range: the cache has {} sequences, counted from 0", row, count);
    ++uses[static_cast<size_t>(row)];
  }
  const int64_t inside = keys_.length % KVPage::kLength;
  const auto last = static_cast<size_t>(keys_.length / KVPage::kLength);
  std::vector<std::shared_ptr<KVPage>> spare;  // last pages of dropped sequences that no snapshot shares
  for (size_t row = 0; row < uses.size() && inside > 0; ++row) {
    if (uses[row] == 0 && writable_[row][last].use_count() == 2) spare.push_back(writable_[row][last]);
  }
  struct Copy {
    std::shared_ptr<KVPage>* page;  // the shared page; later its copy
    std::shared_ptr<KVPage> own{};  // memory for the copy; null: to be allocated
  };
  std::vector<Copy> copies;
  std::vector<std::vector<std::shared_ptr<KVPage>>> selected;
  selected.reserve(rows.size());
  for (const int64_t row : rows) {
    selected.push_back(writable_[static_cast<size_t>(row)]);
    if (inside == 0 || --uses[static_cast<size_t>(row)] == 0) continue;
    copies.push_back({&selected.back()[last]});
    if (spare.empty()) continue;
    copies.back().own = std::move(spare.back());
    spare.pop_back();
  }
  parallel_for(static_cast<int64_t>(copies.size()), [&](int64_t at, int) {
    auto& [page, own] = copies[static_cast<size_t>(at)];
    if (!own) own = empty_pages(keys_, 1, (*page)->length())[0];
    copy_beginning(**page, *own, inside);
    *page = std::move(own);
  });
  writable_ = std::move(selected);
  keys_.pages.clear();
  for (const auto& pages : writable_) keys_.pages.emplace_back(pages.begin(), pages.end());
}

void KVCache::keep_last(int64_t count) {
  if (count < 0) fail(ErrorCode::kInvalidArgument, "cache: keep_last({}): expected 0 or more keys", count);
  const int64_t gone = std::max<int64_t>(keys_.first / KVPage::kLength, (keys_.length - std::min(count, keys_.length)) / KVPage::kLength);
  for (size_t b = 0; b < writable_.size(); ++b) {
    for (int64_t page = keys_.first / KVPage::kLength; page < gone; ++page) {
      keys_.pages[b][static_cast<size_t>(page)].reset();
      writable_[b][static_cast<size_t>(page)].reset();
    }
  }
  keys_.first = gone * KVPage::kLength;
}

}  // namespace clearhead
