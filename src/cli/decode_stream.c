/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/decode_stream.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "cli/text.h"
#include "wire/crc32c.h"

/* Pieces of one payload, of one session and one way. */
struct decode_pieces {
    struct decode_pieces *next;
    uint32_t session;
    struct buf bytes;
};

void decode_stream_init(struct decode_stream *s, decode_cb cb, void *owner)
{
    *s = (struct decode_stream){.cb = cb, .owner = owner};
}

static void drop_pieces(struct decode_pieces **link)
{
    struct decode_pieces *p = *link;

    *link = p->next;
    buf_fini(&p->bytes);
    free(p);
}

void decode_stream_fini(struct decode_stream *s)
{
    for (int way = 0; way < DECODE_WAYS; way++) {
        while (s->halves[way].pieces != NULL) {
            drop_pieces(&s->halves[way].pieces);
        }
        buf_fini(&s->halves[way].bytes);
    }
}

static void append(struct buf *b, struct slice bytes)
{
    if (!buf_append(b, bytes)) {
        cli_no_memory();
    }
}

/* --- pieces ----------------------------------------------------------------------------------- */

static struct decode_pieces **find_pieces(struct decode_half *h, uint32_t session)
{
    struct decode_pieces **link = &h->pieces;

    while (*link != NULL && (*link)->session != session) {
        link = &(*link)->next;
    }
    return link;
}

static void keep_piece(struct decode_half *h, struct decode_item *item)
{
    struct decode_pieces **link = find_pieces(h, item->header.session_id);

    if (item->payload.len == 0) { /* what came is not wanted any more */
        if (*link != NULL) {
            drop_pieces(link);
        }
        return;
    }
    if (*link == NULL) {
        *link = calloc(1, sizeof(**link));
        if (*link == NULL) {
            cli_no_memory();
        }
        (*link)->session = item->header.session_id;
    }
    append(&(*link)->bytes, item->payload);
    item->gathered_bytes = buf_len(&(*link)->bytes);
}

/* --- what was agreed on ----------------------------------------------------------------------- */

static bool lists(yyjson_val *array, const char *name)
{
    yyjson_val *value;
    size_t i, count;

    yyjson_arr_foreach(array, i, count, value)
    {
        if (yyjson_equals_str(value, name)) {
            return true;
        }
    }
    return false;
}

