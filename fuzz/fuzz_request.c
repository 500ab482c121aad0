/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: whatever a body holds, it is refused with a text, or what is forwarded is one
 * object again that is read the same way and has no `mcp`. The first byte: which edits are made. */
#include <stdint.h>
#include <stdlib.h>

#include "codec/request.h"
#include "codec/request_hints.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static struct slice if_bit(unsigned bits, unsigned bit, struct slice text)
{
    return (bits >> bit & 1U) != 0 ? text : (struct slice){NULL, 0};
}

static void ask(const struct request *r)
{
    struct buf model = {0};
    struct err e;
    enum op op;
    bool streams;
    uint64_t hashes[PROMPT_HASHES_MAX];

    if (request_op(r, &op, &e) == MCP_OK) {
        (void)request_model(r, op, &model, &e); /* any verdict will do */
        (void)request_stream(r, op, &streams, &e);
    }
    must(prompt_hashes(r, hashes, NULL) <= PROMPT_HASHES_MAX);
    (void)runner_options_of(request_value(r, REQUEST_OPTIONS));
    buf_fini(&model);
}

static void forward(const struct request *r, unsigned bits)
{
    const struct request_edits edits = {.model = if_bit(bits, 0, SLICE("\"m\"")),
                                        .options = if_bit(bits, 1, SLICE("{}")),
                                        .stream = if_bit(bits, 2, SLICE("true")),
                                        .stream_options = if_bit(bits, 3, SLICE("{}"))};
    struct request_pieces pieces;
    struct request again;
    struct buf text = {0};

    request_forward(r, &edits, &pieces);
    for (size_t i = 0; i < pieces.count; i++) {
        must(buf_append(&text, pieces.pieces[i]));
    }
    must(buf_len(&text) == pieces.len_bytes);
    must(request_read(&again, buf_slice(&text), REQUEST_FROM_MCP, NULL) == MCP_OK);
    must(!request_has(&again, REQUEST_MCP));
    must((bits & 1U) == 0 || slice_eq(again.members[REQUEST_MODEL].value, edits.model));
    must(request_has(&again, REQUEST_PROMPT) == request_has(r, REQUEST_PROMPT));
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct request r;
    struct slice body;

    if (size == 0) {
        return 0;
    }
    body = slice_of(data + 1, size - 1);
    if (request_read(&r, body, REQUEST_FROM_MCP, &e) == MCP_OK) {
        ask(&r);
        forward(&r, data[0]);
    } else {
        must(e.code == MCP_EBAD_REQUEST && e.text[0] != '\0');
    }
    return 0;
}
