/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* --- output ----------------------------------------------------------------------------------- */

bool cli_has_colour(FILE *f)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    return isatty(fileno(f)) && (no_colour == NULL || *no_colour == '\0') && term != NULL &&
           strcmp(term, "dumb") != 0;
}

const char *cli_style(FILE *f, enum cli_style style)
{
    static const char *const codes[] = {"\033[0m", "\033[1m", "\033[2m", "\033[31m", "\033[32m"};

    return cli_has_colour(f) ? codes[style] : "";
}

/* How many bytes at `p` make a control character that a terminal could obey. */
static size_t control_len(const char *p, size_t avail)
{
    unsigned char c = (unsigned char)*p;

    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) {
        return 1;
    }
    /* U+0080 to U+009F in UTF-8 */
    return c == 0xc2 && avail > 1 && (unsigned char)p[1] >= 0x80 && (unsigned char)p[1] < 0xa0 ? 2
                                                                                               : 0;
}

void cli_put(FILE *f, struct slice text)
{
    bool guarded = isatty(fileno(f));

    while (text.len > 0) {
        size_t plain = 0, control = 0;

        while (plain < text.len &&
               (control = guarded ? control_len(text.ptr + plain, text.len - plain) : 0) == 0) {
            plain++;
        }
        (void)fwrite(text.ptr, 1, plain, f); /* failures of standard output are seen at the end */
        if (control > 0) {
            (void)fputs("\xef\xbf\xbd", f); /* U+FFFD */
        }
        text = slice_skip(text, plain + control);
    }
}

void cli_no_memory(void)
{
    (void)fputs("mcpgate: out of memory\n", stderr);
    exit(CLI_EXIT_FAILED);
}

static void put_line(enum cli_style style, const char *head, const char *text)
{
    (void)fflush(stdout); /* what came before stands before it */
    (void)fprintf(stderr, "%s%s%s", cli_style(stderr, style), head, cli_style(stderr, CLI_PLAIN));
    cli_put(stderr, slice_str(text));
    (void)fputc('\n', stderr);
}

void cli_error(const char *fmt, ...)
{
    va_list args;
    char *text;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0) {
        cli_no_memory();
    }
    va_end(args);
    put_line(CLI_RED, "mcpgate: ", text);
    free(text);
}

void cli_warning(const char *text)
{
    put_line(CLI_BOLD, "mcpgate: warning: ", text);
}

/* --- numbers ---------------------------------------------------------------------------------- */

void cli_format_bytes(uint64_t bytes, char out[CLI_FORMAT_MAX])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    uint64_t factor = 1;
    size_t unit = 0;

    while (unit < 4 && bytes / factor >= 1000) {
        factor *= 1000;
        unit++;
    }
    if (unit == 0 || bytes / factor >= 10 || bytes % factor == 0) {
        (void)snprintf(out, CLI_FORMAT_MAX, "%" PRIu64 " %s", bytes / factor, units[unit]);
    } else {
        (void)snprintf(out, CLI_FORMAT_MAX, "%.1f %s", (double)bytes / (double)factor, units[unit]);
    }
}

/* `value` / `scale` with as many digits as it needs. */
static int print_fraction(char *out, size_t cap, uint64_t value, uint64_t scale, const char *unit)
{
    char digits[21]; /* of a uint64_t */
    size_t len;

    (void)snprintf(digits, sizeof(digits), "%" PRIu64, scale + value % scale);
    len = strlen(digits);
    while (len > 1 && digits[len - 1] == '0') {
        len--;
    }
    digits[len] = '\0';
    return snprintf(out, cap, "%" PRIu64 "%s%s%s", value / scale, len > 1 ? "." : "", digits + 1,
                    unit);
}

void cli_format_duration(uint64_t ns, char out[CLI_FORMAT_MAX])
{
    static const uint64_t us = 1000, ms = 1000000, s = 1000000000;
    uint64_t minutes = ns / (60 * s);
    int len = 0;

    if (ns < us) {
        (void)snprintf(out, CLI_FORMAT_MAX, ns == 0 ? "0s" : "%" PRIu64 "ns", ns);
        return;
    }
    if (ns < s) {
        (void)print_fraction(out, CLI_FORMAT_MAX, ns, ns < ms ? us : ms,
                             ns < ms ? "\xc2\xb5s" : "ms");
        return;
    }
    if (minutes >= 60) {
        len = snprintf(out, CLI_FORMAT_MAX, "%" PRIu64 "h", minutes / 60);
    }
    if (minutes > 0) {
        len += snprintf(out + len, CLI_FORMAT_MAX - (size_t)len, "%" PRIu64 "m", minutes % 60);
    }
    (void)print_fraction(out + len, CLI_FORMAT_MAX - (size_t)len, ns % (60 * s), s, "s");
}

