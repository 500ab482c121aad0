/* SPDX-License-Identifier: Apache-2.0 */
/* The home's side, behind: reading the record. */
#include "gateway/flight.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "gateway/flight_internal.h"
#include "gateway/sub.h"

enum { BACKLOG_BYTES_MAX = 1024 * 1024 };

void flight_member_unref(struct flight_member *m)
{
    if (atomic_fetch_sub(&m->users, 1) != 1) {
        return;
    }
    if (m->at != NULL) {
        flight_leave_at(&m->at);
    }
    flight_record_unref(&m->record);
    buf_fini(&m->ask.model);
    buf_fini(&m->ask.body);
    buf_fini(&m->ask.text);
    buf_fini(&m->ask.headers);
    buf_fini(&m->key);
    m->magic = 0;
    free(m);
}

void flight_leave(struct exchange *x)
{
    struct flight_member *m = x->flight;

    if (m == NULL) {
        return;
    }
    OBJ_CHECK(m, FLIGHT_MEMBER_MAGIC);
    x->flight = NULL;
    m->exchange = NULL;
    body_memory_give(x->sub->bodies, m->held_bytes);
    post_box_put(&m->owner->batch.box, &x->sub->batch.box, &m->over);
}

/* Where it stands is of no interest any more once there is more to read. */
static void read_place(struct exchange *x, const struct flight_piece *p, bool is_old)
{
    struct flight_place at;

    if (is_old) {
        return;
    }
    memcpy(&at, p->bytes, sizeof(at));
    if (x->turn.position == 0 && x->has_deadline && at.eta_us != SCHED_UNKNOWN &&
        loop_now_us(x->sub->loop) + at.eta_us > x->received_us + x->deadline_ms * 1000) {
        counter_add(COUNTER_QUEUE_TOO_LATE, 1);
        exchange_fail(x, MCP_EDEADLINE_EXCEEDED, "its turn would come after its deadline");
        return;
    }
    x->turn.state = TURN_FOLLOWS;
    x->turn.position = at.position;
    x->turn.depth = at.depth;
    x->turn.eta_us = at.eta_us;
    if (x->sink->queued != NULL) {
        x->sink->queued(x->owner, x);
    }
}

static void read_node(struct exchange *x, const struct flight_piece *p)
{
    x->turn.state = TURN_NONE;
    x->turn.waited_us = p->also;
    x->sent_us = loop_now_us(x->sub->loop);
    x->node_id = p->number;
    slice_copy(flight_piece_bytes(p), x->node_name, sizeof(x->node_name));
    if (x->sink->admitted != NULL) {
        x->sink->admitted(x->owner, x);
    }
    x->attempts++;
}

static void read_head(struct exchange *x, const struct flight_piece *p)
{
    struct http_header headers[FLIGHT_HEADERS_MAX];
    struct http_head head = {
        .status = p->status,
        .minor = 1,
        .headers = headers,
        .header_count = flight_head_read(p, headers),
        .has_length = p->number != UINT64_MAX,
        .content_length = p->number == UINT64_MAX ? 0 : p->number,
        .has_body = true,
    };

    if (head.header_count > 0 &&
        slice_eq(headers[head.header_count - 1].name, SLICE(FLIGHT_IGNORED)) &&
        exchange_extra(x) != NULL) {
        /* A failure leaves it out. */
        (void)buf_append(&x->extra->ignored, headers[--head.header_count].value);
    }
    x->node_status = p->status;
    x->sink->head(x->owner, &head);
}

static void read_part(struct exchange *x, const struct flight_piece *p)
{
    bool last = p->kind == FLIGHT_LAST_PART;

    if (p->len > x->max_part_bytes) {
        exchange_fail(x, MCP_ETOO_LARGE, "a part of the node's answer is too large");
        return;
    }
    x->node_status = x->node_status == 0 ? 200 : x->node_status;
    exchange_note_part(x, p->len);
    x->saw_end = x->saw_end || last;
    x->sink->part(x->owner, flight_piece_bytes(p), last);
    if (last && !x->over) {
        exchange_succeed(x);
    }
}

