/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The hot path: weighted distortion, mean weights, weights of coefficients, QP offsets of one picture.
 */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  CTU_BITS = 6,
  CTU = 1 << CTU_BITS,
  LIMIT_BITS = 10 /* fraction bits in idse_limited() */
};

#define DISTORTION_END 17592186044416.0 /* 2^44: with 8 fraction bits it is far from the end of 64 bits */

/* ---- distortion ------------------------------------------------------------------------------------------------- */

/* Index of a kernel, -1 for samples of a type that no encoder has. */
static int sample_type(const idse_block *block)
{
  if (block->sample_bytes == 2) return SAMPLE_U16 + (block->is_signed != 0);
  if (block->sample_bytes == 1) return block->is_signed ? -1 : SAMPLE_U8;
  return block->sample_bytes == 4 && block->is_signed ? SAMPLE_S32 : -1;
}

static int lies_in(const plane *p, const idse_block *block)
{
  return block->x >= 0 && block->x + block->width <= p->padded_width && block->y >= 0 &&
         block->y + block->height <= p->padded_height;
}

/* In units of 1 / IDSE_ONE, as the kernels have it. */
uint64_t idse_provided_sum(const idse_provider *provider, const idse_block *block)
{
  const double distortion = provider->distortion(provider->context, block);
  if (distortion >= 0 && distortion < DISTORTION_END) return (uint64_t)(distortion * IDSE_ONE);
  provider->refuse(provider->context, distortion); /* a NaN fails the comparisons */
  return 0;
}

int idse_described_block(idse_picture *picture, const idse_block *block, uint64_t *sum)
{
  const int type = sample_type(block);
  if (block->decision != 0 && type >= 0 && lies_in(&picture->planes[block->component], block))
    return weighted_block(picture, block, type, 1, sum);
  picture->counters.unweighted++;
  return 0;
}

int idse_distortion(idse_picture *picture, const idse_block *block, uint64_t *distortion)
{
  uint64_t sum;
  if (picture == NULL || !idse_described_block(picture, block, &sum)) return 0;
  *distortion = sum / IDSE_ONE;
  return 1;
}

uint64_t idse_limited(idse_picture *picture, uint64_t weighted, uint64_t plain, uint64_t knee)
{
  uint64_t limited = weighted;
  if (weighted > knee) limited = 2 * knee - (knee << LIMIT_BITS) / ((weighted << LIMIT_BITS) / knee);
  if (limited < plain) limited = plain;
  if (limited >= weighted) return weighted;
  picture->counters.limited++;
  return limited;
}

/* ---- mean weights ----------------------------------------------------------------------------------------------- */

/* Sum of the weights from (x0, y0) to before (x1, y1), all of them visible. */
static uint32_t sum_weights(const plane *p, int x0, int y0, int x1, int y1)
{
  if ((x0 | y0) % CELL == 0 && (x1 % CELL == 0 || x1 == p->width) && (y1 % CELL == 0 || y1 == p->height))
  {
    const size_t    stride = (size_t)cells(p->width) + 1;
    const uint32_t *top = p->integral + y0 / CELL * stride, *bottom = p->integral + cells(y1) * stride;
    return bottom[cells(x1)] - bottom[x0 / CELL] - top[cells(x1)] + top[x0 / CELL];
  }
  uint32_t sum = 0;
  for (int y = y0; y < y1; y++)
    for (int x = x0; x < x1; x++) sum += p->weight[(size_t)y * p->padded_width + x];
  return sum;
}

uint32_t idse_mean_weight(const plane *p, int x, int y, int width, int height)
{
  const int      x0 = min_int(x, p->width - 1), x1 = max_int(x0 + 1, min_int(x + width, p->width));
  const int      y0 = min_int(y, p->height - 1), y1 = max_int(y0 + 1, min_int(y + height, p->height));
  const uint32_t count = (uint32_t)(x1 - x0) * (uint32_t)(y1 - y0);
  return (uint32_t)((((uint64_t)sum_weights(p, x0, y0, x1, y1) << (MIXED_BITS - 8)) + count / 2) / count);
}

double idse_mean(const idse_picture *picture, int component, int x, int y, int width, int height)
{
  return idse_mean_weight(&picture->planes[component], x, y, width, height) / (double)MIXED_ONE;
}

/* ---- weights of coefficients ------------------------------------------------------------------------------------ */

const uint16_t *idse_block_shape(const plane *p, int index, int x, int y, ptrdiff_t *stride)
{
  const int size = 4 << index, columns = (p->width + size - 1) / size, rows = (p->height + size - 1) / size;
  *stride = (ptrdiff_t)columns * size;
  return p->shape[index] + min_int(y / size, rows - 1) * *stride * size +
         (ptrdiff_t)min_int(x / size, columns - 1) * size;
}

/* Of every frequency of the block at (x, y). The mean holds (level + tau) / (1 + tau); only the level part has a
 * shape. Level and shape have at most 40 bits together, so that every operation here is exact and no compiler can
 * make it differ. */