/* --- times ------------------------------------------------------------------------------------ */

bool cli_parse_time(struct slice text, time_t *out)
{
    struct tm tm = {0};
    char copy[40], sign;
    const char *zone;
    int len = 0, hours, minutes;

    if (text.len == 0 || text.len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (sscanf(copy, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &len) != 6 ||
        len == 0) {
        return false;
    }
    zone = copy + len;
    if (*zone == '.') {
        zone += 1 + strspn(zone + 1, "0123456789");
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *out = timegm(&tm);
    if (strcmp(zone, "Z") == 0) {
        return true;
    }
    if (sscanf(zone, "%c%2d:%2d", &sign, &hours, &minutes) != 3 || (sign != '+' && sign != '-')) {
        return false;
    }
    *out -= (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

static void format_span(int64_t seconds, const char *suffix, char out[CLI_FORMAT_MAX])
{
    int64_t minutes = seconds / 60, hours = (seconds + 1800) / 3600;

    if (seconds < 1) {
        (void)snprintf(out, CLI_FORMAT_MAX, "Less than a second%s", suffix);
    } else if (seconds < 60) {
        (void)snprintf(out, CLI_FORMAT_MAX, "%d second%s%s", (int)seconds, seconds == 1 ? "" : "s",
                       suffix);
    } else if (minutes < 2) {
        (void)snprintf(out, CLI_FORMAT_MAX, "About a minute%s", suffix);
    } else if (minutes < 60) {
        (void)snprintf(out, CLI_FORMAT_MAX, "%d minutes%s", (int)minutes, suffix);
    } else if (hours == 1) {
        (void)snprintf(out, CLI_FORMAT_MAX, "About an hour%s", suffix);
    } else if (hours < 48) {
        (void)snprintf(out, CLI_FORMAT_MAX, "%d hours%s", (int)hours, suffix);
    } else if (hours < 24 * 7 * 2) {
        (void)snprintf(out, CLI_FORMAT_MAX, "%d days%s", (int)(hours / 24), suffix);
    } else if (hours < 24 * 30 * 2) {
        (void)snprintf(out, CLI_FORMAT_MAX, "%d weeks%s", (int)(hours / 24 / 7), suffix);
    } else if (hours < 24 * 365 * 2) {
        (void)snprintf(out, CLI_FORMAT_MAX, "%d months%s", (int)(hours / 24 / 30), suffix);
    } else {
        (void)snprintf(out, CLI_FORMAT_MAX, "%d years%s", (int)(hours / 24 / 365), suffix);
    }
}

void cli_format_when(struct slice rfc3339, time_t now, char out[CLI_FORMAT_MAX])
{
    static const int64_t year = 365 * 86400;
    time_t at;

    if (!cli_parse_time(rfc3339, &at) || at < -1900 * year) {
        (void)snprintf(out, CLI_FORMAT_MAX, "Never");
    } else if (at - now > 20 * year) {
        (void)snprintf(out, CLI_FORMAT_MAX, "Forever");
    } else if (at > now) {
        format_span(at - now, " from now", out);
    } else {
        format_span(now - at, " ago", out);
    }
}

/* --- tables ----------------------------------------------------------------------------------- */

void cli_table_add(struct cli_table *t, struct slice text)
{
    char **cells = realloc(t->cells, (t->cell_count + 1) * sizeof(*cells));

    if (cells == NULL) {
        cli_no_memory();
    }
    t->cells = cells;
    cells[t->cell_count] = slice_dup(text);
    if (cells[t->cell_count++] == NULL) {
        cli_no_memory();
    }
}

/* Characters, not bytes; wide ones count as one. */
static size_t text_width(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

void cli_table_print(struct cli_table *t)
{
    static const size_t gap = 4;
    size_t blanks = 0; /* to come before the next text; none stand at the end of a row */

    for (size_t i = 0; i < t->cell_count; i++) {
        size_t column = i % t->columns, widest = 0;

        for (size_t j = column; j < t->cell_count; j += t->columns) {
            size_t width = text_width(t->cells[j]);

            widest = width > widest ? width : widest;
        }
        if (t->cells[i][0] != '\0') {
            (void)printf("%*s", (int)blanks, "");
            cli_put(stdout, slice_str(t->cells[i]));
            blanks = 0;
        }
        blanks += widest + gap - text_width(t->cells[i]);
        if (column + 1 == t->columns) {
            (void)fputc('\n', stdout);
            blanks = 0;
        }
    }
    for (size_t i = 0; i < t->cell_count; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    *t = (struct cli_table){.columns = t->columns};
}
