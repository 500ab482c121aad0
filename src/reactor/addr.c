/* SPDX-License-Identifier: Apache-2.0 */
#include "reactor/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define UNIX_PREFIX "unix:"

enum {
    HOST_TEXT_MAX = 64, /* longer than any numeric address */
    UNIX_PATH_AT = (int)offsetof(struct sockaddr_un, sun_path),
    UNIX_PATH_MAX = (int)sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
};

static struct sockaddr_in get_in4(const struct addr *a)
{
    struct sockaddr_in in4;

    memcpy(&in4, &a->ss, sizeof(in4));
    return in4;
}

static struct sockaddr_in6 get_in6(const struct addr *a)
{
    struct sockaddr_in6 in6;

    memcpy(&in6, &a->ss, sizeof(in6));
    return in6;
}

static void set_in4(struct addr *a, struct in_addr ip, unsigned port)
{
    struct sockaddr_in in4 = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = ip};

    *a = (struct addr){.len = sizeof(in4)};
    memcpy(&a->ss, &in4, sizeof(in4));
}

static void set_in6(struct addr *a, struct in6_addr ip, unsigned port)
{
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = ip};

    *a = (struct addr){.len = sizeof(in6)};
    memcpy(&a->ss, &in6, sizeof(in6));
}

static int refuse(struct err *e, struct slice text)
{
    return err_set(e, MCP_EARGUMENT,
                   "\"%.*s\" is not an address; expected IP:PORT, [IPV6]:PORT, localhost:PORT, "
                   ":PORT or unix:PATH",
                   text.len > 100 ? 100 : (int)text.len, text.ptr);
}

static bool parse_port(struct slice text, unsigned *port)
{
    *port = 0;
    if (text.len == 0 || text.len > 5) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        *port = *port * 10 + (unsigned)(text.ptr[i] - '0');
    }
    return *port <= 65535;
}

static bool parse_host(struct addr *a, struct slice host, bool bracketed, unsigned port)
{
    char text[HOST_TEXT_MAX];
    struct in_addr ip4;
    struct in6_addr ip6;

    if (host.len >= sizeof(text) || memchr(host.ptr, '\0', host.len) != NULL) {
        return false;
    }
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (bracketed) {
        if (inet_pton(AF_INET6, text, &ip6) != 1) {
            return false;
        }
        set_in6(a, ip6, port);
        return true;
    }
    if (host.len == 0) {
        set_in6(a, in6addr_any, port);
        return true;
    }
    if (slice_eq_case(host, SLICE("localhost"))) {
        ip4.s_addr = htonl(INADDR_LOOPBACK);
    } else if (inet_pton(AF_INET, text, &ip4) != 1) {
        return false;
    }
    set_in4(a, ip4, port);
    return true;
}

static int from_unix(struct addr *a, struct slice path, struct err *e)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (path.len == 0 || memchr(path.ptr, '\0', path.len) != NULL) {
        return err_set(e, MCP_EARGUMENT, "unix: needs the path of a socket");
    }
    if (path.len > UNIX_PATH_MAX) {
        return err_set(e, MCP_EARGUMENT, "the socket path has %zu bytes; the system allows %d",
                       path.len, UNIX_PATH_MAX);
    }
    memcpy(un.sun_path, path.ptr, path.len);
    *a = (struct addr){.len = (socklen_t)(UNIX_PATH_AT + (int)path.len + 1)};
    memcpy(&a->ss, &un, sizeof(un));
    return 0;
}

int addr_from_unix(struct addr *a, const char *path, struct err *e)
{
    return from_unix(a, slice_str(path), e);
}

int addr_parse(struct addr *a, struct slice text, struct err *e)
{
    struct slice host = text;
    bool bracketed = text.len > 0 && text.ptr[0] == '[';
    const char *colon;
    unsigned port;

    if (slice_starts(text, SLICE(UNIX_PREFIX))) {
        return from_unix(a, slice_skip(text, sizeof(UNIX_PREFIX) - 1), e);
    }
    colon = text.len == 0 ? NULL : memrchr(text.ptr, ':', text.len);
    if (colon == NULL) {
        return refuse(e, text);
    }
    host.len = (size_t)(colon - text.ptr);
    if (!parse_port(slice_skip(text, host.len + 1), &port)) {
        return refuse(e, text);
    }
    if (bracketed) {
        if (host.len < 2 || host.ptr[host.len - 1] != ']') {
            return refuse(e, text);
        }
        host = slice_of(host.ptr + 1, host.len - 2);
    }
    return parse_host(a, host, bracketed, port) ? 0 : refuse(e, text);
}

static void set_port(struct addr *a, unsigned port)
{
    if (a->ss.ss_family == AF_INET6) {
        struct sockaddr_in6 in6 = get_in6(a);

        in6.sin6_port = htons((uint16_t)port);
        memcpy(&a->ss, &in6, sizeof(in6));
    } else {
        set_in4(a, get_in4(a).sin_addr, port);
    }
}

/* What needs no look-up. */
static bool resolve_here(struct addr_list *list, struct slice name, unsigned port)
{
    bool bracketed = name.len >= 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']';

    list->count = 1;
    if (bracketed && parse_host(&list->at[0], slice_of(name.ptr + 1, name.len - 2), true, port)) {
        return true;
    }
    if (name.len == 0 || !parse_host(&list->at[0], name, false, port)) {
        return false;
    }
    if (slice_eq_case(name, SLICE("localhost"))) {
        set_in6(&list->at[list->count++], in6addr_loopback, port);
    }
    return true;
}

