// Intel AMX: whether this machine has it, and the configuration of a thread's tile registers.
#pragma once

#include <cstdint>

namespace clearhead::cpu {

/// Whether this machine multiplies AMX tiles of bf16 (TDPBF16PS) and Linux lets this process use
/// them. The system is asked once.
bool has_amx_bf16();

namespace detail {
void configure_amx_to(int64_t step);
inline thread_local int64_t amx_state = 0;  // the `step` that is configured; 0: the tiles are not in use
}  // namespace detail

/// Configures this thread's tile registers, unless they are configured so already: all have 16 rows of
/// 64 bytes, except that tile 6 (A) has rows of 4·step bytes and tile 7 (B) has `step` rows (amx-inl.h).
/// The thread holds them until release_amx().
inline void configure_amx(int64_t step) {
  if (detail::amx_state != step) detail::configure_amx_to(step);
}
void release_amx();

/// Releases the tiles at the end of a work item, also when it throws: other code on this thread
/// (oneDNN) configures them for itself.
struct AmxOfAnItem {
  AmxOfAnItem() = default;
  AmxOfAnItem(const AmxOfAnItem&) = delete;
  AmxOfAnItem& operator=(const AmxOfAnItem&) = delete;
  ~AmxOfAnItem() { release_amx(); }
};

}  // namespace clearhead::cpu
