/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "feed.h"
#include "mcp/error.h"

static const struct wire_config SERVER = {.max_frame_bytes = WIRE_MAX_FRAME_BYTES};
static const struct wire_config KEYED = {
    .max_frame_bytes = WIRE_MAX_FRAME_BYTES,
    .max_frame_unauthenticated_bytes = WIRE_UNAUTHENTICATED_FRAME_BYTES,
};
static const struct wire_config CLIENT = {
    .role = WIRE_CLIENT,
    .max_frame_bytes = WIRE_MAX_FRAME_BYTES,
};

static const char BEAT[] = "01 03 00000009 00000001 21";
#define BEAT_LINE "HEARTBEAT 9 !\n"

static void append_frame(struct buf *out, unsigned version, unsigned opcode, uint32_t session,
                         uint32_t length, char fill)
{
    struct mcp_header h = {(uint8_t)version, (uint8_t)opcode, session, length};
    uint8_t bytes[WIRE_HEADER_BYTES];
    char *payload = malloc(length + 1);

    assert_non_null(payload);
    memset(payload, fill, length);
    wire_header_encode(&h, bytes);
    assert_true(buf_append(out, slice_of(bytes, sizeof(bytes))));
    assert_true(buf_append(out, slice_of(payload, length)));
    free(payload);
}

static void feed_str(struct wire_conn *c, const char *hex, uint64_t now_ms, struct buf *log)
{
    struct buf bytes = {0};

    feed_hex(&bytes, hex);
    feed_piece(c, buf_slice(&bytes), now_ms, log);
    buf_fini(&bytes);
}

static void assert_log(const struct buf *log, const char *want)
{
    struct slice got = buf_slice(log);

    if (!slice_eq(got, slice_str(want))) {
        fail_msg("got:\n%.*swant:\n%s", SLICE_ARG(got), want);
    }
}

/* --- section 5, row by row
 * ------------------------------------------------------------------------ */

struct row {
    const char *what;
    const struct wire_config *config;
    const char *hex; /* followed by a heartbeat */
    const char *log; /* of `hex`, before the heartbeat's line */
    bool closes;     /* no line of the heartbeat */
};

static const struct row ROWS[] = {
    {"nothing wrong", &SERVER, "01 01 00000001 00000002 7b7d", "REQUEST 1 {}\n", false},
    {"version 2", &SERVER, "02 01 00000006 00000000", "REFUSE 6 unsupported_version close\n", true},
    {"version 255 with everything else wrong", &SERVER, "ff ff 00000000 ffffffff",
     "REFUSE 0 unsupported_version close\n", true},
    {"length before opcode", &SERVER, "01 ff 00000007 ffffffff", "REFUSE 7 too_large close\n",
     true},
    {"length before session id", &SERVER, "01 01 00000000 01000001", "REFUSE 0 too_large close\n",
     true},
    {"length before heartbeat size", &SERVER, "01 03 00000003 01000001",
     "REFUSE 3 too_large close\n", true},
    {"64 KiB + 1 before authentication", &KEYED, "01 01 00000004 00010001",
     "REFUSE 4 too_large close\n", true},
    {"opcode 0", &SERVER, "01 00 00000006 00000001 78", "REFUSE 6 bad_request\n", false},
    {"opcode 4, empty", &SERVER, "01 04 00000006 00000000", "REFUSE 6 bad_request\n", false},
    {"HELLO", &SERVER, "01 10 00000000 00000002 7b7d", "HELLO 0 {}\n", false},
    {"HELLO on a session", &SERVER, "01 10 00000003 00000002 7b7d", "HELLO 3 {}\n", false},
    {"HELLO twice", &SERVER, "01 10 00000000 00000002 7b7d 01 10 00000000 00000002 7b7d",
     "HELLO 0 {}\nREFUSE 0 bad_request close\n", true},
    {"HELLO behind what was refused", &SERVER, "01 55 00000001 00000000 01 10 00000007 00000002",
     "REFUSE 1 bad_request\nREFUSE 0 bad_request close\n", true},
    {"WELCOME to a server", &SERVER, "01 11 00000000 00000002 7b7d", "REFUSE 0 bad_request\n",
     false},
    {"CREDIT without negotiation", &SERVER, "01 13 00000002 00000004 00000001",
     "REFUSE 2 bad_request\n", false},
    {"CHUNK", &SERVER, "01 16 00000002 00000003 616263", "REFUSE 2 bad_request\n", false},
    {"skipped bytes that look like a frame", &SERVER,
     "01 ff 00000006 0000000a 01030000000000000000", "REFUSE 6 bad_request\n", false},
    {"RESPONSE to a server", &SERVER, "01 02 00000006 00000002 7b7d", "REFUSE 6 bad_request\n",
     false},
    {"opcode before session id", &SERVER, "01 ff 00000000 00000000", "REFUSE 0 bad_request\n",
     false},
    {"REQUEST on session 0", &SERVER, "01 01 00000000 00000002 7b7d", "REFUSE 0 bad_request\n",
     false},
    {"empty REQUEST on session 0", &SERVER, "01 01 00000000 00000000", "REFUSE 0 bad_request\n",
     false},
    {"empty REQUEST", &SERVER, "01 01 00000003 00000000", "REQUEST 3 \n", false},
    {"browser", &SERVER, "47 4554202f", "HTTP\n", true},
    {"browser, least letter", &SERVER, "41", "HTTP\n", true},
    {"browser, last letter", &SERVER, "5a", "HTTP\n", true},
    {"a letter that is not first", &SERVER, "01 03 00000000 00000001 47", "HEARTBEAT 0 G\n", false},
    {"below the letters", &SERVER, "40 03 00000000 00000000",
     "REFUSE 0 unsupported_version close\n", true},
    {"TLS ClientHello", &SERVER, "16 03 01 02 00", "TLS\n", true},
    {"TLS alert to a server", &SERVER, "15 03 00000001 00000000",
     "REFUSE 1 unsupported_version close\n", true},

    {"client: RESPONSE", &CLIENT, "01 02 00000006 00000002 7b7d", "RESPONSE 6 {}\n", false},
    {"client: RESPONSE on session 0", &CLIENT, "01 02 00000000 00000002 7b7d", "RESPONSE 0 {}\n",
     false},
    {"client: REQUEST", &CLIENT, "01 01 00000006 00000002 7b7d", "REFUSE 6 bad_request\n", false},
    {"client: unknown opcode", &CLIENT, "01 12 00000006 00000002 7b7d", "REFUSE 6 bad_request\n",
     false},
    {"client: HTTP server", &CLIENT, "48 5454502f312e31", "HTTP\n", true},
    {"client: TLS server", &CLIENT, "15 0301000202", "TLS\n", true},
    {"client: version", &CLIENT, "03 02 00000006 00000002 7b7d",
     "REFUSE 6 unsupported_version close\n", true},
    {"client: length", &CLIENT, "01 02 00000006 01000001", "REFUSE 6 too_large close\n", true},
};

