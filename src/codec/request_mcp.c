/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/request_mcp.h"

/* More are refused, so that looking for duplicates stays cheap whatever the peer sends. */
enum { MEMBERS_MAX = 64 };

typedef bool (*read_fn)(void *slot, const struct json_member *m);

struct field {
    struct slice name;
    size_t offset; /* of what `read` writes, in struct request_mcp */
    read_fn read;
    const char *wanted;
};

typedef int (*member_fn)(struct request_mcp *mcp, const struct json_member *m, struct err *e);

static bool same_key(const struct json_member *a, const struct json_member *b)
{
    struct slice left = a->key;
    struct slice right = b->key;

    if (!b->key_escaped) {
        return json_key_is(a, b->key);
    }
    if (!a->key_escaped) {
        return json_key_is(b, a->key);
    }
    while (left.len > 0 && right.len > 0) {
        if (json_take_char(&left) != json_take_char(&right)) {
            return false;
        }
    }
    return left.len == 0 && right.len == 0;
}

/* Calls `each` for every member of the object `text`, which is known to be valid JSON and is called
 * `name` in errors. */
static int read_members(struct request_mcp *mcp, struct slice text, const char *name,
                        member_fn each, struct err *e)
{
    struct json_member seen[MEMBERS_MAX];
    struct json_walk w;
    size_t count = 0;

    if (json_walk_begin(&w, text, JSON_OBJECT) != JSON_OK) {
        return err_set(e, MCP_EBAD_REQUEST, "\"%s\" is not an object", name);
    }
    for (;;) {
        struct json_member m;

        if (json_walk_next(&w, &m) != JSON_OK) {
            return MCP_OK; /* the end */
        }
        if (count == MEMBERS_MAX) {
            return err_set(e, MCP_EBAD_REQUEST, "\"%s\" has more than %d members", name,
                           MEMBERS_MAX);
        }
        for (size_t i = 0; i < count; i++) {
            if (same_key(&seen[i], &m)) {
                return err_set(e, MCP_EBAD_REQUEST,
                               "a key of \"%s\" is there twice (byte %zu of \"%s\")", name, m.start,
                               name);
            }
        }
        seen[count++] = m;
        if (each(mcp, &m, e) != MCP_OK) {
            return MCP_EBAD_REQUEST;
        }
    }
}

/* --- one reader per type --- */

static bool read_text(void *slot, const struct json_member *m)
{
    *(struct slice *)slot = m->value;
    return m->kind == JSON_STRING;
}

static bool read_flag(void *slot, const struct json_member *m)
{
    *(bool *)slot = m->kind == JSON_BOOL && m->value.ptr[0] == 't';
    return m->kind == JSON_BOOL;
}

static bool read_deadline(void *slot, const struct json_member *m)
{
    struct request_mcp *mcp = slot;

    mcp->has_deadline = json_uint(m->value, &mcp->deadline_ms);
    return mcp->has_deadline;
}

static bool read_hops(void *slot, const struct json_member *m)
{
    struct request_mcp *mcp = slot;

    mcp->has_hops = json_uint(m->value, &mcp->hops);
    return mcp->has_hops;
}

/* Whether the JSON string `value`, unescaped, is `name`. */
static bool is_word(struct slice value, const char *name)
{
    struct json_member as_key = {.key = slice_of(value.ptr + 1, value.len - 2),
                                 .key_escaped = true};

    return json_key_is(&as_key, slice_str(name));
}

static bool read_op(void *slot, const struct json_member *m)
{
    struct request_mcp *mcp = slot;

    if (m->kind != JSON_STRING) {
        return false;
    }
    mcp->op_unknown = true;
    for (int op = 0; op < OP_COUNT; op++) {
        if (is_word(m->value, op_info((enum op)op)->name)) {
            mcp->op = (enum op)op;
            mcp->op_unknown = false;
        }
    }
    return true;
}

static bool read_priority(void *slot, const struct json_member *m)
{
    static const char *const names[] = {
        [PRIORITY_INTERACTIVE] = "interactive",
        [PRIORITY_NORMAL] = "normal",
        [PRIORITY_BATCH] = "batch",
    };

    for (int i = PRIORITY_INTERACTIVE; i <= PRIORITY_BATCH; i++) {
        if (m->kind == JSON_STRING && is_word(m->value, names[i])) {
            *(enum priority *)slot = (enum priority)i;
            return true;
        }
    }
    return false;
}

static int read_tag(struct request_mcp *mcp, const struct json_member *m, struct err *e)
{
    (void)mcp;
    if (m->kind != JSON_STRING) {
        return err_set(e, MCP_EBAD_REQUEST, "a value in \"mcp.tags\" is not a string (byte %zu)",
                       m->start);
    }
    return MCP_OK;
}

static bool read_tags(void *slot, const struct json_member *m)
{
    *(struct slice *)slot = m->value;
    return m->kind == JSON_OBJECT;
}

static int read_field(struct request_mcp *mcp, const struct json_member *m, struct err *e)
{
#define AT(member) offsetof(struct request_mcp, member)
    static const struct field fields[] = {
        {SLICE("op"), 0, read_op, "a string"},
        {SLICE("deadline_ms"), 0, read_deadline, "a whole number of milliseconds"},
        {SLICE("hops"), 0, read_hops, "a whole number"},
        {SLICE("priority"), AT(priority), read_priority, "interactive, normal or batch"},
        {SLICE("tags"), AT(tags), read_tags, "an object"},
        {SLICE("continue"), AT(continues), read_flag, "true or false"},
        {SLICE("resume"), AT(resume), read_flag, "true or false"},
        {SLICE("idempotency_key"), AT(idempotency_key), read_text, "a string"},
        {SLICE("traceparent"), AT(traceparent), read_text, "a string"},
        {SLICE("auth"), AT(auth), read_text, "a string"},
        {SLICE("tenant"), AT(tenant), read_text, "a string"},
        {SLICE("nodes"), AT(nodes), read_text, "a string"},
    };
#undef AT

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (json_key_is(m, fields[i].name)) {
            if (!fields[i].read((char *)mcp + fields[i].offset, m)) {
                return err_set(e, MCP_EBAD_REQUEST, "\"mcp.%s\" is not %s", fields[i].name.ptr,
                               fields[i].wanted);
            }
            return MCP_OK;
        }
    }
    return MCP_OK; /* from a later version of the protocol */
}

int request_mcp_read(struct request *r, struct err *e)
{
    int code = read_members(&r->mcp, r->members[REQUEST_MCP].value, "mcp", read_field, e);

    if (code == MCP_OK && r->mcp.tags.ptr != NULL) {
        code = read_members(&r->mcp, r->mcp.tags, "mcp.tags", read_tag, e);
    }
    return code;
}
