/* SPDX-License-Identifier: Apache-2.0 */
/* A run: all connections are opened, warmed up, measured, and their last answers waited for; or
 * (hold) each has one answer and then idles. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/json_scan.h"
#include "load/load.h"

#define OPENING_NS ((uint64_t)30 * 1000000000)
#define LOOK_NS ((uint64_t)100 * 1000000)

enum { EVENTS_MAX = 256 };

uint64_t load_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t own_cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* --- start and end */

static void write_generate(struct buf *b, const struct load_options *o)
{
    (void)buf_append_str(b, ",\"prompt\":\"Why is the sky blue?\"");
    if (o->parts == 0) {
        (void)buf_append_str(b, ",\"stream\":false}");
        return;
    }
    /* Behind the words comes the part that ends the stream. */
    (void)buf_printf(b, ",\"options\":{\"num_predict\":%u", o->parts - 1);
    if (o->gap_ms >= 0) {
        (void)buf_printf(b, ",\"sim_gap_ms\":%g", o->gap_ms);
    }
    (void)buf_append_str(b, "}}");
}

static void write_embed(struct load_kind *k, unsigned words)
{
    static const char sentence[] = " Why is the sky blue?";
    size_t before;

    (void)buf_append_str(&k->body, ",\"input\":\"");
    before = buf_len(&k->body);
    (void)buf_printf(&k->body, "%0*u", LOAD_NUMBER_DIGITS, 0U);
    for (unsigned i = 0; i == 0 || i < words / 5; i++) {
        (void)buf_append_str(&k->body, sentence);
    }
    (void)buf_append_str(&k->body, "\"}");
    k->number_back = buf_len(&k->body) - before;
}

static bool make_kind(struct load_kind *k, const struct load_options *o, const char *model,
                      unsigned words)
{
    struct buf *b = &k->body;

    (void)buf_append_str(b, "{\"model\":");
    (void)json_append_string(b, slice_str(model));
    if (o->embed) {
        write_embed(k, words);
    } else {
        write_generate(b, o);
    }
    (void)buf_printf(&k->http,
                     "POST /api/%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench-load\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                     o->embed ? "embed" : "generate", o->host, buf_len(b));
    (void)buf_append(&k->http, buf_slice(b));
    return answer_init(&k->answer, model, o->text, o->parts == 0 ? 1 : o->parts) &&
           !buf_failed(b) && !buf_failed(&k->http);
}

static void make_lanes(struct load *l)
{
    size_t n = 0;

    for (unsigned i = 0; i < l->o.conns; i++) {
        struct load_conn *c = &l->conns[i];

        c->load = l;
        c->fd = -1;
        c->lanes = &l->lanes[n];
        l->closed[l->o.conns - 1 - i] = c;
        for (unsigned s = 1; s <= l->o.sessions; s++, n++) {
            l->lanes[n].conn = c;
            l->lanes[n].session = s;
            l->lanes[n].kind = &l->kinds[n % l->kind_count];
        }
    }
    l->closed_count = l->o.conns;
}

bool load_init(struct load *l, const struct load_options *o)
{
    *l = (struct load){.o = *o,
                       .begin_ns = UINT64_MAX,
                       .end_ns = UINT64_MAX,
                       .due_from_ns = UINT64_MAX,
                       .due_to_ns = UINT64_MAX,
                       .epoll_fd = -1};
    l->lane_count = (size_t)o->conns * o->sessions;
    l->conns = calloc(o->conns, sizeof(*l->conns));
    l->closed = calloc(o->conns, sizeof(*l->closed));
    l->lanes = calloc(l->lane_count, sizeof(*l->lanes));
    l->idle = calloc(l->lane_count, sizeof(*l->idle));
    l->input = malloc(LOAD_READ_BYTES);
    l->counts = calloc(1, sizeof(*l->counts));
    if (l->conns == NULL || l->closed == NULL || l->lanes == NULL || l->idle == NULL ||
        l->input == NULL || l->counts == NULL) {
        load_error(l, "out of memory", 1);
        return false;
    }
    l->kind_count = o->words > 0 ? 2 * o->model_count : o->model_count;
    for (size_t i = 0; i < l->kind_count; i++) {
        if (!make_kind(&l->kinds[i], o, o->models[i % o->model_count],
                       i < o->model_count ? 0 : o->words)) {
            load_error(l, "out of memory", 1);
            return false;
        }
    }
    make_lanes(l);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0) {
        load_error(l, strerror(errno), 1);
        return false;
    }
    return true;
}

void load_fini(struct load *l)
{
    for (unsigned i = 0; l->conns != NULL && i < l->o.conns; i++) {
        load_conn_close(&l->conns[i]);
        buf_fini(&l->conns[i].out);
    }
    for (size_t i = 0; i < l->kind_count; i++) {
        buf_fini(&l->kinds[i].body);
        buf_fini(&l->kinds[i].http);
        answer_fini(&l->kinds[i].answer);
    }
    if (l->epoll_fd >= 0) {
        (void)close(l->epoll_fd);
    }
    free(l->conns);
    free(l->closed);
    free(l->lanes);
    free(l->idle);
    free(l->input);
    free(l->counts);
}

/* --- phases */

