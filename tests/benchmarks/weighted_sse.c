/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Time of the weighted SSE and of the plain one, per block size and sample type; see weighted_sse.py. The plain SSE is
 * the loop that everybody writes, which the compiler turns into vector code for the same processor.
 */
#define _POSIX_C_SOURCE 200809L
#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2")))
#else
#define TARGET
#endif

TARGET ALWAYS_INLINE uint64_t plain_sum(int type, const idse_block *block)
{
  uint64_t sum = 0;
  for (ptrdiff_t y = 0; y < block->height; y++)
  {
    uint32_t of_row = 0;
    for (ptrdiff_t x = 0; x < block->width; x++)
    {
      const int64_t error = sample_at(type, block->original, y * block->original_stride + x) -
                            sample_at(type, block->coded, y * block->coded_stride + x);
      of_row += (uint32_t)shifted_square(type, error, block->shift);
    }
    sum += of_row;
  }
  return sum;
}

TARGET static uint64_t plain_u8(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  (void)w, (void)stride_w;
  return plain_sum(SAMPLE_U8, block);
}

TARGET static uint64_t plain_u16(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  (void)w, (void)stride_w;
  return plain_sum(SAMPLE_U16, block);
}

TARGET static uint64_t plain_s16(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  (void)w, (void)stride_w;
  return plain_sum(SAMPLE_S16, block);
}

enum { SIDE = 320, CALLS = 20000, ROUNDS = 31 };
static uint16_t          weights[SIDE * SIDE], one[SIDE * SIDE], other[SIDE * SIDE];
static volatile uint64_t keep;

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Nanoseconds of a call, at blocks that wander over the planes; the least of the rounds, which others disturb least. */
static double time_of(idse_kernel *kernel, int sample_bytes, int size)
{
  double least = 1e30;
  for (int round = 0; round < ROUNDS; round++)
  {
    const double start = now();
    for (int i = 0; i < CALLS * 4 / size; i++)
    {
      const int        at = i * 37 % (SIDE - size) * SIDE + i * 4 % (SIDE - size);
      const idse_block block = { .width = size,
                                 .height = size,
                                 .original = (const char *)one + at * sample_bytes,
                                 .original_stride = SIDE,
                                 .coded = (const char *)other + at * sample_bytes,
                                 .coded_stride = SIDE };
      keep = kernel(weights + at, SIDE, &block);
    }
    const double spent = (now() - start) / (CALLS * 4 / size);
    if (spent < least) least = spent;
  }
  return least;
}

/* Samples of `bits` bits, of noise: the largest errors that they can have. */
static void fill(int bits)
{
  for (int i = 0; i < SIDE * SIDE; i++)
  {
    weights[i] = (uint16_t)(1 + rand() % 1023);
    one[i] = (uint16_t)(rand() & ((1 << bits) - 1));
    other[i] = (uint16_t)(rand() & ((1 << bits) - 1));
  }
}

int main(void)
{
  static const struct {
    const char  *name;
    int          type, bytes, bits;
    idse_kernel *plain;
  } cases[] = { { "int16", SAMPLE_S16, 2, 8, plain_s16 },
                { "int16", SAMPLE_S16, 2, 10, plain_s16 },
                { "uint16", SAMPLE_U16, 2, 8, plain_u16 },
                { "uint16", SAMPLE_U16, 2, 10, plain_u16 },
                { "uint8", SAMPLE_U8, 1, 8, plain_u8 } };
  const idse_kernels *best = idse_best_kernels();
  printf("%s, ns a block\n%-8s %4s %5s %9s %9s %6s %9s\n",
         best == idse_avx2_kernels()   ? "avx2"
         : best == idse_neon_kernels() ? "neon"
                                       : "scalar",
         "samples", "bits", "block", "weighted", "plain", "ratio", "scalar");
  for (int i = 0; i < 5; i++)
  {
    fill(cases[i].bits);
    for (int size = 4; size <= 64; size *= 2)
    {
      const double weighted = time_of(best->sum[cases[i].type], cases[i].bytes, size);
      const double plain = time_of(cases[i].plain, cases[i].bytes, size);
      printf("%-8s %4d %2dx%-2d %9.1f %9.1f %6.2f %9.1f\n", cases[i].name, cases[i].bits, size, size, weighted, plain,
             weighted / plain, time_of(idse_scalar_kernels.sum[cases[i].type], cases[i].bytes, size));
    }
  }
  return 0;
}
