/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants and classes. The bound of the paper (Sheng et al., theorem 4.4): for tenants that are
 * backlogged the whole time, service differs by at most 2 max(wp Lin, wq M), M being the tokens of
 * all that run at once. Here service is charged at the grant and settled at the end, so counters of
 * those that wait differ by at most U = E + S D: E the most that is charged at once, S the slots, D
 * by how much an estimate was wrong; what tenants have had, by counters, by at most 2 U. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/sched.h"
#include "sched_cluster.h"
#include "sched_world.h"
#include "seeds.h"

enum { SECOND_US = 1000000, TENANTS = 4, WORLDS = 150 };

static const struct cluster_model one_model[] = {{"m", 1, 0}};

static struct sched *make(void)
{
    struct sched_limits limits = sched_limits_default();
    struct sched *s = sched_new(&limits, 1);

    assert_non_null(s);
    world_node(s, 0, 1, (struct node_words){.lists = "m", .slots = 1});
    return s;
}

static uint64_t tag_of_next(struct sched *s, uint64_t now_us, uint64_t *running)
{
    struct sched_decision d;
    uint64_t tag;

    world_done(s, now_us, *running);
    tag = world_taken(s, &d);
    *running = d.ticket;
    return tag;
}

/* "a1 b2 a3" as requests of tenants a, b, a with tags 1, 2, 3; the order in which they come out. */
static void expect_order(struct sched *s, const char *in, const char *out)
{
    struct sched_job job = world_job(100);
    uint64_t running, us = 0;

    (void)world_granted(s, 0, &job, &running);
    for (; *in != '\0'; in += 2) {
        job.tenant = slice_of(in, 1);
        job.tag = (uint64_t)(in[1] - '0');
        (void)world_queued(s, ++us, &job);
        in += in[2] == ' ';
    }
    for (; *out != '\0'; out++) {
        assert_int_equal(tag_of_next(s, ++us, &running), *out - '0');
    }
    world_done(s, ++us, running);
    assert_int_equal(world_taken(s, NULL), 0);
}

static void tenants_take_turns(void **state)
{
    struct sched *s = make();

    (void)state;
    expect_order(s, "a1 a2 a3 b4 b5 c6", "146253");
    sched_free(&s);
}

static void being_idle_saves_nothing_up(void **state)
{
    struct sched *s = make();

    (void)state;
    expect_order(s, "a1 a2 a3 a4 a5 a6", "123456");
    expect_order(s, "a1 b2 a3 b4 a5 b6", "123456"); /* b does not get all that a has had */
    sched_free(&s);
}

/* A call that was made for a, b and c: each has had its part of it. */
static void what_several_share_is_charged_to_each(void **state)
{
    const struct sched_share shares[] = {
        {SLICE("a"), 1, 1}, {SLICE("b"), 1, 3}, {SLICE("c"), 4, 4}};
    const struct sched_outcome done = {
        .end = SCHED_DONE, .prompt_tokens = 800, .shares = shares, .share_count = 3};
    struct sched *s = make();
    struct sched_job job = world_job(100);
    struct sched_decision d;
    uint64_t running, us = 0;

    (void)state;
    job.tenant = SLICE("a");
    (void)world_granted(s, 0, &job, &running);
    for (uint64_t i = 0; i < 4; i++) {
        job.tenant = slice_of(&"abcd"[i], 1);
        job.tag = 10 + i;
        (void)world_queued(s, ++us, &job);
    }
    sched_leave(s, ++us, running, &done);
    /* d has had nothing; a and, by its weight, c 100; b 300. */
    for (const char *next = "dacb"; *next != '\0'; next++) {
        assert_int_equal(world_taken(s, &d), 10 + (uint64_t)(*next - 'a'));
        world_done(s, ++us, d.ticket);
    }
    sched_free(&s);
}

