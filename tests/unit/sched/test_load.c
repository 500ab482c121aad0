/* SPDX-License-Identifier: Apache-2.0 */
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

enum { SECOND_US = 1000000, MS = 1000, WORLDS = 60 };

static struct sched *make(void)
{
    struct sched_limits limits = sched_limits_default();
    struct sched *s = sched_new(&limits, 1);

    assert_non_null(s);
    return s;
}

static struct sched_job job_of(const char *model, uint64_t tag)
{
    struct sched_job job = world_job(tag);

    job.model = slice_str(model);
    return job;
}

static void where_it_is_resident(void **state)
{
    struct sched *s = make();
    struct sched_job job = job_of("m", 1);
    struct sched_answer a;

    (void)state;
    for (uint64_t id = 1; id <= 4; id++) {
        world_node(
            s, 0, id,
            (struct node_words){.lists = "m n", .resident = id == 3 ? "m:5" : "", .loads = true});
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(sched_arrive(s, 0, &job, &a), SCHED_GRANTED);
        assert_int_equal(a.node, 3);
        assert_false(a.loads);
    }
    job.options = 77; /* as it is not loaded there: a node that has nothing loads it */
    assert_int_equal(sched_arrive(s, 0, &job, &a), SCHED_GRANTED);
    assert_int_not_equal(a.node, 3);
    assert_true(a.loads);
    assert_int_equal(a.why, SCHED_WHY_LOAD);
    sched_free(&s);
}

/* Others of the model go where it is being loaded; another model is loaded elsewhere. */
static void one_load_at_a_time(void **state)
{
    struct sched *s = make();
    struct sched_job m = job_of("m", 1), n = job_of("n", 2), o = job_of("o", 3);
    struct node_words words = {.lists = "m n o", .loads = true};
    struct sched_decision d;
    uint64_t first, second;
    uint64_t node;

    (void)state;
    world_node(s, 0, 1, words);
    world_node(s, 0, 2, words);
    node = world_granted(s, 0, &m, &first);
    assert_int_equal(world_granted(s, 0, &m, NULL), node);
    assert_int_not_equal(world_granted(s, 0, &n, &second), node);
    (void)world_queued(s, 0, &o);
    sched_started(s, 10, first); /* but it would be evicted too soon */
    assert_int_equal(world_taken(s, NULL), 0);
    world_done(s, 20, first);
    sched_leave(s, 30, second, &(struct sched_outcome){.end = SCHED_FAILED});
    assert_int_equal(world_taken(s, &d), 3); /* that node has nothing */
    assert_true(d.loads);
    sched_free(&s);
}

/* What is resident goes when it has been idle for min_resident. */
static void an_idle_model_goes(void **state)
{
    struct sched *s = make();
    struct sched_job m = job_of("m", 1), n = job_of("n", 2);
    struct sched_decision d;
    uint64_t first;

    (void)state;
    world_node(s, 0, 1,
               (struct node_words){.lists = "m n", .resident = "m:5", .memory = 9, .loads = true});
    assert_int_equal(world_granted(s, 0, &m, &first), 1);
    (void)world_queued(s, 100, &n);
    world_done(s, 500, first);
    assert_int_equal(sched_next_us(s), 500 + 2 * SECOND_US);
    sched_tick(s, 499 + 2 * SECOND_US);
    assert_int_equal(world_taken(s, NULL), 0);
    sched_tick(s, 500 + 2 * SECOND_US);
    assert_int_equal(world_taken(s, &d), 2);
    assert_true(d.loads);
    sched_free(&s);
}

