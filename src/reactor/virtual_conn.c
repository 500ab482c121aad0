/* SPDX-License-Identifier: Apache-2.0 */
/* A connection: two ends, each with what comes in there. Bytes are under way until they arrive,
 * arrive only while the receiver has room for them, and make room for the sender when they do. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "reactor/virtual_internal.h"

enum { BUFFER_BYTES = 192 * 1024, CLIENT_PORT = 32768, CLIENT_PORTS = 28000 };

/* --- making and freeing */

static struct addr client_addr(const struct addr *to, uint32_t id, uint32_t hosts)
{
    in_port_t port = htons((uint16_t)(CLIENT_PORT + id % CLIENT_PORTS));
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK + id % hosts),
                             .sin_port = port};
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = port};
    struct addr a = {.len = sizeof(sa_family_t), .ss.ss_family = AF_UNIX};

    if (to->ss.ss_family == AF_INET) {
        memcpy(&a.ss, &in, sizeof(in));
        a.len = sizeof(in);
    } else if (to->ss.ss_family == AF_INET6) {
        memcpy(&a.ss, &in6, sizeof(in6));
        a.len = sizeof(in6);
    }
    return a;
}

struct virtual_conn *virtual_conn_new(struct virtual_net *net, const struct addr *to)
{
    const struct virtual_profile *p = &net->profile;
    struct virtual_conn *c = xcalloc(1, sizeof(*c));

    if (net->conn_count == net->conn_cap) {
        net->conn_cap = net->conn_cap == 0 ? 64 : net->conn_cap * 2;
        net->conns = virtual_grow(net->conns, net->conn_cap, sizeof(struct virtual_conn *));
    }
    c->id = net->conn_count++;
    net->conns[c->id] = c;
    c->to = *to;
    c->is_unix = to->ss.ss_family == AF_UNIX;
    c->latency_us = (uint32_t)virtual_draw_in(net, p->latency_min_us, p->latency_max_us);
    c->ends[0].addr = client_addr(to, c->id, net->client_hosts);
    c->ends[1].addr = *to;
    for (int side = 0; side < 2; side++) {
        struct virtual_pipe *in = &c->ends[side].in;

        in->send_bytes = p->send_max_bytes == 0
                             ? BUFFER_BYTES
                             : (uint32_t)virtual_draw_in(net, p->send_min_bytes, p->send_max_bytes);
        in->receive_bytes =
            p->receive_max_bytes == 0
                ? BUFFER_BYTES
                : (uint32_t)virtual_draw_in(net, p->receive_min_bytes, p->receive_max_bytes);
    }
    return c;
}

void virtual_conn_free(struct virtual_net *net, struct virtual_conn *c)
{
    for (int side = 0; side < 2; side++) {
        buf_fini(&c->ends[side].in.bytes);
        free(c->ends[side].in.flights);
        free(c->ends[side].late);
    }
    net->conns[c->id] = NULL;
    free(c);
}

struct virtual_conn *virtual_conn_of(const struct virtual_net *net, int fd, int *side)
{
    uint32_t id = (uint32_t)(fd - VIRTUAL_FD) / 2;

    if (fd < VIRTUAL_FD || id >= net->conn_count) {
        return NULL;
    }
    *side = (fd - VIRTUAL_FD) % 2;
    return net->conns[id];
}

void virtual_end_wake(struct virtual_end *e)
{
    if (e->io != NULL && !virtual_io_list_has(e->io)) {
        virtual_io_list_push(&e->backend->ready, e->io);
    }
}

void virtual_net_pair(struct virtual_net *net, int family, int fds[2])
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)};
    struct addr to = {.len = sizeof(sa_family_t), .ss.ss_family = AF_UNIX};
    struct virtual_conn *c;

    if (family == AF_INET) {
        memcpy(&to.ss, &in, sizeof(in));
        to.len = sizeof(in);
    }
    c = virtual_conn_new(net, &to);
    for (int side = 0; side < 2; side++) {
        c->ends[side].state = VIRTUAL_WAITING;
        fds[side] = virtual_conn_fd(c, side);
        net->open++;
    }
}

