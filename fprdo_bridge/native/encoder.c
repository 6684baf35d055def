/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An encode: settings, an open weight file or a provider, the maps in memory, the pictures being coded, the counters.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Maps in memory whose pictures have ended: pictures are coded in another order than that of their maps. */
enum { MAPS_KEPT = 2 };

/* Maps in memory that only idse_qp_offsets() has asked for: where pictures share them, those of a lookahead of 40. */
enum { MAPS_AHEAD = 8 };

struct idse_encoder {
  idse_sequence        sequence;
  weighting            weighting;
  weight_file          file;         /* with a provider, only what it says of pictures and maps */
  const idse_provider *provider;     /* NULL: weights come from the file */
  uint16_t            *pixels;       /* room for the pixel weights of a component of the file */
  loaded_map          *maps;         /* every one that was ever loaded; those without users serve the next pictures */
  shape_room          *rooms;        /* free ones: maps that only idse_qp_offsets() has asked for need none */
  idse_picture        *pictures;     /* begun and not ended */
  idse_picture        *ended;        /* to be used again */
  uint64_t             begun;        /* pictures */
  idse_counters        counters;     /* of the pictures that ended */
  idse_picture        *qp_constants; /* thresholds and settings for idse_qp_offsets() */
  char                 message[IDSE_MESSAGE_BYTES]; /* why the last call failed */
};

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

/* What a file of the provider's maps would say. */
static void describe_provided(weight_file *f, const idse_provider *provider, const idse_sequence *s)
{
  f->chroma_format_idc = s->chroma_format_idc;
  f->transform_sizes = provider->transform_sizes;
  f->frame_count = f->map_count = (uint32_t)((s->frames - 1) * s->frame_step + 1);
  f->frames_per_map = 1;
  f->all_one = provider->flat;
}

/* Settings, and what weights come from. */
static int encoder_init(idse_encoder *e, const char *weight_file_name, const idse_settings *settings, char *message)
{
  if (e->provider != NULL)
  {
    if (e->provider->bytes != sizeof *e->provider)
    {
      idse_say(message, "encoder library and Python package are of different builds; run python3 build.py");
      return 0;
    }
    describe_provided(&e->file, e->provider, &e->sequence);
  }
  if (!idse_settings_check(settings, message)) return 0;
  if (e->provider == NULL)
  {
    if (!idse_file_open(&e->file, weight_file_name, &e->sequence, message)) return 0;
    e->pixels = malloc(sizeof(uint16_t) * (size_t)e->file.width * e->file.height);
  }
  if ((e->provider != NULL || e->pixels != NULL) &&
      idse_weighting_init(&e->weighting, settings, e->file.transform_sizes))
    return 1;
  idse_say_no_memory(&e->sequence, message);
  return 0;
}

idse_encoder *idse_encoder_open(const char *weight_file_name, const idse_settings *settings,
                                const idse_sequence *sequence, const idse_provider *provider, char *message)
{
  message[0] = '\0';
  const uint16_t byte_order = 1;
  idse_encoder  *encoder = calloc(1, sizeof *encoder);
  if (encoder == NULL)
    idse_say_no_memory(sequence, message);
  else if (*(const uint8_t *)&byte_order != 1)
    idse_say(message, "big-endian machines are not supported: maps are used in the little-endian order of the file");
  else
  {
    encoder->sequence = *sequence;
    encoder->provider = provider;
    if (encoder_init(encoder, weight_file_name, settings, message)) return encoder;
  }
  idse_encoder_close(encoder);
  return NULL;
}

static void free_pictures(idse_picture *picture)
{
  while (picture != NULL)
  {
    idse_picture *next = picture->next;
    idse_picture_free(picture);
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
    idse_map_free(m);
  }
  for (shape_room *room = encoder->rooms, *next; room != NULL; room = next)
  {
    next = room->next;
    idse_room_free(room);
  }
  idse_picture_free(encoder->qp_constants);
  idse_file_close(&encoder->file);
  idse_weighting_free(&encoder->weighting);
  free(encoder->pixels);
  free(encoder);
}

/* ---- maps in memory --------------------------------------------------------------------------------------------- */