static void frequency_weights(const idse_picture *picture, const plane *p, int index, int x, int y, uint32_t mean,
                              double *weights)
{
  const int       size = 4 << index;
  const uint32_t  tau_part = mean < picture->tau_share ? mean : picture->tau_share;
  const double    flat = tau_part * (1.0 / MIXED_ONE), level = (mean - tau_part) * (1.0 / MIXED_ONE / IDSE_ONE);
  ptrdiff_t       stride;
  const uint16_t *shape = idse_block_shape(p, index, x, y, &stride);
  for (int v = 0; v < size; v++, shape += stride, weights += size)
    for (int u = 0; u < size; u++) weights[u] = flat + level * shape[u];
}

/* Of every sample of the block at (x, y). */
static void sample_weights(const plane *p, int size, int x, int y, double *weights)
{
  const uint16_t *w = weights_at(p, x, y);
  for (int v = 0; v < size; v++, w += p->padded_width, weights += size)
    for (int u = 0; u < size; u++) weights[u] = w[u] * (1.0 / IDSE_ONE);
}

/* These two stand apart, so that what is asked again and again stays short. */

/* The same weight for all: that of the block. */
NOINLINE static const double *equal_weights(idse_picture *picture, const plane *p, int size, int x, int y, double *mean)
{
  *mean = idse_mean_weight(p, x, y, size, size) * (1.0 / MIXED_ONE);
  for (int i = 0; i < size * size; i++) picture->tu_buffer[i] = *mean;
  return picture->tu_buffer;
}

/* What the block's order and transform size make of its weights. */
NOINLINE static void fill_slot(const idse_picture *picture, const plane *p, int order, int index, int x, int y,
                               tu_weights *slot)
{
  const uint32_t mean = idse_mean_weight(p, x, y, 4 << index, 4 << index);
  slot->x = x;
  slot->y = y;
  slot->mean = mean * (1.0 / MIXED_ONE);
  if (order == IDSE_SAMPLES)
    sample_weights(p, 4 << index, x, y, slot->weights);
  else
    frequency_weights(picture, p, index, x, y, mean, slot->weights);
}

const double *idse_tu_weights(idse_picture *picture, int component, int x, int y, int size, int order, double *mean)
{
  const plane *p = &picture->planes[component];
  const int    index = transform_index(size);
  picture->counters.rdoq++;
  if (index < 0 || order == IDSE_UNORDERED || picture->tu_slots[order][component][index] == NULL)
    return equal_weights(picture, p, size, x, y, mean);
  const int   number = ((y & (CTU - 1)) >> (index + 2) << (CTU_BITS - 2 - index)) + ((x & (CTU - 1)) >> (index + 2));
  tu_weights *slot = &picture->tu_slots[order][component][index][number];
  if (slot->x != x || slot->y != y) fill_slot(picture, p, order, index, x, y, slot);
  *mean = slot->mean;
  return slot->weights;
}

int idse_rdoq(const idse_picture *picture) { return picture != NULL && picture->settings.rdoq != 0; }

int idse_sao(const idse_picture *picture) { return picture != NULL && picture->settings.sao != 0; }

/* ---- QP offsets ------------------------------------------------------------------------------------------------- */

int idse_offset_of_mean(const idse_picture *picture, uint32_t mean)
{
  const int clip = picture->settings.qp_map_clip;
  int       offset = -MAX_QP_CLIP;
  for (int i = 0; i < 2 * MAX_QP_CLIP && mean < picture->qp_threshold[i]; i++) offset++;
  return offset < -clip ? -clip : offset > clip ? clip : offset;
}

int idse_count_qp_offset(idse_picture *picture, int component, int x, int y, int width, int height)
{
  const int offset = idse_offset_of_mean(picture, idse_mean_weight(&picture->planes[component], x, y, width, height));
  idse_counters *c = &picture->counters;
  c->qp_offset_min = c->qp_groups ? min_int(c->qp_offset_min, offset) : offset;
  c->qp_offset_max = c->qp_groups ? max_int(c->qp_offset_max, offset) : offset;
  c->qp_offset_sum += offset;
  c->qp_groups++;
  return offset;
}

int idse_qp_offset(idse_picture *picture, int x, int y, int width, int height)
{
  return picture == NULL || !picture->settings.qp_map ? 0 : idse_count_qp_offset(picture, 0, x, y, width, height);
}

void idse_prefetch(const idse_picture *picture, int x, int y, int size)
{
  if (picture == NULL) return;
  const int shift_x = chroma_shift_x(picture->chroma_format_idc), shift_y = chroma_shift_y(picture->chroma_format_idc);
  for (int c = 0; c < component_count(picture->chroma_format_idc); c++)
  {
    const plane *p = &picture->planes[c];
    const int    x0 = round_up(component_size(x, c, shift_x), LINE); /* a line that begins before is there already */
    const int    x1 = min_int(component_size(x + size, c, shift_x), p->padded_width);
    const int    y0 = component_size(y, c, shift_y);
    const int    y1 = min_int(component_size(y + size, c, shift_y), p->padded_height);
    for (int column = x0; column < x1; column += LINE)
      for (int row = y0; row < y1; row++) __builtin_prefetch(weights_at(p, column, row));
  }
}

/* ---- a picture -------------------------------------------------------------------------------------------------- */

