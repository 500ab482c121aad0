/* SPDX-License-Identifier: Apache-2.0 */
/* A simulated node: what is in its memory, who has a slot, prompts and answers. */
#include <math.h>
#include <string.h>

#include "farm/farm_internal.h"

static const double ALMOST = 1e-6;     /* of a token: rounding */
static const double LEAST_STEP = 1e-3; /* us for a token, so that time goes on */

/* From one node to the next with another model as the first. */
static void fill_memory(struct farm *f, struct node *n)
{
    size_t count = f->o.model_count, first = (size_t)(n - f->nodes) % count;

    for (size_t i = 0; i < count; i++) {
        size_t m = (first + i) % count;

        if (n->resident_bytes + f->o.models[m].bytes <= n->spec.memory_bytes) {
            n->resident_bytes += f->o.models[m].bytes;
            n->members[m].resident = true;
        }
    }
}

void node_init(struct farm *f, struct node *n, const struct farm_node *spec)
{
    n->spec = *spec;
    n->next_us = UINT64_MAX;
    prompts_init(n);
    for (size_t m = 0; m < f->o.model_count && spec->memory_bytes == 0; m++) {
        n->members[m].resident = true;
    }
    if (f->o.warm && spec->memory_bytes > 0) {
        fill_memory(f, n);
    }
}

void node_fini(struct node *n)
{
    prompts_fini(n);
}

static struct member *member_of(const struct node *n, const struct live *l)
{
    return &n->members[l->seen.request.model];
}

static uint64_t bytes_of(const struct farm *f, const struct node *n, const struct member *m)
{
    return f->o.models[m - n->members].bytes;
}

/* --- memory --- */

/* Of those that are idle, the one used least recently; NULL: none is. */
static struct member *victim(const struct farm *f, const struct node *n)
{
    struct member *oldest = NULL;

    for (size_t i = 0; i < f->o.model_count; i++) {
        struct member *m = &n->members[i];

        if (m->resident && m->running == 0 && m->line.count == 0 &&
            (oldest == NULL || m->used_us < oldest->used_us)) {
            oldest = m;
        }
    }
    return oldest;
}

/* False: not yet. What has no room even alone is loaded all the same, as a part of it. */
static bool make_room(struct farm *f, struct node *n, const struct member *wanted)
{
    uint64_t bytes = bytes_of(f, n, wanted);

    while (n->resident_bytes > 0 && n->resident_bytes + bytes > n->spec.memory_bytes) {
        struct member *m = victim(f, n);

        if (m == NULL) {
            return false;
        }
        m->resident = false;
        n->resident_bytes -= bytes_of(f, n, m);
        f->evictions++;
    }
    return true;
}

static void begin_load(struct farm *f, struct node *n, struct member *m)
{
    n->loading = m;
    n->loaded_us = f->now_us + f->o.models[m - n->members].load_us;
    n->resident_bytes += bytes_of(f, n, m);
    m->loaded++;
    f->loads++;
}

/* --- slots --- */

static void count_running(struct farm *f, struct node *n, struct member *m, int more)
{
    n->busy_us += n->running * (f->now_us - n->busy_from_us);
    n->busy_from_us = f->now_us;
    n->running += (uint32_t)more;
    m->running += (uint32_t)more;
    m->used_us = f->now_us;
}

static void read_prompt(struct farm *f, struct node *n, struct live *l)
{
    uint32_t new_tokens = l->seen.request.prompt_tokens - l->seen.cached_tokens;

    l->place = LIVE_PROMPT;
    l->prompt_end_us = f->now_us + 1 + (uint64_t)(n->spec.prompt_us * new_tokens);
    prompt_heap_push(&n->prompts, l);
}

static void begin(struct farm *f, struct node *n, struct member *m, struct live *l)
{
    count_running(f, n, m, 1);
    l->seen.begun_us = f->now_us;
    l->seen.cached_tokens = prompts_note(n, &l->seen.request, m->loaded);
    farm_saw(f, FARM_BEGUN, l);
    if (n->spec.prompts_in_turn && n->prompts.count > 0) {
        l->place = LIVE_READING;
        live_list_push(&n->reading, l);
    } else {
        read_prompt(f, n, l);
    }
}

static void read_next(struct farm *f, struct node *n)
{
    if (n->prompts.count == 0 && n->reading.count > 0) {
        read_prompt(f, n, live_list_pop(&n->reading));
    }
}

static void fill(struct farm *f, struct node *n, struct member *m)
{
    while (m->resident && m->running < n->spec.slots && m->line.count > 0) {
        begin(f, n, m, live_list_pop(&m->line));
    }
}

