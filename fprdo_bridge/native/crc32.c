/* SPDX-License-Identifier: BSD-3-Clause
 *
 * CRC-32 of ISO 3309 and zlib, of hundreds of megabytes: a whole weight file is checked before the first picture.
 */
#include "internal.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(IDSE_PORTABLE)
#define HAVE_CLMUL 1
#include <immintrin.h>
#define CLMUL     __attribute__((target("pclmul,sse4.1")))
#define HAS_CLMUL (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))

/* One step of Intel's "Fast CRC computation using PCLMULQDQ": a * x^n mod P of both halves, n being what `by` was
 * made for. */
CLMUL static __m128i crc_fold(__m128i a, __m128i by)
{
  return _mm_xor_si128(_mm_clmulepi64_si128(a, by, 0x00), _mm_clmulepi64_si128(a, by, 0x11));
}

/* Folds 64 bytes or more, a multiple of 64, into 16 bytes of the same CRC continued from 0; `crc` is that before
 * them. */
CLMUL static void crc_fold_to_16(uint32_t crc, const uint8_t *data, size_t bytes, uint8_t out[CRC_STEP])
{
  const __m128i  by512 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4), by128 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
  const __m128i *at = (const __m128i *)(const void *)data;
  __m128i        x[4];
  for (int i = 0; i < 4; i++) x[i] = _mm_loadu_si128(at++);
  x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)crc));
  for (bytes -= 64; bytes > 0; bytes -= 64)
    for (int i = 0; i < 4; i++) x[i] = _mm_xor_si128(crc_fold(x[i], by512), _mm_loadu_si128(at++));
  for (int i = 1; i < 4; i++) x[i] = _mm_xor_si128(crc_fold(x[i - 1], by128), x[i]);
  _mm_storeu_si128((__m128i *)(void *)out, x[3]);
}
#endif

void idse_crc_init(crc_tables table)
{
  for (uint32_t i = 0; i < 256; i++)
  {
    uint32_t r = i;
    for (int bit = 0; bit < 8; bit++) r = r & 1 ? r >> 1 ^ 0xEDB88320u : r >> 1;
    table[0][i] = r;
  }
  for (int k = 1; k < CRC_STEP; k++)
    for (uint32_t i = 0; i < 256; i++) table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
}

/* 16 bytes a step, a table for each ("slicing"), where the processor has nothing better. */
uint32_t idse_crc_add(crc_tables table, uint32_t crc, const uint8_t *data, size_t bytes)
{
  crc = ~crc;
#if HAVE_CLMUL
  uint8_t folded[CRC_STEP];
  if (bytes >= 64 && bytes % 64 == 0 && HAS_CLMUL)
  {
    crc_fold_to_16(crc, data, bytes, folded);
    crc = 0;
    data = folded;
    bytes = CRC_STEP;
  }
#endif
  for (; bytes >= CRC_STEP; bytes -= CRC_STEP, data += CRC_STEP)
  {
    const uint32_t a = read_u32(data) ^ crc, b = read_u32(data + 4), c = read_u32(data + 8), d = read_u32(data + 12);
    crc = table[15][a & 255] ^ table[14][a >> 8 & 255] ^ table[13][a >> 16 & 255] ^ table[12][a >> 24] ^
          table[11][b & 255] ^ table[10][b >> 8 & 255] ^ table[9][b >> 16 & 255] ^ table[8][b >> 24] ^
          table[7][c & 255] ^ table[6][c >> 8 & 255] ^ table[5][c >> 16 & 255] ^ table[4][c >> 24] ^ table[3][d & 255] ^
          table[2][d >> 8 & 255] ^ table[1][d >> 16 & 255] ^ table[0][d >> 24];
  }
  for (; bytes > 0; bytes--, data++) crc = table[0][(crc ^ *data) & 255] ^ crc >> 8;
  return ~crc;
}
