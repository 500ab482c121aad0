/* SPDX-License-Identifier: Apache-2.0 */
#include "farm/arrivals.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "farm/random.h"
#include "sched/heap.h"

enum { TURNS_MOST = SCHED_PREFIX_MAX - 1, TALKS_PER_PAGE = 256, TOKENS_MOST = 1 << 24 };

static const double SECOND_US = 1e6;

/* A conversation between two turns. */
struct talk {
    struct heap_link in_due;
    struct list_link in_free;
    double due_us;
    uint64_t id;
    uint32_t tenant, model;
    enum sched_class class;
    uint32_t turn;
    uint32_t tokens[TURNS_MOST]; /* of the prompt of each turn until now */
    uint32_t answer;             /* of the last */
};

static inline bool talk_before(const struct talk *a, const struct talk *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->id < b->id;
}
HEAP_DECLARE(talk_heap, struct talk, in_due, talk_before);
LIST_DECLARE(talk_list, struct talk, in_free);

struct talk_page {
    struct talk_page *next;
    struct talk talks[TALKS_PER_PAGE];
};

struct farm_arrivals {
    struct farm_load load;
    uint64_t random, made, ids;
    double *tenant_sums, *model_sums;
    double go_on;    /* probability of one more turn */
    double even_us;  /* of the next beginning, as if there were no bursts */
    double begin_us; /* with them */
    struct talk_heap talks;
    struct talk_list free;
    struct talk_page *pages;
};

/* --- conversations --- */

static struct talk *get_talk(struct farm_arrivals *a)
{
    struct talk *t;

    if (a->free.count == 0) {
        struct talk_page *page = xcalloc(1, sizeof(*page));

        page->next = a->pages;
        a->pages = page;
        for (size_t i = 0; i < TALKS_PER_PAGE; i++) {
            talk_list_push(&a->free, &page->talks[i]);
        }
    }
    t = talk_list_last(&a->free);
    talk_list_remove(&a->free, t);
    *t = (struct talk){
        .id = ++a->ids,
        .tenant = (uint32_t)farm_random_pick(&a->random, a->tenant_sums, a->load.tenant_count),
        .model = (uint32_t)farm_random_pick(&a->random, a->model_sums, a->load.model_count),
        .class = SCHED_CLASS_NORMAL,
    };
    if (farm_random_unit(&a->random) <= a->load.batch_share) {
        t->class = SCHED_CLASS_BATCH;
    }
    return t;
}

static uint32_t draw_tokens(struct farm_arrivals *a, double median, double sigma)
{
    double tokens = farm_random_log_normal(&a->random, median, sigma) + 0.5;

    return tokens < 1 ? 1 : tokens > TOKENS_MOST ? TOKENS_MOST : (uint32_t)tokens;
}

/* One turn more: the prompt is all that was said, and something new. */
static void speak(struct farm_arrivals *a, struct talk *t)
{
    uint32_t before = t->turn == 0 ? a->load.system_tokens : t->tokens[t->turn - 1] + t->answer;

    t->tokens[t->turn++] = before + draw_tokens(a, a->load.prompt_tokens, a->load.prompt_sigma);
    t->answer = draw_tokens(a, a->load.answer_tokens, a->load.answer_sigma);
}

static void pause_or_end(struct farm_arrivals *a, struct talk *t, double now_us)
{
    if (t->turn < TURNS_MOST && a->go_on > 0 && farm_random_unit(&a->random) <= a->go_on) {
        t->due_us = now_us + farm_random_exponential(&a->random, a->load.pause_us);
        talk_heap_push(&a->talks, t);
    } else {
        talk_list_push(&a->free, t);
    }
}

/* Those that have begun before the first request: there are as many as later. */
static void begin_in_the_middle(struct farm_arrivals *a)
{
    double each_s = a->load.per_s / a->load.turns;
    double under_way = each_s * (a->load.turns - 1) * a->load.pause_us / SECOND_US;

    for (double n = 0.5; n < under_way; n++) {
        struct talk *t = get_talk(a);

        do {
            speak(a, t);
        } while (t->turn < TURNS_MOST - 1 && farm_random_unit(&a->random) <= a->go_on);
        t->due_us = farm_random_exponential(&a->random, a->load.pause_us);
        talk_heap_push(&a->talks, t);
    }
}

/* --- when they begin --- */

