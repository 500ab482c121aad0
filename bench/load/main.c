/* SPDX-License-Identifier: Apache-2.0 */
/* bench-load: sends requests to a model server, over HTTP or MCP, checks the answers, and prints
 * what it measured as one JSON object. Exit status: 0; 1 where there were errors; 2 usage. */
#include <argp.h>
#include <math.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "load/load.h"

enum {
    OPTION_MCP = 0x100,
    OPTION_RATE,
    OPTION_EVEN,
    OPTION_SEED,
    OPTION_WARMUP,
    OPTION_TIMEOUT,
    OPTION_HOLD,
    OPTION_GAP,
    OPTION_ABORT,
    OPTION_TEXT,
    OPTION_EMBED,
    OPTION_LONG,
};

static const struct argp_option options[] = {
    {"mcp", OPTION_MCP, NULL, 0, "MCP instead of HTTP", 1},
    {"connections", 'c', "N", 0, "Connections (1)", 1},
    {"sessions", 's', "N", 0, "MCP: sessions of each connection (1)", 1},
    {"rate", OPTION_RATE, "N", 0, "Open loop: N requests per second, at random times", 2},
    {"even", OPTION_EVEN, NULL, 0, "Open loop: evenly spaced", 2},
    {"seed", OPTION_SEED, "N", 0, "Open loop: what the times follow from (1)", 2},
    {"time", 't', "SECONDS", 0, "Measure so long (2)", 3},
    {"warmup", OPTION_WARMUP, "SECONDS", 0, "Not measured before (0.5)", 3},
    {"timeout", OPTION_TIMEOUT, "SECONDS", 0, "No answer for so long is an error (10)", 3},
    {"hold", OPTION_HOLD, NULL, 0,
     "One request for each session of each connection, which then idle for the time of -t", 3},
    {"parts", 'p', "N", 0, "Streams of N parts (else answers in one piece)", 4},
    {"gap", OPTION_GAP, "MS", 0, "The simulator writes each part by itself, MS apart", 4},
    {"abort", OPTION_ABORT, "N", 0, "Close the connection behind N parts of each stream", 4},
    {"embed", OPTION_EMBED, NULL, 0, "Embeddings of texts that are all different", 4},
    {"long", OPTION_LONG, "N", 0, "--embed: every other connection's texts have N words", 4},
    {"model", 'm', "NAME", 0, "May be repeated: sessions take them in turn (m:latest)", 5},
    {"text", OPTION_TEXT, "TEXT", 0, "The right answer (else: the first one)", 5},
    {"watch", 'w', "PID", 0, "What this process uses; may be repeated", 6},
    {0},
};

static double number(struct argp_state *state, const char *text, double least, double most)
{
    char *end;
    double n = strtod(text, &end);

    if (end == text || *end != '\0' || !(n >= least && n <= most)) {
        argp_error(state, "expected a number from %g to %g, not '%s'", least, most, text);
    }
    return n;
}

static unsigned whole(struct argp_state *state, const char *text, double least, double most)
{
    double n = number(state, text, least, most);

    if (n != floor(n)) {
        argp_error(state, "expected a whole number, not '%s'", text);
    }
    return (unsigned)n;
}

static void set_address(struct load_options *o, struct argp_state *state, const char *text)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    const char *colon = strrchr(text, ':');
    struct addrinfo *found;
    char host[64];

    if (colon == NULL || (size_t)(colon - text) >= sizeof(host)) {
        argp_error(state, "expected HOST:PORT in numbers, not '%s'", text);
        return;
    }
    (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    (void)snprintf(o->host, sizeof(o->host), "%s", text);
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        argp_error(state, "expected HOST:PORT in numbers, not '%s'", text);
        return;
    }
    memcpy(&o->at, found->ai_addr, found->ai_addrlen);
    o->at_len = found->ai_addrlen;
    freeaddrinfo(found);
}

