// Reads keys and values of KV pages as f32. Included once per target.
//
//   f32: unchanged      bf16: 16 bits shifted up      f16: VCVTPH2PS (Highway's AVX2 target includes F16C)
//
// Widening is exact. Decode widens elements as it loads them into registers. Kernels over f32 key tiles get the tile
// widened into the thread's scratch memory. So a score over 16-bit keys is the same chain as one over f32 keys of the
// same values, and has the same bits.
#if defined(CLEARHEAD_CPU_SCORE_PAGE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SCORE_PAGE_INL_H_
#undef CLEARHEAD_CPU_SCORE_PAGE_INL_H_
#else
#define CLEARHEAD_CPU_SCORE_PAGE_INL_H_
#endif

#include <algorithm>

#include "backends/cpu/score/score_view.h"
#include "backends/cpu/simd/scratch.h"
#include "backends/cpu/simd/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// Element types of bf16 and f16 pages.
struct Brain {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

/// Calls f with a value of the pages' element type, as a type tag.
template <class F>
HWY_INLINE decltype(auto) with_element(DType dtype, F&& f) {
  if (dtype == DType::kBF16) return f(Brain{});
  if (dtype == DType::kF16) return f(Half{});
  return f(0.0F);
}

HWY_INLINE float widened(float x) { return x; }
HWY_INLINE float widened(Brain x) { return bf16_to_f32(x.bits); }
HWY_INLINE float widened(Half x) { return f16_to_f32(x.bits); }

HWY_INLINE Floats load_widened(const float* from) { return hn::LoadU(F32(), from); }
HWY_INLINE Floats load_widened(const Brain* from) {
  const hn::Rebind<uint16_t, F32> narrow;
  const hn::Rebind<uint32_t, F32> word;
  return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(word, hn::LoadU(narrow, reinterpret_cast<const uint16_t*>(from)))));
}
HWY_INLINE Floats load_widened(const Half* from) {
  const hn::Rebind<uint16_t, F32> narrow;
  const hn::Rebind<hwy::float16_t, F32> half;
  return hn::PromoteTo(F32(), hn::BitCast(half, hn::LoadU(narrow, reinterpret_cast<const uint16_t*>(from))));
}

template <class T>
inline void widen(const T* from, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(load_widened(from + i), F32(), to + i);
  for (; i < count; ++i) to[i] = widened(from[i]);
}

/// Returns the panels of the page that begins at key `tile`. For a 16-bit page, only the panels that hold keys
/// [begin, end) are widened, into the thread's scratch memory; they are valid until the thread's next call.
inline const float* tile_panels(const ScoreView& view, int64_t tile, int64_t begin, int64_t end) {
  if (view.page_dtype == DType::kF32) return view.panels<float>(tile / kKeyTile);
  float* room = ThreadScratch::widened_keys(kKeyTile * view.d_k);
  const int64_t first = (begin - tile) / KVPage::kPanel * KVPage::kPanel * view.d_k;
  const int64_t last = (end - tile + KVPage::kPanel - 1) / KVPage::kPanel * KVPage::kPanel * view.d_k;
  with_element(view.page_dtype,
               [&](auto element) { widen(view.panels<decltype(element)>(tile / kKeyTile) + first, last - first, room + first); });
  return room;
}

/// The values of one head, row-major, in a tensor or in pages.
struct ValueView {
  const float* values = nullptr;
  int64_t stride = 0, d_v = 0;
  const std::byte* const* pages = nullptr;
  DType page_dtype = DType::kF32;
  int64_t key_head = 0, page_keys = kKeyTile;  // page_keys: as in ScoreView

  bool is_narrow() const { return pages && page_dtype != DType::kF32; }
  // The row of key `key` within its page.
  template <class T>
  const T* in_page(int64_t key) const {
    return reinterpret_cast<const T*>(pages[key / kKeyTile]) + (key_head * page_keys + key % kKeyTile) * d_v;
  }
  const std::byte* values_at(int64_t key) const {
    return pages[key / kKeyTile] + (key_head * page_keys + key % kKeyTile) * d_v * static_cast<int64_t>(size_of(page_dtype));
  }
  // The rows of keys [key, key + count), which all lie in one key tile. Rows of 16-bit pages are widened into the
  // thread's scratch memory and are valid until the thread's next call.
  const float* rows(int64_t key, int64_t count) const {
    if (!pages) return values + key * stride;
    if (!is_narrow()) return in_page<float>(key);
    float* room = ThreadScratch::widened_values(count * d_v);
    widen_rows(key, count, room);
    return room;
  }
  void widen_rows(int64_t key, int64_t count, float* to) const {
    with_element(page_dtype, [&](auto element) { widen(in_page<decltype(element)>(key), count * d_v, to); });
  }
};

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
