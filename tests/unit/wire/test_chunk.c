/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "mcp/error.h"

enum { LIMIT = 1000 };

/* Memory that others share. */
struct shared {
    size_t held, most;
};

static int hold(void *arg, size_t bytes, struct err *e)
{
    struct shared *m = arg;

    assert_true(bytes > 0);
    if (bytes > m->most - m->held) {
        return err_set(e, MCP_EQUEUE_FULL, "shared memory is used up");
    }
    m->held += bytes;
    return 0;
}

static void let_go(void *arg, size_t bytes)
{
    struct shared *m = arg;

    assert_true(bytes > 0 && bytes <= m->held);
    m->held -= bytes;
}

struct fixture {
    struct shared memory;
    struct wire_chunks chunks;
    struct buf whole;
    struct err e;
};

static void set_up(struct fixture *f, size_t most)
{
    struct wire_chunks_config config = {
        .max_payload_bytes = LIMIT,
        .hold = hold,
        .let_go = let_go,
        .arg = &f->memory,
        .no_memory = MCP_EINTERNAL,
        .hash_seed = 0x5eed,
    };

    memset(f, 0, sizeof(*f));
    f->memory.most = most;
    wire_chunks_init(&f->chunks, &config);
}

static void tear_down(struct fixture *f)
{
    wire_chunks_fini(&f->chunks);
    assert_int_equal(f->memory.held, 0);
    buf_fini(&f->whole);
}

static enum wire_chunk_verdict piece(struct fixture *f, uint32_t session, struct slice bytes,
                                     uint64_t now_ms)
{
    f->e = (struct err){0};
    return wire_chunks_piece(&f->chunks, session, bytes, now_ms, &f->e);
}

static enum wire_chunk_verdict last(struct fixture *f, uint32_t session, struct slice bytes)
{
    f->e = (struct err){0};
    return wire_chunks_last(&f->chunks, session, bytes, &f->whole, &f->e);
}

static void assert_whole(const struct fixture *f, const char *want)
{
    assert_true(slice_eq(buf_slice(&f->whole), slice_str(want)));
}

static void pieces_become_a_whole(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, 1 << 20);
    assert_int_equal(piece(&f, 5, SLICE("ab"), 0), WIRE_CHUNK_BEGUN);
    assert_true(wire_chunks_collecting(&f.chunks, 5));
    assert_int_equal(piece(&f, 5, SLICE("c"), 0), WIRE_CHUNK_KEPT);
    assert_int_equal(last(&f, 5, SLICE("de")), WIRE_CHUNK_WHOLE);
    assert_whole(&f, "abcde");
    assert_int_equal(f.memory.held, 0);
    assert_false(wire_chunks_collecting(&f.chunks, 5));
    /* The next one begins anew; the last piece may be empty. */
    assert_int_equal(piece(&f, 5, SLICE("x"), 0), WIRE_CHUNK_BEGUN);
    assert_int_equal(last(&f, 5, SLICE("")), WIRE_CHUNK_WHOLE);
    assert_whole(&f, "x");
    assert_int_equal(last(&f, 5, SLICE("alone")), WIRE_CHUNK_ALONE);
    tear_down(&f);
}

static void sessions_do_not_mix(void **state)
{
    enum { SESSIONS = 2000 };
    struct fixture f;
    char text[16];

    (void)state;
    set_up(&f, 1 << 24);
    for (uint32_t i = 1; i <= SESSIONS; i++) {
        snprintf(text, sizeof(text), "%u,", i);
        assert_int_equal(piece(&f, i, slice_str(text), i), WIRE_CHUNK_BEGUN);
    }
    for (uint32_t i = SESSIONS; i >= 1; i--) {
        snprintf(text, sizeof(text), "%u;", i);
        assert_int_equal(piece(&f, i, slice_str(text), i), WIRE_CHUNK_KEPT);
    }
    for (uint32_t i = 1; i <= SESSIONS; i += 2) {
        assert_int_equal(last(&f, i, SLICE(".")), WIRE_CHUNK_WHOLE);
        snprintf(text, sizeof(text), "%u,%u;.", i, i);
        assert_whole(&f, text);
    }
    tear_down(&f);
}

