/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See idse.h for what each function promises. Order of this file: hot path, weights of a picture, weight file,
 * encoder handle.
 */
#define _POSIX_C_SOURCE 200809L

#include "idse.h"
#include "weighted_sse.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  MIXED_BITS   = 16, /* fraction bits of means, of tau and while settings are applied */
  MIXED_ONE    = 1 << MIXED_BITS,
  WEIGHT_MAX   = 65535,
  PAD          = 64, /* a plane reaches at least this far beyond the last visible sample: one CTU */
  CELL         = 4,  /* the smallest block whose mean is asked for: plane.integral counts in blocks of this size */
  MAPS_AHEAD   = 8,  /* maps in memory that only idse_qp_offsets() has asked for: where pictures share them, those of a
                        lookahead of 40 pictures */
  CTU_BITS     = 6,
  CTU          = 1 << CTU_BITS,
  TU_MAX       = 32,
  TU_ORDERS    = 2, /* IDSE_FREQUENCIES, IDSE_SAMPLES */
  MAX_QP_CLIP  = 12,
  COEFFICIENT_MAX = 8192 * IDSE_ONE, /* largest result of idse_coefficient_weights() */
  ROWS_TU_MAX  = 8,  /* largest size of idse_tu_errors_rows() */
  ERROR_SLOT_BITS = 5,
  ERROR_SLOTS  = 1 << ERROR_SLOT_BITS,
  LIMIT_BITS   = 10, /* fraction bits in idse_limited() */
  ROW_ONE      = 32, /* the squared error 1 in distortions of idse_sse_rows*(): 5 fraction bits */
  HEADER_BYTES = 96
};

#define HASH_FACTOR 0x9E3779B97F4A7C15u /* 2^64 by the golden ratio: Fibonacci hashing */
#define DISTORTION_END 17592186044416.0 /* 2^44: with 8 fraction bits it is far from the end of 64 bits */

typedef struct plane {
  int       width, height; /* visible */
  int       padded_width, padded_height;
  uint16_t *weight;        /* padded_height rows of padded_width, settings applied, edges replicated */
  uint32_t *integral;      /* (cells down + 1) x (cells across + 1) sums of visible weights, modulo 2^32: exact for any
                              block whose sum stays below that, 65536 samples at the largest weight */
  const uint16_t *shape[IDSE_TRANSFORMS]; /* whole blocks that cover the visible part; NULL where there are none */
  uint16_t *own_shape[IDSE_TRANSFORMS];   /* what `shape` points to, unless to the map itself */
} plane;

/* Weights of one map, settings applied. Any number of pictures and threads read them; they change only while nobody
 * does. */
typedef struct loaded_map {
  struct loaded_map *next;
  int64_t            number; /* of the map in the file, -1: none yet */
  int                users;
  int                used;   /* some picture has had it */
  int                loaded; /* components, from the first on */
  plane              planes[IDSE_MAX_COMP];
} loaded_map;

/* Settings in the form in which they are applied while a map is loaded. */
typedef struct weighting {
  idse_settings settings;
  int           transform_sizes;        /* shapes that are wanted and there, bit n: 2^n x 2^n */
  uint32_t     *powered;                /* w^power of every weight, MIXED_BITS; NULL for power 1 */
  uint64_t      count, sum, limit;      /* of the plane being loaded: weights, the sum and the limit of them powered; */
  uint16_t      result[WEIGHT_MAX + 1]; /* the weight that becomes of each, 0: not known yet */
} weighting;

/* Where a plane of the encoder's original picture lies. */
typedef struct original {
  uintptr_t start, end;
  size_t    stride;       /* bytes from row to row of the frame */
  uint64_t  inverse;      /* 2^32 / stride, rounded up: divisions are dear where every distortion needs one */
  int       sample_shift; /* log2 of the bytes of a sample */
} original;

/* Weights of the coefficients of a block. They depend on its place and on nothing else, and an encoder tries the same block
 * many times: each block of a CTU, 64x64 samples of a component, has a slot that keeps them. */
typedef struct tu_weights {
  int     x, y; /* its place; x is -1 while there are none */
  double  mean;
  double *weights;
} tu_weights;

/* What idse_tu_errors_rows() returned for a block. */
typedef struct tu_errors {
  const void   *sample, *below; /* sample is NULL while there is nothing */
  const double *plain;
  double        weighted[ROWS_TU_MAX * ROWS_TU_MAX];
} tu_errors;

struct idse_picture {
  idse_encoder *encoder;
  idse_picture *next;                               /* in the encoder's list */
  loaded_map   *map;
  const plane  *planes;                             /* of the map */
  const weighted_sse *sse;                          /* kernels for this machine */
  idse_settings settings;
  int           components;
  const idse_provider *provider;                    /* whose distortion takes the place of ours, NULL: nobody's */
  int           decision;                           /* of the last idse_decides() */
  int64_t       sample_knee;                        /* distortion per sample that idse_sse_rows*() limits from on */
  original      originals[IDSE_MAX_COMP];
  uint32_t      tau_share;                          /* tau / (1 + tau), MIXED_BITS */
  uint32_t      qp_threshold[2 * MAX_QP_CLIP];      /* mean weights at which the QP offset changes, descending */
  tu_weights   *tu_slots[TU_ORDERS][IDSE_MAX_COMP][IDSE_TRANSFORMS]; /* NULL where all coefficients weigh the same */
  void         *tu_memory;                          /* of all slots */
  double        tu_buffer[TU_MAX * TU_MAX];
  tu_errors     errors[ERROR_SLOTS];                /* by sample: an encoder tries many modes for a block */
  idse_counters counters;                           /* of whoever holds this picture: one thread */
};

/* ---- hot path ------------------------------------------------------------------------------------------------- */

int idse_decides(idse_picture *picture, int decision, int component)
{
  picture->decision = decision;
  if (decision == 0)
  {
    picture->counters.unweighted++;
    return 0;
  }
  const int asked = component ? decision | IDSE_CHROMA : decision;
  if ((picture->settings.decisions & asked) != asked)
  {
    picture->counters.masked++;
    return 0;
  }
  picture->counters.weighted++;
  return 1;
}

/* The provider's distortion in units of 1 / IDSE_ONE, as the kernels have it. */
static uint64_t provided_sum(const idse_picture *picture, const idse_block *block)
{
  const idse_provider *provider = picture->provider;
  const double         distortion = provider->distortion(provider->context, block);
  if (distortion >= 0 && distortion < DISTORTION_END) return (uint64_t)(distortion * IDSE_ONE);
  provider->refuse(provider->context, distortion); /* a NaN fails the comparisons */
  return 0;
}

static int asks_provider(const idse_picture *picture)
{
  return picture->provider != NULL && (picture->provider->decisions & picture->decision) != 0;
}

