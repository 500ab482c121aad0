/* SPDX-License-Identifier: Apache-2.0 */
/* The owner's side: flights by key, those that are kept when they are over, and the exchange that
 * makes the answer. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/hash.h"
#include "gateway/flight.h"
#include "gateway/flight_internal.h"
#include "gateway/inner.h"
#include "gateway/sub.h"

enum {
    FLIGHT_MAGIC = 0x666c6967,
    SLOTS = 1024,
    IDEMPOTENT_BYTES = 64 * 1024 * 1024, /* kept at most, of all loops together */
    IDEMPOTENT_US = 600 * 1000000,
};

struct flight {
    uint32_t magic;
    struct sub *sub;
    uint64_t hash;
    struct buf key;
    struct buf body; /* idempotent: what it was */
    bool idempotent;
    bool listed; /* in the table: others may join */
    bool kept;   /* it is over, and in the order of age */
    bool cacheable;
    uint64_t expires_us;
    size_t bytes;
    struct flight_record *record;
    struct exchange *run; /* NULL: it has ended */
    struct flight_members members;
    struct flight *chain;
    struct flight *older, *newer;
};

/* --- the table -------------------------------------------------------------------------------- */

static struct flight **slot_of(struct sub *s, uint64_t hash)
{
    return &s->flights.slots[hash % SLOTS];
}

static struct flight *find(struct sub *s, const struct flight_member *m)
{
    struct slice key = buf_slice(&m->key);
    uint64_t hash = hash_bytes(0, key);
    struct flight *f = *slot_of(s, hash);

    while (f != NULL && !(f->hash == hash && slice_eq(buf_slice(&f->key), key))) {
        f = f->chain;
    }
    return f;
}

static void flight_free(struct flight *f)
{
    ASSERT(f->members.count == 0 && f->run == NULL && !f->listed && !f->kept);
    flight_record_unref(&f->record);
    buf_fini(&f->key);
    buf_fini(&f->body);
    f->magic = 0;
    free(f);
}

static void free_if_unused(struct flight *f)
{
    if (f->members.count == 0 && f->run == NULL && !f->listed) {
        flight_free(f);
    }
}

/* Nobody joins it any more. */
static void unlist(struct flight *f)
{
    struct flight_sub *fs = &f->sub->flights;
    struct flight **at = slot_of(f->sub, f->hash);

    if (!f->listed) {
        return;
    }
    while (*at != f) {
        at = &(*at)->chain;
    }
    *at = f->chain;
    f->listed = false;
    flight_close(f->record);
    if (f->kept) {
        f->kept = false;
        *(f->older != NULL ? &f->older->newer : &fs->oldest) = f->newer;
        *(f->newer != NULL ? &f->newer->older : &fs->newest) = f->older;
        fs->kept_bytes -= f->bytes;
        counter_add(COUNTER_SHARE_KEPT_BYTES, -(int64_t)f->bytes);
    }
}

static void drop(struct flight *f)
{
    unlist(f);
    free_if_unused(f);
}

static size_t room(const struct sub *s)
{
    return (size_t)((IDEMPOTENT_BYTES + s->config->share_cache_bytes) / s->sibling_count);
}

static void drop_old(struct sub *s, uint64_t now_us)
{
    const struct flight_sub *fs = &s->flights;

    while (fs->oldest != NULL && (fs->oldest->expires_us <= now_us || fs->kept_bytes > room(s))) {
        counter_add(fs->oldest->expires_us <= now_us ? COUNTER_SHARE_FORGOTTEN_AGE
                                                     : COUNTER_SHARE_FORGOTTEN_ROOM,
                    1);
        drop(fs->oldest);
    }
}

