/* SPDX-License-Identifier: Apache-2.0 */
/* An error with its text, for what fails with more to say than a code. A plain value; the text is
 * meant for the person who made the mistake and names what, where and what was expected. What is
 * cold here and elsewhere keeps the ways that fail out of the code that usually runs. */
#ifndef MCP_BASE_ERR_H
#define MCP_BASE_ERR_H

#include "mcp/error.h"

struct err {
    int code; /* MCP_OK or MCP_E... */
    char text[256];
};

/* Sets both and returns `code`, so that `return err_set(e, MCP_E..., "...")` reads well; `e` may be
 * NULL. */
int err_set(struct err *e, int code, const char *fmt, ...)
    __attribute__((cold, format(printf, 3, 4)));
/* Puts "prefix: " before the text; cuts at the end what no longer fits. */
void err_prefix(struct err *e, const char *fmt, ...) __attribute__((cold, format(printf, 2, 3)));

#endif
