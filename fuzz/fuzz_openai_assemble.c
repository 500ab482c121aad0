/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: whole answers of /v1 out of a node's events in any bytes, one per line. What is
 * given is one JSON object, and nothing follows the last. Input: flags (bits 0 and 1: which of the
 * four), then the lines. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "mcp/error.h"
#include "node/openai.h"
#include "node/openai_assemble.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Tool input is JSON in a string: inside the answer it is nested deeper than the scanner reads. */
static void check_answer(struct slice answer)
{
    enum json_kind kind;
    enum json_status status = json_validate(answer, &kind);

    ASSERT(status == JSON_TOO_DEEP || (status == JSON_OK && kind == JSON_OBJECT));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size);
    struct openai_assembly *a;
    struct buf out = {0};
    unsigned code = 0;
    bool over = false;

    if (size == 0) {
        return 0;
    }
    (void)openai_assembles((enum openai_assembled)(data[0] & 3), slice_skip(rest, 1));
    a = openai_assembly_new((enum openai_assembled)(data[0] & 3), 1 << 16);
    for (rest = slice_skip(rest, 1); rest.len > 0;) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        struct slice line = slice_first(rest, end == NULL ? rest.len : (size_t)(end - rest.ptr));
        int rv = openai_assembly_event(a, line, &out, &code);

        ASSERT(rv != MCP_ENOMEM && (!over || rv == OPENAI_NOTHING));
        over = over || rv == OPENAI_LAST;
        if (rv == OPENAI_LAST || rv == OPENAI_ERROR) {
            ASSERT(rv == OPENAI_LAST || (code >= 400 && code <= 599));
            check_answer(buf_slice(&out));
        }
        if (rv < 0) {
            break;
        }
        buf_clear(&out);
        rest = slice_skip(rest, line.len + (end != NULL));
    }
    buf_fini(&out);
    openai_assembly_free(&a);
    return 0;
}
