/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The weighted SSE with AVX2. It is compiled in on x86-64 whatever the compiler's target is, and chosen when a picture
 * is made, so that one program runs on every machine. IDSE_PORTABLE leaves it out.
 */
#include "kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(IDSE_PORTABLE)

#include <immintrin.h>
#include <string.h>

#define AVX2        __attribute__((target("avx2")))
#define AVX2_INLINE AVX2 ALWAYS_INLINE

/* Sixteen samples or weights of 16 bits each: from one row, from two rows of 8, from four rows of 4. The first one is
 * sample i; 8-bit samples are widened. */

AVX2_INLINE const void *address(int type, const void *samples, ptrdiff_t i)
{
  return type == SAMPLE_U8 ? (const void *)((const uint8_t *)samples + i)
                           : (const void *)((const uint16_t *)samples + i);
}

AVX2_INLINE __m128i load8(int type, const void *samples, ptrdiff_t i)
{
  const void *p = address(type, samples, i);
  return type == SAMPLE_U8 ? _mm_loadl_epi64((const __m128i *)p) : _mm_loadu_si128((const __m128i *)p);
}

AVX2_INLINE __m128i load4(int type, const void *samples, ptrdiff_t i)
{
  const void *p = address(type, samples, i);
  int         four;
  if (type != SAMPLE_U8) return _mm_loadl_epi64((const __m128i *)p);
  memcpy(&four, p, sizeof four);
  return _mm_cvtsi32_si128(four);
}

/* Two groups of 8 samples. */
AVX2_INLINE __m256i both(int type, __m128i first, __m128i last)
{
  return type == SAMPLE_U8 ? _mm256_cvtepu8_epi16(_mm_unpacklo_epi64(first, last))
                           : _mm256_inserti128_si256(_mm256_castsi128_si256(first), last, 1);
}

/* Two groups of 4 samples, one after the other. */
AVX2_INLINE __m128i pair(int type, __m128i first, __m128i last)
{
  return type == SAMPLE_U8 ? _mm_unpacklo_epi32(first, last) : _mm_unpacklo_epi64(first, last);
}

AVX2_INLINE __m256i row_of_16(int type, const void *s, ptrdiff_t i)
{
  return type == SAMPLE_U8 ? _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)address(type, s, i)))
                           : _mm256_loadu_si256((const __m256i *)address(type, s, i));
}

AVX2_INLINE __m256i rows_of_8(int type, const void *s, ptrdiff_t stride, ptrdiff_t i)
{
  return both(type, load8(type, s, i), load8(type, s, i + stride));
}

AVX2_INLINE __m256i rows_of_4(int type, const void *s, ptrdiff_t stride, ptrdiff_t i)
{
  return both(type, pair(type, load4(type, s, i), load4(type, s, i + stride)),
              pair(type, load4(type, s, i + 2 * stride), load4(type, s, i + 3 * stride)));
}

/* Larger minus smaller, modulo 2^16: right for all 16-bit numbers, signed ones too. Of 8-bit samples the sign does not
 * matter, since the square fits into 16 bits. */
AVX2_INLINE __m256i difference(int type, __m256i a, __m256i b)
{
  if (type == SAMPLE_S16) return _mm256_sub_epi16(_mm256_max_epi16(a, b), _mm256_min_epi16(a, b));
  if (type == SAMPLE_U16) return _mm256_sub_epi16(_mm256_max_epu16(a, b), _mm256_min_epu16(a, b));
  return _mm256_sub_epi16(a, b);
}

/* Sums of products of 32 bits, in halves of 16 bits that are summed apart, each less 2^15 so that it is a signed number
 * and two lanes are added by one instruction. `wide` has products of 48 bits, `rest` what the first two lack. */
typedef struct sums {
  __m256i  low, high, wide;
  uint64_t rest;
} sums;

#define LACK (16 * (((uint64_t)1 << 15) + ((uint64_t)1 << 31))) /* of sixteen products */

/* For up to 2^16 products, whose halves sum up to 32 bits. */
AVX2_INLINE uint64_t total(sums sum)
{
  const __m128i low = _mm_add_epi32(_mm256_castsi256_si128(sum.low), _mm256_extracti128_si256(sum.low, 1));
  const __m128i high = _mm_add_epi32(_mm256_castsi256_si128(sum.high), _mm256_extracti128_si256(sum.high, 1));
  const __m128i pairs = _mm_hadd_epi32(low, high);
  const int64_t halves = _mm_cvtsi128_si64(_mm_hadd_epi32(pairs, pairs));
  const __m128i wide = _mm_add_epi64(_mm256_castsi256_si128(sum.wide), _mm256_extracti128_si256(sum.wide, 1));
  return sum.rest + (uint64_t)(int32_t)halves + ((uint64_t)(halves >> 32) << 16) +
         (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(wide, _mm_unpackhi_epi64(wide, wide)));
}

/* Adds w * (e^2 >> shift) of eight lanes whose e and w are unsigned. */
AVX2_INLINE void add_wide(sums *sum, __m128i e, __m128i w, __m128i shift)
{
  const __m256i wide = _mm256_cvtepu16_epi32(e), weight = _mm256_cvtepu16_epi32(w);
  const __m256i squares = _mm256_srl_epi32(_mm256_mullo_epi32(wide, wide), shift);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(squares, 32), _mm256_srli_epi64(weight, 32));
  sum->wide = _mm256_add_epi64(_mm256_add_epi64(sum->wide, _mm256_mul_epu32(squares, weight)), odd);
}