static const uint16_t *weights_at(const plane *p, int x, int y) { return p->weight + (size_t)y * p->padded_width + x; }

uint64_t idse_sse16(const idse_picture *picture, int component, int x, int y, int width, int height, const int16_t *a,
                    ptrdiff_t stride_a, const int16_t *b, ptrdiff_t stride_b, int shift)
{
  const plane *p = &picture->planes[component];
  if (asks_provider(picture))
  {
    const idse_block block = { picture->decision, component, x, y, width, height, 2, 1, shift, b, a, stride_b, stride_a };
    return provided_sum(picture, &block) / IDSE_ONE;
  }
  return picture->sse->block_s16(weights_at(p, x, y), p->padded_width, a, stride_a, b, stride_b, width, height, shift) /
         IDSE_ONE;
}

/* For encoders built for video of 16 bits. */
uint64_t idse_sse32(const idse_picture *picture, int component, int x, int y, int width, int height, const int32_t *a,
                    ptrdiff_t stride_a, const int32_t *b, ptrdiff_t stride_b, int shift)
{
  const plane    *p = &picture->planes[component];
  const uint16_t *w = weights_at(p, x, y);
  uint64_t        sum = 0;
  for (int row = 0; row < height; row++, a += stride_a, b += stride_b, w += p->padded_width)
    for (int i = 0; i < width; i++)
    {
      const int64_t e = (int64_t)a[i] - b[i];
      sum += (uint64_t)w[i] * ((uint64_t)(e * e) >> shift);
    }
  return sum / IDSE_ONE;
}

/* sum * scale / 2^16, rounded down; `sum` may have 60 bits. */
static uint64_t scaled(uint64_t sum, uint32_t scale)
{
  return (sum >> MIXED_BITS) * scale + ((sum & (MIXED_ONE - 1)) * scale >> MIXED_BITS);
}

uint64_t idse_sse_scaled8(const idse_picture *picture, int component, int x, int y, int width, int height,
                          const uint8_t *a, ptrdiff_t stride_a, const uint8_t *b, ptrdiff_t stride_b, uint32_t scale)
{
  const plane *p = &picture->planes[component];
  return scaled(picture->sse->block_u8(weights_at(p, x, y), p->padded_width, a, stride_a, b, stride_b, width, height),
                scale) / IDSE_ONE;
}

