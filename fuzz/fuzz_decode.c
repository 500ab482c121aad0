/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: what `mcpgate decode` is given to read. The first byte says what follows: what
 * a file holds; pieces of a connection, each with its way and length, whose frames are the same
 * however they are cut; or packets, each with its length, of a capture that is made of them. What
 * is shown of a payload is the payload, but for the keys in it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <pcap/pcap.h>
#include <yyjson.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "cli/decode_capture.h"
#include "cli/decode_stream.h"
#include "cli/decode_text.h"
#include "same.h"

enum kind { KIND_CAPTURE, KIND_DIGITS, KIND_PAYLOAD, KIND_PIECES, KIND_PACKETS, KINDS };

enum { LINE_CHARS = 20, PCAP_SNAPLEN = 262144, LINK_RAW = 101 };

#define PCAP_MAGIC 0xa1b2c3d4U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- payloads --------------------------------------------------------------------------------- */

static bool is_secret(yyjson_val *name)
{
    return yyjson_get_len(name) == 4 && strncasecmp(yyjson_get_str(name), "auth", 4) == 0;
}

static void check_shown(yyjson_val *is, yyjson_val *shown);

static void check_members(yyjson_val *is, yyjson_val *shown)
{
    yyjson_obj_iter a = yyjson_obj_iter_with(is);
    yyjson_obj_iter b = yyjson_obj_iter_with(shown);
    yyjson_val *name;

    while ((name = yyjson_obj_iter_next(&a)) != NULL) {
        yyjson_val *other = yyjson_obj_iter_next(&b);

        ASSERT(other != NULL && yyjson_equals(name, other));
        is = yyjson_obj_iter_get_val(name);
        shown = yyjson_obj_iter_get_val(other);
        if (is_secret(name) && !yyjson_is_ctn(is)) {
            ASSERT(yyjson_equals_str(shown, "***"));
        } else {
            check_shown(is, shown);
        }
    }
    ASSERT(yyjson_obj_iter_next(&b) == NULL);
}

static void check_shown(yyjson_val *is, yyjson_val *shown)
{
    yyjson_arr_iter a = yyjson_arr_iter_with(is);
    yyjson_arr_iter b = yyjson_arr_iter_with(shown);

    ASSERT(yyjson_get_tag(is) == yyjson_get_tag(shown));
    if (yyjson_is_obj(is)) {
        check_members(is, shown);
    } else if (!yyjson_is_arr(is)) {
        ASSERT(yyjson_equals(is, shown) || yyjson_is_raw(is));
    }
    while ((is = yyjson_arr_iter_next(&a)) != NULL) {
        check_shown(is, yyjson_arr_iter_next(&b));
    }
}

static void check_payload(struct slice payload)
{
    struct buf all = {0};
    struct buf line = {0};
    yyjson_doc *is, *shown;

    if (!decode_json_line(payload, 0, &all)) {
        ASSERT(buf_len(&all) == 0);
        return;
    }
    ASSERT(json_validate(buf_slice(&all), NULL) == JSON_OK);
    ASSERT(decode_json_line(payload, LINE_CHARS, &line));
    ASSERT(buf_len(&line) <= LINE_CHARS + strlen("..."));
    /* yyjson refuses half of a surrogate pair. */
    is = yyjson_read(payload.ptr, payload.len, YYJSON_READ_NUMBER_AS_RAW);
    shown = yyjson_read(buf_slice(&all).ptr, buf_len(&all), YYJSON_READ_NUMBER_AS_RAW);
    if (is != NULL && shown != NULL) {
        check_shown(yyjson_doc_get_root(is), yyjson_doc_get_root(shown));
    }
    yyjson_doc_free(is);
    yyjson_doc_free(shown);
    buf_fini(&all);
    buf_fini(&line);
}

/* --- items ------------------------------------------------------------------------------------ */

static void log_item(struct buf *log, const struct decode_item *item)
{
    ASSERT(item->is_frame || item->error[0] != '\0');
    ASSERT(memchr(item->error, '\0', sizeof(item->error)) != NULL);
    ASSERT(!item->is_piece || item->gathered_bytes >= item->payload.len);
    buf_printf(log, "%d %zu %d %u %u %d%d ", (int)item->way, (size_t)item->offset, item->is_frame,
               item->header.opcode, item->header.session_id, item->is_piece, item->is_json);
    buf_append(log, item->payload);
    buf_printf(log, " %s\n", item->error);
    if (item->is_json && !item->is_piece) {
        check_payload(item->payload);
    }
}

static void on_item(void *owner, const struct decode_item *item)
{
    log_item(owner, item);
}

/* --- connections ------------------------------------------------------------------------------ */

