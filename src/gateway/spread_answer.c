/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/spread_answer.h"

#include "codec/error_body.h"
#include "gateway/spread.h"
#include "http/parse/message.h"

enum { NAMED_BYTES_MAX = 4096, STATUS_OK = 200 };

/* Where the client leaves on hearing it, the exchange is over. */
static void give(struct exchange *x, struct slice object, bool last)
{
    if (!x->over) {
        exchange_note_part(x, object.len);
        x->sink->part(x->owner, object, last);
    }
}

bool spread_tell(struct spread *s)
{
    struct exchange *x = s->exchange;
    struct buf line = {0};

    while (!x->over && x->streams && !x->paused && spread_merge_next(&s->merge, &line)) {
        if (buf_failed(&line)) {
            break; /* what follows tells more */
        }
        x->node_status = STATUS_OK;
        give(x, buf_slice(&line), false);
        buf_clear(&line);
    }
    buf_fini(&line);
    return !x->over;
}

/* --- well ------------------------------------------------------------------------------------- */

/* Copy and delete: nothing, as Ollama says it. */
static void give_nothing(struct exchange *x)
{
    static const struct http_head head = {.status = STATUS_OK, .minor = 1, .has_length = true};

    if (x->native) {
        give(x, SLICE("{}"), true);
    } else {
        x->sink->head(x->owner, &head);
    }
}

static void succeed(struct exchange *x)
{
    static const struct slice success = SLICE("{\"status\":\"success\"}");

    x->node_status = STATUS_OK;
    if (x->op == OP_COPY || x->op == OP_DELETE) {
        give_nothing(x);
    } else {
        give(x, success, !x->streams);
        if (x->streams && x->native) {
            give(x, SLICE("{\"done\":true}"), true); /* an MCP stream says that it ends */
        }
    }
    if (!x->over) {
        exchange_succeed(x);
    }
}

/* --- or not ----------------------------------------------------------------------------------- */

static bool has_failed(const struct spread_call *c)
{
    return c->code != MCP_OK;
}

/* What each node said, without its name where that stands before. */
static struct slice words_of(const struct spread_call *c)
{
    struct slice text = buf_slice(&c->text), name = slice_str(c->node_name);
    const struct slice begin = SLICE("node "), colon = SLICE(": ");
    size_t n = begin.len + name.len;

    if (slice_starts(text, begin) && slice_starts(slice_skip(text, begin.len), name) &&
        slice_starts(slice_skip(text, n), colon)) {
        return slice_skip(text, n + colon.len);
    }
    return text;
}

/* All have failed, and alike: as if it were one. */
static bool all_say_the_same(const struct spread *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (!has_failed(&s->calls[i]) || s->calls[i].status != s->calls[0].status ||
            !slice_eq(words_of(&s->calls[i]), words_of(&s->calls[0]))) {
            return false;
        }
    }
    return true;
}

static void append_names(const struct spread *s, bool failed, bool with_words, struct buf *out)
{
    size_t told = 0, more = 0;

    for (size_t i = 0; i < s->count; i++) {
        const struct spread_call *c = &s->calls[i];

        if (has_failed(c) != failed) {
            continue;
        }
        if (buf_len(out) > NAMED_BYTES_MAX) {
            more++;
            continue;
        }
        (void)buf_append_str(out, told++ == 0 ? "" : with_words ? "; " : ", ");
        (void)buf_printf(out, with_words ? "node %s: " : "%s", c->node_name);
        if (with_words) {
            (void)buf_append(out, words_of(c));
        }
    }
    if (more > 0) {
        (void)buf_printf(out, " and %zu more", more);
    }
}

static void describe(const struct spread *s, size_t failed, struct buf *out)
{
    if (all_say_the_same(s)) {
        (void)buf_append(out, words_of(&s->calls[0]));
        return;
    }
    append_names(s, true, true, out);
    if (failed < s->count) {
        (void)buf_append_str(out, " (done on ");
        append_names(s, false, false, out);
        (void)buf_append_byte(out, ')');
    }
}

/* Of those that failed: what all have in common, else that a node failed. */
static void judge(const struct spread *s, int *code, unsigned *status)
{
    bool any = false;

    for (size_t i = 0; i < s->count; i++) {
        const struct spread_call *c = &s->calls[i];

        if (has_failed(c) && !any) {
            any = true;
            *code = c->code;
            *status = c->status;
        } else if (has_failed(c)) {
            *code = c->code == *code ? *code : MCP_EUPSTREAM_ERROR;
            *status = c->status == *status ? *status : 0;
        }
    }
}

static void fail(struct spread *s, size_t failed)
{
    struct exchange *x = s->exchange;
    struct buf words = {0};
    struct buf text = {0};
    unsigned status = 0;
    int code = MCP_EUPSTREAM_ERROR;

    judge(s, &code, &status);
    describe(s, failed, &words);
    if (buf_failed(&words) || !error_body_ollama(&text, buf_slice(&words))) {
        buf_fini(&words);
        buf_fini(&text);
        exchange_fail(x, MCP_ENOMEM, mcp_error_text(MCP_ENOMEM));
        return;
    }
    x->node_status = status;
    buf_move(&x->collect, &text);
    x->result_from_node = true; /* at any length */
    (void)buf_append_byte(&words, '\0');
    exchange_fail(x, code, buf_failed(&words) ? mcp_error_text(code) : buf_slice(&words).ptr);
    buf_fini(&words);
}

void spread_finish(struct spread *s)
{
    size_t failed = 0;

    for (size_t i = 0; i < s->count; i++) {
        failed += has_failed(&s->calls[i]);
    }
    if (failed == 0) {
        succeed(s->exchange);
    } else {
        fail(s, failed);
    }
}