static int slots_of(int index) { return 1 << 2 * (CTU_BITS - 2 - index); }

/* Room for the weights of every block of a CTU, in every component and transform size that has shapes. */
static int allocate_slots(idse_picture *picture, int transform_sizes)
{
  size_t slots = 0, planes = 0;
  for (int t = 0; t < IDSE_TRANSFORMS; t++)
    if (has_shape(transform_sizes, t))
    {
      slots += slots_of(t);
      planes++;
    }
  if (planes == 0) return 1;
  const int    components = component_count(picture->chroma_format_idc);
  const size_t kinds = (size_t)TU_ORDERS * components;
  picture->tu_memory = malloc(kinds * (slots * sizeof(tu_weights) + planes * CTU * CTU * sizeof(double)));
  if (picture->tu_memory == NULL) return 0;
  double     *weights = picture->tu_memory;
  tu_weights *slot = (tu_weights *)(weights + kinds * planes * CTU * CTU);
  for (int order = 0; order < TU_ORDERS; order++)
    for (int c = 0; c < components; c++)
      for (int t = 0; t < IDSE_TRANSFORMS; t++)
        if (has_shape(transform_sizes, t))
        {
          picture->tu_slots[order][c][t] = slot;
          for (int i = 0; i < slots_of(t); i++, slot++, weights += (size_t)16 << 2 * t) slot->weights = weights;
        }
  return 1;
}

static void forget_slots(idse_picture *picture)
{
  for (int order = 0; order < TU_ORDERS; order++)
    for (int c = 0; c < IDSE_MAX_COMP; c++)
      for (int t = 0; t < IDSE_TRANSFORMS; t++)
        for (int i = 0; picture->tu_slots[order][c][t] != NULL && i < slots_of(t); i++)
          picture->tu_slots[order][c][t][i].x = -1;
}

void idse_picture_free(idse_picture *picture)
{
  if (picture != NULL) free(picture->tu_memory);
  free(picture);
}

idse_picture *idse_picture_allocate(const idse_settings *settings, const idse_sequence *sequence, int transform_sizes)
{
  idse_picture *picture = calloc(1, sizeof *picture);
  if (picture == NULL) return NULL;
  picture->kernels = idse_best_kernels();
  picture->settings = *settings;
  picture->chroma_format_idc = sequence->chroma_format_idc;
  picture->tau_share = (uint32_t)(settings->tau / (1 + settings->tau) * MIXED_ONE + 0.5);
  /* The offset is -12 + the number of thresholds above the mean: threshold i separates -12 + i from -11 + i. */
  for (int i = 0; i < 2 * MAX_QP_CLIP; i++)
    picture->qp_threshold[i] = (uint32_t)(pow(2.0, (MAX_QP_CLIP - i - 0.5) / 3) * MIXED_ONE + 0.5);
  if (allocate_slots(picture, transform_sizes)) return picture;
  idse_picture_free(picture);
  return NULL;
}

void idse_picture_use(idse_picture *picture, loaded_map *m)
{
  m->users++;
  picture->map = m;
  picture->planes = m->planes;
  forget_slots(picture);
}

idse_picture *idse_picture_create(const idse_map *map, const idse_settings *settings, const idse_sequence *sequence,
                                  char *message)
{
  message[0] = '\0';
  if (!idse_settings_check(settings, message)) return NULL;
  int transform_sizes = 0;
  for (int t = 0; t < IDSE_TRANSFORMS; t++)
    if (map->shape[0][t] != NULL) transform_sizes |= 4 << t;
  weighting    *g = calloc(1, sizeof *g);
  idse_picture *picture = idse_picture_allocate(settings, sequence, settings->rdoq == 2 ? transform_sizes : 0);
  loaded_map   *m = idse_map_allocate(sequence);
  if (g == NULL || picture == NULL || m == NULL || !idse_weighting_init(g, settings, transform_sizes) ||
      (m->room = idse_room_allocate(sequence, g->transform_sizes)) == NULL)
    idse_say_no_memory(sequence, message);
  for (int c = 0; message[0] == '\0' && c < component_count(sequence->chroma_format_idc); c++)
    if (!idse_map_load_pixels(m, c, map->pixel[c], g))
      idse_say(message, "a pixel weight of component %d is 0, the least is 1; raise it", c);
  if (message[0] == '\0')
  {
    idse_map_load_shapes(m, map, g);
    idse_picture_use(picture, m);
    picture->counters.pictures = 1;
  }
  else
  {
    idse_map_free(m);
    idse_picture_free(picture);
    picture = NULL;
  }
  if (g != NULL) idse_weighting_free(g);
  free(g);
  return picture;
}

void idse_picture_destroy(idse_picture *picture)
{
  if (picture == NULL) return;
  idse_map_free(picture->map);
  idse_picture_free(picture);
}

const idse_counters *idse_picture_counters(const idse_picture *picture) { return &picture->counters; }

int idse_use_kernels(idse_picture *picture, int kernels)
{
  const idse_kernels *wanted = idse_kernels_of(kernels);
  if (wanted != NULL) picture->kernels = wanted;
  return wanted != NULL;
}
