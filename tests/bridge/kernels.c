/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The best kernels of this machine against the scalar ones, on random blocks: for machines that Python does not run on,
 * an emulated AArch64 for one (test_bridge_kernels.py). Exit status 1 if any differ, or if there are none but the scalar
 * ones.
 */
#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 128, BLOCKS = 5000 };
static uint16_t weights[SIDE * SIDE];
static uint32_t one[SIDE * SIDE], other[SIDE * SIDE]; /* of samples of any type */

/* Any number, but often the least or the largest. */
static uint16_t draw(void) { return (uint16_t)(rand() % 3 ? rand() : rand() % 2 ? 65535 : 0); }

int main(void)
{
  static const int    widths[] = { 1, 2, 3, 4, 5, 6, 8, 12, 16, 20, 24, 32, 48, 64 };
  const idse_kernels *best = idse_best_kernels();
  uint16_t           *samples[2] = { (uint16_t *)one, (uint16_t *)other };
  int                 different = 0;
  for (int i = 0; i < BLOCKS; i++)
  {
    for (int k = 0; k < 512; k++)
    {
      weights[rand() % (SIDE * SIDE)] = draw();
      samples[0][rand() % (SIDE * SIDE)] = draw();
      samples[1][rand() % (SIDE * SIDE)] = (uint16_t)(draw() % (k % 2 ? 256 : 65536));
    }
    const int at = rand() % (SIDE - 64) * SIDE + rand() % (SIDE - 64);
    for (int type = 0; type < SAMPLE_TYPES; type++)
    {
      const int        bytes = type == SAMPLE_U8 ? 1 : type == SAMPLE_S32 ? 4 : 2;
      const idse_block block = { .width = widths[rand() % 14],
                                 .height = 1 + rand() % 64,
                                 .shift = rand() % 3 ? 0 : rand() % 17,
                                 .original = (const char *)one + at * bytes,
                                 .original_stride = SIDE,
                                 .coded = (const char *)other + at * bytes,
                                 .coded_stride = SIDE };
      different +=
          best->sum[type](weights + at, SIDE, &block) != idse_scalar_kernels.sum[type](weights + at, SIDE, &block);
    }
  }
  printf("%d of %d differ\n", different, SAMPLE_TYPES * BLOCKS);
  return different != 0 || best == &idse_scalar_kernels;
}
