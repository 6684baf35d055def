/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The options of encoders that have no reader of options with ranges: x264 and x265.
 */
#include "x264.h"
#include "x265.h"

#include "internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* NULL, or what to give instead. */
static const char *read_double(const char *text, double *value)
{
  char *end;
  errno = 0;
  *value = strtod(text, &end);
  return end == text || *end != '\0' || errno != 0 ? "give a number" : NULL;
}

static const char *read_int(const char *text, int *value)
{
  char *end;
  errno = 0;
  const long number = strtol(text, &end, 10);
  *value = number < INT_MIN ? INT_MIN : number > INT_MAX ? INT_MAX : (int)number;
  return end == text || *end != '\0' || errno != 0 ? "give a whole number" : NULL;
}

#define SET(type, field, valid, allowed, name)                                                                         \
  if (strcmp(option, name) == 0)                                                                                       \
  {                                                                                                                    \
    type        value;                                                                                                 \
    const char *instead = read_##type(text, &value);                                                                   \
    if (instead == NULL && !(valid)) instead = allowed;                                                                \
    if (instead == NULL) settings->field = value;                                                                      \
    if (instead != NULL) idse_say(message, "--%s %s: %s", option, text, instead);                                      \
    return instead == NULL;                                                                                            \
  }

int idse_x264_set(idse_settings *settings, const char *option, const char *text, char *message)
{
#define IDSE_X264_SETTING(type, field, valid, allowed, name, help) SET(type, field, valid, allowed, name)
#include "settings.inc"
  idse_say(message, "--%s: no such option", option);
  return 0;
}

int idse_x265_set(idse_settings *settings, const char *option, const char *text, char *message)
{
#define IDSE_X265_SETTING(type, field, valid, allowed, name, help) SET(type, field, valid, allowed, name)
#include "settings.inc"
  idse_say(message, "--%s: no such option", option);
  return 0;
}
