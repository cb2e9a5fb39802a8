// Intel AMX: detection, and configuration of a thread's tile registers.
#pragma once

#include <cstdint>

namespace clearhead::cpu {

/// Returns true if this machine has bf16 AMX (TDPBF16PS) and Linux lets this process use it. Cached after the first call.
bool has_amx_bf16();

namespace detail {
void configure_amx_to(int64_t step);
inline thread_local int64_t amx_state = 0;  // the configured `step`; 0 if the tiles are not in use
}  // namespace detail

/// Configures this thread's tile registers, unless they already have this configuration: all have 16 rows of 64 bytes,
/// except that tile 6 (A) has rows of 4·step bytes and tile 7 (B) has `step` rows (amx-inl.h). The configuration stays
/// until release_amx().
inline void configure_amx(int64_t step) {
  if (detail::amx_state != step) detail::configure_amx_to(step);
}
void release_amx();

/// Releases the tiles at the end of a work item, even if it throws: other code on this thread (oneDNN) configures them
/// itself.
struct AmxOfAnItem {
  AmxOfAnItem() = default;
  AmxOfAnItem(const AmxOfAnItem&) = delete;
  AmxOfAnItem& operator=(const AmxOfAnItem&) = delete;
  ~AmxOfAnItem() { release_amx(); }
};

}  // namespace clearhead::cpu
