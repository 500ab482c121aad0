/* SPDX-License-Identifier: Apache-2.0 */
/* What the options of a simulated cluster amount to: its models, tenants, requests and nodes. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/farm_options.h"
#include "cli/input.h"
#include "cli/text.h"

enum {
    MIB_BITS = 20,
    NAME_BYTES = 16,
    TRACE_BYTES_MAX = INT_MAX,
    US_MOST = 10 * 1000 * 1000,
    PAIRS_MOST = 2 * 1000 * 1000 /* of models and nodes, each some 400 bytes; or tenants */
};

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
