/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to the bridge: sum of w * ((original - coded)^2 >> shift) over a block, for the sample types that encoders
 * have.
 *
 * The definition stands here, in plain C. Beside it stands one vector version for each instruction set, in a file of
 * its own. All give the same integer, bit for bit, because nothing is ever rounded or cut: an error has 16 bits and a
 * sign, its square 32, a weight 16, and 4096 products of 48 bits fit into 64.
 */
#ifndef FPRDO_KERNELS_H
#define FPRDO_KERNELS_H

#include "idse.h"

/* What samples are; an index of idse_kernels. */
enum { SAMPLE_U8, SAMPLE_U16, SAMPLE_S16, SAMPLE_S32, SAMPLE_TYPES };

/* Of samples of one type. Rows of weights lie stride_w apart. */
typedef uint64_t idse_kernel(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block);

/* The versions of one instruction set, by sample type. */
typedef struct idse_kernels {
  idse_kernel *sum[SAMPLE_TYPES];
} idse_kernels;

extern const idse_kernels idse_scalar_kernels;
idse_kernel               idse_scalar_s32;         /* one of them, for versions that have none of their own */
const idse_kernels       *idse_avx2_kernels(void); /* NULL where this program or this machine has none */
const idse_kernels       *idse_neon_kernels(void);

const idse_kernels *idse_kernels_of(int set); /* IDSE_SCALAR, IDSE_AVX2 or IDSE_NEON; NULL as above */
const idse_kernels *idse_best_kernels(void);

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NOINLINE      __attribute__((noinline))

/* Sample i. The type is a constant wherever this is used, so that one access is all that is left of it. */
ALWAYS_INLINE int64_t sample_at(int type, const void *samples, ptrdiff_t i)
{
  switch (type)
  {
  case SAMPLE_U8:
    return ((const uint8_t *)samples)[i];
  case SAMPLE_U16:
    return ((const uint16_t *)samples)[i];
  case SAMPLE_S16:
    return ((const int16_t *)samples)[i];
  default:
    return ((const int32_t *)samples)[i];
  }
}

/* error^2 >> shift. Of samples of up to 16 bits it is the same in 32 bits, and faster. */
ALWAYS_INLINE uint64_t shifted_square(int type, int64_t error, int shift)
{
  if (type == SAMPLE_S32) return (uint64_t)(error * error) >> shift;
  return (uint32_t)error * (uint32_t)error >> shift;
}

/* The definition, over the columns from x0 to before x1 and the rows from y0 to before y1 of the block. */
ALWAYS_INLINE uint64_t weighted_sum(int type, const uint16_t *w, ptrdiff_t stride_w, const idse_block *block, int x0,
                                    int x1, int y0, int y1)
{
  uint64_t sum = 0;
  for (ptrdiff_t y = y0; y < y1; y++)
    for (ptrdiff_t x = x0; x < x1; x++)
    {
      const int64_t error = sample_at(type, block->original, y * block->original_stride + x) -
                            sample_at(type, block->coded, y * block->coded_stride + x);
      sum += w[y * stride_w + x] * shifted_square(type, error, block->shift);
    }
  return sum;
}

#endif
