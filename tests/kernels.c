/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The best kernels of this machine against the scalar ones, on random blocks: for machines that Python does not run on, an
 * emulated AArch64 for one (test_weighted_sse.py). Exit status 1 if any differ, or if there are none but the scalar ones.
 */
#include "weighted_sse.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 128, BLOCKS = 5000 };
static uint16_t weights[SIDE * SIDE], one[SIDE * SIDE], other[SIDE * SIDE];

/* Any number, but often the least or the largest. */
static uint16_t draw(void) { return (uint16_t)(rand() % 3 ? rand() : rand() % 2 ? 65535 : 0); }

int main(void)
{
  static const int    widths[] = { 1, 2, 3, 4, 5, 6, 8, 12, 16, 20, 24, 32, 48, 64 };
  const weighted_sse *best = best_kernels(), *scalar = &scalar_kernels;
  int                 different = 0;
  for (int i = 0; i < BLOCKS; i++)
  {
    for (int k = 0; k < 512; k++)
    {
      weights[rand() % (SIDE * SIDE)] = draw();
      one[rand() % (SIDE * SIDE)] = draw();
      other[rand() % (SIDE * SIDE)] = (uint16_t)(draw() % (k % 2 ? 256 : 65536));
    }
    const int width = widths[rand() % 14], height = 1 + rand() % 64, shift = rand() % 3 ? 0 : rand() % 17;
    const int at = rand() % (SIDE - 64) * SIDE + rand() % (SIDE - 64);
    const uint16_t *w = weights + at, *a = one + at, *b = other + at;
    const int16_t  *sa = (const int16_t *)a, *sb = (const int16_t *)b;
    const uint8_t  *ba = (const uint8_t *)a, *bb = (const uint8_t *)b;
    different += best->block_s16(w, SIDE, sa, SIDE, sb, SIDE, width, height, shift) !=
                 scalar->block_s16(w, SIDE, sa, SIDE, sb, SIDE, width, height, shift);
    different += best->block_u16(w, SIDE, a, SIDE, b, SIDE, width, height) !=
                 scalar->block_u16(w, SIDE, a, SIDE, b, SIDE, width, height);
    different += best->block_u8(w, SIDE, ba, SIDE, bb, SIDE, width, height) !=
                 scalar->block_u8(w, SIDE, ba, SIDE, bb, SIDE, width, height);
  }
  printf("%d of %d differ\n", different, 3 * BLOCKS);
  return different != 0 || best == scalar;
}
