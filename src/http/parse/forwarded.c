/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parse/forwarded.h"

#include <string.h>

enum { NODE_MAX = 128 /* longer than any address with brackets and port, or name with one */ };

/* --- a node: an address or a name, with a port or without ------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* "_" and letters, digits, "." "_" "-". */
static bool is_obfuscated(struct slice s)
{
    for (size_t i = 1; i < s.len; i++) {
        if (!is_digit(s.ptr[i]) && !is_letter(s.ptr[i]) && memchr("._-", s.ptr[i], 3) == NULL) {
            return false;
        }
    }
    return s.len > 1 && s.ptr[0] == '_';
}

/* What stands behind the address: nothing, or a colon and a number or an obfuscated port. */
static bool is_port(struct slice s)
{
    bool digits = s.len > 1 && s.len <= 6;

    if (s.len == 0) {
        return true;
    }
    if (s.ptr[0] != ':') {
        return false;
    }
    for (size_t i = 1; i < s.len; i++) {
        digits = digits && is_digit(s.ptr[i]);
    }
    return digits || is_obfuscated(slice_skip(s, 1));
}

/* In the brackets of IPv6, and without. */
static bool read_bracketed(struct slice text, struct ip *ip)
{
    const char *end = memchr(text.ptr, ']', text.len);
    size_t len = end == NULL ? 0 : (size_t)(end - text.ptr);
    struct slice inside = slice_of(text.ptr + 1, len == 0 ? 0 : len - 1);

    return len > 1 && memchr(inside.ptr, ':', inside.len) != NULL && ip_read(inside, ip) &&
           is_port(slice_skip(text, len + 1));
}

static bool read_address(struct slice text, struct ip *ip)
{
    const char *colon = memchr(text.ptr, ':', text.len);
    size_t host = colon == NULL ? text.len : (size_t)(colon - text.ptr);

    if (text.ptr[0] == '[') {
        return read_bracketed(text, ip);
    }
    if (colon != NULL && memchr(colon + 1, ':', text.len - host - 1) != NULL) {
        return ip_read(text, ip); /* IPv6 as it is; so it has no port */
    }
    return ip_read(slice_first(text, host), ip) && is_port(slice_skip(text, host));
}

static bool read_name(struct slice text, char name[FORWARDED_NAME_MAX + 1])
{
    const char *colon = memchr(text.ptr, ':', text.len);
    struct slice host = colon == NULL ? text : slice_first(text, (size_t)(colon - text.ptr));

    if (!is_obfuscated(host) || host.len > FORWARDED_NAME_MAX ||
        !is_port(slice_skip(text, host.len))) {
        return false;
    }
    slice_copy(host, name, FORWARDED_NAME_MAX + 1);
    return true;
}

static void read_node(struct slice text, struct forwarded_hop *hop)
{
    *hop = (struct forwarded_hop){.kind = FORWARDED_UNKNOWN};
    if (text.len == 0) {
        return;
    }
    if (read_address(text, &hop->ip)) {
        hop->kind = FORWARDED_IP;
    } else if (read_name(text, hop->name)) {
        hop->kind = FORWARDED_NAME;
    }
}

/* --- X-Forwarded-For: a list of them ---------------------------------------------------------- */

bool x_forwarded_for_next(struct slice *value, struct forwarded_hop *hop)
{
    while (value->len > 0) {
        const char *comma = memchr(value->ptr, ',', value->len);
        size_t len = comma == NULL ? value->len : (size_t)(comma - value->ptr);
        struct slice node = slice_trim(slice_first(*value, len));

        *value = slice_skip(*value, comma == NULL ? len : len + 1);
        if (node.len > 0) {
            read_node(node, hop);
            return true;
        }
    }
    return false;
}

/* --- Forwarded: a list of parameters of each -------------------------------------------------- */

static bool is_token(char c)
{
    return is_digit(c) || is_letter(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static void skip_blanks(struct slice *s)
{
    while (s->len > 0 && (s->ptr[0] == ' ' || s->ptr[0] == '\t')) {
        *s = slice_skip(*s, 1);
    }
}

static struct slice take_token(struct slice *s, const char *more)
{
    struct slice token = *s;
    size_t len = 0;

    while (len < s->len &&
           (is_token(s->ptr[len]) || (s->ptr[len] != '\0' && strchr(more, s->ptr[len]) != NULL))) {
        len++;
    }
    *s = slice_skip(*s, len);
    return slice_first(token, len);
}

/* A text in quotes, without them and its backslashes; what does not fit is lost, and with it what
 * the node would have been. False: it does not end. */
static bool take_quoted(struct slice *s, char out[NODE_MAX], size_t *len)
{
    size_t i = 1;

    *len = 0;
    for (; i < s->len && s->ptr[i] != '"'; i++) {
        i += s->ptr[i] == '\\';
        if (i < s->len && *len < NODE_MAX) {
            out[(*len)++] = s->ptr[i];
        }
    }
    if (i >= s->len) {
        return false;
    }
    *s = slice_skip(*s, i + 1);
    *len = *len == NODE_MAX ? 0 : *len;
    return true;
}

/* One `name=value`. Colons and brackets ought to be in quotes, and often are not. */
static bool take_pair(struct slice *s, struct slice *name, char value[NODE_MAX], size_t *len)
{
    struct slice bare;

    *name = take_token(s, "");
    if (name->len == 0 || s->len == 0 || s->ptr[0] != '=') {
        return false;
    }
    *s = slice_skip(*s, 1);
    if (s->len > 0 && s->ptr[0] == '"') {
        return take_quoted(s, value, len);
    }
    bare = take_token(s, ":[]");
    *len = bare.len < NODE_MAX ? bare.len : 0;
    if (*len > 0) {
        memcpy(value, bare.ptr, *len);
    }
    return bare.len > 0;
}

/* Up to the comma behind it, or the end. False: it breaks the grammar, or names two. */
static bool take_element(struct slice *s, struct forwarded_hop *hop)
{
    bool named = false;

    while (s->len > 0 && s->ptr[0] != ',') {
        char value[NODE_MAX];
        struct slice name;
        size_t len;

        if (s->ptr[0] == ';') {
            *s = slice_skip(*s, 1);
            skip_blanks(s);
            continue;
        }
        if (!take_pair(s, &name, value, &len)) {
            return false;
        }
        if (slice_eq_case(name, SLICE("for"))) {
            if (named) {
                return false;
            }
            named = true;
            read_node(slice_of(value, len), hop);
        }
        skip_blanks(s);
        if (s->len > 0 && s->ptr[0] != ';' && s->ptr[0] != ',') {
            return false;
        }
    }
    return true;
}

bool forwarded_next(struct slice *value, struct forwarded_hop *hop)
{
    skip_blanks(value);
    while (value->len > 0 && value->ptr[0] == ',') {
        *value = slice_skip(*value, 1);
        skip_blanks(value);
    }
    if (value->len == 0) {
        return false;
    }
    *hop = (struct forwarded_hop){.kind = FORWARDED_UNKNOWN};
    if (!take_element(value, hop)) {
        *hop = (struct forwarded_hop){.kind = FORWARDED_UNKNOWN};
        *value = slice_first(*value, 0);
    }
    return true;
}