static void an_empty_piece_drops_what_is_there(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, 1 << 20);
    assert_int_equal(piece(&f, 5, SLICE(""), 0), WIRE_CHUNK_NOTHING);
    assert_int_equal(piece(&f, 5, SLICE("ab"), 0), WIRE_CHUNK_BEGUN);
    assert_true(f.memory.held > 0);
    assert_int_equal(piece(&f, 5, SLICE(""), 0), WIRE_CHUNK_DROPPED);
    assert_int_equal(f.memory.held, 0);
    assert_int_equal(last(&f, 5, SLICE("c")), WIRE_CHUNK_ALONE);
    tear_down(&f);
}

static void a_cancel_drops_what_is_there(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, 1 << 20);
    assert_false(wire_chunks_drop(&f.chunks, 5));
    assert_int_equal(piece(&f, 5, SLICE("ab"), 0), WIRE_CHUNK_BEGUN);
    assert_true(wire_chunks_drop(&f.chunks, 5));
    assert_int_equal(f.memory.held, 0);
    assert_false(wire_chunks_drop(&f.chunks, 5));
    /* What is discarded goes on being discarded: its sender has not heard yet. */
    assert_int_equal(piece(&f, 5, SLICE("ab"), 0), WIRE_CHUNK_BEGUN);
    assert_true(wire_chunks_refuse(&f.chunks, 5));
    assert_false(wire_chunks_drop(&f.chunks, 5));
    assert_int_equal(piece(&f, 5, SLICE("ab"), 0), WIRE_CHUNK_NOTHING);
    tear_down(&f);
}

static void the_whole_is_limited(void **state)
{
    static char bytes[LIMIT + 1];
    struct fixture f;

    (void)state;
    set_up(&f, 1 << 20);
    assert_int_equal(piece(&f, 5, slice_of(bytes, LIMIT - 1), 0), WIRE_CHUNK_BEGUN);
    assert_int_equal(last(&f, 5, slice_of(bytes, 1)), WIRE_CHUNK_WHOLE);
    assert_int_equal(buf_len(&f.whole), LIMIT);

    assert_int_equal(piece(&f, 6, slice_of(bytes, LIMIT), 0), WIRE_CHUNK_BEGUN);
    assert_int_equal(piece(&f, 6, slice_of(bytes, 1), 0), WIRE_CHUNK_REFUSED);
    assert_int_equal(f.e.code, MCP_ETOO_LARGE);
    assert_non_null(strstr(f.e.text, "1000 bytes"));
    assert_int_equal(f.memory.held, 0);
    assert_int_equal(piece(&f, 6, slice_of(bytes, 1), 0), WIRE_CHUNK_NOTHING);
    assert_int_equal(last(&f, 6, slice_of(bytes, 1)), WIRE_CHUNK_NOTHING);
    assert_int_equal(last(&f, 6, slice_of(bytes, 1)), WIRE_CHUNK_ALONE);

    /* In the last piece; then nothing is left to be discarded. */
    assert_int_equal(piece(&f, 7, slice_of(bytes, 1), 0), WIRE_CHUNK_BEGUN);
    assert_int_equal(last(&f, 7, slice_of(bytes, LIMIT)), WIRE_CHUNK_REFUSED);
    assert_int_equal(f.e.code, MCP_ETOO_LARGE);
    assert_int_equal(last(&f, 7, slice_of(bytes, 1)), WIRE_CHUNK_ALONE);

    /* In the first one. */
    assert_int_equal(piece(&f, 8, slice_of(bytes, LIMIT + 1), 0), WIRE_CHUNK_REFUSED);
    assert_int_equal(f.e.code, MCP_ETOO_LARGE);
    assert_int_equal(piece(&f, 8, SLICE(""), 0), WIRE_CHUNK_NOTHING);

    /* The limit is changed (authentication): what is there counts against the new one. */
    assert_int_equal(piece(&f, 9, slice_of(bytes, 100), 0), WIRE_CHUNK_BEGUN);
    f.chunks.config.max_payload_bytes = 50;
    assert_int_equal(piece(&f, 9, slice_of(bytes, 1), 0), WIRE_CHUNK_REFUSED);
    tear_down(&f);
}

