/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/trace.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "gateway/exchange.h"
#include "gateway/route_step.h"
#include "gateway/sub.h"
#include "obs/logfmt.h"

/* LOOK_FOR_LOAD_US: who answered sooner has loaded no model. METRICS: where Ollama's numbers stand
 * in the last part, counted from its end. */
enum { PASSED_OVER_MAX = 64, LOOK_FOR_LOAD_US = 10000, METRICS_BYTES = 512 };

void trace_ring_init(struct trace_ring *r, size_t count)
{
    *r = (struct trace_ring){.count = count};
    if (count > 0) {
        r->records = xcalloc(count, sizeof(*r->records));
    }
}

void trace_ring_fini(struct trace_ring *r)
{
    free(r->records);
    r->records = NULL;
    r->count = 0;
}

/* The next record that is free; NULL: nearly all are in use. */
static struct trace_record *take_record(struct trace_ring *r)
{
    size_t tries = r->count < PASSED_OVER_MAX ? r->count : PASSED_OVER_MAX;

    for (; tries > 0; tries--) {
        struct trace_record *record = &r->records[r->next];

        r->next = r->next + 1 == r->count ? 0 : r->next + 1;
        if (record->running == NULL) {
            return record;
        }
    }
    return NULL;
}

void trace_begin(struct exchange *x)
{
    struct trace_ring *r = &x->sub->trace;
    struct trace_record *record = take_record(r);

    x->trace = record;
    if (record == NULL) {
        return;
    }
    memset(record, 0, offsetof(struct trace_record, id));
    record->running = x;
    record->number = ++r->last_number;
    record->begun_us = x->received_us;
    record->is_mcp = x->face == FACE_MCP;
}

static void add(struct exchange *x, enum trace_kind kind, uint64_t node_id)
{
    struct trace_record *record = x->trace;
    uint64_t now_us = loop_now_us(x->sub->loop);

    if (record->event_count == TRACE_EVENTS_MAX) {
        record->lost++;
        return;
    }
    record->events[record->event_count++] = (struct trace_event){
        .at_us = now_us - record->begun_us, .kind = kind & 63U, .node_id = node_id & 0xfffffU};
}

void trace_note(struct exchange *x, enum trace_kind kind)
{
    if (x->trace != NULL) {
        add(x, kind, x->node_id);
    }
}

void trace_others(struct exchange *x, const struct choose_node *nodes, size_t count,
                  bool needs_model)
{
    for (size_t i = 0; x->trace != NULL && i < count; i++) {
        add(x,
            !nodes[i].up                         ? TRACE_NODE_DOWN
            : !nodes[i].suits                    ? TRACE_NODE_UNSUITED
            : needs_model && !nodes[i].has_model ? TRACE_NODE_LACKS
                                                 : TRACE_NODE_LATER,
            nodes[i].id);
    }
}

void trace_number(struct exchange *x, enum trace_kind kind, uint64_t number)
{
    if (x->trace != NULL) {
        add(x, kind, number);
    }
}

void trace_sent(struct exchange *x)
{
    x->sent_us = loop_now_us(x->sub->loop);
    if (x->call != NULL) {
        trace_note(x, node_call_is_pooled(x->call) ? TRACE_REUSED : TRACE_CONNECTING);
    }
}

void trace_pause(struct exchange *x)
{
    if (x->trace != NULL && x->trace->pauses++ == 0) {
        add(x, TRACE_PAUSED, x->node_id);
    }
}

static uint64_t read_number(struct slice text)
{
    uint64_t value = 0;

    while (text.len > 0 && (*text.ptr == ' ' || *text.ptr == ':')) {
        text = slice_skip(text, 1);
    }
    for (; text.len > 0 && *text.ptr >= '0' && *text.ptr <= '9' && value < UINT64_MAX / 100;
         text = slice_skip(text, 1)) {
        value = value * 10 + (uint64_t)(*text.ptr - '0');
    }
    return value;
}

/* It is only told, so that it may stand in a text as well would do no harm; but texts come before
 * the numbers, and escape their quotes. */
