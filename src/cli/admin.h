/* SPDX-License-Identifier: Apache-2.0 */
/* A page of the gateway's admin listener, for the commands that want one, and the options --admin,
 * --key and --json of those. What fails is said on standard error here. Blocking. */
#ifndef MCP_CLI_ADMIN_H
#define MCP_CLI_ADMIN_H

#include <argp.h>
#include <signal.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

struct cli_admin {
    const char *address;
    const char *address_from; /* the option or variable that gave it */
    const char *key;          /* NULL: none */
    bool json;
};

/* As the child of a command's parser, whose input is then a struct cli_admin: also sets the
 * defaults. */
extern const struct argp_child cli_admin_children[];

/* From MCPGATE_ADMIN and MCPGATE_KEY, else 127.0.0.1:6060 and none. */
void cli_admin_defaults(struct cli_admin *a);
/* CLI_EXIT_OK with status and body of the answer, or the exit status. */
int cli_admin_get(const struct cli_admin *a, const char *path, unsigned *status, struct buf *body);
/* The same with another method; `json` is sent where it is not empty. */
int cli_admin_ask(const struct cli_admin *a, const char *method, const char *path,
                  struct slice json, unsigned *status, struct buf *body);

struct cli_admin_follow {
    /* The body as it comes, or nothing: each second at least, and after a signal. False: enough. */
    bool (*take)(void *owner, struct slice bytes);
    void *owner;
    const sigset_t *signals; /* blocked while it waits, and no others */
    bool ended;              /* by the gateway, which is not said here */
};
/* Gets a page that goes on until somebody has enough. CLI_EXIT_OK: `take` had, or else the exit
 * status. */
int cli_admin_follow(const struct cli_admin *a, const char *path, struct cli_admin_follow *f);
/* Appends a name as a segment of a path: it may be a URL's host, or hold slashes. */
void cli_admin_append_name(struct buf *path, const char *name);
/* Says what an answer that is none of success means; `error` is its text, if it has one. An exit
 * status. */
int cli_admin_refused(const struct cli_admin *a, unsigned status, struct slice error);

#endif
