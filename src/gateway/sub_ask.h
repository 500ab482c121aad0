/* SPDX-License-Identifier: Apache-2.0 */
/* Asks every loop what it knows, for pages of the admin listener. On the main reactor's thread; the
 * loops look on their own, each between two events, and send what they have found: so no lock is in
 * the way of what they do. */
#ifndef MCP_GATEWAY_SUB_ASK_H
#define MCP_GATEWAY_SUB_ASK_H

#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

struct gateway;
struct sub;
struct sub_ask;

enum { SUB_ASK_ABOUT_MAX = 64 };

/* On the loop's thread: appends JSON objects with commas between. Returns how many there are, those
 * that it leaves out among them. */
typedef size_t (*sub_look_fn)(const struct sub *sub, struct slice about, struct buf *out);

/* `found`: what all have found, with commas between; `count`: how many there are. Comes once,
 * later, from the loop; the ask is gone when it returns. */
typedef void (*sub_ask_cb)(void *owner, struct slice found, size_t count);

/* `about` is copied, SUB_ASK_ABOUT_MAX bytes of it. NULL: out of memory. */
struct sub_ask *sub_ask_begin(struct gateway *g, sub_look_fn look, struct slice about,
                              sub_ask_cb cb, void *owner);
/* The owner wants to hear nothing any more. Nulls the pointer. */
void sub_ask_forget(struct sub_ask **ask);
/* At the gateway's end, when no loop runs any more: those that were not answered. */
void sub_asks_free(struct gateway *g);

#endif
