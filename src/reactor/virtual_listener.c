/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners of virtual time: who is connected and waits, oldest first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "reactor/virtual_internal.h"

enum { ACCEPTS_PER_TURN = 64 };

static void set_port(struct addr *a, uint16_t port)
{
    uint16_t be = (uint16_t)(port >> 8 | port << 8);

    /* Both families have it behind sin_family. */
    memcpy((char *)&a->ss + sizeof(sa_family_t), &be, sizeof(be));
}

int virtual_listener_open(struct virtual_backend *v, struct io *io, const struct addr *at,
                          struct addr *bound)
{
    struct virtual_listener *l;

    *bound = *at;
    if (at->ss.ss_family != AF_UNIX && addr_port(at) == 0) {
        set_port(bound, v->net->next_port++);
    }
    if (virtual_listener_at(v->net, bound) != NULL) {
        return -EADDRINUSE;
    }
    l = xcalloc(1, sizeof(*l));
    l->backend = v;
    l->io = io;
    l->at = *bound;
    l->next = v->net->listeners;
    v->net->listeners = l;
    io->fd = v->net->next_listener_fd++;
    return 0;
}

static struct virtual_listener *listener_of(const struct virtual_net *net, const struct io *io)
{
    struct virtual_listener *l = net->listeners;

    while (l->io != io) {
        l = l->next;
    }
    return l;
}

static void accept_one(struct virtual_backend *v, struct virtual_listener *l)
{
    struct io *io = l->io;
    struct virtual_net *net = v->net;
    struct virtual_conn *c = net->conns[l->waiting[0]];
    bool fails = virtual_chance(net, net->profile.accept_fails);
    bool left = fails && virtual_draw(net, 2) == 0;

    if (!fails || left) {
        memmove(l->waiting, l->waiting + 1, --l->waiting_count * sizeof(*l->waiting));
    }
    if (left) {
        virtual_conn_close(net, c, 1, true);
    }
    if (fails) {
        int error = left ? ECONNABORTED : EMFILE;

        virtual_note(net, "accept_failed", io->fd, (uint64_t)error, SLICE(""));
        io->ops->accept_failed(io, error);
    } else {
        struct addr peer = c->ends[0].addr;

        virtual_note(net, "accepted", io->fd, c->id, SLICE(""));
        io->ops->accepted(io, virtual_conn_fd(c, 1), &peer);
    }
}

void virtual_listener_event(struct virtual_backend *v, struct io *io)
{
    for (int i = 0; i < ACCEPTS_PER_TURN && io->fd >= 0 && io->receiving; i++) {
        struct virtual_listener *l = listener_of(v->net, io);

        if (l->waiting_count == 0) {
            return;
        }
        accept_one(v, l);
    }
    if (io->fd >= 0 && io->receiving && !virtual_io_list_has(io) &&
        listener_of(v->net, io)->waiting_count > 0) {
        virtual_io_list_push(&v->ready, io);
    }
}

void virtual_listener_close(struct virtual_net *net, const struct io *io)
{
    struct virtual_listener **at = &net->listeners;
    struct virtual_listener *l;

    while ((*at)->io != io) {
        at = &(*at)->next;
    }
    l = *at;
    *at = l->next;
    for (size_t i = 0; i < l->waiting_count; i++) {
        virtual_conn_close(net, net->conns[l->waiting[i]], 1, true);
    }
    free(l->waiting);
    free(l);
}
