/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of the translation: requests from JSON text, answers from events, recorded answers.
 */
#ifndef MCP_TESTS_OPENAI_HELP_H
#define MCP_TESTS_OPENAI_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <yyjson.h>

#include "node/openai.h"

/* What a native request became. */
struct asked {
    int rv;
    struct openai_call *call;
    struct buf path;
    struct buf body;
    struct err e;
    yyjson_doc *doc; /* of the body, where there is one */
};

/* The clock of all tests: the client asked at 1000000 us, 2026-01-02T03:04:05.678901Z. */
struct openai_clock clock_after(uint64_t us);

/* Translates; `inherited` may be "". Asked for model "m", which the node calls "node-m". */
void ask(struct asked *a, enum op op, const char *json, const char *inherited);
void asked_fini(struct asked *a);

/* The value at "a.b[0].c"; NULL: none. "" is the root. */
yyjson_val *at_path(yyjson_val *root, const char *path);
/* Fails the test unless the value at `path` is that JSON; NULL: unless there is none. */
void assert_at(yyjson_doc *doc, const char *path, const char *json);
yyjson_doc *parse(struct slice json);

/* Gives one event; the part is parsed into *doc where there is one. */
int event(struct openai_call *call, const char *data, uint64_t us, yyjson_doc **doc);
int whole(struct openai_call *call, struct slice body, uint64_t us, yyjson_doc **doc);

/* The body of a recorded answer, its chunks joined. */
void fixture(const char *name, struct buf *body);
/* Takes the data of the next event off a recorded stream. */
bool fixture_next(struct slice *events, struct slice *data);

#endif
