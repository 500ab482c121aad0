/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "reactor/loop_internal.h"
#include "reactor/virtual_internal.h"

enum { ROUNDS_MAX = 1000000 };

#define START_US 1000000U

const struct virtual_profile virtual_calm = {.offload_max_us = 10};

/* --- chance */

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9E3779B97F4A7C15U; /* splitmix64 */

    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

uint64_t virtual_draw(struct virtual_net *net, uint64_t below)
{
    return below == 0 ? 0 : next_random(&net->random) % below;
}

uint64_t virtual_draw_in(struct virtual_net *net, uint64_t min, uint64_t max)
{
    return max <= min ? min : min + virtual_draw(net, max - min + 1);
}

bool virtual_chance(struct virtual_net *net, uint16_t of_10000)
{
    /* What cannot happen draws nothing. */
    return of_10000 > 0 && virtual_draw(net, VIRTUAL_ALWAYS) < of_10000;
}

uint64_t virtual_net_random(struct virtual_net *net)
{
    return next_random(&net->test_random);
}

struct virtual_profile virtual_profile_draw(uint64_t seed)
{
    static const uint32_t latencies_us[] = {0, 20, 500, 40000};
    static const uint32_t buffers[] = {1, 300, 5000, 65536, 1000000};
    static const uint16_t often[] = {0, 0, 500, 5000};
    static const uint16_t seldom[] = {0, 0, 10, 300};
    uint64_t r = seed;
#define PICK(table) (table)[next_random(&r) % (sizeof(table) / sizeof((table)[0]))]
    struct virtual_profile p = {
        .latency_max_us = PICK(latencies_us),
        .jitter_us = PICK(latencies_us),
        .bytes_per_s = next_random(&r) % 4 == 0 ? 200000 : 0,
        .send_min_bytes = PICK(buffers),
        .send_max_bytes = 200000,
        .receive_min_bytes = PICK(buffers),
        .receive_max_bytes = 200000,
        .offload_max_us = PICK(latencies_us),
        .short_read = PICK(often),
        .short_write = PICK(often),
        .late_write = PICK(often),
        .late_release = PICK(often),
        .no_socket = PICK(seldom),
        .refuse = PICK(seldom),
        .no_answer = PICK(seldom),
        .accept_fails = PICK(seldom),
        .reset = PICK(seldom),
        .silent = PICK(seldom) / 2,
    };
#undef PICK
    return p;
}

/* --- the network */

static _Thread_local struct virtual_net *latest;

void *virtual_grow(void *array, size_t count, size_t size)
{
    void *grown = realloc(array, count * size);

    ASSERT(grown != NULL);
    return grown;
}

struct virtual_net *virtual_net_new(uint64_t seed, const struct virtual_profile *profile)
{
    struct virtual_net *net = xcalloc(1, sizeof(*net));
    uint64_t state = seed;

    net->profile = *profile;
    net->random = next_random(&state);
    net->test_random = next_random(&state);
    net->now_us = START_US;
    net->next_listener_fd = VIRTUAL_LISTENER_FD;
    net->next_port = 20000;
    net->client_hosts = 1;
    latest = net;
    return net;
}

void virtual_net_free(struct virtual_net **netp)
{
    struct virtual_net *net = *netp;

    if (net == NULL) {
        return;
    }
    *netp = NULL;
    ASSERT(net->backends == NULL && net->listeners == NULL);
    for (uint32_t i = 0; i < net->conn_count; i++) {
        if (net->conns[i] != NULL) {
            virtual_conn_free(net, net->conns[i]);
        }
    }
    latest = latest == net ? NULL : latest;
    free(net->conns);
    free(net->events);
    free(net->rules);
    free(net);
}

void virtual_net_set_profile(struct virtual_net *net, const struct virtual_profile *profile)
{
    net->profile = *profile;
}

struct loop *virtual_loop_new(struct virtual_net *net)
{
    struct loop *loop;

    latest = net;
    loop = loop_new_on(&backend_virtual, NULL);
    if (loop != NULL) {
        ((struct virtual_backend *)(void *)loop->backend)->loop = loop;
    }
    return loop;
}

struct virtual_net *virtual_latest(void)
{
    return latest;
}

uint64_t virtual_net_now_us(const struct virtual_net *net)
{
    return net->now_us;
}

uint64_t virtual_net_trace(const struct virtual_net *net)
{
    return net->trace;
}

void virtual_net_log(struct virtual_net *net, FILE *to)
{
    net->log = to;
}

size_t virtual_net_open(const struct virtual_net *net)
{
    return net->open;
}

static void mix(uint64_t *hash, uint64_t value)
{
    uint64_t x = (*hash ^ value) * 0x9E3779B97F4A7C15U;

    *hash = x ^ x >> 32;
}

void virtual_note(struct virtual_net *net, const char *what, int fd, uint64_t value,
                  struct slice bytes)
{
    uint64_t word;

    mix(&net->trace, net->now_us);
    mix(&net->trace, (uint64_t)fd << 32 ^ (uint64_t)(unsigned char)what[0] << 8 ^ value);
    for (size_t i = 0; i < bytes.len; i += sizeof(word)) {
        size_t n = bytes.len - i < sizeof(word) ? bytes.len - i : sizeof(word);

        word = 0;
        memcpy(&word, bytes.ptr + i, n);
        mix(&net->trace, word);
    }
    if (net->log != NULL) {
        (void)fprintf(net->log, "%9" PRIu64 " us  %c%-5d %-12s %" PRIu64 "\n", net->now_us,
                      fd >= VIRTUAL_LISTENER_FD ? 'L'
                      : (fd & 1) != 0           ? 'S'
                                                : 'C',
                      fd >= VIRTUAL_LISTENER_FD ? fd - VIRTUAL_LISTENER_FD : (fd - VIRTUAL_FD) / 2,
                      what, value);
    }
}

