/* SPDX-License-Identifier: Apache-2.0 */
/* Closing so that the last message arrives: a socket without an owner, on the loop's list, that is
 * its own owner. */
#include "base/check.h"
#include "base/counter.h"
#include "reactor/loop_internal.h"

enum {
    PATIENCE_MS = 2000,
    DISCARD_BYTES = 16 * 1024 * 1024,
};

static void end(struct sock *s, bool cut)
{
    if (cut) {
        counter_add(COUNTER_GENTLE_CLOSE_CUT, 1);
    }
    sock_close(&s, false);
}

static void discard(void *owner, struct slice in)
{
    struct sock *s = owner;

    s->discarded += in.len;
    if (s->discarded > DISCARD_BYTES) {
        end(s, true);
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
    timer_arm(s->loop, &s->gentle_timer, PATIENCE_MS);
}

static void on_closed(void *owner, int error)
{
    (void)error; /* nobody is left to tell */
    end(owner, false);
}

static void on_timer(void *owner)
{
    struct sock *s = owner;
    uint64_t idle_us = s->loop->now_us - s->progress_us;
    uint64_t limit_us = (uint64_t)PATIENCE_MS * 1000;

    if (s->fin_sent || idle_us >= limit_us) {
        end(s, true);
    } else {
        timer_arm(s->loop, &s->gentle_timer, (limit_us - idle_us + 999) / 1000);
    }
}

static const struct sock_ops gentle_ops = {
    .data = discard,
    .eof = on_eof,
    .sent = on_sent,
    .closed = on_closed,
};

void sock_close_gently(struct sock **sp)
{
    struct sock *s = *sp;

    if (s == NULL || s->state != SOCK_OPEN) {
        sock_close(sp, false);
        return;
    }
    *sp = NULL;
    s->ops = &gentle_ops;
    s->owner = s;
    s->progress_us = s->loop->now_us;
    sock_gentle_list_push(&s->loop->gentle, s);
    timer_init(&s->gentle_timer, on_timer, s);
    timer_arm(s->loop, &s->gentle_timer, PATIENCE_MS);
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
