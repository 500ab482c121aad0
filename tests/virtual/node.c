/* SPDX-License-Identifier: Apache-2.0 */
/* A node that answers polls as Ollama does, and each deal as its script says: whole or cut, in
 * writes and pauses of any size, chunked, with a length, or to the connection's end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "http/parse/message.h"
#include "http/parse/status.h"
#include "world.h"

static const char version[] = "{\"version\":\"0.33.0\"}";
static const char tags[] =
    "{\"models\":[{\"name\":\"m:latest\",\"model\":\"m:latest\",\"modified_at\":"
    "\"2026-01-01T00:00:00Z\",\"size\":1,\"digest\":\"a1\",\"details\":{\"family\":\"llama\"}}]}";

static const char models[] = "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\"}]}";

struct node_conn {
    struct list_link link;
    struct script_node *node;
    struct sock *s;
    struct http_parser *parser;
    struct buf in;
    struct buf body;
    char path[32];
    struct deal *deal; /* NULL: a poll */
    struct buf out;    /* of the answer, what was not written yet */
    size_t left;       /* bytes until the cut */
    bool answering;
    bool closes; /* the answer ends with the connection */
    bool gone;
    struct timer timer;
};

LIST_DECLARE(node_conn_list, struct node_conn, link);

struct script_node {
    struct addr at;
    struct listener *l;
    struct node_conn_list conns;
};

static void conn_free(void *ptr)
{
    struct node_conn *c = ptr;

    http_parser_free(&c->parser);
    buf_fini(&c->in);
    buf_fini(&c->body);
    buf_fini(&c->out);
    free(c);
}

static void conn_close(struct node_conn *c, bool reset)
{
    if (c->gone) {
        return;
    }
    c->gone = true;
    timer_cancel(world.loop, &c->timer);
    node_conn_list_remove(&c->node->conns, c);
    if (reset) {
        sock_close(&c->s, true);
    } else {
        sock_close_gently(&c->s); /* behind what was written */
    }
    loop_bury(world.loop, c, conn_free);
}

/* --- answering */

static void put_chunk(struct buf *out, struct slice bytes)
{
    assert_true(buf_printf(out, "%zx\r\n", bytes.len) && buf_append(out, bytes) &&
                buf_append_str(out, "\r\n"));
}

/* Chunks need not be lines. */
static void put_chunked(struct buf *out, struct slice body)
{
    while (body.len > 0) {
        size_t n = one_in(2) ? body.len : (size_t)pick(body.len) + 1;

        put_chunk(out, slice_of(body.ptr, n));
        body = slice_of(body.ptr + n, body.len - n);
    }
    put_chunk(out, SLICE(""));
}

static void make_answer(struct node_conn *c, unsigned status, const char *type, struct slice body)
{
    uint64_t framing = c->deal == NULL ? 0 : pick(4);

    if (framing == 3 && c->deal->cut == CUT_FIN &&
        (!(c->deal->streams || c->deal->is_translated) || status >= 400)) {
        framing = 0; /* nobody could tell that this is not the end */
    }

    c->closes = framing == 3;
    assert_true(buf_printf(&c->out, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\n", status,
                           http_status_reason(status), type));
    if (framing == 0) {
        assert_true(buf_printf(&c->out, "Content-Length: %zu\r\n\r\n", body.len) &&
                    buf_append(&c->out, body));
    } else if (framing == 3) {
        assert_true(buf_append_str(&c->out, "Connection: close\r\n\r\n") &&
                    buf_append(&c->out, body));
    } else {
        assert_true(buf_append_str(&c->out, "Transfer-Encoding: chunked\r\n\r\n"));
        put_chunked(&c->out, body);
    }
    c->left = SIZE_MAX;
    if (c->deal != NULL && c->deal->cut != CUT_NOT && c->deal->asked == 1) {
        c->left = c->deal->cut_at;
    }
}

static void do_cut(struct node_conn *c)
{
    switch (c->deal->cut) {
    case CUT_FIN:
        conn_close(c, false);
        break;
    case CUT_RESET:
        conn_close(c, true);
        break;
    case CUT_GARBAGE:
        assert_true(sock_write(c->s, SLICE("\r\n\r\nHTTP/7.7 what\r\n\x01\x02zz\r\n\r\n")));
        break;
    default:
        break; /* silence: the gateway's time limits are next */
    }
}

static void answered(struct node_conn *c);

static void write_some(void *owner)
{
    struct node_conn *c = owner;
    size_t n = buf_len(&c->out);
    uint64_t gap_ms = c->deal == NULL ? 0 : c->deal->gap_ms;

    if (c->deal != NULL && n > 0) {
        n = one_in(3) ? n : (size_t)pick(n < 2000 ? n : 2000) + 1;
    }
    n = n < c->left ? n : c->left;
    assert_true(sock_write(c->s, slice_of(buf_slice(&c->out).ptr, n)));
    buf_consume(&c->out, n);
    c->left -= c->left == SIZE_MAX ? 0 : n;
    if (c->left == 0) {
        do_cut(c);
    } else if (buf_len(&c->out) > 0) {
        timer_arm_us(world.loop, &c->timer, pick(gap_ms * 1000 + 1));
    } else {
        answered(c);
    }
}

static const char *type_of(const struct deal *d)
{
    if (d->status >= 400 || (!d->streams && !d->is_translated)) {
        return "application/json";
    }
    return deal_in_events(d) ? "text/event-stream" : "application/x-ndjson";
}

