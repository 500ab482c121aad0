/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.x on one connection of a simulated node, written so that it can also go wrong in every way
 * a node can. A request and its answer live in the connection itself: nothing is allocated for one.
 */
#include <stdlib.h>

#include "base/check.h"
#include "http/parse/status.h"
#include "sim/server_internal.h"

static struct sim_conn *conn_of(void *owner)
{
    struct sim_conn *c = owner;

    OBJ_CHECK(c, SIM_CONN_MAGIC);
    return c;
}

static void conn_destroy(void *ptr)
{
    struct sim_conn *c = ptr;

    sim_work_fini(c);
    sim_library_fini(c);
    http_parser_free(&c->parser);
    buf_fini(&c->held);
    buf_fini(&c->body);
    buf_fini(&c->drip);
    c->magic = 0;
    free(c);
}

void sim_conn_close(struct sim_conn *c, enum sim_conn_end how)
{
    struct sim_server *s = c->server;

    sim_work_end(c, SIM_WORK_LEFT);
    sim_library_end(c);
    c->state = SIM_CLOSED;
    task_cancel(s->loop, &c->again);
    timer_cancel(s->loop, &c->drip_timer);
    if (how == SIM_END_GENTLY) {
        sock_close_gently(&c->sock);
    } else {
        if (how == SIM_END_RESET) {
            sock_flush(c->sock); /* the reset comes behind what was written */
        }
        sock_close(&c->sock, how == SIM_END_RESET);
    }
    sim_conn_list_remove(&s->conns, c);
    loop_bury(s->loop, c, conn_destroy);
}

/* --- requests
 * ------------------------------------------------------------------------------------------- */

static void begin_request(struct sim_conn *c, const struct http_head *head)
{
    c->route = sim_route_find(head->method, head->target, &c->op);
    c->keep_alive = head->keep_alive;
    c->http11 = head->minor > 0;
    c->is_head = slice_eq(head->method, SLICE("HEAD"));
    c->asked = true;
    c->ask_fault = http_head_find(head, SLICE("X-Sim-Fault"));
    c->fault = (struct sim_fault){0};
    c->began = c->over = c->stream = false;
    c->parts = 0;
    c->piece = slice_of(NULL, 0);
    buf_clear(&c->body);
    if (head->expect_continue) {
        (void)sock_write(c->sock, SLICE("HTTP/1.1 100 Continue\r\n\r\n")); /* as in write_out */
    }
}

/* Keeps a body that does not lie in one piece. */
static bool keep_piece(struct sim_conn *c)
{
    struct slice piece = c->piece;

    c->piece = slice_of(NULL, 0);
    return piece.len == 0 || buf_append(&c->body, piece);
}

/* As the gateway does: before there is a request in the words of an HTTP server, else Ollama's. */
static void bad_request(struct sim_conn *c, unsigned status, const char *text)
{
    struct buf *out = &c->server->text;

    c->state = SIM_ANSWERING;
    c->keep_alive = c->is_head = false;
    c->fault = (struct sim_fault){0}; /* of the request before */
    if (c->asked) {
        sim_conn_refuse(c, status, slice_str(text));
        return;
    }
    buf_clear(out);
    (void)buf_printf(out, "%u %s: %s", status, http_status_reason(status), text);
    sim_conn_reply(c, status, SLICE("text/plain; charset=utf-8"), buf_slice(out));
}

static void take_body(struct sim_conn *c, struct slice bytes)
{
    if (c->piece.len == 0 && buf_len(&c->body) == 0) {
        c->piece = bytes;
    } else if (!keep_piece(c) || !buf_append(&c->body, bytes)) {
        bad_request(c, 413, "request body too large");
    }
}

static void answer(struct sim_conn *c)
{
    struct slice body = c->piece.len > 0 ? c->piece : buf_slice(&c->body);
    struct err e = {0};

    c->state = SIM_ANSWERING;
    c->server->counts.requests++;
    if (c->ask_fault.ptr != NULL && sim_fault_parse(&c->fault, c->ask_fault, &e) != MCP_OK) {
        c->fault = (struct sim_fault){0};
        sim_conn_refuse(c, 400, slice_str(e.text));
        return;
    }
    if (c->route == SIM_ROUTE_FOUND && c->op <= SIM_OP_V1_TEXT) {
        sim_work_begin(c, body);
        return;
    }
    if (c->route == SIM_ROUTE_FOUND && c->op >= SIM_OP_PULL) {
        sim_library_begin(c, body);
        return;
    }
    if (sim_conn_fails_at_once(c)) {
        return;
    }
    switch (c->route) {
    case SIM_ROUTE_FOUND:
        sim_page_reply(c, body);
        break;
    case SIM_ROUTE_NO_METHOD:
        sim_conn_reply(c, 405, SLICE("text/plain"), SLICE("405 method not allowed"));
        break;
    case SIM_ROUTE_NO_PATH:
        sim_conn_reply(c, 404, SLICE("text/plain"), SLICE("404 page not found"));
        break;
    }
}

