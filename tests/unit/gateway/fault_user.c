/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_user.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fault_node.h"
#include "http/parse/message.h"
#include "wire/conn.h"
#include "wire/hello.h"

enum { IN_BYTES = 32 * 1024, SESSION = 1, PIECES = 3 };

#define BODY "{\"model\":\"m\",\"prompt\":\"Why is the sky blue?\"}"

static struct loop *user_loop;
static const struct fault_talk *talk;
static struct wire_hello hello;
static struct buf greeting, request, credit, cancel;

static struct sock *sock;
static struct wire_conn conn;
static char in[IN_BYTES]; /* HTTP: all that came; MCP: parts, each with a newline behind it */
static size_t in_len;
static int64_t balance;
static bool over, acked, cancelled;

/* --- what it sends ---------------------------------------------------------------------------- */

static bool has(uint32_t feature)
{
    return talk->greets && (talk->features & feature) != 0;
}

static void frame(struct buf *out, enum wire_opcode opcode, struct slice payload)
{
    size_t begin = buf_len(out);
    uint8_t crc[WIRE_CRC_BYTES];

    if (!has(WIRE_SINCE_CRC32C)) {
        assert_true(wire_frame_append(out, opcode, SESSION, payload));
        return;
    }
    assert_true(wire_header_append(out, opcode, SESSION, payload.len + sizeof(crc)) &&
                buf_append(out, payload));
    wire_crc32c_encode(wire_crc32c(0, slice_skip(buf_slice(out), begin)), crc);
    assert_true(buf_append(out, slice_of(crc, sizeof(crc))));
}

static void make_negotiated(void)
{
    struct buf body = {0};
    uint8_t grant[4];

    wire_hello_init(&hello);
    hello.features |= talk->features;
    hello.window_bytes = talk->window_bytes;
    if (has(WIRE_SINCE_CHUNK)) {
        hello.max_frame_bytes = WIRE_HELLO_FRAME_BYTES_MIN;
    }
    assert_true(wire_hello_append(&body, &hello));
    assert_true(wire_frame_append(&greeting, WIRE_OP_HELLO, 0, buf_slice(&body)));
    buf_fini(&body);
    wire_put_u32(grant, (uint32_t)strlen(talk->part));
    frame(&credit, WIRE_OP_CREDIT, slice_of(grant, sizeof(grant)));
    frame(&cancel, WIRE_OP_CANCEL, SLICE(""));
}

static void make_request(void)
{
    struct slice rest = slice_str(talk->body == NULL ? BODY : talk->body);
    size_t piece = rest.len / PIECES;

    if (talk->face == FACE_HTTP) {
        assert_true(buf_printf(&request,
                               "POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                               "Connection: close\r\nContent-Length: %zu\r\n\r\n%.*s",
                               rest.len, SLICE_ARG(rest)));
        return;
    }
    for (int i = 1; i < PIECES && has(WIRE_SINCE_CHUNK); i++) {
        frame(&request, WIRE_OP_CHUNK, slice_first(rest, piece));
        rest = slice_skip(rest, piece);
    }
    frame(&request, WIRE_OP_REQUEST, rest);
}

void fault_user_end(void)
{
    wire_conn_fini(&conn);
    buf_fini(&greeting);
    buf_fini(&request);
    buf_fini(&credit);
    buf_fini(&cancel);
}

void fault_user_begin(struct loop *loop, const struct fault_talk *t)
{
    fault_user_end(); /* where a test has failed, there was none */
    user_loop = loop;
    talk = t;
    if (talk->greets) {
        make_negotiated();
    }
    make_request();
}

static void say(const struct buf *b)
{
    (void)sock_write(sock, buf_slice(b)); /* out of memory comes as closed too */
}

/* --- what comes ------------------------------------------------------------------------------- */

static void end(void)
{
    over = true;
    loop_stop(user_loop);
}

static void keep(struct slice bytes)
{
    assert_true(in_len + bytes.len <= sizeof(in));
    memcpy(in + in_len, bytes.ptr, bytes.len);
    in_len += bytes.len;
}

/* Credit is owed for these bytes of the answer. */
static void count(struct slice bytes)
{
    assert_true(!has(WIRE_SINCE_ACK) || acked);
    keep(bytes);
    balance -= (int64_t)bytes.len;
    if (!has(WIRE_SINCE_CREDIT) || balance > 0) {
        return;
    }
    if (!talk->cancels) {
        balance += (int64_t)strlen(talk->part);
        say(&credit);
    } else if (!cancelled) {
        cancelled = true;
        say(&cancel);
    }
}

static bool holds(struct slice s, const char *text)
{
    return memmem(s.ptr, s.len, text, strlen(text)) != NULL;
}

static void hear_part(struct slice payload)
{
    if (holds(payload, "\"error\":")) {
        keep(payload);
    } else {
        count(payload);
    }
    keep(SLICE("\n"));
    if (holds(payload, "\"done\":true")) {
        end();
    }
}

/* Pieces of the answer; none: what came of a part is taken back. */
static void hear_piece(struct slice piece)
{
    if (piece.len > 0) {
        count(piece);
    }
    while (piece.len == 0 && in_len > 0 && in[in_len - 1] != '\n') {
        in_len--;
    }
}

static void hear_welcome(struct slice payload)
{
    struct wire_welcome w;
    struct err e = {0};

    if (wire_welcome_read(&w, &hello, payload, &e) != 0) {
        end();
        return;
    }
    assert_int_equal(w.features, hello.features);
    wire_conn_negotiated(&conn, w.features);
    balance = w.window_bytes;
    say(&request);
}

