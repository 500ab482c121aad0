/* SPDX-License-Identifier: Apache-2.0 */
/* One stream socket on a loop, completion style: bytes are handed over as they arrive, output is
 * queued and flushed once per turn with one writev. The sock belongs to who made it, until
 * sock_close or sock_close_gently. No callback comes after either. All on the loop's thread.
 *
 * state        entered                  left by
 * CONNECTING   sock_connect             connected, closed, sock_close
 * OPEN         sock_adopt, connected    closed, sock_close; not by eof
 * BROKEN       closed                   sock_close */
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
    /* The connection stands (sock_connect only; else NULL). */
    void (*connected)(void *owner);
    /* Bytes arrived; borrowed until this returns. At most SOCK_TURN_BYTES per socket and turn. */
    void (*data)(void *owner, struct slice in);
    /* The peer sends no more (FIN), and every byte before that has been handed over. Once. */
    void (*eof)(void *owner);
    /* The same news while reading is paused: the FIN is there, but bytes before it may be unread;
     * eof() still comes behind them after sock_resume. For who must know at once that the peer has
     * left. Once. May be NULL. */
    void (*hangup)(void *owner);
    /* Output had reached the high mark and has fallen to the low mark. May be NULL. */
    void (*drained)(void *owner);
    /* The bytes queued so far by sock_write have all been written, asked for by sock_notify_sent.
     * May be NULL. */
    void (*sent)(void *owner);
    /* Broken (errno: ECONNRESET, EPIPE, ECONNREFUSED, ETIMEDOUT, ENOMEM...), once; no other
     * callback follows. Queued output is lost. What the peer had sent before is handed over first,
     * unless reading is paused. The owner still calls sock_close. */
    void (*closed)(void *owner, int error);
};

enum {
    SOCK_READ_BYTES = 64 * 1024,  /* the loop's one read buffer */
    SOCK_LITTLE_BYTES = 8 * 1024, /* of a read, where the owner wants little */
    SOCK_TURN_BYTES = 256 * 1024, /* read from one socket in one turn */
    SOCK_PIECES_MAX = 20,         /* of a sock_writev */
    SOCK_DIRECT_BYTES =
        4 * 1024, /* fewer bytes are copied, so that one call takes those of a turn */
};

/* Takes a connected descriptor (made non-blocking) and reads from it; `ops` may be given by
 * sock_own before the loop goes on. NULL: out of memory, fd closed. */
struct sock *sock_adopt(struct loop *loop, int fd, const struct sock_ops *ops, void *owner);
/* From now on it is another's, who is told everything. For who reads the beginning to find out
 * whose it is: sock_pass hands what it read too much, within data(), to the new owner (who may
 * close). */
void sock_own(struct sock *s, const struct sock_ops *ops, void *owner);
void sock_pass(struct sock *s, struct slice rest);
/* Closes a descriptor that a listener gave and that nobody adopts. Any thread that may adopt it. */
void sock_drop(struct loop *loop, int fd);
/* Starts connecting; NULL with errno only when no socket can be made. Failure to connect comes as
 * closed(). No time limit of its own. Output may be queued at once. */
struct sock *sock_connect(struct loop *loop, const struct addr *to, const struct sock_ops *ops,
                          void *owner);

/* Queue output; it is copied (but for what data() hands over just now, which stays where it is
 * until it is written). After the connection broke, output is dropped without a word (closed()
 * tells). False: out of memory (the socket is then broken: closed() follows). */
bool sock_write(struct sock *s, struct slice bytes);
/* The same for some pieces. What is large goes to the kernel at once, uncopied where it has room.
 */
bool sock_writev(struct sock *s, const struct slice *pieces, size_t count);
/* The content of `bytes` moves into the queue without a copy (when it is large); `bytes` is empty
 * afterwards. */
bool sock_write_take(struct sock *s, struct buf *bytes);
/* Bytes queued and not yet taken by the kernel. */
size_t sock_unsent(const struct sock *s);
/* Total bytes the kernel has taken. */
uint64_t sock_written(const struct sock *s);
/* Of those, how many the peer has taken, as far as the kernel knows; a system call. For finding out
 * whether a slow reader moves at all: sock_written need not, the kernel takes more only when a
 * third of its megabytes is free again. On a unix socket only the change means anything (the kernel
 * counts the memory that unread bytes take). */
int64_t sock_delivered(const struct sock *s);
/* drained() comes when unsent output falls to `low` after it was at or over `high`. Default: 1 MiB,
 * 256 KiB. */
void sock_set_marks(struct sock *s, size_t high, size_t low);
/* Output has reached `high` and drained() has not come yet. */
bool sock_over_high(const struct sock *s);
/* sent() comes once when what is queued now has been written (in the flush phase of this turn at
 * the earliest). */
void sock_notify_sent(struct sock *s);
/* Writes what is queued now, without waiting for the end of the turn. */
void sock_flush(struct sock *s);

/* No data() until resumed; hangup() and closed() still come. */
void sock_pause(struct sock *s);
void sock_resume(struct sock *s);
/* The owner may pause behind any byte, and then holds what has been read: from now on that is
 * little at a time. Else more may be under way (256 KiB and above, as the kernel likes). */
void sock_read_little(struct sock *s, bool little);

/* Sends FIN behind what is queued; nothing may be written afterwards. */
void sock_shutdown(struct sock *s);
/* At once; queued output is dropped. `reset`: with RST. Nulls the pointer. */
void sock_close(struct sock **s, bool reset);
/* The owner lets go, the loop finishes: queued output is written, FIN, input is discarded until the
 * peer's FIN (at most 16 MiB), closed; cut when nothing moves towards the peer for 2 s, with RST
 * where output was left. So that a last error arrives though the peer is still sending (closing
 * over unread input makes the kernel send RST, which overtakes it). Nulls the pointer. */
void sock_close_gently(struct sock **s);
/* For the above: as long as the peer has not taken all output it may stand still so long, rather
 * than 2 s (which is the least). */
void sock_set_patience(struct sock *s, uint64_t patience_ms);

int sock_fd(const struct sock *s);
struct loop *sock_loop(const struct sock *s);

#endif