static void section_5_row_by_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        const struct row *row = &ROWS[i];
        struct buf bytes = {0}, log = {0}, want = {0};

        print_message("  %s\n", row->what);
        feed_hex(&bytes, row->hex);
        feed_hex(&bytes, BEAT);
        buf_printf(&want, "%s%s", row->log, row->closes ? "" : BEAT_LINE);
        buf_append_byte(&want, '\0');
        feed_all_ways(row->config, buf_slice(&bytes), &log);
        assert_log(&log, buf_slice(&want).ptr);
        buf_fini(&bytes);
        buf_fini(&log);
        buf_fini(&want);
    }
}

static void heartbeats_carry_up_to_64_bytes(void **state)
{
    struct buf bytes = {0}, log = {0}, want = {0};
    char fill[64];

    (void)state;
    memset(fill, 'x', sizeof(fill));
    append_frame(&bytes, 1, WIRE_OP_HEARTBEAT, 7, 64, 'x');
    append_frame(&bytes, 1, WIRE_OP_HEARTBEAT, 7, 65, 'x');
    append_frame(&bytes, 1, WIRE_OP_HEARTBEAT, 7, 0, 'x');
    buf_printf(&want, "HEARTBEAT 7 %.64s\nREFUSE 7 bad_request\nHEARTBEAT 7 \n", fill);
    buf_append_byte(&want, '\0');
    feed_all_ways(&SERVER, buf_slice(&bytes), &log);
    assert_log(&log, buf_slice(&want).ptr);
    buf_fini(&bytes);
    buf_fini(&log);
    buf_fini(&want);
}

static void refusals_name_what_is_supported(void **state)
{
    struct wire_conn c;
    struct wire_event ev;
    struct buf bytes = {0};

    (void)state;
    wire_conn_init(&c, &SERVER);
    feed_hex(&bytes, "02 01 00000006 00000000");
    assert_int_equal(wire_conn_recv(&c, buf_slice(&bytes), 0, &ev), 10);
    assert_string_equal(ev.text, "version 2 is not supported; supported: 1");
    wire_conn_fini(&c);
    buf_fini(&bytes);
}

/* --- what was negotiated
 * --------------------------------------------------------------------------- */

