/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The bridge for x265.
 */
#ifndef FPRDO_X265_H
#define FPRDO_X265_H

#include "idse.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Sets the field of an option, such as "idse-tau", to what `text` says. 0, with one line in `message`
 * (IDSE_MESSAGE_BYTES), if that is no number or out of the option's range. */
int idse_x265_set(idse_settings *settings, const char *option, const char *text, char *message);

/* idse_tu_weights() in integers: floor(256 * factor), 8192.0 at most, of each coefficient of a size x size TU at
 * weights[0 ... size * size - 1], row-major. Counts one RDOQ call. Only to be called where idse_rdoq() is 1. */
void idse_x265_coefficient_weights(idse_picture *picture, int component, int x, int y, int size, int order,
                                   int32_t *weights);

#ifdef __cplusplus
}
#endif

#endif