static void finish(struct load_options *o, struct argp_state *state)
{
    if (o->at_len == 0) {
        argp_error(state, "an address is needed");
    }
    if (o->model_count == 0) {
        o->models[o->model_count++] = "m:latest";
    }
    if (!o->mcp && o->sessions > 1) {
        argp_error(state, "an HTTP connection has one request at a time: -s is for --mcp");
    }
    if (o->embed && (o->parts > 0 || o->text != NULL)) {
        argp_error(state, "--embed is without -p and --text");
    }
    if (o->words > 0 && !o->embed) {
        argp_error(state, "--long is for --embed");
    }
    if (o->abort > 0 && o->abort >= o->parts) {
        argp_error(state, "--abort is for streams (-p) with more parts than that");
    }
    if (o->abort > 0 && o->sessions > 1) {
        argp_error(state, "--abort closes the connection, which would end its other sessions too");
    }
    if (o->hold && (o->rate_per_s > 0 || o->abort > 0)) {
        argp_error(state, "--hold is without --rate and --abort");
    }
}

static void add_model(struct load_options *o, struct argp_state *state, const char *name)
{
    if (o->model_count == LOAD_MODELS_MAX) {
        argp_error(state, "at most %d models", LOAD_MODELS_MAX);
    }
    o->models[o->model_count++] = name;
}

static void add_pid(struct load_options *o, struct argp_state *state, const char *text)
{
    if (o->pid_count == WATCH_PIDS_MAX) {
        argp_error(state, "at most %d processes", WATCH_PIDS_MAX);
    }
    o->pids[o->pid_count++] = (pid_t)whole(state, text, 1, 1 << 30);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct load_options *o = state->input;

    switch (key) {
    case ARGP_KEY_ARG:
        set_address(o, state, arg);
        return 0;
    case ARGP_KEY_END:
        finish(o, state);
        return 0;
    case OPTION_MCP:
        o->mcp = true;
        return 0;
    case 'c':
        o->conns = whole(state, arg, 1, LOAD_CONNS_MAX);
        return 0;
    case 's':
        o->sessions = whole(state, arg, 1, LOAD_SESSIONS_MAX);
        return 0;
    case OPTION_RATE:
        o->rate_per_s = number(state, arg, 0.001, 1e7);
        return 0;
    case OPTION_EVEN:
        o->even = true;
        return 0;
    case OPTION_SEED:
        o->seed = whole(state, arg, 0, 1 << 30);
        return 0;
    case 't':
        o->seconds = number(state, arg, 0.01, 3600);
        return 0;
    case OPTION_WARMUP:
        o->warmup_s = number(state, arg, 0, 3600);
        return 0;
    case OPTION_TIMEOUT:
        o->timeout_s = number(state, arg, 0.01, 3600);
        return 0;
    case OPTION_HOLD:
        o->hold = true;
        return 0;
    case 'p':
        o->parts = whole(state, arg, 2, LOAD_PARTS_MAX);
        return 0;
    case OPTION_GAP:
        o->gap_ms = number(state, arg, 0, 60000);
        return 0;
    case OPTION_ABORT:
        o->abort = whole(state, arg, 1, LOAD_PARTS_MAX);
        return 0;
    case OPTION_EMBED:
        o->embed = true;
        return 0;
    case OPTION_LONG:
        o->words = whole(state, arg, 1, LOAD_WORDS_MAX);
        return 0;
    case 'm':
        add_model(o, state, arg);
        return 0;
    case OPTION_TEXT:
        o->text = arg;
        return 0;
    case 'w':
        add_pid(o, state, arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void raise_open_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* fewer connections then, which will show */
    }
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "HOST:PORT",
        .doc = "Sends generate requests and checks that each answer is right and whole. Without "
               "--rate each session sends its next request when it has its answer (closed loop). "
               "With it requests are due by a schedule, and latencies count from there (open "
               "loop). Prints one JSON object.",
    };
    struct load_options o = {
        .conns = 1,
        .sessions = 1,
        .seed = 1,
        .seconds = 2,
        .warmup_s = 0.5,
        .timeout_s = 10,
        .gap_ms = -1,
    };
    struct load load;
    bool ok;

    argp_err_exit_status = 2;
    (void)argp_parse(&argp, argc, argv, 0, NULL, &o);
    raise_open_files();
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* ns: an open loop sends on time */
    ok = load_init(&load, &o);
    if (ok) {
        load_run(&load);
    }
    ok = load_report(&load) && ok && load.errors == 0;
    load_fini(&load);
    return ok ? 0 : 1;
}
