/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Defaults and ranges of the run-time settings, and messages.
 */
#include "internal.h"

#include <stdarg.h>

void idse_say(char *message, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, IDSE_MESSAGE_BYTES, format, arguments);
  va_end(arguments);
  for (char *c = message; *c != '\0'; c++)
    if (*c == '\n' || *c == '\r') *c = '?'; /* in a file's name: a message is one line */
}

void idse_say_no_memory(const idse_sequence *sequence, char *message)
{
  idse_say(message, "no memory for the weights of a %dx%d picture", sequence->width, sequence->height);
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
  idse_say(message, "%s is %d; give a value from %d to %d", name, value, low, high);
  return 0;
}

int idse_settings_check(const idse_settings *s, char *message)
{
  /* Written so that a NaN fails. */
  if (!(s->tau >= 0 && s->tau <= 1000))
    idse_say(message, "IDSETau is %g; give a value from 0 to 1000", s->tau);
  else if (!(s->power > 0 && s->power <= 1))
    idse_say(message, "IDSEPower is %g; give a value above 0 and up to 1", s->power);
  else if (!(s->clip == 0 || (s->clip >= 1 && s->clip <= 255)))
    idse_say(message, "IDSEClip is %g; give 0 for no limit, or a value from 1 to 255", s->clip);
  else
    return check_int("IDSERdoq", s->rdoq, 0, 2, message) && check_int("IDSEQpMap", s->qp_map, 0, 1, message) &&
           check_int("IDSEQpMapClip", s->qp_map_clip, 0, MAX_QP_CLIP, message) &&
           check_int("IDSESao", s->sao, 0, 1, message) &&
           check_int("IDSEDecisions", s->decisions, 0, IDSE_ALL, message);
  return 0;
}