static void a_rate_counts_parts_too(void **state)
{
    struct sched *s = make();
    uint64_t retry_us = 0;

    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        assert_true(sched_rate(s, 0, SLICE("a"), 60, &retry_us));
    }
    assert_false(sched_rate(s, 0, SLICE("a"), 60, &retry_us));
    assert_int_equal(retry_us, SECOND_US);
    assert_true(sched_rate(s, 0, SLICE("b"), 60, &retry_us));
    assert_true(sched_rate(s, SECOND_US, SLICE("a"), 60, &retry_us));
    sched_free(&s);
}

static void classes_and_ageing(void **state)
{
    struct sched *s = make();
    struct sched_job job = world_job(9);
    uint64_t running, us = 1, ageing_us = sched_limits_default().ageing_us;

    (void)state;
    (void)world_granted(s, 0, &job, &running);
    for (job.tag = 1; job.tag <= 3; job.tag++) {
        job.class = (enum sched_class)(3 - job.tag);
        job.tenant = slice_of(&"abc"[job.tag - 1], 1);
        (void)world_queued(s, us, &job);
    }
    assert_int_equal(tag_of_next(s, 2, &running), 3);
    assert_int_equal(tag_of_next(s, 2, &running), 2);
    job.class = SCHED_CLASS_NORMAL;
    job.tag = 4;
    (void)world_queued(s, ageing_us, &job);
    job.tag = 5;
    (void)world_queued(s, ageing_us, &job);
    assert_int_equal(tag_of_next(s, ageing_us, &running), 4);
    assert_int_equal(tag_of_next(s, ageing_us + 1, &running), 1); /* it is normal by now */
    assert_int_equal(tag_of_next(s, ageing_us + 2, &running), 5);
    sched_free(&s);
}

/* Whoever waits for so long that it is interactive competes as such: nobody starves. */
static void nobody_starves(void **state)
{
    struct sched *s = make();
    struct sched_job job = world_job(1), batch = world_job(2);
    struct sched_decision d;
    uint64_t running, us = 0, at_us = 0;

    (void)state;
    job.class = SCHED_CLASS_INTERACTIVE;
    batch.class = SCHED_CLASS_BATCH;
    batch.tenant = SLICE("batch");
    (void)world_granted(s, 0, &job, &running);
    (void)world_queued(s, 0, &batch);
    (void)world_queued(s, 0, &job);
    while (at_us == 0 && us < 100U * SECOND_US) {
        us += SECOND_US;
        (void)world_queued(s, us, &job);
        world_done(s, us, running);
        at_us = world_taken(s, &d) == 2 ? us : 0;
        running = d.ticket;
    }
    assert_in_range(at_us, 60U * SECOND_US, 62U * SECOND_US);
    sched_free(&s);
}

/* --- the bound --- */

struct world {
    struct cluster c;
    size_t tenants;
    unsigned weights[TENANTS];
    double charged, wrong; /* the most: at once; by which an estimate was wrong. By weight */
    size_t slots;
    uint32_t longest; /* tokens of one request */
};

static double work(uint32_t prompt, uint32_t answer)
{
    return prompt + 2.0 * answer;
}

static void make_requests(struct world *w, uint64_t *rng)
{
    size_t each = 40;

    w->c.request_count = w->tenants * each;
    w->c.requests = calloc(w->c.request_count, sizeof(*w->c.requests));
    assert_non_null(w->c.requests);
    for (size_t i = 0; i < w->c.request_count; i++) {
        size_t tenant = i / each;
        unsigned weight = w->weights[tenant];
        struct cluster_request *q = &w->c.requests[i];
        double charged, wrong;

        *q = (struct cluster_request){.due_us = 1,
                                      .weight = weight,
                                      .class = SCHED_CLASS_NORMAL,
                                      .prompt_tokens = 1 + (uint32_t)(cluster_random(rng) % 200),
                                      .answer_tokens = 1 + (uint32_t)(cluster_random(rng) % 200),
                                      .said_tokens = 1 + (uint32_t)(cluster_random(rng) % 200)};
        q->tenant[0] = 't';
        q->tenant[1] = (char)('0' + tenant);
        charged = work(q->prompt_tokens, q->said_tokens) / weight;
        wrong = 2.0 * abs((int)q->answer_tokens - (int)q->said_tokens) / weight;
        w->charged = charged > w->charged ? charged : w->charged;
        w->wrong = wrong > w->wrong ? wrong : w->wrong;
        if (q->prompt_tokens + q->answer_tokens > w->longest) {
            w->longest = q->prompt_tokens + q->answer_tokens;
        }
    }
}

