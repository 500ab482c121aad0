/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "alloc_fault.h"

static const struct wire_session_config CONFIG = {
    .max_in_flight = WIRE_SESSIONS_MAX,
    .max_idle = WIRE_SESSIONS_REMEMBERED,
    .idle_ms = WIRE_SESSION_IDLE_MS,
    .max_inherit_bytes = WIRE_INHERIT_BYTES_MAX,
    .hash_seed = 0x5eed,
};

static struct wire_session *begin(struct wire_session_table *t, uint32_t id, uint64_t now_ms)
{
    struct wire_session *s = NULL;

    assert_int_equal(wire_session_begin(t, id, now_ms, &s), 0);
    assert_int_equal(s->id, id);
    assert_true(s->in_flight);
    assert_null(s->exchange);
    return s;
}

/* One whole admitted exchange with a model. */
static void use(struct wire_session_table *t, uint32_t id, const char *model, uint64_t now_ms)
{
    struct wire_session *s = begin(t, id, now_ms);

    assert_int_equal(
        wire_session_inherit(t, s, &(struct wire_inherited){.model = slice_str(model)}), 0);
    wire_session_end(t, s, now_ms);
}

static void one_exchange_at_a_time(void **state)
{
    struct wire_session_table t;
    struct wire_session *s, *other = NULL;

    (void)state;
    wire_session_table_init(&t, &CONFIG);
    s = begin(&t, 7, 0);
    s->exchange = &t;
    assert_int_equal(wire_session_begin(&t, 7, 0, &other), MCP_ESESSION_BUSY);
    assert_null(other);
    assert_ptr_equal(s->exchange, &t); /* the running one is untouched */
    other = begin(&t, 8, 0);
    assert_int_equal(t.in_flight, 2);
    wire_session_end(&t, s, 0);
    wire_session_end(&t, begin(&t, 7, 0), 0);
    wire_session_end(&t, other, 0);
    assert_int_equal(t.in_flight, 0);
    wire_session_table_fini(&t);
}

static void at_most_max_sessions_in_flight(void **state)
{
    struct wire_session_table t;
    struct wire_session *s = NULL, *last = NULL;

    (void)state;
    wire_session_table_init(&t, &CONFIG);
    use(&t, 1000000, "m", 0);
    for (uint32_t id = 1; id <= WIRE_SESSIONS_MAX; id++) {
        last = begin(&t, id, 0);
    }
    assert_int_equal(wire_session_begin(&t, 999999, 0, &s), MCP_EQUEUE_FULL);
    assert_int_equal(wire_session_begin(&t, 1000000, 0, &s),
                     MCP_EQUEUE_FULL); /* idle, remembered */
    assert_int_equal(wire_session_begin(&t, 5, 0, &s), MCP_ESESSION_BUSY);
    wire_session_end(&t, last, 0);
    s = begin(&t, 1000000, 0);
    assert_true(slice_eq(s->inherited.model, SLICE("m")));
    wire_session_table_fini(&t); /* with sessions in flight: nothing leaks */
}

static void later_requests_inherit_what_they_do_not_give(void **state)
{
    struct wire_session_table t;
    struct wire_session *s;
    char model[] = "m\0x"; /* any bytes */

    (void)state;
    wire_session_table_init(&t, &CONFIG);
    s = begin(&t, 1, 0);
    assert_null(s->inherited.model.ptr);
    assert_int_equal(wire_session_inherit(&t, s,
                                          &(struct wire_inherited){
                                              .model = slice_of(model, 3),
                                              .tags = SLICE("{\"a\":\"b\"}"),
                                              .options = SLICE("{\"seed\":1}"),
                                              .deadline_ms = 5000,
                                              .priority = 2,
                                          }),
                     0);
    s->node_id = 42;
    model[0] = 'z'; /* it was copied */
    wire_session_end(&t, s, 10);

    s = begin(&t, 1, 20);
    assert_int_equal(s->inherited.model.len, 3);
    assert_memory_equal(s->inherited.model.ptr, "m\0x", 3);
    assert_true(slice_eq(s->inherited.tags, SLICE("{\"a\":\"b\"}")));
    assert_true(slice_eq(s->inherited.options, SLICE("{\"seed\":1}")));
    assert_int_equal(s->inherited.deadline_ms, 5000);
    assert_int_equal(s->inherited.priority, 2);
    assert_int_equal(s->node_id, 42);
    assert_int_equal(wire_session_inherit(&t, s,
                                          &(struct wire_inherited){
                                              .model = SLICE("other"),
                                              .tags = SLICE(""),
                                          }),
                     0);
    wire_session_end(&t, s, 30);

    s = begin(&t, 1, 40);
    assert_true(slice_eq(s->inherited.model, SLICE("other")));
    assert_null(s->inherited.tags.ptr); /* cleared */
    assert_true(slice_eq(s->inherited.options, SLICE("{\"seed\":1}")));
    assert_int_equal(s->inherited.priority, 2);
    wire_session_end(&t, s, 50); /* a refused request: nothing was set */
    assert_true(slice_eq(wire_session_find(&t, 1, 60)->inherited.model, SLICE("other")));
    wire_session_table_fini(&t);
}

