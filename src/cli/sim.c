/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate sim: a simulated Ollama node, for tests and benchmarks. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/version.h"
#include "cli/cli.h"
#include "cli/text.h"
#include "obs/log_sink.h"
#include "sim/server.h"

enum { FAULTS_MAX = 16, GAP_MS_MAX = 60000, NUMBER_KEY = 0x200 };

enum number {
#define SIM_NUMBER(field, option, echo, seed, llm, most, help) NUMBER_##field,
#include "sim/profile.def"
#undef SIM_NUMBER
    NUMBER_COUNT
};

static const struct {
    const char *option;
    unsigned long most;
} numbers[NUMBER_COUNT] = {
#define SIM_NUMBER(field, option, echo, seed, llm, most, help) {option, most},
#include "sim/profile.def"
#undef SIM_NUMBER
};

enum {
    OPTION_HTTP = 0x100,
    OPTION_PROFILE,
    OPTION_MODELS,
    OPTION_FAULT,
    OPTION_GAP,
    OPTION_SEED,
};

static const struct argp_option options[] = {
    /* The groups are only there to keep this order in the help. */
    {"http", OPTION_HTTP, "ADDR", 0, "Listen there: host:port or unix:PATH (127.0.0.1:11434)", 1},
    {"profile", OPTION_PROFILE, "echo|seed|llm", 0,
     "What things cost: echo (nothing), seed (one call at a time, 27.2 ms + 1.36 ms per item) or "
     "llm (loads, evicts, batches, caches) (echo)",
     2},
    {"models", OPTION_MODELS, "A,B", 0, "The models it has (m:latest)", 3},
    {"gap", OPTION_GAP, "MS", 0,
     "Profile echo: write each part by itself, MS apart; 0: in turns of the loop", 4},
    {"fault", OPTION_FAULT, "FAULT", 0,
     "NAME[:N][@every M], for each or the M-th call; may be repeated. So many PARTS come before "
     "it; "
#define SIM_FAULT(id, name, number, most, help) help "; "
#include "sim/fault.def"
#undef SIM_FAULT
     "0 of an answer in one piece is before its head",
     5},
    {"seed", OPTION_SEED, "N", 0, "What answers and variations follow from (1)", 6},
#define SIM_NUMBER(field, option, echo, seed, llm, most, help)                                     \
    {option,                                                                                       \
     NUMBER_KEY + NUMBER_##field,                                                                  \
     "N",                                                                                          \
     0,                                                                                            \
     help " (echo " #echo ", seed " #seed ", llm " #llm ")",                                       \
     10 + NUMBER_##field},
#include "sim/profile.def"
#undef SIM_NUMBER
    {0},
};

struct sim {
    const char *http;
    const char *profile;
    char *models; /* the names, one behind the other */
    const char **names;
    size_t name_count;
    struct sim_fault faults[FAULTS_MAX];
    size_t fault_count;
    bool has_gap;
    uint64_t gap_us;
    unsigned long seed;
    bool has_number[NUMBER_COUNT];
    unsigned long number[NUMBER_COUNT];
};

static void set_models(struct sim *sim, struct argp_state *state, const char *text)
{
    char *rest, *name;

    free(sim->models);
    free(sim->names);
    sim->models = strdup(text);
    sim->names = calloc(strlen(text) + 1, sizeof(*sim->names));
    if (sim->models == NULL || sim->names == NULL) {
        cli_no_memory();
    }
    sim->name_count = 0;
    for (rest = sim->models; (name = strsep(&rest, ",")) != NULL;) {
        if (*name == '\0') {
            cli_usage(state, "--models: expected names, such as a,b:8b, not '%s'", text);
        }
        sim->names[sim->name_count++] = name;
    }
}

static void add_fault(struct sim *sim, struct argp_state *state, const char *text)
{
    struct err e = {0};

    if (sim->fault_count == FAULTS_MAX) {
        cli_usage(state, "--fault: at most %d of them", FAULTS_MAX);
    }
    if (sim_fault_parse(&sim->faults[sim->fault_count], slice_str(text), &e) != MCP_OK) {
        cli_usage(state, "--fault: %s, not '%s'", e.text, text);
    }
    sim->fault_count++;
}

static void set_gap(struct sim *sim, struct argp_state *state, const char *text)
{
    char *end;
    double ms = strtod(text, &end);

    if (end == text || *end != '\0' || !(ms >= 0 && ms <= GAP_MS_MAX)) {
        cli_usage(state, "--gap: expected milliseconds, such as 0.5, not '%s'", text);
    }
    sim->has_gap = true;
    sim->gap_us = (uint64_t)(ms * 1000 + 0.5);
}

static error_t parse_sim(int key, char *arg, struct argp_state *state)
{
    struct sim *sim = state->input;

    if (key >= NUMBER_KEY && key < NUMBER_KEY + NUMBER_COUNT) {
        int n = key - NUMBER_KEY;

        sim->has_number[n] = true;
        sim->number[n] = cli_parse_number(state, numbers[n].option, arg, numbers[n].most);
        return 0;
    }
    switch (key) {
    case ARGP_KEY_ARG:
        cli_usage(state, "expected no argument, not '%s'", arg);
    case OPTION_HTTP:
        sim->http = arg;
        return 0;
    case OPTION_PROFILE:
        sim->profile = arg;
        return 0;
    case OPTION_MODELS:
        set_models(sim, state, arg);
        return 0;
    case OPTION_FAULT:
        add_fault(sim, state, arg);
        return 0;
    case OPTION_GAP:
        set_gap(sim, state, arg);
        return 0;
    case OPTION_SEED:
        sim->seed = cli_parse_number(state, "seed", arg, ULONG_MAX);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The profile with the numbers that options give. False: no such profile. */
static bool make_profile(const struct sim *sim, struct sim_profile *p)
{
    if (!sim_profile_find(sim->profile, p)) {
        return false;
    }
#define SIM_NUMBER(field, option, echo, seed, llm, most, help)                                     \
    if (sim->has_number[NUMBER_##field]) {                                                         \
        p->field = sim->number[NUMBER_##field];                                                    \
    }
#include "sim/profile.def"
#undef SIM_NUMBER
    return true;
}

static void raise_open_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* fewer connections then */
    }
}

static void on_terminate(void *owner)
{
    loop_stop(owner);
}

static void print_banner(const struct sim_server *server, const struct sim *sim)
{
    char at[ADDR_TEXT_MAX];

    addr_format(sim_server_addr(server), at);
    (void)printf("mcpgate " MCPGATE_VERSION "\nhttp   listening on %s\nsim    profile %s:", at,
                 sim->profile);
    for (size_t i = 0; i < sim->name_count; i++) {
        (void)printf("%s %s", i == 0 ? "" : ",", sim->names[i]);
    }
    (void)printf("\nready\n");
    (void)fflush(stdout);
}

static int serve(struct loop *loop, const struct sim *sim, const struct sim_options *o)
{
    struct sim_server *server;
    struct err e = {0};
    struct addr at;

    if (addr_parse(&at, slice_str(sim->http), &e) != MCP_OK) {
        cli_error("--http: %s", e.text);
        return CLI_EXIT_USAGE;
    }
    if (loop_signal(loop, SIGTERM, on_terminate, loop) != 0 ||
        loop_signal(loop, SIGINT, on_terminate, loop) != 0) {
        cli_error("signals cannot be watched");
        return CLI_EXIT_FAILED;
    }
    server = sim_server_new(loop, &at, o, &e);
    if (server == NULL) {
        cli_error("%s; use --http ADDR", e.text);
        return CLI_EXIT_LISTEN;
    }
    print_banner(server, sim);
    loop_run(loop);
    sim_server_free(&server);
    return CLI_EXIT_OK;
}

static int run(struct sim *sim)
{
    struct sim_options o = {
        .models = sim->names,
        .model_count = sim->name_count,
        .seed = sim->seed,
        .faults = sim->faults,
        .fault_count = sim->fault_count,
        .has_gap = sim->has_gap,
        .gap_us = sim->gap_us,
    };
    struct loop *loop;
    int rc;

    if (!make_profile(sim, &o.profile)) {
        cli_error("--profile: expected echo, seed or llm, not '%s'; see mcpgate sim --help",
                  sim->profile);
        return CLI_EXIT_USAGE;
    }
    log_sink_open(LOG_LEVEL_WARN);
    raise_open_files();
    (void)prctl(PR_SET_TIMERSLACK, 1000UL); /* ns; else what it simulates takes 50 us longer */
    loop = loop_new();
    if (loop == NULL) {
        cli_error("the kernel gives no event loop");
        return CLI_EXIT_FAILED;
    }
    rc = serve(loop, sim, &o);
    loop_free(&loop);
    return rc;
}

const struct argp cli_sim_argp = {
    .options = options,
    .parser = parse_sim,
    .doc = "Runs a simulated Ollama node until SIGTERM or Ctrl-C: for tests, benchmarks and "
           "trying things out without a model. It marks itself: \"simulated\": true in "
           "/api/version, its counts are in /sim/stats.\vA request can ask for a fault itself, "
           "with the header X-Sim-Fault or the option sim_fault, and for a gap with the option "
           "sim_gap_ms.",
    .children = cli_help_children,
};

int cli_sim(int argc, char **argv)
{
    struct sim sim = {.http = "127.0.0.1:11434", .profile = "echo", .seed = 1};
    static const char *only[] = {"m:latest"};
    int rc;

    cli_parse(&cli_sim_argp, argc, argv, &sim);
    if (sim.name_count == 0) {
        sim.names = only;
        sim.name_count = 1;
    }
    rc = run(&sim);
    if (sim.models != NULL) {
        free(sim.names);
        free(sim.models);
    }
    return rc;
}
