/* SPDX-License-Identifier: Apache-2.0 */
/* Closing so that the last message arrives: a socket without an owner, on the loop's list, that is
 * its own owner. */
#include "base/check.h"
#include "base/counter.h"
#include "reactor/loop_internal.h"

enum {
    CHECK_MS = 500,
    CHECKS = 4, /* without progress: 2 s */
    DISCARD_BYTES = 16 * 1024 * 1024,
};

static void end(struct sock *s, bool cut)
{
    if (cut) {
        counter_add(COUNTER_GENTLE_CLOSE_CUT, 1);
    }
    /* A FIN behind half of the output would pass for its end. */
    sock_close(&s, cut && s->out.len > 0);
}

static void discard(void *owner, struct slice in)
{
    struct sock *s = owner;

    s->discarded += in.len;
    if (s->discarded > DISCARD_BYTES) {
        /* Closing now would reset the connection, and the peer, which has hardly had time to look,
         * would lose the last message. It can wait in its send until the 2 s are over. */
        sock_pause(s);
    }
}

static void on_eof(void *owner)
{
    struct sock *s = owner;

    if (s->fin_sent) {
        end(s, false);
    }
}

/* All output and the FIN are out. */
static void on_sent(void *owner)
{
    struct sock *s = owner;

    if (s->ended) {
        end(s, false);
        return;
    }
    s->idle_checks = 0;
}

static void on_closed(void *owner, int error)
{
    (void)error; /* nobody is left to tell */
    end(owner, false);
}

/* The kernel may have taken all of it long before the peer does. */
static void check_progress(void *owner)
{
    struct sock *s = owner;
    int64_t delivered = sock_delivered(s);
    bool all = s->out.len == 0 && delivered == (int64_t)s->written;

    s->idle_checks = delivered != s->delivered ? 0 : s->idle_checks + 1;
    s->delivered = delivered;
    if (s->idle_checks >= (all || s->patience_checks < CHECKS ? CHECKS : s->patience_checks)) {
        end(s, true);
    } else {
        timer_arm(s->loop, &s->gentle_timer, CHECK_MS);
    }
}

static const struct sock_ops gentle_ops = {
    .data = discard,
    .eof = on_eof,
    .sent = on_sent,
    .closed = on_closed,
};

void sock_set_patience(struct sock *s, uint64_t patience_ms)
{
    s->patience_checks =
        patience_ms / CHECK_MS > UINT32_MAX ? UINT32_MAX : (uint32_t)(patience_ms / CHECK_MS);
}

void sock_close_gently(struct sock **sp)
{
    struct sock *s = *sp;

    /* Behind the peer's FIN there is no input over which closing would reset the connection. */
    if (s != NULL && s->ended) {
        sock_flush(s);
    }
    if (s == NULL || s->state != SOCK_OPEN || (s->ended && s->out.len == 0)) {
        sock_close(sp, false);
        return;
    }
    *sp = NULL;
    s->ops = &gentle_ops;
    s->owner = s;
    sock_gentle_list_push(&s->loop->gentle, s);
    timer_init(&s->gentle_timer, check_progress, s);
    timer_arm(s->loop, &s->gentle_timer, CHECK_MS);
    sock_shutdown(s);
    sock_notify_sent(s);
    /* Reads from now on: a peer that reads only after it has sent would never get to our output. */
    sock_resume(s);
}

void socks_gentle_fini(struct loop *loop)
{
    struct sock *s;

    while ((s = sock_gentle_list_first(&loop->gentle)) != NULL) {
        sock_flush(s);
        sock_close(&s, false);
    }
}
