/* SPDX-License-Identifier: Apache-2.0 */
/* The members of a JSON object one after the other, with a sentence for what is wrong with one: how
 * the payloads of wire/hello.h are read. Pure, any thread; slices are borrowed of the text. */
#ifndef MCP_WIRE_MEMBERS_H
#define MCP_WIRE_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json_scan.h"
#include "base/slice.h"

struct wire_members {
    const char *what; /* "HELLO", for the text */
    int code;         /* of what is wrong */
    struct err *e;    /* gets both; NULL: nobody asks */
    struct json_walk walk;
};

/* `r` has its first three members. 0, or the code: not an object. */
int wire_members_begin(struct wire_members *r, struct slice payload);
/* The next member that is not null. JSON_OK, JSON_END, or a negative one with `e`. */
enum json_status wire_members_next(struct wire_members *r, struct json_member *m);

/* False: it is something else, and `e` says what was expected. */
bool wire_members_wrong(struct wire_members *r, const char *name, const char *expected);
/* A whole number of at least `min`, cut at `max`. */
bool wire_member_number(struct wire_members *r, const struct json_member *m, const char *name,
                        uint64_t min, uint64_t max, uint64_t *out);
bool wire_member_u32(struct wire_members *r, const struct json_member *m, const char *name,
                     uint64_t min, uint64_t max, uint32_t *out);
/* A string: its JSON text, with the quotes. */
bool wire_member_text(struct wire_members *r, const struct json_member *m, const char *name,
                      struct slice *out);
/* Begins a walk over a list; its text was checked with the object's. */
bool wire_member_list(struct wire_members *r, const struct json_member *m, const char *name,
                      struct json_walk *list);
/* Whether a value is the string `name`: compared as keys are. */
bool wire_member_is(const struct json_member *m, const char *name);

#endif