/* Adds w * (e^2 >> shift) of sixteen lanes whose e^2 has 16 bits. */
AVX2_INLINE void add_narrow(sums *sum, __m256i e, __m256i w, __m128i shift)
{
  const __m256i half = _mm256_set1_epi16(-32768), one = _mm256_set1_epi16(1);
  const __m256i squares = _mm256_srl_epi16(_mm256_mullo_epi16(e, e), shift);
  const __m256i low = _mm256_xor_si256(_mm256_mullo_epi16(w, squares), half);
  const __m256i high = _mm256_xor_si256(_mm256_mulhi_epu16(w, squares), half);
  sum->low = _mm256_add_epi32(sum->low, _mm256_madd_epi16(low, one));
  sum->high = _mm256_add_epi32(sum->high, _mm256_madd_epi16(high, one));
  sum->rest += LACK;
}

/* Sixteen lanes. Errors below 2^8, which are most, have squares of 16 bits. */
AVX2_INLINE void add(int type, sums *sum, __m256i a, __m256i b, __m256i w, __m128i shift)
{
  const __m256i e = difference(type, a, b);
  if (type == SAMPLE_U8 || __builtin_expect(_mm256_testz_si256(e, _mm256_set1_epi16(-256)), 1))
  {
    add_narrow(sum, e, w, shift);
    return;
  }
  add_wide(sum, _mm256_castsi256_si128(e), _mm256_castsi256_si128(w), shift);
  add_wide(sum, _mm256_extracti128_si256(e, 1), _mm256_extracti128_si256(w, 1), shift);
}

/* Columns by 32, 16, 8 and 4; what is left of rows and columns is left to the definition. */
AVX2_INLINE uint64_t any_sum(int type, const uint16_t *w, ptrdiff_t stride_w, const idse_block *block, int width,
                             int height)
{
  const void     *a = block->original, *b = block->coded;
  const ptrdiff_t stride_a = block->original_stride, stride_b = block->coded_stride;
  const __m128i   shift = _mm_cvtsi32_si128(block->shift);
  sums            sum = { _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), 0 };
  int             x = 0;
  ptrdiff_t       y;
  for (; x + 32 <= width; x += 32)
    for (y = 0; y < height; y++)
      for (int half = x; half < x + 32; half += 16)
        add(type, &sum, row_of_16(type, a, y * stride_a + half), row_of_16(type, b, y * stride_b + half),
            row_of_16(SAMPLE_U16, w, y * stride_w + half), shift);
  for (; x + 16 <= width; x += 16)
    for (y = 0; y < height; y++)
      add(type, &sum, row_of_16(type, a, y * stride_a + x), row_of_16(type, b, y * stride_b + x),
          row_of_16(SAMPLE_U16, w, y * stride_w + x), shift);
  if (x + 8 <= width)
  {
    for (y = 0; y + 2 <= height; y += 2)
      add(type, &sum, rows_of_8(type, a, stride_a, y * stride_a + x), rows_of_8(type, b, stride_b, y * stride_b + x),
          rows_of_8(SAMPLE_U16, w, stride_w, y * stride_w + x), shift);
    sum.rest += weighted_sum(type, w, stride_w, block, x, x + 8, (int)y, height);
    x += 8;
  }
  if (x + 4 <= width)
  {
    for (y = 0; y + 4 <= height; y += 4)
      add(type, &sum, rows_of_4(type, a, stride_a, y * stride_a + x), rows_of_4(type, b, stride_b, y * stride_b + x),
          rows_of_4(SAMPLE_U16, w, stride_w, y * stride_w + x), shift);
    sum.rest += weighted_sum(type, w, stride_w, block, x, x + 4, (int)y, height);
    x += 4;
  }
  return total(sum) + weighted_sum(type, w, stride_w, block, x, width, 0, height);
}

/* Blocks of other sizes than those below. */
AVX2 NOINLINE static uint64_t other_sum(int type, const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  if (type == SAMPLE_U8) return any_sum(SAMPLE_U8, w, stride_w, block, block->width, block->height);
  if (type == SAMPLE_U16) return any_sum(SAMPLE_U16, w, stride_w, block, block->width, block->height);
  return any_sum(SAMPLE_S16, w, stride_w, block, block->width, block->height);
}

/* Most blocks are small squares: loops of a known number of turns leave no code around what they do. */
AVX2_INLINE uint64_t sized_sum(int type, const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  if (block->width != block->height) return other_sum(type, w, stride_w, block);
  switch (block->width)
  {
  case 4:
    return any_sum(type, w, stride_w, block, 4, 4);
  case 8:
    return any_sum(type, w, stride_w, block, 8, 8);
  case 16:
    return any_sum(type, w, stride_w, block, 16, 16);
  case 32:
    return any_sum(type, w, stride_w, block, 32, 32);
  default:
    return other_sum(type, w, stride_w, block);
  }
}

AVX2 static uint64_t sum_u8(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  return sized_sum(SAMPLE_U8, w, stride_w, block);
}

AVX2 static uint64_t sum_u16(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  return sized_sum(SAMPLE_U16, w, stride_w, block);
}

AVX2 static uint64_t sum_s16(const uint16_t *w, ptrdiff_t stride_w, const idse_block *block)
{
  return sized_sum(SAMPLE_S16, w, stride_w, block);
}

/* Samples of 32 bits, which only an encoder built for 16-bit video has, are left to plain C. */
static const idse_kernels avx2_kernels = { { sum_u8, sum_u16, sum_s16, idse_scalar_s32 } };

const idse_kernels *idse_avx2_kernels(void) { return __builtin_cpu_supports("avx2") ? &avx2_kernels : NULL; }

#else

const idse_kernels *idse_avx2_kernels(void) { return NULL; }

#endif
