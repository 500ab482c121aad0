/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: a server in any bytes. However they are cut, the client has the same parts, and
 * has the same to say. Input: seed of the cuts, of which the highest bit means that the client
 * offers all there is to be negotiated; then the stream. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "client/core.h"
#include "same.h"

enum {
    SESSIONS = 3,
    NOW_MS = 1000,
    NEGOTIATES = 0x80,
    FEATURES = WIRE_SINCE_ACK | WIRE_SINCE_CANCEL | WIRE_SINCE_CREDIT | WIRE_SINCE_CRC32C |
               WIRE_SINCE_GOAWAY | WIRE_SINCE_CHUNK,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void see(struct client_core *core, struct mcp_part *part, struct buf *log)
{
    size_t len;
    const char *data = mcp_part_data(part, &len);
    size_t in_flight = client_core_in_flight(core);

    ASSERT(mcp_part_session(part) <= SESSIONS);
    ASSERT(!mcp_part_last(part) || mcp_part_session(part) > 0);
    buf_printf(log, "part %u %d %d %.*s\n", mcp_part_session(part), mcp_part_last(part),
               mcp_part_error(part), (int)len, data);
    client_core_seen(core, part, NOW_MS);
    ASSERT(client_core_in_flight(core) == in_flight - (mcp_part_last(part) ? 1 : 0));
}

static void feed(struct client_core *core, struct mcp_part *part, struct slice in, struct buf *log)
{
    char *block = malloc(in.len); /* reading past a piece is an error of its own */
    struct slice rest;
    ptrdiff_t used;

    memcpy(block, in.ptr, in.len);
    rest = slice_of(block, in.len);
    while (client_core_is_up(core) && (used = client_core_recv(core, rest, NOW_MS, part)) > 0) {
        ASSERT((size_t)used <= rest.len);
        see(core, part, log);
        rest = slice_skip(rest, (size_t)used);
    }
    free(block);
}

static void begin(struct client_core *core, bool negotiates)
{
    static const char *const requests[SESSIONS] = {
        "{\"model\":\"m\",\"prompt\":\"a\"}",
        "{\"model\":\"m\",\"prompt\":\"a\",\"stream\":false}",
        "{\"mcp\":{\"op\":\"list\"}}",
    };

    client_core_init(core, &(struct client_config){
                               .retries = 1,
                               .seed = 7,
                               .features = negotiates ? FEATURES : 0,
                           });
    client_core_connect(core, false);
    client_core_connected(core, NOW_MS);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        ASSERT(client_core_request(core, i + 1, slice_str(requests[i]), NOW_MS, NULL) == MCP_OK);
    }
    client_core_wrote(core, buf_len(&core->out), NOW_MS);
}

static void run(struct slice in, bool negotiates, const uint8_t *cuts, struct buf *log)
{
    struct client_core core;
    struct mcp_part part;
    uint8_t seed = cuts == NULL ? 0 : *cuts;
    size_t cut = in.len;

    client_part_init(&part);
    begin(&core, negotiates);
    for (size_t at = 0; at < in.len && client_core_is_up(&core); at += cut) {
        if (cuts != NULL) {
            seed = (uint8_t)(seed * 5 + 1);
            cut = 1 + seed % 16;
        }
        feed(&core, &part, slice_first(slice_skip(in, at), cut), log);
    }
    buf_printf(log, "state %d, said %.*s\n", core.state, SLICE_ARG(buf_slice(&core.out)));
    if (client_core_is_up(&core)) {
        client_core_lost(&core, MCP_ECLOSED, "end", NOW_MS);
    }
    while (client_core_part(&core, &part)) {
        see(&core, &part, log);
    }
    buf_printf(log, "then %d with %zu\n", core.state, client_core_in_flight(&core));
    client_part_fini(&part);
    client_core_fini(&core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0};
    struct buf cut = {0};
    bool negotiates;

    if (size == 0) {
        return 0;
    }
    negotiates = (data[0] & NEGOTIATES) != 0;
    run(slice_of(data + 1, size - 1), negotiates, NULL, &whole);
    run(slice_of(data + 1, size - 1), negotiates, data, &cut);
    must_be_same(&whole, &cut);
    return 0;
}
