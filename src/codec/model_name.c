/* SPDX-License-Identifier: Apache-2.0 */
/* Follows ParseName in Ollama's types/model/name.go, and ParseRef and NormalizePullName in its
 * internal/modelref/modelref.go, which take ":local" and ":cloud" off first. */
#include "codec/model_name.h"

#include <string.h>

struct name {
    struct slice host;
    struct slice space;
    struct slice model;
    struct slice tag;
    const char *cloud; /* what Ollama's name of a cloud model has behind the tag, else "" */
};

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) {
        s = slice_skip(s, 1);
    }
    while (s.len > 0 && is_blank(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

/* Offset of the last `c`; `s.len` where there is none. */
static size_t last(struct slice s, char c)
{
    const char *at = s.len == 0 ? NULL : memrchr(s.ptr, c, s.len);

    return at == NULL ? s.len : (size_t)(at - s.ptr);
}

static bool ends_with_case(struct slice s, struct slice end)
{
    return s.len >= end.len && slice_eq_case(slice_skip(s, s.len - end.len), end);
}

enum source { SOURCE_ANY, SOURCE_LOCAL, SOURCE_CLOUD };

/* Takes ":local", ":cloud" or the "-cloud" of a tag off the end. */
static enum source take_source(struct slice *s)
{
    size_t colon = last(*s, ':');
    struct slice suffix;

    if (colon == s->len) {
        return SOURCE_ANY;
    }
    suffix = trim(slice_skip(*s, colon + 1));
    if (slice_eq_case(suffix, SLICE("local"))) {
        s->len = colon;
        return SOURCE_LOCAL;
    }
    if (slice_eq_case(suffix, SLICE("cloud"))) {
        s->len = colon;
        return SOURCE_CLOUD;
    }
    if (ends_with_case(suffix, SLICE("-cloud")) && last(suffix, '/') == suffix.len) {
        s->len = (size_t)(suffix.ptr - s->ptr) + suffix.len - SLICE("-cloud").len;
        return SOURCE_CLOUD;
    }
    return SOURCE_ANY;
}

/* Cuts `s` at the last `c`; what was behind it goes to `behind`. False: there is none. */
static bool cut_last(struct slice *s, char c, struct slice *behind)
{
    size_t at = last(*s, c);

    if (at == s->len) {
        return false;
    }
    *behind = slice_skip(*s, at + 1);
    s->len = at;
    return true;
}

/* A colon before the last slash is a port. */
static bool has_tag(struct slice s)
{
    size_t colon = last(s, ':');
    size_t slash = last(s, '/');

    return colon < s.len && (slash == s.len || colon > slash);
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_part(struct slice s, size_t len_max, struct slice also)
{
    if (s.len == 0 || s.len > len_max || !is_letter_or_digit(s.ptr[0])) {
        return false;
    }
    for (size_t i = 1; i < s.len; i++) {
        if (!is_letter_or_digit(s.ptr[i]) && memchr(also.ptr, s.ptr[i], also.len) == NULL) {
            return false;
        }
    }
    return true;
}

/* [scheme://]host: the scheme does not count in comparisons. */
static struct slice without_scheme(struct slice s)
{
    const char *at = s.len == 0 ? NULL : memmem(s.ptr, s.len, "://", 3);

    return at == NULL ? s : slice_skip(s, (size_t)(at - s.ptr) + 3);
}

/* The parts as they stand, defaults where they are left out. A part that is empty although a
 * separator promises it stays empty, which is_part() refuses. */
static void split(struct slice s, struct name *n)
{
    *n = (struct name){.host = SLICE("registry.ollama.ai"),
                       .space = SLICE("library"),
                       .tag = SLICE("latest"),
                       .cloud = ""};
    if (has_tag(s)) {
        (void)cut_last(&s, ':', &n->tag); /* it is there */
    }
    if (!cut_last(&s, '/', &n->model)) {
        n->model = s;
    } else if (!cut_last(&s, '/', &n->space)) {
        n->space = s;
    } else if (s.len == 0 || without_scheme(s).len > 0) { /* "https:///x/y" has the default host */
        n->host = without_scheme(s);
    }
}

/* False where Ollama would refuse the name. */
static bool parse(struct slice text, struct name *n)
{
    struct slice base = trim(text);
    enum source source = take_source(&base);
    struct slice more = base;

    if (source != SOURCE_ANY && take_source(&more) != SOURCE_ANY) {
        return false;
    }
    split(base, n);
    if (source == SOURCE_CLOUD && has_tag(base)) {
        n->cloud = "-cloud";
    } else if (source == SOURCE_CLOUD) {
        n->tag = SLICE("cloud");
    }
    return is_part(n->host, 350, SLICE("-.:")) && is_part(n->space, 80, SLICE("-")) &&
           is_part(n->model, 80, SLICE("-.")) &&
           is_part(n->tag, 80 - strlen(n->cloud), SLICE("-."));
}

static bool append_lower(struct buf *out, struct slice s)
{
    char *at = buf_reserve(out, s.len);

    if (at == NULL) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        at[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] - 'A' + 'a') : s.ptr[i];
    }
    buf_commit(out, s.len);
    return true;
}

bool model_name_canonical(struct slice name, struct buf *out)
{
    struct name n;

    if (!parse(name, &n)) {
        return buf_append_byte(out, '!') && buf_append(out, name); /* no valid name begins so */
    }
    return append_lower(out, n.host) && buf_append_byte(out, '/') && append_lower(out, n.space) &&
           buf_append_byte(out, '/') && append_lower(out, n.model) && buf_append_byte(out, ':') &&
           append_lower(out, n.tag) && buf_append_str(out, n.cloud);
}

bool model_name_same(struct slice a, struct slice b)
{
    struct name left;
    struct name right;
    bool left_valid = parse(a, &left);
    bool right_valid = parse(b, &right);

    if (!left_valid || !right_valid) {
        return left_valid == right_valid && slice_eq(a, b);
    }
    return slice_eq_case(left.host, right.host) && slice_eq_case(left.space, right.space) &&
           slice_eq_case(left.model, right.model) && slice_eq_case(left.tag, right.tag) &&
           left.cloud[0] == right.cloud[0];
}

bool model_name_is_cloud(struct slice name)
{
    struct slice base = trim(name);

    return take_source(&base) == SOURCE_CLOUD;
}
