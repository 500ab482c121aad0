/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parse/url.h"

enum { PORT_HTTP = 80, PORT_OLLAMA = 11434, PORT_MAX = 65535 };

static bool is_space_or_quote(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == '"' || c == '\'';
}

static struct slice strip(struct slice s)
{
    while (s.len > 0 && is_space_or_quote(s.ptr[0])) {
        s = slice_skip(s, 1);
    }
    while (s.len > 0 && is_space_or_quote(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

static bool find(struct slice s, char c, size_t *at)
{
    const char *p = s.len == 0 ? NULL : memchr(s.ptr, c, s.len);

    if (p != NULL) {
        *at = (size_t)(p - s.ptr);
    }
    return p != NULL;
}

static int parse_port(struct slice text, unsigned *port, struct err *e)
{
    unsigned value = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (c < '0' || c > '9' || value > PORT_MAX) {
            value = PORT_MAX + 1;
            break;
        }
        value = value * 10 + (unsigned)(c - '0');
    }
    if (text.len == 0 || value == 0 || value > PORT_MAX) {
        return err_set(e, MCP_EARGUMENT, "bad port \"%.*s\": expected a number from 1 to %d",
                       SLICE_ARG(text), PORT_MAX);
    }
    *port = value;
    return 0;
}

static bool is_letter_up_to(char c, char last)
{
    c = (char)(c | 0x20);
    return c >= 'a' && c <= last;
}

/* Letters, digits, '-', '.', '_' for names and IPv4; hex digits, ':', '.' and a zone for IPv6. */
static bool host_is_plain(struct slice host, bool ipv6)
{
    bool zone = false;

    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool name = c == '-' || c == '_' || is_letter_up_to(c, 'z');
        bool v6 = c == ':' || c == '%' || is_letter_up_to(c, 'f');

        if (!(c == '.' || (c >= '0' && c <= '9') || (ipv6 && !zone ? v6 : name))) {
            return false;
        }
        zone = zone || c == '%';
    }
    return host.len > 0;
}

static int parse_authority(struct url *u, struct slice text, struct err *e)
{
    struct slice host = text;
    size_t at = 0;
    size_t second;

    if (text.len > 0 && text.ptr[0] == '[') {
        if (!find(text, ']', &at)) {
            return err_set(e, MCP_EARGUMENT, "missing ']' in \"%.*s\"", SLICE_ARG(text));
        }
        host = slice_of(text.ptr + 1, at - 1);
        text = slice_skip(text, at + 1);
        u->is_ipv6 = true;
        if (text.len > 0 && text.ptr[0] != ':') {
            return err_set(e, MCP_EARGUMENT, "expected a port behind ']', not \"%.*s\"",
                           SLICE_ARG(text));
        }
        at = 0;
    } else if (find(text, ':', &at) && find(slice_skip(text, at + 1), ':', &second)) {
        u->is_ipv6 = true;
        text = slice_skip(text, text.len);
    } else if (!find(text, ':', &at)) {
        text = slice_skip(text, text.len);
    } else {
        host = slice_first(text, at);
    }
    if (text.len > 0) {
        int rv = parse_port(slice_skip(text, at + 1), &u->port, e);

        if (rv < 0) {
            return rv;
        }
    }
    if (host.len == 0 && !u->is_ipv6) {
        host = SLICE("127.0.0.1");
    }
    if (!host_is_plain(host, u->is_ipv6)) {
        return err_set(e, MCP_EARGUMENT, "bad host \"%.*s\"", SLICE_ARG(host));
    }
    u->host = host;
    return 0;
}

/* Takes the scheme off; sets the port that goes with it. */
static int parse_scheme(struct url *u, struct slice *text, struct err *e)
{
    size_t at;
    struct slice scheme;

    u->port = PORT_OLLAMA;
    if (!find(*text, ':', &at) || !slice_starts(slice_skip(*text, at), SLICE("://"))) {
        return 0;
    }
    scheme = slice_first(*text, at);
    *text = slice_skip(*text, at + 3);
    if (slice_eq_case(scheme, SLICE("https"))) {
        return err_set(e, MCP_EARGUMENT, "https is not supported: expected http://host:port");
    }
    if (!slice_eq_case(scheme, SLICE("http"))) {
        return err_set(e, MCP_EARGUMENT, "unknown scheme \"%.*s\": expected http://host:port",
                       SLICE_ARG(scheme));
    }
    if (text->len == 0) {
        return err_set(e, MCP_EARGUMENT, "no host: expected http://host:port");
    }
    u->port = PORT_HTTP;
    return 0;
}

/* What a node's address cannot have. */
static int refuse_extras(struct slice text, struct err *e)
{
    size_t at;

    if (find(text, '@', &at)) {
        return err_set(e, MCP_EARGUMENT, "user:password@ is not supported: use api_key_file");
    }
    if (find(text, '?', &at) || find(text, '#', &at)) {
        return err_set(e, MCP_EARGUMENT,
                       "a query or fragment is not supported in a node's address");
    }
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f) {
            return err_set(e, MCP_EARGUMENT, "a space or control character in the address");
        }
    }
    return 0;
}

int url_parse(struct url *u, struct slice text, struct err *e)
{
    struct slice authority;
    size_t at;
    int rv;

    *u = (struct url){.path = SLICE("")};
    text = strip(text);
    if (slice_starts(text, SLICE("unix:"))) {
        u->is_unix = true;
        u->host = slice_skip(text, 5);
        if (u->host.len == 0) {
            return err_set(e, MCP_EARGUMENT, "no path: expected unix:PATH");
        }
        return 0;
    }
    if (text.len == 0) {
        return err_set(e, MCP_EARGUMENT, "empty: expected http://host:port or unix:PATH");
    }
    rv = parse_scheme(u, &text, e);
    if (rv == 0) {
        rv = refuse_extras(text, e);
    }
    if (rv < 0) {
        return rv;
    }
    authority = text;
    if (find(text, '/', &at)) {
        authority = slice_first(text, at);
        u->path = slice_skip(text, at);
        while (u->path.len > 0 && u->path.ptr[u->path.len - 1] == '/') {
            u->path.len--;
        }
    }
    return parse_authority(u, authority, e);
}

/* -1: not a hexadecimal digit. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

struct slice url_target_path(struct slice target)
{
    size_t at;

    return find(target, '?', &at) ? slice_first(target, at) : target;
}

bool url_unescape(struct slice text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (c == '%' && i + 2 < text.len && hex_value(text.ptr[i + 1]) >= 0 &&
            hex_value(text.ptr[i + 2]) >= 0) {
            c = (char)(hex_value(text.ptr[i + 1]) * 16 + hex_value(text.ptr[i + 2]));
            i += 2;
        }
        if (!buf_append_byte(out, c)) {
            return false;
        }
    }
    return true;
}
