/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/request_hints.h"

#include <stdbool.h>

#include "base/hash.h"

enum { FIRST_BYTES = 256, OPTION_COUNT = 7 };

/* ollama-http.md: what triggers a reload. Here num_ctx is the first. */
static const struct slice runner_options[OPTION_COUNT] = {
    SLICE("num_ctx"),  SLICE("num_batch"),  SLICE("num_gpu"),          SLICE("main_gpu"),
    SLICE("use_mmap"), SLICE("num_thread"), SLICE("draft_num_predict")};

static uint64_t number_of(struct slice text)
{
    uint64_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)text.ptr[i] - '0';

        if (digit > 9 || n > UINT32_MAX) {
            return 0;
        }
        n = n * 10 + digit;
    }
    return n;
}

struct runner_options runner_options_of(struct slice options)
{
    struct runner_options out = {0};
    struct json_member m;
    struct json_walk w;
    unsigned count = 0;

    if (options.len == 0 || json_walk_begin(&w, options, JSON_OBJECT) != JSON_OK) {
        return out;
    }
    while (json_walk_next(&w, &m) == JSON_OK) {
        for (size_t i = 0; i < OPTION_COUNT; i++) {
            if (m.kind != JSON_NULL && json_key_is(&m, runner_options[i])) {
                out.hash += hash_bytes(i + 1, m.value);
                out.context = i == 0 ? number_of(m.value) : out.context;
                count++;
            }
        }
    }
    out.context = count == 1 ? out.context : 0;
    out.hash += count > 0 && out.hash == 0;
    return out;
}

/* What is hashed so far, and where that is written to. */
struct chain {
    uint64_t *hashes;
    uint64_t *bytes; /* NULL: not wanted */
    size_t count;
    uint64_t hash;
    uint64_t len;
};

static void chain_add(struct chain *c, struct slice piece)
{
    c->hash = hash_bytes(c->hash, piece);
    c->len += piece.len;
    if (c->bytes != NULL) {
        c->bytes[c->count] = c->len;
    }
    c->hashes[c->count++] = c->hash;
}

static void hash_messages(struct slice messages, struct chain *c)
{
    struct json_member m;
    struct json_walk w;

    c->hash = 1;

    if (json_walk_begin(&w, messages, JSON_ARRAY) != JSON_OK) {
        return;
    }
    while (c->count < PROMPT_HASHES_MAX && json_walk_next(&w, &m) == JSON_OK) {
        chain_add(c, m.value);
    }
}

static void hash_text(struct slice text, struct chain *c)
{
    size_t piece = FIRST_BYTES;

    c->hash = 2;
    text = slice_skip(slice_first(text, text.len - 1), 1); /* its quotes */
    while (text.len > 0 && c->count < PROMPT_HASHES_MAX) {
        struct slice now = slice_first(text, piece < text.len ? piece : text.len);

        chain_add(c, now);
        text = slice_skip(text, now.len);
        piece = c->count == 1 ? FIRST_BYTES : 2 * piece; /* to 256, 512, 1024 */
    }
}

size_t prompt_hashes(const struct request *r, uint64_t *hashes, uint64_t *bytes)
{
    struct slice messages = request_value(r, REQUEST_MESSAGES);
    struct slice prompt = request_value(r, REQUEST_PROMPT);
    struct chain c = {.hashes = hashes, .bytes = bytes};

    if (messages.len > 0) {
        hash_messages(messages, &c);
    } else if (prompt.len > 1 && prompt.ptr[0] == '"') {
        hash_text(prompt, &c);
    }
    return c.count;
}