void virtual_net_silence(struct virtual_net *net, int fd)
{
    int side;
    struct virtual_conn *c = virtual_conn_of(net, fd, &side);

    ASSERT(c != NULL);
    c->silent = true;
}

/* --- bytes on their way */

static uint64_t one_way_us(struct virtual_net *net, const struct virtual_conn *c)
{
    return c->latency_us + virtual_draw_in(net, 0, net->profile.jitter_us);
}

/* The next thing given to the line, behind all others. */
static void take_off(struct virtual_net *net, struct virtual_conn *c, int to, size_t n, bool fin)
{
    struct virtual_pipe *in = &c->ends[to].in;
    uint64_t rate = net->profile.bytes_per_s;
    uint64_t at = net->now_us;
    size_t last;

    if (in->flight_count == in->flight_cap) {
        size_t cap = in->flight_cap == 0 ? 8 : in->flight_cap * 2;
        struct virtual_flight *grown = xcalloc(cap, sizeof(*grown));

        for (size_t i = 0; i < in->flight_count; i++) {
            grown[i] = in->flights[(in->flight_first + i) % in->flight_cap];
        }
        free(in->flights);
        in->flights = grown;
        in->flight_first = 0;
        in->flight_cap = cap;
    }
    if (rate > 0) {
        at = in->free_at_us > at ? in->free_at_us : at;
        at += (uint64_t)n * 1000000 / rate;
        in->free_at_us = at;
    }
    at += one_way_us(net, c);
    in->last_at_us = at > in->last_at_us ? at : in->last_at_us;
    last = (in->flight_first + in->flight_count++) % in->flight_cap;
    in->flights[last] =
        (struct virtual_flight){.end = in->taken, .at_us = in->last_at_us, .fin = fin};
    virtual_event_add(net, in->last_at_us - net->now_us, VIRTUAL_ARRIVE, c->id, to);
}

static size_t room(const struct virtual_pipe *in)
{
    uint64_t under_way = in->taken - in->arrived;

    return under_way >= in->send_bytes ? 0 : (size_t)(in->send_bytes - under_way);
}

static size_t iov_bytes(const struct iovec *iov, int count)
{
    size_t n = 0;

    for (int i = 0; i < count; i++) {
        n += iov[i].iov_len;
    }
    return n;
}

/* Both sides hear of it, each when it gets there. */
static void break_conn(struct virtual_net *net, struct virtual_conn *c)
{
    for (int side = 0; side < 2; side++) {
        virtual_event_add(net, one_way_us(net, c), VIRTUAL_RESET, c->id, side);
    }
}

static void give(struct virtual_net *net, struct virtual_conn *c, int to, const struct iovec *iov,
                 size_t n)
{
    struct virtual_pipe *in = &c->ends[to].in;
    size_t left = n;

    for (; left > 0; iov++) {
        size_t part = iov->iov_len < left ? iov->iov_len : left;
        bool ok = buf_append(&in->bytes, slice_of(iov->iov_base, part));

        ASSERT(ok);
        left -= part;
    }
    in->taken += n;
    take_off(net, c, to, n, false);
    if (virtual_chance(net, net->profile.silent)) {
        c->silent = true;
    }
    if (virtual_chance(net, net->profile.reset)) {
        break_conn(net, c);
    }
}

static void defer_write(struct virtual_net *net, struct virtual_conn *c, int side,
                        enum virtual_event_kind kind)
{
    c->ends[side].write_later = true;
    virtual_event_add(net, virtual_draw_in(net, 0, net->profile.jitter_us + 10), kind, c->id, side);
}