/* At most `cut` bytes at a time; 0: as they are. */
static void read_pieces(struct slice in, size_t cut, struct buf *log)
{
    struct decode_stream s;

    decode_stream_init(&s, on_item, log);
    while (in.len >= 2) {
        enum decode_way way = (uint8_t)in.ptr[0] % DECODE_WAYS;
        struct slice piece = slice_first(slice_skip(in, 2), (uint8_t)in.ptr[1]);

        in = slice_skip(in, 2 + piece.len);
        while (piece.len > 0) {
            struct slice some = slice_first(piece, cut == 0 ? piece.len : cut);

            decode_stream_feed(&s, way, some);
            piece = slice_skip(piece, some.len);
        }
    }
    decode_stream_end(&s);
    decode_stream_fini(&s);
}

static void feed(void *owner, enum decode_way way, struct slice bytes)
{
    ASSERT(bytes.len > 0);
    decode_stream_feed(owner, way, bytes);
}

static void read_digits(struct slice in, struct buf *log)
{
    struct decode_stream s;
    struct err e = {0};

    decode_stream_init(&s, on_item, log);
    if (decode_hex(in, feed, &s, &e) != MCP_OK) {
        ASSERT(e.code == MCP_EARGUMENT && strncmp(e.text, "line ", 5) == 0);
    }
    decode_stream_end(&s);
    decode_stream_fini(&s);
}

/* --- captures --------------------------------------------------------------------------------- */

struct seen {
    struct buf log;
    size_t connections;
};

static void on_began(void *owner, const struct decode_connection *c)
{
    struct seen *seen = owner;

    ASSERT(c->number == ++seen->connections);
    buf_printf(&seen->log, "%s > %s\n", c->client, c->server);
}

static void on_captured(void *owner, const struct decode_connection *c, uint64_t us,
                        const struct decode_item *item)
{
    struct seen *seen = owner;

    (void)us;
    ASSERT(c->number > 0 && c->number <= seen->connections);
    log_item(&seen->log, item);
}

static void read_capture(struct slice in, uint16_t port)
{
    static const struct decode_capture_ops ops = {.began = on_began, .item = on_captured};
    struct seen seen = {0};
    struct err e = {0};
    size_t others = 0;

    if (decode_capture(in, port, &ops, &seen, &others, &e) != MCP_OK) {
        ASSERT(e.code == MCP_EARGUMENT && e.text[0] != '\0');
    }
    buf_fini(&seen.log);
}

static void append_u32(struct buf *out, uint32_t value) /* as this machine has it */
{
    ASSERT(buf_append(out, slice_of(&value, sizeof(value))));
}

/* One byte for the link, one for the port; then packets, each behind its length. */
static void read_packets(struct slice in)
{
    static const uint32_t links[] = {LINK_RAW, DLT_EN10MB, DLT_LINUX_SLL, DLT_LINUX_SLL2, DLT_NULL};
    struct buf capture = {0};
    uint16_t port;

    if (in.len < 2) {
        return;
    }
    port = (in.ptr[1] & 1) != 0 ? 8080 : 0;
    append_u32(&capture, PCAP_MAGIC);
    append_u32(&capture, 2 | 4 << 16);
    append_u32(&capture, 0);
    append_u32(&capture, 0);
    append_u32(&capture, PCAP_SNAPLEN);
    append_u32(&capture, links[(uint8_t)in.ptr[0] % (sizeof(links) / sizeof(links[0]))]);
    in = slice_skip(in, 2);
    while (in.len > 0) {
        struct slice packet = slice_first(slice_skip(in, 1), (uint8_t)in.ptr[0]);

        append_u32(&capture, 1700000000);
        append_u32(&capture, 0);
        append_u32(&capture, (uint32_t)packet.len);
        append_u32(&capture, (uint32_t)packet.len);
        ASSERT(buf_append(&capture, packet));
        in = slice_skip(in, 1 + packet.len);
    }
    read_capture(buf_slice(&capture), port);
    buf_fini(&capture);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = size == 0 ? SLICE("") : slice_of(data + 1, size - 1);
    struct buf whole = {0}, cut = {0};

    switch (size == 0 ? KINDS : data[0] % KINDS) {
    case KIND_CAPTURE:
        if (decode_is_capture(in)) {
            read_capture(in, 0);
        }
        break;
    case KIND_DIGITS:
        if (decode_is_text(in)) {
            read_digits(in, &whole);
        }
        break;
    case KIND_PAYLOAD:
        check_payload(in);
        break;
    case KIND_PIECES:
        read_pieces(in, 0, &whole);
        read_pieces(in, 1U + data[0] / KINDS, &cut);
        must_be_same(&whole, &cut);
        break;
    case KIND_PACKETS:
        read_packets(in);
        break;
    default:
        break;
    }
    buf_fini(&whole);
    return 0;
}
