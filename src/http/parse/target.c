/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parse/target.h"

#include <string.h>

#define ALNUM ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true

static const bool in_token[256] = {
    ALNUM,         ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true,
    ['\''] = true, ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true, ['^'] = true,
    ['_'] = true,  ['`'] = true, ['|'] = true, ['~'] = true,
};

static const bool in_host[256] = {
    ALNUM,         ['!'] = true, ['$'] = true, ['%'] = true, ['&'] = true,
    ['\''] = true, ['('] = true, [')'] = true, ['*'] = true, ['+'] = true,
    [','] = true,  ['-'] = true, ['.'] = true, [':'] = true, [';'] = true,
    ['='] = true,  ['['] = true, [']'] = true, ['_'] = true, ['~'] = true,
};

bool http_is_token_char(char c)
{
    return in_token[(unsigned char)c];
}

bool http_host_is_plain(struct slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        if (!in_host[(unsigned char)host.ptr[i]]) {
            return false;
        }
    }
    return true;
}

/* RFC 9112 3.2.2: what the target says goes, a proxy may have left Host as it was. */
static const char *read_authority(struct http_head *head, struct slice authority)
{
    if (authority.len == 0) {
        return "a target without a host";
    }
    if (!http_host_is_plain(authority)) {
        return "a target with a malformed host"; /* user:password@ is one (RFC 9110 4.2.4) */
    }
    head->host = authority;
    return NULL;
}

const char *http_target_read(struct http_head *head)
{
    static const char scheme[] = "http://";
    struct slice target = head->target;
    size_t at = 0;

    if (target.len > 0 && target.ptr[0] == '/') {
        return NULL;
    }
    if (slice_eq(target, SLICE("*"))) {
        return slice_eq(head->method, SLICE("OPTIONS")) ? NULL : "* is for OPTIONS";
    }
    if (!slice_eq_case(slice_first(target, sizeof(scheme) - 1), slice_str(scheme))) {
        return "a target that is neither a path nor http://host/path";
    }
    target = slice_skip(target, sizeof(scheme) - 1);
    while (at < target.len && strchr("/?#", target.ptr[at]) == NULL) {
        at++;
    }
    if (at < target.len && target.ptr[at] != '/') {
        return "a target without a path";
    }
    head->target = at < target.len ? slice_skip(target, at) : SLICE("/");
    return read_authority(head, slice_first(target, at));
}
