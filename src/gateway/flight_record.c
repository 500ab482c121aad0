/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/flight_record.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "http/parse/message.h"

struct flight_piece *flight_piece_new(enum flight_kind kind, struct slice bytes)
{
    struct flight_piece *p = calloc(1, sizeof(*p) + bytes.len);

    if (p != NULL) {
        p->users = 1;
        p->kind = kind;
        p->len = bytes.len;
        if (bytes.len > 0) {
            memcpy(p->bytes, bytes.ptr, bytes.len);
        }
    }
    return p;
}

/* Not recursive: chains are long. */
static void unref(struct flight_piece *p)
{
    while (p != NULL && atomic_fetch_sub(&p->users, 1) == 1) {
        struct flight_piece *next = atomic_load(&p->next);

        free(p);
        p = next;
    }
}

struct flight_record *flight_record_new(void)
{
    struct flight_record *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        return NULL;
    }
    r->users = 1;
    r->first = flight_piece_new(FLIGHT_START, SLICE(""));
    if (r->first == NULL) {
        free(r);
        return NULL;
    }
    r->last = r->first;
    (void)atomic_fetch_add(&r->last->users, 1);
    return r;
}

void flight_record_unref(struct flight_record **rp)
{
    struct flight_record *r = *rp;

    *rp = NULL;
    if (r != NULL && atomic_fetch_sub(&r->users, 1) == 1) {
        unref(r->first);
        unref(r->last);
        free(r);
    }
}

void flight_append(struct flight_record *r, struct flight_piece *p)
{
    struct flight_piece *before = r->last;

    (void)atomic_fetch_add(&r->bytes, p->len);
    (void)atomic_fetch_add(&p->users, 1); /* as the last, and as the next of the one before */
    r->last = p;
    if (p->kind == FLIGHT_END) {
        atomic_store(&r->done, true);
    }
    atomic_store(&before->next, p);
    unref(before);
}

void flight_close(struct flight_record *r)
{
    unref(r->first);
    r->first = NULL;
}

struct flight_piece *flight_begin(struct flight_record *r)
{
    ASSERT(r->first != NULL);
    (void)atomic_fetch_add(&r->first->users, 1);
    return r->first;
}

const struct flight_piece *flight_next(struct flight_piece **at)
{
    struct flight_piece *before = *at;
    struct flight_piece *next = atomic_load(&before->next);

    if (next != NULL) {
        (void)atomic_fetch_add(&next->users, 1);
        *at = next;
        unref(before);
    }
    return next;
}

void flight_leave_at(struct flight_piece **at)
{
    unref(*at);
    *at = NULL;
}

/* --- heads: for each header the lengths of name and value, then both -------------------------- */

static size_t put(char *at, struct slice s)
{
    uint32_t len = (uint32_t)s.len;

    memcpy(at, &len, sizeof(len));
    if (s.len > 0) {
        memcpy(at + sizeof(len), s.ptr, s.len);
    }
    return sizeof(len) + s.len;
}

struct flight_piece *flight_piece_of_head(const struct http_head *head)
{
    size_t len = 0;
    struct flight_piece *p;

    for (size_t i = 0; i < head->header_count; i++) {
        len += 2 * sizeof(uint32_t) + head->headers[i].name.len + head->headers[i].value.len;
    }
    p = calloc(1, sizeof(*p) + len);
    if (p == NULL) {
        return NULL;
    }
    p->users = 1;
    p->kind = FLIGHT_HEAD;
    p->status = head->status;
    p->number = head->has_length ? head->content_length : UINT64_MAX;
    for (size_t i = 0; i < head->header_count; i++) {
        p->len += put(p->bytes + p->len, head->headers[i].name);
        p->len += put(p->bytes + p->len, head->headers[i].value);
    }
    return p;
}

static struct slice take(struct slice *rest)
{
    uint32_t len;
    struct slice s;

    memcpy(&len, rest->ptr, sizeof(len));
    s = slice_of(rest->ptr + sizeof(len), len);
    *rest = slice_skip(*rest, sizeof(len) + len);
    return s;
}

size_t flight_head_read(const struct flight_piece *p, struct http_header *headers)
{
    struct slice rest = flight_piece_bytes(p);
    size_t count = 0;

    while (rest.len > 0 && count < FLIGHT_HEADERS_MAX) {
        headers[count].name = take(&rest);
        headers[count++].value = take(&rest);
    }
    return count;
}