uint64_t idse_sse_scaled16(const idse_picture *picture, int component, int x, int y, int width, int height,
                           const uint16_t *a, ptrdiff_t stride_a, const uint16_t *b, ptrdiff_t stride_b, uint32_t scale)
{
  const plane *p = &picture->planes[component];
  return scaled(picture->sse->block_u16(weights_at(p, x, y), p->padded_width, a, stride_a, b, stride_b, width, height),
                scale) / IDSE_ONE;
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

static int min_int(int a, int b) { return a < b ? a : b; }
static int max_int(int a, int b) { return a > b ? a : b; }

static int cells(int samples) { return (samples + CELL - 1) / CELL; }

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

/* Mean with MIXED_BITS fraction bits. A block that lies in the padding alone takes the nearest visible sample. */
static uint32_t mean_weight(const plane *p, int x, int y, int width, int height)
{
  const int      x0 = min_int(x, p->width - 1), x1 = max_int(x0 + 1, min_int(x + width, p->width));
  const int      y0 = min_int(y, p->height - 1), y1 = max_int(y0 + 1, min_int(y + height, p->height));
  const uint32_t count = (uint32_t)(x1 - x0) * (uint32_t)(y1 - y0);
  return (uint32_t)((((uint64_t)sum_weights(p, x0, y0, x1, y1) << (MIXED_BITS - 8)) + count / 2) / count);
}

double idse_mean(const idse_picture *picture, int component, int x, int y, int width, int height)
{
  return mean_weight(&picture->planes[component], x, y, width, height) / (double)MIXED_ONE;
}

static int transform_index(int size)
{
  return size == 4 ? 0 : size == 8 ? 1 : size == 16 ? 2 : size == 32 ? 3 : -1;
}

/* The shape of the block at (x, y); blocks that lie in the padding alone repeat the last one. */
static const uint16_t *block_shape(const plane *p, int index, int x, int y, ptrdiff_t *stride)
{
  const int size = 4 << index, columns = (p->width + size - 1) / size, rows = (p->height + size - 1) / size;
  *stride = (ptrdiff_t)columns * size;
  return p->shape[index] + min_int(y / size, rows - 1) * *stride * size + (ptrdiff_t)min_int(x / size, columns - 1) * size;
}

/* Of every frequency of the block at (x, y). The mean holds (level + tau) / (1 + tau); only the level part has a shape.
 * Level and shape have at most 40 bits together, so that every operation here is exact and no compiler can make it differ. */
static void frequency_weights(const idse_picture *picture, const plane *p, int index, int x, int y, uint32_t mean,
                              double *weights)
{
  const int       size = 4 << index;
  const uint32_t  tau_part = mean < picture->tau_share ? mean : picture->tau_share;
  const double    flat = tau_part * (1.0 / MIXED_ONE), level = (mean - tau_part) * (1.0 / MIXED_ONE / IDSE_ONE);
  ptrdiff_t       stride;
  const uint16_t *shape = block_shape(p, index, x, y, &stride);
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

const double *idse_tu_weights(idse_picture *picture, int component, int x, int y, int size, int order, double *mean)
{
  const plane *p = &picture->planes[component];
  const int    index = transform_index(size);
  picture->counters.rdoq++;
  if (index < 0 || order == IDSE_UNORDERED || picture->tu_slots[order][component][index] == NULL)
  {
    *mean = mean_weight(p, x, y, size, size) * (1.0 / MIXED_ONE);
    for (int i = 0; i < size * size; i++) picture->tu_buffer[i] = *mean;
    return picture->tu_buffer;
  }
  const int   number = ((y & (CTU - 1)) >> (index + 2) << (CTU_BITS - 2 - index)) + ((x & (CTU - 1)) >> (index + 2));
  tu_weights *slot = &picture->tu_slots[order][component][index][number];
  if (slot->x != x || slot->y != y)
  {
    const uint32_t of_block = mean_weight(p, x, y, size, size);
    slot->x = x;
    slot->y = y;
    slot->mean = of_block * (1.0 / MIXED_ONE);
    if (order == IDSE_SAMPLES)
      sample_weights(p, size, x, y, slot->weights);
    else
      frequency_weights(picture, p, index, x, y, of_block, slot->weights);
  }
  *mean = slot->mean;
  return slot->weights;
}

int idse_coefficient_weights(idse_picture *picture, int component, int x, int y, int width, int height, int size, int count,
                             const uint8_t *places, int number, uint32_t scale, uint32_t *weights)
{
  const plane   *p = &picture->planes[component];
  const uint32_t mean = mean_weight(p, x, y, width, height);
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
  const uint16_t *shape = block_shape(p, index, x, y, &stride);
  const int       bits = (count > 1) + (count > 2) + (count > 4);
  for (int i = 0; i < number; i++)
  {
    const int      u = places[i] >> bits, v = places[i] & (count - 1);
    const uint64_t weight = (flat + level * shape[v * stride + u]) >> 2 * MIXED_BITS;
    weights[places[i]] = weight < COEFFICIENT_MAX ? (uint32_t)weight : COEFFICIENT_MAX;
  }
  return 0;
}

int idse_rdoq(const idse_picture *picture) { return picture != NULL && picture->settings.rdoq != 0; }

int idse_sao(const idse_picture *picture) { return picture != NULL && picture->settings.sao != 0; }

static int offset_of_mean(const idse_picture *picture, uint32_t mean)
{
  const int clip = picture->settings.qp_map_clip;
  int       offset = -MAX_QP_CLIP;
  for (int i = 0; i < 2 * MAX_QP_CLIP && mean < picture->qp_threshold[i]; i++) offset++;
  return offset < -clip ? -clip : offset > clip ? clip : offset;
}

static int qp_offset(idse_picture *picture, int component, int x, int y, int width, int height)
{
  const int      offset = offset_of_mean(picture, mean_weight(&picture->planes[component], x, y, width, height));
  idse_counters *c = &picture->counters;
  c->qp_offset_min = c->qp_groups ? min_int(c->qp_offset_min, offset) : offset;
  c->qp_offset_max = c->qp_groups ? max_int(c->qp_offset_max, offset) : offset;
  c->qp_offset_sum += offset;
  c->qp_groups++;
  return offset;
}

int idse_qp_offset(idse_picture *picture, int x, int y, int width, int height)
{
  return picture == NULL || !picture->settings.qp_map ? 0 : qp_offset(picture, 0, x, y, width, height);
}

/* ---- hot path by rows ----------------------------------------------------------------------------------------- */

void idse_set_original(idse_picture *picture, int component, const void *plane, size_t stride, int rows,
                       int sample_bytes)
{
  if (picture == NULL || component >= picture->components) return;
  original *o = &picture->originals[component];
  o->start = (uintptr_t)plane;
  o->end = o->start + stride * rows;
  o->stride = stride;
  o->inverse = (((uint64_t)1 << 32) + stride - 1) / stride;
  o->sample_shift = sample_bytes == 2;
}

typedef struct place {
  int component, x, y;
  int step; /* rows of the frame from one row of the block to the next */
} place;

/* Where a block lies; 0 if not in the original. */
static int find_place(const idse_picture *picture, const void *sample, const void *below, place *found)
{
  const uintptr_t at = (uintptr_t)sample;
  for (int c = 0; c < picture->components; c++)
  {
    const original *o = &picture->originals[c];
    if (at < o->start || at >= o->end) continue;
    const uint64_t offset = at - o->start;
    uint64_t       row = offset * o->inverse >> 32; /* of planes below 4 GB; one too many at most */
    row -= row * o->stride > offset;
    found->component = c;
    found->y = (int)row;
    found->x = (int)((offset - row * o->stride) >> o->sample_shift);
    found->step = (uintptr_t)below - at == o->stride ? 1 : 2;
    return 1;
  }
  return 0;
}

/* In units of 1/32. A sum below one unit is not taken for none: lossless coding knows itself by a distortion of 0. */
static int64_t row_distortion(uint64_t sum)
{
  return sum > 0 && sum < IDSE_ONE / ROW_ONE ? 1 : (int64_t)(sum / (IDSE_ONE / ROW_ONE));
}

#define DEFINE_SSE_ROWS(name, type, sample)                                                                            \
  static uint64_t provided_##name(idse_picture *picture, const place *at, sample *const *original, int x,              \
                                  sample *const *coded, int coded_x, int width, int height)                            \
  {                                                                                                                    \
    const idse_block block = { picture->decision, at->component, at->x, at->y, width, height, sizeof(sample), 0, 0,    \
                               original[0] + x, coded[0] + coded_x, original[1] - original[0], coded[1] - coded[0] };  \
    return provided_sum(picture, &block);                                                                              \
  }                                                                                                                    \
                                                                                                                       \
  int name(idse_picture *picture, int decision, sample *const *original, int x, sample *const *coded, int coded_x,     \
           int width, int height, int64_t *distortion)                                                                 \
  {                                                                                                                    \
    place     at = { 0, 0, 0, 1 };                                                                                     \
    const int found = find_place(picture, original[0] + x, original[1] + x, &at);                                      \
    if (!idse_decides(picture, found ? decision : 0, at.component)) return 0;                                          \
    const plane    *p = &picture->planes[at.component];                                                                \
    const int64_t   knee = picture->sample_knee * (width * height);                                                    \
    const uint16_t *w = weights_at(p, at.x, at.y);                                                                     \
    const ptrdiff_t stride_w = (ptrdiff_t)p->padded_width * at.step;                                                   \
    const uint64_t  sum =                                                                                              \
      asks_provider(picture) ? provided_##name(picture, &at, original, x, coded, coded_x, width, height)               \
                             : picture->sse->rows_##type(w, stride_w, original, x, coded, coded_x, width, height);     \
    *distortion = row_distortion(sum);                                                                                 \
    if (*distortion > knee)                                                                                            \
    {                                                                                                                  \
      int64_t plain = 0;                                                                                               \
      for (int row = 0; row < height; row++)                                                                           \
        for (int i = 0; i < width; i++)                                                                                \
        {                                                                                                              \
          const int64_t e = (int64_t)original[row][x + i] - coded[row][coded_x + i];                                   \
          plain += e * e * ROW_ONE;                                                                                    \
        }                                                                                                              \
      *distortion = (int64_t)idse_limited(picture, *distortion, plain, knee);                                          \
    }                                                                                                                  \
    return 1;                                                                                                          \
  }

DEFINE_SSE_ROWS(idse_sse_rows8, u8, uint8_t)
DEFINE_SSE_ROWS(idse_sse_rows16, u16, uint16_t)

const double *idse_tu_errors_rows(idse_picture *picture, const void *sample, const void *below, int size,
                                  const double *plain)
{
  if (!idse_rdoq(picture)) return plain;
  tu_errors *slot = &picture->errors[(uint64_t)(uintptr_t)sample * HASH_FACTOR >> (64 - ERROR_SLOT_BITS)];
  if (slot->sample == sample && slot->below == below && slot->plain == plain)
  {
    picture->counters.rdoq++;
    return slot->weighted;
  }
  place at;
  if (!find_place(picture, sample, below, &at))
  {
    picture->counters.unweighted++;
    return plain;
  }
  const double *weights = NULL; /* mean for all */
  double        mean;
  if (at.step == 1)
    weights = idse_tu_weights(picture, at.component, at.x, at.y, size, IDSE_FREQUENCIES, &mean);
  else
    mean = idse_tu_mean_rows(picture, sample, below, size, size);
  slot->sample = sample;
  slot->below = below;
  slot->plain = plain;
  for (int i = 0; i < size * size; i++) slot->weighted[i] = plain[i] * (weights == NULL ? mean : weights[i]);
  return slot->weighted;
}

double idse_tu_mean_rows(idse_picture *picture, const void *sample, const void *below, int width, int height)
{
  place at;
  if (!find_place(picture, sample, below, &at))
  {
    picture->counters.unweighted++;
    return 1.0;
  }
  picture->counters.rdoq++;
  return idse_mean(picture, at.component, at.x, at.y, width, height * at.step);
}

int idse_qp_offset_rows(idse_picture *picture, const void *sample, const void *below, int width, int height)
{
  place at;
  if (picture == NULL || !picture->settings.qp_map) return 0;
  if (find_place(picture, sample, below, &at))
    return qp_offset(picture, at.component, at.x, at.y, width, height * at.step);
  picture->counters.unweighted++;
  return 0;
}

uint32_t idse_lambda_scale(int qp_offset)
{
  static const uint32_t third[3] = { 65536, 82570, 104032 }; /* 2^(n / 3) */
  const int             octave = (qp_offset + MAX_QP_CLIP) / 3;
  return (uint32_t)(((uint64_t)third[(qp_offset + MAX_QP_CLIP) % 3] << octave) >> (MAX_QP_CLIP / 3));
}

/* ---- settings and messages ------------------------------------------------------------------------------------ */

static void say(char *message, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, IDSE_MESSAGE_BYTES, format, arguments);
  va_end(arguments);
}