static void act_on(struct sim_conn *c, const struct http_event *ev)
{
    switch (ev->kind) {
    case HTTP_EV_MORE:
        break;
    case HTTP_EV_HEAD:
        begin_request(c, ev->head);
        break;
    case HTTP_EV_BODY:
        take_body(c, ev->body);
        break;
    case HTTP_EV_END:
        answer(c);
        break;
    }
}

/* Returns bytes used. A client that does not take its replies gets no further ones. */
static size_t feed(struct sim_conn *c, struct slice in)
{
    struct http_event ev = {.kind = HTTP_EV_END};
    size_t used = 0;

    c->feeding = true;
    while (c->state == SIM_READING && ev.kind != HTTP_EV_MORE && !sock_over_high(c->sock)) {
        struct err e = {0};
        ptrdiff_t n = http_parser_feed(c->parser, slice_skip(in, used), &ev, &e);

        if (n < 0) {
            bad_request(c, http_status_of_fault((int)n), e.text);
            break;
        }
        used += (size_t)n;
        act_on(c, &ev);
    }
    c->feeding = false;
    if (c->state == SIM_READING && !keep_piece(c)) {
        bad_request(c, 413, "request body too large");
    }
    return used;
}

/* Reads only while there is nothing left to do with what was read. */
static void update_reading(struct sim_conn *c)
{
    bool pause = buf_len(&c->held) > 0;

    if (pause != c->paused) {
        c->paused = pause;
        if (pause) {
            sock_pause(c->sock);
        } else {
            sock_resume(c->sock);
        }
    }
}

static void on_data(void *owner, struct slice in)
{
    struct sim_conn *c = conn_of(owner);
    size_t used = feed(c, in);

    if (c->state == SIM_CLOSED) {
        return;
    }
    if (used < in.len && !buf_append(&c->held, slice_skip(in, used))) {
        sim_conn_close(c, SIM_END_NOW);
        return;
    }
    update_reading(c);
}

static void on_again(void *owner)
{
    struct sim_conn *c = conn_of(owner);
    size_t used = feed(c, buf_slice(&c->held));

    if (c->state != SIM_CLOSED) {
        buf_consume(&c->held, used);
        update_reading(c);
    }
}

/* A half-closed connection is a client that has left, as for Ollama. */
static void on_eof(void *owner)
{
    sim_conn_close(conn_of(owner), SIM_END_GENTLY);
}

static void on_hangup(void *owner)
{
    struct sim_conn *c = conn_of(owner);

    if (c->state != SIM_READING) {
        sim_conn_close(c, SIM_END_GENTLY);
    }
}

static void on_drained(void *owner)
{
    struct sim_conn *c = conn_of(owner);

    if (c->state == SIM_READING) {
        task_defer(c->server->loop, &c->again); /* requests may have waited for it */
    } else {
        sim_work_drained(c);
    }
}

static void on_closed(void *owner, int error)
{
    (void)error; /* whatever it was, the client is gone */
    sim_conn_close(conn_of(owner), SIM_END_NOW);
}

static const struct sock_ops conn_ops = {
    .data = on_data,
    .eof = on_eof,
    .hangup = on_hangup,
    .drained = on_drained,
    .closed = on_closed,
};

void sim_conn_accept(void *server, int fd, const struct addr *peer)
{
    struct sim_server *s = server;
    struct sim_conn *c = calloc(1, sizeof(*c));

    (void)peer;
    if (c == NULL) {
        goto fail_fd;
    }
    c->parser = http_parser_new(HTTP_PARSE_REQUESTS);
    if (c->parser == NULL) {
        goto fail_conn;
    }
    c->sock = sock_adopt(s->loop, fd, &conn_ops, c);
    fd = -1; /* closed by sock_adopt where it failed */
    if (c->sock == NULL) {
        goto fail_parser;
    }
    c->magic = SIM_CONN_MAGIC;
    c->server = s;
    buf_init(&c->body, SIM_BODY_BYTES_MAX);
    sim_reply_init(c);
    task_init(&c->again, on_again, c);
    sim_work_init(c);
    sim_library_init(c);
    sim_conn_list_push(&s->conns, c);
    return;

fail_parser:
    http_parser_free(&c->parser);
fail_conn:
    free(c);
fail_fd:
    if (fd >= 0) {
        sock_drop(s->loop, fd);
    }
}
