/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of lanes: when the next is sent, whether the answer is right, and what is counted. */
#include <stdio.h>
#include <string.h>

#include "load/load.h"

void load_error(struct load *l, const char *text, uint64_t count)
{
    if (l->first_error[0] == '\0') {
        (void)snprintf(l->first_error, sizeof(l->first_error), "%s", text);
    }
    l->errors += count;
}

static bool counts(const struct load_lane *lane)
{
    const struct load *l = lane->conn->load;

    if (l->o.rate_per_s > 0) {
        return lane->due_ns >= l->due_from_ns && lane->due_ns < l->due_to_ns;
    }
    return l->phase == LOAD_MEASURING || l->o.hold;
}

static void queue_idle(struct load_lane *lane)
{
    struct load *l = lane->conn->load;

    if (!lane->queued) {
        lane->queued = true;
        l->idle[(l->idle_head + l->idle_count++) % l->lane_count] = lane;
    }
}

/* NULL: none. A lane whose connection has ended comes back when that is open again. */
static struct load_lane *take_idle(struct load *l)
{
    while (l->idle_count > 0) {
        struct load_lane *lane = l->idle[l->idle_head];

        l->idle_head = (l->idle_head + 1) % l->lane_count;
        l->idle_count--;
        lane->queued = false;
        if (lane->conn->state == LOAD_OPEN && !lane->busy) {
            return lane;
        }
    }
    return NULL;
}

/* No two texts are equal: a gateway could compute those once. */
static void number_request(struct load_lane *lane)
{
    struct load *l = lane->conn->load;
    struct buf *out = &lane->conn->out;
    char digits[LOAD_NUMBER_DIGITS + 1];

    (void)snprintf(digits, sizeof(digits), "%0*u", LOAD_NUMBER_DIGITS, (unsigned)++l->last_number);
    memcpy(out->data + out->tail - lane->kind->number_back, digits, LOAD_NUMBER_DIGITS);
}

static void send_request(struct load_lane *lane, uint64_t due_ns)
{
    struct load_conn *c = lane->conn;
    struct load *l = c->load;

    lane->busy = true;
    lane->whole = false;
    lane->parts = 0;
    lane->due_ns = due_ns;
    lane->sent_ns = l->now_ns;
    l->busy++;
    if (l->o.mcp) {
        (void)wire_frame_append(&c->out, WIRE_OP_REQUEST, lane->session,
                                buf_slice(&lane->kind->body));
    } else {
        (void)buf_append(&c->out, buf_slice(&lane->kind->http));
    }
    if (l->o.embed && !buf_failed(&c->out)) {
        number_request(lane);
    }
    if (counts(lane)) {
        hist_add(&l->counts->late, l->now_ns - due_ns);
    }
}

/* A lane has nothing to do. */
static void go_on(struct load_lane *lane)
{
    struct load *l = lane->conn->load;

    if (l->o.rate_per_s > 0) {
        queue_idle(lane);
    } else if (l->phase <= LOAD_MEASURING && !(l->o.hold && lane->used)) {
        send_request(lane, l->now_ns);
    }
}

bool load_has_due(const struct load *l)
{
    return l->o.rate_per_s > 0 && l->all_opened && schedule_next_ns(&l->schedule) < l->due_to_ns;
}

void load_send_due(struct load *l)
{
    while (load_has_due(l) && schedule_next_ns(&l->schedule) <= l->now_ns) {
        struct load_lane *lane = take_idle(l);

        if (lane == NULL) {
            return;
        }
        send_request(lane, schedule_next_ns(&l->schedule));
        schedule_advance(&l->schedule);
        load_conn_flush(lane->conn);
    }
}

void load_look_for_overdue(struct load *l)
{
    uint64_t timeout_ns = (uint64_t)(l->o.timeout_s * 1e9);

    for (size_t i = 0; i < l->lane_count; i++) {
        struct load_lane *lane = &l->lanes[i];

        if (lane->busy && l->now_ns - lane->sent_ns > timeout_ns) {
            load_conn_end(lane->conn, LOAD_FAILS, "no answer in time");
        }
    }
}

void load_opened(struct load_conn *c)
{
    struct load *l = c->load;

    l->now_ns = load_now_ns();
    l->opened++;
    for (unsigned i = 0; i < l->o.sessions; i++) {
        go_on(&c->lanes[i]);
    }
}

/* The request of a lane is over. */
static void release(struct load_lane *lane)
{
    struct load *l = lane->conn->load;

    lane->busy = false;
    l->busy--;
    l->requests_all++;
    if (!lane->used) {
        lane->used = true;
        l->used++;
    }
}

static void count_request(struct load_lane *lane)
{
    struct load *l = lane->conn->load;

    if (counts(lane)) {
        l->counts->requests++;
        hist_add(&l->counts->latency, l->now_ns - lane->due_ns);
    }
}

void load_closed(struct load_conn *c, enum load_end end, const char *why)
{
    struct load *l = c->load;
    uint64_t lost = 0;

    for (unsigned i = 0; i < l->o.sessions; i++) {
        struct load_lane *lane = &c->lanes[i];

        if (!lane->busy) {
            continue;
        }
        if (end == LOAD_ABORTS) {
            l->counts->aborted += counts(lane);
            count_request(lane);
        } else {
            lost++;
        }
        release(lane);
    }
    if (lost > 0) {
        load_error(l, why, lost);
    } else if (end == LOAD_FAILS || l->o.hold) {
        load_error(l, why, 1);
    }
    l->closed[l->closed_count++] = c;
}

bool load_part(struct load_lane *lane, struct slice part)
{
    struct load_conn *c = lane->conn;
    struct load *l = c->load;
    struct answer *answer = &lane->kind->answer;
    enum answer_verdict verdict =
        l->o.embed ? answer_check_vector(answer, part) : answer_check(answer, lane->parts, part);

    if (verdict == ANSWER_WRONG) {
        return load_conn_fail(c, answer->why);
    }
    l->counts->parts += l->phase == LOAD_MEASURING;
    if (lane->parts++ == 0 && counts(lane)) {
        hist_add(&l->counts->first_part, l->now_ns - lane->due_ns);
    }
    lane->whole = verdict == ANSWER_LAST;
    if (l->o.abort > 0 && lane->parts == l->o.abort) {
        c->end = LOAD_ABORTS;
        return false;
    }
    return true;
}

bool load_answered(struct load_lane *lane)
{
    struct load_conn *c = lane->conn;

    if (!lane->whole) {
        return load_conn_fail(c, "an answer that ends early");
    }
    count_request(lane);
    release(lane);
    if (c->end != LOAD_GOES_ON) {
        return false;
    }
    go_on(lane);
    if (buf_failed(&c->out)) {
        return load_conn_fail(c, "out of memory");
    }
    return true;
}
