/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate record: what real traffic is like, line by line as the gateway tells it. What is written
 * ends with a whole line, however it ends. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <yyjson.h>

#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/conn.h"
#include "cli/text.h"

#define NS_PER_S UINT64_C(1000000000)

struct recording {
    struct cli_admin admin;
    uint64_t for_s;   /* 0: until Ctrl-C */
    const char *path; /* NULL: standard output */
    FILE *out;        /* NULL: nothing has come yet, and what was there before is still there */
    struct buf rest;  /* of a line */
    uint64_t begun_ns;
    uint64_t requests;
    uint64_t missing;
    int failed; /* errno of opening or writing; 0: it has not */
};

static volatile sig_atomic_t stopped;

static const struct argp_option options[] = {
    {"for", 'f', "TIME", 0, "How long: 90s, 10m, 2h, 1d; else until Ctrl-C", 0},
    {"output", 'o', "FILE", 0, "The file to write; else standard output", 0},
    {0},
};

/* 0: it is no time. */
static uint64_t seconds_of(const char *text)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    uint64_t number = 0;
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 6 || strlen(text) != digits + 1) {
        return 0;
    }
    for (size_t i = 0; i < digits; i++) {
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].unit == text[digits]) {
            return number * units[i].seconds;
        }
    }
    return 0;
}

static error_t parse_record(int key, char *arg, struct argp_state *state)
{
    struct recording *r = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &r->admin;
        return 0;
    case 'f':
        r->for_s = seconds_of(arg);
        if (r->for_s == 0) {
            cli_usage(state, "--for: expected a time such as 90s, 10m, 2h or 1d, not '%s'", arg);
        }
        return 0;
    case 'o':
        r->path = strcmp(arg, "-") == 0 ? NULL : arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* On standard error, over the line before where that is a terminal. */
static void say_progress(const struct recording *r, bool last)
{
    bool live = isatty(STDERR_FILENO) != 0 && (r->path != NULL || isatty(STDOUT_FILENO) == 0);
    uint64_t seconds = (now_ns() - r->begun_ns) / NS_PER_S;
    char time[CLI_FORMAT_MAX];

    if (!live && !last) {
        return;
    }
    cli_format_duration(seconds * NS_PER_S, time);
    (void)fprintf(stderr, "%smcpgate: %" PRIu64 " requests in %s, %" PRIu64 " missing%s",
                  live ? "\r\033[K" : "", r->requests, time, r->missing, last ? "\n" : "");
    (void)fflush(stderr);
}

/* --- what comes ------------------------------------------------------------------------------- */

static void count_line(struct recording *r, struct slice line)
{
    static const struct slice gap = SLICE("{\"dropped\":");
    yyjson_doc *doc;

    if (slice_starts(line, SLICE("{\"at_us\":"))) {
        r->requests++;
    } else if (slice_starts(line, gap)) {
        doc = yyjson_read(line.ptr, line.len, YYJSON_READ_NOFLAG);
        r->missing += cli_member_uint(yyjson_doc_get_root(doc), "dropped");
        yyjson_doc_free(doc);
    }
}

static void write_lines(struct recording *r)
{
    struct slice all = buf_slice(&r->rest);
    const char *end = memrchr(all.ptr, '\n', all.len);
    size_t len = end == NULL ? 0 : (size_t)(end - all.ptr) + 1;
    size_t at = 0;

    while (at < len) {
        const char *newline = memchr(all.ptr + at, '\n', len - at);
        size_t line_len = (size_t)(newline - all.ptr) + 1 - at;

        count_line(r, slice_of(all.ptr + at, line_len));
        at += line_len;
    }
    if (len > 0 && r->out == NULL) {
        r->out = r->path == NULL ? stdout : fopen(r->path, "we");
        r->failed = r->out == NULL ? errno : 0;
    }
    if (len > 0 && r->failed == 0) {
        r->failed = fwrite(all.ptr, 1, len, r->out) != len || fflush(r->out) != 0 ? errno : 0;
        buf_consume(&r->rest, len);
    }
}

static bool take(void *owner, struct slice bytes)
{
    struct recording *r = owner;

    if (!buf_append(&r->rest, bytes)) {
        cli_no_memory();
    }
    write_lines(r);
    if (r->out != NULL && r->failed == 0) {
        say_progress(r, false);
    }
    return !stopped && r->failed == 0 &&
           (r->for_s == 0 || now_ns() - r->begun_ns < r->for_s * NS_PER_S);
}

/* --- the whole -------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* They come only while it waits for bytes. `before`: what was blocked until now. */
static void hold_signals(sigset_t *before)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t held;

    (void)sigemptyset(&held);
    (void)sigaddset(&held, SIGINT);
    (void)sigaddset(&held, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &held, before);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static int record(struct recording *r)
{
    sigset_t before;
    struct cli_admin_follow f = {.take = take, .owner = r, .signals = &before};
    int rc;

    hold_signals(&before);
    r->begun_ns = now_ns();
    rc = cli_admin_follow(&r->admin, "/admin/record", &f);
    if (r->out != NULL) {
        say_progress(r, true);
    }
    if (f.ended) {
        cli_error("the gateway has ended");
    }
    buf_fini(&r->rest);
    return rc;
}

const struct argp cli_record_argp = {
    .options = options,
    .parser = parse_record,
    .children = cli_admin_children,
    .doc = "Writes down what the gateway's traffic is like, one JSON object for each request: when "
           "it came, how large it was, which model it asked for and how it went; no text, keys or "
           "addresses. sim-cluster and plan read it.",
};

int cli_record(int argc, char **argv)
{
    struct recording r = {0};
    int rc;

    cli_parse(&cli_record_argp, argc, argv, &r);
    rc = record(&r);
    if (r.out != NULL && r.out != stdout && fclose(r.out) != 0 && r.failed == 0) {
        r.failed = errno;
    }
    if (r.failed != 0) {
        cli_error("%s: %s", r.path == NULL ? "standard output" : r.path, strerror(r.failed));
        return CLI_EXIT_FAILED;
    }
    return rc;
}