static void say_no_memory(const idse_sequence *sequence, char *message)
{
  say(message, "no memory for the weights of a %dx%d picture", sequence->width, sequence->height);
}

void idse_settings_default(idse_settings *settings)
{
  settings->tau = 0.15;
  settings->power = 1.0;
  settings->clip = 0.0;
  settings->rdoq = 2;
  settings->qp_map = 1;
  settings->qp_map_clip = 6;
  settings->sao = 1;
  settings->decisions = IDSE_ALL;
}

static int check_int(const char *name, int value, int low, int high, char *message)
{
  if (value >= low && value <= high) return 1;
  say(message, "%s is %d; give a value from %d to %d", name, value, low, high);
  return 0;
}

static int check_settings(const idse_settings *s, char *message)
{
  /* Written so that a NaN fails. */
  if (!(s->tau >= 0 && s->tau <= 1000))
    say(message, "IDSETau is %g; give a value from 0 to 1000", s->tau);
  else if (!(s->power > 0 && s->power <= 1))
    say(message, "IDSEPower is %g; give a value above 0 and up to 1", s->power);
  else if (!(s->clip == 0 || (s->clip >= 1 && s->clip <= 255)))
    say(message, "IDSEClip is %g; give 0 for no limit, or a value from 1 to 255", s->clip);
  else
    return check_int("IDSERdoq", s->rdoq, 0, 2, message) && check_int("IDSEQpMap", s->qp_map, 0, 1, message) &&
           check_int("IDSEQpMapClip", s->qp_map_clip, 0, MAX_QP_CLIP, message) &&
           check_int("IDSESao", s->sao, 0, 1, message) &&
           check_int("IDSEDecisions", s->decisions, 0, IDSE_ALL, message);
  return 0;
}

static int chroma_shift_x(int chroma_format_idc) { return chroma_format_idc == 1 || chroma_format_idc == 2; }
static int chroma_shift_y(int chroma_format_idc) { return chroma_format_idc == 1; }
static int component_count(int chroma_format_idc) { return chroma_format_idc == 0 ? 1 : IDSE_MAX_COMP; }

/* Samples of all components in 16x16 luma samples. */
static int macroblock_samples(int chroma_format_idc)
{
  return 256 + (chroma_format_idc ? 512 >> chroma_shift_x(chroma_format_idc) >> chroma_shift_y(chroma_format_idc) : 0);
}

/* Transform `index` is 2^(index + 2) samples wide. */
static int has_shape(int transform_sizes, int index) { return transform_sizes >> (index + 2) & 1; }

/* Samples of a component that `luma` samples cover; an odd size rounds up. */
static int component_size(int luma, int component, int shift)
{
  return component && shift ? (luma + 1) / 2 : luma;
}

/* ---- the weights of one picture ------------------------------------------------------------------------------- */

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
  const uint64_t mean1 =
    g->sum ? (uint64_t)((double)value * (double)g->count / (double)g->sum * MIXED_ONE + 0.5) : MIXED_ONE;
  const uint64_t mixed = ((mean1 + tau) * MIXED_ONE + (MIXED_ONE + tau) / 2) / (MIXED_ONE + tau);
  const uint64_t result = (mixed + IDSE_ONE / 2) / IDSE_ONE;
  return (uint16_t)(result < 1 ? 1 : result > WEIGHT_MAX ? WEIGHT_MAX : result);
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

