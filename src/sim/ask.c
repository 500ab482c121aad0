/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    struct slice method;
    struct slice path;
} routes[] = {
#define SIM_ROUTE(op, method, path)                                                                \
    [SIM_OP_##op] = {{method, sizeof(method) - 1}, {path, sizeof(path) - 1}},
#include "sim/route.def"
#undef SIM_ROUTE
};

enum { NUMBER_MAX = 1 << 20 };

static bool refuse(struct sim_refusal *why, unsigned status, const char *text)
{
    why->status = status;
    (void)snprintf(why->text, sizeof(why->text), "%s", text);
    return false;
}

enum sim_route sim_route_find(struct slice method, struct slice target, enum sim_op *op)
{
    const char *query = memchr(target.ptr, '?', target.len);
    struct slice path = query == NULL ? target : slice_first(target, (size_t)(query - target.ptr));

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!slice_eq(path, routes[i].path)) {
            continue;
        }
        *op = (enum sim_op)i;
        if (slice_eq(method, routes[i].method) ||
            (slice_eq(method, SLICE("HEAD")) && slice_eq(routes[i].method, SLICE("GET")))) {
            return SIM_ROUTE_FOUND;
        }
        return SIM_ROUTE_NO_METHOD;
    }
    return SIM_ROUTE_NO_PATH;
}

/* --- values
 * -------------------------------------------------------------------------------------------- */

static struct slice inside(const struct json_member *m)
{
    return m->kind == JSON_STRING ? slice_of(m->value.ptr + 1, m->value.len - 2) : slice_of("", 0);
}

static uint32_t small_number(const struct json_member *m)
{
    uint64_t n = 0;

    if (m->kind != JSON_NUMBER || !json_uint(m->value, &n)) {
        return 0; /* -1 and -2 of num_predict: as many as the model likes */
    }
    return n > NUMBER_MAX ? NUMBER_MAX : (uint32_t)n;
}

