/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP status codes: their reason phrases, and those for malformed requests. Pure. */
#ifndef MCP_HTTP_PARSE_STATUS_H
#define MCP_HTTP_PARSE_STATUS_H

/* The registered phrase of a status, "Not Found"; "" for one without. Static. */
const char *http_status_reason(unsigned status);
/* The status that answers a request which the parser refuses with that error. */
unsigned http_status_of_fault(int error);

#endif
