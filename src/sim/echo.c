/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/echo.h"

#include "sim/words.h"

void sim_echo_cache_fini(struct sim_echo_cache *cache)
{
    for (size_t i = 0; i < SIM_ECHO_ENTRIES; i++) {
        buf_fini(&cache->entries[i].model);
        buf_fini(&cache->entries[i].bytes);
    }
}

static bool matches(const struct sim_echo *e, const struct sim_answer *a, bool stream)
{
    return buf_len(&e->bytes) > 0 && e->op == a->op && e->stream == stream &&
           e->tokens == a->tokens && e->usage == a->usage && e->cut_short == a->cut_short &&
           slice_eq(buf_slice(&e->model), a->model);
}

struct sim_echo *sim_echo_find(struct sim_echo_cache *cache, const struct sim_answer *a,
                               bool stream)
{
    for (size_t i = 0; i < SIM_ECHO_ENTRIES; i++) {
        if (matches(&cache->entries[i], a, stream)) {
            return &cache->entries[i];
        }
    }
    return NULL;
}

static bool add_chunk(struct buf *out, struct buf *part)
{
    bool ok = !buf_failed(part);

    (void)buf_printf(out, "%zx\r\n", buf_len(part));
    (void)buf_append(out, buf_slice(part));
    (void)buf_append_str(out, "\r\n"); /* a failure is kept */
    buf_clear(part);
    return ok;
}

static bool make_stream(struct sim_echo *e, const struct sim_answer *a, uint64_t hash)
{
    struct buf part = {0};
    bool ok = true;

    (void)buf_append_str(&e->bytes, "HTTP/1.1 200 OK\r\nContent-Type: ");
    (void)buf_append(&e->bytes, sim_answer_stream_type(a->op));
    (void)buf_append_str(&e->bytes, "\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (uint32_t i = 0; i < a->tokens; i++) {
        size_t before = buf_len(&e->bytes);

        sim_answer_part(&part, a, sim_word(hash, i), i == 0);
        ok = add_chunk(&e->bytes, &part) && ok;
        if (i == 0) {
            e->first_end = buf_len(&e->bytes);
        } else {
            e->part_len = buf_len(&e->bytes) - before; /* words are of one length */
        }
    }
    e->last_at = buf_len(&e->bytes);
    sim_answer_last(&part, a);
    ok = add_chunk(&e->bytes, &part) && ok;
    ok = buf_append_str(&e->bytes, "0\r\n\r\n") && ok;
    buf_fini(&part);
    return ok;
}

static bool make_whole(struct sim_echo *e, const struct sim_answer *a, uint64_t hash)
{
    struct buf words = {0}, body = {0};
    bool ok = sim_words_append(&words, hash, a->tokens);

    sim_answer_whole(&body, a, buf_slice(&words));
    (void)buf_printf(&e->bytes,
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     buf_len(&body));
    ok = buf_append(&e->bytes, buf_slice(&body)) && ok && !buf_failed(&body);
    buf_fini(&words);
    buf_fini(&body);
    return ok;
}

struct sim_echo *sim_echo_make(struct sim_echo_cache *cache, const struct sim_answer *a,
                               bool stream, uint64_t hash)
{
    struct sim_echo *e = NULL;
    bool ok;

    if (a->tokens == 0 || a->tokens > SIM_ECHO_TOKENS_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < SIM_ECHO_ENTRIES && (e == NULL || e->users > 0); i++) {
        e = &cache->entries[cache->next++ % SIM_ECHO_ENTRIES];
    }
    if (e->users > 0) {
        return NULL;
    }
    buf_clear(&e->bytes);
    buf_clear(&e->model);
    e->op = a->op;
    e->stream = stream;
    e->usage = a->usage;
    e->cut_short = a->cut_short;
    e->tokens = a->tokens;
    ok = buf_append(&e->model, a->model);
    ok = (stream ? make_stream(e, a, hash) : make_whole(e, a, hash)) && ok;
    if (!ok) {
        buf_clear(&e->bytes);
    }
    return ok ? e : NULL;
}

struct slice sim_echo_piece(const struct sim_echo *e, uint32_t n)
{
    struct slice all = buf_slice(&e->bytes);
    size_t from = n == 0 ? 0 : e->first_end + (n - 1) * e->part_len;

    if (n == e->tokens) {
        return slice_skip(all, e->last_at);
    }
    return slice_first(slice_skip(all, from), n == 0 ? e->first_end : e->part_len);
}
