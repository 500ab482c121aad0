/* SPDX-License-Identifier: Apache-2.0 */
#include "node/openai_assemble.h"

#include <stdlib.h>

#include "base/json_scan.h"
#include "mcp/error.h"
#include "node/openai.h"
#include "node/openai_merge.h"

enum { ASSEMBLY_MAGIC = 0x6f616173 };

struct openai_assembly {
    uint32_t magic;
    enum openai_assembled kind;
    bool finished;
    uint64_t of_index; /* the choice that was last spoken of */
    struct merged root;
    struct merge_room room;
};

struct openai_assembly *openai_assembly_new(enum openai_assembled kind, size_t max_bytes)
{
    struct openai_assembly *a = calloc(1, sizeof(*a));

    if (a != NULL) {
        a->magic = ASSEMBLY_MAGIC;
        a->kind = kind;
        a->room.left_bytes = max_bytes;
    }
    return a;
}

void openai_assembly_free(struct openai_assembly **pa)
{
    struct openai_assembly *a = *pa;

    if (a == NULL) {
        return;
    }
    *pa = NULL;
    OBJ_CHECK(a, ASSEMBLY_MAGIC);
    merged_fini(&a->root);
    a->magic = 0;
    free(a);
}

/* The member's value; of kind JSON_NULL where there is none. */
static struct json_member member(struct slice object, const char *name)
{
    struct json_member m;

    if (json_find(object, slice_str(name), &m) != JSON_OK) {
        m = (struct json_member){.value = SLICE("null"), .kind = JSON_NULL};
    }
    return m;
}

static int take(struct openai_assembly *a, struct merged *in, struct slice key, enum merge_how how,
                const struct json_member *value)
{
    struct merged *m;
    int rv = merged_member(in, key, &a->room, &m);

    return rv < 0 ? rv : merged_take(m, how, value, &a->room);
}

/* Calls `each` for every member of the object, or element of the array. */
static int walk(struct openai_assembly *a, const struct json_member *of, struct merged *in,
                int (*each)(struct openai_assembly *a, struct merged *in,
                            const struct json_member *value))
{
    struct json_member value;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, of->value, of->kind);
    int rv = 0;

    while (rv == 0 && status == JSON_OK && (status = json_walk_next(&w, &value)) == JSON_OK) {
        rv = each(a, in, &value);
    }
    return rv < 0 || status == JSON_END ? rv : MCP_EUPSTREAM_ERROR;
}

/* Chunks of /v1/chat/completions and /v1/completions. */

static int take_choice_member(struct openai_assembly *a, struct merged *choice,
                              const struct json_member *m)
{
    if (slice_eq(m->key, SLICE("delta"))) {
        return take(a, choice, SLICE("message"), MERGE_PIECES, m);
    }
    if (slice_eq(m->key, SLICE("message")) || slice_eq(m->key, SLICE("text"))) {
        return take(a, choice, m->key, MERGE_PIECES, m);
    }
    return take(a, choice, m->key, m->kind == JSON_STRING ? MERGE_LATEST : MERGE_LISTS, m);
}

static int take_choice(struct openai_assembly *a, struct merged *choices,
                       const struct json_member *m)
{
    struct json_member index = member(m->value, "index");
    struct merged *choice;
    int rv;

    if (m->kind != JSON_OBJECT || !json_uint(index.value, &a->of_index)) {
        return MCP_EUPSTREAM_ERROR;
    }
    rv = merged_element(choices, a->of_index, &a->room, &choice);
    return rv < 0 ? rv : walk(a, m, choice, take_choice_member);
}

/* What is said beside the choices (usage, timings) is said of the choice of the same event, or of
 * the one before. The whole answer has that of the first choice. */