ssize_t virtual_conn_send(struct virtual_net *net, struct virtual_conn *c, int side,
                          const struct iovec *iov, int count)
{
    struct virtual_end *e = &c->ends[side];
    struct virtual_end *peer = &c->ends[1 - side];
    size_t given = iov_bytes(iov, count);
    size_t n;

    if (e->error != 0 || (c->is_unix && peer->state == VIRTUAL_CLOSED)) {
        return -EPIPE;
    }
    if (virtual_chance(net, net->profile.late_write)) {
        e->late = virtual_grow(e->late, (size_t)count, sizeof(*iov));
        memcpy(e->late, iov, (size_t)count * sizeof(*iov));
        e->late_count = count;
        e->io->send_blocked = e->io->send_kept = true;
        defer_write(net, c, side, VIRTUAL_LATE);
        return 0;
    }
    n = room(&peer->in);
    n = given < n ? given : n;
    if (virtual_chance(net, net->profile.short_write)) {
        n = virtual_draw(net, n);
        defer_write(net, c, side, VIRTUAL_ROOM);
    }
    if (n > 0) {
        give(net, c, 1 - side, iov, n);
    }
    e->io->send_blocked = n < given;
    return (ssize_t)n;
}

/* The sending side of what came in at `to` may go on, if it waits. */
static void offer_room(struct virtual_net *net, struct virtual_conn *c, int to)
{
    struct virtual_end *e = &c->ends[1 - to];
    size_t n = room(&c->ends[to].in);

    if (e->io == NULL || !e->io->send_blocked || e->write_later || e->sent_due || n == 0) {
        return;
    }
    e->sent_bytes = 0;
    if (e->late_count > 0) {
        size_t given = iov_bytes(e->late, e->late_count);

        n = given < n ? given : n;
        n = virtual_chance(net, net->profile.short_write) ? virtual_draw_in(net, 1, n) : n;
        give(net, c, to, e->late, n);
        e->late_count = 0;
        e->sent_bytes = n;
    }
    e->sent_due = true;
    virtual_end_wake(e);
}

void virtual_conn_fin(struct virtual_net *net, struct virtual_conn *c, int side)
{
    struct virtual_end *peer = &c->ends[1 - side];

    if (!peer->in.fin_sent && c->ends[side].error == 0) {
        peer->in.fin_sent = true;
        take_off(net, c, 1 - side, 0, true);
    }
}

static void send_reset(struct virtual_net *net, struct virtual_conn *c, int to)
{
    virtual_event_add(net, one_way_us(net, c), VIRTUAL_RESET, c->id, to);
}

static void arrive(struct virtual_net *net, struct virtual_conn *c, int side)
{
    struct virtual_end *e = &c->ends[side];
    struct virtual_pipe *in = &e->in;
    uint64_t before = in->arrived;
    uint64_t limit =
        e->state == VIRTUAL_CLOSED ? UINT64_MAX : in->handed + (uint64_t)in->receive_bytes;

    while (in->flight_count > 0 && in->flights[in->flight_first].at_us <= net->now_us) {
        const struct virtual_flight *f = &in->flights[in->flight_first];

        in->arrived = f->end < limit ? f->end : limit;
        if (in->arrived < f->end) {
            break; /* the rest when there is room for it */
        }
        in->fin_arrived = in->fin_arrived || f->fin;
        in->flight_first = (in->flight_first + 1) % in->flight_cap;
        in->flight_count--;
    }
    if (e->state == VIRTUAL_CLOSED) {
        buf_release(&in->bytes);
        if (in->arrived > before) {
            send_reset(net, c, 1 - side); /* nobody is there to read it */
        }
    } else if (in->arrived > in->handed || in->fin_arrived) {
        virtual_end_wake(e);
    }
    offer_room(net, c, side);
}

