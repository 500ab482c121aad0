/* SPDX-License-Identifier: Apache-2.0 */
/* bench-sched [SECONDS]: what a decision costs. One thread, nodes of 8 slots, 4 models; all slots
 * are taken and so many requests wait, of tenants and classes of all kinds. One turn is a request
 * that ends, the decision that lets another in, and one that arrives. Where nobody waits half of
 * the slots are free. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sched/sched.h"

enum { NODES_MOST = 2000, SLOTS = 8, MODELS = 4, TENANTS = 100 };
enum { BAR_NS = 2000, BAR_WAITING = 10000 };
enum { SAMPLES_MOST = 1 << 22, TURN_US = 1000 };

struct bench {
    struct sched *s;
    uint64_t rng, now_us;
    uint64_t nodes;
    uint64_t *running;
    size_t running_count;
    uint32_t *arrive_ns, *leave_ns;
    size_t count;
};

static uint64_t random_below(struct bench *b, uint64_t below)
{
    uint64_t x = b->rng += 0x9E3779B97F4A7C15U;

    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return (x ^ (x >> 31)) % below;
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static struct slice name_of(char *text, size_t size, char kind, uint64_t number)
{
    int len = snprintf(text, size, "%c%llu", kind, (unsigned long long)number);

    return slice_of(text, (size_t)len);
}

static uint64_t arrive(struct bench *b)
{
    char model[24], tenant[24];
    uint64_t prefix[4] = {random_below(b, 8), random_below(b, 1000), random_below(b, 100000),
                          b->rng};
    const struct sched_job job = {
        .model = name_of(model, sizeof(model), 'm', random_below(b, MODELS)),
        .tenant = name_of(tenant, sizeof(tenant), 't', random_below(b, TENANTS)),
        .class = random_below(b, 4) == 0 ? SCHED_CLASS_BATCH : SCHED_CLASS_NORMAL,
        .prompt_tokens = 1 + (uint32_t)random_below(b, 1000),
        .answer_tokens = 1 + (uint32_t)random_below(b, 1000),
        .bytes = 1000,
        .prefer_node = random_below(b, 3) == 0 ? 1 + random_below(b, b->nodes) : 0,
        .prefix = prefix,
        .prefix_count = 4,
    };
    struct sched_answer a;
    uint64_t from_ns = now_ns(), took_ns;
    enum sched_verdict v = sched_arrive(b->s, b->now_us, &job, &a);

    took_ns = now_ns() - from_ns;
    if (v == SCHED_GRANTED) {
        b->running[b->running_count++] = a.ticket;
    } else if (v != SCHED_QUEUED) {
        (void)fprintf(stderr, "bench-sched: a request was refused (%d)\n", v);
        exit(1);
    }
    return took_ns;
}

static uint64_t leave(struct bench *b)
{
    const struct sched_outcome o = {.end = SCHED_DONE,
                                    .prompt_tokens = 1 + (uint32_t)random_below(b, 1000),
                                    .answer_tokens = 1 + (uint32_t)random_below(b, 1000),
                                    .first_us = 1000};
    size_t at = random_below(b, b->running_count);
    uint64_t ticket = b->running[at], from_ns, took_ns;
    struct sched_decision d[4];
    size_t n;

    b->running[at] = b->running[--b->running_count];
    from_ns = now_ns();
    sched_leave(b->s, b->now_us, ticket, &o);
    n = sched_take(b->s, d, 4);
    took_ns = now_ns() - from_ns;
    for (size_t i = 0; i < n; i++) {
        b->running[b->running_count++] = d[i].ticket;
    }
    return took_ns;
}

static void add_nodes(struct bench *b)
{
    for (uint64_t id = 1; id <= b->nodes; id++) {
        char name[24];
        struct sched_model model = {.name = name_of(name, sizeof(name), 'm', id % MODELS),
                                    .bytes = 1};
        struct sched_node_state n = {.id = id,
                                     .up = true,
                                     .speaks = 1,
                                     .slots = SLOTS,
                                     .loads = true,
                                     .models = &model,
                                     .model_count = 1,
                                     .resident = &model,
                                     .resident_count = 1};

        if (!sched_node(b->s, b->now_us, &n)) {
            exit(1);
        }
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* The p99. */
static uint32_t print_row(const struct bench *b, const char *what, uint64_t waiting, uint32_t *ns,
                          size_t count)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += ns[i];
    }
    qsort(ns, count, sizeof(*ns), by_size);
    (void)printf("| %s | %llu | %llu | %.0f | %u | %u | %u |\n", what, (unsigned long long)b->nodes,
                 (unsigned long long)waiting, sum / (double)count, ns[count / 2],
                 ns[count * 99 / 100], ns[count * 999 / 1000]);
    return ns[count * 99 / 100];
}

