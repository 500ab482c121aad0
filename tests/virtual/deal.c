/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* What a slow network, and dawdling on top, may add to a deadline. */
#define LATE_US (60 * SECOND_US)

static void put(struct buf *b, const char *text)
{
    assert_true(buf_append_str(b, text));
}

/* Text that tells where it belongs. */
static void put_filler(struct buf *b, unsigned number, size_t line)
{
    bool is_big = world.plan.is_big && number % 5 == 0 && line > 0;
    size_t n = (size_t)(one_in(30) ? pick(20000) : pick(is_big ? 200000 : 60));
    char *at;

    assert_true(buf_printf(b, "%u/%zu ", number, line));
    at = buf_reserve(b, n);
    assert_non_null(at);
    for (size_t i = 0; i < n; i++) {
        at[i] = (char)('a' + (number + line * 7 + i) % 26);
    }
    buf_commit(b, n);
}

const struct deal *deal_root(const struct deal *d)
{
    return d->twin_of == NULL ? d : d->twin_of;
}

static void make_own_request(struct deal *d)
{
    struct buf *b = &d->request;

    assert_true(buf_printf(b, "{\"model\":\"m\",\"deal\":%u,", d->number));
    if (d->streams == d->is_v1) {
        put(b, d->streams ? "\"stream\":true," : "\"stream\":false,");
    }
    if (d->is_translated && !d->is_chat) {
        put(b, "\"raw\":true,");
    }
    if (d->is_fixed) {
        put(b, d->is_v1 ? "\"temperature\":0," : "\"options\":{\"temperature\":0},");
    }
    put(b, d->is_chat ? "\"messages\":[{\"role\":\"user\",\"content\":\"" : "\"prompt\":\"");
    put_filler(b, d->number, 0);
    put(b, d->is_chat ? "\"}]}" : "\"}");
}

/* What only the gateway is told: the name of a route, a deadline, an idempotency key. */
static void make_asked_for(struct deal *d)
{
    static const struct slice model = SLICE("{\"model\":\"m\"");
    struct slice rest = slice_skip(buf_slice(&d->request), model.len);
    struct buf *b = &d->asked_for;
    bool by_route = world.plan.routes && !d->has_key && one_in(2); /* same key, same body */

    if (d->deadline_ms == 0 && !d->has_key && !by_route) {
        return;
    }
    put(b, by_route ? "{\"model\":\"r\"" : model.ptr);
    assert_true(buf_append(b, slice_first(rest, rest.len - 1)));
    if (d->deadline_ms > 0 || d->has_key) {
        put(b, ",\"mcp\":{");
    }
    if (d->deadline_ms > 0) {
        assert_true(buf_printf(b, "\"deadline_ms\":%u%s", (unsigned)d->deadline_ms,
                               d->has_key ? "," : "}"));
    }
    if (d->has_key) {
        assert_true(buf_printf(b, "\"idempotency_key\":\"key %u\"}", deal_root(d)->number));
    }
    put(b, "}");
}

static void make_request(struct deal *d)
{
    if (d->twin_of != NULL) {
        assert_true(buf_append(&d->request, buf_slice(&d->twin_of->request)));
    } else if (d->is_embed) {
        embed_make_request(d);
    } else {
        make_own_request(d);
    }
    make_asked_for(d);
}

struct slice deal_asked_for(const struct deal *d)
{
    return buf_slice(buf_len(&d->asked_for) > 0 ? &d->asked_for : &d->request);
}

const char *deal_path(const struct deal *d)
{
    if (d->is_v1) {
        return "/v1/chat/completions";
    }
    if (d->is_embed) {
        return "/api/embed";
    }
    return d->is_chat ? "/api/chat" : "/api/generate";
}

const char *deal_node_path(const struct deal *d)
{
    if (d->is_translated) {
        return d->is_chat ? "/v1/chat/completions" : "/v1/completions";
    }
    return deal_path(d);
}

bool deal_in_events(const struct deal *d)
{
    return d->is_translated || (d->is_v1 && d->streams);
}

static void begin_line(struct deal *d)
{
    if (deal_in_events(d)) {
        put(&d->lines, "data: ");
    }
}

static void end_line(struct deal *d)
{
    put(&d->lines, deal_in_events(d) ? "\n\n" : "\n");
    d->line_ends[d->line_count++] = buf_len(&d->lines);
}

static void make_native_line(struct deal *d, bool done)
{
    struct buf *b = &d->lines;

    put(b, "{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00Z\",");
    put(b, d->is_chat ? "\"message\":{\"role\":\"assistant\",\"content\":\"" : "\"response\":\"");
    put_filler(b, d->number, d->line_count);
    put(b, d->is_chat ? "\"}" : "\"");
    put(b, done ? ",\"done\":true,\"done_reason\":\"stop\"}" : ",\"done\":false}");
}

