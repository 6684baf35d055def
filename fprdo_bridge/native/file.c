/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The weight file (docs/idse-format.md): all of it is checked when it is opened, and a map is read when a picture needs
 * it.
 */
#define _POSIX_C_SOURCE   200809L
#define _FILE_OFFSET_BITS 64 /* weight files may be larger than 2 GB */

#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  HEADER_BYTES = 96,
  CRC_AT = 92,          /* of the header's checksum */
  CHUNK_BYTES = 1 << 20 /* read at a time; a multiple of 64, as the checksum's fast way needs */
};

const char idse_remake[] = "make the map again with: fprdo weights";

/* ---- sizes and places in the file ------------------------------------------------------------------------------- */

static size_t plane_samples(const weight_file *f, int c)
{
  return (size_t)component_size((int)f->width, c, chroma_shift_x(f->chroma_format_idc)) *
         (size_t)component_size((int)f->height, c, chroma_shift_y(f->chroma_format_idc));
}

static size_t shape_samples(const weight_file *f, int c, int index)
{
  if (!has_shape(f->transform_sizes, index)) return 0;
  return (size_t)round_up(component_size((int)f->width, c, chroma_shift_x(f->chroma_format_idc)), 4 << index) *
         (size_t)round_up(component_size((int)f->height, c, chroma_shift_y(f->chroma_format_idc)), 4 << index);
}

/* Pixel weights of the components before c. */
static size_t pixels_before(const weight_file *f, int c)
{
  size_t samples = 0;
  for (int k = 0; k < c; k++) samples += plane_samples(f, k);
  return samples;
}

static uint64_t record_offset(const weight_file *f, uint32_t record) { return f->maps_offset + record * f->map_bytes; }

/* Of the table that says which record each map is. */
static uint64_t table_offset(const weight_file *f) { return HEADER_BYTES + 4 * (uint64_t)f->record_count; }

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* All `bytes` from `offset` on; 0 with a message if they are not there. */
static int read_at(const weight_file *f, uint64_t offset, void *to, size_t bytes, char *message)
{
  for (size_t done = 0; done < bytes;)
  {
    const ssize_t got = pread(f->descriptor, (uint8_t *)to + done, bytes - done, (off_t)(offset + done));
    if (got > 0)
      done += (size_t)got;
    else if (got == 0)
    {
      idse_say(message,
               "%s: has become shorter than the %" PRIu64 " bytes that it had when it was opened; copy it again or %s",
               f->path, f->bytes, idse_remake);
      return 0;
    }
    else if (errno != EINTR)
    {
      idse_say(message, "%s: cannot be read (%s)", f->path, strerror(errno));
      return 0;
    }
  }
  return 1;
}

int64_t idse_file_record(const weight_file *f, uint32_t map, char *message)
{
  uint8_t entry[4];
  if (!f->has_table) return map;
  if (!read_at(f, table_offset(f) + 4 * (uint64_t)map, entry, sizeof entry, message)) return -1;
  if (read_u32(entry) < f->record_count) return read_u32(entry);
  idse_say(message, "%s: map %u is record %u of %u; %s", f->path, map, read_u32(entry), f->record_count, idse_remake);
  return -1;
}

int idse_file_read_pixels(const weight_file *f, uint32_t record, int c, uint16_t *to, char *message)
{
  const uint64_t at = record_offset(f, record) + sizeof(uint16_t) * pixels_before(f, c);
  return read_at(f, at, to, sizeof(uint16_t) * plane_samples(f, c), message);
}

int idse_file_read_shapes(const weight_file *f, uint32_t record, const shape_room *to, idse_map *map, char *message)
{
  const int components = component_count(f->chroma_format_idc);
  uint64_t  at = record_offset(f, record) + sizeof(uint16_t) * pixels_before(f, components);
  for (int c = 0; c < components; c++)
    for (int t = 0; t < IDSE_TRANSFORMS; t++)
    {
      const size_t bytes = sizeof(uint16_t) * shape_samples(f, c, t);
      if (to->shape[c][t] != NULL && !read_at(f, at, to->shape[c][t], bytes, message)) return 0;
      map->shape[c][t] = to->shape[c][t];
      at += bytes;
    }
  return 1;
}

/* ---- checking --------------------------------------------------------------------------------------------------- */

/* Header, checksums, table and metadata. */
static uint64_t front_bytes(const weight_file *f)
{
  return table_offset(f) + (f->has_table ? 4 * (uint64_t)f->map_count : 0) + f->metadata_bytes;
}

