/* SPDX-License-Identifier: Apache-2.0 */
/* The network as its files see it: virtual_net.c (time, events, loops, addresses), virtual_conn.c
 * (connections), virtual_listener.c, virtual.c (the backend). The network owns connections by
 * number; a number that is gone is a connection that both sides have closed, and events for it mean
 * nothing. */
#ifndef MCP_REACTOR_VIRTUAL_INTERNAL_H
#define MCP_REACTOR_VIRTUAL_INTERNAL_H

#include "base/buf.h"
#include "base/list.h"
#include "reactor/virtual.h"

LIST_DECLARE(virtual_io_list, struct io, link);

enum {
    VIRTUAL_FD = 1 << 24, /* no descriptor of the kernel: close() does no harm */
    VIRTUAL_LISTENER_FD = 1 << 30,
    VIRTUAL_EVENTS_MAX = 4, /* event descriptors of a loop: mailbox, signals */
};

enum virtual_event_kind {
    VIRTUAL_SYN,       /* at the listener */
    VIRTUAL_CONNECTED, /* at the client, */
    VIRTUAL_NOT_CONNECTED,
    VIRTUAL_ARRIVE, /* bytes or a FIN at `side` */
    VIRTUAL_RESET,  /* an RST at `side` */
    VIRTUAL_ROOM,   /* `side` may write again after a short write */
    VIRTUAL_LATE,   /* a late write of `side` is taken */
    VIRTUAL_READ,   /* `side` may read again after a short read */
};

struct virtual_event {
    uint64_t at_us;
    uint64_t order;
    enum virtual_event_kind kind;
    uint32_t conn;
    int side; /* or the error of VIRTUAL_NOT_CONNECTED */
};

/* One write, or a FIN, on its way. */
struct virtual_flight {
    uint64_t end; /* position behind its last byte */
    uint64_t at_us;
    bool fin;
};

/* What comes in at one end. Positions are bytes since the connection stands: handed <= arrived <=
 * taken. */
struct virtual_pipe {
    struct buf bytes; /* handed..taken */
    uint64_t taken;
    uint64_t arrived;
    uint64_t handed;
    struct virtual_flight *flights;
    size_t flight_first;
    size_t flight_count;
    size_t flight_cap;
    uint64_t free_at_us; /* when the line has sent what it was given */
    uint64_t last_at_us; /* when what was given last arrives */
    uint32_t send_bytes; /* most under way */
    uint32_t receive_bytes;
    bool fin_sent;
    bool fin_arrived;
};

enum virtual_end_state {
    VIRTUAL_NONE,    /* the connection was not made yet, or never */
    VIRTUAL_WAITING, /* to be accepted or opened */
    VIRTUAL_OPEN,
    VIRTUAL_CLOSED,
};

struct virtual_backend;

struct virtual_end {
    enum virtual_end_state state;
    struct virtual_pipe in;
    struct io *io; /* of an open end */
    struct virtual_backend *backend;
    struct addr addr;
    bool connected;
    int error; /* it broke, or could not connect */
    bool read_later;
    bool write_later;
    bool sent_due; /* `sent` is to be told, of so many bytes */
    size_t sent_bytes;
    struct iovec *late; /* a write that is not taken yet */
    int late_count;
};

struct virtual_conn {
    uint32_t id;
    struct virtual_end ends[2]; /* client, server */
    struct addr to;
    uint32_t latency_us;
    bool is_unix;
    bool silent;
};

struct virtual_listener {
    struct virtual_listener *next;
    struct virtual_backend *backend;
    struct io *io;
    struct addr at;
    uint32_t *waiting; /* connections to be accepted, oldest first */
    size_t waiting_count;
    size_t waiting_cap;
};

struct virtual_rule {
    struct addr at;
    enum virtual_reach reach;
};

