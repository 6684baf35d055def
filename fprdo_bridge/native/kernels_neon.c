/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The weighted SSE with NEON, which is part of every AArch64. IDSE_PORTABLE leaves it out.
 */
#include "kernels.h"

#if defined(__aarch64__) && defined(__GNUC__) && !defined(IDSE_PORTABLE)

#include <arm_neon.h>
#include <string.h>

/* Eight samples or weights of 16 bits each: from one row, and from two rows of 4. 8-bit samples are widened, signed
 * ones keep their bits. */

ALWAYS_INLINE uint16x8_t row_of_8(int type, const void *s, ptrdiff_t i)
{
  return type == SAMPLE_U8 ? vmovl_u8(vld1_u8((const uint8_t *)s + i)) : vld1q_u16((const uint16_t *)s + i);
}

ALWAYS_INLINE uint16x8_t rows_of_4(int type, const void *s, ptrdiff_t stride, ptrdiff_t i)
{
  uint8_t eight[8];
  if (type != SAMPLE_U8)
    return vcombine_u16(vld1_u16((const uint16_t *)s + i), vld1_u16((const uint16_t *)s + i + stride));
  memcpy(eight, (const uint8_t *)s + i, 4);
  memcpy(eight + 4, (const uint8_t *)s + i + stride, 4);
  return vmovl_u8(vld1_u8(eight));
}

ALWAYS_INLINE uint16x8_t difference(int type, uint16x8_t a, uint16x8_t b)
{
  if (type != SAMPLE_S16) return vabdq_u16(a, b);
  return vreinterpretq_u16_s16(vabdq_s16(vreinterpretq_s16_u16(a), vreinterpretq_s16_u16(b)));
}

/* Adds w * (e^2 >> shift) of eight lanes. */
ALWAYS_INLINE uint64x2_t add(int type, uint64x2_t sum, uint16x8_t a, uint16x8_t b, uint16x8_t w, int shift)
{
  const uint16x8_t e = difference(type, a, b);
  const int32x4_t  down = vdupq_n_s32(-shift);
  const uint32x4_t low = vshlq_u32(vmull_u16(vget_low_u16(e), vget_low_u16(e)), down);
  const uint32x4_t high = vshlq_u32(vmull_high_u16(e, e), down);
  const uint32x4_t weight_low = vmovl_u16(vget_low_u16(w)), weight_high = vmovl_high_u16(w);
  sum = vmlal_u32(sum, vget_low_u32(low), vget_low_u32(weight_low));
  sum = vmlal_high_u32(sum, low, weight_low);
  sum = vmlal_u32(sum, vget_low_u32(high), vget_low_u32(weight_high));
  return vmlal_high_u32(sum, high, weight_high);
}

/* Columns by 8 and 4; what is left of rows and columns is left to the definition. */
ALWAYS_INLINE uint64_t neon_sum(int type, const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  const void     *a = block->original, *b = block->coded;
  const ptrdiff_t stride_a = block->original_stride, stride_b = block->coded_stride;
  const int       width = block->width, height = block->height, shift = block->shift;
  uint64x2_t      sum = vdupq_n_u64(0);
  uint64_t        rest = 0;
  int             x = 0;
  ptrdiff_t       y;
  for (; x + 8 <= width; x += 8)
    for (y = 0; y < height; y++)
      sum = add(type, sum, row_of_8(type, a, y * stride_a + x), row_of_8(type, b, y * stride_b + x),
                row_of_8(SAMPLE_U16, w, y * stride_w + x), shift);
  if (x + 4 <= width)
  {
    for (y = 0; y + 2 <= height; y += 2)
      sum =
          add(type, sum, rows_of_4(type, a, stride_a, y * stride_a + x), rows_of_4(type, b, stride_b, y * stride_b + x),
              rows_of_4(SAMPLE_U16, w, stride_w, y * stride_w + x), shift);
    rest += weighted_sum(type, w, stride_w, block, x, x + 4, (int)y, height);
    x += 4;
  }
  return vaddvq_u64(sum) + rest + weighted_sum(type, w, stride_w, block, x, width, 0, height);
}

static uint64_t sum_u8(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  return neon_sum(SAMPLE_U8, w, stride_w, block);
}

static uint64_t sum_u16(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  return neon_sum(SAMPLE_U16, w, stride_w, block);
}

static uint64_t sum_s16(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  return neon_sum(SAMPLE_S16, w, stride_w, block);
}

/* Samples of 32 bits, which only an encoder built for 16-bit video has, are left to plain C. */
static const idse_kernels neon_kernels = { { sum_u8, sum_u16, sum_s16, idse_scalar_s32 } };

const idse_kernels *idse_neon_kernels(void) { return &neon_kernels; }

#else

const idse_kernels *idse_neon_kernels(void) { return NULL; }

#endif
