/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/farm_options.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    NAME_BYTES = 16,
    LOAD_MS_MOST = 3600 * 1000
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
