/* SPDX-License-Identifier: Apache-2.0 */
/* Which backend loops get. */
#include "reactor/choice.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "reactor/backend.h"

/* What LOOP_BACKEND_AUTO begins with; false: it is epoll, whatever the kernel has. */
static const bool auto_prefers_uring = true;

static const struct backend_ops *chosen = &backend_epoll;
static bool chosen_is_free; /* it is not what somebody asked for */

const struct backend_ops *choice_of(enum loop_backend wanted, bool prefers_uring,
                                    const struct uring_sys *uring, char why[LOOP_WHY_MAX])
{
    char missing[URING_WHY_MAX];

    if (wanted == LOOP_BACKEND_AUTO && !prefers_uring) {
        (void)snprintf(why, LOOP_WHY_MAX, "the default");
        return &backend_epoll;
    }
    if (wanted == LOOP_BACKEND_EPOLL) {
        (void)snprintf(why, LOOP_WHY_MAX, "configured");
        return &backend_epoll;
    }
    if (uring_probe(uring, missing)) {
        (void)snprintf(why, LOOP_WHY_MAX,
                       wanted == LOOP_BACKEND_AUTO ? "this kernel has it" : "configured");
        return &backend_uring;
    }
    (void)snprintf(why, LOOP_WHY_MAX, "io_uring cannot be had: %s", missing);
    return wanted == LOOP_BACKEND_AUTO ? &backend_epoll : NULL;
}

const char *loop_choose(enum loop_backend wanted, char why[LOOP_WHY_MAX])
{
    const struct backend_ops *ops = choice_of(wanted, auto_prefers_uring, &uring_sys_real, why);

    if (ops == NULL) {
        return NULL;
    }
    chosen = ops;
    chosen_is_free = wanted == LOOP_BACKEND_AUTO;
    return ops->name;
}

struct loop *loop_new(void)
{
    struct loop *loop = loop_new_on(chosen, &loop_sys_real);

    /* There is a ring for the probe, but not for each loop: they are locked memory, of which a user
     * may have little. Loops on different backends get on with each other. */
    if (loop == NULL && chosen_is_free && chosen != &backend_epoll) {
        LOG_WARN("backend_short", "name=epoll why=\"%s\"", strerror(errno));
        loop = loop_new_on(&backend_epoll, &loop_sys_real);
    }
    return loop;
}
