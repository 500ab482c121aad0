/* SPDX-License-Identifier: Apache-2.0 */
/* The admin face: /healthz, /readyz, /metrics, /admin/nodes and what is below. Where keys are
 * configured all but the first two ask for one. Owned by the gateway; the loop's thread only. */
#ifndef MCP_GATEWAY_FACE_ADMIN_H
#define MCP_GATEWAY_FACE_ADMIN_H

#include "base/err.h"
#include "reactor/addr.h"

struct admin_face;
struct gateway;

/* NULL with the error: the address cannot be listened on. */
struct admin_face *admin_face_new(struct gateway *g, const struct addr *at, struct err *e);
void admin_face_free(struct admin_face **f);
const struct addr *admin_face_addr(const struct admin_face *f);

#endif
