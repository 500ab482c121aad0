/* SPDX-License-Identifier: Apache-2.0 */
/* A socket between its owner and the backend: the output queue and its marks, the flush at the end
 * of the turn, and who is told what. Memory lasts until the backend has let go, so a callback may
 * close its own socket. */
#include "reactor/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "reactor/loop_internal.h"

enum {
    IOV_COUNT = 64,
    DEFAULT_HIGH_BYTES = 1024 * 1024,
    DEFAULT_LOW_BYTES = 256 * 1024,
};

static struct sock *sock_of(struct io *io)
{
    struct sock *s = (struct sock *)(void *)((char *)io - offsetof(struct sock, io));

    OBJ_CHECK(s, SOCK_MAGIC);
    return s;
}

static const struct backend_ops *backend_of(const struct sock *s)
{
    return s->loop->backend->ops;
}

static void mark_dirty(struct sock *s)
{
    if (!sock_dirty_list_has(s)) {
        sock_dirty_list_push(&s->loop->dirty, s);
    }
}

static void break_sock(struct sock *s, int error)
{
    s->state = SOCK_BROKEN;
    backend_of(s)->fail(s->loop->backend, &s->io, error);
}

/* What the kernel has no room for now may wait for long, and what is received needs its memory.
 * What is under way must stay where it is: there the backend sees to it that some is left. */
static bool own_rest(struct sock *s)
{
    return s->out.leased == 0 || !s->io.send_blocked || s->io.send_kept || outq_own(&s->out);
}

/* Gives the backend what it takes; calls nobody. */
static void write_out(struct sock *s)
{
    struct iovec iov[IOV_COUNT];

    while (s->state == SOCK_OPEN && !s->sending && s->out.len > 0) {
        size_t given;
        int count = outq_iov(&s->out, iov, IOV_COUNT, &given);
        ssize_t n = backend_of(s)->send(s->loop->backend, &s->io, iov, count);

        if (n < 0) {
            break_sock(s, (int)-n);
            return;
        }
        s->sending = (size_t)n < given;
        if (n > 0) {
            outq_consume(&s->out, (size_t)n);
            s->written += (size_t)n;
        }
    }
    if (!own_rest(s)) {
        break_sock(s, ENOMEM);
    }
    if (s->state == SOCK_OPEN && s->out.len == 0 && s->fin_wanted && !s->fin_sent) {
        s->fin_sent = true;
        backend_of(s)->shutdown(s->loop->backend, &s->io);
    }
}

static void tell_progress(struct sock *s)
{
    if (s->state == SOCK_OPEN && s->over_high && s->out.len <= s->low) {
        s->over_high = false;
        if (s->ops->drained != NULL) {
            s->ops->drained(s->owner);
        }
    }
    if (s->state == SOCK_OPEN && s->notify && s->written >= s->notify_at) {
        s->notify = false;
        if (s->ops->sent != NULL) {
            s->ops->sent(s->owner);
        }
    }
}

/* --- what the backend tells
 * ------------------------------------------------------------------------- */

static void on_connected(struct io *io)
{
    struct sock *s = sock_of(io);

    if (s->state == SOCK_CONNECTING) {
        s->state = SOCK_OPEN;
        mark_dirty(s);
        s->ops->connected(s->owner);
    }
}

static void on_received(struct io *io, struct slice in)
{
    struct sock *s = sock_of(io);

    s->ops->data(s->owner, in);
}

static void on_ended(struct io *io)
{
    struct sock *s = sock_of(io);

    s->ended = true;
    s->ops->eof(s->owner);
}

static void on_hangup(struct io *io)
{
    struct sock *s = sock_of(io);

    if (s->ops->hangup != NULL) {
        s->ops->hangup(s->owner);
    }
}

static void on_sent(struct io *io, size_t taken)
{
    struct sock *s = sock_of(io);

    outq_consume(&s->out, taken);
    s->written += taken;
    s->sending = false;
    write_out(s);
    tell_progress(s);
}

static void on_failed(struct io *io, int error)
{
    struct sock *s = sock_of(io);

    s->state = SOCK_BROKEN;
    s->ops->closed(s->owner, error);
}

static void on_released(struct io *io)
{
    struct sock *s = sock_of(io);

    outq_clear(&s->out);
    s->magic = 0;
    free(s);
}

static const struct io_ops stream_ops = {
    .connected = on_connected,
    .received = on_received,
    .ended = on_ended,
    .hangup = on_hangup,
    .sent = on_sent,
    .failed = on_failed,
    .released = on_released,
};

