/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual time, for tests and simulations: a network of streams that exists in memory only, and
 * loops on it whose clock jumps to the next thing that happens. Everything runs in one thread, and
 * the same seed gives the same run. Sockets and listeners are those of sock.h and listener.h, on
 * both sides; addresses are whatever the test likes. What goes wrong, and how often, says a
 * profile; what is to go wrong here and now is scripted by closing sockets, and by the calls below.
 *
 * Threads have no place in it: offloaded work runs on the loop, after a while; loop_post and
 * signals (raised by this thread) work. Memory for the network itself is taken for granted: out of
 * it, the process ends. */
#ifndef MCP_REACTOR_VIRTUAL_H
#define MCP_REACTOR_VIRTUAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "reactor/addr.h"
#include "reactor/backend.h"
#include "reactor/loop.h"

struct virtual_net;

enum { VIRTUAL_ALWAYS = 10000 };

/* Ranges are drawn from once per connection (and direction). Chances are out of 10,000. */
struct virtual_profile {
    uint32_t latency_min_us; /* one way */
    uint32_t latency_max_us;
    uint32_t jitter_us;         /* at most that much more, drawn for each write */
    uint64_t bytes_per_s;       /* each direction; 0: no limit */
    uint32_t send_min_bytes;    /* buffer of the sending side: more waits for room */
    uint32_t send_max_bytes;    /* (0: 192 KiB) */
    uint32_t receive_min_bytes; /* buffer of the receiving side, */
    uint32_t receive_max_bytes; /* likewise */
    uint32_t offload_max_us;    /* what offloaded work takes */
    uint16_t short_read;        /* less is handed over than there is */
    uint16_t short_write;       /* less is taken than there is room for */
    uint16_t late_write;        /* a write is taken later, from where its bytes are then */
    uint16_t late_release;      /* a closed socket is released in a later turn */
    uint16_t no_socket;         /* connecting fails at once: EMFILE */
    uint16_t refuse;            /* ... with ECONNREFUSED, from the other side */
    uint16_t no_answer;         /* ... never */
    uint16_t accept_fails;      /* EMFILE, or ECONNABORTED and the client is gone */
    uint16_t reset;             /* for each write: the connection breaks for both sides */
    uint16_t silent;            /* for each write: nothing arrives any more, nobody is told */
};

/* Nothing goes wrong, and everything arrives at once. */
extern const struct virtual_profile virtual_calm;
/* One of many: from a good network with slow readers to one in which a lot breaks. */
struct virtual_profile virtual_profile_draw(uint64_t seed);

/* Its memory lasts until virtual_net_free, which comes after the loops on it were freed. */
struct virtual_net *virtual_net_new(uint64_t seed, const struct virtual_profile *profile);
void virtual_net_free(struct virtual_net **net);
/* From now on. */
void virtual_net_set_profile(struct virtual_net *net, const struct virtual_profile *profile);
/* As loop_new. Alone on its network it may be run with loop_run; several are run by
 * virtual_net_run. */
struct loop *virtual_loop_new(struct virtual_net *net);

/* Runs all loops until `until` holds (looked at between turns), for `limit_us` of virtual time at
 * most, or until nothing is left to happen. Whether it holds. `until` NULL: until the limit. */
bool virtual_net_run(struct virtual_net *net, bool (*until)(void *arg), void *arg,
                     uint64_t limit_us);

uint64_t virtual_net_now_us(const struct virtual_net *net);
/* Follows from the seed, apart from what the network draws. */
uint64_t virtual_net_random(struct virtual_net *net);
/* A hash of everything that was told to sockets and listeners, and when. */
uint64_t virtual_net_trace(const struct virtual_net *net);
/* Writes a line for each of that; NULL: no more. */
void virtual_net_log(struct virtual_net *net, FILE *to);
/* Ends of connections that somebody has, or that wait to be accepted. */
size_t virtual_net_open(const struct virtual_net *net);

enum virtual_reach {
    VIRTUAL_REACHED, /* if somebody listens there */
    VIRTUAL_REFUSED,
    VIRTUAL_SILENT, /* connecting is never answered */
};
/* How connections to an address fare that are begun from now on. */
void virtual_net_set_reach(struct virtual_net *net, const struct addr *at,
                           enum virtual_reach reach);
/* Connections begun from now on come from so many addresses of IPv4 in turn (127.0.0.1 and what
 * follows) instead of one. */
void virtual_net_set_client_hosts(struct virtual_net *net, uint32_t hosts);
/* A connected pair, for sock_adopt on loops of this network. */
void virtual_net_pair(struct virtual_net *net, int family, int fds[2]);
/* Nothing arrives any more on the connection of that descriptor, in either direction. */
void virtual_net_silence(struct virtual_net *net, int fd);

/* For loop_new_on, which takes the network of the last virtual_net_new of this thread. */
extern const struct backend_ops backend_virtual;

#endif
