/* SPDX-License-Identifier: Apache-2.0 */
/* Asks every loop what it knows about the requests of one id. On the main reactor's thread; the
 * loops look on their own (trace.h) and send what they have found. */
#ifndef MCP_GATEWAY_TRACE_ASK_H
#define MCP_GATEWAY_TRACE_ASK_H

#include <stddef.h>

#include "base/slice.h"

struct gateway;
struct trace_ask;

/* `found`: JSON objects with commas between, `count` of them. Comes once, later, from the loop; the
 * ask is gone when it returns. */
typedef void (*trace_ask_cb)(void *owner, struct slice found, size_t count);

/* NULL: out of memory. */
struct trace_ask *trace_ask_begin(struct gateway *g, struct slice id, trace_ask_cb cb, void *owner);
/* The owner wants to hear nothing any more. Nulls the pointer. */
void trace_ask_forget(struct trace_ask **ask);
/* At the gateway's end, when no loop runs any more: those that were not answered. */
void trace_asks_free(struct gateway *g);

#endif