/* --- making
 * ------------------------------------------------------------------------------------------ */

static struct sock *sock_new(struct loop *loop, int fd, const struct sock_ops *ops, void *owner)
{
    struct sock *s = calloc(1, sizeof(*s));

    if (s != NULL) {
        s->magic = SOCK_MAGIC;
        s->io = (struct io){.ops = &stream_ops, .kind = IO_STREAM, .fd = fd};
        s->loop = loop;
        s->ops = ops;
        s->owner = owner;
        s->high = DEFAULT_HIGH_BYTES;
        s->low = DEFAULT_LOW_BYTES;
    }
    return s;
}

struct sock *sock_adopt(struct loop *loop, int fd, const struct sock_ops *ops, void *owner)
{
    struct backend *b = loop->backend;
    struct sock *s = sock_new(loop, fd, ops, owner);
    int rv = s == NULL ? -ENOMEM : b->ops->open(b, &s->io);

    if (rv < 0) {
        sock_drop(loop, fd);
        free(s);
        errno = -rv;
        return NULL;
    }
    s->state = SOCK_OPEN;
    b->ops->recv_start(b, &s->io);
    return s;
}

void sock_own(struct sock *s, const struct sock_ops *ops, void *owner)
{
    OBJ_CHECK(s, SOCK_MAGIC);
    s->ops = ops;
    s->owner = owner;
}

void sock_pass(struct sock *s, struct slice rest)
{
    OBJ_CHECK(s, SOCK_MAGIC);
    if (rest.len > 0) {
        s->ops->data(s->owner, rest);
    }
}

void sock_drop(struct loop *loop, int fd)
{
    struct backend *b = loop->backend;

    if (b->ops->drop != NULL) {
        b->ops->drop(b, fd);
    } else {
        (void)close(fd); /* nothing was written */
    }
}

struct sock *sock_connect(struct loop *loop, const struct addr *to, const struct sock_ops *ops,
                          void *owner)
{
    struct backend *b = loop->backend;
    struct sock *s = sock_new(loop, -1, ops, owner);
    int rv = s == NULL ? -ENOMEM : b->ops->connect(b, &s->io, to);

    if (rv < 0) {
        free(s);
        errno = -rv;
        return NULL;
    }
    s->state = SOCK_CONNECTING;
    b->ops->recv_start(b, &s->io);
    return s;
}

/* --- output
 * ------------------------------------------------------------------------------------------ */

static bool queued(struct sock *s, bool ok)
{
    if (!ok) {
        break_sock(s, ENOMEM);
        return false;
    }
    s->over_high = s->over_high || s->out.len >= s->high;
    if (!s->sending && s->state == SOCK_OPEN) {
        mark_dirty(s);
    }
    return true;
}

/* What was just received is not copied, where it can be written by the end of the turn. */
static bool append(struct sock *s, const struct slice *pieces, size_t count)
{
    const struct leased *in = &s->loop->backend->in;
    bool ok = true;

    if (in->lease != NULL && s->state == SOCK_OPEN && !s->sending) {
        return outq_append_leased(&s->out, pieces, count, in);
    }
    for (size_t i = 0; ok && i < count; i++) {
        ok = outq_append(&s->out, pieces[i]);
    }
    return ok;
}

bool sock_write(struct sock *s, struct slice bytes)
{
    OBJ_CHECK(s, SOCK_MAGIC);
    ASSERT(!s->fin_wanted);
    return s->state == SOCK_BROKEN || queued(s, append(s, &bytes, 1));
}

bool sock_write_take(struct sock *s, struct buf *bytes)
{
    OBJ_CHECK(s, SOCK_MAGIC);
    ASSERT(!s->fin_wanted);
    if (s->state == SOCK_BROKEN) {
        buf_release(bytes);
        return true;
    }
    return queued(s, outq_append_take(&s->out, bytes));
}

/* Whether bytes of the owner's can be sent as they are: the backend holds none that it did not
 * take. */
static bool can_send_directly(const struct sock *s)
{
    return s->state == SOCK_OPEN && !s->sending && backend_of(s)->send_is_over;
}

