/* SPDX-License-Identifier: Apache-2.0 */
/* Requests for embeddings put together to one, and its answer cut up again. Only what is sure not
 * to change anybody's answer is taken: requests with members that are not known here, or whose
 * input is not of texts, are left to themselves. Numbers are never read, vectors stay the bytes
 * that they came as. Sans-IO. */
#ifndef MCP_CODEC_EMBED_H
#define MCP_CODEC_EMBED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum embed_shape { EMBED_OLLAMA /* /api/embed */, EMBED_OPENAI /* /v1/embeddings */ };

/* What a request says, with what its session inherits in place. */
struct embed_ask {
    enum embed_shape shape;
    struct slice body;
    struct slice model;   /* JSON text that stands for a missing `model`; NULL: none */
    struct slice options; /* likewise */
};

enum embed_verdict { EMBED_TAKEN, EMBED_LEFT, EMBED_NO_MEMORY };

/* Appends the head of a request that asks for the same of others' inputs, up to where they stand:
 * requests with equal heads can be one. `inputs` gets the JSON texts of the inputs, as slices of
 * the body (array of struct slice). */
enum embed_verdict embed_read(const struct embed_ask *ask, struct buf *head, struct buf *inputs);

/* Appends a whole request. */
bool embed_write(struct slice head, const struct slice *inputs, size_t count, struct buf *body);

enum { EMBED_CUTS_MAX = 3 };

/* A part of an answer that is written anew for each. */
struct embed_cut {
    size_t start;
    size_t end;
    bool is_vectors; /* else the count of tokens */
};

/* An answer to several, taken apart; refers to its bytes by offsets. */
struct embed_answer {
    enum embed_shape shape;
    struct buf vectors;                    /* struct embed_vector of each input */
    struct embed_cut cuts[EMBED_CUTS_MAX]; /* by start */
    size_t cut_count;
    uint64_t tokens;
};

struct embed_vector {
    size_t start; /* of its text in the answer */
    size_t end;
    size_t index_start; /* EMBED_OPENAI: of its number; both 0: it has none */
    size_t index_end;
};

/* False: it is no answer to so many inputs, or out of memory. */
bool embed_answer_read(struct embed_answer *a, enum embed_shape shape, struct slice body,
                       size_t inputs);
void embed_answer_fini(struct embed_answer *a);

static inline const struct embed_vector *embed_answer_vector(const struct embed_answer *a, size_t i)
{
    return (const struct embed_vector *)(const void *)buf_slice(&a->vectors).ptr + i;
}

/* Writes one's own answer: `vector` appends its vectors separated by commas. */
struct embed_writer {
    struct buf *out;
    size_t written;
};
/* Appends the vector at `at` as the next one. False: out of memory. */
bool embed_write_vector(struct embed_writer *w, struct slice body, const struct embed_vector *at);
/* Appends the answer that `a` is (of `body`) with those vectors and so many tokens. */
bool embed_write_answer(const struct embed_answer *a, struct slice body, struct slice vectors,
                        uint64_t tokens, struct buf *out);

#endif