static void shared_memory_is_asked_for(void **state)
{
    static char bytes[400];
    struct fixture f;

    (void)state;
    set_up(&f, 600);
    assert_int_equal(piece(&f, 5, slice_of(bytes, 400), 0), WIRE_CHUNK_BEGUN);
    assert_true(f.memory.held >= 400);
    assert_int_equal(piece(&f, 6, slice_of(bytes, 400), 0), WIRE_CHUNK_REFUSED);
    assert_int_equal(f.e.code, MCP_EQUEUE_FULL);
    assert_string_equal(f.e.text, "shared memory is used up");
    assert_int_equal(piece(&f, 6, slice_of(bytes, 400), 0), WIRE_CHUNK_NOTHING);
    assert_int_equal(last(&f, 5, slice_of(bytes, 100)), WIRE_CHUNK_WHOLE);
    assert_int_equal(f.memory.held, 0);
    tear_down(&f);
}

static void without_a_hook_nothing_is_shared(void **state)
{
    const struct wire_chunks_config config = {.max_payload_bytes = LIMIT, .no_memory = MCP_ENOMEM};
    struct wire_chunks c;
    struct buf whole = {0};
    struct err e;

    (void)state;
    wire_chunks_init(&c, &config);
    assert_int_equal(wire_chunks_piece(&c, 1, SLICE("a"), 0, &e), WIRE_CHUNK_BEGUN);
    assert_int_equal(wire_chunks_last(&c, 1, SLICE("b"), &whole, &e), WIRE_CHUNK_WHOLE);
    assert_true(slice_eq(buf_slice(&whole), SLICE("ab")));
    buf_fini(&whole);
    wire_chunks_fini(&c);
}

static void a_refused_one_is_discarded_to_its_end(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, 1 << 20);
    for (int by_request = 0; by_request < 2; by_request++) {
        assert_int_equal(piece(&f, 5, SLICE("a"), 0), WIRE_CHUNK_BEGUN);
        assert_true(wire_chunks_refuse(&f.chunks, 5));
        assert_true(wire_chunks_refuse(&f.chunks, 5)); /* nothing changes */
        assert_int_equal(f.memory.held, 0);
        assert_int_equal(piece(&f, 5, SLICE("b"), 0), WIRE_CHUNK_NOTHING);
        assert_int_equal(by_request != 0 ? last(&f, 5, SLICE("c")) : piece(&f, 5, SLICE(""), 0),
                         WIRE_CHUNK_NOTHING);
    }
    assert_true(wire_chunks_refuse(&f.chunks, 5)); /* nothing to refuse */
    assert_int_equal(last(&f, 5, SLICE("c")), WIRE_CHUNK_ALONE);
    tear_down(&f);
}

static enum wire_chunk_verdict lost(struct fixture *f, uint32_t session, bool is_last)
{
    f->e = (struct err){0};
    return wire_chunks_lost(&f->chunks, session, is_last, &f->e);
}

static void a_whole_with_a_lost_piece_is_refused_once(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, 1 << 20);
    for (int begun = 0; begun < 2; begun++) {
        for (int is_last = 0; is_last < 2; is_last++) {
            if (begun != 0) {
                assert_int_equal(piece(&f, 5, SLICE("a"), 0), WIRE_CHUNK_BEGUN);
            }
            assert_int_equal(lost(&f, 5, is_last != 0), WIRE_CHUNK_REFUSED);
            assert_int_equal(f.memory.held, 0);
            if (is_last == 0) {
                assert_int_equal(piece(&f, 5, SLICE("b"), 0), WIRE_CHUNK_NOTHING);
                assert_int_equal(lost(&f, 5, false), WIRE_CHUNK_NOTHING);
                assert_int_equal(begun != 0 ? lost(&f, 5, true) : last(&f, 5, SLICE("c")),
                                 WIRE_CHUNK_NOTHING);
            }
            assert_int_equal(last(&f, 5, SLICE("c")), WIRE_CHUNK_ALONE);
        }
    }
    alloc_fault_at(1);
    assert_int_equal(lost(&f, 6, false), WIRE_CHUNK_CLOSE);
    assert_int_equal(f.e.code, MCP_EINTERNAL);
    alloc_fault_at(0);
    tear_down(&f);
}

