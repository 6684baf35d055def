/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to idse.c: sum of w * ((a - b)^2 >> shift) over a block, for the sample types and the ways of addressing that
 * encoders have. Beside the scalar reference stands one vector version for each instruction set; all give the same
 * integer, bit for bit, because nothing is ever rounded or cut: |a - b| has 16 bits, its square 32, a weight 16, and 4096
 * products of 48 bits fit into 64.
 *
 * AVX2 is compiled in on x86-64 whatever the compiler's target is, and chosen when a picture is made; so one program
 * runs on every machine. NEON is part of every AArch64.
 */
#ifndef FPRDO_WEIGHTED_SSE_H
#define FPRDO_WEIGHTED_SSE_H

#include "idse.h"

#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAVE_AVX2 1
#include <immintrin.h>
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define HAVE_NEON 1
#include <arm_neon.h>
#endif

/* The versions of one instruction set. `block`: rows lie `stride` samples apart. `rows`: row r begins at a[r] + x. */
typedef struct weighted_sse {
  uint64_t (*block_s16)(const uint16_t *w, ptrdiff_t stride_w, const int16_t *a, ptrdiff_t stride_a, const int16_t *b,
                        ptrdiff_t stride_b, int width, int height, int shift);
  uint64_t (*block_u16)(const uint16_t *w, ptrdiff_t stride_w, const uint16_t *a, ptrdiff_t stride_a, const uint16_t *b,
                        ptrdiff_t stride_b, int width, int height);
  uint64_t (*block_u8)(const uint16_t *w, ptrdiff_t stride_w, const uint8_t *a, ptrdiff_t stride_a, const uint8_t *b,
                       ptrdiff_t stride_b, int width, int height);
  uint64_t (*rows_u16)(const uint16_t *w, ptrdiff_t stride_w, uint16_t *const *a, ptrdiff_t x_a, uint16_t *const *b,
                       ptrdiff_t x_b, int width, int height);
  uint64_t (*rows_u8)(const uint16_t *w, ptrdiff_t stride_w, uint8_t *const *a, ptrdiff_t x_a, uint8_t *const *b,
                      ptrdiff_t x_b, int width, int height);
} weighted_sse;

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Samples of either way of addressing; which one is a constant wherever this is used, so it leaves no code. */
#define DEFINE_SAMPLES(type, sample)                                                                                   \
  typedef struct samples_##type {                                                                                      \
    const sample  *first;                                                                                              \
    ptrdiff_t      stride;                                                                                             \
    sample *const *rows; /* NULL: `stride` samples apart */                                                            \
  } samples_##type;                                                                                                    \
  ALWAYS_INLINE const sample *row_##type(samples_##type s, int row)                                                    \
  {                                                                                                                    \
    return s.rows != NULL ? s.rows[row] + s.stride : s.first + row * s.stride;                                         \
  }

DEFINE_SAMPLES(s16, int16_t)
DEFINE_SAMPLES(u16, uint16_t)
DEFINE_SAMPLES(u8, uint8_t)

