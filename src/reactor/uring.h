/* SPDX-License-Identifier: Apache-2.0 */
/* The io_uring backend as those see it who choose it or test it: how its ring is made and entered,
 * and whether this kernel lets us have one. */
#ifndef MCP_REACTOR_URING_H
#define MCP_REACTOR_URING_H

#include <stdbool.h>
#include <stdint.h>

struct io_uring;
struct io_uring_params;
struct io_uring_probe;

/* What a test can change. Counts are powers of two. */
struct uring_sys {
    unsigned entries; /* of the submission queue */
    unsigned completions;
    unsigned buffers; /* to receive into, shared by all sockets */
    unsigned buffer_bytes;
    const char *sysctl; /* the file that says whether io_uring is forbidden */
    /* As io_uring_queue_init_params. */
    int (*setup)(unsigned entries, struct io_uring *ring, struct io_uring_params *params);
    /* As io_uring_opcode_supported. */
    int (*has_op)(const struct io_uring_probe *probe, int op);
    /* Submits and waits for a completion, so long at most (0: takes only what is there, UINT64_MAX:
     * no limit). Negative: -errno. */
    int (*enter)(struct io_uring *ring, uint64_t timeout_us);
    /* As io_uring_submit. */
    int (*submit)(struct io_uring *ring);
    /* What the request with that user_data came to, as the backend shall see it. NULL: as it is. */
    int (*result)(uint64_t user_data, int res);
};

extern const struct uring_sys uring_sys_real;

enum { URING_WHY_MAX = 128 };

/* Whether a loop can be had on it here; if not, `why`, for people. */
bool uring_probe(const struct uring_sys *sys, char why[URING_WHY_MAX]);

#endif