static void sample(struct load *l, struct watch_sample *out)
{
    if (!watch_read(l->o.pids, l->o.pid_count, out)) {
        load_error(l, "a watched process has ended", 1);
    }
}

static void begin_measuring(struct load *l)
{
    sample(l, &l->before);
    l->own_cpu_ns = own_cpu_ns();
    l->now_ns = load_now_ns();
    l->begin_ns = l->now_ns;
    l->deadline_ns = l->now_ns + (uint64_t)(l->o.seconds * 1e9);
    l->phase = LOAD_MEASURING;
}

static void end_measuring(struct load *l)
{
    l->end_ns = l->now_ns;
    l->own_cpu_ns = own_cpu_ns() - l->own_cpu_ns;
    sample(l, &l->after);
    l->deadline_ns = l->now_ns + (uint64_t)(l->o.timeout_s * 1e9);
    l->phase = LOAD_DRAINING;
}

/* At the last deadline: what was not answered, and what was due and never sent, for want of answers
 * to others. */
static void count_unanswered(struct load *l)
{
    uint64_t unsent = 0;

    while (load_has_due(l)) {
        unsent++;
        schedule_advance(&l->schedule);
    }
    if (unsent > 0) {
        load_error(l, "not sent in time: the rate is too high", unsent);
    }
    if (l->busy > 0) {
        load_error(l, "no answer in time", l->busy);
    }
}

static void warm(struct load *l)
{
    if (!l->all_opened && l->opened >= l->o.conns) {
        l->all_opened = true;
        l->deadline_ns = l->now_ns + (uint64_t)(l->o.warmup_s * 1e9);
        if (l->o.rate_per_s > 0) {
            schedule_init(&l->schedule, l->now_ns, l->o.rate_per_s, !l->o.even, l->o.seed);
            l->due_from_ns = l->deadline_ns;
            l->due_to_ns = l->deadline_ns + (uint64_t)(l->o.seconds * 1e9);
        }
    }
    if (l->o.hold && l->used == l->lane_count && l->busy == 0) {
        l->begin_ns = l->now_ns;
        l->deadline_ns = l->now_ns + (uint64_t)(l->o.seconds * 1e9);
        l->phase = LOAD_HOLDING;
    } else if (l->now_ns >= l->deadline_ns && !l->all_opened) {
        load_error(l, "the connections cannot be opened", 1);
        l->phase = LOAD_OVER;
    } else if (l->now_ns >= l->deadline_ns && !l->o.hold) {
        begin_measuring(l);
    }
}

static void change_phase(struct load *l)
{
    bool late = l->now_ns >= l->deadline_ns;

    if (l->phase == LOAD_WARMING) {
        warm(l);
    } else if (l->phase == LOAD_MEASURING && late) {
        end_measuring(l);
    } else if (l->phase == LOAD_HOLDING && late) {
        end_measuring(l);
        l->phase = LOAD_OVER;
    } else if (l->phase == LOAD_DRAINING && (late || (l->busy == 0 && !load_has_due(l)))) {
        count_unanswered(l);
        l->phase = LOAD_OVER;
    }
    if (l->errors >= LOAD_ERRORS_MAX) {
        l->phase = LOAD_OVER;
    }
}

static void open_closed(struct load *l)
{
    /* As many as there are: one that fails at once is not tried again in this turn. */
    size_t most = l->closed_count;

    if (l->phase >= LOAD_HOLDING || (l->phase == LOAD_DRAINING && !load_has_due(l))) {
        return;
    }
    for (size_t i = 0; i < most && l->opening + (l->o.hold ? l->busy : 0) < LOAD_OPENING_MAX; i++) {
        load_conn_open(l->closed[--l->closed_count]);
    }
}

static void wait_for_events(struct load *l)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t until = l->looked_ns + LOOK_NS;
    struct timespec t = {0};
    int n;

    if (l->deadline_ns < until) {
        until = l->deadline_ns;
    }
    if (l->idle_count > 0 && load_has_due(l) && schedule_next_ns(&l->schedule) < until) {
        until = schedule_next_ns(&l->schedule);
    }
    l->now_ns = load_now_ns();
    if (until > l->now_ns) {
        t.tv_sec = (time_t)((until - l->now_ns) / 1000000000);
        t.tv_nsec = (long)((until - l->now_ns) % 1000000000);
    }
    n = epoll_pwait2(l->epoll_fd, events, EVENTS_MAX, &t, NULL);
    l->now_ns = load_now_ns();
    for (int i = 0; i < n; i++) {
        load_conn_event(events[i].data.ptr, events[i].events);
    }
}

void load_run(struct load *l)
{
    l->now_ns = load_now_ns();
    l->looked_ns = l->now_ns;
    l->deadline_ns = l->now_ns + OPENING_NS;
    if (l->o.hold) {
        sample(l, &l->before);
    }
    while (l->phase != LOAD_OVER) {
        open_closed(l);
        wait_for_events(l);
        change_phase(l);
        load_send_due(l);
        if (l->now_ns >= l->looked_ns + LOOK_NS) {
            l->looked_ns = l->now_ns;
            load_look_for_overdue(l);
        }
    }
    if (l->end_ns == UINT64_MAX) { /* it ended early */
        l->end_ns = load_now_ns();
    }
}
