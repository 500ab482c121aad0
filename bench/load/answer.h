/* SPDX-License-Identifier: Apache-2.0 */
/* What a right answer is: so many parts, each with the model that was asked for, only the last one
 * done, and the same text every time. A part that has the bytes of the one before is right without
 * being parsed. No I/O. */
#ifndef MCP_BENCH_LOAD_ANSWER_H
#define MCP_BENCH_LOAD_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

struct answer_part {
    struct buf bytes; /* as it last came; empty: not seen yet */
    struct buf text;
};

struct answer {
    const char *model;
    const char *text; /* all of it; NULL: whatever comes first */
    size_t count;
    struct answer_part *parts;
    char why[160]; /* the last part was wrong */
};

enum answer_verdict { ANSWER_WRONG, ANSWER_MORE, ANSWER_LAST };

/* `model` and `text` are borrowed. False: out of memory. */
bool answer_init(struct answer *a, const char *model, const char *text, size_t count);
void answer_fini(struct answer *a);
/* The `index`-th part of an answer, without its newline. */
enum answer_verdict answer_check(struct answer *a, size_t index, struct slice part);
/* The one answer to a request for an embedding: one vector, another one than the last. */
enum answer_verdict answer_check_vector(struct answer *a, struct slice part);

#endif
