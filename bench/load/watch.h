/* SPDX-License-Identifier: Apache-2.0 */
/* What processes have used so far, from /proc and their CPU clocks: of the gateway alone, while the
 * load runs. */
#ifndef MCP_BENCH_LOAD_WATCH_H
#define MCP_BENCH_LOAD_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { WATCH_PIDS_MAX = 256 };

struct watch_sample {
    uint64_t cpu_ns;             /* of all threads, ended ones too */
    uint64_t switches_voluntary; /* of the threads that live */
    uint64_t switches_involuntary;
    uint64_t rss_bytes;
    uint64_t kernel_bytes; /* of the machine: slabs, sockets among them, and buffers of TCP */
};

/* Adds up `count` processes. False: one of them is gone. */
bool watch_read(const pid_t *pids, size_t count, struct watch_sample *out);

#endif
