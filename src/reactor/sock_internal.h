/* SPDX-License-Identifier: Apache-2.0 */
/* The socket as sock.c, sock_gentle.c and loop.c see it. */
#ifndef MCP_REACTOR_SOCK_INTERNAL_H
#define MCP_REACTOR_SOCK_INTERNAL_H

#include "base/list.h"
#include "reactor/backend.h"
#include "reactor/outq.h"
#include "reactor/sock.h"

enum sock_state {
    SOCK_CONNECTING,
    SOCK_OPEN,
    SOCK_BROKEN, /* output is dropped; closed() was or will be told */
    SOCK_CLOSED, /* waits for the backend to let go */
};

enum { SOCK_MAGIC = 0x50c4e7 };

struct sock {
    unsigned magic;
    enum sock_state state;
    struct io io;
    struct loop *loop;
    const struct sock_ops *ops;
    void *owner;

    struct outq out;
    uint64_t written;
    uint64_t notify_at; /* sent() is owed when `written` gets there */
    size_t high;
    size_t low;
    bool over_high;
    bool notify;
    bool sending; /* the backend has, or waits to have, what is queued */
    bool fin_wanted;
    bool fin_sent;
    bool ended; /* the peer's FIN was read */
    struct list_link dirty_link;

    /* sock_gentle.c */
    struct list_link gentle_link;
    struct timer gentle_timer;
    int64_t delivered; /* at the last check */
    uint32_t idle_checks;
    uint32_t patience_checks; /* while the peer has not taken all */
    size_t discarded;
};

/* The flush phase: writes what is queued on dirty sockets and tells drained and sent. */
void socks_flush(struct loop *loop);
/* Ends those being closed gently, with one last attempt to write. */
void socks_gentle_fini(struct loop *loop);

#endif
