/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The weights of one map: the run-time settings applied, padding, integral image, shapes of transforms.
 */
#define _POSIX_C_SOURCE 200112L

#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* sqrt() is exact to the last bit everywhere; what pow() leaves to the C library does not survive the rounding. */
static uint32_t raise_to(double value, double power)
{
  return (uint32_t)((power == 1.0 ? value : power == 0.5 ? sqrt(value) : pow(value, power)) * MIXED_ONE + 0.5);
}

static uint32_t powered(const weighting *g, uint16_t weight)
{
  return g->powered != NULL ? g->powered[weight] : (uint32_t)weight * (MIXED_ONE / IDSE_ONE);
}

static uint64_t sum_powered(const weighting *g, const uint16_t *source, size_t count)
{
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += g->powered[source[i]];
  return sum;
}

/* What becomes of a weight of the plane being loaded: clip, mean 1, tau, in this order. */
static uint16_t apply_settings(const weighting *g, uint16_t weight)
{
  const uint64_t tau = (uint64_t)(g->settings.tau * MIXED_ONE + 0.5);
  const uint64_t value = powered(g, weight) < g->limit ? powered(g, weight) : g->limit;
  /* sum / count is at most 2^24, so value / mean is taken in two steps that stay within 64 bits. */
  const uint64_t mean1 = (uint64_t)((double)value * (double)g->count / (double)g->sum * MIXED_ONE + 0.5);
  const uint64_t mixed = ((mean1 + tau) * MIXED_ONE + (MIXED_ONE + tau) / 2) / (MIXED_ONE + tau);
  const uint64_t result = (mixed + IDSE_ONE / 2) / IDSE_ONE;
  return (uint16_t)(result < 1 ? 1 : result > WEIGHT_MAX ? WEIGHT_MAX : result);
}

int idse_has_zero(const uint16_t *weights, size_t count)
{
  int zero = 0;
  for (size_t i = 0; i < count; i++) zero |= weights[i] == 0; /* without a branch, so that it becomes vector code */
  return zero;
}

/* Gets ready for the weights of a plane. */
static void measure_plane(weighting *g, const uint16_t *source, int width, int height)
{
  uint64_t plain = 0;
  unsigned bits = 0; /* the largest weight has no others */
  for (int y = 0; y < height; y++)
  {
    uint32_t row = 0; /* of at most 65535 weights */
    for (int x = 0; x < width; x++)
    {
      row += source[x + (size_t)y * width];
      bits |= source[x + (size_t)y * width];
    }
    plain += row;
  }
  g->count = (uint64_t)width * height;
  g->sum = g->powered != NULL ? sum_powered(g, source, g->count) : plain * (MIXED_ONE / IDSE_ONE);
  g->limit = UINT32_MAX;
  if (g->settings.clip > 0)
  {
    g->limit = (uint64_t)(g->settings.clip * ((double)g->sum / (double)g->count) + 0.5);
    g->sum = 0;
    for (size_t i = 0; i < g->count; i++) g->sum += powered(g, source[i]) < g->limit ? powered(g, source[i]) : g->limit;
  }
  unsigned end = 1; /* a map of small weights needs a small part of the table */
  while (end <= bits) end *= 2;
  memset(g->result, 0, sizeof g->result[0] * end);
}

/* `count` weights with settings applied; returns their sum. */
static inline uint32_t fill_weights(weighting *g, const uint16_t *source, int count, uint16_t *out)
{
  uint32_t sum = 0;
  for (int i = 0; i < count; i++)
  {
    uint16_t *result = &g->result[source[i]];
    if (*result == 0) *result = apply_settings(g, source[i]); /* a map has few different weights */
    sum += out[i] = *result;
  }
  return sum;
}

/* The weights with settings applied, the padding and the integral image. */
static void fill_pixel_weights(plane *p, const uint16_t *source, weighting *g)
{
  const int    width = p->width, across = cells(width);
  const size_t stride = p->padded_width;
  uint16_t    *to = p->weight;
  uint32_t    *above = p->integral;
  measure_plane(g, source, width, p->height);
  memset(above, 0, sizeof *above * (across + 1));
  for (int y = 0; y < p->height; above += across + 1)
  {
    uint32_t *here = above + across + 1;
    memset(here, 0, sizeof *here * (across + 1));
    for (int row = 0; row < CELL && y < p->height; row++, y++, source += width, to += stride)
    {
      int x = 0;
      for (; x + CELL <= width; x += CELL) here[x / CELL + 1] += fill_weights(g, source + x, CELL, to + x);
      if (x < width) here[across] += fill_weights(g, source + x, width - x, to + x);
      for (x = width; x < p->padded_width; x++) to[x] = to[width - 1];
    }
    for (int x = 1; x <= across; x++) here[x] += here[x - 1];
    for (int x = 1; x <= across; x++) here[x] += above[x];
  }
  for (int y = p->height; y < p->padded_height; y++, to += stride) memcpy(to, to - stride, sizeof *to * stride);
}

/* Copies the shapes of one transform size, raised to the power and brought back to mean 1 block by block. `source` and
 * `target` may be the same. */