/* A frame; with `crc` it ends in its CRC, counted in the length. */
static void append_checked(struct buf *out, unsigned opcode, uint32_t session, const char *payload,
                           bool crc)
{
    struct mcp_header h = {1, (uint8_t)opcode, session,
                           (uint32_t)(strlen(payload) + (crc ? WIRE_CRC_BYTES : 0))};
    size_t begin = buf_len(out);
    uint8_t bytes[WIRE_HEADER_BYTES];

    wire_header_encode(&h, bytes);
    assert_true(buf_append(out, slice_of(bytes, sizeof(bytes))) && buf_append_str(out, payload));
    if (crc) {
        wire_crc32c_encode(wire_crc32c(0, slice_skip(buf_slice(out), begin)), bytes);
        assert_true(buf_append(out, slice_of(bytes, WIRE_CRC_BYTES)));
    }
}

#define HELLO_ALL "{\"features\":[\"ack\",\"cancel\",\"credit\",\"crc32c\",\"goaway\",\"chunk\"]}"
#define HELLO_PLAIN "{\"features\":[\"cancel\",\"credit\",\"chunk\"]}"

struct said {
    const char *what;
    unsigned opcode;
    uint32_t session;
    const char *payload;
    size_t flip; /* that byte from the end; 0: none */
    const char *log;
    bool closes;
};

static const struct said SAID[] = {
    {"REQUEST", WIRE_OP_REQUEST, 1, "{}", 0, "REQUEST 1 {}\n", false},
    {"empty REQUEST", WIRE_OP_REQUEST, 1, "", 0, "REQUEST 1 \n", false},
    {"CANCEL", WIRE_OP_CANCEL, 4, "", 0, "CANCEL 4 \n", false},
    {"CANCEL with a payload", WIRE_OP_CANCEL, 4, "x", 0, "REFUSE 4 bad_request\n", false},
    {"CANCEL on session 0", WIRE_OP_CANCEL, 0, "", 0, "REFUSE 0 bad_request\n", false},
    {"CREDIT", WIRE_OP_CREDIT, 4, "abcd", 0, "CREDIT 4 1633837924\n", false},
    {"CREDIT of 3 bytes", WIRE_OP_CREDIT, 4, "abc", 0, "REFUSE 4 bad_request\n", false},
    {"CREDIT of 5 bytes", WIRE_OP_CREDIT, 4, "abcde", 0, "REFUSE 4 bad_request\n", false},
    {"CREDIT on session 0", WIRE_OP_CREDIT, 0, "abcd", 0, "REFUSE 0 bad_request\n", false},
    {"CHUNK", WIRE_OP_CHUNK, 4, "{\"a\"", 0, "CHUNK 4 {\"a\"\n", false},
    {"empty CHUNK", WIRE_OP_CHUNK, 4, "", 0, "CHUNK 4 \n", false},
    {"CHUNK on session 0", WIRE_OP_CHUNK, 0, "x", 0, "REFUSE 0 bad_request\n", false},
    {"ACK to a server", WIRE_OP_ACK, 4, "{}", 0, "REFUSE 4 bad_request\n", false},
    {"GOAWAY to a server", WIRE_OP_GOAWAY, 0, "{}", 0, "REFUSE 0 bad_request\n", false},
    {"unknown opcode", 0x55, 4, "xyz", 0, "REFUSE 4 bad_request\n", false},
    {"heartbeat of 64 bytes", WIRE_OP_HEARTBEAT, 4,
     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 0,
     "HEARTBEAT 4 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", false},
    {"heartbeat of 65 bytes", WIRE_OP_HEARTBEAT, 4,
     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefX", 0,
     "REFUSE 4 bad_request\n", false},
};

static const struct said BROKEN[] = {
    {"CRC", WIRE_OP_REQUEST, 1, "{}", 1, "CORRUPT\n", true},
    {"payload", WIRE_OP_REQUEST, 1, "{}", 5, "CORRUPT\n", true},
    {"session id", WIRE_OP_REQUEST, 1, "{}", 11, "CORRUPT\n", true},
    {"CRC before opcode", 0x55, 1, "{}", 1, "CORRUPT\n", true},
    {"CRC before session id", WIRE_OP_REQUEST, 0, "{}", 1, "CORRUPT\n", true},
    {"CRC before payload size", WIRE_OP_CREDIT, 1, "{}", 1, "CORRUPT\n", true},
    {"CRC before a late HELLO", WIRE_OP_HELLO, 0, "{}", 1, "CORRUPT\n", true},
    {"late HELLO", WIRE_OP_HELLO, 3, "{}", 0, "REFUSE 0 bad_request close\n", true},
};

