/* SPDX-License-Identifier: Apache-2.0 */
#include "node/openai_merge.h"

#include <stdlib.h>
#include <string.h>

#include "mcp/error.h"

/* A child with the first blocks of its bufs. */
enum { CHILD_BYTES = sizeof(struct merged) + 512 };

void merged_fini(struct merged *m)
{
    for (size_t i = 0; i < m->count; i++) {
        merged_fini(m->children[i]);
        free(m->children[i]);
    }
    free(m->children);
    buf_fini(&m->key);
    buf_fini(&m->text);
    *m = (struct merged){0};
}

static int take_room(struct merge_room *room, size_t bytes)
{
    if (bytes > room->left_bytes) {
        return MCP_ETOO_LARGE;
    }
    room->left_bytes -= bytes;
    return 0;
}

static int append(struct merged *m, struct slice text, struct merge_room *room)
{
    int rv = take_room(room, text.len);

    if (rv < 0) {
        return rv;
    }
    return buf_append(&m->text, text) ? 0 : MCP_ENOMEM;
}

/* What was there goes. */
int merged_set(struct merged *m, enum merged_kind kind, struct slice text, struct merge_room *room)
{
    for (size_t i = 0; i < m->count; i++) {
        merged_fini(m->children[i]);
        free(m->children[i]);
    }
    m->count = 0;
    room->left_bytes += buf_len(&m->text);
    buf_clear(&m->text);
    m->kind = kind;
    return append(m, text, room);
}

static int become(struct merged *m, enum merged_kind kind)
{
    if (m->kind == MERGED_NOTHING || m->kind == MERGED_NULL) {
        m->kind = kind;
    }
    return m->kind == kind ? 0 : MCP_EUPSTREAM_ERROR;
}

/* Capacities are the powers of two. */
static bool grow(struct merged *m)
{
    struct merged **children;

    if ((m->count & (m->count - 1)) != 0) {
        return true;
    }
    children = realloc(m->children, (m->count == 0 ? 1 : m->count * 2) * sizeof(*children));
    if (children != NULL) {
        m->children = children;
    }
    return children != NULL;
}

static int insert(struct merged *m, size_t at, struct merge_room *room, struct merged **child)
{
    int rv = take_room(room, CHILD_BYTES);

    if (rv == 0 && m->count >= MERGED_CHILDREN_MAX) {
        rv = MCP_ETOO_LARGE;
    }
    if (rv < 0) {
        return rv;
    }
    *child = grow(m) ? calloc(1, sizeof(**child)) : NULL;
    if (*child == NULL) {
        return MCP_ENOMEM;
    }
    memmove(m->children + at + 1, m->children + at, (m->count - at) * sizeof(*m->children));
    m->children[at] = *child;
    m->count++;
    return 0;
}

struct merged *merged_find(const struct merged *m, struct slice key)
{
    for (size_t i = 0; m->kind == MERGED_OBJECT && i < m->count; i++) {
        if (slice_eq(buf_slice(&m->children[i]->key), key)) {
            return m->children[i];
        }
    }
    return NULL;
}

int merged_member(struct merged *m, struct slice key, struct merge_room *room,
                  struct merged **member)
{
    int rv = become(m, MERGED_OBJECT);

    *member = merged_find(m, key);
    if (rv == 0 && *member == NULL) {
        rv = insert(m, m->count, room, member);
        if (rv == 0) {
            rv = take_room(room, key.len);
        }
        if (rv == 0 && !buf_append(&(*member)->key, key)) {
            rv = MCP_ENOMEM;
        }
    }
    return rv;
}

int merged_element(struct merged *m, uint64_t index, struct merge_room *room,
                   struct merged **element)
{
    size_t at = m->count;
    int rv = become(m, MERGED_ARRAY);

    if (rv < 0 || buf_len(&m->text) > 0) {
        return MCP_EUPSTREAM_ERROR;
    }
    while (at > 0 && m->children[at - 1]->index > index) {
        at--;
    }
    if (at > 0 && m->children[at - 1]->index == index) {
        *element = m->children[at - 1];
        return 0;
    }
    rv = insert(m, at, room, element);
    if (rv == 0) {
        (*element)->index = index;
    }
    return rv;
}

static enum merge_how how_of_member(enum merge_how how, const struct json_member *m)
{
    static const struct slice whole[] = {SLICE("role"), SLICE("type"), SLICE("id"), SLICE("name")};

    for (size_t i = 0; how == MERGE_PIECES && i < sizeof(whole) / sizeof(whole[0]); i++) {
        if (slice_eq(m->key, whole[i])) {
            return MERGE_FIRST;
        }
    }
    return how;
}

