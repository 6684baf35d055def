/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What x264 alone needs of the bridge: lambda that follows the QP of the block, and quantisation in integers.
 */
#ifndef FPRDO_IDSE_X264_H
#define FPRDO_IDSE_X264_H

#include "idse.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Sets the field of an option, such as "idse-tau", to what `text` says. 0, with one line in `message`
 * (IDSE_MESSAGE_BYTES), if that is no number or out of the option's range. */
int idse_x264_set(idse_settings *settings, const char *option, const char *text, char *message);

/* 2^(qp_offset / 3) with 16 fraction bits, for -12 to 12: what lambda is multiplied by where QP is raised by qp_offset.
 *
 * For encoders whose lambda follows the QP of the block. With weights w, offset o and the slice's lambda L a
 * decision minimises sum(w e^2) + L R. Multiplied by s = 2^(o/3) that is sum(s w e^2) + (s L) R, and s L is the
 * block's lambda: the weights are to be scaled by s, and every decision is the same. Since o is round(-3 log2(mean
 * of w)), s w has mean 1 but for the rounding: what such an encoder decides by plain SAD or SATD with the block's
 * lambda is weighted as well. */
uint32_t idse_x264_lambda_scale(int qp_offset);

/* idse_distortion() with every weight multiplied by scale / 65536 (idse_x264_lambda_scale()), of blocks without a
 * shift: floor(sum of w (original - coded)^2 * scale / 2^24). 65536 is exact. */
int idse_x264_distortion(idse_picture *picture, const idse_block *block, uint32_t scale, uint64_t *distortion);

/* idse_tu_weights() in integers: floor(256 * factor * scale / 65536) of the exact factor, 8192.0 at most, for some
 * of the count x count lowest frequencies (count: 1, 2, 4 or 8) of the size x size transform of the block. Frequency
 * (v, u) is place u * count + v; places[0 ... number - 1] are wanted, each at weights[place]. Returns 1 if all are
 * the mean weight of the width x height block, then weights[0] alone is set: where the map has no transform of that
 * size, 0 for one, or RDOQ uses mean weights. Counts one RDOQ call. Only to be called where idse_rdoq() is 1. */
int idse_x264_coefficient_weights(idse_picture *picture, int component, int x, int y, int width, int height, int size,
                                  int count, const uint8_t *places, int number, uint32_t scale, uint32_t *weights);

#ifdef __cplusplus
}
#endif

#endif
