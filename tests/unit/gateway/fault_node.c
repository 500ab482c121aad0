/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { IN_BYTES = 4 * 1024, ENDS = 32 };

#define HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: "

struct end {
    struct sock *sock;
    char in[IN_BYTES];
    size_t len;
};

static struct loop *node_loop;
static const char *node_part;
static struct end ends[ENDS];
static size_t end_count;

static bool holds(const struct end *e, const char *text)
{
    return memmem(e->in, e->len, text, strlen(text)) != NULL;
}

static void put(struct end *e, const char *text)
{
    (void)sock_write(e->sock, slice_str(text)); /* out of memory comes as closed too */
}

static void put_part(struct end *e, const char *part)
{
    char size[32];

    (void)snprintf(size, sizeof(size), "%zx\r\n", strlen(part) + 1);
    put(e, size);
    put(e, part);
    put(e, "\n\r\n");
}

static void answer(struct end *e)
{
    char head[256];
    const char *body = "{\"models\":[]}";

    if (holds(e, "POST ")) {
        put(e, HEAD "application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 1; i < FAULT_PARTS; i++) {
            put_part(e, node_part);
        }
        put_part(e, FAULT_LAST);
        put(e, "0\r\n\r\n");
    } else {
        if (holds(e, "GET /api/version ")) {
            body = "{\"version\":\"0.33.0\"}";
        } else if (holds(e, "GET /api/tags ")) {
            body = "{\"models\":[{\"name\":\"m:latest\"}]}";
        }
        (void)snprintf(head, sizeof(head), HEAD "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                       strlen(body), body);
        put(e, head);
    }
    sock_shutdown(e->sock);
}

static void on_data(void *owner, struct slice in)
{
    struct end *e = owner;

    assert_true(e->len + in.len <= sizeof(e->in));
    memcpy(e->in + e->len, in.ptr, in.len);
    e->len += in.len;
    if (e->in[e->len - 1] == '}' || (holds(e, "GET ") && holds(e, "\r\n\r\n"))) {
        answer(e);
    }
}

static void on_gone(void *owner)
{
    struct end *e = owner;

    sock_close(&e->sock, false);
}

static void on_closed(void *owner, int error)
{
    (void)error;
    on_gone(owner);
}

static const struct sock_ops ops = {.data = on_data, .eof = on_gone, .closed = on_closed};

void fault_node_begin(struct loop *loop, const char *part)
{
    node_loop = loop;
    node_part = part;
    end_count = 0;
}

void fault_node_accept(void *owner, int fd, const struct addr *peer)
{
    struct end *e = &ends[end_count++];

    (void)owner;
    (void)peer;
    assert_true(end_count <= ENDS);
    e->len = 0;
    e->sock = sock_adopt(node_loop, fd, &ops, e); /* NULL: closed, which the gateway sees */
}

void fault_node_end(void)
{
    for (size_t i = 0; i < end_count; i++) {
        sock_close(&ends[i].sock, false);
    }
}