static void expect_said(const struct said *said, const char *hello, bool crc)
{
    struct buf bytes = {0}, log = {0}, want = {0};

    append_checked(&bytes, WIRE_OP_HELLO, 0, hello, false);
    append_checked(&bytes, said->opcode, said->session, said->payload, crc);
    if (said->flip > 0) {
        bytes.data[bytes.tail - said->flip] ^= 0x10;
    }
    append_checked(&bytes, WIRE_OP_HEARTBEAT, 9, "!", crc);
    buf_printf(&want, "HELLO 0 %s\n%s%s", hello, said->log, said->closes ? "" : BEAT_LINE);
    assert_true(buf_append_byte(&want, '\0'));
    feed_all_ways(&SERVER, buf_slice(&bytes), &log);
    assert_log(&log, buf_slice(&want).ptr);
    buf_fini(&bytes);
    buf_fini(&log);
    buf_fini(&want);
}

static void negotiated_frames_are_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(SAID) / sizeof(SAID[0]); i++) {
        print_message("  %s\n", SAID[i].what);
        expect_said(&SAID[i], HELLO_PLAIN, false);
        expect_said(&SAID[i], HELLO_ALL, true);
    }
}

static void a_wrong_crc_is_found_before_what_the_frame_means(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(BROKEN) / sizeof(BROKEN[0]); i++) {
        print_message("  %s\n", BROKEN[i].what);
        expect_said(&BROKEN[i], HELLO_ALL, true);
    }
}

static void a_frame_without_room_for_its_crc_is_corrupt(void **state)
{
    struct buf bytes = {0}, log = {0};

    (void)state;
    append_checked(&bytes, WIRE_OP_HELLO, 0, HELLO_ALL, false);
    feed_hex(&bytes, "01 55 00000000 00000003 616263");
    feed_all_ways(&SERVER, buf_slice(&bytes), &log);
    assert_log(&log, "HELLO 0 " HELLO_ALL "\nCORRUPT\n");
    buf_clear(&bytes);
    append_checked(&bytes, WIRE_OP_HELLO, 0, HELLO_ALL, false);
    feed_hex(&bytes, "01 55 00000006 ffffffff"); /* version and length come first */
    feed_all_ways(&SERVER, buf_slice(&bytes), &log);
    assert_log(&log, "HELLO 0 " HELLO_ALL "\nREFUSE 6 too_large close\n");
    buf_fini(&bytes);
    buf_fini(&log);
}

static void the_crc_counts_towards_the_limit_of_a_frame(void **state)
{
    const struct wire_config config = {.max_frame_bytes = 128};
    struct buf bytes = {0}, log = {0};
    char most[125] = {0};

    (void)state;
    memset(most, 'x', 124);
    append_checked(&bytes, WIRE_OP_HELLO, 0, HELLO_ALL, false);
    append_checked(&bytes, WIRE_OP_REQUEST, 1, most, true);
    append_checked(&bytes, WIRE_OP_REQUEST, 2, "x", true);
    feed_all_ways(&config, buf_slice(&bytes), &log);
    assert_non_null(memmem(buf_slice(&log).ptr, buf_len(&log), "REQUEST 2 x\n", 12));
    buf_fini(&bytes);
    buf_fini(&log);
}

static void a_client_knows_welcome_once(void **state)
{
    static const char WELCOME[] = "{\"features\":[\"ack\",\"crc32c\",\"goaway\",\"chunk\"]}";
    struct buf bytes = {0}, log = {0};
    struct wire_conn c;

    (void)state;
    append_checked(&bytes, WIRE_OP_WELCOME, 0, WELCOME, false);
    wire_conn_init(&c, &CLIENT);
    feed_piece(&c, buf_slice(&bytes), 1000, &log);
    assert_log(&log, "REFUSE 0 bad_request\n");
    wire_conn_fini(&c);

    wire_conn_init(&c, &CLIENT);
    wire_conn_greeted(&c);
    append_checked(&bytes, WIRE_OP_ACK, 3, "{}", true);
    append_checked(&bytes, WIRE_OP_CHUNK, 3, "{", true);
    append_checked(&bytes, WIRE_OP_GOAWAY, 0, "{}", true);
    append_checked(&bytes, WIRE_OP_CREDIT, 3, "abcd", true);
    append_checked(&bytes, WIRE_OP_WELCOME, 0, WELCOME, true);
    buf_clear(&log);
    feed_piece(&c, buf_slice(&bytes), 1000, &log);
    buf_consume(&log, sizeof("WELCOME 0 ") - 1 + sizeof(WELCOME));
    assert_log(&log, "ACK 3 {}\nCHUNK 3 {\nGOAWAY 0 {}\nREFUSE 3 bad_request\n"
                     "REFUSE 0 bad_request\n");
    wire_conn_fini(&c);
    buf_fini(&bytes);
    buf_fini(&log);
}

/* --- too many refusals
 * ----------------------------------------------------------------------------- */

