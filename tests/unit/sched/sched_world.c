/* SPDX-License-Identifier: Apache-2.0 */
#include "sched_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MODELS_MAX = 64 };

/* "a b:7" as models. */
static size_t split(const char *words, struct sched_model *out)
{
    size_t n = 0;

    while (words != NULL && *words != '\0') {
        size_t len = strcspn(words, " ");
        const char *colon = memchr(words, ':', len);

        assert_true(n < MODELS_MAX);
        out[n++] = (struct sched_model){
            .name = slice_of(words, colon == NULL ? len : (size_t)(colon - words)),
            .bytes = colon == NULL ? 0 : strtoull(colon + 1, NULL, 10),
        };
        words += len;
        words += *words == ' ';
    }
    return n;
}

bool world_try_node(struct sched *s, uint64_t now_us, uint64_t id, struct node_words words)
{
    struct sched_model models[MODELS_MAX], resident[MODELS_MAX];
    struct sched_node_state n = {
        .id = id,
        .up = !words.down,
        .cordoned = words.cordoned,
        .speaks = words.speaks == 0 ? 1 : words.speaks,
        .slots = words.slots,
        .memory_bytes = words.memory,
        .loads = words.loads,
        .models = models,
        .model_count = split(words.lists, models),
        .resident = resident,
        .resident_count = split(words.resident, resident),
    };

    return sched_node(s, now_us, &n);
}

void world_node(struct sched *s, uint64_t now_us, uint64_t id, struct node_words words)
{
    assert_true(world_try_node(s, now_us, id, words));
}

struct sched_job world_job(uint64_t tag)
{
    return (struct sched_job){
        .home = 1,
        .tag = tag,
        .model = SLICE("m"),
        .tenant = SLICE("t"),
        .weight = 1,
        .class = SCHED_CLASS_NORMAL,
        .prompt_tokens = 10,
        .answer_tokens = 10,
        .bytes = 100,
    };
}

uint64_t world_granted(struct sched *s, uint64_t now_us, const struct sched_job *job,
                       uint64_t *ticket)
{
    struct sched_answer a;

    assert_int_equal(sched_arrive(s, now_us, job, &a), SCHED_GRANTED);
    assert_int_not_equal(a.ticket, 0);
    if (ticket != NULL) {
        *ticket = a.ticket;
    }
    return a.node;
}

uint64_t world_queued(struct sched *s, uint64_t now_us, const struct sched_job *job)
{
    struct sched_answer a;

    assert_int_equal(sched_arrive(s, now_us, job, &a), SCHED_QUEUED);
    assert_int_not_equal(a.ticket, 0);
    return a.ticket;
}

uint64_t world_taken(struct sched *s, struct sched_decision *out)
{
    struct sched_decision d;

    if (sched_take(s, &d, 1) == 0) {
        return 0;
    }
    assert_int_equal(d.verdict, SCHED_GRANTED);
    if (out != NULL) {
        *out = d;
    }
    return d.tag;
}

void world_done(struct sched *s, uint64_t now_us, uint64_t ticket)
{
    const struct sched_outcome o = {
        .end = SCHED_DONE, .prompt_tokens = 10, .answer_tokens = 10, .first_us = 1000};

    sched_leave(s, now_us, ticket, &o);
}
