/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that need not be computed twice: identical ones in flight share one call, where the
 * answer is determined (temperature 0, a seed, embeddings); finished answers are kept and replayed,
 * where that is configured; an idempotency key makes any request its own repetition. All three are
 * a flight: an exchange of its own without a client, on the loop that its key falls to, whose
 * answer is recorded (flight_record.h) and read by its members from the beginning, each at its own
 * pace. */
#ifndef MCP_GATEWAY_FLIGHT_H
#define MCP_GATEWAY_FLIGHT_H

#include "gateway/post_box.h"
#include "gateway/steps.h"

struct flight;
struct flight_member;

/* What a sub reactor has of it: flights by key. */
struct flight_sub {
    struct flight **slots; /* chains; NULL: none yet */
    struct flight *oldest; /* of those that are kept */
    struct flight *newest;
    size_t kept_bytes;
};

void flight_sub_fini(struct sub *s);

/* The step. */
enum step_result step_flight(struct exchange *x);
/* For exchange.c: it ends; its client reads on. */
void flight_leave(struct exchange *x);
void flight_resume(struct exchange *x);

#endif