/* The p99 of the slower of the two calls. */
static uint32_t run(struct bench *b, uint64_t nodes, uint64_t waiting, double seconds)
{
    struct sched_limits limits = sched_limits_default();
    struct sched_stats stats;
    uint64_t until_ns;
    uint32_t arrive_ns, leave_ns;

    b->nodes = nodes;
    limits.queue_jobs = limits.queue_jobs_all = 2 * waiting + 1000;
    b->s = sched_new(&limits, 1);
    b->now_us = 1;
    b->running_count = b->count = 0;
    if (b->s == NULL) {
        exit(1);
    }
    add_nodes(b);
    do {
        (void)arrive(b);
        sched_stats(b->s, &stats);
    } while (stats.waiting < waiting || stats.running < nodes * SLOTS / 2);
    until_ns = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < until_ns && b->count < SAMPLES_MOST) {
        b->now_us += TURN_US;
        b->leave_ns[b->count] = (uint32_t)leave(b);
        b->arrive_ns[b->count++] = (uint32_t)arrive(b);
        if (sched_next_us(b->s) <= b->now_us) {
            sched_tick(b->s, b->now_us);
        }
    }
    arrive_ns = print_row(b, "arrive", waiting, b->arrive_ns, b->count);
    leave_ns = print_row(b, "leave, and the next one's grant", waiting, b->leave_ns, b->count);
    sched_free(&b->s);
    return arrive_ns > leave_ns ? arrive_ns : leave_ns;
}

int main(int argc, char **argv)
{
    static const struct {
        uint64_t nodes, waiting;
    } rows[] = {{64, 0},
                {64, 100},
                {64, 1000},
                {64, BAR_WAITING},
                {64, 100000},
                {NODES_MOST, 0},
                {NODES_MOST, BAR_WAITING}};
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 2;
    struct bench b = {.rng = 1};
    uint32_t slowest_ns = 0;

    b.running = malloc((size_t)NODES_MOST * SLOTS * sizeof(*b.running));
    b.arrive_ns = malloc(SAMPLES_MOST * sizeof(*b.arrive_ns));
    b.leave_ns = malloc(SAMPLES_MOST * sizeof(*b.leave_ns));
    if (b.running == NULL || b.arrive_ns == NULL || b.leave_ns == NULL) {
        return 1;
    }
    (void)printf("| call | nodes | waiting | mean ns | p50 | p99 | p99.9 |\n"
                 "|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t p99_ns = run(&b, rows[i].nodes, rows[i].waiting, seconds);

        slowest_ns = rows[i].waiting == BAR_WAITING && p99_ns > slowest_ns ? p99_ns : slowest_ns;
    }
    (void)printf("bar: p99 <= %d ns at %d waiting: %u, %s\n", BAR_NS, BAR_WAITING,
                 (unsigned)slowest_ns, slowest_ns <= BAR_NS ? "holds" : "missed");
    free(b.running);
    free(b.arrive_ns);
    free(b.leave_ns);
    return 0;
}