static void read_welcome(struct decode_stream *s, struct slice payload)
{
    yyjson_doc *doc = yyjson_read(payload.ptr, payload.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *codec = yyjson_obj_get(root, "codec");

    s->crc = lists(yyjson_obj_get(root, "features"), "crc32c");
    s->no_json = yyjson_is_str(codec) && !yyjson_equals_str(codec, "json");
    yyjson_doc_free(doc);
}

static bool is_opcode(const struct decode_item *item, enum wire_opcode opcode)
{
    return item->header.opcode == (uint8_t)opcode;
}

/* In the codec that was agreed on. */
static bool is_coded(const struct decode_item *item)
{
    return is_opcode(item, WIRE_OP_REQUEST) || is_opcode(item, WIRE_OP_RESPONSE) ||
           is_opcode(item, WIRE_OP_ACK);
}

static bool is_always_json(const struct decode_item *item)
{
    return is_opcode(item, WIRE_OP_HELLO) || is_opcode(item, WIRE_OP_WELCOME) ||
           is_opcode(item, WIRE_OP_GOAWAY);
}

/* --- one frame -------------------------------------------------------------------------------- */

static void complain(struct decode_item *item, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The first complaint stays. */
static void complain(struct decode_item *item, const char *fmt, ...)
{
    va_list args;

    if (item->error[0] == '\0') {
        va_start(args, fmt);
        (void)vsnprintf(item->error, sizeof(item->error), fmt, args); /* may be cut */
        va_end(args);
    }
}

static enum decode_way way_of(const struct wire_opcode_info *opcode, enum decode_way way)
{
    if (way != DECODE_ANY || opcode == NULL || opcode->direction == WIRE_BOTH) {
        return way;
    }
    return opcode->direction == WIRE_TO_SERVER ? DECODE_TO_SERVER : DECODE_TO_CLIENT;
}

static void check_opcode(struct decode_item *item)
{
    const struct wire_opcode_info *op = item->opcode;

    if (op == NULL) {
        complain(item, "opcode 0x%02x is not known", item->header.opcode);
        return;
    }
    if ((item->way == DECODE_TO_SERVER && (op->direction & WIRE_TO_SERVER) == 0) ||
        (item->way == DECODE_TO_CLIENT && (op->direction & WIRE_TO_CLIENT) == 0)) {
        complain(item, "%s does not go this way", op->name);
    }
    if (item->payload.len < op->payload_min_bytes || item->payload.len > op->payload_max_bytes) {
        complain(item, "%s has %" PRIu32 " to %" PRIu32 " bytes", op->name, op->payload_min_bytes,
                 op->payload_max_bytes);
    }
    if (op->session == WIRE_SESSION_POSITIVE && item->header.session_id == 0) {
        complain(item, "%s has a session above 0", op->name);
    }
}

/* Takes the CRC off the payload. */
static void check_crc(struct decode_item *item, struct slice header)
{
    uint32_t found, wanted;

    if (item->payload.len < WIRE_CRC_BYTES) {
        complain(item, "no room for the CRC that was agreed on");
        return;
    }
    item->payload.len -= WIRE_CRC_BYTES;
    found = wire_crc32c_decode((const uint8_t *)item->payload.ptr + item->payload.len);
    wanted = wire_crc32c(wire_crc32c(0, header), item->payload);
    if (found != wanted) {
        complain(item, "its CRC is %08" PRIx32 ", of what arrived it would be %08" PRIx32, found,
                 wanted);
    }
}

static void handle(struct decode_stream *s, struct decode_half *h, struct decode_item *item,
                   struct slice frame)
{
    struct decode_pieces **pieces = NULL;

    item->payload = slice_skip(frame, WIRE_HEADER_BYTES);
    if (s->crc && h->agreed) {
        check_crc(item, slice_first(frame, WIRE_HEADER_BYTES));
    }
    check_opcode(item);
    item->is_json = is_always_json(item) || (is_coded(item) && !s->no_json);
    if (is_opcode(item, WIRE_OP_CHUNK)) {
        item->is_piece = true;
        keep_piece(h, item);
    } else if (is_opcode(item, WIRE_OP_REQUEST) || is_opcode(item, WIRE_OP_RESPONSE)) {
        pieces = find_pieces(h, item->header.session_id);
        if (*pieces != NULL) {
            append(&(*pieces)->bytes, item->payload);
            item->payload = buf_slice(&(*pieces)->bytes);
        }
        item->gathered_bytes = item->payload.len;
    }
    s->cb(s->owner, item);
    if (pieces != NULL && *pieces != NULL) {
        drop_pieces(pieces);
    }
    if (is_opcode(item, WIRE_OP_WELCOME)) {
        read_welcome(s, item->payload);
    }
    h->agreed = h->agreed || is_opcode(item, WIRE_OP_WELCOME) || is_opcode(item, WIRE_OP_HELLO);
}

/* --- the stream ------------------------------------------------------------------------------- */

static void stop(struct decode_stream *s, enum decode_way way, const char *why)
{
    struct decode_half *h = &s->halves[way];
    struct decode_item item = {.way = way, .offset = h->offset};

    complain(&item, "%s", why);
    h->ended = true;
    buf_release(&h->bytes);
    s->cb(s->owner, &item);
}

static void refuse_version(struct decode_stream *s, enum decode_way way, uint8_t version)
{
    char why[DECODE_TEXT_MAX];
    const char *guess = version >= 'A' && version <= 'Z' ? "; this looks like HTTP"
                        : version == 0x16                ? "; this looks like TLS"
                        : s->halves[way].offset > 0      ? "; what follows is not read"
                                                         : "";

    (void)snprintf(why, sizeof(why), "version %u is not %d%s", version, WIRE_VERSION, guess);
    stop(s, way, why);
}

/* False: more bytes are needed, or there is no reading on. */
static bool next_frame(struct decode_stream *s, enum decode_way way)
{
    struct decode_half *h = &s->halves[way];
    struct slice bytes = buf_slice(&h->bytes);
    struct decode_item item = {.way = way, .offset = h->offset, .is_frame = true};
    size_t frame_bytes;

    if (bytes.len > 0 && (uint8_t)bytes.ptr[0] != WIRE_VERSION) {
        refuse_version(s, way, (uint8_t)bytes.ptr[0]);
        return false;
    }
    if (bytes.len < WIRE_HEADER_BYTES) {
        return false;
    }
    item.header = wire_header_decode((const uint8_t *)bytes.ptr);
    frame_bytes = WIRE_HEADER_BYTES + (size_t)item.header.length;
    if (bytes.len < frame_bytes) {
        return false;
    }
    item.opcode = wire_opcode_info(item.header.opcode);
    item.way = way_of(item.opcode, way);
    handle(s, h, &item, slice_first(bytes, frame_bytes));
    buf_consume(&h->bytes, frame_bytes);
    h->offset += frame_bytes;
    return true;
}

void decode_stream_feed(struct decode_stream *s, enum decode_way way, struct slice bytes)
{
    if (s->halves[way].ended) {
        return;
    }
    append(&s->halves[way].bytes, bytes);
    while (next_frame(s, way)) {
    }
}

void decode_stream_lost(struct decode_stream *s, enum decode_way way, const char *why)
{
    if (!s->halves[way].ended) {
        stop(s, way, why);
    }
}

void decode_stream_end(struct decode_stream *s)
{
    for (int way = 0; way < DECODE_WAYS; way++) {
        struct decode_half *h = &s->halves[way];
        struct slice rest = buf_slice(&h->bytes);
        char why[DECODE_TEXT_MAX];

        if (h->ended || rest.len == 0) {
            continue;
        }
        if (rest.len < WIRE_HEADER_BYTES) {
            (void)snprintf(why, sizeof(why), "the header ends after %zu of %d bytes", rest.len,
                           WIRE_HEADER_BYTES);
        } else {
            struct mcp_header header = wire_header_decode((const uint8_t *)rest.ptr);
            const struct wire_opcode_info *opcode = wire_opcode_info(header.opcode);

            (void)snprintf(why, sizeof(why),
                           "%s on session %" PRIu32 " ends after %zu of %" PRIu32
                           " bytes of its payload",
                           opcode == NULL ? "a frame" : opcode->name, header.session_id,
                           rest.len - WIRE_HEADER_BYTES, header.length);
        }
        stop(s, (enum decode_way)way, why);
    }
}