/* What is always busy gets nothing new shortly before somebody has waited for max_load_wait. */
static void a_busy_model_goes_in_time(void **state)
{
    struct sched *s = make();
    struct sched_job m = job_of("m", 1), n = job_of("n", 2);
    struct sched_decision d;
    uint64_t running;

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m n", .resident = "m:5", .loads = true});
    (void)world_granted(s, 0, &m, &running);
    (void)world_queued(s, 100, &n);
    for (uint64_t us = SECOND_US / 2; us < 8 * SECOND_US; us += SECOND_US / 2) {
        uint64_t next;

        (void)world_granted(s, us, &m, &next);
        world_done(s, us, running);
        running = next;
    }
    sched_tick(s, 9 * SECOND_US + 100);
    /* One takes 0.5 s, and a hundredth is for timers that fire late. */
    assert_int_equal(sched_next_us(s), 9 * SECOND_US + 400 * MS + 100);
    sched_tick(s, 9 * SECOND_US + 400 * MS + 100);
    (void)world_queued(s, 9 * SECOND_US + 600000, &m);
    assert_int_equal(world_taken(s, NULL), 0);
    world_done(s, 9 * SECOND_US + 700000, running);
    assert_int_equal(world_taken(s, &d), 2);
    assert_true(d.loads);
    sched_free(&s);
}

/* Seen side by side once, two models are loaded side by side. */
static void what_fits_is_learned(void **state)
{
    struct sched *s = make();
    struct sched_job m = job_of("m", 1), n = job_of("n", 2);
    struct node_words words = {.lists = "m:5 n:6", .resident = "m:5 n:6", .loads = true};
    uint64_t first;

    (void)state;
    world_node(s, 0, 1, words);
    words.resident = "m:5";
    world_node(s, 3 * SECOND_US, 1, words);
    (void)world_granted(s, 3 * SECOND_US, &m, NULL);
    (void)world_granted(s, 3 * SECOND_US, &n, &first);
    sched_started(s, 4 * SECOND_US, first);
    (void)world_granted(s, 4 * SECOND_US, &m, NULL);
    sched_free(&s);
}

/* Memory that is known: no need to learn, nor to wait until something is idle. */
static void what_fits_is_known(void **state)
{
    struct sched *s = make();
    struct sched_job m = job_of("m", 1), n = job_of("n", 2), o = job_of("o", 3);

    (void)state;
    world_node(s, 0, 1,
               (struct node_words){
                   .lists = "m:5 n:6 o:1", .resident = "m:5", .memory = 11, .loads = true});
    (void)world_granted(s, 0, &m, NULL);
    (void)world_granted(s, 0, &n, NULL);
    (void)world_granted(s, 0, &m, NULL);
    (void)world_queued(s, 0, &o); /* one load at a time; and 12 do not fit */
    sched_free(&s);
}

/* Nobody knows what fits: what is idle may go at once, and the report behind that load tells
 * whether it did. */
static void what_fits_is_tried(void **state)
{
    static const char *const then[] = {"m:5 n:6", "n:6"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct node_words words = {.lists = "m:5 n:6", .resident = "m:5", .loads = true};
        struct sched *s = make();
        struct sched_job m = job_of("m", 1), n = job_of("n", 2);
        struct sched_decision d;
        uint64_t first, second;

        world_node(s, 0, 1, words);
        (void)world_granted(s, 0, &m, &first);
        (void)world_queued(s, 100, &n);
        world_done(s, 500, first);
        sched_tick(s, 500);
        assert_int_equal(world_taken(s, &d), 2);
        assert_true(d.loads);
        second = d.ticket;
        (void)world_queued(s, 600, &m); /* until it is known */
        sched_started(s, SECOND_US, second);
        world_done(s, SECOND_US, second);
        assert_int_equal(world_taken(s, NULL), 0);
        words.resident = then[i];
        world_node(s, 2 * SECOND_US, 1, words);
        if (i == 0) { /* it is still there */
            assert_int_equal(world_taken(s, &d), 1);
            assert_false(d.loads);
        } else { /* from now on what is idle stays for min_resident */
            sched_tick(s, 3 * SECOND_US - 1);
            assert_int_equal(world_taken(s, NULL), 0);
            sched_tick(s, 3 * SECOND_US);
            assert_int_equal(world_taken(s, &d), 1);
            assert_true(d.loads);
        }
        sched_free(&s);
    }
}

