/* SPDX-License-Identifier: Apache-2.0 */
/* A loop's side of the scheduler (brain.h): requests that run a model arrive there before they get
 * a node, wait for their turn, and give their slot back when they end or go elsewhere. The loop's
 * thread only.
 *
 * turn      entered                                    left by
 * NONE      made; given back                           arrived: WAITS or GRANTED, or it was refused
 * WAITS     the scheduler queued it                    its decision: GRANTED or REFUSED; given back
 * FOLLOWS   the one that it shares an answer with waits    that one has a node, or ends
 * GRANTED   it has a slot of a node                    given back: the exchange ends, or tries
 * another REFUSED   what it waited for will not come           the step that says so */
#ifndef MCP_GATEWAY_TURNS_H
#define MCP_GATEWAY_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "gateway/brain.h"
#include "reactor/loop.h"

struct exchange;

enum turn_state { TURN_NONE, TURN_WAITS, TURN_FOLLOWS, TURN_GRANTED, TURN_REFUSED };

/* Of one exchange. */
struct exchange_turn {
    struct list_link link; /* WAITS */
    struct exchange *exchange;
    uint64_t ticket; /* WAITS, GRANTED */
    uint64_t avoid_node;
    uint64_t arrived_us;
    uint64_t granted_us;
    uint64_t waited_us; /* in all */
    uint64_t position;  /* WAITS: what was last told; 0: it was never queued */
    uint64_t depth;
    uint64_t eta_us;         /* SCHED_UNKNOWN */
    uint64_t retry_after_us; /* refused: when to come again; 0: not known */
    uint32_t seat;           /* WAITS */
    uint32_t prompt_tokens;  /* that the node says it computed; 0: it has not said */
    uint32_t answer_tokens;
    uint8_t state;                    /* enum turn_state */
    uint8_t class;                    /* enum sched_class; once it has arrived */
    bool rated;                       /* its key's rate has counted it */
    uint8_t misses;                   /* grants of nodes that the loop does not know */
    uint8_t verdict;                  /* enum sched_verdict; REFUSED */
    bool loads;                       /* the node loads the model for it */
    const struct sched_share *shares; /* who had what of it; the owner's; NULL: who came had all */
    size_t share_count;
};

LIST_DECLARE(turn_list, struct exchange_turn, link);

struct turn_seat {
    struct exchange_turn *turn; /* NULL: free */
    uint32_t next_free;
};

struct turns {
    struct brain_home home;
    struct turn_list waiting;
    struct turn_seat *seats; /* a decision names one */
    size_t seat_count;
    uint32_t first_free; /* seat_count: none */
    struct timer look;   /* each second while something waits */
};

/* Whose turn it is. */
struct turn_payer {
    struct slice tenant; /* valid as long as the configuration and the exchange */
    unsigned weight;
    uint32_t rate_per_min; /* 0: any */
    enum sched_class class;
};

void turn_payer(const struct exchange *x, struct turn_payer *out);
/* One tenant's answers are not another's, nor told by how soon they come. */
struct slice turn_tenant(const struct exchange *x);
/* It is about to go as part of another exchange: its own key's rate counts it. False: it was
 * refused, or has fallen back to another model. */
bool turn_rate(struct exchange *x);

/* `b` NULL: nothing is scheduled. */
void turns_init(struct turns *q, struct brain *b, struct loop *loop);
/* After every exchange has ended. */
void turns_fini(struct turns *q);

/* What the request asks for, as far as its key lets it. */
enum sched_class turn_class(const struct exchange *x);
static inline bool turn_is_awaited(const struct exchange_turn *t)
{
    return t->state == TURN_WAITS || t->state == TURN_FOLLOWS;
}

/* The exchange ends: what it has, or waits for, is given back. Does nothing where that is nothing.
 */
void turn_leave(struct exchange *x);
/* The same of one that did not reach its node, and tries again. */
void turn_again(struct exchange *x);
/* The last part of the answer, which may say how many tokens it cost (turn_tokens.c). */
void turn_last_part(struct exchange *x, struct slice part);
/* The first byte of the answer is here. */
void turn_started(struct exchange *x);

#endif
