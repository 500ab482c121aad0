/* SPDX-License-Identifier: Apache-2.0 */
#include "client/io/address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/slice.h"

static int bad_address(struct err *e, const char *text)
{
    return err_set(e, MCP_EARGUMENT,
                   "\"%.100s\" is not an address: host:port, [v6]:port or unix:PATH expected",
                   text);
}

static bool set_text(char *out, size_t size, struct slice text)
{
    if (text.len >= size) {
        return false;
    }
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

static bool set_port(struct client_address *a, struct slice port)
{
    unsigned value = 0;

    if (port.len < 1 || port.len > 5) {
        return false;
    }
    for (size_t i = 0; i < port.len; i++) {
        if (port.ptr[i] < '0' || port.ptr[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(port.ptr[i] - '0');
    }
    return value >= 1 && value <= 65535 && set_text(a->port, sizeof(a->port), port);
}

/* Splits "host:port"; a bare host gets the default port, a bare port this machine. */
static bool split_host(struct client_address *a, struct slice text)
{
    const char *end = text.ptr + text.len;
    const char *colon;
    struct slice host = text, port = {0};

    if (text.len > 0 && text.ptr[0] == '[') {
        const char *bracket = memchr(text.ptr, ']', text.len);

        if (bracket == NULL || (bracket + 1 < end && bracket[1] != ':')) {
            return false;
        }
        host = slice_of(text.ptr + 1, (size_t)(bracket - text.ptr) - 1);
        colon = bracket + 1 < end ? bracket + 1 : NULL;
        if (host.len == 0) {
            return false;
        }
    } else {
        colon = memchr(text.ptr, ':', text.len);
        if (colon != NULL) {
            host = slice_of(text.ptr, (size_t)(colon - text.ptr));
        }
    }
    if (colon != NULL) {
        port = slice_of(colon + 1, (size_t)(end - colon) - 1);
    }
    if (host.len == 0 && colon != NULL) {
        host = SLICE("127.0.0.1");
    }
    if (colon == NULL) { /* both fit: the host has room for less than the text */
        (void)snprintf(a->port, sizeof(a->port), "%d", CLIENT_PORT_DEFAULT);
        (void)snprintf(a->text, sizeof(a->text), "%.*s:%s", SLICE_ARG(text), a->port);
    } else if (!set_port(a, port)) {
        return false;
    }
    return host.len > 0 && memchr(host.ptr, ' ', host.len) == NULL &&
           memchr(host.ptr, '/', host.len) == NULL && set_text(a->host, sizeof(a->host), host);
}

int client_address_parse(struct client_address *a, const char *text, struct err *e)
{
    struct slice rest = slice_str(text);
    struct client_address parsed = {0};

    if (!set_text(parsed.text, sizeof(parsed.text), rest)) {
        return bad_address(e, text);
    }
    if (slice_starts(rest, SLICE("unix:"))) {
        rest = slice_skip(rest, 5);
        if (rest.len == 0 ||
            !set_text(parsed.host, sizeof(((struct sockaddr_un *)0)->sun_path), rest)) {
            return bad_address(e, text);
        }
    } else if (!split_host(&parsed, rest)) {
        return bad_address(e, text);
    }
    *a = parsed;
    return 0;
}

static int unix_target(const struct client_address *a, struct client_target *target)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    (void)set_text(un.sun_path, sizeof(un.sun_path), slice_str(a->host)); /* parse has checked it */
    memset(target, 0, sizeof(*target));
    memcpy(&target->ss, &un, sizeof(un));
    target->len = sizeof(un);
    return 1;
}

static int collect(const struct addrinfo *found, int family, bool others,
                   struct client_target *targets, int count)
{
    for (; found != NULL && count < CLIENT_TARGETS_MAX; found = found->ai_next) {
        if ((found->ai_family == family) == others || found->ai_addrlen > sizeof(targets->ss)) {
            continue;
        }
        memset(&targets[count], 0, sizeof(targets[count]));
        memcpy(&targets[count].ss, found->ai_addr, found->ai_addrlen);
        targets[count].len = found->ai_addrlen;
        count++;
    }
    return count;
}

int client_address_resolve(const struct client_address *a,
                           struct client_target targets[CLIENT_TARGETS_MAX], struct err *e)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    /* A server on localhost often listens on 127.0.0.1 alone. */
    int first = strcmp(a->host, "localhost") == 0 ? AF_INET : AF_UNSPEC;
    int rv, count;

    if (a->port[0] == '\0') {
        return unix_target(a, targets);
    }
    rv = getaddrinfo(a->host, a->port, &hints, &found);
    if (rv != 0) {
        return err_set(e, MCP_ECONNECT, "cannot find %s: %s", a->host, gai_strerror(rv));
    }
    count = collect(found, first, false, targets, 0);
    count = collect(found, first, true, targets, count);
    freeaddrinfo(found);
    if (count == 0) {
        return err_set(e, MCP_ECONNECT, "cannot find %s: no usable address", a->host);
    }
    return count;
}
