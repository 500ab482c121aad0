/* SPDX-License-Identifier: Apache-2.0 */
#include "core_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/crc32c.h"

void core_set_up_with(struct core_fixture *f, const struct client_config *config)
{
    *f = (struct core_fixture){.now_ms = 1000};
    client_core_init(&f->core, config);
    client_part_init(&f->part);
}

void core_set_up(struct core_fixture *f, unsigned retries)
{
    core_set_up_with(f, &(struct client_config){.retries = retries, .seed = 7});
}

void core_set_up_offering(struct core_fixture *f, uint32_t features, unsigned retries)
{
    core_set_up_with(f, &(struct client_config){
                            .retries = retries,
                            .seed = 7,
                            .features = features,
                            .auth_json = SLICE("\"key\""),
                        });
}

void core_tear_down(struct core_fixture *f)
{
    client_core_fini(&f->core);
    client_part_fini(&f->part);
    buf_fini(&f->log);
}

void core_connect_now(struct core_fixture *f)
{
    client_core_connect(&f->core, false);
    client_core_connected(&f->core, f->now_ms);
    assert_int_equal(f->core.state, CLIENT_READY);
}

int core_request(struct core_fixture *f, uint32_t session, const char *json)
{
    struct err e = {0};
    int rv = client_core_request(&f->core, session, slice_str(json), f->now_ms, &e);

    assert_int_equal(rv, e.code);
    return rv;
}

void core_see(struct core_fixture *f)
{
    size_t len;
    const char *data = mcp_part_data(&f->part, &len);

    if (len > 1000) {
        buf_printf(&f->log, "%u [%zu]; ", mcp_part_session(&f->part), len);
        client_core_seen(&f->core, &f->part, f->now_ms);
        return;
    }
    buf_printf(&f->log, "%u %.*s%s %s; ", mcp_part_session(&f->part), (int)len, data,
               mcp_part_last(&f->part) ? " last" : "",
               mcp_part_error(&f->part) == 0 ? "-" : mcp_error_name(mcp_part_error(&f->part)));
    client_core_seen(&f->core, &f->part, f->now_ms);
}

void core_feed(struct core_fixture *f, struct slice in)
{
    ptrdiff_t n;

    while ((n = client_core_recv(&f->core, in, f->now_ms, &f->part)) > 0) {
        core_see(f);
        in = slice_skip(in, (size_t)n);
    }
}

void core_append(const struct core_fixture *f, struct buf *out, unsigned opcode, uint32_t session,
                 struct slice payload)
{
    bool crc = (f->core.agreed.features & WIRE_SINCE_CRC32C) != 0;
    size_t before = buf_len(out);
    uint8_t bytes[WIRE_CRC_BYTES];

    assert_true(wire_header_append(out, opcode, session, payload.len + (crc ? sizeof(bytes) : 0)));
    assert_true(payload.len == 0 || buf_append(out, payload));
    if (crc) {
        wire_crc32c_encode(wire_crc32c(0, slice_skip(buf_slice(out), before)), bytes);
        assert_true(buf_append(out, slice_of(bytes, sizeof(bytes))));
    }
}

void core_frame(struct core_fixture *f, unsigned opcode, uint32_t session, struct slice payload)
{
    struct buf frame = {0};

    core_append(f, &frame, opcode, session, payload);
    core_feed(f, buf_slice(&frame));
    buf_fini(&frame);
}

void core_respond(struct core_fixture *f, uint32_t session, const char *json)
{
    core_frame(f, WIRE_OP_RESPONSE, session, slice_str(json));
}

void core_welcome(struct core_fixture *f, const char *json)
{
    client_core_connect(&f->core, false);
    client_core_connected(&f->core, f->now_ms);
    assert_int_equal(f->core.state, CLIENT_NEGOTIATE);
    core_expect_sent(f, "16 0 ; ");
    core_frame(f, WIRE_OP_WELCOME, 0, slice_str(json));
    assert_int_equal(f->core.state, CLIENT_READY);
}

void core_collect(struct core_fixture *f)
{
    while (client_core_part(&f->core, &f->part)) {
        core_see(f);
    }
}

