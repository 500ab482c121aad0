/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/host.h"

#include <arpa/inet.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* "[v6]:port" as v6; what is neither that nor "name:port" stays as it is. */
static struct slice without_port(struct slice host)
{
    bool bracketed = host.len > 0 && host.ptr[0] == '[';
    const char *end = host.len == 0 ? NULL : memchr(host.ptr, bracketed ? ']' : ':', host.len);
    size_t len = end == NULL ? 0 : (size_t)(end - host.ptr);

    if (end == NULL || (bracketed && len + 1 < host.len && end[1] != ':')) {
        return host;
    }
    return bracketed ? slice_of(host.ptr + 1, len - 1) : slice_first(host, len);
}

static bool is_numeric(struct slice name)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ip;

    if (name.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    return inet_pton(AF_INET, text, &ip) == 1 || inet_pton(AF_INET6, text, &ip) == 1;
}

static bool is_below(struct slice name, struct slice domain)
{
    return name.len > domain.len && slice_eq_case(slice_skip(name, name.len - domain.len), domain);
}

static bool is_own_name(struct slice name)
{
    char own[HOST_NAME_MAX + 1] = "";

    /* A name cut short is merely not recognised. */
    return gethostname(own, sizeof(own)) == 0 && memchr(own, '\0', sizeof(own)) != NULL &&
           slice_eq_case(name, slice_str(own));
}

bool host_is_local(struct slice host)
{
    struct slice name = without_port(host);

    return name.len == 0 || slice_eq_case(name, SLICE("localhost")) ||
           is_below(name, SLICE(".localhost")) || is_below(name, SLICE(".local")) ||
           is_below(name, SLICE(".internal")) || is_numeric(name) || is_own_name(name);
}

static bool is_local_as_before(struct slice host, struct host_known *known)
{
    if (slice_eq(host, slice_of(known->text, known->len))) {
        return true;
    }
    if (!host_is_local(host)) {
        return false;
    }
    if (host.len > 0 && host.len <= sizeof(known->text)) {
        memcpy(known->text, host.ptr, host.len);
        known->len = host.len;
    }
    return true;
}

bool host_is_foreign_now(const struct config *c, const struct addr *listener,
                         const struct http_head *head, struct host_known *known)
{
    bool is_loopback = addr_is_local(listener) && addr_port(listener) != 0; /* no unix socket */

    return c->key_count == 0 && is_loopback && !is_local_as_before(head->host, known);
}

bool host_is_foreign(const struct config *c, const struct addr *listener,
                     const struct http_head *head)
{
    struct host_known none = {.len = 0};

    return host_is_foreign_now(c, listener, head, &none);
}