void virtual_conn_handed(struct virtual_net *net, struct virtual_conn *c, int side, size_t n)
{
    struct virtual_pipe *in = &c->ends[side].in;

    buf_consume(&in->bytes, n);
    in->handed += n;
    if (!c->silent && c->ends[side].error == 0) {
        arrive(net, c, side);
    }
}

/* --- ends */

static void reset_arrives(struct virtual_end *e)
{
    if (e->error == 0 && (e->state == VIRTUAL_OPEN || e->state == VIRTUAL_WAITING)) {
        e->error = e->in.fin_arrived ? EPIPE : ECONNRESET;
        e->in.flight_count = 0;
        virtual_end_wake(e);
    }
}

static void drop_end(struct virtual_net *net, struct virtual_end *e)
{
    e->state = VIRTUAL_CLOSED;
    e->io = NULL;
    e->late_count = 0;
    net->open--;
}

void virtual_conn_close(struct virtual_net *net, struct virtual_conn *c, int side, bool reset)
{
    struct virtual_end *e = &c->ends[side];
    struct virtual_end *peer = &c->ends[1 - side];
    bool unread = e->in.arrived > e->in.handed;

    drop_end(net, e);
    if (peer->state == VIRTUAL_NONE || peer->state == VIRTUAL_CLOSED) {
        virtual_conn_free(net, c);
        return;
    }
    if (reset || unread) {
        send_reset(net, c, 1 - side);
    } else {
        virtual_conn_fin(net, c, side);
    }
    if (!c->silent) {
        arrive(net, c, side);
    }
}

/* --- connecting */

static void syn_arrives(struct virtual_net *net, struct virtual_conn *c)
{
    struct virtual_listener *l = virtual_listener_at(net, &c->to);
    enum virtual_reach reach = virtual_reach_of(net, &c->to);

    if (reach == VIRTUAL_SILENT || virtual_chance(net, net->profile.no_answer)) {
        return;
    }
    if (l == NULL || reach == VIRTUAL_REFUSED || virtual_chance(net, net->profile.refuse)) {
        virtual_event_add(net, one_way_us(net, c), VIRTUAL_NOT_CONNECTED, c->id,
                          l == NULL && c->is_unix ? ENOENT : ECONNREFUSED);
        return;
    }
    if (l->waiting_count == l->waiting_cap) {
        l->waiting_cap = l->waiting_cap == 0 ? 16 : l->waiting_cap * 2;
        l->waiting = virtual_grow(l->waiting, l->waiting_cap, sizeof(*l->waiting));
    }
    c->ends[1].state = VIRTUAL_WAITING;
    net->open++;
    l->waiting[l->waiting_count++] = c->id;
    if (!virtual_io_list_has(l->io)) {
        virtual_io_list_push(&l->backend->ready, l->io);
    }
    virtual_event_add(net, one_way_us(net, c), VIRTUAL_CONNECTED, c->id, 0);
}

void virtual_conn_event(struct virtual_net *net, const struct virtual_event *ev)
{
    struct virtual_conn *c = net->conns[ev->conn];
    struct virtual_end *e = c == NULL ? NULL : &c->ends[ev->side & 1];

    if (c == NULL || c->silent) {
        return;
    }
    switch (ev->kind) {
    case VIRTUAL_SYN:
        syn_arrives(net, c);
        break;
    case VIRTUAL_CONNECTED:
        e->connected = true;
        virtual_end_wake(e);
        break;
    case VIRTUAL_NOT_CONNECTED:
        c->ends[0].error = ev->side;
        virtual_end_wake(&c->ends[0]);
        break;
    case VIRTUAL_ARRIVE:
        arrive(net, c, ev->side);
        break;
    case VIRTUAL_RESET:
        reset_arrives(e);
        break;
    case VIRTUAL_ROOM:
    case VIRTUAL_LATE:
        e->write_later = false;
        offer_room(net, c, 1 - ev->side);
        break;
    case VIRTUAL_READ:
        e->read_later = false;
        virtual_end_wake(e);
        break;
    }
}
