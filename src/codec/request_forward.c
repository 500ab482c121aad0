/* SPDX-License-Identifier: Apache-2.0 */
/* The forwarded body: new members go behind the opening brace, replaced values and the cut `mcp`
 * leave everything around them as it was. */
#include "base/check.h"
#include "codec/request.h"

enum { EDITS_MAX = 4, CUTS_MAX = EDITS_MAX + 1 };

/* Bytes of the body from `start` to `end` that `text` stands in for. */
struct cut {
    size_t start;
    size_t end;
    struct slice text;
};

struct plan {
    struct cut cuts[CUTS_MAX]; /* by start, not overlapping */
    size_t cut_count;
    struct request_pieces *out;
};

static void add_piece(struct request_pieces *out, struct slice piece)
{
    if (piece.len > 0) {
        ASSERT(out->count < REQUEST_PIECES_MAX);
        out->pieces[out->count++] = piece;
        out->len_bytes += piece.len;
    }
}

static void plan_cut(struct plan *p, struct cut cut)
{
    size_t i = p->cut_count++;

    while (i > 0 && p->cuts[i - 1].start > cut.start) {
        p->cuts[i] = p->cuts[i - 1];
        i--;
    }
    p->cuts[i] = cut;
}

static void plan_mcp(struct plan *p, const struct request *r)
{
    const struct json_member *m = &r->members[REQUEST_MCP];
    struct cut cut = {m->start, m->end, {NULL, 0}};

    /* One of the commas beside it goes too. */
    if (r->mcp_next_start > 0) {
        cut.end = r->mcp_next_start;
    } else if (r->mcp_prev_end > 0) {
        cut.start = r->mcp_prev_end;
    }
    plan_cut(p, cut);
}

/* Replaces the value of `m`, or adds the member where that is NULL. `key` is the member's text up
 * to its value, with a comma in front. */
static void plan_edit(struct plan *p, const struct json_member *m, struct slice key,
                      struct slice value)
{
    if (m != NULL) {
        plan_cut(p, (struct cut){m->end - m->value.len, m->end, value});
        return;
    }
    add_piece(p->out, p->out->count == 1 ? slice_skip(key, 1) : key);
    add_piece(p->out, value);
}

void request_forward(const struct request *r, const struct request_edits *edits,
                     struct request_pieces *out)
{
    static const struct slice keys[EDITS_MAX] = {SLICE(",\"model\":"), SLICE(",\"options\":"),
                                                 SLICE(",\"stream\":"),
                                                 SLICE(",\"stream_options\":")};
    const struct slice values[EDITS_MAX] = {edits->model, edits->options, edits->stream,
                                            edits->stream_options};
    static const enum request_key members[EDITS_MAX] = {REQUEST_MODEL, REQUEST_OPTIONS,
                                                        REQUEST_STREAM, REQUEST_STREAM_OPTIONS};
    bool has_mcp = request_has(r, REQUEST_MCP);
    struct plan p = {.out = out};
    size_t from = r->open;

    *out = (struct request_pieces){0};
    add_piece(out, slice_first(r->body, r->open));
    for (size_t i = 0; i < EDITS_MAX; i++) {
        const struct json_member *m = request_has(r, members[i]) ? &r->members[members[i]] : NULL;
        bool keeps = members[i] == REQUEST_OPTIONS && m != NULL && m->kind != JSON_NULL &&
                     !edits->options_replace;

        if (values[i].ptr != NULL && !keeps) {
            plan_edit(&p, m, keys[i], values[i]);
        }
    }
    if (has_mcp) {
        plan_mcp(&p, r);
    }
    if (out->count > 1 && r->member_count > (has_mcp ? 1U : 0U)) {
        add_piece(out, SLICE(","));
    }
    for (size_t i = 0; i < p.cut_count; i++) {
        add_piece(out, slice_of(r->body.ptr + from, p.cuts[i].start - from));
        add_piece(out, p.cuts[i].text);
        from = p.cuts[i].end;
    }
    add_piece(out, slice_skip(r->body, from));
}
