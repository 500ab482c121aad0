/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/session.h"

#include <stdlib.h>

#include "base/check.h"

enum { FIRST_BUCKETS = 8 };

void wire_session_table_init(struct wire_session_table *t, const struct wire_session_config *config)
{
    *t = (struct wire_session_table){.config = *config};
}

/* --- hash ----------------------------------------------------------------------------------------
 */

/* MurmurHash3's finalizer: peers choose the ids, the seed keeps them from choosing the buckets. */
static size_t bucket_of(const struct wire_session_table *t, uint32_t id)
{
    uint64_t h = id ^ t->config.hash_seed;

    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdULL;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ULL;
    h ^= h >> 33;
    return (size_t)h & (t->bucket_count - 1);
}

static struct wire_session *look_up(const struct wire_session_table *t, uint32_t id)
{
    struct wire_session *s = t->bucket_count == 0 ? NULL : t->buckets[bucket_of(t, id)];

    while (s != NULL && s->id != id) {
        s = s->hash_next;
    }
    return s;
}

static void hash_insert(struct wire_session_table *t, struct wire_session *s)
{
    struct wire_session **bucket = &t->buckets[bucket_of(t, s->id)];

    s->hash_next = *bucket;
    *bucket = s;
}

static void hash_remove(struct wire_session_table *t, const struct wire_session *s)
{
    struct wire_session **at = &t->buckets[bucket_of(t, s->id)];

    while (*at != s) {
        at = &(*at)->hash_next;
    }
    *at = s->hash_next;
}

/* Keeps chains at one session on average. Where memory is out they grow longer instead. */
static int make_room(struct wire_session_table *t)
{
    size_t old_count = t->bucket_count;
    struct wire_session **old = t->buckets;
    size_t count = old_count == 0 ? FIRST_BUCKETS : old_count * 2;
    struct wire_session **buckets;

    if (t->in_flight + t->idle.count < old_count) {
        return 0;
    }
    buckets = calloc(count, sizeof(struct wire_session *));
    if (buckets == NULL) {
        return old_count == 0 ? MCP_ENOMEM : 0;
    }
    t->buckets = buckets;
    t->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct wire_session *s = old[i], *next; s != NULL; s = next) {
            next = s->hash_next;
            hash_insert(t, s);
        }
    }
    free(old);
    return 0;
}

/* --- what a session holds ------------------------------------------------------------------------
 */

static void free_text(struct slice *text)
{
    free((void *)(uintptr_t)text->ptr); /* ours: borrowed slices are const */
    *text = (struct slice){0};
}

static void drop_inherited(struct wire_session_table *t, struct wire_session *s)
{
    free_text(&s->inherited.model);
    free_text(&s->inherited.tags);
    free_text(&s->inherited.options);
    t->inherited_bytes -= s->inherited_bytes;
    s->inherited = (struct wire_inherited){0};
    s->inherited_bytes = 0;
    s->node_id = 0;
}

static void free_session(struct wire_session_table *t, struct wire_session *s)
{
    drop_inherited(t, s);
    free(s);
}

static void forget(struct wire_session_table *t, struct wire_session *s)
{
    wire_session_list_remove(&t->idle, s);
    hash_remove(t, s);
    free_session(t, s);
}

void wire_session_table_fini(struct wire_session_table *t)
{
    for (size_t i = 0; i < t->bucket_count; i++) {
        for (struct wire_session *s = t->buckets[i], *next; s != NULL; s = next) {
            next = s->hash_next;
            free_session(t, s);
        }
    }
    free(t->buckets);
    *t = (struct wire_session_table){0};
}

static bool has_something(const struct wire_session *s)
{
    const struct wire_inherited *i = &s->inherited;

    return s->inherited_bytes > 0 || i->deadline_ms != 0 || i->priority != 0 || s->node_id != 0;
}

static bool time_is_over(const struct wire_session_table *t, const struct wire_session *s,
                         uint64_t now_ms)
{
    return !s->in_flight && now_ms >= s->idle_since_ms + t->config.idle_ms;
}

/* --- begin and end -------------------------------------------------------------------------------
 */

static int add_session(struct wire_session_table *t, uint32_t id, struct wire_session **session)
{
    struct wire_session *s;

    if (make_room(t) != 0) {
        return MCP_ENOMEM;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return MCP_ENOMEM;
    }
    s->id = id;
    hash_insert(t, s);
    *session = s;
    return 0;
}

int wire_session_begin(struct wire_session_table *t, uint32_t id, uint64_t now_ms,
                       struct wire_session **session)
{
    struct wire_session *s = look_up(t, id);
    int rv;

    if (s != NULL && s->in_flight) {
        return MCP_ESESSION_BUSY;
    }
    if (t->in_flight >= t->config.max_in_flight) {
        return MCP_EQUEUE_FULL;
    }
    if (s == NULL) {
        rv = add_session(t, id, &s);
        if (rv != 0) {
            return rv;
        }
    } else {
        if (time_is_over(t, s, now_ms)) {
            drop_inherited(t, s);
            t->expired++;
        }
        wire_session_list_remove(&t->idle, s);
    }
    s->in_flight = true;
    s->exchange = NULL;
    t->in_flight++;
    *session = s;
    return 0;
}