static int parse_header(weight_file *f, const uint8_t *h, char *message)
{
  static const uint8_t magic[8] = { 'I', 'D', 'S', 'E', '\r', '\n', 0x1a, '\n' };

  if (f->bytes < 12 || memcmp(h, magic, sizeof magic) != 0)
  {
    idse_say(message, "%s: not an .idse weight file; %s", f->path, idse_remake);
    return 0;
  }
  const uint32_t version = read_u16(h + 8);
  if (version != 1 && version != 2)
  {
    idse_say(message, "%s: .idse version %u, this encoder reads versions 1 and 2; update the encoder or %s", f->path,
             version, idse_remake);
    return 0;
  }
  if (f->bytes < HEADER_BYTES)
  {
    idse_say(message, "%s: truncated, %" PRIu64 " bytes where the header alone has %d; %s", f->path, f->bytes,
             HEADER_BYTES, idse_remake);
    return 0;
  }
  f->width = read_u32(h + 12);
  f->height = read_u32(h + 16);
  f->chroma_format_idc = h[20];
  f->transform_sizes = h[22];
  f->map_count = read_u32(h + 24);
  f->frames_per_map = read_u32(h + 28);
  f->frame_count = read_u32(h + 32);
  f->has_table = version == 2;
  f->record_count = f->has_table ? read_u32(h + 36) : f->map_count;
  f->map_bytes = read_u64(h + 40);
  f->maps_offset = read_u64(h + 48);
  f->metadata_bytes = read_u32(h + 56);

  int sound = read_u16(h + 10) == HEADER_BYTES && f->width >= 1 && f->width <= 65535 && f->height >= 1 &&
              f->height <= 65535 && f->chroma_format_idc <= 3 && h[21] == 8 && (f->transform_sizes & ~0x3c) == 0 &&
              f->map_count >= 1 && f->frames_per_map >= 1 &&
              f->map_count == ((uint64_t)f->frame_count + f->frames_per_map - 1) / f->frames_per_map &&
              f->record_count >= 1 && f->record_count <= f->map_count && f->maps_offset % 64 == 0 &&
              f->maps_offset >= front_bytes(f);
  if (sound)
  {
    const int components = component_count(f->chroma_format_idc);
    uint64_t  samples = pixels_before(f, components);
    for (int c = 0; c < components; c++)
      for (int t = 0; t < IDSE_TRANSFORMS; t++) samples += shape_samples(f, c, t);
    sound = f->map_bytes == (2 * samples + 63) / 64 * 64;
  }
  if (!sound)
  {
    idse_say(message, "%s: the header contradicts itself; %s", f->path, idse_remake);
    return 0;
  }
  /* By division: offset and count are anybody's, their sum may wrap around. */
  const uint64_t room = f->bytes > f->maps_offset ? f->bytes - f->maps_offset : 0;
  if (room / f->map_bytes != f->record_count || room % f->map_bytes != 0)
  {
    idse_say(message,
             "%s: %s, %" PRIu64 " bytes where the header promises %u maps of %" PRIu64 " bytes from byte %" PRIu64
             " on; copy it again or %s",
             f->path, room / f->map_bytes < f->record_count ? "truncated" : "too long", f->bytes, f->record_count,
             f->map_bytes, f->maps_offset, idse_remake);
    return 0;
  }
  return 1;
}

/* What checking a file needs beside the file. */
typedef struct checker {
  crc_tables table;
  union {
    uint8_t  bytes[CHUNK_BYTES];
    uint16_t weights[CHUNK_BYTES / 2];
  } chunk;
} checker;

/* Reads the next chunk of a part of the file that ends at `end`, and continues the checksum; returns its size, 0 with a
 * message. */
static size_t check_chunk(const weight_file *f, checker *k, uint64_t at, uint64_t end, uint32_t *crc, char *message)
{
  const size_t bytes = end - at < CHUNK_BYTES ? (size_t)(end - at) : CHUNK_BYTES;
  if (!read_at(f, at, k->chunk.bytes, bytes, message)) return 0;
  *crc = idse_crc_add(k->table, *crc, k->chunk.bytes, bytes);
  return bytes;
}

static int check_header(const weight_file *f, checker *k, const uint8_t *header, char *message)
{
  uint32_t crc = idse_crc_add(k->table, 0, header, CRC_AT);
  for (uint64_t at = HEADER_BYTES, bytes; at < front_bytes(f); at += bytes)
    if ((bytes = check_chunk(f, k, at, front_bytes(f), &crc, message)) == 0) return 0;
  if (crc == read_u32(header + CRC_AT)) return 1;
  idse_say(message, "%s: wrong checksum of the header; copy it again or %s", f->path, idse_remake);
  return 0;
}