static void the_17th_refusal_in_60_s_closes(void **state)
{
    /* Every kind that is "bad_request and skipped" counts. */
    static const char *const KINDS[] = {"01 ff 00000006 00000000", "01 02 00000006 00000000",
                                        "01 14 00000006 00000000"};
    struct wire_conn c;
    struct buf log = {0};

    (void)state;
    wire_conn_init(&c, &SERVER);
    for (uint64_t i = 0; i < 15; i++) {
        buf_clear(&log);
        feed_str(&c, KINDS[i % 3], 1000 + i * 3000, &log);
        feed_str(&c, BEAT, 1000 + i * 3000, &log);
        assert_log(&log, "REFUSE 6 bad_request\n" BEAT_LINE);
    }
    buf_clear(&log);
    feed_str(&c, "01 01 00000000 00000000", 60998, &log); /* REQUEST on session 0 */
    assert_log(&log, "REFUSE 0 bad_request\n");
    buf_clear(&log);
    feed_str(&c, KINDS[0], 60999, &log);
    assert_log(&log, "REFUSE 6 bad_request close too_many\n");
    feed_str(&c, BEAT, 61000, &log);
    assert_log(&log, "REFUSE 6 bad_request close too_many\n");
    wire_conn_fini(&c);
    buf_fini(&log);
}

static void refusals_spread_over_more_than_60_s_do_not(void **state)
{
    struct wire_conn c;
    struct buf log = {0};

    (void)state;
    wire_conn_init(&c, &SERVER);
    for (uint64_t i = 0; i < 200; i++) {
        buf_clear(&log);
        feed_str(&c, "01 ff 00000006 00000000", i * 3750, &log); /* 16 of them span 60 s */
        assert_log(&log, "REFUSE 6 bad_request\n");
    }
    /* ... and a burst behind them does. */
    for (uint64_t i = 0; i < 16; i++) {
        buf_clear(&log);
        feed_str(&c, "01 ff 00000006 00000000", 199 * 3750 + 1, &log);
    }
    assert_log(&log, "");
    wire_conn_fini(&c);
    buf_fini(&log);
}

/* --- limits and memory
 * ----------------------------------------------------------------------------- */

static void a_good_key_lifts_the_limit(void **state)
{
    struct buf bytes = {0}, log = {0};
    struct wire_conn c;

    (void)state;
    append_frame(&bytes, 1, WIRE_OP_REQUEST, 1, WIRE_UNAUTHENTICATED_FRAME_BYTES, 'a');
    feed_all_ways(&KEYED, buf_slice(&bytes), &log);
    assert_int_equal(buf_len(&log), strlen("REQUEST 1 \n") + WIRE_UNAUTHENTICATED_FRAME_BYTES);

    buf_clear(&log);
    wire_conn_init(&c, &KEYED);
    feed_piece(&c, buf_slice(&bytes), 0, &log);
    wire_conn_set_authenticated(&c, true);
    buf_clear(&bytes);
    append_frame(&bytes, 1, WIRE_OP_REQUEST, 2, WIRE_MAX_FRAME_BYTES, 'b');
    buf_clear(&log);
    feed_piece(&c, buf_slice(&bytes), 0, &log);
    assert_int_equal(buf_len(&log), strlen("REQUEST 2 \n") + WIRE_MAX_FRAME_BYTES);
    buf_clear(&log);
    feed_str(&c, "01 01 00000003 01000001", 0, &log);
    assert_log(&log, "REFUSE 3 too_large close\n");
    wire_conn_fini(&c);
    buf_fini(&bytes);
    buf_fini(&log);
}

static void memory_grows_with_what_has_arrived_only(void **state)
{
    struct buf bytes = {0}, log = {0};
    struct wire_conn c;

    (void)state;
    wire_conn_init(&c, &SERVER);
    feed_str(&c, "01 01 00000001 01000000", 0, &log); /* says 16 MiB */
    assert_int_equal(c.collected.cap, 0);
    feed_str(&c, "78", 0, &log);
    assert_true(c.collected.cap <= 256);
    for (size_t sent = 1; sent < 100000; sent += 1000) {
        buf_clear(&bytes);
        append_frame(&bytes, 0, 0, 0, 990, 'x'); /* 1000 bytes of any content */
        feed_piece(&c, buf_slice(&bytes), 0, &log);
        assert_true(c.collected.cap <= 2 * (sent + 1000) + 256);
    }
    wire_conn_fini(&c);

    wire_conn_init(&c, &SERVER);
    feed_str(&c, "01 ff 00000001 01000000", 0, &log); /* an unknown opcode: nothing is kept */
    for (size_t sent = 0; sent < 16; sent++) {
        buf_clear(&bytes);
        append_frame(&bytes, 0, 0, 0, 1024 * 1024 - WIRE_HEADER_BYTES, 'x');
        feed_piece(&c, buf_slice(&bytes), 0, &log);
        assert_int_equal(c.collected.cap, 0);
    }
    feed_str(&c, BEAT, 0, &log);
    assert_log(&log, "REFUSE 1 bad_request\n" BEAT_LINE);
    wire_conn_fini(&c);
    buf_fini(&bytes);
    buf_fini(&log);
}