/* Columns from `column` on, one by one. */
#define DEFINE_SCALAR_SUM(type)                                                                                        \
  ALWAYS_INLINE uint64_t scalar_sum_##type(const uint16_t *w, ptrdiff_t stride_w, samples_##type a, samples_##type b,  \
                                           int column, int width, int height, int shift)                               \
  {                                                                                                                    \
    uint64_t sum = 0;                                                                                                  \
    for (int row = 0; row < height; row++, w += stride_w)                                                              \
      for (int i = column; i < width; i++)                                                                             \
      {                                                                                                                \
        const uint32_t e = (uint32_t)((int)row_##type(a, row)[i] - row_##type(b, row)[i]);                             \
        sum += (uint64_t)w[i] * (e * e >> shift); /* e wraps as unsigned, so that its square never does */             \
      }                                                                                                                \
    return sum;                                                                                                        \
  }

DEFINE_SCALAR_SUM(s16)
DEFINE_SCALAR_SUM(u16)
DEFINE_SCALAR_SUM(u8)

/* The entries of an unsigned type for an instruction set. */
#define DEFINE_KERNELS(set, target, type, sample)                                                                      \
  target static uint64_t set##_block_##type(const uint16_t *w, ptrdiff_t stride_w, const sample *a,                    \
                                            ptrdiff_t stride_a, const sample *b, ptrdiff_t stride_b, int width,        \
                                            int height)                                                                \
  {                                                                                                                    \
    const samples_##type samples_a = { a, stride_a, NULL }, samples_b = { b, stride_b, NULL };                         \
    return set##_sum_##type(w, stride_w, samples_a, samples_b, 0, width, height, 0);                                   \
  }                                                                                                                    \
  target static uint64_t set##_rows_##type(const uint16_t *w, ptrdiff_t stride_w, sample *const *a, ptrdiff_t x_a,     \
                                           sample *const *b, ptrdiff_t x_b, int width, int height)                     \
  {                                                                                                                    \
    const samples_##type samples_a = { NULL, x_a, a }, samples_b = { NULL, x_b, b };                                   \
    return set##_sum_##type(w, stride_w, samples_a, samples_b, 0, width, height, 0);                                   \
  }

#define DEFINE_SET(set, target)                                                                                        \
  DEFINE_KERNELS(set, target, u16, uint16_t)                                                                           \
  DEFINE_KERNELS(set, target, u8, uint8_t)                                                                             \
  target static uint64_t set##_block_s16(const uint16_t *w, ptrdiff_t stride_w, const int16_t *a, ptrdiff_t stride_a,  \
                                         const int16_t *b, ptrdiff_t stride_b, int width, int height, int shift)       \
  {                                                                                                                    \
    const samples_s16 samples_a = { a, stride_a, NULL }, samples_b = { b, stride_b, NULL };                            \
    return set##_sum_s16(w, stride_w, samples_a, samples_b, 0, width, height, shift);                                  \
  }                                                                                                                    \
  static const weighted_sse set##_kernels = { set##_block_s16, set##_block_u16, set##_block_u8, set##_rows_u16,        \
                                              set##_rows_u8 };

DEFINE_SET(scalar, )

/* Blocks whose width is no multiple of 4 are left to the scalar version from the last such column on. Eight samples are
 * a vector; of the last four columns two rows at a time are. */
#define DEFINE_VECTOR_SUM(set, target, type, vector, sum_of, load8, load4, load4x2)                                    \
  target ALWAYS_INLINE uint64_t set##_sum_##type(const uint16_t *w, ptrdiff_t stride_w, samples_##type a,              \
                                                 samples_##type b, int column, int width, int height, int shift)       \
  {                                                                                                                    \
    vector sum = set##_zero();                                                                                         \
    for (; column + 8 <= width; column += 8)                                                                           \
      for (int row = 0; row < height; row++)                                                                           \
        sum = set##_add(sum, set##_difference_##type(load8(row_##type(a, row) + column), load8(row_##type(b, row) + column)), \
                        set##_load8_u16(w + row * stride_w + column), shift);                                          \
    if (column + 4 <= width)                                                                                           \
    {                                                                                                                  \
      int row = 0;                                                                                                     \
      for (; row + 2 <= height; row += 2)                                                                              \
        sum = set##_add(sum,                                                                                           \
                        set##_difference_##type(load4x2(row_##type(a, row) + column, row_##type(a, row + 1) + column), \
                                                load4x2(row_##type(b, row) + column, row_##type(b, row + 1) + column)), \
                        set##_load4x2_u16(w + row * stride_w + column, w + (row + 1) * stride_w + column), shift);     \
      if (row < height)                                                                                                \
        sum = set##_add(sum, set##_difference_##type(load4(row_##type(a, row) + column), load4(row_##type(b, row) + column)), \
                        set##_load4_u16(w + row * stride_w + column), shift);                                          \
      column += 4;                                                                                                     \
    }                                                                                                                  \
    return sum_of(sum) + (column < width ? scalar_sum_##type(w, stride_w, a, b, column, width, height, shift) : 0);    \
  }

#if HAVE_AVX2

#define AVX2 __attribute__((target("avx2")))

AVX2 ALWAYS_INLINE __m256i avx2_zero(void) { return _mm256_setzero_si256(); }

AVX2 ALWAYS_INLINE uint64_t avx2_total(__m256i sum)
{
  const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(half, _mm_unpackhi_epi64(half, half)));
}

/* sum + w * (e^2 >> shift), in four lanes of 64 bits; e and w are eight unsigned 16-bit numbers. */
AVX2 ALWAYS_INLINE __m256i avx2_add(__m256i sum, __m128i e, __m128i w, int shift)
{
  const __m256i wide = _mm256_cvtepu16_epi32(e), weight = _mm256_cvtepu16_epi32(w);
  const __m256i square = _mm256_srl_epi32(_mm256_mullo_epi32(wide, wide), _mm_cvtsi32_si128(shift));
  const __m256i even = _mm256_mul_epu32(square, weight);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(square, 32), _mm256_srli_epi64(weight, 32));
  return _mm256_add_epi64(_mm256_add_epi64(sum, even), odd);
}

