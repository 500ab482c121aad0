/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: from bytes to requests, and everything that ends a connection. */
#include "http/io/server.h"

#include <stdlib.h>

#include "base/block.h"
#include "base/check.h"
#include "base/counter.h"
#include "http/io/server_internal.h"
#include "http/parse/status.h"
#include "http/parse/target.h"

#define TO(state) (1u << (state))

static const unsigned allowed[] = {
    [CONN_IDLE] = TO(CONN_HEAD) | TO(CONN_CLOSED),
    [CONN_HEAD] = TO(CONN_BODY) | TO(CONN_CLOSED),
    [CONN_BODY] = TO(CONN_REPLY) | TO(CONN_DRAIN) | TO(CONN_CLOSED),
    [CONN_REPLY] = TO(CONN_IDLE) | TO(CONN_CLOSED),
    [CONN_DRAIN] = TO(CONN_IDLE) | TO(CONN_CLOSED),
    [CONN_CLOSED] = 0,
};

static struct http_conn *conn_of(void *owner)
{
    struct http_conn *c = owner;

    OBJ_CHECK(c, CONN_MAGIC);
    return c;
}

/* --- states
 * ------------------------------------------------------------------------------------------ */

/* Sees to it that the timer fires when the state's time is over, or earlier. */
static void settle_timer(struct http_conn *c)
{
    if (c->due_us != UINT64_MAX && (!timer_armed(&c->timer) || c->timer_us > c->due_us)) {
        c->timer_us = c->due_us;
        timer_arm_us(c->loop, &c->timer, c->due_us - loop_now_us(c->loop));
    }
}

static void arm(struct http_conn *c, uint64_t timeout_ms)
{
    c->due_us = timeout_ms > 0 ? loop_now_us(c->loop) + timeout_ms * 1000 : UINT64_MAX;
    if (!c->feeding) {
        settle_timer(c); /* else once at its end */
    }
}

void conn_arm_body_timer(struct http_conn *c)
{
    bool waits = c->state == CONN_DRAIN || (c->state == CONN_BODY && !c->request->paused);

    arm(c, waits ? c->server->limits.body_timeout_ms : 0);
}

static void conn_set_state(struct http_conn *c, enum conn_state state)
{
    ASSERT((allowed[c->state] & TO(state)) != 0);
    c->state = state;
    switch (state) {
    case CONN_IDLE:
        c->idle_delivered = -1;
        arm(c, c->server->limits.idle_timeout_ms);
        break;
    case CONN_HEAD:
        arm(c, c->server->limits.head_timeout_ms);
        break;
    case CONN_BODY:
    case CONN_DRAIN:
        c->drained_bytes = 0;
        conn_arm_body_timer(c);
        break;
    case CONN_REPLY:
        arm(c, 0);
        break;
    case CONN_CLOSED:
        timer_cancel(c->loop, &c->timer);
        break;
    }
}

void conn_update_reading(struct http_conn *c)
{
    bool want = buf_len(&c->held) == 0 && !(c->state == CONN_BODY && c->request->paused);

    if (c->state == CONN_CLOSED || want == c->reading) {
        return;
    }
    c->reading = want;
    if (want) {
        sock_resume(c->sock);
    } else {
        sock_pause(c->sock);
    }
}

static void conn_destroy(void *ptr)
{
    struct http_conn *c = ptr;

    http_parser_free(&c->parser);
    buf_fini(&c->held);
    c->magic = 0;
    free(c);
}

void conn_close(struct http_conn *c, enum ending how)
{
    struct http_server *s = c->server;

    ASSERT(c->request == NULL);
    conn_set_state(c, CONN_CLOSED);
    task_cancel(c->loop, &c->again);
    if (how == END_GENTLY) {
        sock_close_gently(&c->sock);
    } else {
        sock_close(&c->sock, how == END_RESET);
    }
    conn_list_remove(&s->conns, c);
    loop_bury(c->loop, c, conn_destroy);
    if (s->ops->closed != NULL) {
        s->ops->closed(s->owner);
    }
}

void request_free(struct http_request *q)
{
    q->magic = 0;
    block_put(q, sizeof(*q));
}

/* Tells the handler that its request is no more. It may end the whole server in there. */
static void end_request(struct http_conn *c)
{
    struct http_request *q = c->request;

    if (q != NULL) {
        c->request = NULL;
        c->server->ops->gone(q->owner);
        request_free(q);
    }
}

