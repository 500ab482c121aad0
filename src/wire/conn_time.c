/* SPDX-License-Identifier: Apache-2.0 */
/* How long a frame may take: its header, the time between two bytes, and its rate. */
#include <stdio.h>

#include "wire/conn.h"

uint64_t wire_conn_deadline_ms(const struct wire_conn *c)
{
    uint64_t stall_ms = c->byte_ms + WIRE_STALL_MS;
    uint64_t rate_ms = c->begun_ms + WIRE_RATE_SPAN_MS;

    if (c->paused) {
        return 0;
    }
    switch (c->state) {
    case WIRE_STATE_HEADER:
        return c->header_len == 0 ? 0 : c->begun_ms + WIRE_HEADER_MS;
    case WIRE_STATE_PAYLOAD:
    case WIRE_STATE_SKIP:
        return stall_ms < rate_ms ? stall_ms : rate_ms;
    case WIRE_STATE_FIRST:
    case WIRE_STATE_CLOSED:
        break;
    }
    return 0;
}

/* The average over the window that began at begun_ms; a good one begins the next. */
static bool rate_is_low(struct wire_conn *c, uint64_t now_ms)
{
    uint64_t span_ms = now_ms - c->begun_ms;

    if (c->window_bytes * 1000 < WIRE_RATE_BYTES_PER_S * span_ms) {
        return true;
    }
    c->begun_ms = now_ms;
    c->window_bytes = 0;
    return false;
}

bool wire_conn_tick(struct wire_conn *c, uint64_t now_ms, struct wire_event *ev)
{
    uint64_t deadline_ms = wire_conn_deadline_ms(c);

    *ev = (struct wire_event){.kind = WIRE_EVENT_NONE};
    if (deadline_ms == 0 || now_ms < deadline_ms) {
        return false;
    }
    if (c->state == WIRE_STATE_HEADER) {
        (void)snprintf(ev->text, sizeof(ev->text), "header incomplete for %d s",
                       WIRE_HEADER_MS / 1000);
    } else if (now_ms >= c->byte_ms + WIRE_STALL_MS) {
        (void)snprintf(ev->text, sizeof(ev->text), "no byte for %d s inside a frame",
                       WIRE_STALL_MS / 1000);
    } else if (rate_is_low(c, now_ms)) {
        (void)snprintf(ev->text, sizeof(ev->text), "less than %d bytes/s over %d s inside a frame",
                       WIRE_RATE_BYTES_PER_S, WIRE_RATE_SPAN_MS / 1000);
    } else {
        return false;
    }
    ev->kind = WIRE_EVENT_CLOSE;
    ev->close = true;
    wire_conn_close(c);
    return true;
}

void wire_conn_paused(struct wire_conn *c, uint64_t now_ms)
{
    if (!c->paused) {
        c->paused = true;
        c->paused_ms = now_ms;
    }
}

void wire_conn_resumed(struct wire_conn *c, uint64_t now_ms)
{
    if (c->paused) {
        c->paused = false;
        c->begun_ms += now_ms - c->paused_ms;
        c->byte_ms += now_ms - c->paused_ms;
    }
}
