/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/farm_options.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/input.h"
#include "cli/text.h"
#include "farm/slo.h"

enum {
    OPTION_REQUESTS = 0x400,
    OPTION_RATE,
    OPTION_BURST,
    OPTION_WEIGHTS,
    OPTION_TENANT_SKEW,
    OPTION_MODEL_SKEW,
    OPTION_PROMPT,
    OPTION_ANSWER,
    OPTION_TURNS,
    OPTION_PAUSE,
    OPTION_TRACE,
    OPTION_SPEED,
    OPTION_MODEL_MIB,
    OPTION_LOAD_MS,
    OPTION_COLD,
    OPTION_MIN_RESIDENT,
    OPTION_MAX_LOAD_WAIT,
    OPTION_JSON,
    OPTION_SVG,
    NUMBER_KEY = 0x500,
    MIB_BITS = 20,
    NAME_BYTES = 16,
    LOAD_MS_MOST = 3600 * 1000,
    TRACE_BYTES_MAX = INT_MAX,
    US_MOST = 10 * 1000 * 1000,
    PAIRS_MOST = 2 * 1000 * 1000 /* of models and nodes, each some 400 bytes; or tenants */
};

enum number {
#define FARM_NUMBER(field, option, initial, least, most, help) NUMBER_##field,
#include "cli/farm_numbers.def"
#undef FARM_NUMBER
    NUMBER_COUNT
};

static const struct {
    const char *option;
    size_t offset;
    unsigned long initial, least, most;
} numbers[NUMBER_COUNT] = {
#define FARM_NUMBER(field, option, initial, least, most, help)                                     \
    {option, offsetof(struct cli_farm, field), initial, least, most},
#include "cli/farm_numbers.def"
#undef FARM_NUMBER
};

static const struct argp_option options[] = {
    {"requests", OPTION_REQUESTS, "N", 0, "How many requests (100000; of plan 20000)", 20},
    {"rate", OPTION_RATE, "N", 0, "Of them each second, on average", 20},
    {"burst", OPTION_BURST, "F:FOR:EACH", 0,
     "Conversations begin F times as often for a while, such as 5:10s:60s", 20},
    {"tenant-skew", OPTION_TENANT_SKEW, "Z", 0,
     "Some tenants ask more than others, by Zipf's law with this exponent (0)", 20},
    {"weights", OPTION_WEIGHTS, "A,B", 0, "Weights of the tenants, repeated as needed (1)", 20},
    {"model-skew", OPTION_MODEL_SKEW, "Z", 0, "The same of models (1)", 20},
    {"prompt", OPTION_PROMPT, "TOKENS[:SIGMA]", 0,
     "What each turn adds to the prompt: log-normal, median and sigma (200:1)", 20},
    {"answer", OPTION_ANSWER, "TOKENS[:SIGMA]", 0, "Answers, likewise (150:0.8)", 20},
    {"turns", OPTION_TURNS, "N", 0, "Turns of a conversation, on average (4)", 20},
    {"pause", OPTION_PAUSE, "TIME", 0, "Between two of them, on average (30s)", 20},
    {"trace", OPTION_TRACE, "FILE", 0, "Requests of a recording (mcpgate record) in place of these",
     21},
    {"speed", OPTION_SPEED, "N", 0, "The recording comes so many times as fast (1)", 21},
    {"model-mib", OPTION_MODEL_MIB, "A,B", 0, "Memory that models take, MiB, repeated (5120)", 30},
    {"load-ms", OPTION_LOAD_MS, "A,B", 0, "Milliseconds to load them, repeated (2000)", 30},
    {"cold", OPTION_COLD, NULL, 0,
     "Nodes begin with nothing in memory (with as many models as there is room for)", 36},
    {"min-resident", OPTION_MIN_RESIDENT, "TIME", 0, "queue.min_resident of the gateway (2s)", 40},
    {"max-load-wait", OPTION_MAX_LOAD_WAIT, "TIME", 0, "queue.max_load_wait of the gateway (10s)",
     40},
    {"json", OPTION_JSON, "FILE", 0, "Write everything there as JSON; -: to standard output", 50},
    {"svg", OPTION_SVG, "FILE", 0, "Write a chart there", 50},
#define FARM_NUMBER(field, option, initial, least, most, help)                                     \
    {option, NUMBER_KEY + NUMBER_##field, "N", 0, help " (" #initial ")", 35},
#include "cli/farm_numbers.def"
#undef FARM_NUMBER
    {0},
};

static unsigned long *number_of(struct cli_farm *o, size_t number)
{
    return (unsigned long *)(void *)((char *)o + numbers[number].offset);
}

static void set_defaults(struct cli_farm *o)
{
    unsigned long requests = o->requests;

    *o = (struct cli_farm){
        .requests = requests,
        .model_skew = 1,
        .turns = 4,
        .speed = 1,
        .prompt = {200, 1},
        .answer = {150, 0.8},
        .burst = {1, 0, 0},
        .pause_us = 30e6,
        .min_resident_us = 2e6,
        .max_load_wait_us = 10e6,
        .weights = {1},
        .model_mib = {5120},
        .load_ms = {2000},
        .weight_count = 1,
        .mib_count = 1,
        .load_count = 1,
    };
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        *number_of(o, i) = numbers[i].initial;
    }
}