static void keep(struct flight *f)
{
    struct flight_sub *fs = &f->sub->flights;
    uint64_t now_us = loop_now_us(f->sub->loop);

    f->bytes = (size_t)atomic_load(&f->record->bytes) + f->key.cap + f->body.cap + sizeof(*f);
    f->expires_us = now_us + (f->idempotent ? (uint64_t)IDEMPOTENT_US
                                            : f->sub->config->share_cache_age_ms * 1000);
    f->kept = true;
    f->older = fs->newest;
    f->newer = NULL;
    *(fs->newest != NULL ? &fs->newest->newer : &fs->oldest) = f;
    fs->newest = f;
    fs->kept_bytes += f->bytes;
    counter_add(COUNTER_SHARE_KEPT_BYTES, (int64_t)f->bytes);
    drop_old(f->sub, now_us);
}

void flight_sub_fini(struct sub *s)
{
    while (s->flights.oldest != NULL) {
        drop(s->flights.oldest);
    }
    free(s->flights.slots);
}

/* --- members ---------------------------------------------------------------------------------- */

static void kick(struct flight_member *m)
{
    if (!atomic_exchange(&m->kicked, true)) {
        (void)atomic_fetch_add(&m->users, 1);
        post_box_put(&m->home->batch.box, &m->owner->batch.box, &m->kick);
    }
}

static void kick_all(struct flight *f)
{
    for (struct flight_member *m = flight_members_first(&f->members); m != NULL;
         m = flight_members_next(&f->members, m)) {
        kick(m);
    }
}

/* Its only reader is behind: the node waits for it, as it would without us. The reader's loop may
 * see to it at the same time; of the two, who clears `held` lets it go on. */
static void hold_back(struct flight *f)
{
    struct flight_member *m = flight_members_first(&f->members);

    if (f->members.count != 1 || f->run == NULL || f->run->paused || atomic_load(&m->going) ||
        flight_behind(m) <= FLIGHT_AHEAD_BYTES) {
        return;
    }
    atomic_store(&m->held, true);
    if (flight_behind(m) > FLIGHT_AHEAD_BYTES / 2 || !atomic_exchange(&m->held, false)) {
        exchange_pause(f->run);
    }
}

/* It has more readers than one, or another one. */
static void readers_changed(struct flight *f)
{
    atomic_store(&f->record->crowded, f->members.count > 1);
    if (f->run != NULL && f->run->paused) {
        exchange_resume(f->run);
    }
}

void flight_on_go(struct post_message *go)
{
    struct flight_member *m =
        (struct flight_member *)(void *)((char *)go - offsetof(struct flight_member, go));

    OBJ_CHECK(m, FLIGHT_MEMBER_MAGIC);
    atomic_store(&m->going, false);
    if (m->flight != NULL && m->flight->run != NULL && m->flight->run->paused) {
        exchange_resume(m->flight->run);
    }
    flight_member_unref(m);
}

/* False: out of memory, or too much: the flight fails. */
static bool append(struct flight *f, struct flight_piece *p)
{
    if (p == NULL) {
        exchange_abort(f->run, MCP_EINTERNAL, "out of memory");
        return false;
    }
    flight_append(f->record, p);
    if (f->listed && atomic_load(&f->record->bytes) > FLIGHT_REPLAY_BYTES_MAX) {
        counter_add(COUNTER_SHARE_FORGOTTEN_LONG, 1);
        unlist(f); /* it goes on for those that have joined */
    }
    kick_all(f);
    hold_back(f);
    return true;
}

/* --- the call --------------------------------------------------------------------------------- */

static void on_admitted(void *owner, struct exchange *x)
{
    struct flight *f = owner;
    struct flight_piece *p = flight_piece_new(FLIGHT_NODE, slice_str(x->node_name));

    if (p != NULL) {
        p->number = x->node_id;
        p->also = x->turn.waited_us;
    }
    (void)append(f, p);
}

static void on_queued(void *owner, struct exchange *x)
{
    const struct flight_place at = {x->turn.position, x->turn.depth, x->turn.eta_us};

    (void)append(owner, flight_piece_new(FLIGHT_QUEUED, slice_of((const char *)&at, sizeof(at))));
}