/* The client left. */
static void conn_left(struct http_conn *c, enum ending how)
{
    end_request(c);
    if (c->state != CONN_CLOSED) {
        conn_close(c, how);
    }
}

/* The client is at fault: an answer, where none has begun, and the end. */
static void conn_bad(struct http_conn *c, unsigned status, const char *reason)
{
    const struct http_server_ops *ops = c->server->ops;
    bool begun = c->request != NULL && c->request->framing == REPLY_NOT_STARTED;
    bool answer = begun || c->state == CONN_HEAD || c->state == CONN_IDLE;

    counter_add(COUNTER_HTTP_BAD, 1);
    if (begun && ops->broken != NULL) {
        c->request->head.keep_alive = false;
        conn_set_state(c, CONN_REPLY);
        ops->broken(c->request->owner, status, reason);
        return;
    }
    end_request(c);
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (answer) {
        reply_bad(c, status, reason);
    }
    conn_close(c, END_GENTLY);
}

/* --- requests
 * ---------------------------------------------------------------------------------------- */

static void begin_request(struct http_conn *c, const struct http_head *head)
{
    struct http_server *s = c->server;
    struct http_head own = *head;
    const char *fault;
    struct http_request *q;

    if (slice_eq(head->method, SLICE("CONNECT"))) {
        conn_bad(c, 405, "CONNECT is not supported");
        return;
    }
    fault = http_target_read(&own);
    if (fault != NULL) {
        conn_bad(c, 400, fault);
        return;
    }
    if (http_head_find(head, SLICE("Expect")).ptr != NULL && !head->expect_continue &&
        head->minor > 0) {
        conn_bad(c, 417, "only 100-continue can be expected");
        return;
    }
    q = block_get_zeroed(sizeof(*q));
    if (q == NULL) {
        conn_bad(c, 500, "out of memory");
        return;
    }
    q->magic = REQUEST_MAGIC;
    q->conn = c;
    q->head = own;
    c->request = q;
    conn_set_state(c, CONN_BODY);
    s->ops->request(s->owner, q, &q->head);
}

static void take_body(struct http_conn *c, struct slice bytes)
{
    struct http_request *q = c->request;

    if (c->state == CONN_BODY) {
        q->body_bytes += bytes.len;
        c->server->ops->body(q->owner, bytes);
        return;
    }
    c->drained_bytes += bytes.len;
    if (c->drained_bytes > DRAIN_BYTES_MAX) {
        conn_close(c, END_GENTLY);
    }
}

static void end_body(struct http_conn *c)
{
    if (c->state == CONN_DRAIN) {
        conn_set_state(c, CONN_IDLE);
        return;
    }
    conn_set_state(c, CONN_REPLY);
    c->server->ops->body_end(c->request->owner);
}

/* Where nothing is there to go on with: an idle connection keeps little memory. */
static bool rest(struct http_conn *c)
{
    if (c->state != CONN_IDLE || buf_len(&c->held) > 0 || !http_parser_idle(c->parser)) {
        return false;
    }
    http_parser_release(c->parser);
    buf_release(&c->held);
    return true;
}

void conn_reply_over(struct http_conn *c)
{
    if (c->state == CONN_REPLY) {
        conn_set_state(c, CONN_IDLE);
    } else {
        conn_set_state(c, CONN_DRAIN);
    }
    if (!c->feeding && !rest(c)) {
        task_defer(c->loop, &c->again);
    }
}

/* --- bytes
 * ------------------------------------------------------------------------------------------- */

/* Whether the next event may be looked for. A client that does not take its replies gets no further
 * ones. */
static bool may_feed(const struct http_conn *c)
{
    switch (c->state) {
    case CONN_IDLE:
        return !sock_over_high(c->sock);
    case CONN_HEAD:
    case CONN_DRAIN:
        return true;
    case CONN_BODY:
        return !c->request->paused;
    case CONN_REPLY:
    case CONN_CLOSED:
        break;
    }
    return false;
}

static void tell_announced(struct http_conn *c)
{
    uint64_t bytes = http_parser_announced(c->parser);

    if (bytes > 0 && c->state == CONN_BODY && c->server->ops->announced != NULL) {
        c->server->ops->announced(c->request->owner, bytes);
    }
}

