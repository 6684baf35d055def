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

/* IDSE_PORTABLE leaves the plain C alone. */
#if defined(IDSE_PORTABLE) || !defined(__GNUC__)
#elif defined(__x86_64__)
#define HAVE_X86 1
#include <immintrin.h>
#elif defined(__aarch64__)
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

/* Rows from `row` on and columns from `column` on, one by one. */
#define DEFINE_SCALAR_SUM(type)                                                                                        \
  ALWAYS_INLINE uint64_t rest_##type(const uint16_t *w, ptrdiff_t stride_w, samples_##type a, samples_##type b,         \
                                     int column, int width, int row, int height, int shift)                            \
  {                                                                                                                    \
    uint64_t sum = 0;                                                                                                  \
    for (; row < height; row++)                                                                                        \
      for (int i = column; i < width; i++)                                                                             \
      {                                                                                                                \
        const uint32_t e = (uint32_t)((int)row_##type(a, row)[i] - row_##type(b, row)[i]);                             \
        sum += (uint64_t)w[row * stride_w + i] * (e * e >> shift); /* e wraps as unsigned: its square never does */    \
      }                                                                                                                \
    return sum;                                                                                                        \
  }                                                                                                                    \
  ALWAYS_INLINE uint64_t scalar_sum_##type(const uint16_t *w, ptrdiff_t stride_w, samples_##type a, samples_##type b,  \
                                           int width, int height, int shift)                                           \
  {                                                                                                                    \
    return rest_##type(w, stride_w, a, b, 0, width, 0, height, shift);                                                 \
  }

DEFINE_SCALAR_SUM(s16)
DEFINE_SCALAR_SUM(u16)
DEFINE_SCALAR_SUM(u8)

/* The entries of an instruction set. */
#define DEFINE_ENTRIES(set, target, type, sample)                                                                      \
  target static uint64_t set##_block_##type(const uint16_t *w, ptrdiff_t stride_w, const sample *a,                    \
                                            ptrdiff_t stride_a, const sample *b, ptrdiff_t stride_b, int width,        \
                                            int height)                                                                \
  {                                                                                                                    \
    const samples_##type samples_a = { a, stride_a, NULL }, samples_b = { b, stride_b, NULL };                         \
    return set##_sum_##type(w, stride_w, samples_a, samples_b, width, height, 0);                                      \
  }                                                                                                                    \
  target static uint64_t set##_rows_##type(const uint16_t *w, ptrdiff_t stride_w, sample *const *a, ptrdiff_t x_a,     \
                                           sample *const *b, ptrdiff_t x_b, int width, int height)                     \
  {                                                                                                                    \
    const samples_##type samples_a = { NULL, x_a, a }, samples_b = { NULL, x_b, b };                                   \
    return set##_sum_##type(w, stride_w, samples_a, samples_b, width, height, 0);                                      \
  }

#define DEFINE_SET(set, target)                                                                                        \
  DEFINE_ENTRIES(set, target, u16, uint16_t)                                                                           \
  DEFINE_ENTRIES(set, target, u8, uint8_t)                                                                             \
  target static uint64_t set##_block_s16(const uint16_t *w, ptrdiff_t stride_w, const int16_t *a, ptrdiff_t stride_a,  \
                                         const int16_t *b, ptrdiff_t stride_b, int width, int height, int shift)       \
  {                                                                                                                    \
    const samples_s16 samples_a = { a, stride_a, NULL }, samples_b = { b, stride_b, NULL };                            \
    return set##_sum_s16(w, stride_w, samples_a, samples_b, width, height, shift);                                     \
  }                                                                                                                    \
  static const weighted_sse set##_kernels = { set##_block_s16, set##_block_u16, set##_block_u8, set##_rows_u16,        \
                                              set##_rows_u8 };

DEFINE_SET(scalar, )

#if HAVE_X86

#define AVX2 __attribute__((target("avx2")))