/* Checksum and pixel weights of a record. */
static int check_record(weight_file *f, checker *k, uint32_t record, char *message)
{
  const size_t   luma = plane_samples(f, 0), pixels = pixels_before(f, component_count(f->chroma_format_idc));
  const uint64_t start = record_offset(f, record), end = start + f->map_bytes;
  size_t         before = 0; /* weights in the chunks before this one */
  uint32_t       crc = 0;
  int            zero = 0;
  uint8_t        wanted[4];
  for (uint64_t at = start, bytes; at < end; at += bytes, before += bytes / 2)
  {
    if ((bytes = check_chunk(f, k, at, end, &crc, message)) == 0) return 0;
    if (before < pixels)
      zero |= idse_has_zero(k->chunk.weights, pixels - before < bytes / 2 ? pixels - before : bytes / 2);
    for (size_t i = 0; f->all_one && i < bytes / 2 && before + i < luma; i++)
      f->all_one = k->chunk.weights[i] == IDSE_ONE;
  }
  if (!read_at(f, HEADER_BYTES + 4 * (uint64_t)record, wanted, sizeof wanted, message)) return 0;
  if (crc != read_u32(wanted))
    idse_say(message, "%s: wrong checksum of map %u of %u; copy it again or %s", f->path, record, f->record_count,
             idse_remake);
  else if (zero)
    idse_say(message, "%s: a pixel weight of map %u is 0, the least is 1; %s", f->path, record, idse_remake);
  else
    return 1;
  return 0;
}

static int check_sequence(const weight_file *f, const idse_sequence *s, char *message)
{
  static const char *const chroma[] = { "4:0:0", "4:2:0", "4:2:2", "4:4:4" };
  const int64_t            needed = (int64_t)(s->frames - 1) * s->frame_step + 1;

  if ((int)f->width != s->width || (int)f->height != s->height)
    idse_say(message, "%s: weights for %ux%u, the pictures are %dx%d; %s on these pictures", f->path, f->width,
             f->height, s->width, s->height, idse_remake);
  else if (f->chroma_format_idc != s->chroma_format_idc)
    idse_say(message, "%s: weights for %s, the pictures are coded as %s; %s with that chroma format", f->path,
             chroma[f->chroma_format_idc], chroma[s->chroma_format_idc & 3], idse_remake);
  else if ((int64_t)f->frame_count < needed)
    idse_say(message, "%s: weights for %u frames, %" PRId64 " are needed; code fewer frames or %s for all of them",
             f->path, f->frame_count, needed, idse_remake);
  else
    return 1;
  return 0;
}

static int check_file(weight_file *f, checker *k, const idse_sequence *sequence, char *message)
{
  uint8_t header[HEADER_BYTES];
  memset(header, 0, sizeof header);
  idse_crc_init(k->table);
  if (!read_at(f, 0, header, f->bytes < HEADER_BYTES ? (size_t)f->bytes : HEADER_BYTES, message) ||
      !parse_header(f, header, message) || !check_header(f, k, header, message) ||
      !check_sequence(f, sequence, message))
    return 0;
  for (uint32_t n = 0; f->has_table && n < f->map_count; n++)
    if (idse_file_record(f, n, message) < 0) return 0;
  f->all_one = 1;
  for (uint32_t n = 0; n < f->record_count; n++)
    if (!check_record(f, k, n, message)) return 0;
  return 1;
}

/* Opens a regular file. What is none is not even opened: a pipe would wait for its writer, a device may do
 * something. */
static int open_regular(weight_file *f, const char *path, char *message)
{
  struct stat status;
  int         descriptor = -1, known = stat(path, &status) == 0;
  if (known && S_ISREG(status.st_mode))
    known = (descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) >= 0 && fstat(descriptor, &status) == 0;
  if (!known)
    idse_say(message, "%s: cannot be opened (%s); give the path of an .idse file", path, strerror(errno));
  else if (!S_ISREG(status.st_mode))
    idse_say(message, "%s: not an .idse weight file but a %s; give the path of an .idse file", path,
             S_ISDIR(status.st_mode) ? "folder" : "pipe or a device");
  else if ((f->path = malloc(strlen(path) + 1)) == NULL)
    idse_say(message, "%s: no memory", path);
  else
  {
    strcpy(f->path, path);
    f->descriptor = descriptor;
    f->bytes = (uint64_t)status.st_size;
    return 1;
  }
  if (descriptor >= 0) close(descriptor);
  return 0;
}

int idse_file_open(weight_file *f, const char *path, const idse_sequence *sequence, char *message)
{
  if (!open_regular(f, path, message)) return 0;
  checker *k = malloc(sizeof *k);
  if (k == NULL) idse_say_no_memory(sequence, message);
  const int sound = k != NULL && check_file(f, k, sequence, message);
  free(k);
  return sound;
}

void idse_file_close(weight_file *f)
{
  if (f->path != NULL) close(f->descriptor);
  free(f->path);
}
