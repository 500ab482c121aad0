/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/json_scan.h"
#include "sim/engine.h"
#include "sim/words.h"

static void words_follow_from_the_hash(void **state)
{
    struct buf a = {0}, b = {0}, c = {0};

    (void)state;
    assert_true(sim_words_append(&a, 1, 100));
    assert_true(sim_words_append(&b, 1, 100));
    assert_true(sim_words_append(&c, 2, 100));
    assert_int_equal(buf_len(&a), 100 * SIM_WORD_BYTES);
    assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
    assert_false(slice_eq(buf_slice(&a), buf_slice(&c)));
    for (uint32_t i = 0; i < 1000; i++) {
        struct slice word = sim_word(3, i);

        assert_int_equal(word.len, SIM_WORD_BYTES);
        assert_int_equal(word.ptr[0], ' ');
        for (size_t at = 1; at < word.len; at++) {
            assert_in_range(word.ptr[at], 'a', 'z');
        }
    }
    buf_fini(&a);
    buf_fini(&b);
    buf_fini(&c);
}

static void tokens_of_a_text(void **state)
{
    (void)state;
    assert_int_equal(sim_token_count(0), 1);
    assert_int_equal(sim_token_count(4), 1);
    assert_int_equal(sim_token_count(5), 2);
    assert_int_equal(sim_token_count(UINT64_MAX / 2), UINT32_MAX);
}

static void vectors_have_length_one(void **state)
{
    (void)state;
    for (uint32_t dimensions = 1; dimensions < 200; dimensions += 33) {
        struct buf out = {0};
        struct json_walk w;
        struct json_member m;
        uint32_t count = 0;
        double sum = 0;

        assert_true(sim_vector_append(&out, dimensions, dimensions));
        assert_int_equal(json_walk_begin(&w, buf_slice(&out), JSON_ARRAY), JSON_OK);
        while (json_walk_next(&w, &m) == JSON_OK) {
            double value = strtod(m.value.ptr, NULL);

            assert_int_equal(m.kind, JSON_NUMBER);
            sum += value * value;
            count++;
        }
        assert_int_equal(w.status, JSON_END);
        assert_int_equal(count, dimensions);
        assert_true(sum > 0.999 && sum < 1.001);
        buf_fini(&out);
    }
}

static void a_chain_knows_how_far_two_texts_agree(void **state)
{
    struct sim_chain a = {0}, b = {0};
    const size_t block = SIM_BLOCK_TOKENS * SIM_WORD_BYTES;

    (void)state;
    sim_chain_reset(&a, 1, true);
    sim_chain_reset(&b, 1, true);
    for (size_t i = 0; i < 10 * block; i++) { /* the same text, cut in other places */
        sim_chain_add(&a, SLICE("x"));
        sim_chain_add(&b, i % 2 == 0 ? SLICE("xx") : SLICE(""));
    }
    assert_int_equal(a.count, 10);
    assert_memory_equal(a.blocks, b.blocks, 10 * sizeof(*a.blocks));
    assert_int_equal(a.hash, b.hash);
    sim_chain_add(&a, SLICE("y"));
    for (size_t i = 0; i < 2 * block; i++) {
        sim_chain_add(&a, SLICE("x"));
        sim_chain_add(&b, SLICE("x"));
    }
    assert_int_equal(a.count, 12);
    assert_int_not_equal(a.blocks[10], b.blocks[10]);
    assert_int_not_equal(a.blocks[11], b.blocks[11]);
    sim_chain_reset(&a, 1, true);
    assert_int_equal(a.count, 0);
    sim_chain_fini(&a);
    sim_chain_fini(&b);
}

static void without_memory_a_chain_stays_short(void **state)
{
    struct sim_chain chain = {0};

    (void)state;
    sim_chain_reset(&chain, 1, true);
    alloc_fault_at(2); /* the 65th block */
    for (int i = 0; i < 200 * SIM_BLOCK_TOKENS; i++) {
        sim_chain_add(&chain, SLICE(" abc"));
    }
    alloc_fault_at(0);
    assert_int_equal(chain.count, 64);
    sim_chain_fini(&chain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_follow_from_the_hash),
        cmocka_unit_test(tokens_of_a_text),
        cmocka_unit_test(vectors_have_length_one),
        cmocka_unit_test(a_chain_knows_how_far_two_texts_agree),
        cmocka_unit_test(without_memory_a_chain_stays_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