static struct world make_world(uint64_t seed)
{
    struct world w = {.c = {.models = one_model, .model_count = 1}};
    uint64_t rng = seed;

    w.tenants = 2 + cluster_random(&rng) % (TENANTS - 1);
    w.c.node_count = 1 + cluster_random(&rng) % 3;
    for (size_t t = 0; t < w.tenants; t++) {
        w.weights[t] = 1 + (unsigned)(cluster_random(&rng) % 4);
    }
    for (size_t n = 0; n < w.c.node_count; n++) {
        uint32_t slots = 1 + (uint32_t)(cluster_random(&rng) % 4);

        w.c.nodes[n] = (struct cluster_node){
            .slots = slots, .declared = slots, .prompt_us = 50, .token_us = 9000};
        w.slots += slots;
    }
    make_requests(&w, &rng);
    return w;
}

static bool of_tenant(const struct cluster_request *q, size_t tenant)
{
    return (size_t)(q->tenant[1] - '0') == tenant;
}

/* What a tenant has been charged until then, as the scheduler counts it, by weight. */
static double charged_until(const struct world *w, size_t tenant, uint64_t us)
{
    double sum = 0;

    for (size_t i = 0; i < w->c.request_count; i++) {
        const struct cluster_request *q = &w->c.requests[i];

        if (!of_tenant(q, tenant) || q->granted_us > us) {
            continue;
        }
        sum += q->done_us <= us ? work(q->prompt_tokens, q->answer_tokens)
                                : work(q->prompt_tokens, q->said_tokens);
    }
    return sum / w->weights[tenant];
}

/* What it has really had: prompts when they begin, answers token by token. */
static double served_until(const struct world *w, size_t tenant, uint64_t us)
{
    double sum = 0;

    for (size_t i = 0; i < w->c.request_count; i++) {
        const struct cluster_request *q = &w->c.requests[i];
        double part = 0;

        if (!of_tenant(q, tenant) || q->begun_us > us) {
            continue;
        }
        if (q->first_us < us) {
            part = (double)(us - q->first_us) / (double)(q->done_us - q->first_us);
        }
        sum += q->prompt_tokens + 2.0 * q->answer_tokens * (part < 1 ? part : 1);
    }
    return sum / w->weights[tenant];
}

/* Until then it had somebody waiting. */
static uint64_t backlogged_until(const struct world *w, size_t tenant)
{
    uint64_t last = 0;

    for (size_t i = 0; i < w->c.request_count; i++) {
        const struct cluster_request *q = &w->c.requests[i];

        if (of_tenant(q, tenant) && q->granted_us > last) {
            last = q->granted_us;
        }
    }
    return last - 1;
}

static double apart(double a, double b)
{
    return a > b ? a - b : b - a;
}

static void check_pair(const struct world *w, size_t f, size_t g, uint64_t *rng)
{
    uint64_t f_us = backlogged_until(w, f), g_us = backlogged_until(w, g);
    uint64_t end_us = f_us < g_us ? f_us : g_us;
    double bound = 2 * (w->charged + (double)w->slots * w->wrong);
    double paper = 2 * 2.0 * (double)w->slots * w->longest;

    for (int i = 0; i < 20; i++) {
        uint64_t t1 = 2 + cluster_random(rng) % end_us, t2 = 2 + cluster_random(rng) % end_us;

        assert_true(apart(charged_until(w, f, t2) - charged_until(w, f, t1),
                          charged_until(w, g, t2) - charged_until(w, g, t1)) <= bound + 1);
        assert_true(apart(served_until(w, f, t2) - served_until(w, f, t1),
                          served_until(w, g, t2) - served_until(w, g, t1)) <= paper + 1);
    }
}

