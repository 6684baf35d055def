/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of the bridge know of one another; encoders see idse.h and their own adapter's header. The way of a
 * weight: file.c reads it, map.c applies the settings, picture.c uses it in the hot path, encoder.c says which picture
 * has which map. settings.c has defaults, ranges and messages, options.c reads options;
 * jm.c, x264.c and x265.c adapt the hot path to an encoder each.
 */
#ifndef FPRDO_INTERNAL_H
#define FPRDO_INTERNAL_H

#include "idse.h"
#include "kernels.h"

enum {
  MIXED_BITS = 16, /* fraction bits of means, of tau and while settings are applied */
  MIXED_ONE = 1 << MIXED_BITS,
  WEIGHT_MAX = 65535,
  PAD = 64,  /* a plane reaches at least this far beyond the last visible sample: one CTU */
  CELL = 4,  /* the smallest block whose mean is asked for: plane.integral counts in blocks of this size */
  LINE = 32, /* weights in a line of a processor's cache */
  TU_MAX = 32,
  TU_ORDERS = 2, /* IDSE_FREQUENCIES, IDSE_SAMPLES */
  MAX_QP_CLIP = 12,
  COEFFICIENT_MAX = 8192 * IDSE_ONE, /* largest weight of a coefficient, of x264 and x265 */
  JM_TU_MAX = 8,                     /* largest size of idse_jm_errors() */
  JM_SLOT_BITS = 5,
  JM_SLOTS = 1 << JM_SLOT_BITS
};

/* ---- settings.c ------------------------------------------------------------------------------------------------- */

int  idse_settings_check(const idse_settings *settings, char *message);
void idse_say(char *message, const char *format, ...);
void idse_say_no_memory(const idse_sequence *sequence, char *message);

/* ---- sizes ------------------------------------------------------------------------------------------------------ */

static inline int min_int(int a, int b) { return a < b ? a : b; }
static inline int max_int(int a, int b) { return a > b ? a : b; }
static inline int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }

static inline int chroma_shift_x(int chroma_format_idc) { return chroma_format_idc == 1 || chroma_format_idc == 2; }
static inline int chroma_shift_y(int chroma_format_idc) { return chroma_format_idc == 1; }
static inline int component_count(int chroma_format_idc) { return chroma_format_idc == 0 ? 1 : IDSE_MAX_COMP; }

/* Samples of a component that `luma` samples cover; an odd size rounds up. */
static inline int component_size(int luma, int component, int shift)
{
  return component && shift ? (luma + 1) / 2 : luma;
}

/* Transform `index` is 2^(index + 2) samples wide. */
static inline int has_shape(int transform_sizes, int index) { return transform_sizes >> (index + 2) & 1; }
static inline int transform_index(int size)
{
  return size == 4 ? 0 : size == 8 ? 1 : size == 16 ? 2 : size == 32 ? 3 : -1;
}

static inline int cells(int samples) { return (samples + CELL - 1) / CELL; }

/* ---- map.c: the weights of one map, settings applied ------------------------------------------------------------ */

typedef struct plane {
  int             width, height; /* visible */
  int             padded_width, padded_height;
  uint16_t       *weight;   /* padded_height rows of padded_width, settings applied, edges replicated; rows begin with a
                               line of the cache */
  uint32_t       *integral; /* (cells down + 1) x (cells across + 1) sums of visible weights, modulo 2^32: exact for any
                               block whose sum stays below that, 65536 samples at the largest weight */
  const uint16_t *shape[IDSE_TRANSFORMS]; /* whole blocks that cover the visible part; NULL where there are none */
} plane;

/* Room for the shapes of one map. */
typedef struct shape_room {
  struct shape_room *next;
  uint16_t          *shape[IDSE_MAX_COMP][IDSE_TRANSFORMS]; /* NULL where shapes of that size are not wanted */
} shape_room;

