/* SPDX-License-Identifier: Apache-2.0 */
#include "node_caller.h"

#include <stdio.h>
#include <string.h>

static void told(struct caller *c, char what)
{
    size_t len = strlen(c->told);

    assert_non_null(c->call); /* nothing comes after the end */
    if (what != 'b' || len == 0 || c->told[len - 1] != 'b') {
        assert_true(len + 1 < sizeof(c->told));
        c->told[len] = what;
        c->told[len + 1] = '\0';
    }
    if (c->act_in != what) {
        return;
    }
    if (c->act == 'c') {
        node_call_cancel(&c->call);
        assert_null(c->call);
    } else if (c->act == 'd') {
        node_call_detach(&c->call);
        assert_null(c->call);
    } else {
        node_call_pause(c->call);
    }
}

static void on_head(void *owner, const struct http_head *head)
{
    struct caller *c = owner;

    c->status = head->status;
    told(c, 'h');
}

static void on_body(void *owner, struct slice bytes)
{
    struct caller *c = owner;

    assert_true(bytes.len > 0 && c->body_len + bytes.len < sizeof(c->body));
    memcpy(c->body + c->body_len, bytes.ptr, bytes.len);
    c->body_len += bytes.len;
    c->body[c->body_len] = '\0';
    told(c, 'b');
}

static void on_end(void *owner)
{
    struct caller *c = owner;

    told(c, 'e');
    c->call = NULL;
}

static void on_failed(void *owner, int code, const char *text, bool sent_nothing)
{
    struct caller *c = owner;

    c->code = code;
    c->sent_nothing = sent_nothing;
    (void)snprintf(c->text, sizeof(c->text), "%s", text);
    told(c, 'f');
    c->call = NULL;
}

static void on_drained(void *owner)
{
    told(owner, 'd');
}

const struct node_call_ops caller_ops = {
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .failed = on_failed,
    .drained = on_drained,
};

void caller_start(struct caller *c, struct node *n, const struct node_call_request *request)
{
    c->call = node_call_start(n, request, &caller_ops, c, NULL);
}

void caller_get(struct caller *c, struct node *n)
{
    caller_start(c, n, &(struct node_call_request){.method = SLICE("GET"), .path = SLICE("/x")});
}

struct wanted {
    struct caller *caller;
    const char *told;
};

static bool was_told(void *arg)
{
    struct wanted *w = arg;

    return strlen(w->caller->told) >= strlen(w->told);
}

void caller_wait(struct caller *c, const char *text)
{
    struct wanted w = {c, text};

    run_until(was_told, &w);
    run_turns();
    assert_string_equal(c->told, text);
}

void assert_failed(const struct caller *c, int code, bool sent_nothing, const char *text)
{
    assert_int_equal(c->code, code);
    assert_int_equal(c->sent_nothing, sent_nothing);
    assert_non_null(strstr(c->text, text));
    assert_null(c->call);
}

void call_once(struct peer *p, struct node *n, size_t conn)
{
    struct caller c = {0};

    caller_get(&c, n);
    assert_non_null(c.call);
    peer_wait_request(p, conn);
    peer_send(p, conn, SLICE(ANSWER_HI));
    caller_wait(&c, "hbe");
    assert_string_equal(c.body, "hi");
}