static void a_load_for_one_that_is_too_late(void **state)
{
    struct sched *s = make();
    struct sched_job m = job_of("m", 1);
    struct sched_answer a;
    struct sched_stats stats;

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m n", .slots = 1, .loads = true});
    m.deadline_us = 5;
    assert_int_equal(sched_arrive(s, 5, &m, &a), SCHED_TOO_LATE);
    assert_int_equal(a.ticket, 0);
    assert_true(a.retry_after_us >= SECOND_US);
    sched_stats(s, &stats);
    assert_int_equal(stats.waiting + stats.running + stats.loads, 0);
    m = job_of("n", 2);
    (void)world_granted(s, 5, &m, NULL); /* the node is free to load another */
    sched_free(&s);
}

static void a_load_whose_caller_left(void **state)
{
    struct sched *s = make();
    struct sched_job m = job_of("m", 1);
    struct sched_decision d;
    uint64_t first, second;

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m", .slots = 1, .loads = true});
    (void)world_granted(s, 0, &m, &first);
    m.tag = 2;
    second = world_queued(s, 1, &m);
    sched_leave(s, 2, first, &(struct sched_outcome){.end = SCHED_CANCELLED});
    assert_int_equal(world_taken(s, &d), 2);
    assert_int_equal(d.ticket, second);
    assert_true(d.loads);
    sched_free(&s);
}

/* Each that has waited as long as a load may take gets a node, not one of them after the other. */
static void a_burst_on_a_cold_cluster(void **state)
{
    enum { COLD_NODES = 600, PATIENCE_US = 5 * SECOND_US };
    struct sched *s = make();
    struct sched_job m = job_of("m", 1);
    struct node_words words = {.lists = "m n", .slots = 1, .loads = true};
    bool used[COLD_NODES + 1] = {false};
    struct sched_decision d;
    uint64_t now_us = PATIENCE_US;
    size_t loads = 0;

    (void)state;
    for (uint64_t id = 1; id <= COLD_NODES; id++) {
        world_node(s, 0, id, words);
    }
    used[world_granted(s, 0, &m, NULL)] = true;
    for (uint64_t i = 1; i < COLD_NODES; i++) {
        m.tag = 1 + i;
        (void)world_queued(s, 0, &m);
    }
    sched_tick(s, PATIENCE_US - 1);
    assert_int_equal(world_taken(s, NULL), 0);
    for (; sched_next_us(s) < PATIENCE_US + SECOND_US / 2; now_us = sched_next_us(s)) {
        sched_tick(s, now_us);
        while (world_taken(s, &d) != 0) {
            assert_true(d.loads && !used[d.node]);
            used[d.node] = true;
            loads++;
        }
    }
    assert_int_equal(loads, COLD_NODES - 1);
    sched_free(&s);
}

/* The bar: two models, memory for one, 2 s to load, requests in turn, 40/s. */
static void no_thrash(void **state)
{
    static const struct cluster_model models[] = {{"a", 10, 2 * SECOND_US},
                                                  {"b", 10, 2 * SECOND_US}};
    struct sched_limits limits = sched_limits_default();
    size_t count = 40 * 120;
    struct cluster c = {
        .models = models,
        .model_count = 2,
        .nodes =
            {{.slots = 8, .declared = 8, .memory_bytes = 10, .prompt_us = 100, .token_us = 4000}},
        .node_count = 1,
        .requests = calloc(count, sizeof(struct cluster_request)),
        .request_count = count,
    };
    uint64_t waited = 0, most = 0;

    (void)state;
    assert_non_null(c.requests);
    for (size_t i = 0; i < count; i++) {
        c.requests[i] = (struct cluster_request){.due_us = i * 25 * MS,
                                                 .model = i % 2,
                                                 .tenant = "t",
                                                 .class = SCHED_CLASS_NORMAL,
                                                 .prompt_tokens = 100,
                                                 .answer_tokens = 25,
                                                 .said_tokens = 25};
    }
    cluster_run(&c, &limits, 1);
    for (size_t i = 0; i < count; i++) {
        const struct cluster_request *q = &c.requests[i];

        assert_int_equal(q->verdict, SCHED_GRANTED);
        waited = q->granted_us - q->due_us;
        most = q->loads && waited > most ? waited : most;
    }
    print_message("loads %lu, longest wait to a load %lu ms\n", (unsigned long)c.loads,
                  (unsigned long)(most / MS));
    assert_true(c.loads * 10 <= count); /* first come, first served: each request loads */
    assert_true(most <= limits.max_load_wait_us);
    free(c.requests);
}

