/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The bridge between importance weights and a block-based encoder: what every encoder calls. jm.h, x264.h and x265.h
 * beside it have what one encoder alone needs.
 *
 * A weight buffer holds unsigned 16-bit fixed-point weights with 8 fraction bits (256 is 1.0), so that decisions are
 * the same on every compiler and CPU, and a weight of 1.0 reproduces the plain squared error exactly. All state
 * lives in handles; two encoders in one process do not see each other. Coordinates are samples of the component they
 * come with, measured from the top left corner of the picture.
 */
#ifndef FPRDO_IDSE_H
#define FPRDO_IDSE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  IDSE_ONE = 256, /* the weight 1.0 */
  IDSE_MAX_COMP = 3,
  IDSE_TRANSFORMS = 4,      /* transform sizes 4, 8, 16, 32 */
  IDSE_MESSAGE_BYTES = 5120 /* the longest path and what is said of it */
};

/* Which mode decision asks for a distortion; the bits of idse_settings.decisions. */
enum {
  IDSE_INTRA = 1,    /* intra transform unit, every mode and split that full RDO tries */
  IDSE_SKIP = 2,     /* inter coding unit without residual */
  IDSE_RESIDUAL = 4, /* inter transform units: split, coded block flag, transform skip */
  IDSE_INTER = 8,    /* inter coding unit with residual, the final cost */
  IDSE_CHROMA = 16,  /* the above for Cb and Cr too; without it chroma keeps the plain squared error */
  IDSE_ALL = 31
};

/* What the coefficients of a transform unit are, for idse_tu_weights(). */
enum {
  IDSE_FREQUENCIES = 0, /* DCT or DST: row v, column u holds vertical frequency v and horizontal frequency u */
  IDSE_SAMPLES = 1,     /* transform skip: row y, column x holds that sample's residual */
  IDSE_UNORDERED = 2    /* anything else, rotated residuals for one: only the mean weight can be used */
};

/* Versions of the weighted SSE, all of the same result; see idse_use_kernels(). */
enum { IDSE_SCALAR = 0, IDSE_AVX2 = 1, IDSE_NEON = 2 };

/* What the weights are allowed to change, one field for each line of settings.inc, which says what it does and what its
 * default is; idse_settings_default() fills it. `decisions` is a mask of IDSE_INTRA ... IDSE_CHROMA. */
typedef struct idse_settings {
#define IDSE_SETTING(type, field, initial, valid, allowed, name) type field;
#include "settings.inc"
} idse_settings;

/* What the encoder is about to code. */
typedef struct idse_sequence {
  int width, height;             /* visible luma samples: the size the map must have */
  int coded_width, coded_height; /* luma samples coded, padding included */
  int chroma_format_idc;         /* 0 4:0:0, 1 4:2:0, 2 4:2:2, 3 4:4:4 (HEVC and AVC alike) */
  int frames;                    /* pictures to code */
  int frame_step;                /* source frames per coded picture, 1 unless temporally subsampled */
} idse_sequence;

/* Weights of one picture as the map's author wrote them (docs/idse-format.md): mean 1, no run-time setting applied. */
typedef struct idse_map {
  const uint16_t *pixel[IDSE_MAX_COMP];                  /* visible size of the component, no padding */
  const uint16_t *shape[IDSE_MAX_COMP][IDSE_TRANSFORMS]; /* NULL where absent; size rounded up to whole blocks */
} idse_map;

/* A block whose distortion is asked for. `original` and `coded` point to its first sample; in HM's trials of inter
 * transform units (IDSE_RESIDUAL) they are residuals. */
typedef struct idse_block {
  int         decision; /* IDSE_INTRA ... IDSE_INTER; 0: nobody knows, a hole in a patch */
  int         component, x, y, width, height;
  int         sample_bytes, is_signed; /* 1 or 2 unsigned; 2 or 4 signed */
  int         shift;                   /* the encoder's squared error is (e^2 >> shift): HM's, above 8 bits */
  const void *original, *coded;
  ptrdiff_t   original_stride, coded_stride; /* samples */
} idse_block;

/* A process that gives an encoder its weights, or its distortion, instead of a file. All calls come from the encoder's
 * threads, one at a time. */
typedef struct idse_provider {
  size_t bytes; /* sizeof(idse_provider): a library of another build is refused */
  void  *context;
  int    transform_sizes; /* shapes that every map has, bit n: 2^n x 2^n */
  int    decisions;       /* mask of the decisions that ask `distortion`; 0: none */
  int    flat;            /* 1: every pixel weight of every map will be 1.0, so that no QP changes */
  /* A picture begins. Fills `map`, which stays as it is until end(); shapes are read where they lie. 0: no weights. */
  int (*begin)(void *context, int poc, int frame, idse_map *map);
  void (*end)(void *context, int frame);
  /* Takes the place of sum(w (a - b)^2): finite, not negative, below 2^44. refuse() hears of any other value; the
   * encoder goes on with 0 if it returns. */
  double (*distortion)(void *context, const idse_block *block);
  void (*refuse)(void *context, double value);
} idse_provider;

typedef struct idse_counters {
  uint64_t pictures;
  uint64_t weighted;   /* SSE calls of mode decisions that used the weights */
  uint64_t masked;     /* left plain because idse_settings.decisions says so */
  uint64_t unweighted; /* SSE calls that do not say where or for what: a hole in the patch, must be 0 */
  uint64_t rdoq;       /* transform units quantised with weights */
  uint64_t qp_groups;  /* quantisation groups asked about */
  int64_t  qp_offset_sum;
  int      qp_offset_min, qp_offset_max;
  uint64_t limited; /* distortions reduced to what an encoder's 32-bit costs hold */
} idse_counters;