void trace_last_part(struct exchange *x, struct slice part)
{
    static const struct slice key = SLICE("\"load_duration\"");
    struct slice end = slice_skip(part, part.len > METRICS_BYTES ? part.len - METRICS_BYTES : 0);
    const char *at;

    if (exchange_read_us(x) < x->sent_us + LOOK_FOR_LOAD_US) {
        return;
    }
    at = memmem(end.ptr, end.len, key.ptr, key.len);
    if (at != NULL) {
        x->load_us = read_number(slice_skip(end, (size_t)(at - end.ptr) + key.len)) / 1000;
    }
}

static void fill(struct trace_record *record, const struct exchange *x, uint64_t now_us,
                 unsigned status)
{
    record->total_us = now_us - record->begun_us;
    record->wall_us = loop_wall_us(x->sub->loop) - record->total_us;
    record->load_us = x->load_us;
    record->parts = x->parts;
    record->bytes_in = x->bytes_in;
    record->bytes_out = x->bytes_out;
    record->code = x->result_code;
    record->status = status;
    record->op = (uint8_t)x->op;
    slice_copy(slice_str(x->id), record->id, sizeof(record->id));
    slice_copy(slice_str(x->client), record->client, sizeof(record->client));
    slice_copy(buf_slice(&x->model), record->model, sizeof(record->model));
    slice_copy(exchange_asked_model(x), record->route, sizeof(record->route));
    slice_copy(x->text_is_nodes ? SLICE("") : slice_str(x->result_text), record->text,
               sizeof(record->text));
}

void trace_end(struct exchange *x, uint64_t now_us, unsigned status)
{
    if (x->trace != NULL) {
        fill(x->trace, x, now_us, status);
        x->trace->running = NULL;
        x->trace = NULL;
    }
}

/* --- what is told ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *text;
    bool has_node;
} kinds[] = {
#define TRACE_EVENT(id, name, has_node, text) {name, text, has_node},
#include "gateway/trace.def"
#undef TRACE_EVENT
};

static void append_ms(struct buf *out, const char *before, uint64_t us)
{
    buf_append_str(out, before);
    buf_append_uint(out, us / 1000);
    buf_printf(out, ".%03u", (unsigned)(us % 1000));
}

static void append_pair(struct buf *out, const char *before, struct slice value)
{
    buf_append_str(out, before);
    json_append_string(out, value);
}

/* What the event is about: a node, or a model of the request's route. */
static struct slice subject(const struct sub *sub, const struct trace_record *r,
                            const struct trace_event *event)
{
    const struct node *n;

    if (event->kind == TRACE_ROUTED || event->kind == TRACE_FALLS_BACK) {
        return route_event_model(sub->config, slice_str(r->route), (enum trace_kind)event->kind,
                                 event->node_id);
    }
    n = event->node_id == 0 ? NULL : nodes_by_id(sub->nodes, event->node_id);
    return n == NULL ? SLICE("a node that is gone") : slice_str(n->spec->name);
}

static void append_event(struct buf *out, const struct sub *sub, const struct trace_record *r,
                         const struct trace_event *event)
{
    struct slice name = subject(sub, r, event);
    const char *text = kinds[event->kind].text;
    const char *place = strstr(text, "%s");
    struct buf said = {0};

    append_ms(out, "{\"ms\":", event->at_us);
    append_pair(out, ",\"event\":", slice_str(kinds[event->kind].name));
    if (place == NULL) {
        buf_append_str(&said, text);
    } else {
        buf_append(&said, slice_of(text, (size_t)(place - text)));
        buf_append(&said, name);
        buf_append_str(&said, place + 2);
    }
    if (kinds[event->kind].has_node) {
        append_pair(out, ",\"node\":", name);
    }
    append_pair(out, ",\"text\":", buf_slice(&said));
    buf_append_byte(out, '}');
    buf_fini(&said);
}

