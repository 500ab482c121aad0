/* SPDX-License-Identifier: Apache-2.0 */
/* Random JSON text from a seed, for property tests: odd blanks, escapes, characters of every UTF-8
 * length, lone surrogates, numbers of every form, duplicate keys. */
#ifndef MCP_TESTS_LIB_JSON_GEN_H
#define MCP_TESTS_LIB_JSON_GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct json_gen {
    uint64_t state; /* the seed, not 0 */
    bool paired;    /* no escapes of half a surrogate pair, which yyjson refuses */
};

/* From 0 to below - 1. */
size_t json_gen_pick(struct json_gen *g, size_t below);
/* Up to three blanks, mostly none. */
void json_gen_blanks(struct json_gen *g, struct buf *out);
/* A string with its quotes. */
void json_gen_string(struct json_gen *g, struct buf *out);
/* A value with at most `depth` arrays and objects inside each other. */
void json_gen_value(struct json_gen *g, struct buf *out, int depth);

#endif
