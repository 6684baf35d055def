/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The weighted SSE in plain C, as kernels.h defines it, and the choice between its versions.
 */
#include "kernels.h"

static uint64_t sum_u8(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  return weighted_sum(SAMPLE_U8, w, stride_w, block, 0, block->width, 0, block->height);
}

static uint64_t sum_u16(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  return weighted_sum(SAMPLE_U16, w, stride_w, block, 0, block->width, 0, block->height);
}

static uint64_t sum_s16(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  return weighted_sum(SAMPLE_S16, w, stride_w, block, 0, block->width, 0, block->height);
}

uint64_t idse_scalar_s32(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  return weighted_sum(SAMPLE_S32, w, stride_w, block, 0, block->width, 0, block->height);
}

const idse_kernels idse_scalar_kernels = { { sum_u8, sum_u16, sum_s16, idse_scalar_s32 } };

const idse_kernels *idse_kernels_of(int set)
{
  return set == IDSE_AVX2 ? idse_avx2_kernels() : set == IDSE_NEON ? idse_neon_kernels() : &idse_scalar_kernels;
}

const idse_kernels *idse_best_kernels(void)
{
  const idse_kernels *avx2 = idse_avx2_kernels(), *neon = idse_neon_kernels();
  return avx2 != NULL ? avx2 : neon != NULL ? neon : &idse_scalar_kernels;
}
