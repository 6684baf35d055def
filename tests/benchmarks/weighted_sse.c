/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Time of the weighted SSE and of the plain one, per block size and sample type; see weighted_sse.py. The plain SSE is the
 * loop that everybody writes, which the compiler turns into vector code for the same processor.
 */
#define _POSIX_C_SOURCE 200809L
#include "weighted_sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if HAVE_X86
#define VECTOR avx2
#define TARGET AVX2
#elif HAVE_NEON
#define VECTOR neon
#define TARGET
#else
#define VECTOR scalar
#define TARGET
#endif

#define DEFINE_PLAIN(type, sample)                                                                                     \
  ALWAYS_INLINE uint64_t plain_sum_##type(const uint16_t *w, ptrdiff_t stride_w, samples_##type a, samples_##type b,   \
                                          int width, int height, int shift)                                            \
  {                                                                                                                    \
    uint64_t sum = 0;                                                                                                  \
    (void)w, (void)stride_w;                                                                                           \
    for (int row = 0; row < height; row++)                                                                             \
    {                                                                                                                  \
      const sample *one = row_##type(a, row), *other = row_##type(b, row);                                             \
      uint32_t of_row = 0;                                                                                             \
      for (int i = 0; i < width; i++)                                                                                  \
      {                                                                                                                \
        const int e = one[i] - other[i];                                                                               \
        of_row += (uint32_t)(e * e) >> shift;                                                                          \
      }                                                                                                                \
      sum += of_row;                                                                                                   \
    }                                                                                                                  \
    return sum;                                                                                                        \
  }
DEFINE_PLAIN(s16, int16_t)
DEFINE_PLAIN(u16, uint16_t)
DEFINE_PLAIN(u8, uint8_t)
DEFINE_SET(plain, TARGET)

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
#define DEFINE_TIME(type, sample, ...)                                                                                 \
  static double time_##type(const weighted_sse *kernels, int size)                                                     \
  {                                                                                                                    \
    double least = 1e30;                                                                                               \
    for (int round = 0; round < ROUNDS; round++)                                                                       \
    {                                                                                                                  \
      const double start = now();                                                                                      \
      for (int i = 0; i < CALLS * 4 / size; i++)                                                                       \
      {                                                                                                                \
        const int at = i * 37 % (SIDE - size) * SIDE + i * 4 % (SIDE - size);                                          \
        keep = kernels->block_##type(weights + at, SIDE, (const sample *)one + at, SIDE, (const sample *)other + at,   \
                                     SIDE, size, size, ##__VA_ARGS__);                                                 \
      }                                                                                                                \
      const double spent = (now() - start) / (CALLS * 4 / size);                                                       \
      if (spent < least) least = spent;                                                                                \
    }                                                                                                                  \
    return least;                                                                                                      \
  }

DEFINE_TIME(s16, int16_t, 0)
DEFINE_TIME(u16, uint16_t)
DEFINE_TIME(u8, uint8_t)

#define NAME_OF(set) #set
#define NAME(set) NAME_OF(set)

/* Samples of `bits` bits, of noise: the largest errors that they can have. */
static void fill(int bits)
{
  for (int i = 0; i < SIDE * SIDE; i++)
  {
    weights[i] = (uint16_t)(rand() % 1024);
    one[i] = (uint16_t)(rand() & ((1 << bits) - 1));
    other[i] = (uint16_t)(rand() & ((1 << bits) - 1));
  }
}

int main(void)
{
  double (*const times[])(const weighted_sse *, int) = { time_s16, time_s16, time_u16, time_u16, time_u8 };
  static const char *const names[] = { "int16", "int16", "uint16", "uint16", "uint8" };
  static const int         bits[] = { 8, 10, 8, 10, 8 };
  printf("%s, ns a block\n%-8s %4s %5s %9s %9s %6s %9s\n", NAME(VECTOR), "samples", "bits", "block", "weighted", "plain", "ratio",
         "scalar");
  for (int type = 0; type < 5; type++)
  {
    fill(bits[type]);
    for (int size = 4; size <= 64; size *= 2)
    {
      const double weighted = times[type](best_kernels(), size), plain = times[type](&plain_kernels, size);
      printf("%-8s %4d %2dx%-2d %9.1f %9.1f %6.2f %9.1f\n", names[type], bits[type], size, size, weighted, plain,
             weighted / plain, times[type](&scalar_kernels, size));
    }
  }
  return 0;
}
