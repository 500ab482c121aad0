/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/proxied.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "gateway/sub.h"
#include "gateway/trust.h"
#include "reactor/proxy_header.h"
#include "reactor/sock.h"

enum { PROXIED_MAGIC = 0x70726f78, HEADER_TIMEOUT_MS = 10000 };

static struct proxied *proxied_of(void *owner)
{
    struct proxied *p = owner;

    OBJ_CHECK(p, PROXIED_MAGIC);
    return p;
}

static void destroy(void *ptr)
{
    struct proxied *p = ptr;

    buf_fini(&p->held);
    p->magic = 0;
    free(p);
}

/* Its socket is closed, or another's. */
static void forget(struct proxied *p)
{
    timer_cancel(p->sub->loop, &p->limit);
    proxied_list_remove(&p->sub->proxied, p);
    loop_bury(p->sub->loop, p, destroy);
}

static void drop(struct proxied *p)
{
    sock_close(&p->sock, false);
    sub_closed(p->sub);
    forget(p);
}

static void log_refused(enum exchange_face face, const struct addr *peer, const char *why)
{
    char client[ADDR_TEXT_MAX];

    addr_format_host(peer, client);
    LOG_INFO("proxy_refused", "client=%s face=%s why=\"%s\"", client,
             face == FACE_MCP ? "mcp" : "http", why);
}

static void refuse(struct proxied *p, enum counter_id counter, const char *why)
{
    counter_add(counter, 1);
    log_refused(p->face, &p->peer, why);
    drop(p);
}

/* `rest` came behind the header. */
static void pass_on(struct proxied *p, const struct proxy_header *h, struct slice rest)
{
    struct addr client = h->names_client ? addr_of_ip(&h->ip, h->port) : p->peer;
    struct sock *sock = p->sock;
    struct sub *sub = p->sub;
    enum exchange_face face = p->face;

    counter_add(h->names_client ? COUNTER_PROXY_CLIENT : COUNTER_PROXY_LOCAL, 1);
    p->sock = NULL;
    forget(p);
    if (sub_take_sock(sub, face, sock, &client)) {
        sock_pass(sock, rest);
    }
}

static void on_data(void *owner, struct slice in)
{
    struct proxied *p = proxied_of(owner);
    size_t had = buf_len(&p->held);
    struct slice begin = in;
    struct proxy_header h;
    struct err e = {0};
    ptrdiff_t used;

    if (had > 0) {
        size_t room = PROXY_HEADER_BYTES_MAX - had;

        if (!buf_append(&p->held, slice_first(in, room))) {
            drop(p); /* out of memory */
            return;
        }
        begin = buf_slice(&p->held);
    }
    used = proxy_header_read(begin, &h, &e);
    if (used < 0) {
        refuse(p, COUNTER_PROXY_MALFORMED, e.text);
    } else if (used > 0) {
        /* What was held was not the whole of it. */
        pass_on(p, &h, slice_skip(in, (size_t)used - had));
    } else if (had == 0 && !buf_append(&p->held, in)) {
        drop(p);
    }
}

/* Balancers see so whether somebody listens: that is no mistake. */
static void on_eof(void *owner)
{
    struct proxied *p = proxied_of(owner);

    if (buf_len(&p->held) > 0) {
        refuse(p, COUNTER_PROXY_MALFORMED, "the connection ended within it");
    } else {
        drop(p);
    }
}

static void on_broken(void *owner, int error)
{
    (void)error; /* there is nobody to tell */
    drop(proxied_of(owner));
}

static void on_limit(void *owner)
{
    refuse(proxied_of(owner), COUNTER_PROXY_MALFORMED, "it did not come within 10 s");
}

static const struct sock_ops sock_ops = {
    .data = on_data,
    .eof = on_eof,
    .closed = on_broken,
};

/* NULL: out of memory; the descriptor is closed. */
static struct proxied *proxied_new(struct sub *s, int fd)
{
    struct proxied *p = calloc(1, sizeof(*p));

    if (p == NULL) {
        sock_drop(s->loop, fd);
        return NULL;
    }
    p->sock = sock_adopt(s->loop, fd, &sock_ops, p);
    if (p->sock == NULL) {
        free(p);
        return NULL;
    }
    p->magic = PROXIED_MAGIC;
    p->sub = s;
    timer_init(&p->limit, on_limit, p);
    return p;
}

void proxied_accept(struct sub *s, enum exchange_face face, int fd, const struct addr *peer)
{
    struct proxied *p;

    if (s->draining || !trust_has(&s->config->trusted, peer)) {
        if (!s->draining) {
            counter_add(COUNTER_PROXY_UNTRUSTED, 1);
            log_refused(face, peer, "the peer is not in trusted_proxies");
        }
        sock_drop(s->loop, fd);
        sub_closed(s);
        return;
    }
    p = proxied_new(s, fd);
    if (p == NULL) {
        counter_add(COUNTER_ACCEPT_FAILED, 1);
        sub_closed(s);
        return;
    }
    p->face = face;
    p->peer = *peer;
    proxied_list_push(&s->proxied, p);
    timer_arm(s->loop, &p->limit, HEADER_TIMEOUT_MS);
}

void proxied_drop_all(struct sub *s)
{
    struct proxied *p;

    while ((p = proxied_list_first(&s->proxied)) != NULL) {
        drop(p);
    }
}