/* Any number of pictures and threads read a map; it changes only while nobody does. */
typedef struct loaded_map {
  struct loaded_map *next;
  int64_t            number; /* of its record in the file, or of the provider's frame; -1: none yet */
  int                users;
  uint64_t           used;   /* which picture had it last, 0: none */
  int                loaded; /* components whose pixel weights are there, from the first on */
  int                shaped; /* the shapes are there */
  shape_room        *room;   /* where they lie; NULL if in the provider's memory */
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

int  idse_weighting_init(weighting *g, const idse_settings *settings, int transform_sizes); /* 0: no memory */
void idse_weighting_free(weighting *g);

loaded_map *idse_map_allocate(const idse_sequence *sequence);
void        idse_map_free(loaded_map *m); /* its room too; NULL is allowed */
int         idse_has_zero(const uint16_t *weights, size_t count);

/* Loads the pixel weights of component c, the next one; 0 if one of them is 0, which is no weight. */
int idse_map_load_pixels(loaded_map *m, int c, const uint16_t *pixels, weighting *g);

/* Loads the shapes of all components, into the map's room if it has one; they may lie there already. */
void idse_map_load_shapes(loaded_map *m, const idse_map *map, const weighting *g);

shape_room *idse_room_allocate(const idse_sequence *sequence, int transform_sizes);
void        idse_room_free(shape_room *room); /* NULL is allowed */

static inline const uint16_t *weights_at(const plane *p, int x, int y)
{
  return p->weight + (size_t)y * p->padded_width + x;
}

/* ---- file.c: the weight file (docs/idse-format.md) -------------------------------------------------------------- */

/* A file is read, never mapped: one that becomes shorter is a read that falls short then, not a signal. */
typedef struct weight_file {
  char    *path;
  int      descriptor; /* open while `path` is not NULL */
  uint64_t bytes;
  uint32_t width, height, map_count, frames_per_map, frame_count, metadata_bytes;
  uint32_t record_count; /* maps that differ */
  int      has_table;    /* which record each map is; without it, map n is record n */
  uint64_t map_bytes, maps_offset;
  int      chroma_format_idc, transform_sizes;
  int      all_one; /* every pixel weight of every map is 1.0 */
} weight_file;

extern const char idse_remake[]; /* how a weight file is made again */

/* These return 0 with a message. After idse_file_open() idse_file_close() is due in any case. */
int idse_file_open(weight_file *f, const char *path, const idse_sequence *sequence, char *message);
int idse_file_read_pixels(const weight_file *f, uint32_t record, int c, uint16_t *to, char *message);
int idse_file_read_shapes(const weight_file *f, uint32_t record, const shape_room *to, idse_map *map, char *message);
int64_t idse_file_record(const weight_file *f, uint32_t map, char *message); /* of a map; -1 with a message */
void    idse_file_close(weight_file *f);

/* CRC-32 of ISO 3309 and zlib (crc32.c). */
enum { CRC_STEP = 16 };
typedef uint32_t crc_tables[CRC_STEP][256];
void             idse_crc_init(crc_tables table);
uint32_t         idse_crc_add(crc_tables table, uint32_t crc, const uint8_t *data, size_t bytes); /* crc: 0 to start */

static inline uint32_t read_u16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
static inline uint32_t read_u32(const uint8_t *p) { return read_u16(p) | read_u16(p + 2) << 16; }
static inline uint64_t read_u64(const uint8_t *p) { return read_u32(p) | (uint64_t)read_u32(p + 4) << 32; }

/* ---- picture.c: the hot path ------------------------------------------------------------------------------------ */

/* Weights of the coefficients of a block. They depend on its place and on nothing else, and an encoder tries the
 * same block many times: each block of a CTU, 64x64 samples of a component, has a slot that keeps them. */
typedef struct tu_weights {
  int     x, y; /* its place; x is -1 while there are none */
  double  mean;
  double *weights;
} tu_weights;

/* Where a plane of JM's original picture lies. */
typedef struct jm_plane {
  uintptr_t start, end;
  size_t    stride;  /* bytes from row to row of the frame */
  uint64_t  inverse; /* 2^32 / stride, rounded up: divisions are dear where every distortion needs one */
  int       sample_bytes;
} jm_plane;

/* What idse_jm_errors() returned for a block. */
typedef struct jm_errors {
  const void   *sample, *below; /* sample is NULL while there is nothing */
  const double *plain;
  double        weighted[JM_TU_MAX * JM_TU_MAX];
} jm_errors;

struct idse_picture {
  idse_encoder        *encoder;
  idse_picture        *next; /* in the encoder's list */
  loaded_map          *map;
  const plane         *planes;  /* of the map */
  const idse_kernels  *kernels; /* for this machine */
  idse_settings        settings;
  int                  chroma_format_idc;
  const idse_provider *provider;                      /* whose distortion takes the place of ours, NULL: nobody's */
  uint32_t             tau_share;                     /* tau / (1 + tau), MIXED_BITS */
  uint32_t             qp_threshold[2 * MAX_QP_CLIP]; /* mean weights at which the QP offset changes, descending */
  tu_weights   *tu_slots[TU_ORDERS][IDSE_MAX_COMP][IDSE_TRANSFORMS]; /* NULL where all coefficients weigh the same */
  void         *tu_memory;                                           /* of all slots */
  double        tu_buffer[TU_MAX * TU_MAX];
  idse_counters counters; /* of whoever holds this picture: one thread */
  /* JM's alone */
  jm_plane      jm_planes[IDSE_MAX_COMP];
  int64_t       jm_knee;            /* distortion per sample from which on it is limited */
  jm_errors     jm_slots[JM_SLOTS]; /* by sample: an encoder tries many modes for a block */
};

/* `transform_sizes` as in a weighting. NULL: no memory. */
idse_picture *idse_picture_allocate(const idse_settings *settings, const idse_sequence *sequence, int transform_sizes);
void          idse_picture_free(idse_picture *picture);               /* NULL is allowed */
void          idse_picture_use(idse_picture *picture, loaded_map *m); /* gives it its weights; m has one user more */

uint64_t idse_provided_sum(const idse_provider *provider, const idse_block *block);

/* *sum = sum of w * ((original - coded)^2 >> shift) over a block of samples of `type` whose rows lie `row_step` rows
 * of the picture apart, 8 fraction bits; the provider's distortion in its place. Returns 0 and counts as
 * idse_distortion(). All distortions pass through here. */
ALWAYS_INLINE int weighted_block(idse_picture *picture, const idse_block *block, int type, int row_step, uint64_t *sum)
{
  const idse_provider *provider = picture->provider;
  const plane         *p = &picture->planes[block->component];
  const int            asked = block->decision | (block->component ? IDSE_CHROMA : 0);
  if ((picture->settings.decisions & asked) != asked)
  {
    picture->counters.masked++;
    return 0;
  }
  picture->counters.weighted++;
  if (provider != NULL && (provider->decisions & block->decision) != 0)
    *sum = idse_provided_sum(provider, block);
  else
    *sum = picture->kernels->sum[type](weights_at(p, block->x, block->y), (ptrdiff_t)p->padded_width * row_step, block);
  return 1;
}

/* The same for blocks that say themselves where they lie and what their samples are. */
int idse_described_block(idse_picture *picture, const idse_block *block, uint64_t *sum);

/* Mean weight with MIXED_BITS fraction bits. A block that lies in the padding alone takes the nearest visible
 * sample. */
uint32_t idse_mean_weight(const plane *p, int x, int y, int width, int height);

/* The shape of the block at (x, y); blocks that lie in the padding alone repeat the last one. */
const uint16_t *idse_block_shape(const plane *p, int index, int x, int y, ptrdiff_t *stride);

int idse_offset_of_mean(const idse_picture *picture, uint32_t mean);
int idse_count_qp_offset(idse_picture *picture, int component, int x, int y, int width, int height);

#endif
