// The matrix registers of a processor (Intel's AMX): whether there are any, and a thread's use of them.
#pragma once

#include <cstdint>

namespace clearhead::cpu {

/// This machine multiplies matrices of bf16 (TDPBF16PS), and its system lets this process do so. Asks the system once.
bool has_amx_bf16();

namespace detail {
void configure_amx_to(int64_t step);
inline thread_local int64_t amx_state = 0;  // 0: the registers are not in use
}  // namespace detail

/// This thread's registers become 16 rows of 64 bytes, number 6 with rows of 4·step bytes, 7 with `step` of them (amx-inl.h), unless they are so already. They are the
/// thread's until release_amx().
inline void configure_amx(int64_t step) {
  if (detail::amx_state != step) detail::configure_amx_to(step);
}
void release_amx();

/// Lets go of what an item takes, however it ends: others on this thread (oneDNN) set the registers for themselves.
struct AmxOfAnItem {
  AmxOfAnItem() = default;
  AmxOfAnItem(const AmxOfAnItem&) = delete;
  AmxOfAnItem& operator=(const AmxOfAnItem&) = delete;
  ~AmxOfAnItem() { release_amx(); }
};

}  // namespace clearhead::cpu
