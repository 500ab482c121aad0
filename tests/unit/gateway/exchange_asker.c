/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_asker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/poll.h"
#include "obs/access_log.h"

struct sub sub;
struct body_memory bodies;
struct config config;

int gateway_setup(void **state)
{
    struct err e = {0};

    (void)node_setup(state);
    config = (struct config){.max_body_bytes = 1 << 20};
    bodies = (struct body_memory){.limit_bytes = 1 << 20};
    sub = (struct sub){.loop = loop,
                       .config = &config,
                       .nodes = nodes,
                       .bodies = &bodies,
                       .instance = "0123456789abcdef",
                       .exchange_step = 1};
    assert_int_equal(access_log_open("off", &e), MCP_OK);
    return 0;
}

int gateway_teardown(void **state)
{
    size_t left = sub.running.count;
    struct exchange *x;

    while ((x = exchange_list_first(&sub.running)) != NULL) {
        exchange_cancel(&x); /* of a test that failed */
    }
    access_log_close();
    (void)node_teardown(state);
    assert_int_equal(left, 0);
    assert_int_equal(bodies.held_bytes, 0);
    assert_int_equal(counted(COUNTER_EXCHANGES_RUNNING), 0);
    assert_int_equal(counted(COUNTER_BODY_BYTES), 0);
    return 0;
}

/* --- the sink
 * -------------------------------------------------------------------------------------- */

static void told(struct asker *a, char what)
{
    size_t len = strlen(a->told);
    bool run = (what == 'b' || what == 'p') && len > 0 && a->told[len - 1] == what;

    assert_non_null(a->x); /* nothing comes after the end */
    if (!run) {
        assert_true(len + 1 < sizeof(a->told));
        a->told[len] = what;
        a->told[len + 1] = '\0';
    }
    if (a->act_in != what) {
        return;
    }
    if (a->act == 'c') {
        exchange_cancel(&a->x);
        assert_null(a->x);
    } else if (a->act == 'a') {
        exchange_abort(a->x, MCP_ESHUTTING_DOWN, "aborted");
    } else {
        exchange_pause(a->x);
    }
}

static void on_admitted(void *owner, struct exchange *x)
{
    struct asker *a = owner;

    assert_ptr_equal(a->x, x);
    assert_true(x->node_id != 0 || x->spread != NULL);
    told(a, 'a');
}

static void on_head(void *owner, const struct http_head *head)
{
    struct asker *a = owner;

    a->status = head->status;
    told(a, 'h');
}

static void keep(struct asker *a, struct slice s)
{
    assert_true(a->len + s.len < sizeof(a->text));
    memcpy(a->text + a->len, s.ptr, s.len);
    a->len += s.len;
    a->text[a->len] = '\0';
}

static void on_bytes(void *owner, struct slice bytes)
{
    keep(owner, bytes);
    told(owner, 'b');
}

static void on_part(void *owner, struct slice part, bool last)
{
    keep(owner, part);
    keep(owner, SLICE("\n"));
    told(owner, last ? 'l' : 'p');
}

static void on_ended(void *owner, const struct exchange_result *result)
{
    struct asker *a = owner;

    a->code = result->code;
    (void)snprintf(a->error, sizeof(a->error), "%.*s", SLICE_ARG(result->text));
    (void)snprintf(a->node_body, sizeof(a->node_body), "%.*s", SLICE_ARG(result->node_body));
    told(a, 'e');
    a->x = NULL;
}

static void on_drained(void *owner)
{
    told(owner, 'd');
}

static const struct exchange_sink sink = {
    .admitted = on_admitted,
    .head = on_head,
    .bytes = on_bytes,
    .part = on_part,
    .ended = on_ended,
    .drained = on_drained,
};

/* --- asking
 * ---------------------------------------------------------------------------------------- */

static struct exchange *make(struct asker *a, enum exchange_face face)
{
    a->x = exchange_new(&sub, face, &sink, a);
    return a->x;
}

/* False: out of memory, refused. */
static bool take_body(struct exchange *x, const char *json)
{
    struct slice body = slice_str(json);

    if (!buf_append(&x->body, body)) {
        exchange_refuse(x, MCP_EINTERNAL, "out of memory");
        return false;
    }
    assert_true(exchange_account_body(x));
    x->bytes_in = body.len;
    return true;
}

void asker_make(struct asker *a, const char *json)
{
    struct exchange *x = make(a, FACE_MCP);
    struct err e = {0};
    int rv;

    if (x == NULL || !take_body(x, json)) {
        return;
    }
    x->native = true;
    assert_int_equal(request_read(&x->request, buf_slice(&x->body), REQUEST_FROM_MCP, &e), 0);
    x->body_is_json = true;
    assert_int_equal(request_op(&x->request, &x->op, &e), 0);
    rv = request_model(&x->request, x->op, &x->model, &e);
    if (rv == MCP_ENOMEM) {
        exchange_refuse(x, MCP_EINTERNAL, "out of memory");
        return;
    }
    assert_int_equal(rv, 0);
    assert_int_equal(request_stream(&x->request, x->op, &x->streams, &e), 0);
    x->has_deadline = x->request.mcp.has_deadline;
    x->deadline_ms = x->request.mcp.deadline_ms;
    x->needs_model = op_is_inference(x->op);
    x->once = op_info(x->op)->once;
    x->stream_end = x->needs_model ? STREAM_END_DONE : STREAM_END_FRAMING;
}

