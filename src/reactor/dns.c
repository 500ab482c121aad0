/* SPDX-License-Identifier: Apache-2.0 */
#include "reactor/dns.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    MESSAGE_BYTES_MAX = 65535,
    ALL_S_MAX = 30, /* for all questions that a service takes */
    ROOM_FIRST = 16,
    SERVER_WAIT_S = 2, /* of a server of our own choice; the others' are said in resolv.conf */
    SERVER_TRIES = 2,
    SRV_TARGET_AT = 6, /* behind priority, weight and port */
    SRV_PORT_AT = 4
};

void dns_found_fini(struct dns_found *f)
{
    free(f->at);
    *f = (struct dns_found){0};
}

/* --- reading a message ------------------------------------------------------------------------ */

static bool add(struct dns_found *out, const struct addr *a)
{
    if (out->count == DNS_FOUND_MAX) {
        return true;
    }
    if (out->at == NULL || (out->count >= ROOM_FIRST && (out->count & (out->count - 1)) == 0)) {
        size_t room = out->count == 0 ? ROOM_FIRST : 2 * out->count;
        struct addr *more = realloc(out->at, room * sizeof(*more));

        if (more == NULL) {
            return false;
        }
        out->at = more;
    }
    out->at[out->count++] = *a;
    return true;
}

static void shorten(uint32_t *ttl_s, const ns_rr *record)
{
    uint32_t own_s = ns_rr_ttl(*record);

    *ttl_s = own_s < *ttl_s ? own_s : *ttl_s;
}

/* False: it is no address. */
static bool read_address(const ns_rr *record, unsigned port, struct addr *a)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

    *a = (struct addr){0};
    if (ns_rr_class(*record) != ns_c_in) {
        return false;
    }
    if (ns_rr_type(*record) == ns_t_a && ns_rr_rdlen(*record) == sizeof(in4.sin_addr)) {
        memcpy(&in4.sin_addr, ns_rr_rdata(*record), sizeof(in4.sin_addr));
        memcpy(&a->ss, &in4, sizeof(in4));
        a->len = sizeof(in4);
        return true;
    }
    if (ns_rr_type(*record) == ns_t_aaaa && ns_rr_rdlen(*record) == sizeof(in6.sin6_addr)) {
        memcpy(&in6.sin6_addr, ns_rr_rdata(*record), sizeof(in6.sin6_addr));
        memcpy(&a->ss, &in6, sizeof(in6));
        a->len = sizeof(in6);
        return true;
    }
    return false;
}

int dns_read_addresses(struct slice message, const char *owner, unsigned port,
                       struct dns_found *out)
{
    ns_sect section = owner == NULL ? ns_s_an : ns_s_ar;
    ns_msg m;
    ns_rr record;
    struct addr a;

    if (ns_initparse((const unsigned char *)message.ptr, (int)message.len, &m) != 0) {
        return MCP_EBAD_REQUEST;
    }
    for (int i = 0; i < ns_msg_count(m, section); i++) {
        if (ns_parserr(&m, section, i, &record) != 0) {
            return MCP_EBAD_REQUEST;
        }
        if ((owner != NULL && strcasecmp(owner, ns_rr_name(record)) != 0) ||
            !read_address(&record, port, &a)) {
            continue;
        }
        if (!add(out, &a)) {
            return MCP_ENOMEM;
        }
        shorten(&out->ttl_s, &record);
    }
    return MCP_OK;
}

static bool read_service(const ns_msg *m, const ns_rr *record, struct dns_service *out)
{
    const unsigned char *data = ns_rr_rdata(*record);

    if (ns_rr_type(*record) != ns_t_srv || ns_rr_class(*record) != ns_c_in ||
        ns_rr_rdlen(*record) <= SRV_TARGET_AT ||
        dn_expand(ns_msg_base(*m), ns_msg_end(*m), data + SRV_TARGET_AT, out->target,
                  sizeof(out->target)) < 0) {
        return false;
    }
    out->port = ns_get16(data + SRV_PORT_AT);
    return out->target[0] != '\0' && out->port != 0;
}

bool dns_read_service(struct slice message, size_t at, struct dns_service *out, uint32_t *ttl_s)
{
    ns_msg m;
    ns_rr record;

    if (ns_initparse((const unsigned char *)message.ptr, (int)message.len, &m) != 0) {
        return false;
    }
    for (int i = 0; i < ns_msg_count(m, ns_s_an); i++) {
        if (ns_parserr(&m, ns_s_an, i, &record) != 0) {
            return false;
        }
        if (read_service(&m, &record, out) && at-- == 0) {
            shorten(ttl_s, &record);
            return true;
        }
    }
    return false;
}

/* --- asking ----------------------------------------------------------------------------------- */

struct asking {
    struct __res_state state;
    bool is_ours; /* the server: names are whole */
    time_t until_s;
    unsigned char message[MESSAGE_BYTES_MAX];
};

static time_t now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return now.tv_sec;
}

/* As the C library keeps servers with IPv6 addresses, and frees them. */
static bool use_server6(struct asking *a, const struct addr *server)
{
    struct sockaddr_in6 **kept = &a->state._u._ext.nsaddrs[0];

    if (*kept == NULL) {
        *kept = malloc(sizeof(**kept));
    }
    if (*kept == NULL) {
        return false;
    }
    memcpy(*kept, &server->ss, sizeof(**kept));
    a->state.nsaddr_list[0].sin_family = 0;
    return true;
}

