/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/dns_url.h"

#include "http/parse/url.h"

enum { NAME_BYTES_MAX = 253 };

#define DNS_SCHEME "dns://"
#define SRV_SCHEME "srv://"

static bool has_scheme(struct slice text, struct slice scheme)
{
    return text.len >= scheme.len && slice_eq_case(slice_first(text, scheme.len), scheme);
}

bool dns_url_is(struct slice text)
{
    return has_scheme(text, SLICE(DNS_SCHEME)) || has_scheme(text, SLICE(SRV_SCHEME));
}

static int refuse(const struct dns_url *u, struct err *e)
{
    return err_set(e, MCP_EARGUMENT,
                   u->is_service ? "expected srv://_SERVICE._tcp.NAME, without a port"
                                 : "expected dns://NAME:PORT, with a name");
}

static bool is_address(struct slice host)
{
    bool numeric = host.len > 0;

    for (size_t i = 0; i < host.len; i++) {
        numeric = numeric && ((host.ptr[i] >= '0' && host.ptr[i] <= '9') || host.ptr[i] == '.');
    }
    return numeric;
}

/* The rest is that of a node's address, which may neither be a socket of this machine nor have a
 * scheme of its own. */
int dns_url_parse(struct dns_url *u, struct slice text, struct err *e)
{
    struct slice rest = slice_skip(text, sizeof(DNS_SCHEME) - 1);
    struct url of_node;

    *u = (struct dns_url){.is_service = has_scheme(text, SLICE(SRV_SCHEME))};
    if (rest.len == 0 || rest.ptr[0] == ':' || rest.ptr[0] == '/' ||
        memmem(rest.ptr, rest.len, "://", 3) != NULL) {
        return refuse(u, e);
    }
    if (url_parse(&of_node, rest, e) != MCP_OK) {
        return MCP_EARGUMENT;
    }
    u->name = of_node.host;
    u->path = of_node.path;
    if (of_node.is_unix || of_node.is_ipv6 || u->name.len > NAME_BYTES_MAX || is_address(u->name)) {
        return refuse(u, e);
    }
    if (!u->is_service) {
        u->port = of_node.port;
    } else if (u->name.ptr + u->name.len < rest.ptr + rest.len && u->name.ptr[u->name.len] == ':') {
        return refuse(u, e);
    }
    return MCP_OK;
}
