/* SPDX-License-Identifier: Apache-2.0 */
/* Who is connected and what goes on there, as JSON: the sessions of MCP connections and the
 * connections of HTTP, for GET /admin/sessions. Only looks; the loop's thread. */
#ifndef MCP_GATEWAY_FACE_SESSIONS_H
#define MCP_GATEWAY_FACE_SESSIONS_H

#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

struct sub;

enum { SESSIONS_SHOWN_MAX = 1000 }; /* of all loops; those with requests before idle ones */

/* A sub_look_fn; `about` is not looked at. */
size_t sessions_look(const struct sub *sub, struct slice about, struct buf *out);

#endif
