// Chooses the instruction sets that the cpu backend is compiled for. Include before any Highway header.
//
// AVX2 (with FMA) and AVX3 (AVX-512 F, BW, CD, DQ, VL). Kernels for other targets would never be used, so their passes
// are disabled here or, where Highway adds its baseline itself, skipped by CLEARHEAD_TARGET_HAS_KERNELS.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)

// True in the passes of hwy/foreach_target.h that compile kernels.
#define CLEARHEAD_TARGET_HAS_KERNELS (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3)
