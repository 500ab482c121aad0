/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, times, sizes and levels as other programs write them, as values of ours. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "import/plan_internal.h"

void plan_set_listen(struct plan *p, const struct tree *t, const char *host, const char *port)
{
    char at[128];
    bool v6 = host != NULL && strchr(host, ':') != NULL && host[0] != '[';

    if (port == NULL && host == NULL) {
        return;
    }
    if (host == NULL || host[0] == '\0' || strcmp(host, "*") == 0) {
        host = "0.0.0.0";
    } else if (strcmp(host, "localhost") == 0) {
        host = "127.0.0.1";
    }
    (void)snprintf(at, sizeof(at), v6 ? "[%s]:%s" : "%s:%s", host, port == NULL ? "11434" : port);
    plan_set(p, t, "http.listen", at);
}

/* A number with its unit; false: it is none. `*in` is moved behind it. */
static bool read_unit(const char **in, double *number, char unit[8])
{
    char *end;
    size_t len;

    if (!isdigit((unsigned char)**in) && **in != '.') {
        return false;
    }
    *number = strtod(*in, &end);
    if (end == *in) { /* a point alone */
        return false;
    }
    while (*end == ' ') {
        end++;
    }
    len = strspn(end, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (len > 7) {
        return false;
    }
    slice_copy(slice_of(end, len), unit, 8);
    *in = end + len;
    return true;
}

static bool time_unit(const char *unit, uint64_t plain_ms, double *ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

    if (unit[0] == '\0') {
        *ms = (double)plain_ms;
        return true;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(units[i].name, unit) == 0) {
            *ms = units[i].ms;
            return true;
        }
    }
    return false;
}

static const char *skip_spaces(const char *text)
{
    return text + strspn(text, " ");
}

void plan_set_time(struct plan *p, struct tree *t, const char *key, uint64_t unit_ms)
{
    const char *in = tree_take(t);
    double sum = 0;
    double number;
    double ms;
    char unit[8];
    char value[32];

    if (in == NULL) {
        return;
    }
    for (in = skip_spaces(in); *in != '\0'; in = skip_spaces(in)) {
        if (!read_unit(&in, &number, unit) || !time_unit(unit, unit_ms, &ms)) {
            plan_lose(p, plan_name_of(t), t, "expected a time");
            return;
        }
        sum += number * ms;
    }
    if (sum < 1 || sum > 86400000) {
        plan_lose(p, plan_name_of(t), t,
                  sum < 1 ? "here every time has a limit" : "longer than a day");
        return;
    }
    (void)snprintf(value, sizeof(value),
                   sum - (double)((uint64_t)sum / 1000 * 1000) < 1 ? "%.0fs" : "%.0fms",
                   sum - (double)((uint64_t)sum / 1000 * 1000) < 1 ? sum / 1000 : sum);
    plan_set(p, t, key, value);
}

static bool size_unit(const char *unit, bool binary, double *bytes)
{
    static const char letters[] = "kmgt";
    const char *found = unit[0] == '\0' ? NULL : strchr(letters, tolower((unsigned char)unit[0]));
    double base = binary || strcasecmp(unit + (unit[0] != '\0'), "ib") == 0 ? 1024 : 1000;

    *bytes = 1;
    if (unit[0] == '\0' || strcasecmp(unit, "b") == 0) {
        return true;
    }
    if (found == NULL ||
        (unit[1] != '\0' && strcasecmp(unit + 1, "b") != 0 && strcasecmp(unit + 1, "ib") != 0)) {
        return false;
    }
    for (const char *c = letters; c <= found; c++) {
        *bytes *= base;
    }
    return true;
}

void plan_set_size(struct plan *p, struct tree *t, const char *key, bool binary)
{
    const char *in = tree_take(t);
    double number;
    double bytes;
    char unit[8];
    char value[32];

    if (in == NULL) {
        return;
    }
    in = skip_spaces(in);
    if (!read_unit(&in, &number, unit) || *skip_spaces(in) != '\0' ||
        !size_unit(unit, binary, &bytes)) {
        plan_lose(p, plan_name_of(t), t, "expected a size");
        return;
    }
    bytes *= number;
    if (bytes < 1024 || bytes > 16.0 * 1024 * 1024 * 1024) {
        plan_lose(p, plan_name_of(t), t, "expected 1KiB to 16GiB; 0 for none is not possible here");
        return;
    }
    (void)snprintf(value, sizeof(value), "%.0fB", bytes);
    plan_set(p, t, key, value);
}

void plan_set_level(struct plan *p, struct tree *t)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    const char *text = tree_take(t);

    for (size_t i = 0; text != NULL && i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strncasecmp(text, levels[i], strlen(levels[i])) == 0) {
            plan_set(p, t, "log.level", levels[i]);
            return;
        }
    }
    if (text != NULL) {
        plan_lose(p, plan_name_of(t), t, "expected debug, info, warn or error");
    }
}