void wire_session_end(struct wire_session_table *t, struct wire_session *session, uint64_t now_ms)
{
    ASSERT(session->in_flight);
    session->in_flight = false;
    session->exchange = NULL;
    t->in_flight--;
    if (!has_something(session)) {
        hash_remove(t, session);
        free_session(t, session);
        return;
    }
    session->idle_since_ms = now_ms;
    wire_session_list_push(&t->idle, session);
    if (t->idle.count > t->config.max_idle) {
        forget(t, wire_session_list_first(&t->idle));
        t->evicted++;
    }
}

/* --- inheritance ---------------------------------------------------------------------------------
 */

static bool copy_text(struct slice *to, struct slice from)
{
    char *copy;

    *to = (struct slice){0};
    if (from.len > 0) {
        copy = malloc(from.len);
        if (copy == NULL) {
            return false;
        }
        memcpy(copy, from.ptr, from.len);
        *to = slice_of(copy, from.len);
    }
    return true;
}

/* What of `own` is given takes the place of what is there. */
static void replace_text(struct slice *there, struct slice own, struct slice copy)
{
    if (own.ptr != NULL) {
        free_text(there);
        *there = copy;
    }
}

static size_t bytes_after(struct slice there, struct slice own)
{
    return own.ptr != NULL ? own.len : there.len;
}

/* The oldest idle sessions make room. */
static bool fits(struct wire_session_table *t, const struct wire_session *session, size_t bytes)
{
    struct wire_session *oldest;

    if (bytes > t->config.max_inherit_bytes) {
        return false;
    }
    while (t->inherited_bytes - session->inherited_bytes > t->config.max_inherit_bytes - bytes) {
        oldest = wire_session_list_first(&t->idle);
        if (oldest == NULL) {
            return false;
        }
        forget(t, oldest);
        t->evicted++;
    }
    return true;
}

/* What of `own` differs from what is there: a session mostly says the same again. */
static struct slice changed(struct slice own, struct slice there)
{
    return own.len > 0 && slice_eq(own, there) ? (struct slice){0} : own;
}

int wire_session_inherit(struct wire_session_table *t, struct wire_session *session,
                         const struct wire_inherited *own)
{
    struct wire_inherited *there = &session->inherited;
    struct wire_inherited copy = {0};
    struct slice model = changed(own->model, there->model);
    struct slice tags = changed(own->tags, there->tags);
    struct slice options = changed(own->options, there->options);
    size_t bytes = bytes_after(there->model, model) + bytes_after(there->tags, tags) +
                   bytes_after(there->options, options);
    int rv = MCP_ENOMEM;

    if (!copy_text(&copy.model, model) || !copy_text(&copy.tags, tags) ||
        !copy_text(&copy.options, options)) {
        goto fail;
    }
    if (!fits(t, session, bytes)) {
        rv = MCP_ETOO_LARGE;
        goto fail;
    }
    t->inherited_bytes += bytes - session->inherited_bytes;
    session->inherited_bytes = bytes;
    replace_text(&there->model, model, copy.model);
    replace_text(&there->tags, tags, copy.tags);
    replace_text(&there->options, options, copy.options);
    there->deadline_ms = own->deadline_ms != 0 ? own->deadline_ms : there->deadline_ms;
    there->priority = own->priority != 0 ? own->priority : there->priority;
    return 0;
fail:
    free_text(&copy.model);
    free_text(&copy.tags);
    free_text(&copy.options);
    return rv;
}

/* --- look-up and expiry --------------------------------------------------------------------------
 */

struct wire_session *wire_session_find(const struct wire_session_table *t, uint32_t id,
                                       uint64_t now_ms)
{
    struct wire_session *s = look_up(t, id);

    return s == NULL || time_is_over(t, s, now_ms) ? NULL : s;
}

uint64_t wire_session_expiry_ms(const struct wire_session_table *t)
{
    const struct wire_session *oldest = wire_session_list_first(&t->idle);

    return oldest == NULL ? 0 : oldest->idle_since_ms + t->config.idle_ms;
}

size_t wire_session_expire(struct wire_session_table *t, uint64_t now_ms)
{
    struct wire_session *oldest = wire_session_list_first(&t->idle);
    size_t count = 0;

    while (oldest != NULL && time_is_over(t, oldest, now_ms)) {
        forget(t, oldest);
        count++;
        oldest = wire_session_list_first(&t->idle);
    }
    t->expired += count;
    return count;
}

uint32_t wire_error_session(const struct wire_session_table *t, uint32_t about)
{
    const struct wire_session *s = look_up(t, about);

    return s != NULL && s->in_flight ? 0 : about;
}
