/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/request.h"

#include <string.h>

#include "base/json_usual.h"
#include "codec/request_mcp.h"

static const struct slice key_names[REQUEST_KEY_COUNT] = {
#define KEY(name, text) SLICE(text),
    REQUEST_KEYS(KEY)
#undef KEY
};

enum { KEY_BYTES_MAX = 14 }; /* of the longest guarded key, stream_options */

/* The guarded key with exactly this text; REQUEST_KEY_COUNT: none. */
static enum request_key key_called(struct slice text)
{
    /* The first one of each length; where there is none, one of another length. */
    static const unsigned char first[KEY_BYTES_MAX + 1] = {
        [3] = REQUEST_MCP,         [4] = REQUEST_NAME,         [5] = REQUEST_MODEL,
        [6] = REQUEST_STREAM,      [7] = REQUEST_OPTIONS,      [8] = REQUEST_MESSAGES,
        [10] = REQUEST_KEEP_ALIVE, [11] = REQUEST_DESTINATION, [14] = REQUEST_STREAM_OPTIONS,
    };

    if (text.len > KEY_BYTES_MAX) {
        return REQUEST_KEY_COUNT;
    }
    for (int key = first[text.len]; key < REQUEST_KEY_COUNT && key_names[key].len == text.len;
         key++) {
        if (memcmp(key_names[key].ptr, text.ptr, text.len) == 0) {
            return (enum request_key)key;
        }
    }
    return REQUEST_KEY_COUNT;
}

/* One character as Go's encoding/json folds it, where ASCII comes out; else 0. */
static char fold(uint32_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    if (c == 0x017F) { /* LATIN SMALL LETTER LONG S */
        return 's';
    }
    if (c == 0x212A) { /* KELVIN SIGN */
        return 'k';
    }
    return c < 0x80 ? (char)c : '\0';
}

/* The guarded key that Ollama would take this one for; REQUEST_KEY_COUNT: none. */
static enum request_key folded_key(const struct json_member *m)
{
    struct slice rest = m->key;
    char folded[KEY_BYTES_MAX];
    size_t len = 0;

    while (rest.len > 0) {
        char c = fold(json_take_char(&rest));

        if (c == '\0' || len == sizeof(folded)) {
            return REQUEST_KEY_COUNT;
        }
        folded[len++] = c;
    }
    return key_called(slice_of(folded, len));
}

static int refuse_json(const struct json_walk *w, enum json_status status, struct err *e)
{
    if (w->text.len == 0) {
        return err_set(e, MCP_EBAD_REQUEST, "the body is empty");
    }
    if (status == JSON_WRONG_KIND) {
        return err_set(e, MCP_EBAD_REQUEST, "the body is JSON, but not an object");
    }
    if (status == JSON_TOO_DEEP) {
        return err_set(e, MCP_EBAD_REQUEST, "the body is nested deeper than %d levels (byte %zu)",
                       JSON_DEPTH_MAX, w->error_pos);
    }
    return err_set(e, MCP_EBAD_REQUEST, "the body is not JSON (byte %zu)", w->error_pos);
}

/* Takes down one top-level member if its key is guarded. */
static int note_member(struct request *r, const struct json_member *m, enum request_key *key,
                       struct err *e)
{
    struct slice name;

    *key = m->key_escaped ? REQUEST_KEY_COUNT : key_called(m->key);
    if (*key == REQUEST_KEY_COUNT) {
        enum request_key meant = folded_key(m);

        if (meant == REQUEST_KEY_COUNT) {
            return MCP_OK;
        }
        return err_set(e, MCP_EBAD_REQUEST,
                       "the key at byte %zu reads as \"%s\" and must be written so", m->start,
                       key_names[meant].ptr);
    }
    name = key_names[*key];
    if (request_has(r, *key)) {
        return err_set(e, MCP_EBAD_REQUEST, "the key \"%s\" is there twice (byte %zu)", name.ptr,
                       m->start);
    }
    r->members[*key] = *m;
    r->present |= UINT32_C(1) << *key;
    return MCP_OK;
}

static void request_init(struct request *r, struct slice body, size_t open)
{
    r->body = body;
    r->present = 0;
    r->open = open;
    r->member_count = 0;
    r->mcp_prev_end = 0;
    r->mcp_next_start = 0;
    r->mcp = (struct request_mcp){.op = OP_NONE};
}

int request_read(struct request *r, struct slice body, enum request_source source, struct err *e)
{
    struct json_walk w;
    struct json_member m;
    enum json_status status;
    bool behind_mcp = false;
    size_t prev_end = 0;

    (void)json_walk_begin(&w, body, JSON_OBJECT); /* what it says, the walk repeats */
    request_init(r, body, w.pos);
    while ((status = json_walk_quick(&w, &m)) == JSON_OK) {
        enum request_key key;

        if (behind_mcp) {
            r->mcp_next_start = m.start;
        }
        if (note_member(r, &m, &key, e) != MCP_OK) {
            return MCP_EBAD_REQUEST;
        }
        behind_mcp = key == REQUEST_MCP;
        if (behind_mcp) {
            r->mcp_prev_end = prev_end;
        }
        prev_end = m.end;
        r->member_count++;
    }
    if (status != JSON_END) {
        return refuse_json(&w, status, e);
    }
    if (source == REQUEST_FROM_MCP && request_has(r, REQUEST_MCP)) {
        return request_mcp_read(r, e);
    }
    return MCP_OK;
}

