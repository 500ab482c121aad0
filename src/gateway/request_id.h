/* SPDX-License-Identifier: Apache-2.0 */
/* The ids of requests: a client's own where it can be used, else one made here, no two alike. Pure
 * but for the sub reactor's count; its loop's thread. */
#ifndef MCP_GATEWAY_REQUEST_ID_H
#define MCP_GATEWAY_REQUEST_ID_H

#include <stdbool.h>

#include "base/slice.h"

struct sub;

enum { REQUEST_ID_MAX = 64 };

/* 1 to 64 letters, digits and "-_.:". */
bool request_id_is_fine(struct slice id);
/* The gateway's, and a number. */
void request_id_make(struct sub *sub, char id[REQUEST_ID_MAX + 1]);
/* `own` where it is fine, else one made. */
void request_id_take(struct sub *sub, struct slice own, char id[REQUEST_ID_MAX + 1]);

#endif
