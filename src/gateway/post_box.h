/* SPDX-License-Identifier: Apache-2.0 */
/* What the sub reactors send each other: messages that their senders own the memory of, so that
 * sending cannot fail; run on the receiver's loop in the order put. A burst posts once. */
#ifndef MCP_GATEWAY_POST_BOX_H
#define MCP_GATEWAY_POST_BOX_H

#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "reactor/loop.h"

struct post_message {
    void (*run)(struct post_message *m); /* has it from then on */
    struct list_link link;
};

LIST_DECLARE(post_messages, struct post_message, link);

struct post_box {
    struct loop *loop;
    struct task task; /* messages of its own loop */
    struct post_messages own;
    pthread_mutex_t lock; /* guards what follows */
    struct post_messages others;
    bool posted;
};

void post_box_init(struct post_box *b, struct loop *loop);
/* After all that were put have run: those who send see to that. */
void post_box_fini(struct post_box *b);
/* From the loop of the box `from`. */
void post_box_put(struct post_box *to, const struct post_box *from, struct post_message *m);

#endif