/* With what was found out about the request, as if it were a header. */
static void on_head(void *owner, const struct http_head *from)
{
    struct flight *f = owner;
    const struct exchange *x = f->run;
    struct http_header headers[HTTP_HEADERS_MAX + 1];
    struct http_head head = *from;
    size_t count = from->header_count < HTTP_HEADERS_MAX ? from->header_count : HTTP_HEADERS_MAX;

    memcpy(headers, from->headers, count * sizeof(*headers));
    if (x->extra != NULL && buf_len(&x->extra->ignored) > 0) {
        headers[count++] =
            (struct http_header){SLICE(FLIGHT_IGNORED), buf_slice(&x->extra->ignored)};
    }
    head.headers = headers;
    head.header_count = count;
    (void)append(f, flight_piece_of_head(&head));
}

static void on_bytes(void *owner, struct slice bytes)
{
    (void)append(owner, flight_piece_new(FLIGHT_BYTES, bytes));
}

static void on_part(void *owner, struct slice part, bool last)
{
    (void)append(owner, flight_piece_new(last ? FLIGHT_LAST_PART : FLIGHT_PART, part));
}

static struct flight_piece *end_of(const struct exchange *x, const struct exchange_result *r)
{
    struct buf bytes = {0};
    struct flight_piece *p = NULL;

    if (buf_append(&bytes, r->text) && buf_append(&bytes, r->node_body)) {
        p = flight_piece_new(FLIGHT_END, buf_slice(&bytes));
    }
    buf_fini(&bytes);
    if (p == NULL) {
        p = flight_piece_new(FLIGHT_END, SLICE("")); /* the code says enough */
    }
    if (p != NULL) {
        p->number = (uint64_t)(int64_t)r->code;
        p->status = x->node_status;
        p->also = r->retry_after_ms * 1000;
        p->split = p->len > 0 ? r->text.len : 0;
    }
    return p;
}

static void on_ended(void *owner, const struct exchange_result *r)
{
    struct flight *f = owner;
    struct exchange *x = f->run;
    struct flight_piece *end = end_of(x, r);
    bool good = r->code == MCP_OK && x->node_status < 400 && !x->saw_error;

    OBJ_CHECK(f, FLIGHT_MAGIC);
    while (end == NULL) {
        end = flight_piece_new(FLIGHT_END, SLICE("")); /* members must not wait for ever */
    }
    f->run = NULL;
    flight_append(f->record, end);
    kick_all(f);
    if (good && f->listed &&
        (f->idempotent || (f->cacheable && f->sub->config->share_cache_bytes > 0))) {
        keep(f);
    } else {
        drop(f);
    }
}

static const struct exchange_sink flight_sink = {.admitted = on_admitted,
                                                 .queued = on_queued,
                                                 .head = on_head,
                                                 .bytes = on_bytes,
                                                 .part = on_part,
                                                 .ended = on_ended};

static bool fill(struct exchange *x, const struct flight_ask *ask)
{
    const struct inner_head head = {.method = ask->method,
                                    .path = ask->path,
                                    .headers = (const void *)buf_slice(&ask->headers).ptr,
                                    .header_count = ask->header_count};

    x->may_share = true;
    x->op = ask->op;
    x->native = ask->native;
    x->native_only = ask->native_only;
    x->streams = ask->streams;
    x->once = ask->once;
    x->session_hash = ask->session_hash;
    x->needs_model = ask->needs_model;
    x->relay_any_kind = ask->relay_any_kind;
    x->stream_end = ask->stream_end;
    x->prefer_node_id = ask->prefer_node_id;
    x->priority = ask->priority;
    slice_copy(slice_str(ask->id), x->id, sizeof(x->id));
    slice_copy(slice_str(ask->client), x->client, sizeof(x->client));
    slice_copy(slice_str(ask->key_name), x->key_name, sizeof(x->key_name));
    if (!buf_append(&x->body, buf_slice(&ask->body)) ||
        !inner_fill(x, &head, buf_slice(&ask->model))) {
        return false;
    }
    if (ask->native && ask->traceparent.len > 0 && buf_append(&x->http, ask->traceparent)) {
        x->request.mcp.traceparent = buf_slice(&x->http);
    }
    return true;
}

