/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/spread_merge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"

enum { ITEMS_MAX = 1024 }; /* files and statuses of one model; more are not told */

/* No file is larger, so that sums over nodes stay whole numbers that any client reads. */
#define FILE_BYTES_MAX (UINT64_C(1) << 44)

/* A file, or a status that tells of none. */
struct spread_item {
    char *status; /* JSON texts, with their quotes */
    char *digest; /* NULL: a status */
    uint64_t size_bytes;
    uint64_t sum_bytes;  /* that all nodes have of it */
    uint64_t told_bytes; /* of those, as it was told last */
    bool was_told;
    size_t come;    /* a status: nodes that have come to it, or will tell no more */
    uint64_t *done; /* of each node while it runs: bytes, or whether it has come to it */
};

bool spread_merge_init(struct spread_merge *m, size_t nodes)
{
    *m = (struct spread_merge){.nodes = nodes};
    m->ends = calloc(nodes, sizeof(*m->ends));
    return m->ends != NULL;
}

static void item_fini(struct spread_item *it)
{
    free(it->status);
    free(it->digest);
    free(it->done);
}

void spread_merge_fini(struct spread_merge *m)
{
    for (size_t i = 0; i < m->count; i++) {
        item_fini(&m->items[i]);
    }
    free(m->items);
    free(m->ends);
    *m = (struct spread_merge){0};
}

/* --- in --------------------------------------------------------------------------------------- */

struct told {
    struct slice status; /* with its quotes; empty: none */
    struct slice digest;
    uint64_t total;
    uint64_t completed;
};

static void read_told(struct slice object, struct told *t)
{
    struct json_walk w;
    struct json_member m;

    if (json_walk_begin(&w, object, JSON_OBJECT) != JSON_OK) {
        return;
    }
    while (json_walk_next(&w, &m) == JSON_OK) {
        if (m.kind == JSON_STRING && json_key_is(&m, SLICE("status"))) {
            t->status = m.value;
        } else if (m.kind == JSON_STRING && json_key_is(&m, SLICE("digest"))) {
            t->digest = m.value;
        } else if (json_key_is(&m, SLICE("total"))) {
            (void)json_uint(m.value, &t->total); /* else it stays 0: not known */
        } else if (json_key_is(&m, SLICE("completed"))) {
            (void)json_uint(m.value, &t->completed);
        }
    }
}

static struct spread_item *find(const struct spread_merge *m, const struct told *t)
{
    for (size_t i = 0; i < m->count; i++) {
        struct spread_item *it = &m->items[i];

        if (it->digest == NULL ? t->digest.len == 0 && slice_eq(slice_str(it->status), t->status)
                               : slice_eq(slice_str(it->digest), t->digest)) {
            return it;
        }
    }
    return NULL;
}

static bool item_init(struct spread_item *it, const struct told *t, size_t nodes)
{
    *it = (struct spread_item){.status = slice_dup(t->status),
                               .digest = t->digest.len == 0 ? NULL : slice_dup(t->digest),
                               .done = calloc(nodes, sizeof(*it->done))};
    if (it->status == NULL || it->done == NULL || (t->digest.len > 0 && it->digest == NULL)) {
        item_fini(it);
        return false;
    }
    return true;
}

/* NULL: out of memory. */
static struct spread_item *add(struct spread_merge *m, const struct told *t)
{
    if (m->count == m->room) {
        size_t room = m->room == 0 ? 16 : 2 * m->room;
        struct spread_item *items = realloc(m->items, room * sizeof(*items));

        if (items == NULL) {
            return NULL;
        }
        m->items = items;
        m->room = room;
    }
    if (!item_init(&m->items[m->count], t, m->nodes)) {
        return NULL;
    }
    m->items[m->count].come = m->ended_nodes;
    return &m->items[m->count++];
}

/* What is larger than it was known to be, nodes that are done have all the same. */
static void note_size(const struct spread_merge *m, struct spread_item *it, uint64_t bytes)
{
    uint64_t size = bytes < FILE_BYTES_MAX ? bytes : FILE_BYTES_MAX;

    if (size > it->size_bytes) {
        it->sum_bytes += (size - it->size_bytes) * m->done_nodes;
        it->size_bytes = size;
    }
}

static void note_file(const struct spread_merge *m, struct spread_item *it, size_t node,
                      const struct told *t)
{
    uint64_t done;

    note_size(m, it, t->total);
    done = t->completed < it->size_bytes ? t->completed : it->size_bytes;
    if (m->ends[node] == SPREAD_RUNS && done > it->done[node]) {
        it->sum_bytes += done - it->done[node];
        it->done[node] = done;
    }
}

static void note_status(struct spread_item *it, size_t node)
{
    it->come += it->done[node] == 0;
    it->done[node] = 1;
}

bool spread_merge_take(struct spread_merge *m, size_t node, struct slice object)
{
    struct told t = {0};
    struct spread_item *it;

    read_told(object, &t);
    if (t.status.len == 0 || slice_eq(t.status, SLICE("\"success\""))) {
        return true;
    }
    it = find(m, &t);
    if (it == NULL && m->count == ITEMS_MAX) {
        return true;
    }
    if (it == NULL) {
        it = add(m, &t);
    }
    if (it == NULL) {
        return false;
    }
    if (it->digest != NULL) {
        note_file(m, it, node, &t);
    } else {
        note_status(it, node);
    }
    return true;
}

void spread_merge_ended(struct spread_merge *m, size_t node, bool ok)
{
    m->ends[node] = ok ? SPREAD_DONE : SPREAD_FAILED;
    m->done_nodes += ok;
    m->ended_nodes++;
    for (size_t i = 0; i < m->count; i++) {
        struct spread_item *it = &m->items[i];

        if (it->digest == NULL) {
            note_status(it, node);
        } else if (ok) {
            it->sum_bytes += it->size_bytes - it->done[node];
        }
    }
}

/* --- out -------------------------------------------------------------------------------------- */

static bool is_due(const struct spread_merge *m, const struct spread_item *it)
{
    if (it->digest == NULL) {
        return !it->was_told && (it == &m->items[0] || it->come == m->nodes);
    }
    return !it->was_told || it->sum_bytes > it->told_bytes;
}

/* Numbers that are 0 are left out, as Ollama does. */
static void write_item(const struct spread_merge *m, struct spread_item *it, struct buf *out)
{
    (void)buf_printf(out, "{\"status\":%s", it->status);
    if (it->digest != NULL) {
        uint64_t total = it->size_bytes * m->nodes;

        it->told_bytes = it->sum_bytes;
        (void)buf_printf(out, ",\"digest\":%s", it->digest);
        if (total > 0) {
            (void)buf_printf(out, ",\"total\":%" PRIu64, total);
        }
        if (it->told_bytes > 0) {
            (void)buf_printf(out, ",\"completed\":%" PRIu64, it->told_bytes);
        }
    }
    (void)buf_append_byte(out, '}');
    it->was_told = true;
}

bool spread_merge_next(struct spread_merge *m, struct buf *out)
{
    for (size_t i = 0; i < m->count; i++) {
        if (is_due(m, &m->items[i])) {
            write_item(m, &m->items[i], out);
            return true;
        }
    }
    return false;
}
