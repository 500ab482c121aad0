/* SPDX-License-Identifier: Apache-2.0 */
/* GET /admin/record: the recording (recorder.h) as it is made, until the client leaves. While that
 * does not read, lines wait at the recorder, and are dropped there when they are too many. */
#include "base/version.h"
#include "gateway/face/admin_internal.h"
#include "gateway/gateway.h"
#include "obs/logfmt.h"

enum { STATUS_CONFLICT = 409 };

static void stop(struct admin_wait *w)
{
    recorder_end(&w->gateway->recorder);
}

/* Sends what there is. */
static void send_lines(struct admin_wait *w)
{
    struct buf lines = {0};

    if (http_reply_over_high(w->request)) {
        return; /* it goes on when the client has taken that */
    }
    recorder_take(&w->gateway->recorder, &lines);
    if (buf_failed(&lines)) { /* lines are gone, and nobody can be told how many */
        http_reply_abort(&w->request);
        stop(w);
        admin_wait_free(w);
    } else if (buf_len(&lines) > 0) {
        http_reply_body(w->request, buf_slice(&lines));
    }
    buf_fini(&lines);
}

static void on_ready(void *owner)
{
    send_lines(owner);
}

static void begin_answer(struct admin_wait *w)
{
    static const struct http_header headers[] = {
        {SLICE("Content-Type"), SLICE("application/x-ndjson")}};
    struct buf line = {0};

    buf_append_str(&line,
                   "{\"mcpgate_record\":1,\"version\":\"" MCPGATE_VERSION "\",\"started\":\"");
    (void)logfmt_time(&line, loop_wall_us(w->gateway->loop));
    buf_append_str(&line, "\"}\n");
    http_reply_head(w->request, 200, headers, 1, HTTP_LENGTH_CHUNKED);
    http_reply_body(w->request, buf_slice(&line)); /* without memory: without that line */
    buf_fini(&line);
}

void admin_record(struct admin_face *f, struct http_request *q, struct slice rest)
{
    struct admin_wait *w = admin_wait_new(f, q);

    (void)rest;
    if (w == NULL) {
        return;
    }
    if (!recorder_begin(&w->gateway->recorder, on_ready, w)) {
        admin_wait_refuse(w, STATUS_CONFLICT,
                          SLICE("a recording runs already; it ends when its reader leaves"));
        return;
    }
    w->drop = stop;
    w->drained = send_lines;
    begin_answer(w);
}