void core_expect_log(struct core_fixture *f, const char *want)
{
    if (!slice_eq(buf_slice(&f->log), slice_str(want))) {
        fail_msg("got: %.*s\nwant: %s", SLICE_ARG(buf_slice(&f->log)), want);
    }
    buf_clear(&f->log);
}

/* Its CRC is checked and taken off. */
static struct slice payload_of(const struct core_fixture *f, struct slice frame)
{
    struct slice payload = slice_skip(frame, WIRE_HEADER_BYTES);

    if ((f->core.agreed.features & WIRE_SINCE_CRC32C) != 0) {
        size_t at = frame.len - WIRE_CRC_BYTES;

        assert_int_equal(wire_crc32c_decode((const uint8_t *)frame.ptr + at),
                         wire_crc32c(0, slice_first(frame, at)));
        payload.len -= WIRE_CRC_BYTES;
    }
    return payload;
}

static void describe(const struct mcp_header *h, struct slice payload, struct buf *out)
{
    buf_printf(out, "%u %u ", h->opcode, h->session_id);
    if (h->opcode == WIRE_OP_CREDIT) {
        buf_printf(out, "%u", wire_get_u32((const uint8_t *)payload.ptr));
    } else if (h->opcode == WIRE_OP_CHUNK || payload.len > 1000) {
        buf_printf(out, "[%zu]", payload.len);
    } else if (h->opcode == WIRE_OP_REQUEST) {
        buf_append(out, payload);
    }
    buf_append_str(out, "; ");
}

void core_expect_sent(struct core_fixture *f, const char *want)
{
    struct slice out = buf_slice(&f->core.out);
    struct buf got = {0};

    while (out.len > 0) {
        struct mcp_header h;
        struct slice frame;

        assert_true(out.len >= WIRE_HEADER_BYTES);
        h = wire_header_decode((const uint8_t *)out.ptr);
        frame = slice_first(out, WIRE_HEADER_BYTES + h.length);
        assert_int_equal(frame.len, WIRE_HEADER_BYTES + h.length);
        describe(&h, payload_of(f, frame), &got);
        out = slice_skip(out, frame.len);
    }
    if (!slice_eq(buf_slice(&got), slice_str(want))) {
        fail_msg("sent: %.*s\nwant: %s", SLICE_ARG(buf_slice(&got)), want);
    }
    client_core_wrote(&f->core, buf_len(&f->core.out), f->now_ms);
    buf_fini(&got);
}

void core_wait_for_retry(struct core_fixture *f, unsigned exponent)
{
    uint64_t least = f->now_ms + (1000u << exponent);
    uint64_t due = client_core_deadline_ms(&f->core);

    assert_int_equal(f->core.state, CLIENT_RETRY);
    assert_in_range(due, least, least + 999);
    f->now_ms = due - 1;
    client_core_tick(&f->core, f->now_ms);
    assert_int_equal(f->core.state, CLIENT_RETRY);
    f->now_ms = due;
    client_core_tick(&f->core, f->now_ms);
    assert_int_equal(f->core.state, CLIENT_CONNECT);
}

void core_lose(struct core_fixture *f, int code)
{
    client_core_lost(&f->core, code, "gone", f->now_ms);
}

char *core_long_request(size_t len)
{
    static const char HEAD[] = SENT_GENERATE;
    char *json = malloc(len + 1);

    assert_non_null(json);
    assert_true(len >= sizeof(HEAD));
    memset(json, 'x', len);
    memcpy(json, HEAD, strlen(HEAD) - 3);
    memcpy(json + len - 2, "\"}", 3);
    return json;
}

int core_request_long(struct core_fixture *f, uint32_t session, size_t len)
{
    char *json = core_long_request(len);
    int rv = core_request(f, session, json);

    free(json);
    return rv;
}

void core_cancel(struct core_fixture *f, uint32_t session, int want)
{
    struct err e = {0};

    assert_int_equal(client_core_cancel(&f->core, session, f->now_ms, &e), want);
    assert_int_equal(e.code, want);
}