static void make_v1_line(struct deal *d, bool done)
{
    struct buf *b = &d->lines;

    if (done && d->streams) {
        put(b, "[DONE]");
        return;
    }
    put(b, "{\"id\":\"chatcmpl-1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{"
           "\"content\":\"");
    put_filler(b, d->number, d->line_count);
    put(b, "\"},\"finish_reason\":null}]}");
}

static void make_piece(struct deal *d, bool done)
{
    struct buf *b = &d->lines;
    size_t before = buf_len(&d->text);
    struct slice text;

    if (done) {
        put(b, "{\"model\":\"m\",\"choices\":[{\"index\":0,");
        put(b, d->is_chat ? "\"delta\":{}" : "\"text\":\"\"");
        put(b, ",\"finish_reason\":\"stop\"}]}");
        end_line(d);
        put(b, "data: [DONE]");
        return;
    }
    put_filler(&d->text, d->number, d->line_count);
    text = buf_slice(&d->text);
    put(b, "{\"model\":\"m\",\"choices\":[{\"index\":0,");
    put(b, d->is_chat ? "\"delta\":{\"content\":\"" : "\"text\":\"");
    assert_true(buf_append(b, slice_of(text.ptr + before, text.len - before)));
    put(b, d->is_chat ? "\"}" : "\"");
    put(b, ",\"finish_reason\":null}]}");
}

static void make_line(struct deal *d, bool done)
{
    begin_line(d);
    if (d->is_translated) {
        make_piece(d, done);
    } else if (d->is_v1) {
        make_v1_line(d, done);
    } else {
        make_native_line(d, done);
    }
    end_line(d);
}

static void make_answer(struct deal *d)
{
    size_t parts = d->streams || d->is_translated ? (size_t)pick(LINES_MAX - 3) : 0;

    if (d->is_embed) {
        embed_make_answer(d);
        return;
    }
    if (d->shape == ANSWER_REFUSED) {
        static const unsigned statuses[] = {400, 404, 500, 503};

        d->status = statuses[pick(4)];
        assert_true(buf_printf(&d->lines, "{\"error\":\"deal %u is refused\"}", d->number));
        end_line(d);
        return;
    }
    for (size_t i = 0; i < parts; i++) {
        make_line(d, false);
    }
    if (d->shape == ANSWER_FAILING) {
        begin_line(d);
        assert_true(buf_printf(&d->lines, "{\"error\":\"deal %u failed\"}", d->number));
        end_line(d);
    } else if (d->shape == ANSWER_WHOLE) {
        make_line(d, true);
    }
}

/* One of those before that may be asked for again; NULL: none. */
static const struct deal *find_root(bool is_mcp)
{
    size_t at = (size_t)pick(world.deal_count);

    for (size_t i = 0; i < world.deal_count; i++) {
        const struct deal *d = &world.deals[(at + i) % world.deal_count];
        bool is_long = world.plan.is_big && d->number % 5 == 0; /* who is slow loses it */

        if (d->twin_of == NULL && d->is_mcp == is_mcp && !is_long &&
            (d->is_fixed || d->is_embed || d->has_key)) {
            return d;
        }
    }
    return NULL;
}

static void be_twin_of(struct deal *d, const struct deal *root)
{
    *d = (struct deal){.number = d->number,
                       .is_mcp = d->is_mcp,
                       .is_v1 = root->is_v1,
                       .is_translated = root->is_translated,
                       .is_chat = root->is_chat,
                       .is_embed = root->is_embed,
                       .inputs = root->inputs,
                       .is_fixed = root->is_fixed,
                       .has_key = root->has_key,
                       .one_is_bad = root->one_is_bad,
                       .streams = root->streams,
                       .shape = root->shape,
                       .status = root->status,
                       .cut = root->cut,
                       .cut_at = root->cut_at,
                       .line_count = root->line_count,
                       .twin_of = root};
    memcpy(d->line_ends, root->line_ends, sizeof(d->line_ends));
    assert_true(buf_append(&d->lines, buf_slice(&root->lines)) &&
                buf_append(&d->text, buf_slice(&root->text)));
}

