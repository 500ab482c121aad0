/* SPDX-License-Identifier: Apache-2.0 */
/* What can be read of a simulated node: catalogue, loaded models, one model, version, counts. */
#include <inttypes.h>

#include "base/json_scan.h"
#include "sim/server_internal.h"

#define DETAILS                                                                                    \
    "\"details\":{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"simulated\","             \
    "\"families\":[\"simulated\"],\"parameter_size\":\"8.0B\",\"quantization_level\":\"Q4_0\"}"
#define CAPABILITIES "\"capabilities\":[\"completion\",\"embedding\"]"

static void add_model(struct sim_server *s, const struct sim_model *m)
{
    struct buf *out = &s->text;
    struct slice name = slice_str(m->name);

    (void)buf_append_str(out, "{\"name\":");
    (void)json_append_string(out, name);
    (void)buf_append_str(out, ",\"model\":");
    (void)json_append_string(out, name);
    (void)buf_printf(out, ",\"size\":%" PRIu64 ",\"digest\":\"%s\"," DETAILS,
                     s->profile.model_mib << 20, m->digest);
}

static void tags(struct sim_server *s)
{
    char modified[SIM_TIME_BYTES];
    const char *comma = "";

    sim_time_format(s->started_wall_us, modified);
    (void)buf_append_str(&s->text, "{\"models\":[");
    for (size_t i = 0; i < s->model_count; i++) {
        if (s->models[i].name == NULL) {
            continue;
        }
        (void)buf_append_str(&s->text, comma);
        comma = ",";
        add_model(s, &s->models[i]);
        (void)buf_printf(&s->text, ",\"modified_at\":\"%s\"," CAPABILITIES "}", modified);
    }
    (void)buf_append_str(&s->text, "]}");
}

/* Without an engine all models are there, and stay. */
static struct sim_model_state state_of(const struct sim_server *s, size_t model)
{
    struct sim_model_state state = {
        .loaded = true,
        .context = s->profile.context,
        .expires_us = UINT64_MAX,
    };

    if (s->engine != NULL) {
        sim_engine_model(s->engine, model, loop_now_us(s->loop), &state);
    }
    return state;
}

static void ps(struct sim_server *s)
{
    static const uint64_t for_ever_us = (uint64_t)10000000000 * 1000000; /* the year 2286 */
    uint64_t wall = loop_wall_us(s->loop), now = loop_now_us(s->loop);
    const char *comma = "";

    (void)buf_append_str(&s->text, "{\"models\":[");
    for (size_t i = 0; i < s->model_count; i++) {
        struct sim_model_state state = state_of(s, i);
        char expires[SIM_TIME_BYTES];

        if (!state.loaded || s->models[i].name == NULL) {
            continue;
        }
        sim_time_format(state.expires_us == UINT64_MAX ? for_ever_us
                        : state.expires_us > now       ? wall + (state.expires_us - now)
                                                       : wall,
                        expires);
        (void)buf_append_str(&s->text, comma);
        add_model(s, &s->models[i]);
        (void)buf_printf(&s->text,
                         ",\"expires_at\":\"%s\",\"size_vram\":%" PRIu64
                         ",\"context_length\":%" PRIu64 "}",
                         expires, s->profile.model_mib << 20, state.context);
        comma = ",";
    }
    (void)buf_append_str(&s->text, "]}");
}

static void v1_models(struct sim_server *s)
{
    const char *begin = "{\"id\":";

    (void)buf_append_str(&s->text, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < s->model_count; i++) {
        if (s->models[i].name == NULL) {
            continue;
        }
        (void)buf_append_str(&s->text, begin);
        begin = ",{\"id\":";
        (void)json_append_string(&s->text, slice_str(s->models[i].name));
        (void)buf_printf(&s->text,
                         ",\"object\":\"model\",\"created\":%" PRIu64 ",\"owned_by\":\"library\"}",
                         s->started_wall_us / 1000000);
    }
    (void)buf_append_str(&s->text, "]}");
}

