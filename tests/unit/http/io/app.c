/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <stdio.h>
#include <string.h>

static void tell(struct app *a, const char *what)
{
    int n = snprintf(a->told + a->told_len, sizeof(a->told) - a->told_len, "%s\n", what);

    if (a->told_len + (size_t)n < sizeof(a->told)) {
        a->told_len += (size_t)n;
    }
}

static void act(struct app *a, const char *where)
{
    if (a->act_in != NULL && strcmp(a->act_in, where) == 0) {
        a->act(a);
    }
}

static void on_request(void *owner, struct http_request *q, const struct http_head *head)
{
    struct app *a = owner;
    char line[256];
    struct slice target = head->target;

    (void)snprintf(line, sizeof(line), "%.*s %.*s", SLICE_ARG(head->method),
                   SLICE_ARG(head->target));
    tell(a, line);
    if (slice_starts(target, SLICE("/now"))) {
        http_reply_simple(&q, 200, SLICE("text/plain"), SLICE("hi"));
        assert_null(q);
        return;
    }
    if (slice_starts(target, SLICE("/refuse"))) {
        http_reply_simple(&q, 403, SLICE("text/plain"), SLICE("no"));
        return;
    }
    assert_null(a->q);
    a->q = q;
    a->head = head;
    a->body_len = a->body_total = 0;
    a->echo = slice_starts(target, SLICE("/echo"));
    http_request_set_owner(q, a);
    if (slice_starts(target, SLICE("/pause"))) {
        http_request_pause(q);
    } else if (a->echo || slice_starts(target, SLICE("/want"))) {
        http_request_continue(q);
        http_request_continue(q);
    }
    act(a, "request");
}

static void on_body(void *owner, struct slice bytes)
{
    struct app *a = owner;

    assert_non_null(a->q);
    a->body_total += bytes.len;
    bytes = slice_first(bytes, sizeof(a->body) - a->body_len); /* its beginning is enough */
    if (bytes.len > 0) {
        memcpy(a->body + a->body_len, bytes.ptr, bytes.len);
        a->body_len += bytes.len;
    }
    act(a, "body");
}

static void on_body_end(void *owner)
{
    struct app *a = owner;

    assert_non_null(a->q);
    tell(a, "end");
    if (a->echo) {
        http_reply_simple(&a->q, 200, SLICE("text/plain"), slice_of(a->body, a->body_len));
    }
    act(a, "end");
}

static void on_gone(void *owner)
{
    struct app *a = owner;
    char host[ADDR_TEXT_MAX];

    assert_non_null(a->q);
    addr_format_host(http_request_peer(a->q), host);
    assert_string_equal(host, "127.0.0.1");
    a->q = NULL;
    tell(a, "gone");
    act(a, "gone");
}

static void on_drained(void *owner)
{
    struct app *a = owner;

    assert_non_null(a->q);
    tell(a, "drained");
    act(a, "drained");
}

static void on_sent(void *owner)
{
    struct app *a = owner;

    assert_non_null(a->q);
    tell(a, "sent");
    act(a, "sent");
}

static void on_closed(void *owner)
{
    struct app *a = owner;

    a->closed++;
}

const struct http_server_ops app_ops = {
    .request = on_request,
    .body = on_body,
    .body_end = on_body_end,
    .gone = on_gone,
    .drained = on_drained,
    .sent = on_sent,
    .closed = on_closed,
};

void app_connect(struct app *a, struct peer *p)
{
    int fds[2];
    struct addr from;
    struct err e;

    tcp_pair(fds);
    assert_int_equal(addr_parse(&from, SLICE("127.0.0.1:9"), &e), 0);
    peer_init(p, fds[0]);
    http_server_accept(a->server, fds[1], &from);
}

void app_open(struct app *a, struct peer *p)
{
    a->server = http_server_new(loop, &app_ops, a, &a->limits);
    app_connect(a, p);
}

static bool nothing_gentle(void *arg)
{
    (void)arg;
    return loop_gentle_count(loop) == 0;
}

void app_close(struct app *a, struct peer *p)
{
    http_server_free(&a->server);
    peer_fini(p);
    run_until(nothing_gentle, NULL);
}

struct wanted {
    struct app *app;
    const char *told;
};

static bool was_told(void *arg)
{
    struct wanted *w = arg;

    return strstr(w->app->told, w->told) != NULL;
}

void app_wait(struct app *a, const char *told)
{
    struct wanted w = {a, told};

    run_until(was_told, &w);
}

bool app_was_told(const struct app *a, const char *told)
{
    return strstr(a->told, told) != NULL;
}

static bool is_closed(void *arg)
{
    struct app *a = arg;

    return http_server_open(a->server) == 0;
}

void app_wait_closed(struct app *a)
{
    run_until(is_closed, a);
}