static void idle_connections_keep_little(void **state)
{
    struct buf bytes = {0}, log = {0};
    struct wire_conn c;

    (void)state;
    append_frame(&bytes, 1, WIRE_OP_REQUEST, 1, 100000, 'a');
    wire_conn_init(&c, &SERVER);
    feed_piece(&c, slice_first(buf_slice(&bytes), 50), 0, &log);
    feed_piece(&c, slice_skip(buf_slice(&bytes), 50), 0, &log);
    assert_true(c.collected.cap <= 4096);
    assert_int_equal(buf_len(&log), strlen("REQUEST 1 \n") + 100000);
    wire_conn_fini(&c);
    buf_fini(&bytes);
    buf_fini(&log);
}

static void what_is_held_of_a_frame_can_be_dropped(void **state)
{
    struct buf bytes = {0}, log = {0};
    struct slice in;
    struct wire_conn c;

    (void)state;
    append_frame(&bytes, 1, WIRE_OP_REQUEST, 7, 100000, 'a');
    in = buf_slice(&bytes);
    wire_conn_init(&c, &SERVER);
    assert_int_equal(wire_conn_held_bytes(&c), 0);
    feed_piece(&c, slice_first(in, 50), 0, &log);
    assert_int_equal(wire_conn_held_bytes(&c), 256); /* the memory, not the content */
    feed_piece(&c, slice_skip(in, 50), 0, &log);     /* complete: nothing is held */
    assert_int_equal(wire_conn_held_bytes(&c), 0);
    buf_clear(&log);

    feed_piece(&c, slice_first(in, 50000), 0, &log);
    assert_int_equal(wire_conn_held_bytes(&c), 65536);
    feed_piece(&c, slice_first(slice_skip(in, 50000), 40000), 0, &log);
    assert_int_equal(wire_conn_held_bytes(&c), 100000); /* as much as it needs in the end */
    assert_int_equal(c.header.session_id, 7);
    wire_conn_drop_held(&c);
    assert_int_equal(wire_conn_held_bytes(&c), 0);
    assert_int_equal(c.collected.cap, 0);
    feed_piece(&c, slice_first(slice_skip(in, 90000), 10000), 0, &log);
    assert_int_equal(wire_conn_held_bytes(&c), 0);
    feed_piece(&c, slice_skip(in, 100000), 0, &log);
    feed_str(&c, BEAT, 0, &log); /* the next frame is read as ever */
    assert_log(&log, BEAT_LINE);
    wire_conn_fini(&c);
    buf_fini(&bytes);
    buf_fini(&log);
}

static void payloads_are_borrowed_or_taken(void **state)
{
    struct buf bytes = {0}, taken = {0};
    struct wire_event ev;
    struct wire_conn c;
    struct slice in;
    const char *where;

    (void)state;
    append_frame(&bytes, 1, WIRE_OP_REQUEST, 1, 300, 'a');
    in = buf_slice(&bytes);
    wire_conn_init(&c, &SERVER);
    assert_int_equal(wire_conn_recv(&c, in, 0, &ev), 310);
    assert_ptr_equal(ev.payload.ptr, in.ptr + WIRE_HEADER_BYTES); /* in one piece: no copy */
    assert_int_equal(wire_conn_take_payload(&c, &taken), 0);
    assert_int_equal(buf_len(&taken), 300);
    assert_ptr_not_equal(buf_slice(&taken).ptr, ev.payload.ptr);

    assert_int_equal(wire_conn_recv(&c, slice_first(in, 100), 0, &ev), 0);
    assert_int_equal(wire_conn_recv(&c, slice_skip(in, 100), 0, &ev), 210);
    where = ev.payload.ptr;
    assert_int_equal(wire_conn_take_payload(&c, &taken), 0);
    assert_ptr_equal(buf_slice(&taken).ptr, where); /* in pieces: moved */
    assert_int_equal(buf_len(&taken), 300);
    assert_int_equal(wire_conn_recv(&c, in, 0, &ev), 310);
    assert_int_equal(buf_len(&taken), 300);

    buf_clear(&bytes);
    append_frame(&bytes, 1, WIRE_OP_REQUEST, 1, 0, 'a');
    assert_int_equal(wire_conn_recv(&c, buf_slice(&bytes), 0, &ev), 10);
    assert_int_equal(wire_conn_take_payload(&c, &taken), 0);
    assert_int_equal(buf_len(&taken), 0);
    wire_conn_fini(&c);
    buf_fini(&bytes);
    buf_fini(&taken);
}

