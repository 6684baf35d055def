/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The bridge for JM; see jm.h.
 */
#include "jm.h"

#include "internal.h"

enum { ROW_ONE = 32 }; /* the squared error 1 in JM's distortions: 5 fraction bits */

#define HASH_FACTOR 0x9E3779B97F4A7C15u /* 2^64 by the golden ratio: Fibonacci hashing */

/* Samples of all components in 16x16 luma samples. */
static int macroblock_samples(int chroma_format_idc)
{
  return 256 + (chroma_format_idc ? 512 >> chroma_shift_x(chroma_format_idc) >> chroma_shift_y(chroma_format_idc) : 0);
}

void idse_jm_original(idse_picture *picture, int component, const void *plane, size_t stride, int rows,
                      int sample_bytes)
{
  if (picture == NULL || component >= component_count(picture->chroma_format_idc)) return;
  jm_plane *o = &picture->jm_planes[component];
  o->start = (uintptr_t)plane;
  o->end = o->start + stride * rows;
  o->stride = stride;
  o->inverse = (((uint64_t)1 << 32) + stride - 1) / stride;
  o->sample_bytes = sample_bytes;
  /* A cost without its fraction is an int; an eighth of its range is left to the rate, and distortion reaches twice the
   * knee. */
  picture->jm_knee =
      (INT32_MAX - INT32_MAX / 8) * (int64_t)ROW_ONE / macroblock_samples(picture->chroma_format_idc) / 2;
  for (int i = 0; i < JM_SLOTS; i++) picture->jm_slots[i].sample = NULL; /* of the picture before */
}

typedef struct place {
  int component, x, y;
  int step; /* rows of the frame from one row of the block to the next */
} place;

/* Where a block lies whose second row begins `pitch` bytes after its first; 0 if not in the original. */
static int find_place(const idse_picture *picture, const void *sample, ptrdiff_t pitch, place *found)
{
  const uintptr_t at = (uintptr_t)sample;
  for (int c = 0; c < component_count(picture->chroma_format_idc); c++)
  {
    const jm_plane *o = &picture->jm_planes[c];
    if (at < o->start || at >= o->end) continue;
    const uint64_t offset = at - o->start;
    uint64_t       row = offset * o->inverse >> 32; /* of planes below 4 GB; one too many at most */
    row -= row * o->stride > offset;
    found->component = c;
    found->y = (int)row;
    found->x = (int)((offset - row * o->stride) >> (o->sample_bytes == 2));
    found->step = pitch == (ptrdiff_t)o->stride ? 1 : 2;
    return 1;
  }
  return 0;
}

static int find_block(const idse_picture *picture, const void *sample, const void *below, place *found)
{
  return find_place(picture, sample, (const char *)below - (const char *)sample, found);
}

/* In units of 1 / ROW_ONE. A sum below one unit counts as one, because lossless coding tests for zero. */
static int64_t in_units(uint64_t sum)
{
  return sum > 0 && sum < IDSE_ONE / ROW_ONE ? 1 : (int64_t)(sum / (IDSE_ONE / ROW_ONE));
}

/* A distortion above the knee, limited. */
NOINLINE static int64_t limited(idse_picture *picture, const idse_block *block, int64_t weighted, int64_t knee)
{
  const int type = block->sample_bytes == 1 ? SAMPLE_U8 : SAMPLE_U16;
  int64_t   plain = 0;
  for (ptrdiff_t y = 0; y < block->height; y++)
    for (ptrdiff_t x = 0; x < block->width; x++)
    {
      const int64_t error = sample_at(type, block->original, y * block->original_stride + x) -
                            sample_at(type, block->coded, y * block->coded_stride + x);
      plain += error * error * ROW_ONE;
    }
  return (int64_t)idse_limited(picture, (uint64_t)weighted, (uint64_t)plain, (uint64_t)knee);
}

int idse_jm_distortion(idse_picture *picture, idse_block *block, int64_t *distortion)
{
  place    at;
  uint64_t sum;
  if (picture == NULL) return 0;
  const int sample_bytes = picture->jm_planes[0].sample_bytes;
  if (block->decision == 0 || !find_place(picture, block->original, block->original_stride * sample_bytes, &at))
  {
    picture->counters.unweighted++;
    return 0;
  }
  block->component = at.component;
  block->x = at.x;
  block->y = at.y;
  block->sample_bytes = sample_bytes;
  if (!weighted_block(picture, block, sample_bytes == 1 ? SAMPLE_U8 : SAMPLE_U16, at.step, &sum)) return 0;
  const int64_t weighted = in_units(sum), knee = picture->jm_knee * (block->width * block->height);
  *distortion = weighted > knee ? limited(picture, block, weighted, knee) : weighted;
  return 1;
}

/* Fills the slot of a block that was not the last one there. */
NOINLINE static const double *new_errors(idse_picture *picture, const void *sample, const void *below, int size,
                                         const double *plain, jm_errors *slot)
{
  place at;
  if (!find_block(picture, sample, below, &at))
  {
    picture->counters.unweighted++;
    return plain;
  }
  const double *weights = NULL; /* mean for all */
  double        mean;
  if (at.step == 1)
    weights = idse_tu_weights(picture, at.component, at.x, at.y, size, IDSE_FREQUENCIES, &mean);
  else
    mean = idse_jm_mean(picture, sample, below, size, size);
  slot->sample = sample;
  slot->below = below;
  slot->plain = plain;
  for (int i = 0; i < size * size; i++) slot->weighted[i] = plain[i] * (weights == NULL ? mean : weights[i]);
  return slot->weighted;
}

const double *idse_jm_errors(idse_picture *picture, const void *sample, const void *below, int size,
                             const double *plain)
{
  if (picture == NULL || picture->settings.rdoq == 0) return plain;
  jm_errors *slot = &picture->jm_slots[(uint64_t)(uintptr_t)sample * HASH_FACTOR >> (64 - JM_SLOT_BITS)];
  if (slot->sample != sample || slot->below != below || slot->plain != plain)
    return new_errors(picture, sample, below, size, plain, slot);
  picture->counters.rdoq++;
  return slot->weighted;
}

double idse_jm_mean(idse_picture *picture, const void *sample, const void *below, int width, int height)
{
  place at;
  if (!find_block(picture, sample, below, &at))
  {
    picture->counters.unweighted++;
    return 1.0;
  }
  picture->counters.rdoq++;
  return idse_mean(picture, at.component, at.x, at.y, width, height * at.step);
}

int idse_jm_qp_offset(idse_picture *picture, const void *sample, const void *below, int width, int height)
{
  place at;
  if (picture == NULL || !picture->settings.qp_map) return 0;
  if (find_block(picture, sample, below, &at))
    return idse_count_qp_offset(picture, at.component, at.x, at.y, width, height * at.step);
  picture->counters.unweighted++;
  return 0;
}
