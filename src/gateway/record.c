/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/record.h"

#include <inttypes.h>

#include "base/block.h"
#include "base/json_scan.h"
#include "codec/error_body.h"
#include "codec/request_hints.h"
#include "gateway/exchange.h"
#include "gateway/recorder.h"
#include "gateway/sub.h"
#include "gateway/turns.h"
#include "mcp/error.h"

/* Of an exchange that is recorded. */
struct record {
    uint64_t recording;
    uint64_t begun_us; /* the recording */
    struct siphash_key key;
    size_t prefix_count;
    uint64_t prefix[PROMPT_HASHES_MAX];
    uint64_t prefix_bytes[PROMPT_HASHES_MAX];
};

void record_begin(struct exchange *x)
{
    struct recorder *r = x->sub->recorder;
    uint64_t recording = r == NULL ? 0 : recorder_running(r);
    struct record *record;

    if (recording == 0 || x->inner || !x->needs_model) {
        return;
    }
    record = block_get_zeroed(sizeof(*record)); /* without memory there is no line */
    if (record == NULL || !recorder_terms(r, recording, &record->key, &record->begun_us)) {
        block_put(record, sizeof(*record));
        return;
    }
    record->recording = recording;
    if (x->body_is_json) {
        record->prefix_count = prompt_hashes(&x->request, record->prefix, record->prefix_bytes);
    }
    x->recorded = record;
}

static void add_number(struct buf *out, const char *key, uint64_t number)
{
    buf_printf(out, ",\"%s\":%" PRIu64, key, number);
}

static void add_hash(struct buf *out, const struct record *r, const char *key, struct slice of)
{
    buf_printf(out, ",\"%s\":\"%016" PRIx64 "\"", key, siphash(&r->key, of));
}

static void add_prefix(struct buf *out, const struct record *r)
{
    if (r->prefix_count == 0) {
        return;
    }
    buf_append_str(out, ",\"prefix\":[");
    for (size_t i = 0; i < r->prefix_count; i++) {
        struct slice hash = slice_of(&r->prefix[i], sizeof(r->prefix[i]));

        buf_printf(out, "%s\"%016" PRIx64 "\"", i > 0 ? "," : "", siphash(&r->key, hash));
    }
    buf_append_str(out, "],\"prefix_bytes\":[");
    for (size_t i = 0; i < r->prefix_count; i++) {
        buf_printf(out, "%s%" PRIu64, i > 0 ? "," : "", r->prefix_bytes[i]);
    }
    buf_append_byte(out, ']');
}

static void add_sizes(struct buf *out, const struct exchange *x)
{
    const struct exchange_turn *t = &x->turn;

    add_number(out, "in_bytes", x->bytes_in);
    if (t->prompt_tokens > 0) {
        add_number(out, "in_tokens", t->prompt_tokens);
    }
    add_number(out, "out_bytes", x->bytes_out);
    add_number(out, "out_tokens", t->answer_tokens > 0 ? t->answer_tokens : x->parts);
}

/* What a node refused over HTTP was relayed well, but is an error to who asked. */
static int code_of(const struct exchange *x)
{
    return x->result_code == MCP_OK && x->node_status >= 400
               ? error_code_from_status((int)x->node_status)
               : x->result_code;
}

static void append_line(struct buf *out, const struct exchange *x, uint64_t now_us)
{
    static const char *const class_names[SCHED_CLASS_COUNT] = {
        [SCHED_CLASS_INTERACTIVE] = "interactive",
        [SCHED_CLASS_NORMAL] = "normal",
        [SCHED_CLASS_BATCH] = "batch",
    };
    const struct record *r = x->recorded;

    buf_printf(out, "{\"at_us\":%" PRIu64 ",\"op\":\"%s\",\"face\":\"%s\",\"model\":",
               x->received_us > r->begun_us ? x->received_us - r->begun_us : 0,
               x->op == OP_NONE ? "" : op_info(x->op)->name, x->face == FACE_MCP ? "mcp" : "http");
    json_append_string(out, buf_slice(&x->model));
    buf_printf(out, ",\"class\":\"%s\"", class_names[turn_class(x)]);
    add_hash(out, r, "tenant", turn_tenant(x));
    if (x->session_hash != 0) {
        add_hash(out, r, "session", slice_of(&x->session_hash, sizeof(x->session_hash)));
    }
    add_sizes(out, x);
    add_number(out, "queue_us", x->turn.waited_us);
    add_number(out, "first_us", x->first_part_us > 0 ? x->first_part_us - x->received_us : 0);
    add_number(out, "total_us", now_us - x->received_us);
    buf_printf(out, ",\"code\":\"%s\"", mcp_error_name(code_of(x)));
    add_prefix(out, r);
    buf_append_str(out, "}\n");
}

void record_end(struct exchange *x, uint64_t now_us)
{
    struct record *r = x->recorded;
    struct buf line = {0};

    if (r == NULL) {
        return;
    }
    append_line(&line, x, now_us);
    if (!buf_failed(&line)) {
        recorder_put(x->sub->recorder, r->recording, buf_slice(&line));
    }
    buf_fini(&line);
    x->recorded = NULL;
    block_put(r, sizeof(*r));
}