static void draw_kind(struct deal *d)
{
    d->is_v1 = !d->is_mcp && one_in(3);
    d->is_embed = world.plan.embeds && !d->is_v1 && one_in(2);
    d->is_translated = world.plan.is_openai && !d->is_v1;
    d->is_chat = d->is_v1 || one_in(2);
    d->streams = !d->is_embed && !one_in(3);
    d->is_fixed = world.plan.twins && !d->is_embed && one_in(2);
    d->has_key = world.plan.twins && d->is_mcp && one_in(4);
    d->first_ms = (uint32_t)(one_in(8) ? pick(8000) : pick(20));
    d->gap_ms = (uint32_t)(one_in(8) ? 3000 : pick(20));
    if (d->is_embed) {
        d->one_is_bad = world.plan.one_is_bad && one_in(4);
        d->shape = d->one_is_bad ? ANSWER_REFUSED : ANSWER_WHOLE;
    } else if (world.plan.nodes_fail && one_in(3)) {
        d->shape = d->streams || d->is_translated ? (enum answer_shape)pick(4) : ANSWER_REFUSED;
    }
}

struct deal *deal_new(bool is_mcp)
{
    struct deal *d = &world.deals[world.deal_count];
    const struct deal *root = world.plan.twins && one_in(2) ? find_root(is_mcp) : NULL;

    if (world.deal_count == DEALS_MAX) {
        return NULL;
    }
    *d = (struct deal){
        .number = world.first_deal + (unsigned)world.deal_count++, .is_mcp = is_mcp, .status = 200};
    if (root != NULL) {
        be_twin_of(d, root);
    } else {
        draw_kind(d);
    }
    if (world.plan.deadlines && is_mcp && one_in(3)) {
        d->deadline_ms = 1 + pick(one_in(2) ? 20000 : 200);
    }
    make_request(d);
    if (root != NULL) {
        return d;
    }
    make_answer(d);
    if (world.plan.nodes_fail && one_in(3)) {
        d->cut = (enum answer_cut)pick(CUT_KINDS);
        d->cut_at = one_in(3) ? 0 : (size_t)pick(buf_len(&d->lines) + 200);
        if (d->cut == CUT_GARBAGE) {
            d->cut_at = 0; /* in the midst of a body it would be one */
        }
    }
    return d;
}

struct deal *deal_of(struct slice request, bool *past)
{
    char text[16];
    static const struct slice marks[] = {SLICE("\"deal\":"), SLICE("\"content\":\""),
                                         SLICE("\"prompt\":\"")};
    const char *at = NULL;
    size_t number;

    *past = false;
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]) && at == NULL; i++) {
        at = memmem(request.ptr, request.len, marks[i].ptr, marks[i].len);
        at = at == NULL ? NULL : at + marks[i].len;
    }
    if (at == NULL) {
        return NULL;
    }
    (void)snprintf(text, sizeof(text), "%.*s", 8, at);
    number = strtoul(text, NULL, 10);
    *past = number < world.first_deal;
    number -= world.first_deal;
    return !*past && number < world.deal_count ? &world.deals[number] : NULL;
}

static struct slice line_at(const struct deal *d, size_t i)
{
    size_t from = i == 0 ? 0 : d->line_ends[i - 1];

    return slice_of(buf_slice(&d->lines).ptr + from, d->line_ends[i] - from - 1);
}

/* What an object of Ollama's says. */
static void append_text(struct buf *out, struct slice part)
{
    static const struct slice marks[] = {SLICE("\"content\":\""), SLICE("\"response\":\"")};

    for (size_t i = 0; i < 2; i++) {
        const char *at = memmem(part.ptr, part.len, marks[i].ptr, marks[i].len);
        const char *end = part.ptr + part.len;

        if (at != NULL) {
            at += marks[i].len;
            end = memchr(at, '"', (size_t)(end - at));
            assert_non_null(end);
            assert_true(buf_append(out, slice_of(at, (size_t)(end - at))));
            return;
        }
    }
}

bool deal_part(struct deal *d, struct slice part)
{
    struct slice line;

    if (d->is_embed) {
        assert_int_equal(buf_len(&d->got), 0);
        assert_true(buf_append(&d->got, part));
        return true;
    }
    if (d->is_translated) {
        append_text(&d->got, part);
        return memmem(part.ptr, part.len, "\"done\":true", 11) != NULL;
    }
    assert_true(d->got_lines < d->line_count);
    line = line_at(d, d->got_lines++);
    if (!slice_eq(part, line)) {
        print_error("deal %u: part %zu is %.*s\n", d->number, d->got_lines, SLICE_ARG(part));
    }
    assert_true(slice_eq(part, line));
    return d->got_lines == d->line_count && d->shape == ANSWER_WHOLE;
}

void deal_ended(struct deal *d, enum deal_end how)
{
    assert_int_equal(d->end, DEAL_OPEN);
    d->end = how;
    d->ended_us = virtual_net_now_us(world.net);
}