static void what_is_discarded_is_bounded(void **state)
{
    struct fixture f;
    uint32_t i;

    (void)state;
    set_up(&f, 1 << 20);
    for (i = 1; i <= WIRE_CHUNK_DISCARDING_MAX; i++) {
        assert_int_equal(piece(&f, i, SLICE("a"), 0), WIRE_CHUNK_BEGUN);
        assert_true(wire_chunks_refuse(&f.chunks, i));
    }
    assert_int_equal(piece(&f, i, SLICE("a"), 0), WIRE_CHUNK_BEGUN);
    assert_false(wire_chunks_refuse(&f.chunks, i));
    f.chunks.config.max_payload_bytes = 1;
    assert_int_equal(piece(&f, i, SLICE("b"), 0), WIRE_CHUNK_CLOSE);
    assert_int_equal(f.e.code, MCP_EBAD_REQUEST);
    assert_int_equal(lost(&f, i, false), WIRE_CHUNK_CLOSE);
    assert_int_equal(f.e.code, MCP_EBAD_REQUEST);
    assert_int_equal(last(&f, 1, SLICE("")), WIRE_CHUNK_NOTHING);
    assert_true(wire_chunks_refuse(&f.chunks, i));
    tear_down(&f);
}

static void one_that_waits_too_long_is_refused(void **state)
{
    struct fixture f;
    uint32_t session = 0;

    (void)state;
    set_up(&f, 1 << 20);
    assert_int_equal(wire_chunks_deadline_ms(&f.chunks), 0);
    assert_int_equal(wire_chunks_stalled(&f.chunks, 99999999, &session, &f.e), WIRE_CHUNK_NOTHING);
    assert_int_equal(piece(&f, 5, SLICE("a"), 1000), WIRE_CHUNK_BEGUN);
    assert_int_equal(piece(&f, 6, SLICE("a"), 2000), WIRE_CHUNK_BEGUN);
    assert_int_equal(wire_chunks_deadline_ms(&f.chunks), 31000);
    assert_int_equal(piece(&f, 5, SLICE("b"), 3000), WIRE_CHUNK_KEPT);
    assert_int_equal(wire_chunks_deadline_ms(&f.chunks), 32000);

    assert_int_equal(wire_chunks_stalled(&f.chunks, 31999, &session, &f.e), WIRE_CHUNK_NOTHING);
    assert_int_equal(wire_chunks_stalled(&f.chunks, 33000, &session, &f.e), WIRE_CHUNK_REFUSED);
    assert_int_equal(session, 6);
    assert_int_equal(f.e.code, MCP_EBAD_REQUEST);
    assert_int_equal(wire_chunks_stalled(&f.chunks, 33000, &session, &f.e), WIRE_CHUNK_REFUSED);
    assert_int_equal(session, 5);
    assert_int_equal(wire_chunks_stalled(&f.chunks, 33000, &session, &f.e), WIRE_CHUNK_NOTHING);
    assert_int_equal(wire_chunks_deadline_ms(&f.chunks), 0);
    assert_int_equal(last(&f, 5, SLICE("c")), WIRE_CHUNK_NOTHING);
    assert_int_equal(last(&f, 5, SLICE("c")), WIRE_CHUNK_ALONE);
    tear_down(&f);
}

static void what_is_not_read_is_not_late(void **state)
{
    struct fixture f;
    uint32_t session = 0;

    (void)state;
    set_up(&f, 1 << 20);
    assert_int_equal(piece(&f, 5, SLICE("a"), 1000), WIRE_CHUNK_BEGUN);
    wire_chunks_paused(&f.chunks, 11000); /* 20 s are left */
    wire_chunks_paused(&f.chunks, 12000);
    assert_int_equal(wire_chunks_deadline_ms(&f.chunks), 0);
    assert_int_equal(wire_chunks_stalled(&f.chunks, 999999, &session, &f.e), WIRE_CHUNK_NOTHING);
    assert_int_equal(piece(&f, 6, SLICE("a"), 50000), WIRE_CHUNK_BEGUN); /* it was read before */
    wire_chunks_resumed(&f.chunks, 111000);
    wire_chunks_resumed(&f.chunks, 112000);
    assert_int_equal(wire_chunks_deadline_ms(&f.chunks), 131000);
    assert_int_equal(wire_chunks_stalled(&f.chunks, 130999, &session, &f.e), WIRE_CHUNK_NOTHING);
    assert_int_equal(piece(&f, 7, SLICE("a"), 130999), WIRE_CHUNK_BEGUN);
    assert_int_equal(wire_chunks_stalled(&f.chunks, 131000, &session, &f.e), WIRE_CHUNK_REFUSED);
    assert_int_equal(session, 5);
    assert_int_equal(wire_chunks_deadline_ms(&f.chunks), 141000);
    assert_int_equal(wire_chunks_stalled(&f.chunks, 141000, &session, &f.e), WIRE_CHUNK_REFUSED);
    assert_int_equal(wire_chunks_deadline_ms(&f.chunks), 160999);
    tear_down(&f);
}

