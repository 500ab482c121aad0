/* SPDX-License-Identifier: Apache-2.0 */
/* POST /admin/routes/ROUTE/ACTION and /admin/routes/ROUTE/ACTION/MODEL. */
#ifndef MCP_GATEWAY_FACE_ADMIN_ROUTES_H
#define MCP_GATEWAY_FACE_ADMIN_ROUTES_H

#include "base/buf.h"
#include "base/slice.h"

struct gateway;

/* Does what stands behind "/admin/routes/", and writes all routes as they are then, or an error.
 * The status. */
unsigned admin_routes_act(const struct gateway *g, struct slice rest, struct buf *body);

#endif