/* What is queued, then the pieces, in one call; what is not taken is queued. */
static bool send_directly(struct sock *s, const struct slice *pieces, size_t count)
{
    struct iovec iov[IOV_COUNT];
    size_t given;
    size_t taken;
    size_t had = s->out.len;
    int used = outq_iov(&s->out, iov, IOV_COUNT - SOCK_PIECES_MAX, &given);
    bool ok = true;
    ssize_t n;

    ASSERT(count <= SOCK_PIECES_MAX);
    for (size_t i = 0; given >= had && i < count; i++) {
        char *at;

        memcpy(&at, &pieces[i].ptr, sizeof(at)); /* it is not written to */
        iov[used++] = (struct iovec){at, pieces[i].len};
        given += pieces[i].len;
    }
    n = backend_of(s)->send(s->loop->backend, &s->io, iov, used);
    if (n < 0) {
        break_sock(s, (int)-n);
        return true;
    }
    s->sending = (size_t)n < given;
    s->written += (size_t)n;
    taken = (size_t)n > had ? (size_t)n - had : 0;
    outq_consume(&s->out, (size_t)n - taken);
    for (size_t i = 0; ok && i < count; i++) {
        size_t gone = taken < pieces[i].len ? taken : pieces[i].len;

        taken -= gone;
        ok = outq_append(&s->out, slice_skip(pieces[i], gone));
    }
    return queued(s, ok && own_rest(s));
}

bool sock_writev(struct sock *s, const struct slice *pieces, size_t count)
{
    size_t total = 0;

    OBJ_CHECK(s, SOCK_MAGIC);
    ASSERT(!s->fin_wanted);
    if (s->state == SOCK_BROKEN) {
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        total += pieces[i].len;
    }
    if (total >= SOCK_DIRECT_BYTES && can_send_directly(s)) {
        return send_directly(s, pieces, count);
    }
    return queued(s, append(s, pieces, count));
}

size_t sock_unsent(const struct sock *s)
{
    return s->out.len;
}

uint64_t sock_written(const struct sock *s)
{
    return s->written;
}

int64_t sock_delivered(const struct sock *s)
{
    int64_t written = (int64_t)s->written;

    if (s->state != SOCK_OPEN) {
        return written;
    }
    return written - (int64_t)backend_of(s)->unacked(s->loop->backend, &s->io);
}

void sock_set_marks(struct sock *s, size_t high, size_t low)
{
    ASSERT(low < high);
    s->high = high;
    s->low = low;
    s->over_high = s->over_high || s->out.len >= high;
    if (s->over_high && !s->sending && s->state == SOCK_OPEN) {
        mark_dirty(s);
    }
}

bool sock_over_high(const struct sock *s)
{
    return s->over_high;
}

void sock_notify_sent(struct sock *s)
{
    s->notify = true;
    s->notify_at = s->written + s->out.len;
    if (!s->sending && s->state == SOCK_OPEN) {
        mark_dirty(s);
    }
}

void sock_flush(struct sock *s)
{
    write_out(s); /* it stays on the dirty list: what there is to tell is told in the flush phase */
}

void socks_flush(struct loop *loop)
{
    size_t count = loop->dirty.count;
    struct sock *s;

    loop->backend->batching = count >= loop->backend->batch_min;
    /* What callbacks queue here goes out in the next turn. */
    while (count-- > 0 && (s = sock_dirty_list_pop(&loop->dirty)) != NULL) {
        write_out(s);
        tell_progress(s);
    }
    loop->backend->batching = false;
}

/* --- input and ends
 * ---------------------------------------------------------------------------------- */

void sock_pause(struct sock *s)
{
    backend_of(s)->recv_stop(s->loop->backend, &s->io);
}

void sock_resume(struct sock *s)
{
    backend_of(s)->recv_start(s->loop->backend, &s->io);
}

void sock_read_little(struct sock *s, bool little)
{
    if (s->io.little != little) {
        s->io.little = little;
        backend_of(s)->recv_changed(s->loop->backend, &s->io);
    }
}

void sock_shutdown(struct sock *s)
{
    s->fin_wanted = true;
    if (!s->sending && s->state == SOCK_OPEN) {
        mark_dirty(s);
    }
}

void sock_close(struct sock **sp, bool reset)
{
    struct sock *s = *sp;

    if (s == NULL) {
        return;
    }
    OBJ_CHECK(s, SOCK_MAGIC);
    *sp = NULL;
    ASSERT(s->state != SOCK_CLOSED);
    s->state = SOCK_CLOSED;
    if (sock_dirty_list_has(s)) {
        sock_dirty_list_remove(&s->loop->dirty, s);
    }
    if (sock_gentle_list_has(s)) {
        timer_cancel(s->loop, &s->gentle_timer);
        sock_gentle_list_remove(&s->loop->gentle, s);
    }
    backend_of(s)->close(s->loop->backend, &s->io, reset);
}

int sock_fd(const struct sock *s)
{
    return s->io.fd;
}

struct loop *sock_loop(const struct sock *s)
{
    return s->loop;
}