/* The first of the queue, and so on: to their models, or there is a load. */
static void turn_pending(struct farm *f, struct node *n)
{
    struct live *l;

    while ((l = live_list_first(&n->pending)) != NULL) {
        struct member *m = member_of(n, l);

        if (!m->resident && n->loading != m) {
            if (n->loading != NULL || !make_room(f, n, m)) {
                return;
            }
            begin_load(f, n, m);
        }
        live_list_remove(&n->pending, l);
        l->place = LIVE_LINED;
        live_list_push(&m->line, l);
        fill(f, n, m);
    }
}

/* --- answers --- */

static double step_us(const struct node *n)
{
    double us = n->spec.token_us;

    us += n->answers.count > 1 ? n->spec.batch_us * (double)(n->answers.count - 1) : 0;
    return us > LEAST_STEP ? us : LEAST_STEP;
}

static void pass_tokens(const struct farm *f, struct node *n)
{
    if (n->answers.count == 0) {
        n->tokens = 0;
    } else {
        n->tokens += (double)(f->now_us - n->tokens_us) / step_us(n);
    }
    n->tokens_us = f->now_us;
}

static void release(struct farm *f, struct node *n, struct live *l, enum sched_end how)
{
    struct member *m = member_of(n, l);

    count_running(f, n, m, -1);
    farm_end(f, l, how);
    fill(f, n, m);
}

static void first_byte(struct farm *f, struct node *n, struct live *l)
{
    l->seen.first_us = f->now_us;
    member_of(n, l)->used_us = f->now_us;
    l->place = LIVE_ANSWER;
    l->answer_end = n->tokens + l->seen.request.answer_tokens;
    answer_heap_push(&n->answers, l);
    farm_saw(f, FARM_FIRST, l);
}

static void turn_prompts(struct farm *f, struct node *n)
{
    struct live *l;

    while ((l = prompt_heap_first(&n->prompts)) != NULL && l->prompt_end_us <= f->now_us) {
        prompt_heap_remove(&n->prompts, l);
        first_byte(f, n, l);
    }
    read_next(f, n);
}

static void turn_answers(struct farm *f, struct node *n)
{
    struct live *l;

    while ((l = answer_heap_first(&n->answers)) != NULL && l->answer_end <= n->tokens + ALMOST) {
        answer_heap_remove(&n->answers, l);
        release(f, n, l, SCHED_DONE);
    }
}

static void turn_load(struct farm *f, struct node *n)
{
    struct member *m = n->loading;

    if (m != NULL && n->loaded_us <= f->now_us) {
        n->loading = NULL;
        m->resident = true;
        m->used_us = f->now_us;
        fill(f, n, m);
    }
}

/* --- when to look again --- */

static uint64_t answer_end_us(const struct node *n, const struct live *l)
{
    double left = (l->answer_end - n->tokens) * step_us(n);

    return n->tokens_us + (left > 0 ? (uint64_t)ceil(left) : 0);
}

static void set_next(struct farm *f, struct node *n)
{
    const struct live *prompt = prompt_heap_first(&n->prompts);
    const struct live *answer = answer_heap_first(&n->answers);
    uint64_t us = n->loading == NULL ? UINT64_MAX : n->loaded_us;

    if (prompt != NULL && prompt->prompt_end_us < us) {
        us = prompt->prompt_end_us;
    }
    if (answer != NULL && answer_end_us(n, answer) < us) {
        us = answer_end_us(n, answer);
    }
    if (us == n->next_us) {
        return;
    }
    if (event_heap_has(n)) {
        event_heap_remove(&f->events, n);
    }
    n->next_us = us;
    if (us != UINT64_MAX) {
        event_heap_push(&f->events, n);
    }
}

void node_turn(struct farm *f, struct node *n)
{
    pass_tokens(f, n);
    turn_load(f, n);
    turn_answers(f, n);
    turn_prompts(f, n);
    turn_answers(f, n); /* those without a token */
    turn_pending(f, n);
    set_next(f, n);
}

void node_enter(struct farm *f, struct node *n, struct live *l)
{
    l->place = LIVE_PENDING;
    live_list_push(&n->pending, l);
    node_turn(f, n);
}

void node_drop(struct farm *f, struct node *n, struct live *l)
{
    struct member *m = member_of(n, l);
    uint8_t place = l->place;

    pass_tokens(f, n);
    if (place == LIVE_PENDING) {
        live_list_remove(&n->pending, l);
    } else if (place == LIVE_LINED) {
        live_list_remove(&m->line, l);
    } else if (place == LIVE_READING) {
        live_list_remove(&n->reading, l);
    } else if (place == LIVE_PROMPT) {
        prompt_heap_remove(&n->prompts, l);
        read_next(f, n);
    } else {
        answer_heap_remove(&n->answers, l);
    }
    if (place >= LIVE_READING) {
        release(f, n, l, SCHED_CANCELLED);
    } else {
        farm_end(f, l, SCHED_CANCELLED);
    }
    turn_pending(f, n);
    set_next(f, n);
}
