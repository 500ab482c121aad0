/* SPDX-License-Identifier: Apache-2.0 */
/* HELLO and its answer. */
#include <stdio.h>
#include <string.h>

#include "base/counter.h"
#include "base/json_scan.h"
#include "base/log.h"
#include "base/version.h"
#include "gateway/face/mcp_conn.h"
#include "gateway/keys.h"
#include "gateway/sub.h"

enum {
    FEATURES = WIRE_SINCE_ACK | WIRE_SINCE_CANCEL | WIRE_SINCE_CREDIT | WIRE_SINCE_CRC32C |
               WIRE_SINCE_GOAWAY | WIRE_SINCE_CHUNK
};

/* A key that is there must be good; without one, each request brings its own. It is kept, not what
 * it matches: that may change with the configuration. */
static int judge_key(struct mcp_conn *c, struct slice auth, struct err *e)
{
    const struct config *config = c->sub->config;

    if (auth.ptr == NULL) {
        return MCP_OK;
    }
    if (!json_unescape(auth, &c->terms->key)) {
        return err_set(e, MCP_EINTERNAL, "out of memory");
    }
    if (config->key_count > 0 && keys_match(config, buf_slice(&c->terms->key)) == NULL) {
        counter_add(COUNTER_UNAUTHORIZED, 1);
        return err_set(e, MCP_EUNAUTHORIZED, "the API key is not valid");
    }
    mcp_conn_authenticated(c, NULL);
    return MCP_OK;
}

static void refuse(struct mcp_conn *c, const struct err *e)
{
    struct buf body = {0};

    counter_add(COUNTER_MCP_ERRORS, 1);
    counter_add(COUNTER_MCP_HELLO_REFUSED, 1);
    mcp_conn_log_close(c, mcp_error_name(e->code), e->text);
    if (wire_welcome_append_refusal(&body, e->code, slice_str(e->text))) {
        mcp_conn_control(c, WIRE_OP_WELCOME, 0, buf_slice(&body));
    }
    buf_fini(&body);
    mcp_conn_close(c);
}

static int agree(struct mcp_conn *c, uint32_t session, struct slice payload, struct wire_hello *h,
                 struct wire_welcome *w, struct err *e)
{
    const struct config *config = c->sub->config;
    const struct wire_offer offer = {
        .codecs = 1u << WIRE_CODEC_JSON,
        .features = FEATURES,
        .heartbeat_ms = (uint32_t)config->heartbeat_ms,
        .max_frame_bytes = c->wire.config.max_frame_bytes,
        .window_bytes = (uint32_t)config->window_bytes,
        .max_sessions = (uint32_t)c->sessions.config.max_in_flight,
        .server = "mcpgate/" MCPGATE_VERSION,
    };
    int rv = mcp_input_negotiates(c) ? wire_hello_read(h, session, payload, e)
                                     : err_set(e, MCP_EINTERNAL, "out of memory");

    if (rv == MCP_OK) {
        rv = wire_negotiate(h, &offer, w, e);
    }
    return rv == MCP_OK ? judge_key(c, h->auth, e) : rv;
}

bool mcp_hello(struct mcp_conn *c, uint32_t session, struct slice payload)
{
    struct wire_hello h;
    struct wire_welcome w = {0};
    struct err e = {0};
    struct buf body = {0};

    if (agree(c, session, payload, &h, &w, &e) != MCP_OK) {
        refuse(c, &e);
        return false;
    }
    w.connection = c->number;
    if (!wire_welcome_append(&body, &w)) {
        (void)err_set(&e, MCP_EINTERNAL, "out of memory");
        buf_fini(&body);
        refuse(c, &e);
        return false;
    }
    counter_add(COUNTER_MCP_NEGOTIATED, 1);
    LOG_DEBUG("mcp_hello", "client=%s connection=%llu features=0x%x", c->client,
              (unsigned long long)c->number, w.features);
    mcp_conn_control(c, WIRE_OP_WELCOME, 0, buf_slice(&body));
    buf_fini(&body);
    c->features = w.features;
    c->terms->window_bytes = w.window_bytes;
    c->silence_ms = (uint64_t)w.heartbeat_ms * WIRE_MISSED_HEARTBEATS;
    wire_conn_negotiated(&c->wire, w.features);
    mcp_out_negotiated(&c->out, w.features, h.max_frame_bytes);
    mcp_conn_arm_silence(c);
    return true;
}