/* "5m", "1h30m", "0.5s", "-1": a Go duration, or seconds. */
static bool read_duration(struct slice text, bool is_number, int64_t *us)
{
    static const struct {
        const char *name;
        double us;
    } units[] = {{"ms", 1e3}, {"us", 1}, {"ns", 1e-3}, {"h", 3600e6}, {"m", 60e6}, {"s", 1e6}};
    char copy[64];
    char *at = copy;
    bool negative;
    double sum = 0;

    if (text.len == 0 || text.len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    negative = *at == '-';
    at += negative;
    while (*at != '\0') {
        char *end;
        double number = strtod(at, &end);
        size_t unit = 0, count = sizeof(units) / sizeof(units[0]);

        if (end == at || !(number >= 0)) {
            return false;
        }
        if (*end == '\0' && at == copy + negative) { /* a bare number */
            sum = number * 1e6;
            break;
        }
        while (unit < count && strncmp(end, units[unit].name, strlen(units[unit].name)) != 0) {
            unit++;
        }
        if (unit == count || is_number) {
            return false;
        }
        sum += number * units[unit].us;
        at = end + strlen(units[unit].name);
    }
    *us = negative && sum > 0 ? -1 : sum > 1e17 ? (int64_t)1e17 : (int64_t)sum;
    return true;
}

static void read_options(struct sim_ask *ask, struct slice text)
{
    struct json_walk w;
    struct json_member m;

    if (json_walk_begin(&w, text, JSON_OBJECT) != JSON_OK) {
        return;
    }
    while (json_walk_next(&w, &m) == JSON_OK) {
        if (slice_eq(m.key, SLICE("num_predict"))) {
            ask->tokens = small_number(&m);
        } else if (slice_eq(m.key, SLICE("num_ctx"))) {
            ask->context = small_number(&m);
        } else if (slice_eq(m.key, SLICE("sim_gap_ms"))) {
            ask->has_gap = m.kind == JSON_NUMBER;
            ask->gap_us = (uint64_t)small_number(&m) * 1000;
        } else if (slice_eq(m.key, SLICE("sim_fault"))) {
            ask->fault = inside(&m);
        }
    }
}

static void read_stream_options(struct sim_ask *ask, struct slice text)
{
    struct json_member m;

    ask->usage =
        json_find(text, SLICE("include_usage"), &m) == JSON_OK && slice_eq(m.value, SLICE("true"));
}

/* --- bodies
 * -------------------------------------------------------------------------------------------- */

static struct slice text_key(enum sim_op op)
{
    switch (op) {
    case SIM_OP_CHAT:
    case SIM_OP_V1_CHAT:
        return SLICE("messages");
    case SIM_OP_EMBED:
        return SLICE("input");
    default:
        return SLICE("prompt");
    }
}

static bool read_member(struct sim_ask *ask, const struct json_member *m, struct sim_refusal *why)
{
    struct slice key = m->key;

    if (slice_eq(key, SLICE("model"))) {
        if (m->kind != JSON_STRING) {
            return refuse(why, 400, "model: expected a string");
        }
        ask->model = inside(m);
    } else if (slice_eq(key, SLICE("stream"))) {
        if (m->kind != JSON_BOOL && m->kind != JSON_NULL) {
            return refuse(why, 400, "stream: expected a bool");
        }
        ask->stream = m->kind == JSON_BOOL ? m->value.ptr[0] == 't' : ask->stream;
    } else if (slice_eq(key, text_key(ask->op))) {
        ask->text = m->kind == JSON_STRING && !sim_op_embeds(ask->op) ? inside(m) : m->value;
        ask->text_kind = m->kind;
    } else if (slice_eq(key, SLICE("options"))) {
        read_options(ask, m->value);
    } else if (slice_eq(key, SLICE("system"))) {
        ask->system = inside(m);
    } else if (slice_eq(key, SLICE("max_tokens"))) {
        ask->tokens = sim_op_is_v1(ask->op) ? small_number(m) : ask->tokens;
    } else if (slice_eq(key, SLICE("stream_options"))) {
        read_stream_options(ask, m->value);
    } else if (slice_eq(key, SLICE("dimensions"))) {
        ask->dimensions = small_number(m);
    } else if (slice_eq(key, SLICE("truncate"))) {
        ask->truncate = m->value.ptr[0] != 'f';
    } else if (slice_eq(key, SLICE("keep_alive")) && m->kind != JSON_NULL) {
        bool number = m->kind == JSON_NUMBER;

        ask->has_keep_alive = true;
        if (!read_duration(number ? m->value : inside(m), number, &ask->keep_alive_us)) {
            return refuse(why, 400, "keep_alive: expected a duration such as \"5m\", or seconds");
        }
    }
    return true;
}

static bool check(struct sim_ask *ask, struct sim_refusal *why)
{
    enum json_kind kind = ask->text_kind;

    if (ask->model.len == 0) {
        return refuse(why, 400, "model is required");
    }
    switch (ask->op) {
    case SIM_OP_EMBED:
        if (kind != JSON_STRING && kind != JSON_ARRAY) {
            return refuse(why, 400, "invalid input type");
        }
        break;
    case SIM_OP_CHAT:
    case SIM_OP_V1_CHAT:
        if (kind != JSON_ARRAY && kind != JSON_NULL) {
            return refuse(why, 400, "messages: expected an array");
        }
        break;
    default:
        if (kind != JSON_STRING && kind != JSON_NULL) {
            return refuse(why, 400, "prompt: expected a string");
        }
        break;
    }
    if (sim_op_is_v1(ask->op) && sim_ask_loads(ask)) {
        return refuse(why, 400,
                      ask->op == SIM_OP_V1_CHAT ? "[] is too short - 'messages'"
                                                : "prompt is required");
    }
    return true;
}

bool sim_ask_read(struct sim_ask *ask, enum sim_op op, struct slice body, struct sim_refusal *why)
{
    struct json_walk w;
    struct json_member m;
    enum json_status status;

    *ask = (struct sim_ask){
        .op = op,
        .stream = op == SIM_OP_GENERATE || op == SIM_OP_CHAT,
        .truncate = true,
    };
    if (body.len == 0) {
        return refuse(why, 400, "missing request body");
    }
    status = json_walk_begin(&w, body, JSON_OBJECT);
    while (status == JSON_OK && (status = json_walk_next(&w, &m)) == JSON_OK) {
        if (!read_member(ask, &m, why)) {
            return false;
        }
    }
    if (status != JSON_END) {
        return refuse(why, 400, "the body is no JSON object");
    }
    return check(ask, why);
}

bool sim_ask_loads(const struct sim_ask *ask)
{
    struct json_walk w;
    struct json_member m;

    if (sim_op_embeds(ask->op)) {
        return false;
    }
    if (ask->text_kind == JSON_ARRAY) {
        return json_walk_begin(&w, ask->text, JSON_ARRAY) == JSON_OK &&
               json_walk_next(&w, &m) == JSON_END;
    }
    return ask->text_kind == JSON_NULL || ask->text.len == 0;
}

bool sim_model_is(struct slice escaped, const char *listed)
{
    const struct slice latest = SLICE(":latest");
    struct slice name = slice_str(listed);

    if (slice_eq(escaped, name)) {
        return true;
    }
    if (memchr(escaped.ptr, '\\', escaped.len) != NULL) {
        const struct json_member m = {.key = escaped, .key_escaped = true};

        return json_key_is(&m, name);
    }
    return name.len == escaped.len + latest.len && slice_starts(name, escaped) &&
           slice_eq(slice_skip(name, escaped.len), latest);
}
