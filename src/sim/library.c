/* SPDX-License-Identifier: Apache-2.0 */
/* The models that a simulated node has, and requests that change which: pull, create, copy, delete.
 * Nothing is fetched: a pull takes the time that the profile says (pull-ms) and ends with a model
 * of that name whose digest follows from it, as on every other simulated node. */
#include "sim/library.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "codec/model_name.h"
#include "sim/random.h"
#include "sim/server_internal.h"

enum { PULL_STEPS = 10 }; /* lines that tell how much is there */

static const struct slice json_type = {"application/json; charset=utf-8", 31};
static const struct slice success = {"{\"status\":\"success\"}", 20};

/* --- which models there are ------------------------------------------------------------------- */

ptrdiff_t sim_server_find(const struct sim_server *s, struct slice escaped)
{
    for (size_t i = 0; i < s->model_count; i++) {
        if (s->models[i].name != NULL && sim_model_is(escaped, s->models[i].name)) {
            return (ptrdiff_t)i;
        }
    }
    for (size_t i = 0; i < s->model_count; i++) { /* slower, and seldom needed */
        if (s->models[i].name != NULL && model_name_same(escaped, slice_str(s->models[i].name))) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

void sim_digest_of(struct slice bytes, char digest[SIM_DIGEST_BYTES])
{
    const struct slice latest = SLICE(":latest");
    uint64_t hash;

    if (bytes.len > latest.len && slice_eq(slice_skip(bytes, bytes.len - latest.len), latest)) {
        bytes = slice_first(bytes, bytes.len - latest.len); /* names of one model */
    }
    hash = sim_hash(0, bytes);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(digest + 16 * i, 17, "%016" PRIx64, sim_random_next(&hash));
    }
}

/* With the tag that it has unless another is said; NULL: out of memory. */
static char *listed_name(struct slice name)
{
    bool tagged = memchr(name.ptr, ':', name.len) != NULL;
    struct buf text = {0};
    char *copy = NULL;

    if (buf_append(&text, name) && buf_append_str(&text, tagged ? "" : ":latest")) {
        copy = slice_dup(buf_slice(&text));
    }
    buf_fini(&text);
    return copy;
}

/* A place for one more, which the engine knows too. False: out of memory. */
static bool make_room(struct sim_server *s)
{
    struct sim_model *models = realloc(s->models, (s->model_count + 1) * sizeof(*models));

    if (models == NULL) {
        return false;
    }
    s->models = models;
    if (s->engine != NULL && !sim_engine_add_model(s->engine)) {
        return false;
    }
    s->models[s->model_count++] = (struct sim_model){.name = NULL};
    return true;
}

bool sim_library_add(struct sim_server *s, struct slice name, const char *digest)
{
    ptrdiff_t at = sim_server_find(s, name);
    size_t free_at = 0;
    char *listed;

    if (at < 0) {
        listed = listed_name(name);
        while (free_at < s->model_count && s->models[free_at].name != NULL) {
            free_at++;
        }
        if (listed == NULL || (free_at == s->model_count && !make_room(s))) {
            free(listed);
            return false;
        }
        s->models[free_at].name = listed;
        at = (ptrdiff_t)free_at;
    }
    slice_copy(slice_str(digest), s->models[at].digest, sizeof(s->models[at].digest));
    return true;
}

static void take_out(struct sim_server *s, size_t model)
{
    free(s->models[model].name);
    s->models[model].name = NULL;
    if (s->engine != NULL) {
        sim_engine_unload(s->engine, model, loop_now_us(s->loop));
        sim_server_poke(s);
    }
}

/* --- pull and create -------------------------------------------------------------------------- */

static void fail_no_memory(struct sim_conn *c)
{
    sim_conn_refuse(c, 500, SLICE("out of memory"));
}

static bool put_in(struct sim_conn *c)
{
    return sim_library_add(c->server, buf_slice(&c->change.name), c->change.digest);
}

/* The line of that step into the server's text; false: there is none, all is done. */
static bool write_step(struct sim_conn *c, unsigned step)
{
    static const char *const last_steps[] = {"verifying sha256 digest", "writing manifest"};
    const struct sim_change *ch = &c->change;
    struct buf *out = &c->server->text;
    uint64_t total = c->server->profile.model_mib << 20;
    uint64_t done = ch->is_known ? total : total / PULL_STEPS * (step - 1);

    buf_clear(out);
    if (step == 0) {
        (void)buf_append_str(out, c->op == SIM_OP_PULL
                                      ? "{\"status\":\"pulling manifest\"}\n"
                                      : "{\"status\":\"gathering model components\"}\n");
    } else if (step <= PULL_STEPS + 1) {
        (void)buf_printf(
            out, "{\"status\":\"pulling %.12s\",\"digest\":\"sha256:%s\",\"total\":%" PRIu64,
            ch->digest, ch->digest, total);
        if (done > 0) {
            (void)buf_printf(out, ",\"completed\":%" PRIu64, step == PULL_STEPS + 1 ? total : done);
        }
        (void)buf_append_str(out, "}\n");
    } else if (step <= PULL_STEPS + 3) {
        (void)buf_printf(out, "{\"status\":\"%s\"}\n", last_steps[step - PULL_STEPS - 2]);
    } else {
        return false;
    }
    return true;
}

/* What passes before that step. */
static uint64_t wait_us(const struct sim_conn *c, unsigned step)
{
    bool loads = step > 1 && step <= PULL_STEPS + 1 && !c->change.is_known;

    return loads ? c->server->profile.pull_ms * 1000 / PULL_STEPS : 0;
}

static unsigned next_step(const struct sim_conn *c, unsigned step)
{
    if (c->op == SIM_OP_CREATE && step == 0) {
        return PULL_STEPS + 3;
    }
    return c->change.is_known && step == 1 ? PULL_STEPS + 2 : step + 1;
}

static void on_step(void *owner)
{
    struct sim_conn *c = owner;
    struct sim_change *ch = &c->change;

    while (write_step(c, ch->step)) {
        if (buf_failed(&c->server->text)) {
            sim_conn_close(c, SIM_END_NOW); /* no half line */
            return;
        }
        if (!sim_conn_part(c, buf_slice(&c->server->text))) {
            return; /* a fault has ended it */
        }
        ch->step = next_step(c, ch->step);
        if (wait_us(c, ch->step) > 0) {
            timer_arm_us(c->server->loop, &ch->timer, wait_us(c, ch->step));
            return;
        }
    }
    if (!put_in(c)) {
        sim_conn_close(c, SIM_END_NOW);
        return;
    }
    sim_conn_last_part(c, SLICE("{\"status\":\"success\"}\n"));
}

static void on_whole(void *owner)
{
    struct sim_conn *c = owner;

    if (put_in(c)) {
        sim_conn_reply(c, 200, json_type, success);
    } else {
        fail_no_memory(c);
    }
}

static void on_timer(void *owner)
{
    struct sim_conn *c = owner;

    (c->stream ? on_step : on_whole)(owner);
}

static void begin(struct sim_conn *c)
{
    struct sim_change *ch = &c->change;
    uint64_t whole_us =
        c->op == SIM_OP_CREATE || ch->is_known ? 0 : c->server->profile.pull_ms * 1000;

    ch->step = 0;
    timer_arm_us(c->server->loop, &ch->timer, c->stream ? 0 : whole_us);
}

/* --- what is asked ---------------------------------------------------------------------------- */

/* The text of the first of two members that has one; false: neither, or out of memory. */
static bool read_text(struct slice body, struct slice key, struct slice other, struct buf *out)
{
    struct json_member m;

    buf_clear(out);
    if ((json_find(body, key, &m) != JSON_OK || m.kind != JSON_STRING || m.value.len <= 2) &&
        (json_find(body, other, &m) != JSON_OK || m.kind != JSON_STRING || m.value.len <= 2)) {
        return false;
    }
    return json_unescape(m.value, out);
}

static void refuse_missing(struct sim_conn *c, char quote, struct slice name)
{
    struct buf text = {0};

    (void)buf_printf(&text, "model %c%.*s%c not found", quote, SLICE_ARG(name), quote);
    sim_conn_refuse(c, 404, buf_slice(&text));
    buf_fini(&text);
}

static void pull(struct sim_conn *c)
{
    struct sim_change *ch = &c->change;
    ptrdiff_t at;

    sim_digest_of(buf_slice(&ch->name), ch->digest);
    at = sim_server_find(c->server, buf_slice(&ch->name));
    ch->is_known = at >= 0 && strcmp(c->server->models[at].digest, ch->digest) == 0;
    begin(c);
}

static void create(struct sim_conn *c, struct slice body)
{
    struct buf from = {0};

    if (!read_text(body, SLICE("from"), SLICE("from"), &from)) {
        sim_conn_refuse(c, 400, SLICE("neither 'from' or 'files' was specified"));
    } else if (sim_server_find(c->server, buf_slice(&from)) < 0) {
        refuse_missing(c, '\'', buf_slice(&from));
    } else {
        sim_digest_of(body, c->change.digest);
        begin(c);
    }
    buf_fini(&from);
}

static void copy(struct sim_conn *c, struct slice body)
{
    struct sim_server *s = c->server;
    ptrdiff_t at = sim_server_find(s, buf_slice(&c->change.name));

    if (at < 0) {
        refuse_missing(c, '"', buf_slice(&c->change.name));
        return;
    }
    memcpy(c->change.digest, s->models[at].digest, sizeof(c->change.digest));
    if (!read_text(body, SLICE("destination"), SLICE("destination"), &c->change.name)) {
        sim_conn_refuse(c, 400, SLICE("destination is required"));
    } else if (put_in(c)) {
        sim_conn_reply(c, 200, SLICE(""), SLICE(""));
    } else {
        fail_no_memory(c);
    }
}

static void delete_model(struct sim_conn *c)
{
    ptrdiff_t at = sim_server_find(c->server, buf_slice(&c->change.name));

    if (at < 0) {
        refuse_missing(c, '\'', buf_slice(&c->change.name));
        return;
    }
    take_out(c->server, (size_t)at);
    sim_conn_reply(c, 200, SLICE(""), SLICE(""));
}

void sim_library_begin(struct sim_conn *c, struct slice body)
{
    bool copies = c->op == SIM_OP_COPY;
    struct json_member m;

    if (!sim_conn_takes_fault(c)) {
        return;
    }
    if (!read_text(body, copies ? SLICE("source") : SLICE("model"),
                   copies ? SLICE("source") : SLICE("name"), &c->change.name)) {
        sim_conn_refuse(c, 400, copies ? SLICE("source is required") : SLICE("model is required"));
        return;
    }
    c->stream = (c->op == SIM_OP_PULL || c->op == SIM_OP_CREATE) &&
                (json_find(body, SLICE("stream"), &m) != JSON_OK || m.value.ptr[0] != 'f');
    c->change.is_known = false;
    switch (c->op) {
    case SIM_OP_PULL:
        pull(c);
        break;
    case SIM_OP_CREATE:
        create(c, body);
        break;
    case SIM_OP_COPY:
        copy(c, body);
        break;
    default:
        delete_model(c);
        break;
    }
}

void sim_library_init(struct sim_conn *c)
{
    timer_init(&c->change.timer, on_timer, c);
}

void sim_library_end(struct sim_conn *c)
{
    timer_cancel(c->server->loop, &c->change.timer);
}

void sim_library_fini(struct sim_conn *c)
{
    buf_fini(&c->change.name);
}
