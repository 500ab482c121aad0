/* SPDX-License-Identifier: Apache-2.0 */
#include "node/call.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/block.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "http/io/chunk.h"
#include "http/io/client.h"
#include "node/registry.h"

enum { CALL_MAGIC = 0x63616c6c, DETACHED_MS = 5000 };

enum call_phase { CALL_CONNECTING, CALL_WAITING, CALL_ANSWERING };

struct node_call {
    uint32_t magic;
    struct node *node;
    struct loop *loop;
    const struct node_call_ops *ops;
    void *owner;
    struct http_client *client;
    struct timer limit;
    uint64_t due_us;   /* when the phase's time is over */
    uint64_t timer_us; /* when the timer fires: not behind that; then it is armed anew */
    enum call_phase phase;
    struct buf head;
    struct slice pieces[NODE_CALL_PIECES_MAX];
    size_t piece_count;
    uint64_t connect_timeout_ms;
    bool is_head;
    bool patient;
    bool reads_little;
    bool is_poll;
    bool once;
    bool upload;
    bool upload_chunked;
    bool pooled;  /* the connection was used before */
    bool retried; /* an earlier connection may have taken the request to the node */
    bool no_descriptor;
    bool paused;
    struct node_call *next; /* detached: the node's list of those */
    struct node_call **link;
};

static const struct http_client_ops client_ops;

static void call_destroy(void *ptr)
{
    struct node_call *c = ptr;

    buf_fini(&c->head);
    block_put(c, sizeof(*c));
}

static void push_detached(struct node_call *c)
{
    c->link = &c->node->detached;
    c->next = *c->link;
    if (c->next != NULL) {
        c->next->link = &c->next;
    }
    *c->link = c;
}

static void remove_detached(struct node_call *c)
{
    *c->link = c->next;
    if (c->next != NULL) {
        c->next->link = c->link;
    }
}

/* The only way out: whatever is left of the connection is closed, the memory goes at the end of the
 * turn. */
static void call_release(struct node_call *c)
{
    if (c->link != NULL) {
        remove_detached(c);
    }
    timer_cancel(c->loop, &c->limit);
    if (c->client != NULL) {
        http_client_close(&c->client);
    }
    node_call_ended(c->node, c->is_poll);
    c->magic = 0;
    loop_bury(c->loop, c, call_destroy);
}

static void call_fail(struct node_call *c, int code, const char *text, bool sent_nothing)
{
    const struct node_call_ops *ops = c->ops;
    void *owner = c->owner;

    call_release(c);
    if (ops != NULL) {
        ops->failed(owner, code, text, sent_nothing);
    }
}

static uint64_t idle_limit_ms(const struct node_call *c)
{
    const struct node_limits *limits = nodes_limits(c->node->set);

    return c->patient && limits->first_byte_timeout_ms > limits->idle_timeout_ms
               ? limits->first_byte_timeout_ms
               : limits->idle_timeout_ms;
}

/* Each part moves the limit away: the timer stays where it is. */
static void set_limit(struct node_call *c, uint64_t timeout_ms)
{
    uint64_t now_us = loop_now_us(c->loop);

    c->due_us = now_us + timeout_ms * 1000;
    if (!timer_armed(&c->limit) || c->timer_us > c->due_us) {
        c->timer_us = c->due_us;
        timer_arm_us(c->loop, &c->limit, c->due_us - now_us);
    }
}

static void arm_limit(struct node_call *c)
{
    const struct node_limits *limits = nodes_limits(c->node->set);

    if (c->ops == NULL) {
        return; /* detached: its own limit runs */
    }
    if (c->paused && c->phase != CALL_CONNECTING) {
        /* The node cannot be blamed for silence while nobody listens. */
        timer_cancel(c->loop, &c->limit);
        return;
    }
    switch (c->phase) {
    case CALL_CONNECTING:
        set_limit(c, c->connect_timeout_ms);
        break;
    case CALL_WAITING:
        set_limit(c, limits->first_byte_timeout_ms);
        break;
    case CALL_ANSWERING:
        set_limit(c, idle_limit_ms(c));
        break;
    }
}

/* What the owner does changes the limits of the answer, not that of connecting. */
static void rearm_limit(struct node_call *c)
{
    if (c->phase != CALL_CONNECTING) {
        arm_limit(c);
    }
}

static void fail_unconnected(struct node_call *c, const char *why)
{
    if (!c->is_poll) {
        node_mark_down(c->node, why);
    }
    call_fail(c, MCP_ENODE_UNAVAILABLE, why, !c->retried);
}