/* --- events: a binary heap by time, then by the order added */

static bool comes_before(const struct virtual_event *a, const struct virtual_event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

void virtual_event_add(struct virtual_net *net, uint64_t delay_us, enum virtual_event_kind kind,
                       uint32_t conn, int side)
{
    const struct virtual_event ev = {.at_us = net->now_us + delay_us,
                                     .order = net->event_order++,
                                     .kind = kind,
                                     .conn = conn,
                                     .side = side};
    size_t i = net->event_count++;

    if (i == net->event_cap) {
        net->event_cap = net->event_cap == 0 ? 64 : net->event_cap * 2;
        net->events = virtual_grow(net->events, net->event_cap, sizeof(*net->events));
    }
    while (i > 0 && comes_before(&ev, &net->events[(i - 1) / 2])) {
        net->events[i] = net->events[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    net->events[i] = ev;
}

static struct virtual_event pop_event(struct virtual_net *net)
{
    struct virtual_event *h = net->events;
    const struct virtual_event first = h[0];
    const struct virtual_event last = h[--net->event_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < net->event_count && comes_before(&h[child + 1], &h[child])) {
            child++;
        }
        if (child >= net->event_count || comes_before(&last, &h[child])) {
            break;
        }
        h[i] = h[child];
        i = child;
    }
    h[i] = last;
    return first;
}

uint64_t virtual_next_us(const struct virtual_net *net)
{
    return net->event_count == 0 ? UINT64_MAX : net->events[0].at_us;
}

void virtual_advance(struct virtual_net *net, uint64_t to_us)
{
    while (virtual_next_us(net) <= to_us) {
        struct virtual_event ev = pop_event(net);

        net->now_us = ev.at_us > net->now_us ? ev.at_us : net->now_us;
        virtual_conn_event(net, &ev);
    }
    net->now_us = to_us > net->now_us ? to_us : net->now_us;
}

/* --- running several loops */

static bool has_rung(const struct virtual_backend *b)
{
    struct pollfd fds[VIRTUAL_EVENTS_MAX];

    for (size_t i = 0; i < b->event_count; i++) {
        fds[i] = (struct pollfd){.fd = b->events[i]->fd, .events = POLLIN};
    }
    return b->event_count > 1 && poll(fds, b->event_count, 0) > 0;
}

static bool is_due(const struct virtual_backend *b)
{
    return b->ready.count > 0 || b->closed.count > 0 || b->base.woken ||
           loop_wait_limit_us(b->loop) == 0 || has_rung(b);
}

/* One turn of each loop that has something to do. */
static bool run_round(struct virtual_net *net)
{
    bool any = false;

    virtual_advance(net, net->now_us);
    for (struct virtual_backend *b = net->backends; b != NULL; b = b->next) {
        if (is_due(b)) {
            loop_turn(b->loop);
            any = true;
        }
    }
    return any;
}

static uint64_t next_of_all_us(const struct virtual_net *net)
{
    uint64_t next = virtual_next_us(net);

    for (const struct virtual_backend *b = net->backends; b != NULL; b = b->next) {
        uint64_t due = timers_next_us(b->loop);

        next = due < next ? due : next;
    }
    return next;
}

bool virtual_net_run(struct virtual_net *net, bool (*until)(void *arg), void *arg,
                     uint64_t limit_us)
{
    uint64_t end = net->now_us + limit_us;
    unsigned rounds = 0;
    bool held = until != NULL && until(arg);

    net->driven = true;
    while (!held) {
        if (run_round(net)) {
            ASSERT(++rounds < ROUNDS_MAX); /* the loops never come to rest */
        } else {
            uint64_t next = next_of_all_us(net);

            if (net->now_us >= end || (next == UINT64_MAX && until != NULL)) {
                break;
            }
            virtual_advance(net, next < end ? next : end);
            rounds = 0;
        }
        held = until != NULL && until(arg);
    }
    net->driven = false;
    return held;
}

/* --- addresses */

static bool is_any(const struct addr *a)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;

    if (a->ss.ss_family == AF_INET) {
        memcpy(&in, &a->ss, sizeof(in));
        return in.sin_addr.s_addr == INADDR_ANY;
    }
    memcpy(&in6, &a->ss, sizeof(in6));
    return a->ss.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6.sin6_addr);
}

struct virtual_listener *virtual_listener_at(const struct virtual_net *net, const struct addr *to)
{
    for (struct virtual_listener *l = net->listeners; l != NULL; l = l->next) {
        if (addr_same(&l->at, to) ||
            (to->ss.ss_family != AF_UNIX && addr_port(&l->at) == addr_port(to) && is_any(&l->at))) {
            return l;
        }
    }
    return NULL;
}

void virtual_net_set_client_hosts(struct virtual_net *net, uint32_t hosts)
{
    net->client_hosts = hosts;
}

void virtual_net_set_reach(struct virtual_net *net, const struct addr *at, enum virtual_reach reach)
{
    for (size_t i = 0; i < net->rule_count; i++) {
        if (addr_same(&net->rules[i].at, at)) {
            net->rules[i].reach = reach;
            return;
        }
    }
    net->rules = virtual_grow(net->rules, net->rule_count + 1, sizeof(*net->rules));
    net->rules[net->rule_count++] = (struct virtual_rule){*at, reach};
}

enum virtual_reach virtual_reach_of(const struct virtual_net *net, const struct addr *to)
{
    for (size_t i = 0; i < net->rule_count; i++) {
        if (addr_same(&net->rules[i].at, to)) {
            return net->rules[i].reach;
        }
    }
    return VIRTUAL_REACHED;
}
