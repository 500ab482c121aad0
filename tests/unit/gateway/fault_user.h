/* SPDX-License-Identifier: Apache-2.0 */
/* A client on the loop of a gateway whose calls and allocations go wrong, so that its own do too:
 * one request on a connection of its own, to its end. One at a time. */
#ifndef MCP_TESTS_FAULT_USER_H
#define MCP_TESTS_FAULT_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/exchange.h"
#include "reactor/loop.h"
#include "reactor/sock.h"

struct fault_talk {
    const char *name;
    enum exchange_face face;
    bool greets;           /* MCP: HELLO, and the request behind WELCOME */
    uint32_t features;     /* offered there, */
    uint32_t window_bytes; /* with `credit`; more is granted when it is used up */
    bool cancels;          /* instead of granting more */
    const char *body;      /* of the request; NULL: a good one */
    const char *part;      /* of the answer */
    const char *error;     /* the code that ends it early; NULL: none */
};

/* Makes what it will send, before anything goes wrong. */
void fault_user_begin(struct loop *loop, const struct fault_talk *talk);
void fault_user_end(void);
/* Runs the loop until the answer or the connection has ended; the caller limits the time. */
void fault_user_ask(const struct addr *at);
/* Its answer has ended or its connection, if it ever had one. */
bool fault_user_is_over(void);
/* All of the answer came, and nothing else. */
bool fault_user_is_whole(void);
/* What came is the beginning of that; an error may be behind it. */
bool fault_user_is_sound(void);

#endif