static void on_limit(void *owner)
{
    struct node_call *c = owner;
    const struct node_limits *limits = nodes_limits(c->node->set);
    char text[160];

    OBJ_CHECK(c, CALL_MAGIC);
    if (c->ops == NULL) {
        call_release(c);
        return;
    }
    if (loop_now_us(c->loop) < c->due_us) {
        c->timer_us = c->due_us;
        timer_arm_us(c->loop, &c->limit, c->due_us - loop_now_us(c->loop));
        return;
    }
    switch (c->phase) {
    case CALL_CONNECTING:
        counter_add(COUNTER_NODE_TIMEOUT_CONNECT, 1);
        counter_add(COUNTER_NODE_CONNECT_FAILED, 1);
        (void)snprintf(text, sizeof(text), "no connection within %" PRIu64 " ms",
                       c->connect_timeout_ms);
        fail_unconnected(c, text);
        break;
    case CALL_WAITING:
        counter_add(COUNTER_NODE_TIMEOUT_FIRST_BYTE, 1);
        (void)snprintf(text, sizeof(text), "no answer within %" PRIu64 " ms",
                       limits->first_byte_timeout_ms);
        call_fail(c, MCP_EUPSTREAM_ERROR, text, false);
        break;
    case CALL_ANSWERING:
        counter_add(COUNTER_NODE_TIMEOUT_IDLE, 1);
        (void)snprintf(text, sizeof(text), "silent for %" PRIu64 " ms within its answer",
                       idle_limit_ms(c));
        call_fail(c, MCP_ESTREAM_INTERRUPTED, text, false);
        break;
    }
}

static bool header_is_ours(struct slice name)
{
    static const struct slice ours[] = {
        SLICE("host"),          SLICE("content-length"),   SLICE("transfer-encoding"),
        SLICE("authorization"), SLICE("x-api-key"),        SLICE("cookie"),
        SLICE("connection"),    SLICE("proxy-connection"), SLICE("expect")};

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (slice_eq_case(name, ours[i])) {
            return true;
        }
    }
    return false;
}

/* Whether the node's own lines have a header of that name: it replaces the client's. */
static bool header_is_nodes(const char *lines, struct slice name)
{
    for (const char *line = lines; *line != '\0'; line = strstr(line, "\r\n") + 2) {
        if (strncasecmp(line, name.ptr, name.len) == 0 && line[name.len] == ':') {
            return true;
        }
    }
    return false;
}

static bool build_head(struct node_call *c, const struct node_call_request *r)
{
    struct buf *b = &c->head;
    uint64_t body_bytes = 0;

    buf_append(b, r->method);
    buf_append_byte(b, ' ');
    buf_append_str(b, c->node->spec->prefix);
    buf_append(b, r->path);
    buf_append(b, SLICE(" HTTP/1.1\r\nHost: "));
    buf_append_str(b, c->node->spec->host_header);
    buf_append(b, SLICE("\r\n"));
    for (size_t i = 0; i < r->header_count; i++) {
        if (!header_is_ours(r->headers[i].name) &&
            !header_is_nodes(c->node->spec->extra_headers, r->headers[i].name)) {
            http_header_append(b, r->headers[i].name, r->headers[i].value);
        }
    }
    buf_append_str(b, c->node->spec->extra_headers);
    for (size_t i = 0; i < r->piece_count; i++) {
        body_bytes += r->pieces[i].len;
    }
    if (r->upload && r->upload_length < 0) {
        buf_append(b, SLICE("Transfer-Encoding: chunked\r\n"));
    } else if (r->has_body || r->upload) {
        buf_append(b, SLICE("Content-Length: "));
        buf_append_uint(b, r->upload ? (uint64_t)r->upload_length : body_bytes);
        buf_append(b, SLICE("\r\n"));
    }
    return buf_append(b, SLICE("\r\n"));
}

/* Sends on c->client, which is connected or connecting. */
static bool send_request(struct node_call *c)
{
    size_t bytes = buf_len(&c->head);

    for (size_t i = 0; i < c->piece_count; i++) {
        bytes += c->pieces[i].len;
    }
    counter_add(COUNTER_BYTES_TO_NODES, (int64_t)bytes);
    return http_client_send(c->client, buf_slice(&c->head), c->pieces, c->piece_count, c->is_head,
                            c->upload);
}

static bool connect_fresh(struct node_call *c)
{
    c->pooled = false;
    c->phase = CALL_CONNECTING;
    c->client = http_client_connect(c->loop, &c->node->addr, &client_ops, c);
    if (c->client == NULL) {
        c->no_descriptor = errno == EMFILE || errno == ENFILE;
        counter_add(COUNTER_NODE_NO_DESCRIPTOR, c->no_descriptor);
        return false;
    }
    counter_add(COUNTER_NODE_CONNECTS, 1);
    http_client_read_little(c->client, c->reads_little);
    arm_limit(c);
    if (!send_request(c)) {
        return false;
    }
    if (c->paused) {
        http_client_pause(c->client);
    }
    return true;
}

