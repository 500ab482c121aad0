/* SPDX-License-Identifier: Apache-2.0 */
/* The client's socket: connecting to one target after the other, reading, writing; never waits but
 * for the name look-up. Embedded, one thread. */
#ifndef MCP_CLIENT_IO_STREAM_H
#define MCP_CLIENT_IO_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/slice.h"
#include "client/io/address.h"

struct client_stream {
    int fd; /* -1: closed */
    bool connecting;
    bool write_broken; /* what is to be read may still say why */
    struct client_address address;
    struct client_target targets[CLIENT_TARGETS_MAX];
    int target_count;
    int target;              /* the one being tried */
    uint64_t attempt_end_ms; /* of all targets */
    uint64_t target_end_ms;  /* of this one: those behind it get their share */
};

void client_stream_init(struct client_stream *s);
/* Idempotent. */
void client_stream_close(struct client_stream *s);

/* Looks the name up and starts connecting. 0: it goes on, or `connecting` is false again and it
 * stands. MCP_ECONNECT, MCP_ETIMEOUT: closed again. */
int client_stream_open(struct client_stream *s, const struct client_address *address,
                       uint64_t timeout_ms, uint64_t now_ms, struct err *e);
/* While connecting, when the descriptor is writable (`ready`) or target_end_ms has come. As
 * client_stream_open. */
int client_stream_go_on(struct client_stream *s, bool ready, uint64_t now_ms, struct err *e);

/* Bytes read, 0: none there now, MCP_ECLOSED. */
ssize_t client_stream_read(struct client_stream *s, char *to, size_t len, struct err *e);
/* Bytes written, 0: none now. A broken connection shows in reading. */
size_t client_stream_write(struct client_stream *s, struct slice bytes);

#endif