/* --- cutting -------------------------------------------------------------------------------------
 */

static void pieces_fit_the_receiver(void **state)
{
    (void)state;
    assert_int_equal(wire_piece_bytes_max(16 << 20, false), 64 * 1024);
    assert_int_equal(wire_piece_bytes_max(16 << 20, true), 64 * 1024);
    assert_int_equal(wire_piece_bytes_max(64 * 1024, true), 64 * 1024 - 4);
    assert_int_equal(wire_piece_bytes_max(4096, false), 4096);
    assert_int_equal(wire_piece_bytes_max(4096, true), 4092);
}

static void a_payload_is_cut_and_comes_together(void **state)
{
    static char bytes[LIMIT];
    static const size_t LENGTHS[] = {0, 1, 99, 100, 101, 200, 201, LIMIT};
    struct fixture f;

    (void)state;
    set_up(&f, 1 << 20);
    for (size_t i = 0; i < LIMIT; i++) {
        bytes[i] = (char)('a' + i % 26);
    }
    for (size_t i = 0; i < sizeof(LENGTHS) / sizeof(LENGTHS[0]); i++) {
        struct slice rest = slice_of(bytes, LENGTHS[i]);
        struct slice cut = wire_piece_take(&rest, 100);
        size_t chunks = 0;

        for (; rest.len > 0; chunks++) {
            assert_int_equal(cut.len, 100);
            assert_int_equal(piece(&f, 5, cut, 0),
                             chunks == 0 ? WIRE_CHUNK_BEGUN : WIRE_CHUNK_KEPT);
            cut = wire_piece_take(&rest, 100);
        }
        assert_int_equal(chunks, LENGTHS[i] == 0 ? 0 : (LENGTHS[i] - 1) / 100);
        assert_int_equal(last(&f, 5, cut), chunks == 0 ? WIRE_CHUNK_ALONE : WIRE_CHUNK_WHOLE);
        if (chunks > 0) {
            assert_true(slice_eq(buf_slice(&f.whole), slice_of(bytes, LENGTHS[i])));
        } else {
            assert_true(slice_eq(cut, slice_of(bytes, LENGTHS[i])));
        }
    }
    tear_down(&f);
}

/* --- memory --------------------------------------------------------------------------------------
 */

/* Either the whole is there, or the client was refused, or the connection is to be closed. */
static void run_out_of_memory(void *arg)
{
    static char bytes[300];
    enum wire_chunk_verdict verdict = WIRE_CHUNK_KEPT;
    struct fixture f;

    (void)arg;
    set_up(&f, 1 << 20);
    for (int i = 0; i < 3 && verdict != WIRE_CHUNK_CLOSE; i++) {
        verdict = piece(&f, 5, slice_of(bytes, 300), 0);
        if (f.e.code != 0) {
            assert_int_equal(f.e.code, MCP_EINTERNAL);
        }
    }
    if (verdict != WIRE_CHUNK_CLOSE) {
        verdict = last(&f, 5, slice_of(bytes, 100));
        assert_true(verdict == WIRE_CHUNK_NOTHING || verdict == WIRE_CHUNK_REFUSED ||
                    (verdict == WIRE_CHUNK_WHOLE && buf_len(&f.whole) == 1000));
    }
    tear_down(&f);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    alloc_fault_each(run_out_of_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_become_a_whole),
        cmocka_unit_test(sessions_do_not_mix),
        cmocka_unit_test(an_empty_piece_drops_what_is_there),
        cmocka_unit_test(a_cancel_drops_what_is_there),
        cmocka_unit_test(the_whole_is_limited),
        cmocka_unit_test(shared_memory_is_asked_for),
        cmocka_unit_test(without_a_hook_nothing_is_shared),
        cmocka_unit_test(a_refused_one_is_discarded_to_its_end),
        cmocka_unit_test(a_whole_with_a_lost_piece_is_refused_once),
        cmocka_unit_test(what_is_discarded_is_bounded),
        cmocka_unit_test(one_that_waits_too_long_is_refused),
        cmocka_unit_test(what_is_not_read_is_not_late),
        cmocka_unit_test(pieces_fit_the_receiver),
        cmocka_unit_test(a_payload_is_cut_and_comes_together),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