/* Copies the shapes of one transform size, raised to the power and brought back to mean 1 block by block. */
static void fill_shapes(plane *p, int index, const uint16_t *source, const weighting *g)
{
  const int    size = 4 << index;
  const size_t columns = (p->width + size - 1) / size, rows = (p->height + size - 1) / size, stride = columns * size;

  if (g->powered == NULL)
  {
    memcpy(p->own_shape[index], source, sizeof(uint16_t) * stride * rows * size);
    return;
  }
  for (size_t by = 0; by < rows; by++)
    for (size_t bx = 0; bx < columns; bx++)
    {
      const uint16_t *from = source + (by * stride + bx) * size;
      uint16_t       *to = p->own_shape[index] + (by * stride + bx) * size;
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

static int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }

static int weighting_init(weighting *g, const idse_settings *settings, int transform_sizes)
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

static void plane_free(plane *p)
{
  free(p->weight);
  free(p->integral);
  for (int t = 0; t < IDSE_TRANSFORMS; t++) free(p->own_shape[t]);
}

/* `copied`: bit n set where shapes of 2^n x 2^n are not read from the map itself. */
static int plane_allocate(plane *p, const idse_sequence *s, int component, int copied)
{
  const int shift_x = chroma_shift_x(s->chroma_format_idc), shift_y = chroma_shift_y(s->chroma_format_idc);
  p->width = component_size(s->width, component, shift_x);
  p->height = component_size(s->height, component, shift_y);
  p->padded_width = round_up(component_size(max_int(s->coded_width, s->width), component, shift_x), PAD);
  p->padded_height = round_up(component_size(max_int(s->coded_height, s->height), component, shift_y), PAD);
  p->weight = malloc(sizeof(uint16_t) * (size_t)p->padded_width * p->padded_height);
  p->integral = malloc(sizeof(uint32_t) * ((size_t)cells(p->width) + 1) * ((size_t)cells(p->height) + 1));
  int complete = p->weight != NULL && p->integral != NULL;
  for (int t = 0; t < IDSE_TRANSFORMS; t++)
    if (has_shape(copied, t))
    {
      p->own_shape[t] = malloc(sizeof(uint16_t) * (size_t)round_up(p->width, 4 << t) * round_up(p->height, 4 << t));
      complete = complete && p->own_shape[t] != NULL;
    }
  return complete;
}

static void map_free(loaded_map *m)
{
  if (m == NULL) return;
  for (int c = 0; c < IDSE_MAX_COMP; c++) plane_free(&m->planes[c]);
  free(m);
}

static loaded_map *map_allocate(const idse_sequence *sequence, int copied)
{
  loaded_map *m = calloc(1, sizeof *m);
  if (m == NULL) return NULL;
  m->number = -1;
  int complete = 1;
  for (int c = 0; c < component_count(sequence->chroma_format_idc); c++)
    complete = plane_allocate(&m->planes[c], sequence, c, copied) && complete;
  if (complete) return m;
  map_free(m);
  return NULL;
}

/* Loads what is not yet loaded of the first `components`. */
static void map_load(loaded_map *m, const idse_map *map, int components, weighting *g)
{
  for (int c = m->loaded; c < components; m->loaded = ++c)
  {
    plane *p = &m->planes[c];
    fill_pixel_weights(p, map->pixel[c], g);
    for (int t = 0; t < IDSE_TRANSFORMS; t++)
    {
      if (p->own_shape[t] != NULL) fill_shapes(p, t, map->shape[c][t], g);
      p->shape[t] = !has_shape(g->transform_sizes, t) ? NULL : p->own_shape[t] != NULL ? p->own_shape[t] : map->shape[c][t];
    }
  }
}

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
  const size_t kinds = (size_t)TU_ORDERS * picture->components;
  picture->tu_memory = malloc(kinds * (slots * sizeof(tu_weights) + planes * CTU * CTU * sizeof(double)));
  if (picture->tu_memory == NULL) return 0;
  double     *weights = picture->tu_memory;
  tu_weights *slot = (tu_weights *)(weights + kinds * planes * CTU * CTU);
  for (int order = 0; order < TU_ORDERS; order++)
    for (int c = 0; c < picture->components; c++)
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
        for (int i = 0; picture->tu_slots[order][c][t] != NULL && i < slots_of(t); i++) picture->tu_slots[order][c][t][i].x = -1;
  for (int i = 0; i < ERROR_SLOTS; i++) picture->errors[i].sample = NULL;
}

static void picture_free(idse_picture *picture)
{
  if (picture != NULL) free(picture->tu_memory);
  free(picture);
}

/* `transform_sizes` as in a weighting. */
static idse_picture *picture_allocate(const idse_settings *settings, const idse_sequence *sequence, int transform_sizes)
{
  idse_picture *picture = calloc(1, sizeof *picture);
  if (picture == NULL) return NULL;
  picture->sse = best_kernels();
  picture->settings = *settings;
  picture->components = component_count(sequence->chroma_format_idc);
  /* A cost without its fraction is an int; an eighth of its range is left to the rate, and distortion reaches twice the
   * knee. */
  picture->sample_knee = (INT32_MAX - INT32_MAX / 8) * (int64_t)ROW_ONE /
                         macroblock_samples(sequence->chroma_format_idc) / 2;
  picture->tau_share = (uint32_t)(settings->tau / (1 + settings->tau) * MIXED_ONE + 0.5);
  /* The offset is -12 + the number of thresholds above the mean: threshold i separates -12 + i from -11 + i. */
  for (int i = 0; i < 2 * MAX_QP_CLIP; i++)
    picture->qp_threshold[i] = (uint32_t)(pow(2.0, (MAX_QP_CLIP - i - 0.5) / 3) * MIXED_ONE + 0.5);
  if (allocate_slots(picture, transform_sizes)) return picture;
  picture_free(picture);
  return NULL;
}

/* Gives a picture its weights; m has one user more. */
static void picture_use(idse_picture *picture, loaded_map *m)
{
  m->users++;
  m->used = 1;
  picture->map = m;
  picture->planes = m->planes;
  forget_slots(picture);
}

idse_picture *idse_picture_create(const idse_map *map, const idse_settings *settings, const idse_sequence *sequence,
                                  char *message)
{
  message[0] = '\0';
  if (!check_settings(settings, message)) return NULL;
  int transform_sizes = 0;
  for (int t = 0; t < IDSE_TRANSFORMS; t++)
    if (map->shape[0][t] != NULL) transform_sizes |= 4 << t;
  weighting    *g = calloc(1, sizeof *g);
  idse_picture *picture = picture_allocate(settings, sequence, settings->rdoq == 2 ? transform_sizes : 0);
  loaded_map   *m = NULL;
  if (g != NULL && picture != NULL && weighting_init(g, settings, transform_sizes) &&
      (m = map_allocate(sequence, g->transform_sizes)) != NULL)
  {
    map_load(m, map, component_count(sequence->chroma_format_idc), g);
    picture_use(picture, m);
    picture->counters.pictures = 1;
  }
  else
  {
    say_no_memory(sequence, message);
    picture_free(picture);
    picture = NULL;
  }
  if (g != NULL) free(g->powered);
  free(g);
  return picture;
}

void idse_picture_destroy(idse_picture *picture)
{
  if (picture == NULL) return;
  map_free(picture->map);
  picture_free(picture);
}

const idse_counters *idse_picture_counters(const idse_picture *picture) { return &picture->counters; }

int idse_use_kernels(idse_picture *picture, int kernels)
{
  const weighted_sse *wanted = kernels_of(kernels);
  if (wanted != NULL) picture->sse = wanted;
  return wanted != NULL;
}

/* ---- the weight file (docs/idse-format.md) -------------------------------------------------------------------- */

typedef struct weight_file {
  const uint8_t *data; /* the whole file, memory-mapped */
  size_t         bytes;
  uint32_t       width, height, map_count, frames_per_map, frame_count, metadata_bytes;
  uint64_t       map_bytes, maps_offset;
  int            chroma_format_idc, transform_sizes;
  int            all_one; /* every pixel weight of every map is 1.0 */
} weight_file;

static uint32_t read_u32(const uint8_t *p)
{
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static uint64_t read_u64(const uint8_t *p) { return read_u32(p) | (uint64_t)read_u32(p + 4) << 32; }
static uint32_t read_u16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }

