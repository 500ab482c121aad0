/* SPDX-License-Identifier: Apache-2.0 */
#include "request_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

int request_check_read(struct slice body, enum request_source source)
{
    struct request r;
    struct err e = {0};
    int code = request_read(&r, body, source, &e);

    assert_true(code == MCP_OK || code == MCP_EBAD_REQUEST);
    assert_true(code == MCP_OK || (e.code == code && e.text[0] != '\0'));
    return code;
}

void request_check_code(struct slice body, int got, int wanted)
{
    if (got != wanted) {
        fail_msg("%.*s: %s, not %s", SLICE_ARG(body), mcp_error_name(got), mcp_error_name(wanted));
    }
}
