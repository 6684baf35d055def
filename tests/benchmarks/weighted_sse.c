/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Time of the weighted SSE and of the plain one, per block size and sample type; see weighted_sse.py. The plain SSE is the
 * very same code without its weights: the same loads, loops and 64-bit sums.
 */
#define _POSIX_C_SOURCE 200809L
#include "weighted_sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if HAVE_AVX2
#define VECTOR avx2
AVX2 ALWAYS_INLINE __m256i plain_zero(void) { return avx2_zero(); }
AVX2 ALWAYS_INLINE __m256i plain_add(__m256i sum, __m128i e, __m128i w, int shift)
{
  (void)w;
  const __m256i wide = _mm256_cvtepu16_epi32(e);
  const __m256i square = _mm256_srl_epi32(_mm256_mullo_epi32(wide, wide), _mm_cvtsi32_si128(shift));
  const __m256i even = _mm256_and_si256(square, _mm256_set1_epi64x(0xffffffff));
  return _mm256_add_epi64(_mm256_add_epi64(sum, even), _mm256_srli_epi64(square, 32));
}
#define plain_difference_s16 avx2_difference_s16
#define plain_difference_u16 avx2_difference_u16
#define plain_difference_u8 avx2_difference_u8
#define plain_load8_u16 avx2_load8_u16
#define plain_load4_u16 avx2_load4_u16
#define plain_load4x2_u16 avx2_load4x2_u16
DEFINE_VECTOR_SUM(plain, AVX2, s16, __m256i, avx2_total, avx2_load8_u16, avx2_load4_u16, avx2_load4x2_u16)
DEFINE_VECTOR_SUM(plain, AVX2, u16, __m256i, avx2_total, avx2_load8_u16, avx2_load4_u16, avx2_load4x2_u16)
DEFINE_VECTOR_SUM(plain, AVX2, u8, __m256i, avx2_total, avx2_load8_u8, avx2_load4_u8, avx2_load4x2_u8)
DEFINE_SET(plain, AVX2)
#elif HAVE_NEON
#define VECTOR neon
ALWAYS_INLINE uint64x2_t plain_zero(void) { return neon_zero(); }
ALWAYS_INLINE uint64x2_t plain_add(uint64x2_t sum, uint16x8_t e, uint16x8_t w, int shift)
{
  (void)w;
  const int32x4_t down = vdupq_n_s32(-shift);
  sum = vpadalq_u32(sum, vshlq_u32(vmull_u16(vget_low_u16(e), vget_low_u16(e)), down));
  return vpadalq_u32(sum, vshlq_u32(vmull_high_u16(e, e), down));
}
#define plain_difference_s16 neon_difference_s16
#define plain_difference_u16 neon_difference_u16
#define plain_difference_u8 neon_difference_u8
#define plain_load8_u16 neon_load8_u16
#define plain_load4_u16 neon_load4_u16
#define plain_load4x2_u16 neon_load4x2_u16
DEFINE_VECTOR_SUM(plain, , s16, uint64x2_t, vaddvq_u64, neon_load8_u16, neon_load4_u16, neon_load4x2_u16)
DEFINE_VECTOR_SUM(plain, , u16, uint64x2_t, vaddvq_u64, neon_load8_u16, neon_load4_u16, neon_load4x2_u16)
DEFINE_VECTOR_SUM(plain, , u8, uint64x2_t, vaddvq_u64, neon_load8_u8, neon_load4_u8, neon_load4x2_u8)
DEFINE_SET(plain, )
#else
#error "no vector version for this machine"
#endif

enum { SIDE = 256, CALLS = 20000, ROUNDS = 31 };
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

int main(void)
{
  for (int i = 0; i < SIDE * SIDE; i++)
  {
    weights[i] = (uint16_t)(rand() % 1024);
    one[i] = (uint16_t)(rand() % 256);
    other[i] = (uint16_t)(rand() % 256);
  }
  double (*const times[])(const weighted_sse *, int) = { time_s16, time_u16, time_u8 };
  static const char *const names[] = { "int16", "uint16", "uint8" };
  printf("%s, ns a block\n%-8s %5s %9s %9s %6s %9s\n", NAME(VECTOR), "samples", "block", "weighted", "plain", "ratio", "scalar");
  for (int type = 0; type < 3; type++)
    for (int size = 4; size <= 64; size *= 2)
    {
      const double weighted = times[type](best_kernels(), size), plain = times[type](&plain_kernels, size);
      printf("%-8s %2dx%-2d %9.1f %9.1f %6.2f %9.1f\n", names[type], size, size, weighted, plain, weighted / plain,
             times[type](&scalar_kernels, size));
    }
  return 0;
}
