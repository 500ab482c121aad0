/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/counter.h"
#include "http/parse/forwarded.h"
#include "http/parse/message.h"

int trust_add(struct trust *t, struct slice text, struct err *e)
{
    struct ip_net *nets;
    struct ip_net net;
    int rv;

    if (slice_eq(text, SLICE("unix"))) {
        t->has_unix = true;
        return MCP_OK;
    }
    rv = ip_net_read(text, &net, e);
    if (rv != MCP_OK) {
        return rv;
    }
    nets = realloc(t->nets, (t->count + 1) * sizeof(*nets));
    if (nets == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    nets[t->count++] = net;
    t->nets = nets;
    return MCP_OK;
}

void trust_fini(struct trust *t)
{
    free(t->nets);
    *t = (struct trust){0};
}

bool trust_same(const struct trust *a, const struct trust *b)
{
    if (a->count != b->count || a->has_unix != b->has_unix) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (a->nets[i].bits != b->nets[i].bits ||
            memcmp(&a->nets[i].base, &b->nets[i].base, sizeof(a->nets[i].base)) != 0) {
            return false;
        }
    }
    return true;
}

static bool has_ip(const struct trust *t, const struct ip *ip)
{
    for (size_t i = 0; i < t->count; i++) {
        if (ip_net_has(&t->nets[i], ip)) {
            return true;
        }
    }
    return false;
}

bool trust_has(const struct trust *t, const struct addr *peer)
{
    struct ip ip;

    if (trust_is_empty(t)) {
        return false;
    }
    return addr_get_ip(peer, &ip) ? has_ip(t, &ip) : t->has_unix && addr_is_local(peer);
}

bool trust_has_all(const struct trust *t)
{
    static const struct ip ip4 = {{[10] = 0xff, [11] = 0xff}};
    enum { IP4_BITS_BEFORE = 96 };

    for (size_t i = 0; i < t->count; i++) {
        if (t->nets[i].bits == 0 ||
            (t->nets[i].bits == IP4_BITS_BEFORE && ip_net_has(&t->nets[i], &ip4))) {
            return true;
        }
    }
    return false;
}

/* --- whom headers name ------------------------------------------------------------------------ */

typedef bool (*next_fn)(struct slice *value, struct forwarded_hop *hop);

/* From the left to the right: the client is the last hop that is no trusted proxy, for its proxy
 * and those behind it are. Where all are trusted it is the first; where a hop cannot be read, what
 * stands to the left of it is of no use. */
struct walk {
    const struct trust *trust;
    bool seen;  /* the header is there */
    bool found; /* `client` is, so far */
    struct forwarded_hop client;
};

static void step(struct walk *w, const struct forwarded_hop *hop)
{
    if (hop->kind == FORWARDED_UNKNOWN) {
        w->found = false;
    } else if (!w->found || hop->kind == FORWARDED_NAME || !has_ip(w->trust, &hop->ip)) {
        w->found = true;
        w->client = *hop;
    }
}

static void walk(struct walk *w, const struct http_head *head, struct slice name, next_fn next)
{
    for (size_t i = 0; i < head->header_count; i++) {
        struct slice value = head->headers[i].value;
        struct forwarded_hop hop;

        if (slice_eq_case(head->headers[i].name, name)) {
            while (next(&value, &hop)) {
                w->seen = true;
                step(w, &hop);
            }
        }
    }
}

static void print(const struct walk *w, char client[ADDR_TEXT_MAX])
{
    char ip[IP_TEXT_MAX];

    if (w->client.kind == FORWARDED_NAME) {
        (void)snprintf(client, ADDR_TEXT_MAX, "%s", w->client.name); /* fits */
    } else {
        ip_format(&w->client.ip, ip);
        (void)snprintf(client, ADDR_TEXT_MAX, "%s", ip);
    }
}

/* A proxy writes one of the headers, and passes the other as whoever wrote it liked: where there
 * are both, they count where they say the same. */
static bool read_headers(const struct trust *t, const struct http_head *head,
                         char client[ADDR_TEXT_MAX])
{
    struct walk ours = {.trust = t}, usual = {.trust = t};
    char other[ADDR_TEXT_MAX];

    walk(&ours, head, SLICE("forwarded"), forwarded_next);
    walk(&usual, head, SLICE("x-forwarded-for"), x_forwarded_for_next);
    if (!ours.seen && !usual.seen) {
        return false; /* the proxy asks for itself */
    }
    if ((ours.seen && !ours.found) || (usual.seen && !usual.found)) {
        counter_add(COUNTER_FORWARDED_UNCLEAR, 1);
        return false;
    }
    print(ours.seen ? &ours : &usual, client);
    if (ours.seen && usual.seen) {
        print(&usual, other);
        if (strcmp(client, other) != 0) {
            counter_add(COUNTER_FORWARDED_UNCLEAR, 1);
            return false;
        }
    }
    return true;
}

void trust_client(const struct trust *t, const struct addr *peer, const struct http_head *head,
                  char client[ADDR_TEXT_MAX])
{
    if (!trust_has(t, peer) || !read_headers(t, head, client)) {
        addr_format_host(peer, client);
    }
}
