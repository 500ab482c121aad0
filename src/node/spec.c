/* SPDX-License-Identifier: Apache-2.0 */
#include "node/spec.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "http/parse/url.h"

/* NULL: out of memory, here or while `b` was written. */
static char *take_text(struct buf *b)
{
    char *text = buf_failed(b) ? NULL : slice_dup(buf_slice(b));

    buf_fini(b);
    return text;
}

static char *host_header(const struct url *u)
{
    struct buf b = {0};

    if (u->is_unix) {
        buf_append_str(&b, "localhost");
    } else {
        buf_printf(&b, u->is_ipv6 ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(u->host), u->port);
    }
    return take_text(&b);
}

static char *extra_headers(const struct node_options *o)
{
    struct buf b = {0};

    if (o->api_key != NULL) {
        buf_printf(&b, "Authorization: Bearer %s\r\n", o->api_key);
    }
    for (size_t i = 0; i < o->header_count; i++) {
        buf_printf(&b, "%.*s: %.*s\r\n", SLICE_ARG(o->headers[i].name),
                   SLICE_ARG(o->headers[i].value));
    }
    return take_text(&b);
}

static const char *default_name(const struct node_options *o, const struct node_spec *s)
{
    return s->is_unix ? o->url : s->host_header;
}

int node_spec_init(struct node_spec *s, const struct node_options *o, struct err *e)
{
    struct url u;
    int rv = url_parse(&u, slice_str(o->url), e);

    if (rv != MCP_OK) {
        return rv;
    }
    *s = (struct node_spec){
        .url = strdup(o->url),
        .host = slice_dup(u.host),
        .port = u.port,
        .is_unix = u.is_unix,
        .host_header = host_header(&u),
        .prefix = slice_dup(u.path),
        .extra_headers = extra_headers(o),
        .kind = o->kind,
    };
    if (s->host_header != NULL) {
        s->name = strdup(o->name != NULL ? o->name : default_name(o, s));
    }
    if (s->name != NULL) {
        s->source = strdup(o->source != NULL ? o->source : s->name);
    }
    if (s->source == NULL || s->url == NULL || s->host == NULL || s->prefix == NULL ||
        s->extra_headers == NULL) {
        node_spec_fini(s);
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    return MCP_OK;
}

void node_spec_fini(struct node_spec *s)
{
    free(s->name);
    free(s->source);
    free(s->url);
    free(s->host);
    free(s->host_header);
    free(s->prefix);
    if (s->extra_headers != NULL) {
        explicit_bzero(s->extra_headers, strlen(s->extra_headers)); /* may hold a key */
    }
    free(s->extra_headers);
    *s = (struct node_spec){0};
}

/* The other members follow from these. */
bool node_spec_same(const struct node_spec *a, const struct node_spec *b)
{
    return a->kind == b->kind && strcmp(a->url, b->url) == 0 && strcmp(a->name, b->name) == 0 &&
           strcmp(a->source, b->source) == 0 && strcmp(a->extra_headers, b->extra_headers) == 0;
}