static void sessions_with_nothing_to_pass_on_are_not_kept(void **state)
{
    struct wire_session_table t;
    struct wire_session *s;

    (void)state;
    wire_session_table_init(&t, &CONFIG);
    wire_session_end(&t, begin(&t, 1, 0), 0);
    assert_null(wire_session_find(&t, 1, 0));
    s = begin(&t, 2, 0);
    s->node_id = 1;
    wire_session_end(&t, s, 0);
    assert_non_null(wire_session_find(&t, 2, 0));
    assert_int_equal(t.idle.count, 1);
    assert_int_equal(t.evicted + t.expired, 0);
    wire_session_table_fini(&t);
}

static void idle_sessions_are_forgotten_after_their_time(void **state)
{
    struct wire_session_table t;

    (void)state;
    wire_session_table_init(&t, &CONFIG);
    assert_int_equal(wire_session_expiry_ms(&t), 0);
    use(&t, 1, "one", 1000);
    use(&t, 2, "two", 2000);
    use(&t, 3, "three", 2000);
    assert_int_equal(wire_session_expiry_ms(&t), 301000);
    assert_int_equal(wire_session_expire(&t, 300999), 0);
    assert_non_null(wire_session_find(&t, 1, 300999));
    assert_null(wire_session_find(&t, 1, 301000)); /* before the timer came */
    assert_int_equal(wire_session_expire(&t, 301000), 1);
    assert_int_equal(wire_session_expiry_ms(&t), 302000);

    /* One that begins late, before the timer came, starts anew. */
    assert_null(begin(&t, 2, 302000)->inherited.model.ptr);
    assert_int_equal(wire_session_expire(&t, 302000), 1);
    assert_int_equal(t.expired, 3);
    assert_int_equal(wire_session_expiry_ms(&t), 0); /* one in flight has no time */
    assert_int_equal(wire_session_expire(&t, 10000000), 0);
    assert_int_equal(t.inherited_bytes, 0);
    wire_session_table_fini(&t);
}

static void the_oldest_idle_one_makes_room(void **state)
{
    struct wire_session_table t;

    (void)state;
    wire_session_table_init(&t, &CONFIG);
    for (uint32_t id = 1; id <= WIRE_SESSIONS_REMEMBERED; id++) {
        use(&t, id, "m", id);
    }
    use(&t, 1, "m", 2000); /* now the youngest */
    assert_int_equal(t.evicted, 0);
    use(&t, 5000, "m", 2001);
    assert_int_equal(t.evicted, 1);
    assert_null(wire_session_find(&t, 2, 2001));
    assert_non_null(wire_session_find(&t, 1, 2001));
    assert_int_equal(t.idle.count, WIRE_SESSIONS_REMEMBERED);
    wire_session_table_fini(&t);
}

