/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/account.h"

#include "base/counter.h"
#include "gateway/record.h"
#include "gateway/route_step.h"
#include "gateway/sub.h"
#include "http/parse/url.h"
#include "obs/access_log.h"

static enum counter_id outcome(const struct exchange *x)
{
    switch (x->result_code) {
    case MCP_OK:
        if (x->node_status >= 500 || x->saw_error) {
            return COUNTER_EXCHANGE_NODE_ERROR;
        }
        return x->node_status >= 400 ? COUNTER_EXCHANGE_CLIENT_ERROR : COUNTER_EXCHANGE_OK;
    case MCP_ECANCELLED:
        return COUNTER_EXCHANGE_CANCELLED;
    case MCP_ESTREAM_INTERRUPTED:
        return COUNTER_EXCHANGE_INTERRUPTED;
    case MCP_EDEADLINE_EXCEEDED:
        return COUNTER_EXCHANGE_DEADLINE;
    case MCP_EUPSTREAM_ERROR:
    case MCP_ENODE_UNAVAILABLE:
        return COUNTER_EXCHANGE_NODE_ERROR;
    case MCP_EINTERNAL:
    case MCP_ENOMEM:
    case MCP_ESHUTTING_DOWN:
    case MCP_EQUEUE_FULL:
        return COUNTER_EXCHANGE_GATEWAY_ERROR;
    default:
        return COUNTER_EXCHANGE_CLIENT_ERROR;
    }
}

/* What the client asked for. */
static enum op asked_op(const struct exchange *x)
{
    return x->deep != NULL ? OP_HEALTH : x->op;
}

unsigned exchange_error_status(const struct exchange *x)
{
    if (x->result_from_node && x->node_status >= 400) {
        return x->node_status;
    }
    return (unsigned)mcp_error_http_status(x->result_code);
}

/* What the client got, or gets with the error it ends with; 0: nothing. */
static unsigned final_status(const struct exchange *x)
{
    if (x->sent_status != 0 || x->result_code == MCP_OK || x->result_code == MCP_ECANCELLED) {
        return x->sent_status;
    }
    return exchange_error_status(x);
}

void account_end(struct exchange *x)
{
    enum op op = asked_op(x);
    uint64_t now_us = loop_clock_us(x->sub->loop);
    struct access_record record = {
        .wall_us = loop_wall_us(x->sub->loop),
        .id = x->id,
        .face = x->face == FACE_MCP ? "mcp" : "http",
        .client = x->client,
        .key = x->key_name,
        .op = op == OP_NONE ? "" : op_info(op)->name,
        .path = url_target_path(x->path),
        .model = buf_slice(&x->model),
        .node = x->node_name,
        .code = mcp_error_name(x->result_code),
        .status = x->face == FACE_HTTP ? final_status(x) : x->node_status,
        .parts = x->parts,
        .bytes_in = x->bytes_in,
        .bytes_out = x->bytes_out,
        .queue_us = x->turn.waited_us,
        .first_part_us = x->first_part_us == 0 ? 0 : x->first_part_us - x->received_us,
        .total_us = now_us - x->received_us,
    };

    route_note_end(x);
    if (!x->inner) {
        counter_add(COUNTER_EXCHANGES_RUNNING, -1);
        counter_add(outcome(x), 1);
        histogram_record(HISTOGRAM_EXCHANGE_US, record.total_us);
        access_log_write(&record);
    }
    record_end(x, now_us);
    trace_end(x, now_us, record.status);
}