static void fill_shapes(const plane *p, int index, const uint16_t *source, uint16_t *target, const weighting *g)
{
  const int    size = 4 << index;
  const size_t columns = (p->width + size - 1) / size, rows = (p->height + size - 1) / size, stride = columns * size;

  if (g->powered == NULL)
  {
    if (source != target) memcpy(target, source, sizeof(uint16_t) * stride * rows * size);
    return;
  }
  for (size_t by = 0; by < rows; by++)
    for (size_t bx = 0; bx < columns; bx++)
    {
      const uint16_t *from = source + (by * stride + bx) * size;
      uint16_t       *to = target + (by * stride + bx) * size;
      uint64_t        sum = 0;
      for (int v = 0; v < size; v++)
        for (int u = 0; u < size; u++) sum += g->powered[from[v * stride + u]];
      for (int v = 0; v < size; v++)
        for (int u = 0; u < size; u++)
        {
          const uint16_t w = from[v * stride + u];
          const uint64_t s = sum ? ((uint64_t)g->powered[w] * IDSE_ONE * size * size + sum / 2) / sum : w;
          to[v * stride + u] = (uint16_t)(s > WEIGHT_MAX ? WEIGHT_MAX : s);
        }
    }
}

int idse_weighting_init(weighting *g, const idse_settings *settings, int transform_sizes)
{
  g->settings = *settings;
  g->transform_sizes = settings->rdoq == 2 ? transform_sizes : 0;
  g->powered = NULL;
  if (settings->power == 1.0) return 1;
  g->powered = malloc(sizeof(uint32_t) * (WEIGHT_MAX + 1));
  if (g->powered == NULL) return 0;
  for (uint32_t w = 0; w <= WEIGHT_MAX; w++) g->powered[w] = raise_to(w / (double)IDSE_ONE, settings->power);
  return 1;
}

void idse_weighting_free(weighting *g) { free(g->powered); }

static int plane_allocate(plane *p, const idse_sequence *s, int component)
{
  const int shift_x = chroma_shift_x(s->chroma_format_idc), shift_y = chroma_shift_y(s->chroma_format_idc);
  p->width = component_size(s->width, component, shift_x);
  p->height = component_size(s->height, component, shift_y);
  p->padded_width = round_up(component_size(max_int(s->coded_width, s->width), component, shift_x), PAD);
  p->padded_height = round_up(component_size(max_int(s->coded_height, s->height), component, shift_y), PAD);
  void *weight = NULL;
  if (posix_memalign(&weight, sizeof(uint16_t) * LINE, sizeof(uint16_t) * (size_t)p->padded_width * p->padded_height))
    return 0;
  p->weight = weight;
  p->integral = malloc(sizeof(uint32_t) * ((size_t)cells(p->width) + 1) * ((size_t)cells(p->height) + 1));
  return p->integral != NULL;
}

loaded_map *idse_map_allocate(const idse_sequence *sequence)
{
  loaded_map *m = calloc(1, sizeof *m);
  if (m == NULL) return NULL;
  m->number = -1;
  int complete = 1;
  for (int c = 0; c < component_count(sequence->chroma_format_idc); c++)
    complete = plane_allocate(&m->planes[c], sequence, c) && complete;
  if (complete) return m;
  idse_map_free(m);
  return NULL;
}

void idse_map_free(loaded_map *m)
{
  if (m == NULL) return;
  for (int c = 0; c < IDSE_MAX_COMP; c++)
  {
    free(m->planes[c].weight);
    free(m->planes[c].integral);
  }
  idse_room_free(m->room);
  free(m);
}

shape_room *idse_room_allocate(const idse_sequence *s, int transform_sizes)
{
  shape_room *room = calloc(1, sizeof *room);
  int         complete = room != NULL;
  for (int c = 0; complete && c < component_count(s->chroma_format_idc); c++)
    for (int t = 0; complete && t < IDSE_TRANSFORMS; t++)
      if (has_shape(transform_sizes, t))
      {
        const int width = component_size(s->width, c, chroma_shift_x(s->chroma_format_idc));
        const int height = component_size(s->height, c, chroma_shift_y(s->chroma_format_idc));
        room->shape[c][t] = malloc(sizeof(uint16_t) * (size_t)round_up(width, 4 << t) * round_up(height, 4 << t));
        complete = room->shape[c][t] != NULL;
      }
  if (complete) return room;
  idse_room_free(room);
  return NULL;
}

void idse_room_free(shape_room *room)
{
  if (room == NULL) return;
  for (int c = 0; c < IDSE_MAX_COMP; c++)
    for (int t = 0; t < IDSE_TRANSFORMS; t++) free(room->shape[c][t]);
  free(room);
}

int idse_map_load_pixels(loaded_map *m, int c, const uint16_t *pixels, weighting *g)
{
  const plane *p = &m->planes[c];
  if (idse_has_zero(pixels, (size_t)p->width * p->height)) return 0;
  fill_pixel_weights(&m->planes[c], pixels, g);
  m->loaded = c + 1;
  return 1;
}

void idse_map_load_shapes(loaded_map *m, const idse_map *map, const weighting *g)
{
  for (int c = 0; c < IDSE_MAX_COMP; c++)
    for (int t = 0; t < IDSE_TRANSFORMS; t++)
    {
      uint16_t       *own = m->room != NULL ? m->room->shape[c][t] : NULL;
      const uint16_t *given = map->shape[c][t];
      if (own != NULL) fill_shapes(&m->planes[c], t, given, own, g);
      m->planes[c].shape[t] = !has_shape(g->transform_sizes, t) ? NULL : own != NULL ? own : given;
    }
  m->shaped = 1;
}