static void append_end(struct buf *out, const struct trace_record *r)
{
    struct buf said = {0};

    if (r->code == MCP_OK) {
        buf_append_str(&said, "the answer is complete");
    } else {
        buf_printf(&said, "ended as %s%s%s", mcp_error_name(r->code),
                   r->text[0] == '\0' ? "" : ": ", r->text);
    }
    append_ms(out, "{\"ms\":", r->total_us);
    append_pair(out, ",\"event\":\"end\",\"text\":", buf_slice(&said));
    buf_append_byte(out, '}');
    buf_fini(&said);
}

static void append_events(struct buf *out, const struct sub *sub, const struct trace_record *r,
                          bool has_ended)
{
    buf_append_str(out, ",\"events\":[");
    for (size_t i = 0; i < r->event_count; i++) {
        buf_append_str(out, i == 0 ? "" : ",");
        append_event(out, sub, r, &r->events[i]);
    }
    if (has_ended) {
        buf_append_str(out, r->event_count == 0 ? "" : ",");
        append_end(out, r);
    }
    buf_printf(out, "],\"events_left_out\":%u}", (unsigned)r->lost);
}

static void append_record(struct buf *out, const struct sub *sub, const struct trace_record *r,
                          bool has_ended)
{
    append_pair(out, "{\"id\":", slice_str(r->id));
    append_pair(out, ",\"state\":", has_ended ? SLICE("ended") : SLICE("running"));
    append_pair(out, ",\"face\":", r->is_mcp ? SLICE("mcp") : SLICE("http"));
    append_pair(out, ",\"client\":", slice_str(r->client));
    append_pair(
        out, ",\"op\":", r->op == OP_NONE ? SLICE("") : slice_str(op_info((enum op)r->op)->name));
    append_pair(out, ",\"model\":", slice_str(r->model));
    if (r->route[0] != '\0') {
        append_pair(out, ",\"route\":", slice_str(r->route));
    }
    buf_append_str(out, ",\"received\":\"");
    logfmt_time(out, r->wall_us);
    buf_append_byte(out, '"');
    if (has_ended) {
        append_pair(out, ",\"code\":", slice_str(mcp_error_name(r->code)));
    }
    buf_printf(out,
               ",\"status\":%u,\"parts\":%" PRIu64 ",\"bytes_in\":%" PRIu64
               ",\"bytes_out\":%" PRIu64 ",\"pauses\":%" PRIu32,
               r->status, r->parts, r->bytes_in, r->bytes_out, r->pauses);
    append_ms(out, ",\"total_ms\":", r->total_us);
    if (r->load_us > 0) {
        append_ms(out, ",\"load_ms\":", r->load_us);
    }
    append_events(out, sub, r, has_ended);
}

static bool has_id(const struct trace_record *r, struct slice id)
{
    return r->number != 0 && slice_eq(slice_str(r->running != NULL ? r->running->id : r->id), id);
}

/* Those of the highest numbers, in their order. */
static size_t pick(const struct trace_ring *ring, struct slice id,
                   const struct trace_record *found[TRACE_FOUND_MAX])
{
    size_t count = 0;

    for (size_t i = 0; i < ring->count; i++) {
        const struct trace_record *r = &ring->records[i];
        size_t at;

        if (!has_id(r, id) || (count == TRACE_FOUND_MAX && r->number < found[0]->number)) {
            continue;
        }
        if (count == TRACE_FOUND_MAX) {
            memmove(found, found + 1, --count * sizeof(*found));
        }
        for (at = count; at > 0 && found[at - 1]->number > r->number; at--) {
            found[at] = found[at - 1];
        }
        found[at] = r;
        count++;
    }
    return count;
}

size_t trace_find(const struct sub *sub, struct slice id, struct buf *out)
{
    const struct trace_record *found[TRACE_FOUND_MAX];
    size_t count = pick(&sub->trace, id, found);

    for (size_t i = 0; i < count; i++) {
        struct trace_record now = *found[i];

        if (found[i]->running != NULL) {
            const struct exchange *x = found[i]->running;

            fill(&now, x, loop_clock_us(sub->loop),
                 x->face == FACE_HTTP ? x->sent_status : x->node_status);
        }
        buf_append_str(out, i == 0 ? "" : ",");
        append_record(out, sub, &now, found[i]->running == NULL);
    }
    return count;
}