static void start(struct asker *a)
{
    if (a->x != NULL && !a->x->refused) {
        exchange_start(a->x);
    }
}

void ask(struct asker *a, const char *json)
{
    asker_make(a, json);
    start(a);
}

static void ask_http(struct asker *a, const char *path)
{
    struct exchange *x = make(a, FACE_HTTP);

    if (x != NULL) {
        x->method = SLICE("POST");
        x->path = slice_str(path);
        x->relay_any_kind = true;
    }
}

void ask_relay(struct asker *a, const char *path, const char *json, enum stream_end end)
{
    struct exchange *x;
    struct err e = {0};
    int rv;

    ask_http(a, path);
    x = a->x;
    if (x == NULL || !take_body(x, json)) {
        return;
    }
    assert_int_equal(request_read(&x->request, buf_slice(&x->body), REQUEST_FROM_HTTP, &e), 0);
    x->body_is_json = true;
    rv = request_model(&x->request, OP_NONE, &x->model, &e);
    if (rv == MCP_ENOMEM) {
        exchange_refuse(x, MCP_EINTERNAL, "out of memory");
        return;
    }
    assert_int_equal(rv, 0);
    x->stream_end = end;
    start(a);
}

void ask_upload(struct asker *a, const char *path, int64_t length)
{
    ask_http(a, path);
    a->x->once = true;
    a->x->upload = true;
    a->x->upload_length = length;
    start(a);
}

/* --- waiting
 * --------------------------------------------------------------------------------------- */

struct wanted {
    struct asker *asker;
    struct peer *peer;
    const char *text;
};

static bool was_told(void *arg)
{
    struct wanted *w = arg;

    return strlen(w->asker->told) >= strlen(w->text);
}

void asker_wait(struct asker *a, const char *text)
{
    struct wanted w = {.asker = a, .text = text};

    run_until(was_told, &w);
    run_turns();
    assert_string_equal(a->told, text);
}

void assert_ended(const struct asker *a, int code, const char *error)
{
    assert_null(a->x);
    assert_int_equal(a->code, code);
    assert_non_null(strstr(a->error, error));
}

static bool was_asked(void *arg)
{
    struct wanted *w = arg;

    return strstr(w->peer->asked, w->text) != NULL;
}

size_t asked_on(struct peer *p, const char *path)
{
    struct wanted w = {.peer = p, .text = path};

    if (strcmp(path, "/api/tags") != 0 && strcmp(path, "/v1/models") != 0) {
        peer_route_raw(p, path, NULL);
    }
    run_until(was_asked, &w);
    (void)peer_take_asked(p);
    return p->last;
}

void answer(struct peer *p, size_t conn, const char *bytes)
{
    peer_send(p, conn, slice_str(bytes));
}

void answer_json(struct peer *p, size_t conn, const char *status, const char *body)
{
    char out[512];
    int len = snprintf(out, sizeof(out),
                       "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                       "Content-Length: %zu\r\n\r\n%s",
                       status, strlen(body), body);

    assert_in_range(len, 1, sizeof(out) - 1);
    answer(p, conn, out);
}

void answer_chunk(struct peer *p, size_t conn, const char *text)
{
    char out[512];
    int len = snprintf(out, sizeof(out), "%zx\r\n%s\r\n", strlen(text), text);

    assert_in_range(len, 1, sizeof(out) - 1);
    answer(p, conn, out);
}

/* --- nodes
 * ----------------------------------------------------------------------------------------- */

static bool is_up(void *arg)
{
    struct node *n = arg;

    return n->state == NODE_UP && !node_poll_running(n->poll);
}

static struct node *up(struct peer *p)
{
    struct node *n = node_add(p->url);

    node_poll_now(n->poll);
    run_until(is_up, n);
    (void)peer_take_asked(p);
    return n;
}

/* What a node lists; one text for each peer, so that it lasts. */
static const char *list_of(const struct peer *p, const char *format, const char *model)
{
    static char lists[4][128];
    static const struct peer *owners[4];
    size_t i = 0;

    while (owners[i] != NULL && owners[i] != p) {
        i++;
        assert_true(i < 4);
    }
    owners[i] = p;
    (void)snprintf(lists[i], sizeof(lists[i]), "%s%s\"}]}", format, model);
    return lists[i];
}

struct node *ollama_node(struct peer *p, const char *model)
{
    peer_open(p);
    peer_route(p, "/api/version", "200 OK", "{\"version\":\"0.17.4\"}");
    peer_route(p, "/api/tags", "200 OK", list_of(p, "{\"models\":[{\"name\":\"", model));
    return up(p);
}

struct node *openai_node(struct peer *p, const char *model)
{
    peer_open(p);
    peer_route(p, "/v1/models", "200 OK", list_of(p, "{\"data\":[{\"id\":\"", model));
    return up(p);
}
