/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What JM alone needs of the bridge: blocks found by their address.
 *
 * The address of a sample of the original says component, column and row; how far the sample below it in the block lies
 * from it says how many rows of the frame are between two rows of the block: one, or two in a field. What lies outside
 * the planes is counted as unweighted.
 */
#ifndef FPRDO_IDSE_JM_H
#define FPRDO_IDSE_JM_H

#include "idse.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where a plane of the original lies: `rows` rows, `stride` bytes apart. Smaller than 4 GB. For every component of
 * every picture after idse_picture_begin(); picture may be NULL. `sample_bytes` is 1 or 2. */
void idse_jm_original(idse_picture *picture, int component, const void *plane, size_t stride, int rows,
                      int sample_bytes);

/* *distortion = floor(sum of w (original - coded)^2 / 256 * 32), 5 fraction bits, of a block that says decision,
 * size, addresses and strides; its place and sample type are filled in here. Positive wherever an error is; limited
 * (idse_limited) so that the distortions of a macroblock and its rate fit into 32 bits without the fraction. Returns
 * 0, and leaves *distortion alone, if this decision keeps its plain SSE, as idse_distortion() does, or the block is
 * not of the original. */
int idse_jm_distortion(idse_picture *picture, idse_block *block, int64_t *distortion);

/* plain[i] times the weight of coefficient i of the size x size block at `sample`, row-major, size 4 or 8: weights
 * of frequencies in a frame; in a field, whose vertical frequencies the map does not know, the mean weight for all.
 * `plain` itself where RDOQ uses no weights or `picture` is NULL. The result is valid until the next call; what
 * `plain` points to stays the same while pictures are coded, since the products are kept. Counts one RDOQ call. */
const double *idse_jm_errors(idse_picture *picture, const void *sample, const void *below, int size,
                             const double *plain);

/* The mean weight of the block at `sample`, for transforms that have no other. Counts one RDOQ call. */
double idse_jm_mean(idse_picture *picture, const void *sample, const void *below, int width, int height);

/* idse_qp_offset() of the block at `sample`, from the weights of the component that it lies in. */
int idse_jm_qp_offset(idse_picture *picture, const void *sample, const void *below, int width, int height);

#ifdef __cplusplus
}
#endif

#endif