static int take_beside(struct openai_assembly *a, struct merged *root, const struct json_member *m)
{
    struct merged *child;
    int rv;

    if (slice_eq(m->key, SLICE("choices")) || slice_eq(m->key, SLICE("prompt_progress"))) {
        return 0; /* the one was taken before, the other is of streams only */
    }
    rv = merged_member(root, m->key, &a->room, &child);
    if (rv < 0 || (child->kind > MERGED_NULL && child->of_index < a->of_index)) {
        return rv;
    }
    child->of_index = m->kind == JSON_NULL ? child->of_index : a->of_index;
    return merged_take(child, MERGE_LATEST, m, &a->room);
}

static int take_chunk(struct openai_assembly *a, const struct json_member *event)
{
    struct json_member m = member(event->value, "choices");
    struct merged *choices;
    int rv = 0;

    if (m.kind == JSON_ARRAY) {
        rv = merged_member(&a->root, SLICE("choices"), &a->room, &choices);
        if (rv == 0) {
            choices->kind = MERGED_ARRAY; /* also where it stays empty */
            rv = walk(a, &m, choices, take_choice);
        }
    } else if (m.kind != JSON_NULL) {
        rv = MCP_EUPSTREAM_ERROR;
    }
    return rv < 0 ? rv : walk(a, event, &a->root, take_beside);
}

/* Streams begin with a content of null where the whole answer has an empty one. */
static int finish_choice(struct openai_assembly *a, const struct merged *choice)
{
    struct merged *message = merged_find(choice, SLICE("message"));
    struct merged *content = message == NULL ? NULL : merged_find(message, SLICE("content"));

    if (content == NULL || content->kind != MERGED_NULL) {
        return 0;
    }
    return merged_set(content, MERGED_TEXT, SLICE(""), &a->room);
}

static int finish_chunks(struct openai_assembly *a)
{
    struct merged *choices = merged_find(&a->root, SLICE("choices"));
    struct merged *object = merged_find(&a->root, SLICE("object"));
    int rv = choices == NULL ? MCP_EUPSTREAM_ERROR : 0;

    for (size_t i = 0; rv == 0 && i < choices->count; i++) {
        rv = finish_choice(a, choices->children[i]);
    }
    if (rv == 0 && object != NULL &&
        slice_eq(buf_slice(&object->text), SLICE("chat.completion.chunk"))) {
        rv = merged_set(object, MERGED_TEXT, SLICE("chat.completion"), &a->room);
    }
    return rv;
}

/* Events of /v1/messages. The input of a tool comes as pieces of JSON in strings; until the end
 * they are held as a string under the name that the input then has. */

static int take_block_member(struct openai_assembly *a, struct merged *block,
                             const struct json_member *m)
{
    struct json_member first;
    struct json_walk w;

    if (slice_eq(m->key, SLICE("input")) && m->kind == JSON_OBJECT &&
        json_walk_begin(&w, m->value, JSON_OBJECT) == JSON_OK &&
        json_walk_next(&w, &first) == JSON_END) {
        return 0; /* what announces the pieces */
    }
    return take(a, block, m->key, MERGE_PIECES, m);
}

static int take_delta_member(struct openai_assembly *a, struct merged *block,
                             const struct json_member *m)
{
    if (slice_eq(m->key, SLICE("type"))) {
        return 0; /* of the delta, not of the block */
    }
    return take(a, block, slice_eq(m->key, SLICE("partial_json")) ? SLICE("input") : m->key,
                MERGE_PIECES, m);
}

static int take_block(struct openai_assembly *a, struct slice event, const char *name, bool begins)
{
    struct json_member m = member(event, name);
    struct json_member index = member(event, "index");
    struct merged *content = merged_find(&a->root, SLICE("content"));
    struct merged *block;
    uint64_t at;
    int rv;

    if (content == NULL || m.kind != JSON_OBJECT || !json_uint(index.value, &at)) {
        return MCP_EUPSTREAM_ERROR;
    }
    rv = merged_element(content, at, &a->room, &block);
    if (rv == 0 && begins != (block->kind == MERGED_NOTHING)) {
        rv = MCP_EUPSTREAM_ERROR;
    }
    return rv < 0 ? rv : walk(a, &m, block, begins ? take_block_member : take_delta_member);
}

