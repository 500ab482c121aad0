/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of requests: which give way, which stay, and what is told of one. */
#include "gateway/trace.h"

#include <stdio.h>
#include <string.h>

#include "exchange_asker.h"
#include "gateway/made_headers.h"
#include "gateway/request_id.h"

static struct peer peers[2];

#define GENERATE "{\"model\":\"m\",\"prompt\":\"the-private-prompt\"}"
#define DONE "{\"done\":true}"

/* The records of an id, as JSON; how many. */
static size_t find(const char *id, struct buf *out)
{
    size_t count;

    buf_clear(out);
    count = trace_find(&sub, slice_str(id), out);
    assert_true(buf_append_byte(out, '\0'));
    assert_null(strstr(out->data, "private"));
    return count;
}

static void ask_named(struct asker *a, const char *id)
{
    *a = (struct asker){0};
    asker_make(a, GENERATE);
    slice_copy(slice_str(id), a->x->id, sizeof(a->x->id));
    exchange_start(a->x);
}

/* One that is answered at once. */
static void run_one(const char *id, size_t bytes_in)
{
    struct asker a;

    ask_named(&a, id);
    a.x->bytes_in = bytes_in;
    answer_json(&peers[0], asked_on(&peers[0], "/api/generate"), "200 OK", DONE);
    asker_wait(&a, "ale");
    run_turns();
}

static void what_runs_does_not_give_way(void **state)
{
    struct asker slow;
    struct buf found = {0};
    size_t conn;

    (void)state;
    (void)ollama_node(&peers[0], "m:latest");
    trace_ring_init(&sub.trace, 2);
    ask_named(&slow, "slow");
    conn = asked_on(&peers[0], "/api/generate");
    for (int i = 0; i < 3; i++) {
        run_one("quick", 1);
        run_one("last", 1);
    }
    assert_int_equal(find("quick", &found), 0);
    assert_int_equal(find("last", &found), 1);
    assert_int_equal(find("slow", &found), 1);
    assert_non_null(strstr(found.data, "\"state\":\"running\""));
    answer_json(&peers[0], conn, "200 OK", DONE);
    asker_wait(&slow, "ale");
    assert_int_equal(find("slow", &found), 1);
    assert_non_null(strstr(found.data, "\"state\":\"ended\""));
    assert_non_null(strstr(found.data, "\"code\":\"ok\""));
    buf_fini(&found);
    trace_ring_fini(&sub.trace);
}

/* Where all records are in use, one more request is merely not traced. */
static void no_room(void **state)
{
    struct asker first, second;
    struct buf found = {0};

    (void)state;
    (void)ollama_node(&peers[0], "m:latest");
    trace_ring_init(&sub.trace, 1);
    ask_named(&first, "first");
    (void)asked_on(&peers[0], "/api/generate");
    ask_named(&second, "second");
    assert_null(second.x->trace);
    exchange_cancel(&second.x);
    assert_int_equal(find("second", &found), 0);
    assert_int_equal(find("first", &found), 1);
    exchange_cancel(&first.x);
    assert_int_equal(find("first", &found), 1);
    assert_non_null(strstr(found.data, "ended as cancelled\""));
    buf_fini(&found);
    trace_ring_fini(&sub.trace);
}

static void the_latest_of_one_id_in_order(void **state)
{
    struct buf found = {0};
    const char *at;

    (void)state;
    (void)ollama_node(&peers[0], "m:latest");
    trace_ring_init(&sub.trace, TRACE_FOUND_MAX + 3);
    for (size_t i = 1; i <= TRACE_FOUND_MAX + 5; i++) {
        run_one("same", i);
    }
    assert_int_equal(find("same", &found), TRACE_FOUND_MAX);
    at = found.data;
    for (size_t i = 6; i <= TRACE_FOUND_MAX + 5; i++) {
        char member[32];

        (void)snprintf(member, sizeof(member), "\"bytes_in\":%zu,", i);
        at = strstr(at, member);
        assert_non_null(at);
    }
    buf_fini(&found);
    trace_ring_fini(&sub.trace);
}

static void events_are_bounded(void **state)
{
    struct asker a;
    struct buf found = {0};

    (void)state;
    (void)ollama_node(&peers[0], "m:latest");
    trace_ring_init(&sub.trace, 1);
    ask_named(&a, "many");
    (void)asked_on(&peers[0], "/api/generate");
    for (int i = 0; i < 2 * TRACE_EVENTS_MAX; i++) {
        trace_note(a.x, TRACE_WAITS_ROOM);
    }
    exchange_cancel(&a.x);
    assert_int_equal(find("many", &found), 1);
    assert_null(strstr(found.data, "\"events_left_out\":0"));
    assert_non_null(strstr(found.data, "\"event\":\"end\""));
    buf_fini(&found);
    trace_ring_fini(&sub.trace);
}

static void ids(void **state)
{
    char id[REQUEST_ID_MAX + 1];
    char other[REQUEST_ID_MAX + 1];

    (void)state;
    assert_true(request_id_is_fine(SLICE("aZ09-_.:")));
    assert_false(request_id_is_fine(SLICE("")));
    assert_false(request_id_is_fine(SLICE("a b")));
    assert_false(request_id_is_fine(SLICE("a\0b")));
    assert_false(request_id_is_fine(SLICE("\xc3\xa9")));
    request_id_take(&sub, SLICE("mine"), id);
    assert_string_equal(id, "mine");
    request_id_take(&sub, SLICE("not mine"), id);
    request_id_make(&sub, other);
    assert_string_not_equal(id, other);
    assert_true(request_id_is_fine(slice_str(id)) && request_id_is_fine(slice_str(other)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXCHANGE_TEST(what_runs_does_not_give_way),
        EXCHANGE_TEST(no_room),
        EXCHANGE_TEST(the_latest_of_one_id_in_order),
        EXCHANGE_TEST(events_are_bounded),
        EXCHANGE_TEST(ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
