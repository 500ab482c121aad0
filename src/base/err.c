/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int code, const char *fmt, ...)
{
    va_list args;

    if (e != NULL) {
        e->code = code;
        va_start(args, fmt);
        (void)vsnprintf(e->text, sizeof(e->text), fmt, args); /* a longer text is cut */
        va_end(args);
    }
    return code;
}

void err_prefix(struct err *e, const char *fmt, ...)
{
    char text[2 * sizeof(e->text) + 2];
    va_list args;
    size_t len;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(e->text), fmt, args); /* a longer text is cut */
    va_end(args);
    len = strlen(text);
    (void)snprintf(text + len, sizeof(text) - len, ": %s", e->text);
    text[sizeof(e->text) - 1] = '\0'; /* and so is a longer whole */
    memcpy(e->text, text, sizeof(e->text));
}
