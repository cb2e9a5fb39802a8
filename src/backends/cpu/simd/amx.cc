// Detects AMX by CPUID, requests Linux's permission for the tile state, and configures and releases a thread's tiles.
#include "backends/cpu/simd/amx.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace clearhead::cpu {

bool has_amx_bf16() {
  static const bool has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kBf16 = 1U << 22U, kTiles = 1U << 24U;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & (kBf16 | kTiles)) != (kBf16 | kTiles)) return false;
    // Linux grants the tile state, 8 KiB per thread, to processes that request it (Documentation/arch/x86/xstate.rst).
    constexpr int kAsk = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
    return ::syscall(SYS_arch_prctl, kAsk, kTileData) == 0;
  }();
  return has;
}

namespace detail {

void configure_amx_to(int64_t step) {
  struct alignas(64) Shapes {  // LDTILECFG, palette 1
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  } shapes;
  for (int i = 0; i < 8; ++i) shapes.row_bytes[i] = 64, shapes.rows[i] = 16;
  shapes.row_bytes[6] = static_cast<uint16_t>(4 * step);
  shapes.rows[7] = static_cast<uint8_t>(step);
  asm volatile("ldtilecfg %0" ::"m"(shapes));
  amx_state = step;
}

}  // namespace detail

void release_amx() {
  if (detail::amx_state == 0) return;
  asm volatile("tilerelease");
  detail::amx_state = 0;
}

}  // namespace clearhead::cpu
