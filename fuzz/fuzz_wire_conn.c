/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: frames in any bytes, negotiation included. However they are cut, the events are
 * the same. Input: role and limit, seed of the cuts, then the stream. The vectors are good seeds.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "same.h"
#include "wire/conn.h"
#include "wire/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As the owner of a conn does. To a client all of them are given: its WELCOME is any bytes. */
static void negotiate(struct wire_conn *c, const struct wire_event *ev)
{
    struct wire_hello h;

    if (ev->kind == WIRE_EVENT_HELLO && wire_hello_read(&h, ev->session, ev->payload, NULL) == 0) {
        wire_conn_negotiated(c, h.features);
    } else if (ev->kind == WIRE_EVENT_WELCOME) {
        wire_conn_negotiated(c, (ev->payload.len & 1) != 0 ? UINT32_MAX & ~WIRE_SINCE_GREETING
                                                           : WIRE_SINCE_CHUNK);
    }
}

/* One line of bytes per event, payload included. */
static void run(const struct wire_config *config, struct slice in, const uint8_t *cuts,
                struct buf *log)
{
    struct wire_event ev;
    struct wire_conn c;
    uint8_t seed = cuts == NULL ? 0 : *cuts;
    size_t cut = in.len;

    wire_conn_init(&c, config);
    if (config->role == WIRE_CLIENT) {
        wire_conn_greeted(&c);
    }
    for (size_t at = 0; at < in.len; at += cut) {
        if (cuts != NULL) {
            seed = (uint8_t)(seed * 5 + 1);
            cut = seed % 16 == 0 ? 1 + seed : 1 + seed % 16;
        }
        struct slice rest = slice_first(slice_skip(in, at), cut);
        char *block = malloc(rest.len); /* reading past a piece is an error of its own */
        ptrdiff_t used;

        memcpy(block, rest.ptr, rest.len);
        rest.ptr = block;
        while ((used = wire_conn_recv(&c, rest, 0, &ev)) > 0) {
            ASSERT((size_t)used <= rest.len && ev.kind != WIRE_EVENT_NONE);
            buf_printf(log, "%d %u %u %zu ", (int)ev.kind, ev.session, ev.credit_bytes,
                       ev.payload.len);
            if (ev.kind == WIRE_EVENT_REFUSE) {
                buf_printf(log, "%d %d %s", ev.code, ev.close, ev.text);
            } else {
                buf_append(log, ev.payload);
            }
            negotiate(&c, &ev);
            rest = slice_skip(rest, (size_t)used);
        }
        ASSERT(used == 0 && c.collected.cap <= 2 * (at + cut) + 256);
        free(block);
    }
    buf_printf(log, "end %d", wire_conn_in_frame(&c));
    wire_conn_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_config config = {.max_frame_bytes = 4096};
    struct buf whole = {0}, cut = {0};

    if (size < 2) {
        return 0;
    }
    config.role = (data[0] & 1) != 0 ? WIRE_CLIENT : WIRE_SERVER;
    config.max_frame_unauthenticated_bytes = (data[0] & 2) != 0 ? 100 : 0;
    run(&config, slice_of(data + 2, size - 2), NULL, &whole);
    run(&config, slice_of(data + 2, size - 2), data + 1, &cut);
    must_be_same(&whole, &cut);
    return 0;
}