/* --- values ----------------------------------------------------------------------------------- */

static double read_decimal(struct argp_state *state, const char *option, const char *text,
                           double least, double most)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= least && value <= most)) {
        cli_usage(state, "--%s: expected a number from %g to %g, not '%s'", option, least, most,
                  text);
    }
    return value;
}

static double read_time(struct argp_state *state, const char *option, struct slice text)
{
    struct err e = {0};
    double us = 0;

    if (farm_parse_duration(text, &us, &e) != MCP_OK) {
        cli_usage(state, "--%s: %s, not '%.*s'", option, e.text, SLICE_ARG(text));
    }
    return us;
}

unsigned long cli_farm_number(struct argp_state *state, const char *option, const char *text,
                              unsigned long least, unsigned long most)
{
    unsigned long value = cli_parse_number(state, option, text, most);

    if (value < least) {
        cli_usage(state, "--%s: expected a whole number from %lu to %lu, not '%s'", option, least,
                  most, text);
    }
    return value;
}

size_t cli_farm_list(struct argp_state *state, const char *option, const char *text,
                     unsigned long least, unsigned long most, unsigned long out[CLI_FARM_LIST_MAX])
{
    char *copy = strdup(text), *rest = copy, *word;
    size_t n = 0;

    if (copy == NULL) {
        cli_no_memory();
    }
    while ((word = strsep(&rest, ",")) != NULL) {
        if (n == CLI_FARM_LIST_MAX) {
            cli_usage(state, "--%s: expected at most %d numbers", option, CLI_FARM_LIST_MAX);
        }
        out[n++] = cli_farm_number(state, option, word, least, most);
    }
    free(copy);
    return n;
}

/* "MEDIAN[:SIGMA]" */
static void read_lengths(struct argp_state *state, const char *option, const char *text,
                         double out[2])
{
    const char *colon = strchr(text, ':');
    char median[NAME_BYTES];

    slice_copy(slice_of(text, colon == NULL ? strlen(text) : (size_t)(colon - text)), median,
               sizeof(median));
    out[0] = read_decimal(state, option, median, 1, 1e6);
    out[1] = colon == NULL ? 0 : read_decimal(state, option, colon + 1, 0, 3);
}