int addr_resolve(struct addr_list *list, const char *host, unsigned port, struct err *e)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rv;

    if (port > 65535) {
        return err_set(e, MCP_EARGUMENT, "%u is not a port; expected 0 to 65535", port);
    }
    if (resolve_here(list, slice_str(host), port)) {
        return 0;
    }
    rv = host[0] == '\0' ? EAI_NONAME : getaddrinfo(host, NULL, &hints, &found);
    if (rv != 0) {
        return err_set(e, MCP_ECONNECT, "cannot look up \"%.100s\": %s", host,
                       rv == EAI_SYSTEM ? strerror(errno) : gai_strerror(rv));
    }
    list->count = 0;
    for (struct addrinfo *f = found; f != NULL && list->count < ADDR_LIST_MAX; f = f->ai_next) {
        struct addr *a = &list->at[list->count++];

        *a = (struct addr){.len = f->ai_addrlen};
        memcpy(&a->ss, f->ai_addr, f->ai_addrlen);
        set_port(a, port);
    }
    freeaddrinfo(found);
    return 0;
}

/* An IPv4 client of a [::] listener arrives as ::ffff:1.2.3.4; people know it as 1.2.3.4. */
static bool get_ip4(const struct addr *a, struct in_addr *ip)
{
    struct sockaddr_in6 in6;

    if (a->ss.ss_family == AF_INET) {
        *ip = get_in4(a).sin_addr;
        return true;
    }
    if (a->ss.ss_family != AF_INET6) {
        return false;
    }
    in6 = get_in6(a);
    if (!IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
        return false;
    }
    memcpy(ip, in6.sin6_addr.s6_addr + 12, sizeof(*ip));
    return true;
}

/* inet_ntop takes ten times as long, and it is needed for every request. */
static void format_ip4(struct in_addr ip, char *out)
{
    unsigned char bytes[4];

    memcpy(bytes, &ip, sizeof(bytes));
    for (int i = 0; i < 4; i++) {
        unsigned n = bytes[i];

        if (n >= 100) {
            *out++ = (char)('0' + n / 100);
        }
        if (n >= 10) {
            *out++ = (char)('0' + n / 10 % 10);
        }
        *out++ = (char)('0' + n % 10);
        *out++ = i < 3 ? '.' : '\0';
    }
}

void addr_format_host(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    struct in_addr ip4;
    struct in6_addr ip6;

    if (get_ip4(a, &ip4)) {
        format_ip4(ip4, out);
    } else if (a->ss.ss_family == AF_INET6) {
        ip6 = get_in6(a).sin6_addr;
        (void)inet_ntop(AF_INET6, &ip6, out, ADDR_TEXT_MAX);
    } else {
        (void)snprintf(out, ADDR_TEXT_MAX, "%s", a->ss.ss_family == AF_UNIX ? "unix" : "unknown");
    }
}

void addr_format(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    char host[ADDR_TEXT_MAX];
    struct in_addr ip4;

    addr_format_host(a, host);
    if (a->ss.ss_family == AF_UNIX) {
        struct sockaddr_un un;
        int len = (int)a->len - UNIX_PATH_AT;

        memcpy(&un, &a->ss, sizeof(un));
        len = len < 0 ? 0 : len;
        (void)snprintf(out, ADDR_TEXT_MAX, UNIX_PREFIX "%.*s", len, un.sun_path);
    } else if (get_ip4(a, &ip4)) {
        (void)snprintf(out, ADDR_TEXT_MAX, "%.64s:%u", host, addr_port(a));
    } else if (a->ss.ss_family == AF_INET6) {
        (void)snprintf(out, ADDR_TEXT_MAX, "[%.64s]:%u", host, addr_port(a));
    } else {
        (void)snprintf(out, ADDR_TEXT_MAX, "%s", host);
    }
}

unsigned addr_port(const struct addr *a)
{
    if (a->ss.ss_family == AF_INET) {
        return ntohs(get_in4(a).sin_port);
    }
    return a->ss.ss_family == AF_INET6 ? ntohs(get_in6(a).sin6_port) : 0;
}

bool addr_get_ip(const struct addr *a, struct ip *ip)
{
    struct in_addr ip4;
    struct in6_addr ip6;

    if (a->ss.ss_family == AF_INET) {
        ip4 = get_in4(a).sin_addr;
        *ip = (struct ip){{[10] = 0xff, [11] = 0xff}};
        memcpy(ip->bytes + sizeof(ip->bytes) - sizeof(ip4), &ip4, sizeof(ip4));
        return true;
    }
    if (a->ss.ss_family == AF_INET6) {
        ip6 = get_in6(a).sin6_addr;
        memcpy(ip->bytes, &ip6, sizeof(ip->bytes));
        return true;
    }
    return false;
}

struct addr addr_of_ip(const struct ip *ip, unsigned port)
{
    struct in6_addr ip6;
    struct addr a;

    memcpy(&ip6, ip->bytes, sizeof(ip6));
    set_in6(&a, ip6, port);
    return a;
}

bool addr_is_local(const struct addr *a)
{
    struct in_addr ip4;
    struct sockaddr_in6 in6;

    if (get_ip4(a, &ip4)) {
        return ntohl(ip4.s_addr) >> 24 == 127;
    }
    if (a->ss.ss_family == AF_INET6) {
        in6 = get_in6(a);
        return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
    }
    return a->ss.ss_family == AF_UNIX;
}

bool addr_same(const struct addr *a, const struct addr *b)
{
    char text_a[ADDR_TEXT_MAX];
    char text_b[ADDR_TEXT_MAX];

    addr_format(a, text_a);
    addr_format(b, text_b);
    return strcmp(text_a, text_b) == 0;
}