#if HAVE_X86
#define CLMUL __attribute__((target("pclmul,sse4.1")))
#define HAS_CLMUL (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))

/* One step of Intel's "Fast CRC computation using PCLMULQDQ": a * x^n mod P of both halves, n being what `by` was made for. */
CLMUL static __m128i crc_fold(__m128i a, __m128i by)
{
  return _mm_xor_si128(_mm_clmulepi64_si128(a, by, 0x00), _mm_clmulepi64_si128(a, by, 0x11));
}

/* Folds 64 bytes or more, a multiple of 64, into 16 bytes of the same CRC continued from 0; `crc` is that before them. */
CLMUL static void crc_fold_to_16(uint32_t crc, const uint8_t *data, size_t bytes, uint8_t out[16])
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

/* CRC-32 of ISO 3309 and zlib, continued from `crc`; 0 to start. 16 bytes a step, a table for each ("slicing"): a whole
 * file is checked before the first picture, which has to be quick beside an encoder of hundreds of pictures a second. */
static uint32_t crc32_add(uint32_t crc, const uint8_t *data, size_t bytes)
{
  enum { STEP = 16 };
  uint32_t table[STEP][256];
  for (uint32_t i = 0; i < 256; i++)
  {
    uint32_t r = i;
    for (int bit = 0; bit < 8; bit++) r = r & 1 ? r >> 1 ^ 0xEDB88320u : r >> 1;
    table[0][i] = r;
  }
  for (int k = 1; k < STEP; k++)
    for (uint32_t i = 0; i < 256; i++) table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
  crc = ~crc;
#if HAVE_X86
  uint8_t folded[STEP];
  if (bytes >= 64 && bytes % 64 == 0 && HAS_CLMUL)
  {
    crc_fold_to_16(crc, data, bytes, folded);
    crc = 0;
    data = folded;
    bytes = STEP;
  }
#endif
  for (; bytes >= STEP; bytes -= STEP, data += STEP)
  {
    const uint32_t a = read_u32(data) ^ crc, b = read_u32(data + 4), c = read_u32(data + 8), d = read_u32(data + 12);
    crc = table[15][a & 255] ^ table[14][a >> 8 & 255] ^ table[13][a >> 16 & 255] ^ table[12][a >> 24] ^
          table[11][b & 255] ^ table[10][b >> 8 & 255] ^ table[9][b >> 16 & 255] ^ table[8][b >> 24] ^
          table[7][c & 255] ^ table[6][c >> 8 & 255] ^ table[5][c >> 16 & 255] ^ table[4][c >> 24] ^
          table[3][d & 255] ^ table[2][d >> 8 & 255] ^ table[1][d >> 16 & 255] ^ table[0][d >> 24];
  }
  for (; bytes > 0; bytes--, data++) crc = table[0][(crc ^ *data) & 255] ^ crc >> 8;
  return ~crc;
}

static size_t plane_samples(const weight_file *f, int component)
{
  return (size_t)component_size((int)f->width, component, chroma_shift_x(f->chroma_format_idc)) *
         (size_t)component_size((int)f->height, component, chroma_shift_y(f->chroma_format_idc));
}

static size_t shape_samples(const weight_file *f, int component, int index)
{
  const int size = 4 << index;
  return (size_t)round_up(component_size((int)f->width, component, chroma_shift_x(f->chroma_format_idc)), size) *
         (size_t)round_up(component_size((int)f->height, component, chroma_shift_y(f->chroma_format_idc)), size);
}

static void file_map(const weight_file *f, uint32_t number, idse_map *map)
{
  const uint16_t *at = (const uint16_t *)(const void *)(f->data + f->maps_offset + number * f->map_bytes);
  memset(map, 0, sizeof *map);
  for (int c = 0; c < component_count(f->chroma_format_idc); c++)
  {
    map->pixel[c] = at;
    at += plane_samples(f, c);
  }
  for (int c = 0; c < component_count(f->chroma_format_idc); c++)
    for (int t = 0; t < IDSE_TRANSFORMS; t++)
      if (has_shape(f->transform_sizes, t))
      {
        map->shape[c][t] = at;
        at += shape_samples(f, c, t);
      }
}

static const char remake[] = "make the map again with: fprdo weights";

static int parse_header(weight_file *f, const char *path, char *message)
{
  static const uint8_t magic[8] = { 'I', 'D', 'S', 'E', '\r', '\n', 0x1a, '\n' };
  const uint8_t       *h = f->data;

  if (f->bytes < 12 || memcmp(h, magic, sizeof magic) != 0)
  {
    say(message, "%s: not an .idse weight file; %s", path, remake);
    return 0;
  }
  if (read_u16(h + 8) != 1)
  {
    say(message, "%s: .idse version %u, this encoder reads version 1; update the encoder or %s", path, read_u16(h + 8), remake);
    return 0;
  }
  if (f->bytes < HEADER_BYTES)
  {
    say(message, "%s: truncated, %zu bytes where the header alone has %d; %s", path, f->bytes, HEADER_BYTES, remake);
    return 0;
  }
  f->width = read_u32(h + 12);
  f->height = read_u32(h + 16);
  f->chroma_format_idc = h[20];
  f->transform_sizes = h[22];
  f->map_count = read_u32(h + 24);
  f->frames_per_map = read_u32(h + 28);
  f->frame_count = read_u32(h + 32);
  f->map_bytes = read_u64(h + 40);
  f->maps_offset = read_u64(h + 48);
  f->metadata_bytes = read_u32(h + 56);

  const uint64_t preamble = HEADER_BYTES + 4 * (uint64_t)f->map_count + f->metadata_bytes;
  uint64_t       samples = 0;
  int            sound = read_u16(h + 10) == HEADER_BYTES && f->width >= 1 && f->width <= 65535 && f->height >= 1 &&
              f->height <= 65535 && f->chroma_format_idc <= 3 && h[21] == 8 && (f->transform_sizes & ~0x3c) == 0 &&
              f->map_count >= 1 && f->frames_per_map >= 1 &&
              f->map_count == ((uint64_t)f->frame_count + f->frames_per_map - 1) / f->frames_per_map &&
              f->maps_offset % 64 == 0 && f->maps_offset >= preamble;
  if (sound)
  {
    for (int c = 0; c < component_count(f->chroma_format_idc); c++)
    {
      samples += plane_samples(f, c);
      for (int t = 0; t < IDSE_TRANSFORMS; t++) samples += has_shape(f->transform_sizes, t) ? shape_samples(f, c, t) : 0;
    }
    sound = f->map_bytes == (2 * samples + 63) / 64 * 64;
  }
  if (!sound)
  {
    say(message, "%s: the header contradicts itself; %s", path, remake);
    return 0;
  }
  /* By division: offset and count are anybody's, their sum may wrap around. */
  const uint64_t room = f->bytes > f->maps_offset ? f->bytes - f->maps_offset : 0;
  if (room / f->map_bytes != f->map_count || room % f->map_bytes != 0)
  {
    say(message, "%s: %s, %zu bytes where the header promises %u maps of %" PRIu64 " bytes from byte %" PRIu64
        " on; copy it again or %s", path, room / f->map_bytes < f->map_count ? "truncated" : "too long", f->bytes,
        f->map_count, f->map_bytes, f->maps_offset, remake);
    return 0;
  }
  if (read_u32(h + 92) != crc32_add(crc32_add(0, h, 92), h + HEADER_BYTES, (size_t)(preamble - HEADER_BYTES)))
  {
    say(message, "%s: wrong checksum of the header; copy it again or %s", path, remake);
    return 0;
  }
  return 1;
}