/* Sixteen samples or weights, 16 bits each, from one row, from two rows of 8 and from four rows of 4. */
AVX2 ALWAYS_INLINE __m128i avx2_load8(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
AVX2 ALWAYS_INLINE __m128i avx2_load4(const void *p) { return _mm_loadl_epi64((const __m128i *)p); }
AVX2 ALWAYS_INLINE __m256i avx2_both(__m128i first, __m128i last)
{
  return _mm256_inserti128_si256(_mm256_castsi128_si256(first), last, 1);
}
#define DEFINE_AVX2_LANES(type)                                                                                        \
  AVX2 ALWAYS_INLINE __m256i avx2_1x16_##type(samples_##type s, int row, int column)                                   \
  {                                                                                                                    \
    return _mm256_loadu_si256((const __m256i *)(const void *)(row_##type(s, row) + column));                           \
  }                                                                                                                    \
  AVX2 ALWAYS_INLINE __m256i avx2_2x8_##type(samples_##type s, int row, int column)                                    \
  {                                                                                                                    \
    return avx2_both(avx2_load8(row_##type(s, row) + column), avx2_load8(row_##type(s, row + 1) + column));            \
  }                                                                                                                    \
  AVX2 ALWAYS_INLINE __m256i avx2_4x4_##type(samples_##type s, int row, int column)                                    \
  {                                                                                                                    \
    return avx2_both(                                                                                                  \
      _mm_unpacklo_epi64(avx2_load4(row_##type(s, row) + column), avx2_load4(row_##type(s, row + 1) + column)),        \
      _mm_unpacklo_epi64(avx2_load4(row_##type(s, row + 2) + column), avx2_load4(row_##type(s, row + 3) + column)));   \
  }
DEFINE_AVX2_LANES(s16)
DEFINE_AVX2_LANES(u16)

AVX2 ALWAYS_INLINE __m256i avx2_1x16_u8(samples_u8 s, int row, int column)
{
  return _mm256_cvtepu8_epi16(avx2_load8(row_u8(s, row) + column));
}
AVX2 ALWAYS_INLINE __m256i avx2_2x8_u8(samples_u8 s, int row, int column)
{
  return _mm256_cvtepu8_epi16(
    _mm_unpacklo_epi64(avx2_load4(row_u8(s, row) + column), avx2_load4(row_u8(s, row + 1) + column)));
}
AVX2 ALWAYS_INLINE __m128i avx2_2x4_u8(samples_u8 s, int row, int column)
{
  int first, second;
  memcpy(&first, row_u8(s, row) + column, sizeof first);
  memcpy(&second, row_u8(s, row + 1) + column, sizeof second);
  return _mm_unpacklo_epi32(_mm_cvtsi32_si128(first), _mm_cvtsi32_si128(second));
}
AVX2 ALWAYS_INLINE __m256i avx2_4x4_u8(samples_u8 s, int row, int column)
{
  return _mm256_cvtepu8_epi16(_mm_unpacklo_epi64(avx2_2x4_u8(s, row, column), avx2_2x4_u8(s, row + 2, column)));
}

/* Larger minus smaller, modulo 2^16: right for all 16-bit numbers, signed ones too. */
AVX2 ALWAYS_INLINE __m256i avx2_difference_s16(__m256i a, __m256i b)
{
  return _mm256_sub_epi16(_mm256_max_epi16(a, b), _mm256_min_epi16(a, b));
}
AVX2 ALWAYS_INLINE __m256i avx2_difference_u16(__m256i a, __m256i b)
{
  return _mm256_sub_epi16(_mm256_max_epu16(a, b), _mm256_min_epu16(a, b));
}
AVX2 ALWAYS_INLINE __m256i avx2_difference_u8(__m256i a, __m256i b) { return _mm256_sub_epi16(a, b); }

/* Sums of products of 32 bits, in halves of 16 bits that are summed apart, each less 2^15 so that it is a signed number
 * and two lanes are added by one instruction. `wide` has
 * products of 48 bits, `rest` what the first two lack. */
typedef struct avx2_sum {
  __m256i  low, high, wide;
  uint64_t rest;
} avx2_sum;

#define AVX2_LACK (16 * (((uint64_t)1 << 15) + ((uint64_t)1 << 31))) /* of sixteen products */

/* For up to 2^16 products, whose halves sum up to 32 bits. */
AVX2 ALWAYS_INLINE uint64_t avx2_total(avx2_sum sum)
{
  const __m128i low = _mm_add_epi32(_mm256_castsi256_si128(sum.low), _mm256_extracti128_si256(sum.low, 1));
  const __m128i high = _mm_add_epi32(_mm256_castsi256_si128(sum.high), _mm256_extracti128_si256(sum.high, 1));
  const __m128i pairs = _mm_hadd_epi32(low, high);
  const int64_t both = _mm_cvtsi128_si64(_mm_hadd_epi32(pairs, pairs));
  const __m128i wide = _mm_add_epi64(_mm256_castsi256_si128(sum.wide), _mm256_extracti128_si256(sum.wide, 1));
  return sum.rest + (uint64_t)(int32_t)both + ((uint64_t)(both >> 32) << 16) +
         (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(wide, _mm_unpackhi_epi64(wide, wide)));
}

/* Adds w * (e^2 >> shift) of eight lanes whose e and w are unsigned. */
AVX2 ALWAYS_INLINE void avx2_add_wide(avx2_sum *sum, __m128i e, __m128i w, __m128i shift)
{
  const __m256i wide = _mm256_cvtepu16_epi32(e), weight = _mm256_cvtepu16_epi32(w);
  const __m256i square = _mm256_srl_epi32(_mm256_mullo_epi32(wide, wide), shift);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(square, 32), _mm256_srli_epi64(weight, 32));
  sum->wide = _mm256_add_epi64(_mm256_add_epi64(sum->wide, _mm256_mul_epu32(square, weight)), odd);
}

/* Adds w * square of sixteen lanes, all unsigned. */
AVX2 ALWAYS_INLINE void avx2_add(avx2_sum *sum, __m256i square, __m256i w)
{
  const __m256i half = _mm256_set1_epi16(-32768), one = _mm256_set1_epi16(1);
  const __m256i low = _mm256_xor_si256(_mm256_mullo_epi16(w, square), half);
  const __m256i high = _mm256_xor_si256(_mm256_mulhi_epu16(w, square), half);
  sum->low = _mm256_add_epi32(sum->low, _mm256_madd_epi16(low, one));
  sum->high = _mm256_add_epi32(sum->high, _mm256_madd_epi16(high, one));
  sum->rest += AVX2_LACK;
}

AVX2 ALWAYS_INLINE void avx2_add_u8(avx2_sum *sum, __m256i e, __m256i w, __m128i shift)
{
  (void)shift;
  avx2_add(sum, _mm256_mullo_epi16(e, e), w);
}

/* Errors below 2^8, which are most, have squares of 16 bits. */
AVX2 ALWAYS_INLINE void avx2_add_16(avx2_sum *sum, __m256i e, __m256i w, __m128i shift)
{
  if (__builtin_expect(_mm256_testz_si256(e, _mm256_set1_epi16(-256)), 1))
  {
    avx2_add(sum, _mm256_srl_epi16(_mm256_mullo_epi16(e, e), shift), w);
    return;
  }
  avx2_add_wide(sum, _mm256_castsi256_si128(e), _mm256_castsi256_si128(w), shift);
  avx2_add_wide(sum, _mm256_extracti128_si256(e, 1), _mm256_extracti128_si256(w, 1), shift);
}

#define AVX2_STEP(lanes, type, add, column)                                                                            \
  add(&sum, avx2_difference_##type(avx2_##lanes##_##type(a, row, column), avx2_##lanes##_##type(b, row, column)),      \
      avx2_##lanes##_u16(w, row, column), by)

/* Columns by 32, 16, 8 and 4; what is left of rows and columns is left to the scalar version. */
#define DEFINE_AVX2_SUM(type, add)                                                                                     \
  AVX2 ALWAYS_INLINE uint64_t avx2_any_##type(const uint16_t *weights, ptrdiff_t stride_w, samples_##type a,           \
                                              samples_##type b, int width, int height, int shift)                      \
  {                                                                                                                    \
    const samples_u16 w = { weights, stride_w, NULL };                                                                 \
    const __m128i     by = _mm_cvtsi32_si128(shift);                                                                   \
    avx2_sum          sum = { _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), 0 };             \
    int               column = 0, row;                                                                                 \
    for (; column + 32 <= width; column += 32)                                                                         \
      for (row = 0; row < height; row++)                                                                               \
      {                                                                                                                \
        AVX2_STEP(1x16, type, add, column);                                                                            \
        AVX2_STEP(1x16, type, add, column + 16);                                                                       \
      }                                                                                                                \
    for (; column + 16 <= width; column += 16)                                                                         \
      for (row = 0; row < height; row++) AVX2_STEP(1x16, type, add, column);                                           \
    if (column + 8 <= width)                                                                                           \
    {                                                                                                                  \
      for (row = 0; row + 2 <= height; row += 2) AVX2_STEP(2x8, type, add, column);                                    \
      sum.rest += rest_##type(weights, stride_w, a, b, column, column + 8, row, height, shift);                        \
      column += 8;                                                                                                     \
    }                                                                                                                  \
    if (column + 4 <= width)                                                                                           \
    {                                                                                                                  \
      for (row = 0; row + 4 <= height; row += 4) AVX2_STEP(4x4, type, add, column);                                    \
      sum.rest += rest_##type(weights, stride_w, a, b, column, column + 4, row, height, shift);                        \
      column += 4;                                                                                                     \
    }                                                                                                                  \
    return avx2_total(sum) + rest_##type(weights, stride_w, a, b, column, width, 0, height, shift);                    \
  }                                                                                                                    \
  AVX2 __attribute__((noinline)) static uint64_t avx2_other_##type(const uint16_t *w, ptrdiff_t stride_w,              \
                                                                   samples_##type a, samples_##type b, int width,      \
                                                                   int height, int shift)                              \
  {                                                                                                                    \
    return avx2_any_##type(w, stride_w, a, b, width, height, shift);                                                   \
  }                                                                                                                    \
  /* Most blocks are small squares: loops of a known number of turns leave no code around what they do. */             \
  AVX2 ALWAYS_INLINE uint64_t avx2_sum_##type(const uint16_t *w, ptrdiff_t stride_w, samples_##type a, samples_##type b,\
                                              int width, int height, int shift)                                        \
  {                                                                                                                    \
    if (width == 4 && height == 4) return avx2_any_##type(w, stride_w, a, b, 4, 4, shift);                             \
    if (width == 8 && height == 8) return avx2_any_##type(w, stride_w, a, b, 8, 8, shift);                             \
    if (width == 16 && height == 16) return avx2_any_##type(w, stride_w, a, b, 16, 16, shift);                         \
    if (width == 32 && height == 32) return avx2_any_##type(w, stride_w, a, b, 32, 32, shift);                         \
    return avx2_other_##type(w, stride_w, a, b, width, height, shift);                                                 \
  }

DEFINE_AVX2_SUM(s16, avx2_add_16)
DEFINE_AVX2_SUM(u16, avx2_add_16)
DEFINE_AVX2_SUM(u8, avx2_add_u8)
DEFINE_SET(avx2, AVX2)

#elif HAVE_NEON

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

/* Eight samples or weights of one row, and of two rows of 4. */
ALWAYS_INLINE uint16x8_t neon_1x8_u16(samples_u16 s, int row, int column) { return vld1q_u16(row_u16(s, row) + column); }
ALWAYS_INLINE uint16x8_t neon_2x4_u16(samples_u16 s, int row, int column)
{
  return vcombine_u16(vld1_u16(row_u16(s, row) + column), vld1_u16(row_u16(s, row + 1) + column));
}
ALWAYS_INLINE int16x8_t neon_1x8_s16(samples_s16 s, int row, int column) { return vld1q_s16(row_s16(s, row) + column); }
ALWAYS_INLINE int16x8_t neon_2x4_s16(samples_s16 s, int row, int column)
{
  return vcombine_s16(vld1_s16(row_s16(s, row) + column), vld1_s16(row_s16(s, row + 1) + column));
}
ALWAYS_INLINE uint16x8_t neon_1x8_u8(samples_u8 s, int row, int column) { return vmovl_u8(vld1_u8(row_u8(s, row) + column)); }
ALWAYS_INLINE uint16x8_t neon_2x4_u8(samples_u8 s, int row, int column)
{
  uint8_t eight[8];
  memcpy(eight, row_u8(s, row) + column, 4);
  memcpy(eight + 4, row_u8(s, row + 1) + column, 4);
  return vmovl_u8(vld1_u8(eight));
}

ALWAYS_INLINE uint16x8_t neon_difference_u16(uint16x8_t a, uint16x8_t b) { return vabdq_u16(a, b); }
ALWAYS_INLINE uint16x8_t neon_difference_u8(uint16x8_t a, uint16x8_t b) { return vabdq_u16(a, b); }
ALWAYS_INLINE uint16x8_t neon_difference_s16(int16x8_t a, int16x8_t b) { return vreinterpretq_u16_s16(vabdq_s16(a, b)); }

#define NEON_STEP(lanes, type)                                                                                         \
  neon_add(sum, neon_difference_##type(neon_##lanes##_##type(a, row, column), neon_##lanes##_##type(b, row, column)),  \
           neon_##lanes##_u16(w, row, column), shift)

/* Columns by 8 and 4; what is left of rows and columns is left to the scalar version. */
#define DEFINE_NEON_SUM(type)                                                                                          \
  ALWAYS_INLINE uint64_t neon_sum_##type(const uint16_t *weights, ptrdiff_t stride_w, samples_##type a, samples_##type b,\
                                         int width, int height, int shift)                                             \
  {                                                                                                                    \
    const samples_u16 w = { weights, stride_w, NULL };                                                                 \
    uint64x2_t        sum = vdupq_n_u64(0);                                                                            \
    uint64_t          rest = 0;                                                                                        \
    int               column = 0, row;                                                                                 \
    for (; column + 8 <= width; column += 8)                                                                           \
      for (row = 0; row < height; row++) sum = NEON_STEP(1x8, type);                                                   \
    if (column + 4 <= width)                                                                                           \
    {                                                                                                                  \
      for (row = 0; row + 2 <= height; row += 2) sum = NEON_STEP(2x4, type);                                           \
      rest += rest_##type(weights, stride_w, a, b, column, column + 4, row, height, shift);                            \
      column += 4;                                                                                                     \
    }                                                                                                                  \
    return vaddvq_u64(sum) + rest + rest_##type(weights, stride_w, a, b, column, width, 0, height, shift);             \
  }

DEFINE_NEON_SUM(s16)
DEFINE_NEON_SUM(u16)
DEFINE_NEON_SUM(u8)
DEFINE_SET(neon, )

#endif

/* The kernels of `set` (IDSE_SCALAR, IDSE_AVX2, IDSE_NEON), NULL where this program or this machine has none. */
static const weighted_sse *kernels_of(int set)
{
#if HAVE_X86
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