/* Record of the map of a coded picture, the provider's frame; -1 with a message if there is none. */
static int64_t record_of_picture(idse_encoder *encoder, int poc)
{
  const weight_file *f = &encoder->file;
  const int64_t      frame = (int64_t)poc * encoder->sequence.frame_step;
  if (frame >= 0 && frame < f->frame_count)
  {
    const uint32_t map = (uint32_t)(frame / f->frames_per_map);
    return encoder->provider != NULL ? map : idse_file_record(f, map, encoder->message);
  }
  idse_say(encoder->message,
           "%s: no weights for picture %d, only for %u frames; code fewer frames or %s for all of them",
           f->path != NULL ? f->path : "provider", poc, f->frame_count, idse_remake);
  return -1;
}

/* Pixel weights of what is not yet loaded of the first `components`. `map` is the provider's. */
static int load_pixels(idse_encoder *encoder, loaded_map *m, idse_map *map, int poc, int components)
{
  for (int c = m->loaded; c < components; c++)
  {
    if (encoder->provider == NULL)
    {
      if (!idse_file_read_pixels(&encoder->file, (uint32_t)m->number, c, encoder->pixels, encoder->message)) return 0;
      map->pixel[c] = encoder->pixels;
    }
    if (idse_map_load_pixels(m, c, map->pixel[c], &encoder->weighting)) continue;
    idse_say(encoder->message, "%s: a pixel weight of picture %d is 0, the least is 1; raise it",
             encoder->provider == NULL ? encoder->file.path : "provider", poc);
    return 0;
  }
  return 1;
}

/* Shapes, into a room of ours unless they can stay where the provider has them. */
static int load_shapes(idse_encoder *encoder, loaded_map *m, idse_map *map)
{
  const weighting *g = &encoder->weighting;
  if (g->transform_sizes != 0 && (encoder->provider == NULL || g->powered != NULL))
  {
    if (m->room == NULL && encoder->rooms != NULL)
    {
      m->room = encoder->rooms;
      encoder->rooms = m->room->next;
    }
    else if (m->room == NULL && (m->room = idse_room_allocate(&encoder->sequence, g->transform_sizes)) == NULL)
    {
      idse_say_no_memory(&encoder->sequence, encoder->message);
      return 0;
    }
    if (encoder->provider == NULL &&
        !idse_file_read_shapes(&encoder->file, (uint32_t)m->number, m->room, map, encoder->message))
      return 0;
  }
  idse_map_load_shapes(m, map, g);
  return 1;
}

/* Loads what is missing: of the luma plane for QP offsets, of all for a picture that is coded. */
static int load_map(idse_encoder *encoder, loaded_map *m, int poc, int all)
{
  const idse_provider *provider = encoder->provider;
  const int            components = all ? component_count(encoder->sequence.chroma_format_idc) : 1;
  idse_map             map;
  if (m->loaded >= components && (m->shaped || !all)) return 1;
  memset(&map, 0, sizeof map);
  if (provider != NULL && !provider->begin(provider->context, poc, (int)m->number, &map))
  {
    idse_say(encoder->message, "provider: no weights for picture %d", poc);
    return 0;
  }
  return load_pixels(encoder, m, &map, poc, components) && (!all || load_shapes(encoder, m, &map));
}

/* Empties a map that nobody uses. */
static void recycle(idse_encoder *encoder, loaded_map *m)
{
  give_back(encoder, m);
  m->used = m->loaded = m->shaped = 0;
  if (m->room == NULL) return;
  m->room->next = encoder->rooms;
  encoder->rooms = m->room;
  m->room = NULL;
}

/* Whether `m` is the one to give up, of two that nobody uses. */
static int goes_before(const loaded_map *m, const loaded_map *other)
{
  if (m->used && other->used) return m->used < other->used;
  return m->used != 0 || (other->used == 0 && m->number < other->number);
}

/* The weights of picture `poc`, luma's at least and all if it is coded: as they were loaded before, else in the
 * place of a map that nobody uses, of those that pictures have had the one that was not used for longest. NULL with a
 * message. */