static void what_is_inherited_is_bounded(void **state)
{
    struct wire_session_config config = CONFIG;
    struct wire_session_table t;
    struct wire_session *s;
    char text[101] = {0};

    (void)state;
    config.max_inherit_bytes = 100;
    wire_session_table_init(&t, &config);
    use(&t, 1, "0123456789", 0);
    use(&t, 2, "0123456789", 0);
    s = begin(&t, 3, 0);
    assert_int_equal(
        wire_session_inherit(&t, s, &(struct wire_inherited){.options = slice_of(text, 90)}), 0);
    assert_int_equal(t.evicted, 1);
    assert_null(wire_session_find(&t, 1, 0));
    assert_non_null(wire_session_find(&t, 2, 0));
    assert_int_equal(
        wire_session_inherit(&t, s, &(struct wire_inherited){.options = slice_of(text, 101)}),
        MCP_ETOO_LARGE);
    assert_int_equal(s->inherited.options.len, 90);
    assert_int_equal(
        wire_session_inherit(&t, s, &(struct wire_inherited){.options = slice_of(text, 100)}),
        0); /* its own old one does not count */
    assert_int_equal(t.evicted, 2);
    assert_int_equal(t.inherited_bytes, 100);
    assert_int_equal(
        wire_session_inherit(&t, begin(&t, 4, 0), &(struct wire_inherited){.model = SLICE("m")}),
        MCP_ETOO_LARGE); /* sessions in flight are not robbed */
    wire_session_table_fini(&t);
}

static void errors_go_where_they_end_nothing(void **state)
{
    struct wire_session_table t;

    (void)state;
    wire_session_table_init(&t, &CONFIG);
    use(&t, 1, "m", 0);
    begin(&t, 2, 0);
    assert_int_equal(wire_error_session(&t, 0), 0);
    assert_int_equal(wire_error_session(&t, 1), 1); /* idle */
    assert_int_equal(wire_error_session(&t, 2), 0); /* in flight */
    assert_int_equal(wire_error_session(&t, 3), 3); /* never seen */
    wire_session_table_fini(&t);
}

static void run_out_of_memory(void *arg)
{
    struct wire_session_table t;
    size_t begun = 0, told = 0;

    (void)arg;
    wire_session_table_init(&t, &CONFIG);
    for (uint32_t id = 1; id <= 40; id++) {
        struct wire_session *s = NULL;
        int rv = wire_session_begin(&t, id, 0, &s);

        if (rv != 0) {
            assert_int_equal(rv, MCP_ENOMEM);
            assert_null(s);
            continue;
        }
        begun++;
        rv = wire_session_inherit(&t, s,
                                  &(struct wire_inherited){.model = SLICE("model"),
                                                           .tags = SLICE("{}"),
                                                           .options = SLICE("{ }")});
        if (rv != 0) {
            assert_int_equal(rv, MCP_ENOMEM);
            assert_null(s->inherited.model.ptr);
            assert_int_equal(s->inherited_bytes, 0);
        } else {
            told++;
        }
        wire_session_end(&t, s, 0);
    }
    assert_true(begun >= 39 && told >= 39);
    assert_int_equal(t.inherited_bytes, told * 10);
    for (uint32_t id = 1; id <= 40; id++) {
        struct wire_session *s = wire_session_find(&t, id, 0);

        assert_true(s == NULL || slice_eq(s->inherited.model, SLICE("model")));
    }
    wire_session_table_fini(&t);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    alloc_fault_each(run_out_of_memory, NULL);
}

/* --- against a naive model
 * -------------------------------------------------------------------------- */

enum { IDS = 40 };

struct model_session {
    bool known, in_flight;
    uint64_t idle_since, stamp; /* stamp: order of becoming idle */
    char model[16];
    uint64_t node;
    struct wire_session *real;
};

struct model {
    struct model_session sessions[IDS];
    struct wire_session_config config;
    uint64_t now, stamp, expired, evicted;
};

static uint32_t rng(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33);
}

static size_t model_count(const struct model *m, bool in_flight)
{
    size_t n = 0;

    for (size_t i = 0; i < IDS; i++) {
        n += m->sessions[i].known && m->sessions[i].in_flight == in_flight;
    }
    return n;
}

static void model_forget_oldest(struct model *m)
{
    struct model_session *oldest = NULL;

    for (size_t i = 0; i < IDS; i++) {
        struct model_session *s = &m->sessions[i];

        if (s->known && !s->in_flight && (oldest == NULL || s->stamp < oldest->stamp)) {
            oldest = s;
        }
    }
    *oldest = (struct model_session){0};
    m->evicted++;
}

static void model_expire(struct model *m, struct model_session *s)
{
    if (s->known && !s->in_flight && m->now >= s->idle_since + m->config.idle_ms) {
        *s = (struct model_session){0};
        m->expired++;
    }
}