static int take_message_member(struct openai_assembly *a, struct merged *root,
                               const struct json_member *m)
{
    return take(a, root, m->key, m->kind == JSON_ARRAY ? MERGE_LISTS : MERGE_LATEST, m);
}

static int take_message(struct openai_assembly *a, struct slice event, const char *name)
{
    struct json_member m = member(event, name);
    struct json_member usage = member(event, "usage");
    int rv =
        m.kind == JSON_OBJECT ? walk(a, &m, &a->root, take_message_member) : MCP_EUPSTREAM_ERROR;

    if (rv == 0 && usage.kind != JSON_NULL) {
        rv = take(a, &a->root, SLICE("usage"), MERGE_LATEST, &usage);
    }
    return rv;
}

/* The pieces, which stand there as one string, become the JSON that they are. */
static int finish_input(struct openai_assembly *a, struct merged *input)
{
    struct buf quoted = {0};
    struct buf text = {0};
    bool is_json;
    int rv = MCP_ENOMEM;

    merged_append(input, &quoted);
    if (!buf_failed(&quoted) && json_unescape(buf_slice(&quoted), &text)) {
        is_json = json_validate(buf_slice(&text), NULL) == JSON_OK;
        /* As llama.cpp's server has it where the model was cut off. */
        rv = merged_set(input, MERGED_VALUE, is_json ? buf_slice(&text) : SLICE("{}"), &a->room);
    }
    buf_fini(&quoted);
    buf_fini(&text);
    return rv;
}

static int finish_block(struct openai_assembly *a, struct merged *block)
{
    const struct merged *type = merged_find(block, SLICE("type"));
    struct merged *input;
    int rv;

    if (type == NULL || !slice_eq(buf_slice(&type->text), SLICE("tool_use"))) {
        return 0;
    }
    rv = merged_member(block, SLICE("input"), &a->room, &input);
    if (rv == 0 && input->kind == MERGED_TEXT) {
        return finish_input(a, input);
    }
    if (rv == 0 && input->kind <= MERGED_NULL) {
        rv = merged_set(input, MERGED_VALUE, SLICE("{}"), &a->room);
    }
    return rv;
}

static int finish_message(struct openai_assembly *a)
{
    const struct merged *content = merged_find(&a->root, SLICE("content"));
    int rv = content == NULL ? MCP_EUPSTREAM_ERROR : 0;

    for (size_t i = 0; rv == 0 && i < content->count; i++) {
        rv = finish_block(a, content->children[i]);
    }
    return rv;
}

/* The three below: OPENAI_NOTHING, OPENAI_LAST with the answer appended, or a failure. */

static int give(struct openai_assembly *a, int rv, struct buf *out)
{
    if (rv < 0) {
        return rv;
    }
    merged_append(&a->root, out);
    return buf_failed(out) ? MCP_ENOMEM : OPENAI_LAST;
}

static int message_event(struct openai_assembly *a, struct slice event, struct slice type,
                         struct buf *out)
{
    if (slice_eq(type, SLICE("\"content_block_delta\""))) {
        return take_block(a, event, "delta", false);
    }
    if (slice_eq(type, SLICE("\"content_block_start\""))) {
        return take_block(a, event, "content_block", true);
    }
    if (slice_eq(type, SLICE("\"message_start\""))) {
        return take_message(a, event, "message");
    }
    if (slice_eq(type, SLICE("\"message_delta\""))) {
        return take_message(a, event, "delta");
    }
    if (slice_eq(type, SLICE("\"message_stop\""))) {
        return give(a, finish_message(a), out);
    }
    if (slice_eq(type, SLICE("\"content_block_stop\"")) || slice_eq(type, SLICE("\"ping\""))) {
        return OPENAI_NOTHING;
    }
    return MCP_EUPSTREAM_ERROR;
}