typedef struct idse_picture idse_picture; /* the weights of one picture, ready for the hot path of one thread */
typedef struct idse_encoder idse_encoder; /* settings, an open map and the counters of one encode */

void idse_settings_default(idse_settings *settings);

/* Opens and checks a weight file against settings and sequence; with a provider, which lives until the encoder is
 * closed, weights come from there and the file is not looked at. NULL on failure, with one line in `message`
 * (IDSE_MESSAGE_BYTES) that names the file, the value and the remedy. Nothing is printed. */
idse_encoder *idse_encoder_open(const char *weight_file, const idse_settings *settings, const idse_sequence *sequence,
                                const idse_provider *provider, char *message);
void          idse_encoder_close(idse_encoder *encoder); /* NULL is allowed */

/* Why idse_picture_begin(), idse_picture_share() or idse_qp_offsets() failed last: one line. */
const char *idse_message(const idse_encoder *encoder);

/* The weights of the coded picture number `poc` (0 for the first), until idse_picture_end() or the encoder's close. As
 * many pictures as the encoder codes at once live side by side, each with counters of its own; pictures of the same map
 * share its memory. NULL, with an idse_message(), if there are no weights for poc, the file has become shorter since it
 * was opened, or memory is exhausted.
 *
 * Calls for one encoder from its opening to its close, these three and idse_qp_offsets() among them, come from one
 * thread at a time; the hot path may run in other threads meanwhile, a thread per picture handle. */
idse_picture *idse_picture_begin(idse_encoder *encoder, int poc);
idse_picture *idse_picture_share(const idse_picture *picture); /* for another thread that codes a part of the picture */
void          idse_picture_end(idse_picture *picture);         /* adds its counters to the encoder's; NULL is allowed */

/* Adds the QP offset (idse_qp_offset()) of each luma block of size x size of picture `poc` to offsets[columns * rows],
 * row by row, without counting: for encoders that plan rate before they code. 0 if idse_picture_begin() would fail, or
 * weights come from a provider, which has them in coding order. */
int idse_qp_offsets(idse_encoder *encoder, int poc, int size, int columns, int rows, float *offsets);

/* 1 if idse_settings.qp_map can change a QP: it is on, and some weight of the file, or of a provider that is not flat,
 * may differ from 1.0. */
int idse_changes_qp(const idse_encoder *encoder);

/* Adds up the counters of all pictures; prints them as one line "IDSE summary: key value ...", and a line
 * "IDSE: warning: ..." if distortions were limited. */
void idse_counters_get(const idse_encoder *encoder, idse_counters *counters);
void idse_print_summary(const idse_encoder *encoder, FILE *out);

/* A picture from buffers instead of a file. `map` is only read during the call. NULL with a line in `message`. */
idse_picture *idse_picture_create(const idse_map *map, const idse_settings *settings, const idse_sequence *sequence,
                                  char *message);
void          idse_picture_destroy(idse_picture *picture);
const idse_counters *idse_picture_counters(const idse_picture *picture);

/* A picture takes the fastest kernels of the machine by itself. This is for those who compare them: returns 0, and
 * changes nothing, if this program or this machine does not have them. */
int idse_use_kernels(idse_picture *picture, int kernels);

/* ---- hot path: no allocation, no lock, no file ---------------------------------------------------------------- */

/* The weighted distortion of a block: floor(sum of w * ((original - coded)^2 >> shift) / 256), or what the provider
 * says in its place. The sum is exact for blocks of up to 4096 samples of up to 16 bits. Returns 0, and leaves
 * *distortion alone, if this decision keeps its plain SSE: there is no picture, or the settings say so. Counts.
 * Nothing is left over from one call for the next. */
int idse_distortion(idse_picture *picture, const idse_block *block, uint64_t *distortion);

/* What takes the place of a distortion above `knee`, for an encoder whose costs have 32 bits: 2 knee - knee^2 /
 * weighted, which rises with the error, so that worse is never as good, and stays below 2 knee; but not below the
 * plain sum of squared errors `plain`, unless the weighted one is. Counts. weighted below 2^54, knee above 0, below
 * 2^54. */
uint64_t idse_limited(idse_picture *picture, uint64_t weighted, uint64_t plain, uint64_t knee);

/* Mean weight of the visible part of a block; 1.0 is exact. */
double idse_mean(const idse_picture *picture, int component, int x, int y, int width, int height);

/* Factors for the squared error of each coefficient of a size x size TU, size up to 32, row-major; valid until the
 * next call for this picture. *mean becomes the TU's mean weight. `order` is IDSE_FREQUENCIES, IDSE_SAMPLES or
 * IDSE_UNORDERED. Counts one RDOQ call. Only to be called where idse_rdoq() is 1. */
const double *idse_tu_weights(idse_picture *picture, int component, int x, int y, int size, int order, double *mean);

int idse_rdoq(const idse_picture *picture); /* 1 if RDOQ uses weights; picture may be NULL */
int idse_sao(const idse_picture *picture);  /* 1 if SAO uses weights; picture may be NULL */

/* QP offset of the luma block of a quantisation group: round(-3 log2(mean weight)) clipped to qp_map_clip, 0 without
 * a QP map or with picture NULL. Counts. D ~ 2^(QP/3) at high rate, so this equalises w D. */
int idse_qp_offset(idse_picture *picture, int x, int y, int width, int height);

/* Asks the processor for the weights of a square of luma samples and of chroma there, which distortions will need. Rows
 * lie far apart, so it does not find them by itself: a fast encoder waits for them else. picture may be NULL. */
void idse_prefetch(const idse_picture *picture, int x, int y, int size);

#ifdef __cplusplus
}
#endif

#endif
