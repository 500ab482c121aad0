/* SPDX-License-Identifier: Apache-2.0 */
#include "feed.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mcp/error.h"
#include "wire/hello.h"

static int digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

void feed_hex(struct buf *out, const char *hex)
{
    while (*hex != '\0') {
        if (*hex == ' ') {
            hex++;
            continue;
        }
        assert_true(isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1]));
        assert_true(buf_append_byte(out, (char)(digit(hex[0]) * 16 + digit(hex[1]))));
        hex += 2;
    }
}

static void write_event(const struct wire_event *ev, struct buf *log)
{
    static const char *const NAMES[] = {
        [WIRE_EVENT_REQUEST] = "REQUEST",     [WIRE_EVENT_RESPONSE] = "RESPONSE",
        [WIRE_EVENT_HEARTBEAT] = "HEARTBEAT", [WIRE_EVENT_HELLO] = "HELLO",
        [WIRE_EVENT_WELCOME] = "WELCOME",     [WIRE_EVENT_ACK] = "ACK",
        [WIRE_EVENT_CREDIT] = "CREDIT",       [WIRE_EVENT_CANCEL] = "CANCEL",
        [WIRE_EVENT_GOAWAY] = "GOAWAY",       [WIRE_EVENT_CHUNK] = "CHUNK",
        [WIRE_EVENT_REFUSE] = "REFUSE",       [WIRE_EVENT_CORRUPT] = "CORRUPT",
        [WIRE_EVENT_HTTP] = "HTTP",           [WIRE_EVENT_TLS] = "TLS",
        [WIRE_EVENT_CLOSE] = "CLOSE",
    };

    buf_append_str(log, NAMES[ev->kind]);
    switch (ev->kind) {
    case WIRE_EVENT_REQUEST:
    case WIRE_EVENT_RESPONSE:
    case WIRE_EVENT_HEARTBEAT:
    case WIRE_EVENT_HELLO:
    case WIRE_EVENT_WELCOME:
    case WIRE_EVENT_ACK:
    case WIRE_EVENT_CANCEL:
    case WIRE_EVENT_GOAWAY:
    case WIRE_EVENT_CHUNK:
        buf_printf(log, " %u ", ev->session);
        buf_append(log, ev->payload);
        break;
    case WIRE_EVENT_CREDIT:
        buf_printf(log, " %u %u", ev->session, ev->credit_bytes);
        assert_int_equal(ev->payload.len, 4);
        break;
    case WIRE_EVENT_REFUSE:
        buf_printf(log, " %u %s%s%s", ev->session, mcp_error_name(ev->code),
                   ev->close ? " close" : "", ev->too_many ? " too_many" : "");
        assert_true(ev->text[0] != '\0');
        break;
    default:
        assert_true(ev->close);
        assert_int_equal(ev->payload.len, 0);
        break;
    }
    assert_true(buf_append_byte(log, '\n'));
}

/* As the owner of a conn does. */
static void negotiate(struct wire_conn *c, const struct wire_event *ev)
{
    struct wire_hello h;
    uint32_t features = 0;

    if (ev->kind == WIRE_EVENT_HELLO && wire_hello_read(&h, ev->session, ev->payload, NULL) == 0) {
        wire_conn_negotiated(c, h.features);
    } else if (ev->kind == WIRE_EVENT_WELCOME) {
        for (uint32_t bit = 1; bit != 0; bit <<= 1) {
            const char *name = wire_feature_name(bit);

            if (*name != '\0' &&
                memmem(ev->payload.ptr, ev->payload.len, name, strlen(name)) != NULL) {
                features |= bit;
            }
        }
        wire_conn_negotiated(c, features);
    }
}

void feed_piece(struct wire_conn *c, struct slice piece, uint64_t now_ms, struct buf *log)
{
    char *block = calloc(1, piece.len == 0 ? 1 : piece.len);
    struct slice rest = slice_of(block, piece.len);
    struct wire_event ev;
    ptrdiff_t used;

    assert_non_null(block);
    memcpy(block, piece.ptr, piece.len);
    while ((used = wire_conn_recv(c, rest, now_ms, &ev)) != 0) {
        assert_true(used > 0 && (size_t)used <= rest.len);
        assert_int_not_equal(ev.kind, WIRE_EVENT_NONE);
        write_event(&ev, log);
        negotiate(c, &ev);
        rest = slice_skip(rest, (size_t)used);
    }
    assert_int_equal(ev.kind, WIRE_EVENT_NONE);
    free(block);
}

/* Cut into pieces of `step` bytes, the first one `first` long. */
static void feed_cut(const struct wire_config *config, struct slice bytes, size_t first,
                     size_t step, struct buf *log)
{
    struct wire_conn c;

    wire_conn_init(&c, config);
    buf_clear(log);
    for (size_t piece = first; bytes.len > 0; piece = step) {
        struct slice head = slice_first(bytes, piece);

        feed_piece(&c, head, 1000, log);
        bytes = slice_skip(bytes, head.len);
    }
    wire_conn_fini(&c);
}

static void assert_same_log(const struct buf *a, const struct buf *b)
{
    struct slice x = buf_slice(a), y = buf_slice(b);

    if (!slice_eq(x, y)) {
        fail_msg("the cut makes a difference:\n%.*s\n---\n%.*s", SLICE_ARG(x), SLICE_ARG(y));
    }
}

void feed_all_ways(const struct wire_config *config, struct slice bytes, struct buf *log)
{
    size_t stride = bytes.len <= 300 ? 1 : bytes.len / 97 + 1;
    struct buf other = {0};

    feed_cut(config, bytes, bytes.len, 1, log);
    feed_cut(config, bytes, 1, 1, &other);
    assert_same_log(log, &other);
    for (size_t at = 1; at < bytes.len; at += at < 40 ? 1 : stride) {
        feed_cut(config, bytes, at, bytes.len, &other);
        assert_same_log(log, &other);
    }
    buf_fini(&other);
}
