/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate ping: heartbeats and their round trips, as ping(8) shows them. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/conn.h"
#include "cli/text.h"

enum { ANSWER_MS = 5000, INTERVAL_MS = 1000 };

struct ping {
    struct cli_common common;
    unsigned long count; /* 0: until Ctrl-C */
    int interval_ms;
    unsigned long sent;
    unsigned long answered;
    uint64_t least_us;
    uint64_t most_us;
    uint64_t sum_us;
};

static const struct argp_option options[] = {
    {"count", 'c', "N", 0, "Stop after N heartbeats (else at Ctrl-C)", 0},
    {"interval", 'i', "SECONDS", 0, "Wait so long between two (1); may be a fraction", 0},
    {"verbose", 'v', NULL, 0, "Show what was negotiated", 0},
    {0},
};

static int parse_seconds(struct argp_state *state, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= 86400)) {
        cli_usage(state, "--interval: expected seconds, such as 0.2, not '%s'", text);
    }
    return (int)(seconds * 1000 + 0.5);
}

static error_t parse_ping(int key, char *arg, struct argp_state *state)
{
    struct ping *p = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &p->common;
        return 0;
    case 'c':
        p->count = cli_parse_number(state, "count", arg, ULONG_MAX);
        if (p->count == 0) {
            cli_usage(state, "--count: expected at least 1");
        }
        return 0;
    case 'i':
        p->interval_ms = parse_seconds(state, arg);
        return 0;
    case 'v':
        p->common.verbose = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void note(struct ping *p, uint64_t us)
{
    p->least_us = p->answered == 0 || us < p->least_us ? us : p->least_us;
    p->most_us = us > p->most_us ? us : p->most_us;
    p->sum_us += us;
    p->answered++;
    if (p->common.json) {
        (void)printf("{\"seq\":%lu,\"time_us\":%" PRIu64 "}\n", p->sent, us);
    } else {
        (void)printf("heartbeat from %s: seq=%lu time=%.3f ms\n", p->common.host, p->sent,
                     (double)us / 1000);
    }
    (void)fflush(stdout); /* failures are seen at the end */
}

static void print_summary(const struct ping *p)
{
    uint64_t average_us = p->answered == 0 ? 0 : p->sum_us / p->answered;
    unsigned long lost = p->sent == 0 ? 0 : 100 * (p->sent - p->answered) / p->sent;

    if (p->common.json) {
        (void)printf("{\"sent\":%lu,\"answered\":%lu,\"min_us\":%" PRIu64 ",\"avg_us\":%" PRIu64
                     ",\"max_us\":%" PRIu64 "}\n",
                     p->sent, p->answered, p->least_us, average_us, p->most_us);
        return;
    }
    (void)printf("\n--- %s ---\n%lu sent, %lu answered, %lu%% lost\n", p->common.host, p->sent,
                 p->answered, lost);
    if (p->answered > 0) {
        (void)printf("round trip min/avg/max = %.3f/%.3f/%.3f ms\n", (double)p->least_us / 1000,
                     (double)average_us / 1000, (double)p->most_us / 1000);
    }
}

/* Ctrl-C is the usual way to end it, so it is no failure. */
static int run(struct ping *p)
{
    struct cli_conn conn;
    int rc = cli_conn_open(&conn, &p->common);

    while (rc == CLI_EXIT_OK && !cli_interrupted() && (p->count == 0 || p->sent < p->count)) {
        uint64_t us;

        if (p->sent > 0 && !cli_wait(-1, p->interval_ms)) {
            break;
        }
        p->sent++;
        rc = cli_conn_heartbeat(&conn, ANSWER_MS, &us);
        if (rc == CLI_EXIT_OK) {
            note(p, us);
        }
    }
    cli_conn_close(&conn);
    if (p->sent > 0) {
        print_summary(p);
    }
    return rc == CLI_EXIT_INTERRUPTED && p->answered > 0 ? CLI_EXIT_OK : rc;
}

const struct argp cli_ping_argp = {
    .options = options,
    .parser = parse_ping,
    .doc = "Sends heartbeats to the gateway and shows how long each took to come back, then "
           "least, average and most.",
    .children = cli_common_children,
};

int cli_ping(int argc, char **argv)
{
    struct ping p = {.interval_ms = INTERVAL_MS};

    cli_parse(&cli_ping_argp, argc, argv, &p);
    return run(&p);
}
