/* SPDX-License-Identifier: Apache-2.0 */
/* One stream socket on a loop, completion style: bytes are handed over as they arrive, output is queued and flushed
 * once per turn with one writev. The sock belongs to who made it, until sock_close or sock_close_gently.
 * No callback comes after either. All on the loop's thread.
 *
 * state        entered                              left by
 * CONNECTING   sock_connect                         connected, closed
 * OPEN         sock_adopt, connect done             eof is reported once and does not end it; closed; sock_close */
#ifndef MCP_REACTOR_SOCK_H
#define MCP_REACTOR_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "reactor/addr.h"
#include "reactor/loop.h"

struct sock;

struct sock_ops {
    /* The connection stands (sock_connect only). */
    void (*connected)(void *owner);
    /* Bytes arrived; borrowed until this returns. At most SOCK_TURN_BYTES per socket and turn. */
    void (*data)(void *owner, struct slice in);
    /* The peer sends no more (FIN). Reported as soon as the kernel knows it: with reading paused too, though bytes before it may then
     * still be unread (sock_eof_pending). Once. */
    void (*eof)(void *owner);
    /* Output had reached the high mark and has fallen to the low mark. May be NULL. */
    void (*drained)(void *owner);
    /* The bytes queued so far by sock_write have all been written, asked for by sock_notify_sent. May be NULL. */
    void (*sent)(void *owner);
    /* Broken (errno: ECONNRESET, ECONNREFUSED, ETIMEDOUT...). Queued output is lost. The owner still calls sock_close. */
    void (*closed)(void *owner, int error);
};

enum {
    SOCK_READ_BYTES = 64 * 1024,  /* the loop's one read buffer */
    SOCK_TURN_BYTES = 256 * 1024, /* read from one socket in one turn */
};

/* Takes a connected descriptor (made non-blocking). NULL: out of memory, fd closed. */
struct sock *sock_adopt(struct loop *loop, int fd, const struct sock_ops *ops, void *owner);
/* Starts connecting; NULL with errno only when no socket can be made. Failure to connect comes as closed(). No time limit of its own. */
struct sock *sock_connect(struct loop *loop, const struct addr *to, const struct sock_ops *ops, void *owner);

/* Queue output; it is copied. After the connection broke, output is dropped without a word (closed() tells).
 * False: out of memory (the socket is then broken: closed() follows). */
bool sock_write(struct sock *s, struct slice bytes);
/* The content of `bytes` moves into the queue without a copy (when it is large); `bytes` is empty afterwards. */
bool sock_write_take(struct sock *s, struct buf *bytes);
/* Bytes queued and not yet taken by the kernel. */
size_t sock_unsent(const struct sock *s);
/* Total bytes the kernel has taken, for finding out whether a slow reader moves at all. */
uint64_t sock_written(const struct sock *s);
/* drained() comes when unsent output falls to `low` after it was at or over `high`. Default: 1 MiB, 256 KiB. */
void sock_set_marks(struct sock *s, size_t high, size_t low);
bool sock_over_high(const struct sock *s);
/* sent() comes once when what is queued now has been written (in the flush phase of this turn at the earliest). */
void sock_notify_sent(struct sock *s);
/* Writes what is queued now, without waiting for the end of the turn. */
void sock_flush(struct sock *s);

void sock_pause(struct sock *s);
void sock_resume(struct sock *s);

/* Sends FIN behind what is queued. */
void sock_shutdown(struct sock *s);
/* At once; queued output is dropped. `reset`: with RST. Nulls the pointer. */
void sock_close(struct sock **s, bool reset);
/* The owner lets go, the loop finishes: queued output is written (at most 2 s without progress), shutdown(WR), input is discarded for
 * up to 2 s or 16 MiB, closed. So that a last error arrives. Nulls the pointer. */
void sock_close_gently(struct sock **s);

const struct addr *sock_peer(const struct sock *s);
int sock_fd(const struct sock *s);
struct loop *sock_loop(const struct sock *s);

#endif
