/* SPDX-License-Identifier: Apache-2.0 */
/* Reason phrases of HTTP status codes. Pure. */
#ifndef MCP_HTTP_PARSE_STATUS_H
#define MCP_HTTP_PARSE_STATUS_H

/* The registered phrase of a status, "Not Found"; "" for one without. Static. */
const char *http_status_reason(unsigned status);

#endif
