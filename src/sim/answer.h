/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of answers, as Ollama writes them: the parts of a stream (NDJSON, or SSE under /v1), an
 * answer in one piece, errors. Appended to a buf, whose failure is kept there. Sans-IO. */
#ifndef MCP_SIM_ANSWER_H
#define MCP_SIM_ANSWER_H

#include "base/buf.h"
#include "sim/ask.h"

enum { SIM_TIME_BYTES = 40 };

struct sim_answer {
    enum sim_op op;
    struct slice model; /* as asked for, escaped */
    bool usage;
    bool cut_short; /* the end is "length", not "stop" */
    uint64_t id;
    uint64_t wall_us;
    char created_at[SIM_TIME_BYTES];
    /* Known at the end. */
    uint32_t prompt_tokens;
    uint32_t tokens;
    uint64_t total_us;
    uint64_t load_us;
    uint64_t prompt_us;
    uint64_t decode_us;
};

/* RFC 3339 with microseconds. */
void sim_time_format(uint64_t wall_us, char out[SIM_TIME_BYTES]);

struct slice sim_answer_stream_type(enum sim_op op);

/* `words` needs no escapes. */
void sim_answer_part(struct buf *out, const struct sim_answer *a, struct slice words, bool first);
/* The parts that end a stream. */
void sim_answer_last(struct buf *out, const struct sim_answer *a);
void sim_answer_whole(struct buf *out, const struct sim_answer *a, struct slice words);
/* What a request without a prompt gets: the model was loaded, or unloaded. */
void sim_answer_loaded(struct buf *out, const struct sim_answer *a, bool unloaded);
/* `vectors` is the inside of an array; one vector with its brackets for /api/embeddings. */
void sim_answer_vectors(struct buf *out, const struct sim_answer *a, struct slice vectors);

/* An error in the shape of the route. */
void sim_answer_error(struct buf *out, bool v1, unsigned status, struct slice text);

#endif
