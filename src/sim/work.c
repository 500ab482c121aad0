/* SPDX-License-Identifier: Apache-2.0 */
/* A call to a model. Profile echo answers at once, from bytes made beforehand where nothing stands
 * against it; with a gap it writes part by part. Otherwise the engine says when each token is made.
 */
#include "base/check.h"
#include "sim/server_internal.h"

enum { PARTS_PER_TURN = 256 };

static const struct slice json_type = {"application/json; charset=utf-8", 31};

static struct sim_conn *conn_of(void *owner)
{
    struct sim_conn *c = owner;

    OBJ_CHECK(c, SIM_CONN_MAGIC);
    return c;
}

/* --- end
 * -----------------------------------------------------------------------------------------------
 */

void sim_work_end(struct sim_conn *c, enum sim_work_end how)
{
    struct sim_server *s = c->server;

    if (!c->working) {
        return;
    }
    c->working = false;
    if (c->echo != NULL) {
        c->echo->users--;
        c->echo = NULL;
    }
    timer_cancel(s->loop, &c->part_timer);
    task_cancel(s->loop, &c->part_task);
    if (c->call.phase != SIM_NONE) {
        sim_engine_cancel(s->engine, &c->call, loop_now_us(s->loop));
        sim_server_poke(s); /* its slot is free */
    }
    s->counts.done += how == SIM_WORK_ANSWERED;
    s->counts.cancelled += how == SIM_WORK_LEFT;
}

void sim_work_fini(struct sim_conn *c)
{
    buf_fini(&c->model);
    buf_fini(&c->vectors);
    sim_chain_fini(&c->chain);
}

/* --- answers
 * ------------------------------------------------------------------------------------------- */

static void stamp(struct sim_conn *c)
{
    c->answer.wall_us = loop_wall_us(c->server->loop);
    sim_time_format(c->answer.wall_us, c->answer.created_at);
}

/* `whole`: what it was made of is all there. */
static void reply_text(struct sim_conn *c, bool whole)
{
    struct buf *text = &c->server->text;

    if (!whole || buf_failed(text)) {
        sim_conn_refuse(c, 500, SLICE("out of memory"));
    } else {
        sim_conn_reply(c, 200, json_type, buf_slice(text));
    }
}

/* False: a fault has ended the stream. */
static bool send_token(struct sim_conn *c)
{
    struct buf *text = &c->server->text;

    buf_clear(text);
    sim_answer_part(text, &c->answer, sim_word(c->hash, c->sent), c->sent == 0);
    c->sent++;
    if (buf_failed(text)) {
        sim_conn_close(c, SIM_END_NOW); /* no half part */
        return false;
    }
    return sim_conn_part(c, buf_slice(text));
}

static void send_last(struct sim_conn *c)
{
    struct buf *text = &c->server->text;

    stamp(c);
    buf_clear(text);
    sim_answer_last(text, &c->answer);
    if (buf_failed(text)) {
        sim_conn_close(c, SIM_END_NOW);
    } else {
        sim_conn_last_part(c, buf_slice(text));
    }
}

static void send_whole(struct sim_conn *c)
{
    struct buf *text = &c->server->text;
    bool whole = true;

    stamp(c);
    buf_clear(text);
    if (sim_op_embeds(c->op)) {
        whole = !buf_failed(&c->vectors);
        sim_answer_vectors(text, &c->answer, buf_slice(&c->vectors));
    } else if (c->tokens == 0) {
        sim_answer_loaded(text, &c->answer, false);
    } else {
        struct buf words = {0};

        whole = sim_words_append(&words, c->hash, c->tokens);
        sim_answer_whole(text, &c->answer, buf_slice(&words));
        buf_fini(&words);
    }
    reply_text(c, whole);
}

/* --- without an engine
 * --------------------------------------------------------------------------------- */

/* When the next part is due. */
static void arm_part(struct sim_conn *c)
{
    struct loop *loop = c->server->loop;
    uint64_t now = loop_now_us(loop);

    if (!c->has_gap || c->gap_us == 0) {
        task_defer(loop, &c->part_task);
        return;
    }
    c->part_due_us += c->gap_us;
    timer_arm_us(loop, &c->part_timer, c->part_due_us > now ? c->part_due_us - now : 0);
}

