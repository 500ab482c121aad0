/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in a message's head, and its lines. */
#include "http/parse/message.h"

#include <string.h>

/* RFC 9110 7.6.1, and the older ones a gateway must not pass on either. */
static const struct slice hop_by_hop[] = {
    SLICE("Connection"),
    SLICE("Keep-Alive"),
    SLICE("Proxy-Authenticate"),
    SLICE("Proxy-Authorization"),
    SLICE("Proxy-Connection"),
    SLICE("TE"),
    SLICE("Trailer"),
    SLICE("Transfer-Encoding"),
    SLICE("Upgrade"),
};

/* Of those names, a bit for each as http_name_bit has it. */
#define BIT(letter, len) ((uint64_t)1 << (((len)*7 + (letter)) & 63))
static const uint64_t hop_by_hop_bits = BIT('c', 10) | BIT('k', 10) | BIT('p', 18) | BIT('p', 19) |
                                        BIT('p', 16) | BIT('t', 2) | BIT('t', 7) | BIT('t', 17) |
                                        BIT('u', 7);

/* False: surely not. */
static bool may_have(const struct http_head *head, struct slice name)
{
    return head->names == 0 || (head->names & http_name_bit(name)) != 0;
}

struct slice http_head_find(const struct http_head *head, struct slice name)
{
    if (!may_have(head, name)) {
        return (struct slice){NULL, 0};
    }
    for (size_t i = 0; i < head->header_count; i++) {
        if (slice_eq_case(head->headers[i].name, name)) {
            return head->headers[i].value;
        }
    }
    return (struct slice){NULL, 0};
}

static bool list_has(struct slice list, struct slice token)
{
    while (list.len > 0) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.ptr);

        if (slice_eq_case(slice_trim(slice_first(list, len)), token)) {
            return true;
        }
        list = slice_skip(list, comma == NULL ? len : len + 1);
    }
    return false;
}

bool http_head_has_token(const struct http_head *head, struct slice name, struct slice token)
{
    if (!may_have(head, name)) {
        return false;
    }
    for (size_t i = 0; i < head->header_count; i++) {
        if (slice_eq_case(head->headers[i].name, name) && list_has(head->headers[i].value, token)) {
            return true;
        }
    }
    return false;
}

struct slice http_head_type(const struct http_head *head)
{
    struct slice value = http_head_find(head, SLICE("Content-Type"));
    const char *end = value.len == 0 ? NULL : memchr(value.ptr, ';', value.len);

    return slice_trim(slice_first(value, end == NULL ? value.len : (size_t)(end - value.ptr)));
}

bool http_head_has_type(const struct http_head *head, struct slice type)
{
    return slice_eq_case(http_head_type(head), type);
}

static bool is_always_hop_by_hop(struct slice name)
{
    if ((hop_by_hop_bits & http_name_bit(name)) == 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof(hop_by_hop) / sizeof(hop_by_hop[0]); i++) {
        if (slice_eq_case(hop_by_hop[i], name)) {
            return true;
        }
    }
    return false;
}

bool http_header_is_hop_by_hop(const struct http_head *head, struct slice name)
{
    return is_always_hop_by_hop(name) || http_head_has_token(head, SLICE("Connection"), name);
}

bool http_header_append(struct buf *b, struct slice name, struct slice value)
{
    size_t bytes = name.len + value.len + 4;
    char *at = buf_reserve(b, bytes); /* all at once, which costs half of piece by piece */

    if (at == NULL) {
        return false;
    }
    at = mempcpy(at, name.ptr, name.len);
    at = mempcpy(at, ": ", 2);
    if (value.len > 0) {
        at = mempcpy(at, value.ptr, value.len);
    }
    memcpy(at, "\r\n", 2);
    buf_commit(b, bytes);
    return true;
}