static void read_end(struct exchange *x, const struct flight_piece *p)
{
    struct slice bytes = flight_piece_bytes(p);
    struct slice node_body = slice_skip(bytes, p->split);
    int code = (int)(int64_t)p->number;
    char text[256];

    x->turn.state = TURN_NONE;
    x->turn.retry_after_us = p->also;
    x->node_status = p->status;
    if (code == MCP_OK) {
        exchange_succeed(x);
        return;
    }
    if (node_body.len > 0 && buf_append(&x->collect, node_body)) {
        x->result_from_node = true;
    }
    slice_copy(slice_first(bytes, p->split), text, sizeof(text));
    exchange_fail(x, code, p->len > 0 ? text : mcp_error_text(code));
}

static void read_piece(struct exchange *x, struct flight_piece *p)
{
    switch (p->kind) {
    case FLIGHT_START:
        break;
    case FLIGHT_QUEUED:
        read_place(x, p, flight_is_old(p));
        break;
    case FLIGHT_NODE:
        read_node(x, p);
        break;
    case FLIGHT_HEAD:
        read_head(x, p);
        break;
    case FLIGHT_BYTES:
        exchange_note_part(x, p->len);
        x->sink->bytes(x->owner, flight_piece_bytes(p));
        break;
    case FLIGHT_PART:
    case FLIGHT_LAST_PART:
        read_part(x, p);
        break;
    case FLIGHT_END:
        read_end(x, p);
        break;
    }
}

/* The call was stopped for this one, which has read on. */
static void let_go_on(struct flight_member *m)
{
    if (flight_behind(m) < FLIGHT_AHEAD_BYTES / 2 && !atomic_load(&m->going) &&
        atomic_exchange(&m->held, false)) {
        atomic_store(&m->going, true);
        (void)atomic_fetch_add(&m->users, 1);
        post_box_put(&m->owner->batch.box, &m->home->batch.box, &m->go);
    }
}

static void read_on(struct flight_member *m, struct exchange *x)
{
    while (!x->over && !x->refused && !x->paused && flight_next(&m->at) != NULL) {
        (void)atomic_fetch_add(&m->read_bytes, m->at->len);
        read_piece(x, m->at);
    }
    let_go_on(m);
    /* The call is not stopped for one of several: who is too far behind has no part in it. */
    if (!x->over && !x->refused && x->paused && atomic_load(&m->record->crowded) &&
        !atomic_load(&m->record->done) && flight_behind(m) > BACKLOG_BYTES_MAX) {
        counter_add(COUNTER_CLIENT_STALLS, 1);
        exchange_fail(x, MCP_ECANCELLED, "the client reads too slowly");
    }
}

void flight_on_kick(struct post_message *kick)
{
    struct flight_member *m =
        (struct flight_member *)(void *)((char *)kick - offsetof(struct flight_member, kick));
    struct exchange *x = m->exchange;

    OBJ_CHECK(m, FLIGHT_MEMBER_MAGIC);
    atomic_store(&m->kicked, false);
    if (x == NULL || x->over || x->refused) {
        flight_member_unref(m);
        return;
    }
    switch (m->outcome) {
    case FLIGHT_ALONE:
        steps_run(x);
        break;
    case FLIGHT_REFUSED:
        counter_add(COUNTER_SHARE_CONFLICTS, 1);
        exchange_fail(x, MCP_EBAD_REQUEST,
                      "the idempotency key was given to another request before");
        break;
    case FLIGHT_SHARED:
        if (!m->begun) {
            m->begun = true;
            x->cache_hit = m->hit;
            trace_note(x, m->hit ? TRACE_FLIGHT_REPLAYED : TRACE_FLIGHT_SHARED);
        }
        read_on(m, x);
        break;
    }
    flight_member_unref(m);
}

void flight_resume(struct exchange *x)
{
    struct flight_member *m = x->flight;

    if (m->begun && !atomic_exchange(&m->kicked, true)) {
        (void)atomic_fetch_add(&m->users, 1);
        post_box_put(&m->home->batch.box, &m->home->batch.box, &m->kick);
    }
}