static void on_part(void *owner)
{
    struct sim_conn *c = conn_of(owner);
    unsigned budget = c->has_gap ? 1 : PARTS_PER_TURN;

    if (sock_over_high(c->sock)) {
        return; /* goes on when it is drained */
    }
    if (c->echo != NULL) {
        uint32_t piece = c->sent++;

        if (piece < c->tokens) {
            arm_part(c);
        }
        sim_conn_write_made(c, sim_echo_piece(c->echo, piece), piece == c->tokens);
        return;
    }
    stamp(c);
    while (budget > 0 && c->sent < c->tokens && !sock_over_high(c->sock)) {
        if (!send_token(c)) {
            return;
        }
        budget--;
    }
    if (c->sent == c->tokens && budget > 0) {
        send_last(c);
    } else {
        arm_part(c);
    }
}

void sim_work_drained(struct sim_conn *c)
{
    bool writes_parts = c->working && c->stream && c->server->engine == NULL;

    if (writes_parts && c->state == SIM_ANSWERING && !timer_armed(&c->part_timer)) {
        task_defer(c->server->loop, &c->part_task);
    }
}

static void begin_free(struct sim_conn *c)
{
    struct sim_server *s = c->server;

    c->answer.total_us = 1000;
    c->answer.prompt_us = 200;
    c->answer.decode_us = 800;
    s->counts.tokens += c->tokens;
    if (!sim_op_embeds(c->op) && sim_conn_is_plain(c)) {
        c->echo = sim_echo_find(&s->echo, &c->answer, c->stream);
        if (c->echo == NULL) {
            stamp(c);
            c->echo = sim_echo_make(&s->echo, &c->answer, c->stream, c->hash);
        }
    }
    if (c->echo != NULL) {
        c->echo->users++;
        if (!c->stream || !c->has_gap) {
            sim_conn_write_made(c, buf_slice(&c->echo->bytes), true);
            return;
        }
    }
    if (!c->stream) {
        send_whole(c);
        return;
    }
    c->sent = 0;
    c->part_due_us = loop_now_us(s->loop);
    task_defer(s->loop, &c->part_task); /* so that the second part is not in the same turn */
}

/* --- with one
 * ------------------------------------------------------------------------------------------ */

void sim_work_event(struct sim_conn *c, const struct sim_event *ev)
{
    struct sim_answer *a = &c->answer;
    const struct sim_call *call = &c->call;

    if (c->state != SIM_ANSWERING) {
        return; /* fault hang: nobody hears of it */
    }
    stamp(c);
    for (uint32_t i = 0; c->stream && i < ev->tokens; i++) {
        if (!send_token(c)) {
            return;
        }
    }
    if (!ev->done) {
        return;
    }
    a->total_us = call->ended_us - call->submitted_us;
    a->load_us = call->ready_us - call->submitted_us;
    if (call->items > 0) {
        a->prompt_us = call->decode_us - call->started_us;
        a->decode_us = call->ended_us - call->decode_us;
    }
    if (c->stream) {
        send_last(c);
    } else {
        send_whole(c);
    }
}

static bool submit(struct sim_conn *c)
{
    struct sim_server *s = c->server;

    switch (sim_engine_submit(s->engine, &c->call, loop_now_us(s->loop))) {
    case SIM_TAKEN:
        sim_server_poke(s);
        return true;
    case SIM_QUEUE_FULL:
        s->counts.refused++;
        c->working = false;
        sim_conn_refuse(c, 503,
                        SLICE("server busy, please try again.  maximum pending requests exceeded"));
        return false;
    case SIM_TOO_LARGE:
        s->counts.refused++;
        c->working = false;
        sim_conn_refuse(c, 500, SLICE("model requires more system memory than is available"));
        return false;
    }
    return false;
}

/* Prompt and answer share the context; what does not fit is cut off. */
static void fit_context(struct sim_conn *c)
{
    struct sim_call *call = &c->call;

    if (call->prompt_tokens >= call->context) {
        call->prompt_tokens = call->context > 1 ? call->context - 1 : 1;
        call->block_count = 0; /* the front was cut off: it begins with something else */
    }
    if (call->tokens > call->context - call->prompt_tokens) {
        call->tokens =
            call->context > call->prompt_tokens ? call->context - call->prompt_tokens : 1;
        c->answer.cut_short = true;
    }
    c->tokens = c->answer.tokens = call->tokens;
    c->answer.prompt_tokens = call->prompt_tokens;
}

static void begin_engine(struct sim_conn *c, const struct sim_ask *ask, uint32_t items)
{
    struct sim_call *call = &c->call;

    call->items = items;
    call->prompt_tokens = c->server->profile.pads != 0 && sim_op_embeds(c->op)
                              ? items * c->longest
                              : c->answer.prompt_tokens;
    call->tokens = c->tokens;
    call->context = ask->context != 0 ? ask->context : (uint32_t)c->server->profile.context;
    call->keep_alive_us = ask->has_keep_alive ? ask->keep_alive_us
                                              : (int64_t)c->server->profile.keep_alive_s * 1000000;
    call->block_count = 0;
    if (items > 0 && !sim_op_embeds(c->op)) {
        for (uint32_t i = 0; c->chain.keeps_blocks && i < c->tokens; i++) {
            sim_chain_add(&c->chain, sim_word(c->hash, i));
        }
        call->block_count = c->chain.count;
        fit_context(c);
    }
    call->blocks = c->chain.blocks;
    c->sent = 0;
    (void)submit(c); /* refused there */
}