static void step_begin(struct model *m, struct wire_session_table *t, uint32_t id)
{
    struct model_session *s = &m->sessions[id];
    struct wire_session *real = NULL;
    int want = s->in_flight                                      ? MCP_ESESSION_BUSY
               : model_count(m, true) >= m->config.max_in_flight ? MCP_EQUEUE_FULL
                                                                 : 0;

    assert_int_equal(wire_session_begin(t, id + 1, m->now, &real), want);
    if (want == 0) {
        model_expire(m, s);
        s->known = s->in_flight = true;
        s->real = real;
        assert_true(slice_eq(real->inherited.model, slice_str(s->model)));
        assert_int_equal(real->node_id, s->node);
    }
}

static void step_inherit(struct model *m, struct wire_session_table *t, uint32_t id, uint64_t *seed)
{
    struct model_session *s = &m->sessions[id];

    if (s->in_flight) {
        snprintf(s->model, sizeof(s->model), "m%u", rng(seed) % 100);
        assert_int_equal(wire_session_inherit(
                             t, s->real, &(struct wire_inherited){.model = slice_str(s->model)}),
                         0);
        s->node = s->real->node_id = rng(seed) % 3;
    }
}

static void step_end(struct model *m, struct wire_session_table *t, uint32_t id)
{
    struct model_session *s = &m->sessions[id];

    if (!s->in_flight) {
        return;
    }
    wire_session_end(t, s->real, m->now);
    s->in_flight = false;
    s->idle_since = m->now;
    s->stamp = ++m->stamp;
    if (s->model[0] == '\0' && s->node == 0) {
        *s = (struct model_session){0};
    } else if (model_count(m, false) > m->config.max_idle) {
        model_forget_oldest(m);
    }
}

static void compare(const struct model *m, const struct wire_session_table *t)
{
    assert_int_equal(t->in_flight, model_count(m, true));
    assert_int_equal(t->idle.count, model_count(m, false));
    assert_int_equal(t->expired, m->expired);
    assert_int_equal(t->evicted, m->evicted);
    for (uint32_t id = 0; id < IDS; id++) {
        const struct model_session *s = &m->sessions[id];
        const struct wire_session *real = wire_session_find(t, id + 1, m->now);
        bool over = !s->in_flight && m->now >= s->idle_since + m->config.idle_ms;

        assert_int_equal(real != NULL, s->known && !over);
        if (real != NULL) {
            assert_true(slice_eq(real->inherited.model, slice_str(s->model)));
            assert_int_equal(real->in_flight, s->in_flight);
        }
        assert_int_equal(wire_error_session(t, id + 1), s->in_flight ? 0 : id + 1);
    }
}

static void run_model(uint64_t seed)
{
    struct model m = {.config = {8, 6, 900, 10000, seed}};
    struct wire_session_table t;

    wire_session_table_init(&t, &m.config);
    for (size_t i = 0; i < 2000; i++) {
        uint32_t id = rng(&seed) % IDS;

        switch (rng(&seed) % 8) {
        case 0:
        case 1:
            step_begin(&m, &t, id);
            break;
        case 2:
        case 3:
            step_inherit(&m, &t, id, &seed);
            break;
        case 4:
        case 5:
        case 6:
            step_end(&m, &t, id);
            break;
        default:
            m.now += rng(&seed) % 100;
            if (rng(&seed) % 4 == 0) {
                wire_session_expire(&t, m.now);
                for (size_t j = 0; j < IDS; j++) {
                    model_expire(&m, &m.sessions[j]);
                }
            }
        }
        compare(&m, &t);
    }
    assert_true(m.expired > 0 && m.evicted > 0);
    wire_session_table_fini(&t);
}

static void random_operations_match_a_naive_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        print_message("  seed %lu\n", (unsigned long)seed);
        run_model(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_exchange_at_a_time),
        cmocka_unit_test(at_most_max_sessions_in_flight),
        cmocka_unit_test(later_requests_inherit_what_they_do_not_give),
        cmocka_unit_test(sessions_with_nothing_to_pass_on_are_not_kept),
        cmocka_unit_test(idle_sessions_are_forgotten_after_their_time),
        cmocka_unit_test(the_oldest_idle_one_makes_room),
        cmocka_unit_test(what_is_inherited_is_bounded),
        cmocka_unit_test(errors_go_where_they_end_nothing),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(random_operations_match_a_naive_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