/* Nodes, models and requests of all kinds, many of them cancelled: all that are not are served, and
 * no node loads more often than it has requests. */
static void one_world(uint64_t seed)
{
    static const struct cluster_model models[] = {{"a", 4, SECOND_US},
                                                  {"b", 5, 3 * SECOND_US},
                                                  {"c", 6, SECOND_US / 2},
                                                  {"d", 7, 2 * SECOND_US}};
    struct sched_limits limits = sched_limits_default();
    struct cluster c = {.models = models, .model_count = 4, .request_count = 150};
    uint64_t rng = seed, us = 1;

    c.requests = calloc(c.request_count, sizeof(*c.requests));
    assert_non_null(c.requests);
    c.node_count = 1 + cluster_random(&rng) % 3;
    for (size_t n = 0; n < c.node_count; n++) {
        uint32_t slots = 1 + (uint32_t)(cluster_random(&rng) % 4);

        c.nodes[n] = (struct cluster_node){
            .slots = slots,
            .declared = cluster_random(&rng) % 3 == 0 ? SCHED_SLOTS_UNLIMITED : slots,
            .memory_bytes = 7 + cluster_random(&rng) % 20,
            .prompt_us = 100,
            .token_us = 5000};
    }
    c.poll_us = (1 + cluster_random(&rng) % 4) * SECOND_US;
    for (size_t i = 0; i < c.request_count; i++) {
        us += cluster_random(&rng) % (cluster_random(&rng) % 9 == 0 ? 9U * SECOND_US : SECOND_US);
        c.requests[i] = (struct cluster_request){
            .due_us = us,
            .model = (unsigned)(cluster_random(&rng) % 4),
            .class = (enum sched_class)(cluster_random(&rng) % SCHED_CLASS_COUNT),
            .prompt_tokens = 100,
            .answer_tokens = 1 + (uint32_t)(cluster_random(&rng) % 200),
        };
        c.requests[i].tenant[0] = (char)('a' + cluster_random(&rng) % 3);
        if (cluster_random(&rng) % 5 == 0) {
            c.requests[i].cancel_us = us + cluster_random(&rng) % (10U * SECOND_US);
        }
    }
    cluster_run(&c, &limits, seed);
    for (size_t i = 0; i < c.request_count; i++) {
        assert_true(c.requests[i].cancelled || c.requests[i].verdict == SCHED_GRANTED);
    }
    assert_true(c.loads <= c.request_count);
    free(c.requests);
}

static void all_are_served(void **state)
{
    (void)state;
    seeds_run(WORLDS, one_world);
}

/* --- that nobody waits for --- */

static const struct sched_model wanted = {.name = {"n", 1}, .context = 4096};

static void a_load_of_our_own_waits_for_who_would_go(void **state)
{
    struct sched *s = make();
    struct sched_job m = job_of("m", 1);
    struct sched_stats stats;
    uint64_t ticket;

    (void)state;
    world_node(s, 0, 1,
               (struct node_words){.lists = "m n", .resident = "m:5", .memory = 9, .loads = true});
    assert_int_equal(world_granted(s, 10, &m, &ticket), 1);
    assert_false(sched_load(s, 20, 1, &wanted, false));
    world_done(s, 1000, ticket);
    assert_false(sched_load(s, 1000 + 2 * SECOND_US - 1, 1, &wanted, false));
    assert_true(sched_load(s, 1000 + 2 * SECOND_US, 1, &wanted, false));
    sched_stats(s, &stats);
    assert_int_equal(stats.loads, 1);
    assert_false(sched_load(s, 1000 + 2 * SECOND_US, 1, &wanted, true)); /* one at a time */
    sched_free(&s);
}

/* Also where it is made at once, others wait for it as for any load, and what went is loaded anew.
 */