static bool connect_any(struct node_call *c)
{
    c->client = c->once ? NULL : node_pool_take(&c->node->pool);
    if (c->client == NULL) {
        return connect_fresh(c);
    }
    counter_add(COUNTER_NODE_REUSED, 1);
    c->pooled = true;
    c->phase = CALL_WAITING;
    http_client_set_owner(c->client, &client_ops, c);
    http_client_read_little(c->client, c->reads_little);
    arm_limit(c);
    return send_request(c);
}

static int why_not_started(const struct node_call *c, struct err *e)
{
    return c->no_descriptor ? err_set(e, MCP_EQUEUE_FULL,
                                      "no file descriptor is left for a connection to the node")
                            : err_set(e, MCP_ENOMEM, "out of memory");
}

struct node_call *node_call_start(struct node *n, const struct node_call_request *request,
                                  const struct node_call_ops *ops, void *owner, struct err *e)
{
    struct node_call *c = block_get_zeroed(sizeof(*c));

    ASSERT(request->piece_count <= NODE_CALL_PIECES_MAX && n->has_addr);
    if (c == NULL) {
        (void)err_set(e, MCP_ENOMEM, "out of memory");
        return NULL;
    }
    c->magic = CALL_MAGIC;
    c->node = n;
    c->loop = nodes_loop(n->set);
    c->ops = ops;
    c->owner = owner;
    c->is_head = request->is_head;
    c->patient = request->patient;
    c->reads_little = request->reads_little;
    c->is_poll = request->is_poll;
    c->connect_timeout_ms = request->connect_timeout_ms > 0
                                ? request->connect_timeout_ms
                                : nodes_limits(n->set)->connect_timeout_ms;
    c->upload = request->upload;
    c->upload_chunked = request->upload && request->upload_length < 0;
    c->once = request->once || request->upload;
    c->piece_count = request->piece_count;
    if (request->piece_count > 0) {
        memcpy(c->pieces, request->pieces, request->piece_count * sizeof(*request->pieces));
    }
    timer_init(&c->limit, on_limit, c);
    node_call_began(n, c->is_poll);
    if (!build_head(c, request) || !connect_any(c)) {
        (void)why_not_started(c, e);
        call_release(c);
        return NULL;
    }
    return c;
}

static void on_connected(void *owner)
{
    struct node_call *c = owner;

    OBJ_CHECK(c, CALL_MAGIC);
    c->phase = CALL_WAITING;
    arm_limit(c);
    if (c->ops != NULL && c->ops->connected != NULL) {
        c->ops->connected(c->owner);
    }
}

static void note_heard(const struct node_call *c)
{
    if (!c->is_poll) {
        node_heard(c->node, loop_now_ms(c->loop));
    }
}

static void on_head(void *owner, const struct http_head *head)
{
    struct node_call *c = owner;

    OBJ_CHECK(c, CALL_MAGIC);
    c->phase = CALL_ANSWERING;
    note_heard(c);
    arm_limit(c);
    if (c->ops != NULL) {
        c->ops->head(c->owner, head);
    }
}

static void on_body(void *owner, struct slice bytes)
{
    struct node_call *c = owner;

    OBJ_CHECK(c, CALL_MAGIC);
    counter_add(COUNTER_BYTES_FROM_NODES, (int64_t)bytes.len);
    note_heard(c);
    if (c->ops != NULL) {
        arm_limit(c);
        c->ops->body(c->owner, bytes);
    }
}

static void on_end(void *owner, bool reusable)
{
    struct node_call *c = owner;

    OBJ_CHECK(c, CALL_MAGIC);
    timer_cancel(c->loop, &c->limit);
    /* First the owner, who may still look at the head; then the connection goes its way. */
    if (c->ops != NULL) {
        c->ops->end(c->owner);
    }
    if (reusable) {
        node_pool_put(&c->node->pool, &c->client);
    }
    call_release(c);
}

/* True: the request is out again on a fresh connection. */
static bool retry_stale(struct node_call *c)
{
    http_client_close(&c->client);
    c->retried = true;
    counter_add(COUNTER_NODE_STALE_RETRY, 1);
    LOG_DEBUG("node_stale_retry", "node=%s", c->node->spec->name);
    if (c->ops->again != NULL) {
        c->ops->again(c->owner);
    }
    return connect_fresh(c);
}

/* No port of ours is left, or the queue of its unix socket is full: the node may be as well as
 * ever. */
static bool is_crowded(int error)
{
    return error == EADDRNOTAVAIL || error == EAGAIN;
}

