/* SPDX-License-Identifier: Apache-2.0 */
#include "http/io/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/counter.h"
#include "reactor/sock.h"

enum { CLIENT_MAGIC = 0x68636c69 };

enum client_state { CLIENT_IDLE, CLIENT_BUSY, CLIENT_SPENT };

struct http_client {
    unsigned magic;
    enum client_state state;
    struct loop *loop;
    struct sock *sock; /* NULL once spent */
    struct http_parser *parser;
    const struct http_client_ops *ops;
    void *owner;
    struct buf held; /* read, and not handed out because the owner paused */
    struct task resumed;
    uint64_t read_us;
    bool connected;
    bool sent_whole;
    bool got_bytes;
    bool keep_alive;
    bool paused;
};

static const struct sock_ops client_sock_ops;
static void on_resumed(void *owner);

static struct http_client *client_of(void *owner)
{
    struct http_client *c = owner;

    OBJ_CHECK(c, CLIENT_MAGIC);
    return c;
}

/* No socket callback comes after this; the memory lives until http_client_close. */
static void set_spent(struct http_client *c)
{
    ASSERT(c->state != CLIENT_SPENT);
    c->state = CLIENT_SPENT;
    c->paused = false;
    task_cancel(c->loop, &c->resumed);
    sock_close(&c->sock, false);
}

static void fail(struct http_client *c, enum http_failure why, int error, const char *text)
{
    set_spent(c);
    c->ops->failed(c->owner, why, error, text);
}

static void fail_lost(struct http_client *c, int error)
{
    enum http_failure why = HTTP_FAIL_CUT;

    if (error == ENOMEM) {
        why = HTTP_FAIL_NOMEM;
    } else if (!c->connected) {
        why = HTTP_FAIL_CONNECT;
    } else if (c->state == CLIENT_IDLE || !c->got_bytes) {
        why = HTTP_FAIL_STALE;
    }
    fail(c, why, error, NULL);
}

/* --- the response
 * ---------------------------------------------------------------------------------- */

static void finish(struct http_client *c, bool leftover)
{
    bool reusable = c->keep_alive && c->sent_whole && sock_unsent(c->sock) == 0 && !leftover;

    if (leftover) {
        counter_add(COUNTER_NODE_BAD_ANSWER, 1);
    }
    if (reusable) {
        c->state = CLIENT_IDLE;
        c->paused = false;
    } else {
        set_spent(c);
    }
    c->ops->end(c->owner, reusable);
}

/* Hands out events until the input is used up, the owner pauses or the response is over. Returns
 * bytes used; what the owner does in a callback (close, pause, send again) is seen before the next
 * step. */
static size_t feed(struct http_client *c, struct slice in)
{
    size_t used = 0;

    while (c->state == CLIENT_BUSY && !c->paused) {
        struct http_event ev;
        struct err e;
        ptrdiff_t n = http_parser_feed(c->parser, slice_skip(in, used), &ev, &e);

        if (n < 0) {
            fail(c, n == MCP_ENOMEM ? HTTP_FAIL_NOMEM : HTTP_FAIL_GARBAGE, 0, e.text);
            return used;
        }
        used += (size_t)n;
        switch (ev.kind) {
        case HTTP_EV_MORE:
            return used;
        case HTTP_EV_HEAD:
            c->keep_alive = ev.head->keep_alive;
            c->ops->head(c->owner, ev.head);
            break;
        case HTTP_EV_BODY:
            c->ops->body(c->owner, ev.body);
            break;
        case HTTP_EV_END:
            finish(c, used < in.len);
            return used;
        }
    }
    return used;
}

static void on_data(void *owner, struct slice in)
{
    struct http_client *c = client_of(owner);
    size_t used;

    c->read_us = loop_clock_us(c->loop);
    if (c->state == CLIENT_IDLE) {
        counter_add(COUNTER_NODE_BAD_ANSWER, 1);
        fail(c, HTTP_FAIL_GARBAGE, 0, "bytes without a request");
        return;
    }
    c->got_bytes = true;
    used = feed(c, in);
    if (c->state == CLIENT_BUSY && used < in.len && !buf_append(&c->held, slice_skip(in, used))) {
        fail(c, HTTP_FAIL_NOMEM, 0, NULL);
    }
}

/* The owner reads again: first what is held. */
static void on_resumed(void *owner)
{
    struct http_client *c = client_of(owner);
    size_t used = feed(c, buf_slice(&c->held));

    if (c->state != CLIENT_SPENT) {
        buf_consume(&c->held, used);
        if (buf_len(&c->held) == 0) {
            buf_release(&c->held);
        }
        if (!c->paused) {
            sock_resume(c->sock);
        }
    }
}