static int check_maps(weight_file *f, const char *path, char *message)
{
  f->all_one = 1;
  for (uint32_t n = 0; n < f->map_count; n++)
  {
    const uint8_t *record = f->data + f->maps_offset + n * f->map_bytes;
    if (read_u32(f->data + HEADER_BYTES + 4 * n) != crc32_add(0, record, (size_t)f->map_bytes))
    {
      say(message, "%s: wrong checksum of map %u of %u; copy it again or %s", path, n, f->map_count, remake);
      return 0;
    }
    idse_map map;
    file_map(f, n, &map);
    for (size_t i = 0; f->all_one && i < plane_samples(f, 0); i++) f->all_one = map.pixel[0][i] == IDSE_ONE;
  }
  return 1;
}

static int check_sequence(const weight_file *f, const char *path, const idse_sequence *s, char *message)
{
  static const char *const chroma[] = { "4:0:0", "4:2:0", "4:2:2", "4:4:4" };
  const int64_t            needed = (int64_t)(s->frames - 1) * s->frame_step + 1;

  if ((int)f->width != s->width || (int)f->height != s->height)
    say(message, "%s: weights for %ux%u, the pictures are %dx%d; %s on these pictures", path, f->width, f->height,
        s->width, s->height, remake);
  else if (f->chroma_format_idc != s->chroma_format_idc)
    say(message, "%s: weights for %s, the pictures are coded as %s; %s with that chroma format", path,
        chroma[f->chroma_format_idc], chroma[s->chroma_format_idc & 3], remake);
  else if ((int64_t)f->frame_count < needed)
    say(message, "%s: weights for %u frames, %" PRId64 " are needed; code fewer frames or %s for all of them", path,
        f->frame_count, needed, remake);
  else
    return 1;
  return 0;
}

