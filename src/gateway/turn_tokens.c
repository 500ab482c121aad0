/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes say at the end of an answer about how much they computed: for the scheduler, which
 * settles with it, and for recordings. */
#include "codec/token_counts.h"
#include "gateway/exchange.h"
#include "gateway/turns.h"

void turn_last_part(struct exchange *x, struct slice part)
{
    struct exchange_turn *t = &x->turn;

    if (t->state == TURN_GRANTED || x->recorded != NULL) {
        struct token_counts counts = token_counts_of(part);

        t->prompt_tokens = counts.prompt;
        t->answer_tokens = counts.answer;
    }
}