AVX2 ALWAYS_INLINE __m128i avx2_load8_u16(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
AVX2 ALWAYS_INLINE __m128i avx2_load4_u16(const void *p) { return _mm_loadl_epi64((const __m128i *)p); }
AVX2 ALWAYS_INLINE __m128i avx2_load4x2_u16(const void *p, const void *q)
{
  return _mm_unpacklo_epi64(avx2_load4_u16(p), avx2_load4_u16(q));
}
AVX2 ALWAYS_INLINE __m128i avx2_load8_u8(const void *p) { return _mm_cvtepu8_epi16(avx2_load4_u16(p)); }
AVX2 ALWAYS_INLINE __m128i avx2_load4_u8(const void *p)
{
  int four;
  memcpy(&four, p, sizeof four);
  return _mm_cvtepu8_epi16(_mm_cvtsi32_si128(four));
}
AVX2 ALWAYS_INLINE __m128i avx2_load4x2_u8(const void *p, const void *q)
{
  return _mm_unpacklo_epi64(avx2_load4_u8(p), avx2_load4_u8(q));
}

/* Larger minus smaller, modulo 2^16: right for all 16-bit numbers, signed ones too. */
AVX2 ALWAYS_INLINE __m128i avx2_difference_s16(__m128i a, __m128i b)
{
  return _mm_sub_epi16(_mm_max_epi16(a, b), _mm_min_epi16(a, b));
}
AVX2 ALWAYS_INLINE __m128i avx2_difference_u16(__m128i a, __m128i b)
{
  return _mm_sub_epi16(_mm_max_epu16(a, b), _mm_min_epu16(a, b));
}
AVX2 ALWAYS_INLINE __m128i avx2_difference_u8(__m128i a, __m128i b) { return _mm_abs_epi16(_mm_sub_epi16(a, b)); }

DEFINE_VECTOR_SUM(avx2, AVX2, s16, __m256i, avx2_total, avx2_load8_u16, avx2_load4_u16, avx2_load4x2_u16)
DEFINE_VECTOR_SUM(avx2, AVX2, u16, __m256i, avx2_total, avx2_load8_u16, avx2_load4_u16, avx2_load4x2_u16)
DEFINE_VECTOR_SUM(avx2, AVX2, u8, __m256i, avx2_total, avx2_load8_u8, avx2_load4_u8, avx2_load4x2_u8)
DEFINE_SET(avx2, AVX2)

#elif HAVE_NEON

ALWAYS_INLINE uint64x2_t neon_zero(void) { return vdupq_n_u64(0); }

ALWAYS_INLINE uint64x2_t neon_add(uint64x2_t sum, uint16x8_t e, uint16x8_t w, int shift)
{
  const int32x4_t  down = vdupq_n_s32(-shift);
  const uint32x4_t low = vshlq_u32(vmull_u16(vget_low_u16(e), vget_low_u16(e)), down);
  const uint32x4_t high = vshlq_u32(vmull_high_u16(e, e), down);
  const uint32x4_t weight_low = vmovl_u16(vget_low_u16(w)), weight_high = vmovl_high_u16(w);
  sum = vmlal_u32(sum, vget_low_u32(low), vget_low_u32(weight_low));
  sum = vmlal_high_u32(sum, low, weight_low);
  sum = vmlal_u32(sum, vget_low_u32(high), vget_low_u32(weight_high));
  return vmlal_high_u32(sum, high, weight_high);
}

ALWAYS_INLINE uint16x8_t neon_load8_u16(const void *p) { return vld1q_u16((const uint16_t *)p); }
ALWAYS_INLINE uint16x8_t neon_load4x2_u16(const void *p, const void *q)
{
  return vcombine_u16(vld1_u16((const uint16_t *)p), vld1_u16((const uint16_t *)q));
}
ALWAYS_INLINE uint16x8_t neon_load4_u16(const void *p)
{
  return vcombine_u16(vld1_u16((const uint16_t *)p), vdup_n_u16(0));
}
ALWAYS_INLINE uint16x8_t neon_load8_u8(const void *p) { return vmovl_u8(vld1_u8((const uint8_t *)p)); }
ALWAYS_INLINE uint16x8_t neon_load4x2_u8(const void *p, const void *q)
{
  uint8_t eight[8];
  memcpy(eight, p, 4);
  memcpy(eight + 4, q, 4);
  return neon_load8_u8(eight);
}
ALWAYS_INLINE uint16x8_t neon_load4_u8(const void *p)
{
  uint8_t eight[8] = { 0 };
  memcpy(eight, p, 4);
  return neon_load8_u8(eight);
}

ALWAYS_INLINE uint16x8_t neon_difference_u16(uint16x8_t a, uint16x8_t b) { return vabdq_u16(a, b); }
ALWAYS_INLINE uint16x8_t neon_difference_u8(uint16x8_t a, uint16x8_t b) { return vabdq_u16(a, b); }
ALWAYS_INLINE uint16x8_t neon_difference_s16(uint16x8_t a, uint16x8_t b)
{
  return vreinterpretq_u16_s16(vabdq_s16(vreinterpretq_s16_u16(a), vreinterpretq_s16_u16(b)));
}

DEFINE_VECTOR_SUM(neon, , s16, uint64x2_t, vaddvq_u64, neon_load8_u16, neon_load4_u16, neon_load4x2_u16)
DEFINE_VECTOR_SUM(neon, , u16, uint64x2_t, vaddvq_u64, neon_load8_u16, neon_load4_u16, neon_load4x2_u16)
DEFINE_VECTOR_SUM(neon, , u8, uint64x2_t, vaddvq_u64, neon_load8_u8, neon_load4_u8, neon_load4x2_u8)
DEFINE_SET(neon, )

#endif

/* The kernels of `set` (IDSE_SCALAR, IDSE_AVX2, IDSE_NEON), NULL where this program or this machine has none. */
static const weighted_sse *kernels_of(int set)
{
#if HAVE_AVX2
  if (set == IDSE_AVX2 && __builtin_cpu_supports("avx2")) return &avx2_kernels;
#elif HAVE_NEON
  if (set == IDSE_NEON) return &neon_kernels;
#endif
  return set == IDSE_SCALAR ? &scalar_kernels : NULL;
}

static const weighted_sse *best_kernels(void)
{
  const weighted_sse *avx2 = kernels_of(IDSE_AVX2), *neon = kernels_of(IDSE_NEON);
  return avx2 != NULL ? avx2 : neon != NULL ? neon : &scalar_kernels;
}

#endif