static int file_open(weight_file *f, const char *path, char *message)
{
  struct stat status;
  const int   descriptor = open(path, O_RDONLY);
  if (descriptor < 0 || fstat(descriptor, &status) != 0)
  {
    say(message, "%s: cannot be opened (%s); give the path of an .idse file", path, strerror(errno));
    if (descriptor >= 0) close(descriptor);
    return 0;
  }
  if (!S_ISREG(status.st_mode) || status.st_size == 0)
  {
    say(message, "%s: not an .idse weight file; %s", path, remake);
    close(descriptor);
    return 0;
  }
  f->bytes = (size_t)status.st_size;
  void *data = mmap(NULL, f->bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  close(descriptor);
  if (data == MAP_FAILED)
  {
    say(message, "%s: cannot be mapped into memory (%s)", path, strerror(errno));
    return 0;
  }
  f->data = data;
  return 1;
}

static void file_close(weight_file *f)
{
  if (f->data != NULL) munmap((void *)(uintptr_t)f->data, f->bytes);
  f->data = NULL;
}

/* ---- encoder handle ------------------------------------------------------------------------------------------- */

struct idse_encoder {
  idse_sequence sequence;
  weighting     weighting;
  weight_file   file;     /* with a provider, only what it says of pictures and maps */
  const idse_provider *provider; /* NULL: weights come from the file */
  loaded_map   *maps;     /* every one that was ever loaded; those without users serve the next pictures */
  idse_picture *pictures; /* begun and not ended */
  idse_picture *ended;    /* to be used again */
  idse_counters counters; /* of the pictures that ended */
  idse_picture *qp_constants; /* thresholds and settings for idse_qp_offsets() */
};

static const idse_provider *next_provider; /* of the encoder that is opened next */

void idse_set_provider(const idse_provider *provider) { next_provider = provider; }

/* What a file of the provider's maps would say. */
static void describe_provided(weight_file *f, const idse_provider *provider, const idse_sequence *s)
{
  f->width = (uint32_t)s->width;
  f->height = (uint32_t)s->height;
  f->chroma_format_idc = s->chroma_format_idc;
  f->transform_sizes = provider->transform_sizes;
  f->map_count = (uint32_t)((s->frames - 1) * s->frame_step + 1);
  f->frames_per_map = 1;
  f->all_one = provider->flat;
}

idse_encoder *idse_encoder_open(const char *weight_file_name, const idse_settings *settings,
                                const idse_sequence *sequence, char *message)
{
  message[0] = '\0';
  const uint16_t byte_order = 1;
  idse_encoder  *encoder = calloc(1, sizeof *encoder);
  if (encoder == NULL)
    say(message, "no memory");
  else if (*(const uint8_t *)&byte_order != 1)
    say(message, "big-endian machines are not supported: maps are read in place as little-endian");
  else if (next_provider != NULL && next_provider->bytes != sizeof *next_provider)
    say(message, "encoder library and Python package are of different builds; run python3 build.py");
  else if (check_settings(settings, message) &&
           (next_provider != NULL || (file_open(&encoder->file, weight_file_name, message) &&
                                      parse_header(&encoder->file, weight_file_name, message) &&
                                      check_sequence(&encoder->file, weight_file_name, sequence, message) &&
                                      check_maps(&encoder->file, weight_file_name, message))))
  {
    encoder->provider = next_provider;
    if (encoder->provider != NULL) describe_provided(&encoder->file, encoder->provider, sequence);
    encoder->sequence = *sequence;
    if (weighting_init(&encoder->weighting, settings, encoder->file.transform_sizes)) return encoder;
    say_no_memory(sequence, message);
  }
  idse_encoder_close(encoder);
  return NULL;
}

static void free_pictures(idse_picture *picture)
{
  while (picture != NULL)
  {
    idse_picture *next = picture->next;
    picture_free(picture);
    picture = next;
  }
}

/* The provider may have the buffers of a map again. */
static void give_back(idse_encoder *encoder, loaded_map *m)
{
  if (encoder->provider != NULL && m->number >= 0) encoder->provider->end(encoder->provider->context, (int)m->number);
  m->number = -1;
}

void idse_encoder_close(idse_encoder *encoder)
{
  if (encoder == NULL) return;
  free_pictures(encoder->pictures);
  free_pictures(encoder->ended);
  for (loaded_map *m = encoder->maps, *next; m != NULL; m = next)
  {
    next = m->next;
    give_back(encoder, m);
    map_free(m);
  }
  picture_free(encoder->qp_constants);
  file_close(&encoder->file);
  free(encoder->weighting.powered);
  free(encoder);
}

/* Number of the map of a coded picture, -1 if the file has none. */
static int64_t map_of_picture(const idse_encoder *encoder, int poc)
{
  const int64_t number = (int64_t)poc * encoder->sequence.frame_step / encoder->file.frames_per_map;
  return poc < 0 || number >= encoder->file.map_count ? -1 : number;
}

/* The weights of map `number`, of the first `components` at least: as they were loaded before, else in the place of a map
 * that nobody uses, the oldest one of those that pictures have had. */
static loaded_map *map_acquire(idse_encoder *encoder, int poc, int64_t number, int components)
{
  const weighting *g = &encoder->weighting;
  loaded_map      *m = encoder->maps, *spare = NULL;
  int              ahead = 0;
  for (; m != NULL && m->number != number; m = m->next)
  {
    if (m->users > 0) continue;
    ahead += !m->used;
    if (spare == NULL || m->used > spare->used || (m->used == spare->used && m->number < spare->number)) spare = m;
  }
  if (m == NULL && spare != NULL && (spare->used || ahead == MAPS_AHEAD))
  {
    m = spare;
    give_back(encoder, m);
    m->used = m->loaded = 0;
  }
  else if (m == NULL)
  {
    m = map_allocate(&encoder->sequence, g->powered != NULL ? g->transform_sizes : 0);
    if (m == NULL) return NULL;
    m->next = encoder->maps;
    encoder->maps = m;
  }
  if (m->loaded >= components) return m;
  idse_map map;
  memset(&map, 0, sizeof map);
  if (encoder->provider == NULL)
    file_map(&encoder->file, (uint32_t)number, &map);
  else if (!encoder->provider->begin(encoder->provider->context, poc, (int)number, &map))
    return NULL;
  m->number = number;
  map_load(m, &map, components, &encoder->weighting);
  return m;
}

/* A picture that reads `m`, in the encoder's list. */
static idse_picture *picture_open(idse_encoder *encoder, loaded_map *m)
{
  idse_picture *picture = encoder->ended;
  if (picture != NULL)
    encoder->ended = picture->next;
  else if ((picture = picture_allocate(&encoder->weighting.settings, &encoder->sequence,
                                          encoder->weighting.transform_sizes)) == NULL)
    return NULL;
  picture_use(picture, m);
  picture->encoder = encoder;
  picture->provider = encoder->provider != NULL && encoder->provider->decisions ? encoder->provider : NULL;
  picture->next = encoder->pictures;
  encoder->pictures = picture;
  return picture;
}

idse_picture *idse_picture_begin(idse_encoder *encoder, int poc)
{
  const int64_t number = map_of_picture(encoder, poc);
  const int     components = component_count(encoder->sequence.chroma_format_idc);
  loaded_map   *m = number < 0 ? NULL : map_acquire(encoder, poc, number, components);
  idse_picture *picture = m == NULL ? NULL : picture_open(encoder, m);
  if (picture != NULL) picture->counters.pictures = 1;
  return picture;
}

idse_picture *idse_picture_share(const idse_picture *picture) { return picture_open(picture->encoder, picture->map); }

static void add_counters(idse_counters *sum, const idse_counters *c)
{
  if (c->qp_groups > 0)
  {
    sum->qp_offset_min = sum->qp_groups ? min_int(sum->qp_offset_min, c->qp_offset_min) : c->qp_offset_min;
    sum->qp_offset_max = sum->qp_groups ? max_int(sum->qp_offset_max, c->qp_offset_max) : c->qp_offset_max;
  }
  sum->pictures += c->pictures;
  sum->weighted += c->weighted;
  sum->masked += c->masked;
  sum->unweighted += c->unweighted;
  sum->rdoq += c->rdoq;
  sum->qp_groups += c->qp_groups;
  sum->qp_offset_sum += c->qp_offset_sum;
  sum->limited += c->limited;
}

void idse_picture_end(idse_picture *picture)
{
  if (picture == NULL) return;
  idse_encoder  *encoder = picture->encoder;
  idse_picture **link = &encoder->pictures;
  while (*link != picture) link = &(*link)->next;
  *link = picture->next;
  picture->map->users--;
  add_counters(&encoder->counters, &picture->counters);
  memset(&picture->counters, 0, sizeof picture->counters);
  picture->next = encoder->ended;
  encoder->ended = picture;
}

int idse_qp_offsets(idse_encoder *encoder, int poc, int size, int columns, int rows, float *offsets)
{
  const int64_t number = map_of_picture(encoder, poc);
  if (encoder->provider != NULL) return 0; /* it has its maps in coding order, not ahead */
  if (encoder->qp_constants == NULL)
    encoder->qp_constants = picture_allocate(&encoder->weighting.settings, &encoder->sequence, 0);
  const loaded_map *m = number < 0 || encoder->qp_constants == NULL ? NULL : map_acquire(encoder, poc, number, 1);
  if (m == NULL) return 0;
  for (int y = 0; y < rows; y++)
    for (int x = 0; x < columns; x++)
    {
      const uint32_t mean = mean_weight(&m->planes[0], x * size, y * size, size, size);
      *offsets++ += (float)offset_of_mean(encoder->qp_constants, mean);
    }
  return 1;
}

int idse_changes_qp(const idse_encoder *encoder)
{
  return encoder != NULL && encoder->weighting.settings.qp_map && !encoder->file.all_one;
}

void idse_counters_get(const idse_encoder *encoder, idse_counters *counters)
{
  *counters = encoder->counters;
  for (const idse_picture *p = encoder->pictures; p != NULL; p = p->next) add_counters(counters, &p->counters);
}

void idse_print_summary(const idse_encoder *encoder, FILE *out)
{
  idse_counters c;
  idse_counters_get(encoder, &c);
  fprintf(out,
          "IDSE summary: pictures %" PRIu64 " weighted %" PRIu64 " masked %" PRIu64 " unweighted %" PRIu64 " rdoq %" PRIu64
          " qp_groups %" PRIu64 " qp_offset_mean %.3f qp_offset_min %d qp_offset_max %d\n",
          c.pictures, c.weighted, c.masked, c.unweighted, c.rdoq, c.qp_groups,
          c.qp_groups ? (double)c.qp_offset_sum / (double)c.qp_groups : 0.0, c.qp_offset_min, c.qp_offset_max);
  if (c.limited > 0)
    fprintf(out, "IDSE: warning: %" PRIu64 " distortions were limited; raise IDSETau or set IDSEClip\n", c.limited);
}