static loaded_map *acquire_map(idse_encoder *encoder, int poc, int all)
{
  const int64_t number = record_of_picture(encoder, poc);
  const int     kept_most = encoder->provider == NULL ? MAPS_KEPT : 1; /* a provider's memory is not ours to keep */
  loaded_map   *m = encoder->maps, *spare = NULL;
  int           kept = 0, ahead = 0;
  if (number < 0) return NULL;
  for (; m != NULL && m->number != number; m = m->next)
  {
    if (m->users > 0) continue;
    if (m->used)
      kept++;
    else
      ahead++;
    if (spare == NULL || goes_before(m, spare)) spare = m;
  }
  if (m == NULL && spare != NULL && (kept >= kept_most || ahead == MAPS_AHEAD))
    recycle(encoder, m = spare);
  else if (m == NULL)
  {
    if ((m = idse_map_allocate(&encoder->sequence)) == NULL)
    {
      idse_say_no_memory(&encoder->sequence, encoder->message);
      return NULL;
    }
    m->next = encoder->maps;
    encoder->maps = m;
  }
  m->number = number;
  return load_map(encoder, m, poc, all) ? m : NULL;
}

/* ---- pictures --------------------------------------------------------------------------------------------------- */

/* A picture that reads `m`, in the encoder's list. */
static idse_picture *picture_open(idse_encoder *encoder, loaded_map *m)
{
  idse_picture *picture = encoder->ended;
  if (picture != NULL)
    encoder->ended = picture->next;
  else if ((picture = idse_picture_allocate(&encoder->weighting.settings, &encoder->sequence,
                                            encoder->weighting.transform_sizes)) == NULL)
  {
    idse_say_no_memory(&encoder->sequence, encoder->message);
    return NULL;
  }
  idse_picture_use(picture, m);
  m->used = ++encoder->begun;
  picture->encoder = encoder;
  picture->provider = encoder->provider != NULL && encoder->provider->decisions ? encoder->provider : NULL;
  picture->next = encoder->pictures;
  encoder->pictures = picture;
  return picture;
}

idse_picture *idse_picture_begin(idse_encoder *encoder, int poc)
{
  loaded_map   *m = acquire_map(encoder, poc, 1);
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

const char *idse_message(const idse_encoder *encoder) { return encoder->message; }

/* ---- QP offsets ahead ------------------------------------------------------------------------------------------- */

int idse_qp_offsets(idse_encoder *encoder, int poc, int size, int columns, int rows, float *offsets)
{
  if (encoder->provider != NULL)
  {
    idse_say(encoder->message,
             "provider: has its maps in coding order, this encoder asks for QP offsets ahead; give it a file");
    return 0;
  }
  if (encoder->qp_constants == NULL)
    encoder->qp_constants = idse_picture_allocate(&encoder->weighting.settings, &encoder->sequence, 0);
  if (encoder->qp_constants == NULL)
  {
    idse_say_no_memory(&encoder->sequence, encoder->message);
    return 0;
  }
  const loaded_map *m = acquire_map(encoder, poc, 0);
  if (m == NULL) return 0;
  for (int y = 0; y < rows; y++)
    for (int x = 0; x < columns; x++)
    {
      const uint32_t mean = idse_mean_weight(&m->planes[0], x * size, y * size, size, size);
      *offsets++ += (float)idse_offset_of_mean(encoder->qp_constants, mean);
    }
  return 1;
}

int idse_changes_qp(const idse_encoder *encoder)
{
  return encoder != NULL && encoder->weighting.settings.qp_map && !encoder->file.all_one;
}

/* ---- counters --------------------------------------------------------------------------------------------------- */

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
          "IDSE summary: pictures %" PRIu64 " weighted %" PRIu64 " masked %" PRIu64 " unweighted %" PRIu64
          " rdoq %" PRIu64 " qp_groups %" PRIu64 " qp_offset_mean %.3f qp_offset_min %d qp_offset_max %d\n",
          c.pictures, c.weighted, c.masked, c.unweighted, c.rdoq, c.qp_groups,
          c.qp_groups ? (double)c.qp_offset_sum / (double)c.qp_groups : 0.0, c.qp_offset_min, c.qp_offset_max);
  if (c.limited > 0)
    fprintf(out, "IDSE: warning: %" PRIu64 " distortions were limited; raise IDSETau or set IDSEClip\n", c.limited);
}