static void one_world(uint64_t seed)
{
    struct sched_limits limits = sched_limits_default();
    struct world w = make_world(seed);
    uint64_t rng = seed;

    cluster_run(&w.c, &limits, seed);
    for (size_t f = 0; f < w.tenants; f++) {
        for (size_t g = 0; g < f; g++) {
            check_pair(&w, f, g, &rng);
        }
    }
    free(w.c.requests);
}

static void service_differs_by_no_more_than_the_bound(void **state)
{
    (void)state;
    seeds_run(WORLDS, one_world);
}

/* --- a greedy neighbour --- */

static uint64_t p99_of(const struct cluster *c, const char *tenant)
{
    uint64_t *all = calloc(c->request_count, sizeof(*all)), p99;
    size_t n = 0;

    assert_non_null(all);
    for (size_t i = 0; i < c->request_count; i++) {
        const struct cluster_request *q = &c->requests[i];

        if (strcmp(q->tenant, tenant) == 0) {
            assert_int_equal(q->verdict, SCHED_GRANTED);
            all[n++] = q->first_us - q->due_us;
        }
    }
    qsort(all, n, sizeof(*all), cluster_by_u64);
    p99 = all[n * 99 / 100];
    free(all);
    return p99;
}

static int by_due(const void *a, const void *b)
{
    const struct cluster_request *x = a, *y = b;

    return (x->due_us > y->due_us) - (x->due_us < y->due_us);
}

/* 4 slots of 0.5 s: 8 requests a second, of which 4 are the share of each. "quiet" makes one a
 * second, and never asks for more than its share; "greedy" makes 80. */
static uint64_t quiet_p99(bool with_greedy)
{
    struct sched_limits limits = sched_limits_default();
    size_t quiet = 200, greedy = with_greedy ? 3000 : 0;
    struct cluster c = {
        .models = one_model,
        .model_count = 1,
        .nodes = {{.slots = 4, .declared = 4, .prompt_us = 1000, .token_us = 8000}},
        .node_count = 1,
        .requests = calloc(quiet + greedy, sizeof(struct cluster_request)),
        .request_count = quiet + greedy,
    };
    uint64_t rng = 7, us = 0, p99;

    assert_non_null(c.requests);
    for (size_t i = 0; i < quiet + greedy; i++) {
        if (i == quiet) {
            us = 0;
        }
        us += i < quiet ? SECOND_US / 4 + cluster_random(&rng) % (3 * SECOND_US / 2)
                        : cluster_random(&rng) % (SECOND_US / 40);
        c.requests[i] = (struct cluster_request){.due_us = us,
                                                 .class = SCHED_CLASS_NORMAL,
                                                 .prompt_tokens = 100,
                                                 .answer_tokens = 50,
                                                 .said_tokens = 50};
        (void)strcpy(c.requests[i].tenant, i < quiet ? "quiet" : "greedy");
    }
    qsort(c.requests, c.request_count, sizeof(*c.requests), by_due);
    cluster_run(&c, &limits, 1);
    p99 = p99_of(&c, "quiet");
    free(c.requests);
    return p99;
}

static void a_greedy_neighbour(void **state)
{
    uint64_t alone = quiet_p99(false), beside = quiet_p99(true);

    (void)state;
    print_message("p99 to the first byte: alone %lu ms, beside %lu ms\n",
                  (unsigned long)alone / 1000, (unsigned long)beside / 1000);
    assert_true((double)beside <= 1.2 * (double)alone + SECOND_US / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tenants_take_turns),
        cmocka_unit_test(being_idle_saves_nothing_up),
        cmocka_unit_test(what_several_share_is_charged_to_each),
        cmocka_unit_test(a_rate_counts_parts_too),
        cmocka_unit_test(classes_and_ageing),
        cmocka_unit_test(nobody_starves),
        SEEDS_TEST(service_differs_by_no_more_than_the_bound),
        cmocka_unit_test(a_greedy_neighbour),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
