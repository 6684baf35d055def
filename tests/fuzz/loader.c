/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Opens weight files and uses their maps as encoders do, for test_loader.py. A line of standard input says
 *
 *     WIDTH HEIGHT CHROMA_FORMAT_IDC FRAMES RDOQ POWER CUT PATH
 *
 * CUT: the length that the file is cut to once it is open, -1 to leave it. A line of standard output answers: `refused`
 * or `opened` or, if a map could not be had later, `failed`, and the message. With an argument, the program reads
 * beyond its memory, which shows whether a sanitizer looks on.
 */
#define _POSIX_C_SOURCE 200809L
#include "idse.h"
#include "jm.h"
#include "x264.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIDE = 64, FAR = 4 * SIDE };

static uint16_t original[FAR * FAR], coded[FAR * FAR];

/* Everything of the hot path, over the whole picture and its padding. */
static double use(idse_picture *picture, const idse_sequence *sequence)
{
  static const double plain[64];
  static uint8_t      places[64];
  double              sum = 0, mean;
  for (int i = 0; i < 64; i++) places[i] = (uint8_t)i;
  for (int c = 0; c < (sequence->chroma_format_idc ? 3 : 1); c++)
  {
    idse_jm_original(picture, c, original, sizeof original[0] * FAR, FAR, 2);
    for (int y = 0; y < sequence->coded_height && y < FAR - SIDE; y += 24)
      for (int x = 0; x < sequence->coded_width && x < FAR - SIDE; x += 24)
        for (int size = 4; size <= 32; size *= 2)
        {
          idse_block block = { IDSE_INTRA, c, x, y, size, size, 2, 1, 0, original, coded, FAR, FAR };
          uint64_t   found;
          int64_t    of_jm;
          uint32_t   weights[64];
          if (idse_distortion(picture, &block, &found)) sum += (double)found;
          if (idse_x264_distortion(picture, &block, 52016, &found)) sum += (double)found;
          block.original = original + y * FAR + x;
          if (idse_jm_distortion(picture, &block, &of_jm)) sum += (double)of_jm;
          if (!idse_rdoq(picture)) continue;
          const int from_x = x / size * size, from_y = y / size * size;
          for (int order = IDSE_FREQUENCIES; order <= IDSE_UNORDERED; order++)
            sum += idse_tu_weights(picture, c, from_x, from_y, size, order, &mean)[size * size - 1] + mean;
          idse_x264_coefficient_weights(picture, c, from_x, from_y, size, size, size, size < 8 ? 4 : 8, places,
                                        size < 8 ? 16 : 64, 65536, weights);
          if (size <= 8)
            sum += *idse_jm_errors(picture, original + from_y * FAR + from_x, original + (from_y + 1) * FAR + from_x,
                                   size, plain);
          sum += weights[0] + idse_qp_offset(picture, x, y, size, size) + idse_mean(picture, c, x, y, size, size);
        }
  }
  return sum;
}

static void answer(const char *what, const char *message)
{
  printf("%s %s\n", what, message);
  fflush(stdout);
}

int main(int count, char **arguments)
{
  char *line = malloc(8192);
  if (count > 1) return line[8192 + strlen(arguments[1])];
  for (int i = 0; i < FAR * FAR; i++)
  {
    original[i] = (uint16_t)(i * 37);
    coded[i] = (uint16_t)(i * 11);
  }
  while (fgets(line, 8192, stdin) != NULL)
  {
    idse_settings settings;
    idse_sequence s = { .frame_step = 1 };
    char          message[IDSE_MESSAGE_BYTES], *path = line;
    long          cut;
    int           used = 0;
    idse_settings_default(&settings);
    if (sscanf(line, "%d %d %d %d %d %lf %ld %n", &s.width, &s.height, &s.chroma_format_idc, &s.frames, &settings.rdoq,
               &settings.power, &cut, &used) != 7)
      return 1;
    path += used;
    path[strcspn(path, "\n")] = '\0';
    s.coded_width = (s.width + 15) / 16 * 16;
    s.coded_height = (s.height + 31) / 32 * 32;
    idse_encoder *encoder = idse_encoder_open(path, &settings, &s, NULL, message);
    if (encoder == NULL)
    {
      answer("refused", message);
      continue;
    }
    if (cut >= 0 && truncate(path, cut) != 0) return 1;
    float        *offsets = calloc((size_t)((s.width + 15) / 16) * ((s.height + 15) / 16), sizeof *offsets);
    idse_picture *begun[4] = { NULL };
    double        sum = 0;
    int           failed = 0;
    for (int poc = 0; poc < s.frames && poc < 8 && !failed; poc++)
    {
      failed = !idse_qp_offsets(encoder, poc, 16, (s.width + 15) / 16, (s.height + 15) / 16, offsets);
      if (failed) break;
      idse_picture_end(begun[poc % 4]);
      begun[poc % 4] = idse_picture_begin(encoder, poc);
      failed = begun[poc % 4] == NULL;
      if (!failed) sum += use(begun[poc % 4], &s);
    }
    snprintf(message, sizeof message, "%s", failed ? idse_message(encoder) : "");
    if (!failed && idse_picture_begin(encoder, -1) != NULL) return 1;
    free(offsets);
    idse_encoder_close(encoder);
    if (sum != sum) return 1; /* not a number */
    answer(failed ? "failed" : "opened", message);
  }
  free(line);
  return 0;
}