/* --- begin
 * --------------------------------------------------------------------------------------------- */

static void refuse_model(struct sim_conn *c, struct slice escaped)
{
    struct buf *text = &c->vectors; /* free until there is an answer */

    buf_clear(text);
    (void)buf_printf(text,
                     sim_op_embeds(c->op) ? "model \"%.*s\" not found, try pulling it first"
                                          : "model '%.*s' not found",
                     SLICE_ARG(escaped));
    sim_conn_refuse(c, 404, buf_slice(text));
}

/* False: refused, or a fault has ended it. */
static bool choose_fault(struct sim_conn *c, const struct sim_ask *ask)
{
    struct err e = {0};

    if (c->fault.kind == SIM_FAULT_NONE && ask->fault.len > 0 &&
        sim_fault_parse(&c->fault, ask->fault, &e) != MCP_OK) {
        c->fault = (struct sim_fault){0};
        sim_conn_refuse(c, 400, slice_str(e.text));
        return false;
    }
    return sim_conn_takes_fault(c);
}

static void unload(struct sim_conn *c)
{
    struct sim_server *s = c->server;

    if (s->engine != NULL) {
        sim_engine_unload(s->engine, c->call.model, loop_now_us(s->loop));
        sim_server_poke(s);
    }
    stamp(c);
    buf_clear(&s->text);
    sim_answer_loaded(&s->text, &c->answer, true);
    reply_text(c, true);
}

static void describe(struct sim_conn *c, const struct sim_ask *ask, bool loads)
{
    struct sim_server *s = c->server;

    buf_clear(&c->model);
    (void)buf_append(&c->model, ask->model); /* a failure leaves an empty name */
    c->stream = ask->stream && !sim_op_embeds(ask->op) && !loads;
    c->tokens = loads || sim_op_embeds(ask->op) ? 0
                : ask->tokens != 0              ? ask->tokens
                                                : (uint32_t)s->profile.tokens;
    c->has_gap = s->has_gap || ask->has_gap;
    c->gap_us = ask->has_gap ? ask->gap_us : s->gap_us;
    c->answer.op = ask->op;
    c->answer.model = buf_slice(&c->model);
    c->answer.usage = ask->usage;
    c->answer.cut_short = ask->tokens != 0;
    c->answer.id = s->counts.calls;
    c->answer.tokens = c->tokens;
    c->answer.prompt_tokens = 1;
    c->answer.total_us = c->answer.load_us = c->answer.prompt_us = c->answer.decode_us = 0;
    c->hash = s->seed;
}

static void begin(struct sim_conn *c, const struct sim_ask *ask, bool loads)
{
    struct sim_server *s = c->server;
    int64_t items = loads ? 0 : 1;

    if (sim_op_embeds(c->op)) {
        items = sim_prompt_embed(c, ask);
    } else if (s->engine != NULL && !loads) {
        sim_prompt_read(c, ask);
    }
    if (items < 0) {
        return;
    }
    c->working = true;
    s->counts.calls++;
    if (s->engine == NULL || (sim_op_embeds(c->op) && items == 0)) {
        begin_free(c);
    } else {
        begin_engine(c, ask, (uint32_t)items);
    }
}

void sim_work_begin(struct sim_conn *c, struct slice body)
{
    struct sim_refusal why;
    struct sim_ask ask;
    ptrdiff_t model;
    bool loads;

    if (!sim_ask_read(&ask, c->op, body, &why)) {
        sim_conn_refuse(c, why.status, slice_str(why.text));
        return;
    }
    model = sim_server_find(c->server, ask.model);
    if (model < 0) {
        refuse_model(c, ask.model);
        return;
    }
    if (!choose_fault(c, &ask)) {
        return;
    }
    loads = sim_ask_loads(&ask);
    c->call.model = (size_t)model;
    describe(c, &ask, loads);
    if (loads && ask.has_keep_alive && ask.keep_alive_us == 0) {
        unload(c);
    } else {
        begin(c, &ask, loads);
    }
}

void sim_work_init(struct sim_conn *c)
{
    timer_init(&c->part_timer, on_part, c);
    task_init(&c->part_task, on_part, c);
}
