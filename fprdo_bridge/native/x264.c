/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The bridge for x264; see x264.h.
 */
#include "x264.h"

#include "internal.h"

uint32_t idse_x264_lambda_scale(int qp_offset)
{
  static const uint32_t third[3] = { 65536, 82570, 104032 }; /* 2^(n / 3) */
  const int             octave = (qp_offset + MAX_QP_CLIP) / 3;
  return (uint32_t)(((uint64_t)third[(qp_offset + MAX_QP_CLIP) % 3] << octave) >> (MAX_QP_CLIP / 3));
}

/* sum * scale / 2^16, rounded down; `sum` may have 60 bits. */
static uint64_t scaled(uint64_t sum, uint32_t scale)
{
  return (sum >> MIXED_BITS) * scale + ((sum & (MIXED_ONE - 1)) * scale >> MIXED_BITS);
}

int idse_x264_distortion(idse_picture *picture, const idse_block *block, uint32_t scale, uint64_t *distortion)
{
  uint64_t sum;
  if (picture == NULL || !idse_described_block(picture, block, &sum)) return 0;
  *distortion = scaled(sum, scale) / IDSE_ONE;
  return 1;
}

int idse_x264_coefficient_weights(idse_picture *picture, int component, int x, int y, int width, int height, int size,
                                  int count, const uint8_t *places, int number, uint32_t scale, uint32_t *weights)
{
  const plane   *p = &picture->planes[component];
  const uint32_t mean = idse_mean_weight(p, x, y, width, height);
  const int      index = transform_index(size);

  picture->counters.rdoq++;
  if (index < 0 || p->shape[index] == NULL)
  {
    weights[0] = (uint32_t)(scaled(mean, scale) >> (MIXED_BITS - 8));
    return 1;
  }
  /* As in idse_tu_weights(). Mean and shape have 40 bits together, the scale 20: nothing is rounded but the result. */
  const uint32_t  tau_part = mean < picture->tau_share ? mean : picture->tau_share;
  const uint64_t  flat = (uint64_t)tau_part * IDSE_ONE * scale, level = (uint64_t)(mean - tau_part) * scale;
  ptrdiff_t       stride;
  const uint16_t *shape = idse_block_shape(p, index, x, y, &stride);
  const int       bits = (count > 1) + (count > 2) + (count > 4);
  for (int i = 0; i < number; i++)
  {
    const int      u = places[i] >> bits, v = places[i] & (count - 1);
    const uint64_t weight = (flat + level * shape[v * stride + u]) >> 2 * MIXED_BITS;
    weights[places[i]] = weight < COEFFICIENT_MAX ? (uint32_t)weight : COEFFICIENT_MAX;
  }
  return 0;
}
