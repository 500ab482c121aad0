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
    uint64_t queue_us;      /* that it waited for its turn */
    uint64_t first_part_us; /* 0: none came */
    uint64_t total_us;
};

/* A log that is open, but not used yet. */
struct access_log_next {
    int fd;     /* -1: none */
    char *path; /* NULL: stderr, or off */
    bool on;
};

/* Opens the log at `path`: NULL: stderr; "off": no lines; else a file that is appended to. `next`
 * is then to be used or dropped. MCP_EARGUMENT, or MCP_ENOMEM. */
int access_log_prepare(const char *path, struct access_log_next *next, struct err *e);
/* Where the log goes from now on; others may write meanwhile. This, _open, _reopen and _close are
 * one thread's. */
void access_log_use(struct access_log_next *next);
void access_log_drop(struct access_log_next *next);
/* Both in one; MCP_EARGUMENT, or MCP_ENOMEM: as it was. */
int access_log_open(const char *path, struct err *e);
/* What access_log_open would say, without opening or making anything. */
int access_log_check(const char *path, struct err *e);
/* Any thread; the line is written by this thread's next access_log_flush at the latest. */
void access_log_write(const struct access_record *r);
void access_log_flush(void);
/* At the end of a thread that has written: flushes, and frees what it kept. */
void access_log_release(void);
/* Opens the file anew (after rotation); others may write meanwhile. Where it cannot be, that is
 * logged, and the one that is open stays. */
void access_log_reopen(void);
void access_log_close(void);

#endif