static void act_on(struct http_conn *c, const struct http_event *ev)
{
    if (c->state == CONN_IDLE && (ev->kind == HTTP_EV_HEAD || !http_parser_idle(c->parser))) {
        conn_set_state(c, CONN_HEAD);
    }
    switch (ev->kind) {
    case HTTP_EV_MORE:
        tell_announced(c);
        break;
    case HTTP_EV_HEAD:
        begin_request(c, ev->head);
        break;
    case HTTP_EV_BODY:
        take_body(c, ev->body);
        break;
    case HTTP_EV_END:
        end_body(c);
        break;
    }
}

/* Returns bytes used. Handlers may end the request, the connection or the server meanwhile. */
static size_t feed(struct http_conn *c, struct slice in)
{
    struct http_event ev = {.kind = HTTP_EV_END};
    size_t used = 0;

    c->feeding = true;
    while (may_feed(c) && ev.kind != HTTP_EV_MORE) {
        struct err e;
        ptrdiff_t n = http_parser_feed(c->parser, slice_skip(in, used), &ev, &e);

        if (n < 0) {
            conn_bad(c, http_status_of_fault((int)n), e.text);
            break;
        }
        used += (size_t)n;
        act_on(c, &ev);
    }
    c->feeding = false;
    if (c->state != CONN_CLOSED) {
        settle_timer(c);
    }
    return used;
}

static void on_data(void *owner, struct slice in)
{
    struct http_conn *c = conn_of(owner);
    size_t used;

    counter_add(COUNTER_BYTES_FROM_CLIENTS, (int64_t)in.len);
    used = feed(c, in);
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (used < in.len && !buf_append(&c->held, slice_skip(in, used))) {
        conn_left(c, END_NOW); /* out of memory: bytes are lost, so the connection is */
        return;
    }
    if (c->state == CONN_BODY || c->state == CONN_DRAIN) {
        conn_arm_body_timer(c);
    }
    (void)rest(c);
    conn_update_reading(c);
}

static void on_again(void *owner)
{
    struct http_conn *c = conn_of(owner);
    size_t used = feed(c, buf_slice(&c->held));

    if (c->state != CONN_CLOSED) {
        buf_consume(&c->held, used);
        (void)rest(c);
        conn_update_reading(c);
    }
}

static void on_eof(void *owner)
{
    conn_left(conn_of(owner), END_GENTLY);
}

/* Reading is paused: only a running reply makes this matter before the bytes in between are read.
 */
static void on_hangup(void *owner)
{
    struct http_conn *c = conn_of(owner);

    if (c->request != NULL) {
        conn_left(c, END_GENTLY);
    }
}

static void on_closed(void *owner, int error)
{
    (void)error; /* whatever it was, the client is gone */
    conn_left(conn_of(owner), END_NOW);
}

static void on_drained(void *owner)
{
    struct http_conn *c = conn_of(owner);

    if (c->request == NULL) {
        task_defer(c->loop, &c->again); /* requests may have waited for it */
    } else if (c->server->ops->drained != NULL) {
        c->server->ops->drained(c->request->owner);
    }
}

static void on_sent(void *owner)
{
    struct http_conn *c = conn_of(owner);

    if (c->request != NULL && c->request->notify) {
        c->request->notify = false;
        if (c->server->ops->sent != NULL) {
            c->server->ops->sent(c->request->owner);
        }
    }
}

/* Bytes of a reply may be on their way still: they have as much time again after each that moves.
 */
static void idle_too_long(struct http_conn *c)
{
    int64_t delivered = sock_unsent(c->sock) > 0 ? sock_delivered(c->sock) : c->idle_delivered;

    if (delivered == c->idle_delivered) {
        conn_close(c, END_GENTLY);
        return;
    }
    c->idle_delivered = delivered;
    arm(c, c->server->limits.idle_timeout_ms);
}

static void on_timer(void *owner)
{
    struct http_conn *c = conn_of(owner);

    if (loop_now_us(c->loop) < c->due_us) {
        settle_timer(c);
        return;
    }
    switch (c->state) {
    case CONN_HEAD:
        conn_bad(c, 408, "the head of the request took too long");
        break;
    case CONN_BODY:
        conn_bad(c, 408, "the body of the request took too long");
        break;
    case CONN_IDLE:
        idle_too_long(c);
        break;
    case CONN_DRAIN:
        conn_close(c, END_GENTLY);
        break;
    case CONN_REPLY:
    case CONN_CLOSED:
        break;
    }
}