struct virtual_backend {
    struct backend base;
    struct virtual_net *net;
    struct virtual_backend *next;
    struct loop *loop; /* when virtual_loop_new made it */
    struct virtual_io_list ready;
    struct virtual_io_list closed;
    struct io *events[VIRTUAL_EVENTS_MAX];
    bool rung[VIRTUAL_EVENTS_MAX];
    size_t event_count;
};

struct virtual_net {
    struct virtual_profile profile;
    uint64_t random;      /* the network's own, */
    uint64_t test_random; /* and virtual_net_random's */
    uint64_t now_us;
    uint64_t trace;
    FILE *log;
    bool driven; /* by virtual_net_run, which moves the clock */
    struct virtual_backend *backends;

    struct virtual_event *events; /* a heap */
    size_t event_count;
    size_t event_cap;
    uint64_t event_order;

    struct virtual_conn **conns; /* by number; NULL: gone */
    uint32_t conn_count;
    uint32_t conn_cap;
    size_t open;

    struct virtual_listener *listeners;
    int next_listener_fd;
    uint16_t next_port;
    uint32_t client_hosts;

    struct virtual_rule *rules;
    size_t rule_count;
};

/* --- virtual_net.c */

/* The network for a loop that is being made. */
struct virtual_net *virtual_latest(void);

/* More memory, or the end of the process. */
void *virtual_grow(void *array, size_t count, size_t size);
uint64_t virtual_draw(struct virtual_net *net, uint64_t below);
/* min..max; a max below min counts as min. */
uint64_t virtual_draw_in(struct virtual_net *net, uint64_t min, uint64_t max);
bool virtual_chance(struct virtual_net *net, uint16_t of_10000);
void virtual_event_add(struct virtual_net *net, uint64_t delay_us, enum virtual_event_kind kind,
                       uint32_t conn, int side);
/* Moves the clock to `to_us` and lets happen what happens until then. */
void virtual_advance(struct virtual_net *net, uint64_t to_us);
/* UINT64_MAX: nothing. */
uint64_t virtual_next_us(const struct virtual_net *net);
void virtual_note(struct virtual_net *net, const char *what, int fd, uint64_t value,
                  struct slice bytes);
struct virtual_listener *virtual_listener_at(const struct virtual_net *net, const struct addr *to);
enum virtual_reach virtual_reach_of(const struct virtual_net *net, const struct addr *to);

/* --- virtual_conn.c */

struct virtual_conn *virtual_conn_new(struct virtual_net *net, const struct addr *to);
/* NULL: no such connection any more. `side` is set. */
struct virtual_conn *virtual_conn_of(const struct virtual_net *net, int fd, int *side);
static inline int virtual_conn_fd(const struct virtual_conn *c, int side)
{
    return VIRTUAL_FD + (int)c->id * 2 + side;
}
void virtual_conn_event(struct virtual_net *net, const struct virtual_event *ev);
/* Bytes taken, or -errno. */
ssize_t virtual_conn_send(struct virtual_net *net, struct virtual_conn *c, int side,
                          const struct iovec *iov, int count);
void virtual_conn_fin(struct virtual_net *net, struct virtual_conn *c, int side);
/* `n` bytes of what had arrived are handed over. */
void virtual_conn_handed(struct virtual_net *net, struct virtual_conn *c, int side, size_t n);
/* Frees it with the second end. */
void virtual_conn_close(struct virtual_net *net, struct virtual_conn *c, int side, bool reset);
void virtual_conn_free(struct virtual_net *net, struct virtual_conn *c);
/* There is news for the end. */
void virtual_end_wake(struct virtual_end *e);

/* --- virtual_listener.c */

/* 0 or -EADDRINUSE. */
int virtual_listener_open(struct virtual_backend *v, struct io *io, const struct addr *at,
                          struct addr *bound);
/* Tells of those that wait. */
void virtual_listener_event(struct virtual_backend *v, struct io *io);
/* Who waits is reset. */
void virtual_listener_close(struct virtual_net *net, const struct io *io);

#endif
