/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Defaults and ranges of the run-time settings (settings.inc), and messages.
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
#define IDSE_SETTING(type, field, initial, valid, allowed, name) settings->field = initial;
#include "settings.inc"
}

static int refused(const char *name, double value, const char *allowed, char *message)
{
  idse_say(message, "%s is %.10g; %s", name, value, allowed);
  return 0;
}

int idse_settings_check(const idse_settings *settings, char *message)
{
#define IDSE_SETTING(type, field, initial, valid, allowed, name)                                                       \
  {                                                                                                                    \
    const type value = settings->field;                                                                                \
    if (!(valid)) return refused(name, value, allowed, message);                                                       \
  }
#include "settings.inc"
  return 1;
}