static const struct sock_ops conn_sock_ops = {
    .data = on_data,
    .eof = on_eof,
    .hangup = on_hangup,
    .drained = on_drained,
    .sent = on_sent,
    .closed = on_closed,
};

/* --- the server
 * -------------------------------------------------------------------------------------- */

struct http_server *http_server_new(struct loop *loop, const struct http_server_ops *ops,
                                    void *owner, const struct http_server_limits *limits)
{
    struct http_server *s = xcalloc(1, sizeof(*s));

    s->loop = loop;
    s->ops = ops;
    s->owner = owner;
    s->limits = *limits;
    return s;
}

static void server_destroy(void *ptr)
{
    struct http_server *s = ptr;

    buf_fini(&s->head);
    buf_fini(&s->date);
    free(s);
}

void http_server_free(struct http_server **sp)
{
    static const struct http_server_ops deaf;
    struct http_server *s = *sp;
    struct http_conn *c;

    if (s == NULL) {
        return;
    }
    *sp = NULL;
    s->ops = &deaf;
    while ((c = conn_list_first(&s->conns)) != NULL) {
        if (c->request != NULL) {
            request_free(c->request);
            c->request = NULL;
        }
        conn_close(c, END_GENTLY);
    }
    /* Buried, not freed: a callback of one of its connections may be running. */
    loop_bury(s->loop, s, server_destroy);
}

/* NULL: none more, or out of memory. */
static struct http_conn *conn_new(struct http_server *s, const struct addr *peer)
{
    struct http_conn *c = s->draining ? NULL : calloc(1, sizeof(*c));

    if (c == NULL) {
        return NULL;
    }
    c->parser = http_parser_new(HTTP_PARSE_REQUESTS);
    if (c->parser == NULL) {
        free(c);
        return NULL;
    }
    c->magic = CONN_MAGIC;
    c->server = s;
    c->loop = s->loop;
    c->peer = *peer;
    c->reading = true;
    timer_init(&c->timer, on_timer, c);
    task_init(&c->again, on_again, c);
    return c;
}

/* It came to nothing. */
static void tell_closed(struct http_server *s)
{
    if (s->ops->closed != NULL) {
        s->ops->closed(s->owner);
    }
}

void http_server_accept(struct http_server *s, int fd, const struct addr *peer)
{
    struct sock *sock = sock_adopt(s->loop, fd, NULL, NULL); /* owned before it tells */

    if (sock == NULL) {
        tell_closed(s);
        return;
    }
    (void)http_server_take(s, sock, peer);
}

bool http_server_take(struct http_server *s, struct sock *sock, const struct addr *peer)
{
    struct http_conn *c = conn_new(s, peer);

    if (c == NULL) {
        sock_close(&sock, false);
        tell_closed(s);
        return false;
    }
    c->sock = sock;
    sock_own(sock, &conn_sock_ops, c);
    conn_list_push(&s->conns, c);
    arm(c, s->limits.idle_timeout_ms);
    return true;
}

void http_server_drain(struct http_server *s)
{
    struct http_conn *next;

    s->draining = true;
    for (struct http_conn *c = conn_list_first(&s->conns); c != NULL; c = next) {
        next = conn_list_next(&s->conns, c);
        if (c->state == CONN_IDLE || c->state == CONN_DRAIN) {
            conn_close(c, END_GENTLY);
        }
    }
}

size_t http_server_open(const struct http_server *s)
{
    return s->conns.count;
}

void http_request_set_owner(struct http_request *q, void *owner)
{
    OBJ_CHECK(q, REQUEST_MAGIC);
    q->owner = owner;
}

const struct addr *http_request_peer(const struct http_request *q)
{
    OBJ_CHECK(q, REQUEST_MAGIC);
    return &q->conn->peer;
}

void http_request_pause(struct http_request *q)
{
    OBJ_CHECK(q, REQUEST_MAGIC);
    q->paused = true;
    if (q->conn->state == CONN_BODY) {
        conn_arm_body_timer(q->conn);
        conn_update_reading(q->conn);
    }
}

void http_request_resume(struct http_request *q)
{
    OBJ_CHECK(q, REQUEST_MAGIC);
    if (!q->paused) {
        return;
    }
    q->paused = false;
    if (q->conn->state == CONN_BODY) {
        conn_arm_body_timer(q->conn);
        if (!q->conn->feeding) {
            task_defer(q->conn->loop, &q->conn->again);
        }
    }
}
