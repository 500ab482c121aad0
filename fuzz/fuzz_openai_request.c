/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: any native request. What is sent to the node, or answered at once, is one JSON
 * object; what is refused says why. Input: the operation, then the body. */
#include <stdint.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "node/openai.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_object(struct slice text)
{
    enum json_kind kind;
    enum json_status status = json_validate(text, &kind);

    /* a format nested as deep as is read stands some levels deeper in the request to the node */
    ASSERT(status == JSON_TOO_DEEP || (status == JSON_OK && kind == JSON_OBJECT));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum op ops[] = {OP_GENERATE, OP_CHAT, OP_EMBED, OP_EMBEDDINGS};
    struct openai_call *call = NULL;
    struct buf path = {0};
    struct buf body = {0};
    struct err e = {0};
    struct request r;
    int rv;

    if (size == 0 || request_read(&r, slice_of(data + 1, size - 1), REQUEST_FROM_MCP, &e) < 0) {
        return 0;
    }
    const struct openai_ask ask = {.op = ops[data[0] % 4],
                                   .request = &r,
                                   .model = SLICE("a\"b"),
                                   .node_model = SLICE("\xff"),
                                   .options = SLICE("{\"stop\":[\"x\"]}")};

    rv = openai_request(&call, &ask, &path, &body, &e);
    ASSERT((rv == OPENAI_SEND) == (call != NULL));
    ASSERT(rv >= 0 || rv == MCP_EBAD_REQUEST || rv == MCP_EUNSUPPORTED_OP);
    if (rv >= 0) {
        check_object(buf_slice(&body));
    } else {
        ASSERT(e.text[0] != '\0');
    }
    openai_call_free(&call);
    buf_fini(&path);
    buf_fini(&body);
    return 0;
}