static void requests_know_of_a_load_of_our_own(void **state)
{
    struct sched *s = make();
    struct sched_job m = job_of("m", 1), n = job_of("n", 2), other = job_of("n", 3);
    struct sched_decision d;
    uint64_t ticket;

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m n", .resident = "m:5", .loads = true});
    assert_int_equal(world_granted(s, 10, &m, &ticket), 1);
    assert_true(sched_load(s, 20, 1, &wanted, true));
    (void)world_queued(s, 30, &m);
    other.options = 77; /* as it is not being loaded */
    (void)world_queued(s, 30, &other);
    n.options = 78;
    n.context = 4096;
    assert_int_equal(world_granted(s, 40, &n, NULL), 1);
    sched_loaded(s, SECOND_US, 1, SLICE("n"), true);
    assert_int_equal(world_taken(s, &d), 1); /* what went is loaded anew, as its size fits beside */
    assert_true(d.loads);
    assert_int_equal(world_granted(s, SECOND_US, &n, NULL), 1);
    sched_loaded(s, SECOND_US, 1, SLICE("n"), false); /* it is over already */
    assert_int_equal(world_granted(s, SECOND_US, &n, NULL), 1);
    sched_free(&s);
}

static void a_load_of_our_own_that_failed_leaves_the_node_free(void **state)
{
    struct sched *s = make();
    struct sched_job m = job_of("m", 1);
    struct sched_decision d;

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m n", .loads = true});
    assert_true(sched_load(s, 0, 1, &wanted, false));
    (void)world_queued(s, 10, &m);
    assert_int_equal(world_taken(s, NULL), 0);
    sched_loaded(s, 20, 1, SLICE("n"), false);
    assert_int_equal(world_taken(s, &d), 1);
    assert_true(d.loads);
    sched_free(&s);
}

/* What nobody has used does not keep the next one waiting. */
static void loads_of_our_own_come_one_after_the_other(void **state)
{
    static const struct sched_model models[] = {
        {.name = SLICE("m")}, {.name = SLICE("n")}, {.name = SLICE("o")}};
    struct sched *s = make();

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m n o", .loads = true});
    for (uint64_t i = 0; i < 3; i++) {
        uint64_t now_us = 100 * SECOND_US + i * SECOND_US;

        assert_true(sched_load(s, now_us, 1, &models[i], false));
        sched_loaded(s, now_us + MS, 1, models[i].name, true);
    }
    sched_free(&s);
}

/* There is nothing to protect, and nothing is thought to be loaded. */
static void loads_that_concern_nobody(void **state)
{
    struct sched *s = make();
    struct sched_model unknown = {.name = SLICE("x")};
    struct sched_stats stats;

    (void)state;
    assert_true(sched_load(s, 0, 9, &wanted, false));
    world_node(s, 0, 1, (struct node_words){.lists = "m n"});
    world_node(s, 0, 2, (struct node_words){.lists = "m n", .loads = true, .cordoned = true});
    for (uint64_t id = 1; id <= 2; id++) {
        assert_true(sched_load(s, 0, id, &wanted, false));
        assert_true(sched_load(s, 0, id, &unknown, false));
        sched_loaded(s, 0, id, wanted.name, true);
        sched_loaded(s, 0, id, unknown.name, true);
    }
    sched_stats(s, &stats);
    assert_int_equal(stats.loads, 0);
    sched_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_it_is_resident),
        cmocka_unit_test(one_load_at_a_time),
        cmocka_unit_test(an_idle_model_goes),
        cmocka_unit_test(a_busy_model_goes_in_time),
        cmocka_unit_test(what_fits_is_learned),
        cmocka_unit_test(what_fits_is_known),
        cmocka_unit_test(what_fits_is_tried),
        cmocka_unit_test(a_load_whose_caller_left),
        cmocka_unit_test(a_burst_on_a_cold_cluster),
        cmocka_unit_test(a_load_for_one_that_is_too_late),
        cmocka_unit_test(no_thrash),
        SEEDS_TEST(all_are_served),
        cmocka_unit_test(a_load_of_our_own_waits_for_who_would_go),
        cmocka_unit_test(requests_know_of_a_load_of_our_own),
        cmocka_unit_test(a_load_of_our_own_that_failed_leaves_the_node_free),
        cmocka_unit_test(loads_of_our_own_come_one_after_the_other),
        cmocka_unit_test(loads_that_concern_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
