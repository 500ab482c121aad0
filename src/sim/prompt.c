/* SPDX-License-Identifier: Apache-2.0 */
/* What a call asks of the model: a prompt as hashes, or texts as vectors. */
#include "sim/random.h"
#include "sim/server_internal.h"

/* The prompt as one text, each message with its role, so that the next turn of a conversation
 * begins as this one and its answer. */
static void add_messages(struct sim_chain *chain, struct slice messages)
{
    struct json_walk w;
    struct json_member m;

    if (json_walk_begin(&w, messages, JSON_ARRAY) != JSON_OK) {
        return;
    }
    while (json_walk_next(&w, &m) == JSON_OK) {
        struct json_member part;

        if (m.kind == JSON_OBJECT && json_find(m.value, SLICE("role"), &part) == JSON_OK) {
            sim_chain_add(chain, part.value);
        }
        if (m.kind == JSON_OBJECT && json_find(m.value, SLICE("content"), &part) == JSON_OK) {
            bool quoted = part.kind == JSON_STRING;

            sim_chain_add(chain,
                          quoted ? slice_of(part.value.ptr + 1, part.value.len - 2) : part.value);
        }
        sim_chain_add(chain, SLICE("\n"));
    }
    sim_chain_add(chain, SLICE("\"assistant\""));
}

void sim_prompt_read(struct sim_conn *c, const struct sim_ask *ask)
{
    const struct sim_server *s = c->server;

    sim_chain_reset(&c->chain, s->seed, s->profile.prompt_cache != 0);
    if (ask->text_kind == JSON_ARRAY) {
        add_messages(&c->chain, ask->text);
    } else {
        sim_chain_add(&c->chain, ask->system);
        sim_chain_add(&c->chain, ask->text);
    }
    c->hash = c->chain.hash;
    c->answer.prompt_tokens = sim_token_count(c->chain.bytes);
}

/* Appends one vector, and counts. False: longer than the context, and not to be truncated. */
static bool add_input(struct sim_conn *c, const struct sim_ask *ask, struct slice input,
                      uint32_t *items)
{
    const struct sim_profile *p = &c->server->profile;
    uint32_t dimensions = ask->dimensions != 0 && ask->dimensions < p->dimensions
                              ? ask->dimensions
                              : (uint32_t)p->dimensions;
    uint32_t tokens = sim_token_count(input.len > 2 ? input.len - 2 : 0); /* the quotes */

    if (tokens > p->context) {
        if (!ask->truncate) {
            return false;
        }
        tokens = (uint32_t)p->context;
    }
    if (*items > 0) {
        (void)buf_append_byte(&c->vectors, ','); /* a failure is kept */
    }
    (void)sim_vector_append(&c->vectors, sim_hash(c->server->seed, input), dimensions);
    c->answer.prompt_tokens += tokens;
    c->longest = tokens > c->longest ? tokens : c->longest;
    ++*items;
    return true;
}

int64_t sim_prompt_embed(struct sim_conn *c, const struct sim_ask *ask)
{
    static const char too_long[] = "the input length exceeds the context length";
    struct json_walk w;
    struct json_member m;
    uint32_t items = 0;
    bool fits = true;

    buf_clear(&c->vectors);
    c->answer.prompt_tokens = 0;
    c->longest = 0;
    if (ask->text_kind == JSON_STRING) {
        fits = add_input(c, ask, ask->text, &items);
    } else if (ask->text_kind == JSON_NULL) { /* /api/embeddings */
        (void)buf_append_str(&c->vectors, "[]");
    } else if (json_walk_begin(&w, ask->text, JSON_ARRAY) == JSON_OK) {
        while (fits && json_walk_next(&w, &m) == JSON_OK) {
            if (m.kind != JSON_STRING) {
                sim_conn_refuse(c, 400, SLICE("invalid input type"));
                return -1;
            }
            fits = add_input(c, ask, m.value, &items);
        }
    }
    if (!fits) {
        sim_conn_refuse(c, 400, slice_str(too_long));
        return -1;
    }
    return items;
}