/* --- what it asks for --- */

/* null is what Ollama reads as absent. */
static bool is_given(const struct request *r, enum request_key key)
{
    return request_has(r, key) && r->members[key].kind != JSON_NULL;
}

static int refuse_type(enum request_key key, const char *wanted, struct err *e)
{
    return err_set(e, MCP_EBAD_REQUEST, "\"%s\" is not %s", key_names[key].ptr, wanted);
}

/* Whether the key holds a string that is not empty. */
static int has_text(const struct request *r, enum request_key key, bool *yes, struct err *e)
{
    *yes = false;
    if (!is_given(r, key)) {
        return MCP_OK;
    }
    if (r->members[key].kind != JSON_STRING) {
        return refuse_type(key, "a string", e);
    }
    *yes = r->members[key].value.len > 2;
    return MCP_OK;
}

static bool takes_name(enum op op)
{
    return op == OP_SHOW || op == OP_PULL || op == OP_PUSH || op == OP_CREATE || op == OP_DELETE;
}

/* The key that names the model: the first one of them that has a text; REQUEST_KEY_COUNT: none. */
static int model_key(const struct request *r, enum op op, enum request_key *key, struct err *e)
{
    bool found;

    *key = op == OP_COPY ? REQUEST_SOURCE : REQUEST_MODEL;
    if (has_text(r, *key, &found, e) != MCP_OK) {
        return MCP_EBAD_REQUEST;
    }
    if (!found && takes_name(op)) {
        *key = REQUEST_NAME;
        if (has_text(r, *key, &found, e) != MCP_OK) {
            return MCP_EBAD_REQUEST;
        }
    }
    if (!found) {
        *key = REQUEST_KEY_COUNT;
    }
    return MCP_OK;
}

static int check_names(const struct request *r, enum op op, struct err *e)
{
    enum request_key key;
    bool found;

    if (!takes_name(op) && op != OP_COPY) {
        return MCP_OK;
    }
    if (model_key(r, op, &key, e) != MCP_OK) {
        return MCP_EBAD_REQUEST;
    }
    if (key == REQUEST_KEY_COUNT) {
        return err_set(e, MCP_EBAD_REQUEST, "%s needs \"%s\"", op_info(op)->name,
                       op == OP_COPY ? "source" : "model");
    }
    if (op == OP_COPY) {
        if (has_text(r, REQUEST_DESTINATION, &found, e) != MCP_OK) {
            return MCP_EBAD_REQUEST;
        }
        if (!found) {
            return err_set(e, MCP_EBAD_REQUEST, "copy needs \"destination\"");
        }
    }
    return MCP_OK;
}

int request_op(const struct request *r, enum op *op, struct err *e)
{
    if (r->mcp.op_unknown) {
        return err_set(e, MCP_EUNSUPPORTED_OP, "\"mcp.op\" is not an operation known here");
    }
    *op = r->mcp.op;
    if (*op == OP_NONE) {
        if (is_given(r, REQUEST_MESSAGES)) {
            *op = OP_CHAT;
        } else if (is_given(r, REQUEST_INPUT)) {
            *op = OP_EMBED;
        } else if (is_given(r, REQUEST_PROMPT)) {
            *op = OP_GENERATE;
        } else {
            return err_set(e, MCP_EBAD_REQUEST,
                           "no \"mcp.op\", and none of \"messages\", \"input\", \"prompt\"");
        }
    }
    return check_names(r, *op, e);
}

int request_model(const struct request *r, enum op op, struct buf *out, struct err *e)
{
    enum request_key key;

    if (model_key(r, op, &key, e) != MCP_OK) {
        return MCP_EBAD_REQUEST;
    }
    if (key != REQUEST_KEY_COUNT && !json_unescape(r->members[key].value, out)) {
        return err_set(e, MCP_ENOMEM, "out of memory for the model's name");
    }
    return MCP_OK;
}

int request_stream(const struct request *r, enum op op, bool *streams, struct err *e)
{
    *streams = op_info(op)->streams;
    if (!*streams || !is_given(r, REQUEST_STREAM)) {
        return MCP_OK;
    }
    if (r->members[REQUEST_STREAM].kind != JSON_BOOL) {
        return refuse_type(REQUEST_STREAM, "true or false", e);
    }
    *streams = r->members[REQUEST_STREAM].value.ptr[0] == 't';
    return MCP_OK;
}