/* A frame in ten pieces, then a heartbeat, with an allocation failing somewhere. */
static void run_out_of_memory(const struct wire_config *config, size_t failing)
{
    static char frame[WIRE_HEADER_BYTES + 5000];
    unsigned op = config->role == WIRE_SERVER ? WIRE_OP_REQUEST : WIRE_OP_RESPONSE;
    int code = config->role == WIRE_SERVER ? MCP_EINTERNAL : MCP_ENOMEM;
    struct buf bytes = {0}, taken = {0};
    struct wire_event ev = {0};
    struct wire_conn c;
    bool refused = false;

    wire_header_encode(&(struct mcp_header){1, (uint8_t)op, 8, 5000}, (uint8_t *)frame);
    wire_conn_init(&c, config);
    alloc_fault_at(failing);
    for (size_t at = 0; at < sizeof(frame); at += 501) {
        struct slice piece = slice_first(slice_of(frame + at, sizeof(frame) - at), 501);

        if (wire_conn_recv(&c, piece, 0, &ev) > 0 && ev.kind == WIRE_EVENT_REFUSE) {
            assert_int_equal(ev.session, 8);
            assert_int_equal(ev.code, code);
            assert_false(ev.close);
            assert_true(ev.lost);
            assert_int_equal(c.header.opcode, op);
            refused = true;
        }
    }
    assert_int_equal(refused, failing <= alloc_fault_count());
    alloc_fault_at(0);
    if (!refused) {
        assert_int_equal(ev.payload.len, 5000);
    }
    assert_false(wire_conn_in_frame(&c));
    feed_hex(&bytes, BEAT);
    assert_int_equal(wire_conn_recv(&c, buf_slice(&bytes), 0, &ev), 11); /* the connection lives */
    assert_int_equal(ev.kind, WIRE_EVENT_HEARTBEAT);
    alloc_fault_at(1);
    assert_int_equal(wire_conn_take_payload(&c, &taken), MCP_ENOMEM);
    alloc_fault_at(0);
    buf_fini(&bytes);
    buf_fini(&taken);
    wire_conn_fini(&c);
}

static void lack_of_memory_costs_one_frame(void **state)
{
    (void)state;
    for (size_t i = 1; i < 10; i++) {
        run_out_of_memory(&SERVER, i);
        run_out_of_memory(&CLIENT, i);
    }
}

/* --- time
 * ------------------------------------------------------------------------------------------ */

static void feed_bytes(struct wire_conn *c, size_t n, uint64_t now_ms)
{
    static const char zeros[1 << 20];
    struct wire_event ev;

    assert_int_equal(wire_conn_recv(c, slice_of(zeros, n), now_ms, &ev), 0);
}

static void assert_closes_at(struct wire_conn *c, uint64_t deadline_ms, const char *text)
{
    struct wire_event ev;

    assert_int_equal(wire_conn_deadline_ms(c), deadline_ms);
    assert_false(wire_conn_tick(c, deadline_ms - 1, &ev));
    assert_true(wire_conn_tick(c, deadline_ms, &ev));
    assert_int_equal(ev.kind, WIRE_EVENT_CLOSE);
    assert_true(ev.close);
    assert_string_equal(ev.text, text);
    assert_int_equal(wire_conn_deadline_ms(c), 0);
    assert_false(wire_conn_tick(c, deadline_ms + 100000, &ev));
}

static void a_header_has_10_s(void **state)
{
    struct buf log = {0};
    struct wire_conn c;

    (void)state;
    wire_conn_init(&c, &SERVER);
    assert_int_equal(wire_conn_deadline_ms(&c), 0);
    feed_str(&c, BEAT, 4000, &log); /* between frames nothing runs */
    assert_int_equal(wire_conn_deadline_ms(&c), 0);
    feed_str(&c, "01", 5000, &log);
    feed_str(&c, "01 00000001 000000", 14000, &log); /* later bytes do not help */
    assert_closes_at(&c, 15000, "header incomplete for 10 s");
    wire_conn_fini(&c);
    buf_fini(&log);
}

static void ten_seconds_without_a_byte_inside_a_frame(void **state)
{
    static const char *const HEADERS[] = {"01 01 00000001 00100000", "01 ff 00000001 00100000"};
    struct buf log = {0};
    struct wire_conn c;

    (void)state;
    for (size_t i = 0; i < 2; i++) { /* a wanted frame and a skipped one */
        wire_conn_init(&c, &SERVER);
        feed_str(&c, HEADERS[i], 5000, &log);
        assert_int_equal(wire_conn_deadline_ms(&c), 15000);
        feed_bytes(&c, 1, 14999);
        assert_closes_at(&c, 24999, "no byte for 10 s inside a frame");
        wire_conn_fini(&c);
    }
    buf_fini(&log);
}