/* The last event has the whole answer; what came before is in it. */
static int response_event(struct slice event, struct slice type, struct buf *out)
{
    struct json_member response = member(event, "response");
    int rv;

    if (!slice_eq(type, SLICE("\"response.completed\"")) &&
        !slice_eq(type, SLICE("\"response.incomplete\"")) &&
        !slice_eq(type, SLICE("\"response.failed\""))) {
        return slice_starts(type, SLICE("\"response.")) ? OPENAI_NOTHING : MCP_EUPSTREAM_ERROR;
    }
    if (response.kind != JSON_OBJECT) {
        return MCP_EUPSTREAM_ERROR;
    }
    rv = openai_response_append(response.value, out);
    return rv < 0 ? rv : OPENAI_LAST;
}

static int take_event(struct openai_assembly *a, const struct json_member *event, struct buf *out,
                      unsigned *status)
{
    struct json_member type = member(event->value, "type");

    if (member(event->value, "error").kind != JSON_NULL ||
        slice_eq(type.value, SLICE("\"error\""))) {
        *status = openai_error_status(event->value);
        return buf_append(out, event->value) ? OPENAI_ERROR : MCP_ENOMEM;
    }
    switch (a->kind) {
    case OPENAI_ASSEMBLED_MESSAGES:
        return message_event(a, event->value, type.value, out);
    case OPENAI_ASSEMBLED_RESPONSES:
        return response_event(event->value, type.value, out);
    case OPENAI_ASSEMBLED_CHAT:
    case OPENAI_ASSEMBLED_COMPLETIONS:
        break;
    }
    return take_chunk(a, event);
}

int openai_assembly_event(struct openai_assembly *a, struct slice data, struct buf *out,
                          unsigned *status)
{
    struct json_member event = {.value = data};
    int rv;

    OBJ_CHECK(a, ASSEMBLY_MAGIC);
    if (a->finished || data.len == 0 || slice_eq(data, SLICE("null"))) {
        return OPENAI_NOTHING; /* llama.cpp's server sends some null */
    }
    if (slice_eq(data, SLICE("[DONE]"))) {
        rv = give(a, finish_chunks(a), out);
    } else if (json_validate(data, &event.kind) != JSON_OK || event.kind != JSON_OBJECT) {
        return MCP_EUPSTREAM_ERROR;
    } else {
        rv = take_event(a, &event, out, status);
    }
    a->finished = rv == OPENAI_LAST;
    return rv;
}

/* Which requests */

static bool is_set(const struct json_member *m)
{
    return m->kind != JSON_NULL && !slice_eq(m->value, SLICE("false")) &&
           !slice_eq(m->value, SLICE("0"));
}

/* What the streams of llama.cpp's server do not hold: logprobs of what became no piece of text (of
 * chat's tokens around thinking and tool calls; with tools they are refused), text that is held
 * back because it may begin a stop word, or is blank at the end of what follows a grammar, when the
 * limit of tokens is reached; and what `verbose` adds. `stream_options` is wrong in what does not
 * stream: that is for the node to say. */
bool openai_assembles(enum openai_assembled kind, struct slice request)
{
    static const struct slice whole[] = {
        SLICE("stream_options"),  SLICE("stop"),        SLICE("stop_sequences"),
        SLICE("response_format"), SLICE("json_schema"), SLICE("grammar"),
        SLICE("verbose"),         SLICE("logprobs"),    SLICE("n_probs"),
    };
    /* Those of completions are all there. */
    size_t count =
        sizeof(whole) / sizeof(whole[0]) - (kind == OPENAI_ASSEMBLED_COMPLETIONS ? 2 : 0);
    struct json_member m;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, request, JSON_OBJECT);

    while (status == JSON_OK && (status = json_walk_next(&w, &m)) == JSON_OK) {
        for (size_t i = 0; i < count && is_set(&m); i++) {
            if (json_key_is(&m, whole[i])) {
                return false;
            }
        }
    }
    return status == JSON_END;
}
