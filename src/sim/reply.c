/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of a simulated node, written so that they can also go wrong in every way a node's can. */
#include "base/check.h"
#include "http/parse/status.h"
#include "sim/server_internal.h"

static void write_out(struct sim_conn *c, struct slice bytes)
{
    if (c->fault.kind != SIM_FAULT_DRIP) {
        (void)sock_write(c->sock, bytes); /* out of memory comes back as closed() */
        return;
    }
    (void)buf_append(&c->drip, bytes); /* out of memory: less of it drips */
    if (!timer_armed(&c->drip_timer)) {
        timer_arm(c->server->loop, &c->drip_timer, 0);
    }
}

static void reply_over(struct sim_conn *c)
{
    if (buf_len(&c->drip) > 0) {
        c->over = true;
        return;
    }
    sim_work_end(c, SIM_WORK_ANSWERED);
    if (!c->keep_alive) {
        sim_conn_close(c, SIM_END_GENTLY);
        return;
    }
    c->state = SIM_READING;
    c->asked = false;
    if (!c->feeding && buf_len(&c->held) > 0) {
        task_defer(c->server->loop, &c->again);
    }
}

static void on_drip(void *owner)
{
    struct sim_conn *c = owner;

    OBJ_CHECK(c, SIM_CONN_MAGIC);
    (void)sock_write(c->sock, slice_first(buf_slice(&c->drip), 1)); /* as in write_out */
    buf_consume(&c->drip, 1);
    if (buf_len(&c->drip) > 0) {
        timer_arm(c->server->loop, &c->drip_timer, c->fault.number);
    } else if (c->over) {
        reply_over(c);
    }
}

/* The head of a reply; `length` below 0: a stream. */
static void begin_reply(struct sim_conn *c, unsigned status, struct slice type, int64_t length)
{
    struct buf *b = &c->server->head;

    c->began = true;
    buf_clear(b);
    (void)buf_printf(b, "HTTP/1.1 %u %s\r\n", status, http_status_reason(status));
    if (type.len > 0) {
        (void)buf_printf(b, "Content-Type: %.*s\r\n", SLICE_ARG(type));
    }
    if (length >= 0) {
        (void)buf_printf(b, "Content-Length: %lld\r\n", (long long)length);
    } else if (c->http11) {
        (void)buf_append_str(b, "Transfer-Encoding: chunked\r\n");
    } else {
        c->keep_alive = false;
    }
    if (!c->keep_alive) {
        (void)buf_append_str(b, "Connection: close\r\n");
    } else if (!c->http11) {
        (void)buf_append_str(b, "Connection: keep-alive\r\n");
    }
    (void)buf_append_str(b, "\r\n");
}

/* Out of memory for what was put together: no half answer. */
static void write_scratch(struct sim_conn *c)
{
    if (buf_failed(&c->server->head)) {
        sim_conn_close(c, SIM_END_NOW);
    } else {
        write_out(c, buf_slice(&c->server->head));
    }
}

/* --- faults
 * -------------------------------------------------------------------------------------------- */

static bool ends_answers(enum sim_fault_kind kind)
{
    return kind != SIM_FAULT_NONE && kind != SIM_FAULT_REFUSE && kind != SIM_FAULT_DRIP;
}

/* As Ollama has it: a status while there is one to send, else the last part of the stream. */
static void say_error(struct sim_conn *c)
{
    struct buf *out = &c->server->head;
    struct buf text = {0};
    bool v1 = sim_op_is_v1(c->op);

    c->fault = (struct sim_fault){0}; /* this is all of it */
    if (!c->began) {
        sim_conn_refuse(c, 500, SLICE("a simulated fault"));
        return;
    }
    if (!c->stream || !c->http11) {
        sim_conn_close(c, SIM_END_GENTLY);
        return;
    }
    (void)buf_append_str(&text, v1 ? "data: " : "");
    sim_answer_error(&text, v1, 500, SLICE("a simulated fault"));
    (void)buf_append_str(&text, v1 ? "\n\n" : "\n");
    buf_clear(out);
    (void)buf_printf(out, "%zx\r\n%.*s\r\n0\r\n\r\n", buf_len(&text), SLICE_ARG(buf_slice(&text)));
    buf_fini(&text);
    write_scratch(c);
    if (c->state != SIM_CLOSED) {
        reply_over(c);
    }
}