/* The same number of beginnings, but more of them at the start of each period. */
static double with_bursts(const struct farm_load *l, double even_us)
{
    double each = (double)l->burst_each_us, length = (double)l->burst_us;
    double slow, in_burst, period, rest;

    if (l->burst_factor <= 1 || l->burst_each_us == 0) {
        return even_us;
    }
    slow = each / (each - length + l->burst_factor * length);
    in_burst = l->burst_factor * slow * length;
    period = floor(even_us / each) * each;
    rest = even_us - period;
    return period +
           (rest < in_burst ? rest / (l->burst_factor * slow) : length + (rest - in_burst) / slow);
}

static void next_beginning(struct farm_arrivals *a)
{
    a->even_us += farm_random_exponential(&a->random, a->load.turns * SECOND_US / a->load.per_s);
    a->begin_us = with_bursts(&a->load, a->even_us);
}

struct farm_arrivals *farm_arrivals_new(const struct farm_load *load)
{
    struct farm_arrivals *a = xcalloc(1, sizeof(*a));

    ASSERT(load->per_s > 0 && load->turns >= 1 && load->tenant_count > 0 && load->model_count > 0);
    a->load = *load;
    a->random = load->seed;
    a->go_on = 1 - 1 / load->turns;
    a->tenant_sums = xcalloc(load->tenant_count, sizeof(double));
    a->model_sums = xcalloc(load->model_count, sizeof(double));
    farm_zipf(a->tenant_sums, load->tenant_count, load->tenant_skew);
    farm_zipf(a->model_sums, load->model_count, load->model_skew);
    begin_in_the_middle(a);
    next_beginning(a);
    return a;
}

void farm_arrivals_free(struct farm_arrivals **a)
{
    struct farm_arrivals *old = *a;
    struct talk_page *page, *next;

    *a = NULL;
    if (old == NULL) {
        return;
    }
    for (page = old->pages; page != NULL; page = next) {
        next = page->next;
        free(page);
    }
    free(old->tenant_sums);
    free(old->model_sums);
    free(old);
}

/* --- requests --- */

static void ask(struct farm_arrivals *a, const struct talk *t, struct farm_request *out)
{
    size_t n = 0;

    out->due_us = (uint64_t)t->due_us + 1;
    out->tag = a->made;
    out->model = t->model;
    out->tenant = a->load.tenants[t->tenant];
    out->tenant_number = t->tenant;
    out->weight = a->load.weights[t->tenant];
    out->class = t->class;
    out->prompt_tokens = t->tokens[t->turn - 1];
    out->answer_tokens = t->answer;
    out->said_tokens = 0;
    out->cancel_us = 0;
    if (a->load.system_tokens > 0) {
        out->prefix[n] = hash_number(0, t->tenant + 1);
        out->prefix_tokens[n++] = a->load.system_tokens;
    }
    for (uint32_t i = 0; i < t->turn; i++) {
        out->prefix[n] = hash_number(0, (t->id << 8) + i);
        out->prefix_tokens[n++] = t->tokens[i];
    }
    out->prefix_count = n;
}

bool farm_arrivals_next(void *owner, struct farm_request *out)
{
    struct farm_arrivals *a = owner;
    struct talk *t = talk_heap_first(&a->talks);

    if (a->made == a->load.requests) {
        return false;
    }
    if (t != NULL && t->due_us <= a->begin_us) {
        talk_heap_remove(&a->talks, t);
    } else {
        t = get_talk(a);
        t->due_us = a->begin_us;
        next_beginning(a);
    }
    speak(a, t);
    ask(a, t, out);
    a->made++;
    pause_or_end(a, t, t->due_us);
    return true;
}

static double mean_of(double median, double sigma)
{
    return median * exp(sigma * sigma / 2);
}

void farm_load_means(const struct farm_load *load, bool known, double *prompt_tokens,
                     double *answer_tokens)
{
    double added = mean_of(load->prompt_tokens, load->prompt_sigma);
    double answer = mean_of(load->answer_tokens, load->answer_sigma);

    *answer_tokens = answer;
    if (known) { /* the last answer is new to it, too */
        *prompt_tokens = added + answer * (load->turns - 1) / load->turns;
    } else { /* of a request the mean number of its turn is `turns`, as that of a conversation */
        *prompt_tokens = load->system_tokens + load->turns * added + (load->turns - 1) * answer;
    }
}
