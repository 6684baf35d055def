/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The bridge for x265; see x265.h.
 */
#include "x265.h"

#include "internal.h"

void idse_x265_coefficient_weights(idse_picture *picture, int component, int x, int y, int size, int order,
                                   int32_t *weights)
{
  double        mean;
  const double *factors = idse_tu_weights(picture, component, x, y, size, order, &mean);
  for (int i = 0; i < size * size; i++)
  {
    const double weight = factors[i] * IDSE_ONE;
    weights[i] = weight < COEFFICIENT_MAX ? (int32_t)weight : COEFFICIENT_MAX;
  }
}
