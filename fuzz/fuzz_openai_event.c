/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: a node's events in any bytes, one per line. Every part is one JSON object on
 * one line, "done" says truly whether it is the last, and nothing follows that one. Input: flags
 * (bit 0 chat, 1 streaming client, 2 the lines are whole answers, 3 embed), then the lines. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "node/openai.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *request_of(uint8_t flags)
{
    static const char *const requests[] = {
        "{\"prompt\":\"a\",\"raw\":true,\"stream\":false,\"logprobs\":true,\"top_logprobs\":2}",
        "{\"messages\":[{}],\"stream\":false,\"logprobs\":true,\"top_logprobs\":2}",
        "{\"prompt\":\"a\",\"raw\":true,\"logprobs\":true}",
        "{\"messages\":[{}],\"logprobs\":true}",
    };

    return (flags & 8) != 0 ? "{\"input\":[\"a\",\"b\"],\"dimensions\":2}" : requests[flags & 3];
}

static struct openai_call *call_of(uint8_t flags)
{
    struct openai_call *call;
    struct request r;
    struct buf path = {0};
    struct buf body = {0};
    const struct openai_ask ask = {.op = (flags & 8) != 0   ? OP_EMBED
                                         : (flags & 1) != 0 ? OP_CHAT
                                                            : OP_GENERATE,
                                   .request = &r,
                                   .model = SLICE("m"),
                                   .node_model = SLICE("m"),
                                   .options = SLICE("")};

    ASSERT(request_read(&r, slice_str(request_of(flags)), REQUEST_FROM_MCP, NULL) == 0);
    ASSERT(openai_request(&call, &ask, &path, &body, NULL) == OPENAI_SEND);
    buf_fini(&path);
    buf_fini(&body);
    return call;
}

/* Deeper than the scanner reads is possible: a valid event inside a part is nested deeper. */
static void check_part(int rv, uint8_t flags, struct slice part)
{
    struct json_member done;
    enum json_kind kind;
    enum json_status status = json_validate(part, &kind);

    ASSERT(status == JSON_TOO_DEEP || (status == JSON_OK && kind == JSON_OBJECT));
    ASSERT(memchr(part.ptr, '\n', part.len) == NULL && memchr(part.ptr, '\r', part.len) == NULL);
    if (status == JSON_OK && (flags & 8) == 0) {
        ASSERT(json_find(part, SLICE("done"), &done) == JSON_OK);
        ASSERT(slice_eq(done.value, rv == OPENAI_LAST ? SLICE("true") : SLICE("false")));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size);
    struct openai_call *call = size == 0 ? NULL : call_of(data[0]);
    struct buf out = {0};
    bool over = size == 0;
    uint64_t us = 0;

    for (rest = slice_skip(rest, size > 0); rest.len > 0 && !over; us += 1000) {
        const struct openai_clock at = {us, us};
        const char *end = memchr(rest.ptr, '\n', rest.len);
        struct slice line = slice_first(rest, end == NULL ? rest.len : (size_t)(end - rest.ptr));
        int rv = (data[0] & 4) != 0 ? openai_whole(call, line, at, &out)
                                    : openai_event(call, line, at, &out);

        ASSERT(rv != MCP_ENOMEM);
        if (rv == OPENAI_PART || rv == OPENAI_LAST) {
            check_part(rv, data[0], buf_slice(&out));
        } else {
            ASSERT(rv == OPENAI_ERROR || buf_len(&out) == 0);
        }
        over = rv < 0 || rv == OPENAI_ERROR || rv == OPENAI_LAST;
        buf_clear(&out);
        rest = slice_skip(rest, line.len + (end != NULL));
    }
    openai_call_free(&call);
    buf_fini(&out);
    return 0;
}
