/* SPDX-License-Identifier: Apache-2.0 */
/* Error codes of MCP and of libmcp. Every function that can fail returns 0 or one of these,
 * which are all negative. Pure: any thread may call anything here; the strings are static. */
#ifndef MCP_ERROR_H
#define MCP_ERROR_H

#include <stdbool.h>
#include <stddef.h>

enum mcp_error_ordinal {
#define MCP_ERROR(name, wire, http, retryable, text) MCP_ORDINAL_##name,
#include "mcp/errors.def"
#undef MCP_ERROR
    MCP_ORDINAL_COUNT
};

enum mcp_error {
    MCP_OK = 0,
#define MCP_ERROR(name, wire, http, retryable, text) MCP_E##name = -1 - (int)MCP_ORDINAL_##name,
#include "mcp/errors.def"
#undef MCP_ERROR
};

/* The code's name on the wire, "bad_request"; "ok" for 0, "internal" for a code not in the table.
 */
const char *mcp_error_name(int code);
/* One short phrase for people. */
const char *mcp_error_text(int code);
/* The HTTP status of the code; 200 for 0. */
int mcp_error_http_status(int code);
/* Whether sending the same request again later can succeed. */
bool mcp_error_retryable(int code);
/* The code with that wire name of `len` bytes; MCP_EINTERNAL where there is none. */
int mcp_error_from_name(const char *name, size_t len);

#endif