/* `has_place`: the element's `index` said where it belongs, which is all that is for. */
static int take_members(struct merged *m, enum merge_how how, struct slice object, bool has_place,
                        struct merge_room *room)
{
    struct json_member value;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, object, JSON_OBJECT);
    int rv = become(m, MERGED_OBJECT);

    while (rv == 0 && status == JSON_OK && (status = json_walk_next(&w, &value)) == JSON_OK) {
        struct merged *member;

        if (has_place && slice_eq(value.key, SLICE("index"))) {
            continue;
        }
        rv = merged_member(m, value.key, room, &member);
        if (rv == 0) {
            rv = merged_take(member, how_of_member(how, &value), &value, room);
        }
    }
    return rv < 0 || status == JSON_END ? rv : MCP_EUPSTREAM_ERROR;
}

static bool has_index(const struct json_member *element, uint64_t *index)
{
    struct json_member m;

    return element->kind == JSON_OBJECT &&
           json_find(element->value, SLICE("index"), &m) == JSON_OK && json_uint(m.value, index);
}

static int take_element(struct merged *m, enum merge_how how, const struct json_member *value,
                        struct merge_room *room)
{
    struct merged *element;
    uint64_t index;
    int rv;

    if (how == MERGE_PIECES && has_index(value, &index)) {
        rv = merged_element(m, index, room, &element);
        return rv < 0 ? rv : take_members(element, how, value->value, true, room);
    }
    if (m->count > 0) {
        return MCP_EUPSTREAM_ERROR;
    }
    rv = buf_len(&m->text) > 0 ? append(m, SLICE(","), room) : 0;
    return rv < 0 ? rv : append(m, value->value, room);
}

static int take_array(struct merged *m, enum merge_how how, struct slice array,
                      struct merge_room *room)
{
    struct json_member value;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, array, JSON_ARRAY);
    int rv = become(m, MERGED_ARRAY);

    while (rv == 0 && status == JSON_OK && (status = json_walk_next(&w, &value)) == JSON_OK) {
        rv = take_element(m, how, &value, room);
    }
    return rv < 0 || status == JSON_END ? rv : MCP_EUPSTREAM_ERROR;
}

static int take_string(struct merged *m, enum merge_how how, struct slice quoted,
                       struct merge_room *room)
{
    struct slice inside = slice_of(quoted.ptr + 1, quoted.len - 2);
    int rv;

    if (how == MERGE_PIECES) {
        rv = become(m, MERGED_TEXT);
        return rv < 0 ? rv : append(m, inside, room);
    }
    if (how == MERGE_FIRST && m->kind == MERGED_TEXT && buf_len(&m->text) > 0) {
        return 0;
    }
    return merged_set(m, MERGED_TEXT, inside, room);
}

int merged_take(struct merged *m, enum merge_how how, const struct json_member *value,
                struct merge_room *room)
{
    bool replaces = how == MERGE_LATEST || how == MERGE_FIRST;

    switch (value->kind) {
    case JSON_NULL:
        m->kind = m->kind == MERGED_NOTHING ? MERGED_NULL : m->kind;
        return 0;
    case JSON_STRING:
        return take_string(m, how, value->value, room);
    case JSON_ARRAY:
        if (replaces) {
            return merged_set(m, MERGED_VALUE, value->value, room);
        }
        return take_array(m, how, value->value, room);
    case JSON_OBJECT:
        if (replaces && m->kind != MERGED_OBJECT) {
            int rv = merged_set(m, MERGED_OBJECT, SLICE(""), room);

            return rv < 0 ? rv : take_members(m, how, value->value, false, room);
        }
        return take_members(m, how, value->value, false, room);
    case JSON_NUMBER:
    case JSON_BOOL:
        break;
    }
    return merged_set(m, MERGED_VALUE, value->value, room);
}

static void append_children(const struct merged *m, struct buf *out)
{
    bool members = m->kind == MERGED_OBJECT;

    for (size_t i = 0; i < m->count; i++) {
        (void)buf_append(out, i > 0 ? SLICE(",") : SLICE("")); /* sticky, as all here */
        if (members) {
            (void)buf_append_byte(out, '"');
            (void)buf_append(out, buf_slice(&m->children[i]->key));
            (void)buf_append_str(out, "\":");
        }
        merged_append(m->children[i], out);
    }
}

void merged_append(const struct merged *m, struct buf *out)
{
    static const char around[][2] = {
        [MERGED_TEXT] = {'"', '"'}, [MERGED_ARRAY] = {'[', ']'}, [MERGED_OBJECT] = {'{', '}'}};

    switch (m->kind) {
    case MERGED_NOTHING:
    case MERGED_NULL:
        (void)buf_append_str(out, "null");
        return;
    case MERGED_VALUE:
        (void)buf_append(out, buf_slice(&m->text));
        return;
    case MERGED_TEXT:
    case MERGED_ARRAY:
    case MERGED_OBJECT:
        break;
    }
    (void)buf_append_byte(out, around[m->kind][0]);
    (void)buf_append(out, buf_slice(&m->text));
    append_children(m, out);
    (void)buf_append_byte(out, around[m->kind][1]);
}
