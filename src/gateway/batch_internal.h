/* SPDX-License-Identifier: Apache-2.0 */
/* What batch.c (the home of a request), batch_group.c and batch_call.c (the owner of the call) know
 * of each other. */
#ifndef MCP_GATEWAY_BATCH_INTERNAL_H
#define MCP_GATEWAY_BATCH_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "codec/embed.h"
#include "gateway/post_box.h"
#include "reactor/addr.h"
#include "reactor/loop.h"
#include "sched/batch.h"
#include "sched/sched.h"

struct batch_call;
struct batch_group;
struct batch_member;
struct exchange;
struct sub;

/* An answer to several; each part that it answers has a reference. */
struct batch_answer {
    _Atomic unsigned users;
    struct buf body;
    struct embed_answer parsed;
    uint64_t sent_us;
    uint64_t node_id;
    char node_name[64];
};

void batch_answer_unref(struct batch_answer **a);

/* One input. */
struct batch_part {
    struct batch_item item;
    struct batch_member *member;
    struct batch_call *call; /* that it is in; NULL: it waits, or is answered */
    struct batch_answer *answer;
    uint64_t tokens; /* its share of those that the node counted */
};

enum batch_outcome { BATCH_ALONE, BATCH_ANSWERED, BATCH_FAILED };

struct batch_member {
    uint32_t magic;
    _Atomic unsigned users; /* the owner until `over`; a verdict on its way */
    struct sub *home;
    struct sub *owner;
    struct post_message join;
    struct post_message over;
    struct post_message verdict;
    /* What it asks for; nobody changes it. */
    enum embed_shape shape;
    struct buf head;
    struct buf model;
    struct buf texts;  /* memory of the inputs */
    struct buf tenant; /* whose turn it is, where requests wait */
    unsigned weight;
    enum sched_class class;
    uint64_t joined_us;
    char client[ADDR_TEXT_MAX];
    char key_name[64];
    size_t held_bytes; /* of body_memory */
    /* The home's. */
    struct exchange *exchange; /* NULL: it has ended */
    bool told;                 /* the verdict is here */
    /* The owner's until the verdict. */
    struct batch_group *group; /* NULL: not joined, or out again */
    bool decided;
    bool waited; /* something was under way when it came */
    bool alone;  /* under way by itself: counts as a call */
    size_t left; /* parts without answer */
    enum batch_outcome outcome;
    int code; /* FAILED */
    unsigned node_status;
    char text[256];
    struct buf node_body;
    uint64_t retry_after_us;
    uint64_t node_id;
    char node_name[64];
    size_t part_count;
    struct batch_part parts[];
};

void batch_member_unref(struct batch_member *m);

struct batch_call {
    uint32_t magic;
    struct batch_group *group;
    struct batch_items items;
    size_t inputs;
    size_t item_count;    /* when it began */
    struct exchange *run; /* NULL: it waits for its turn, or has ended */
    struct batch_answer *answer;
    uint64_t node_id;       /* that it is meant for; 0: any */
    struct batch_size size; /* when it began */
    struct sched_share *shares;
    struct buf tenants; /* memory of their names */
    unsigned status;
    uint64_t retry_after_us;
    bool too_large;
    struct list_link link;
};

LIST_DECLARE(batch_calls, struct batch_call, link);

struct batch_group {
    uint32_t magic;
    struct sub *sub;
    struct batch_group *next;
    enum embed_shape shape;
    struct buf head;
    struct buf model;
    struct batch batch;
    struct batch_calls running;
    struct batch_calls halves; /* of calls that failed: sent before what waits */
    struct task look;
    struct timer again;
    size_t alone; /* members that go their own way, as calls */
};

enum {
    BATCH_MEMBER_MAGIC = 0x626d656d,
    BATCH_GROUP_MAGIC = 0x62677270,
    BATCH_CALL_MAGIC = 0x6263616c,
};

static inline struct batch_part *batch_part_of(struct batch_item *it)
{
    return (struct batch_part *)(void *)((char *)it - offsetof(struct batch_part, item));
}

/* --- batch_group.c: on the owner's loop */
void batch_group_join(struct post_message *join);
void batch_group_over(struct post_message *over);
void batch_groups_free(struct sub *s);
/* Sends what is to be sent now. */
void batch_send(struct batch_group *g);
/* The same soon; a group that nobody needs any more ends. */
void batch_look_soon(struct batch_group *g);
/* The member's fate; once. */
void batch_tell(struct batch_member *m, enum batch_outcome outcome);
/* It counts as a call until it is over. */
void batch_go_alone(struct batch_group *g, struct batch_member *m);
/* Takes out whatever waits or is under way of it; `but` is looked after by the caller. */
void batch_withdraw(struct batch_member *m, const struct batch_call *but);

/* --- batch_call.c: likewise */
/* Its items as those of `c`: parts know their call, and inputs are numbered anew, also where some
 * have left. */
void batch_call_renumber(struct batch_call *c);
/* Counts as under way already. */
void batch_call_start(struct batch_call *c);
/* Nobody waits for it any more. */
void batch_call_drop(struct batch_call *c);
/* All that are in it fail. */
void batch_call_fail(struct batch_call *c, int code, struct slice text, struct slice node_body,
                     unsigned status);
/* The node that has the fewest of the group's calls: a hint; 0: none is known. */
uint64_t batch_idlest_node(const struct batch_group *g);
bool batch_items_are_of_one(const struct batch_items *items);

/* --- batch.c: on the home's loop */
void batch_on_verdict(struct post_message *verdict);

#endif