static void under_64_kib_a_second_over_30_s(void **state)
{
    const uint64_t least = (uint64_t)WIRE_RATE_BYTES_PER_S * 30;
    struct wire_event ev;
    struct buf log = {0};
    struct wire_conn c;

    (void)state;
    wire_conn_init(&c, &SERVER);
    feed_str(&c, "01 01 00000001 01000000", 1000, &log);
    for (uint64_t s = 1; s <= 29; s++) { /* just enough ... */
        feed_bytes(&c, WIRE_RATE_BYTES_PER_S, 1000 + s * 1000);
    }
    feed_bytes(&c, WIRE_RATE_BYTES_PER_S, 30999);
    assert_int_equal(c.window_bytes, least);
    assert_int_equal(wire_conn_deadline_ms(&c), 31000);
    assert_false(wire_conn_tick(&c, 31000, &ev));
    for (uint64_t s = 1; s <= 29; s++) { /* ... and one byte too little in the next 30 s */
        feed_bytes(&c, WIRE_RATE_BYTES_PER_S, 31000 + s * 1000);
    }
    feed_bytes(&c, WIRE_RATE_BYTES_PER_S - 1, 60999);
    assert_closes_at(&c, 61000, "less than 65536 bytes/s over 30 s inside a frame");
    wire_conn_fini(&c);
    buf_fini(&log);
}

static void the_clock_stands_while_we_do_not_read(void **state)
{
    struct wire_event ev;
    struct buf log = {0};
    struct wire_conn c;

    (void)state;
    wire_conn_init(&c, &SERVER);
    feed_str(&c, "01 01 00", 1000, &log);
    wire_conn_paused(&c, 9000);
    wire_conn_paused(&c, 9500);
    assert_int_equal(wire_conn_deadline_ms(&c), 0);
    assert_false(wire_conn_tick(&c, 500000, &ev));
    wire_conn_resumed(&c, 1009000);
    wire_conn_resumed(&c, 1019000);
    assert_closes_at(&c, 1011000, "header incomplete for 10 s");
    wire_conn_fini(&c);

    wire_conn_init(&c, &SERVER);
    feed_str(&c, "01 01 00000001 01000000 78", 1000, &log);
    wire_conn_paused(&c, 6000);
    wire_conn_resumed(&c, 1006000);
    assert_closes_at(&c, 1011000, "no byte for 10 s inside a frame");
    wire_conn_fini(&c);
    buf_fini(&log);
}

static void closing_ends_it_all(void **state)
{
    struct buf log = {0};
    struct wire_conn c;

    (void)state;
    wire_conn_init(&c, &SERVER);
    feed_str(&c, "01 01 00000001 00000010 78", 1000, &log);
    assert_true(wire_conn_in_frame(&c));
    wire_conn_close(&c);
    assert_false(wire_conn_in_frame(&c));
    assert_int_equal(wire_conn_deadline_ms(&c), 0);
    feed_str(&c, BEAT, 1000, &log);
    assert_log(&log, "");
    wire_conn_fini(&c);
    buf_fini(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(section_5_row_by_row),
        cmocka_unit_test(heartbeats_carry_up_to_64_bytes),
        cmocka_unit_test(refusals_name_what_is_supported),
        cmocka_unit_test(negotiated_frames_are_known),
        cmocka_unit_test(a_wrong_crc_is_found_before_what_the_frame_means),
        cmocka_unit_test(a_frame_without_room_for_its_crc_is_corrupt),
        cmocka_unit_test(the_crc_counts_towards_the_limit_of_a_frame),
        cmocka_unit_test(a_client_knows_welcome_once),
        cmocka_unit_test(the_17th_refusal_in_60_s_closes),
        cmocka_unit_test(refusals_spread_over_more_than_60_s_do_not),
        cmocka_unit_test(a_good_key_lifts_the_limit),
        cmocka_unit_test(memory_grows_with_what_has_arrived_only),
        cmocka_unit_test(idle_connections_keep_little),
        cmocka_unit_test(what_is_held_of_a_frame_can_be_dropped),
        cmocka_unit_test(payloads_are_borrowed_or_taken),
        cmocka_unit_test(lack_of_memory_costs_one_frame),
        cmocka_unit_test(a_header_has_10_s),
        cmocka_unit_test(ten_seconds_without_a_byte_inside_a_frame),
        cmocka_unit_test(under_64_kib_a_second_over_30_s),
        cmocka_unit_test(the_clock_stands_while_we_do_not_read),
        cmocka_unit_test(closing_ends_it_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
