/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/wishes.h"

#include "base/json_scan.h"
#include "gateway/exchange.h"
#include "gateway/request_id.h"
#include "sched/route.h"

static bool read_priority(struct exchange *x, struct slice value)
{
    static const struct slice names[] = {
        [PRIORITY_INTERACTIVE] = SLICE("interactive"),
        [PRIORITY_NORMAL] = SLICE("normal"),
        [PRIORITY_BATCH] = SLICE("batch"),
    };

    for (unsigned i = PRIORITY_INTERACTIVE; i <= PRIORITY_BATCH; i++) {
        if (slice_eq_case(value, names[i])) {
            x->priority = (enum priority)i;
            return true;
        }
    }
    return false;
}

static bool read_deadline(struct exchange *x, struct slice value)
{
    x->has_deadline = value.len > 0 && json_uint(value, &x->deadline_ms);
    return x->has_deadline;
}

static bool read_session(struct exchange *x, struct slice value)
{
    x->session_hash = model_route_key(value);
    return request_id_is_fine(value);
}

/* What it means is for spread_plan.c to say. */
static bool read_nodes(struct exchange *x, struct slice value)
{
    return value.len > 0 && exchange_extra(x) != NULL && buf_append(&x->extra->wished_nodes, value);
}

int wishes_read(struct exchange *x, const struct http_head *head, struct err *e)
{
    static const struct {
        struct slice header;
        bool (*read)(struct exchange *x, struct slice value);
        const char *expected;
    } wishes[] = {
        {SLICE("X-Mcpgate-Priority"), read_priority, "interactive, normal or batch"},
        {SLICE("X-Mcpgate-Deadline"), read_deadline, "a whole number of milliseconds"},
        {SLICE("X-Mcpgate-Session"), read_session, "1 to 64 letters, digits and -_.:"},
        {SLICE("X-Mcpgate-Nodes"), read_nodes, "all, a number, or names of nodes"},
    };

    for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
        struct slice value = http_head_find(head, wishes[i].header);

        if (value.ptr != NULL && !wishes[i].read(x, value)) {
            return err_set(e, MCP_EBAD_REQUEST, "%.*s: expected %s", SLICE_ARG(wishes[i].header),
                           wishes[i].expected);
        }
    }
    return MCP_OK;
}