static bool use_server(struct asking *a, const struct addr *server)
{
    a->state.nscount = 1;
    a->state.retrans = SERVER_WAIT_S;
    a->state.retry = SERVER_TRIES;
    if (server->ss.ss_family == AF_INET6) {
        return use_server6(a, server);
    }
    memcpy(&a->state.nsaddr_list[0], &server->ss, sizeof(a->state.nsaddr_list[0]));
    return true;
}

/* NULL: out of memory. */
static struct asking *asking_new(const struct addr *server)
{
    struct asking *a = calloc(1, sizeof(*a));

    if (a == NULL || res_ninit(&a->state) != 0) {
        free(a);
        return NULL;
    }
    a->until_s = now_s() + ALL_S_MAX;
    a->is_ours = server != NULL;
    a->state.options |= RES_USE_EDNS0;
    if (server != NULL && !use_server(a, server)) {
        res_nclose(&a->state);
        free(a);
        return NULL;
    }
    return a;
}

static void asking_free(struct asking *a)
{
    res_nclose(&a->state);
    free(a);
}

static int fail(const char *name, const char *why, struct err *e)
{
    return err_set(e, MCP_ECONNECT, "cannot look up \"%.100s\": %s", name, why);
}

/* MCP_OK also where there is none of that type: the message is empty then. */
static int ask(struct asking *a, const char *name, bool is_whole, ns_type type,
               struct slice *message, struct err *e)
{
    int len;

    *message = SLICE("");
    if (now_s() >= a->until_s) {
        return fail(name, "it takes longer than 30 s", e);
    }
    len = is_whole ? res_nquery(&a->state, name, ns_c_in, type, a->message, MESSAGE_BYTES_MAX)
                   : res_nsearch(&a->state, name, ns_c_in, type, a->message, MESSAGE_BYTES_MAX);
    if (len > 0) {
        *message = slice_of((const char *)a->message,
                            len > MESSAGE_BYTES_MAX ? MESSAGE_BYTES_MAX : (size_t)len);
        return MCP_OK;
    }
    switch (a->state.res_h_errno) {
    case HOST_NOT_FOUND:
    case NO_DATA:
        return MCP_OK;
    case TRY_AGAIN:
        return fail(name, "the server does not answer, or failed", e);
    default:
        return fail(name, "the server refuses, or answers nonsense", e);
    }
}

static int read_failed(const char *name, int rv, struct err *e)
{
    return rv == MCP_ENOMEM ? err_set(e, MCP_ENOMEM, "out of memory")
                            : fail(name, "the server answers nonsense", e);
}

static int ask_addresses(struct asking *a, const char *name, bool is_whole, unsigned port,
                         struct dns_found *out, struct err *e)
{
    static const ns_type types[] = {ns_t_a, ns_t_aaaa};
    size_t before = out->count;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]) && out->count == before; i++) {
        struct slice message;
        int rv = ask(a, name, is_whole, types[i], &message, e);

        if (rv != MCP_OK) {
            return rv;
        }
        rv = message.len == 0 ? MCP_OK : dns_read_addresses(message, NULL, port, out);
        if (rv != MCP_OK) {
            return read_failed(name, rv, e);
        }
    }
    return MCP_OK;
}

/* Where the server sent a target's addresses along, they are not asked for. */
static int add_target(struct asking *a, struct slice message, const struct dns_service *s,
                      struct dns_found *out, struct err *e)
{
    size_t before = out->count;
    int rv = dns_read_addresses(message, s->target, s->port, out);

    if (rv != MCP_OK) {
        return read_failed(s->target, rv, e);
    }
    return out->count > before ? MCP_OK : ask_addresses(a, s->target, true, s->port, out, e);
}

static int ask_service(struct asking *a, const char *name, struct dns_found *out, struct err *e)
{
    struct dns_service s;
    struct slice message;
    char *copy;
    int rv = ask(a, name, a->is_ours, ns_t_srv, &message, e);

    if (rv != MCP_OK || message.len == 0) {
        return rv;
    }
    copy = malloc(message.len); /* the next question overwrites it */
    if (copy == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    memcpy(copy, message.ptr, message.len);
    message.ptr = copy;
    for (size_t i = 0; rv == MCP_OK && i < DNS_FOUND_MAX; i++) {
        if (!dns_read_service(message, i, &s, &out->ttl_s)) {
            break;
        }
        rv = add_target(a, message, &s, out, e);
    }
    free(copy);
    return rv;
}

int dns_ask(const struct dns_question *q, struct dns_found *out, struct err *e)
{
    struct asking *a = asking_new(q->server);
    int rv;

    *out = (struct dns_found){.ttl_s = UINT32_MAX};
    if (a == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    rv = q->is_service ? ask_service(a, q->name, out, e)
                       : ask_addresses(a, q->name, a->is_ours, q->port, out, e);
    asking_free(a);
    if (rv == MCP_OK && out->count == 0) {
        rv = fail(q->name,
                  q->is_service ? "no server of that service is known" : "it has no addresses", e);
    }
    if (rv != MCP_OK) {
        dns_found_fini(out);
    }
    return rv;
}
