/* SPDX-License-Identifier: Apache-2.0 */
/* The connection of a command: one exchange after the other, all on one session. Whatever fails is
 * said on standard error here; the caller only hands the exit status on. Ctrl-C is caught from
 * cli_conn_open on. */
#ifndef MCP_CLI_CONN_H
#define MCP_CLI_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include <yyjson.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cli/cli.h"

struct cli_answer;
struct mcp_client;

struct cli_conn {
    struct mcp_client *client;
    const struct cli_common *common;
    bool heard;                /* something that speaks MCP answered */
    struct cli_answer *answer; /* on standard output, ended before an error is said; NULL: none */
    char guessed[128];         /* the model taken where none is known to be able; "" none */
};

/* CLI_EXIT_OK with a connection, or the exit status; cli_conn_close in any case. */
int cli_conn_open(struct cli_conn *c, const struct cli_common *common);
void cli_conn_close(struct cli_conn *c);
/* Cancels what runs; where that is not possible, connects anew, which has the server do so. */
int cli_conn_reopen(struct cli_conn *c);
/* After a pause: connects anew where the connection has ended meanwhile. */
int cli_conn_refresh(struct cli_conn *c);

/* Called for each part that is no error: the object, and its text as it came. */
typedef void (*cli_part_fn)(void *owner, yyjson_val *part, struct slice text);
/* One that prints the text, a line each. */
void cli_print_part(void *owner, yyjson_val *part, struct slice text);

/* Sends the object and hands on the parts until the last. CLI_EXIT_OK, or the exit status; with
 * --json an error part is printed too. After CLI_EXIT_INTERRUPTED the exchange still runs: close or
 * reopen. */
int cli_conn_exchange(struct cli_conn *c, yyjson_mut_doc *request, cli_part_fn fn, void *owner);
/* The same for a request of an operation alone, {"mcp":{"op":"list"}}. */
int cli_conn_ask(struct cli_conn *c, const char *op, cli_part_fn fn, void *owner);
/* The whole of a command that asks that and has no options of its own: its part goes to `print`, or
 * with --json as it came. */
int cli_conn_command(const struct argp *argp, int argc, char **argv, const char *op,
                     cli_part_fn print);
/* Sends a heartbeat; what goes wrong is said. */
int cli_conn_heartbeat(struct cli_conn *c, int timeout_ms, uint64_t *round_trip_us);

/* The first model of the list that has `capability` or tells none at all, else the first (nodes do
 * not know all their models can do); appended to `name`. */
int cli_conn_first_model(struct cli_conn *c, const char *capability, struct buf *name);

/* Ctrl-C ends waiting, not the program; for a command that opens no connection. */
void cli_catch_interrupts(void);
/* Ctrl-C came since the last clear. */
bool cli_interrupted(void);
void cli_interrupted_clear(void);
/* Waits for `fd` to be readable (-1: not for that), at most `ms` (-1: for ever). False when Ctrl-C
 * came, be it just before. */
bool cli_wait(int fd, int ms);

/* The text of a member, empty where it is no text. */
struct slice cli_member_text(yyjson_val *object, const char *key);
/* The value of a member, 0 where it is no number of at least 0. */
uint64_t cli_member_uint(yyjson_val *object, const char *key);

#endif