static struct flight *flight_new(struct sub *s, const struct flight_member *m)
{
    struct flight *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        return NULL;
    }
    f->magic = FLIGHT_MAGIC;
    f->sub = s;
    f->hash = hash_bytes(0, buf_slice(&m->key));
    f->idempotent = m->idempotent;
    f->cacheable = m->cacheable;
    f->record = flight_record_new();
    f->run = f->record == NULL ? NULL : inner_new(s, &flight_sink, f);
    if (f->run == NULL || !buf_append(&f->key, buf_slice(&m->key)) ||
        (f->idempotent && !buf_append(&f->body, buf_slice(&m->ask.body)))) {
        if (f->run != NULL) {
            exchange_cancel(&f->run);
        }
        flight_free(f);
        return NULL;
    }
    f->chain = *slot_of(s, f->hash);
    *slot_of(s, f->hash) = f;
    f->listed = true;
    return f;
}

static void attach(struct flight *f, struct flight_member *m)
{
    m->outcome = FLIGHT_SHARED;
    m->flight = f;
    m->record = f->record;
    (void)atomic_fetch_add(&f->record->users, 1);
    m->at = flight_begin(f->record);
    flight_members_push(&f->members, m);
    readers_changed(f);
}

static void begin(struct sub *s, struct flight_member *m)
{
    struct flight *f = flight_new(s, m);

    if (f == NULL) {
        m->outcome = FLIGHT_ALONE;
        kick(m);
        return;
    }
    attach(f, m);
    if (fill(f->run, &m->ask)) {
        exchange_start(f->run);
    } else {
        exchange_refuse(f->run, MCP_EINTERNAL, "out of memory");
    }
}

static void join_it(struct flight *f, struct flight_member *m)
{
    if (f->idempotent && !slice_eq(buf_slice(&f->body), buf_slice(&m->ask.body))) {
        m->outcome = FLIGHT_REFUSED;
    } else {
        m->hit = f->kept;
        counter_add(f->idempotent ? COUNTER_SHARE_REPEATED
                    : f->kept     ? COUNTER_SHARE_CACHED
                                  : COUNTER_SHARE_JOINED,
                    1);
        attach(f, m);
    }
    kick(m);
}

void flight_on_join(struct post_message *join)
{
    struct flight_member *m =
        (struct flight_member *)(void *)((char *)join - offsetof(struct flight_member, join));
    struct sub *s = m->owner;
    struct flight *f;

    OBJ_CHECK(m, FLIGHT_MEMBER_MAGIC);
    if (s->flights.slots == NULL) {
        s->flights.slots = calloc(SLOTS, sizeof(struct flight *));
    }
    if (s->flights.slots == NULL) {
        m->outcome = FLIGHT_ALONE;
        kick(m);
        return;
    }
    drop_old(s, loop_now_us(s->loop));
    f = find(s, m);
    if (f == NULL) {
        begin(s, m);
    } else {
        join_it(f, m);
    }
}

void flight_on_over(struct post_message *over)
{
    struct flight_member *m =
        (struct flight_member *)(void *)((char *)over - offsetof(struct flight_member, over));
    struct flight *f = m->flight;
    struct sub *s = m->owner;

    OBJ_CHECK(m, FLIGHT_MEMBER_MAGIC);
    if (f != NULL) {
        flight_members_remove(&f->members, m);
        if (f->members.count == 0 && f->run != NULL) {
            exchange_cancel(&f->run); /* nobody waits for it any more */
            unlist(f);
        }
        m->flight = NULL;
        readers_changed(f);
        free_if_unused(f);
    }
    flight_member_unref(m);
    (void)atomic_fetch_sub(&s->batch_shared->members, 1);
}
