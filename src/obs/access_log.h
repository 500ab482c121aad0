/* SPDX-License-Identifier: Apache-2.0 */
/* One line per exchange (logfmt). Never payloads, prompts or keys. */
#ifndef MCP_OBS_ACCESS_LOG_H
#define MCP_OBS_ACCESS_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct access_record {
    uint64_t wall_us;
    const char *id;
    const char *face; /* "mcp", "http" */
    const char *client;
    const char *key;   /* name of the key; "" none */
    const char *op;    /* or method and path */
    struct slice path; /* HTTP, without its query */
    struct slice model;
    const char *node;
    const char *code; /* "ok" or the error's name */
    unsigned status;  /* HTTP: the client's; MCP: the node's */
    uint64_t parts;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t first_part_us; /* 0: none came */
    uint64_t total_us;
};

/* Where the log goes from now on: NULL: stderr; "off": no lines; else a file that is appended to.
 * Others may write meanwhile; this, _reopen and _close are one thread's. MCP_EARGUMENT: as it was.
 */
int access_log_open(const char *path, struct err *e);
/* What access_log_open would say, without opening or making anything. */
int access_log_check(const char *path, struct err *e);
/* Any thread; the line is written by this thread's next access_log_flush at the latest. */
void access_log_write(const struct access_record *r);
void access_log_flush(void);
/* At the end of a thread that has written: flushes, and frees what it kept. */
void access_log_release(void);
/* Opens the file anew (after rotation); others may write meanwhile. */
void access_log_reopen(void);
void access_log_close(void);

#endif