static void on_eof(void *owner)
{
    struct http_client *c = client_of(owner);
    struct http_event ev;

    if (c->state == CLIENT_BUSY && c->got_bytes && http_parser_eof(c->parser, &ev) == 0 &&
        ev.kind == HTTP_EV_END) {
        finish(c, false);
    } else {
        fail_lost(c, 0);
    }
}

static void on_closed(void *owner, int error)
{
    fail_lost(client_of(owner), error);
}

static void on_connected(void *owner)
{
    struct http_client *c = client_of(owner);

    c->connected = true;
    if (c->ops->connected != NULL) {
        c->ops->connected(c->owner);
    }
}

static void on_drained(void *owner)
{
    struct http_client *c = client_of(owner);

    if (c->state == CLIENT_BUSY && c->ops->drained != NULL) {
        c->ops->drained(c->owner);
    }
}

static const struct sock_ops client_sock_ops = {
    .connected = on_connected,
    .data = on_data,
    .eof = on_eof,
    .drained = on_drained,
    .closed = on_closed,
};

/* --- what the owner calls
 * -------------------------------------------------------------------------- */

static void client_destroy(void *ptr)
{
    struct http_client *c = ptr;

    http_parser_free(&c->parser);
    buf_fini(&c->held);
    c->magic = 0;
    free(c);
}

struct http_client *http_client_connect(struct loop *loop, const struct addr *to,
                                        const struct http_client_ops *ops, void *owner)
{
    struct http_client *c = calloc(1, sizeof(*c));
    int error;

    if (c == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    c->magic = CLIENT_MAGIC;
    c->loop = loop;
    c->ops = ops;
    c->owner = owner;
    task_init(&c->resumed, on_resumed, c);
    c->parser = http_parser_new(HTTP_PARSE_RESPONSES);
    if (c->parser == NULL) {
        error = ENOMEM;
        goto fail_client;
    }
    c->sock = sock_connect(loop, to, &client_sock_ops, c);
    if (c->sock == NULL) {
        error = errno;
        goto fail_client;
    }
    return c;

fail_client:
    client_destroy(c);
    errno = error;
    return NULL;
}

void http_client_set_owner(struct http_client *c, const struct http_client_ops *ops, void *owner)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    ASSERT(c->state == CLIENT_IDLE);
    c->ops = ops;
    c->owner = owner;
    http_parser_release(c->parser);
}

bool http_client_send(struct http_client *c, struct slice head, const struct slice *pieces,
                      size_t count, bool is_head, bool more)
{
    struct slice out[SOCK_PIECES_MAX];

    OBJ_CHECK(c, CLIENT_MAGIC);
    ASSERT(c->state == CLIENT_IDLE && count < SOCK_PIECES_MAX);
    c->state = CLIENT_BUSY;
    c->sent_whole = !more;
    c->got_bytes = false;
    if (is_head) {
        http_parser_no_body(c->parser);
    }
    out[0] = head;
    if (count > 0) {
        memcpy(out + 1, pieces, count * sizeof(*pieces));
    }
    return sock_writev(c->sock, out, count + 1);
}

bool http_client_body(struct http_client *c, struct slice bytes)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    return c->state != CLIENT_BUSY || sock_write(c->sock, bytes);
}

void http_client_body_end(struct http_client *c)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    c->sent_whole = true;
}

size_t http_client_unsent(const struct http_client *c)
{
    return c->sock == NULL ? 0 : sock_unsent(c->sock);
}

bool http_client_over_high(const struct http_client *c)
{
    return c->sock != NULL && sock_over_high(c->sock);
}

void http_client_pause(struct http_client *c)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    if (c->state == CLIENT_BUSY && !c->paused) {
        c->paused = true;
        task_cancel(c->loop, &c->resumed);
        sock_pause(c->sock);
    }
}

void http_client_resume(struct http_client *c)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    if (c->state == CLIENT_BUSY && c->paused) {
        c->paused = false;
        task_defer(c->loop, &c->resumed);
    }
}

void http_client_read_little(struct http_client *c, bool little)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    if (c->state != CLIENT_SPENT) {
        sock_read_little(c->sock, little);
    }
}

bool http_client_got_bytes(const struct http_client *c)
{
    return c->got_bytes;
}

uint64_t http_client_read_us(const struct http_client *c)
{
    return c->read_us;
}

void http_client_close(struct http_client **cp)
{
    struct http_client *c = *cp;

    if (c == NULL) {
        return;
    }
    OBJ_CHECK(c, CLIENT_MAGIC);
    *cp = NULL;
    if (c->state != CLIENT_SPENT) {
        set_spent(c);
    }
    loop_bury(c->loop, c, client_destroy);
}