bool deal_is_error(struct slice line)
{
    static const struct slice starts[] = {SLICE("{\"error\":"), SLICE("data: {\"error\":")};
    bool is = false;

    for (size_t i = 0; i < 2; i++) {
        size_t n = line.len < starts[i].len ? line.len : starts[i].len;

        is = is || memcmp(line.ptr, starts[i].ptr, n) == 0;
    }
    return is;
}

/* The body is the node's, or begins like it and ends with an error. */
static void check_body(const struct deal *d)
{
    struct slice got = buf_slice(&d->got);
    struct slice all = buf_slice(&d->lines);
    size_t same = 0;

    while (same < got.len && same < all.len && got.ptr[same] == all.ptr[same]) {
        same++;
    }
    if (d->end == DEAL_WHOLE) {
        /* Nobody waits for what follows the end mark. */
        while (same < all.len && all.ptr[same] == '\n') {
            all.len--;
        }
        assert_int_equal(same, all.len);
        assert_int_equal(got.len, all.len);
        assert_int_not_equal(d->shape, ANSWER_UNFINISHED);
        return;
    }
    if (same == got.len) {
        return;
    }
    while (same < got.len && got.ptr[same] == '\n') {
        same++; /* behind a line that its node never ended, where it ended the body */
    }
    while (same > 0 && got.ptr[same - 1] != '\n') {
        same--; /* else parts are whole */
    }
    got = slice_of(got.ptr + same, got.len - same);
    if (!deal_is_error(got)) {
        print_error("deal %u: from byte %zu on: %.*s\n", d->number, same,
                    (int)(got.len < 300 ? got.len : 300), got.ptr);
    }
    assert_true(deal_is_error(got));
    while (got.len > 0 && got.ptr[got.len - 1] == '\n') {
        got.len--;
    }
    assert_null(memchr(got.ptr, '\n', got.len)); /* and nothing behind it */
}

/* Translated: what all whole lines of the body say. */
static void read_body(struct slice body, struct buf *out)
{
    while (body.len > 0) {
        const char *end = memchr(body.ptr, '\n', body.len);
        size_t n = end == NULL ? body.len : (size_t)(end - body.ptr);

        if (end != NULL || body.ptr[n - 1] == '}') {
            append_text(out, slice_of(body.ptr, n));
        }
        n += end != NULL;
        body = slice_of(body.ptr + n, body.len - n);
    }
}

static void check_text(const struct deal *d)
{
    struct slice all = buf_slice(&d->text);
    struct buf said = {0};
    struct slice got;

    if (d->is_mcp) {
        assert_true(buf_append(&said, buf_slice(&d->got)));
    } else {
        read_body(buf_slice(&d->got), &said);
    }
    got = buf_slice(&said);
    assert_true(got.len <= all.len && memcmp(got.ptr, all.ptr, got.len) == 0);
    if (d->end == DEAL_WHOLE) {
        assert_int_equal(got.len, all.len);
        assert_int_not_equal(d->shape, ANSWER_UNFINISHED);
    }
    buf_fini(&said);
}

void deal_check(const struct deal *d)
{
    const struct plan *p = &world.plan;
    const struct deal *root = deal_root(d);
    bool faultless =
        !p->net_breaks && !p->net_hangs && !p->nodes_fail && !p->nodes_vanish && !p->stops_early;

    assert_int_not_equal(d->end, DEAL_OPEN);
    if (d->is_embed) {
        embed_check(d);
    } else if (d->is_translated) {
        check_text(d);
    } else if (!d->is_mcp) {
        check_body(d);
    }
    if (d->deadline_ms > 0 && d->end == DEAL_FAILED && !p->net_hangs && !p->clients_stall) {
        assert_true(d->ended_us <= d->asked_us + d->deadline_ms * 1000 + LATE_US);
    }
    if (d->end == DEAL_WHOLE) {
        assert_true(root->asked > 0);
        assert_true(d->is_embed || d->cut == CUT_NOT || d->cut_at > 0 || root->asked > 1);
    } else if (d->end == DEAL_CUT ||
               (d->end == DEAL_FAILED && d->deadline_ms == 0 && !d->one_is_bad)) {
        if (faultless) {
            print_error("deal %u: end %d, got %.*s\n", d->number, (int)d->end,
                        SLICE_ARG(slice_first(buf_slice(&d->got), 300)));
        }
        assert_false(faultless);
    }
}

void deal_fini(struct deal *d)
{
    buf_fini(&d->text);
    buf_fini(&d->request);
    buf_fini(&d->asked_for);
    buf_fini(&d->lines);
    buf_fini(&d->got);
}