static void stats(struct sim_server *s)
{
    static const struct sim_totals none;
    const struct sim_totals *t = s->engine == NULL ? &none : sim_engine_totals(s->engine);
    const struct sim_counts *n = &s->counts;
    size_t busy = 0, waiting = s->engine == NULL ? 0 : sim_engine_pending(s->engine);

    for (size_t i = 0; i < s->model_count; i++) {
        struct sim_model_state state = state_of(s, i);

        busy += state.busy;
        waiting += state.waiting;
    }
    (void)buf_printf(
        &s->text,
        "{\"simulated\":true,\"profile\":\"%s\",\"connections\":%zu,\"requests\":%" PRIu64
        ",\"calls\":%" PRIu64 ",\"done\":%" PRIu64 ",\"cancelled\":%" PRIu64 ",\"refused\":%" PRIu64
        ",\"faults\":%" PRIu64,
        s->profile.name, s->conns.count, n->requests, n->calls, n->done, n->cancelled, n->refused,
        n->faults);
    (void)buf_printf(&s->text,
                     ",\"slots\":%" PRIu64 ",\"slots_busy\":%zu,\"waiting\":%zu,\"loads\":%" PRIu64
                     ",\"evictions\":%" PRIu64 ",\"expiries\":%" PRIu64 ",\"tokens\":%" PRIu64
                     ",\"prompt_tokens\":%" PRIu64 ",\"cached_tokens\":%" PRIu64
                     ",\"slot_gap_us\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 "}}",
                     s->profile.slots, busy, waiting, t->loads, t->evictions, t->expiries,
                     t->tokens + n->tokens, t->prompt_tokens, t->cached_tokens,
                     s->engine == NULL ? 0 : sim_engine_gap_us(s->engine, 50),
                     s->engine == NULL ? 0 : sim_engine_gap_us(s->engine, 99));
}

/* False: refused. */
static bool set_slots(struct sim_conn *c, struct slice body)
{
    struct sim_server *s = c->server;
    struct json_member m;
    uint64_t slots = 0;

    if (json_find(body, SLICE("slots"), &m) == JSON_OK && m.kind == JSON_NUMBER) {
        (void)json_uint(m.value, &slots);
    }
    if (s->engine == NULL || !sim_engine_set_slots(s->engine, slots, loop_now_us(s->loop))) {
        sim_conn_refuse(c, 400, SLICE("slots: expected a number, from 1 to what it began with"));
        return false;
    }
    s->profile.slots = slots;
    sim_server_poke(s);
    (void)buf_printf(&s->text, "{\"slots\":%" PRIu64 "}", slots);
    return true;
}

/* False: refused. */
static bool show(struct sim_conn *c, struct slice body)
{
    struct sim_server *s = c->server;
    struct sim_refusal why;
    struct sim_ask ask;

    if (!sim_ask_read(&ask, SIM_OP_SHOW, body, &why)) {
        sim_conn_refuse(c, why.status, slice_str(why.text));
        return false;
    }
    if (sim_server_find(s, ask.model) < 0) {
        struct buf text = {0};

        (void)buf_printf(&text, "model '%.*s' not found", SLICE_ARG(ask.model));
        sim_conn_refuse(c, 404, buf_slice(&text));
        buf_fini(&text);
        return false;
    }
    (void)buf_printf(&s->text,
                     "{\"modelfile\":\"FROM simulated\\n\",\"parameters\":\"\",\"template\":"
                     "\"{{ .Prompt }}\"," DETAILS ",\"model_info\":{\"general.architecture\":"
                     "\"simulated\",\"simulated.context_length\":%" PRIu64
                     ",\"simulated.embedding_length\":%" PRIu64 "}," CAPABILITIES "}",
                     s->profile.context, s->profile.dimensions);
    return true;
}

void sim_page_reply(struct sim_conn *c, struct slice body)
{
    struct sim_server *s = c->server;

    buf_clear(&s->text);
    switch (c->op) {
    case SIM_OP_ROOT:
        sim_conn_reply(c, 200, SLICE("text/plain; charset=utf-8"), SLICE("Ollama is running"));
        return;
    case SIM_OP_VERSION:
        (void)buf_append_str(&s->text, "{\"version\":\"0.33.0\",\"simulated\":true}");
        break;
    case SIM_OP_TAGS:
        tags(s);
        break;
    case SIM_OP_PS:
        ps(s);
        break;
    case SIM_OP_V1_MODELS:
        v1_models(s);
        break;
    case SIM_OP_STATS:
        stats(s);
        break;
    case SIM_OP_SLOTS:
        if (!set_slots(c, body)) {
            return;
        }
        break;
    default:
        if (!show(c, body)) {
            return;
        }
        break;
    }
    if (buf_failed(&s->text)) {
        sim_conn_refuse(c, 500, SLICE("out of memory"));
    } else {
        sim_conn_reply(c, 200, SLICE("application/json; charset=utf-8"), buf_slice(&s->text));
    }
}
