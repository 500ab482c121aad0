/* SPDX-License-Identifier: Apache-2.0 */
/* A route: one name that stands for several models, its arms, each with a share of the requests.
 * The same key has the same arm, and a share that changes moves only the keys it must. The first
 * arm is the one that is known to be good: what the others do is held against it, and one that is
 * clearly worse is rolled back, which gives its share to the first. One that was promoted is held
 * for a day against what the arm before it did last. Pure; its caller locks. */
#ifndef MCP_SCHED_ROUTE_H
#define MCP_SCHED_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum { MODEL_ROUTE_ARMS_MAX = 8, MODEL_ROUTE_PERIODS = 8, MODEL_ROUTE_NO_ARM = 255 };

enum model_route_state {
    MODEL_ROUTE_ON,
    MODEL_ROUTE_PAUSED,
    MODEL_ROUTE_ROLLED_BACK, /* by the rule, or by a person */
};

enum model_route_why {
    MODEL_ROUTE_WHY_NONE,
    MODEL_ROUTE_WHY_ASKED,
    MODEL_ROUTE_WHY_ERRORS,
    MODEL_ROUTE_WHY_FIRST_PART,
};

struct model_route_terms {
    struct {
        struct slice model;      /* only looked at, to tell the arms apart */
        uint32_t weight;         /* of the sum of all */
        uint32_t shadow_percent; /* a copy of so many requests; such an arm has no weight */
    } arms[MODEL_ROUTE_ARMS_MAX];
    size_t arm_count;
    uint64_t window_us;    /* what statistics look back on */
    uint64_t min_requests; /* of both arms, before one is held against the other; 0: never */
};

struct model_route_moments {
    uint64_t count;
    double sum;
    double squares;
};

/* What an arm did in a part of the window. */
struct model_route_period {
    uint64_t number; /* of the part, from 1; 0: unused */
    uint64_t requests;
    uint64_t errors;
    struct model_route_moments first_part_us;
    struct model_route_moments rate; /* parts a second, of streams */
    struct model_route_moments length;
};

struct model_route_arm {
    uint64_t hash;
    uint32_t weight;
    uint32_t shadow_percent;
    enum model_route_state state;
    enum model_route_why why;
    struct model_route_period periods[MODEL_ROUTE_PERIODS];
};

#define MODEL_ROUTE_WATCH_US (UINT64_C(24) * 3600 * 1000 * 1000)

/* Of the arm that is promoted. */
struct model_route_watch {
    uint64_t until_us;                 /* 0: it is not watched */
    struct model_route_period against; /* what the arm before it did in its last window */
    size_t before; /* that arm, where it was promoted; else MODEL_ROUTE_NO_ARM */
};

struct model_route {
    struct model_route_arm arms[MODEL_ROUTE_ARMS_MAX];
    size_t arm_count;
    uint64_t period_us;
    uint64_t min_requests;
    size_t promoted; /* gets all; MODEL_ROUTE_NO_ARM: none */
    struct model_route_watch watch;
};

/* With all arms on. */
void model_route_init(struct model_route *r, const struct model_route_terms *terms);
/* The arm of a key that was well mixed (model_route_key). */
size_t model_route_choose(const struct model_route *r, uint64_t key);
/* The arm that gets a copy of the request, by a key of that request; MODEL_ROUTE_NO_ARM: none. */
size_t model_route_shadow(const struct model_route *r, uint64_t key);
uint64_t model_route_key(struct slice text);

struct model_route_outcome {
    bool failed;            /* by the node's or the model's fault */
    uint64_t first_part_us; /* from the request to the node; 0: no part came */
    uint64_t last_part_us;  /* likewise */
    uint64_t parts;
};
/* A request on the arm has ended. True: the arm is rolled back for it. */
bool model_route_ended(struct model_route *r, uint64_t now_us, size_t arm,
                       const struct model_route_outcome *o);

/* What a person says. Whatever was counted of an arm that is on again is forgotten. */
void model_route_turn(struct model_route *r, size_t arm, enum model_route_state state,
                      enum model_route_why why);
/* MODEL_ROUTE_NO_ARM: shares count again. Where the arm that had most until now has had too little
 * to be held against, the promoted one is not watched. */
void model_route_promote(struct model_route *r, uint64_t now_us, size_t arm);

/* Mean and standard deviation; of none, 0. */
struct model_route_spread {
    uint64_t count;
    double mean;
    double deviation;
};
struct model_route_summary {
    uint64_t requests;
    uint64_t errors;
    struct model_route_spread first_part_us;
    struct model_route_spread rate;
    struct model_route_spread length;
};
void model_route_summarize(const struct model_route *r, uint64_t now_us, size_t arm,
                           struct model_route_summary *out);
void model_route_summarize_period(const struct model_route_period *p,
                                  struct model_route_summary *out);

#endif