static void begin_answer(struct node_conn *c)
{
    struct slice body = buf_slice(&c->body);
    bool embeds = strcmp(c->path, "/api/embed") == 0, past = false;
    struct deal *d = embeds ? embed_deal_of(body) : deal_of(body, &past);

    if (past || (embeds && d == NULL)) { /* it was on its way when its client left */
        conn_close(c, true);
        return;
    }
    c->answering = true;
    c->deal = d;
    buf_clear(&c->out);
    if (strcmp(c->path, "/api/version") == 0) {
        make_answer(c, 200, "application/json", slice_str(version));
    } else if (strcmp(c->path, "/api/tags") == 0) {
        make_answer(c, 200, "application/json", slice_str(tags));
    } else if (strcmp(c->path, "/v1/models") == 0) {
        make_answer(c, 200, "application/json", slice_str(models));
    } else if (strcmp(c->path, "/api/ps") == 0) {
        make_answer(c, 200, "application/json", SLICE("{\"models\":[]}"));
    } else if (embeds) {
        struct buf vectors = {0};
        unsigned status = embed_answer(body, &vectors);

        make_answer(c, status, "application/json", buf_slice(&vectors));
        buf_fini(&vectors);
    } else {
        assert_non_null(d);
        assert_string_equal(c->path, deal_node_path(d));
        if (!d->is_translated && !slice_eq(body, buf_slice(&d->request))) {
            print_error("deal %u: asked as %zu bytes, not %zu: %.*s\n", d->number, body.len,
                        buf_len(&d->request), (int)(body.len < 300 ? body.len : 300), body.ptr);
        }
        assert_true(d->is_translated ||
                    slice_eq(body, buf_slice(&d->request))); /* as the client sent it */
        d->asked++;
        make_answer(c, d->status, type_of(d), buf_slice(&d->lines));
    }
    timer_arm(world.loop, &c->timer, d == NULL ? 0 : d->first_ms);
}

/* --- reading */

static void read_on(struct node_conn *c)
{
    while (!c->answering && !c->gone) {
        struct http_event ev = {0};
        struct err e = {0};
        ptrdiff_t n = http_parser_feed(c->parser, buf_slice(&c->in), &ev, &e);

        assert_true(n >= 0); /* the gateway speaks HTTP */
        if (ev.kind == HTTP_EV_HEAD) {
            (void)snprintf(c->path, sizeof(c->path), "%.*s", SLICE_ARG(ev.head->target));
            buf_clear(&c->body);
        } else if (ev.kind == HTTP_EV_BODY) {
            assert_true(buf_append(&c->body, ev.body));
        }
        buf_consume(&c->in, (size_t)n);
        if (ev.kind == HTTP_EV_END) {
            begin_answer(c);
        } else if (ev.kind == HTTP_EV_MORE) {
            return;
        }
    }
}

static void answered(struct node_conn *c)
{
    if (c->closes) {
        sock_shutdown(c->s); /* behind the answer, however slowly that is taken */
        return;
    }
    c->answering = false;
    if (c->deal != NULL && world.plan.nodes_fail && one_in(5)) {
        conn_close(c, false); /* keep-alive is no promise */
    } else {
        read_on(c);
    }
}

static void on_data(void *owner, struct slice in)
{
    struct node_conn *c = owner;

    assert_true(buf_append(&c->in, in));
    read_on(c);
}

static void on_eof(void *owner)
{
    conn_close(owner, false);
}

static void on_closed(void *owner, int error)
{
    (void)error;
    conn_close(owner, false);
}

static const struct sock_ops conn_ops = {.data = on_data, .eof = on_eof, .closed = on_closed};

static void on_accepted(void *owner, int fd, const struct addr *peer)
{
    struct script_node *n = owner;
    struct node_conn *c = xcalloc(1, sizeof(*c));

    (void)peer;
    c->node = n;
    c->parser = http_parser_new(HTTP_PARSE_REQUESTS);
    timer_init(&c->timer, write_some, c);
    node_conn_list_push(&n->conns, c);
    c->s = sock_adopt(world.loop, fd, &conn_ops, c);
    assert_non_null(c->s);
}

/* --- the node */

void script_node_return(struct script_node *n)
{
    n->l = listener_new(world.loop, &n->at, on_accepted, n, NULL);
    assert_non_null(n->l);
}

void script_node_vanish(struct script_node *n)
{
    struct node_conn *c;

    listener_free(&n->l);
    while ((c = node_conn_list_first(&n->conns)) != NULL) {
        conn_close(c, c->closes || one_in(2)); /* a FIN might be taken for the answer's end */
    }
}

void script_node_forget(struct script_node *n)
{
    struct node_conn *c = node_conn_list_first(&n->conns), *next;

    for (; c != NULL; c = next) {
        next = node_conn_list_next(&n->conns, c);
        if (c->deal != NULL) {
            conn_close(c, true);
        }
    }
}

struct script_node *script_node_new(const char *address)
{
    struct script_node *n = xcalloc(1, sizeof(*n));

    assert_int_equal(addr_parse(&n->at, slice_str(address), NULL), 0);
    script_node_return(n);
    return n;
}

void script_node_free(struct script_node **n)
{
    if (*n != NULL) {
        script_node_vanish(*n);
        free(*n);
        *n = NULL;
    }
}
