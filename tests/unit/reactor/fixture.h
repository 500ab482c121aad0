/* SPDX-License-Identifier: Apache-2.0 */
/* A loop per test, sockets that write down what they are told, and waiting for a condition.
 * Teardown fails the test when a descriptor was left open.
 *
 * A test runs once on each backend it is listed for; the backend's name is the initial state of its
 * entry, and behind the test's name. Where the machine forbids io_uring, its tests are left out
 * with a line on standard error. */
#ifndef MCP_TEST_REACTOR_FIXTURE_H
#define MCP_TEST_REACTOR_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/counter.h"
#include "loop_fixture.h"
#include "reactor/backend.h"
#include "reactor/listener.h"
#include "reactor/sock.h"

int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Another loop on the backend of the running test. */
void fixture_loop_again(const struct loop_sys *sys);

/* Entries of a test with a set-up of its own, which calls fixture_setup(state). */
#define TEST_ON(backend, f, setup, teardown)                                                       \
    {                                                                                              \
        .name = #f " on " backend, .test_func = (f), .setup_func = (setup),                        \
        .teardown_func = (teardown), .initial_state = (backend)                                    \
    }
/* With system calls that only this backend makes. */
#define EPOLL_TEST_WITH(f, setup, teardown) TEST_ON("epoll", f, setup, teardown)
#define URING_TEST_WITH(f, setup, teardown) TEST_ON("io_uring", f, setup, teardown)
/* With real descriptors, threads or system calls. */
#define KERNEL_TEST_WITH(f, setup, teardown)                                                       \
    EPOLL_TEST_WITH(f, setup, teardown), URING_TEST_WITH(f, setup, teardown)
#define REACTOR_TEST_WITH(f, setup, teardown)                                                      \
    KERNEL_TEST_WITH(f, setup, teardown), TEST_ON("virtual", f, setup, teardown)

#define EPOLL_TEST(f) EPOLL_TEST_WITH(f, fixture_setup, fixture_teardown)
#define URING_TEST(f) URING_TEST_WITH(f, fixture_setup, fixture_teardown)
#define KERNEL_TEST(f) KERNEL_TEST_WITH(f, fixture_setup, fixture_teardown)
#define REACTOR_TEST(f) REACTOR_TEST_WITH(f, fixture_setup, fixture_teardown)

/* The owner of a sock. `close_in` names the callback ('c'onnected, 'd'ata, 'e'of, 'h'angup, 'l'ow
 * mark, 's'ent, e'x'it) that closes it, by `how`: 'c'lose, 'r'eset, 'g'ently. */
struct end {
    struct sock *sock;
    struct buf in;
    char told[64]; /* one letter for each callback but data, and 'd' for the first of a run of data
                    */
    size_t told_len;
    int error;
    char close_in;
    char how;
    bool pause_in_data;
    void (*on_told)(struct end *e, char what);
};

extern const struct sock_ops end_ops;

void end_adopt(struct end *e, int fd);
void end_connect(struct end *e, const struct addr *to);
/* Closes what is open. */
void end_fini(struct end *e);
bool end_was_told(const struct end *e, char what);

/* For on_told: answers each message with one of ECHO_BYTES, in two halves, and stops the loop when
 * it has got more than ECHO_COUNT. */
enum { ECHO_BYTES = 13, ECHO_COUNT = 100 };
void end_echo(struct end *e, char what);

/* Both ends on the loop. */
void pair_open(struct end *a, struct end *b, int family);
/* A connected pair, blocking descriptors; AF_UNIX or AF_INET. */
void pair_fds(int fds[2], int family);

/* Conditions. */
bool end_has_eof(void *end);
bool end_is_closed(void *end);
bool end_is_connected(void *end);
bool gentle_is_done(void *unused);

/* Bytes that differ by position. */
void pattern_fill(struct buf *b, size_t n);
bool pattern_matches(struct slice s, size_t n);

#endif