static void on_no_connection(struct node_call *c, int error)
{
    counter_add(COUNTER_NODE_CONNECT_FAILED, 1);
    if (is_crowded(error)) {
        call_fail(c, MCP_EQUEUE_FULL, strerror(error), !c->retried);
    } else {
        fail_unconnected(c, strerror(error));
    }
}

static void on_failed(void *owner, enum http_failure why, int error, const char *reason)
{
    struct node_call *c = owner;

    OBJ_CHECK(c, CALL_MAGIC);
    switch (why) {
    case HTTP_FAIL_CONNECT:
        on_no_connection(c, error);
        return;
    case HTTP_FAIL_STALE:
        if (!c->pooled || c->ops == NULL) {
            call_fail(c, MCP_EUPSTREAM_ERROR, "closed the connection without an answer", false);
        } else if (!retry_stale(c)) {
            struct err e;
            int rv = why_not_started(c, &e);

            call_fail(c, rv, e.text, false);
        }
        return;
    case HTTP_FAIL_CUT:
        /* If the node is gone its other connections are, too; who then connects anew knows that it
         * was sent nothing, and goes elsewhere. */
        node_pool_evict(&c->node->pool);
        call_fail(c, MCP_ESTREAM_INTERRUPTED, "closed the connection within its answer", false);
        return;
    case HTTP_FAIL_GARBAGE:
        counter_add(COUNTER_NODE_BAD_ANSWER, 1);
        call_fail(c, MCP_EUPSTREAM_ERROR, reason == NULL ? "its answer is not HTTP" : reason,
                  false);
        return;
    case HTTP_FAIL_NOMEM:
        break;
    }
    call_fail(c, MCP_ENOMEM, "out of memory", false);
}

static void on_drained(void *owner)
{
    struct node_call *c = owner;

    OBJ_CHECK(c, CALL_MAGIC);
    if (c->ops != NULL && c->ops->drained != NULL) {
        c->ops->drained(c->owner);
    }
}

static const struct http_client_ops client_ops = {
    .connected = on_connected,
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .failed = on_failed,
    .drained = on_drained,
};

bool node_call_body(struct node_call *c, struct slice bytes)
{
    char size[HTTP_CHUNK_BEGIN_BYTES];

    OBJ_CHECK(c, CALL_MAGIC);
    if (bytes.len == 0) {
        return true;
    }
    counter_add(COUNTER_BYTES_TO_NODES, (int64_t)bytes.len);
    rearm_limit(c);
    if (!c->upload_chunked) {
        return http_client_body(c->client, bytes);
    }
    return http_client_body(c->client, http_chunk_begin(size, bytes.len)) &&
           http_client_body(c->client, bytes) && http_client_body(c->client, SLICE("\r\n"));
}

void node_call_body_end(struct node_call *c)
{
    OBJ_CHECK(c, CALL_MAGIC);
    if (c->upload_chunked) {
        (void)http_client_body(c->client, SLICE("0\r\n\r\n")); /* a failure comes as `failed` */
    }
    rearm_limit(c);
    http_client_body_end(c->client);
}

bool node_call_over_high(const struct node_call *c)
{
    return http_client_over_high(c->client);
}

void node_call_pause(struct node_call *c)
{
    OBJ_CHECK(c, CALL_MAGIC);
    if (!c->paused) {
        c->paused = true;
        rearm_limit(c);
        http_client_pause(c->client);
    }
}

void node_call_resume(struct node_call *c)
{
    OBJ_CHECK(c, CALL_MAGIC);
    if (c->paused) {
        c->paused = false;
        rearm_limit(c);
        http_client_resume(c->client);
    }
}

void node_call_read_little(struct node_call *c, bool little)
{
    OBJ_CHECK(c, CALL_MAGIC);
    c->reads_little = little;
    http_client_read_little(c->client, little);
}

void node_call_cancel(struct node_call **call)
{
    struct node_call *c = *call;

    OBJ_CHECK(c, CALL_MAGIC);
    *call = NULL;
    c->ops = NULL;
    call_release(c);
}

void node_call_detach(struct node_call **call)
{
    struct node_call *c = *call;

    OBJ_CHECK(c, CALL_MAGIC);
    *call = NULL;
    c->ops = NULL;
    if (c->paused) {
        c->paused = false;
        http_client_resume(c->client);
    }
    push_detached(c);
    timer_arm(c->loop, &c->limit, DETACHED_MS);
}

void node_calls_drop(struct node *n)
{
    while (n->detached != NULL) {
        call_release(n->detached);
    }
    ASSERT(n->calls == 0);
}

bool node_call_is_pooled(const struct node_call *c)
{
    return c->pooled;
}

struct node *node_call_node(const struct node_call *c)
{
    return c->node;
}

uint64_t node_call_read_us(const struct node_call *c)
{
    return http_client_read_us(c->client);
}