static void fail(struct sim_conn *c)
{
    enum sim_fault_kind kind = c->fault.kind;

    c->server->counts.faults++;
    if (kind == SIM_FAULT_HANG) {
        c->state = SIM_HUNG; /* what is computed goes on, and holds its slot */
        return;
    }
    sim_work_end(c, SIM_WORK_FAILED);
    switch (kind) {
    case SIM_FAULT_RESET:
        sim_conn_close(c, SIM_END_RESET);
        break;
    case SIM_FAULT_GARBAGE:
        write_out(c, SLICE("\x16\x03\x01 this is no HTTP\r\n\r\n"));
        sim_conn_close(c, SIM_END_GENTLY);
        break;
    case SIM_FAULT_ERROR:
        say_error(c);
        break;
    case SIM_FAULT_CUT:
        if (c->stream && c->http11 && c->began) {
            write_out(c, SLICE("0\r\n\r\n"));
            reply_over(c);
            break;
        }
        sim_conn_close(c, SIM_END_GENTLY);
        break;
    default:
        sim_conn_close(c, SIM_END_GENTLY);
        break;
    }
}

bool sim_conn_fails_at_once(struct sim_conn *c)
{
    if (c->fault.kind == SIM_FAULT_REFUSE) {
        c->server->counts.faults++;
        sim_conn_refuse(c, c->fault.number,
                        SLICE("server busy, please try again.  maximum pending requests exceeded"));
        return true;
    }
    if (!ends_answers(c->fault.kind) || c->fault.number > 0 || c->fault.kind == SIM_FAULT_CUT) {
        if (c->fault.kind == SIM_FAULT_DRIP) {
            c->server->counts.faults++;
        }
        return false;
    }
    fail(c);
    return true;
}

bool sim_conn_takes_fault(struct sim_conn *c)
{
    struct sim_server *s = c->server;

    s->call_number++;
    for (size_t i = 0; i < s->fault_count && c->fault.kind == SIM_FAULT_NONE; i++) {
        if (sim_fault_hits(&s->faults[i], s->call_number)) {
            c->fault = s->faults[i];
        }
    }
    return !sim_conn_fails_at_once(c);
}

bool sim_conn_is_plain(const struct sim_conn *c)
{
    return c->http11 && c->keep_alive && c->fault.kind == SIM_FAULT_NONE;
}

/* --- replies
 * ------------------------------------------------------------------------------------------- */

void sim_conn_reply(struct sim_conn *c, unsigned status, struct slice type, struct slice body)
{
    bool cut = ends_answers(c->fault.kind);

    if (cut && c->fault.number == 0) {
        fail(c);
        return;
    }
    begin_reply(c, status, type, (int64_t)body.len);
    if (!c->is_head) {
        (void)buf_append(&c->server->head, cut ? slice_first(body, body.len / 2) : body);
    }
    write_scratch(c);
    if (c->state == SIM_CLOSED) {
        return;
    }
    if (cut) {
        fail(c);
    } else {
        reply_over(c);
    }
}

void sim_conn_refuse(struct sim_conn *c, unsigned status, struct slice text)
{
    struct buf *body = &c->server->text;

    buf_clear(body);
    sim_answer_error(body, c->route == SIM_ROUTE_FOUND && sim_op_is_v1(c->op), status, text);
    sim_conn_reply(c, status, SLICE("application/json; charset=utf-8"), buf_slice(body));
}

void sim_conn_write_made(struct sim_conn *c, struct slice bytes, bool last)
{
    (void)sock_write(c->sock, bytes); /* out of memory comes back as closed() */
    if (last) {
        reply_over(c);
    }
}

static bool add_part(struct sim_conn *c, struct slice bytes)
{
    struct buf *out = &c->server->head;

    if (c->began) {
        buf_clear(out);
    } else {
        begin_reply(c, 200, sim_answer_stream_type(c->op), -1);
    }
    if (ends_answers(c->fault.kind) && c->parts >= c->fault.number) {
        write_scratch(c); /* the head, if this would have been the first part */
        if (c->state != SIM_CLOSED) {
            fail(c);
        }
        return false;
    }
    if (c->http11) {
        (void)buf_printf(out, "%zx\r\n", bytes.len);
    }
    (void)buf_append(out, bytes);
    if (c->http11) {
        (void)buf_append_str(out, "\r\n");
    }
    c->parts++;
    return true;
}

bool sim_conn_part(struct sim_conn *c, struct slice bytes)
{
    if (!add_part(c, bytes)) {
        return false;
    }
    write_scratch(c);
    return c->state != SIM_CLOSED;
}

void sim_conn_last_part(struct sim_conn *c, struct slice bytes)
{
    if (!add_part(c, bytes)) {
        return;
    }
    if (c->http11) {
        (void)buf_append_str(&c->server->head, "0\r\n\r\n");
    }
    write_scratch(c);
    if (c->state != SIM_CLOSED) {
        reply_over(c);
    }
}

void sim_reply_init(struct sim_conn *c)
{
    timer_init(&c->drip_timer, on_drip, c);
}