/* "FACTOR:FOR:EACH" */
static void read_burst(struct argp_state *state, const char *text, double out[3])
{
    const char *first = strchr(text, ':');
    const char *second = first == NULL ? NULL : strchr(first + 1, ':');
    char factor[NAME_BYTES];

    if (second == NULL) {
        cli_usage(state, "--burst: expected FACTOR:FOR:EACH, such as 5:10s:60s, not '%s'", text);
    }
    slice_copy(slice_of(text, (size_t)(first - text)), factor, sizeof(factor));
    out[0] = read_decimal(state, "burst", factor, 1, 1000);
    out[1] = read_time(state, "burst", slice_of(first + 1, (size_t)(second - first - 1)));
    out[2] = read_time(state, "burst", slice_str(second + 1));
    if (!(out[1] >= 1 && out[1] < out[2])) {
        cli_usage(state, "--burst: expected a time that is shorter than the period, not '%s'",
                  text);
    }
}

static bool parse_load(int key, const char *arg, struct argp_state *state, struct cli_farm *o)
{
    switch (key) {
    case OPTION_REQUESTS:
        o->requests = cli_farm_number(state, "requests", arg, 1, 1000UL * 1000 * 1000);
        return true;
    case OPTION_RATE:
        o->per_s = read_decimal(state, "rate", arg, 1e-6, 1e6);
        return true;
    case OPTION_BURST:
        read_burst(state, arg, o->burst);
        return true;
    case OPTION_WEIGHTS:
        o->weight_count = cli_farm_list(state, "weights", arg, 1, 10000, o->weights);
        return true;
    case OPTION_TENANT_SKEW:
        o->tenant_skew = read_decimal(state, "tenant-skew", arg, 0, 10);
        return true;
    case OPTION_MODEL_SKEW:
        o->model_skew = read_decimal(state, "model-skew", arg, 0, 10);
        return true;
    case OPTION_PROMPT:
        read_lengths(state, "prompt", arg, o->prompt);
        return true;
    case OPTION_ANSWER:
        read_lengths(state, "answer", arg, o->answer);
        return true;
    case OPTION_TURNS:
        o->turns = read_decimal(state, "turns", arg, 1, 20);
        return true;
    case OPTION_PAUSE:
        o->pause_us = read_time(state, "pause", slice_str(arg));
        return true;
    default:
        return false;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct cli_farm *o = state->input;

    if (key >= NUMBER_KEY && key < NUMBER_KEY + NUMBER_COUNT) {
        size_t i = (size_t)(key - NUMBER_KEY);

        *number_of(o, i) =
            cli_farm_number(state, numbers[i].option, arg, numbers[i].least, numbers[i].most);
        return 0;
    }
    if (parse_load(key, arg, state, o)) {
        return 0;
    }
    switch (key) {
    case ARGP_KEY_INIT:
        set_defaults(o);
        return 0;
    case OPTION_TRACE:
        o->trace_path = arg;
        return 0;
    case OPTION_SPEED:
        o->speed = read_decimal(state, "speed", arg, 1e-3, 1e6);
        return 0;
    case OPTION_MODEL_MIB:
        o->mib_count = cli_farm_list(state, "model-mib", arg, 1, 1 << 30, o->model_mib);
        return 0;
    case OPTION_LOAD_MS:
        o->load_count = cli_farm_list(state, "load-ms", arg, 0, LOAD_MS_MOST, o->load_ms);
        return 0;
    case OPTION_COLD:
        o->cold = true;
        return 0;
    case OPTION_MIN_RESIDENT:
        o->min_resident_us = read_time(state, "min-resident", slice_str(arg));
        return 0;
    case OPTION_MAX_LOAD_WAIT:
        o->max_load_wait_us = read_time(state, "max-load-wait", slice_str(arg));
        return 0;
    case OPTION_JSON:
        o->json_path = arg;
        return 0;
    case OPTION_SVG:
        o->svg_path = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp farm_argp = {
    .options = options, .parser = parse, .children = cli_help_children};
const struct argp_child cli_farm_children[] = {{.argp = &farm_argp}, {0}};

/* --- what is made of them --------------------------------------------------------------------- */

static int read_trace(struct cli_farm *o)
{
    const char *path = strcmp(o->trace_path, "-") == 0 ? NULL : o->trace_path;
    struct buf text = {0};
    struct slice rest;
    struct err e = {0};
    int error = cli_input_file(path, TRACE_BYTES_MAX, &text), rc = MCP_OK;
    size_t line = 0;

    if (error != 0) {
        cli_error("%s: %s", o->trace_path, error == EFBIG ? "larger than 2 GiB" : strerror(error));
        buf_fini(&text);
        return CLI_EXIT_USAGE;
    }
    o->trace = farm_trace_new();
    for (rest = buf_slice(&text); rest.len > 0 && rc == MCP_OK;) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.ptr);

        line++;
        rc = farm_trace_add(o->trace, slice_first(rest, len), &e);
        if (rc != MCP_OK && end == NULL && line > 1) { /* cut while it was written */
            rc = MCP_OK;
        }
        rest = slice_skip(rest, end == NULL ? len : len + 1);
    }
    buf_fini(&text);
    if (rc == MCP_OK) {
        line = 0;
        rc = farm_trace_ready(o->trace, &e);
    }
    if (rc != MCP_OK && line > 0) {
        cli_error("%s:%zu: %s; see mcpgate record", o->trace_path, line, e.text);
    } else if (rc != MCP_OK) {
        cli_error("%s: %s", o->trace_path, e.text);
    }
    return rc == MCP_OK ? CLI_EXIT_OK : CLI_EXIT_USAGE;
}

static struct slice make_name(char *at, char kind, size_t number)
{
    int len = snprintf(at, NAME_BYTES, "%c%zu", kind, number + 1);

    return slice_of(at, (size_t)len);
}

static void make_models(struct cli_farm *o)
{
    o->model_count = o->trace == NULL ? o->models : farm_trace_models(o->trace);
    o->tenant_count = o->trace == NULL ? o->tenants : farm_trace_tenants(o->trace);
    o->names = xcalloc(o->model_count + o->tenant_count, NAME_BYTES);
    o->model_list = xcalloc(o->model_count, sizeof(*o->model_list));
    o->tenant_names = xcalloc(o->tenant_count, sizeof(*o->tenant_names));
    o->tenant_weights = xcalloc(o->tenant_count, sizeof(*o->tenant_weights));
    for (size_t i = 0; i < o->model_count; i++) {
        o->model_list[i] = (struct farm_model){
            .name = o->trace == NULL ? make_name(&o->names[i * NAME_BYTES], 'm', i)
                                     : farm_trace_model(o->trace, i),
            .bytes = (uint64_t)o->model_mib[i % o->mib_count] << MIB_BITS,
            .load_us = (uint64_t)o->load_ms[i % o->load_count] * 1000,
        };
    }
    for (size_t i = 0; i < o->tenant_count; i++) {
        o->tenant_names[i] = make_name(&o->names[(o->model_count + i) * NAME_BYTES], 't', i);
        o->tenant_weights[i] = (unsigned)o->weights[i % o->weight_count];
    }
}

static void make_load(struct cli_farm *o)
{
    o->load = (struct farm_load){
        .requests = o->requests,
        .per_s = o->per_s,
        .burst_factor = o->burst[0],
        .burst_us = (uint64_t)o->burst[1],
        .burst_each_us = (uint64_t)o->burst[2],
        .tenants = o->tenant_names,
        .weights = o->tenant_weights,
        .tenant_count = o->tenant_count,
        .tenant_skew = o->tenant_skew,
        .model_count = o->model_count,
        .model_skew = o->model_skew,
        .prompt_tokens = o->prompt[0],
        .prompt_sigma = o->prompt[1],
        .answer_tokens = o->answer[0],
        .answer_sigma = o->answer[1],
        .system_tokens = (uint32_t)o->system,
        .turns = o->turns,
        .pause_us = o->pause_us,
        .batch_share = (double)o->batch / 100,
        .seed = o->seed,
    };
}

int cli_farm_make(struct cli_farm *o)
{
    int rc = o->trace_path == NULL ? CLI_EXIT_OK : read_trace(o);

    if (rc != CLI_EXIT_OK) {
        return rc;
    }
    make_models(o);
    make_load(o);
    if (o->model_count * o->tenant_count > PAIRS_MOST) {
        cli_error("%zu models of %zu tenants: at most %d of both multiplied", o->model_count,
                  o->tenant_count, PAIRS_MOST);
        return CLI_EXIT_USAGE;
    }
    if (o->trace != NULL) {
        o->requests = farm_trace_requests(o->trace);
        farm_trace_means(o->trace, &o->prompt_tokens, &o->answer_tokens);
        if (farm_trace_dropped(o->trace) > 0) {
            cli_warning("the recording lacks requests that were dropped while it was made");
        }
    } else {
        farm_load_means(&o->load, o->prompt_cache > 0, &o->prompt_tokens, &o->answer_tokens);
    }
    return CLI_EXIT_OK;
}

void cli_farm_fini(struct cli_farm *o)
{
    farm_trace_free(&o->trace);
    free(o->names);
    free(o->model_list);
    free(o->tenant_names);
    free(o->tenant_weights);
}

size_t cli_farm_nodes_most(const struct cli_farm *o)
{
    size_t most = PAIRS_MOST / o->model_count;

    return most < FARM_NODES_MAX ? most : FARM_NODES_MAX;
}

struct farm_node cli_farm_node(const struct cli_farm *o, uint32_t slots)
{
    return (struct farm_node){
        .slots = slots,
        .told_slots = slots,
        .memory_bytes = (uint64_t)o->memory_mib << MIB_BITS,
        .prompt_us = (double)o->prompt_us,
        .token_us = (double)(o->decode_us + o->decode_slot_us),
        .batch_us = (double)o->decode_slot_us,
        .prompts_in_turn = true,
        .prompts = (uint32_t)o->prompt_cache,
    };
}

bool cli_farm_node_set(struct farm_node *node, struct slice name, unsigned long value)
{
    double decode_us = node->token_us - node->batch_us;

    if (value > US_MOST) {
        return false;
    }
    if (slice_eq(name, SLICE("slots")) && value > 0) {
        node->slots = node->told_slots = (uint32_t)value;
    } else if (slice_eq(name, SLICE("memory-mib"))) {
        node->memory_bytes = (uint64_t)value << MIB_BITS;
    } else if (slice_eq(name, SLICE("prompt-us"))) {
        node->prompt_us = (double)value;
    } else if (slice_eq(name, SLICE("decode-us"))) {
        node->token_us = (double)value + node->batch_us;
    } else if (slice_eq(name, SLICE("decode-slot-us"))) {
        node->batch_us = (double)value;
        node->token_us = decode_us + (double)value;
    } else if (slice_eq(name, SLICE("prompt-cache"))) {
        node->prompts = (uint32_t)value;
    } else {
        return false;
    }
    return true;
}

double cli_farm_per_s(const struct cli_farm *o)
{
    double seconds = o->trace == NULL ? 0 : farm_trace_seconds(o->trace) / o->speed;

    if (o->trace == NULL) {
        return o->per_s;
    }
    return seconds > 0 ? (double)o->requests / seconds : (double)o->requests;
}

double cli_farm_node_per_s(const struct cli_farm *o, const struct farm_node *node)
{
    double prompt_us = o->prompt_tokens * node->prompt_us;
    double step_us = node->token_us + node->batch_us * (node->slots - 1);
    double slot_us = (prompt_us + o->answer_tokens * step_us) / node->slots;
    double each_us = slot_us > prompt_us ? slot_us : prompt_us;

    return 1e6 / (each_us < 1 ? 1 : each_us);
}
