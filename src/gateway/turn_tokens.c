/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes say at the end of an answer about how much they computed: for the scheduler, which
 * settles with it, and for recordings. */
#include <string.h>

#include "gateway/exchange.h"
#include "gateway/turns.h"

enum { NUMBERS_BYTES = 1024 };

/* The number behind `name` as Ollama, or else as OpenAI calls it; 0: it is not there. */
static uint32_t number_of(struct slice text, struct slice name, struct slice other)
{
    const char *at = memmem(text.ptr, text.len, name.ptr, name.len);
    uint64_t number = 0;
    size_t i;

    if (at == NULL) {
        name = other;
        at = memmem(text.ptr, text.len, name.ptr, name.len);
    }
    i = at == NULL ? text.len : (size_t)(at - text.ptr) + name.len;
    while (i < text.len && (text.ptr[i] == ' ' || text.ptr[i] == ':')) {
        i++;
    }
    for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9' && number < UINT32_MAX; i++) {
        number = number * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

/* Numbers come last, and a text that holds their names escapes the quotes. */
void turn_last_part(struct exchange *x, struct slice part)
{
    struct exchange_turn *t = &x->turn;
    struct slice end = slice_skip(part, part.len > NUMBERS_BYTES ? part.len - NUMBERS_BYTES : 0);

    if (t->state == TURN_GRANTED || x->recorded != NULL) {
        t->prompt_tokens =
            number_of(end, SLICE("\"prompt_eval_count\""), SLICE("\"prompt_tokens\""));
        t->answer_tokens = number_of(end, SLICE("\"eval_count\""), SLICE("\"completion_tokens\""));
    }
}
