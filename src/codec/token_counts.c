/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/token_counts.h"

#include <stdbool.h>
#include <string.h>

enum { END_BYTES = 1024 };

/* The names, cut at their last '_', which is what is looked for: there are few. */
struct name {
    struct slice before, from;
    bool is_prompt;
};

static bool is_at(const struct name *n, struct slice text, size_t at)
{
    return at >= n->before.len && text.len - at >= n->from.len &&
           memcmp(text.ptr + at, n->from.ptr, n->from.len) == 0 &&
           memcmp(text.ptr + at - n->before.len, n->before.ptr, n->before.len) == 0;
}

static uint32_t number_at(struct slice text, size_t at)
{
    uint64_t number = 0;

    while (at < text.len && (text.ptr[at] == ' ' || text.ptr[at] == ':')) {
        at++;
    }
    for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9' && number < UINT32_MAX;
         at++) {
        number = number * 10 + (uint64_t)(text.ptr[at] - '0');
    }
    return number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

static bool may_begin(struct slice text, size_t at)
{
    return at + 1 < text.len && (text.ptr[at + 1] == 'c' || text.ptr[at + 1] == 't');
}

/* Which of the names stands there; NULL: none. */
static const struct name *name_at(struct slice text, size_t at)
{
    static const struct name names[] = {
        {SLICE("\"eval"), SLICE("_count\""), false},
        {SLICE("\"prompt_eval"), SLICE("_count\""), true},
        {SLICE("\"completion"), SLICE("_tokens\""), false},
        {SLICE("\"prompt"), SLICE("_tokens\""), true},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (is_at(&names[i], text, at)) {
            return &names[i];
        }
    }
    return NULL;
}

struct token_counts token_counts_of(struct slice part)
{
    struct slice text = slice_skip(part, part.len > END_BYTES ? part.len - END_BYTES : 0);
    struct token_counts counts = {0};
    bool has_prompt = false, has_answer = false;

    /* From the end: behind the numbers there is less than before them. */
    for (size_t at = text.len; at > 0 && !(has_prompt && has_answer);) {
        const char *found = memrchr(text.ptr, '_', at);
        const struct name *n;

        if (found == NULL) {
            break;
        }
        at = (size_t)(found - text.ptr);
        n = may_begin(text, at) ? name_at(text, at) : NULL;
        if (n != NULL && n->is_prompt) {
            counts.prompt = number_at(text, at + n->from.len);
            has_prompt = true;
        } else if (n != NULL) {
            counts.answer = number_at(text, at + n->from.len);
            has_answer = true;
        }
    }
    return counts;
}