static void hear(const struct wire_event *ev)
{
    switch (ev->kind) {
    case WIRE_EVENT_WELCOME:
        hear_welcome(ev->payload);
        break;
    case WIRE_EVENT_ACK:
        assert_true(!acked && in_len == 0);
        acked = true;
        break;
    case WIRE_EVENT_CHUNK:
        hear_piece(ev->payload);
        break;
    case WIRE_EVENT_RESPONSE:
        assert_int_equal(ev->session, SESSION);
        hear_part(ev->payload);
        break;
    case WIRE_EVENT_REFUSE: /* no memory */
        end();
        break;
    default:
        fail_msg("%s: event %d", talk->name, (int)ev->kind);
    }
}

static void on_connected(void *owner)
{
    (void)owner;
    say(talk->greets ? &greeting : &request);
    if (talk->greets) {
        wire_conn_greeted(&conn);
    }
}

static void on_data(void *owner, struct slice bytes)
{
    struct wire_event ev;
    ptrdiff_t used;

    (void)owner;
    if (talk->face == FACE_HTTP) {
        keep(bytes);
        return;
    }
    while (!over && (used = wire_conn_recv(&conn, bytes, 0, &ev)) > 0) {
        hear(&ev);
        bytes = slice_skip(bytes, (size_t)used);
    }
    assert_true(!over || bytes.len == 0);
}

static void on_gone(void *owner)
{
    (void)owner;
    end();
}

static void on_closed(void *owner, int error)
{
    (void)owner;
    (void)error;
    end();
}

static const struct sock_ops ops = {
    .connected = on_connected, .data = on_data, .eof = on_gone, .closed = on_closed};

void fault_user_ask(const struct addr *at)
{
    const struct wire_config config = {.role = WIRE_CLIENT,
                                       .max_frame_bytes = talk->greets ? hello.max_frame_bytes
                                                                       : WIRE_MAX_FRAME_BYTES};

    wire_conn_fini(&conn);
    wire_conn_init(&conn, &config);
    in_len = 0;
    balance = 0;
    over = acked = cancelled = false;
    sock = sock_connect(user_loop, at, &ops, NULL);
    if (sock != NULL) {
        loop_run(user_loop);
        sock_close(&sock, false);
    } else {
        over = true;
    }
}

bool fault_user_is_over(void)
{
    return over;
}

/* --- what it has ------------------------------------------------------------------------------ */

/* The answer, but for the error that ends it. */
static void make_expected(struct buf *out)
{
    int parts = talk->error == NULL ? FAULT_PARTS - 1 : talk->cancels ? 1 : 0;

    for (int i = 0; i < parts; i++) {
        assert_true(buf_append_str(out, talk->part) && buf_append_byte(out, '\n'));
    }
    assert_true(talk->error != NULL || buf_append_str(out, FAULT_LAST "\n"));
}

/* What came of the body of a 200; whether it has ended. */
static bool read_http(struct buf *body)
{
    struct http_parser *p = http_parser_new(HTTP_PARSE_RESPONSES);
    struct http_event ev = {.kind = HTTP_EV_HEAD};
    size_t used = 0;
    bool is_ok = true;

    assert_non_null(p);
    while (is_ok && ev.kind != HTTP_EV_MORE && ev.kind != HTTP_EV_END) {
        ptrdiff_t n = http_parser_feed(p, slice_of(in + used, in_len - used), &ev, NULL);

        assert_true(n >= 0);
        used += (size_t)n;
        is_ok = ev.kind != HTTP_EV_HEAD || ev.head->status == 200;
        assert_true(ev.kind != HTTP_EV_BODY || buf_append(body, ev.body));
    }
    http_parser_free(&p);
    assert_true(ev.kind != HTTP_EV_END || used == in_len);
    return is_ok && ev.kind == HTTP_EV_END;
}

/* The same for both faces. */
static bool read_answer(struct buf *out)
{
    if (talk->face == FACE_HTTP) {
        return read_http(out);
    }
    assert_true(buf_append(out, slice_of(in, in_len)));
    return true;
}

/* Behind the lines that are as expected: nothing, the beginning of the next one, or an error. */
static struct slice behind(struct slice got, struct slice expected)
{
    size_t same = 0;

    while (same < got.len && same < expected.len && got.ptr[same] == expected.ptr[same]) {
        same++;
    }
    while (same > 0 && got.ptr[same - 1] != '\n') {
        same--;
    }
    return slice_skip(got, same);
}

bool fault_user_is_whole(void)
{
    struct buf got = {0}, expected = {0};
    bool whole;

    make_expected(&expected);
    whole = read_answer(&got);
    if (talk->error != NULL) {
        struct slice last = behind(buf_slice(&got), buf_slice(&expected));

        whole = whole && holds(last, talk->error) && buf_len(&got) == buf_len(&expected) + last.len;
    } else {
        whole = whole && slice_eq(buf_slice(&got), buf_slice(&expected));
    }
    buf_fini(&got);
    buf_fini(&expected);
    return whole;
}

bool fault_user_is_sound(void)
{
    static const char error[] = "{\"error\":";
    struct buf got = {0}, expected = {0};
    struct slice last, wanted;
    bool sound;

    make_expected(&expected);
    (void)read_answer(&got);
    last = behind(buf_slice(&got), buf_slice(&expected));
    wanted = slice_first(slice_skip(buf_slice(&expected), buf_len(&got) - last.len), last.len);
    sound = slice_eq(last, wanted) ||
            slice_eq(slice_first(last, strlen(error)), slice_first(slice_str(error), last.len));
    buf_fini(&got);
    buf_fini(&expected);
    return sound;
}
