/* SPDX-License-Identifier: Apache-2.0 */
#include "mcp/error.h"

#include <string.h>

static const struct {
    const char *name;
    const char *text;
    int http_status;
    bool retryable;
} errors[MCP_ORDINAL_COUNT] = {
#define MCP_ERROR(name, wire, http, retryable, text) {wire, text, http, retryable != 0},
#include "mcp/errors.def"
#undef MCP_ERROR
};

static int error_ordinal(int code)
{
    int ordinal = -1 - code;

    return ordinal >= 0 && ordinal < (int)MCP_ORDINAL_COUNT ? ordinal : (int)MCP_ORDINAL_INTERNAL;
}

const char *mcp_error_name(int code)
{
    return code == MCP_OK ? "ok" : errors[error_ordinal(code)].name;
}

const char *mcp_error_text(int code)
{
    return code == MCP_OK ? "no error" : errors[error_ordinal(code)].text;
}

int mcp_error_http_status(int code)
{
    return code == MCP_OK ? 200 : errors[error_ordinal(code)].http_status;
}

bool mcp_error_retryable(int code)
{
    return code != MCP_OK && errors[error_ordinal(code)].retryable;
}

int mcp_error_from_name(const char *name, size_t len)
{
    for (int i = 0; i < (int)MCP_ORDINAL_COUNT; i++) {
        if (strlen(errors[i].name) == len && memcmp(errors[i].name, name, len) == 0) {
            return -1 - i;
        }
    }
    return MCP_EINTERNAL;
}
